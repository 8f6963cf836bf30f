//! `tcproof record`: watch again and again, and append each window to a file.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};
use tcproof_core::{Interval, Reading, State, Verdict, diagnose};
use tcproof_host::{Root, Watcher, allow_many_files};
use tcproof_record::{Error, Header, Recorder, Redactor, Step, summary};
use tcproof_report::record as report;

use super::{Exit, print, recording, shown, stop_flag, style};
use crate::cli::{OutputArgs, RecordArgs, RecordOn};

/// How much may be lost when the machine crashes.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Kept before and after something is found.
const AROUND: Duration = Duration::from_secs(60);
/// Flows chosen by each measure: check looks at eight times as many. They are most of what a record of a busy host holds …
const FLOWS: usize = 2;
/// … and so are the looks at them: two a second, of which a window of five seconds has enough to judge a flow by.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// What is judged, to know whether something is found.
const JUDGED: Duration = Duration::from_secs(5);

/// Runs it.
pub(crate) fn run(args: &RecordArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.list {
        let found = recording::list(path)?;
        let listing = report::Listing {
            host: &found.header.host,
            kernel: &found.header.kernel,
            redacted: found.header.redacted,
            records: found.records,
            first_ms: found.first_ms,
            last_ms: found.last_ms,
            bytes: found.bytes,
            gaps: found.gaps.0,
            gap_seconds: found.gaps.1.as_secs_f64(),
            clock_steps: found.clock_steps,
            lost: found.lost,
            losses: found.losses.iter().map(recording::loss_of).collect(),
        };
        print(&match output.json() {
            true => report::json(&listing),
            false => report::text(&listing, &style(output, false, false)),
        })?;
        return Ok(Exit::Done.into());
    }
    let path = args.output.as_deref().context("expected -o FILE")?;
    allow_many_files();
    let stop = stop_flag()?;
    let options = args.netns.live(args.every);
    let mut watcher = Watcher::open(&options, since_boot())?;
    watcher.stop_on(Arc::clone(&stop));
    watcher.few_flows(FLOWS, (args.every / 2).min(SAMPLE_EVERY));
    let mut known = BTreeSet::new();
    let mut file = Output::open(path, args)?;
    let mut flight = args.on.map(Flight::new);
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) && args.length.is_none_or(|length| begun.elapsed() < length) {
        let mut interval = watcher.step_on(args.every, &mut |_| ());
        known = thin(&mut interval, &known);
        let wall_ms = jiff::Timestamp::now().as_millisecond();
        let step = Step { wall_ms, mono: interval.after.at, interval };
        match &mut flight {
            None => file.append(&step),
            Some(flight) => flight.keep(step).iter().for_each(|step| file.append(step)),
        }
    }
    file.finish()
}

/// Drops the first look at a flow that was looked at when the window before ended; returns those of this one.
fn thin(interval: &mut Interval, known: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    for flows in interval.looks.flows.values_mut() {
        let Reading::Present(flows) = flows else { continue };
        // Their order says nothing, and a recording has none of its own.
        flows.watched.sort_by_key(|watch| watch.flow.cookie);
        for watch in &mut flows.watched {
            seen.insert(watch.flow.cookie);
            if known.contains(&watch.flow.cookie) && watch.samples.len() > 2 {
                watch.samples.remove(0);
            }
        }
    }
    seen
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Keeps the last minute in memory, and gives it away when something is found, and whatever comes in the minute after.
struct Flight {
    on: RecordOn,
    last: VecDeque<Step>,
    /// Of the last ones, those that were given away already.
    given: usize,
    until: Option<Duration>,
}

impl Flight {
    fn new(on: RecordOn) -> Self {
        Self { on, last: VecDeque::new(), given: 0, until: None }
    }

    /// Takes the newest step; returns those that are to be kept now.
    fn keep(&mut self, step: Step) -> Vec<Step> {
        let now = step.mono;
        self.last.push_back(step);
        if let Some(found) = self.found() {
            if self.until.is_none_or(|until| until < now) {
                say!("tcproof: {found}: the minute before and after it is kept");
            }
            self.until = Some(now + AROUND);
        }
        let mut kept = Vec::new();
        if self.until.is_some_and(|until| now <= until) {
            kept.extend(self.last.iter().skip(self.given).cloned());
            self.given = self.last.len();
        }
        while self.last.front().is_some_and(|first| first.mono + AROUND < now) {
            self.last.pop_front();
            self.given = self.given.saturating_sub(1);
        }
        kept
    }

    /// What the last seconds show.
    fn found(&self) -> Option<String> {
        let end = self.last.back()?.mono;
        let mut judged: Option<Interval> = None;
        for step in self.last.iter().filter(|step| step.mono.saturating_sub(step.interval.window() / 2) + JUDGED >= end)
        {
            let interval = step.interval.clone();
            judged = Some(match judged.take() {
                None => interval,
                Some(mut judged) => match judged.and_then(interval) {
                    Ok(()) => judged,
                    // The machine slept in between.
                    Err(interval) => *interval,
                },
            });
        }
        let diagnosis = diagnose(&judged?);
        let is_wanted = match diagnosis.verdict() {
            Verdict::Limiting => true,
            Verdict::Near => self.on == RecordOn::Near,
            _ => false,
        };
        let finding = diagnosis.findings.iter().find(|finding| finding.state == State::Limiting);
        let finding = finding.or(diagnosis.findings.first()).filter(|_| is_wanted)?;
        Some(tcproof_report::sanitize(&format!("{} of {}", finding.limit, finding.subject)).into_owned())
    }
}

/// The file that is appended to.
struct Output<'a> {
    path: &'a Path,
    args: &'a RecordArgs,
    file: File,
    /// Bytes of it that are whole.
    length: u64,
    /// The header, until the first record is written with it.
    header: Vec<u8>,
    recorder: Recorder,
    begun: Instant,
    synced: Option<Instant>,
    written: u64,
    lost: u64,
    /// Whether the last record could not be written, which was said.
    is_failing: bool,
}

impl<'a> Output<'a> {
    fn open(path: &'a Path, args: &'a RecordArgs) -> anyhow::Result<Self> {
        let name = shown(path);
        let file = locked(path)?;
        let mut output = Self {
            path,
            args,
            file,
            length: 0,
            header: Vec::new(),
            recorder: Recorder::default(),
            begun: Instant::now(),
            synced: None,
            written: 0,
            lost: 0,
            is_failing: false,
        };
        let length = output.file.metadata().with_context(|| name.clone())?.len();
        let found = match length {
            0 => None,
            _ => match summary(std::io::BufReader::new(&output.file), |_, _| ()) {
                Ok(found) => Some(found),
                Err(error @ Error::Io(_)) => return Err(error).context(name),
                Err(error) => bail!("{name}: {error}: not overwritten; name another file"),
            },
        };
        let boot = boot_id();
        match found {
            Some(found) if !args.redact && !boot.is_empty() && found.header.boot == boot => {
                if found.whole < length {
                    output.file.set_len(found.whole).with_context(|| name.clone())?;
                    say!(
                        "tcproof: {name}: {} bytes at its end were no whole record, and are cut off",
                        length - found.whole
                    );
                }
                output.length = found.whole;
                output.recorder = Recorder::new(found.next, None);
                let age = jiff::Timestamp::now().as_millisecond().saturating_sub(found.header.started_ms);
                let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
                output.begun = Instant::now().checked_sub(age).unwrap_or(output.begun);
            }
            Some(_) => {
                say!("tcproof: {name}: of another boot, or redacted: kept as {name}.1");
                output.rotate()?;
            }
            None => output.begin()?,
        }
        Ok(output)
    }

    /// What the present file, which is empty, begins with.
    fn begin(&mut self) -> anyhow::Result<()> {
        let redactor = self.args.redact.then(Redactor::new);
        let knob = |key: &str| tcproof_host::knob(&Root::new("/"), key).value().cloned().unwrap_or_default();
        let host = knob("kernel.hostname");
        let header = Header {
            host: redactor.as_ref().map_or(host.clone(), |redactor| redactor.host(&host)),
            kernel: knob("kernel.osrelease"),
            boot: if self.args.redact { String::new() } else { boot_id() },
            redacted: self.args.redact,
            started_ms: jiff::Timestamp::now().as_millisecond(),
        };
        self.header = header.to_bytes()?;
        self.recorder = Recorder::new(0, redactor);
        (self.length, self.begun) = (0, Instant::now());
        Ok(())
    }

    /// FILE becomes FILE.1, that FILE.2, and so on; the oldest goes.
    fn rotate(&mut self) -> anyhow::Result<()> {
        let name = |n: u32| match n {
            0 => self.path.to_path_buf(),
            n => {
                let mut name = self.path.as_os_str().to_owned();
                name.push(format!(".{n}"));
                PathBuf::from(name)
            }
        };
        let keep = self.args.keep;
        if keep == 0 {
            fs::remove_file(self.path).with_context(|| shown(self.path))?;
        }
        for n in (0..keep).rev() {
            match fs::rename(name(n), name(n + 1)) {
                Err(error) if n > 0 && error.kind() == ErrorKind::NotFound => {}
                other => other.with_context(|| shown(&name(n)))?,
            }
        }
        self.file = locked(self.path)?;
        self.begin()
    }

    /// Appends a step. What can't be written is said once, and tried again with the next.
    fn append(&mut self, step: &Step) {
        match self.try_append(step) {
            Ok(()) => {
                self.written += 1;
                if self.is_failing {
                    self.is_failing = false;
                    say!("tcproof: {}: recording again; {} records were lost so far", shown(self.path), self.lost);
                }
            }
            Err(error) => {
                self.lost += 1;
                if !self.is_failing {
                    self.is_failing = true;
                    say!("tcproof: {error:#}: what was recorded stays, and the next record is tried");
                }
            }
        }
    }

    fn try_append(&mut self, step: &Step) -> anyhow::Result<()> {
        let name = || shown(self.path);
        let mut bytes = self.recorder.record(step).with_context(name)?;
        let is_large = self.length + bytes.len() as u64 > self.args.max_size;
        if self.length > 0 && (is_large || self.begun.elapsed() >= self.args.max_age) {
            self.rotate()?;
            bytes = self.recorder.record(step).with_context(|| shown(self.path))?;
        }
        let whole = [&*self.header, &*bytes].concat();
        // One write(2): whoever reads meanwhile, or after SIGKILL, sees all of it or a torn end.
        let written = self.file.write_at(&whole, self.length);
        match written {
            Ok(written) if written == whole.len() => {}
            other => {
                self.recorder.forget();
                // If that fails too the torn end stays, and is written over by the next record.
                let _ = self.file.set_len(self.length);
                let error = other.err().unwrap_or_else(|| ErrorKind::StorageFull.into());
                return Err(error).with_context(|| shown(self.path));
            }
        }
        self.length += whole.len() as u64;
        self.header.clear();
        if self.synced.is_none_or(|at| at.elapsed() >= SYNC_EVERY) {
            self.synced = Some(Instant::now());
            if let Err(error) = self.file.sync_data() {
                say!("tcproof: {}: {error}", shown(self.path));
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<ExitCode> {
        let name = shown(self.path);
        let synced = self.file.sync_data();
        let (records, bytes) = (self.written, self.length);
        say!("tcproof: {records} records; {name} has {bytes} bytes");
        synced.with_context(|| name.clone())?;
        ensure!(self.lost == 0, "{name}: {} records could not be written", self.lost);
        Ok(Exit::Done.into())
    }
}

/// Opens it for us alone, and makes it where it is missing. What it tells is for its owner's eyes.
fn locked(path: &Path) -> anyhow::Result<File> {
    let name = shown(path);
    if let Ok(found) = fs::metadata(path) {
        ensure!(found.is_file(), "{name}: expected a file");
    }
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = open.with_context(|| name.clone())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("{name}: somebody else is recording into it"),
        Err(error) => Err(error).with_context(|| name),
    }
}

/// Another after each boot; empty where it can't be read.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second that ends then. Memory ran out as often before it began, and as often before it ended.
    fn step(second: u64, times: [u64; 2]) -> Step {
        let fixture = include_str!("../../../tcproof-core/fixtures/tcp-memory-hard-limit-5.10.json");
        let recorded: Interval = serde_json::from_str(fixture).unwrap();
        let mut interval = recorded.clone();
        for (end, times) in [&mut interval.before, &mut interval.after].into_iter().zip(times) {
            *end = recorded.after.clone();
            for (id, ns) in &mut end.namespaces {
                for (name, counter) in &mut ns.counters {
                    let before = recorded.before.namespaces[id].counters.get(name).copied().unwrap_or(0);
                    *counter = before + counter.saturating_sub(before) * times;
                }
            }
        }
        interval.before.at = Duration::from_secs(second - 1);
        interval.after.at = Duration::from_secs(second);
        Step { wall_ms: 0, mono: interval.after.at, interval }
    }

    fn kept(on: RecordOn, hurt: &[u64]) -> Vec<u64> {
        let mut flight = Flight::new(on);
        let times = |second: u64| hurt.iter().filter(|hurt| **hurt <= second).count() as u64;
        let steps = (1..=400).flat_map(|second| flight.keep(step(second, [times(second - 1), times(second)])));
        let kept = steps.map(|step| step.mono.as_secs()).collect();
        assert!(flight.last.len() <= 62, "{}", flight.last.len());
        kept
    }

    #[test]
    fn the_minute_before_and_after_a_finding_is_kept_each_second_once() {
        assert_eq!(kept(RecordOn::Limiting, &[]), [0; 0]);
        let around = kept(RecordOn::Limiting, &[100]);
        assert!((39..=41).contains(&around[0]) && around.last() >= Some(&160), "{around:?}");
        assert!(around.windows(2).all(|pair| pair[1] == pair[0] + 1), "{around:?}");
        assert!(around.last() <= Some(&165), "{around:?}");
        let twice = kept(RecordOn::Limiting, &[100, 130, 300]);
        assert!(twice.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() == 1, "{twice:?}");
        assert!(twice.contains(&190) && !twice.contains(&200) && twice.contains(&241), "{twice:?}");
    }
}

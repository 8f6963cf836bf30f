//! `tcproof serve`: watch window after window, and tell a scraper what the last one showed.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use tcproof_core::{Diagnosis, Interval, diagnose};
use tcproof_host::{Root, Watcher, allow_many_files};
#[cfg(feature = "otlp")]
use tcproof_report::metrics::Sent;
use tcproof_report::metrics::{Format, Own, Page, Totals, Window};
use tcproof_report::report::{self, Report};

#[cfg(feature = "otlp")]
use super::otlp::Push;
use super::{Exit, plan};
use crate::cli::ServeArgs;
use crate::http::{self, Answer, Hosts, Request, Status};
use crate::privileges;

/// Flows chosen by each measure, and how often they are looked at in a window and at least: enough to judge one by.
const FLOWS: usize = 4;
const SAMPLES: u32 = 10;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Healthy is who has ended a window less than so many of them ago.
const PERIODS: u32 = 3;
/// An Accept header is gone through as far as this.
const MEDIA_TYPES: usize = 32;

/// Runs it.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "otlp")]
    let started = now();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("waiting for signals")?;
    }
    let listener = TcpListener::bind(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    privileges::drop_binding()?;
    let bound = listener.local_addr().context("asking for the address")?;
    allow_many_files();
    let options = args.netns.live(args.every);
    let mut watcher = Watcher::open(&options, Duration::ZERO)?;
    watcher.stop_on(Arc::clone(&stop));
    watcher.few_flows(FLOWS, (args.every / SAMPLES).min(SAMPLE_EVERY));
    watcher.be_patient();
    let state = State::new(args.every);
    #[cfg(feature = "otlp")]
    let state = State { push: Push::start(args.otlp.clone())?, ..state };
    let state = Arc::new(state);
    answer(listener, Hosts::at(bound, &args.allow_host), &state)?;
    say_where(bound);
    let mut totals = Totals::default();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let interval = watcher.step_on(args.every, &mut |_| ());
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let diagnosis = diagnose(&interval);
        let ended = now();
        let collection = begun.elapsed().saturating_sub(args.every);
        let window = Window { interval: &interval, diagnosis: &diagnosis, ended, collection };
        let page = totals.add(&window);
        #[cfg(feature = "otlp")]
        if let Some(push) = &state.push {
            let sent = Sent { host: &diagnosis.host.name, started, ended };
            push.offer(page.otlp(&state.own(), &sent));
        }
        let seen = Arc::new(Seen { interval, diagnosis, ended, html: OnceLock::new() });
        *state.last() = Last { page, seen: Some(seen), ended: Some(Instant::now()) };
    }
    Ok(Exit::Done.into())
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn say_where(bound: SocketAddr) {
    say!("tcproof: serving http://{bound}/metrics");
    if !bound.ip().to_canonical().is_loopback() {
        say!("tcproof: {bound} is not loopback: whoever reaches it learns which services run here, and what they lack");
    }
}

/// A thread of its own, which has no capability at all: what it does needs none.
fn answer(listener: TcpListener, hosts: Hosts, state: &Arc<State>) -> anyhow::Result<()> {
    let state = Arc::clone(state);
    let serve = move || {
        // Then nobody is answered.
        if let Err(error) = privileges::drop_all() {
            return say!("tcproof: {error:#}");
        }
        if let Err(error) = http::serve(&listener, &hosts, &state.refused, |request| state.answer(request)) {
            say!("tcproof: answering: {error}");
        }
    };
    thread::Builder::new().name("accept".into()).spawn(serve).context("starting a thread")?;
    Ok(())
}

/// What the last window showed.
#[derive(Default)]
struct Last {
    page: Page,
    seen: Option<Arc<Seen>>,
    ended: Option<Instant>,
}

/// For a report, which is made when somebody asks for it.
struct Seen {
    interval: Interval,
    diagnosis: Diagnosis,
    /// Since 1970.
    ended: Duration,
    /// The report, once somebody has asked.
    html: OnceLock<String>,
}

impl Seen {
    fn html(&self) -> String {
        self.html.get_or_init(|| self.make_html()).clone()
    }

    fn make_html(&self) -> String {
        let Self { interval, diagnosis, ended, .. } = self;
        let namespaces = Some(plan::namespaces_in(interval));
        let plan = plan::make(&diagnosis.findings, &diagnosis.host.name, &diagnosis.host.kernel, namespaces, &[]);
        let made_at = jiff::Timestamp::from_second(ended.as_secs().cast_signed()).unwrap_or_default();
        report::html(&Report {
            diagnosis,
            interval: Some(interval),
            plan: Some(&plan),
            source: None,
            made_at: &made_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            version: env!("CARGO_PKG_VERSION"),
            json: &tcproof_report::json::check(diagnosis),
            change: None,
        })
    }
}

/// What those who watch and those who answer share.
struct State {
    every: Duration,
    last: Mutex<Last>,
    refused: AtomicU64,
    kernel: String,
    #[cfg(feature = "otlp")]
    push: Option<Push>,
}

impl State {
    fn new(every: Duration) -> Self {
        let kernel = tcproof_host::knob(&Root::new("/"), "kernel.osrelease").value().cloned().unwrap_or_default();
        Self {
            every,
            last: Mutex::default(),
            refused: AtomicU64::new(0),
            kernel,
            #[cfg(feature = "otlp")]
            push: None,
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Answer {
        match &*request.path {
            "/metrics" => self.metrics(format(&request.accept)),
            "/healthz" => self.health(),
            "/" => self.report(),
            _ => Answer::says(Status::NotFound, "expected /, /metrics or /healthz"),
        }
    }

    fn metrics(&self, format: Format) -> Answer {
        let body = self.last().page.text(&self.own(), format);
        Answer { status: Status::Ok, content_type: format.content_type(), body, again: None }
    }

    fn own(&self) -> Own<'_> {
        #[cfg(feature = "otlp")]
        let pushes_failed = self.push.as_ref().map(Push::failed);
        #[cfg(not(feature = "otlp"))]
        let pushes_failed = None;
        Own {
            version: env!("CARGO_PKG_VERSION"),
            kernel: &self.kernel,
            refused: self.refused.load(Ordering::Relaxed),
            pushes_failed,
            cpu: cpu(),
            memory: memory(),
        }
    }

    /// The report of the last window, which a browser asks for again when the next one is over.
    fn report(&self) -> Answer {
        let seen = self.last().seen.clone();
        let body = match seen {
            Some(seen) => seen.html(),
            None => return Answer { again: Some(Duration::from_secs(1)), ..self.health() },
        };
        Answer { status: Status::Ok, content_type: "text/html; charset=utf-8", body, again: Some(self.every) }
    }

    fn health(&self) -> Answer {
        let ended = self.last().ended;
        match ended.map(|ended| ended.elapsed()) {
            None => Answer::says(Status::Unavailable, format!("the first window of {:?} is not over", self.every)),
            Some(age) if age < self.every * PERIODS => Answer::says(Status::Ok, "ok"),
            Some(age) => {
                let (age, every) = (age.as_secs_f64(), self.every);
                Answer::says(Status::Unavailable, format!("the last window of {every:?} ended {age:.0} s ago"))
            }
        }
    }
}

/// What an Accept header wants most; the older format where it names neither.
fn format(accept: &str) -> Format {
    let mut best = (0.0, Format::Text);
    for media in accept.split(',').take(MEDIA_TYPES) {
        let mut parts = media.split(';').map(str::trim);
        let format = match parts.next() {
            Some(name) if name.eq_ignore_ascii_case("application/openmetrics-text") => Format::OpenMetrics,
            Some(name) if name.eq_ignore_ascii_case("text/plain") => Format::Text,
            _ => continue,
        };
        let (mut weight, mut is_known) = (1.0, true);
        for part in parts {
            match part.split_once('=') {
                Some(("q", q)) => weight = q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                // 0.0.1 differs in nothing of what is written here.
                Some(("version", version)) if format == Format::OpenMetrics => {
                    is_known = ["1.0.0", "0.0.1"].contains(&version.trim_matches('"'));
                }
                _ => {}
            }
        }
        if is_known && weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

/// CPU time of all threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory: the second number of `/proc/self/statm`, in pages.
fn memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_wanted_most() {
        for (accept, wanted) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain;q=0.5, application/openmetrics-text; version=\"1.0.0\"; q=0.8", Format::OpenMetrics),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.8", Format::Text),
            ("application/openmetrics-text; version=2.0.0", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            ("application/openmetrics-text; q=NaN", Format::Text),
            (",;=,;q=;", Format::Text),
        ] {
            assert_eq!(format(accept), wanted, "{accept}");
        }
    }

    fn request(path: &str) -> Request {
        Request { path: path.into(), accept: String::new(), hosts: vec![] }
    }

    #[test]
    fn healthy_is_who_has_ended_a_window_lately() {
        let state = State::new(Duration::from_millis(1));
        let ask = |path: &str| state.answer(&request(path));
        assert_eq!(ask("/healthz"), Answer::says(Status::Unavailable, "the first window of 1ms is not over"));
        assert_eq!(ask("/metrics").status, Status::Ok);
        assert_eq!(ask("/").status, Status::Unavailable);
        assert_eq!(ask("/metric").status, Status::NotFound);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        state.last().ended = Some(long_ago);
        assert_eq!(ask("/healthz"), Answer::says(Status::Unavailable, "the last window of 1ms ended 9 s ago"));
        let state = State::new(Duration::from_secs(60));
        state.last().ended = Some(long_ago);
        assert_eq!(state.answer(&request("/healthz")), Answer::says(Status::Ok, "ok"));
    }
}

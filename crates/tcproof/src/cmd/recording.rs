//! Opens recordings, for the verbs that judge them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::CommandFactory;
use clap::error::ErrorKind;
use tcproof_core::Interval;
use tcproof_core::snapshot::{Netns, NetnsId};
use tcproof_host::Scope;
use tcproof_record::{Header, MAGIC, Summary, summary, window};
use tcproof_report::{record as report, sanitize};

use super::shown;
use crate::cli::{At, Cli};

/// A window of a recording.
pub(crate) struct Recorded {
    pub(crate) interval: Interval,
    pub(crate) place: report::Place,
}

/// Whether a file begins as recordings do. One that can't be read is another reader's to complain about.
pub(crate) fn is_recording(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start)).is_ok() && start == MAGIC
}

/// Of a file that is none, what is only for recordings makes no sense.
pub(crate) fn refuse_options(path: &Path, at: Option<At>, scope: &Scope) -> anyhow::Result<()> {
    let name = shown(path);
    ensure!(at.is_none(), "{name}: --at is for recordings (tcproof record)");
    if *scope != Scope::All {
        let what = format!("{name}: --netns is for recordings (tcproof record)");
        Cli::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    Ok(())
}

/// A recording, and a time in it.
pub(crate) struct Located {
    pub(crate) file: File,
    pub(crate) found: Summary,
    /// When the first record ended, since boot.
    pub(crate) first: Duration,
    /// The time that was asked for, or the end of the recording.
    pub(crate) end: Duration,
}

/// Opens one, and finds the time in it.
pub(crate) fn locate(path: &Path, at: Option<At>) -> anyhow::Result<Located> {
    let name = shown(path);
    let file = open(path)?;
    let mut first = None;
    // The last that ended by then: the clock may have been set, and the same time have come twice.
    let mut by_then = None;
    let found = summary(BufReader::new(&file), |wall_ms, mono| {
        first.get_or_insert(mono);
        if let Some(At::Wall(then)) = at
            && wall_ms <= then
        {
            by_then = Some(mono);
        }
    });
    let found = found.with_context(|| name.clone())?;
    let span = report::span(found.first_ms, found.last_ms);
    if found.records == 0 {
        bail!("{name}: a recording without a whole record");
    }
    let end = match at {
        None => found.last,
        Some(At::Before(before)) => found.last.saturating_sub(before),
        Some(At::Wall(then)) if then > found.last_ms => {
            bail!("{name}: nothing was recorded then: expected a time in {span}")
        }
        Some(At::Wall(_)) => {
            by_then.with_context(|| format!("{name}: nothing was recorded then: expected a time in {span}"))?
        }
    };
    Ok(Located { file, found, first: first.unwrap_or_default(), end })
}

/// The window of that length that ends there, or with the recording; of these namespaces.
pub(crate) fn read(path: &Path, at: Option<At>, length: Duration, scope: &Scope) -> anyhow::Result<Recorded> {
    let name = shown(path);
    let Located { file, found, end, .. } = locate(path, at)?;
    let window = window(&file, end, length).with_context(|| name.clone())?;
    let span = report::span(found.first_ms, found.last_ms);
    let Some(window) = window else { bail!("{name}: nothing was recorded then: expected a time in {span}") };
    say_what_is_lost(path, &found);
    let Header { host, redacted, .. } = found.header;
    let place =
        report::Place { host, redacted, ended_ms: window.ended_ms, records: window.records, is_cut: window.is_cut };
    let mut interval = window.interval;
    if *scope != Scope::All {
        let wanted = wanted(&interval, scope).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
        interval.keep_namespaces(|id| wanted.contains(&id));
    }
    Ok(Recorded { interval, place })
}

/// Names of namespaces in a message.
const NAMES: usize = 8;

/// Which of the recorded namespaces are meant.
fn wanted(interval: &Interval, scope: &Scope) -> Result<BTreeSet<NetnsId>, String> {
    let recorded = || [&interval.before, &interval.after].into_iter().flat_map(|end| &end.namespaces);
    let there_are = || {
        let names: BTreeSet<String> = recorded().map(|(_, ns)| sanitize(&ns.name).into_owned()).collect();
        let more = names.len().saturating_sub(NAMES);
        let names: Vec<_> = names.into_iter().take(NAMES).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("expected one of {}{more}, or its inode", names.join(", "))
    };
    match scope {
        Scope::All => Ok(recorded().map(|(id, _)| *id).collect()),
        Scope::Several(scopes) => {
            let each: Result<Vec<_>, _> = scopes.iter().map(|scope| wanted(interval, scope)).collect();
            Ok(each?.into_iter().flatten().collect())
        }
        Scope::Name(name) => {
            let is_called = |(id, ns): &(&NetnsId, &Netns)| ns.name == *name || id.0.to_string() == *name;
            let found: BTreeSet<_> = recorded().filter(is_called).map(|(id, _)| *id).collect();
            if found.is_empty() {
                Err(format!("no network namespace {} then: {}", sanitize(name), there_are()))
            } else {
                Ok(found)
            }
        }
        // Processes come and go, and a recording has only those that a finding may be about.
        Scope::Pid(pid) => {
            Err(format!("a recording does not say in which network namespace pid {pid} was: {}", there_are()))
        }
        Scope::Files(_) | Scope::Known(_) => Err(there_are()),
    }
}

/// What of it can't be read.
pub(crate) fn say_what_is_lost(path: &Path, found: &Summary) {
    for loss in &found.losses {
        say!("tcproof: {}: {}", shown(path), report::loss(&loss_of(loss)));
    }
}

/// What is in it.
pub(crate) fn list(path: &Path) -> anyhow::Result<Summary> {
    let file = open(path)?;
    summary(BufReader::new(file), |_, _| ()).with_context(|| shown(path))
}

pub(crate) fn loss_of(loss: &tcproof_record::Loss) -> report::Loss {
    let tcproof_record::Loss { at, bytes, records, from_ms, to_ms } = *loss;
    report::Loss { at, bytes, records, from_ms, to_ms }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| shown(path))?;
    let is_file = file.metadata().with_context(|| shown(path))?.is_file();
    ensure!(is_file, "{}: expected a file", shown(path));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval() -> Interval {
        let mut interval = Interval::default();
        let netns = |name: &str| Netns { name: name.into(), ..Netns::default() };
        interval.after.namespaces = [(NetnsId(11), netns("host")), (NetnsId(12), netns("e\x1b[31mvil"))].into();
        interval.before.namespaces = [(NetnsId(11), netns("host")), (NetnsId(13), netns("gone"))].into();
        interval
    }

    #[test]
    fn namespaces_are_named_as_they_were_recorded() {
        let of = |scope| wanted(&interval(), &scope).map(|ids| ids.into_iter().map(|id| id.0).collect::<Vec<_>>());
        let name = |name: &str| Scope::Name(name.into());
        assert_eq!(of(name("host")), Ok(vec![11]));
        assert_eq!(of(name("12")), Ok(vec![12]));
        assert_eq!(of(Scope::Several(vec![name("gone"), name("host")])), Ok(vec![11, 13]));
        assert_eq!(of(Scope::All), Ok(vec![11, 12, 13]));
        let expected = "expected one of e\\x1b[31mvil, gone, host, or its inode";
        assert_eq!(of(name("web")), Err(format!("no network namespace web then: {expected}")));
        let pid = "a recording does not say in which network namespace pid 2113 was";
        assert_eq!(of(Scope::Several(vec![name("host"), Scope::Pid(2113)])), Err(format!("{pid}: {expected}")));
    }
}

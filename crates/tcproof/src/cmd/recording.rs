//! Opens recordings, for the verbs that judge them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tcproof_core::Interval;
use tcproof_record::{Header, MAGIC, Summary, summary, window};
use tcproof_report::record as report;

use super::shown;
use crate::cli::At;

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

/// The window of that length that ends there, or with the recording.
pub(crate) fn read(path: &Path, at: Option<At>, length: Duration) -> anyhow::Result<Recorded> {
    let name = shown(path);
    let Located { file, found, end, .. } = locate(path, at)?;
    let window = window(&file, end, length).with_context(|| name.clone())?;
    let span = report::span(found.first_ms, found.last_ms);
    let Some(window) = window else { bail!("{name}: nothing was recorded then: expected a time in {span}") };
    say_what_is_lost(path, &found);
    let Header { host, redacted, .. } = found.header;
    let place =
        report::Place { host, redacted, ended_ms: window.ended_ms, records: window.records, is_cut: window.is_cut };
    Ok(Recorded { interval: window.interval, place })
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
    anyhow::ensure!(is_file, "{}: expected a file", shown(path));
    Ok(file)
}

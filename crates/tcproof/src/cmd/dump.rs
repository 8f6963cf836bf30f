//! Opens dumps of others, for the verbs that judge them.

use std::path::PathBuf;
use std::time::Duration;

use tcproof_core::Interval;
use tcproof_core::census::Census;
use tcproof_host::census::Ask;
use tcproof_host::dump::{Judged, Taken, census, judge, open};
use tcproof_report::dump as report;
use tcproof_report::sanitize;

/// What was read of one dump or two.
pub(crate) struct Dumped {
    pub(crate) interval: Interval,
    /// Which, whose and when, in one line.
    pub(crate) said: String,
}

/// Reads them; what was not read of them is said at once.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Dumped> {
    let Judged { interval, taken, why_alone, is_by_files } = judge(open(files)?)?;
    let dumps = say_notes(taken);
    let host = &interval.after.host;
    let said = report::header(&report::Place {
        host: &host.name,
        kernel: &host.kernel,
        dumps: &dumps,
        window: interval.window(),
        why_alone: why_alone.as_deref(),
        is_by_files,
    });
    Ok(Dumped { interval, said })
}

/// Counts the sockets of the one that was taken last, and says which it is.
pub(crate) fn count(files: &[PathBuf], ask: &Ask) -> anyhow::Result<(Census, String)> {
    let (census, taken) = census(open(files)?, ask)?;
    let dumps = say_notes(taken);
    let (host, window) = (&census.host, Duration::ZERO);
    let (host, kernel) = (&*host.name, &*host.kernel);
    let place = report::Place { host, kernel, dumps: &dumps, window, why_alone: None, is_by_files: false };
    let said = report::taken(&place);
    Ok((census, said))
}

fn say_notes(taken: Vec<Taken>) -> Vec<report::Dump> {
    for Taken { name, notes, .. } in &taken {
        for note in notes {
            say!("tcproof: {}: {}", sanitize(name), sanitize(note));
        }
    }
    taken.into_iter().map(|Taken { is_sos, at, up, .. }| report::Dump { is_sos, at, up }).collect()
}

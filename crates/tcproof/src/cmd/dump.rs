//! Opens dumps of others, for the verbs that judge them.

use std::path::PathBuf;

use tcproof_core::Interval;
use tcproof_host::dump::{Judged, Taken, judge, open};
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
    let Judged { interval, taken, why_alone } = judge(open(files)?)?;
    for Taken { name, notes, .. } in &taken {
        for note in notes {
            say!("tcproof: {}: {}", sanitize(name), sanitize(note));
        }
    }
    let dumps: Vec<_> = taken.into_iter().map(|Taken { is_sos, at, up, .. }| report::Dump { is_sos, at, up }).collect();
    let host = &interval.after.host;
    let said = report::header(&report::Place {
        host: &host.name,
        kernel: &host.kernel,
        dumps: &dumps,
        window: interval.window(),
        why_alone: why_alone.as_deref(),
    });
    Ok(Dumped { interval, said })
}

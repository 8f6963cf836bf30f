//! What `--from` names: each kind by what is in it, not by its name.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use tcproof_host::Scope;

use super::{recording, shown};
use crate::cli::At;

/// Where something is read from that was seen before.
pub(crate) enum Source<'a> {
    /// What `tcproof record` wrote.
    Recording(&'a Path),
    /// What others collected.
    Dumps(&'a [PathBuf]),
    /// What `tcproof check --json` wrote, or nothing that is known.
    Saved(&'a Path),
}

impl<'a> Source<'a> {
    /// Nothing where nothing is named.
    pub(crate) fn of(from: &'a [PathBuf], at: Option<At>, scope: &Scope) -> anyhow::Result<Option<Self>> {
        let Some(first) = from.first() else { return Ok(None) };
        if let Some(file) = from.iter().find(|file| recording::is_recording(file)) {
            return match from {
                [_] => Ok(Some(Self::Recording(file))),
                _ => bail!("{}: a recording is judged alone: expected one --from", shown(file)),
            };
        }
        recording::refuse_options(first, at, scope)?;
        Ok(Some(match from {
            [file] if !tcproof_host::dump::is_dump(file) => Self::Saved(file),
            _ => Self::Dumps(from),
        }))
    }
}

/// What is wrong with a file that nobody here reads.
pub(crate) fn nothing(file: &Path) -> anyhow::Error {
    match std::fs::File::open(file).with_context(|| shown(file)) {
        Err(error) => error,
        Ok(_) => anyhow::anyhow!(
            "{}: expected a recording (tcproof record), a sosreport (tar.xz, tar.gz or a folder), or the output of ss \
             -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net",
            shown(file)
        ),
    }
}

//! The one place where a knob is written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tcproof_core::Absent;
use tcproof_core::journal::Step;
use tcproof_core::knobs;
use tcproof_core::plan::Namespace;
use tcproof_core::snapshot::NetnsId;
use tcproof_host::{Root, netns_cookie, within};

/// Why a knob was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its namespace is gone.
    #[error("{0} is gone")]
    Gone(String),
    /// Something else.
    #[error("{0}")]
    Refused(String),
}

/// What it is, byte for byte, without the line break that the kernel adds; and the cookie of its namespace.
///
/// # Errors
/// It can't be read there.
pub(crate) fn look(root: &Root, namespace: &Namespace, key: &str) -> Result<(String, Option<u64>), Trouble> {
    let path = path(root, key)?;
    let cookie = || namespace.inode.and_then(|_| netns_cookie());
    inside(root, namespace, None, || Ok((text(&path, key)?, cookie())))
}

/// What a step's knob is by now.
///
/// # Errors
/// It can't be read there.
pub(crate) fn read(root: &Root, step: &Step) -> Result<String, Trouble> {
    let path = path(root, &step.knob)?;
    inside(root, &step.namespace, step.cookie, || text(&path, &step.knob))
}

/// Writes a step's knob, and reads it back.
///
/// # Errors
/// The kernel refuses, or it reads as something else than was written: it was written all the same.
pub(crate) fn write(root: &Root, step: &Step, value: &str) -> Result<(), Trouble> {
    let key = &*step.knob;
    let path = path(root, key)?;
    let reads = inside(root, &step.namespace, step.cookie, || {
        // One write: a second one, at an offset, would be ignored by the kernel.
        let written = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.map_err(|error| refused("writing", key, &error))?;
        text(&path, key)
    })?;
    let is_same = knobs::by_key(key).map_or(reads == value, |knob| knob.kind.is_same(&reads, value));
    match is_same {
        true => Ok(()),
        false => Err(Trouble::Refused(format!("{key} reads {reads:?} after {value:?} was written"))),
    }
}

fn text(path: &Path, key: &str) -> Result<String, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| refused("reading", key, &error))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_string())
}

/// Only keys of the table, so that none leads elsewhere.
fn path(root: &Root, key: &str) -> Result<PathBuf, Trouble> {
    match knobs::by_key(key) {
        Some(knob) => Ok(root.path().join("proc/sys").join(knob.key.replace('.', "/"))),
        None => Err(Trouble::Refused(format!("{key} is not in the table of knobs"))),
    }
}

fn inside<T: Send>(
    root: &Root,
    namespace: &Namespace,
    cookie: Option<u64>,
    act: impl FnOnce() -> Result<T, Trouble> + Send,
) -> Result<T, Trouble> {
    let gone = || Trouble::Gone(format!("network namespace {}", namespace.name));
    // Its inode may be another one's by now.
    let is_it = || cookie.is_none_or(|cookie| netns_cookie().is_none_or(|is| is == cookie));
    match namespace.inode {
        None => act(),
        Some(inode) => match within(root, NetnsId(inode), |_| if is_it() { act() } else { Err(gone()) }) {
            Ok(done) => done,
            Err(Absent::Gone { .. }) => Err(gone()),
            Err(why) => Err(Trouble::Refused(why.to_string())),
        },
    }
}

fn refused(what: &str, key: &str, error: &std::io::Error) -> Trouble {
    Trouble::Refused(format!("{what} {key}: {error}"))
}

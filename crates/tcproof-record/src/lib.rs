//! Recordings: what a host looked like, record by record, in one file that is only ever appended to.
//!
//! A file is a header (who, when, from which boot) and records. Each record is one [`Step`]: an interval that begins with
//! the snapshot that the one before ends with. A record holds what changed against the one before; every so often one
//! holds everything, so that a record that is lost costs no more than those up to the next of that kind.
//!
//! The format is told in `docs/record.md`. Nothing here opens files or reads a clock.

mod delta;
mod frame;
mod node;
mod read;
mod redact;
mod write;

pub use delta::{apply, diff};
pub use frame::{Header, MAGIC, MOST_PAYLOAD, MOST_TREE, VERSION};
pub use node::Node;
pub use read::{Entry, Loss, Reader, Summary, reader_before, summary, whole_records, window};
pub use redact::Redactor;
pub use write::{KEY_EVERY, Recorder};

use std::time::Duration;

use tcproof_core::Interval;

/// One record: what was watched, and when that ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Milliseconds since 1970 when it ended, as the clock said then: it may step, also back.
    pub wall_ms: i64,
    /// When it ended, since boot: that never steps.
    pub mono: Duration,
    /// What was watched.
    pub interval: Interval,
}

/// Why a recording can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other bytes than a recording begins with.
    #[error("not a recording: expected \"tcproof\" in its first bytes")]
    NotARecording,
    /// Made by a later tcproof.
    #[error("a recording of format {found}; this tcproof reads up to {VERSION}: use a newer one")]
    FromTheFuture {
        /// Its version.
        found: u16,
    },
    /// The header is torn or damaged: without it nothing tells what the rest is.
    #[error("byte {at}: {what}")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong, and what was expected.
        what: String,
    },
    /// More than a record may hold.
    #[error("too large to be recorded: {what}")]
    TooLarge {
        /// What there is too much of.
        what: String,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

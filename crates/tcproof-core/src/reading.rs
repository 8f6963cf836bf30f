//! A value that was read, or the reason why it could not be: never silently zero.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// One thing the host was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// What the kernel answered.
    Present(T),
    /// Why there is no answer.
    Absent(Absent),
}

/// Why a reading is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Nothing called for it: a cheaper reading already showed that there is nothing to see.
    NotNeeded,
    /// The kernel refused; `needs` is what would make it answer ("CAP_NET_ADMIN", "root").
    Permission {
        /// What was asked for.
        what: String,
        /// The capability, user or option that would allow it.
        needs: String,
    },
    /// This kernel has no such file, counter, knob or socket family.
    NotInKernel {
        /// The file, counter or knob.
        what: String,
    },
    /// Only the initial network namespace shows it, and this is another one.
    OtherNetns {
        /// The file or knob.
        what: String,
    },
    /// It was there and went away: a process that ended, a namespace that was deleted.
    Gone {
        /// What went away.
        what: String,
    },
    /// The text is not what the kernel writes.
    Unparsable {
        /// `path:line` or `path:line:field`.
        place: String,
        /// What should have stood there.
        expected: String,
    },
    /// The kernel answered with an error that is none of the above.
    Failed {
        /// The operation.
        what: String,
        /// The error's text.
        error: String,
    },
    /// The counter went down between two readings: it is a new counter, and one reading has no rate.
    Restarted {
        /// The counter.
        what: String,
    },
    /// Only one reading exists (a directory, a support bundle): nothing can be said about change.
    OneReading,
}

impl Absent {
    /// What a person could do to make the reading available, where anything can be done.
    pub fn would_need(&self) -> Option<&str> {
        match self {
            Self::Permission { needs, .. } => Some(needs),
            Self::Restarted { .. } => Some("another run: the counter restarted within the window"),
            Self::OneReading => Some("a live host, a recording or a second dump: one reading has no rate"),
            Self::OtherNetns { .. } => Some("a run on the host, not in a container"),
            Self::Gone { .. } => Some("another run while it exists"),
            Self::NotNeeded | Self::NotInKernel { .. } | Self::Unparsable { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether nothing was missed: the question did not arise.
    pub fn is_not_needed(&self) -> bool {
        matches!(self, Self::NotNeeded)
    }

    /// Shorthand for a file, counter or knob that this kernel does not have.
    pub fn not_in_kernel(what: impl Into<String>) -> Self {
        Self::NotInKernel { what: what.into() }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("not needed"),
            Self::Permission { what, .. } => write!(f, "no permission to read {what}"),
            Self::NotInKernel { what } => write!(f, "this kernel has no {what}"),
            // Without `what`: the same is true of several, and faces group by the reason.
            Self::OtherNetns { .. } => f.write_str("only the initial network namespace shows it"),
            Self::Gone { what } => write!(f, "{what} went away while it was watched"),
            Self::Unparsable { place, expected } => write!(f, "{place}: expected {expected}"),
            Self::Failed { what, error } => write!(f, "{what}: {error}"),
            Self::Restarted { what } => write!(f, "{what} restarted within the window"),
            Self::OneReading => f.write_str("only one reading, so nothing can be said about change"),
        }
    }
}

impl<T> Reading<T> {
    /// The value, if it was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent(_) => None,
        }
    }

    /// The reason, if it was not read.
    pub fn absent(&self) -> Option<&Absent> {
        match self {
            Self::Present(_) => None,
            Self::Absent(why) => Some(why),
        }
    }

    /// Borrows the value.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Present(value) => Reading::Present(value),
            Self::Absent(why) => Reading::Absent(why.clone()),
        }
    }

    /// Applies `f` to the value; a missing one stays missing for the same reason.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Present(value) => Reading::Present(f(value)),
            Self::Absent(why) => Reading::Absent(why),
        }
    }

    /// Like [`Reading::map`] for an `f` that may itself have nothing to read.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Present(value) => f(value),
            Self::Absent(why) => Reading::Absent(why),
        }
    }

    /// The value or the reason, for use with `?`.
    pub fn ok(self) -> Result<T, Absent> {
        match self {
            Self::Present(value) => Ok(value),
            Self::Absent(why) => Err(why),
        }
    }
}

impl<T: Clone> Reading<&T> {
    /// Clones the borrowed value.
    pub fn cloned(self) -> Reading<T> {
        self.map(Clone::clone)
    }
}

impl<T> From<Result<T, Absent>> for Reading<T> {
    fn from(result: Result<T, Absent>) -> Self {
        match result {
            Ok(value) => Self::Present(value),
            Err(why) => Self::Absent(why),
        }
    }
}

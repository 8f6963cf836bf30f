//! What the journal records of one apply, and what follows from a list of records. Pure: `tcproof-apply` keeps them on
//! disk.
//!
//! The first record holds every step with the value that was there before. It is durable before anything is written, so
//! whatever happens then, all can be taken back by it alone: a knob tells by its value whether it was written.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::plan::Namespace;

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// Before anything is changed.
    Open(Open),
    /// All is changed; without a confirmation it is taken back.
    Waiting {
        /// Until when, on the clock that runs through suspend (`CLOCK_BOOTTIME`), in milliseconds.
        until_ms: u64,
    },
    /// It stays.
    Confirmed {
        /// When (RFC 3339).
        at: String,
        /// By whom, or by what.
        by: String,
    },
    /// A step was taken back, or not.
    Undone {
        /// Which of the steps, from 0.
        step: usize,
        /// How that went.
        result: Undone,
    },
    /// Nothing is left to be done about it.
    Closed {
        /// When (RFC 3339).
        at: String,
        /// How it ended.
        outcome: Outcome,
        /// Why, in a few words.
        why: String,
    },
}

/// What is to be done, and all that taking it back needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// [`VERSION`].
    pub version: u32,
    /// The plan's id, which is the journal's.
    pub id: String,
    /// When (RFC 3339).
    pub at: String,
    /// The user who asked for it.
    pub user: String,
    /// Which boot it happens in: the knobs of another boot are gone.
    pub boot_id: String,
    /// Why: a sentence per finding.
    pub reasons: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where.
    pub namespace: Namespace,
    /// The knob's key.
    pub knob: String,
    /// What was read before, byte for byte.
    pub old: String,
    /// What is written.
    pub new: String,
}

/// How taking back one step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undone {
    /// It is what it was.
    Restored,
    /// It had never been changed, or was what it was already.
    Untouched,
    /// Somebody else has changed it since: it was left alone. What it is.
    ChangedByOthers(String),
    /// Its namespace is gone, or its boot: and with it the change.
    Gone,
    /// It could not be written: why.
    Failed(String),
}

/// How an apply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The changes stay.
    Confirmed,
    /// All is as before.
    RolledBack,
    /// Confirmed once, and taken back later.
    TakenBack,
    /// Something could not be taken back.
    Incomplete,
}

/// What a list of records comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was to be done.
    pub open: Open,
    /// Until when it waits for a confirmation, if it ever did.
    pub until_ms: Option<u64>,
    /// Who confirmed it.
    pub confirmed: Option<String>,
    /// How taking back each step went, the last word of each.
    pub undone: BTreeMap<usize, Undone>,
    /// How and why it ended; none while it is open.
    pub closed: Option<(Outcome, String)>,
}

impl Entry {
    /// Reads records; `None` when there is not even the first one: then nothing has been changed.
    ///
    /// # Errors
    /// What makes no sense, such as a version that this program does not know.
    pub fn of(records: &[Record]) -> Result<Option<Self>, String> {
        let Some((Record::Open(open), rest)) = records.split_first() else {
            return if records.is_empty() { Ok(None) } else { Err("the first record is not open".into()) };
        };
        if open.version > VERSION {
            let (found, ours) = (open.version, VERSION);
            return Err(alloc::format!("it is of version {found}, and this program reads up to {ours}"));
        }
        let steps = open.steps.len();
        let mut entry =
            Self { open: open.clone(), until_ms: None, confirmed: None, undone: BTreeMap::new(), closed: None };
        for record in rest {
            match record {
                Record::Open(_) => return Err("it is opened twice".into()),
                Record::Waiting { until_ms } => entry.until_ms = Some(*until_ms),
                Record::Confirmed { by, .. } => entry.confirmed = Some(by.clone()),
                Record::Undone { step, .. } if *step >= steps => return Err("a step that was never planned".into()),
                Record::Undone { step, result } => {
                    entry.undone.insert(*step, result.clone());
                }
                Record::Closed { outcome, why, .. } => entry.closed = Some((*outcome, why.clone())),
            }
        }
        Ok(Some(entry))
    }

    /// Whether it still waits to be confirmed or taken back.
    pub fn is_pending(&self) -> bool {
        self.confirmed.is_none() && self.closed.is_none()
    }

    /// Whether its changes are in effect, as far as the journal knows.
    pub fn is_in_effect(&self) -> bool {
        self.closed.as_ref().is_none_or(|(outcome, _)| matches!(outcome, Outcome::Confirmed | Outcome::Incomplete))
    }

    /// Steps that can still be taken back, the last one first.
    pub fn to_undo(&self) -> Vec<(usize, &Step)> {
        let is_left = |(step, _): &(usize, &Step)| {
            !matches!(self.undone.get(step), Some(Undone::Restored | Undone::Untouched | Undone::Gone))
        };
        self.open.steps.iter().enumerate().rev().filter(is_left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn open() -> Open {
        let step = |knob: &str| Step {
            namespace: Namespace { name: "web".into(), inode: Some(7) },
            knob: knob.into(),
            old: "1".into(),
            new: "2".into(),
        };
        Open {
            version: VERSION,
            id: "p".into(),
            at: "2026-11-20T19:00:00Z".into(),
            user: "root".into(),
            boot_id: "b".into(),
            reasons: vec!["because".into()],
            steps: vec![step("a"), step("b"), step("c")],
        }
    }

    fn entry(rest: &[Record]) -> Entry {
        let records: Vec<_> = core::iter::once(Record::Open(open())).chain(rest.iter().cloned()).collect();
        Entry::of(&records).expect("good").expect("opened")
    }

    #[test]
    fn the_last_one_is_taken_back_first_and_what_failed_again() {
        let left = |records: &[Record]| entry(records).to_undo().iter().map(|(step, _)| *step).collect::<Vec<_>>();
        assert_eq!(left(&[]), [2, 1, 0], "nothing says that they were not written");
        let undone = |step, result| Record::Undone { step, result };
        assert_eq!(left(&[undone(2, Undone::Restored), undone(1, Undone::Failed("EROFS".into()))]), [1, 0]);
    }

    #[test]
    fn it_is_pending_until_it_is_confirmed_or_closed() {
        assert!(entry(&[]).is_pending() && entry(&[]).is_in_effect());
        let confirmed = Record::Confirmed { at: "now".into(), by: "root".into() };
        assert!(!entry(&[confirmed.clone()]).is_pending() && entry(&[confirmed]).is_in_effect());
        let closed = Record::Closed { at: "now".into(), outcome: Outcome::RolledBack, why: "not confirmed".into() };
        assert!(!entry(&[closed.clone()]).is_pending() && !entry(&[closed]).is_in_effect());
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert_eq!(Entry::of(&[]), Ok(None), "nothing was changed");
        assert!(Entry::of(&[Record::Waiting { until_ms: 0 }]).is_err());
        assert!(Entry::of(&[Record::Open(open()), Record::Undone { step: 9, result: Undone::Gone }]).is_err());
        assert!(Entry::of(&[Record::Open(Open { version: 2, ..open() })]).unwrap_err().contains("version 2"));
        assert!(Entry::of(&[Record::Open(open()), Record::Open(open())]).is_err());
    }
}

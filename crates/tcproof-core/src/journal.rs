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
    /// The lines that outlive a boot are in their file.
    Persisted {
        /// When (RFC 3339).
        at: String,
    },
    /// A step's lines were taken out of their file, or not.
    Unpersisted {
        /// Which of the steps, from 0.
        step: usize,
        /// How that went.
        result: Undone,
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
    /// Its place among all journals, from 1: a clock may be set back. 0 where an older program wrote it, which ordered them
    /// by id and passes over what it does not know: no reason for another [`VERSION`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u64,
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
    /// What is written for the next boot once it is confirmed; none where the change is not to outlive this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<Persist>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What boot is to set, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persist {
    /// The file.
    pub path: String,
    /// For each step its lines, byte for byte: nothing else is ever taken out of the file.
    pub blocks: Vec<String>,
}

/// One knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where.
    pub namespace: Namespace,
    /// That namespace's cookie, as far as it has one: another one may have its inode by the time when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
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
    /// Whether its lines for the next boot were written, whatever became of them since.
    pub is_persisted: bool,
    /// How taking out each step's lines went, the last word of each.
    pub unpersisted: BTreeMap<usize, Undone>,
    /// How taking back each step went, the last word of each.
    pub undone: BTreeMap<usize, Undone>,
    /// How and why it ended; none while it is open.
    pub closed: Option<(Outcome, String)>,
}

impl Entry {
    /// What has just begun.
    pub fn begun(open: Open) -> Self {
        Self {
            open,
            until_ms: None,
            confirmed: None,
            is_persisted: false,
            unpersisted: BTreeMap::new(),
            undone: BTreeMap::new(),
            closed: None,
        }
    }

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
            return Err(alloc::format!(
                "it is of version {found}, and this program reads up to {ours}: use the tcproof that wrote it"
            ));
        }
        let steps = open.steps.len();
        if open.persist.as_ref().is_some_and(|persist| persist.blocks.len() != steps) {
            return Err("its lines for the next boot are not those of its steps".into());
        }
        let mut entry = Self::begun(open.clone());
        for record in rest {
            match record {
                Record::Open(_) => return Err("it is opened twice".into()),
                Record::Waiting { until_ms } => entry.until_ms = Some(*until_ms),
                Record::Confirmed { by, .. } => entry.confirmed = Some(by.clone()),
                Record::Undone { step, .. } | Record::Unpersisted { step, .. } if *step >= steps => {
                    return Err("a step that was never planned".into());
                }
                Record::Persisted { .. } => entry.is_persisted = true,
                Record::Unpersisted { step, result } => {
                    entry.unpersisted.insert(*step, result.clone());
                }
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

    /// Whether it is confirmed, and its lines for the next boot are still to be written.
    pub fn lacks_lines(&self) -> bool {
        let is_kept = self.closed.as_ref().is_none_or(|(outcome, _)| *outcome == Outcome::Confirmed);
        self.open.persist.is_some() && self.confirmed.is_some() && !self.is_persisted && is_kept
    }

    /// Whether any of its lines for the next boot are in their file, as far as the journal knows.
    pub fn has_lines(&self) -> bool {
        let is_out = |how: &Undone| matches!(how, Undone::Restored | Undone::Untouched);
        self.is_persisted && (self.unpersisted.is_empty() || !self.unpersisted.values().all(is_out))
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
            cookie: None,
            knob: knob.into(),
            old: "1".into(),
            new: "2".into(),
        };
        Open {
            version: VERSION,
            id: "p".into(),
            number: 1,
            at: "2026-11-20T19:00:00Z".into(),
            user: "root".into(),
            boot_id: "b".into(),
            reasons: vec!["because".into()],
            steps: vec![step("a"), step("b"), step("c")],
            persist: None,
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
        let confirmed = entry(&[confirmed]);
        assert!(!confirmed.is_pending() && confirmed.is_in_effect());
        let closed = Record::Closed { at: "now".into(), outcome: Outcome::RolledBack, why: "not confirmed".into() };
        let closed = entry(&[closed]);
        assert!(!closed.is_pending() && !closed.is_in_effect());
    }

    #[test]
    fn lines_are_lacking_from_the_confirmation_until_they_are_written_or_it_is_taken_back() {
        let persist = Some(Persist { path: "/x".into(), blocks: vec!["a".into(), "b".into(), "c".into()] });
        let opened = Record::Open(Open { persist, ..open() });
        let confirmed = Record::Confirmed { at: "now".into(), by: "root".into() };
        let closed = |outcome| Record::Closed { at: "now".into(), outcome, why: "x".into() };
        let lacks = |rest: &[Record]| {
            let records: Vec<_> = core::iter::once(opened.clone()).chain(rest.iter().cloned()).collect();
            Entry::of(&records).expect("good").expect("opened").lacks_lines()
        };
        assert!(!lacks(&[]), "nothing is written before it is confirmed");
        assert!(lacks(core::slice::from_ref(&confirmed)) && lacks(&[confirmed.clone(), closed(Outcome::Confirmed)]));
        assert!(!lacks(&[confirmed.clone(), Record::Persisted { at: "now".into() }]));
        assert!(!lacks(&[confirmed, closed(Outcome::RolledBack)]));
        let short = Some(Persist { path: "/x".into(), blocks: Vec::new() });
        assert!(Entry::of(&[Record::Open(Open { persist: short, ..open() })]).is_err());
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

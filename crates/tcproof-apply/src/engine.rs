//! Apply, confirm, roll back: every change is in the journal with the value that was there before it is made.

use std::collections::BTreeMap;

use tcproof_core::journal::{Entry, Open, Outcome, Persist, Record, Step, Undone, VERSION};
use tcproof_core::knobs;
use tcproof_core::plan::Plan;
use tcproof_host::{Root, initial_netns};

use crate::journal::{self, Lock, Store, Writer};
use crate::knob::{self, Trouble};
use crate::persist;

/// Where and when, as the caller sees it: this crate reads no clock but for the journal's own.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The host's root.
    pub root: Root,
    /// The journal.
    pub store: Store,
    /// Who asks.
    pub user: String,
    /// The host's name.
    pub host: String,
    /// Which boot this is.
    pub boot_id: String,
    /// Now (RFC 3339).
    pub now: fn() -> String,
}

/// Why something was not done. But for [`Error::Failed`], nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal refuses.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The plan makes no sense.
    #[error("the plan can't be applied:\n  {}", .0.join("\n  "))]
    BadPlan(Vec<String>),
    /// The host is no longer what the plan was made for.
    #[error("the host has changed since the plan was made:\n  {}\nmake a new plan", .0.join("\n  "))]
    Drifted(Vec<String>),
    /// Another change waits for its confirmation.
    #[error("the change {0} waits for its confirmation: tcproof confirm, or tcproof rollback, first")]
    Pending(String),
    /// It can't be made to outlive a boot.
    #[error(transparent)]
    Persist(#[from] persist::Error),
    /// It is confirmed, and stays until the next boot, but its lines are not in their file.
    #[error("{id} is confirmed, but will not outlive a boot: {why}; tcproof confirm {id} tries again")]
    NotPersisted {
        /// Which change.
        id: String,
        /// Why.
        why: String,
    },
    /// There is nothing of that kind to confirm or to take back.
    #[error("{0}")]
    Nothing(String),
    /// A knob could not be written; what had been written was taken back.
    #[error("{why}")]
    Failed {
        /// Which, and why.
        why: String,
        /// How taking back went.
        undone: Rollback,
    },
}

/// How taking back went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The journal's id.
    pub id: String,
    /// Each step with its result, in the order in which they were taken back.
    pub steps: Vec<(Step, Undone)>,
    /// The file with the lines for the next boot, and how taking each out went; none where there were none.
    pub lines: Option<(String, Vec<(Step, Undone)>)>,
}

impl Rollback {
    /// As a journal has it, whoever took back.
    pub fn of(entry: &Entry) -> Self {
        let results = |of: &BTreeMap<usize, Undone>| {
            let step =
                |(number, result): (&usize, &Undone)| Some((entry.open.steps.get(*number)?.clone(), result.clone()));
            of.iter().rev().filter_map(step).collect::<Vec<_>>()
        };
        let lines =
            results(&entry.unpersisted).into_iter().filter(|(_, result)| *result != Undone::Untouched).collect();
        let path = entry.open.persist.as_ref().map(|persist| persist.path.clone());
        Self {
            id: entry.open.id.clone(),
            steps: results(&entry.undone),
            lines: path.map(|path| (path, lines)).filter(|(_, lines): &(_, Vec<_>)| !lines.is_empty()),
        }
    }

    /// Whether the host is as it was, as far as tcproof changed it.
    pub fn is_complete(&self) -> bool {
        let lines = self.lines.iter().flat_map(|(_, lines)| lines);
        self.steps
            .iter()
            .chain(lines)
            .all(|(_, result)| !matches!(result, Undone::Failed(_) | Undone::ChangedByOthers(_)))
    }
}

impl Surroundings {
    /// Makes a plan's changes, exactly those, and waits for nothing. `persist` is what [`Surroundings::persisting`] found.
    ///
    /// # Errors
    /// See [`Error`]. The host is as before, unless a rollback in it says otherwise.
    pub fn apply(&self, plan: &Plan, until_ms: u64, persist: Option<Persist>) -> Result<Open, Error> {
        plan.validate().map_err(Error::BadPlan)?;
        if plan.host != self.host {
            return Err(Error::BadPlan(vec![format!(
                "it was made for the host {:?}, this is {:?}",
                plan.host, self.host
            )]));
        }
        if plan.is_empty() {
            return Err(Error::Nothing("the plan changes nothing".into()));
        }
        let lock = self.store.lock()?;
        if let Some(id) = self.store.pending()? {
            return Err(Error::Pending(id));
        }
        let open = Open { persist, number: self.store.next_number(&lock)?, ..self.read_before(plan)? };
        let mut writer = self.store.create(&lock, &open)?;
        let written = open.steps.iter().try_for_each(|step| self.write(step).map_err(|trouble| trouble.to_string()));
        let mut wait = || writer.append(&Record::Waiting { until_ms }).map_err(|error| error.to_string());
        if let Err(why) = written.and_then(|()| wait()) {
            let undone = self.take_back(&mut writer, &Entry::begun(open), &why, false);
            return Err(Error::Failed { why, undone });
        }
        Ok(open)
    }

    /// Keeps what waits for its confirmation, and writes its lines for the next boot, also those of a change that was
    /// confirmed and could not have them written.
    ///
    /// # Errors
    /// Nothing waits, the journal refuses, or the lines could not be written.
    pub fn confirm(&self, id: Option<&str>, by: &str) -> Result<String, Error> {
        let lock = self.store.lock()?;
        let entry = self.pending(id)?;
        let id = entry.open.id.clone();
        if entry.open.boot_id != self.boot_id {
            return Err(Error::Nothing(format!("the change {id} is gone with the boot that it was made in")));
        }
        let mut writer = self.store.append(&lock, &id)?;
        // Before the lines: what is not confirmed must not outlive a boot.
        if entry.confirmed.is_none() {
            writer.append(&Record::Confirmed { at: (self.now)(), by: by.into() })?;
        }
        let written = match &entry.open.persist {
            Some(persist) => persist::write(persist).map_err(|error| error.to_string()).and_then(|()| {
                writer.append(&Record::Persisted { at: (self.now)() }).map_err(|error| error.to_string())
            }),
            None => Ok(()),
        };
        if entry.closed.is_none() {
            writer.append(&Record::Closed {
                at: (self.now)(),
                outcome: Outcome::Confirmed,
                why: format!("by {by}"),
            })?;
        }
        match written {
            Ok(()) => Ok(id),
            Err(why) => Err(Error::NotPersisted { id, why }),
        }
    }

    /// Takes a change back: that one, or the one that waits, or else the newest that is in effect.
    ///
    /// # Errors
    /// There is none, or the journal refuses.
    pub fn rollback(&self, id: Option<&str>, why: &str, force: bool) -> Result<Rollback, Error> {
        let lock = self.store.lock()?;
        let id = match id {
            Some(id) => id.to_string(),
            None => self.newest()?.ok_or_else(|| Error::Nothing("no change of tcproof is in effect".into()))?,
        };
        self.rollback_locked(&lock, &id, why, force)
    }

    /// Takes back what waits for its confirmation; `None` where nothing does.
    ///
    /// # Errors
    /// The journal refuses.
    pub fn rollback_pending(&self, why: &str) -> Result<Option<Rollback>, Error> {
        let lock = self.store.lock()?;
        let id = self.store.pending()?;
        id.map(|id| self.rollback_locked(&lock, &id, why, false)).transpose()
    }

    fn rollback_locked(&self, lock: &Lock, id: &str, why: &str, force: bool) -> Result<Rollback, Error> {
        let entry = self.entry(id)?;
        let mut writer = self.store.append(lock, id)?;
        Ok(self.take_back(&mut writer, &entry, why, force))
    }

    fn pending(&self, id: Option<&str>) -> Result<Entry, Error> {
        let newest = if id.is_none() { self.store.pending()? } else { None };
        let id = id
            .map(String::from)
            .or(newest)
            .ok_or_else(|| Error::Nothing("no change waits for its confirmation".into()))?;
        let entry = self.entry(&id)?;
        match entry.is_pending() || entry.lacks_lines() {
            true => Ok(entry),
            false => Err(Error::Nothing(format!("the change {id} does not wait for a confirmation"))),
        }
    }

    fn newest(&self) -> Result<Option<String>, Error> {
        for id in self.store.ids()?.into_iter().rev() {
            if self.store.read(&id)?.is_some_and(|entry| entry.is_in_effect()) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Reads every knob before the first is written: the host must be what the plan was made for.
    fn read_before(&self, plan: &Plan) -> Result<Open, Error> {
        let (mut steps, mut drifted) = (Vec::new(), Vec::new());
        for change in &plan.changes {
            let (namespace, key) = (&change.namespace, &change.knob);
            match knob::look(&self.root, namespace, key) {
                Ok((old, cookie)) if knobs::by_key(key).is_some_and(|knob| knob.kind.is_same(&old, &change.from)) => {
                    let (namespace, knob, new) = (namespace.clone(), key.clone(), change.to.clone());
                    steps.push(Step { namespace, cookie, knob, old, new });
                }
                Ok((old, _)) => drifted.push(format!("{key} in {} is {old:?}, not {:?}", namespace.name, change.from)),
                Err(trouble) => drifted.push(trouble.to_string()),
            }
        }
        if !drifted.is_empty() {
            return Err(Error::Drifted(drifted));
        }
        Ok(Open {
            version: VERSION,
            id: plan.id.clone(),
            number: 0,
            at: (self.now)(),
            user: self.user.clone(),
            boot_id: self.boot_id.clone(),
            reasons: plan.findings.iter().map(|reason| reason.summary.clone()).collect(),
            steps,
            persist: None,
        })
    }

    fn write(&self, step: &Step) -> Result<(), Trouble> {
        knob::write(&self.root, step, &step.new)
    }

    /// Takes steps back and records it. That the record fails keeps no step from being taken back.
    fn take_back(&self, writer: &mut Writer, entry: &Entry, why: &str, force: bool) -> Rollback {
        let open = &entry.open;
        let mut rollback = Rollback { id: open.id.clone(), steps: Vec::new(), lines: None };
        let mut has_lines = vec![entry.is_persisted; open.steps.len()];
        // First what boot would set again.
        if let Some(persist) = &open.persist {
            let results = persist::take_out(entry, persist);
            for (number, result) in results.iter().enumerate() {
                has_lines[number] |= matches!(result, Undone::Restored | Undone::ChangedByOthers(_));
                let _ = writer.append(&Record::Unpersisted { step: number, result: result.clone() });
            }
            let lines = open.steps.iter().cloned().zip(results);
            let lines: Vec<_> = lines.filter(|(_, result)| *result != Undone::Untouched).collect();
            rollback.lines = (!lines.is_empty()).then(|| (persist.path.clone(), lines));
        }
        for (number, step) in entry.to_undo() {
            let result = match open.boot_id == self.boot_id {
                true => self.restore(step, force),
                // Knobs do not outlive a boot, unless it sets them.
                false if has_lines[number] => self.restore_after_boot(step, force),
                false => Undone::Gone,
            };
            let _ = writer.append(&Record::Undone { step: number, result: result.clone() });
            rollback.steps.push((step.clone(), result));
        }
        let outcome = if rollback.is_complete() { Outcome::RolledBack } else { Outcome::Incomplete };
        let _ = writer.append(&Record::Closed { at: (self.now)(), outcome, why: why.into() });
        rollback
    }

    /// Takes back what a later boot has set by our lines, in the namespace where boot sets it.
    fn restore_after_boot(&self, step: &Step, force: bool) -> Undone {
        let mut step = step.clone();
        if step.namespace.inode.is_some() {
            let Some(initial) = initial_netns(&self.root) else {
                return Undone::Failed("the initial network namespace can't be seen from here".into());
            };
            step.namespace.inode = Some(initial.0);
            // Of another boot.
            step.cookie = None;
        }
        match self.restore(&step, force) {
            // Boot set something else: our value is gone.
            Undone::ChangedByOthers(_) => Undone::Gone,
            result => result,
        }
    }

    fn restore(&self, step: &Step, force: bool) -> Undone {
        let is = match knob::read(&self.root, step) {
            Ok(is) => is,
            Err(Trouble::Gone(_)) => return Undone::Gone,
            Err(Trouble::Refused(why)) => return Undone::Failed(why),
        };
        let is_ours = knobs::by_key(&step.knob).is_some_and(|knob| knob.kind.is_same(&is, &step.new));
        if is == step.old {
            return Undone::Untouched;
        }
        if !is_ours && !force {
            return Undone::ChangedByOthers(is);
        }
        match knob::write(&self.root, step, &step.old) {
            Ok(()) => Undone::Restored,
            Err(Trouble::Gone(_)) => Undone::Gone,
            Err(Trouble::Refused(why)) => Undone::Failed(why),
        }
    }

    /// What a change has come to.
    ///
    /// # Errors
    /// The journal refuses.
    pub fn entry(&self, id: &str) -> Result<Entry, Error> {
        self.store.read(id)?.ok_or_else(|| Error::Nothing(format!("the change {id} was never begun")))
    }
}

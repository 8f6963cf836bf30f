//! Apply, confirm, roll back: every change is in the journal with the value that was there before it is made.

use tcproof_core::journal::{Entry, Open, Outcome, Record, Step, Undone, VERSION};
use tcproof_core::knobs;
use tcproof_core::plan::Plan;
use tcproof_host::Root;

use crate::journal::{self, Lock, Store, Writer};
use crate::knob::{self, Trouble};

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
}

impl Rollback {
    /// Whether the host is as it was, as far as tcproof changed it.
    pub fn is_complete(&self) -> bool {
        self.steps.iter().all(|(_, result)| !matches!(result, Undone::Failed(_) | Undone::ChangedByOthers(_)))
    }
}

impl Surroundings {
    /// Makes a plan's changes, exactly those, and waits for nothing.
    ///
    /// # Errors
    /// See [`Error`]. The host is as before, unless a rollback in it says otherwise.
    pub fn apply(&self, plan: &Plan, until_ms: u64) -> Result<Open, Error> {
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
        let open = self.read_before(plan)?;
        let mut writer = self.store.create(&lock, &open)?;
        let written = open.steps.iter().try_for_each(|step| self.write(step).map_err(|trouble| trouble.to_string()));
        let mut wait = || writer.append(&Record::Waiting { until_ms }).map_err(|error| error.to_string());
        if let Err(why) = written.and_then(|()| wait()) {
            let steps = open.steps.iter().enumerate().rev().collect();
            let undone = self.take_back(&mut writer, &open, steps, &why, false);
            return Err(Error::Failed { why, undone });
        }
        Ok(open)
    }

    /// Keeps what waits for its confirmation.
    ///
    /// # Errors
    /// Nothing waits, or the journal refuses.
    pub fn confirm(&self, id: Option<&str>, by: &str) -> Result<String, Error> {
        let lock = self.store.lock()?;
        let id = self.pending(id)?;
        let mut writer = self.store.append(&lock, &id)?;
        writer.append(&Record::Confirmed { at: (self.now)(), by: by.into() })?;
        writer.append(&Record::Closed { at: (self.now)(), outcome: Outcome::Confirmed, why: format!("by {by}") })?;
        Ok(id)
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
        Ok(self.take_back(&mut writer, &entry.open, entry.to_undo(), why, force))
    }

    fn pending(&self, id: Option<&str>) -> Result<String, Error> {
        let newest = if id.is_none() { self.store.pending()? } else { None };
        let id = id
            .map(String::from)
            .or(newest)
            .ok_or_else(|| Error::Nothing("no change waits for its confirmation".into()))?;
        match self.entry(&id)?.is_pending() {
            true => Ok(id),
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
            match knob::read(&self.root, namespace, key) {
                Ok(old) if knobs::by_key(key).is_some_and(|knob| knob.kind.is_same(&old, &change.from)) => {
                    steps.push(Step { namespace: namespace.clone(), knob: key.clone(), old, new: change.to.clone() });
                }
                Ok(old) => drifted.push(format!("{key} in {} is {old:?}, not {:?}", namespace.name, change.from)),
                Err(trouble) => drifted.push(trouble.to_string()),
            }
        }
        if !drifted.is_empty() {
            return Err(Error::Drifted(drifted));
        }
        Ok(Open {
            version: VERSION,
            id: plan.id.clone(),
            at: (self.now)(),
            user: self.user.clone(),
            boot_id: self.boot_id.clone(),
            reasons: plan.findings.iter().map(|reason| reason.summary.clone()).collect(),
            steps,
        })
    }

    fn write(&self, step: &Step) -> Result<(), Trouble> {
        knob::write(&self.root, &step.namespace, &step.knob, &step.new)
    }

    /// Takes steps back and records it. That the record fails keeps no step from being taken back.
    fn take_back(
        &self,
        writer: &mut Writer,
        open: &Open,
        steps: Vec<(usize, &Step)>,
        why: &str,
        force: bool,
    ) -> Rollback {
        let mut rollback = Rollback { id: open.id.clone(), steps: Vec::new() };
        for (number, step) in steps {
            // Knobs do not outlive a boot.
            let result = if open.boot_id == self.boot_id { self.restore(step, force) } else { Undone::Gone };
            let _ = writer.append(&Record::Undone { step: number, result: result.clone() });
            rollback.steps.push((step.clone(), result));
        }
        let outcome = if rollback.is_complete() { Outcome::RolledBack } else { Outcome::Incomplete };
        let _ = writer.append(&Record::Closed { at: (self.now)(), outcome, why: why.into() });
        rollback
    }

    fn restore(&self, step: &Step, force: bool) -> Undone {
        let is = match knob::read(&self.root, &step.namespace, &step.knob) {
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
        match knob::write(&self.root, &step.namespace, &step.knob, &step.old) {
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
        Ok(self.store.read(id)?.ok_or_else(|| Error::Nothing(format!("the change {id} was never begun")))?)
    }
}

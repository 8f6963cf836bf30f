//! A scenario while it runs, and who cures it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tcproof_core::Diagnosis;

use super::start::{start_load, start_server};
use super::{Error, Progress, file, wait};
use crate::kit::machine::{self, Knobs};
use crate::kit::nft;
use crate::scenario::{LINK, Scenario, Side};
use crate::topology::{SERVER_LINK, Topology};
use crate::worker::Command;
use crate::workers::Workers;

/// What somebody did to cure a scenario, where that was not its own remedy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cured {
    /// Steps, in a few words each.
    pub did: Vec<String>,
    /// What was not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// Who cures a scenario, instead of its own remedy.
pub trait Cure {
    /// Does it, and says how long it needs until it is felt; none where it did not come to a cure, as the scenario says.
    ///
    /// # Errors
    /// When the lab itself could not do its work; what the cure does wrong goes to [`Stage::wrong`].
    fn cure(&mut self, stage: &mut Stage<'_>) -> Result<Option<Duration>, Error>;

    /// Takes it back, after the symptom was measured again.
    ///
    /// # Errors
    /// As [`Cure::cure`].
    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<(), Error>;
}

/// A scenario while it runs, for a [`Cure`].
pub struct Stage<'a> {
    /// What it is.
    pub scenario: &'a Scenario,
    /// What the check found.
    pub diagnosis: &'a Diagnosis,
    pub(super) lab: &'a Topology,
    pub(super) workers: &'a mut Workers,
    pub(super) kernel: &'a mut Knobs,
    pub(super) progress: &'a mut dyn FnMut(Progress<'_>),
    pub(super) cured: Cured,
}

impl Stage<'_> {
    /// The file of a side's network namespace.
    pub fn file(&self, side: Side) -> PathBuf {
        file(self.lab, side)
    }

    /// Its inode.
    pub fn inode(&self, side: Side) -> u64 {
        self.lab.netns(side).inode()
    }

    /// The sysctls that are read in a side's namespace.
    ///
    /// # Errors
    /// The namespace can't be entered.
    pub fn within<T: Send>(&self, side: Side, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.lab.within(side, || Ok(act()))
    }

    /// What of the remedy is no sysctl: what an application, a service or a network's owner does.
    ///
    /// # Errors
    /// The lab's own.
    pub fn without_knobs(&mut self) -> Result<(), Error> {
        act(self.scenario, self.lab, self.workers)
    }

    /// What a restart of the services does: every server listens again, and transfers begin anew.
    ///
    /// # Errors
    /// The lab's own.
    pub fn restart(&mut self) -> Result<(), Error> {
        let Self { scenario, lab, workers, .. } = self;
        scenario.server.iter().try_for_each(|server| workers.tell(&server.name, &Command::Relisten))?;
        for load in scenario.load.iter().filter(|load| load.kind.is_bulk()) {
            workers.stop(&load.name);
            start_load(scenario, lab, workers, load.clone(), false)?;
        }
        Ok(())
    }

    /// All of the remedy.
    ///
    /// # Errors
    /// The lab's own.
    pub fn remedy(&mut self) -> Result<(), Error> {
        cure(self.scenario, self.lab, self.workers, self.kernel)
    }

    /// Lets the load go on.
    ///
    /// # Errors
    /// Ctrl-C, or a worker that broke.
    pub fn wait(&mut self, time: Duration) -> Result<(), Error> {
        wait(time, self.workers, self.progress)
    }

    /// Says what is done.
    pub fn did(&mut self, what: String) {
        (self.progress)(Progress::Phase(what.clone()));
        self.cured.did.push(what);
    }

    /// Says what is not as it should be: the scenario fails.
    pub fn wrong(&mut self, what: String) {
        self.cured.wrong.push(what);
    }
}

fn cure(scenario: &Scenario, lab: &Topology, workers: &mut Workers, kernel: &mut Knobs) -> Result<(), Error> {
    let Some(remedy) = &scenario.remedy else { return Ok(()) };
    remedy.global.sysctl.iter().try_for_each(|(key, value)| kernel.write(&key.0, &value.0))?;
    for side in [Side::Server, Side::Client] {
        lab.write(side, remedy.sysctl.of(side))?;
    }
    act(scenario, lab, workers)
}

/// What of a remedy is no sysctl.
fn act(scenario: &Scenario, lab: &Topology, workers: &mut Workers) -> Result<(), Error> {
    let Some(remedy) = &scenario.remedy else { return Ok(()) };
    if let Some(cpus) = remedy.global.rps {
        lab.within(Side::Server, || machine::steer(SERVER_LINK, cpus))?;
    }
    for name in &remedy.relisten {
        workers.tell(name, &Command::Relisten)?;
    }
    if let Some(link) = &remedy.link {
        lab.limit_server(link)?;
        if link.is_emulated() {
            workers.tell(LINK, &Command::Change(Box::new(link.clone())))?;
        }
    }
    if remedy.route {
        lab.route_strangers()?;
    }
    if let Some(port) = remedy.notrack {
        lab.within(Side::Server, || nft::notrack(Some(port)))?;
    }
    if let Some(n) = remedy.forget {
        let side = scenario.conntrack.map_or(Side::Server, |conntrack| conntrack.side);
        lab.forget_conntrack(side, n)?;
    }
    for name in remedy.server.keys() {
        let server = scenario.cured_server(name).map_err(Error::Lab)?;
        workers.stop(name);
        start_server(scenario, lab, workers, server, true)?;
    }
    for name in remedy.load.keys() {
        let load = scenario.cured_load(name).map_err(Error::Lab)?;
        workers.stop(name);
        start_load(scenario, lab, workers, load, true)?;
    }
    Ok(())
}

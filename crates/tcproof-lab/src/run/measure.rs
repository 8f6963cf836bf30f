//! What the lab itself measures over a phase.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::scenario::{Scenario, Side, Symptom};
use crate::statistics::Statistics;
use crate::topology::{Counters, Topology};
use crate::workers::Workers;

/// What was measured by the lab itself over a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How long.
    pub seconds: f64,
    /// The scenario's symptom, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symptom: Option<u64>,
    /// The goodput that the symptom is about, in Mbit/s, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_mbit: Option<f64>,
    /// What the workers saw, by their names.
    pub workers: BTreeMap<String, Statistics>,
    /// Counters that changed, by namespace.
    pub counters: BTreeMap<String, BTreeMap<String, i64>>,
}

/// Measures one phase.
pub(super) struct Meter {
    start: Instant,
    counters: BTreeMap<Side, Counters>,
}

impl Meter {
    pub(super) fn start(lab: &Topology, workers: &mut Workers) -> Result<Self, Error> {
        workers.mark()?;
        Ok(Self { start: Instant::now(), counters: counters(lab)? })
    }

    pub(super) fn finish(self, scenario: &Scenario, lab: &Topology, workers: &mut Workers) -> Result<Measured, Error> {
        let seconds = self.start.elapsed().as_secs_f64();
        let now = counters(lab)?;
        let workers = workers.mark()?;
        let mut grown = BTreeMap::new();
        for (side, counters) in now {
            let before = &self.counters[&side];
            let changed = counters.into_iter().map(|(name, after)| {
                let before = before.get(&name).copied().unwrap_or(0);
                (name, after.wrapping_sub(before).cast_signed())
            });
            grown.insert(side.name().to_string(), changed.filter(|(_, growth)| *growth != 0).collect());
        }
        let goodput = scenario.symptom.as_ref().and_then(|symptom| symptom.goodput.as_ref());
        let goodput_mbit = goodput.map(|name| goodput_of(&workers, name));
        let counted = scenario.symptom.as_ref().filter(|symptom| symptom.goodput.is_none());
        let symptom = counted.map(|symptom| count(symptom, &grown, &workers));
        Ok(Measured { seconds, symptom, goodput_mbit, workers, counters: grown })
    }
}

fn counters(lab: &Topology) -> Result<BTreeMap<Side, Counters>, Error> {
    [Side::Client, Side::Server].into_iter().map(|side| Ok((side, lab.counters(side)?))).collect()
}

pub(super) fn goodput_of(workers: &BTreeMap<String, Statistics>, name: &str) -> f64 {
    workers.get(name).and_then(|statistics| statistics.goodput_mbit).unwrap_or(0.0)
}

fn count(
    symptom: &Symptom,
    grown: &BTreeMap<String, BTreeMap<String, i64>>,
    workers: &BTreeMap<String, Statistics>,
) -> u64 {
    let grew = |name: &str| {
        let growth = grown.get(symptom.side.name()).and_then(|counters| counters.get(name)).copied();
        growth.map_or(0, |growth| growth.max(0).unsigned_abs())
    };
    let of = |name: &String| workers.get(name);
    if let Some(name) = &symptom.counter {
        grew(name)
    } else if let Some(state) = &symptom.sockets {
        grew(&format!("sockets.{state}"))
    } else if let Some(load) = symptom.slow_connects.as_ref().and_then(of) {
        load.slow_calls
    } else if let Some(load) = symptom.errors.as_ref().and_then(of) {
        let counted = |errno: &str| symptom.only.is_empty() || symptom.only.iter().any(|only| only == errno);
        load.failed.iter().filter(|(errno, _)| counted(errno)).map(|(_, n)| n).sum()
    } else {
        0
    }
}

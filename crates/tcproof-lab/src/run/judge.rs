//! Whether all was as the scenario says.

use tcproof_core::State;

use super::Outcome;
use super::measure::{Measured, goodput_of};
use crate::scenario::{Load, LoadKind, Scenario, Slug, Symptom};
use crate::statistics::Statistics;

/// The share of its rate that a healthy load must reach.
const ENOUGH: f64 = 0.9;

/// Everything that was not as the scenario says.
pub(super) fn judge(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let (Some(diagnosis), Some(before)) = (&outcome.diagnosis, &outcome.before) else { return wrong };
    let named = |f: &tcproof_core::Finding| {
        let state = if f.state == State::Limiting { "limiting" } else { "near" };
        format!("{}/{} ({state}, {})", f.limit, f.cause, f.subject)
    };
    match (&outcome.truth, diagnosis.findings.first()) {
        (Some(truth), Some(first)) => {
            let (limit, cause) = (&truth.limit, &truth.cause);
            if (&first.limit, &first.cause) != (limit, cause) {
                wrong.push(format!("the first finding is {}, not {limit}/{cause}", named(first)));
            } else if first.state != truth.state {
                wrong.push(format!("the first finding is {}, which is not the true state", named(first)));
            }
            if let Some(subject) = &scenario.subject
                && !first.subject.to_string().contains(subject.as_str())
            {
                wrong.push(format!("the first finding is about {}, not {subject}", first.subject));
            }
        }
        (Some(truth), None) => wrong.push(format!("no finding; it is {}/{}", truth.limit, truth.cause)),
        (None, _) => wrong.extend(diagnosis.findings.iter().map(|f| format!("healthy, but found {}", named(f)))),
    }
    for finding in diagnosis.findings.iter().filter(|f| f.state == State::Limiting) {
        if scenario.absent.iter().any(|slug| slug.0 == finding.limit) {
            wrong.push(format!("{} is a look-alike, and is reported", named(finding)));
        }
    }
    for Slug(slug) in &scenario.unknown {
        if !diagnosis.unknown.iter().any(|unknown| unknown.limit == *slug) {
            wrong.push(format!("{slug} is not among the unknown, though something happened that can't be placed"));
        }
    }
    for (side, word) in &scenario.bound_by {
        let mut flows = diagnosis.flows.iter().filter(|flow| flow.netns == side.name()).peekable();
        if flows.peek().is_none() {
            wrong.push(format!("the check noted no flow of the {}", side.name()));
        }
        let others = flows.filter(|flow| flow.bound_by != *word);
        wrong.extend(others.map(|flow| {
            format!("{} → {} is said to be bound by {}, not {word}", flow.local, flow.remote, flow.bound_by)
        }));
    }
    for (name, least) in &scenario.goodput_at_least_mbit {
        let (mbit, least) = (goodput_of(&before.workers, name), least.get_ref().0);
        if mbit < least {
            wrong.push(format!("{name} moved {mbit:.1} Mbit/s, not at least {least}"));
        }
    }
    match &scenario.symptom {
        Some(symptom) if symptom.goodput.is_some() => wrong.extend(judge_goodput(symptom, outcome)),
        Some(symptom) => {
            let seen = before.symptom.unwrap_or(0);
            if seen < symptom.at_least {
                wrong.push(format!("the symptom did not occur: {seen} of at least {}", symptom.at_least));
            }
            // Where the scenario knows no remedy, none is expected to cure it.
            let after = outcome.after.as_ref().filter(|_| scenario.remedy.is_some());
            if let Some(left) = after.and_then(|after| after.symptom)
                && left > symptom.tolerate
            {
                wrong.push(format!("the symptom did not stop: {seen} before the remedy, {left} after it"));
            }
        }
        None => {
            for (worker, statistics) in before.workers.iter().filter(|(_, s)| s.failures() > 0) {
                wrong.push(format!("{worker} saw failures in a healthy scenario: {:?}", statistics.failed));
            }
            wrong.extend(scenario.load.iter().filter_map(|load| fell_short(load, before.workers.get(&load.name)?)));
        }
    }
    wrong
}

/// Slow before the remedy, and faster after it.
fn judge_goodput(symptom: &Symptom, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mbit = |measured: &Option<Measured>| measured.as_ref().and_then(|measured| measured.goodput_mbit);
    let Some(before) = mbit(&outcome.before) else { return wrong };
    if let Some(most) = symptom.at_most_mbit.filter(|most| before > most.0) {
        wrong.push(format!("the symptom did not occur: {before:.1} Mbit/s, not at most {}", most.0));
    }
    if let Some(after) = mbit(&outcome.after) {
        let gain = symptom.gain();
        // Nothing is no cure, however slow it was.
        if after < before * gain || after <= 0.0 {
            wrong.push(format!("goodput {before:.2} → {after:.2} Mbit/s: the remedy did not make it {gain} times"));
        }
        if let Some(least) = symptom.cured_at_least_mbit.filter(|least| after < least.0) {
            wrong.push(format!("goodput {after:.1} Mbit/s after the remedy, not at least {}", least.0));
        }
    }
    wrong
}

/// A healthy load that did not happen proves nothing.
fn fell_short(load: &Load, statistics: &Statistics) -> Option<String> {
    if load.kind == LoadKind::SpoofedSyn || load.kind.keeps() || load.count.is_some() || load.length.is_some() {
        return None;
    }
    let wanted = f64::from(load.per_second()) * statistics.seconds;
    let connected = statistics.connected;
    ((connected as f64) < wanted * ENOUGH)
        .then(|| format!("{} connected only {connected} of {wanted:.0} times: this machine is too busy", load.name))
}

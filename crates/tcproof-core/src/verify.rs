//! Whether a change helped: the same limit's evidence in a window before it and in one of equal length after it.
//!
//! A symptom that is gone proves nothing where the traffic is gone too, so every answer hangs on the load: it has to be
//! comparable, or to speak against the answer (fewer drops although more came in).

mod side;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use self::side::Side;
use crate::diagnose::{Diagnosis, diagnose};
use crate::finding::{Headroom, State, Subject};
use crate::interval::Interval;
use crate::limits::margins::{COMPARABLE, MARGIN, ROOM_FOR_TIME_WAIT, SETTLE, SHARE_MARGIN, SIGMAS, TIME_WAIT};
use crate::plan::{self, Reason};

/// Limits that hold back flows, so that goodput is what a change has to raise.
const FLOW_LIMITS: [&str; 5] = ["congestion-window", "loss", "path-mtu", "receive-window", "send-buffer"];
/// One window: what was read, and what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What was read.
    pub interval: Interval,
    /// What it means.
    pub diagnosis: Diagnosis,
}

impl Observation {
    /// Of an interval.
    pub fn new(interval: Interval) -> Self {
        Self { diagnosis: diagnose(&interval), interval }
    }
}

/// What became of a finding, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It hurts more than before.
    Worse,
    /// It hurts as before.
    NoEffect,
    /// What would tell could not be read, or there is too little of it.
    Unknown,
    /// The load differs too much to tell.
    TooDifferent,
    /// It hurts less, but it is not over.
    Better,
    /// It is over, under a load that is comparable.
    Cured,
}

impl Outcome {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::NoEffect => "no effect",
            Self::Unknown => "unknown",
            Self::TooDifferent => "load too different to tell",
            Self::Better => "better",
            Self::Cured => "cured",
        }
    }

    /// Whether the change did not pay. What could not be told is left to whoever confirms.
    pub fn should_undo(self) -> bool {
        matches!(self, Self::Worse | Self::NoEffect)
    }
}

/// The answer for a whole plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The worst of its findings in the order of [`Outcome`]; unknown where there is none. Of what was rare before and is
    /// gone now, which alone may be chance, another finding of the same limit in the same place tells.
    pub outcome: Outcome,
    /// Lengths of the two windows.
    pub seconds: [f64; 2],
    /// One for each finding, in their order.
    pub findings: Vec<Verified>,
}

impl Verification {
    /// Whether the plan is to be taken back: it has no effect, or a bad one.
    pub fn should_undo(&self) -> bool {
        self.outcome.should_undo()
    }
}

/// What became of one finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The limit's slug.
    pub limit: String,
    /// What it is about.
    pub subject: Subject,
    /// The answer.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub because: String,
    /// The numbers.
    pub rows: Vec<Row>,
}

impl Verified {
    /// Whether everything could be read, and its symptom is not seen any more, but was seen too seldom before, or only when
    /// the plan was made, to say that it is over.
    fn has_faded(&self) -> bool {
        let both = |measure| {
            let row = self.rows.iter().find(|row| row.measure == measure)?;
            Some([row.before?.value, row.after?.value])
        };
        let is_gone = both(Measure::Symptom).is_some_and(|[_, after]| after <= 0.0);
        self.outcome == Outcome::Unknown && is_gone && both(Measure::Load).is_some()
    }
}

/// One reading in both windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it stands for.
    pub measure: Measure,
    /// Its name.
    pub reading: String,
    /// Of what.
    pub unit: String,
    /// In the window before; missing where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Amount>,
    /// In the window after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Amount>,
    /// How the two compare, where that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// What hurts: drops, failures, segments sent again.
    Symptom,
    /// Used of a capacity.
    Headroom,
    /// What gets through.
    Goodput,
    /// What is asked for.
    Load,
}

/// A number, perhaps out of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// The number.
    pub value: f64,
    /// The capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<f64>,
}

/// How the window after compares with the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Less of what hurts, or more of what is wanted.
    Better,
    /// The difference is within what two windows differ by.
    Same,
    /// The opposite.
    Worse,
}

/// How long changes need until the window after them shows what they do, in seconds, and for which knob that is longer than
/// a moment.
pub fn settle(changes: &[plan::Change]) -> (u32, Option<&str>) {
    let slow = changes.iter().map(|change| &*change.knob).find(|knob| ROOM_FOR_TIME_WAIT.contains(knob));
    (slow.map_or(SETTLE, |_| TIME_WAIT + SETTLE), slow)
}

/// What became of findings: compares the window before a change with one of equal length after it.
pub fn verify(reasons: &[Reason], before: &Observation, after: &Observation) -> Verification {
    let findings: Vec<_> = reasons.iter().map(|reason| judge(reason, before, after)).collect();
    let is_told = |faded: &Verified| {
        let beside = |it: &&Verified| it.limit == faded.limit && it.subject.netns() == faded.subject.netns();
        findings.iter().filter(beside).any(|it| it.outcome >= Outcome::Better)
    };
    let outcomes = findings.iter().filter(|it| !(it.has_faded() && is_told(it))).map(|it| it.outcome);
    Verification {
        outcome: outcomes.min().unwrap_or(Outcome::Unknown),
        seconds: [before.interval.seconds(), after.interval.seconds()],
        findings,
    }
}

fn judge(reason: &Reason, before: &Observation, after: &Observation) -> Verified {
    let listening = reason.subject.netns().into_iter().flat_map(|name| {
        let of = |seen: &Observation| seen.interval.namespace(name).map(|ns| ns.listening_ports());
        [of(before), of(after)].into_iter().flatten().flatten()
    });
    // Which side is the service is the same in both windows, also where the listener was seen in one of them only.
    let listening: BTreeSet<u16> = listening.collect();
    let is_probed = [before, after].iter().all(|seen| seen.interval.trace.saw_all_connects());
    let sides = [before, after].map(|seen| Side { reason, seen, listening: &listening, is_probed });
    let mut rows = Vec::new();
    let (outcome, because) = match both(sides.each_ref().map(Side::is_readable)) {
        Err(why) => (Outcome::Unknown, why),
        Ok(_) if FLOW_LIMITS.contains(&&*reason.limit) => by_goodput(&sides, &mut rows),
        Ok(_) => by_symptom(&sides, &mut rows),
    };
    Verified { limit: reason.limit.clone(), subject: reason.subject.clone(), outcome, because, rows }
}

/// Limits that drop, refuse or fill up: events first, and where there are none, how full it is.
fn by_symptom(sides: &[Side<'_>; 2], rows: &mut Vec<Row>) -> (Outcome, String) {
    let events = sides.each_ref().map(Side::events);
    let loads = sides.each_ref().map(Side::load);
    let rooms = sides.each_ref().map(Side::headroom);
    rows.extend(sides[0].symptom_name().map(|name| rates(sides, Measure::Symptom, name, "events/s", &events)));
    rows.extend(room(&rooms));
    rows.extend(goodput(sides));
    rows.push(rates(sides, Measure::Load, sides[0].load_name(), "/s", &loads));
    let ([e0, e1], [l0, l1]) = match (both(events), both(loads)) {
        (Ok(events), Ok(loads)) => (events, loads),
        (Err(why), _) | (_, Err(why)) => return (Outcome::Unknown, why),
    };
    if let Some(silent) = sides.iter().find_map(Side::is_silent) {
        return (Outcome::TooDifferent, silent);
    }
    if l0 <= 0.0 || l1 <= 0.0 {
        return (Outcome::TooDifferent, format!("no traffic {}", if l1 <= 0.0 { "after" } else { "before" }));
    }
    let [s0, s1] = sides.each_ref().map(Side::seconds);
    let shares = rooms.each_ref().map(|room| room.as_ref().map_or(0.0, Headroom::share));
    let (change, measure) = if e0 + e1 > 0.0 {
        // Fewer in all, and fewer of those that tried: half the drops of half the load are no effect.
        let change = agreed(compare([e0, e1], [s0, s1]), compare([e0, e1], [l0, l1]));
        (change, Measure::Symptom)
    } else if rooms.iter().any(Option::is_some) {
        // A limit lists what is in use: what is missing there was not, if it could be read at all.
        let unread = |at: usize| rooms[at].is_none().then(|| sides[at].unjudged()).flatten();
        if let Some(why) = unread(0).or_else(|| unread(1)) {
            return (Outcome::Unknown, why);
        }
        (Some(fuller(shares, [l0, l1])), Measure::Headroom)
    } else {
        // A leak, a pile, a missing probe: nothing is counted but the finding itself, where it could be judged.
        let found = sides.each_ref().map(|side| side.state().is_some());
        let unjudged = |at: usize| (!found[at]).then(|| sides[at].unjudged()).flatten();
        let change = match found {
            [true, true] => {
                return (Outcome::NoEffect, "the finding stands, and nothing else could be counted".into());
            }
            [true, false] => Change::Better,
            [false, true] => Change::Worse,
            [false, false] => {
                return (Outcome::Unknown, "nothing that can be counted shows whether it is over".into());
            }
        };
        if let Some(why) = unjudged(0).or_else(|| unjudged(1)) {
            return (Outcome::Unknown, why);
        }
        (Some(change), Measure::Symptom)
    };
    if let Some(row) = rows.iter_mut().find(|row| row.measure == measure) {
        row.change = change;
    }
    let Some(change) = change else {
        return (Outcome::Unknown, format!("{e0} events and then {e1} may be chance: watch for longer"));
    };
    let ratio = l1 / l0;
    let comparable = (1.0 / COMPARABLE..=COMPARABLE).contains(&ratio);
    // Less of it under more load is better all the more.
    let all_the_more = (change == Change::Better && ratio > 1.0) || (change == Change::Worse && ratio < 1.0);
    let times = format!("at {ratio:.2} times the load");
    if !comparable && !all_the_more {
        return (Outcome::TooDifferent, times);
    }
    match change {
        Change::Worse => (Outcome::Worse, times),
        Change::Same if e0 + e1 <= 0.0 && sides[0].state().is_none() => {
            (Outcome::Unknown, "nothing of it was seen in the window before".into())
        }
        Change::Same => (Outcome::NoEffect, times),
        Change::Better if e1 <= 0.0 => improved(&sides[1], times),
        Change::Better => (Outcome::Better, times),
    }
}

/// Limits that hold flows back: more has to get through.
fn by_goodput(sides: &[Side<'_>; 2], rows: &mut Vec<Row>) -> (Outcome, String) {
    let again = sides.each_ref().map(Side::sent_again);
    if sides[0].reason.limit == "loss" {
        let amount = |(lost, sent): (f64, f64)| (sent > 0.0).then_some(Amount { value: lost, of: Some(sent) });
        let [before, after] = again.map(amount);
        rows.push(Row::new(Measure::Symptom, "tcpi_total_retrans of tcpi_data_segs_out", "segments", before, after));
    }
    rows.extend(room(&sides.each_ref().map(Side::headroom)));
    rows.extend(goodput(sides));
    let [n0, n1] = sides.each_ref().map(|side| side.flows().count() as f64);
    let amount = |n: f64| Some(Amount { value: n, of: None });
    rows.push(Row::new(Measure::Load, "flows of the same service", "flows", amount(n0), amount(n1)));
    if let Some(why) = sides.iter().find_map(|side| side.flows_unread()) {
        return (Outcome::Unknown, why);
    }
    if n0 == 0.0 || n1 == 0.0 {
        let when = if n1 == 0.0 { "after" } else { "before" };
        return (Outcome::TooDifferent, format!("no flow of the same service was watched {when}"));
    }
    if !(1.0 / COMPARABLE..=COMPARABLE).contains(&(n1 / n0)) {
        return (Outcome::TooDifferent, format!("{n0} flows and then {n1}"));
    }
    let [r0, r1] = sides.each_ref().map(Side::bits);
    let direction = |before: f64, after: f64| match after - before {
        difference if difference.abs() <= before.max(after) * MARGIN => Change::Same,
        difference if difference > 0.0 => Change::Better,
        _ => Change::Worse,
    };
    // More in all, and more of each: twice the flows carry twice as much without any cure.
    let (all, each) = (direction(r0, r1), direction(r0 / n0, r1 / n1));
    let change = if all == each { all } else { Change::Same };
    rows.iter_mut().filter(|row| row.measure == Measure::Goodput).for_each(|row| row.change = Some(change));
    // The slower window is only slower because of a limit if there was something to send.
    let had_data = sides.each_ref().map(Side::has_data);
    let fair = match change {
        Change::Better => had_data[0],
        Change::Worse => had_data[1],
        Change::Same => had_data[0] && had_data[1],
    };
    if !fair {
        return (Outcome::TooDifferent, "the application had nothing more to send, so a limit does not show".into());
    }
    let is_loss = sides[0].reason.limit == "loss";
    // Where as much gets through, fewer segments may be sent again for it.
    let [(l0, s0), (l1, s1)] = again;
    let resent = if is_loss && s0 > 0.0 && s1 > 0.0 { compare([l0, l1], [s0, s1]) } else { None };
    rows.iter_mut().filter(|row| row.measure == Measure::Symptom).for_each(|row| row.change = resent);
    match (change, resent) {
        (Change::Worse, _) => (Outcome::Worse, "less gets through".into()),
        (Change::Better, _) => improved(&sides[1], "more gets through".into()),
        (Change::Same, Some(Change::Worse)) => (Outcome::Worse, "more segments are sent again".into()),
        (Change::Same, Some(Change::Better)) => improved(&sides[1], "fewer segments are sent again".into()),
        (Change::Same, _) if sides[0].state().is_none() => {
            (Outcome::Unknown, "nothing of it was seen in the window before".into())
        }
        (Change::Same, _) => (Outcome::NoEffect, "as much gets through as before".into()),
    }
}

/// Better; cured where the limit itself could be judged and found nothing.
fn improved(after: &Side<'_>, because: String) -> (Outcome, String) {
    match (after.state(), after.unjudged()) {
        (None, None) => (Outcome::Cured, because),
        (None, Some(why)) => (Outcome::Better, format!("{because}; whether it is over can't be told: {why}")),
        (Some(State::Near), _) => (Outcome::Better, format!("{because}; still near its limit")),
        (Some(State::Limiting), _) => (Outcome::Better, format!("{because}; still limiting")),
    }
}

/// Counts as rates of what they came from; `None` where the difference may be chance.
fn compare([n0, n1]: [f64; 2], [of0, of1]: [f64; 2]) -> Option<Change> {
    let (before, after) = (n0 / of0, n1 / of1);
    let difference = after - before;
    if difference.abs() <= before.max(after) * MARGIN {
        return Some(Change::Same);
    }
    // Squared: `sqrt` is not in `core`.
    let variance = n0 / (of0 * of0) + n1 / (of1 * of1);
    if difference * difference <= SIGMAS * SIGMAS * variance {
        return None;
    }
    Some(if difference < 0.0 { Change::Better } else { Change::Worse })
}

/// Where two views of one thing differ, nothing is proven.
fn agreed(one: Option<Change>, other: Option<Change>) -> Option<Change> {
    match (one, other) {
        (one, other) if one == other => one,
        (None, Some(Change::Better | Change::Worse)) | (Some(Change::Better | Change::Worse), None) => None,
        _ => Some(Change::Same),
    }
}

/// How full something is, by itself and, so that less load is no cure, for the load that it had.
fn fuller([u0, u1]: [f64; 2], [l0, l1]: [f64; 2]) -> Change {
    let direction = |difference: f64, margin: f64| match difference {
        d if d.abs() < margin => Change::Same,
        d if d < 0.0 => Change::Better,
        _ => Change::Worse,
    };
    let (for0, for1) = (u0 / l0, u1 / l1);
    let (by_itself, for_load) = (direction(u1 - u0, SHARE_MARGIN), direction(for1 - for0, f64::EPSILON));
    if by_itself == for_load { by_itself } else { Change::Same }
}

fn both<T>(readings: [Result<T, String>; 2]) -> Result<[T; 2], String> {
    let [before, after] = readings;
    Ok([before.map_err(|why| format!("before: {why}"))?, after.map_err(|why| format!("after: {why}"))?])
}

impl Row {
    fn new(measure: Measure, reading: &str, unit: &str, before: Option<Amount>, after: Option<Amount>) -> Self {
        Self { measure, reading: reading.into(), unit: unit.into(), before, after, change: None }
    }
}

fn rates(sides: &[Side<'_>; 2], measure: Measure, reading: &str, unit: &str, counts: &[Result<f64, String>; 2]) -> Row {
    let rate = |at: usize| Some(Amount { value: counts[at].as_ref().ok()? / sides[at].seconds(), of: None });
    Row::new(measure, reading, unit, rate(0), rate(1))
}

fn room(rooms: &[Option<Headroom>; 2]) -> Option<Row> {
    let unit = &rooms.iter().flatten().next()?.unit;
    let amount = |room: &Headroom| Amount { value: room.used as f64, of: Some(room.capacity as f64) };
    let [before, after] = rooms.each_ref().map(|room| room.as_ref().map(amount));
    Some(Row::new(Measure::Headroom, "used of the capacity", unit, before, after))
}

fn goodput(sides: &[Side<'_>; 2]) -> Option<Row> {
    let shown = sides.each_ref().map(|side| side.flows().next().map(|_| Amount { value: side.bits(), of: None }));
    let [before, after] = shown;
    (before.is_some() || after.is_some())
        .then(|| Row::new(Measure::Goodput, "flows of the same service", "bits/s", before, after))
}

#[cfg(test)]
mod tests;

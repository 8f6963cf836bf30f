//! What a contestant did to a scenario, by the numbers that the lab measured before and after.

use std::fmt;

use serde_json::Value;

/// As good as gone: the share of the events that may remain.
const GONE: f64 = 0.02;
/// The share of the goodput that the scenario's own remedy reaches.
const AS_GOOD: f64 = 0.7;
/// What is a difference, and not noise.
const MORE: f64 = 1.25;

/// What became of the symptom; of a healthy scenario: of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// More than before.
    Worse,
    /// As before.
    Nothing,
    /// Less than before, and not gone.
    Better,
    /// As good as gone.
    Cures,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cures => "cures",
            Self::Better => "better",
            Self::Nothing => "nothing",
            Self::Worse => "WORSE",
        })
    }
}

/// One contestant on one scenario.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// It was measured.
    Measured {
        effect: Effect,
        /// Knobs that it changed, over both namespaces.
        knobs: usize,
        /// Before and after, in words.
        numbers: String,
    },
    /// It could not be, and why.
    Skip(String),
}

impl Cell {
    /// What became of the symptom, if it was measured.
    pub(crate) fn effect(&self) -> Option<Effect> {
        match self {
            Self::Measured { effect, .. } => Some(*effect),
            Self::Skip(_) => None,
        }
    }
}

/// What a contestant is held against.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Against<'a> {
    /// The goodput that the scenario's own remedy reaches.
    pub(crate) cured: Option<f64>,
    /// The outcome where nothing was done but the restart, if that was tried: a failure may get worse by itself.
    pub(crate) nothing: Option<&'a Value>,
}

/// Judges an outcome of `tcproof lab run --json`.
pub(crate) fn judge(outcome: &Value, against: Against<'_>) -> Cell {
    let (before, after) = (&outcome["before"], &outcome["after"]);
    let base = against.nothing.map(|nothing| &nothing["after"]).filter(|base| !base.is_null()).unwrap_or(before);
    if before.is_null() || after.is_null() {
        let reasons = words(&outcome["reasons"]);
        return Cell::Skip(if reasons.is_empty() { "nothing was measured".into() } else { reasons.join("; ") });
    }
    let did = words(&outcome["cured"]["did"]);
    let knobs = did.iter().filter(|line| is_change(line)).count();
    let (effect, numbers) = if outcome["truth"].is_null() {
        healthy(base, before, after)
    } else if let (Some(base), Some(then), Some(now)) = three(goodput, base, before, after) {
        (by_goodput([base, then], now, against.cured), format!("{then:.1} → {now:.1} Mbit/s"))
    } else if let (Some(base), Some(then), Some(now)) = three(rate, base, before, after) {
        (by_rate([base, then], now), format!("{then:.0} → {now:.0} a second"))
    } else {
        healthy(base, before, after)
    };
    Cell::Measured { effect, knobs, numbers }
}

type Numbers = (Option<f64>, Option<f64>, Option<f64>);

fn three(number: fn(&Value) -> Option<f64>, base: &Value, before: &Value, after: &Value) -> Numbers {
    (number(base), number(before), number(after))
}

/// The goodput that a symptom is about, in Mbit/s.
pub(crate) fn goodput(measured: &Value) -> Option<f64> {
    measured["goodput_mbit"].as_f64()
}

fn rate(measured: &Value) -> Option<f64> {
    Some(measured["symptom"].as_f64()? / measured["seconds"].as_f64().filter(|seconds| *seconds > 0.0)?)
}

/// Held against both what was before and what would be without it: each is noisy.
fn by_goodput(others: [f64; 2], now: f64, cured: Option<f64>) -> Effect {
    match cured {
        Some(cured) if now >= cured * AS_GOOD => Effect::Cures,
        _ if others.iter().all(|other| now > other * MORE && now > other + 0.1) => Effect::Better,
        _ if others.iter().all(|other| now * MORE < *other) => Effect::Worse,
        _ => Effect::Nothing,
    }
}

fn by_rate(others: [f64; 2], now: f64) -> Effect {
    match () {
        () if others.iter().all(|other| now <= other * GONE) => Effect::Cures,
        () if others.iter().all(|other| now * MORE < *other) => Effect::Better,
        () if others.iter().all(|other| now > other * MORE) => Effect::Worse,
        () => Effect::Nothing,
    }
}

/// Of a scenario without a symptom: whether clients fail, or connect less.
fn healthy(base: &Value, before: &Value, after: &Value) -> (Effect, String) {
    let [base, before, after] = [base, before, after].map(|measured| {
        let workers = || measured["workers"].as_object().into_iter().flatten().map(|(_, worker)| worker);
        let failed = workers().flat_map(|worker| worker["failed"].as_object().into_iter().flatten());
        let failed: u64 = failed.filter_map(|(_, n)| n.as_u64()).sum();
        let connected: f64 = workers().filter_map(|worker| worker["connected"].as_f64()).sum();
        let seconds = measured["seconds"].as_f64().filter(|seconds| *seconds > 0.0).unwrap_or(1.0);
        (connected / seconds, failed)
    });
    let effect = match () {
        () if after.1 > base.1 || after.0 * MORE < base.0 => Effect::Worse,
        () if after.0 > base.0 * MORE => Effect::Better,
        () => Effect::Nothing,
    };
    (effect, format!("{:.0} → {:.0} connections a second, {} → {} failed", before.0, after.0, before.1, after.1))
}

/// `net.core.somaxconn of the server: 128 → 4096`, or `plan: net.core.somaxconn 128 → 4096`.
fn is_change(line: &str) -> bool {
    line.contains(" → ") && (line.starts_with("plan: ") || line.contains(" of the "))
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn effect(outcome: &Value, cured: Option<f64>) -> Effect {
        match judge(outcome, Against { cured, nothing: None }) {
            Cell::Measured { effect, .. } => effect,
            Cell::Skip(why) => panic!("{why}"),
        }
    }

    #[test]
    fn goodput_is_held_against_the_remedys() {
        let cell =
            |after: f64| json!({"truth": {}, "before": {"goodput_mbit": 10.0}, "after": {"goodput_mbit": after}});
        let judged = [80.0, 60.0, 11.0, 9.0, 5.0].map(|after| effect(&cell(after), Some(100.0)));
        use Effect::{Better, Cures, Nothing, Worse};
        assert_eq!(judged, [Cures, Better, Nothing, Nothing, Worse]);
        assert_eq!(effect(&cell(80.0), None), Better);
    }

    #[test]
    fn events_are_held_against_those_before_by_the_second() {
        let cell = |n: u64, s: f64| json!({"truth": {}, "before": {"symptom": 1000, "seconds": 5.0}, "after": {"symptom": n, "seconds": s}});
        let judged = [(0, 5.0), (8, 2.0), (500, 5.0), (400, 2.0), (800, 2.0)].map(|(n, s)| effect(&cell(n, s), None));
        use Effect::{Better, Cures, Nothing, Worse};
        assert_eq!(judged, [Cures, Cures, Better, Nothing, Worse]);
    }

    #[test]
    fn what_gets_worse_by_itself_is_nobodys_doing() {
        let outcome = |n: u64| json!({"truth": {}, "before": {"symptom": 100, "seconds": 1.0}, "after": {"symptom": n, "seconds": 1.0}});
        let (alone, same, more) = (outcome(150), outcome(160), outcome(300));
        let against = Against { cured: None, nothing: Some(&alone) };
        let effects = [&same, &more].map(|outcome| match judge(outcome, against) {
            Cell::Measured { effect, .. } => effect,
            Cell::Skip(why) => panic!("{why}"),
        });
        assert_eq!(effects, [Effect::Nothing, Effect::Worse]);
        assert_eq!(effect(&same, None), Effect::Worse);
    }

    #[test]
    fn a_healthy_scenario_can_only_be_harmed() {
        let phase = |connected: u64, failed: u64| json!({"seconds": 1.0, "workers": {"c": {"connected": connected, "failed": {"ECONNREFUSED": failed}}}});
        let cell = |connected, failed| json!({"before": phase(1000, 0), "after": phase(connected, failed)});
        let judged = [(990, 0), (1000, 1), (500, 0)].map(|(connected, failed)| effect(&cell(connected, failed), None));
        assert_eq!(judged, [Effect::Nothing, Effect::Worse, Effect::Worse]);
    }

    #[test]
    fn changed_knobs_are_counted() {
        let did = [
            "by a shell: x",
            "net.ipv4.tcp_rmem of the server: 4096 131072 262144 → 4096 87380 33554432",
            "net.core.somaxconn of the client: 128 → 65535",
            "net.ipv4.tcp_congestion_control of the client: cubic → bbr",
            "plan: net.core.somaxconn 4096 → 128",
            "rolled back: every knob is byte for byte what it was",
        ];
        let outcome = json!({"truth": {}, "before": {"goodput_mbit": 1.0}, "after": {"goodput_mbit": 1.0}, "cured": {"did": did}});
        let Cell::Measured { knobs, .. } = judge(&outcome, Against::default()) else { panic!() };
        assert_eq!(knobs, 4);
        assert_eq!(judge(&json!({"reasons": ["no root"]}), Against::default()), Cell::Skip("no root".into()));
        for hostile in [json!(3), json!([]), json!({"before": 1, "after": "x"})] {
            judge(&hostile, Against::default());
        }
    }
}

//! The pages as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use tcproof_core::Reading;
use tcproof_core::counters::Counter;
use tcproof_core::knobs::Knob;
use tcproof_core::lint::Rule;
use tcproof_core::states::State;

use super::words::{LINUX_3, defaults, facts, kind, undo};
use super::{Counts, Here, places_of};
use crate::json::to_text;
use crate::page::SCHEMA;

/// The page of a knob as JSON.
pub fn knob_json(knob: &Knob, here: &Here<'_, String>) -> String {
    let places = places_of(knob, here);
    let here = &Here { places: &places, ..*here };
    to_text(&KnobPage {
        schema: SCHEMA,
        knob: knob.key,
        title: knob.title,
        unit: knob.unit,
        takes: kind(&knob.kind),
        default: knob.default_on(here.machine),
        defaults: defaults(knob, here.machine),
        here: places_json(here),
        namespaced: knob.is_namespaced(),
        limits: knob.limits,
        enforced_by: knob.enforced_by,
        does_not: knob.not,
        raising: knob.raising,
        lowering: knob.lowering,
        takes_effect: knob.effect.exactly,
        undo: undo(knob.undo),
        cost: knob.cost,
        since: (knob.exists.since >= LINUX_3).then(|| knob.exists.since.to_string()),
        removed: knob.exists.removed.map(|removed| removed.max(LINUX_3).to_string()),
        without_effect_since: knob.exists.inert_since.map(|since| since.to_string()),
        module: knob.exists.module,
        facts: facts(knob),
        lint: knob.folklore.iter().map(|lore| Lore { rule: lore.rule, says: lore.says }).collect(),
        belongs_to: knob.belongs_to,
        related: knob.related,
        sources: knob.sources,
    })
}

/// The page of a counter as JSON.
pub fn counter_json(counter: &Counter, here: &Here<'_, u64>) -> String {
    to_text(&CounterPage {
        schema: SCHEMA,
        counter: counter.name,
        read_in: counter.place,
        counts: counter.counts,
        counted_by: counter.counted_by,
        proves: counter.proves,
        does_not_prove: counter.does_not_prove,
        per_socket: counter.per_socket,
        here: places_json(here),
    })
}

/// The page of a rule as JSON.
pub fn rule_json(rule: &Rule) -> String {
    to_text(&RulePage {
        schema: SCHEMA,
        rule: rule.slug,
        title: rule.title,
        severity: rule.severity.name(),
        page: rule.page(),
    })
}

/// Names of one kind as JSON: `rules`, `knobs`, `counters`.
pub fn names_json<'a>(kind: &'a str, names: impl Iterator<Item = &'a str>) -> String {
    to_text(&BTreeMap::from([("schema", serde_json::Value::from(SCHEMA)), (kind, names.collect())]))
}

/// The states as JSON: all of them, or one.
pub fn states_json(only: Option<State>, places: &[(String, Reading<Counts>)]) -> String {
    let shown = State::ALL.iter().filter(|state| only.is_none_or(|only| only == **state));
    let states = shown.map(|state| state.about()).map(|about| StateEntry {
        state: about.name,
        kernel_name: about.kernel_name,
        number: about.state.number(),
        entered: about.entered,
        left: about.left,
        side: about.side,
        lasts: about.lasts,
        memory: about.memory,
        many: about.many,
        not: about.not,
        limits: about.limits,
        knobs: about.knobs,
    });
    let here = places.iter().map(|(netns, counts)| match counts {
        Reading::Present(counts) => StateCounts { netns, counts: Some(counts), unknown: None },
        Reading::Absent(why) => StateCounts { netns, counts: None, unknown: Some(why.to_string()) },
    });
    to_text(&States { schema: SCHEMA, states: states.collect(), counted: here.collect() })
}

fn places_json<'a, T: ToString>(here: &Here<'a, T>) -> Vec<Place<'a>> {
    let place = |(netns, reading): &'a (String, Reading<T>)| match reading {
        Reading::Present(value) => Place { netns, value: Some(value.to_string()), unknown: None },
        Reading::Absent(why) => Place { netns, value: None, unknown: Some(why.to_string()) },
    };
    here.places.iter().map(place).collect()
}

#[derive(Serialize)]
struct Place<'a> {
    netns: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

#[derive(Serialize)]
struct KnobPage<'a> {
    schema: &'static str,
    knob: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
    takes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    defaults: Vec<String>,
    here: Vec<Place<'a>>,
    namespaced: bool,
    limits: &'a str,
    enforced_by: &'a [&'a str],
    does_not: &'a str,
    raising: &'a str,
    lowering: &'a str,
    takes_effect: &'a str,
    undo: String,
    cost: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without_effect_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    facts: Vec<String>,
    lint: Vec<Lore>,
    belongs_to: &'a [&'a str],
    related: &'a [&'a str],
    sources: &'a [&'a str],
}

#[derive(Serialize)]
struct Lore {
    rule: &'static str,
    says: &'static str,
}

#[derive(Serialize)]
struct CounterPage<'a> {
    schema: &'static str,
    counter: &'a str,
    read_in: &'a str,
    counts: &'a str,
    counted_by: &'a [&'a str],
    proves: &'a str,
    does_not_prove: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    per_socket: &'a str,
    here: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct RulePage {
    schema: &'static str,
    rule: &'static str,
    title: &'static str,
    severity: &'static str,
    page: String,
}

#[derive(Serialize)]
struct States<'a> {
    schema: &'static str,
    states: Vec<StateEntry>,
    counted: Vec<StateCounts<'a>>,
}

#[derive(Serialize)]
struct StateEntry {
    state: &'static str,
    kernel_name: &'static str,
    number: u8,
    entered: &'static str,
    left: &'static str,
    side: &'static str,
    lasts: &'static str,
    memory: &'static str,
    many: &'static str,
    not: &'static str,
    limits: &'static [&'static str],
    knobs: &'static [&'static str],
}

#[derive(Serialize)]
struct StateCounts<'a> {
    netns: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<&'a Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

//! `tcproof explain`: the page of a knob, a counter or a rule, as text and as JSON. A limit's page is its file's header.

mod json;
mod words;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use tcproof_core::counters::{self, Counter};
use tcproof_core::knobs::{self, Knob, Machine, Scope};
use tcproof_core::lint::{RULES, Rule};
use tcproof_core::snapshot::Unseen;
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading, Version};

use crate::Style;
use crate::layout::{Cell, Role, Screen, few};
use crate::page::page;
use crate::states::draw;
pub use json::{counter_json, knob_json, names_json, rule_json, states_json};
use words::{defaults, existence, facts, risks};

/// Sockets by state.
type Counts = BTreeMap<State, u64>;

/// The JSON Schema of what `--json` prints.
pub const JSON_SCHEMA: &str = include_str!("../schema/explain-1.schema.json");

/// What this host says of a knob or counter: per network namespace, the observer's own first.
pub struct Here<'a, T> {
    /// The machine.
    pub machine: &'a Machine,
    /// Name of the namespace, and the value there.
    pub places: &'a [(String, Reading<T>)],
    /// Namespaces that could not be looked into.
    pub unseen: &'a [Unseen],
}

/// The page of a knob.
pub fn knob(knob: &Knob, here: &Here<'_, String>, style: &Style) -> String {
    let places = places_of(knob, here);
    let here = &Here { places: &places, ..*here };
    let mut source = format!("# {}\n{}{}\n\n## Here\n", knob.key, sentence(knob.title), existence(knob));
    let default = knob.default_on(here.machine);
    for (value, places) in by_value(here) {
        let is_default = default.as_deref().is_some_and(|default| knob.kind.is_same(&value, default));
        let note = if is_default { ", the default" } else { "" };
        let value = if value.trim().is_empty() { "empty".into() } else { words(&value) };
        let _ = writeln!(source, "- {}: {value}{note}", places_text(&places, here.places.len()));
    }
    for (why, places) in absences(here) {
        let _ = writeln!(source, "- {}: {why}", places_text(&places, here.places.len()));
    }
    unseen(&mut source, here.unseen);
    list(&mut source, "Default", &defaults(knob, here.machine));
    let limits = if knob.exists.removed.is_some() { "What it limited" } else { "What it limits" };
    section(&mut source, limits, knob.limits);
    source.push('\n');
    for place in knob.enforced_by {
        let _ = writeln!(source, "- {place}");
    }
    section(&mut source, "What it does not do", knob.not);
    for (heading, text) in risks(knob) {
        section(&mut source, heading, &text);
    }
    // Some that can only be read are counters, too.
    if let Some(counter) = counters::all().find(|counter| counter.name == knob.key) {
        section(&mut source, "What it proves", counter.proves);
        section(&mut source, "What it does not prove", counter.does_not_prove);
    }
    list(&mut source, "Facts", &facts(knob));
    let lore: Vec<_> = knob.folklore.iter().map(|lore| format!("{}: {}", lore.rule, lore.says)).collect();
    list(&mut source, "What lint says of it", &lore);
    section(&mut source, "Limits that it belongs to", &knob.belongs_to.join(", "));
    section(&mut source, "See also", &knob.related.join(", "));
    list(&mut source, "References", knob.sources);
    page(&source, style)
}

/// Whether only the host's own network namespace has the file.
fn is_hidden_inside(knob: &Knob, machine: &Machine) -> bool {
    knob.scope == Scope::GLOBAL && knob.exists.module.is_none() && knob.exists.in_kernel(machine.kernel)
}

/// The places of a knob. That a container lacks the file of what exists once for the whole kernel says nothing of the
/// kernel.
fn places_of(knob: &Knob, here: &Here<'_, String>) -> Vec<(String, Reading<String>)> {
    let mut places = here.places.to_vec();
    if is_hidden_inside(knob, here.machine) {
        for (_, reading) in &mut places {
            if let Reading::Absent(Absent::NotInKernel { what }) = reading {
                *reading = Reading::Absent(Absent::OtherNetns { what: std::mem::take(what) });
            }
        }
        // Where the host's value is seen there is nothing to add.
        if places.iter().any(|(_, reading)| reading.value().is_some()) {
            places.retain(|(_, reading)| !matches!(reading, Reading::Absent(Absent::OtherNetns { .. })));
        }
    }
    places
}

/// The page of a counter.
pub fn counter(counter: &Counter, here: &Here<'_, u64>, style: &Style) -> String {
    let mut source = format!("# {}\n{}\n", counter.name, sentence(counter.counts));
    // What each socket, device or CPU has of its own is not read here.
    if here.places.iter().any(|(_, value)| !matches!(value, Reading::Absent(Absent::Failed { .. }))) {
        source.push_str("\n## Here\n");
        for (value, places) in by_value(here) {
            let _ = writeln!(source, "- {}: {value}", places_text(&places, here.places.len()));
        }
        for (why, places) in absences(here) {
            let _ = writeln!(source, "- {}: {why}", places_text(&places, here.places.len()));
        }
        unseen(&mut source, here.unseen);
    }
    section(&mut source, "What it proves", counter.proves);
    section(&mut source, "What it does not prove", counter.does_not_prove);
    source.push_str("\n## Facts\n");
    let _ = writeln!(source, "- read in {}", counter.place);
    let kind = match counter.kind {
        counters::Kind::Counter => "only grows: two readings make a rate, one says nothing of now",
        counters::Kind::Gauge => "a state: it rises and falls",
    };
    let _ = writeln!(source, "- {kind}");
    let scope = match counter.scope {
        counters::Scope::Namespace => "each network namespace has its own: read it in the container's",
        counters::Scope::Global => "one for the whole kernel: the same in every namespace",
        counters::Scope::Socket => "each socket has its own",
        counters::Scope::Device => "each network device has its own",
        counters::Scope::Cgroup => "each control group has its own",
    };
    let _ = writeln!(source, "- {scope}");
    if counter.since > Version::ALWAYS {
        let _ = writeln!(source, "- since Linux {}", counter.since);
    }
    if !counter.per_socket.is_empty() {
        let _ = writeln!(source, "- for one socket: {}", counter.per_socket);
    }
    list(&mut source, "Counted by", counter.counted_by);
    page(&source, style)
}

/// The page of a rule of lint.
pub fn rule(rule: &Rule, style: &Style) -> String {
    page(&rule.page(), style)
}

/// The state machine with this host's sockets, and where they are.
pub fn states(total: &Counts, places: &[(String, Reading<Counts>)], not_seen: &[Unseen], style: &Style) -> String {
    let mut text = draw(total, style);
    let mut source = String::from("\n## Counted in\n");
    for (name, counts) in places {
        let _ = match counts {
            Reading::Present(counts) => writeln!(source, "- {name}: {}", sockets(counts)),
            Reading::Absent(why) => writeln!(source, "- {name}: {why}"),
        };
    }
    unseen(&mut source, not_seen);
    source.push_str("\nOne of them: tcproof explain TIME-WAIT\n");
    text.push('\n');
    text.push_str(&page(&source, style));
    text
}

fn sockets(counts: &Counts) -> String {
    let most: Vec<_> = counts.iter().filter(|(_, n)| **n > 0).map(|(state, n)| format!("{n} {state}")).collect();
    if most.is_empty() { "none".into() } else { most.join(", ") }
}

/// The page of a state.
pub fn state(state: State, here: &Here<'_, u64>, style: &Style) -> String {
    let about = state.about();
    let mut source =
        format!("# {}\nThe kernel calls it {}, number {}.\n", about.name, about.kernel_name, state.number());
    source.push_str("\n## Here\n");
    for (n, places) in by_value(here) {
        let _ = writeln!(source, "- {}: {n}", places_text(&places, here.places.len()));
    }
    for (why, places) in absences(here) {
        let _ = writeln!(source, "- {}: {why}", places_text(&places, here.places.len()));
    }
    unseen(&mut source, here.unseen);
    section(&mut source, "Entered", about.entered);
    section(&mut source, "Left", about.left);
    section(&mut source, "Which side", &sentence(&capitalised(about.side)));
    section(&mut source, "How long", about.lasts);
    section(&mut source, "Memory", &sentence(&capitalised(about.memory)));
    section(&mut source, "What many of them mean", about.many);
    section(&mut source, "What they do not mean", about.not);
    section(&mut source, "Limits", &about.limits.join(", "));
    section(&mut source, "Knobs", &about.knobs.join(", "));
    if about.since > Version::ALWAYS {
        let _ = writeln!(source, "\nSince Linux {}.", about.since);
    }
    page(&source, style)
}

/// All rules of lint, and how to allow what one of them finds.
pub fn rules(style: &Style) -> String {
    let rows = RULES.iter().map(|rule| (rule.slug, rule.severity.name(), rule.title.to_string()));
    table(rows, "Allow one on the line above: # tcproof: allow SLUG — reason", style)
}

/// All knobs.
pub fn knobs(style: &Style) -> String {
    let rows = knobs::all().map(|knob| (knob.key, "", format!("{}{}", knob.title, past(knob))));
    table(rows, "One of them: tcproof explain KEY", style)
}

/// What a list says of a knob that is gone, or does nothing.
fn past(knob: &Knob) -> &'static str {
    match (knob.exists.removed, knob.exists.inert_since) {
        (Some(_), _) => " (removed)",
        (None, Some(_)) => " (without effect)",
        (None, None) => "",
    }
}

/// All counters.
pub fn counters(style: &Style) -> String {
    let rows = counters::all().map(|counter| (counter.name, "", first_sentence(counter.counts).to_string()));
    table(rows, "One of them: tcproof explain NAME", style)
}

fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a str, String)>, last: &str, style: &Style) -> String {
    let rows: Vec<_> = rows.collect();
    // A title beside a long name would have no room: it stands below.
    let fits = |name: &&str| name.len() + 2 <= style.columns() / 2;
    let indent = rows.iter().map(|(name, ..)| *name).filter(fits).map(str::len).max().unwrap_or(0) + 2;
    let mut screen = Screen::new(style);
    for (name, level, title) in rows {
        let level = if level.is_empty() { String::new() } else { format!("{level}: ") };
        if fits(&name) {
            screen.row(&[Cell::new(Role::Command, name, indent)], Role::Plain, &format!("{level}{title}"));
        } else {
            screen.text(Role::Command, name);
            screen.row(&[Cell::blank(indent)], Role::Plain, &format!("{level}{title}"));
        }
    }
    screen.gap();
    screen.text(Role::Plain, last);
    screen.finish()
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim_end()
}

fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{text}{end}")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn section(source: &mut String, heading: &str, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(source, "\n## {heading}\n{text}");
    }
}

fn list(source: &mut String, heading: &str, items: &[impl Display]) {
    if !items.is_empty() {
        let _ = writeln!(source, "\n## {heading}");
        for item in items {
            let _ = writeln!(source, "- {item}");
        }
    }
}

fn unseen(source: &mut String, unseen: &[Unseen]) {
    for unseen in unseen {
        let _ = writeln!(source, "- not seen: {}: {}", unseen.what, unseen.why);
    }
}

/// Values with the namespaces that have them, in the order in which they are met.
fn by_value<T: ToString>(here: &Here<'_, T>) -> Vec<(String, Vec<String>)> {
    group(here.places.iter().filter_map(|(name, reading)| Some((reading.value()?.to_string(), name))))
}

/// Why there is no value, with the namespaces where there is none.
fn absences<T>(here: &Here<'_, T>) -> Vec<(String, Vec<String>)> {
    group(here.places.iter().filter_map(|(name, reading)| match reading {
        Reading::Absent(why) => Some((why.to_string(), name)),
        Reading::Present(_) => None,
    }))
}

fn group<'a>(items: impl Iterator<Item = (String, &'a String)>) -> Vec<(String, Vec<String>)> {
    let mut order: Vec<String> = Vec::new();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (value, name) in items {
        if !groups.contains_key(&value) {
            order.push(value.clone());
        }
        groups.entry(value).or_default().push(name.clone());
    }
    order.into_iter().map(|value| (value.clone(), groups.remove(&value).unwrap_or_default())).collect()
}

fn places_text(places: &[String], all: usize) -> String {
    match places.len() {
        1 if all == 1 => "now".into(),
        n if n == all => format!("in all {n} network namespaces"),
        _ => format!("in {}", few(places, 3)),
    }
}

fn words(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

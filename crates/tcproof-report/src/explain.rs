//! `tcproof explain`: the page of a knob, a counter or a rule, as text and as JSON. A limit's page is its file's header.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use serde::Serialize;
use tcproof_core::counters::{self, Counter};
use tcproof_core::knobs::{
    self, Bounds, Default, DefaultValue, EffectBy, Fresh, Inside, Kind, Knob, Machine, Scope, Undo,
};
use tcproof_core::lint::{RULES, Rule};
use tcproof_core::snapshot::Unseen;
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading, Version};

use crate::Style;
use crate::json::to_text;
use crate::layout::{Cell, Role, Screen, few};
use crate::page::{SCHEMA, page};
use crate::states::draw;

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

/// In which kernels it is there, and does something; begins with a blank, empty for those in every kernel.
fn existence(knob: &Knob) -> String {
    let exists = knob.exists;
    let mut text = String::new();
    // Of the kernels before 3.0 the table knows no minor versions.
    if exists.since >= LINUX_3 {
        let _ = write!(text, " There since Linux {}.", exists.since);
    }
    if let Some(module) = exists.module {
        let _ = write!(text, " There only with the module {module}.");
    }
    if let Some(inert) = exists.inert_since {
        let _ = write!(text, " Without effect since Linux {inert}.");
    }
    match exists.removed {
        Some(removed) if removed < LINUX_3 => text.push_str(" Gone since before Linux 3.0."),
        Some(removed) => {
            let _ = write!(text, " Gone since Linux {removed}.");
        }
        None => {}
    }
    text
}

const LINUX_3: Version = Version(3, 0);

/// Whether it is kept only so that people find out that it does nothing.
fn is_dead(knob: &Knob) -> bool {
    knob.effect.by == EffectBy::Nothing && knob.undo != Undo::ReadOnly
}

/// What can go wrong, under the headings that fit what its values are.
fn risks(knob: &Knob) -> Vec<(&'static str, String)> {
    const SWITCHED: (&str, &str) = ("When switched on", "When switched off");
    let (up, down) = match knob.kind {
        _ if is_dead(knob) => return Vec::new(),
        Kind::ReadOnly if knob.effect.by == EffectBy::Nothing => return Vec::new(),
        Kind::Name | Kind::Key => {
            return vec![("What can go wrong", format!("- {}\n- {}", knob.raising, knob.lowering))];
        }
        Kind::Choice { meanings: [(0, "off"), (1, "on")], .. } | Kind::Flags { .. } => SWITCHED,
        Kind::Number { .. } | Kind::Choice { .. } | Kind::Triple { .. } | Kind::ReadOnly => {
            ("When raised", "When lowered")
        }
        Kind::PortRange => ("When widened", "When narrowed"),
        Kind::PortList | Kind::Names => ("When more are listed", "When fewer are listed"),
        Kind::Cpus => ("With more CPUs", "With fewer CPUs"),
    };
    vec![(up, knob.raising.into()), (down, knob.lowering.into())]
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

/// The defaults, newest kernel first.
fn defaults(knob: &Knob, machine: &Machine) -> Vec<String> {
    let mut later: Option<Version> = None;
    let mut lines = Vec::new();
    for Default { since, value } in knob.defaults.iter().rev() {
        let value = match value {
            DefaultValue::Is("") => "empty".into(),
            DefaultValue::Is(value) => (*value).to_string(),
            DefaultValue::Computed { formula, value } => {
                let is_of_here = *since <= machine.kernel && later.is_none_or(|later| machine.kernel < later);
                match value(machine).filter(|_| is_of_here) {
                    Some(value) => format!("{value} here: {formula}"),
                    None => (*formula).to_string(),
                }
            }
            DefaultValue::DecidedBy(who) => format!("decided by {who}"),
        };
        let range = match (*since > Version::ALWAYS, later) {
            (true, _) => format!(" (since {since})"),
            (false, Some(later)) => format!(" (before {later})"),
            (false, None) => String::new(),
        };
        lines.push(format!("{value}{range}"));
        later = Some(*since);
    }
    lines
}

fn facts(knob: &Knob) -> Vec<String> {
    if is_dead(knob) {
        return Vec::new();
    }
    let mut facts = Vec::new();
    match knob.kind {
        Kind::ReadOnly if knob.unit.is_empty() => {}
        Kind::ReadOnly => facts.push(format!("counts {}", knob.unit)),
        // Their unit is in the words already.
        Kind::PortRange | Kind::PortList => facts.push(format!("takes {}", kind(&knob.kind))),
        _ if knob.unit.is_empty() => facts.push(format!("takes {}", kind(&knob.kind))),
        _ => facts.push(format!("takes {}, in {}", kind(&knob.kind), knob.unit)),
    }
    let exactly = knob.effect.exactly;
    match knob.effect.by {
        EffectBy::Nothing => {}
        _ if ["at ", "from ", "when ", "each time "].iter().any(|when| exactly.starts_with(when)) => {
            facts.push(format!("a change is felt {exactly}"));
        }
        _ => facts.push(format!("a change is felt by: {exactly}")),
    }
    facts.push(scope(knob.scope).into());
    facts.push(undo(knob.undo));
    if knob.cost != "none" {
        facts.push(format!("costs: {}", knob.cost));
    }
    facts
}

fn undo(undo: Undo) -> String {
    match undo {
        Undo::WriteBack => "undone by writing the old value back".into(),
        Undo::LeavesTraces(what) => format!("undone by writing the old value back, but {what}"),
        Undo::OneWay(why) => format!("can't be undone: {why}"),
        Undo::ReadOnly => "can only be read".into(),
    }
}

fn kind(kind: &Kind) -> String {
    let meanings = |meanings: &[(i64, &str)], last: &str| {
        let list: Vec<_> = meanings.iter().map(|(n, means)| format!("{n} ({means})")).collect();
        match list.split_last() {
            Some((end, list)) if !list.is_empty() => format!("{} {last} {end}", list.join(", ")),
            _ => list.concat(),
        }
    };
    match kind {
        Kind::Number { kernel, sane } if kernel == sane => format!("a whole number from {} to {}", sane.min, sane.max),
        Kind::Number { kernel: Bounds::SECONDS, sane } => {
            // The bound itself depends on the kernel's clock.
            let to = if sane.max == Bounds::SECONDS.max { "on".into() } else { format!("to {}", sane.max) };
            format!(
                "a whole number from {} {to} (the kernel takes up to 2147483647 / HZ: 8589934 where HZ is 250)",
                sane.min
            )
        }
        Kind::Number { kernel, sane } => format!(
            "a whole number from {} to {} (the kernel takes {} to {})",
            sane.min, sane.max, kernel.min, kernel.max
        ),
        Kind::Choice { meanings: list, .. } => meanings(list, "or"),
        Kind::Flags { meanings: list, .. } => format!("a sum of {}", meanings(list, "and")),
        Kind::Triple { .. } => "three numbers that must not descend (the kernel does not check)".into(),
        Kind::PortRange => "the lowest and the highest port".into(),
        Kind::PortList => "ports and ranges of ports, with commas between them".into(),
        Kind::Name => "a name".into(),
        Kind::Names => "names, with blanks between them".into(),
        Kind::Cpus => "a set of CPUs".into(),
        Kind::Key => "one or two keys of 32 hexadecimal digits".into(),
        Kind::ReadOnly => "nothing".into(),
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Namespace { fresh: Fresh::Default } => {
            "each network namespace has its own; a new one begins with the kernel's default, not with the host's value"
        }
        Scope::Namespace { fresh: Fresh::Initial } => {
            "each network namespace has its own; a new one begins with the host's value"
        }
        Scope::Namespace { fresh: Fresh::Creator } => {
            "each network namespace has its own; a new one begins with that of the one it is made from"
        }
        Scope::Global { inside: Inside::Absent } => "one for the whole kernel; containers don't see it",
        Scope::Global { inside: Inside::ReadOnly } => "one for the whole kernel; containers see it and can't write it",
        Scope::Global { inside: Inside::Writable } => {
            "one for the whole kernel, though it can be written in a container: that changes the host"
        }
        Scope::Global { inside: Inside::Everywhere } => "one for the whole kernel",
    }
}

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

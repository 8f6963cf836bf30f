//! The pages of `tcproof explain` as people and programs get them, on a machine and in namespaces that are made up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tcproof_core::counters::{self, Counter};
use tcproof_core::knobs::{self, Knob, Machine};
use tcproof_core::limits::LIMITS;
use tcproof_core::lint::{RULES, Rule};
use tcproof_core::snapshot::Unseen;
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading, Version};
use tcproof_report::Style;
use tcproof_report::explain::{self, Here};
use tcproof_report::page;
use textwrap::core::display_width;

/// A host with 16 GiB.
fn machine() -> Machine {
    Machine { cpus: Some(8), ..Machine::of_kernel(Version(6, 1)).with_memory(16 << 30) }
}

fn at(width: usize) -> Style {
    Style { width, ..Style::default() }
}

fn by_key(key: &str) -> &'static Knob {
    knobs::by_key(key).unwrap_or_else(|| panic!("{key} is not in the table"))
}

fn read<T>(values: impl IntoIterator<Item = (&'static str, T)>) -> Vec<(String, Reading<T>)> {
    values.into_iter().map(|(name, value)| (name.to_string(), Reading::Present(value))).collect()
}

fn texts(values: &[(&'static str, &str)]) -> Vec<(String, Reading<String>)> {
    read(values.iter().map(|(name, value)| (*name, (*value).to_string())))
}

fn none(name: &str, what: &str) -> (String, Reading<String>) {
    (name.into(), Reading::Absent(Absent::not_in_kernel(what)))
}

fn unseen() -> Vec<Unseen> {
    let why = Absent::Permission { what: "/proc/PID/ns/net".into(), needs: "CAP_SYS_PTRACE".into() };
    vec![Unseen { what: "network namespaces of 3 processes".into(), why }]
}

fn knob_page(key: &str, places: &[(String, Reading<String>)], unseen: &[Unseen]) -> String {
    explain::knob(by_key(key), &Here { machine: &machine(), places, unseen }, &at(80))
}

#[test]
fn a_knob_that_differs_between_namespaces() {
    let mut places = texts(&[("host", "4096"), ("web", "65535"), ("db", "4096"), ("cache", "4096")]);
    places.push(("old".into(), Reading::Absent(Absent::Gone { what: "its namespace".into() })));
    insta::assert_snapshot!(knob_page("net.core.somaxconn", &places, &unseen()));
}

#[test]
fn a_knob_of_the_whole_kernel() {
    let mut places = texts(&[("host", "1000")]);
    places.push(none("web", "/proc/sys/net/core/netdev_max_backlog"));
    insta::assert_snapshot!(knob_page("net.core.netdev_max_backlog", &places, &[]));
    let inside = [none("web", "/proc/sys/net/core/netdev_max_backlog")];
    let shown = knob_page("net.core.netdev_max_backlog", &inside, &[]);
    assert!(shown.contains("only the initial network namespace shows it"), "{shown}");
    assert!(!shown.contains("this kernel has no"), "{shown}");
}

#[test]
fn a_knob_that_is_gone() {
    let places = [none("host", "/proc/sys/net/ipv4/tcp_tw_recycle")];
    insta::assert_snapshot!(knob_page("net.ipv4.tcp_tw_recycle", &places, &[]));
}

#[test]
fn a_knob_that_does_nothing() {
    insta::assert_snapshot!(knob_page("net.ipv4.tcp_fack", &texts(&[("host", "0")]), &[]));
}

#[test]
fn a_knob_that_cannot_be_undone() {
    insta::assert_snapshot!(knob_page("net.netfilter.nf_hooks_lwtunnel", &texts(&[("host", "0")]), &[]));
}

#[test]
fn a_triple_that_boot_computes() {
    let places = texts(&[("host", "4096\t131072\t6291456"), ("web", "4096\t87380\t16777216")]);
    insta::assert_snapshot!(knob_page("net.ipv4.tcp_rmem", &places, &[]));
}

#[test]
fn a_knob_that_can_only_be_read() {
    insta::assert_snapshot!(knob_page("net.netfilter.nf_conntrack_count", &texts(&[("host", "31")]), &[]));
}

#[test]
fn a_counter() {
    let counter = counters::by_name("ListenOverflows").unwrap();
    let places = read([("host", 0), ("web", 1_482), ("db", 0)]);
    let here = Here { machine: &machine(), places: &places, unseen: &unseen() };
    insta::assert_snapshot!(explain::counter(counter, &here, &at(80)));
}

#[test]
fn a_state() {
    let places = read([("host", 12), ("web", 28_113)]);
    let here = Here { machine: &machine(), places: &places, unseen: &[] };
    insta::assert_snapshot!(explain::state(State::TimeWait, &here, &at(80)));
}

#[test]
fn a_rule() {
    insta::assert_snapshot!(explain::rule(Rule::by_slug("placebo").unwrap(), &at(80)));
}

#[test]
fn the_lists() {
    let style = at(80);
    insta::assert_snapshot!("list_of_knobs", explain::knobs(&style));
    insta::assert_snapshot!("list_of_counters", explain::counters(&style));
    insta::assert_snapshot!("list_of_rules", explain::rules(&style));
}

#[test]
fn as_json() {
    let places = texts(&[("host", "4096"), ("web", "65535")]);
    let here = Here { machine: &machine(), places: &places, unseen: &[] };
    insta::assert_snapshot!("knob_json", explain::knob_json(by_key("net.core.somaxconn"), &here));
    let places = read([("host", 3)]);
    let here = Here { machine: &machine(), places: &places, unseen: &[] };
    insta::assert_snapshot!(
        "counter_json",
        explain::counter_json(counters::by_name("ListenOverflows").unwrap(), &here)
    );
}

fn counted() -> Vec<(String, Reading<BTreeMap<State, u64>>)> {
    read([("host", BTreeMap::from([(State::Listen, 7), (State::TimeWait, 28_125)]))])
}

/// What a host may answer, with names that somebody chose to harm.
fn places<T>(value: T, other: T) -> Vec<(String, Reading<T>)> {
    vec![
        ("host".into(), Reading::Present(value)),
        ("evil\u{1b}[2J\n\u{202e}".repeat(9), Reading::Present(other)),
        ("web".into(), Reading::Absent(Absent::not_in_kernel("/proc/sys/a/very/long/path".repeat(5)))),
    ]
}

fn knob_here(machine: &Machine, show: impl FnOnce(&Here<'_, String>) -> String) -> String {
    let places = places("1\t2\t3".to_string(), "\u{1b}]0;x\u{7}".repeat(40));
    show(&Here { machine, places: &places, unseen: &unseen() })
}

fn number_here(machine: &Machine, show: impl FnOnce(&Here<'_, u64>) -> String) -> String {
    show(&Here { machine, places: &places(0, u64::MAX), unseen: &unseen() })
}

/// Every page and list, with its name.
fn every_page(style: &Style) -> Vec<(String, String)> {
    let machine = machine();
    let mut pages = vec![
        ("knobs".into(), explain::knobs(style)),
        ("counters".into(), explain::counters(style)),
        ("rules".into(), explain::rules(style)),
        ("limits".into(), page::list(style)),
    ];
    let states = explain::states(&counted()[0].1.value().cloned().unwrap_or_default(), &counted(), &unseen(), style);
    pages.push(("states".into(), states));
    pages.extend(LIMITS.iter().map(|limit| (limit.slug.to_string(), page::explain(limit, style))));
    pages.extend(RULES.iter().map(|rule| (rule.slug.to_string(), explain::rule(rule, style))));
    let knob =
        |knob: &'static Knob| (knob.key.to_string(), knob_here(&machine, |here| explain::knob(knob, here, style)));
    pages.extend(knobs::all().map(knob));
    let counter = |counter: &'static Counter| {
        (counter.name.to_string(), number_here(&machine, |here| explain::counter(counter, here, style)))
    };
    pages.extend(counters::all().map(counter));
    let state = |state: &State| (state.to_string(), number_here(&machine, |here| explain::state(*state, here, style)));
    pages.extend(State::ALL.iter().map(state));
    pages
}

#[test]
fn every_page_fits_and_is_harmless() {
    for width in [60, 80, 120] {
        for (name, shown) in every_page(&at(width)) {
            for line in shown.lines() {
                assert!(display_width(line) <= width, "{name} at {width}: {line:?}");
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{name}: {line:?}");
                assert_eq!(line.trim_end(), line, "{name}: blanks at the end");
            }
            assert!(!shown.contains("\n\n\n") && !shown.contains("- - ") && shown.ends_with('\n'), "{name}:\n{shown}");
            assert!(!shown.lines().any(|line| line.starts_with('#')), "{name}: a heading is left:\n{shown}");
        }
    }
}

#[test]
fn every_page_keeps_to_ascii_where_the_terminal_does() {
    let style = Style { unicode: false, ..at(80) };
    for (name, shown) in every_page(&style) {
        assert!(shown.is_ascii(), "{name}:\n{shown}");
    }
}

/// A heading with nothing below it.
#[test]
fn no_section_is_empty() {
    let machine = Machine::of_kernel(Version(4, 19));
    let headings = ["Here", "Default", "What it limits", "What it limited", "Facts", "See also", "References"];
    for knob in knobs::all() {
        let shown = knob_here(&machine, |here| explain::knob(knob, here, &at(80)));
        let lines: Vec<_> = shown.lines().collect();
        for pair in lines.windows(2) {
            assert!(!headings.contains(&pair[0]) || !pair[1].is_empty(), "{}: {}", knob.key, pair[0]);
        }
        assert!(!headings.contains(lines.last().unwrap()), "{}", knob.key);
        let seen: Vec<_> = lines.iter().filter(|line| headings.contains(line)).collect();
        assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "{}: a heading twice", knob.key);
    }
}

#[test]
fn every_json_page_keeps_to_the_schema() {
    let schema: Value = serde_json::from_str(explain::JSON_SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let machine = machine();
    let mut pages = vec![
        page::list_json(),
        explain::names_json("knobs", knobs::all().map(|knob| knob.key)),
        explain::names_json("counters", counters::all().map(|counter| counter.name)),
        explain::names_json("rules", RULES.iter().map(|rule| rule.slug)),
        explain::states_json(None, &counted()),
        explain::states_json(Some(State::TimeWait), &counted()),
    ];
    pages.extend(LIMITS.iter().map(page_json));
    pages.extend(RULES.iter().map(|rule| explain::rule_json(rule)));
    pages.extend(knobs::all().map(|knob| knob_here(&machine, |here| explain::knob_json(knob, here))));
    pages.extend(counters::all().map(|it| number_here(&machine, |here| explain::counter_json(it, here))));
    for text in pages {
        let value: Value = serde_json::from_str(&text).unwrap();
        let wrong: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}\n{text}");
        assert!(!has_null(&value), "a field that does not apply is left out: {text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    }
}

fn page_json(limit: &&'static tcproof_core::limits::Limit) -> String {
    page::explain_json(limit)
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

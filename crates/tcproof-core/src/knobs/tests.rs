//! What every knob of the table must keep to, whichever family it is in.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::limits::{LIMITS, Limit};

/// The rules of lint that a knob can have something to say under.
const RULES: &[&str] = &[
    "unknown-key",
    "not-in-this-kernel",
    "placebo",
    "lowers-default",
    "dangerous",
    "invalid",
    "refused",
    "wrong-unit",
    "shadowed",
    "loaders-differ",
    "differs-at-run-time",
    "needs-module",
    "wrong-scope",
    "out-of-step",
    "never-worked",
    "default-already",
    "bad-allow",
];

/// A machine with 6.18, 2 CPUs and about 23.5 GiB.
pub(super) fn machine() -> Machine {
    Machine {
        kernel: Version(6, 18),
        memory: Some(Memory { bytes: 24_684_092 * 1024, page_bytes: 4096 }),
        cpus: Some(2),
        ehash_entries: Some(262_144),
    }
}

/// A key, its value, what else is set, and the rules whose folklore it meets.
pub(super) type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// The rules of the folklore that a value meets on that machine; what is not among `others` is at its default.
pub(super) fn lore_on(machine: &Machine, key: &str, text: &str, others: &[(&str, &str)]) -> Vec<&'static str> {
    let knob = by_key(key).unwrap_or_else(|| panic!("{key} is not in the table"));
    let default = knob.default_on(machine).map(|text| knob.kind.numbers(&text)).unwrap_or_default();
    let around = |key: &str| {
        let set = others.iter().find(|(other, _)| *other == key).map(|(_, value)| (*value).to_owned());
        set.or_else(|| by_key(key)?.default_on(machine))
    };
    let numbers = knob.kind.numbers(text);
    let setting = Use { text, numbers: &numbers, default: &default, machine, other: &around };
    knob.folklore.iter().filter(|lore| (lore.when)(&setting)).map(|lore| lore.rule).collect()
}

/// The same on [`machine()`].
pub(super) fn lore(key: &str, text: &str, others: &[(&str, &str)]) -> Vec<&'static str> {
    lore_on(&machine(), key, text, others)
}

pub(super) type Rules = &'static [&'static str];
pub(super) type Settings = &'static [(&'static str, &'static str)];
/// A key of `net.ipv4`, its value, what else is set, the kernel, and the rules that have something to say.
pub(super) type CaseOfTcp = (&'static str, &'static str, Settings, Version, Rules);

pub(super) fn check(cases: &[CaseOfTcp]) {
    for (key, value, around, kernel, rules) in cases {
        let key = format!("net.ipv4.{key}");
        let fired = lore_on(&Machine::of_kernel(*kernel), &key, value, around);
        assert_eq!(fired, *rules, "{key} = {value} with {around:?} on {kernel}");
    }
}

fn machines() -> Vec<Machine> {
    let mut machines = Vec::new();
    for kernel in [Version(3, 10), Version(4, 19), Version(5, 15), Version(6, 1), Version(6, 12), Version(7, 2)] {
        machines.push(Machine::of_kernel(kernel));
        for (mib, page_bytes, cpus) in [(256, 4096, 1), (2048, 4096, 2), (65_536, 65_536, 64), (2 << 20, 4096, 512)] {
            let memory = Some(Memory { bytes: mib << 20, page_bytes });
            let ehash_entries = Some((mib * 8).next_power_of_two().min(524_288));
            machines.push(Machine { kernel, memory, cpus: Some(cpus), ehash_entries });
        }
    }
    machines
}

/// Whether the newest kernels have it, and do something with it.
fn is_alive(knob: &Knob) -> bool {
    knob.exists.removed.is_none() && knob.exists.inert_since.is_none()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn keys_are_unique_and_written_with_dots() {
    let mut seen = BTreeSet::new();
    let wrong = all().filter(|knob| !seen.insert(knob.key) || knob.key.contains('/') || !knob.key.contains('.'));
    assert_none(&wrong.map(|knob| knob.key.to_owned()).collect::<Vec<_>>());
}

#[test]
fn every_text_says_something() {
    let mut wrong = Vec::new();
    for knob in all() {
        let mut texts = alloc::vec![
            ("title", knob.title),
            ("effect", knob.effect.exactly),
            ("cost", knob.cost),
            ("limits", knob.limits),
            ("not", knob.not),
            ("raising", knob.raising),
            ("lowering", knob.lowering),
        ];
        if let Undo::LeavesTraces(text) | Undo::OneWay(text) = knob.undo {
            texts.push(("undo", text));
        }
        texts.extend(knob.worse_below.map(|text| ("worse_below", text)));
        texts.extend(knob.folklore.iter().map(|lore| ("folklore", lore.says)));
        for (name, places) in [("enforced_by", knob.enforced_by), ("sources", knob.sources)] {
            texts.extend(places.iter().map(|place| (name, *place)));
            // Nothing enforces any more what is only kept so that lint knows it.
            if places.is_empty() && (name != "enforced_by" || is_alive(knob)) {
                wrong.push(format!("{}: no {name}", knob.key));
            }
        }
        for (name, text) in texts {
            if text.trim().is_empty() || text.trim() != text || text.contains("  ") || text.contains('\n') {
                wrong.push(format!("{}: {name} is {text:?}", knob.key));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn what_a_knob_names_exists() {
    let mut wrong = Vec::new();
    let mut missing = Vec::new();
    for knob in all() {
        for key in knob.related {
            if *key == knob.key {
                wrong.push(format!("{key} is related to itself"));
            } else if by_key(key).is_none() {
                missing.push(format!("{}: related {key} is not in the table", knob.key));
            }
        }
        for slug in knob.belongs_to.iter().filter(|slug| Limit::by_slug(slug).is_none()) {
            wrong.push(format!("{}: no limit is called {slug}", knob.key));
        }
        for lore in knob.folklore {
            if !RULES.contains(&lore.rule) {
                wrong.push(format!("{}: no rule is called {}", knob.key, lore.rule));
            }
            if lore.says.starts_with(knob.key) || lore.says.starts_with(|c: char| c.is_uppercase() && c != 'S') {
                wrong.push(format!("{}: {:?} does not go on after the key", knob.key, lore.says));
            }
        }
    }
    for limit in LIMITS {
        // A name without a dot is an application's setting, such as the backlog of listen(2).
        for key in limit.knobs.iter().filter(|key| key.contains('.') && by_key(key).is_none()) {
            missing.push(format!("limit {}: {key} is not in the table", limit.slug));
        }
    }
    // A family that is not written yet can be named before it stands.
    if FAMILIES.iter().all(|family| !family.is_empty()) {
        wrong.append(&mut missing);
    }
    assert_none(&wrong);
}

#[test]
fn defaults_are_in_order_and_accepted() {
    let mut wrong = Vec::new();
    for knob in all() {
        if !knob.defaults.is_sorted_by_key(|default| default.since) {
            wrong.push(format!("{}: its defaults are not in the order of kernels", knob.key));
        }
        if matches!(knob.kind, Kind::ReadOnly) {
            continue;
        }
        if knob.defaults.is_empty() && is_alive(knob) {
            wrong.push(format!("{}: no default", knob.key));
        }
        for default in knob.defaults {
            if let DefaultValue::Is(value) = default.value
                && let Err(why) = knob.kind.judge(value)
            {
                wrong.push(format!("{}: its default {value} is {why:?}", knob.key));
            }
        }
        for machine in machines() {
            if let Some(value) = knob.default_on(&machine)
                && let Err(why) = knob.kind.judge(&value)
            {
                wrong.push(format!("{}: its default {value} is {why:?} on {machine:?}", knob.key));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn what_is_proposed_instead_is_accepted() {
    let mut wrong = Vec::new();
    for knob in all() {
        for lore in knob.folklore {
            if let Instead::Value(value) = lore.instead
                && let Err(why) = knob.kind.judge(value)
            {
                wrong.push(format!("{}: {value} instead is {why:?}", knob.key));
            }
        }
    }
    assert_none(&wrong);
}

/// A line that restates a default changes nothing, so it cannot make anything worse. It can do nothing, or be refused.
#[test]
fn no_default_is_worse_than_a_note() {
    let mut wrong = Vec::new();
    for knob in all().filter(|knob| is_alive(knob)) {
        for machine in machines().iter().filter(|machine| knob.exists.in_kernel(machine.kernel)) {
            let Some(text) = knob.default_on(machine) else { continue };
            let default = knob.kind.numbers(&text);
            let around = |key: &str| by_key(key)?.default_on(machine);
            let setting = Use { text: &text, numbers: &default, default: &default, machine, other: &around };
            for lore in knob.folklore.iter().filter(|lore| (lore.when)(&setting)) {
                if !matches!(lore.rule, "placebo" | "refused") && lore.severity != Some(crate::lint::Severity::Note) {
                    wrong.push(format!("{} = {text} on {}: {}", knob.key, machine.kernel, lore.rule));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_panics_on_odd_values() {
    for knob in all() {
        for text in ["", "0", "-1", "x", "9223372036854775807", "-9223372036854775807", "1 2 3", "4294967295"] {
            for others in [&[][..], &[("net.ipv4.tcp_retries2", "9223372036854775807")]] {
                let _ = lore(knob.key, text, others);
                let _ = lore_on(&Machine::of_kernel(Version(4, 4)), knob.key, text, others);
            }
        }
    }
}

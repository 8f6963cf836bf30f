//! What a knob's entry says, in words.

use std::fmt::Write;

use tcproof_core::Version;
use tcproof_core::knobs::{Bounds, Default, DefaultValue, EffectBy, Fresh, Inside, Kind, Knob, Machine, Scope, Undo};

/// In which kernels it is there, and does something; begins with a blank, empty for those in every kernel.
pub(super) fn existence(knob: &Knob) -> String {
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

pub(super) const LINUX_3: Version = Version(3, 0);

/// Whether it is kept only so that people find out that it does nothing.
fn is_dead(knob: &Knob) -> bool {
    knob.effect.by == EffectBy::Nothing && knob.undo != Undo::ReadOnly
}

/// What can go wrong, under the headings that fit what its values are.
pub(super) fn risks(knob: &Knob) -> Vec<(&'static str, String)> {
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

/// The defaults, newest kernel first.
pub(super) fn defaults(knob: &Knob, machine: &Machine) -> Vec<String> {
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

pub(super) fn facts(knob: &Knob) -> Vec<String> {
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

pub(super) fn undo(undo: Undo) -> String {
    match undo {
        Undo::WriteBack => "undone by writing the old value back".into(),
        Undo::LeavesTraces(what) => format!("undone by writing the old value back, but {what}"),
        Undo::OneWay(why) => format!("can't be undone: {why}"),
        Undo::ReadOnly => "can only be read".into(),
    }
}

pub(super) fn kind(kind: &Kind) -> String {
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

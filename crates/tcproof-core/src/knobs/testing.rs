//! For tests of families: which folklore a value meets.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Machine, Use, by_key};
use crate::version::Version;

/// A value and what is said of it.
pub(super) struct Case {
    /// The knob, without `net.ipv4.`, or whole.
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    /// What else is set; other knobs have their defaults.
    pub(super) around: &'static [(&'static str, &'static str)],
    pub(super) kernel: Version,
    /// Slugs of the rules, in order; with the severity where it is not the rule's own. Warnings go without it.
    pub(super) fires: &'static [&'static str],
}

impl Case {
    pub(super) fn check(&self) {
        let fired = fired(self.key, self.value, self.around, self.kernel);
        assert_eq!(fired, self.fires, "{} = {} with {:?} on {}", self.key, self.value, self.around, self.kernel);
    }
}

fn fired(key: &str, value: &str, around: &[(&str, &str)], kernel: Version) -> Vec<String> {
    let machine = Machine::of_kernel(kernel);
    let knob = by_key(key).or_else(|| by_key(&format!("net.ipv4.{key}"))).expect("a knob of the table");
    let default = knob.default_on(&machine).map(|text| knob.kind.numbers(&text)).unwrap_or_default();
    let other = |key: &str| match around.iter().find(|(name, _)| *name == key) {
        Some((_, value)) => Some(value.to_string()),
        None => by_key(key)?.default_on(&machine),
    };
    let numbers = knob.kind.numbers(value);
    let setting = Use { text: value, numbers: &numbers, default: &default, machine: &machine, other: &other };
    let fired = knob.folklore.iter().filter(|lore| (lore.when)(&setting));
    fired
        .map(|lore| match lore.severity {
            None | Some(crate::lint::Severity::Warning) => lore.rule.to_string(),
            Some(severity) => format!("{} {}", lore.rule, severity.name()),
        })
        .collect()
}

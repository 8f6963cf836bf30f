//! What rules ask of a tree: who sets what, who wins, what holds around a setting.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Correction, File, Finding, Load, Loader, Rule, Setting, Severity, Span, Tree};
use crate::knobs::{self, Folklore, Instead, Knob, Machine, Use};
use crate::reading::{Absent, Reading};

/// A tree with its indices.
pub struct Context<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// For each load: who sets each key, in the order in which the loader applies them.
    setters: Vec<BTreeMap<&'a str, Vec<Site<'a>>>>,
    /// The knobs by their keys: files have thousands of lines, and every rule asks.
    table: BTreeMap<&'static str, &'static Knob>,
}

/// A setting and the file that it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Index of the file.
    pub index: usize,
    /// The file.
    pub file: &'a File,
    /// The setting.
    pub setting: &'a Setting,
}

impl<'a> Context<'a> {
    /// Indexes a tree.
    pub fn new(tree: &'a Tree) -> Self {
        let setters = tree.loads.iter().map(|load| index(tree, load)).collect();
        Self { tree, setters, table: knobs::all().map(|knob| (knob.key, knob)).collect() }
    }

    /// The machine.
    pub fn machine(&self) -> &'a Machine {
        &self.tree.machine
    }

    /// The knob with that key.
    pub fn knob(&self, key: &str) -> Option<&'static Knob> {
        self.table.get(key).copied()
    }

    /// Every setting, in the order of files and lines.
    pub fn sites(&self) -> impl Iterator<Item = Site<'a>> + '_ {
        self.tree
            .files
            .iter()
            .enumerate()
            .flat_map(|(index, file)| file.settings.iter().map(move |setting| Site { index, file, setting }))
    }

    /// Every setting of a knob of the table that has a value, once for each key that it sets.
    pub fn knobs(&self) -> impl Iterator<Item = (Site<'a>, &'static Knob, &'a str)> + '_ {
        self.sites().filter_map(|site| Some((site, site.setting.value.as_deref()?))).flat_map(move |(site, value)| {
            site.setting.keys.iter().filter_map(move |key| Some((site, self.knob(key)?, value)))
        })
    }

    /// Who sets that key in a load, in the order in which it is applied: the last one wins.
    pub fn setters(&self, load: usize, key: &str) -> &[Site<'a>] {
        self.setters.get(load).and_then(|keys| keys.get(key)).map_or(&[], Vec::as_slice)
    }

    /// The loads that a file belongs to, with their indices.
    pub fn loads_of(&self, file: usize) -> impl Iterator<Item = (usize, &'a Load)> + '_ {
        self.tree.loads.iter().enumerate().filter(move |(_, load)| load.files.contains(&file))
    }

    /// The keys that a load sets.
    pub fn keys(&self, load: usize) -> impl Iterator<Item = &'a str> + '_ {
        self.setters.get(load).into_iter().flat_map(|keys| keys.keys().copied())
    }

    /// Who sets a key after that site in a load; `None` when the site itself wins.
    pub fn winner_over(&self, load: usize, site: Site<'a>, key: &str) -> Option<Site<'a>> {
        let of_group = |other: &&Site<'a>| other.index != site.index || other.setting.group == site.setting.group;
        let last = self.setters(load, key).iter().rev().find(of_group)?;
        // A link makes one file stand at two places of the order: it does not shadow itself.
        (last.index != site.index || last.setting.at != site.setting.at).then_some(*last)
    }

    /// Whether the machine has that key now, as far as it was looked at.
    pub fn is_there_now(&self, key: &str) -> bool {
        let now = self.tree.now.as_ref().and_then(|now| now.values.get(key));
        now.is_some_and(|reading| !matches!(reading, Reading::Absent(Absent::NotInKernel { .. })))
    }

    /// What a knob will be around a setting: set by what holds together with it, else what it is now, else its default.
    pub fn around(&self, site: Site<'a>, key: &str) -> Option<String> {
        let load = self.loads_of(site.index).next().map(|(load, _)| load);
        let mut setters = load.map_or(&[][..], |load| self.setters(load, key)).iter().rev();
        let set = setters.find(|other| {
            other.setting.place == site.setting.place
                && (other.index != site.index || other.setting.group == site.setting.group)
        });
        if let Some(value) = set.and_then(|other| other.setting.value.as_deref()) {
            return Some(value.to_owned());
        }
        let now = self.tree.now.as_ref().filter(|_| !site.setting.place.is_inside());
        if let Some(value) = now.and_then(|now| now.values.get(key)?.value()) {
            return Some(value.clone());
        }
        self.knob(key)?.default_on(self.machine())
    }

    /// Asks something of a use of a knob, with all that holds around it.
    pub fn with_use<T>(&self, site: Site<'a>, knob: &Knob, text: &str, ask: impl FnOnce(&Use<'_>) -> T) -> T {
        let default = knob.default_on(self.machine()).map(|text| knob.kind.numbers(&text)).unwrap_or_default();
        ask(&Use {
            text,
            numbers: &knob.kind.numbers(text),
            default: &default,
            machine: self.machine(),
            other: &|key| self.around(site, key),
        })
    }

    /// The folklore of a knob that is true of a use, under one rule.
    pub fn lore_of(
        &self,
        rule: &'static str,
        site: Site<'a>,
        knob: &'static Knob,
        text: &str,
    ) -> impl Iterator<Item = &'static Folklore> {
        knob.folklore.iter().filter(move |lore| lore.rule == rule && self.with_use(site, knob, text, lore.when))
    }

    /// What the folklore of the knobs says under one rule.
    pub fn folklore(&self, rule: &'static Rule, found: &mut Vec<Finding>) {
        for (site, knob, text) in self.knobs() {
            for lore in self.lore_of(rule.slug, site, knob, text) {
                let correction = site.instead(lore.instead, knob, self.machine());
                let finding = site.finding(rule, knob.key, lore.says.into()).corrected(correction);
                found.push(finding.as_severe_as(lore.severity.unwrap_or(rule.severity)));
            }
        }
    }
}

impl<'a> Site<'a> {
    /// A finding about the whole setting.
    pub fn finding(&self, rule: &Rule, key: &str, message: String) -> Finding {
        self.finding_at(rule, self.setting.at, key, message)
    }

    /// A finding about a part of it.
    pub fn finding_at(&self, rule: &Rule, at: Span, key: &str, message: String) -> Finding {
        Finding {
            rule: rule.slug,
            severity: rule.severity,
            file: self.index,
            at,
            key: Some(key.to_owned()),
            message,
            correction: None,
        }
    }

    /// The line without effect, as a comment. Only where lines are settings: a YAML list would lose its shape. Nor where
    /// the setting begins within a line (`ExecStart=sh -c 'echo 1 > …; serve'`), as something else stands there, too; a
    /// `-` before the key says that somebody has thought of other machines.
    pub fn off(&self, is_safe: bool) -> Option<Correction> {
        let is_lines = matches!(self.file.format, super::Format::Sysctl | super::Format::Tuned | super::Format::Unit);
        let at = self.setting.at;
        let begins = self.file.line(at.line).chars().take(at.column as usize - 1).all(char::is_whitespace);
        (is_lines && begins).then(|| self.corrected(at, self.file.line_off(at), is_safe))
    }

    /// The line with another value. Never safe: boot sets something else after it.
    pub fn with_value(&self, value: &str) -> Correction {
        let at = self.setting.value_at;
        self.corrected(at, self.file.line_with(at, value), false)
    }

    /// A line of its file as it should be.
    pub fn corrected(&self, at: Span, line: String, is_safe: bool) -> Correction {
        Correction { number: at.line, line, is_safe }
    }

    /// The line as folklore's answer has it.
    pub fn instead(&self, instead: Instead, knob: &Knob, machine: &Machine) -> Option<Correction> {
        match instead {
            Instead::Nothing => self.off(false),
            Instead::Value(value) => Some(self.with_value(value)),
            Instead::Default => match knob.default_on(machine) {
                Some(default) => Some(self.with_value(&default)),
                None => self.off(false),
            },
            Instead::Unknown => None,
        }
    }
}

impl Finding {
    /// With a correction, where there is one.
    #[must_use]
    pub fn corrected(self, correction: Option<Correction>) -> Self {
        Self { correction, ..self }
    }

    /// With another severity than its rule's.
    #[must_use]
    pub fn as_severe_as(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// Keys by name go before patterns wherever they stand, in systemd and in procps; among equals the last one wins.
fn index<'a>(tree: &'a Tree, load: &Load) -> BTreeMap<&'a str, Vec<Site<'a>>> {
    let mut setters: BTreeMap<&str, Vec<Site<'_>>> = BTreeMap::new();
    for &index in &load.files {
        let Some(file) = tree.files.get(index) else { continue };
        for setting in file.settings.iter().filter(|setting| !setting.place.is_read_only()) {
            for key in &setting.keys {
                setters.entry(key).or_default().push(Site { index, file, setting });
            }
        }
    }
    for sites in setters.values_mut() {
        // `-key` behind `key = value` takes the assignment back in systemd; procps writes it all the same.
        let is_set = |site: &Site<'_>| site.setting.value.is_some();
        if load.loader == Loader::Procps && sites.iter().any(|site| is_set(site) && !site.setting.is_pattern) {
            sites.retain(is_set);
        }
        sites.sort_by_key(|site| !site.setting.is_pattern);
    }
    setters
}

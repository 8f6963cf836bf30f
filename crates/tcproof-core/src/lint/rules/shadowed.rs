//! # shadowed
//!
//! ## What it says
//! The same key is set again further down, or in a file that is read later, to something else. The later one wins.
//!
//! ## Why it matters
//! Somebody changes the line, reboots, and nothing changes.
//!
//! ## Bad
//! ```text
//! net.core.somaxconn = 8192
//! net.core.somaxconn = 4000
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.conf.*.rp_filter = 1
//! net.ipv4.conf.eth0.rp_filter = 2
//! ```
//!
//! ## What to do
//! Keep the one that is meant. Files are read in the order of their names, whichever directory they stand in; a key
//! by its name goes before a pattern.
//!
//! ## References
//! sysctl.d(5)

use alloc::format;
use alloc::vec::Vec;

use crate::knobs::Kind;
use crate::lint::{Context, Finding, Format, Rule, Severity, Site};

pub(super) static RULE: Rule = Rule {
    slug: "shadowed",
    title: "a line that a later one undoes",
    severity: Severity::Warning,
    check,
    source: include_str!("shadowed.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    let sets = |site: &Site<'_>| site.setting.value.is_some() && !site.setting.place.is_read_only();
    for site in context.sites().filter(|site| sets(site) && !site.setting.is_pattern) {
        let key = &*site.setting.key;
        // Both loaders must agree that it loses; where they don't, loaders-differ says so.
        let mut winners = context.loads_of(site.index).map(|(load, _)| context.winner_over(load, site, key));
        let Some(Some(winner)) = winners.next() else { continue };
        if winners.any(|other| other.is_none()) {
            continue;
        }
        found.extend(finding(context, site, winner, key));
    }
}

fn finding(context: &Context<'_>, site: Site<'_>, winner: Site<'_>, key: &str) -> Option<Finding> {
    let is_here = winner.index == site.index;
    let (path, line) = (&winner.file.path, winner.setting.at.line);
    let place = if is_here { format!("line {line}") } else { format!("{path}, line {line},") };
    let off = || site.off(is_idle(context, site, winner));
    // What a package brings, nobody can mend, and an administrator is meant to set otherwise.
    if !is_here && site.file.is_vendors() {
        return None;
    }
    if winner.setting.value == site.setting.value {
        let message = format!("{place} says the same again: this line changes nothing");
        return Some(site.finding(&RULE, key, message).as_severe_as(Severity::Note).corrected(off()));
    }
    let message = match winner.setting.value.as_deref() {
        Some(wins) => format!("{place} sets {wins}, and wins: this line changes nothing"),
        None => format!("{place} takes the key out again (-{key} without a value): this line changes nothing"),
    };
    Some(site.finding(&RULE, key, message).corrected(off()))
}

/// Whether every loader ends with the same when the line is taken out. Safe only where nothing but this file has to be
/// looked at: others may be read without it.
fn is_idle(context: &Context<'_>, site: Site<'_>, winner: Site<'_>) -> bool {
    let (setting, key) = (site.setting, &*site.setting.key);
    // What takes a key out again (`-key`) stops systemd only: procps writes the line.
    let (Some(knob), Some(wins)) = (context.knob(key), winner.setting.value.as_deref()) else { return false };
    // procps writes both lines: where the kernel refuses the later value, or takes a part of it, the earlier one stays.
    // Of names only the machine knows which it refuses, and of port ranges another knob decides.
    let is_taken =
        matches!(knob.kind, Kind::Number { .. } | Kind::Choice { .. } | Kind::Flags { .. } | Kind::Triple { .. })
            && knob.kind.judge(wins).is_ok();
    // Writing one of these sets others, or decides what others may be; and of two equal lines systemd writes the first, in
    // its place.
    let sets_others = [".conf.", "forward", "_port"].iter().any(|part| key.contains(part));
    // A comment about the line would be one about the next.
    let is_allowed = site.file.allows.iter().any(|allow| allow.line == setting.at.line);
    site.file.format == Format::Sysctl && winner.index == site.index && is_taken && !sets_others && !is_allowed
}

//! # needs-module
//!
//! ## What it says
//! The key belongs to a module. `systemd-sysctl` runs early in boot, right after the modules of `modules-load.d`; a
//! module that a firewall, a bridge or a container brings later is not there yet.
//!
//! ## Why it matters
//! The line works when somebody types `sysctl -p`, and is lost with the next reboot.
//!
//! ## Bad
//! ```text
//! net.netfilter.nf_conntrack_max = 524288
//! ```
//!
//! ## Good
//! ```text
//! # with nf_conntrack in /etc/modules-load.d/conntrack.conf
//! net.netfilter.nf_conntrack_max = 524288
//! ```
//!
//! ## What to do
//! Name the module in a file of `/etc/modules-load.d/`: `echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf`.
//!
//! ## References
//! modules-load.d(5); systemd-sysctl.service(8); sysctl.d(5), example 3

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use crate::lint::{Context, Finding, Place, Rule, Severity, Site};

pub(super) static RULE: Rule = Rule {
    slug: "needs-module",
    title: "a knob that is not there yet when boot sets the others",
    severity: Severity::Warning,
    check,
    source: include_str!("needs_module.rs"),
};

/// Modules of keys that are not in the table of knobs.
const MODULES: &[(&str, &str)] =
    &[("net.bridge.", "br_netfilter"), ("net.netfilter.nf_conntrack_", "nf_conntrack"), ("net.sctp.", "sctp")];

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    // One line in modules-load.d mends all settings of a module: a file is told once.
    let mut told = BTreeSet::new();
    let of_boot = |site: &Site<'_>| site.setting.place == Place::Host && site.file.is_read_by_boot();
    for site in context.sites().filter(of_boot) {
        let key = &*site.setting.key;
        let Some(module) = module(context, key).filter(|module| told.insert((site.index, *module))) else { continue };
        let (severity, tail) = match &context.tree.now {
            Some(now) if now.boot_modules.iter().any(|loaded| loaded.replace('-', "_") == module) => continue,
            Some(_) => (Severity::Warning, ": no file in modules-load.d names it"),
            // Another machine's file: its modules can't be seen.
            None => (Severity::Note, ", unless modules-load.d names it"),
        };
        let settings =
            site.file.settings.iter().filter(|setting| self::module(context, &setting.key) == Some(module)).count();
        let subject = if settings > 1 { format!("{settings} settings here come") } else { "the key comes".into() };
        let tail = format!("which boot loads later, so that what is set here is lost{tail}");
        let message = format!("{subject} with the module {module}, {tail}");
        found.push(site.finding(&RULE, key, message).as_severe_as(severity));
    }
}

fn module(context: &Context<'_>, key: &str) -> Option<&'static str> {
    let listed = || MODULES.iter().find(|(group, _)| key.starts_with(group)).map(|(_, module)| *module);
    context.knob(key).and_then(|knob| knob.exists.module).or_else(listed)
}

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
//! ```
//! net.netfilter.nf_conntrack_max = 524288
//! ```
//!
//! ## Good
//! ```
//! # with nf_conntrack in /etc/modules-load.d/conntrack.conf
//! net.netfilter.nf_conntrack_max = 524288
//! ```
//!
//! ## What to do
//! Name the module in a file of `/etc/modules-load.d/`: `echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf`.
//!
//! ## References
//! modules-load.d(5); systemd-sysctl.service(8); sysctl.d(5), example 3

use alloc::format;
use alloc::vec::Vec;

use crate::knobs;
use crate::lint::{Context, Finding, Place, Rule, Severity};

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
    let is_file_of_boot = |place| place == Place::Host;
    for site in context.sites().filter(|site| is_file_of_boot(site.setting.place) && site.file.is_read_by_boot()) {
        let key = &*site.setting.key;
        let Some(module) = module(key) else { continue };
        let (severity, tail) = match &context.tree.now {
            Some(now) if now.boot_modules.iter().any(|loaded| loaded.replace('-', "_") == module) => continue,
            Some(_) => (Severity::Warning, "no file in modules-load.d names it"),
            // Another machine's file: its modules can't be seen.
            None => (Severity::Note, "unless modules-load.d names it"),
        };
        let message = format!("the key comes with the module {module}, which boot loads later, and is lost: {tail}");
        found.push(site.finding(&RULE, key, message).as_severe_as(severity));
    }
}

fn module(key: &str) -> Option<&'static str> {
    let listed = || MODULES.iter().find(|(group, _)| key.starts_with(group)).map(|(_, module)| *module);
    knobs::by_key(key).and_then(|knob| knob.exists.module).or_else(listed)
}

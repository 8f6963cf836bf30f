//! # dangerous
//!
//! ## What it says
//! The kernel does what the line says, and something else breaks by it: outgoing connections take the ports of
//! services, clients behind NAT are refused, data that nobody has acknowledged is thrown away, one process can pin
//! gigabytes.
//!
//! ## Why it matters
//! Such lines are pasted against one symptom. What they break shows months later, on another host, as something
//! unrelated.
//!
//! ## Bad
//! ```text
//! net.ipv4.ip_local_port_range = 1024 65535
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.ip_local_port_range = 10240 65535
//! net.ipv4.ip_local_reserved_ports = 11211,27017
//! ```
//!
//! ## What to do
//! Take the line out, or bring what it needs along: ports of services into `ip_local_reserved_ports`, a size that
//! was measured. `tcproof explain KNOB` says what raising and lowering do.
//!
//! ## References
//! Documentation/networking/ip-sysctl.rst

use alloc::vec::Vec;

use crate::lint::{Context, Finding, Rule, Severity, ethtool};

pub(super) static RULE: Rule = Rule {
    slug: "dangerous",
    title: "a setting that breaks something",
    severity: Severity::Warning,
    check,
    source: include_str!("dangerous.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for (index, file) in context.tree.files.iter().enumerate() {
        for word in file.commands.iter().filter_map(|command| ethtool::switches_lro_on(&command.words)) {
            found.push(Finding {
                rule: RULE.slug,
                severity: RULE.severity,
                file: index,
                at: word.at,
                key: None,
                message: "LRO merges packets so that they can't be taken apart again, which breaks what a router, a \
                          bridge or a host of virtual machines passes on; GRO, on by default, does the same and can \
                          be undone"
                    .into(),
                correction: None,
            });
        }
    }
}

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
//! ```
//! net.ipv4.ip_local_port_range = 1024 65535
//! ```
//!
//! ## Good
//! ```
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

use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "dangerous",
    title: "a setting that breaks something",
    severity: Severity::Warning,
    check,
    source: include_str!("dangerous.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
}

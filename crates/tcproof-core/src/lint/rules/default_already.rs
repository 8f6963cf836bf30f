//! # default-already
//!
//! ## What it says
//! The value is this kernel's default. The line changes nothing.
//!
//! ## Why it matters
//! Lines that do nothing hide the few that do. And where a later kernel brings a better default, the line keeps it
//! away.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_sack = 1
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.tcp_keepalive_time = 600
//! ```
//!
//! ## What to do
//! Take the line out, unless the file serves other kernels too.
//!
//! ## References
//! `tcproof explain KNOB` names the default of each kernel

use alloc::vec::Vec;

use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "default-already",
    title: "what the kernel does by itself",
    severity: Severity::Note,
    check,
    source: include_str!("default_already.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    let kernel = context.machine().kernel;
    for (site, knob, text) in context.knobs() {
        // Of what is gone, or without effect, another rule says so.
        if !knob.exists.in_kernel(kernel) || knob.exists.inert_since.is_some_and(|since| since <= kernel) {
            continue;
        }
        let Some(default) = knob.default_on(context.machine()) else { continue };
        // A line that takes back what another file sets is no idle one.
        let resets = context.loads_of(site.index).any(|(load, _)| context.setters(load, knob.key).len() > 1);
        if !resets && knob.kind.is_same(text, &default) {
            let message = "this is the kernel's default: the line changes nothing".into();
            found.push(site.finding(&RULE, knob.key, message).corrected(site.off(false)));
        }
    }
}

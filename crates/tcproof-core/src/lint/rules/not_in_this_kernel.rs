//! # not-in-this-kernel
//!
//! ## What it says
//! The knob was removed before this kernel, or comes with a later one.
//!
//! ## Why it matters
//! Boot logs an error that nobody reads, and the line does nothing. `tcp_tw_recycle` still stands in thousands of
//! files, years after 4.12 took it out for breaking clients behind NAT.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_tw_recycle = 1
//! ```
//!
//! ## Good
//! ```text
//! -net.ipv4.tcp_tw_reuse_delay = 500
//! ```
//!
//! ## What to do
//! Take the line out. Where one file serves several kernels, a `-` before the key says so: the loaders then say
//! nothing where it is missing.
//!
//! ## References
//! sysctl.d(5); the knob's own page: `tcproof explain KNOB`

use alloc::format;
use alloc::vec::Vec;

use crate::lint::{Context, Finding, Format, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "not-in-this-kernel",
    title: "a knob that this kernel does not have",
    severity: Severity::Error,
    check,
    source: include_str!("not_in_this_kernel.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    let kernel = context.machine().kernel;
    for (site, knob, _) in context.knobs() {
        // Distributions backport: a file that is there says more than a version.
        if knob.exists.in_kernel(kernel) || context.is_there_now(knob.key) {
            continue;
        }
        let since = knob.exists.since;
        let removed = knob.exists.removed.filter(|removed| *removed <= kernel);
        let (message, severity) = match removed {
            Some(removed) => (format!("gone since {removed}, this is {kernel}"), Severity::Error),
            None => (format!("comes with {since}, this is {kernel}"), Severity::Warning),
        };
        let severity = if site.setting.is_lenient { Severity::Note } else { severity };
        // Without the key, boot sets nothing with the line or without it. But a pattern may meet other keys, too, and
        // what comes with a later kernel is wanted as soon as that is there.
        let is_safe = removed.is_some() && !site.setting.is_pattern && site.file.format == Format::Sysctl;
        found.push(site.finding(&RULE, knob.key, message).as_severe_as(severity).corrected(site.off(is_safe)));
    }
}

//! # placebo
//!
//! ## What it says
//! The kernel takes the value, and nothing changes; or something else changes than was hoped for. The best known
//! ones are `tcp_max_syn_backlog` while SYN cookies are on, and `tcp_fin_timeout` against TIME_WAIT, which it never
//! touches.
//!
//! ## Why it matters
//! Whoever reads the file next believes that the limit has been dealt with, and looks elsewhere while it hurts.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_syncookies = 1
//! net.ipv4.tcp_max_syn_backlog = 8192
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.tcp_syncookies = 1
//! net.core.somaxconn = 8192
//! ```
//!
//! ## What to do
//! Take the line out, and find the true limit with `tcproof check` while it hurts. What a knob really limits stands
//! in `tcproof explain KNOB`.
//!
//! ## References
//! Documentation/networking/ip-sysctl.rst; net/ipv4/tcp_input.c `tcp_conn_request`

use alloc::format;
use alloc::vec::Vec;

use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "placebo",
    title: "a setting that does not do what it was pasted for",
    severity: Severity::Warning,
    check,
    source: include_str!("placebo.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for (site, knob, _) in context.knobs() {
        if let Some(since) = knob.exists.inert_since.filter(|since| *since <= context.machine().kernel) {
            let message = format!("the kernel takes the value and does nothing with it, since {since}");
            // Not safe: the value can be read, and somebody may look for it.
            found.push(site.finding(&RULE, knob.key, message).corrected(site.off(false)));
        }
    }
}

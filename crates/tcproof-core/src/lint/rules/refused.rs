//! # refused
//!
//! ## What it says
//! The kernel answers such a write with EINVAL, or has no way to write the knob at all.
//!
//! ## Why it matters
//! Boot logs an error that nobody reads, and the old value stays.
//!
//! ## Bad
//! ```text
//! net.core.somaxconn = 16k
//! ```
//!
//! ## Good
//! ```text
//! net.core.somaxconn = 16384
//! ```
//!
//! ## What to do
//! Write whole numbers, in decimal, without a unit; ports as `8080,9000-9100` without blanks. `tcproof explain KNOB`
//! says what the kernel takes.
//!
//! ## References
//! kernel/sysctl.c `proc_get_long`

use alloc::format;
use alloc::vec::Vec;

use crate::knobs::Wrong;
use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "refused",
    title: "a value that the kernel refuses",
    severity: Severity::Error,
    check,
    source: include_str!("refused.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for (site, knob, text) in context.knobs() {
        if let Err(Wrong::Refused(why)) = knob.kind.judge(text) {
            let message = format!("the kernel refuses this: {why}");
            found.push(site.finding_at(&RULE, site.setting.value_at, knob.key, message));
        }
    }
}

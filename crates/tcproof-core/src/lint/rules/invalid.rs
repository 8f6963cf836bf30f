//! # invalid
//!
//! ## What it says
//! The kernel checks little: it takes a negative timeout, a minimum above the maximum, a switch set to 5. What it
//! then does is nobody's intention.
//!
//! ## Why it matters
//! No error shows that the line is wrong, and the knob is neither what the file says nor the default.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_rmem = 8388608 131072 4096
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.tcp_rmem = 4096 131072 8388608
//! ```
//!
//! ## What to do
//! Write a value within the bounds that `tcproof explain KNOB` names. Of a comment behind a value the loaders know
//! nothing: give it a line of its own.
//!
//! ## References
//! kernel/sysctl.c `do_proc_dointvec`: takes as many numbers as it has room for, and ignores the rest

use alloc::vec::Vec;

use crate::knobs::Wrong;
use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "invalid",
    title: "a value that makes no sense, although the kernel takes it",
    severity: Severity::Error,
    check,
    source: include_str!("invalid.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for (site, knob, text) in context.knobs() {
        // Where the number would make sense in another unit, that is the better answer.
        if context.lore_of("wrong-unit", site, knob, text).next().is_some() {
            continue;
        }
        if let Err(Wrong::Nonsense(why)) = knob.kind.judge(text) {
            let mut finding = site.finding_at(&RULE, site.setting.value_at, knob.key, why);
            // A comment behind a good number: the kernel sets what was meant, and only by luck.
            if let Some((value, _)) = text.split_once(['#', ';']).filter(|(value, _)| knob.kind.judge(value).is_ok()) {
                finding.severity = Severity::Warning;
                finding = finding.corrected(Some(site.with_value(value.trim_end())));
            }
            found.push(finding);
        }
    }
}

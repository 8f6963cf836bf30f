//! # wrong-unit
//!
//! ## What it says
//! The number makes sense in another unit: bytes where the kernel counts pages, milliseconds or jiffies where it
//! counts seconds.
//!
//! ## Why it matters
//! The kernel takes the number as it is, and the limit is off by a factor of a thousand or more.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_mem = 8388608 12582912 16777216
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.tcp_mem = 190000 253000 380000
//! ```
//!
//! ## What to do
//! Write the value in the knob's own unit: `tcproof explain KNOB` names it.
//!
//! ## References
//! Documentation/networking/ip-sysctl.rst

use alloc::vec::Vec;

use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "wrong-unit",
    title: "a value in another unit than the knob counts in",
    severity: Severity::Error,
    check,
    source: include_str!("wrong_unit.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
}

//! # unknown-key
//!
//! ## What it says
//! No kernel since 4.19 has a sysctl of that name, and this machine has none either.
//!
//! ## Why it matters
//! Boot logs an error that nobody reads, and the line does nothing.
//!
//! ## Bad
//! ```
//! net.ipv4.tcp_max_tw_bucket = 200000
//! ```
//!
//! ## Good
//! ```
//! net.ipv4.conf.eth0.rp_filter = 2
//! ```
//!
//! ## What to do
//! Mend the spelling, or take the line out. Keys of modules that no list has can be allowed: `# tcproof: allow
//! unknown-key — reason`.
//!
//! ## References
//! Documentation/admin-guide/sysctl/net.rst; Documentation/networking/ip-sysctl.rst

use alloc::format;
use alloc::vec::Vec;

use crate::knobs::{is_known, nearest};
use crate::lint::{Context, Correction, Finding, Rule, Severity, Span};

pub(super) static RULE: Rule = Rule {
    slug: "unknown-key",
    title: "a key that no kernel knows",
    severity: Severity::Error,
    check,
    source: include_str!("unknown_key.rs"),
};

/// What lies elsewhere is not about TCP, and comes and goes with modules.
const OURS: &[&str] = &["net.core.", "net.ipv4.", "net.ipv6.", "net.mptcp.", "net.netfilter."];

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    for site in context.sites().filter(|site| !site.setting.is_pattern && site.setting.is_sysctl()) {
        let key = &*site.setting.key;
        if is_known(key) || context.is_there_now(key) {
            continue;
        }
        let meant = nearest(key);
        if meant.is_none() && !OURS.iter().any(|group| key.starts_with(group)) {
            continue;
        }
        let mut finding = match meant {
            Some(meant) => site.finding(&RULE, key, format!("no kernel has such a key: did you mean {meant}?")),
            None => site.finding(&RULE, key, "no kernel has such a key".into()),
        };
        if let Some(meant) = meant {
            let column = site.setting.at.column + u32::from(site.setting.is_lenient);
            let written = u32::try_from(key.chars().count()).unwrap_or(u32::MAX);
            let at = Span { column, end: column.saturating_add(written), ..site.setting.at };
            finding.correction = Some(Correction { line: site.file.line_with(at, meant), is_safe: false });
        }
        if site.setting.is_lenient {
            finding.severity = Severity::Warning;
        }
        found.push(finding);
    }
}

//! # lowers-default
//!
//! ## What it says
//! The line was written for an older or smaller machine. This kernel's own default is higher, and higher is better
//! here.
//!
//! ## Why it matters
//! A line that was meant to raise a limit lowers it. `fs.file-max = 65535` and `tcp_rmem` with 87380 in the middle
//! are the usual ones.
//!
//! ## Bad
//! ```text
//! net.core.somaxconn = 1024
//! ```
//!
//! ## Good
//! ```text
//! net.core.somaxconn = 8192
//! ```
//!
//! ## What to do
//! Take the line out: the kernel computes a better value from the machine's memory. Where less is truly wanted, say
//! why: `# tcproof: allow lowers-default — reason`.
//!
//! ## References
//! `tcproof explain KNOB` says how boot computes the default

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::knobs::Kind;
use crate::lint::{Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "lowers-default",
    title: "a value below what the kernel does by itself",
    severity: Severity::Warning,
    check,
    source: include_str!("lowers_default.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for (site, knob, text) in context.knobs() {
        let Some(why) = knob.worse_below else { continue };
        // The kernel refuses it, or it means something else than less: another rule speaks.
        if knob.kind.judge(text).is_err() {
            continue;
        }
        let Some(default) = knob.default_on(context.machine()) else { continue };
        let (numbers, default) = (knob.kind.numbers(text), knob.kind.numbers(&default));
        // The minimum of a triple is what is granted under memory pressure: less of it hurts nobody else.
        let skipped = usize::from(matches!(knob.kind, Kind::Triple { .. }));
        let pairs = || numbers.iter().zip(&default);
        let lowered: Vec<_> = pairs().skip(skipped).filter(|(set, default)| set < default).collect();
        let Some((set, kernels)) = lowered.first() else { continue };
        let message = format!("{set} is less than the {kernels} that this kernel takes by itself: {why}");
        let better: Vec<_> = pairs().map(|(set, default)| set.max(default).to_string()).collect();
        let better: String = better.join(" ");
        found.push(
            site.finding_at(&RULE, site.setting.value_at, knob.key, message).corrected(Some(site.with_value(&better))),
        );
    }
}

//! # out-of-step
//!
//! ## What it says
//! One of a pair was raised and the other was not: a conntrack table with eight entries to a bucket, a garbage
//! collection that begins above the point where it is forced, a service that asks for more descriptors than the
//! kernel gives one process.
//!
//! ## Why it matters
//! The limit that was raised is not reached, or is reached slowly: lookups walk long chains, and the kernel cuts
//! what was asked for without a word.
//!
//! ## Bad
//! ```text
//! net.netfilter.nf_conntrack_max = 2097152
//! net.netfilter.nf_conntrack_buckets = 65536
//! ```
//!
//! ## Good
//! ```text
//! net.netfilter.nf_conntrack_max = 262144
//! net.netfilter.nf_conntrack_buckets = 65536
//! ```
//!
//! ## What to do
//! Set both, in the same file.
//!
//! ## References
//! Documentation/networking/nf_conntrack-sysctl.rst; systemd.exec(5), LimitNOFILE

use alloc::format;
use alloc::vec::Vec;

use crate::lint::{Context, Finding, Place, Rule, Severity, Site};

pub(super) static RULE: Rule = Rule {
    slug: "out-of-step",
    title: "two settings that only work together",
    severity: Severity::Warning,
    check,
    source: include_str!("out_of_step.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    context.folklore(&RULE, found);
    for site in context.sites().filter(|site| site.setting.place == Place::Service) {
        found.extend(descriptors(context, site));
    }
}

/// A process gets no more descriptors than `fs.nr_open`, whatever its unit asks for.
fn descriptors(context: &Context<'_>, site: Site<'_>) -> Option<Finding> {
    let wanted = site.setting.value.as_deref()?.split(':').filter_map(|part| part.parse::<u64>().ok()).max()?;
    let allowed: u64 = context.around(site, "fs.nr_open")?.parse().ok()?;
    if wanted <= allowed {
        return None;
    }
    let finding = |message| site.finding_at(&RULE, site.setting.value_at, &site.setting.key, message);
    let now = context.tree.now.as_ref().and_then(|now| now.values.get("fs.nr_open"));
    let is_set = context.loads_of(site.index).any(|(load, _)| !context.setters(load, "fs.nr_open").is_empty());
    if is_set || now.is_some_and(|now| now.value().is_some()) {
        return Some(finding(format!("{wanted} is more than fs.nr_open allows a process: it gets {allowed}")));
    }
    // Another machine, whose systemd may have raised it at boot.
    let message = format!(
        "{wanted} is more than the {allowed} that fs.nr_open is where systemd leaves it alone, as on Debian: there a \
         process gets no more"
    );
    Some(finding(message).as_severe_as(Severity::Note))
}

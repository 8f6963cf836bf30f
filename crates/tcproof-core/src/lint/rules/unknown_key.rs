//! # unknown-key
//!
//! ## What it says
//! No kernel since 4.19 has a sysctl of that name, and this machine has none either.
//!
//! ## Why it matters
//! Boot logs an error that nobody reads, and the line does nothing.
//!
//! ## Bad
//! ```text
//! net.ipv4.tcp_max_tw_bucket = 200000
//! ```
//!
//! ## Good
//! ```text
//! net.ipv4.conf.eth0.rp_filter = 2
//! ```
//!
//! ## What to do
//! Mend the spelling, or take the line out. Keys of modules that no list has can be allowed: `# tcproof: allow
//! unknown-key — reason`.
//!
//! ## References
//! Documentation/admin-guide/sysctl/net.rst; Documentation/networking/ip-sysctl.rst

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::knobs::{is_known, nearest};
use crate::lint::{Context, Correction, Finding, Rule, Severity, Site, Span};

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
    // Each key is compared with every name there is: once, however many lines set it.
    let mut judged: BTreeMap<&str, Option<Option<&str>>> = BTreeMap::new();
    for site in context.sites().filter(|site| !site.setting.is_pattern && site.setting.is_sysctl()) {
        let key = &*site.setting.key;
        let Some(meant) = *judged.entry(key).or_insert_with(|| unknown(context, key)) else { continue };
        let (message, meant) = match meant.map(|meant| (meant, of_dotted_device(key, meant))) {
            Some((_, Some(slashes))) => {
                let message = "no kernel has such a key: each dot parts directories. Where it belongs to the name of a";
                (format!("{message} device, the others have to be slashes: {slashes}"), Some(slashes))
            }
            Some((meant, None)) => {
                let meant = of_same_device(key, meant);
                (format!("no kernel has such a key: did you mean {meant}?"), Some(meant))
            }
            None => ("no kernel has such a key".into(), None),
        };
        let mut finding = site.finding(&RULE, key, message);
        finding.correction = meant.and_then(|meant| respelt(site, &meant));
        if site.setting.is_lenient {
            finding.severity = Severity::Warning;
        }
        found.push(finding);
    }
}

/// Whether no kernel knows it; and what was meant, where that can be told.
fn unknown(context: &Context<'_>, key: &str) -> Option<Option<&'static str>> {
    if context.knob(key).is_some() || is_known(key) || context.is_there_now(key) {
        return None;
    }
    let meant = nearest(key);
    (meant.is_some() || OURS.iter().any(|group| key.starts_with(group))).then_some(meant)
}

/// `net/ipv4/conf/eth0.100/rp_filter` for `net.ipv4.conf.eth0.100.rp_filter`, the usual slip with VLANs.
fn of_dotted_device(key: &str, meant: &str) -> Option<String> {
    let (before, after) = meant.split_once('*')?;
    let device = key.strip_prefix(before)?.strip_suffix(after)?;
    let is_dotted = device.contains('.') && !device.contains('/');
    is_dotted.then(|| format!("{}{device}{}", before.replace('.', "/"), after.replace('.', "/")))
}

/// What was meant, for the device that the key names: not for all of them.
fn of_same_device(key: &str, meant: &str) -> String {
    let place = meant.split('.').position(|part| part == "*");
    let is_like_it = key.split('.').count() == meant.split('.').count();
    let device = place.filter(|_| is_like_it).and_then(|place| key.split('.').nth(place));
    device.map_or_else(|| meant.into(), |device| meant.replace('*', device))
}

/// The line with the key as it was meant, where the key stands first in it (in `echo 1 > /proc/sys/…` it doesn't).
fn respelt(site: Site<'_>, meant: &str) -> Option<Correction> {
    let at = site.setting.at;
    let written = u32::try_from(site.setting.key.chars().count()).ok()?;
    let at = Span { end: at.column.checked_add(written)?, ..at };
    let there: String = site.file.line(at.line).chars().skip(at.column as usize - 1).take(written as usize).collect();
    (there.replace('/', ".") == site.setting.key).then(|| site.corrected(at, site.file.line_with(at, meant), false))
}

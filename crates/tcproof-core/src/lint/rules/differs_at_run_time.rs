//! # differs-at-run-time
//!
//! ## What it says
//! The files would set the knob to one value at boot, and it has another one now.
//!
//! ## Why it matters
//! Either the files were changed and never loaded, or something else has written the knob since: then the file is
//! not what the host runs with, and the next boot, or the next restart of that other thing, changes it again.
//!
//! ## Bad
//! ```text
//! # while /proc/sys/net/core/somaxconn holds 4096
//! net.core.somaxconn = 8192
//! ```
//!
//! ## Good
//! ```text
//! # while /proc/sys/net/core/somaxconn holds 8192
//! net.core.somaxconn = 8192
//! ```
//!
//! ## What to do
//! Load the file (`sysctl -p FILE`), or put what runs now into it. Where another program owns the knob, set it
//! there, and only there.
//!
//! ## References
//! sysctl(8)

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::knobs::Wrong;
use crate::lint::{Context, Finding, Loader, Now, Rule, Severity, Writer};

pub(super) static RULE: Rule = Rule {
    slug: "differs-at-run-time",
    title: "a value that is not what it is now",
    severity: Severity::Warning,
    check,
    source: include_str!("differs_at_run_time.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    let Some(now) = &context.tree.now else { return };
    // What sets the knobs at boot; without systemd that is procps.
    let load = |loader| context.tree.loads.iter().position(|load| load.loader == loader);
    let Some(boot) = load(Loader::Systemd).or_else(|| load(Loader::Procps)) else { return };
    for key in context.keys(boot).filter(|key| key.starts_with("net.") || context.knob(key).is_some()) {
        let Some(site) = context.setters(boot, key).last() else { continue };
        let (Some(value), Some(is)) = (&site.setting.value, now.values.get(key).and_then(|is| is.value())) else {
            continue;
        };
        let kind = context.knob(key).map(|knob| &knob.kind);
        // A value that the kernel refuses has never been the knob's.
        if kind.is_some_and(|kind| matches!(kind.judge(value), Err(Wrong::Refused(_)))) {
            continue;
        }
        let is_same = kind.map_or_else(|| words(value) == words(is), |kind| kind.is_same(value, is));
        if !is_same {
            let is = words(is);
            let message = format!("boot sets this, and now it is {is}: {}", suspects(now, key));
            found.push(site.finding(&RULE, key, message));
        }
    }
}

fn words(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn suspects(now: &Now, key: &str) -> String {
    let writes = |writer: &&Writer| writer.keys.is_empty() || writer.keys.iter().any(|group| key.starts_with(group));
    let seen: Vec<_> = now.writers.iter().filter(writes).map(|writer| &*writer.what).collect();
    match seen.is_empty() {
        true => "never loaded, or written since by hand or by a program".into(),
        false => format!("never loaded, or written since; seen here: {}", seen.join("; ")),
    }
}

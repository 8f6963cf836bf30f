//! # loaders-differ
//!
//! ## What it says
//! `systemd-sysctl` sets the knobs at boot; `sysctl --system` of procps is what people type afterwards, and what
//! init scripts run. They read other files, in another order: only procps reads `/etc/sysctl.conf`, and it reads it
//! last.
//!
//! ## Why it matters
//! The host behaves one way after a reboot, and another way after somebody has typed `sysctl --system`.
//!
//! ## Bad
//! ```text
//! # /etc/sysctl.conf, with no link to it in /etc/sysctl.d
//! net.core.somaxconn = 8192
//! ```
//!
//! ## Good
//! ```text
//! # /etc/sysctl.d/90-listen.conf
//! net.core.somaxconn = 8192
//! ```
//!
//! ## What to do
//! Keep settings in `/etc/sysctl.d/NN-name.conf`, each key once, and leave `/etc/sysctl.conf` empty.
//!
//! ## References
//! sysctl.d(5), systemd-sysctl.service(8), sysctl(8)

use alloc::format;
use alloc::vec::Vec;

use crate::lint::{Context, Finding, Loader, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "loaders-differ",
    title: "a key that ends differently with systemd-sysctl and with sysctl --system",
    severity: Severity::Warning,
    check,
    source: include_str!("loaders_differ.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    let load = |loader| context.tree.loads.iter().position(|load| load.loader == loader);
    let (Some(systemd), Some(procps)) = (load(Loader::Systemd), load(Loader::Procps)) else { return };
    for key in context.keys(procps) {
        let Some(last) = context.setters(procps, key).last() else { continue };
        let boot = context.setters(systemd, key).last();
        let (Some(value), of_boot) = (&last.setting.value, boot.and_then(|site| site.setting.value.as_ref())) else {
            continue;
        };
        let message = match (boot, of_boot) {
            (Some(boot), Some(other)) if other != value => {
                let (path, line) = (&boot.file.path, boot.setting.at.line);
                format!(
                    "sysctl --system ends with this, but boot (systemd-sysctl) with {other}, of {path}, line {line}"
                )
            }
            (Some(boot), None) => {
                let (path, line) = (&boot.file.path, boot.setting.at.line);
                format!("only sysctl --system sets this: for boot (systemd-sysctl), {path}, line {line}, takes it back")
            }
            (None, _) => "only sysctl --system reads this file: boot (systemd-sysctl) does not set the key".into(),
            _ => continue,
        };
        found.push(last.finding(&RULE, key, message));
    }
    for key in context.keys(systemd).filter(|key| context.setters(procps, key).is_empty()) {
        if let Some(site) = context.setters(systemd, key).last().filter(|site| site.setting.value.is_some()) {
            let message = "only boot (systemd-sysctl) reads this file: sysctl --system does not set the key".into();
            found.push(site.finding(&RULE, key, message));
        }
    }
}

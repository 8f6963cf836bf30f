//! # wrong-scope
//!
//! ## What it says
//! A pod or container gets a knob that exists once per kernel; or it shares the host's network and sets a network
//! knob; or a command in it writes a knob that it can't write; or the host sets a knob that every network namespace has
//! of its own, and the others here don't have that value.
//!
//! ## Why it matters
//! Kubernetes and Docker refuse to start what asks for the first two, and the third sets nothing. The last one works,
//! but only for the host itself: containers begin with the kernel's default.
//!
//! ## Bad
//! ```text
//! apiVersion: v1
//! kind: Pod
//! spec:
//!   securityContext:
//!     sysctls:
//!     - name: net.netfilter.nf_conntrack_max
//!       value: "524288"
//! ```
//!
//! ## Good
//! ```text
//! apiVersion: v1
//! kind: Pod
//! spec:
//!   securityContext:
//!     sysctls:
//!     - name: net.core.somaxconn
//!       value: "8192"
//! ```
//!
//! ## What to do
//! Set what exists once per kernel on the host, and what each namespace has in the pod or container that needs it.
//!
//! ## References
//! Kubernetes: using sysctls in a cluster; docker run --sysctl

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::knobs::{Fresh, Inside, Knob, Scope};
use crate::lint::{Context, Finding, Now, Place, Rule, Severity, Site};

pub(super) static RULE: Rule = Rule {
    slug: "wrong-scope",
    title: "a knob set where it does not apply",
    severity: Severity::Error,
    check,
    source: include_str!("wrong_scope.rs"),
};

/// Not of the network, but of an IPC namespace, which pods and containers have too.
const IPC: &[&str] = &["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."];

/// What a kubelet allows unasked, with the version of Kubernetes that began it.
const SAFE_IN_PODS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    for site in context.sites().filter(|site| site.setting.is_sysctl() && site.setting.value.is_some()) {
        let key = &*site.setting.key;
        let knob = context.knob(key);
        match site.setting.place {
            Place::Pod { host_network } => {
                found.extend(inside(site, knob, host_network, "Kubernetes refuses the pod"));
                found.extend(choice(site, "the pod does not start").filter(|_| !host_network));
                if !host_network && !is_global(key, knob) && !SAFE_IN_PODS.contains(&key) {
                    let message = "the kubelet must allow it first: --allowed-unsafe-sysctls".into();
                    found.push(site.finding(&RULE, key, message).as_severe_as(Severity::Note));
                }
            }
            Place::Container { host_network } => {
                found.extend(inside(site, knob, host_network, "the container does not start"));
                found.extend(choice(site, "it does not start").filter(|_| !host_network));
            }
            Place::Process { host_network, is_privileged } => {
                found.extend(by_process(site, knob, host_network, is_privileged));
            }
            Place::Host => {
                let here = knob.zip(context.tree.now.as_ref());
                found.extend(here.and_then(|(knob, now)| elsewhere(site, knob, now)));
            }
            Place::Service => {}
        }
    }
}

fn is_global(key: &str, knob: Option<&Knob>) -> bool {
    match knob {
        Some(knob) => !knob.is_namespaced(),
        None => !key.starts_with("net.") && !IPC.iter().any(|ours| key.starts_with(ours)),
    }
}

fn inside(site: Site<'_>, knob: Option<&Knob>, host_network: bool, so: &str) -> Option<Finding> {
    let key = &*site.setting.key;
    let why = if is_global(key, knob) {
        "exists once per kernel, not per network namespace"
    } else if host_network && key.starts_with("net.") {
        "would change the host's own network, which this shares"
    } else {
        return None;
    };
    Some(site.finding(&RULE, key, format!("{why}: {so}")))
}

/// What a command in a container reaches.
fn by_process(site: Site<'_>, knob: Option<&Knob>, host_network: bool, is_privileged: bool) -> Option<Finding> {
    let key = &*site.setting.key;
    if !is_privileged {
        let message = "a container that is not privileged can't write /proc/sys: this sets nothing".into();
        return Some(site.finding(&RULE, key, message));
    }
    if host_network || !is_global(key, knob) {
        return None;
    }
    let is_shut =
        knob.is_some_and(|knob| matches!(knob.scope, Scope::Global { inside: Inside::Absent | Inside::ReadOnly }));
    Some(match is_shut {
        true => site.finding(
            &RULE,
            key,
            "exists once per kernel, and can't be written from another network namespace: this sets nothing".into(),
        ),
        false => site
            .finding(&RULE, key, "exists once per kernel: this sets it for the whole host".into())
            .as_severe_as(Severity::Note),
    })
}

/// A namespace other than the initial one may only take what the host lets everybody choose.
fn choice(site: Site<'_>, so: &str) -> Option<Finding> {
    let name = site.setting.value.as_deref()?.trim();
    // The kernel itself allows these two nearly everywhere: reno always, cubic as the usual default.
    if site.setting.key != "net.ipv4.tcp_congestion_control" || matches!(name, "reno" | "cubic") {
        return None;
    }
    let message = format!(
        "only where the host lists {name} in tcp_allowed_congestion_control, or has it as its own: otherwise the kernel \
         answers EPERM, and {so}"
    );
    Some(site.finding(&RULE, &site.setting.key, message).as_severe_as(Severity::Note))
}

/// The host's value does not reach its containers.
fn elsewhere(site: Site<'_>, knob: &Knob, now: &Now) -> Option<Finding> {
    if !matches!(knob.scope, Scope::Namespace { fresh: Fresh::Default }) {
        return None;
    }
    let value = site.setting.value.as_deref()?;
    let theirs: Vec<_> = now.elsewhere.values().filter_map(|values| values.get(knob.key)?.value()).collect();
    let others: Vec<&String> = theirs.iter().copied().filter(|theirs| !knob.kind.is_same(value, theirs)).collect();
    let example = others.first()?;
    let message = format!(
        "sets the host's own network namespace only: {} of the {} others here have another value, such as {example}",
        others.len(),
        theirs.len()
    );
    Some(site.finding(&RULE, knob.key, message).as_severe_as(Severity::Note))
}

//! The scenarios that come with the program.

use crate::scenario::{Error, Scenario};

/// Name and text of every scenario, sorted by name.
pub static SCENARIOS: &[(&str, &str)] = &[
    ("accept-queue-abort", include_str!("../scenarios/accept-queue-abort.toml")),
    ("accept-queue-bursty", include_str!("../scenarios/accept-queue-bursty.toml")),
    ("accept-queue-descriptors", include_str!("../scenarios/accept-queue-descriptors.toml")),
    ("accept-queue-herd", include_str!("../scenarios/accept-queue-herd.toml")),
    ("accept-queue-ipv6", include_str!("../scenarios/accept-queue-ipv6.toml")),
    ("accept-queue-mptcp", include_str!("../scenarios/accept-queue-mptcp.toml")),
    ("accept-queue-not-relistened", include_str!("../scenarios/accept-queue-not-relistened.toml")),
    ("accept-queue-one-of-two", include_str!("../scenarios/accept-queue-one-of-two.toml")),
    ("accept-queue-paced", include_str!("../scenarios/accept-queue-paced.toml")),
    ("accept-queue-reuseport", include_str!("../scenarios/accept-queue-reuseport.toml")),
    ("accept-queue-somaxconn", include_str!("../scenarios/accept-queue-somaxconn.toml")),
    ("accept-queue-stalled", include_str!("../scenarios/accept-queue-stalled.toml")),
    ("asymmetric-rp-filter", include_str!("../scenarios/asymmetric-rp-filter.toml")),
    ("buffers-stacked", include_str!("../scenarios/buffers-stacked.toml")),
    ("bulk-50ms", include_str!("../scenarios/bulk-50ms.toml")),
    ("bulk-app-limited", include_str!("../scenarios/bulk-app-limited.toml")),
    ("bulk-veth", include_str!("../scenarios/bulk-veth.toml")),
    ("cgroup-v1-socket-pressure", include_str!("../scenarios/cgroup-v1-socket-pressure.toml")),
    ("close-wait-leak", include_str!("../scenarios/close-wait-leak.toml")),
    ("close-wait-slow-response", include_str!("../scenarios/close-wait-slow-response.toml")),
    ("congestion-bbr", include_str!("../scenarios/congestion-bbr.toml")),
    ("congestion-deep-queue", include_str!("../scenarios/congestion-deep-queue.toml")),
    ("congestion-shared", include_str!("../scenarios/congestion-shared.toml")),
    ("congestion-short-queue", include_str!("../scenarios/congestion-short-queue.toml")),
    ("congestion-slow-start-after-idle", include_str!("../scenarios/congestion-slow-start-after-idle.toml")),
    ("congestion-window-path", include_str!("../scenarios/congestion-window-path.toml")),
    ("conntrack-full", include_str!("../scenarios/conntrack-full.toml")),
    ("descriptors-leak", include_str!("../scenarios/descriptors-leak.toml")),
    ("fastopen-not-enabled", include_str!("../scenarios/fastopen-not-enabled.toml")),
    ("fastopen-queue-full", include_str!("../scenarios/fastopen-queue-full.toml")),
    ("fastopen-works", include_str!("../scenarios/fastopen-works.toml")),
    ("fin-wait2-pile", include_str!("../scenarios/fin-wait2-pile.toml")),
    ("healthy-4000", include_str!("../scenarios/healthy-4000.toml")),
    ("keepalive-idle", include_str!("../scenarios/keepalive-idle.toml")),
    ("keepalive-middlebox", include_str!("../scenarios/keepalive-middlebox.toml")),
    ("keepalive-unacked", include_str!("../scenarios/keepalive-unacked.toml")),
    ("listen-drops-no-route", include_str!("../scenarios/listen-drops-no-route.toml")),
    ("loss-bbr", include_str!("../scenarios/loss-bbr.toml")),
    ("loss-local-qdisc", include_str!("../scenarios/loss-local-qdisc.toml")),
    ("loss-path-cubic", include_str!("../scenarios/loss-path-cubic.toml")),
    ("loss-path-cubic-high", include_str!("../scenarios/loss-path-cubic-high.toml")),
    ("loss-path-cubic-low", include_str!("../scenarios/loss-path-cubic-low.toml")),
    ("loss-path-reno", include_str!("../scenarios/loss-path-reno.toml")),
    ("loss-sawtooth", include_str!("../scenarios/loss-sawtooth.toml")),
    ("loss-sawtooth-reno", include_str!("../scenarios/loss-sawtooth-reno.toml")),
    ("loss-spurious", include_str!("../scenarios/loss-spurious.toml")),
    ("many-time-wait", include_str!("../scenarios/many-time-wait.toml")),
    ("mptcp-disabled", include_str!("../scenarios/mptcp-disabled.toml")),
    ("mptcp-fallback", include_str!("../scenarios/mptcp-fallback.toml")),
    ("mptcp-no-endpoints", include_str!("../scenarios/mptcp-no-endpoints.toml")),
    ("path-mtu-black-hole", include_str!("../scenarios/path-mtu-black-hole.toml")),
    ("path-mtu-filtered-icmp", include_str!("../scenarios/path-mtu-filtered-icmp.toml")),
    ("path-mtu-icmp", include_str!("../scenarios/path-mtu-icmp.toml")),
    ("ports-bind-before-connect", include_str!("../scenarios/ports-bind-before-connect.toml")),
    ("ports-held", include_str!("../scenarios/ports-held.toml")),
    ("ports-ipv6", include_str!("../scenarios/ports-ipv6.toml")),
    ("ports-pool-fits", include_str!("../scenarios/ports-pool-fits.toml")),
    ("ports-range-small", include_str!("../scenarios/ports-range-small.toml")),
    ("ports-search-slow", include_str!("../scenarios/ports-search-slow.toml")),
    ("ports-time-wait-churn", include_str!("../scenarios/ports-time-wait-churn.toml")),
    ("ports-tw-reuse", include_str!("../scenarios/ports-tw-reuse.toml")),
    ("quiet", include_str!("../scenarios/quiet.toml")),
    ("receive-window-buffer-fixed", include_str!("../scenarios/receive-window-buffer-fixed.toml")),
    ("receive-window-buffer-max", include_str!("../scenarios/receive-window-buffer-max.toml")),
    ("receive-window-peer", include_str!("../scenarios/receive-window-peer.toml")),
    ("receive-window-reader-slow", include_str!("../scenarios/receive-window-reader-slow.toml")),
    ("receive-window-reader-stalled", include_str!("../scenarios/receive-window-reader-stalled.toml")),
    ("receive-window-scaling-off", include_str!("../scenarios/receive-window-scaling-off.toml")),
    ("send-buffer-fixed", include_str!("../scenarios/send-buffer-fixed.toml")),
    ("send-buffer-max", include_str!("../scenarios/send-buffer-max.toml")),
    ("send-buffer-max-bbr", include_str!("../scenarios/send-buffer-max-bbr.toml")),
    ("socket-backlog", include_str!("../scenarios/socket-backlog.toml")),
    ("syn-flood-beside-overflow", include_str!("../scenarios/syn-flood-beside-overflow.toml")),
    ("syn-flood-cookies-off", include_str!("../scenarios/syn-flood-cookies-off.toml")),
    ("syn-flood-cookies-on", include_str!("../scenarios/syn-flood-cookies-on.toml")),
    ("syn-flood-max-syn-backlog", include_str!("../scenarios/syn-flood-max-syn-backlog.toml")),
    ("syn-queue-small-backlog", include_str!("../scenarios/syn-queue-small-backlog.toml")),
    ("time-wait-table", include_str!("../scenarios/time-wait-table.toml")),
    ("timestamps-paws", include_str!("../scenarios/timestamps-paws.toml")),
];

/// All scenarios that come with the program.
///
/// # Errors
/// Never, as far as the tests of this crate can tell: they parse every one.
pub fn all() -> Result<Vec<Scenario>, Error> {
    SCENARIOS.iter().map(|(name, text)| Scenario::parse(&format!("{name}.toml"), text)).collect()
}

/// The scenario with that name.
pub fn by_name(name: &str) -> Option<Result<Scenario, Error>> {
    let (name, text) = SCENARIOS.iter().find(|(known, _)| *known == name)?;
    Some(Scenario::parse(&format!("{name}.toml"), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;
    use tcproof_core::limits::{LIMITS, Limit};

    #[test]
    fn limits_and_scenarios_name_each_other() {
        for scenario in all().unwrap() {
            let Some(limit) = &scenario.limit else { continue };
            let listed = Limit::by_slug(&limit.0).unwrap().scenarios;
            assert!(listed.contains(&scenario.name.as_str()), "{} does not list {}", limit.0, scenario.name);
        }
        for limit in LIMITS {
            for name in limit.scenarios {
                assert!(by_name(name).is_some(), "{} lists {name}, which is not there", limit.slug);
            }
        }
    }

    #[test]
    fn every_scenario_parses_and_is_in_the_table() {
        for scenario in all().unwrap() {
            assert!(!scenario.about.is_empty(), "{}", scenario.name);
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let table: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        assert_eq!(files.iter().map(String::as_str).collect::<Vec<_>>(), table, "catalog.rs and scenarios/ differ");
    }
}

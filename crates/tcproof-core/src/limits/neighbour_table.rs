//! # neighbour-table
//!
//! ## What it is
//! The table of neighbours (ARP for IPv4, NDISC for IPv6) that the kernel talks to on its links: one table per family
//! for all network namespaces together, at most `gc_thresh3` entries (1024 unless changed) that garbage collection may
//! remove. When it is full and nothing can be removed, the packet to a new neighbour is dropped: connect(2) to it times
//! out without an error of its own, known neighbours go on working.
//!
//! ## Evidence
//! - `table_fulls` of `/proc/net/stat/arp_cache` or `ndisc_cache` grew: entries were refused within the window. The
//!   files exist in the initial namespace only and count for all.
//! - `entries` of the same files against `gc_thresh3`. It also counts permanent and externally learned entries, which
//!   the limit does not (since 5.0): high use is likely, not proven, to be near.
//!
//! Causes: `table-full`.
//!
//! ## See it yourself
//! - `lnstat -f arp_cache -k entries,table_fulls -c 2 -i 5` (32 bits each, a row per CPU, in hexadecimal)
//! - `ip -4 neigh show nud all | wc -l` in every namespace; `sysctl net.ipv4.neigh.default.gc_thresh3`
//! - `dmesg | grep 'neighbor table overflow'`
//!
//! ## Look-alikes
//! - `conntrack-table`: connections of known neighbours fail too, its `drop` grows, `table_fulls` does not.
//! - `ephemeral-ports`: connect(2) fails at once with EADDRNOTAVAIL instead of timing out.
//! - Neighbours that do not answer: entries in state FAILED, `unresolved_discards` grows, nothing is full.
//!
//! ## Remedy
//! Fewer neighbours on one link first: a route through a gateway instead of a huge on-link prefix, no proxy ARP in
//! place of routes. Then gc_thresh3 = 2 × the most entries, gc_thresh2 half and gc_thresh1 a quarter of it.
//!
//! ## References
//! arp(7) `gc_thresh3`; net/core/neighbour.c `neigh_alloc`, `neigh_forced_gc`, `neigh_stat_seq_show`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, percent, so_far, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{NeighbourTable, System};

/// The tables of neighbours.
pub(super) static LIMIT: Limit = Limit {
    slug: "neighbour-table",
    title: "neighbour table",
    causes: &[("table-full", "entries for new neighbours are refused")],
    reads: &[
        "kfree_skb: NEIGH_CREATEFAIL (eBPF)",
        "arp_cache table_fulls",
        "arp_cache entries",
        "ndisc_cache table_fulls",
        "ndisc_cache entries",
    ],
    look_alikes: &["conntrack-table", "ephemeral-ports"],
    knobs: &[
        "net.ipv4.neigh.default.gc_thresh1",
        "net.ipv4.neigh.default.gc_thresh2",
        "net.ipv4.neigh.default.gc_thresh3",
        "net.ipv6.neigh.default.gc_thresh1",
        "net.ipv6.neigh.default.gc_thresh2",
        "net.ipv6.neigh.default.gc_thresh3",
    ],
    scenarios: &[],
    source: include_str!("neighbour_table.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// A table that passed this share of gc_thresh3 is near.
const NEAR: f64 = 0.9;

/// One family's table over the window.
struct Family {
    name: &'static str,
    /// Name of the file in /proc/net/stat.
    file: &'static str,
    /// Prefix of the knobs' keys.
    knobs: &'static str,
    refused: Reading<u64>,
    /// The higher of the two ends.
    entries: Reading<u64>,
    max: Reading<u64>,
}

impl Family {
    fn of(
        interval: &Interval,
        (name, file, knobs): (&'static str, &'static str, &'static str),
        table: fn(&System) -> &NeighbourTable,
    ) -> Self {
        let (before, after) = (table(&interval.before.system), table(&interval.after.system));
        let refused =
            interval.growth(&format!("table_fulls of {file}"), before.table_fulls.clone(), after.table_fulls.clone());
        let start = before.entries.value().copied().unwrap_or(0);
        let entries = after.entries.clone().map(|end| end.max(start));
        Self { name, file, knobs, refused, entries, max: after.gc_thresh3.clone() }
    }

    fn both(interval: &Interval) -> [Self; 2] {
        [
            Self::of(interval, ("IPv4", "arp_cache", "net.ipv4.neigh.default"), |system| &system.arp),
            Self::of(interval, ("IPv6", "ndisc_cache", "net.ipv6.neigh.default"), |system| &system.ndisc),
        ]
    }

    fn refused(&self) -> u64 {
        self.refused.value().copied().unwrap_or(0)
    }

    /// Entries and limit, unless there are more entries than the limit allows and none was refused: then some of them
    /// do not count against it, and how many do can't be read. A full table may be one or two beyond its limit.
    fn level(&self) -> Option<(u64, u64)> {
        let level = (*self.entries.value()?, *self.max.value()?);
        Some(level).filter(|(entries, max)| entries <= max || self.refused() > 0)
    }

    fn uncountable(&self) -> bool {
        matches!((&self.entries, &self.max), (Reading::Present(entries), Reading::Present(max)) if entries > max)
    }

    fn share(&self) -> Option<f64> {
        self.level().map(|(entries, max)| entries as f64 / max.max(1) as f64)
    }

    fn state(&self) -> Option<State> {
        if self.refused() > 0 {
            return Some(State::Limiting);
        }
        self.share().is_some_and(|share| share >= NEAR).then_some(State::Near)
    }

    /// Whether the kernel does without the family: then there is no table to judge.
    fn is_off(&self, other: &Self) -> bool {
        matches!(self.refused, Reading::Absent(Absent::NotInKernel { .. })) && other.refused.value().is_some()
    }

    fn unknown(&self) -> Vec<Unknown> {
        let table_fulls = format!("table_fulls of {}", self.file);
        let entries = format!("entries of {}", self.file);
        let thresh = format!("{}.gc_thresh3", self.knobs);
        let readings = [
            (table_fulls, self.refused.absent()),
            (entries.clone(), self.entries.absent()),
            (thresh.clone(), self.max.absent()),
        ];
        let missing = readings.iter().filter_map(|(reading, why)| unknown(&LIMIT, None, reading, (*why)?));
        let mut all: Vec<_> = missing.collect();
        if self.uncountable() && self.refused() == 0 {
            all.push(Unknown {
                limit: LIMIT.slug.into(),
                reading: format!("{entries} that count against {thresh}"),
                because: "there are more entries than the limit, and none was refused: some are permanent or learned \
                          from outside, which do not count"
                    .into(),
                would_need: None,
            });
        }
        all
    }

    fn summary(&self, seconds: f64) -> String {
        let level = match (&self.entries, &self.max) {
            (Reading::Present(entries), Reading::Present(max)) => format!("{entries} entries of {max}"),
            (Reading::Present(entries), _) => format!("{entries} entries"),
            _ => "entries can't be read".into(),
        };
        match self.refused() {
            0 => format!("{} neighbours: {level}; {}", self.name, so_far(seconds, "none refused")),
            refused => format!("{refused} new {} neighbours refused in {seconds:.1} s; {level}", self.name),
        }
    }
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |family: &Family| {
        family.level().map(|(used, capacity)| Headroom {
            limit: LIMIT.slug.into(),
            subject: Subject::Host,
            used,
            capacity,
            unit: format!("{} neighbours", family.name),
        })
    };
    Family::both(interval).iter().filter_map(of).collect()
}

fn detect(interval: &Interval) -> Detected {
    let families = Family::both(interval);
    let [v4, v6] = &families;
    let mut detected = Detected::default();
    if !v4.is_off(v6) {
        detected.unknown.extend(v4.unknown());
    }
    if !v6.is_off(v4) {
        detected.unknown.extend(v6.unknown());
    }
    // Limiting orders before near.
    if let Some(state) = families.iter().filter_map(Family::state).min() {
        detected.findings.push(finding(interval, &families, state));
    }
    detected
}

fn finding(interval: &Interval, families: &[Family], state: State) -> Finding {
    let seconds = interval.seconds();
    let concerned: Vec<_> = families.iter().filter(|family| family.state() == Some(state)).collect();
    let sentences: Vec<_> = concerned.iter().map(|family| family.summary(seconds)).collect();
    let names: Vec<_> = concerned.iter().map(|family| family.name).collect();
    let names = names.join(" and ");
    let (confidence, because) = match state {
        State::Limiting => (
            Confidence::Proven,
            format!("the {names} table was full and nothing in it could be collected: table_fulls grew"),
        ),
        State::Near => (
            Confidence::Likely,
            format!(
                "the {names} table is beyond {} % of gc_thresh3; entries that do not count against it may be among them",
                percent(NEAR)
            ),
        ),
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "table-full".into(),
        confidence,
        subject: Subject::Host,
        summary: sentences.join("; "),
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: families.iter().map(Family::refused).sum(),
    };
    for family in families {
        let file = family.file;
        if let Reading::Present(refused) = &family.refused {
            finding = finding.changed(format!("{file} table_fulls"), *refused as f64, "neighbours", seconds);
        }
        if let Reading::Present(entries) = &family.entries {
            finding = finding.standing(format!("{file} entries, most seen"), *entries as f64, "neighbours");
        }
        if let Reading::Present(max) = &family.max {
            finding = finding.standing(format!("{}.gc_thresh3", family.knobs), *max as f64, "neighbours");
        }
    }
    finding
}

fn remedy(_: &Finding, interval: &Interval) -> Vec<Remedy> {
    let verify = "table_fulls stands still and entries stay below half of gc_thresh3";
    let mut remedies = vec![
        Remedy::new(
            Level::Service,
            "fewer neighbours on one link: route large networks through a gateway instead of treating them as on-link \
             (ip route without via), smaller segments, no proxy ARP in place of routes",
        )
        .verify(verify),
    ];
    for family in Family::both(interval).iter().filter(|family| family.state().is_some()) {
        remedies.extend(thresholds(interval, family, verify));
    }
    remedies
}

/// The three thresholds of one family, the highest first so that they stay in order while they are raised.
fn thresholds(interval: &Interval, family: &Family, verify: &str) -> Vec<Remedy> {
    let peak = match (&family.entries, &family.max) {
        // What was refused came on top of a full table.
        (Reading::Present(entries), Reading::Present(max)) if family.refused() > 0 => *entries.max(max),
        (Reading::Present(entries), _) => *entries,
        (_, Reading::Present(max)) => *max,
        _ => return vec![],
    };
    let to = peak.saturating_mul(2);
    let steps = [
        ("gc_thresh3", to, format!("2 × {peak} entries at the most")),
        ("gc_thresh2", to / 2, format!("half of gc_thresh3 = {to}")),
        ("gc_thresh1", to / 4, format!("a quarter of gc_thresh3 = {to}")),
    ];
    let raise = |(name, to, formula): (&str, u64, String)| {
        let key = format!("{}.{name}", family.knobs);
        let from = match name {
            "gc_thresh3" => *family.max.value()?,
            _ => knob(interval, &key)?,
        };
        (to > from).then(|| {
            Remedy::knob(
                format!("raise {name} of {}, for all namespaces of the host", family.name),
                key,
                format!("{from}"),
                format!("{to}"),
            )
            .formula(formula)
            .cost(format!("about half a KiB a neighbour: {} KiB when it is full", to / 2))
            .verify(verify)
        })
    };
    steps.into_iter().filter_map(raise).collect()
}

/// A knob that only the initial namespace shows, whichever of those seen that is.
fn knob(interval: &Interval, key: &str) -> Option<u64> {
    let mut values = interval.namespaces().filter_map(|ns| ns.after.knob_number(key).value().copied());
    values.next().and_then(|value| u64::try_from(value).ok())
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let [v4, v6] = Family::both(ns.interval());
    let refuses_nothing = |family: &Family, other: &Family| {
        family.is_off(other) || (family.refused.value() == Some(&0) && family.state().is_none())
    };
    (refuses_nothing(&v4, &v6) && refuses_nothing(&v6, &v4)).then(|| {
        let fullest = [v4.share(), v6.share()].into_iter().flatten().reduce(f64::max);
        match fullest {
            Some(share) => format!("no neighbour refused; table {} % full", percent(share)),
            None => "no neighbour refused".into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, no_permission, remedies, the_finding, unknowns, verdict};
    use super::*;

    fn table(entries: u64, table_fulls: u64) -> NeighbourTable {
        NeighbourTable {
            entries: Reading::Present(entries),
            table_fulls: Reading::Present(table_fulls),
            gc_thresh3: Reading::Present(1_024),
        }
    }

    /// Entries and growth of table_fulls, IPv4 and IPv6.
    fn host(arp: (u64, u64), ndisc: (u64, u64)) -> Host {
        Host::new()
            .before(|s| (s.system.arp, s.system.ndisc) = (table(arp.0 / 2, 40), table(ndisc.0 / 2, 40)))
            .after(|s| (s.system.arp, s.system.ndisc) = (table(arp.0, 40 + arp.1), table(ndisc.0, 40 + ndisc.1)))
            .knob("net.ipv4.neigh.default.gc_thresh2", "512")
            .knob("net.ipv4.neigh.default.gc_thresh1", "128")
    }

    #[test]
    fn refused_neighbours_are_limiting() {
        let finding = the_finding(&LIMIT, &host((1_024, 17), (12, 0)));
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Limiting, "table-full", 17));
        insta::assert_snapshot!(finding.summary, @"17 new IPv4 neighbours refused in 5.0 s; 1024 entries of 1024");
        insta::assert_snapshot!(finding.because, @"the IPv4 table was full and nothing in it could be collected: table_fulls grew");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Service: fewer neighbours on one link: route large networks through a gateway instead of treating them as on-link (ip route without via), smaller segments, no proxy ARP in place of routes
        2. Kernel: raise gc_thresh3 of IPv4, for all namespaces of the host [net.ipv4.neigh.default.gc_thresh3 1024 → 2048]
        3. Kernel: raise gc_thresh2 of IPv4, for all namespaces of the host [net.ipv4.neigh.default.gc_thresh2 512 → 1024]
        4. Kernel: raise gc_thresh1 of IPv4, for all namespaces of the host [net.ipv4.neigh.default.gc_thresh1 128 → 512]
        ");
    }

    #[test]
    fn one_finding_for_both_families() {
        let finding = the_finding(&LIMIT, &host((1_024, 17), (1_024, 3)));
        insta::assert_snapshot!(finding.summary, @"17 new IPv4 neighbours refused in 5.0 s; 1024 entries of 1024; 3 new IPv6 neighbours refused in 5.0 s; 1024 entries of 1024");
        assert_eq!(finding.hurt, 20);
        // The worse state speaks.
        assert_eq!(verdict(&LIMIT, &host((1_000, 0), (1_024, 3))).0, State::Limiting);
    }

    #[test]
    fn nine_tenths_is_near() {
        let finding = the_finding(&LIMIT, &host((922, 0), (0, 0)));
        assert_eq!((finding.state, finding.confidence), (State::Near, Confidence::Likely));
        insta::assert_snapshot!(finding.summary, @"IPv4 neighbours: 922 entries of 1024; none refused yet");
        insta::assert_snapshot!(finding.because, @"the IPv4 table is beyond 90 % of gc_thresh3; entries that do not count against it may be among them");
        assert_clear(&LIMIT, &host((921, 0), (0, 0)));
    }

    #[test]
    fn more_entries_than_the_limit_are_not_all_counted() {
        let permanent = host((3_000, 0), (0, 0));
        assert_eq!(
            unknowns(&LIMIT, &permanent),
            ["entries of arp_cache that count against net.ipv4.neigh.default.gc_thresh3"]
        );
        assert_eq!((LIMIT.headroom)(permanent.interval()).len(), 1);
        assert_eq!((LIMIT.headroom)(host((1_025, 17), (0, 0)).interval()).len(), 2);
    }

    #[test]
    fn silent_when_conntrack_drops() {
        let host = host((100, 0), (10, 0)).conntrack(1_000, 1_000, 1_000, 1_000).conntrack_grew("drop", 600);
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("no neighbour refused; table 10 % full"));
    }

    #[test]
    fn silent_when_the_ports_run_out() {
        let narrow = host((100, 0), (10, 0)).knob("net.ipv4.ip_local_port_range", "40000 40009");
        assert_clear(&LIMIT, &narrow.sockstat("TCP.tw", 10, 10).grew("Tcp.AttemptFails", 500));
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let unreadable = host((0, 0), (0, 0)).both(|s| {
            s.system.arp.table_fulls = no_permission("arp_cache");
            s.system.arp.entries = no_permission("arp_cache");
            s.system.ndisc.gc_thresh3 = absent("net.ipv6.neigh.default.gc_thresh3");
        });
        assert_eq!(
            unknowns(&LIMIT, &unreadable),
            ["table_fulls of arp_cache", "entries of arp_cache", "net.ipv6.neigh.default.gc_thresh3"]
        );
        let ns = unreadable.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns), None);
        // Another namespace than the initial one has neither file.
        let none = NeighbourTable { entries: absent("f"), table_fulls: absent("f"), gc_thresh3: absent("k") };
        let container = Host::new().both(|s| (s.system.arp, s.system.ndisc) = (none.clone(), none.clone()));
        assert_eq!(unknowns(&LIMIT, &container).len(), 6);
        // A kernel without IPv6 has nothing to judge there.
        assert_clear(&LIMIT, &host((10, 0), (0, 0)).both(|s| s.system.ndisc = none.clone()));
        // A counter that went down has no growth.
        let restarted = host((10, 0), (0, 0)).after(|s| s.system.arp.table_fulls = Reading::Present(3));
        assert_eq!(unknowns(&LIMIT, &restarted), ["table_fulls of arp_cache"]);
    }
}

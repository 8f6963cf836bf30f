//! # conntrack-table
//!
//! ## What it is
//! Connection tracking remembers every connection that passes netfilter: for NAT, for stateful rules, for nothing. Each
//! namespace has a count of its own against one `net.netfilter.nf_conntrack_max` for all. When it is full, packets that
//! would need a new entry are dropped before TCP sees them: connects time out, in both directions, while what is
//! connected goes on. Entries are found through a hash of `nf_conntrack_buckets` chains, one for all namespaces.
//!
//! ## Evidence
//! - `/proc/net/stat/nf_conntrack`'s `drop` grew and the count is at the maximum. Alone, `drop` also counts clashes,
//!   entries that died while a packet held them and allocations that failed: with room in the table it is not this.
//! - `early_drop` counts entries not yet answered that were evicted to make room: the table was at its edge.
//! - `chaintoolong` (or `chainlength`, since 5.15): an entry was refused because its hash chain was too long.
//!
//! Causes: `table-full` (entries at nf_conntrack_max), `hash-small` (too many entries for the buckets).
//!
//! ## See it yourself
//! - `cat /proc/sys/net/netfilter/nf_conntrack_{count,max,buckets}` in the namespace
//! - `conntrack -S` (drop, early_drop, chaintoolong), `conntrack -L | awk '{print $1, $4}' | sort | uniq -c`
//! - `dmesg | grep 'nf_conntrack: table full'` (says the namespace's number)
//!
//! ## Look-alikes
//! - `syn-queue` and `accept-queue`: they count ListenDrops; here SYNs never arrive and ListenDrops does not move.
//! - `ephemeral-ports`: connect(2) fails at once with EADDRNOTAVAIL; here it times out.
//!
//! ## Remedy
//! Do not track what needs no tracking (`notrack` in both directions), shorten the timeouts. An entry keeps the timeout
//! it was made with, so a shorter one frees nothing that is there now. Then nf_conntrack_max = 1.5 × the peak and as
//! many buckets: both are global, and can be written in the initial namespace only.
//!
//! ## References
//! Documentation/networking/nf_conntrack-sysctl.rst; net/netfilter/nf_conntrack_core.c `__nf_conntrack_alloc`,
//! `early_drop`, `__nf_conntrack_confirm`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, percent, so_far, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};

/// Connection tracking's table and its hash.
pub(super) static LIMIT: Limit = Limit {
    slug: "conntrack-table",
    title: "connection tracking table",
    causes: &[
        ("table-full", "as many connections are tracked as nf_conntrack_max allows"),
        ("hash-small", "too many entries for the hash: chains grow too long"),
    ],
    reads: &[
        "kfree_skb: NETFILTER_DROP (eBPF)",
        "net.netfilter.nf_conntrack_count",
        "net.netfilter.nf_conntrack_max",
        "net.netfilter.nf_conntrack_buckets",
        "/proc/net/stat/nf_conntrack",
    ],
    look_alikes: &["accept-queue", "syn-queue", "ephemeral-ports"],
    knobs: &["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"],
    scenarios: &["conntrack-full"],
    source: include_str!("conntrack_table.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// At this share of the maximum a drop was the table's.
const FULL: f64 = 0.95;
/// From this share on the next burst fills it.
const NEAR: f64 = 0.8;
/// Hash nodes a bucket (two an entry, one for each direction); a full table of default size has 2.
const CROWDED: f64 = 4.0;
/// Bytes of one entry, with its usual extensions.
const ENTRY: u64 = 400;
/// Share of the memory that a bigger table may take: one in so many.
const MEMORY_PART: u64 = 20;

/// The most entries seen at either end, where connection tracking is in use.
fn peak(ns: &NetnsChange<'_>) -> Option<u64> {
    let ends = [&ns.before.conntrack.count, &ns.after.conntrack.count];
    ends.into_iter().filter_map(Reading::value).max().copied().filter(|peak| *peak > 0)
}

/// `nf_conntrack_max`; zero is no limit at all.
fn max(ns: &NetnsChange<'_>) -> Reading<u64> {
    ns.after.conntrack.max.clone()
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ns: NetnsChange<'_>| {
        let capacity = max(&ns).value().copied().filter(|max| *max > 0)?;
        Some(Headroom {
            limit: LIMIT.slug.into(),
            subject: subject(&ns),
            used: peak(&ns)?,
            capacity,
            unit: "connections".into(),
        })
    };
    interval.namespaces().filter_map(of).collect()
}

fn subject(ns: &NetnsChange<'_>) -> Subject {
    Subject::Netns { netns: ns.name().into() }
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let missing = |reading: &str, why: &Absent| unknown(&LIMIT, Some(ns.name()), reading, why);
        match &ns.after.conntrack.count {
            Reading::Present(_) => {}
            // No such file: connection tracking is not loaded, so it can limit nothing.
            Reading::Absent(Absent::NotInKernel { .. }) => continue,
            Reading::Absent(why) => {
                detected.unknown.extend(missing("nf_conntrack_count", why));
                continue;
            }
        }
        let Some(peak) = peak(&ns) else { continue };
        let max = match max(&ns) {
            Reading::Present(max) => max,
            Reading::Absent(why) => {
                detected.unknown.extend(missing("nf_conntrack_max", &why));
                continue;
            }
        };
        let drop = ns.conntrack("drop");
        if let Reading::Absent(why) = &drop {
            detected.unknown.extend(missing("/proc/net/stat/nf_conntrack", why));
        }
        let dropped = drop.value().copied().unwrap_or(0);
        let used = if max == 0 { 0.0 } else { peak as f64 / max as f64 };
        if dropped > 0 && used < FULL {
            detected.unknown.push(other_drops(&ns, dropped, peak, max));
        }
        detected.findings.extend(table_full(&ns, peak, max, dropped));
    }
    detected.findings.extend(hash_small(interval));
    detected
}

/// Packets that connection tracking dropped with room in its table.
fn other_drops(ns: &NetnsChange<'_>, dropped: u64, peak: u64, max: u64) -> Unknown {
    Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("{dropped} packets dropped by connection tracking of {}", ns.name()),
        because: format!(
            "{peak} of {max} entries were used, so the table was not full: a clash, a dying entry, no memory, or the \
             protocol's tracker"
        ),
        would_need: Some("conntrack -S, and nf_conntrack_log_invalid in that namespace".into()),
    }
}

fn table_full(ns: &NetnsChange<'_>, peak: u64, max: u64, dropped: u64) -> Option<Finding> {
    if max == 0 {
        return None;
    }
    let used = peak as f64 / max as f64;
    let evicted = ns.conntrack("early_drop").value().copied().unwrap_or(0);
    // Entries are evicted only near the maximum: it was there, whatever the count at the window's ends.
    let state = if dropped > 0 && used >= FULL {
        State::Limiting
    } else if used >= NEAR || evicted > 0 {
        State::Near
    } else {
        return None;
    };
    let seconds = ns.interval().seconds();
    let name = ns.name();
    let entries = format!("{peak} of {max} entries ({} %)", percent(used));
    let (summary, because) = match (state, evicted) {
        (State::Limiting, _) => (
            format!(
                "{dropped} packets of new connections dropped in {seconds:.1} s: conntrack table of {name} at {entries}"
            ),
            "a packet that needs a new entry is dropped when the table is full; what is connected goes on".into(),
        ),
        (State::Near, 1..) => (
            format!(
                "conntrack table of {name} at its edge: {entries}, {evicted} entries evicted in {seconds:.1} s to make room"
            ),
            "entries without an answer yet are evicted first; when none is left, new connections are dropped".into(),
        ),
        (State::Near, 0) => (
            format!("conntrack table of {name} at {entries}; {}", so_far(seconds, "nothing dropped")),
            format!("{} more connections fill it", max.saturating_sub(peak)),
        ),
    };
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "table-full".into(),
        confidence: Confidence::Proven,
        subject: subject(ns),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: if state == State::Limiting { dropped } else { 0 },
    };
    let finding = finding
        .standing("net.netfilter.nf_conntrack_count", peak as f64, "entries")
        .standing("net.netfilter.nf_conntrack_max", max as f64, "entries")
        .changed("nf_conntrack drop", dropped as f64, "packets", seconds);
    Some(finding.changed("nf_conntrack early_drop", evicted as f64, "entries", seconds))
}

/// Entries refused for the length of their chain, under either of the counter's names.
fn chains_too_long(ns: &NetnsChange<'_>) -> u64 {
    ["chaintoolong", "chainlength"].iter().filter_map(|field| ns.conntrack(field).value().copied()).max().unwrap_or(0)
}

/// Entries of all namespaces.
fn entries(interval: &Interval) -> u64 {
    interval.namespaces().filter_map(|ns| peak(&ns)).fold(0, u64::saturating_add)
}

/// The hash is one for all namespaces, so is the finding.
fn hash_small(interval: &Interval) -> Option<Finding> {
    let refused = interval.namespaces().map(|ns| chains_too_long(&ns)).fold(0, u64::saturating_add);
    let buckets = interval.namespaces().find_map(|ns| ns.after.conntrack.buckets.value().copied())?;
    let entries = entries(interval);
    let crowded = 2.0 * entries as f64 / buckets.max(1) as f64;
    if refused == 0 || crowded <= CROWDED {
        return None;
    }
    let seconds = interval.seconds();
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: "hash-small".into(),
        confidence: Confidence::Likely,
        subject: Subject::Host,
        summary: format!(
            "conntrack's hash is crowded: {crowded:.1} nodes a bucket, {refused} entries refused in {seconds:.1} s \
             because their chain was too long"
        ),
        because: format!(
            "{entries} entries of all namespaces share {buckets} buckets; a full table of default size has 2"
        ),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: 0,
    };
    let finding = finding.standing("entries of all namespaces", entries as f64, "entries").standing(
        "net.netfilter.nf_conntrack_buckets",
        buckets as f64,
        "buckets",
    );
    Some(finding.changed("nf_conntrack chaintoolong", refused as f64, "entries", seconds))
}

const GLOBAL: &str = "one value for all namespaces, written in the initial one only";

fn raise_buckets(buckets: u64, to: u64) -> Option<Remedy> {
    (buckets < to).then(|| {
        Remedy::knob(
            format!("as many buckets as entries ({GLOBAL}; packets wait while the hash is rebuilt)"),
            "net.netfilter.nf_conntrack_buckets",
            buckets.to_string(),
            to.to_string(),
        )
        .formula(format!("one bucket for each of {to} entries"))
        .cost(format!("{} KiB", to / 128))
    })
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    if finding.cause == "hash-small" {
        let Some(ns) = interval.namespaces().find(|ns| ns.after.conntrack.buckets.value().is_some()) else {
            return vec![];
        };
        let buckets = ns.after.conntrack.buckets.value().copied().unwrap_or(0);
        let wanted = max(&ns).value().copied().unwrap_or(0).max(entries(interval));
        let to = wanted.checked_next_power_of_two().unwrap_or(wanted);
        let raise = raise_buckets(buckets, to).map(|remedy| remedy.verify("chaintoolong of conntrack -S stands still"));
        return core::iter::once(no_track()).chain(raise).collect();
    }
    let Some(ns) = finding.subject.netns().and_then(|name| interval.namespace(name)) else { return vec![] };
    let (Some(peak), Some(max)) = (peak(&ns), max(&ns).value().copied()) else { return vec![] };
    let verify = "the drop of /proc/net/stat/nf_conntrack stands still, count below 70 % of max";
    let mut remedies = vec![
        no_track().verify(verify),
        Remedy::new(
            Level::Service,
            "shorten the timeouts of what lingers (nf_conntrack_tcp_timeout_established, _time_wait, _udp_timeout), \
             above the applications' keepalive; entries that exist keep the timeout they have, so delete the stale \
             ones (conntrack -D) or wait",
        )
        .verify(verify),
    ];
    let memory = interval.after.host.memory_bytes;
    let wanted = peak.max(max).saturating_mul(3).div_ceil(2);
    // A host that does not tell its memory gets what is wanted.
    let affordable = if memory == 0 { u64::MAX } else { memory / MEMORY_PART / ENTRY };
    let to = wanted.min(affordable);
    if to > max {
        remedies.push(
            Remedy::knob(
                format!("a bigger table ({GLOBAL}: every namespace may then track as many)"),
                "net.netfilter.nf_conntrack_max",
                max.to_string(),
                to.to_string(),
            )
            .formula(format!("1.5 × {}, at most 5 % of the memory", peak.max(max)))
            .cost(format!("up to {} MiB in each namespace that fills it", to.saturating_mul(ENTRY).div_ceil(1 << 20)))
            .verify(verify),
        );
        let buckets = ns.after.conntrack.buckets.value().copied();
        remedies.extend(buckets.and_then(|buckets| raise_buckets(buckets, to)).map(|remedy| remedy.verify(verify)));
    }
    remedies
}

fn no_track() -> Remedy {
    Remedy::new(
        Level::Service,
        "stop tracking what needs neither NAT nor stateful rules: notrack in both directions (nft: a raw prerouting and \
         output chain with 'tcp dport 80 notrack' and 'tcp sport 80 notrack')",
    )
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    match &ns.after.conntrack.count {
        Reading::Present(_) => {}
        Reading::Absent(Absent::NotInKernel { .. }) => return Some("connections are not tracked here".into()),
        Reading::Absent(_) => return None,
    }
    let Some(peak) = peak(ns) else { return Some("connections are not tracked here".into()) };
    let max = max(ns).value().copied()?;
    let dropped = *ns.conntrack("drop").value()?;
    let used = if max == 0 { 0.0 } else { peak as f64 / max as f64 };
    (dropped == 0 && used < NEAR).then(|| format!("{} % full, nothing dropped", percent(used)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::testing::{
        Host, Listen, absent, assert_clear, detect, no_permission, remedies, the_finding, unknowns, verdict,
    };

    fn host(before: u64, after: u64) -> Host {
        Host::new().conntrack(before, after, 262_144, 262_144)
    }

    #[test]
    fn a_full_table_that_drops_is_limiting() {
        let host = host(262_144, 262_144).conntrack_grew("drop", 600);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Limiting, "table-full", 600));
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        600 packets of new connections dropped in 5.0 s: conntrack table of own at 262144 of 262144 entries (100 %)
        a packet that needs a new entry is dropped when the table is full; what is connected goes on
        ");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Service: stop tracking what needs neither NAT nor stateful rules: notrack in both directions (nft: a raw prerouting and output chain with 'tcp dport 80 notrack' and 'tcp sport 80 notrack')
        2. Service: shorten the timeouts of what lingers (nf_conntrack_tcp_timeout_established, _time_wait, _udp_timeout), above the applications' keepalive; entries that exist keep the timeout they have, so delete the stale ones (conntrack -D) or wait
        3. Kernel: a bigger table (one value for all namespaces, written in the initial one only: every namespace may then track as many) [net.netfilter.nf_conntrack_max 262144 → 393216]
        4. Kernel: as many buckets as entries (one value for all namespaces, written in the initial one only; packets wait while the hash is rebuilt) [net.netfilter.nf_conntrack_buckets 262144 → 393216]
        ");
        // full at the start is enough: it may have been emptied meanwhile
        assert_eq!(
            detect(&LIMIT, &host.clone().conntrack(262_144, 9, 262_144, 1).conntrack_grew("drop", 9)).findings.len(),
            1
        );
        assert_eq!(detect(&LIMIT, &host).unknown, []);
    }

    #[test]
    fn a_busy_table_is_near_and_one_that_evicts_is_at_its_edge() {
        assert_clear(&LIMIT, &host(200_000, 200_000));
        assert_eq!(verdict(&LIMIT, &host(200_000, 215_000)), (State::Near, "table-full".into()));
        // One-way UDP fills the table and serves everybody: entries without an answer are evicted.
        let finding = the_finding(&LIMIT, &host(262_000, 262_144).conntrack_grew("early_drop", 98_000));
        assert_eq!((finding.state, finding.hurt), (State::Near, 0));
        assert_eq!(verdict(&LIMIT, &host(9_000, 9_000).conntrack_grew("early_drop", 7)).0, State::Near);
        insta::assert_snapshot!(finding.summary, @"conntrack table of own at its edge: 262144 of 262144 entries (100 %), 98000 entries evicted in 5.0 s to make room");
    }

    #[test]
    fn a_bigger_table_stays_within_the_memory() {
        let small = host(262_144, 262_144).conntrack_grew("drop", 1);
        let knob = |host: &Host| the_finding(&LIMIT, host).remedies.into_iter().find_map(|r| r.to);
        assert_eq!(knob(&small).as_deref(), Some("393216"));
        let tight = small.clone().both(|snapshot| snapshot.host.memory_bytes = 1 << 30);
        assert_eq!(knob(&tight), None);
    }

    #[test]
    fn a_crowded_hash_with_long_chains_is_near() {
        let host = Host::new().conntrack(200_000, 210_000, 1_000_000, 65_536).conntrack_grew("chaintoolong", 40);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(
            (finding.state, &*finding.cause, finding.subject.clone()),
            (State::Near, "hash-small", Subject::Host)
        );
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        conntrack's hash is crowded: 6.4 nodes a bucket, 40 entries refused in 5.0 s because their chain was too long
        210000 entries of all namespaces share 65536 buckets; a full table of default size has 2
        ");
        assert_eq!(finding.remedies.iter().filter_map(|r| r.to.as_deref()).collect::<Vec<_>>(), ["1048576"]);
        // either alone is no sign
        assert_clear(&LIMIT, &Host::new().conntrack(200_000, 210_000, 1_000_000, 65_536));
        assert_clear(&LIMIT, &Host::new().conntrack(100, 100, 1_000_000, 65_536).conntrack_grew("chaintoolong", 40));
    }

    #[test]
    fn drops_with_room_in_the_table_are_unknown() {
        let host = host(30_000, 30_000).conntrack_grew("drop", 12);
        assert_eq!(unknowns(&LIMIT, &host), ["12 packets dropped by connection tracking of own"]);
        let because = detect(&LIMIT, &host).unknown.remove(0).because;
        assert!(because.contains("30000 of 262144"), "{because}");
    }

    #[test]
    fn silent_when_the_listeners_queues_drop() {
        let listen = Listen::at("0.0.0.0:80").queues(&[129]).drops(0, 342);
        let queue = host(30_000, 31_000).listener(listen).grew("TcpExt.ListenDrops", 342);
        assert_clear(&LIMIT, &queue.clone().grew("TcpExt.ListenOverflows", 342));
        assert_clear(&LIMIT, &queue.grew("TcpExt.TCPReqQFullDrop", 342).knob("net.ipv4.tcp_syncookies", "0"));
    }

    #[test]
    fn silent_when_the_ports_run_out() {
        assert_clear(&LIMIT, &host(28_000, 28_300).grew("Tcp.ActiveOpens", 28_000).sockstat("TCP.tw", 28_000, 28_232));
    }

    #[test]
    fn silent_where_it_is_not_in_use_or_has_no_limit() {
        assert_clear(&LIMIT, &Host::new());
        assert_clear(&LIMIT, &host(0, 0).ns(|ns| ns.conntrack.stat = absent("/proc/net/stat/nf_conntrack")));
        let unlimited = Host::new().conntrack(500_000, 500_000, 0, 262_144);
        assert_clear(&LIMIT, &unlimited);
        assert!(headroom(unlimited.interval()).is_empty());
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let count = host(9, 9).ns(|ns| ns.conntrack.count = no_permission("nf_conntrack_count"));
        assert_eq!(unknowns(&LIMIT, &count), ["nf_conntrack_count of own"]);
        let max = host(9, 9).ns(|ns| ns.conntrack.max = no_permission("nf_conntrack_max"));
        assert_eq!(unknowns(&LIMIT, &max), ["nf_conntrack_max of own"]);
        let stat = host(9, 9).ns(|ns| ns.conntrack.stat = no_permission("/proc/net/stat/nf_conntrack"));
        assert_eq!(unknowns(&LIMIT, &stat), ["/proc/net/stat/nf_conntrack of own"]);
        // Without statistics a full table is still near.
        let full = host(262_144, 262_144).ns(|ns| ns.conntrack.stat = no_permission("/proc/net/stat/nf_conntrack"));
        assert_eq!(verdict(&LIMIT, &full).0, State::Near);
    }

    #[test]
    fn it_is_ruled_out_by_its_count() {
        let said =
            |host: &Host| -> Option<String> { ruled_out(&host.interval().namespaces().next().expect("one namespace")) };
        assert_eq!(said(&host(30_000, 31_457)).as_deref(), Some("12 % full, nothing dropped"));
        assert_eq!(said(&Host::new()).as_deref(), Some("connections are not tracked here"));
        assert_eq!(said(&host(262_144, 262_144)), None);
        assert_eq!(said(&host(9, 9).conntrack_grew("drop", 1)), None);
    }
}

//! # time-wait-table
//!
//! ## What it is
//! The table of sockets in TIME_WAIT that a namespace may keep: `net.ipv4.tcp_max_tw_buckets`. The side that closes
//! first keeps a small socket for 60 s, so that late segments of the old connection cannot enter a new one on the same
//! ports. When the table is full, the kernel closes without that protection. No client sees an error: what is lost is
//! safety, not traffic. Orphans in FIN_WAIT2 with at most 60 s left sit in the same table.
//!
//! ## Evidence
//! - `TcpExt.TCPTimeWaitOverflow` grew in the window, and sockstat's `TCP.tw` is at the limit at one of its ends.
//! - The counter grows too when there is no memory for the small socket: with the table far from full it proves that
//!   instead, and stays unknown here.
//! - Who opens most connections is known where a probe counts them (eBPF at `inet_sock_set_state`): nobody holds a socket
//!   in TIME_WAIT.
//! - A large number of TIME_WAIT sockets alone is no finding; from 90 % of the limit on it is near.
//!
//! Cause: `table-full`. Always `near`: nothing failed because of it.
//!
//! ## See it yourself
//! - `cat /proc/net/sockstat` (`tw`), `sysctl net.ipv4.tcp_max_tw_buckets`, both in the namespace
//! - `nstat -az TcpExtTCPTimeWaitOverflow`
//!
//! ## Look-alikes
//! - `ephemeral-ports`: TIME_WAIT sockets towards one destination use up its ports, however large the table is.
//! - `orphans`: the table is filled by FIN_WAIT2, peers that do not close, not by TIME_WAIT.
//!
//! ## Remedy
//! Close fewer connections from this side: keep them, or let the peer close first. Then the table: 1.5 × closes/s × 60 s,
//! at 256 bytes each; never below the kernel's default. Lowering it does not help against anything.
//!
//! ## References
//! net/ipv4/tcp_minisocks.c `tcp_time_wait`, net/ipv4/inet_timewait_sock.c `inet_twsk_alloc`;
//! Documentation/networking/ip-sysctl.rst.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, percent, so_far, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::reading::Absent;
use crate::snapshot::Netns;

/// The table of TIME_WAIT sockets.
pub(super) static LIMIT: Limit = Limit {
    slug: "time-wait-table",
    title: "TIME_WAIT table",
    causes: &[("table-full", "more connections wait in TIME_WAIT than the table may keep")],
    reads: &["inet_sock_set_state (eBPF)", "sockstat TCP.tw", MAX_TW_BUCKETS, OVERFLOW],
    look_alikes: &["ephemeral-ports", "orphans"],
    knobs: &[MAX_TW_BUCKETS],
    scenarios: &["time-wait-table"],
    source: include_str!("time_wait_table.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

const MAX_TW_BUCKETS: &str = "net.ipv4.tcp_max_tw_buckets";
const OVERFLOW: &str = "TcpExt.TCPTimeWaitOverflow";

/// With an overflow, so much use says that the table was full and not the memory: use is read only at the window's ends.
const FULL: f64 = 0.95;
/// Without an overflow, so much use is near.
const NEAR: f64 = 0.9;
/// The kernel's default where memory allows; many hosts were given less.
const DEFAULT: u64 = 262_144;
/// Share of the memory that a bigger table may take: one in so many.
const MEMORY_PART: u64 = 20;
/// A small socket's size in the slab.
const SOCKET_BYTES: u64 = 256;

/// The table of one namespace.
struct Table {
    /// The most seen at either end.
    used: u64,
    max: u64,
}

impl Table {
    fn of(ns: &NetnsChange<'_>) -> Result<Self, (&'static str, Absent)> {
        let used = |end: &Netns| end.sockstat("TCP.tw").ok().map_err(|why| ("sockstat TCP.tw", why));
        let max = ns.after.knob_number(MAX_TW_BUCKETS).ok().map_err(|why| (MAX_TW_BUCKETS, why))?;
        // The kernel takes negative numbers: nothing fits then.
        Ok(Self { used: used(ns.before)?.max(used(ns.after)?), max: u64::try_from(max).unwrap_or(0) })
    }

    fn share(&self) -> f64 {
        if self.max == 0 { 0.0 } else { self.used as f64 / self.max as f64 }
    }

    fn is_full(&self) -> bool {
        self.max == 0 || self.share() >= FULL
    }
}

/// Whether most of the table is FIN_WAIT2: then its peers are the story, and `orphans` tells it.
fn mostly_fin_wait2(ns: &NetnsChange<'_>, table: &Table) -> bool {
    let fin_wait2 = ns.after.sockets.fin_wait2.value();
    fin_wait2.is_some_and(|pile| u64::from(pile.small) * 2 > table.used)
}

fn subject(ns: &NetnsChange<'_>) -> Subject {
    Subject::Netns { netns: ns.name().into() }
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ns: NetnsChange<'_>| {
        let table = Table::of(&ns).ok()?;
        Some(Headroom {
            limit: LIMIT.slug.into(),
            subject: subject(&ns),
            used: table.used,
            capacity: table.max,
            unit: "sockets".into(),
        })
    };
    interval.namespaces().filter_map(of).collect()
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let table = match Table::of(&ns) {
            Ok(table) => table,
            Err((reading, why)) => {
                detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), reading, &why));
                continue;
            }
        };
        let overflow = ns.counter(OVERFLOW);
        if let Some(why) = overflow.absent() {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), OVERFLOW, why));
        }
        let overflow = overflow.value().copied().unwrap_or(0);
        if overflow > 0 && !table.is_full() {
            detected.unknown.push(Unknown {
                limit: LIMIT.slug.into(),
                reading: format!("{overflow} {OVERFLOW} of {}", ns.name()),
                because: format!(
                    "the table holds {} of {}: no memory for the small socket, or full only between the two readings",
                    table.used, table.max
                ),
                would_need: None,
            });
        } else if (overflow > 0 || table.share() >= NEAR) && !mostly_fin_wait2(&ns, &table) {
            detected.findings.push(finding(&ns, &table, overflow));
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, table: &Table, overflow: u64) -> Finding {
    let seconds = ns.interval().seconds();
    let held = format!("{} of {} TIME_WAIT sockets", table.used, table.max);
    let (summary, mut because) = match overflow {
        0 => (
            format!(
                "{held} are in the table ({} %); {}",
                percent(table.share()),
                so_far(seconds, "none closed without one")
            ),
            "the next closes go without TIME_WAIT: nothing fails, but old segments may reach new connections"
                .to_string(),
        ),
        _ => (
            format!("{overflow} connections closed without TIME_WAIT in {seconds:.1} s; {held} are in the table"),
            "the table is full; no connection failed, but old segments may reach new ones on the same ports".into(),
        ),
    };
    if let Some(churn) = churn(ns) {
        because.push_str(&format!("; {churn}"));
    }
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: "table-full".into(),
        confidence: Confidence::Proven,
        subject: subject(ns),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        // Not lost, but without their protection.
        hurt: overflow,
    };
    let finding = match ns.counter(OVERFLOW).value() {
        Some(_) => {
            let overflow = overflow as f64;
            finding.changed(OVERFLOW, overflow, "connections", seconds)
        }
        None => finding,
    };
    finding.standing("sockstat TCP.tw", table.used as f64, "sockets").standing(
        MAX_TW_BUCKETS,
        table.max as f64,
        "sockets",
    )
}

/// Of the connections of a namespace this share makes whoever opens them the one to ask.
const MOST: f64 = 0.5;

/// Who opens most of the namespace's connections, and to where, as a probe saw it.
fn churn(ns: &NetnsChange<'_>) -> Option<String> {
    let opened = ["Tcp.ActiveOpens", "Tcp.PassiveOpens"].iter().filter_map(|name| ns.counter(name).value().copied());
    let opened = opened.fold(0, u64::saturating_add);
    let row = ns.connects().max_by_key(|row| row.tried).filter(|row| row.tried as f64 >= opened as f64 * MOST)?;
    Some(format!("{} opened {} of {opened} connections, to {}", row.who(), row.tried, row.destination))
}

/// Connections a second that this side closes first: those that entered the table, and those that found no place.
fn closes_per_second(ns: &NetnsChange<'_>) -> Option<f64> {
    let seconds = ns.interval().seconds();
    let grew = |name| ns.counter(name).value().copied();
    // TcpExt.TW counts those whose 60 s are over, TWRecycled those whose ports were taken before.
    let left = [grew("TcpExt.TW")?, grew("TcpExt.TWRecycled").unwrap_or(0), grew(OVERFLOW)?];
    let (before, after) = (*ns.before.sockstat("TCP.tw").value()?, *ns.after.sockstat("TCP.tw").value()?);
    let closed = left.into_iter().fold(after, u64::saturating_add).saturating_sub(before);
    (seconds > 0.0).then(|| closed as f64 / seconds)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let ns = finding.subject.netns().and_then(|name| interval.namespace(name));
    let Some((ns, table)) = ns.and_then(|ns| Table::of(&ns).ok().map(|table| (ns, table))) else { return vec![] };
    let verify = format!("no growth of {OVERFLOW}");
    let closes = closes_per_second(&ns).map(|rate| (rate, (1.5 * rate * 60.0) as u64));
    let twice = table.max.saturating_mul(2);
    let memory = interval.after.host.memory_bytes;
    // A host that does not tell its memory gets what is wanted.
    let affordable = if memory == 0 { u64::MAX } else { memory / MEMORY_PART / SOCKET_BYTES };
    let wanted = closes.map_or(0, |(_, needed)| needed).max(twice).max(DEFAULT).min(i32::MAX as u64);
    let to = wanted.min(affordable.max(DEFAULT));
    let formula = match closes {
        Some((rate, needed)) => format!(
            "1.5 × {rate:.0} closes/s × 60 s = {needed}, at least twice the present {} and the default {DEFAULT}, \
             at most 5 % of the memory",
            table.max
        ),
        None => format!("twice the present {}, at least the default {DEFAULT}, at most 5 % of the memory", table.max),
    };
    let text = "close fewer connections from this side: keep and reuse them, or let the peer close first";
    let application = Remedy::new(Level::Application, text).verify(verify.clone());
    let raise = (to > table.max).then(|| {
        Remedy::knob(
            "keep more sockets in TIME_WAIT in this namespace",
            MAX_TW_BUCKETS,
            ns.after.knob(MAX_TW_BUCKETS).value().copied().unwrap_or("").trim(),
            to.to_string(),
        )
        .formula(formula)
        .cost(format!("up to {} MiB, {SOCKET_BYTES} bytes each, only while they are used", (to * SOCKET_BYTES) >> 20))
        .verify(verify)
    });
    core::iter::once(application).chain(raise).collect()
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let table = Table::of(ns).ok()?;
    let overflow = *ns.counter(OVERFLOW).value()?;
    (overflow == 0 && table.share() < NEAR).then(|| format!("no overflow; {} of {} sockets", table.used, table.max))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Host, OWN, absent, assert_clear, endpoint, no_permission, sentences, the_finding, unknowns, verdict,
    };
    use super::*;
    use crate::reading::Reading;
    use crate::snapshot::{FinWait2, PortUse, Tuple, TupleUse};
    use crate::trace::{Connects, Counted};

    #[test]
    fn a_full_table_that_overflows_is_near() {
        let host = Host::new()
            .knob(MAX_TW_BUCKETS, "1000")
            .sockstat("TCP.tw", 1_000, 1_000)
            .grew(OVERFLOW, 29_900)
            .grew("TcpExt.TW", 100);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "table-full".into()));
        insta::assert_snapshot!(sentences(&LIMIT, &host), @"
        29900 connections closed without TIME_WAIT in 5.0 s; 1000 of 1000 TIME_WAIT sockets are in the table
        the table is full; no connection failed, but old segments may reach new ones on the same ports
        1. Application: close fewer connections from this side: keep and reuse them, or let the peer close first
        2. Kernel: keep more sockets in TIME_WAIT in this namespace [net.ipv4.tcp_max_tw_buckets 1000 → 540000]
        ");
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns), None);
    }

    #[test]
    fn a_probe_knows_who_opens_most_of_them() {
        let host = |tried| {
            let row = Connects {
                netns: OWN,
                source: "10.0.0.1".parse().expect("an address"),
                destination: endpoint("10.0.0.9:80"),
                pid: Some(41),
                comm: "crawler".into(),
                tried,
                refused: 0,
            };
            let host =
                Host::new().sockstat("TCP.tw", 262_144, 262_144).grew(OVERFLOW, 900).grew("Tcp.ActiveOpens", 1_000);
            host.trace(|trace| trace.connects = Reading::Present(Counted { rows: vec![row], lost: 0 }))
        };
        insta::assert_snapshot!(the_finding(&LIMIT, &host(800)).because, @"the table is full; no connection failed, but old segments may reach new ones on the same ports; crawler (pid 41) opened 800 of 1000 connections, to 10.0.0.9:80");
        assert!(!the_finding(&LIMIT, &host(400)).because.contains("crawler"));
    }

    #[test]
    fn a_bigger_table_takes_no_more_than_a_twentieth_of_the_memory() {
        // Measured: 30 000 closes/s, whose 2.7 million sockets would take 670 MiB.
        let host = Host::new().sockstat("TCP.tw", 262_144, 262_144).grew(OVERFLOW, 153_000);
        let to = |host: &Host| the_finding(&LIMIT, host).remedies.get(1).and_then(|remedy| remedy.to.clone());
        // 4 GiB / 20 / 256 bytes.
        assert_eq!(to(&host).as_deref(), Some("838860"));
        assert_eq!(to(&host.both(|snapshot| snapshot.host.memory_bytes = 1 << 30)), None);
    }

    #[test]
    fn a_nearly_full_table_is_near_before_it_overflows() {
        let host = Host::new().sockstat("TCP.tw", 240_000, 245_000).without("TcpExt.TW");
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "table-full".into()));
        insta::assert_snapshot!(sentences(&LIMIT, &host), @"
        245000 of 262144 TIME_WAIT sockets are in the table (93 %); none closed without one yet
        the next closes go without TIME_WAIT: nothing fails, but old segments may reach new connections
        1. Application: close fewer connections from this side: keep and reuse them, or let the peer close first
        2. Kernel: keep more sockets in TIME_WAIT in this namespace [net.ipv4.tcp_max_tw_buckets 262144 → 524288]
        ");
    }

    #[test]
    fn a_table_of_size_zero_overflows_with_nothing_in_it() {
        let host = Host::new().knob(MAX_TW_BUCKETS, "-1").sockstat("TCP.tw", 0, 0);
        assert_clear(&LIMIT, &host);
        assert_eq!(verdict(&LIMIT, &host.grew(OVERFLOW, 5)).0, State::Near);
    }

    #[test]
    fn many_sockets_alone_are_no_finding() {
        let host = Host::new().sockstat("TCP.tw", 200_000, 230_000);
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("no overflow; 230000 of 262144 sockets"));
    }

    #[test]
    fn an_overflow_with_room_in_the_table_is_not_the_tables() {
        let host = Host::new().sockstat("TCP.tw", 1_000, 1_200).grew(OVERFLOW, 12);
        assert_eq!(unknowns(&LIMIT, &host), ["12 TcpExt.TCPTimeWaitOverflow of own"]);
    }

    #[test]
    fn silent_when_one_destination_has_no_port_left() {
        let source = "10.0.0.1".parse().expect("an address");
        let tuple = Tuple { source, destination: endpoint("10.0.0.9:5432") };
        let used = TupleUse { ports: 28_232, time_wait: 28_232, ..TupleUse::default() };
        let ports = PortUse { tuples: [(tuple, used)].into(), sockets: used.ports, ..PortUse::default() };
        let host =
            Host::new().sockstat("TCP.tw", 28_232, 28_232).ns(|ns| ns.sockets.ports = Reading::Present(ports.clone()));
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_the_table_is_filled_by_fin_wait2() {
        let pile = |small| Reading::Present(FinWait2 { small, ..FinWait2::default() });
        let full = Host::new().knob(MAX_TW_BUCKETS, "1000").sockstat("TCP.tw", 1_000, 1_000).grew(OVERFLOW, 50);
        assert_clear(&LIMIT, &full.clone().ns(|ns| ns.sockets.fin_wait2 = pile(900)));
        assert_eq!(verdict(&LIMIT, &full.ns(|ns| ns.sockets.fin_wait2 = pile(100))).0, State::Near);
    }

    #[test]
    fn missing_readings_are_unknown() {
        let busy = Host::new().sockstat("TCP.tw", 10, 10);
        assert_eq!(
            unknowns(&LIMIT, &busy.clone().without_knob(MAX_TW_BUCKETS)),
            ["net.ipv4.tcp_max_tw_buckets of own"]
        );
        assert_eq!(unknowns(&LIMIT, &busy.clone().without(OVERFLOW)), ["TcpExt.TCPTimeWaitOverflow of own"]);
        assert_eq!(
            unknowns(&LIMIT, &busy.clone().ns(|ns| ns.sockstat = absent("sockstat"))),
            ["sockstat TCP.tw of own"]
        );
        let denied = busy.ns(|ns| ns.sockstat = no_permission("sockstat"));
        assert_eq!(unknowns(&LIMIT, &denied), ["sockstat TCP.tw of own"]);
        assert_eq!(headroom(denied.interval()), []);
    }
}

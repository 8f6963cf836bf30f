//! # ephemeral-ports
//!
//! ## What it is
//! The local ports that `connect(2)` may choose from: `net.ipv4.ip_local_port_range` without what
//! `net.ipv4.ip_local_reserved_ports` and listening sockets take out of it. A port can serve many connections at once,
//! but only one from a source address to a destination address and port (a tuple), and it stays taken for 60 s of
//! TIME_WAIT where this side closed first. When a tuple has used all of them, `connect(2)` fails at once with
//! EADDRNOTAVAIL. Long before, from half of the range on, it gets slow: the kernel first tries every second port, and
//! scans thousands of taken ones for each new connection.
//!
//! ## Evidence
//! - Preferred: a connect(2) that found no port, as a probe sees it (eBPF at `inet_sock_set_state`: SYN_SENT to CLOSE, and
//!   no local port was ever set). That is EADDRNOTAVAIL itself, with its process: `proven`. Where the probe saw all
//!   connects and none of them failed, a full range is `near`.
//! - Ports in use per tuple, in all states, counted from sock_diag at both ends of the window. Without the probe, none of
//!   the usable ones left at both ends, but for what TIME_WAIT sets free in 3 s and one in 200, is limiting; no counter
//!   exists for EADDRNOTAVAIL, so it stays `likely`. Above half is near: a pool that just fits fails nobody.
//! - More than half, and a process whose connects cost far more kernel time than the 50 µs of a healthy one, after what
//!   the segments of the window explain (2 µs each), but not more than a search through the range can: limiting by the
//!   search alone, unless most connects of the window went elsewhere.
//! - Ports in TIME_WAIT that `net.ipv4.tcp_tw_reuse` gives back (on loopback, else where `TcpExt.TWRecycled` grows) are
//!   not taken: only those are that were closed within the last second.
//! - Per source address: nearly all ports in use over several destinations without any port shared between them. Plain
//!   `connect(2)` shares ports between destinations; `bind(addr, 0)` before it does not.
//!
//! Causes: `time-wait-churn` (mostly TIME_WAIT: short connections closed by this side), `concurrent-connections` (mostly
//! live ones), `bind-before-connect` (ports taken for all destinations at once), `range-small` (fewer than 500 usable
//! ports, or more than half of the range reserved or listened on: no modest load fits), `search-slow` (more than half in
//! use, not yet full). A range that is merely narrower than the kernel's default is no cause of its own: what uses it up
//! is named, and the remedies widen it.
//!
//! ## See it yourself
//! - `ss -tan state time-wait dst 10.0.0.9:5432 | wc -l`, and the same with `state connected`
//! - `sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports`
//! - `strace -f -c -e trace=connect -p PID`, `perf top -g`: time in `__inet_hash_connect`
//! - `bpftrace -e 'fexit:__inet_hash_connect /retval == -99/ { @[comm] = count(); }'`: EADDRNOTAVAIL as it happens
//!
//! ## Look-alikes
//! - `conntrack-table`: connects time out in SYN_SENT instead of failing at once, with few ports in use.
//! - `file-descriptors`: `socket(2)` fails with EMFILE before a port is asked for.
//! - `time-wait-table`: counts the namespace's TIME_WAIT sockets whatever their tuple; many of them over many
//!   destinations use no port up.
//!
//! ## Remedy
//! Keep connections and reuse them; spread over more destination or source addresses, or let the server close first;
//! IP_BIND_ADDRESS_NO_PORT before binding to a source address. Then the range: a tuple makes usable / 60 s connections a
//! second (28 232 ports: 470/s), so connections/s × 60 s ports are in use, and 2.5 times as many needed to keep the search
//! short; not below 10240, and with the ports of listeners reserved first. `net.ipv4.tcp_tw_reuse=1` (the default, 2, is for loopback only) only where both ends
//! send timestamps. Never `tcp_fin_timeout`: it does not shorten TIME_WAIT, which is 60 s in every kernel.
//!
//! ## References
//! ip(7) IP_BIND_ADDRESS_NO_PORT, connect(2); net/ipv4/inet_hashtables.c `__inet_hash_connect` (parity since 4.2),
//! net/ipv4/inet_connection_sock.c `inet_csk_find_open_port`; Documentation/networking/ip-sysctl.rst.

mod connecting;
mod range;
mod remedy;
mod taken;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Detected, Limit, SocketSet, owners_of, percent, unknown};
use crate::finding::{Confidence, Finding, Headroom, Owner, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Netns, PortUse, Snapshot, SourcePorts, Tuple, TupleUse};
use connecting::{Connecting, searching};
use range::Range;
pub(crate) use range::port_ranges;
use remedy::remedy;
use taken::{Ports, biggest, is_bound};

/// The ephemeral ports towards one destination.
pub(super) static LIMIT: Limit = Limit {
    slug: "ephemeral-ports",
    title: "ephemeral ports",
    causes: &[
        ("time-wait-churn", "short connections that this side closes leave their ports in TIME_WAIT for 60 s"),
        ("concurrent-connections", "as many connections are open at once as there are ports"),
        ("bind-before-connect", "binding to a source address takes the port for every destination"),
        ("range-small", "the range leaves hardly any port to choose from"),
        ("search-slow", "more than half the ports are in use, so connect(2) searches long for a free one"),
    ],
    reads: &[
        "inet_sock_set_state (eBPF)",
        "sock_diag (sockets with a local port in the range)",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "Tcp.ActiveOpens",
        "TcpExt.TWRecycled",
    ],
    look_alikes: &["conntrack-table", "file-descriptors", "time-wait-table"],
    knobs: &[RANGE, RESERVED, TW_REUSE],
    scenarios: &[
        "ports-bind-before-connect",
        "ports-held",
        "ports-ipv6",
        "ports-pool-fits",
        "ports-range-small",
        "ports-search-slow",
        "ports-time-wait-churn",
    ],
    source: include_str!("ephemeral_ports.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
const TW_REUSE: &str = "net.ipv4.tcp_tw_reuse";

const PORTS: &str = "local ports of sockets (sock_diag)";

/// The next burst fills it.
const NEAR: f64 = 0.8;
/// Above half, the kernel has run out of ports of the parity it prefers, and scans (since 4.2).
const SEARCHES: f64 = 0.5;
/// How long TIME_WAIT lasts: TCP_TIMEWAIT_LEN, in every kernel.
const TIME_WAIT_SECONDS: f64 = 60.0;

/// Whether sockets that could all belong to one tuple would use enough of a range of `range` ports to be worth a dump.
/// `inuse_plus_tw` is sockstat's `TCP.inuse` + `TCP6.inuse` + `TCP.tw`: the most that any tuple could hold.
pub fn worth_a_dump(inuse_plus_tw: u64, range: u64) -> bool {
    inuse_plus_tw.saturating_mul(10) >= range.saturating_mul(4)
}

/// How many ports connect(2) may choose from in a namespace: the range to ask [`worth_a_dump`] about.
pub fn usable_ports(ns: &Netns) -> Option<u64> {
    Some(Range::of(ns).ok()?.usable().into())
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ports: Ports<'_>| {
        let fullest = ports.after.tuples.iter().map(|(tuple, used)| ports.peak(tuple, used)).max().unwrap_or(0);
        let row = |subject, used: u32| Headroom {
            limit: LIMIT.slug.into(),
            subject,
            used: u64::from(used),
            capacity: u64::from(ports.range.usable()),
            unit: "ports".into(),
        };
        let mut rows: Vec<_> = ports
            .bound_sources()
            .map(|(_, used, _)| row(Subject::Netns { netns: ports.ns.name().into() }, used.distinct))
            .collect();
        for (tuple, used) in &ports.after.tuples {
            let peak = ports.peak(tuple, used);
            // The fullest one speaks for the rest.
            if peak == fullest || ports.range.share(peak) > SEARCHES {
                let inode = used.inode;
                rows.push(row(destination(ports.ns.name(), tuple, owners_of(&interval.after, inode)), peak));
            }
        }
        rows
    };
    interval.namespaces().filter_map(|ns| Ports::of(ns).ok()).flat_map(of).collect()
}

fn destination(netns: &str, tuple: &Tuple, owners: Vec<Owner>) -> Subject {
    Subject::Destination {
        netns: netns.into(),
        source: tuple.source.to_string(),
        destination: tuple.destination.to_string(),
        owners,
    }
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let ports = match Ports::of(ns) {
            Ok(ports) => ports,
            Err((reading, why)) => {
                detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), reading, &why));
                continue;
            }
        };
        if let Reading::Absent(why) = &ns.before.sockets.ports {
            let reading = format!("{PORTS} at the start");
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), &reading, why));
        }
        let mut bound = BTreeSet::new();
        for (source, used, state) in ports.bound_sources() {
            bound.insert(source);
            detected.findings.push(bound_finding(&ports, source, &used, state));
        }
        // A bound source's tuples say nothing of their own.
        let tuples = ports.after.tuples.iter().filter(|(tuple, _)| !bound.contains(&tuple.source));
        let mut connecting = ports.connecting();
        detected.findings.extend(tuples.filter_map(|(tuple, used)| {
            tuple_finding(&ports, tuple, used, connecting.remove(tuple).unwrap_or_default())
        }));
        let refused = connecting.iter().filter(|(tuple, seen)| seen.refused > 0 && !bound.contains(&tuple.source));
        detected.findings.extend(refused.map(|(tuple, seen)| refused_finding(&ports, tuple, *seen)));
    }
    detected
}

/// Whether TIME_WAIT holds most of the ports.
fn is_churn(used: &TupleUse) -> bool {
    u64::from(used.time_wait) * 2 > u64::from(used.ports)
}

fn used_up_by(range: &Range, used: &TupleUse) -> (&'static str, String) {
    if range.is_small() {
        let why = format!(
            "{}–{} without {} reserved and {} listening ports leaves {} to choose from",
            range.low,
            range.high,
            range.reserved,
            range.listening,
            range.usable()
        );
        return ("range-small", why);
    }
    if is_churn(used) {
        let rate = f64::from(range.usable()) / TIME_WAIT_SECONDS;
        let why = format!(
            "{} are in TIME_WAIT: this side closes first, and each close keeps its port for 60 s; \
             {} ports last for {rate:.0} connections/s",
            used.time_wait,
            range.usable(),
        );
        return ("time-wait-churn", why);
    }
    let live = used.ports.saturating_sub(used.time_wait);
    ("concurrent-connections", format!("{live} of them are open connections, {} in TIME_WAIT", used.time_wait))
}

fn tuple_finding(ports: &Ports<'_>, tuple: &Tuple, used: &TupleUse, seen: Connecting<'_>) -> Option<Finding> {
    let (ns, range) = (&ports.ns, &ports.range);
    let interval = ns.interval();
    let seconds = interval.seconds();
    let stays_full = ports.stays_full(tuple, used);
    let mut confidence = Confidence::Likely;
    let usable = range.usable();
    let taken = ports.taken(tuple, used);
    let share = range.share(taken);
    let of = format!("{taken} of {usable} ports ({} %)", percent(share));
    let at = format!("from {} to {}", tuple.source, tuple.destination);
    let mut holders = owners_of(&interval.after, used.inode);
    if holders.is_empty() {
        holders = seen.owners(&interval.after);
    }
    let (state, (cause, because), summary, owners, hurt);
    if seen.refused > 0 {
        (state, confidence, owners, hurt) =
            (State::Limiting, Confidence::Proven, seen.owners(&interval.after), seen.refused);
        (cause, because) = used_up_by(range, used);
        summary = format!("{}: {of} are in use", seen.summary(&at, seconds));
    } else if stays_full && !interval.trace.saw_all_connects() {
        (state, owners, hurt) = (State::Limiting, holders, 0);
        (cause, because) = used_up_by(range, used);
        summary = format!(
            "{of} {at} are in use, at both ends of {seconds:.1} s: connect(2) there finds no free port (EADDRNOTAVAIL)"
        );
    } else if let Some(search) = searching(ports, tuple, used).filter(|_| share > SEARCHES) {
        (state, hurt) = (State::Limiting, search.connects);
        let micros = search.seconds_per_connect * 1e6;
        because = format!(
            "{} spent {} % of a CPU in the kernel, {micros:.0} µs for each of {} connects; \
             below half of the range one costs about 50 µs",
            search.owner.comm,
            percent(search.cpu),
            search.connects,
        );
        cause = "search-slow";
        owners = vec![search.owner];
        summary = format!("{of} {at} are in use: each connect(2) searches {micros:.0} µs for a free one");
    } else if share > NEAR {
        (state, owners, hurt) = (State::Near, holders, 0);
        (cause, because) = used_up_by(range, used);
        summary = match stays_full {
            true => {
                format!("{of} {at} are in use, at both ends of {seconds:.1} s; no connect(2) failed for it meanwhile")
            }
            false => format!("{of} {at} are in use"),
        };
    } else if share > SEARCHES {
        (state, owners, hurt) = (State::Near, holders, 0);
        cause = "search-slow";
        because =
            "from half of the range on, connect(2) has to search for a free port; no CPU is seen lost to it".into();
        summary = format!("{of} {at} are in use");
    } else {
        return None;
    }
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: cause.into(),
        confidence,
        subject: destination(ns.name(), tuple, owners),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt,
    };
    let finding = with_connects(finding, ports, seen)
        .standing("ports of the tuple (sock_diag)", f64::from(used.ports), "ports")
        .standing("of those in TIME_WAIT", f64::from(used.time_wait), "ports")
        .standing("of those in SYN_SENT", f64::from(used.connecting), "ports");
    Some(with_range(finding, ports))
}

/// Connects that found no port towards a destination that has none in use at the end, as far as was counted.
fn refused_finding(ports: &Ports<'_>, tuple: &Tuple, seen: Connecting<'_>) -> Finding {
    let (ns, range) = (&ports.ns, &ports.range);
    let (cause, because) = match range.is_small() {
        true => used_up_by(range, &TupleUse::default()),
        false => {
            let why = "at the end of the window hardly any is in use there: what held them was closed meanwhile";
            ("concurrent-connections", why.into())
        }
    };
    let at = format!("from {} to {}", tuple.source, tuple.destination);
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: cause.into(),
        confidence: Confidence::Proven,
        subject: destination(ns.name(), tuple, seen.owners(&ns.interval().after)),
        summary: seen.summary(&at, ns.interval().seconds()),
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: seen.refused,
    };
    with_range(with_connects(finding, ports, seen), ports)
}

fn with_connects(finding: Finding, ports: &Ports<'_>, seen: Connecting<'_>) -> Finding {
    if seen.tried == 0 {
        return finding;
    }
    let seconds = ports.ns.interval().seconds();
    finding
        .changed("connect(2) without a free port (inet_sock_set_state)", seen.refused as f64, "calls", seconds)
        .changed("connect(2) of the tuple (inet_sock_set_state)", seen.tried as f64, "calls", seconds)
}

fn bound_finding(ports: &Ports<'_>, source: IpAddr, used: &SourcePorts, state: State) -> Finding {
    let (ns, range) = (&ports.ns, &ports.range);
    let holder = biggest(ports.after, source).and_then(|tuple| {
        let holder = owners_of(&ns.interval().after, tuple.inode).into_iter().next()?;
        Some(format!(" ({}, pid {})", holder.comm, holder.pid))
    });
    let effect = match state {
        State::Limiting => "bind(2) finds no free port for any destination (EADDRINUSE)",
        State::Near => "soon bind(2) finds no free port, whatever the destination",
    };
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "bind-before-connect".into(),
        confidence: Confidence::Likely,
        subject: Subject::Netns { netns: ns.name().into() },
        summary: format!(
            "{} of {} ports of {source}{} are in use ({} %): {effect}",
            used.distinct,
            range.usable(),
            holder.unwrap_or_default(),
            percent(range.share(used.distinct)),
        ),
        because: format!(
            "{} sockets to {} destinations share no port: they bind to {source} before they connect, \
             without IP_BIND_ADDRESS_NO_PORT",
            used.sockets, used.destinations,
        ),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: 0,
    };
    let finding = finding
        .standing("distinct local ports of the source (sock_diag)", f64::from(used.distinct), "ports")
        .standing("sockets of the source", f64::from(used.sockets), "sockets")
        .standing("destinations of the source", f64::from(used.destinations), "destinations");
    with_range(finding, ports)
}

fn with_range(finding: Finding, ports: &Ports<'_>) -> Finding {
    let range = &ports.range;
    let mut finding = finding.standing("usable ports", f64::from(range.usable()), "ports");
    for (reading, value) in [(RANGE, range.size()), (RESERVED, range.reserved), ("listeners within", range.listening)] {
        finding = finding.standing(reading, f64::from(value), "ports");
    }
    match ports.ns.counter("Tcp.ActiveOpens") {
        Reading::Present(opens) => {
            let seconds = ports.ns.interval().seconds();
            let opens = opens as f64;
            finding.changed("Tcp.ActiveOpens", opens, "connections", seconds)
        }
        Reading::Absent(_) => finding,
    }
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let range = Range::of(ns.after).ok()?;
    let usable = range.usable();
    let mut fullest = None;
    for ports in [&ns.before.sockets.ports, &ns.after.sockets.ports] {
        match ports {
            Reading::Present(ports) => {
                let most = ports.tuples.values().map(|used| used.ports).max().unwrap_or(0);
                let bound = ports.sources.keys().any(|source| is_bound(ports, *source, &range));
                if bound || range.share(most) > SEARCHES {
                    return None;
                }
                fullest = fullest.max(Some(most));
            }
            Reading::Absent(Absent::NotNeeded) => {}
            Reading::Absent(_) => return None,
        }
    }
    if let Some(most) = fullest {
        if most == 0 {
            return Some(format!("fewer than {} ports to any destination", PortUse::KEPT));
        }
        return Some(format!("{most} of {usable} ports to the busiest destination ({} %)", percent(range.share(most))));
    }
    let sockstat = |name| ns.after.sockstat(name).value().copied();
    let most = [sockstat("TCP.inuse")?, sockstat("TCP6.inuse").unwrap_or(0), sockstat("TCP.tw")?];
    let most = most.into_iter().fold(0, u64::saturating_add);
    (!worth_a_dump(most, u64::from(usable))).then(|| format!("at most {most} of {usable} ports in use"))
}

/// From the start on: the CPU time of those who connect must be read at both ends.
fn owners_wanted(snapshot: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let snapshots = interval.map_or(vec![snapshot], |interval| vec![&interval.before, &interval.after]);
    let mut wanted = SocketSet::new();
    for (id, ns) in snapshots.into_iter().flat_map(|snapshot| &snapshot.namespaces) {
        let (Reading::Present(ports), Ok(range)) = (&ns.sockets.ports, Range::of(ns)) else { continue };
        let busy = ports.tuples.values().filter(|used| range.share(used.ports) > SEARCHES);
        let bound = ports.sources.keys().filter(|source| is_bound(ports, **source, &range));
        let bound = bound.filter_map(|source| biggest(ports, *source));
        wanted.extend(busy.chain(bound).map(|used| (*id, used.inode)));
    }
    wanted
}

#[cfg(test)]
mod tests;

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

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Detected, Limit, SocketSet, owner, owners_of, percent, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Owner, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Netns, Pid, PortUse, Snapshot, SourcePorts, Tuple, TupleUse};
use crate::trace::Connects;

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

/// connect(2) and bind(2) try every port: they fail only when none is free. This share of the usable ones may look free
/// here all the same, because a `bind(2)` without a connection holds them.
const LOOKS_FREE: f64 = 0.005;
/// Ports leave TIME_WAIT all the time, and are free until the next connect: what this many seconds set free.
const COMES_FREE_SECONDS: f64 = 3.0;
/// The next burst fills it.
const NEAR: f64 = 0.8;
/// Above half, the kernel has run out of ports of the parity it prefers, and scans (since 4.2).
const SEARCHES: f64 = 0.5;
/// Fewer usable ports than this are too few for any load that deserves to be called one.
const TINY: u32 = 500;
/// Kernel time a connect costs at least when it searches: four times what a healthy one does.
const SEARCH_MIN_SECONDS: f64 = 200e-6;
/// Kernel time a search can cost at most, per usable port: four times what was measured. Work that takes longer than
/// that per connect is not the search's, but for instance the sending of files.
const SEARCH_MAX_SECONDS_PER_PORT: f64 = 250e-9;
/// Kernel time of a segment sent or received, amply: what the traffic itself costs is not the search's.
const SEGMENT_SECONDS: f64 = 2e-6;
/// Share of a CPU that makes a search visible.
const SEARCH_CPU: f64 = 0.2;
/// Ports shared between destinations up to this share of the sockets are an accident, not a plain connect(2).
const SHARED: f64 = 0.01;
/// One destination with more than this share of its source's sockets leaves nothing to share ports with.
const LOPSIDED: f64 = 0.9;
/// How long TIME_WAIT lasts: TCP_TIMEWAIT_LEN, in every kernel.
const TIME_WAIT_SECONDS: f64 = 60.0;
/// Ports below are for servers; a range never starts lower.
const LOWEST: u16 = 10_240;
/// The kernel's own range.
const DEFAULT: (u16, u16) = (32_768, 60_999);

/// Whether sockets that could all belong to one tuple would use enough of a range of `range` ports to be worth a dump.
/// `inuse_plus_tw` is sockstat's `TCP.inuse` + `TCP6.inuse` + `TCP.tw`: the most that any tuple could hold.
pub fn worth_a_dump(inuse_plus_tw: u64, range: u64) -> bool {
    inuse_plus_tw.saturating_mul(10) >= range.saturating_mul(4)
}

/// How many ports connect(2) may choose from in a namespace: the range to ask [`worth_a_dump`] about.
pub fn usable_ports(ns: &Netns) -> Option<u64> {
    Some(Range::of(ns).ok()?.usable().into())
}

/// The ports that connect(2) may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: u16,
    high: u16,
    /// Reserved ports within it.
    reserved: u32,
    /// Listening ports within it that are not reserved.
    listening: u32,
}

impl Range {
    /// The namespace's own; else the reading that is missing, and why.
    fn of(ns: &Netns) -> Result<Self, Missing> {
        let [low, high] = ns.knob_numbers::<2>(RANGE).ok().map_err(|why| (RANGE, why))?;
        let (low, high) = match (u16::try_from(low), u16::try_from(high)) {
            (Ok(low), Ok(high)) if low <= high => (low, high),
            _ => return Err((RANGE, unparsable(RANGE, "two ports, the lower first"))),
        };
        Self::within(ns, low, high)
    }

    /// What is usable of a range from `low` to `high`, with what is reserved and listened on now.
    fn within(ns: &Netns, low: u16, high: u16) -> Result<Self, Missing> {
        let reserved = ns.knob(RESERVED).ok().map_err(|why| (RESERVED, why))?;
        let reserved =
            port_ranges(reserved).ok_or_else(|| (RESERVED, unparsable(RESERVED, "ports and ranges of ports")))?;
        let is_reserved = |port: u16| reserved.iter().any(|(from, to)| (*from..=*to).contains(&port));
        let listeners = ns.listeners.as_ref().ok().map_err(|why| (LISTENERS, why))?;
        let listening: BTreeSet<u16> = listeners.iter().map(|listener| listener.local.port).collect();
        Ok(Self {
            low,
            high,
            // The kernel writes them in order and merged: none is counted twice. A file may say anything.
            reserved: reserved
                .iter()
                .map(|(from, to)| overlap((*from, *to), (low, high)))
                .fold(0, u32::saturating_add)
                .min(overlap((low, high), (low, high))),
            listening: listening.iter().filter(|p| (low..=high).contains(p) && !is_reserved(**p)).count() as u32,
        })
    }

    fn size(&self) -> u32 {
        overlap((self.low, self.high), (self.low, self.high))
    }

    fn usable(&self) -> u32 {
        self.size().saturating_sub(self.reserved + self.listening)
    }

    fn share(&self, ports: u32) -> f64 {
        if self.usable() == 0 { 0.0 } else { f64::from(ports) / f64::from(self.usable()) }
    }

    /// Whether no port is left, but for those that came free a moment ago.
    fn is_full(&self, taken: u32, time_wait: u32) -> bool {
        let coming_free = f64::from(time_wait.min(taken)) * COMES_FREE_SECONDS / TIME_WAIT_SECONDS;
        let usable = f64::from(self.usable());
        usable > 0.0 && f64::from(taken) + coming_free >= usable * (1.0 - LOOKS_FREE)
    }

    fn is_small(&self) -> bool {
        self.usable() < TINY || (self.reserved + self.listening) * 2 > self.size()
    }
}

/// A missing reading, and why it is.
type Missing = (&'static str, Absent);

fn unparsable(key: &str, expected: &str) -> Absent {
    Absent::Unparsable { place: key.into(), expected: expected.into() }
}

/// "8080,9000-9100", or nothing.
pub(crate) fn port_ranges(text: &str) -> Option<Vec<(u16, u16)>> {
    let items = text.trim().split(',').filter(|item| !item.is_empty());
    let parse = |item: &str| {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
    };
    items.map(parse).collect()
}

fn overlap(a: (u16, u16), b: (u16, u16)) -> u32 {
    (u32::from(a.1.min(b.1)) + 1).saturating_sub(u32::from(a.0.max(b.0)))
}

/// What a probe saw of the connects of one tuple.
#[derive(Clone, Copy, Default)]
struct Connecting<'a> {
    tried: u64,
    refused: u64,
    /// Of the process that was refused most, or else tried most.
    most: Option<&'a Connects>,
}

impl<'a> Connecting<'a> {
    fn add(&mut self, row: &'a Connects) {
        self.tried = self.tried.saturating_add(row.tried);
        self.refused = self.refused.saturating_add(row.refused);
        let weight = |row: &Connects| (row.refused, row.tried);
        if self.most.is_none_or(|most| weight(row) > weight(most)) {
            self.most = Some(row);
        }
    }

    /// Whoever connects, also where nobody holds a socket any more: TIME_WAIT has no owner.
    fn owners(&self, snapshot: &Snapshot) -> Vec<Owner> {
        let of = |row: &Connects| {
            let pid = row.pid?;
            let unread = || Owner { pid, comm: row.comm.clone(), cgroup: None, unit: None };
            Some(owner(snapshot, pid).unwrap_or_else(unread))
        };
        self.most.and_then(of).into_iter().collect()
    }

    /// "12 of 30 connect(2) calls from A to B found no free port (EADDRNOTAVAIL) in 5.0 s".
    fn summary(&self, at: &str, seconds: f64) -> String {
        format!(
            "{} of {} connect(2) calls {at} found no free port (EADDRNOTAVAIL) in {seconds:.1} s",
            self.refused, self.tried
        )
    }
}

static NOTHING: PortUse = PortUse { tuples: BTreeMap::new(), sources: BTreeMap::new(), sockets: 0 };

/// One namespace's ports, judged at the end of the window and compared with its start.
struct Ports<'a> {
    ns: NetnsChange<'a>,
    range: Range,
    /// At the start; `None` where it could not be read, or where there was only one reading.
    before: Option<&'a PortUse>,
    after: &'a PortUse,
}

impl<'a> Ports<'a> {
    /// What can be judged; else the reading that is missing, and why.
    fn of(ns: NetnsChange<'a>) -> Result<Self, Missing> {
        // First: without the range nobody could tell whether the sockets were worth a dump.
        let range = Range::of(ns.after)?;
        let after = ns.after.sockets.ports.as_ref().ok().map_err(|why| (PORTS, why))?;
        let before = match &ns.before.sockets.ports {
            _ if ns.interval().window().is_zero() => None,
            Reading::Present(before) => Some(before),
            // Not worth a dump: no tuple can have been near.
            Reading::Absent(Absent::NotNeeded) => Some(&NOTHING),
            Reading::Absent(_) => None,
        };
        Ok(Self { ns, range, before, after })
    }

    /// What a probe saw, by tuple.
    fn connecting(&self) -> BTreeMap<Tuple, Connecting<'a>> {
        let mut connecting = BTreeMap::<Tuple, Connecting<'a>>::new();
        for row in self.ns.connects() {
            let tuple = Tuple { source: row.source, destination: row.destination };
            connecting.entry(tuple).or_default().add(row);
        }
        connecting
    }

    /// Ports of a tuple that connect(2) can't have. Those in TIME_WAIT it can, after a rest, where tcp_tw_reuse applies
    /// and both ends send timestamps; that it does so shows in TWRecycled.
    fn taken(&self, tuple: &Tuple, used: &TupleUse) -> u32 {
        let resting = self.resting(tuple).map_or(used.time_wait, |resting| resting.min(used.time_wait));
        used.ports.saturating_sub(used.time_wait.saturating_sub(resting))
    }

    /// The most ports of a tuple that can have entered TIME_WAIT so lately that they are not reused yet; `None` where
    /// none is reused.
    fn resting(&self, tuple: &Tuple) -> Option<u32> {
        let ns = self.ns.after;
        let loopback = tuple.destination.addr.is_loopback();
        // Both ends of a loopback connection are here, and so is their knob. Of others only a reuse tells.
        let timestamps = match loopback {
            true => *ns.knob_number("net.ipv4.tcp_timestamps").value()? > 0,
            false => *self.ns.counter("TcpExt.TWRecycled").value()? > 0,
        };
        let applies = match ns.knob_number(TW_REUSE).value()? {
            1 => timestamps,
            // The default since 4.19: for loopback only.
            2 => timestamps && loopback,
            _ => false,
        };
        let seconds = self.ns.interval().seconds();
        if !applies || seconds <= 0.0 {
            return None;
        }
        // A second, unless tcp_tw_reuse_delay (ms, since 6.14) says otherwise.
        let rest = ns.knob_number("net.ipv4.tcp_tw_reuse_delay").value().map_or(1.0, |ms| *ms as f64 / 1e3);
        let connects = *self.ns.counter("Tcp.ActiveOpens").value()? as f64 / seconds;
        // Rounded up; `ceil` is not in `core`.
        Some((connects * rest) as u32 + 1)
    }

    /// Whether all ports of a tuple were taken at both ends.
    fn stays_full(&self, tuple: &Tuple, after: &TupleUse) -> bool {
        let before = self.before.and_then(|before| before.tuples.get(tuple));
        let full = |used: &TupleUse| self.range.is_full(self.taken(tuple, used), used.time_wait);
        before.is_some_and(full) && full(after)
    }

    /// The highest use of a tuple that was seen.
    fn peak(&self, tuple: &Tuple, after: &TupleUse) -> u32 {
        let before = self.before.and_then(|before| before.tuples.get(tuple));
        let after = self.taken(tuple, after);
        before.map_or(after, |before| self.taken(tuple, before).max(after))
    }

    /// Source addresses whose ports are used up one by one, and how many of them at the end.
    fn bound_sources(&self) -> impl Iterator<Item = (IpAddr, SourcePorts, State)> {
        self.after.sources.iter().filter_map(|(source, after)| {
            if !is_bound(self.after, *source, &self.range) {
                return None;
            }
            let is_full = |ports: &PortUse| {
                let of_source = ports.tuples.iter().filter(|(tuple, _)| tuple.source == *source);
                let time_wait = of_source.map(|(_, used)| used.time_wait).fold(0, u32::saturating_add);
                let distinct = ports.sources.get(source).map_or(0, |used| used.distinct);
                is_bound(ports, *source, &self.range) && self.range.is_full(distinct, time_wait)
            };
            let full = self.before.into_iter().chain([self.after]).all(is_full);
            let state = if full && self.before.is_some() { State::Limiting } else { State::Near };
            Some((*source, *after, state))
        })
    }
}

const PORTS: &str = "local ports of sockets (sock_diag)";
const LISTENERS: &str = "listening sockets (sock_diag)";

fn biggest(ports: &PortUse, source: IpAddr) -> Option<&TupleUse> {
    ports.tuples.iter().filter(|(tuple, _)| tuple.source == source).map(|(_, used)| used).max_by_key(|used| used.ports)
}

/// Whether a source address uses most of the usable ports, and no two destinations share one. Plain
/// connect(2) takes one parity first, whatever other destinations use: their ports overlap by nearly all of the smaller.
fn is_bound(ports: &PortUse, source: IpAddr, range: &Range) -> bool {
    let Some(used) = ports.sources.get(&source) else { return false };
    let sockets = f64::from(used.sockets);
    let biggest = biggest(ports, source).map_or(0.0, |tuple| f64::from(tuple.ports));
    range.share(used.distinct) >= NEAR
        && used.destinations >= 2
        && f64::from(used.distinct) >= sockets * (1.0 - SHARED)
        && biggest <= sockets * LOPSIDED
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

/// How many connections of the window went to other destinations, as far as they left a trace: more ports in use there,
/// or TIME_WAIT, in which each is for 60 s.
fn elsewhere(ports: &Ports<'_>, at: &Tuple) -> f64 {
    let seconds = ports.ns.interval().seconds();
    let made = |(tuple, after): (&Tuple, &TupleUse)| {
        let before = ports.before.and_then(|before| before.tuples.get(tuple)).map_or(0, |before| before.ports);
        let closed = f64::from(after.time_wait) * (seconds / TIME_WAIT_SECONDS).min(1.0);
        f64::from(after.ports.saturating_sub(before)).max(closed)
    };
    ports.after.tuples.iter().filter(|(tuple, _)| *tuple != at).map(made).sum()
}

/// Connects of a process that visibly search for a port.
struct Search {
    owner: Owner,
    /// Kernel time it used beyond what the traffic explains, as a share of one CPU.
    cpu: f64,
    /// Kernel time for each connection of the namespace.
    seconds_per_connect: f64,
    connects: u64,
}

fn searching(ports: &Ports<'_>, at: &Tuple, tuple: &TupleUse) -> Option<Search> {
    let interval = ports.ns.interval();
    let grew = |name| ports.ns.counter(name).value().copied();
    let (connects, segments) = (grew("Tcp.ActiveOpens")?, grew("Tcp.InSegs")?.saturating_add(grew("Tcp.OutSegs")?));
    let seconds = interval.seconds();
    if connects == 0 || seconds <= 0.0 || elsewhere(ports, at) * 2.0 > connects as f64 {
        return None;
    }
    let traffic = segments as f64 * SEGMENT_SECONDS;
    let kernel_time = |snapshot: &Snapshot, pid| snapshot.processes.get(&pid)?.kernel_time.value().copied();
    let search = |pid: &Pid| {
        // A pid that was reused within the window has less than it had.
        let time = kernel_time(&interval.after, *pid)?.checked_sub(kernel_time(&interval.before, *pid)?)?.as_secs_f64();
        let time = (time - traffic).max(0.0);
        let (cpu, seconds_per_connect) = (time / seconds, time / connects as f64);
        let longest = SEARCH_MAX_SECONDS_PER_PORT * f64::from(ports.range.usable());
        let explained = (SEARCH_MIN_SECONDS..=longest).contains(&seconds_per_connect);
        (cpu >= SEARCH_CPU && explained).then_some((cpu, seconds_per_connect, *pid))
    };
    let holders = interval.after.owners.get(&tuple.inode).and_then(|pids| pids.value());
    let holder = holders.into_iter().flatten().find_map(search);
    // Ports in TIME_WAIT have no holder, and idle connections another one than those that are being made.
    let busiest = ports.ns.after.pids.iter().filter_map(search).max_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, seconds_per_connect, pid) = holder.or(busiest)?;
    Some(Search { owner: owner(&interval.after, pid)?, cpu, seconds_per_connect, connects })
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

/// The ports that a finding is about, and how many were in use.
fn ports_of<'a>(finding: &Finding, interval: &'a Interval) -> Option<(Ports<'a>, u32, Option<Tuple>)> {
    let ports = Ports::of(interval.namespace(finding.subject.netns()?)?).ok()?;
    match &finding.subject {
        Subject::Destination { source, destination, .. } => {
            let found = ports.after.tuples.iter().find(|(tuple, _)| {
                tuple.source.to_string() == *source && tuple.destination.to_string() == *destination
            });
            // Without a row, all of them were in use at some moment: a connect(2) found none.
            let (used, tuple) = found.map_or((ports.range.usable(), None), |(tuple, used)| (used.ports, Some(*tuple)));
            Some((ports, used, tuple))
        }
        _ => {
            let used = ports.bound_sources().map(|(_, used, _)| used.distinct).max()?;
            Some((ports, used, None))
        }
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ports, used, tuple)) = ports_of(finding, interval) else { return vec![] };
    let who = whose(&finding.subject);
    let verify = format!("fewer than 80 % of the ports of {} in use at peak, and no EADDRNOTAVAIL", finding.subject);
    let application = |text: String| Remedy::new(Level::Application, text).verify(verify.clone());
    let churn = tuple.and_then(|tuple| ports.after.tuples.get(&tuple)).is_some_and(is_churn);
    let mut remedies = vec![];
    match finding.cause.as_str() {
        "bind-before-connect" => {
            remedies.push(application(
                "set IP_BIND_ADDRESS_NO_PORT before bind(2) to a source address: then connect(2) picks the port, \
                 and shares it between destinations"
                    .into(),
            ));
            remedies.push(application("or leave out the bind(2), where the source address does not matter".into()));
        }
        _ if !churn => {
            remedies.push(application(format!(
                "let {who} send more over fewer connections (a pool with an upper bound, pipelining, HTTP/2), \
                 and close those that idle"
            )));
            remedies.push(more_addresses(&verify));
        }
        _ => {
            remedies.push(application(format!(
                "let {who} keep connections and reuse them (a pool, HTTP keep-alive) instead of one per request"
            )));
            remedies.push(application(
                "let the server close first: TIME_WAIT, and with it the port, stays with the side that does".into(),
            ));
            remedies.push(more_addresses(&verify));
        }
    }
    if finding.cause == "range-small" && ports.range.reserved > 0 {
        let text = format!("reserve only the ports that servers need: {RESERVED} takes {}", ports.range.reserved);
        remedies.push(Remedy::new(Level::Kernel, text).verify(verify.clone()));
    }
    remedies.extend(wider_range(&ports, used, churn).into_iter().map(|remedy| remedy.verify(verify.clone())));
    if churn {
        remedies.extend(reuse(&ports, tuple.as_ref()));
    }
    remedies
}

fn more_addresses(verify: &str) -> Remedy {
    let text = "connect to more destination addresses or ports, or from more source addresses (bound to with \
                IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again";
    Remedy::new(Level::Service, text).verify(verify)
}

/// A range wide enough, and before it the reservation of the servers' ports that it would swallow.
fn wider_range(ports: &Ports<'_>, used: u32, churn: bool) -> Vec<Remedy> {
    let range = &ports.range;
    let seconds = ports.ns.interval().seconds();
    let opens = ports.ns.counter("Tcp.ActiveOpens").value().copied().filter(|_| churn && seconds > 0.0);
    let rate = opens.map(|opens| opens as f64 / seconds);
    let (needed, formula) = match rate {
        Some(rate) => {
            let formula = format!(
                "2.5 × the larger of {rate:.0} connections/s × 60 s of TIME_WAIT (refused ones are not counted) and the \
                 {used} in use, so that more than half stays free; at least the kernel's default range"
            );
            (used.max((rate * TIME_WAIT_SECONDS) as u32), formula)
        }
        None => (
            used,
            format!("2.5 × the {used} in use, so that more than half stays free; at least the kernel's default range"),
        ),
    };
    // Twice is not enough: with half of the range taken, all ports of the preferred parity may be.
    let needed = (needed.saturating_mul(5) / 2).saturating_add(range.reserved + range.listening);
    let lowest = LOWEST.min(range.low);
    let mut high = range.high.max(DEFAULT.1);
    if u32::from(high - lowest) < needed {
        high = u16::MAX;
    }
    let low = u32::from(high).saturating_add(1).saturating_sub(needed);
    let low = u16::try_from(low).unwrap_or(lowest).clamp(lowest, range.low.min(DEFAULT.0).max(lowest));
    // The kernel complains unless one is even and the other odd: it halves the range by parity.
    let low = if low > lowest && (low ^ high).is_multiple_of(2) { low - 1 } else { low };
    if (low, high) == (range.low, range.high) {
        return vec![];
    }
    let usable = Range::within(ports.ns.after, low, high).map_or(0, |wide| wide.usable());
    let capacity = f64::from(usable) / TIME_WAIT_SECONDS;
    // Then it only fills up later.
    let is_too_small = rate.is_some_and(|rate| rate >= capacity);
    let mut remedies = vec![];
    let reserved = ports.ns.after.knob(RESERVED).value().copied().unwrap_or("");
    if let Some(to) = reserve_listeners(ports, reserved, (low, high)) {
        let text = "first reserve the ports that servers listen on, or a client may hold one when a server restarts";
        remedies.push(
            Remedy::knob(text, RESERVED, reserved, to)
                .formula("what is reserved now, and every listening port within the new range"),
        );
    }
    let widen = match is_too_small {
        true => "does not suffice alone: widen the range",
        false => "widen the range",
    };
    remedies.push(
        Remedy::knob(
            format!("{widen}: to one destination it then lasts for about {capacity:.0} short connections/s"),
            RANGE,
            format!("{} {}", range.low, range.high),
            format!("{low} {high}"),
        )
        .formula(formula)
        .cost("none, as long as the ports of servers that start later are reserved too"),
    );
    match is_too_small {
        true => remedies.into_iter().map(Remedy::alternative).collect(),
        false => remedies,
    }
}

fn reserve_listeners(ports: &Ports<'_>, reserved: &str, (low, high): (u16, u16)) -> Option<String> {
    let ranges = port_ranges(reserved)?;
    let is_free = |port: &u16| !ranges.iter().any(|(from, to)| (*from..=*to).contains(port));
    let listeners = ports.ns.after.listeners.value()?.iter().map(|listener| listener.local.port);
    let add: BTreeSet<u16> = listeners.filter(|port| (low..=high).contains(port)).filter(is_free).collect();
    let all = Some(reserved.trim().to_string()).filter(|text| !text.is_empty());
    let all = all.into_iter().chain(add.iter().map(ToString::to_string)).collect::<Vec<_>>().join(",");
    (!add.is_empty()).then_some(all)
}

/// Reuse of TIME_WAIT ports, where timestamps make it safe and it is not on already.
fn reuse(ports: &Ports<'_>, tuple: Option<&Tuple>) -> Option<Remedy> {
    let ns = ports.ns.after;
    let now = *ns.knob_number(TW_REUSE).value()?;
    let timestamps = *ns.knob_number("net.ipv4.tcp_timestamps").value()?;
    // 2, the default since 4.19, reuses for loopback only.
    let loopback = tuple.is_some_and(|tuple| tuple.destination.addr.is_loopback());
    if now == 1 || timestamps == 0 || (now == 2 && loopback) {
        return None;
    }
    let text = "reuse ports in TIME_WAIT after a second; only if the other end sends TCP timestamps too, \
                and no NAT or firewall between remembers connections longer";
    Some(
        Remedy::knob(text, TW_REUSE, now.to_string(), "1")
            .alternative()
            .cost("protection against old duplicates rests on timestamps alone")
            .verify("TcpExt.TWRecycled grows, and connects succeed"),
    )
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
mod tests {
    use super::super::testing::{
        Host, Listen, OWN, assert_clear, endpoint, no_permission, remedies, the_finding, unknowns, verdict,
    };
    use super::*;
    use crate::trace::Counted;
    use core::time::Duration;

    fn used(ports: u32, time_wait: u32) -> TupleUse {
        TupleUse { ports, time_wait, inode: 7, ..TupleUse::default() }
    }

    fn set(ns: &mut Netns, destination: &str, used: TupleUse) {
        if ns.sockets.ports.value().is_none() {
            ns.sockets.ports = Reading::Present(PortUse::default());
        }
        if let Reading::Present(ports) = &mut ns.sockets.ports {
            let source = "10.0.0.1".parse().expect("an address");
            ports.tuples.insert(Tuple { source, destination: endpoint(destination) }, used);
            ports.sockets += used.ports;
            // Plain connect(2): the destinations share ports.
            let of = ports.sources.entry(source).or_default();
            of.sockets += used.ports;
            of.destinations += 1;
            of.distinct = of.distinct.max(used.ports);
        }
    }

    /// Connections to one destination, the same at both ends.
    fn busy(ports: u32, time_wait: u32) -> Host {
        Host::new().ns(|ns| set(ns, "10.0.0.9:5432", used(ports, time_wait)))
    }

    /// A source that binds each port for itself, towards two destinations.
    fn bound(each: u32) -> Host {
        Host::new().ns(|ns| {
            set(ns, "10.0.0.8:80", used(each, 0));
            set(ns, "10.0.0.9:80", used(each, 0));
            if let Reading::Present(ports) = &mut ns.sockets.ports {
                ports.sources.values_mut().for_each(|source| source.distinct = source.sockets);
            }
        })
    }

    /// A process of the namespace that spent kernel time in the window.
    fn burns(host: Host, millis: u64) -> Host {
        host.process(41, "crawler", 10, 1024).ns(|ns| ns.pids = vec![41]).after(|snapshot| {
            let process = snapshot.processes.get_mut(&41).expect("just made");
            process.kernel_time = Reading::Present(Duration::from_millis(millis));
        })
    }

    fn sentences(host: &Host) -> String {
        let finding = the_finding(&LIMIT, host);
        format!("{}\n{}\n{}", finding.summary, finding.because, remedies(&finding))
    }

    /// A probe that saw all connects of the window: so many to a destination, of which so many found no port.
    fn probed(host: Host, rows: &[(&str, Option<Pid>, u64, u64)]) -> Host {
        let row = |(destination, pid, tried, refused): &(&str, Option<Pid>, u64, u64)| Connects {
            netns: OWN,
            source: "10.0.0.1".parse().expect("an address"),
            destination: endpoint(destination),
            pid: *pid,
            comm: "crawler".into(),
            tried: *tried,
            refused: *refused,
        };
        host.trace(|trace| {
            trace.connects = Reading::Present(Counted { rows: rows.iter().map(row).collect(), lost: 0 });
        })
    }

    #[test]
    fn a_probe_proves_who_found_no_port() {
        let full = || busy(28_232, 28_232).grew("Tcp.ActiveOpens", 900);
        let rows = [
            ("10.0.0.9:5432", Some(41), 1_000, 100),
            ("10.0.0.9:5432", Some(42), 4_000, 50),
            ("10.0.0.8:80", None, 9, 0),
        ];
        let finding = the_finding(&LIMIT, &probed(full(), &rows));
        assert_eq!((finding.state, finding.confidence, finding.hurt), (State::Limiting, Confidence::Proven, 150));
        insta::assert_snapshot!(format!("{}\n{}", finding.subject, finding.summary), @"
        10.0.0.1 → 10.0.0.9:5432
        150 of 5000 connect(2) calls from 10.0.0.1 to 10.0.0.9:5432 found no free port (EADDRNOTAVAIL) in 5.0 s: 28232 of 28232 ports (100 %) are in use
        ");
        // In use, and nobody was refused: it just fits.
        let fits = probed(full(), &[("10.0.0.9:5432", Some(41), 900, 0)]);
        let finding = the_finding(&LIMIT, &fits);
        assert_eq!((finding.state, finding.confidence), (State::Near, Confidence::Likely));
        insta::assert_snapshot!(finding.summary, @"28232 of 28232 ports (100 %) from 10.0.0.1 to 10.0.0.9:5432 are in use, at both ends of 5.0 s; no connect(2) failed for it meanwhile");
        // Rows were lost: that nobody was refused is not known.
        let lost = fits.trace(|trace| {
            if let Reading::Present(table) = &mut trace.connects {
                table.lost = 1;
            }
        });
        assert_eq!(the_finding(&LIMIT, &lost).state, State::Limiting);
    }

    #[test]
    fn a_probe_that_sees_nothing_is_not_believed() {
        let seen = |host: Host| {
            let mut interval = host.interval().clone();
            interval.give_up_blind_probes();
            interval.trace.saw_all_connects()
        };
        let opened = |opened, rows| seen(probed(busy(28_232, 28_232).grew("Tcp.ActiveOpens", opened), rows));
        assert!(!opened(50, &[]));
        assert!(opened(49, &[]));
        assert!(opened(900, &[("10.0.0.9:5432", Some(41), 1, 0)]));
    }

    #[test]
    fn who_found_no_port_is_told_also_when_they_are_free_again() {
        let rows = [("10.0.0.9:5432", Some(41), 1_000, 100)];
        for host in [Host::new().ns(|ns| ns.sockets.ports = Reading::Present(PortUse::default())), busy(900, 0)] {
            let finding = the_finding(&LIMIT, &probed(host, &rows));
            assert_eq!((finding.state, finding.confidence, finding.hurt), (State::Limiting, Confidence::Proven, 100));
            assert!(!finding.remedies.is_empty());
        }
        let small =
            Host::new().knob(RANGE, "40000 40009").ns(|ns| ns.sockets.ports = Reading::Present(PortUse::default()));
        insta::assert_snapshot!(sentences(&probed(small, &rows)), @"
        100 of 1000 connect(2) calls from 10.0.0.1 to 10.0.0.9:5432 found no free port (EADDRNOTAVAIL) in 5.0 s
        40000–40009 without 0 reserved and 0 listening ports leaves 10 to choose from
        1. Application: let crawler send more over fewer connections (a pool with an upper bound, pipelining, HTTP/2), and close those that idle
        2. Service: connect to more destination addresses or ports, or from more source addresses (bound to with IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again
        3. Kernel: widen the range: to one destination it then lasts for about 471 short connections/s [net.ipv4.ip_local_port_range 40000 40009 → 32768 60999]
        ");
    }

    #[test]
    fn who_leaves_time_wait_behind_is_known_by_its_connects() {
        let owners = |host: &Host| match the_finding(&LIMIT, host).subject {
            Subject::Destination { owners, .. } => owners.into_iter().map(|owner| (owner.pid, owner.comm)).collect(),
            _ => vec![],
        };
        let churn = || busy(25_000, 25_000);
        assert_eq!(owners(&churn()), []);
        let rows = [("10.0.0.9:5432", Some(41), 1_000, 0), ("10.0.0.9:5432", Some(42), 2_000, 0)];
        assert_eq!(owners(&probed(churn(), &rows)), [(42, "crawler".to_string())]);
    }

    /// The lab's ports-tw-reuse: 1 000 of 1 000 ports in TIME_WAIT, and every connect succeeds.
    #[test]
    fn ports_that_are_given_back_after_a_second_are_not_taken() {
        let reused = |mode: i64, connects: u64| {
            busy(28_000, 28_000)
                .grew("TcpExt.TWRecycled", connects)
                .grew("Tcp.ActiveOpens", connects)
                .knob(TW_REUSE, &mode.to_string())
        };
        // 1 000/s for 5 s: a thousand ports rest at any time.
        assert_clear(&LIMIT, &reused(1, 5_000));
        // Mode 2 is for loopback; this destination is not, so whatever was recycled was another's.
        assert_eq!(the_finding(&LIMIT, &reused(2, 5_000)).state, State::Limiting);
        let loopback = Host::new()
            .ns(|ns| set(ns, "127.0.0.1:8080", used(28_000, 28_000)))
            .grew("TcpExt.TWRecycled", 5_000)
            .grew("Tcp.ActiveOpens", 5_000);
        assert_clear(&LIMIT, &loopback.knob(TW_REUSE, "2"));
        // 27 000/s: nearly all of them rest.
        assert_eq!(the_finding(&LIMIT, &reused(1, 135_000)).state, State::Limiting);
    }

    #[test]
    fn time_wait_churn_fires_on_the_default_range() {
        let host = busy(28_000, 27_900).grew("Tcp.ActiveOpens", 2_300).owner(7, 41).process(41, "crawler", 10, 1024);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "time-wait-churn".into()));
        insta::assert_snapshot!(sentences(&host), @"
        28000 of 28232 ports (99 %) from 10.0.0.1 to 10.0.0.9:5432 are in use, at both ends of 5.0 s: connect(2) there finds no free port (EADDRNOTAVAIL)
        27900 are in TIME_WAIT: this side closes first, and each close keeps its port for 60 s; 28232 ports last for 471 connections/s
        1. Application: let crawler keep connections and reuse them (a pool, HTTP keep-alive) instead of one per request
        2. Application: let the server close first: TIME_WAIT, and with it the port, stays with the side that does
        3. Service: connect to more destination addresses or ports, or from more source addresses (bound to with IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again
        4. Kernel: widen the range: to one destination it then lasts for about 922 short connections/s [net.ipv4.ip_local_port_range 32768 60999 → 10240 65535]
        5. Kernel: reuse ports in TIME_WAIT after a second; only if the other end sends TCP timestamps too, and no NAT or firewall between remembers connections longer [net.ipv4.tcp_tw_reuse 2 → 1]
        ");
    }

    #[test]
    fn a_narrowed_range_does_not_hide_who_uses_it_up() {
        let narrow = |host: Host| host.knob(RANGE, "40000\t40999");
        assert_eq!(verdict(&LIMIT, &narrow(busy(1_000, 998))), (State::Limiting, "time-wait-churn".into()));
        let host = narrow(busy(1_000, 3)).listener(Listen::at("0.0.0.0:20000")).grew("Tcp.ActiveOpens", 85);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "concurrent-connections".into()));
        insta::assert_snapshot!(sentences(&host), @"
        1000 of 1000 ports (100 %) from 10.0.0.1 to 10.0.0.9:5432 are in use, at both ends of 5.0 s: connect(2) there finds no free port (EADDRNOTAVAIL)
        997 of them are open connections, 3 in TIME_WAIT
        1. Application: let the application send more over fewer connections (a pool with an upper bound, pipelining, HTTP/2), and close those that idle
        2. Service: connect to more destination addresses or ports, or from more source addresses (bound to with IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again
        3. Kernel: widen the range: to one destination it then lasts for about 471 short connections/s [net.ipv4.ip_local_port_range 40000 40999 → 32768 60999]
        ");
    }

    #[test]
    fn a_range_that_leaves_hardly_a_port_is_small() {
        let host = busy(10, 10).knob(RANGE, "40000\t40009");
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "range-small".into()));
        let host = busy(4_000, 3_900).knob(RANGE, "40000\t49999").knob(RESERVED, "40000-45999");
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "range-small".into()));
        insta::assert_snapshot!(sentences(&host), @"
        4000 of 4000 ports (100 %) from 10.0.0.1 to 10.0.0.9:5432 are in use, at both ends of 5.0 s: connect(2) there finds no free port (EADDRNOTAVAIL)
        40000–49999 without 6000 reserved and 0 listening ports leaves 4000 to choose from
        1. Application: let the application keep connections and reuse them (a pool, HTTP keep-alive) instead of one per request
        2. Application: let the server close first: TIME_WAIT, and with it the port, stays with the side that does
        3. Service: connect to more destination addresses or ports, or from more source addresses (bound to with IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again
        4. Kernel: reserve only the ports that servers need: net.ipv4.ip_local_reserved_ports takes 6000
        5. Kernel: widen the range: to one destination it then lasts for about 371 short connections/s [net.ipv4.ip_local_port_range 40000 49999 → 32768 60999]
        6. Kernel: reuse ports in TIME_WAIT after a second; only if the other end sends TCP timestamps too, and no NAT or firewall between remembers connections longer [net.ipv4.tcp_tw_reuse 2 → 1]
        ");
    }

    #[test]
    fn bind_before_connect_is_seen_where_destinations_share_no_port() {
        let host = bound(14_100);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "bind-before-connect".into()));
        insta::assert_snapshot!(sentences(&host), @"
        28200 of 28232 ports of 10.0.0.1 are in use (99 %): bind(2) finds no free port for any destination (EADDRINUSE)
        28200 sockets to 2 destinations share no port: they bind to 10.0.0.1 before they connect, without IP_BIND_ADDRESS_NO_PORT
        1. Application: set IP_BIND_ADDRESS_NO_PORT before bind(2) to a source address: then connect(2) picks the port, and shares it between destinations
        2. Application: or leave out the bind(2), where the source address does not matter
        3. Kernel: widen the range: to one destination it then lasts for about 922 short connections/s [net.ipv4.ip_local_port_range 32768 60999 → 10240 65535]
        ");
        assert_eq!(verdict(&LIMIT, &bound(12_000)), (State::Near, "bind-before-connect".into()));
        assert_clear(&LIMIT, &bound(10_000));
    }

    #[test]
    fn plain_connects_to_two_destinations_share_ports() {
        let host = Host::new().ns(|ns| {
            set(ns, "10.0.0.8:80", used(14_000, 0));
            set(ns, "10.0.0.9:80", used(14_000, 0));
        });
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn a_source_with_one_big_destination_says_nothing_of_binding() {
        let host = Host::new().ns(|ns| {
            set(ns, "10.0.0.8:80", used(26_700, 26_700));
            set(ns, "10.0.0.9:80", used(140, 0));
            if let Reading::Present(ports) = &mut ns.sockets.ports {
                ports.sources.values_mut().for_each(|source| source.distinct = source.sockets);
            }
        });
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "time-wait-churn".into()));
    }

    #[test]
    fn a_search_that_burns_cpu_is_limiting() {
        let host = burns(busy(20_000, 19_900).grew("Tcp.ActiveOpens", 2_700), 4_600);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "search-slow".into()));
        insta::assert_snapshot!(sentences(&host), @"
        20000 of 28232 ports (71 %) from 10.0.0.1 to 10.0.0.9:5432 are in use: each connect(2) searches 1704 µs for a free one
        crawler spent 92 % of a CPU in the kernel, 1704 µs for each of 2700 connects; below half of the range one costs about 50 µs
        1. Application: let crawler keep connections and reuse them (a pool, HTTP keep-alive) instead of one per request
        2. Application: let the server close first: TIME_WAIT, and with it the port, stays with the side that does
        3. Service: connect to more destination addresses or ports, or from more source addresses (bound to with IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again
        4. Kernel: widen the range: to one destination it then lasts for about 922 short connections/s [net.ipv4.ip_local_port_range 32768 60999 → 10240 65535]
        5. Kernel: reuse ports in TIME_WAIT after a second; only if the other end sends TCP timestamps too, and no NAT or firewall between remembers connections longer [net.ipv4.tcp_tw_reuse 2 → 1]
        ");
    }

    /// Measured: 965 of 1 000 ports held by a pool that fits, and every connect succeeds.
    #[test]
    fn a_pool_that_just_fits_fails_nobody() {
        let near = (State::Near, "concurrent-connections".into());
        assert_eq!(verdict(&LIMIT, &busy(965, 0).knob(RANGE, "40000\t40999")), near);
        assert_eq!(verdict(&LIMIT, &busy(998, 0).knob(RANGE, "40000\t40999")).0, State::Limiting);
        // What TIME_WAIT sets free is taken at once: the table of a churning client has some holes.
        assert_eq!(verdict(&LIMIT, &busy(965, 960).knob(RANGE, "40000\t40999")).0, State::Limiting);
        assert_eq!(verdict(&LIMIT, &bound(13_600)), (State::Near, "bind-before-connect".into()));
    }

    /// Measured: 45 000 short connections over loopback, then silence. The next connect takes any of those ports.
    #[test]
    fn time_wait_on_loopback_is_given_back_whenever_somebody_asks() {
        let idle = Host::new().ns(|ns| set(ns, "127.0.0.1:8080", used(14_874, 14_874)));
        assert_clear(&LIMIT, &idle);
        let kept = |knob, value| verdict(&LIMIT, &idle.clone().knob(knob, value)).0;
        assert_eq!(kept(TW_REUSE, "0"), State::Near);
        assert_eq!(kept("net.ipv4.tcp_timestamps", "0"), State::Near);
    }

    #[test]
    fn connects_and_traffic_to_others_are_not_a_search() {
        let near = (State::Near, "search-slow".into());
        let loaded = || burns(busy(15_000, 0).grew("Tcp.ActiveOpens", 3_800), 3_600);
        assert_eq!(verdict(&LIMIT, &loaded()), (State::Limiting, "search-slow".into()));
        // Measured: 15 000 idle connections to one, and 2 MB over each of 3 800 to another.
        assert_eq!(verdict(&LIMIT, &loaded().grew("Tcp.OutSegs", 5_000_000).grew("Tcp.InSegs", 500_000)), near);
        let other = loaded().ns_after(|ns| set(ns, "10.0.0.8:80", used(3_500, 3_400)));
        assert_eq!(verdict(&LIMIT, &other), near);
        assert_eq!(verdict(&LIMIT, &loaded().without("Tcp.OutSegs")), near);
    }

    #[test]
    fn kernel_time_that_no_search_explains_is_not_the_search() {
        let near = (State::Near, "search-slow".into());
        // a healthy connect costs 50 µs
        assert_eq!(verdict(&LIMIT, &burns(busy(20_000, 0).grew("Tcp.ActiveOpens", 20_000), 1_000)), near);
        // a proxy that sends files and connects now and then
        assert_eq!(verdict(&LIMIT, &burns(busy(20_000, 0).grew("Tcp.ActiveOpens", 50), 4_000)), near);
        // an idle one
        assert_eq!(verdict(&LIMIT, &burns(busy(20_000, 0).grew("Tcp.ActiveOpens", 50), 80)), near);
        assert_eq!(verdict(&LIMIT, &busy(20_000, 0)), near);
        // and below half of the range, nothing searches
        assert_clear(&LIMIT, &burns(busy(14_000, 0).grew("Tcp.ActiveOpens", 2_700), 4_600));
    }

    #[test]
    fn full_only_at_the_end_is_near() {
        let late = busy(28_000, 0).before(|snapshot| {
            let ns = snapshot.namespaces.get_mut(&OWN).expect("the host's namespace");
            ns.sockets.ports = Reading::Absent(Absent::NotNeeded);
        });
        assert_eq!(verdict(&LIMIT, &late), (State::Near, "concurrent-connections".into()));
        let one_reading = busy(28_000, 0).after(|snapshot| snapshot.at = Duration::ZERO);
        assert_eq!(verdict(&LIMIT, &one_reading), (State::Near, "concurrent-connections".into()));
    }

    #[test]
    fn silent_when_the_conntrack_table_is_full() {
        // connects hang in SYN_SENT, with few ports in use
        let host = Host::new().conntrack(1_000, 1_000, 1_000, 250).conntrack_grew("drop", 900).ns(|ns| {
            set(ns, "10.0.0.9:5432", TupleUse { ports: 900, connecting: 900, ..TupleUse::default() });
        });
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_descriptors_run_out() {
        assert_clear(&LIMIT, &busy(1_000, 0).owner(7, 41).process(41, "crawler", 1_024, 1_024));
    }

    #[test]
    fn silent_when_time_wait_is_spread_over_many_destinations() {
        let host = Host::new().sockstat("TCP.tw", 250_000, 250_000).ns(|ns| {
            for n in 0..25 {
                set(ns, &format!("10.0.1.{n}:80"), used(10_000, 10_000));
            }
        });
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_without_a_dump_that_nothing_called_for() {
        let host = Host::new().sockstat("TCP.inuse", 90, 100).sockstat("TCP.tw", 0, 40);
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("at most 140 of 28232 ports in use"));
        assert!(worth_a_dump(400, 1_000) && !worth_a_dump(399, 1_000));
    }

    #[test]
    fn missing_readings_are_unknown() {
        let denied = Host::new().ns(|ns| ns.sockets.ports = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &denied), ["local ports of sockets (sock_diag) of own"]);
        assert_eq!(unknowns(&LIMIT, &busy(28_000, 0).without_knob(RANGE)), ["net.ipv4.ip_local_port_range of own"]);
        assert_eq!(unknowns(&LIMIT, &busy(28_000, 0).knob(RANGE, "9 4")), ["net.ipv4.ip_local_port_range of own"]);
        let half = busy(28_000, 0).before(|snapshot| {
            let ns = snapshot.namespaces.get_mut(&OWN).expect("the host's namespace");
            ns.sockets.ports = no_permission("sock_diag");
        });
        let detected = detect(half.interval());
        assert_eq!(detected.findings[0].state, State::Near);
        assert_eq!(detected.unknown[0].reading, "local ports of sockets (sock_diag) at the start of own");
    }

    #[test]
    fn without_the_range_nothing_says_that_no_dump_was_needed() {
        assert_eq!(unknowns(&LIMIT, &Host::new().without_knob(RANGE)), ["net.ipv4.ip_local_port_range of own"]);
        assert_eq!(unknowns(&LIMIT, &Host::new().without_knob(RESERVED)), ["net.ipv4.ip_local_reserved_ports of own"]);
        let blind = Host::new().ns(|ns| ns.listeners = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &blind), ["listening sockets (sock_diag) of own"]);
    }

    #[test]
    fn reserved_and_listening_ports_are_not_usable() {
        let host = Host::new()
            .knob(RANGE, "40000\t40999")
            .knob(RESERVED, "80,39990-40009,40999")
            .listener(Listen::at("0.0.0.0:40005"))
            .listener(Listen::at("0.0.0.0:40500"))
            .listener(Listen::at("[::]:40500").cookie(2));
        let ns = host.interval().namespaces().next().expect("one namespace");
        let range = Range::of(ns.after);
        assert_eq!(range.map(|r| (r.reserved, r.listening, r.usable())), Ok((11, 1, 988)));
        assert_eq!(port_ranges("8080,x"), None);
        assert_eq!(port_ranges("\n"), Some(vec![]));
    }

    #[test]
    fn numbers_from_a_hostile_file_do_no_harm() {
        let most = u32::MAX;
        let host =
            busy(most, most).knob(RESERVED, &["1-65535"; 70_000].join(",")).grew("Tcp.ActiveOpens", u64::MAX / 2);
        assert_clear(&LIMIT, &host);
        let host = busy(1, most).knob(RANGE, "1\t65535").grew("Tcp.ActiveOpens", u64::MAX / 2);
        assert_clear(&LIMIT, &host);
        let host = busy(most, most).knob(RANGE, "1\t65535").grew("Tcp.ActiveOpens", u64::MAX / 2);
        assert_eq!(verdict(&LIMIT, &host).0, State::Limiting);
    }

    #[test]
    fn headroom_shows_the_fullest_destination_and_all_above_half() {
        let host = Host::new().ns(|ns| {
            set(ns, "10.0.0.7:80", used(100, 0));
            set(ns, "10.0.0.8:80", used(20_000, 0));
            set(ns, "10.0.0.9:80", used(15_000, 0));
        });
        let rows: Vec<_> = headroom(host.interval()).into_iter().map(|row| (row.used, row.capacity)).collect();
        assert_eq!(rows, [(20_000, 28_232), (15_000, 28_232)]);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns), None);
    }

    #[test]
    fn owners_are_wanted_from_the_start() {
        let host = busy(20_000, 0);
        assert_eq!(owners_wanted(&host.interval().before, None), SocketSet::from([(OWN, 7)]));
        assert_eq!(owners_wanted(&host.interval().after, Some(host.interval())), SocketSet::from([(OWN, 7)]));
        assert_eq!(owners_wanted(&busy(9_000, 0).interval().before, None), SocketSet::new());
    }
}

//! # cgroup-memory
//!
//! ## What it is
//! A control group can bound the memory of its processes' sockets. Version 1 has a limit for TCP alone,
//! `memory.kmem.tcp.limit_in_bytes` (none by default). In version 2 socket buffers are part of the group's memory, under
//! `memory.high` and `memory.max`. At the limit the kernel behaves towards these sockets as if the whole host had no
//! memory for TCP: it shrinks windows to a few segments, collapses receive queues and, where that is not enough, drops
//! segments that had arrived. The host's own `tcp_mem` may be far away.
//!
//! ## Evidence
//! - Version 1: `memory.kmem.tcp.max_usage_in_bytes` at the limit or above, and meanwhile, in a namespace of its
//!   processes, `TcpExt.PruneCalled`, `TcpExt.TCPRcvQDrop` or `TcpExt.RcvPruned` grow while `TcpExt.TCPMemoryPressures`
//!   stands. `memory.kmem.tcp.failcnt`, where it counts (on 6.18 it stood at 0 while memory was refused), is proof by
//!   itself. `usage_in_bytes` at one moment says little: read queues are empty most of the time.
//! - Version 2: `max` or `high` of `memory.events` grow: the group is being reclaimed; and a flow of its namespaces has
//!   the window of a socket under pressure (`rcv_ssthresh` of at most four segments although the buffer is much larger),
//!   or the counters above grow. `sock_throttled` of `memory.events` (seen on 7.2), is proof by itself. That the group is
//!   at its limit is no evidence: page cache fills any group.
//! - A socket whose own receive buffer is full is pruned, too: where the flows that dropped are such, nothing is said.
//!
//! Cause: `socket-pressure`.
//!
//! ## See it yourself
//! - `cat /proc/PID/cgroup`, then in that group's directory
//! - version 1: `grep . memory.kmem.tcp.*`; version 2: `cat memory.events memory.current memory.high memory.max`, and
//!   `grep ^sock memory.stat`; each of them again in the groups above
//! - `nstat -az TcpExtPruneCalled TcpExtTCPRcvQDrop TcpExtRcvPruned TcpExtTCPMemoryPressures`
//! - `ss -tmi`: `rcv_ssthresh`, and `d` of skmem while `r` is far below `rb`
//!
//! ## Look-alikes
//! - `tcp-memory`: the same for the whole host; TCPMemoryPressures counts it.
//! - A socket's own full receive buffer: `r` of skmem reaches `rb`.
//!
//! ## Remedy
//! Fewer or smaller buffers in the group: connections that are not read, SO_RCVBUF, `tcp_rmem` and `tcp_wmem` of its
//! namespace. Else the limit: in version 1 `memory.kmem.tcp.limit_in_bytes`, in version 2 `memory.high` or `memory.max`
//! (MemoryHigh= and MemoryMax= of the unit, the container's memory limit), as much as its connections hold at peak.
//!
//! ## References
//! Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; net/core/sock.c `__sk_mem_raise_allocated`,
//! mm/memcontrol.c `mem_cgroup_sk_charge`, net/ipv4/tcp_input.c `tcp_prune_queue`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::throttle::in_bytes;
use super::{Detected, Limit, no_owners, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{SocketMemory, unit_of};

/// The memory that a control group allows its sockets.
pub(super) static LIMIT: Limit = Limit {
    slug: "cgroup-memory",
    title: "control group's socket memory",
    causes: &[("socket-pressure", "a control group's sockets are refused memory although the host has it")],
    reads: &[
        "memory.kmem.tcp.*",
        "memory.events",
        "memory.stat sock",
        "TcpExt.PruneCalled",
        "TcpExt.TCPRcvQDrop",
        "TcpExt.RcvPruned",
        PRESSURES,
    ],
    look_alikes: &["tcp-memory"],
    knobs: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"],
    scenarios: &["cgroup-v1-socket-pressure"],
    source: include_str!("cgroup_memory.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

const GROUPS: &str = "control groups' memory";
const PRESSURES: &str = "TcpExt.TCPMemoryPressures";
/// What the kernel does to sockets that it has no memory for.
const SYMPTOMS: [&str; 3] = ["TcpExt.PruneCalled", "TcpExt.TCPRcvQDrop", "TcpExt.RcvPruned"];
/// Use of version 1's limit that is near.
const NEAR: f64 = 0.8;
/// Under pressure a window is four segments at most (`tcp_adjust_rcv_ssthresh`) …
const PRESSED_SEGMENTS: u32 = 4;
/// … in a buffer that would allow this many times as much.
const ROOMY: u32 = 4;
/// A receive buffer with this share in use is full itself.
const FULL: f64 = 0.9;

/// One group at both ends.
struct Group<'a> {
    path: &'a str,
    before: &'a SocketMemory,
    after: &'a SocketMemory,
    namespaces: Vec<NetnsChange<'a>>,
}

/// How sure it is that a group's sockets were refused memory.
enum Pressed {
    /// The group's own counter says so: how often.
    Counted(u64),
    /// The group was at its limit, and sockets of its namespaces suffered.
    Fits {
        /// Receive queues pruned, or segments dropped.
        events: u64,
        /// Watched flows whose window was shrunk.
        flows: u64,
    },
    /// Much of a limit for TCP alone is in use.
    Near,
}

/// Groups that could not be read, and why.
type Missing<'a> = Vec<(&'a str, &'a Absent)>;

/// The groups seen at both ends, and why some were not.
fn groups(interval: &Interval) -> Reading<(Vec<Group<'_>>, Missing<'_>)> {
    let before = interval.before.system.cgroups.as_ref();
    interval.after.system.cgroups.as_ref().and_then(|after| {
        before.map(|before| {
            let (mut groups, mut missing) = (Vec::new(), Vec::new());
            // One that was made within the window has no rates.
            for (path, after, before) in after.iter().filter_map(|(path, after)| Some((path, after, before.get(path)?)))
            {
                match (&before.memory, &after.memory) {
                    (Reading::Present(first), Reading::Present(last)) => {
                        let namespaces = interval.namespaces().filter(|ns| after.namespaces.contains(&ns.id)).collect();
                        groups.push(Group { path, before: first, after: last, namespaces });
                    }
                    (Reading::Absent(why), _) | (_, Reading::Absent(why)) => missing.push((&**path, why)),
                }
            }
            (groups, missing)
        })
    })
}

impl Group<'_> {
    /// By how much the receive symptoms grew in its namespaces. The kernel counts some segments twice, as pruned and as
    /// dropped.
    fn symptoms(&self) -> u64 {
        let of = |ns: &NetnsChange<'_>| {
            let grew = |name| ns.counter(name).value().copied().unwrap_or(0);
            let [collapsed, dropped, pruned] = SYMPTOMS.map(grew);
            collapsed.max(dropped).max(pruned)
        };
        self.namespaces.iter().map(of).fold(0, u64::saturating_add)
    }

    fn flows(&self) -> impl Iterator<Item = &FlowWatch> {
        self.namespaces.iter().flat_map(NetnsChange::watched_flows)
    }

    /// Flows whose window is that of a socket under pressure.
    fn pressed_flows(&self) -> usize {
        let pressed = |watch: &&FlowWatch| {
            watch.samples.iter().any(|sample| {
                let segments = sample.pmtu.saturating_mul(PRESSED_SEGMENTS);
                sample.rcv_ssthresh <= segments && sample.rcv_ssthresh < sample.rcvbuf / ROOMY
            })
        };
        self.flows().filter(|watch| watch.grew(|sample| sample.bytes_received) > 0).filter(pressed).count()
    }

    /// Whether receive buffers that were full themselves explain it: there were some, and no other flow dropped anything. A
    /// queue that is only tidied up drops nothing.
    fn own_buffers(&self) -> bool {
        let dropped = |watch: &FlowWatch| watch.grew32(|sample| sample.drops) > 0;
        let full = |watch: &FlowWatch| {
            watch.samples.iter().any(|sample| f64::from(sample.rmem_alloc) >= f64::from(sample.rcvbuf) * FULL)
        };
        self.flows().any(full) && self.flows().all(|watch| full(watch) || !dropped(watch))
    }

    /// Whether the host's own limit was not the reason, in any of its namespaces; unknown is not no.
    fn host_has_memory(&self) -> bool {
        self.namespaces.iter().all(|ns| ns.counter(PRESSURES).value() == Some(&0))
    }

    fn pressed(&self) -> Option<Pressed> {
        let symptoms = self.symptoms();
        match (self.before, self.after) {
            (
                SocketMemory::V1 { most: most_before, refused: before, usage: usage_before, .. },
                SocketMemory::V1 { usage, most, limit: Some(limit), refused },
            ) => {
                let counted = refused.saturating_sub(*before);
                // The mark moved in the window, to where only memory that must not be refused gets.
                let passed = most > most_before && most > limit;
                match symptoms {
                    _ if counted > 0 => Some(Pressed::Counted(counted)),
                    1.. if passed => Some(Pressed::Counted(symptoms)),
                    1.. if most >= limit && self.host_has_memory() && !self.own_buffers() => {
                        Some(Pressed::Fits { events: symptoms, flows: self.pressed_flows() as u64 })
                    }
                    _ if *usage.max(usage_before) as f64 >= *limit as f64 * NEAR => Some(Pressed::Near),
                    _ => None,
                }
            }
            (
                SocketMemory::V2 { high_events: high_before, max_events: max_before, throttled: before, .. },
                SocketMemory::V2 { high_events, max_events, throttled, .. },
            ) => {
                let counted = throttled.unwrap_or(0).saturating_sub(before.unwrap_or(0));
                if counted > 0 {
                    return Some(Pressed::Counted(counted));
                }
                let reclaimed = high_events > high_before || max_events > max_before;
                // A kernel that would count it has counted none.
                let silent = throttled.is_some();
                let pressed = self.pressed_flows() as u64;
                let fits = reclaimed && !silent && symptoms + pressed > 0;
                (fits && self.host_has_memory() && !self.own_buffers())
                    .then_some(Pressed::Fits { events: symptoms, flows: pressed })
            }
            _ => None,
        }
    }
}

fn subject(path: &str) -> Subject {
    // Of this group itself: a group within a unit may have a limit of its own.
    let name = path.rsplit('/').next().unwrap_or(path);
    Subject::Cgroup { path: path.into(), unit: unit_of(name) }
}

/// Only version 1 has a limit for sockets alone; version 2's is for all memory, and page cache fills it.
fn headroom(interval: &Interval) -> Vec<Headroom> {
    let row = |group: Group<'_>| match (group.before, group.after) {
        (SocketMemory::V1 { usage: before, .. }, SocketMemory::V1 { usage, limit: Some(limit), .. }) => {
            Some(Headroom {
                limit: LIMIT.slug.into(),
                subject: subject(group.path),
                used: *usage.max(before),
                capacity: *limit,
                unit: "bytes".into(),
            })
        }
        _ => None,
    };
    match groups(interval) {
        Reading::Present((groups, _)) => groups.into_iter().filter_map(row).collect(),
        Reading::Absent(_) => vec![],
    }
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    let (groups, missing) = match groups(interval) {
        Reading::Present(read) => read,
        // A kernel without the controller limits nothing.
        Reading::Absent(Absent::NotInKernel { .. }) => return detected,
        Reading::Absent(why) => {
            detected.unknown.extend(unknown(&LIMIT, None, GROUPS, &why));
            return detected;
        }
    };
    for (path, why) in missing {
        detected.unknown.extend(unknown(&LIMIT, Some(path), GROUPS, why));
    }
    let mut findings: Vec<(&str, Finding)> = Vec::new();
    for group in &groups {
        if let Some(pressed) = group.pressed() {
            findings.push((group.path, finding(interval, group, &pressed)));
        }
    }
    // A group's events are its parents' events too: the group that is nearest to the sockets is named.
    let below = |path: &str, other: &str| {
        other.strip_prefix(path.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
    };
    let paths: Vec<&str> = findings.iter().map(|(path, _)| *path).collect();
    findings.retain(|(path, _)| !paths.iter().any(|other| below(path, other)));
    detected.findings.extend(findings.into_iter().map(|(_, finding)| finding));
    detected
}

fn finding(interval: &Interval, group: &Group<'_>, pressed: &Pressed) -> Finding {
    let seconds = interval.seconds();
    let held = match group.after {
        SocketMemory::V1 { usage, most, limit, .. } => format!(
            "its TCP memory is limited to {}, in use are {}, the most was {}",
            limit.map_or_else(|| "nothing".into(), in_bytes),
            in_bytes(*usage),
            in_bytes(*most),
        ),
        SocketMemory::V2 { current, sock, high, max, .. } => format!(
            "it uses {} of {}, of which {} for sockets",
            in_bytes(*current),
            high.iter().chain(max).min().copied().map_or_else(|| "what the groups above allow".into(), in_bytes),
            in_bytes(*sock)
        ),
    };
    let (state, confidence, hurt, summary, because) = match pressed {
        Pressed::Counted(times) => (
            State::Limiting,
            Confidence::Proven,
            *times,
            format!("sockets of this control group were refused memory {times} times in {seconds:.1} s; {held}"),
            "the group's own counters moved, not the host's",
        ),
        Pressed::Fits { events, flows } => (
            State::Limiting,
            Confidence::Likely,
            *events.max(flows),
            match (events, flows) {
                (0, 1) => format!("the window of one flow was shrunk in {seconds:.1} s; {held}"),
                (0, flows) => format!("the windows of {flows} flows were shrunk in {seconds:.1} s; {held}"),
                (events, _) => format!("{events} receive queues pruned or segments dropped in {seconds:.1} s; {held}"),
            },
            "the group has been at its limit; the host has memory for TCP, and no dropping socket's own buffer was full",
        ),
        Pressed::Near => (
            State::Near,
            Confidence::Proven,
            0,
            format!("most of the TCP memory that this control group may have is in use: {held}"),
            "beyond the limit, sockets are refused memory: segments that had arrived are dropped",
        ),
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "socket-pressure".into(),
        confidence,
        subject: subject(group.path),
        summary,
        because: because.into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt,
    };
    let grew = |before: &u64, after: &u64| after.saturating_sub(*before) as f64;
    match (group.before, group.after) {
        (
            SocketMemory::V1 { refused: refused_before, most: most_before, .. },
            SocketMemory::V1 { usage, most, limit, refused },
        ) => {
            finding = finding
                .standing("memory.kmem.tcp.usage_in_bytes", *usage as f64, "bytes")
                .standing("memory.kmem.tcp.max_usage_in_bytes", *most as f64, "bytes")
                .changed("memory.kmem.tcp.max_usage_in_bytes", grew(most_before, most), "bytes", seconds)
                .changed("memory.kmem.tcp.failcnt", grew(refused_before, refused), "refusals", seconds);
            if let Some(limit) = limit {
                finding = finding.standing("memory.kmem.tcp.limit_in_bytes", *limit as f64, "bytes");
            }
        }
        (
            SocketMemory::V2 { high_events: high_before, max_events: max_before, throttled: before, .. },
            SocketMemory::V2 { current, sock, high, max, high_events, max_events, throttled },
        ) => {
            finding = finding
                .standing("memory.current", *current as f64, "bytes")
                .standing("memory.stat sock", *sock as f64, "bytes")
                .changed("memory.events high", grew(high_before, high_events), "events", seconds)
                .changed("memory.events max", grew(max_before, max_events), "events", seconds)
                .standing("flows with the window of a socket under pressure", group.pressed_flows() as f64, "flows");
            for (name, limit) in [("memory.high", high), ("memory.max", max)] {
                if let Some(limit) = limit {
                    finding = finding.standing(name, *limit as f64, "bytes");
                }
            }
            if let (Some(before), Some(after)) = (before, throttled) {
                finding = finding.changed("memory.events sock_throttled", grew(before, after), "events", seconds);
            }
        }
        _ => {}
    }
    for name in SYMPTOMS.into_iter().chain([PRESSURES]) {
        let growths = group.namespaces.iter().filter_map(|ns| ns.counter(name).value().copied());
        if let Some(growth) = growths.reduce(u64::saturating_add) {
            finding = finding.changed(name, growth as f64, "events", seconds);
        }
    }
    finding
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Subject::Cgroup { path, .. } = &finding.subject else { return vec![] };
    let verify = "the goodput rises; PruneCalled and TCPRcvQDrop of its namespaces stand";
    let application = Remedy::new(
        Level::Application,
        "fewer or smaller buffers in this group: read what has come, set no large SO_RCVBUF, close idle connections",
    )
    .verify(verify);
    let found = groups(interval);
    let group = found.value().and_then(|(groups, _)| groups.iter().find(|group| group.path == path));
    let (text, formula) = match group.map(|group| group.after) {
        Some(SocketMemory::V1 { most, limit: Some(limit), .. }) => {
            let peak = limit.max(most);
            (
                format!(
                    "raise memory.kmem.tcp.limit_in_bytes of {path} from {} to at least {}, or to -1",
                    limit,
                    peak.saturating_mul(4)
                ),
                format!("4 × {}: what was used at most, while it was refused more", in_bytes(*peak)),
            )
        }
        _ => (
            format!(
                "raise memory.high or memory.max of {path} (MemoryHigh=, MemoryMax=; the container's memory limit)"
            ),
            "memory.current at its peak + connections × (tcp_rmem[2] + tcp_wmem[2]) as far as they use them".into(),
        ),
    };
    let service = Remedy::new(Level::Service, text)
        .formula(formula)
        .cost("memory of the host, only while sockets use it")
        .verify(verify);
    vec![application, service]
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let found = groups(ns.interval());
    let (groups, missing) = found.value()?;
    let mut concerned = groups.iter().filter(|group| group.namespaces.iter().any(|other| other.id == ns.id)).peekable();
    let seen = missing.is_empty() && concerned.peek().is_some();
    (seen && concerned.all(|group| group.pressed().is_none()))
        .then(|| "no control group at its limit for sockets".into())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::super::testing::{
        Host, OWN, Stream, assert_clear, no_permission, subject_and_sentences, the_finding, unknowns, verdict,
    };
    use super::*;
    use crate::snapshot::{CgroupMemory, Snapshot};

    const API: &str = "/system.slice/api.service";

    fn put(snapshot: &mut Snapshot, path: &str, memory: SocketMemory) {
        let group = CgroupMemory { namespaces: [OWN].into(), memory: Reading::Present(memory) };
        if snapshot.system.cgroups.value().is_none() {
            snapshot.system.cgroups = Reading::Present(BTreeMap::new());
        }
        if let Reading::Present(groups) = &mut snapshot.system.cgroups {
            groups.insert(path.into(), group);
        }
    }

    fn group(path: &str, before: SocketMemory, after: SocketMemory) -> Host {
        host(Host::new(), path, before, after)
    }

    fn host(host: Host, path: &str, before: SocketMemory, after: SocketMemory) -> Host {
        let host = SYMPTOMS.into_iter().fold(host, |host, name| host.grew(name, 0));
        host.before(|snapshot| put(snapshot, path, before)).after(|snapshot| put(snapshot, path, after))
    }

    fn v1(most: u64, refused: u64) -> SocketMemory {
        SocketMemory::V1 { usage: 0, most, limit: Some(1 << 20), refused }
    }

    fn v2(high_events: u64, throttled: Option<u64>) -> SocketMemory {
        let (current, sock) = (500 << 20, 40 << 20);
        SocketMemory::V2 { current, sock, high: Some(512 << 20), max: None, high_events, max_events: 0, throttled }
    }

    /// Drops although its buffer is almost empty.
    fn starved() -> Stream {
        Stream::between("10.0.0.2:80", "10.0.0.9:5000").receives(1e6).each(|t, s| s.drops = (t * 40.0) as u32)
    }

    #[test]
    fn version_1_at_its_limit_with_symptoms_is_likely() {
        // Measured: a limit of 1 MiB, eight connections, 400 of 26 000 Mbit/s; failcnt stood at 0.
        let host = group(API, v1(1_232_896, 0), v1(1_232_896, 0)).grew("TcpExt.PruneCalled", 1_228);
        let host = host.grew("TcpExt.TCPRcvQDrop", 198).flow(starved());
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "socket-pressure".into()));
        assert_eq!(the_finding(&LIMIT, &host).confidence, Confidence::Likely);
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        api.service: 1228 receive queues pruned or segments dropped in 5.0 s; its TCP memory is limited to 1.0 MiB, in use are 0 bytes, the most was 1.2 MiB
        the group has been at its limit; the host has memory for TCP, and no dropping socket's own buffer was full
        1. Application: fewer or smaller buffers in this group: read what has come, set no large SO_RCVBUF, close idle connections
        2. Service: raise memory.kmem.tcp.limit_in_bytes of /system.slice/api.service from 1048576 to at least 4931584, or to -1
        ");
    }

    #[test]
    fn version_1_that_counts_its_refusals_is_proven() {
        let host = group(API, v1(1 << 20, 7), v1(1 << 20, 49));
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, finding.confidence), (State::Limiting, Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"sockets of this control group were refused memory 42 times in 5.0 s; its TCP memory is limited to 1.0 MiB, in use are 0 bytes, the most was 1.0 MiB");
        // The mark moved beyond the limit.
        let host = group(API, v1(1 << 20, 0), v1(1_200_000, 0)).grew("TcpExt.PruneCalled", 3);
        assert_eq!(the_finding(&LIMIT, &host).confidence, Confidence::Proven);
    }

    #[test]
    fn version_1_that_is_nearly_used_up_is_near() {
        let used = SocketMemory::V1 { usage: 900_000, most: 950_000, limit: Some(1 << 20), refused: 0 };
        let host = group(API, v1(950_000, 0), used);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "socket-pressure".into()));
        assert_eq!(headroom(host.interval()).first().map(|row| (row.used, row.capacity)), Some((900_000, 1 << 20)));
    }

    #[test]
    fn version_2_that_is_reclaimed_while_a_window_is_shrunk() {
        let shrunk = starved().each(|_, s| (s.rcv_ssthresh, s.rcvbuf) = (4 * 1_448, 1 << 20));
        let host = group(API, v2(10, None), v2(90, None)).flow(shrunk.clone());
        assert_eq!(the_finding(&LIMIT, &host).confidence, Confidence::Likely);
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        api.service: the window of one flow was shrunk in 5.0 s; it uses 500.0 MiB of 512.0 MiB, of which 40.0 MiB for sockets
        the group has been at its limit; the host has memory for TCP, and no dropping socket's own buffer was full
        1. Application: fewer or smaller buffers in this group: read what has come, set no large SO_RCVBUF, close idle connections
        2. Service: raise memory.high or memory.max of /system.slice/api.service (MemoryHigh=, MemoryMax=; the container's memory limit)
        ");
        // Where the kernel counts what it does to sockets, that decides.
        assert_clear(&LIMIT, &group(API, v2(10, Some(4)), v2(90, Some(4))).flow(shrunk));
        let host = group(API, v2(10, Some(4)), v2(10, Some(44)));
        assert_eq!(the_finding(&LIMIT, &host).confidence, Confidence::Proven);
    }

    #[test]
    fn the_group_nearest_to_the_sockets_is_named() {
        let both = group("/system.slice", v1(1 << 20, 7), v1(1 << 20, 49));
        let both = host(both, API, v1(1 << 20, 7), v1(1 << 20, 49));
        assert_eq!(the_finding(&LIMIT, &both).subject, subject(API));
    }

    #[test]
    fn silent_without_symptoms_without_a_limit_and_for_page_cache() {
        assert_clear(&LIMIT, &group(API, v1(1 << 20, 7), v1(1 << 20, 7)));
        assert_clear(
            &LIMIT,
            &group(API, v2(10, None), v2(90, None)).flow(starved().each(|_, s| s.rcv_ssthresh = 64_000)),
        );
        let free = SocketMemory::V1 { usage: 1 << 30, most: 1 << 30, limit: None, refused: 0 };
        let host = group(API, free.clone(), free).grew("TcpExt.PruneCalled", 9);
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("no control group at its limit for sockets"));
    }

    #[test]
    fn silent_when_the_host_or_the_socket_itself_is_full() {
        let pressed = || group(API, v1(1 << 20, 0), v1(1 << 20, 0)).grew("TcpExt.PruneCalled", 9);
        // tcp-memory.
        assert_clear(&LIMIT, &pressed().grew(PRESSURES, 1));
        // A receive buffer that nobody reads.
        let full = || starved().each(|_, s| s.rmem_alloc = s.rcvbuf);
        assert_clear(&LIMIT, &pressed().flow(full()));
        // It was tidied up and dropped nothing.
        assert_clear(&LIMIT, &pressed().flow(full().each(|_, s| s.drops = 0)));
    }

    #[test]
    fn what_could_not_be_read_is_unknown_and_a_kernel_without_groups_limits_none() {
        assert_clear(&LIMIT, &Host::new());
        let none = Host::new().both(|s| s.system.cgroups = Reading::Absent(Absent::not_in_kernel("memory controller")));
        assert_clear(&LIMIT, &none);
        let denied = Host::new().both(|s| s.system.cgroups = no_permission("/sys/fs/cgroup"));
        assert_eq!(unknowns(&LIMIT, &denied), [GROUPS]);
        let one = group(API, v1(1, 1), v1(1, 1)).both(|snapshot| {
            let group = CgroupMemory { namespaces: [OWN].into(), memory: no_permission("memory.events") };
            if let Reading::Present(groups) = &mut snapshot.system.cgroups {
                groups.insert("/b".into(), group);
            }
        });
        assert_eq!(unknowns(&LIMIT, &one), [format!("{GROUPS} of /b")]);
    }
}

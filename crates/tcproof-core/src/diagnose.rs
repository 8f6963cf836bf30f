//! From an interval to a diagnosis: asks every limit, ranks what they found, rules out their look-alikes.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::counters::{self, Kind, Scope};
use crate::finding::{Confidence, Finding, Headroom, Owner, Remedy, RuledOut, SinceBoot, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::limits::throttle::notes;
use crate::limits::{LIMITS, Limit, SocketSet};
use crate::reading::Reading;
use crate::snapshot::{Host, Snapshot};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The machine.
    pub host: Host,
    /// How long it was watched.
    pub window: Duration,
    /// Worst first; the first one is the answer to "what is the limit".
    pub findings: Vec<Finding>,
    /// Fullest first.
    pub headroom: Vec<Headroom>,
    /// What could not be observed.
    pub unknown: Vec<Unknown>,
    /// Namespaces that were watched.
    pub namespaces: usize,
    /// Whether listening sockets could be read, in one namespace at least.
    pub listeners_seen: bool,
    /// Limits with something to judge: the subjects that headroom was read for.
    pub checked: usize,
    /// TCP sockets of the host, where the kernel says.
    pub sockets: Option<u64>,
    /// Connections that were open, in all the namespaces where they could be counted.
    #[serde(default)]
    pub open_flows: u64,
    /// What the watched ones are held back by, the fastest first.
    #[serde(default)]
    pub flows: Vec<FlowNote>,
    /// Of one reading alone: what was counted since boot, which decides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub since_boot: Vec<SinceBoot>,
}

/// What one flow is held back by: not a verdict, most often it is nothing to be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowNote {
    /// The namespace's name or inode.
    pub netns: String,
    /// This end's address and port.
    pub local: String,
    /// The other end's.
    pub remote: String,
    /// Processes that hold it, as far as they were looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Whether it sends more than it receives.
    pub sends: bool,
    /// In that direction.
    pub bits_per_second: u64,
    /// `application`, `path`, `reader`, `reader-cpu`, `sender`, `growing`, `stalled`, or a limit's slug.
    pub bound_by: String,
    /// Congestion control algorithm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub congestion: String,
    /// Whether it is a subflow of Multipath TCP.
    pub mptcp: bool,
    /// Smoothed round trip.
    pub rtt_ms: f64,
}

/// One word for the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something limits now.
    Limiting,
    /// Something is near its limit.
    Near,
    /// Nothing found, and nothing could be judged.
    Unknown,
    /// Nothing found.
    Clear,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limiting => "limiting",
            Self::Near => "near",
            Self::Unknown => "unknown",
            Self::Clear => "clear",
        }
    }
}

impl Diagnosis {
    /// One word for the whole host: the worst finding, else `clear`, else `unknown` where nothing could be read. One look
    /// is never `clear`: it tells nothing about what is dropped now. Nor is a host none of whose listeners could be seen.
    pub fn verdict(&self) -> Verdict {
        match self.findings.first().map(|finding| finding.state) {
            Some(State::Limiting) => Verdict::Limiting,
            Some(State::Near) => Verdict::Near,
            None if self.checked == 0 || self.window.is_zero() || !self.listeners_seen => Verdict::Unknown,
            None => Verdict::Clear,
        }
    }

    /// The same for one limit. One that lacks a reading anywhere is never `clear`, nor is any where nothing was watched.
    pub fn verdict_on(&self, limit: &str) -> Verdict {
        let is_blind = self.namespaces == 0 || self.window.is_zero() || self.verdict() == Verdict::Unknown;
        let findings = self.findings.iter().filter(|finding| finding.limit == limit);
        match findings.map(|finding| finding.state).min() {
            Some(State::Limiting) => Verdict::Limiting,
            Some(State::Near) => Verdict::Near,
            None if is_blind || self.unknown.iter().any(|unknown| unknown.limit == limit) => Verdict::Unknown,
            None => Verdict::Clear,
        }
    }

    /// Leaves out what concerns other ports; what concerns a namespace or the whole host stays.
    pub fn keep_port(&mut self, port: u16) {
        let ends = |text: &str| text.rsplit_once(':').is_some_and(|(_, tail)| tail.parse() == Ok(port));
        let concerns = |subject: &Subject| match subject {
            Subject::Listener { local, .. } | Subject::Process { local: Some(local), .. } => ends(local),
            Subject::Destination { destination, .. } => ends(destination),
            Subject::Flow { local, remote, .. } => ends(local) || ends(remote),
            _ => true,
        };
        self.findings.retain(|finding| concerns(&finding.subject));
        self.headroom.retain(|headroom| concerns(&headroom.subject));
        self.checked = self.headroom.len();
    }
}

/// Judges an interval. Never fails: what could not be read is in `unknown`.
pub fn diagnose(interval: &Interval) -> Diagnosis {
    let mut findings = Vec::new();
    let mut headroom = Vec::new();
    let mut unknown = BTreeSet::new();
    for limit in LIMITS {
        let detected = (limit.detect)(interval);
        unknown.extend(detected.unknown);
        headroom.extend((limit.headroom)(interval));
        findings.extend(detected.findings.into_iter().map(|finding| complete(limit, finding, interval)));
    }
    unknown.extend(interval.after.unseen.iter().map(|unseen| Unknown {
        limit: "all".to_string(),
        reading: unseen.what.clone(),
        because: unseen.why.to_string(),
        would_need: unseen.why.would_need().map(ToString::to_string),
    }));
    findings.sort_by(|a, b| {
        let rank = |f: &Finding| (f.state, f.confidence);
        rank(a)
            .cmp(&rank(b))
            .then(b.hurt.cmp(&a.hurt))
            .then_with(|| (&a.limit, &a.subject).cmp(&(&b.limit, &b.subject)))
    });
    headroom.sort_by(|a, b| {
        b.share().total_cmp(&a.share()).then_with(|| (&a.limit, &a.subject).cmp(&(&b.limit, &b.subject)))
    });
    Diagnosis {
        host: interval.after.host.clone(),
        window: interval.window(),
        findings,
        checked: headroom.len(),
        headroom,
        unknown: unknown.into_iter().collect(),
        namespaces: interval.after.namespaces.len(),
        listeners_seen: interval.after.namespaces.values().any(|ns| ns.listeners.value().is_some()),
        sockets: sockets(&interval.after),
        open_flows: interval.looks.flows.values().filter_map(Reading::value).map(|flows| flows.established).sum(),
        flows: notes(interval),
        since_boot: if interval.is_alone() { since_boot(&interval.after) } else { Vec::new() },
    }
}

/// Counters that limits read and that grow on every healthy host.
const ORDINARY: &[&str] = &[
    "Icmp.InDestUnreachs",
    "MPTcpExt.MPCapableSYNTX",
    "Tcp.ActiveOpens",
    "Tcp.InSegs",
    "Tcp.PassiveOpens",
    "TcpExt.DelayedACKLost",
    "TcpExt.EmbryonicRsts",
    "TcpExt.TCPFastOpenPassive",
    "TcpExt.TCPMTUPSuccess",
    "TcpExt.TCPOFOQueue",
    "TcpExt.TWRecycled",
];
/// Listeners whose drops are told: those with most.
const LISTENERS: usize = 5;

fn since_boot(snapshot: &Snapshot) -> Vec<SinceBoot> {
    let is_sign = |name: &&&'static str| {
        let counter = counters::by_name(name).filter(|counter| counter.name == **name);
        let counts = counter.is_some_and(|it| it.kind == Kind::Counter && it.scope == Scope::Namespace);
        counts && !ORDINARY.contains(name)
    };
    let signs: BTreeSet<&str> = LIMITS.iter().flat_map(|limit| limit.reads).filter(is_sign).copied().collect();
    let mut found = Vec::new();
    for ns in snapshot.namespaces.values() {
        let row = |reading: String, value| SinceBoot { netns: ns.name.clone(), reading, value };
        let counted = signs.iter().filter_map(|name| Some((*name, *ns.counter(name).value().filter(|n| **n > 0)?)));
        found.extend(counted.map(|(name, value)| row(name.to_string(), value)));
        let listeners = ns.listeners.value().into_iter().flatten();
        let mut drops: Vec<_> =
            listeners.filter_map(|it| Some((u64::from(*it.drops.value()?), it.local))).filter(|it| it.0 > 0).collect();
        drops.sort_by_key(|(drops, local)| (core::cmp::Reverse(*drops), *local));
        let drops = drops.into_iter().take(LISTENERS);
        found.extend(drops.map(|(drops, local)| row(format!("drops of the listener {local}"), drops)));
    }
    found
}

/// Of so many ports each finding shows the drops: those with most.
const PORTS: usize = 3;

/// Adds for which ports the kernel dropped packets for the limit's reasons, where a probe saw it.
fn with_drops(limit: &Limit, mut finding: Finding, ns: &NetnsChange<'_>) -> Finding {
    let seconds = ns.interval().seconds();
    for reason in limit.drop_reasons() {
        let mut rows: Vec<_> = ns.drops().filter(|row| row.reason == reason).collect();
        rows.sort_by_key(|row| (core::cmp::Reverse(row.packets), row.port));
        for row in rows.into_iter().take(PORTS) {
            let reading = format!("kfree_skb {reason}, port {}", row.port);
            finding = finding.changed(reading, row.packets as f64, "packets", seconds);
        }
    }
    finding
}

fn complete(limit: &Limit, mut finding: Finding, interval: &Interval) -> Finding {
    // What is once per kernel is ruled out where tcproof itself stands.
    let ns = match finding.subject.netns() {
        Some(name) => interval.namespace(name),
        None => interval.namespaces().find(|ns| ns.after.own),
    };
    if let Some(ns) = ns {
        finding = with_drops(limit, finding, &ns);
        let known: BTreeSet<_> = finding.ruled_out.iter().map(|r| r.limit.clone()).collect();
        for slug in limit.look_alikes.iter().filter(|slug| !known.contains(**slug)) {
            if let Some(because) = Limit::by_slug(slug).and_then(|other| (other.ruled_out)(&ns)) {
                finding.ruled_out.push(RuledOut { limit: (*slug).to_string(), because });
            }
        }
    }
    if interval.is_alone() {
        finding.confidence = Confidence::Likely;
    }
    finding.remedies = (limit.remedy)(&finding, interval).into_iter().map(Remedy::sensible).collect();
    finding
}

/// TCP sockets of the namespaces seen: full ones, and the small ones of TIME_WAIT.
fn sockets(snapshot: &Snapshot) -> Option<u64> {
    let of = |name| {
        snapshot.namespaces.values().filter_map(|ns| ns.sockstat(name).value().copied()).reduce(u64::saturating_add)
    };
    let known = [of("TCP.inuse"), of("TCP6.inuse"), of("TCP.tw")];
    known.iter().flatten().copied().reduce(u64::saturating_add)
}

/// The sockets whose owners the verdicts will need: of the first snapshot alone, or of the whole interval.
pub fn sockets_of_interest(snapshot: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let wanted = LIMITS.iter().flat_map(|limit| (limit.owners_wanted)(snapshot, interval));
    wanted.filter(|(_, inode)| *inode != 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::limits::testing::{Host, Listen, endpoint};
    use crate::reading::Absent;
    use crate::snapshot::{FileHandles, Service};

    #[test]
    fn the_queue_that_hurts_comes_first_and_its_look_alikes_are_ruled_out() {
        let host = Host::new()
            .listener(Listen::at("0.0.0.0:80").queues(&[129]).drops(0, 342).pid(7))
            .listener(Listen::at("0.0.0.0:81").queues(&[120]))
            .process(7, "api", 81, 1024)
            .grew("TcpExt.ListenDrops", 342)
            .grew("TcpExt.ListenOverflows", 342);
        let diagnosis = diagnose(host.interval());
        assert_eq!(diagnosis.verdict(), Verdict::Limiting);
        let states: Vec<_> = diagnosis.findings.iter().map(|f| (&*f.limit, f.state)).collect();
        assert_eq!(states, [("accept-queue", State::Limiting), ("accept-queue", State::Near)]);
        let ruled_out: Vec<_> = diagnosis.findings[0].ruled_out.iter().map(|r| (&*r.limit, &*r.because)).collect();
        assert_eq!(
            ruled_out,
            [
                ("syn-queue", "no SYN dropped by it, 0 cookies sent"),
                ("file-descriptors", "81 of 1024 open in pid 7"),
                ("conntrack-table", "connections are not tracked here"),
            ]
        );
        assert!(!diagnosis.findings[0].remedies.is_empty());
    }

    #[test]
    fn a_process_out_of_descriptors_is_reported_after_the_queue_it_starves() {
        let host = Host::new()
            .listener(Listen::at("0.0.0.0:80").queues(&[129]).drops(0, 342).pid(7))
            .process(7, "api", 1024, 1024)
            .grew("TcpExt.ListenDrops", 342)
            .grew("TcpExt.ListenOverflows", 342);
        let found: Vec<_> = diagnose(host.interval()).findings.into_iter().map(|f| (f.limit, f.cause)).collect();
        let expected = [("accept-queue", "descriptor-limit"), ("file-descriptors", "process-limit")];
        assert_eq!(found, expected.map(|(limit, cause)| (limit.to_string(), cause.to_string())));
    }

    #[test]
    fn a_quiet_host_is_clear_and_an_unreadable_one_unknown() {
        assert_eq!(diagnose(Host::new().interval()).verdict(), Verdict::Clear);
        assert_eq!(diagnose(&Interval::default()).verdict(), Verdict::Unknown);
        let once = Host::new().before(|snapshot| snapshot.at = Duration::from_secs(5));
        assert_eq!(diagnose(once.interval()).verdict(), Verdict::Unknown);
        // Without tcp_diag: counters and limits are read, but who dropped what is not.
        let blind = Host::new().ns(|ns| ns.listeners = Reading::Absent(Absent::not_in_kernel("sock_diag")));
        assert_eq!(diagnose(blind.interval()).verdict(), Verdict::Unknown);
    }

    #[test]
    fn one_reading_alone_proves_nothing_and_tells_the_past_apart() {
        let full = Host::new()
            .listener(Listen::at("0.0.0.0:80").queues(&[129]).drops(7, 7).pid(7))
            .conntrack(95, 95, 100, 100)
            .ns(|ns| ns.counters.extend([("TcpExt.ListenOverflows".into(), 342), ("Tcp.PassiveOpens".into(), 9_000)]))
            .before(|snapshot| snapshot.at = Duration::from_secs(5));
        let diagnosis = diagnose(full.interval());
        assert_eq!(diagnosis.verdict(), Verdict::Near);
        let found: Vec<_> = diagnosis.findings.iter().map(|f| (&*f.limit, f.state, f.confidence)).collect();
        let likely = (State::Near, Confidence::Likely);
        assert_eq!(found, ["accept-queue", "conntrack-table"].map(|limit| (limit, likely.0, likely.1)));
        for finding in &diagnosis.findings {
            assert!(!finding.summary.contains(" yet") && finding.summary.contains("can't tell"), "{}", finding.summary);
        }
        let past: Vec<_> = diagnosis.since_boot.iter().map(|row| (&*row.reading, row.value)).collect();
        assert!(
            past.contains(&("TcpExt.ListenOverflows", 342)) && past.contains(&("drops of the listener 0.0.0.0:80", 7))
        );
        assert!(past.iter().all(|(reading, _)| !reading.starts_with("Tcp.")), "{past:?}");
        assert!(diagnose(Host::new().grew("TcpExt.ListenDrops", 342).interval()).since_boot.is_empty());
    }

    /// Counters, knobs and conntrack fields that limits read, and edge values for them.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), 0..5_000_u64, Just(u64::from(u32::MAX)), Just(u64::MAX), any::<u64>()]
    }

    fn knob() -> impl Strategy<Value = Reading<String>> {
        prop_oneof![
            "[ \t\0-9a-z-]{0,20}".prop_map(Reading::Present),
            any::<i64>().prop_map(|n| Reading::Present(n.to_string())),
            (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| Reading::Present(format!("{a}\t{b}\t{c}"))),
            Just(Reading::Absent(Absent::OneReading)),
        ]
    }

    fn listen() -> impl Strategy<Value = Listen> {
        let backlog = prop_oneof![0..3_u32, Just(128), Just(65_535), any::<u32>()];
        (1..4_u64, backlog, vec(any::<u16>(), 1..4), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
            |(port, backlog, queues, before, after, born)| {
                let queues: Vec<u32> = queues.into_iter().map(u32::from).collect();
                let listen = Listen::at(&format!("0.0.0.0:{port}")).backlog(backlog).queues(&queues);
                let listen = listen.drops(before, after).pid(port as u32);
                if born { listen.born() } else { listen }
            },
        )
    }

    prop_compose! {
        fn host()(
            counters in vec((number(), number(), 0..10_u8), 64),
            knobs in vec((0..10_u8, knob()), 64),
            listeners in vec(listen(), 0..6),
            half_open in btree_map(0..4_u16, any::<u32>(), 0..4),
            close_wait in vec(any::<u64>(), 0..40),
            processes in vec((number(), number()), 0..4),
            conntrack in (number(), number(), number(), number()),
            stat in vec(number(), 6),
            files in (number(), number()),
            memory in number(),
            seconds in prop_oneof![Just(0), Just(5), any::<u64>()],
        ) -> Interval {
            let (before, after, max, buckets) = conntrack;
            let mut host = Host::new().conntrack(before, after, max, buckets);
            for (n, listen) in listeners.into_iter().enumerate() {
                host = host.listener(listen.cookie(n as u64 + 1));
            }
            for (port, count) in half_open {
                host = host.half_open(&format!("10.0.0.2:{port}"), count);
            }
            for (pid, (open, limit)) in processes.into_iter().enumerate() {
                host = host.process(pid as u32 + 1, "nginx", open, limit);
            }
            let half = &close_wait[..close_wait.len() / 2];
            let host = host
                .close_wait(Service::Local(endpoint("10.0.0.2:1")), 1, half, &close_wait)
                .ns(|ns| {
                    for (value, knob) in ns.knobs.values_mut().zip(&knobs) {
                        if knob.0 == 0 {
                            *value = knob.1.clone();
                        }
                    }
                })
                .before(|snapshot| {
                    for ns in snapshot.namespaces.values_mut() {
                        ns.counters.values_mut().zip(&counters).for_each(|(value, (before, ..))| *value = *before);
                    }
                })
                .after(|snapshot| {
                    for ns in snapshot.namespaces.values_mut() {
                        for (value, (before, after, quiet)) in ns.counters.values_mut().zip(&counters) {
                            *value = if *quiet > 3 { *before } else { *after };
                        }
                        if let Reading::Present(fields) = &mut ns.conntrack.stat {
                            fields.values_mut().zip(&stat).for_each(|(value, stat)| *value = *stat);
                        }
                    }
                    snapshot.at = Duration::from_secs(seconds);
                    snapshot.host.memory_bytes = memory;
                    snapshot.system.files = Reading::Present(FileHandles { open: files.0, max: files.1 });
                });
            host.interval().clone()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn no_interval_is_too_strange(interval in host()) {
            let diagnosis = diagnose(&interval);
            prop_assert_eq!(&diagnosis, &diagnose(&interval));
            for finding in &diagnosis.findings {
                let limit = Limit::by_slug(&finding.limit).expect("a limit of the table");
                prop_assert!(limit.causes.iter().any(|(cause, _)| *cause == finding.cause));
                prop_assert!(!finding.remedies.is_empty(), "{} has no remedy", finding.summary);
            }
            let _ = sockets_of_interest(&interval.before, None);
            let _ = sockets_of_interest(&interval.after, Some(&interval));
            let text = serde_json::to_string(&diagnosis).expect("a diagnosis is JSON");
            prop_assert_eq!(text, serde_json::to_string(&diagnose(&interval)).expect("a diagnosis is JSON"));
        }

        #[test]
        fn limiting_comes_before_near_and_proven_before_likely(interval in host()) {
            let ranks: Vec<_> = diagnose(&interval).findings.iter().map(|f| (f.state, f.confidence)).collect();
            prop_assert!(ranks.is_sorted());
        }
    }
}

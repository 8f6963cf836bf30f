//! Made-up hosts for the limits' tests: one namespace called "own", watched for five seconds, with nothing wrong.
//! A test says only what differs: `Host::new().grew("TcpExt.ListenDrops", 342).listener(Listen::at("0.0.0.0:80"))`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Detected, Limit};
use crate::finding::{Finding, State};
use crate::flow::{FlowWatch, Flows};
use crate::interval::{Interval, ListenerWatch};
use crate::reading::{Absent, Reading};
use crate::snapshot::{
    CloseWait, Conntrack, CpuTime, Endpoint, FileHandles, Flow, FlowSample, Inode, Link, Listener, Netns, NetnsId, Pid,
    Process, Protocol, Service, Snapshot, SoftnetCpu,
};
use crate::trace::Trace;

/// The namespace's inode.
pub(crate) const OWN: NetnsId = NetnsId(4_026_531_840);

/// The window's length, in milliseconds.
pub(crate) const WINDOW: u64 = 5_000;

/// Counters start here, so that a growth is not mistaken for a value.
const START: u64 = 1_000;

/// Counters and knobs of a quiet host; a test that needs more adds them.
const COUNTERS: &[&str] = &[
    "Ip.OutNoRoutes",
    "Ip6.OutNoRoutes",
    "IpExt.InNoRoutes",
    "Tcp.ActiveOpens",
    "Tcp.AttemptFails",
    "Tcp.InSegs",
    "Tcp.OutSegs",
    "Tcp.PassiveOpens",
    "Tcp.RetransSegs",
    "TcpExt.IPReversePathFilter",
    "TcpExt.ListenDrops",
    "TcpExt.ListenOverflows",
    "TcpExt.PruneCalled",
    "TcpExt.SyncookiesRecv",
    "TcpExt.SyncookiesSent",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPBacklogDrop",
    "TcpExt.TCPDeferAcceptDrop",
    "TcpExt.TCPFastOpenCookieReqd",
    "TcpExt.TCPFastOpenListenOverflow",
    "TcpExt.TCPFastOpenPassive",
    "TcpExt.TCPFastOpenPassiveFail",
    "TcpExt.TCPMemoryPressures",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TW",
    "TcpExt.TWRecycled",
];
const KNOBS: &[(&str, &str)] = &[
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.ip_local_port_range", "32768\t60999"),
    ("net.ipv4.ip_local_reserved_ports", ""),
    ("net.ipv4.tcp_fastopen", "1"),
    ("net.ipv4.tcp_fin_timeout", "60"),
    ("net.ipv4.tcp_max_syn_backlog", "2048"),
    ("net.ipv4.tcp_max_tw_buckets", "262144"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_tw_reuse", "2"),
];

/// A host in the making.
#[derive(Clone, Debug)]
pub(crate) struct Host(Interval);

impl Host {
    /// A quiet one.
    pub(crate) fn new() -> Self {
        let ns = Netns {
            name: "own".into(),
            own: true,
            counters: COUNTERS.iter().map(|name| (name.to_string(), START)).collect(),
            sockstat: Reading::Present(BTreeMap::new()),
            knobs: KNOBS.iter().map(|(key, value)| (key.to_string(), Reading::Present(value.to_string()))).collect(),
            listeners: Reading::Present(Vec::new()),
            devices: Reading::Present(BTreeMap::new()),
            ..Netns::default()
        };
        let mut before = Snapshot { namespaces: [(OWN, ns)].into(), ..Snapshot::default() };
        before.host.cpus = 2;
        before.host.memory_bytes = 4 << 30;
        before.host.page_bytes = 4096;
        before.system.files = Reading::Present(FileHandles { open: 1_000, max: 100_000 });
        let after = Snapshot { at: Duration::from_millis(WINDOW), ..before.clone() };
        Self(Interval { before, after, ..Interval::default() })
    }

    /// One that was made elsewhere.
    pub(crate) fn of(interval: Interval) -> Self {
        Self(interval)
    }

    /// The finished interval.
    pub(crate) fn interval(&self) -> &Interval {
        &self.0
    }

    /// Edits the first snapshot.
    pub(crate) fn before(mut self, edit: impl FnOnce(&mut Snapshot)) -> Self {
        edit(&mut self.0.before);
        self
    }

    /// Edits the last snapshot.
    pub(crate) fn after(mut self, edit: impl FnOnce(&mut Snapshot)) -> Self {
        edit(&mut self.0.after);
        self
    }

    /// Edits both snapshots alike.
    pub(crate) fn both(mut self, edit: impl Fn(&mut Snapshot)) -> Self {
        edit(&mut self.0.before);
        edit(&mut self.0.after);
        self
    }

    /// Edits what probes counted.
    pub(crate) fn trace(mut self, edit: impl FnOnce(&mut Trace)) -> Self {
        edit(&mut self.0.trace);
        self
    }

    /// Edits the namespace in both snapshots.
    pub(crate) fn ns(self, edit: impl Fn(&mut Netns)) -> Self {
        self.both(|snapshot| edit(own(snapshot)))
    }

    /// Edits the namespace at the window's end.
    pub(crate) fn ns_after(self, edit: impl FnOnce(&mut Netns)) -> Self {
        self.after(|snapshot| edit(own(snapshot)))
    }

    /// A counter grew within the window.
    pub(crate) fn grew(self, counter: &str, by: u64) -> Self {
        self.ns(|ns| {
            ns.counters.entry(counter.into()).or_insert(START);
        })
        .ns_after(|ns| *ns.counters.entry(counter.into()).or_insert(START) += by)
    }

    /// The kernel lacks a counter.
    pub(crate) fn without(self, counter: &str) -> Self {
        self.ns(|ns| {
            ns.counters.remove(counter);
        })
    }

    /// A knob's text at both ends.
    pub(crate) fn knob(self, key: &str, value: &str) -> Self {
        self.ns(|ns| {
            ns.knobs.insert(key.into(), Reading::Present(value.into()));
        })
    }

    /// The kernel lacks a knob.
    pub(crate) fn without_knob(self, key: &str) -> Self {
        self.ns(|ns| {
            ns.knobs.remove(key);
        })
    }

    /// A value of sockstat at the start and the end.
    pub(crate) fn sockstat(self, name: &str, before: u64, after: u64) -> Self {
        let set = |snapshot: &mut Snapshot, value| {
            if let Reading::Present(values) = &mut own(snapshot).sockstat {
                values.insert(name.into(), value);
            }
        };
        self.before(|s| set(s, before)).after(|s| set(s, after))
    }

    /// A listener, with all the looks at it.
    pub(crate) fn listener(mut self, listen: Listen) -> Self {
        let (from, until) = listen.seen;
        let look =
            |n: usize| Duration::from_millis(from + (until - from) * n as u64 / listen.queues.len().max(1) as u64);
        let at = |n: usize, drops: &Reading<u32>| Listener {
            queue: listen.queues.get(n).copied().unwrap_or(0),
            drops: drops.clone(),
            ..listen.listener.clone()
        };
        let mut watch = ListenerWatch::new(at(0, &listen.drops_before), look(0), listen.born);
        for n in 1..listen.queues.len() {
            watch.look(at(n, &listen.drops_before), look(n));
        }
        watch.last.drops = listen.drops_after.clone();
        let last = watch.last.clone();
        let same = self.0.looks.listeners.entry(OWN).or_default().insert(last.cookie, watch);
        assert_eq!(same, None, "two listeners on one port need cookies of their own");
        if let (Reading::Present(listeners), false) = (&mut own(&mut self.0.before).listeners, listen.born) {
            listeners.push(at(0, &listen.drops_before));
        }
        if let (Reading::Present(listeners), WINDOW) = (&mut own(&mut self.0.after).listeners, until) {
            listeners.push(last.clone());
        }
        match listen.pid {
            Some(pid) => self.owner(last.inode, pid),
            None => self,
        }
    }

    /// A process that holds a socket.
    pub(crate) fn owner(self, inode: Inode, pid: Pid) -> Self {
        self.both(|snapshot| {
            let pids = snapshot.owners.entry(inode).or_insert(Reading::Present(Vec::new()));
            if let Reading::Present(pids) = pids {
                pids.push(pid);
            }
        })
    }

    /// A process with its open descriptors and their limit.
    pub(crate) fn process(self, pid: Pid, cmdline: &str, fds: u64, fd_limit: u64) -> Self {
        self.both(|snapshot| {
            let comm = cmdline.split(' ').next().unwrap_or("").to_string();
            let cgroup = alloc::format!("/system.slice/{comm}.service");
            let process = Process {
                comm,
                cmdline: cmdline.split(' ').map(String::from).collect(),
                cgroup: Reading::Present(cgroup),
                fds: Reading::Present(fds),
                fd_limit: Reading::Present(fd_limit),
                fd_hard_limit: Reading::Present(1_048_576),
                kernel_time: Reading::Present(Duration::ZERO),
                user_time: Reading::Present(Duration::ZERO),
                threads: Reading::Present(1),
            };
            snapshot.processes.insert(pid, process);
        })
    }

    /// A flow, with all the looks at it.
    pub(crate) fn flow(mut self, stream: Stream) -> Self {
        let flows = self.0.looks.flows.entry(OWN).or_insert_with(|| Reading::Present(Flows::default()));
        if let Reading::Present(flows) = flows {
            flows.by_rate = true;
            flows.established += 1;
            flows.watched.push(stream.watch);
        }
        self
    }

    /// Another namespace that looks like the first one, with a flow in it.
    pub(crate) fn flow_elsewhere(mut self, name: &str, stream: Stream) -> Self {
        let id = NetnsId(OWN.0 + 1);
        self = self.both(|snapshot| {
            let ns = Netns { name: name.into(), own: false, ..own(snapshot).clone() };
            snapshot.namespaces.entry(id).or_insert(ns);
        });
        let flows = Flows { established: 1, by_rate: true, watched: [stream.watch].into(), ..Flows::default() };
        self.0.looks.flows.insert(id, Reading::Present(flows));
        self
    }

    /// A process used so much of one CPU over the window; after [`Host::process`].
    pub(crate) fn cpu_share(self, pid: Pid, share: f64) -> Self {
        self.after(|snapshot| {
            if let Some(process) = snapshot.processes.get_mut(&pid) {
                process.user_time = Reading::Present(Duration::from_secs_f64(WINDOW as f64 / 1e3 * share));
            }
        })
    }

    /// Half-open connections to a concrete local address, at both ends.
    pub(crate) fn half_open(self, local: &str, count: u32) -> Self {
        self.ns(|ns| {
            if ns.sockets.half_open.value().is_none() {
                ns.sockets.half_open = Reading::Present(BTreeMap::new());
            }
            if let Reading::Present(half_open) = &mut ns.sockets.half_open {
                half_open.insert(endpoint(local), count);
            }
        })
    }

    /// CLOSE_WAIT sockets with those cookies of one service, at the start and the end.
    pub(crate) fn close_wait(self, service: Service, inode: Inode, before: &[u64], after: &[u64]) -> Self {
        let set = |snapshot: &mut Snapshot, held: &[u64]| {
            let sockets = &mut own(snapshot).sockets;
            if sockets.close_wait.value().is_none() {
                sockets.close_wait = Reading::Present(BTreeMap::new());
            }
            if let Reading::Present(groups) = &mut sockets.close_wait {
                groups.insert(service, CloseWait { held: held.to_vec(), inode, ..CloseWait::default() });
            }
        };
        self.before(|s| set(s, before)).after(|s| set(s, after))
    }

    /// Connection tracking in use, with its statistics all at zero growth.
    pub(crate) fn conntrack(self, before: u64, after: u64, max: u64, buckets: u64) -> Self {
        let set = |snapshot: &mut Snapshot, count| {
            let fields = ["chaintoolong", "clashres", "drop", "early_drop", "insert_failed", "invalid"];
            own(snapshot).conntrack = Conntrack {
                count: Reading::Present(count),
                max: Reading::Present(max),
                buckets: Reading::Present(buckets),
                stat: Reading::Present(fields.iter().map(|field| (field.to_string(), START)).collect()),
            };
        };
        self.before(|s| set(s, before)).after(|s| set(s, after))
    }

    /// A device, the same at both ends.
    pub(crate) fn link(self, name: &str, link: Link) -> Self {
        self.ns(|ns| {
            if ns.links.value().is_none() {
                ns.links = Reading::Present(BTreeMap::new());
            }
            if let Reading::Present(links) = &mut ns.links {
                links.insert(name.into(), link.clone());
            }
        })
    }

    /// Edits a device at both ends.
    pub(crate) fn link_both(self, name: &str, edit: impl Fn(&mut Link)) -> Self {
        self.ns(|ns| edit(link_of(ns, name)))
    }

    /// Edits a device at the end.
    pub(crate) fn link_after(self, name: &str, edit: impl FnOnce(&mut Link)) -> Self {
        self.ns_after(|ns| edit(link_of(ns, name)))
    }

    /// CPUs by the share of the window that they spent in soft interrupts, idle else, and by the packets that they took in.
    pub(crate) fn cpus(self, cpus: &[(f64, u32)]) -> Self {
        let set = |snapshot: &mut Snapshot, window: f64, packets: u32| {
            let numbered = || (0..).zip(cpus);
            let time = |(cpu, (softirq, _)): (u32, &(f64, u32))| CpuTime {
                cpu,
                softirq: Duration::from_secs_f64(9.0 + window * softirq),
                idle: Duration::from_secs_f64(99.0 + window * (1.0 - softirq)),
                ..CpuTime::default()
            };
            let row = |(cpu, (_, processed)): (u32, &(f64, u32))| SoftnetCpu {
                cpu,
                processed: 7 + processed * packets,
                backlog: Some(0),
                ..SoftnetCpu::default()
            };
            snapshot.system.path.cpus = Reading::Present(numbered().map(time).collect());
            snapshot.system.softnet = Reading::Present(numbered().map(row).collect());
            snapshot.system.path.ksoftirqd =
                Reading::Present(numbered().map(|(cpu, _)| (cpu, Duration::from_secs(1))).collect());
        };
        let seconds = WINDOW as f64 / 1000.0;
        self.before(|s| set(s, 0.0, 0)).after(|s| set(s, seconds, 1))
    }

    /// Edits a CPU's row of softnet_stat at the end; after [`Host::cpus`].
    pub(crate) fn softnet_after(self, cpu: usize, edit: impl FnOnce(&mut SoftnetCpu)) -> Self {
        self.after(|s| {
            if let Reading::Present(rows) = &mut s.system.softnet {
                edit(&mut rows[cpu]);
            }
        })
    }

    /// A field of conntrack's statistics grew; after [`Host::conntrack`].
    pub(crate) fn conntrack_grew(self, field: &str, by: u64) -> Self {
        self.ns_after(|ns| {
            if let Reading::Present(stat) = &mut ns.conntrack.stat {
                *stat.entry(field.into()).or_insert(START) += by;
            }
        })
    }
}

fn own(snapshot: &mut Snapshot) -> &mut Netns {
    snapshot.namespaces.get_mut(&OWN).expect("every test host has its namespace")
}

fn link_of<'a>(ns: &'a mut Netns, name: &str) -> &'a mut Link {
    match &mut ns.links {
        Reading::Present(links) => links.get_mut(name).expect("a device that the test made"),
        Reading::Absent(_) => panic!("no devices"),
    }
}

/// A listener in the making: backlog 128, never a connection in its queue, nothing dropped.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    listener: Listener,
    queues: Vec<u32>,
    drops_before: Reading<u32>,
    drops_after: Reading<u32>,
    born: bool,
    /// From when and until when, in milliseconds.
    seen: (u64, u64),
    pid: Option<Pid>,
}

impl Listen {
    /// At an address and port; its cookie and inode are the port's number.
    pub(crate) fn at(local: &str) -> Self {
        let local = endpoint(local);
        let port = u64::from(local.port);
        let listener = Listener { cookie: port, inode: port, ..Listener::new(local, 128) };
        let none = Reading::Present(0);
        let queues = [0; 50].to_vec();
        Self {
            listener,
            queues,
            drops_before: none.clone(),
            drops_after: none,
            born: false,
            seen: (0, WINDOW),
            pid: None,
        }
    }

    /// Another socket on the same port.
    pub(crate) fn cookie(mut self, cookie: u64) -> Self {
        self.listener.cookie = cookie;
        self.listener.inode = cookie;
        self
    }

    pub(crate) fn backlog(mut self, backlog: u32) -> Self {
        self.listener.backlog = backlog;
        self
    }

    /// Bound to a device, by its index.
    pub(crate) fn device(mut self, device: u32) -> Self {
        self.listener.device = device;
        self
    }

    pub(crate) fn mptcp(mut self) -> Self {
        self.listener.protocol = Protocol::Mptcp;
        self
    }

    /// What 50 looks saw: the given queues, over and over.
    pub(crate) fn queues(mut self, queues: &[u32]) -> Self {
        self.queues = queues.iter().copied().cycle().take(50).collect();
        self
    }

    /// Its drop counter at both ends.
    pub(crate) fn drops(mut self, before: u32, after: u32) -> Self {
        (self.drops_before, self.drops_after) = (Reading::Present(before), Reading::Present(after));
        self
    }

    /// The kernel does not tell its drops.
    pub(crate) fn without_drops(mut self) -> Self {
        (self.drops_before, self.drops_after) = (absent("SK_MEMINFO_DROPS"), absent("SK_MEMINFO_DROPS"));
        self
    }

    /// It was there from and until so many milliseconds of the window, of which all have [`WINDOW`].
    pub(crate) fn seen(mut self, from: u64, until: u64) -> Self {
        self.seen = (from, until);
        self.born = from > 0;
        self
    }

    /// It was made within the window.
    pub(crate) fn born(mut self) -> Self {
        self.born = true;
        self
    }

    /// The process that holds it; described with [`Host::process`].
    pub(crate) fn pid(mut self, pid: Pid) -> Self {
        self.pid = Some(pid);
        self
    }
}

/// A flow in the making, seen 51 times in the window: an established connection over a path of 50 ms through which
/// nothing moves. A test says what moves and what is full.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    watch: FlowWatch,
}

/// Maximum segment of a made-up flow.
pub(crate) const MSS: u32 = 1_448;

impl Stream {
    /// Its cookie and inode are the local port's number.
    pub(crate) fn between(local: &str, remote: &str) -> Self {
        let (local, remote) = (endpoint(local), endpoint(remote));
        let flow = Flow {
            local,
            remote,
            cookie: local.port.into(),
            inode: local.port.into(),
            cgroup_id: None,
            protocol: Protocol::Tcp,
            congestion: "cubic".into(),
        };
        let idle = FlowSample {
            rto: 254_000,
            snd_mss: MSS,
            rcv_mss: MSS,
            pmtu: 1_500,
            rcv_ssthresh: 64_088,
            rtt: 50_500,
            min_rtt: 50_000,
            snd_ssthresh: 0x7fff_ffff,
            snd_cwnd: 10,
            last_data_sent_ms: 9_000,
            last_data_recv_ms: 9_000,
            last_ack_recv_ms: 9_000,
            wscale: (7, 7),
            sack: true,
            snd_wnd: Some(65_536),
            rcv_wnd: Some(64_088),
            dsack_dups: Some(0),
            reord_seen: Some(0),
            total_rto: Some(0),
            rcvbuf: 131_072,
            sndbuf: 87_040,
            ..FlowSample::default()
        };
        let at = |n: u64| FlowSample { at: Duration::from_millis(n * WINDOW / 50), ..idle };
        Self { watch: FlowWatch { flow, samples: (0..=50).map(at).collect(), gone: false } }
    }

    /// Edits every look; `t` is its time in seconds.
    pub(crate) fn each(mut self, edit: impl Fn(f64, &mut FlowSample)) -> Self {
        for sample in &mut self.watch.samples {
            edit(sample.at.as_secs_f64(), sample);
        }
        self
    }

    /// Sends without a pause at so many bytes a second, acknowledged as they go; segments of a round trip in flight.
    pub(crate) fn sends(self, rate: f64) -> Self {
        self.each(|t, s| {
            s.bytes_acked = 1_000 + (rate * t) as u64;
            s.data_segs_out = (rate * t / f64::from(MSS)) as u32;
            s.busy_time = (t * 1e6) as u64;
            s.unacked = (rate * f64::from(s.rtt) / 1e6 / f64::from(MSS)) as u32;
            s.wqueue = s.unacked * MSS;
            s.wmem_queued = s.wqueue * 2;
            s.delivery_rate = rate as u64;
            s.timer = crate::snapshot::Timer::Retransmit;
            (s.last_data_sent_ms, s.last_ack_recv_ms) = (1, 1);
        })
    }

    /// Receives at so many bytes a second, all of which are read at once.
    pub(crate) fn receives(self, rate: f64) -> Self {
        self.each(|t, s| {
            s.bytes_received = 1_000 + (rate * t) as u64;
            s.data_segs_in = (rate * t / f64::from(MSS)) as u32;
            s.last_data_recv_ms = 1;
        })
    }

    /// One that was made elsewhere.
    pub(crate) fn of(watch: FlowWatch) -> Self {
        Self { watch }
    }

    /// It ended within the window.
    pub(crate) fn gone(mut self) -> Self {
        self.watch.gone = true;
        self
    }

    /// All the looks at it.
    pub(crate) fn into_watch(self) -> FlowWatch {
        self.watch
    }

    /// The congestion control algorithm.
    pub(crate) fn congestion(mut self, name: &str) -> Self {
        self.watch.flow.congestion = name.into();
        self
    }

    /// A subflow of Multipath TCP.
    pub(crate) fn mptcp(mut self) -> Self {
        self.watch.flow.protocol = Protocol::Mptcp;
        self
    }

    /// Another socket on the same port.
    pub(crate) fn cookie(mut self, cookie: u64) -> Self {
        (self.watch.flow.cookie, self.watch.flow.inode) = (cookie, cookie);
        self
    }
}

pub(crate) fn endpoint(text: &str) -> Endpoint {
    text.parse().expect("an address and port")
}

pub(crate) fn absent<T>(what: &str) -> Reading<T> {
    Reading::Absent(Absent::not_in_kernel(what))
}

pub(crate) fn no_permission<T>(what: &str) -> Reading<T> {
    Reading::Absent(Absent::Permission { what: what.into(), needs: "root".into() })
}

pub(crate) fn detect(limit: &Limit, host: &Host) -> Detected {
    (limit.detect)(host.interval())
}

/// The one finding of a limit, with its remedies.
pub(crate) fn the_finding(limit: &Limit, host: &Host) -> Finding {
    let mut findings = detect(limit, host).findings;
    assert_eq!(findings.len(), 1, "expected one finding: {findings:#?}");
    let mut finding = findings.remove(0);
    let cause = finding.cause.clone();
    assert!(limit.causes.iter().any(|(slug, _)| *slug == cause), "{cause} is no cause of {}", limit.slug);
    finding.remedies = (limit.remedy)(&finding, host.interval());
    assert!(!finding.remedies.is_empty(), "{cause} has no remedy");
    finding
}

/// The one finding's state and cause.
pub(crate) fn verdict(limit: &Limit, host: &Host) -> (State, String) {
    let finding = the_finding(limit, host);
    (finding.state, finding.cause)
}

/// No finding, and everything could be judged.
pub(crate) fn assert_clear(limit: &Limit, host: &Host) {
    assert_eq!(detect(limit, host), Detected::default());
}

/// No finding; what was unknown, as the readings' names.
pub(crate) fn unknowns(limit: &Limit, host: &Host) -> Vec<String> {
    let detected = detect(limit, host);
    assert_eq!(detected.findings, [], "expected no finding");
    detected.unknown.into_iter().map(|unknown| unknown.reading).collect()
}

/// What the only finding says, why, and what to do: for inline snapshots.
pub(crate) fn sentences(limit: &Limit, host: &Host) -> String {
    let finding = the_finding(limit, host);
    alloc::format!("{}\n{}\n{}", finding.summary, finding.because, remedies(&finding))
}

/// The same, behind what it is about.
pub(crate) fn subject_and_sentences(limit: &Limit, host: &Host) -> String {
    alloc::format!("{}: {}", the_finding(limit, host).subject, sentences(limit, host))
}

/// "1. application: …" lines for inline snapshots.
pub(crate) fn remedies(finding: &Finding) -> String {
    let line = |(n, remedy): (usize, &crate::finding::Remedy)| {
        let change = match (&remedy.knob, &remedy.from, &remedy.to) {
            (Some(knob), Some(from), Some(to)) => alloc::format!(" [{knob} {from} → {to}]"),
            _ => String::new(),
        };
        alloc::format!("{}. {:?}: {}{change}\n", n + 1, remedy.level, remedy.text)
    };
    finding.remedies.iter().enumerate().map(line).collect()
}

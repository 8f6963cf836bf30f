//! Made-up hosts for the limits' tests: one namespace called "own", watched for five seconds, with nothing wrong.
//! A test says only what differs: `Host::new().grew("TcpExt.ListenDrops", 342).listener(Listen::at("0.0.0.0:80"))`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Detected, Limit};
use crate::finding::{Finding, State};
use crate::interval::{Interval, ListenerWatch};
use crate::reading::{Absent, Reading};
use crate::snapshot::{
    CloseWait, Conntrack, Endpoint, FileHandles, Inode, Listener, Netns, NetnsId, Pid, Process, Protocol, Service,
    Snapshot,
};

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
    "TcpExt.TCPDeferAcceptDrop",
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
        let listener = Listener {
            local,
            device: 0,
            protocol: Protocol::Tcp,
            cookie: u64::from(local.port),
            inode: u64::from(local.port),
            uid: 0,
            queue: 0,
            backlog: 128,
            drops: Reading::Present(0),
            cgroup_id: None,
        };
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

pub(crate) fn endpoint(text: &str) -> Endpoint {
    let addr: core::net::SocketAddr = text.parse().expect("an address and port");
    Endpoint::new(addr.ip(), addr.port())
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

//! Seconds of a host that is in trouble, made by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use tcproof_core::snapshot::{
    Endpoint, Flow, FlowSample, Host, Listener, Netns, NetnsId, PortUse, Process, Snapshot, Sockets, SourcePorts,
    Tuple, TupleUse,
};
use tcproof_core::{Absent, FlowWatch, Flows, Interval, ListenerWatch, Looks, Reading};

use crate::event::Step;

/// 2026-12-01 14:05:00 UTC.
const BEGUN_MS: i64 = 1_796_133_900_000;
const OWN: NetnsId = NetnsId(4_026_531_840);
const SECOND: Duration = Duration::from_secs(1);

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn listener(local: &str, cookie: u64, queue: u32, backlog: u32, drops: u32) -> Listener {
    let listener = Listener::new(endpoint(local), backlog);
    Listener { cookie, inode: cookie, queue, drops: Reading::Present(drops), ..listener }
}

/// Drops 40 handshakes a second from the third on: its queue is full.
fn listeners(at: u64) -> Vec<Listener> {
    let drops = u32::try_from(at.saturating_sub(2) * 40).unwrap();
    let queue = if at < 2 { 20 * u32::try_from(at).unwrap() } else { 129 };
    vec![
        listener("0.0.0.0:8080", 71, queue, 128, drops),
        listener("127.0.0.1:9000", 72, 0, 4096, 0),
        listener("[::]:22", 73, 0, 128, 0),
    ]
}

fn process(comm: &str, unit: &str) -> Process {
    Process {
        comm: comm.into(),
        cmdline: vec![comm.into()],
        cgroup: Reading::Present(format!("/system.slice/{unit}")),
        fds: Reading::Present(40),
        fd_limit: Reading::Present(1024),
        fd_hard_limit: Reading::Present(524_288),
        kernel_time: Reading::Absent(Absent::NotNeeded),
        user_time: Reading::Absent(Absent::NotNeeded),
        threads: Reading::Present(1),
    }
}

/// What it looks like so many seconds after its start.
fn snapshot(at: u64) -> Snapshot {
    let drops = at.saturating_sub(2) * 40;
    let counters = [
        ("Tcp.ActiveOpens", at * 12),
        ("Tcp.InSegs", 1_000 + at * 5_021),
        ("Tcp.OutSegs", 900 + at * 4_870),
        ("Tcp.PassiveOpens", at * 310),
        ("Tcp.RetransSegs", at / 4),
        ("TcpExt.ListenDrops", drops),
        ("TcpExt.ListenOverflows", drops),
        ("TcpExt.TCPReqQFullDrop", 0),
        ("TcpExt.TCPReqQFullDoCookies", 0),
        ("Ip.InReceives", at * 5_100),
    ];
    let knobs = [
        ("net.core.somaxconn", "4096"),
        ("net.ipv4.ip_local_port_range", "32768\t60999"),
        ("net.ipv4.tcp_max_tw_buckets", "131072"),
        ("net.ipv4.tcp_syncookies", "1"),
        ("net.ipv4.tcp_abort_on_overflow", "0"),
        ("net.ipv4.ip_local_reserved_ports", ""),
    ];
    let tuples = [("10.0.0.7", "10.0.0.9:5432", 13_400, 11_000), ("10.0.0.7", "10.0.0.8:6379", 220, 0)];
    let tuples: BTreeMap<Tuple, TupleUse> = tuples
        .into_iter()
        .map(|(source, to, ports, time_wait)| {
            let tuple = Tuple { source: source.parse().unwrap(), destination: endpoint(to) };
            (tuple, TupleUse { ports, time_wait, connecting: 0, inode: 71, cgroup_id: None })
        })
        .collect();
    let source = SourcePorts { sockets: 13_620, distinct: 13_600, destinations: 2 };
    let ports = PortUse { tuples, sources: [("10.0.0.7".parse().unwrap(), source)].into(), sockets: 13_620 };
    let netns = Netns {
        name: "host".into(),
        own: true,
        counters: counters.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        sockstat: Reading::Present([("TCP.inuse".into(), 842), ("TCP.tw".into(), 11_000)].into()),
        knobs: knobs.into_iter().map(|(key, value)| (key.to_string(), Reading::Present(value.into()))).collect(),
        listeners: Reading::Present(listeners(at)),
        sockets: Sockets { ports: Reading::Present(ports), ..Sockets::default() },
        pids: vec![2113, 977],
        ..Netns::default()
    };
    Snapshot {
        at: Duration::from_secs(at),
        host: Host {
            name: "web-07".into(),
            kernel: "6.8.0".into(),
            cpus: 16,
            memory_bytes: 64 << 30,
            page_bytes: 4096,
        },
        namespaces: [(OWN, netns)].into(),
        processes: [(2113, process("gunicorn", "api.service")), (977, process("sshd", "ssh.service"))].into(),
        owners: [(71, Reading::Present(vec![2113])), (73, Reading::Present(vec![977]))].into(),
        ..Snapshot::default()
    }
}

fn flow(local: &str, remote: &str, cookie: u64, bytes_a_second: u64, at: u64) -> FlowWatch {
    let flow = Flow {
        local: endpoint(local),
        remote: endpoint(remote),
        cookie,
        inode: 71,
        cgroup_id: None,
        protocol: Default::default(),
        congestion: "cubic".into(),
    };
    let samples = (0..=2_u64).map(|half| {
        let ms = at * 1_000 + half * 500;
        FlowSample {
            at: Duration::from_millis(ms),
            bytes_acked: bytes_a_second * ms / 1_000,
            rtt: 24_000,
            min_rtt: 20_000,
            snd_mss: 1_448,
            snd_cwnd: 40,
            ..FlowSample::default()
        }
    });
    FlowWatch { flow, samples: samples.collect(), gone: false }
}

/// The second that begins then, on a host whose names mean no good.
pub(crate) fn hostile(at: u64, name: &str) -> Step {
    let mut step = second(at);
    for end in [&mut step.interval.before, &mut step.interval.after] {
        end.host.name = name.into();
        end.host.kernel = name.into();
        for process in end.processes.values_mut() {
            process.comm = name.into();
            process.cgroup = Reading::Present(format!("/system.slice/{name}.service"));
        }
        for ns in end.namespaces.values_mut() {
            ns.name = name.into();
            ns.counters.insert(format!("TcpExt.{name}"), end.at.as_secs());
        }
    }
    step
}

/// The second that begins then.
pub(crate) fn second(at: u64) -> Step {
    let (before, after) = (snapshot(at), snapshot(at + 1));
    let mut watches = BTreeMap::new();
    for listener in listeners(at) {
        watches.insert(listener.cookie, ListenerWatch::new(listener, Duration::from_secs(at), false));
    }
    for look in 1..=4 {
        for listener in listeners(if look < 4 { at } else { at + 1 }) {
            let when = Duration::from_secs(at) + SECOND * look / 4;
            watches.get_mut(&listener.cookie).unwrap().look(listener, when);
        }
    }
    let flows = Flows {
        established: 830,
        by_rate: true,
        watched: vec![
            flow("10.0.0.7:443", "10.0.0.9:50124", 81, 2_500_000, at),
            flow("10.0.0.7:443", "10.0.0.9:50125", 82, 9_000, at),
        ],
        ..Flows::default()
    };
    let looks = Looks { listeners: [(OWN, watches)].into(), flows: [(OWN, Reading::Present(flows))].into() };
    let wall_ms = BEGUN_MS + i64::try_from((at + 1) * 1_000).unwrap();
    Step { wall_ms, interval: Interval { before, after, looks, ..Interval::default() } }
}

//! Diagnoses made by hand. Limits that are still to come stand for any limit whose title this version doesn't know.

use std::time::Duration;

use tcproof_core::snapshot::Host;
use tcproof_core::verify::{Amount, Change, Measure, Outcome, Row, Verification, Verified};
use tcproof_core::{
    Confidence, Diagnosis, Finding, FlowNote, Headroom, Level, Owner, Remedy, RuledOut, State, Subject, Unknown,
};

pub(crate) fn owner(pid: u32, comm: &str, unit: Option<&str>) -> Owner {
    let cgroup = unit.map(|unit| format!("/system.slice/{unit}"));
    Owner { pid, comm: comm.into(), cgroup, unit: unit.map(Into::into) }
}

pub(crate) fn listener(netns: &str, local: &str, owners: Vec<Owner>) -> Subject {
    Subject::Listener { netns: netns.into(), local: local.into(), owners }
}

pub(crate) fn headroom(limit: &str, subject: Subject, used: u64, capacity: u64, unit: &str) -> Headroom {
    Headroom { limit: limit.into(), subject, used, capacity, unit: unit.into() }
}

pub(crate) fn unknown(limit: &str, reading: &str, because: &str, would_need: Option<&str>) -> Unknown {
    Unknown {
        limit: limit.into(),
        reading: reading.into(),
        because: because.into(),
        would_need: would_need.map(Into::into),
    }
}

/// A host with nothing wrong, one namespace, and room left.
pub(crate) fn quiet() -> Diagnosis {
    let host = Subject::Host;
    let netns = || Subject::Netns { netns: "host".into() };
    Diagnosis {
        host: Host {
            name: "web-07".into(),
            kernel: "6.8.0".into(),
            cpus: 16,
            memory_bytes: 64 << 30,
            ..Host::default()
        },
        window: Duration::from_millis(5003),
        findings: vec![],
        headroom: vec![
            headroom("receive-window", destination("host", "10.0.0.7", "10.0.0.9:5432"), 13_400, 28_232, "ports"),
            headroom("accept-queue", listener("host", "0.0.0.0:8080", vec![]), 31, 129, "connections"),
            headroom("nic-ring", netns(), 31_457, 262_144, "entries"),
            headroom("accept-queue", listener("host", "0.0.0.0:22", vec![]), 0, 129, "connections"),
            headroom("cgroup-memory", host, 3, 1000, "pages"),
            headroom("loss", netns(), 0, 1000, "segments"),
        ],
        unknown: vec![],
        namespaces: 1,
        listeners_seen: true,
        checked: 41,
        sockets: Some(11_842),
        open_flows: 9_120,
        since_boot: vec![],
        flows: vec![
            flow("10.0.0.7:443", "10.0.0.9:50124", true, 184_000_000, "path"),
            flow("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535", "[2001:db8::1]:443", false, 12_400_000, "sender"),
            flow("10.0.0.7:443", "10.0.0.9:50125", true, 9_000, "application"),
            flow("10.0.0.7:443", "10.0.0.9:50126", true, 0, "application"),
        ],
    }
}

fn flow(local: &str, remote: &str, sends: bool, bits_per_second: u64, bound_by: &str) -> FlowNote {
    FlowNote {
        netns: "host".into(),
        local: local.into(),
        remote: remote.into(),
        owners: vec![],
        sends,
        bits_per_second,
        bound_by: bound_by.into(),
        congestion: "cubic".into(),
        mptcp: false,
        rtt_ms: 51.25,
    }
}

pub(crate) fn destination(netns: &str, source: &str, destination: &str) -> Subject {
    Subject::Destination { netns: netns.into(), source: source.into(), destination: destination.into(), owners: vec![] }
}

/// A listener that drops because its application is slow.
pub(crate) fn slow_listener(comm: &str) -> Finding {
    let verify = "no new drops of 0.0.0.0:8080 and a queue below half of its backlog";
    let finding = Finding {
        limit: "accept-queue".into(),
        state: State::Limiting,
        cause: "application-slow".into(),
        confidence: Confidence::Proven,
        subject: listener("host", "0.0.0.0:8080", vec![owner(2113, comm, Some("api.service"))]),
        summary: "342 handshakes to 0.0.0.0:8080 dropped in 5.0 s; queue up to 129 of 129, full in 94 % of 50 looks"
            .into(),
        because: "the queue was more than half full in 98 % of the looks: the application takes less than arrives \
                  (it accepts about 210/s)"
            .into(),
        evidence: vec![],
        ruled_out: vec![
            RuledOut { limit: "receive-window".into(), because: "0 cookies, 0 full request queues".into() },
            RuledOut { limit: "nic-ring".into(), because: "12 % full, no drop".into() },
        ],
        remedies: vec![
            Remedy::new(
                Level::Application,
                format!("let {comm} accept faster: more workers or processes, or an accept loop that does nothing else"),
            )
            .verify(verify),
            Remedy::new(Level::Service, "gunicorn --backlog N — N = 256; takes effect with a restart")
                .formula("half a second of the 512/s it accepts; a longer queue only makes clients wait for answers they have given up on")
                .cost("up to 614 KiB while the queue is full")
                .verify(verify),
        ],
        hurt: 342,
    };
    finding
        .changed("SK_MEMINFO_DROPS", 342.0, "handshakes", 5.003)
        .changed("TcpExt.ListenOverflows", 342.0, "events", 5.003)
        .standing("looks that saw it full", 0.94, "share")
}

/// A listener whose queue is clamped, named by a long IPv6 address.
pub(crate) fn clamped_listener() -> Finding {
    let verify = "no new drops";
    Finding {
        cause: "somaxconn-clamps".into(),
        confidence: Confidence::Likely,
        subject: listener(
            "web",
            "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535",
            (0..9).map(|n| owner(4000 + n, "nginx", Some("nginx.service"))).collect(),
        ),
        because: String::new(),
        ruled_out: vec![],
        remedies: vec![
            Remedy::knob(
                "raise somaxconn in this namespace, then let nginx listen again",
                "net.core.somaxconn",
                "128",
                "4096",
            )
            .formula("1.25 × 20000 arrivals/s × 0.12 s longest pause seen = 3000, at least twice the present 128")
            .cost("none until a listener asks for it")
            .verify(verify),
        ],
        ..slow_listener("nginx")
    }
}

/// A table that is filling up.
pub(crate) fn near() -> Finding {
    Finding {
        limit: "nic-ring".into(),
        state: State::Near,
        cause: "ring-full".into(),
        confidence: Confidence::Proven,
        subject: Subject::Device { netns: "host".into(), device: "eth0".into() },
        summary: "the ring of eth0 reached 470 of 512; nothing dropped yet".into(),
        because: "packets arrive in bursts".into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![Remedy::new(Level::Kernel, "a longer ring: ethtool -G eth0 rx 1024")],
        hurt: 0,
    }
}

/// One slow listener on a host with several namespaces, some of which could not be seen.
pub(crate) fn limiting(comm: &str) -> Diagnosis {
    let mut diagnosis = Diagnosis { namespaces: 3, findings: vec![slow_listener(comm)], ..quiet() };
    let full = headroom("accept-queue", diagnosis.findings[0].subject.clone(), 129, 129, "connections");
    diagnosis.headroom.insert(0, full);
    let denied = |reading: &str, path: &str| {
        unknown("nic-ring", reading, &format!("no permission to read {path}"), Some("CAP_NET_ADMIN"))
    };
    diagnosis.unknown = vec![
        denied("conntrack statistics of db", "/proc/117/net/stat/nf_conntrack"),
        denied("conntrack statistics of web", "/proc/2113/net/stat/nf_conntrack"),
        unknown(
            "all",
            "namespace of pid 9",
            "pid 9 went away while it was watched",
            Some("another run while it exists"),
        ),
    ];
    diagnosis
}

/// Nothing could be read.
pub(crate) fn blind() -> Diagnosis {
    let why = "no permission to read /proc/net/netstat";
    let reading = |limit: &str, n: usize| unknown(limit, &format!("TcpExt.Counter{n} of host"), why, Some("root"));
    Diagnosis {
        host: Host::default(),
        headroom: vec![],
        checked: 0,
        namespaces: 1,
        listeners_seen: false,
        sockets: None,
        open_flows: 0,
        flows: vec![],
        since_boot: vec![],
        unknown: (0..6).map(|n| reading(["accept-queue", "loss", "nic-ring", "path-mtu"][n % 4], n)).collect(),
        ..quiet()
    }
}

/// So many listeners in trouble, the last few only near.
pub(crate) fn many(n: usize) -> Diagnosis {
    let findings = (0..n)
        .map(|at| Finding {
            state: if at + 5 < n { State::Limiting } else { State::Near },
            subject: listener("host", &format!("127.0.0.1:{}", 8000 + at), vec![owner(at as u32, "worker", None)]),
            remedies: vec![],
            ruled_out: vec![],
            ..slow_listener("worker")
        })
        .collect();
    Diagnosis { findings, ..quiet() }
}

/// A reading in both windows.
fn row(measure: Measure, unit: &str, amounts: [Option<(f64, Option<f64>)>; 2], change: Option<Change>) -> Row {
    let [before, after] = amounts.map(|amount| amount.map(|(value, of)| Amount { value, of }));
    let reading = match measure {
        Measure::Symptom => "handshakes dropped (SK_MEMINFO_DROPS)",
        Measure::Headroom => "used of the capacity",
        Measure::Goodput => "flows of the same service",
        Measure::Load => "connections tried",
    };
    Row { measure, reading: reading.into(), unit: unit.into(), before, after, change }
}

/// Cured, too different, and not readable.
pub(crate) fn verification(netns: &str, local: &str) -> Verification {
    let rate = |value: f64| Some((value, None));
    let cured = Verified {
        limit: "accept-queue".into(),
        subject: listener(netns, local, vec![]),
        outcome: Outcome::Cured,
        because: "at 1.08 times the load".into(),
        rows: vec![
            row(Measure::Symptom, "events/s", [rate(68.4), rate(0.0)], Some(Change::Better)),
            row(Measure::Headroom, "connections", [Some((129.0, Some(129.0))), Some((200.0, Some(1025.0)))], None),
            row(Measure::Goodput, "bits/s", [rate(12_400_000.0), rate(15_000_000.0)], None),
            row(Measure::Load, "/s", [rate(2_222.666), rate(24_000.0)], None),
        ],
    };
    let unread = Verified {
        limit: "conntrack-table".into(),
        subject: Subject::Netns { netns: netns.into() },
        outcome: Outcome::Unknown,
        because: "after: no permission to read /proc/net/stat/nf_conntrack".into(),
        rows: vec![row(Measure::Symptom, "events/s", [rate(0.04), None], None)],
    };
    let none = Verified {
        limit: "loss".into(),
        outcome: Outcome::TooDifferent,
        because: "3 flows and then 9".into(),
        rows: vec![row(Measure::Load, "flows", [rate(3.0), rate(9.0)], None)],
        ..unread.clone()
    };
    Verification { outcome: Outcome::Unknown, seconds: [5.003, 5.0], findings: vec![cured, none, unread] }
}

use std::collections::BTreeMap;
use std::time::Duration;

use tcproof_core::census::{
    Census, CgroupRow, Counts, DestinationRow, End, ListenerRow, Method, NetnsCensus, NetnsTally, PortRange,
    ProcessRow, Sockstat, Top, Truncated,
};
use tcproof_core::snapshot::{Endpoint, Host, Listener, Protocol, Tuple, Unseen};
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading};
use textwrap::core::display_width;

use super::*;
use crate::Style;
use crate::record::Place;

fn counts(of: &[(State, u32)]) -> Counts {
    let mut counts = Counts::default();
    of.iter().for_each(|(state, n)| counts.add(*state, *n));
    counts
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn netns(name: &str, states: Counts, small: Counts, sockstat: (Sockstat, Sockstat)) -> NetnsCensus {
    NetnsCensus {
        name: name.into(),
        counted: Reading::Present(NetnsTally { states, small }),
        known: BTreeMap::new(),
        open: None,
        sockstat: Reading::Present(sockstat),
        mptcp: Reading::Present(counts(&[(State::Established, 2)])),
        ephemeral: Reading::Present(PortRange::DEFAULT),
        usable_ports: Some(28_231),
        listeners_absent: None,
    }
}

fn listener(local: &str, queue: u32, backlog: u32, drops: Reading<u32>) -> Listener {
    Listener { cookie: 1, inode: 9, queue, drops, ..Listener::new(endpoint(local), backlog) }
}

/// A host with something in every table.
fn full() -> Census {
    let (host, lab, gone) = (NetnsId(1), NetnsId(2), NetnsId(3));
    let states = counts(&[
        (State::Listen, 3),
        (State::Established, 601_400),
        (State::TimeWait, 400_000),
        (State::CloseWait, 12),
        (State::SynRecv, 5),
    ]);
    let small = counts(&[(State::TimeWait, 400_000), (State::SynRecv, 5)]);
    let stat = |inuse, tw| Sockstat { inuse, tw };
    let process = |pid, comm: &str, states| ProcessRow {
        pid,
        comm: comm.into(),
        cgroup: Reading::Present("/system.slice/api.service".into()),
        states,
    };
    let destination = |netns, service, source: &str, to: &str, states: Counts| DestinationRow {
        netns,
        service,
        tuple: Tuple { source: source.parse().unwrap(), destination: endpoint(to) },
        ports: (service == End::Remote).then(|| states.total()),
        states,
        others: 0,
        owners: vec![2113],
    };
    let mut absent = netns("gone", Counts::default(), Counts::default(), (stat(0, 0), stat(0, 0)));
    absent.counted = Reading::Absent(Absent::Gone { what: "network namespace gone".into() });
    Census {
        host: Host { name: "web-07".into(), kernel: "6.8.0".into(), cpus: 16, ..Host::default() },
        method: Method::Netlink,
        because: "sockstat has 1014 sockets, and below 100000 it is the cheaper one".into(),
        refused: vec![(Method::Bpf, Absent::Permission { what: "bpf(2)".into(), needs: "CAP_BPF".into() })],
        elapsed: Duration::from_micros(489_700),
        namespaces: BTreeMap::from([
            (host, netns("host", states, small, (stat(601_415, 400_000), stat(601_415, 400_000)))),
            (lab, netns("lab", counts(&[(State::Established, 7)]), Counts::default(), (stat(9, 0), stat(10, 0)))),
            (gone, absent),
        ]),
        listeners: Top {
            rows: vec![
                ListenerRow {
                    netns: host,
                    listener: listener("0.0.0.0:8080", 129, 128, Reading::Present(342)),
                    owners: vec![2113, 2114],
                },
                ListenerRow {
                    netns: lab,
                    listener: Listener {
                        protocol: Protocol::Mptcp,
                        ..listener("[2001:db8:0:1:2:3:4:5]:443", 0, 4096, Reading::Absent(Absent::not_in_kernel("it")))
                    },
                    owners: vec![],
                },
            ],
            of: 3,
        },
        destinations: Top {
            rows: vec![
                destination(
                    host,
                    End::Remote,
                    "10.0.0.1",
                    "10.0.0.9:5432",
                    counts(&[(State::Established, 12), (State::TimeWait, 13_388)]),
                ),
                destination(
                    host,
                    End::Local,
                    "0.0.0.0",
                    "192.0.2.1:8080",
                    counts(&[(State::SynRecv, 5), (State::Established, 500_000)]),
                ),
                destination(
                    lab,
                    End::Local,
                    "2001:db8::aaaa:bbbb:cccc:dddd",
                    "[2001:db8:0:1:2:3:4:5]:443",
                    counts(&[(State::CloseWait, 12)]),
                ),
            ],
            of: 20,
        },
        cgroups: Top {
            rows: vec![
                CgroupRow { id: 77, path: Some("/system.slice/api.service".into()), states },
                CgroupRow { id: 78, path: None, states: counts(&[(State::CloseWait, 1)]) },
            ],
            of: 2,
        },
        processes: Top {
            rows: vec![
                process(2113, "gunicorn", Some(counts(&[(State::Established, 9), (State::Listen, 1)]))),
                process(2114, "e\x1b[2Jv\nil\u{202e}", Some(counts(&[(State::CloseWait, 2)]))),
            ],
            of: 7,
        },
        holders: Some(Method::Proc),
        truncated: vec![
            Truncated { netns: host, sockets: 612_000, why: Lost::SourcesFolded },
            Truncated { netns: lab, sockets: 3, why: Lost::DestinationsFull },
        ],
        unseen: vec![Unseen {
            what: "what 12 processes hold".into(),
            why: Absent::Permission { what: "/proc/PID/fd".into(), needs: "root".into() },
        }],
    }
}

#[test]
fn every_table_in_80_columns() {
    let shown = text(&full(), &Style::default());
    assert!(shown.lines().all(|line| display_width(line) <= 80), "{shown}");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    insta::assert_snapshot!(shown);
}

#[test]
fn narrow_wide_and_ascii_screens_keep_their_width() {
    for width in [60, 100, 120] {
        for unicode in [true, false] {
            let shown = text(&full(), &Style { width, unicode, ..Style::default() });
            assert!(shown.lines().all(|line| display_width(line) <= width), "{shown}");
            assert!(unicode || shown.is_ascii(), "{shown}");
        }
    }
}

#[test]
fn json_of_every_table() {
    insta::assert_snapshot!(json(&full()));
}

#[test]
fn nothing_counted_says_why() {
    let mut census = full();
    let why = Absent::not_in_kernel("sock_diag for this protocol (module tcp_diag, for MPTCP mptcp_diag)");
    census.refused = vec![(Method::Netlink, why.clone())];
    census.namespaces.retain(|id, _| id.0 == 1);
    for ns in census.namespaces.values_mut() {
        ns.counted = Reading::Absent(why.clone());
        ns.listeners_absent = Some(why.clone());
        ns.mptcp = Reading::Absent(why.clone());
    }
    (census.listeners, census.destinations) = (Top::default(), Top::default());
    (census.cgroups, census.processes) = (Top::default(), Top::default());
    (census.truncated, census.unseen) = (vec![], vec![]);
    insta::assert_snapshot!(text(&census, &Style::default()));
}

/// The same as a recording has it: no socket one by one.
fn recorded() -> Census {
    let mut census = full();
    (census.method, census.because) =
        (Method::Recording, "sockstat, listeners, and what was looked at more closely".into());
    (census.refused, census.truncated, census.holders) = (vec![], vec![], None);
    (census.cgroups, census.elapsed) = (Top::default(), Duration::ZERO);
    census.processes.rows.iter_mut().for_each(|row| row.states = None);
    for (id, ns) in &mut census.namespaces {
        ns.counted = Reading::Absent(Absent::Failed {
            what: "a recording does not hold every socket".into(),
            error: "x".into(),
        });
        ns.mptcp = Reading::Absent(Absent::NotNeeded);
        if id.0 < 3 {
            ns.known = [(State::Listen, 3), (State::CloseWait, 0)].into();
            ns.open = Some(601_412);
        }
        if id.0 == 2 {
            ns.known.remove(&State::CloseWait);
            ns.sockstat = Reading::Absent(Absent::Gone { what: "it".into() });
        }
    }
    census.destinations.rows[0].others = 40;
    census
}

#[test]
fn what_a_recording_knows() {
    insta::assert_snapshot!(text(&recorded(), &Style::default()));
    for width in [60, 80, 120] {
        let shown = text(&recorded(), &Style { width, unicode: false, ..Style::default() });
        assert!(shown.lines().all(|line| display_width(line) <= width) && shown.is_ascii(), "{shown}");
    }
}

#[test]
fn what_a_recording_knows_is_what_the_schema_says() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let place = Place { host: "web".into(), redacted: false, ended_ms: 1_796_000_005_000, records: 1, is_cut: false };
    for text in [json_of(&recorded(), Some(&place)), json(&full())] {
        let value = serde_json::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    let value: serde_json::Value = serde_json::from_str(&json_of(&recorded(), Some(&place))).unwrap();
    assert_eq!(value["totals"][0]["known"]["CLOSE-WAIT"], 0, "what is known to be none is not left out");
    assert!(value["totals"][0].get("states").is_none() && value["destinations"][0]["sockets"] == 13_440, "{value}");
}

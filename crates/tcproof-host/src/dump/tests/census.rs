//! Sockets as they were listed, counted by hand beside it.

use proptest::prelude::*;
use tcproof_core::census::{Census, Method};
use tcproof_core::states::State;

use super::super::{Dump, census, kind::Kind, snapshot, ss, tree};
use crate::Scope;
use crate::census::Ask;

fn ask() -> Ask {
    Ask { scope: Scope::All, method: None, port: None, top: 10, table: 1_000, processes: true }
}

fn dump(listing: &str, settings: &str) -> Dump {
    let mut tree = tree::Tree::default();
    for (name, kind, text) in [("ss", Kind::Ss, listing), ("sysctl", Kind::Sysctl, settings)] {
        let text = tree::Text { bytes: text.as_bytes().to_vec(), ..tree::Text::default() };
        tree.add(name, tree::Want::Loose(kind), text);
    }
    snapshot::dump("texts".into(), &mut tree).unwrap()
}

fn of(listing: &str, ask: &Ask) -> Census {
    census(
        vec![dump(listing, "net.ipv4.ip_local_port_range = 32768\t60999\nnet.ipv4.ip_local_reserved_ports =\n")],
        ask,
    )
    .unwrap()
    .0
}

const LISTING: &str = "\
Netid State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
tcp   LISTEN     3      128    0.0.0.0:80          0.0.0.0:*    users:((\"web\",pid=7,fd=3),(\"web\",pid=8,fd=3)) ino:5 sk:1 cgroup:/web.service <->
mptcp LISTEN     0      64     0.0.0.0:443         0.0.0.0:*    users:((\"mp\",pid=9,fd=4)) ino:6 sk:2 <->
tcp   LISTEN     0      64     0.0.0.0:443         0.0.0.0:*    ino:0 sk:3 <->
tcp   ESTAB      0      0      10.0.0.1:80         10.0.0.2:40000 users:((\"web\",pid=7,fd=9)) ino:11 sk:4 cgroup:/web.service <->
tcp   ESTAB      0      0      10.0.0.1:80         10.0.0.2:40001 users:((\"web\",pid=7,fd=10),(\"web\",pid=7,fd=11)) ino:12 sk:5 cgroup:/web.service <->
tcp   TIME-WAIT  0      0      10.0.0.1:80         10.0.0.2:40002 timer:(timewait,59sec,0) ino:0 sk:6
tcp   TIME-WAIT  0      0      10.0.0.1:33000      10.0.0.9:5432  timer:(timewait,59sec,0) ino:0 sk:7
tcp   CLOSE-WAIT 1      0      10.0.0.1:33001      10.0.0.9:5432  users:((\"job \\\",pid=\",pid=21,fd=5)) ino:13 sk:8 cgroup:unreachable:1f2a <->
tcp   FIN-WAIT-2 0      0      10.0.0.1:33002      10.0.0.9:5432  timer:(timewait,29sec,0) ino:0 sk:9
tcp   SYN-RECV   0      0      10.0.0.1:80         203.0.113.7:999 timer:(on,1sec,0) ino:0 sk:a
udp   UNCONN     0      0      0.0.0.0:68          0.0.0.0:*
";

#[test]
fn a_listing_is_counted_by_the_rules_of_a_walk() {
    let census = of(LISTING, &ask());
    let ns = census.namespaces.values().next().unwrap();
    let counted = ns.counted.value().unwrap();
    assert_eq!((census.method, census.holders), (Method::Listing, Some(Method::Listing)));
    assert_eq!(
        serde_json::to_string(&counted.states).unwrap(),
        r#"{"LISTEN":2,"SYN-RECV":1,"ESTABLISHED":2,"FIN-WAIT-2":1,"TIME-WAIT":2,"CLOSE-WAIT":1}"#
    );
    assert_eq!(serde_json::to_string(&counted.small).unwrap(), r#"{"SYN-RECV":1,"FIN-WAIT-2":1,"TIME-WAIT":2}"#);
    assert_eq!(ns.mptcp.value().unwrap().of(State::Listen), 1);
    let listeners = census
        .listeners
        .rows
        .iter()
        .map(|row| format!("{} {} {:?}", row.listener.local, row.listener.queue, row.owners));
    let destinations = census.destinations.rows.iter().map(|row| {
        let states = serde_json::to_string(&row.states).unwrap();
        format!("{:?} {} {states} {:?} {:?}", row.service, row.tuple, row.ports, row.owners)
    });
    let processes = census.processes.rows.iter().map(|row| {
        let states = row.states.map(|states| serde_json::to_string(&states).unwrap());
        format!("{} {:?} {:?} {}", row.pid, row.comm, row.cgroup.value(), states.unwrap_or_default())
    });
    let cgroups = census
        .cgroups
        .rows
        .iter()
        .map(|row| format!("{} {:?} {}", row.id, row.path, serde_json::to_string(&row.states).unwrap()));
    let all: Vec<String> = listeners.chain(destinations).chain(processes).chain(cgroups).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    0.0.0.0:80 3 [7, 8]
    0.0.0.0:443 0 [9]
    Local 10.0.0.2→10.0.0.1:80 {"ESTABLISHED":2,"TIME-WAIT":1} None [7]
    Remote 10.0.0.1→10.0.0.9:5432 {"FIN-WAIT-2":1,"TIME-WAIT":1,"CLOSE-WAIT":1} Some(3) [21]
    Local 0.0.0.0→10.0.0.1:80 {"SYN-RECV":1} None []
    7 "web" Some("/web.service") {"LISTEN":1,"ESTABLISHED":3}
    8 "web" Some("/web.service") {"LISTEN":1}
    21 "job \\\",pid=" Some("unreachable:1f2a") {"CLOSE-WAIT":1}
    9 "mp" None 
    0 Some("/web.service") {"ESTABLISHED":2}
    7978 None {"CLOSE-WAIT":1}
    "#);
    assert!(census.truncated.is_empty());
    assert_eq!(of(LISTING, &Ask { port: Some(5432), ..ask() }).destinations.of, 1);
}

#[test]
fn what_a_listing_has_not_is_said() {
    let missing = |options: &str| {
        let keep = |line: &&str| match options {
            "-ltn" => line.contains("LISTEN") || line.contains("Netid"),
            "-tn" => !(line.contains("LISTEN") || line.contains("TIME-WAIT") || line.contains("SYN-RECV")),
            _ => true,
        };
        let bare =
            |line: &str| line.split(" users:").next().and_then(|line| line.split(" ino:").next()).unwrap().to_string();
        let listing: Vec<String> = LISTING.lines().filter(keep).map(bare).collect();
        let census = of(&listing.join("\n"), &ask());
        let ns = census.namespaces.values().next().unwrap();
        let states = serde_json::to_string(&ns.counted.value().unwrap().states).unwrap();
        let unseen: Vec<_> = census.unseen.iter().map(|unseen| format!("{}: {}", unseen.what, unseen.why)).collect();
        format!(
            "ss {options}: {states}\n{}\n{}",
            ns.listeners_absent.as_ref().map(ToString::to_string).unwrap_or_default(),
            unseen.join("\n")
        )
    };
    insta::assert_snapshot!([missing("-tan"), missing("-tn"), missing("-ltn")].join("\n"), @r#"
    ss -tan: {"LISTEN":2,"SYN-RECV":1,"ESTABLISHED":2,"FIN-WAIT-2":1,"TIME-WAIT":2,"CLOSE-WAIT":1}

    owners of host: the listing: none are in it: ss -p shows them, as root
    control groups of host: the listing: none are in it: ss -e shows them since 5.9
    ss -tn: {"ESTABLISHED":2,"FIN-WAIT-2":1,"CLOSE-WAIT":1}
    listening sockets: none is in this listing: ss -l, or -a, shows them
    sockets in TIME-WAIT and SYN-RECV of host: the listing: none is in it, and ss shows them with -a only
    owners of host: the listing: none are in it: ss -p shows them, as root
    control groups of host: the listing: none are in it: ss -e shows them since 5.9
    ss -ltn: {"LISTEN":2}

    connections of host: the listing: only listening sockets are in it: ss -a shows all
    "#);
}

#[test]
fn a_full_table_and_many_groups_are_bounded_and_said() {
    let rows = (0..6_000).map(|n| {
        let pid = n + 1;
        format!("tcp ESTAB 0 0 10.0.0.1:{} 10.{}.{}.1:443 users:((\"a\",pid={pid},fd=3)) ino:{pid} sk:{pid:x} cgroup:/{n}\n", 33_000 + n, n / 250, n % 250)
    });
    let listing =
        format!("Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n{}", rows.collect::<String>());
    let census = of(&listing, &Ask { table: 100, ..ask() });
    let lost: Vec<_> = census.truncated.iter().map(|lost| format!("{:?} {}", lost.why, lost.sockets)).collect();
    assert_eq!(lost, ["DestinationsFull 5900", "CgroupsFull 1904"]);
    assert_eq!((census.destinations.of, census.cgroups.of, census.processes.of), (100, 4_096, 6_000));
}

proptest! {
    #[test]
    fn every_row_is_in_the_count(rows in prop::collection::vec((0_usize..6, 1_u16..9, 1_u16..9, 0_u32..4), 0..40)) {
        let states = ["LISTEN", "ESTAB", "TIME-WAIT", "CLOSE-WAIT", "SYN-RECV", "UNCONN"];
        let mut listing = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n".to_string();
        for (state, local, remote, pid) in &rows {
            let users = if *pid > 0 { format!(" users:((\"a\",pid={pid},fd=1))") } else { String::new() };
            listing.push_str(&format!("{} 0 0 10.0.0.1:{local} 10.0.0.2:{remote}{users}\n", states[*state]));
        }
        let mut met = 0;
        ss::rows(&listing, &mut |row| met += u64::from(row.state != State::Close));
        let census = of(&listing, &ask());
        let ns = census.namespaces.values().next().unwrap();
        // Nothing that is listed may be a filter's doing.
        prop_assert_eq!(ns.counted.value().is_some(), met > 0);
        let counted = ns.counted.value().map_or(0, |counted| counted.states.total());
        prop_assert_eq!(counted, met);
        let connected: u64 = census.destinations.rows.iter().map(|row| row.sockets()).sum();
        let listening = census.listeners.of as u64;
        prop_assert!(census.destinations.of > 10 || connected + listening == met);
    }
}

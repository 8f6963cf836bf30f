use proptest::collection::btree_set;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq};

use super::*;
use crate::limits::testing::endpoint;
use crate::snapshot::NetnsId;

fn place() -> Place {
    Place { netns: NetnsId(7), listening: [80, 443, 40_000].into_iter().collect(), ephemeral: PortRange::DEFAULT }
}

fn seen(state: State, local: &str, remote: &str) -> Seen {
    Seen {
        state: state.number(),
        small: matches!(state, State::TimeWait | State::NewSynRecv),
        local: endpoint(local),
        remote: endpoint(remote),
        inode: 0,
        cgroup: None,
    }
}

fn rows(tally: &Tally) -> Vec<String> {
    let row = |(key, of): (&Destination, &DestinationUse)| {
        alloc::format!("{:?} {} {:?}", key.service, key.tuple, of.states.iter().collect::<Vec<_>>())
    };
    tally.destinations().iter().map(row).collect()
}

#[test]
fn a_connection_stands_under_its_service_whichever_end_closed_first() {
    for (local, remote, end) in [
        (80, 50_000, End::Local),
        (50_000, 80, End::Remote),
        // The listener has gone, or it is in the range, or both ends are, or none.
        (81, 50_000, End::Local),
        (40_000, 50_000, End::Local),
        (50_000, 50_001, End::Remote),
        (179, 1_024, End::Local),
        (1_024, 179, End::Remote),
        (7_000, 7_000, End::Remote),
    ] {
        assert_eq!(place().service(local, remote), end, "{local} {remote}");
    }
    let (place, mut tally) = (place(), Tally::default());
    for _ in 0..2 {
        let mut here = tally.place(&place);
        here.add(&seen(State::TimeWait, "10.0.0.1:80", "10.0.0.2:50000"));
        here.add(&seen(State::TimeWait, "10.0.0.2:50001", "10.0.0.1:80"));
        here.add(&seen(State::Established, "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:50002"));
    }
    insta::assert_debug_snapshot!(rows(&tally), @r#"
    [
        "Local 10.0.0.2→10.0.0.1:80 [(Established, 2), (TimeWait, 2)]",
        "Remote 10.0.0.2→10.0.0.1:80 [(TimeWait, 2)]",
    ]
    "#);
    assert!(tally.lost().is_empty());
}

#[test]
fn a_flood_of_half_open_requests_is_one_row() {
    let (place, mut tally) = (place(), Tally::default());
    for last in 0..200 {
        let from = alloc::format!("203.0.113.{last}:1000");
        tally.place(&place).add(&seen(State::NewSynRecv, "10.0.0.1:443", &from));
    }
    insta::assert_debug_snapshot!(rows(&tally), @r#"
    [
        "Local 0.0.0.0→10.0.0.1:443 [(SynRecv, 200)]",
    ]
    "#);
    let counted = tally.namespaces()[&NetnsId(7)].value().unwrap();
    assert_eq!((counted.states.of(State::SynRecv), counted.small.of(State::NewSynRecv)), (200, 200));
}

#[test]
fn a_full_table_counts_what_it_could_not_take() {
    let bounds = Bounds { destinations: 3, cgroups: 1, inodes: false };
    let (place, mut tally) = (place(), Tally::new(bounds));
    let mut here = tally.place(&place);
    for last in 0..10 {
        here.add(&seen(State::Established, "10.0.0.1:443", &alloc::format!("203.0.113.{last}:50000")));
        here.add(&seen(State::TimeWait, "10.0.0.1:50000", &alloc::format!("203.0.113.{last}:443")));
        here.cgroup(last, State::Established, 1);
    }
    // A state that nobody knows yet.
    here.add(&Seen { state: 14, ..seen(State::Established, "10.0.0.1:1", "10.0.0.2:2") });
    insta::assert_debug_snapshot!(rows(&tally), @r#"
    [
        "Local 0.0.0.0→10.0.0.1:443 [(Established, 8)]",
        "Local 203.0.113.0→10.0.0.1:443 [(Established, 1)]",
        "Local 203.0.113.1→10.0.0.1:443 [(Established, 1)]",
        "Remote 10.0.0.1→203.0.113.0:443 [(TimeWait, 1)]",
    ]
    "#);
    let lost: Vec<_> = tally.lost().iter().map(|((_, why), n)| (*why, *n)).collect();
    assert_eq!(
        lost,
        [(Lost::DestinationsFull, 9), (Lost::SourcesFolded, 8), (Lost::CgroupsFull, 9), (Lost::UnknownState, 1)]
    );
    // Every socket is in a row or among the lost.
    let in_rows: u64 = tally.destinations().values().map(|of| of.states.total()).sum();
    assert_eq!((in_rows + 9, tally.namespaces()[&NetnsId(7)].value().unwrap().states.total()), (20, 20));
}

#[test]
fn a_fold_counts_the_same_whatever_gives_way_to_what() {
    let sockets = || {
        (0..4_000_u32).map(|n| {
            let from = alloc::format!("10.0.{}.{}:{}", n % 3, n * 7 % 251, 1_024 + n);
            let state = [State::Established, State::TimeWait, State::NewSynRecv][n as usize % 3];
            let ends = [("10.0.0.1:443", &*from), (&*from, "192.0.2.1:80")][n as usize % 2];
            let (inode, cgroup) = (u64::from(n % 5), Some(u64::from(n % 7)).filter(|id| *id > 0));
            Seen { inode, cgroup, ..seen(state, ends.0, ends.1) }
        })
    };
    let place = place();
    for destinations in [10, 10_000] {
        let mut tallies = [0, 1].map(|_| Tally::new(Bounds { destinations, ..Bounds::default() }));
        let mut one_by_one = tallies[0].place(&place);
        sockets().for_each(|socket| one_by_one.add(&socket));
        let mut fold = tallies[1].place(&place).fold();
        sockets().for_each(|socket| fold.add(&socket));
        drop(fold);
        let [a, b] = &tallies;
        assert_eq!(a.namespaces(), b.namespaces());
        assert_eq!(a.cgroups(), b.cgroups());
        if destinations > 1_000 {
            let states = |tally: &Tally| tally.destinations().iter().map(|(k, of)| (*k, of.states)).collect::<Vec<_>>();
            assert_eq!(states(a), states(b));
            assert!(a.lost().is_empty() && b.lost().is_empty());
        }
        for tally in [a, b] {
            let in_rows: u64 = tally.destinations().values().map(|of| of.states.total()).sum();
            let lost = tally.lost().get(&(NetnsId(7), Lost::DestinationsFull)).copied().unwrap_or(0);
            assert_eq!(in_rows + lost, 4_000);
        }
    }
}

#[test]
fn two_walks_add_up_and_one_that_failed_leaves_nothing_behind() {
    let place = place();
    let walk = |local: &str| {
        let mut tally = Tally::new(Bounds { inodes: true, ..Bounds::default() });
        let socket = Seen { inode: 9, cgroup: Some(1), ..seen(State::Established, local, "10.0.0.2:443") };
        tally.place(&place).add(&socket);
        tally
    };
    let mut both = walk("10.0.0.1:50000");
    both.merge(walk("10.0.0.1:50001"));
    assert_eq!(both.namespaces()[&NetnsId(7)].value().unwrap().states.of(State::Established), 2);
    assert_eq!(rows(&both), ["Remote 10.0.0.1→10.0.0.2:443 [(Established, 2)]"]);
    assert_eq!(both.cgroups()[&1].total(), 2);
    assert_eq!(both.take_inodes()[&State::Established], [9, 9]);
    let mut failed = walk("10.0.0.1:50000");
    failed.absent(NetnsId(7), Absent::Gone { what: "it".into() });
    both.merge(failed);
    assert!(both.namespaces()[&NetnsId(7)].absent().is_some() && both.destinations().is_empty());
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_set_of_ports_has_what_was_put_in(ports in btree_set(any::<u16>(), 0..300)) {
        let set: PortSet = ports.iter().copied().collect();
        prop_assert_eq!(set.is_empty(), ports.is_empty());
        prop_assert!((0..=u16::MAX).all(|port| set.contains(port) == ports.contains(&port)));
    }
}

#[test]
fn all_ports_are_a_set() {
    let set: PortSet = (0..=u16::MAX).collect();
    assert!((0..=u16::MAX).all(|port| set.contains(port)));
}

#[test]
fn counts_survive_json() {
    let mut counts = Counts::default();
    counts.add(State::NewSynRecv, 3);
    counts.add(State::TimeWait, u32::MAX);
    counts.add(State::TimeWait, 1);
    let text = serde_json::to_string(&counts).unwrap();
    assert_eq!(text, r#"{"SYN-RECV":3,"TIME-WAIT":4294967295}"#);
    assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
    assert!(serde_json::from_str::<Counts>(r#"{"OPEN":3}"#).is_err());
}

#[test]
fn the_backend_is_chosen_by_cost_and_by_what_is_there() {
    let no = Err(Absent::not_in_kernel("bpf(2)"));
    let first = |sockets, bpf: &Result<(), Absent>| choose(None, &sockets, bpf).0[0];
    assert_eq!(first(Reading::Present(BPF_FROM - 1), &Ok(())), Method::Netlink);
    assert_eq!(first(Reading::Present(BPF_FROM), &Ok(())), Method::Bpf);
    assert_eq!(first(Reading::Present(1_000_000), &no), Method::Netlink);
    assert_eq!(first(Reading::Absent(Absent::OneReading), &Ok(())), Method::Netlink);
    assert_eq!(choose(Some(Method::Proc), &Reading::Present(1), &no).0, [Method::Proc]);
}

#[test]
fn sockstat_agrees_when_the_count_lies_between_both_readings() {
    let mut counted = NetnsTally::default();
    for (state, small, n) in [
        (State::Listen, false, 2),
        (State::Established, false, 10),
        (State::TimeWait, true, 5),
        (State::FinWait2, true, 3),
        (State::FinWait2, false, 1),
        (State::SynRecv, true, 4),
    ] {
        counted.states.add(state, n);
        if small {
            counted.small.add(state, n);
        }
    }
    let census = |before: (u64, u64), after: (u64, u64)| NetnsCensus {
        name: "host".into(),
        counted: Reading::Present(counted),
        known: BTreeMap::new(),
        open: None,
        sockstat: Reading::Present((
            Sockstat { inuse: before.0, tw: before.1 },
            Sockstat { inuse: after.0, tw: after.1 },
        )),
        mptcp: Reading::Absent(Absent::NotNeeded),
        ephemeral: Reading::Present(PortRange::DEFAULT),
        usable_ports: None,
        listeners_absent: None,
    };
    assert!(census((13, 8), (13, 8)).differences().is_empty());
    assert!(census((20, 0), (10, 9)).differences().is_empty());
    let differences = census((14, 8), (15, 7)).differences();
    assert_eq!(differences, [Difference { value: "inuse".into(), counted: 13, sockstat: (14, 15) }]);
}

use core::time::Duration;

use super::*;
use crate::limits::testing::{
    Host, Listen, OWN, assert_clear, endpoint, no_permission, sentences, the_finding, unknowns, verdict,
};
use crate::snapshot::Pid;
use crate::trace::{Connects, Counted};

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
    let rows =
        [("10.0.0.9:5432", Some(41), 1_000, 100), ("10.0.0.9:5432", Some(42), 4_000, 50), ("10.0.0.8:80", None, 9, 0)];
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
    let small = Host::new().knob(RANGE, "40000 40009").ns(|ns| ns.sockets.ports = Reading::Present(PortUse::default()));
    insta::assert_snapshot!(sentences(&LIMIT, &probed(small, &rows)), @"
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
    insta::assert_snapshot!(sentences(&LIMIT, &host), @"
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
    insta::assert_snapshot!(sentences(&LIMIT, &host), @"
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
    insta::assert_snapshot!(sentences(&LIMIT, &host), @"
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
    insta::assert_snapshot!(sentences(&LIMIT, &host), @"
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
    insta::assert_snapshot!(sentences(&LIMIT, &host), @"
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
    let host = busy(most, most).knob(RESERVED, &["1-65535"; 70_000].join(",")).grew("Tcp.ActiveOpens", u64::MAX / 2);
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

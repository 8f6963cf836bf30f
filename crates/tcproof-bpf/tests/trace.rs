//! Each probe sees what was caused for it in a namespace of the test's own, to the last event; and is gone afterwards.
//!
//! Needs root and eBPF; says `SKIP` without.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use tcproof_bpf::Refused;
use tcproof_bpf::trace::Probes;
use tcproof_core::snapshot::NetnsId;
use tcproof_core::trace::{Counted, Trace};
use tcproof_core::{Absent, Reading};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl, sysctl};

use common::{PATIENCE, note, skip};

/// The probes, or none, and says so, where they can't be tried. A probe that this kernel should have and refuses is a
/// failure.
fn probes() -> Option<Probes> {
    if let Err(why) = require_root() {
        skip(&why);
        return None;
    }
    let probes = Probes::load();
    for (name, refused) in probes.states() {
        match refused {
            None => {}
            Some(why @ (Refused::Rejected { .. } | Refused::Failed { .. })) => panic!("{name}: {why}\n{}", why.log()),
            // Since 6.2.
            Some(Refused::Missing { .. }) if name == "arrivals" => note("arrivals: no such tracepoint"),
            Some(why @ Refused::Missing { .. }) => panic!("{name}: {why}\n{}", why.log()),
            Some(why) => {
                skip(&why.to_string());
                return None;
            }
        }
    }
    Some(probes)
}

fn namespace() -> Netns {
    let ns = Netns::new().unwrap();
    ns.run_in(|| {
        rtnl::up("lo").unwrap();
        // Loopback gives back ports in TIME_WAIT by default.
        sysctl::write("net.ipv4.tcp_tw_reuse", "0").unwrap();
    })
    .unwrap();
    ns
}

/// What was counted in a namespace.
fn rows<T: Clone>(table: &Reading<Counted<T>>, netns: impl Fn(&T) -> NetnsId, ns: &Netns) -> Vec<T> {
    let table = table.value().unwrap();
    assert_eq!(table.lost, 0);
    table.rows.iter().filter(|row| netns(row) == NetnsId(ns.inode())).cloned().collect()
}

fn traced(probes: &mut Probes, ns: &Netns, work: impl FnOnce() + Send) -> Trace {
    probes.attach();
    ns.run_in(work).unwrap();
    let trace = probes.detach();
    // What happens later is nobody's.
    assert_eq!(trace, probes.detach());
    trace
}

#[test]
fn a_connect_that_finds_no_port_has_a_process_and_a_destination() {
    let Some(mut probes) = probes() else { return };
    for at in ["127.0.0.1:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
        let ns = namespace();
        let to: SocketAddr = at.parse().unwrap();
        let trace = traced(&mut probes, &ns, move || {
            sysctl::write("net.ipv4.ip_local_port_range", "40000 40009").unwrap();
            let _listener = TcpListener::bind(to).unwrap();
            let mut held = Vec::new();
            for n in 0..13 {
                match TcpStream::connect(to) {
                    Ok(stream) => held.push(stream),
                    Err(error) => assert!(error.kind() == ErrorKind::AddrNotAvailable && n >= 10, "{n}: {error}"),
                }
            }
            // Refused by a reset: it had a port.
            drop(held);
        });
        let rows = rows(&trace.connects, |row| row.netns, &ns);
        assert_eq!(rows.len(), 1, "{rows:#?}");
        let row = &rows[0];
        assert_eq!((row.tried, row.refused), (13, 3), "{row:?}");
        assert_eq!(row.pid, Some(std::process::id()));
        assert_eq!(row.destination.port, 8080);
        assert_eq!(row.destination.addr, to.ip().to_canonical());
        assert_eq!(row.source, to.ip().to_canonical());
        assert!(!row.comm.is_empty());
        probes = Probes::load();
    }
}

#[test]
fn a_connect_that_is_reset_or_given_up_had_a_port() {
    let Some(mut probes) = probes() else { return };
    let ns = namespace();
    let trace = traced(&mut probes, &ns, || {
        for _ in 0..5 {
            assert_eq!(TcpStream::connect("127.0.0.1:9").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        rtnl::add_address("lo", "10.9.9.1".parse().unwrap(), 24).unwrap();
        rtnl::add_blackhole("10.8.0.0".parse().unwrap(), 16).unwrap();
        assert!(TcpStream::connect("10.8.0.1:80").is_err());
    });
    let connects = rows(&trace.connects, |row| row.netns, &ns);
    assert_eq!(connects.iter().map(|row| (row.tried, row.refused)).collect::<Vec<_>>(), [(5, 0)], "{connects:#?}");

    let drops = rows(&trace.drops, |row| row.netns, &ns);
    let closed: Vec<_> =
        drops.iter().filter(|row| row.reason == "NO_SOCKET").map(|row| (row.port, row.packets)).collect();
    assert_eq!(closed, [(9, 5)], "{drops:#?}");

    // Each reset is the end of a connection that has a port of its own.
    let resent = rows(&trace.resent, |row| row.netns, &ns);
    assert_eq!(resent.iter().map(|row| row.aborted).sum::<u64>(), 5, "{resent:#?}");
    assert!(resent.iter().all(|row| row.remote.port == 9 && row.data == 0 && row.syn == 0), "{resent:#?}");
}

#[test]
fn a_queue_is_measured_at_each_arrival() {
    let Some(mut probes) = probes() else { return };
    // One that is there, and not heard of in the end, is a failure.
    if probes.states().any(|(name, why)| name == "arrivals" && why.is_some()) {
        return;
    }
    let ns = namespace();
    let trace = traced(&mut probes, &ns, || {
        sysctl::write("net.core.somaxconn", "2").unwrap();
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8081)).unwrap();
        let mut held: Vec<_> = (0..3).map(|_| TcpStream::connect("127.0.0.1:8081").unwrap()).collect();
        for _ in 0..3 {
            held.push(listener.accept().unwrap().0);
        }
        held.push(TcpStream::connect("[::1]:8081").unwrap());
    });
    let rows = rows(&trace.arrivals, |row| row.netns, &ns);
    // 1, 2, 3 and, when they have been accepted, 1: the third is the one more that a queue takes.
    let seen: Vec<_> = rows.iter().map(|row| (row.port, row.arrived, row.queued, row.longest, row.full)).collect();
    assert_eq!(seen, [(8081, 4, 7, 3, 1)]);
}

#[test]
fn what_is_sent_again_has_a_connection() {
    let Some(mut probes) = probes() else { return };
    let ns = namespace();
    let before = std::sync::Mutex::new(0);
    let trace = traced(&mut probes, &ns, || {
        // Somebody who answers to nothing: the address is there, and what is sent to it goes nowhere.
        sysctl::write("net.ipv4.tcp_syn_retries", "2").unwrap();
        rtnl::add_address("lo", "10.9.9.1".parse().unwrap(), 24).unwrap();
        let here = Netns::new().unwrap();
        rtnl::veth_pair("out", "in", here.fd()).unwrap();
        rtnl::add_address("out", "10.7.0.1".parse().unwrap(), 24).unwrap();
        rtnl::up("out").unwrap();
        here.run_in(|| {
            rtnl::add_address("in", "10.7.0.2".parse().unwrap(), 24).unwrap();
            rtnl::up("in").unwrap();
            rtnl::add_blackhole("10.7.0.1".parse().unwrap(), 32).unwrap();
            rtnl::wait_until_running("in", PATIENCE).unwrap();
        })
        .unwrap();
        // What a link drops that does not run yet is passed by the tracepoint, and not counted.
        rtnl::wait_until_running("out", PATIENCE).unwrap();
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let _ = rustix::net::connect(socket.as_fd(), &"10.7.0.2:80".parse::<SocketAddr>().unwrap());
        sleep(Duration::from_millis(2_500));
        let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
        *before.lock().unwrap() = counter(&text, "TCPSynRetrans");
    });
    let resent = rows(&trace.resent, |row| row.netns, &ns);
    let counted = *before.lock().unwrap();
    assert!(counted > 0);
    assert_eq!(resent.iter().map(|row| row.syn).sum::<u64>(), counted, "{resent:#?}");
    assert!(resent.iter().all(|row| row.remote.to_string() == "10.7.0.2:80"), "{resent:#?}");
}

/// A handshake whose way back leads nowhere at first, and whose last ACK finds the queue filled by others meanwhile.
#[test]
fn who_is_reset_by_a_full_queue_is_told_by_its_address() {
    let Some(mut probes) = probes() else { return };
    let ns = namespace();
    let ended = std::sync::Mutex::new(0);
    let [client, server, nowhere]: [IpAddr; 3] = ["10.7.0.1", "10.7.0.2", "10.6.0.1"].map(|text| text.parse().unwrap());
    let trace = traced(&mut probes, &ns, || {
        let clients = Netns::new().unwrap();
        for (here, there, address) in [("in", "out", server), ("void", "unanswered", nowhere)] {
            rtnl::veth_pair(here, there, clients.fd()).unwrap();
            rtnl::add_address(here, address, 24).unwrap();
            rtnl::up(here).unwrap();
        }
        for (knob, value) in [("tcp_abort_on_overflow", "1"), ("conf.all.rp_filter", "0"), ("conf.in.rp_filter", "0")] {
            sysctl::write(&format!("net.ipv4.{knob}"), value).unwrap();
        }
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8082)).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        rtnl::add_route(client, 32, "10.6.0.9".parse().unwrap()).unwrap();
        let connect = || {
            for link in ["out", "unanswered"] {
                rtnl::up(link).unwrap();
                rtnl::wait_until_running(link, PATIENCE).unwrap();
            }
            rtnl::add_address("out", client, 24).unwrap();
            let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
            let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::NONBLOCK, None).unwrap();
            let _ = rustix::net::connect(socket.as_fd(), &SocketAddr::new(server, 8082));
            socket
        };
        let _waiting = clients.run_in(connect).unwrap();
        // One in SYN_RECV, before there is no room for it.
        let is_half_open = || {
            let text = std::fs::read_to_string("/proc/thread-self/net/tcp6").unwrap();
            text.lines().any(|line| line.split_whitespace().nth(3) == Some("03"))
        };
        let begun = std::time::Instant::now();
        while !is_half_open() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10));
        }
        let _held: Vec<_> = (0..2).map(|_| TcpStream::connect("127.0.0.1:8082").unwrap()).collect();
        rtnl::delete_route(client, 32).unwrap();
        while *ended.lock().unwrap() == 0 && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50));
            let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
            *ended.lock().unwrap() = counter(&text, "EmbryonicRsts");
        }
    });
    let resent = rows(&trace.resent, |row| row.netns, &ns);
    // The listener is there for both families, and has no other end. Whom SYN-ACKs reach twice answers twice, and is reset twice.
    let resets = resent.iter().filter(|row| row.local.port == 8082 && row.resets > 0);
    let ends: Vec<_> = resets.map(|row| (row.local.to_string(), row.remote.to_string())).collect();
    assert_eq!(*ended.lock().unwrap(), 1);
    assert_eq!(ends, [("10.7.0.2:8082".to_string(), "10.7.0.1:0".to_string())], "{resent:#?}");
}

fn counter(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|it| it == name).unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn without_permission_every_reading_is_absent_for_one_reason() {
    if !rustix::process::geteuid().is_root() {
        return refused();
    }
    assert!(common::alone("a_child_without_capabilities", "1").success());
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn a_child_without_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
    refused();
}

fn refused() {
    let mut probes = Probes::load();
    probes.attach();
    let trace = probes.detach();
    match trace.connects.absent().unwrap() {
        Absent::Permission { needs, .. } => assert!(needs.contains("CAP_PERFMON"), "{needs}"),
        Absent::NotInKernel { .. } => {}
        other => panic!("{other}"),
    }
    assert_eq!(trace, Trace::absent(trace.connects.absent().unwrap()));
}

#[test]
fn who_is_killed_leaves_no_probe_behind() {
    if probes().is_none() {
        return;
    }
    common::killed_leaves_no_program("a_child_that_waits", 5);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn a_child_that_waits() {
    let mut probes = Probes::load();
    probes.attach();
    println!("ready");
    sleep(PATIENCE * 3);
}

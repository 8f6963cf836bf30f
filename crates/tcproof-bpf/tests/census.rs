//! The walk against netlink, socket by socket, on tables that hold still; and on one that does not.
//!
//! Needs root and eBPF; says `SKIP` without.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcproof_bpf::files::{Files, Holding};
use tcproof_bpf::walk::{Walk, With};
use tcproof_bpf::{BpfBackend, BpfHolders, Refused};
use tcproof_core::Reading;
use tcproof_core::census::{Backend, Bounds, End, Held, Holders, Method, Place, PortRange, PortSet, Seen, Tally};
use tcproof_core::snapshot::NetnsId;
use tcproof_core::states::State;
use tcproof_host::diag::{Diag, Request, States};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::spoof::SynFlood;
use tcproof_lab::kit::{require_root, rtnl, sysctl};

use common::{CHILD, PATIENCE, skip};

/// Where the half-open requests go.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const FORGED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Descriptors that a test may have open.
const FILES: u64 = 16_384;

/// None, and says so, where this can't be tried.
fn walk() -> Option<Walk> {
    if let Err(why) = require_root() {
        skip(&why);
        return None;
    }
    match Walk::load() {
        Ok(walk) => Some(walk),
        Err(why @ (Refused::Rejected { .. } | Refused::Missing { .. })) => panic!("{why}\n{}", why.log()),
        Err(why) => {
            skip(&why.to_string());
            None
        }
    }
}

/// A namespace, and one beside it from which requests come that nobody answers.
struct Lab {
    server: Netns,
    client: Netns,
}

impl Lab {
    /// `buckets`: of a table of its own, or none: the one that the machine shares.
    fn new(buckets: Option<u32>) -> Self {
        // As many as the hard limit allows, which on some machines is 4096 at first; not every root may raise it.
        let files = getrlimit(Resource::Nofile);
        let more = files.maximum.map(|most| most.max(FILES));
        let raised = setrlimit(Resource::Nofile, Rlimit { current: more, maximum: more });
        raised.or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })).unwrap();
        let parent = Netns::new().unwrap();
        let server = match buckets {
            Some(buckets) => parent
                .run_in(|| {
                    sysctl::write("net.ipv4.tcp_child_ehash_entries", &buckets.to_string()).unwrap();
                    Netns::new().unwrap()
                })
                .unwrap(),
            None => parent,
        };
        let client = Netns::new().unwrap();
        server
            .run_in(|| {
                rtnl::up("lo").unwrap();
                rtnl::veth_pair("here", "there", client.fd()).unwrap();
                rtnl::add_address("here", SERVER.into(), 24).unwrap();
                rtnl::up("here").unwrap();
                sysctl::write("net.ipv4.tcp_syncookies", "0").unwrap();
                // Of a table of its own, half its buckets.
                sysctl::write("net.ipv4.tcp_max_tw_buckets", "100000").unwrap();
                // Loopback gives back ports in TIME_WAIT by default.
                sysctl::write("net.ipv4.tcp_tw_reuse", "0").unwrap();
            })
            .unwrap();
        client
            .run_in(|| {
                rtnl::add_address("there", CLIENT.into(), 24).unwrap();
                rtnl::up("there").unwrap();
                rtnl::wait_until_running("there", PATIENCE).unwrap();
            })
            .unwrap();
        // What one end drops meanwhile may be an answer to ARP, which costs a second.
        server.run_in(|| rtnl::wait_until_running("here", PATIENCE).unwrap()).unwrap();
        server.run_in(|| rtnl::add_route(FORGED.into(), 15, CLIENT.into()).unwrap()).unwrap();
        Self { server, client }
    }

    fn place(&self, listening: &[u16]) -> Place {
        let listening = listening.iter().copied().collect();
        Place { netns: NetnsId(self.server.inode()), listening, ephemeral: PortRange::DEFAULT }
    }
}

/// Connections of one listener, and what holds them.
struct Crowd {
    listener: TcpListener,
    held: Vec<TcpStream>,
}

/// Connects `each` times for every way to end: not at all, the client first, the server first, half closed by the server,
/// orphaned by the client. The thread is in the namespace.
fn crowd(at: &str, from: &str, each: usize) -> Crowd {
    let listener = TcpListener::bind(at).unwrap();
    let to = SocketAddr::new(from.parse().unwrap(), listener.local_addr().unwrap().port());
    let mut held = Vec::new();
    for _ in 0..each {
        for way in 0..5 {
            let client = TcpStream::connect(to).unwrap();
            let (server, _) = listener.accept().unwrap();
            match way {
                0 => held.extend([client, server]),
                1 => {
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    drop(client);
                    drop(server);
                }
                2 => {
                    drop(server);
                    drop(client);
                }
                3 => {
                    server.shutdown(std::net::Shutdown::Write).unwrap();
                    held.extend([client, server]);
                }
                _ => {
                    // FIN_WAIT2 that nobody holds: the kernel keeps it as a small one.
                    drop(client);
                    held.push(server);
                }
            }
        }
    }
    Crowd { listener, held }
}

fn port(crowd: &Crowd) -> u16 {
    crowd.listener.local_addr().unwrap().port()
}

/// One socket in words, for sorting and for reading what differs.
fn words(seen: &Seen) -> String {
    let Seen { state, small, local, remote, inode, cgroup } = seen;
    // A half-open request is SYN_RECV to netlink.
    let state = if *state == State::NewSynRecv.number() { State::SynRecv.number() } else { *state };
    format!("{local} {remote} state {state} small {small} inode {inode} cgroup {cgroup:?}")
}

fn by_netlink(netns: &Netns, each: &mut (dyn FnMut(&Seen) + Send)) {
    let work = || {
        let mut diag = Diag::open().unwrap();
        diag.dump(&Request::tcp(States::ALL_BUT_LISTEN), |socket| {
            each(&Seen {
                state: socket.state(),
                small: socket.is_time_wait() || socket.is_small_fin_wait2() || socket.is_request(),
                local: socket.local(),
                remote: socket.remote(),
                inode: socket.inode(),
                cgroup: socket.cgroup_id(),
            });
        })
        .unwrap();
    };
    netns.run_in(work).unwrap();
}

fn all_by_netlink(netns: &Netns) -> Vec<String> {
    let mut all = Vec::new();
    by_netlink(netns, &mut |seen| all.push(words(seen)));
    all.sort();
    all
}

fn all_by_walk(walk: &Walk, netns: &Netns, only: bool, threads: usize) -> Vec<String> {
    let inode = u32::try_from(netns.inode()).unwrap();
    let namespace = walk.namespace(inode).unwrap().expect("it is there");
    let with = With { cgroups: true, inodes: true };
    let only = only.then_some(&namespace);
    let fold = |all: &mut Vec<String>, met: &tcproof_bpf::walk::Met| {
        if met.netns == inode {
            all.push(words(&met.seen()));
        }
    };
    let (parts, pass) = walk.fold(&namespace.table, only, with, threads, Vec::new, fold).unwrap();
    assert_eq!(pass.astray, 0);
    let mut all = parts.concat();
    all.sort();
    all
}

/// Until two looks by netlink are the same.
fn still(netns: &Netns) -> Vec<String> {
    let start = Instant::now();
    let mut last = all_by_netlink(netns);
    loop {
        sleep(Duration::from_millis(100));
        let now = all_by_netlink(netns);
        if now == last {
            return now;
        }
        assert!(start.elapsed() < PATIENCE, "the table does not hold still");
        last = now;
    }
}

fn tally_by_netlink(netns: &Netns, place: &Place, bounds: Bounds) -> Tally {
    let mut tally = Tally::new(bounds);
    let mut here = tally.place(place);
    by_netlink(netns, &mut |seen| here.add(seen));
    tally
}

fn counted(tally: &Tally, netns: NetnsId) -> [Vec<(State, u32)>; 2] {
    match tally.namespaces().get(&netns) {
        Some(Reading::Present(of)) => [of.states.iter().collect(), of.small.iter().collect()],
        other => panic!("{other:?}"),
    }
}

/// Every row in words. Which of its sockets a row names depends on the order of the walk; that it names one does not.
fn rows(tally: &Tally) -> Vec<String> {
    let row = |(key, of): (&_, &tcproof_core::census::DestinationUse)| {
        format!("{key:?} {:?}", of.states.iter().collect::<Vec<_>>())
    };
    tally.destinations().iter().map(row).collect()
}

fn agree(buckets: Option<u32>) {
    let Some(walk) = walk() else { return };
    let lab = Lab::new(buckets);
    let crowds = lab
        .server
        .run_in(|| {
            [
                crowd("0.0.0.0:0", "127.0.0.1", 200),
                crowd("127.0.0.2:0", "127.0.0.2", 100),
                crowd("[::1]:0", "::1", 100),
                // One socket for both families: its IPv4 connections are v4-mapped ones of IPv6.
                crowd("[::]:0", "127.0.0.3", 100),
                crowd("0.0.0.0:0", "127.0.0.1", 0),
            ]
        })
        .unwrap();
    let flood = SynFlood {
        target: SocketAddrV4::new(SERVER, port(&crowds[4])),
        sources: FORGED,
        prefix: 15,
        rate: 2_000,
        count: 50,
        within: PATIENCE,
        seed: 3,
    };
    assert_eq!(lab.client.run_in(|| flood.run(|| false)).unwrap().unwrap(), 50);

    let by_netlink = still(&lab.server);
    assert!(by_netlink.len() > 4_000, "{}", by_netlink.len());
    let place = lab.place(&crowds.each_ref().map(port));
    // TIME_WAIT stands under its service, whichever end closed first.
    let all = tally_by_netlink(&lab.server, &place, Bounds::default());
    let of = |port: u16, end: End| -> u32 {
        let rows = all.destinations().iter();
        let rows = rows.filter(|(key, _)| key.tuple.destination.port == port && key.service == end);
        rows.map(|(_, of)| of.states.of(State::TimeWait)).sum()
    };
    for (crowd, each) in crowds.iter().zip([200, 100, 100, 100, 0]) {
        // Some end at both ends at once, on a slow machine more: then both are in TIME_WAIT.
        let both = (of(port(crowd), End::Remote), of(port(crowd), End::Local));
        assert!(both.0 >= each && both.1 >= each, "{both:?}");
    }

    for (only, threads) in [(true, 1), (false, 1), (true, 2), (false, 8)] {
        let by_walk = all_by_walk(&walk, &lab.server, only, threads);
        let differ: Vec<_> = by_netlink.iter().zip(&by_walk).filter(|(a, b)| a != b).take(3).collect();
        assert_eq!(by_netlink.len(), by_walk.len(), "{differ:?}");
        assert!(by_netlink == by_walk, "{differ:?}");
    }

    // The counts are the same: with bounds that hold all, and with such as don't.
    let mut backend = BpfBackend::load(2).unwrap();
    assert_eq!(backend.method(), Method::Bpf);
    for bounds in [Bounds::default(), Bounds { inodes: true, ..Bounds::default() }] {
        let mut by_netlink = tally_by_netlink(&lab.server, &place, bounds);
        // Beside another one; then the walk is of all of them.
        let gone = Place { netns: NetnsId(1), ..place.clone() };
        for places in [vec![place.clone()], vec![gone, place.clone()]] {
            let mut tally = Tally::new(bounds);
            backend.count(&places, &mut tally).unwrap();
            assert_eq!(counted(&tally, place.netns), counted(&by_netlink, place.netns));
            assert_eq!(rows(&tally), rows(&by_netlink));
            assert_eq!(tally.cgroups(), by_netlink.cgroups());
            assert_eq!((tally.lost().len(), by_netlink.lost().len()), (0, 0));
            assert_eq!(tally.namespaces().len(), places.len());
            assert!(places.len() == 1 || tally.namespaces()[&NetnsId(1)].absent().is_some());
            if bounds.inodes {
                let mut by_netlink = tally_by_netlink(&lab.server, &place, bounds);
                assert_eq!(tally.take_inodes(), by_netlink.take_inodes());
            }
        }
        by_netlink.take_inodes();
    }
    let narrow = Bounds { destinations: 2, cgroups: 0, inodes: false };
    let by_netlink = tally_by_netlink(&lab.server, &place, narrow);
    let mut tally = Tally::new(narrow);
    backend.count(std::slice::from_ref(&place), &mut tally).unwrap();
    assert_eq!(counted(&tally, place.netns), counted(&by_netlink, place.netns));
    let lost = |tally: &Tally| tally.lost().values().sum::<u64>();
    assert!(lost(&tally) > 0 && lost(&by_netlink) > 0, "what did not fit is said");

    assert!(crowds.iter().map(|crowd| crowd.held.len()).sum::<usize>() > 2_000);
}

#[test]
fn the_walk_of_the_shared_table_meets_what_netlink_has() {
    agree(None);
}

/// Long chains: about ten sockets each.
#[test]
fn the_walk_of_a_namespaces_own_table_meets_what_netlink_has() {
    agree(Some(512));
}

/// All of them in so few chains that several buffers are filled by one call's buckets.
#[test]
fn the_walk_of_very_long_chains_meets_what_netlink_has() {
    agree(Some(16));
}

/// More in one group of chains than a buffer takes: it is met in parts.
#[test]
fn chains_that_fill_a_buffer_are_met_whole() {
    let Some(walk) = walk() else { return };
    let lab = Lab::new(Some(16));
    let listener = lab.server.run_in(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let close = || drop((TcpStream::connect(to).unwrap(), listener.accept().unwrap()));
    lab.server.run_in(|| (0..12_000).for_each(|_| close())).unwrap();
    let by_netlink = still(&lab.server);
    assert!(by_netlink.len() > 11_000, "{}", by_netlink.len());
    for only in [true, false] {
        assert!(all_by_walk(&walk, &lab.server, only, 1) == by_netlink);
    }
}

#[test]
fn established_connections_are_exact_beside_others_that_come_and_go() {
    let Some(walk) = walk() else { return };
    let (quiet, busy) = (Lab::new(None), Lab::new(None));
    let held = quiet
        .server
        .run_in(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = listener.local_addr().unwrap();
            let connect = |_| (TcpStream::connect(to).unwrap(), listener.accept().unwrap());
            (0..1_000).map(connect).collect::<Vec<_>>()
        })
        .unwrap();
    let stop = AtomicBool::new(false);
    let walks = scope(|scope| {
        scope.spawn(|| {
            let churn = || {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let to = listener.local_addr().unwrap();
                // Bounded: no more than the ports of one address.
                for _ in 0..20_000 {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    drop((TcpStream::connect(to).unwrap(), listener.accept().unwrap()));
                }
            };
            busy.server.run_in(churn).unwrap();
        });
        let walks: Vec<_> = (0..30).map(|round| all_by_walk(&walk, &quiet.server, round % 2 == 0, 2)).collect();
        stop.store(true, Ordering::Relaxed);
        walks
    });
    let first: BTreeSet<_> = walks[0].iter().collect();
    assert_eq!(first.len(), 2 * held.len());
    assert!(walks.iter().all(|walk| *walk == walks[0]), "a walk differs");
}

#[test]
fn a_namespace_that_is_gone_is_said_so() {
    let Some(walk) = walk() else { return };
    let lab = Lab::new(Some(64));
    let inode = u32::try_from(lab.server.inode()).unwrap();
    let place = lab.place(&[]);
    let namespace = walk.namespace(inode).unwrap().expect("it is there");
    assert_eq!(namespace.table.buckets, 64);
    assert!(walk.namespaces().unwrap().contains(&namespace));
    drop(lab);
    // Taken apart by a worker of the kernel.
    let start = Instant::now();
    while walk.namespace(inode).unwrap().is_some() && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(50));
    }
    let mut tally = Tally::new(Bounds::default());
    BpfBackend::load(1).unwrap().count(std::slice::from_ref(&place), &mut tally).unwrap();
    assert_eq!(
        tally.namespaces()[&place.netns].absent().map(ToString::to_string),
        Some(format!("network namespace {} went away while it was watched", place.netns))
    );
    // What was learned of it before leads to freed memory, or to what another namespace keeps there by now: none of its own
    // is met, and nothing goes wrong.
    let fold = |n: &mut u32, met: &tcproof_bpf::walk::Met| *n += u32::from(met.netns == inode);
    let (parts, pass) = walk.fold(&namespace.table, Some(&namespace), With::default(), 1, || 0, fold).unwrap();
    assert_eq!(parts, [0], "{pass:?}");
}

/// Beyond the descriptors that one call reads.
const FAR: i32 = 3000;
/// More than the buffer holds, which a call fills for the next one to go on.
const MANY: usize = 4000;

/// As `/proc/PID/fd` has them.
fn sockets_of(pid: u32) -> BTreeSet<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets = entries.filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        target.to_str()?.starts_with("socket:[").then(|| entry.file_name().to_str()?.parse().ok())?
    });
    sockets.collect()
}

#[test]
fn descriptors_are_those_of_proc() {
    if walk().is_none() {
        return;
    }
    let lab = Lab::new(None);
    if getrlimit(Resource::Nofile).current.is_some_and(|most| most < FILES) {
        return skip(&format!("it needs {FILES} descriptors"));
    }
    let crowds = lab
        .server
        .run_in(|| {
            [crowd("127.0.0.1:0", "127.0.0.1", 30), crowd("[::1]:0", "::1", 20), crowd("[::]:0", "127.0.0.1", 1)]
        })
        .unwrap();
    // Many more, so far up in the table that other calls have to read them.
    let far: Vec<_> = (0..MANY).map(|_| rustix::io::fcntl_dupfd_cloexec(&crowds[0].held[0], FAR).unwrap()).collect();
    // The same socket in another process too.
    let mut child = lab.server.run_in(|| holder(&crowds[0])).unwrap();
    let files = Files::load().unwrap_or_else(|why| panic!("{why}\n{}", why.log()));
    let here = u32::try_from(lab.server.inode()).unwrap();
    let mut held = Vec::<Holding>::new();
    files.for_each(|holding| held.extend((holding.netns == here).then_some(*holding))).unwrap();
    let (own, other) = (std::process::id(), child.id());
    let of = |pid: u32| held.iter().filter(move |one| one.pid == pid);
    let own_sockets: BTreeSet<_> = of(own).map(|one| one.fd).collect();
    let in_proc = sockets_of(own);
    // Other tests hold sockets of other namespaces at the same time.
    assert!(own_sockets.is_subset(&in_proc));
    let expected = crowds.iter().map(|crowd| crowd.held.len() + 1).sum::<usize>() + MANY;
    assert_eq!(of(own).count(), expected);
    assert!(far.iter().all(|far| own_sockets.contains(&far.as_raw_fd().unsigned_abs()) && far.as_raw_fd() >= FAR));
    // Its standard input.
    assert_eq!(of(other).map(|one| one.fd).collect::<Vec<_>>(), [0]);
    assert!(of(own).any(|one| one.state == State::Listen.number() && one.protocol == 6));

    let place = lab.place(&crowds.each_ref().map(port));
    let mut counted = Held::default();
    BpfHolders::load().unwrap().count(std::slice::from_ref(&place), &mut counted).unwrap();
    let total: u64 = counted.processes[&own].total();
    assert_eq!(usize::try_from(total).unwrap(), expected);
    assert_eq!(counted.processes[&own].of(State::Listen), 3);
    assert_eq!(counted.processes[&own].of(State::Established) as usize, 2 * 51 + MANY);
    assert_eq!(counted.processes[&other].total(), 1);
    assert_eq!(counted.processes.len(), 2, "{:?}", counted.processes);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A process that has the crowd's first connection as its standard input, until that has something to read.
fn holder(crowd: &Crowd) -> std::process::Child {
    let stdin = Stdio::from(std::os::fd::OwnedFd::from(crowd.held[0].try_clone().unwrap()));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holds_its_standard_input", "--ignored"]).env(CHILD, "1");
    command.stdin(stdin).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn holds_its_standard_input() {
    if std::env::var_os(CHILD).is_some() {
        let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn walks_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut backend = BpfBackend::load(2).unwrap();
    let place = Place { netns: NetnsId(1), listening: PortSet::default(), ephemeral: PortRange::DEFAULT };
    println!("ready");
    loop {
        let _ = backend.count(&[place.clone(), place.clone()], &mut Tally::new(Bounds::default()));
    }
}

#[test]
fn a_killed_process_leaves_no_program_behind() {
    if walk().is_none() {
        return;
    }
    common::killed_leaves_no_program("walks_until_it_is_killed", 2);
}

//! The kit on the running kernel. Every test makes namespaces of its own; without root each prints `SKIP` and why.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::netns::Netns;
use super::spoof::SynFlood;
use super::tun::Tun;
use super::{Error, Result, conntrack, fastopen, netns, nft, require_root, rtnl, sockdiag, sysctl};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(5);

/// A client's and a server's namespace with a veth pair between them.
struct Pair {
    client: Netns,
    server: Netns,
}

impl Pair {
    fn new() -> Result<Self> {
        let fail = |e| Error::kernel("make a namespace", e);
        let pair = Self { client: Netns::new().map_err(fail)?, server: Netns::new().map_err(fail)? };
        inside(&pair.client, || {
            rtnl::veth_pair("veth-c", "veth-s", pair.server.fd())?;
            configure("veth-c", CLIENT, CLIENT6)
        })?;
        inside(&pair.server, || configure("veth-s", SERVER, SERVER6))?;
        inside(&pair.client, || rtnl::wait_until_running("veth-c", PATIENCE))?;
        inside(&pair.server, || rtnl::wait_until_running("veth-s", PATIENCE))?;
        Ok(pair)
    }
}

fn configure(link: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
    rtnl::up("lo")?;
    rtnl::add_address(link, v4.into(), 24)?;
    rtnl::add_address(link, v6.into(), 64)?;
    rtnl::up(link)
}

fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    netns.run_in(work).expect("the namespace can be entered")
}

fn listen(pair: &Pair, address: impl Into<IpAddr>) -> TcpListener {
    let address = SocketAddr::new(address.into(), 0);
    inside(&pair.server, || TcpListener::bind(address)).expect("the address is the server's")
}

fn connect(pair: &Pair, to: SocketAddr) -> io::Result<TcpStream> {
    inside(&pair.client, || TcpStream::connect_timeout(&to, PATIENCE))
}

/// One connection that carries a byte each way and is closed by the client.
fn converse(pair: &Pair, listener: &TcpListener) {
    let mut client = connect(pair, listener.local_addr().expect("bound")).expect("the server listens");
    let (mut server, _) = listener.accept().expect("a connection waits");
    client.write_all(b"?").expect("connected");
    server.read_exact(&mut [0]).expect("one byte comes");
    server.write_all(b"!").expect("connected");
    client.read_exact(&mut [0]).expect("one byte comes back");
}

/// Whether the test cannot run; says so.
fn skipped(name: &str) -> bool {
    if let Err(reason) = require_root() {
        println!("SKIP {name}: {reason}");
        return true;
    }
    false
}

/// The value, unless this kernel lacks the facility; then the test says so and ends.
macro_rules! or_skip {
    ($name:literal, $result:expr) => {
        match $result {
            Err(Error::Unsupported(reason)) => {
                println!("SKIP {}: not in this kernel: {reason}", $name);
                return;
            }
            result => result.expect("it works where the kernel has it"),
        }
    };
}

#[test]
fn joined_namespaces_connect_over_ipv4_and_ipv6() {
    if skipped("joined_namespaces_connect_over_ipv4_and_ipv6") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    converse(&pair, &listen(&pair, SERVER));
    converse(&pair, &listen(&pair, SERVER6));
    // The caller stayed where it was.
    let here = netns::current_inode().expect("procfs");
    assert!(here != pair.client.inode() && here != pair.server.inode());
    assert_eq!(inside(&pair.server, netns::current_inode).expect("procfs"), pair.server.inode());
}

#[test]
fn a_namespace_is_entered_by_its_path_and_the_own_one_is_refused() {
    if skipped("a_namespace_is_entered_by_its_path_and_the_own_one_is_refused") {
        return;
    }
    let netns = Netns::new().expect("root may make one");
    let path = netns.file();
    let entered = std::thread::scope(|s| {
        s.spawn(|| netns::enter(&path).and_then(|()| netns::current_inode())).join().expect("no panic")
    });
    assert_eq!(entered.expect("root may enter"), netns.inode());
    assert!(netns::enter("/proc/thread-self/ns/net".as_ref()).is_err());
    assert!(netns::enter("/proc/1/ns/net".as_ref()).is_err());
}

#[test]
fn a_panic_inside_a_namespace_goes_on_outside() {
    if skipped("a_panic_inside_a_namespace_goes_on_outside") {
        return;
    }
    let netns = Netns::new().expect("root may make one");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| netns.run_in(|| panic!("on purpose"))));
    assert!(caught.is_err());
}

#[test]
fn the_kit_changes_nothing_outside_its_namespaces() {
    let refused = [
        rtnl::up("lo"),
        rtnl::set_mtu("lo", 1500),
        rtnl::add_address("lo", CLIENT.into(), 32),
        rtnl::add_blackhole(CLIENT.into(), 32),
        rtnl::limit_rate("lo", 1, 1, 1),
        rtnl::set_queue_length("lo", 1),
        Tun::new("tun").map(drop),
        fastopen::listen(&io::stdin(), 1),
        nft::track(),
        nft::firewall(),
        nft::notrack(None),
        nft::remove(),
        conntrack::fill(1, 0).map(drop),
        conntrack::delete(1, 0).map(drop),
        conntrack::flush(),
        sockdiag::destroy_all().map(drop),
        sysctl::write("net.core.somaxconn", "1"),
    ];
    for result in refused {
        // Adding an address needs the index of `lo` first, which is harmless.
        assert!(matches!(result, Err(Error::Refused(_))), "{result:?}");
    }
}

#[test]
fn a_sysctl_of_a_namespace_stays_there() {
    if skipped("a_sysctl_of_a_namespace_stays_there") {
        return;
    }
    let key = "net.ipv4.tcp_max_syn_backlog";
    let before = sysctl::read(key).expect("on every kernel");
    let netns = Netns::new().expect("root may make one");
    inside(&netns, || {
        sysctl::write(key, "77").expect("per namespace");
        assert_eq!(sysctl::read(key).expect("just written"), "77");
        let error = sysctl::write(key, "nonsense").expect_err("the kernel wants a number");
        assert_eq!(error.to_string(), format!("write {key} = \"nonsense\": Invalid argument (os error 22)"));
    });
    assert_eq!(sysctl::read(key).expect("still there"), before);
}

#[test]
fn kernel_errors_name_the_operation() {
    if skipped("kernel_errors_name_the_operation") {
        return;
    }
    let netns = Netns::new().expect("root may make one");
    let error = inside(&netns, || rtnl::up("veth-none")).expect_err("there is none");
    assert_eq!(error.to_string(), "set link veth-none up: No such device (os error 19)");
    let error = inside(&netns, || rtnl::wait_until_running("lo", Duration::ZERO)).expect_err("it is down");
    assert_eq!(error.to_string(), "wait for link lo to run: Connection timed out (os error 110)");
    let error = inside(&netns, || rtnl::add_route(SERVER.into(), 32, CLIENT.into())).expect_err("no way there");
    assert_eq!(error.to_string(), "route 10.77.0.2/32 via 10.77.0.1: Network is unreachable (os error 101)");
}

#[test]
fn routes_and_link_settings_take_effect() {
    if skipped("routes_and_link_settings_take_effect") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    let far = Ipv4Addr::new(198, 18, 0, 0);
    let within = Ipv4Addr::new(198, 19, 4, 7);
    inside(&pair.server, || rtnl::add_local(far.into(), 15)).expect("a local prefix");
    inside(&pair.client, || rtnl::add_route(far.into(), 15, SERVER.into())).expect("the server is a neighbour");
    converse(&pair, &listen(&pair, within));
    inside(&pair.client, || {
        rtnl::delete_route(far.into(), 15).expect("it was there");
        rtnl::add_blackhole(far.into(), 15).expect("no other route");
        let error = TcpStream::connect_timeout(&SocketAddr::new(within.into(), 80), PATIENCE).expect_err("blackhole");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "connect(2) into a blackhole is EINVAL: {error}");
        rtnl::delete_route(far.into(), 15).expect("also a blackhole");
        rtnl::set_mtu("veth-c", 1280).expect("within veth's bounds");
        let refused = rtnl::set_mtu("veth-c", 1).expect_err("below veth's bounds");
        assert_eq!(refused.errno(), Some(22));
        rtnl::down("veth-c").expect("it was up");
        rtnl::up("veth-c").expect("it was down");
        rtnl::delete_link("veth-c").expect("it is there");
        rtnl::index("veth-c").expect_err("it was deleted");
    });
    inside(&pair.server, || rtnl::index("veth-s")).expect_err("a pair goes together");
}

#[test]
fn a_rate_limit_slows_a_transfer() {
    if skipped("a_rate_limit_slows_a_transfer") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    let limited = inside(&pair.client, || rtnl::limit_rate("veth-c", 20_000_000, 20_000, 200_000));
    or_skip!("a_rate_limit_slows_a_transfer", limited);
    let listener = listen(&pair, SERVER);
    let mut client = connect(&pair, listener.local_addr().expect("bound")).expect("the server listens");
    let (mut server, _) = listener.accept().expect("a connection waits");
    let start = Instant::now();
    let reader = std::thread::spawn(move || io::copy(&mut server, &mut io::sink()));
    client.write_all(&vec![0; 1_000_000]).expect("connected");
    drop(client);
    assert_eq!(reader.join().expect("no panic").expect("all arrives"), 1_000_000);
    // 8 Mbit at 20 Mbit/s take 400 ms; a loaded machine only makes it longer.
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn a_tun_device_goes_with_its_descriptor_and_carries_whole_packets() {
    if skipped("a_tun_device_goes_with_its_descriptor_and_carries_whole_packets") {
        return;
    }
    let netns = Netns::new().expect("root may make one");
    inside(&netns, || {
        let tun = or_skip!("a_tun_device_goes_with_its_descriptor_and_carries_whole_packets", Tun::new("tun"));
        assert_eq!(Tun::new("tun").expect_err("the name is taken").errno(), Some(16), "EBUSY");
        Tun::new("a-name-of-16-byt").expect_err("too long for the kernel");
        rtnl::up("tun").expect("it is there");
        rtnl::add_address("tun", CLIENT.into(), 24).expect("it is there");
        let socket = std::net::UdpSocket::bind((CLIENT, 0)).expect("the address is its own");
        socket.send_to(&[7; 100], (SERVER, 9)).expect("it is up");
        let mut buffer = [0; 2048];
        // IPv6 has more to say than this one datagram.
        let mut packets = std::iter::from_fn(|| tun.read(&mut buffer).ok().map(|length| buffer[..length].to_vec()));
        assert!(packets.any(|packet| packet[0] == 0x45 && packet.len() == 128), "UDP in IPv4 from its first byte");
        drop(tun);
        rtnl::index("tun").expect_err("it is gone");
    });
}

#[test]
fn connections_are_tracked_until_exempt() {
    if skipped("connections_are_tracked_until_exempt") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    let count = || inside(&pair.server, conntrack::count).expect("connection tracking is in this kernel");
    let listener = listen(&pair, SERVER);
    let port = listener.local_addr().expect("bound").port();
    or_skip!("connections_are_tracked_until_exempt", inside(&pair.server, nft::track));
    assert_eq!(count(), 0);
    converse(&pair, &listener);
    assert_eq!(count(), 1);
    or_skip!("connections_are_tracked_until_exempt", inside(&pair.server, || nft::notrack(Some(port))));
    converse(&pair, &listener);
    assert_eq!(count(), 1, "this port is exempt");
    let other = listen(&pair, SERVER);
    converse(&pair, &other);
    assert_eq!(count(), 2, "another port is not");
    or_skip!("connections_are_tracked_until_exempt", inside(&pair.server, || nft::notrack(None)));
    converse(&pair, &other);
    assert_eq!(count(), 2, "all is exempt");
    inside(&pair.server, nft::remove).expect("it was made");
    inside(&pair.server, nft::remove).expect("nothing to remove is fine");
}

#[test]
fn conntrack_entries_are_injected_and_deleted() {
    if skipped("conntrack_entries_are_injected_and_deleted") {
        return;
    }
    let netns = Netns::new().expect("root may make one");
    inside(&netns, || {
        let filled = or_skip!("conntrack_entries_are_injected_and_deleted", conntrack::fill(5_000, 7));
        assert_eq!((filled, conntrack::count().expect("it counts")), (5_000, 5_000));
        assert_eq!(conntrack::fill(5_000, 7).expect("they are there already"), 0);
        assert_eq!(conntrack::fill(100, 8).expect("another seed"), 100);
        assert_eq!(conntrack::delete(1_000, 7).expect("they are there"), 1_000);
        assert_eq!(conntrack::delete(1_000, 7).expect("they are gone"), 0);
        assert_eq!(conntrack::count().expect("it counts"), 4_100);
        let entries = fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap_or_default();
        if let Some(entry) = entries.lines().next() {
            assert!(entry.contains("ESTABLISHED") && entry.contains("[ASSURED]"), "{entry}");
            assert!(entry.contains("src=198.1") && entry.contains("dst=192.0.2.1"), "{entry}");
        }
        conntrack::statistic("drop").expect("every kernel has this column");
        conntrack::flush().expect("it can be emptied");
        assert_eq!(conntrack::count().expect("it counts"), 0);
    });
}

#[test]
fn spoofed_syns_reach_the_listener_and_no_answer_clears_them() {
    if skipped("spoofed_syns_reach_the_listener_and_no_answer_clears_them") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    let sources = Ipv4Addr::new(198, 18, 0, 0);
    inside(&pair.server, || {
        rtnl::add_route(sources.into(), 15, CLIENT.into())?;
        // Without cookies every SYN takes a place of the request queue and stays there.
        sysctl::write("net.ipv4.tcp_syncookies", "0")
    })
    .expect("keys and routes of the namespace");
    let listener = listen(&pair, SERVER);
    let port = listener.local_addr().expect("bound").port();
    let flood = SynFlood {
        target: SocketAddrV4::new(SERVER, port),
        sources,
        prefix: 15,
        rate: 2_000,
        count: 50,
        within: PATIENCE,
        seed: 42,
    };
    assert_eq!(inside(&pair.client, || flood.run(|| false)).expect("root may send"), 50);
    let counts = inside(&pair.server, sockdiag::counts).expect("sock_diag");
    assert_eq!((counts.get("LISTEN"), counts.get("SYN-RECV")), (Some(&1), Some(&50)), "{counts:?}");
    let start = Instant::now();
    let endless = SynFlood { count: u64::MAX, within: Duration::from_millis(100), ..flood.clone() };
    let sent = inside(&pair.client, || endless.run(|| false)).expect("root may send");
    assert!((1..=201).contains(&sent) && start.elapsed() < PATIENCE, "{sent} at 2000/s in 100 ms");
    assert_eq!(inside(&pair.client, || flood.run(|| true)).expect("nothing to send"), 0);
}

#[test]
fn every_socket_can_be_destroyed() {
    if skipped("every_socket_can_be_destroyed") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    let counts = |netns| inside(netns, sockdiag::counts).expect("sock_diag");
    let listener = listen(&pair, SERVER);
    let _other = listen(&pair, SERVER6);
    let _sharing =
        [(); 3].map(|()| inside(&pair.server, sharing_listener).expect("the port is free for all who share"));
    // One TIME_WAIT, and ten established of which two are closed towards a peer that cannot be reached: orphans.
    converse(&pair, &listener);
    let to = listener.local_addr().expect("bound");
    let mut clients: Vec<_> = (0..10).map(|_| connect(&pair, to).expect("the server listens")).collect();
    let accepted: Vec<_> = (0..10).map(|_| listener.accept().expect("a connection waits")).collect();
    inside(&pair.server, || rtnl::down("veth-s")).expect("it was up");
    clients.truncate(8);
    let client = counts(&pair.client);
    assert_eq!((client.get("ESTAB"), client.get("FIN-WAIT-1")), (Some(&8), Some(&2)), "{client:?}");
    for netns in [&pair.client, &pair.server] {
        let before: usize = counts(netns).values().sum();
        assert!(before >= 10, "{before}");
        assert_eq!(
            or_skip!("every_socket_can_be_destroyed", inside(netns, sockdiag::destroy_all)),
            before,
            "{:?}",
            counts(netns)
        );
        // A closed listener still holds its port, until its process lets go.
        let after = counts(netns);
        assert!(after.keys().all(|state| *state == "UNCONN"), "{after:?}");
    }
    drop((accepted, clients));
}

/// One of several listeners of one port: the kernel finds them one at a time.
fn sharing_listener() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::new(SERVER.into(), 8080).into())?;
    socket.listen(1)?;
    Ok(socket)
}

#[test]
fn nothing_holds_a_namespace_after_its_owner() {
    if skipped("nothing_holds_a_namespace_after_its_owner") {
        return;
    }
    let pair = Pair::new().expect("root may build this");
    converse(&pair, &listen(&pair, SERVER));
    let inodes = [pair.client.inode(), pair.server.inode()];
    assert!(inodes.iter().all(|inode| held().contains(inode)), "the descriptors show while they are open");
    drop(pair);
    assert!(inodes.iter().all(|inode| !held().contains(inode)));
}

/// The network namespaces that a task of this process or one of its descriptors refers to.
fn held() -> BTreeSet<u64> {
    let links = |directory: &str, rest: &str| -> Vec<_> {
        let entries = fs::read_dir(directory).expect("procfs").flatten();
        entries.filter_map(|entry| fs::read_link(entry.path().join(rest)).ok()).collect()
    };
    let descriptors = fs::read_dir("/proc/self/fd").expect("procfs").flatten();
    let descriptors = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let names = links("/proc/self/task", "ns/net").into_iter().chain(descriptors);
    names.filter_map(|name| name.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()).collect()
}

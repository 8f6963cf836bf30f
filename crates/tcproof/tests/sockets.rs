//! `tcproof sockets` beside sockets that the test made, in network namespaces of its own.
//!
//! Needs root; says `SKIP` without.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::spoof::SynFlood;
use tcproof_lab::kit::{require_root, rtnl, sysctl};

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const BACKENDS: [&str; 2] = ["netlink", "proc"];

fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIP: {line}\n"));
}

/// A namespace with its loopback up; none, and says so, where this user can't make one.
fn namespace() -> Option<Netns> {
    let made = require_root().and_then(|()| {
        let namespace = Netns::new().map_err(|error| format!("no network namespace: {error}"))?;
        let prepared = namespace.run_in(|| {
            rtnl::up("lo")?;
            // On a slow machine loopback gives back ports in TIME_WAIT: by default those of a second ago.
            sysctl::write("net.ipv4.tcp_tw_reuse", "0")
        });
        prepared.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(namespace)
    });
    made.map_err(|why| skip(&why)).ok()
}

fn tcproof(arguments: &[&str]) -> Command {
    let mut command = Command::new(TCPROOF);
    command.arg("sockets").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("LC_ALL", "C.UTF-8");
    command
}

fn run(namespace: &Netns, arguments: &[&str]) -> Output {
    let inode = namespace.inode().to_string();
    let mut command = tcproof(&[arguments, &["--netns", &inode]].concat());
    namespace.run_in(|| command.output().expect("it starts")).expect("the namespace")
}

/// The JSON, which keeps to its schema.
fn census(namespace: &Netns, arguments: &[&str]) -> Value {
    let output = run(namespace, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    keeps_to_its_schema(&text)
}

fn keeps_to_its_schema(text: &str) -> Value {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let schema = serde_json::from_str(tcproof_report::sockets::SCHEMA).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?} in {text}");
    json
}

/// Until the kernel has no more sockets on their way from one state to the next.
fn until_still(namespace: &Netns) {
    let start = Instant::now();
    let mut before = Value::Null;
    loop {
        let now = census(namespace, &["--backend", "netlink"])["totals"].clone();
        let states = &now[0]["states"];
        let moving = ["FIN-WAIT-1", "LAST-ACK", "CLOSING"].iter().any(|state| states.get(state).is_some());
        if !moving && states == &before {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{now}");
        before = states.clone();
        sleep(Duration::from_millis(20));
    }
}

/// A pair of connected sockets, the client's first.
fn pair(listener: &TcpListener, to: SocketAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(to).expect("a connection");
    (client, listener.accept().expect("its other end").0)
}

/// Everything that must stay open.
#[derive(Default)]
struct Kept {
    listeners: Vec<TcpListener>,
    streams: Vec<TcpStream>,
}

/// Of each family on a port of its own: open ones, half-closed ones, and TIME_WAIT at either end.
fn populate(kept: &mut Kept) {
    let four: SocketAddr = (Ipv4Addr::LOCALHOST, 8004).into();
    let six: SocketAddr = (Ipv6Addr::LOCALHOST, 8006).into();
    // Dual-stack: IPv4 clients of an IPv6 listener have v4-mapped addresses at the server's end.
    let mapped: SocketAddr = (Ipv4Addr::LOCALHOST, 8046).into();
    for (bind, to) in [(four, four), (six, six), ((Ipv6Addr::UNSPECIFIED, 8046).into(), mapped)] {
        let listener = TcpListener::bind(bind).expect("a free port");
        for _ in 0..5 {
            let (client, server) = pair(&listener, to);
            kept.streams.extend([client, server]);
        }
        for _ in 0..2 {
            // FIN-WAIT-2 at the client, CLOSE-WAIT at the server.
            let (client, server) = pair(&listener, to);
            client.shutdown(Shutdown::Write).expect("shut down");
            kept.streams.extend([client, server]);
        }
        for _ in 0..3 {
            let (client, server) = pair(&listener, to);
            drop(client);
            sleep(Duration::from_millis(5));
            drop(server);
        }
        for _ in 0..4 {
            let (client, server) = pair(&listener, to);
            drop(server);
            sleep(Duration::from_millis(5));
            drop(client);
        }
        kept.listeners.push(listener);
    }
}

#[test]
fn backends_count_the_same_and_time_wait_stands_under_its_service() {
    let Some(namespace) = namespace() else { return };
    let mut kept = Kept::default();
    namespace.run_in(|| populate(&mut kept)).expect("the namespace");
    until_still(&namespace);
    let all = BACKENDS.map(|backend| census(&namespace, &["--backend", backend, "--top", "50"]));
    for (census, backend) in all.iter().zip(BACKENDS) {
        assert_eq!(census["backend"], backend);
        assert_eq!(census["truncated"], json!([]));
        let total = &census["totals"][0];
        assert_eq!(total["inode"], namespace.inode());
        // 3 families × (5 + 2 open connections …), both ends.
        let expected = json!({"LISTEN": 3, "ESTABLISHED": 30, "FIN-WAIT-2": 6, "CLOSE-WAIT": 6, "TIME-WAIT": 21});
        assert_eq!(total["states"], expected, "{backend}");
        assert_eq!(total["small"], json!({"TIME-WAIT": 21}), "{backend}");
        // sockstat agrees.
        assert_eq!(total.get("differences"), None, "{backend}: {total}");
        assert_eq!(total["sockstat"]["after"], json!({"inuse": 45, "tw": 21}), "{backend}");
        for (address, port) in [("127.0.0.1", "127.0.0.1:8004"), ("::1", "[::1]:8006"), ("127.0.0.1", "127.0.0.1:8046")]
        {
            let rows: Vec<&Value> = census["destinations"]
                .as_array()
                .expect("rows")
                .iter()
                .filter(|row| row["destination"] == port)
                .collect();
            assert_eq!(rows.len(), 2, "{backend} {port}: {}", census["destinations"]);
            for row in rows {
                assert_eq!(row["source"], address, "{backend} {port}");
                match row["service"].as_str() {
                    // The client closed first three times, and the socket in TIME_WAIT is its.
                    Some("remote") => {
                        assert_eq!(row["states"], json!({"ESTABLISHED": 5, "FIN-WAIT-2": 2, "TIME-WAIT": 3}), "{port}");
                        assert_eq!(row["ports"], json!({"used": 10, "capacity": 28232}), "{port}");
                    }
                    Some("local") => {
                        assert_eq!(row["states"], json!({"ESTABLISHED": 5, "CLOSE-WAIT": 2, "TIME-WAIT": 4}), "{port}");
                        assert_eq!(row.get("ports"), None, "{port}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let ports: Vec<_> = census["listeners"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["local"].as_str().expect("text"))
            .collect();
        assert_eq!(ports, ["127.0.0.1:8004", "[::]:8046", "[::1]:8006"], "{backend}");
    }
    assert_eq!(all[0]["destinations"].as_array().map(Vec::len), Some(6));
    let strip = |census: &Value| {
        let rows = census["destinations"].as_array().expect("rows").iter();
        rows.map(|row| {
            (row["service"].clone(), row["source"].clone(), row["destination"].clone(), row["states"].clone())
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(strip(&all[0]), strip(&all[1]));

    // A listener that has gone does not change what its connections belong to.
    drop(kept.listeners);
    for backend in BACKENDS {
        let census = census(&namespace, &["--backend", backend, "--port", "8004"]);
        let ends: Vec<_> = census["destinations"].as_array().expect("rows").iter().map(|row| &row["service"]).collect();
        assert_eq!(ends.len(), 2, "{backend}: {}", census["destinations"]);
        assert_eq!(census["destinations"][0]["destination"], "127.0.0.1:8004", "{backend}");
    }
}

#[test]
fn a_table_that_is_too_small_is_said_and_nothing_is_missing_in_the_totals() {
    let Some(namespace) = namespace() else { return };
    let mut kept = Kept::default();
    namespace.run_in(|| populate(&mut kept)).expect("the namespace");
    until_still(&namespace);
    for backend in BACKENDS {
        let census = census(&namespace, &["--backend", backend, "--table", "1"]);
        assert_eq!(census["totals"][0]["states"]["ESTABLISHED"], 30, "{backend}");
        let truncated = census["truncated"].as_array().expect("a list");
        let missing = |why: &str| {
            let of = truncated.iter().find(|entry| entry["why"] == why);
            of.and_then(|entry| entry["sockets"].as_u64()).unwrap_or(0)
        };
        let in_rows: u64 =
            census["destinations"].as_array().expect("rows").iter().filter_map(|row| row["sockets"].as_u64()).sum();
        // Every socket but the listeners is in a row or among the missing.
        assert_eq!(in_rows + missing("destinations_full"), 63, "{backend}: {census}");
        assert!(missing("destinations_full") > 0, "{backend}: {census}");
        let strict = run(&namespace, &["--backend", backend, "--table", "1", "--strict"]);
        assert_eq!(strict.status.code(), Some(3), "{backend}");
        let text = String::from_utf8_lossy(&strict.stdout);
        assert!(text.contains("NOT EXACT"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn half_open_requests_are_one_row_and_sockstat_agrees() {
    const SYNS: u64 = 50;
    let (Some(namespace), Some(flooding)) = (namespace(), namespace()) else { return };
    // Reserved for benchmarks (RFC 2544).
    const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
    const NOBODYS_PREFIX: u8 = 15;
    let (at, other) = (SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 8004), Ipv4Addr::new(10, 9, 0, 2));
    let link = |here: &str, address: Ipv4Addr| {
        rtnl::up(here).expect("up");
        rtnl::add_address(here, address.into(), 16).expect("an address");
    };
    let listener = namespace.run_in(|| {
        rtnl::veth_pair("v0", "v1", flooding.fd()).expect("a pair of devices");
        link("v0", *at.ip());
        rtnl::add_route(NOBODY.into(), NOBODYS_PREFIX, other.into()).expect("a route");
        TcpListener::bind(at).expect("a free port")
    });
    // The SYN-ACKs end in silence behind the other end: that a neighbour is missing would be told after seconds, and the
    // requests be dropped (`tcp_req_err`).
    let flood = SynFlood {
        target: at,
        sources: NOBODY,
        prefix: NOBODYS_PREFIX,
        rate: 1_000,
        count: SYNS,
        within: PATIENCE,
        seed: 1,
    };
    flooding
        .run_in(|| {
            link("v1", other);
            rtnl::add_blackhole(NOBODY.into(), NOBODYS_PREFIX).expect("a route");
            rtnl::wait_until_running("v1", PATIENCE).expect("it runs");
        })
        .expect("the namespace");
    // It came up first: an answer to ARP that it drops costs a second, for which the SYNs wait at the other end.
    namespace.run_in(|| rtnl::wait_until_running("v0", PATIENCE).expect("it runs")).expect("the namespace");
    let sent = flooding.run_in(|| flood.run(|| false).expect("it sends"));
    assert_eq!(sent.expect("the namespace"), SYNS);
    for backend in BACKENDS {
        let census = census(&namespace, &["--backend", backend]);
        let total = &census["totals"][0];
        assert_eq!(total["states"], json!({"LISTEN": 1, "SYN-RECV": SYNS}), "{backend}");
        assert_eq!(total["small"], json!({"SYN-RECV": SYNS}), "{backend}");
        assert_eq!(total.get("differences"), None, "{backend}: {total}");
        let [row] = &census["destinations"].as_array().expect("rows")[..] else { panic!("{census}") };
        assert_eq!((row.get("source"), &row["sockets"]), (None, &json!(SYNS)), "{backend}: {row}");
        assert_eq!((&row["destination"], &row["service"]), (&json!(at.to_string()), &json!("local")));
    }
    drop(listener);
}

#[test]
fn mptcp_sockets_are_told_and_their_subflows_counted() {
    let Some(namespace) = namespace() else { return };
    let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::MPTCP));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 8004));
    let made = namespace.run_in(|| -> Result<_, rustix::io::Errno> {
        let listener = socket()?;
        rustix::net::bind(&listener, &at)?;
        rustix::net::listen(&listener, 16)?;
        let client = socket()?;
        rustix::net::connect(&client, &at)?;
        let server = rustix::net::accept(&listener)?;
        Ok((listener, client, server))
    });
    let _kept = match made.expect("the namespace") {
        Ok(kept) => kept,
        Err(why) => return skip(&format!("no MPTCP here: {why}")),
    };
    let census = census(&namespace, &[]);
    let total = &census["totals"][0];
    assert_eq!(total["states"]["ESTABLISHED"], 2, "{total}");
    match total.get("mptcp") {
        Some(mptcp) => {
            assert_eq!(mptcp["ESTABLISHED"], 2, "{total}");
            assert_eq!(census["listeners"][0]["protocol"], "mptcp", "{}", census["listeners"]);
        }
        None => skip("no mptcp_diag here"),
    }
}

#[test]
fn processes_are_counted_by_their_descriptors() {
    let Some(namespace) = namespace() else { return };
    let mut kept = Kept::default();
    namespace.run_in(|| populate(&mut kept)).expect("the namespace");
    until_still(&namespace);
    let pid = std::process::id();
    for backend in BACKENDS {
        let census = census(&namespace, &["--backend", backend, "--by", "process"]);
        let rows = census["processes"].as_array().expect("rows");
        let own = rows.iter().find(|row| row["pid"] == pid).unwrap_or_else(|| panic!("{backend}: {rows:?}"));
        assert_eq!(
            own["states"],
            json!({"LISTEN": 3, "ESTABLISHED": 30, "FIN-WAIT-2": 6, "CLOSE-WAIT": 6}),
            "{backend}"
        );
        // It lives in another namespace than its sockets: only a count of all descriptors finds it.
        assert_eq!(rows.iter().filter(|row| row.get("states").is_some()).count(), 1, "{backend}: {rows:?}");
    }
}

/// Children that have a socket as their standard input and wait for it to end, which they do with this.
struct Children(Vec<Child>);

impl Children {
    fn hold(&mut self, socket: OwnedFd) {
        self.0.push(Command::new("cat").stdin(socket).stdout(Stdio::null()).spawn().expect("cat"));
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn owners_of_destinations_are_found_by_each_backend() {
    let Some(namespace) = namespace() else { return };
    let mut children = Children(Vec::new());
    let mut kept = Vec::new();
    let places: [(SocketAddr, bool); 3] = [
        ((Ipv4Addr::LOCALHOST, 8004).into(), false),
        ((Ipv6Addr::LOCALHOST, 8006).into(), false),
        // What is bound to a device is found by it alone.
        ((Ipv4Addr::LOCALHOST, 8014).into(), true),
    ];
    for (at, to_device) in places {
        let connect = || {
            let listener = TcpListener::bind(at).expect("a free port");
            let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
            let client = rustix::net::socket_with(family, kind, flags, None).expect("a socket");
            if to_device {
                setsockopt(&client, BindToDevice, &"lo".into()).expect("lo is there");
            }
            rustix::net::connect(&client, &at).expect("a connection");
            let server = listener.accept().expect("its other end").0;
            children.hold(server.into());
            children.hold(client);
            // Nobody accepts these: their server's ends have no file.
            for _ in 0..2 {
                children.hold(TcpStream::connect(at).expect("a connection").into());
            }
            kept.push(listener);
        };
        namespace.run_in(connect).expect("the namespace");
    }
    let pids: Vec<u32> = children.0.iter().map(Child::id).collect();
    for backend in ["netlink", "bpf"] {
        let output = run(&namespace, &["--backend", backend, "--json"]);
        if !output.status.success() && backend == "bpf" {
            skip(&String::from_utf8_lossy(&output.stderr));
            continue;
        }
        let census = keeps_to_its_schema(&String::from_utf8_lossy(&output.stdout));
        for ((at, _), pids) in places.iter().zip(pids.chunks(4)) {
            for (service, pids) in [("local", &pids[..1]), ("remote", &pids[1..])] {
                let rows = census["destinations"].as_array().expect("rows").iter();
                let row = rows.filter(|row| row["destination"] == at.to_string() && row["service"] == service);
                let owners: Vec<_> = row.flat_map(|row| row["owners"].as_array().expect("owners")).collect();
                let [owner] = owners[..] else { panic!("{backend} {at} {service}: {owners:?}") };
                assert!(pids.iter().any(|pid| owner["pid"] == *pid), "{backend} {at} {service}: {owner}");
            }
        }
    }
}

/// A watch that prints, and what it prints.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    fn screens(&mut self, wanted: usize) {
        let mut screens = 0;
        while screens < wanted {
            let line = self.lines.next().expect("it goes on").expect("text");
            assert!(!line.contains('\x1b'), "{line:?}");
            screens += usize::from(line.starts_with("counted by"));
        }
    }

    fn tell(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn ends(mut self) {
        // The rest is read, so that it does not wait for room in the pipe; there is little of it.
        let mut screens = 0;
        for line in self.lines.by_ref() {
            screens += usize::from(line.expect("text").starts_with("counted by"));
            assert!(screens < 10, "it goes on");
        }
        assert_eq!(self.child.wait().expect("its end").code(), Some(0));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_repeats_until_it_is_told_to_end() {
    let arguments = ["--watch", "100ms", "--netns", &std::process::id().to_string()];
    let mut watch = Watch::start(tcproof(&arguments));
    watch.screens(3);
    watch.tell(Signal::INT);
    watch.ends();

    // Under nohup it outlives its terminal.
    let mut nohup = Command::new("nohup");
    nohup.arg(TCPROOF).arg("sockets").args(arguments).stderr(Stdio::null());
    let mut watch = Watch::start(nohup);
    watch.screens(1);
    watch.tell(Signal::HUP);
    watch.screens(3);
    watch.tell(Signal::TERM);
    watch.ends();

    // Nobody reads any more.
    let mut child = tcproof(&arguments).spawn().expect("it starts");
    drop(child.stdout.take());
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        assert!(start.elapsed() < PATIENCE, "it goes on for nobody");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_watch_ends_though_each_count_takes_longer_than_its_time() {
    let root = tempfile::tempdir().expect("a folder");
    let net = root.path().join("proc/net");
    fs::create_dir_all(&net).expect("folders");
    let mut text = String::from("  sl  local_address rem_address   st\n");
    for n in 0..60_000_u32 {
        writeln!(text, "{n:4}: 0100007F:{:04X} 0100007F:1F40 01 0:0 0:0 0 0 0 {n}", n % 60_000 + 1).expect("memory");
    }
    fs::write(net.join("tcp"), text).expect("a file");
    let root = root.path().to_str().expect("UTF-8");
    let mut watch = Watch::start(tcproof(&["--watch", "100ms", "--root", root]));
    watch.screens(2);
    watch.tell(Signal::INT);
    watch.ends();
}

#[test]
fn a_directory_is_counted_as_text() {
    let root = tempfile::tempdir().expect("a folder");
    let net = root.path().join("proc/net");
    fs::create_dir_all(&net).expect("a folder");
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let socket = |n: u32, port: u16, state: &str| {
        format!(
            "{n:4}: 0100007F:1F90 0200007F:{port:04X} {state} 00000000:00000000 00:00000000 00000000 0 0 9 1 0 20 4 0 10 -1\n"
        )
    };
    let sockets: String = (0..30).map(|n| socket(n, 50_000 + n as u16, if n % 3 == 0 { "08" } else { "01" })).collect();
    fs::write(net.join("tcp"), format!("{header}{sockets}")).expect("written");
    fs::write(net.join("tcp6"), header).expect("written");
    fs::write(net.join("sockstat"), "sockets: used 99\nTCP: inuse 31 orphan 0 tw 0 alloc 40 mem 3\n").expect("written");
    let path = root.path().to_str().expect("a name");
    let output = tcproof(&["--root", path]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    // How long it took is nobody's business here.
    let text: String = text
        .lines()
        .map(|line| if line.starts_with("counted by") { "counted by proc" } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(text);
    assert_eq!(output.status.code(), Some(0));
    keeps_to_its_schema(&String::from_utf8_lossy(
        &tcproof(&["--root", path, "--json"]).output().expect("it starts").stdout,
    ));

    // Whatever stands there, it is no crash and no count.
    for spoilt in ["", "\x1b[2J\n", &format!("{header}\u{202e}\n"), &format!("{header}{}", &socket(1, 2, "01")[..60])] {
        fs::write(net.join("tcp"), spoilt).expect("written");
        let output = tcproof(&["--root", path]).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{spoilt:?}: {text}");
        assert!(text.contains("UNKNOWN") && !text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn what_can_not_be_counted_is_an_error_and_never_zero() {
    let root = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(root.path().join("proc/net")).expect("a folder");
    let path = root.path().to_str().expect("a name");
    for (arguments, code) in [
        (&["--root", "/nonexistent"][..], 1),
        (&["--root", path], 1),
        (&["--root", path, "--netns", "blue"], 1),
        (&["--root", path, "--backend", "netlink"], 1),
        (&["--netns", "no-such-namespace"], 1),
        (&["--top", "0"], 2),
        (&["--by", "colour"], 2),
        (&["--watch", "1ms"], 2),
        (&["--backend", "magic"], 2),
    ] {
        let output = tcproof(arguments).output().expect("it starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.is_empty() && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

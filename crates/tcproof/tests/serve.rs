//! `tcproof serve`: the program itself, asked by Prometheus' own tool and by clients that mean no good.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod inside;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use tcproof_lab::kit::netns::{Netns, current_inode};
use tcproof_lab::kit::require_root;

use inside::inside;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs: the first look at a host with many namespaces takes long in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
/// As the server has it, and a bit more.
const SERVERS_PATIENCE: Duration = Duration::from_secs(8);
const OPEN_METRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// Not by `eprintln!`, which the harness keeps to itself.
fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

/// One that serves.
struct Server {
    child: Child,
    at: SocketAddr,
    said: Receiver<String>,
}

impl Server {
    fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    fn start_at(listen: &str) -> Self {
        Self::watch(listen, &current_inode().unwrap().to_string())
    }

    fn start_with(arguments: &[&str]) -> Self {
        let netns = current_inode().unwrap().to_string();
        Self::run(&[&["--listen", "127.0.0.1:0", "--every", "200ms", "--netns", &netns], arguments].concat())
    }

    fn watch(listen: &str, netns: &str) -> Self {
        Self::run(&["--listen", listen, "--every", "200ms", "--netns", netns])
    }

    fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(TCPROOF);
        command.arg("serve").args(arguments);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, said) = channel();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
        let line = said.recv_timeout(PATIENCE).unwrap();
        let at = line.strip_prefix("tcproof: serving http://").and_then(|rest| rest.strip_suffix("/metrics"));
        let at = at.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { child, at, said }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for these bytes: everything until the end, or what came before a reset.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        text(&mut stream)
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        let answer = self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (status(&answer).unwrap_or_else(|| panic!("{answer:?}")), head.to_string(), body.to_string())
    }

    /// Until the first window is over.
    fn ready(self) -> Self {
        let since = Instant::now();
        while self.get("/healthz", "").0 != 200 {
            assert!(since.elapsed() < PATIENCE, "never healthy");
            thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Until so many windows are over.
    fn past(&self, windows: u64) {
        let since = Instant::now();
        while self.value("tcproof_windows_total") < windows as f64 {
            assert!(since.elapsed() < PATIENCE, "only {} windows", self.value("tcproof_windows_total"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn value(&self, name: &str) -> f64 {
        let (_, _, body) = self.get("/metrics", "");
        let value = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {body}"))
    }

    fn end(mut self, signal: Signal) -> (ExitStatus, Vec<String>) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        (status, self.said.iter().collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Its own tool takes it; says so where there is none.
fn promtool(test: &str, arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    let spawned = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else { return skip(test, "there is no promtool (Debian's prometheus)") };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{input}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_reads_what_a_window_showed() {
    inside(|| {
        let test = "prometheus_reads_what_a_window_showed";
        let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let server = Server::start().ready();
        let (status, head, body) = server.get("/metrics", "");
        assert_eq!(status, 200);
        assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(body.contains("listener=\"127.0.0.1:8080\""), "{body}");
        assert!(body.contains("counter=\"TcpExt.ListenOverflows\""), "{body}");
        promtool(test, &["check", "metrics"], &body);
        // A parser of OpenMetrics it has only for files, whose samples have times.
        let (_, head, body) = server.get("/metrics", OPEN_METRICS);
        assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let timed: String = body.lines().fold(String::new(), |mut text, line| {
            let time = if line.starts_with('#') { "" } else { " 1796083200" };
            let _ = writeln!(text, "{line}{time}");
            text
        });
        let dir = tempfile::tempdir().unwrap();
        let (file, blocks) = (dir.path().join("metrics"), dir.path().join("blocks"));
        fs::write(&file, timed).unwrap();
        let [file, blocks] = [&file, &blocks].map(|path| path.to_str().unwrap());
        promtool(test, &["tsdb", "create-blocks-from", "openmetrics", file, blocks], "");
        let (status, head, body) = server.get("/", "");
        assert_eq!(status, 200);
        assert!(
            head.contains("Content-Type: text/html; charset=utf-8") && head.contains("\r\nRefresh: 1\r\n"),
            "{head}"
        );
        assert!(body.starts_with("<!doctype html>") && body.contains("127.0.0.1:8080"), "{body}");
        let windows = server.value("tcproof_windows_total");
        thread::sleep(Duration::from_secs(1));
        assert!(server.value("tcproof_windows_total") > windows);
    });
}

#[test]
fn a_listener_that_nobody_accepts_from_is_limiting_and_its_drops_are_counted() {
    inside(|| {
        let full = TcpListener::bind("127.0.0.1:8081").unwrap();
        rustix::net::listen(&full, 1).unwrap();
        let server = Server::start().ready();
        let at = full.local_addr().unwrap();
        let _waiting: Vec<_> = (0..2).map(|_| TcpStream::connect(at).unwrap()).collect();
        let since = Instant::now();
        while server.value("tcproof_limiting_windows_total{limit=\"accept-queue\"}") == 0.0 {
            assert!(since.elapsed() < PATIENCE, "never limiting");
            assert!(TcpStream::connect_timeout(&at, Duration::from_millis(50)).is_err());
        }
        let (_, _, body) = server.get("/metrics", "");
        let of =
            |line: &&str| line.starts_with("tcproof_listener_drops_total") && line.contains("=\"127.0.0.1:8081\"} ");
        let drops = body.lines().find(of).unwrap_or_else(|| panic!("{body}"));
        assert!(!drops.ends_with(" 0"), "{drops}");
        assert!(server.value("tcproof_hurt_total{limit=\"accept-queue\"}") >= 1.0);
    });
}

/// Windows of 2 s, so that a patient look is one of ten, and the queue fills in the midst of one.
#[test]
fn a_failure_in_the_midst_of_patience_is_limiting_at_once_and_its_cause_is_told_soon() {
    inside(|| {
        let netns = current_inode().unwrap().to_string();
        for (pause, cause) in [(None, "application-slow"), (Some(Duration::from_millis(20)), "backlog-small")] {
            let listener = TcpListener::bind("127.0.0.1:8082").unwrap();
            rustix::net::listen(&listener, 7).unwrap();
            let server = Server::run(&["--listen", "127.0.0.1:0", "--every", "2s", "--netns", &netns]).ready();
            // Patient for two windows.
            server.past(3);
            thread::sleep(Duration::from_millis(900));
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                let (stop, listener, at) = (&stop, &listener, listener.local_addr().unwrap());
                if let Some(pause) = pause {
                    listener.set_nonblocking(true).unwrap();
                    // Keeps up: takes all there is, again and again.
                    scope.spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            thread::sleep(pause);
                            while listener.accept().is_ok() {}
                        }
                    });
                }
                // Bursts of twice what the queue takes, every quarter of a second.
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let burst: Vec<_> = (0..16).filter_map(|_| begin_to_connect(at)).collect();
                        thread::sleep(Duration::from_millis(250));
                        drop(burst);
                    }
                });
                let begun = server.value("tcproof_windows_total");
                let limiting = "tcproof_limiting_windows_total{limit=\"accept-queue\"}";
                server.past(begun as u64 + 1);
                assert_eq!(server.value(limiting), 1.0, "the window in which it began");
                server.past(begun as u64 + 2);
                assert!(server.value(limiting) >= 2.0);
                let found = format!("tcproof_findings{{limit=\"accept-queue\",cause=\"{cause}\",state=\"limiting\"}}");
                let (_, _, body) = server.get("/metrics", "");
                assert!(body.lines().any(|line| line == format!("{found} 1")), "no {found} in {body}");
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
}

/// Without waiting for the end of the handshake.
fn begin_to_connect(at: SocketAddr) -> Option<OwnedFd> {
    let kind = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, kind, None).ok()?;
    matches!(connect(&socket, &at), Ok(()) | Err(Errno::INPROGRESS)).then_some(socket)
}

#[test]
fn where_the_namespace_went_away_nothing_is_clear() {
    if let Err(why) = require_root() {
        return skip("where_the_namespace_went_away_nothing_is_clear", &why);
    }
    inside(|| {
        let namespace = Netns::new().unwrap();
        let mut inhabitant = namespace.run_in(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap();
        drop(namespace);
        let server = Server::watch("127.0.0.1:0", &inhabitant.id().to_string()).ready();
        assert_eq!(server.value("tcproof_limit_state{limit=\"accept-queue\",state=\"clear\"}"), 1.0);
        inhabitant.kill().unwrap();
        inhabitant.wait().unwrap();
        let since = Instant::now();
        while server.value("tcproof_limit_state{limit=\"accept-queue\",state=\"unknown\"}") != 1.0 {
            assert!(since.elapsed() < PATIENCE, "never unknown");
            thread::sleep(Duration::from_millis(50));
        }
        assert!(server.value("tcproof_readings_absent{limit=\"all\"}") >= 1.0);
    });
}

#[test]
fn it_ends_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start();
        let since = Instant::now();
        let (status, said) = server.end(signal);
        assert_eq!(status.code(), Some(0), "{said:?}");
        assert!(since.elapsed() < PATIENCE);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let output = Command::new(TCPROOF).args(["serve", "--listen", &at]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("listening on {at}: Address already in use")), "{said}");
    for wrong in ["localhost:1", "127.0.0.1", "127.0.0.1:99999", ""] {
        let output = Command::new(TCPROOF).args(["serve", "--listen", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn an_address_that_is_not_loopback_is_said() {
    inside(|| {
        if require_root().is_err() {
            return skip("an_address_that_is_not_loopback_is_said", "needs a network namespace of its own");
        }
        let server = Server::start_at("0.0.0.0:0");
        let line = server.said.recv_timeout(PATIENCE).unwrap();
        assert!(line.contains(&format!("{} is not loopback", server.at)), "{line}");
    });
}

#[test]
fn who_answers_has_no_capability() {
    let server = Server::start().ready();
    let mut of_accept = 0;
    for task in fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap() {
        // One that has just answered is gone.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        if status.starts_with("Name:\taccept\n") {
            assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
            of_accept += 1;
        }
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    }
    assert_eq!(of_accept, 1);
}

#[test]
fn garbage_gets_an_answer_that_names_what_was_expected() {
    inside(|| {
        let server = Server::start();
        let long = "a".repeat(64 << 10);
        for (bytes, code) in [
            ("POST /metrics HTTP/1.1\r\n\r\n", 405),
            ("GET /metric HTTP/1.1\r\n\r\n", 404),
            ("GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
            ("\u{16}\u{3}\u{1} hello\r\n\r\n", 400),
            ("GET /metrics HTTP/9.9\r\n\r\n", 400),
            (&format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
            (&format!("GET /metrics HTTP/1.1\r\na: {long}\r\n\r\n"), 431),
            (&format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100)), 431),
        ] {
            let answer = server.send(bytes.as_bytes());
            assert_eq!(status(&answer), Some(code), "{answer:?} to {:?}", bytes.get(..40));
            assert!(answer.contains("\r\n\r\nexpected "), "{answer}");
        }
        // With a body that nobody reads, and two requests in one.
        assert_eq!(server.get("/metrics?x=y", "Content-Length: 5\r\n").0, 200);
        let twice = "GET /metrics HTTP/1.1\r\n\r\n".repeat(2);
        assert_eq!(server.send(twice.as_bytes()).matches("HTTP/1.1 200").count(), 1);
        let head = server.send(b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        // Nobody's business either: gone without a word, or in the middle of one.
        drop(server.connect());
        server.connect().write_all(b"GET /met").unwrap();
        assert_eq!(server.get("/metrics", "").0, 200);
    });
}

#[test]
fn who_is_slow_does_not_keep_a_scraper_out() {
    inside(|| {
        let mut server = Server::start().ready();
        let memory = server.value("process_resident_memory_bytes");
        tcproof_host::allow_many_files();
        let room = getrlimit(Resource::Nofile).current.map_or(10_000, |most| most as usize / 8);
        let (at, stop) = (server.at, AtomicBool::new(false));
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            // Each has half a request to say, and hangs on.
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut slow = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut stream) = TcpStream::connect(at) else { continue };
                        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
                        slow.push(stream);
                        if taken.fetch_add(1, Ordering::Relaxed) >= 10_000 {
                            break;
                        }
                        // The others were closed long since.
                        slow.drain(..slow.len().saturating_sub(room));
                    }
                });
            }
            let (mut scrapes, mut longest) = (0, Duration::ZERO);
            while taken.load(Ordering::Relaxed) < 10_000 {
                let since = Instant::now();
                assert_eq!(server.get("/metrics", "").0, 200);
                longest = longest.max(since.elapsed());
                scrapes += 1;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(scrapes > 0 && longest < Duration::from_secs(2), "{scrapes} scrapes, the longest took {longest:?}");
        });
        if room > 512 {
            assert!(server.value("tcproof_connections_refused_total") > 1_000.0);
        }
        let threads = fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap().count();
        assert!(threads < 8, "{threads} threads");
        let grown = server.value("process_resident_memory_bytes") - memory;
        assert!(grown < f64::from(16 << 20), "{grown} bytes more");
        assert!(server.child.try_wait().unwrap().is_none());
    });
}

#[test]
fn the_slow_are_cut_off() {
    inside(|| {
        let server = Server::start().ready();
        let since = Instant::now();
        let mut slow: Vec<_> = (0..16).map(|_| server.connect()).collect();
        // A request's beginning; one that asks and takes nothing; one that has its answer and stays.
        slow.iter_mut().for_each(|stream| stream.write_all(b"G").unwrap());
        let mut stays = server.connect();
        stays.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        thread::sleep(Duration::from_secs(3));
        for stream in &mut slow {
            let _ = stream.write_all(b"E");
        }
        for mut stream in slow {
            let answer = text(&mut stream);
            assert_eq!(status(&answer), Some(408), "{answer:?}");
        }
        let took = since.elapsed();
        assert!(took > Duration::from_secs(4) && took < SERVERS_PATIENCE * 2, "{took:?}");
        assert_eq!(status(&text(&mut stays)), Some(200));
        assert_eq!(server.value("tcproof_connections_refused_total"), 0.0);
    });
}

#[test]
fn a_page_from_elsewhere_can_not_read_the_report() {
    inside(|| {
        let ask = |server: &Server, host: &str| {
            let answer = server.send(format!("GET /healthz HTTP/1.1\r\n{host}\r\n").as_bytes());
            (status(&answer).unwrap_or_else(|| panic!("{answer:?}")), answer)
        };
        let server = Server::start().ready();
        for host in ["Host: localhost:9877\r\n", "Host: 127.0.0.1\r\n", "host: [::1]:1\r\n", ""] {
            assert_eq!(ask(&server, host).0, 200, "{host}");
        }
        for host in ["Host: attacker.example\r\n", "Host: localhost\r\nHost: attacker.example\r\n", "Host:\r\n"] {
            let (status, answer) = ask(&server, host);
            assert_eq!(status, 403, "{host}");
            assert!(answer.contains("--allow-host") && !answer.contains("attacker"), "{answer}");
        }
        let server = Server::start_with(&["--allow-host", "web-07.example", "--allow-host", "web-07"]).ready();
        for (host, code) in [("web-07.example:80", 200), ("WEB-07", 200), ("localhost", 200), ("web-08", 403)] {
            assert_eq!(ask(&server, &format!("Host: {host}\r\n")).0, code, "{host}");
        }
        let output = Command::new(TCPROOF).args(["serve", "--allow-host", "web-07:80"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("without a port"));
    });
}

//! Real servers whose accept queues really overflow: the right listener, its processes, the cause, and the setting by
//! which that server is told its backlog.
//!
//! Debian's nginx under `ab`, and Redis with a command that blocks it, each in a network namespace of its own. Missing
//! programs and missing root are visible: their trials are ignored with the reason in the name, and counted last.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;
use tcproof_lab::kit::{netns::Netns, require_root, rtnl, sysctl};

/// The program under test.
const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const NGINX: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
const REDIS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6390);
/// What nginx and Redis ask for when nobody says otherwise.
const ASKED: u64 = 511;
/// At once, they overflow a queue of 128, and are far from filling one of 511.
const CLIENTS: usize = 300;
/// No server takes longer to start or stop, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// The last drops before a reading may be in one of the two counters and not yet in the other.
const SKEW: f64 = 0.05;

type Result<T = ()> = std::result::Result<T, Failed>;

/// What a trial is called, the programs it needs, and what it does.
type Case = (&'static str, &'static [&'static str], fn() -> Result);

const NGINX_AND_AB: &[&str] = &["nginx", "ab", "nsenter", "setpriv"];
const REDIS_ALONE: &[&str] = &["redis-server", "redis-cli", "nsenter", "setpriv"];
const ALL: &[&str] = &["nginx", "ab", "redis-server", "redis-cli", "nsenter", "setpriv"];

const CASES: &[Case] = &[
    ("nginx_that_keeps_up_is_clear", NGINX_AND_AB, nginx_that_keeps_up_is_clear),
    ("nginx_that_pauses_has_a_small_backlog", NGINX_AND_AB, nginx_that_pauses_has_a_small_backlog),
    ("nginx_that_does_not_accept_is_slow", NGINX_AND_AB, nginx_that_does_not_accept_is_slow),
    ("nginx_under_12000_clients_overflows", NGINX_AND_AB, nginx_under_12000_clients_overflows),
    ("nginx_is_clamped_and_a_reload_is_not_enough", NGINX_AND_AB, nginx_is_clamped_and_a_reload_is_not_enough),
    ("redis_overflows_beside_a_deferring_nginx", ALL, redis_overflows_beside_a_deferring_nginx),
    ("redis_is_clamped_then_not_relistened_then_clear", REDIS_ALONE, redis_is_clamped_then_not_relistened_then_clear),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    // Thousands of clients, each with a descriptor; the children inherit this.
    let files = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });

    let trials = CASES.iter().map(|(name, needs, work)| match missing(needs) {
        Some(why) => Trial::test(format!("{name} (SKIP: {why})"), *work).with_ignored_flag(true),
        None => Trial::test(*name, *work),
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if arguments.list {
        return;
    }
    let skipped: Vec<String> = CASES.iter().filter_map(|(_, needs, _)| missing(needs)).collect();
    let reasons: Vec<&str> = skipped.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    let because = if reasons.is_empty() { "everything is there".to_owned() } else { reasons.join("; ") };
    println!("SKIP {} of {}: {because}", skipped.len(), CASES.len());
    conclusion.exit();
}

/// Why a trial that needs these programs cannot run here.
fn missing(programs: &[&str]) -> Option<String> {
    if let Err(why) = require_root() {
        return Some(why);
    }
    let absent: Vec<&str> = programs.iter().copied().filter(|program| !is_installed(program)).collect();
    (!absent.is_empty()).then(|| format!("not installed: {}", absent.join(", ")))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn nginx_that_keeps_up_is_clear() -> Result {
    let place = Place::new()?;
    let nginx = place.nginx("")?;
    let done = AtomicBool::new(false);
    let (checked, runs) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut runs = 0;
            while !done.load(Ordering::Relaxed) {
                let ab =
                    place.program("ab").args(["-q", "-n", "2000", "-c", "20", "http://127.0.0.1:8080/"]).output()?;
                let report = String::from_utf8_lossy(&ab.stdout).into_owned();
                let failed = report.lines().find(|line| line.starts_with("Failed requests:"));
                if !failed.is_some_and(|line| line.ends_with(" 0")) {
                    return Err(io::Error::other(format!("ab: {report}")));
                }
                runs += 1;
            }
            Ok(runs)
        });
        let checked = check(nginx.pid());
        done.store(true, Ordering::Relaxed);
        (checked, load.join().expect("ab's thread does not panic"))
    });
    println!("  healthy: {} runs of ab", runs?);
    checked?.is_clear()
}

fn nginx_that_pauses_has_a_small_backlog() -> Result {
    let place = Place::new()?;
    let nginx = place.nginx("")?;
    let worker = nginx.worker()?;
    let ab = place.ab(1000)?;
    let checked = while_stuttering(worker, || check(nginx.pid()))?;
    drop(ab);
    checked.names(NGINX, "nginx", &[nginx.pid(), worker], &["backlog-small"])?;
    checked.has_backlog(ASKED)?;
    checked.advises("backlog=", "service")
}

fn nginx_that_does_not_accept_is_slow() -> Result {
    let place = Place::new()?;
    let nginx = place.nginx("")?;
    let worker = nginx.worker()?;
    // ab opens one connection, and the rest once that one was answered. Some of them the worker has accepted before it is
    // stopped: the others must be more than its queue holds.
    let ab = place.ab(2000)?;
    std::thread::sleep(Duration::from_millis(500));
    let stopped = Stopped::new(worker)?;
    std::thread::sleep(Duration::from_millis(500));
    let checked = check(nginx.pid())?;
    drop((stopped, ab));
    checked.names(NGINX, "nginx", &[nginx.pid(), worker], &["application-slow"])?;
    // A longer queue in front of a server that does not accept only holds more clients that give up.
    let levels = checked.remedies(|remedy| remedy["level"].as_str().map(ToString::to_string));
    ensure(levels.iter().all(|level| level == "application"), || format!("remedies for a slow server: {levels:?}"))
}

/// No trick here: one worker, and more clients than it can serve at once.
fn nginx_under_12000_clients_overflows() -> Result {
    let place = Place::new()?;
    let nginx = place.nginx("")?;
    let worker = nginx.worker()?;
    let checked = std::thread::scope(|scope| {
        let check = scope.spawn(|| check(nginx.pid()));
        // The window must be open before the clients come: nearly all that is lost is lost in their first second.
        std::thread::sleep(Duration::from_millis(500));
        // More programs than CPUs: one of them alone is no faster than nginx on some machines.
        let abs = (0..4).map(|_| place.ab(3000)).collect::<Result<Vec<_>>>();
        let checked = check.join().expect("the check's thread does not panic");
        abs.and(checked)
    })?;
    // Whether the worker ever catches up depends on how fast this machine is.
    checked.names(NGINX, "nginx", &[nginx.pid(), worker], &["backlog-small", "application-slow"])
}

fn nginx_is_clamped_and_a_reload_is_not_enough() -> Result {
    let place = Place::new()?;
    place.set("net.core.somaxconn", "128")?;
    let nginx = place.nginx("")?;
    let owners = |worker| [nginx.pid(), worker];

    let worker = nginx.worker()?;
    let ab = place.ab(600)?;
    let checked = while_stuttering(worker, || check(nginx.pid()))?;
    checked.names(NGINX, "nginx", &owners(worker), &["somaxconn-clamps"])?;
    checked.has_backlog(128)?;
    checked.advises("backlog=", "service")?;
    checked.advises("net.core.somaxconn", "kernel")?;
    drop(ab);

    // nginx hands the socket over to the new configuration, where the backlog is the same: no listen(2).
    place.set("net.core.somaxconn", "4096")?;
    let worker = nginx.reload(worker)?;
    let ab = place.ab(600)?;
    let checked = while_stuttering(worker, || check(nginx.pid()))?;
    checked.names(NGINX, "nginx", &owners(worker), &["not-relistened"])?;
    checked.has_backlog(128)?;
    checked.advises("restart", "service")?;
    checked.advises("backlog=", "service")?;
    drop(ab);

    // A changed backlog= is applied by a reload.
    place.configure("backlog=2048")?;
    let worker = nginx.reload(worker)?;
    let _ab = place.ab(600)?;
    while_stuttering(worker, || check(nginx.pid()))?.is_clear()
}

/// With TCP_DEFER_ACCEPT every last ACK counts as a drop at the listener, though nothing is lost and the namespace's
/// ListenDrops stay: the listener's own counter alone accuses nobody.
fn redis_overflows_beside_a_deferring_nginx() -> Result {
    let place = Place::new()?;
    place.set("net.core.somaxconn", "128")?;
    let _nginx = place.nginx("deferred")?;
    let redis = place.redis()?;
    let _ab = place.ab(20)?;
    let checked = place.while_blocking(CLIENTS, || check_with(redis.pid(), &["--no-ebpf"]))?;
    let deferred = place.counter("TCPDeferAcceptDrop")?;
    println!("  {deferred} last ACKs deferred");
    ensure(deferred > 0, || "nginx deferred nothing".to_owned())?;
    // nginx's counter runs so far ahead that it could be the one that overflowed, but for its queue, which never was full.
    checked.names_with("likely", REDIS, "redis-server", &[redis.pid()], &["somaxconn-clamps"])?;
    // A probe at each arrival sees that too: no other queue was full.
    let checked = place.while_blocking(CLIENTS, || check(redis.pid()))?;
    match checked.has_probes() {
        true => checked.names(REDIS, "redis-server", &[redis.pid()], &["somaxconn-clamps"]),
        false => Ok(()),
    }
}

fn redis_is_clamped_then_not_relistened_then_clear() -> Result {
    let place = Place::new()?;
    place.set("net.core.somaxconn", "128")?;
    let redis = place.redis()?;

    let checked = place.while_blocking(CLIENTS, || check(redis.pid()))?;
    checked.names(REDIS, "redis-server", &[redis.pid()], &["somaxconn-clamps"])?;
    checked.has_backlog(128)?;
    checked.says("Redis asks for 511 unless its configuration says otherwise and got 128")?;
    checked.advises("tcp-backlog", "service")?;
    checked.advises("net.core.somaxconn", "kernel")?;

    place.set("net.core.somaxconn", "4096")?;
    let checked = place.while_blocking(CLIENTS, || check(redis.pid()))?;
    checked.names(REDIS, "redis-server", &[redis.pid()], &["not-relistened"])?;
    checked.has_backlog(128)?;
    checked.advises("restart", "service")?;
    drop(redis);

    let redis = place.redis()?;
    place.while_blocking(CLIENTS, || check(redis.pid()))?.is_clear()
}

/// A network namespace with a loopback, and a directory for the servers' files.
struct Place {
    netns: Netns,
    files: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let place = Self { netns: Netns::new()?, files: tempfile::tempdir()? };
        place.netns.run_in(|| rtnl::up("lo"))??;
        // What the host has set is not what is tested.
        place.set("net.core.somaxconn", "4096")?;
        place.set("net.ipv4.tcp_syncookies", "1")?;
        Ok(place)
    }

    fn set(&self, key: &str, value: &str) -> Result {
        Ok(self.netns.run_in(|| sysctl::write(key, value))??)
    }

    /// A counter of the namespace's `TcpExt`.
    fn counter(&self, name: &str) -> Result<u64> {
        let text = self.netns.run_in(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: ")).map(str::split_ascii_whitespace);
        let (Some(names), Some(mut values)) = (lines.next(), lines.next()) else { return Err("no TcpExt".into()) };
        let at = names.into_iter().position(|known| known == name).ok_or_else(|| format!("no TcpExt.{name}"))?;
        Ok(values.nth(at).unwrap_or_default().parse()?)
    }

    /// A command inside the namespace, which becomes the program itself: its pid is the program's.
    fn program(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        // What runs inside shall go with this process, as the namespace's descriptor does. By TERM, since then nginx's
        // master takes its workers along.
        command.args(["--pdeathsig", "TERM", "nsenter"]);
        command.arg(format!("--net={}", self.netns.file().display())).arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn configuration(&self) -> PathBuf {
        self.files.path().join("nginx.conf")
    }

    /// Writes a configuration whose `listen` has these further arguments.
    fn configure(&self, arguments: &str) -> Result {
        let files = self.files.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("    {name}_temp_path {files}/{name};\n"))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process on;\nworker_processes 1;\nworker_rlimit_nofile 16384;\n\
             pid {files}/nginx.pid;\nerror_log {files}/error.log;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n    access_log off;\n{temporary}    server {{\n        listen {NGINX} {arguments};\n        \
             location / {{ return 200 \"hello\\n\"; }}\n    }}\n}}\n"
        );
        Ok(std::fs::write(self.configuration(), text)?)
    }

    fn nginx(&self, listen: &str) -> Result<Running> {
        self.configure(listen)?;
        let mut command = self.program("nginx");
        command.arg("-c").arg(self.configuration()).arg("-p").arg(self.files.path());
        self.start(command, NGINX)
    }

    fn redis(&self) -> Result<Running> {
        let mut command = self.program("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", "6390", "--save", "", "--appendonly", "no"]);
        // DEBUG SLEEP stands for any command that takes long: Redis accepts in the thread that runs commands.
        command.args(["--enable-debug-command", "local", "--dir"]).arg(self.files.path());
        command.stdout(Stdio::null());
        self.start(command, REDIS)
    }

    /// Starts a server and waits until it listens.
    fn start(&self, mut command: Command, at: SocketAddrV4) -> Result<Running> {
        let mut server = Running(command.stderr(Stdio::null()).spawn()?);
        let up = eventually(|| {
            Ok(match server.0.try_wait()? {
                Some(status) => Err(format!("{command:?} ended: {status}")),
                None => self.netns.run_in(|| TcpStream::connect(at)).and_then(|it| it).map_err(|e| e.to_string()),
            })
        });
        up.map(|_| server)
    }

    /// ApacheBench with so many clients, until it is dropped.
    fn ab(&self, clients: u32) -> Result<Running> {
        let mut command = self.program("ab");
        command.args(["-q", "-r", "-t", "60", "-n", "100000000", "-c", &clients.to_string(), "http://127.0.0.1:8080/"]);
        Ok(Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// Runs `work` while Redis blocks for 300 ms of every second, and so many clients come in each of these pauses.
    fn while_blocking<T>(&self, clients: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let end = Instant::now() + Duration::from_secs(1);
                    let mut blocker = self.program("redis-cli");
                    blocker.args(["-p", "6390", "debug", "sleep", "0.3"]).stdout(Stdio::null());
                    let mut blocker = Running(blocker.spawn()?);
                    std::thread::sleep(Duration::from_millis(100));
                    let connections = self.netns.run_in(|| connecting(clients))??;
                    blocker.0.wait()?;
                    // Those that waited are accepted, then all leave before the dropped ones try again.
                    std::thread::sleep(Duration::from_millis(100));
                    drop(connections);
                    std::thread::sleep(end.saturating_duration_since(Instant::now()));
                }
                Ok::<_, io::Error>(())
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            load.join().expect("the clients' thread does not panic")?;
            result
        })
    }
}

/// Sockets of the calling thread's namespace that are on their way to Redis.
fn connecting(count: usize) -> io::Result<Vec<std::os::fd::OwnedFd>> {
    let connect = |_| {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &REDIS) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    };
    (0..count).map(connect).collect()
}

/// A program, ended when dropped.
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// nginx's one worker; an older one may still be on its way out.
    fn worker(&self) -> Result<u32> {
        eventually(|| match self.children()?[..] {
            [worker] => Ok(Ok(worker)),
            ref other => Ok(Err(format!("{} workers", other.len()))),
        })
    }

    fn children(&self) -> Result<Vec<u32>> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Has nginx read its configuration again; its new worker.
    fn reload(&self, old: u32) -> Result<u32> {
        signal(self.pid(), Signal::HUP)?;
        eventually(|| match self.children()?[..] {
            [worker] if worker != old => Ok(Ok(worker)),
            _ => Ok(Err("the old worker is still there".to_owned())),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gently first: a killed master would leave nginx's workers behind.
        let _ = signal(self.pid(), Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that does not run while this lives.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> io::Result<Self> {
        signal(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = signal(self.0, Signal::CONT);
    }
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Runs `work` while that process stands still for 200 ms of every second.
fn while_stuttering<T>(pid: u32, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stutter = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let stopped = Stopped::new(pid)?;
                std::thread::sleep(Duration::from_millis(200));
                drop(stopped);
                std::thread::sleep(Duration::from_millis(800));
            }
            Ok::<_, io::Error>(())
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        stutter.join().expect("the stutter's thread does not panic")?;
        result
    })
}

/// Asks again until there is an answer; the last reason why not, when patience ends.
fn eventually<T>(mut ask: impl FnMut() -> Result<std::result::Result<T, String>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(why) if Instant::now() > end => return Err(why.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// What `tcproof check` said.
struct Checked {
    status: Option<i32>,
    answer: Value,
}

/// The real program, on the namespace of that process.
fn check(pid: u32) -> Result<Checked> {
    check_with(pid, &[])
}

fn check_with(pid: u32, more: &[&str]) -> Result<Checked> {
    let mut check = Command::new(TCPROOF);
    check.args(["check", "--for", "3s", "--json", "--netns", &pid.to_string()]).args(more);
    let Output { status, stdout, stderr } = check.output()?;
    let answer = serde_json::from_slice(&stdout)
        .map_err(|error| format!("{error}; {status}: {}", String::from_utf8_lossy(&stderr)))?;
    let checked = Checked { status: status.code(), answer };
    for finding in checked.findings() {
        println!(
            "  {}/{} ({}): {}",
            text(&finding["limit"]),
            text(&finding["cause"]),
            text(&finding["state"]),
            text(&finding["summary"])
        );
    }
    Ok(checked)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Checked {
    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.answer["findings"].as_array().into_iter().flatten()
    }

    fn first(&self) -> &Value {
        &self.answer["findings"][0]
    }

    /// With the whole answer, so that a failure can be understood.
    fn ensure(&self, holds: bool, what: &str) -> Result {
        ensure(holds, || format!("{what}: exit {:?}, {:#}", self.status, self.answer))
    }

    fn is_clear(&self) -> Result {
        self.ensure(self.findings().next().is_none(), "no findings")?;
        self.ensure(self.status == Some(0) && self.answer["verdict"] == "clear", "clear")
    }

    /// The first finding is the accept queue at `local` of these processes, for one of these causes; its drops add up.
    fn names(&self, local: SocketAddrV4, comm: &str, pids: &[u32], causes: &[&str]) -> Result {
        // That an application listened for more than it got is known from its default, not from itself.
        let confidence = if causes == ["not-relistened"] { "likely" } else { "proven" };
        self.names_with(confidence, local, comm, pids, causes)
    }

    fn names_with(&self, confidence: &str, local: SocketAddrV4, comm: &str, pids: &[u32], causes: &[&str]) -> Result {
        let first = self.first();
        self.ensure(self.status == Some(13) && first["state"] == "limiting", "limiting")?;
        self.ensure(first["limit"] == "accept-queue", "the accept queue")?;
        self.ensure(first["confidence"] == confidence, confidence)?;
        self.ensure(causes.contains(&text(&first["cause"])), &format!("cause {causes:?}"))?;
        self.ensure(first["subject"]["local"] == local.to_string(), &format!("the listener at {local}"))?;
        let owners: Vec<_> = first["subject"]["owners"].as_array().into_iter().flatten().collect();
        let pids_found: BTreeSet<u64> = owners.iter().filter_map(|owner| owner["pid"].as_u64()).collect();
        let pids_true: BTreeSet<u64> = pids.iter().map(|pid| u64::from(*pid)).collect();
        self.ensure(pids_found == pids_true, &format!("owners {pids:?}"))?;
        self.ensure(owners.iter().all(|owner| owner["comm"] == comm), &format!("owners called {comm}"))?;
        // Over a loopback, clients and servers share the queue of each CPU, and thousands of SYNs at once may overflow
        // that one, too.
        let others = self.findings().skip(1).filter(|other| other["state"] == "limiting");
        let others: Vec<_> = others.filter(|other| other["limit"] != "softnet-backlog").collect();
        self.ensure(others.is_empty(), "nothing else is limiting")?;
        self.adds_up()
    }

    /// The listener's own drops and what no listener counted are all that the namespace counted. A last ACK that the
    /// queue has no place for counts twice at the listener, once for the overflow and once as a discarded packet.
    fn adds_up(&self) -> Result {
        let drops = self.evidence("SK_MEMINFO_DROPS");
        let all = self.evidence("TcpExt.ListenDrops");
        let rest = self.evidence("drops that no listener counted");
        println!("  the listener dropped {drops}, its namespace {all}, no listener {rest}");
        self.ensure(drops > 0.0, "the listener dropped")?;
        self.ensure((all * (1.0 - SKEW)..=all * 3.0).contains(&(drops + rest)), "drops that add up")?;
        self.ensure(rest <= all * SKEW, "no more than a moment's drops without a listener")
    }

    fn evidence(&self, reading: &str) -> f64 {
        let evidence = self.first()["evidence"].as_array().into_iter().flatten();
        evidence.filter(|e| e["reading"] == reading).find_map(|e| e["value"].as_f64()).unwrap_or(0.0)
    }

    /// Whether a probe saw what arrived in the first finding's queue.
    fn has_probes(&self) -> bool {
        let evidence = self.first()["evidence"].as_array().into_iter().flatten();
        evidence.map(|one| text(&one["reading"])).any(|reading| reading.contains("(sk_data_ready)"))
    }

    fn has_backlog(&self, backlog: u64) -> Result {
        let found = self.evidence("listen backlog (Send-Q)");
        self.ensure(found == backlog as f64, &format!("a backlog of {backlog}"))
    }

    fn says(&self, words: &str) -> Result {
        self.ensure(self.first().to_string().contains(words), words)
    }

    fn remedies<T>(&self, of: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        self.first()["remedies"].as_array().into_iter().flatten().filter_map(of).collect()
    }

    /// A remedy of that level has these words in its text or names that knob.
    fn advises(&self, words: &str, level: &str) -> Result {
        let found = self.remedies(|remedy| {
            let here = remedy["knob"] == words || text(&remedy["text"]).contains(words);
            (here && remedy["level"] == level).then_some(())
        });
        self.ensure(!found.is_empty(), &format!("a remedy that says {words} ({level})"))
    }
}

//! What capabilities the program keeps, and that with those that are documented it needs no root.
//!
//! Needs root, to make namespaces and to give a copy of the program capabilities; says `SKIP` without.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{StatVfsMountFlags, XattrFlags, setxattr, statvfs};
use rustix::thread::{CapabilitySet, capabilities};
use serde_json::Value;
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65534;
/// Set for the test program as a server.
const PORT: &str = "TCPROOF_TEST_PORT";
const CONNECTIONS: usize = 3;

/// As in the README.
const READING: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE).union(CapabilitySet::DAC_READ_SEARCH);
const EBPF: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIP: {line}\n"));
}

fn or_skip<T>(value: Result<T, String>) -> Option<T> {
    value.map_err(|why| skip(&why)).ok()
}

/// Whether this process may hand on all that the tests are about.
fn require_capabilities() -> Result<(), String> {
    require_root()?;
    let permitted = capabilities(None).expect("its capabilities").permitted;
    let missing = (READING | EBPF) - permitted;
    if missing.is_empty() { Ok(()) } else { Err(format!("this root lacks {missing:?}")) }
}

// ---- a server in a namespace -------------------------------------------------------------------------------------------

/// The test program once more: a listener whose queue is full, in a namespace of its own. It ends when its stdin does.
struct Server {
    child: Child,
    _out: BufReader<ChildStdout>,
    namespace: Netns,
}

impl Server {
    /// Started by another program, if one is named.
    fn start(port: u16, by: &[&str]) -> Result<Self, String> {
        let namespace = Netns::new().map_err(|error| format!("no network namespace: {error}"))?;
        let program = std::env::current_exe().expect("this program");
        let program = program.to_str().expect("UTF-8");
        let all = [by, &[program, "--exact", "server", "--ignored", "--nocapture"]].concat();
        let spawn = || {
            rtnl::up("lo").expect("lo comes up");
            let mut command = Command::new(all[0]);
            command.args(&all[1..]).env(PORT, port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().map_err(|error| format!("{}: {error}", all[0]))
        };
        let mut child = namespace.run_in(spawn).map_err(|error| error.to_string())??;
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let ready = out.by_ref().lines().map_while(Result::ok).any(|line| line.contains("SERVER ready"));
        assert!(ready, "the server failed");
        Ok(Self { child, _out: out, namespace })
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the other tests start it"]
fn server() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse::<u16>().ok()) else { return };
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    // The kernel lets one more in than asked for.
    rustix::net::listen(&listener, i32::try_from(CONNECTIONS - 1).expect("few")).expect("a shorter queue");
    let address = listener.local_addr().expect("its address");
    let _held: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).expect("room")).collect();
    println!("SERVER ready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
}

// ---- the program as nobody ---------------------------------------------------------------------------------------------

/// A copy of the program with capabilities of its own.
struct Copy {
    program: PathBuf,
    directory: TempDir,
}

impl Copy {
    fn with(permitted: CapabilitySet, is_effective: bool) -> Result<Self, String> {
        require_capabilities()?;
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let mount = statvfs(directory.path()).expect("its file system");
        if mount.f_flag.contains(StatVfsMountFlags::NOSUID) {
            return Err(format!("{}: capabilities of files don't count there (nosuid)", directory.path().display()));
        }
        let program = directory.path().join("tcproof");
        // By another process: what other tests start at that moment would have the file open for writing too, until it executes
        // something, and the kernel executes no such file (ETXTBSY).
        let copied = Command::new("cp").args([TCPROOF.as_ref(), program.as_os_str()]).status().expect("cp");
        assert!(copied.success(), "{copied}");
        // struct vfs_cap_data, little endian: VFS_CAP_REVISION_2 and the flag for effective ones, then permitted and
        // inheritable ones, the lower 32 first.
        let bits = permitted.bits();
        let words = [0x0200_0000 | u32::from(is_effective), bits as u32, 0, (bits >> 32) as u32, 0];
        let bytes = words.map(u32::to_le_bytes).concat();
        let set = setxattr(&program, "security.capability", &bytes, XattrFlags::empty());
        set.map_err(|error| format!("{}: no capabilities of files: {error}", directory.path().display()))?;
        Ok(Self { program, directory })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.uid(NOBODY).gid(NOBODY).env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        json(&self.run(&[arguments, &["--json"]].concat()))
    }
}

fn by_root(arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    json(&Command::new(TCPROOF).args(arguments).stdin(Stdio::null()).output().expect("it starts"))
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

// ---- what a process has ------------------------------------------------------------------------------------------------

/// A running program, which ends with it.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    /// Of every thread.
    fn statuses(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        // A thread may have ended meanwhile.
        tasks.filter_map(|task| fs::read_to_string(task.expect("a thread").path().join("status")).ok()).collect()
    }

    /// Until it has dropped something, which is before it makes threads.
    fn wait_for(&self, wanted: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let statuses = self.statuses();
            if !statuses.is_empty() && statuses.iter().all(|status| wanted(status)) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{}", statuses.concat());
            sleep(Duration::from_millis(10));
        }
    }

    /// Every thread has just these, and can get no others.
    fn assert_has(&self, expected: CapabilitySet) {
        for status in self.statuses() {
            for (field, expected) in [
                ("CapPrm", expected),
                ("CapEff", expected),
                ("CapInh", CapabilitySet::empty()),
                ("CapAmb", CapabilitySet::empty()),
            ] {
                assert_eq!(set(&status, field), expected, "{field}: {status}");
            }
            assert_eq!(field(&status, "NoNewPrivs"), "1", "{status}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).unwrap_or_else(|| panic!("no {name} in {status}"))
}

fn set(status: &str, name: &str) -> CapabilitySet {
    CapabilitySet::from_bits_retain(u64::from_str_radix(field(status, name), 16).expect("a number"))
}

/// An end of a stream into which nothing more fits: whoever writes there waits, and can be looked at.
fn full() -> (OwnedFd, UnixStream) {
    let (mut full, other) = UnixStream::pair().expect("a pair of sockets");
    full.set_nonblocking(true).expect("its mode");
    while full.write(&[b'.'; 4096]).is_ok() {}
    full.set_nonblocking(false).expect("its mode");
    (full.into(), other)
}

// ---- root --------------------------------------------------------------------------------------------------------------

#[test]
fn verbs_that_read_drop_the_rest_at_their_start() {
    if or_skip(require_capabilities()).is_none() {
        return;
    }
    // Those of eBPF go when the probes are attached.
    let has_dropped = |status: &str| field(status, "NoNewPrivs") == "1" && set(status, "CapPrm") == READING;
    for arguments in
        [&["--for", "60s"][..], &["check", "--for", "60s"], &["path", "--for", "60s"], &["plan", "--for=60s"]]
    {
        let running = Running::start(Command::new(TCPROOF).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()));
        running.wait_for(has_dropped);
        running.assert_has(READING);
    }
}

#[test]
fn all_are_dropped_before_anything_is_printed() {
    if or_skip(require_capabilities()).is_none() {
        return;
    }
    for arguments in [
        &["check", "--for", "100ms"][..],
        &["path", "--for", "100ms"],
        &["sockets"],
        &["sockets", "--backend", "bpf", "--by", "process"],
        &["doctor"],
        &["plan", "--for", "100ms"],
        &["man"],
    ] {
        let (out, _other) = full();
        let running = Running::start(Command::new(TCPROOF).args(arguments).stdout(out).stderr(Stdio::null()));
        running.wait_for(|status| set(status, "CapPrm").is_empty());
        running.assert_has(CapabilitySet::empty());
    }
}

/// In a container root lacks some, and then sees those processes that have no more than it has.
#[test]
fn root_without_ptrace_still_sees_who_listens() {
    let by = ["setpriv", "--bounding-set=-sys_ptrace,-dac_read_search,-sys_admin"];
    let Some(server) = or_skip(require_capabilities().and_then(|()| Server::start(8081, &by))) else { return };
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).args([TCPROOF, "sockets", "--json", "--netns", &server.pid()]);
    let output = server.namespace.run_in(|| command.output().expect("it starts")).expect("the namespace");
    let json = json(&output);
    assert_eq!(json["listeners"][0]["owners"][0]["pid"], server.child.id(), "{json}");
}

// ---- nobody ------------------------------------------------------------------------------------------------------------

#[test]
fn with_the_documented_capabilities_nobody_counts_and_names_what_root_does() {
    let Some(server) = or_skip(require_capabilities().and_then(|()| Server::start(8080, &[]))) else { return };
    // With `setcap …=p` the program makes them effective itself; `=ep` has the kernel do it.
    for is_effective in [false, true] {
        let Some(nobody) = or_skip(Copy::with(READING | EBPF, is_effective)) else { return };
        for backend in ["netlink", "proc", "bpf"] {
            let ask = ["sockets", "--backend", backend, "--by", "process", "--netns", &server.pid()];
            let root = by_root(&ask);
            if root["totals"][0].get("states").is_none() {
                skip(&format!("{backend} can't be used here: {root}"));
                continue;
            }
            let nobodys = nobody.json(&ask);
            assert_eq!(nobodys["backend"], backend);
            assert_eq!(nobodys["totals"][0]["states"]["ESTABLISHED"], 2 * CONNECTIONS, "{nobodys}");
            for part in ["totals", "listeners", "destinations", "processes"] {
                assert_eq!(nobodys[part], root[part], "{backend} {part}");
            }
            let owner = &nobodys["listeners"][0]["owners"][0];
            assert_eq!(owner["pid"], server.child.id(), "{nobodys}");
        }
        // Among all namespaces, whatever else there is: the full queue and whose it is.
        let checked = nobody.json(&["check", "--for", "200ms"]);
        let findings = checked["findings"].as_array().expect("findings").iter();
        let ours = findings.filter(|finding| finding["limit"] == "accept-queue").find(|finding| {
            let owners = finding["subject"]["owners"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["pid"] == server.child.id()))
        });
        assert!(ours.is_some(), "{checked}");
    }
}

/// The kernel makes a program that got capabilities undumpable, and its files in /proc root's: it must get at its own.
#[test]
fn with_the_documented_capabilities_nothing_is_missing_that_root_sees() {
    let Some(nobody) = or_skip(Copy::with(READING | EBPF, false)) else { return };
    let missing = |json: &Value| -> Vec<String> {
        let sights = json["sights"].as_array().expect("sights").iter();
        let missing = sights.filter(|sight| sight.get("because").is_some()).map(|sight| sight["what"].to_string());
        // Their number changes with the processes.
        missing.filter(|what| !what.starts_with("\"network namespaces of")).collect()
    };
    let (root, nobodys) = (by_root(&["doctor"]), nobody.json(&["doctor"]));
    assert_eq!(missing(&nobodys), missing(&root));
    assert_eq!(nobodys["needs"], root["needs"]);
    assert!(nobodys["needs"].as_array().expect("needs").iter().all(|need| need["here"] == true), "{nobodys}");
}

/// Counts on and on, and what it prints.
struct Watching {
    running: Running,
    counts: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<ChildStdout>, Value>,
}

impl Watching {
    fn start(command: &mut Command) -> Self {
        let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let out = running.0.stdout.take().expect("piped");
        Self { running, counts: serde_json::Deserializer::from_reader(out).into_iter() }
    }

    fn next(&mut self) -> Value {
        self.counts.next().expect("it goes on").expect("JSON")
    }

    /// Those that count have these, and the one that prints has none.
    fn assert_has(&self, expected: CapabilitySet) {
        let statuses = self.running.statuses();
        let counts = |status: &str| field(status, "Name") == "count";
        assert!(statuses.iter().any(|status| counts(status)) && !statuses.iter().all(|status| counts(status)));
        for status in statuses {
            let expected = if counts(&status) { expected } else { CapabilitySet::empty() };
            for name in ["CapPrm", "CapEff"] {
                assert_eq!(set(&status, name), expected, "{name}: {status}");
            }
            assert!(set(&status, "CapInh").is_empty() && set(&status, "CapAmb").is_empty(), "{status}");
            assert_eq!(field(&status, "NoNewPrivs"), "1", "{status}");
        }
    }
}

#[test]
fn what_is_counted_on_and_on_keeps_nothing_of_what_loading_needed() {
    for (given, left) in [(READING | EBPF, READING), (EBPF, CapabilitySet::empty())] {
        let Some(nobody) = or_skip(Copy::with(given, true)) else { return };
        let ask = ["sockets", "--backend", "bpf", "--by", "process", "--watch", "100ms", "--json"];
        let mut watching = Watching::start(&mut nobody.command(&ask));
        for _ in 0..3 {
            let census = watching.next();
            if census["totals"][0].get("states").is_none() {
                return skip(&format!("eBPF can't be used here: {census}"));
            }
            assert_eq!(
                (&census["backend"], &census["processes_counted_by"]),
                (&"bpf".into(), &"bpf".into()),
                "{census}"
            );
            watching.assert_has(left);
            let statuses = watching.running.statuses();
            assert!(statuses.iter().all(|status| field(status, "Uid").starts_with("65534\t")));
        }
    }
}

/// What comes after the first count is found only with all three: that is why they are kept.
#[test]
fn each_capability_that_a_watch_keeps_is_needed_in_a_later_round() {
    let owners = CapabilitySet::DAC_READ_SEARCH;
    for lacks in [CapabilitySet::empty(), CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_PTRACE, owners] {
        let Some(nobody) = or_skip(Copy::with(READING - lacks, true)) else { return };
        let ask = ["sockets", "--backend", "netlink", "--watch", "100ms", "--json", "--port", "8082"];
        let mut watching = Watching::start(&mut nobody.command(&ask));
        watching.next();
        let Some(server) = or_skip(Server::start(8082, &[])) else { return };
        // The second that follows was begun when the server was there.
        let census = [(); 2].map(|()| watching.next()).into_iter().last().expect("two");
        let listener = &census["listeners"][0];
        let owner = &listener["owners"][0]["pid"];
        if lacks.is_empty() {
            assert_eq!(*owner, server.child.id(), "{census}");
        } else if lacks == owners {
            assert!(listener.is_object() && owner.is_null(), "{census}");
        } else {
            // It is not found, or not entered; that something is not seen is said.
            assert!(listener.is_null(), "{lacks:?}: {census}");
            assert!(census["unknown"].to_string().contains("network namespace"), "{lacks:?}: {census}");
        }
        watching.assert_has(READING - lacks);
    }
}

#[test]
fn who_asks_for_the_own_namespace_alone_enters_no_other() {
    if or_skip(require_capabilities()).is_none() {
        return;
    }
    let own = std::process::id().to_string();
    let ask = ["sockets", "--backend", "netlink", "--watch", "100ms", "--json", "--netns", &own];
    let mut watching = Watching::start(Command::new(TCPROOF).args(ask));
    watching.next();
    watching.assert_has(CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH);
}

#[test]
fn without_capabilities_nobody_is_told_what_is_missing_and_why() {
    let Some(nobody) = or_skip(Copy::with(CapabilitySet::empty(), false)) else { return };
    let counted = nobody.json(&["sockets"]);
    assert_eq!(counted["backend"], "netlink");
    let unseen = counted["unknown"].to_string();
    assert!(unseen.contains("network namespaces of ") && unseen.contains("CAP_SYS_PTRACE"), "{counted}");
    let refused = nobody.run(&["sockets", "--backend", "bpf", "--json"]);
    let refused = (refused.status.code(), json(&refused).to_string());
    assert!(refused.0 == Some(1) && refused.1.contains("CAP_BPF and CAP_PERFMON"), "{refused:?}");
    let doctor = nobody.json(&["doctor"]);
    for need in doctor["needs"].as_array().expect("needs") {
        assert_eq!(need["here"], need["capabilities"] == Value::Array(Vec::new()), "{need}");
    }
}

/// They are for observing: who runs the program reads and writes by what they give no more than before.
#[test]
fn capabilities_of_the_file_open_no_file_that_the_command_line_names() {
    let Some(nobody) = or_skip(Copy::with(READING | EBPF, true)) else { return };
    let secret = nobody.directory.path().join("secret.conf");
    fs::write(&secret, "net.ipv4.tcp_secret = 1\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let secret = secret.to_str().expect("UTF-8");
    for arguments in [
        &["lint", "--strict", secret][..],
        &["plan", "--from", secret],
        &["apply", "--yes", secret],
        &["verify", secret, "--", "true"],
    ] {
        let output = nobody.run(arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).to_lowercase();
        assert!(said.contains("permission") && !said.contains("tcp_secret"), "{arguments:?}: {said}");
        assert_ne!(output.status.code(), Some(0), "{arguments:?}: {said}");
    }
}

//! The real program, as a person or a script runs it: what it prints, how it exits, and that nothing it is shown can
//! make it panic, hang or accuse.
//!
//! Tests that make network namespaces need root and say `SKIP` without it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};
use tempfile::TempDir;

/// The program under test.
const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// Recorded and derived roots, one for each kernel.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcproof-host/fixtures");
const KERNELS: [&str; 6] = ["4.19", "5.10", "6.1", "6.12", "6.18", "7.2"];
/// What runs longer hangs: no window here is longer than half a second.
const PATIENCE: Duration = Duration::from_secs(60);
const NOBODY: u32 = 65534;

// ---- the program -----------------------------------------------------------------------------------------------------

/// The program with these arguments, and nothing of the surroundings that would change what it prints.
fn tcproof<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    command(Path::new(TCPROOF), arguments)
}

fn command<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command
}

/// How it ended.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// `check --json` that keeps to the schema.
    fn checked(&self) -> Value {
        let json = self.json();
        let schema: Value = serde_json::from_str(&run(&mut tcproof(["schema", "check"])).stdout).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("a valid schema");
        let errors: Vec<_> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?} in {}", self.stdout);
        json
    }

    /// The code that this verdict calls for: what else happens on the machine may decide about the verdict.
    fn agrees_with(&self, json: &Value) {
        let expected = match json["verdict"].as_str() {
            Some("limiting") => 13,
            Some("near") => 12,
            _ => 0,
        };
        assert_eq!(self.code, Some(expected), "{}", json["verdict"]);
    }
}

fn run(command: &mut Command) -> Done {
    loop {
        match command.spawn() {
            // A copy that was written a moment ago: a child of another test may still hold it open, until it calls exec.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            child => return finish(child.expect("the program starts")),
        }
    }
}

fn finish(child: Child) -> Done {
    let pid = child.id();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(output) = receive.recv_timeout(PATIENCE) else {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a pid is not zero");
        rustix::process::kill_process(pid, Signal::KILL).expect("our child");
        panic!("it hangs");
    };
    let output = output.expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    let done = Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert!(done.code.is_some(), "killed by a signal: {}", output.status);
    done
}

fn stdout<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let done = run(&mut tcproof(arguments));
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    done.stdout
}

/// A copy of the program that any user can get at, run as nobody.
fn as_nobody(arguments: &[&str]) -> Result<(TempDir, Command), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root to become nobody".into());
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let program = dir.path().join("tcproof");
    fs::copy(TCPROOF, &program).expect("a copy");
    let mut command = command(&program, arguments.iter().copied());
    command.uid(NOBODY).gid(NOBODY);
    Ok((dir, command))
}

/// The value, or a line that says why the test is not done. Not by `eprintln!`, which the harness keeps to itself.
fn or_skip<T>(test: &str, value: Result<T, String>) -> Option<T> {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    match value {
        Ok(value) => Some(value),
        Err(why) => {
            let n = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = writeln!(std::io::stderr(), "SKIP {test}: {why} ({n} skipped)");
            None
        }
    }
}

// ---- a process in a network namespace of its own -----------------------------------------------------------------------

/// This test program once more, as a server in a fresh namespace. It ends when its stdin does.
struct Server {
    child: Child,
    /// The harness in the child has a last word.
    _out: BufReader<ChildStdout>,
    // Behind the child: what is still in it is destroyed.
    _namespace: Netns,
}

const ROLE: &str = "TCPROOF_TEST_ROLE";

impl Server {
    fn start(role: &str) -> Result<Self, String> {
        require_root()?;
        let namespace = Netns::new().map_err(|error| format!("no network namespace: {error}"))?;
        let spawn = || {
            rtnl::up("lo").expect("lo comes up");
            Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "server", "--ignored", "--nocapture"])
                .env(ROLE, role)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("this program starts")
        };
        let mut child = namespace.run_in(spawn).map_err(|error| format!("no way into the namespace: {error}"))?;
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = out.by_ref().lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once("SERVER ")?.1.to_string()));
        let server = Self { child, _out: out, _namespace: namespace };
        match said.as_deref() {
            Some("ready") => Ok(server),
            Some(why) => Err(why.to_string()),
            None => panic!("the server {role} failed"),
        }
    }

    /// The program, watching only that namespace.
    fn tcproof(&self, arguments: &[&str]) -> Command {
        let mut command = tcproof(["--netns", &self.child.id().to_string()]);
        command.args(arguments);
        command
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
    let Ok(role) = std::env::var(ROLE) else { return };
    let ready = || println!("SERVER ready");
    let until_told = || std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
    match role.as_str() {
        "quiet" => {
            let _listener = listen(128);
            ready();
            until_told();
        }
        "full" => {
            let listener = listen(1);
            // The kernel lets one more in than asked for.
            let _held: Vec<_> = (0..2).map(|_| TcpStream::connect(address(&listener)).expect("room for two")).collect();
            ready();
            until_told();
        }
        "overflowing" => {
            // Also a name that clears the screen and forges a line.
            fs::write("/proc/self/comm", HOSTILE_NAME).expect("its name");
            let listener = listen(1);
            let address = address(&listener);
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        held.extend(TcpStream::connect_timeout(&address, Duration::from_millis(10)));
                    }
                });
                ready();
                until_told();
                over.store(true, Ordering::Relaxed);
            });
        }
        "many" => match many_listeners() {
            Ok(_held) => {
                ready();
                until_told();
            }
            Err(why) => println!("SERVER {why}"),
        },
        other => panic!("no role {other:?}"),
    }
}

const HOSTILE_NAME: &str = "a\x1b[2Jb\nc\u{9b}d";
const MANY: u16 = 10_000;

/// A listener that nobody accepts from; `std` would not let us choose the backlog.
fn listen(backlog: i32) -> TcpListener {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))).expect("a free port");
    rustix::net::listen(&socket, backlog).expect("a listener");
    TcpListener::from(socket)
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("its address")
}

fn many_listeners() -> Result<Vec<TcpListener>, String> {
    let wanted = u64::from(MANY) + 64;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(format!("{wanted} descriptors needed, {:?} allowed", limit.maximum));
    }
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
        .map_err(|e| e.to_string())?;
    (0..MANY).map(|n| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 20_000 + n)).map_err(|e| e.to_string())).collect()
}

// ---- what is printed without looking at a host -------------------------------------------------------------------------

#[test]
fn help_of_every_verb() {
    insta::assert_snapshot!("help", stdout(["--help"]));
    insta::assert_snapshot!("help_short", stdout(["-h"]));
    let verbs =
        ["check", "path", "sockets", "explain", "lint", "apply", "verify", "confirm", "rollback", "journal", "doctor"];
    for verb in verbs.into_iter().chain(["lab", "schema", "completions", "man"]) {
        insta::assert_snapshot!(format!("help_{verb}"), stdout([verb, "--help"]));
    }
    assert_eq!(stdout(["--version"]), format!("tcproof {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn explain_lists_the_limits_and_shows_a_page_of_each() {
    insta::assert_snapshot!("explain", stdout(["explain"]));
    insta::assert_snapshot!("explain_accept-queue", stdout(["explain", "accept-queue"]));
    let list: Value = serde_json::from_str(&stdout(["explain", "--json"])).expect("JSON");
    let slugs: Vec<&str> = list["limits"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|limit| limit["slug"].as_str().expect("a slug"))
        .collect();
    assert!(slugs.len() >= 11);
    for slug in slugs {
        let page = stdout(["explain", slug]);
        for section in ["What it is", "Evidence", "Look-alikes", "Remedy"] {
            assert!(page.to_lowercase().contains(&section.to_lowercase()), "{slug} lacks {section}:\n{page}");
        }
        let json: Value = serde_json::from_str(&stdout(["explain", slug, "--json"])).expect("JSON");
        assert!(json.is_object());
    }
}

#[test]
fn the_manual_page_has_every_verb_and_nothing_hidden() {
    let page = stdout(["man"]);
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH TCPROOF")).collect();
    insta::assert_snapshot!(sections.join("\n"), @"
    CHECK
    TOP
    PATH
    RECORD
    SERVE
    SOCKETS
    EXPLAIN
    LINT
    PLAN
    REPORT
    APPLY
    VERIFY
    CONFIRM
    ROLLBACK
    JOURNAL
    DOCTOR
    LAB
    LAB LIST
    LAB RUN
    LAB SHELL
    SCHEMA
    COMPLETIONS
    MAN
    ");
    assert!(page.contains(".TH tcproof 1") && page.contains("Exit codes") && !page.contains("lab-worker"));
}

#[test]
fn completions_for_every_shell_offer_nothing_hidden() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = stdout(["completions", shell]);
        assert!(text.contains("--fail-on") || text.contains("-l fail-on"), "{shell}");
        assert!(!text.contains("worker"), "{shell}");
    }
    insta::assert_snapshot!("completions_bash", stdout(["completions", "bash"]));
}

#[test]
fn the_schema_is_the_file_and_a_valid_schema() {
    let text = stdout(["schema", "check"]);
    assert_eq!(text, tcproof_report::json::CHECK_SCHEMA);
    assert_eq!(text, stdout(["schema"]));
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    assert!(jsonschema::meta::is_valid(&schema));
}

// ---- exit codes and messages -------------------------------------------------------------------------------------------

/// Each: nothing on stdout, the code, and its message.
fn refused(code: i32, lines: &[&str]) -> String {
    let one = |line: &&str| {
        let done = run(&mut tcproof(line.split_ascii_whitespace()));
        assert_eq!((done.code, done.stdout.as_str()), (Some(code), ""), "{line}");
        format!("$ tcproof {line}\n{}", done.stderr)
    };
    lines.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[test]
fn exit_0_when_nothing_is_limiting() {
    for kernel in KERNELS {
        let done = run(&mut tcproof(["--root", &format!("{FIXTURES}/{kernel}")]));
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{kernel}");
    }
    let Some(server) = or_skip("exit_0_when_nothing_is_limiting (live)", Server::start("quiet")) else { return };
    let done = run(&mut server.tcproof(&["--for", "200ms", "--json"]));
    let json = done.checked();
    done.agrees_with(&json);
    assert!(accused(&json).is_empty(), "{json:#}");
}

#[test]
fn exit_1_when_there_is_no_answer() {
    insta::assert_snapshot!(
        "exit_1",
        refused(
            1,
            &[
                "--netns 4194304",
                "--root /nonexistent",
                "--root /etc/passwd",
                "doctor --root /nonexistent",
                "explain nope",
                "explain accept_queue",
            ]
        )
    );
    let done = run(&mut tcproof(["--netns", "no-such-namespace"]));
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    // Which others there are is the machine's.
    assert!(done.stderr.starts_with("tcproof: no network namespace \"no-such-namespace\": "), "{}", done.stderr);
    let done = run(&mut tcproof(["--netns", "nope", "--root", &format!("{FIXTURES}/6.18")]));
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(done.stderr.contains("leave --netns out"), "{}", done.stderr);
}

#[test]
fn exit_2_on_wrong_usage() {
    insta::assert_snapshot!(
        "exit_2",
        refused(
            2,
            &[
                "--for 0",
                "--for 1y",
                "--for abc",
                "--for 2h",
                "--for=-1s",
                "--port 0",
                "--port 65536",
                "--netns=",
                "--fail-on sometimes",
                "--color sometimes",
                "--format xml",
                "--no-such-flag",
                "--quiet --verbose",
                "frobnicate",
                "check surplus",
                "schema nope",
                "completions tcsh",
                "completions",
            ]
        )
    );
}

#[test]
fn exit_3_when_strict_and_something_is_unseen() {
    let root = format!("{FIXTURES}/6.18");
    for arguments in [["check", "--strict"], ["doctor", "--strict"]] {
        let done = run(tcproof(arguments).args(["--root", &root]));
        assert_eq!((done.code, done.stderr.as_str()), (Some(3), ""));
        assert!(!done.stdout.is_empty());
    }
}

#[test]
fn exit_12_when_something_is_near() {
    let Some(server) = or_skip("exit_12_when_something_is_near", Server::start("full")) else { return };
    let done = run(&mut server.tcproof(&["--for", "300ms", "--json"]));
    let json = done.checked();
    done.agrees_with(&json);
    assert_eq!(accused(&json), ["near accept-queue 127.0.0.1:8080"]);
    for (fail_on, code) in [("near", 12), ("limiting", 0), ("never", 0)] {
        let done = run(&mut server.tcproof(&["--for", "300ms", "--json", "--fail-on", fail_on]));
        // Something of the whole machine may be worse meanwhile.
        if done.checked()["verdict"] == "near" {
            assert_eq!(done.code, Some(code), "{fail_on}");
        }
    }
}

#[test]
fn exit_13_when_something_is_limiting() {
    let Some(server) = or_skip("exit_13_when_something_is_limiting", Server::start("overflowing")) else { return };
    let done = run(&mut server.tcproof(&["--for", "300ms", "--json"]));
    assert_eq!(done.code, Some(13), "{}", done.stdout);
    assert_eq!(accused(&done.checked()), ["limiting accept-queue 127.0.0.1:8080"]);
    // What is found comes before what could not be seen.
    for (arguments, code) in [
        (["--fail-on", "limiting", "--strict"], Some(13)),
        (["--port", "8080", "--strict"], Some(13)),
        (["--fail-on", "never", "--quiet"], Some(0)),
        (["--port", "81", "--fail-on=never"], Some(0)),
    ] {
        let done = run(server.tcproof(&["--for", "300ms"]).args(arguments));
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stdout);
    }
}

/// Findings about listeners: what is found about the whole machine is not ours.
fn accused(json: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let findings = json["findings"].as_array().expect("findings").iter();
    let listeners = findings.filter(|finding| finding["subject"]["kind"] == "listener");
    listeners.map(|f| [&f["state"], &f["limit"], &f["subject"]["local"]].map(text).join(" ")).collect()
}

// ---- this host ---------------------------------------------------------------------------------------------------------

#[test]
fn check_keeps_to_its_schema_on_this_host() {
    let arguments = ["check", "--json", "--for", "200ms"];
    let done = run(&mut tcproof(arguments));
    let json = done.checked();
    done.agrees_with(&json);
    assert_eq!(done.stderr, "");
    assert!(json["window_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2));
    assert!(json["headroom"].as_array().is_some_and(|rows| !rows.is_empty()));
    run(&mut tcproof(["--for", "200ms", "--format", "json"])).checked();
}

#[test]
fn check_keeps_to_its_schema_as_nobody_and_says_what_nobody_cannot_see() {
    let name = "check_keeps_to_its_schema_as_nobody_and_says_what_nobody_cannot_see";
    let Some((_dir, mut nobody)) = or_skip(name, as_nobody(&["--json", "--for", "200ms"])) else { return };
    let done = run(&mut nobody);
    let json = done.checked();
    done.agrees_with(&json);
    assert_eq!(done.stderr, "");
    // At least this test's own process hides its namespace from nobody.
    let unknown = json["unknown"].as_array().expect("a list");
    let hidden = unknown.iter().find(|unknown| unknown["limit"] == "all").expect("hidden namespaces");
    assert!(hidden["reading"].as_str().is_some_and(|reading| reading.starts_with("network namespaces of ")));
    assert!(hidden["because"].as_str().is_some_and(|because| because.contains("no permission")));
    assert!(hidden["would_need"].as_str().is_some_and(|need| need.starts_with("root")));

    let (_dir, mut nobody) = as_nobody(&["--for", "200ms", "--verbose"]).expect("root");
    let text = run(&mut nobody).stdout;
    assert!(text.contains("network namespaces of ") && text.contains("tcproof doctor"), "{text}");

    let (_dir, mut nobody) = as_nobody(&["--for", "200ms", "--strict", "--fail-on=never"]).expect("root");
    assert_eq!(run(&mut nobody).code, Some(3));
}

#[test]
fn doctor_runs_here() {
    let seen = |done: &Done| {
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        let json = done.json();
        let schema = serde_json::from_str(&stdout(["schema", "doctor"])).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("a valid schema");
        let errors: Vec<_> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?} in {json}");
        json["sights"].as_array().expect("sights").clone()
    };
    let sights = seen(&run(&mut tcproof(["doctor", "--json"])));
    assert!(sights.iter().any(|sight| sight["what"] == "this host" && sight["seen"].is_string()));
    let text = stdout(["doctor"]);
    assert!(text.contains("this host: "), "{text}");
    let strict = run(&mut tcproof(["doctor", "--strict", "--json"]));
    let all = strict.json()["sights"].as_array().expect("sights").iter().all(|sight| sight["seen"].is_string());
    assert_eq!(strict.code, Some(if all { 0 } else { 3 }));

    let Some((_dir, mut nobody)) = or_skip("doctor_runs_here (nobody)", as_nobody(&["doctor", "--json"])) else {
        return;
    };
    let sights = seen(&run(&mut nobody));
    let owners =
        sights.iter().find(|sight| sight["what"].as_str().is_some_and(|what| what.starts_with("owners of sockets")));
    let owners = owners.expect("it is looked at");
    let needs = "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or root";
    assert_eq!(owners["would_need"], needs, "nobody can't see whose sockets they are: {owners}");
    let (_dir, mut nobody) = as_nobody(&["doctor", "--strict"]).expect("root");
    let done = run(&mut nobody);
    assert_eq!(done.code, Some(3));
    assert!(done.stdout.starts_with("no   "), "{}", done.stdout);
}

// ---- a directory instead of a host -------------------------------------------------------------------------------------

#[test]
fn one_reading_of_each_kernel() {
    for kernel in KERNELS {
        let root = format!("{FIXTURES}/{kernel}");
        insta::assert_snapshot!(format!("root_{kernel}"), stdout(["--root", &root]));
        insta::assert_snapshot!(format!("root_{kernel}_doctor"), stdout(["doctor", "--root", &root]));
        let json = run(&mut tcproof(["--json", "--root", &root])).checked();
        assert_eq!(json["window_seconds"], 0, "{kernel}");
        nothing_moved(kernel, &json);
    }
}

/// One look can't tell what is dropped now: no finding, no clean bill of health, and the counters are said to be unknown.
fn nothing_moved(name: &str, json: &Value) {
    assert_eq!(json["findings"], Value::Array(Vec::new()), "{name}");
    assert_eq!(json["verdict"], "unknown", "{name}");
    for limit in ["accept-queue", "syn-queue", "orphans", "tcp-memory", "neighbour-table", "softnet-backlog"] {
        assert!(because(json).any(|(of, _)| of == limit), "{name}: {limit} is not unknown");
    }
}

fn because(json: &Value) -> impl Iterator<Item = (&str, &str)> {
    json["unknown"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|unknown| (unknown["limit"].as_str().unwrap_or_default(), unknown["because"].as_str().unwrap_or_default()))
}

/// A directory with all that is read, quiet and whole: the latest kernel's files and plausible knobs.
fn whole_root() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&Path::new(FIXTURES).join("6.18"), dir.path());
    for (knob, text) in [
        ("kernel/hostname", "web-07"),
        ("kernel/osrelease", "6.18.44"),
        ("net/core/netdev_max_backlog", "1000"),
        ("net/core/somaxconn", "4096"),
        ("net/ipv4/ip_local_port_range", "32768\t60999"),
        ("net/ipv4/neigh/default/gc_thresh3", "1024"),
        ("net/ipv6/neigh/default/gc_thresh3", "1024"),
        ("net/ipv4/tcp_max_orphans", "131072"),
        ("net/ipv4/tcp_max_tw_buckets", "131072"),
        ("net/ipv4/tcp_mem", "287901\t383868\t575802"),
        ("net/ipv4/tcp_syncookies", "1"),
        ("net/netfilter/nf_conntrack_buckets", "262144"),
        ("net/netfilter/nf_conntrack_count", "12"),
        ("net/netfilter/nf_conntrack_max", "262144"),
    ] {
        let path = dir.path().join("proc/sys").join(knob);
        fs::create_dir_all(path.parent().expect("not the root")).expect("a directory");
        fs::write(path, format!("{text}\n")).expect("a knob");
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let new = to.join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(new.parent().expect("not the root")).expect("a directory");
        fs::write(new, fs::read(path).expect("a file")).expect("its copy");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What the program makes of a directory: no panic, no accusation, exit 0, and 3 when it must see all.
fn survives(name: &str, root: &Path) -> Value {
    let json = stands(name, root, &[0]);
    assert_eq!(exit_code(root, "--strict"), 3, "{name}");
    nothing_moved(name, &json);
    json
}

/// No panic, one of these codes, clean text, and JSON as the schema has it.
fn stands(name: &str, root: &Path, codes: &[i32]) -> Value {
    let path = root.to_str().expect("UTF-8");
    let plain = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    let done = |arguments: &[&str], codes: &[i32]| {
        let done = run(tcproof(arguments.iter().copied()).args(["--root", path]));
        assert!(done.code.is_some_and(|code| codes.contains(&code)), "{name}: {arguments:?}: {:?}", done.code);
        assert_eq!(done.stderr, "", "{name}: {arguments:?}");
        assert!(plain(&done.stdout), "{name}: {:?}", done.stdout);
        done
    };
    for arguments in [&["check"][..], &["check", "-v"], &["check", "-q"]] {
        done(arguments, codes);
    }
    for arguments in [&["doctor"][..], &["doctor", "--json"]] {
        done(arguments, &[0]);
    }
    done(&["check", "--json"], codes).checked()
}

fn exit_code(root: &Path, flag: &str) -> i32 {
    run(tcproof([flag, "--root"]).arg(root)).code.expect("an exit code")
}

/// A way to spoil a file, and its name.
type Damage = (&'static str, fn(&Path));

const DAMAGE: [Damage; 8] = [
    ("empty", |path| fs::write(path, "").expect("a file")),
    ("truncated", |path| {
        let bytes = fs::read(path).expect("a file");
        fs::write(path, &bytes[..bytes.len() * 2 / 3]).expect("a file");
    }),
    ("binary", |path| fs::write(path, [0xff, 0, 0x1b, b'[', b'2', b'J', 0xfe, b'\n'].repeat(99)).expect("a file")),
    ("enormous", |path| fs::File::create(path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file")),
    ("a FIFO", |path| {
        fs::remove_file(path).expect("a file");
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    }),
    ("a symlink loop", |path| {
        fs::remove_file(path).expect("a file");
        symlink(path.file_name().expect("a name"), path).expect("a link");
    }),
    ("a directory", |path| {
        fs::remove_file(path).expect("a file");
        fs::create_dir(path).expect("a directory");
    }),
    ("missing", |path| fs::remove_file(path).expect("a file")),
];

#[test]
fn a_spoilt_netstat_is_named_with_what_was_expected() {
    let mut said = Vec::new();
    for (name, damage) in DAMAGE {
        let root = whole_root();
        damage(&root.path().join("proc/net/netstat"));
        let json = survives(name, root.path());
        let why = because(&json).find(|(limit, why)| *limit == "accept-queue" && why.contains("/proc/net/netstat"));
        said.push(format!("{name}: {}", why.expect(name).1));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    empty: /proc/net/netstat: expected a newline at its end: it is cut off
    truncated: /proc/net/netstat: expected a newline at its end: it is cut off
    binary: /proc/net/netstat:byte 0: expected UTF-8
    enormous: /proc/net/netstat: expected at most 16 MiB
    a FIFO: /proc/net/netstat: expected a regular file
    a symlink loop: /proc/net/netstat: Too many levels of symbolic links (os error 40)
    a directory: /proc/net/netstat: expected a regular file
    missing: /proc/net/netstat: not in this directory
    "#);
}

#[test]
fn nothing_but_spoilt_files() {
    for (name, damage) in DAMAGE {
        let root = whole_root();
        files(root.path()).iter().for_each(|path| damage(path));
        let json = survives(name, root.path());
        if name != "truncated" {
            assert_eq!(json["headroom"], Value::Array(Vec::new()), "{name}");
        }
    }
}

#[test]
fn a_spoilt_directory() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("proc")).expect("a directory");
    survives("an empty proc", root.path());
    fs::write(root.path().join("proc/net"), "").expect("a file");
    survives("a file for a directory", root.path());
    fs::remove_file(root.path().join("proc/net")).expect("a file");
    symlink("net", root.path().join("proc/net")).expect("a link");
    survives("a loop for a directory", root.path());
    fs::remove_file(root.path().join("proc/net")).expect("a file");
    symlink("/proc/self/net", root.path().join("proc/net")).expect("a link");
    survives("a way out", root.path());
}

#[test]
fn numbers_that_no_kernel_writes() {
    let replaced = |file: &str, edit: &dyn Fn(&str) -> String| {
        let root = whole_root();
        let path = root.path().join("proc").join(file);
        fs::write(&path, edit(&fs::read_to_string(&path).expect("a file"))).expect("a file");
        root
    };
    let numbers = |number: &str, text: &str| {
        let word = |word: &str| match word.trim_end() {
            digits if digits.parse::<i128>().is_ok() => word.replace(digits, number),
            _ => word.to_string(),
        };
        text.split_inclusive([' ', '\t', '\n']).map(word).collect::<String>()
    };
    for number in ["18446744073709551615", "999999999999999999999999999999", "-1", "1e9", "0x10", ""] {
        for file in ["net/netstat", "net/snmp", "net/dev", "stat", "meminfo"] {
            survives(file, replaced(file, &|text| numbers(number, text)).path());
        }
        // These say how much is in use: a table said to be overfull is reported as near its limit, but one look never
        // says that something was lost.
        for file in ["net/sockstat", "net/sockstat6", "sys/fs/file-nr"] {
            stands(file, replaced(file, &|text| numbers(number, text)).path(), &[0, 12]);
        }
    }
    let mut said = Vec::new();
    let mut netstat = |name: &str, edit: &dyn Fn(&str) -> String| {
        let json = survives(name, replaced("net/netstat", edit).path());
        let why = because(&json).find(|(limit, why)| *limit == "accept-queue" && why.contains("/proc/net/netstat"));
        said.push(format!("{name}: {}", why.expect(name).1));
    };
    netstat("30 digits", &|text| numbers("999999999999999999999999999999", text));
    netstat("a value too many", &|text| text.replacen("\nIpExt", " 7\nIpExt", 1));
    netstat("a value too few", &|text| text.replacen(" 0\nIpExt", "\nIpExt", 1));
    netstat("no values", &|text| text.lines().take(1).map(|line| format!("{line}\n")).collect());
    insta::assert_snapshot!(said.join("\n"), @r#"
    30 digits: /proc/net/netstat:2: expected a whole number, found "999999999999999999999999999999"
    a value too many: /proc/net/netstat:2: expected no more values than names in the line above, found "7"
    a value too few: /proc/net/netstat:2: expected a value for each name of the line above
    no values: /proc/net/netstat:2: expected values of "TcpExt"
    "#);

    let knob = |name: &str, text: &str| {
        let root = whole_root();
        fs::write(root.path().join("proc/sys").join(name), format!("{text}\n")).expect("a knob");
        let json = survives(name, root.path());
        let key = name.replace('/', ".");
        let why = because(&json).map(|(_, why)| why).find(|why| why.contains(&key) || why.contains(name));
        format!("{name} {text:?}: {}", why.unwrap_or("not needed"))
    };
    let mut said = Vec::new();
    for text in ["gar\x1b[2J bage", "", "18446744073709551616", "-1", "1 2 3 4"] {
        said.extend(
            ["net/ipv4/tcp_mem", "net/ipv4/tcp_max_orphans", "net/ipv4/ip_local_port_range"]
                .map(|name| knob(name, text)),
        );
    }
    let long = knob("net/ipv4/tcp_mem", &"x".repeat(1 << 20));
    assert!(long.len() < (1 << 20) + 200, "an error repeats only the beginning");
    insta::assert_snapshot!("spoilt_knobs", said.join("\n"));
}

#[test]
fn a_host_name_with_escape_codes_does_not_reach_the_terminal() {
    let root = whole_root();
    fs::write(root.path().join("proc/sys/kernel/hostname"), "web\x1b[2J\u{9b}31m\nLIMITING  everything\n")
        .expect("a knob");
    let json = survives("a host name", root.path());
    assert!(json["host"]["name"].as_str().is_some_and(|name| name.starts_with("web")));
    let text = stdout(["--root", root.path().to_str().expect("UTF-8")]);
    assert!(!text.lines().any(|line| line.starts_with("LIMITING")), "{text}");
}

// ---- a host that misbehaves while it is watched --------------------------------------------------------------------------

#[test]
fn a_process_name_with_escape_codes_stays_a_name() {
    let name = "a_process_name_with_escape_codes_stays_a_name";
    let Some(server) = or_skip(name, Server::start("overflowing")) else { return };
    let done = run(&mut server.tcproof(&["--for", "300ms", "--json"]));
    let json = done.checked();
    let findings = json["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["limit"] == "accept-queue").expect("the full queue");
    let owner = &finding["subject"]["owners"][0];
    assert_eq!(owner["pid"], server.child.id());
    assert!(owner["comm"].as_str().is_some_and(|comm| comm.starts_with('a') && comm.contains("[2Jb")), "{owner}");
    for arguments in [&["-v"][..], &[], &["-q"], &["--json"]] {
        let text = run(server.tcproof(&["--for", "300ms"]).args(arguments)).stdout;
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        // Not the forged line.
        assert!(!text.lines().any(|line| line.starts_with('c')), "{text}");
    }
}

#[test]
fn a_process_and_a_namespace_that_vanish_are_no_error() {
    for role in ["quiet", "full", "overflowing"] {
        let name = "a_process_and_a_namespace_that_vanish_are_no_error";
        let Some(server) = or_skip(name, Server::start(role)) else { return };
        let one = server.tcproof(&["--for", "500ms", "--json"]).spawn().expect("it starts");
        let all = tcproof(["--for", "500ms", "--json"]).spawn().expect("it starts");
        // Whether they have begun to watch by then or not: any answer will do, but an answer.
        thread::sleep(Duration::from_millis(250));
        drop(server);
        let done = finish(all);
        done.agrees_with(&done.checked());
        let done = finish(one);
        if done.code == Some(1) {
            assert!(done.stderr.contains("no network namespace"), "{}", done.stderr);
            continue;
        }
        let json = done.checked();
        done.agrees_with(&json);
        // What never dropped anything is not accused for having gone.
        if role == "quiet" {
            assert!(accused(&json).is_empty(), "{json:#}");
        }
    }
}

#[test]
fn ten_thousand_listeners_fit_on_a_screen() {
    let Some(server) = or_skip("ten_thousand_listeners_fit_on_a_screen", Server::start("many")) else { return };
    let done = run(&mut server.tcproof(&["--for", "300ms", "--json"]));
    let json = done.checked();
    done.agrees_with(&json);
    assert!(accused(&json).is_empty());
    let rows = json["headroom"].as_array().expect("rows").len() as u64;
    assert!(rows + json["headroom_left_out"].as_u64().unwrap_or(0) >= u64::from(MANY), "all were looked at");
    let done = run(&mut server.tcproof(&["--for", "300ms"]));
    let lines = done.stdout.lines().count();
    assert!(lines <= 40, "{lines} lines:\n{}", done.stdout);
}

// ---- where it prints to ------------------------------------------------------------------------------------------------

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let root = format!("{FIXTURES}/6.18");
    for (arguments, code) in [
        (vec!["explain"], 0),
        (vec!["explain", "accept-queue"], 0),
        (vec!["man"], 0),
        (vec!["schema"], 0),
        (vec!["completions", "bash"], 0),
        (vec!["--help"], 0),
        (vec!["check", "-v", "--root", &root], 0),
        (vec!["check", "--json", "--strict", "--root", &root], 3),
        (vec!["doctor", "--strict", "--root", &root], 3),
    ] {
        let mut child = tcproof(arguments.iter().copied()).spawn().expect("it starts");
        drop(child.stdout.take());
        let done = finish(child);
        assert_eq!((done.code, done.stderr.as_str()), (Some(code), ""), "{arguments:?}");
    }
    // Nor is one of stderr a reason to die in another way.
    let mut child = tcproof(["--root", "/nonexistent"]).spawn().expect("it starts");
    drop(child.stderr.take());
    assert_eq!(finish(child).code, Some(1));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = fs::File::create("/dev/full") else {
        return or_skip("a_full_disk_is_an_error", Err("no /dev/full".into())).unwrap_or_default();
    };
    let done = run(tcproof(["explain"]).stdout(full));
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with("tcproof: writing to standard output: "), "{}", done.stderr);
}

#[test]
fn colour_only_where_it_is_wanted() {
    let root = format!("{FIXTURES}/6.18");
    let colourful = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = tcproof(["--root", &root]);
        command.args(flags).envs(variables.iter().copied());
        let done = run(&mut command);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        done.stdout.contains('\x1b')
    };
    // stdout is a pipe here.
    assert!(!colourful(&[], &[]));
    assert!(colourful(&["--color", "always"], &[]));
    assert!(colourful(&["--color", "always"], &[("NO_COLOR", "1")]), "what was typed wins");
    assert!(!colourful(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(colourful(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colourful(&[], &[("CLICOLOR_FORCE", "0")]));
    assert!(!colourful(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "0")]), "whatever its value: no-color.org");
    assert!(colourful(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")]));
    assert!(!colourful(&["--json", "--color", "always"], &[]), "JSON has no colour");
}

#[test]
fn letters_that_the_terminal_has() {
    let root = format!("{FIXTURES}/6.18");
    let printed = |locale: &str| run(tcproof(["--root", &root]).env("LC_ALL", locale)).stdout;
    assert!(!printed("C.UTF-8").is_ascii());
    assert!(printed("de_DE.ISO-8859-1").is_ascii());
}

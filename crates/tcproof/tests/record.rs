//! `tcproof record` and what is judged of its files, as a person runs them: killed, appended to, rotated, redacted, on a full
//! disk.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tcproof_lab::kit::netns::{Netns, current_inode};
use tcproof_lab::kit::require_root;
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(TCPROOF);
    command.args(arguments);
    // Our own namespace alone: what else runs on the machine takes no time then.
    if arguments.starts_with(&["record", "-o"]) {
        command.args(["--netns", &std::process::id().to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command
}

/// Code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    told(command(arguments).output().expect("tcproof runs"))
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stdout, stderr)
}

fn list(file: &str) -> Value {
    let (code, stdout, stderr) = run(&["record", "--list", file, "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(complaints("record", &value), Vec::<String>::new());
    value
}

/// What the schema that the program itself prints has against it.
fn complaints(schema: &str, value: &Value) -> Vec<String> {
    let (_, schema, _) = run(&["schema", schema]);
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a schema");
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn records(file: &str) -> u64 {
    list(file)["records"].as_u64().expect("a number")
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").into()
    }
}

fn start(arguments: &[&str]) -> Child {
    command(arguments).spawn().expect("tcproof starts")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("our child");
}

/// Waits until the file holds so many bytes.
fn wait_for(path: &Path, bytes: u64) {
    let end = Instant::now() + PATIENCE;
    while fs::metadata(path).map_or(0, |meta| meta.len()) < bytes {
        assert!(Instant::now() < end, "{} stays short", path.display());
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn killed_at_any_time_what_was_recorded_is_there_and_is_appended_to() {
    let place = Place::new();
    let file = place.name("r");
    let mut child = start(&["record", "-o", &file, "--every", "300ms"]);
    wait_for(&place.path("r"), 1);
    let end = Instant::now() + PATIENCE;
    while records(&file) < 4 {
        assert!(Instant::now() < end, "no fourth record");
        sleep(Duration::from_millis(100));
    }
    signal(&child, Signal::KILL);
    child.wait().expect("our child");
    let before = records(&file);
    assert!(before >= 3, "{before} records");
    // As if it had been hit while it wrote.
    let whole = fs::read(&file).expect("the recording");
    fs::write(&file, [&whole[..], &whole[whole.len() - 60..whole.len() - 10]].concat()).expect("a torn end");
    let (code, stdout, stderr) = run(&["check", "--from", &file, "--for", "1s", "--fail-on", "never"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("recording of "), "{stdout}");
    assert!(stderr.contains("damaged at byte") && stderr.contains("at its end"), "{stderr}");

    let (code, _, stderr) = run(&["record", "-o", &file, "--every", "300ms", "--for", "1s"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("50 bytes at its end were no whole record"), "{stderr}");
    let after = list(&file);
    assert!(after["records"].as_u64() > Some(before + 2), "{after}");
    assert_eq!((&after["lost"], &after["gaps"]), (&0.into(), &1.into()), "{after}");
}

#[test]
fn a_signal_ends_it_at_once_and_cleanly_and_two_do_not_share_a_file() {
    let place = Place::new();
    let file = place.name("r");
    let child = start(&["record", "-o", &file, "--every", "1h"]);
    wait_for_lock(&file);
    let (code, _, stderr) = run(&["record", "-o", &file, "--for", "1s"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("somebody else is recording into it"), "{stderr}");
    sleep(Duration::from_millis(500));
    let asked = Instant::now();
    signal(&child, Signal::TERM);
    let (code, _, stderr) = told(child.wait_with_output().expect("our child"));
    assert!(asked.elapsed() < PATIENCE, "it took {:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("1 records;"), "{stderr}");
    assert_eq!(records(&file), 1);
}

fn wait_for_lock(file: &str) {
    let end = Instant::now() + PATIENCE;
    while !Path::new(file).exists() {
        assert!(Instant::now() < end, "no file");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(300));
}

#[test]
fn files_are_rotated_by_size_and_so_many_are_kept() {
    let place = Place::new();
    let file = place.name("r");
    let one = place.name("one");
    assert_eq!(run(&["record", "-o", &one, "--every", "100ms", "--for", "100ms"]).0, Some(0));
    // One that holds everything, and a few that do not.
    let most = (fs::metadata(&one).expect("a file").len() * 3 / 2).to_string();
    fs::remove_file(&one).expect("a file");
    let arguments = ["record", "-o", &file, "--every", "100ms", "--for", "12s", "--max-size", &most, "--keep", "2"];
    let (code, _, stderr) = run(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    let mut names: Vec<_> =
        fs::read_dir(place.folder.path()).expect("the folder").map(|e| e.expect("it").file_name()).collect();
    names.sort();
    assert_eq!(names, ["r", "r.1", "r.2"]);
    for name in names {
        let name = name.to_str().expect("UTF-8");
        let found = list(&place.name(name));
        assert!(found["bytes"].as_u64() <= most.parse().ok(), "{found}");
        assert_eq!((&found["lost"], &found["gaps"]), (&0.into(), &0.into()), "{found}");
    }
    let (new, old) = (list(&file), list(&place.name("r.1")));
    assert!(new["first_ms"].as_i64() >= old["last_ms"].as_i64().map(|last| last - 500), "{new} {old}");
}

#[test]
fn a_redacted_one_is_judged_like_another_and_names_nobody() {
    let place = Place::new();
    let file = place.name("r");
    let (code, _, stderr) = run(&["record", "-o", &file, "--every", "300ms", "--for", "1s", "--redact"]);
    assert_eq!(code, Some(0), "{stderr}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let found = list(&file);
    assert_eq!(found["redacted"], true);
    assert_ne!(found["host"], host.trim());
    let (code, stdout, stderr) = run(&["check", "--from", &file, "--for", "1s", "--fail-on", "never"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("redacted recording of host-"), "{stdout}");
    // Another run has another mapping: the old file is kept as it is.
    let (code, _, stderr) = run(&["record", "-o", &file, "--every", "300ms", "--for", "500ms", "--redact"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_ne!(list(&file)["host"], found["host"]);
    assert_eq!(list(&place.name("r.1"))["records"], found["records"]);
}

#[test]
fn a_window_is_named_by_its_end_and_plan_takes_it_too() {
    let place = Place::new();
    let file = place.name("r");
    let (code, _, stderr) = run(&["record", "-o", &file, "--every", "200ms", "--for", "2s"]);
    assert_eq!(code, Some(0), "{stderr}");
    let check =
        |at: &str| run(&["check", "--from", &file, "--for", "400ms", "--fail-on", "never", "--json", "--at", at]);
    let (code, stdout, stderr) = check("-1s");
    assert_eq!(code, Some(0), "{stderr}");
    // Two, on a machine that has time.
    let records = stderr.rsplit_once(" UTC, ").and_then(|(_, rest)| rest.split_once(" record")).map(|(n, _)| n.parse());
    let Some(Ok(records @ 1..=3_u64)) = records else { panic!("{stderr}") };
    let json: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(json["schema"], "tcproof/check/1");
    assert_eq!(complaints("check", &json), Vec::<String>::new());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let recording = &json["recording"];
    assert_eq!((recording["host"].as_str(), &recording["redacted"]), (Some(host.trim()), &false.into()), "{json}");
    assert_eq!((recording["records"].as_u64(), recording["cut"].is_boolean()), (Some(records), true), "{json}");
    let all = list(&file);
    assert!(recording["ended_ms"].as_i64() < all["last_ms"].as_i64(), "{json}");
    assert!(json["window_seconds"].as_f64() < Some(1.5), "{json}");
    for at in ["-5m", "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let (code, _, stderr) = check(at);
        assert_eq!(code, Some(1), "{at}");
        assert!(stderr.contains("nothing was recorded then: expected a time in 2"), "{stderr}");
    }
    assert_eq!(check("yesterday").0, Some(2));
    let (code, stdout, stderr) = run(&["plan", "--from", &file]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("plan ") && stderr.contains("recording of "), "{stdout}{stderr}");
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plan/healthy.json");
    let (code, _, stderr) = run(&["plan", "--from", saved, "--at", "-1s"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--at is for recordings"), "{stderr}");
}

#[test]
fn only_the_namespaces_that_are_named_are_judged() {
    let place = Place::new();
    let file = place.name("r");
    let other = match require_root().map(|()| Netns::new()) {
        Ok(Ok(other)) => other,
        Ok(Err(why)) => return println!("SKIP: no network namespace: {why}"),
        Err(why) => return println!("SKIP: {why}"),
    };
    // It is found by a process that lives in it.
    let mut waits = Command::new("cat");
    waits.stdin(Stdio::piped());
    let mut inside = other.run_in(|| waits.spawn().expect("it starts")).expect("the namespace");
    let both = format!("{},{}", std::process::id(), other.inode());
    let mut record = Command::new(TCPROOF);
    record.args(["record", "-o", &file, "--every", "200ms", "--for", "1s", "--netns", &both]);
    let (code, _, stderr) = told(record.output().expect("tcproof runs"));
    let _ = inside.kill().and_then(|()| inside.wait());
    assert_eq!(code, Some(0), "{stderr}");
    let report = |netns: &str| run(&["report", "--from", &file, "--format", "md", "--netns", netns]);
    let (own, inode) = (current_inode().expect("ours").to_string(), other.inode().to_string());
    for (netns, namespaces) in [("all", 2), (&*own, 1), (&*inode, 1), (&*format!("{own},{inode}"), 2)] {
        let (code, stdout, stderr) = report(netns);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(&format!("Namespaces: {namespaces} ")), "{netns}: {stdout}");
    }
    for (netns, why) in
        [("no-such", "no network namespace no-such then: expected one of "), ("1", "pid 1 was: expected")]
    {
        for verb in ["check", "plan", "report"] {
            let (code, stdout, stderr) = run(&[verb, "--from", &file, "--netns", netns]);
            assert_eq!((code, &*stdout), (Some(1), ""), "{verb}");
            assert!(stderr.contains(why) && stderr.contains(", or its inode"), "{verb}: {stderr}");
        }
    }
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plan/healthy.json");
    let (code, _, stderr) = run(&["plan", "--from", saved, "--netns", "host"]);
    assert!(code == Some(2) && stderr.contains("--netns is for recordings"), "{stderr}");
}

#[test]
fn sockets_shows_what_a_recording_knows_and_says_what_it_does_not() {
    let place = Place::new();
    let file = place.name("r");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it").port();
    rustix::net::listen(&listener, 77).expect("another backlog");
    let address = listener.local_addr().expect("it");
    let _waiting: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("it is accepted")).collect();
    let (code, _, stderr) = run(&["record", "-o", &file, "--every", "300ms", "--for", "1s"]);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = run(&["sockets", "--from", &file, "--port", &port.to_string(), "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let json: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(complaints("sockets", &json), Vec::<String>::new());
    assert_eq!((&json["backend"], &json["recording"]["records"]), (&"recording".into(), &1.into()));
    let row = &json["listeners"][0];
    assert_eq!((&row["queue"], &row["backlog"], &row["drops"]), (&3.into(), &77.into(), &0.into()), "{json}");
    let total = &json["totals"][0];
    assert!(total["known"]["LISTEN"].as_u64() >= Some(1) && total.get("states").is_none(), "{total}");
    assert!(total["sockstat"]["after"]["inuse"].as_u64() >= Some(4), "{total}");
    let (code, stdout, stderr) = run(&["sockets", "--from", &file, "--at", "-0s"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.starts_with("recording of ") && stdout.contains("LISTENERS"), "{stdout}");
    assert!(stdout.contains("a recording does not hold every socket"), "{stdout}");
    assert!(!stdout.contains("HELD BY") && !stdout.contains("CGROUPS"), "no empty table: {stdout}");
    assert_eq!(run(&["sockets", "--from", &file, "--strict"]).0, Some(3));
    assert_eq!(run(&["sockets", "--from", &file, "--netns", "no-such"]).0, Some(1));
    assert_eq!(run(&["sockets", "--from", &file, "--watch"]).0, Some(2));
    assert_eq!(run(&["sockets", "--from", "/dev/null"]).0, Some(1));
}

#[test]
fn other_files_are_refused_and_stay_as_they_are() {
    let place = Place::new();
    let (file, future) = (place.name("text"), place.name("future"));
    fs::write(&file, "just text\n").expect("a file");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcproof-record/fixtures/v1.tcproof");
    let mut bytes = fs::read(fixture).expect("the fixture");
    bytes[8] = 9;
    fs::write(&future, &bytes).expect("a file");
    for (file, why) in [(&file, "not a recording"), (&future, "a recording of format 9; this tcproof reads up to 1")] {
        let before = fs::read(file).expect("the file");
        for arguments in
            [vec!["record", "-o", file, "--for", "1s"], vec!["record", "--list", file], vec!["check", "--from", file]]
        {
            let (code, stdout, stderr) = run(&arguments);
            assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}");
            // Of a text check can't know what it was meant to be.
            let is_any =
                arguments[0] == "check" && stderr.contains("expected a recording (tcproof record), a sosreport");
            assert!(stderr.contains(why) || (why == "not a recording" && is_any), "{stderr}");
        }
        assert_eq!(fs::read(file).expect("the file"), before);
    }
    for (arguments, code) in [(&["record"][..], 2), (&["record", "-o", "/dev/null"], 1), (&["check", "--from", "/"], 1)]
    {
        assert_eq!(run(arguments).0, Some(code), "{arguments:?}");
    }
    // One of another boot is kept, and not appended to.
    let old = place.name("old");
    fs::copy(fixture, &old).expect("a copy");
    let (code, _, stderr) = run(&["record", "-o", &old, "--every", "100ms", "--for", "300ms"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(fs::read(place.path("old.1")).expect("the old one"), fs::read(fixture).expect("the fixture"));
    // What was recorded of a host that is not this one is judged like any other.
    let (code, stdout, stderr) = run(&["check", "--from", fixture, "--at", "-2s", "--fail-on", "never"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("recording of db7.customer.example: 2026-11-30"), "{stdout}");
}

#[test]
fn on_a_full_disk_what_was_recorded_stays_and_it_is_said_once() {
    let may_mount = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    if !rustix::process::geteuid().is_root() || !may_mount.is_ok_and(|status| status.success()) {
        return println!("SKIP: needs root and unshare(1), to fill a disk of its own");
    }
    let place = Place::new();
    let folder = place.name("");
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" && cd \"$1\"
        \"$0\" record -o r --netns $$ --every 100ms --for 500ms
        head -c 1000000 /dev/zero > filler 2> /dev/null
        \"$0\" record -o r --netns $$ --every 100ms --for 6s & P=$!
        sleep 3; rm filler; wait $P; echo code $?; \"$0\" record --list r --json";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", script, TCPROOF, &folder])
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let (_, stdout, stderr) = told(output);
    let (code, json) = stdout.split_once('\n').expect("a code and a listing");
    assert_eq!(code, "code 1", "{stderr}");
    assert_eq!(stderr.matches("what was recorded stays, and the next record is tried").count(), 1, "{stderr}");
    assert!(stderr.contains("recording again") && stderr.contains("could not be written"), "{stderr}");
    let found: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!((&found["lost"], &found["gaps"]), (&0.into(), &1.into()), "{found}");
    assert!(found["records"].as_u64() > Some(4), "{found}");
}

#[test]
fn help() {
    insta::assert_snapshot!(run(&["record", "--help"]).1);
}

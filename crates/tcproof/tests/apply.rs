//! `apply`, `confirm`, `rollback`, `journal` as people and accidents run them, in network namespaces that the tests make.
//! Afterwards every knob is byte for byte what it was, or the program says what is left.
//!
//! Needs root, and for the matrix of faults strace; says `SKIP` without.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::require_root;
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// Two knobs of different kinds; what they are in a fresh namespace does not matter.
const KNOBS: [(&str, &str); 2] = [("net.core.somaxconn", "12345"), ("net.ipv4.tcp_rmem", "4096 131072 71234567")];
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace, a plan for it, and a journal.
struct Place {
    namespace: Netns,
    folder: TempDir,
    /// By it systemd's timer finds the namespace, where systemd runs: nobody finds one that only a descriptor holds.
    inside: Child,
}

impl Place {
    /// None, and says so, where this user can't make one.
    fn new() -> Option<Self> {
        if let Err(why) = require_root() {
            skip(&format!("SKIP: {why}"));
            return None;
        }
        match Netns::new() {
            Ok(namespace) => {
                let mut sleeps = Command::new("sleep");
                sleeps.arg("3600");
                let inside = namespace.run_in(|| sleeps.spawn().expect("it starts")).expect("the namespace");
                Some(Self { namespace, folder: TempDir::new().expect("a folder"), inside })
            }
            Err(error) => {
                skip(&format!("SKIP: no network namespace: {error}"));
                None
            }
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn read(&self, key: &str) -> String {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.namespace.run_in(|| fs::read_to_string(path).expect("the knob")).expect("the namespace")
    }

    fn knobs(&self) -> Vec<String> {
        KNOBS.iter().map(|(key, _)| self.read(key)).collect()
    }

    fn write(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.namespace.run_in(|| fs::write(path, value).expect("the knob takes it")).expect("the namespace");
    }

    /// A plan from what is there now.
    fn plan(&self, id: &str) -> PathBuf {
        self.plan_to(id, &KNOBS)
    }

    fn plan_to(&self, id: &str, knobs: &[(&str, &str)]) -> PathBuf {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let mut text = format!(
            "schema = \"tcproof/plan/1\"\nid = \"{id}\"\nhost = \"{}\"\nkernel = \"6.18\"\nmade_at = \"2026-11-20T00:00:00Z\"\n",
            host.trim()
        );
        for (key, to) in knobs {
            let (inode, from) = (self.namespace.inode(), self.read(key).trim().replace('\t', " "));
            text += &format!(
                "[[changes]]\nfindings = []\nnamespace = {{ name = \"try\", inode = {inode} }}\nknob = \"{key}\"\n\
                 from = \"{from}\"\nto = \"{to}\"\ncost = \"c\"\nrisk = \"r\"\ntakes_effect = \"t\"\ninverse = \"i\"\n\
                 success = \"s\"\n"
            );
        }
        let path = self.folder.path().join(format!("{id}.toml"));
        fs::write(&path, text).expect("the plan");
        path
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.namespace.run_in(|| command.spawn().expect("it starts")).expect("the namespace")
    }

    fn tcproof(&self, arguments: &[&str]) -> Child {
        let journal = self.journal().display().to_string();
        self.start(TCPROOF, &[arguments, &["--journal", &journal]].concat())
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        ended(self.tcproof(arguments))
    }

    fn apply(&self, id: &str, confirm: &str) -> Child {
        let plan = self.plan(id).display().to_string();
        self.tcproof(&["apply", &plan, "--yes", "--confirm", confirm])
    }

    /// Until all knobs are as wanted.
    fn wait_for(&self, wanted: impl Fn(&Self) -> bool, what: &str) {
        let start = Instant::now();
        while !wanted(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.knobs());
            sleep(Duration::from_millis(20));
        }
    }

    fn is_changed(&self) -> bool {
        self.read(KNOBS[1].0).contains("71234567")
    }

    /// Whether any change waits for its confirmation.
    fn waits(&self) -> bool {
        self.run(&["journal", "--json"]).1.contains("\"state\": \"pending\"")
    }

    fn state(&self) -> String {
        let (_, text) = self.run(&["journal", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        json["changes"]
            .as_array()
            .and_then(|all| all.last())
            .and_then(|it| it["state"].as_str())
            .unwrap_or("none")
            .into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.inside.kill();
        let _ = self.inside.wait();
    }
}

fn ended(child: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn what_nobody_confirms_is_taken_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let (code, text) = ended(place.apply("a-1", "1s"));
    assert_eq!(code, Some(4), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.state(), "rolled-back");
}

#[test]
fn what_is_confirmed_stays_until_it_is_taken_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let second = place.plan("b-2").display().to_string();
    let apply = place.apply("b-1", "60s");
    place.wait_for(Place::is_changed, "it is changed");
    place.wait_for(|place| place.state() == "pending", "it waits");
    // A second one has to wait.
    let (code, text) = place.run(&["apply", &second, "--yes", "--confirm", "60s"]);
    assert!(code == Some(1) && text.contains("waits for its confirmation"), "{text}");
    let (code, text) = place.run(&["confirm"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(ended(apply).0, Some(0));
    assert!(place.is_changed() && place.state() == "in-effect");
    assert_eq!(place.run(&["confirm"]).0, Some(1), "nothing waits any more");
    let (code, text) = place.run(&["rollback"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.run(&["rollback"]).0, Some(1), "nothing is in effect any more");
}

/// Plans are named by the time at which they were made: here by clocks that were set back, before each the more.
#[test]
fn a_clock_that_is_set_back_does_not_turn_the_order_round() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let ids = ["20261130T100000-b", "20251130T100000-c", "20161130T100000-d"];
    for (id, to) in ids.iter().zip(["11111", "22222", "33333"]) {
        let plan = place.plan_to(id, &[("net.core.somaxconn", to)]).display().to_string();
        let apply = place.tcproof(&["apply", &plan, "--yes", "--confirm", "60s"]);
        place.wait_for(|place| place.read("net.core.somaxconn").trim() == to && place.waits(), "it is changed");
        assert_eq!(place.run(&["confirm"]).0, Some(0));
        assert_eq!(ended(apply).0, Some(0));
    }
    let (code, text) = place.run(&["rollback"]);
    assert!(code == Some(0) && text.contains(ids[2]), "the last one first: {text}");
    assert_eq!(place.read("net.core.somaxconn"), "22222\n");
    let (code, text) = place.run(&["rollback", "--all"]);
    assert!(code == Some(0) && text.find(ids[1]) < text.find(ids[0]), "{text}");
    assert_eq!(place.knobs(), before);
}

#[test]
fn the_undo_outlives_a_killed_apply_and_an_interrupt_takes_back_at_once() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    for (id, confirm, signal) in [("c-1", "2s", Signal::KILL), ("c-2", "60s", Signal::INT), ("c-3", "60s", Signal::HUP)]
    {
        let apply = place.apply(id, confirm);
        place.wait_for(Place::is_changed, "it is changed");
        kill_process(Pid::from_child(&apply), signal).expect("it is there");
        place.wait_for(|place| place.knobs() == before, "it is taken back");
        let (code, text) = ended(apply);
        assert!(code.is_none() || code == Some(4), "{text}");
        place.wait_for(|place| place.state() == "rolled-back", "the journal says so");
    }
}

#[test]
fn a_host_that_has_drifted_is_left_alone() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("d-1").display().to_string();
    place.write("net.core.somaxconn", "777");
    let before = place.knobs();
    let (code, text) = place.run(&["apply", &plan, "--yes", "--confirm", "1s"]);
    assert!(code == Some(1) && text.contains("is \"777\", not"), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.state(), "none");
}

#[test]
fn what_somebody_else_changed_since_is_left_alone_unless_forced() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let apply = place.apply("e-1", "60s");
    place.wait_for(Place::is_changed, "it is changed");
    assert_eq!(place.run(&["confirm"]).0, Some(0));
    ended(apply);
    place.write("net.core.somaxconn", "999");
    let (code, text) = place.run(&["rollback"]);
    assert!(code == Some(5) && text.contains("999"), "{text}");
    assert_eq!(place.knobs(), ["999\n".to_string(), before[1].clone()]);
    let (code, text) = place.run(&["rollback", "e-1", "--force"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.knobs(), before);
}

#[test]
fn a_plan_that_makes_no_sense_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let good = fs::read_to_string(place.plan("f-1")).expect("the plan");
    for (from, to, says) in [
        ("net.core.somaxconn", "net.core.nothing", "not in the table"),
        ("12345", "-1", "refused"),
        ("plan/1", "plan/2", "schema"),
        ("\"f-1\"", "\"../x\"", "no change"),
        ("inode = ", "inode = 9", "gone"),
        ("host = \"", "host = \"not-", "made for the host"),
        ("cost = ", "price = ", "price"),
    ] {
        let path = place.folder.path().join("bad.toml");
        fs::write(&path, good.replacen(from, to, 1)).expect("the plan");
        let (code, text) = place.run(&["apply", &path.display().to_string(), "--yes", "--confirm", "1s"]);
        assert!(code == Some(1) && text.contains(says), "{to}: {code:?} {text}");
        assert_eq!(place.knobs(), before, "{to}");
    }
    assert!(place.state() == "none", "{}", place.state());
    let plan = place.plan("f-2").display().to_string();
    let (code, text) = place.run(&["apply", &plan]);
    assert!(code == Some(1) && text.contains("--yes"), "nobody can be asked: {text}");
    assert_eq!(place.run(&["apply", &plan, "--dry-run"]).0, Some(0));
    assert_eq!(place.knobs(), before);
}

#[test]
fn a_torn_or_spoilt_journal_still_takes_everything_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    for (id, spoil) in [
        ("g-1", (|text: &str| text[..text.len() - 7].to_string()) as fn(&str) -> String),
        ("g-2", |text| text.replacen("waiting", "wa\u{0}ting", 1)),
        ("g-3", |text| format!("{text}garbage")),
        ("g-4", |text| text.lines().next().map(|line| format!("{line}\n")).unwrap_or_default()),
    ] {
        let mut apply = place.apply(id, "60s");
        place.wait_for(Place::is_changed, "it is changed");
        apply.kill().expect("it is there");
        ended(apply);
        let path = place.journal().join(format!("{id}.journal"));
        let text = fs::read_to_string(&path).expect("the journal");
        fs::write(&path, spoil(&text)).expect("the journal");
        let (code, text) = place.run(&["rollback", "--pending"]);
        assert_eq!(code, Some(0), "{id}: {text}");
        assert_eq!(place.knobs(), before, "{id}: {text}");
    }
}

/// Kills the program, by strace, at each durable step of the journal and at each write of a knob.
#[test]
fn the_matrix_of_faults() {
    let Some(place) = Place::new() else { return };
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !traces.is_ok_and(|status| status.success()) {
        skip("SKIP: there is no strace, or it may trace nothing here");
        return;
    }
    let before = place.knobs();
    let (mut faults, mut table) = (0, String::new());
    // Without a path: the journal's and stderr's calls too. The namespace is the program's own, so that all that is of the
    // knobs happens in the thread that strace follows.
    let [one, other] = KNOBS.map(|(key, _)| format!("/proc/sys/{}", key.replace('.', "/")));
    for (call, what, path) in [
        ("fdatasync", "signal=SIGKILL", None),
        ("fsync", "signal=SIGKILL", None),
        ("write", "signal=SIGKILL", None),
        ("write", "signal=SIGKILL", Some(&one)),
        ("write", "signal=SIGKILL", Some(&other)),
        ("openat", "signal=SIGKILL", Some(&one)),
        ("openat", "signal=SIGKILL", Some(&other)),
        ("fdatasync", "error=EIO", None),
        ("write", "error=ENOSPC", None),
        ("write", "error=EINVAL", Some(&other)),
        ("openat", "error=EROFS", Some(&one)),
        ("openat", "error=ENOENT", Some(&other)),
    ] {
        for number in 1..=40 {
            // What was killed waits for its watchdog; until then nothing else is applied.
            place.wait_for(|place| !place.waits(), "the watchdog has done its work");
            let of = path.map_or(0, |path| path.len());
            let id = format!("h-{call}-{}-{of}-{number}", what.len());
            let (plan, journal) = (place.plan(&id).display().to_string(), place.journal().display().to_string());
            let inject = format!("inject={call}:{what}:when={number}");
            let trace = format!("trace={call}");
            let quiet = place.folder.path().join("trace").display().to_string();
            // Not of the watchdog: `-f` would follow it too, and threads are made by clone alone.
            let arguments =
                ["-o", &quiet, "-e", &trace, "-e", &inject, TCPROOF, "apply", &plan, "--yes", "--confirm", "1s"];
            let only = path.map_or(Vec::new(), |path| vec!["-P", path]);
            let mut child = place.start("strace", &[&only[..], &arguments, &["--journal", &journal]].concat());
            let start = Instant::now();
            while child.try_wait().expect("it is ours").is_none() {
                assert!(start.elapsed() < PATIENCE, "{inject} hangs");
                sleep(Duration::from_millis(5));
            }
            let hit = fs::read_to_string(&quiet).unwrap_or_default().contains("INJECTED")
                || fs::read_to_string(&quiet).unwrap_or_default().contains("killed by SIGKILL");
            let (code, text) = ended(child);
            place.wait_for(|place| place.knobs() == before, &format!("{inject}: {code:?} {text}"));
            if !hit {
                break;
            }
            faults += 1;
            let of = path.map_or("", |path| path.rsplit('/').next().unwrap_or_default());
            table += &format!("{call} {of} {number} {what}: exit {code:?}, as before\n");
        }
    }
    println!("{table}{faults} faults, {faults} survived");
    assert!(faults > 20, "{table}");
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

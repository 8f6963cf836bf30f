//! A place where something is changed: a network namespace, a plan for it, and a journal.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::require_root;
use tempfile::TempDir;

pub(crate) const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// Two knobs of different kinds; what they are in a fresh namespace does not matter.
pub(crate) const KNOBS: [(&str, &str); 2] =
    [("net.core.somaxconn", "12345"), ("net.ipv4.tcp_rmem", "4096 131072 71234567")];
/// What takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A namespace, a plan for it, and a journal.
pub(crate) struct Place {
    pub(crate) namespace: Netns,
    pub(crate) folder: TempDir,
    /// By it systemd's timer finds the namespace, where systemd runs: nobody finds one that only a descriptor holds.
    inside: Child,
}

impl Place {
    /// None, and says so, where this user can't make one.
    pub(crate) fn new() -> Option<Self> {
        if let Err(why) = require_root() {
            skip(&format!("SKIP: {why}"));
            return None;
        }
        match Netns::new() {
            Ok(namespace) => {
                // It waits for its input, which ends with us.
                let mut waits = Command::new("cat");
                waits.stdin(Stdio::piped());
                let inside = namespace.run_in(|| waits.spawn().expect("it starts")).expect("the namespace");
                Some(Self { namespace, folder: TempDir::new().expect("a folder"), inside })
            }
            Err(error) => {
                skip(&format!("SKIP: no network namespace: {error}"));
                None
            }
        }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    pub(crate) fn read(&self, key: &str) -> String {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.namespace.run_in(|| fs::read_to_string(path).expect("the knob")).expect("the namespace")
    }

    pub(crate) fn knobs(&self) -> Vec<String> {
        KNOBS.iter().map(|(key, _)| self.read(key)).collect()
    }

    pub(crate) fn write(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.namespace.run_in(|| fs::write(path, value).expect("the knob takes it")).expect("the namespace");
    }

    /// A plan from what is there now.
    pub(crate) fn plan(&self, id: &str) -> PathBuf {
        self.plan_to(id, &KNOBS)
    }

    pub(crate) fn plan_to(&self, id: &str, knobs: &[(&str, &str)]) -> PathBuf {
        let changes: Vec<_> = knobs.iter().map(|(key, to)| (self, "try", *key, *to)).collect();
        self.plan_of(id, &changes)
    }

    /// A plan for more places than one, with their names.
    pub(crate) fn plan_of(&self, id: &str, changes: &[(&Self, &str, &str, &str)]) -> PathBuf {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let mut text = format!(
            "schema = \"tcproof/plan/1\"\nid = \"{id}\"\nhost = \"{}\"\nkernel = \"6.18\"\nmade_at = \"2026-11-20T00:00:00Z\"\n",
            host.trim()
        );
        for (place, name, key, to) in changes {
            let (inode, from) = (place.namespace.inode(), place.read(key).trim().replace('\t', " "));
            text += &format!(
                "[[changes]]\nfindings = []\nnamespace = {{ name = \"{name}\", inode = {inode} }}\nknob = \"{key}\"\n\
                 from = \"{from}\"\nto = \"{to}\"\ncost = \"c\"\nrisk = \"r\"\ntakes_effect = \"t\"\ninverse = \"i\"\n\
                 success = \"s\"\n"
            );
        }
        let path = self.folder.path().join(format!("{id}.toml"));
        fs::write(&path, text).expect("the plan");
        path
    }

    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.namespace.run_in(|| command.spawn().expect("it starts")).expect("the namespace")
    }

    pub(crate) fn tcproof(&self, arguments: &[&str]) -> Child {
        let journal = self.journal().display().to_string();
        self.start(TCPROOF, &[arguments, &["--journal", &journal]].concat())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        ended(self.tcproof(arguments))
    }

    pub(crate) fn apply(&self, id: &str, confirm: &str) -> Child {
        let plan = self.plan(id).display().to_string();
        self.tcproof(&["apply", &plan, "--yes", "--confirm", confirm])
    }

    /// Until all knobs are as wanted.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Self) -> bool, what: &str) {
        let start = Instant::now();
        while !wanted(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.knobs());
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.read(KNOBS[1].0).contains("71234567")
    }

    /// Whether any change waits for its confirmation.
    pub(crate) fn waits(&self) -> bool {
        self.run(&["journal", "--json"]).1.contains("\"state\": \"pending\"")
    }

    pub(crate) fn state(&self) -> String {
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

pub(crate) fn ended(child: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// A kind of fault that was survived: told, and kept for the table that `cargo xtask faults` makes, which names a file.
pub(crate) fn survived(fault: &str, at: &str, faults: usize, exit: &str, after: &str) {
    println!("{fault} | {at} | {faults} | {exit} | {after}");
    if let Some(file) = std::env::var_os("TCPROOF_FAULTS") {
        let row = serde_json::json!({ "fault": fault, "at": at, "faults": faults, "exit": exit, "after": after });
        let file = fs::OpenOptions::new().append(true).create(true).open(file);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, format!("{row}\n").as_bytes()));
        written.expect("the table is kept");
    }
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
pub(crate) fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

//! A failure of the lab, as it was recorded. Alone in its program: what other tests do meanwhile would be recorded too.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(TCPROOF);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("tcproof starts")
}

fn run(arguments: &[&str]) -> Output {
    start(arguments).wait_with_output().expect("tcproof runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn records(file: &str) -> u64 {
    json(&run(&["record", "--list", file, "--json"]))["records"].as_u64().unwrap_or(0)
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// The live verdict, from what two recorders had written until they were killed: one keeps all, one what is around a finding.
#[test]
fn a_failure_of_the_lab_is_found_in_its_recordings() {
    if !rustix::process::geteuid().is_root() {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIP: not root, so there is no lab\n");
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let [all, around] = ["all", "around"].map(|name| folder.path().join(name).to_str().expect("UTF-8").to_string());
    // Of every namespace: the lab's have no name, and are made later.
    let recorder = |file: &str, more: &[&str]| start(&[&["record", "--every", "500ms"], more, &["-o", file]].concat());
    let mut recorders = [recorder(&all, &[]), recorder(&around, &["--on", "limiting"])];
    let has_begun = |file: &str| fs::metadata(Path::new(file)).is_ok_and(|file| file.len() > 0);
    until("nothing is recorded", || has_begun(&all));
    let known = records(&all);
    let lab = start(&["lab", "run", "accept-queue-stalled"]);
    // Seven seconds: it hurts for four of them, and a namespace that is new is judged when it has been there for five.
    until("no further record", || records(&all) >= known + 14);
    for recorder in &mut recorders {
        kill_process(Pid::from_child(recorder), Signal::KILL).expect("our child");
        recorder.wait().expect("our child");
    }
    let lab = lab.wait_with_output().expect("our child");
    assert!(lab.status.success(), "{}", String::from_utf8_lossy(&lab.stdout));
    // It may be cured by now.
    for file in [&all, &around] {
        let is_found = (0..10).any(|ago| {
            let at = format!("-{ago}s");
            let check = run(&["check", "--from", file, "--at", &at, "--for", "2s", "--json"]);
            let finding = &json(&check)["findings"][0];
            let owner = &finding["subject"]["owners"][0]["comm"];
            let is_found =
                check.status.code() == Some(13) && finding["limit"] == "accept-queue" && owner == "lab-server";
            if is_found {
                // A page of the same seconds says the same.
                let page = run(&["report", "--format", "md", "--from", file, "--at", &at, "--for", "2s"]);
                let page = String::from_utf8_lossy(&page.stdout);
                assert!(page.contains("accept queue of ") && page.contains("lab-server"), "{page}");
            }
            is_found
        });
        assert!(is_found, "not in {file}: {}", json(&run(&["record", "--list", file, "--json"])));
    }
}

//! `cargo xtask bench` with stand-ins for the measured command.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn one(command: &[&str]) -> (f64, u64) {
    let output = xtask(&[&["bench-one", "--"], command].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let cost: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (cost["cpu_ms"].as_f64().unwrap(), cost["peak_kib"].as_u64().unwrap())
}

#[test]
fn idle_time_costs_nothing_and_work_does() {
    let (idle, _) = one(&["sleep", "0.3"]);
    assert!(idle < 100.0, "{idle} ms of CPU for sleeping");
    let (busy, _) = one(&["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
    assert!(busy > idle + 20.0, "{busy} ms of CPU for counting, {idle} ms for sleeping");
}

#[test]
fn memory_is_the_commands_own() {
    let (_, small) = one(&["sleep", "0.1"]);
    // 64 MiB in the pattern space of sed; the sleep lets nothing be missed.
    let (_, large) = one(&["sh", "-c", "head -c 67108864 /dev/zero | tr '\\0' x | sed 's/$/y/' > /dev/null"]);
    assert!(small < 16 * 1024, "{small} KiB for sleep");
    assert!(large > small + 64 * 1024, "{large} KiB, {small} KiB for sleep");
}

#[test]
fn the_codes_of_an_answer_are_no_failure_and_others_are() {
    for code in ["0", "3", "12", "13"] {
        one(&["sh", "-c", &format!("exit {code}")]);
    }
    for code in ["1", "2"] {
        let output = xtask(&["bench-one", "--", "sh", "-c", &format!("exit {code}")]);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains("exit status"), "{}", text(&output.stderr));
    }
    assert!(!xtask(&["bench-one", "--", "/no/such/program"]).status.success());
}

#[test]
fn the_sockets_are_in_a_namespace_made_for_the_run() {
    let count = "n=$(grep -c '0100007F:.* 0100007F:.* 01 ' /proc/self/net/tcp); [ \"$n\" = 20 ] || exit 1";
    let arguments = ["bench", "--sockets", "20", "--hurt", "2", "--listeners", "30", "--runs", "2", "--"];
    let output = xtask(&[&arguments[..], &["sh", "-c", "exit 13"]].concat());
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    if out.contains("SKIP") {
        println!("{out}");
        return;
    }
    assert_eq!(out.lines().count(), 5, "{out}");
    // An answer that finds nothing is none.
    let output = xtask(&[&arguments[..], &["true"]].concat());
    assert!(text(&output.stderr).contains("(2 hurt)"), "{}", text(&output.stderr));
    // Only the first row has 20 established sockets, so the second one fails and names its sockets.
    let arguments = ["bench", "--sockets", "20", "--hurt", "21", "--listeners", "30", "--runs", "2", "--"];
    let output = xtask(&[&arguments[..], &["sh", "-c", count]].concat());
    assert!(!output.status.success());
    assert!(text(&output.stdout).lines().nth(2).is_some_and(|row| row.trim_start().starts_with("20")));
    assert!(text(&output.stderr).contains("0 established (0 hurt) and 30 listening"), "{}", text(&output.stderr));
}

//! What the tests of the programs have in common.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tcproof_bpf::loaded_programs;

/// Set for the run of a test in a process of its own; its value is that test's.
pub(crate) const CHILD: &str = "TCPROOF_BPF_TEST_CHILD";
/// How long a table may take to hold still, and what a process held to go.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Says on stderr, also where the harness keeps what tests print, what could not be tried.
pub(crate) fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIP: {why}\n").as_bytes());
}

/// Says what is missing while the rest is tried.
pub(crate) fn note(why: &str) {
    let _ = std::io::stderr().write_all(format!("NOTE: {why}\n").as_bytes());
}

/// A test of this file that is ignored else, in a process of its own.
fn child(test: &str, with: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(CHILD, with);
    command
}

/// Runs it to its end.
pub(crate) fn alone(test: &str, with: &str) -> ExitStatus {
    child(test, with).status().unwrap()
}

/// Runs it until it says that it is ready, kills it, and waits until the programs that it held have gone. At least so many.
pub(crate) fn killed_leaves_no_program(test: &str, at_least: usize) {
    let mut child = child(test, "").stdout(Stdio::piped()).spawn().unwrap();
    // By then the loader, a program too, has gone.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "it loads nothing");
    let ids = programs_of(child.id());
    assert!(ids.len() >= at_least, "{ids:?}");
    let left = || loaded_programs().unwrap().iter().filter(|id| ids.contains(id)).count();
    assert_eq!(left(), ids.len());
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel frees programs after a grace period.
    let start = Instant::now();
    while left() > 0 {
        assert!(start.elapsed() < PATIENCE, "programs outlive their process: {ids:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Programs that a process holds, by what the kernel says of its descriptors.
fn programs_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let id = |text: String| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
    let mut ids: Vec<u32> = texts.filter_map(id).collect();
    // A link tells its program's too.
    ids.sort_unstable();
    ids.dedup();
    ids
}

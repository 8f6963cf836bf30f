//! A directory with more processes than any host has, each in a network namespace of its own. By itself: the memory of all its
//! children counts.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const PROCESSES: u64 = 100_000;
/// More than twice what an empty directory costs.
const MOST_KIB: i64 = 64 * 1024;
/// What takes longer reads them one by one.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_hundred_thousand_namespaces_of_a_directory_are_bounded_and_said() {
    // In memory, where there is such a place: 300 000 files on a disk take minutes.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let proc = folder.path().join("proc");
    fs::create_dir_all(proc.join("net")).expect("a folder");
    fs::write(proc.join("net/sockstat"), "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 1\n").expect("written");
    for pid in 1..=PROCESSES {
        let ns = proc.join(pid.to_string()).join("ns");
        fs::create_dir_all(&ns).expect("a folder");
        symlink(format!("net:[{}]", 4_026_531_840 + pid), ns.join("net")).expect("a link");
    }
    let root = folder.path().to_str().expect("UTF-8");
    for arguments in [&["check"][..], &["sockets", "--by", "process"], &["doctor"]] {
        let begun = Instant::now();
        let output = Command::new(TCPROOF).args(arguments).args(["--root", root]).output().expect("tcproof runs");
        assert!(begun.elapsed() < PATIENCE, "{arguments:?}: {:?}", begun.elapsed());
        let said = said(&output);
        assert!(said.contains("the first 1024 of its 100000 processes were in 1023 others"), "{arguments:?}: {said}");
    }
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the children's").max_rss();
    assert!(most < MOST_KIB, "{most} KiB");
}

/// As one line, wherever lines end.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&[&*output.stdout, b"\n", &output.stderr].concat()).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Whole hosts as people have them, and the other places where they keep the same settings: what `tcproof lint` says of
//! each, line by line. A distribution's own files have nothing wrong with them, nor has a careful administrator's.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it in the folder of the fixtures, so that paths are the same everywhere.
fn lint(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcproof"));
    command.arg("lint").args(arguments);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/corpus")).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command.output().expect("tcproof runs")
}

/// What it says, notes too; fails where that is not what the exit code says.
fn said(arguments: &[&str], code: i32) -> String {
    let output = lint(&[arguments, &["-v"]].concat());
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    assert_eq!(errors, "");
    text.into_owned()
}

/// Files that are no host's: the machine is named, so that this one does not show.
fn said_of_files(paths: &[&str]) -> String {
    said(&[paths, &["--kernel", "6.12", "--memory", "16G"]].concat(), 10)
}

#[test]
fn debian_12() {
    insta::assert_snapshot!("debian-12", said(&["--root", "debian-12"], 0));
}

#[test]
fn ubuntu_24_04() {
    insta::assert_snapshot!("ubuntu-24.04", said(&["--root", "ubuntu-24.04"], 10));
}

#[test]
fn rhel_9() {
    insta::assert_snapshot!("rhel-9", said(&["--root", "rhel-9"], 0));
    let profile = "rhel-9/usr/lib/tuned/throughput-performance/tuned.conf";
    assert_eq!(lint(&[profile, "--kernel", "5.14"]).status.code(), Some(0));
}

#[test]
fn kubernetes_node() {
    insta::assert_snapshot!("kubernetes-node", said(&["--root", "kubernetes-node"], 10));
    insta::assert_snapshot!("kubernetes-manifests", said_of_files(&["kubernetes-node/manifests"]));
}

#[test]
fn ten_million_connections() {
    insta::assert_snapshot!("c10m-gist", said(&["--root", "c10m-gist"], 10));
}

#[test]
fn a_careful_administrator() {
    insta::assert_snapshot!("web-with-reason", said(&["--root", "web-with-reason"], 0));
}

#[test]
fn everything_but_sysctl_files() {
    insta::assert_snapshot!("deploy", said_of_files(&["deploy"]));
}

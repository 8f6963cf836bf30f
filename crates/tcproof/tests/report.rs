//! `tcproof report` as a person runs it, and what a browser makes of it.
//!
//! What needs a browser says `SKIP` without Chromium.

mod browser;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use browser::Browser;
use serde_json::Value;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcproof-host/fixtures");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan")
}

/// Runs it in the folder of the saved checks, so that paths are the same everywhere.
fn report(arguments: &[&str]) -> Output {
    let mut command = Command::new(TCPROOF);
    command.arg("report").args(arguments).current_dir(folder()).env("LC_ALL", "C.UTF-8");
    command.output().expect("tcproof runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The JSON inside.
fn inside(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"check\">").expect("JSON");
    serde_json::from_str(rest.split_once("</script>").expect("its end").0).expect("JSON")
}

#[test]
fn help() {
    insta::assert_snapshot!(stdout(&report(&["--help"])));
}

#[test]
fn this_host_as_it_is() {
    let done = report(&["--for", "200ms", "--no-ebpf"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let page = stdout(&done);
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let check = inside(&page);
    assert_eq!((&check["schema"], check["host"]["name"].as_str()), (&"tcproof/check/1".into(), Some(name.trim())));
    for part in ["<h1>", "Packet path", "Headroom", "What could not be seen"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_saved_check_in_both_formats() {
    let done = report(&["--from", "limiting.json"]);
    assert_eq!((done.status.code(), stderr(&done)), (Some(0), String::new()));
    let page = stdout(&done);
    assert!(page.contains("accept queue of 0.0.0.0:8080") && page.contains("the saved check limiting.json"), "{page}");
    assert_eq!(inside(&page)["findings"].as_array().map(Vec::len), Some(3));
    let done = report(&["--from", "limiting.json", "--format", "md"]);
    assert_eq!((done.status.code(), stderr(&done)), (Some(0), String::new()));
    let text = stdout(&done);
    assert!(text.starts_with("# LIMITING: accept queue of 0.0.0.0:8080\n"), "{text}");
    assert!(text.contains("no queues over time, no packet path"), "what a saved check lacks is said: {text}");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("check.json");
    let room = r#""headroom": [{"limit": "loss", "subject": {"kind": "host"}, "used": 1, "capacity": 9, "unit": "x"}]"#;
    let healthy = fs::read_to_string(folder().join("healthy.json")).expect("a fixture");
    fs::write(&file, healthy.replace("\"headroom\": []", room)).expect("it is written");
    let done = report(&["--from", file.to_str().expect("UTF-8"), "--format", "md"]);
    assert!(stdout(&done).starts_with("# CLEAR: nothing limits TCP here: 1 checked\n"), "{}", stdout(&done));
    // Where nothing was judged, nothing is called clear.
    let done = report(&["--from", "healthy.json", "--format", "md"]);
    assert!(stdout(&done).starts_with("# UNKNOWN: no verdict: "), "{}", stdout(&done));
}

#[test]
fn a_recording() {
    let file = format!("{FIXTURES}/../../tcproof-record/fixtures/v1.tcproof");
    let done = report(&["--from", &file, "--at", "-0s", "--for", "10s", "--format", "md"]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let text = stdout(&done);
    assert!(text.contains("From: ") && text.contains("recording of ") && text.contains("## Packet path"), "{text}");
    assert_eq!(report(&["--from", &file, "--at", "1970-01-01T00:00:00Z"]).status.code(), Some(1));
}

#[test]
fn only_one_port() {
    let done = report(&["--from", "limiting.json", "--port", "9", "--format", "md"]);
    let text = stdout(&done);
    assert!(text.starts_with("# LIMITING: packet backlog of this host\n"), "the host's own stays: {text}");
    assert!(!text.contains("0.0.0.0:8080"), "{text}");
}

#[test]
fn exit_codes_are_those_of_check_when_asked_for() {
    for (file, fail_on, code) in [
        ("limiting.json", "never", 0),
        ("limiting.json", "near", 13),
        ("limiting.json", "limiting", 13),
        ("healthy.json", "near", 0),
    ] {
        assert_eq!(report(&["--from", file, "--fail-on", fail_on]).status.code(), Some(code), "{file} {fail_on}");
    }
}

#[test]
fn what_is_no_check_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad\x1b[31m.json");
    let name = file.to_str().expect("UTF-8");
    for (text, why) in [
        ("", "line 1, column 0"),
        ("{", "line 1, column 1"),
        ("{\"schema\": \"tcproof/check/2\"}", "expected \"tcproof/check/1\""),
        ("{\"schema\": \"tcproof/check/1\",\n\"host\": 7}", "line 2, column 9"),
        ("{\"schema\": \"tcproof/check/1\", \"host\": {}, \"verdict\": \"fine\"}", "unknown variant"),
    ] {
        fs::write(&file, text).expect("it is written");
        let done = report(&["--from", name]);
        assert_eq!((done.status.code(), stdout(&done)), (Some(1), String::new()), "{text}");
        let said = stderr(&done);
        assert!(said.contains(why) && said.contains("bad\\x1b[31m.json") && said.lines().count() == 1, "{said:?}");
    }
    let done = report(&["--from", "/nonexistent"]);
    assert_eq!(done.status.code(), Some(1));
    let done = report(&["--from", "limiting.json", "--at", "-3m"]);
    assert!(done.status.code() == Some(1) && stderr(&done).contains("--at is for recordings"));
    let done = report(&["--from", "limiting.json", "--json"]);
    assert!(done.status.code() == Some(1) && stderr(&done).contains("tcproof check --json"));
    let done = report(&["--from", "limiting.json", "--format", "sarif"]);
    assert_eq!(done.status.code(), Some(2));
    let done = Command::new(TCPROOF).args(["check", "--format", "md"]).output().expect("tcproof runs");
    assert!(done.status.code() == Some(2) && stderr(&done).contains("only report has"), "{}", stderr(&done));
}

#[test]
fn hostile_numbers_and_names_make_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("check.json");
    let text = fs::read_to_string(folder().join("limiting.json")).expect("a fixture");
    let text = text.replace("5.003", "1e308").replace("gunicorn", "</script><img src=x>\\u001b[31m");
    fs::write(&file, text).expect("it is written");
    let done = report(&["--from", file.to_str().expect("UTF-8")]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let page = stdout(&done);
    assert!(!page.contains("<img") && page.matches("</script>").count() == 1 && !page.contains('\x1b'));
    inside(&page);
}

#[test]
fn a_report_is_replaced_at_once_and_another_file_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_string();
    let write = |file: &str, from: &str| report(&["--from", from, "-o", file]);
    let (page, text) = (path("report.html"), path("report.md"));
    for file in [&page, &text] {
        let done = write(file, "healthy.json");
        assert!(done.status.success() && stdout(&done).is_empty(), "{}", stderr(&done));
        let done = write(file, "limiting.json");
        assert!(done.status.success(), "{}", stderr(&done));
    }
    assert!(fs::read_to_string(&page).expect("a page").starts_with("<!doctype html>"));
    assert!(fs::read_to_string(&text).expect("text").starts_with("# LIMITING"), "the name says which format");
    let link = path("latest.html");
    symlink(&page, &link).expect("a link");
    assert!(write(&link, "healthy.json").status.success());
    assert!(fs::symlink_metadata(&link).expect("it").is_symlink(), "a link stays one");
    let other = path("notes.html");
    fs::write(&other, "<!doctype html>mine").expect("it is written");
    let done = write(&other, "healthy.json");
    assert!(done.status.code() == Some(1) && stderr(&done).contains("not overwritten"), "{}", stderr(&done));
    assert_eq!(fs::read_to_string(&other).expect("it"), "<!doctype html>mine");
    let done = write(&path("no/such/report.html"), "healthy.json");
    assert_eq!(done.status.code(), Some(1));
    // Nothing can be made there, not even by root.
    let done = write("/proc/report.html", "healthy.json");
    assert!(done.status.code() == Some(1) && stderr(&done).contains("/proc/report.html"), "{}", stderr(&done));
    let mut left: Vec<_> = fs::read_dir(dir.path()).expect("it").map(|entry| entry.expect("one").file_name()).collect();
    left.sort();
    assert_eq!(left, ["latest.html", "notes.html", "report.html", "report.md"]);
    let mode = fs::metadata(&page).expect("a page").permissions().mode();
    assert_eq!(mode & 0o111, 0);
}

#[test]
fn a_browser_finds_nothing_wrong_and_nothing_wider_than_the_window() {
    let Some(browser) = Browser::or_skip("reports") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let long = dir.path().join("long.json");
    let text = fs::read_to_string(folder().join("limiting.json")).expect("a fixture");
    fs::write(&long, text.replace("gunicorn", &"x".repeat(300))).expect("it is written");
    let root = format!("{FIXTURES}/6.18");
    for (name, arguments) in [
        ("saved", vec!["--from", "limiting.json"]),
        ("long", vec!["--from", long.to_str().expect("UTF-8")]),
        ("here", vec!["--for", "200ms", "--no-ebpf"]),
        ("directory", vec!["--root", &root]),
    ] {
        let file = dir.path().join(format!("{name}.html"));
        let done = report(&[&arguments[..], &["-o", file.to_str().expect("UTF-8")]].concat());
        assert!(done.status.success(), "{}", stderr(&done));
        browser.judge(&file);
    }
}

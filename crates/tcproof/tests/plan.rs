//! `tcproof plan` as a person runs it: from a saved check, from a directory, to a file, and with files that are no check.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcproof-host/fixtures");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan")
}

/// Runs it in the folder of the fixtures, so that paths are the same everywhere.
fn plan(arguments: &[&str]) -> Output {
    let mut command = Command::new(TCPROOF);
    command.arg("plan").args(arguments).current_dir(folder()).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command.output().expect("tcproof runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Without what is different each time.
fn stable(text: &str) -> String {
    let is_id = |word: &str| {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let id = word.split_once('Z').zip(word.split_once('T'));
        id.is_some_and(|((before, _), (date, _))| before.len() == 15 && date.len() == 8 && digits(date))
    };
    let is_time = |word: &str| word.trim_matches('"').ends_with('Z') && word.contains("T") && word.contains(':');
    let word = |word: &str| match word {
        _ if is_id(word.trim_matches('"').trim_end_matches(')')) => "ID".to_string(),
        _ if is_time(word) => "TIME".to_string(),
        _ => word.to_string(),
    };
    text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_screen_of_a_saved_check() {
    let done = plan(&["--from", "limiting.json"]);
    assert_eq!((done.status.code(), stderr(&done)), (Some(0), String::new()));
    insta::assert_snapshot!(stable(&stdout(&done)));
}

#[test]
fn help() {
    insta::assert_snapshot!(stdout(&plan(&["--help"])));
}

#[test]
fn a_healthy_host_has_nothing_pending_and_says_so_in_one_sentence() {
    let done = plan(&["--from", "healthy.json", "--check"]);
    assert_eq!(done.status.code(), Some(0));
    insta::assert_snapshot!(stable(&stdout(&done)));
    let done = plan(&["--from", "healthy.json", "--json"]);
    let json: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&json["schema"], json.get("changes")), (&Value::from("tcproof/plan/1"), None));
}

#[test]
fn changes_are_pending_and_what_is_asked_for_is_taken() {
    let changes = |arguments: &[&str]| {
        let done = plan(&[&["--from", "limiting.json", "--check", "--json"], arguments].concat());
        assert_eq!(done.status.code(), Some(10), "{}", stderr(&done));
        let json: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        json["changes"].as_array().expect("a list").len()
    };
    assert_eq!(changes(&[]), 2);
    assert_eq!(changes(&["--with", "net.ipv4.tcp_retries2"]), 3);
    let done = plan(&["--from", "limiting.json", "--with", "net.ipv4.tcp_sack"]);
    assert!(done.status.success() && stderr(&done).contains("no finding asks for it"));
    let done = plan(&["--from", "limiting.json", "--with", "net.core.somaxcon"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).contains("did you mean net.core.somaxconn"));
}

#[test]
fn a_check_of_this_very_host_knows_its_namespaces_and_can_be_applied() {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let here = fs::read_to_string(folder().join("limiting.json")).expect("a fixture").replace("web-07", name.trim());
    let dir = tempfile::tempdir().expect("a directory");
    let (check, file) = (dir.path().join("check.json"), dir.path().join("plan.toml"));
    fs::write(&check, here).expect("it is written");
    let [check, file] = [&check, &file].map(|path| path.to_str().expect("UTF-8"));
    let done = plan(&["--from", check, "-o", file]);
    assert!(done.status.success(), "{}", stderr(&done));
    let inode = fs::metadata("/proc/self/ns/net").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    let text = fs::read_to_string(file).expect("a plan");
    // In a container the initial namespace is not to be seen: the change is left out.
    if Path::new("/proc/sys/net/core/netdev_max_backlog").exists() {
        let made = tcproof_report::plan::read(&text).expect("a plan");
        assert_eq!(made.changes[0].namespace.inode, inode.ok());
        let words = stdout(&done).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("then `tcproof apply "), "{words}");
    }
}

#[test]
fn a_directory_is_planned_for_without_inodes() {
    let root = format!("{FIXTURES}/6.18");
    let done = plan(&["--root", &root, "--check", "--strict"]);
    assert!(matches!(done.status.code(), Some(3 | 10)), "{}{}", stdout(&done), stderr(&done));
    let done = plan(&["--root", "/nonexistent"]);
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn files_are_written_at_once_and_none_is_overwritten_that_is_no_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_string();
    let made = |arguments: &[&str]| plan(&[&["--from", "limiting.json"], arguments].concat());
    let (toml, json, conf) = (file("p.toml"), file("p.json"), file("60-x.conf"));
    let read = |path: &str| fs::read_to_string(path).expect("it is written");
    for (arguments, path, begins) in [
        (&["-o", &*toml][..], &toml, "# A plan of tcproof"),
        (&["-o", &json], &json, "{\n  \"schema\": \"tcproof/plan/1\""),
        (&["-o", &toml, "--json"], &toml, "{\n"),
        (&["-o", &json, "--format", "toml"], &json, "# A plan"),
        (&["-o", &conf, "--format", "sysctl"], &conf, "# Made by tcproof plan"),
        (&["-o", &conf, "--format", "tuned"], &conf, "# Made by tcproof plan"),
    ] {
        let done = made(arguments);
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
        assert!(read(path).starts_with(begins), "{arguments:?}: {}", read(path));
    }
    let mode = fs::metadata(&toml).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600);
    // Through a link, to the file behind it.
    symlink("p.toml", file("link")).expect("a link");
    assert!(made(&["-o", &file("link")]).status.success());
    assert!(fs::symlink_metadata(file("link")).expect("a link").is_symlink() && read(&toml).starts_with("# A plan"));
    let foreign = file("sysctl.conf");
    fs::write(&foreign, "net.core.somaxconn = 4096\n").expect("it is written");
    for path in [&*foreign, dir.path().to_str().expect("UTF-8"), &file("no/such/folder")] {
        let done = made(&["-o", path]);
        assert_eq!((done.status.code(), stdout(&done)), (Some(1), String::new()), "{path}");
        assert!(stderr(&done).contains(path), "{}", stderr(&done));
    }
    assert_eq!(read(&foreign), "net.core.somaxconn = 4096\n");
    let mut names: Vec<_> = fs::read_dir(&dir).expect("it").map(|entry| entry.expect("it").file_name()).collect();
    names.sort();
    assert_eq!(names, ["60-x.conf", "link", "p.json", "p.toml", "sysctl.conf"]);
    assert!(stdout(&made(&["-o", "/dev/stdout", "--json"])).starts_with('{'));
}

#[test]
fn what_is_no_check_is_refused_with_the_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let good = fs::read_to_string(folder().join("limiting.json")).expect("a fixture");
    let refused = |bytes: &[u8]| {
        let file = dir.path().join("check.json");
        fs::write(&file, bytes).expect("it is written");
        let done = plan(&["--from", file.to_str().expect("UTF-8"), "--check"]);
        assert_eq!((done.status.code(), stdout(&done)), (Some(1), String::new()));
        let said = stderr(&done);
        assert!(!said.contains("panicked") && said.lines().count() == 1 && !said.contains('\u{1b}'), "{said}");
        said.replace(file.to_str().expect("UTF-8"), "FILE")
    };
    let edited = |from: &str, to: &str| {
        assert!(good.contains(from));
        refused(good.replacen(from, to, 1).as_bytes())
    };
    insta::assert_snapshot!(refused(b""), @"tcproof: FILE: line 1, column 0: EOF while parsing a value");
    insta::assert_snapshot!(refused(b"\xff\xfe"), @"tcproof: FILE: expected UTF-8");
    insta::assert_snapshot!(refused(b"not json \x1b[31m"), @"tcproof: FILE: line 1, column 2: expected ident");
    insta::assert_snapshot!(refused(&good.as_bytes()[..900]), @"tcproof: FILE: line 24, column 21: EOF while parsing a string");
    insta::assert_snapshot!(edited("tcproof/check/1", "tcproof/check/2"), @r#"tcproof: FILE: schema: expected "tcproof/check/1", as check --json writes it, found "tcproof/check/2""#);
    insta::assert_snapshot!(edited("tcproof/check/1", "tcproof/lint/1\\u001b[31m"), @r#"tcproof: FILE: schema: expected "tcproof/check/1", as check --json writes it, found "tcproof/lint/1\u{1b}[31m""#);
    insta::assert_snapshot!(edited("\"kind\": \"listener\"", "\"kind\": \"socket\""), @"tcproof: FILE: line 13, column 24: unknown variant `socket`, expected one of `host`, `netns`, `listener`, `destination`, `flow`, `cgroup`, `process`, `cpu`, `device`");
    insta::assert_snapshot!(edited("\"confidence\": \"proven\",", ""), @"tcproof: FILE: line 35, column 5: missing field `confidence`");
    insta::assert_snapshot!(edited("\"level\": \"kernel\"", "\"level\": \"root\""), @"tcproof: FILE: line 24, column 25: unknown variant `root`, expected one of `application`, `service`, `kernel`");
    assert!(refused("[".repeat(100_000).as_bytes()).contains("line 1"));
    let done = plan(&["--from", "/nonexistent/check.json"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("/nonexistent/check.json"));
}

#[test]
fn what_makes_no_sense_together_is_wrong_usage() {
    for arguments in [
        &["--from", "limiting.json", "--for", "1s"][..],
        &["--from", "limiting.json", "--netns", "web"],
        &["--from", "limiting.json", "--format", "sarif"],
        &["--from", "limiting.json", "--with", ""],
    ] {
        assert_eq!(plan(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let done = Command::new(TCPROOF).args(["check", "--format", "sysctl"]).output().expect("it runs");
    assert_eq!(done.status.code(), Some(2));
    assert!(stderr(&done).contains("only plan has"), "{}", stderr(&done));
}

#[test]
fn the_plan_keeps_to_the_schema_that_is_printed() {
    let schema = Command::new(TCPROOF).args(["schema", "plan"]).output().expect("it runs");
    let schema = serde_json::from_slice(&schema.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let json = serde_json::from_slice(&plan(&["--from", "limiting.json", "--json"]).stdout).expect("JSON");
    let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

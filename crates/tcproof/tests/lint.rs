//! `tcproof lint` as a person runs it: every rule on a file that breaks it and on one that nearly does, whole hosts as
//! people have them, what articles recommend, and files that nobody should have written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tcproof_core::lint::RULES;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// The machine that fixtures are for: what this one is like must not change what is said of them.
const MACHINE: [&str; 4] = ["--kernel", "6.18", "--memory", "16G"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

/// Runs it in the folder of the fixtures, so that paths are the same everywhere.
fn lint(arguments: &[&str]) -> Output {
    let mut command = Command::new(TCPROOF);
    command.arg("lint").args(arguments).current_dir(folder()).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command.output().expect("tcproof runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// `--json`, which keeps to its schema.
fn json(arguments: &[&str]) -> Value {
    let output = lint(&[arguments, &["--json"]].concat());
    let json = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| {
        panic!("{error}: {}\n{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
    });
    let schema = serde_json::from_str(tcproof_report::lint::SCHEMA).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?} in {}", stdout(&output));
    let is_bad = |finding: &Value| finding["severity"] != "note";
    let findings = json["findings"].as_array().expect("findings");
    let expected = if findings.iter().any(is_bad) { 10 } else { i32::from(json["unread"] != Value::Array(vec![])) };
    assert_eq!(output.status.code(), Some(expected), "{}", stdout(&output));
    json
}

fn rules_in(json: &Value) -> BTreeSet<String> {
    let findings = json["findings"].as_array().expect("findings").iter();
    findings.map(|finding| finding["rule"].as_str().expect("a rule").to_string()).collect()
}

/// The fixture of that name, whatever it ends with: a file, or a directory that is a host's root.
fn fixture(rule: &str, name: &str) -> Vec<String> {
    let folder = folder().join("rules").join(rule);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let path = paths.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    let path = path.unwrap_or_else(|| panic!("{}: there is no {name}", folder.display()));
    let shown = path.strip_prefix(self::folder()).expect("below it").to_str().expect("UTF-8").to_string();
    if path.is_dir() {
        vec!["--root".into(), shown]
    } else {
        [vec![shown], MACHINE.map(String::from).to_vec()].concat()
    }
}

#[test]
fn every_rule_finds_its_bad_file_and_not_the_near_miss() {
    let mut wrong = Vec::new();
    for rule in RULES {
        let rules = |name| {
            let arguments = fixture(rule.slug, name);
            rules_in(&json(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
        };
        if !rules("bad").contains(rule.slug) {
            wrong.push(format!("{}: finds nothing in its bad file", rule.slug));
        }
        if rules("near-miss").contains(rule.slug) {
            wrong.push(format!("{}: finds something in its near miss", rule.slug));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn everything_that_is_said_of_the_fixtures() {
    let mut all = String::new();
    for rule in RULES {
        for name in ["bad", "near-miss"] {
            let arguments = fixture(rule.slug, name);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["-v"]).collect();
            all += &format!("==== {} {name}\n{}", rule.slug, stdout(&lint(&arguments)));
        }
    }
    insta::assert_snapshot!("fixtures", all);
}

#[test]
fn pages_of_rules_have_their_sections_and_true_examples() {
    for rule in RULES {
        let page = rule.page();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let expected = ["What it says", "Why it matters", "Bad", "Good", "What to do", "References"];
        assert_eq!(headings, expected, "{}", rule.slug);
        assert_eq!(page.lines().next(), Some(&*format!("# {}", rule.slug)));
    }
}

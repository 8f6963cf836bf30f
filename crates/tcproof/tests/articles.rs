//! What articles recommend: `tcproof lint` has to agree with what the check of each claim found
//! (`tests/lint/articles.toml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use tcproof_core::lint::Rule;

/// How many claims the articles make, and how many hold for all of them.
const CLAIMS: u32 = 128;
const GENERAL: u32 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Articles {
    not_in_a_file: Vec<u32>,
    general_not_in_a_file: Vec<u32>,
    claim: Vec<Claim>,
    general: Vec<Claim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    number: u32,
    says: String,
    verdict: Verdict,
    format: Format,
    text: String,
    #[serde(default)]
    expect: BTreeSet<String>,
    #[serde(default)]
    notes: BTreeSet<String>,
    at_most: Option<Severity>,
    #[serde(default)]
    warns_against: bool,
    only_a_note: Option<String>,
    kernel: Option<String>,
    memory: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Verdict {
    Right,
    Outdated,
    Wrong,
    Dangerous,
    Incomplete,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Conf,
    Sh,
    Yaml,
    Service,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Note,
}

impl Format {
    fn file(self) -> &'static str {
        match self {
            Self::Conf => "90-article.conf",
            Self::Sh => "article.sh",
            Self::Yaml => "article.yaml",
            Self::Service => "article.service",
        }
    }
}

fn articles() -> Articles {
    toml::from_str(include_str!("lint/articles.toml")).expect("articles.toml is as this test reads it")
}

/// What lint says of a claim's file: each rule with its severity.
fn said(claim: &Claim) -> BTreeSet<(String, String)> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(claim.format.file());
    fs::write(&path, &claim.text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcproof"));
    command.args(["lint", "--json"]).arg(&path);
    command.args(["--kernel", claim.kernel.as_deref().unwrap_or("6.18")]);
    command.args(["--memory", claim.memory.as_deref().unwrap_or("16G")]);
    let output = command.output().expect("tcproof runs");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", claim.number, String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(json["unread"], Value::Array(Vec::new()), "{}", claim.number);
    let word = |finding: &Value, key| finding[key].as_str().expect("a word").to_string();
    let findings = json["findings"].as_array().expect("findings").iter();
    findings.map(|finding| (word(finding, "rule"), word(finding, "severity"))).collect()
}

/// What is wrong with what lint says; nothing where both agree.
fn disagreement(claim: &Claim) -> Option<String> {
    let said = said(claim);
    let bad: BTreeSet<_> = said.iter().filter(|(_, is)| is != "note").map(|(rule, _)| rule.clone()).collect();
    let all: BTreeSet<_> = said.iter().map(|(rule, _)| rule.clone()).collect();
    let is_as_expected = bad == claim.expect && claim.notes.is_subset(&all);
    let is_silent_where_right =
        claim.at_most.is_some() || claim.warns_against || claim.verdict != Verdict::Right || said.is_empty();
    let (number, says) = (claim.number, &claim.says);
    (!is_as_expected || !is_silent_where_right)
        .then(|| format!("{number} ({says}) is {:?}, lint says {said:?}", claim.verdict))
}

/// What an entry expects has to be what its verdict asks for.
fn inconsistency(claim: &Claim) -> Option<String> {
    let is_warned = !claim.expect.is_empty();
    let is_noted = is_warned || !claim.notes.is_empty();
    let fits = match (claim.verdict, &claim.only_a_note) {
        (Verdict::Right, None) => is_warned == claim.warns_against,
        (Verdict::Incomplete, None) => is_noted,
        (Verdict::Outdated | Verdict::Wrong | Verdict::Dangerous, None) => is_warned,
        (Verdict::Outdated | Verdict::Wrong, Some(why)) => !why.is_empty() && is_noted && !is_warned,
        (_, Some(_)) => false,
    };
    let unknown = claim.expect.union(&claim.notes).find(|slug| Rule::by_slug(slug).is_none());
    match unknown {
        Some(slug) => Some(format!("{}: there is no rule {slug}", claim.number)),
        None => (!fits).then(|| format!("{}: does not expect what {:?} asks for", claim.number, claim.verdict)),
    }
}

#[test]
fn every_claim_is_accounted_for_once() {
    let articles = articles();
    for (count, claims, others) in [
        (CLAIMS, &articles.claim, &articles.not_in_a_file),
        (GENERAL, &articles.general, &articles.general_not_in_a_file),
    ] {
        let mut times: BTreeMap<u32, u32> = (1..=count).map(|number| (number, 0)).collect();
        for number in claims.iter().map(|claim| claim.number).chain(others.iter().copied()) {
            *times.entry(number).or_default() += 1;
        }
        times.retain(|number, times| *times != 1 || *number > count);
        assert!(times.is_empty(), "number: times {times:?}");
    }
}

#[test]
fn lint_agrees_with_the_check_of_every_claim() {
    let articles = articles();
    let claims = || articles.claim.iter().chain(&articles.general);
    let wrong: Vec<_> = claims().filter_map(inconsistency).chain(claims().filter_map(disagreement)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

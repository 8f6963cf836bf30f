//! tcproof beside what people use: the same failures of the lab, cured by tcproof, by the list that articles copy from
//! each other, and by tuned's profiles. What comes out is told in docs/comparison.md.
//!
//! Everything happens in the lab's own network namespaces, so of a list only what a namespace has of its own is tried.

mod judge;
mod lists;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{fs, iter};

use anyhow::{Context, Result, ensure};
use judge::{Against, Cell, Effect, goodput, judge};
use lists::List;
use rustix::process::geteuid;
use serde_json::Value;

use crate::bench::release_binary;

/// Failures that a knob cures, failures that only look so, and health.
const SCENARIOS: &[&str] = &[
    "accept-queue-somaxconn",
    "accept-queue-not-relistened",
    "ports-time-wait-churn",
    "ports-range-small",
    "syn-flood-cookies-off",
    "time-wait-table",
    "receive-window-buffer-max",
    "send-buffer-max",
    "congestion-slow-start-after-idle",
    "path-mtu-black-hole",
    "mptcp-disabled",
    "accept-queue-paced",
    "receive-window-reader-slow",
    "loss-path-cubic",
    "many-time-wait",
];
/// The column of those who do nothing else.
const ALONE: &str = "a restart alone";
/// Those of tuned's profiles that are about the network.
const PROFILES: &[&str] = &["network-latency", "network-throughput"];
/// Its package's files, before and since 2.23.
const TUNED: &str = "/usr/lib/tuned";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the result under bench/runs
    #[arg(long)]
    keep: bool,
    /// Use this program instead of a release build
    #[arg(long, value_name = "FILE")]
    tcproof: Option<PathBuf>,
    /// Where tuned's profiles are
    #[arg(long, default_value = TUNED, value_name = "DIR")]
    tuned: PathBuf,
    /// Scenarios of `tcproof lab list`
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
}

/// Who tries to cure a scenario.
struct Contestant {
    name: String,
    how: How,
}

enum How {
    /// As a user of tcproof: plan, apply, verify, roll back.
    Tcproof,
    /// A script in both namespaces, with and without a restart of the services after it.
    Script(String),
    /// Can't be tried, and why.
    Skip(String),
}

pub(crate) fn run(workspace: &Path, args: &Args) -> Result<ExitCode> {
    if !geteuid().is_root() {
        println!("SKIP: the lab needs root");
        return Ok(ExitCode::SUCCESS);
    }
    let tcproof = match &args.tcproof {
        Some(file) => file.to_str().context("the program's name is not UTF-8")?.to_string(),
        None => release_binary(workspace)?,
    };
    let contestants = contestants(&args.tuned)?;
    let scenarios: Vec<&str> = match &args.scenarios[..] {
        [] => SCENARIOS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let mut rows = Vec::new();
    for scenario in scenarios {
        // What can be reached at all, and whether the failure comes about here.
        let reference = outcome(Command::new(&tcproof).args(["lab", "run", scenario, "--json"]))?;
        let cured = goodput(&reference["after"]);
        // What a failure does when nobody does anything about it.
        let nothing =
            outcome(Command::new(&tcproof).args(["lab", "run", scenario, "--json", "--cure", "true", "--restart"]))?;
        let cell = judge(&nothing, Against { cured, nothing: None });
        println!("{scenario}, {ALONE}: {}", in_words(&cell));
        let mut cells = vec![cell];
        for contestant in &contestants {
            let cell = contestant.compete(&tcproof, scenario, Against { cured, nothing: Some(&nothing) })?;
            println!("{scenario}, {}: {}", contestant.name, in_words(&cell));
            cells.push(cell);
        }
        rows.push((scenario.to_string(), cells));
    }
    let names: Vec<&str> = iter::once(ALONE).chain(contestants.iter().map(|it| it.name.as_str())).collect();
    let report = render(&names, &rows);
    print!("\n{report}");
    if args.keep {
        keep(workspace, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn contestants(tuned: &Path) -> Result<Vec<Contestant>> {
    let list = |name: String, list: Result<List>| {
        let how = match list {
            Ok(list) => How::Script(lists::script(&list)),
            Err(why) => {
                println!("SKIP {name}: {why:#}");
                How::Skip(format!("{why:#}"))
            }
        };
        Contestant { name, how }
    };
    let mut contestants = vec![
        Contestant { name: "tcproof".into(), how: How::Tcproof },
        list("articles' list".into(), Ok(lists::articles()?)),
    ];
    contestants.extend(PROFILES.iter().map(|profile| list(format!("tuned {profile}"), lists::tuned(tuned, profile))));
    Ok(contestants)
}

impl Contestant {
    fn compete(&self, tcproof: &str, scenario: &str, against: Against<'_>) -> Result<Cell> {
        let lab = |arguments: &[&str]| {
            outcome(Command::new(tcproof).args(["lab", "run", scenario, "--json"]).args(arguments))
        };
        let script = match &self.how {
            How::Skip(why) => return Ok(Cell::Skip(why.clone())),
            How::Tcproof => return Ok(judge(&lab(&["--apply"])?, against)),
            How::Script(script) => script,
        };
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("list.sh");
        fs::write(&file, script)?;
        let cure = format!(
            r#"for ns in "$TCPROOF_LAB_SERVER" "$TCPROOF_LAB_CLIENT"; do nsenter --net="$ns" sh {}; done"#,
            file.display()
        );
        // Some knobs want a restart, and a restart costs what connections have learnt: the better of the two counts.
        let with = judge(&lab(&["--cure", &cure, "--restart"])?, against);
        if with.effect() >= Some(Effect::Cures) {
            return Ok(with);
        }
        let without = judge(&lab(&["--cure", &cure])?, Against { nothing: None, ..against });
        Ok(if without.effect() > with.effect() { without } else { with })
    }
}

/// The one outcome that `tcproof lab run --json` prints. It exits with 1 where the symptom did not stop, which is no error.
fn outcome(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().context("starting tcproof")?;
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let outcome = printed["outcomes"][0].clone();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!outcome.is_null(), "tcproof lab: {}: {}", output.status, said.lines().last().unwrap_or("it said nothing"));
    Ok(outcome)
}

fn in_words(cell: &Cell) -> String {
    match cell {
        Cell::Skip(why) => format!("SKIP, {why}"),
        Cell::Measured { effect, knobs, numbers } => format!("{effect} ({numbers}; {knobs} changed)"),
    }
}

fn render(names: &[&str], rows: &[(String, Vec<Cell>)]) -> String {
    let mut lines = vec![format!("| scenario | {} |", names.join(" | "))];
    lines.push(format!("|---|{}", "---|".repeat(names.len())));
    for (scenario, cells) in rows {
        let cells: Vec<String> = cells.iter().map(in_words).collect();
        lines.push(format!("| `{scenario}` | {} |", cells.join(" | ").replace(['\n', '\r'], " ")));
    }
    lines.join("\n") + "\n"
}

fn keep(workspace: &Path, report: &str) -> Result<()> {
    let [date, kernel] = [("date", ["--utc", "+%F"].as_slice()), ("uname", &["-r"])].map(|(program, arguments)| {
        let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_string()
    });
    let file = workspace.join(format!("bench/runs/{date}-compare.md"));
    let head = format!(
        "# tcproof beside what people use, {date}\n\nLinux {kernel}. `cargo xtask compare --keep` as root:\n\n"
    );
    crate::write(&file, &(head + report))?;
    println!("kept as {}", file.display());
    Ok(())
}

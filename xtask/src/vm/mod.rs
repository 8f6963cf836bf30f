//! The lab on other kernels, and with the knobs that no network namespace has of its own: in emulated machines.
//!
//! A machine is a kernel of Debian's and an initial file system with static programs: this one, which is its first
//! process there (`guest`), tcproof, which runs the scenarios, and the test of the table of knobs. It has no network
//! card, and a disk only where its power fails (`reboot`).

mod cpio;
mod guest;
mod hold;
mod machine;
mod modules;
mod packages;
mod protocol;
mod reboot;
mod table;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::faults::Row;
pub(crate) use guest::run as guest;
pub(crate) use hold::held;
use machine::{Ending, Parts};
use packages::{Files, KERNELS, Kernel};
use protocol::{Event, Job, Run, TESTS, Test};
use table::{Cell, Column, render};

/// Kernels and scenarios that are run where none are named: what CI has time for.
const QUICK_KERNELS: &[&str] = &["6.1"];
const QUICK_SCENARIOS: &[&str] =
    &["accept-queue-paced", "knobs", "ebpf-load", "ebpf-census", "ebpf-trace", "ebpf-lockdown", protocol::REBOOT];

/// Seconds for one scenario.
const PATIENCE: u64 = 180;

/// The target whose C library can be linked statically without another compiler.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels to run on
    #[arg(long, value_delimiter = ',', value_parser = kernel_named, value_name = "VERSION")]
    kernel: Vec<Kernel>,
    /// Every kernel and every scenario; the result is kept under bench/runs
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// A kernel or scenario that had to be skipped is exit code 3
    #[arg(long)]
    strict: bool,
    /// Download kernels again
    #[arg(long)]
    fresh: bool,
    /// How long one scenario may take, in seconds: emulated CPUs are slow
    #[arg(long, default_value_t = PATIENCE, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// Scenarios to run: of `tcproof lab list`, of the folder for machines, or `knobs`, which tests their table, or `ebpf-load`,
    /// `ebpf-census`, `ebpf-trace` and `ebpf-lockdown`, which test those programs, or `reboot`, which cuts a machine's power in the midst of
    /// changes
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
}

fn kernel_named(version: &str) -> Result<Kernel, String> {
    let known = || KERNELS.iter().map(|kernel| kernel.version).collect::<Vec<_>>().join(", ");
    KERNELS
        .iter()
        .find(|kernel| kernel.version == version)
        .copied()
        .ok_or_else(|| format!("expected one of {}", known()))
}

pub(crate) fn run(workspace: &Path, target: &Path, args: &Args) -> Result<ExitCode> {
    let target = target.join("vm");
    if let Err(why) = emulator() {
        println!("SKIP all kernels and scenarios: {why:#}");
        return Ok(ExitCode::from(if args.strict { 3 } else { 0 }));
    }
    let programs = build(workspace, &target.join("build"))?;
    let catalog = Catalog::read(workspace, &programs)?;
    let scenarios = catalog.chosen(args)?;
    let kernels: Vec<Kernel> = match &args.kernel[..] {
        [] if args.all => KERNELS.to_vec(),
        [] => KERNELS.iter().filter(|kernel| QUICK_KERNELS.contains(&kernel.version)).copied().collect(),
        named => named.to_vec(),
    };
    let mut columns = Vec::new();
    for kernel in kernels {
        let column = match packages::files(kernel, &target.join("kernels"), args.fresh) {
            Ok(files) => {
                let results = target.join("results").join(kernel.version);
                let rows = RefCell::default();
                let lab = Lab { workspace, kernel, files, programs: &programs, catalog: &catalog, results, rows, args };
                lab.run(&scenarios)?
            }
            Err(why) => {
                println!("SKIP kernel {}: {why:#}", kernel.version);
                Column::skipped(kernel.version, &scenarios, &format!("{why:#}"))
            }
        };
        columns.push(column);
    }
    let report = render(&columns, &scenarios);
    print!("\n{report}");
    if args.all {
        keep(workspace, &report)?;
    }
    let counts = table::counts(&columns, &scenarios);
    Ok(ExitCode::from(match counts.failed {
        0 if args.strict && counts.skipped > 0 => 3,
        0 => 0,
        _ => 1,
    }))
}

/// What became of machines whose power failed.
pub(crate) enum Reboots {
    Survived(Vec<Row>),
    /// There are no such machines here, and why.
    Skipped(String),
    /// What was survived before, and what was not.
    Failed(Vec<Row>, String),
}

/// Cuts the power of machines in the midst of changes, for the table of faults.
pub(crate) fn reboots(workspace: &Path, target: &Path) -> Result<Reboots> {
    let target = target.join("vm");
    if let Err(why) = emulator() {
        return Ok(Reboots::Skipped(format!("{why:#}")));
    }
    let quick = KERNELS.iter().copied().find(|kernel| QUICK_KERNELS.contains(&kernel.version));
    let kernel = quick.context("no kernel is quick")?;
    let files = match packages::files(kernel, &target.join("kernels"), false) {
        Ok(files) => files,
        Err(why) => return Ok(Reboots::Skipped(format!("{why:#}"))),
    };
    let programs = build(workspace, &target.join("build"))?;
    let catalog = Catalog::read(workspace, &programs)?;
    let results = target.join("results").join(kernel.version);
    let args =
        Args { kernel: Vec::new(), all: false, strict: false, fresh: false, patience: PATIENCE, scenarios: Vec::new() };
    let rows = RefCell::default();
    let lab = Lab { workspace, kernel, files, programs: &programs, catalog: &catalog, results, rows, args: &args };
    let column = lab.run(&[protocol::REBOOT.to_string()])?;
    let rows = lab.rows.take();
    Ok(match column.cells.get(protocol::REBOOT) {
        Some(Cell::Pass(_)) => Reboots::Survived(rows),
        Some(Cell::Skip(why)) => Reboots::Skipped(why.clone()),
        Some(Cell::Fail(what)) => Reboots::Failed(rows, what.join("; ")),
        None => Reboots::Failed(rows, "it has no result".into()),
    })
}

fn emulator() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the kernels are for x86_64, this host is not");
    let version = Command::new(machine::QEMU).arg("--version").output();
    let version = version.with_context(|| format!("{} can't be started", machine::QEMU))?;
    ensure!(version.status.success(), "{} --version failed", machine::QEMU);
    Ok(())
}

/// The programs that a machine has.
struct Programs {
    tcproof: PathBuf,
    xtask: PathBuf,
    /// By their names.
    tests: BTreeMap<&'static str, PathBuf>,
}

fn build(workspace: &Path, folder: &Path) -> Result<Programs> {
    cargo(workspace, folder, &["build", "-p", "tcproof", "-p", "xtask"])?;
    let built = |name| folder.join(TARGET).join("release").join(name);
    // All at once, so that what they share is built once.
    let mut test = vec!["test", "--no-run", "--message-format", "json"];
    let mut wanted: Vec<_> = TESTS.iter().flat_map(|test| [["-p", test.package], ["--test", test.target]]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    test.extend(wanted.into_iter().flatten());
    let messages = cargo(workspace, folder, &test)?;
    let messages: Vec<_> = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
    let mut tests = BTreeMap::new();
    for Test { name, target, .. } in &TESTS {
        // A test's file has a hash in its name, which only cargo knows.
        let mut of = messages.iter().filter(|message| message["target"]["name"] == *target);
        let built = of.find_map(|message| message["executable"].as_str().map(PathBuf::from));
        tests.insert(*name, built.with_context(|| format!("cargo does not say where the test {target} is"))?);
    }
    Ok(Programs { tcproof: built("tcproof"), xtask: built("xtask"), tests })
}

/// Builds for a machine, where there is nothing else, also no C library. Gives what cargo printed.
fn cargo(workspace: &Path, folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(arguments)
        .args(["--release", "--locked", "--quiet", "--target", TARGET, "--target-dir"])
        .arg(folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // What is saved at link time is more than what emulation would save.
        .envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")])
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "building static programs failed");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All scenarios there are.
struct Catalog {
    /// Those that come with the program.
    known: Vec<String>,
    /// Files of those that need a machine made for them.
    machine: BTreeMap<String, Vec<u8>>,
}

impl Catalog {
    fn read(workspace: &Path, programs: &Programs) -> Result<Self> {
        let listed = Command::new(&programs.tcproof).args(["lab", "list", "--json"]).output()?;
        ensure!(listed.status.success(), "tcproof lab list failed");
        let listed: Value = serde_json::from_slice(&listed.stdout)?;
        let names = listed["scenarios"].as_array().into_iter().flatten().filter_map(|s| s["name"].as_str());
        let known =
            names.chain(TESTS.iter().map(|test| test.name)).chain([protocol::REBOOT]).map(str::to_string).collect();
        let folder = workspace.join("crates/tcproof-lab/scenarios-vm");
        let mut machine = BTreeMap::new();
        if folder.exists() {
            for entry in fs::read_dir(folder)? {
                let file = entry?.path();
                if file.extension().is_some_and(|extension| extension == "toml") {
                    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    machine.insert(name, fs::read(&file)?);
                }
            }
        }
        Ok(Self { known, machine })
    }

    fn chosen(&self, args: &Args) -> Result<Vec<String>> {
        if args.scenarios.is_empty() {
            let known = self.known.iter().filter(|name| args.all || QUICK_SCENARIOS.contains(&name.as_str()));
            return Ok(known.chain(self.machine.keys()).cloned().collect());
        }
        for name in &args.scenarios {
            ensure!(self.known.contains(name) || self.machine.contains_key(name), "there is no scenario {name:?}");
        }
        Ok(args.scenarios.clone())
    }
}

/// One kernel's part.
struct Lab<'a> {
    workspace: &'a Path,
    kernel: Kernel,
    files: Files,
    programs: &'a Programs,
    catalog: &'a Catalog,
    /// Where the kernel's console and what failed is kept.
    results: PathBuf,
    /// The losses of power that were survived.
    rows: RefCell<Vec<Row>>,
    args: &'a Args,
}

impl Lab<'_> {
    fn run(&self, scenarios: &[String]) -> Result<Column> {
        if self.results.exists() {
            fs::remove_dir_all(&self.results)?;
        }
        fs::create_dir_all(&self.results)?;
        let mut column = Column {
            kernel: self.kernel.version.to_string(),
            about: String::new(),
            cells: BTreeMap::new(),
            at_first: BTreeMap::new(),
        };
        let mut boots = 0;
        // A machine that stops takes only the scenario with it that it was running: another one does the rest.
        loop {
            let mut left: Vec<&String> = scenarios.iter().filter(|name| !column.cells.contains_key(*name)).collect();
            if left.len() > 1 {
                // It has machines of its own.
                left.retain(|name| *name != protocol::REBOOT);
            }
            let Some(first) = left.first() else {
                column.try_again(|scenario| scenario != protocol::REBOOT && Test::named(scenario).is_none());
                if scenarios.iter().all(|name| column.cells.contains_key(name)) {
                    return Ok(column);
                }
                continue;
            };
            let mut running = first.to_string();
            if *running == *protocol::REBOOT {
                let cell = reboot::run(self, &mut column)?;
                println!("{:>6} {running}: {}", self.kernel.version, in_words(&cell));
                column.cells.insert(running, cell);
                continue;
            }
            boots += 1;
            let ending = self.boot(boots, &left, &mut column, &mut running)?;
            if let Ending::Short(why) = ending {
                println!("{:>6} FAIL {running}: {why}", self.kernel.version);
                column.cells.insert(running, Cell::Fail(vec![why, self.last_words(boots)]));
            } else if left.iter().all(|name| !column.cells.contains_key(*name)) {
                return Ok(column);
            }
        }
    }

    fn console(&self, boot: usize) -> PathBuf {
        self.results.join(format!("console-{boot}.log"))
    }

    /// Where a kernel's console says why it stopped; else its end.
    fn last_words(&self, boot: usize) -> String {
        let console = fs::read(self.console(boot)).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let panic = console.lines().find(|line| line.contains("Kernel panic"));
        let line = panic.or(console.lines().last()).unwrap_or("nothing");
        format!("its console: {line}")
    }

    fn boot(&self, boot: usize, scenarios: &[&String], column: &mut Column, running: &mut String) -> Result<Ending> {
        let initramfs = self.results.join("initramfs");
        fs::write(&initramfs, self.initramfs(scenarios)?)?;
        let parts = Parts { kernel: self.files.image.clone(), initramfs, console: self.console(boot), disk: None };
        let mut trouble = Ok(());
        let ending = machine::run(&parts, Duration::from_secs(self.args.patience), &mut |event| match event {
            Event::Started { release, version, failed_modules } => {
                column.about = format!("{release} {version}");
                for why in failed_modules {
                    println!("{:>6} note: module {why}", self.kernel.version);
                }
            }
            Event::Running { scenario } => *running = scenario,
            Event::Ended { scenario, seconds, status, out, err } => {
                let cell = match &*scenario {
                    name if Test::named(name).is_some() => {
                        let notes: BTreeSet<_> = err.lines().filter(|line| line.starts_with("NOTE")).collect();
                        for line in notes {
                            println!("{:>6} {name}: {line}", self.kernel.version);
                        }
                        judge_test(&status, &out, &err, seconds)
                    }
                    _ => judge(&status, &out, &err, seconds),
                };
                println!("{:>6} {scenario}: {}", self.kernel.version, in_words(&cell));
                if matches!(cell, Cell::Fail(_)) && trouble.is_ok() {
                    trouble = fs::write(self.results.join(format!("{scenario}.json")), out);
                }
                column.cells.insert(scenario, cell);
            }
            Event::Broken { .. } | Event::Finished | Event::Ran { .. } | Event::Looked { .. } | Event::Cut => {}
        })?;
        trouble.context("keeping a scenario's outcome")?;
        Ok(ending)
    }

    fn initramfs(&self, scenarios: &[&String]) -> Result<Vec<u8>> {
        let mut archive = cpio::Archive::new(Vec::new());
        for folder in ["proc", "sys", "dev", "run", "tmp", "modules", "scenarios"] {
            archive.directory(folder)?;
        }
        archive.program("init", &fs::read(&self.programs.xtask)?)?;
        archive.program(protocol::PROGRAM, &fs::read(&self.programs.tcproof)?)?;
        for (name, program) in self.programs.tests.iter().filter(|(name, _)| scenarios.iter().any(|it| it == *name)) {
            archive.program(name, &fs::read(program)?)?;
        }
        let mut job = Job { modules: Vec::new(), runs: Vec::new(), seconds: self.args.patience, steps: Vec::new() };
        for (name, content) in &self.files.modules {
            job.modules.push(format!("modules/{name}"));
            archive.file(&format!("modules/{name}"), content)?;
        }
        for name in scenarios {
            let mut argument = name.to_string();
            if let Some(text) = self.catalog.machine.get(*name) {
                argument = format!("/scenarios/{name}.toml");
                archive.file(argument.trim_start_matches('/'), text)?;
            }
            job.runs.push(Run { scenario: name.to_string(), argument });
        }
        archive.file(protocol::JOB, &serde_json::to_vec(&job)?)?;
        Ok(archive.finish()?)
    }
}

/// What the lab inside said about one scenario.
fn judge(status: &str, out: &str, err: &str, seconds: f64) -> Cell {
    let printed: Value = serde_json::from_str(out).unwrap_or_default();
    let outcome = &printed["outcomes"][0];
    let reasons = outcome["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string);
    let mut reasons: Vec<String> = reasons.collect();
    match outcome["verdict"].as_str() {
        Some("pass") => Cell::Pass(seconds),
        Some("skip") => Cell::Skip(reasons.join("; ")),
        verdict => {
            if verdict != Some("fail") {
                let said = err.lines().last().unwrap_or("it said nothing");
                reasons.push(format!("tcproof lab: {status}: {said}"));
            }
            Cell::Fail(reasons)
        }
    }
}

/// What a test said: what is wrong stands between the lines of the panics.
fn judge_test(status: &str, out: &str, err: &str, seconds: f64) -> Cell {
    if status == "exit status: 0" {
        // Those that could not be tried say so, and end well.
        let skips: Vec<_> = err.lines().filter_map(|line| line.strip_prefix("SKIP: ")).collect();
        let results = out.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
        let passed: usize = results.filter_map(|passed| passed.parse::<usize>().ok()).sum();
        return match skips.first() {
            Some(why) if skips.len() >= passed => Cell::Skip((*why).to_string()),
            _ => Cell::Pass(seconds),
        };
    }
    let is_noise = |line: &str| line.is_empty() || line.starts_with("thread '") || line.starts_with("note: ");
    let wrong = err.lines().filter(|line| !is_noise(line)).map(str::to_string);
    Cell::Fail(std::iter::once(status.to_string()).chain(wrong).collect())
}

fn in_words(cell: &Cell) -> String {
    match cell {
        Cell::Pass(seconds) => format!("pass in {seconds:.0} s"),
        Cell::Fail(what) => format!("FAIL {}", what.join("; ")),
        Cell::Skip(why) => format!("skip, {why}"),
    }
}

fn keep(workspace: &Path, report: &str) -> Result<()> {
    let date = crate::today()?;
    let folder = workspace.join("bench/runs");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{date}-vm.md"));
    crate::write(&file, &format!("# The lab on other kernels, {date}\n\n`cargo xtask vm --all`:\n\n{report}"))?;
    println!("kept as {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lab_said_is_what_the_table_says() {
        let outcome = |verdict: &str| format!(r#"{{"outcomes": [{{"verdict": "{verdict}", "reasons": ["a", "b"]}}]}}"#);
        assert_eq!(judge("exit status: 0", &outcome("pass"), "", 2.5), Cell::Pass(2.5));
        assert_eq!(judge("exit status: 0", &outcome("skip"), "", 2.5), Cell::Skip("a; b".into()));
        let fail = |reasons: &[&str]| Cell::Fail(reasons.iter().map(ToString::to_string).collect());
        assert_eq!(judge("exit status: 1", &outcome("fail"), "noise", 2.5), fail(&["a", "b"]));
        assert_eq!(judge("exit status: 1", "", "x\nerror: no", 2.5), fail(&["tcproof lab: exit status: 1: error: no"]));
        for hostile in ["[]", "{\"outcomes\": 3}", "{\"outcomes\": [null]}", "\u{0}", "[[[["] {
            assert_eq!(judge("killed", hostile, "", 1.0), fail(&["tcproof lab: killed: it said nothing"]), "{hostile}");
        }
    }

    #[test]
    fn a_failed_test_names_what_is_wrong() {
        assert_eq!(
            judge_test("exit status: 0", "test result: ok. 2 passed; 0 failed", "SKIP: no x\n", 2.5),
            Cell::Pass(2.5)
        );
        let skips = "SKIP: no x\nSKIP: no y\n";
        let skipped = judge_test("exit status: 0", "running 2 tests\ntest result: ok. 2 passed; 0 failed", skips, 2.5);
        assert_eq!(skipped, Cell::Skip("no x".into()));
        let err = "\nthread 'a' panicked at x:1:2:\n1 contradictions:\nnet.core.x is 1; the table: 2\nnote: run with\n";
        let wrong = ["exit status: 101", "1 contradictions:", "net.core.x is 1; the table: 2"];
        assert_eq!(judge_test("exit status: 101", "", err, 2.5), Cell::Fail(wrong.map(str::to_string).into()));
    }

    #[test]
    fn kernels_are_named_by_their_version() {
        assert_eq!(kernel_named("6.1").map(|kernel| kernel.version), Ok("6.1"));
        assert_eq!(kernel_named("2.6").unwrap_err(), "expected one of 5.10, 6.1, 6.12, 7");
    }
}

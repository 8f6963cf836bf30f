//! Chores of the workspace: `cargo xtask --help`.

mod alerts;
mod bench;
mod bpf;
mod compare;
mod dashboard;
mod faults;
mod fuzz;
mod generated;
mod new_limit;
mod page;
mod registry;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use registry::Table;

#[derive(Parser)]
#[command(about = "Chores of the tcproof workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes the tables of limits and of lint's rules from the files in their folders
    Registry {
        /// Change nothing; exit with 1 when the table differs
        #[arg(long)]
        check: bool,
    },
    /// Writes the alert rules for Prometheus from the limits
    Alerts {
        /// Change nothing; exit with 1 when they differ
        #[arg(long)]
        check: bool,
    },
    /// Writes the dashboard for Grafana from the limits
    Dashboard {
        /// Change nothing; exit with 1 when it differs
        #[arg(long)]
        check: bool,
    },
    /// Starts a limit: a file with every section of its page and tests that fail until they are written
    NewLimit {
        /// The limit's name, in kebab-case: it is never changed once released
        slug: String,
    },
    /// Measures CPU time and peak memory of `tcproof check` beside many sockets, in network namespaces made for it; or, with
    /// `census`, how fast sockets are counted
    Bench(bench::Args),
    /// Measures CPU time and peak memory of `tcproof lint` on many lines
    BenchLint(bench::LintArgs),
    /// Makes the eBPF programs' skeletons from their sources, by clang and libbpf
    Bpf(bpf::Args),
    /// Runs the lab on other kernels, and with the knobs that no network namespace has, in emulated machines
    Vm(vm::Args),
    /// Cures the lab's failures by tcproof, by the list of the articles and by tuned's profiles, and says who did what
    Compare(compare::Args),
    /// Puts faults into the middle of changes, also by emulated machines whose power fails, and keeps the table in bench/runs
    Faults(faults::Args),
    /// Feeds random input to a reader of what may be hostile
    Fuzz(fuzz::Args),
    #[command(hide = true)]
    VmGuest,
    #[command(hide = true)]
    VmHeld {
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    #[command(hide = true)]
    BenchRow(bench::RowArgs),
    #[command(hide = true)]
    BenchHold(bench::Sockets),
    #[command(hide = true)]
    BenchOne(bench::OneArgs),
    #[command(hide = true)]
    BenchCensusRow(bench::CensusRowArgs),
    #[command(hide = true)]
    BenchCensusChurn(bench::ChurnArgs),
    #[command(hide = true)]
    BenchServeRow(bench::ServeRowArgs),
    #[command(hide = true)]
    BenchConnect(bench::ConnectArgs),
    #[command(hide = true)]
    BenchChurnRound,
}

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Registry { check } => {
            let codes = [limits(), rules()].map(|table| table.run(check));
            let codes: Vec<_> = codes.into_iter().collect::<Result<_>>()?;
            Ok(codes.into_iter().find(|code| *code != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS))
        }
        Task::Alerts { check } => alerts::run(&workspace(), &limits(), check),
        Task::Dashboard { check } => dashboard::run(&workspace(), &limits(), check),
        Task::NewLimit { slug } => new_limit::run(&limits(), &slug),
        Task::Bench(args) => bench::run(&workspace(), &args),
        Task::BenchLint(args) => bench::run_lint(&workspace(), &args),
        Task::Bpf(args) => bpf::run(&workspace(), &target(), &args),
        Task::Vm(args) => vm::run(&workspace(), &target(), &args),
        Task::Compare(args) => compare::run(&workspace(), &args),
        Task::Faults(args) => faults::run(&workspace(), &target(), &args),
        Task::Fuzz(args) => fuzz::run(&workspace(), &target(), &args),
        Task::VmGuest => vm::guest(),
        Task::VmHeld { program, arguments } => vm::held(&program, &arguments).map(|()| ExitCode::FAILURE),
        Task::BenchRow(args) => bench::row(&args),
        Task::BenchHold(sockets) => bench::hold(&sockets),
        Task::BenchOne(args) => bench::one(&args),
        Task::BenchCensusRow(args) => bench::census_row(&args),
        Task::BenchCensusChurn(args) => bench::churn(&args),
        Task::BenchChurnRound => bench::churn_round(),
        Task::BenchServeRow(args) => bench::serve_row(&args),
        Task::BenchConnect(args) => bench::connect(&args),
    }
}

fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Where cargo builds, and where what is downloaded and measured goes.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

fn limits() -> Table {
    Table { thing: "limit", folder: workspace().join("crates/tcproof-core/src/limits") }
}

fn rules() -> Table {
    Table { thing: "rule", folder: workspace().join("crates/tcproof-core/src/lint/rules") }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// As the names of dated runs have it.
fn today() -> Result<String> {
    let date = std::process::Command::new("date").args(["--utc", "+%F"]).output().context("asking for the date")?;
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_string())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

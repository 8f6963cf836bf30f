//! What a `tcproof check` costs beside many sockets.
//!
//! Four small processes, so that each number is the measured command's own:
//! `bench` prints the table; `bench-row` stands in a fresh network namespace; `bench-hold` holds the sockets there, so
//! that the measured command does not begin its life by closing them; `bench-one` starts the command and waits for it.

mod measure;
mod namespace;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

use measure::Cost;
pub(crate) use measure::{OneArgs, one};

/// Exit code of a process that can't do its part here: the measurement is skipped, not failed.
const SKIPPED: u8 = 77;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Numbers of established sockets to measure beside
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000])]
    sockets: Vec<u32>,
    /// Numbers of listening sockets to measure beside
    #[arg(long, value_delimiter = ',', default_values_t = [10_000])]
    listeners: Vec<u32>,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long `tcproof check` watches
    #[arg(long = "for", default_value = "5s", value_name = "TIME")]
    window: String,
    /// Measure this command instead of `tcproof check`
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Sockets {
    #[arg(long, default_value_t = 0)]
    established: u32,
    #[arg(long, default_value_t = 0)]
    listening: u32,
}

#[derive(clap::Args)]
pub(crate) struct RowArgs {
    #[command(flatten)]
    sockets: Sockets,
    #[arg(long, default_value_t = 1)]
    runs: u32,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(workspace: &Path, args: &Args) -> Result<ExitCode> {
    if !geteuid().is_root() {
        println!("SKIP: a network namespace of its own needs root");
        return Ok(ExitCode::SUCCESS);
    }
    let command = if args.command.is_empty() { release_build(workspace, &args.window)? } else { args.command.clone() };
    println!("{}, {} runs each: min / median / max", command.join(" "), args.runs);
    println!("{:>12} {:>10}   {:>24}   {:>24}", "established", "listening", "CPU ms", "peak MiB");
    let established = args.sockets.iter().map(|n| Sockets { established: *n, listening: 0 });
    let listening = args.listeners.iter().map(|n| Sockets { established: 0, listening: *n });
    for sockets in established.chain(listening) {
        let Some(costs) = measure_row(sockets, args.runs, &command)? else { return Ok(ExitCode::SUCCESS) };
        println!("{}", table_row(sockets, &costs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the binary that people run, and gives the command to measure.
fn release_build(workspace: &Path, window: &str) -> Result<Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "-p", "tcproof"]).current_dir(workspace).status()?;
    ensure!(status.success(), "cargo build --release failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir));
    let binary = target.join("release/tcproof");
    ensure!(binary.exists(), "the build left no {}", binary.display());
    let binary = binary.to_str().context("the target folder's name is not UTF-8")?;
    Ok([binary, "check", "--for", window, "--json"].map(String::from).to_vec())
}

/// Measures in a namespace of its own; nothing when that can't be made here.
fn measure_row(sockets: Sockets, runs: u32, command: &[String]) -> Result<Option<Vec<Cost>>> {
    let mut row = this_program("bench-row")?;
    row.args(sockets.arguments()).args(["--runs", &runs.to_string(), "--"]).args(command);
    let output = row.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    if output.status.code() == Some(i32::from(SKIPPED)) {
        print!("{text}");
        return Ok(None);
    }
    ensure!(output.status.success(), "measuring beside {sockets} failed: {}", output.status);
    let costs: Vec<Cost> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(costs.len() == runs as usize, "{} of {runs} runs were measured", costs.len());
    Ok(Some(costs))
}

/// In a process of its own: enters a fresh namespace, has the sockets held there, measures.
pub(crate) fn row(args: &RowArgs) -> Result<ExitCode> {
    if let Err(error) = namespace::enter_a_fresh_one() {
        println!("SKIP: no network namespace can be made here: {error}");
        return Ok(ExitCode::from(SKIPPED));
    }
    namespace::raise_loopback().context("raising lo")?;
    let _holder = Holder::start(args.sockets)?;
    for _ in 0..args.runs {
        let mut one = this_program("bench-one")?;
        let output = one.arg("--").args(&args.command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the measured command failed");
        std::io::stdout().write_all(&output.stdout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The process that holds the sockets: it ends when its standard input does, so it never outlives this one.
struct Holder(Child);

impl Holder {
    fn start(sockets: Sockets) -> Result<Self> {
        let mut hold = this_program("bench-hold")?;
        let mut child = hold.args(sockets.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no pipe to the holder")?;
        let holder = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("could not open {sockets}");
        }
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It is about to end by itself; there is nothing to do about a failure to see that.
        self.0.wait().ok();
    }
}

/// Holds sockets until standard input ends.
pub(crate) fn hold(sockets: &Sockets) -> Result<ExitCode> {
    let wanted = u64::from(sockets.established) + u64::from(sockets.listening) + 64;
    allow_descriptors(wanted)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<_> = (0..sockets.listening).map(|_| TcpListener::bind(any)).collect::<Result<_, _>>()?;
    let connections = connections(sockets.established)?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop((listeners, connections));
    Ok(ExitCode::SUCCESS)
}

/// Established sockets, two for each connection; the listener that made them is closed again.
fn connections(sockets: u32) -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let at = listener.local_addr()?;
    let mut open = Vec::with_capacity(sockets as usize);
    for _ in 0..sockets.div_ceil(2) {
        open.push(TcpStream::connect(at)?);
        open.push(listener.accept()?.0);
    }
    Ok(open)
}

fn allow_descriptors(wanted: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let maximum = maximum.map(|maximum| maximum.max(wanted));
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
            .with_context(|| format!("raising the limit of descriptors to {wanted}"))?;
    }
    Ok(())
}

fn this_program(task: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(task);
    Ok(command)
}

impl Sockets {
    fn arguments(self) -> [String; 4] {
        ["--established".into(), self.established.to_string(), "--listening".into(), self.listening.to_string()]
    }
}

impl std::fmt::Display for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} established and {} listening sockets", self.established, self.listening)
    }
}

fn table_row(sockets: Sockets, costs: &[Cost]) -> String {
    let cpu: Vec<_> = costs.iter().map(|cost| cost.cpu_ms).collect();
    let peak: Vec<_> = costs.iter().map(|cost| cost.peak_kib as f64 / 1024.0).collect();
    // A peak below that of the process that started the command is known only as "at most".
    let bound = if costs.iter().any(|cost| cost.peak_is_bound) { "≤ " } else { "" };
    format!(
        "{:>12} {:>10}   {:>24}   {:>24}",
        sockets.established,
        sockets.listening,
        spread(cpu),
        format!("{bound}{}", spread(peak))
    )
}

/// "min / median / max".
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (values.first(), values.last()) else { return "-".into() };
    let middle = values.len() / 2;
    let median =
        if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] };
    format!("{min:.1} / {median:.1} / {max:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_sorted_and_its_median_is_the_middle() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), "1.0 / 2.0 / 3.0");
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), "1.0 / 2.5 / 4.0");
        assert_eq!(spread(vec![7.0]), "7.0 / 7.0 / 7.0");
        assert_eq!(spread(vec![]), "-");
    }

    #[test]
    fn connections_are_two_sockets_each() {
        assert_eq!(connections(10).unwrap().len(), 10);
        assert_eq!(connections(1).unwrap().len(), 2);
    }

    #[test]
    fn a_peak_that_is_only_bounded_says_so() {
        let cost = |peak_is_bound| Cost { cpu_ms: 12.34, peak_kib: 8 * 1024, peak_is_bound };
        let sockets = Sockets { established: 10, listening: 0 };
        assert!(table_row(sockets, &[cost(false)]).ends_with("12.3 / 12.3 / 12.3            8.0 / 8.0 / 8.0"));
        assert!(table_row(sockets, &[cost(false), cost(true)]).ends_with("≤ 8.0 / 8.0 / 8.0"));
    }
}

//! What a `tcproof check` costs beside many sockets.
//!
//! Four small processes, so that each number is the measured command's own:
//! `bench` prints the table; `bench-row` stands in a fresh network namespace; `bench-hold` holds the sockets there, so
//! that the measured command does not begin its life by closing them; `bench-one` starts the command and waits for it.

mod census;
mod chart;
mod churn;
mod lint;
mod measure;
mod namespace;
mod record;
mod serve;
mod top;
mod trace;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

pub(crate) use census::{CensusRowArgs, ChurnArgs, churn, row as census_row};
pub(crate) use churn::round as churn_round;
pub(crate) use lint::{LintArgs, run as run_lint};
use measure::Cost;
pub(crate) use measure::{OneArgs, one};
pub(crate) use serve::{ServeRowArgs, row as serve_row};
pub(crate) use trace::{ConnectArgs, connect};

/// What `tcproof check` ends with when something is limiting.
const LIMITING: i32 = 13;
/// Connections that go to one listener: fewer than half of the ports to one destination, which are found at once.
const EACH: u32 = 10_000;
/// Exit code of a process that can't do its part here: the measurement is skipped, not failed.
const SKIPPED: u8 = 77;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Numbers of established sockets to measure beside
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000, 100_000])]
    sockets: Vec<u32>,
    /// Of the established sockets, so many are hurt (their reader does not read) in one more row each, which must be found
    #[arg(long, value_delimiter = ',', default_values_t = [10])]
    hurt: Vec<u32>,
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

#[derive(clap::Subcommand)]
enum What {
    /// Counts very many sockets: tcproof sockets beside ss, /proc and an exporter
    Census(census::CensusArgs),
    /// What connections that come and go cost while they are counted
    Churn(churn::ChurnsArgs),
    /// What probes cost a connection, beside other tools
    Trace(trace::TraceArgs),
    /// What a record of tcproof record costs: bytes and CPU time
    Record(record::RecordArgs),
    /// What tcproof serve costs beside node_exporter: CPU time of a period, memory, answers
    Serve(serve::ServeArgs),
    /// What tcproof top costs a second beside sockets that rest
    Top(top::TopArgs),
}

#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Sockets {
    #[arg(long, default_value_t = 0)]
    established: u32,
    #[arg(long, default_value_t = 0)]
    listening: u32,
    #[arg(long, default_value_t = 0)]
    hurt: u32,
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
    match &args.what {
        Some(What::Census(args)) => return census::run(workspace, args),
        Some(What::Churn(args)) => return churn::run(workspace, args),
        Some(What::Trace(args)) => return trace::run(workspace, args),
        Some(What::Record(args)) => return record::run(workspace, args),
        Some(What::Serve(args)) => return serve::run(workspace, args),
        Some(What::Top(args)) => return top::run(workspace, args),
        None => {}
    }
    let command = match args.command.is_empty() {
        true => [&release_binary(workspace)?, "check", "--for", &args.window, "--json"].map(String::from).to_vec(),
        false => args.command.clone(),
    };
    println!("{}, {} runs each: min / median / max", command.join(" "), args.runs);
    println!("{:>12} {:>6} {:>10}   {:>24}   {:>24}", "established", "hurt", "listening", "CPU ms", "peak MiB");
    let none = Sockets { established: 0, listening: 0, hurt: 0 };
    let established = args.sockets.iter().map(|n| Sockets { established: *n, ..none });
    let most = args.sockets.iter().copied().max().unwrap_or(0);
    let hurt = args.hurt.iter().filter(|n| **n <= most).map(|n| Sockets { established: most, hurt: *n, ..none });
    let listening = args.listeners.iter().map(|n| Sockets { listening: *n, ..none });
    for sockets in established.chain(hurt).chain(listening) {
        let Some(costs) = measure_row(sockets, args.runs, &command)? else { return Ok(ExitCode::SUCCESS) };
        // A cheap check that overlooks them is no check.
        let found = costs.iter().all(|cost| cost.exit_code == LIMITING);
        ensure!(sockets.hurt == 0 || found, "beside {sockets}, the hurt ones were not found");
        println!("{}", table_row(sockets, &costs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the binary that people run.
pub(crate) fn release_binary(workspace: &Path) -> Result<String> {
    release(workspace, &["-p", "tcproof"], "tcproof")
}

/// The binary that was named, or else the one that people run.
fn named_or_built(workspace: &Path, named: Option<&str>) -> Result<String> {
    match named {
        Some(binary) => Ok(fs::canonicalize(binary).context(binary.to_string())?.display().to_string()),
        None => release_binary(workspace),
    }
}

/// Builds an example of tcproof-bpf.
fn release_example(workspace: &Path, name: &str) -> Result<String> {
    release(workspace, &["-p", "tcproof-bpf", "--example", name], &format!("examples/{name}"))
}

fn release(workspace: &Path, what: &[&str], program: &str) -> Result<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release"]).args(what).current_dir(workspace).status()?;
    ensure!(status.success(), "cargo build --release failed");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir));
    let program = target.join("release").join(program);
    ensure!(program.exists(), "the build left no {}", program.display());
    Ok(program.to_str().context("the target folder's name is not UTF-8")?.into())
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

/// The processes that hold the sockets, as many as one's limit of descriptors asks for. They end when their standard input
/// does, so they never outlive this one.
struct Holder(Vec<Child>);

impl Holder {
    fn start(sockets: Sockets) -> Result<Self> {
        let mut holder = Self(Vec::new());
        for share in sockets.shares(most_descriptors()) {
            let mut hold = this_program("bench-hold")?;
            let mut child = hold.args(share.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let out = child.stdout.take().context("no pipe to the holder")?;
            holder.0.push(child);
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line)?;
            if line.trim() != "ready" {
                bail!("could not open {share}");
            }
        }
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        for mut child in self.0.drain(..) {
            drop(child.stdin.take());
            // It is about to end by itself; there is nothing to do about a failure to see that.
            child.wait().ok();
        }
    }
}

/// Descriptors that one process is to hold: half of what it may, so that it is not near a limit of its own.
fn most_descriptors() -> u32 {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    u32::try_from(hard / 2).unwrap_or(u32::MAX).max(2)
}

/// Holds sockets until standard input ends.
pub(crate) fn hold(sockets: &Sockets) -> Result<ExitCode> {
    let wanted = u64::from(sockets.established) + u64::from(sockets.listening) + 64;
    allow_descriptors(wanted)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<_> = (0..sockets.listening).map(|_| TcpListener::bind(any)).collect::<Result<_, _>>()?;
    let (servers, connections) = connections(sockets.established)?;
    // Every second one accepts; its connector is the one before.
    connections.iter().step_by(2).take(sockets.hurt as usize).try_for_each(fill)?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop((listeners, servers, connections));
    Ok(ExitCode::SUCCESS)
}

/// Established sockets, two for each connection, and the servers' listeners.
fn connections(sockets: u32) -> Result<(Vec<TcpListener>, Vec<TcpStream>)> {
    let (mut listeners, mut open) = (Vec::new(), Vec::with_capacity(sockets as usize));
    let mut left = sockets.div_ceil(2);
    while left > 0 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = listener.local_addr()?;
        for _ in 0..left.min(EACH) {
            open.push(TcpStream::connect(at)?);
            open.push(listener.accept()?.0);
        }
        left = left.saturating_sub(EACH);
        listeners.push(listener);
    }
    Ok((listeners, open))
}

/// Fills the buffers of a connection both ends of which are held here, so that its window closes.
fn fill(mut sender: &TcpStream) -> Result<()> {
    sender.set_nonblocking(true)?;
    loop {
        match sender.write(&[0; 65_536]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
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
    fn arguments(self) -> Vec<String> {
        let named = [("--established", self.established), ("--listening", self.listening), ("--hurt", self.hurt)];
        named.into_iter().flat_map(|(name, n)| [name.to_string(), n.to_string()]).collect()
    }
}

impl Sockets {
    /// Shares of at most so many descriptors; the first one has the hurt ones.
    fn shares(self, most: u32) -> Vec<Self> {
        let (mut left, mut shares) = (self, Vec::new());
        while left.established + left.listening > 0 {
            let established = left.established.min(most & !1);
            let listening = left.listening.min(most - established);
            shares.push(Self { established, listening, hurt: left.hurt.min(established / 2) });
            left = Self { established: left.established - established, listening: left.listening - listening, hurt: 0 };
        }
        shares
    }
}

impl std::fmt::Display for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { established, hurt, listening } = self;
        write!(f, "{established} established ({hurt} hurt) and {listening} listening sockets")
    }
}

fn table_row(sockets: Sockets, costs: &[Cost]) -> String {
    let cpu: Vec<_> = costs.iter().map(|cost| cost.cpu_ms).collect();
    let peak: Vec<_> = costs.iter().map(|cost| cost.peak_kib as f64 / 1024.0).collect();
    // A peak below that of the process that started the command is known only as "at most".
    let bound = if costs.iter().any(|cost| cost.peak_is_bound) { "≤ " } else { "" };
    format!(
        "{:>12} {:>6} {:>10}   {:>24}   {:>24}",
        sockets.established,
        sockets.hurt,
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
        assert_eq!(connections(10).unwrap().1.len(), 10);
        assert_eq!(connections(1).unwrap().1.len(), 2);
    }

    #[test]
    fn sockets_are_shared_among_processes() {
        let all = Sockets { established: 100, listening: 7, hurt: 3 };
        let shares: Vec<_> = all.shares(41).iter().map(|s| (s.established, s.listening, s.hurt)).collect();
        assert_eq!(shares, [(40, 1, 3), (40, 1, 0), (20, 5, 0)]);
    }

    #[test]
    fn a_peak_that_is_only_bounded_says_so() {
        let cost =
            |peak_is_bound| Cost { cpu_ms: 12.34, wall_ms: 20.0, peak_kib: 8 * 1024, peak_is_bound, exit_code: 0 };
        let sockets = Sockets { established: 10, listening: 0, hurt: 0 };
        assert!(table_row(sockets, &[cost(false)]).ends_with("12.3 / 12.3 / 12.3            8.0 / 8.0 / 8.0"));
        assert!(table_row(sockets, &[cost(false), cost(true)]).ends_with("≤ 8.0 / 8.0 / 8.0"));
    }
}

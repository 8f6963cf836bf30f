//! What probes cost those who are traced: CPU time of a connection with each probe attached, beside none.
//!
//! One process in a namespace of its own makes short connections to itself over loopback: socket, connect(2), accept(2), two
//! times close(2), and nothing sent. That is the worst case: every connection has both ends here, and does nothing else.
//! Rounds without a probe alternate with rounds with it, in an order that turns round from pair to pair; a pair's difference
//! is what counts, so that a slow minute of the machine hits both.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use super::census::date_of_day;
use super::{namespace, release_example, this_program};

/// Each has ports enough for so many connections, whatever is in TIME_WAIT.
const DESTINATIONS: u32 = 200;
/// How long another tool may take to attach; it does not say when it has.
const SETTLE: Duration = Duration::from_secs(5);
/// The probes, by their names; the two that are about queues and drops together; and all of them.
const PROBES: [(&str, &[&str]); 7] = [
    ("connects", &["connects"]),
    ("arrivals", &["arrivals"]),
    ("drops", &["drops"]),
    ("resent", &["resent"]),
    ("memory", &["memory"]),
    ("drops and arrivals", &["drops", "arrivals"]),
    ("all five", &[]),
];
/// What others trace connections by, and the package that has it.
const OTHERS: [(&str, &str); 4] = [
    ("tcplife.bt", "bpftrace"),
    ("tcpstates-bpfcc", "bpfcc-tools"),
    ("tcplife-bpfcc", "bpfcc-tools"),
    ("tcpconnect-bpfcc", "bpfcc-tools"),
];

#[derive(clap::Args)]
pub(crate) struct TraceArgs {
    /// Connections of each round
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    connections: u32,
    /// Pairs of rounds, without and with each probe
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Write bench/runs/DATE-trace.md
    #[arg(long)]
    save: bool,
}

#[derive(clap::Args)]
pub(crate) struct ConnectArgs {
    #[arg(long)]
    connections: u32,
}

/// What one tool costs, in ns of CPU time a connection, pair by pair.
struct Row {
    name: String,
    base: Vec<f64>,
    differences: Vec<f64>,
}

pub(crate) fn run(workspace: &Path, args: &TraceArgs) -> Result<ExitCode> {
    let probes = release_example(workspace, "probes")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let mut worker = Worker::start(args.connections)?;
    // The first rounds are slower: memory that nobody has touched yet.
    worker.round()?;
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    let mut measure = |name: &str, tool: &dyn Fn() -> Result<Tool>| -> Result<()> {
        match Tool::tried(tool) {
            Ok(()) => rows.push(worker.row(name, args.pairs, tool)?),
            Err(why) => skipped.push(format!("{name}: {why:#}")),
        }
        Ok(())
    };
    measure("nothing (the same twice)", &|| Ok(Tool::none()))?;
    for (name, names) in PROBES {
        measure(name, &|| Tool::probes(&probes, names))?;
    }
    for (name, package) in OTHERS {
        measure(name, &|| Tool::other(name, package))?;
    }
    drop(worker);
    let text = table(&rows, &skipped);
    print!("{text}");
    if args.save {
        save(workspace, args, load, &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Something that is attached while this lives.
struct Tool(Option<Child>);

impl Tool {
    fn none() -> Self {
        Self(None)
    }

    fn probes(program: &str, names: &[&str]) -> Result<Self> {
        let mut child =
            Command::new(program).args(names).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("probes")?;
        let out = child.stdout.take().context("no pipe")?;
        let tool = Self(Some(child));
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "{}", line.trim());
        Ok(tool)
    }

    fn other(program: &str, package: &str) -> Result<Self> {
        let start = Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = match start {
            Ok(child) => child,
            Err(error) => bail!("{error} (apt-get install {package})"),
        };
        sleep(SETTLE);
        let Some(status) = child.try_wait()? else { return Ok(Self(Some(child))) };
        let mut said = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut said)?;
        bail!("{status}: {}", said.trim_end().lines().last().unwrap_or("it said nothing"))
    }

    /// Whether it can be attached here.
    fn tried(tool: &dyn Fn() -> Result<Self>) -> Result<()> {
        tool().map(drop)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // One that waits for the end of its input ends by itself; others are told to.
        if child.stdin.take().is_none() {
            child.kill().ok();
        }
        child.wait().ok();
    }
}

/// The process that makes connections, in a namespace of its own.
struct Worker {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start(connections: u32) -> Result<Self> {
        let mut child = this_program("bench-connect")?
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, out })
    }

    /// CPU time of a connection, in ns.
    fn round(&mut self) -> Result<f64> {
        let input = self.child.stdin.as_mut().context("no pipe")?;
        input.write_all(b"\n")?;
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the worker said {line:?}"))
    }

    fn row(&mut self, name: &str, pairs: u32, tool: &dyn Fn() -> Result<Tool>) -> Result<Row> {
        let mut row = Row { name: name.into(), base: Vec::new(), differences: Vec::new() };
        for pair in 0..pairs {
            let with = |worker: &mut Self| {
                let tool = tool()?;
                let cost = worker.round();
                drop(tool);
                cost
            };
            let (base, with) = if pair.is_multiple_of(2) {
                (self.round()?, with(self)?)
            } else {
                let with = with(self)?;
                (self.round()?, with)
            };
            row.base.push(base);
            row.differences.push(with - base);
        }
        Ok(row)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

/// In a process of its own: a round of connections for each line of standard input, and a line with what each cost.
pub(crate) fn connect(args: &ConnectArgs) -> Result<ExitCode> {
    namespace::enter_a_fresh_one()?;
    namespace::raise_loopback().context("raising lo")?;
    // What is beyond is not kept: a minute of connections would be hundreds of thousands.
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "128")?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
    let mut cpu = CpuSet::new();
    cpu.set(std::thread::available_parallelism()?.get() - 1)?;
    sched_setaffinity(Pid::from_raw(0), &cpu).context("staying on one CPU")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let destinations: Vec<SocketAddr> =
        (1..=DESTINATIONS).map(|n| (Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + n), port).into()).collect();
    for line in std::io::stdin().lines() {
        line?;
        let before = cpu_ns()?;
        for (_, to) in (0..args.connections).zip(destinations.iter().cycle()) {
            let client = TcpStream::connect(to)?;
            let server = listener.accept()?.0;
            drop(client);
            drop(server);
        }
        println!("{}", (cpu_ns()? - before) / f64::from(args.connections));
        std::io::stdout().flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Of this process, what the kernel does for it included: over loopback that is all that happens to a connection.
fn cpu_ns() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 * 1e3)
}

/// Lower quartile, median, upper quartile.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarter: usize| {
        // Between two values, as much of each as it is nearer to.
        let place = (sorted.len() - 1) as f64 * quarter as f64 / 4.0;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    [at(1), at(2), at(3)]
}

/// Markdown.
fn table(rows: &[Row], skipped: &[String]) -> String {
    let mut text =
        "| attached | ns of CPU a connection more | quartiles | % of one without |\n|---|---|---|---|\n".to_string();
    for row in rows {
        let [low, median, high] = quartiles(&row.differences);
        let [_, base, _] = quartiles(&row.base);
        let share = median / base * 100.0;
        let _ = writeln!(text, "| {} | {median:+.0} | {low:+.0} … {high:+.0} | {share:+.1} |", row.name);
    }
    if let Some(first) = rows.first() {
        let [low, base, high] = quartiles(&first.base);
        let _ = writeln!(text, "\nWithout anything: {base:.0} ns a connection ({low:.0} … {high:.0}).");
    }
    for why in skipped {
        let _ = writeln!(text, "\nSKIP {why}");
    }
    text
}

fn save(workspace: &Path, args: &TraceArgs, load: &str, table: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let date = date_of_day(i64::try_from(now.as_secs() / 86_400)?);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let text = format!(
        "# What probes cost, {date}\n\nLinux {}, {} CPUs, load {load} when it began. `cargo xtask bench trace --connections {} --pairs {} \
         --save`: connections over loopback with\nboth ends in one process on one CPU, nothing sent, so that each passes every \
         tracepoint twice: the worst case. Medians of the pairs'\ndifferences.\n\n{table}",
        kernel.trim(),
        std::thread::available_parallelism()?,
        args.connections,
        args.pairs,
    );
    let file = workspace.join(format!("bench/runs/{date}-trace.md"));
    crate::write(&file, &text)?;
    println!("\nwrote {}", file.strip_prefix(workspace).unwrap_or(&file).display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_between_values() {
        assert_eq!(quartiles(&[5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[1.0, 2.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
    }

    #[test]
    fn the_table_shows_differences() {
        let row = |name: &str, base: f64, differences: &[f64]| Row {
            name: name.into(),
            base: vec![base; differences.len()],
            differences: differences.to_vec(),
        };
        let rows = [row("nothing", 10_000.0, &[-30.0, 10.0, 20.0]), row("drops", 10_000.0, &[100.0, 300.0, 200.0])];
        insta::assert_snapshot!(table(&rows, &["tcplife.bt: No such file".into()]), @"
        | attached | ns of CPU a connection more | quartiles | % of one without |
        |---|---|---|---|
        | nothing | +10 | -10 … +15 | +0.1 |
        | drops | +200 | +150 … +250 | +2.0 |

        Without anything: 10000 ns a connection (10000 … 10000).

        SKIP tcplife.bt: No such file
        ");
    }
}

//! What `tcproof serve` costs beside Debian's node_exporter, with its default collectors and with tcpstat alone.
//!
//! All of them run at the same time in a namespace made for the run, which has the sockets, and are asked once a period, in
//! a random order: a slow minute of the machine hits all of them. CPU time is the whole process's from the end of one answer
//! to the end of the next, so that what is done between two scrapes counts, too.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::census::{Order, median, number};
use super::measure::cpu_ms;
use super::{Holder, SKIPPED, Sockets, named_or_built, namespace, record, this_program};

/// Where they listen: below the range that the sockets take their ports from.
const PORTS: [u16; 3] = [921, 922, 923];
/// What comes late does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Periods that do not count: memory that nobody has touched yet, and a window of its own.
const WARM_UP: u32 = 1;

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Numbers of established sockets, such as 10,1k,100k
    #[arg(long, value_delimiter = ',', default_value = "1k,10k,100k", value_parser = number)]
    sockets: Vec<u32>,
    /// Twenty times a second so many further connections are talked on, out of ten times as many
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=500))]
    busy: u32,
    /// Periods that are measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seconds of a period, and of a window of tcproof serve
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3_600), value_name = "SECONDS")]
    every: u32,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<String>,
    /// Write bench/runs/DATE-serve.md
    #[arg(long)]
    save: bool,
}

#[derive(clap::Args)]
pub(crate) struct ServeRowArgs {
    #[arg(long)]
    sockets: u32,
    #[arg(long)]
    busy: u32,
    #[arg(long)]
    runs: u32,
    #[arg(long)]
    every: u32,
    #[arg(long)]
    binary: String,
}

/// What one number of sockets gave.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    sockets: u32,
    servers: Vec<Measured>,
    skipped: Vec<String>,
}

/// What one server took, period by period.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    name: String,
    cpu_ms: Vec<f64>,
    answer_ms: Vec<f64>,
    answer_bytes: Vec<f64>,
    resident_kib: Vec<f64>,
}

pub(super) fn run(workspace: &Path, args: &ServeArgs) -> Result<ExitCode> {
    let binary = named_or_built(workspace, args.binary.as_deref())?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let mut rows = String::new();
    for sockets in &args.sockets {
        let numbers = [("sockets", *sockets), ("busy", args.busy), ("runs", args.runs), ("every", args.every)];
        let arguments = numbers.into_iter().flat_map(|(name, n)| [format!("--{name}"), n.to_string()]);
        let mut row = this_program("bench-serve-row")?;
        let output =
            row.args(arguments).args(["--binary", &binary]).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        if output.status.code() == Some(i32::from(SKIPPED)) {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        ensure!(output.status.success(), "measuring beside {sockets} sockets failed: {}", output.status);
        let table = table(&serde_json::from_str(text.trim())?, args.every);
        print!("{table}");
        std::io::stdout().flush()?;
        rows.push_str(&table);
    }
    if args.save {
        save(workspace, args, load, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn save(workspace: &Path, args: &ServeArgs, load: &str, rows: &str) -> Result<()> {
    let date = crate::today()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let text = format!(
        "# What tcproof serve costs, {date}\n\nLinux {}, {} CPUs, release build, load {load} when it began. `cargo xtask bench serve --busy {} \
         --runs {} --every {} --save`: all servers at the same\ntime, asked once a period in a random order. CPU time is the \
         process's from the end of one answer to the end of the next; the mean is what counts, and the rest are medians.\n{rows}",
        kernel.trim(),
        std::thread::available_parallelism()?,
        args.busy,
        args.runs,
        args.every,
    );
    let file = workspace.join(format!("bench/runs/{date}-serve.md"));
    crate::write(&file, &text)?;
    println!("\nwrote {}", file.strip_prefix(workspace).unwrap_or(&file).display());
    Ok(())
}

/// Markdown.
fn table(row: &Row, every: u32) -> String {
    let mut text = format!("\n## {} sockets\n\n", row.sockets);
    text.push_str(
        "| server | CPU ms a period | median | least | most | share of one CPU | resident MiB | answer ms | answer KiB | CPU, times tcproof |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    // Not the median, which would leave out what is done in every fourth period only.
    let mean = |periods: &[f64]| periods.iter().sum::<f64>() / periods.len() as f64;
    let own = row.servers.first().map_or(f64::NAN, |first| mean(&first.cpu_ms));
    for Measured { name, cpu_ms, answer_ms, answer_bytes, resident_kib } in &row.servers {
        let cpu = mean(cpu_ms);
        let (least, most) =
            (cpu_ms.iter().copied().fold(f64::INFINITY, f64::min), cpu_ms.iter().copied().fold(0.0, f64::max));
        let _ = writeln!(
            text,
            "| {name} | {cpu:.1} | {:.1} | {least:.1} | {most:.1} | {:.3} % | {:.1} | {:.1} | {:.1} | {:.2} |",
            median(cpu_ms),
            cpu / f64::from(every) / 10.0,
            median(resident_kib) / 1024.0,
            median(answer_ms),
            median(answer_bytes) / 1024.0,
            cpu / own,
        );
    }
    for skipped in &row.skipped {
        let _ = writeln!(text, "\nSKIP {skipped}");
    }
    text
}

/// In a process of its own: enters a fresh namespace, has the sockets there, measures, prints a line of JSON.
pub(crate) fn row(args: &ServeRowArgs) -> Result<ExitCode> {
    if let Err(error) = namespace::enter_a_fresh_one() {
        println!("SKIP: no network namespace can be made here: {error}");
        return Ok(ExitCode::from(SKIPPED));
    }
    namespace::raise_loopback().context("raising lo")?;
    let _holder = Holder::start(Sockets { established: args.sockets, listening: 0, hurt: 0 })?;
    let mut pairs = record::pairs(args.busy * 10)?;
    let stop = AtomicBool::new(false);
    let row = thread::scope(|scope| {
        let talking = scope.spawn(|| record::talk(&mut pairs, args.busy as usize, &stop));
        let row = measure(args);
        stop.store(true, Ordering::Relaxed);
        talking.join().map_err(|_| anyhow::anyhow!("the talk panicked"))??;
        row
    })?;
    println!("{}", serde_json::to_string(&row)?);
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &ServeRowArgs) -> Result<Row> {
    let every = Duration::from_secs(args.every.into());
    let (netns, window) = (std::process::id().to_string(), format!("{}s", args.every));
    let [own, default, tcpstat] = PORTS;
    let commands: [(&str, u16, &str, &[&str]); 3] = [
        ("tcproof serve", own, &args.binary, &["serve", "--every", &window, "--netns", &netns]),
        ("node_exporter", default, "prometheus-node-exporter", &[]),
        (
            "node_exporter, tcpstat alone",
            tcpstat,
            "prometheus-node-exporter",
            &["--collector.disable-defaults", "--collector.tcpstat"],
        ),
    ];
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (name, port, program, arguments) in commands {
        match Server::start(name, port, program, arguments) {
            Ok(server) => servers.push(server),
            Err(why) if program == args.binary => return Err(why),
            Err(why) => skipped.push(format!("{name}: {why:#}")),
        }
    }
    let mut order = Order::new();
    let begun = Instant::now();
    for period in 0..WARM_UP + args.runs {
        // In the middle of a window: the answer is there, and nothing else is going on.
        let due = every * (period + 1) + every / 2;
        sleep(due.saturating_sub(begun.elapsed()));
        for at in order.shuffled(servers.len()) {
            servers[at].scrape(period >= WARM_UP)?;
        }
    }
    let servers = servers.into_iter().map(|mut server| std::mem::take(&mut server.measured)).collect();
    Ok(Row { sockets: args.sockets, servers, skipped })
}

/// One that is asked.
struct Server {
    child: Child,
    port: u16,
    /// CPU time in ms, when its last answer ended.
    used: f64,
    measured: Measured,
}

impl Server {
    fn start(name: &str, port: u16, program: &str, arguments: &[&str]) -> Result<Self> {
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let listen = match program.ends_with("node-exporter") {
            true => format!("--web.listen-address={address}"),
            false => format!("--listen={address}"),
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(listen).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{program} is not installed"))?;
        let measured = Measured { name: name.into(), ..Measured::default() };
        let server = Self { child, port, used: 0.0, measured };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "it does not listen");
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn scrape(&mut self, counts: bool) -> Result<()> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let took = begun.elapsed();
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            bail!("{}: no answer", self.measured.name)
        };
        ensure!(answer.windows(3).take(16).any(|code| code == b"200"), "{} refused", self.measured.name);
        let before = self.used;
        self.used = self.cpu_ms()?;
        if counts {
            self.measured.cpu_ms.push(self.used - before);
            self.measured.answer_ms.push(took.as_secs_f64() * 1e3);
            self.measured.answer_bytes.push((answer.len() - head - 4) as f64);
            self.measured.resident_kib.push(self.resident_kib()? as f64);
        }
        Ok(())
    }

    fn cpu_ms(&self) -> Result<f64> {
        cpu_ms(self.child.id())
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        value.context("no VmRSS")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_shares_of_a_cpu_and_ratios() {
        let server = |name: &str, cpu: f64| Measured {
            name: name.into(),
            cpu_ms: vec![cpu, cpu * 3.5, cpu * 1.5],
            answer_ms: vec![0.5],
            answer_bytes: vec![20_480.0],
            resident_kib: vec![10_240.0],
        };
        let servers = vec![server("tcproof serve", 10.0), server("node_exporter", 40.0)];
        let row = Row { sockets: 10_000, servers, skipped: vec!["node_exporter, tcpstat alone: not installed".into()] };
        insta::assert_snapshot!(table(&row, 15), @"

        ## 10000 sockets

        | server | CPU ms a period | median | least | most | share of one CPU | resident MiB | answer ms | answer KiB | CPU, times tcproof |
        |---|---|---|---|---|---|---|---|---|---|
        | tcproof serve | 20.0 | 15.0 | 10.0 | 35.0 | 0.133 % | 10.0 | 0.5 | 20.0 | 1.00 |
        | node_exporter | 80.0 | 60.0 | 40.0 | 140.0 | 0.533 % | 10.0 | 0.5 | 20.0 | 4.00 |

        SKIP node_exporter, tcpstat alone: not installed
        ");
    }
}

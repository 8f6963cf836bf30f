//! How long it takes to count many sockets: `tcproof sockets` by each backend beside what people type.
//!
//! The sockets are in a namespace made for the run: 60 % open connections (both ends are here, and counted), held by as
//! many processes as their limit of descriptors asks for, and 40 % in TIME_WAIT towards a few services. Those last 60 s,
//! so they are made in one go, measured beside while they last, and made anew once they have gone. All methods run one
//! after another in a random order, round by round, so that a slow minute of the machine hits all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::chart::{self, Line};
use super::measure::Cost;
use super::{Holder, SKIPPED, Sockets, allow_descriptors, named_or_built, namespace, release_example, this_program};

/// Services that the sockets in TIME_WAIT had been connected to.
const TUPLES: usize = 20;
/// TIME_WAIT lasts 60 s: what is measured later than that after the first was made would miss it.
const FRESH: Duration = Duration::from_secs(55);
/// A method that takes longer is stopped, and the time told as "more than".
const PATIENCE: u32 = 60;
/// Where the exporter listens: below the range that the sockets take their ports from.
const EXPORTER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 919);
/// The pipe that all others are compared with.
const PIPE: &str = "ss -tan | awk | sort | uniq -c";
/// What does not come back at all with very many descriptors: run once, at the end of a row.
const SLOW: &str = "ss -tanp";
const FLOOR: &str = "ss -Htan dport = :9, which shows none";
const BPF: &str = "tcproof sockets --backend bpf";
/// What the work is split over beside one core: what the smallest machines have.
const CORES: u32 = 2;

#[derive(clap::Args)]
pub(crate) struct CensusArgs {
    /// Numbers of sockets, such as 1k,10k,100k,1M
    #[arg(long, value_delimiter = ',', default_value = "1k,10k,100k,1M", value_parser = number)]
    sockets: Vec<u32>,
    /// Rounds in which each method runs once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<String>,
    /// Write bench/runs/DATE-census.md and docs/census.svg
    #[arg(long)]
    save: bool,
}

#[derive(clap::Args)]
pub(crate) struct CensusRowArgs {
    #[arg(long)]
    sockets: u32,
    #[arg(long)]
    runs: u32,
    #[arg(long)]
    binary: String,
    /// The example `census` of tcproof-bpf
    #[arg(long)]
    loaded: String,
}

/// What one size gave.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    sockets: u32,
    /// The states that were counted in the end.
    states: BTreeMap<String, u64>,
    methods: Vec<Measured>,
    skipped: Vec<String>,
}

/// What one method took.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    name: String,
    wall_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
    peak_kib: u64,
    /// It was stopped: it takes longer than that.
    stopped: bool,
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(['k', 'K', 'M']);
    let times = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        _ => return Err("expected a number such as 10k or 1M".into()),
    };
    let number = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(times));
    number.filter(|n| (10..=4_000_000).contains(n)).ok_or_else(|| "expected 10 to 4M sockets".into())
}

pub(crate) fn run(workspace: &Path, args: &CensusArgs) -> Result<ExitCode> {
    let binary = named_or_built(workspace, args.binary.as_deref())?;
    let loaded = release_example(workspace, "census")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let mut rows = Vec::new();
    for sockets in &args.sockets {
        let mut row = this_program("bench-census-row")?;
        row.args(["--sockets", &sockets.to_string(), "--runs", &args.runs.to_string(), "--binary", &binary]);
        row.args(["--loaded", &loaded]);
        let output = row.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        if output.status.code() == Some(i32::from(SKIPPED)) {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        ensure!(output.status.success(), "measuring beside {sockets} sockets failed: {}", output.status);
        let row: Row = serde_json::from_str(text.trim())?;
        print!("{}", table(&row));
        std::io::stdout().flush()?;
        rows.push(row);
    }
    if args.save {
        save(workspace, args.runs, load, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn save(workspace: &Path, runs: u32, load: &str, rows: &[Row]) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let date = date_of_day(i64::try_from(now.as_secs() / 86_400)?);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = std::thread::available_parallelism()?;
    let mut text = format!(
        "# Counting sockets, {date}\n\nLinux {}, {cpus} CPUs, release build. `cargo xtask bench census --runs {runs} --save`: every \
         method once in each round, in a random\norder; medians of the whole process, from start to end; what is loaded already is measured within a process that goes on. Of the sockets 60 % \
         are open (both ends here, over loopback), 40 % in TIME_WAIT\nof {TUPLES} services. Times are of this machine, whose \
         load was {load} when this began: what others do there costs\nwall time, so the ratios of CPU time say more.\n",
        kernel.trim()
    );
    for row in rows {
        let _ = write!(text, "\n{}", table(row));
    }
    let file = workspace.join(format!("bench/runs/{date}-census.md"));
    crate::write(&file, &text)?;
    let svg = chart::svg(&lines(rows));
    crate::write(&workspace.join("docs/census.svg"), &svg)?;
    println!("\nwrote {} and docs/census.svg", file.strip_prefix(workspace).unwrap_or(&file).display());
    Ok(())
}

fn lines(rows: &[Row]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        for method in row.methods.iter().filter(|method| !method.stopped) {
            let point = (f64::from(row.sockets), median(&method.wall_ms));
            match lines.iter_mut().find(|line| line.name == method.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name: method.name.clone(), points: vec![point] }),
            }
        }
    }
    lines
}

/// Markdown.
fn table(row: &Row) -> String {
    let states: Vec<_> = row.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let mut text = format!("## {} sockets\n\n{}\n\n", row.sockets, states.join(", "));
    text.push_str("| method | wall ms | least | CPU ms | ns/socket | peak MiB | wall, times the pipe | CPU, times the pipe |\n|---|---|---|---|---|---|---|---|\n");
    let pipe = row.methods.iter().find(|method| method.name == PIPE);
    for Measured { name, wall_ms, cpu_ms, peak_kib, stopped } in &row.methods {
        let (wall, more) = (median(wall_ms), if *stopped { "> " } else { "" });
        let least = wall_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let each = wall * 1e6 / f64::from(row.sockets);
        let ratio = pipe.map_or_else(String::new, |pipe| {
            format!("{:.2} | {:.2}", median(&pipe.wall_ms) / wall, median(&pipe.cpu_ms) / median(cpu_ms))
        });
        let _ = writeln!(
            text,
            "| `{}` | {more}{wall:.1} | {least:.1} | {:.1} | {more}{each:.0} | {} | {ratio} |",
            name.replace('|', "\\|"),
            median(cpu_ms),
            match peak_kib {
                0 => "-".into(),
                kib => format!("{:.1}", *kib as f64 / 1024.0),
            }
        );
    }
    for skipped in &row.skipped {
        let _ = writeln!(text, "\nSKIP {skipped}");
    }
    text
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        n => sorted[n / 2],
    }
}

/// Year, month and day of a day since 1970 (Howard Hinnant's days_from_civil, backwards).
pub(super) fn date_of_day(day: i64) -> String {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// In a process of its own: enters a fresh namespace, has the sockets there, measures, prints a line of JSON.
pub(crate) fn row(args: &CensusRowArgs) -> Result<ExitCode> {
    if let Err(error) = namespace::enter_a_fresh_one() {
        println!("SKIP: no network namespace can be made here: {error}");
        return Ok(ExitCode::from(SKIPPED));
    }
    namespace::raise_loopback().context("raising lo")?;
    // Both exist in every namespace by itself: enough ports for each service, and room for all that is in TIME_WAIT.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", (args.sockets * 2).max(8_192).to_string())?;
    // On loopback, ports in TIME_WAIT would be taken again after a second.
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0")?;
    let time_wait = args.sockets * 2 / 5;
    let open = (args.sockets - time_wait) & !1;
    let _holder = Holder::start(Sockets { established: open, listening: 0, hurt: 0 })?;

    let (mut methods, mut skipped) = methods(&args.binary)?;
    // Where the backend is refused, that is said once.
    let has_bpf = methods.iter().any(|method| method.name == BPF);
    let exporter = Exporter::start();
    if let Err(why) = &exporter {
        skipped.push(format!("node_exporter: {why}"));
    }
    let mut measured: BTreeMap<String, Measured> = BTreeMap::new();
    let mut note = |name: &str, cost: Cost, stopped: bool| {
        let empty = || Measured { name: name.into(), wall_ms: vec![], cpu_ms: vec![], peak_kib: 0, stopped: false };
        let of = measured.entry(name.into()).or_insert_with(empty);
        of.wall_ms.push(cost.wall_ms);
        of.cpu_ms.push(cost.cpu_ms);
        of.peak_kib = of.peak_kib.max(cost.peak_kib);
        of.stopped |= stopped;
    };
    let mut order = Order::new();
    let (mut made, mut states) = (make_time_wait(time_wait)?, BTreeMap::new());
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while rounds < args.runs {
        if made.elapsed() + longest > FRESH {
            while sockstat_tw()? > u64::from(time_wait / 100) {
                sleep(Duration::from_millis(200));
            }
            made = make_time_wait(time_wait)?;
        }
        let begun = Instant::now();
        let tw = sockstat_tw()?;
        for at in order.shuffled(methods.len() + usize::from(exporter.is_ok())) {
            match (methods.get(at), &exporter) {
                (Some(method), _) => note(&method.name, once(&method.command)?.0, false),
                (None, Ok(exporter)) => note("node_exporter, tcpstat", exporter.scrape()?, false),
                (None, Err(_)) => {}
            }
        }
        for threads in [1, CORES].into_iter().filter(|_| has_bpf) {
            for (name, wall_ms, cpu_ms) in loaded(&args.loaded, threads)? {
                note(&name, Cost { cpu_ms, wall_ms, peak_kib: 0, peak_is_bound: false, exit_code: 0 }, false);
            }
        }
        // The last look, while nothing has ended yet.
        states = check(&args.binary, &methods, open)?;
        longest = longest.max(begun.elapsed());
        if sockstat_tw()? < tw - tw / 50 {
            bail!("the sockets in TIME_WAIT ended within the round: {tw} before it");
        }
        rounds += 1;
    }
    let slow = format!("timeout {PATIENCE} {SLOW}");
    let (cost, code) = once(&["sh", "-c", &slow].map(String::from))?;
    note(SLOW, cost, code == 124);

    let in_process =
        LOADED.iter().map(|(_, name)| name).flat_map(|name| [1, CORES].map(|threads| on_cores(name, threads)));
    methods.extend(in_process.map(|name| Method { name, command: vec![] }));
    methods.push(Method { name: SLOW.into(), command: vec![] });
    methods.push(Method { name: "node_exporter, tcpstat".into(), command: vec![] });
    let in_order = methods.iter().filter_map(|method| measured.remove(&method.name)).collect();
    let row = Row { sockets: args.sockets, states, methods: in_order, skipped };
    println!("{}", serde_json::to_string(&row)?);
    Ok(ExitCode::SUCCESS)
}

/// What the program for it, already loaded, takes within a process: work of the example `census`, and its name here. A
/// walk that keeps nothing is the floor, and a dump that nobody reads is that of netlink.
const LOADED: [(&str, &str); 4] = [
    (DUMP, "sock_diag: all that it says, thrown away"),
    ("walk", "eBPF, loaded: a bare walk"),
    ("census", "eBPF, loaded: the census"),
    (DESCRIPTORS, "eBPF, loaded: who holds what"),
];
const DUMP: &str = "dump";
const DESCRIPTORS: &str = "descriptors";
/// One thread does these, whatever there is.
const BY_ONE: [&str; 2] = [DUMP, DESCRIPTORS];

fn on_cores(name: &str, threads: u32) -> String {
    match threads {
        1 => format!("{name}, one core"),
        _ => format!("{name}, {threads} cores"),
    }
}

/// Name, wall time and CPU time of each, in ms.
fn loaded(example: &str, threads: u32) -> Result<Vec<(String, f64, f64)>> {
    let output = Command::new(example).args([&threads.to_string(), "3"]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{example}: {}", output.status);
    let mut measured = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let mut fields = line.split('\t');
        let (what, wall, cpu) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
        let Some((_, name)) = LOADED.iter().find(|(of, _)| *of == what) else { continue };
        if BY_ONE.contains(&what) && threads > 1 {
            continue;
        }
        let number = |field: Option<&str>| field.and_then(|field| field.parse().ok()).context("a number of ms");
        measured.push((on_cores(name, threads), number(wall)?, number(cpu)?));
    }
    ensure!(!measured.is_empty(), "{example} measured nothing");
    Ok(measured)
}

struct Method {
    name: String,
    command: Vec<String>,
}

/// Those that work here, and why the others don't.
fn methods(binary: &str) -> Result<(Vec<Method>, Vec<String>)> {
    let shell = |line: &str| ["sh", "-c", line].map(String::from).to_vec();
    // The namespace by its inode: others of this machine are not to be counted.
    let inode = fs::metadata("/proc/self/ns/net")?.ino().to_string();
    let tcproof = |backend: &str, more: &[&str]| {
        let common = [binary, "sockets", "--json", "--netns", &inode, "--backend", backend];
        common.iter().chain(more).map(|word| (*word).to_string()).collect::<Vec<_>>()
    };
    let mut methods = vec![
        Method { name: PIPE.into(), command: shell("ss -tan | awk '{print $1}' | sort | uniq -c") },
        // What sock_diag's walk costs by itself on this machine: nobody uses that port here.
        Method { name: FLOOR.into(), command: shell("ss -Htan dport = :9") },
        Method { name: "cat /proc/net/tcp".into(), command: shell("cat /proc/net/tcp") },
        Method { name: "tcproof sockets --backend netlink".into(), command: tcproof("netlink", &[]) },
        Method { name: "tcproof sockets --backend proc".into(), command: tcproof("proc", &[]) },
        Method { name: "tcproof sockets --by process".into(), command: tcproof("auto", &["--by", "process"]) },
        Method { name: BPF.into(), command: tcproof("bpf", &[]) },
    ];
    let mut skipped = Vec::new();
    if Command::new("ss").arg("-V").stdout(Stdio::null()).status().is_err() {
        skipped.push("ss: not installed (Debian package iproute2)".into());
        methods.retain(|method| ![PIPE, FLOOR].contains(&&*method.name));
    }
    let bpf = Command::new(binary).args(&tcproof("bpf", &[])[1..]).output()?;
    if !bpf.status.success() {
        let census: serde_json::Value = serde_json::from_slice(&bpf.stdout).unwrap_or_default();
        let why = census["backends_refused"][0]["because"].as_str().unwrap_or("no such backend").to_string();
        skipped.push(format!("tcproof sockets --backend bpf: {why}"));
        methods.pop();
    }
    Ok((methods, skipped))
}

/// Every backend sees every open connection; what it all was.
fn check(binary: &str, methods: &[Method], open: u32) -> Result<BTreeMap<String, u64>> {
    let mut states = BTreeMap::new();
    for method in methods.iter().filter(|method| method.command.first().is_some_and(|program| program == binary)) {
        let output = Command::new(binary).args(&method.command[1..]).output()?;
        let census: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let counted = &census["totals"][0]["states"];
        let established = counted["ESTABLISHED"].as_u64().unwrap_or(0);
        // The exporter and its scrapes have a few more.
        ensure!(
            (u64::from(open)..=u64::from(open) + 4).contains(&established),
            "{}: {established} established sockets counted, {open} are held",
            method.name
        );
        states = serde_json::from_value(counted.clone())?;
    }
    Ok(states)
}

fn once(command: &[String]) -> Result<(Cost, i32)> {
    let mut one = this_program("bench-one")?;
    let output = one.arg("--").args(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the measured command failed: {}", command.join(" "));
    let cost: Cost = serde_json::from_slice(&output.stdout)?;
    Ok((cost, cost.exit_code))
}

fn sockstat_tw() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat")?;
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let tw = words.windows(2).find(|pair| pair[0] == "tw").context("sockstat without tw")?;
    Ok(tw[1].parse()?)
}

/// Makes that many, and says when the first of them was made. Half of them by a process of its own.
fn make_time_wait(wanted: u32) -> Result<Instant> {
    let begun = Instant::now();
    let mut children: Vec<Child> = Vec::new();
    for _ in 0..2 {
        let mut churn = this_program("bench-census-churn")?;
        children.push(churn.arg("--connections").arg((wanted / 2).to_string()).stdin(Stdio::null()).spawn()?);
    }
    for mut child in children {
        ensure!(child.wait()?.success(), "no sockets in TIME_WAIT could be made");
    }
    Ok(begun)
}

#[derive(clap::Args)]
pub(crate) struct ChurnArgs {
    #[arg(long)]
    connections: u32,
}

/// Connects and closes, the client first.
pub(crate) fn churn(args: &ChurnArgs) -> Result<ExitCode> {
    let listeners: Vec<_> =
        (0..TUPLES / 2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    allow_descriptors(256)?;
    for n in 0..args.connections as usize {
        let at = n % listeners.len();
        let client = TcpStream::connect(addresses[at])?;
        let (server, _) = listeners[at].accept()?;
        drop(client);
        drop(server);
    }
    Ok(ExitCode::SUCCESS)
}

/// node_exporter with the one collector, which asks sock_diag at every scrape.
struct Exporter(Child);

impl Exporter {
    fn start() -> Result<Self> {
        let address = format!("--web.listen-address={}:{}", EXPORTER.0, EXPORTER.1);
        let arguments = ["--collector.disable-defaults", "--collector.tcpstat", &address];
        let child = Command::new("prometheus-node-exporter")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("prometheus-node-exporter is not installed")?;
        let exporter = Self(child);
        for _ in 0..100 {
            if TcpStream::connect(EXPORTER).is_ok() {
                return Ok(exporter);
            }
            sleep(Duration::from_millis(50));
        }
        bail!("it does not listen")
    }

    fn scrape(&self) -> Result<Cost> {
        let cpu = || -> Result<f64> {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
            let after = stat.rsplit_once(')').context("stat without a name")?.1;
            let ticks: Vec<f64> =
                after.split_ascii_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
            // USER_HZ.
            Ok(ticks.iter().sum::<f64>() * 10.0)
        };
        let (before, begun) = (cpu()?, Instant::now());
        let mut stream = TcpStream::connect(EXPORTER)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        BufReader::new(stream).read_to_string(&mut answer)?;
        let wall_ms = begun.elapsed().as_secs_f64() * 1000.0;
        ensure!(answer.contains("node_tcp_connection_states"), "its answer has no states of connections");
        let peak = super::measure::high_water(&self.0.id().to_string()).unwrap_or(0);
        Ok(Cost { cpu_ms: cpu()? - before, wall_ms, peak_kib: peak, peak_is_bound: false, exit_code: 0 })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A random order for each round; which one does not matter, only that it is not always the same.
pub(super) struct Order(u64);

impl Order {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(now.as_nanos() as u64 | 1)
    }

    pub(super) fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for at in (1..n).rev() {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            order.swap(at, (self.0 % (at as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        for (text, n) in [("1k", 1_000), ("10K", 10_000), ("1M", 1_000_000), ("500", 500)] {
            assert_eq!(number(text), Ok(n));
        }
        for text in ["", "k", "1G", "-1k", "5", "9M", "1kk"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_dates() {
        for (day, date) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_787, "2026-11-30"), (-1, "1969-12-31")] {
            assert_eq!(date_of_day(day), date);
        }
    }

    #[test]
    fn every_order_has_everyone_once() {
        let mut order = Order::new();
        let mut all: Vec<_> = order.shuffled(7);
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert!((0..50).any(|_| order.shuffled(7) != order.shuffled(7)));
    }

    #[test]
    fn the_table_compares_with_the_pipe() {
        let method = |name: &str, wall_ms: f64, stopped| Measured {
            name: name.into(),
            wall_ms: vec![wall_ms, wall_ms * 3.0, wall_ms],
            cpu_ms: vec![wall_ms],
            peak_kib: 4096,
            stopped,
        };
        let row = Row {
            sockets: 1_000,
            states: BTreeMap::from([("ESTABLISHED".into(), 600), ("TIME-WAIT".into(), 400)]),
            methods: vec![method(PIPE, 20.0, false), method("fast", 4.0, false), method(SLOW, 60_000.0, true)],
            skipped: vec!["bpf: not here".into()],
        };
        insta::assert_snapshot!(table(&row), @r"
        ## 1000 sockets

        600 ESTABLISHED, 400 TIME-WAIT

        | method | wall ms | least | CPU ms | ns/socket | peak MiB | wall, times the pipe | CPU, times the pipe |
        |---|---|---|---|---|---|---|---|
        | `ss -tan \| awk \| sort \| uniq -c` | 20.0 | 20.0 | 20.0 | 20000 | 4.0 | 1.00 | 1.00 |
        | `fast` | 4.0 | 4.0 | 4.0 | 4000 | 4.0 | 5.00 | 5.00 |
        | `ss -tanp` | > 60000.0 | 60000.0 | 60000.0 | > 60000000 | 4.0 | 0.00 | 0.00 |

        SKIP bpf: not here
        ");
        let lines = lines(&[row]);
        assert_eq!(lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), [PIPE, "fast"]);
    }
}

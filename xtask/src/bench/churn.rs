//! What connections that come and go cost while they are counted: the CPU time of the program that makes them, per connection,
//! alone and beside who counts twice a second. Rounds take turns, so that a slow minute of the machine hits all.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{Holder, SKIPPED, Sockets, named_or_built, namespace, this_program};

/// Connections of one round.
const CONNECTIONS: u32 = 100_000;

#[derive(clap::Args)]
pub(crate) struct ChurnsArgs {
    /// Sockets that stay open beside
    #[arg(long, default_value_t = 10_000)]
    sockets: u32,
    /// Rounds in which each is measured once
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<String>,
}

pub(crate) fn run(workspace: &Path, args: &ChurnsArgs) -> Result<ExitCode> {
    let binary = named_or_built(workspace, args.binary.as_deref())?;
    if let Err(error) = namespace::enter_a_fresh_one() {
        println!("SKIP: no network namespace can be made here: {error}");
        return Ok(ExitCode::from(SKIPPED));
    }
    namespace::raise_loopback().context("raising lo")?;
    // What was closed in one round is not to slow down the next.
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1000")?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
    let _holder = Holder::start(Sockets { established: args.sockets, listening: 0, hurt: 0 })?;
    let tcproof = format!("{binary} sockets --watch 500ms --json --backend");
    let beside = [
        ("alone", String::new()),
        ("beside tcproof sockets, eBPF", format!("exec {tcproof} bpf")),
        ("beside tcproof sockets, netlink", format!("exec {tcproof} netlink")),
        ("beside ss -tan", "while ss -tan; do sleep 0.5; done".into()),
    ];
    let mut measured = vec![Vec::new(); beside.len()];
    for _ in 0..args.runs {
        for ((_, command), of) in beside.iter().zip(&mut measured) {
            let counts = Counting::start(command)?;
            of.push(a_connection()?);
            drop(counts);
        }
    }
    println!("{CONNECTIONS} connections a round beside {} open sockets, {} rounds", args.sockets, args.runs);
    println!("{:<34} {:>24} {:>8}", "", "us of CPU a connection", "ratio");
    let alone = median(&mut measured[0]);
    for ((name, _), of) in beside.iter().zip(&mut measured) {
        let median = median(of);
        let range = format!("{:.2} / {median:.2} / {:.2}", of[0], of[of.len() - 1]);
        println!("{name:<34} {range:>24} {:>8.3}", median / alone);
    }
    Ok(ExitCode::SUCCESS)
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Microseconds of CPU time that a connection took, both of its ends.
fn a_connection() -> Result<f64> {
    let used = || getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.user_time() + usage.system_time());
    // Who counts is waited for later, and so not in it.
    let before = used()?;
    let status = this_program("bench-churn-round")?.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "making connections: {status}");
    Ok((used()? - before).num_microseconds() as f64 / f64::from(CONNECTIONS))
}

/// Connects and closes, the client first; a hundred thousand times.
pub(crate) fn round() -> Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        drop(client);
        drop(server);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whoever counts, until it is dropped.
struct Counting(Option<Child>);

impl Counting {
    fn start(command: &str) -> Result<Self> {
        if command.is_empty() {
            return Ok(Self(None));
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(Some(shell.spawn().with_context(|| format!("starting {command}"))?)))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It is gone either way.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

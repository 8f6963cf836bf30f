//! What a record of `tcproof record` costs, in bytes and in CPU time, beside sockets that rest and sockets that talk.
//!
//! This process holds both ends of the connections in a network namespace of its own; the recorder looks at that one alone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{namespace, release_binary};

/// Rounds of talk in a second.
const ROUNDS: u32 = 20;
/// Where the recording is, below `target/`.
const FILE: &str = "bench.tcproof";

#[derive(clap::Args)]
pub(crate) struct RecordArgs {
    /// Connections, of which both ends are here
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    connections: u32,
    /// In each round so many of them are talked on, and others in the next; a recording for each number
    #[arg(long, value_delimiter = ',', default_values_t = [0, 5, 50])]
    busy: Vec<u32>,
    /// How many seconds to record
    #[arg(long = "for", default_value_t = 122, value_parser = clap::value_parser!(u32).range(2..), value_name = "SECONDS")]
    seconds: u32,
}

pub(crate) fn run(workspace: &Path, args: &RecordArgs) -> Result<ExitCode> {
    let binary = release_binary(workspace)?;
    namespace::enter_a_fresh_one().context("a network namespace")?;
    namespace::raise_loopback().context("its loopback")?;
    let mut pairs = pairs(args.connections)?;
    let file = workspace.join("target").join(FILE);
    println!("{:>8} {:>8} {:>16} {:>10} {:>10}", "sockets", "busy", "bytes a record", "MiB a day", "ms CPU");
    for busy in &args.busy {
        if file.exists() {
            fs::remove_file(&file)?;
        }
        let (bytes, cpu) = record(&binary, &file, args.seconds, |stop| talk(&mut pairs, *busy as usize, stop))?;
        let a_day = bytes * 86_400.0 / f64::from(1 << 20);
        println!("{:>8} {busy:>8} {bytes:>16.0} {a_day:>10.1} {cpu:>10.1}", args.connections * 2);
    }
    fs::remove_file(&file)?;
    Ok(ExitCode::SUCCESS)
}

/// Both ends of so many connections.
pub(super) fn pairs(connections: u32) -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))?;
    let address = listener.local_addr()?;
    (0..connections).map(|_| Ok((TcpStream::connect(address)?, listener.accept()?.0))).collect()
}

/// Bytes and milliseconds of CPU time of a record.
fn record(
    binary: &str,
    file: &Path,
    seconds: u32,
    talk: impl FnOnce(&AtomicBool) -> Result<()> + Send,
) -> Result<(f64, f64)> {
    let stop = AtomicBool::new(false);
    let used = || getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.user_time() + usage.system_time());
    let before = used()?;
    let status = thread::scope(|scope| {
        let talking = scope.spawn(|| talk(&stop));
        let status = Command::new(binary)
            .args(["record", "--for", &format!("{seconds}s"), "--netns", &std::process::id().to_string(), "-o"])
            .arg(file)
            .stderr(Stdio::null())
            .status();
        stop.store(true, Ordering::Relaxed);
        talking.join().map_err(|_| anyhow::anyhow!("the talk panicked"))??;
        anyhow::Ok(status?)
    })?;
    ensure!(status.success(), "tcproof record: {status}");
    let cpu = (used()? - before).num_microseconds() as f64 / 1e3;
    let listed = Command::new(binary).args(["record", "--json", "--list"]).arg(file).output()?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    let of = |field: &str| listed[field].as_f64().with_context(|| format!("{field} of the listing"));
    Ok((of("bytes")? / of("records")?, cpu / of("records")?))
}

/// 300 bytes there and 2 000 back on so many connections, and then on the next ones.
pub(super) fn talk(pairs: &mut [(TcpStream, TcpStream)], busy: usize, stop: &AtomicBool) -> Result<()> {
    let (mut at, mut buffer) = (0, [0; 2_000]);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..busy {
            let count = pairs.len();
            let (client, server) = &mut pairs[at % count];
            // Not the neighbour, which was chosen a moment ago.
            at += 7;
            client.write_all(&buffer[..300])?;
            server.read_exact(&mut buffer[..300])?;
            server.write_all(&buffer)?;
            client.read_exact(&mut buffer)?;
        }
        thread::sleep(Duration::from_secs(1) / ROUNDS);
    }
    Ok(())
}

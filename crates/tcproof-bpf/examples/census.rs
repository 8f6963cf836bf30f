//! Times the census by the walk in the namespace it is started in: `census THREADS ROUNDS`. For each piece of work a line:
//! its name, the median of its wall time and of its CPU time (all threads together, the safer figure) in ms, and what it
//! says of itself, with tabs between (`cargo xtask bench census` reads them).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tcproof_bpf::walk::{Walk, With};
use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::census::{Backend, Bounds, Held, Holders, Place, PortRange, PortSet, Tally};
use tcproof_core::snapshot::NetnsId;
use tcproof_host::diag::{Diag, Request, States};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Says how long `work` takes, and what it says of itself.
fn time(what: &str, rounds: u16, mut work: impl FnMut() -> Anything<String>) -> Anything<()> {
    let (mut walls, mut cpus, mut said) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..rounds {
        let (wall, before) = (Instant::now(), cpu());
        said = work()?;
        walls.push(wall.elapsed());
        cpus.push(cpu() - before);
    }
    let [wall, cpu] = [&mut walls, &mut cpus].map(|times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    println!("{what}\t{wall:.2}\t{cpu:.2}\t{said}");
    Ok(())
}

/// Ports that something listens on, from `/proc/net/tcp`: `sl local_address rem_address st`, all in hex.
fn listening() -> Anything<PortSet> {
    const LISTEN: &str = "0A";
    let mut ports = Vec::new();
    for line in BufReader::new(File::open("/proc/net/tcp")?).lines() {
        let line = line?;
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next().unwrap_or_default(), words.nth(1));
        if let (Some((_, port)), Some(LISTEN)) = (local.rsplit_once(':'), state) {
            ports.push(u16::from_str_radix(port, 16)?);
        }
    }
    Ok(ports.into_iter().collect())
}

fn main() -> Anything<()> {
    let arguments: Vec<u16> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [threads, rounds] = &arguments[..] else { return Err("THREADS ROUNDS".into()) };
    let (threads, rounds) = (usize::from(*threads), *rounds);
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/thread-self/ns/net")?);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let range: Vec<u16> = range.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let ephemeral = PortRange { low: range[0], high: range[1] };
    let place = Place { netns: NetnsId(netns), listening: listening()?, ephemeral };

    time("load", rounds, || Ok(format!("{:?}", BpfBackend::load(threads)?.method())))?;
    let mut backend = BpfBackend::load(threads)?;
    for (what, cgroups) in [("census", 0), ("census, cgroups", 4096)] {
        time(what, rounds, || {
            let mut tally = Tally::new(Bounds { cgroups, ..Bounds::default() });
            backend.count(std::slice::from_ref(&place), &mut tally).map_err(|why| why.to_string())?;
            let total = tally.namespaces()[&place.netns].value().map_or(0, |of| of.states.total());
            Ok(format!("{total} sockets, {} rows", tally.destinations().len()))
        })?;
    }
    time("dump", rounds, || {
        let (mut diag, mut sockets) = (Diag::open().map_err(|why| why.to_string())?, 0);
        diag.dump(&Request::tcp(States::ALL_BUT_LISTEN), |_| sockets += 1).map_err(|why| why.to_string())?;
        Ok(format!("{sockets} sockets"))
    })?;
    let walk = Walk::load()?;
    let namespace = walk.namespace(u32::try_from(netns)?)?.ok_or("no such namespace")?;
    let kinds = [("walk", false, false), ("walk, inodes", true, false), ("walk, cgroups too", true, true)];
    for (what, inodes, cgroups) in kinds {
        time(what, rounds, || {
            let (only, with) = (Some(&namespace), With { cgroups, inodes });
            let (parts, pass) = walk.fold(&namespace.table, only, with, threads, || 0_u64, |n, _| *n += 1)?;
            Ok(format!("{} {pass:?}", parts.iter().sum::<u64>()))
        })?;
    }
    let mut holders = BpfHolders::load()?;
    time("descriptors", rounds, || {
        let mut held = Held::default();
        holders.count(std::slice::from_ref(&place), &mut held).map_err(|why| why.to_string())?;
        let total: u64 = held.processes.values().map(|counts| counts.total()).sum();
        Ok(format!("{total} of {} processes", held.processes.len()))
    })
}

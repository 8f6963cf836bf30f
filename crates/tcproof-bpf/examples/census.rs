//! Times the census by the walk in the namespace it is started in: `census THREADS ROUNDS [LISTENING PORT]...`. Median and
//! minimum; CPU time, all threads together, is the safer figure.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tcproof_bpf::walk::{Walk, With};
use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::census::{Backend, Bounds, Held, Holders, Place, PortRange, Tally};
use tcproof_core::snapshot::NetnsId;

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
    let figures = [&mut walls, &mut cpus].map(|times| {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!("{:7.1} (min {:6.1})", ms(times[times.len() / 2]), ms(times[0]))
    });
    println!("{what:20} wall {} ms, CPU {} ms: {said}", figures[0], figures[1]);
    Ok(())
}

fn main() -> Anything<()> {
    let arguments: Vec<u16> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [threads, rounds, listening @ ..] = &arguments[..] else { return Err("THREADS ROUNDS [PORT]...".into()) };
    let (threads, rounds) = (usize::from(*threads), *rounds);
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/thread-self/ns/net")?);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let range: Vec<u16> = range.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let ephemeral = PortRange { low: range[0], high: range[1] };
    let place = Place { netns: NetnsId(netns), listening: listening.to_vec(), ephemeral };

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

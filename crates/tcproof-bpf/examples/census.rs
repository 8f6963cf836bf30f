//! Times the census by the walk in the namespace it is started in: `census [THREADS] [ROUNDS]`.

use std::time::Instant;

use tcproof_bpf::BpfBackend;
use tcproof_bpf::walk::{Walk, With};
use tcproof_core::census::{Backend, Bounds, Place, PortRange, Tally};
use tcproof_core::snapshot::NetnsId;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let threads = arguments.next().transpose()?.unwrap_or(1);
    let rounds = arguments.next().transpose()?.unwrap_or(5);
    let netns = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/thread-self/ns/net")?);
    let place = Place { netns: NetnsId(netns), listening: Vec::new(), ephemeral: PortRange::DEFAULT };
    let start = Instant::now();
    let mut backend = BpfBackend::load(threads)?;
    println!("load {:?}", start.elapsed());
    for bounds in [Bounds { cgroups: 0, ..Bounds::default() }, Bounds::default()] {
        for _ in 0..rounds {
            let mut tally = Tally::new(bounds);
            let start = Instant::now();
            backend.count(std::slice::from_ref(&place), &mut tally).map_err(|why| why.to_string())?;
            let of = &tally.namespaces()[&place.netns];
            let total = of.value().map(|of| of.states.total());
            println!("census {:?}: {total:?} sockets, {} rows", start.elapsed(), tally.destinations().len());
        }
    }
    let walk = Walk::load()?;
    let namespace = walk.namespace(u32::try_from(netns)?)?.ok_or("no such namespace")?;
    for with in [With::default(), With { inodes: true, cgroups: false }, With { inodes: true, cgroups: true }] {
        for _ in 0..rounds {
            let start = Instant::now();
            let (parts, pass) =
                walk.fold(&namespace.table, Some(&namespace), with, threads, || 0_u64, |n, _| *n += 1)?;
            println!("walk {with:?} {:?}: {} {pass:?}", start.elapsed(), parts.iter().sum::<u64>());
        }
    }
    Ok(())
}

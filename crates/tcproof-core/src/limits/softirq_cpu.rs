//! # softirq-cpu
//!
//! ## What it is
//! Receiving a packet is work of the CPU that the card interrupts, or that packet steering chose. When all of it falls to
//! one CPU, that CPU is the limit of the host, however idle the others are.
//!
//! ## Evidence
//! - One CPU spends more than 80 % of the window in hard and soft interrupts while the others spend less than 30 % on
//!   average (`/proc/stat`), and it takes in more than 60 % of all packets (`processed` of `softnet_stat`, else `NET_RX` of
//!   `/proc/softirqs`), at least 1000 a second: soft interrupts of disks and timers are not meant.
//! - `limiting` when packets were lost of it: at its backlog (proven) or in a card's ring (likely). Else `near`.
//! - A host with one CPU has nothing to spread.
//!
//! Causes: `single-cpu`.
//!
//! ## See it yourself
//! - `mpstat -P ALL 1`: `%irq` and `%soft` by CPU; `cat /proc/softirqs /proc/net/softnet_stat`
//! - `grep DEV /proc/interrupts`: which CPU a card's queues interrupt; `ethtool -l DEV`, `ethtool -x DEV`
//! - `cat /sys/class/net/DEV/queues/rx-*/rps_cpus`; `perf top -C N` for what the CPU is at
//!
//! ## Look-alikes
//! - `softirq-budget`: rounds end with work left (`time_squeeze`) on CPUs that have time.
//! - `softnet-backlog`: a CPU's backlog overflows in a burst, and the CPU is idle between bursts.
//! - A single elephant flow, or a tunnel: one flow stays on one queue and one CPU, and no setting spreads it.
//!
//! ## Remedy
//! More queues first, if the card has them, and flows over all of them (RSS). Else packet steering (RPS) to the CPUs that do
//! not take the interrupts, and RFS so that a packet is processed where its program runs. Fewer and larger packets: GRO. A
//! card that puts all flows of few addresses on one queue may be told to hash the ports too
//! (`ethtool -N DEV rx-flow-hash udp4 sdfn`; TCP's are hashed by default).
//!
//! ## References
//! Documentation/networking/scaling.rst; net/core/dev.c `get_rps_cpu`, `net_rx_action`; proc(5) /proc/stat.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Detected, Limit, nic_ring, no_owners, percent, softnet_cpus, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::path::{DeviceChange, devices};
use crate::reading::Absent;
use crate::snapshot::CpuTime;

/// The CPU that takes in packets.
pub(super) static LIMIT: Limit = Limit {
    slug: "softirq-cpu",
    title: "CPU that receives",
    causes: &[("single-cpu", "one CPU takes in most packets and has no time left, while the others are idle")],
    reads: &["/proc/stat irq and softirq by CPU", "softnet_stat processed", "/proc/softirqs NET_RX"],
    look_alikes: &["softirq-budget", "softnet-backlog"],
    knobs: &["net.core.rps_sock_flow_entries"],
    scenarios: &[],
    source: include_str!("softirq_cpu.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// Share of its time in interrupts from which on a CPU is busy with them.
const HOT: f64 = 0.8;
/// Mean share of the others up to which they could help.
const OTHERS: f64 = 0.3;
/// Share of all packets that it takes in.
const PACKETS: f64 = 0.6;
/// Packets a second below which it is busy with something else.
const PACKETS_PER_SECOND: f64 = 1000.0;
/// Flows to remember for RFS: the kernel's documentation suggests it for a server of moderate size.
const RFS_ENTRIES: u64 = 32_768;
/// CPUs that one word of a mask holds; a longer mask is left to the reader.
const MASK_BITS: u32 = 32;

/// Each CPU's share of the window in hard and soft interrupts. A CPU that came or went within it has none.
fn loads(interval: &Interval) -> Result<BTreeMap<u32, f64>, Absent> {
    let before = interval.before.system.path.cpus.as_ref().ok()?;
    let after = interval.after.system.path.cpus.as_ref().ok()?;
    if interval.window().is_zero() {
        return Err(Absent::OneReading);
    }
    let starts: BTreeMap<u32, &CpuTime> = before.iter().map(|time| (time.cpu, time)).collect();
    let share = |end: &CpuTime| {
        let start = starts.get(&end.cpu)?;
        // The kernel's idle time may go back a little.
        let grew = |of: fn(&CpuTime) -> Duration| of(end).saturating_sub(of(start)).as_secs_f64();
        let interrupts = grew(|t| t.irq) + grew(|t| t.softirq);
        let all = interrupts + grew(|t| t.user) + grew(|t| t.system) + grew(|t| t.idle) + grew(|t| t.steal);
        (all > 0.0).then_some((end.cpu, interrupts / all))
    };
    Ok(after.iter().filter_map(share).collect())
}

/// Packets that each CPU took in; where `softnet_stat` is not to be had, how often it ran to take some in.
fn packets(interval: &Interval) -> Result<BTreeMap<u32, u64>, Absent> {
    let why = match softnet_cpus(interval) {
        Ok(cpus) => {
            return Ok(cpus.into_iter().filter_map(|(cpu, change)| Some((cpu, change.ok().ok()?.processed))).collect());
        }
        Err(why) => why,
    };
    let runs =
        |snapshot: &crate::snapshot::Snapshot| snapshot.system.path.softirqs.clone().ok().map_err(|_| why.clone());
    let (before, after) = (runs(&interval.before)?, runs(&interval.after)?);
    let grew = after.iter().filter_map(|end| {
        let start = before.iter().find(|start| start.cpu == end.cpu)?;
        Some((end.cpu, *interval.growth32("NET_RX", start.net_rx, end.net_rx).value()?))
    });
    Ok(grew.collect())
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let row = |(cpu, share): (u32, f64)| Headroom {
        limit: LIMIT.slug.into(),
        subject: Subject::Cpu { cpu },
        used: if share > 0.0 { percent(share).into() } else { 0 },
        capacity: 100,
        unit: "percent of its time in interrupts".into(),
    };
    loads(interval).unwrap_or_default().into_iter().map(row).collect()
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    let loads = match loads(interval) {
        Ok(loads) => loads,
        Err(why) => {
            detected.unknown.extend(unknown(&LIMIT, None, "CPU time of each CPU", &why));
            return detected;
        }
    };
    let Some((cpu, load, others)) = hot(&loads) else { return detected };
    let packets = match packets(interval) {
        Ok(packets) => packets,
        Err(why) => {
            detected.unknown.extend(unknown(&LIMIT, None, "softnet_stat", &why));
            return detected;
        }
    };
    let (here, all) =
        (packets.get(&cpu).copied().unwrap_or(0), packets.values().fold(0, |sum: u64, n| sum.saturating_add(*n)));
    if here as f64 > all as f64 * PACKETS && here as f64 >= PACKETS_PER_SECOND * interval.seconds() {
        detected.findings.push(finding(interval, &Hot { cpu, load, others, here, all }));
    }
    detected
}

/// The one busy CPU among idle ones: its number, its share, and the mean share of the others.
fn hot(loads: &BTreeMap<u32, f64>) -> Option<(u32, f64, f64)> {
    let (cpu, load) = loads.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    if loads.len() < 2 || *load <= HOT {
        return None;
    }
    let others = (loads.values().sum::<f64>() - load) / (loads.len() - 1) as f64;
    (others < OTHERS).then_some((*cpu, *load, others))
}

struct Hot {
    cpu: u32,
    load: f64,
    others: f64,
    here: u64,
    all: u64,
}

fn finding(interval: &Interval, hot: &Hot) -> Finding {
    let seconds = interval.seconds();
    let Hot { cpu, load, others, here, all } = *hot;
    let dropped = softnet_cpus(interval).unwrap_or_default().into_iter().find(|(number, _)| *number == cpu);
    let dropped = dropped.and_then(|(_, change)| change.ok().ok()).map_or(0, |change| change.dropped);
    let missed = nic_ring::missed(interval);
    let (state, confidence, lost) = match (dropped, missed) {
        (1.., _) => (State::Limiting, Confidence::Proven, format!("; it dropped {dropped}")),
        (0, 1..) => (State::Limiting, Confidence::Likely, format!("; network cards missed {missed} packets meanwhile")),
        (0, 0) => (State::Near, Confidence::Proven, "; nothing lost yet".into()),
    };
    let share = if all > 0 { here as f64 / all as f64 } else { 0.0 };
    let from = busiest(interval).map(|device| format!(" (most came by {})", device.place())).unwrap_or_default();
    Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "single-cpu".into(),
        confidence,
        subject: Subject::Cpu { cpu },
        summary: format!(
            "CPU {cpu} spent {} % of {seconds:.1} s in interrupts and took in {} % of all packets{from}; the others spent {} %{lost}",
            percent(load),
            percent(share),
            percent(others)
        ),
        because:
            "a queue's packets are taken in by the CPU that it interrupts; a single flow, or one tunnel, can not be \
                  spread by any setting"
                .into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: dropped.max(missed),
    }
    .changed(format!("softnet_stat processed of CPU {cpu}"), here as f64, "packets", seconds)
    .changed("softnet_stat processed of all CPUs", all as f64, "packets", seconds)
    .changed(format!("softnet_stat dropped of CPU {cpu}"), dropped as f64, "packets", seconds)
    .standing(format!("share of CPU {cpu} in interrupts"), load, "of its time")
    .standing("mean share of the other CPUs", others, "of their time")
}

/// The device that received most, a card before any other.
fn busiest(interval: &Interval) -> Option<DeviceChange<'_>> {
    let received = |device: &DeviceChange<'_>| device.stats.value().map_or(0, |stats| stats.rx_packets);
    let devices = devices(interval).into_iter().filter(|device| received(device) > 0 && device.link.index != 1);
    devices.max_by_key(|device| (device.link.is_card(), received(device)))
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Subject::Cpu { cpu } = finding.subject else { return vec![] };
    let verify = format!("interrupts of CPU {cpu} below 80 % of its time, and the others take part");
    let device = busiest(interval);
    let name = device.as_ref().map_or("DEV", |device| device.name);
    let mut remedies = vec![];
    match &device {
        Some(device) if device.link.is_card() => remedies.push(nic_ring::spread(device, interval)),
        _ => {}
    }
    let mask = mask(interval, cpu).map(|mask| format!(" (echo {mask} > …)")).unwrap_or_default();
    remedies.push(
        Remedy::new(
            Level::Service,
            format!(
                "hand packets to the CPUs that do not take the interrupts (RPS): /sys/class/net/{name}/queues/rx-*/rps_cpus{mask}"
            ),
        )
        .formula(format!("every online CPU but {cpu}"))
        .cost("an interrupt between CPUs for each batch of packets; one flow stays on one CPU"),
    );
    remedies.extend(rfs(interval, name));
    let offloads = device.as_ref().and_then(|device| device.link.settings.offloads.value());
    if offloads.is_some_and(|offloads| !offloads.gro) {
        let text = format!("let the kernel put received segments together: ethtool -K {name} gro on");
        remedies.push(Remedy::new(Level::Service, text));
    }
    remedies.into_iter().map(|remedy| remedy.verify(&verify)).collect()
}

/// The online CPUs but one, as `rps_cpus` takes them; none where that is more than one word.
fn mask(interval: &Interval, but: u32) -> Option<String> {
    let cpus = interval.after.system.path.cpus.value()?;
    let bits = cpus.iter().filter(|time| time.cpu != but).map(|time| (time.cpu < MASK_BITS).then(|| 1_u32 << time.cpu));
    let mask = bits.collect::<Option<Vec<_>>>()?.into_iter().fold(0, |mask, bit| mask | bit);
    Some(format!("{mask:x}"))
}

fn rfs(interval: &Interval, device: &str) -> Option<Remedy> {
    let now = *interval.after.system.path.rps_sock_flow_entries.value()?;
    (now == 0).then(|| {
        Remedy::knob(
            format!("and where their programs run (RFS), with rps_flow_cnt of the queues of {device}"),
            "net.core.rps_sock_flow_entries",
            format!("{now}"),
            format!("{RFS_ENTRIES}"),
        )
        .formula(format!("at least the active flows, as a power of two; rps_flow_cnt is {RFS_ENTRIES} / queues"))
        .cost("128 KiB, and as much for the queues")
    })
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let loads = loads(ns.interval()).ok()?;
    let busiest = loads.values().copied().max_by(f64::total_cmp)?;
    let share = if busiest > 0.0 { percent(busiest) } else { 0 };
    hot(&loads).is_none().then(|| format!("the busiest CPU spent {share} % in interrupts"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, remedies, the_finding, unknowns};
    use super::*;
    use crate::reading::Reading;
    use crate::snapshot::{Channels, Link, LinkStats, SoftirqCpu};

    fn quiet() -> Host {
        Host::new().both(|s| s.system.path.rps_sock_flow_entries = Reading::Present(0))
    }

    /// One of four CPUs takes in nearly all.
    fn hot_host() -> Host {
        quiet().cpus(&[(0.1, 100_000), (0.93, 2_000_000), (0.0, 0), (0.05, 10_000)])
    }

    fn card(rx_packets: u64) -> impl Fn(Host) -> Host {
        move |host| {
            let mut link = Link { index: 2, ..Link::default() };
            link.stats = Reading::Present(LinkStats::default());
            link.settings.channels = Reading::Present(Channels { rx: 0, rx_max: 0, combined: 1, combined_max: 1 });
            host.both(|s| s.host.cpus = 4).link("eth0", link).link_after("eth0", |link| {
                link.stats = Reading::Present(LinkStats { rx_packets, ..LinkStats::default() });
            })
        }
    }

    #[test]
    fn one_cpu_that_takes_in_all_is_near_its_limit() {
        let finding = the_finding(&LIMIT, &card(2_100_000)(hot_host()));
        assert_eq!((finding.state, finding.confidence), (State::Near, Confidence::Proven));
        assert_eq!(finding.subject, Subject::Cpu { cpu: 1 });
        insta::assert_snapshot!(finding.summary, @"CPU 1 spent 93 % of 5.0 s in interrupts and took in 95 % of all packets (most came by eth0 of own); the others spent 5 %; nothing lost yet");
        insta::assert_snapshot!(finding.because, @"a queue's packets are taken in by the CPU that it interrupts; a single flow, or one tunnel, can not be spread by any setting");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: spread what eth0 receives over more CPUs: the affinity of its interrupts (/proc/irq/N/smp_affinity_list), or packet steering (rps_cpus of its queues)
        2. Service: hand packets to the CPUs that do not take the interrupts (RPS): /sys/class/net/eth0/queues/rx-*/rps_cpus (echo d > …)
        3. Kernel: and where their programs run (RFS), with rps_flow_cnt of the queues of eth0 [net.core.rps_sock_flow_entries 0 → 32768]
        ");
    }

    #[test]
    fn what_it_dropped_or_a_ring_missed_makes_it_limiting() {
        let dropping = the_finding(&LIMIT, &hot_host().softnet_after(1, |row| row.dropped = 500));
        assert_eq!((dropping.state, dropping.confidence, dropping.hurt), (State::Limiting, Confidence::Proven, 500));
        assert!(dropping.summary.ends_with("; it dropped 500"), "{}", dropping.summary);
        let missing = card(9)(hot_host()).link_after("eth0", |link| {
            link.stats = Reading::Present(LinkStats { rx_missed_errors: 70, ..LinkStats::default() });
        });
        let missing = the_finding(&LIMIT, &missing);
        assert_eq!((missing.state, missing.confidence, missing.hurt), (State::Limiting, Confidence::Likely, 70));
    }

    #[test]
    fn silent_where_all_cpus_work_where_there_is_one_and_where_it_is_not_the_network() {
        assert_clear(&LIMIT, &quiet().cpus(&[(0.95, 2_000_000), (0.9, 2_000_000)]));
        assert_clear(&LIMIT, &quiet().cpus(&[(0.95, 2_000_000)]));
        assert_clear(&LIMIT, &quiet().cpus(&[(0.79, 2_000_000), (0.0, 0)]));
        // Disks: hardly a packet. Packets that another CPU takes in.
        assert_clear(&LIMIT, &quiet().cpus(&[(0.95, 900), (0.0, 0)]));
        assert_clear(&LIMIT, &quiet().cpus(&[(0.95, 500_000), (0.1, 500_000)]));
    }

    #[test]
    fn silent_on_a_squeezed_budget_and_on_a_burst_into_a_backlog() {
        let calm = || quiet().cpus(&[(0.3, 2_000_000), (0.0, 0)]);
        let squeezed = calm().softnet_after(0, |row| row.time_squeeze = 9_000);
        assert_clear(&LIMIT, &squeezed);
        assert_clear(&LIMIT, &calm().softnet_after(0, |row| row.dropped = 9_000));
        let ns = squeezed.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("the busiest CPU spent 30 % in interrupts"));
        assert_eq!((LIMIT.ruled_out)(&hot_host().interval().namespaces().next().unwrap()), None);
    }

    #[test]
    fn every_cpu_has_headroom() {
        let rows = (LIMIT.headroom)(hot_host().interval());
        assert_eq!(rows.iter().map(|row| row.used).collect::<Vec<_>>(), [10, 93, 0, 5]);
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let blind = hot_host().both(|s| s.system.path.cpus = absent("per-CPU times"));
        assert_eq!(unknowns(&LIMIT, &blind), ["CPU time of each CPU"]);
        assert_eq!((LIMIT.ruled_out)(&blind.interval().namespaces().next().unwrap()), None);
        let once = hot_host().after(|s| s.at = Duration::ZERO);
        assert_eq!(unknowns(&LIMIT, &once), ["CPU time of each CPU"]);
        let neither = hot_host().both(|s| s.system.softnet = absent("softnet_stat"));
        assert_eq!(unknowns(&LIMIT, &neither), ["softnet_stat"]);
        // The soft interrupts tell as much; they wrap.
        let row = |cpu, net_rx| SoftirqCpu { cpu, net_rx, net_tx: 0 };
        let runs = neither
            .before(|s| s.system.path.softirqs = Reading::Present(vec![row(0, 5), row(1, u32::MAX)]))
            .after(|s| s.system.path.softirqs = Reading::Present(vec![row(0, 9), row(1, 900_000)]));
        assert_eq!(the_finding(&LIMIT, &runs).subject, Subject::Cpu { cpu: 1 });
        // A CPU that came within the window has no share.
        let came = hot_host().before(|s| {
            if let Reading::Present(cpus) = &mut s.system.path.cpus {
                cpus.remove(1);
            }
        });
        assert_clear(&LIMIT, &came);
    }
}

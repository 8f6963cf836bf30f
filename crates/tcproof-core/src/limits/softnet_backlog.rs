//! # softnet-backlog
//!
//! ## What it is
//! The queue of each CPU for packets that do not come from a driver's own polling: loopback, veth, tunnels, and all
//! that receive packet steering (RPS) hands to another CPU. It takes `net.core.netdev_max_backlog` packets (1000 unless
//! changed, one value for the host). When it is full the packet is dropped; TCP sees a loss and sends again, slower.
//!
//! ## Evidence
//! - A CPU's `dropped` in `/proc/net/softnet_stat` grew in the window. The counters have 32 bits and wrap, and rows are
//!   matched by the CPU's number (a column since 5.10), because offline CPUs have no row.
//! - `flow_limit` is part of `dropped`: packets of a flow that sent more than half of the last ones into a backlog half
//!   full. They are told apart.
//! - The counters are the host's, not a namespace's. The receiving device counts the same drops as `rx_dropped`: where
//!   exactly one device's growth matches, it is named.
//! - The length of the backlog (since 5.10) includes packets already taken up for processing, so it may pass the limit
//!   without a drop: it is shown as headroom, and nothing is concluded from it.
//!
//! Causes: `queue-full`.
//!
//! ## See it yourself
//! - `cat /proc/net/softnet_stat`: hexadecimal, a row per online CPU; column 2 drops, 11 flow limit, 12 length, 13 CPU.
//! - `ip -s -s link show` in each namespace: `dropped` under RX; `sysctl net.core.netdev_max_backlog`
//! - `perf record -a -e skb:kfree_skb sleep 5; perf script | grep CPU_BACKLOG` (the reason is named since 5.18)
//!
//! ## Look-alikes
//! - Loss on the path: segments are sent again while no CPU drops anything.
//! - `nic-ring`: the ring of a network card is full, its `rx_missed_errors` grow; `softnet_stat` counts no drop. In
//!   `/proc/net/dev` and `ip -s link` those are part of the card's dropped packets, `ip -s -s link` tells them apart.
//! - `softirq-budget`: rounds of the receive softirq end with work left (column 3). That alone drops nothing.
//! - `conntrack-table`: packets of new connections vanish in the namespace that tracks them, no CPU drops.
//!
//! ## Remedy
//! Fewer and larger packets first: GRO and TSO on the veth or tunnel. Then more CPUs for them (RPS and RFS, or more
//! queues), and the busy program off that CPU. Only then a backlog twice as long: a full queue of it takes backlog /
//! packets per second to work off, and that is latency for everything the CPU receives.
//!
//! ## References
//! Documentation/networking/scaling.rst; net/core/dev.c `enqueue_to_backlog` and `skb_flow_limit`,
//! net/core/net-procfs.c `softnet_seq_show`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, beyond_skew, no_owners, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Device, SoftnetCpu};

/// The packet backlog of a CPU.
pub(super) static LIMIT: Limit = Limit {
    slug: "softnet-backlog",
    title: "packet backlog",
    causes: &[("queue-full", "packets arrive for the CPU faster than it takes them from its backlog")],
    reads: &[
        "kfree_skb: CPU_BACKLOG (eBPF)",
        "softnet_stat dropped",
        "softnet_stat flow_limit",
        "softnet_stat backlog",
        "rx_dropped of devices",
    ],
    look_alikes: &["conntrack-table", "nic-ring"],
    knobs: &["net.core.netdev_max_backlog"],
    scenarios: &[],
    source: include_str!("softnet_backlog.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// A backlog longer than this only makes packets old (ten times the kernel's default).
const LONGEST: u64 = 10_000;
/// The kernel's own.
const DEFAULT: u64 = 1_000;

/// One CPU over the window.
pub(crate) struct Cpu {
    pub(crate) cpu: u32,
    /// Packets that it took in.
    pub(crate) processed: u64,
    /// All that was dropped at its backlog.
    pub(crate) dropped: u64,
    /// Those of them that the flow limit dropped.
    pub(crate) flow_limit: u64,
    /// Rounds of its receive softirq that ended with work left.
    pub(crate) squeezed: u64,
    backlog: Option<u32>,
}

/// Every online CPU, or why nothing can be said about it.
pub(crate) fn cpus(interval: &Interval) -> Result<Vec<(u32, Reading<Cpu>)>, Absent> {
    let before = interval.before.system.softnet.as_ref().ok()?;
    let after = interval.after.system.softnet.as_ref().ok()?;
    // Before 5.10 a row has no CPU number: after a CPU came or went, rows can't be matched.
    let numbered = before.iter().chain(after).all(|row| row.backlog.is_some());
    if !numbered && before.len() != after.len() {
        return Err(Absent::Restarted {
            what: "softnet_stat: a CPU came or went, and its rows have no CPU number, so it".into(),
        });
    }
    let starts: BTreeMap<u32, &SoftnetCpu> = before.iter().map(|row| (row.cpu, row)).collect();
    let of = |end: &SoftnetCpu| match starts.get(&end.cpu) {
        Some(start) => change(interval, start, end),
        // Its counters have gone on counting since boot while it was offline.
        None => Reading::Absent(Absent::OneReading),
    };
    let ends: BTreeSet<u32> = after.iter().map(|row| row.cpu).collect();
    let left = before.iter().filter(|row| !ends.contains(&row.cpu)).map(|row| {
        let what = format!("CPU {}", row.cpu);
        (row.cpu, Reading::Absent(Absent::Gone { what }))
    });
    Ok(after.iter().map(|row| (row.cpu, of(row))).chain(left).collect())
}

fn change(interval: &Interval, start: &SoftnetCpu, end: &SoftnetCpu) -> Reading<Cpu> {
    let name = format!("softnet_stat of CPU {}", end.cpu);
    let change = || {
        Ok(Cpu {
            cpu: end.cpu,
            processed: u64::from(end.processed.wrapping_sub(start.processed)),
            dropped: interval.growth32(&name, start.dropped, end.dropped).ok()?,
            flow_limit: interval.growth32(&name, start.flow_limit, end.flow_limit).ok()?,
            squeezed: interval.growth32(&name, start.time_squeeze, end.time_squeeze).ok()?,
            backlog: end.backlog,
        })
    };
    change().into()
}

/// The one device whose own counter tells the same drops, as "eth0 of NAMESPACE".
fn device(interval: &Interval, dropped: u64) -> Option<(String, u64)> {
    let mut same = interval.namespaces().flat_map(|ns| {
        let growths = rx_dropped(&ns).into_iter().filter(|(_, growth)| {
            let apart = growth.abs_diff(dropped);
            *growth > 0 && !beyond_skew(apart, dropped)
        });
        growths.map(|(name, growth)| (format!("{name} of {}", ns.name()), growth)).collect::<Vec<_>>()
    });
    same.next().filter(|_| same.next().is_none())
}

/// By how much `rx_dropped` of each device grew: as netlink tells it, else as `/proc/net/dev` does, which adds what a
/// card's ring missed.
fn rx_dropped<'a>(ns: &NetnsChange<'a>) -> Vec<(&'a str, u64)> {
    if let (Some(before), Some(after)) = (ns.before.links.value(), ns.after.links.value()) {
        let pairs = after.iter().filter_map(|(name, end)| {
            let (start, end) = (before.get(name)?.stats.value()?, end.stats.value()?);
            Some((name.as_str(), end.rx_dropped.checked_sub(start.rx_dropped)?))
        });
        return pairs.collect();
    }
    let (before, after) = (ns.before.devices.value(), ns.after.devices.value());
    let pairs = before.into_iter().zip(after).flat_map(|(before, after)| {
        let pair = |(name, end): (&'a String, &Device)| {
            Some((name.as_str(), end.rx_dropped.checked_sub(before.get(name)?.rx_dropped)?))
        };
        after.iter().filter_map(pair)
    });
    pairs.collect()
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let system = &interval.after.system;
    let (Some(rows), Some(capacity)) = (system.softnet.value(), system.netdev_max_backlog.value()) else {
        return vec![];
    };
    let row = |row: &SoftnetCpu| {
        row.backlog.map(|used| Headroom {
            limit: LIMIT.slug.into(),
            subject: Subject::Cpu { cpu: row.cpu },
            used: u64::from(used),
            capacity: *capacity,
            unit: "packets".into(),
        })
    };
    rows.iter().filter_map(row).collect()
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    let cpus = match cpus(interval) {
        Ok(cpus) => cpus,
        Err(why) => {
            detected.unknown.extend(unknown(&LIMIT, None, "softnet_stat", &why));
            return detected;
        }
    };
    for (cpu, reading) in &cpus {
        let why = reading.absent();
        detected.unknown.extend(why.and_then(|why| unknown(&LIMIT, None, &format!("softnet_stat of CPU {cpu}"), why)));
    }
    let dropping: Vec<_> = cpus.iter().filter_map(|(_, cpu)| cpu.value()).filter(|cpu| cpu.dropped > 0).collect();
    // A device counts what it lost on all CPUs together.
    let device = device(interval, dropping.iter().map(|cpu| cpu.dropped).sum());
    detected.findings.extend(dropping.into_iter().map(|cpu| finding(interval, cpu, device.as_ref())));
    detected
}

fn finding(interval: &Interval, cpu: &Cpu, device: Option<&(String, u64)>) -> Finding {
    let seconds = interval.seconds();
    let full = cpu.dropped.saturating_sub(cpu.flow_limit);
    let at = format!("at the backlog of CPU {} in {seconds:.1} s", cpu.cpu);
    let mut summary = match (full, cpu.flow_limit) {
        (full, 0) => format!("{full} packets dropped {at}"),
        (0, limited) => format!("{limited} packets dropped {at}, all by the flow limit"),
        (_, limited) => format!("{} packets dropped {at}, {limited} of them by the flow limit", cpu.dropped),
    };
    if let Some((name, _)) = device {
        summary.push_str(&format!("; received by {name}"));
    }
    let because = match full {
        0 => "one flow sent more than half of the last packets into a backlog half full: the flow limit dropped them"
            .into(),
        _ => match interval.after.system.netdev_max_backlog.value() {
            Some(max) => format!("the backlog takes {max} packets, and nothing else counts as dropped there"),
            None => "nothing else than a full backlog counts as dropped there".into(),
        },
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: "queue-full".into(),
        confidence: Confidence::Proven,
        subject: Subject::Cpu { cpu: cpu.cpu },
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: cpu.dropped,
    }
    .changed("softnet_stat dropped", cpu.dropped as f64, "packets", seconds)
    .changed("softnet_stat flow_limit", cpu.flow_limit as f64, "packets", seconds)
    .changed("softnet_stat processed", cpu.processed as f64, "packets", seconds);
    if let Some((name, growth)) = device {
        finding = finding.changed(format!("rx_dropped of {name}"), *growth as f64, "packets", seconds);
    }
    if let Some(backlog) = cpu.backlog {
        finding = finding.standing("softnet_stat backlog", f64::from(backlog), "packets");
    }
    match interval.after.system.netdev_max_backlog.value() {
        Some(max) => finding.standing("net.core.netdev_max_backlog", *max as f64, "packets"),
        None => finding,
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Subject::Cpu { cpu } = finding.subject else { return vec![] };
    let Ok(cpus) = cpus(interval) else { return vec![] };
    let Some(seen) = cpus.iter().filter_map(|(_, reading)| reading.value()).find(|seen| seen.cpu == cpu) else {
        return vec![];
    };
    let verify = "dropped of softnet_stat stands still and segments sent again become fewer";
    let mut remedies = vec![
        Remedy::new(
            Level::Service,
            "let GRO, GSO and TSO make fewer and larger packets on the veth or tunnel (ethtool -K DEVICE gro on tso on)",
        )
        .verify(verify),
        Remedy::new(
            Level::Service,
            format!(
                "spread the packets over more CPUs than CPU {cpu}: rps_cpus of the receiving device, RFS, or more queues; \
                 one flow always stays on one CPU"
            ),
        )
        .cost("an interrupt between CPUs for each batch of packets")
        .verify(verify),
        Remedy::new(Level::Service, format!("keep busy programs off CPU {cpu} (CPUAffinity= of their units)"))
            .verify(verify),
    ];
    // The flow limit drops at half of the backlog whatever its length: only a full one calls for a longer one.
    if seen.dropped > seen.flow_limit {
        remedies.extend(longer(interval, seen, verify));
    }
    remedies
}

fn longer(interval: &Interval, cpu: &Cpu, verify: &str) -> Option<Remedy> {
    let from = *interval.after.system.netdev_max_backlog.value()?;
    let to = from.saturating_mul(2).clamp(DEFAULT, LONGEST);
    let seconds = interval.seconds();
    let rate = if seconds > 0.0 { cpu.processed as f64 / seconds } else { 0.0 };
    let cost = match rate {
        rate if rate >= 1.0 => format!(
            "at the {rate:.0} packets/s that CPU {} took, a full backlog is {:.1} ms old; more than 5 ms hurts more \
             than the loss",
            cpu.cpu,
            to as f64 / rate * 1000.0
        ),
        _ => "latency for everything the CPU receives while the backlog is long".into(),
    };
    (to > from).then(|| {
        Remedy::knob(
            "lengthen the backlog of every CPU of the host",
            "net.core.netdev_max_backlog",
            format!("{from}"),
            format!("{to}"),
        )
        .formula(format!("2 × {from}, at least the kernel's default of {DEFAULT}, at most {LONGEST}"))
        .cost(cost)
        .verify(verify)
    })
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let cpus = cpus(ns.interval()).ok()?;
    let none = cpus.iter().all(|(_, cpu)| cpu.value().is_some_and(|cpu| cpu.dropped == 0));
    (none && !cpus.is_empty()).then(|| format!("no packet dropped at the backlog of {} CPUs", cpus.len()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, remedies, the_finding, unknowns};
    use super::*;
    use crate::snapshot::{Link, LinkStats, Snapshot};

    const START: u32 = u32::MAX - 99;

    fn row(cpu: u32) -> SoftnetCpu {
        SoftnetCpu { cpu, processed: 7, dropped: START, flow_limit: 3, backlog: Some(0), ..SoftnetCpu::default() }
    }

    /// Two CPUs by what they dropped, and how much of it by the flow limit. The drop counters wrap.
    fn dropped(cpus: [(u32, u32); 2]) -> Host {
        let ends = [0, 1].map(|n| {
            let (dropped, flow_limit) = cpus[n as usize];
            SoftnetCpu {
                processed: 1_000_007,
                dropped: START.wrapping_add(dropped),
                flow_limit: 3 + flow_limit,
                backlog: Some(250),
                ..row(n)
            }
        });
        Host::new()
            .both(|s| s.system.netdev_max_backlog = Reading::Present(1_000))
            .before(|s| s.system.softnet = Reading::Present(vec![row(0), row(1)]))
            .after(|s| s.system.softnet = Reading::Present(ends.to_vec()))
    }

    fn device(host: Host, name: &str, rx_dropped: u64) -> Host {
        host.ns(|ns| {
            if let Reading::Present(devices) = &mut ns.devices {
                devices.insert(name.into(), Device { rx_dropped: 10, ..Device::default() });
            }
        })
        .ns_after(|ns| {
            if let Reading::Present(devices) = &mut ns.devices {
                devices.entry(name.into()).or_default().rx_dropped += rx_dropped;
            }
        })
    }

    #[test]
    fn drops_of_a_cpu_are_limiting_and_their_device_is_named() {
        let host = device(device(dropped([(15_270, 0), (0, 0)]), "veth0", 15_269), "lo", 0);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Limiting, "queue-full", 15_270));
        assert_eq!(finding.subject, Subject::Cpu { cpu: 0 });
        insta::assert_snapshot!(finding.summary, @"15270 packets dropped at the backlog of CPU 0 in 5.0 s; received by veth0 of own");
        insta::assert_snapshot!(finding.because, @"the backlog takes 1000 packets, and nothing else counts as dropped there");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Service: let GRO, GSO and TSO make fewer and larger packets on the veth or tunnel (ethtool -K DEVICE gro on tso on)
        2. Service: spread the packets over more CPUs than CPU 0: rps_cpus of the receiving device, RFS, or more queues; one flow always stays on one CPU
        3. Service: keep busy programs off CPU 0 (CPUAffinity= of their units)
        4. Kernel: lengthen the backlog of every CPU of the host [net.core.netdev_max_backlog 1000 → 2000]
        ");
        insta::assert_snapshot!(finding.remedies[3].cost.clone().unwrap_or_default(), @"at the 200000 packets/s that CPU 0 took, a full backlog is 10.0 ms old; more than 5 ms hurts more than the loss");
    }

    #[test]
    fn every_dropping_cpu_is_a_finding_and_a_device_counts_all_of_them() {
        let host = device(dropped([(400, 0), (77, 0)]), "veth0", 477);
        let findings = (LIMIT.detect)(host.interval()).findings;
        let subjects: Vec<_> = findings.iter().map(|f| (f.subject.clone(), f.hurt)).collect();
        assert_eq!(subjects, [(Subject::Cpu { cpu: 0 }, 400), (Subject::Cpu { cpu: 1 }, 77)]);
        insta::assert_snapshot!(findings[1].summary, @"77 packets dropped at the backlog of CPU 1 in 5.0 s; received by veth0 of own");
    }

    #[test]
    fn netlinks_rx_dropped_is_without_what_the_ring_missed() {
        // /proc/net/dev says 477 for the card, which missed them in its ring, and for the veth, which dropped them.
        let proc = device(device(dropped([(477, 0), (0, 0)]), "eth0", 477), "veth0", 477);
        assert!(!the_finding(&LIMIT, &proc).summary.contains("received by"));
        let link = |rx_dropped, rx_missed_errors| Link {
            stats: Reading::Present(LinkStats { rx_dropped, rx_missed_errors, ..LinkStats::default() }),
            ..Link::default()
        };
        let set = |dropped, missed| {
            Reading::Present([("eth0".into(), link(0, missed)), ("veth0".into(), link(dropped, 0))].into())
        };
        let netlink = proc.ns(|ns| ns.links = set(0, 0)).ns_after(|ns| ns.links = set(477, 477));
        assert!(the_finding(&LIMIT, &netlink).summary.ends_with("received by veth0 of own"));
    }

    #[test]
    fn two_devices_that_match_name_none() {
        let host = device(device(dropped([(400, 0), (0, 0)]), "veth0", 400), "veth1", 401);
        assert!(!the_finding(&LIMIT, &host).summary.contains("veth"));
    }

    #[test]
    fn drops_by_the_flow_limit_are_told_apart_and_call_for_no_longer_queue() {
        let some = the_finding(&LIMIT, &dropped([(0, 0), (500, 120)]));
        insta::assert_snapshot!(some.summary, @"500 packets dropped at the backlog of CPU 1 in 5.0 s, 120 of them by the flow limit");
        let all = the_finding(&LIMIT, &dropped([(0, 0), (500, 500)]));
        insta::assert_snapshot!(all.summary, @"500 packets dropped at the backlog of CPU 1 in 5.0 s, all by the flow limit");
        insta::assert_snapshot!(all.because, @"one flow sent more than half of the last packets into a backlog half full: the flow limit dropped them");
        assert!(all.remedies.iter().all(|remedy| remedy.knob.is_none()));
    }

    #[test]
    fn silent_on_path_loss_a_full_ring_and_a_full_conntrack_table() {
        let quiet = dropped([(0, 0), (0, 0)]);
        assert_clear(&LIMIT, &quiet.clone().grew("Tcp.RetransSegs", 38_226));
        assert_clear(&LIMIT, &device(quiet.clone(), "eth0", 900));
        let conntrack = quiet.conntrack(1_000, 1_000, 1_000, 1_000).conntrack_grew("drop", 600);
        assert_clear(&LIMIT, &conntrack);
        let ns = conntrack.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("no packet dropped at the backlog of 2 CPUs"));
    }

    #[test]
    fn a_long_backlog_is_headroom_and_no_finding() {
        let long = dropped([(0, 0), (0, 0)]).after(|s| {
            if let Reading::Present(rows) = &mut s.system.softnet {
                rows[1].backlog = Some(1_400);
            }
        });
        assert_clear(&LIMIT, &long);
        let rows = (LIMIT.headroom)(long.interval());
        assert_eq!(rows.iter().map(|row| (row.used, row.capacity)).collect::<Vec<_>>(), [(250, 1_000), (1_400, 1_000)]);
    }

    #[test]
    fn a_cpu_that_came_or_went_is_unknown_and_others_are_judged() {
        let edit = |rows: fn(&mut Vec<SoftnetCpu>)| {
            move |s: &mut Snapshot| match &mut s.system.softnet {
                Reading::Present(all) => rows(all),
                Reading::Absent(_) => {}
            }
        };
        let left = dropped([(0, 0), (0, 0)]).after(edit(|rows| rows.truncate(1)));
        assert_eq!(unknowns(&LIMIT, &left), ["softnet_stat of CPU 1"]);
        let came = dropped([(0, 0), (5, 0)]).before(edit(|rows| rows.truncate(1)));
        assert_eq!(unknowns(&LIMIT, &came), ["softnet_stat of CPU 1"]);
        // Row 1 was CPU 2 in the first look: matched by number, not by row.
        let moved = dropped([(0, 0), (5, 0)]).both(edit(|rows| rows[1].cpu = 2));
        assert_eq!(the_finding(&LIMIT, &moved).subject, Subject::Cpu { cpu: 2 });
        // Rows without numbers can't be matched then.
        let old = left.both(edit(|rows| rows.iter_mut().for_each(|row| row.backlog = None)));
        assert_eq!(unknowns(&LIMIT, &old), ["softnet_stat"]);
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let none = Host::new().both(|s| s.system.softnet = absent("softnet_stat"));
        assert_eq!(unknowns(&LIMIT, &none), ["softnet_stat"]);
        let ns = none.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns), None);
        // Without the knob the drops are proven all the same; there is only no number to raise.
        let container = dropped([(5, 0), (0, 0)]).both(|s| s.system.netdev_max_backlog = absent("netdev_max_backlog"));
        let finding = the_finding(&LIMIT, &container);
        insta::assert_snapshot!(finding.because, @"nothing else than a full backlog counts as dropped there");
        assert!(finding.remedies.iter().all(|remedy| remedy.knob.is_none()));
    }
}

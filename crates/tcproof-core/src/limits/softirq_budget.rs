//! # softirq-budget
//!
//! ## What it is
//! How much one round of the receive softirq may do before it gives way: `net.core.netdev_budget` packets (300) or
//! `net.core.netdev_budget_usecs` (two ticks: 8000 where HZ is 250, 2000 where it is 1000). What is left waits for the next
//! round, and if they follow each other too fast, for the thread `ksoftirqd`, which shares its CPU with programs. Meanwhile
//! rings and backlogs fill.
//!
//! ## Evidence
//! - A CPU's `time_squeeze` (column 3 of `softnet_stat`) grew by at least 10 a second, **and** packets were lost meanwhile:
//!   at that CPU's backlog, or in a card's ring. Likely, not proven: the loss may have come between the rounds.
//! - Without a loss: `near` when it grew by at least 50 a second and that CPU's `ksoftirqd` ran for more than 80 % of the
//!   window.
//! - A squeeze alone is no loss: a host under load has them all the time.
//!
//! Causes: `squeezed`.
//!
//! ## See it yourself
//! - `cat /proc/net/softnet_stat`: hexadecimal, column 3; `top` for `ksoftirqd/N`
//! - `sysctl net.core.netdev_budget net.core.netdev_budget_usecs`; `ip -s -s link show` for `missed`
//! - `perf trace -a -e napi:napi_poll sleep 5` shows work and budget of each poll
//!
//! ## Look-alikes
//! - `softnet-backlog`: the backlog overflows, and hardly a round was cut short: a larger budget changes nothing.
//! - `nic-ring`: the ring overflows between two interrupts, no round is cut short.
//! - `softirq-cpu`: one CPU has no time left at all: it needs others, not longer rounds.
//!
//! ## Remedy
//! Spread the interrupts first: a longer round makes programs on that CPU wait. Then twice the budget and twice its time,
//! the two together; stop when squeezes no longer become fewer.
//!
//! ## References
//! Documentation/admin-guide/sysctl/net.rst; net/core/dev.c `net_rx_action`; kernel/softirq.c `MAX_SOFTIRQ_TIME`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, nic_ring, no_owners, percent, softnet_cpus, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::path::devices;
use crate::reading::{Absent, Reading};

/// The budget of the receive softirq.
pub(super) static LIMIT: Limit = Limit {
    slug: "softirq-budget",
    title: "receive softirq budget",
    causes: &[("squeezed", "rounds of the receive softirq end with work left, and packets are lost meanwhile")],
    reads: &["softnet_stat time_squeeze", "softnet_stat dropped", "rx_missed_errors", "CPU time of ksoftirqd"],
    look_alikes: &["nic-ring", "softirq-cpu", "softnet-backlog"],
    knobs: &["net.core.netdev_budget", "net.core.netdev_budget_usecs"],
    scenarios: &[],
    source: include_str!("softirq_budget.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// Squeezes a second from which on they are the rule.
const SUSTAINED: f64 = 10.0;
/// Squeezes a second from which on, with a busy `ksoftirqd`, the next burst is lost.
const CONSTANT: f64 = 50.0;
/// Share of the window that such a `ksoftirqd` runs.
const BUSY: f64 = 0.8;
/// Longer rounds than this (four times the default) only make programs wait.
const LARGEST_BUDGET: u64 = 1_200;
const LONGEST_USECS: u64 = 32_000;

/// Squeezes are a rate, and no rate is too high by itself.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

/// A CPU whose rounds are cut short.
struct Squeezed {
    cpu: u32,
    squeezed: u64,
    dropped: u64,
    rate: f64,
}

fn squeezed(interval: &Interval) -> Result<Vec<Squeezed>, Absent> {
    let seconds = interval.seconds();
    let cpus = softnet_cpus(interval)?.into_iter().filter_map(|(_, change)| change.ok().ok());
    let rates = cpus.map(|change| Squeezed {
        cpu: change.cpu,
        squeezed: change.squeezed,
        // The flow limit drops whatever the budget.
        dropped: change.dropped.saturating_sub(change.flow_limit),
        rate: if seconds > 0.0 { change.squeezed as f64 / seconds } else { 0.0 },
    });
    Ok(rates.filter(|cpu| cpu.rate >= SUSTAINED).collect())
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    let cpus = match squeezed(interval) {
        Ok(cpus) => cpus,
        Err(why) => {
            detected.unknown.extend(unknown(&LIMIT, None, "softnet_stat", &why));
            return detected;
        }
    };
    // One reading tells of no CPU whether it is squeezed.
    let unread = softnet_cpus(interval)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(cpu, change)| Some((cpu, change.ok().err()?)));
    detected
        .unknown
        .extend(unread.filter_map(|(cpu, why)| unknown(&LIMIT, None, &format!("softnet_stat of CPU {cpu}"), &why)));
    let missed = nic_ring::missed(interval);
    // A card does not say whose round came too late: the one that was cut short most stands for all.
    let worst = cpus.iter().max_by(|a, b| a.rate.total_cmp(&b.rate)).map(|cpu| cpu.cpu);
    for cpu in cpus {
        let lost = match (cpu.dropped, missed) {
            (dropped @ 1.., _) => Some((dropped, format!("{dropped} packets dropped at its backlog"))),
            (0, missed @ 1..) if worst == Some(cpu.cpu) => {
                Some((missed, format!("{missed} packets missed by network cards")))
            }
            (0, _) => None,
        };
        if let Some((hurt, lost)) = lost {
            detected.findings.push(finding(interval, &cpu, State::Limiting, hurt, &lost));
            continue;
        }
        match ksoftirqd(interval, cpu.cpu) {
            Ok(share) if share > BUSY && cpu.rate >= CONSTANT => {
                let busy = format!("ksoftirqd/{} ran for {} % of the time; nothing lost yet", cpu.cpu, percent(share));
                detected.findings.push(finding(interval, &cpu, State::Near, 0, &busy));
            }
            Ok(_) => {}
            Err(why) if cpu.rate >= CONSTANT => {
                detected.unknown.extend(unknown(&LIMIT, None, &format!("CPU time of ksoftirqd/{}", cpu.cpu), &why));
            }
            Err(_) => {}
        }
    }
    detected
}

/// The share of the window that a CPU's `ksoftirqd` ran.
fn ksoftirqd(interval: &Interval, cpu: u32) -> Result<f64, Absent> {
    let time = |end: &crate::snapshot::Snapshot| {
        let times = end.system.path.ksoftirqd.as_ref().ok()?;
        times.get(&cpu).copied().ok_or_else(|| Absent::Gone { what: format!("ksoftirqd/{cpu}") })
    };
    let grew = time(&interval.after)?.saturating_sub(time(&interval.before)?).as_secs_f64();
    Ok(if interval.seconds() > 0.0 { grew / interval.seconds() } else { 0.0 })
}

fn finding(interval: &Interval, cpu: &Squeezed, state: State, hurt: u64, consequence: &str) -> Finding {
    let seconds = interval.seconds();
    let Squeezed { cpu, squeezed, dropped, rate } = *cpu;
    let system = &interval.after.system.path;
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: "squeezed".into(),
        confidence: Confidence::Likely,
        subject: Subject::Cpu { cpu },
        summary: format!(
            "{squeezed} rounds of CPU {cpu} ended with work left in {seconds:.1} s ({rate:.0}/s); {consequence}"
        ),
        because: "its rounds were cut short all the time, and what is left waits for the next one".into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt,
    }
    .changed(format!("softnet_stat time_squeeze of CPU {cpu}"), squeezed as f64, "rounds", seconds)
    .changed(format!("softnet_stat dropped of CPU {cpu}"), dropped as f64, "packets", seconds)
    .changed("rx_missed_errors of all cards", nic_ring::missed(interval) as f64, "packets", seconds);
    match system.netdev_budget.value() {
        Some(budget) => finding.standing("net.core.netdev_budget", *budget as f64, "packets"),
        None => finding,
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Subject::Cpu { cpu } = finding.subject else { return vec![] };
    let verify = format!("time_squeeze of CPU {cpu} grows more slowly, and nothing is dropped");
    let cards = devices(interval).into_iter().filter(|device| device.link.is_card());
    let first = match cards.max_by_key(|card| card.packets()) {
        Some(card) => nic_ring::spread(&card, interval),
        None => Remedy::new(
            Level::Service,
            format!("spread the packets over more CPUs than CPU {cpu}: rps_cpus of the receiving device"),
        )
        .cost("one flow stays on one CPU all the same"),
    };
    let system = &interval.after.system.path;
    let mut remedies = vec![first.verify(&verify)];
    let knobs = [
        ("net.core.netdev_budget", &system.netdev_budget, LARGEST_BUDGET, "twice the packets of a round"),
        (
            "net.core.netdev_budget_usecs",
            &system.netdev_budget_usecs,
            LONGEST_USECS,
            "and twice its time, together with them",
        ),
    ];
    for (knob, now, most, text) in knobs {
        let Reading::Present(now) = now else { continue };
        let to = now.saturating_mul(2).min(most);
        if to > *now {
            let remedy = Remedy::knob(text, knob, format!("{now}"), format!("{to}"));
            remedies.push(
                remedy
                    .formula(format!("2 × {now}, at most {most}"))
                    .cost("programs on a CPU that receives wait up to twice as long")
                    .verify(&verify),
            );
        }
    }
    remedies
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let interval = ns.interval();
    let cpus = softnet_cpus(interval).ok()?;
    let all: Option<Vec<_>> = cpus.into_iter().map(|(_, change)| change.ok().ok()).collect();
    let most = all?.into_iter().map(|change| change.squeezed).max()?;
    let rate = if interval.seconds() > 0.0 { most as f64 / interval.seconds() } else { 0.0 };
    (rate < SUSTAINED).then(|| match most {
        0 => "no round of the receive softirq was cut short".into(),
        _ => format!("at most {rate:.1} rounds/s of a CPU were cut short"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, remedies, the_finding, unknowns};
    use super::*;
    use crate::snapshot::{Link, LinkStats};
    use core::time::Duration;

    /// CPU 0 is squeezed so many times in the 5 s.
    fn host(squeezes: u32) -> Host {
        let host = Host::new().both(|s| {
            s.system.path.netdev_budget = Reading::Present(300);
            s.system.path.netdev_budget_usecs = Reading::Present(8_000);
        });
        host.cpus(&[(0.6, 2_000_000), (0.3, 900_000)]).softnet_after(0, |row| row.time_squeeze = squeezes)
    }

    fn ksoftirqd_ran(host: Host, seconds: f64) -> Host {
        host.after(|s| {
            if let Reading::Present(times) = &mut s.system.path.ksoftirqd {
                times.insert(0, Duration::from_secs_f64(1.0 + seconds));
            }
        })
    }

    #[test]
    fn squeezes_with_drops_at_the_same_cpu_are_limiting() {
        let finding = the_finding(&LIMIT, &host(500).softnet_after(0, |row| row.dropped = 70));
        assert_eq!((finding.state, finding.confidence, finding.hurt), (State::Limiting, Confidence::Likely, 70));
        insta::assert_snapshot!(finding.summary, @"500 rounds of CPU 0 ended with work left in 5.0 s (100/s); 70 packets dropped at its backlog");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: spread the packets over more CPUs than CPU 0: rps_cpus of the receiving device
        2. Kernel: twice the packets of a round [net.core.netdev_budget 300 → 600]
        3. Kernel: and twice its time, together with them [net.core.netdev_budget_usecs 8000 → 16000]
        ");
    }

    #[test]
    fn squeezes_with_a_ring_that_missed_packets_are_limiting() {
        let link = Link { index: 2, stats: Reading::Present(LinkStats::default()), ..Link::default() };
        let missing = host(500).link("eth0", link).link_after("eth0", |link| {
            link.stats = Reading::Present(LinkStats { rx_missed_errors: 9, ..LinkStats::default() });
        });
        let finding = the_finding(&LIMIT, &missing);
        assert_eq!((finding.state, finding.hurt), (State::Limiting, 9));
        assert!(finding.remedies[0].text.contains("eth0"));
        // The card does not say whose round was too short: one finding, not one for each CPU.
        let both = missing.softnet_after(1, |row| row.time_squeeze = 400);
        assert_eq!(the_finding(&LIMIT, &both).subject, Subject::Cpu { cpu: 0 });
    }

    #[test]
    fn a_busy_ksoftirqd_is_near_and_a_squeeze_alone_is_nothing() {
        let finding = the_finding(&LIMIT, &ksoftirqd_ran(host(500), 4.5));
        assert_eq!(finding.state, State::Near);
        insta::assert_snapshot!(finding.summary, @"500 rounds of CPU 0 ended with work left in 5.0 s (100/s); ksoftirqd/0 ran for 90 % of the time; nothing lost yet");
        assert_clear(&LIMIT, &host(500));
        assert_clear(&LIMIT, &host(500_000));
        assert_clear(&LIMIT, &ksoftirqd_ran(host(500), 2.0));
        assert_clear(&LIMIT, &ksoftirqd_ran(host(100), 5.0));
    }

    #[test]
    fn silent_on_a_full_backlog_a_full_ring_and_a_busy_cpu_without_squeezes() {
        // Recorded on 5.10: 23 889 drops, one squeeze.
        let backlog = host(1).softnet_after(0, |row| row.dropped = 23_889);
        assert_clear(&LIMIT, &backlog);
        // Another CPU's drops, and those of the flow limit.
        assert_clear(&LIMIT, &host(500).softnet_after(1, |row| row.dropped = 9));
        assert_clear(&LIMIT, &host(500).softnet_after(0, |row| (row.dropped, row.flow_limit) = (9, 9)));
        assert_clear(&LIMIT, &Host::new().cpus(&[(0.95, 2_000_000), (0.0, 0)]));
        let says = |host: &Host| (LIMIT.ruled_out)(&host.interval().namespaces().next().unwrap());
        assert_eq!(says(&backlog).as_deref(), Some("at most 0.2 rounds/s of a CPU were cut short"));
        assert_eq!(says(&host(0)).as_deref(), Some("no round of the receive softirq was cut short"));
        assert_eq!(says(&host(500)), None);
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let none = host(500).both(|s| s.system.softnet = absent("softnet_stat"));
        assert_eq!(unknowns(&LIMIT, &none), ["softnet_stat"]);
        let thread = host(500).both(|s| s.system.path.ksoftirqd = absent("ksoftirqd"));
        assert_eq!(unknowns(&LIMIT, &thread), ["CPU time of ksoftirqd/0"]);
        assert_clear(&LIMIT, &host(10).both(|s| s.system.path.ksoftirqd = absent("ksoftirqd")));
        // A container sees no global knobs: the loss is the same, there is only no number to raise.
        let container = host(500).softnet_after(0, |row| row.dropped = 70);
        let container = container.both(|s| {
            s.system.path.netdev_budget = absent("netdev_budget");
            s.system.path.netdev_budget_usecs = absent("netdev_budget_usecs");
        });
        assert!(the_finding(&LIMIT, &container).remedies.iter().all(|remedy| remedy.knob.is_none()));
    }
}

//! The devices, their queues and interrupts over the window.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Link, LinkStats, Qdisc};

/// A device that was there at both ends, or at the end.
#[derive(Clone, Debug)]
pub struct DeviceChange<'a> {
    /// Its namespace's name.
    pub netns: &'a str,
    /// Its own.
    pub name: &'a str,
    /// As it is at the end.
    pub link: &'a Link,
    /// By how much its counters grew.
    pub stats: Reading<LinkStats>,
    /// By how much its queue's counters grew. `qlen` and `backlog` are those of the end.
    pub qdisc: Reading<QdiscChange<'a>>,
    interval: &'a Interval,
}

/// A device's queue over the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QdiscChange<'a> {
    /// As it is at the end.
    pub qdisc: &'a Qdisc,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Packets put back because the device was busy.
    pub requeues: u64,
    /// Times that a rate was exceeded.
    pub overlimits: u64,
}

/// One interrupt of a device over the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IrqChange {
    /// Its number.
    pub irq: u32,
    /// Who asked for it, the last word of its line.
    pub name: String,
    /// How often it came, by CPU.
    pub by_cpu: BTreeMap<u32, u64>,
}

/// The devices of all namespaces; what can't be read is absent for each.
pub fn devices(interval: &Interval) -> Vec<DeviceChange<'_>> {
    interval.namespaces().flat_map(|ns| of_namespace(interval, ns)).collect()
}

fn of_namespace<'a>(interval: &'a Interval, ns: NetnsChange<'a>) -> impl Iterator<Item = DeviceChange<'a>> {
    let links = ns.after.links.value().into_iter().flatten();
    let before = ns.before.links.value();
    links.map(move |(name, link)| {
        // A device of the same name with another index is another device.
        let before = before.and_then(|before| before.get(name)).filter(|before| before.index == link.index);
        let (stats, qdisc) = match before {
            Some(before) => (stats_growth(interval, name, before, link), qdisc_growth(interval, name, before, link)),
            None => (Err(Absent::OneReading), Err(Absent::OneReading)),
        };
        DeviceChange { netns: ns.name(), name, link, stats: stats.into(), qdisc: qdisc.into(), interval }
    })
}

fn stats_growth(interval: &Interval, device: &str, before: &Link, after: &Link) -> Result<LinkStats, Absent> {
    let (before, after) = (before.stats.as_ref().ok()?, after.stats.as_ref().ok()?);
    let grew = |name: &str, of: fn(&LinkStats) -> u64| {
        let what = format!("{name} of {device}");
        interval.growth(&what, Reading::Present(of(before)), Reading::Present(of(after))).ok()
    };
    Ok(LinkStats {
        rx_packets: grew("rx_packets", |s| s.rx_packets)?,
        tx_packets: grew("tx_packets", |s| s.tx_packets)?,
        rx_bytes: grew("rx_bytes", |s| s.rx_bytes)?,
        tx_bytes: grew("tx_bytes", |s| s.tx_bytes)?,
        rx_errors: grew("rx_errors", |s| s.rx_errors)?,
        tx_errors: grew("tx_errors", |s| s.tx_errors)?,
        rx_dropped: grew("rx_dropped", |s| s.rx_dropped)?,
        tx_dropped: grew("tx_dropped", |s| s.tx_dropped)?,
        rx_over_errors: grew("rx_over_errors", |s| s.rx_over_errors)?,
        rx_fifo_errors: grew("rx_fifo_errors", |s| s.rx_fifo_errors)?,
        rx_missed_errors: grew("rx_missed_errors", |s| s.rx_missed_errors)?,
        tx_fifo_errors: grew("tx_fifo_errors", |s| s.tx_fifo_errors)?,
        rx_nohandler: grew("rx_nohandler", |s| s.rx_nohandler)?,
    })
}

fn qdisc_growth<'a>(
    interval: &Interval,
    device: &str,
    before: &Link,
    after: &'a Link,
) -> Result<QdiscChange<'a>, Absent> {
    let (before, qdisc) = (before.qdisc.as_ref().ok()?, after.qdisc.as_ref().ok()?);
    let name = format!("the queue of {device}");
    if before.kind != qdisc.kind {
        return Err(Absent::Restarted { what: name });
    }
    let grew = |of: fn(&Qdisc) -> u32| interval.growth32(&name, of(before), of(qdisc)).ok();
    Ok(QdiscChange {
        qdisc,
        packets: interval.growth(&name, Reading::Present(before.packets), Reading::Present(qdisc.packets)).ok()?,
        drops: grew(|q| q.drops)?,
        requeues: grew(|q| q.requeues)?,
        overlimits: grew(|q| q.overlimits)?,
    })
}

impl DeviceChange<'_> {
    /// "eth0 of host".
    pub fn place(&self) -> String {
        format!("{} of {}", self.name, self.netns)
    }

    /// Packets that went through it, or tried to.
    pub fn packets(&self) -> u64 {
        self.stats.value().map_or(0, |stats| stats.rx_packets.saturating_add(stats.tx_packets))
    }

    /// Packets that its ring did not take: the largest of the counters, since drivers count one loss in several.
    pub fn missed(&self) -> Reading<u64> {
        let most = |s: &LinkStats| s.rx_missed_errors.max(s.rx_fifo_errors).max(s.rx_over_errors);
        self.stats.as_ref().map(most)
    }

    /// A card's interrupts: those whose name has the device's name in it, or that of the hardware below.
    pub fn interrupts(&self) -> Reading<Vec<IrqChange>> {
        if !self.link.is_card() {
            return Reading::Present(Vec::new());
        }
        let ends = (&self.interval.before.system.path.interrupts, &self.interval.after.system.path.interrupts);
        let (before, after) = match ends {
            (Reading::Present(before), Reading::Present(after)) => (before, after),
            (Reading::Absent(why), _) | (_, Reading::Absent(why)) => return Reading::Absent(why.clone()),
        };
        let names = [Some(self.name), self.link.parent.as_ref().map(|(_, name)| name.as_str())];
        let ours = |line: &str| names.iter().flatten().any(|name| has_word(line, name));
        let changed = after.iter().filter(|irq| ours(&irq.name)).filter_map(|irq| {
            let start = before.iter().find(|start| start.irq == irq.irq)?;
            let grew = irq.counts.iter().filter_map(|(cpu, count)| {
                let start = start.counts.get(cpu).copied().unwrap_or(0);
                let grew = *self.interval.growth32("an interrupt", start, *count).value()?;
                (grew > 0).then_some((*cpu, grew))
            });
            let name = irq.name.rsplit(' ').next().unwrap_or_default().to_string();
            Some(IrqChange { irq: irq.irq, name, by_cpu: grew.collect() })
        });
        Reading::Present(changed.collect())
    }
}

/// Whether a name stands in a line as a word of its own: `eth1` is not in `eth10-TxRx-0`.
fn has_word(line: &str, name: &str) -> bool {
    let apart = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
    !name.is_empty()
        && line
            .match_indices(name)
            .any(|(at, _)| apart(line[..at].chars().next_back()) && apart(line[at + name.len()..].chars().next()))
}

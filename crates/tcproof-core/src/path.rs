//! The way of a packet through this host, stage by stage: what passed in the window, what was dropped and by whose counter.
//!
//! A stage only counts. Whether a count is too much is for the limits to say.

mod counters;
mod devices;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::interval::Interval;
use crate::limits::{beyond_skew, softnet_cpus};
use crate::reading::{Absent, Reading};
use counters::{APPLICATION, BUFFERS, IP, IP_PASSED, TCP, counted};
pub use devices::{DeviceChange, IrqChange, QdiscChange, devices};

/// One stage over the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its stable name.
    pub stage: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What passed, as the kernel counts it here: packets here and segments there, before or after GRO.
    pub passed: Vec<Count>,
    /// What was dropped; most first.
    pub dropped: Vec<Count>,
    /// What was not lost and did not pass at once either; most first.
    pub delayed: Vec<Count>,
    /// Counters of drops that were read and stood still.
    pub still: usize,
    /// What could not be seen.
    pub unknown: Vec<Missing>,
}

/// A counter that grew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Its name, as the kernel has it.
    pub counter: String,
    /// Whose it is: a namespace, a device, a CPU.
    pub place: String,
    /// By how much.
    pub value: u64,
    /// What it means that it grew.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub means: &'static str,
    /// What to look at or to do, where the counter alone tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    /// The limit that judges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
}

/// Something that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// What.
    pub reading: String,
    /// Why.
    pub because: String,
    /// What would make it visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_need: Option<String>,
}

/// The stages, in the order in which a packet meets them.
pub fn stages(interval: &Interval) -> Vec<Stage> {
    let devices = devices(interval);
    let mut stages = [
        ring(interval, &devices),
        softirq(interval),
        backlog(interval, &devices),
        queues(interval, &devices),
        counted(interval, "ip", "IP: routing, rp_filter, fragments", IP_PASSED, IP),
        netfilter(interval),
        tcp(interval),
        counted(interval, "socket-buffers", "socket buffers", &[], BUFFERS),
        application(interval),
    ];
    for stage in &mut stages {
        let most_first = |counts: &mut Vec<Count>| {
            counts.sort_by(|a, b| {
                b.value.cmp(&a.value).then_with(|| (&a.counter, &a.place).cmp(&(&b.counter, &b.place)))
            });
        };
        most_first(&mut stage.dropped);
        most_first(&mut stage.delayed);
        stage.unknown.sort();
        stage.unknown.dedup();
    }
    stages.into()
}

impl Stage {
    fn new(stage: &'static str, title: &'static str) -> Self {
        let none = Vec::new;
        Self { stage, title, passed: none(), dropped: none(), delayed: none(), still: 0, unknown: Vec::new() }
    }

    /// All that was dropped here.
    pub fn lost(&self) -> u64 {
        self.dropped.iter().fold(0, |sum, count| sum.saturating_add(count.value))
    }

    fn missing(&mut self, reading: impl Into<String>, why: &Absent) {
        if !why.is_not_needed() {
            let would_need = why.would_need().map(ToString::to_string);
            self.unknown.push(Missing { reading: reading.into(), because: why.to_string(), would_need });
        }
    }

    fn blind(&mut self, reading: &str, because: &str) {
        self.unknown.push(Missing { reading: reading.into(), because: because.into(), would_need: None });
    }

    /// A counter of drops, which may have stood still.
    fn drops(&mut self, count: Count) {
        if count.value == 0 {
            self.still += 1;
        } else {
            self.dropped.push(count);
        }
    }

    fn delays(&mut self, count: Count) {
        if count.value > 0 {
            self.delayed.push(count);
        }
    }

    fn passes(&mut self, counter: &str, place: &str, value: u64) {
        match self.passed.iter_mut().find(|count| count.counter == counter && count.place == place) {
            Some(count) => count.value = count.value.saturating_add(value),
            None => self.passed.push(Count::new(counter, place, value, "")),
        }
    }
}

impl Count {
    fn new(counter: impl Into<String>, place: impl Into<String>, value: u64, means: &'static str) -> Self {
        Self { counter: counter.into(), place: place.into(), value, means, advice: None, limit: None }
    }

    fn limit(self, slug: &'static str) -> Self {
        Self { limit: Some(slug), ..self }
    }

    fn advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }
}

/// The links of each namespace that could not be read.
fn unread_links(interval: &Interval, stage: &mut Stage) {
    for ns in interval.namespaces() {
        if let Some(why) = ns.before.links.absent().or(ns.after.links.absent()) {
            stage.missing(format!("devices of {}", ns.name()), why);
        }
    }
}

fn ring(interval: &Interval, devices: &[DeviceChange<'_>]) -> Stage {
    let mut stage = Stage::new("nic-ring", "NIC ring");
    unread_links(interval, &mut stage);
    let cards: Vec<_> = devices.iter().filter(|device| device.link.is_card()).collect();
    for device in &cards {
        let place = device.place();
        let stats = match &device.stats {
            Reading::Present(stats) => stats,
            Reading::Absent(why) => {
                stage.missing(format!("statistics of {place}"), why);
                continue;
            }
        };
        stage.passes("rx_packets", &place, stats.rx_packets);
        for (counter, value) in [
            ("rx_missed_errors", stats.rx_missed_errors),
            ("rx_fifo_errors", stats.rx_fifo_errors),
            ("rx_over_errors", stats.rx_over_errors),
        ] {
            stage.drops(Count::new(counter, &place, value, "the ring was full").limit("nic-ring"));
        }
        // Drivers sum up in rx_errors what they also count as overruns: only the rest is broken packets.
        let broken = stats.rx_errors.saturating_sub(device.missed().value().copied().unwrap_or(0));
        stage.drops(
            Count::new("rx_errors", &place, broken, "broken packets, by the wire or the card")
                .advice("ethtool -S DEV names the error; look at cable, optics, duplex"),
        );
        if let Some(bus) = device.link.hypervisor().filter(|_| stats.rx_packets > 0) {
            stage.blind(
                &format!("what was lost before {place}"),
                &format!("its ring is filled by a hypervisor ({bus}), which keeps its own count"),
            );
        }
    }
    if cards.is_empty() && stage.unknown.is_empty() {
        stage.blind("rings", "no network card is in these namespaces");
    }
    stage
}

fn softirq(interval: &Interval) -> Stage {
    let mut stage = Stage::new("softirq", "softirq and NAPI");
    match (&interval.before.system.path.softirqs, &interval.after.system.path.softirqs) {
        (Reading::Present(before), Reading::Present(after)) => {
            for cpu in after {
                let Some(start) = before.iter().find(|start| start.cpu == cpu.cpu) else { continue };
                match interval.growth32("NET_RX", start.net_rx, cpu.net_rx) {
                    Reading::Present(0) => {}
                    Reading::Present(grew) => stage.passes("NET_RX", &format!("CPU {}", cpu.cpu), grew),
                    Reading::Absent(why) => stage.missing("NET_RX of /proc/softirqs", &why),
                }
            }
        }
        (Reading::Absent(why), _) | (_, Reading::Absent(why)) => stage.missing("/proc/softirqs", why),
    }
    match softnet_cpus(interval) {
        Ok(cpus) => {
            for (cpu, change) in &cpus {
                match change {
                    Reading::Present(change) => stage.delays(
                        Count::new(
                            "time_squeeze",
                            format!("CPU {cpu}"),
                            change.squeezed,
                            "a round ended with work left",
                        )
                        .limit("softirq-budget"),
                    ),
                    Reading::Absent(why) => stage.missing(format!("softnet_stat of CPU {cpu}"), why),
                }
            }
        }
        Err(why) => stage.missing("softnet_stat", &why),
    }
    stage
}

fn backlog(interval: &Interval, devices: &[DeviceChange<'_>]) -> Stage {
    let mut stage = Stage::new("softnet-backlog", "softnet backlog (veth, tunnels, RPS)");
    let cpus = match softnet_cpus(interval) {
        Ok(cpus) => cpus,
        Err(why) => {
            stage.missing("softnet_stat", &why);
            return stage;
        }
    };
    let mut total = 0_u64;
    for (cpu, change) in &cpus {
        let place = format!("CPU {cpu}");
        match change {
            Reading::Present(change) => {
                stage.passes("softnet_stat processed", &place, change.processed);
                let full = change.dropped.saturating_sub(change.flow_limit);
                let drops = |name: &str, value, means| Count::new(name, &place, value, means).limit("softnet-backlog");
                stage.drops(drops("softnet_stat dropped", full, "the CPU's backlog was full"));
                stage.drops(drops("softnet_stat flow_limit", change.flow_limit, "one flow filled half of the backlog"));
                total = total.saturating_add(change.dropped);
            }
            Reading::Absent(why) => stage.missing(format!("softnet_stat of {place}"), why),
        }
    }
    // Devices count the same drops as rx_dropped, and besides what their driver had no buffer for or nobody wanted.
    let dropped = |device: &&DeviceChange<'_>| device.stats.value().map_or(0, |stats| stats.rx_dropped);
    let lossy: Vec<_> = devices.iter().filter(|device| dropped(device) > 0).collect();
    let rest = lossy.iter().map(dropped).fold(0, u64::saturating_add).saturating_sub(total);
    if beyond_skew(rest, total) {
        let places: Vec<_> = lossy.iter().take(3).map(|device| device.place()).collect();
        stage.drops(
            Count::new(
                "rx_dropped beyond softnet_stat",
                places.join(", "),
                rest,
                "no buffer in the driver, or packets that nobody wanted (protocol, VLAN)",
            )
            .advice("perf record -a -e skb:kfree_skb; ethtool -S DEV where the driver counts more"),
        );
    }
    stage
}

fn queues(interval: &Interval, devices: &[DeviceChange<'_>]) -> Stage {
    let mut stage = Stage::new("qdisc", "egress queue (qdisc) and device");
    unread_links(interval, &mut stage);
    for device in devices {
        let place = device.place();
        match &device.qdisc {
            Reading::Present(change) => {
                let name = |what: &str| format!("{} {what}", change.qdisc.kind);
                stage.passes("qdisc packets", &place, change.packets);
                stage.drops(
                    Count::new(name("drops"), &place, change.drops, "the queue in front of the device was full")
                        .limit("loss")
                        .advice("tc -s qdisc show dev DEV; a shaper or a slow link drops here by design"),
                );
                stage.delays(Count::new(name("requeues"), &place, change.requeues, "the device was busy"));
                stage.delays(Count::new(name("overlimits"), &place, change.overlimits, "held back by a rate"));
            }
            // No packet was sent, or no rate is known, since it came.
            Reading::Absent(Absent::OneReading) if !interval.window().is_zero() => {}
            Reading::Absent(why) => stage.missing(format!("queue of {place}"), why),
        }
        if let Reading::Present(stats) = &device.stats {
            stage.drops(Count::new(
                "tx_dropped",
                &place,
                stats.tx_dropped,
                "the device did not take it (veth: the other end)",
            ));
            stage.drops(Count::new("tx_errors", &place, stats.tx_errors, "the device could not send it"));
        }
    }
    // Devices without a queue have nothing to say here.
    stage.passed.retain(|count| count.value > 0);
    stage
}

fn tcp(interval: &Interval) -> Stage {
    let mut stage = counted(interval, "tcp", "TCP", &["Tcp.InSegs", "Tcp.OutSegs"], TCP);
    for ns in interval.namespaces() {
        // ListenDrops counts the full accept queues too; those are the application's stage.
        let (all, overflows) = (ns.counter("TcpExt.ListenDrops"), ns.counter("TcpExt.ListenOverflows"));
        if let (Reading::Present(all), Reading::Present(overflows)) = (all, overflows) {
            let rest = all.saturating_sub(overflows);
            let means = "SYNs and last ACKs turned away, not for a full accept queue";
            let count = Count::new("TcpExt.ListenDrops beyond ListenOverflows", ns.name(), rest, means);
            stage.drops(count.limit("syn-queue"));
        }
    }
    stage
}

fn netfilter(interval: &Interval) -> Stage {
    let mut stage = Stage::new("netfilter", "netfilter and connection tracking");
    for ns in interval.namespaces() {
        let conntrack = &ns.after.conntrack;
        match conntrack.stat.absent() {
            // Not loaded, or not used here.
            Some(Absent::NotInKernel { .. }) => continue,
            Some(_) if conntrack.count.value() == Some(&0) => continue,
            Some(why) => {
                stage.missing(format!("conntrack statistics of {}", ns.name()), why);
                continue;
            }
            None => {}
        }
        let full = "the table was full";
        for (field, means, limit) in [
            ("drop", full, Some("conntrack-table")),
            ("insert_failed", "another packet of the same tuple was first", None),
            ("chaintoolong", "a hash chain was too long", Some("conntrack-table")),
        ] {
            match ns.conntrack(field) {
                Reading::Present(grew) => {
                    let count = Count::new(format!("nf_conntrack {field}"), ns.name(), grew, means);
                    stage.drops(Count { limit, ..count });
                }
                Reading::Absent(Absent::NotInKernel { .. }) => {}
                Reading::Absent(why) => stage.missing(format!("conntrack statistics of {}", ns.name()), &why),
            }
        }
        for (field, means, limit) in [
            ("early_drop", "an unanswered entry gave way to a new one", Some("conntrack-table")),
            ("invalid", "belongs to no connection that is known; rules often drop it", None),
        ] {
            if let Reading::Present(grew) = ns.conntrack(field) {
                stage.delays(Count { limit, ..Count::new(format!("nf_conntrack {field}"), ns.name(), grew, means) });
            }
        }
    }
    stage.blind("drops by rules", "each rule has a counter of its own, if any: nft list ruleset, iptables -vnL");
    stage
}

fn application(interval: &Interval) -> Stage {
    let passed = &["Tcp.PassiveOpens", "Tcp.ActiveOpens"];
    let mut stage = counted(interval, "application", "application: accept and read", passed, APPLICATION);
    for ns in interval.namespaces() {
        match &ns.after.listeners {
            Reading::Absent(why) => stage.missing(format!("listeners of {}", ns.name()), why),
            Reading::Present(_) => {
                for watch in ns.listeners().filter(|watch| watch.full > 0) {
                    let name = format!("looks that saw {} full, of {}", watch.last.local, watch.looks);
                    let means = "the application accepts too slowly, or its backlog is short";
                    stage.delays(Count::new(name, ns.name(), watch.full.into(), means).limit("accept-queue"));
                }
            }
        }
    }
    stage
}

#[cfg(test)]
mod tests;

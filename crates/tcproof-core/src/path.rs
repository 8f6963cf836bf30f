//! The way of a packet through this host, stage by stage: what passed in the window, what was dropped and by whose counter.
//!
//! A stage only counts. Whether a count is too much is for the limits to say.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::interval::{Interval, NetnsChange};
use crate::limits::{beyond_skew, softnet_cpus};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Link, LinkStats, Qdisc};

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

/// A counter of a namespace and what its growth means.
struct Known {
    counter: &'static str,
    means: &'static str,
    limit: Option<&'static str>,
    advice: Option<&'static str>,
    /// Whether the packet was lost.
    lost: bool,
}

const fn lost(counter: &'static str, means: &'static str) -> Known {
    Known { counter, means, limit: None, advice: None, lost: true }
}

const fn late(counter: &'static str, means: &'static str) -> Known {
    Known { lost: false, ..lost(counter, means) }
}

impl Known {
    const fn limit(self, slug: &'static str) -> Self {
        Self { limit: Some(slug), ..self }
    }

    const fn advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    fn count(&self, place: &str, value: u64) -> Count {
        let Self { counter, means, limit, advice, .. } = *self;
        Count { counter: counter.into(), place: place.into(), value, means, advice, limit }
    }
}

const NO_ROUTE: &str = "ip route get ADDRESS shows what the routing table makes of it";

const IP_PASSED: &[&str] =
    &["Ip.InReceives", "Ip.InDelivers", "Ip.OutRequests", "Ip6.InReceives", "Ip6.InDelivers", "Ip6.OutRequests"];

const IP: &[Known] = &[
    lost("Ip.InHdrErrors", "a bad header, or its time to live ran out"),
    lost("Ip.InAddrErrors", "not for this host, and not to be forwarded"),
    lost("Ip.InUnknownProtos", "a protocol that nobody here speaks"),
    lost("Ip.InDiscards", "received well and dropped all the same, mostly for want of memory"),
    lost("Ip.OutDiscards", "to be sent and dropped: no memory, or no neighbour's address"),
    lost("Ip.OutNoRoutes", "no route to where it should go").advice(NO_ROUTE),
    lost("Ip.ReasmFails", "fragments that did not become a packet: one was lost, or there was no room")
        .advice("a smaller MTU or MSS at the sender needs no fragments"),
    lost("Ip.FragFails", "too big for the next link, and not to be fragmented").limit("path-mtu"),
    lost("IpExt.InNoRoutes", "received, and no route for it").advice(NO_ROUTE),
    lost("IpExt.InTruncatedPkts", "shorter than its header says"),
    lost("IpExt.InCsumErrors", "a wrong checksum"),
    lost("TcpExt.IPReversePathFilter", "came in where the answer would not leave (rp_filter)").advice(
        "ip route get SOURCE names the device of the way back; where routes are asymmetric, rp_filter 2 (loose)",
    ),
    lost("Ip6.InHdrErrors", "a bad header, or its hop limit ran out"),
    lost("Ip6.InTooBigErrors", "too big for the next link").limit("path-mtu"),
    lost("Ip6.InNoRoutes", "received, and no route for it").advice(NO_ROUTE),
    lost("Ip6.InAddrErrors", "not for this host, and not to be forwarded"),
    lost("Ip6.InUnknownProtos", "a protocol that nobody here speaks"),
    lost("Ip6.InTruncatedPkts", "shorter than its header says"),
    lost("Ip6.InDiscards", "received well and dropped all the same, mostly for want of memory"),
    lost("Ip6.OutDiscards", "to be sent and dropped: no memory, or no neighbour's address"),
    lost("Ip6.OutNoRoutes", "no route to where it should go").advice(NO_ROUTE),
    lost("Ip6.ReasmFails", "fragments that did not become a packet: one was lost, or there was no room"),
    lost("Ip6.FragFails", "too big for the next link").limit("path-mtu"),
];

const TCP: &[Known] = &[
    lost("Tcp.InErrs", "a wrong checksum, or too short"),
    lost("TcpExt.TCPBacklogDrop", "the socket was busy and its backlog full").limit("socket-backlog"),
    lost("TcpExt.PAWSEstab", "an old timestamp on an open connection").limit("timestamps"),
    lost("TcpExt.PAWSActive", "an old timestamp in the answer to a SYN").limit("timestamps"),
    lost("TcpExt.PAWSTimewait", "an old timestamp to a connection in TIME_WAIT").limit("timestamps"),
    lost("TcpExt.PAWSOldAck", "an acknowledgement with an old timestamp").limit("timestamps"),
    lost("TcpExt.TCPMinTTLDrop", "a time to live below the socket's IP_MINTTL"),
    lost("TcpExt.PFMemallocDrop", "memory was short, and the socket does not help to free any"),
    lost("TcpExt.TCPMD5NotFound", "no MD5 signature where one is expected"),
    lost("TcpExt.TCPMD5Unexpected", "an MD5 signature where none is expected"),
    lost("TcpExt.TCPMD5Failure", "a wrong MD5 signature"),
    lost("TcpExt.TCPAOBad", "a wrong authentication option"),
    lost("TcpExt.TCPAORequired", "no authentication option where one is expected"),
    late("TcpExt.TCPDeferAcceptDrop", "a last ACK without data, for which TCP_DEFER_ACCEPT waits; no harm"),
    late("Tcp.RetransSegs", "segments sent again: lost on the way, or before it, or only late").limit("loss"),
    late("TcpExt.SyncookiesSent", "SYNs answered with a cookie").limit("syn-queue"),
];

const BUFFERS: &[Known] = &[
    lost("TcpExt.TCPRcvQDrop", "no room in the receive queue"),
    lost("TcpExt.TCPZeroWindowDrop", "sent into a window of zero"),
    lost("TcpExt.TCPOFODrop", "out of order, and no room to keep it"),
    late("TcpExt.RcvPruned", "the buffer was full even after tidying up"),
    late("TcpExt.OfoPruned", "out-of-order segments given up to make room").limit("tcp-memory"),
    late("TcpExt.PruneCalled", "the buffer was tidied up for want of room"),
    late("TcpExt.TCPRcvCollapsed", "segments packed closer for want of room"),
    late("TcpExt.TCPMemoryPressures", "TCP's memory became scarce").limit("tcp-memory"),
    late("TcpExt.TCPWqueueTooBig", "a send queue grew beyond its limit"),
];

/// The counters of every namespace. A counter that a kernel does not have is no news; a file that can't be read is.
fn counted(interval: &Interval, name: &'static str, title: &'static str, passed: &[&str], known: &[Known]) -> Stage {
    let mut stage = Stage::new(name, title);
    for ns in interval.namespaces() {
        for counter in passed {
            if let Reading::Present(grew @ 1..) = ns.counter(counter) {
                stage.passes(counter, ns.name(), grew);
            }
        }
        for known in known {
            add(&mut stage, &ns, known);
        }
    }
    stage
}

fn add(stage: &mut Stage, ns: &NetnsChange<'_>, known: &Known) {
    match ns.counter(known.counter) {
        Reading::Present(grew) if known.lost => stage.drops(known.count(ns.name(), grew)),
        Reading::Present(grew) => stage.delays(known.count(ns.name(), grew)),
        Reading::Absent(Absent::NotInKernel { .. }) => {}
        Reading::Absent(why @ Absent::Restarted { .. }) => stage.missing(known.counter, &why),
        Reading::Absent(why) => stage.missing(format!("counters of {}", ns.name()), &why),
    }
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
    const APPLICATION: &[Known] = &[
        lost("TcpExt.ListenOverflows", "a finished handshake found the accept queue full").limit("accept-queue"),
        late("TcpExt.TCPToZeroWindowAdv", "a window closed because nobody read").limit("receive-window"),
    ];
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
mod tests {
    use super::*;
    use crate::limits::testing::{Host, Listen, no_permission};
    use crate::snapshot::{Interrupt, SoftirqCpu};
    use core::time::Duration;
    use proptest::prelude::*;

    fn stage(host: &Host, name: &str) -> Stage {
        stages(host.interval()).into_iter().find(|stage| stage.stage == name).expect("a stage")
    }

    /// `dropped 7 X (place)` and the like, a line each.
    fn told(stage: &Stage) -> String {
        let kinds = [("passed", &stage.passed), ("dropped", &stage.dropped), ("delayed", &stage.delayed)];
        let counts = kinds.iter().flat_map(|(kind, counts)| {
            counts.iter().map(move |c| format!("{kind} {} {} ({})", c.value, c.counter, c.place))
        });
        let unknown = stage.unknown.iter().map(|one| format!("unknown {}: {}", one.reading, one.because));
        counts.chain(unknown).collect::<Vec<_>>().join("\n")
    }

    fn link(index: u32) -> Link {
        let qdisc = Qdisc { kind: "fq_codel".into(), drops: u32::MAX, ..Qdisc::default() };
        Link { index, stats: Reading::Present(LinkStats::default()), qdisc: Reading::Present(qdisc), ..Link::default() }
    }

    fn stats(host: Host, name: &str, stats: LinkStats) -> Host {
        host.link_after(name, |link| link.stats = Reading::Present(stats))
    }

    #[test]
    fn the_stages_stand_in_the_order_of_the_path() {
        let names: Vec<_> = stages(Host::new().interval()).iter().map(|stage| stage.stage).collect();
        let expected = "nic-ring softirq softnet-backlog qdisc ip netfilter tcp socket-buffers application";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn a_ring_tells_its_own_losses_from_broken_packets_and_a_hypervisor_hides_its() {
        let grew =
            LinkStats { rx_packets: 90, rx_missed_errors: 7, rx_errors: 9, rx_dropped: 3, ..LinkStats::default() };
        let host = stats(Host::new().link("eth0", link(2)).link("lo", link(1)), "eth0", grew);
        insta::assert_snapshot!(told(&stage(&host, "nic-ring")), @"
        passed 90 rx_packets (eth0 of own)
        dropped 7 rx_missed_errors (eth0 of own)
        dropped 2 rx_errors (eth0 of own)
        ");
        let guest = host.link_both("eth0", |link| link.parent = Some(("virtio".into(), "virtio2".into())));
        assert_eq!(stage(&guest, "nic-ring").unknown.len(), 1);
        let container = Host::new().link("eth0", Link { kind: Some("veth".into()), ..link(2) });
        insta::assert_snapshot!(told(&stage(&container, "nic-ring")), @"unknown rings: no network card is in these namespaces");
    }

    #[test]
    fn a_cpus_drops_are_not_told_again_as_the_devices() {
        let backlog = Host::new().cpus(&[(0.1, 1_000), (0.1, 500)]).softnet_after(0, |row| {
            (row.dropped, row.flow_limit, row.time_squeeze) = (477, 77, 5);
        });
        let dropped = |n| {
            stats(backlog.clone().link("veth0", link(2)), "veth0", LinkStats { rx_dropped: n, ..LinkStats::default() })
        };
        insta::assert_snapshot!(told(&stage(&dropped(477), "softnet-backlog")), @"
        passed 1000 softnet_stat processed (CPU 0)
        passed 500 softnet_stat processed (CPU 1)
        dropped 400 softnet_stat dropped (CPU 0)
        dropped 77 softnet_stat flow_limit (CPU 0)
        ");
        assert_eq!(stage(&dropped(477), "softnet-backlog").lost(), 477);
        let more = stage(&dropped(977), "softnet-backlog");
        assert_eq!((&*more.dropped[0].counter, more.dropped[0].value), ("rx_dropped beyond softnet_stat", 500));
        let row = |net_rx| SoftirqCpu { cpu: 0, net_rx, net_tx: 0 };
        let runs = backlog
            .before(|s| s.system.path.softirqs = Reading::Present([row(u32::MAX)].into()))
            .after(|s| s.system.path.softirqs = Reading::Present([row(9)].into()));
        insta::assert_snapshot!(told(&stage(&runs, "softirq")), @"
        passed 10 NET_RX (CPU 0)
        delayed 5 time_squeeze (CPU 0)
        ");
    }

    #[test]
    fn a_queue_that_wraps_is_counted_and_one_that_was_replaced_is_not() {
        let grown = |kind: &str| Qdisc {
            kind: kind.into(),
            drops: 9,
            requeues: 2,
            overlimits: 3,
            packets: 70,
            ..Qdisc::default()
        };
        let host = |kind: &str| {
            let host = Host::new().link("eth0", link(2));
            host.link_after("eth0", |link| {
                link.qdisc = Reading::Present(grown(kind));
                link.stats = Reading::Present(LinkStats { tx_dropped: 4, ..LinkStats::default() });
            })
        };
        insta::assert_snapshot!(told(&stage(&host("fq_codel"), "qdisc")), @"
        passed 70 qdisc packets (eth0 of own)
        dropped 10 fq_codel drops (eth0 of own)
        dropped 4 tx_dropped (eth0 of own)
        delayed 3 fq_codel overlimits (eth0 of own)
        delayed 2 fq_codel requeues (eth0 of own)
        ");
        insta::assert_snapshot!(told(&stage(&host("tbf"), "qdisc")), @"
        dropped 4 tx_dropped (eth0 of own)
        unknown queue of eth0 of own: the queue of eth0 restarted within the window
        ");
        // A device of the same name with another index is another device: no rate is known.
        let other = host("fq_codel").link_after("eth0", |link| link.index = 9);
        assert_eq!(told(&stage(&other, "qdisc")), "");
    }

    #[test]
    fn overlapping_counters_are_told_once() {
        let host = Host::new()
            .grew("TcpExt.ListenDrops", 90)
            .grew("TcpExt.ListenOverflows", 60)
            .grew("TcpExt.TCPRcvQDrop", 5)
            .grew("TcpExt.RcvPruned", 5)
            .grew("TcpExt.IPReversePathFilter", 8)
            .grew("Tcp.InSegs", 1_000)
            .listener(Listen::at("0.0.0.0:80").queues(&[129, 0]));
        for (name, told_as) in [("tcp", 30), ("application", 60), ("socket-buffers", 5), ("ip", 8)] {
            assert_eq!(stage(&host, name).lost(), told_as, "{name}");
        }
        insta::assert_snapshot!(told(&stage(&host, "application")), @"
        dropped 60 TcpExt.ListenOverflows (own)
        delayed 25 looks that saw 0.0.0.0:80 full, of 50 (own)
        ");
        assert!(stage(&host, "ip").dropped[0].advice.is_some_and(|advice| advice.contains("ip route get")));
    }

    #[test]
    fn conntrack_that_is_not_in_use_is_no_news() {
        let quiet = stage(&Host::new(), "netfilter");
        assert_eq!((quiet.unknown.len(), quiet.still), (1, 0));
        let full = Host::new().conntrack(9, 9, 9, 9).conntrack_grew("drop", 60).conntrack_grew("early_drop", 4);
        insta::assert_snapshot!(told(&stage(&full, "netfilter")), @"
        dropped 60 nf_conntrack drop (own)
        delayed 4 nf_conntrack early_drop (own)
        unknown drops by rules: each rule has a counter of its own, if any: nft list ruleset, iptables -vnL
        ");
    }

    #[test]
    fn interrupts_are_found_by_the_device_or_the_hardware_below_it() {
        let irq = |irq, name: &str, n| Interrupt { irq, name: name.into(), counts: [(1, n)].into() };
        let lines = |n: u32| {
            let lines = [
                "PCI-MSI 1-edge eth1-TxRx-0",
                "PCI-MSI 2-edge eth10-TxRx-0",
                "PCI-MSIX 3-edge virtio2-input.0",
                "x ttyS0",
            ];
            Reading::Present((7..).zip(lines).map(|(number, name)| irq(number, name, n)).collect())
        };
        let host = Host::new()
            .before(|s| s.system.path.interrupts = lines(u32::MAX))
            .after(|s| s.system.path.interrupts = lines(4));
        let of = |name: &str, parent: Option<&str>| {
            let parent = parent.map(|name| ("virtio".into(), name.into()));
            let host = host.clone().link(name, Link { parent, ..link(2) });
            let irqs = devices(host.interval())[0].interrupts().ok().expect("interrupts were read");
            irqs.iter().map(|irq| format!("{} {} {:?}", irq.irq, irq.name, irq.by_cpu)).collect::<Vec<_>>()
        };
        assert_eq!(of("eth1", None), ["7 eth1-TxRx-0 {1: 5}"]);
        assert_eq!(of("eth0", Some("virtio2")), ["9 virtio2-input.0 {1: 5}"]);
        assert_eq!(of("eth2", None), Vec::<String>::new());
    }

    #[test]
    fn one_reading_and_what_could_not_be_read_say_so_in_every_stage() {
        let once = Host::new().link("eth0", link(2)).cpus(&[(0.0, 0)]).after(|s| s.at = Duration::ZERO);
        for stage in stages(once.interval()).iter().filter(|stage| !["nic-ring", "netfilter"].contains(&stage.stage)) {
            assert!(stage.dropped.is_empty() && stage.still == 0, "{stage:?}");
        }
        insta::assert_snapshot!(told(&stage(&once, "ip")), @"unknown counters of own: only one reading, so nothing can be said about change");
        insta::assert_snapshot!(told(&stage(&once, "nic-ring")), @"unknown statistics of eth0 of own: only one reading, so nothing can be said about change");
        let refused = Host::new().ns(|ns| {
            ns.links = no_permission("devices");
            ns.counters.clear();
            let why = Absent::Permission { what: "/proc/net/netstat".into(), needs: "root".into() };
            ns.counters_absent = ["netstat", "snmp"].map(|file| (file.into(), why.clone())).into();
        });
        insta::assert_snapshot!(told(&stage(&refused, "qdisc")), @"unknown devices of own: no permission to read devices");
        insta::assert_snapshot!(told(&stage(&refused, "tcp")), @"unknown counters of own: no permission to read /proc/net/netstat");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn no_counters_are_too_strange(numbers in proptest::collection::vec(any::<u64>(), 26), words in any::<[u32; 8]>()) {
            let n = |at: usize| numbers[at];
            let of = |at: usize| LinkStats {
                rx_packets: n(at), rx_dropped: n(at + 1), rx_errors: n(at + 2), rx_missed_errors: n(at + 3),
                rx_fifo_errors: n(at + 4), tx_packets: n(at + 5), tx_dropped: n(at + 6), ..LinkStats::default()
            };
            let host = Host::new()
                .link("e", link(2))
                .link_both("e", |link| link.stats = Reading::Present(of(0)))
                .cpus(&[(0.9, 3), (0.1, 9)])
                .softnet_after(0, |row| (row.dropped, row.flow_limit, row.time_squeeze) = (words[0], words[1], words[2]))
                .grew("TcpExt.ListenDrops", n(20) >> 1)
                .grew("TcpExt.ListenOverflows", n(21) >> 1);
            let host = stats(host, "e", of(7));
            for stage in stages(host.interval()) {
                prop_assert!(stage.dropped.is_sorted_by(|a, b| a.value >= b.value));
                prop_assert!(stage.dropped.iter().chain(&stage.delayed).all(|count| count.value > 0));
                let _ = stage.lost();
            }
        }
    }
}

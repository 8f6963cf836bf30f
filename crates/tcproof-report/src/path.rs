//! `tcproof path`: the way of a packet through this host, stage by stage, and what its devices are set to.

use std::collections::BTreeMap;

use serde::Serialize;
use tcproof_core::limits::Limit;
use tcproof_core::path::{Count, DeviceChange, IrqChange, Missing, Stage, devices, stages};
use tcproof_core::snapshot::{Channels, Coalesce, LinkSettings, LinkStats, Offloads, Rings, Rss, Steering};
use tcproof_core::{Absent, Interval, Reading};

use crate::json;
use crate::layout::{Cell, Role, Screen, Style, count, few, thousands};
use crate::text::header;

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../schema/path-1.schema.json");

/// Columns in front of every text, as on the first screen of `check`.
const MARGIN: usize = 10;
/// Columns of a row's name.
const LABEL: usize = 12;
/// Counters of one kind that are shown for each stage.
const COUNTS: usize = 5;
/// Reasons why something could not be seen, for each stage.
const REASONS: usize = 2;
/// Devices that are shown.
const DEVICES: usize = 8;
/// Names in a list.
const NAMES: usize = 3;

/// For people.
pub fn text(interval: &Interval, style: &Style) -> String {
    let mut screen = Screen::new(style);
    let namespaces = interval.namespaces().count();
    header(&mut screen, &interval.after.host, interval.window(), None, namespaces);
    body(&mut screen, interval);
    screen.finish()
}

/// The same without the line about the host: behind another screen.
pub fn block(interval: &Interval, style: &Style) -> String {
    let mut screen = Screen::new(style);
    screen.text(Role::Heading, "PACKET PATH");
    body(&mut screen, interval);
    format!("\n{}", screen.finish())
}

/// One stage, as the screen has it.
pub(crate) fn one_stage(stage: &Stage, style: &Style) -> String {
    let mut screen = Screen::new(style);
    show_stage(&mut screen, stage);
    screen.finish()
}

fn body(screen: &mut Screen<'_>, interval: &Interval) {
    for stage in stages(interval) {
        show_stage(screen, &stage);
    }
    screen.gap();
    let verbose = screen.style.verbose;
    let mut moved: Vec<_> = devices(interval).into_iter().filter(|device| verbose || device.packets() > 0).collect();
    moved.sort_by_key(|device| std::cmp::Reverse(device.packets()));
    let most = if verbose { usize::MAX } else { DEVICES };
    for (at, device) in moved.iter().take(most).enumerate() {
        show_device(screen, device, at == 0);
    }
    let left = moved.len().saturating_sub(most);
    if left > 0 {
        screen.row(&[Cell::blank(MARGIN)], Role::Label, &format!("{} (-v)", count(left as u64, "more device")));
    }
}

/// Whether it dropped, in a word.
pub fn word(stage: &Stage) -> &'static str {
    state(stage).1
}

pub(crate) fn state(stage: &Stage) -> (Role, &'static str) {
    match stage {
        stage if !stage.dropped.is_empty() => (Role::Near, "DROPPED"),
        // Nothing of it was seen at all.
        stage if stage.still == 0 && stage.passed.is_empty() && !stage.unknown.is_empty() => (Role::Plain, "unknown"),
        _ => (Role::Clear, "ok"),
    }
}

fn show_stage(screen: &mut Screen<'_>, stage: &Stage) {
    let (role, word) = state(stage);
    screen.row(&[Cell::new(role, word, MARGIN)], Role::Heading, stage.title);
    let verbose = screen.style.verbose;
    let most = |n: usize| if verbose { usize::MAX } else { n };
    if !stage.passed.is_empty() {
        labelled(screen, "passed", &passed(&stage.passed, verbose));
    }
    if stage.dropped.is_empty() && stage.still > 0 {
        labelled(screen, "dropped", &format!("nothing: {} stood still", count(stage.still as u64, "counter")));
    }
    let mut advice: Vec<String> = Vec::new();
    for (label, counts) in [("dropped", &stage.dropped), ("delayed", &stage.delayed)] {
        for (at, grown) in counts.iter().take(most(COUNTS)).enumerate() {
            labelled(screen, if at == 0 { label } else { "" }, &told(grown));
            // A delay is only told; what to do about it is for the limits to say.
            if label == "dropped" {
                advice.extend(advised(grown).into_iter().filter(|text| !advice.contains(text)).collect::<Vec<_>>());
            }
        }
        let left = counts.len().saturating_sub(most(COUNTS));
        if left > 0 {
            labelled(screen, "", &format!("{left} more (-v)"));
        }
    }
    for (at, text) in advice.iter().enumerate() {
        labelled(screen, if at == 0 { "look at" } else { "" }, text);
    }
    let reasons = reasons(&stage.unknown);
    for (at, reason) in reasons.iter().take(most(REASONS)).enumerate() {
        labelled(screen, if at == 0 { "unknown" } else { "" }, reason);
    }
    if reasons.len() > most(REASONS) {
        labelled(screen, "", &format!("{} more reasons (-v)", reasons.len() - REASONS));
    }
}

fn labelled(screen: &mut Screen<'_>, label: &str, text: &str) {
    screen.row(&[Cell::blank(MARGIN), Cell::new(Role::Label, label, LABEL)], Role::Plain, text);
}

/// `11 842 Ip.InReceives, 9 128 Ip.OutRequests`: summed over places, or each by itself.
pub(crate) fn passed(counts: &[Count], each: bool) -> String {
    if each {
        let told = counts.iter().map(|count| format!("{} {} ({})", thousands(count.value), count.counter, count.place));
        return told.collect::<Vec<_>>().join(", ");
    }
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for count in counts {
        match sums.iter_mut().find(|(counter, _)| *counter == count.counter) {
            Some((_, sum)) => *sum = sum.saturating_add(count.value),
            None => sums.push((&count.counter, count.value)),
        }
    }
    sums.iter().map(|(counter, sum)| format!("{} {counter}", thousands(*sum))).collect::<Vec<_>>().join(", ")
}

/// `342 TcpExt.ListenOverflows (host): a finished handshake found the accept queue full`
pub(crate) fn told(count: &Count) -> String {
    let Count { counter, place, value, means, .. } = count;
    let means = if means.is_empty() { String::new() } else { format!(": {means}") };
    format!("{} {counter} ({place}){means}", thousands(*value))
}

pub(crate) fn advised(count: &Count) -> Vec<String> {
    let page = count.limit.filter(|slug| Limit::by_slug(slug).is_some());
    let page = page.map(|slug| format!("tcproof explain {slug}"));
    page.into_iter().chain(count.advice.map(Into::into)).collect()
}

/// `counters of a, b and 4 more: no permission (needs root)`, a line for each reason.
pub(crate) fn reasons(missing: &[Missing]) -> Vec<String> {
    let mut reasons: BTreeMap<(&str, Option<&str>), Vec<String>> = BTreeMap::new();
    for one in missing {
        reasons.entry((&one.because, one.would_need.as_deref())).or_default().push(one.reading.clone());
    }
    let told = reasons.iter().map(|((because, needs), readings)| {
        let needs = needs.map(|needs| format!(" (needs {needs})")).unwrap_or_default();
        format!("{}: {because}{needs}", few(readings, NAMES))
    });
    told.collect()
}

fn show_device(screen: &mut Screen<'_>, device: &DeviceChange<'_>, first: bool) {
    let link = device.link;
    let label = if first { "DEVICES" } else { "" };
    let text = summary(device);
    screen.row(&[Cell::new(Role::Heading, label, MARGIN)], Role::Heading, &text);
    for (label, text) in &facts(device) {
        labelled(screen, label, text);
    }
    if link.settings == LinkSettings::default() && device.packets() > 0 {
        labelled(screen, "settings", "not asked for: other devices lost or moved more");
    }
    let unsaid = unsaid(&link.settings);
    for reason in &reasons(&unsaid) {
        labelled(screen, "unknown", reason);
    }
}

/// `eth0 in web: veth, MTU 1500, 10 000 Mbit/s`
pub(crate) fn summary(device: &DeviceChange<'_>) -> String {
    let link = device.link;
    let kind = match (&link.kind, &link.parent) {
        (Some(kind), _) => kind.clone(),
        (None, Some((bus, name))) => format!("{bus} {name}"),
        (None, None) => if link.is_card() { "card" } else { "loopback" }.into(),
    };
    let speed = link.settings.speed.value().map(|mbit| format!(", {} Mbit/s", thousands((*mbit).into())));
    format!("{}: {kind}, MTU {}{}", device.place(), link.mtu, speed.unwrap_or_default())
}

/// What is known of a device, a row each.
pub(crate) fn facts(device: &DeviceChange<'_>) -> Vec<(&'static str, String)> {
    let link = device.link;
    let settings = &link.settings;
    let mut rows = Vec::new();
    match &device.stats {
        Reading::Present(stats) => rows.push(("moved", moved(stats))),
        Reading::Absent(why) if !why.is_not_needed() => rows.push(("moved", why.to_string())),
        Reading::Absent(_) => {}
    }
    if let Reading::Present(queue) = &link.qdisc {
        let below = queue.below.iter().cloned().collect::<Vec<_>>();
        let below = if below.is_empty() { String::new() } else { format!(" over {}", few(&below, NAMES)) };
        rows.push(("qdisc", format!("{}{below}, {} waiting", queue.kind, count(queue.qlen.into(), "packet"))));
    }
    if let Reading::Present(Rings { rx, rx_max, tx, tx_max }) = settings.rings {
        rows.push(("rings", format!("rx {rx} of {rx_max}, tx {tx} of {tx_max}")));
    }
    if let Reading::Present(channels) = settings.channels {
        let Channels { rx, rx_max, combined, combined_max } = channels;
        let mut parts = Vec::new();
        if combined_max > 0 {
            parts.push(format!("{combined} of {combined_max} combined"));
        }
        if rx_max > 0 {
            parts.push(format!("{rx} of {rx_max} for receiving"));
        }
        if let Reading::Present(Rss { entries, queues }) = settings.rss {
            parts.push(format!("RSS to {queues} of {} ({entries} entries)", channels.receiving()));
        }
        rows.push(("queues", parts.join(", ")));
    }
    if let Reading::Present(steering) = &settings.steering {
        rows.push(("steering", steered(steering)));
    }
    if let Reading::Present(offloads) = settings.offloads {
        rows.push(("offloads", switched(offloads)));
    }
    if let Reading::Present(Coalesce { adaptive_rx, rx_usecs, rx_frames }) = settings.coalesce {
        let adaptive = adaptive_rx.map(|on| format!("adaptive {}", if on { "on" } else { "off" }));
        let usecs = rx_usecs.map(|n| format!("{n} µs"));
        let frames = rx_frames.map(|n| count(n.into(), "packet"));
        let parts: Vec<_> = [adaptive, usecs, frames].into_iter().flatten().collect();
        rows.push(("coalescing", parts.join(", ")));
    }
    if let Reading::Present(irqs) = device.interrupts() {
        rows.extend(interrupts(&irqs).map(|text| ("interrupts", text)));
    }
    rows
}

fn moved(stats: &LinkStats) -> String {
    let packets = |what: &str, n: u64, dropped: u64| {
        let dropped = if dropped > 0 { format!(" ({} dropped)", thousands(dropped)) } else { String::new() };
        format!("{what} {}{dropped}", count(n, "packet"))
    };
    let received = packets("received", stats.rx_packets, stats.rx_dropped);
    format!("{received}, {}", packets("sent", stats.tx_packets, stats.tx_dropped))
}

fn steered(steering: &Steering) -> String {
    let rps = match steering.rps_cpus.len() {
        0 => "RPS off".to_string(),
        _ => {
            let cpus: Vec<_> = steering.rps_cpus.iter().map(u32::to_string).collect();
            format!("RPS to CPU {}", few(&cpus, 8))
        }
    };
    let rfs =
        if steering.rps_flows == 0 { "RFS off".into() } else { format!("RFS {} flows", thousands(steering.rps_flows)) };
    format!("{rps}, {rfs}, XPS {}", if steering.xps { "on" } else { "off" })
}

fn switched(offloads: Offloads) -> String {
    let Offloads { gro, gso, tso, lro } = offloads;
    let all = [("GRO", gro), ("GSO", gso), ("TSO", tso), ("LRO", lro)];
    let of =
        |wanted: bool| all.iter().filter(|(_, on)| *on == wanted).map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let named = |what: &str, names: String| (!names.is_empty()).then(|| format!("{names} {what}"));
    [named("on", of(true)), named("off", of(false))].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `6 360 on CPU 1, 12 on CPU 0, by 2 interrupts`
fn interrupts(irqs: &[IrqChange]) -> Option<String> {
    let mut by_cpu: BTreeMap<u32, u64> = BTreeMap::new();
    for (cpu, n) in irqs.iter().flat_map(|irq| &irq.by_cpu) {
        let sum = by_cpu.entry(*cpu).or_default();
        *sum = sum.saturating_add(*n);
    }
    let mut most: Vec<_> = by_cpu.into_iter().collect();
    most.sort_by_key(|(cpu, n)| (std::cmp::Reverse(*n), *cpu));
    let told: Vec<_> = most.iter().map(|(cpu, n)| format!("{} on CPU {cpu}", thousands(*n))).collect();
    let ran = irqs.iter().filter(|irq| !irq.by_cpu.is_empty()).count();
    (!told.is_empty()).then(|| format!("{}; {ran} of {}", few(&told, NAMES), count(irqs.len() as u64, "interrupt")))
}

/// What a device or its driver did not say.
fn unsaid(settings: &LinkSettings) -> Vec<Missing> {
    let LinkSettings { speed, rings, channels, coalesce, offloads, rss, steering } = settings;
    let reasons = [
        ("speed", speed.absent()),
        ("rings", rings.absent()),
        ("queues", channels.absent()),
        ("coalescing", coalesce.absent()),
        ("offloads", offloads.absent()),
        ("RSS", rss.absent()),
        ("steering", steering.absent()),
    ];
    let unsaid = reasons.into_iter().filter_map(|(reading, why)| {
        let why = why.filter(|why| !why.is_not_needed())?;
        // Without `what`: the reading says it, and what is absent for one reason is told in one line.
        let because = match why {
            Absent::Failed { error, .. } => error.clone(),
            why => why.to_string(),
        };
        Some(Missing { reading: reading.into(), because, would_need: why.would_need().map(Into::into) })
    });
    unsaid.collect()
}

/// For programs: `tcproof/path/1`.
pub fn json(interval: &Interval) -> String {
    let devices = devices(interval);
    json::to_text(&Path {
        schema: "tcproof/path/1",
        host: json::Host::new(&interval.after.host),
        window_seconds: interval.seconds(),
        stages: stages(interval),
        devices: devices.iter().map(Device::new).collect(),
    })
}

#[derive(Serialize)]
struct Path<'a> {
    schema: &'static str,
    host: json::Host<'a>,
    #[serde(serialize_with = "json::number")]
    window_seconds: f64,
    stages: Vec<Stage>,
    devices: Vec<Device<'a>>,
}

#[derive(Serialize)]
struct Device<'a> {
    netns: &'a str,
    device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus_name: Option<&'a str>,
    running: bool,
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grew: Option<&'a LinkStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qdisc: Option<&'a tcproof_core::snapshot::Qdisc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_mbit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rings: Option<&'a Rings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<&'a Channels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coalesce: Option<BTreeMap<&'static str, u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offloads: Option<&'a Offloads>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss: Option<&'a Rss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steering: Option<&'a Steering>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interrupts: Vec<IrqChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<Missing>,
}

impl<'a> Device<'a> {
    fn new(device: &'a DeviceChange<'a>) -> Self {
        let (link, settings) = (device.link, &device.link.settings);
        let coalesce = |Coalesce { adaptive_rx, rx_usecs, rx_frames }: &Coalesce| {
            let fields =
                [("adaptive_rx", adaptive_rx.map(u32::from)), ("rx_usecs", *rx_usecs), ("rx_frames", *rx_frames)];
            fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        };
        Self {
            netns: device.netns,
            device: device.name,
            kind: link.kind.as_deref(),
            bus: link.parent.as_ref().map(|(bus, _)| bus.as_str()),
            bus_name: link.parent.as_ref().map(|(_, name)| name.as_str()),
            running: link.running,
            mtu: link.mtu,
            grew: device.stats.value(),
            qdisc: link.qdisc.value(),
            speed_mbit: settings.speed.value().copied(),
            rings: settings.rings.value(),
            channels: settings.channels.value(),
            coalesce: settings.coalesce.value().map(coalesce),
            offloads: settings.offloads.value(),
            rss: settings.rss.value(),
            steering: settings.steering.value(),
            interrupts: device.interrupts().value().cloned().unwrap_or_default(),
            unknown: unsaid(settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Value;
    use tcproof_core::snapshot::{
        Host, Interrupt, Link, Netns, NetnsId, PathSystem, Qdisc, Snapshot, SoftirqCpu, SoftnetCpu, System,
    };
    use textwrap::core::display_width;

    use super::*;

    fn absent<T>(what: &str) -> Reading<T> {
        Reading::Absent(Absent::Failed { what: what.into(), error: "the driver does not say".into() })
    }

    fn card() -> Link {
        let mut link = Link { index: 2, running: true, mtu: 1500, ..Link::default() };
        link.parent = Some(("pci".into(), "0000:3b:00.0".into()));
        link.stats = Reading::Present(LinkStats::default());
        link.qdisc =
            Reading::Present(Qdisc { kind: "mq".into(), below: ["fq_codel".into()].into(), ..Qdisc::default() });
        link
    }

    /// One second of a host that loses packets in its ring, its backlog and its firewall's table. Names are `name`s.
    fn lossy(name: &str) -> Interval {
        let counters = |n: u64| {
            let grown = [
                ("Ip.InReceives", 912_345),
                ("Ip.OutRequests", 400_000),
                ("Tcp.InSegs", 911_000),
                ("TcpExt.IPReversePathFilter", 12),
                ("TcpExt.ListenOverflows", 342),
                ("TcpExt.TCPRcvCollapsed", 77),
            ];
            let still =
                ["Ip.InDiscards", "Tcp.InErrs", "TcpExt.ListenDrops", "TcpExt.TCPRcvQDrop"].map(|name| (name, 0));
            grown.iter().chain(&still).map(|(name, by)| (name.to_string(), by * n)).collect()
        };
        let namespace = |n: u64, link: Link| Netns {
            name: "host".into(),
            own: true,
            counters: counters(n),
            links: Reading::Present([(name.to_string(), link)].into()),
            ..Netns::default()
        };
        let system = |n: u32| System {
            softnet: Reading::Present(
                (0..2)
                    .map(|cpu| SoftnetCpu {
                        cpu,
                        processed: 456_000 * n,
                        dropped: cpu * 70 * n,
                        time_squeeze: 9 * n,
                        ..SoftnetCpu::default()
                    })
                    .collect(),
            ),
            path: PathSystem {
                softirqs: Reading::Present([SoftirqCpu { cpu: 0, net_rx: 80_000 * n, net_tx: 0 }].into()),
                interrupts: Reading::Present(
                    [Interrupt {
                        irq: 40,
                        name: format!("PCI-MSI 1-edge {name}-TxRx-0"),
                        counts: [(1, 63_600 * n)].into(),
                    }]
                    .into(),
                ),
                ..PathSystem::default()
            },
            ..System::default()
        };
        let mut end = card();
        end.stats = Reading::Present(LinkStats {
            rx_packets: 911_842,
            tx_packets: 400_128,
            rx_missed_errors: 1_070,
            rx_dropped: 70,
            ..LinkStats::default()
        });
        end.settings = LinkSettings {
            speed: Reading::Present(25_000),
            rings: Reading::Present(Rings { rx: 512, rx_max: 4096, tx: 512, tx_max: 4096 }),
            channels: Reading::Present(Channels { rx: 0, rx_max: 0, combined: 2, combined_max: 16 }),
            coalesce: Reading::Present(Coalesce { adaptive_rx: Some(false), rx_usecs: Some(8), rx_frames: None }),
            offloads: Reading::Present(Offloads { gro: true, gso: true, tso: true, lro: false }),
            rss: absent("receive-side scaling"),
            steering: Reading::Present(Steering { rps_cpus: [0, 1].into(), rps_flows: 32_768, xps: true }),
        };
        let host =
            Host { name: "web-07".into(), kernel: "6.8.0".into(), cpus: 2, memory_bytes: 4 << 30, page_bytes: 4096 };
        let snapshot = |at: u64, system: System, ns: Netns| Snapshot {
            at: Duration::from_secs(at),
            host: host.clone(),
            system,
            namespaces: [(NetnsId(1), ns)].into(),
            ..Snapshot::default()
        };
        Interval {
            before: snapshot(1, system(1), namespace(1, card())),
            after: snapshot(2, system(2), namespace(2, end)),
            ..Interval::default()
        }
    }

    /// One look, as at a directory.
    fn still() -> Interval {
        let mut interval = lossy("eth0");
        let why = Absent::Failed { what: "route netlink".into(), error: "there is none behind a directory".into() };
        if let Some(ns) = interval.after.namespaces.get_mut(&NetnsId(1)) {
            ns.links = Reading::Absent(why);
        }
        interval.after.at = interval.before.at;
        Interval { before: interval.after.clone(), ..interval }
    }

    #[test]
    fn a_host_that_loses_packets() {
        insta::assert_snapshot!(text(&lossy("eth0"), &Style::default()));
        insta::assert_snapshot!("in_full", text(&lossy("eth0"), &Style { verbose: true, ..Style::default() }));
    }

    #[test]
    fn one_look_says_so() {
        insta::assert_snapshot!(text(&still(), &Style::default()));
    }

    #[test]
    fn behind_check_it_has_no_header_and_says_the_same() {
        let (own, behind) = (text(&lossy("eth0"), &Style::default()), block(&lossy("eth0"), &Style::default()));
        assert_eq!(own.split_once("\n\n").unwrap().1, behind.strip_prefix("\nPACKET PATH\n").unwrap());
    }

    #[test]
    fn what_is_rendered_is_what_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for interval in [lossy("eth0"), lossy("evil\x1b[31m\n"), still(), Interval::default()] {
            let text = json(&interval);
            let value: Value = serde_json::from_str(&text).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty() && !text.contains("null"), "{errors:?} in {text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        }
        let stages = &schema["$defs"]["stage"]["properties"]["stage"]["enum"];
        let known: Vec<_> = stages.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(known, super::stages(&Interval::default()).iter().map(|stage| stage.stage).collect::<Vec<_>>());
    }

    #[test]
    fn the_device_of_the_json() {
        let value: Value = serde_json::from_str(&json(&lossy("eth0"))).unwrap();
        let device = &value["devices"][0];
        assert_eq!((&device["device"], &device["rings"]["rx_max"]), (&"eth0".into(), &4096.into()));
        assert_eq!(
            (&device["coalesce"]["adaptive_rx"], &device["interrupts"][0]["by_cpu"]["1"]),
            (&0.into(), &63_600.into())
        );
        assert_eq!(device["unknown"][0]["because"], "the driver does not say");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn no_line_is_wider_than_the_screen_and_no_control_survives(
            name in "\\PC{0,80}|[\\x00-\\x20]{1,8}|[日本\u{202e}a-z ]{0,90}",
            width in 0_usize..200,
            (unicode, verbose) in any::<(bool, bool)>(),
        ) {
            let style = Style { width, unicode, verbose, ..Style::default() };
            let screen = text(&lossy(&name), &style);
            for line in screen.lines() {
                prop_assert!(display_width(line) <= style.columns(), "{} columns: {line:?}", display_width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            prop_assert!(unicode || screen.is_ascii());
        }
    }
}

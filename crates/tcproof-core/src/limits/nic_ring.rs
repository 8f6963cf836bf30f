//! # nic-ring
//!
//! ## What it is
//! The ring of descriptors through which a network card hands received packets to the kernel. When the kernel does not
//! take them fast enough the ring is full, the card has nowhere to put the next packet, and drops it. TCP sees a loss and
//! sends again, slower. Nothing above the card knows of it.
//!
//! ## Evidence
//! - The card's `rx_missed_errors`, `rx_fifo_errors` or `rx_over_errors` grew in the window. Drivers count one loss in one
//!   or several of them, so the largest is what was lost. `rx_over_errors` alone is likely, not proven.
//! - `rx_dropped` accuses nobody: the kernel counts there what got through the ring and nobody wanted, some drivers (i40e,
//!   ice) also what their ring had no room for. More than one in a thousand packets and ten a second, and not at a CPU's backlog,
//!   is `unknown`: the driver's own counters (`ethtool -S`), which tcproof does not read, tell it apart.
//! - Bonds, bridges, VLANs and other virtual devices repeat the counters of the card below: they are left out.
//! - A card that a hypervisor shows (virtio, Xen, Hyper-V) is filled by the host, which counts its own drops: nothing is
//!   ruled out from inside.
//!
//! Causes: `ring-full`.
//!
//! ## See it yourself
//! - `ip -s -s link show dev DEV`: `missed`, `fifo`, `overrun` under RX errors
//! - `ethtool -S DEV` for the driver's own names (`rx_out_of_buffer`, `rx_no_buffer_count`); `ethtool -g DEV` for the sizes
//! - `cat /proc/net/softnet_stat`, `mpstat -P ALL 1`: whether a CPU is behind
//!
//! ## Look-alikes
//! - `softnet-backlog`: dropped after the ring, at a CPU's backlog; `rx_dropped` of the device grows.
//! - `conntrack-table`: dropped in the namespace that tracks connections; the card misses nothing.
//!
//! ## Remedy
//! The ring is full because a CPU is late: first spread its work (`softirq-cpu`, `softirq-budget`). Then a longer ring, by
//! twos, up to what the card allows: it takes longer bursts, not a higher rate, and costs memory and cache. Then let the
//! driver adapt when it interrupts.
//!
//! ## References
//! Documentation/networking/statistics.rst; include/uapi/linux/if_link.h `struct rtnl_link_stats64`; ethtool(8) -g -G -C.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, softnet_cpus, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::path::{DeviceChange, devices};
use crate::reading::Reading;
use crate::snapshot::LinkStats;

/// The receive ring of a network card.
pub(super) static LIMIT: Limit = Limit {
    slug: "nic-ring",
    title: "NIC ring",
    causes: &[("ring-full", "packets come in faster than the kernel takes them out of the card's ring")],
    reads: &["rx_missed_errors", "rx_fifo_errors", "rx_over_errors", "ring sizes by ethtool netlink"],
    look_alikes: &["conntrack-table", "softnet-backlog"],
    knobs: &[],
    scenarios: &[],
    source: include_str!("nic_ring.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// Share of a card's packets up to which `rx_dropped` is what nobody wanted: neighbours' broadcasts, other VLANs.
const UNWANTED: f64 = 0.001;
/// … and so many a second, on a card that receives little else: bridges and switches announce themselves.
const UNWANTED_PER_SECOND: f64 = 10.0;

/// How full a ring is, no kernel tells.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn cards(interval: &Interval) -> impl Iterator<Item = DeviceChange<'_>> {
    devices(interval).into_iter().filter(|device| device.link.is_card())
}

/// Packets that all rings missed, as far as can be read.
pub(super) fn missed(interval: &Interval) -> u64 {
    cards(interval).filter_map(|card| card.missed().value().copied()).fold(0, u64::saturating_add)
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        if let Some(why) = ns.before.links.absent().or(ns.after.links.absent()) {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), "devices' statistics", why));
        }
    }
    for card in cards(interval) {
        match card.missed() {
            Reading::Present(0) => detected.unknown.extend(unplaced(interval, &card)),
            Reading::Present(missed) => detected.findings.extend(finding(interval, &card, missed)),
            Reading::Absent(why) => {
                let reading = format!("statistics of {}", card.name);
                detected.unknown.extend(unknown(&LIMIT, Some(card.netns), &reading, &why));
            }
        }
    }
    detected
}

/// Drops of which the driver does not say where they happened.
fn unplaced(interval: &Interval, card: &DeviceChange<'_>) -> Option<Unknown> {
    let stats = card.stats.value()?;
    let cpus = softnet_cpus(interval).unwrap_or_default().into_iter();
    let at_backlogs = cpus.filter_map(|(_, change)| Some(change.ok().ok()?.dropped)).fold(0, u64::saturating_add);
    let unplaced = stats.rx_dropped.saturating_sub(at_backlogs);
    let usual = (stats.rx_packets as f64 * UNWANTED).max(UNWANTED_PER_SECOND * interval.seconds());
    (unplaced as f64 > usual).then(|| Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("{unplaced} rx_dropped of {}", card.place()),
        because: "some drivers count there what the ring had no room for, and the kernel what nobody wanted".into(),
        would_need: Some(format!("ethtool -S {}: the driver's own counters", card.name)),
    })
}

fn finding(interval: &Interval, card: &DeviceChange<'_>, missed: u64) -> Option<Finding> {
    let stats = card.stats.value()?;
    let seconds = interval.seconds();
    let name = card.name;
    let ring = match card.link.settings.rings.value() {
        Some(rings) => format!("its ring of {} had no room", rings.rx),
        None => "its ring had no room".into(),
    };
    let counters = [
        ("rx_missed_errors", stats.rx_missed_errors),
        ("rx_fifo_errors", stats.rx_fifo_errors),
        ("rx_over_errors", stats.rx_over_errors),
    ];
    let grew: Vec<&str> = counters.iter().filter(|(_, value)| *value > 0).map(|(name, _)| *name).collect();
    // What "over" means is left to the driver, since the kernel's documentation gives no meaning of its own.
    let proven = stats.rx_missed_errors > 0 || stats.rx_fifo_errors > 0;
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: "ring-full".into(),
        confidence: if proven { Confidence::Proven } else { Confidence::Likely },
        subject: Subject::Device { netns: card.netns.into(), device: name.into() },
        summary: format!(
            "{missed} packets missed by {name} in {seconds:.1} s of {} that came: {ring}",
            stats.rx_packets.saturating_add(missed)
        ),
        because: format!("the card itself counts them ({}), before the kernel saw them", grew.join(", ")),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: missed,
    };
    let finding = counters.iter().fold(finding, |finding, (counter, value)| {
        finding.changed(format!("{counter} of {name}"), *value as f64, "packets", seconds)
    });
    Some(match card.link.settings.rings.value() {
        Some(rings) => finding.standing("receive ring", f64::from(rings.rx), "descriptors").standing(
            "largest receive ring",
            f64::from(rings.rx_max),
            "descriptors",
        ),
        None => finding,
    })
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Subject::Device { netns, device } = &finding.subject else { return vec![] };
    let Some(card) = cards(interval).find(|card| card.netns == netns && card.name == device) else { return vec![] };
    let verify = format!("rx_missed_errors of {device} stand still");
    let mut remedies = vec![spread(&card, interval).verify(&verify)];
    remedies.extend(longer(&card).map(|remedy| remedy.verify(&verify)));
    let coalesce = card.link.settings.coalesce.value();
    if coalesce.is_some_and(|coalesce| coalesce.adaptive_rx == Some(false)) {
        let text = format!("let the driver adapt its interrupts to the traffic: ethtool -C {device} adaptive-rx on");
        remedies
            .push(Remedy::new(Level::Service, text).cost("a few microseconds of latency under load").verify(&verify));
    }
    remedies
}

/// More CPUs for what the card receives.
pub(super) fn spread(card: &DeviceChange<'_>, interval: &Interval) -> Remedy {
    let device = card.name;
    let settings = &card.link.settings;
    let cpus = interval.after.host.cpus.max(1);
    let channels = settings.channels.value();
    let (now, most) = channels.map_or((0, 0), |channels| (channels.combined, channels.combined_max.min(cpus)));
    if now > 0 && most > now {
        let text = format!("receive with {most} queues instead of {now}: ethtool -L {device} combined {most}");
        return Remedy::new(Level::Service, text).cost("the card is reset for a moment; one flow stays on one CPU");
    }
    let unused = settings.rss.value().zip(channels).filter(|(rss, channels)| rss.queues < channels.receiving());
    if let Some((rss, channels)) = unused {
        let all = channels.receiving();
        let text =
            format!("let flows go to all {all} queues, not to {} of them: ethtool -X {device} equal {all}", rss.queues);
        return Remedy::new(Level::Service, text).cost("packets of open flows may overtake each other once");
    }
    let text = format!(
        "spread what {device} receives over more CPUs: the affinity of its interrupts (/proc/irq/N/smp_affinity_list), or \
         packet steering (rps_cpus of its queues)"
    );
    Remedy::new(Level::Service, text)
        .cost("an interrupt between CPUs for each batch of packets; one flow stays on one CPU")
}

fn longer(card: &DeviceChange<'_>) -> Option<Remedy> {
    let device = card.name;
    let Reading::Present(rings) = &card.link.settings.rings else {
        let text =
            format!("a longer ring, twice the present one, where the driver allows it: ethtool -G {device} rx N");
        return Some(Remedy::new(Level::Service, text).formula("ethtool -g shows the present and the largest size"));
    };
    let to = rings.rx.saturating_mul(2).min(rings.rx_max);
    (to > rings.rx).then(|| {
        Remedy::new(Level::Service, format!("a longer ring: ethtool -G {device} rx {to}"))
            .formula(format!("2 × {}, at most the card's {}", rings.rx, rings.rx_max))
            .cost("memory and cache for each queue; many drivers take the link down for a moment")
    })
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let cards: Vec<_> = cards(ns.interval()).collect();
    // A hypervisor's drops are not seen, and what is behind rx_dropped is not known: then nothing is ruled out.
    let quiet = |stats: &LinkStats| stats.rx_dropped == 0;
    let seen = |card: &DeviceChange<'_>| {
        card.link.hypervisor().is_none() && card.missed().value() == Some(&0) && card.stats.value().is_some_and(quiet)
    };
    match &*cards {
        [] => None,
        [card] if seen(card) => Some(format!("{} missed no packet", card.name)),
        cards if cards.iter().all(seen) => Some(format!("{} network cards missed no packet", cards.len())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, no_permission, remedies, the_finding, unknowns, verdict};
    use super::*;
    use crate::snapshot::{Channels, Coalesce, Link, Rings, Rss};
    use alloc::string::ToString;

    fn stats(missed: u64) -> LinkStats {
        LinkStats { rx_packets: 1_000, rx_missed_errors: missed, ..LinkStats::default() }
    }

    /// A card with a ring of 512, at most 2048, and two of eight queues.
    fn card() -> Link {
        let mut link = Link { index: 2, parent: Some(("pci".into(), "0000:3b:00.0".into())), ..Link::default() };
        link.stats = Reading::Present(stats(7));
        link.settings.rings = Reading::Present(Rings { rx: 512, rx_max: 2048, tx: 512, tx_max: 512 });
        link.settings.channels = Reading::Present(Channels { rx: 0, rx_max: 0, combined: 2, combined_max: 8 });
        link.settings.coalesce =
            Reading::Present(Coalesce { adaptive_rx: Some(false), rx_usecs: Some(3), rx_frames: None });
        link
    }

    fn host(edit: impl Fn(&mut LinkStats)) -> Host {
        let host = Host::new().both(|s| s.host.cpus = 16).link("eth0", card());
        host.link_after("eth0", |link| {
            if let Reading::Present(stats) = &mut link.stats {
                stats.rx_packets += 90_000;
                edit(stats);
            }
        })
    }

    #[test]
    fn a_ring_that_missed_packets_is_limiting() {
        let finding = the_finding(&LIMIT, &host(|stats| stats.rx_missed_errors += 10_000));
        assert_eq!((finding.state, finding.confidence, finding.hurt), (State::Limiting, Confidence::Proven, 10_000));
        assert_eq!(finding.subject.to_string(), "eth0");
        insta::assert_snapshot!(finding.summary, @"10000 packets missed by eth0 in 5.0 s of 100000 that came: its ring of 512 had no room");
        insta::assert_snapshot!(finding.because, @"the card itself counts them (rx_missed_errors), before the kernel saw them");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: receive with 8 queues instead of 2: ethtool -L eth0 combined 8
        2. Service: a longer ring: ethtool -G eth0 rx 1024
        3. Service: let the driver adapt its interrupts to the traffic: ethtool -C eth0 adaptive-rx on
        ");
    }

    #[test]
    fn one_loss_in_several_counters_is_counted_once_and_over_alone_is_likely() {
        let both = host(|stats| {
            stats.rx_missed_errors += 50;
            stats.rx_fifo_errors += 50;
        });
        assert_eq!(the_finding(&LIMIT, &both).hurt, 50);
        let over = the_finding(&LIMIT, &host(|stats| stats.rx_over_errors += 3));
        assert_eq!((over.hurt, over.confidence), (3, Confidence::Likely));
    }

    #[test]
    fn the_largest_ring_calls_for_no_longer_one_and_uneven_spreading_is_named() {
        let host = host(|stats| stats.rx_fifo_errors += 1).link_both("eth0", |link| {
            link.settings.rings = Reading::Present(Rings { rx: 2048, rx_max: 2048, tx: 1, tx_max: 1 });
            link.settings.channels = Reading::Present(Channels { rx: 0, rx_max: 0, combined: 8, combined_max: 8 });
            link.settings.rss = Reading::Present(Rss { entries: 128, queues: 1 });
            link.settings.coalesce = absent("coalescing");
        });
        insta::assert_snapshot!(remedies(&the_finding(&LIMIT, &host)), @"1. Service: let flows go to all 8 queues, not to 1 of them: ethtool -X eth0 equal 8");
    }

    #[test]
    fn silent_on_drops_above_the_ring_and_on_devices_that_repeat_a_cards_counters() {
        assert_clear(&LIMIT, &host(|stats| stats.rx_dropped += 90));
        // A bridge's announcements every two seconds, on a quiet card.
        assert_clear(
            &LIMIT,
            &Host::new().link("eth0", card()).link_after("eth0", |link| {
                if let Reading::Present(stats) = &mut link.stats {
                    stats.rx_packets += 400;
                    stats.rx_dropped += 3;
                }
            }),
        );
        let backlog = host(|stats| stats.rx_dropped += 900).cpus(&[(0.1, 90_000)]);
        assert_clear(&LIMIT, &backlog.softnet_after(0, |row| row.dropped = 900));
        assert_clear(&LIMIT, &host(|_| {}).conntrack(9, 9, 9, 9).conntrack_grew("drop", 600));
        for kind in ["bond", "vlan", "veth", "bridge"] {
            let virtual_one =
                host(|stats| stats.rx_missed_errors += 5).link_both("eth0", |link| link.kind = Some(kind.into()));
            assert_clear(&LIMIT, &virtual_one);
        }
        let quiet = host(|_| {});
        let ns = quiet.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("eth0 missed no packet"));
    }

    #[test]
    fn what_a_hypervisor_drops_is_not_ruled_out() {
        let guest = host(|_| {}).link_both("eth0", |link| link.parent = Some(("virtio".into(), "virtio2".into())));
        assert_clear(&LIMIT, &guest);
        assert_eq!((LIMIT.ruled_out)(&guest.interval().namespaces().next().unwrap()), None);
        // Nor is a card that is nowhere to be seen: a container.
        let container = Host::new().link("eth0", Link { kind: Some("veth".into()), ..card() });
        assert_eq!((LIMIT.ruled_out)(&container.interval().namespaces().next().unwrap()), None);
    }

    #[test]
    fn drops_that_the_driver_does_not_place_accuse_nobody_and_rule_nothing_out() {
        let host = host(|stats| stats.rx_dropped += 900);
        assert_eq!(unknowns(&LIMIT, &host), ["900 rx_dropped of eth0 of own"]);
        assert_eq!((LIMIT.ruled_out)(&host.interval().namespaces().next().unwrap()), None);
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let refused = Host::new().ns(|ns| ns.links = no_permission("devices"));
        assert_eq!(unknowns(&LIMIT, &refused), ["devices' statistics of own"]);
        let driver = host(|_| {}).link_both("eth0", |link| link.stats = absent("IFLA_STATS64"));
        assert_eq!(unknowns(&LIMIT, &driver), ["statistics of eth0 of own"]);
        // Reset, or another card under the same name.
        let reset = host(|stats| stats.rx_packets = 3);
        assert_eq!(unknowns(&LIMIT, &reset), ["statistics of eth0 of own"]);
        let other = host(|stats| stats.rx_missed_errors += 9).link_after("eth0", |link| link.index = 9);
        assert_eq!(unknowns(&LIMIT, &other), ["statistics of eth0 of own"]);
        // Settings that the driver does not tell change nothing about the verdict.
        let silent = host(|stats| stats.rx_missed_errors += 9)
            .link_both("eth0", |link| link.settings = crate::snapshot::LinkSettings::default());
        assert_eq!(verdict(&LIMIT, &silent).1, "ring-full");
        insta::assert_snapshot!(remedies(&the_finding(&LIMIT, &silent)), @"
        1. Service: spread what eth0 receives over more CPUs: the affinity of its interrupts (/proc/irq/N/smp_affinity_list), or packet steering (rps_cpus of its queues)
        2. Service: a longer ring, twice the present one, where the driver allows it: ethtool -G eth0 rx N
        ");
    }
}

//! # loss
//!
//! ## What it is
//! Segments of a flow do not arrive and are sent again. CUBIC and Reno take each loss for a full path and shrink their
//! window; where losses come without a queue, they stay far below what the path carries: at most
//! 1.22 × MSS ÷ (RTT × √p) for a loss probability of `p`. Over 50 ms that is 28 Mbit/s at 0.01 %, 8.9 at 0.1 %, 2.8 at 1 %.
//!
//! ## Evidence
//! - The flow has data waiting, its congestion window is full in most looks, and neither end's buffer holds it back.
//! - The round trip at its largest windows is not longer than the shortest one by a fifth: no queue, the path is not full.
//! - The window was cut at least three times in the observation, to heights (`ssthresh`) that differ by more than the 0.7 of
//!   CUBIC. A full path cuts it at the same height each time. Or: 1 % is sent again, and timeouts were seen.
//! - BBR does not shrink its window for losses: only timeouts count there.
//! - Drops on this host are looked for first: queueing disciplines and devices, rings, the packet backlog, connection
//!   tracking, socket backlogs and receive queues, in every namespace that can be seen.
//! - Segments that the peer reports as duplicates (`dsack_dups`) were not lost.
//! - Flows that live for less than the observation are not judged: RetransSegs of the namespace also counts SYNs and
//!   SYN-ACKs, and without the flow nobody knows whether its path was full. Where a probe counts what each connection sends
//!   again (`tcp_retransmit_skb`), a finding says how much all connections with that address sent again, the short ones
//!   among them: that is preferred to what the flows watched tell of how far it reaches.
//!
//! Causes: `path-loss` (between the two hosts, or inside the other one), `local-drops` (this host dropped them), `spurious`
//! (at least half of them had arrived: a delay or a reordering was taken for a loss).
//!
//! ## See it yourself
//! - `ss -tin dst PEER`, several times: `retrans:0/TOTAL`, `data_segs_out`, `dsack_dups`, `reord_seen`, `cwnd`, `ssthresh`,
//!   `rtt`, `minrtt`
//! - `nstat -az TcpRetransSegs TcpExtTCPFastRetrans TcpExtTCPDSACKRecv TcpExtTCPSpuriousRTOs TcpExtTCPSACKReorder`
//! - `tc -s qdisc`, `ip -s link`, `cat /proc/net/softnet_stat`: drops of this host
//! - `tcpdump -ni DEV host PEER and tcp` at both ends: what left here and did not come there
//!
//! ## Look-alikes
//! - A full path: it loses as well, that is how senders find out. Its round trip grows before it does.
//! - `softnet-backlog`, `nic-ring`, `conntrack-table`: where this host itself loses the packets; mend those first.
//! - `congestion-window`: small because of losses in the past, or for another reason; none now.
//! - `receive-window`: the peer's window is full; `rwnd_limited` of `ss -ti` tells exactly.
//! - `send-buffer`: the write queue takes no more, with both windows open.
//!
//! ## Remedy
//! Find the place and mend it: no sysctl cures a bad cable. Where it can't be mended, BBR sends at the rate that gets
//! through whatever is lost (179 instead of 2.3 Mbit/s at 1 % over 50 ms and 200 Mbit/s): for one application with
//! TCP_CONGESTION, for one destination with `ip route … congctl bbr`, and only then for all. TCP paces itself since 4.13, so
//! BBR needs no fq qdisc. Its price: more segments sent again, and less for CUBIC flows that share a short queue.
//!
//! ## References
//! Mathis, Semke, Mahdavi, Ott 1997, "The macroscopic behavior of the TCP congestion avoidance algorithm"; RFC 9438 section
//! 5.1; RFC 8985 (RACK-TLP); RFC 5682 (F-RTO); net/ipv4/tcp_input.c `tcp_fastretrans_alert`, `tcp_try_undo_loss`;
//! net/ipv4/tcp_bbr.c; ip-route(8) congctl.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::congestion_control::{
    self, ALGORITHM, ALLOWED, AVAILABLE, Losses, called, ignores_losses, is_cut_anywhere, loss_based_rate, trial_of_bbr,
};
use super::throttle::{self, Sending, alike, in_bits, in_ms, next_ceiling, other_end, sending, subject, watch_of};
use super::{Detected, Limit, SocketSet, softnet_cpus};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::path::devices;
use crate::reading::Reading;
use crate::snapshot::Snapshot;

/// Losses of a flow.
pub(super) static LIMIT: Limit = Limit {
    slug: "loss",
    title: "segments lost",
    causes: &[
        ("path-loss", "segments are lost between the hosts though no queue is full"),
        ("local-drops", "this host itself drops packets, which looks like a loss of the path"),
        ("spurious", "segments that had arrived are sent again: a delay or a reordering was taken for a loss"),
    ],
    reads: &[
        "kfree_skb: QDISC_DROP (eBPF)",
        "tcp_retransmit_skb (eBPF)",
        "tcpi_total_retrans",
        "tcpi_data_segs_out",
        "tcpi_dsack_dups",
        "tcpi_snd_ssthresh",
        "tcpi_rtt",
        "drops of queueing disciplines",
        "tx_dropped of devices",
        "softnet_stat dropped",
    ],
    look_alikes: &[
        "congestion-window",
        "conntrack-table",
        "nic-ring",
        "receive-window",
        "send-buffer",
        "softnet-backlog",
    ],
    knobs: &[ALLOWED, AVAILABLE, ALGORITHM, FRTO, TIMESTAMPS, SACK],
    scenarios: &[
        "loss-path-cubic",
        "loss-path-cubic-low",
        "loss-path-cubic-high",
        "loss-path-reno",
        "loss-local-qdisc",
        "loss-spurious",
    ],
    source: include_str!("loss.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const FRTO: &str = "net.ipv4.tcp_frto";
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";
const SACK: &str = "net.ipv4.tcp_sack";

/// Of the segments sent again, the share that had arrived, from which on it is not the losses that hurt.
const NEEDLESS: f64 = 0.5;
/// A packet of this host may be as many segments on the wire (GSO): one drop for each as many losses explains them.
const SEGMENTS: u64 = 45;
/// A single drop, of which every host has some, did not cut a window three times at different heights (`is_cut_anywhere`).
const CUTS: u64 = 2;
/// Queueing disciplines that drop on purpose, before they are full.
const AQM: [&str; 9] = ["cake", "choke", "codel", "dualpi2", "fq_codel", "fq_pie", "pie", "red", "sfb"];
/// Drops of the flow's own namespace that make up this share of what it lost prove that it lost them there.
const EXPLAINED: f64 = 0.5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    LocalDrops,
    Path,
    Spurious,
}

impl Cause {
    fn slug(self) -> &'static str {
        match self {
            Self::LocalDrops => "local-drops",
            Self::Path => "path-loss",
            Self::Spurious => "spurious",
        }
    }
}

/// A place of this host that dropped packets within the window.
struct Drops {
    /// "qdisc tbf of eth0 of NAMESPACE".
    place: String,
    count: u64,
    /// Whether it is in a namespace of one of the flow's ends.
    near: bool,
    /// The limit that says more.
    limit: Option<&'static str>,
    /// What helps, where no limit says more.
    advice: &'static str,
}

/// Where this host can drop a flow's packets, and how many it did; and what could not be read of it.
fn local_drops(ns: &NetnsChange<'_>, watch: &FlowWatch) -> (Vec<Drops>, Vec<String>) {
    let interval = ns.interval();
    let (mut found, mut blind) = (Vec::new(), Vec::new());
    let other = other_end(ns, watch).map(|(other, _)| other.id);
    let near = |id| id == ns.id || Some(id) == other;
    let mut add = |place: String, count: u64, near: bool, limit, advice| {
        if count > 0 {
            found.push(Drops { place, count, near, limit, advice });
        }
    };
    for device in devices(interval) {
        let near = interval.namespace(device.netns).is_some_and(|ns| near(ns.id));
        match (&device.stats, device.missed()) {
            (Reading::Present(stats), Reading::Present(missed)) => {
                add(format!("tx_dropped of {}", device.place()), stats.tx_dropped, near, None, DEVICE);
                if device.link.is_card() {
                    add(format!("ring of {}", device.place()), missed, near, Some("nic-ring"), "");
                }
            }
            _ if near => blind.push(format!("counters of {}", device.place())),
            _ => {}
        }
        match &device.qdisc {
            Reading::Present(queue) => {
                let place = format!("qdisc {} of {}", queue.qdisc.kind, device.place());
                let aqm = AQM.contains(&&*queue.qdisc.kind);
                add(place, queue.drops, near, None, if aqm { ON_PURPOSE } else { QDISC });
            }
            Reading::Absent(why) if near && !why.is_not_needed() && !is_not_there(why) => {
                blind.push(format!("queue of {}", device.place()));
            }
            Reading::Absent(_) => {}
        }
    }
    if ns.after.links.value().is_none() {
        blind.push(format!("devices of {}", ns.name()));
    }
    match softnet_cpus(interval) {
        Ok(cpus) => {
            let known = cpus.iter().filter_map(|(_, cpu)| cpu.value()).filter(|cpu| cpu.dropped > 0);
            for cpu in known {
                add(format!("backlog of CPU {}", cpu.cpu), cpu.dropped, true, Some("softnet-backlog"), "");
            }
        }
        Err(_) => blind.push("softnet_stat".into()),
    }
    for place in interval.namespaces() {
        let tracked = place.conntrack("drop").value().copied().unwrap_or(0);
        add(format!("conntrack drop of {}", place.name()), tracked, near(place.id), Some("conntrack-table"), "");
    }
    // What the receiver threw away: of a flow that this host sends, that is its other end, where this host has that too.
    if let Some(id) = other
        && let Some(end) = interval.namespaces().find(|end| end.id == id)
    {
        for (counter, limit) in [("TcpExt.TCPBacklogDrop", "socket-backlog"), ("TcpExt.TCPRcvQDrop", "tcp-memory")] {
            let count = end.counter(counter).value().copied().unwrap_or(0);
            add(format!("{counter} of {}", end.name()), count, true, Some(limit), "");
        }
    }
    found.sort_by(|a, b| (b.near, b.count).cmp(&(a.near, a.count)).then_with(|| a.place.cmp(&b.place)));
    (found, blind)
}

/// Whether a queue is absent because the device has none.
fn is_not_there(why: &crate::reading::Absent) -> bool {
    matches!(why, crate::reading::Absent::NotInKernel { .. })
}

const DEVICE: &str =
    "the device below takes no more: look at its driver's counters (`ethtool -S`) and at what it leads to";
const QDISC: &str = "give this queue room for what comes in a round trip (limit = rate × RTT; `tc -s qdisc` shows it), or let \
                     the sender pace (SO_MAX_PACING_RATE, BBR): a shorter queue drops every burst";

const ON_PURPOSE: &str = "this queue drops on purpose, to keep the delay short: what it is allowed to send is the limit (its \
                          rate, or the device's); a longer queue would only delay, and between two ends with ECN most of \
                          them mark instead of dropping";

fn cause(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Cause> {
    if sending(ns, watch)? != Sending::Loss {
        return None;
    }
    let losses = Losses::of(watch);
    if losses.needless.is_some_and(|needless| needless as f64 >= losses.again as f64 * NEEDLESS) {
        return Some(Cause::Spurious);
    }
    let dropped: u64 = local_drops(ns, watch).0.iter().map(|drops| drops.count).fold(0, u64::saturating_add);
    let explained = dropped.saturating_mul(SEGMENTS) >= losses.lost();
    let enough = dropped >= if is_cut_anywhere(watch) { CUTS } else { 1 };
    Some(if enough && explained { Cause::LocalDrops } else { Cause::Path })
}

/// How much is lost at all depends on what is sent: no limit that could be used up.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    throttle::inodes(interval, |ns, watch| cause(ns, watch).is_some())
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        for (cause, flows) in alike(&ns, |watch| cause(&ns, watch)) {
            detected.findings.extend(finding(&ns, cause, &flows));
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, cause: Cause, flows: &[&FlowWatch]) -> Option<Finding> {
    let (watch, others) = flows.split_first()?;
    let losses = Losses::of(watch);
    let (drops, blind) = local_drops(ns, watch);
    let rtt = watch.min_rtt()?;
    let rate = watch.sent_rate();
    let algorithm = called(&watch.flow.congestion);
    let mut summary = format!(
        "{} at a round trip of {}: {} of {} segments sent again ({})",
        in_bits(rate),
        in_ms(rtt),
        losses.again,
        losses.sent,
        in_hundredths(losses.again, losses.sent),
    );
    if let (Some(most), Cause::Path) = (loss_based_rate(watch, losses.share()), cause)
        && !ignores_losses(&watch.flow.congestion)
    {
        summary.push_str(&format!("; with such losses {algorithm} reaches about {}", in_bits(most)));
    }
    let near: u64 = drops.iter().filter(|drops| drops.near).map(|drops| drops.count).fold(0, u64::saturating_add);
    // Whoever else finds drops comes first: this is what they do to a flow.
    let told: Option<u64> = drops.iter().filter(|drops| drops.limit.is_some()).map(|drops| drops.count).min();
    let (because, confidence) = match cause {
        Cause::Spurious => {
            let timeouts = ns.counter("TcpExt.TCPSpuriousRTOs").value().copied().unwrap_or(0);
            let because = format!(
                "the peer had got {} of them already ({} spurious timeouts, {} reorderings seen): something delays or \
                 reorders, nothing is lost",
                losses.needless.unwrap_or(0).min(losses.again),
                timeouts,
                losses.reordered.unwrap_or(0)
            );
            (because, Confidence::Proven)
        }
        Cause::LocalDrops => {
            let places: Vec<_> = drops.iter().take(3).map(|drops| format!("{} {}", drops.place, drops.count)).collect();
            let proven = told.is_none() && near as f64 >= losses.lost() as f64 * EXPLAINED;
            let because = format!("this host itself dropped packets in the same window: {}", places.join(", "));
            (because, if proven { Confidence::Proven } else { Confidence::Likely })
        }
        Cause::Path => {
            let mut because = if is_cut_anywhere(watch) {
                "its window was cut at heights that it had carried before without a queue".to_string()
            } else {
                "it waited for retransmission timeouts, and the round trip shows no queue".to_string()
            };
            let known = losses.needless.is_some() && blind.is_empty() && drops.is_empty();
            match (drops.is_empty(), blind.first(), losses.needless) {
                (_, Some(what), _) => because.push_str(&format!("; {what} could not be read to exclude this host")),
                (true, None, Some(needless)) => because.push_str(&format!(
                    "; no queue, ring, backlog or table of this host dropped anything, and {} of them had arrived",
                    how_many(needless)
                )),
                (true, None, None) => {
                    because.push_str("; nobody tells which of them had arrived (no SACK, or a kernel before 4.19)");
                }
                (false, None, _) => because.push_str("; too few packets were dropped on this host to explain it"),
            }
            (because, if known { Confidence::Proven } else { Confidence::Likely })
        }
    };
    let seconds = watch.seconds();
    let last = watch.last();
    let hurt = throttle::hurt(flows);
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: cause.slug().into(),
        confidence,
        subject: subject(ns, watch, others.len() as u64),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: told.map_or(hurt, |told| hurt.min(told.saturating_sub(1))),
    }
    .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", seconds)
    .changed("tcpi_total_retrans", losses.again as f64, "segments", seconds)
    .changed("tcpi_data_segs_out", losses.sent as f64, "segments", seconds);
    for (reading, value) in [
        ("tcpi_dsack_dups", losses.needless),
        ("tcpi_reord_seen", losses.reordered),
        ("tcpi_total_rto", losses.timeouts),
    ] {
        if let Some(value) = value {
            finding = finding.changed(reading, value as f64, "events", seconds);
        }
    }
    let peer = watch.flow.remote.addr;
    let resent = ns.resent().filter(|row| row.remote.addr == peer);
    let (connections, data) =
        resent.filter(|row| row.data > 0).fold((0_u64, 0_u64), |(n, sum), row| (n + 1, sum + row.data));
    if data > 0 {
        let is_short = ns.interval().trace.resent.value().is_some_and(|table| table.lost > 0);
        let of = if is_short { "at least of" } else { "of" };
        let noun = if connections == 1 { "connection" } else { "connections" };
        let reading = format!("tcp_retransmit_skb, {of} {connections} {noun} with {peer}");
        finding = finding.changed(reading, data as f64, "segments", ns.interval().seconds());
    }
    for drops in &drops {
        finding = finding.changed(&*drops.place, drops.count as f64, "packets", ns.interval().seconds());
    }
    let steady = |sample: &crate::snapshot::FlowSample| sample.unacked > 0 && !sample.ca_state.is_recovering();
    Some(
        finding
            .standing("tcpi_snd_cwnd", watch.median(steady, |s| s.snd_cwnd.into()) as f64, "segments")
            .standing("tcpi_snd_ssthresh", last.snd_ssthresh.into(), "segments")
            .standing("tcpi_min_rtt", rtt * 1e6, "µs")
            .standing("tcpi_rtt", watch.median(steady, |s| s.rtt.into()) as f64, "µs"),
    )
}

/// "none" or the number, for sentences.
fn how_many(number: u64) -> String {
    if number == 0 { "none".into() } else { number.to_string() }
}

/// "0.12 %": losses are small numbers.
fn in_hundredths(part: u64, whole: u64) -> String {
    format!("{:.2} %", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(interval, &finding.subject) else { return vec![] };
    match &*finding.cause {
        "local-drops" => stop_dropping(&ns, watch),
        "spurious" => stop_guessing(finding, &ns, watch),
        _ => find_the_place(finding, &ns, watch),
    }
}

fn stop_dropping(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Remedy> {
    let verify = "this counter stands still, fewer segments are sent again, and the goodput rises";
    let (drops, _) = local_drops(ns, watch);
    let remedies = drops.iter().map(|drops| match drops.limit {
        Some(limit) => {
            let text = format!("first mend what dropped {} at {}: `tcproof explain {limit}`", drops.count, drops.place);
            Remedy::new(Level::Service, text).verify(verify)
        }
        None => Remedy::new(Level::Service, format!("{}: {}", drops.place, drops.advice)).verify(verify),
    });
    remedies.collect()
}

fn stop_guessing(finding: &Finding, ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Remedy> {
    let verify = "dsack_dups of `ss -ti` stands still, and the goodput rises";
    let mut remedies = trial_of_bbr(ns, watch, &finding.subject);
    remedies.retain(|remedy| remedy.level == Level::Application);
    remedies.extend([
        Remedy::new(
            Level::Service,
            "find what delays or reorders: a virtual machine or a radio link that stands still for longer than the \
             retransmission timeout, a balancer that spreads one flow over several paths",
        )
        .verify(verify),
        Remedy::new(
            Level::Service,
            format!(
                "where the delay can't be mended: `ip route change {} … rto_min N` in this namespace, with N above the \
                 longest delay beyond the round trip",
                watch.flow.remote.addr
            ),
        )
        .formula(format!(
            "now: RTO {} at a round trip of {}",
            in_ms(f64::from(watch.last().rto) / 1e6),
            in_ms(watch.min_rtt().unwrap_or(0.0))
        ))
        .cost("real losses at the end of a burst are found that much later")
        .verify(verify),
    ]);
    for (knob, to, what) in [
        (TIMESTAMPS, "1", "timestamps tell an answer to the original from one to the repetition"),
        (FRTO, "2", "F-RTO finds out after a timeout whether the original had arrived, and takes the cut back"),
        (SACK, "1", "without selective acknowledgements three duplicates are a loss, whatever arrived"),
    ] {
        if ns.after.knob_number(knob).value() == Some(&0) {
            let text = format!("{what}: switch it on for new connections of this namespace");
            remedies.push(Remedy::knob(text, knob, "0", to).cost("none worth mentioning").verify(verify));
        }
    }
    remedies
}

fn find_the_place(finding: &Finding, ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Remedy> {
    let losses = Losses::of(watch);
    let next = match next_ceiling(ns, watch, LIMIT.slug) {
        Some(next) => format!("; above {}, {} must grow as well", in_bits(next.rate), next.what),
        None => String::new(),
    };
    let place = Remedy::new(
        Level::Service,
        format!(
            "find where they are lost between {} and {} and mend it: errors of ports and cables on the way (`ethtool -S`, \
             the switches' counters), a policer, drops of the peer's host (run tcproof there too); no sysctl cures it{next}",
            watch.flow.local.addr, watch.flow.remote.addr
        ),
    )
    .verify("fewer segments are sent again (ss -ti: retrans), and the goodput rises");
    let mut remedies = trial_of_bbr(ns, watch, &finding.subject);
    if let Some(first) = remedies.first_mut() {
        first.formula = loss_based_rate(watch, losses.share()).map(|most| {
            format!(
                "{} is bounded by {} = {} here; BBR by what gets through",
                called(&watch.flow.congestion),
                congestion_control::model(watch, &losses),
                in_bits(most)
            )
        });
    }
    let at = usize::from(!remedies.is_empty());
    remedies.insert(at, place);
    remedies
}

/// Says nothing beside a flow that stands still: all that it sends is sent again then, whatever the reason.
fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let watched = &ns.flows().value()?.watched;
    let stuck = |watch: &FlowWatch| watch.last().retransmits > 0 && watch.grew(|sample| sample.bytes_acked) == 0;
    if watched.is_empty() || watched.iter().any(|watch| stuck(watch) || cause(ns, watch).is_some()) {
        return None;
    }
    let (again, sent) =
        watched.iter().map(Losses::of).fold((0, 0), |(a, s), losses| (a + losses.again, s + losses.sent));
    Some(format!("{} of {sent} segments sent again ({})", again, in_hundredths(again, sent)))
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::super::testing::{Host, MSS, OWN, Stream, assert_clear, endpoint, remedies, the_finding, unknowns};
    use super::*;
    use crate::finding::Evidence;
    use crate::reading::Absent;
    use crate::snapshot::{CaState, Link, LinkStats, NetnsId, Qdisc, SoftnetCpu};
    use crate::trace::{Counted, Resent};

    /// Over 50 ms, one segment lost every half second, the window cut to ever other heights.
    fn losing() -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(250_000.0).each(|t, s| {
            let n = (t * 2.0) as u32;
            (s.total_retrans, s.snd_ssthresh) = (n, [6, 11, 8, 5][n as usize % 4]);
            (s.snd_cwnd, s.unacked, s.notsent_bytes) = (s.snd_ssthresh + 2, s.snd_ssthresh + 2, 100 * MSS);
            s.snd_wnd = Some(1_000_000);
        })
    }

    /// A host that can be read in full, whose only device dropped so many packets in its queue.
    fn host(stream: Stream, drops: u32) -> Host {
        let link = |drops| Link {
            index: 2,
            stats: Reading::Present(LinkStats::default()),
            qdisc: Reading::Present(Qdisc { kind: "tbf".into(), drops, ..Qdisc::default() }),
            ..Link::default()
        };
        let links = move |drops| Reading::Present(BTreeMap::from([("eth0".to_string(), link(drops))]));
        let cpu = SoftnetCpu { backlog: Some(0), ..SoftnetCpu::default() };
        Host::new()
            .knob(ALGORITHM, "cubic")
            .knob(AVAILABLE, "reno cubic bbr")
            .knob(ALLOWED, "reno cubic")
            .both(move |snapshot| snapshot.system.softnet = Reading::Present(vec![cpu]))
            .ns(|ns| ns.links = links(7))
            .ns_after(|ns| ns.links = links(7 + drops))
            .flow(stream)
    }

    fn verdict(host: &Host) -> (String, Confidence) {
        let finding = the_finding(&LIMIT, host);
        (finding.cause, finding.confidence)
    }

    #[test]
    fn losses_of_the_path_say_what_they_cost() {
        let finding = the_finding(&LIMIT, &host(losing(), 0));
        assert_eq!((&*finding.cause, finding.confidence), ("path-loss", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"2.0 Mbit/s at a round trip of 50 ms: 10 of 863 segments sent again (1.16 %); with such losses CUBIC reaches about 2.6 Mbit/s");
        insta::assert_snapshot!(finding.because, @"its window was cut at heights that it had carried before without a queue; no queue, ring, backlog or table of this host dropped anything, and none of them had arrived");
        insta::assert_snapshot!(remedies(&finding), @r#"
        1. Application: try BBR in the application alone: setsockopt TCP_CONGESTION "bbr": it needs CAP_NET_ADMIN, as tcp_allowed_congestion_control does not name it
        2. Service: find where they are lost between 10.0.0.2 and 10.0.0.9 and mend it: errors of ports and cables on the way (`ethtool -S`, the switches' counters), a policer, drops of the peer's host (run tcproof there too); no sysctl cures it
        3. Service: or for one destination: `ip route change 10.0.0.9 … congctl bbr` in this namespace, with the rest of the route as it is; new connections take it
        "#);
        insta::assert_snapshot!(finding.remedies[0].formula.clone().unwrap_or_default(), @"CUBIC is bounded by 1.22 × 1448 bytes ÷ (50 ms × √0.01159) = 2.6 Mbit/s here; BBR by what gets through");
    }

    #[test]
    fn drops_of_this_host_come_before_losses_of_the_path() {
        let dropping = host(losing(), 9);
        let finding = the_finding(&LIMIT, &dropping);
        assert_eq!((&*finding.cause, finding.confidence), ("local-drops", Confidence::Proven));
        insta::assert_snapshot!(finding.because, @"this host itself dropped packets in the same window: qdisc tbf of eth0 of own 9");
        insta::assert_snapshot!(remedies(&finding), @"1. Service: qdisc tbf of eth0 of own: give this queue room for what comes in a round trip (limit = rate × RTT; `tc -s qdisc` shows it), or let the sender pace (SO_MAX_PACING_RATE, BBR): a shorter queue drops every burst");
        // Fewer drops than losses may still be all of them: one packet here is many segments there.
        assert_eq!(verdict(&host(losing(), 2)), ("local-drops".into(), Confidence::Likely));
        assert_eq!(verdict(&host(losing(), 1)), ("path-loss".into(), Confidence::Likely));
        // A handful does not explain ten thousand.
        let many = losing().each(|_, s| s.total_retrans *= 1_000);
        assert_eq!(verdict(&host(many, 9)), ("path-loss".into(), Confidence::Likely));
    }

    #[test]
    fn a_queue_that_drops_on_purpose_is_not_too_short() {
        let aqm = host(losing(), 9).ns(|ns| {
            let links = if let Reading::Present(links) = &mut ns.links { Some(links) } else { None };
            for link in links.into_iter().flat_map(BTreeMap::values_mut) {
                if let Reading::Present(qdisc) = &mut link.qdisc {
                    qdisc.kind = "fq_codel".into();
                }
            }
        });
        insta::assert_snapshot!(remedies(&the_finding(&LIMIT, &aqm)), @"1. Service: qdisc fq_codel of eth0 of own: this queue drops on purpose, to keep the delay short: what it is allowed to send is the limit (its rate, or the device's); a longer queue would only delay, and between two ends with ECN most of them mark instead of dropping");
    }

    #[test]
    fn the_limit_that_dropped_them_is_named_and_comes_first() {
        let squeezed = host(losing(), 0).after(|snapshot| {
            let cpu = SoftnetCpu { backlog: Some(0), dropped: 40, ..SoftnetCpu::default() };
            snapshot.system.softnet = Reading::Present(vec![cpu]);
        });
        let finding = the_finding(&LIMIT, &squeezed);
        assert_eq!((&*finding.cause, finding.confidence), ("local-drops", Confidence::Likely));
        assert!(finding.hurt < 40, "softnet-backlog has 40");
        insta::assert_snapshot!(remedies(&finding), @"1. Service: first mend what dropped 40 at backlog of CPU 0: `tcproof explain softnet-backlog`");
    }

    #[test]
    fn what_had_arrived_was_not_lost() {
        let finding = the_finding(&LIMIT, &host(losing().each(|_, s| s.dsack_dups = Some(s.total_retrans)), 0));
        assert_eq!((&*finding.cause, finding.confidence), ("spurious", Confidence::Proven));
        insta::assert_snapshot!(finding.because, @"the peer had got 10 of them already (0 spurious timeouts, 0 reorderings seen): something delays or reorders, nothing is lost");
        let off = host(losing().each(|_, s| s.dsack_dups = Some(s.total_retrans)), 0).knob(FRTO, "0");
        insta::assert_snapshot!(remedies(&the_finding(&LIMIT, &off)), @r#"
        1. Application: try BBR in the application alone: setsockopt TCP_CONGESTION "bbr": it needs CAP_NET_ADMIN, as tcp_allowed_congestion_control does not name it
        2. Service: find what delays or reorders: a virtual machine or a radio link that stands still for longer than the retransmission timeout, a balancer that spreads one flow over several paths
        3. Service: where the delay can't be mended: `ip route change 10.0.0.9 … rto_min N` in this namespace, with N above the longest delay beyond the round trip
        4. Kernel: F-RTO finds out after a timeout whether the original had arrived, and takes the cut back: switch it on for new connections of this namespace [net.ipv4.tcp_frto 0 → 2]
        "#);
    }

    #[test]
    fn what_nobody_can_tell_is_only_likely() {
        let likely = ("path-loss".to_string(), Confidence::Likely);
        // Before 4.19, and without SACK, no duplicates are reported.
        assert_eq!(verdict(&host(losing().each(|_, s| s.dsack_dups = None), 0)), likely);
        assert_eq!(verdict(&host(losing().each(|_, s| s.sack = false), 0)), likely);
        // Devices or CPUs that can't be read.
        let unread = || Reading::Absent(Absent::Permission { what: "route netlink".into(), needs: "root".into() });
        assert_eq!(verdict(&host(losing(), 0).ns(|ns| ns.links = unread())), likely);
        let blind = host(losing(), 0).both(|snapshot| {
            snapshot.system.softnet = Reading::Absent(Absent::not_in_kernel("softnet_stat"));
        });
        assert_eq!(verdict(&blind), likely);
    }

    #[test]
    fn silent_where_losses_do_not_hold_the_flow_back() {
        // The path is full: it answers later at the largest windows.
        assert_clear(&LIMIT, &host(losing().each(|_, s| s.rtt = 62_000), 0));
        // BBR.
        assert_clear(&LIMIT, &host(losing().congestion("bbr"), 0));
        // Always cut at the same height: the sawtooth of a full path with a queue too short to see.
        assert_clear(&LIMIT, &host(losing().each(|_, s| s.snd_ssthresh = 20 + s.total_retrans % 2), 0));
        // Two losses in five seconds.
        assert_clear(&LIMIT, &host(losing().each(|_, s| s.total_retrans = s.total_retrans.min(2)), 0));
        // The application has nothing to send for most of the time, or the peer's window is full.
        assert_clear(&LIMIT, &host(losing().each(|t, s| s.busy_time = (t * 2e5) as u64), 0));
        assert_clear(&LIMIT, &host(losing().each(|t, s| s.rwnd_limited = (t * 9e5) as u64), 0));
        // Local drops without a flow that suffers.
        let quick = Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(250_000.0);
        assert_clear(&LIMIT, &host(quick, 900));
    }

    #[test]
    fn timeouts_hurt_whatever_the_algorithm() {
        let waits = losing()
            .congestion("bbr")
            .each(|_, s| (s.ca_state, s.data_segs_out) = (CaState::Loss, s.total_retrans * 20));
        let finding = the_finding(&LIMIT, &host(waits, 0));
        assert_eq!(finding.cause, "path-loss");
        assert!(finding.remedies.iter().all(|remedy| !remedy.text.contains("BBR")), "it uses it already");
    }

    #[test]
    fn flows_of_one_service_are_one_finding_and_unread_ones_are_unknown() {
        let second = Stream::between("10.0.0.2:444", "10.0.0.9:5000").sends(250_000.0).each(|t, s| {
            let n = (t * 2.0) as u32;
            (s.total_retrans, s.snd_ssthresh) = (n, [9, 5, 7, 12][n as usize % 4]);
            (s.snd_cwnd, s.unacked, s.notsent_bytes) = (s.snd_ssthresh + 2, s.snd_ssthresh + 2, 100 * MSS);
        });
        let two = the_finding(&LIMIT, &host(losing(), 0).flow(second));
        insta::assert_snapshot!(two.subject.to_string(), @"10.0.0.2:443 ↔ 10.0.0.9:5000 and 1 more");
        let mut interval = host(losing(), 0).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        assert_eq!(unknowns(&LIMIT, &Host::of(interval)), ["flows of own"]);
    }

    #[test]
    fn short_connections_with_the_same_address_are_told_by_the_probe() {
        let row = |netns: u64, remote: &str, data| Resent {
            netns: NetnsId(netns),
            local: endpoint("10.0.0.2:443"),
            remote: endpoint(remote),
            data,
            syn: 9,
            resets: 0,
            aborted: 0,
        };
        let rows = [
            row(OWN.0, "10.0.0.9:5000", 8),
            row(OWN.0, "10.0.0.9:5001", 30),
            row(OWN.0, "10.0.0.9:5002", 0),
            row(OWN.0, "10.0.0.8:5001", 500),
            row(OWN.0 + 1, "10.0.0.9:5001", 500),
        ];
        let told = |lost| {
            let rows = rows.to_vec();
            let host = host(losing(), 0).trace(|trace| trace.resent = Reading::Present(Counted { rows, lost }));
            let evidence = the_finding(&LIMIT, &host).evidence;
            let of_probe = |one: &&Evidence| one.reading.starts_with("tcp_retransmit_skb");
            evidence.iter().find(of_probe).map(|one| (one.reading.clone(), one.value)).unwrap()
        };
        assert_eq!(told(0), ("tcp_retransmit_skb, of 2 connections with 10.0.0.9".into(), 38.0));
        assert_eq!(told(1).0, "tcp_retransmit_skb, at least of 2 connections with 10.0.0.9");
    }

    #[test]
    fn a_host_without_losses_rules_it_out() {
        let host = host(losing().congestion("bbr"), 0);
        let ns = host.interval().namespaces().next();
        insta::assert_snapshot!(ns.and_then(|ns| ruled_out(&ns)).unwrap_or_default(), @"10 of 863 segments sent again (1.16 %)");
        // "4 of 4 sent again" beside a peer that is gone would accuse what it is to acquit.
        let dead = host.flow(super::super::stall::tests::stuck(5_001));
        let ns = dead.interval().namespaces().next();
        assert_eq!(ns.and_then(|ns| ruled_out(&ns)), None);
    }
}

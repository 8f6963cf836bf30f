//! # timestamps
//!
//! ## What it is
//! Each segment carries the sender's clock, and a receiver that has seen a later time on the same connection takes it for
//! an old duplicate (PAWS, RFC 7323): it answers with an acknowledgement and drops the data. Something between that
//! rewrites timestamps or mixes the clocks of several hosts makes all that follows look old, and the connection stands
//! still although every packet arrives.
//!
//! ## Evidence
//! - `TcpExt.PAWSEstab`: segments of open connections that were rejected. By itself it proves nothing: a path that delays
//!   single segments makes it grow on healthy hosts. What arrives late carries an earlier time than what came before it.
//! - Late data that was sent again meanwhile is a duplicate (`TcpExt.DelayedACKLost`, which the peer is told of by
//!   `TcpExt.TCPDSACKOldSent`); late acknowledgements are answered twice a second at most (`TcpExt.TCPACKSkippedPAWS`).
//!   These are taken off, and so are segments that came before their turn (`TcpExt.TCPOFOQueue`): where the order is lost,
//!   there is late data. With a clock set back, all that is rejected is new data, in order.
//! - Of what is left, three are enough where the sender is on this host too and stands still: its retransmissions are
//!   answered one by one, and nothing of them is accepted.
//! - Where no such sender is seen, it takes ten, and a tenth of all segments that came in.
//! - `TcpExt.PAWSActive` (answers to SYNs) and `TcpExt.TSEcrRejected` (answers with a time that was never sent, since 6.15).
//! - `TcpExt.PAWSTimewait` (since 6.17): a SYN for a port that is in TIME_WAIT, with a time before the one it had. That is
//!   named, not counted: a client that reuses its ports within a millisecond does it too, and is let in a second later.
//! - The sender alone can't tell why its peer answers and accepts nothing: then it is unknown.
//!
//! Causes: `paws-drops`.
//!
//! ## See it yourself
//! - `nstat -az | grep -E 'PAWS|TSEcr'` on the receiver, twice
//! - `tcpdump -nv 'tcp and port N'` on both sides of the middlebox: `TS val` that goes backwards within one connection
//! - `ss -ti` on the sender: `backoff` grows while `lastack` stays short
//!
//! ## Look-alikes
//! - `path-mtu`: retransmissions are not answered, only small segments are.
//! - `keepalive`: nothing is answered.
//! - `loss`: some of the data is acknowledged. What arrived late and was sent again (its cause `spurious`) is rejected here
//!   too, and had better be.
//!
//! ## Remedy
//! The box between: no rewriting of timestamps, or consistently for each connection. Clients behind one address that reuse
//! a port within 60 s: more addresses or ports for the translation. Never `tcp_timestamps` = 0: that takes the protection
//! against old data and the options of SYN cookies from every connection. `tcp_tw_recycle` can't be it: gone since 4.12.
//!
//! ## References
//! RFC 7323 section 5; net/ipv4/tcp_input.c `tcp_validate_incoming`, `tcp_disordered_ack`; net/ipv4/tcp_minisocks.c
//! `tcp_timewait_state_process`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::stall::{self, Stall, stall};
use super::throttle::{self, subject, watch_of};
use super::{Detected, Limit, SocketSet, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::Snapshot;

/// Timestamps that go backwards.
pub(super) static LIMIT: Limit = Limit {
    slug: "timestamps",
    title: "timestamps",
    causes: &[("paws-drops", "segments are rejected because their timestamps go backwards")],
    reads: &[
        "kfree_skb: TCP_RFC7323_PAWS (eBPF)",
        ESTAB,
        "TcpExt.PAWSActive",
        "TcpExt.TSEcrRejected",
        TIMEWAIT,
        "TcpExt.DelayedACKLost",
        "TcpExt.TCPACKSkippedPAWS",
        "TcpExt.TCPOFOQueue",
        "Tcp.InSegs",
        "tcp_info",
    ],
    look_alikes: &["path-mtu", "keepalive", "loss"],
    knobs: &["net.ipv4.tcp_timestamps"],
    scenarios: &["timestamps-paws"],
    source: include_str!("timestamps.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const ESTAB: &str = "TcpExt.PAWSEstab";
const TIMEWAIT: &str = "TcpExt.PAWSTimewait";
/// What not every kernel counts.
const MORE: [&str; 2] = ["TcpExt.PAWSActive", "TcpExt.TSEcrRejected"];
/// What a path that does not keep the order makes: duplicates of what had been sent again (`tcp_send_dupack` counts each),
/// late acknowledgements (`tcp_oow_rate_limited`), and segments before their turn. Every kernel that is supported has them.
const EXPLAINS: [&str; 3] = ["TcpExt.DelayedACKLost", "TcpExt.TCPACKSkippedPAWS", "TcpExt.TCPOFOQueue"];
/// Rejections without another explanation that are a pattern …
const PATTERN: u64 = 10;
/// … as this share of what came in. Late acknowledgements of many connections, each of which is answered, are far less.
const SHARE: f64 = 0.1;
/// Rejections without another explanation that are enough beside a sender that stands still.
const BESIDE_SENDER: u64 = 3;

/// Segments that a namespace rejected within the window.
struct Rejected {
    total: u64,
    /// At most so many of them came late.
    late: u64,
    arrived: Option<u64>,
}

impl Rejected {
    fn of(ns: &NetnsChange<'_>) -> Option<Self> {
        let estab = *ns.counter(ESTAB).value()?;
        let sum = |names: &[&str]| {
            let grown = names.iter().filter_map(|name| ns.counter(name).value().copied());
            grown.fold(0, u64::saturating_add)
        };
        Some(Self {
            total: estab.saturating_add(sum(&MORE)),
            late: estab.min(sum(&EXPLAINS)),
            arrived: ns.counter("Tcp.InSegs").value().copied(),
        })
    }

    /// Those that nothing else explains.
    fn unexplained(&self) -> u64 {
        self.total - self.late
    }

    fn is_pattern(&self) -> bool {
        let share = |arrived| self.unexplained() as f64 >= arrived as f64 * SHARE;
        self.unexplained() >= PATTERN && self.arrived.is_some_and(share)
    }
}

/// A sender on this host that stands still because a listener of this namespace's accepts nothing of it.
fn sender_to<'a>(ns: &NetnsChange<'a>) -> Option<(NetnsChange<'a>, &'a FlowWatch)> {
    let (ports, own) = (ns.listening_ports(), |end| ns.watched_flows().any(|watch| watch.flow.local == end));
    stall::refused(ns.interval()).find(|(_, sender)| {
        let to = sender.flow.remote;
        ports.contains(&to.port) || own(to)
    })
}

/// How many others of the same two ends stand still alike.
fn alike(ns: &NetnsChange<'_>, from: &NetnsChange<'_>, watch: &FlowWatch) -> u64 {
    let same = stall::refused(ns.interval())
        .filter(|(other, sender)| other.id == from.id && sender.flow.remote == watch.flow.remote);
    (same.count() as u64).saturating_sub(1)
}

/// Nothing is filled up here.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    throttle::inodes(interval, |ns, watch| stall(ns, watch) == Some(Stall::Refused))
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    let mut explained = false;
    for ns in interval.namespaces() {
        let Some(rejected) = Rejected::of(&ns) else {
            if let Some(why) = ns.counter(ESTAB).absent() {
                detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), ESTAB, why));
            }
            continue;
        };
        let sender = sender_to(&ns).filter(|_| rejected.unexplained() >= BESIDE_SENDER);
        if rejected.is_pattern() || sender.is_some() {
            explained = true;
            detected.findings.push(finding(&ns, &rejected, sender));
        }
    }
    if !explained {
        detected.unknown.extend(stall::refused(interval).map(|(_, watch)| unexplained(watch)));
    }
    detected
}

fn unexplained(watch: &FlowWatch) -> Unknown {
    let (local, remote) = (watch.flow.local, watch.flow.remote);
    Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("why {remote} answers {local} and accepts nothing"),
        because: format!(
            "sent {} times and answered each time; the peer may reject the timestamps, or the sequence numbers",
            u32::from(watch.last().retransmits) + 1
        ),
        would_need: Some(format!("{ESTAB} of the peer's host")),
    }
}

fn finding(ns: &NetnsChange<'_>, rejected: &Rejected, sender: Option<(NetnsChange<'_>, &FlowWatch)>) -> Finding {
    let seconds = ns.interval().seconds();
    let of = rejected.arrived.map_or_else(String::new, |arrived| format!(" of {arrived} that came in"));
    let (about, confidence, because) = match sender {
        Some((from, watch)) => (
            subject(&from, watch, alike(ns, &from, watch)),
            Confidence::Proven,
            format!(
                "{} of {} sends the same data again and again, is answered each time, and nothing of it is accepted",
                watch.flow.local,
                from.name()
            ),
        ),
        None => (
            Subject::Netns { netns: ns.name().into() },
            Confidence::Likely,
            format!(
                "at most {} of them came late, as by a path that does not keep the order: something between rewrites \
                 timestamps, or mixes the clocks of several hosts",
                rejected.late
            ),
        ),
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: "paws-drops".into(),
        confidence,
        subject: about,
        summary: format!("{} segments{of} rejected in {}: their timestamps went backwards", rejected.total, ns.name()),
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: rejected.unexplained(),
    };
    for name in [ESTAB, TIMEWAIT, "Tcp.InSegs"].iter().chain(&MORE).chain(&EXPLAINS) {
        if let Some(growth) = ns.counter(name).value() {
            finding = finding.changed(*name, *growth as f64, "segments", seconds);
        }
    }
    if let Some((_, watch)) = sender {
        let last = watch.last();
        finding = finding.standing("tcpi_retransmits", last.retransmits.into(), "timeouts").standing(
            "tcpi_last_ack_recv",
            last.last_ack_recv_ms.into(),
            "ms",
        );
    }
    finding
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let between = match watch_of(interval, &finding.subject) {
        Some((_, watch)) => format!("between {} and {}", watch.flow.local.addr, watch.flow.remote.addr),
        None => "between the clients and this host".into(),
    };
    let verify = "TcpExt.PAWSEstab stands still, and the connections go on";
    vec![
        Remedy::new(
            Level::Service,
            format!("let the NAT, firewall or load balancer {between} pass timestamps on as they are, or keep one clock for each connection"),
        )
        .verify(verify),
        Remedy::new(
            Level::Service,
            "where it gives a port to another host within 60 s: more addresses or ports for the translation. Not \
             tcp_timestamps = 0, which takes every connection's protection against old data; tcp_tw_recycle is gone since 4.12",
        )
        .verify(verify),
    ]
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let rejected = Rejected::of(ns)?;
    let refused = ns.watched_flows().any(|watch| stall(ns, watch) == Some(Stall::Refused));
    (!rejected.is_pattern() && !refused).then(|| match rejected.late {
        0 => format!("{} segments rejected for their timestamps", rejected.total),
        late => format!("{} segments rejected for their timestamps, up to {late} of which came late", rejected.total),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stall::tests::stuck;
    use super::super::testing::{Host, Listen, Stream, assert_clear, detect, remedies, the_finding, unknowns};
    use super::*;
    use alloc::string::ToString;

    fn host(rejected: u64, arrived: u64) -> Host {
        Host::new().grew(ESTAB, rejected).grew(TIMEWAIT, 0).grew("Tcp.InSegs", arrived)
    }

    /// Every retransmission is answered, nothing is accepted.
    fn refused() -> Stream {
        stuck(5000).each(|_, s| s.last_ack_recv_ms = s.last_data_sent_ms - 10)
    }

    #[test]
    fn many_rejected_segments() {
        let finding = the_finding(&LIMIT, &host(2_400, 9_000).grew("TcpExt.DelayedACKLost", 12));
        assert_eq!((finding.state, finding.confidence), (State::Limiting, Confidence::Likely));
        insta::assert_snapshot!(finding.summary, @"2400 segments of 9000 that came in rejected in own: their timestamps went backwards");
        insta::assert_snapshot!(finding.because, @"at most 12 of them came late, as by a path that does not keep the order: something between rewrites timestamps, or mixes the clocks of several hosts");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: let the NAT, firewall or load balancer between the clients and this host pass timestamps on as they are, or keep one clock for each connection
        2. Service: where it gives a port to another host within 60 s: more addresses or ports for the translation. Not tcp_timestamps = 0, which takes every connection's protection against old data; tcp_tw_recycle is gone since 4.12
        ");
    }

    #[test]
    fn few_beside_a_sender_that_stands_still() {
        let host = host(4, 900).listener(Listen::at("10.0.0.9:443")).flow_elsewhere("client", refused());
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(finding.confidence, Confidence::Proven);
        insta::assert_snapshot!(finding.subject.to_string(), @"10.0.0.2:5000 ↔ 10.0.0.9:443");
        insta::assert_snapshot!(finding.summary, @"4 segments of 900 that came in rejected in own: their timestamps went backwards");
        insta::assert_snapshot!(finding.because, @"10.0.0.2:5000 of client sends the same data again and again, is answered each time, and nothing of it is accepted");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: let the NAT, firewall or load balancer between 10.0.0.2 and 10.0.0.9 pass timestamps on as they are, or keep one clock for each connection
        2. Service: where it gives a port to another host within 60 s: more addresses or ports for the translation. Not tcp_timestamps = 0, which takes every connection's protection against old data; tcp_tw_recycle is gone since 4.12
        ");
    }

    #[test]
    fn old_duplicates_are_normal() {
        assert_clear(&LIMIT, &host(9, 9_000));
        assert_clear(&LIMIT, &host(4_000, 1_000_000));
        // Ports that are reused fast.
        assert_clear(&LIMIT, &host(0, 9_000).grew(TIMEWAIT, 244));
        let quiet = host(1, 9_000);
        let ns = quiet.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("1 segments rejected for their timestamps"));
        // A sender that stands still for another reason.
        assert_clear(&LIMIT, &host(4, 900).listener(Listen::at("10.0.0.9:443")).flow_elsewhere("client", stuck(5000)));
    }

    /// What arrives late has an earlier time than what came before it: rejected, and rightly so.
    #[test]
    fn a_path_that_does_not_keep_the_order_is_innocent() {
        // The receiver of the data: as many duplicates, as measured over a path that delays 1 % by 10 ms.
        let receiver = || host(2_400, 9_000).grew("TcpExt.DelayedACKLost", 2_400);
        assert_clear(&LIMIT, &receiver());
        let quiet = receiver();
        let ns = quiet.interval().namespaces().next().unwrap();
        let told = (LIMIT.ruled_out)(&ns);
        assert_eq!(told.as_deref(), Some("2400 segments rejected for their timestamps, up to 2400 of which came late"));
        // The sender of the data, as measured: late acknowledgements, of which few are answered.
        assert_clear(&LIMIT, &host(3_410, 17_879).grew("TcpExt.TCPACKSkippedPAWS", 3_394));
        // Several holes at once: the second one's late data is new, but rejected for the first one's retransmission.
        assert_clear(&LIMIT, &host(1_200, 9_000).grew("TcpExt.DelayedACKLost", 400).grew("TcpExt.TCPOFOQueue", 3_000));
        // Nor does it prove what holds a sender up beside it.
        let beside = receiver().listener(Listen::at("10.0.0.9:443")).flow_elsewhere("client", refused());
        assert_eq!(unknowns(&LIMIT, &beside), ["why 10.0.0.9:443 answers 10.0.0.2:5000 and accepts nothing"]);
    }

    #[test]
    fn a_sender_alone_can_t_tell() {
        let alone = host(0, 900).flow(refused());
        assert_eq!(unknowns(&LIMIT, &alone), ["why 10.0.0.9:443 answers 10.0.0.2:5000 and accepts nothing"]);
        insta::assert_snapshot!(detect(&LIMIT, &alone).unknown[0].because, @"sent 6 times and answered each time; the peer may reject the timestamps, or the sequence numbers");
    }

    #[test]
    fn a_kernel_that_does_not_count_is_unknown() {
        assert_eq!(unknowns(&LIMIT, &host(2_400, 9_000).without(ESTAB)), ["TcpExt.PAWSEstab of own"]);
        // The others are younger.
        assert_eq!(the_finding(&LIMIT, &host(2_400, 9_000).without(TIMEWAIT)).cause, "paws-drops");
    }
}

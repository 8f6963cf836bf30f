//! # path-mtu
//!
//! ## What it is
//! The largest packet that the path to a peer carries. A link on the way that is smaller than the own one (a tunnel, a
//! VPN, PPPoE) must tell the sender by ICMP, since TCP forbids routers to fragment. Where that message is filtered, full
//! segments vanish without a word and are sent again at the same size until the connection is given up: handshake and
//! short requests work, everything longer hangs.
//!
//! ## Evidence
//! - A connection that waits with segments of full size in flight, whose retransmission timer expired at least three times
//!   in a row, while not one byte was acknowledged in the window, and on which no segment of full size ever was.
//! - And a sign that the peer is there, because small segments pass: `tcpi_sacked` (the short last segment of a burst was
//!   reported behind the hole), data that goes on coming for longer than one window, or another connection to the same
//!   address that moves small segments. Without any sign the peer may be gone: then this is unknown.
//! - `tcpi_pmtu` stands; `Icmp.InDestUnreachs` and `Icmp6.InPktTooBigs` tell whether any message came at all.
//! - `TcpExt.TCPMTUPSuccess` grows once the kernel probes for smaller sizes by itself.
//!
//! Causes: `black-hole`.
//!
//! ## See it yourself
//! - `ss -tino dst PEER`: `backoff`, `unacked`, `sacked`, `pmtu`, `mss`, and a timer that doubles
//! - `ping -M do -s 1472 PEER` gets no answer and `ping -s 1200 PEER` does; `tracepath PEER` names the hop
//! - `nstat -az IcmpInDestUnreachs Icmp6InPktTooBigs TcpExtTCPMTUPSuccess TcpExtTCPMTUPFail`
//!
//! ## Look-alikes
//! - `keepalive`: the peer is gone: small segments get no answer either.
//! - `timestamps`: the peer answers each segment, and accepts none.
//! - `loss`: some segments of full size are acknowledged.
//! - `receive-window`: the peer's window is shut; the timer is the persist timer.
//!
//! ## Remedy
//! Let the message through first: ICMP type 3 code 4 and ICMPv6 type 2, at every firewall between. Else clamp the MSS on
//! the tunnel or router, or give the route an mtu. Last, `tcp_mtu_probing` = 1 in the namespace: the kernel tries smaller
//! segments after some timeouts (measured: 6.6 s until the first byte passes, then as usual); 2 starts every connection at
//! 1024 bytes and probes upwards (0.1 s).
//!
//! ## References
//! RFC 2923, RFC 4821, RFC 8899; ip-sysctl.rst `tcp_mtu_probing`; net/ipv4/tcp_timer.c `tcp_mtu_probing`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::stall::{self, Sign, Stall, stall, unanswered, waited};
use super::throttle::{self, alike, in_bytes, subject, watch_of};
use super::{Detected, Limit, SocketSet};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Unknown};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::Snapshot;

/// The path MTU.
pub(super) static LIMIT: Limit = Limit {
    slug: "path-mtu",
    title: "path MTU",
    causes: &[("black-hole", "segments of full size vanish on the way, and no ICMP message says so")],
    reads: &["tcp_info", "Icmp.InDestUnreachs", "Icmp6.InPktTooBigs", "TcpExt.TCPMTUPSuccess", "TcpExt.TCPMTUPFail"],
    look_alikes: &["keepalive", "timestamps", "loss", "receive-window"],
    knobs: &[PROBING],
    scenarios: &["path-mtu-black-hole", "path-mtu-filtered-icmp"],
    source: include_str!("path_mtu.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const PROBING: &str = "net.ipv4.tcp_mtu_probing";
/// What a message about the MTU counts as.
const MESSAGES: [&str; 2] = ["Icmp.InDestUnreachs", "Icmp6.InPktTooBigs"];

fn sign(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Sign> {
    match stall(ns, watch)? {
        Stall::LargeSegments(sign) => Some(sign),
        _ => None,
    }
}

/// Nothing is filled up here.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    throttle::inodes(interval, |ns, watch| sign(ns, watch).is_some())
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        // Alike whatever the sign is: one path, one finding, with the best of the signs.
        for ((), flows) in alike(&ns, |watch| sign(&ns, watch).map(|_| ())) {
            detected.findings.extend(finding(&ns, &flows));
        }
        for ((), flows) in alike(&ns, |watch| (stall(&ns, watch)? == Stall::Unclear).then_some(())) {
            // With a finding for the same peer, what the others lack is only a sign of their own.
            let Some(watch) = flows.first() else { continue };
            let remote = watch.flow.remote;
            let told = ns.watched_flows().any(|other| other.flow.remote == remote && sign(&ns, other).is_some());
            if !told {
                detected.unknown.push(unclear(watch, flows.len()));
            }
        }
    }
    detected
}

fn unclear(watch: &FlowWatch, flows: usize) -> Unknown {
    let (last, remote) = (watch.last(), watch.flow.remote);
    // Headers of IP and ICMP.
    let payload = last.pmtu.saturating_sub(if remote.addr.is_ipv4() { 28 } else { 48 });
    let more = if flows > 1 { format!(" ({} more alike)", flows - 1) } else { String::new() };
    Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("whether {} is there, for {}{more}", remote.addr, watch.flow.local),
        because: format!(
            "{} in segments of {} bytes wait for an answer for {:.1} s, none of this size ever got one, and nothing \
             else comes from there: too large for the path, or nobody there",
            in_bytes(unanswered(&last)),
            last.snd_mss,
            waited(&last)
        ),
        would_need: Some(format!("`ping {0}` and `ping -M do -s {payload} {0}`", remote.addr)),
    }
}

fn messages(ns: &NetnsChange<'_>) -> Option<u64> {
    MESSAGES.iter().filter_map(|name| ns.counter(name).value().copied()).reduce(u64::saturating_add)
}

fn finding(ns: &NetnsChange<'_>, flows: &[&FlowWatch]) -> Option<Finding> {
    let (sign, watch) =
        flows.iter().filter_map(|watch| Some((sign(ns, watch)?, *watch))).min_by_key(|(sign, _)| *sign)?;
    let last = watch.last();
    let summary = format!(
        "{} in segments of {} bytes wait for an answer for {:.1} s, sent {} times, while small segments pass",
        in_bytes(unanswered(&last)),
        last.snd_mss,
        waited(&last),
        u32::from(last.retransmits) + 1,
    );
    let alive = match sign {
        Sign::Sacked => format!(
            "the peer has reported {} segment(s) behind the hole, and acknowledged none of full size",
            last.sacked
        ),
        Sign::Sends => "the peer goes on sending, so it gets our acknowledgements, which are small".into(),
        Sign::OtherFlow => {
            "another connection to the same address moves small segments, this one had none of full size acknowledged"
                .into()
        }
    };
    let icmp = match messages(ns) {
        Some(0) => "no ICMP message about it came in".to_string(),
        Some(n) => format!("the {n} ICMP messages that came in did not change this path's MTU of {}", last.pmtu),
        None => format!("this path's MTU stands at {}", last.pmtu),
    };
    let seconds = watch.seconds();
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: "black-hole".into(),
        // A filter that looks into the data would look the same.
        confidence: Confidence::Likely,
        subject: subject(ns, watch, flows.len() as u64 - 1),
        summary,
        because: format!("{alive}; {icmp}"),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: throttle::hurt(flows),
    }
    .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", seconds)
    .standing("tcpi_retransmits", last.retransmits.into(), "timeouts")
    .standing("tcpi_unacked", last.unacked.into(), "segments")
    .standing("tcpi_sacked", last.sacked.into(), "segments")
    .standing("tcpi_snd_mss", last.snd_mss.into(), "bytes")
    .standing("tcpi_pmtu", last.pmtu.into(), "bytes");
    for name in MESSAGES.iter().chain(&["TcpExt.TCPMTUPSuccess", "TcpExt.TCPMTUPFail"]) {
        if let Some(growth) = ns.counter(name).value() {
            finding = finding.changed(*name, *growth as f64, "events", ns.interval().seconds());
        }
    }
    Some(finding)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(interval, &finding.subject) else { return vec![] };
    let remote = watch.flow.remote.addr;
    let verify = "the connection goes on, and its pmtu in ss -ti is smaller than before";
    let message =
        if remote.is_ipv4() { "ICMP type 3 code 4 (fragmentation needed)" } else { "ICMPv6 type 2 (packet too big)" };
    let mut remedies = vec![
        Remedy::new(
            Level::Service,
            format!("let {message} through, in the firewalls of this host and of all between it and {remote}"),
        )
        .cost("none: a host that drops it breaks what TCP relies on")
        .verify(verify),
        Remedy::new(
            Level::Service,
            format!(
                "or clamp the MSS where the path narrows (nft: tcp flags syn tcp option maxseg size set rt mtu), or say it \
                 here: ip route change {remote} … mtu N, as small as tracepath finds it"
            ),
        )
        .cost("(old MTU − N) bytes less in every segment of that route")
        .verify(verify),
    ];
    // Where it is on already it has not found a size yet, or the segments are not lost for theirs.
    if ns.after.knob_number(PROBING).value() == Some(&0) {
        remedies.push(
            Remedy::knob("or let the kernel try smaller segments by itself after repeated timeouts", PROBING, "0", "1")
                .alternative()
                .formula("1: after tcp_retries1 timeouts, from tcp_base_mss (1024 bytes) on; 2: from the start")
                .cost("each new connection still hangs for some 6.6 s first (0.1 s with 2, which slows every start)")
                .verify("TcpExt.TCPMTUPSuccess grows, and open connections go on at their next timeout"),
        );
    }
    remedies
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let flows = ns.flows();
    let watched = &flows.value()?.watched;
    let large = |watch: &FlowWatch| matches!(stall(ns, watch), Some(Stall::LargeSegments(_) | Stall::Unclear));
    if watched.iter().any(large) {
        return None;
    }
    let stalled = watched.iter().filter(|watch| stall::is_stalled(ns, watch)).count();
    Some(match stalled {
        0 => format!("no connection stands still, of {} looked at", watched.len()),
        n => format!("segments of full size came through before on the {n} that stand still, or theirs are small"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stall::tests::{black_hole, stuck};
    use super::super::testing::{Host, Stream, assert_clear, detect, remedies, the_finding, unknowns};
    use super::*;
    use crate::reading::{Absent, Reading};
    use crate::snapshot::Timer;

    fn host(stream: Stream) -> Host {
        Host::new().knob(PROBING, "0").grew("Icmp.InDestUnreachs", 0).grew("Icmp6.InPktTooBigs", 0).flow(stream)
    }

    #[test]
    fn large_segments_that_vanish_beside_small_ones_that_pass() {
        let finding = the_finding(&LIMIT, &host(black_hole(5000)).flow(black_hole(5001)));
        assert_eq!((finding.state, finding.confidence), (State::Limiting, Confidence::Likely));
        insta::assert_snapshot!(finding.subject.to_string(), @"10.0.0.2:5000 ↔ 10.0.0.9:443 and 1 more");
        insta::assert_snapshot!(finding.summary, @"11.7 KiB in segments of 1448 bytes wait for an answer for 11.7 s, sent 6 times, while small segments pass");
        insta::assert_snapshot!(finding.because, @"the peer has reported 1 segment(s) behind the hole, and acknowledged none of full size; no ICMP message about it came in");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: let ICMP type 3 code 4 (fragmentation needed) through, in the firewalls of this host and of all between it and 10.0.0.9
        2. Service: or clamp the MSS where the path narrows (nft: tcp flags syn tcp option maxseg size set rt mtu), or say it here: ip route change 10.0.0.9 … mtu N, as small as tracepath finds it
        3. Kernel: or let the kernel try smaller segments by itself after repeated timeouts [net.ipv4.tcp_mtu_probing 0 → 1]
        ");
    }

    #[test]
    fn messages_that_did_not_help_are_named() {
        let finding = the_finding(&LIMIT, &host(black_hole(5000)).grew("Icmp.InDestUnreachs", 7).knob(PROBING, "1"));
        insta::assert_snapshot!(finding.because, @"the peer has reported 1 segment(s) behind the hole, and acknowledged none of full size; the 7 ICMP messages that came in did not change this path's MTU of 1500");
        // Already on: not advised again.
        assert_eq!(finding.remedies.len(), 2);
    }

    #[test]
    fn without_a_sign_of_the_peer_it_is_unknown() {
        let host = host(stuck(5000)).flow(stuck(5001));
        insta::assert_snapshot!(unknowns(&LIMIT, &host).join("\n"), @"whether 10.0.0.9 is there, for 10.0.0.2:5000 (1 more alike)");
        insta::assert_snapshot!(detect(&LIMIT, &host).unknown[0].because, @"11.7 KiB in segments of 1448 bytes wait for an answer for 11.7 s, none of this size ever got one, and nothing else comes from there: too large for the path, or nobody there");
        // A sign on one of them is enough for all to that peer.
        let detected = detect(&LIMIT, &host.flow(black_hole(5002)));
        assert_eq!((detected.findings.len(), detected.unknown.len()), (1, 0));
    }

    #[test]
    fn silent_where_it_is_something_else() {
        // The peer is gone: segments of full size came through before.
        assert_clear(&LIMIT, &host(stuck(5000).each(|_, s| (s.bytes_acked, s.data_segs_out) = (2_959_713, 2_213))));
        // It answers, and accepts nothing: timestamps.
        assert_clear(&LIMIT, &host(stuck(5000).each(|_, s| s.last_ack_recv_ms = s.last_data_sent_ms - 10)));
        // Its window is shut.
        assert_clear(&LIMIT, &host(black_hole(5000).each(|_, s| s.timer = Timer::Persist)));
        // Something was acknowledged: loss.
        assert_clear(&LIMIT, &host(black_hole(5000).each(|t, s| s.bytes_acked = 1 + (t * 1e4) as u64)));
        // A short outage: two timeouts.
        assert_clear(&LIMIT, &host(black_hole(5000).each(|_, s| (s.retransmits, s.backoff) = (2, 2))));
        let quiet = host(Stream::between("10.0.0.2:5000", "10.0.0.9:443").sends(1e6));
        let ns = quiet.interval().namespaces().next().unwrap();
        assert_eq!((LIMIT.ruled_out)(&ns).as_deref(), Some("no connection stands still, of 1 looked at"));
    }

    #[test]
    fn flows_that_could_not_be_looked_at_are_unknown() {
        let mut interval = host(black_hole(5000)).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        assert_eq!(unknowns(&LIMIT, &Host::of(interval)), ["flows of own"]);
    }
}

//! # congestion-window
//!
//! ## What it is
//! How many segments a sender may have in flight, as its congestion control sees the path. A window of `n` bytes lets at
//! most `n` bytes through in a round trip. It is meant to be the limit: it grows until the path is full. This limit is about
//! windows that are small although the path is not: they were cut in the past and grow back slowly over a long path, are
//! locked by a route, or begin anew after each pause.
//!
//! ## Evidence
//! - In most looks as much is in flight as the window allows (`unacked` = `cwnd`), data waits unsent, nothing was lost in the
//!   observation, and the round trip shows no queue (less than a tenth above the shortest).
//! - The window is well beyond what it was last cut from (5 × `ssthresh`), so that the path carries more now than it did then,
//!   and needs longer than 5 s to double. Within the ordinary sawtooth, and while it grows faster, there is no finding.
//! - Or it did not change at all over 20 round trips, all of which it was full in: something forbids it to grow. Not between
//!   `ssthresh` and five times that: CUBIC stands still for seconds at the height of its last cut.
//! - After a pause longer than the retransmission timeout, a burst began with an initial window or a little more, though
//!   the window had been more than twice as large before, and nothing had been lost: `slow-start-after-idle`, when a fifth
//!   of the busy looks saw it full before it had half of its size back.
//! - BBR sets its window by itself: neither applies.
//! - A flow that fills its path has no finding, and one whose window doubles within seconds is growing.
//!
//! Causes: `path` (small for what happened on the path, or for its route), `slow-start-after-idle`
//! (`net.ipv4.tcp_slow_start_after_idle`).
//!
//! ## See it yourself
//! - `ss -tin dst PEER`, several times: `cwnd`, `ssthresh`, `unacked`, `notsent`, `rtt`, `minrtt`, `lastsnd`, `retrans`
//! - `ip route get PEER`, `ip route show`: `cwnd lock`, `initcwnd`, `congctl`
//! - `sysctl net.ipv4.tcp_slow_start_after_idle net.ipv4.tcp_congestion_control` in the namespace
//!
//! ## Look-alikes
//! - `loss`: the window is small because segments are lost now.
//! - `receive-window`: the peer's window is full; `rwnd_limited` tells exactly.
//! - `send-buffer`: less in flight than the window allows, and the write queue takes no more.
//! - A full path: its round trip is longer than the shortest one.
//!
//! ## Remedy
//! A window that grows back slowly: an algorithm that finds the bandwidth by itself (BBR), for the application or the route;
//! CUBIC instead of Reno. After pauses: BBR again, a larger `initcwnd` of the route (a restart begins with it), or
//! `tcp_slow_start_after_idle=0`, which acts at once on open connections: bursts then go out at the rate of long ago.
//!
//! ## References
//! RFC 5681 section 4.1 (restart after idle), RFC 6928, RFC 9438; net/ipv4/tcp_output.c `tcp_cwnd_restart` (halves the window
//! for each timeout that the pause lasted), `tcp_cwnd_validate`; net/ipv4/tcp_cong.c; ip-route(8) cwnd, initcwnd.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::congestion_control::{
    ALGORITHM, ALLOWED, AVAILABLE, Losses, RESTART, called, doubles_in, is_clamped, restarts, trial_of_bbr,
    usual_flight,
};
use super::throttle::{
    self, Sending, alike, in_bits, in_bytes, in_ms, next_ceiling, queueing, sending, subject, watch_of,
};
use super::{Detected, Limit, SocketSet};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::{FlowSample, Snapshot};

/// The congestion window of a flow.
pub(super) static LIMIT: Limit = Limit {
    slug: "congestion-window",
    title: "congestion window",
    causes: &[
        ("path", "the window was cut in the past and grows slowly, or the route locks it; the path carries more"),
        ("slow-start-after-idle", "after each pause the window begins anew, and each burst waits for it to grow"),
    ],
    reads: &[
        "tcpi_snd_cwnd",
        "tcpi_snd_ssthresh",
        "tcpi_unacked",
        "tcpi_notsent_bytes",
        "tcpi_total_retrans",
        "tcpi_rtt",
        RESTART,
    ],
    look_alikes: &["loss", "receive-window", "send-buffer"],
    knobs: &[RESTART, ALGORITHM, ALLOWED, AVAILABLE],
    scenarios: &["congestion-window-path", "congestion-slow-start-after-idle"],
    source: include_str!("congestion_window.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

/// Whether the window restarts after pauses; none where it is not the limit.
fn restarting(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<bool> {
    match sending(ns, watch)? {
        Sending::SlowStartAfterIdle => Some(true),
        Sending::CongestionWindow => Some(false),
        _ => None,
    }
}

/// A full congestion window is how every bulk transfer looks.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    throttle::inodes(interval, |ns, watch| restarting(ns, watch).is_some())
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        for (restarting, flows) in alike(&ns, |watch| restarting(&ns, watch)) {
            detected.findings.extend(finding(&ns, restarting, &flows));
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, restarting: bool, flows: &[&FlowWatch]) -> Option<Finding> {
    let (watch, others) = flows.split_first()?;
    let rtt = watch.min_rtt()?;
    let (first, last) = (watch.first(), watch.last());
    let seconds = watch.seconds();
    let (summary, because, confidence) = if restarting {
        let restarts = restarts(watch);
        let (before, after) = restarts.iter().copied().max_by_key(|(before, _)| *before)?;
        let summary = format!(
            "after {} of its pauses in {seconds:.1} s the window fell, from {before} segments to {after} or less: each burst \
             needs {} round trips of {} to get back",
            restarts.len(),
            doublings(after, before),
            in_ms(rtt)
        );
        let because = format!("{RESTART} is on, and nothing was lost when the window fell");
        let known = ns.after.knob_number(RESTART).value().is_some();
        (summary, because, if known { Confidence::Proven } else { Confidence::Likely })
    } else {
        let summary = format!(
            "{} at a round trip of {}: the window of {} segments ({}) is full, nothing is lost, no queue on the way",
            in_bits(watch.sent_rate()),
            in_ms(rtt),
            last.snd_cwnd,
            in_bytes(throttle::cwnd_bytes(&last)),
        );
        let because = if is_clamped(watch) {
            format!(
                "the window stood at {} segments for {:.0} round trips: something forbids it to grow, such as `cwnd lock` of \
                 the route",
                last.snd_cwnd,
                seconds / rtt
            )
        } else {
            format!(
                "it was cut to {} segments by earlier losses and has long passed that; at the pace of {} it takes {:.0} s to \
                 double",
                last.snd_ssthresh,
                called(&watch.flow.congestion),
                doubles_in(watch).unwrap_or(0.0)
            )
        };
        (summary, because, Confidence::Proven)
    };
    let busy = |sample: &FlowSample| sample.wqueue > 0;
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: if restarting { "slow-start-after-idle" } else { "path" }.into(),
        confidence,
        subject: subject(ns, watch, others.len() as u64),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: throttle::hurt(flows),
    }
    .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", seconds)
    .changed("tcpi_total_retrans", Losses::of(watch).again as f64, "segments", seconds)
    .standing("tcpi_snd_cwnd", last.snd_cwnd.into(), "segments")
    .standing("tcpi_snd_cwnd at first", first.snd_cwnd.into(), "segments")
    .standing("tcpi_snd_ssthresh", last.snd_ssthresh.into(), "segments")
    .standing("tcpi_unacked × tcpi_snd_mss", usual_flight(watch) as f64, "bytes")
    .standing("tcpi_notsent_bytes", watch.median(busy, |s| s.notsent_bytes.into()) as f64, "bytes")
    .standing("tcpi_min_rtt", rtt * 1e6, "µs")
    .standing("tcpi_rtt", last.rtt.into(), "µs");
    Some(finding)
}

/// Round trips of slow start from one window to another.
fn doublings(from: u32, to: u32) -> u32 {
    (to / from.max(1)).max(1).ilog2().max(1)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(interval, &finding.subject) else { return vec![] };
    let mut remedies = trial_of_bbr(&ns, watch, &finding.subject);
    if finding.cause == "slow-start-after-idle" {
        let verify = "cwnd of `ss -ti` keeps its size over a pause, and bursts arrive sooner";
        let largest = restarts(watch).into_iter().map(|(before, _)| before).max().unwrap_or(0);
        remedies.retain(|remedy| remedy.knob.is_none());
        remedies.push(
            Remedy::new(
                Level::Service,
                format!(
                    "or begin each restart with more: `ip route change {} … initcwnd N` in this namespace, with N below the \
                     {largest} segments that the path carried",
                    watch.flow.remote.addr
                ),
            )
            .cost("new connections begin with it too, into a path that nobody has measured yet")
            .verify(verify),
        );
        remedies.push(
            Remedy::knob("keep the window over pauses, in this namespace", RESTART, "1", "0")
                .cost("a burst after a pause goes out at the rate of before: where others came meanwhile, it is lost and repeated")
                .verify(verify),
        );
        return remedies;
    }
    let next = match next_ceiling(&ns, watch, LIMIT.slug) {
        Some(next) => {
            format!("; above {}, {} must grow as well", in_bits(next.rate), next.what)
        }
        None => String::new(),
    };
    let look = Remedy::new(
        Level::Service,
        format!(
            "look whether the route locks the window: `ip route get {}` with `cwnd lock`; without that, let transfers keep \
             their connection instead of starting anew{next}",
            watch.flow.remote.addr
        ),
    )
    .verify("cwnd of `ss -ti` grows until the round trip does");
    let at = if is_clamped(watch) { 0 } else { remedies.len().min(2) };
    remedies.insert(at, look);
    remedies
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let watched = &ns.flows().value()?.watched;
    let none = watched.iter().all(|watch| restarting(ns, watch).is_none());
    let seen = watched.iter().filter_map(queueing).count();
    (none && seen > 0).then(|| format!("no window is small without loss and queue, of {seen} flows"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, MSS, Stream, assert_clear, remedies, the_finding, unknowns};
    use super::*;
    use crate::reading::{Absent, Reading};

    /// Over 50 ms, cut to `cut` in the past, from `from` segments on it grows by eight a second.
    fn growing(cut: u32, from: u32) -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").congestion("reno").sends(1_300_000.0).each(move |t, s| {
            s.snd_ssthresh = cut;
            s.snd_cwnd = from + (t * 8.0) as u32;
            (s.unacked, s.notsent_bytes, s.snd_wnd, s.sndbuf) = (s.snd_cwnd, 100 * MSS, Some(3_000_000), 4_194_304);
        })
    }

    /// A burst of half a second, a pause of two, and a burst that begins with `after` segments instead of 400.
    fn bursts(after: u32) -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").each(move |t, s| {
            let pause = (1.0..3.0).contains(&t);
            s.snd_cwnd = if t < 3.0 { 400 } else { after << (((t - 3.0) * 20.0) as u32).min(3) };
            let burst = !pause && t < 3.5;
            s.data_segs_out = if t < 3.0 { 1_000 } else { 1_001 + (t * 100.0) as u32 };
            s.bytes_acked = u64::from(s.data_segs_out) * u64::from(MSS);
            s.busy_time = if t < 3.0 { 1_000_000 } else { 1_500_000 };
            (s.unacked, s.wqueue) = if burst { (s.snd_cwnd, 500 * MSS) } else { (0, 0) };
            s.last_data_sent_ms = if pause { ((t - 1.0) * 1e3) as u32 } else { 1 };
        })
    }

    fn host(stream: Stream) -> Host {
        Host::new()
            .knob("net.ipv4.tcp_wmem", "4096\t16384\t4194304")
            .knob(RESTART, "1")
            .knob(ALGORITHM, "cubic")
            .knob(AVAILABLE, "reno cubic")
            .knob(ALLOWED, "reno cubic")
            .flow(stream)
    }

    #[test]
    fn a_window_that_was_cut_and_grows_slowly() {
        let finding = the_finding(&LIMIT, &host(growing(5, 40)));
        assert_eq!((&*finding.cause, finding.confidence), ("path", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"10 Mbit/s at a round trip of 50 ms: the window of 80 segments (113.1 KiB) is full, nothing is lost, no queue on the way");
        insta::assert_snapshot!(finding.because, @"it was cut to 5 segments by earlier losses and has long passed that; at the pace of Reno it takes 10 s to double");
        insta::assert_snapshot!(remedies(&finding), @r#"
        1. Application: try BBR (first `modprobe tcp_bbr`: this kernel has not loaded it) in the application alone (it, or the route, chose Reno: the default here is CUBIC): setsockopt TCP_CONGESTION "bbr": it needs CAP_NET_ADMIN, as tcp_allowed_congestion_control does not name it
        2. Service: or for one destination: `ip route change 10.0.0.9 … congctl bbr` in this namespace, with the rest of the route as it is; new connections take it
        3. Service: look whether the route locks the window: `ip route get 10.0.0.9` with `cwnd lock`; without that, let transfers keep their connection instead of starting anew
        "#);
    }

    #[test]
    fn a_window_that_does_not_grow_is_locked() {
        let finding =
            the_finding(&LIMIT, &host(growing(0x7fff_ffff, 40).each(|_, s| (s.snd_cwnd, s.unacked) = (20, 20))));
        assert_eq!(finding.cause, "path");
        insta::assert_snapshot!(finding.because, @"the window stood at 20 segments for 100 round trips: something forbids it to grow, such as `cwnd lock` of the route");
        assert!(finding.remedies[0].text.contains("cwnd lock"));
    }

    #[test]
    fn a_window_that_begins_anew_after_pauses() {
        let finding = the_finding(&LIMIT, &host(bursts(10)));
        assert_eq!((&*finding.cause, finding.confidence), ("slow-start-after-idle", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"after 1 of its pauses in 5.0 s the window fell, from 400 segments to 10 or less: each burst needs 5 round trips of 50 ms to get back");
        insta::assert_snapshot!(remedies(&finding), @r#"
        1. Application: try BBR (first `modprobe tcp_bbr`: this kernel has not loaded it) in the application alone: setsockopt TCP_CONGESTION "bbr": it needs CAP_NET_ADMIN, as tcp_allowed_congestion_control does not name it
        2. Service: or for one destination: `ip route change 10.0.0.9 … congctl bbr` in this namespace, with the rest of the route as it is; new connections take it
        3. Service: or begin each restart with more: `ip route change 10.0.0.9 … initcwnd N` in this namespace, with N below the 400 segments that the path carried
        4. Kernel: keep the window over pauses, in this namespace [net.ipv4.tcp_slow_start_after_idle 1 → 0]
        "#);
        let unread = host(bursts(10)).without_knob(RESTART);
        assert_eq!(the_finding(&LIMIT, &unread).confidence, Confidence::Likely);
    }

    #[test]
    fn silent_where_the_window_does_what_it_should() {
        // The sawtooth of a transfer that fills its path, and a path that is about to be full.
        assert_clear(&LIMIT, &host(growing(40, 40)));
        assert_clear(&LIMIT, &host(growing(5, 40).each(|_, s| s.rtt = 56_000)));
        // CUBIC stands still for some seconds at the height of its last cut.
        let plateau = |_: f64, s: &mut FlowSample| (s.snd_ssthresh, s.snd_cwnd, s.unacked) = (700, 1_000, 1_000);
        assert_clear(&LIMIT, &host(growing(5, 40).congestion("cubic").each(plateau)));
        // Grows fast.
        assert_clear(&LIMIT, &host(growing(5, 10)));
        // Losses in the window: `loss` has the say.
        assert_clear(&LIMIT, &host(growing(5, 40).each(|t, s| s.total_retrans = t as u32)));
        // Not held back by it: the peer's window, or no more to send.
        assert_clear(&LIMIT, &host(growing(5, 40).each(|t, s| s.rwnd_limited = (t * 9e5) as u64)));
        assert_clear(&LIMIT, &host(growing(5, 40).each(|_, s| s.notsent_bytes = 0)));
        // BBR.
        assert_clear(&LIMIT, &host(growing(5, 40).congestion("bbr")));
    }

    #[test]
    fn silent_where_pauses_do_not_matter() {
        // The window was kept, or only halved.
        assert_clear(&LIMIT, &host(bursts(400)));
        assert_clear(&LIMIT, &host(bursts(150)));
        // Switched off: it fell for another reason.
        assert_clear(&LIMIT, &host(bursts(10)).knob(RESTART, "0"));
        // Something was lost when it fell.
        assert_clear(&LIMIT, &host(bursts(10).each(|t, s| s.total_retrans = u32::from(t >= 3.0))));
        // A transfer that fills its path, and paused once for half a second: it had its window back within moments.
        let bulk = |t: f64, s: &mut FlowSample| {
            let pause = (0.5..1.0).contains(&t);
            s.snd_cwnd = if (1.0..1.4).contains(&t) { 10 << ((t - 1.0) * 20.0) as u32 } else { 400 };
            s.data_segs_out = if pause { 800 } else { (t * 1e4) as u32 + 1 };
            s.bytes_acked = u64::from(s.data_segs_out) * u64::from(MSS);
            s.busy_time = (t * 9e5) as u64;
            (s.unacked, s.wqueue) = if pause { (0, 0) } else { (s.snd_cwnd, 500 * MSS) };
            s.last_data_sent_ms = if pause { 300 + ((t - 0.5) * 1e3) as u32 } else { 1 };
            (s.notsent_bytes, s.rtt) = (100 * MSS, 80_000);
        };
        assert_clear(&LIMIT, &host(Stream::between("10.0.0.2:443", "10.0.0.9:5000").each(bulk)));
        // A few bytes now and then: the window does not hold them back.
        assert_clear(&LIMIT, &host(bursts(10).each(|_, s| s.unacked = s.unacked.min(2))));
        assert_clear(&LIMIT, &host(bursts(10).congestion("bbr")));
    }

    #[test]
    fn flows_that_could_not_be_looked_at_are_unknown() {
        let mut interval = host(growing(5, 40)).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        assert_eq!(unknowns(&LIMIT, &Host::of(interval)), ["flows of own"]);
    }

    #[test]
    fn a_host_without_small_windows_rules_it_out() {
        let host = host(growing(40, 40));
        let ns = host.interval().namespaces().next();
        insta::assert_snapshot!(ns.and_then(|ns| ruled_out(&ns)).unwrap_or_default(), @"no window is small without loss and queue, of 1 flows");
    }
}

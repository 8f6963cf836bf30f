//! # keepalive
//!
//! ## What it is
//! How a connection notices that its peer is gone without a word: a host that lost power, a cable, a middlebox that
//! forgot it. TCP by itself never asks. SO_KEEPALIVE asks when a connection is idle, after two hours unless told otherwise.
//! While data waits for an acknowledgement no keepalive is sent at all: then the data itself is sent again, and the
//! kernel gives up after what `tcp_retries2` stands for, 924.6 s. Until then the application waits.
//!
//! ## Evidence
//! - Unanswered data: the retransmission timer expired at least three times in a row, nothing was acknowledged in the
//!   window, and nothing at all has come from the peer for as long as the data waits (2 s at least). The time until the
//!   kernel gives up is reckoned as it does: from 200 ms on, doubling up to 120 s, whatever the connection's own timeout.
//!   TCP_USER_TIMEOUT can't be seen from outside, so this is never more than likely. `limiting` where this host asked the
//!   peer for something; of a service's client it is `near`: those go away without a word every day.
//! - Idle connections without a keepalive timer, against the one middlebox that is known here: the namespace's own
//!   connection tracking with `nf_conntrack_tcp_timeout_established`. A connection that it forgot is refused where it does
//!   not pick up connections in their middle (`nf_conntrack_tcp_loose` = 0); else only a translated one breaks.
//! - Idle connections alone are nothing. A peer that is gone while nothing is in flight can't be seen from here.
//!
//! Causes: `no-keepalive` (data waits for a peer that says nothing), `slower-than-middlebox` (connections are idle for
//! longer than something between remembers them).
//!
//! ## See it yourself
//! - `ss -tnoe state established`: `timer:(on,…)` with growing timeouts and a Send-Q that stands; `timer:(keepalive,…)` is
//!   one that is asked, no timer is one that is not
//! - `ss -ti`: `lastrcv`, `lastack`, `backoff`
//! - `sysctl net.ipv4.tcp_retries2 net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_loose`
//! - `nstat -az TcpExtTCPAbortOnTimeout TcpExtTCPKeepAlive`
//!
//! ## Look-alikes
//! - `path-mtu`: small segments still get through.
//! - `timestamps`: the peer answers each segment.
//! - `receive-window`: the peer answers probes with a window that is shut.
//! - `loss`: something is acknowledged now and then.
//! - An outage of a second or two: over before three timeouts and two seconds are.
//!
//! ## Remedy
//! Unanswered data: the application bounds how long it waits, by TCP_USER_TIMEOUT or a timeout of its own for each request;
//! keepalive does not help there. Then `tcp_retries2` = 8 (102 s; RFC 1122 wants 100 s at least), for all connections of the
//! namespace. Idle connections: SO_KEEPALIVE with TCP_KEEPIDLE of at most half of what the middlebox remembers, or messages
//! of the application's own; `tcp_keepalive_time` only changes it for sockets that set SO_KEEPALIVE.
//!
//! ## References
//! tcp(7) `TCP_USER_TIMEOUT`, `TCP_KEEPIDLE`, `tcp_retries2`; RFC 1122 4.2.3.5 and 4.2.3.6; RFC 5482;
//! net/ipv4/tcp_timer.c `retransmits_timed_out`, `tcp_keepalive_timer`; nf_conntrack-sysctl.rst.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::stall::{self, Stall, stall, unanswered, waited};
use super::throttle::{self, alike, in_bytes, subject, watch_of};
use super::{Detected, Limit, SocketSet, owners_of, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::{Flow, IdleFlows, Snapshot};

/// How a peer that is gone is noticed.
pub(super) static LIMIT: Limit = Limit {
    slug: "keepalive",
    title: "dead peer detection",
    causes: &[
        ("no-keepalive", "data waits for a peer that says nothing, and only tcp_retries2 bounds for how long"),
        ("slower-than-middlebox", "connections are idle for longer than connection tracking remembers them"),
    ],
    reads: &["tcp_info", "idiag_timer", "nf_conntrack_count", ESTABLISHED, LOOSE, RETRIES],
    look_alikes: &["path-mtu", "timestamps", "receive-window", "loss"],
    knobs: &[
        RETRIES,
        RTO_MAX,
        TIME,
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        ESTABLISHED,
        LOOSE,
    ],
    scenarios: &["keepalive-unacked", "keepalive-middlebox"],
    source: include_str!("keepalive.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const RETRIES: &str = "net.ipv4.tcp_retries2";
const RTO_MAX: &str = "net.ipv4.tcp_rto_max_ms";
const TIME: &str = "net.ipv4.tcp_keepalive_time";
const ESTABLISHED: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";
const LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";
/// A peer that has been silent for less may be back in a moment.
const SILENT: f64 = 2.0;
/// `TCP_RTO_MIN`, with which the kernel reckons whatever the connection's own timeout is.
const RTO_MIN_MS: u64 = 200;
/// `TCP_RTO_MAX`; a knob since 6.15.
const RTO_MAX_MS: i64 = 120_000;
/// `tcp_retries2` unless changed, and the least that RFC 1122 leaves (100 s).
const RETRIES_DEFAULT: i64 = 15;
const RETRIES_LEAST: i64 = 8;

/// Why data waits here; whether the address answers other connections.
fn silent(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<bool> {
    // Sockets that nobody holds any more have a limit of their own (tcp_orphan_retries).
    let held = watch.flow.inode != 0;
    match stall(ns, watch)? {
        Stall::Silence { others } if held && waited(&watch.last()) >= SILENT => Some(others),
        _ => None,
    }
}

/// Nothing is filled up here.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = throttle::inodes(interval, |ns, watch| silent(ns, watch).is_some());
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        wanted.extend(forgotten(&ns).map(|forgotten| (ns.id, forgotten.longest.inode)));
    }
    wanted
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        for (others, flows) in alike(&ns, |watch| silent(&ns, watch)) {
            detected.findings.extend(unanswered_data(&ns, others, &flows));
        }
        if let Some(forgotten) = forgotten(&ns) {
            match ns.after.knob_number(LOOSE).value() {
                Some(0) => detected.findings.push(idle(&ns, &forgotten)),
                _ => detected.unknown.push(translated(&ns, &forgotten)),
            }
        }
    }
    detected
}

/// After how many seconds the kernel gives up, counted from the first retransmission (`tcp_model_timeout`). It looks only
/// when a timer expires, so it may be one more timeout.
fn gives_up_after(ns: &NetnsChange<'_>) -> (i64, f64) {
    let number = |knob, default| ns.after.knob_number(knob).value().copied().unwrap_or(default);
    let retries = number(RETRIES, RETRIES_DEFAULT);
    let most = number(RTO_MAX, RTO_MAX_MS).clamp(1_000, RTO_MAX_MS).unsigned_abs();
    (retries, model_timeout(retries.clamp(0, 255).unsigned_abs(), most) as f64 / 1e3)
}

fn model_timeout(retries: u64, most_ms: u64) -> u64 {
    let doublings = u64::from((most_ms / RTO_MIN_MS).max(1).ilog2());
    ((2 << retries.min(doublings)) - 1) * RTO_MIN_MS + retries.saturating_sub(doublings) * most_ms
}

fn unanswered_data(ns: &NetnsChange<'_>, others: bool, flows: &[&FlowWatch]) -> Option<Finding> {
    let (watch, more) = flows.split_first()?;
    let last = watch.last();
    let (retries, seconds) = gives_up_after(ns);
    let peer = watch.flow.remote.addr;
    let summary = format!(
        "no answer from {peer} for {:.1} s, {} wait; the kernel gives up after about {seconds:.0} s (tcp_retries2 = {retries})",
        waited(&last),
        in_bytes(last.wqueue.into()),
    );
    let because = if others {
        format!(
            "{peer} answers other connections: something between has forgotten this one, or lets nothing of it through"
        )
    } else {
        "nothing at all has come back since: the peer is gone, or the path to it is broken".into()
    };
    let window = watch.seconds();
    // Clients of a service come and go without a word every day: nothing here waits for their answer but memory.
    let client = ns.listening_ports().contains(&watch.flow.local.port);
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: if client { State::Near } else { State::Limiting },
        cause: "no-keepalive".into(),
        confidence: Confidence::Likely,
        subject: subject(ns, watch, more.len() as u64),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: throttle::hurt(flows),
    }
    .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", window)
    .changed("tcpi_bytes_received", watch.grew(|s| s.bytes_received) as f64, "bytes", window)
    .standing("tcpi_unacked × tcpi_snd_mss", unanswered(&last) as f64, "bytes")
    .standing("tcpi_retransmits", last.retransmits.into(), "timeouts")
    .standing("tcpi_rto", last.rto.into(), "µs")
    .standing("tcpi_last_ack_recv", last.last_ack_recv_ms.into(), "ms");
    if let Some(aborts) = ns.counter("TcpExt.TCPAbortOnTimeout").value() {
        finding = finding.changed("TcpExt.TCPAbortOnTimeout", *aborts as f64, "events", ns.interval().seconds());
    }
    Some(finding)
}

/// Idle connections that connection tracking is about to forget, or has forgotten.
struct Forgotten {
    /// How many.
    connections: u64,
    /// The one that has been idle for longest, and how long.
    longest: Flow,
    seconds: u64,
    /// What connection tracking waits.
    timeout: u64,
    /// Connections that it has in its table.
    tracked: u64,
}

fn forgotten(ns: &NetnsChange<'_>) -> Option<Forgotten> {
    let flows = ns.flows();
    let idle = &flows.value()?.idle;
    // The table is there in every namespace; one without entries tracks nothing.
    let counts = [ns.before, ns.after].map(|ns| ns.conntrack.count.value().copied());
    let tracked = counts.into_iter().flatten().max().filter(|count| *count > 0)?;
    let timeout = u64::try_from(*ns.after.knob_number(ESTABLISHED).value()?).ok()?;
    // Less than two seconds can't be told apart.
    let half = (timeout / 2).max(2);
    let connections = IdleFlows::at_least(&idle.unguarded, half);
    let (longest, seconds) = idle.longest.clone()?;
    (connections > 0 && tracked >= connections).then_some(Forgotten { connections, longest, seconds, timeout, tracked })
}

fn idle(ns: &NetnsChange<'_>, forgotten: &Forgotten) -> Finding {
    let Forgotten { connections, longest, seconds, timeout, tracked } = forgotten;
    let gone = if seconds >= timeout { "has forgotten" } else { "will soon have forgotten" };
    Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: "slower-than-middlebox".into(),
        // Whether what it does not know is dropped is up to the rules.
        confidence: Confidence::Likely,
        subject: Subject::Flow {
            netns: ns.name().into(),
            local: longest.local.to_string(),
            remote: longest.remote.to_string(),
            alike: connections - 1,
            owners: owners_of(&ns.interval().after, longest.inode),
        },
        summary: format!(
            "{connections} connections without keepalive are idle for more than half of the {timeout} s that connection \
             tracking remembers them, one for {seconds} s"
        ),
        because: format!(
            "connection tracking of this namespace {gone} it and picks up none in its middle (nf_conntrack_tcp_loose = 0): \
             the next segment is invalid"
        ),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: 0,
    }
    .standing("connections idle without a keepalive timer", *connections as f64, "connections")
    .standing("longest idle", *seconds as f64, "s")
    .standing(ESTABLISHED, *timeout as f64, "s")
    .standing("nf_conntrack_count", *tracked as f64, "entries")
}

/// Connection tracking picks up a connection in its middle, but not its translation, and rules can't be seen here.
fn translated(ns: &NetnsChange<'_>, forgotten: &Forgotten) -> Unknown {
    let Forgotten { connections, timeout, .. } = forgotten;
    Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("whether idle connections of {} are translated (NAT)", ns.name()),
        because: format!(
            "{connections} without keepalive are idle for more than half of the {timeout} s that connection tracking \
             remembers them; it forgets their translation, else it picks them up again"
        ),
        would_need: Some("`conntrack -L -p tcp`: whether the reply's addresses are those of the original".into()),
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    if finding.cause == "slower-than-middlebox" { remember(finding, interval) } else { bound(finding, interval) }
}

fn bound(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, _)) = watch_of(interval, &finding.subject) else { return vec![] };
    let (retries, seconds) = gives_up_after(&ns);
    let mut remedies = vec![
        Remedy::new(
            Level::Application,
            format!(
                "let {} bound how long data may stay unanswered: TCP_USER_TIMEOUT on its sockets, or a timeout of its own for \
                 each request; SO_KEEPALIVE does not help while data is in flight",
                whose(&finding.subject)
            ),
        )
        .formula("what a user would wait; more than the longest outage that connections should survive, some 20 to 60 s")
        .verify("write(2) and read(2) fail with ETIMEDOUT after that time, and TcpExt.TCPAbortOnTimeout counts it"),
    ];
    if retries > RETRIES_LEAST {
        let most = ns.after.knob_number(RTO_MAX).value().copied().unwrap_or(RTO_MAX_MS).clamp(1_000, RTO_MAX_MS);
        let shorter = model_timeout(RETRIES_LEAST.unsigned_abs(), most.unsigned_abs()) as f64 / 1e3;
        remedies.push(
            Remedy::knob(
                "or let the kernel give up sooner",
                RETRIES,
                retries.to_string(),
                RETRIES_LEAST.to_string(),
            )
            .formula(format!(
                "200 ms × (2^(retries + 1) − 1): {shorter:.0} s instead of {seconds:.0} s; RFC 1122 wants at least 100 s"
            ))
            .cost("every connection of this namespace ends after an outage of that length, which it would have survived")
            .verify("TcpExt.TCPAbortOnTimeout counts what is given up; applies to open connections at their next timeout"),
        );
    }
    remedies
}

fn remember(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let ns = finding.subject.netns().and_then(|name| interval.namespace(name));
    let Some((ns, forgotten)) = ns.and_then(|ns| Some((ns, forgotten(&ns)?))) else { return vec![] };
    let idle = (forgotten.timeout / 2).max(1);
    let who = whose(&finding.subject);
    let verify =
        "ss -to shows timer:(keepalive,…) on the idle connections, and the longest silence stays below the timeout";
    let mut remedies = vec![
        Remedy::new(
            Level::Application,
            format!(
                "let {who} set SO_KEEPALIVE and TCP_KEEPIDLE of at most {idle} s, or send something itself that often"
            ),
        )
        .formula(format!("half of the {} s that connection tracking waits", forgotten.timeout))
        .cost("one small packet and its answer for each idle connection in that time")
        .verify(verify),
    ];
    // No change of a knob that could be applied: none of these sockets asks for keepalive, so alone it changes nothing.
    if let Some(now) = ns.after.knob_number(TIME).value().filter(|now| now.unsigned_abs() > idle) {
        remedies.push(
            Remedy::new(
                Level::Kernel,
                format!("only once it sets SO_KEEPALIVE without TCP_KEEPIDLE: {TIME} {now} → {idle} in this namespace"),
            )
            .cost("likewise for every such socket; open ones follow after their next probe")
            .verify(verify),
        );
    }
    remedies
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let flows = ns.flows();
    let watched = &flows.value()?.watched;
    if watched.iter().any(|watch| matches!(stall(ns, watch), Some(Stall::Silence { .. } | Stall::Unclear))) {
        return None;
    }
    let stalled = watched.iter().filter(|watch| stall::is_stalled(ns, watch)).count();
    Some(match stalled {
        0 => format!("no connection waits for an answer that does not come, of {} looked at", watched.len()),
        n => format!("the peer of the {n} that stand still gives signs of life"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stall::tests::{black_hole, stuck};
    use super::super::testing::{Host, Stream, assert_clear, detect, endpoint, remedies, the_finding, unknowns};
    use super::*;
    use crate::flow::Flows;
    use crate::reading::{Absent, Reading};
    use crate::snapshot::Protocol;
    use crate::snapshot::Timer;

    /// As measured when a link was cut under an upload.
    fn cut(port: u16) -> Stream {
        stuck(port).each(|_, s| {
            (s.bytes_acked, s.data_segs_out, s.unacked, s.lost) = (2_959_713, 2_213, 165, 165);
            (s.wqueue, s.notsent_bytes) = (686_352, 447_432);
        })
    }

    fn host(stream: Stream) -> Host {
        Host::new().knob(RETRIES, "15").flow(stream)
    }

    /// A namespace that tracks connections, with idle ones of which one has been so for 3000 s.
    fn pool(count: u64, timeout: &str, loose: &str) -> Host {
        let flow = Flow {
            local: endpoint("10.0.0.2:41000"),
            remote: endpoint("10.0.0.9:5432"),
            cookie: 1,
            inode: 7,
            cgroup_id: None,
            protocol: Protocol::Tcp,
            congestion: String::new(),
        };
        let mut idle = IdleFlows::default();
        (0..count).for_each(|n| idle.add_unguarded(if n == 0 { 3_000 } else { 2_500 }, || flow.clone()));
        let host = Host::new().conntrack(600, 600, 262_144, 262_144);
        let host = host
            .knob(ESTABLISHED, timeout)
            .knob(LOOSE, loose)
            .knob(TIME, "7200")
            .owner(7, 70)
            .process(70, "pool", 600, 1024);
        let mut interval = host.interval().clone();
        let flows = Flows { established: count, by_rate: true, idle, ..Flows::default() };
        interval.looks.flows.insert(super::super::testing::OWN, Reading::Present(flows));
        Host::of(interval)
    }

    #[test]
    fn data_that_waits_for_a_silent_peer() {
        let finding =
            the_finding(&LIMIT, &host(cut(5000)).flow(cut(5001)).owner(5000, 9).process(9, "uploader", 9, 1024));
        assert_eq!(
            (&*finding.cause, finding.state, finding.confidence),
            ("no-keepalive", State::Limiting, Confidence::Likely)
        );
        insta::assert_snapshot!(finding.subject.to_string(), @"10.0.0.2:5000 ↔ 10.0.0.9:443 and 1 more");
        insta::assert_snapshot!(finding.summary, @"no answer from 10.0.0.9 for 11.7 s, 670.3 KiB wait; the kernel gives up after about 925 s (tcp_retries2 = 15)");
        insta::assert_snapshot!(finding.because, @"nothing at all has come back since: the peer is gone, or the path to it is broken");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Application: let uploader bound how long data may stay unanswered: TCP_USER_TIMEOUT on its sockets, or a timeout of its own for each request; SO_KEEPALIVE does not help while data is in flight
        2. Kernel: or let the kernel give up sooner [net.ipv4.tcp_retries2 15 → 8]
        ");
        insta::assert_snapshot!(finding.remedies[1].formula.clone().unwrap_or_default(), @"200 ms × (2^(retries + 1) − 1): 102 s instead of 925 s; RFC 1122 wants at least 100 s");
        // Shorter already.
        assert_eq!(the_finding(&LIMIT, &host(cut(5000)).knob(RETRIES, "5")).remedies.len(), 1);
    }

    #[test]
    fn a_client_that_went_away_holds_no_service_back() {
        let service = host(cut(5000)).listener(super::super::testing::Listen::at("0.0.0.0:5000"));
        assert_eq!(the_finding(&LIMIT, &service).state, State::Near);
    }

    #[test]
    fn a_peer_that_answers_others_is_not_gone() {
        let other = Stream::between("10.0.0.2:6000", "10.0.0.9:80").sends(1e6);
        insta::assert_snapshot!(the_finding(&LIMIT, &host(cut(5000)).flow(other)).because, @"10.0.0.9 answers other connections: something between has forgotten this one, or lets nothing of it through");
    }

    #[test]
    fn the_kernel_s_own_reckoning() {
        // ip-sysctl.rst: 924.6 s at the default; 102.2 s at 8. Measured: 6.7 s at 3, the first expiry after 3.0 s.
        let seconds = [(15, 924_600), (8, 102_200), (3, 3_000), (0, 200), (9, 204_600)];
        for (retries, ms) in seconds {
            assert_eq!(model_timeout(retries, 120_000), ms, "{retries}");
        }
        assert_eq!(model_timeout(15, 1_000), 14_400);
        assert!(model_timeout(255, 120_000) > 0);
    }

    #[test]
    fn silent_where_the_peer_lives_or_may_be_back() {
        // Two timeouts; or three, but less than two seconds.
        assert_clear(&LIMIT, &host(cut(5000).each(|_, s| (s.retransmits, s.backoff) = (2, 2))));
        let short = |t: f64, s: &mut crate::snapshot::FlowSample| {
            (s.retransmits, s.backoff, s.rto, s.expires_ms) = (3, 3, 1_600_000, 1_600 - (t * 90.0) as u32);
        };
        assert_clear(&LIMIT, &host(cut(5000).each(short)));
        // Something was acknowledged, or came.
        assert_clear(&LIMIT, &host(cut(5000).each(|t, s| s.bytes_acked += (t * 1e3) as u64)));
        assert_clear(&LIMIT, &host(cut(5000).each(|_, s| (s.last_data_recv_ms, s.last_ack_recv_ms) = (900, 900))));
        // path-mtu, and what can be that; a shut window; a socket that nobody holds.
        assert_clear(&LIMIT, &host(black_hole(5000)));
        assert_clear(&LIMIT, &host(stuck(5000)));
        assert_clear(&LIMIT, &host(cut(5000).each(|_, s| s.timer = Timer::Persist)));
        assert_clear(&LIMIT, &host(cut(5000).cookie(0)));
        let busy = host(Stream::between("10.0.0.2:5000", "10.0.0.9:443").sends(1e6));
        let ns = busy.interval().namespaces().next().unwrap();
        assert_eq!(
            (LIMIT.ruled_out)(&ns).as_deref(),
            Some("no connection waits for an answer that does not come, of 1 looked at")
        );
    }

    #[test]
    fn idle_for_longer_than_connection_tracking_remembers() {
        let finding = the_finding(&LIMIT, &pool(500, "3600", "0"));
        assert_eq!((&*finding.cause, finding.state), ("slower-than-middlebox", State::Near));
        insta::assert_snapshot!(finding.subject.to_string(), @"10.0.0.2:41000 ↔ 10.0.0.9:5432 and 499 more");
        insta::assert_snapshot!(finding.summary, @"500 connections without keepalive are idle for more than half of the 3600 s that connection tracking remembers them, one for 3000 s");
        insta::assert_snapshot!(finding.because, @"connection tracking of this namespace will soon have forgotten it and picks up none in its middle (nf_conntrack_tcp_loose = 0): the next segment is invalid");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Application: let pool set SO_KEEPALIVE and TCP_KEEPIDLE of at most 1800 s, or send something itself that often
        2. Kernel: only once it sets SO_KEEPALIVE without TCP_KEEPIDLE: net.ipv4.tcp_keepalive_time 7200 → 1800 in this namespace
        ");
    }

    #[test]
    fn idle_connections_alone_are_nothing() {
        // Remembered for five days; not tracked; fewer entries than connections.
        assert_clear(&LIMIT, &pool(500, "432000", "0"));
        let untracked = pool(500, "3600", "0").ns(|ns| ns.conntrack.count = Reading::Present(0));
        assert_clear(&LIMIT, &untracked);
        assert_clear(&LIMIT, &pool(500, "3600", "0").ns(|ns| ns.conntrack.count = Reading::Present(20)));
        let absent = || Reading::Absent(Absent::not_in_kernel("nf_conntrack"));
        assert_clear(&LIMIT, &pool(500, "3600", "0").ns(|ns| ns.conntrack.count = absent()));
        // Picked up again in their middle, if they are not translated.
        assert_eq!(unknowns(&LIMIT, &pool(500, "3600", "1")), ["whether idle connections of own are translated (NAT)"]);
        insta::assert_snapshot!(detect(&LIMIT, &pool(500, "3600", "1")).unknown[0].because, @"500 without keepalive are idle for more than half of the 3600 s that connection tracking remembers them; it forgets their translation, else it picks them up again");
    }

    #[test]
    fn flows_that_could_not_be_looked_at_are_unknown() {
        let mut interval = host(cut(5000)).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        assert_eq!(unknowns(&LIMIT, &Host::of(interval)), ["flows of own"]);
    }
}

//! # send-buffer
//!
//! ## What it is
//! The memory that a socket may fill with data which the peer has not acknowledged yet (`sk_sndbuf`). A sender keeps what
//! is in flight until it is acknowledged, so a buffer of `n` bytes of payload lets at most `n` bytes through in a round
//! trip, however wide the path is. The kernel grows the buffer with the congestion window up to the third number of
//! `net.ipv4.tcp_wmem` (4 MiB unless changed), but not one that the application set with SO_SNDBUF: that one is fixed, at
//! twice what was asked for, and at most at twice `net.core.wmem_max`.
//!
//! ## Evidence
//! - In most looks outside loss recovery, the memory of the write queue (`w` of `ss -m`) fills the buffer (`tb`), nothing
//!   or little of it is unsent, and what is in flight is far below both the congestion window and the peer's window.
//! - The round trip is not longer than the shortest one by much: else a queue or a CPU is what is full, and a larger
//!   buffer would only lengthen it.
//! - `tcpi_sndbuf_limited` is no evidence of absence: it was 0 on flows that the buffer limited fully (12 of 665 Mbit/s),
//!   because it accrues only when the writer already waits at a transmission that empties the queue. But where it grows
//!   for most of the time, with two thirds of the buffer in flight, it is proof: a waiting writer is woken only when less
//!   is left (with BBR and 128 KiB, the looks found 67 % of the buffer used, never 90 %).
//! - Many small writes overshoot the buffer up to 47 times: then it holds nothing back.
//! - `tcpi_delivery_rate_app_limited` is set on such flows too.
//! - A buffer that is full, below `tcp_wmem[2]` and did not grow while less than a congestion window was in flight was
//!   set by the application (`tcp_should_expand_sndbuf`).
//!
//! Causes: `buffer-fixed` by SO_SNDBUF, or `buffer-max`, at the limit of `tcp_wmem[2]`.
//!
//! ## See it yourself
//! - `ss -tmin dst PEER`: `skmem:(…,tb…,w…)`, `unacked`, `notsent`, `cwnd`, `rtt`, `minrtt`, several times
//! - `sysctl net.ipv4.tcp_wmem net.core.wmem_max` in the namespace
//! - `strace -e trace=setsockopt -p PID`: SO_SNDBUF
//!
//! ## Look-alikes
//! - `receive-window`: the peer's window is full as well; `rwnd_limited` of `ss -ti` tells exactly.
//! - `congestion-window`: as much in flight as it allows, and unsent data behind it.
//! - `loss`: the write queue exceeds the buffer while lost segments are sent again.
//! - An application that writes too little: the buffer has room.
//!
//! ## Remedy
//! Remove SO_SNDBUF from the application: the kernel then sizes the buffer. Else `tcp_wmem[2]` at twice the
//! bandwidth-delay product; `tcp_notsent_lowat` keeps the part that waits short. New values apply to new growth of open
//! sockets too, as the buffer grows on ACKs.
//!
//! ## References
//! net/ipv4/tcp_input.c `tcp_should_expand_sndbuf` and `tcp_sndbuf_expand`, net/ipv4/tcp_output.c `tcp_cwnd_validate`,
//! net/core/sock.c `sock_setsockopt`; Documentation/networking/ip-sysctl.rst.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::throttle::{
    self, Sending, affordable, alike, alone, cwnd_bytes, in_bits, in_bytes, in_flight, in_ms, in_percent, next_ceiling,
    payload_of_send_buffer, queueing, sending, sndbuf_share, subject, wanted, watch_of,
};
use super::{Detected, Limit, SocketSet, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::{FlowSample, Snapshot};

/// The send buffer of a flow.
pub(super) static LIMIT: Limit = Limit {
    slug: "send-buffer",
    title: "send buffer",
    causes: &[
        ("buffer-fixed", "the application set the buffer (SO_SNDBUF), so the kernel does not let it grow"),
        ("buffer-max", "the buffer has grown to the most that tcp_wmem allows"),
    ],
    reads: &["SK_MEMINFO_WMEM_QUEUED", "SK_MEMINFO_SNDBUF", "tcp_info", WMEM],
    look_alikes: &["receive-window", "congestion-window", "loss"],
    knobs: &[WMEM, WMEM_MAX],
    scenarios: &["send-buffer-fixed", "send-buffer-max", "send-buffer-max-bbr"],
    source: include_str!("send_buffer.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const WMEM: &str = "net.ipv4.tcp_wmem";
const WMEM_MAX: &str = "net.core.wmem_max";
/// Share of the time in which the kernel saw the application wait for room, from which on that is told.
const WAITED: f64 = 0.2;
/// Without a known line rate a buffer is advised that allows this many times the rate of now; the next check tells more.
const TRIAL: u64 = 8;

fn fixed(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<bool> {
    match sending(ns, watch)? {
        Sending::SendBuffer { fixed } => Some(fixed),
        _ => None,
    }
}

/// A write queue that is full says nothing by itself: every blocking writer fills it.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    throttle::inodes(interval, |ns, watch| fixed(ns, watch).is_some())
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        for (fixed, flows) in alike(&ns, |watch| fixed(&ns, watch)) {
            detected.findings.extend(finding(&ns, fixed, &flows));
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, fixed: bool, flows: &[&FlowWatch]) -> Option<Finding> {
    let (watch, others) = flows.split_first()?;
    let busy = |sample: &FlowSample| sample.wqueue > 0;
    let last = watch.last();
    let rtt = watch.min_rtt()?;
    let flying = watch.median(busy, in_flight);
    let allowed = watch.median(busy, |s| cwnd_bytes(s).min(s.snd_wnd.map_or(u64::MAX, u64::from)));
    let rate = watch.sent_rate();
    let size = in_bytes(last.sndbuf.into());
    let full = match sndbuf_share(watch) {
        // Bursts of BBR leave a third of it free, in which nobody may write yet.
        waited if waited >= WAITED => {
            format!("the application waited {} of the time for its buffer of {size}", in_percent(waited))
        }
        _ => format!("its buffer of {size} was full in most of {} looks", watch.samples.len()),
    };
    let summary = format!(
        "{} at a round trip of {}: {} in flight where {} are allowed; {full}",
        in_bits(rate),
        in_ms(rtt),
        in_bytes(flying),
        in_bytes(allowed),
    );
    let max = ns.after.knob_numbers::<3>(WMEM).value().map(|[.., max]| max.unsigned_abs());
    let because = match (fixed, max) {
        (true, Some(max)) => format!(
            "the buffer did not grow although the kernel would let it grow to {}: the application set SO_SNDBUF",
            in_bytes(max)
        ),
        (true, None) => "the buffer did not grow although it was full: the application set SO_SNDBUF".into(),
        (false, _) => "the buffer has grown to tcp_wmem's maximum".into(),
    };
    let known = max.is_some() && last.snd_wnd.is_some();
    let because = if fixed { because } else { because + ", and the round trip shows no queue" };
    let seconds = watch.seconds();
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: if fixed { "buffer-fixed" } else { "buffer-max" }.into(),
        confidence: if known { Confidence::Proven } else { Confidence::Likely },
        subject: subject(ns, watch, others.len() as u64),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: throttle::hurt(flows),
    }
    .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", seconds)
    .standing("SK_MEMINFO_WMEM_QUEUED", watch.median(busy, |s| s.wmem_queued.into()) as f64, "bytes")
    .standing("SK_MEMINFO_SNDBUF", last.sndbuf.into(), "bytes")
    .standing("tcpi_unacked × tcpi_snd_mss", flying as f64, "bytes")
    .standing("tcpi_notsent_bytes", watch.median(busy, |s| s.notsent_bytes.into()) as f64, "bytes")
    .standing("tcpi_snd_cwnd × tcpi_snd_mss", watch.median(busy, cwnd_bytes) as f64, "bytes")
    .standing("tcpi_min_rtt", rtt * 1e6, "µs")
    .standing("tcpi_rtt", last.rtt.into(), "µs")
    .changed("tcpi_rwnd_limited", watch.grew(|s| s.rwnd_limited) as f64, "µs", seconds)
    .changed("tcpi_sndbuf_limited", watch.grew(|s| s.sndbuf_limited) as f64, "µs", seconds);
    Some(finding)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(interval, &finding.subject) else { return vec![] };
    let next = next_ceiling(&ns, watch, LIMIT.slug);
    let next = alone(watch.sent_rate(), next.as_ref());
    let max = ns.after.knob_numbers::<3>(WMEM).value().map(|numbers| numbers.map(i64::unsigned_abs));
    match max {
        Some(max) if finding.cause == "buffer-max" => vec![enlarge(&ns, watch, finding, max, &next)],
        _ => free(&ns, watch, &whose(&finding.subject), max, &next),
    }
}

const VERIFY: &str = "the goodput rises, and as much is in flight as the congestion window allows (ss -ti)";

/// A buffer that the application set.
fn free(ns: &NetnsChange<'_>, watch: &FlowWatch, who: &str, max: Option<[u64; 3]>, next: &str) -> Vec<Remedy> {
    let limit = max.map_or_else(String::new, |[.., max]| format!(", up to {}", in_bytes(max)));
    let remove = format!("{who} sets SO_SNDBUF: remove it, and the kernel sizes the buffer{limit}{next}");
    let (needed, formula) = wanted(ns, watch, TRIAL);
    let cut = ns.after.knob_number(WMEM_MAX).value().map(|max| max.unsigned_abs()).filter(|max| needed > *max);
    let cut = cut
        .map_or_else(String::new, |max| format!(", for which net.core.wmem_max, {} now, is too small", in_bytes(max)));
    let set =
        format!("or, where it must be set, SO_SNDBUF of at least {} (the kernel doubles it){cut}", in_bytes(needed));
    vec![
        Remedy::new(Level::Application, remove).verify(VERIFY),
        Remedy::new(Level::Application, set).formula(formula).verify("as above; tb of ss -tm is twice that"),
    ]
}

/// A larger maximum.
fn enlarge(ns: &NetnsChange<'_>, watch: &FlowWatch, finding: &Finding, now: [u64; 3], next: &str) -> Remedy {
    let [min, default, max] = now;
    let alike = match &finding.subject {
        crate::finding::Subject::Flow { alike, .. } => *alike as usize + 1,
        _ => 1,
    };
    let payload = payload_of_send_buffer(watch, 1 << 20).max(1);
    let (needed, formula) = wanted(ns, watch, TRIAL);
    let buffer = u64::try_from((u128::from(needed) << 20) / u128::from(payload)).unwrap_or(u64::MAX);
    let to = buffer.checked_next_power_of_two().unwrap_or(buffer).min(affordable(ns.interval(), alike));
    let to = to.min(i32::MAX as u64);
    if to <= max {
        let text = format!(
            "spread the transfer over several connections: tcp_wmem's maximum is {}, and more would be more memory than is wise here{next}",
            in_bytes(max)
        );
        return Remedy::new(Level::Application, text).verify("the goodput of all of them together rises");
    }
    let flows = ns.flows().value().map_or(1, |flows| flows.established.max(1));
    let cut = if to < buffer { ", as much as TCP's memory bears" } else { ", rounded up to a power of two" };
    let share = in_percent(payload as f64 / f64::from(1 << 20));
    Remedy::knob(
        format!("let send buffers of this namespace grow{next}"),
        WMEM,
        format!("{min} {default} {max}"),
        format!("{min} {default} {to}"),
    )
    .formula(format!("{formula} ÷ {share} (payload per byte of buffer on this flow){cut}"))
    .cost(format!("at most {} for each flow that fills it; open here: {flows}; tcp_mem bounds them all", in_bytes(to)))
    .verify(VERIFY)
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let flows = ns.flows();
    let watched = &flows.value()?.watched;
    let none = watched.iter().all(|watch| fixed(ns, watch).is_none());
    let fullest = watched.iter().filter_map(queueing).count();
    (none && fullest > 0).then(|| format!("no flow fills its send buffer with both windows open, of {}", watched.len()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, MSS, Stream, assert_clear, remedies, the_finding, unknowns};
    use super::*;
    use crate::reading::{Absent, Reading};
    use crate::snapshot::CaState;
    use alloc::string::ToString;

    /// 64 KiB in flight over 50 ms, of a congestion window of 1 500 segments; the buffer stands at `sndbuf`.
    fn limited(sndbuf: u32) -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(1_300_000.0).each(|_, s| {
            s.sndbuf = sndbuf;
            s.wmem_queued = sndbuf + 1_000;
            s.snd_cwnd = 1_500;
            s.snd_wnd = Some(3_000_000);
        })
    }

    fn host(stream: Stream) -> Host {
        Host::new().knob(WMEM, "4096\t16384\t4194304").flow(stream)
    }

    #[test]
    fn a_buffer_that_the_application_set_is_the_application_s() {
        let finding = the_finding(&LIMIT, &host(limited(131_072)));
        assert_eq!((&*finding.cause, finding.confidence), ("buffer-fixed", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"10 Mbit/s at a round trip of 50 ms: 63.6 KiB in flight where 2.1 MiB are allowed; its buffer of 128.0 KiB was full in most of 51 looks");
        insta::assert_snapshot!(finding.because, @"the buffer did not grow although the kernel would let it grow to 4.0 MiB: the application set SO_SNDBUF");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Application: the application sets SO_SNDBUF: remove it, and the kernel sizes the buffer, up to 4.0 MiB
        2. Application: or, where it must be set, SO_SNDBUF of at least 1015.6 KiB (the kernel doubles it)
        ");
    }

    #[test]
    fn a_buffer_at_its_maximum_is_the_knob_s() {
        let finding = the_finding(&LIMIT, &host(limited(131_072)).knob(WMEM, "4096\t16384\t131072"));
        assert_eq!(finding.cause, "buffer-max");
        insta::assert_snapshot!(finding.because, @"the buffer has grown to tcp_wmem's maximum, and the round trip shows no queue");
        insta::assert_snapshot!(remedies(&finding), @"1. Kernel: let send buffers of this namespace grow [net.ipv4.tcp_wmem 4096 16384 131072 → 4096 16384 4194304]");
        insta::assert_snapshot!(finding.remedies[0].formula.clone().unwrap_or_default(), @"2 × 83 Mbit/s (8 times the rate of now) × 50 ms ÷ 49 % (payload per byte of buffer on this flow), rounded up to a power of two");
    }

    /// Measured with BBR over 20 ms and `tcp_wmem[2]` 128 KiB: 33 Mbit/s, two thirds of the buffer used.
    #[test]
    fn a_writer_that_waits_for_room_is_held_back_though_the_buffer_never_looks_full() {
        let paced = |waited: f64| {
            Stream::between("10.0.0.2:443", "10.0.0.9:5000").congestion("bbr").sends(4_110_000.0).each(move |t, s| {
                (s.rtt, s.min_rtt, s.snd_cwnd, s.snd_wnd) = (20_300, 20_136, 331, Some(623_744));
                (s.unacked, s.wqueue, s.wmem_queued, s.sndbuf) = (58, 83_984, 88_144, 131_072);
                s.sndbuf_limited = (t * waited * 1e6) as u64;
            })
        };
        let limited = |waited| host(paced(waited)).knob(WMEM, "4096\t16384\t131072");
        let finding = the_finding(&LIMIT, &limited(0.84));
        assert_eq!(finding.cause, "buffer-max");
        insta::assert_snapshot!(finding.summary, @"33 Mbit/s at a round trip of 20 ms: 82.0 KiB in flight where 468.1 KiB are allowed; the application waited 84 % of the time for its buffer of 128.0 KiB");
        assert_clear(&LIMIT, &limited(0.3));
        // A writer that comes late leaves the buffer emptier than the kernel does that wakes it.
        let late = paced(0.84).each(|t, s| s.bytes_acked = 1_000 + (3_000_000.0 * t) as u64);
        assert_clear(&LIMIT, &host(late).knob(WMEM, "4096\t16384\t131072"));
    }

    #[test]
    fn the_window_that_binds_next_is_named() {
        let narrow = |window| host(limited(131_072).each(move |_, s| s.snd_wnd = Some(window)));
        let first = |host: Host| the_finding(&LIMIT, &host).remedies[0].text.clone();
        insta::assert_snapshot!(first(narrow(100_000)), @"the application sets SO_SNDBUF: remove it, and the kernel sizes the buffer, up to 4.0 MiB; alone it gains 10 Mbit/s → 16 Mbit/s: then the peer's window of 97.7 KiB binds");
        let cut = host(limited(131_072)).knob(WMEM_MAX, "212992");
        insta::assert_snapshot!(the_finding(&LIMIT, &cut).remedies[1].text, @"or, where it must be set, SO_SNDBUF of at least 1015.6 KiB (the kernel doubles it), for which net.core.wmem_max, 208.0 KiB now, is too small");
    }

    #[test]
    fn silent_where_something_else_holds_the_flow_back() {
        // The peer's window is full: receive-window.
        assert_clear(&LIMIT, &host(limited(131_072).each(|t, s| s.rwnd_limited = (t * 9e5) as u64)));
        // As much in flight as the congestion window allows, and more waits: congestion-window.
        assert_clear(&LIMIT, &host(limited(131_072).each(|_, s| (s.snd_cwnd, s.notsent_bytes) = (45, 60_000))));
        // The queue holds more than the buffer while lost segments are sent again: loss.
        assert_clear(&LIMIT, &host(limited(131_072).each(|_, s| s.ca_state = CaState::Recovery)));
        // Many small writes overshoot the buffer: it holds nothing back (measured: 230 Mbit/s with 32 KiB).
        assert_clear(&LIMIT, &host(limited(65_536).each(|_, s| s.wmem_queued = 896_896)));
        // TCP as a whole is short of memory, so that no buffer grows: tcp-memory.
        let short = host(limited(131_072)).both(|s| {
            (s.system.tcp_mem, s.system.tcp_pages) = (Reading::Present([1_000, 2_000, 3_000]), Reading::Present(1_200));
        });
        assert_clear(&LIMIT, &short);
        // Room left: the application writes too little.
        assert_clear(&LIMIT, &host(limited(131_072).each(|_, s| s.wmem_queued = 70_000)));
        // A buffer that grows.
        let growing = limited(131_072).each(|t, s| (s.sndbuf, s.wmem_queued) = (131_072 + (t * 1e3) as u32, 140_000));
        assert_clear(&LIMIT, &host(growing));
        // A queue on the way: a larger buffer would lengthen it.
        assert_clear(&LIMIT, &host(limited(131_072).each(|_, s| s.rtt = 140_000)));
        // A little longer may be one.
        assert_clear(&LIMIT, &host(limited(131_072).each(|_, s| s.rtt = 65_000)));
        // Loopback: no distance.
        let near = limited(131_072).each(|_, s| (s.rtt, s.min_rtt) = (40, 25));
        assert_clear(&LIMIT, &host(near));
        let ns = host(limited(131_072).each(|_, s| s.wmem_queued = 70_000));
        let ns = ns.interval().namespaces().next().unwrap();
        assert_eq!(
            (LIMIT.ruled_out)(&ns).as_deref(),
            Some("no flow fills its send buffer with both windows open, of 1")
        );
    }

    #[test]
    fn alike_flows_are_one_finding() {
        let second = |port: &str| {
            let local = format!("10.0.0.2:{port}");
            Stream::between(&local, "10.0.0.9:5000").sends(1_000_000.0).each(|_, s| {
                (s.sndbuf, s.wmem_queued, s.snd_cwnd, s.snd_wnd) = (131_072, 132_000, 1_500, Some(MSS * 2_000));
            })
        };
        let host = host(limited(131_072)).flow(second("444")).flow(second("445"));
        let finding = the_finding(&LIMIT, &host);
        insta::assert_snapshot!(finding.subject.to_string(), @"10.0.0.2:443 ↔ 10.0.0.9:5000 and 2 more");
    }

    #[test]
    fn flows_that_could_not_be_looked_at_are_unknown() {
        let mut interval = host(limited(131_072)).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        let blind = Host::of(interval);
        assert_eq!(unknowns(&LIMIT, &blind), ["flows of own"]);
        // The first connection began within the window.
        let open = |before, after| {
            let set = |ns: &mut crate::snapshot::Netns, open: u64| {
                ns.counters.insert("Tcp.CurrEstab".into(), open);
            };
            Host::new().ns(move |ns| set(ns, before)).ns_after(move |ns| set(ns, after))
        };
        assert_eq!(unknowns(&LIMIT, &open(0, 3)), ["flows of own"]);
        assert_clear(&LIMIT, &open(0, 0));
        // A window of a moment.
        let mut watch = limited(131_072).into_watch();
        watch.samples.truncate(2);
        assert_eq!(unknowns(&LIMIT, &host(Stream::of(watch))), ["flows of own"]);
    }
}

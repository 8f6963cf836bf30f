//! # receive-window
//!
//! ## What it is
//! The window tells a sender how much the receiver has room for: its receive buffer (`sk_rcvbuf`), less the overhead of the
//! segments, less what the application has not read yet. A window of `n` bytes lets at most `n` bytes through in a round
//! trip, however wide the path is. The kernel grows the buffer with what the application reads in a round trip, up to the
//! third number of `net.ipv4.tcp_rmem`, but not one that the application set with SO_RCVBUF: that one is fixed, at twice
//! what was asked for, and at most at twice `net.core.rmem_max`. Nothing else is bounded by `rmem_max`. A window larger
//! than 65 535 bytes needs window scaling, which is agreed on in the handshake and then stays.
//!
//! ## Evidence
//! As the receiver:
//! - `reader-slow`: data waits to be read in nearly every look, takes most of the buffer, and the window is shut, or what
//!   arrives is all that it lets through; and the process does not saturate a CPU (else it is bound by its own work; where
//!   that can't be read it is unknown).
//! - `buffer-fixed`, `buffer-max`: the application reads at once, a round trip brings what the window holds, and the
//!   buffer has reached `tcp_rmem[2]` (`max`) or stands below it and does not grow (`fixed`: SO_RCVBUF,
//!   `tcp_moderate_rcvbuf` 0, or no larger window scale). No counter of the receiver tells of it.
//! - Where the sender can be seen too, it must say that the window holds it back.
//!
//! As the sender: `peer-window`, when `tcpi_rwnd_limited` grows for most of `tcpi_busy_time` (it is exact) and the round trip
//! shows no queue. A slow reader and a small buffer look the same from here; a window that is shut and probed (timer
//! `persist`) hints at a reader that stops. What decides it is the receiver's side. Where that is on this host, its
//! finding stands and this one is left out. Of a server's clients it is only `near`: they take as much as they like.
//!
//! ## See it yourself
//! - `ss -tmin` on both ends: `Recv-Q`, `skmem:(r…,rb…)`, `rcv_space`, `rwnd_limited`, `snd_wnd`, `rcv_wnd`, `timer:(persist`
//! - `nstat -az TcpExtTCPToZeroWindowAdv TcpExtTCPWantZeroWindowAdv TcpExtTCPWinProbe`
//! - `sysctl net.ipv4.tcp_rmem net.ipv4.tcp_moderate_rcvbuf net.ipv4.tcp_window_scaling net.core.rmem_max`
//! - `tcpdump -v 'tcp[13] & 2 != 0'`: `wscale` of both SYNs
//! - `strace -e trace=setsockopt,recvfrom,read -p PID`: SO_RCVBUF, and how long it does not read
//!
//! ## Look-alikes
//! - `send-buffer`: the sender keeps no more in flight than its own buffer; its `rwnd_limited` stays 0.
//! - `congestion-window` and `loss`: less in flight than the window.
//! - `tcp-memory`: the kernel squeezes windows when TCP is short of memory.
//! - A reader that uses all of a CPU; a proxy that does not read because its other side takes no more.
//! - A window larger than the path needs: the round trip grows instead of the rate.
//!
//! ## Remedy
//! A slow reader: the application; a larger buffer only delays it (measured: 8.1 Mbit/s with 6 MB and with 64 MB). A
//! fixed buffer: remove SO_RCVBUF, then the kernel sizes it. At its maximum: `tcp_rmem[2]` at twice the bandwidth-delay
//! product, divided by what part of the buffer becomes window (0.5 to 0.7; measured per flow). It takes a new connection:
//! an open one is enlarged only when more was read in a round trip than ever before, and a full window brings no more
//! (two runs of one scenario differed in that); nor does it ever exceed the window scale of its handshake.
//!
//! ## References
//! net/ipv4/tcp_input.c `tcp_rcv_space_adjust`, `tcp_rcvbuf_grow` and `tcp_grow_window`, net/ipv4/tcp_output.c
//! `tcp_select_initial_window`, `__tcp_select_window` and `tcp_chrono_start`; tcp(7); RFC 7323; RFC 9293 3.8.6.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::throttle::{
    self, Receiving, Sending, affordable, alike, alone, cpu_share, in_bits, in_bytes, in_ms, in_percent, is_unread,
    is_widest, next_ceiling, other_end, receive_window, receiver_says, receiving, rwnd_share, sending, subject, wanted,
    watch_of, window_of_receive_buffer,
};
use super::{Detected, Limit, SocketSet, processes_of, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Unknown};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::reading::Absent;
use crate::snapshot::{FlowSample, Pid, Snapshot, Timer};

/// The window of a flow's receiver.
pub(super) static LIMIT: Limit = Limit {
    slug: "receive-window",
    title: "receive window",
    causes: &[
        ("reader-slow", "the application does not read what is there"),
        (
            "buffer-fixed",
            "the receive buffer is not allowed to grow: SO_RCVBUF, tcp_moderate_rcvbuf or the window scale",
        ),
        ("buffer-max", "the receive buffer has grown to the most that tcp_rmem allows"),
        ("peer-window", "the peer's window forbids sending; whether its reader or its buffer does is not visible here"),
    ],
    reads: &["idiag_rqueue", "SK_MEMINFO_RCVBUF", "tcp_info", RMEM, MODERATE, SCALING],
    look_alikes: &["send-buffer", "congestion-window", "loss", "tcp-memory"],
    knobs: &[RMEM, MODERATE, SCALING, RMEM_MAX],
    scenarios: &[
        "buffers-stacked",
        "receive-window-buffer-fixed",
        "receive-window-buffer-max",
        "receive-window-peer",
        "receive-window-reader-slow",
        "receive-window-reader-stalled",
        "receive-window-scaling-off",
    ],
    source: include_str!("receive_window.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const RMEM: &str = "net.ipv4.tcp_rmem";
const RMEM_MAX: &str = "net.core.rmem_max";
const MODERATE: &str = "net.ipv4.tcp_moderate_rcvbuf";
const SCALING: &str = "net.ipv4.tcp_window_scaling";
/// Without a known line rate a buffer is advised that allows this many times the rate of now; the next check tells more.
const TRIAL: u64 = 8;
/// What a process passes on is this share of what it receives, or up to its inverse: more than that is another business.
const PASSED_ON: f64 = 0.5;
/// A window whose smallest look is this share of its largest stands still, as that of a buffer which is always empty.
const STEADY: f64 = 0.9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    ReaderSlow,
    BufferFixed,
    BufferMax,
    PeerWindow,
}

impl Cause {
    fn slug(self) -> &'static str {
        match self {
            Self::ReaderSlow => "reader-slow",
            Self::BufferFixed => "buffer-fixed",
            Self::BufferMax => "buffer-max",
            Self::PeerWindow => "peer-window",
        }
    }
}

/// Why a buffer does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fixed {
    /// The window is as wide as it can be said.
    Scale,
    /// `tcp_moderate_rcvbuf` is 0, and the buffer is as large as every new one.
    NotModerated,
    /// SO_RCVBUF.
    Application,
}

fn cause(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Cause> {
    match receiving(ns, watch) {
        Some(Receiving::Reader) => return (!passes_on(ns, watch)).then_some(Cause::ReaderSlow),
        Some(Receiving::Buffer { fixed: true }) => return Some(Cause::BufferFixed),
        Some(Receiving::Buffer { fixed: false }) => return Some(Cause::BufferMax),
        Some(Receiving::ReaderBusy | Receiving::ReaderUnseen | Receiving::Nothing) | None => {}
    }
    let Some(Sending::PeerWindow { closed, .. }) = sending(ns, watch) else { return None };
    if !closed && throttle::may_be_full(watch) {
        return None;
    }
    match receiver_says(ns, watch) {
        None => Some(Cause::PeerWindow),
        Some(Receiving::Nothing) => throttle::has_distance(watch).then_some(Cause::PeerWindow),
        // The receiver's own finding says more; and an application that saturates a CPU is none.
        Some(_) => None,
    }
}

/// Whether the process does not read because what it passes on (a proxy, a pipe over the network) is held back elsewhere.
fn passes_on(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    let interval = ns.interval();
    let pids: Vec<Pid> = processes_of(&interval.after, watch.flow.inode).map(|(pid, _)| pid).collect();
    // Looked for and not found, as by an ordinary user: then anybody may be the same process.
    let hidden = pids.is_empty() && interval.after.owners.contains_key(&watch.flow.inode);
    let mut sent = Vec::new();
    for other in interval.namespaces() {
        // Its own other end, where one process has both, is nothing that it passes on to.
        let own = |out: &&FlowWatch| out.flow.cookie == watch.flow.cookie || out.flow.local == watch.flow.remote;
        for out in other.watched_flows().filter(|out| !own(out)) {
            let same = processes_of(&interval.after, out.flow.inode).any(|(pid, _)| pids.contains(&pid));
            if (same || hidden) && held_back(&other, out) {
                sent.push(out.sent_rate());
            }
        }
    }
    let received = watch.received_rate();
    let as_much = |sent: f64| sent >= received * PASSED_ON && sent * PASSED_ON <= received;
    // To one client of many, or to all that take part of it.
    sent.iter().any(|sent| as_much(*sent)) || (!sent.is_empty() && as_much(sent.iter().sum()))
}

/// Whether a flow has more to send than it can.
fn held_back(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    !matches!(sending(ns, watch), None | Some(Sending::Application))
}

fn any(_: &FlowSample) -> bool {
    true
}

/// Those receivers that left something unread, the fullest of each service.
fn headroom(interval: &Interval) -> Vec<Headroom> {
    let mut headroom = Vec::new();
    for ns in interval.namespaces() {
        for ((), flows) in alike(&ns, |watch| (watch.most(|s| s.rqueue.into()) > 0).then_some(())) {
            let of = |watch: &FlowWatch| {
                let fullest = watch.samples.iter().max_by_key(|sample| sample.rqueue).copied().unwrap_or_default();
                (u64::from(fullest.rqueue), u64::from(fullest.rqueue) + receive_window(&fullest))
            };
            let share = |watch: &FlowWatch| of(watch).0 as f64 / of(watch).1.max(1) as f64;
            let Some(watch) = flows.iter().max_by(|a, b| share(a).total_cmp(&share(b))) else { continue };
            let (used, capacity) = of(watch);
            let subject = subject(&ns, watch, flows.len() as u64 - 1);
            headroom.push(Headroom { limit: LIMIT.slug.into(), subject, used, capacity, unit: "bytes".into() });
        }
    }
    headroom
}

/// Those of the flows that it has a finding for; and where a reader lags behind, those that it may pass on to.
fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let lags = |ns: &NetnsChange<'_>, watch: &FlowWatch| cause(ns, watch) == Some(Cause::ReaderSlow);
    let reader = interval.is_some_and(|i| i.namespaces().any(|ns| ns.watched_flows().any(|watch| lags(&ns, watch))));
    let unseen = |ns: &NetnsChange<'_>, watch: &FlowWatch| receiving(ns, watch) == Some(Receiving::ReaderUnseen);
    throttle::inodes(interval, |ns, watch| {
        cause(ns, watch).is_some() || unseen(ns, watch) || (reader && held_back(ns, watch))
    })
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        detected.unknown.extend(throttle::unjudged(&LIMIT, &ns));
        for (cause, flows) in alike(&ns, |watch| cause(&ns, watch)) {
            detected.findings.extend(finding(&ns, cause, &flows));
        }
        let unseen = ns.watched_flows().filter(|watch| receiving(&ns, watch) == Some(Receiving::ReaderUnseen));
        detected.unknown.extend(unseen.filter_map(|watch| unseen_reader(&ns, watch)));
    }
    detected
}

/// A reader that lags behind, and nobody knows whether it sleeps or works.
fn unseen_reader(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Unknown> {
    let owners = ns.interval().after.owners.get(&watch.flow.inode);
    let why = owners.and_then(|owners| owners.absent().cloned());
    let why = why.unwrap_or_else(|| Absent::Failed {
        what: "CPU time of a process that reads slowly".into(),
        error: "it was not read at both ends of the window".into(),
    });
    unknown(&LIMIT, Some(ns.name()), "readers' CPU time", &why)
}

fn finding(ns: &NetnsChange<'_>, cause: Cause, flows: &[&FlowWatch]) -> Option<Finding> {
    let (watch, others) = flows.split_first()?;
    let (summary, because, confidence) = match cause {
        Cause::ReaderSlow => reader(ns, watch),
        Cause::BufferFixed | Cause::BufferMax => buffer(ns, watch, cause),
        Cause::PeerWindow => peer(ns, watch),
    };
    // Clients of a server take as much as they like: a video player that is full is no fault. What a program sends by
    // itself is meant to arrive.
    let client = ns.listening_ports().contains(&watch.flow.local.port);
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: if cause == Cause::PeerWindow && client { State::Near } else { State::Limiting },
        cause: cause.slug().into(),
        confidence,
        subject: subject(ns, watch, others.len() as u64),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: throttle::hurt(flows),
    };
    let finding = if cause == Cause::PeerWindow { sent(ns, watch, finding) } else { received(ns, watch, finding) };
    Some(finding.standing("tcpi_min_rtt", watch.min_rtt().unwrap_or(0.0) * 1e6, "µs"))
}

/// The numbers of a receiver.
fn received(ns: &NetnsChange<'_>, watch: &FlowWatch, finding: Finding) -> Finding {
    let seconds = watch.seconds();
    let mut finding = finding
        .changed("tcpi_bytes_received", watch.grew(|s| s.bytes_received) as f64, "bytes", seconds)
        .standing("tcpi_rcv_wnd", watch.median(any, receive_window) as f64, "bytes")
        .standing("idiag_rqueue", watch.median(any, |s| s.rqueue.into()) as f64, "bytes")
        .standing("SK_MEMINFO_RMEM_ALLOC", watch.median(any, |s| s.rmem_alloc.into()) as f64, "bytes")
        .standing("SK_MEMINFO_RCVBUF", watch.last().rcvbuf.into(), "bytes");
    if let Some(times) = ns.counter("TcpExt.TCPToZeroWindowAdv").value() {
        finding = finding.changed("TcpExt.TCPToZeroWindowAdv", *times as f64, "events", ns.interval().seconds());
    }
    if let Some((_, sender)) = other_end(ns, watch) {
        finding =
            finding.changed("tcpi_rwnd_limited of the sender", sender.grew(|s| s.rwnd_limited) as f64, "µs", seconds);
    }
    finding
}

/// The numbers of a sender.
fn sent(ns: &NetnsChange<'_>, watch: &FlowWatch, finding: Finding) -> Finding {
    let seconds = watch.seconds();
    let mut finding = finding
        .changed("tcpi_rwnd_limited", watch.grew(|s| s.rwnd_limited) as f64, "µs", seconds)
        .changed("tcpi_busy_time", watch.grew(|s| s.busy_time) as f64, "µs", seconds)
        .changed("tcpi_bytes_acked", watch.grew(|s| s.bytes_acked) as f64, "bytes", seconds);
    if watch.last().snd_wnd.is_some() {
        finding = finding.standing("tcpi_snd_wnd", window_of_peer(watch) as f64, "bytes");
    }
    if let Some(probes) = ns.counter("TcpExt.TCPWinProbe").value() {
        finding = finding.changed("TcpExt.TCPWinProbe", *probes as f64, "events", ns.interval().seconds());
    }
    finding.standing("tcpi_rtt", watch.last().rtt.into(), "µs")
}

fn window_of_peer(watch: &FlowWatch) -> u64 {
    watch.median(|sample| sample.wqueue > 0, |sample| sample.snd_wnd.unwrap_or(0).into())
}

fn at_rate(watch: &FlowWatch, rate: f64) -> String {
    match watch.min_rtt() {
        Some(rtt) => format!("{} at a round trip of {}", in_bits(rate), in_ms(rtt)),
        None => in_bits(rate),
    }
}

fn reader(ns: &NetnsChange<'_>, watch: &FlowWatch) -> (String, String, Confidence) {
    let looks = watch.samples.len();
    let unread = watch.median(any, |sample| sample.rqueue.into());
    let what = match watch.grew(|sample| sample.bytes_received) {
        0 => "nothing arrives any more".into(),
        _ => at_rate(watch, watch.received_rate()),
    };
    let window = match watch.median(any, receive_window) {
        0 => "the window is shut".into(),
        window => format!("the sender is left a window of {}", in_bytes(window)),
    };
    let summary = format!("{what}: {} wait to be read (median of {looks} looks), so {window}", in_bytes(unread));
    let waits = watch.share(any, |sample| sample.rqueue > 0).unwrap_or(0.0);
    let cpu = cpu_share(ns.interval(), watch.flow.inode);
    let cpu_says = match cpu {
        Some(share) => format!("its process used {} of a CPU", in_percent(share.max(0.0))),
        None => "whether its process is short of CPU time could not be read".into(),
    };
    let because = format!("there was something to read in {} of the looks; {cpu_says}", in_percent(waits));
    let held = other_end(ns, watch).is_some() || watch.median(any, receive_window) < watch.last().rcv_mss.into();
    (summary, because, if held && cpu.is_some() { Confidence::Proven } else { Confidence::Likely })
}

fn buffer(ns: &NetnsChange<'_>, watch: &FlowWatch, cause: Cause) -> (String, String, Confidence) {
    let rate = at_rate(watch, watch.received_rate());
    let window = in_bytes(watch.median(any, receive_window));
    let behind = watch.samples.iter().filter(|sample| is_unread(sample)).count();
    let summary = format!(
        "{rate}: the window of {window} lets no more through; the application reads at once (behind in {behind} of {} looks)",
        watch.samples.len()
    );
    let size = in_bytes(watch.last().rcvbuf.into());
    let max = rmem(ns).map(|[.., max]| in_bytes(max));
    let scale = watch.last().wscale.1;
    let because = match (cause, fixed(ns, watch), max) {
        (Cause::BufferMax, _, _) => format!("the buffer has grown to tcp_rmem's maximum, {size}"),
        (_, Fixed::Scale, _) if scale > 0 => {
            format!("the window is as wide as its scale of 2^{scale} can say, which was agreed on in the handshake")
        }
        (_, Fixed::Scale, _) if knob(ns, SCALING) == Some(0) => {
            "the window is as wide as 16 bits can say: net.ipv4.tcp_window_scaling is off here".into()
        }
        (_, Fixed::Scale, _) => {
            "the window is as wide as 16 bits can say: the peer, or something on the way, did not agree to window scaling"
                .into()
        }
        (_, Fixed::NotModerated, _) => {
            format!("the buffer stays at the {size} that every new one has: net.ipv4.tcp_moderate_rcvbuf is off here")
        }
        (_, Fixed::Application, Some(max)) => {
            format!("the buffer stays at {size} although the kernel would let it grow to {max}: the application set SO_RCVBUF")
        }
        (_, Fixed::Application, None) => format!("the buffer stays at {size}: the application set SO_RCVBUF"),
    };
    // Without the sender's side, a sender whose own buffer happens to be as large would look like this.
    let sender = other_end(ns, watch);
    let seen = sender.is_some() && rmem(ns).is_some();
    (summary, because, if seen { Confidence::Proven } else { Confidence::Likely })
}

fn peer(ns: &NetnsChange<'_>, watch: &FlowWatch) -> (String, String, Confidence) {
    let windows = || watch.samples.iter().filter(|sample| sample.wqueue > 0).filter_map(|sample| sample.snd_wnd);
    let (least, most) = (windows().min().unwrap_or(0), windows().max().unwrap_or(0));
    let shut = watch.share(any, |s| s.timer == Timer::Persist || s.snd_wnd.is_some_and(|wnd| wnd < s.snd_mss));
    let shut = shut.unwrap_or(0.0);
    let what = match watch.grew(|sample| sample.bytes_acked) {
        0 => "nothing is sent any more".into(),
        _ => at_rate(watch, watch.sent_rate()),
    };
    let window = match window_of_peer(watch) {
        0 => "the peer's window".into(),
        window => format!("the peer's window of {}", in_bytes(window)),
    };
    let summary =
        format!("{what}: {window} forbade sending for {} of the time", in_percent(rwnd_share(watch).min(1.0)));
    let seen = if shut > 0.0 {
        format!("it was shut in {} of the looks, as by a reader that does not keep up", in_percent(shut))
    } else if most == 0 {
        "its size is not known to this kernel".into()
    } else if f64::from(least) >= f64::from(most) * STEADY {
        format!("it stood at {}, as that of a small buffer that is read at once", in_bytes(most.into()))
    } else {
        format!("it went between {} and {}", in_bytes(least.into()), in_bytes(most.into()))
    };
    let side = match other_end(ns, watch) {
        Some(_) => "the receiver's side shows neither",
        None => "only the receiver's side can tell",
    };
    let because = format!("{seen}; a slow reader and a small buffer look alike from here, {side}");
    (summary, because, Confidence::Proven)
}

fn knob(ns: &NetnsChange<'_>, key: &str) -> Option<i64> {
    ns.after.knob_number(key).value().copied()
}

fn rmem(ns: &NetnsChange<'_>) -> Option<[u64; 3]> {
    ns.after.knob_numbers::<3>(RMEM).value().map(|numbers| numbers.map(i64::unsigned_abs))
}

fn fixed(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Fixed {
    let last = watch.last();
    // Scaling is agreed on by both ends or by none: with a scale of the peer's, a 0 of this end was its own choice, for a
    // buffer that was set before the handshake and needs no more (`tcp_select_initial_window`).
    let chosen = last.wscale.1 == 0 && last.wscale.0 > 0;
    if is_widest(&last) && !chosen {
        return Fixed::Scale;
    }
    match (knob(ns, MODERATE), rmem(ns)) {
        (Some(0), Some([_, default, _])) if default == u64::from(last.rcvbuf) => Fixed::NotModerated,
        _ => Fixed::Application,
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(interval, &finding.subject) else { return vec![] };
    let who = whose(&finding.subject);
    let mut remedies = match &*finding.cause {
        "reader-slow" => vec![speed_up_reader(&who, watch)],
        "peer-window" => ask_the_peer(&ns, watch),
        "buffer-max" => enlarge(&ns, watch, finding),
        _ => free(&ns, watch, &who),
    };
    // The sender knows what holds it back next, where it can be seen.
    let sender = other_end(&ns, watch).filter(|_| !["reader-slow", "peer-window"].contains(&&*finding.cause));
    let next = match &sender {
        Some((sender, end)) => next_ceiling(sender, end, LIMIT.slug),
        None => next_ceiling(&ns, watch, LIMIT.slug).filter(|_| finding.cause == "peer-window"),
    };
    // Of the peer's window, the first one only asks.
    let changes = if finding.cause == "peer-window" { remedies.get_mut(1) } else { remedies.first_mut() };
    if let Some(remedy) = changes {
        remedy.text.push_str(&alone(watch.sent_rate().max(watch.received_rate()), next.as_ref()));
    }
    remedies
}

fn speed_up_reader(who: &str, watch: &FlowWatch) -> Remedy {
    let text = if watch.grew(|sample| sample.bytes_received) == 0 {
        format!(
            "{who} does not read from this connection at all: find what it waits for (strace, a stack trace), or close it"
        )
    } else {
        format!(
            "{who} reads too slowly: read more at once, do the work between two reads in another thread, or find what it \
             waits for (a disk, a lock, a pipe); a larger buffer would only delay this"
        )
    };
    Remedy::new(Level::Application, text).verify("Recv-Q of ss -t stays near 0 while data flows, and the goodput rises")
}

const VERIFY: &str = "the goodput rises, and rwnd_limited of the sender's ss -ti no longer grows as fast as busy";

/// A buffer that may not grow.
fn free(ns: &NetnsChange<'_>, watch: &FlowWatch, who: &str) -> Vec<Remedy> {
    match fixed(ns, watch) {
        Fixed::Scale if knob(ns, SCALING) == Some(0) => {
            vec![
                Remedy::knob("allow window scaling (RFC 7323) for new connections", SCALING, "0", "1")
                    .cost("none; connections that are open keep their windows")
                    .verify(VERIFY),
            ]
        }
        Fixed::Scale if watch.last().wscale.1 == 0 => {
            let text = "let the peer and what is between (firewalls, NAT) keep the window scale option of the SYN";
            vec![Remedy::new(Level::Service, text).verify("wscale appears in ss -ti of a new connection")]
        }
        Fixed::Scale => {
            let text = format!(
                "let {who} connect anew: the window scale is chosen in the handshake, by tcp_rmem's maximum and rmem_max \
                 of then"
            );
            vec![Remedy::new(Level::Application, text).verify(VERIFY)]
        }
        Fixed::NotModerated => {
            let text = "let the kernel size receive buffers by what is read";
            let cost = "what each flow needs, up to tcp_rmem's maximum, while it needs it";
            vec![Remedy::knob(text, MODERATE, "0", "1").cost(cost).verify(VERIFY)]
        }
        Fixed::Application => {
            let limit = rmem(ns).map_or_else(String::new, |[.., max]| format!(", up to {}", in_bytes(max)));
            let text = format!("{who} sets SO_RCVBUF: remove it, and the kernel sizes the buffer{limit}");
            let remove = Remedy::new(Level::Application, text).verify(VERIFY);
            let (buffer, formula) = wanted_buffer(ns, watch);
            // What is asked for is doubled, and cut to rmem_max before.
            let ask = buffer.div_ceil(2);
            let cut = knob(ns, RMEM_MAX).filter(|max| ask > max.unsigned_abs());
            let cut = cut.map_or_else(String::new, |max| {
                format!(", for which net.core.rmem_max, {} now, is too small", in_bytes(max.unsigned_abs()))
            });
            let text = format!(
                "or, where it must be set, SO_RCVBUF of at least {} (the kernel doubles it){cut}",
                in_bytes(ask)
            );
            let set = Remedy::new(Level::Application, text)
                .formula(format!("{formula}, halved"))
                .cost("that much for each connection while data waits in it")
                .verify("as above; set it before listen(2) or connect(2), which choose the window scale");
            vec![remove, set]
        }
    }
}

/// The buffer for the window that is wanted, and how that came about.
fn wanted_buffer(ns: &NetnsChange<'_>, watch: &FlowWatch) -> (u64, String) {
    let (window, formula) = wanted(ns, watch, TRIAL);
    let part = window_of_receive_buffer(watch, 1 << 20).max(1);
    let buffer = (u128::from(window) << 20) / u128::from(part);
    let share = in_percent(part as f64 / f64::from(1 << 20));
    (u64::try_from(buffer).unwrap_or(u64::MAX), format!("{formula} ÷ {share} (window per byte of buffer on this flow)"))
}

/// A larger maximum.
fn enlarge(ns: &NetnsChange<'_>, watch: &FlowWatch, finding: &Finding) -> Vec<Remedy> {
    let Some([min, default, max]) = rmem(ns) else { return vec![] };
    let alike = match &finding.subject {
        crate::finding::Subject::Flow { alike, .. } => *alike as usize + 1,
        _ => 1,
    };
    let (buffer, formula) = wanted_buffer(ns, watch);
    let affordable = affordable(ns.interval(), alike);
    let to = buffer.checked_next_power_of_two().unwrap_or(buffer).min(affordable).min(i32::MAX as u64);
    if to <= max {
        let text = format!(
            "spread the transfer over several connections: tcp_rmem's maximum is {}, and more would be more memory than is wise here",
            in_bytes(max)
        );
        return vec![Remedy::new(Level::Application, text).verify("the goodput of all of them together rises")];
    }
    let flows = ns.flows().value().map_or(1, |flows| flows.established.max(1));
    let cut = if to < buffer { ", as much as TCP's memory bears" } else { ", rounded up to a power of two" };
    vec![
        Remedy::knob(
            "let receive buffers of this namespace grow; open connections may stay as they are until they reconnect",
            RMEM,
            format!("{min} {default} {max}"),
            format!("{min} {default} {to}"),
        )
        .formula(format!("{formula}{cut}"))
        .cost(format!(
            "at most {} for each flow whose reader stops while it is that fast; open here: {flows}; tcp_mem bounds \
             them all",
            in_bytes(to)
        ))
        .verify(VERIFY),
    ]
}

/// What to do at the other end.
fn ask_the_peer(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Remedy> {
    let peer = watch.flow.remote;
    let decide = Remedy::new(
        Level::Application,
        format!(
            "run tcproof check on {peer}'s host while this lasts: it tells whether its reader is too slow or its buffer too small"
        ),
    )
    .verify("there: Recv-Q of ss -tm near rb is a slow reader, near 0 a small buffer");
    let (window, formula) = wanted(ns, watch, TRIAL);
    if watch.sent_rate() == 0.0 {
        return vec![decide];
    }
    let text = format!(
        "if it is the buffer: no SO_RCVBUF there, and a tcp_rmem maximum that makes a window of {}",
        in_bytes(window)
    );
    let enlarge = Remedy::new(Level::Application, text)
        .formula(formula)
        .verify("rwnd_limited of ss -ti no longer grows as fast as busy");
    vec![decide, enlarge]
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let watched = &ns.flows().value()?.watched;
    if watched.is_empty() || watched.iter().any(|watch| cause(ns, watch).is_some()) {
        return None;
    }
    let busy = watched.iter().filter(|watch| held_back(ns, watch));
    let share = busy.map(rwnd_share).max_by(f64::total_cmp)?;
    Some(format!("the peers' windows forbade sending {} of the busy time", in_percent(share.min(1.0))))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, MSS, OWN, Stream, assert_clear, detect, remedies, the_finding, unknowns};
    use super::*;
    use crate::reading::Reading;
    use crate::snapshot::{Link, LinkSettings};
    use alloc::string::ToString;

    /// 80 480 bytes of window over 20 ms, as measured with SO_RCVBUF 64 KiB.
    fn buffered(rcvbuf: u32, window: u32) -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").receives(f64::from(window) / 0.020_5).each(|_, s| {
            (s.min_rtt, s.rtt) = (20_000, 20_500);
            (s.rcvbuf, s.rcv_wnd, s.rcv_ssthresh) = (rcvbuf, Some(window), window);
        })
    }

    /// One megabyte a second read over 20 ms, as measured.
    fn slow() -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").receives(1_000_000.0).each(|_, s| {
            (s.min_rtt, s.rtt) = (20_000, 20_500);
            (s.rqueue, s.rmem_alloc, s.rcvbuf, s.rcv_wnd) = (60_600, 99_072, 131_072, Some(30_080));
        })
    }

    /// Nobody reads at all.
    fn stopped() -> Stream {
        slow().each(|_, s| (s.bytes_received, s.rqueue, s.rmem_alloc, s.rcv_wnd) = (82_640, 82_640, 131_328, Some(0)))
    }

    /// The other end of all of them.
    fn sender(window: u32) -> Stream {
        Stream::between("10.0.0.9:5000", "10.0.0.2:443").sends(f64::from(window) / 0.020_5).each(|t, s| {
            (s.min_rtt, s.rtt, s.snd_wnd, s.snd_cwnd) = (20_000, 20_500, Some(window), 600);
            (s.sndbuf, s.wmem_queued, s.notsent_bytes) = (1_041_408, 900_000, 700_000);
            s.rwnd_limited = (t * 9.7e5) as u64;
        })
    }

    fn host(stream: Stream) -> Host {
        Host::new()
            .knob(RMEM, "4096\t131072\t6291456")
            .knob("net.ipv4.tcp_wmem", "4096\t16384\t4194304")
            .knob(MODERATE, "1")
            .knob(SCALING, "1")
            .knob(RMEM_MAX, "212992")
            .grew("TcpExt.TCPToZeroWindowAdv", 0)
            .flow(stream)
    }

    /// Its reader has time enough.
    fn asleep(host: Host) -> Host {
        host.owner(443, 7).process(7, "import", 10, 1024)
    }

    fn cause_of(host: &Host) -> String {
        the_finding(&LIMIT, host).cause
    }

    /// Measured on 5.10 and 6.1, which do not tell the window.
    #[test]
    fn a_kernel_that_does_not_tell_its_window_shows_a_reader_that_lags_behind_too() {
        let older = |stream: Stream| stream.each(|_, s| (s.rcv_wnd, s.rcv_ssthresh) = (None, 64_088));
        for stream in [slow(), stopped()] {
            let host = host(older(stream)).owner(443, 7).process(7, "import", 10, 1024);
            assert_eq!(cause_of(&host), "reader-slow");
        }
    }

    #[test]
    fn a_reader_that_lags_behind_is_the_application_s() {
        let host = host(slow()).owner(443, 7).process(7, "import", 10, 1024).cpu_share(7, 0.02);
        let finding = the_finding(&LIMIT, &host);
        // The sender cannot be seen, and the window is not shut.
        assert_eq!((&*finding.cause, finding.confidence), ("reader-slow", Confidence::Likely));
        insta::assert_snapshot!(finding.summary, @"8.0 Mbit/s at a round trip of 20 ms: 59.2 KiB wait to be read (median of 51 looks), so the sender is left a window of 29.4 KiB");
        insta::assert_snapshot!(finding.because, @"there was something to read in 100 % of the looks; its process used 2 % of a CPU");
        insta::assert_snapshot!(remedies(&finding), @"1. Application: import reads too slowly: read more at once, do the work between two reads in another thread, or find what it waits for (a disk, a lock, a pipe); a larger buffer would only delay this");
        let seen = host.flow_elsewhere("peer", sender(30_080));
        let finding = the_finding(&LIMIT, &seen);
        assert_eq!((&*finding.cause, finding.confidence), ("reader-slow", Confidence::Proven));
        assert_eq!(
            (LIMIT.headroom)(seen.interval()).iter().map(|h| (h.used, h.capacity)).collect::<Vec<_>>(),
            [(60_600, 90_680)]
        );
    }

    #[test]
    fn a_reader_that_stops_shuts_the_window() {
        let finding = the_finding(&LIMIT, &host(stopped()).owner(443, 7).process(7, "import", 10, 1024));
        assert_eq!((&*finding.cause, finding.confidence), ("reader-slow", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"nothing arrives any more: 80.7 KiB wait to be read (median of 51 looks), so the window is shut");
        insta::assert_snapshot!(remedies(&finding), @"1. Application: import does not read from this connection at all: find what it waits for (strace, a stack trace), or close it");
        // Whether it waits for a CPU is not known: nobody is accused. Nor is one that was not accepted yet.
        assert_eq!(unknowns(&LIMIT, &host(stopped())), ["readers' CPU time of own"]);
        let mut waiting = stopped().into_watch();
        waiting.flow.inode = 0;
        assert_clear(&LIMIT, &host(Stream::of(waiting)));
        // No distance at all: 5.6 MB unread over 21 µs, as measured.
        let near = slow().each(|_, s| {
            (s.min_rtt, s.rtt, s.rqueue, s.rmem_alloc, s.rcvbuf, s.rcv_wnd) =
                (21, 21, 5_638_168, 5_716_808, 5_893_708, Some(0));
        });
        assert_eq!(cause_of(&asleep(host(near))), "reader-slow");
        // Segments of 64 KiB, as on loopback, wait for a window that looks wide.
        let lo = |unread: u32| {
            let receiver =
                slow().each(move |_, s| (s.min_rtt, s.rtt, s.rqueue, s.rcv_wnd) = (12, 12, unread, Some(157_000)));
            let sender = sender(157_000).each(|_, s| (s.min_rtt, s.rtt, s.snd_mss, s.unacked) = (12, 12, 65_483, 1));
            let shut = sender.each(|t, s| s.snd_wnd = Some(if t % 0.3 < 0.1 { 40_000 } else { 157_000 }));
            asleep(host(receiver).flow_elsewhere("peer", shut))
        };
        assert_eq!(cause_of(&lo(120_000)), "reader-slow");
        assert_clear(&LIMIT, &lo(0));
    }

    #[test]
    fn a_buffer_that_does_not_grow_was_set_by_the_application() {
        let finding = the_finding(&LIMIT, &host(buffered(131_072 / 2, 40_240)).flow_elsewhere("peer", sender(40_240)));
        assert_eq!((&*finding.cause, finding.confidence), ("buffer-fixed", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"16 Mbit/s at a round trip of 20 ms: the window of 39.3 KiB lets no more through; the application reads at once (behind in 0 of 51 looks)");
        insta::assert_snapshot!(finding.because, @"the buffer stays at 64.0 KiB although the kernel would let it grow to 6.0 MiB: the application set SO_RCVBUF");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Application: the application sets SO_RCVBUF: remove it, and the kernel sizes the buffer, up to 6.0 MiB; alone it gains 16 Mbit/s → 46 Mbit/s: then the send buffer of 1017.0 KiB binds
        2. Application: or, where it must be set, SO_RCVBUF of at least 500.1 KiB (the kernel doubles it), for which net.core.rmem_max, 208.0 KiB now, is too small
        ");
        insta::assert_snapshot!(finding.remedies[1].formula.clone().unwrap_or_default(), @"2 × 126 Mbit/s (8 times the rate of now) × 20 ms ÷ 61 % (window per byte of buffer on this flow), halved");
    }

    #[test]
    fn a_buffer_that_may_not_grow_is_the_knob_s() {
        let host = host(buffered(131_072, 80_512)).knob(MODERATE, "0");
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((&*finding.cause, finding.confidence), ("buffer-fixed", Confidence::Likely));
        insta::assert_snapshot!(finding.because, @"the buffer stays at the 128.0 KiB that every new one has: net.ipv4.tcp_moderate_rcvbuf is off here");
        insta::assert_snapshot!(remedies(&finding), @"1. Kernel: let the kernel size receive buffers by what is read [net.ipv4.tcp_moderate_rcvbuf 0 → 1]");
    }

    #[test]
    fn a_window_without_scaling_is_64_kib_whatever_the_buffer_is() {
        // The kernel shows a window that the header cannot say.
        let narrow = || {
            buffered(1_258_272, 65_535)
                .each(|_, s| (s.wscale, s.rcv_wnd, s.rcv_ssthresh) = ((0, 0), Some(784_816), 784_980))
        };
        let off = the_finding(&LIMIT, &host(narrow()).knob(SCALING, "0"));
        assert_eq!(off.cause, "buffer-fixed");
        insta::assert_snapshot!(off.because, @"the window is as wide as 16 bits can say: net.ipv4.tcp_window_scaling is off here");
        insta::assert_snapshot!(remedies(&off), @"1. Kernel: allow window scaling (RFC 7323) for new connections [net.ipv4.tcp_window_scaling 0 → 1]");
        let refused = the_finding(&LIMIT, &host(narrow()));
        insta::assert_snapshot!(refused.because, @"the window is as wide as 16 bits can say: the peer, or something on the way, did not agree to window scaling");
        insta::assert_snapshot!(remedies(&refused), @"1. Service: let the peer and what is between (firewalls, NAT) keep the window scale option of the SYN");
        // SO_RCVBUF of 65 535 before the handshake: the scale is 0 because the buffer needs no other.
        let small = buffered(131_070, 65_535).each(|_, s| s.wscale = (7, 0));
        let small = the_finding(&LIMIT, &host(small));
        insta::assert_snapshot!(small.because, @"the buffer stays at 128.0 KiB although the kernel would let it grow to 6.0 MiB: the application set SO_RCVBUF");
        let outgrown = buffered(6_291_456, 524_280).each(|_, s| s.wscale = (7, 3));
        let outgrown = the_finding(&LIMIT, &host(outgrown));
        insta::assert_snapshot!(outgrown.because, @"the window is as wide as its scale of 2^3 can say, which was agreed on in the handshake");
        insta::assert_snapshot!(remedies(&outgrown), @"1. Application: let the application connect anew: the window scale is chosen in the handshake, by tcp_rmem's maximum and rmem_max of then");
    }

    #[test]
    fn a_buffer_at_its_maximum_is_enlarged_for_twice_the_product() {
        let limited = || {
            host(buffered(262_144, 162_432)).knob(RMEM, "4096\t131072\t262144").flow_elsewhere("peer", sender(162_432))
        };
        let finding = the_finding(&LIMIT, &limited());
        assert_eq!((&*finding.cause, finding.confidence), ("buffer-max", Confidence::Proven));
        insta::assert_snapshot!(finding.because, @"the buffer has grown to tcp_rmem's maximum, 256.0 KiB");
        insta::assert_snapshot!(remedies(&finding), @"1. Kernel: let receive buffers of this namespace grow; open connections may stay as they are until they reconnect; alone it gains 63 Mbit/s → 185 Mbit/s: then the send buffer of 1017.0 KiB binds [net.ipv4.tcp_rmem 4096 131072 262144 → 4096 131072 4194304]");
        insta::assert_snapshot!(finding.remedies[0].formula.clone().unwrap_or_default(), @"2 × 507 Mbit/s (8 times the rate of now) × 20 ms ÷ 62 % (window per byte of buffer on this flow), rounded up to a power of two");
        insta::assert_snapshot!(finding.remedies[0].cost.clone().unwrap_or_default(), @"at most 4.0 MiB for each flow whose reader stops while it is that fast; open here: 1; tcp_mem bounds them all");
        // A card of 100 Mbit/s is known to carry no more; a veth's 10 Gbit/s are made up.
        let card = |kind: Option<&str>, speed| {
            let settings = LinkSettings { speed: Reading::Present(speed), ..LinkSettings::default() };
            Link { index: 2, running: true, kind: kind.map(ToString::to_string), settings, ..Link::default() }
        };
        let to = |host: Host| the_finding(&LIMIT, &host).remedies[0].to.clone().unwrap_or_default();
        assert_eq!(to(limited().link("eth0", card(None, 100))), "4096 131072 1048576");
        assert_eq!(to(limited().link("eth0", card(Some("veth"), 100))), "4096 131072 4194304");
        // Little memory: what TCP bears, or another way.
        let poor = |pages| limited().both(move |s| s.system.tcp_mem = Reading::Present([pages / 2, pages, pages * 2]));
        assert_eq!(to(poor(1_024)), "4096 131072 2097152");
        assert!(the_finding(&LIMIT, &poor(64)).remedies[0].text.starts_with("spread the transfer"));
    }

    #[test]
    fn the_buffer_that_binds_next_is_named() {
        let small = sender(80_480).each(|_, s| (s.sndbuf, s.wmem_queued, s.wqueue) = (131_072, 167_824, 158_672));
        let finding = the_finding(&LIMIT, &host(buffered(65_536, 80_480)).flow_elsewhere("peer", small));
        assert!(finding.remedies[0].text.contains("; alone it gains"), "{}", finding.remedies[0].text);
        let same = sender(80_480).each(|_, s| (s.sndbuf, s.wmem_queued, s.wqueue) = (84_000, 83_000, 80_000));
        let finding = the_finding(&LIMIT, &host(buffered(65_536, 80_480)).flow_elsewhere("peer", same));
        insta::assert_snapshot!(finding.remedies[0].text, @"the application sets SO_RCVBUF: remove it, and the kernel sizes the buffer, up to 6.0 MiB; alone it does not help: the send buffer of 82.0 KiB allows no more than 32 Mbit/s");
    }

    #[test]
    fn the_sender_says_what_it_sees_and_what_would_decide() {
        let finding = the_finding(&LIMIT, &host(sender(80_480)));
        assert_eq!((&*finding.cause, finding.confidence), ("peer-window", Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"31 Mbit/s at a round trip of 20 ms: the peer's window of 78.6 KiB forbade sending for 97 % of the time");
        insta::assert_snapshot!(finding.because, @"it stood at 78.6 KiB, as that of a small buffer that is read at once; a slow reader and a small buffer look alike from here, only the receiver's side can tell");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Application: run tcproof check on 10.0.0.2:443's host while this lasts: it tells whether its reader is too slow or its buffer too small
        2. Application: if it is the buffer: no SO_RCVBUF there, and a tcp_rmem maximum that makes a window of 1.2 MiB; alone it gains 31 Mbit/s → 91 Mbit/s: then the send buffer of 1017.0 KiB binds
        ");
        // A window that is just larger than what the path holds fills its queue a little.
        assert_clear(&LIMIT, &host(sender(80_480).each(|_, s| s.rtt = 26_000)));
        // A server's client takes as much as it likes.
        let client = Stream::between("10.0.0.9:443", "10.0.0.2:5000").sends(3_926_000.0);
        let client = client.each(|t, s| {
            (s.min_rtt, s.rtt, s.snd_wnd, s.snd_cwnd) = (20_000, 20_500, Some(80_480), 600);
            s.rwnd_limited = (t * 9.7e5) as u64;
        });
        let server = host(client).listener(super::super::testing::Listen::at("0.0.0.0:443"));
        assert_eq!(the_finding(&LIMIT, &server).state, State::Near);
        let shut = sender(80_480).each(|_, s| {
            (s.bytes_acked, s.snd_wnd, s.timer, s.rtt) = (1_000, Some(0), Timer::Persist, 31_000);
        });
        let finding = the_finding(&LIMIT, &host(shut));
        insta::assert_snapshot!(finding.summary, @"nothing is sent any more: the peer's window forbade sending for 97 % of the time");
        insta::assert_snapshot!(finding.because, @"it was shut in 100 % of the looks, as by a reader that does not keep up; a slow reader and a small buffer look alike from here, only the receiver's side can tell");
        insta::assert_snapshot!(remedies(&finding), @"1. Application: run tcproof check on 10.0.0.2:443's host while this lasts: it tells whether its reader is too slow or its buffer too small");
    }

    #[test]
    fn the_receiver_s_own_finding_stands_alone() {
        let both = |receiver: Stream, window| host(receiver).flow_elsewhere("peer", sender(window));
        assert_eq!(cause_of(&both(buffered(65_536, 40_240), 40_240)), "buffer-fixed");
        assert_eq!(cause_of(&asleep(both(slow(), 30_080))), "reader-slow");
        // It saturates a CPU: nobody's limit.
        let busy = both(slow(), 30_080).owner(443, 7).process(7, "unzip", 10, 1024).cpu_share(7, 0.9);
        assert_clear(&LIMIT, &busy);
        // Its buffer grows, which the sender sees too.
        let growing =
            |window: u32| sender(window).each(|t, s| s.snd_wnd = Some(s.snd_wnd.unwrap_or(0) + (t * 1e5) as u32));
        let grows = buffered(131_072, 80_480).each(|t, s| s.rcvbuf += (t * 1e5) as u32);
        assert_clear(&LIMIT, &host(grows).flow_elsewhere("peer", growing(80_480)));
    }

    #[test]
    fn a_proxy_that_waits_for_its_other_side_is_no_slow_reader() {
        let through = |rate: f64| {
            let out = Stream::between("10.0.0.2:8080", "10.0.0.7:6000").sends(rate).each(|_, s| {
                (s.rtt, s.snd_cwnd, s.notsent_bytes) = (120_000, s.unacked, 100_000);
            });
            let host = host(slow()).flow(out).owner(443, 7).owner(8_080, 7);
            host.process(7, "nginx", 10, 1024).cpu_share(7, 0.02)
        };
        assert_clear(&LIMIT, &through(1_000_000.0));
        // Another business of the same process.
        assert_eq!(cause_of(&through(50_000_000.0)), "reader-slow");
        // Ten slow clients, each with a server's answer behind it.
        let clients = (0..10_u16).fold(through(1_000_000.0), |host, n| {
            let out = Stream::between(&format!("10.0.0.2:{}", 9_000 + n), "10.0.0.7:6000").sends(1e6).each(|_, s| {
                (s.rtt, s.snd_cwnd, s.notsent_bytes) = (120_000, s.unacked, 100_000);
            });
            host.flow(out).owner((9_000 + n).into(), 7)
        });
        assert_clear(&LIMIT, &clients);
        // Owners that were looked for and not found, as by an ordinary user, exclude no proxy.
        let unowned =
            through(1_000_000.0).both(|s| s.owners.values_mut().for_each(|pids| *pids = Reading::Present(vec![])));
        assert_eq!(unknowns(&LIMIT, &unowned), ["readers' CPU time of own"]);
        // Its owner is looked for also where nothing but the other side's socket tells.
        let wanted = (LIMIT.owners_wanted)(&Snapshot::default(), Some(through(1_000_000.0).interval()));
        assert!(!wanted.contains(&(OWN, 443)), "it passes on: {wanted:?}");
    }

    #[test]
    fn silent_where_the_window_holds_nobody_back() {
        // A few bytes that nobody reads; and as many as fill the buffer, but the sender has no more.
        let pushed = |unread: u32, window: u32| {
            Stream::between("10.0.0.2:443", "10.0.0.9:5000")
                .each(move |_, s| (s.rqueue, s.rmem_alloc, s.rcv_wnd) = (unread, unread + 512, Some(window)))
        };
        assert_clear(&LIMIT, &host(pushed(400, 64_000)));
        assert_clear(&LIMIT, &host(pushed(60_000, 4_400)));
        // A pause of 300 ms: a few looks.
        let paused = Stream::between("10.0.0.2:443", "10.0.0.9:5000").receives(20_000_000.0).each(|t, s| {
            let pause = (2.0..2.3).contains(&t);
            (s.rqueue, s.rcvbuf) = (if pause { 3_900_000 } else { 0 }, 6_291_456);
            s.rcv_wnd = Some(if pause { 0 } else { 3_930_752 });
        });
        assert_clear(&LIMIT, &host(paused));
        // The kernel's own sizing: twice what is read in a round trip.
        assert_clear(&LIMIT, &host(buffered(262_144, 162_432).receives(162_432.0 / 0.041)));
        // A queue on the way is what is full: more window would lengthen it.
        assert_clear(&LIMIT, &host(sender(80_480).each(|_, s| s.rtt = 40_000)));
        // A buffer that still grows.
        assert_clear(&LIMIT, &host(buffered(131_072, 80_512).each(|t, s| s.rcvbuf += (t * 1e4) as u32)));
        // A window that the kernel squeezed because memory is short: tcp-memory or cgroup-memory.
        assert_clear(&LIMIT, &host(buffered(1_048_576, 4 * MSS)));
        // The sender says that its own buffer is what is full.
        let own = sender(80_480).each(|_, s| s.rwnd_limited = 0);
        assert_clear(&LIMIT, &host(buffered(131_072, 80_512)).flow_elsewhere("peer", own));
        // The process is one that gets no CPU because there is none.
        let cpu = |s: &mut Snapshot, idle: u64, user: u64| {
            let seconds = core::time::Duration::from_secs;
            s.system.cpu = Reading::Present(crate::snapshot::CpuTimes {
                idle: seconds(idle),
                user: seconds(user),
                ..crate::snapshot::CpuTimes::default()
            });
        };
        let starved = host(slow()).owner(443, 7).process(7, "import", 10, 1024).cpu_share(7, 0.2);
        assert_clear(&LIMIT, &starved.before(|s| cpu(s, 100, 100)).after(|s| cpu(s, 100, 110)));
    }

    #[test]
    fn alike_flows_are_one_finding_and_it_is_ruled_out_by_the_peers_windows() {
        let second = |port: &str| {
            Stream::between("10.0.0.2:443", &format!("10.0.0.9:{port}"))
                .cookie(port.parse().unwrap_or(0))
                .receives(1e6)
                .each(|_, s| {
                    (s.min_rtt, s.rqueue, s.rmem_alloc, s.rcv_wnd) = (20_000, 60_600, 99_072, Some(30_080));
                })
        };
        let host = host(slow())
            .listener(super::super::testing::Listen::at("0.0.0.0:443"))
            .flow(second("5001"))
            .flow(second("5002"));
        let host = asleep(host).owner(5_001, 7).owner(5_002, 7);
        let finding = the_finding(&LIMIT, &host);
        assert!(finding.subject.to_string().ends_with("and 2 more"), "{}", finding.subject);
        let open = Host::new().flow(sender(80_480).each(|_, s| s.rwnd_limited = 0));
        let ns = open.interval().namespaces().next().expect("one namespace");
        insta::assert_snapshot!(ruled_out(&ns).unwrap_or_default(), @"the peers' windows forbade sending 0 % of the busy time");
        let closed = Host::new().flow(sender(80_480));
        assert_eq!(ruled_out(&closed.interval().namespaces().next().expect("one namespace")), None);
    }

    #[test]
    fn flows_that_could_not_be_looked_at_are_unknown() {
        let mut interval = host(slow()).interval().clone();
        for flows in interval.looks.flows.values_mut() {
            *flows = Reading::Absent(Absent::not_in_kernel("tcp_info"));
        }
        let blind = Host::of(interval);
        assert_eq!(unknowns(&LIMIT, &blind), ["flows of own"]);
        // Without tcp_rmem the cause is a guess.
        let blind = host(buffered(65_536, 40_240)).without_knob(RMEM);
        assert_eq!(detect(&LIMIT, &blind).findings[0].confidence, Confidence::Likely);
    }
}

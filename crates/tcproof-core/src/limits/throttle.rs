//! What holds a flow back: one pure function of the looks at it for each direction, shared by the limits that can be it,
//! so that a flow has one answer and not four.
//!
//! A window or a buffer of `n` bytes lets at most `n / min_rtt` bytes a second through. Where the round trip under load is
//! much longer than the shortest one, a queue or a CPU between the ends is what is full, and a larger window would only
//! lengthen that queue: then no window is the limit, however full it is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{SocketSet, owners_of, percent, processes_of};
use crate::diagnose::FlowNote;
use crate::finding::Subject;
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::{FlowSample, Protocol, Timer};

/// A flow with something to send for less than this share of the time waits for its application.
const BUSY: f64 = 0.5;
/// Share of the busy time (or of the looks) in which something held the flow back, for it to be the limit.
const MOSTLY: f64 = 0.5;
/// Below this share the peer's window is not what holds the flow back.
const HARDLY: f64 = 0.2;
/// A round trip this many times the shortest one is a queue, and the window is not the limit …
const QUEUE: f64 = 2.0;
/// … and one that many times means that the path is full: loss and a full congestion window are how a sender finds that.
const FULL_PATH: f64 = 1.2;
/// A round trip that is shorter than this is made of scheduling and interrupts, not of distance.
const SHORT: f64 = 0.000_5;
/// A write queue with this share of its buffer has no room for another write.
const NO_ROOM: f64 = 0.9;
/// In flight less than this share of what the window and the congestion window allow: neither holds the flow back.
const ALLOWED: f64 = 0.75;
/// In flight at least this share of the congestion window: that one does.
const AT_WINDOW: f64 = 0.9;
/// A receiver that gets this share of what its window allows is held back by the window.
const AT_RECEIVE_WINDOW: f64 = 0.7;
/// Share of a receive buffer that is unread when its reader does not keep up.
const UNREAD: f64 = 0.6;
/// … and when it does.
const READ: f64 = 0.25;
/// A buffer this close to its knob has reached it.
const REACHED: f64 = 0.95;
/// A process that uses this share of one CPU does what it can.
const SATURATED: f64 = 0.6;
/// Timeouts in a row without an answer, after which a flow stands still: at least 1.4 s.
const TIMEOUTS: u8 = 3;
/// Retransmissions that are a pattern and not an accident.
pub(crate) const LOSSES: u64 = 3;
/// Share of the segments sent again that hurts a flow's answers although it is not held back in throughput.
pub(crate) const LOSSY: f64 = 0.01;
/// Initial congestion window (RFC 6928), and a little: where a flow is back after a pause.
const INITIAL_WINDOW: u64 = 12;
/// A window that grows by this factor within the observation has not found its limit yet.
const GROWS: f64 = 1.5;
/// Looks without which nothing is said of a flow.
const LOOKS: usize = 5;
/// `snd_ssthresh` before anything ended slow start.
const NEVER_REDUCED: u32 = 0x7fff_ffff;

/// What holds back what a flow sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sending {
    /// There is nothing more to send most of the time.
    Application,
    /// The peer's window, for this share of the busy time; `closed` when it was seen shut.
    PeerWindow {
        /// Share of the busy time.
        share: f64,
        /// Whether it was probed, or seen smaller than two segments.
        closed: bool,
    },
    /// The send buffer: `fixed` by the application, else as large as the knob allows.
    SendBuffer {
        /// By SO_SNDBUF.
        fixed: bool,
    },
    /// Segments are lost though no queue is full.
    Loss,
    /// The congestion window, though nothing was lost and no queue is full.
    CongestionWindow,
    /// The congestion window starts anew after each pause.
    SlowStartAfterIdle,
    /// The path carries no more: its queue stands, or the pace is the measured bandwidth.
    FullPath,
    /// The congestion window still grows.
    Growing,
    /// Nothing comes through: timeouts in a row.
    Stalled,
}

/// What holds back what a flow receives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Receiving {
    /// The application does not read what is there.
    Reader,
    /// It reads as fast as its CPU allows.
    ReaderBusy,
    /// The receive buffer: `fixed` by the application (or not allowed to grow), else as large as the knob allows.
    Buffer {
        /// By SO_RCVBUF, or by `tcp_moderate_rcvbuf`.
        fixed: bool,
    },
    /// Nothing on this side.
    Nothing,
}

/// Whether there are looks enough at a flow to say anything.
fn is_seen(watch: &FlowWatch) -> bool {
    watch.samples.len() >= LOOKS && watch.seconds() > 0.0
}

fn busy(sample: &FlowSample) -> bool {
    sample.wqueue > 0
}

/// Bytes in flight.
pub(crate) fn in_flight(sample: &FlowSample) -> u64 {
    u64::from(sample.unacked) * u64::from(sample.snd_mss)
}

/// The congestion window in bytes.
pub(crate) fn cwnd_bytes(sample: &FlowSample) -> u64 {
    u64::from(sample.snd_cwnd) * u64::from(sample.snd_mss)
}

/// The window as advertised, or the nearest that an older kernel (before 6.2) tells.
pub(crate) fn receive_window(sample: &FlowSample) -> u64 {
    sample.rcv_wnd.unwrap_or(sample.rcv_ssthresh).into()
}

/// By how much the round trip under load is longer than the shortest one.
pub(crate) fn queueing(watch: &FlowWatch) -> Option<f64> {
    let rtt = watch.median(|sample| sample.unacked > 0, |sample| sample.rtt.into()) as f64 / 1e6;
    Some(rtt / watch.min_rtt()?)
}

/// Whether a window can be what holds the flow back: there is a distance, and no queue on the way.
fn is_open_path(watch: &FlowWatch) -> bool {
    watch.min_rtt().is_some_and(|rtt| rtt >= SHORT) && queueing(watch).is_some_and(|factor| factor < QUEUE)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Share of the busy time in which the peer's window forbade sending.
pub(crate) fn rwnd_share(watch: &FlowWatch) -> f64 {
    share(watch.grew(|sample| sample.rwnd_limited), watch.grew(|sample| sample.busy_time))
}

/// What holds back what the flow sends; `None` when it sends nothing, or was not seen for long enough.
pub(crate) fn sending(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Sending> {
    let last = watch.last();
    let acked = watch.grew(|sample| sample.bytes_acked);
    if !is_seen(watch) || (acked == 0 && watch.most(|sample| sample.wqueue.into()) == 0) {
        return None;
    }
    if acked == 0 && last.timer == Timer::Retransmit && last.retransmits >= TIMEOUTS {
        return Some(Sending::Stalled);
    }
    let closed = watch.samples.iter().any(|sample| {
        sample.timer == Timer::Persist || sample.snd_wnd.is_some_and(|wnd| busy(sample) && wnd < 2 * sample.snd_mss)
    });
    let busy_share = watch.grew(|sample| sample.busy_time) as f64 / 1e6 / watch.seconds();
    if busy_share < BUSY {
        let restarts = restarts_after_idle(ns, watch);
        return Some(if restarts { Sending::SlowStartAfterIdle } else { Sending::Application });
    }
    let rwnd = rwnd_share(watch);
    if rwnd >= MOSTLY && (closed || is_open_path(watch)) {
        return Some(Sending::PeerWindow { share: rwnd, closed });
    }
    if rwnd < HARDLY && send_buffer_is_full(watch) && is_open_path(watch) {
        return Some(match send_buffer_size(ns, watch) {
            Size::Growing => Sending::Growing,
            size => Sending::SendBuffer { fixed: size == Size::Fixed },
        });
    }
    Some(congestion(watch))
}

/// What is left when neither end's buffer holds the flow back.
fn congestion(watch: &FlowWatch) -> Sending {
    let retransmitted = watch.grew32(|sample| sample.total_retrans);
    let at_window = watch.share(busy, |sample| {
        sample.ca_state.is_recovering() || f64::from(sample.unacked) >= f64::from(sample.snd_cwnd) * AT_WINDOW
    });
    let at_window = at_window.unwrap_or(0.0) >= MOSTLY;
    let full_path = queueing(watch).is_none_or(|factor| factor >= FULL_PATH);
    if full_path {
        return Sending::FullPath;
    }
    let timeouts = watch.share(busy, |sample| sample.ca_state == crate::snapshot::CaState::Loss).unwrap_or(0.0) > 0.0;
    let lossy = share(retransmitted, watch.grew32(|sample| sample.data_segs_out)) >= LOSSY;
    if retransmitted >= LOSSES && (at_window || (lossy && timeouts)) {
        return Sending::Loss;
    }
    let unsent = watch.share(busy, |sample| sample.notsent_bytes > 0).unwrap_or(0.0) >= MOSTLY;
    if !at_window {
        return if unsent { Sending::FullPath } else { Sending::Application };
    }
    let grown = f64::from(watch.last().snd_cwnd) / f64::from(watch.first().snd_cwnd.max(1));
    let reduced = watch.last().snd_ssthresh < NEVER_REDUCED;
    if unsent && reduced && grown < GROWS { Sending::CongestionWindow } else { Sending::Growing }
}

/// Whether the write queue takes no more although less is in flight than both windows allow, most of the time. Not while
/// lost segments are sent again: then the queue holds more than the buffer was made for.
fn send_buffer_is_full(watch: &FlowWatch) -> bool {
    let full = |sample: &FlowSample| {
        let flying = in_flight(sample) as f64;
        let allowed = cwnd_bytes(sample).min(sample.snd_wnd.map_or(u64::MAX, u64::from)) as f64;
        f64::from(sample.wmem_queued) >= f64::from(sample.sndbuf) * NO_ROOM
            && f64::from(sample.notsent_bytes) <= flying * READ
            && flying <= allowed * ALLOWED
    };
    let steady = |sample: &FlowSample| busy(sample) && !sample.ca_state.is_recovering();
    watch.share(steady, full).is_some_and(|share| share >= MOSTLY)
}

/// What a full buffer is full by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// It stands below what the kernel would let it grow to, or is beyond.
    Fixed,
    /// It has reached the knob's third number.
    Max,
    /// It has just been enlarged, or the knob can't be read to tell.
    Growing,
}

/// The kernel grows a send buffer whose write queue is full while less than a congestion window is in flight, up to
/// `tcp_wmem[2]` (`tcp_should_expand_sndbuf`); dynamic right-sizing grows a receive buffer up to `tcp_rmem[2]`
/// (`tcp_rcv_space_adjust`). One that stays below, or is beyond, was set by SO_SNDBUF or SO_RCVBUF.
fn size(ns: &NetnsChange<'_>, knob: &str, first: u32, last: u32) -> Size {
    let max = ns.after.knob_numbers::<3>(knob).value().map_or(f64::INFINITY, |[.., max]| *max as f64);
    match f64::from(last) {
        size if size > max / REACHED => Size::Fixed,
        size if size >= max * REACHED => Size::Max,
        _ if first == last => Size::Fixed,
        _ => Size::Growing,
    }
}

fn send_buffer_size(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Size {
    size(ns, "net.ipv4.tcp_wmem", watch.first().sndbuf, watch.last().sndbuf)
}

fn receive_buffer_size(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Size {
    size(ns, "net.ipv4.tcp_rmem", watch.first().rcvbuf, watch.last().rcvbuf)
}

/// Whether the flow sends bursts, begins each with an initial window though it knew a larger one, and is held back by it.
/// Algorithms that set the window themselves (BBR) never do that (`tcp_slow_start_after_idle_check`).
fn restarts_after_idle(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    let on = ns.after.knob_number("net.ipv4.tcp_slow_start_after_idle").value().is_none_or(|on| *on != 0);
    if !on || watch.flow.congestion == "bbr" {
        return false;
    }
    let mut largest = 0;
    let mut restarts = 0;
    for pair in watch.samples.windows(2) {
        let (before, now) = (&pair[0], &pair[1]);
        let rested = before.wqueue == 0 && u64::from(before.last_data_sent_ms) * 1000 > u64::from(before.rto);
        let window = u64::from(now.snd_cwnd);
        // The look after a pause comes up to one look late: the window may have doubled a few times by then.
        if rested && now.wqueue > 0 && now.bytes_acked >= before.bytes_acked && window < largest / 2 {
            restarts += 1;
        }
        largest = largest.max(u64::from(before.snd_cwnd));
    }
    let held = watch.share(busy, |sample| f64::from(sample.unacked) >= f64::from(sample.snd_cwnd) * AT_WINDOW);
    let shrunk = watch.samples.iter().any(|sample| u64::from(sample.snd_cwnd) <= INITIAL_WINDOW * 4);
    restarts > 0 && shrunk && held.is_some_and(|share| share >= HARDLY)
}

/// Whether unread data takes the room that the window would need. For the host: only then are owners worth looking up early.
pub fn is_unread(sample: &FlowSample) -> bool {
    let (unread, window) = (f64::from(sample.rqueue), receive_window(sample) as f64);
    unread > 0.0
        && (unread >= (unread + window) * UNREAD || f64::from(sample.rmem_alloc) >= f64::from(sample.rcvbuf) * UNREAD)
}

/// What holds back what the flow receives; `None` when it receives nothing.
pub(crate) fn receiving(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Receiving> {
    let any = |_: &FlowSample| true;
    let came = watch.grew(|sample| sample.bytes_received);
    if !is_seen(watch) || (came == 0 && watch.most(|sample| sample.rqueue.into()) == 0) {
        return None;
    }
    let shut = |sample: &FlowSample| {
        let window = receive_window(sample);
        window <= (2 * u64::from(sample.rcv_mss)).max(u64::from(sample.rqueue) / 4)
    };
    let unread = watch.share(any, is_unread).unwrap_or(0.0) >= MOSTLY;
    if unread && watch.share(any, shut).unwrap_or(0.0) >= MOSTLY {
        let busy = is_saturated(ns.interval(), watch.flow.inode);
        return Some(if busy { Receiving::ReaderBusy } else { Receiving::Reader });
    }
    let read = |sample: &FlowSample| f64::from(sample.rqueue) <= receive_window(sample) as f64 * READ;
    let window = watch.median(any, receive_window) as f64;
    let held = watch.min_rtt().is_some_and(|rtt| {
        rtt >= SHORT && window > 0.0 && watch.received_rate() * rtt >= window * AT_RECEIVE_WINDOW
    });
    if held && watch.share(any, read).unwrap_or(0.0) >= MOSTLY {
        return Some(match receive_buffer_size(ns, watch) {
            Size::Growing => Receiving::Nothing,
            size => Receiving::Buffer { fixed: size == Size::Fixed },
        });
    }
    Some(Receiving::Nothing)
}

/// Whether a process that holds the socket used all that one thread can use of a CPU. What it did before the window's
/// second tenth was not looked at, so the share is a little too small.
pub(crate) fn is_saturated(interval: &Interval, inode: u64) -> bool {
    let seconds = interval.seconds();
    processes_of(&interval.after, inode).any(|(pid, after)| {
        let time = |process: &crate::snapshot::Process| {
            Some(process.kernel_time.value()?.as_secs_f64() + process.user_time.value()?.as_secs_f64())
        };
        let before = interval.before.processes.get(&pid).and_then(time);
        matches!((before, time(after)), (Some(before), Some(after)) if after - before >= seconds * SATURATED)
    })
}

/// The other end of a flow, where this host has it too (a container's, loopback).
pub(crate) fn other_end<'a>(ns: &NetnsChange<'a>, watch: &FlowWatch) -> Option<(NetnsChange<'a>, &'a FlowWatch)> {
    let flow = &watch.flow;
    ns.interval().namespaces().find_map(|other| {
        let mut ends = other.watched_flows();
        let end = ends.find(|end| end.flow.local == flow.remote && end.flow.remote == flow.local)?;
        Some((other, end))
    })
}

/// What the other end says of itself as the receiver of this flow.
pub(crate) fn receiver_says(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Receiving> {
    let (other, end) = other_end(ns, watch)?;
    receiving(&other, end)
}

/// Something that allows at most so many bytes a second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ceiling {
    /// "the peer's window of 64.0 KiB".
    pub(crate) what: String,
    /// Its limit's slug.
    pub(crate) limit: &'static str,
    /// Bytes a second.
    pub(crate) rate: f64,
}

/// Payload that fits a buffer, as measured on this flow: the kernel counts whole segments with their overhead.
pub(crate) fn payload_of_send_buffer(watch: &FlowWatch, bytes: u64) -> u64 {
    let full = |sample: &FlowSample| sample.wmem_queued > 0 && sample.wqueue > 0;
    let queued = watch.median(full, |sample| sample.wmem_queued.into());
    let payload = watch.median(full, |sample| sample.wqueue.into());
    if queued == 0 { bytes / 2 } else { (bytes as f64 * share(payload, queued).min(1.0)) as u64 }
}

/// What allows how much of what the flow sends, the lowest first.
pub(crate) fn ceilings(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Ceiling> {
    let Some(rtt) = watch.min_rtt() else { return Vec::new() };
    let mut ceilings = Vec::new();
    let mut add = |limit, what: &str, bytes: u64| {
        ceilings.push(Ceiling { what: format!("{what} of {}", in_bytes(bytes)), limit, rate: bytes as f64 / rtt });
    };
    let window = watch.median(busy, |sample| sample.snd_wnd.unwrap_or(0).into());
    if window > 0 {
        add("receive-window", "the peer's window", window);
    }
    let most = ns.after.knob_numbers::<3>("net.ipv4.tcp_wmem").value().map_or(0, |[.., max]| max.unsigned_abs());
    let buffer = u64::from(watch.last().sndbuf);
    let buffer = if send_buffer_size(ns, watch) == Size::Fixed { buffer } else { buffer.max(most) };
    add("send-buffer", "the send buffer", payload_of_send_buffer(watch, buffer));
    ceilings.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    ceilings
}

/// What would hold the flow back next, if `limit` did not: only where it is near enough to matter.
pub(crate) fn next_ceiling(ns: &NetnsChange<'_>, watch: &FlowWatch, limit: &str) -> Option<Ceiling> {
    /// A remedy that gains more than this factor is worth doing alone.
    const NEAR: f64 = 4.0;
    let rate = watch.sent_rate();
    let mut others = ceilings(ns, watch).into_iter().filter(|ceiling| ceiling.limit != limit);
    others.next().filter(|ceiling| ceiling.rate <= rate * NEAR)
}

/// Payload in bytes that must fit in flight: the bandwidth-delay product of the line where its rate is known, else of
/// `trial` times the rate of now, twice (the kernel's own rule, so that losses can be repaired at full rate).
pub(crate) fn wanted_bytes(interval: &Interval, ns: &NetnsChange<'_>, watch: &FlowWatch, trial: u64) -> u64 {
    let rtt = watch.min_rtt().unwrap_or(0.0);
    (target(interval, ns, watch, trial) * rtt * 2.0) as u64
}

fn target(_interval: &Interval, _ns: &NetnsChange<'_>, watch: &FlowWatch, trial: u64) -> f64 {
    watch.sent_rate().max(watch.received_rate()) * trial as f64
}

/// How [`wanted_bytes`] came about.
pub(crate) fn wanted_formula(interval: &Interval, ns: &NetnsChange<'_>, watch: &FlowWatch, trial: u64) -> String {
    let rtt = watch.min_rtt().unwrap_or(0.0);
    format!("2 × {} ({trial} times the rate of now) × {}", in_bits(target(interval, ns, watch, trial)), in_ms(rtt))
}

/// Sockets whose owners a limit of flows wants: those that it has a finding for.
pub(crate) fn inodes(
    interval: Option<&Interval>,
    concerns: impl Fn(&NetnsChange<'_>, &FlowWatch) -> bool,
) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        let watches = ns.watched_flows().filter(|watch| concerns(&ns, watch));
        wanted.extend(watches.map(|watch| (ns.id, watch.flow.inode)));
    }
    wanted
}

/// Events of traffic hurt, for the order of findings: each flow counts for every round trip it was held back in.
pub(crate) fn hurt(flows: &[&FlowWatch]) -> u64 {
    let trips = |watch: &&FlowWatch| watch.seconds() / watch.min_rtt().unwrap_or(0.001).max(0.001);
    flows.iter().map(|watch| trips(watch) as u64).sum()
}

/// The subject of a finding about a flow, and how many more are alike.
pub(crate) fn subject(ns: &NetnsChange<'_>, watch: &FlowWatch, alike: u64) -> Subject {
    Subject::Flow {
        netns: ns.name().into(),
        local: watch.flow.local.to_string(),
        remote: watch.flow.remote.to_string(),
        alike,
        owners: owners_of(&ns.interval().after, watch.flow.inode),
    }
}

/// The watch that a finding is about.
pub(crate) fn watch_of<'a>(interval: &'a Interval, subject: &Subject) -> Option<(NetnsChange<'a>, &'a FlowWatch)> {
    let Subject::Flow { netns, local, remote, .. } = subject else { return None };
    let ns = interval.namespace(netns)?;
    let mut flows = ns.watched_flows();
    let watch = flows
        .find(|watch| watch.flow.local.to_string() == *local && watch.flow.remote.to_string() == *remote)?;
    Some((ns, watch))
}

/// Flows that are alike, the fastest first: of one service, with the same `key`. Ten connections of one program that
/// suffer alike are one finding.
pub(crate) fn alike<'a, K: Ord>(
    ns: &NetnsChange<'a>,
    key: impl Fn(&'a FlowWatch) -> Option<K>,
) -> Vec<(K, Vec<&'a FlowWatch>)> {
    let listening = ns.listening_ports();
    let mut groups = alloc::collections::BTreeMap::<_, Vec<&FlowWatch>>::new();
    for watch in ns.watched_flows() {
        let flow = &watch.flow;
        let service = if listening.contains(&flow.local.port) { (true, flow.local) } else { (false, flow.remote) };
        if let Some(key) = key(watch) {
            groups.entry((key, service)).or_default().push(watch);
        }
    }
    let rate = |watch: &&FlowWatch| watch.sent_rate().max(watch.received_rate());
    let groups = groups.into_iter().map(|((key, _), mut flows)| {
        flows.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then_with(|| a.flow.cookie.cmp(&b.flow.cookie)));
        (key, flows)
    });
    groups.collect()
}

/// What every watched flow is held back by, the fastest first.
pub(crate) fn notes(interval: &Interval) -> Vec<FlowNote> {
    let mut notes = Vec::new();
    for ns in interval.namespaces() {
        for watch in ns.watched_flows() {
            let (out, into) = (watch.sent_rate(), watch.received_rate());
            let outwards = sending(&ns, watch).filter(|_| out >= into);
            let bound_by = match (outwards, receiving(&ns, watch)) {
                (Some(sending), _) => sending_in_words(sending),
                (None, Some(receiving)) => receiving_in_words(receiving),
                (None, None) => continue,
            };
            notes.push(FlowNote {
                netns: ns.name().into(),
                local: watch.flow.local.to_string(),
                remote: watch.flow.remote.to_string(),
                owners: owners_of(&interval.after, watch.flow.inode),
                sends: out >= into,
                bits_per_second: (out.max(into) * 8.0) as u64,
                bound_by: bound_by.to_string(),
                congestion: watch.flow.congestion.clone(),
                mptcp: watch.flow.protocol == Protocol::Mptcp,
                rtt_ms: f64::from(watch.last().rtt) / 1e3,
            });
        }
    }
    notes.sort_by(|a, b| {
        b.bits_per_second.cmp(&a.bits_per_second).then_with(|| (&a.local, &a.remote).cmp(&(&b.local, &b.remote)))
    });
    notes
}

fn sending_in_words(sending: Sending) -> &'static str {
    match sending {
        Sending::Application => "application",
        Sending::PeerWindow { .. } => "receive-window",
        Sending::SendBuffer { .. } => "send-buffer",
        Sending::Loss => "loss",
        Sending::CongestionWindow | Sending::SlowStartAfterIdle => "congestion-window",
        Sending::FullPath => "path",
        Sending::Growing => "growing",
        Sending::Stalled => "stalled",
    }
}

fn receiving_in_words(receiving: Receiving) -> &'static str {
    match receiving {
        Receiving::Reader => "reader",
        Receiving::ReaderBusy => "reader-cpu",
        Receiving::Buffer { .. } => "receive-window",
        Receiving::Nothing => "sender",
    }
}

/// "184 Mbit/s", for sentences.
pub fn in_bits(bytes_per_second: f64) -> String {
    let bits = bytes_per_second * 8.0;
    match bits {
        b if b >= 9.95e9 => format!("{:.0} Gbit/s", b / 1e9),
        b if b >= 9.995e8 => format!("{:.1} Gbit/s", b / 1e9),
        b if b >= 9.95e6 => format!("{:.0} Mbit/s", b / 1e6),
        b if b >= 9.995e5 => format!("{:.1} Mbit/s", b / 1e6),
        b => format!("{:.0} kbit/s", b / 1e3),
    }
}

/// "64.0 KiB", for sentences.
pub(crate) fn in_bytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= 1024.0 * 1024.0 => format!("{:.1} MiB", b / 1_048_576.0),
        b if b >= 1024.0 => format!("{:.1} KiB", b / 1024.0),
        _ => format!("{bytes} bytes"),
    }
}

/// "51 ms" or "0.20 ms", for sentences.
pub(crate) fn in_ms(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms >= 9.95 => format!("{ms:.0} ms"),
        ms if ms >= 0.995 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

/// "97 %", for sentences.
pub(crate) fn in_percent(share: f64) -> String {
    format!("{} %", percent(share))
}

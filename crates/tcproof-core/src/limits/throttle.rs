//! What holds a flow back: one pure function of the looks at it for each direction, shared by the limits that can be it,
//! so that a flow has one answer and not four.
//!
//! A window or a buffer of `n` bytes lets at most `n / min_rtt` bytes a second through. Where the round trip under load is
//! much longer than the shortest one, a queue or a CPU between the ends is what is full, and a larger window would only
//! lengthen that queue: then no window is the limit, however full it is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::congestion_control::{holds_back, loss_ceiling, restarts_after_idle};
use super::{Limit, SocketSet, owners_of, percent, processes_of, unknown};
use crate::diagnose::FlowNote;
use crate::finding::{Subject, Unknown};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::reading::Reading;
use crate::snapshot::{FlowSample, Netns, Protocol, Timer};

/// A flow with something to send for less than this share of the time waits for its application.
const BUSY: f64 = 0.5;
/// Share of the busy time (or of the looks) in which something held the flow back, for it to be the limit.
const MOSTLY: f64 = 0.5;
/// Below this share the peer's window is not what holds the flow back.
const HARDLY: f64 = 0.2;
/// A round trip this many times the shortest one is a queue, and the window is not the limit: a larger one would at best
/// bring the part below that.
const QUEUE: f64 = 1.5;
/// … and one this many times as long, and longer by this many seconds, may be one: then the path may be full already.
const MAYBE_QUEUE: (f64, f64) = (1.2, 0.001);
/// A round trip that is shorter than this is made of scheduling and interrupts, not of distance.
const SHORT: f64 = 0.000_5;
/// A write queue with this share of its buffer has no room for another write.
const NO_ROOM: f64 = 0.9;
/// A write always gets so much through, however small the buffer: one piece of a write before the buffer counts as full.
const ONE_PIECE: u64 = 65_536;
/// A write queue that exceeds its buffer by so much more is made of many small writes, which the buffer does not hold back.
const OVERSHOOT: u64 = 4 * ONE_PIECE;
/// A writer is woken when its buffer is two thirds full (`sk_stream_is_writeable`). What is in flight on average is at
/// least this share then, unless the writer comes late.
const WOKEN: f64 = 0.62;
/// In flight less than this share of what the window and the congestion window allow: neither holds the flow back.
const ALLOWED: f64 = 0.75;
/// A receiver that gets this share of what its window allows is held back by the window.
const AT_RECEIVE_WINDOW: f64 = 0.7;
/// … and this share, where its reader lags behind: then the sender waits for the late window updates besides.
const AT_SHRUNK_WINDOW: f64 = 0.5;
/// Share of a receive buffer that is unread when its reader does not keep up.
const UNREAD: f64 = 0.5;
/// … and when it does.
const READ: f64 = 0.25;
/// Share of the looks in which there was something to read, when a reader lags behind: one that keeps up empties it.
const ALWAYS: f64 = 0.9;
/// A window that is a smaller part of its buffer than this, and of so few segments, was squeezed: the kernel is short of
/// memory (`tcp_adjust_rcv_ssthresh`: four segments).
const SQUEEZED: (u64, u64) = (8, 8);
/// A window that becomes larger by this factor in the second half of the window has not found its size yet.
const GROWS: f64 = 1.5;
/// A buffer this close to its knob has reached it.
const REACHED: f64 = 0.95;
/// A process that uses this share of one CPU does what it can.
const SATURATED: f64 = 0.6;
/// With this share of all CPUs idle, or less, one that uses this share of a CPU may wait for more of it.
const NO_CPU: (f64, f64) = (0.1, 0.1);
/// Timeouts in a row without an answer, after which a flow stands still: at least 1.4 s.
const TIMEOUTS: u8 = 3;
/// Looks without which nothing is said of a flow.
pub const LOOKS: usize = 5;

/// What holds back what a flow sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sending {
    /// There is nothing more to send most of the time.
    Application,
    /// The peer's window, for this share of the busy time; `closed` when it was seen shut.
    PeerWindow {
        /// Share of the busy time.
        share: f64,
        /// Whether it was seen shut again and again, or probed.
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
    /// It does not read what is there, and whether it is short of CPU time could not be seen.
    ReaderUnseen,
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

/// Why a limit of flows can say nothing of a namespace that has some: they could not be looked at, or not often enough.
pub(crate) fn unjudged(limit: &Limit, ns: &NetnsChange<'_>) -> Option<Unknown> {
    let flows = match ns.flows() {
        Reading::Present(flows) => flows,
        Reading::Absent(why) if why.is_not_needed() && began_within(ns) => {
            return Some(Unknown {
                limit: limit.slug.into(),
                reading: format!("flows of {}", ns.name()),
                because: "there were none at the start, so those that began later were not looked at".into(),
                would_need: Some("another run while they last".into()),
            });
        }
        Reading::Absent(why) => return unknown(limit, Some(ns.name()), "flows", &why),
    };
    let looks = flows.watched.iter().map(|watch| watch.samples.len()).max()?;
    (looks < LOOKS).then(|| Unknown {
        limit: limit.slug.into(),
        reading: format!("flows of {}", ns.name()),
        because: format!("{looks} looks at a flow tell nothing"),
        would_need: Some("a longer window (--for 5s)".into()),
    })
}

/// Whether a namespace without a connection at the start has one at the end.
fn began_within(ns: &NetnsChange<'_>) -> bool {
    let open = |netns: &Netns| netns.counter("Tcp.CurrEstab").value().copied();
    open(ns.before) == Some(0) && open(ns.after).is_some_and(|open| open > 0)
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

/// The window as advertised; before 6.2, what the kernel computes it from (`__tcp_select_window`): half of the room that
/// is left in the buffer (`tcp_adv_win_scale` = 1), and at most `rcv_ssthresh`. Without window scaling the kernel shows
/// more than the header can say.
pub(crate) fn receive_window(sample: &FlowSample) -> u64 {
    let room = sample.rcvbuf.saturating_sub(sample.rmem_alloc) / 2;
    let window = sample.rcv_wnd.unwrap_or_else(|| sample.rcv_ssthresh.min(room));
    u64::from(window).min(widest_window(sample))
}

/// The most that this end can advertise: 16 bits, at the scale that was agreed on in the handshake (RFC 7323).
pub(crate) fn widest_window(sample: &FlowSample) -> u64 {
    u64::from(u16::MAX) << sample.wscale.1.min(14)
}

/// Whether the window is as wide as its scale allows.
pub(crate) fn is_widest(sample: &FlowSample) -> bool {
    receive_window(sample) as f64 >= widest_window(sample) as f64 * REACHED
}

/// By how much the round trip under load is longer than the shortest one.
pub(crate) fn queueing(watch: &FlowWatch) -> Option<f64> {
    let rtt = watch.median(|sample| sample.unacked > 0, |sample| sample.rtt.into()) as f64 / 1e6;
    Some(rtt / watch.min_rtt()?)
}

/// Whether the round trip is more than scheduling. If not, no window is too small for it.
pub(crate) fn has_distance(watch: &FlowWatch) -> bool {
    watch.min_rtt().is_some_and(|rtt| rtt >= SHORT)
}

/// Whether a window can be what holds the flow back: there is a distance, and no queue on the way.
fn is_open_path(watch: &FlowWatch) -> bool {
    has_distance(watch) && queueing(watch).is_some_and(|factor| factor < QUEUE)
}

/// Whether the round trip is longer than the shortest one by so much that the path may be full: a window or a buffer that is
/// just larger than what the path holds fills its queue a little. One that is just too small, over a path whose round trip
/// varies, looks alike: nobody is accused then.
pub(crate) fn may_be_full(watch: &FlowWatch) -> bool {
    is_longer(watch, queueing(watch))
}

fn is_longer(watch: &FlowWatch, factor: Option<f64>) -> bool {
    let (Some(factor), Some(shortest)) = (factor, watch.min_rtt()) else { return false };
    factor >= MAYBE_QUEUE.0 && shortest * (factor - 1.0) >= MAYBE_QUEUE.1
}

/// Likewise for a receiver whose sender can't be seen, by the round trip of its window.
fn may_be_full_for_receiver(watch: &FlowWatch) -> bool {
    let trip = watch.median(|sample| sample.rcv_rtt > 0, |sample| sample.rcv_rtt.into()) as f64 / 1e6;
    is_longer(watch, watch.min_rtt().map(|shortest| trip / shortest))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Share of the busy time in which the peer's window forbade sending.
pub(crate) fn rwnd_share(watch: &FlowWatch) -> f64 {
    share(watch.grew(|sample| sample.rwnd_limited), watch.grew(|sample| sample.busy_time))
}

/// Share of the busy time in which the application was found waiting for room in the send buffer. It accrues only at
/// moments that many limited flows never see (`tcp_cwnd_validate`): evidence when it is large, nothing when it is zero.
pub(crate) fn sndbuf_share(watch: &FlowWatch) -> f64 {
    share(watch.grew(|sample| sample.sndbuf_limited), watch.grew(|sample| sample.busy_time))
}

/// Whether the peer's window keeps no data out of flight: less than a segment, and the sender asks again and again.
fn is_closed(sample: &FlowSample) -> bool {
    sample.timer == Timer::Persist || sample.snd_wnd.is_some_and(|wnd| wnd < sample.snd_mss)
}

/// Whether the peer still enlarges its window.
fn window_grows(watch: &FlowWatch) -> bool {
    let (first, second) = watch.samples.split_at(watch.samples.len() / 2);
    let widest = |looks: &[FlowSample]| looks.iter().filter_map(|look| look.snd_wnd).max().unwrap_or(0);
    f64::from(widest(second)) >= f64::from(widest(first)) * GROWS && widest(first) > 0
}

/// What holds back what the flow sends; `None` when it sends nothing, or was not seen for long enough.
pub(crate) fn sending(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Sending> {
    let last = watch.last();
    let acked = watch.grew(|sample| sample.bytes_acked);
    if !is_seen(watch) || (acked == 0 && watch.most(|sample| sample.wqueue.into()) == 0) {
        return None;
    }
    if acked == 0 && last.timer == Timer::Retransmit && last.retransmits > 0 {
        // Nothing came through in the whole window: that is no loss of some segments, and with few timeouts nothing yet.
        return (last.retransmits >= TIMEOUTS).then_some(Sending::Stalled);
    }
    let closed = watch.share(busy, is_closed).unwrap_or(0.0) >= HARDLY;
    let busy_share = watch.grew(|sample| sample.busy_time) as f64 / 1e6 / watch.seconds();
    let restarts = restarts_after_idle(ns, watch);
    if busy_share < BUSY {
        return Some(if restarts { Sending::SlowStartAfterIdle } else { Sending::Application });
    }
    let rwnd = rwnd_share(watch);
    if rwnd >= MOSTLY && (closed || is_open_path(watch)) {
        let grows = !closed && window_grows(watch);
        return Some(if grows { Sending::Growing } else { Sending::PeerWindow { share: rwnd, closed } });
    }
    if rwnd < HARDLY && send_buffer_is_full(watch) && is_open_path(watch) && !may_be_full(watch) {
        return Some(match send_buffer_size(ns, watch) {
            Size::Growing => Sending::Growing,
            size => Sending::SendBuffer { fixed: size == Size::Fixed },
        });
    }
    Some(if restarts { Sending::SlowStartAfterIdle } else { holds_back(watch) })
}

/// Whether the write queue takes no more although less is in flight than both windows allow, most of the time. Not while
/// lost segments are sent again: then the queue holds more than the buffer was made for.
fn send_buffer_is_full(watch: &FlowWatch) -> bool {
    let full = |sample: &FlowSample| {
        let flying = in_flight(sample) as f64;
        let allowed = cwnd_bytes(sample).min(sample.snd_wnd.map_or(u64::MAX, u64::from)) as f64;
        f64::from(sample.wmem_queued) >= f64::from(sample.sndbuf) * NO_ROOM
            && u64::from(sample.wmem_queued) <= u64::from(sample.sndbuf) + OVERSHOOT
            && f64::from(sample.notsent_bytes) <= flying * READ
            && flying <= allowed * ALLOWED
    };
    let steady = |sample: &FlowSample| busy(sample) && !sample.ca_state.is_recovering();
    watch.share(steady, full).is_some_and(|share| share >= MOSTLY) || waits_for_room(watch)
}

/// Whether the kernel saw the application wait for room most of the time. With few large pieces in flight, as BBR paces
/// them, a write queue that lets nobody in is no more than two thirds of its buffer.
fn waits_for_room(watch: &FlowWatch) -> bool {
    let room = payload_of_send_buffer(watch, watch.last().sndbuf.into()) as f64;
    let flying = watch.sent_rate() * watch.min_rtt().unwrap_or(0.0);
    sndbuf_share(watch) >= MOSTLY && flying >= room * WOKEN
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
    let system = &ns.interval().after.system;
    let short = match (system.tcp_pages.value(), system.tcp_mem.value()) {
        (Some(pages), Some([low, ..])) => pages >= low,
        _ => false,
    };
    if short {
        // No buffer grows then, whoever set it.
        return Size::Growing;
    }
    size(ns, "net.ipv4.tcp_wmem", watch.first().sndbuf, watch.last().sndbuf)
}

fn receive_buffer_size(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Size {
    size(ns, "net.ipv4.tcp_rmem", watch.first().rcvbuf, watch.last().rcvbuf)
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
    let squeezed = |sample: &FlowSample| {
        let window = receive_window(sample);
        sample.rqueue == 0
            && window * SQUEEZED.0 < sample.rcvbuf.into()
            && window < SQUEEZED.1 * u64::from(sample.rcv_mss)
    };
    // Where the sender can be seen, it knows best whether the window holds it back.
    let sender = other_end(ns, watch).map(|(other, end)| sending(&other, end));
    if sender.is_some_and(|sender| !matches!(sender, Some(Sending::PeerWindow { .. })))
        || watch.share(any, squeezed).unwrap_or(0.0) >= MOSTLY
    {
        return Some(Receiving::Nothing);
    }
    // Over no distance a window that holds the sender back can only be one that is not read.
    let near = sender.is_some() && !has_distance(watch);
    if lags(watch, near) {
        return Some(match cpu_share(ns.interval(), watch.flow.inode) {
            // Nobody has accepted it yet: the accept queue's business.
            _ if watch.flow.inode == 0 => Receiving::Nothing,
            None => Receiving::ReaderUnseen,
            Some(_) if is_saturated(ns.interval(), watch.flow.inode) => Receiving::ReaderBusy,
            Some(_) => Receiving::Reader,
        });
    }
    let full = match other_end(ns, watch) {
        Some((_, end)) => may_be_full(end),
        None => may_be_full_for_receiver(watch),
    };
    if full {
        return Some(Receiving::Nothing);
    }
    let read = |sample: &FlowSample| f64::from(sample.rqueue) <= receive_window(sample) as f64 * READ;
    if fills_window(watch, AT_RECEIVE_WINDOW) && watch.share(any, read).unwrap_or(0.0) >= MOSTLY {
        let widest = watch.share(any, is_widest).unwrap_or(0.0) >= MOSTLY;
        return Some(match receive_buffer_size(ns, watch) {
            _ if widest => Receiving::Buffer { fixed: true },
            Size::Growing => Receiving::Nothing,
            size => Receiving::Buffer { fixed: size == Size::Fixed },
        });
    }
    Some(Receiving::Nothing)
}

/// Whether a round trip brings nearly as much as the window lets through.
fn fills_window(watch: &FlowWatch, nearly: f64) -> bool {
    let window = watch.median(|_| true, receive_window) as f64;
    let rtt = watch.min_rtt().filter(|rtt| *rtt >= SHORT);
    rtt.is_some_and(|rtt| window > 0.0 && watch.received_rate() * rtt >= window * nearly)
}

/// Whether the reader does not keep up: data waits for it all the time, takes the room of the window, and the window is
/// what the sender waits for, as is known in the case of `near`. A few bytes that nobody reads, or much that the sender has
/// no more of, hold nobody back.
fn lags(watch: &FlowWatch, near: bool) -> bool {
    let shut = |sample: &FlowSample| {
        receive_window(sample) <= (2 * u64::from(sample.rcv_mss)).max(u64::from(sample.rqueue) / 16)
    };
    let share = |is: &dyn Fn(&FlowSample) -> bool| watch.share(|_| true, is).unwrap_or(0.0);
    let held = || share(&shut) >= MOSTLY || fills_window(watch, AT_SHRUNK_WINDOW);
    share(&|sample| sample.rqueue > 0) >= ALWAYS && (near || (share(&is_unread) >= MOSTLY && held()))
}

/// Whether a process that holds the socket used all that one thread can use of a CPU, or all that it got of CPUs that had
/// no more. What it did before the window's second tenth was not looked at, so the share is a little too small.
pub(crate) fn is_saturated(interval: &Interval, inode: u64) -> bool {
    let enough = if no_cpu_is_idle(interval) { NO_CPU.1 } else { SATURATED };
    cpu_share(interval, inode).is_some_and(|share| share >= enough)
}

/// Share of one CPU that the busiest process that holds the socket used; `None` when that could not be read.
pub(crate) fn cpu_share(interval: &Interval, inode: u64) -> Option<f64> {
    let shares = processes_of(&interval.after, inode).filter_map(|(pid, after)| {
        let time = |process: &crate::snapshot::Process| {
            Some(process.kernel_time.value()?.as_secs_f64() + process.user_time.value()?.as_secs_f64())
        };
        let before = interval.before.processes.get(&pid).and_then(time)?;
        Some((time(after)? - before) / interval.seconds())
    });
    shares.max_by(f64::total_cmp).filter(|share| share.is_finite())
}

fn no_cpu_is_idle(interval: &Interval) -> bool {
    let (before, after) = (interval.before.system.cpu.value(), interval.after.system.cpu.value());
    let (Some(before), Some(after)) = (before, after) else { return false };
    let grew = |time: fn(&crate::snapshot::CpuTimes) -> core::time::Duration| {
        time(after).saturating_sub(time(before)).as_secs_f64()
    };
    let idle = grew(|cpu| cpu.idle);
    let all = idle + grew(|cpu| cpu.user) + grew(|cpu| cpu.system) + grew(|cpu| cpu.softirq);
    all > 0.0 && idle / all <= NO_CPU.0
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

/// Window that a receive buffer makes, as measured on this flow. The kernel takes the overhead of the segments that come
/// into account: by what they really take since 6.6, by `tcp_adv_win_scale` before.
pub(crate) fn window_of_receive_buffer(watch: &FlowWatch, bytes: u64) -> u64 {
    let read = |sample: &FlowSample| sample.rqueue == 0 && sample.rcvbuf > 0 && !is_widest(sample);
    let ratio = watch.median(read, |sample| (receive_window(sample) << 10) / u64::from(sample.rcvbuf.max(1)));
    // Until something is known, the kernel reckons with half (TCP_DEFAULT_SCALING_RATIO).
    let ratio = if ratio == 0 { 512 } else { ratio.min(1024) };
    ((u128::from(bytes) * u128::from(ratio)) >> 10) as u64
}

/// What allows how much of what the flow sends, the lowest first.
pub(crate) fn ceilings(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Ceiling> {
    let Some(rtt) = watch.min_rtt() else { return Vec::new() };
    let mut ceilings = Vec::new();
    let mut add = |limit, what: &str, size: u64, payload: u64| {
        ceilings.push(Ceiling { what: format!("{what} of {}", in_bytes(size)), limit, rate: payload as f64 / rtt });
    };
    let window = watch.median(busy, |sample| sample.snd_wnd.unwrap_or(0).into());
    if window > 0 {
        add("receive-window", "the peer's window", window, window);
    }
    let most = ns.after.knob_numbers::<3>("net.ipv4.tcp_wmem").value().map_or(0, |[.., max]| max.unsigned_abs());
    let buffer = u64::from(watch.last().sndbuf);
    let buffer = if send_buffer_size(ns, watch) == Size::Fixed { buffer } else { buffer.max(most) };
    add("send-buffer", "the send buffer", buffer, payload_of_send_buffer(watch, buffer).max(ONE_PIECE));
    if let Some(rate) = loss_ceiling(watch) {
        ceilings.push(Ceiling { what: "what losses leave of the congestion window".into(), limit: "loss", rate });
    }
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

/// What comes of a remedy alone, as the end of its sentence: nothing to add where nothing else is near.
pub(crate) fn alone(rate: f64, next: Option<&Ceiling>) -> String {
    /// What gains less than this factor does not help.
    const WORTH: f64 = 1.2;
    match next {
        Some(next) if next.rate < rate * WORTH => {
            format!("; alone it does not help: {} allows no more than {}", next.what, in_bits(next.rate.max(rate)))
        }
        Some(next) => format!("; alone it gains {} → {}: then {} binds", in_bits(rate), in_bits(next.rate), next.what),
        None => String::new(),
    }
}

/// Payload in bytes that must fit in flight, and how that came about: twice (the kernel's own rule, so that losses can be
/// repaired at full rate) the bandwidth-delay product of the line, or of `trial` times the rate of now where that is less
/// or the line's rate is not known.
pub(crate) fn wanted(ns: &NetnsChange<'_>, watch: &FlowWatch, trial: u64) -> (u64, String) {
    let rtt = watch.min_rtt().unwrap_or(0.0);
    let now = watch.sent_rate().max(watch.received_rate());
    let tried = now * trial as f64;
    let (rate, why) = match line_rate(ns).filter(|line| *line > now && *line < tried) {
        Some(line) => (line, "the device's line rate".to_string()),
        None => (tried, format!("{trial} times the rate of now")),
    };
    ((rate * rtt * 2.0) as u64, format!("2 × {} ({why}) × {}", in_bits(rate), in_ms(rtt)))
}

/// Bytes a second of the fastest card that moved something. What virtual devices say of themselves is made up.
fn line_rate(ns: &NetnsChange<'_>) -> Option<f64> {
    let cards = ns.after.links.value()?.values().filter(|link| link.is_card() && link.running);
    let speeds = cards.filter_map(|link| link.settings.speed.value());
    speeds.max().map(|megabits| f64::from(*megabits) * 125_000.0)
}

/// The largest buffer that so many flows may fill without TCP taking more memory than is wise.
pub(crate) fn affordable(interval: &Interval, flows: usize) -> u64 {
    /// Of the second number of `tcp_mem`, where it is known; from there on the kernel shrinks windows.
    const PRESSURE: u64 = 2;
    /// Else of the host's memory: `tcp_mem` is a little below a tenth of it by default.
    const MEMORY: u64 = 20;
    let host = &interval.after.host;
    let all = match interval.after.system.tcp_mem.value() {
        Some([_, pressure, _]) => pressure.saturating_mul(host.page_bytes.into()) / PRESSURE,
        None => host.memory_bytes / MEMORY,
    };
    all / flows.max(1) as u64
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

/// Traffic hurt, for the order of findings: each flow counts once for every second it was held back in. A limit of the whole
/// host that drops segments by the hundred comes before the flows that feel it.
pub(crate) fn hurt(flows: &[&FlowWatch]) -> u64 {
    flows.iter().map(|watch| watch.seconds() as u64 + 1).fold(0, u64::saturating_add)
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
    let watch =
        flows.find(|watch| watch.flow.local.to_string() == *local && watch.flow.remote.to_string() == *remote)?;
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
        Receiving::ReaderUnseen => "reader",
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

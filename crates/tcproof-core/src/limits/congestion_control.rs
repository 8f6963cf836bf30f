//! What losses and congestion control do to a flow: facts about the algorithms, a model of their rate, and advice. Shared by
//! `loss` and `congestion-window`.
//!
//! A sender that fills its path loses segments, and its round trip grows before it does: that is congestion control at
//! work, and no finding. Losses that come at any window, also at windows that the path carried before without a queue,
//! are not the path's fullness: there an algorithm that takes each loss for congestion stays far below what fits.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::throttle::{Sending, in_flight, in_ms};
use super::whose;
use crate::finding::{Level, Remedy, Subject};
use crate::flow::FlowWatch;
use crate::interval::NetnsChange;
use crate::snapshot::{CaState, FlowSample};

/// In flight at least this share of the congestion window: that one holds the flow back …
const AT_WINDOW: f64 = 0.9;
/// … in this share of the looks.
const MOSTLY: f64 = 0.5;
/// Less than this share of a window or of the send buffer in use leaves room for more. A writer that waits for its buffer
/// is let in at two thirds.
const ROOM: f64 = 0.6;
/// A round trip this many times the shortest one, at the largest windows: the path is full, and loss is how a sender
/// finds that. The queue of a deep buffer shows as 2; round trips of tiny windows stray to 1.1 by delayed ACKs.
const FULL_PATH: f64 = 1.2;
/// … and in a tenth of the looks already this much, where windows are too large for delayed ACKs to matter: a
/// short queue, perhaps shared (six flows of CUBIC over 50 ms with a queue of 5 ms lost at 1.09).
const SHORT_QUEUE: f64 = 1.07;
/// Segments from which on a window is that large.
const MANY: u32 = 24;
/// … and one this many times may be a path that is nearly full: a window that grows slowly then does no harm.
const NEARLY_FULL_PATH: f64 = 1.1;
/// Windows of at least this share of the largest are where a queue would be.
const LARGEST: f64 = 0.8;
/// Retransmissions that are a pattern and not an accident.
const LOSSES: u64 = 3;
/// Share of the segments sent again that hurts a flow's answers although it is not held back in throughput.
const LOSSY: f64 = 0.01;
/// A full path cuts the window from the same height each time, and `snd_ssthresh` says to where. Windows that were cut to
/// less than this share of another cut were not cut by a full path: CUBIC goes to 0.7, Reno to 0.5 of what was too much.
const SCATTERED: f64 = 0.7;
/// The end of slow start may overshoot and cut the window several times within a second; scattered cuts spread over more
/// than this share of the window.
const SPREAD: f64 = 0.25;
/// `snd_ssthresh` before anything ended slow start.
const NEVER_REDUCED: u32 = 0x7fff_ffff;
/// A window this many times as large as it was cut to is well beyond where it was cut from (CUBIC 1.4 times, Reno twice, a
/// slow start that overshot four times), and met neither loss nor queue there.
const BEYOND: f64 = 5.0;
/// A window that needs longer than this to double is held back by how slowly it grows, in seconds.
const SLOWLY: f64 = 5.0;
/// … and one that grew by more than this factor within the observation is not.
const GROWS: f64 = 2.0;
/// A shorter round trip is made of scheduling and interrupts, not of distance, and any window grows within moments.
const FAR: f64 = 0.000_5;
/// Round trips without any growth at the window's limit after which something forbids to grow.
const CLAMPED_FOR: f64 = 20.0;
/// Initial congestion window (RFC 6928), and twice two doublings: a look after a pause comes a little late.
const RESTARTED: u64 = 40;
/// A flow that is held back in this share of its busy looks after a pause.
const HARDLY: f64 = 0.2;

/// Segments sent and sent again over the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    /// Segments with data, also those sent again.
    pub(super) sent: u64,
    /// Segments sent again.
    pub(super) again: u64,
    /// Of them, those that the peer reported as duplicates: they had not been lost. Unknown before 4.19, and without SACK.
    pub(super) needless: Option<u64>,
    /// Reorderings seen. Unknown before 4.19.
    pub(super) reordered: Option<u64>,
    /// Retransmission timeouts. Unknown before 6.7.
    pub(super) timeouts: Option<u64>,
}

impl Losses {
    pub(super) fn of(watch: &FlowWatch) -> Self {
        Self {
            sent: watch.grew32(|sample| sample.data_segs_out),
            again: watch.grew32(|sample| sample.total_retrans),
            needless: watch.grew_if_known(|sample| sample.dsack_dups.filter(|_| sample.sack)),
            reordered: watch.grew_if_known(|sample| sample.reord_seen),
            timeouts: watch.grew_if_known(|sample| sample.total_rto.map(u32::from)),
        }
    }

    /// Segments that were lost, as far as can be known.
    pub(super) fn lost(&self) -> u64 {
        self.again.saturating_sub(self.needless.unwrap_or(0))
    }

    /// Share of the segments that were lost.
    pub(super) fn share(&self) -> f64 {
        share(self.lost(), self.sent)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn busy(sample: &FlowSample) -> bool {
    sample.wqueue > 0
}

/// Whether the algorithm sets its window and pace from what was delivered, whatever was lost (`cong_control`): BBR. It then
/// neither halves its window nor starts anew after a pause.
pub(super) fn ignores_losses(algorithm: &str) -> bool {
    algorithm.starts_with("bbr")
}

/// By how much the round trip is longer than the shortest one while the window is among its largest: as usual there.
/// None where the path is full, or where nothing is known.
fn queue_of_open_path(watch: &FlowWatch) -> Option<f64> {
    let steady = |sample: &&FlowSample| sample.unacked > 0 && !sample.ca_state.is_recovering();
    let largest = watch.samples.iter().filter(steady).map(|sample| sample.snd_cwnd).max();
    // Always in recovery: all that can be seen.
    let there = watch.samples.iter().filter(|sample| match largest {
        Some(largest) => steady(sample) && f64::from(sample.snd_cwnd) >= f64::from(largest) * LARGEST,
        None => sample.unacked > 0,
    });
    let mut trips: Vec<u32> = there.map(|sample| sample.rtt).filter(|rtt| *rtt > 0).collect();
    trips.sort_unstable();
    let shortest = watch.min_rtt()?;
    let factor = |tenth: usize| Some(f64::from(*trips.get(trips.len() * tenth / 10)?) / 1e6 / shortest);
    let (usual, long) = (factor(5)?, factor(9)?);
    let full = usual >= FULL_PATH || (largest.is_some_and(|window| window >= MANY) && long >= SHORT_QUEUE);
    (!full).then_some(usual)
}

/// Whether losses cut the window at heights that differ too much for one full path, and not all at once. Where it had been
/// cut to before the observation does not count: slow start may have overshot.
pub(super) fn is_cut_anywhere(watch: &FlowWatch) -> bool {
    let cuts = watch.samples.windows(2).filter(|pair| pair[0].snd_ssthresh != pair[1].snd_ssthresh);
    let cuts: Vec<_> = cuts.map(|pair| (pair[1].at, pair[1].snd_ssthresh)).collect();
    let (Some((last, _)), Some(lowest), Some(highest)) =
        (cuts.last(), cuts.iter().map(|(_, to)| *to).min(), cuts.iter().map(|(_, to)| *to).max())
    else {
        return false;
    };
    let spread = last.saturating_sub(watch.first().at).as_secs_f64();
    cuts.len() as u64 >= LOSSES
        && f64::from(lowest) <= f64::from(highest) * SCATTERED
        && spread >= watch.seconds() * SPREAD
}

/// What holds a flow back when neither end's buffer does.
pub(super) fn holds_back(watch: &FlowWatch) -> Sending {
    if waits_for_application(watch) {
        return Sending::Application;
    }
    let Some(queue) = queue_of_open_path(watch) else { return Sending::FullPath };
    let at_window = watch.share(busy, |sample| {
        sample.ca_state.is_recovering() || f64::from(sample.unacked) >= f64::from(sample.snd_cwnd) * AT_WINDOW
    });
    let at_window = at_window.unwrap_or(0.0) >= MOSTLY;
    let losses = Losses::of(watch);
    if losses.again >= LOSSES {
        let waits = watch.samples.iter().any(|sample| sample.ca_state == CaState::Loss);
        if waits && share(losses.again, losses.sent) >= LOSSY {
            return Sending::Loss;
        }
        let by_loss = at_window && !ignores_losses(&watch.flow.congestion) && is_cut_anywhere(watch);
        return if by_loss { Sending::Loss } else { Sending::FullPath };
    }
    let unsent = watch.share(busy, |sample| sample.notsent_bytes > 0).unwrap_or(0.0) >= MOSTLY;
    match (at_window, unsent) {
        (false, false) => Sending::Application,
        // Paced below its window: at the bandwidth that was measured.
        (false, true) => Sending::FullPath,
        (true, true) if queue < NEARLY_FULL_PATH && is_small_for_long(watch) => Sending::CongestionWindow,
        (true, _) => Sending::Growing,
    }
}

/// Whether all that there is to send is under way most of the time, although both windows and the send buffer have room:
/// then the application has no more, whatever the round trip does meanwhile.
fn waits_for_application(watch: &FlowWatch) -> bool {
    let idle = |sample: &FlowSample| {
        let room = |used: u64, of: u64| used as f64 <= of as f64 * ROOM;
        sample.notsent_bytes == 0
            && !sample.ca_state.is_recovering()
            && room(sample.unacked.into(), sample.snd_cwnd.into())
            && room(in_flight(sample), sample.snd_wnd.map_or(u64::MAX, u64::from))
            && room(sample.wmem_queued.into(), sample.sndbuf.into())
    };
    watch.share(|_| true, |sample| !busy(sample) || idle(sample)).is_some_and(|share| share > MOSTLY)
}

/// Whether the window will hold the flow back for long: it may not grow at all, or grows slowly from a cut that says
/// nothing about the path of now.
fn is_small_for_long(watch: &FlowWatch) -> bool {
    let far = watch.min_rtt().is_some_and(|rtt| rtt >= FAR);
    if !far || ignores_losses(&watch.flow.congestion) {
        return false;
    }
    is_clamped(watch) || (is_beyond_its_cut(watch) && doubles_in(watch).is_some_and(|seconds| seconds >= SLOWLY))
}

/// Whether the window stood still although every round trip could have let it grow: a route's `cwnd lock` does that.
pub(super) fn is_clamped(watch: &FlowWatch) -> bool {
    let same = watch.samples.iter().all(|sample| sample.snd_cwnd == watch.first().snd_cwnd);
    let always = watch.share(busy, |sample| sample.unacked >= sample.snd_cwnd);
    let trips = watch.min_rtt().map_or(0.0, |rtt| watch.seconds() / rtt);
    // CUBIC stands still for seconds by itself, at the height of its last cut.
    let sawtooth = watch.last().snd_cwnd >= watch.last().snd_ssthresh && !is_beyond_its_cut(watch);
    same && !sawtooth && trips >= CLAMPED_FOR && always.is_some_and(|share| share >= MOSTLY)
}

fn is_beyond_its_cut(watch: &FlowWatch) -> bool {
    let last = watch.last();
    last.snd_ssthresh < NEVER_REDUCED && f64::from(last.snd_cwnd) >= f64::from(last.snd_ssthresh) * BEYOND
}

/// Seconds until the window has doubled, at the pace of the observation; none when it grew by much already.
pub(super) fn doubles_in(watch: &FlowWatch) -> Option<f64> {
    let (first, last) = (f64::from(watch.first().snd_cwnd), f64::from(watch.last().snd_cwnd));
    if last > first * GROWS {
        return None;
    }
    Some(if last > first { last / (last - first) * watch.seconds() } else { f64::INFINITY })
}

/// Whether the flow sends bursts, begins one of them with a small window though it knew a larger one, and is held back
/// by it (`tcp_slow_start_after_idle_check`, `tcp_cwnd_restart`).
pub(super) fn restarts_after_idle(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    let on = ns.after.knob_number(RESTART).value().is_none_or(|on| *on != 0);
    if !on || ignores_losses(&watch.flow.congestion) {
        return false;
    }
    // A transfer that paused once and has its window back is not held back by that: what counts are the looks until then.
    let restarts = restarts_at(watch);
    let (mut known, mut held, mut of) = (None, 0_u64, 0_u64);
    for (at, sample) in watch.samples.iter().enumerate() {
        let restart = restarts.iter().find(|restart| restart.0 == at).map(|(_, before, _)| *before);
        known = restart.or(known).filter(|known| sample.snd_cwnd < known / 2);
        if busy(sample) {
            of += 1;
            let full = f64::from(sample.unacked) >= f64::from(sample.snd_cwnd) * AT_WINDOW;
            held += u64::from(known.is_some() && full);
        }
    }
    share(held, of) >= HARDLY
}

/// Pauses after which the window was small again: what it had been before, and what it was after, in segments. Not where
/// something was lost meanwhile.
pub(super) fn restarts(watch: &FlowWatch) -> Vec<(u32, u32)> {
    restarts_at(watch).into_iter().map(|(_, before, after)| (before, after)).collect()
}

/// The same, each with the number of the first look after the pause.
fn restarts_at(watch: &FlowWatch) -> Vec<(usize, u32, u32)> {
    let mut rest = None;
    let mut found = Vec::new();
    for (n, pair) in watch.samples.windows(2).enumerate() {
        let (before, now) = (&pair[0], &pair[1]);
        let sent = now.data_segs_out != before.data_segs_out;
        if !busy(before) && u64::from(before.last_data_sent_ms) * 1000 > u64::from(before.rto) {
            rest = Some(before);
        }
        if let (Some(known), true) = (rest, sent) {
            // The look after a pause comes up to one look late: the window may have doubled a few times by then.
            let small = now.snd_cwnd < known.snd_cwnd / 2 && u64::from(now.snd_cwnd) <= RESTARTED;
            if small && now.total_retrans == known.total_retrans {
                found.push((n + 1, known.snd_cwnd, now.snd_cwnd));
            }
            rest = None;
        }
    }
    found
}

/// The rate in bytes a second that loss-based congestion control reaches at most where each segment is lost with
/// probability `loss`: 1.22 · MSS ÷ (RTT · √p) (Mathis et al. 1997), and what CUBIC gets beyond that over long paths
/// (RFC 9438, section 5.1, with its constants). None without a round trip or a loss.
pub(super) fn loss_based_rate(watch: &FlowWatch, loss: f64) -> Option<f64> {
    let rtt = watch.min_rtt().filter(|rtt| *rtt > 0.0)?;
    if loss <= 0.0 {
        return None;
    }
    let reno = 1.22 / square_root(loss);
    let per_loss = rtt / loss;
    let cubic = 1.054 * square_root(square_root(per_loss * per_loss * per_loss));
    let segments = if watch.flow.congestion == "cubic" { reno.max(cubic) } else { reno };
    Some(segments * f64::from(watch.last().snd_mss) / rtt)
}

/// What losses allow a flow that takes them for congestion: where there were enough to tell.
pub(super) fn loss_ceiling(watch: &FlowWatch) -> Option<f64> {
    let losses = Losses::of(watch);
    let counts = losses.lost() >= LOSSES && !ignores_losses(&watch.flow.congestion);
    if counts { loss_based_rate(watch, losses.share()) } else { None }
}

/// Newton's method; the core has no `f64::sqrt`.
fn square_root(number: f64) -> f64 {
    if !(number.is_finite() && number > 0.0) {
        return 0.0;
    }
    // Half the exponent is a start that is at most a factor of 1.5 off.
    let mut root = f64::from_bits((number.to_bits() >> 1) + (1_023_u64 << 51));
    for _ in 0..6 {
        root = (root + number / root) / 2.0;
    }
    root
}

pub(super) const ALGORITHM: &str = "net.ipv4.tcp_congestion_control";
pub(super) const AVAILABLE: &str = "net.ipv4.tcp_available_congestion_control";
pub(super) const ALLOWED: &str = "net.ipv4.tcp_allowed_congestion_control";
pub(super) const RESTART: &str = "net.ipv4.tcp_slow_start_after_idle";

/// What a trial of BBR costs, whoever starts it.
const COST: &str = "BBR (version 1 in Linux) sends on where others yield: more segments are sent again, and flows of CUBIC \
                    that share a short queue get less. TCP paces it by itself since 4.13, with a timer per flow; the fq \
                    qdisc is not needed, but cheaper with thousands of flows";

/// A trial of BBR, from the smallest scope to the largest; nothing where the flow uses it already.
pub(super) fn trial_of_bbr(ns: &NetnsChange<'_>, watch: &FlowWatch, subject: &Subject) -> Vec<Remedy> {
    if ignores_losses(&watch.flow.congestion) {
        return Vec::new();
    }
    let names = |knob: &str| -> Option<bool> {
        let text = ns.after.knob(knob);
        text.value().map(|text| text.split_ascii_whitespace().any(|name| name == "bbr"))
    };
    let load = match names(AVAILABLE) {
        Some(true) => "",
        Some(false) => " (first `modprobe tcp_bbr`: this kernel has not loaded it)",
        None => " (if tcp_available_congestion_control names it)",
    };
    let allowed = match names(ALLOWED) {
        Some(true) => ": any process may choose it here",
        Some(false) => ": it needs CAP_NET_ADMIN, as tcp_allowed_congestion_control does not name it",
        None => ": it needs CAP_NET_ADMIN where tcp_allowed_congestion_control does not name it",
    };
    let now = ns.after.knob(ALGORITHM);
    let chosen = match now.value() {
        Some(default) if **default != *watch.flow.congestion => format!(
            " (it, or the route, chose {}: the default here is {})",
            called(&watch.flow.congestion),
            called(default)
        ),
        _ => String::new(),
    };
    let verify = "the goodput rises on new connections; `ss -ti` shows bbr";
    let mut remedies = alloc::vec![
        Remedy::new(
            Level::Application,
            format!("try BBR{load} in {} alone{chosen}: setsockopt TCP_CONGESTION \"bbr\"{allowed}", whose(subject)),
        )
        .cost(COST)
        .verify(verify),
        Remedy::new(
            Level::Service,
            format!(
                "or for one destination: `ip route change {} … congctl bbr` in this namespace, with the rest of the route \
                 as it is; new connections take it",
                network(watch)
            ),
        )
        .cost("as above, for whatever goes there")
        .verify(verify),
    ];
    // A default that tcp_allowed_congestion_control does not name is refused (EPERM), except in the initial namespace.
    let initial = ns.after.own && ns.interval().after.system.netdev_max_backlog.value().is_some();
    let may = initial || names(ALLOWED) != Some(false);
    if let Some(now) = now.value().filter(|now| may && !ignores_losses(now)) {
        remedies.push(
            Remedy::knob(
                "or, once it has proven itself, for all new connections of this namespace",
                ALGORITHM,
                *now,
                "bbr",
            )
            .alternative()
            .cost("as above, for all its traffic; in the initial namespace it also lets every process choose it")
            .verify(verify),
        );
    }
    remedies
}

/// The peer, as `ip route` wants it.
fn network(watch: &FlowWatch) -> String {
    watch.flow.remote.addr.to_string()
}

/// "CUBIC", "Reno", or the name as it is.
pub(super) fn called(algorithm: &str) -> String {
    match algorithm {
        "cubic" => "CUBIC".into(),
        "reno" => "Reno".into(),
        "" => "congestion control".into(),
        other => other.into(),
    }
}

/// How [`loss_based_rate`] came about, for `formula`.
pub(super) fn model(watch: &FlowWatch, losses: &Losses) -> String {
    format!(
        "1.22 × {} bytes ÷ ({} × √{:.5})",
        watch.last().snd_mss,
        in_ms(watch.min_rtt().unwrap_or(0.0)),
        losses.share()
    )
}

/// Bytes in flight, the median of the busy looks.
pub(super) fn usual_flight(watch: &FlowWatch) -> u64 {
    watch.median(busy, in_flight)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, MSS, Stream};
    use super::*;

    fn watch(stream: Stream) -> FlowWatch {
        let host = Host::new().flow(stream);
        let ns = host.interval().namespaces().next();
        ns.and_then(|ns| ns.watched_flows().next().cloned()).unwrap_or_else(|| panic!("the flow that was put in"))
    }

    fn stream() -> Stream {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(1_300_000.0)
    }

    #[test]
    fn roots_are_as_exact_as_needed() {
        for number in [1e-9, 0.0001, 0.01, 0.5, 1.0, 2.0, 144.0, 1e9, 1e18] {
            let root = square_root(number);
            assert!((root * root / number - 1.0).abs() < 1e-9, "√{number} is not {root}");
        }
        assert_eq!([0.0, -1.0, f64::NAN, f64::INFINITY].map(square_root), [0.0; 4]);
    }

    #[test]
    fn the_model_is_mathis_and_cubic_beyond() {
        let reno = watch(stream().congestion("reno"));
        let rate = |watch: &FlowWatch, loss| loss_based_rate(watch, loss).unwrap_or(0.0) * 8e-6;
        assert!((rate(&reno, 0.01) - 2.83).abs() < 0.01);
        // Over 50 ms CUBIC is the faster one below 0.01 %.
        let cubic = watch(stream());
        assert!((rate(&cubic, 0.01) - 2.83).abs() < 0.01);
        assert!(rate(&cubic, 0.000_01) > rate(&reno, 0.000_01) * 1.5);
        assert_eq!(loss_based_rate(&cubic, 0.0), None);
        assert_eq!(loss_based_rate(&watch(stream().each(|_, s| s.min_rtt = 0)), 0.01), None);
    }

    /// Held back by its window, which loses a segment every half second, cut to `to` in turn.
    fn losing(to: [u32; 4]) -> Stream {
        stream().each(move |t, s| {
            let n = (t * 2.0) as u32;
            (s.total_retrans, s.snd_ssthresh) = (n, to[n as usize % 4]);
            (s.snd_cwnd, s.unacked, s.notsent_bytes) = (s.snd_ssthresh + 5, s.snd_ssthresh + 5, 100 * MSS);
        })
    }

    #[test]
    fn losses_at_any_window_are_no_full_path() {
        assert_eq!(holds_back(&watch(losing([30, 44, 33, 20]))), Sending::Loss);
        // Always at the same height: a full path whose queue is too short to be seen.
        assert_eq!(holds_back(&watch(losing([30, 31, 30, 29]))), Sending::FullPath);
        // A queue: the flow fills its path.
        let queued = losing([3, 8, 5, 2]).each(|_, s| s.rtt = 65_000);
        assert_eq!(holds_back(&watch(queued)), Sending::FullPath);
        // A short queue that is full now and then: one that others share.
        let shared =
            losing([30, 44, 33, 20]).each(|t, s| s.rtt = if (t * 10.0) as u32 % 5 < 1 { 56_000 } else { 51_000 });
        assert_eq!(holds_back(&watch(shared)), Sending::FullPath);
        // Delayed ACKs of a tiny window.
        let tiny = losing([3, 8, 5, 2]).each(|_, s| s.rtt = 58_000);
        assert_eq!(holds_back(&watch(tiny)), Sending::Loss);
        // BBR does not care.
        assert_eq!(holds_back(&watch(losing([30, 44, 33, 20]).congestion("bbr"))), Sending::FullPath);
        // … but its answers wait for timeouts as those of any other.
        let waits = losing([30, 44, 33, 20]).congestion("bbr").each(|_, s| {
            (s.ca_state, s.data_segs_out) = (CaState::Loss, s.total_retrans * 50);
        });
        assert_eq!(holds_back(&watch(waits)), Sending::Loss);
    }

    #[test]
    fn what_has_nothing_unsent_and_room_everywhere_waits_for_its_application() {
        // 2 MB a second over 20 ms, as measured in the lab: the round trip strays as it likes.
        let paced = || {
            stream().each(|t, s| {
                (s.snd_cwnd, s.unacked, s.wqueue, s.wmem_queued) = (120, 30, 30 * MSS, 60_000);
                (s.sndbuf, s.snd_wnd) = (400_000, Some(1_000_000));
                s.rtt = if ((t * 10.0) as u32).is_multiple_of(3) { 80_000 } else { 51_000 };
            })
        };
        assert_eq!(holds_back(&watch(paced())), Sending::Application);
        // A queue on the way, and the window, the peer's window or the send buffer is full, or more waits to be sent.
        let queue = || paced().each(|_, s| s.rtt = 80_000);
        assert_eq!(holds_back(&watch(queue().each(|_, s| s.unacked = 118))), Sending::FullPath);
        assert_eq!(holds_back(&watch(queue().each(|_, s| s.snd_wnd = Some(44_000)))), Sending::FullPath);
        assert_eq!(holds_back(&watch(queue().each(|_, s| s.wmem_queued = 300_000))), Sending::FullPath);
        assert_eq!(holds_back(&watch(queue().each(|_, s| s.notsent_bytes = 9 * MSS))), Sending::FullPath);
        // Lost segments are sent again.
        assert_eq!(holds_back(&watch(queue().each(|_, s| s.ca_state = CaState::Recovery))), Sending::FullPath);
    }

    #[test]
    fn an_overshoot_at_the_end_of_slow_start_is_no_pattern() {
        let overshoot = stream().each(|t, s| {
            let n = ((t * 5.0) as usize).min(3);
            (s.total_retrans, s.snd_ssthresh) = (n as u32 * 200, [1_200, 840, 590, 410][n]);
            (s.snd_cwnd, s.unacked, s.notsent_bytes) = (s.snd_ssthresh, s.snd_ssthresh, 100 * MSS);
        });
        assert_eq!(holds_back(&watch(overshoot)), Sending::FullPath);
    }

    /// Held back by its window, which grows by `a_second` from `from` after it was cut to `cut`.
    fn growing(cut: u32, from: u32, a_second: f64) -> Stream {
        stream().congestion("reno").each(move |t, s| {
            s.snd_ssthresh = cut;
            s.snd_cwnd = from + (t * a_second) as u32;
            (s.unacked, s.notsent_bytes) = (s.snd_cwnd, 100 * MSS);
        })
    }

    #[test]
    fn a_window_that_was_cut_and_grows_slowly_is_the_limit() {
        assert_eq!(holds_back(&watch(growing(5, 40, 8.0))), Sending::CongestionWindow);
        // Doubles within seconds.
        assert_eq!(holds_back(&watch(growing(5, 20, 20.0))), Sending::Growing);
        // Not yet where it was cut from: the ordinary sawtooth.
        assert_eq!(holds_back(&watch(growing(50, 50, 8.0))), Sending::Growing);
        // A round trip that shows a queue in the making.
        assert_eq!(holds_back(&watch(growing(5, 40, 8.0).each(|_, s| s.rtt = 56_000))), Sending::FullPath);
        // It does not grow at all: locked by the route.
        assert_eq!(holds_back(&watch(growing(NEVER_REDUCED, 40, 0.0))), Sending::CongestionWindow);
        // BBR holds its window.
        assert_eq!(holds_back(&watch(growing(5, 40, 0.0).congestion("bbr"))), Sending::Growing);
        // Nothing waits to be sent.
        assert_eq!(holds_back(&watch(growing(5, 40, 8.0).each(|_, s| s.notsent_bytes = 0))), Sending::Growing);
    }

    mod hostile {
        use proptest::collection::vec;
        use proptest::prelude::*;

        use super::*;
        use crate::diagnose::diagnose;

        fn number() -> impl Strategy<Value = u32> {
            prop_oneof![Just(0), Just(1), 0..3_000_u32, Just(NEVER_REDUCED), Just(u32::MAX), any::<u32>()]
        }

        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

            #[test]
            fn no_flow_is_too_strange(
                looks in vec(vec(number(), 16), 51),
                algorithm in "(cubic|reno|bbr|)",
                states in vec(0..5_u8, 51),
            ) {
                let flow = Stream::between("10.0.0.2:443", "10.0.0.9:5000").congestion(&algorithm).each(|t, s| {
                    let n = (t * 10.0) as usize % 51;
                    let look = &looks[n];
                    s.ca_state = [CaState::Open, CaState::Disorder, CaState::Cwr, CaState::Recovery, CaState::Loss]
                        [usize::from(states[n])];
                    (s.snd_cwnd, s.snd_ssthresh, s.unacked, s.rtt) = (look[0], look[1], look[2], look[3]);
                    (s.min_rtt, s.rto, s.total_retrans, s.data_segs_out) = (look[4], look[5], look[6], look[7]);
                    (s.wqueue, s.notsent_bytes, s.snd_mss, s.snd_wnd) = (look[8], look[9], look[10], Some(look[11]));
                    (s.dsack_dups, s.last_data_sent_ms) = (Some(look[12]), look[13]);
                    (s.bytes_acked, s.busy_time) = (u64::from(look[14]) << (look[0] % 33), u64::from(look[15]));
                });
                let host = Host::new().flow(flow);
                let diagnosis = diagnose(host.interval());
                for finding in &diagnosis.findings {
                    prop_assert!(!finding.remedies.is_empty(), "{} has no remedy", finding.summary);
                }
            }
        }
    }
}

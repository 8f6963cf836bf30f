//! Why nothing of what a connection sends comes through: one pure function of the looks at it, shared by the limits that
//! can be it (a path that drops large segments, a peer that rejects timestamps, a peer that is gone).
//!
//! What tells them apart is what still comes back. A path that drops large segments lets small ones through, so the peer
//! gives a sign of life; a peer that rejects segments answers each of them; one that is gone says nothing at all.

use super::throttle::{Sending, sending};
use crate::flow::FlowWatch;
use crate::interval::{Interval, NetnsChange};
use crate::snapshot::{FlowSample, Timer};

/// Segments up to this size fit 1280 bytes with timestamps, which every path that carries IPv6 takes.
const FITS_EVERYWHERE: u32 = 1_228;
/// Acknowledged segments that are on average smaller than this share of the maximum: none of full size need be among them.
const SMALL: f64 = 0.5;
/// A connection that had at most an initial window (RFC 6928) acknowledged is at its beginning.
const YOUNG_SEGMENTS: u64 = 10;
/// Share of the looks that saw the last segment answered.
const MOSTLY: f64 = 0.5;
/// Milliseconds by which the kernel's clocks of one socket may differ (jiffies at HZ=100).
const TICKS_MS: u32 = 20;

/// What shows that the peer is there, although nothing of full size is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// It has reported segments behind the hole: the short last one of a burst came through.
    Sacked,
    /// It sends, more than one window: so it gets our acknowledgements, which are small.
    Sends,
    /// Another connection to the same address moves small segments.
    OtherFlow,
}

/// Why a connection stands still that has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stall {
    /// Segments of full size are lost, smaller ones arrive.
    LargeSegments(Sign),
    /// The peer answers what is sent again, and accepts nothing of it.
    Refused,
    /// Nothing comes back, and it is not for the size.
    Silence {
        /// Whether the same address answers another connection.
        others: bool,
    },
    /// Nothing comes back, and nothing of this size ever came through: lost for its size, or the peer is gone.
    Unclear,
}

/// Seconds since the segment that nobody acknowledges should have been, at least: the timeouts that doubled one another,
/// and what has passed of the one that runs.
pub(crate) fn waited(sample: &FlowSample) -> f64 {
    let first = sample.rto.checked_shr(sample.backoff.into()).unwrap_or(0);
    let passed = (f64::from(sample.rto) / 1e3 - f64::from(sample.expires_ms)).max(0.0);
    f64::from(sample.rto - first) / 1e6 + passed / 1e3
}

/// Bytes sent and not acknowledged.
pub(crate) fn unanswered(sample: &FlowSample) -> u64 {
    sample.wqueue.saturating_sub(sample.notsent_bytes).into()
}

/// Whether nothing of what it sends came through in the whole window.
pub(crate) fn is_stalled(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    sending(ns, watch) == Some(Sending::Stalled)
}

/// Why it stands still; `None` when it does not, or nothing can be said.
pub(crate) fn stall(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Option<Stall> {
    if !is_stalled(ns, watch) {
        return None;
    }
    let last = watch.last();
    if last.pmtu != watch.first().pmtu {
        // The path's MTU has just been found: what is sent next is smaller.
        return None;
    }
    let others = others(ns, watch);
    let sends = watch.grew(|sample| sample.bytes_received)
        > watch.most(|sample| sample.rcv_wnd.unwrap_or(sample.rcv_ssthresh).into());
    if is_large(&last) && others != Others::Large {
        let passed = large_passed(&last);
        let young = last.bytes_acked <= YOUNG_SEGMENTS * u64::from(last.snd_mss);
        let sign = match others {
            _ if sends => Some(Sign::Sends),
            _ if !passed && last.sacked > 0 => Some(Sign::Sacked),
            Others::Small if !passed && young => Some(Sign::OtherFlow),
            _ => None,
        };
        if let Some(sign) = sign {
            return Some(Stall::LargeSegments(sign));
        }
        if !passed && is_silent(&last) {
            return Some(Stall::Unclear);
        }
    }
    if is_silent(&last) {
        return Some(Stall::Silence { others: others != Others::None });
    }
    let answered = |sample: &FlowSample| sample.last_ack_recv_ms <= sample.last_data_sent_ms;
    let waits = |sample: &FlowSample| sample.timer == Timer::Retransmit && sample.retransmits > 0;
    let refused = !sends && last.sacked == 0 && watch.share(waits, answered).is_some_and(|share| share >= MOSTLY);
    refused.then_some(Stall::Refused)
}

/// All that is in flight but the end of it are segments of full size, and too large for some paths.
fn is_large(sample: &FlowSample) -> bool {
    let full = u64::from(sample.unacked.saturating_sub(1).max(1)) * u64::from(sample.snd_mss);
    sample.snd_mss > FITS_EVERYWHERE && unanswered(sample) >= full
}

/// Whether segments of full size were acknowledged before.
fn large_passed(sample: &FlowSample) -> bool {
    let acked = sample.data_segs_out.wrapping_sub(sample.total_retrans).wrapping_sub(sample.unacked);
    acked > 0 && sample.bytes_acked as f64 / f64::from(acked) > f64::from(sample.snd_mss) * SMALL
}

/// Nothing has come from the peer for as long as it has been waited for.
fn is_silent(sample: &FlowSample) -> bool {
    let heard = sample.last_ack_recv_ms.min(sample.last_data_recv_ms).saturating_add(TICKS_MS);
    f64::from(heard) / 1e3 >= waited(sample)
}

/// What other connections between the same two addresses do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Others {
    /// There are none, or they stand still too.
    None,
    /// They move small segments, or only receive.
    Small,
    /// They move segments of full size: the path takes those.
    Large,
}

fn others(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Others {
    let (mine, last, mss) = (&watch.flow, watch.last(), watch.last().snd_mss);
    let since = waited(&last);
    // What it moved before this one began to wait tells nothing of a peer that went away meanwhile.
    let heard_since = |other: &FlowWatch| {
        let other = other.last();
        let heard = f64::from(other.last_ack_recv_ms.min(other.last_data_recv_ms)) / 1e3;
        heard + last.at.saturating_sub(other.at).as_secs_f64() < since
    };
    let beside = ns.watched_flows().filter(|other| {
        let other = &other.flow;
        other.cookie != mine.cookie && (other.local.addr, other.remote.addr) == (mine.local.addr, mine.remote.addr)
    });
    let moves = beside.map(|other| {
        let acked = other.grew(|sample| sample.bytes_acked);
        let segments =
            other.grew32(|sample| sample.data_segs_out).saturating_sub(other.grew32(|sample| sample.total_retrans));
        match acked {
            0 if other.grew(|sample| sample.bytes_received) == 0 => Others::None,
            acked if acked as f64 > segments.max(1) as f64 * f64::from(mss) * SMALL => Others::Large,
            _ if heard_since(other) => Others::Small,
            _ => Others::None,
        }
    });
    moves.max().unwrap_or(Others::None)
}

/// The connections of the whole host whose peer accepts nothing of what they send.
pub(crate) fn refused(interval: &Interval) -> impl Iterator<Item = (NetnsChange<'_>, &FlowWatch)> {
    let flows = interval.namespaces().flat_map(|ns| ns.watched_flows().map(move |watch| (ns, watch)));
    flows.filter(|(ns, watch)| stall(ns, watch) == Some(Stall::Refused))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::testing::{Host, MSS, Stream};
    use super::*;

    /// As measured behind a link of 1280 bytes without ICMP: three bursts of 12 000 bytes written, of which the short
    /// tail of the first one was reported; the fourth retransmission 424 ms ago at the middle of the window.
    pub(crate) fn black_hole(port: u16) -> Stream {
        stuck(port).each(|_, s| (s.sacked, s.lost) = (1, 8))
    }

    /// The same without any sign of the peer.
    pub(crate) fn stuck(port: u16) -> Stream {
        Stream::between(&alloc::format!("10.0.0.2:{port}"), "10.0.0.9:443").each(|t, s| {
            s.ca_state = crate::snapshot::CaState::Loss;
            s.timer = Timer::Retransmit;
            (s.retransmits, s.backoff) = (5, 5);
            s.rto = 6_784_000;
            s.expires_ms = 6_700 - (t * 1e3) as u32;
            (s.wqueue, s.notsent_bytes) = (36_000, 24_000);
            (s.unacked, s.snd_cwnd) = (9, 1);
            s.total_retrans = 6;
            s.data_segs_out = 15;
            s.bytes_acked = 1;
            s.last_data_sent_ms = 84 + (t * 1e3) as u32;
            s.last_data_recv_ms = 7_000 + (t * 1e3) as u32;
            s.last_ack_recv_ms = s.last_data_recv_ms;
            s.busy_time = (t * 1e6) as u64;
        })
    }

    fn why(host: &Host) -> Option<Stall> {
        let ns = host.interval().namespaces().next().unwrap();
        let watch = ns.watched_flows().next().unwrap();
        stall(&ns, watch)
    }

    #[test]
    fn what_comes_back_tells_why() {
        let of = |stream: Stream| why(&Host::new().flow(stream));
        assert_eq!(of(stuck(5000)), Some(Stall::Unclear));
        assert_eq!(of(black_hole(5000)), Some(Stall::LargeSegments(Sign::Sacked)));
        // The peer goes on sending, more than it could without our acknowledgements.
        let sends = stuck(5000).each(|t, s| {
            s.bytes_received = (t * 1e5) as u64;
            (s.last_data_recv_ms, s.last_ack_recv_ms) = (4, 4);
        });
        assert_eq!(of(sends), Some(Stall::LargeSegments(Sign::Sends)));
        // Some of a window still arrives: no sign that anything of ours does.
        let little = stuck(5000).each(|t, s| {
            s.bytes_received = (t * 1e3) as u64;
            (s.last_data_recv_ms, s.last_ack_recv_ms) = (200, 9_000);
        });
        assert_eq!(of(little), None);
        // Segments of full size came through before, or these are small: it is not the size.
        let older = stuck(5000).each(|_, s| (s.bytes_acked, s.data_segs_out) = (2_959_713, 2_213));
        assert_eq!(of(older.clone()), Some(Stall::Silence { others: false }));
        assert_eq!(of(older.each(|_, s| s.sacked = 1)), Some(Stall::Silence { others: false }));
        let small = stuck(5000).each(|_, s| (s.wqueue, s.notsent_bytes, s.unacked) = (200, 0, 1));
        assert_eq!(of(small), Some(Stall::Silence { others: false }));
        assert_eq!(of(stuck(5000).each(|_, s| s.snd_mss = 1_220)), Some(Stall::Silence { others: false }));
        // Every retransmission is answered.
        let refused = stuck(5000).each(|_, s| s.last_ack_recv_ms = s.last_data_sent_ms - 10);
        assert_eq!(of(refused), Some(Stall::Refused));
        // The path MTU was found: what follows is another story.
        assert_eq!(of(black_hole(5000).each(|t, s| s.pmtu = if t > 3.0 { 1_280 } else { 1_500 })), None);
    }

    #[test]
    fn another_connection_to_the_same_address_tells_more() {
        let beside = |rate: f64, size: u32| {
            let other = Stream::between("10.0.0.2:6000", "10.0.0.9:80").sends(rate).each(|t, s| {
                s.data_segs_out = (rate * t / f64::from(size)) as u32;
                s.rtt = 50_000;
            });
            why(&Host::new().flow(stuck(5000)).flow(other))
        };
        assert_eq!(beside(2_000.0, 100), Some(Stall::LargeSegments(Sign::OtherFlow)));
        assert_eq!(beside(2_000_000.0, MSS), Some(Stall::Silence { others: true }));
        // What it moved was before this one began to wait: now it may be gone as well.
        let before = Stream::between("10.0.0.2:6000", "10.0.0.9:80").sends(2_000.0).each(|t, s| {
            s.data_segs_out = (20.0 * t) as u32;
            (s.last_ack_recv_ms, s.last_data_recv_ms) = (12_000, 12_000);
        });
        assert_eq!(why(&Host::new().flow(stuck(5000)).flow(before)), Some(Stall::Unclear));
        // It stands still as well.
        let both = Host::new().flow(stuck(5000)).flow(stuck(5001));
        assert_eq!(why(&both), Some(Stall::Unclear));
    }

    #[test]
    fn the_time_waited_is_that_of_the_timeouts() {
        // Measured 2.3 s after the last acknowledgement: three timeouts of 276, 552 and 1104 ms, and 164 ms.
        let sample = FlowSample { rto: 2_208_000, backoff: 3, expires_ms: 2_044, ..FlowSample::default() };
        assert!((waited(&sample) - 2.096).abs() < 1e-6);
        for backoff in [0, 31, 32, 255] {
            let sample = FlowSample { rto: u32::MAX, backoff, expires_ms: u32::MAX, ..FlowSample::default() };
            assert!(waited(&sample) >= 0.0);
        }
    }
}

//! `struct tcp_info` and `SK_MEMINFO_*` as one look at a connection.
//!
//! The struct only ever grew at its end (include/uapi/linux/tcp.h), so a field is there or the text ends before it. Fields
//! up to 4.10 are demanded; a longer struct than known is a newer kernel's.

use std::time::Duration;

use tcproof_core::Absent;
use tcproof_core::snapshot::{CaState, FlowSample, Timer};

use super::Socket;

/// Reads one look at a connection that was asked for with [`super::Extensions::INFO`] and
/// [`super::Extensions::SKMEMINFO`].
///
/// # Errors
/// When the kernel is older than what can be judged by, or only the rest of a closed connection answers.
pub fn sample(socket: &Socket<'_>, at: Duration) -> Result<FlowSample, Absent> {
    // TIME_WAIT and a handshake that is not over are found by the same ports, and have none (tcp_diag_get_info).
    let info = socket.info().ok_or_else(|| Absent::Gone { what: "the connection".into() })?;
    let mut sample = parse(info, at).ok_or_else(|| Absent::not_in_kernel("tcp_info with busy_time (since 4.10)"))?;
    let memory = socket.memory().and_then(words);
    let [rmem_alloc, rcvbuf, _wmem_alloc, sndbuf, _fwd_alloc, wmem_queued, _optmem, backlog, drops] =
        memory.ok_or_else(|| Absent::not_in_kernel("SK_MEMINFO_DROPS (since 4.7)"))?;
    let (timer, expires_ms) = socket.timer();
    sample.timer = match timer {
        1 => Timer::Retransmit,
        2 => Timer::Keepalive,
        3 => Timer::TimeWait,
        4 => Timer::Persist,
        _ => Timer::None,
    };
    Ok(FlowSample {
        expires_ms,
        rqueue: socket.rqueue(),
        wqueue: socket.wqueue(),
        rmem_alloc,
        rcvbuf,
        sndbuf,
        wmem_queued,
        backlog,
        drops,
        ..sample
    })
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.get(..N * 4)?.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// What tells whether a connection is worth watching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes a second, as last measured by the sender.
    pub delivery_rate: u64,
    /// Bytes a second that the application reads: what it read in the last round trip.
    pub read_rate: u64,
    /// Segments taken for lost or sent again, and not acknowledged yet.
    pub lost: u32,
    /// Since data was sent.
    pub since_sent: Duration,
    /// Since data was received.
    pub since_received: Duration,
    /// The shorter of both.
    pub idle: Duration,
}

/// Reads from `struct tcp_info` what a census looks at.
pub fn moved(info: &[u8]) -> Option<Moved> {
    let info = Info(info);
    let ms = |at| info.u32(at).map(|ms| Duration::from_millis(ms.into()));
    let (since_sent, since_received) = (ms(44)?, ms(52)?);
    // One that only receives has no round trip of its own but that of its window.
    let rtt = info.u32(92).filter(|rtt| *rtt > 0).or_else(|| info.u32(68))?;
    Some(Moved {
        delivery_rate: info.u64(160)?,
        read_rate: u64::from(info.u32(96)?) * 1_000_000 / u64::from(rtt.max(1)),
        lost: info.u32(32)?.saturating_add(info.u32(36)?),
        since_sent,
        since_received,
        idle: since_sent.min(since_received),
    })
}

struct Info<'a>(&'a [u8]);

impl Info<'_> {
    fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }
}

fn parse(info: &[u8], at: Duration) -> Option<FlowSample> {
    let info = Info(info);
    let scales = info.u8(6)?;
    // Bit fields start at the lowest bit on little-endian machines and at the highest on big-endian ones.
    let (first, second) = (scales & 0xf, scales >> 4);
    let (wscale, app_limited) = if cfg!(target_endian = "little") {
        ((first, second), info.u8(7)? & 1 != 0)
    } else {
        ((second, first), info.u8(7)? >> 7 != 0)
    };
    Some(FlowSample {
        at,
        ca_state: match info.u8(1)? {
            1 => CaState::Disorder,
            2 => CaState::Cwr,
            3 => CaState::Recovery,
            4 => CaState::Loss,
            _ => CaState::Open,
        },
        retransmits: info.u8(2)?,
        probes: info.u8(3)?,
        backoff: info.u8(4)?,
        // TCPI_OPT_SACK of tcpi_options.
        sack: info.u8(5)? & 2 != 0,
        wscale,
        app_limited,
        rto: info.u32(8)?,
        snd_mss: info.u32(16)?,
        rcv_mss: info.u32(20)?,
        unacked: info.u32(24)?,
        sacked: info.u32(28)?,
        lost: info.u32(32)?,
        last_data_sent_ms: info.u32(44)?,
        last_data_recv_ms: info.u32(52)?,
        last_ack_recv_ms: info.u32(56)?,
        pmtu: info.u32(60)?,
        rcv_ssthresh: info.u32(64)?,
        rtt: info.u32(68)?,
        snd_ssthresh: info.u32(76)?,
        snd_cwnd: info.u32(80)?,
        rcv_rtt: info.u32(92)?,
        rcv_space: info.u32(96)?,
        total_retrans: info.u32(100)?,
        pacing_rate: info.u64(104)?,
        bytes_acked: info.u64(120)?,
        bytes_received: info.u64(128)?,
        notsent_bytes: info.u32(144)?,
        min_rtt: info.u32(148)?,
        data_segs_in: info.u32(152)?,
        data_segs_out: info.u32(156)?,
        delivery_rate: info.u64(160)?,
        busy_time: info.u64(168)?,
        rwnd_limited: info.u64(176)?,
        sndbuf_limited: info.u64(184)?,
        dsack_dups: info.u32(216),
        reord_seen: info.u32(220),
        snd_wnd: info.u32(228),
        rcv_wnd: info.u32(232),
        total_rto: info.u16(240),
        ..FlowSample::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_struct_lacks_its_last_fields_and_a_long_one_is_read_as_far_as_it_is_known() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        let parsed = |length: usize| parse(&bytes[..length], Duration::ZERO);
        assert!(parsed(191).is_none());
        let oldest = parsed(192).unwrap();
        assert_eq!((oldest.dsack_dups, oldest.snd_wnd, oldest.rcv_wnd, oldest.total_rto), (None, None, None, None));
        assert_eq!(oldest.snd_mss, u32::from_ne_bytes([16, 17, 18, 19]));
        let newest = parsed(300).unwrap();
        assert_eq!(newest.rcv_wnd, Some(u32::from_ne_bytes([232, 233, 234, 235])));
        assert_eq!(newest.total_rto, Some(u16::from_ne_bytes([240, 241])));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes, Duration::ZERO), moved(&bytes), words::<9>(&bytes));
        }
    }
}

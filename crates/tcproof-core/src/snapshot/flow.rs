//! One established connection at one instant: `struct tcp_info`, its memory, its timer.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::{Endpoint, Inode, Protocol};
use core::time::Duration;

/// Which connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// This end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Identity of the socket for as long as it lives.
    pub cookie: u64,
    /// Its file; of an MPTCP subflow, that of the MPTCP socket. Zero when no file holds it.
    pub inode: Inode,
    /// Control group of its maker (since 5.9).
    pub cgroup_id: Option<u64>,
    /// TCP, or a subflow of MPTCP.
    pub protocol: Protocol,
    /// Congestion control algorithm.
    pub congestion: String,
}

/// What a socket's timer waits for (`idiag_timer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// No timer runs.
    #[default]
    None,
    /// Data or a tail loss probe to be sent again.
    Retransmit,
    /// A keepalive probe.
    Keepalive,
    /// The end of TIME_WAIT.
    TimeWait,
    /// A probe of a zero window.
    Persist,
}

/// State of loss recovery (`tcpi_ca_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaState {
    /// Nothing suspicious.
    #[default]
    Open,
    /// Duplicate ACKs or SACKs came in.
    Disorder,
    /// The window is being reduced because of ECN or a full local queue.
    Cwr,
    /// The window is being reduced, lost segments are sent again.
    Recovery,
    /// The retransmission timer expired.
    Loss,
}

impl CaState {
    /// Whether lost segments are being sent again. The write queue then holds more than the buffer was made for.
    pub fn is_recovering(self) -> bool {
        matches!(self, Self::Recovery | Self::Loss)
    }
}

/// One look at one connection. Names and units are those of `struct tcp_info` (include/uapi/linux/tcp.h) and of
/// `SK_MEMINFO_*`: segments, bytes, microseconds; what is in milliseconds there says so.
///
/// What came after 4.10 is an `Option`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSample {
    /// When, on the snapshots' clock.
    pub at: Duration,
    /// State of loss recovery.
    pub ca_state: CaState,
    /// Timeouts in a row without an answer.
    pub retransmits: u8,
    /// Zero-window or keepalive probes in a row without an answer.
    pub probes: u8,
    /// Doublings of the retransmission or persist timer.
    pub backoff: u8,
    /// Window scale of the peer (`tcpi_snd_wscale`) and of this end.
    pub wscale: (u8, u8),
    /// Both ends use selective acknowledgements; without them none reports a duplicate either.
    #[serde(default)]
    pub sack: bool,
    /// The last delivery rate was measured while the application had nothing more to send.
    pub app_limited: bool,
    /// What the timer waits for.
    pub timer: Timer,
    /// When it expires, in milliseconds.
    pub expires_ms: u32,
    /// Bytes to read.
    pub rqueue: u32,
    /// Bytes not acknowledged, sent or not.
    pub wqueue: u32,
    /// Retransmission timeout.
    pub rto: u32,
    /// Maximum segment to send.
    pub snd_mss: u32,
    /// Estimate of the peer's segments.
    pub rcv_mss: u32,
    /// Segments in flight.
    pub unacked: u32,
    /// Of them, those the peer has reported behind a hole.
    pub sacked: u32,
    /// Of them, those taken for lost.
    pub lost: u32,
    /// Milliseconds since data was sent, data came, and an ACK came.
    pub last_data_sent_ms: u32,
    /// Milliseconds since data came.
    pub last_data_recv_ms: u32,
    /// Milliseconds since an ACK came.
    pub last_ack_recv_ms: u32,
    /// Path MTU as known.
    pub pmtu: u32,
    /// The most that the window may grow to at present.
    pub rcv_ssthresh: u32,
    /// Smoothed round trip.
    pub rtt: u32,
    /// Slow start threshold in segments; `0x7fffffff` until a loss or HyStart set one.
    pub snd_ssthresh: u32,
    /// Congestion window in segments.
    pub snd_cwnd: u32,
    /// Round trip as the receiver estimates it; zero when it has not.
    pub rcv_rtt: u32,
    /// Bytes that the application read in the last round trip.
    pub rcv_space: u32,
    /// Segments sent again since the start.
    pub total_retrans: u32,
    /// Bytes a second at which segments are released; all ones when they are not paced.
    pub pacing_rate: u64,
    /// Bytes acknowledged by the peer since the start.
    pub bytes_acked: u64,
    /// Bytes received since the start.
    pub bytes_received: u64,
    /// Bytes written but not sent yet.
    pub notsent_bytes: u32,
    /// Shortest round trip of the last minutes; zero when none was measured.
    pub min_rtt: u32,
    /// Segments with data received since the start.
    pub data_segs_in: u32,
    /// Segments with data sent since the start, also again.
    pub data_segs_out: u32,
    /// Bytes a second, as last measured.
    pub delivery_rate: u64,
    /// Time in which there was something to send.
    pub busy_time: u64,
    /// Of it, the time in which the peer's window forbade sending.
    pub rwnd_limited: u64,
    /// Of it, the time in which the send buffer was found empty though the application waited for room. Accrues only at
    /// moments that many limited flows never see: evidence when it is large, nothing when it is zero.
    pub sndbuf_limited: u64,
    /// Duplicates that the peer reported: segments sent again for nothing (since 4.19).
    pub dsack_dups: Option<u32>,
    /// Reorderings seen (since 4.19).
    pub reord_seen: Option<u32>,
    /// The peer's window (since 5.4).
    pub snd_wnd: Option<u32>,
    /// The window as advertised to the peer (since 6.2).
    pub rcv_wnd: Option<u32>,
    /// Retransmission timeouts since the start (since 6.7).
    pub total_rto: Option<u16>,
    /// Memory of received segments that are not read yet.
    pub rmem_alloc: u32,
    /// The most that may be (`sk_rcvbuf`).
    pub rcvbuf: u32,
    /// The most memory of segments to send (`sk_sndbuf`); loss recovery and small writes exceed it.
    pub sndbuf: u32,
    /// Memory of segments not acknowledged.
    pub wmem_queued: u32,
    /// Memory of segments that wait for the socket's lock.
    pub backlog: u32,
    /// Packets that the socket dropped (32 bits, wraps).
    pub drops: u32,
}

/// How long established connections have been idle, without the connections: counts by powers of two of seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleFlows {
    /// Without a keepalive timer: how many have been idle for at least 2ⁿ s and less than 2ⁿ⁺¹ s.
    pub unguarded: [u32; 24],
    /// With a keepalive timer: likewise by the time until the next probe.
    pub guarded: [u32; 24],
    /// The one without a keepalive timer that has been idle for longest, and how long in seconds.
    pub longest: Option<(Flow, u64)>,
}

impl IdleFlows {
    fn bucket(seconds: u64) -> usize {
        (seconds.max(1).ilog2() as usize).min(23)
    }

    /// Counts a connection that nothing guards against a silent end.
    pub fn add_unguarded(&mut self, seconds: u64, flow: impl FnOnce() -> Flow) {
        self.unguarded[Self::bucket(seconds)] += 1;
        if self.longest.as_ref().is_none_or(|(_, longest)| seconds > *longest) {
            self.longest = Some((flow(), seconds));
        }
    }

    /// Counts a connection whose next keepalive probe is due in so many seconds.
    pub fn add_guarded(&mut self, seconds: u64) {
        self.guarded[Self::bucket(seconds)] += 1;
    }

    /// How many of one kind have at least `seconds`, counting only whole buckets: never too many.
    pub fn at_least(kind: &[u32; 24], seconds: u64) -> u64 {
        let first = seconds.max(1).next_power_of_two().ilog2() as usize;
        kind.iter().skip(first).map(|n| u64::from(*n)).sum()
    }
}

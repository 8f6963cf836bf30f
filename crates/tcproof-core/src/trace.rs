//! What probes in the kernel counted while a window lasted: facts that no counter has, or that the counters have for a whole
//! namespace only. Probes are optional: without them each reading is absent, and no limit is unknown for it.
//!
//! They count from shortly after the window's start until shortly before its end: at most as much as the counters.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::reading::{Absent, Reading};
use crate::snapshot::{Endpoint, NetnsId, Pid};

/// One reading for each probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Who opens connections to where, and finds no port.
    pub connects: Reading<Counted<Connects>>,
    /// Accept queues whenever a connection arrived.
    pub arrivals: Reading<Counted<Arrivals>>,
    /// TCP packets that the kernel dropped.
    pub drops: Reading<Counted<Drops>>,
    /// Segments sent again and resets, by connection.
    pub resent: Reading<Counted<Resent>>,
    /// Memory refused to sockets.
    pub memory: Reading<Counted<MemoryRefusals>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self::absent(&Absent::NotNeeded)
    }
}

impl Trace {
    /// Nothing, everywhere for the same reason.
    pub fn absent(why: &Absent) -> Self {
        Self {
            connects: Reading::Absent(why.clone()),
            arrivals: Reading::Absent(why.clone()),
            drops: Reading::Absent(why.clone()),
            resent: Reading::Absent(why.clone()),
            memory: Reading::Absent(why.clone()),
        }
    }

    /// Drops what was counted in other namespaces: a probe sees the whole kernel.
    pub fn keep(&mut self, is_wanted: impl Fn(NetnsId) -> bool) {
        fn keep<T>(table: &mut Reading<Counted<T>>, is_wanted: impl Fn(&T) -> bool) {
            if let Reading::Present(table) = table {
                table.rows.retain(is_wanted);
            }
        }
        keep(&mut self.connects, |row| is_wanted(row.netns));
        keep(&mut self.arrivals, |row| is_wanted(row.netns));
        keep(&mut self.drops, |row| is_wanted(row.netns));
        keep(&mut self.resent, |row| is_wanted(row.netns));
        keep(&mut self.memory, |row| is_wanted(row.netns));
    }

    /// Whether a connect(2) that found no port can't have been missed.
    pub fn saw_all_connects(&self) -> bool {
        self.connects.value().is_some_and(|table| table.lost == 0)
    }
}

/// A probe's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted<T> {
    /// Its rows, in their order.
    pub rows: Vec<T>,
    /// Events that it had no room for.
    pub lost: u64,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), lost: 0 }
    }
}

/// Connections of one process from one address to one destination (`inet_sock_set_state`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Connects {
    /// Where.
    pub netns: NetnsId,
    /// From which address.
    pub source: IpAddr,
    /// Where to.
    pub destination: Endpoint,
    /// By whom; none where the process has no number in the reader's pid namespace.
    pub pid: Option<Pid>,
    /// The name of the thread that was first.
    pub comm: String,
    /// Calls that got as far as to look for a port.
    pub tried: u64,
    /// Of those that found none: EADDRNOTAVAIL.
    pub refused: u64,
}

impl Connects {
    /// "app (pid 41)", or the name alone.
    pub fn who(&self) -> String {
        self.pid.map_or_else(|| self.comm.clone(), |pid| format!("{} (pid {pid})", self.comm))
    }
}

/// What arrived in a listener's accept queue (`sk_data_ready`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Arrivals {
    /// Where.
    pub netns: NetnsId,
    /// Its port.
    pub port: u16,
    /// The listener, as sock_diag has it.
    pub cookie: u64,
    /// Connections.
    pub arrived: u64,
    /// Sum of the lengths that the queue had with each of them in it.
    pub queued: u64,
    /// Of them those that filled it: another would have been refused.
    pub full: u64,
    /// The longest.
    pub longest: u32,
}

/// Dropped packets of TCP (`kfree_skb`). Before Linux 6.11 those are missing whose device was forgotten by then, for nothing
/// leads to a namespace: what a socket refuses, such as at its backlog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drops {
    /// Where.
    pub netns: NetnsId,
    /// The port of this end.
    pub port: u16,
    /// As the kernel names it, without `SKB_DROP_REASON_`; empty for one that says nothing of a limit.
    pub reason: String,
    /// Packets: of those that were put together (GRO, GSO) each is one.
    pub packets: u64,
}

/// What became of a connection's segments (`tcp_retransmit_skb`, `tcp_send_reset`, `tcp_receive_reset`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resent {
    /// Where.
    pub netns: NetnsId,
    /// This end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Times that data was sent again.
    pub data: u64,
    /// Times that a SYN was.
    pub syn: u64,
    /// Resets sent.
    pub resets: u64,
    /// Resets received.
    pub aborted: u64,
}

/// Memory refused to sockets of TCP (`sock_exceed_buf_limit`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryRefusals {
    /// Where.
    pub netns: NetnsId,
    /// Times while all sockets together had more than the third number of `tcp_mem`.
    pub beyond: u64,
    /// Times while they had not: by a control group's limit, or in memory pressure.
    pub within: u64,
    /// The most that all sockets together had at one of those times, in pages.
    pub most_pages: u64,
}

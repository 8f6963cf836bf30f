//! What probes in the kernel counted while a window lasted: facts that no counter has, or that the counters have for a whole
//! namespace only. Probes are optional: without them each reading is absent, and no limit is unknown for it.
//!
//! They count from shortly after the window's start until shortly before its end: at most as much as the counters.

use alloc::collections::BTreeMap;
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

    /// Adds what was counted from here on.
    pub(crate) fn and_then(&mut self, next: Self) {
        self.connects.add(
            next.connects,
            |row| (row.netns, row.source, row.destination, row.pid),
            |sum, row| {
                sum.tried = sum.tried.saturating_add(row.tried);
                sum.refused = sum.refused.saturating_add(row.refused);
            },
        );
        self.arrivals.add(
            next.arrivals,
            |row| (row.netns, row.port, row.cookie),
            |sum, row| {
                sum.arrived = sum.arrived.saturating_add(row.arrived);
                sum.queued = sum.queued.saturating_add(row.queued);
                sum.full = sum.full.saturating_add(row.full);
                sum.longest = sum.longest.max(row.longest);
            },
        );
        self.drops.add(
            next.drops,
            |row| (row.netns, row.port, row.reason.clone()),
            |sum, row| {
                sum.packets = sum.packets.saturating_add(row.packets);
            },
        );
        self.resent.add(
            next.resent,
            |row| (row.netns, row.local, row.remote),
            |sum, row| {
                sum.data = sum.data.saturating_add(row.data);
                sum.syn = sum.syn.saturating_add(row.syn);
                sum.resets = sum.resets.saturating_add(row.resets);
                sum.aborted = sum.aborted.saturating_add(row.aborted);
            },
        );
        self.memory.add(
            next.memory,
            |row| row.netns,
            |sum, row| {
                sum.beyond = sum.beyond.saturating_add(row.beyond);
                sum.within = sum.within.saturating_add(row.within);
                sum.most_pages = sum.most_pages.max(row.most_pages);
            },
        );
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

impl<T: Ord> Reading<Counted<T>> {
    /// Adds the rows of the time that followed; one that was not counted throughout is not counted.
    fn add<K: Ord>(&mut self, next: Self, key: impl Fn(&T) -> K, add: impl Fn(&mut T, T)) {
        /// More rows than any probe's table has room for.
        const MOST: usize = 65_536;
        let (sum, next) = match (&mut *self, next) {
            (Self::Present(sum), Self::Present(next)) => (sum, next),
            (Self::Present(_), absent) => return *self = absent,
            (Self::Absent(_), _) => return,
        };
        let places: BTreeMap<K, usize> = sum.rows.iter().enumerate().map(|(at, row)| (key(row), at)).collect();
        sum.lost = sum.lost.saturating_add(next.lost);
        for row in next.rows {
            match places.get(&key(&row)) {
                Some(at) => add(&mut sum.rows[*at], row),
                None if sum.rows.len() < MOST => sum.rows.push(row),
                None => sum.lost = sum.lost.saturating_add(1),
            }
        }
        sum.rows.sort_unstable();
    }
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
    /// The other end; of a listener a client with all its ports, which are 0.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_adds_up_row_by_row_and_what_was_not_counted_throughout_is_not() {
        let drops = |rows: &[(u16, u64)], lost| {
            let row = |(port, packets): &(u16, u64)| Drops {
                netns: NetnsId(1),
                port: *port,
                reason: "X".into(),
                packets: *packets,
            };
            let drops = Reading::Present(Counted { rows: rows.iter().map(row).collect(), lost });
            Trace { drops, ..Trace::default() }
        };
        let mut sum = drops(&[(80, 2), (443, 1)], 1);
        sum.and_then(drops(&[(22, 5), (80, 3)], 2));
        assert_eq!(sum, drops(&[(22, 5), (80, 5), (443, 1)], 3));
        sum.and_then(Trace::default());
        assert_eq!(sum, Trace::default());
    }
}

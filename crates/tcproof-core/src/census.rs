//! A census of TCP sockets: how many are in which state, by namespace, by destination, by control group, by process.
//!
//! Three backends fill the same [`Tally`] through one trait, [`Backend`]: netlink, eBPF, and the text of
//! `/proc/net/tcp{,6}`. A tally never holds a socket, so a walk of a million of them costs no list. Its tables are bounded;
//! what a full one could not take is counted under its reason ([`Lost`]) and never missing in silence.
//!
//! Listeners (queue, backlog, drops) and MPTCP sockets are not a backend's business: netlink tells of them, whoever counts
//! the rest.
//!
//! A recording holds no socket one by one: what it tells of them is put into the same values (`recorded.rs`).

mod counts;
mod fold;
mod found;
mod place;
mod recorded;
mod tally;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

pub use counts::Counts;
pub use fold::Fold;
pub use found::{
    Census, CgroupRow, DestinationRow, Difference, ListenerRow, NetnsCensus, ProcessRow, Sockstat, Top, Truncated,
    fullest,
};
pub use place::{End, Place, PortRange, PortSet};
pub use recorded::recorded;
pub use tally::{Bounds, Destination, DestinationUse, Lost, MEMBERS, Member, NetnsTally, PlaceTally, Seen, Tally};

use crate::reading::{Absent, Reading};
use crate::snapshot::{Pid, Unseen};
use crate::states::State;

/// What walks the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// sock_diag: a message for each socket.
    Netlink,
    /// A program in the kernel that walks its hash table.
    Bpf,
    /// `/proc/net/tcp{,6}` and `/proc/PID/fd`: text.
    Proc,
    /// Nobody walked them here: what `ss` printed elsewhere.
    Listing,
    /// Nothing walked them: readings of another purpose, as a recording has them.
    Recording,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "netlink",
            Self::Bpf => "bpf",
            Self::Proc => "proc",
            Self::Listing => "listing",
            Self::Recording => "recording",
        })
    }
}

/// Walks the sockets of namespaces.
pub trait Backend {
    /// Which one it is.
    fn method(&self) -> Method;

    /// Counts the TCP sockets of every place into the tally: all states but LISTEN, CLOSE and BOUND-INACTIVE.
    ///
    /// A place that can't be counted (gone, not entered) is reported by [`Tally::absent`], what was not seen in one that
    /// was counted by [`Tally::unseen`] and [`PlaceTally::lost`]: those are no reason to fail.
    ///
    /// # Errors
    /// It can't count here at all, whatever the place (no `tcp_diag`, no permission for bpf(2)): the tally is then of no
    /// use, and the next backend starts with a fresh one.
    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent>;
}

/// Walks the descriptors of processes, for the sockets they hold.
pub trait Holders {
    /// Which one it is.
    fn method(&self) -> Method;

    /// Counts what every process holds of the sockets of these places, by [`Held::add`]. One socket that two processes
    /// hold, or one process twice, counts for each descriptor: what is counted are descriptors.
    ///
    /// # Errors
    /// Nothing can be told here. Processes that would not show theirs are [`Held::unseen`].
    fn count(&mut self, places: &[Place], held: &mut Held) -> Result<(), Absent>;
}

/// What processes hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Descriptors of TCP sockets by process (its thread group's id).
    pub processes: BTreeMap<Pid, Counts>,
    /// Processes that did not show theirs, and the like.
    pub unseen: Vec<Unseen>,
}

impl Held {
    /// Counts `n` descriptors of a process that lead to sockets in that state.
    pub fn add(&mut self, pid: Pid, state: State, n: u32) {
        self.processes.entry(pid).or_default().add(state, n);
    }
}

/// From how many sockets on the eBPF walk is faster as a whole, with some room: on 6.18 netlink took 6 ms and 0.7 µs a
/// socket, the walk 16 ms with its loading and 0.15 µs a socket, so they meet at 20 000 (bench/runs).
pub const BPF_FROM: u64 = 30_000;

/// Which backends to try, the first one first, and why that one. `asked` is what a person demands: then there is no other.
/// `sockets` is the cheap estimate by sockstat, `bpf` whether the eBPF backend is there.
pub fn choose(asked: Option<Method>, sockets: &Reading<u64>, bpf: &Result<(), Absent>) -> (Vec<Method>, String) {
    use alloc::format;
    if let Some(method) = asked {
        return (vec![method], "asked for".into());
    }
    match (sockets, bpf) {
        (Reading::Present(n), Ok(())) if *n >= BPF_FROM => (
            vec![Method::Bpf, Method::Netlink, Method::Proc],
            format!("sockstat has {n} sockets, and from {BPF_FROM} on it is the cheaper one"),
        ),
        (Reading::Present(n), _) if *n < BPF_FROM => (
            vec![Method::Netlink, Method::Proc],
            format!("sockstat has {n} sockets, and below {BPF_FROM} it is the cheaper one"),
        ),
        (Reading::Present(n), Err(Absent::NotNeeded)) => {
            (vec![Method::Netlink, Method::Proc], format!("sockstat has {n} sockets, and there is no cheaper one"))
        }
        (Reading::Present(_), Err(why)) => (vec![Method::Netlink, Method::Proc], format!("no eBPF here: {why}")),
        (Reading::Present(_) | Reading::Absent(_), _) => {
            (vec![Method::Netlink, Method::Proc], "how many sockets there are is not known beforehand".into())
        }
    }
}

#[cfg(test)]
mod tests;

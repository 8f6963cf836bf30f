//! The limits, one file each, and what every one of them must say of itself.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::finding::{Finding, Headroom, Level, Owner, Remedy, Subject, Unknown};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::servers::{ListenSetting, listen_setting};
use crate::snapshot::{Inode, NetnsId, Pid, Process, Snapshot};

// <limits> written by `cargo xtask registry`
mod accept_queue;
mod cgroup_memory;
mod close_wait_leak;
mod congestion_window;
mod conntrack_table;
mod ephemeral_ports;
mod fastopen_queue;
mod file_descriptors;
mod keepalive;
mod loss;
mod mptcp;
mod neighbour_table;
mod nic_ring;
mod orphans;
mod path_mtu;
mod receive_window;
mod send_buffer;
mod socket_backlog;
mod softirq_budget;
mod softirq_cpu;
mod softnet_backlog;
mod syn_queue;
mod tcp_memory;
mod time_wait_table;
mod timestamps;

/// Every limit, in the order of their slugs.
pub static LIMITS: &[&Limit] = &[
    &accept_queue::LIMIT,
    &cgroup_memory::LIMIT,
    &close_wait_leak::LIMIT,
    &congestion_window::LIMIT,
    &conntrack_table::LIMIT,
    &ephemeral_ports::LIMIT,
    &fastopen_queue::LIMIT,
    &file_descriptors::LIMIT,
    &keepalive::LIMIT,
    &loss::LIMIT,
    &mptcp::LIMIT,
    &neighbour_table::LIMIT,
    &nic_ring::LIMIT,
    &orphans::LIMIT,
    &path_mtu::LIMIT,
    &receive_window::LIMIT,
    &send_buffer::LIMIT,
    &socket_backlog::LIMIT,
    &softirq_budget::LIMIT,
    &softirq_cpu::LIMIT,
    &softnet_backlog::LIMIT,
    &syn_queue::LIMIT,
    &tcp_memory::LIMIT,
    &time_wait_table::LIMIT,
    &timestamps::LIMIT,
];
// </limits>

mod congestion_control;
pub(crate) mod margins;
pub(crate) mod stall;
pub(crate) mod throttle;
mod turned_away;

#[cfg(test)]
pub(crate) mod testing;

// Detail costs a dump of sockets, so the host asks first whether there can be anything to see.
pub use close_wait_leak::{worth_a_dump as close_wait_worth_a_dump, worth_a_look as close_wait_worth_a_look};
pub(crate) use ephemeral_ports::port_ranges;
pub use ephemeral_ports::{usable_ports, worth_a_dump as ports_worth_a_dump};
pub use orphans::worth_a_dump as fin_wait2_worth_a_dump;
pub(crate) use softnet_backlog::cpus as softnet_cpus;
pub use throttle::{LOOKS, in_bits, is_unread};

/// A queue, table, range, budget or window that TCP traffic can exhaust.
#[derive(Debug)]
pub struct Limit {
    /// Stable name; never renamed or reused once released.
    pub slug: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// The causes it can have, each with one line that says what it means.
    pub causes: &'static [(&'static str, &'static str)],
    /// What it is judged by. Of drops by reason ([`Limit::drop_reasons`]) those of each finding's namespace are shown with it.
    pub reads: &'static [&'static str],
    /// Limits that look like it: a finding says of each why it is not that.
    pub look_alikes: &'static [&'static str],
    /// Knobs that belong to it.
    pub knobs: &'static [&'static str],
    /// Lab scenarios that reproduce it.
    pub scenarios: &'static [&'static str],
    /// Its own file: the header is the page that `tcproof explain` prints.
    pub source: &'static str,
    /// Used and capacity, per subject.
    pub headroom: fn(&Interval) -> Vec<Headroom>,
    /// The verdict.
    pub detect: fn(&Interval) -> Detected,
    /// What to do about one of its findings, the application first.
    pub remedy: fn(&Finding, &Interval) -> Vec<Remedy>,
    /// The reading that rules it out for a namespace, in a few words; `None` when it can't be ruled out there.
    pub ruled_out: fn(&NetnsChange<'_>) -> Option<String>,
    /// Sockets whose owners its verdict or its finding needs; asked at both ends of the window, with the start alone first.
    pub owners_wanted: fn(&Snapshot, Option<&Interval>) -> SocketSet,
}

/// How a reading of packets that were dropped for one reason begins, and how it ends.
const DROPS: (&str, &str) = ("kfree_skb: ", " (eBPF)");

impl Limit {
    /// The reasons of dropped packets that are readings of it, without `SKB_DROP_REASON_`.
    pub fn drop_reasons(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.reads.iter().filter_map(|reading| reading.strip_prefix(DROPS.0)?.strip_suffix(DROPS.1))
    }

    /// The page: the `//!` header of its file.
    pub fn page(&self) -> String {
        crate::page::of_source(self.source)
    }

    /// The limit with that slug.
    pub fn by_slug(slug: &str) -> Option<&'static Self> {
        LIMITS.iter().find(|limit| limit.slug == slug).copied()
    }
}

/// Sockets by namespace and inode.
pub type SocketSet = BTreeSet<(NetnsId, Inode)>;

/// What a limit found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detected {
    /// Limiting or near; without remedies and look-alikes, which are filled in later.
    pub findings: Vec<Finding>,
    /// What could not be judged.
    pub unknown: Vec<Unknown>,
}

/// `owners_wanted` of a limit that wants none.
pub fn no_owners(_: &Snapshot, _: Option<&Interval>) -> SocketSet {
    SocketSet::new()
}

/// A missing reading as an unknown of `limit` in `netns`; nothing for a reading that was not needed.
pub(crate) fn unknown(limit: &Limit, netns: Option<&str>, reading: &str, why: &Absent) -> Option<Unknown> {
    if why.is_not_needed() {
        return None;
    }
    Some(Unknown {
        limit: limit.slug.to_string(),
        reading: match netns {
            Some(netns) => format!("{reading} of {netns}"),
            None => reading.to_string(),
        },
        because: why.to_string(),
        would_need: why.would_need().map(ToString::to_string),
    })
}

/// The processes that hold a socket, as far as they were asked for and found.
pub fn owners_of(snapshot: &Snapshot, inode: Inode) -> Vec<Owner> {
    let pids = match snapshot.owners.get(&inode) {
        Some(Reading::Present(pids)) => &**pids,
        _ => &[],
    };
    pids.iter().filter_map(|pid| owner(snapshot, *pid)).collect()
}

/// A process as an owner.
pub(crate) fn owner(snapshot: &Snapshot, pid: u32) -> Option<Owner> {
    snapshot.processes.get(&pid).map(|process| Owner {
        pid,
        comm: process.comm.clone(),
        cgroup: process.cgroup.value().cloned(),
        unit: process.unit(),
    })
}

/// Counters and sockets are read a moment apart: a difference up to this share is that moment, not a fact.
pub(crate) const SKEW: f64 = 0.02;

/// Whether a part is more than the moment between two readings of the whole.
pub(crate) fn beyond_skew(part: u64, whole: u64) -> bool {
    part as f64 > whole as f64 * SKEW
}

/// How many of a namespace's `total` drops of one kind must have been those of a listener that counted `drops`.
///
/// A listener's own counter is an upper bound: `tcp_v4_rcv` counts there also what `tcp_check_req` turns away, such as
/// last ACKs that TCP_DEFER_ACCEPT ignores, or, a second time, an overflow at the last ACK. So a listener is charged only
/// with what neither the other listeners nor one that is gone (`everyone` counts them all) can have dropped.
pub(crate) fn at_least(total: u64, drops: u64, everyone: u64) -> u64 {
    total.saturating_add(drops).saturating_sub(everyone)
}

/// The processes that hold a socket, with what was read of them.
pub(crate) fn processes_of(snapshot: &Snapshot, inode: Inode) -> impl Iterator<Item = (Pid, &Process)> {
    let pids = snapshot.owners.get(&inode).and_then(|pids| pids.value());
    pids.into_iter().flatten().filter_map(|pid| snapshot.processes.get(pid).map(|process| (*pid, process)))
}

/// The process because of which `accept(2)` on a listener fails with EMFILE, with its open descriptors and their limit:
/// not one is left. Another that holds the listener too and has some left could accept instead; a single such process
/// may be the parent that never does. A sandbox that gave up its limit does not accept either, so it says nothing, unless
/// it is alone.
pub(crate) fn cannot_accept(interval: &Interval, watch: &ListenerWatch) -> Option<(Pid, u64, u64)> {
    let holders = processes_of(&interval.after, watch.last.inode);
    let used = holders.filter_map(|(pid, process)| Some((pid, *process.fds.value()?, *process.fd_limit.value()?)));
    let mut used: Vec<_> = used.collect();
    if used.len() > 1 {
        used.retain(|(_, open, limit)| *open <= limit.saturating_add(1));
    }
    let out: Vec<_> = used.iter().filter(|(_, open, limit)| open >= limit).collect();
    out.first().filter(|_| out.len() + 1 >= used.len()).map(|first| **first)
}

/// Open files of the host and their limit, when not one more may be opened: then `accept(2)`, too, fails with ENFILE, but
/// for programs with CAP_SYS_ADMIN (`alloc_empty_file`).
pub(crate) fn host_out_of_files(interval: &Interval) -> Option<(u64, u64)> {
    let files = interval.after.system.files.value()?;
    (files.open >= files.max).then_some((files.open, files.max))
}

/// How the server behind a listener is told its backlog, where it is a well-known one.
pub(crate) fn setting_of(interval: &Interval, watch: &ListenerWatch) -> Option<&'static ListenSetting> {
    processes_of(&interval.after, watch.last.inode).find_map(|(_, p)| listen_setting(&p.comm, &p.cmdline))
}

/// A backlog of at least what is needed and twice the present one, rounded up to a power of two; never beyond 65 535,
/// which is what older kernels can hold.
pub(crate) fn longer_backlog(watch: &ListenerWatch, needed: u32) -> u32 {
    let present = watch.last.backlog;
    needed.max(present.saturating_mul(2)).clamp(16, 65_535).next_power_of_two().min(65_535).max(present)
}

/// A longer listen backlog, in the words of the server that listens.
pub(crate) fn raise_backlog(interval: &Interval, watch: &ListenerWatch, to: u32, formula: &str) -> Remedy {
    let text = match setting_of(interval, watch) {
        Some(s) => format!("{} — N = {to}; takes effect with {}", s.syntax, s.applies),
        None => format!("listen(2) with a backlog of {to} instead of {}; restart to apply", watch.last.backlog),
    };
    Remedy::new(Level::Service, text)
        .formula(formula)
        .cost(format!("up to {} KiB while the queue is full", u64::from(to) * 12 / 5))
}

/// A somaxconn that grants a backlog of `to`; nothing where it already does or could not be read.
pub(crate) fn raise_somaxconn(ns: &NetnsChange<'_>, who: &str, to: u32, formula: &str) -> Option<Remedy> {
    let now = *ns.after.knob_number("net.core.somaxconn").value()?;
    (i64::from(to) > now).then(|| {
        Remedy::knob(
            format!("raise somaxconn in this namespace, then let {who} listen again"),
            "net.core.somaxconn",
            now.to_string(),
            to.to_string(),
        )
        .formula(formula)
        .cost("none until a listener asks for it")
    })
}

/// "nothing dropped yet", which one reading alone can't say.
pub(crate) fn so_far(seconds: f64, nothing: &str) -> String {
    if seconds > 0.0 { format!("{nothing} yet") } else { "whether it hurts, one reading can't tell".into() }
}

/// "nginx" or "nginx, pid 2113" or "the application", for sentences.
pub(crate) fn whose(subject: &Subject) -> String {
    match subject.owners().first() {
        Some(owner) => owner.comm.clone(),
        None => "the application".into(),
    }
}

/// The listener of that kind, where there was only one endpoint: what a namespace's counter says is then said of it.
pub(crate) fn only_listener<'a>(
    ns: &NetnsChange<'a>,
    is: impl Fn(&ListenerWatch) -> bool,
) -> Option<&'a ListenerWatch> {
    let mut listeners = ns.listeners().filter(|watch| is(watch));
    let first = listeners.next()?;
    listeners.all(|other| other.last.local == first.last.local).then_some(first)
}

/// That listener as a subject, else the namespace.
pub(crate) fn listener_or_netns(ns: &NetnsChange<'_>, listener: Option<&ListenerWatch>) -> Subject {
    let netns = ns.name().into();
    match listener {
        Some(watch) => Subject::Listener {
            netns,
            local: watch.last.local.to_string(),
            owners: owners_of(&ns.interval().after, watch.last.inode),
        },
        None => Subject::Netns { netns },
    }
}

/// A share as a whole percentage, for sentences; never 100 % for less than all, never 0 % for more than none.
pub fn percent(share: f64) -> u32 {
    let rounded = (share * 100.0 + 0.5).clamp(0.0, 999.0) as u32;
    match rounded {
        0 if share > 0.0 => 1,
        100 if share < 1.0 => 99,
        other => other,
    }
}

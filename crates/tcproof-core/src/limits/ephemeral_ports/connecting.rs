//! The connects of a window: those that a probe saw find no port, and those that visibly search for one.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::TIME_WAIT_SECONDS;
use super::taken::Ports;
use crate::finding::Owner;
use crate::limits::owner;
use crate::snapshot::{Pid, Snapshot, Tuple, TupleUse};
use crate::trace::Connects;

/// Kernel time a connect costs at least when it searches: four times what a healthy one does.
const SEARCH_MIN_SECONDS: f64 = 200e-6;
/// Kernel time a search can cost at most, per usable port: four times what was measured. Work that takes longer than
/// that per connect is not the search's, but for instance the sending of files.
const SEARCH_MAX_SECONDS_PER_PORT: f64 = 250e-9;
/// Kernel time of a segment sent or received, amply: what the traffic itself costs is not the search's.
const SEGMENT_SECONDS: f64 = 2e-6;
/// Share of a CPU that makes a search visible.
const SEARCH_CPU: f64 = 0.2;

/// What a probe saw of the connects of one tuple.
#[derive(Clone, Copy, Default)]
pub(super) struct Connecting<'a> {
    pub(super) tried: u64,
    pub(super) refused: u64,
    /// Of the process that was refused most, or else tried most.
    most: Option<&'a Connects>,
}

impl<'a> Connecting<'a> {
    pub(super) fn add(&mut self, row: &'a Connects) {
        self.tried = self.tried.saturating_add(row.tried);
        self.refused = self.refused.saturating_add(row.refused);
        let weight = |row: &Connects| (row.refused, row.tried);
        if self.most.is_none_or(|most| weight(row) > weight(most)) {
            self.most = Some(row);
        }
    }

    /// Whoever connects, also where nobody holds a socket any more: TIME_WAIT has no owner.
    pub(super) fn owners(&self, snapshot: &Snapshot) -> Vec<Owner> {
        let of = |row: &Connects| {
            let pid = row.pid?;
            let unread = || Owner { pid, comm: row.comm.clone(), cgroup: None, unit: None };
            Some(owner(snapshot, pid).unwrap_or_else(unread))
        };
        self.most.and_then(of).into_iter().collect()
    }

    /// "12 of 30 connect(2) calls from A to B found no free port (EADDRNOTAVAIL) in 5.0 s".
    pub(super) fn summary(&self, at: &str, seconds: f64) -> String {
        format!(
            "{} of {} connect(2) calls {at} found no free port (EADDRNOTAVAIL) in {seconds:.1} s",
            self.refused, self.tried
        )
    }
}

/// How many connections of the window went to other destinations, as far as they left a trace: more ports in use there,
/// or TIME_WAIT, in which each is for 60 s.
fn elsewhere(ports: &Ports<'_>, at: &Tuple) -> f64 {
    let seconds = ports.ns.interval().seconds();
    let made = |(tuple, after): (&Tuple, &TupleUse)| {
        let before = ports.before.and_then(|before| before.tuples.get(tuple)).map_or(0, |before| before.ports);
        let closed = f64::from(after.time_wait) * (seconds / TIME_WAIT_SECONDS).min(1.0);
        f64::from(after.ports.saturating_sub(before)).max(closed)
    };
    ports.after.tuples.iter().filter(|(tuple, _)| *tuple != at).map(made).sum()
}

/// Connects of a process that visibly search for a port.
pub(super) struct Search {
    pub(super) owner: Owner,
    /// Kernel time it used beyond what the traffic explains, as a share of one CPU.
    pub(super) cpu: f64,
    /// Kernel time for each connection of the namespace.
    pub(super) seconds_per_connect: f64,
    pub(super) connects: u64,
}

pub(super) fn searching(ports: &Ports<'_>, at: &Tuple, tuple: &TupleUse) -> Option<Search> {
    let interval = ports.ns.interval();
    let grew = |name| ports.ns.counter(name).value().copied();
    let (connects, segments) = (grew("Tcp.ActiveOpens")?, grew("Tcp.InSegs")?.saturating_add(grew("Tcp.OutSegs")?));
    let seconds = interval.seconds();
    if connects == 0 || seconds <= 0.0 || elsewhere(ports, at) * 2.0 > connects as f64 {
        return None;
    }
    let traffic = segments as f64 * SEGMENT_SECONDS;
    let kernel_time = |snapshot: &Snapshot, pid| snapshot.processes.get(&pid)?.kernel_time.value().copied();
    let search = |pid: &Pid| {
        // A pid that was reused within the window has less than it had.
        let time = kernel_time(&interval.after, *pid)?.checked_sub(kernel_time(&interval.before, *pid)?)?.as_secs_f64();
        let time = (time - traffic).max(0.0);
        let (cpu, seconds_per_connect) = (time / seconds, time / connects as f64);
        let longest = SEARCH_MAX_SECONDS_PER_PORT * f64::from(ports.range.usable());
        let explained = (SEARCH_MIN_SECONDS..=longest).contains(&seconds_per_connect);
        (cpu >= SEARCH_CPU && explained).then_some((cpu, seconds_per_connect, *pid))
    };
    let holders = interval.after.owners.get(&tuple.inode).and_then(|pids| pids.value());
    let holder = holders.into_iter().flatten().find_map(search);
    // Ports in TIME_WAIT have no holder, and idle connections another one than those that are being made.
    let busiest = ports.ns.after.pids.iter().filter_map(search).max_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, seconds_per_connect, pid) = holder.or(busiest)?;
    Some(Search { owner: owner(&interval.after, pid)?, cpu, seconds_per_connect, connects })
}

//! The counters and gauges that TCP's limits are judged by: what each counts, what it proves, and what it does not.

mod host;
mod netns;
mod socket;
mod tcp_ext;

use crate::version::Version;

/// The families, each with its counters.
pub static FAMILIES: &[&[Counter]] = &[tcp_ext::COUNTERS, netns::COUNTERS, socket::COUNTERS, host::COUNTERS];

/// Every counter, family by family.
pub fn all() -> impl Iterator<Item = &'static Counter> {
    FAMILIES.iter().copied().flatten()
}

/// The counter of that name, however its group is written: `TcpExt.ListenOverflows`, `TcpExtListenOverflows` as nstat
/// has it, or `ListenOverflows` alone where only one is called so.
pub fn by_name(name: &str) -> Option<&'static Counter> {
    if let Some(counter) = all().find(|counter| counter.name == name || counter.is_in_nstat_as(name)) {
        return Some(counter);
    }
    let mut short = all().filter(|counter| counter.short_name() == name);
    short.next().filter(|_| short.next().is_none())
}

/// A counter or gauge.
#[derive(Debug)]
pub struct Counter {
    /// Its name, with the group as `tcproof check` shows it: `TcpExt.ListenOverflows`, `tcp_info.tcpi_rtt`.
    pub name: &'static str,
    /// Where it is read: `/proc/net/netstat`, `sock_diag INET_DIAG_INFO`.
    pub place: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// What has one of its own.
    pub scope: Scope,
    /// The first kernel that has it; [`Version::ALWAYS`] when that is older than any kernel here.
    pub since: Version,
    /// What it counts.
    pub counts: &'static str,
    /// The kernel's functions that count it: `net/ipv4/tcp_input.c:tcp_conn_request`.
    pub counted_by: &'static [&'static str],
    /// What it proves when it grows, or is high.
    pub proves: &'static str,
    /// What it does not prove, though it is often taken for it.
    pub does_not_prove: &'static str,
    /// Where the same can be seen for one socket; empty where it can't.
    pub per_socket: &'static str,
}

/// Whether a counter only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It counts events since it was made: only its growth says something.
    Counter,
    /// It is a state, which may fall.
    Gauge,
}

/// What has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each network namespace.
    Namespace,
    /// The kernel: the same number in every namespace.
    Global,
    /// Each socket.
    Socket,
    /// Each network device.
    Device,
    /// Each control group.
    Cgroup,
}

impl Counter {
    /// The name without its group.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, short)| short)
    }

    /// nstat writes group and name without a dot between them.
    fn is_in_nstat_as(&self, name: &str) -> bool {
        let parts = self.name.split_once('.');
        parts.is_some_and(|(group, short)| name.strip_prefix(group).is_some_and(|rest| rest == short))
    }
}

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
/// has it, or `ListenOverflows` alone where only one is called so. A blank stands for a dot, and what follows " of " is
/// its subject: `softnet_stat dropped of CPU 1` is how a finding names it.
pub fn by_name(name: &str) -> Option<&'static Counter> {
    let mut called = called(name);
    called.next().filter(|_| called.next().is_none())
}

/// All that a name may mean: `drop` alone is no counter's name, but the end of some.
pub fn called(name: &str) -> impl Iterator<Item = &'static Counter> {
    let name = name.split_once(" of ").map_or(name, |(name, _)| name).replace(' ', ".");
    let exact = all().find(|counter| counter.name == name || counter.is_in_nstat_as(&name));
    all().filter(move |counter| match exact {
        Some(exact) => counter.name == exact.name,
        None => counter.ends_in(&name),
    })
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
    /// Whether it grows on every healthy host: what it counted since boot is no sign of anything.
    pub is_ordinary: bool,
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
    /// What the counters of one group have in common, as a base for each of them.
    const fn of(place: &'static str, kind: Kind, scope: Scope) -> Self {
        Self {
            name: "",
            place,
            kind,
            scope,
            since: Version::ALWAYS,
            is_ordinary: false,
            counts: "",
            counted_by: &[],
            proves: "",
            does_not_prove: "",
            per_socket: "",
        }
    }

    /// The name without its group.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, short)| short)
    }

    /// Whether the name ends so, after a dot.
    fn ends_in(&self, end: &str) -> bool {
        self.name.strip_suffix(end).is_some_and(|group| group.ends_with('.'))
    }

    /// nstat writes group and name without a dot between them.
    fn is_in_nstat_as(&self, name: &str) -> bool {
        let parts = self.name.split_once('.');
        parts.is_some_and(|(group, short)| name.strip_prefix(group).is_some_and(|rest| rest == short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIMITS;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    /// What limits read besides counters and knobs.
    const NO_COUNTERS: &[&str] = &[
        "/proc/PID/fd",
        "/proc/PID/limits",
        "/proc/net/stat/nf_conntrack",
        "/proc/softirqs NET_RX",
        "/proc/stat irq and softirq by CPU",
        "/proc/sys/fs/file-nr",
        "CPU time of ksoftirqd",
        "memory.events",
        "memory.kmem.tcp.*",
        "ring sizes by ethtool netlink",
        "sock_diag (sockets with a local port in the range)",
        "sock_diag CLOSE_WAIT",
        "sock_diag FIN_WAIT2",
        "sock_diag LISTEN",
        "tcp_info",
    ];

    #[test]
    fn names_are_unique_and_have_a_group() {
        let mut names = BTreeSet::new();
        for counter in all() {
            assert!(names.insert(counter.name), "{} twice", counter.name);
            assert!(counter.name.contains('.') && !counter.name.contains(' '), "{}", counter.name);
            assert_eq!(by_name(counter.name).map(|found| found.name), Some(counter.name));
        }
    }

    #[test]
    fn nothing_is_left_unsaid() {
        for Counter { name, place, counts, counted_by, proves, does_not_prove, .. } in all() {
            for text in [place, counts, proves, does_not_prove] {
                assert!(text.len() > 3 && text.trim() == *text, "{name}: {text:?}");
            }
            for text in [counts, proves, does_not_prove] {
                assert!(text.ends_with(['.', '?']) && !text.contains("  "), "{name}: {text:?}");
            }
            assert!(!counted_by.is_empty() && counted_by.iter().all(|place| !place.is_empty()), "{name}");
        }
    }

    #[test]
    fn what_limits_read_is_known() {
        let reads: BTreeSet<&str> = LIMITS.iter().flat_map(|limit| limit.reads).copied().collect();
        let is_knob = |read: &str| ["net.", "fs."].iter().any(|start| read.starts_with(start));
        let is_probe = |read: &str| read.ends_with(" (eBPF)");
        let unknown = reads.iter().filter(|read| by_name(read).is_none() && !is_knob(read) && !is_probe(read));
        let unknown: Vec<_> = unknown.copied().collect();
        assert_eq!(unknown, NO_COUNTERS);
    }

    #[test]
    fn a_name_may_be_written_in_several_ways() {
        let name = |name| by_name(name).map(|counter| counter.name);
        for (written, found) in [
            ("TcpExt.ListenOverflows", "TcpExt.ListenOverflows"),
            ("TcpExtListenOverflows", "TcpExt.ListenOverflows"),
            ("ListenOverflows", "TcpExt.ListenOverflows"),
            ("TcpRetransSegs", "Tcp.RetransSegs"),
            ("TcpTimeoutRehash", "TcpExt.TcpTimeoutRehash"),
            ("IpOutNoRoutes", "Ip.OutNoRoutes"),
            ("sockstat TCP.tw", "sockstat.TCP.tw"),
            ("TCP.tw", "sockstat.TCP.tw"),
            ("tw", "sockstat.TCP.tw"),
            ("SK_MEMINFO_DROPS", "sock_diag.SK_MEMINFO_DROPS"),
            ("tcpi_rtt", "tcp_info.tcpi_rtt"),
            ("nf_conntrack_count", "net.netfilter.nf_conntrack_count"),
            ("softnet_stat dropped of CPU 1", "softnet_stat.dropped"),
            ("drops of queueing disciplines", "qdisc.drops"),
        ] {
            assert_eq!(name(written), Some(found), "{written}");
        }
        // Several are called so, or none: a name is not guessed.
        for written in
            ["entries", "backlog", "table_fulls", "InErrors", "TcpExt", "", ".", "Overflows", "listenoverflows"]
        {
            assert_eq!(name(written), None, "{written}");
        }
        let entries: Vec<_> = called("entries").map(|counter| counter.name).collect();
        assert_eq!(entries, ["nf_conntrack.entries", "arp_cache.entries", "ndisc_cache.entries"]);
    }
}

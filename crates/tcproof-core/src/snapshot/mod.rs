//! What a host looks like at one instant: everything that was read, and why what is missing was not.

mod cgroup;
mod flow;
mod path;
mod sockets;
mod system;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use cgroup::{CgroupMemory, SocketMemory};
pub use flow::{CaState, Flow, FlowSample, IdleFlows, Timer};
pub use path::{
    Channels, Coalesce, CpuTime, Interrupt, Link, LinkSettings, LinkStats, Offloads, PathSystem, Qdisc, Rings, Rss,
    SoftirqCpu, Steering,
};
pub use sockets::{
    CloseWait, CloseWaitBefore, Endpoint, FinWait2, Listener, OpenSocket, PortFold, PortUse, Protocol, Service,
    Sockets, SourcePorts, Tuple, TupleUse,
};
pub use system::{CpuTimes, FileHandles, NeighbourTable, SoftnetCpu, System};

use crate::reading::{Absent, Reading};

/// A network namespace's inode number: its identity as long as it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetnsId(pub u64);

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.0)
    }
}

/// A socket's inode number; zero means that no file holds it (not accepted yet, orphan, TIME_WAIT).
pub type Inode = u64;

/// A process id.
pub type Pid = u32;

/// Everything that was read at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When, since an arbitrary start that all snapshots of one observation share.
    pub at: Duration,
    /// The machine.
    pub host: Host,
    /// What exists once per kernel.
    pub system: System,
    /// What exists once per network namespace.
    pub namespaces: BTreeMap<NetnsId, Netns>,
    /// The processes that a finding may be about; never all of them.
    pub processes: BTreeMap<Pid, Process>,
    /// Who holds a socket, for those inodes that were asked for.
    pub owners: BTreeMap<Inode, Reading<Vec<Pid>>>,
    /// Places that could not be looked into at all, such as another user's namespaces.
    pub unseen: Vec<Unseen>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Page size in bytes: `tcp_mem` and sockstat's `mem` count pages.
    pub page_bytes: u32,
}

/// A place that could not be looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// What it is, for a person: "network namespaces of 41 processes".
    pub what: String,
    /// Why.
    pub why: Absent,
}

/// One network namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Netns {
    /// Its name: the mounted one, the container's or unit's, or the inode's.
    pub name: String,
    /// Whether it is the namespace of the observer itself.
    pub own: bool,
    /// Counters as `Group.Name`, e.g. `TcpExt.ListenOverflows` or `Ip6.InNoRoutes`.
    pub counters: BTreeMap<String, u64>,
    /// Why a file of counters was not read, by its group's file name (`netstat`, `snmp`, `snmp6`).
    pub counters_absent: BTreeMap<String, Absent>,
    /// `/proc/net/sockstat` and `sockstat6`, as `TCP.tw`, `TCP6.inuse`, …
    pub sockstat: Reading<BTreeMap<String, u64>>,
    /// Knobs as written by the kernel, by sysctl key.
    pub knobs: BTreeMap<String, Reading<String>>,
    /// Listening TCP and MPTCP sockets.
    pub listeners: Reading<Vec<Listener>>,
    /// Connection tracking.
    pub conntrack: Conntrack,
    /// Receive and transmit counters of the devices, by name.
    pub devices: Reading<BTreeMap<String, Device>>,
    /// The same devices as route netlink tells of them, with more counters, by name.
    #[serde(default = "path::not_recorded")]
    pub links: Reading<BTreeMap<String, Link>>,
    /// Details of non-listening sockets, where something called for them.
    pub sockets: Sockets,
    /// Processes known to live in it (bounded; for finding owners and naming containers).
    pub pids: Vec<Pid>,
}

impl Default for Netns {
    fn default() -> Self {
        Self {
            name: String::new(),
            own: false,
            counters: BTreeMap::new(),
            counters_absent: BTreeMap::new(),
            sockstat: Reading::Absent(Absent::NotNeeded),
            knobs: BTreeMap::new(),
            listeners: Reading::Absent(Absent::NotNeeded),
            conntrack: Conntrack::default(),
            devices: Reading::Absent(Absent::NotNeeded),
            links: Reading::Absent(Absent::NotNeeded),
            sockets: Sockets::default(),
            pids: Vec::new(),
        }
    }
}

impl Netns {
    /// A counter by its `Group.Name`.
    pub fn counter(&self, name: &str) -> Reading<u64> {
        if let Some(value) = self.counters.get(name) {
            return Reading::Present(*value);
        }
        let file = match name.split_once('.').map(|(group, _)| group) {
            Some("TcpExt" | "IpExt" | "MPTcpExt") => "netstat",
            Some("Ip6" | "Icmp6" | "Udp6") => "snmp6",
            _ => "snmp",
        };
        Reading::Absent(self.counters_absent.get(file).cloned().unwrap_or_else(|| Absent::not_in_kernel(name)))
    }

    /// A value of sockstat, e.g. `TCP.tw`.
    pub fn sockstat(&self, name: &str) -> Reading<u64> {
        self.sockstat.as_ref().and_then(|values| match values.get(name) {
            Some(value) => Reading::Present(*value),
            None => Reading::Absent(Absent::not_in_kernel(format!("{name} in sockstat"))),
        })
    }

    /// A knob's text.
    pub fn knob(&self, key: &str) -> Reading<&str> {
        match self.knobs.get(key) {
            Some(reading) => reading.as_ref().map(String::as_str),
            None => Reading::Absent(Absent::not_in_kernel(key)),
        }
    }

    /// A knob that is one whole number.
    pub fn knob_number(&self, key: &str) -> Reading<i64> {
        self.knob_numbers::<1>(key).map(|[n]| n)
    }

    /// A knob that is `N` whole numbers.
    pub fn knob_numbers<const N: usize>(&self, key: &str) -> Reading<[i64; N]> {
        self.knob(key).and_then(|text| {
            let mut numbers = [0; N];
            let mut words = text.split_ascii_whitespace();
            for slot in &mut numbers {
                match words.next().and_then(|word| word.parse().ok()) {
                    Some(number) => *slot = number,
                    None => {
                        let s = if N == 1 { "" } else { "s" };
                        // A file may hold anything: only its beginning is repeated.
                        let start: String = text.chars().take(40).collect();
                        let expected = format!("{N} whole number{s}, found {start:?}");
                        return Reading::Absent(Absent::Unparsable { place: key.to_string(), expected });
                    }
                }
            }
            Reading::Present(numbers)
        })
    }
}

/// Connection tracking of one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conntrack {
    /// Entries now (`nf_conntrack_count`).
    pub count: Reading<u64>,
    /// Entries allowed in each namespace (`nf_conntrack_max`: one global value).
    pub max: Reading<u64>,
    /// Hash buckets, shared by all namespaces.
    pub buckets: Reading<u64>,
    /// `/proc/net/stat/nf_conntrack`, summed over CPUs: `drop`, `early_drop`, `insert_failed`, `chaintoolong`, …
    pub stat: Reading<BTreeMap<String, u64>>,
}

impl Default for Conntrack {
    fn default() -> Self {
        let absent = || Absent::not_in_kernel("connection tracking in this namespace");
        Self {
            count: Reading::Absent(absent()),
            max: Reading::Absent(absent()),
            buckets: Reading::Absent(absent()),
            stat: Reading::Absent(absent()),
        }
    }
}

/// One network device's counters (`/proc/net/dev`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Packets received.
    pub rx_packets: u64,
    /// Receive drops as the device counts them (for veth: the receiver's full backlog).
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Transmit drops.
    pub tx_dropped: u64,
}

/// A process that a finding may be about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Name as the kernel has it.
    pub comm: String,
    /// Command line, empty for kernel threads.
    pub cmdline: Vec<String>,
    /// Control group path (v2, else the v1 hierarchy that systemd names).
    pub cgroup: Reading<String>,
    /// Open descriptors.
    pub fds: Reading<u64>,
    /// Soft limit of open descriptors (`RLIMIT_NOFILE`).
    pub fd_limit: Reading<u64>,
    /// Hard limit of open descriptors.
    pub fd_hard_limit: Reading<u64>,
    /// CPU time spent in the kernel so far.
    pub kernel_time: Reading<Duration>,
    /// CPU time spent in the program so far.
    pub user_time: Reading<Duration>,
    /// Threads.
    pub threads: Reading<u32>,
}

impl Process {
    /// The systemd unit or container that the control group's path names.
    pub fn unit(&self) -> Option<String> {
        self.cgroup.value().and_then(|path| unit_of(path))
    }
}

/// The systemd unit (`api.service`) or container (`docker 3f2a…`) that a control group's path names.
pub fn unit_of(cgroup: &str) -> Option<String> {
    let is_id = |s: &str| s.len() >= 12 && s.bytes().all(|b| b.is_ascii_hexdigit());
    for part in cgroup.rsplit('/') {
        // containers: `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, or plain `docker/ID`
        let name = part.strip_suffix(".scope").unwrap_or(part);
        if let Some((runtime, id)) = name.rsplit_once('-').filter(|(_, id)| is_id(id)) {
            return Some(format!("{runtime} {}", &id[..12]));
        }
        if is_id(name) {
            return Some(format!("container {}", &name[..12]));
        }
        if part.ends_with(".service") || part.ends_with(".socket") || part.ends_with(".scope") {
            return Some(part.to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_containers_are_named_from_the_cgroup_path() {
        let id = "3f2a9c1b7d4e8f00aabbccddeeff00112233445566778899aabbccddeeff0011";
        for (path, unit) in [
            ("/system.slice/api.service", Some("api.service")),
            ("/system.slice/api.service/worker", Some("api.service")),
            ("/user.slice/user-0.slice/session-3.scope", Some("session-3.scope")),
            (&*format!("/system.slice/docker-{id}.scope"), Some("docker 3f2a9c1b7d4e")),
            (&*format!("/docker/{id}"), Some("container 3f2a9c1b7d4e")),
            (&*format!("/kubepods.slice/x.slice/cri-containerd-{id}.scope"), Some("cri-containerd 3f2a9c1b7d4e")),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(unit_of(path).as_deref(), unit, "{path}");
        }
    }

    #[test]
    fn a_missing_counter_says_whether_the_file_or_the_counter_is_missing() {
        let mut ns = Netns::default();
        assert_eq!(ns.counter("TcpExt.X"), Reading::Absent(Absent::not_in_kernel("TcpExt.X")));
        let why = Absent::Permission { what: "/proc/net/netstat".into(), needs: "root".into() };
        ns.counters_absent.insert("netstat".into(), why.clone());
        assert_eq!(ns.counter("TcpExt.X"), Reading::Absent(why));
        assert_eq!(ns.counter("Tcp.X"), Reading::Absent(Absent::not_in_kernel("Tcp.X")));
    }

    #[test]
    fn knobs_are_numbers_or_say_what_they_are_instead() {
        let mut ns = Netns::default();
        ns.knobs.insert("a".into(), Reading::Present("32768\t60999".into()));
        assert_eq!(ns.knob_numbers("a"), Reading::Present([32768, 60999]));
        assert_eq!(ns.knob_number("a"), Reading::Present(32768));
        assert!(matches!(ns.knob_numbers::<3>("a"), Reading::Absent(Absent::Unparsable { .. })));
        assert!(matches!(ns.knob_number("b"), Reading::Absent(Absent::NotInKernel { .. })));
    }
}

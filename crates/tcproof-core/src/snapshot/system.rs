//! What exists once per kernel, whichever namespace reads it.

use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::path::not_recorded;
use super::{CgroupMemory, PathSystem};
use crate::reading::{Absent, Reading};

/// Readings that are the same in every namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// `/proc/net/softnet_stat`, a row per online CPU.
    pub softnet: Reading<Vec<SoftnetCpu>>,
    /// `net.core.netdev_max_backlog`; absent in a namespace that is not the initial one.
    pub netdev_max_backlog: Reading<u64>,
    /// `net.ipv4.tcp_mem`: low, pressure, hard limit, in pages.
    pub tcp_mem: Reading<[u64; 3]>,
    /// Pages charged to TCP (sockstat's `mem`; lags by up to 256 pages a CPU).
    pub tcp_pages: Reading<u64>,
    /// `net.ipv4.tcp_max_orphans`.
    pub tcp_max_orphans: Reading<u64>,
    /// Orphaned sockets (sockstat's `orphan`).
    pub orphans: Reading<u64>,
    /// `/proc/sys/fs/file-nr`.
    pub files: Reading<FileHandles>,
    /// IPv4 neighbours (`/proc/net/stat/arp_cache`, `net.ipv4.neigh.default.gc_thresh3`).
    pub arp: NeighbourTable,
    /// IPv6 neighbours (`/proc/net/stat/ndisc_cache`, `net.ipv6.neigh.default.gc_thresh3`).
    pub ndisc: NeighbourTable,
    /// CPU time of the whole host.
    pub cpu: Reading<CpuTimes>,
    /// The memory of the control groups whose processes live in the observed namespaces, by path.
    #[serde(default = "not_recorded")]
    pub cgroups: Reading<BTreeMap<String, CgroupMemory>>,
    /// What packets pass on their way.
    #[serde(default = "PathSystem::not_recorded")]
    pub path: PathSystem,
}

impl Default for System {
    fn default() -> Self {
        fn absent<T>() -> Reading<T> {
            Reading::Absent(Absent::NotNeeded)
        }
        Self {
            softnet: absent(),
            netdev_max_backlog: absent(),
            tcp_mem: absent(),
            tcp_pages: absent(),
            tcp_max_orphans: absent(),
            orphans: absent(),
            files: absent(),
            arp: NeighbourTable::default(),
            ndisc: NeighbourTable::default(),
            cpu: absent(),
            cgroups: absent(),
            path: PathSystem::default(),
        }
    }
}

/// One CPU's row of softnet_stat. The kernel keeps 32-bit counters: they wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftnetCpu {
    /// The CPU (column 13 since 5.10; before, the row's number).
    pub cpu: u32,
    /// Packets processed.
    pub processed: u32,
    /// Packets dropped because the CPU's backlog was full, or by the flow limit.
    pub dropped: u32,
    /// Times the softirq stopped with work left.
    pub time_squeeze: u32,
    /// Drops by the flow limit alone (since 3.11).
    pub flow_limit: u32,
    /// Packets waiting now (since 5.10).
    pub backlog: Option<u32>,
}

/// Open file handles of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHandles {
    /// Allocated now.
    pub open: u64,
    /// `fs.file-max`.
    pub max: u64,
}

/// One family's neighbour table, shared by all namespaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourTable {
    /// Entries of all namespaces.
    pub entries: Reading<u64>,
    /// Allocations refused because the table was full.
    pub table_fulls: Reading<u64>,
    /// `gc_thresh3`: the hard limit; visible in the initial namespace only.
    pub gc_thresh3: Reading<u64>,
}

impl Default for NeighbourTable {
    fn default() -> Self {
        Self {
            entries: Reading::Absent(Absent::NotNeeded),
            table_fulls: Reading::Absent(Absent::NotNeeded),
            gc_thresh3: Reading::Absent(Absent::NotNeeded),
        }
    }
}

/// CPU time of all CPUs since boot (`/proc/stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTimes {
    /// In programs.
    pub user: Duration,
    /// In the kernel, without interrupts.
    pub system: Duration,
    /// In soft interrupts.
    pub softirq: Duration,
    /// Idle.
    pub idle: Duration,
}

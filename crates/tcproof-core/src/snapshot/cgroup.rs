//! Memory that control groups allow their sockets.

use alloc::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::NetnsId;
use crate::reading::Reading;

/// The memory of one control group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CgroupMemory {
    /// Network namespaces that processes of the group, or of a group below it, live in.
    pub namespaces: BTreeSet<NetnsId>,
    /// What the kernel says of it.
    pub memory: Reading<SocketMemory>,
}

/// What a group's sockets use and may use, in bytes. Both versions count a group together with those below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketMemory {
    /// Version 1: a limit for TCP alone.
    V1 {
        /// `memory.kmem.tcp.usage_in_bytes`.
        usage: u64,
        /// `memory.kmem.tcp.max_usage_in_bytes`: the most since the group was made, or since somebody wrote to the file.
        most: u64,
        /// `memory.kmem.tcp.limit_in_bytes`; `None` when there is none, which is the default.
        limit: Option<u64>,
        /// `memory.kmem.tcp.failcnt`.
        refused: u64,
    },
    /// Version 2: sockets are part of the group's memory.
    V2 {
        /// `memory.current`.
        current: u64,
        /// `sock` of `memory.stat`.
        sock: u64,
        /// `memory.high`; `None` for `max`.
        high: Option<u64>,
        /// `memory.max`; `None` for `max`.
        max: Option<u64>,
        /// `high` of `memory.events`: how often the group was slowed down because of `memory.high`.
        high_events: u64,
        /// `max` of `memory.events`: how often the group was about to exceed `memory.max`.
        max_events: u64,
        /// `sock_throttled` of `memory.events` (seen on 7.2, not on 6.12): how often sockets were held back.
        throttled: Option<u64>,
    },
}

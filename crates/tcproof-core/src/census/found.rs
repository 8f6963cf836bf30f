//! What a census found, as people are shown it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Method;
use super::counts::Counts;
use super::place::{End, PortRange};
use super::tally::{Lost, NetnsTally};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Host, Listener, NetnsId, Pid, Tuple, Unseen};
use crate::states::State;

/// What sockstat said of a namespace, before and after the walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockstat {
    /// `TCP: inuse` and `TCP6: inuse`: full sockets in the tables, listening ones and orphans among them; not TIME_WAIT,
    /// not half-open requests.
    pub inuse: u64,
    /// `TCP: tw`: TIME_WAIT, and what is kept of orphans in FIN_WAIT2; both families.
    pub tw: u64,
}

/// Between what the walk counted and what sockstat says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `inuse` or `tw`.
    pub value: String,
    /// By the walk.
    pub counted: u64,
    /// By sockstat, before the walk and after it.
    pub sockstat: (u64, u64),
}

/// The sockets of one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetnsCensus {
    /// Its name.
    pub name: String,
    /// What the walk counted, with the listeners.
    pub counted: Reading<NetnsTally>,
    /// Where nothing was counted: states whose sockets are known all the same. The others are not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<State, u32>,
    /// There too: connections with a full socket, from ESTABLISHED to LAST_ACK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// sockstat before and after the walk.
    pub sockstat: Reading<(Sockstat, Sockstat)>,
    /// MPTCP sockets by state: each stands above its subflows, which are TCP sockets and counted as such.
    pub mptcp: Reading<Counts>,
    /// Where `connect(2)` takes its ports from.
    pub ephemeral: Reading<PortRange>,
    /// How many of those it can have: not the reserved ones, not those listened on.
    pub usable_ports: Option<u64>,
    /// Why the listeners could not be read, if so.
    pub listeners_absent: Option<Absent>,
}

impl NetnsCensus {
    /// Where the walk and sockstat disagree: the count lies outside what sockstat said before and after.
    pub fn differences(&self) -> Vec<Difference> {
        let (Reading::Present(counted), Reading::Present((before, after))) = (&self.counted, &self.sockstat) else {
            return Vec::new();
        };
        let all = counted.states.total();
        let tw = u64::from(counted.states.of(State::TimeWait)) + u64::from(counted.small.of(State::FinWait2));
        let small = tw + u64::from(counted.small.of(State::SynRecv));
        let of = |value: &str, counted: u64, before: u64, after: u64| {
            let agrees = (before.min(after)..=before.max(after)).contains(&counted);
            (!agrees).then(|| Difference { value: value.into(), counted, sockstat: (before, after) })
        };
        [of("inuse", all.saturating_sub(small), before.inuse, after.inuse), of("tw", tw, before.tw, after.tw)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A listener and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRow {
    /// Its namespace.
    pub netns: NetnsId,
    /// The socket.
    pub listener: Listener,
    /// Who holds it.
    pub owners: Vec<Pid>,
}

/// The fullest listeners, then those that dropped most.
pub fn fullest(listeners: &mut [(NetnsId, &Listener)]) {
    // Parts of a million that are in use, for an order without floats.
    let fill = |l: &Listener| u64::from(l.queue) * 1_000_000 / u64::from(l.backlog).max(1);
    listeners
        .sort_by_key(|(netns, l)| (Reverse(fill(l)), Reverse(l.drops.value().copied()), l.local, *netns, l.cookie));
}

/// A destination, its sockets, and how much of the ports it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRow {
    /// Its namespace.
    pub netns: NetnsId,
    /// Which end is the service.
    pub service: End,
    /// Who connects to what. An unspecified source stands for "of any".
    pub tuple: Tuple,
    /// Its sockets.
    pub states: Counts,
    /// Sockets whose state is not known, and that are in none of those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u32,
    /// Ports it takes, of [`NetnsCensus::usable_ports`]: one for each connection, where the client is here.
    pub ports: Option<u64>,
    /// Who holds one of the sockets.
    pub owners: Vec<Pid>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl DestinationRow {
    /// All of its sockets.
    pub fn sockets(&self) -> u64 {
        self.states.total().saturating_add(self.others.into())
    }
}

/// A process and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Its id.
    pub pid: Pid,
    /// Name as the kernel has it; empty once it is gone.
    pub comm: String,
    /// Its control group.
    pub cgroup: Reading<String>,
    /// Descriptors of TCP sockets, by the state of the socket; `None` where it was met as an owner only.
    pub states: Option<Counts>,
}

/// A control group and the sockets made in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRow {
    /// Its id: the inode of its directory; 0 where only its path is known.
    pub id: u64,
    /// Its path, where it can be found.
    pub path: Option<String>,
    /// Its sockets: of full ones only, since a small one has none.
    pub states: Counts,
}

/// Sockets that are missing somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// In which namespace.
    pub netns: NetnsId,
    /// How many.
    pub sockets: u64,
    /// Why.
    pub why: Lost,
}

/// Rows of a table: the first of them, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top<T> {
    /// The largest first.
    pub rows: Vec<T>,
    /// Of all.
    pub of: usize,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), of: 0 }
    }
}

/// Everything that one census found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// The machine.
    pub host: Host,
    /// What counted.
    pub method: Method,
    /// Why that one.
    pub because: String,
    /// Those that were tried before and could not, and why.
    pub refused: Vec<(Method, Absent)>,
    /// How long counting took, all namespaces together.
    pub elapsed: Duration,
    /// By namespace.
    pub namespaces: BTreeMap<NetnsId, NetnsCensus>,
    /// Listeners, the fullest first.
    pub listeners: Top<ListenerRow>,
    /// Destinations, those with most sockets first.
    pub destinations: Top<DestinationRow>,
    /// Control groups.
    pub cgroups: Top<CgroupRow>,
    /// Processes: those that hold most where all were counted, else the owners of what is shown.
    pub processes: Top<ProcessRow>,
    /// By what the descriptors of all processes were counted, where they were.
    pub holders: Option<Method>,
    /// What was not counted exactly.
    pub truncated: Vec<Truncated>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

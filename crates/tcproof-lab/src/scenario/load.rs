//! Loads of a scenario.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flow::{Reads, Socket, Writes};
use super::values::{Count, MAX_RATE, Rate, Time};
use super::{CLIENT, SERVER, server};

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// Connects at a rate that does not depend on the answers (open loop), and is done with each connection soon.
    Connect,
    /// Opens `count` connections and keeps them.
    Hold,
    /// Connects, sends a request, closes its sending side and waits for the answer.
    HalfClose,
    /// Sends bare SYNs with spoofed sources.
    SpoofedSyn,
    /// Opens `count` connections (one, if not said) and writes as much as it can.
    Uploads,
    /// Opens `count` connections (one, if not said) and reads all that comes.
    Downloads,
}

impl LoadKind {
    /// Whether it moves data in bulk.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Self::Uploads | Self::Downloads)
    }

    /// Whether it keeps `count` connections.
    pub(crate) fn keeps(self) -> bool {
        self == Self::Hold || self.is_bulk()
    }
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closes {
    /// The client, with a FIN: TIME_WAIT is its.
    #[default]
    Client,
    /// The server; the client waits for it.
    Server,
    /// The client, with a RST: no TIME_WAIT anywhere.
    Reset,
}

/// Whether a load binds its sockets to the source address itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bind {
    /// Only where `from` names an address that is not the first of the interface.
    #[default]
    None,
    /// `bind(2)` with port 0 before `connect(2)`: the port is taken for all destinations.
    BeforeConnect,
    /// `bind(2)` with IP_BIND_ADDRESS_NO_PORT: the port is chosen by `connect(2)`, for one destination.
    NoPort,
}

/// A load process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    /// What the scenario calls it.
    pub name: String,
    /// What it does.
    pub kind: LoadKind,
    /// Connections (or SYNs) a second. Bulk loads start all at once if it is not said.
    pub rate: Option<Rate>,
    /// How many connections it keeps (`hold`) or starts at most.
    pub count: Option<Count>,
    /// How long it runs; the whole scenario if not said.
    #[serde(rename = "for")]
    pub length: Option<Time>,
    /// Bursts instead of an even rate: everything due is started together, once in this time.
    pub every: Option<Time>,
    /// When it starts, after the others.
    pub after: Option<Time>,
    /// Addresses it connects from, in turn.
    #[serde(default)]
    pub from: Vec<IpAddr>,
    /// Destinations, in turn.
    #[serde(default = "to")]
    pub to: Vec<SocketAddr>,
    /// How it binds.
    #[serde(default)]
    pub bind: Bind,
    /// Who ends a connection.
    #[serde(default)]
    pub closes: Closes,
    /// Whether it sends a request and waits for the answer before it is done.
    #[serde(default)]
    pub request: bool,
    /// How long it waits for the handshake, and then for the answer.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// Asks for Multipath TCP.
    #[serde(default)]
    pub mptcp: bool,
    /// Options of its sockets.
    #[serde(default)]
    pub socket: Socket,
    /// How `downloads` reads.
    #[serde(default)]
    pub reads: Reads,
    /// How `uploads` writes.
    #[serde(default)]
    pub writes: Writes,
}

impl Load {
    /// Connections (or SYNs) a second.
    pub(crate) fn per_second(&self) -> u32 {
        self.rate.map_or(MAX_RATE, |rate| rate.0)
    }

    /// How many connections it keeps, or starts at most.
    pub(crate) fn count(&self) -> Option<u32> {
        self.count.map(|count| count.0).or(self.kind.is_bulk().then_some(1))
    }
}

fn to() -> Vec<SocketAddr> {
    vec![SocketAddr::from((SERVER, server::port()))]
}

fn timeout() -> Time {
    Time(Duration::from_secs(3))
}

pub(super) fn check(load: &Load) -> Result<(), String> {
    let name = &load.name;
    load.socket.check().and_then(|()| load.writes.check()).map_err(|error| format!("load {name:?}: {error}"))?;
    if load.rate.is_none() && !load.kind.is_bulk() {
        return Err(format!("load {name:?}: its kind needs `rate`"));
    }
    if load.kind != LoadKind::Downloads && load.reads != Reads::default() {
        return Err(format!("load {name:?}: only `downloads` reads"));
    }
    if load.kind != LoadKind::Uploads && load.writes != Writes::default() {
        return Err(format!("load {name:?}: only `uploads` writes"));
    }
    if load.kind == LoadKind::Hold && load.count.is_none() {
        return Err(format!("load {name:?}: `hold` needs `count`"));
    }
    if load.to.is_empty() {
        return Err(format!("load {name:?}: `to` names no destination"));
    }
    let on_both_sides = |ip: IpAddr| ip == SERVER || load.to.iter().any(|to| to.ip() == ip);
    if load.to.iter().any(|to| to.ip() == CLIENT) || load.from.iter().any(|from| on_both_sides(*from)) {
        return Err(format!("load {name:?}: an address can't be the client's and the server's"));
    }
    // Nothing may leave the lab.
    let mut addresses = load.from.iter().copied().chain(load.to.iter().map(SocketAddr::ip));
    match addresses.find(|address| !is_of_the_lab(*address)) {
        Some(address) => Err(format!(
            "load {name:?}: {address} is not of the lab, which has 10.77.0.0/16, fd77::/64, \
             and 10.78.0.0/16 for clients that the server has no route to"
        )),
        None => Ok(()),
    }
}

fn is_of_the_lab(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 77 | 78, ..]),
        IpAddr::V6(v6) => v6.segments()[..4] == [0xfd77, 0, 0, 0],
    }
}

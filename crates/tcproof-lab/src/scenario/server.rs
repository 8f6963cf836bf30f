//! Servers of a scenario.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::flow::{Reads, Socket, Writes};
use super::values::{Bytes, Count, Rate, Time};

/// What a server does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Accepts at once, answers requests, closes when its peer has.
    Accepts,
    /// Listens and never accepts.
    Stalls,
    /// Accepts at most `rate` a second.
    Paced,
    /// Accepts at once, but not at all for `pause.for` in every `pause.every`.
    Bursty,
    /// Never closes, also not after its peer has.
    Leaks,
    /// Closes first, as soon as it has accepted.
    ClosesFirst,
    /// Answers and closes only `delay` after its peer has sent everything.
    SlowResponse,
    /// Accepts at once and reads all that comes.
    Sinks,
    /// Accepts at once and writes as much as it can.
    Sources,
}

impl ServerKind {
    /// Whether it moves data in bulk.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Self::Sinks | Self::Sources)
    }
}

/// A server process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Server {
    /// What the scenario calls it.
    pub name: String,
    /// What it does.
    pub kind: ServerKind,
    /// Where it listens.
    #[serde(default = "any_address")]
    pub listen: IpAddr,
    /// The port.
    #[serde(default = "port")]
    pub port: u16,
    /// What it passes to `listen(2)`.
    #[serde(default = "backlog")]
    pub backlog: u32,
    /// Whether its command line shows the backlog, as many servers' do.
    #[serde(default)]
    pub announce: bool,
    /// Connections a second that a paced server accepts.
    pub rate: Option<Rate>,
    /// When a bursty server does not accept.
    pub pause: Option<Pause>,
    /// How long a slow response takes.
    pub delay: Option<Time>,
    /// Gives up root's rights once it is in its namespace: the host's own limits do not bind a privileged process.
    #[serde(default)]
    pub unprivileged: bool,
    /// Its limit of open descriptors.
    pub nofile: Option<Count>,
    /// Bytes of TCP memory that a control group of its own (version 1) allows it.
    pub tcp_memory: Option<Bytes>,
    /// Shares its port with others (SO_REUSEPORT).
    #[serde(default)]
    pub reuseport: bool,
    /// Speaks Multipath TCP.
    #[serde(default)]
    pub mptcp: bool,
    /// Options of its listener, which its connections inherit.
    #[serde(default)]
    pub socket: Socket,
    /// How `sinks` reads.
    #[serde(default)]
    pub reads: Reads,
    /// How `sources` writes.
    #[serde(default)]
    pub writes: Writes,
}

fn any_address() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

pub(super) fn port() -> u16 {
    8080
}

fn backlog() -> u32 {
    4096
}

/// A recurring pause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// One in every …
    pub every: Time,
    /// … for so long.
    #[serde(rename = "for")]
    pub length: Time,
}

pub(super) fn check(server: &Server) -> Result<(), String> {
    let named = |error: String| format!("server {:?}: {error}", server.name);
    server.socket.check().and_then(|()| server.writes.check()).map_err(named)?;
    let missing = |field| Err(format!("server {:?}: its kind needs `{field}`", server.name));
    match server.kind {
        ServerKind::Paced if server.rate.is_none() => missing("rate"),
        ServerKind::Bursty if server.pause.is_none() => missing("pause"),
        ServerKind::SlowResponse if server.delay.is_none() => missing("delay"),
        kind if kind != ServerKind::Sinks && server.reads != Reads::default() => {
            Err(named("only `sinks` reads".into()))
        }
        kind if kind != ServerKind::Sources && server.writes != Writes::default() => {
            Err(named("only `sources` writes".into()))
        }
        _ => Ok(()),
    }
}

//! Sockets as `sock_diag` shows them: listeners one by one, the rest folded into what a limit asks.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{AddrParseError, IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inode;
use crate::reading::{Absent, Reading};

/// An address and port. IPv4-mapped IPv6 addresses are IPv4: they use the same ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint with a v4-mapped address made IPv4.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr: addr.to_canonical(), port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(at: SocketAddr) -> Self {
        Self::new(at.ip(), at.port())
    }
}

impl FromStr for Endpoint {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<SocketAddr>().map(Self::from)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

// As text, so that it can be a key in JSON.
impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("expected an address and port"))
    }
}

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// Multipath TCP: the application holds the MPTCP socket, the queue is its first subflow's.
    Mptcp,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub local: Endpoint,
    /// The device it is bound to, by index; 0 for any.
    pub device: u32,
    /// Protocol.
    pub protocol: Protocol,
    /// Identity for as long as the socket lives: a new listener on the same port has a new cookie.
    pub cookie: u64,
    /// Inode, to find its owner by.
    pub inode: Inode,
    /// User that made it.
    pub uid: u32,
    /// Connections waiting for `accept(2)` (`sk_ack_backlog`).
    pub queue: u32,
    /// What `listen(2)` was granted: min(argument, somaxconn then) (`sk_max_ack_backlog`). The queue is full at one more.
    pub backlog: u32,
    /// Handshakes this listener dropped since it was made (`sk_drops`; 32 bits, wraps).
    pub drops: Reading<u32>,
    /// Control group (v2) of the process that made it (since 5.9).
    pub cgroup_id: Option<u64>,
}

impl Listener {
    /// One as `listen(2)` leaves it: nobody waits, nothing was dropped, and who holds it is not known.
    pub fn new(local: Endpoint, backlog: u32) -> Self {
        Self {
            local,
            device: 0,
            protocol: Protocol::Tcp,
            cookie: 0,
            inode: 0,
            uid: 0,
            queue: 0,
            backlog,
            drops: Reading::Present(0),
            cgroup_id: None,
        }
    }

    /// How many connections its queue takes: it is full at one more than the backlog (`sk_acceptq_is_full`, include/net/sock.h).
    pub fn capacity(&self) -> u64 {
        u64::from(self.backlog) + 1
    }
}

/// Details of non-listening sockets. `Absent(NotNeeded)` where a cheap counter showed that there is nothing to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sockets {
    /// Half-open connections (SYN_RECV) by the local endpoint that a SYN was sent to.
    pub half_open: Reading<BTreeMap<Endpoint, u32>>,
    /// Connections whose peer has closed and whose application has not, by service.
    pub close_wait: Reading<BTreeMap<Service, CloseWait>>,
    /// When those were looked at, where that was before the snapshot: a patient watch looks seldom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_wait_at: Option<Duration>,
    /// What such a watch had found the time before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_wait_before: Option<CloseWaitBefore>,
    /// Connections waiting for their peer's FIN.
    pub fin_wait2: Reading<FinWait2>,
    /// Use of the ephemeral ports.
    pub ports: Reading<PortUse>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self::absent(&Absent::NotNeeded)
    }
}

impl Sockets {
    /// None of it was read, for one reason.
    pub fn absent(why: &Absent) -> Self {
        Self {
            half_open: Reading::Absent(why.clone()),
            close_wait: Reading::Absent(why.clone()),
            close_wait_at: None,
            close_wait_before: None,
            fin_wait2: Reading::Absent(why.clone()),
            ports: Reading::Absent(why.clone()),
        }
    }
}

/// The side of a connection that stays the same from one connection to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// This host listens there.
    Local(Endpoint),
    /// This host connects to it.
    Remote(Endpoint),
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(endpoint) => endpoint.fmt(f),
            Self::Remote(endpoint) => write!(f, "→{endpoint}"),
        }
    }
}

impl Serialize for Service {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (remote, text) = match text.strip_prefix('→') {
            Some(rest) => (true, rest),
            None => (false, &*text),
        };
        let addr = SocketAddr::from_str(text).map_err(|_| serde::de::Error::custom("expected an address and port"))?;
        let endpoint = Endpoint { addr: addr.ip(), port: addr.port() };
        Ok(if remote { Self::Remote(endpoint) } else { Self::Local(endpoint) })
    }
}

/// CLOSE_WAIT sockets of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseWait {
    /// Cookies of those an application holds, sorted: tells which stayed and which left between two looks.
    pub held: Vec<u64>,
    /// Those without an inode: still in the accept queue, so nobody could have closed them.
    pub unaccepted: u32,
    /// Longest time since data came in on one of the held.
    pub oldest: Duration,
    /// One of the held sockets' inodes, to find the owner by.
    pub inode: Inode,
    /// Control group of that socket.
    pub cgroup_id: Option<u64>,
}

/// The look at CLOSE_WAIT sockets before the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseWaitBefore {
    /// When.
    pub at: Duration,
    /// What was found.
    pub found: BTreeMap<Service, CloseWait>,
}

/// FIN_WAIT2 sockets of a namespace, by what the kernel keeps for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinWait2 {
    /// Small sockets counted in sockstat's `tw`: orphans with `tcp_fin_timeout` ≤ 60 s left.
    pub small: u32,
    /// Full sockets without an inode, counted as orphans.
    pub orphans: u32,
    /// Sockets an application still holds (it called `shutdown(2)`).
    pub held: u32,
}

/// Source address, and destination address and port: within it every connection needs a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination.
    pub destination: Endpoint,
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.source, self.destination)
    }
}

impl Serialize for Tuple {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tuple {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('→').and_then(|(source, destination)| {
            let to = SocketAddr::from_str(destination).ok()?;
            Some(Self { source: source.parse().ok()?, destination: Endpoint { addr: to.ip(), port: to.port() } })
        });
        parsed.ok_or_else(|| serde::de::Error::custom("expected source→destination:port"))
    }
}

/// Ports of one tuple.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TupleUse {
    /// All of them: one connection is one port.
    pub ports: u32,
    /// Those in TIME_WAIT.
    pub time_wait: u32,
    /// Those still connecting (SYN_SENT).
    pub connecting: u32,
    /// A socket that a process holds, to find the owner by; 0 when none was seen.
    pub inode: Inode,
    /// That socket's control group.
    pub cgroup_id: Option<u64>,
}

/// Ports of one source address, whatever the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePorts {
    /// Sockets.
    pub sockets: u32,
    /// Distinct local ports among them.
    pub distinct: u32,
    /// Destinations among them.
    pub destinations: u32,
}

/// Use of the ephemeral ports in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortUse {
    /// By tuple; only tuples that use at least [`PortUse::KEPT`] ports are kept, so a busy server's clients cost no memory.
    pub tuples: BTreeMap<Tuple, TupleUse>,
    /// By source address.
    pub sources: BTreeMap<IpAddr, SourcePorts>,
    /// Sockets folded in.
    pub sockets: u32,
}

impl PortUse {
    /// Tuples that use fewer ports than this are dropped at the end: they are near no limit of any range.
    pub const KEPT: u32 = 8;
}

/// One socket whose local port lies in the ephemeral range, as the fold takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// Local endpoint.
    pub local: Endpoint,
    /// Remote endpoint.
    pub remote: Endpoint,
    /// In TIME_WAIT.
    pub time_wait: bool,
    /// In SYN_SENT.
    pub connecting: bool,
    /// Inode, 0 for none.
    pub inode: Inode,
    /// Control group.
    pub cgroup_id: Option<u64>,
}

/// Folds a dump into [`PortUse`] socket by socket, so that a dump of any length costs no list of it.
#[derive(Debug, Default)]
pub struct PortFold {
    tuples: BTreeMap<Tuple, TupleUse>,
    used: BTreeMap<IpAddr, (SourcePorts, Box<[u64]>)>,
    sockets: u32,
}

impl PortFold {
    /// Counts one socket.
    pub fn add(&mut self, socket: &OpenSocket) {
        let tuple = Tuple { source: socket.local.addr, destination: socket.remote };
        let entry = self.tuples.entry(tuple).or_default();
        let first = entry.ports == 0;
        entry.ports += 1;
        entry.time_wait += u32::from(socket.time_wait);
        entry.connecting += u32::from(socket.connecting);
        if socket.inode != 0 {
            entry.inode = socket.inode;
            entry.cgroup_id = socket.cgroup_id;
        }
        let (source, bits) =
            self.used.entry(socket.local.addr).or_insert_with(|| (SourcePorts::default(), vec![0; 1024].into()));
        source.sockets += 1;
        source.destinations += u32::from(first);
        let (word, bit) = (usize::from(socket.local.port) / 64, socket.local.port % 64);
        if bits[word] & (1 << bit) == 0 {
            bits[word] |= 1 << bit;
            source.distinct += 1;
        }
        self.sockets += 1;
    }

    /// What it all adds up to.
    pub fn finish(mut self) -> PortUse {
        self.tuples.retain(|_, tuple| tuple.ports >= PortUse::KEPT);
        PortUse {
            tuples: self.tuples,
            sources: self.used.into_iter().map(|(addr, (ports, _))| (addr, ports)).collect(),
            sockets: self.sockets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn socket(sport: u16, last: u8, dport: u16) -> OpenSocket {
        OpenSocket {
            local: Endpoint::new(Ipv4Addr::new(10, 0, 0, 1).into(), sport),
            remote: Endpoint::new(Ipv4Addr::new(10, 0, 0, last).into(), dport),
            time_wait: sport.is_multiple_of(2),
            connecting: false,
            inode: u64::from(sport),
            cgroup_id: None,
        }
    }

    fn fold(sockets: impl Iterator<Item = OpenSocket>) -> PortUse {
        let mut fold = PortFold::default();
        sockets.for_each(|socket| fold.add(&socket));
        fold.finish()
    }

    #[test]
    fn ports_are_counted_per_tuple_and_distinct_per_source() {
        let ports = fold((1000..1010).flat_map(|p| [socket(p, 2, 80), socket(p, 3, 80)]));
        assert_eq!(ports.sockets, 20);
        assert!(ports.tuples.values().all(|t| t.ports == 10 && t.time_wait == 5));
        assert_eq!(
            ports.sources.values().copied().collect::<Vec<_>>(),
            [SourcePorts { sockets: 20, distinct: 10, destinations: 2 }]
        );
    }

    #[test]
    fn small_tuples_are_not_kept_but_counted_at_their_source() {
        let ports = fold((0..100).map(|n| socket(1000, n, 80)));
        assert!(ports.tuples.is_empty());
        assert_eq!(ports.sources.values().next().map(|s| (s.distinct, s.destinations)), Some((1, 100)));
    }

    #[test]
    fn a_mapped_address_is_ipv4_however_it_comes() {
        let [mapped, plain] = ["[::ffff:10.0.0.1]:80", "10.0.0.1:80"].map(|text| text.parse::<Endpoint>().unwrap());
        assert_eq!(mapped, plain);
        assert_eq!(serde_json::from_str::<Endpoint>("\"[::ffff:10.0.0.1]:80\"").unwrap(), plain);
    }

    #[test]
    fn keys_survive_json() {
        let ports = fold((1000..1010).map(|p| socket(p, 2, 80)));
        let text = serde_json::to_string(&ports).unwrap();
        assert_eq!(serde_json::from_str::<PortUse>(&text).unwrap(), ports);
        let service = Service::Remote(Endpoint::new("::1".parse().unwrap(), 53));
        assert_eq!(serde_json::from_str::<Service>(&serde_json::to_string(&service).unwrap()).unwrap(), service);
    }
}

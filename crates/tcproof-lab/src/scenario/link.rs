//! The way between the two namespaces, as a scenario describes it.
//!
//! Without any of this it is a veth pair, as fast as the kernel. With it, it is a pair of TUN devices and a process of the
//! lab between them, on every kernel alike: netem would need a module that many kernels lack, delays with their timer
//! resolution, and can neither be a PMTU black hole nor change in one step with what the lab measures.

use serde::{Deserialize, Serialize};

use super::Side;
use super::server::Pause;
use super::values::{Bits, Bytes, Share, Time};

/// The MTU of the link's ends.
pub const MTU: u16 = 1500;
/// What IPv6 asks of every link; IPv4 would do with less.
const LEAST_MTU: u16 = 576;

/// A link, or changes to one. What stands in `to-client` or `to-server` is for that direction only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// How long a packet takes, one way.
    pub delay: Option<Time>,
    /// How fast packets leave the queue.
    pub bits_per_second: Option<Bits>,
    /// Bytes that wait for that, at most: what comes then is dropped. A tenth of a second's worth if not said.
    pub queue: Option<Bytes>,
    /// The share of packets that is lost, each by itself.
    pub loss: Option<Share>,
    /// Larger packets are dropped.
    pub mtu: Option<u16>,
    /// The sender of a packet that is too large is told (ICMP); if not, it is a black hole.
    pub icmp: Option<bool>,
    /// Now and then nothing arrives for a while; then all of it does. It ends every period.
    pub stall: Option<Pause>,
    /// Some packets take longer than those after them.
    pub reorder: Option<Reorder>,
    /// The clock in TCP timestamps goes back by so much, as behind a NAT that mixes those of several hosts.
    pub timestamps_back: Option<Time>,
    /// Nothing passes.
    pub cut: Option<bool>,
    /// What the losses are drawn from: the same seed, the same losses.
    pub seed: Option<u64>,
    /// Towards the client only.
    pub to_client: Option<Box<Link>>,
    /// Towards the server only.
    pub to_server: Option<Box<Link>>,
    /// Changes while it runs. Only of the link itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Later>,
    /// What the server's own device may send (a token bucket of the kernel, on either kind of link): packets wait, and
    /// are dropped, inside the host.
    pub server_bits_per_second: Option<Bits>,
    /// Bytes that wait for that.
    pub server_queue: Option<Bytes>,
}

/// A change of the link at a given time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Later {
    /// How long after the loads began.
    pub after: Time,
    /// What changes.
    pub link: Link,
}

/// Packets that are overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// How many.
    pub share: Share,
    /// How much longer they take.
    pub by: Time,
}

impl Link {
    /// Whether it takes more than a veth pair.
    pub(crate) fn is_emulated(&self) -> bool {
        let kernels_own = Self {
            server_bits_per_second: self.server_bits_per_second,
            server_queue: self.server_queue,
            ..Self::default()
        };
        *self != kernels_own
    }

    /// What is said about one direction alone.
    pub(crate) fn towards(&self, side: Side) -> Option<&Self> {
        match side {
            Side::Client => self.to_client.as_deref(),
            Side::Server => self.to_server.as_deref(),
        }
    }

    /// What types alone don't say; `place` is the table's name.
    pub(super) fn check(&self, place: &str) -> Result<(), String> {
        let directions = [("to-client", &self.to_client), ("to-server", &self.to_server)];
        for (name, direction) in directions.into_iter().filter_map(|(name, d)| Some((name, d.as_deref()?))) {
            if direction.to_client.is_some() || direction.to_server.is_some() {
                return Err(format!("[{place}.{name}] is one direction already"));
            }
            direction.check(&format!("{place}.{name}"))?;
        }
        if place != "link" {
            let servers = place != "remedy.link" && self.server_bits_per_second.is_some();
            let fixed =
                [(!self.later.is_empty(), "later"), (self.seed.is_some(), "seed"), (servers, "server-bits-per-second")];
            if let Some((_, field)) = fixed.iter().find(|(said, _)| *said) {
                return Err(format!("[{place}]: `{field}` is only for [link]"));
            }
        }
        if self.server_queue.is_some() && self.server_bits_per_second.is_none() {
            return Err(format!("[{place}]: `server-queue` needs `server-bits-per-second`"));
        }
        if let Some(mtu) = self.mtu.filter(|mtu| !(LEAST_MTU..=MTU).contains(mtu)) {
            return Err(format!("[{place}] mtu: expected {LEAST_MTU} to {MTU}, found {mtu}"));
        }
        if let Some(stall) = self.stall.filter(|stall| stall.length >= stall.every) {
            return Err(format!("[{place}] stall: it is {:?} long, in every {:?}", stall.length.0, stall.every.0));
        }
        self.later.iter().try_for_each(|later| later.link.check("link.later"))
    }
}

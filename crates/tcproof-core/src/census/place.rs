//! Where is counted, and which end of a connection is the service there.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::snapshot::NetnsId;

/// A range of ports, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

impl PortRange {
    /// `ip_local_port_range` where nobody has set it.
    pub const DEFAULT: Self = Self { low: 32_768, high: 60_999 };

    /// Whether a port lies in it.
    pub const fn contains(self, port: u16) -> bool {
        (self.low <= port) & (port <= self.high)
    }
}

/// Ports. Of a million sockets each is asked for, so a look is two reads, without a search or a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// Which of the pages has the ports of this upper byte; the first one has none.
    index: Box<[u16; 256]>,
    pages: Vec<[u64; 4]>,
}

impl PortSet {
    /// Whether it is one of them.
    pub fn contains(&self, port: u16) -> bool {
        let [upper, lower] = port.to_be_bytes().map(usize::from);
        self.pages[usize::from(self.index[upper])][lower / 64] >> (lower % 64) & 1 == 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pages.len() == 1
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self { index: Box::new([0; 256]), pages: vec![[0; 4]] }
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut all = Self::default();
        for port in ports {
            let [upper, lower] = port.to_be_bytes().map(usize::from);
            if all.index[upper] == 0 {
                all.index[upper] = u16::try_from(all.pages.len()).expect("there are 256 pages and the empty one");
                all.pages.push([0; 4]);
            }
            all.pages[usize::from(all.index[upper])][lower / 64] |= 1 << (lower % 64);
        }
        all
    }
}

/// A namespace to count in, with what decides which end of a connection is the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its identity.
    pub netns: NetnsId,
    /// Ports that something listens on there.
    pub listening: PortSet,
    /// Where `connect(2)` takes its ports from.
    pub ephemeral: PortRange,
}

impl Place {
    /// Which end of a connection is the service, by its two ports. The end that closed first has no say in it, so a
    /// TIME_WAIT socket is found under its service, whichever end it stands at.
    ///
    /// The order of the questions: is the local port listened on (then we serve); is it one that `connect(2)` gives out
    /// (then they do); is theirs one (then we do, and our listener has gone). Where all of that says nothing, the lower port
    /// is the service's.
    pub fn service(&self, local: u16, remote: u16) -> End {
        // Of sockets in the order of a hash, no branch can be foretold: so there is none.
        let is_theirs_given_out = self.ephemeral.contains(remote) | (local < remote);
        let is_ours = self.listening.contains(local) | (!self.ephemeral.contains(local) & is_theirs_given_out);
        if is_ours { End::Local } else { End::Remote }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// This one: the namespace serves.
    Local,
    /// The other one: the namespace is the client, and each of its connections takes a port of its own.
    Remote,
}

//! What bulk servers and loads do with their connections, and the socket options that any of them may set.

use serde::{Deserialize, Serialize};

use super::server::Pause;
use super::values::{Bytes, Count, Time};

/// Socket options, set before `listen(2)` or `connect(2)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Socket {
    /// SO_RCVBUF: the buffer no longer grows by itself. The kernel doubles the number and bounds it by `rmem_max`.
    pub rcvbuf: Option<Bytes>,
    /// SO_SNDBUF: likewise, by `wmem_max`.
    pub sndbuf: Option<Bytes>,
    /// TCP_CONGESTION.
    pub congestion: Option<String>,
    /// SO_KEEPALIVE.
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT: how long data may stay unacknowledged.
    pub user_timeout: Option<Time>,
    /// A server: TCP_FASTOPEN with this queue. A load: any number asks for TCP_FASTOPEN_CONNECT.
    pub fastopen: Option<Count>,
    /// TCP_NODELAY: small writes are sent at once.
    pub nodelay: bool,
}

/// When an idle connection is asked whether its peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// TCP_KEEPIDLE: whole seconds; the sysctl's if not said.
    pub idle: Option<Time>,
    /// TCP_KEEPINTVL: likewise.
    pub interval: Option<Time>,
    /// TCP_KEEPCNT: likewise.
    pub probes: Option<Count>,
}

/// How a connection's data is read; as fast as it comes, unless it is said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Reads {
    /// At most so many from each connection.
    pub bytes_per_second: Option<Bytes>,
    /// Nothing is read before.
    pub after: Option<Time>,
    /// Now and then the memory that is read into has to be fetched first, which takes so long: the call holds the socket
    /// meanwhile.
    pub slow_memory: Option<Pause>,
}

/// How a connection's data is written; as fast as it goes, unless it is said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Writes {
    /// What is passed to one `write(2)`; 128 KiB if not said. Much smaller ones overshoot the send buffer.
    pub size: Option<Bytes>,
    /// An application that has no more: at most so many into each connection.
    pub bytes_per_second: Option<Bytes>,
    /// An application that has something only now and then.
    pub burst: Option<Burst>,
    /// A pool of connections that are used one after the other: each writes so many, then it is the next one's turn.
    pub turns: Option<Bytes>,
    /// So many, at least, into each connection, which is closed then, and another follows it.
    pub each: Option<Bytes>,
}

/// Data that comes at once, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// How much.
    pub bytes: Bytes,
    /// How often.
    pub every: Time,
}

impl Socket {
    pub(super) fn check(&self) -> Result<(), String> {
        let times = self.keepalive.iter().flat_map(|keepalive| [keepalive.idle, keepalive.interval]).flatten();
        for time in times {
            if time.0.as_secs() == 0 || time.0.subsec_nanos() != 0 {
                return Err(format!("keepalive: expected whole seconds, found {:?}", time.0));
            }
        }
        let plain = |name: &String| {
            name.len() < 16 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match &self.congestion {
            Some(name) if !plain(name) => Err(format!("congestion: {name:?} is no name of an algorithm")),
            _ => Ok(()),
        }
    }
}

impl Writes {
    pub(super) fn check(&self) -> Result<(), String> {
        let ways = [self.bytes_per_second.is_some(), self.burst.is_some(), self.turns.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err("writes: one of `bytes-per-second`, `burst` and `turns`".into());
        }
        match self.burst {
            Some(burst) if burst.every.0.is_zero() => Err("writes: a burst needs some time between".into()),
            _ => Ok(()),
        }
    }
}

//! Connection tracking entries by ctnetlink.
//!
//! `nf_conntrack_max` is one number for the host, while each namespace counts its own entries against it, so a
//! namespace of the lab can fill *its* table and nobody else's. Entries must be assured: at the limit the kernel evicts
//! unassured ones to make room (`early_drop`), and the table never gets full.

use std::fs;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rustix::io::Errno;

use super::netlink::{Family, Message, Netlink};
use super::{Error, Result, netns, sysctl};

const NFNL_SUBSYS_CTNETLINK: u8 = 1;
const IPCTNL_MSG_CT_NEW: u8 = 0;
const IPCTNL_MSG_CT_DELETE: u8 = 2;
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const TCP_CONNTRACK_ESTABLISHED: u8 = 3;
const IPS_SEEN_REPLY: u32 = 1 << 1;
const IPS_ASSURED: u32 = 1 << 2;
const IPS_CONFIRMED: u32 = 1 << 3;
const IPPROTO_TCP: u8 = 6;

/// Far beyond any scenario.
const TIMEOUT_SECONDS: u32 = 24 * 3600;
/// The error answers of a whole batch must fit the socket's receive buffer (212 992 bytes by default).
const BATCH: u32 = 64;

/// Injects `n` established and assured TCP entries that never existed, and returns how many the table took: it stops
/// where the table is full. The same `seed` makes the same entries, another seed others (below 2^20 of each).
///
/// # Errors
/// [`Error::Unsupported`] without ctnetlink; outside the lab.
pub fn fill(n: u32, seed: u64) -> Result<u32> {
    let new = |entry: Entry| {
        let message = ctnetlink(IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, AF_INET);
        entry
            .tuple(entry.tuple(message, CTA_TUPLE_ORIG, false), CTA_TUPLE_REPLY, true)
            .number(CTA_STATUS, IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED)
            .number(CTA_TIMEOUT, TIMEOUT_SECONDS)
            .nest(CTA_PROTOINFO, |m| {
                m.nest(CTA_PROTOINFO_TCP, |m| m.attribute(CTA_PROTOINFO_TCP_STATE, &[TCP_CONNTRACK_ESTABLISHED]))
            })
    };
    // ENOMEM is how ctnetlink says "table full"; EEXIST: this entry is there already.
    each_batch("inject conntrack entries", n, seed, new, Errno::EXIST, Some(Errno::NOMEM))
}

/// Deletes the first `n` entries that [`fill`] made with this seed; returns how many of them there were.
///
/// # Errors
/// [`Error::Unsupported`] without ctnetlink; outside the lab.
pub fn delete(n: u32, seed: u64) -> Result<u32> {
    let delete = |entry: Entry| entry.tuple(ctnetlink(IPCTNL_MSG_CT_DELETE, 0, AF_INET), CTA_TUPLE_ORIG, false);
    each_batch("delete conntrack entries", n, seed, delete, Errno::NOENT, None)
}

/// Empties the table of this namespace.
///
/// # Errors
/// [`Error::Unsupported`] without ctnetlink; outside the lab.
pub fn flush() -> Result<()> {
    let operation = "flush conntrack entries";
    netns::require_lab(operation)?;
    // A deletion that names no entry means all of them.
    let message = ctnetlink(IPCTNL_MSG_CT_DELETE, 0, AF_UNSPEC);
    Netlink::open(Family::Netfilter)?.request(operation, &message).map_err(unsupported)
}

/// Entries of this namespace (`nf_conntrack_count`).
///
/// # Errors
/// Without connection tracking in this kernel.
pub fn count() -> Result<u32> {
    number("net.netfilter.nf_conntrack_count")
}

/// Entries that every namespace may hold (`nf_conntrack_max`, one value for the host).
///
/// # Errors
/// Without connection tracking in this kernel.
pub fn max() -> Result<u32> {
    number("net.netfilter.nf_conntrack_max")
}

/// One sum of a column of `/proc/net/stat/nf_conntrack` over all CPUs, such as `drop` or `early_drop`.
///
/// # Errors
/// If this kernel has no such file or column.
pub fn statistic(column: &str) -> Result<u64> {
    let path = "/proc/thread-self/net/stat/nf_conntrack";
    let text = fs::read_to_string(path).map_err(|e| Error::kernel(format!("read {path}"), e))?;
    let mut lines = text.lines();
    let place = lines.next().and_then(|names| names.split_whitespace().position(|name| name == column));
    let place = place.ok_or_else(|| Error::Unsupported(format!("column {column} of {path}")))?;
    let values = lines.filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(place)?, 16).ok());
    Ok(values.sum())
}

/// One invented connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    source: u32,
    port: u16,
}

impl Entry {
    /// The `index`-th entry of a seed. Distinct for distinct indices: the 131 072 addresses of 198.18.0.0/15 (RFC 2544)
    /// are used up before the next port begins.
    fn new(index: u32, seed: u64) -> Self {
        const FIRST: u32 = 0xc612_0000;
        let place = (seed << 20).wrapping_add(index.into()) % (1 << 32);
        let low = u32::try_from(place & 0x1_ffff).unwrap_or_default();
        let port = u16::try_from(place >> 17).unwrap_or_default();
        Self { source: FIRST | low, port: 1024 + port }
    }

    /// Appends the addresses as this direction sees them.
    fn tuple(self, message: Message, kind: u16, reply: bool) -> Message {
        /// 192.0.2.1 (RFC 5737), HTTPS.
        const SERVER: (u32, u16) = (0xc000_0201, 443);
        let client = (self.source, self.port);
        let (source, destination) = if reply { (SERVER, client) } else { (client, SERVER) };
        message.nest(kind, |m| {
            m.nest(CTA_TUPLE_IP, |m| m.number(CTA_IP_V4_SRC, source.0).number(CTA_IP_V4_DST, destination.0)).nest(
                CTA_TUPLE_PROTO,
                |m| {
                    m.attribute(CTA_PROTO_NUM, &[IPPROTO_TCP])
                        .attribute(CTA_PROTO_SRC_PORT, &source.1.to_be_bytes())
                        .attribute(CTA_PROTO_DST_PORT, &destination.1.to_be_bytes())
                },
            )
        })
    }
}

/// Sends a message for each entry; returns how many the kernel carried out. `skip` refuses one entry, `stop` all that
/// follow.
fn each_batch(
    operation: &str,
    n: u32,
    seed: u64,
    message: impl Fn(Entry) -> Message,
    skip: Errno,
    stop: Option<Errno>,
) -> Result<u32> {
    netns::require_lab(operation)?;
    let socket = Netlink::open(Family::Netfilter)?;
    let mut done = 0;
    let mut next = 0;
    while next < n {
        let end = n.min(next + BATCH);
        let batch: Vec<Message> = (next..end).map(|index| message(Entry::new(index, seed))).collect();
        let refused = socket.batch(operation, &batch)?;
        if let Some((_, errno)) = refused.iter().find(|(_, errno)| *errno != skip && Some(*errno) != stop) {
            return Err(unsupported(Error::kernel(operation, *errno)));
        }
        done += end - next - u32::try_from(refused.len()).unwrap_or(end - next);
        if refused.iter().any(|(_, errno)| Some(*errno) == stop) {
            break;
        }
        next = end;
    }
    Ok(done)
}

fn ctnetlink(number: u8, flags: u16, family: u8) -> Message {
    Message::netfilter(NFNL_SUBSYS_CTNETLINK, number, flags, family, 0)
}

/// nfnetlink answers EINVAL to a subsystem that it does not have.
fn unsupported(error: Error) -> Error {
    error.lacking("ctnetlink", &[Errno::INVAL])
}

fn number(key: &str) -> Result<u32> {
    let text = sysctl::read(key)?;
    text.parse().map_err(|_| Error::Unsupported(format!("{key} is {text:?}, not a number")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn entries_of_a_seed_are_distinct_and_of_reserved_addresses() {
        let mut seen = BTreeSet::new();
        for index in (0..1_000_000).step_by(7) {
            let entry = Entry::new(index, 3);
            assert!(seen.insert((entry.source, entry.port)), "{index} is there twice");
            assert_eq!(entry.source >> 17, 0xc612_0000 >> 17);
        }
    }
}

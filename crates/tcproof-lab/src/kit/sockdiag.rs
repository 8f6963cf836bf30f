//! Kills and counts the TCP sockets of a namespace by sock_diag.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_DUMP;
use rustix::io::Errno;

use super::netlink::{Family, Message, Netlink};
use super::{Error, Result, netns};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ALL_STATES: u32 = u32::MAX;
/// `TCPF_CLOSE`, and `TCPF_BOUND_INACTIVE` with which sock_diag also lists (since 6.8) what is closed but holds on to the
/// port that it was bound to. There is nothing to destroy in those.
const CLOSED: u32 = 1 << 7 | 1 << 13;
/// States whose socket may be a small one, without buffers and owner: FIN_WAIT2, TIME_WAIT.
const SMALL: [u8; 2] = [5, 6];
/// Bytes of `struct inet_diag_sockid`: ports, addresses, interface and cookie of one socket.
const ID_BYTES: usize = 48;
/// See the conntrack batches: the error answers must fit the receive buffer.
const BATCH: usize = 64;

/// The kernel's `enum` of TCP states (1 = ESTABLISHED …), by the names of `ss`.
const STATES: [&str; 12] = [
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "NEW-SYN-RECV",
];

/// Closes every TCP socket of this namespace with SOCK_DESTROY; returns how many. A socket keeps its namespace alive,
/// and an orphan (closed by its process, not yet by its dead peer) does so for minutes.
///
/// # Errors
/// [`Error::Unsupported`] without `CONFIG_INET_DIAG_DESTROY`; outside the lab.
pub fn destroy_all() -> Result<usize> {
    let operation = "destroy the sockets of the namespace";
    netns::require_lab(operation)?;
    let socket = Netlink::open(Family::SockDiag)?;
    let mut sockets = list(&socket, ALL_STATES & !CLOSED)?;
    let at_first = sockets.len();
    // Listeners that share a port by SO_REUSEPORT are found one at a time. Before 6.12 the kernel said yes to destroying
    // an orphan and did nothing, hence: as long as it helps.
    loop {
        for batch in sockets.chunks(BATCH) {
            let messages: Vec<Message> =
                batch.iter().map(|s| Message::new(SOCK_DESTROY, 0, &request(s.family, ALL_STATES, &s.id))).collect();
            let refused = socket.batch(operation, &messages)?;
            // ENOENT: gone in the meantime, or another listener of the same port came first. ESTALE is the latter, too.
            // OPNOTSUPP for a small socket: 5.10 destroys full ones only. The small ones go with the namespace.
            let small = |place: usize| batch.get(place).is_some_and(|socket| SMALL.contains(&socket.state));
            let unforeseen = refused.iter().find(|(place, errno)| match *errno {
                Errno::NOENT | Errno::STALE => false,
                Errno::OPNOTSUPP => !small(*place),
                _ => true,
            });
            match unforeseen {
                None => {}
                Some((_, Errno::OPNOTSUPP)) => return Err(Error::Unsupported("SOCK_DESTROY".to_owned())),
                Some((_, errno)) => return Err(Error::kernel(operation, *errno)),
            }
        }
        let left = list(&socket, ALL_STATES & !CLOSED)?;
        if left.is_empty() || left.len() >= sockets.len() {
            return Ok(at_first.saturating_sub(left.len()));
        }
        sockets = left;
    }
}

/// TCP sockets of this namespace by state, named as `ss` names them (`LISTEN`, `SYN-RECV`, `TIME-WAIT` …).
///
/// # Errors
/// [`Error::Unsupported`] without sock_diag.
pub fn counts() -> Result<BTreeMap<&'static str, usize>> {
    let mut counts = BTreeMap::new();
    for socket in list(&Netlink::open(Family::SockDiag)?, ALL_STATES)? {
        let name = usize::from(socket.state).checked_sub(1).and_then(|place| STATES.get(place)).unwrap_or(&"other");
        *counts.entry(*name).or_default() += 1;
    }
    Ok(counts)
}

struct Socket {
    family: u8,
    state: u8,
    id: [u8; ID_BYTES],
}

fn list(socket: &Netlink, states: u32) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let message = Message::new(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request(family, states, &[0; ID_BYTES]));
        let listed = socket.ask("list the sockets of the namespace", &message, |payload| {
            // struct inet_diag_msg: family, state, timer, retransmits, then the id.
            if let (Some([family, state, ..]), Some(id)) =
                (payload.first_chunk::<4>(), payload.get(4..).and_then(|rest| rest.first_chunk()))
            {
                sockets.push(Socket { family: *family, state: *state, id: *id });
            }
        });
        match listed {
            // A kernel without IPv6.
            Err(error) if family == AF_INET6 && error.errno() == Some(Errno::NOENT.raw_os_error()) => {}
            listed => listed?,
        }
    }
    Ok(sockets)
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, id.
fn request(family: u8, states: u32, id: &[u8; ID_BYTES]) -> Vec<u8> {
    [&[family, IPPROTO_TCP, 0, 0][..], &states.to_ne_bytes(), id].concat()
}

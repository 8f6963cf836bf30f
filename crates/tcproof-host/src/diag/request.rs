//! Requests to `sock_diag`.

use std::net::IpAddr;
use std::ops::BitOr;

use tcproof_core::snapshot::{Endpoint, Flow};

/// Message type of the old interface (`TCPDIAG_GETSOCK`), whose family 0 walks the tables once for IPv4 and IPv6 together.
const TCPDIAG_GETSOCK: u16 = 18;
/// Message type of the present interface; one dump a family.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// Bytecode that filters in the kernel.
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// A protocol number that does not fit a byte (since 5.12).
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const IPPROTO_MPTCP: u32 = 262;
/// Bytecode `INET_DIAG_BC_S_GE` and `_S_LE`: compare the local port.
const S_GE: u8 = 2;
const S_LE: u8 = 3;

/// A set of TCP states (`1 << state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(pub u32);

impl States {
    /// Half-open: a request socket.
    pub const SYN_RECV: Self = Self(1 << 3);
    /// Closed here, the peer has acknowledged but not closed.
    pub const FIN_WAIT2: Self = Self(1 << 5);
    /// Connections through which data may still move: open at one end at least.
    pub const OPEN: Self = Self(1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11);
    /// Closed by the peer, not here.
    pub const CLOSE_WAIT: Self = Self(1 << 8);
    /// Listening.
    pub const LISTEN: Self = Self(1 << 10);
    /// Everything that is or was a connection.
    pub const ALL_BUT_LISTEN: Self = Self(0xfff & !(1 << 10) & !1);
}

impl BitOr for States {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A set of optional attributes (`1 << (INET_DIAG_x - 1)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions(u8);

impl Extensions {
    /// `struct tcp_info`.
    pub const INFO: Self = Self(1 << 1);
    /// Name of the congestion control algorithm.
    pub const CONG: Self = Self(1 << 3);
    /// Memory and drops of the socket.
    pub const SKMEMINFO: Self = Self(1 << 6);
}

impl Extensions {
    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A range of ports, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

#[derive(Clone, Copy, Debug)]
enum Table {
    Tcp,
    Mptcp { family: u8 },
}

/// Most ports that are left out by the kernel; the caller does so with the others.
const MOST_EXCEPTIONS: usize = 32;

/// What to dump.
#[derive(Clone, Debug)]
pub struct Request {
    table: Table,
    states: States,
    extensions: Extensions,
    local_ports: Option<(Ports, Vec<u16>)>,
}

impl Request {
    /// TCP sockets of both families in these states, in one walk.
    pub fn tcp(states: States) -> Self {
        Self { table: Table::Tcp, states, extensions: Extensions::default(), local_ports: None }
    }

    /// MPTCP sockets of one family (`AF_INET`, `AF_INET6`).
    pub fn mptcp(family: u8, states: States) -> Self {
        Self { table: Table::Mptcp { family }, ..Self::tcp(states) }
    }

    /// Asks for more of each socket.
    pub fn with(mut self, extensions: Extensions) -> Self {
        self.extensions.0 |= extensions.0;
        self
    }

    /// Only sockets whose local port is in the range and not among `except`; the kernel leaves the others out, but for
    /// those of a very long `except`.
    pub fn local_ports(mut self, ports: Ports, except: &[u16]) -> Self {
        let inside = except.iter().copied().filter(|port| (ports.low..=ports.high).contains(port));
        // Port 0 is nobody's, and the largest has nothing above it to compare with.
        let except = inside.filter(|port| (1..u16::MAX).contains(port)).take(MOST_EXCEPTIONS).collect();
        self.local_ports = Some((ports, except));
        self
    }

    /// The netlink message: header, request, attributes.
    pub(super) fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        let kind = match self.table {
            Table::Tcp => {
                // struct inet_diag_req
                bytes.extend([0, 0, 0, self.extensions.0]);
                bytes.extend([0; 48]);
                bytes.extend(self.states.0.to_ne_bytes());
                bytes.extend(0_u32.to_ne_bytes());
                TCPDIAG_GETSOCK
            }
            Table::Mptcp { family } => {
                // struct inet_diag_req_v2
                bytes.extend([family, 0, self.extensions.0, 0]);
                bytes.extend(self.states.0.to_ne_bytes());
                bytes.extend([0; 48]);
                attribute(&mut bytes, INET_DIAG_REQ_PROTOCOL, &IPPROTO_MPTCP.to_ne_bytes());
                SOCK_DIAG_BY_FAMILY
            }
        };
        if let Some((ports, except)) = &self.local_ports {
            attribute(&mut bytes, INET_DIAG_REQ_BYTECODE, &port_filter(*ports, except));
        }
        let length = u32::try_from(bytes.len()).expect("a request is a few hundred bytes");
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }
}

/// Any socket with these ends (`INET_DIAG_NOCOOKIE`).
pub const ANY_COOKIE: u64 = u64::MAX;

/// One connection, as the kernel's tables are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// This end.
    pub local: Endpoint,
    /// The other one.
    pub remote: Endpoint,
    /// The index of the device that the socket is bound to, or 0.
    pub device: u32,
    /// The socket's identity, or [`ANY_COOKIE`].
    pub cookie: u64,
}

impl Ends {
    /// Of a flow.
    pub fn of(flow: &Flow, device: u32) -> Self {
        Self { local: flow.local, remote: flow.remote, device, cookie: flow.cookie }
    }
}

/// The message that asks for one connection, found by its hash: `SOCK_DIAG_BY_FAMILY` without `NLM_F_DUMP`. The cookie
/// keeps a new connection of the same ports from being taken for it.
pub(super) fn lookup(ends: &Ends, extensions: Extensions, sequence: u32) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    let address = |ip: IpAddr| {
        let mut bytes = [0; 16];
        match ip {
            IpAddr::V4(four) => bytes[..4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => bytes = six.octets(),
        }
        bytes
    };
    let family = if ends.local.addr.is_ipv6() { AF_INET6 } else { AF_INET };
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, IPPROTO_TCP, extensions.0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(ends.local.port.to_be_bytes());
    bytes.extend(ends.remote.port.to_be_bytes());
    bytes.extend(address(ends.local.addr));
    bytes.extend(address(ends.remote.addr));
    bytes.extend(ends.device.to_ne_bytes());
    bytes.extend((ends.cookie as u32).to_ne_bytes());
    bytes.extend(((ends.cookie >> 32) as u32).to_ne_bytes());
    bytes
}

/// Appends a netlink attribute; all of ours are multiples of four bytes, so none is padded.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    debug_assert!(value.len().is_multiple_of(4));
    let length = u16::try_from(value.len() + 4).expect("an attribute is a few dozen bytes");
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
}

/// Operation of inet_diag bytecode that goes on elsewhere.
const JMP: u8 = 1;
/// Bytes of a comparison: two operations of four bytes, the second of which holds the port.
const COMPARISON: u16 = 8;
/// Bytes of a jump.
const JUMP: u16 = 4;

/// `low ≤ local port ≤ high`, and none of `except`, as inet_diag bytecode. An operation says by how many bytes to go on
/// when it holds and when it does not; to four bytes behind the end is a rejection. The kernel (`inet_diag_bc_audit`)
/// wants every operation on the way of those that hold, so "not p" is "below p, or else above p".
fn port_filter(ports: Ports, except: &[u16]) -> Vec<u8> {
    /// Bytes of one exception.
    const EXCEPTION: u16 = COMPARISON + JUMP + COMPARISON;
    let mut code = Vec::new();
    let mut left = 2 * COMPARISON + EXCEPTION * u16::try_from(except.len()).expect("at most MOST_EXCEPTIONS");
    let mut operation = |kind: u8, holds: u16, else_: Option<u16>, port: Option<u16>| {
        code.extend([kind, u8::try_from(holds).expect("a few bytes")]);
        code.extend(else_.unwrap_or(left + 4).to_ne_bytes());
        if let Some(port) = port {
            code.extend([0, 0]);
            code.extend(port.to_ne_bytes());
        }
        left -= holds;
    };
    operation(S_GE, COMPARISON, None, Some(ports.low));
    operation(S_LE, COMPARISON, None, Some(ports.high));
    for port in except {
        operation(S_LE, COMPARISON, Some(COMPARISON + JUMP), Some(port.saturating_sub(1)));
        operation(JMP, JUMP, Some(JUMP + COMPARISON), None);
        operation(S_GE, COMPARISON, None, Some(port.saturating_add(1)));
    }
    code
}

//! Requests to `sock_diag`.

use std::net::IpAddr;
use std::ops::BitOr;

use tcproof_core::snapshot::Flow;

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

/// What to dump.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    table: Table,
    states: States,
    extensions: Extensions,
    local_ports: Option<Ports>,
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

    /// Only sockets whose local port is in the range; the kernel leaves the others out.
    pub fn local_ports(mut self, ports: Ports) -> Self {
        self.local_ports = Some(ports);
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
        if let Some(ports) = self.local_ports {
            attribute(&mut bytes, INET_DIAG_REQ_BYTECODE, &port_range(ports));
        }
        let length = u32::try_from(bytes.len()).expect("a request is a few hundred bytes");
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }
}

/// The message that asks for one connection, found by its hash: `SOCK_DIAG_BY_FAMILY` without `NLM_F_DUMP`. The cookie
/// keeps a new connection of the same ports from being taken for it.
pub(super) fn lookup(flow: &Flow, device: u32, extensions: Extensions, sequence: u32) -> Vec<u8> {
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
    let family = if flow.local.addr.is_ipv6() { AF_INET6 } else { AF_INET };
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, IPPROTO_TCP, extensions.0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(flow.local.port.to_be_bytes());
    bytes.extend(flow.remote.port.to_be_bytes());
    bytes.extend(address(flow.local.addr));
    bytes.extend(address(flow.remote.addr));
    bytes.extend(device.to_ne_bytes());
    bytes.extend((flow.cookie as u32).to_ne_bytes());
    bytes.extend(((flow.cookie >> 32) as u32).to_ne_bytes());
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

/// `low ≤ local port ≤ high` as inet_diag bytecode: each comparison is two operations of four bytes, the second holds the
/// port; `yes` and `no` are jumps in bytes, and a jump to four bytes behind the end rejects the socket.
fn port_range(ports: Ports) -> Vec<u8> {
    let comparison = |code: u8, port: u16, rest: u16| {
        let reject = rest + 4;
        let mut op = vec![code, 8];
        op.extend(reject.to_ne_bytes());
        op.extend([0, 0]);
        op.extend(port.to_ne_bytes());
        op
    };
    [comparison(S_GE, ports.low, 16), comparison(S_LE, ports.high, 8)].concat()
}

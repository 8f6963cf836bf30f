//! One netlink socket: requests go in, the kernel's errno comes back with the operation it answers.
//!
//! rtnetlink, nfnetlink and sock_diag handle a request inside sendmsg(2): when it returns, every answer already waits
//! in the socket. So an empty queue means "no more answers", and nothing here can block.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::{Error, Result};

/// Fits any part of a dump (the kernel fills at most 32 KiB at once).
const ANSWER_BYTES: usize = 64 * 1024;

/// A message: its type, flags and payload. Attributes are appended in order.
#[derive(Debug, Clone)]
pub(super) struct Message {
    message_type: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message with its family's fixed header.
    pub(super) fn new(message_type: u16, flags: u16, header: &[u8]) -> Self {
        Self { message_type, flags, body: header.to_vec() }
    }

    /// An rtnetlink message.
    pub(super) fn route(message: &RouteNetlinkMessage, flags: u16) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Self { message_type: message.message_type(), flags, body }
    }

    /// A netfilter message: subsystem, its message number, and `struct nfgenmsg`.
    pub(super) fn netfilter(subsystem: u8, number: u8, flags: u16, family: u8, resource: u16) -> Self {
        let [high, low] = resource.to_be_bytes();
        Self::new(u16::from(subsystem) << 8 | u16::from(number), flags, &[family, 0, high, low])
    }

    /// Its number, with which the kernel knows what to do.
    pub(super) fn message_type(&self) -> u16 {
        self.message_type
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("the kit writes small attributes");
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.pad()
    }

    /// Appends a big-endian number, as nfnetlink wants its numbers.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a name with its terminating zero.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends a nest of attributes.
    pub(super) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.body.len();
        self = self.attribute(kind | NLA_F_NESTED, &[]);
        self = fill(self);
        let length = u16::try_from(self.body.len() - start).expect("the kit writes small attributes");
        self.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    fn pad(mut self) -> Self {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn write_to(&self, buffer: &mut Vec<u8>, extra_flags: u16, sequence: u32) {
        let mut header = NetlinkHeader::default();
        let length = header.buffer_len() + self.body.len();
        header.length = u32::try_from(length).expect("the kit writes small messages");
        header.message_type = self.message_type;
        header.flags = NLM_F_REQUEST | self.flags | extra_flags;
        header.sequence_number = sequence;
        let start = buffer.len();
        buffer.resize(start + header.buffer_len(), 0);
        header.emit(&mut buffer[start..]);
        buffer.extend_from_slice(&self.body);
        buffer.resize(start + length.next_multiple_of(4), 0);
    }
}

/// The netlink families that the kit speaks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    /// rtnetlink.
    Route,
    /// nfnetlink: nf_tables and ctnetlink.
    Netfilter,
    /// sock_diag.
    SockDiag,
}

/// A netlink socket of the calling thread's namespace.
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens one; a family that this kernel lacks is [`Error::Unsupported`].
    pub(super) fn open(family: Family) -> Result<Self> {
        let (name, protocol) = match family {
            // NETLINK_ROUTE is 0, rustix's default protocol.
            Family::Route => ("rtnetlink", None),
            Family::Netfilter => ("nfnetlink", Some(netlink::NETFILTER)),
            Family::SockDiag => ("sock_diag", Some(netlink::SOCK_DIAG)),
        };
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map(|socket| Self { socket })
            .map_err(|errno| match errno {
                Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Error::Unsupported(name.to_owned()),
                _ => Error::kernel(format!("open a {name} socket"), errno),
            })
    }

    /// Sends one request and waits for its acknowledgement.
    pub(super) fn request(&self, operation: impl Into<String>, message: &Message) -> Result<()> {
        let operation = operation.into();
        let refused = self.batch(&operation, std::slice::from_ref(message))?;
        match refused.first() {
            None => Ok(()),
            Some((_, errno)) => Err(Error::kernel(operation, *errno)),
        }
    }

    /// Sends several requests at once; returns those that the kernel refused, by their place, with the errno.
    pub(super) fn batch(&self, operation: &str, messages: &[Message]) -> Result<Vec<(usize, Errno)>> {
        let mut buffer = Vec::new();
        for (place, message) in (0..).zip(messages) {
            // Only the last is acknowledged when all is well; an error is always reported.
            let last = usize::try_from(place).is_ok_and(|place| place + 1 == messages.len());
            message.write_to(&mut buffer, if last { NLM_F_ACK } else { 0 }, place);
        }
        self.send(operation, &buffer)?;
        let mut refused = Vec::new();
        self.answers(operation, |message_type, sequence, payload| {
            if message_type == NLMSG_ERROR
                && let Some(errno) = errno(payload)
            {
                refused.push((usize::try_from(sequence).unwrap_or(usize::MAX), errno));
            }
        })?;
        Ok(refused)
    }

    /// Asks for one object or (with `NLM_F_DUMP`) all; calls `each` with every payload.
    pub(super) fn ask(&self, operation: &str, message: &Message, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = Vec::new();
        message.write_to(&mut buffer, 0, 0);
        self.send(operation, &buffer)?;
        let mut failed = None;
        self.answers(operation, |message_type, _, payload| match message_type {
            // NLMSG_DONE also carries an errno, with which a dump may end early.
            NLMSG_ERROR | NLMSG_DONE => failed = failed.or(errno(payload)),
            _ => each(payload),
        })?;
        failed.map_or(Ok(()), |errno| Err(Error::kernel(operation, errno)))
    }

    fn send(&self, operation: &str, buffer: &[u8]) -> Result<()> {
        rustix::net::sendto(&self.socket, buffer, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))
            .map(drop)
            .map_err(|errno| Error::kernel(operation, errno))
    }

    /// Calls `each` with type, sequence number and payload of every waiting answer.
    fn answers(&self, operation: &str, mut each: impl FnMut(u16, u32, &[u8])) -> Result<()> {
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let length = match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::kernel(operation, errno)),
            };
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let message = NetlinkBuffer::new_checked(rest)
                    .map_err(|e| Error::kernel(operation, io::Error::new(io::ErrorKind::InvalidData, e)))?;
                each(message.message_type(), message.sequence_number(), message.payload());
                let whole = usize::try_from(message.length()).unwrap_or(rest.len()).next_multiple_of(4);
                rest = rest.get(whole..).unwrap_or_default();
            }
        }
    }
}

/// The errno at the start of an error or end-of-dump message; `None` for zero, an acknowledgement.
fn errno(payload: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(*payload.first_chunk()?);
    (code < 0).then(|| Errno::from_raw_os_error(-code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_are_padded_and_measured() {
        let message = Message::new(1, 0, &[]).nest(4, |m| m.attribute(1, &[7]).number(2, 1));
        let expected: &[&[u8]] = &[
            &20_u16.to_ne_bytes(),
            &(4 | NLA_F_NESTED).to_ne_bytes(),
            &5_u16.to_ne_bytes(),
            &1_u16.to_ne_bytes(),
            &[7, 0, 0, 0],
            &8_u16.to_ne_bytes(),
            &2_u16.to_ne_bytes(),
            &[0, 0, 0, 1],
        ];
        assert_eq!(message.body, expected.concat());
    }

    #[test]
    fn an_acknowledgement_is_no_error() {
        assert_eq!(errno(&0_i32.to_ne_bytes()), None);
        assert_eq!(errno(&(-17_i32).to_ne_bytes()), Some(Errno::EXIST));
        assert_eq!(errno(&[1, 2]), None);
    }
}

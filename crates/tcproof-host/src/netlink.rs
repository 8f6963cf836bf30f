//! Route and generic netlink, as little of it as reading takes: requests out, messages and attributes in place.
//!
//! By hand rather than by `netlink-packet-route`: that crate refuses a whole message when one attribute is longer or
//! shorter than it knows, builds heap values for the hundred attributes of a link of which nine are wanted, and has no
//! generic netlink. `sock_diag` has a reader of its own ([`crate::diag`]) because its attributes follow another struct.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tcproof_core::Absent;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Flags within an attribute's type: nested, and in network byte order.
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB at once.
const BUFFER_BYTES: usize = 32 * 1024;
/// A kernel that does not answer within this time is reported, not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A netlink socket of the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One request: its type, the fixed header of its family, attributes.
#[derive(Debug)]
pub(crate) struct Request {
    kind: u16,
    dump: bool,
    body: Vec<u8>,
}

impl Request {
    /// For one object.
    pub(crate) fn one(kind: u16, header: &[u8]) -> Self {
        Self { kind, dump: false, body: header.to_vec() }
    }

    /// For all.
    pub(crate) fn dump(kind: u16, header: &[u8]) -> Self {
        Self { kind, dump: true, body: header.to_vec() }
    }

    /// Adds an attribute. Requests are short: 64 KiB is never reached.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn encode(&self, sequence: u32) -> Vec<u8> {
        // An acknowledgement ends the answer to a request for one object, as NLMSG_DONE ends a dump.
        let flags = NLM_F_REQUEST | if self.dump { NLM_F_DUMP } else { NLM_F_ACK };
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.body);
        bytes
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The kernel's errno.
    Errno(Errno),
    /// What came is no netlink; so many bytes before the answer's end.
    Garbled(usize),
}

impl Refused {
    /// In the words of a reading.
    pub(crate) fn absent(self, what: &str) -> Absent {
        let what = what.to_string();
        match self {
            Self::Errno(Errno::PERM | Errno::ACCESS) => {
                Absent::Permission { what, needs: "a sandbox that allows netlink".into() }
            }
            Self::Errno(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => Absent::NotInKernel { what },
            Self::Errno(Errno::NODEV) => Absent::Gone { what },
            Self::Errno(errno) => Absent::Failed { what, error: io::Error::from(errno).to_string() },
            Self::Garbled(left) => Absent::Unparsable {
                place: format!("{what}, {left} bytes before the answer's end"),
                expected: "a netlink message".into(),
            },
        }
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Netlink {
    /// A route netlink socket.
    pub(crate) fn route() -> Result<Self, Refused> {
        // NETLINK_ROUTE is protocol 0.
        Self::open(None)
    }

    /// A generic netlink socket.
    pub(crate) fn generic() -> Result<Self, Refused> {
        Self::open(Some(netlink::GENERIC))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Refused> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request and calls `each` with every payload of the answer.
    pub(crate) fn ask(&mut self, request: &Request, mut each: impl FnMut(&[u8])) -> Result<(), Refused> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.encode(self.sequence);
        rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut changed = false;
        loop {
            let (read, _) = match rustix::net::recv(&self.fd, &mut *self.buffer, RecvFlags::empty()) {
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // To the end also of a table that changed: the kernel answers no other request before.
            if messages(&self.buffer[..read], self.sequence, &mut changed, &mut each)? {
                return if changed { Err(Errno::INTR.into()) } else { Ok(()) };
            }
        }
    }
}

/// Reads one buffer of an answer; says whether the answer is complete, and whether the table `changed` while it was
/// dumped: then a device may be missing.
pub(crate) fn messages(
    mut rest: &[u8],
    sequence: u32,
    changed: &mut bool,
    each: &mut dyn FnMut(&[u8]),
) -> Result<bool, Refused> {
    while !rest.is_empty() {
        let garbled = Refused::Garbled(rest.len());
        let Some((length, kind, flags, answers)) = header(rest) else { return Err(garbled) };
        let Some(payload) = rest.get(HEADER..length) else { return Err(garbled) };
        // Left over from an answer that was given up.
        let ours = answers == sequence;
        *changed |= ours && flags & NLM_F_DUMP_INTR != 0;
        match kind {
            NLMSG_DONE | NLMSG_ERROR if ours => {
                let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return match code {
                    0 => Ok(true),
                    code => Err(Errno::from_raw_os_error(code.wrapping_neg()).into()),
                };
            }
            NLMSG_DONE | NLMSG_ERROR => {}
            _ if ours => each(payload),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

fn header(bytes: &[u8]) -> Option<(usize, u16, u16, u32)> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let u32_at = |at: usize| Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    let u16_at = |at: usize| Some(u16::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    Some((usize::try_from(u32_at(0)?).ok()?, u16_at(4)?, u16_at(6)?, u32_at(8)?))
}

/// The attributes of a message behind its family's header, or of a nest: type and value. What is cut off ends them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let &[a, b, c, d] = self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([c, d]) & TYPE_MASK, value))
    }
}

/// A number of 32 bits; a longer value's beginning, none of a shorter one.
pub(crate) fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The number of 64 bits at that place of a struct; none where the struct ends before it.
pub(crate) fn u64_at(value: &[u8], index: usize) -> Option<u64> {
    value.get(index * 8..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// A string up to its zero. A device's name may be any bytes.
pub(crate) fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    /// An attribute with its padding.
    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        Request::one(0, &[]).attribute(kind, value).body
    }

    #[test]
    fn a_request_says_its_length_and_pads_its_attributes() {
        let bytes = Request::one(3, &[1, 2, 3, 4]).attribute(5, b"eth").attribute(6, &[]).encode(7);
        assert_eq!(bytes.len(), 16 + 4 + 8 + 4);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        let seen: Vec<_> = Attributes(&bytes[20..]).collect();
        assert_eq!(seen, [(5, &b"eth"[..]), (6, &[][..])]);
    }

    #[test]
    fn an_answer_ends_with_its_acknowledgement_or_an_error_and_others_are_passed_over() {
        let mut seen = 0;
        let mut changed = false;
        let mut read = |bytes: &[u8]| messages(bytes, 7, &mut changed, &mut |_| seen += 1);
        let stale = [message(16, 0, 6, &[0; 8]), message(NLMSG_DONE, 0, 6, &[0; 4])].concat();
        assert_eq!(read(&stale), Ok(false));
        assert_eq!(read(&[message(16, 0, 7, &[0; 8]), message(NLMSG_ERROR, 0, 7, &[0; 4])].concat()), Ok(true));
        let refused = message(NLMSG_ERROR, 0, 7, &(-95_i32).to_ne_bytes());
        assert_eq!(read(&refused), Err(Refused::Errno(Errno::OPNOTSUPP)));
        assert_eq!(read(&[0; 9]), Err(Refused::Garbled(9)));
        assert_eq!(read(&message(16, 0, 7, &[0; 8])[..20]), Err(Refused::Garbled(20)));
        assert_eq!(read(&message(16, NLM_F_DUMP_INTR, 7, &[0; 8])), Ok(false));
        assert_eq!((seen, changed), (2, true));
    }

    #[test]
    fn attributes_end_where_they_are_cut_off() {
        let whole = [attribute(1, &[1, 2, 3, 4]), attribute(2 | 0x8000, b"x\0")].concat();
        assert_eq!(Attributes(&whole).collect::<Vec<_>>(), [(1, &[1, 2, 3, 4][..]), (2, &b"x\0"[..])]);
        assert_eq!(Attributes(&whole[..13]).count(), 1);
        // A length shorter than its own header would never end.
        assert_eq!(Attributes(&[0, 0, 1, 0, 0, 0, 1, 0]).count(), 0);
        assert_eq!((text_of(b"eth0\0junk"), text_of(b"\xff")), ("eth0".into(), "\u{fffd}".into()));
        assert_eq!((u32_of(&[1, 0, 0]), u64_at(&[0; 16], 2), u64_at(&[0; 16], 1)), (None, None, Some(0)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = messages(&bytes, 0, &mut false, &mut |payload| assert!(Attributes(payload).count() <= payload.len() / 4));
            assert!(Attributes(&bytes).count() <= bytes.len() / 4);
        }
    }
}

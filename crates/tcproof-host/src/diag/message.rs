//! The kernel's answers: `struct inet_diag_msg` and its attributes, read in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tcproof_core::Absent;
use tcproof_core::snapshot::Endpoint;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// Size of `struct inet_diag_msg`.
const BODY: usize = 72;
const AF_INET6: u8 = 10;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CONG: u16 = 4;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SHUTDOWN: u16 = 8;
const INET_DIAG_ULP_INFO: u16 = 19;
const INET_ULP_INFO_NAME: u16 = 1;
const INET_ULP_INFO_MPTCP: u16 = 3;
const MPTCP_SUBFLOW_ATTR_TOKEN_LOC: u16 = 2;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// Index of `SK_MEMINFO_DROPS`.
const DROPS: usize = 8;
/// Offset of `tcpi_last_data_recv` in `struct tcp_info`; the struct only ever grew at its end.
const LAST_DATA_RECV: usize = 52;
const TCP_SYN_SENT: u8 = 2;
const TCP_SYN_RECV: u8 = 3;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_TIME_WAIT: u8 = 6;
/// `idiag_timer` of a small socket (TIME_WAIT, orphaned FIN_WAIT2).
const TIMER_TIMEWAIT: u8 = 3;

/// One socket of a dump.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    body: &'a [u8; BODY],
    attributes: &'a [u8],
}

impl<'a> Socket<'a> {
    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.body[at..at + 4].try_into().expect("four bytes of a fixed array"))
    }

    fn endpoint(&self, port: usize, addr: usize) -> Endpoint {
        let port = u16::from_be_bytes([self.body[port], self.body[port + 1]]);
        let addr: IpAddr = if self.body[0] == AF_INET6 {
            let octets: [u8; 16] = self.body[addr..addr + 16].try_into().expect("sixteen bytes of a fixed array");
            Ipv6Addr::from(octets).into()
        } else {
            let octets: [u8; 4] = self.body[addr..addr + 4].try_into().expect("four bytes of a fixed array");
            Ipv4Addr::from(octets).into()
        };
        Endpoint::new(addr, port)
    }

    /// Local address and port.
    pub fn local(&self) -> Endpoint {
        self.endpoint(4, 8)
    }

    /// Remote address and port.
    pub fn remote(&self) -> Endpoint {
        self.endpoint(6, 24)
    }

    /// Index of the device it is bound to.
    pub fn device(&self) -> u32 {
        self.u32_at(40)
    }

    /// Identity of the socket for as long as it lives.
    pub fn cookie(&self) -> u64 {
        u64::from(self.u32_at(44)) | u64::from(self.u32_at(48)) << 32
    }

    /// In TIME_WAIT.
    pub fn is_time_wait(&self) -> bool {
        self.body[1] == TCP_TIME_WAIT
    }

    /// Connecting.
    pub fn is_syn_sent(&self) -> bool {
        self.body[1] == TCP_SYN_SENT
    }

    /// A half-open request (`TCP_NEW_SYN_RECV`), which is told apart from a full socket in SYN_RECV by what every full
    /// socket's message has.
    pub fn is_request(&self) -> bool {
        self.body[1] == TCP_SYN_RECV && self.attribute(INET_DIAG_SHUTDOWN).is_none()
    }

    /// In FIN_WAIT2 and kept as a small socket, which sockstat counts as `tw`.
    pub fn is_small_fin_wait2(&self) -> bool {
        self.body[1] == TCP_FIN_WAIT2 && self.body[2] == TIMER_TIMEWAIT
    }

    /// Bytes to read; of a listener: connections waiting for `accept(2)`.
    pub fn rqueue(&self) -> u32 {
        self.u32_at(56)
    }

    /// Bytes not acknowledged; of a listener: its backlog.
    pub fn wqueue(&self) -> u32 {
        self.u32_at(60)
    }

    /// User.
    pub fn uid(&self) -> u32 {
        self.u32_at(64)
    }

    /// Inode; 0 when no file holds it.
    pub fn inode(&self) -> u64 {
        u64::from(self.u32_at(68))
    }

    /// Packets (of a listener: handshakes) the socket dropped; needs [`super::Extensions::SKMEMINFO`].
    pub fn drops(&self) -> Option<u32> {
        let words = self.attribute(INET_DIAG_SKMEMINFO)?;
        Some(u32::from_ne_bytes(words.get(DROPS * 4..DROPS * 4 + 4)?.try_into().ok()?))
    }

    /// Time since data last came in; needs [`super::Extensions::INFO`].
    pub fn last_data_received(&self) -> Option<Duration> {
        let info = self.attribute(INET_DIAG_INFO)?;
        let ms = u32::from_ne_bytes(info.get(LAST_DATA_RECV..LAST_DATA_RECV + 4)?.try_into().ok()?);
        Some(Duration::from_millis(ms.into()))
    }

    /// Control group of its maker (since 5.9).
    pub fn cgroup_id(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.attribute(INET_DIAG_CGROUP_ID)?.get(..8)?.try_into().ok()?))
    }

    /// `TCP_ESTABLISHED` and so on.
    pub fn state(&self) -> u8 {
        self.body[1]
    }

    /// `idiag_timer` and its expiry in milliseconds.
    pub fn timer(&self) -> (u8, u32) {
        (self.body[2], self.u32_at(52))
    }

    /// Times that the running timer has expired in a row without an answer (`idiag_retrans`).
    pub fn retransmits(&self) -> u8 {
        self.body[3]
    }

    /// The token that a subflow shares with its MPTCP socket; needs CAP_NET_ADMIN.
    pub fn mptcp_token(&self) -> Option<u32> {
        let ulp = self.attribute(INET_DIAG_ULP_INFO)?;
        let token = attribute(attribute(ulp, INET_ULP_INFO_MPTCP)?, MPTCP_SUBFLOW_ATTR_TOKEN_LOC)?;
        Some(u32::from_ne_bytes(token.get(..4)?.try_into().ok()?))
    }

    /// Whether it is a subflow of an MPTCP socket, as far as the kernel says.
    pub fn is_subflow(&self) -> bool {
        let name = self.attribute(INET_DIAG_ULP_INFO).and_then(|ulp| attribute(ulp, INET_ULP_INFO_NAME));
        name.is_some_and(|name| name.starts_with(b"mptcp\0"))
    }

    /// Name of the congestion control algorithm; needs [`super::Extensions::CONG`].
    pub fn congestion(&self) -> Option<String> {
        let name = self.attribute(INET_DIAG_CONG)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// `struct tcp_info`, as long as this kernel has it (of an MPTCP socket, `struct mptcp_info`).
    pub fn info(&self) -> Option<&'a [u8]> {
        self.attribute(INET_DIAG_INFO)
    }

    /// The words of `SK_MEMINFO_*`.
    pub fn memory(&self) -> Option<&'a [u8]> {
        self.attribute(INET_DIAG_SKMEMINFO)
    }

    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        attribute(self.attributes, wanted)
    }
}

/// The value of the first attribute of that kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    /// Set on attributes that hold others.
    const NLA_F_NESTED: u16 = 1 << 15;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let value = rest.get(4..length)?;
        if kind & !NLA_F_NESTED == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    None
}

/// Reads one buffer of a dump's answer; says whether the dump is complete.
///
/// # Errors
/// The kernel's own error (also one that ends a dump: `NLMSG_DONE` carries it), or an answer that is not a dump.
pub fn dump_messages(mut rest: &[u8], sequence: u32, mut each: impl FnMut(&Socket<'_>)) -> Result<bool, Absent> {
    let garbled = |at: usize| Absent::Unparsable {
        place: format!("sock_diag answer, {at} bytes before its end"),
        expected: "a netlink message of struct inet_diag_msg".into(),
    };
    while !rest.is_empty() {
        let header = rest.get(..HEADER).ok_or_else(|| garbled(rest.len()))?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let answers = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let payload = rest.get(HEADER..length).ok_or_else(|| garbled(rest.len()))?;
        // Left over from a dump that was given up.
        let ours = answers == sequence;
        match kind {
            NLMSG_DONE | NLMSG_ERROR if ours => {
                let code = payload.get(..4).map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                return match code {
                    0 => Ok(true),
                    code => Err(super::absent(&std::io::Error::from_raw_os_error(code.wrapping_neg()))),
                };
            }
            NLMSG_DONE | NLMSG_ERROR => {}
            _ if ours => {
                let body = payload.first_chunk().ok_or_else(|| garbled(rest.len()))?;
                each(&Socket { body, attributes: &payload[BODY..] });
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_dump_that_ends_in_an_error_is_an_error_and_not_an_empty_table() {
        // Without tcp_diag; without inet_diag.
        for (kind, errno) in [(NLMSG_DONE, -2_i32), (NLMSG_ERROR, -95)] {
            let refused = message(kind, 7, &errno.to_ne_bytes());
            assert!(matches!(dump_messages(&refused, 7, |_| {}), Err(Absent::NotInKernel { .. })));
        }
        let done = message(NLMSG_DONE, 7, &0_i32.to_ne_bytes());
        assert_eq!(dump_messages(&done, 7, |_| {}), Ok(true));
        let error = message(NLMSG_ERROR, 7, &(-1_i32).to_ne_bytes());
        assert!(matches!(dump_messages(&error, 7, |_| {}), Err(Absent::Permission { .. })));
    }

    #[test]
    fn answers_to_another_request_are_passed_over() {
        let stale = [message(20, 6, &[0; BODY]), message(NLMSG_DONE, 6, &[0; 4])].concat();
        assert_eq!(dump_messages(&stale, 7, |_| panic!("not ours")), Ok(false));
    }

    #[test]
    fn attributes_are_found_behind_padding_and_a_short_one_is_no_value() {
        let mut payload = vec![0; BODY];
        payload[0] = 2;
        payload.extend([5, 0, 8, 0, 0xff, 0, 0, 0]); // five bytes long, padded to eight
        payload.extend([12, 0, 21, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([8, 0, 7, 0, 1, 0, 0, 0]); // SKMEMINFO without DROPS
        let mut seen = None;
        dump_messages(&message(20, 1, &payload), 1, |socket| seen = Some((socket.cgroup_id(), socket.drops())))
            .unwrap();
        assert_eq!(seen, Some((Some(9), None)));
    }

    #[test]
    fn a_half_open_request_is_told_from_a_full_socket() {
        let mut request = vec![0; BODY];
        request[1] = TCP_SYN_RECV;
        let mut full = request.clone();
        full.extend([5, 0, 8, 0, 3, 0, 0, 0]);
        let mut open = request.clone();
        open[1] = 1;
        let answer = [message(20, 1, &request), message(20, 1, &full), message(20, 1, &open)].concat();
        let mut seen = Vec::new();
        assert_eq!(dump_messages(&answer, 1, |socket| seen.push(socket.is_request())), Ok(false));
        assert_eq!(seen, [true, false, false]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = dump_messages(&bytes, 0, |s| {
                let _ = (s.local(), s.remote(), s.cookie(), s.drops(), s.last_data_received(), s.cgroup_id());
            });
        }
    }
}

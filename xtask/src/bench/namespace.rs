//! A network namespace for one process and its children; it goes when they go.

use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// `lo` is the first device of every namespace.
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;

pub(crate) fn enter_a_fresh_one() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// `ip link set lo up`, which a fresh namespace has not done.
pub(crate) fn raise_loopback() -> io::Result<()> {
    // Without a protocol: NETLINK_ROUTE is number 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &set_up(LOOPBACK), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    acknowledged(&answer[..length])
}

/// struct nlmsghdr and struct ifinfomsg of rtnetlink(7), in the machine's byte order.
fn set_up(index: i32) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence number and port: one question, one answer.
    message.extend([0; 8]);
    // Any family, any type of device.
    message.extend([0; 4]);
    message.extend(index.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// The acknowledgement is an error message whose error is zero.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let (Some(kind), Some(error)) = (answer.get(4..6), answer.get(16..20)) else {
        return Err(io::Error::other("short netlink answer"));
    };
    let (kind, error) = (u16::from_ne_bytes([kind[0], kind[1]]), [error[0], error[1], error[2], error[3]]);
    match i32::from_ne_bytes(error) {
        0 if kind == NLMSG_ERROR => Ok(()),
        error if kind == NLMSG_ERROR => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::Error::other(format!("netlink answered with message type {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, error: i32) -> Vec<u8> {
        let mut answer = vec![0; 20];
        answer[4..6].copy_from_slice(&kind.to_ne_bytes());
        answer[16..20].copy_from_slice(&error.to_ne_bytes());
        answer
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        let message = set_up(1);
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
    }

    #[test]
    fn an_answer_is_an_acknowledgement_or_an_error() {
        assert!(acknowledged(&answer(NLMSG_ERROR, 0)).is_ok());
        assert_eq!(acknowledged(&answer(NLMSG_ERROR, -1)).unwrap_err().raw_os_error(), Some(1));
        assert!(acknowledged(&answer(3, 0)).is_err());
        assert!(acknowledged(&[0; 3]).is_err());
    }
}

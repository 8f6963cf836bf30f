//! `sock_diag` by netlink: asks the kernel for sockets by state and port, reads its answers without copying.
//!
//! One [`Diag`] is bound to the namespace of the thread that opened it and stays there, so that looks at many namespaces
//! need no `setns(2)` each. net/ipv4/inet_diag.c, include/uapi/linux/inet_diag.h.

mod message;
mod request;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tcproof_core::Absent;

pub use message::{Socket, dump_messages};
pub use request::{Extensions, Ports, Request, States};

/// The kernel fills at most 32 KiB of a dump's buffer; a larger one saves nothing.
const BUFFER_BYTES: usize = 32 * 1024;
/// A kernel that does not answer a dump within this time is reported, not waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A socket to the kernel's socket monitor.
#[derive(Debug)]
pub struct Diag {
    fd: OwnedFd,
    sequence: u32,
}

impl Diag {
    /// Opens one in the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel has no `NETLINK_SOCK_DIAG` or refuses the socket.
    pub fn open() -> Result<Self, Absent> {
        let open = || -> io::Result<OwnedFd> {
            let fd = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(netlink::SOCK_DIAG),
            )?;
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
            Ok(fd)
        };
        let fd = open().map_err(|error| absent(&error))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Dumps the sockets that the request describes, in the order of the kernel's tables.
    ///
    /// # Errors
    /// When the kernel refuses, has no such table, or its answer is not a dump.
    pub fn dump(&mut self, request: &Request, mut each: impl FnMut(&Socket<'_>)) -> Result<(), Absent> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.encode(self.sequence);
        rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|errno| absent(&errno.into()))?;
        // Not kept: a host of a thousand namespaces has a thousand of these.
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let (read, _) = match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
                Ok(read) => read,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(absent(&errno.into())),
            };
            if dump_messages(&buffer[..read], self.sequence, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// An error of the netlink socket, in the words of a reading.
fn absent(error: &io::Error) -> Absent {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => Absent::Permission {
            what: "sockets through sock_diag".into(),
            needs: "a sandbox that allows NETLINK_SOCK_DIAG".into(),
        },
        // The module is not loaded and may not be: NOENT without tcp_diag or mptcp_diag, OPNOTSUPP without inet_diag
        // (the old interface), PROTONOSUPPORT without sock_diag.
        Some(
            rustix::io::Errno::NOENT
            | rustix::io::Errno::OPNOTSUPP
            | rustix::io::Errno::PROTONOSUPPORT
            | rustix::io::Errno::AFNOSUPPORT,
        ) => Absent::not_in_kernel("sock_diag for this protocol (module tcp_diag, for MPTCP mptcp_diag)"),
        _ => Absent::Failed { what: "sock_diag".into(), error: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernel_shows_a_listener_with_its_backlog_inode_and_drops() {
        use std::os::fd::AsFd;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let request = Request::tcp(States::LISTEN).with(Extensions::SKMEMINFO);
        let mut seen = Vec::new();
        Diag::open()
            .unwrap()
            .dump(&request, |socket| {
                if socket.local().port == port {
                    seen.push((socket.inode(), socket.rqueue(), socket.wqueue() > 0, socket.drops()));
                }
            })
            .unwrap();
        assert_eq!(seen, [(inode, 0, true, Some(0))]);
    }

    #[test]
    fn a_port_filter_shows_those_ports_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, _server) = (std::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let port = client.unwrap().local_addr().unwrap().port();
        let count = |ports: Ports| {
            let mut ports_seen = Vec::new();
            let request = Request::tcp(States::ALL_BUT_LISTEN).local_ports(ports);
            Diag::open().unwrap().dump(&request, |socket| ports_seen.push(socket.local().port)).unwrap();
            ports_seen
        };
        assert!(count(Ports { low: port, high: port }).iter().all(|seen| *seen == port));
        assert!(!count(Ports { low: port, high: port }).is_empty());
        assert!(!count(Ports { low: 1, high: port - 1 }).contains(&port));
    }
}

//! `sock_diag` by netlink: asks the kernel for sockets by state and port, reads its answers without copying.
//!
//! One [`Diag`] is bound to the namespace of the thread that opened it and stays there, so that looks at many namespaces
//! need no `setns(2)` each. net/ipv4/inet_diag.c, include/uapi/linux/inet_diag.h.

mod message;
mod request;
mod tcp_info;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tcproof_core::Absent;

pub use message::{Socket, dump_messages};
pub use request::{ANY_COOKIE, Ends, Extensions, Ports, Request, States};
pub use tcp_info::{Moved, moved, sample};

/// The kernel fills at most 32 KiB of a dump's buffer; a larger one saves nothing.
const BUFFER_BYTES: usize = 32 * 1024;
/// One socket with all that is asked for is less than 1 KiB.
const ONE_SOCKET_BYTES: usize = 4096;
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

    /// Looks at one connection, without a walk of the table. `None` when it is gone.
    ///
    /// # Errors
    /// When the kernel refuses, or its answer is not a socket.
    pub fn look<T>(
        &mut self,
        ends: &Ends,
        extensions: Extensions,
        mut read: impl FnMut(&Socket<'_>) -> T,
    ) -> Result<Option<T>, Absent> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request::lookup(ends, extensions, self.sequence);
        rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|errno| absent(&errno.into()))?;
        let mut buffer = [0; ONE_SOCKET_BYTES];
        let read_bytes = self.receive(&mut buffer)?;
        let mut seen = None;
        // Of a connection that is gone the kernel finds the listener it came to (`inet_lookup`), which has no other end.
        let mut each = |socket: &Socket<'_>| {
            if socket.remote().port == ends.remote.port {
                seen = Some(read(socket));
            }
        };
        match dump_messages(&buffer[..read_bytes], self.sequence, &mut each) {
            // No such connection (any more): ENOENT, or ESTALE where the ports are another one's by now.
            Err(_) if gone(&buffer[..read_bytes]) => Ok(None),
            Err(why) => Err(why),
            Ok(_) => Ok(seen),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Absent> {
        loop {
            match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
                Ok((read, _)) => return Ok(read),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(absent(&errno.into())),
            }
        }
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
            let read = self.receive(&mut buffer)?;
            if dump_messages(&buffer[..read], self.sequence, &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Whether an answer says that there is no such connection.
fn gone(answer: &[u8]) -> bool {
    let errno = |raw: rustix::io::Errno| answer.get(16..20) == Some(&raw.raw_os_error().wrapping_neg().to_ne_bytes());
    errno(rustix::io::Errno::NOENT) || errno(rustix::io::Errno::STALE)
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
    fn one_connection_is_found_by_its_hash_and_told_apart_from_one_that_is_gone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                println!("SKIP: {address} can't be bound here");
                continue;
            };
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = listener.accept().unwrap().0;
            let mut diag = Diag::open().unwrap();
            let mut ends = Ends {
                local: client.local_addr().unwrap().into(),
                remote: client.peer_addr().unwrap().into(),
                device: 0,
                cookie: ANY_COOKIE,
            };
            let whole = Extensions::INFO.and(Extensions::SKMEMINFO).and(Extensions::CONG);
            let mut look = |ends: &Ends| {
                diag.look(ends, whole, |socket| {
                    (sample(socket, Duration::ZERO).unwrap(), socket.congestion().unwrap(), socket.cookie())
                })
            };
            std::io::Write::write_all(&mut &client, b"hello").unwrap();
            let (seen, congestion, cookie) = look(&ends).unwrap().unwrap();
            assert!(seen.snd_cwnd > 0 && seen.sndbuf > 0 && !congestion.is_empty());
            ends.cookie = cookie;
            assert!(look(&ends).unwrap().is_some());
            // Another connection of the same ports is another one.
            ends.cookie = cookie ^ 1;
            assert_eq!(look(&ends), Ok(None));
            ends.cookie = cookie;
            drop((client, server));
            ends.remote.port ^= 1;
            assert_eq!(look(&ends), Ok(None));
            // Nor is it the listener, which would be found in place of it.
            let mut gone = Ends { local: ends.remote, remote: ends.local, cookie: ANY_COOKIE, ..ends };
            gone.local.port ^= 1;
            gone.remote.port = 9;
            assert_eq!(look(&gone), Ok(None));
        }
    }

    #[test]
    fn a_port_filter_shows_those_ports_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, _server) = (std::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let port = client.unwrap().local_addr().unwrap().port();
        let count = |ports: Ports, except: &[u16]| {
            let mut ports_seen = Vec::new();
            let request = Request::tcp(States::ALL_BUT_LISTEN).local_ports(ports, except);
            Diag::open().unwrap().dump(&request, |socket| ports_seen.push(socket.local().port)).unwrap();
            ports_seen
        };
        let (only, all) = (Ports { low: port, high: port }, Ports { low: 1, high: u16::MAX });
        assert!(count(only, &[]).iter().all(|seen| *seen == port));
        assert!(!count(only, &[]).is_empty() && count(only, &[port]).is_empty());
        assert!(!count(Ports { low: 1, high: port - 1 }, &[]).contains(&port));
        let server = listener.local_addr().unwrap().port();
        assert!(count(all, &[]).contains(&server));
        let others = count(all, &[7, server, 9]);
        assert!(others.contains(&port) && !others.contains(&server));
        // More than the kernel is asked to leave out.
        let many: Vec<u16> = (1..=1_000).collect();
        assert!(count(all, &many).contains(&port));
    }
}

//! A network namespace's cookie. Its inode is given to another namespace as soon as it is gone; its cookie is given to none
//! a second time.

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// As all architectures but sparc and parisc have it (`asm-generic/socket.h`), since 5.14. What is no number of eight bytes is
/// refused, and then there is none.
const SO_NETNS_COOKIE: libc::c_int = 71;

sockopt_impl!(
    /// `net->net_cookie`.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    SO_NETNS_COOKIE,
    u64
);

/// The cookie of the calling thread's network namespace; none before 5.14.
pub fn netns_cookie() -> Option<u64> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    getsockopt(&socket, NetnsCookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_twice_where_there_is_one() {
        let Some(cookie) = netns_cookie() else { return println!("SKIP: this kernel has none") };
        assert_ne!(cookie, 0);
        assert_eq!(netns_cookie(), Some(cookie));
    }
}

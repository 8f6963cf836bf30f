//! TUN devices: what the namespace sends through one, this process reads, and what it writes arrives there.
//!
//! The crates that make them bring an interface manager with them; this is one ioctl, in the one unsafe function below.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::{Error, Result, netns};

/// `_IOW('T', 202, int)`; the kernel copies a whole `struct ifreq` all the same.
const TUNSETIFF: Opcode = opcode::write::<std::ffi::c_int>(b'T', 202);
/// IP packets, without an Ethernet header.
const IFF_TUN: u16 = 0x0001;
/// Without four bytes of packet information in front of each.
const IFF_NO_PI: u16 = 0x1000;

/// `struct ifreq`, as TUNSETIFF reads it: name and flags.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// A TUN device. It goes when this value does.
///
/// It has no segmentation offload, so the kernel cuts everything into packets of at most the MTU before it gets here,
/// and each one is read and written by itself.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
}

impl Tun {
    /// Makes one in the calling thread's namespace. It is down.
    ///
    /// # Errors
    /// The kernel's ([`Error::Unsupported`] without `/dev/net/tun`), or outside the lab.
    pub fn new(link: &str) -> Result<Self> {
        let operation = format!("make TUN device {link}");
        netns::require_lab(&operation)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|errno| {
            // ENODEV and ENXIO: the node is there, the driver is not.
            Error::kernel(&*operation, errno).lacking("TUN devices", &[Errno::NOENT, Errno::NODEV, Errno::NXIO])
        })?;
        attach(fd.as_fd(), link).map_err(|errno| Error::kernel(operation, errno))?;
        Ok(Self { fd })
    }

    /// The next packet, or EAGAIN.
    pub(crate) fn read(&self, packet: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::read(&self.fd, packet)
    }

    /// Hands a packet to the namespace.
    pub(crate) fn write(&self, packet: &[u8]) -> rustix::io::Result<usize> {
        rustix::io::write(&self.fd, packet)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn attach(fd: BorrowedFd<'_>, link: &str) -> rustix::io::Result<()> {
    let mut request = InterfaceRequest { name: [0; 16], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
    // The last byte stays zero.
    let Some(name) = request.name[..15].get_mut(..link.len()) else { return Err(Errno::NAMETOOLONG) };
    name.copy_from_slice(link.as_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq` (40 bytes on every 64-bit Linux), which `InterfaceRequest` is, and writes
    // it back with the name that it chose; any bytes are valid values of its fields.
    unsafe { ioctl(fd, Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_large_as_the_kernels() {
        assert_eq!((size_of::<InterfaceRequest>(), TUNSETIFF), (40, 0x4004_54ca));
    }
}

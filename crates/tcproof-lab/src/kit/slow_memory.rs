//! Memory that is not there when the kernel wants to write to it, as if it had to be fetched from a disk first: a page
//! under userfaultfd(2), whose faults are answered late. A call that copies to it keeps its socket locked meanwhile.
//!
//! Unsafe, because nothing of this has a safe call: the page is raw memory, and the three ioctls are userfaultfd's own.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags, UserfaultfdFlags, madvise, mmap_anonymous, userfaultfd};

/// One page, on every kernel that the lab runs on.
const PAGE: usize = 4096;
/// `UFFD_API`, which is also the ioctls' group.
const API: u8 = 0xAA;
/// `UFFDIO_REGISTER_MODE_MISSING`.
const MISSING: u64 = 1;

/// `struct uffdio_api`.
#[repr(C)]
struct Handshake {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register` and `struct uffdio_zeropage`: a range, a mode, and a number that the kernel writes.
#[repr(C)]
struct Range {
    start: u64,
    length: u64,
    mode: u64,
    answer: u64,
}

/// A page that is there only some time after it is needed.
pub struct SlowPage {
    /// Never given back: the thread that answers the faults lives as long as the process.
    page: *mut c_void,
}

impl SlowPage {
    /// A page whose faults take so long.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the kernel has no userfaultfd, or does not let this user answer its own
    /// faults (CAP_SYS_PTRACE).
    pub fn new(delay: Duration) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let page = unsafe {
            mmap_anonymous(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        let start = page as u64;
        // SAFETY: the descriptor is used for the page above alone, which nobody else knows.
        let faults = unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC) }.map_err(|errno| match errno {
            Errno::NOSYS | Errno::PERM => io::Error::new(io::ErrorKind::Unsupported, "userfaultfd"),
            other => other.into(),
        })?;
        let mut api = Handshake { api: API.into(), features: 0, ioctls: 0 };
        // SAFETY: UFFDIO_API reads and writes a `struct uffdio_api`, which this is.
        unsafe { ioctl(&faults, Updater::<{ opcode::read_write::<Handshake>(API, 0x3F) }, _>::new(&mut api)) }?;
        let mut range = Range { start, length: PAGE as u64, mode: MISSING, answer: 0 };
        // SAFETY: UFFDIO_REGISTER reads and writes a `struct uffdio_register`, which this is.
        unsafe { ioctl(&faults, Updater::<{ opcode::read_write::<Range>(API, 0x00) }, _>::new(&mut range)) }?;
        std::thread::spawn(move || answer(&faults, start, delay));
        Ok(Self { page })
    }

    /// Reads what is there into the page, which has to be fetched for it first. Without data it does not wait.
    ///
    /// # Errors
    /// As of read(2).
    pub fn read(&mut self, from: impl AsFd) -> io::Result<usize> {
        // SAFETY: the page is ours, mapped for ever, and no reference into it is alive; its bytes become zero.
        unsafe { madvise(self.page, PAGE, Advice::LinuxDontNeed) }?;
        // SAFETY: as above; any byte is a valid `u8`, and the borrow ends with the call.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.page.cast::<u8>(), PAGE) };
        Ok(rustix::io::read(from, buffer)?)
    }
}

impl fmt::Debug for SlowPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowPage")
    }
}

/// Answers each fault with a page of zeros, late.
fn answer(faults: &OwnedFd, start: u64, delay: Duration) {
    // There is one page, so what the message says is known.
    while rustix::io::read(faults, &mut [0_u8; 32]).is_ok() {
        std::thread::sleep(delay);
        let mut range = Range { start, length: PAGE as u64, mode: 0, answer: 0 };
        // SAFETY: UFFDIO_ZEROPAGE reads and writes a `struct uffdio_zeropage`, which this is; it fills a page that is
        // missing, and fails where one is there.
        let filled =
            unsafe { ioctl(faults, Updater::<{ opcode::read_write::<Range>(API, 0x04) }, _>::new(&mut range)) };
        if filled.is_err_and(|errno| errno != Errno::EXIST) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_read_takes_as_long_as_the_page_does() {
        let delay = Duration::from_millis(50);
        let mut page = match SlowPage::new(delay) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return println!("SKIP: no {error} here"),
            page => page.expect("a page under userfaultfd"),
        };
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        for _ in 0..2 {
            writer.write_all(b"data").expect("a pipe takes four bytes");
            let start = Instant::now();
            assert_eq!(page.read(&reader).expect("there is data"), 4);
            assert!(start.elapsed() >= delay);
        }
    }
}

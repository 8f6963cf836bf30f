//! The one unsafe call of the kit: unshare(2) of the network namespace.
#![allow(unsafe_code)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a new, empty network namespace.
pub(super) fn network() -> io::Result<()> {
    // SAFETY: unshare(2) is unsafe for CLONE_FILES only (a thread with another descriptor table invalidates borrowed
    // descriptors); CLONE_NEWNET changes nothing that Rust's types speak about.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

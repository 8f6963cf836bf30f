//! TCP_FASTOPEN on a listener, for which no crate of the lab has a safe call.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

use super::{Error, Result, netns};

/// Lets a listener take data with the SYN, from at most `queue` clients that have not finished their handshake.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn listen(socket: &impl AsFd, queue: u32) -> Result<()> {
    let operation = format!("set TCP_FASTOPEN = {queue}");
    netns::require_lab(&operation)?;
    let queue = queue.cast_signed();
    // SAFETY: TCP_FASTOPEN reads an int, which `queue` is and stays for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const queue).cast(),
            size_of_val(&queue) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(Error::kernel(operation, io::Error::last_os_error())) }
}

//! Which process holds which TCP socket: one read of all descriptors, in the kernel. `/proc/PID/fd` tells the same, a system
//! call each.
//!
//! The program is `programs/task_file.bpf.c`, an iterator: it runs while its file is read, and at no other time.

use std::io::{ErrorKind, Read};

use crate::programs;
use crate::refused::Refused;
use crate::skeleton::Loaded;
use crate::sys;

/// As in `task_file.bpf.c`.
const RECORD: usize = 24;
/// The kernel gives at most 32 KiB a read.
const BUFFER_BYTES: usize = 32 * 1024;

/// A descriptor that leads to a TCP or MPTCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The process (thread group), by its number in this process's pid namespace.
    pub pid: u32,
    /// The descriptor.
    pub fd: u32,
    /// The socket's inode.
    pub inode: u64,
    /// The inode of its network namespace.
    pub netns: u32,
    /// The protocol: TCP (6) or MPTCP (262).
    pub protocol: u16,
    /// Its state, as in include/net/tcp_states.h.
    pub state: u8,
}

/// The iterator, loaded.
#[derive(Debug)]
pub struct Files {
    loaded: Loaded,
}

impl Files {
    /// Loads it.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn load() -> Result<Self, Refused> {
        Ok(Self { loaded: programs::TASK_FILE.load()? })
    }

    /// Reads all descriptors of all processes of this pid namespace. What one process holds twice comes twice.
    ///
    /// # Errors
    /// When the kernel can't run the iterator or its file not be read.
    pub fn for_each(&self, each: impl FnMut(&Holding)) -> Result<(), Refused> {
        let failed = |error| Refused::failed("listing descriptors by eBPF", error);
        let file = sys::iterate(self.loaded.program("files")?).map_err(failed)?;
        read(file, each).map_err(failed)
    }
}

fn read(mut file: impl Read, mut each: impl FnMut(&Holding)) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut kept = 0;
    loop {
        match file.read(&mut buffer[kept..]) {
            Ok(0) if kept == 0 => return Ok(()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                let filled = kept + bytes;
                let whole = filled - filled % RECORD;
                for record in buffer[..whole].chunks_exact(RECORD) {
                    each(&holding(record));
                }
                buffer.copy_within(whole..filled, 0);
                kept = filled - whole;
            }
            // After a million descriptors of which none was a socket the kernel takes a breath (bpf_iter.c): EAGAIN.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn holding(record: &[u8]) -> Holding {
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&record[at..at + 4]);
        u32::from_ne_bytes(bytes)
    };
    let (protocol_state, inode) = (word(20), u64::from(word(0)) | u64::from(word(4)) << 32);
    Holding {
        inode,
        pid: word(8),
        fd: word(12),
        netns: word(16),
        protocol: protocol_state as u16,
        state: (protocol_state >> 16) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let words = [n, 1, n + 1, n + 2, n + 3, 262 | 10 << 16];
        for (bytes, word) in record.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        record
    }

    /// A file that gives a few bytes at a time, and now and then an error that means "again".
    struct Slow<'a> {
        rest: &'a [u8],
        step: usize,
        calls: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(
                    if self.calls.is_multiple_of(2) { ErrorKind::WouldBlock } else { ErrorKind::Interrupted }.into()
                );
            }
            let bytes = self.rest.len().min(self.step).min(buffer.len());
            buffer[..bytes].copy_from_slice(&self.rest[..bytes]);
            self.rest = &self.rest[bytes..];
            Ok(bytes)
        }
    }

    #[test]
    fn records_are_put_together_from_any_pieces() {
        let all: Vec<u8> = (0..50).flat_map(record).collect();
        for step in [1, 5, 24, 25, 4096] {
            let mut met = Vec::new();
            read(Slow { rest: &all, step, calls: 0 }, |holding| met.push(*holding)).unwrap();
            assert_eq!(met.len(), 50, "{step}");
            let expected = Holding { inode: 1 << 32 | 7, pid: 8, fd: 9, netns: 10, protocol: 262, state: 10 };
            assert_eq!(met[7], expected);
        }
    }

    #[test]
    fn a_file_that_ends_in_a_record_is_an_error() {
        assert!(read(&record(1)[..20], |_| {}).is_err());
    }
}

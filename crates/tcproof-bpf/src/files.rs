//! Which process holds which TCP socket: one walk through all descriptors, in the kernel. `/proc/PID/fd` tells the same, a
//! system call each.
//!
//! The programs are `programs/files.bpf.c`: an iterator over the processes, which runs while its file is read, and a walk
//! through the descriptors of one, which runs when it is called. Neither is attached to anything.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;

use rustc_hash::FxBuildHasher;

use crate::programs;
use crate::refused::Refused;
use crate::skeleton::Loaded;
use crate::sys::{self, View};

/// As in `files.bpf.c`.
const RECORD: usize = 32;
/// The kernel gives at most 32 KiB a read.
const BUFFER_BYTES: usize = 32 * 1024;
/// As there: the words before the sockets.
const HEAD: usize = 16 + 3 * 512;
/// As there: the buffer, in bytes. A multiple of every page size.
const SOCKETS_BYTES: usize = 64 * 1024;

/// A descriptor that leads to a TCP or MPTCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The process (thread group), by its number in this process's pid namespace.
    pub pid: u32,
    /// The descriptor.
    pub fd: u32,
    /// The inode of its network namespace.
    pub netns: u32,
    /// The protocol: TCP (6) or MPTCP (262).
    pub protocol: u16,
    /// Its state, as in include/net/tcp_states.h.
    pub state: u8,
}

/// The programs, loaded.
#[derive(Debug)]
pub struct Files {
    loaded: Loaded,
}

impl Files {
    /// Loads them.
    ///
    /// # Errors
    /// Why they can't be.
    pub fn load() -> Result<Self, Refused> {
        Ok(Self { loaded: programs::FILES.load()? })
    }

    /// Reads all descriptors of all processes of this pid namespace. What one process holds twice comes twice. Processes that
    /// end meanwhile come in part or not at all.
    ///
    /// # Errors
    /// When the kernel can't run a program or its file not be read.
    pub fn for_each(&self, mut each: impl FnMut(&Holding)) -> Result<(), Refused> {
        let failed = |error| Refused::failed("listing descriptors by eBPF", error);
        let (program, map) = (self.loaded.program("files")?, self.loaded.map("buffer")?);
        let buffer = View::new(map, 0, SOCKETS_BYTES).map_err(failed)?;
        // By it the programs know what a socket's file is.
        let own = UnixDatagram::unbound().map_err(failed)?;
        for task in self.tasks()? {
            walk(program, &buffer, &own, &task, &mut each).map_err(failed)?;
        }
        Ok(())
    }

    fn tasks(&self) -> Result<Vec<Task>, Refused> {
        let failed = |error| Refused::failed("listing processes by eBPF", error);
        let file = sys::iterate(self.loaded.program("tasks")?).map_err(failed)?;
        let mut tasks = Vec::new();
        // Threads of a process whose first one has ended share a table, and none of them is the one to ask.
        let mut known = HashSet::with_hasher(FxBuildHasher);
        read(file, |task| tasks.extend(known.insert((task.pid, task.files)).then_some(task))).map_err(failed)?;
        Ok(tasks)
    }
}

/// A process, or a thread that has a table of descriptors of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    /// Where it is: `struct task_struct *`.
    address: u64,
    /// When it began. What is at that address later began later.
    born: u64,
    /// Its table: `struct files_struct *`.
    files: u64,
    pid: u32,
}

fn walk(
    program: BorrowedFd<'_>,
    buffer: &View,
    own: &UnixDatagram,
    task: &Task,
    each: &mut impl FnMut(&Holding),
) -> std::io::Result<()> {
    let own = u64::from(own.as_fd().as_raw_fd().unsigned_abs());
    let mut from = 0;
    loop {
        // It has gone.
        if sys::run(program, &[task.address, task.born, from, own])? == 0 {
            return Ok(());
        }
        let (used, next) = (buffer.word(0), buffer.word(1));
        let sockets = buffer.words().get(HEAD..).unwrap_or_default();
        let used = sockets.get(..usize::try_from(used).unwrap_or(0)).unwrap_or_default();
        for words in used.chunks_exact(2) {
            each(&holding(task.pid, [0, 1].map(|n: usize| words[n].load(Ordering::Relaxed))));
        }
        // The last ones were read, or there is no way on.
        if next <= from {
            return Ok(());
        }
        from = next;
    }
}

fn holding(pid: u32, [first, second]: [u64; 2]) -> Holding {
    Holding {
        pid,
        fd: first as u32,
        netns: second as u32,
        protocol: (second >> 32) as u16,
        state: (second >> 48) as u8,
    }
}

fn read(mut file: impl Read, mut each: impl FnMut(Task)) -> std::io::Result<()> {
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
                    each(task(record));
                }
                buffer.copy_within(whole..filled, 0);
                kept = filled - whole;
            }
            // After a million tasks of which none was written down the kernel takes a breath (bpf_iter.c): EAGAIN.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn task(record: &[u8]) -> Task {
    let word = |n: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[8 * n..8 * n + 8]);
        u64::from_ne_bytes(bytes)
    };
    Task { address: word(0), born: word(1), files: word(2), pid: word(3) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        for (bytes, word) in record.chunks_exact_mut(8).zip([n, n + 1, n + 2, n + 3]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        record
    }

    #[test]
    fn a_socket_is_two_words() {
        let words = [9, 11 | 262 << 32 | 10 << 48];
        let expected = Holding { pid: 8, fd: 9, netns: 11, protocol: 262, state: 10 };
        assert_eq!(holding(8, words), expected);
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
        for step in [1, 5, 32, 33, 4096] {
            let mut met = Vec::new();
            read(Slow { rest: &all, step, calls: 0 }, |task| met.push(task)).unwrap();
            assert_eq!(met.len(), 50, "{step}");
            assert_eq!(met[7], Task { address: 7, born: 8, files: 9, pid: 10 });
        }
    }

    #[test]
    fn a_file_that_ends_in_a_record_is_an_error() {
        assert!(read(&record(1)[..20], |_| ()).is_err());
    }
}

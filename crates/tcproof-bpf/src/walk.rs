//! The walk of the kernel's tables of connections: every TCP socket but listeners and closed ones, of every network
//! namespace, a record each. A million takes less than a tenth of a second, for nothing is formatted or locked.
//!
//! The programs are `programs/walk.bpf.c`. What is counted is for the caller to decide: one fold for all backends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::programs;
use crate::refused::Refused;
use crate::skeleton::Loaded;
use crate::sys::{self, View};

/// As in `walk.bpf.c`: how many may walk at once, each with a buffer of its own.
const THREADS: usize = 8;
/// As there: one of those, in bytes. A multiple of every page size.
const BUFFER_BYTES: usize = 256 * 1024;
/// As there: the words before the records.
const HEAD: usize = 8;
const LANES: u64 = 4;
/// Buckets of one call, when they are empty: about 0.1 ms. Preemption is off during a call.
const BUCKETS_A_CALL: u64 = 8192;
/// Buckets that one thread takes at a time.
const STRIPE: u64 = 4 * BUCKETS_A_CALL;
/// Below so many buckets a second thread costs more than it saves.
const BUCKETS_A_THREAD: u64 = STRIPE;

const AF_INET6: u64 = 10;
const NEW_SYN_RECV: u8 = 12;
const SYN_RECV: u8 = 3;

/// One connection as the walk met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// The inode of its network namespace.
    pub netns: u32,
    /// As in include/net/tcp_states.h; a half-open one is `SYN_RECV` (3), as in `sock_diag`.
    pub state: u8,
    /// This end. A v4-mapped address is one of IPv6.
    pub local: (IpAddr, u16),
    /// The other end.
    pub remote: (IpAddr, u16),
}

/// A hash table of connections, which one or more network namespaces use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    address: u64,
    /// How many buckets it has.
    pub buckets: u64,
    /// `struct net *` of the only namespace wanted, or 0.
    only: u64,
}

/// How well a walk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Groups of chains that did not hold still, again and again, or did not fit: what was met there may be short. With
    /// any of them the counts are not to be trusted.
    pub astray: u64,
    /// Groups of chains that were walked again, since a socket moved to another one meanwhile.
    pub retried: u64,
    /// Calls of the kernel.
    pub calls: u64,
    /// Whether the kernel has the fast way to read (6.2 and later).
    pub is_fast: bool,
}

/// The walk, loaded.
#[derive(Debug)]
pub struct Walk {
    loaded: Loaded,
}

impl Walk {
    /// Loads it.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn load() -> Result<Self, Refused> {
        Ok(Self { loaded: programs::WALK.load()? })
    }

    /// The tables of all network namespaces of this kernel, also of those that this process could not enter. All
    /// namespaces share one, but those made under a `net.ipv4.tcp_child_ehash_entries`.
    ///
    /// # Errors
    /// When the kernel's list of namespaces changed so much meanwhile that its end was not found.
    pub fn tables(&self) -> Result<Vec<Table>, Refused> {
        let listed = self.list(0)?;
        let distinct: BTreeMap<u64, Table> =
            listed.into_iter().map(|table| (table.address, Table { only: 0, ..table })).collect();
        Ok(distinct.into_values().collect())
    }

    /// The table of one namespace, for a walk that skips what is not in it. `None`: there is no such namespace.
    ///
    /// # Errors
    /// As [`Walk::tables`].
    pub fn table_of(&self, netns: u32) -> Result<Option<Table>, Refused> {
        Ok(self.list(netns.into())?.first().copied())
    }

    fn list(&self, netns: u64) -> Result<Vec<Table>, Refused> {
        const WHAT: &str = "listing network namespaces by eBPF";
        let buffer = View::new(self.loaded.map("buffers")?, 0, BUFFER_BYTES).map_err(|e| Refused::failed(WHAT, e))?;
        let program = self.loaded.program("tables")?;
        let ran = sys::run(program, &[0, netns]).map_err(|error| Refused::failed(WHAT, error))?;
        let [used, astray] = [0, 2].map(|word| buffer.word(word));
        if ran != 1 || astray != 0 {
            return Err(Refused::failed(WHAT, "the kernel's list did not end"));
        }
        let words = records(&buffer, used);
        let tables = words.chunks_exact(4).filter_map(|words| {
            let [_, net, address, mask] = [0, 1, 2, 3].map(|n| words[n].load(Ordering::Relaxed));
            // Namespaces that are being made or taken apart have none.
            (address != 0).then_some(Table { address, buckets: mask + 1, only: if netns == 0 { 0 } else { net } })
        });
        Ok(tables.collect())
    }

    /// Walks a table with up to `threads` threads. Each folds into a value of its own, which `fold` gets with every record.
    ///
    /// # Errors
    /// When a program can't be run or a thread not be made.
    pub fn fold<T: Send>(
        &self,
        table: &Table,
        threads: usize,
        start: impl Fn() -> T + Sync,
        fold: impl Fn(&mut T, Met) + Sync,
    ) -> Result<(Vec<T>, Pass), Refused> {
        let worth = usize::try_from(table.buckets.div_ceil(BUCKETS_A_THREAD)).unwrap_or(THREADS);
        let threads = threads.clamp(1, THREADS).min(worth);
        let (program, map) = (self.loaded.program("walk")?, self.loaded.map("buffers")?);
        let next = AtomicU64::new(0);
        let work = |slot: usize| {
            let mut walker = Walker { program, slot, table, buffer: buffer(map, slot)?, pass: Pass::default() };
            let mut value = start();
            walker.walk(&next, &mut |met| fold(&mut value, met))?;
            Ok((value, walker.pass))
        };
        // The first of them is this one: with one thread, none is made.
        let done: Vec<Result<(T, Pass), Refused>> = thread::scope(|scope| {
            let mut others = Vec::new();
            for slot in 1..threads {
                // What can't be made is not missed: the others take its part.
                let other = thread::Builder::new().name("census".into()).spawn_scoped(scope, move || work(slot));
                others.extend(other.ok());
            }
            let own = work(0);
            let joined =
                others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            [own].into_iter().chain(joined).collect()
        });
        let mut values = Vec::new();
        let mut whole = Pass::default();
        for one in done {
            let (value, pass) = one?;
            values.push(value);
            whole = Pass {
                astray: whole.astray + pass.astray,
                retried: whole.retried + pass.retried,
                calls: whole.calls + pass.calls,
                is_fast: whole.is_fast || pass.is_fast,
            };
        }
        Ok((values, whole))
    }
}

fn buffer(map: BorrowedFd<'_>, slot: usize) -> Result<View, Refused> {
    View::new(map, slot, BUFFER_BYTES).map_err(|error| Refused::failed("sharing memory with eBPF", error))
}

/// The words that a program wrote, as many as it says and no more than there are.
fn records(buffer: &View, used: u64) -> &[AtomicU64] {
    let words = buffer.words().get(HEAD..).unwrap_or_default();
    let used = usize::try_from(used).unwrap_or(usize::MAX).min(words.len());
    &words[..used]
}

/// One thread of a walk.
struct Walker<'a> {
    program: BorrowedFd<'a>,
    slot: usize,
    table: &'a Table,
    buffer: View,
    pass: Pass,
}

impl Walker<'_> {
    /// Takes stripes of the table until there are none.
    fn walk(&mut self, next: &AtomicU64, each: &mut dyn FnMut(Met)) -> Result<(), Refused> {
        loop {
            let first = next.fetch_add(STRIPE, Ordering::Relaxed);
            if first >= self.table.buckets {
                return Ok(());
            }
            self.stripe(first, (first + STRIPE).min(self.table.buckets), each)?;
        }
    }

    fn stripe(&mut self, first: u64, end: u64, each: &mut dyn FnMut(Met)) -> Result<(), Refused> {
        const WHAT: &str = "walking the table of connections by eBPF";
        let mut bucket = first;
        while bucket < end {
            let arguments =
                [self.slot as u64, self.table.address, bucket, end, self.table.only, BUCKETS_A_CALL / LANES];
            let ran = sys::run(self.program, &arguments).map_err(|error| Refused::failed(WHAT, error))?;
            let [used, reached, astray, retried, path] = [0, 1, 2, 3, 7].map(|word| self.buffer.word(word));
            // Each call gets on, if only past one group of chains: else this would never end.
            if ran != 1 || (reached <= bucket && retried == 0) {
                return Err(Refused::failed(WHAT, "the program did not run to its end"));
            }
            self.pass.calls += 1;
            self.pass.astray += astray;
            self.pass.retried += retried;
            self.pass.is_fast = path == 2;
            bucket = reached;
            decode(records(&self.buffer, used), each);
        }
        Ok(())
    }
}

/// Reads the records of `walk.bpf.c`: two words, then one of addresses, or four for IPv6.
fn decode(words: &[AtomicU64], each: &mut dyn FnMut(Met)) {
    let word = |at: usize| words.get(at).map(|word| word.load(Ordering::Relaxed));
    let mut at = 0;
    while let (Some(first), Some(second), Some(third)) = (word(at), word(at + 1), word(at + 2)) {
        // Ports: the other end's in network order, then the own in the host's.
        let remote = u16::from_be((first >> 32) as u16);
        let local = (first >> 48) as u16;
        let ends = if second >> 16 == AF_INET6 {
            let (Some(b), Some(c), Some(d)) = (word(at + 3), word(at + 4), word(at + 5)) else { return };
            at += 6;
            (v6(third, b), v6(c, d))
        } else {
            at += 3;
            (v4(third as u32), v4((third >> 32) as u32))
        };
        let state = match second as u8 {
            NEW_SYN_RECV => SYN_RECV,
            state => state,
        };
        each(Met { netns: first as u32, state, local: (ends.1, local), remote: (ends.0, remote) });
    }
}

/// Addresses are in network order whatever the machine's.
fn v4(bytes: u32) -> IpAddr {
    Ipv4Addr::from(bytes.to_ne_bytes()).into()
}

fn v6(first: u64, second: u64) -> IpAddr {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    Ipv6Addr::from(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(words: &[u64]) -> Vec<Met> {
        let words: Vec<_> = words.iter().copied().map(AtomicU64::new).collect();
        let mut met = Vec::new();
        decode(&words, &mut |one| met.push(one));
        met
    }

    /// As `sock_common` has them: the port of the other end in network order.
    fn first(netns: u32, remote: u16, local: u16) -> u64 {
        u64::from(netns) | u64::from(remote.to_be()) << 32 | u64::from(local) << 48
    }

    #[test]
    fn records_of_both_families() {
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip: [u8; 4]| u64::from(u32::from_ne_bytes(ip)));
        let mapped: [u8; 16] = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let halves = [0, 8].map(|at| u64::from_ne_bytes(mapped[at..at + 8].try_into().unwrap()));
        let words = [
            [first(7, 80, 40000), 6 | 2 << 16, a | b << 32].as_slice(),
            &[
                first(8, 81, 40001),
                12 | 10 << 16,
                halves[0],
                halves[1],
                0,
                u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]),
            ],
            &[first(9, 82, 40002), 1 | 2 << 16, a | b << 32],
        ]
        .concat();
        let met = met(&words);
        assert_eq!(met.len(), 3);
        assert_eq!(met[0].netns, 7);
        assert_eq!(met[0].state, 6);
        assert_eq!(met[0].local, ("10.0.0.2".parse().unwrap(), 40000));
        assert_eq!(met[0].remote, ("10.0.0.1".parse().unwrap(), 80));
        assert_eq!(met[1].state, SYN_RECV);
        assert_eq!(met[1].local, ("::1".parse().unwrap(), 40001));
        assert_eq!(met[1].remote, ("::ffff:10.0.0.1".parse().unwrap(), 81));
        assert_eq!(met[2].netns, 9);
    }

    #[test]
    fn half_a_record_is_none() {
        for words in 0..6 {
            let record = [first(8, 81, 40001), 1 | 10 << 16, 1, 2, 3, 4];
            assert_eq!(met(&record[..words]), []);
        }
    }
}

//! The walk of the kernel's tables of connections: every TCP socket but listeners and closed ones, of every network
//! namespace, a record each. A million takes less than a tenth of a second, for nothing is formatted or locked.
//!
//! The programs are `programs/walk.bpf.c`. What is counted is for the caller to decide.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tcproof_core::census::Seen;
use tcproof_core::snapshot::Endpoint;

use crate::programs;
use crate::refused::Refused;
use crate::skeleton::Loaded;
use crate::sys::{self, View};

/// As in `walk.bpf.c`: how many may walk at once, each with a buffer of its own.
pub const THREADS: usize = 8;
/// As there: one of those, in bytes. A multiple of every page size.
const BUFFER_BYTES: usize = 256 * 1024;
/// As there: the words before the records.
const HEAD: usize = 20 + 2 * 16 + 512;
/// As there: the words of a namespace.
const NAMESPACE_WORDS: usize = 3;
/// Groups of buckets of one call, when they are empty: about 0.1 ms. Preemption is off during a call.
const ROUNDS: u64 = 128;
/// Buckets of a group, so many or fewer.
const GROUP: u64 = 64;
/// Buckets that one thread takes at a time. A smaller table is for one thread.
const STRIPE: u64 = 16 * 1024;

const AF_INET6: u8 = 10;
const TIME_WAIT: u8 = 6;
const NEW_SYN_RECV: u8 = 12;

/// What is wanted of each socket besides its state and its ends. Each costs a cache miss or two for every socket that is not
/// in TIME_WAIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct With {
    /// Its control group.
    pub cgroups: bool,
    /// The inode of its file, in place of the device that it is bound to.
    pub inodes: bool,
}

/// One connection as the walk met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// The inode of its network namespace.
    pub netns: u32,
    /// As in include/net/tcp_states.h; of what is kept of a connection in TIME_WAIT or FIN_WAIT2, which of these.
    pub state: u8,
    /// Not a whole socket: that, or a half-open request.
    pub is_small: bool,
    /// IPv6, a v4-mapped address among them.
    pub is_v6: bool,
    /// Port of this end.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
    /// The address of the other end, then of this one, as the kernel keeps them: for IPv4 in one word.
    pub addresses: [u64; 4],
    /// Of its file, where asked for; 0 where it has none.
    pub inode: u32,
    /// The device that it is bound to (`sk_bound_dev_if`), where no inode was asked for, or 0.
    pub device: u32,
    /// Its control group, where asked for.
    pub cgroup: Option<u64>,
}

impl Met {
    /// As all backends of the census have it.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let (local, remote) = if self.is_v6 {
            (v6(self.addresses[2], self.addresses[3]), v6(self.addresses[0], self.addresses[1]))
        } else {
            (v4((self.addresses[0] >> 32) as u32), v4(self.addresses[0] as u32))
        };
        Seen {
            state: self.state,
            small: self.is_small,
            local: Endpoint::new(local, self.local_port),
            remote: Endpoint::new(remote, self.remote_port),
            inode: self.inode.into(),
            cgroup: self.cgroup,
        }
    }
}

/// Addresses are in network order whatever the machine's.
pub(crate) fn v4(bytes: u32) -> IpAddr {
    Ipv4Addr::from(bytes.to_ne_bytes()).into()
}

pub(crate) fn v6(first: u64, second: u64) -> IpAddr {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    Ipv6Addr::from(bytes).into()
}

/// A network namespace, and the hash table that its connections are in. Most share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// Its inode.
    pub netns: u32,
    /// `struct net *`: for a walk that skips what is not in it.
    net: u64,
    /// The table.
    pub table: Table,
}

/// A hash table of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    address: u64,
    /// How many buckets it has.
    pub buckets: u64,
}

/// How well a walk went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Groups of chains that did not hold still, again and again, or did not fit: what was met there may be short.
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

    /// All network namespaces of this kernel, also those that nobody could enter.
    ///
    /// # Errors
    /// When there are more than 87 000.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, Refused> {
        self.list(0)
    }

    /// One namespace, if there is such a one.
    ///
    /// # Errors
    /// When the kernel's list has no end.
    pub fn namespace(&self, netns: u32) -> Result<Option<Namespace>, Refused> {
        Ok(self.list(netns.into())?.first().copied())
    }

    fn list(&self, netns: u64) -> Result<Vec<Namespace>, Refused> {
        const WHAT: &str = "listing network namespaces by eBPF";
        let (program, map) = (self.loaded.program("namespaces")?, self.loaded.map("buffers")?);
        let taken = sys::run(program, &[netns]).map_err(|error| Refused::failed(WHAT, error))?;
        if taken == 0 {
            return Err(Refused::failed(WHAT, "there are too many"));
        }
        let mut namespaces = Vec::new();
        for slot in 0..(taken as usize).min(THREADS) {
            let buffer = buffer(map, slot)?;
            for words in records(&buffer).chunks_exact(NAMESPACE_WORDS) {
                let [first, net, address] = [0, 1, 2].map(|n| words[n].load(Ordering::Relaxed));
                // One that is being made or taken apart has none.
                if address != 0 {
                    let table = Table { address, buckets: (first >> 32) + 1 };
                    namespaces.push(Namespace { netns: first as u32, net, table });
                }
            }
        }
        Ok(namespaces)
    }

    /// Walks a table, or what is in it of one namespace, with up to `threads` threads. Each folds into a value of its own,
    /// which `fold` gets with every record.
    ///
    /// # Errors
    /// When a program can't be run.
    pub fn fold<T: Send>(
        &self,
        table: &Table,
        only: Option<&Namespace>,
        with: With,
        threads: usize,
        start: impl Fn() -> T + Sync,
        fold: impl Fn(&mut T, &Met) + Sync,
    ) -> Result<(Vec<T>, Pass), Refused> {
        let worth = usize::try_from(table.buckets.div_ceil(STRIPE)).unwrap_or(THREADS);
        let threads = threads.clamp(1, THREADS).min(worth);
        let (program, map) = (self.loaded.program("walk")?, self.loaded.map("buffers")?);
        let only = only.map_or(0, |namespace| namespace.net);
        let next = AtomicU64::new(0);
        let work = |slot: usize| {
            let buffer = buffer(map, slot)?;
            let mut walker = Walker { program, slot, table, only, with, buffer, pass: Pass::default() };
            let mut value = start();
            walker.walk(&next, &mut |met| fold(&mut value, met))?;
            Ok((value, walker.pass))
        };
        let work = &work;
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
fn records(buffer: &View) -> &[AtomicU64] {
    let words = buffer.words().get(HEAD..).unwrap_or_default();
    let used = usize::try_from(buffer.word(0)).unwrap_or(usize::MAX).min(words.len());
    &words[..used]
}

/// One thread of a walk.
struct Walker<'a> {
    program: BorrowedFd<'a>,
    slot: usize,
    table: &'a Table,
    only: u64,
    with: With,
    buffer: View,
    pass: Pass,
}

impl Walker<'_> {
    /// Takes stripes of the table until there are none.
    fn walk(&mut self, next: &AtomicU64, each: &mut impl FnMut(&Met)) -> Result<(), Refused> {
        loop {
            let first = next.fetch_add(STRIPE, Ordering::Relaxed);
            if first >= self.table.buckets {
                return Ok(());
            }
            self.stripe(first, (first + STRIPE).min(self.table.buckets), each)?;
        }
    }

    fn stripe(&mut self, first: u64, end: u64, each: &mut impl FnMut(&Met)) -> Result<(), Refused> {
        const WHAT: &str = "walking the table of connections by eBPF";
        let with = u64::from(self.with.cgroups) | u64::from(self.with.inodes) << 1;
        let (mut bucket, mut group) = (first, GROUP);
        while bucket < end {
            let slot = self.slot as u64;
            let arguments = [slot, self.table.address, bucket, end, self.only, ROUNDS, with, group];
            let ran = sys::run(self.program, &arguments).map_err(|error| Refused::failed(WHAT, error))?;
            let [reached, astray, retried, size, path] = [1, 2, 3, 4, 5].map(|word| self.buffer.word(word));
            // Each call gets on, if only past one group of chains, or learns that the group is too large.
            if ran != 1 || (reached <= bucket && group == 1) {
                return Err(Refused::failed(WHAT, "the program did not run to its end"));
            }
            self.pass.calls += 1;
            self.pass.astray += astray;
            self.pass.retried += retried;
            self.pass.is_fast = path == 2;
            group = if reached > bucket { size } else { size.min(group / 2) }.max(1);
            bucket = reached;
            decode(records(&self.buffer), self.with, each);
        }
        Ok(())
    }
}

/// Reads the records of `walk.bpf.c`: two words, then one of addresses, or four for IPv6, then the control group if any.
fn decode(words: &[AtomicU64], with: With, each: &mut impl FnMut(&Met)) {
    const HAS_CGROUP: u64 = 1 << 24;
    let mut rest = words;
    let mut take = || {
        let (first, others) = rest.split_first()?;
        rest = others;
        Some(first.load(Ordering::Relaxed))
    };
    let mut one = || {
        let (first, about) = (take()?, take()?);
        let is_v6 = (about >> 16) as u8 == AF_INET6;
        let mut addresses = [take()?, 0, 0, 0];
        if is_v6 {
            addresses = [addresses[0], take()?, take()?, take()?];
        }
        let state = about as u8;
        let (inode, device) = if with.inodes { (about >> 32, 0) } else { (0, about >> 32) };
        Some(Met {
            netns: first as u32,
            state: if state == TIME_WAIT { (about >> 8) as u8 } else { state },
            is_small: matches!(state, TIME_WAIT | NEW_SYN_RECV),
            is_v6,
            // The other end's in network order, the own in the host's.
            remote_port: u16::from_be((first >> 32) as u16),
            local_port: (first >> 48) as u16,
            addresses,
            inode: inode as u32,
            device: device as u32,
            cgroup: if about & HAS_CGROUP == 0 { None } else { Some(take()?) },
        })
    };
    while let Some(met) = one() {
        each(&met);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met_with(words: &[u64], with: With) -> Vec<Met> {
        let words: Vec<_> = words.iter().copied().map(AtomicU64::new).collect();
        let mut met = Vec::new();
        decode(&words, with, &mut |one| met.push(*one));
        met
    }

    fn met(words: &[u64]) -> Vec<Met> {
        met_with(words, With { cgroups: true, inodes: true })
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
        let one = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
        let words = [
            // What is kept of one in FIN_WAIT2.
            [first(7, 80, 40000), 6 | 5 << 8 | 2 << 16, a | b << 32].as_slice(),
            &[first(8, 81, 40001), 12 | 10 << 16, halves[0], halves[1], 0, one],
            &[first(9, 82, 40002), 1 | 2 << 16 | 1 << 24 | 77 << 32, a | b << 32, 99],
            &[first(9, 82, 40002), 1 | 10 << 16 | 1 << 24, 0, one, 0, one, 100],
        ]
        .concat();
        let met = met(&words);
        assert_eq!(met.len(), 4);
        assert_eq!((met[0].netns, met[0].state, met[0].is_small), (7, 5, true));
        let seen = met[0].seen();
        assert_eq!((seen.local.to_string(), seen.remote.to_string()), ("10.0.0.2:40000".into(), "10.0.0.1:80".into()));
        assert_eq!((met[1].state, met[1].is_small), (12, true));
        let seen = met[1].seen();
        assert_eq!((seen.local.to_string(), seen.remote.to_string()), ("[::1]:40001".into(), "10.0.0.1:81".into()));
        assert_eq!((met[2].inode, met[2].cgroup, met[2].is_small), (77, Some(99), false));
        assert_eq!((met[3].inode, met[3].cgroup), (0, Some(100)));
    }

    #[test]
    fn without_inodes_it_is_the_device() {
        let words = [first(9, 82, 40002), 1 | 2 << 16 | 3 << 32, 0];
        let met = |inodes| met_with(&words, With { cgroups: false, inodes })[0];
        assert_eq!((met(false).device, met(false).inode), (3, 0));
        assert_eq!((met(true).device, met(true).inode), (0, 3));
    }

    #[test]
    fn half_a_record_is_none() {
        let record = [first(8, 81, 40001), 1 | 10 << 16 | 1 << 24, 1, 2, 3, 4, 5];
        for words in 0..record.len() {
            assert_eq!(met(&record[..words]), []);
        }
        assert_eq!(met(&record).len(), 1);
    }
}

//! Probes: programs at the kernel's tracepoints, attached for the length of one window, each a skeleton of its own, for each
//! may be missing alone. They add up in tables of the kernel; nobody is woken, and nothing is read until the window is over.
//!
//! What holds them is descriptors of this process: when it ends, however it ends, they are gone.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use tcproof_core::snapshot::{Endpoint, NetnsId};
use tcproof_core::trace::{Arrivals, Connects, Counted, Drops, MemoryRefusals, Resent, Trace};
use tcproof_core::{Absent, Reading};

use crate::programs;
use crate::refused::Refused;
use crate::skeleton::{Loaded, Skeleton};
use crate::sys::{self, View};

/// As in `probe.h`: the rows of the largest table.
const ROWS: usize = 8192;
/// As there: the words of `state`.
const LOST: usize = 0;
const SELF: usize = 1;
/// A page, which is the least that is mapped.
const STATE_BYTES: usize = 4096;
/// As in `drops.bpf.c`, from 1 on.
const REASONS: [&str; 24] = [
    "SOCKET_BACKLOG",
    "PROTO_MEM",
    "TCP_OFO_QUEUE_PRUNE",
    "TCP_OFO_DROP",
    "TCP_LISTEN_OVERFLOW",
    "CPU_BACKLOG",
    "NEIGH_CREATEFAIL",
    "NEIGH_QUEUEFULL",
    "NEIGH_FAILED",
    "QDISC_DROP",
    "NETFILTER_DROP",
    "IP_RPFILTER",
    "PKT_TOO_BIG",
    "FULL_RING",
    "NOMEM",
    "NO_SOCKET",
    "TCP_RFC7323_PAWS",
    "TCP_ZEROWINDOW",
    "SOCKET_FILTER",
    "XDP",
    "TC_INGRESS",
    "TC_EGRESS",
    "PFMEMALLOC",
    "SECURITY_HOOK",
];

/// What a probe is: its programs that are attached, and how it is tested.
#[derive(Debug)]
struct Kind {
    skeleton: &'static Skeleton,
    programs: &'static [&'static str],
    cause: Option<Cause>,
}

/// Causes what a probe must see. Some have nothing that could be caused without sending to somebody: the counters have the
/// same events.
type Cause = fn() -> std::io::Result<()>;

/// In the order of the fields of [`Trace`].
static KINDS: [Kind; 5] = [
    Kind { skeleton: &programs::CONNECTS, programs: &["changes"], cause: Some(listen_once) },
    Kind { skeleton: &programs::ARRIVALS, programs: &["wakes"], cause: Some(send_unread) },
    Kind { skeleton: &programs::DROPS, programs: &["drops"], cause: Some(send_unread) },
    Kind { skeleton: &programs::RESENT, programs: &["resends", "resets", "aborts"], cause: None },
    Kind { skeleton: &programs::MEMORY, programs: &["refuses"], cause: None },
];

/// A listener that nobody can know of: its port is the kernel's choice, and it is closed at once. It sends nothing.
fn listen_once() -> std::io::Result<()> {
    TcpListener::bind(("127.0.0.1", 0)).map(drop)
}

/// A datagram that wakes its receiver, who closes without having read it: the kernel drops it.
fn send_unread() -> std::io::Result<()> {
    let (one, _other) = UnixDatagram::pair()?;
    one.send(&[0]).map(drop)
}

/// The probes that this kernel lets in.
#[derive(Debug)]
pub struct Probes([Result<Probe, Refused>; 5]);

impl Probes {
    /// Loads all of them, attached to nothing yet. What can't be loaded is absent in the trace, with the reason.
    #[must_use]
    pub fn load() -> Self {
        // What forbids one for a reason that is not its own forbids all.
        let mut forbidden: Option<Refused> = None;
        Self(KINDS.each_ref().map(|kind| {
            let probe = forbidden.clone().map_or_else(|| Probe::load(kind), Err);
            forbidden = probe.as_ref().err().filter(|why| why.is_general()).cloned();
            probe
        }))
    }

    /// Each probe's name, and why it is not there.
    pub fn states(&self) -> impl Iterator<Item = (&'static str, Option<&Refused>)> {
        KINDS.iter().zip(&self.0).map(|(kind, probe)| (kind.skeleton.name, probe.as_ref().err()))
    }

    /// Drops those that are not wanted: they are absent in the trace.
    pub fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        for (kind, probe) in KINDS.iter().zip(&mut self.0) {
            if !is_wanted(kind.skeleton.name) {
                *probe = Err(Refused::failed(format!("the probe `{}`", kind.skeleton.name), "not wanted"));
            }
        }
    }

    /// Attaches them, and sees that each that can be tested is.
    pub fn attach(&mut self) {
        for probe in &mut self.0 {
            if let Ok(loaded) = probe
                && let Err(why) = loaded.attach()
            {
                *probe = Err(why);
            }
        }
    }

    /// Detaches them, and says what they counted. They do not attach again.
    pub fn detach(&mut self) -> Trace {
        for probe in self.0.iter_mut().flatten() {
            probe.links.clear();
        }
        let [connects, arrivals, drops, resent, memory] = &self.0;
        Trace {
            connects: counted(connects, &CONNECTS),
            arrivals: counted(arrivals, &ARRIVALS),
            drops: counted(drops, &DROPS),
            resent: counted(resent, &RESENT),
            memory: counted(memory, &MEMORY),
        }
    }
}

#[derive(Debug)]
struct Probe {
    kind: &'static Kind,
    loaded: Loaded,
    state: View,
    links: Vec<OwnedFd>,
}

impl Probe {
    fn load(kind: &'static Kind) -> Result<Self, Refused> {
        let loaded = kind.skeleton.load()?;
        let failed = |error| Refused::failed(format!("preparing the probe `{}`", kind.skeleton.name), error);
        let state = View::new(loaded.map("state")?, 0, STATE_BYTES).map_err(failed)?;
        if kind.cause.is_some() {
            sys::run(loaded.program("reader")?, &[0]).map_err(failed)?;
        }
        Ok(Self { kind, loaded, state, links: Vec::new() })
    }

    fn attach(&mut self) -> Result<(), Refused> {
        let Kind { skeleton: Skeleton { name, .. }, programs, cause } = self.kind;
        for program in *programs {
            let link = sys::attach(self.loaded.program(program)?);
            self.links.push(link.map_err(|error| Refused::failed(format!("attaching the probe `{name}`"), error))?);
        }
        let seen = self.state.word(SELF);
        // A host out of ports or descriptors, where it is wanted most, may refuse the test. Then the counters have to show
        // whether the probe is blind.
        if cause.is_some_and(|cause| cause().is_ok()) && self.state.word(SELF) == seen {
            let error = "it is attached and saw nothing of what was caused for it";
            return Err(Refused::failed(format!("testing the probe `{name}`"), error));
        }
        Ok(())
    }
}

/// A probe's rows, sorted, each made of a key and a value.
fn counted<T: Ord>(probe: &Result<Probe, Refused>, table: &Table<T>) -> Reading<Counted<T>> {
    let read = || {
        let probe = probe.as_ref().map_err(Clone::clone)?;
        let failed = |error| Refused::failed(format!("reading the probe `{}`", probe.kind.skeleton.name), error);
        let map = probe.loaded.map("rows")?;
        let (keys, values, count) =
            sys::entries(map.as_fd(), ROWS, table.key_bytes, table.value_bytes).map_err(failed)?;
        let pairs = keys.chunks_exact(table.key_bytes).zip(values.chunks_exact(table.value_bytes)).take(count);
        let rows: BTreeSet<T> = pairs.map(|(key, value)| (table.row)(Bytes(key), Bytes(value))).collect();
        Ok::<_, Refused>(Counted { rows: rows.into_iter().collect(), lost: probe.state.word(LOST) })
    };
    match read() {
        Ok(counted) => Reading::Present(counted),
        Err(why) => Reading::Absent(Absent::from(why)),
    }
}

/// How long a table's keys and values are, and what they say.
struct Table<T> {
    key_bytes: usize,
    value_bytes: usize,
    row: fn(Bytes<'_>, Bytes<'_>) -> T,
}

/// `struct ends` of `probe.h`.
const ENDS_BYTES: usize = 40;

const CONNECTS: Table<Connects> = Table {
    key_bytes: ENDS_BYTES + 4,
    value_bytes: 32,
    row: |key, value| Connects {
        netns: key.netns(0),
        source: key.address(8),
        destination: Endpoint::new(key.address(24), key.short(6)),
        pid: Some(key.word(ENDS_BYTES)).filter(|pid| *pid > 0),
        comm: value.text(16, 16),
        tried: value.long(0),
        refused: value.long(8),
    },
};

const ARRIVALS: Table<Arrivals> = Table {
    key_bytes: 16,
    value_bytes: 32,
    row: |key, value| Arrivals {
        netns: key.netns(8),
        port: key.word(12) as u16,
        cookie: key.long(0),
        arrived: value.long(0),
        queued: value.long(8),
        full: value.long(16),
        longest: value.word(24),
    },
};

const DROPS: Table<Drops> = Table {
    key_bytes: 8,
    value_bytes: 8,
    row: |key, value| Drops {
        netns: key.netns(0),
        port: key.short(4),
        reason: usize::from(key.short(6)).checked_sub(1).and_then(|n| REASONS.get(n)).copied().unwrap_or("").into(),
        packets: value.long(0),
    },
};

const RESENT: Table<Resent> = Table {
    key_bytes: ENDS_BYTES,
    value_bytes: 32,
    row: |key, value| Resent {
        netns: key.netns(0),
        local: Endpoint::new(key.address(8), key.short(4)),
        remote: Endpoint::new(key.address(24), key.short(6)),
        data: value.long(0),
        syn: value.long(8),
        resets: value.long(16),
        aborted: value.long(24),
    },
};

const MEMORY: Table<MemoryRefusals> = Table {
    key_bytes: 4,
    value_bytes: 24,
    row: |key, value| MemoryRefusals {
        netns: key.netns(0),
        beyond: value.long(0),
        within: value.long(8),
        most_pages: value.long(16),
    },
};

/// A key or a value, as long as its table says.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn short(self, at: usize) -> u16 {
        u16::from_ne_bytes(self.array(at))
    }

    fn word(self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn long(self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    fn netns(self, at: usize) -> NetnsId {
        NetnsId(self.word(at).into())
    }

    fn address(self, at: usize) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.array::<16>(at))).to_canonical()
    }

    /// Up to its NUL.
    fn text(self, at: usize, most: usize) -> String {
        let bytes = &self.0[at..at + most];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(most);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Vec<u8> {
        let mut bytes = 4_026_531_840_u32.to_ne_bytes().to_vec();
        bytes.extend(8080_u16.to_ne_bytes());
        bytes.extend(5432_u16.to_ne_bytes());
        bytes.extend("::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        bytes
    }

    fn longs(longs: &[u64]) -> Vec<u8> {
        longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
    }

    #[test]
    fn rows_are_read_as_the_programs_write_them() {
        let row = (RESENT.row)(Bytes(&ends()), Bytes(&longs(&[1, 2, 3, 4])));
        assert_eq!(
            (row.local.to_string(), row.remote.to_string()),
            ("10.0.0.1:8080".into(), "[2001:db8::9]:5432".into())
        );
        assert_eq!((row.netns, row.data, row.syn, row.resets, row.aborted), (NetnsId(4_026_531_840), 1, 2, 3, 4));
        let (key, mut value) = ([ends(), 77_u32.to_ne_bytes().to_vec()].concat(), longs(&[9, 5]));
        value.extend(*b"app\x1b[2J\0garbage.");
        let row = (CONNECTS.row)(Bytes(&key), Bytes(&value));
        assert_eq!((row.pid, &*row.comm, row.tried, row.refused), (Some(77), "app\u{1b}[2J", 9, 5));
        let key = |reason: u16| {
            [7_u32.to_ne_bytes().to_vec(), 80_u16.to_ne_bytes().to_vec(), reason.to_ne_bytes().to_vec()].concat()
        };
        let reasons = [0, 1, 24, 25].map(|n| (DROPS.row)(Bytes(&key(n)), Bytes(&longs(&[3]))).reason);
        assert_eq!(reasons, ["", "SOCKET_BACKLOG", "SECURITY_HOOK", ""]);
    }

    /// Else a limit waits for what is never told.
    #[test]
    fn reasons_that_limits_read_are_told() {
        let read: Vec<_> = tcproof_core::limits::LIMITS.iter().flat_map(|limit| limit.drop_reasons()).collect();
        assert!(read.len() > 5, "{read:?}");
        assert!(read.iter().all(|reason| REASONS.contains(reason)), "{read:?}");
    }

    /// As the programs have them: the order is what joins the two.
    #[test]
    fn reasons_are_those_of_the_program() {
        let source = include_str!("../programs/drops.bpf.c");
        for (n, reason) in (1..).zip(REASONS) {
            assert!(source.contains(&format!("X(SKB_DROP_REASON_{reason}, {n})")), "{reason}");
        }
        assert!(!source.contains(&format!(", {})", REASONS.len() + 1)));
    }
}

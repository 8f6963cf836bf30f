//! A census of TCP sockets: how many are in which state, by namespace, by destination, by control group, by process.
//!
//! Three backends fill the same [`Tally`] through one trait, [`Backend`]: netlink, eBPF, and the text of
//! `/proc/net/tcp{,6}`. A tally never holds a socket, so a walk of a million of them costs no list. Its tables are bounded;
//! what a full one could not take is counted under its reason ([`Lost`]) and never missing in silence.
//!
//! Listeners (queue, backlog, drops) and MPTCP sockets are not a backend's business: netlink tells of them, whoever counts
//! the rest.
//!
//! A recording holds no socket one by one: what it tells of them is put into the same values (`recorded.rs`).

mod recorded;

pub use recorded::recorded;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::reading::{Absent, Reading};
use crate::snapshot::{Endpoint, Host, Inode, Listener, NetnsId, Pid, Tuple, Unseen};
use crate::states::State;

/// What walks the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// sock_diag: a message for each socket.
    Netlink,
    /// A program in the kernel that walks its hash table.
    Bpf,
    /// `/proc/net/tcp{,6}` and `/proc/PID/fd`: text.
    Proc,
    /// Nobody walked them here: what `ss` printed elsewhere.
    Listing,
    /// Nothing walked them: readings of another purpose, as a recording has them.
    Recording,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "netlink",
            Self::Bpf => "bpf",
            Self::Proc => "proc",
            Self::Listing => "listing",
            Self::Recording => "recording",
        })
    }
}

/// Walks the sockets of namespaces.
pub trait Backend {
    /// Which one it is.
    fn method(&self) -> Method;

    /// Counts the TCP sockets of every place into the tally: all states but LISTEN, CLOSE and BOUND-INACTIVE.
    ///
    /// A place that can't be counted (gone, not entered) is reported by [`Tally::absent`], what was not seen in one that
    /// was counted by [`Tally::unseen`] and [`PlaceTally::lost`]: those are no reason to fail.
    ///
    /// # Errors
    /// It can't count here at all, whatever the place (no `tcp_diag`, no permission for bpf(2)): the tally is then of no
    /// use, and the next backend starts with a fresh one.
    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent>;
}

/// Walks the descriptors of processes, for the sockets they hold.
pub trait Holders {
    /// Which one it is.
    fn method(&self) -> Method;

    /// Counts what every process holds of the sockets of these places, by [`Held::add`]. One socket that two processes
    /// hold, or one process twice, counts for each descriptor: what is counted are descriptors.
    ///
    /// # Errors
    /// Nothing can be told here. Processes that would not show theirs are [`Held::unseen`].
    fn count(&mut self, places: &[Place], held: &mut Held) -> Result<(), Absent>;
}

/// A range of ports, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

impl PortRange {
    /// `ip_local_port_range` where nobody has set it.
    pub const DEFAULT: Self = Self { low: 32_768, high: 60_999 };

    /// Whether a port lies in it.
    pub const fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }
}

/// A namespace to count in, with what decides which end of a connection is the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its identity.
    pub netns: NetnsId,
    /// Ports that something listens on there, each once, in order.
    pub listening: Vec<u16>,
    /// Where `connect(2)` takes its ports from.
    pub ephemeral: PortRange,
}

impl Place {
    /// Which end of a connection is the service, by its two ports. The end that closed first has no say in it, so a
    /// TIME_WAIT socket is found under its service, whichever end it stands at.
    ///
    /// The order of the questions: is the local port listened on (then we serve); is it one that `connect(2)` gives out
    /// (then they do); is theirs one (then we do, and our listener has gone). Where all of that says nothing, the lower port
    /// is the service's.
    pub fn service(&self, local: u16, remote: u16) -> End {
        if self.listening.binary_search(&local).is_ok() {
            End::Local
        } else if self.ephemeral.contains(local) {
            End::Remote
        } else if self.ephemeral.contains(remote) || local < remote {
            End::Local
        } else {
            End::Remote
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// This one: the namespace serves.
    Local,
    /// The other one: the namespace is the client, and each of its connections takes a port of its own.
    Remote,
}

/// Sockets by state. A half-open request (NEW_SYN_RECV) is one in SYN_RECV, as netlink and `/proc` have it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; 14]);

impl Counts {
    /// Of one state.
    pub fn of(&self, state: State) -> u32 {
        self.0[usize::from(folded(state).number())]
    }

    /// Counts `n` more.
    pub fn add(&mut self, state: State, n: u32) {
        let count = &mut self.0[usize::from(folded(state).number())];
        *count = count.saturating_add(n);
    }

    /// Counts what the other has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Of all states.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The states in which there are any, in the order in which a connection may pass them.
    pub fn iter(&self) -> impl Iterator<Item = (State, u32)> {
        let counted = State::ALL.into_iter().filter(|state| *state != State::NewSynRecv);
        counted.map(|state| (state, self.of(state))).filter(|(_, count)| *count > 0)
    }
}

fn folded(state: State) -> State {
    if state == State::NewSynRecv { State::SynRecv } else { state }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counts = Self::default();
        for (state, n) in BTreeMap::<State, u32>::deserialize(deserializer)? {
            counts.add(state, n);
        }
        Ok(counts)
    }
}

/// One socket, as a walk meets it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The kernel's number of its state; of a TIME_WAIT socket its `tw_substate`, which may be FIN_WAIT2.
    pub state: u8,
    /// No full socket: a half-open request, or what is kept of a connection in TIME_WAIT or FIN_WAIT2. sockstat counts
    /// none of these as in use.
    pub small: bool,
    /// Local end. [`Endpoint::new`] makes a v4-mapped address IPv4.
    pub local: Endpoint,
    /// Remote end.
    pub remote: Endpoint,
    /// Inode; 0 where no file holds it, or where that is not known.
    pub inode: Inode,
    /// Control group of its maker, where known.
    pub cgroup: Option<u64>,
}

/// Why a socket is missing in a table, or stands in it with less than its whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// The table of destinations was full: the socket is in no row of it.
    DestinationsFull,
    /// The table of destinations was full: the socket is counted at its service, without its source.
    SourcesFolded,
    /// The table of control groups was full.
    CgroupsFull,
    /// In a state that this version does not know: it is in no count.
    UnknownState,
    /// The table moved under a walk without locks: so many may have been missed or counted twice.
    Moved,
}

/// Bounds of a tally's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of destinations.
    pub destinations: usize,
    /// Control groups.
    pub cgroups: usize,
    /// Whether the inodes of sockets are kept (four bytes each), to find the processes that hold them.
    pub inodes: bool,
}

impl Default for Bounds {
    /// What a host of a million sockets is counted with in a few MiB.
    fn default() -> Self {
        Self { destinations: 16_384, cgroups: 4_096, inodes: false }
    }
}

/// The key of a row of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Where the socket is.
    pub netns: NetnsId,
    /// Which end is the service.
    pub service: End,
    /// Client's address, service's address and port. An unspecified source (`0.0.0.0`, `::`) stands for "of any": of
    /// half-open requests, whose source may be forged, and of what a full table could not tell apart.
    pub tuple: Tuple,
}

impl Destination {
    /// The same service, of any source.
    pub fn of_any(self) -> Self {
        let source = match self.tuple.destination.addr {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { tuple: Tuple { source, ..self.tuple }, ..self }
    }
}

/// A row of destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationUse {
    /// Its sockets.
    pub states: Counts,
    /// One of them that a file holds, to find the owner by; 0 when none was seen.
    pub inode: Inode,
    /// That socket's control group.
    pub cgroup: Option<u64>,
}

/// What was counted in one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsTally {
    /// Sockets by state.
    pub states: Counts,
    /// Of those, the small ones ([`Seen::small`]).
    pub small: Counts,
}

/// What a walk counts into.
#[derive(Debug, Default)]
pub struct Tally {
    bounds: Bounds,
    namespaces: BTreeMap<NetnsId, Reading<NetnsTally>>,
    destinations: BTreeMap<Destination, DestinationUse>,
    cgroups: BTreeMap<u64, Counts>,
    inodes: BTreeMap<State, Vec<u32>>,
    lost: BTreeMap<(NetnsId, Lost), u64>,
    unseen: Vec<Unseen>,
}

/// Rows of services without sources that a full table of destinations still takes, one for each service that is met.
const FOLDED: usize = 1_024;

impl Tally {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Its bounds: a backend that counts in the kernel sizes its own tables by them.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Counts in this place. It is present from now on, with whatever was counted before.
    pub fn place<'a>(&'a mut self, place: &'a Place) -> PlaceTally<'a> {
        let Self { bounds, namespaces, destinations, cgroups, inodes, lost, .. } = self;
        let counted = namespaces.entry(place.netns).or_insert(Reading::Present(NetnsTally::default()));
        if counted.absent().is_some() {
            *counted = Reading::Present(NetnsTally::default());
        }
        let Reading::Present(of) = counted else { unreachable!("just made present") };
        PlaceTally { bounds: *bounds, place, of, destinations, cgroups, inodes, lost }
    }

    /// A place could not be counted: half of a count is none.
    pub fn absent(&mut self, netns: NetnsId, why: Absent) {
        self.destinations.retain(|destination, _| destination.netns != netns);
        self.lost.retain(|(of, _), _| *of != netns);
        self.namespaces.insert(netns, Reading::Absent(why));
    }

    /// What this backend can't see though others can, such as control groups.
    pub fn unseen(&mut self, what: impl Into<String>, why: Absent) {
        self.unseen.push(Unseen { what: what.into(), why });
    }

    /// Adds what another walk counted of other sockets. Where one of the two had a full table, a row that the other has is
    /// a lower bound.
    pub fn merge(&mut self, other: Self) {
        for (netns, counted) in other.namespaces {
            match (self.namespaces.get_mut(&netns), counted) {
                (Some(Reading::Present(of)), Reading::Present(more)) => {
                    of.states.merge(&more.states);
                    of.small.merge(&more.small);
                }
                (Some(Reading::Absent(_)), _) => {}
                (Some(_), Reading::Absent(why)) => self.absent(netns, why),
                (None, counted) => {
                    self.namespaces.insert(netns, counted);
                }
            }
        }
        for (destination, more) in other.destinations {
            if matches!(self.namespaces.get(&destination.netns), Some(Reading::Present(_))) {
                let rows = &mut self.destinations;
                take(rows, &mut self.lost, self.bounds, destination, &more.states, more.inode, more.cgroup);
            }
        }
        for (cgroup, more) in other.cgroups {
            self.cgroups.entry(cgroup).or_default().merge(&more);
        }
        for (state, more) in other.inodes {
            self.inodes.entry(state).or_default().extend(more);
        }
        for (key, n) in other.lost {
            *self.lost.entry(key).or_default() += n;
        }
        for unseen in other.unseen {
            if !self.unseen.contains(&unseen) {
                self.unseen.push(unseen);
            }
        }
    }

    /// By namespace: what was counted, or why not.
    pub fn namespaces(&self) -> &BTreeMap<NetnsId, Reading<NetnsTally>> {
        &self.namespaces
    }

    /// By destination.
    pub fn destinations(&self) -> &BTreeMap<Destination, DestinationUse> {
        &self.destinations
    }

    /// By control group (v2).
    pub fn cgroups(&self) -> &BTreeMap<u64, Counts> {
        &self.cgroups
    }

    /// What was not counted exactly.
    pub fn lost(&self) -> &BTreeMap<(NetnsId, Lost), u64> {
        &self.lost
    }

    /// What the backend could not see.
    pub fn what_is_unseen(&self) -> &[Unseen] {
        &self.unseen
    }

    /// The inodes by state, sorted, for a search among the descriptors of processes; empty unless [`Bounds::inodes`].
    pub fn take_inodes(&mut self) -> BTreeMap<State, Vec<u32>> {
        let mut inodes = core::mem::take(&mut self.inodes);
        inodes.values_mut().for_each(|inodes| inodes.sort_unstable());
        inodes
    }
}

/// A tally in one place.
#[derive(Debug)]
pub struct PlaceTally<'a> {
    bounds: Bounds,
    place: &'a Place,
    of: &'a mut NetnsTally,
    destinations: &'a mut BTreeMap<Destination, DestinationUse>,
    cgroups: &'a mut BTreeMap<u64, Counts>,
    inodes: &'a mut BTreeMap<State, Vec<u32>>,
    lost: &'a mut BTreeMap<(NetnsId, Lost), u64>,
}

impl<'a> PlaceTally<'a> {
    /// For a walk that meets many sockets of few destinations: the same counts, with fewer looks at the tables.
    pub fn fold(self) -> Fold<'a> {
        Fold { tally: self, recent: Vec::new(), cgroup: None }
    }
}

impl PlaceTally<'_> {
    /// Counts one socket, in everything.
    pub fn add(&mut self, seen: &Seen) {
        let Some((state, key)) = self.begin(seen) else { return };
        let mut states = Counts::default();
        states.add(state, 1);
        take(self.destinations, self.lost, self.bounds, key, &states, seen.inode, seen.cgroup);
        if let Some(cgroup) = seen.cgroup {
            self.cgroup(cgroup, state, 1);
        }
    }

    /// Counts a socket in all but the row of its destination and its control group; says which row that is.
    fn begin(&mut self, seen: &Seen) -> Option<(State, Destination)> {
        let Some(state) = State::of_number(seen.state) else {
            self.lost(Lost::UnknownState, 1);
            return None;
        };
        self.states(state, seen.small, 1);
        let (service, source, destination) = match self.place.service(seen.local.port, seen.remote.port) {
            End::Local => (End::Local, seen.remote.addr, seen.local),
            End::Remote => (End::Remote, seen.local.addr, seen.remote),
        };
        if self.bounds.inodes
            && seen.inode != 0
            && let Ok(inode) = u32::try_from(seen.inode)
        {
            self.inodes.entry(folded(state)).or_default().push(inode);
        }
        Some((state, self.key(service, Tuple { source, destination }, state)))
    }

    /// Counts `n` sockets of the namespace in one state; `small` as of [`Seen::small`].
    pub fn states(&mut self, state: State, small: bool, n: u32) {
        self.of.states.add(state, n);
        if small {
            self.of.small.add(state, n);
        }
    }

    /// Counts `n` sockets of one destination, and nothing else: for backends that fold first. `inode` is that of one of them
    /// that a file holds, or 0, and `cgroup` that socket's.
    pub fn destination(&mut self, service: End, tuple: Tuple, state: State, n: u32, inode: Inode, cgroup: Option<u64>) {
        let mut states = Counts::default();
        states.add(state, n);
        let key = self.key(service, tuple, state);
        take(self.destinations, self.lost, self.bounds, key, &states, inode, cgroup);
    }

    fn key(&self, service: End, tuple: Tuple, state: State) -> Destination {
        let key = Destination { netns: self.place.netns, service, tuple };
        // A flood has as many sources as it likes.
        if folded(state) == State::SynRecv { key.of_any() } else { key }
    }

    /// Counts `n` sockets of one control group.
    pub fn cgroup(&mut self, cgroup: u64, state: State, n: u32) {
        let mut counts = Counts::default();
        counts.add(state, n);
        self.take_cgroup(cgroup, &counts);
    }

    fn take(&mut self, key: Destination, row: &DestinationUse) {
        take(self.destinations, self.lost, self.bounds, key, &row.states, row.inode, row.cgroup);
    }

    fn take_cgroup(&mut self, cgroup: u64, counts: &Counts) {
        let has_room = self.cgroups.len() < self.bounds.cgroups;
        match self.cgroups.get_mut(&cgroup) {
            Some(of) => of.merge(counts),
            None if has_room => self.cgroups.entry(cgroup).or_default().merge(counts),
            None => self.lost(Lost::CgroupsFull, counts.total()),
        }
    }

    /// So many sockets were not counted exactly.
    pub fn lost(&mut self, why: Lost, n: u64) {
        lose(self.lost, self.place.netns, why, n);
    }
}

/// Rows that are on their way into a table: some 32 KiB.
const RECENT: usize = 256;

/// Counts sockets in one place, and asks its tables only when a row or a control group gives way to another one. What is
/// on its way arrives when this is dropped.
#[derive(Debug)]
pub struct Fold<'a> {
    tally: PlaceTally<'a>,
    /// Each where its hash says; empty until the first socket.
    recent: Vec<Option<(Destination, DestinationUse)>>,
    /// The control group that was met last.
    cgroup: Option<(u64, Counts)>,
}

impl Fold<'_> {
    /// Counts one socket, in everything.
    pub fn add(&mut self, seen: &Seen) {
        let Some((state, key)) = self.tally.begin(seen) else { return };
        self.row(key, state, seen);
        let Some(id) = seen.cgroup else { return };
        if let Some((last, counts)) = &mut self.cgroup
            && *last == id
        {
            return counts.add(state, 1);
        }
        let mut counts = Counts::default();
        counts.add(state, 1);
        if let Some((id, counts)) = self.cgroup.replace((id, counts)) {
            self.tally.take_cgroup(id, &counts);
        }
    }

    fn row(&mut self, key: Destination, state: State, seen: &Seen) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        let slot = &mut self.recent[slot_of(&key) % RECENT];
        let given_way = match slot {
            Some((other, _)) if *other == key => None,
            _ => slot.replace((key, DestinationUse::default())),
        };
        if let Some((_, row)) = slot {
            row.states.add(state, 1);
            if row.inode == 0 {
                (row.inode, row.cgroup) = (seen.inode, seen.cgroup);
            }
        }
        if let Some((key, row)) = given_way {
            self.tally.take(key, &row);
        }
    }
}

impl Drop for Fold<'_> {
    fn drop(&mut self) {
        for (key, row) in core::mem::take(&mut self.recent).into_iter().flatten() {
            self.tally.take(key, &row);
        }
        if let Some((cgroup, counts)) = self.cgroup.take() {
            self.tally.take_cgroup(cgroup, &counts);
        }
    }
}

/// Where among the recent ones. Whoever makes many fall on one gains that the table is asked for each, and no more.
fn slot_of(key: &Destination) -> usize {
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(four) => u64::from(four.to_bits()),
        IpAddr::V6(six) => (six.to_bits() >> 64) as u64 ^ six.to_bits() as u64,
    };
    let Destination { service, tuple: Tuple { source, destination }, .. } = *key;
    let port = u64::from(destination.port) << 1 | u64::from(service == End::Local);
    let mixed = bits(source).rotate_left(32) ^ bits(destination.addr) ^ port << 40;
    // Fibonacci hashing: the upper bits are the well mixed ones.
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

fn lose(lost: &mut BTreeMap<(NetnsId, Lost), u64>, netns: NetnsId, why: Lost, n: u64) {
    let sum = lost.entry((netns, why)).or_default();
    *sum = sum.saturating_add(n);
}

/// Counts at a destination, or where the table has no room for it, at its service. A row that is there has all of its
/// sockets: it is made when the first of them is met.
fn take(
    rows: &mut BTreeMap<Destination, DestinationUse>,
    lost: &mut BTreeMap<(NetnsId, Lost), u64>,
    bounds: Bounds,
    key: Destination,
    states: &Counts,
    inode: Inode,
    cgroup: Option<u64>,
) {
    let room = rows.len();
    let count = |row: &mut DestinationUse| {
        row.states.merge(states);
        if row.inode == 0 && inode != 0 {
            (row.inode, row.cgroup) = (inode, cgroup);
        }
    };
    if let Some(row) = rows.get_mut(&key) {
        return count(row);
    }
    if room < bounds.destinations {
        return count(rows.entry(key).or_default());
    }
    let n = states.total();
    // Only of services of our own: their clients are what fills a table.
    if key.service == End::Local {
        let any = key.of_any();
        if let Some(row) = rows.get_mut(&any) {
            lose(lost, key.netns, Lost::SourcesFolded, n);
            return count(row);
        }
        if room < bounds.destinations.saturating_add(FOLDED) {
            lose(lost, key.netns, Lost::SourcesFolded, n);
            return count(rows.entry(any).or_default());
        }
    }
    lose(lost, key.netns, Lost::DestinationsFull, n);
}

/// What processes hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Descriptors of TCP sockets by process (its thread group's id).
    pub processes: BTreeMap<Pid, Counts>,
    /// Processes that did not show theirs, and the like.
    pub unseen: Vec<Unseen>,
}

impl Held {
    /// Counts `n` descriptors of a process that lead to sockets in that state.
    pub fn add(&mut self, pid: Pid, state: State, n: u32) {
        self.processes.entry(pid).or_default().add(state, n);
    }
}

/// From how many sockets on the eBPF walk is faster as a whole, with some room: on 6.18 netlink took 6 ms and 0.7 µs a
/// socket, the walk 16 ms with its loading and 0.15 µs a socket, so they meet at 20 000 (bench/runs).
pub const BPF_FROM: u64 = 30_000;

/// Which backends to try, the first one first, and why that one. `asked` is what a person demands: then there is no other.
/// `sockets` is the cheap estimate by sockstat, `bpf` whether the eBPF backend is there.
pub fn choose(asked: Option<Method>, sockets: &Reading<u64>, bpf: &Result<(), Absent>) -> (Vec<Method>, String) {
    use alloc::format;
    use alloc::vec;
    if let Some(method) = asked {
        return (vec![method], "asked for".into());
    }
    match (sockets, bpf) {
        (Reading::Present(n), Ok(())) if *n >= BPF_FROM => (
            vec![Method::Bpf, Method::Netlink, Method::Proc],
            format!("sockstat has {n} sockets, and from {BPF_FROM} on it is the cheaper one"),
        ),
        (Reading::Present(n), _) if *n < BPF_FROM => (
            vec![Method::Netlink, Method::Proc],
            format!("sockstat has {n} sockets, and below {BPF_FROM} it is the cheaper one"),
        ),
        (Reading::Present(n), Err(Absent::NotNeeded)) => {
            (vec![Method::Netlink, Method::Proc], format!("sockstat has {n} sockets, and there is no cheaper one"))
        }
        (Reading::Present(_), Err(why)) => (vec![Method::Netlink, Method::Proc], format!("no eBPF here: {why}")),
        (Reading::Present(_) | Reading::Absent(_), _) => {
            (vec![Method::Netlink, Method::Proc], "how many sockets there are is not known beforehand".into())
        }
    }
}

/// What sockstat said of a namespace, before and after the walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockstat {
    /// `TCP: inuse` and `TCP6: inuse`: full sockets in the tables, listening ones and orphans among them; not TIME_WAIT,
    /// not half-open requests.
    pub inuse: u64,
    /// `TCP: tw`: TIME_WAIT, and what is kept of orphans in FIN_WAIT2; both families.
    pub tw: u64,
}

/// Between what the walk counted and what sockstat says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `inuse` or `tw`.
    pub value: String,
    /// By the walk.
    pub counted: u64,
    /// By sockstat, before the walk and after it.
    pub sockstat: (u64, u64),
}

/// The sockets of one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetnsCensus {
    /// Its name.
    pub name: String,
    /// What the walk counted, with the listeners.
    pub counted: Reading<NetnsTally>,
    /// Where nothing was counted: states whose sockets are known all the same. The others are not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<State, u32>,
    /// There too: connections with a full socket, from ESTABLISHED to LAST_ACK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
    /// sockstat before and after the walk.
    pub sockstat: Reading<(Sockstat, Sockstat)>,
    /// MPTCP sockets by state: each stands above its subflows, which are TCP sockets and counted as such.
    pub mptcp: Reading<Counts>,
    /// Where `connect(2)` takes its ports from.
    pub ephemeral: Reading<PortRange>,
    /// How many of those it can have: not the reserved ones, not those listened on.
    pub usable_ports: Option<u64>,
    /// Why the listeners could not be read, if so.
    pub listeners_absent: Option<Absent>,
}

impl NetnsCensus {
    /// Where the walk and sockstat disagree: the count lies outside what sockstat said before and after.
    pub fn differences(&self) -> Vec<Difference> {
        let (Reading::Present(counted), Reading::Present((before, after))) = (&self.counted, &self.sockstat) else {
            return Vec::new();
        };
        let all = counted.states.total();
        let tw = u64::from(counted.states.of(State::TimeWait)) + u64::from(counted.small.of(State::FinWait2));
        let small = tw + u64::from(counted.small.of(State::SynRecv));
        let of = |value: &str, counted: u64, before: u64, after: u64| {
            let agrees = (before.min(after)..=before.max(after)).contains(&counted);
            (!agrees).then(|| Difference { value: value.into(), counted, sockstat: (before, after) })
        };
        [of("inuse", all.saturating_sub(small), before.inuse, after.inuse), of("tw", tw, before.tw, after.tw)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A listener and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRow {
    /// Its namespace.
    pub netns: NetnsId,
    /// The socket.
    pub listener: Listener,
    /// Who holds it.
    pub owners: Vec<Pid>,
}

/// The fullest listeners, then those that dropped most.
pub fn fullest(listeners: &mut [(NetnsId, &Listener)]) {
    // Parts of a million that are in use, for an order without floats.
    let fill = |l: &Listener| u64::from(l.queue) * 1_000_000 / u64::from(l.backlog).max(1);
    listeners
        .sort_by_key(|(netns, l)| (Reverse(fill(l)), Reverse(l.drops.value().copied()), l.local, *netns, l.cookie));
}

/// A destination, its sockets, and how much of the ports it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRow {
    /// Its namespace.
    pub netns: NetnsId,
    /// Which end is the service.
    pub service: End,
    /// Who connects to what. An unspecified source stands for "of any".
    pub tuple: Tuple,
    /// Its sockets.
    pub states: Counts,
    /// Sockets whose state is not known, and that are in none of those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u32,
    /// Ports it takes, of [`NetnsCensus::usable_ports`]: one for each connection, where the client is here.
    pub ports: Option<u64>,
    /// Who holds one of the sockets.
    pub owners: Vec<Pid>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl DestinationRow {
    /// All of its sockets.
    pub fn sockets(&self) -> u64 {
        self.states.total().saturating_add(self.others.into())
    }
}

/// A process and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Its id.
    pub pid: Pid,
    /// Name as the kernel has it; empty once it is gone.
    pub comm: String,
    /// Its control group.
    pub cgroup: Reading<String>,
    /// Descriptors of TCP sockets, by the state of the socket; `None` where it was met as an owner only.
    pub states: Option<Counts>,
}

/// A control group and the sockets made in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRow {
    /// Its id: the inode of its directory; 0 where only its path is known.
    pub id: u64,
    /// Its path, where it can be found.
    pub path: Option<String>,
    /// Its sockets: of full ones only, since a small one has none.
    pub states: Counts,
}

/// Sockets that are missing somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// In which namespace.
    pub netns: NetnsId,
    /// How many.
    pub sockets: u64,
    /// Why.
    pub why: Lost,
}

/// Rows of a table: the first of them, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top<T> {
    /// The largest first.
    pub rows: Vec<T>,
    /// Of all.
    pub of: usize,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), of: 0 }
    }
}

/// Everything that one census found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// The machine.
    pub host: Host,
    /// What counted.
    pub method: Method,
    /// Why that one.
    pub because: String,
    /// Those that were tried before and could not, and why.
    pub refused: Vec<(Method, Absent)>,
    /// How long counting took, all namespaces together.
    pub elapsed: Duration,
    /// By namespace.
    pub namespaces: BTreeMap<NetnsId, NetnsCensus>,
    /// Listeners, the fullest first.
    pub listeners: Top<ListenerRow>,
    /// Destinations, those with most sockets first.
    pub destinations: Top<DestinationRow>,
    /// Control groups.
    pub cgroups: Top<CgroupRow>,
    /// Processes: those that hold most where all were counted, else the owners of what is shown.
    pub processes: Top<ProcessRow>,
    /// By what the descriptors of all processes were counted, where they were.
    pub holders: Option<Method>,
    /// What was not counted exactly.
    pub truncated: Vec<Truncated>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn place() -> Place {
        Place { netns: NetnsId(7), listening: vec![80, 443, 40_000], ephemeral: PortRange::DEFAULT }
    }

    fn endpoint(text: &str) -> Endpoint {
        let addr: core::net::SocketAddr = text.parse().unwrap();
        Endpoint::new(addr.ip(), addr.port())
    }

    fn seen(state: State, local: &str, remote: &str) -> Seen {
        Seen {
            state: state.number(),
            small: matches!(state, State::TimeWait | State::NewSynRecv),
            local: endpoint(local),
            remote: endpoint(remote),
            inode: 0,
            cgroup: None,
        }
    }

    fn rows(tally: &Tally) -> Vec<String> {
        let row = |(key, of): (&Destination, &DestinationUse)| {
            alloc::format!("{:?} {} {:?}", key.service, key.tuple, of.states.iter().collect::<Vec<_>>())
        };
        tally.destinations().iter().map(row).collect()
    }

    #[test]
    fn a_connection_stands_under_its_service_whichever_end_closed_first() {
        for (local, remote, end) in [
            (80, 50_000, End::Local),
            (50_000, 80, End::Remote),
            // The listener has gone, or it is in the range, or both ends are, or none.
            (81, 50_000, End::Local),
            (40_000, 50_000, End::Local),
            (50_000, 50_001, End::Remote),
            (179, 1_024, End::Local),
            (1_024, 179, End::Remote),
            (7_000, 7_000, End::Remote),
        ] {
            assert_eq!(place().service(local, remote), end, "{local} {remote}");
        }
        let (place, mut tally) = (place(), Tally::default());
        for _ in 0..2 {
            let mut here = tally.place(&place);
            here.add(&seen(State::TimeWait, "10.0.0.1:80", "10.0.0.2:50000"));
            here.add(&seen(State::TimeWait, "10.0.0.2:50001", "10.0.0.1:80"));
            here.add(&seen(State::Established, "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:50002"));
        }
        insta::assert_debug_snapshot!(rows(&tally), @r#"
        [
            "Local 10.0.0.2→10.0.0.1:80 [(Established, 2), (TimeWait, 2)]",
            "Remote 10.0.0.2→10.0.0.1:80 [(TimeWait, 2)]",
        ]
        "#);
        assert!(tally.lost().is_empty());
    }

    #[test]
    fn a_flood_of_half_open_requests_is_one_row() {
        let (place, mut tally) = (place(), Tally::default());
        for last in 0..200 {
            let from = alloc::format!("203.0.113.{last}:1000");
            tally.place(&place).add(&seen(State::NewSynRecv, "10.0.0.1:443", &from));
        }
        insta::assert_debug_snapshot!(rows(&tally), @r#"
        [
            "Local 0.0.0.0→10.0.0.1:443 [(SynRecv, 200)]",
        ]
        "#);
        let counted = tally.namespaces()[&NetnsId(7)].value().unwrap();
        assert_eq!((counted.states.of(State::SynRecv), counted.small.of(State::NewSynRecv)), (200, 200));
    }

    #[test]
    fn a_full_table_counts_what_it_could_not_take() {
        let bounds = Bounds { destinations: 3, cgroups: 1, inodes: false };
        let (place, mut tally) = (place(), Tally::new(bounds));
        let mut here = tally.place(&place);
        for last in 0..10 {
            here.add(&seen(State::Established, "10.0.0.1:443", &alloc::format!("203.0.113.{last}:50000")));
            here.add(&seen(State::TimeWait, "10.0.0.1:50000", &alloc::format!("203.0.113.{last}:443")));
            here.cgroup(last, State::Established, 1);
        }
        // A state that nobody knows yet.
        here.add(&Seen { state: 14, ..seen(State::Established, "10.0.0.1:1", "10.0.0.2:2") });
        insta::assert_debug_snapshot!(rows(&tally), @r#"
        [
            "Local 0.0.0.0→10.0.0.1:443 [(Established, 8)]",
            "Local 203.0.113.0→10.0.0.1:443 [(Established, 1)]",
            "Local 203.0.113.1→10.0.0.1:443 [(Established, 1)]",
            "Remote 10.0.0.1→203.0.113.0:443 [(TimeWait, 1)]",
        ]
        "#);
        let lost: Vec<_> = tally.lost().iter().map(|((_, why), n)| (*why, *n)).collect();
        assert_eq!(
            lost,
            [(Lost::DestinationsFull, 9), (Lost::SourcesFolded, 8), (Lost::CgroupsFull, 9), (Lost::UnknownState, 1)]
        );
        // Every socket is in a row or among the lost.
        let in_rows: u64 = tally.destinations().values().map(|of| of.states.total()).sum();
        assert_eq!((in_rows + 9, tally.namespaces()[&NetnsId(7)].value().unwrap().states.total()), (20, 20));
    }

    #[test]
    fn a_fold_counts_the_same_whatever_gives_way_to_what() {
        let sockets = || {
            (0..4_000_u32).map(|n| {
                let from = alloc::format!("10.0.{}.{}:{}", n % 3, n * 7 % 251, 1_024 + n);
                let state = [State::Established, State::TimeWait, State::NewSynRecv][n as usize % 3];
                let ends = [("10.0.0.1:443", &*from), (&*from, "192.0.2.1:80")][n as usize % 2];
                let (inode, cgroup) = (u64::from(n % 5), Some(u64::from(n % 7)).filter(|id| *id > 0));
                Seen { inode, cgroup, ..seen(state, ends.0, ends.1) }
            })
        };
        let place = place();
        for destinations in [10, 10_000] {
            let mut tallies = [0, 1].map(|_| Tally::new(Bounds { destinations, ..Bounds::default() }));
            let mut one_by_one = tallies[0].place(&place);
            sockets().for_each(|socket| one_by_one.add(&socket));
            let mut fold = tallies[1].place(&place).fold();
            sockets().for_each(|socket| fold.add(&socket));
            drop(fold);
            let [a, b] = &tallies;
            assert_eq!(a.namespaces(), b.namespaces());
            assert_eq!(a.cgroups(), b.cgroups());
            if destinations > 1_000 {
                let states =
                    |tally: &Tally| tally.destinations().iter().map(|(k, of)| (*k, of.states)).collect::<Vec<_>>();
                assert_eq!(states(a), states(b));
                assert!(a.lost().is_empty() && b.lost().is_empty());
            }
            for tally in [a, b] {
                let in_rows: u64 = tally.destinations().values().map(|of| of.states.total()).sum();
                let lost = tally.lost().get(&(NetnsId(7), Lost::DestinationsFull)).copied().unwrap_or(0);
                assert_eq!(in_rows + lost, 4_000);
            }
        }
    }

    #[test]
    fn two_walks_add_up_and_one_that_failed_leaves_nothing_behind() {
        let place = place();
        let walk = |local: &str| {
            let mut tally = Tally::new(Bounds { inodes: true, ..Bounds::default() });
            let socket = Seen { inode: 9, cgroup: Some(1), ..seen(State::Established, local, "10.0.0.2:443") };
            tally.place(&place).add(&socket);
            tally
        };
        let mut both = walk("10.0.0.1:50000");
        both.merge(walk("10.0.0.1:50001"));
        assert_eq!(both.namespaces()[&NetnsId(7)].value().unwrap().states.of(State::Established), 2);
        assert_eq!(rows(&both), ["Remote 10.0.0.1→10.0.0.2:443 [(Established, 2)]"]);
        assert_eq!(both.cgroups()[&1].total(), 2);
        assert_eq!(both.take_inodes()[&State::Established], [9, 9]);
        let mut failed = walk("10.0.0.1:50000");
        failed.absent(NetnsId(7), Absent::Gone { what: "it".into() });
        both.merge(failed);
        assert!(both.namespaces()[&NetnsId(7)].absent().is_some() && both.destinations().is_empty());
    }

    #[test]
    fn counts_survive_json() {
        let mut counts = Counts::default();
        counts.add(State::NewSynRecv, 3);
        counts.add(State::TimeWait, u32::MAX);
        counts.add(State::TimeWait, 1);
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"SYN-RECV":3,"TIME-WAIT":4294967295}"#);
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
        assert!(serde_json::from_str::<Counts>(r#"{"OPEN":3}"#).is_err());
    }

    #[test]
    fn the_backend_is_chosen_by_cost_and_by_what_is_there() {
        let no = Err(Absent::not_in_kernel("bpf(2)"));
        let first = |sockets, bpf: &Result<(), Absent>| choose(None, &sockets, bpf).0[0];
        assert_eq!(first(Reading::Present(BPF_FROM - 1), &Ok(())), Method::Netlink);
        assert_eq!(first(Reading::Present(BPF_FROM), &Ok(())), Method::Bpf);
        assert_eq!(first(Reading::Present(1_000_000), &no), Method::Netlink);
        assert_eq!(first(Reading::Absent(Absent::OneReading), &Ok(())), Method::Netlink);
        assert_eq!(choose(Some(Method::Proc), &Reading::Present(1), &no).0, [Method::Proc]);
    }

    #[test]
    fn sockstat_agrees_when_the_count_lies_between_both_readings() {
        let mut counted = NetnsTally::default();
        for (state, small, n) in [
            (State::Listen, false, 2),
            (State::Established, false, 10),
            (State::TimeWait, true, 5),
            (State::FinWait2, true, 3),
            (State::FinWait2, false, 1),
            (State::SynRecv, true, 4),
        ] {
            counted.states.add(state, n);
            if small {
                counted.small.add(state, n);
            }
        }
        let census = |before: (u64, u64), after: (u64, u64)| NetnsCensus {
            name: "host".into(),
            counted: Reading::Present(counted),
            known: BTreeMap::new(),
            open: None,
            sockstat: Reading::Present((
                Sockstat { inuse: before.0, tw: before.1 },
                Sockstat { inuse: after.0, tw: after.1 },
            )),
            mptcp: Reading::Absent(Absent::NotNeeded),
            ephemeral: Reading::Present(PortRange::DEFAULT),
            usable_ports: None,
            listeners_absent: None,
        };
        assert!(census((13, 8), (13, 8)).differences().is_empty());
        assert!(census((20, 0), (10, 9)).differences().is_empty());
        let differences = census((14, 8), (15, 7)).differences();
        assert_eq!(differences, [Difference { value: "inuse".into(), counted: 13, sockstat: (14, 15) }]);
    }
}

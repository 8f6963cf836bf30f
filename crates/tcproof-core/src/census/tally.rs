//! What a walk counts into.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::counts::{Counts, folded};
use super::place::{End, Place};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Endpoint, Inode, NetnsId, Tuple, Unseen};
use crate::states::State;

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

/// A socket of a row of destinations, to find the row's owner by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The inode of its file.
    Inode(Inode),
    /// Of a walk that reads no inodes: with the row's service, what one is asked for by. It may have no file, such as one that
    /// nobody has accepted yet.
    Connection {
        /// The client's end.
        client: Endpoint,
        /// The device that it is bound to (`sk_bound_dev_if`), or 0.
        device: u32,
    },
}

/// Of one row. More than one, since a connection may turn out to have no file.
pub const MEMBERS: usize = 3;

/// A row of destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationUse {
    /// Its sockets.
    pub states: Counts,
    /// Some of them, from the first on.
    pub members: [Option<Member>; MEMBERS],
}

impl DestinationUse {
    pub(super) fn add(&mut self, state: State, seen: &Seen) {
        self.states.add(state, 1);
        if seen.inode != 0 && self.members[0].is_none() {
            self.members[0] = Some(Member::Inode(seen.inode));
        }
    }

    fn remember(&mut self, member: Member) {
        if let Some(free) = self.members.iter_mut().find(|member| member.is_none()) {
            *free = Some(member);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.states.merge(&other.states);
        other.members.iter().flatten().for_each(|member| self.remember(*member));
    }
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
                take(rows, &mut self.lost, self.bounds, destination, &more);
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

impl PlaceTally<'_> {
    /// Counts one socket, in everything.
    pub fn add(&mut self, seen: &Seen) {
        let Some((state, key)) = self.begin(seen) else { return };
        let mut row = DestinationUse::default();
        row.add(state, seen);
        self.take(key, &row);
        if let Some(cgroup) = seen.cgroup {
            self.cgroup(cgroup, state, 1);
        }
    }

    /// Counts a socket in all but the row of its destination and its control group; says which row that is.
    pub(super) fn begin(&mut self, seen: &Seen) -> Option<(State, Destination)> {
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

    /// Counts sockets of one destination, and nothing else: for backends that fold first.
    pub fn destination(&mut self, service: End, tuple: Tuple, row: &DestinationUse) {
        let mut whole = *row;
        let half_open = core::mem::take(whole.states.at(State::SynRecv));
        if half_open > 0 {
            let mut row = DestinationUse::default();
            row.states.add(State::SynRecv, half_open);
            self.take(self.key(service, tuple, State::SynRecv), &row);
        }
        if whole.states.total() > 0 {
            self.take(Destination { netns: self.place.netns, service, tuple }, &whole);
        }
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

    pub(super) fn take(&mut self, key: Destination, row: &DestinationUse) {
        take(self.destinations, self.lost, self.bounds, key, row);
    }

    pub(super) fn take_cgroup(&mut self, cgroup: u64, counts: &Counts) {
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
    more: &DestinationUse,
) {
    let room = rows.len();
    if let Some(row) = rows.get_mut(&key) {
        return row.merge(more);
    }
    if room < bounds.destinations {
        rows.insert(key, *more);
        return;
    }
    let n = more.states.total();
    // Only of services of our own: their clients are what fills a table.
    if key.service == End::Local {
        let any = key.of_any();
        if let Some(row) = rows.get_mut(&any) {
            lose(lost, key.netns, Lost::SourcesFolded, n);
            return row.merge(more);
        }
        if room < bounds.destinations.saturating_add(FOLDED) {
            lose(lost, key.netns, Lost::SourcesFolded, n);
            return rows.entry(any).or_default().merge(more);
        }
    }
    lose(lost, key.netns, Lost::DestinationsFull, n);
}

//! The census of sockets by the walk: the second backend of `tcproof_core::census`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxBuildHasher;
use tcproof_core::Absent;
use tcproof_core::census::{Backend, DestinationUse, End, Held, Holders, Lost, MEMBERS, Member, Method, Place, Tally};
use tcproof_core::snapshot::{Endpoint, NetnsId, Tuple};
use tcproof_core::states::State;

use crate::files::Files;
use crate::refused::Refused;
use crate::walk::{Met, Namespace, Table, Walk, With, v4, v6};

/// Rows that a thread keeps before it hands them on: what a table of 4096 places holds without growing, which fits into a
/// core's own cache.
const ROWS: usize = 3584;
/// Kinds of sockets: a state's number, those that this version does not know, and one more.
const KINDS: usize = 16;
const UNKNOWN: u8 = 0;
const SMALL_FIN_WAIT2: u8 = 15;
/// States in which a connection has a file, or will have one: a bit each.
const HELD: u16 = 1 << State::Established.number() | 1 << State::SynSent.number() | 1 << State::CloseWait.number();

/// Counts by a walk in the kernel.
#[derive(Debug)]
pub struct BpfBackend {
    walk: Walk,
    threads: usize,
}

impl BpfBackend {
    /// Loads the walk, for up to so many threads.
    ///
    /// # Errors
    /// Why it can't be loaded.
    pub fn load(threads: usize) -> Result<Self, Refused> {
        Ok(Self { walk: Walk::load()?, threads })
    }
}

impl Backend for BpfBackend {
    fn method(&self) -> Method {
        Method::Bpf
    }

    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent> {
        let namespaces = self.namespaces(places)?;
        let mut tables = BTreeSet::new();
        let mut there = There::default();
        for (index, place) in places.iter().enumerate() {
            match namespaces.get(&inode(place)) {
                Some(namespace) => {
                    tables.insert(namespace.table);
                    there.insert(namespace.netns, index);
                    // Present, also where it has no socket.
                    tally.place(place);
                }
                None => tally.absent(place.netns, gone(place.netns)),
            }
        }
        // In a walk for one namespace the others' sockets are not even written down.
        let only = namespaces.values().next().filter(|_| places.len() == 1);
        for table in tables {
            let astray = self.count_table(&table, only, places, &there, tally)?;
            let in_it = |place: &&Place| namespaces.get(&inode(place)).is_some_and(|it| it.table == table);
            for place in places.iter().filter(in_it).filter(|_| astray > 0) {
                tally.place(place).lost(Lost::Moved, astray);
            }
        }
        // A namespace that went meanwhile, and its table with it, was counted in part or not at all.
        let still = self.namespaces(places)?;
        for place in places {
            if let Some(before) = namespaces.get(&inode(place))
                && still.get(&inode(place)) != Some(before)
            {
                tally.absent(place.netns, gone(place.netns));
            }
        }
        Ok(())
    }
}

/// Tells what every process holds, by a walk through all descriptors in the kernel.
#[derive(Debug)]
pub struct BpfHolders {
    files: Files,
}

impl BpfHolders {
    /// Loads it.
    ///
    /// # Errors
    /// Why it can't be loaded.
    pub fn load() -> Result<Self, Refused> {
        Ok(Self { files: Files::load()? })
    }
}

impl Holders for BpfHolders {
    fn method(&self) -> Method {
        Method::Bpf
    }

    fn count(&mut self, places: &[Place], held: &mut Held) -> Result<(), Absent> {
        let there: HashSet<u32, FxBuildHasher> = places.iter().map(inode).collect();
        let mut processes = HashMap::<u32, Kinds, FxBuildHasher>::default();
        self.files.for_each(|holding| {
            // One that is neither connected nor listens is in no census.
            if there.contains(&holding.netns) && holding.state != State::Close.number() {
                let known = Some(holding.state).filter(|state| *state < SMALL_FIN_WAIT2);
                processes.entry(holding.pid).or_default()[usize::from(known.unwrap_or(UNKNOWN))] += 1;
            }
        })?;
        for (pid, kinds) in processes {
            for (kind, n) in counted(&kinds) {
                if let Some((state, _)) = of_kind(kind) {
                    held.add(pid, state, n);
                }
            }
        }
        Ok(())
    }
}

fn inode(place: &Place) -> u32 {
    u32::try_from(place.netns.0).unwrap_or(0)
}

fn gone(netns: NetnsId) -> Absent {
    Absent::Gone { what: format!("network namespace {netns}") }
}

/// Which of the places a namespace's inode stands for.
type There = HashMap<u32, usize, FxBuildHasher>;

impl BpfBackend {
    fn namespaces(&self, places: &[Place]) -> Result<HashMap<u32, Namespace, FxBuildHasher>, Refused> {
        let namespaces = match places {
            [place] => self.walk.namespace(inode(place))?.into_iter().collect(),
            _ => self.walk.namespaces()?,
        };
        Ok(namespaces.into_iter().map(|namespace| (namespace.netns, namespace)).collect())
    }

    /// Returns how many groups of chains did not hold still.
    fn count_table(
        &self,
        table: &Table,
        only: Option<&Namespace>,
        places: &[Place],
        there: &There,
        tally: &mut Tally,
    ) -> Result<u64, Refused> {
        let bounds = tally.bounds();
        let with = With { cgroups: bounds.cgroups > 0, inodes: bounds.inodes };
        let all = Mutex::new(tally);
        let start = || Fold::new(places, there, &all, bounds.inodes);
        let (folds, pass) = self.walk.fold(table, only, with, self.threads, start, Fold::add)?;
        folds.into_iter().for_each(|mut fold| fold.pour());
        Ok(pass.astray)
    }
}

/// Counts by kind of socket, of one row or control group.
type Kinds = [u32; KINDS];

#[derive(Clone, Copy, Default)]
struct Row {
    kinds: Kinds,
    members: [Connection; MEMBERS],
}

impl Row {
    fn remember(&mut self, connection: Connection) {
        if let Some(free) = self.members.iter_mut().find(|member| member.port == 0) {
            *free = connection;
        }
    }
}

/// One of a row, by what its key leaves open; none where the port is 0.
#[derive(Clone, Copy, Default)]
struct Connection {
    /// The client's.
    port: u16,
    device: u32,
}

/// Which of the places, and the service's port and end.
type PlacePortEnd = u64;

/// What one thread of the walk has counted, and not yet handed on. A tally's own tables are ordered and take longer.
struct Fold<'a, 'b> {
    places: &'a [Place],
    there: &'a There,
    all: &'a Mutex<&'b mut Tally>,
    /// Whether each inode is wanted, with its state: then nothing is folded.
    singly: bool,
    /// The namespace of the last socket, and its place.
    last: Option<(u32, usize)>,
    /// By both ends' addresses, the client's first: in one word, or in two each, in the host's order. A v4-mapped address meets
    /// its equal in the tally.
    fours: HashMap<(PlacePortEnd, u64), Row, FxBuildHasher>,
    sixes: HashMap<(PlacePortEnd, [u64; 2], [u64; 2]), Row, FxBuildHasher>,
    cgroups: Kept<u64, Kinds>,
    single: Vec<(usize, Met)>,
}

/// A map that has the value of the last key at hand: nearly always the next one is of the same.
struct Kept<K, V> {
    last: Option<(K, V)>,
    others: HashMap<K, V, FxBuildHasher>,
}

impl<K: Copy + Eq + std::hash::Hash, V: Copy + Default> Kept<K, V> {
    fn new() -> Self {
        Self { last: None, others: HashMap::default() }
    }

    fn at(&mut self, key: K) -> &mut V {
        if self.last.is_none_or(|(last, _)| last != key)
            && let Some((last, value)) = self.last.take()
        {
            self.others.insert(last, value);
        }
        let others = &mut self.others;
        &mut self.last.get_or_insert_with(|| (key, others.remove(&key).unwrap_or_default())).1
    }

    fn take(&mut self) -> impl Iterator<Item = (K, V)> {
        self.others.extend(self.last.take());
        std::mem::take(&mut self.others).into_iter()
    }
}

impl<'a, 'b> Fold<'a, 'b> {
    fn new(places: &'a [Place], there: &'a There, all: &'a Mutex<&'b mut Tally>, singly: bool) -> Self {
        Self {
            places,
            there,
            all,
            singly,
            last: None,
            fours: HashMap::with_capacity_and_hasher(if singly { 0 } else { ROWS }, FxBuildHasher),
            sixes: HashMap::default(),
            cgroups: Kept::new(),
            single: Vec::new(),
        }
    }

    fn add(&mut self, met: &Met) {
        if self.last.is_none_or(|(netns, _)| netns != met.netns) {
            // A walk for all namespaces meets those that were not asked for.
            let Some(&index) = self.there.get(&met.netns) else { return };
            self.last = Some((met.netns, index));
        }
        let Some((index, place)) = self.last.and_then(|(_, index)| Some((index, self.places.get(index)?))) else {
            return;
        };
        if self.singly {
            self.single.push((index, *met));
            if self.single.len() == ROWS {
                self.pour();
            }
            return;
        }
        let kind = kind(met);
        if let Some(cgroup) = met.cgroup {
            self.cgroups.at(cgroup)[kind] += 1;
        }
        // A hash has no order, so that no branch on a socket can be foretold: where there are two ways, both are computed.
        let is_client = place.service(met.local_port, met.remote_port) == End::Remote;
        let [client_port, service_port] = swapped_if(!is_client, [met.local_port, met.remote_port]);
        let place_port_end = (index as u64) << 32 | u64::from(service_port) << 1 | u64::from(is_client);
        let [a, b, c, d] = met.addresses;
        // What differs between addresses are the last bytes, and the hash hands nothing down from a word's upper bits: so they
        // are put lowest.
        let row = if met.is_v6 {
            let [client, service] = swapped_if(is_client, [[a, b], [c, d]]);
            self.sixes.entry((place_port_end, client.map(u64::from_be), service.map(u64::from_be))).or_default()
        } else {
            let ends = u64::from_be(a.rotate_left(32 * u32::from(is_client)));
            self.fours.entry((place_port_end, ends)).or_default()
        };
        row.kinds[kind] += 1;
        // TIME_WAIT and what else is not whole has no file; what was closed has mostly none.
        let may_have_file = !met.is_small & (HELD >> met.state & 1 == 1);
        if may_have_file & (row.members[MEMBERS - 1].port == 0) {
            row.remember(Connection { port: client_port, device: met.device });
        }
        if self.fours.len() + self.sixes.len() == ROWS {
            self.pour();
        }
    }

    /// Hands on what was counted.
    fn pour(&mut self) {
        let mut tally = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Control groups know of no namespace.
        if let Some(place) = self.there.values().next().and_then(|index| self.places.get(*index)) {
            let mut here = tally.place(place);
            for (cgroup, kinds) in self.cgroups.take() {
                for (kind, n) in counted(&kinds) {
                    if let Some((state, _)) = of_kind(kind) {
                        here.cgroup(cgroup, state, n);
                    }
                }
            }
        }
        let fours = self.fours.drain().map(|((place_port_end, ends), row)| {
            let ends = ends.to_be();
            let [client, service] = [ends as u32, (ends >> 32) as u32].map(v4);
            (place_port_end, client, service, row)
        });
        let sixes = self.sixes.drain().map(|((place_port_end, client, service), row)| {
            let [client, service] = [client, service].map(|[first, second]| v6(first.to_be(), second.to_be()));
            (place_port_end, client, service, row)
        });
        for (place_port_end, client, service, row) in fours.chain(sixes) {
            let end = if place_port_end & 1 == 0 { End::Local } else { End::Remote };
            let port = (place_port_end >> 1) as u16;
            let mut here = tally.place(&self.places[(place_port_end >> 32) as usize]);
            let mut of = DestinationUse::default();
            for (kind, n) in counted(&row.kinds) {
                match of_kind(kind) {
                    Some((state, is_small)) => {
                        here.states(state, is_small, n);
                        of.states.add(state, n);
                    }
                    None => here.lost(Lost::UnknownState, n.into()),
                }
            }
            let members = row.members.iter().filter(|member| member.port != 0);
            for (member, one) in of.members.iter_mut().zip(members) {
                let client = Endpoint::new(client, one.port);
                *member = Some(Member::Connection { client, device: one.device });
            }
            let destination = Endpoint::new(service, port);
            here.destination(end, Tuple { source: client.to_canonical(), destination }, &of);
        }
        for (index, met) in self.single.drain(..) {
            tally.place(&self.places[index]).add(&met.seen());
        }
    }
}

/// The number of a socket's state; of what is kept of one in FIN_WAIT2, one that no state has.
fn kind(met: &Met) -> usize {
    let state = if met.state < SMALL_FIN_WAIT2 { met.state } else { UNKNOWN };
    let is_small_fin_wait2 = met.is_small & (state == State::FinWait2.number());
    (if is_small_fin_wait2 { SMALL_FIN_WAIT2 } else { state }).into()
}

/// Both, the other way round if so.
fn swapped_if<T: Copy>(is_so: bool, [first, second]: [T; 2]) -> [T; 2] {
    if is_so { [second, first] } else { [first, second] }
}

/// The state of a kind, and whether it is none of whole sockets ([`tcproof_core::census::Seen::small`]).
fn of_kind(kind: usize) -> Option<(State, bool)> {
    let number = u8::try_from(kind).ok()?;
    if number == SMALL_FIN_WAIT2 {
        return Some((State::FinWait2, true));
    }
    let state = State::of_number(number)?;
    Some((state, matches!(state, State::TimeWait | State::NewSynRecv)))
}

fn counted(kinds: &Kinds) -> impl Iterator<Item = (usize, u32)> {
    kinds.iter().copied().enumerate().filter(|(_, n)| *n > 0)
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tcproof_core::census::{Bounds, PortRange, Seen};

    use super::*;

    const NETNS: u32 = 7;

    fn place() -> Place {
        let listening = [80].into_iter().collect();
        Place { netns: NetnsId(NETNS.into()), listening, ephemeral: PortRange::DEFAULT }
    }

    /// Few addresses and ports, so that rows meet; every number that a state may have.
    fn any_met() -> impl Strategy<Value = Met> {
        let port = || prop::sample::select(vec![80_u16, 443, 40_000, 50_000]);
        let four = || prop::sample::select(vec![1_u64, 2, 3]);
        // ::ffff:0:0/96.
        let mapped = u64::from(u32::from_ne_bytes([0, 0, 0xff, 0xff]));
        let six = move || prop::sample::select(vec![(0, 1_u64 << 56), (0, mapped | 1 << 32), (0, mapped | 2 << 32)]);
        let addresses = prop_oneof![
            (four(), four()).prop_map(|(remote, local)| (false, [remote | local << 32, 0, 0, 0])),
            (six(), six()).prop_map(|(remote, local)| (true, [remote.0, remote.1, local.0, local.1])),
        ];
        let cgroup = prop::option::of(1_u64..4);
        let is_known = prop::bool::weighted(0.9);
        (addresses, port(), port(), 1_u8..16, any::<bool>(), cgroup, is_known).prop_map(
            |((is_v6, addresses), local_port, remote_port, number, is_small, cgroup, is_known)| {
                // The kernel has no others than these.
                let is_small = match number {
                    5 => is_small,
                    6 | 12 => true,
                    _ => false,
                };
                let (netns, inode, device) = (if is_known { NETNS } else { 8 }, 0, 3);
                Met { netns, state: number, is_small, is_v6, local_port, remote_port, addresses, inode, device, cgroup }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_folded_counts_as_if_it_came_one_by_one(mets in vec(any_met(), 0..200), pause in 1_usize..100) {
            let places = [place()];
            let there: There = [(NETNS, 0)].into_iter().collect();
            let (mut folded, mut single) = (Tally::new(Bounds::default()), Tally::new(Bounds::default()));
            // As whoever counts does before the first socket.
            for tally in [&mut folded, &mut single] {
                tally.place(&places[0]);
            }
            for met in mets.iter().filter(|met| met.netns == NETNS) {
                single.place(&places[0]).add(&met.seen());
            }
            let all = Mutex::new(&mut folded);
            let mut fold = Fold::new(&places, &there, &all, false);
            for (n, met) in mets.iter().enumerate() {
                fold.add(met);
                if n % pause == 0 {
                    fold.pour();
                }
            }
            fold.pour();
            prop_assert_eq!(folded.namespaces(), single.namespaces());
            prop_assert_eq!(folded.cgroups(), single.cgroups());
            prop_assert_eq!(folded.lost(), single.lost());
            let states = |tally: &Tally| tally.destinations().iter().map(|(key, of)| (*key, of.states)).collect::<Vec<_>>();
            prop_assert_eq!(states(&folded), states(&single));
            // Every row with a connection that a file may hold names one, and no other row does.
            for (key, of) in folded.destinations() {
                let held = State::ALL.into_iter().any(|state| HELD >> state.number() & 1 == 1 && of.states.of(state) > 0);
                prop_assert_eq!(of.members[0].is_some(), held, "{:?}", key);
                for member in of.members.iter().flatten() {
                    let Member::Connection { client, device: 3 } = *member else { panic!("{member:?}") };
                    let (local, remote) = match key.service {
                        End::Local => (key.tuple.destination, client),
                        End::Remote => (client, key.tuple.destination),
                    };
                    let is_it = |seen: &Seen| (seen.local, seen.remote) == (local, remote) && HELD >> seen.state & 1 == 1;
                    prop_assert!(mets.iter().any(|met| is_it(&met.seen())), "{:?}", member);
                }
            }
        }
    }

    /// Neighbours are what most hosts talk to, and what falls on one place of a table costs a search in it.
    #[test]
    fn rows_of_neighbours_are_apart_in_the_table() {
        let places = [place()];
        let there: There = [(NETNS, 0)].into_iter().collect();
        let mut tally = Tally::new(Bounds::default());
        let all = Mutex::new(&mut tally);
        for is_local in [false, true] {
            let mut fold = Fold::new(&places, &there, &all, false);
            for last in 0..256_u64 {
                let (mut four, mut six) = (127_u64, [0; 4]);
                four |= if is_local { last << 56 } else { last << 24 };
                six[if is_local { 3 } else { 1 }] = last << 56;
                for (is_v6, addresses) in [(false, [four, 0, 0, 0]), (true, six)] {
                    fold.add(&Met {
                        netns: NETNS,
                        state: 1,
                        is_small: false,
                        is_v6,
                        local_port: 80,
                        remote_port: 50_000,
                        addresses,
                        inode: 0,
                        device: 0,
                        cgroup: None,
                    });
                }
            }
            let (fours, sixes) = (&fold.fours, &fold.sixes);
            assert_eq!((fours.len(), sixes.len()), (256, 256));
            // hashbrown: the place by the lowest bits, in a table of 4096.
            let place = |hash: u64| hash & 0xfff;
            let four: BTreeSet<_> = fours.keys().map(|key| place(fours.hasher().hash_one(key))).collect();
            let six: BTreeSet<_> = sixes.keys().map(|key| place(sixes.hasher().hash_one(key))).collect();
            assert!(four.len() > 200 && six.len() > 200, "{} {}", four.len(), six.len());
            fold.pour();
        }
    }

    #[test]
    fn nothing_of_what_is_kept_gets_lost() {
        let mut kept = Kept::<u8, u32>::new();
        for key in [1, 1, 2, 1, 3, 3, 2, 1] {
            *kept.at(key) += 1;
        }
        let mut all: Vec<_> = kept.take().collect();
        all.sort_unstable();
        assert_eq!(all, [(1, 4), (2, 2), (3, 2)]);
        assert_eq!(kept.take().count(), 0);
    }
}

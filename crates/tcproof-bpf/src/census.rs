//! The census of sockets by the walk: the second backend of `tcproof_core::census`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxBuildHasher;
use tcproof_core::Absent;
use tcproof_core::census::{Backend, End, Held, Holders, Lost, Method, Place, Tally};
use tcproof_core::snapshot::{Endpoint, NetnsId, Tuple};
use tcproof_core::states::State;

use crate::files::Files;
use crate::refused::Refused;
use crate::walk::{Met, Namespace, Table, Walk, With, v6};

/// Rows that a thread keeps before it hands them on: what a table of 4096 places holds without growing, which fits into a
/// core's own cache.
const ROWS: usize = 3584;
/// Numbers of states, rounded up; 0 is for those that this version does not know.
const STATES: usize = 16;

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
        let mut processes = HashMap::<u32, States, FxBuildHasher>::default();
        self.files.for_each(|holding| {
            // One that is neither connected nor listens is in no census.
            if there.contains(&holding.netns) && holding.state != State::Close.number() {
                let state = if usize::from(holding.state) < STATES { usize::from(holding.state) } else { 0 };
                processes.entry(holding.pid).or_default()[state] += 1;
            }
        })?;
        for (pid, states) in processes {
            for (state, n) in counted(&states).filter_map(|(number, n)| Some((State::of_number(number)?, n))) {
                held.add(pid, state, n);
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
        let with = With { cgroups: bounds.cgroups > 0, inodes: true };
        let all = Mutex::new(tally);
        let start = || Fold::new(places, there, &all, bounds.inodes);
        let (folds, pass) = self.walk.fold(table, only, with, self.threads, start, Fold::add)?;
        folds.into_iter().for_each(|mut fold| fold.pour());
        Ok(pass.astray)
    }
}

/// Counts by state, of one namespace or control group.
type States = [u32; STATES];

/// What a row is about. An address is IPv6, an IPv4 one mapped, as [`tcproof_core::snapshot::Endpoint`] sees it too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Which of the places, and the service's port and end.
    place_port_end: u64,
    client: (u64, u64),
    service: (u64, u64),
}

#[derive(Clone, Copy, Default)]
struct Row {
    states: States,
    /// Of one of them that a file holds, or 0.
    inode: u32,
    cgroup: Option<u64>,
}

/// What one thread of the walk has counted, and not yet handed on. A tally's own tables are ordered and take longer.
struct Fold<'a, 'b> {
    places: &'a [Place],
    there: &'a There,
    all: &'a Mutex<&'b mut Tally>,
    /// Whether each inode is wanted, with its state: then nothing is folded.
    singly: bool,
    /// The namespace of the last socket, and its place.
    last: Option<(u32, usize)>,
    rows: HashMap<Key, Row, FxBuildHasher>,
    namespaces: Kept<usize, [States; 2]>,
    cgroups: Kept<u64, States>,
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
            rows: HashMap::with_capacity_and_hasher(if singly { 0 } else { ROWS }, FxBuildHasher),
            namespaces: Kept::new(),
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
        let state = if usize::from(met.state) < STATES { usize::from(met.state) } else { 0 };
        self.namespaces.at(index)[usize::from(met.is_small)][state] += 1;
        if let Some(cgroup) = met.cgroup {
            self.cgroups.at(cgroup)[state] += 1;
        }
        let [a, b, c, d] = met.addresses;
        let (local, remote) = if met.is_v6 { ((c, d), (a, b)) } else { (mapped(a >> 32), mapped(a & 0xffff_ffff)) };
        let end = place.service(met.local_port, met.remote_port);
        let (client, service, port) = match end {
            End::Local => (remote, local, met.local_port),
            End::Remote => (local, remote, met.remote_port),
        };
        let place_port_end = (index as u64) << 32 | u64::from(port) << 1 | u64::from(end == End::Remote);
        let row = self.rows.entry(Key { place_port_end, client, service }).or_default();
        row.states[state] += 1;
        if row.inode == 0 && met.inode != 0 {
            (row.inode, row.cgroup) = (met.inode, met.cgroup);
        }
        if self.rows.len() == ROWS {
            self.pour();
        }
    }

    /// Hands on what was counted.
    fn pour(&mut self) {
        let mut tally = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, counts) in self.namespaces.take() {
            let mut here = tally.place(&self.places[index]);
            for (counts, is_small) in counts.iter().zip([false, true]) {
                for (number, n) in counted(counts) {
                    match State::of_number(number) {
                        Some(state) => here.states(state, is_small, n),
                        None => here.lost(Lost::UnknownState, n.into()),
                    }
                }
            }
        }
        // Control groups know of no namespace.
        if let Some(place) = self.there.values().next().and_then(|index| self.places.get(*index)) {
            let mut here = tally.place(place);
            for (cgroup, counts) in self.cgroups.take() {
                for (state, n) in counted(&counts).filter_map(|(number, n)| Some((State::of_number(number)?, n))) {
                    here.cgroup(cgroup, state, n);
                }
            }
        }
        for (key, row) in self.rows.drain() {
            let index = (key.place_port_end >> 32) as usize;
            let end = if key.place_port_end & 1 == 0 { End::Local } else { End::Remote };
            let port = (key.place_port_end >> 1) as u16;
            let source = v6(key.client.0, key.client.1).to_canonical();
            let destination = Endpoint::new(v6(key.service.0, key.service.1), port);
            let mut here = tally.place(&self.places[index]);
            for (state, n) in counted(&row.states).filter_map(|(number, n)| Some((State::of_number(number)?, n))) {
                here.destination(end, Tuple { source, destination }, state, n, row.inode.into(), row.cgroup);
            }
        }
        for (index, met) in self.single.drain(..) {
            tally.place(&self.places[index]).add(&met.seen());
        }
    }
}

/// The v4-mapped address, in the kernel's order of bytes.
fn mapped(v4: u64) -> (u64, u64) {
    (0, v4 << 32 | u64::from(u32::from_be(0xffff)))
}

fn counted(states: &States) -> impl Iterator<Item = (u8, u32)> {
    (0..).zip(*states).filter(|(_, n)| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_ipv4() {
        let v4 = u32::from_ne_bytes([10, 1, 2, 3]);
        let (first, second) = mapped(v4.into());
        assert_eq!(v6(first, second).to_canonical().to_string(), "10.1.2.3");
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

//! The census of sockets by the walk: the second backend of `tcproof_core::census`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxBuildHasher;
use tcproof_core::Absent;
use tcproof_core::census::{Backend, End, Lost, Method, Place, Tally};
use tcproof_core::snapshot::{NetnsId, Tuple};
use tcproof_core::states::State;

use crate::refused::Refused;
use crate::walk::{Met, Namespace, Table, Walk, With};

/// Rows that a thread keeps before it hands them on: about what fits into a core's own cache.
const ROWS: usize = 4096;
/// Numbers of states, and what is above them.
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
        let namespaces = match places {
            [place] => self.walk.namespace(inode(place))?.into_iter().collect(),
            _ => self.walk.namespaces()?,
        };
        let mut tables = BTreeSet::new();
        let mut there = HashMap::with_hasher(FxBuildHasher);
        for (index, place) in places.iter().enumerate() {
            match namespaces.iter().find(|namespace| namespace.netns == inode(place)) {
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
        let only = namespaces.first().filter(|_| places.len() == 1);
        for table in tables {
            self.count_table(&table, only, places, &there, tally)?;
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

type There = HashMap<u32, usize, FxBuildHasher>;

impl BpfBackend {
    fn count_table(
        &self,
        table: &Table,
        only: Option<&Namespace>,
        places: &[Place],
        there: &There,
        tally: &mut Tally,
    ) -> Result<(), Absent> {
        let bounds = tally.bounds();
        let with = With { cgroups: bounds.cgroups > 0, inodes: bounds.inodes };
        let all = Mutex::new(&mut *tally);
        let start = || Fold { places, there, all: &all, last: None, rows: HashMap::with_hasher(FxBuildHasher) };
        let (folds, pass) = self.walk.fold(table, only, with, self.threads, start, Fold::add)?;
        for mut fold in folds {
            fold.pour();
        }
        // A table that was freed meanwhile leads astray everywhere: then so did its namespace go.
        if pass.astray > 0 {
            for namespace in self.walk.namespaces()?.iter().filter(|namespace| namespace.table == *table) {
                if let Some(place) = there.get(&namespace.netns).and_then(|index| places.get(*index)) {
                    tally.place(place).lost(Lost::Moved, pass.astray);
                }
            }
        }
        Ok(())
    }
}

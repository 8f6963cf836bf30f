//! A tally for walks that meet many sockets of few destinations.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::counts::Counts;
use super::place::End;
use super::tally::{Destination, DestinationUse, PlaceTally, Seen};
use crate::snapshot::Tuple;
use crate::states::State;

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

impl<'a> PlaceTally<'a> {
    /// For a walk that meets many sockets of few destinations: the same counts, with fewer looks at the tables.
    pub fn fold(self) -> Fold<'a> {
        Fold { tally: self, recent: Vec::new(), cgroup: None }
    }
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
            row.add(state, seen);
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

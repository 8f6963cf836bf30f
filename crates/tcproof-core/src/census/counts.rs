//! Sockets by state.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::states::State;

/// Sockets by state. A half-open request (NEW_SYN_RECV) is one in SYN_RECV, as netlink and `/proc` have it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; 14]);

impl Counts {
    /// Of one state.
    pub fn of(&self, state: State) -> u32 {
        self.0[usize::from(folded(state).number())]
    }

    pub(super) fn at(&mut self, state: State) -> &mut u32 {
        &mut self.0[usize::from(folded(state).number())]
    }

    /// Counts `n` more.
    pub fn add(&mut self, state: State, n: u32) {
        let count = self.at(state);
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

pub(super) fn folded(state: State) -> State {
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

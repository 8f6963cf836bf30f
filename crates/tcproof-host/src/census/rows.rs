//! Rows of a census, by what was counted: the same order and the same meaning, whoever counted.

use std::cmp::Reverse;

use tcproof_core::census::{
    Destination, DestinationRow, DestinationUse, End, ListenerRow, Tally, Top, Truncated, fullest,
};
use tcproof_core::snapshot::{Listener, NetnsId};

use super::{Ask, Members};

impl Ask {
    fn wants(&self, port: u16) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
    }
}

/// The fullest listeners, then those that dropped most; whose they are is not known yet.
pub(crate) fn listeners<'a>(all: impl Iterator<Item = (NetnsId, &'a Listener)>, ask: &Ask) -> Top<ListenerRow> {
    let mut rows: Vec<_> = all.filter(|(_, listener)| ask.wants(listener.local.port)).collect();
    let of = rows.len();
    fullest(&mut rows);
    rows.truncate(ask.top);
    let row =
        |(netns, listener): (NetnsId, &Listener)| ListenerRow { netns, listener: listener.clone(), owners: Vec::new() };
    Top { rows: rows.into_iter().map(row).collect(), of }
}

/// Those with most sockets, each with what its owner is found by; and how many there are.
pub(crate) fn destinations(tally: &Tally, ask: &Ask) -> (Vec<(DestinationRow, Members)>, usize) {
    let mut rows: Vec<_> =
        tally.destinations().iter().filter(|(key, _)| ask.wants(key.tuple.destination.port)).collect();
    let of = rows.len();
    rows.sort_by_key(|(key, of)| (Reverse(of.states.total()), **key));
    let row = |(key, of): (&Destination, &DestinationUse)| {
        // Every connection of a client to one service has a port of its own; SYN_RECV is the other side's.
        let ports = (key.service == End::Remote).then(|| of.states.total());
        let row = DestinationRow {
            netns: key.netns,
            service: key.service,
            tuple: key.tuple,
            states: of.states,
            others: 0,
            ports,
            owners: Vec::new(),
        };
        (row, of.members)
    };
    (rows.into_iter().take(ask.top).map(row).collect(), of)
}

/// What was not counted exactly.
pub(crate) fn truncated(tally: &Tally) -> Vec<Truncated> {
    let lost = tally.lost().iter().filter(|(_, sockets)| **sockets > 0);
    lost.map(|((netns, why), sockets)| Truncated { netns: *netns, sockets: *sockets, why: *why }).collect()
}

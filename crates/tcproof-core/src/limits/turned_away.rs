//! Whom a listener resets because its accept queue is full, with `tcp_abort_on_overflow` (`tcp_check_req`): only a probe tells
//! who that was.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use super::at_least;
use crate::interval::{ListenerWatch, NetnsChange};
use crate::trace::Resent;

pub(super) const ABORT: &str = "net.ipv4.tcp_abort_on_overflow";
/// Requests that ended with a reset, whoever sent it.
pub(super) const EMBRYONIC: &str = "TcpExt.EmbryonicRsts";
/// Clients that are named.
const CLIENTS: usize = 3;

/// The clients of one listener.
pub(super) struct TurnedAway {
    /// Each client, and how many resets it got: a connection gets a second one where more than the last ACK was on its way.
    clients: Vec<(IpAddr, u64)>,
    /// Connections that nothing but a full queue explains.
    pub(super) certain: u64,
}

/// Nothing where the kernel does not reset for that, no probe saw it, or another listener may have been the one that did.
pub(super) fn turned_away(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<TurnedAway> {
    let is_on = |n: crate::reading::Reading<i64>| n.value().is_some_and(|n| *n != 0);
    if !is_on(ns.before.knob_number(ABORT)) || !is_on(ns.after.knob_number(ABORT)) {
        return None;
    }
    let at = watch.last.local;
    if ns.listeners().any(|other| other.last.cookie != watch.last.cookie && other.last.local.port == at.port) {
        return None;
    }
    let by_listeners = || ns.resent().filter(|row| row.resets > 0 && row.remote.port == 0);
    let sum = |rows: &mut dyn Iterator<Item = &Resent>| rows.map(|row| row.resets).fold(0, u64::saturating_add);
    let here = || by_listeners().filter(|row| row.local.port == at.port);
    let mut clients: Vec<(IpAddr, u64)> = Vec::new();
    for row in here() {
        // One client may know several addresses of this host.
        match clients.iter_mut().find(|(addr, _)| *addr == row.remote.addr) {
            Some((_, resets)) => *resets = resets.saturating_add(row.resets),
            None => clients.push((row.remote.addr, row.resets)),
        }
    }
    clients.sort_by_key(|(addr, resets)| (Reverse(*resets), *addr));
    // A listener also resets whose ACK fits nothing that it knows; that is no request that ended.
    let own = sum(&mut here());
    let was_lost = ns.interval().trace.resent.value().is_none_or(|table| table.lost > 0);
    let certain = match ns.counter(EMBRYONIC).value() {
        Some(ended) if !was_lost => at_least(*ended, own, sum(&mut by_listeners())).min(own),
        _ => 0,
    };
    (!clients.is_empty()).then_some(TurnedAway { clients, certain })
}

impl TurnedAway {
    /// Resets.
    pub(super) fn count(&self) -> u64 {
        self.clients.iter().map(|(_, resets)| *resets).fold(0, u64::saturating_add)
    }

    /// "10.0.0.9 (340), 10.0.0.7 (2) and 3 more".
    pub(super) fn who(&self) -> String {
        let named = self.clients.iter().take(CLIENTS).map(|(addr, resets)| format!("{addr} ({resets})"));
        let more = self.clients.len().saturating_sub(CLIENTS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", named.collect::<Vec<_>>().join(", "))
    }
}

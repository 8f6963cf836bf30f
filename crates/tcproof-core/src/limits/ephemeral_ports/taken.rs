//! The ports that are taken, by tuple and by source address.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use super::connecting::Connecting;
use super::range::{Missing, Range};
use super::{NEAR, PORTS, TW_REUSE};
use crate::finding::State;
use crate::interval::NetnsChange;
use crate::reading::{Absent, Reading};
use crate::snapshot::{PortUse, SourcePorts, Tuple, TupleUse};

/// Ports shared between destinations up to this share of the sockets are an accident, not a plain connect(2).
const SHARED: f64 = 0.01;
/// One destination with more than this share of its source's sockets leaves nothing to share ports with.
const LOPSIDED: f64 = 0.9;

static NOTHING: PortUse = PortUse { tuples: BTreeMap::new(), sources: BTreeMap::new(), sockets: 0 };

/// One namespace's ports, judged at the end of the window and compared with its start.
pub(super) struct Ports<'a> {
    pub(super) ns: NetnsChange<'a>,
    pub(super) range: Range,
    /// At the start; `None` where it could not be read, or where there was only one reading.
    pub(super) before: Option<&'a PortUse>,
    pub(super) after: &'a PortUse,
}

impl<'a> Ports<'a> {
    /// What can be judged; else the reading that is missing, and why.
    pub(super) fn of(ns: NetnsChange<'a>) -> Result<Self, Missing> {
        // First: without the range nobody could tell whether the sockets were worth a dump.
        let range = Range::of(ns.after)?;
        let after = ns.after.sockets.ports.as_ref().ok().map_err(|why| (PORTS, why))?;
        let before = match &ns.before.sockets.ports {
            _ if ns.interval().window().is_zero() => None,
            Reading::Present(before) => Some(before),
            // Not worth a dump: no tuple can have been near.
            Reading::Absent(Absent::NotNeeded) => Some(&NOTHING),
            Reading::Absent(_) => None,
        };
        Ok(Self { ns, range, before, after })
    }

    /// What a probe saw, by tuple.
    pub(super) fn connecting(&self) -> BTreeMap<Tuple, Connecting<'a>> {
        let mut connecting = BTreeMap::<Tuple, Connecting<'a>>::new();
        for row in self.ns.connects() {
            let tuple = Tuple { source: row.source, destination: row.destination };
            connecting.entry(tuple).or_default().add(row);
        }
        connecting
    }

    /// Ports of a tuple that connect(2) can't have. Those in TIME_WAIT it can, after a rest, where tcp_tw_reuse applies
    /// and both ends send timestamps; that it does so shows in TWRecycled.
    pub(super) fn taken(&self, tuple: &Tuple, used: &TupleUse) -> u32 {
        let resting = self.resting(tuple).map_or(used.time_wait, |resting| resting.min(used.time_wait));
        used.ports.saturating_sub(used.time_wait.saturating_sub(resting))
    }

    /// The most ports of a tuple that can have entered TIME_WAIT so lately that they are not reused yet; `None` where
    /// none is reused.
    fn resting(&self, tuple: &Tuple) -> Option<u32> {
        let ns = self.ns.after;
        let loopback = tuple.destination.addr.is_loopback();
        // Both ends of a loopback connection are here, and so is their knob. Of others only a reuse tells.
        let timestamps = match loopback {
            true => *ns.knob_number("net.ipv4.tcp_timestamps").value()? > 0,
            false => *self.ns.counter("TcpExt.TWRecycled").value()? > 0,
        };
        let applies = match ns.knob_number(TW_REUSE).value()? {
            1 => timestamps,
            // The default since 4.19: for loopback only.
            2 => timestamps && loopback,
            _ => false,
        };
        let seconds = self.ns.interval().seconds();
        if !applies || seconds <= 0.0 {
            return None;
        }
        // A second, unless tcp_tw_reuse_delay (ms, since 6.14) says otherwise.
        let rest = ns.knob_number("net.ipv4.tcp_tw_reuse_delay").value().map_or(1.0, |ms| *ms as f64 / 1e3);
        let connects = *self.ns.counter("Tcp.ActiveOpens").value()? as f64 / seconds;
        // Rounded up; `ceil` is not in `core`.
        Some((connects * rest) as u32 + 1)
    }

    /// Whether all ports of a tuple were taken at both ends.
    pub(super) fn stays_full(&self, tuple: &Tuple, after: &TupleUse) -> bool {
        let before = self.before.and_then(|before| before.tuples.get(tuple));
        let full = |used: &TupleUse| self.range.is_full(self.taken(tuple, used), used.time_wait);
        before.is_some_and(full) && full(after)
    }

    /// The highest use of a tuple that was seen.
    pub(super) fn peak(&self, tuple: &Tuple, after: &TupleUse) -> u32 {
        let before = self.before.and_then(|before| before.tuples.get(tuple));
        let after = self.taken(tuple, after);
        before.map_or(after, |before| self.taken(tuple, before).max(after))
    }

    /// Source addresses whose ports are used up one by one, and how many of them at the end.
    pub(super) fn bound_sources(&self) -> impl Iterator<Item = (IpAddr, SourcePorts, State)> {
        self.after.sources.iter().filter_map(|(source, after)| {
            if !is_bound(self.after, *source, &self.range) {
                return None;
            }
            let is_full = |ports: &PortUse| {
                let of_source = ports.tuples.iter().filter(|(tuple, _)| tuple.source == *source);
                let time_wait = of_source.map(|(_, used)| used.time_wait).fold(0, u32::saturating_add);
                let distinct = ports.sources.get(source).map_or(0, |used| used.distinct);
                is_bound(ports, *source, &self.range) && self.range.is_full(distinct, time_wait)
            };
            let full = self.before.into_iter().chain([self.after]).all(is_full);
            let state = if full && self.before.is_some() { State::Limiting } else { State::Near };
            Some((*source, *after, state))
        })
    }
}

pub(super) fn biggest(ports: &PortUse, source: IpAddr) -> Option<&TupleUse> {
    ports.tuples.iter().filter(|(tuple, _)| tuple.source == source).map(|(_, used)| used).max_by_key(|used| used.ports)
}

/// Whether a source address uses most of the usable ports, and no two destinations share one. Plain
/// connect(2) takes one parity first, whatever other destinations use: their ports overlap by nearly all of the smaller.
pub(super) fn is_bound(ports: &PortUse, source: IpAddr, range: &Range) -> bool {
    let Some(used) = ports.sources.get(&source) else { return false };
    let sockets = f64::from(used.sockets);
    let biggest = biggest(ports, source).map_or(0.0, |tuple| f64::from(tuple.ports));
    range.share(used.distinct) >= NEAR
        && used.destinations >= 2
        && f64::from(used.distinct) >= sockets * (1.0 - SHARED)
        && biggest <= sockets * LOPSIDED
}

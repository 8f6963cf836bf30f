//! The ports that connect(2) may choose from.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{RANGE, RESERVED, TIME_WAIT_SECONDS};
use crate::reading::Absent;
use crate::snapshot::Netns;

/// connect(2) and bind(2) try every port: they fail only when none is free. This share of the usable ones may look free
/// here all the same, because a `bind(2)` without a connection holds them.
const LOOKS_FREE: f64 = 0.005;
/// Ports leave TIME_WAIT all the time, and are free until the next connect: what this many seconds set free.
const COMES_FREE_SECONDS: f64 = 3.0;
/// Fewer usable ports than this are too few for any load that deserves to be called one.
const TINY: u32 = 500;

const LISTENERS: &str = "listening sockets (sock_diag)";

/// The ports that connect(2) may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u16,
    pub(super) high: u16,
    /// Reserved ports within it.
    pub(super) reserved: u32,
    /// Listening ports within it that are not reserved.
    pub(super) listening: u32,
}

impl Range {
    /// The namespace's own; else the reading that is missing, and why.
    pub(super) fn of(ns: &Netns) -> Result<Self, Missing> {
        let [low, high] = ns.knob_numbers::<2>(RANGE).ok().map_err(|why| (RANGE, why))?;
        let (low, high) = match (u16::try_from(low), u16::try_from(high)) {
            (Ok(low), Ok(high)) if low <= high => (low, high),
            _ => return Err((RANGE, unparsable(RANGE, "two ports, the lower first"))),
        };
        Self::within(ns, low, high)
    }

    /// What is usable of a range from `low` to `high`, with what is reserved and listened on now.
    pub(super) fn within(ns: &Netns, low: u16, high: u16) -> Result<Self, Missing> {
        let reserved = ns.knob(RESERVED).ok().map_err(|why| (RESERVED, why))?;
        let reserved =
            port_ranges(reserved).ok_or_else(|| (RESERVED, unparsable(RESERVED, "ports and ranges of ports")))?;
        let is_reserved = |port: u16| reserved.iter().any(|(from, to)| (*from..=*to).contains(&port));
        let listeners = ns.listeners.as_ref().ok().map_err(|why| (LISTENERS, why))?;
        let listening: BTreeSet<u16> = listeners.iter().map(|listener| listener.local.port).collect();
        Ok(Self {
            low,
            high,
            // The kernel writes them in order and merged: none is counted twice. A file may say anything.
            reserved: reserved
                .iter()
                .map(|(from, to)| overlap((*from, *to), (low, high)))
                .fold(0, u32::saturating_add)
                .min(overlap((low, high), (low, high))),
            listening: listening.iter().filter(|p| (low..=high).contains(p) && !is_reserved(**p)).count() as u32,
        })
    }

    pub(super) fn size(&self) -> u32 {
        overlap((self.low, self.high), (self.low, self.high))
    }

    pub(super) fn usable(&self) -> u32 {
        self.size().saturating_sub(self.reserved + self.listening)
    }

    pub(super) fn share(&self, ports: u32) -> f64 {
        if self.usable() == 0 { 0.0 } else { f64::from(ports) / f64::from(self.usable()) }
    }

    /// Whether no port is left, but for those that came free a moment ago.
    pub(super) fn is_full(&self, taken: u32, time_wait: u32) -> bool {
        let coming_free = f64::from(time_wait.min(taken)) * COMES_FREE_SECONDS / TIME_WAIT_SECONDS;
        let usable = f64::from(self.usable());
        usable > 0.0 && f64::from(taken) + coming_free >= usable * (1.0 - LOOKS_FREE)
    }

    pub(super) fn is_small(&self) -> bool {
        self.usable() < TINY || (self.reserved + self.listening) * 2 > self.size()
    }
}

/// A missing reading, and why it is.
pub(super) type Missing = (&'static str, Absent);

fn unparsable(key: &str, expected: &str) -> Absent {
    Absent::Unparsable { place: key.into(), expected: expected.into() }
}

/// "8080,9000-9100", or nothing.
pub(crate) fn port_ranges(text: &str) -> Option<Vec<(u16, u16)>> {
    let items = text.trim().split(',').filter(|item| !item.is_empty());
    let parse = |item: &str| {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
    };
    items.map(parse).collect()
}

fn overlap(a: (u16, u16), b: (u16, u16)) -> u32 {
    (u32::from(a.1.min(b.1)) + 1).saturating_sub(u32::from(a.0.max(b.0)))
}

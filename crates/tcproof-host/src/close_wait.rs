//! When connections in CLOSE_WAIT are looked at. Each look walks the one table that all namespaces share, so a patient watch
//! takes few, and compares the last two.

use std::time::Duration;

use tcproof_core::limits::close_wait_worth_a_look;
use tcproof_core::snapshot::{CloseWaitBefore, Sockets};
use tcproof_core::{Absent, Reading};

use crate::namespace::CloseWaits;
use crate::patience;
use crate::watch::cpu_time;

/// The looks at one namespace.
#[derive(Debug, Default)]
pub(crate) struct CloseWaitLooks {
    last: Option<CloseWaitBefore>,
    /// The one before.
    first: Option<CloseWaitBefore>,
}

/// What the looks of a whole snapshot cost, and when the next ones are due.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    pub(crate) is_patient: bool,
    due_at: Duration,
    /// CPU time of the looks since the snapshot began.
    cost: Duration,
    /// Somewhere there is a pile.
    is_pile: bool,
}

impl Walks {
    /// A snapshot is over: the next looks are due when these have been paid for.
    pub(crate) fn pay(&mut self, at: Duration, window: Duration) {
        if !self.cost.is_zero() && at >= self.due_at {
            self.due_at = at.saturating_add(patience::between_walks(window, self.cost, self.is_pile));
        }
        (self.cost, self.is_pile) = (Duration::ZERO, false);
    }
}

impl CloseWaitLooks {
    /// Looks, where that is due, or two looks are still to be had; else `sockets` has what was found last.
    pub(crate) fn look(
        &mut self,
        at: Duration,
        walks: &mut Walks,
        sockets: &mut Sockets,
        walk: impl FnOnce() -> Result<CloseWaits, Absent>,
    ) {
        match &self.last {
            Some(last) if walks.is_patient && at < walks.due_at && self.first.is_some() => {
                sockets.close_wait = Reading::Present(last.found.clone());
                sockets.close_wait_at = Some(last.at);
            }
            _ => {
                let busy = cpu_time();
                let found = walk();
                walks.cost += cpu_time().saturating_sub(busy);
                walks.is_pile |= found.as_ref().is_ok_and(close_wait_worth_a_look);
                match &found {
                    Ok(found) if walks.is_patient => {
                        self.first = self.last.replace(CloseWaitBefore { at, found: found.clone() });
                    }
                    _ => *self = Self::default(),
                }
                sockets.close_wait = found.into();
            }
        }
        sockets.close_wait_before.clone_from(&self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tcproof_core::snapshot::{CloseWait, Endpoint, Service};

    fn held(count: u64) -> CloseWaits {
        let service = Service::Local(Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80));
        CloseWaits::from([(service, CloseWait { held: (0..count).collect(), ..CloseWait::default() })])
    }

    /// What a snapshot shows: when the look before and the last one were, in tens of seconds, and what they found.
    fn shown(sockets: &Sockets, now: u64) -> [Option<(u64, usize)>; 2] {
        let size = |found: &CloseWaits| found.values().map(|group| group.held.len()).sum();
        let before = sockets.close_wait_before.as_ref().map(|look| (look.at.as_secs() / 10, size(&look.found)));
        let at = sockets.close_wait_at.map_or(now, |at| at.as_secs() / 10);
        [before, sockets.close_wait.value().map(|found| (at, size(found)))]
    }

    /// So many snapshots, ten seconds apart, whose looks cost this and find one more each time; returns what the last shows.
    fn snapshots(count: u64, cost: Duration, is_patient: bool, sockets: u64) -> [Option<(u64, usize)>; 2] {
        let (mut looks, mut walks) = (CloseWaitLooks::default(), Walks { is_patient, ..Walks::default() });
        let mut last = [None; 2];
        for n in 0..count {
            let (at, mut read, mut is_walked) = (Duration::from_secs(n * 10), Sockets::default(), false);
            looks.look(at, &mut walks, &mut read, || {
                is_walked = true;
                Ok(held(sockets + n))
            });
            // Whatever it really took.
            walks.cost = if is_walked { cost } else { Duration::ZERO };
            walks.pay(at, Duration::from_secs(10));
            last = shown(&read, n);
        }
        last
    }

    #[test]
    fn a_patient_watch_compares_its_last_two_looks_and_an_impatient_one_looks_each_time() {
        let millis = Duration::from_millis;
        assert_eq!(snapshots(4, millis(8), false, 1), [None, Some((3, 4))]);
        // Once in four windows, but the first one has two looks.
        assert_eq!(snapshots(2, millis(2), true, 1), [Some((0, 1)), Some((1, 2))]);
        assert_eq!(snapshots(4, millis(2), true, 1), [Some((0, 1)), Some((1, 2))]);
        assert_eq!(snapshots(5, millis(2), true, 1), [Some((1, 2)), Some((4, 5))]);
        assert_eq!(snapshots(8, millis(2), true, 1), [Some((1, 2)), Some((4, 5))]);
        assert_eq!(snapshots(9, millis(2), true, 1), [Some((4, 5)), Some((8, 9))]);
        // Eight windows pay for one.
        assert_eq!(snapshots(8, millis(8), true, 1), [Some((0, 1)), Some((1, 2))]);
        // A pile is looked at closely.
        assert_eq!(snapshots(9, millis(8), true, 10), [Some((7, 17)), Some((8, 18))]);
    }

    #[test]
    fn a_look_that_failed_is_taken_again() {
        let (mut looks, mut walks) = (CloseWaitLooks::default(), Walks { is_patient: true, ..Walks::default() });
        walks.due_at = Duration::MAX;
        let mut look = |found| {
            let mut sockets = Sockets::default();
            looks.look(Duration::ZERO, &mut walks, &mut sockets, || found);
            sockets.close_wait
        };
        for _ in 0..3 {
            assert!(look(Err(Absent::Gone { what: "it".into() })).value().is_none());
        }
        assert!(look(Ok(held(1))).value().is_some());
    }
}

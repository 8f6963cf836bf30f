//! When connections in CLOSE_WAIT are looked at. Each look walks the one table that all namespaces share, so a patient watch
//! takes few, and compares the last two.

use std::time::Duration;

use tcproof_core::limits::close_wait_worth_a_look;
use tcproof_core::snapshot::Netns;
use tcproof_core::{Absent, Reading};

use crate::namespace::CloseWaits;
use crate::patience;
use crate::watch::cpu_time;

/// The looks at one namespace.
#[derive(Debug, Default)]
pub(crate) struct CloseWaitLooks {
    last: Option<Look>,
    /// The one before.
    first: Option<Look>,
}

#[derive(Clone, Debug)]
struct Look {
    at: Duration,
    found: Reading<CloseWaits>,
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
    pub(crate) fn pay(&mut self, at: Duration) {
        if !self.cost.is_zero() && at >= self.due_at {
            self.due_at = at.saturating_add(patience::between_walks(self.cost, self.is_pile));
        }
        (self.cost, self.is_pile) = (Duration::ZERO, false);
    }
}

impl CloseWaitLooks {
    /// Looks, where that is due, or two looks are still to be had; else returns what was found last, and when.
    pub(crate) fn look(
        &mut self,
        at: Duration,
        walks: &mut Walks,
        walk: impl FnOnce() -> Result<CloseWaits, Absent>,
    ) -> (Reading<CloseWaits>, Option<Duration>) {
        if walks.is_patient
            && at < walks.due_at
            && self.first.is_some()
            && let Some(Look { at, found: found @ Reading::Present(_) }) = &self.last
        {
            return (found.clone(), Some(*at));
        }
        let busy = cpu_time();
        let found = Reading::from(walk());
        walks.cost += cpu_time().saturating_sub(busy);
        walks.is_pile |= found.value().is_some_and(close_wait_worth_a_look);
        if walks.is_patient {
            self.first = self.last.replace(Look { at, found: found.clone() });
        }
        (found, None)
    }

    /// Has both ends of a window show the last two looks.
    pub(crate) fn show(&self, before: &mut Netns, after: &Netns) {
        if let Some(first) = self.first.as_ref().filter(|_| after.sockets.close_wait.value().is_some()) {
            before.sockets.close_wait = first.found.clone();
            before.sockets.close_wait_at = Some(first.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tcproof_core::snapshot::{CloseWait, Endpoint, Service, Sockets};

    fn held(count: u64) -> CloseWaits {
        let service = Service::Local(Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80));
        CloseWaits::from([(service, CloseWait { held: (0..count).collect(), ..CloseWait::default() })])
    }

    /// Windows of ten seconds whose looks take this long, so many of them at ten of one service; returns what the last one
    /// showed: when the looks of both ends were, and what they found.
    fn windows(count: u64, cost: Duration, is_patient: bool, sockets: u64) -> [(Option<u64>, u64); 2] {
        let (mut looks, mut walks) = (CloseWaitLooks::default(), Walks { is_patient, ..Walks::default() });
        let mut ends = [Netns::default(), Netns::default()];
        for window in 0..=count {
            let at = Duration::from_secs(window * 10);
            let mut is_walked = false;
            let (close_wait, close_wait_at) = looks.look(at, &mut walks, || {
                is_walked = true;
                Ok(held(sockets + window))
            });
            // Whatever it really took.
            walks.cost = if is_walked { cost } else { Duration::ZERO };
            walks.pay(at);
            ends.swap(0, 1);
            ends[1].sockets = Sockets { close_wait, close_wait_at, ..Sockets::default() };
            let [before, after] = &mut ends;
            looks.show(before, after);
        }
        ends.map(|ns| {
            let found = ns.sockets.close_wait.value().unwrap().values().next().unwrap().held.len() as u64;
            (ns.sockets.close_wait_at.map(|at| at.as_secs()), found - sockets)
        })
    }

    #[test]
    fn a_patient_watch_compares_its_last_two_looks_and_an_impatient_one_looks_each_time() {
        let millis = Duration::from_millis;
        assert_eq!(windows(3, millis(8), false, 1), [(None, 2), (None, 3)]);
        // Each window has paid for itself.
        assert_eq!(windows(3, millis(2), true, 1), [(Some(20), 2), (None, 3)]);
        // Four windows pay for one look, but the first window has two.
        assert_eq!(windows(1, millis(8), true, 1), [(Some(0), 0), (None, 1)]);
        assert_eq!(windows(3, millis(8), true, 1), [(Some(0), 0), (Some(10), 1)]);
        assert_eq!(windows(4, millis(8), true, 1), [(Some(10), 1), (None, 4)]);
        assert_eq!(windows(7, millis(8), true, 1), [(Some(10), 1), (Some(40), 4)]);
        assert_eq!(windows(8, millis(8), true, 1), [(Some(40), 4), (None, 8)]);
        // A pile is looked at closely.
        assert_eq!(windows(8, millis(8), true, 10), [(Some(70), 7), (None, 8)]);
    }

    #[test]
    fn a_look_that_failed_is_taken_again() {
        let (mut looks, mut walks) = (CloseWaitLooks::default(), Walks { is_patient: true, ..Walks::default() });
        walks.due_at = Duration::MAX;
        let gone = || Err(Absent::Gone { what: "it".into() });
        for _ in 0..3 {
            assert!(looks.look(Duration::ZERO, &mut walks, gone).0.value().is_none());
        }
        assert!(looks.look(Duration::ZERO, &mut walks, || Ok(held(1))).0.value().is_some());
    }
}

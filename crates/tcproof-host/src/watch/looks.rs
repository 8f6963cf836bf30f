//! Between the ends of a window: looks at the listeners and the flows, each when it is due.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::thread::nanosleep;
use rustix::time::{ClockId, Timespec, clock_gettime};
use tcproof_core::limits::SocketSet;
use tcproof_core::snapshot::Snapshot;
use tcproof_core::{Looks, Reading};

use super::Watch;
use crate::place::{look, seeing};
use crate::{Progress, flows, namespace, patience};

/// Shortest time between two looks at the listeners.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After a look that took long, rest this many times as long: looking costs at most 2 % of a CPU …
const REST: u32 = 50;
/// … but a window has at least this many looks.
const LOOKS_AT_LEAST: u32 = 10;
/// A window has at most this many looks at the flows.
const SAMPLES_AT_MOST: u32 = 100;
/// Shortest time between two choices of the flows to look at.
const CHOOSE_EVERY: Duration = Duration::from_secs(1);
/// Progress is reported this often.
const REPORT_EVERY: Duration = Duration::from_millis(100);

impl Watch {
    /// Looks at the listeners and the flows until the window is over.
    pub(crate) fn look_on(
        &mut self,
        before: &mut Snapshot,
        window: Duration,
        looks: &mut Looks,
        progress: &mut dyn FnMut(Progress),
    ) {
        let (start, mut taken, mut reported) = (Instant::now(), 0, None);
        let sample_every = (window / SAMPLES_AT_MOST).max(self.sample_every);
        let begun = self.start.now();
        let (mut next_look, mut next_round, mut next_sample) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut next_choice = self.next_choice.saturating_sub(begun);
        let soon = if self.is_patient { patience::SOON.min(sample_every / 4) } else { Duration::ZERO };
        let beat = patience::at_rest(window, sample_every);
        if self.is_at_rest {
            // What there is was looked at when the last window ended.
            (next_look, next_round, next_sample) = (beat, beat, beat);
        }
        loop {
            let elapsed = start.elapsed();
            if reported.is_none_or(|at: Instant| at.elapsed() >= REPORT_EVERY) {
                reported = Some(Instant::now());
                let listeners = looks.listeners.values().map(BTreeMap::len).sum();
                progress(Progress {
                    elapsed: elapsed.min(window),
                    namespaces: self.places.len(),
                    listeners,
                    looks: taken,
                });
            }
            if elapsed >= window || self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                break;
            }
            let is_round = self.is_patient && elapsed + soon >= next_round;
            if elapsed >= next_look || is_round {
                let all = !self.is_patient || is_round;
                let cost = self.look_at_listeners(looks, all, window);
                taken += 1;
                let rest = (cost * REST).min(window / LOOKS_AT_LEAST).max(LOOK_EVERY);
                next_look = start.elapsed() + rest;
                if all {
                    let between = patience::between_looks(window, cost);
                    next_round = elapsed + if self.is_at_rest { between.max(beat) } else { between };
                }
                if self.is_patient && !self.has_lost_patience() {
                    next_look = next_round;
                }
            }
            if elapsed >= next_choice {
                let busy = cpu_time();
                let unread = self.choose_flows(before);
                let cost = cpu_time().saturating_sub(busy);
                next_choice = match self.is_patient {
                    true => {
                        let between = patience::between_choices(window, cost);
                        self.next_choice_at_rest = begun + elapsed + patience::between_choices_at_rest(window, between);
                        elapsed + between
                    }
                    false => start.elapsed() + (cost * flows::REST).max(CHOOSE_EVERY),
                };
                // Whether their readers are busy or asleep is told by their CPU time from here to the end.
                let made_in = flows::made_in(self.places.iter().flat_map(|place| place.flows.seen()));
                self.find_owners(before, &unread, &made_in, &[]);
            } else if elapsed + soon >= next_sample {
                self.look_at_flows();
                self.is_at_rest &= !self.places.iter().flat_map(|place| place.flows.seen()).any(patience::is_moving);
                next_sample = elapsed + if self.is_at_rest { beat } else { sample_every };
            }
            let next = next_look.min(next_choice).min(next_sample).min(window);
            sleep(next.saturating_sub(start.elapsed()));
        }
        self.next_choice = begun + next_choice;
        self.look_at_flows();
        for place in &mut self.places {
            let flows = match &place.diag {
                Some(Err(why)) => Some(Reading::Absent(why.clone())),
                _ => place.flows.take_looks(),
            };
            looks.flows.extend(flows.map(|flows| (place.target.id, flows)));
        }
    }

    /// At all, or at those only where something moved. Returns the CPU time it took.
    fn look_at_listeners(&mut self, looks: &mut Looks, all: bool, window: Duration) -> Duration {
        let busy = cpu_time();
        for place in &mut self.places {
            let at = self.start.now();
            let Some(Ok(diag)) = &mut place.diag else { continue };
            if !all && !place.patience.is_lost(at) {
                continue;
            }
            let known = looks.listeners.entry(place.target.id).or_default();
            let mut moved = false;
            // A look that fails is one look less; the one at the end says why.
            let _ = namespace::listeners(diag, |listener| {
                moved |= patience::moved(known.get(&listener.cookie), &listener);
                look(known, listener, at, true);
            });
            if moved {
                place.patience.lose(at, window);
            }
        }
        cpu_time().saturating_sub(busy)
    }

    pub(super) fn has_lost_patience(&self) -> bool {
        let now = self.start.now();
        self.places.iter().any(|place| place.patience.is_lost(now))
    }

    /// Returns the sockets whose readers do not keep up.
    fn choose_flows(&mut self, before: &Snapshot) -> SocketSet {
        let mut choice = flows::Choice::of(self.flows_each);
        for (id, diag, flows) in seeing(&mut self.places) {
            flows.offer(diag, before.namespaces.get(&id), id, &mut choice);
        }
        let watched = self.places.iter().map(|place| place.flows.watched()).sum();
        let at = self.start.now();
        flows::choose(seeing(&mut self.places), choice, watched, at);
        // A process that was looked at before is not looked at again: its first reading is the one to compare with.
        let unread = seeing(&mut self.places).flat_map(|(id, _, flows)| flows.unread().map(move |inode| (id, inode)));
        unread.filter(|(_, inode)| !before.owners.contains_key(inode)).collect()
    }

    fn look_at_flows(&mut self) {
        let start = self.start;
        for (_, diag, flows) in seeing(&mut self.places) {
            flows.look(diag, start.now());
        }
    }
}

/// Until then, or until a signal comes: whoever is told to end must not wait for the next look.
fn sleep(time: Duration) {
    let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    let _ = nanosleep(&time);
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

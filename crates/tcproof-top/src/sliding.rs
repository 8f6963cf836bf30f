//! The last seconds as one watch.

use std::collections::VecDeque;
use std::time::Duration;

use tcproof_core::{Interval, Snapshot};

/// Steps that are kept, however short they are.
const STEPS: usize = 600;

/// The steps that the window is made of, oldest first; each begins where the one before ends.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    length: Duration,
    steps: VecDeque<Interval>,
}

impl Sliding {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, steps: VecDeque::new() }
    }

    /// A shorter window drops what is too old; a longer one fills up as time goes by.
    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length;
        self.drop_old();
    }

    pub(crate) fn push(&mut self, mut step: Interval) {
        if !self.steps.back().is_some_and(|last| last.is_followed_by(&step)) {
            // Something is missing in between: the machine slept, or a record is lost.
            self.steps.clear();
        } else {
            // It is what the step before ends with, but for those whose owners turned up then.
            let Snapshot { at, processes, owners, .. } = std::mem::take(&mut step.before);
            step.before = Snapshot { at, processes, owners, ..Snapshot::default() };
        }
        self.steps.push_back(step);
        self.drop_old();
    }

    pub(crate) fn clear(&mut self) {
        self.steps.clear();
    }

    fn drop_old(&mut self) {
        let Some(end) = self.steps.back().map(|last| last.after.at) else { return };
        let is_old =
            |step: &Interval| step.before.at.saturating_add(step.window() / 2).saturating_add(self.length) < end;
        while self.steps.len() > 1 && (self.steps.front().is_some_and(is_old) || self.steps.len() > STEPS) {
            let Some(old) = self.steps.pop_front() else { return };
            if let Some(first) = self.steps.front_mut() {
                let Snapshot { processes, owners, .. } = std::mem::replace(&mut first.before, old.after);
                first.before.processes.extend(processes);
                first.before.owners.extend(owners);
            }
        }
    }

    /// All of it as one watch.
    pub(crate) fn joined(&self) -> Option<Interval> {
        // What steps end with is needed of the last one only, and a snapshot is most of what there is to copy.
        let light = |step: &Interval| Interval {
            before: step.before.clone(),
            after: Snapshot { at: step.after.at, ..Snapshot::default() },
            looks: step.looks.clone(),
            trace: step.trace.clone(),
        };
        let mut steps = self.steps.iter();
        let mut joined = light(steps.next()?);
        for step in steps {
            // They adjoin, or else they would not be here.
            if joined.and_then(light(step)).is_err() {
                break;
            }
        }
        joined.after = self.steps.back()?.after.clone();
        Some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::second;

    fn all(seconds: std::ops::Range<u64>) -> Interval {
        let mut steps = seconds.map(|n| second(n).interval);
        let mut joined = steps.next().unwrap();
        steps.for_each(|step| joined.and_then(step).unwrap());
        joined
    }

    #[test]
    fn a_window_is_what_one_longer_watch_would_have_seen() {
        let mut sliding = Sliding::new(Duration::from_secs(5));
        assert_eq!(sliding.joined(), None);
        for n in 0..12 {
            sliding.push(second(n).interval);
            let expected = all(n.saturating_sub(4)..n + 1);
            assert_eq!(sliding.joined(), Some(expected), "second {n}");
        }
        sliding.set_length(Duration::from_secs(2));
        assert_eq!(sliding.joined(), Some(all(10..12)));
        // A hole: what is before it has nothing to do with what is after it.
        sliding.push(second(20).interval);
        assert_eq!(sliding.joined(), Some(all(20..21)));
    }

    #[test]
    fn a_step_longer_than_the_window_is_the_window() {
        let mut sliding = Sliding::new(Duration::from_millis(100));
        (0..3).for_each(|n| sliding.push(second(n).interval));
        assert_eq!(sliding.joined(), Some(all(2..3)));
    }
}

//! The last minutes of many numbers, in bounded memory.

use std::collections::BTreeMap;

/// Values of each: five minutes at one a second.
pub(crate) const LENGTH: usize = 300;
/// Numbers that are remembered; further ones are not taken up before one of these has been gone for as long as it is kept.
const NUMBERS: usize = 2_048;

/// Numbers by name, oldest value first. Where one was not there, its value is not a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    lines: BTreeMap<String, Line>,
    ticks: u64,
}

#[derive(Clone, Debug, Default)]
struct Line {
    values: Vec<f32>,
    /// The tick at which it was last there.
    last: u64,
}

impl History {
    /// What they are now.
    pub(crate) fn push(&mut self, now: impl IntoIterator<Item = (String, f32)>) {
        self.ticks += 1;
        for (name, value) in now {
            if self.lines.len() >= NUMBERS && !self.lines.contains_key(&name) {
                continue;
            }
            let line = self.lines.entry(name).or_default();
            // Of two that are called the same the larger one.
            match line.values.last_mut().filter(|_| line.last == self.ticks) {
                Some(known) => *known = known.max(value),
                None => line.values.push(value),
            }
            line.last = self.ticks;
        }
        let ticks = self.ticks;
        self.lines.retain(|_, line| ticks - line.last < LENGTH as u64);
        for line in self.lines.values_mut() {
            if line.last != ticks {
                line.values.push(f32::NAN);
            }
            if line.values.len() > LENGTH {
                line.values.remove(0);
            }
        }
    }

    /// The values of one, the newest last.
    pub(crate) fn of(&self, name: &str) -> &[f32] {
        self.lines.get(name).map_or(&[], |line| &line.values)
    }

    /// How many steps ago it was last more than nothing.
    pub(crate) fn since_moved(&self, name: &str) -> Option<usize> {
        self.of(name).iter().rev().position(|value| *value > 0.0)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(history: &mut History, now: &[(&str, f32)]) {
        history.push(now.iter().map(|(name, value)| ((*name).to_string(), *value)));
    }

    #[test]
    fn what_was_away_has_a_gap_and_is_forgotten_in_the_end() {
        let mut history = History::default();
        push(&mut history, &[("a", 1.0), ("b", 2.0), ("b", 3.0)]);
        push(&mut history, &[("b", 0.0)]);
        assert!(history.of("a")[0] == 1.0 && history.of("a")[1].is_nan());
        assert_eq!((history.of("b"), history.of("c")), (&[3.0, 0.0][..], &[][..]));
        assert_eq!(
            (history.since_moved("a"), history.since_moved("b"), history.since_moved("c")),
            (Some(1), Some(1), None)
        );
        (0..LENGTH).for_each(|_| push(&mut history, &[("b", 0.0)]));
        assert_eq!((history.of("a").len(), history.of("b").len()), (0, LENGTH));
    }

    #[test]
    fn a_host_of_many_things_costs_no_more_memory_than_this() {
        let mut history = History::default();
        (0..3).for_each(|round| history.push((0..NUMBERS * 2).map(|n| (format!("{round}.{n}"), 1.0))));
        assert_eq!(history.lines.len(), NUMBERS);
    }
}

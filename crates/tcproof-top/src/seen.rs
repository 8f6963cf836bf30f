//! What is on show: a window, what it proves, and the history behind it.

use tcproof_core::limits::LIMITS;
use tcproof_core::{Diagnosis, Finding, Interval, Subject, diagnose};

use crate::event::Step;
use crate::history::History;

/// A window and its diagnosis.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) interval: Interval,
    pub(crate) diagnosis: Diagnosis,
    /// When it ended, in milliseconds since 1970.
    pub(crate) wall_ms: i64,
}

impl Seen {
    pub(crate) fn new(interval: Interval, wall_ms: i64) -> Self {
        Self { diagnosis: diagnose(&interval), interval, wall_ms }
    }

    /// The worst finding about something.
    pub(crate) fn finding(&self, about: impl Fn(&Finding) -> bool) -> Option<&Finding> {
        self.diagnosis.findings.iter().find(|finding| about(finding))
    }
}

/// What is remembered of every step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Used shares, by [`share_of`].
    pub(crate) shares: History,
    /// Growth a second of counters, by [`counter_of`].
    pub(crate) counters: History,
    /// How long the last step was.
    seconds: f64,
}

impl Past {
    pub(crate) fn push(&mut self, step: &Step) {
        let interval = &step.interval;
        let headroom = LIMITS.iter().flat_map(|limit| (limit.headroom)(interval));
        self.shares.push(headroom.map(|row| (share_of(&row.limit, &row.subject), row.share() as f32)));
        let seconds = interval.seconds();
        self.seconds = seconds;
        let grown = interval.namespaces().flat_map(|ns| {
            let moved = ns.after.counters.iter().filter_map(move |(name, now)| {
                let grown = now.checked_sub(*ns.before.counters.get(name)?)?;
                // One that never moved takes no place.
                (grown > 0 && seconds > 0.0).then(|| (counter_of(ns.name(), name), (grown as f64 / seconds) as f32))
            });
            moved.collect::<Vec<_>>()
        });
        self.counters.push(grown);
    }

    /// So many steps ago, in words.
    pub(crate) fn ago(&self, steps: usize) -> String {
        match steps {
            0 => "now".into(),
            steps => format!("{:.0} s ago", steps as f64 * self.seconds),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.shares.clear();
        self.counters.clear();
    }
}

/// The name of a limit's use by one subject.
pub(crate) fn share_of(limit: &str, subject: &Subject) -> String {
    format!("{limit} {subject} {}", subject.netns().unwrap_or_default())
}

/// The name of a namespace's counter.
pub(crate) fn counter_of(netns: &str, counter: &str) -> String {
    format!("{counter} {netns}")
}

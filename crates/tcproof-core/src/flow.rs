//! Connections over the window: the few that were chosen, with every look at them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::snapshot::{Flow, FlowSample, IdleFlows};

/// The flows of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    /// Connections there were: all that have something to send or receive, or are open for it.
    pub established: u64,
    /// Whether the watched ones were chosen among all by what they moved. On a host with very many only the queues and
    /// timers are looked at, which shows every sender, and only those receivers that do not keep up.
    pub by_rate: bool,
    /// Those that were watched.
    pub watched: Vec<FlowWatch>,
    /// The others, as far as they were idle.
    pub idle: IdleFlows,
}

impl Flows {
    /// Looks at one flow that are kept when intervals are joined; beyond that every second one is dropped.
    pub const SAMPLES: usize = 400;
    /// Flows that are kept when intervals are joined; beyond that no further ones are taken up.
    pub const WATCHED: usize = 4_096;

    /// Joins what was seen from here on. What was idle is that of the start.
    pub(crate) fn and_then(&mut self, next: Self) {
        self.established = next.established;
        self.by_rate &= next.by_rate;
        let places: BTreeMap<u64, usize> =
            self.watched.iter().enumerate().map(|(at, watch)| (watch.flow.cookie, at)).collect();
        for watch in next.watched {
            match places.get(&watch.flow.cookie) {
                Some(at) => self.watched[*at].and_then(watch),
                None if self.watched.len() < Self::WATCHED => self.watched.push(watch),
                None => {}
            }
        }
    }
}

/// One connection and the looks at it, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowWatch {
    /// Which.
    pub flow: Flow,
    /// The looks.
    pub samples: Vec<FlowSample>,
    /// Whether it ended within the window.
    pub gone: bool,
}

impl FlowWatch {
    /// A watch with its first look.
    pub fn new(flow: Flow, sample: FlowSample) -> Self {
        Self { flow, samples: alloc::vec![sample], gone: false }
    }

    /// Joins the looks from here on.
    fn and_then(&mut self, next: Self) {
        let at = self.last().at;
        self.samples.extend(next.samples.into_iter().filter(|sample| sample.at > at));
        self.gone = next.gone;
        while self.samples.len() > Flows::SAMPLES {
            let last = self.samples.len() - 1;
            let mut at = 0;
            // The first and the last are what rates are taken from.
            self.samples.retain(|_| {
                at += 1;
                (at - 1) % 2 == 0 || at - 1 == last
            });
        }
    }

    /// The first look.
    pub fn first(&self) -> FlowSample {
        self.samples.first().copied().unwrap_or_default()
    }

    /// The last look.
    pub fn last(&self) -> FlowSample {
        self.samples.last().copied().unwrap_or_default()
    }

    /// Time between the first look and the last, in seconds.
    pub fn seconds(&self) -> f64 {
        self.last().at.saturating_sub(self.first().at).as_secs_f64()
    }

    /// Growth of something that only grows while the socket lives.
    pub fn grew(&self, field: impl Fn(&FlowSample) -> u64) -> u64 {
        field(&self.last()).saturating_sub(field(&self.first()))
    }

    /// Growth of a counter of 32 bits, which wraps.
    pub fn grew32(&self, field: impl Fn(&FlowSample) -> u32) -> u64 {
        u64::from(field(&self.last()).wrapping_sub(field(&self.first())))
    }

    /// Growth of a counter that not every kernel has.
    pub fn grew_if_known(&self, field: impl Fn(&FlowSample) -> Option<u32>) -> Option<u64> {
        Some(u64::from(field(&self.last())?.wrapping_sub(field(&self.first())?)))
    }

    /// Bytes a second that the peer acknowledged.
    pub fn sent_rate(&self) -> f64 {
        self.rate(|sample| sample.bytes_acked)
    }

    /// Bytes a second that came in.
    pub fn received_rate(&self) -> f64 {
        self.rate(|sample| sample.bytes_received)
    }

    fn rate(&self, field: impl Fn(&FlowSample) -> u64) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 { self.grew(field) as f64 / seconds } else { 0.0 }
    }

    /// Share of the looks that `is` holds for, among those that `among` admits; `None` when it admits none.
    pub fn share(&self, among: impl Fn(&FlowSample) -> bool, is: impl Fn(&FlowSample) -> bool) -> Option<f64> {
        let (mut of, mut n) = (0_u32, 0_u32);
        for sample in self.samples.iter().filter(|sample| among(sample)) {
            of += 1;
            n += u32::from(is(sample));
        }
        (of > 0).then(|| f64::from(n) / f64::from(of))
    }

    /// The median of something over the looks that `among` admits; zero when it admits none.
    pub fn median(&self, among: impl Fn(&FlowSample) -> bool, of: impl Fn(&FlowSample) -> u64) -> u64 {
        let mut values: Vec<u64> = self.samples.iter().filter(|sample| among(sample)).map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }

    /// The largest of something over the looks.
    pub fn most(&self, of: impl Fn(&FlowSample) -> u64) -> u64 {
        self.samples.iter().map(of).max().unwrap_or(0)
    }

    /// Shortest round trip known, in seconds; `None` when none was measured.
    pub fn min_rtt(&self) -> Option<f64> {
        // ~0 is the kernel's "not yet".
        let known = self.samples.iter().map(|sample| sample.min_rtt).filter(|rtt| *rtt != 0 && *rtt != u32::MAX);
        known.min().map(|us| f64::from(us) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::testing::Stream;

    fn watch() -> FlowWatch {
        Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(1_000_000.0).into_watch()
    }

    #[test]
    fn rates_are_of_the_time_between_the_looks() {
        assert!((watch().sent_rate() - 1e6).abs() < 1.0);
        let mut once = watch();
        once.samples.truncate(1);
        assert!(once.sent_rate() == 0.0 && once.seconds() == 0.0);
        once.samples.clear();
        assert!(once.sent_rate() == 0.0 && once.min_rtt().is_none());
    }

    #[test]
    fn looks_are_joined_and_thinned_and_the_first_and_the_last_stay() {
        let part = |from: u64, to: u64| {
            let mut part = watch();
            let sample = part.first();
            let at = |ms| FlowSample { at: core::time::Duration::from_millis(ms), bytes_acked: ms, ..sample };
            part.samples = (from..=to).map(at).collect();
            Flows { watched: alloc::vec![part], ..Flows::default() }
        };
        let mut joined = part(0, 50);
        joined.and_then(part(50, 99));
        assert_eq!(joined, part(0, 99));
        joined.and_then(part(100, 1_001));
        let seen = &joined.watched[0];
        assert!(seen.samples.len() <= Flows::SAMPLES && seen.samples.len() > Flows::SAMPLES / 3);
        assert_eq!((seen.first().bytes_acked, seen.last().bytes_acked), (0, 1_001));
        assert!(seen.samples.is_sorted_by_key(|sample| sample.at));
    }

    #[test]
    fn counters_of_32_bits_wrap() {
        let mut watch = watch();
        watch.samples.first_mut().unwrap().total_retrans = u32::MAX;
        watch.samples.last_mut().unwrap().total_retrans = 4;
        assert_eq!(watch.grew32(|s| s.total_retrans), 5);
        watch.samples.last_mut().unwrap().dsack_dups = None;
        assert_eq!(watch.grew_if_known(|s| s.dsack_dups), None);
    }

    #[test]
    fn shares_and_medians_are_of_the_looks_that_count() {
        let watch = watch();
        assert_eq!(watch.share(|_| false, |_| true), None);
        assert!(watch.share(|s| s.at.as_secs() >= 1, |s| s.at.as_secs() >= 3).unwrap() > 0.5);
        assert_eq!(watch.median(|_| true, |s| s.at.as_millis() as u64), 2_500);
        assert_eq!(watch.median(|_| false, |_| 7), 0);
    }

    #[test]
    fn a_round_trip_that_was_never_measured_is_none() {
        let mut watch = watch();
        watch.samples.iter_mut().for_each(|sample| sample.min_rtt = u32::MAX);
        assert_eq!(watch.min_rtt(), None);
        watch.samples.last_mut().unwrap().min_rtt = 2_000;
        assert_eq!(watch.min_rtt(), Some(0.002));
    }
}

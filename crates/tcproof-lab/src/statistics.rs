//! What the lab's own servers and loads saw.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Numbers of one server or load over some seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Over how long.
    pub seconds: f64,
    /// Connections started (a load's), or SYNs sent.
    pub started: u64,
    /// Handshakes done, as the client sees it.
    pub connected: u64,
    /// Requests answered.
    pub answered: u64,
    /// Connections accepted (a server's).
    pub accepted: u64,
    /// What failed, by errno; `timeout` is the client's own patience.
    pub failed: BTreeMap<String, u64>,
    /// Connections open at the end.
    pub open: u64,
    /// Milliseconds from `connect(2)` to the end of the handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_ms: Option<Quantiles>,
    /// Milliseconds from `connect(2)` to the answer of a request: a handshake and a round trip, or, with data in the SYN,
    /// one round trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<Quantiles>,
    /// Microseconds that the call of `connect(2)` itself took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_us: Option<Quantiles>,
    /// Slow calls of `connect(2)`.
    pub slow_calls: u64,
    /// Bytes that a bulk worker read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read_bytes: u64,
    /// Bytes that a bulk worker wrote: into the kernel, which may still have some of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub written_bytes: u64,
    /// Bulk connections that moved anything at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub progressed: u64,
    /// What the application read, or else wrote, in Mbit/s; none where nothing is moved in bulk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_mbit: Option<f64>,
    /// Packets that an emulated link let pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed: u64,
    /// Packets that it dropped, by cause and direction.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A distribution in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are faster.
    pub p50: f64,
    /// 99 in 100 are faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Statistics {
    /// Failures of all kinds.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Counts one failure.
    pub fn fail(&mut self, why: &str) {
        match self.failed.get_mut(why) {
            Some(n) => *n += 1,
            None => {
                self.failed.insert(why.to_string(), 1);
            }
        }
    }
}

/// Statistics under way.
pub(crate) struct Tally {
    /// The numbers so far.
    pub(crate) numbers: Statistics,
    /// Handshakes in microseconds.
    pub(crate) handshakes: Histogram<u64>,
    /// Answers in microseconds.
    pub(crate) answers: Histogram<u64>,
    /// Calls in microseconds.
    pub(crate) calls: Histogram<u64>,
    /// Whether it moves data in bulk.
    pub(crate) bulk: bool,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // Bounds that `new_with_bounds` accepts by construction: 1 µs to 100 s, three digits.
        let histogram = || Histogram::new_with_bounds(1, 100_000_000, 3).expect("constant bounds are valid");
        Self {
            numbers: Statistics::default(),
            handshakes: histogram(),
            answers: histogram(),
            calls: histogram(),
            bulk: false,
        }
    }

    /// The numbers over `seconds`; starts again from zero.
    pub(crate) fn take(&mut self, seconds: f64, open: u64) -> Statistics {
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.seconds = seconds;
        let bytes = numbers.read_bytes.max(numbers.written_bytes);
        numbers.goodput_mbit = self.bulk.then(|| bytes as f64 * 8e-6 / seconds.max(1e-3));
        numbers.open = open;
        numbers.handshake_ms = quantiles(&self.handshakes, 1000.0);
        numbers.answer_ms = quantiles(&self.answers, 1000.0);
        numbers.call_us = quantiles(&self.calls, 1.0);
        self.handshakes.reset();
        self.answers.reset();
        self.calls.reset();
        numbers
    }
}

fn quantiles(histogram: &Histogram<u64>, unit: f64) -> Option<Quantiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit;
    (!histogram.is_empty()).then(|| Quantiles { p50: at(0.5), p99: at(0.99), max: histogram.max() as f64 / unit })
}

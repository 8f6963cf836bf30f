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
    /// Microseconds that the call of `connect(2)` itself took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_us: Option<Quantiles>,
    /// Slow calls of `connect(2)`.
    pub slow_calls: u64,
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
    /// Calls in microseconds.
    pub(crate) calls: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // Bounds that `new_with_bounds` accepts by construction: 1 µs to 100 s, three digits.
        let histogram = || Histogram::new_with_bounds(1, 100_000_000, 3).expect("constant bounds are valid");
        Self { numbers: Statistics::default(), handshakes: histogram(), calls: histogram() }
    }

    /// The numbers over `seconds`; starts again from zero.
    pub(crate) fn take(&mut self, seconds: f64, open: u64) -> Statistics {
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.seconds = seconds;
        numbers.open = open;
        numbers.handshake_ms = quantiles(&self.handshakes, 1000.0);
        numbers.call_us = quantiles(&self.calls, 1.0);
        self.handshakes.reset();
        self.calls.reset();
        numbers
    }
}

fn quantiles(histogram: &Histogram<u64>, unit: f64) -> Option<Quantiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit;
    (!histogram.is_empty()).then(|| Quantiles { p50: at(0.5), p99: at(0.99), max: histogram.max() as f64 / unit })
}

//! Sending: congestion control, pacing, segment sizes, fairness to the queue below.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

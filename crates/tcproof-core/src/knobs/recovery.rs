//! Options and loss recovery: timestamps, SACK, reordering, ECN, what counts as lost.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

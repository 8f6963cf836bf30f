//! Ports and TIME_WAIT: what a connection that has ended, or one that is to begin, takes from the port range.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

//! Memory: a socket's buffers, their bounds, and what all of TCP may take.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

//! Multipath TCP.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

//! Connection tracking: its table, and how long an entry lasts without packets.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

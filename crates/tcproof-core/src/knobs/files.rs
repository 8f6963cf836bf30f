//! Open files, of which every socket is one.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

//! Knobs that are gone, or never did what they are pasted for, and that still stand in files.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

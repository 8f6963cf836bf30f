//! Timers: how long a silent peer, a lost segment or a half-closed connection is waited for.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

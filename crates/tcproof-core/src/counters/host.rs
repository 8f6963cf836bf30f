//! What exists once per kernel, device or control group.

use super::Counter;

pub(super) static COUNTERS: &[Counter] = &[];

//! The neighbour tables: link-layer addresses of the hosts on the same link.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

//! Below TCP: the queues and budgets between the network card and a socket, the same for every protocol.

use super::Knob;

pub(super) static KNOBS: &[Knob] = &[];

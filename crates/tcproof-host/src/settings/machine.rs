//! The machine that settings are for.

use tcproof_core::Version;
use tcproof_core::knobs::Machine;

use crate::Root;

/// The machine under a root: what of it can be read.
pub fn machine(_root: &Root) -> Machine {
    Machine::of_kernel(Version::ALWAYS)
}

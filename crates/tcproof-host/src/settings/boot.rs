//! What boot loads: which files, by whom, in which order.

use tcproof_core::lint::Tree;

use super::machine::machine;
use crate::Root;

/// Everything that boot loads from under a root.
pub fn boot(root: &Root) -> Tree {
    Tree { files: Vec::new(), loads: Vec::new(), masked: Vec::new(), machine: machine(root), now: None }
}

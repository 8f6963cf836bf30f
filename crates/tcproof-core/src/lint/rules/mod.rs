//! The rules, one file each.

use super::Rule;

// <rules> written by `cargo xtask registry`
mod placebo;

/// Every rule, in the order of their slugs.
pub static RULES: &[&Rule] = &[&placebo::RULE];
// </rules>

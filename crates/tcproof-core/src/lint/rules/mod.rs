//! The rules, one file each.

use super::Rule;

// <rules> written by `cargo xtask registry`
mod bad_allow;
mod dangerous;
mod default_already;
mod differs_at_run_time;
mod invalid;
mod loaders_differ;
mod lowers_default;
mod needs_module;
mod never_worked;
mod not_in_this_kernel;
mod out_of_step;
mod placebo;
mod refused;
mod shadowed;
mod unknown_key;
mod wrong_scope;
mod wrong_unit;

/// Every rule, in the order of their slugs.
pub static RULES: &[&Rule] = &[
    &bad_allow::RULE,
    &dangerous::RULE,
    &default_already::RULE,
    &differs_at_run_time::RULE,
    &invalid::RULE,
    &loaders_differ::RULE,
    &lowers_default::RULE,
    &needs_module::RULE,
    &never_worked::RULE,
    &not_in_this_kernel::RULE,
    &out_of_step::RULE,
    &placebo::RULE,
    &refused::RULE,
    &shadowed::RULE,
    &unknown_key::RULE,
    &wrong_scope::RULE,
    &wrong_unit::RULE,
];
// </rules>

pub(super) use bad_allow::idle as idle_allows;

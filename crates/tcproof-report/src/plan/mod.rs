//! `tcproof plan`: on a terminal, as the file that `apply` takes, and for people who apply by other means.

mod ansible;
mod export;
mod file;
mod kubernetes;
mod sysctl;
mod systemd;
mod text;
mod tuned;

#[cfg(test)]
mod tests;

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../../schema/plan-1.schema.json");

pub use ansible::ansible;
pub use export::{MADE_BY, is_ours};
pub use file::{Error, json, read, toml};
pub use kubernetes::kubernetes;
pub use sysctl::sysctl;
pub use systemd::systemd;
pub(crate) use text::nothing;
pub use text::{Next, text};
pub use tuned::tuned;

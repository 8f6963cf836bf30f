//! `tcproof lint`: the report on a terminal, as JSON, as SARIF, and as a diff.

mod diff;
mod json;
mod sarif;
mod text;

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../../schema/lint-1.schema.json");

pub use diff::diff;
pub use json::json;
pub use sarif::sarif;
pub use text::text;

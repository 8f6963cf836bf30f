//! Pure renderers of what tcproof found: they look at core values, judge nothing and touch nothing.

pub mod doctor;
pub mod dump;
pub mod explain;
mod flows;
pub mod journal;
pub mod json;
mod layout;
pub mod lint;
pub mod metrics;
pub mod page;
pub mod path;
pub mod plan;
pub mod record;
pub mod report;
mod sanitize;
pub mod sockets;
pub mod states;
pub mod text;
pub mod top;
pub mod trace;
pub mod verify;

#[cfg(test)]
mod examples;

pub use layout::{Style, thousands};
pub use sanitize::{ascii, sanitize};

use tcproof_core::limits::Limit;

/// A host by its name, where it has one.
pub(crate) fn host_name(name: &str) -> &str {
    if name.is_empty() { "this host" } else { name }
}

/// What a person calls a limit; its slug in words where this version does not know it (a newer recording).
pub(crate) fn title(slug: &str) -> String {
    Limit::by_slug(slug).map_or_else(|| slug.replace('-', " "), |limit| limit.title.to_string())
}

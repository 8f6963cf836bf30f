//! `tcproof report`: one file for people who were not there, as HTML or as Markdown; and the page of a change.
//!
//! What is told is put together once (`content.rs`); the faces only differ in how they write it.

mod content;
mod html;
mod markdown;
mod markup;

#[cfg(test)]
mod tests;

use tcproof_core::plan::Plan;
use tcproof_core::verify::{Observation, Verification};
use tcproof_core::{Diagnosis, Interval};

pub use html::html;
pub use markdown::markdown;

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The answer.
    pub diagnosis: &'a Diagnosis,
    /// What it was judged by: queues, the packet path, probes. None where only a check's JSON is left.
    pub interval: Option<&'a Interval>,
    /// What would be changed.
    pub plan: Option<&'a Plan>,
    /// Where it comes from, where nobody watched for it.
    pub source: Option<&'a str>,
    /// When the report was made.
    pub made_at: &'a str,
    /// By which version.
    pub version: &'a str,
    /// The check as JSON, to be kept inside.
    pub json: &'a str,
    /// A change that was made, where the report is about one: all else is then of the window before it, and the plan is what
    /// was done.
    pub change: Option<&'a Change<'a>>,
}

/// A change, and what came after it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Whether it helped.
    pub verification: &'a Verification,
    /// The window after it.
    pub after: &'a Observation,
    /// What was run; none where a person made it, or knobs alone were written.
    pub command: Option<&'a str>,
    /// Who asked for it.
    pub user: &'a str,
    /// When it was made.
    pub at: &'a str,
    /// What became of it; none where nobody but its maker decides.
    pub ended: Option<&'a str>,
}

/// Whether a file is a report of ours, and may be replaced by the next one.
pub fn is_ours(text: &str) -> bool {
    let is_markdown = || text.starts_with("# ") && text.lines().take(8).any(|line| line.contains(MADE_BY));
    (text.starts_with("<!doctype html>") && text.contains("<title>tcproof: ")) || is_markdown()
}

/// What says so in Markdown.
const MADE_BY: &str = " by tcproof ";

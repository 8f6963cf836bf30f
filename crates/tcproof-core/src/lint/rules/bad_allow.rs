//! # bad-allow
//!
//! ## What it says
//! A comment `tcproof: allow` names no rule, or gives no reason; or nothing is wrong where it stands.
//!
//! ## Why it matters
//! Without a reason the next reader can't tell whether it still holds. One that allows nothing hides what may go
//! wrong there later.
//!
//! ## Bad
//! ```text
//! # tcproof: allow lowers-default
//! net.core.somaxconn = 1024
//! ```
//!
//! ## Good
//! ```text
//! # tcproof: allow lowers-default — load tests with a short queue
//! net.core.somaxconn = 1024
//! ```
//!
//! ## What to do
//! Give the rule's slug and a reason on the line above: `# tcproof: allow <slug> — reason`. `tcproof explain` lists
//! the slugs.
//!
//! ## References
//! `tcproof explain lint`

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::lint::{Allow, Context, Finding, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    slug: "bad-allow",
    title: "a comment that allows what it should not, or nothing",
    severity: Severity::Warning,
    check,
    source: include_str!("bad_allow.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    for (index, file) in context.tree.files.iter().enumerate() {
        for allow in &file.allows {
            let message = match Rule::by_slug(&allow.slug) {
                None => format!("there is no rule {:?}: tcproof explain lists them", allow.slug),
                Some(_) if allow.reason.is_empty() => "it gives no reason, so nothing is allowed".into(),
                Some(_) => continue,
            };
            found.push(finding(index, allow, message));
        }
    }
}

/// Comments that allow none of what the other rules found.
pub(in crate::lint) fn idle(context: &Context<'_>, found: &[Finding]) -> Vec<Finding> {
    let mut idle = Vec::new();
    for (index, file) in context.tree.files.iter().enumerate() {
        let ours = || found.iter().filter(|finding| finding.file == index);
        for allow in file.allows.iter().filter(|allow| !allow.reason.is_empty() && Rule::by_slug(&allow.slug).is_some())
        {
            // A comment above a command of several lines is about each of them.
            let mut same = file.allows.iter().filter(|other| other.at == allow.at && other.slug == allow.slug);
            let is_first = same.clone().next() == Some(allow);
            if is_first && !same.any(|allow| ours().any(|finding| allow.covers(finding.rule, finding.at.line))) {
                let mut finding = finding(index, allow, format!("{} finds nothing here", allow.slug));
                finding.severity = Severity::Note;
                idle.push(finding);
            }
        }
    }
    idle
}

fn finding(file: usize, allow: &Allow, message: String) -> Finding {
    Finding { rule: RULE.slug, severity: RULE.severity, file, at: allow.at, key: None, message, correction: None }
}

//! What the exports share: comments that nothing breaks out of, and which change belongs where.
//!
//! Values and keys need no quotes: a plan takes only what [`tcproof_core::plan::check`] lets through, and the keys are
//! those of the table. All other text of a plan may come from the host or from a file, and stands in comments only.

use tcproof_core::plan::{Change, Plan};

use super::file::is_plan;
use crate::sanitize;

/// How every export begins.
pub const MADE_BY: &str = "# Made by tcproof plan";

/// Whether a text is a plan or an export of one: what may be written anew without asking.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(MADE_BY) || is_plan(text)
}

/// A comment of one line, whatever is in the text. Its label keeps it from reading as anything but prose.
pub(super) fn comment(out: &mut String, indent: &str, label: &str, text: &str) {
    if !text.is_empty() {
        out.push_str(&format!("{indent}# {label}: {}\n", sanitize(text)));
    }
}

/// The first lines: whose it is, how it is used, and what a person has to do first.
pub(super) fn head(plan: &Plan, usage: &str) -> String {
    let from = format!("{} for {}, Linux {}, at {}", plan.id, plan.host, plan.kernel, plan.made_at);
    let mut out = format!("{MADE_BY} {}\n# {usage}\n", sanitize(&from));
    for instruction in &plan.instructions {
        comment(&mut out, "", "by hand first", &instruction.text);
    }
    out
}

/// Why a change is made, what it costs, and what stood there before.
pub(super) fn reasons(out: &mut String, indent: &str, plan: &Plan, change: &Change) {
    for number in &change.findings {
        if let Some(finding) = number.checked_sub(1).and_then(|at| plan.findings.get(at)) {
            comment(out, indent, "why", &format!("{}: {}", finding.limit, finding.summary));
        }
    }
    comment(out, indent, "computed", change.formula.as_deref().unwrap_or_default());
    comment(out, indent, "costs", &change.cost);
    comment(out, indent, "risk", &change.risk);
    comment(out, indent, "felt", &change.takes_effect);
    comment(out, indent, "then", change.then.as_deref().unwrap_or_default());
    let before = if change.from.is_empty() { "(nothing)" } else { &change.from };
    comment(out, indent, "before", &format!("{before} (plan {})", plan.id));
}

/// A change that this kind of file cannot make.
pub(super) fn elsewhere(out: &mut String, change: &Change, place: &str) {
    out.push('\n');
    comment(out, "", "not set here", &format!("{} = {}: {place}", change.knob, change.to));
}

/// Where a change of one namespace belongs.
pub(super) fn of_namespace(change: &Change) -> String {
    format!("it belongs to network namespace {}, whose container or service sets it", change.namespace.name)
}

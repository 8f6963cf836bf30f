//! Every suggestion as a unified diff, for a person to read and `patch` to apply.

use similar::TextDiff;
use tcproof_core::lint::{Report, Tree};

/// The diff; empty when there is nothing to correct.
pub fn diff(tree: &Tree, report: &Report) -> String {
    let corrected = tree.files.iter().enumerate().filter_map(|(index, file)| {
        let new = tree.corrected(index, &report.findings, false)?;
        let diff = TextDiff::from_lines(&*file.text, &new);
        Some(diff.unified_diff().context_radius(3).header(&file.path, &file.path).to_string())
    });
    corrected.collect()
}

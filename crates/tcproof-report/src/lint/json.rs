//! The report as JSON: schema `tcproof/lint/1`.

use serde::Serialize;
use tcproof_core::lint::{Finding, Report, Severity, Tree};

use crate::json::to_text;

/// The report.
pub fn json(tree: &Tree, report: &Report) -> String {
    to_text(&Lint {
        schema: "tcproof/lint/1",
        kernel: tree.machine.kernel.to_string(),
        files: tree.files.iter().map(|file| &*file.path).collect(),
        findings: report.findings.iter().map(|finding| Entry::new(tree, finding)).collect(),
        allowed: report.allowed,
        unread: report.unread.iter().map(|(file, why)| Unread { file, because: why.to_string() }).collect(),
    })
}

#[derive(Serialize)]
struct Lint<'a> {
    schema: &'static str,
    kernel: String,
    files: Vec<&'a str>,
    findings: Vec<Entry<'a>>,
    allowed: usize,
    unread: Vec<Unread<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    rule: &'static str,
    severity: Severity,
    file: &'a str,
    line: u32,
    column: u32,
    end_column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
    fix: &'static str,
}

#[derive(Serialize)]
struct Unread<'a> {
    file: &'a str,
    because: String,
}

impl<'a> Entry<'a> {
    fn new(tree: &'a Tree, finding: &'a Finding) -> Self {
        Self {
            rule: finding.rule,
            severity: finding.severity,
            file: &tree.files[finding.file].path,
            line: finding.at.line,
            column: finding.at.column,
            end_column: finding.at.end,
            key: finding.key.as_deref(),
            message: &finding.message,
            suggestion: finding.correction.as_ref().map(|correction| &*correction.line),
            fix: match &finding.correction {
                Some(correction) if correction.is_safe => "safe",
                Some(_) => "unsafe",
                None => "none",
            },
        }
    }
}

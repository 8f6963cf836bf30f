//! The report as SARIF 2.1.0, which code hosts show beside the lines.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tcproof_core::lint::{Finding, Report, Rule, Severity, Tree};

use crate::json::to_text;

/// The report.
pub fn sarif(tree: &Tree, report: &Report) -> String {
    let used: BTreeSet<_> = report.findings.iter().map(|finding| finding.rule).collect();
    let rules: Vec<_> = used.iter().filter_map(|slug| Rule::by_slug(slug)).map(rule).collect();
    let results: Vec<_> = report.findings.iter().map(|finding| result(tree, finding)).collect();
    let unread: Vec<_> = report
        .unread
        .iter()
        .map(|(path, why)| {
            let location = json!({"physicalLocation": {"artifactLocation": {"uri": uri(path)}}});
            json!({"level": "error", "message": {"text": why.to_string()}, "locations": [location]})
        })
        .collect();
    to_text(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "tcproof", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": unread.is_empty(), "toolExecutionNotifications": unread}],
            "results": results,
        }],
    }))
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.slug,
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.page(), "markdown": rule.page()},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(tree: &Tree, finding: &Finding) -> Value {
    let file = &tree.files[finding.file];
    let artifact = json!({"uri": uri(&file.path)});
    let region = json!({
        "startLine": finding.at.line, "startColumn": finding.at.column, "endColumn": finding.at.end,
    });
    let text = match &finding.key {
        Some(key) => format!("{key}: {}", finding.message),
        None => finding.message.clone(),
    };
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
    });
    if let Some(correction) = &finding.correction {
        let line = json!({
            "startLine": correction.number,
            "startColumn": 1,
            "endColumn": file.line(correction.number).chars().count() + 1,
        });
        let replacement = json!({"deletedRegion": line, "insertedContent": {"text": correction.line}});
        result["fixes"] = json!([{
            "description": {"text": if correction.is_safe { "safe" } else { "to be looked at" }},
            "artifactChanges": [{"artifactLocation": artifact, "replacements": [replacement]}],
        }]);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

/// A path as a URI reference: relative as it is, absolute as `file:`; other bytes than RFC 3986's unreserved ones are
/// percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(byte.into()),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_become_uris() {
        assert_eq!(super::uri("/etc/sysctl.d/99 a%.conf"), "file:///etc/sysctl.d/99%20a%25.conf");
        assert_eq!(super::uri("deploy/pod.yaml"), "deploy/pod.yaml");
    }
}

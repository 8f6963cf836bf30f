//! The report as SARIF 2.1.0, which code hosts show beside the lines.

use std::collections::BTreeSet;

use serde::Serialize;
use tcproof_core::lint::{self, Finding, Report, Severity, Tree};

use crate::json::to_text;

/// The report.
pub fn sarif(tree: &Tree, report: &Report) -> String {
    let used: BTreeSet<_> = report.findings.iter().map(|finding| finding.rule).collect();
    let uris: Vec<_> = tree.files.iter().map(|file| uri(&file.path)).collect();
    let unread: Vec<_> = report.unread.iter().map(|(path, why)| Notification::new(path, why.to_string())).collect();
    to_text(&Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "tcproof",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: used.iter().filter_map(|slug| lint::Rule::by_slug(slug)).map(Rule::new).collect(),
                },
            },
            column_kind: "unicodeCodePoints",
            invocations: [Invocation { execution_successful: unread.is_empty(), tool_execution_notifications: unread }],
            results: report.findings.iter().map(|finding| Outcome::new(tree, &uris, finding)).collect(),
        }],
    })
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    column_kind: &'static str,
    invocations: [Invocation; 1],
    results: Vec<Outcome<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Text<&'static str>,
    help: Help,
    default_configuration: Level,
}

#[derive(Serialize)]
struct Text<T> {
    text: T,
}

#[derive(Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Serialize)]
struct Level {
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
struct Notification {
    level: &'static str,
    message: Text<String>,
    locations: [Location<String>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<T> {
    physical_location: PhysicalLocation<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation<T> {
    artifact_location: Artifact<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact<T> {
    uri: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_column: u32,
}

/// What SARIF calls a result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    rule_id: &'static str,
    level: &'static str,
    message: Text<String>,
    locations: [Location<&'a str>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<[Fix<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fix<'a> {
    description: Text<&'static str>,
    artifact_changes: [Change<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    artifact_location: Artifact<&'a str>,
    replacements: [Replacement<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replacement<'a> {
    deleted_region: Region,
    inserted_content: Text<&'a str>,
}

impl Rule {
    fn new(rule: &lint::Rule) -> Self {
        Self {
            id: rule.slug,
            short_description: Text { text: rule.title },
            help: Help { text: rule.page(), markdown: rule.page() },
            default_configuration: Level { level: level(rule.severity) },
        }
    }
}

impl Notification {
    fn new(path: &str, why: String) -> Self {
        Self { level: "error", message: Text { text: why }, locations: [Location::new(uri(path), None)] }
    }
}

impl<T> Location<T> {
    fn new(uri: T, region: Option<Region>) -> Self {
        Self { physical_location: PhysicalLocation { artifact_location: Artifact { uri }, region } }
    }
}

impl<'a> Outcome<'a> {
    fn new(tree: &'a Tree, uris: &'a [String], finding: &'a Finding) -> Self {
        let (file, uri) = (&tree.files[finding.file], &*uris[finding.file]);
        let at = finding.at;
        let region = Region { start_line: at.line, start_column: at.column, end_column: at.end };
        let text = match &finding.key {
            Some(key) => format!("{key}: {}", finding.message),
            None => finding.message.clone(),
        };
        let fix = finding.correction.as_ref().map(|correction| {
            let length = file.line(correction.number).chars().count();
            let deleted_region = Region {
                start_line: correction.number,
                start_column: 1,
                end_column: u32::try_from(length).unwrap_or(u32::MAX - 1) + 1,
            };
            let replacement = Replacement { deleted_region, inserted_content: Text { text: &correction.line } };
            let description = Text { text: if correction.is_safe { "safe" } else { "to be looked at" } };
            let change = Change { artifact_location: Artifact { uri }, replacements: [replacement] };
            [Fix { description, artifact_changes: [change] }]
        });
        Self {
            rule_id: finding.rule,
            level: level(finding.severity),
            message: Text { text },
            locations: [Location::new(uri, Some(region))],
            fixes: fix,
        }
    }
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

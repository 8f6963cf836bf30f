//! Rules for Prometheus, from what each limit's file says of itself.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::generated::Generated;
use crate::page::{Page, capital};
use crate::registry::Table;

const RULES: &str = "contrib/prometheus/tcproof.rules.yml";
const HEAD: &str = r#"# Written by `cargo xtask alerts` from the table of limits: do not edit, copy. What tcproof serve measures, as alerts.
# An alert of a limit fires when traffic was hurt in two windows of the last five minutes. Scrape at least once a minute.
groups:
  - name: tcproof
    rules:
      - record: tcproof:limit_used:ratio
        expr: tcproof_limit_used / (tcproof_limit_capacity > 0)
      - alert: TcproofNotWatching
        expr: time() - tcproof_window_end_timestamp_seconds > 3 * tcproof_window_seconds + 60
        for: 2m
        labels:
          severity: warning
        annotations:
          summary: "tcproof on {{ $labels.instance }} has ended no window lately"
          description: "What it says of limits is old. First: look at its log, and start it again."
          explain: "tcproof doctor"
      - alert: TcproofNear
        expr: min_over_time(tcproof_limit_state{state="near"}[5m]) == 1
        for: 10m
        labels:
          severity: info
        annotations:
          summary: "{{ $labels.limit }} on {{ $labels.instance }} is near its limit"
          description: "Nothing is lost yet; the next burst will hit it. First: tcproof check on the host names whose it is."
          explain: "tcproof explain {{ $labels.limit }}"
"#;

/// Writes them, or says whether they differ.
pub(crate) fn run(workspace: &Path, table: &Table, check: bool) -> Result<ExitCode> {
    let mut new = HEAD.to_string();
    for source in &table.sources()? {
        new.push_str(&source.read(|text| Page::of(text)?.alert())?);
    }
    Generated { file: RULES, task: "alerts", text: new }.keep(workspace, check)
}

impl Page<'_> {
    fn alert(&self) -> Result<String> {
        let Self { slug, title, .. } = self;
        let (what, first) = (self.first("What it is")?, self.first("Remedy")?);
        let name: String = slug.split('-').map(capital).collect();
        let summary = quoted(&format!("{}: traffic is hurt on {{{{ $labels.instance }}}}", capital(title)))?;
        // Prometheus expands templates in it.
        ensure!(!what.contains("{{") && !first.contains("{{"), "expected no {{{{ on its page");
        let description = quoted(&format!("{what} What to do: {first}"))?;
        Ok(format!(
            "      - alert: Tcproof{name}
        expr: increase(tcproof_limiting_windows_total{{limit=\"{slug}\"}}[5m]) > 1.5
        for: 1m
        labels:
          severity: warning
        annotations:
          summary: {summary}
          description: {description}
          explain: \"tcproof explain {slug}\"
"
        ))
    }
}

/// A string of YAML, which a string of JSON is too.
fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text).context("quoting")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;
    use crate::{limits, workspace};

    const SOURCE: &str = "//! # some-limit\n//!\n//! ## What it is\n//! A \"queue\" of 1.5 kB, e.g. one\n//! of many. It is full.\n\
                          //!\n//! ## Remedy\n//! Ask less.\n\n    slug: \"some-limit\",\n    title: \"some limit\",\n";

    #[test]
    fn an_alert_says_what_it_is_and_what_to_do_first() {
        insta::assert_snapshot!(Page::of(SOURCE).unwrap().alert().unwrap(), @r#"
              - alert: TcproofSomeLimit
                expr: increase(tcproof_limiting_windows_total{limit="some-limit"}[5m]) > 1.5
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "Some limit: traffic is hurt on {{ $labels.instance }}"
                  description: "A \"queue\" of 1.5 kB, e.g. one of many. What to do: Ask less."
                  explain: "tcproof explain some-limit"
        "#);
    }

    #[test]
    fn a_page_without_what_it_needs_is_named() {
        for (from, to, what) in [
            ("slug:", "slag:", "expected a line slug: \"…\","),
            ("## Remedy", "## Remedies", "expected a section ## Remedy"),
            ("Ask less", "Ask {{ less", "expected no {{ on its page"),
        ] {
            let source = SOURCE.replace(from, to);
            let error = Page::of(&source).and_then(|page| page.alert()).unwrap_err();
            assert_eq!(error.to_string(), what);
        }
    }

    #[test]
    fn the_committed_rules_are_those_of_the_limits() {
        assert_eq!(run(&workspace(), &limits(), true).unwrap(), ExitCode::SUCCESS);
    }

    #[test]
    fn prometheus_takes_the_rules_and_they_fire() {
        let folder = workspace().join("contrib/prometheus");
        for arguments in [["check", "rules", "tcproof.rules.yml"], ["test", "rules", "tcproof.test.yml"]] {
            let mut promtool = Command::new("promtool");
            let Ok(output) = promtool.args(arguments).current_dir(&folder).output() else {
                // Not by `eprintln!`, which the harness keeps to itself.
                let _ = writeln!(std::io::stderr(), "SKIP: there is no promtool (Debian's prometheus)");
                return;
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        }
    }
}

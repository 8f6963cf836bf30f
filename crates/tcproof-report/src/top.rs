//! Blocks of text that the live view shows when something is opened: one finding, one stage, the facts of one row.

use tcproof_core::path::Stage;
use tcproof_core::{Diagnosis, Finding};

use crate::Style;
use crate::layout::{Cell, Role, Screen};

/// Columns of a fact's name.
const LABEL: usize = 16;

/// One finding with all of its evidence, as `check -v` prints it.
pub fn finding(diagnosis: &Diagnosis, finding: &Finding, style: &Style) -> String {
    crate::text::one_finding(diagnosis, finding, &Style { verbose: true, quiet: false, ..*style })
}

/// One stage of the packet path with all of its counters, as `path -v` prints it.
pub fn stage(stage: &Stage, style: &Style) -> String {
    crate::path::one_stage(stage, &Style { verbose: true, quiet: false, ..*style })
}

/// A heading, and what is known of it: a name and a text each. Empty texts are left out.
pub fn facts(heading: &str, facts: &[(&str, String)], style: &Style) -> String {
    let mut screen = Screen::new(style);
    screen.text(Role::Heading, heading);
    screen.gap();
    for (name, text) in facts.iter().filter(|(_, text)| !text.is_empty()) {
        screen.row(&[Cell::blank(2), Cell::new(Role::Label, name, LABEL)], Role::Plain, text);
    }
    screen.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn what_is_opened_has_everything() {
        let diagnosis = examples::limiting("gunicorn");
        let text = finding(&diagnosis, &diagnosis.findings[0], &Style::default());
        assert!(text.starts_with("LIMITING  accept queue of 0.0.0.0:8080 in host\n  who "), "{text}");
        assert!(text.contains("\n  numbers SK_MEMINFO_DROPS +342 handshakes in 5.0 s"), "{text}");
        assert!(text.ends_with("tcproof explain accept-queue\n"), "{text}");
        let rows = [("queue", "31 of 129".into()), ("owner", String::new()), ("name", "a\x1b[2Jb".into())];
        insta::assert_snapshot!(facts("0.0.0.0:8080", &rows, &Style::default()), @r"
        0.0.0.0:8080

          queue           31 of 129
          name            a\x1b[2Jb
        ");
    }
}

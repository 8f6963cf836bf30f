//! Every suggestion as a unified diff, for a person to read and `patch` to apply.

use similar::TextDiff;
use tcproof_core::lint::{Loader, Report, Tree};

use crate::sanitize;

/// The diff; empty when there is nothing to correct. `patch` passes over the lines that begin with `#`.
pub fn diff(tree: &Tree, report: &Report) -> String {
    // Of what boot loads only the kernel's command line has no path: it is no file, and nothing patches it.
    let is_boot = tree.loads.iter().any(|load| matches!(load.loader, Loader::Systemd | Loader::Procps));
    let files = tree.files.iter().enumerate().filter(|(_, file)| !is_boot || file.path.starts_with('/'));
    let corrected = files.filter_map(|(index, file)| {
        let new = tree.corrected(index, &report.findings, false)?;
        let diff = TextDiff::from_lines(&*file.text, &new);
        let name = name(&file.path);
        let diff = diff.unified_diff().context_radius(3).header(&name, &name).to_string();
        Some(if is_text(&diff) { diff } else { format!("# {name}: no diff of what is not all plain text\n") })
    });
    corrected.collect()
}

/// Whether a terminal shows it as it is, and `patch` finds it: no control characters, nothing that was not UTF-8.
fn is_text(diff: &str) -> bool {
    let is_plain = |line: &str| !line.contains('\u{fffd}') && sanitize(line) == line;
    diff.split('\n').all(|line| is_plain(&line.strip_suffix('\r').unwrap_or(line).replace('\t', " ")))
}

/// A path as `diff` writes it and `patch` reads it: in quotes where it is no plain word, with a tab behind it where it has
/// blanks.
fn name(path: &str) -> String {
    let is_plain = |c| {
        !matches!(c, '"' | '\\') && !char::is_control(c) && sanitize(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8()
    };
    if path.chars().all(is_plain) {
        return path.to_string() + if path.contains(' ') { "\t" } else { "" };
    }
    let escaped: String = path
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            other => format!("\\{other:03o}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_patch_reads_them() {
        assert_eq!(name("/etc/sysctl.d/99-x.conf"), "/etc/sysctl.d/99-x.conf");
        assert_eq!(name("a b.conf"), "a b.conf\t");
        assert_eq!(name("ä.conf"), "ä.conf");
        assert_eq!(name("a\u{1b}[31m\n\"b.conf"), "\"a\\033[31m\\012\\\"b.conf\"");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert!(is_text("--- a\n+++ a\n-x = 1\r\n+y\t= ä\r\n"));
        for text in ["+\u{1b}[31m\n", "+a\rb\n", "+\u{9b}31m\n", "+\u{fffd}\n", "+\u{202e}\n"] {
            assert!(!is_text(text), "{text:?}");
        }
    }
}

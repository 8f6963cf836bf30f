//! Every suggestion as a unified diff, for a person to read and `patch` to apply.

use tcproof_core::lint::{Report, Tree};

use crate::sanitize;

/// Lines that are shown before and after what changes.
const CONTEXT: usize = 3;

/// The diff; empty when there is nothing to correct. `patch` passes over the lines that begin with `#`.
pub fn diff(tree: &Tree, report: &Report) -> String {
    // Of what boot loads only the kernel's command line has no path: it is no file, and nothing patches it.
    let is_boot = tree.is_boot();
    let files = tree.files.iter().enumerate().filter(|(_, file)| !is_boot || file.path.starts_with('/'));
    let corrected = files.filter_map(|(index, file)| {
        let new = tree.corrected(index, &report.findings, false)?;
        let name = name(&file.path);
        let diff = format!("--- {name}\n+++ {name}\n{}", hunks(&file.text, &new));
        Some(if is_text(&diff) { diff } else { format!("# {name}: no diff of what is not all plain text\n") })
    });
    corrected.collect()
}

/// The hunks. A correction is one line for one line: nothing has to be searched for, which would take long where much is
/// corrected.
fn hunks(old: &str, new: &str) -> String {
    let lines: Vec<_> = old.split_inclusive('\n').zip(new.split_inclusive('\n')).collect();
    let changed: Vec<_> = (0..lines.len()).filter(|at| lines[*at].0 != lines[*at].1).collect();
    let mut out = String::new();
    for near in changed.chunk_by(|one, next| next - one <= 2 * CONTEXT + 1) {
        let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
        let (from, to) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(lines.len()));
        let range = if to - from == 1 { format!("{to}") } else { format!("{},{}", from + 1, to - from) };
        out.push_str(&format!("@@ -{range} +{range} @@\n"));
        for run in lines[from..to].chunk_by(|one, next| (one.0 == one.1) == (next.0 == next.1)) {
            if run[0].0 == run[0].1 {
                run.iter().for_each(|(line, _)| push(&mut out, ' ', line));
            } else {
                run.iter().for_each(|(line, _)| push(&mut out, '-', line));
                run.iter().for_each(|(_, line)| push(&mut out, '+', line));
            }
        }
    }
    out
}

fn push(out: &mut String, sign: char, line: &str) {
    out.push(sign);
    out.push_str(line);
    if !line.ends_with('\n') {
        out.push_str("\n\\ No newline at end of file\n");
    }
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
    fn what_lies_near_goes_together() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new =
            old.replace("\n5\n6\n", "\nfive\nsix\n").replace("\n12\n", "\ntwelve\n").replace("\n20\n", "\nlast\n");
        insta::assert_snapshot!(hunks(&old, &new), @r"
        @@ -2,14 +2,14 @@
         2
         3
         4
        -5
        -6
        +five
        +six
         7
         8
         9
         10
         11
        -12
        +twelve
         13
         14
         15
        @@ -17,4 +17,4 @@
         17
         18
         19
        -20
        +last
        ");
        assert_eq!(
            hunks("a", "b"),
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
        );
    }

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

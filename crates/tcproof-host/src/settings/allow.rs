//! `# tcproof: allow <slug> — reason`: what the author of a file allows.

use tcproof_core::lint::{Allow, Span};

/// Where a format has comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    /// On lines of their own, after `#` or `;`: units, tuned profiles.
    OwnLine,
    /// Also behind something else, after `#`: YAML, shell.
    Anywhere,
}

impl Comments {
    /// Whether nothing but a comment, or nothing at all, stands in a line.
    fn are_all_of(self, line: &str) -> bool {
        let line = line.trim_start();
        line.is_empty() || line.starts_with('#') || (self == Self::OwnLine && line.starts_with(';'))
    }
}

/// What a comment allows: the text behind its sign, and where it stands. It is about the line that it stands in.
pub(super) fn parse(comment: &str, at: Span) -> Option<Allow> {
    let said = comment.trim_start_matches(['#', ';']).trim_start().strip_prefix("tcproof:")?;
    let said = said.trim_start().strip_prefix("allow")?;
    if !said.is_empty() && !said.starts_with(char::is_whitespace) {
        return None;
    }
    let (slug, reason) = said.trim_start().split_once(char::is_whitespace).unwrap_or((said.trim(), ""));
    Some(Allow {
        at,
        line: at.line,
        slug: slug.trim_end_matches(':').into(),
        reason: reason.trim_start_matches(|c: char| c.is_whitespace() || "—–-:".contains(c)).trim_end().into(),
    })
}

/// All of them in a text, each with the line that it is about: its own, or the next one that says something.
pub(super) fn allows(text: &str, comments: Comments) -> Vec<Allow> {
    let mut found: Vec<Allow> = Vec::new();
    // Those on lines of their own wait for the line that they are about: the first of them.
    let mut waiting = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let is_alone = comments.are_all_of(line);
        if !is_alone {
            found[waiting..].iter_mut().for_each(|allow| allow.line = number);
        }
        if is_alone || comments == Comments::Anywhere {
            found.extend(in_line(number, line));
        }
        if !is_alone {
            waiting = found.len();
        }
    }
    found
}

/// The same about each line of a command that goes on behind a `\`, where no comment can stand.
pub(super) fn over_continued_lines(allows: Vec<Allow>, text: &str) -> Vec<Allow> {
    if allows.is_empty() {
        return allows;
    }
    let is_continued: Vec<bool> = text.lines().map(|line| line.trim_end().ends_with('\\')).collect();
    let goes_on = |line: u32| is_continued.get(line as usize - 1).copied().unwrap_or_default();
    let mut found = Vec::new();
    for allow in allows {
        let mut line = allow.line;
        while goes_on(line) && found.len() < is_continued.len() {
            found.push(Allow { line, ..allow.clone() });
            line += 1;
        }
        found.push(Allow { line, ..allow });
    }
    found
}

/// The one that a line holds.
fn in_line(number: u32, line: &str) -> Option<Allow> {
    let before = line[..line.find("tcproof:")?].trim_end();
    let code = before.trim_end_matches(['#', ';']);
    if code.len() == before.len() || !(code.is_empty() || code.ends_with(char::is_whitespace)) {
        return None;
    }
    let columns = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX - 1) + 1;
    parse(&line[code.len()..], Span { line: number, column: columns(code), end: columns(line.trim_end()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, comments: Comments) -> Vec<(u32, u32, String, String)> {
        allows(text, comments).into_iter().map(|it| (it.at.line, it.line, it.slug, it.reason)).collect()
    }

    #[test]
    fn above_the_line_or_behind_it() {
        let text = "# tcproof: allow placebo — a colleague insists\n\n# more\n  a: b\nc: d  # tcproof: allow dangerous - ours\n";
        assert_eq!(
            shown(text, Comments::Anywhere),
            [(1, 4, "placebo".into(), "a colleague insists".into()), (5, 5, "dangerous".into(), "ours".into())]
        );
        // In units what stands behind a value belongs to it.
        assert_eq!(shown(text, Comments::OwnLine).len(), 1);
        assert_eq!(
            shown("; tcproof: allow x: why\r\na = b\r\n", Comments::OwnLine),
            [(1, 2, "x".into(), "why".into())]
        );
    }

    #[test]
    fn two_of_them_are_about_the_same_line() {
        let text = "# tcproof: allow a — one\n# tcproof: allow b — two\nx = 1\n";
        assert_eq!(
            shown(text, Comments::OwnLine),
            [(1, 3, "a".into(), "one".into()), (2, 3, "b".into(), "two".into())]
        );
    }

    #[test]
    fn what_lacks_a_slug_or_a_reason_is_still_one() {
        assert_eq!(shown("# tcproof: allow\n", Comments::OwnLine), [(1, 1, "".into(), "".into())]);
        assert_eq!(shown("# tcproof: allow x\na=b\n", Comments::OwnLine), [(1, 2, "x".into(), "".into())]);
    }

    #[test]
    fn other_talk_is_none() {
        for text in ["# tcproof: allowed x", "tcproof: allow x — y", "a#tcproof: allow x — y", "# tcproof is good"]
        {
            assert_eq!(shown(text, Comments::Anywhere), [], "{text}");
        }
    }

    #[test]
    fn a_command_of_several_lines_is_allowed_as_one() {
        let text = "# tcproof: allow x — y\ndocker run \\\n  --sysctl a=b \\\n  image\nnext\n";
        let lines: Vec<_> =
            over_continued_lines(allows(text, Comments::Anywhere), text).iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }
}

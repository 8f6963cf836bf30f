//! Makes a string of the host harmless to a terminal: any program can choose its own name, any user a cgroup's.

use std::borrow::Cow;
use std::fmt::Write as _;

use textwrap::core::display_width;

/// A space that lines are not broken at. It may stay in sanitised text, and is shown as a plain space.
pub(crate) const NO_BREAK: char = '\u{a0}';

/// Shows what would act on the terminal instead of being seen (controls, escape sequences, line breaks, bidirectional
/// overrides, characters without a width of their own) as `\n`, `\x1b` or `\u{202e}`.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_harmless(c) => shown.push(c),
            c => push_escape(&mut shown, c),
        }
    }
    Cow::Owned(shown)
}

/// Replaces what a terminal without Unicode cannot show: by its nearest ASCII spelling, else by an escape.
pub fn ascii(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' | NO_BREAK => shown.push(c),
            '→' => shown.push_str("->"),
            '≥' => shown.push_str(">="),
            '≤' => shown.push_str("<="),
            '…' => shown.push_str("..."),
            '×' => shown.push('x'),
            '·' | '–' | '—' | '−' => shown.push('-'),
            '‘' | '’' => shown.push('\''),
            '“' | '”' => shown.push('"'),
            c => push_escape(&mut shown, c),
        }
    }
    shown
}

fn is_harmless(c: char) -> bool {
    // Width zero covers the bidirectional controls, joiners, variation selectors, tags, and marks that pile up.
    let invisible = matches!(c, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
        || (c.is_whitespace() && c != ' ' && c != NO_BREAK);
    !c.is_control() && !invisible && display_width(c.encode_utf8(&mut [0; 4])) > 0
}

fn push_escape(shown: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = if code < 0x80 { write!(shown, "\\x{code:02x}") } else { write!(shown, "\\u{{{code:x}}}") };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        for (text, shown) in [
            ("gunicorn: worker [api]", "gunicorn: worker [api]"),
            ("evil\x1b[31m\n", "evil\\x1b[31m\\n"),
            ("a\r\tb\0\x07\x7f", "a\\r\\tb\\x00\\x07\\x7f"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("safe\u{202e}exe.txt\u{2066}", "safe\\u{202e}exe.txt\\u{2066}"),
            ("zero\u{200b}width\u{feff}\u{200d}", "zero\\u{200b}width\\u{feff}\\u{200d}"),
            ("line\u{2028}\u{2029}\u{85}", "line\\u{2028}\\u{2029}\\u{85}"),
            ("za\u{335}lgo", "za\\u{335}lgo"),
            ("soft\u{ad}hyphen\u{3164}", "soft\\u{ad}hyphen\\u{3164}"),
            ("wide\u{3000}space", "wide\\u{3000}space"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("naïve 日本 → ✓", "naïve 日本 → ✓"),
            ("", ""),
        ] {
            assert_eq!(sanitize(text), shown);
        }
    }

    #[test]
    fn without_unicode_everything_is_ascii() {
        assert_eq!(ascii("a → b · 1.25 × 2 ≥ 2 — …"), "a -> b - 1.25 x 2 >= 2 - ...");
        assert_eq!(ascii("日"), "\\u{65e5}");
    }
}

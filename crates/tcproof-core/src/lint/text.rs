//! A file's text, with an index of its lines: each finding asks for one, and files have many of both.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Deref;

/// A text whose lines are found at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Text {
    /// A line by its number, from 1, without its end; empty beyond the last.
    pub fn line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        let Some(start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(*start..end).unwrap_or_default();
        // As `str::lines` has it: a carriage return belongs to the end of a line only before a line feed.
        line.strip_suffix("\r\n").or_else(|| line.strip_suffix('\n')).unwrap_or(line)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = core::iter::once(0).chain(ends).filter(|start| *start < text.len()).collect();
        Self { text, starts }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_those_of_str() {
        for text in ["", "\n", "a", "a\n", "a\r\nb", "a\n\nb\r\n", "ä\nö"] {
            let lines: Vec<_> = text.lines().collect();
            let ours = Text::from(text);
            let found: Vec<_> = (1..=lines.len() as u32).map(|number| ours.line(number)).collect();
            assert_eq!(found, lines, "{text:?}");
            assert_eq!((ours.line(0), ours.line(99)), ("", ""));
        }
    }

    proptest! {
        #[test]
        fn of_any_text(text in "[ab\\r\\n]{0,40}") {
            let ours = Text::from(&*text);
            for (number, line) in (1..).zip(text.lines()) {
                prop_assert_eq!(ours.line(number), line);
            }
        }
    }
}

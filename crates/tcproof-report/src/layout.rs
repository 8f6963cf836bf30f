//! Lays text out in lines that are never wider than the terminal. Everything that reaches a terminal passes
//! [`Screen::clean`], wherever it came from.

use anstyle::{AnsiColor, Style as Ansi};
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::sanitize::{NO_BREAK, ascii, sanitize};

/// How to show something on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns; at least 60 and at most 120 are used.
    pub width: usize,
    /// Whether to colour. Nothing is said by colour alone.
    pub color: bool,
    /// Whether the terminal shows more than ASCII.
    pub unicode: bool,
    /// Everything instead of the worst.
    pub verbose: bool,
    /// One line instead of a screen.
    pub quiet: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 80, color: false, unicode: true, verbose: false, quiet: false }
    }
}

impl Style {
    /// Columns that are used.
    pub(crate) fn columns(&self) -> usize {
        self.width.clamp(60, 120)
    }
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    /// Plain, with commands between backticks.
    Prose,
    Heading,
    Label,
    Command,
    Limiting,
    Near,
    Clear,
}

impl Role {
    fn ansi(self) -> Ansi {
        match self {
            Self::Plain | Self::Prose => Ansi::new(),
            Self::Heading => Ansi::new().bold(),
            Self::Label => Ansi::new().dimmed(),
            Self::Command => AnsiColor::Cyan.on_default(),
            Self::Limiting => AnsiColor::Red.on_default().bold(),
            Self::Near => AnsiColor::Yellow.on_default().bold(),
            Self::Clear => AnsiColor::Green.on_default().bold(),
        }
    }
}

/// A column of fixed width in front of a text.
pub(crate) struct Cell<'a> {
    pub(crate) role: Role,
    pub(crate) text: &'a str,
    pub(crate) width: usize,
}

impl<'a> Cell<'a> {
    pub(crate) fn new(role: Role, text: &'a str, width: usize) -> Self {
        Self { role, text, width }
    }

    /// As many blanks.
    pub(crate) fn blank(width: usize) -> Self {
        Self::new(Role::Plain, "", width)
    }
}

/// The lines so far.
pub(crate) struct Screen<'a> {
    pub(crate) style: &'a Style,
    out: String,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(style: &'a Style) -> Self {
        Self { style, out: String::new() }
    }

    /// The text, which ends with one line break.
    pub(crate) fn finish(mut self) -> String {
        self.out.truncate(self.out.trim_end_matches('\n').len());
        self.out.push('\n');
        self.out
    }

    /// The one place where text becomes harmless and, if need be, ASCII.
    pub(crate) fn clean(&self, text: &str) -> String {
        // A percentage reads badly when it is torn apart.
        let text = sanitize(text).replace(" %", "\u{a0}%");
        if self.style.unicode { text } else { ascii(&text) }
    }

    /// Columns that the text takes on this screen.
    pub(crate) fn width_of(&self, text: &str) -> usize {
        display_width(&self.clean(text))
    }

    /// An empty line, unless the last one is empty.
    pub(crate) fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// A text on lines of its own.
    pub(crate) fn text(&mut self, role: Role, text: &str) {
        self.row(&[], role, text);
    }

    /// Columns, and a text that is wrapped behind them.
    pub(crate) fn row(&mut self, cells: &[Cell<'_>], role: Role, text: &str) {
        let indent: usize = cells.iter().map(|cell| cell.width).sum();
        let text = self.clean(text);
        let mut in_code = false;
        for (number, line) in wrap(&text, self.style.columns().saturating_sub(indent)).iter().enumerate() {
            if number == 0 {
                cells.iter().for_each(|cell| self.cell(cell));
            } else {
                self.out.extend(std::iter::repeat_n(' ', indent));
            }
            self.paint_line(role, line, &mut in_code);
            self.end_line();
        }
    }

    /// A text on one line, however long: for scripts.
    pub(crate) fn unwrapped(&mut self, text: &str) {
        let text = self.clean(text);
        self.paint(Role::Plain, &text);
        self.end_line();
    }

    fn cell(&mut self, cell: &Cell<'_>) {
        let text = fit(&self.clean(cell.text), cell.width);
        let used = display_width(&text);
        self.paint(cell.role, &text);
        self.out.extend(std::iter::repeat_n(' ', cell.width.saturating_sub(used)));
    }

    fn end_line(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
    }

    fn paint_line(&mut self, role: Role, line: &str, in_code: &mut bool) {
        if role != Role::Prose {
            return self.paint(role, line);
        }
        for (number, part) in line.split('`').enumerate() {
            if number > 0 {
                *in_code = !*in_code;
                self.out.push('`');
            }
            self.paint(if *in_code { Role::Command } else { Role::Plain }, part);
        }
    }

    fn paint(&mut self, role: Role, text: &str) {
        let text = text.replace(NO_BREAK, " ");
        let ansi = role.ansi();
        if self.style.color && !ansi.is_plain() && !text.trim().is_empty() {
            self.out.push_str(&format!("{ansi}{text}{ansi:#}"));
        } else {
            self.out.push_str(&text);
        }
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(|line| line.into_owned()).collect()
}

/// As much of the text as fits.
fn fit(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_string();
    }
    wrap(text, width.saturating_sub(1).max(1)).swap_remove(0)
}

/// Keeps the words of the text on one line, where they fit on one.
pub(crate) fn bind(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// A whole number with its thousands apart: `11 842`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut spaced = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            spaced.push(NO_BREAK);
        }
        spaced.push(digit);
    }
    spaced
}

/// `1 socket`, `11 842 sockets`; kept on one line.
pub(crate) fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    bind(&format!("{} {what}{plural}", thousands(n)))
}

/// `a, b, c and 4 more`.
pub(crate) fn few<'a>(items: impl IntoIterator<Item = &'a String>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<&str> = items.by_ref().take(most).map(String::as_str).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A bar of that many columns; never empty for more than nothing, never full for less than all.
pub(crate) fn bar(share: f64, width: usize, unicode: bool) -> String {
    let steps = if unicode { 8 } else { 1 };
    let all = width * steps;
    let lowest = usize::from(share > 0.0);
    let filled = if share >= 1.0 { all } else { ((share * all as f64) as usize).clamp(lowest, all.saturating_sub(1)) };
    let (whole, part) = (filled / steps, filled % steps);
    if unicode {
        let eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        format!("{}{}", "█".repeat(whole), eighths[part])
    } else {
        format!("{}{}", "#".repeat(whole), ".".repeat(width - whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart_from_five_digits_on() {
        for (n, text) in [(0, "0"), (4096, "4096"), (11_842, "11\u{a0}842"), (1_234_567, "1\u{a0}234\u{a0}567")] {
            assert_eq!(thousands(n), text);
        }
        assert_eq!(count(1, "CPU"), "1\u{a0}CPU");
        assert_eq!(count(2, "CPU"), "2\u{a0}CPUs");
    }

    #[test]
    fn a_bar_is_full_only_for_all_and_empty_only_for_nothing() {
        assert_eq!(bar(0.0, 10, true), "");
        assert_eq!(bar(1e-9, 10, true), "▏");
        assert_eq!(bar(0.475, 10, true), "████▊");
        assert_eq!(bar(0.9999, 10, true), "█████████▉");
        assert_eq!(bar(1.0, 10, true), "██████████");
        assert_eq!(bar(7.5, 10, true), "██████████");
        assert_eq!(bar(f64::NAN, 10, true), "");
        assert_eq!(bar(0.475, 10, false), "####......");
        assert_eq!(bar(0.01, 10, false), "#.........");
        assert_eq!(bar(0.999, 5, false), "####.");
    }

    #[test]
    fn long_words_are_broken_and_wide_characters_counted() {
        let style = Style { width: 60, ..Style::default() };
        let mut screen = Screen::new(&style);
        screen.row(&[Cell::new(Role::Label, "日本日本日本", 10)], Role::Plain, &"日".repeat(60));
        let text = screen.finish();
        assert!(text.lines().all(|line| display_width(line) <= 60), "{text}");
        assert_eq!(text.matches('日').count(), 63 - 1, "{text}");
    }
}

//! `tcproof explain`: a limit's page on a terminal, the list of all limits, and both as JSON.

use serde::Serialize;
use tcproof_core::limits::{LIMITS, Limit};
use textwrap::core::display_width;

use crate::Style;
use crate::json::to_text;
use crate::layout::{Cell, Role, Screen, bind};

/// The page of a limit.
pub fn explain(limit: &Limit, style: &Style) -> String {
    let mut source = limit.page();
    if !limit.scenarios.is_empty() {
        source.push_str("\n## Reproduce it\n");
        for scenario in limit.scenarios {
            source.push_str(&format!("- `tcproof lab run {scenario}`\n"));
        }
    }
    page(&source, style)
}

/// Lays out a page: `#` and `##` headings, paragraphs, `-` and `1.` lists, fenced blocks, commands in backticks.
pub fn page(source: &str, style: &Style) -> String {
    let mut screen = Screen::new(style);
    for block in blocks(source) {
        match block {
            Block::Heading(text) => {
                screen.gap();
                screen.text(Role::Heading, &text);
            }
            Block::Gap => screen.gap(),
            Block::Paragraph(text) => {
                let text = keep_commands(&text, style.columns());
                screen.text(Role::Prose, &text);
            }
            Block::Item(marker, text) => {
                let text = keep_commands(&text, style.columns() - marker.len() - 2);
                screen.row(&[Cell::blank(2), Cell::new(Role::Plain, &marker, marker.len())], Role::Prose, &text);
            }
            Block::Verbatim(line) => screen.row(&[Cell::blank(4)], Role::Command, &bind(&line)),
        }
    }
    screen.finish()
}

/// All limits: slug, title, causes.
pub fn list(style: &Style) -> String {
    let mut screen = Screen::new(style);
    let widest = LIMITS.iter().map(|limit| limit.slug.len()).max().unwrap_or(0) + 2;
    for limit in LIMITS {
        screen.row(&[Cell::new(Role::Command, limit.slug, widest)], Role::Heading, limit.title);
        for (slug, means) in limit.causes {
            screen.row(&[Cell::blank(2), Cell::blank(2)], Role::Plain, &format!("{slug}: {means}"));
        }
        screen.gap();
    }
    let more = "One of them: tcproof explain SLUG. There are also tcproof explain knobs, counters, rules and states, and a \
                page for each knob, counter and rule.";
    screen.text(Role::Plain, more);
    screen.finish()
}

/// One line of a story, wrapped and indented.
pub fn line(indent: usize, text: &str, style: &Style) -> String {
    let mut screen = Screen::new(style);
    screen.row(&[Cell::blank(indent)], Role::Plain, text);
    screen.finish()
}

/// A list of other things: a name, what it is, and a sentence below.
pub fn entries<'a>(rows: impl IntoIterator<Item = (&'a str, String, &'a str)>, style: &Style) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let widest = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0) + 2;
    let mut screen = Screen::new(style);
    for (name, what, sentence) in rows {
        screen.row(&[Cell::new(Role::Command, name, widest)], Role::Heading, &what);
        screen.row(&[Cell::blank(4)], Role::Plain, sentence);
    }
    screen.finish()
}

/// The page of a limit as JSON: schema `tcproof/explain/1`.
pub fn explain_json(limit: &Limit) -> String {
    to_text(&Explain {
        schema: SCHEMA,
        limit: Entry::new(limit),
        page: limit.page(),
        reads: limit.reads,
        look_alikes: limit.look_alikes,
        knobs: limit.knobs,
        scenarios: limit.scenarios,
    })
}

/// All limits as JSON: schema `tcproof/explain/1`, with `limits` instead of one.
pub fn list_json() -> String {
    to_text(&List { schema: SCHEMA, limits: LIMITS.iter().map(|limit| Entry::new(limit)).collect() })
}

pub(crate) const SCHEMA: &str = "tcproof/explain/1";

#[derive(Serialize)]
struct Explain {
    schema: &'static str,
    #[serde(flatten)]
    limit: Entry,
    page: String,
    reads: &'static [&'static str],
    look_alikes: &'static [&'static str],
    knobs: &'static [&'static str],
    scenarios: &'static [&'static str],
}

#[derive(Serialize)]
struct List {
    schema: &'static str,
    limits: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    slug: &'static str,
    title: &'static str,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    slug: &'static str,
    means: &'static str,
}

impl Entry {
    fn new(limit: &Limit) -> Self {
        let causes = limit.causes.iter().map(|(slug, means)| Cause { slug, means }).collect();
        Self { slug: limit.slug, title: limit.title, causes }
    }
}

#[derive(Debug, PartialEq)]
enum Block {
    Heading(String),
    Paragraph(String),
    /// Its marker with the space after it, and its text.
    Item(String, String),
    Verbatim(String),
    Gap,
}

fn blocks(source: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut fenced = false;
    for line in source.lines() {
        let text = line.trim();
        if text.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            blocks.push(Block::Verbatim(line.trim_end().to_string()));
        } else if text.is_empty() {
            blocks.push(Block::Gap);
        } else if let Some(heading) = text.strip_prefix("## ").or_else(|| text.strip_prefix("# ")) {
            blocks.push(Block::Heading(heading.to_string()));
        } else if let Some((marker, text)) = item(text) {
            blocks.push(Block::Item(marker, text.to_string()));
        } else if let Some(Block::Paragraph(so_far) | Block::Item(_, so_far)) = blocks.last_mut() {
            // A line goes on with what the line before it began.
            so_far.push(' ');
            so_far.push_str(text);
        } else {
            blocks.push(Block::Paragraph(text.to_string()));
        }
    }
    blocks
}

/// `- text` or `1. text`.
fn item(line: &str) -> Option<(String, &str)> {
    if let Some(text) = line.strip_prefix("- ") {
        return Some(("- ".to_string(), text));
    }
    let (number, text) = line.split_once(". ")?;
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (format!("{number}. "), text))
}

/// Keeps each command between backticks on one line, if it fits on one: a torn command cannot be copied.
fn keep_commands(text: &str, width: usize) -> String {
    let parts: Vec<_> = text.split('`').collect();
    let last = parts.len() - 1;
    let keep = |(at, part): (usize, &&str)| {
        // A command has a backtick on both sides.
        let is_command = at % 2 == 1 && at < last;
        if is_command && display_width(part) + 3 <= width { bind(part) } else { (*part).to_string() }
    };
    parts.iter().enumerate().map(keep).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const PAGE: &str = "# a-limit\n\n## What it is\nThe first line,\nthe second line of one paragraph that is long \
        enough to wrap at sixty columns.\n\nAnother one.\n\n## See it yourself\n- `ss -ltnm`: Recv-Q is the queue, \
        Send-Q the backlog, and\n  `strace -f -e trace=listen,accept4 -p PID` shows the argument of listen.\n\
        - a second item\n1. numbered\n12. twelve\n\n```\nss -tan   state time-wait\n```\nThe end, 100 % of it.\n";

    fn at(width: usize) -> Style {
        Style { width, ..Style::default() }
    }

    #[test]
    fn a_page() {
        insta::assert_snapshot!(page(PAGE, &at(60)));
    }

    #[test]
    fn a_page_in_colour() {
        insta::assert_snapshot!(page(PAGE, &Style { color: true, ..at(60) }).replace('\x1b', "␛"));
    }

    #[test]
    fn every_limit_has_a_page_that_fits() {
        for limit in LIMITS {
            for width in [60, 80, 120] {
                let shown = explain(limit, &at(width));
                assert!(shown.starts_with(limit.slug), "{shown}");
                assert!(shown.lines().all(|line| display_width(line) <= width), "{shown}");
                assert!(!shown.contains("\n## "), "{shown}");
            }
        }
    }

    #[test]
    fn the_list_names_every_limit_and_cause() {
        let shown = list(&Style::default());
        for limit in LIMITS {
            assert!(shown.contains(limit.slug) && shown.contains(limit.title));
            assert!(limit.causes.iter().all(|(cause, _)| shown.contains(cause)), "{shown}");
        }
        assert!(shown.lines().all(|line| display_width(line) <= 80));
    }

    #[test]
    fn both_as_json() {
        let list: Value = serde_json::from_str(&list_json()).unwrap();
        assert_eq!(list["schema"], "tcproof/explain/1");
        assert_eq!(list["limits"].as_array().unwrap().len(), LIMITS.len());
        for limit in LIMITS {
            let one: Value = serde_json::from_str(&explain_json(limit)).unwrap();
            assert_eq!(one["schema"], "tcproof/explain/1");
            assert_eq!(one["slug"], limit.slug);
            assert_eq!(one["page"], limit.page());
            assert_eq!(one["causes"][0]["slug"], limit.causes[0].0);
            assert_eq!(one["knobs"].as_array().unwrap().len(), limit.knobs.len());
            assert!(["title", "reads", "look_alikes", "scenarios"].iter().all(|key| one.get(key).is_some()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_page_fits(source in "([`#. \n1-9-]{0,4}\\PC{0,80}\n?){0,12}", width in 0_usize..200, color in any::<bool>()) {
            let style = at(width);
            for line in page(&source, &style).lines() {
                prop_assert!(display_width(line) <= style.columns(), "{line:?}");
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            // Colour must not panic either.
            let _ = page(&source, &Style { color, ..style });
        }
    }

    #[test]
    fn lines_and_entries_are_harmless_and_fit() {
        let style = Style::default();
        let hostile = format!("{} \u{1b}[2J end", "a sentence that goes on and on ".repeat(5));
        for text in [line(4, &hostile, &style), entries([("name", "limit/cause".into(), &*hostile)], &style)] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains("\\x1b") && !text.contains('\u{1b}'), "{text}");
        }
    }
}

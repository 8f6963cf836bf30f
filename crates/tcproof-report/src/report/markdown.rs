//! A report as Markdown, for a ticket: the same, without the JSON.

use tcproof_core::limits::percent;

use super::Report;
use super::content::{Block, Card, Cell, Chart, Content, Field, Step, Table, content};
use crate::layout::bar;
use crate::sanitize;

/// Columns of a bar.
const BAR: usize = 10;

/// The text.
pub fn markdown(report: &Report<'_>) -> String {
    let Content { verdict, headline, lead, facts, sections, .. } = content(report);
    let mut out = format!("# {}: {}\n\n", verdict.to_uppercase(), shown(&headline));
    if !lead.is_empty() {
        out.push_str(&format!("{}\n\n", shown(&lead)));
    }
    let facts: Vec<_> = facts.iter().map(|(label, text)| format!("{label}: {}", shown(text))).collect();
    out.push_str(&format!("{}\n", facts.join(" · ")));
    for section in &sections {
        // Most places for tickets fold this, and the others show it as it is.
        let (before, after) = match section.folded {
            true => (format!("\n<details><summary>{}</summary>\n", section.title), "\n</details>\n"),
            false => (format!("\n## {}\n", section.title), ""),
        };
        out.push_str(&before);
        for one in &section.blocks {
            out.push('\n');
            block(&mut out, one);
        }
        out.push_str(after);
    }
    out
}

fn block(out: &mut String, block: &Block) {
    match block {
        Block::Text(text) => out.push_str(&format!("{}\n", shown(text))),
        Block::List(lines) => lines.iter().for_each(|line| out.push_str(&format!("- {}\n", shown(line)))),
        Block::Card(one) => card(out, one),
        Block::Table(one) => table(out, one),
    }
}

fn card(out: &mut String, card: &Card) {
    let word = if card.word.is_empty() { String::new() } else { format!("{}: ", card.word.to_uppercase()) };
    out.push_str(&format!("### {word}{}\n\n", shown(&card.title)));
    for (label, value) in &card.fields {
        match value {
            Field::Text(text) => out.push_str(&format!("- **{label}** {}\n", shown(text))),
            Field::Code(text) => out.push_str(&format!("- **{label}** {}\n", code(text))),
            Field::List(lines) => {
                out.push_str(&format!("- **{label}**\n"));
                lines.iter().for_each(|line| out.push_str(&format!("  - {}\n", shown(line))));
            }
            Field::Steps(steps) => {
                out.push_str(&format!("- **{label}**\n"));
                (1..).zip(steps).for_each(|(number, one)| step(out, number, one));
            }
        }
    }
    if let Some(one) = &card.table {
        out.push('\n');
        table(out, one);
    }
}

fn step(out: &mut String, number: usize, step: &Step) {
    out.push_str(&format!("  {number}. {} ({})\n", shown(&step.text), step.who));
    if let Some(change) = &step.change {
        out.push_str(&format!("     - {}\n", code(change)));
    }
    for (label, text) in &step.notes {
        out.push_str(&format!("     - {label}: {}\n", shown(text)));
    }
}

fn table(out: &mut String, table: &Table) {
    out.push_str(&format!("**{}**\n\n", shown(&table.caption)));
    let titles: Vec<_> = table.columns.iter().map(|column| column.title).collect();
    let rule: Vec<_> = table.columns.iter().map(|column| if column.number { "--:" } else { "---" }).collect();
    out.push_str(&format!("| {} |\n| {} |\n", titles.join(" | "), rule.join(" | ")));
    for row in &table.rows {
        let cells: Vec<_> = row.iter().map(cell).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

fn cell(cell: &Cell) -> String {
    let mut parts = Vec::new();
    parts.extend(cell.badge.map(|(_, word)| word.to_string()));
    if let Some(Chart::Share(share, _)) = cell.chart {
        let bar = bar(share, BAR, true);
        debug_assert!(percent(share) == 0 || !bar.is_empty());
        parts.extend((!bar.is_empty()).then_some(bar));
    }
    let lines = cell.lines.iter().enumerate();
    parts.extend(lines.map(|(at, line)| if at == 0 && cell.code { code(line) } else { shown(line) }));
    parts.join("<br>")
}

/// Words from anywhere, with what means something in Markdown or HTML made visible.
fn shown(text: &str) -> String {
    let text = sanitize(text).replace('\u{a0}', " ");
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            // A name of the kernel's is readable: within a word it begins no emphasis.
            '_' if before.is_alphanumeric() && rest.peek().is_some_and(|c| c.is_alphanumeric()) => shown.push('_'),
            // An address that would become a link.
            ':' if rest.peek() == Some(&'/') => shown.push_str("\\:"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => shown.extend(['\\', c]),
            c => shown.push(c),
        }
        before = c;
    }
    shown
}

/// As code, where Markdown's own signs mean nothing: only the fence and a table's border must not be in it.
fn code(text: &str) -> String {
    let text = sanitize(text).replace('\u{a0}', " ");
    if text.contains(['`', '|', '\\']) || text.trim() != text || text.is_empty() {
        shown(&text)
    } else {
        format!("`{text}`")
    }
}

//! The report on a terminal: per file, each line with its mark, the reason, and the line as it should be.

use tcproof_core::lint::{Finding, Report, Severity, Span, Tree};
use textwrap::core::display_width;

use crate::Style;
use crate::layout::{Cell, Role, Screen, bind, count};

/// Columns before a finding's text.
const INDENT: usize = 7;

/// The report. Notes are counted, and shown with `-v` or where there is nothing worse.
pub fn text(tree: &Tree, report: &Report, style: &Style) -> String {
    let mut screen = Screen::new(style);
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    let shows_notes = style.verbose || worst == Some(Severity::Note);
    if !style.quiet {
        let mut shown = None;
        for finding in report.findings.iter().filter(|finding| shows_notes || finding.severity > Severity::Note) {
            if shown != Some(finding.file) {
                screen.gap();
                screen.text(Role::Heading, &tree.files[finding.file].path);
                shown = Some(finding.file);
            }
            show(&mut screen, tree, finding);
        }
        screen.gap();
        for (path, why) in &report.unread {
            let why = why.to_string();
            // Most reasons name the file themselves.
            let line = if why.contains(path) { why } else { format!("{path}: {why}") };
            screen.row(&[Cell::new(Role::Near, "not read", INDENT + 3)], Role::Plain, &line);
        }
    }
    screen.text(verdict(worst), &summary(tree, report, shows_notes));
    if let Some(first) =
        report.findings.iter().max_by_key(|it| (it.severity, std::cmp::Reverse(it.at))).filter(|_| !style.quiet)
    {
        let key = first.key.as_deref().filter(|key| tcproof_core::knobs::by_key(key).is_some());
        let knob = key.map(|key| format!(", or of the knob: tcproof explain {key}")).unwrap_or_default();
        screen.text(Role::Label, &format!("The page of the rule: tcproof explain {}{knob}", first.rule));
    }
    screen.finish()
}

fn role(severity: Severity) -> Role {
    match severity {
        Severity::Error => Role::Limiting,
        Severity::Warning => Role::Near,
        Severity::Note => Role::Label,
    }
}

fn verdict(worst: Option<Severity>) -> Role {
    worst.map_or(Role::Clear, role)
}

fn summary(tree: &Tree, report: &Report, shows_notes: bool) -> String {
    let read = tree.files.iter().filter(|file| file.unread.is_none());
    let (files, settings) = read.fold((0, 0), |(files, settings), file| (files + 1, settings + file.settings.len()));
    let levels = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let found: Vec<_> = levels
        .iter()
        .map(|(severity, name)| (report.count(*severity) as u64, name))
        .filter(|(n, _)| *n > 0)
        .map(|(n, name)| count(n, name))
        .collect();
    let found = if found.is_empty() { "nothing wrong".into() } else { found.join(", ") };
    let mut summary = format!(
        "{found}: {} in {}, for Linux {}",
        count(settings as u64, "setting"),
        count(files, "file"),
        tree.machine.kernel
    );
    if report.allowed > 0 {
        summary += &format!("; {} allowed", report.allowed);
    }
    if !shows_notes && report.count(Severity::Note) > 0 {
        summary += "; notes with -v";
    }
    summary
}

fn show(screen: &mut Screen<'_>, tree: &Tree, finding: &Finding) {
    let file = &tree.files[finding.file];
    let place = format!("{}:{}", finding.at.line, finding.at.column);
    let key = finding.key.as_ref().map(|key| format!("{key}  ")).unwrap_or_default();
    let name = finding.severity.name();
    screen.row(
        &[Cell::new(Role::Label, &place, INDENT.max(place.len() + 1)), Cell::new(role(finding.severity), name, 9)],
        Role::Heading,
        &format!("{key}{}", finding.rule),
    );
    let (line, at) = shown(screen, file.line(finding.at.line), finding.at);
    let (line, mark) = excerpt(&line, at, screen.style.columns() - INDENT - 2);
    screen.row(&[Cell::blank(INDENT), Cell::new(Role::Label, "|", 2)], Role::Plain, &bind(&line));
    screen.row(&[Cell::blank(INDENT), Cell::new(Role::Label, "|", 2)], role(finding.severity), &bind(&mark));
    screen.row(&[Cell::blank(INDENT)], Role::Plain, &finding.message);
    if let Some(correction) = &finding.correction {
        let safe = if correction.is_safe { "  (--fix does it)" } else { "" };
        let cells = [Cell::blank(INDENT), Cell::new(Role::Label, "do", 4)];
        if correction.line == file.line_off(finding.at) {
            screen.row(&cells, Role::Plain, &format!("take the line out{safe}"));
        } else {
            screen.row(&cells, Role::Command, &format!("{}{safe}", correction.line.trim()));
        }
    }
    screen.gap();
}

/// A line as it can be shown, where what is made harmless takes more columns, and where its part then stands.
fn shown(screen: &Screen<'_>, line: &str, at: Span) -> (String, Span) {
    let byte = |column: u32| line.char_indices().nth(column as usize - 1).map_or(line.len(), |(byte, _)| byte);
    let (from, to) = (byte(at.column), byte(at.end));
    let parts = [&line[..from], &line[from..to], &line[to..]].map(|part| screen.clean(&part.replace('\t', " ")));
    let column = |parts: &[String]| parts.iter().map(|part| part.chars().count() as u32).sum::<u32>() + 1;
    (parts.concat(), Span { column: column(&parts[..1]), end: column(&parts[..2]), ..at })
}

/// A line and the marks below a part of it, cut to the columns there are. The part's beginning is always shown.
fn excerpt(line: &str, at: Span, columns: usize) -> (String, String) {
    let chars: Vec<char> = line.trim_end().chars().collect();
    let start = (at.column as usize - 1).min(chars.len());
    let end = (at.end as usize - 1).clamp(start, chars.len());
    let from = if end <= columns { 0 } else { start.saturating_sub(columns / 4).min(start) };
    let mut shown = String::new();
    for c in &chars[from..] {
        if display_width(&shown) + display_width(c.encode_utf8(&mut [0; 4])) > columns {
            break;
        }
        shown.push(*c);
    }
    let width = |from: usize, to: usize| display_width(&chars[from..to].iter().collect::<String>());
    let before = width(from, start);
    let marks = width(start, end).max(1).min(columns.saturating_sub(before).max(1));
    (shown, " ".repeat(before) + &"^".repeat(marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_part_is_always_shown() {
        let line = format!("{} = {}", "k".repeat(50), "v".repeat(200));
        let (shown, mark) = excerpt(&line, Span { line: 1, column: 54, end: 254 }, 60);
        assert!(display_width(&shown) <= 60 && mark.len() <= 60, "{shown}\n{mark}");
        assert!(shown.contains('v') && mark.trim_start().len() > 20);
        assert_eq!(excerpt("a = b", Span { line: 1, column: 5, end: 6 }, 60), ("a = b".into(), "    ^".into()));
        assert_eq!(excerpt("", Span { line: 1, column: 9, end: 2 }, 60), (String::new(), "^".into()));
    }
}

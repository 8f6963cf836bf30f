//! What is on the screen: made anew whenever the state changes, so that drawing and clicking agree on it.

use tcproof_report::text;

use super::keys::keys;
use super::{App, What};
use crate::detail;
use crate::draw::{graph_rows, layout};
use crate::panes::{Pane, Table, headroom};

/// Rows of the headroom beside the verdict.
const BESIDE: usize = 200;

/// What is shown: a table, or lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) table: Option<Table>,
    pub(crate) lines: Vec<Line>,
    /// In the verdict, the lines at which the findings begin.
    pub(crate) findings: Vec<usize>,
    /// The headroom beside the verdict, where there is room for it.
    pub(crate) beside: Option<Table>,
    /// The history that is drawn above the lines, by its name.
    pub(crate) graph: Option<Graph>,
}

/// A history that is drawn large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Graph {
    /// Of [`crate::seen::Past::shares`].
    Shares(String),
    /// Of [`crate::seen::Past::counters`].
    Rates(String),
}

/// A line of text.
pub(crate) type Line = Vec<Span>;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// How a piece of text looks. What it means is in its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Heading,
    Label,
    Command,
    Limiting,
    Near,
    Clear,
}

impl App {
    /// Makes what is shown from the state, and keeps the place in it within it.
    pub(super) fn refresh(&mut self) {
        self.shown = self.show_now();
        let body = layout(self.size.0, self.size.1).body;
        let height = usize::from(body.height);
        if let Some(page) = self.pages.last_mut() {
            let lines = self.shown.lines.len();
            let graph = self.shown.graph.as_ref().map_or(0, |_| usize::from(graph_rows(body.height)));
            // What the graph hides is seen once it is scrolled away.
            let last = lines.saturating_sub(height).max(usize::from(graph > 0 && lines + graph > height));
            page.top = page.top.min(last);
            return;
        }
        let place = &mut self.places[self.pane.at()];
        if let Some(table) = &self.shown.table {
            let rows = &table.rows;
            let found = (!place.moved).then(|| rows.iter().position(|row| row.id == place.id)).flatten();
            place.row = found.unwrap_or(place.row).min(rows.len().saturating_sub(1));
            place.id = rows.get(place.row).map(|row| row.id.clone()).unwrap_or_default();
            // One line is the heads of the columns.
            keep_in_sight(&mut place.top, place.row, height.saturating_sub(1), rows.len());
        } else {
            let findings = &self.shown.findings;
            place.row = place.row.min(findings.len().saturating_sub(1));
            if let Some(line) = findings.get(place.row).filter(|_| place.moved) {
                place.top = *line;
            }
            place.top = place.top.min(self.shown.lines.len().saturating_sub(height));
        }
        place.moved = false;
    }

    fn show_now(&self) -> Shown {
        let style = self.style();
        let Some(page) = self.pages.last() else { return self.show_pane() };
        let seen = self.seen.as_ref();
        let gone = || "it is gone, or was not seen in this window (Esc goes back)\n".to_string();
        let graph = match &page.what {
            What::Row(Pane::Headroom, id) => Some(Graph::Shares(id.clone())),
            What::Row(Pane::Counters, id) => Some(Graph::Rates(id.clone())),
            _ => None,
        };
        let text = match &page.what {
            What::Row(pane, id) => seen.and_then(|seen| detail::of(*pane, id, seen, &style)).unwrap_or_else(gone),
            What::Topic(topic) => detail::explain(topic, seen, &style).unwrap_or_else(|why| why),
            What::Plan => seen.map_or_else(gone, |seen| detail::plan_of(seen, &style)),
            What::Keys => {
                let keys = keys(self.look);
                let rows: Vec<_> = keys.iter().map(|(key, does)| (key.as_str(), does.clone())).collect();
                tcproof_report::top::facts("keys", &rows, &style)
            }
        };
        Shown { lines: lines(&text), graph, ..Shown::default() }
    }

    fn show_pane(&self) -> Shown {
        let Some(seen) = &self.seen else {
            let text = match self.replay {
                Some(_) => "reading the recording".to_string(),
                None => "watching: what the first second shows is here when it is over".to_string(),
            };
            return Shown { lines: lines(&text), ..Shown::default() };
        };
        if let Some(table) = self.pane.table(seen, self.past()) {
            let place = self.place();
            let table = table.cleaned(self.look).filtered(&place.filter).sorted(place.sort, place.backwards);
            return Shown { table: Some(table), ..Shown::default() };
        }
        let lines = lines(&text::check(&seen.diagnosis, &self.style()));
        let findings = headings(&lines, seen.diagnosis.findings.len());
        let beside = crate::draw::beside(self.size.0).then(|| headroom::table(seen, BESIDE).cleaned(self.look));
        Shown { lines, findings, beside, ..Shown::default() }
    }
}

/// Moves the first row that is shown so that the chosen one is among them, and no row's place is left empty.
fn keep_in_sight(top: &mut usize, row: usize, height: usize, rows: usize) {
    *top = (*top).min(row).max((row + 1).saturating_sub(height.max(1))).min(rows.saturating_sub(height));
}

/// The lines at which findings begin. Nothing else stands so far left with such a word: the rest of a finding is
/// indented, and the first line is the host's.
fn headings(lines: &[Line], most: usize) -> Vec<usize> {
    let is_heading = |line: &Line| {
        let word = line.first().map(|span| span.text.trim_end());
        matches!(word, Some("LIMITING" | "NEAR"))
    };
    (1..lines.len()).filter(|at| is_heading(&lines[*at])).take(most).collect()
}

/// Takes apart what the report coloured. No escape in it came from the host: that is the report's own promise.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut tone = Tone::Plain;
    let line = |line: &str| {
        let mut spans: Line = Vec::new();
        let mut parts = line.split("\x1b[");
        let mut push = |text: &str, tone: Tone| {
            if !text.is_empty() {
                spans.push(Span { text: text.to_string(), tone });
            }
        };
        push(parts.next().unwrap_or_default(), tone);
        for part in parts {
            let (codes, text) = part.split_once('m').unwrap_or((part, ""));
            tone = codes.split(';').fold(tone, with_code);
            push(text, tone);
        }
        spans
    };
    text.lines().map(line).collect()
}

/// The roles of the report, by how it paints them.
fn with_code(tone: Tone, code: &str) -> Tone {
    match code {
        "1" if tone == Tone::Plain => Tone::Heading,
        "1" => tone,
        "2" => Tone::Label,
        "31" => Tone::Limiting,
        "32" => Tone::Clear,
        "33" => Tone::Near,
        "36" => Tone::Command,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use tcproof_report::{Style, page};

    use super::*;

    #[test]
    fn what_the_report_paints_is_taken_apart_and_nothing_is_lost() {
        let style = Style { color: true, ..Style::default() };
        let limit = tcproof_core::limits::Limit::by_slug("accept-queue").unwrap();
        let shown = lines(&page::explain(limit, &style));
        let plain: Vec<String> =
            shown.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect()).collect();
        let expected = page::explain(limit, &Style::default());
        assert_eq!(plain, expected.lines().collect::<Vec<_>>());
        assert!(shown.iter().flatten().any(|span| span.tone == Tone::Command));
        assert!(shown.iter().flatten().any(|span| span.tone == Tone::Heading));
        let red = anstyle_like("\x1b[1m\x1b[31mLIMITING\x1b[0m  accept");
        assert_eq!(red, [("LIMITING", Tone::Limiting), ("  accept", Tone::Plain)]);
    }

    fn anstyle_like(text: &str) -> Vec<(&'static str, Tone)> {
        lines(text).remove(0).into_iter().map(|span| (&*span.text.leak(), span.tone)).collect()
    }

    #[test]
    fn the_chosen_row_is_in_sight_and_no_place_stays_empty() {
        for (top, row, height, rows, wanted) in [
            (0, 0, 10, 5, 0),
            (0, 12, 10, 20, 3),
            (15, 12, 10, 20, 10),
            (5, 7, 10, 20, 5),
            (9, 3, 10, 4, 0),
            (3, 3, 0, 4, 3),
        ] {
            let mut moved = top;
            keep_in_sight(&mut moved, row, height, rows);
            assert_eq!(moved, wanted, "{top} {row} {height} {rows}");
        }
    }
}

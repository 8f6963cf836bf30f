//! Tables: as many columns as there is room for, the chosen row, a mark where something is found.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::{Draw, graph, state_of, text_columns};
use crate::app::Tone;
use crate::panes::{Cell, Column, Table};

/// Columns between two columns.
const GAP: u16 = 2;
/// Columns for the marks in front.
const MARKS: u16 = 2;
/// Columns of a gauge.
const GAUGE: u16 = 10;
/// Columns of a history at least.
const HISTORY: u16 = 12;
/// Columns of a text that has to give way, at least.
const NARROW: u16 = 12;

impl Draw<'_> {
    /// The table from a row on. What it is sorted by is told with its column.
    pub(super) fn table(
        &mut self,
        area: Rect,
        table: &Table,
        top: usize,
        chosen: Option<usize>,
        sort: Option<(usize, bool)>,
    ) {
        if area.height < 2 {
            return;
        }
        if table.rows.is_empty() {
            let text = crate::panes::clean(&table.empty, self.look);
            self.put_cut(area.x, area.y + 1, area.width, &text, Style::new());
            return;
        }
        let visible = &table.rows[top.min(table.rows.len())..];
        let visible = &visible[..visible.len().min(usize::from(area.height) - 1)];
        let natural = |at: usize| {
            let cells = visible.iter().filter_map(|row| row.cells.get(at)).map(columns_of);
            match cells.max().unwrap_or(0) {
                // Nothing stands in it.
                0 if table.columns[at].spare > 0 => 0,
                widest => widest.max(text_columns(&head(&table.columns[at], at, sort, true))),
            }
        };
        let natural: Vec<u16> =
            (0..table.columns.len()).map(|at| u16::try_from(natural(at)).unwrap_or(u16::MAX)).collect();
        let widths = widths(table.columns, &natural, area.width.saturating_sub(MARKS));
        let mut x = area.x + MARKS;
        for (at, width) in widths.iter().enumerate().filter(|(_, width)| **width > 0) {
            let column = &table.columns[at];
            let text = head(column, at, sort, self.look.unicode);
            let style = self.style(if sort.is_some_and(|(by, _)| by == at) { Tone::Heading } else { Tone::Label });
            match column.is_number {
                true => self.put_right(x + width, area.y, &text, style),
                false => drop(self.put_cut(x, area.y, *width, &text, style)),
            }
            x += width + GAP;
        }
        for (y, (number, row)) in (area.y + 1..area.bottom()).zip((top..).zip(visible)) {
            let (mark, tone) = state_of(row.state);
            self.put(area.x + 1, y, 1, mark, self.style(tone));
            let mut x = area.x + MARKS;
            for ((cell, column), width) in row.cells.iter().zip(table.columns).zip(&widths) {
                if *width > 0 {
                    self.cell(x, y, *width, cell, column, tone);
                    x += width + GAP;
                }
            }
            if chosen == Some(number) {
                let row = Rect { x: area.x, y, width: area.width, height: 1 };
                self.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
                let pointer = if self.look.unicode { "▸" } else { ">" };
                self.put(area.x, y, 1, pointer, Style::new());
            }
        }
    }

    fn cell(&mut self, x: u16, y: u16, width: u16, cell: &Cell, column: &Column, tone: Tone) {
        let columns = usize::from(width);
        match cell {
            Cell::Text(text) => {
                self.put_cut(x, y, width, text, self.style(Tone::Plain));
            }
            Cell::Number(text, _) if column.is_number => {
                // A number that was cut would be another one.
                let text = if text_columns(text) > columns { "…" } else { text };
                let text = if self.look.unicode { text } else { &text.replace('…', "~") };
                self.put_right(x + width, y, text, self.style(Tone::Plain));
            }
            Cell::Number(text, _) => {
                self.put_cut(x, y, width, text, self.style(Tone::Plain));
            }
            Cell::Gauge(share) => {
                let bar = graph::bar(*share, columns, self.look.unicode);
                let tone = if tone == Tone::Plain { Tone::Command } else { tone };
                self.put(x, y, width, &bar, self.style(tone));
            }
            Cell::Shares(name) => self.history(x, y, columns, self.app.past().shares.of(name), 1.0),
            Cell::Rates(name) => {
                let values = self.app.past().counters.of(name);
                self.history(x, y, columns, values, graph::largest(values));
            }
        }
    }

    fn history(&mut self, x: u16, y: u16, columns: usize, values: &[f32], most: f32) {
        let style = self.style(Tone::Command);
        for row in graph::graph(values, most, (columns, 1), self.look.unicode) {
            self.put(x, y, u16::try_from(columns).unwrap_or(u16::MAX), &row, style);
        }
    }
}

/// A column's head, with the way in which it is sorted.
fn head(column: &Column, at: usize, sort: Option<(usize, bool)>, unicode: bool) -> String {
    let arrow = match sort.filter(|(by, _)| *by == at) {
        None => "",
        Some((_, false)) if unicode => " ↓",
        Some((_, true)) if unicode => " ↑",
        Some((_, false)) => " v",
        Some((_, true)) => " ^",
    };
    format!("{}{arrow}", column.name)
}

fn columns_of(cell: &Cell) -> usize {
    match cell {
        Cell::Text(text) | Cell::Number(text, _) => text_columns(text),
        Cell::Gauge(_) => GAUGE.into(),
        Cell::Shares(_) | Cell::Rates(_) => HISTORY.into(),
    }
}

/// The width of each column; 0 for those that there is no room for.
fn widths(columns: &[Column], natural: &[u16], room: u16) -> Vec<u16> {
    let mut widths: Vec<u16> =
        columns.iter().zip(natural).map(|(column, natural)| (*natural).min(column.most)).collect();
    let taken = |widths: &[u16]| -> u16 {
        let used = widths.iter().filter(|width| **width > 0);
        used.fold(0, |sum: u16, width| sum.saturating_add(width.saturating_add(GAP))).saturating_sub(GAP)
    };
    // The last text takes what is left; it may be narrow, and the others may be cut a good deal before a column goes.
    let flexible = columns.iter().rposition(|column| column.most == u16::MAX);
    let least = |widths: &[u16]| {
        let cut = |(at, width): (usize, &u16)| match columns[at] {
            Column { is_number: false, most, .. } if Some(at) != flexible => (*width).min(NARROW.max(most / 3)),
            Column { is_number: false, .. } => (*width).min(NARROW),
            _ => *width,
        };
        taken(&widths.iter().enumerate().map(cut).collect::<Vec<_>>())
    };
    while least(&widths) > room {
        let spare = (0..columns.len()).filter(|at| widths[*at] > 0 && columns[*at].spare > 0);
        match spare.max_by_key(|at| columns[*at].spare) {
            Some(at) => widths[at] = 0,
            None => break,
        }
    }
    // The last text gives way first, then those that may be the widest, then whatever is.
    if let Some(at) = flexible {
        let over = taken(&widths).saturating_sub(room);
        widths[at] = widths[at].saturating_sub(over).max(widths[at].min(NARROW));
    }
    while taken(&widths) > room {
        let texts = (0..columns.len()).filter(|at| !columns[*at].is_number && widths[*at] > 1);
        let rank = |at: &usize| (if widths[*at] > NARROW { columns[*at].most } else { 0 }, widths[*at]);
        let Some(widest) = texts.max_by_key(rank) else { break };
        widths[widest] -= 1;
    }
    if let Some(at) = flexible.filter(|at| widths[*at] > 0) {
        widths[at] += room.saturating_sub(taken(&widths));
    }
    // What still has no room is cut off at the edge.
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panes::Pane;

    static COLUMNS: &[Column] = &[
        Column { name: "a", is_number: false, most: 20, sorts: true, spare: 0 },
        Column { name: "b", is_number: true, most: 24, sorts: true, spare: 2 },
        Column { name: "c", is_number: true, most: 24, sorts: true, spare: 1 },
        Column { name: "d", is_number: false, most: u16::MAX, sorts: true, spare: 0 },
    ];

    #[test]
    fn columns_go_in_their_order_and_the_last_takes_what_is_left() {
        for (room, wanted) in [
            (100, vec![20, 5, 6, 63]),
            (60, vec![20, 5, 6, 23]),
            (45, vec![16, 5, 6, 12]),
            (40, vec![18, 0, 6, 12]),
            (30, vec![16, 0, 0, 12]),
            (20, vec![9, 0, 0, 9]),
        ] {
            assert_eq!(widths(COLUMNS, &[30, 5, 6, 50], room), wanted, "{room}");
        }
    }

    #[test]
    fn every_pane_has_columns_that_stay() {
        let seen = crate::seen::Seen::new(crate::examples::second(0).interval, 0);
        let past = crate::seen::Past::default();
        for table in Pane::ALL.iter().filter_map(|pane| pane.table(&seen, &past)) {
            assert!(table.columns.iter().any(|column| column.spare == 0));
            assert!(table.rows.iter().all(|row| row.cells.len() == table.columns.len()));
        }
    }
}

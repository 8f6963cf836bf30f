//! The panes, and the tables that most of them are: rows of cells that can be sorted, filtered and opened.

mod counters;
mod destinations;
pub(crate) mod flows;
pub(crate) mod headroom;
pub(crate) mod listeners;
mod path;

use std::cmp::Ordering;

use tcproof_core::{Owner, State};
use tcproof_report::{ascii, sanitize, thousands};

use crate::app::Look;
use crate::seen::{Past, Seen};

/// What can be shown, in the order of the tabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// What `check` prints.
    Verdict,
    /// Used and capacity of each limit.
    Headroom,
    /// Listening sockets.
    Listeners,
    /// Where this host connects to, and the ports that takes.
    Destinations,
    /// Connections, and what holds each back.
    Flows,
    /// The packet path, stage by stage.
    Path,
    /// The kernel's counters that move.
    Counters,
}

impl Pane {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Verdict, Self::Headroom, Self::Listeners, Self::Destinations, Self::Flows, Self::Path, Self::Counters];

    /// Its name, on its tab and as a command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "Verdict",
            Self::Headroom => "Headroom",
            Self::Listeners => "Listeners",
            Self::Destinations => "Destinations",
            Self::Flows => "Flows",
            Self::Path => "Path",
            Self::Counters => "Counters",
        }
    }

    pub(crate) fn at(self) -> usize {
        self as usize
    }

    /// So many further on, from the last to the first again.
    pub(crate) fn further(self, by: usize) -> Self {
        Self::ALL[(self.at() + by) % Self::ALL.len()]
    }

    /// What it shows; none for the one that is text.
    pub(crate) fn table(self, seen: &Seen, past: &Past) -> Option<Table> {
        Some(match self {
            Self::Verdict => return None,
            Self::Headroom => headroom::table(seen, usize::MAX),
            Self::Listeners => listeners::table(seen),
            Self::Destinations => destinations::table(seen),
            Self::Flows => flows::table(seen),
            Self::Path => path::table(seen),
            Self::Counters => counters::table(seen, past),
        })
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Row>,
    /// Why there is no row.
    pub(crate) empty: String,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Numbers stand at the right.
    pub(crate) is_number: bool,
    /// Columns that it takes at most; what is left over goes to the last one that has no such bound.
    pub(crate) most: u16,
    /// Whether rows can be sorted by it.
    pub(crate) sorts: bool,
    /// Which columns go first where there is not enough room; 0 for those that stay.
    pub(crate) spare: u8,
}

impl Column {
    const fn text(name: &'static str, most: u16) -> Self {
        Self { name, is_number: false, most, sorts: true, spare: 0 }
    }

    const fn number(name: &'static str) -> Self {
        Self { name, is_number: true, most: 24, sorts: true, spare: 0 }
    }

    const fn graph(most: u16) -> Self {
        Self { name: "last minutes", is_number: false, most, sorts: false, spare: 0 }
    }

    /// The higher, the earlier it goes.
    const fn spare(self, spare: u8) -> Self {
        Self { spare, ..self }
    }
}

/// A row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// What it is, from one window to the next.
    pub(crate) id: String,
    /// Whether something is found about it.
    pub(crate) state: Option<State>,
    pub(crate) cells: Vec<Cell>,
    /// What `explain` takes.
    pub(crate) topic: Option<String>,
}

/// A cell.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A number as it is shown, and as it is sorted.
    Number(String, f64),
    /// A share of a whole.
    Gauge(f64),
    /// The last minutes: of [`Past::shares`] by name, from nothing to everything.
    Shares(String),
    /// The same of [`Past::counters`], up to the largest of them.
    Rates(String),
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn count(n: u64) -> Self {
        Self::Number(thousands(n), n as f64)
    }

    /// It could not be read; behind all others.
    fn unknown() -> Self {
        Self::Number("?".into(), -1.0)
    }

    /// What is told apart when it is sorted by, largest first for numbers.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => b.number().total_cmp(&a.number()),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Text(_) | Self::Shares(_) | Self::Rates(_) => f64::NEG_INFINITY,
            Self::Number(_, n) | Self::Gauge(n) => *n,
        }
    }
}

impl Table {
    /// Harmless, and ASCII where it has to be: names and addresses come from the host.
    pub(crate) fn cleaned(mut self, look: Look) -> Self {
        for row in &mut self.rows {
            for cell in &mut row.cells {
                if let Cell::Text(text) | Cell::Number(text, _) = cell {
                    *text = clean(text, look);
                }
            }
        }
        self.empty = clean(&self.empty, look);
        self
    }

    /// Those rows that have the text somewhere in them, whatever its case.
    pub(crate) fn filtered(mut self, filter: &str) -> Self {
        let wanted = filter.to_lowercase();
        if !wanted.is_empty() {
            let has = |cell: &Cell| match cell {
                Cell::Text(text) | Cell::Number(text, _) => text.to_lowercase().contains(&wanted),
                _ => false,
            };
            let all = self.rows.len();
            self.rows.retain(|row| row.cells.iter().any(has));
            if self.rows.is_empty() && all > 0 {
                self.empty = format!("nothing of {all} has \"{filter}\" in it (Esc shows all)");
            }
        }
        self
    }

    /// By that column; rows that are equal there stay as they were.
    pub(crate) fn sorted(mut self, column: Option<usize>, backwards: bool) -> Self {
        if let Some(column) = column {
            self.rows.sort_by(|a, b| match (a.cells.get(column), b.cells.get(column)) {
                (Some(a), Some(b)) => a.order(b),
                _ => Ordering::Equal,
            });
        }
        if backwards {
            self.rows.reverse();
        }
        self
    }
}

/// A text that may be shown.
pub(crate) fn clean(text: &str, look: Look) -> String {
    let text = sanitize(text);
    let text = if look.unicode { text.into_owned() } else { ascii(&text) };
    text.replace('\u{a0}', " ")
}

/// `nginx 26551, docker 17268cf44414 and 1 more`
fn owner(owners: &[Owner]) -> String {
    let Some(first) = owners.first() else { return String::new() };
    let within = first.unit.as_ref().map(|unit| format!(", {unit}")).unwrap_or_default();
    let more = match owners.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    format!("{} {}{within}{more}", first.comm, first.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row =
            |id: &str, n: u64| Row { id: id.into(), cells: vec![Cell::text(id), Cell::count(n)], ..Row::default() };
        Table { rows: vec![row("b", 70_000), row("A", 5), row("c", 5)], ..Table::default() }
    }

    fn ids(table: &Table) -> String {
        table.rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn rows_are_sorted_numbers_largest_first_and_filtered_by_what_is_shown() {
        assert_eq!(ids(&table().sorted(None, false)), "bAc");
        assert_eq!(ids(&table().sorted(Some(0), false)), "Abc");
        assert_eq!(ids(&table().sorted(Some(1), false)), "bAc");
        assert_eq!(ids(&table().sorted(Some(1), true)), "cAb");
        assert_eq!(ids(&table().sorted(Some(9), false)), "bAc");
        assert_eq!(ids(&table().filtered("a")), "A");
        let cleaned = table().cleaned(Look { unicode: true, color: true });
        assert_eq!(ids(&cleaned.filtered("70 0")), "b");
        let none = table().filtered("zz");
        assert_eq!((none.rows.len(), &*none.empty), (0, "nothing of 3 has \"zz\" in it (Esc shows all)"));
    }

    #[test]
    fn a_name_from_the_host_is_made_harmless() {
        let look = |unicode| Look { unicode, color: true };
        assert_eq!(clean("a\x1b[2J→", look(true)), "a\\x1b[2J→");
        assert_eq!(clean("a\u{202e}→b\u{a0}c", look(false)), "a\\u{202e}->b c");
    }

    #[test]
    fn the_tabs_go_round() {
        assert_eq!(Pane::Counters.further(1), Pane::Verdict);
        assert_eq!(Pane::Verdict.further(Pane::ALL.len() - 1), Pane::Counters);
        assert!(Pane::ALL.iter().enumerate().all(|(at, pane)| pane.at() == at));
    }
}

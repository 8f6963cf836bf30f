//! The packet path: what each stage passed, dropped and delayed in the window.

use tcproof_core::State;
use tcproof_core::path::{Count, Stage, stages};
use tcproof_report::path::word;

use super::{Cell, Column, Row, Table};
use crate::seen::Seen;

static COLUMNS: &[Column] = &[
    Column::text("stage", 40),
    Column::text("", 8),
    Column::number("passed").spare(1),
    Column::number("dropped"),
    Column::number("delayed").spare(2),
    Column::text("mostly", u16::MAX),
];

pub(super) fn table(seen: &Seen) -> Table {
    let rows = stages(&seen.interval).into_iter().map(|stage| {
        let sum = |counts: &[Count]| counts.iter().fold(0_u64, |sum, count| sum.saturating_add(count.value));
        // One counter stands for what passed: the others count the same packets again, or others.
        let passed = stage.passed.first().map(|first| {
            sum(&stage.passed.iter().filter(|count| count.counter == first.counter).cloned().collect::<Vec<_>>())
        });
        Row {
            id: stage.stage.into(),
            state: (!stage.dropped.is_empty()).then_some(State::Near),
            cells: vec![
                Cell::text(stage.title),
                Cell::text(word(&stage)),
                passed.map_or_else(Cell::unknown, Cell::count),
                Cell::count(stage.lost()),
                Cell::count(sum(&stage.delayed)),
                Cell::text(mostly(&stage)),
            ],
            topic: stage.dropped.first().and_then(|count| count.limit).map(Into::into),
        }
    });
    Table { columns: COLUMNS, rows: rows.collect(), empty: String::new() }
}

fn mostly(stage: &Stage) -> String {
    let Some(count) = stage.dropped.first().or(stage.delayed.first()) else { return String::new() };
    let means = if count.means.is_empty() { String::new() } else { format!(": {}", count.means) };
    format!("{} ({}){means}", count.counter, count.place)
}

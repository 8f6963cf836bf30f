//! The kernel's counters that moved in the last minute, those that rose last first.

use tcproof_core::Interval;
use tcproof_core::counters::by_name;

use super::{Cell, Column, Row, Table, thousands};
use crate::seen::{Past, Seen, counter_of};

/// Steps after which one that stands still is left out.
const LATELY: usize = 60;

static COLUMNS: &[Column] = &[
    Column::text("counter", 32),
    Column::text("namespace", 20).spare(2),
    Column::number("in window"),
    Column::number("a second"),
    Column::number("rose").spare(1),
    Column::graph(40).spare(3),
    Column::text("what it counts", u16::MAX),
];

pub(super) fn table(seen: &Seen, past: &Past) -> Table {
    let interval = &seen.interval;
    let several = seen.diagnosis.namespaces > 1;
    let mut rows: Vec<(usize, f64, Row)> = Vec::new();
    for ns in interval.namespaces() {
        for (name, now) in &ns.after.counters {
            let grown = ns.before.counters.get(name).and_then(|before| now.checked_sub(*before)).unwrap_or(0);
            let key = counter_of(ns.name(), name);
            let since = past.counters.since_moved(&key).filter(|since| *since < LATELY);
            if grown == 0 && since.is_none() {
                continue;
            }
            let rate = grown as f64 / seconds(interval);
            let since = since.unwrap_or(0);
            let known = by_name(name);
            let row = Row {
                id: key.clone(),
                state: None,
                cells: vec![
                    Cell::text(name),
                    Cell::text(if several { ns.name() } else { "" }),
                    Cell::count(grown),
                    Cell::Number(rate_text(rate), rate),
                    // The later, the higher.
                    Cell::Number(past.ago(since), -(since as f64)),
                    Cell::Rates(key),
                    Cell::text(known.map_or("", |known| known.counts)),
                ],
                topic: known.map(|known| known.name.to_string()),
            };
            rows.push((since, rate, row));
        }
    }
    // Within a few seconds they rose together, and then the busiest is no news: those that rarely move come first.
    rows.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then_with(|| a.2.id.cmp(&b.2.id)));
    Table { columns: COLUMNS, rows: rows.into_iter().map(|(.., row)| row).collect(), empty: "no counter moves".into() }
}

fn seconds(interval: &Interval) -> f64 {
    interval.seconds().max(0.001)
}

fn rate_text(rate: f64) -> String {
    if rate > 0.0 && rate < 100.0 { format!("{rate:.1}") } else { thousands(rate as u64) }
}

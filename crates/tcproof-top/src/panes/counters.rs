//! The kernel's counters that moved in the last minute, those that rose last first.

use std::cmp::Reverse;

use tcproof_core::Interval;
use tcproof_core::counters::{Kind, by_name};
use tcproof_core::limits::LIMITS;
use tcproof_report::thousands;

use super::{Cell, Column, Row, Table};
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
            // One that went down has no growth, nor has one that was not there before.
            let grown = ns.before.counters.get(name).and_then(|before| now.checked_sub(*before));
            let key = counter_of(ns.name(), name);
            let since = past.counters.since_moved(&key).filter(|since| *since < LATELY);
            if grown.is_none_or(|grown| grown == 0) && since.is_none() {
                continue;
            }
            let known = by_name(name);
            if known.is_some_and(|known| known.kind == Kind::Gauge) {
                continue;
            }
            let rate = grown.map(|grown| grown as f64 / seconds(interval));
            let since = since.unwrap_or(0);
            let row = Row {
                id: key.clone(),
                state: None,
                cells: vec![
                    Cell::text(name),
                    Cell::text(if several { ns.name() } else { "" }),
                    grown.map_or_else(Cell::unknown, Cell::count),
                    rate.map_or_else(Cell::unknown, |rate| Cell::Number(rate_text(rate), rate)),
                    // The later, the higher.
                    Cell::Number(past.ago(since), -(since as f64)),
                    Cell::Rates(key),
                    Cell::text(known.map_or("", |known| known.counts)),
                ],
                topic: known.map(|known| known.name.to_string()),
            };
            rows.push((since, rate.unwrap_or(0.0), row));
        }
    }
    // Those that a limit is judged by are what one looks for; how many packets came is no news.
    let is_read = |row: &Row| {
        let name = row.topic.as_deref().unwrap_or_default();
        LIMITS.iter().any(|limit| limit.reads.contains(&name))
    };
    rows.sort_by_cached_key(|(since, rate, row)| (*since, !is_read(row), Reverse(*rate as u64), row.id.clone()));
    Table { columns: COLUMNS, rows: rows.into_iter().map(|(.., row)| row).collect(), empty: "no counter moves".into() }
}

fn seconds(interval: &Interval) -> f64 {
    interval.seconds().max(0.001)
}

fn rate_text(rate: f64) -> String {
    if rate > 0.0 && rate < 100.0 { format!("{rate:.1}") } else { thousands(rate as u64) }
}

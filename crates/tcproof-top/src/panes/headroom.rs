//! How much of each limit is used, now and in the last minutes.

use tcproof_core::Subject;
use tcproof_report::thousands;

use super::{Cell, Column, Row, Table, owner};
use crate::seen::{Seen, share_of};

static COLUMNS: &[Column] = &[
    Column::text("limit", 20),
    Column::text("", 12).spare(3),
    Column::number("share"),
    Column::text("whose", 60),
    Column::number("used").spare(1),
    Column::text("unit", 12).spare(2),
    Column::graph(u16::MAX),
];

/// The fullest rows, so many.
pub(crate) fn table(seen: &Seen, most: usize) -> Table {
    let rows = seen.diagnosis.headroom.iter().take(most).map(|row| {
        let finding = seen.finding(|finding| finding.limit == row.limit && finding.subject == row.subject);
        Row {
            id: share_of(&row.limit, &row.subject),
            state: finding.map(|finding| finding.state),
            cells: vec![
                Cell::text(&row.limit),
                Cell::Gauge(row.share()),
                Cell::Number(format!("{} %", tcproof_core::limits::percent(row.share())), row.share()),
                Cell::text(whose(&row.subject, seen)),
                Cell::Number(format!("{} of {}", thousands(row.used), thousands(row.capacity)), row.used as f64),
                Cell::text(&row.unit),
                Cell::Shares(share_of(&row.limit, &row.subject)),
            ],
            topic: Some(row.limit.clone()),
        }
    });
    Table {
        columns: COLUMNS,
        rows: rows.collect(),
        empty: "nothing could be read that has a limit (tcproof doctor)".into(),
    }
}

/// The subject, its namespace where there is more than one, and its owner.
pub(super) fn whose(subject: &Subject, seen: &Seen) -> String {
    let several = seen.diagnosis.namespaces > 1 && !matches!(subject, Subject::Netns { .. });
    let place = subject.netns().filter(|_| several).map(|netns| format!(" in {netns}")).unwrap_or_default();
    let owner = match subject {
        // It is named by it.
        Subject::Process { .. } => String::new(),
        subject => owner(subject.owners()),
    };
    let owner = if owner.is_empty() { owner } else { format!(" ({owner})") };
    format!("{subject}{place}{owner}")
}

//! Connections that were looked at, and what holds each back.

use tcproof_core::limits::{Limit, in_bits};
use tcproof_core::{FlowNote, Subject};

use super::{Cell, Column, Row, Table, owner};
use crate::seen::Seen;

static COLUMNS: &[Column] = &[
    Column::text("here", 46),
    Column::text("", 2),
    Column::text("there", 46),
    Column::number("rate"),
    Column::text("held back by", 20),
    Column::number("ms").spare(1),
    Column::text("congestion", 10).spare(3),
    Column::text("owner", u16::MAX).spare(2),
];

pub(super) fn table(seen: &Seen) -> Table {
    let several = seen.diagnosis.namespaces > 1;
    let rows = seen.diagnosis.flows.iter().map(|flow| {
        let place = if several { format!(" in {}", flow.netns) } else { String::new() };
        let bytes = flow.bits_per_second as f64 / 8.0;
        Row {
            id: id(flow),
            state: seen.finding(|finding| is_about(&finding.subject, flow)).map(|finding| finding.state),
            cells: vec![
                Cell::text(format!("{}{place}", flow.local)),
                Cell::text(if flow.sends { "→" } else { "←" }),
                Cell::text(&flow.remote),
                Cell::Number(in_bits(bytes), bytes),
                Cell::text(&flow.bound_by),
                Cell::Number(format!("{:.1}", flow.rtt_ms), flow.rtt_ms),
                Cell::text(&flow.congestion),
                Cell::text(owner(&flow.owners)),
            ],
            // What it waits for may be no limit.
            topic: Limit::by_slug(&flow.bound_by).map(|limit| limit.slug.to_string()),
        }
    });
    let empty = match seen.diagnosis.open_flows {
        0 => "no connection was open".to_string(),
        open => format!("{open} open, none of which moved or waited: idle ones are not looked at"),
    };
    Table { columns: COLUMNS, rows: rows.collect(), empty }
}

pub(crate) fn id(flow: &FlowNote) -> String {
    format!("{} {} {} {}", flow.local, flow.remote, flow.sends, flow.netns)
}

pub(crate) fn is_about(subject: &Subject, flow: &FlowNote) -> bool {
    matches!(subject, Subject::Flow { netns, local, remote, .. }
        if *netns == flow.netns && *local == flow.local && *remote == flow.remote)
}

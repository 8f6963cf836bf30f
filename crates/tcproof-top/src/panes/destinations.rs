//! Where this host connects to, and how many of the ports that can lead there are taken.

use tcproof_core::limits::{percent, usable_ports};
use tcproof_core::snapshot::PortUse;
use tcproof_core::{Reading, Subject};

use super::listeners::owners;
use super::{Cell, Column, Row, Table, owner};
use crate::seen::Seen;

static COLUMNS: &[Column] = &[
    Column::text("from", 40),
    Column::text("to", 48),
    Column::number("ports"),
    Column::number("of").spare(1),
    Column::text("", 12).spare(3),
    Column::number("share"),
    Column::number("time-wait"),
    Column::number("connecting").spare(2),
    Column::text("owner", u16::MAX).spare(4),
];

/// It is a dump of all sockets.
const NOT_COUNTED: &str = "not counted in this window: live, the ports are counted while this pane is open";

pub(super) fn table(seen: &Seen) -> Table {
    let interval = &seen.interval;
    let mut rows: Vec<(u32, Row)> = Vec::new();
    let mut unread = None;
    for ns in interval.namespaces() {
        let ports = match &ns.after.sockets.ports {
            Reading::Present(ports) => ports,
            Reading::Absent(why) => {
                unread = Some(if why.is_not_needed() { NOT_COUNTED.into() } else { why.to_string() });
                continue;
            }
        };
        let usable = usable_ports(ns.after);
        for (tuple, used) in &ports.tuples {
            let share = usable.map(|usable| f64::from(used.ports) / usable.max(1) as f64);
            let place = if seen.diagnosis.namespaces > 1 { format!(" in {}", ns.name()) } else { String::new() };
            let (source, destination) = (tuple.source.to_string(), tuple.destination.to_string());
            let finding = seen.finding(|finding| {
                matches!(&finding.subject, Subject::Destination { netns, source: s, destination: d, .. }
                    if netns == ns.name() && *s == source && *d == destination)
            });
            let row = Row {
                id: format!("{tuple} {}", ns.name()),
                state: finding.map(|finding| finding.state),
                cells: vec![
                    Cell::text(format!("{source}{place}")),
                    Cell::text(destination),
                    Cell::count(used.ports.into()),
                    usable.map_or_else(Cell::unknown, Cell::count),
                    share.map_or_else(Cell::unknown, Cell::Gauge),
                    share.map_or_else(Cell::unknown, |share| Cell::Number(format!("{} %", percent(share)), share)),
                    Cell::count(used.time_wait.into()),
                    Cell::count(used.connecting.into()),
                    Cell::text(owner(&owners(interval, used.inode))),
                ],
                topic: Some("ephemeral-ports".into()),
            };
            rows.push((used.ports, row));
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    let kept = PortUse::KEPT;
    let empty = unread.unwrap_or_else(|| format!("no destination takes {kept} ports or more"));
    Table { columns: COLUMNS, rows: rows.into_iter().map(|(_, row)| row).collect(), empty }
}

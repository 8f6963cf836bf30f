//! Listening sockets: how long their queues were, and what they dropped.

use tcproof_core::limits::owners_of;
use tcproof_core::{Interval, ListenerWatch, NetnsChange, Owner, Reading, Subject};

use super::{Cell, Column, Row, Table, owner};
use crate::seen::{Seen, share_of};

static COLUMNS: &[Column] = &[
    Column::text("listener", 48),
    Column::number("queue"),
    Column::number("longest").spare(1),
    Column::number("limit"),
    Column::number("full"),
    Column::number("drops"),
    Column::number("a second").spare(2),
    Column::text("owner", 40),
    Column::graph(u16::MAX).spare(3),
];

pub(super) fn table(seen: &Seen) -> Table {
    let interval = &seen.interval;
    let mut rows: Vec<(u64, f64, Row)> = Vec::new();
    let mut unread = Vec::new();
    for ns in interval.namespaces() {
        if let Reading::Absent(why) = &ns.after.listeners {
            unread.push(format!("{}: {why}", ns.name()));
        }
        for watch in ns.listeners().filter(|watch| !ns.has_closed(watch)) {
            let drops = u64::from(watch.drops().value().copied().unwrap_or(0));
            let share = f64::from(ns.longest(watch)) / watch.last.capacity() as f64;
            rows.push((drops, share, row(seen, ns, watch)));
        }
    }
    // Those that drop, then those that are nearest to it.
    rows.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then_with(|| a.2.id.cmp(&b.2.id)));
    let empty = if unread.is_empty() { "nobody listens here".into() } else { unread.join("; ") };
    Table { columns: COLUMNS, rows: rows.into_iter().map(|(.., row)| row).collect(), empty }
}

fn row(seen: &Seen, ns: NetnsChange<'_>, watch: &ListenerWatch) -> Row {
    let (netns, local) = (ns.name(), watch.last.local.to_string());
    let is_it = |subject: &Subject| matches!(subject, Subject::Listener { netns: n, local: l, .. } if n == netns && *l == local);
    let drops = watch.drops();
    let seconds = seen.interval.seconds();
    let (dropped, rate) = match &drops {
        Reading::Present(drops) if seconds > 0.0 => {
            let rate = f64::from(*drops) / seconds;
            (Cell::count((*drops).into()), Cell::Number(format!("{rate:.1}"), rate))
        }
        Reading::Present(drops) => (Cell::count((*drops).into()), Cell::Number(String::new(), -1.0)),
        Reading::Absent(_) => (Cell::unknown(), Cell::unknown()),
    };
    let full = watch.full_share();
    let place = if seen.diagnosis.namespaces > 1 { format!(" in {netns}") } else { String::new() };
    let subject = Subject::Listener { netns: netns.into(), local: local.clone(), owners: Vec::new() };
    Row {
        id: format!("{}", watch.last.cookie),
        state: seen.finding(|finding| is_it(&finding.subject)).map(|finding| finding.state),
        cells: vec![
            Cell::text(format!("{local}{place}")),
            Cell::count(watch.last.queue.into()),
            Cell::count(ns.longest(watch).into()),
            Cell::count(watch.last.capacity()),
            Cell::Number(format!("{} %", tcproof_core::limits::percent(full)), full),
            dropped,
            rate,
            Cell::text(owner(&owners(&seen.interval, watch.last.inode))),
            Cell::Shares(share_of("accept-queue", &subject)),
        ],
        topic: Some("accept-queue".into()),
    }
}

/// Who holds a socket, as far as it was looked for.
pub(crate) fn owners(interval: &Interval, inode: u64) -> Vec<Owner> {
    let ends = [&interval.after, &interval.before];
    ends.into_iter().map(|end| owners_of(end, inode)).find(|owners| !owners.is_empty()).unwrap_or_default()
}

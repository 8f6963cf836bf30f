//! What probes counted while `check` watched, behind its verbose screen: who opens connections, what was dropped, sent again
//! and reset. Numbers for a person to look through; the limits have judged by them already.

use tcproof_core::snapshot::NetnsId;
use tcproof_core::trace::{Arrivals, Connects, Counted, Drops, MemoryRefusals, Resent, Trace};
use tcproof_core::{Absent, Interval, Reading};

use crate::layout::{Cell, Role, Screen, Style};

/// Rows of each table: those with most.
const ROWS: usize = 5;
/// Columns in front of a row, and of its label.
const MARGIN: usize = 2;
const LABEL: usize = 10;

/// The block, or nothing where no probe was asked for.
pub fn block(interval: &Interval, style: &Style) -> String {
    let rows = rows(interval);
    if rows.is_empty() {
        return String::new();
    }
    let mut screen = Screen::new(style);
    screen.text(Role::Heading, "PROBES (eBPF)");
    for (label, text) in rows {
        screen.row(&[Cell::blank(MARGIN), Cell::new(Role::Label, label, LABEL)], Role::Plain, &text);
    }
    format!("\n{}", screen.finish())
}

/// Each row with its label, which is empty where it is the one before; none where no probe was asked for.
pub(crate) fn rows(interval: &Interval) -> Vec<(&'static str, String)> {
    let Trace { connects, arrivals, drops, resent, memory } = &interval.trace;
    let mut block = Block { rows: Vec::new(), interval, missing: Vec::new() };
    block.table("connects", connects, |row| row.tried, Block::connects);
    block.table("arrivals", arrivals, |row| row.arrived, Block::arrivals);
    block.table("dropped", drops, |row| row.packets, Block::drops);
    block.table("resent", resent, |row| row.data + row.syn + row.resets + row.aborted, Block::resent);
    block.table("refused", memory, |row| row.beyond + row.within, Block::memory);
    if block.missing.iter().all(|(_, why)| why.is_not_needed()) && !block.missing.is_empty() {
        return Vec::new();
    }
    // One reason for all of them is said once.
    let missing = std::mem::take(&mut block.missing);
    let mut told: Vec<(Vec<&str>, &Absent)> = Vec::new();
    for (name, why) in missing {
        match told.iter_mut().find(|(_, other)| *other == why) {
            Some((names, _)) => names.push(name),
            None => told.push((vec![name], why)),
        }
    }
    for (names, why) in told {
        let needs = why.would_need().map(|needs| format!(" (needs {needs})")).unwrap_or_default();
        block.row("unknown", &format!("{}: {why}{needs}", names.join(", ")));
    }
    block.rows
}

struct Block<'a> {
    rows: Vec<(&'static str, String)>,
    interval: &'a Interval,
    missing: Vec<(&'static str, &'a Absent)>,
}

impl<'a> Block<'a> {
    fn row(&mut self, label: &'static str, text: &str) {
        self.rows.push((label, text.into()));
    }

    fn table<T>(
        &mut self,
        label: &'static str,
        table: &'a Reading<Counted<T>>,
        weight: fn(&T) -> u64,
        told: fn(&Self, &T) -> String,
    ) {
        let Counted { rows, lost } = match table {
            Reading::Present(table) => table,
            Reading::Absent(why) => return self.missing.push((label, why)),
        };
        let mut most: Vec<&T> = rows.iter().collect();
        most.sort_by_key(|row| std::cmp::Reverse(weight(row)));
        for (at, row) in most.iter().take(ROWS).enumerate() {
            let text = told(self, row);
            self.row(if at == 0 { label } else { "" }, &text);
        }
        match most.len() {
            0 => self.row(label, "nothing"),
            more if more > ROWS => self.row("", &format!("and {} more", more - ROWS)),
            _ => {}
        }
        if *lost > 0 {
            self.row("", &format!("{lost} events had no room in the table: these are not all"));
        }
    }

    fn name(&self, netns: NetnsId) -> String {
        self.interval.after.namespaces.get(&netns).map_or_else(|| netns.to_string(), |ns| ns.name.clone())
    }

    fn rate(&self, events: u64) -> String {
        let seconds = self.interval.seconds();
        let rate = if seconds > 0.0 { events as f64 / seconds } else { 0.0 };
        format!("{events} ({rate:.0}/s)")
    }

    fn connects(&self, row: &Connects) -> String {
        let refused = if row.refused > 0 { format!("; {} found no free port", row.refused) } else { String::new() };
        let (from, to, netns) = (row.source, row.destination, self.name(row.netns));
        format!("{} by {} from {from} to {to} in {netns}{refused}", self.rate(row.tried), row.who())
    }

    fn arrivals(&self, row: &Arrivals) -> String {
        let mean = row.queued as f64 / row.arrived.max(1) as f64;
        let (rate, netns) = (self.rate(row.arrived), self.name(row.netns));
        let Arrivals { port, longest, full, .. } = row;
        format!("{rate} at port {port} in {netns}: a queue of {mean:.1}, at most {longest}, filled {full} times")
    }

    fn drops(&self, row: &Drops) -> String {
        let reason = if row.reason.is_empty() { "another reason" } else { &row.reason };
        format!("{} at port {} in {}: {reason}", row.packets, row.port, self.name(row.netns))
    }

    fn resent(&self, row: &Resent) -> String {
        let parts =
            [(row.data, "data"), (row.syn, "SYN"), (row.resets, "resets sent"), (row.aborted, "resets received")];
        let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let remote = match row.remote.port {
            // A listener's clients have no port there.
            0 => format!("{}, any port,", row.remote.addr),
            _ => row.remote.to_string(),
        };
        format!("{} ↔ {remote} in {}: {}", row.local, self.name(row.netns), parts.join(", "))
    }

    fn memory(&self, row: &MemoryRefusals) -> String {
        let MemoryRefusals { beyond, within, .. } = row;
        format!("{beyond} requests beyond tcp_mem, {within} within it, in {}", self.name(row.netns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted<T>(rows: Vec<T>, lost: u64) -> Reading<Counted<T>> {
        Reading::Present(Counted { rows, lost })
    }

    fn interval(trace: Trace) -> Interval {
        let mut interval = Interval { trace, ..Interval::default() };
        interval.after.at = std::time::Duration::from_secs(5);
        interval
    }

    #[test]
    fn tables_show_the_rows_with_most() {
        let netns = NetnsId(4_026_531_840);
        let connects = |n: u64| Connects {
            netns,
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.9:5432".parse().unwrap(),
            pid: (n > 1).then_some(n as u32),
            comm: "app\u{1b}[2J".into(),
            tried: n * 1_000,
            refused: n / 4,
        };
        let resent = Resent {
            netns,
            local: "[2001:db8::1]:443".parse().unwrap(),
            remote: "[2001:db8::9]:50000".parse().unwrap(),
            data: 3,
            syn: 0,
            resets: 1,
            aborted: 0,
        };
        let trace = Trace {
            connects: counted((1..=7).map(connects).collect(), 12),
            arrivals: counted(
                vec![Arrivals { netns, port: 443, cookie: 1, arrived: 10, queued: 15, full: 2, longest: 4 }],
                0,
            ),
            drops: counted(
                vec![
                    Drops { netns, port: 80, reason: "SOCKET_BACKLOG".into(), packets: 7 },
                    Drops { netns, port: 80, reason: String::new(), packets: 9 },
                ],
                0,
            ),
            resent: counted(vec![resent], 0),
            memory: counted(vec![], 0),
        };
        insta::assert_snapshot!(block(&interval(trace), &Style::default()), @r"

        PROBES (eBPF)
          connects  7000 (1400/s) by app\x1b[2J (pid 7) from 10.0.0.1 to 10.0.0.9:5432
                    in net:[4026531840]; 1 found no free port
                    6000 (1200/s) by app\x1b[2J (pid 6) from 10.0.0.1 to 10.0.0.9:5432
                    in net:[4026531840]; 1 found no free port
                    5000 (1000/s) by app\x1b[2J (pid 5) from 10.0.0.1 to 10.0.0.9:5432
                    in net:[4026531840]; 1 found no free port
                    4000 (800/s) by app\x1b[2J (pid 4) from 10.0.0.1 to 10.0.0.9:5432 in
                    net:[4026531840]; 1 found no free port
                    3000 (600/s) by app\x1b[2J (pid 3) from 10.0.0.1 to 10.0.0.9:5432 in
                    net:[4026531840]
                    and 2 more
                    12 events had no room in the table: these are not all
          arrivals  10 (2/s) at port 443 in net:[4026531840]: a queue of 1.5, at most 4,
                    filled 2 times
          dropped   9 at port 80 in net:[4026531840]: another reason
                    7 at port 80 in net:[4026531840]: SOCKET_BACKLOG
          resent    [2001:db8::1]:443 ↔ [2001:db8::9]:50000 in net:[4026531840]: 3 data,
                    1 resets sent
          refused   nothing
        ");
    }

    #[test]
    fn what_is_missing_has_a_reason_and_what_nobody_asked_for_has_not() {
        assert_eq!(block(&interval(Trace::default()), &Style::default()), "");
        let why = Absent::Permission { what: "eBPF programs".into(), needs: "CAP_BPF".into() };
        let mut trace = Trace::absent(&why);
        trace.arrivals = Reading::Absent(Absent::not_in_kernel("tracepoint"));
        trace.memory = counted(vec![], 0);
        insta::assert_snapshot!(block(&interval(trace), &Style::default()), @r"

        PROBES (eBPF)
          refused   nothing
          unknown   connects, dropped, resent: no permission to read eBPF programs
                    (needs CAP_BPF)
          unknown   arrivals: this kernel has no tracepoint
        ");
    }
}

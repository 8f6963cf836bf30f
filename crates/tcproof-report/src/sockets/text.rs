//! Tables for people.

use tcproof_core::census::{Census, Counts, DestinationRow, End, ListenerRow, Method, NetnsCensus};
use tcproof_core::snapshot::{Endpoint, Protocol, unit_of};
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading};

use super::{known, lost, name, owner, owners};
use crate::layout::{Cell, Role, Screen, Style, bar, count, thousands};
use crate::text::{first_line, machine};

/// Columns in front of every text.
pub(super) const MARGIN: usize = 10;
/// Columns of a number.
pub(super) const NUMBER: usize = 10;
/// Owners of a row.
const OWNERS: usize = 2;
/// Columns of a bar.
const BAR: usize = 20;
/// Reasons why something could not be seen.
const REASONS: usize = 6;

/// For people: tables of at most 80 columns where the terminal has no more.
pub fn text(census: &Census, style: &Style) -> String {
    let mut tables = Tables { census, screen: Screen::new(style) };
    tables.header();
    tables.states();
    tables.namespaces();
    tables.listeners();
    tables.destinations();
    tables.processes();
    tables.cgroups();
    tables.inexact();
    tables.unknown();
    tables.screen.finish()
}

pub(super) struct Tables<'a> {
    pub(super) census: &'a Census,
    pub(super) screen: Screen<'a>,
}

/// The sum over all namespaces that could be counted.
fn total(census: &Census) -> Counts {
    let mut total = Counts::default();
    census.namespaces.values().filter_map(|ns| ns.counted.value()).for_each(|counted| total.merge(&counted.states));
    total
}

impl<'a> Tables<'a> {
    fn header(&mut self) {
        let census = self.census;
        let mut parts = machine(&census.host);
        let is_counted = census.namespaces.values().any(|ns| ns.counted.value().is_some());
        match known::in_use(census) {
            _ if is_counted => parts.push(count(total(census).total(), "socket")),
            Some(n) if census.method == Method::Recording => parts.push(count(n, "socket")),
            _ => {}
        }
        parts.push(count(census.namespaces.len() as u64, "namespace"));
        first_line(&mut self.screen, &parts);
        let took = census.elapsed.as_secs_f64() * 1000.0;
        let because = &census.because;
        let how = match is_counted {
            true if census.method == Method::Listing => format!("counted in what ss listed: {because}"),
            true => format!("counted by {} in {took:.1}\u{a0}ms: {because}", census.method),
            false if census.method == Method::Recording => format!("not counted one by one: {because}"),
            false => "nothing could be counted; why is said below".into(),
        };
        self.screen.text(Role::Label, &how);
        self.screen.gap();
    }

    /// A heading over columns of numbers, and of a text behind them.
    pub(super) fn heading(&mut self, heading: &str, columns: &[&str], last: &str) {
        self.screen.gap();
        let titles: Vec<String> = columns.iter().map(|title| format!("{title:>width$}", width = NUMBER - 1)).collect();
        let mut cells = vec![Cell::new(Role::Heading, heading, MARGIN)];
        // One column more than the number takes, so that the next one stands apart.
        cells.extend(titles.iter().map(|title| Cell::new(Role::Label, title, NUMBER)));
        self.screen.row(&cells, Role::Label, last);
    }

    pub(super) fn numbers(&mut self, numbers: &[String], role: Role, text: &str) {
        let aligned: Vec<String> = numbers.iter().map(|n| right(n)).collect();
        let mut cells = vec![Cell::blank(MARGIN)];
        cells.extend(aligned.iter().map(|n| Cell::new(Role::Plain, n, NUMBER)));
        self.screen.row(&cells, role, text);
    }

    fn states(&mut self) {
        if self.census.method == Method::Recording {
            return self.known();
        }
        let total = total(self.census);
        let all = total.total().max(1);
        for (at, (state, n)) in total.iter().enumerate() {
            let heading = if at == 0 { "STATES" } else { "" };
            let number = right(&thousands(n.into()));
            let cells = [
                Cell::new(Role::Heading, heading, MARGIN),
                Cell::new(Role::Plain, state.about().name, 14),
                Cell::new(Role::Plain, &number, NUMBER + 1),
            ];
            let bar = bar(f64::from(n) / all as f64, BAR, self.screen.style.unicode);
            self.screen.row(&cells, Role::Plain, &bar);
        }
        let mptcp: u64 = self.census.namespaces.values().filter_map(|ns| ns.mptcp.value()).map(Counts::total).sum();
        if mptcp > 0 {
            let text = format!("{} above them, whose subflows these are", count(mptcp, "MPTCP socket"));
            self.screen.row(&[Cell::blank(MARGIN)], Role::Label, &text);
        }
        for (name, difference) in self.differences() {
            let (before, after) = difference.sockstat;
            let said = if before == after {
                format!("says {}", thousands(before))
            } else {
                format!("said {} before and {} after", thousands(before), thousands(after))
            };
            let counted = match self.census.method {
                Method::Listing => "the listing of another moment has",
                _ => "the walk met",
            };
            let text =
                format!("{name}: sockstat {} {said}, {counted} {}", difference.value, thousands(difference.counted));
            self.screen.row(&[Cell::new(Role::Near, "DIFFERS", MARGIN)], Role::Plain, &text);
        }
    }

    fn differences(&self) -> Vec<(String, tcproof_core::census::Difference)> {
        let of = |ns: &NetnsCensus| {
            ns.differences().into_iter().map(|difference| (ns.name.clone(), difference)).collect::<Vec<_>>()
        };
        self.census.namespaces.values().flat_map(of).collect()
    }

    fn namespaces(&mut self) {
        if self.census.namespaces.len() < 2 {
            return;
        }
        if self.census.method == Method::Recording {
            return self.known_by_namespace();
        }
        self.heading("NETNS", &["estab", "time-wait", "listen", "other"], "name");
        let mut rows: Vec<_> = self.census.namespaces.iter().collect();
        let size = |ns: &NetnsCensus| ns.counted.value().map_or(0, |counted| counted.states.total());
        rows.sort_by_key(|(id, ns)| (std::cmp::Reverse(size(ns)), **id));
        for (_, ns) in rows.iter().take(self.most()) {
            match &ns.counted {
                Reading::Present(counted) => {
                    let shown = [State::Established, State::TimeWait, State::Listen];
                    let numbers = columns(&counted.states, &shown);
                    self.numbers(&numbers, Role::Plain, &ns.name);
                }
                Reading::Absent(_) => {
                    self.numbers(&["-".into(), "-".into(), "-".into(), "-".into()], Role::Plain, &ns.name)
                }
            }
        }
        self.more(rows.len().saturating_sub(self.most()), "namespace");
    }

    /// Rows of each table, as they were asked for: the longest of those that are cut.
    pub(super) fn most(&self) -> usize {
        let census = self.census;
        [census.listeners.rows.len(), census.destinations.rows.len(), census.cgroups.rows.len(), 10]
            .into_iter()
            .max()
            .unwrap_or(10)
    }

    pub(super) fn more(&mut self, left: usize, what: &str) {
        if left > 0 {
            let text = format!("{} (--top N)", count(left as u64, &format!("more {what}")));
            self.screen.row(&[Cell::blank(MARGIN)], Role::Label, &text);
        }
    }

    /// ` in NAME`, where there is more than one.
    fn place(&self, netns: tcproof_core::snapshot::NetnsId) -> String {
        match self.census.namespaces.len() {
            0 | 1 => String::new(),
            _ => format!(" in {}", name(self.census, netns)),
        }
    }

    fn who(&self, pids: &[u32]) -> String {
        crate::text::owners(&owners(self.census, pids), OWNERS).map(|who| format!(" · {who}")).unwrap_or_default()
    }

    fn listeners(&mut self) {
        let listeners = &self.census.listeners;
        if listeners.rows.is_empty() {
            return;
        }
        self.heading("LISTENERS", &["queue", "limit", "drops"], "where");
        for ListenerRow { netns, listener, owners } in &listeners.rows {
            let drops = listener.drops.value().map_or("-".into(), |drops| thousands((*drops).into()));
            let protocol = if listener.protocol == Protocol::Mptcp { " (MPTCP)" } else { "" };
            let text = format!("{}{protocol}{}{}", listener.local, self.place(*netns), self.who(owners));
            // The queue is full at one more than its limit.
            let role = if listener.queue > listener.backlog { Role::Limiting } else { Role::Plain };
            self.numbers(&[thousands(listener.queue.into()), thousands(listener.backlog.into()), drops], role, &text);
        }
        self.more(listeners.of.saturating_sub(listeners.rows.len()), "listener");
    }

    fn destinations(&mut self) {
        let destinations = &self.census.destinations;
        if destinations.rows.is_empty() {
            return;
        }
        self.heading("TO", &["estab", "time-wait", "other", "ports"], "from → to");
        for row in &destinations.rows {
            let mut numbers = columns(&row.states, &[State::Established, State::TimeWait]);
            if row.others > 0 {
                let others = row.sockets() - u64::from(row.states.of(State::TimeWait));
                (numbers[0], numbers[2]) = ("-".into(), thousands(others));
            }
            numbers.push(self.ports(row));
            let source = match row.tuple.source.is_unspecified() {
                true => "any".to_string(),
                false => Endpoint::new(row.tuple.source, 0).addr.to_string(),
            };
            let here = if row.service == End::Local { " (here)" } else { "" };
            let to = row.tuple.destination;
            let text = format!("{source} → {to}{here}{}{}", self.place(row.netns), self.who(&row.owners));
            self.numbers(&numbers, Role::Plain, &text);
        }
        self.more(destinations.of.saturating_sub(destinations.rows.len()), "destination");
    }

    /// The share of the ports that can be had.
    fn ports(&self, row: &DestinationRow) -> String {
        let usable = self.census.namespaces.get(&row.netns).and_then(|ns| ns.usable_ports);
        match row.ports.zip(usable.filter(|usable| *usable > 0)) {
            Some((used, usable)) => format!("{}\u{a0}%", used.saturating_mul(100) / usable),
            None => "-".into(),
        }
    }

    fn processes(&mut self) {
        let processes = &self.census.processes;
        let counted = processes.rows.iter().filter_map(|row| Some((row, row.states.as_ref()?)));
        let rows: Vec<_> = counted.collect();
        if rows.is_empty() {
            return;
        }
        self.heading("HELD BY", &["estab", "close-wait", "listen", "other"], "descriptors of");
        for (row, states) in &rows {
            let who = owner(row);
            let within = who.unit.or(who.cgroup).map(|unit| format!(", {unit}")).unwrap_or_default();
            let text = format!("{}, pid {}{within}", row.comm, row.pid);
            let shown = [State::Established, State::CloseWait, State::Listen];
            self.numbers(&columns(states, &shown), Role::Plain, &text);
        }
        self.more(processes.of.saturating_sub(rows.len()), "holder");
    }

    fn cgroups(&mut self) {
        let cgroups = &self.census.cgroups;
        if cgroups.rows.is_empty() {
            return;
        }
        self.heading("CGROUPS", &["estab", "close-wait", "other"], "made in");
        for row in &cgroups.rows {
            let path = row.path.clone().unwrap_or_else(|| format!("the group with id {}", row.id));
            let unit = row.path.as_deref().and_then(unit_of).filter(|unit| !path.ends_with(unit.as_str()));
            let unit = unit.map(|unit| format!("  {unit}")).unwrap_or_default();
            let numbers = columns(&row.states, &[State::Established, State::CloseWait]);
            self.numbers(&numbers, Role::Plain, &format!("{path}{unit}"));
        }
        self.more(cgroups.of.saturating_sub(cgroups.rows.len()), "control group");
    }

    fn inexact(&mut self) {
        self.screen.gap();
        for truncated in &self.census.truncated {
            let sockets = count(truncated.sockets, "socket");
            let text = format!("{}: {sockets} {}", name(self.census, truncated.netns), lost(truncated.why));
            self.screen.row(&[Cell::new(Role::Near, "NOT EXACT", MARGIN)], Role::Plain, &text);
        }
    }

    fn unknown(&mut self) {
        let mut reasons = missing(self.census);
        if reasons.is_empty() {
            return;
        }
        self.screen.gap();
        let most = if self.screen.style.verbose { usize::MAX } else { REASONS };
        let left = reasons.len().saturating_sub(most);
        reasons.truncate(most);
        for (at, (what, why)) in reasons.iter().enumerate() {
            let heading = if at == 0 { "UNKNOWN" } else { "" };
            let needs = why.would_need().map(|needs| format!(" (needs {needs})")).unwrap_or_default();
            let text = format!("{what}: {why}{needs}");
            self.screen.row(&[Cell::new(Role::Near, heading, MARGIN)], Role::Plain, &text);
        }
        if left > 0 {
            self.screen.row(&[Cell::blank(MARGIN)], Role::Label, &format!("{left} more (-v)"));
        }
    }
}

/// What could not be seen, and why; what nobody asked for is left out.
pub(super) fn missing(census: &Census) -> Vec<(String, &Absent)> {
    let mut missing = Vec::new();
    // Where another backend did it, one that could not is no loss.
    if census.namespaces.values().all(|ns| ns.counted.absent().is_some()) {
        missing.extend(census.refused.iter().map(|(method, why)| (format!("sockets by {method}"), why)));
    }
    for ns in census.namespaces.values() {
        let of = |what: &str| format!("{what} of {}", ns.name);
        let is_walked = census.method != Method::Recording;
        let counted = ns
            .counted
            .absent()
            .filter(|_| is_walked)
            .filter(|why| !census.refused.iter().any(|(_, refused)| refused == *why));
        missing.extend(counted.map(|why| (of("sockets"), why)));
        missing.extend(ns.listeners_absent.as_ref().map(|why| (of("listeners"), why)));
        missing.extend(ns.sockstat.absent().map(|why| (of("sockstat"), why)));
        // A kernel without MPTCP has no such sockets; one that is not read as text either has netlink's own reason.
        let mptcp = ns.mptcp.absent().filter(|why| !matches!(why, Absent::NotInKernel { .. }));
        if census.method != Method::Proc {
            missing.extend(mptcp.map(|why| (of("MPTCP sockets"), why)));
        }
    }
    missing.extend(census.unseen.iter().map(|unseen| (unseen.what.clone(), &unseen.why)));
    missing.retain(|(_, why)| !why.is_not_needed());
    missing
}

/// The counts of those states, and of all others together.
fn columns(states: &Counts, shown: &[State]) -> Vec<String> {
    let counts: Vec<u64> = shown.iter().map(|state| states.of(*state).into()).collect();
    let others = states.total() - counts.iter().sum::<u64>();
    counts.into_iter().chain([others]).map(thousands).collect()
}

pub(super) fn right(number: &str) -> String {
    let blanks = (NUMBER - 1).saturating_sub(number.chars().count());
    format!("{}{number}", "\u{a0}".repeat(blanks))
}

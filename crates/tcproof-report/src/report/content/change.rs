//! What a report tells of a change: whether it helped, what was changed, and the same readings on both sides of it.

use std::collections::{BTreeMap, BTreeSet};

use tcproof_core::limits::percent;
use tcproof_core::verify::{self, Verification, Verified};
use tcproof_core::{Diagnosis, Headroom, Interval, ListenerWatch, Reading, Verdict};

use super::{BUSIEST, Block, Card, Cell, Chart, Content, Field, ROWS, Section, Table, Tone, column, left, number};
use super::{changes, connections, facts, findings, packet_path, probes, queue};
use crate::layout::{Role, count, thousands};
use crate::report::{Change, Report};
use crate::{host_name, text, title, verify as table};

/// Puts it together.
pub(super) fn content(report: &Report<'_>, change: &Change<'_>) -> Content {
    let Report { diagnosis: before, interval, plan, .. } = *report;
    let (after, verification) = (&change.after.diagnosis, change.verification);
    let later = Some(&change.after.interval);
    let host = host_name(&before.host.name);
    let (tone, verdict) = outcome(verification.outcome);
    let headline = match &verification.findings[..] {
        [one] => heading(before, one),
        all => count(all.len() as u64, "finding"),
    };
    let mut sections = Vec::new();
    let mut section = |id, title, blocks: Vec<Block>, folded| {
        if !blocks.is_empty() {
            sections.push(Section { id, title, blocks, folded });
        }
    };
    section("verified", "Before and after", judged(before, verification), false);
    section("changed", "What was changed", changed(report, change), false);
    section("plan", "The changes of the plan", plan.map(|plan| changes(plan, named)).unwrap_or_default(), true);
    section("before", "Found before", found(before), false);
    section("after", "Found after", found(after), false);
    section("headroom", "Headroom", headroom(before, after), false);
    section("queues", "Listeners", interval.map(|before| listeners(before, change)).unwrap_or_default(), false);
    section("flows", "Connections before", connections(before), true);
    section("flows-after", "Connections after", connections(after), true);
    section("path", "Packet path before", interval.map(packet_path).unwrap_or_default(), true);
    section("path-after", "Packet path after", later.map(packet_path).unwrap_or_default(), true);
    section("probes", "Probes in the kernel before", interval.map(probes).unwrap_or_default(), true);
    section("probes-after", "Probes in the kernel after", later.map(probes).unwrap_or_default(), true);
    section("unknown", "What could not be seen", unknown(before, after), false);
    Content {
        title: format!("tcproof: {verdict} on {host}"),
        tone,
        verdict,
        headline,
        lead: lead(&verification.findings),
        facts: facts(report, host),
        sections,
    }
}

fn outcome(outcome: verify::Outcome) -> (Tone, &'static str) {
    let (role, word) = table::outcome(outcome);
    (tone(role), word)
}

fn tone(role: Role) -> Tone {
    match role {
        Role::Limiting => Tone::Limiting,
        Role::Near => Tone::Near,
        Role::Clear => Tone::Clear,
        _ => Tone::Plain,
    }
}

fn heading(diagnosis: &Diagnosis, finding: &Verified) -> String {
    format!("{} of {}", title(&finding.limit), text::place(diagnosis, &finding.subject))
}

/// The number that decided, and why it did; of several findings, what became of how many.
fn lead(findings: &[Verified]) -> String {
    let [finding] = findings else {
        let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
        findings.iter().for_each(|finding| *kinds.entry(finding.outcome).or_default() += 1);
        let kinds: Vec<_> = kinds.iter().map(|(outcome, n)| format!("{n} {}", outcome.as_str())).collect();
        return kinds.join(", ");
    };
    let decided = finding.rows.iter().find(|row| row.change.is_some()).or(finding.rows.first());
    let row = decided.map(|row| {
        let [before, after] = [row.before, row.after].map(|amount| table::said(row, amount));
        format!("{}: {before} before, {after} after; ", row.reading)
    });
    format!("{}{}", row.unwrap_or_default(), table::because(finding))
}

fn judged(before: &Diagnosis, verification: &Verification) -> Vec<Block> {
    let card = |(number, finding): (usize, &Verified)| {
        let row = |row: &verify::Row| {
            // In a narrow column a number goes to the next line whole.
            let said = |amount| Cell::new(table::said(row, amount).replace('\u{a0}', " "));
            let [before, after] = [row.before, row.after].map(said);
            let (role, word) = table::judged(row.change);
            let badge = (!word.is_empty()).then_some((tone(role), word));
            let what = Cell { lines: vec![table::measure(row.measure).into(), row.reading.clone()], ..Cell::default() };
            vec![what, before, Cell { badge, ..after }]
        };
        let rows: Vec<_> = finding.rows.iter().map(row).collect();
        let columns = vec![column("Measure"), column("Before"), column("After")];
        let caption = "The same readings on both sides".into();
        let (tone, word) = outcome(finding.outcome);
        Block::Card(Card {
            tone,
            word,
            title: format!("{number}. {}", heading(before, finding)),
            fields: vec![("Because", Field::Text(table::because(finding)))],
            table: (!rows.is_empty()).then_some(Table { caption, columns, rows }),
        })
    };
    let mut blocks: Vec<_> = (1..).zip(&verification.findings).take(ROWS).map(card).collect();
    blocks.extend(left(verification.findings.len(), ROWS));
    blocks
}

fn changed(report: &Report<'_>, change: &Change<'_>) -> Vec<Block> {
    let fields = [
        ("Who", Some(Field::Text(change.user.into()))),
        ("When", Some(Field::Text(change.at.into()))),
        ("Plan", report.plan.map(|plan| Field::Code(plan.id.clone()))),
        ("Ran", change.command.map(|command| Field::Code(command.into()))),
        ("Now", change.ended.map(|ended| Field::Text(ended.into()))),
    ];
    let fields = fields.into_iter().filter_map(|(label, field)| Some((label, field?))).collect();
    let title = match (report.plan, change.command) {
        (Some(plan), _) => count(plan.changes.len() as u64, "knob"),
        (None, Some(_)) => "A command".into(),
        (None, None) => "By hand, between the two windows".into(),
    };
    let card = Block::Card(Card { tone: Tone::Plain, word: "", title, fields, table: None });
    let mut rows = report.interval.map(|before| settings(before, &change.after.interval)).unwrap_or_default();
    let all = rows.len();
    rows.truncate(ROWS);
    let seen = match all {
        0 => {
            Block::Text("No knob that tcproof reads and no listener's backlog differs between the two windows.".into())
        }
        _ => {
            let columns = vec![column("Setting"), column("Before"), column("After")];
            let caption = "What differs between the two windows, as the kernel shows it".into();
            Block::Table(Table { caption, columns, rows })
        }
    };
    [Some(card), Some(seen), left(all, ROWS)].into_iter().flatten().collect()
}

/// What a change in the plan is for: the findings above are those that are judged, and have other numbers.
fn named(plan: &tcproof_core::plan::Plan, change: &tcproof_core::plan::Change) -> String {
    let reasons = change.findings.iter().filter_map(|number| plan.findings.get(number.checked_sub(1)?));
    let names: Vec<_> = reasons.map(|reason| format!("{} of {}", title(&reason.limit), reason.subject)).collect();
    names.join(", ")
}

/// Knobs and backlogs that are not what they were, whoever changed them.
fn settings(before: &Interval, after: &Interval) -> Vec<Vec<Cell>> {
    // The kernel parts numbers by tabs.
    let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let row = |what: String, place: Option<&str>, old: String, new: String| {
        let mut lines = vec![what];
        lines.extend(place.map(|name| format!("in {name}")));
        vec![Cell { lines, code: true, ..Cell::default() }, Cell::new(old), Cell::new(new)]
    };
    let mut rows = Vec::new();
    let (old, new) = (&before.before.system, &after.after.system);
    for (key, old, new) in [
        ("net.core.netdev_max_backlog", old.netdev_max_backlog.as_ref(), new.netdev_max_backlog.as_ref()),
        ("net.ipv4.tcp_max_orphans", old.tcp_max_orphans.as_ref(), new.tcp_max_orphans.as_ref()),
    ] {
        if let (Reading::Present(old), Reading::Present(new)) = (old, new)
            && old != new
        {
            rows.push(row(key.into(), None, old.to_string(), new.to_string()));
        }
    }
    for (id, new) in &after.after.namespaces {
        let Some(old) = before.before.namespaces.get(id) else { continue };
        for (key, value) in &new.knobs {
            let (Reading::Present(value), Some(Reading::Present(was))) = (value, old.knobs.get(key)) else { continue };
            let (value, was) = (words(value), words(was));
            if value != was {
                rows.push(row(key.clone(), Some(&new.name), was, value));
            }
        }
        // A server that was started again listens on another socket: by its address it is the same.
        let backlogs = |of: &Interval| {
            let mut all: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for watch in of.looks.listeners.get(id).into_iter().flat_map(BTreeMap::values) {
                all.entry(watch.last.local.to_string()).or_default().insert(watch.last.backlog);
            }
            all
        };
        let list = |all: &BTreeSet<u32>| all.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let was = backlogs(before);
        for (local, now) in backlogs(after) {
            if let Some(was) = was.get(&local).filter(|was| **was != now) {
                rows.push(row(format!("backlog of {local}"), Some(&new.name), list(was), list(&now)));
            }
        }
    }
    rows
}

fn found(diagnosis: &Diagnosis) -> Vec<Block> {
    match diagnosis.verdict() {
        Verdict::Limiting | Verdict::Near => findings(diagnosis),
        Verdict::Clear => vec![Block::Text(format!("Nothing limits TCP here: {}.", text::looked(diagnosis)))],
        Verdict::Unknown => vec![Block::Text(format!("No verdict: {}.", text::looked(diagnosis)))],
    }
}

/// The fullest of every limit, and what is left of it.
fn headroom(before: &Diagnosis, after: &Diagnosis) -> Vec<Block> {
    let [old, new] = [before, after].map(|diagnosis| text::worst_per_limit(&diagnosis.headroom));
    let slugs: Vec<&str> = old.iter().map(|row| row.limit.as_str()).collect();
    let only_after = new.iter().map(|row| row.limit.as_str()).filter(|slug| !slugs.contains(slug));
    let slugs: Vec<&str> = slugs.iter().copied().chain(only_after).collect();
    if slugs.is_empty() {
        return Vec::new();
    }
    let cell = |diagnosis: &Diagnosis, rows: &[&Headroom], slug: &str| match rows.iter().find(|row| row.limit == slug) {
        None => Cell::new("not seen"),
        Some(row) => {
            let found = diagnosis.findings.iter().find(|one| one.limit == row.limit && one.subject == row.subject);
            let used =
                format!("{}\u{a0}%: {} of {}", percent(row.share()), thousands(row.used), thousands(row.capacity));
            let mut lines = vec![format!("{used} {}", row.unit)];
            lines.extend(text::whose(diagnosis, &row.subject));
            let tone = found.map_or(Tone::Plain, |one| super::tone(one.state));
            Cell { lines, chart: Some(Chart::Share(row.share(), tone)), ..Cell::default() }
        }
    };
    let row = |slug: &&str| vec![Cell::new(title(slug)), cell(before, &old, slug), cell(after, &new, slug)];
    let columns = vec![column("Limit"), column("Before"), column("After")];
    let caption = "The fullest of every limit in each window".into();
    vec![Block::Table(Table { caption, columns, rows: slugs.iter().take(ROWS).map(row).collect() })]
}

/// The queues that anybody waited in, in either window.
fn listeners(before: &Interval, change: &Change<'_>) -> Vec<Block> {
    type Watches<'a> = [Option<&'a ListenerWatch>; 2];
    let mut all: BTreeMap<(u64, String), Watches<'_>> = BTreeMap::new();
    for (at, interval) in [before, &change.after.interval].into_iter().enumerate() {
        for (id, of) in &interval.looks.listeners {
            for watch in of.values() {
                let both = all.entry((id.0, watch.last.local.to_string())).or_default();
                // Of several on one address the fuller one.
                if both[at].is_none_or(|known| known.longest < watch.longest) {
                    both[at] = Some(watch);
                }
            }
        }
    }
    let dropped = |watch: Option<&ListenerWatch>| watch.and_then(|watch| watch.drops().value().copied());
    let longest = |both: &Watches<'_>| both.iter().flatten().map(|watch| watch.longest).max().unwrap_or(0);
    let drops = |both: &Watches<'_>| both.iter().filter_map(|watch| dropped(*watch)).max();
    let mut all: Vec<_> = all.into_iter().filter(|(_, both)| longest(both) > 0 || drops(both) != Some(0)).collect();
    all.sort_by_key(|(_, both)| std::cmp::Reverse((drops(both), longest(both))));
    let names = &change.after.interval.after.namespaces;
    let row = |((id, local), both): &((u64, String), Watches<'_>)| {
        let mut lines = vec![local.clone()];
        if names.len() > 1 {
            lines.extend(names.iter().find(|(known, _)| known.0 == *id).map(|(_, ns)| format!("in {}", ns.name)));
        }
        let side = |watch: Option<&ListenerWatch>| watch.map_or(Cell::new("not seen"), queue);
        let lost = both.map(|watch| dropped(watch).map_or("not seen".into(), |n| thousands(n.into())));
        let what = Cell { lines, ..Cell::default() };
        vec![what, side(both[0]), side(both[1]), Cell::new(lost.join(" → "))]
    };
    let shown = all.len();
    if shown == 0 {
        return vec![Block::Text("Every accept queue was empty in every look, without a drop.".into())];
    }
    let rows = all.iter().take(BUSIEST).map(row).collect();
    let columns = vec![column("Listener"), column("Before"), column("After"), number("Dropped")];
    let caption = "Accept queues over the looks: those that dropped, then the longest".into();
    [Some(Block::Table(Table { caption, columns, rows })), left(shown, BUSIEST)].into_iter().flatten().collect()
}

fn unknown(before: &Diagnosis, after: &Diagnosis) -> Vec<Block> {
    let lines = |diagnosis: &Diagnosis| text::group(&diagnosis.unknown).iter().map(text::Group::line).collect();
    let [old, new]: [BTreeSet<String>; 2] = [before, after].map(lines);
    let marked = |line: &String| match (old.contains(line), new.contains(line)) {
        (true, false) => format!("before: {line}"),
        (false, true) => format!("after: {line}"),
        _ => line.clone(),
    };
    let mut all: Vec<_> = old.union(&new).map(marked).collect();
    let many = all.len();
    all.truncate(ROWS);
    if all.is_empty() { Vec::new() } else { [Some(Block::List(all)), left(many, ROWS)].into_iter().flatten().collect() }
}

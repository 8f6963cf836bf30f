//! What a report tells, in order: the verdict, the findings, the plan, how much room there is, queues, connections, the
//! packet path, what could not be seen, and what was checked without a finding.

mod change;
mod path;

use std::collections::BTreeSet;

use tcproof_core::limits::{LIMITS, Limit, in_bits, percent};
use tcproof_core::plan::{Change, Plan};
use tcproof_core::{Diagnosis, Finding, Headroom, Interval, Level, ListenerWatch, Remedy, State, Verdict};

use self::path::{packet_path, probes};
use super::{MADE_BY, Report};
use crate::layout::{count, thousands};
use crate::{flows, host_name, text, title};

/// Findings told in full; a page of them is read, a hundred are not.
const FULL: usize = 20;
/// Rows of any table: what is beyond them is in the JSON.
const ROWS: usize = 200;
/// Listeners, and counters of one stage.
const BUSIEST: usize = 20;
/// Connections: those that matter have findings.
const FLOWS: usize = 10;
/// Names in a list.
const NAMES: usize = 8;

/// How bad something is, which decides its colour. Words say it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Limiting,
    Near,
    Clear,
}

/// The whole.
pub(super) struct Content {
    pub(super) title: String,
    pub(super) tone: Tone,
    /// One word.
    pub(super) verdict: &'static str,
    /// What limits, or that nothing does.
    pub(super) headline: String,
    /// The numbers behind it.
    pub(super) lead: String,
    /// The host, and when.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) sections: Vec<Section>,
}

pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
    /// Closed until somebody wants it.
    pub(super) folded: bool,
}

pub(super) enum Block {
    Text(String),
    List(Vec<String>),
    Card(Card),
    Table(Table),
}

/// Something that is told with labels: a finding, a change.
pub(super) struct Card {
    pub(super) tone: Tone,
    pub(super) word: &'static str,
    pub(super) title: String,
    pub(super) fields: Vec<(&'static str, Field)>,
    pub(super) table: Option<Table>,
}

pub(super) enum Field {
    Text(String),
    Code(String),
    List(Vec<String>),
    Steps(Vec<Step>),
}

/// One thing to do.
pub(super) struct Step {
    pub(super) text: String,
    pub(super) who: &'static str,
    pub(super) change: Option<String>,
    pub(super) notes: Vec<(&'static str, String)>,
}

pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) number: bool,
}

#[derive(Default)]
pub(super) struct Cell {
    pub(super) lines: Vec<String>,
    pub(super) code: bool,
    pub(super) chart: Option<Chart>,
    pub(super) badge: Option<(Tone, &'static str)>,
}

/// What is drawn beside its numbers.
pub(super) enum Chart {
    /// A share of all.
    Share(f64, Tone),
    /// How many looks saw a queue empty, with something in it, more than half full, and full.
    Looks([u32; 4]),
}

impl Cell {
    fn new(text: impl Into<String>) -> Self {
        Self { lines: vec![text.into()], ..Self::default() }
    }

    fn code(text: impl Into<String>) -> Self {
        Self { code: true, ..Self::new(text) }
    }
}

fn column(title: &'static str) -> Column {
    Column { title, number: false }
}

fn number(title: &'static str) -> Column {
    Column { title, number: true }
}

fn tone(state: State) -> Tone {
    match state {
        State::Limiting => Tone::Limiting,
        State::Near => Tone::Near,
    }
}

/// Puts it together.
pub(super) fn content(report: &Report<'_>) -> Content {
    if let Some(about) = report.change {
        return change::content(report, about);
    }
    let Report { diagnosis, interval, plan, .. } = *report;
    let verdict = diagnosis.verdict();
    let host = host_name(&diagnosis.host.name);
    let (tone, headline) = match (verdict, diagnosis.findings.first()) {
        (_, Some(first)) => (tone(first.state), text::heading(diagnosis, first)),
        (Verdict::Clear, None) => (Tone::Clear, format!("nothing limits TCP here: {}", text::looked(diagnosis))),
        (_, None) => (Tone::Near, format!("no verdict: {}", text::looked(diagnosis))),
    };
    let lead = diagnosis.findings.first().map(|first| match diagnosis.findings.len() - 1 {
        0 => first.summary.clone(),
        more => format!("{}. {} below.", first.summary, count(more as u64, "more finding")),
    });
    let mut sections = Vec::new();
    let mut section = |id, title, blocks: Vec<Block>, folded| {
        if !blocks.is_empty() {
            sections.push(Section { id, title, blocks, folded });
        }
    };
    section("findings", "Findings", findings(diagnosis), false);
    section("plan", "What would be changed", plan.map(|plan| changes(plan, numbers)).unwrap_or_default(), false);
    section("headroom", "Headroom", headroom(diagnosis), false);
    section("queues", "Listeners", interval.map(|interval| listeners(interval, diagnosis)).unwrap_or_default(), false);
    section("flows", "Connections", connections(diagnosis), false);
    section("path", "Packet path", interval.map(packet_path).unwrap_or_default(), false);
    section("probes", "Probes in the kernel", interval.map(probes).unwrap_or_default(), true);
    section("unknown", "What could not be seen", unknown(diagnosis, interval), false);
    section("clear", "Checked without a finding", without_finding(diagnosis), true);
    Content {
        title: format!("tcproof: {} on {host}", verdict.as_str()),
        tone,
        verdict: verdict.as_str(),
        headline,
        lead: lead.unwrap_or_default(),
        facts: facts(report, host),
        sections,
    }
}

fn facts(report: &Report<'_>, host: &str) -> Vec<(&'static str, String)> {
    let Diagnosis { host: machine, window, sockets, namespaces, .. } = report.diagnosis;
    let mut facts = vec![("Host", host.to_string())];
    let mut fact = |label, text: Option<String>| facts.extend(text.map(|text| (label, text)));
    fact("Kernel", (!machine.kernel.is_empty()).then(|| format!("Linux {}", machine.kernel)));
    fact("CPUs", (machine.cpus > 0).then(|| machine.cpus.to_string()));
    fact(
        "Memory",
        (machine.memory_bytes > 0).then(|| format!("{:.1} GiB", machine.memory_bytes as f64 / f64::from(1 << 30))),
    );
    fact(
        "Watched",
        Some(match (window.as_secs_f64(), report.change) {
            (before, Some(change)) => {
                format!("{before:.1} s before, {:.1} s after", change.after.diagnosis.window.as_secs_f64())
            }
            (0.0, None) => "one look".into(),
            (seconds, None) => format!("{seconds:.1} s"),
        }),
    );
    fact("Sockets", sockets.map(thousands));
    fact("Namespaces", (*namespaces > 0).then(|| namespaces.to_string()));
    fact("From", report.source.map(Into::into));
    fact("Made", Some(format!("{}{MADE_BY}{}", report.made_at, report.version)));
    facts
}

fn findings(diagnosis: &Diagnosis) -> Vec<Block> {
    let all = &diagnosis.findings;
    let (full, rest) = all.split_at(all.len().min(FULL));
    let mut blocks: Vec<_> =
        (1..).zip(full).map(|(number, one)| Block::Card(finding(diagnosis, number, one))).collect();
    if !rest.is_empty() {
        let row = |one: &Finding| {
            let (_, word) = text::state(one.state);
            let state = Cell { badge: Some((tone(one.state), word)), ..Cell::default() };
            vec![Cell::new(text::heading(diagnosis, one)), state, Cell::code(&one.cause), Cell::new(&one.summary)]
        };
        let columns = vec![column("What"), column("State"), column("Cause"), column("Seen")];
        let rows = rest.iter().take(ROWS).map(row).collect();
        let caption = format!("{}, the worst first", count(rest.len() as u64, "more finding"));
        blocks.push(Block::Table(Table { caption, columns, rows }));
        blocks.extend(left(rest.len(), ROWS));
    }
    blocks
}

/// That a table does not hold all.
fn left(all: usize, most: usize) -> Option<Block> {
    let left = all.saturating_sub(most);
    (left > 0).then(|| Block::Text(format!("{left} more are in the JSON.")))
}

fn finding(diagnosis: &Diagnosis, nth: usize, finding: &Finding) -> Card {
    let mut fields = Vec::new();
    match text::owners(finding.subject.owners(), NAMES) {
        Some(who) => fields.push(("Who", Field::Text(who))),
        None if text::has_owner(&finding.subject) => fields.push(("Who", Field::Text(text::NOT_SEEN.into()))),
        None => {}
    }
    fields.push(("Seen", Field::Text(finding.summary.clone())));
    fields.push(("Cause", Field::Text(text::cause(finding))));
    let not = finding.ruled_out.iter().map(|other| format!("{}: {}", title(&other.limit), other.because));
    let not: Vec<_> = not.collect();
    if !not.is_empty() {
        fields.push(("Not", Field::List(not)));
    }
    if !finding.remedies.is_empty() {
        fields.push(("Do", Field::Steps(finding.remedies.iter().map(remedy).collect())));
    }
    let mut verify: Vec<String> = Vec::new();
    for condition in finding.remedies.iter().filter_map(|remedy| remedy.verify.as_ref()) {
        if !verify.contains(condition) {
            verify.push(condition.clone());
        }
    }
    if !verify.is_empty() {
        fields.push(("OK when", Field::Text(verify.join("; "))));
    }
    if Limit::by_slug(&finding.limit).is_some() {
        fields.push(("More", Field::Code(format!("tcproof explain {}", finding.limit))));
    }
    let rows: Vec<_> = finding
        .evidence
        .iter()
        .take(ROWS)
        .map(|evidence| {
            let (grown, unit) = match evidence.over_seconds {
                Some(seconds) => ("+", format!("{} in\u{a0}{seconds:.1}\u{a0}s", evidence.unit)),
                None => ("", evidence.unit.clone()),
            };
            let value = format!("{grown}{}", text::number(evidence.value));
            vec![Cell::code(&evidence.reading), Cell::new(value), Cell::new(unit)]
        })
        .collect();
    let columns = vec![column("Reading"), number("Value"), column("Unit")];
    let table = (!rows.is_empty()).then(|| Table { caption: "Evidence".into(), columns, rows });
    let (_, word) = text::state(finding.state);
    // The plan names it by its number.
    let title = format!("{nth}. {}", text::heading(diagnosis, finding));
    Card { tone: tone(finding.state), word, title, fields, table }
}

fn remedy(remedy: &Remedy) -> Step {
    step(&remedy.text, remedy.level, text::change(remedy), &[("computed", &remedy.formula), ("cost", &remedy.cost)])
}

fn step(text: &str, level: Level, change: Option<String>, notes: &[(&'static str, &Option<String>)]) -> Step {
    let notes = notes.iter().filter_map(|(label, text)| text.as_ref().map(|text| (*label, text.clone()))).collect();
    Step { text: text.into(), who: crate::text::level(level), change, notes }
}

/// The findings that it is for, by their numbers above.
fn numbers(_: &Plan, change: &Change) -> String {
    let numbers: Vec<_> = change.findings.iter().map(ToString::to_string).collect();
    format!("finding {}", numbers.join(", "))
}

fn changes(plan: &Plan, for_which: fn(&Plan, &Change) -> String) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (at, change) in plan.changes.iter().enumerate().take(ROWS) {
        let told = [
            ("For", for_which(plan, change)),
            ("Computed", change.formula.clone().unwrap_or_default()),
            ("Cost", change.cost.clone()),
            ("Risk", change.risk.clone()),
            ("Felt", change.takes_effect.clone()),
            ("Then", change.then.clone().unwrap_or_default()),
            ("Undo", change.inverse.clone()),
            ("OK when", change.success.clone()),
        ];
        let told = told.into_iter().filter(|(_, text)| !text.is_empty());
        let title = format!(
            "{}. {}: {} {} → {}",
            at + 1,
            change.namespace.name,
            change.knob,
            crate::plan::nothing(&change.from),
            crate::plan::nothing(&change.to)
        );
        let fields = told.map(|(label, text)| (label, Field::Text(text))).collect();
        blocks.push(Block::Card(Card { tone: Tone::Plain, word: "", title, fields, table: None }));
    }
    blocks.extend(left(plan.changes.len(), ROWS));
    if !plan.left_out.is_empty() {
        let row = |left: &tcproof_core::plan::LeftOut| {
            let change =
                format!("{} {} → {}", left.knob, crate::plan::nothing(&left.from), crate::plan::nothing(&left.to));
            vec![Cell::code(change), Cell::new(&left.text), Cell::new(&left.because)]
        };
        let columns = vec![column("Change"), column("Does"), column("Because")];
        let rows = plan.left_out.iter().take(ROWS).map(row).collect();
        blocks.push(Block::Table(Table { caption: "Left out of the plan".into(), columns, rows }));
    }
    if plan.changes.is_empty() && !plan.findings.is_empty() {
        blocks.insert(0, Block::Text("No kernel knob is to be changed; what helps is done by hand.".into()));
    }
    blocks
}

fn headroom(diagnosis: &Diagnosis) -> Vec<Block> {
    let worst = text::worst_per_limit(&diagnosis.headroom);
    if worst.is_empty() {
        return Vec::new();
    }
    let caption = "The fullest of every limit: the most seen in the window".into();
    let mut blocks = vec![Block::Table(room(diagnosis, caption, &worst))];
    let others: Vec<_> =
        diagnosis.headroom.iter().filter(|row| !worst.iter().any(|one| std::ptr::eq(*one, *row))).collect();
    blocks.extend(match others.len() {
        0 => None,
        n => Some(Block::Text(format!(
            "{} of the same limits less full: they are in the JSON.",
            count(n as u64, "more place")
        ))),
    });
    blocks
}

fn room(diagnosis: &Diagnosis, caption: String, rows: &[&Headroom]) -> Table {
    let row = |row: &&Headroom| {
        let found = diagnosis.findings.iter().find(|one| one.limit == row.limit && one.subject == row.subject);
        let tone = found.map_or(Tone::Plain, |one| tone(one.state));
        let mut what = vec![title(&row.limit)];
        what.extend(text::whose(diagnosis, &row.subject));
        let used = format!("{} of {} {}", thousands(row.used), thousands(row.capacity), row.unit);
        vec![
            Cell { lines: what, ..Cell::default() },
            Cell { lines: vec![used], chart: Some(Chart::Share(row.share(), tone)), ..Cell::default() },
            Cell::new(format!("{}\u{a0}%", percent(row.share()))),
        ]
    };
    let columns = vec![column("Limit"), column("Used"), number("Share")];
    Table { caption, columns, rows: rows.iter().take(ROWS).map(row).collect() }
}

/// What the looks saw of a queue.
fn queue(watch: &ListenerWatch) -> Cell {
    let ListenerWatch { looks, full, over_half, empty, longest, ref last, .. } = *watch;
    let some = looks.saturating_sub(empty).saturating_sub(over_half);
    let parts = [empty, some, over_half.saturating_sub(full), full];
    let share = |part: f64| format!("{}\u{a0}%", percent(part));
    let seen = format!(
        "full in {}, over half in {}, empty in {} of {}",
        share(watch.full_share()),
        share(watch.over_half_share()),
        share(watch.empty_share()),
        count(looks.into(), "look")
    );
    let length = format!("at most {} of {}", thousands(longest.into()), thousands(u64::from(last.backlog) + 1));
    Cell { lines: vec![length, seen], chart: Some(Chart::Looks(parts)), ..Cell::default() }
}

/// The queues, those that dropped or were fullest first.
fn listeners(interval: &Interval, diagnosis: &Diagnosis) -> Vec<Block> {
    let mut all: Vec<_> =
        interval.looks.listeners.iter().flat_map(|(id, of)| of.values().map(move |watch| (*id, watch))).collect();
    // What a queue was filled to, as a share of what the kernel lets in: the backlog and one more.
    let fill = |watch: &ListenerWatch| f64::from(watch.longest) / (f64::from(watch.last.backlog) + 1.0);
    let dropped = |watch: &ListenerWatch| watch.drops().value().copied();
    let is_idle = |watch: &ListenerWatch| watch.longest == 0 && dropped(watch) == Some(0);
    all.sort_by(|(_, a), (_, b)| {
        is_idle(a)
            .cmp(&is_idle(b))
            .then(dropped(b).cmp(&dropped(a)))
            .then(fill(b).total_cmp(&fill(a)))
            .then(a.last.local.cmp(&b.last.local))
    });
    let row = |(id, watch): &(_, &ListenerWatch)| {
        let mut what = vec![watch.last.local.to_string()];
        if diagnosis.namespaces > 1 {
            what.extend(interval.after.namespaces.get(id).map(|ns| format!("in {}", ns.name)));
        }
        vec![
            Cell { lines: what, ..Cell::default() },
            queue(watch),
            Cell::new(match watch.drops() {
                tcproof_core::Reading::Present(n) => thousands(n.into()),
                tcproof_core::Reading::Absent(_) => "not seen".into(),
            }),
        ]
    };
    if all.is_empty() {
        return Vec::new();
    }
    // A queue that nobody waited in says nothing but that.
    let waited = all.iter().filter(|(_, watch)| !is_idle(watch)).count();
    let idle = all.len() - waited;
    let empty = || Block::Text(format!("{} empty in every look, without a drop.", count(idle as u64, "accept queue")));
    let empty = (idle > 0).then(empty);
    all.truncate(waited.min(BUSIEST));
    let left = left(waited, BUSIEST);
    if all.is_empty() {
        return empty.into_iter().collect();
    }
    let columns = vec![column("Listener"), column("Queue over the looks"), number("Dropped")];
    let rows = all.iter().map(row).collect();
    let caption = "Accept queues: those that dropped, then the fullest".into();
    [Some(Block::Table(Table { caption, columns, rows })), left, empty].into_iter().flatten().collect()
}

fn connections(diagnosis: &Diagnosis) -> Vec<Block> {
    let Some(summary) = flows::summary(diagnosis) else { return Vec::new() };
    let row = |flow: &tcproof_core::FlowNote| {
        let arrow = if flow.sends { "→" } else { "←" };
        let mut what = vec![format!("{} {arrow} {}", flow.local, flow.remote)];
        if diagnosis.namespaces > 1 {
            what.push(format!("in {}", flow.netns));
        }
        let facts = flows::facts(flow).join(", ");
        let bound =
            if Limit::by_slug(&flow.bound_by).is_some() { title(&flow.bound_by) } else { flow.bound_by.clone() };
        let rate = crate::layout::bind(&in_bits(flow.bits_per_second as f64 / 8.0));
        vec![
            Cell { lines: what, ..Cell::default() },
            Cell { lines: vec![bound, facts], ..Cell::default() },
            Cell::new(rate),
        ]
    };
    let columns = vec![column("Connection"), column("Held back by"), number("Rate")];
    let rows = diagnosis.flows.iter().take(FLOWS).map(row).collect();
    let caption = "Connections that were looked at, the fastest first".into();
    let mut blocks = vec![Block::Text(summary), Block::Table(Table { caption, columns, rows })];
    blocks.extend(left(diagnosis.flows.len(), FLOWS));
    blocks
}

fn unknown(diagnosis: &Diagnosis, interval: Option<&Interval>) -> Vec<Block> {
    let mut lines: Vec<_> = text::group(&diagnosis.unknown).iter().map(text::Group::line).collect();
    let all = lines.len();
    lines.truncate(ROWS);
    if interval.is_none() {
        lines.push("A saved check has no queues over time, no packet path, no probes and no count of sockets.".into());
    }
    let mut blocks = Vec::new();
    if !lines.is_empty() {
        blocks.push(Block::List(lines));
    }
    blocks.extend(left(all, ROWS));
    blocks
}

fn without_finding(diagnosis: &Diagnosis) -> Vec<Block> {
    // Nothing was judged, so nothing was without a finding.
    if diagnosis.headroom.is_empty() && diagnosis.checked == 0 {
        return Vec::new();
    }
    let found: BTreeSet<&str> = diagnosis.findings.iter().map(|finding| finding.limit.as_str()).collect();
    let unseen: BTreeSet<&str> = diagnosis.unknown.iter().map(|one| one.limit.as_str()).collect();
    let worst = text::worst_per_limit(&diagnosis.headroom);
    let row = |limit: &&&Limit| {
        let room = worst.iter().find(|row| row.limit == limit.slug);
        let fullest = room.map(|row| format!("{}\u{a0}% used at most", percent(row.share())));
        let unseen = unseen.contains(limit.slug).then(|| "not all of it could be seen".to_string());
        let mut lines: Vec<_> = fullest.into_iter().chain(unseen).collect();
        if lines.is_empty() {
            lines.push("no sign of it".into());
        }
        vec![Cell::new(limit.title), Cell { lines, ..Cell::default() }]
    };
    let clear: Vec<_> = LIMITS.iter().filter(|limit| !found.contains(limit.slug)).collect();
    let rows: Vec<_> = clear.iter().map(row).collect();
    let columns = vec![column("Limit"), column("Seen")];
    let caption = format!("{} without a finding", count(rows.len() as u64, "limit"));
    vec![Block::Table(Table { caption, columns, rows })]
}

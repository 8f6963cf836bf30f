//! The first screen of `tcproof check`: what a tired engineer reads, and pastes into a ticket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tcproof_core::limits::{Limit, percent};
use tcproof_core::snapshot::Host;
use tcproof_core::{Diagnosis, Finding, Headroom, Level, Owner, Remedy, SinceBoot, State, Subject, Unknown, Verdict};

pub use crate::layout::Style;
use crate::layout::{Cell, Role, Screen, bar, bind, count, few, thousands};
use crate::{host_name, title};

/// Columns in front of every text.
const MARGIN: usize = 10;
/// Findings shown in full.
const FULL: usize = 5;
/// Findings shown on one line after those.
const BRIEF: usize = 20;
/// Rows of headroom that are always shown.
const ROWS: usize = 3;
/// Headroom that is worth a row beyond those.
const WORTH_A_ROW: f64 = 0.1;
/// Reasons why something could not be seen.
const REASONS: usize = 6;
/// Counters since boot.
const SINCE_BOOT: usize = 8;
/// Names in a list.
const NAMES: usize = 3;

/// The screen; with `quiet`, one line for scripts, which is not wrapped.
pub fn check(diagnosis: &Diagnosis, style: &Style) -> String {
    let mut check = Check { diagnosis, screen: Screen::new(style) };
    if style.quiet {
        check.one_line();
    } else {
        check.header();
        check.findings();
        crate::flows::block(&mut check.screen, diagnosis, MARGIN);
        check.headroom();
        check.since_boot();
        check.unknown();
    }
    check.screen.finish()
}

/// One finding, as the screen has it.
pub(crate) fn one_finding(diagnosis: &Diagnosis, finding: &Finding, style: &Style) -> String {
    let mut check = Check { diagnosis, screen: Screen::new(style) };
    check.finding(finding, true);
    check.screen.finish()
}

struct Check<'a> {
    diagnosis: &'a Diagnosis,
    screen: Screen<'a>,
}

impl Check<'_> {
    fn verbose(&self) -> bool {
        self.screen.style.verbose
    }

    /// At most so many, or all.
    fn most(&self, n: usize) -> usize {
        if self.verbose() { usize::MAX } else { n }
    }

    fn one_line(&mut self) {
        let verdict = self.diagnosis.verdict();
        let what = match self.diagnosis.findings.first() {
            Some(finding) => {
                format!("{} of {} ({})", finding.limit, place(self.diagnosis, &finding.subject), finding.cause)
            }
            None => looked(self.diagnosis),
        };
        self.screen.unwrapped(&format!("{}: {what}", verdict.as_str()));
    }

    fn header(&mut self) {
        let Diagnosis { host, window, sockets, namespaces, .. } = self.diagnosis;
        header(&mut self.screen, host, *window, *sockets, *namespaces);
    }

    fn findings(&mut self) {
        let findings = &self.diagnosis.findings;
        match self.diagnosis.verdict() {
            Verdict::Clear => {
                self.screen.text(Role::Clear, &format!("nothing limits TCP here: {}", looked(self.diagnosis)));
            }
            Verdict::Unknown => self.screen.text(Role::Near, &format!("no verdict: {}", looked(self.diagnosis))),
            Verdict::Limiting | Verdict::Near => {}
        }
        let (full, rest) = findings.split_at(findings.len().min(self.most(FULL)));
        for (at, finding) in full.iter().enumerate() {
            let explained = full[..at].iter().any(|earlier| earlier.limit == finding.limit);
            self.finding(finding, !explained);
            self.screen.gap();
        }
        for finding in rest.iter().take(BRIEF) {
            let (role, word) = state(finding.state);
            let who = owners(finding.subject.owners(), 1).map(|who| format!(", {who}")).unwrap_or_default();
            let text = format!("{}: {}{who}", heading(self.diagnosis, finding), finding.cause);
            self.screen.row(&[Cell::new(role, word, MARGIN)], Role::Plain, &text);
        }
        let left = rest.get(BRIEF..).unwrap_or_default();
        if !left.is_empty() {
            let limiting = left.iter().filter(|finding| finding.state == State::Limiting).count();
            let near = left.len() - limiting;
            let text = format!("{} more: {limiting} limiting, {near} near (-v shows all)", left.len());
            self.screen.row(&[Cell::blank(MARGIN)], Role::Plain, &text);
        }
        self.screen.gap();
    }

    fn finding(&mut self, finding: &Finding, explain: bool) {
        let (role, word) = state(finding.state);
        let heading = heading(self.diagnosis, finding);
        self.screen.row(&[Cell::new(role, word, MARGIN)], Role::Heading, &heading);
        match owners(finding.subject.owners(), self.most(NAMES)) {
            Some(who) => self.field("who", &who),
            None if has_owner(&finding.subject) => self.field("who", NOT_SEEN),
            None => {}
        }
        self.field("seen", &finding.summary);
        self.field("cause", &cause(finding));
        if self.verbose() {
            let numbers: Vec<_> = finding.evidence.iter().map(evidence).collect();
            self.field("numbers", &numbers.join("; "));
        }
        let not: Vec<_> =
            finding.ruled_out.iter().map(|other| format!("{} ({})", title(&other.limit), other.because)).collect();
        self.field("not", &not.join(", "));
        for (at, remedy) in finding.remedies.iter().enumerate() {
            self.remedy(at, remedy);
        }
        let mut verify: Vec<&str> = Vec::new();
        for condition in finding.remedies.iter().filter_map(|remedy| remedy.verify.as_deref()) {
            if !verify.contains(&condition) {
                verify.push(condition);
            }
        }
        self.field("ok when", &verify.join("; "));
        if explain && Limit::by_slug(&finding.limit).is_some() {
            self.labelled("more", Role::Command, &format!("tcproof explain {}", finding.limit));
        }
    }

    /// What one reading alone has of the past.
    fn since_boot(&mut self) {
        let all = &self.diagnosis.since_boot;
        if all.is_empty() {
            return;
        }
        let most = self.most(SINCE_BOOT);
        let of = |row: &SinceBoot| {
            let place = if self.diagnosis.namespaces > 1 { format!(" in {}", row.netns) } else { String::new() };
            bind(&format!("{} {}{place}", row.reading, thousands(row.value)))
        };
        let mut rows: Vec<_> = all.iter().take(most).map(of).collect();
        let left = all.len().saturating_sub(most);
        if left > 0 {
            rows.push(format!("{left} more (-v)"));
        }
        let text = format!("{}. When, one reading can't say, so nothing is judged by it.", rows.join(", "));
        self.screen.row(&[Cell::new(Role::Heading, "SINCE BOOT", MARGIN + 2)], Role::Plain, &text);
        self.screen.gap();
    }

    fn field(&mut self, label: &str, text: &str) {
        self.labelled(label, Role::Plain, text);
    }

    fn labelled(&mut self, label: &str, role: Role, text: &str) {
        if !text.is_empty() {
            self.screen.row(&[Cell::blank(2), Cell::new(Role::Label, label, MARGIN - 2)], role, text);
        }
    }

    fn remedy(&mut self, at: usize, remedy: &Remedy) {
        let number = format!("{}. ", at + 1);
        let label = if at == 0 { "do" } else { "" };
        let indent = MARGIN + number.len();
        let cells =
            [Cell::blank(2), Cell::new(Role::Label, label, MARGIN - 2), Cell::new(Role::Plain, &number, number.len())];
        self.screen.row(&cells, Role::Plain, &format!("{} ({})", remedy.text, level(remedy.level)));
        if let Some(change) = change(remedy) {
            self.screen.row(&[Cell::blank(indent)], Role::Command, &change);
        }
        for (what, text) in [("computed", &remedy.formula), ("cost", &remedy.cost)] {
            if let Some(text) = text {
                self.screen.row(&[Cell::blank(indent)], Role::Plain, &format!("{what}: {text}"));
            }
        }
    }

    fn headroom(&mut self) {
        let all = &self.diagnosis.headroom;
        let rows: Vec<&Headroom> = if self.verbose() { all.iter().collect() } else { worst_per_limit(all) };
        let low = |at: usize, row: &Headroom| at >= self.most(ROWS) && row.share() < WORTH_A_ROW;
        let shown: Vec<_> = rows.iter().enumerate().filter(|(at, row)| !low(*at, row)).map(|(_, row)| *row).collect();
        let widest = shown.iter().map(|row| self.screen.width_of(&row.limit)).max().unwrap_or(0).min(20);
        // In reverse, so that the worst finding of a subject is the one that stays.
        let states: BTreeMap<(&str, &Subject), State> =
            self.diagnosis.findings.iter().rev().map(|f| ((f.limit.as_str(), &f.subject), f.state)).collect();
        for (at, row) in shown.iter().enumerate() {
            let role = states.get(&(row.limit.as_str(), &row.subject)).map_or(Role::Plain, |of| state(*of).0);
            self.headroom_row(row, if at == 0 { "HEADROOM" } else { "" }, role, widest + 1);
        }
        let left = rows.len() - shown.len();
        if left > 0 {
            let text = format!("{left} more below {} % (-v)", percent(WORTH_A_ROW));
            self.screen.row(&[Cell::blank(MARGIN)], Role::Label, &text);
        }
    }

    fn headroom_row(&mut self, row: &Headroom, label: &str, role: Role, names: usize) {
        let columns = self.screen.style.columns();
        let bars = if columns < 80 { 5 } else { 10 };
        let bar = bar(row.share(), bars, self.screen.style.unicode);
        let share = format!("{:>3}\u{a0}%", percent(row.share()));
        let cells = [
            Cell::new(Role::Heading, label, MARGIN),
            // The short name, which is also what `tcproof explain` takes.
            Cell::new(Role::Plain, &row.limit, names),
            Cell::new(role, &bar, bars + 1),
            Cell::new(role, &share, 7),
        ];
        let used = format!("{} of {}", thousands(row.used), thousands(row.capacity));
        let whose = whose(self.diagnosis, &row.subject).map(|whose| format!("{whose}  ")).unwrap_or_default();
        let full = format!("{whose}{}", bind(&format!("{used} {}", row.unit)));
        let short = format!("{whose}{}", bind(&used));
        let room = columns - cells.iter().map(|cell| cell.width).sum::<usize>();
        // An address torn in three is harder to read than a missing unit, or a second line.
        if let Some(detail) = [&full, &short].into_iter().find(|detail| self.screen.width_of(detail) <= room) {
            self.screen.row(&cells, Role::Plain, detail);
        } else {
            self.screen.row(&cells, Role::Plain, "");
            self.screen.row(&[Cell::blank(MARGIN + 2)], Role::Plain, &full);
        }
    }

    fn unknown(&mut self) {
        let unknown = &self.diagnosis.unknown;
        let lines: Vec<String> = if self.verbose() {
            unknown.iter().map(one).collect()
        } else {
            group(unknown).iter().map(Group::line).collect()
        };
        let most = self.most(REASONS);
        for (at, line) in lines.iter().take(most).enumerate() {
            let label = if at == 0 { "UNKNOWN" } else { "" };
            self.screen.row(&[Cell::new(Role::Heading, label, MARGIN)], Role::Plain, line);
        }
        if !lines.is_empty() {
            let more = match lines.len().saturating_sub(most) {
                0 => "more: tcproof doctor".to_string(),
                left => format!("{left} more reasons (-v); more: tcproof doctor"),
            };
            self.screen.row(&[Cell::blank(MARGIN)], Role::Command, &more);
        }
    }
}

/// `41 checked, 2 could not be seen`
pub(crate) fn looked(diagnosis: &Diagnosis) -> String {
    let (checked, unseen) = (diagnosis.checked, diagnosis.unknown.len());
    match (checked, unseen) {
        (0, 0) => "nothing to judge".to_string(),
        (0, unseen) => format!("nothing could be judged, {unseen} could not be seen"),
        (checked, 0) => format!("{checked} checked"),
        (checked, unseen) => format!("{checked} checked, {unseen} could not be seen"),
    }
}

/// `accept queue of 0.0.0.0:8080 in web`
pub(crate) fn heading(diagnosis: &Diagnosis, finding: &Finding) -> String {
    let sure = match finding.confidence {
        tcproof_core::Confidence::Proven => "",
        tcproof_core::Confidence::Likely => " (likely, not proven)",
    };
    format!("{} of {}{sure}", title(&finding.limit), place(diagnosis, &finding.subject))
}

/// The subject, with its namespace where there is more than one.
pub(crate) fn place(diagnosis: &Diagnosis, subject: &Subject) -> String {
    match subject.netns() {
        Some(netns) if diagnosis.namespaces > 1 && !matches!(subject, Subject::Netns { .. }) => {
            format!("{subject} in {netns}")
        }
        _ => subject.to_string(),
    }
}

/// The subject, where it is not simply the host or its one namespace.
pub(crate) fn whose(diagnosis: &Diagnosis, subject: &Subject) -> Option<String> {
    match subject {
        Subject::Host => None,
        Subject::Netns { .. } if diagnosis.namespaces <= 1 => None,
        subject => Some(place(diagnosis, subject)),
    }
}

/// `web-07 · Linux 6.8 · 16 CPUs · watched 5.0 s · 11 842 sockets · 3 namespaces`
pub(crate) fn header(screen: &mut Screen<'_>, host: &Host, window: Duration, sockets: Option<u64>, namespaces: usize) {
    let mut parts = machine(host);
    parts.push(match window.as_secs_f64() {
        0.0 => "one look".to_string(),
        seconds => format!("watched {seconds:.1} s"),
    });
    parts.extend(sockets.map(|n| count(n, "socket")));
    if namespaces > 0 {
        parts.push(count(namespaces as u64, "namespace"));
    }
    first_line(screen, &parts);
    screen.gap();
}

/// `web-07 · Linux 6.8 · 16 CPUs`, each by itself.
pub(crate) fn machine(host: &Host) -> Vec<String> {
    let mut parts = vec![host_name(&host.name).to_string()];
    if !host.kernel.is_empty() {
        parts.push(format!("Linux {}", host.kernel));
    }
    if host.cpus > 0 {
        parts.push(count(host.cpus.into(), "CPU"));
    }
    parts
}

pub(crate) fn first_line(screen: &mut Screen<'_>, parts: &[String]) {
    let parts: Vec<_> = parts.iter().map(|part| bind(part)).collect();
    screen.text(Role::Plain, &parts.join("\u{a0}· "));
}

pub(crate) fn state(state: State) -> (Role, &'static str) {
    match state {
        State::Limiting => (Role::Limiting, "LIMITING"),
        State::Near => (Role::Near, "NEAR"),
    }
}

pub(crate) fn level(level: Level) -> &'static str {
    match level {
        Level::Application => "application",
        Level::Service => "service",
        Level::Kernel => "kernel",
    }
}

/// Whether somebody holds it, be it seen or not.
pub(crate) fn has_owner(subject: &Subject) -> bool {
    matches!(subject, Subject::Listener { .. } | Subject::Flow { .. })
}

/// In place of the owner.
pub(crate) const NOT_SEEN: &str = "the process that holds it was not seen (tcproof doctor)";

/// `net.core.somaxconn 128 → 4096`
pub(crate) fn change(remedy: &Remedy) -> Option<String> {
    let knob = remedy.knob.as_ref()?;
    Some(match (&remedy.from, &remedy.to) {
        (Some(from), Some(to)) => format!("{knob} {from} → {to}"),
        (None, Some(to)) => format!("{knob} → {to}"),
        (_, None) => knob.clone(),
    })
}

/// The cause's stable name, and why it is that one.
pub(crate) fn cause(finding: &Finding) -> String {
    let meaning = || {
        let causes = Limit::by_slug(&finding.limit)?.causes;
        causes.iter().find(|(slug, _)| *slug == finding.cause).map(|(_, meaning)| (*meaning).to_string())
    };
    let because = Some(finding.because.clone()).filter(|text| !text.is_empty()).or_else(meaning);
    match because {
        Some(because) => format!("{}: {because}", finding.cause),
        None => finding.cause.clone(),
    }
}

/// A counter as one, a share with two digits.
pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn evidence(evidence: &tcproof_core::Evidence) -> String {
    let tcproof_core::Evidence { reading, value, unit, over_seconds } = evidence;
    let value = number(*value);
    match over_seconds {
        Some(seconds) => format!("{reading} +{value} {unit} in {seconds:.1} s"),
        None => format!("{reading} {value} {unit}"),
    }
}

/// `gunicorn, pids 2113, 2114, 2115 and 5 more, api.service; …`: processes of one name and unit together.
pub(crate) fn owners(owners: &[Owner], most: usize) -> Option<String> {
    let mut kinds: Vec<(&Owner, Vec<String>)> = Vec::new();
    for owner in owners {
        let same =
            |other: &Owner| (&other.comm, &other.unit, &other.cgroup) == (&owner.comm, &owner.unit, &owner.cgroup);
        match kinds.iter_mut().find(|(kind, _)| same(kind)) {
            Some((_, pids)) => pids.push(owner.pid.to_string()),
            None => kinds.push((owner, vec![owner.pid.to_string()])),
        }
    }
    let name = |(kind, pids): &(&Owner, Vec<String>)| {
        let pid = if pids.len() == 1 { "pid" } else { "pids" };
        let within = kind.unit.as_ref().or(kind.cgroup.as_ref()).map(|unit| format!(", {unit}")).unwrap_or_default();
        format!("{}, {pid} {}{within}", kind.comm, few(pids, most))
    };
    let shown: Vec<_> = kinds.iter().take(most).map(name).collect();
    let left: usize = kinds.iter().skip(most).map(|(_, pids)| pids.len()).sum();
    let more = if left > 0 { format!("; {left} more") } else { String::new() };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join("; ")))
}

/// The first, and so the fullest, of every limit.
pub(crate) fn worst_per_limit(all: &[Headroom]) -> Vec<&Headroom> {
    let mut worst: Vec<&Headroom> = Vec::new();
    for row in all {
        if !worst.iter().any(|other| other.limit == row.limit) {
            worst.push(row);
        }
    }
    worst
}

/// What could not be seen for one reason.
pub(crate) struct Group<'a> {
    because: &'a str,
    would_need: Option<&'a str>,
    limits: BTreeSet<String>,
    readings: BTreeSet<String>,
    places: BTreeSet<String>,
}

/// Groups by reason; a reason that differs only in a number (a pid, an inode) is the same.
pub(crate) fn group(unknown: &[Unknown]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut index: BTreeMap<(String, Option<&str>), usize> = BTreeMap::new();
    for one in unknown {
        let key = (without_numbers(&one.because), one.would_need.as_deref());
        let at = *index.entry(key).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group {
                because: &one.because,
                would_need: one.would_need.as_deref(),
                limits: BTreeSet::new(),
                readings: BTreeSet::new(),
                places: BTreeSet::new(),
            });
        }
        // Readings are named `reading of place`.
        let (reading, place) = match one.reading.rsplit_once(" of ") {
            Some((reading, place)) => (reading, Some(place)),
            None => (one.reading.as_str(), None),
        };
        let group = &mut groups[at];
        group.limits.insert(limit_name(&one.limit));
        group.readings.insert(reading.to_string());
        group.places.extend(place.map(ToString::to_string));
    }
    groups
}

fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            c if !c.is_ascii_digit() => plain.push(c),
            _ if plain.ends_with('#') => {}
            _ => plain.push('#'),
        }
    }
    plain
}

fn limit_name(slug: &str) -> String {
    if slug == "all" { "every limit".to_string() } else { title(slug) }
}

impl Group<'_> {
    pub(crate) fn line(&self) -> String {
        let mut what = few(&self.readings, NAMES);
        if !self.places.is_empty() {
            // One name tells more than two here: the first says which kind of place it is.
            what = format!("{what} of {}", few(&self.places, 1));
        }
        unseen(&few(&self.limits, NAMES), &what, self.because, self.would_need)
    }
}

fn one(unknown: &Unknown) -> String {
    unseen(&limit_name(&unknown.limit), &unknown.reading, &unknown.because, unknown.would_need.as_deref())
}

fn unseen(limits: &str, what: &str, because: &str, would_need: Option<&str>) -> String {
    let needs = would_need.map(|needs| format!(" (needs {needs})")).unwrap_or_default();
    format!("{limits}: {what}: {because}{needs}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use textwrap::core::display_width;

    use super::*;
    use crate::examples::{self, blind, clamped_listener, limiting, many, near, quiet, slow_listener};

    fn at(width: usize) -> Style {
        Style { width, ..Style::default() }
    }

    /// What a name can be set to by any program.
    const HOSTILE: &str = "evil\x1b[31m\n";

    #[test]
    fn a_slow_listener() {
        for width in [60, 80, 120] {
            insta::assert_snapshot!(format!("slow_listener_{width}"), check(&limiting("gunicorn"), &at(width)));
        }
    }

    #[test]
    fn a_slow_listener_in_full() {
        insta::assert_snapshot!(check(&limiting("gunicorn"), &Style { verbose: true, ..Style::default() }));
    }

    #[test]
    fn a_slow_listener_without_unicode() {
        let screen = check(&limiting("gunicorn"), &Style { unicode: false, ..Style::default() });
        assert!(screen.is_ascii());
        insta::assert_snapshot!(screen);
    }

    #[test]
    fn colour_says_nothing_that_words_do_not() {
        let screen = check(&limiting("gunicorn"), &Style { color: true, ..Style::default() });
        insta::assert_snapshot!(screen.replace('\x1b', "␛"));
        let mut plain = String::new();
        let mut rest = screen.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').expect("a colour ends").1;
        }
        plain.push_str(rest);
        assert_eq!(plain, check(&limiting("gunicorn"), &Style::default()));
    }

    #[test]
    fn a_hostile_name() {
        insta::assert_snapshot!(check(&limiting(HOSTILE), &Style::default()));
    }

    #[test]
    fn two_findings_one_of_them_near() {
        let diagnosis = Diagnosis { namespaces: 2, findings: vec![clamped_listener(), near()], ..quiet() };
        insta::assert_snapshot!(check(&diagnosis, &Style::default()));
    }

    #[test]
    fn long_addresses_and_long_words() {
        let mut diagnosis = Diagnosis { namespaces: 2, findings: vec![clamped_listener()], ..quiet() };
        diagnosis.findings[0].remedies[0].text = format!("{} {}", "word ".repeat(30).trim_end(), "x".repeat(100));
        let (source, to) = ("2001:db8:1111:2222:3333:4444:5555:6666", "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:5432");
        diagnosis.headroom[0].subject = examples::destination("web", source, to);
        insta::assert_snapshot!(check(&diagnosis, &at(60)));
    }

    #[test]
    fn a_quiet_host() {
        let screen = check(&quiet(), &Style::default());
        assert!(screen.contains("nothing limits TCP here: 41 checked\n"), "{screen}");
        insta::assert_snapshot!(screen);
        let unknown = limiting("x").unknown;
        let screen = check(&Diagnosis { unknown, ..quiet() }, &Style::default());
        assert!(screen.contains("nothing limits TCP here: 41 checked, 3 could not be seen\n"), "{screen}");
    }

    #[test]
    fn a_host_that_cannot_be_seen() {
        insta::assert_snapshot!(check(&blind(), &Style::default()));
    }

    #[test]
    fn a_hundred_findings() {
        insta::assert_snapshot!(check(&many(100), &Style::default()));
        let all = check(&many(100), &Style { verbose: true, ..Style::default() });
        assert_eq!(all.matches("LIMITING").count() + all.matches("NEAR ").count(), 100);
        assert!((5..=25).all(|n| check(&many(n), &Style::default()).matches("127.0.0.1").count() >= n));
    }

    #[test]
    fn one_line_for_scripts() {
        let quiet_line = |diagnosis: &Diagnosis| check(diagnosis, &Style { quiet: true, ..Style::default() });
        assert_eq!(
            quiet_line(&Diagnosis { namespaces: 1, ..limiting("x") }),
            "limiting: accept-queue of 0.0.0.0:8080 (application-slow)\n"
        );
        assert_eq!(quiet_line(&limiting("x")), "limiting: accept-queue of 0.0.0.0:8080 in host (application-slow)\n");
        assert_eq!(
            quiet_line(&Diagnosis { findings: vec![near()], ..quiet() }),
            "near: nic-ring of eth0 (ring-full)\n"
        );
        assert_eq!(quiet_line(&quiet()), "clear: 41 checked\n");
        assert_eq!(quiet_line(&blind()), "unknown: nothing could be judged, 6 could not be seen\n");
    }

    #[test]
    fn processes_of_one_name_and_unit_are_told_together() {
        let mut all: Vec<_> = (1..=6).map(|pid| examples::owner(pid, "nginx", Some("nginx.service"))).collect();
        all.push(examples::owner(70, "sh", None));
        assert_eq!(owners(&all, 3).as_deref(), Some("nginx, pids 1, 2, 3 and 3 more, nginx.service; sh, pid 70"));
        assert_eq!(owners(&all, 1).as_deref(), Some("nginx, pids 1 and 5 more, nginx.service; 1 more"));
        assert_eq!(owners(&[], 3), None);
    }

    #[test]
    fn one_reason_over_many_namespaces_is_one_line() {
        let unknown: Vec<_> = (0..200)
            .map(|n| {
                let because = format!("no permission to read /proc/{n}/net/netstat");
                examples::unknown("accept-queue", &format!("TcpExt.ListenDrops of net:[{n}]"), &because, Some("root"))
            })
            .collect();
        let screen = check(&Diagnosis { unknown, ..quiet() }, &at(120));
        assert!(screen.contains("TcpExt.ListenDrops of net:[0] and 199 more"), "{screen}");
        assert_eq!(screen.matches("no permission").count(), 1);
    }

    fn text() -> impl Strategy<Value = String> {
        let words = proptest::collection::vec("\\PC{0,30}|[a-z]{0,12}|[\\x00-\\x20]{1,4}", 0..8);
        prop_oneof![any::<String>(), words.prop_map(|words| words.join(" ")), "[日本\u{202e}\u{301}👩🏽🇩🇪 ]{0,90}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_line_is_wider_than_the_screen_and_no_control_survives(
            strings in proptest::collection::vec(text(), 8),
            width in 0_usize..200,
            (unicode, verbose) in any::<(bool, bool)>(),
            (used, capacity) in any::<(u64, u64)>(),
        ) {
            let mut next = strings.iter().cycle().cloned();
            let mut next = || next.next().unwrap();
            let mut finding = slow_listener(&next());
            finding.limit = next();
            finding.cause = next();
            finding.summary = next();
            finding.because = next();
            finding.remedies[0].text = next();
            finding.remedies[0].knob = Some(next());
            finding.remedies[0].to = Some(next());
            finding.ruled_out[0].because = next();
            finding.evidence[0].reading = next();
            let mut other = finding.clone();
            other.subject = examples::listener(&next(), &next(), vec![examples::owner(1, &next(), Some(&next()))]);
            let mut diagnosis = quiet();
            diagnosis.namespaces = 2;
            diagnosis.host.name = next();
            diagnosis.host.kernel = next();
            diagnosis.headroom.push(examples::headroom(&next(), other.subject.clone(), used, capacity, &next()));
            diagnosis.unknown = vec![examples::unknown(&next(), &next(), &next(), Some(&next()))];
            diagnosis.findings = vec![finding, other];
            let style = Style { width, unicode, verbose, ..Style::default() };
            let screen = check(&diagnosis, &style);
            for line in screen.lines() {
                prop_assert!(display_width(line) <= style.columns(), "{} columns: {line:?}", display_width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            prop_assert!(unicode || screen.is_ascii());
            let line = check(&diagnosis, &Style { quiet: true, ..style });
            prop_assert_eq!(line.lines().count(), 1);
        }
    }
}

//! Whether a change helped: a table of before and after for each finding, and `tcproof/verify/1` for programs.

use serde::Serialize;
use tcproof_core::Subject;
use tcproof_core::limits::in_bits;
use tcproof_core::verify::{Amount, Change, Measure, Outcome, Row, Verification, Verified};

use crate::json;
use crate::layout::{Cell, Role, Screen, Style, bind, count, thousands};
use crate::title;

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../schema/verify-1.schema.json");

/// Columns in front of every text, as on the first screen of `check`.
const MARGIN: usize = 10;
/// Columns of a measure's name, of a value, and of what became of it.
const COLUMNS: [usize; 3] = [10, 15, 8];

/// For people.
pub fn text(verification: &Verification, style: &Style) -> String {
    let mut screen = Screen::new(style);
    let [before, after] = verification.seconds.map(|seconds| bind(&format!("{seconds:.1} s")));
    let findings = count(verification.findings.len() as u64, "finding");
    let (role, _) = outcome(verification.outcome);
    let said = format!("{}: {findings}, {before} before and {after} after", verification.outcome.as_str());
    screen.text(role, &said);
    if style.quiet {
        return screen.finish();
    }
    for finding in &verification.findings {
        show(&mut screen, finding);
    }
    screen.finish()
}

fn show(screen: &mut Screen<'_>, finding: &Verified) {
    screen.gap();
    let what = format!("{} of {}", title(&finding.limit), finding.subject);
    let (role, word) = outcome(finding.outcome);
    screen.row(&[Cell::new(role, &word.to_uppercase(), MARGIN)], Role::Heading, &what);
    let [label, value, change] = COLUMNS;
    if !finding.rows.is_empty() {
        let titles = [Cell::blank(label), Cell::new(Role::Label, "before", value), Cell::blank(0)];
        screen.row(&titles, Role::Label, "after");
    }
    for row in &finding.rows {
        let [before, after] = [row.before, row.after].map(|amount| said(row, amount));
        let (told, word) = judged(row.change);
        let cells = [
            Cell::new(Role::Label, measure(row.measure), label),
            Cell::new(Role::Plain, &before, value),
            Cell::new(Role::Plain, &after, value),
            Cell::new(told, word, change),
        ];
        screen.row(&cells, Role::Label, &row.reading);
    }
    screen.row(&[Cell::new(Role::Label, "because", label)], Role::Plain, &because(finding));
}

/// Why, where the short word does not say it all.
pub(crate) fn because(finding: &Verified) -> String {
    match finding.outcome {
        Outcome::TooDifferent => format!("{}: {}", finding.outcome.as_str(), finding.because),
        _ => finding.because.clone(),
    }
}

/// A short word, to stand in the margin.
pub(crate) fn outcome(outcome: Outcome) -> (Role, &'static str) {
    match outcome {
        Outcome::Worse => (Role::Limiting, "worse"),
        Outcome::NoEffect => (Role::Limiting, "no effect"),
        Outcome::Unknown | Outcome::TooDifferent => (Role::Near, "unknown"),
        Outcome::Better => (Role::Clear, "better"),
        Outcome::Cured => (Role::Clear, "cured"),
    }
}

pub(crate) fn judged(change: Option<Change>) -> (Role, &'static str) {
    match change {
        Some(Change::Better) => (Role::Clear, "better"),
        Some(Change::Same) => (Role::Plain, "same"),
        Some(Change::Worse) => (Role::Limiting, "worse"),
        None => (Role::Plain, ""),
    }
}

pub(crate) fn measure(measure: Measure) -> &'static str {
    match measure {
        Measure::Symptom => "symptom",
        Measure::Headroom => "headroom",
        Measure::Goodput => "goodput",
        Measure::Load => "load",
    }
}

/// `68.4/s`, `129 of 1025`, `12 Mbit/s`, `3 flows`.
pub(crate) fn said(row: &Row, amount: Option<Amount>) -> String {
    let Some(amount) = amount else { return "-".into() };
    let number = |value: f64| match value {
        value if value.fract() == 0.0 || value >= 1e4 => thousands(value as u64),
        value if value < 0.1 => format!("{value:.2}"),
        value => format!("{value:.1}"),
    };
    let value = number(amount.value);
    match amount.of {
        Some(of) => bind(&format!("{value} of {}", number(of))),
        None if row.unit == "bits/s" => bind(&in_bits(amount.value / 8.0)),
        None if row.unit.ends_with("/s") => format!("{value}/s"),
        None => bind(&format!("{value} {}", row.unit)),
    }
}

/// For programs: `tcproof/verify/1`.
pub fn json(verification: &Verification) -> String {
    json::to_text(&View {
        schema: "tcproof/verify/1",
        outcome: verification.outcome,
        should_undo: verification.should_undo(),
        seconds_before: verification.seconds[0],
        seconds_after: verification.seconds[1],
        findings: verification.findings.iter().map(FindingView::new).collect(),
    })
}

#[derive(Serialize)]
struct View<'a> {
    schema: &'static str,
    outcome: Outcome,
    should_undo: bool,
    #[serde(serialize_with = "json::number")]
    seconds_before: f64,
    #[serde(serialize_with = "json::number")]
    seconds_after: f64,
    findings: Vec<FindingView<'a>>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    limit: &'a str,
    subject: &'a Subject,
    outcome: Outcome,
    because: &'a str,
    rows: Vec<RowView<'a>>,
}

impl<'a> FindingView<'a> {
    fn new(finding: &'a Verified) -> Self {
        let Verified { limit, subject, outcome, because, rows } = finding;
        Self { limit, subject, outcome: *outcome, because, rows: rows.iter().map(RowView::new).collect() }
    }
}

#[derive(Serialize)]
struct RowView<'a> {
    measure: Measure,
    reading: &'a str,
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<AmountView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AmountView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
}

#[derive(Serialize)]
struct AmountView {
    #[serde(serialize_with = "json::number")]
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::some_number")]
    of: Option<f64>,
}

impl<'a> RowView<'a> {
    fn new(row: &'a Row) -> Self {
        let view = |amount: Option<Amount>| amount.map(|Amount { value, of }| AmountView { value, of });
        let Row { measure, reading, unit, before, after, change } = row;
        Self { measure: *measure, reading, unit, before: view(*before), after: view(*after), change: *change }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use tcproof_core::Interval;
    use tcproof_core::verify::{Observation, verify};
    use textwrap::core::display_width;

    use super::*;
    use crate::examples::verification;

    #[test]
    fn before_and_after() {
        insta::assert_snapshot!(text(&verification("web", "0.0.0.0:80"), &Style::default()), @r"
        unknown: 3 findings, 5.0 s before and 5.0 s after

        CURED     accept queue of 0.0.0.0:80
                  before         after
        symptom   68.4/s         0/s            better  handshakes dropped
                                                        (SK_MEMINFO_DROPS)
        headroom  129 of 129     200 of 1025            used of the capacity
        goodput   12 Mbit/s      15 Mbit/s              flows of the same service
        load      2222.7/s       24 000/s               connections tried
        because   at 1.08 times the load

        UNKNOWN   segments lost of namespace web
                  before         after
        load      3 flows        9 flows                connections tried
        because   load too different to tell: 3 flows and then 9

        UNKNOWN   connection tracking table of namespace web
                  before         after
        symptom   0.04/s         -                      handshakes dropped
                                                        (SK_MEMINFO_DROPS)
        because   after: no permission to read /proc/net/stat/nf_conntrack
        ");
        let quiet = Style { quiet: true, ..Style::default() };
        insta::assert_snapshot!(text(&verification("web", "0.0.0.0:80"), &quiet), @"unknown: 3 findings, 5.0 s before and 5.0 s after");
    }

    #[test]
    fn what_is_rendered_is_what_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        let validator = jsonschema::validator_for(&schema).unwrap();
        let nothing = Observation::new(Interval::default());
        for verification in
            [verification("web", "x"), verification("e\x1b[31m", "\u{9b}\n"), verify(&[], &nothing, &nothing)]
        {
            let text = json(&verification);
            let value: Value = serde_json::from_str(&text).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty() && !text.contains("null"), "{errors:?} in {text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
            assert_eq!(value["should_undo"], verification.should_undo());
        }
        let broken = json(&verification("web", "x")).replace("cured", "fine");
        assert!(!validator.is_valid(&serde_json::from_str(&broken).unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn no_line_is_wider_than_the_screen_and_no_control_survives(
            name in "\\PC{0,80}|[\\x00-\\x20]{1,8}|[日本\u{202e}a-z ]{0,90}",
            width in 0_usize..200,
            value in any::<f64>(),
            unicode in any::<bool>(),
        ) {
            let style = Style { width, unicode, ..Style::default() };
            let mut strange = verification(&name, &name);
            strange.findings[0].because = name;
            for row in &mut strange.findings[0].rows {
                row.before = Some(Amount { value, of: Some(value) });
                row.after = Some(Amount { value, of: None });
            }
            let screen = text(&strange, &style);
            for line in screen.lines() {
                prop_assert!(display_width(line) <= style.columns(), "{} columns: {line:?}", display_width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            prop_assert!(unicode || screen.is_ascii());
        }
    }
}

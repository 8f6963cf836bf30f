//! Kernels by scenarios: the table, what was not as it should be, and the counts.

use std::collections::BTreeMap;

/// How a kernel that did not run begins.
const SKIPPED: &str = "SKIP";

/// What became of one scenario on one kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// As the scenario says, in so many seconds.
    Pass(f64),
    /// Not so, and what.
    Fail(Vec<String>),
    /// Could not be run there, and why.
    Skip(String),
}

/// One kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// Its version, short.
    pub(crate) kernel: String,
    /// What it says about itself, or why it did not run.
    pub(crate) about: String,
    /// By scenario.
    pub(crate) cells: BTreeMap<String, Cell>,
    /// Scenarios that failed at first, and what was wrong then.
    pub(crate) at_first: BTreeMap<String, Vec<String>>,
}

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Column {
    /// A kernel that nothing could be run on.
    pub(crate) fn skipped(kernel: &str, scenarios: &[String], why: &str) -> Self {
        let cells = scenarios.iter().map(|scenario| (scenario.clone(), Cell::Skip(why.to_string()))).collect();
        Self { kernel: kernel.to_string(), about: format!("{SKIPPED}: {why}"), cells, at_first: BTreeMap::new() }
    }

    /// Forgets what failed for the first time, so that it is run again: emulated CPUs stand still now and then.
    pub(crate) fn try_again(&mut self, may: impl Fn(&str) -> bool) {
        let Self { cells, at_first, .. } = self;
        cells.retain(|scenario, cell| match cell {
            Cell::Fail(what) if may(scenario) && !at_first.contains_key(scenario) => {
                at_first.insert(scenario.clone(), core::mem::take(what));
                false
            }
            _ => true,
        });
    }

    fn cell(&self, scenario: &str) -> Cell {
        let missing = || Cell::Fail(vec!["it has no result".to_string()]);
        self.cells.get(scenario).cloned().unwrap_or_else(missing)
    }
}

pub(crate) fn counts(columns: &[Column], scenarios: &[String]) -> Counts {
    let mut counts = Counts::default();
    for (column, scenario) in pairs(columns, scenarios) {
        match column.cell(scenario) {
            Cell::Pass(_) => counts.passed += 1,
            Cell::Fail(_) => counts.failed += 1,
            Cell::Skip(_) => counts.skipped += 1,
        }
    }
    counts
}

fn pairs<'a>(columns: &'a [Column], scenarios: &'a [String]) -> impl Iterator<Item = (&'a Column, &'a String)> {
    columns.iter().flat_map(move |column| scenarios.iter().map(move |scenario| (column, scenario)))
}

/// The whole report as Markdown, which a terminal shows as well.
pub(crate) fn render(columns: &[Column], scenarios: &[String]) -> String {
    let mut lines: Vec<String> = columns.iter().map(|c| format!("- {}: {}", c.kernel, clean(&c.about))).collect();
    let width = scenarios.iter().map(String::len).max().unwrap_or(0).max("scenario".len());
    let row = |first: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:<6} |")).collect();
        format!("| {first:<width$} |{cells}")
    };
    lines.push(String::new());
    lines.push(row("scenario", columns.iter().map(|column| column.kernel.clone()).collect()));
    lines.push(format!("|{}|{}", "-".repeat(width + 2), "--------|".repeat(columns.len())));
    for scenario in scenarios {
        let cells = columns.iter().map(|column| match column.cell(scenario) {
            Cell::Pass(seconds) => format!("{seconds:.0} s"),
            Cell::Fail(_) => "FAIL".to_string(),
            Cell::Skip(_) => "skip".to_string(),
        });
        lines.push(row(scenario, cells.collect()));
    }
    lines.push(String::new());
    let remarks: Vec<String> = pairs(columns, scenarios).filter_map(|(c, scenario)| remark(c, scenario)).collect();
    if !remarks.is_empty() {
        lines.extend(remarks);
        lines.push(String::new());
    }
    let Counts { passed, failed, skipped } = counts(columns, scenarios);
    let (kernels, scenarios) = (columns.len(), scenarios.len());
    lines.push(format!(
        "{kernels} kernel(s) × {scenarios} scenario(s): {passed} passed, {failed} FAILED, {skipped} skipped."
    ));
    lines.push("A time means: the truth came first, no look-alike was reported, and the remedy worked.".to_string());
    lines.join("\n") + "\n"
}

/// What there is to say about a cell.
fn remark(column: &Column, scenario: &str) -> Option<String> {
    let kernel = &column.kernel;
    match column.cell(scenario) {
        Cell::Pass(_) => column
            .at_first
            .get(scenario)
            .map(|what| format!("- AGAIN {scenario} on {kernel}, which failed at first: {}", clean(&what.join("; ")))),
        Cell::Fail(what) => Some(format!("- FAIL {scenario} on {kernel}: {}", clean(&what.join("; ")))),
        // Of a kernel that did not run at all it has been said above.
        Cell::Skip(_) if column.about.starts_with(SKIPPED) => None,
        Cell::Skip(why) => Some(format!("- SKIP {scenario} on {kernel}: {}", clean(&why))),
    }
}

/// What a machine said, fit for a terminal and for one line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_cell_on_every_kernel() {
        let scenarios = ["accept-queue-paced", "conntrack-full", "quiet"].map(String::from).to_vec();
        let cells = [
            ("accept-queue-paced", Cell::Fail(vec!["no finding;\u{1b}[2J it is accept-queue".into(), "slow".into()])),
            ("conntrack-full", Cell::Skip("not in this kernel: ctnetlink".into())),
        ];
        let columns = [
            Column {
                kernel: "6.1".into(),
                about: "6.1.0-50-cloud-amd64 #1 SMP Debian 6.1.176-1".into(),
                cells: scenarios.iter().map(|s| (s.clone(), Cell::Pass(11.6))).collect(),
                at_first: [("quiet".to_string(), vec!["no answer".to_string()])].into(),
            },
            Column {
                kernel: "6.12".into(),
                about: "6.12.107".into(),
                cells: cells.map(|(scenario, cell)| (scenario.to_string(), cell)).into(),
                at_first: BTreeMap::new(),
            },
            Column::skipped("7", &scenarios, "apt-get failed: no network"),
        ];
        assert_eq!(counts(&columns, &scenarios), Counts { passed: 3, failed: 2, skipped: 4 });
        insta::assert_snapshot!(render(&columns, &scenarios), @r"
        - 6.1: 6.1.0-50-cloud-amd64 #1 SMP Debian 6.1.176-1
        - 6.12: 6.12.107
        - 7: SKIP: apt-get failed: no network

        | scenario           | 6.1    | 6.12   | 7      |
        |--------------------|--------|--------|--------|
        | accept-queue-paced | 12 s   | FAIL   | skip   |
        | conntrack-full     | 12 s   | skip   | skip   |
        | quiet              | 12 s   | FAIL   | skip   |

        - AGAIN quiet on 6.1, which failed at first: no answer
        - FAIL accept-queue-paced on 6.12: no finding; [2J it is accept-queue; slow
        - SKIP conntrack-full on 6.12: not in this kernel: ctnetlink
        - FAIL quiet on 6.12: it has no result

        3 kernel(s) × 3 scenario(s): 3 passed, 2 FAILED, 4 skipped.
        A time means: the truth came first, no look-alike was reported, and the remedy worked.
        ");
    }

    #[test]
    fn what_failed_is_tried_once_more() {
        let failed = |what: &str| Cell::Fail(vec![what.to_string()]);
        let cells = [("a", failed("slow")), ("b", Cell::Pass(1.0)), ("c", failed("cut"))];
        let mut column = Column::skipped("6.1", &[], "");
        column.cells.extend(cells.map(|(scenario, cell)| (scenario.to_string(), cell)));
        column.try_again(|scenario| scenario != "c");
        assert_eq!(column.cells.keys().collect::<Vec<_>>(), ["b", "c"]);
        column.cells.insert("a".into(), failed("slow again"));
        column.try_again(|scenario| scenario != "c");
        assert_eq!(column.cells["a"], failed("slow again"));
    }
}

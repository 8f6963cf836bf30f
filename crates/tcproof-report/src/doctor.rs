//! What can and cannot be seen here.

use serde_json::json;
use tcproof_core::Reading;

use crate::layout::{Cell, Role, Screen, Style};

/// JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../schema/doctor-1.schema.json");
/// What no capability is listed for.
const WRITING: &str =
    "apply, confirm, rollback and lab: root; they, and what they run, keep what they were started with";

/// What observing something needs of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is observed.
    pub what: &'static str,
    /// By their names (`CAP_BPF`); none where nothing is needed.
    pub capabilities: Vec<String>,
    /// Whether they are all here.
    pub is_here: bool,
}

/// For people: what is missing first, since that is what the question is about. `needs` is empty for a directory.
pub fn text(rows: &[(&str, &Reading<String>)], needs: &[Need], style: &Style) -> String {
    let mut screen = Screen::new(style);
    for (what, why) in rows.iter().filter_map(|(what, seen)| Some((what, seen.absent()?))) {
        screen.row(&[Cell::new(Role::Near, "no", 5)], Role::Heading, what);
        screen.row(&[Cell::blank(5)], Role::Plain, &why.to_string());
        if let Some(needs) = why.would_need() {
            screen.row(&[Cell::blank(5), Cell::new(Role::Label, "needs", 7)], Role::Plain, needs);
        }
    }
    screen.gap();
    for (what, seen) in rows.iter().filter_map(|(what, seen)| Some((what, seen.value()?))) {
        screen.row(&[Cell::new(Role::Clear, "yes", 5)], Role::Plain, &format!("{what}: {seen}"));
    }
    screen.gap();
    if !needs.is_empty() {
        screen.text(Role::Heading, "What each needs, and whether this process has it");
    }
    for Need { what, capabilities, is_here } in needs {
        let cell = if *is_here { Cell::new(Role::Clear, "yes", 5) } else { Cell::new(Role::Near, "no", 5) };
        let capabilities = if capabilities.is_empty() { "none".into() } else { capabilities.join(", ") };
        screen.row(&[cell], Role::Plain, &format!("{what}: {capabilities}"));
    }
    if !needs.is_empty() {
        screen.row(&[Cell::blank(5)], Role::Plain, WRITING);
    }
    screen.finish()
}

/// For programs: `tcproof/doctor/1`.
pub fn json(rows: &[(&str, &Reading<String>)], needs: &[Need]) -> String {
    let sights = rows.iter().map(|(what, seen)| match seen {
        Reading::Present(seen) => json!({"what": what, "seen": seen}),
        Reading::Absent(why) => match why.would_need() {
            Some(needs) => json!({"what": what, "because": why.to_string(), "would_need": needs}),
            None => json!({"what": what, "because": why.to_string()}),
        },
    });
    let mut all = json!({"schema": "tcproof/doctor/1", "sights": sights.collect::<Vec<_>>()});
    if !needs.is_empty() {
        let needs = needs
            .iter()
            .map(|need| json!({"what": need.what, "capabilities": need.capabilities, "here": need.is_here}));
        all["needs"] = needs.collect();
    }
    crate::json::to_text(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcproof_core::Absent;

    #[test]
    fn what_is_missing_comes_first_with_what_it_needs() {
        let seen = Reading::Present("494 counters".to_string());
        let why = Absent::Permission { what: "the descriptors of 12 of 30 processes".into(), needs: "root".into() };
        let refused = Reading::Absent(why);
        let missing = Reading::Absent(Absent::not_in_kernel("/proc/net/stat/nf_conntrack"));
        let needs = [
            Need { what: "counters", capabilities: vec![], is_here: true },
            Need { what: "owners", capabilities: vec!["CAP_BPF".into(), "CAP_PERFMON".into()], is_here: false },
        ];
        let rows = [("counters", &seen), ("owners of sockets", &refused), ("connection tracking", &missing)];
        insta::assert_snapshot!(text(&rows, &needs, &Style::default()), @"
        no   owners of sockets
             no permission to read the descriptors of 12 of 30 processes
             needs  root
        no   connection tracking
             this kernel has no /proc/net/stat/nf_conntrack

        yes  counters: 494 counters

        What each needs, and whether this process has it
        yes  counters: none
        no   owners: CAP_BPF, CAP_PERFMON
             apply, confirm, rollback and lab: root; they, and what they run, keep what
             they were started with
        ");
        insta::assert_snapshot!(json(&rows, &needs), @r#"
        {
          "needs": [
            {
              "capabilities": [],
              "here": true,
              "what": "counters"
            },
            {
              "capabilities": [
                "CAP_BPF",
                "CAP_PERFMON"
              ],
              "here": false,
              "what": "owners"
            }
          ],
          "schema": "tcproof/doctor/1",
          "sights": [
            {
              "seen": "494 counters",
              "what": "counters"
            },
            {
              "because": "no permission to read the descriptors of 12 of 30 processes",
              "what": "owners of sockets",
              "would_need": "root"
            },
            {
              "because": "this kernel has no /proc/net/stat/nf_conntrack",
              "what": "connection tracking"
            }
          ]
        }
        "#);
    }
}

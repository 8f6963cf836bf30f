//! What can and cannot be seen here.

use serde_json::json;
use tcproof_core::Reading;

use crate::layout::{Cell, Role, Screen, Style};

/// For people: what is missing first, since that is what the question is about.
pub fn text(rows: &[(&str, &Reading<String>)], style: &Style) -> String {
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
    screen.finish()
}

/// For programs: `tcproof/doctor/1`.
pub fn json(rows: &[(&str, &Reading<String>)]) -> String {
    let sights = rows.iter().map(|(what, seen)| match seen {
        Reading::Present(seen) => json!({"what": what, "seen": seen}),
        Reading::Absent(why) => match why.would_need() {
            Some(needs) => json!({"what": what, "because": why.to_string(), "would_need": needs}),
            None => json!({"what": what, "because": why.to_string()}),
        },
    });
    let all = json!({"schema": "tcproof/doctor/1", "sights": sights.collect::<Vec<_>>()});
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
        let rows = [("counters", &seen), ("owners of sockets", &refused), ("connection tracking", &missing)];
        insta::assert_snapshot!(text(&rows, &Style::default()), @"
        no   owners of sockets
             no permission to read the descriptors of 12 of 30 processes
             needs  root
        no   connection tracking
             this kernel has no /proc/net/stat/nf_conntrack

        yes  counters: 494 counters
        ");
        insta::assert_snapshot!(json(&rows), @r#"
        {
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

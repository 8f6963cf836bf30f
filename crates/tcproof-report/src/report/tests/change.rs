//! The page of a change.

use proptest::prelude::*;
use tcproof_core::verify::Observation;
use tcproof_core::{Diagnosis, Interval, Reading};

use super::{HOSTILE, check_structure, eventful, interval, planned, text};
use crate::examples::{quiet, unknown, verification};
use crate::json;
use crate::report::{Change, Report, html, is_ours, markdown};

/// The window after it: a longer backlog, a larger knob, and nothing waits any more.
fn after(name: &str) -> Interval {
    let mut after = interval(name);
    for watch in after.looks.listeners.values_mut().flat_map(|of| of.values_mut()) {
        watch.last.backlog = 1024;
        watch.last.drops = watch.drops_before.clone();
        (watch.longest, watch.full, watch.over_half, watch.empty) = (12, 0, 0, watch.looks);
    }
    for netns in after.after.namespaces.values_mut() {
        netns.knobs.insert("net.core.somaxconn".into(), Reading::Present("4096\n".into()));
        netns.knobs.insert("net.ipv4.tcp_rmem".into(), Reading::Present("4096\t131072\t6291456".into()));
    }
    after
}

fn before(name: &str) -> Interval {
    let mut before = interval(name);
    for netns in before.before.namespaces.values_mut() {
        netns.knobs.insert("net.core.somaxconn".into(), Reading::Present("128\n".into()));
        netns.knobs.insert("net.ipv4.tcp_rmem".into(), Reading::Present("4096 131072 6291456".into()));
    }
    before
}

struct Told<'a> {
    before: &'a Diagnosis,
    after: Diagnosis,
    /// What the host calls itself and its things.
    name: &'a str,
    is_planned: bool,
    command: Option<&'a str>,
    ended: Option<&'a str>,
}

impl Told<'_> {
    fn both(self) -> (String, String) {
        let Self { before: diagnosis, name, command, ended, .. } = self;
        let after = Observation { interval: after(name), diagnosis: self.after };
        let verification = verification(name, name);
        let change = Change {
            verification: &verification,
            after: &after,
            command,
            user: name,
            at: "2026-12-01T00:00:06Z",
            ended,
        };
        let plan = planned(diagnosis);
        let report = Report {
            diagnosis,
            interval: Some(&before(name)),
            plan: self.is_planned.then_some(&plan),
            source: None,
            made_at: "2026-12-01 00:00:20 UTC",
            version: "0.1.0",
            json: &json::check(diagnosis),
            change: Some(&change),
        };
        (html(&report), markdown(&report))
    }
}

#[test]
fn knobs_of_a_plan_in_markdown() {
    let mut after = quiet();
    after.unknown = vec![unknown("conntrack-table", "entries", "no permission", None)];
    let before = &eventful("gunicorn");
    let told = Told { before, after, name: "web", is_planned: true, command: None, ended: Some("in effect") };
    let (page, text) = told.both();
    assert!(is_ours(&page) && is_ours(&text));
    insta::assert_snapshot!(text);
}

fn observed(diagnosis: &Diagnosis) -> Observation {
    Observation { interval: Interval::default(), diagnosis: diagnosis.clone() }
}

#[test]
fn a_command_that_changed_nothing_to_be_seen() {
    let diagnosis = quiet();
    let verification = tcproof_core::verify::verify(&[], &observed(&diagnosis), &observed(&diagnosis));
    let after = observed(&diagnosis);
    let change = Change {
        verification: &verification,
        after: &after,
        command: Some("systemctl reload api"),
        user: "ada",
        at: "2026-12-01T00:00:06Z",
        ended: None,
    };
    let report = Report {
        diagnosis: &diagnosis,
        interval: Some(&Interval::default()),
        plan: None,
        source: None,
        made_at: "2026-12-01 00:00:20 UTC",
        version: "0.1.0",
        json: "{}",
        change: Some(&change),
    };
    let text = markdown(&report);
    assert!(text.starts_with("# UNKNOWN: 0 findings\n"), "{text}");
    for said in ["`systemctl reload api`", "No knob that tcproof reads", "Nothing limits TCP here: 41 checked"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    check_structure(&html(&report));
}

#[test]
fn all_three_values_are_inside() {
    let before = &eventful(HOSTILE);
    let told =
        Told { before, after: quiet(), name: HOSTILE, is_planned: true, command: Some(HOSTILE), ended: Some(HOSTILE) };
    let (page, _) = told.both();
    for (id, schema) in
        [("check", "tcproof/check/1"), ("check-after", "tcproof/check/1"), ("verify", "tcproof/verify/1")]
    {
        let (_, rest) = page.split_once(&format!("<script type=\"application/json\" id=\"{id}\">")).expect("JSON");
        let inside = rest.split_once("</script>").expect("its end").0;
        let inside: serde_json::Value = serde_json::from_str(inside).expect("JSON");
        assert_eq!(inside["schema"], schema);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_from_the_host_is_markup(
        name in text(),
        command in text(),
        why in text(),
        is_planned in any::<bool>(),
        has_ended in any::<bool>(),
    ) {
        let before = &eventful(&name);
        let mut after = eventful(&why);
        after.unknown = vec![unknown(&why, &name, &command, Some(&why))];
        after.host.name = name.clone();
        let ended = has_ended.then_some(&*why);
        let (page, text) = Told { before, after, name: &name, is_planned, command: Some(&command), ended }.both();
        check_structure(&page);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        let ours = ["<br>", "<details><summary>", "</summary>", "</details>"];
        let markup = ours.iter().fold(text, |text, tag| text.replace(tag, ""));
        for line in markup.lines() {
            let outside: String = line.split('`').step_by(2).collect();
            prop_assert!(!outside.contains(['<', '>']), "{}", line);
        }
    }
}

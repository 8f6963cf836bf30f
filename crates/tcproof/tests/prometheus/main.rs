//! Alerts end to end: failures of the lab, `tcproof serve` in their namespaces, a Prometheus that scrapes it with our rules,
//! and that the dashboard asks.
//!
//! The rules look back five minutes. Here all their times are a sixtieth, as if clocks ran so much faster: one window of 15 s is
//! one of 250 ms, and what fires after a minute does so after a second.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod dashboard;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{Prometheus, Running};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};
use tcproof_lab::{Program, catalog, visit};

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const RULES: &str = include_str!("../../../../contrib/prometheus/tcproof.rules.yml");
/// How much faster time runs.
const FASTER: u64 = 60;
/// Of a window.
const EVERY: &str = "250ms";
/// So long nothing may fire where nothing hurts: the rules' five minutes.
const QUIET: Duration = Duration::from_secs(5);
/// Until everything fires that is to, and until it has resolved. What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the lab does, in which namespace it is watched, and the alert that it is to make fire.
struct Case {
    scenario: &'static str,
    is_at_client: bool,
    alert: Option<Expected>,
}

struct Expected {
    name: &'static str,
    limit: &'static str,
    /// Before what one is to do.
    do_first: &'static str,
}

/// The first hurts nobody, though it has many sockets in CLOSE_WAIT.
const CASES: &[Case] = &[
    Case { scenario: "close-wait-slow-response", is_at_client: false, alert: None },
    Case {
        scenario: "accept-queue-stalled",
        is_at_client: false,
        alert: Some(Expected { name: "TcproofAcceptQueue", limit: "accept-queue", do_first: "What to do: " }),
    },
    Case {
        scenario: "ports-held",
        is_at_client: true,
        alert: Some(Expected { name: "TcproofEphemeralPorts", limit: "ephemeral-ports", do_first: "What to do: " }),
    },
    // It loses protection and no traffic.
    Case {
        scenario: "time-wait-table",
        is_at_client: true,
        alert: Some(Expected { name: "TcproofNear", limit: "time-wait-table", do_first: "First: " }),
    },
];

/// Not by `eprintln!`, which the harness keeps to itself.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {why}");
}

/// The rules, with every duration divided.
fn faster(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let line = match line.trim().strip_prefix("for: ").and_then(|minutes| minutes.strip_suffix('m')) {
            Some(minutes) => format!("        for: {}s", minutes.parse::<u64>().unwrap() * 60 / FASTER),
            None => {
                line.replace("[5m]", &format!("[{}s]", 300 / FASTER)).replace(" + 60", &format!(" + {}", 60 / FASTER))
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    assert!(!text.contains("m]") && text.matches("[5s]").count() > 20, "{text}");
    text
}

/// Scenarios one within the other, each watched, until `then` has ended.
fn while_they_last(cases: &[Case], watched: &mut Vec<Running>, then: &mut dyn FnMut(&mut Vec<Running>)) {
    let Some((case, rest)) = cases.split_first() else { return then(watched) };
    let scenario = catalog::by_name(case.scenario).unwrap().unwrap();
    let program = Program { path: TCPROOF.into(), args: vec!["lab-worker".into()] };
    let inside = |client: &Path, server: &Path| {
        let netns = fs::metadata(if case.is_at_client { client } else { server }).unwrap().ino();
        watched.push(Running::serve(case.scenario, netns));
        while_they_last(rest, watched, then);
    };
    visit(&scenario, &program, &mut |_| (), inside).unwrap();
}

/// By whose they are, what they are called, and the limit.
type Alerts = BTreeMap<[String; 3], Value>;

/// Those that fire, and those that are about to.
fn alerts(prometheus: &Prometheus) -> Alerts {
    let answer = prometheus.get("/api/v1/alerts");
    let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
    let who = |alert: &Value| ["instance", "alertname", "limit"].map(|name| text(&alert["labels"][name]));
    alerts.map(|alert| (who(alert), alert.clone())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// Until they are as they should be; at no time there may be another. Who fills a table is near its limit first: that is
/// pending for a moment, where the first scrape falls into it.
fn wait_for(prometheus: &Prometheus, may: &BTreeSet<[String; 3]>, is_so: impl Fn(&Alerts) -> bool) -> Alerts {
    let since = Instant::now();
    loop {
        let alerts = alerts(prometheus);
        let on_the_way = |[host, name, limit]: &[String; 3], alert: &Value| {
            let is_its = may.iter().any(|[its_host, _, its_limit]| (its_host, its_limit) == (host, limit));
            name == "TcproofNear" && is_its && alert["state"] == "pending"
        };
        assert!(alerts.iter().all(|(who, alert)| may.contains(who) || on_the_way(who, alert)), "{alerts:#?}");
        if is_so(&alerts) {
            return alerts;
        }
        assert!(since.elapsed() < PATIENCE, "{alerts:#?}");
        sleep(Duration::from_millis(100));
    }
}

/// They say what it is, what to do first, and the page, which there is.
fn assert_helpful(alerts: &Alerts) {
    for case in CASES {
        let Some(Expected { name, limit, do_first }) = case.alert else { continue };
        let note = &alerts[&[case.scenario, name, limit].map(String::from)]["annotations"];
        let [summary, description, explain] = ["summary", "description", "explain"].map(|name| text(&note[name]));
        assert!(summary.contains(&format!(" on {}", case.scenario)), "{note}");
        let (what, first) = description.split_once(do_first).unwrap_or_else(|| panic!("{note}"));
        assert!(!what.is_empty() && !first.is_empty(), "{note}");
        assert_eq!(explain, format!("tcproof explain {limit}"));
        let page = Command::new(TCPROOF).args(explain.split(' ').skip(1)).output().unwrap();
        assert!(page.status.success() && String::from_utf8(page.stdout).unwrap().contains(limit), "{explain}");
    }
}

#[test]
fn a_failure_makes_its_alert_fire_and_no_other() {
    if let Err(why) = require_root().and_then(|()| Prometheus::require()) {
        return skip(&why);
    }
    let test = || {
        rtnl::up("lo").unwrap();
        watch_all();
    };
    Netns::new().unwrap().run_in(test).unwrap();
}

fn watch_all() {
    let prometheus = Prometheus::start(&faster(RULES));
    let expected = CASES.iter().filter_map(|case| Some((case.scenario, case.alert.as_ref()?)));
    let expected: BTreeSet<_> =
        expected.map(|(scenario, alert)| [scenario, alert.name, alert.limit].map(String::from)).collect();
    let mut watched = Vec::new();
    let (healthy, hurt) = CASES.split_at(1);
    while_they_last(healthy, &mut watched, &mut |watched| {
        prometheus.wait_for("tcproof_windows_total");
        let since = Instant::now();
        wait_for(&prometheus, &BTreeSet::new(), |_| since.elapsed() > QUIET);
        while_they_last(hurt, watched, &mut |_| {
            let is_firing = |alerts: &Alerts| {
                alerts.len() == expected.len() && alerts.values().all(|alert| alert["state"] == "firing")
            };
            assert_helpful(&wait_for(&prometheus, &expected, is_firing));
            dashboard::assert_answered(&prometheus);
        });
        wait_for(&prometheus, &expected, Alerts::is_empty);
    });
}

//! Every face of the same plans; what comes out of an export is read by lint's own readers.

use proptest::prelude::*;
use serde_json::Value;
use tcproof_core::knobs::Machine;
use tcproof_core::lint::{File, Load, Loader, Place, Severity, Tree, lint};
use tcproof_core::plan::{Change, Making, Plan, plan};
use tcproof_core::{Confidence, Finding, Level, Remedy, State, Subject, Verdict, Version};
use tcproof_host::settings;
use textwrap::core::display_width;

use super::*;
use crate::Style;
use crate::examples::{listener, owner};

fn finding(limit: &str, cause: &str, subject: Subject, summary: &str, remedies: Vec<Remedy>) -> Finding {
    Finding {
        limit: limit.into(),
        state: State::Limiting,
        cause: cause.into(),
        confidence: Confidence::Proven,
        subject,
        summary: summary.into(),
        because: String::new(),
        evidence: vec![],
        ruled_out: vec![],
        remedies,
        hurt: 0,
    }
}

/// One of each kind: in a namespace and on the host, several values at once, what is left out, what is done by hand.
fn findings() -> Vec<Finding> {
    let server = listener("web", "0.0.0.0:8080", vec![owner(2113, "gunicorn", Some("api.service"))]);
    let netns = || Subject::Netns { netns: "host".into() };
    let process = Subject::Process {
        netns: "host".into(),
        owners: vec![owner(900, "proxy", Some("proxy.service"))],
        local: None,
    };
    vec![
        finding(
            "accept-queue",
            "somaxconn-clamps",
            server,
            "342 finished handshakes dropped in 5.0 s",
            vec![
                Remedy::new(Level::Application, "more workers, or accept in a loop of its own").verify("no new drops"),
                Remedy::knob(
                    "raise somaxconn in this namespace, then let gunicorn listen again",
                    "net.core.somaxconn",
                    "128",
                    "1024",
                )
                .formula("half a second of 1900/s, a power of two")
                .cost("up to 1 MiB for connections that wait")
                .verify("no new drops of 0.0.0.0:8080"),
            ],
        ),
        finding(
            "ephemeral-ports",
            "range-small",
            netns(),
            "28 232 of 28 232 ports towards 10.0.0.9:5432 are taken",
            vec![
                Remedy::knob("keep the listeners' ports", "net.ipv4.ip_local_reserved_ports", "", "8080,9000-9010")
                    .formula("what is reserved now, and every listening port within the new range"),
                Remedy::knob("widen the range", "net.ipv4.ip_local_port_range", "32768\t60999", "10240 65535")
                    .formula("from 10240 on")
                    .verify("no EADDRNOTAVAIL"),
                Remedy::knob("or reuse", "net.ipv4.tcp_tw_reuse", "2", "1").alternative(),
            ],
        ),
        finding(
            "receive-window",
            "buffer-max",
            netns(),
            "the receive buffer holds 10.0.0.7:443 at 93 Mbit/s",
            vec![Remedy::knob(
                "let receive buffers grow",
                "net.ipv4.tcp_rmem",
                "4096\t131072\t6291456",
                "4096 131072 33554432",
            )],
        ),
        finding(
            "softnet-backlog",
            "queue-full",
            Subject::Host,
            "51 packets dropped on CPU 3",
            vec![Remedy::knob("double the backlog", "net.core.netdev_max_backlog", "1000", "2000")],
        ),
        finding(
            "keepalive",
            "no-keepalive",
            netns(),
            "9 connections whose peer is gone",
            vec![Remedy::knob("give up sooner", "net.ipv4.tcp_retries2", "15", "8")],
        ),
        finding(
            "file-descriptors",
            "process-limit",
            process,
            "proxy has 1020 of 1024 files open",
            vec![
                Remedy::new(Level::Service, "LimitNOFILE=2048 in unit proxy.service instead of 1024, and a restart")
                    .formula("twice the 1024 in use, a power of two")
                    .cost("about 1 KiB for each"),
            ],
        ),
    ]
}

fn made(findings: &[Finding]) -> Plan {
    let inode = |name: &str, inode| (name.to_string(), inode);
    plan(
        findings,
        &Making {
            id: "20261120T190000Z-3f9a",
            host: "web-07",
            kernel: "6.8.0",
            made_at: "2026-11-20T19:00:00Z",
            namespaces: Some([inode("host", 4_026_531_840), inode("web", 4_026_532_200)].into()),
            wanted: &[],
        },
    )
}

fn shown(plan: &Plan, verdict: Verdict, file: Option<&str>) -> String {
    text(plan, Next { verdict, file }, &Style::default())
}

#[test]
fn the_screen() {
    insta::assert_snapshot!(shown(&made(&findings()), Verdict::Limiting, None));
}

#[test]
fn what_comes_next_depends_on_what_is_known() {
    let last = |plan: &Plan, verdict, file| {
        let screen = shown(plan, verdict, file);
        screen.lines().last().unwrap_or_default().to_string()
    };
    let full = made(&findings());
    insta::assert_snapshot!(last(&full, Verdict::Limiting, Some("p.toml")), @"NEXT      read p.toml, then `tcproof apply p.toml`");
    insta::assert_snapshot!(last(&made(&[]), Verdict::Clear, None), @"nothing to change: nothing limits TCP here");
    insta::assert_snapshot!(last(&made(&[]), Verdict::Unknown, None), @"nothing to change is known, as nothing could be judged: tcproof doctor says why");
    insta::assert_snapshot!(last(&made(&findings()[5..]), Verdict::Limiting, None), @"          after it");
    insta::assert_snapshot!(last(&made(&findings()[4..5]), Verdict::Limiting, None), @"NEXT      nothing for `tcproof apply`: no kernel knob is to be changed");
    let elsewhere = plan(&findings(), &Making::default());
    insta::assert_snapshot!(last(&elsewhere, Verdict::Limiting, None), @"          made on the host itself");
}

#[test]
fn the_file() {
    insta::assert_snapshot!(toml(&made(&findings()[..1])).unwrap());
}

#[test]
fn the_exports() {
    let plan = made(&findings());
    for (name, export) in exports() {
        insta::assert_snapshot!(format!("export_{name}"), export(&plan));
    }
}

// ---- the file that apply takes -----------------------------------------------------------------------------------------

fn complaints(plan: &Plan) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let value: Value = serde_json::from_str(&json(plan)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn what_is_written_is_what_the_schema_says_and_what_is_read() {
    assert!(jsonschema::meta::is_valid(&serde_json::from_str(SCHEMA).unwrap()));
    for plan in [made(&findings()), made(&[])] {
        assert_eq!(complaints(&plan), Vec::<String>::new());
        assert_eq!(read(&json(&plan)), Ok(plan.clone()));
        assert_eq!(read(&toml(&plan).unwrap()), Ok(plan.clone()));
        assert!(!json(&plan).contains("null"));
        assert!(is_ours(&json(&plan)) && is_ours(&toml(&plan).unwrap()) && is_ours(&sysctl(&plan)));
    }
    assert!(!is_ours("net.core.somaxconn = 1\n") && !is_ours("") && !is_ours("{}") && !is_ours("schema = 1"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let good = toml(&made(&findings()[..1])).unwrap();
    let json = json(&made(&findings()[..1]));
    let wrong = |text: &str| read(text).unwrap_err().to_string();
    let edited = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        wrong(&good.replacen(from, to, 1))
    };
    insta::assert_snapshot!(wrong(""), @"line 1, column 1: missing field `schema`");
    insta::assert_snapshot!(wrong("net.core.somaxconn = 1\n"), @"line 1, column 1: missing field `schema`");
    insta::assert_snapshot!(wrong("{\"schema\": 1}"), @"line 1, column 12: invalid type: integer `1`, expected a string");
    insta::assert_snapshot!(wrong("\u{1b}[31m"), @"line 1, column 2: key with no value, expected `=`");
    insta::assert_snapshot!(edited("tcproof/plan/1", "tcproof/plan/2"), @"schema: tcproof/plan/2 is of a newer tcproof: this one reads tcproof/plan/1; apply it with the one that made it");
    insta::assert_snapshot!(edited("tcproof/plan/1", "tcproof/check/1"), @r#"schema: expected "tcproof/plan/1", found "tcproof/check/1""#);
    insta::assert_snapshot!(edited("risk = ", "danger = "), @"line 39, column 1: unknown field `danger`, expected one of `findings`, `namespace`, `knob`, `from`, `to`, `formula`, `cost`, `risk`, `takes_effect`, `then`, `inverse`, `success`");
    insta::assert_snapshot!(edited("state = \"limiting\"", "state = \"bad\""), @"line 11, column 9: unknown variant `bad`, expected `limiting` or `near`");
    insta::assert_snapshot!(edited("to = \"1024\"", "to = 1024"), @"line 36, column 6: invalid type: integer `1024`, expected a string");
    insta::assert_snapshot!(edited("to = \"1024\"", "to = \"-1\""), @"changes[1]: net.core.somaxconn: refused: -1: -1 is outside 0 to 2147483647");
    insta::assert_snapshot!(edited("knob = \"net.core.somaxconn\"", "knob = \"kernel.core_pattern\""), @"changes[1]: kernel.core_pattern: not in the table of knobs");
    insta::assert_snapshot!(edited("inode = 4026532200", ""), @"changes[1]: net.core.somaxconn: namespace: expected the inode of its network namespace");
    insta::assert_snapshot!(edited("findings = [1]", "findings = [2]"), @"changes[1]: net.core.somaxconn: there is no finding 2");
    insta::assert_snapshot!(wrong(&json.replacen("\"risk\"", "\"danger\"", 1)), @"line 51, column 14: unknown field `danger`, expected one of `findings`, `namespace`, `knob`, `from`, `to`, `formula`, `cost`, `risk`, `takes_effect`, `then`, `inverse`, `success`");
    insta::assert_snapshot!(wrong(&json[..json.len() / 2]), @"line 39, column 0: EOF while parsing an object");
}

// ---- exports, as lint reads them ---------------------------------------------------------------------------------------

type Export = fn(&Plan) -> String;

fn exports() -> [(&'static str, Export); 5] {
    [("sysctl", sysctl), ("ansible", ansible), ("kubernetes", kubernetes), ("systemd", systemd), ("tuned", tuned)]
}

fn path(export: &str) -> &'static str {
    match export {
        "sysctl" => "sysctl.d/60-tcproof-plan.conf",
        "ansible" => "tasks.yml",
        "kubernetes" => "pod.yaml",
        "systemd" => "proxy.service.d/60-tcproof.conf",
        _ => "tuned.conf",
    }
}

fn read_back(export: &str, text: &str) -> File {
    settings::parse(path(export), text)
}

fn sets(file: &File) -> Vec<(String, String)> {
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    file.settings.iter().map(|setting| (setting.key.clone(), value(&setting.value))).collect()
}

fn expected(plan: &Plan, export: &str) -> Vec<(String, String)> {
    let wanted = |change: &&Change| match export {
        "kubernetes" => !change.namespace.is_host(),
        "systemd" => false,
        _ => change.namespace.is_host(),
    };
    let mut all: Vec<_> =
        plan.changes.iter().filter(wanted).map(|change| (change.knob.clone(), change.to.clone())).collect();
    if export == "systemd" && plan.findings.iter().any(|finding| finding.limit == "file-descriptors") {
        all.push(("LimitNOFILE".into(), "2048".into()));
    }
    all
}

fn errors(file: File) -> Vec<String> {
    let load = Load { loader: Loader::Alone, files: vec![0] };
    let machine = Machine::of_kernel(Version::of_release("6.8").unwrap());
    let tree = Tree { files: vec![file], loads: vec![load], masked: vec![], machine, now: None };
    let report = lint(&tree);
    let bad = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    bad.map(|finding| format!("{}: {}", finding.rule, finding.message)).collect()
}

fn sets_exactly_the_plan(plan: &Plan) {
    for (name, export) in exports() {
        let text = export(plan);
        let file = read_back(name, &text);
        assert_eq!(sets(&file), expected(plan, name), "{name}:\n{text}");
        assert!(file.strays.is_empty() && file.unread.is_none() && file.commands.is_empty(), "{name}: {file:?}");
        assert!(file.allows.is_empty(), "{name}: {file:?}");
        let is_pod = |place: Place| matches!(place, Place::Pod { host_network: false });
        assert!(file.settings.iter().all(|setting| is_pod(setting.place) == (name == "kubernetes")));
        assert_eq!(errors(file), Vec::<String>::new(), "{name}:\n{text}");
    }
}

#[test]
fn every_export_sets_what_the_plan_says_and_lint_finds_no_error_in_it() {
    sets_exactly_the_plan(&made(&findings()));
    sets_exactly_the_plan(&made(&[]));
}

#[test]
fn a_second_unit_does_not_set_the_limit_of_the_first() {
    let mut two = findings();
    two.push(two[5].clone());
    let text = systemd(&made(&two));
    assert_eq!(text.lines().filter(|line| line.starts_with("LimitNOFILE=")).count(), 1);
    assert!(text.contains("# LimitNOFILE=2048"), "{text}");
}

/// What breaks out of comments, quotes and terminals where it can.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_string()),
        Just("\r".to_string()),
        Just("\u{1b}]0;x\u{7}".to_string()),
        Just("\u{9b}2J\u{202e}\u{2028}\u{85}".to_string()),
        Just("\nnet.core.somaxconn = 1\n".to_string()),
        Just("\n[Service]\nExecStart=/bin/sh -c x\\".to_string()),
        Just("tcproof: allow dangerous — x".to_string()),
        Just("\"'''\"\"\" {{ x }} ${x} # ; --- \t\\".to_string()),
        Just("sysctl -w net.core.somaxconn=1; LimitNOFILE=1".to_string()),
        ".{0,12}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_of_the_host_breaks_out(texts in proptest::collection::vec(hostile(), 12), width in 60usize..=120) {
        let mut texts = texts.into_iter().cycle();
        let mut next = move || texts.next().unwrap();
        let mut findings = findings();
        for finding in &mut findings {
            finding.summary = next();
            for remedy in &mut finding.remedies {
                // The number must stay where an instruction has one.
                remedy.text.push_str(&next());
                remedy.formula = Some(next());
                remedy.cost = Some(next());
                remedy.verify = Some(next());
            }
            if let Subject::Process { owners, .. } | Subject::Listener { owners, .. } = &mut finding.subject {
                owners[0].comm = next();
                owners[0].unit = Some(next());
            }
        }
        let namespace = next();
        if let Subject::Listener { netns, .. } = &mut findings[0].subject {
            netns.push_str(&namespace);
        }
        let (host, kernel, id) = (next(), next(), next());
        let namespaces = Some([("host".to_string(), 1), (format!("web{namespace}"), 2)].into());
        let plan = plan(&findings, &Making { id: &id, host: &host, kernel: &kernel, made_at: "now", namespaces, wanted: &[] });
        prop_assert_eq!(plan.changes.len(), 5);
        sets_exactly_the_plan(&plan);
        for (name, export) in exports() {
            let text = export(&plan);
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{}: {:?}", name, text);
        }
        let screen = text(&plan, Next { verdict: Verdict::Limiting, file: Some(&host) }, &Style { width, ..Style::default() });
        for line in screen.lines() {
            prop_assert!(display_width(line) <= width && !line.chars().any(char::is_control), "{:?}", line);
        }
        prop_assert_eq!(read(&json(&plan)), Ok(plan.clone()));
        let file = toml(&plan).unwrap();
        prop_assert!(!file.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        let back = read(&file).unwrap();
        prop_assert_eq!(&back.changes[0].to, &plan.changes[0].to);
        // Where quotes know no escapes, what acts on terminals stays an escape.
        if !json(&plan).contains("\\u00") {
            prop_assert_eq!(back, plan);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in hostile(), cut in 0usize..2000) {
        let _ = read(&text);
        let good = toml(&made(&findings())).unwrap();
        let cut = good.char_indices().map(|(at, _)| at).take(cut).last().unwrap_or(0);
        let _ = read(&[&good[..cut], &text, &good[cut..]].concat());
    }
}

#[test]
fn no_number_is_too_large_for_toml() {
    let mut plan = made(&findings()[..1]);
    plan.changes[0].namespace.inode = Some(u64::MAX);
    // TOML promises 63 bits only: the file is refused, or sound.
    assert!(toml(&plan).is_err() || read(&toml(&plan).unwrap()) == Ok(plan.clone()));
    assert_eq!(read(&json(&plan)), Ok(plan));
}

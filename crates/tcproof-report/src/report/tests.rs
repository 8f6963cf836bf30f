//! Whole reports, what is in them whatever a host is called, and how they are built.

mod change;

use std::collections::BTreeSet;

use proptest::prelude::*;
use tcproof_core::plan::{Making, Plan, plan};
use tcproof_core::snapshot::{Endpoint, Listener, Netns, NetnsId};
use tcproof_core::{Diagnosis, Interval, ListenerWatch, Reading};

use super::{Report, html, is_ours, markdown};
use crate::examples::{self, blind, clamped_listener, limiting, many, near, quiet};
use crate::json;

/// What a name can be set to by any program.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\x1b[31m\n\u{202e}\"'&`|**__[x](http://y)<!--";

fn planned(diagnosis: &Diagnosis) -> Plan {
    let making = Making {
        id: "20261201T000000Z-0001",
        host: &diagnosis.host.name,
        kernel: &diagnosis.host.kernel,
        made_at: "2026-12-01T00:00:00Z",
        namespaces: None,
        wanted: &[],
    };
    plan(&diagnosis.findings, &making)
}

/// One listener whose queue is filled and stays so, one that stays empty.
fn interval(name: &str) -> Interval {
    let mut interval = Interval::default();
    let netns = Netns { name: name.into(), own: true, ..Netns::default() };
    interval.before.namespaces.insert(NetnsId(1), netns.clone());
    interval.after.namespaces.insert(NetnsId(1), netns);
    interval.after.at = std::time::Duration::from_secs(5);
    for (port, queues) in [(8080, [0, 40, 100, 129]), (22, [0, 0, 0, 0])] {
        let listener = |queue| {
            let listener = Listener::new(Endpoint::new([0, 0, 0, 0].into(), port), 128);
            Listener { cookie: port.into(), queue, drops: Reading::Present(queue / 3), ..listener }
        };
        let at = |n: usize| std::time::Duration::from_secs(n as u64);
        let mut watch = ListenerWatch::new(listener(queues[0]), at(0), false);
        (1..4).for_each(|n| watch.look(listener(queues[n]), at(n)));
        interval.looks.listeners.entry(NetnsId(1)).or_default().insert(port.into(), watch);
    }
    interval
}

fn both(diagnosis: &Diagnosis, interval: Option<&Interval>, source: Option<&str>) -> (String, String) {
    let plan = planned(diagnosis);
    let json = json::check(diagnosis);
    let report = Report {
        diagnosis,
        interval,
        plan: Some(&plan),
        source,
        made_at: "2026-12-01 00:00:00 UTC",
        version: "0.1.0",
        json: &json,
        change: None,
    };
    (html(&report), markdown(&report))
}

/// Several namespaces, several findings, all kinds of blocks.
fn eventful(name: &str) -> Diagnosis {
    let mut diagnosis = limiting(name);
    diagnosis.findings.extend([clamped_listener(), near()]);
    diagnosis
}

#[test]
fn a_limited_host_in_html() {
    let (page, _) = both(&eventful("gunicorn"), Some(&interval("host")), None);
    let (head, rest) = page.split_once("<style>").expect("a style");
    let (_, body) = rest.split_once("</style>").expect("its end");
    let (body, _) = body.split_once("<script").expect("JSON");
    insta::assert_snapshot!(format!("{head}\n{}", body.replace("</tr>", "</tr>\n").replace("</dd>", "</dd>\n")));
}

#[test]
fn a_limited_host_in_markdown() {
    let (_, text) = both(&eventful("gunicorn"), Some(&interval("host")), None);
    insta::assert_snapshot!(text);
}

#[test]
fn a_quiet_host_in_markdown() {
    let (_, text) = both(&quiet(), None, Some("the saved check check.json"));
    assert!(text.starts_with("# CLEAR: nothing limits TCP here: 41 checked\n"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_host_that_cannot_be_seen_in_markdown() {
    let (_, text) = both(&blind(), None, None);
    assert!(!text.contains("without a finding"), "nothing was judged: {text}");
    insta::assert_snapshot!(text);
}

#[test]
fn hostile_names_in_markdown() {
    let (_, text) = both(&limiting(HOSTILE), Some(&interval(HOSTILE)), Some(HOSTILE));
    let who = text.lines().find(|line| line.contains("**Who**")).expect("an owner");
    insta::assert_snapshot!(who);
    assert!(!text.contains("<img") && !text.contains("</script"));
}

#[test]
fn a_report_is_known_and_another_file_is_not() {
    let (page, text) = both(&quiet(), None, None);
    assert!(is_ours(&page) && is_ours(&text));
    for other in ["", "# Notes\n\nby tcproof", "<!doctype html><title>x</title>", &json::check(&quiet())] {
        assert!(!is_ours(other), "{other}");
    }
}

#[test]
fn the_json_inside_is_the_whole_check() {
    let diagnosis = eventful(HOSTILE);
    let (page, _) = both(&diagnosis, None, None);
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"check\">").expect("JSON");
    let (inside, _) = rest.split_once("</script>").expect("its end");
    let inside: serde_json::Value = serde_json::from_str(inside).expect("JSON");
    let whole: serde_json::Value = serde_json::from_str(&json::check(&diagnosis)).expect("JSON");
    assert_eq!(inside, whole);
}

#[test]
fn a_thousand_findings_make_a_page_and_say_what_is_left_out() {
    let (page, text) = both(&many(1000), None, None);
    // The JSON is as long as what was found.
    let (page, _) = page.split_once("<script").expect("JSON");
    assert!(page.len() < 400_000 && page.contains("780 more are in the JSON."), "{}", page.len());
    assert!(text.contains("780 more are in the JSON."));
}

/// Contrast as WCAG 2 has it: 1 to 21.
fn contrast(one: &str, other: &str) -> f64 {
    let light = |color: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).expect("a colour")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    };
    let (a, b) = (light(one), light(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn words_stand_out_in_both_themes_and_on_paper() {
    let style = include_str!("report.css");
    let themes: Vec<_> = style.match_indices("--paper:").map(|(at, _)| &style[at..]).collect();
    assert_eq!(themes.len(), 3);
    for theme in themes {
        let color = |name: &str| {
            let (_, rest) = theme.split_once(&format!("--{name}: ")).expect("a colour");
            rest[..7].to_string()
        };
        for (front, back) in [
            ("ink", "paper"),
            ("ink", "card"),
            ("ink", "code"),
            ("soft", "paper"),
            ("soft", "card"),
            ("on", "limiting"),
            ("on", "near"),
            ("on", "clear"),
            ("on", "plain"),
        ] {
            let contrast = contrast(&color(front), &color(back));
            assert!(contrast >= 4.5, "{front} on {back}: {contrast:.2} in {}", &theme[..20]);
        }
    }
}

/// A tag as it is in the page: its name, or `/name`, and its attributes.
type Tag = (String, Vec<(String, String)>);

/// Tags of a page; stricter than any browser, so that what it takes was written by us.
fn tags(page: &str) -> Vec<Tag> {
    const ENTITIES: [&str; 5] = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
    let words = |text: &str| {
        assert!(!text.contains(['"', '\'', '>']), "{text:?}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        for (at, _) in text.match_indices('&') {
            assert!(ENTITIES.iter().any(|entity| text[at..].starts_with(entity)), "{:?}", &text[at..]);
        }
    };
    let mut tags = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").expect("its type");
    while let Some((before, tag)) = rest.split_once('<') {
        words(before);
        let (tag, after) = tag.split_once('>').expect("a tag ends");
        rest = after;
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '/'), "{name:?}");
        let mut all = Vec::new();
        while let Some((attribute, value)) = attributes.split_once("=\"") {
            let (value, more) = value.split_once('"').expect("a value ends");
            words(&value.replace('\'', "&#39;"));
            all.push((attribute.trim().to_string(), value.to_string()));
            attributes = more;
        }
        assert!(attributes.trim().is_empty(), "{attributes:?}");
        tags.push((name.to_string(), all));
        // Their text is not HTML.
        if name == "style" || name == "script" {
            let end = rest.find("</").expect("an end");
            rest = &rest[end..];
            assert!(rest.starts_with(&format!("</{name}>")), "{:?}", &rest[..20.min(rest.len())]);
        }
    }
    words(rest);
    tags
}

/// Tables have captions and scopes, names are there once, headings go down by one, and all that was opened is closed.
fn check_structure(page: &str) {
    const KNOWN: &str = "html head meta title style body main header section article footer details summary h1 h2 h3 p span \
                         code ul ol li dl dt dd div table caption thead tbody tr th td svg rect script";
    let known: BTreeSet<_> = KNOWN.split_whitespace().collect();
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let (mut level, mut firsts) = (0, 0);
    let tags = tags(page);
    for (at, (name, attributes)) in tags.iter().enumerate() {
        let attribute = |name: &str| attributes.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
            continue;
        }
        assert!(known.contains(name.as_str()), "{name}");
        assert!(attributes.iter().all(|(name, _)| !name.starts_with("on") && name != "src" && name != "href"));
        if let Some(id) = attribute("id") {
            assert!(ids.insert(id.to_string()), "{id} twice");
        }
        match name.as_str() {
            "th" => assert!(matches!(attribute("scope"), Some("row" | "col"))),
            "table" => assert_eq!(tags[at + 1].0, "caption"),
            "svg" => assert!(attribute("role") == Some("img") && attribute("aria-label").is_some()),
            "script" => assert_eq!(attribute("type"), Some("application/json")),
            "h1" | "h2" | "h3" => {
                let own: u32 = name[1..].parse().expect("a level");
                assert!(own <= level + 1, "h{own} below h{level}");
                level = own;
                firsts += u32::from(own == 1);
            }
            _ => {}
        }
        if name != "meta" {
            open.push(name);
        }
    }
    assert_eq!((open.len(), firsts), (0, 1));
    for (_, attributes) in &tags {
        for (_, value) in attributes.iter().filter(|(name, _)| name == "aria-labelledby") {
            assert!(ids.contains(value), "{value}");
        }
    }
}

#[test]
fn pages_are_well_built() {
    for diagnosis in [quiet(), blind(), eventful("x"), eventful(HOSTILE), many(100)] {
        check_structure(&both(&diagnosis, None, None).0);
        check_structure(&both(&diagnosis, Some(&interval(HOSTILE)), Some(HOSTILE)).0);
    }
}

fn text() -> impl Strategy<Value = String> {
    let markup = "(<b>|</p>|</script>|<!--|-->|&lt;|&#0;|\"|'| onload=x|\\|`|\\*|\\[a\\]\\(b\\)|\n|\r|\x1b|\u{9b}|[a-z]{1,9}){0,8}";
    prop_oneof![any::<String>(), markup]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_from_the_host_is_markup(strings in proptest::collection::vec(text(), 8)) {
        let mut next = strings.iter().cycle().cloned();
        let mut next = || next.next().unwrap();
        let mut diagnosis = eventful(&next());
        let finding = &mut diagnosis.findings[0];
        finding.limit = next();
        finding.cause = next();
        finding.summary = next();
        finding.because = next();
        finding.remedies[0].text = next();
        finding.remedies[0].knob = Some(next());
        finding.remedies[0].to = Some(next());
        finding.remedies[0].verify = Some(next());
        finding.ruled_out[0].because = next();
        finding.evidence[0].reading = next();
        finding.evidence[0].unit = next();
        finding.subject = examples::listener(&next(), &next(), vec![examples::owner(1, &next(), Some(&next()))]);
        let subject = finding.subject.clone();
        diagnosis.host.name = next();
        diagnosis.host.kernel = next();
        diagnosis.headroom.push(examples::headroom(&next(), subject, 7, 9, &next()));
        diagnosis.unknown = vec![examples::unknown(&next(), &next(), &next(), Some(&next()))];
        diagnosis.flows[0].local = next();
        diagnosis.flows[0].bound_by = next();
        diagnosis.flows[0].congestion = next();
        let source = next();
        let (page, text) = both(&diagnosis, Some(&interval(&next())), Some(&source));
        check_structure(&page);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        // Only ours.
        let markup = text.replace("<br>", "").replace("<details><summary>", "").replace("</summary>", "").replace("</details>", "");
        for line in markup.lines() {
            // Within code nothing is markup, and no sign of ours or theirs ends it.
            let outside: String = line.split('`').step_by(2).collect();
            prop_assert!(!outside.contains(['<', '>']), "{}", line);
        }
    }
}

use proptest::prelude::*;
use tcproof_core::snapshot::{Listener, Netns};
use tcproof_core::{Absent, ListenerWatch, Subject};

use super::*;
use crate::examples;

/// A family's kind by its name, and a value for each series: read by the letter of OpenMetrics, or of the older format.
fn parse(text: &str, format: Format) -> Result<BTreeMap<String, f64>, String> {
    let mut series = BTreeMap::new();
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut family, mut ended) = ("", false);
    for line in text.lines() {
        let wrong = |what: &str| format!("{what}: {line:?}");
        if ended {
            return Err(wrong("behind the end"));
        }
        if line == "# EOF" && format == Format::OpenMetrics {
            ended = true;
            continue;
        }
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) =
                (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
            match what {
                "TYPE" if ["gauge", "counter", "info"].contains(&rest) => {
                    if types.insert(name, rest).is_some() {
                        return Err(wrong("a family twice"));
                    }
                    family = name;
                }
                "UNIT" if name == family && name.ends_with(rest) => {}
                "HELP" if format == Format::Text || name == family => {}
                _ => return Err(wrong("a comment")),
            }
            continue;
        }
        let end = line.find(['{', ' ']).ok_or_else(|| wrong("a name"))?;
        let (name, mut rest) = line.split_at(end);
        let suffix = match (types.get(family), format) {
            (Some(&"counter"), Format::OpenMetrics) => "_total",
            (Some(&"info"), Format::OpenMetrics) => "_info",
            (Some(_), _) => "",
            (None, _) => return Err(wrong("no type")),
        };
        if name != format!("{family}{suffix}") {
            return Err(wrong("not of its family"));
        }
        let mut key = name.to_string();
        if let Some(labels) = rest.strip_prefix('{') {
            rest = labels;
            loop {
                let (label, value) = rest.split_once("=\"").ok_or_else(|| wrong("a label"))?;
                if !label.bytes().all(|b| b.is_ascii_lowercase()) || label.is_empty() {
                    return Err(wrong("a label's name"));
                }
                let mut chars = value.char_indices();
                let close = loop {
                    match chars.next().ok_or_else(|| wrong("a value without an end"))? {
                        (at, '"') => break at,
                        (_, '\\') => match chars.next() {
                            Some((_, '\\' | '"' | 'n')) => {}
                            _ => return Err(wrong("an escape")),
                        },
                        _ => {}
                    }
                };
                key.push_str(&format!(" {label}={}", &value[..close]));
                rest = &value[close + 1..];
                match rest.split_at_checked(1) {
                    Some((",", more)) => rest = more,
                    Some(("}", more)) => {
                        rest = more;
                        break;
                    }
                    _ => return Err(wrong("behind a label")),
                }
            }
        }
        let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok()).ok_or_else(|| wrong("a value"))?;
        if series.insert(key, value).is_some() {
            return Err(wrong("a series twice"));
        }
    }
    match ended || format == Format::Text {
        true => Ok(series),
        false => Err("no end".into()),
    }
}

fn own() -> Own<'static> {
    let cpu = Duration::from_millis(1250);
    Own { version: "0.1.0", kernel: "6.8.0", refused: 3, pushes_failed: None, cpu, memory: Some(9 << 20) }
}

fn watch(local: &str, queue: u32, drops: [u32; 2]) -> ListenerWatch {
    let listener = |drops| {
        let listener = Listener::new(local.parse().unwrap(), 128);
        Listener { cookie: 1, inode: 1, queue, drops: Reading::Present(drops), ..listener }
    };
    let mut watch = ListenerWatch::new(listener(drops[0]), Duration::ZERO, false);
    watch.look(listener(drops[1]), Duration::from_secs(5));
    watch
}

fn netns(name: &str, own: bool, overflows: u64) -> Netns {
    let mut ns = Netns { name: name.into(), own, ..Netns::default() };
    ns.counters.insert("TcpExt.ListenOverflows".into(), overflows);
    ns.counters.insert("TcpExt.NobodyReadsThis".into(), 7);
    ns.sockstat = Reading::Present([("TCP.inuse".into(), 12), ("TCP.tw".into(), 7)].into());
    ns
}

/// Two namespaces, and in the second a listener that drops.
fn interval(grown: u64) -> Interval {
    let mut interval = Interval::default();
    interval.after.at = Duration::from_secs(15);
    for (id, name) in [(1, "host"), (2, "web")] {
        interval.before.namespaces.insert(NetnsId(id), netns(name, id == 1, 100));
        interval.after.namespaces.insert(NetnsId(id), netns(name, id == 1, 100 + grown));
    }
    let drops = u32::try_from(grown).unwrap();
    interval.looks.listeners.insert(NetnsId(1), [(1, watch("[::1]:22", 0, [0, 0]))].into());
    interval.looks.listeners.insert(NetnsId(2), [(2, watch("0.0.0.0:8080", 129, [10, 10 + drops]))].into());
    interval
}

fn page(totals: &mut Totals, interval: &Interval, diagnosis: &Diagnosis) -> Page {
    let ended = Duration::from_secs(1_796_083_200);
    totals.add(&Window { interval, diagnosis, ended, collection: Duration::from_millis(21) })
}

/// A listener that drops, and what could not be read.
fn diagnosis() -> Diagnosis {
    let mut diagnosis = examples::quiet();
    diagnosis.findings.push(examples::slow_listener("gunicorn"));
    diagnosis.unknown.push(examples::unknown("tcp-memory", "net.ipv4.tcp_mem", "no permission", Some("root")));
    diagnosis.unknown.push(examples::unknown("all", "network namespaces of 41 processes", "no permission", None));
    diagnosis
}

fn sent() -> Sent<'static> {
    let [started, ended] = [1_796_083_100, 1_796_083_200].map(Duration::from_secs);
    Sent { host: "web-07", started, ended }
}

/// Of a request: names and attributes, as `parse` has them, with values.
fn parse_otlp(text: &str) -> BTreeMap<String, f64> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut series = BTreeMap::new();
    for metric in json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap() {
        let of = ["sum", "gauge"].iter().find_map(|kind| metric.get(kind)).unwrap();
        for point in of["dataPoints"].as_array().unwrap() {
            let mut key = metric["name"].as_str().unwrap().to_string();
            for attribute in point["attributes"].as_array().unwrap() {
                let value = attribute["value"]["stringValue"].as_str().unwrap();
                key.push_str(&format!(" {}={}", attribute["key"].as_str().unwrap(), escape(value)));
            }
            let whole = point["asInt"].as_str().map(|value| value.parse().unwrap());
            series.insert(key, whole.or(point["asDouble"].as_f64()).unwrap());
        }
    }
    series
}

/// Without what is the same for every limit that nothing is known of.
fn telling(text: &str) -> String {
    let quiet = LIMITS.iter().map(|limit| limit.slug);
    let quiet: Vec<_> = quiet.filter(|slug| !["accept-queue", "tcp-memory"].contains(slug)).collect();
    let is_quiet = |line: &&str| {
        quiet.iter().any(|slug| line.contains(&format!("limit=\"{slug}\"")) && !line.contains("subject="))
    };
    text.lines().filter(|line| !is_quiet(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_window_as_open_metrics() {
    let page = page(&mut Totals::default(), &interval(342), &diagnosis());
    insta::assert_snapshot!("serve-openmetrics", telling(&page.text(&own(), Format::OpenMetrics)));
}

/// A request with one family of the window, and what tcproof knows of itself.
fn otlp(name: &str) -> serde_json::Value {
    let Page(families) = page(&mut Totals::default(), &interval(342), &diagnosis());
    let page = Page(families.into_iter().filter(|family| family.name == name).collect());
    let own = Own { memory: None, pushes_failed: Some(1), ..own() };
    serde_json::from_str(&page.otlp(&own, &sent())).unwrap()
}

#[test]
fn a_window_as_otlp() {
    let request = otlp("tcproof_listener_drops");
    insta::assert_snapshot!("serve-otlp", serde_json::to_string_pretty(&request).unwrap());
}

#[test]
fn what_the_kernel_counts_has_counted_since_nobody_knows_when() {
    let request = otlp(KERNEL_EVENTS);
    let metrics = &request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let events = metrics.as_array().unwrap().iter().find(|metric| metric["name"] == "tcproof_kernel_events_total");
    let points = events.unwrap()["sum"]["dataPoints"].as_array().unwrap();
    assert!(!points.is_empty() && points.iter().all(|point| point.get("startTimeUnixNano").is_none()), "{points:?}");
}

#[test]
fn the_older_format_names_whole_families() {
    let text = page(&mut Totals::default(), &interval(342), &diagnosis()).text(&own(), Format::Text);
    assert!(text.contains("# TYPE tcproof_hurt_total counter\n"), "{text}");
    assert!(text.contains("# TYPE tcproof_build_info gauge\n"), "{text}");
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
}

#[test]
fn before_the_first_window_it_says_what_it_is() {
    let own = Own { memory: None, ..own() };
    insta::assert_snapshot!(Page::default().text(&own, Format::OpenMetrics), @r#"
    # TYPE tcproof_build info
    # HELP tcproof_build Which tcproof this is, and on which kernel.
    tcproof_build_info{version="0.1.0",kernel="6.8.0"} 1
    # TYPE tcproof_connections_refused counter
    # HELP tcproof_connections_refused Connections that made room for newer ones, unanswered.
    tcproof_connections_refused_total 3
    # TYPE process_cpu_seconds counter
    # UNIT process_cpu_seconds seconds
    # HELP process_cpu_seconds CPU time of tcproof itself.
    process_cpu_seconds_total 1.25
    # EOF
    "#);
}

/// What a counter says.
fn value(page: &Page, key: &str) -> Option<f64> {
    parse(&page.text(&own(), Format::Text), Format::Text).unwrap().get(key).copied()
}

#[test]
fn totals_add_up_over_windows_and_never_fall() {
    let (mut totals, diagnosis) = (Totals::default(), diagnosis());
    let web = "tcproof_listener_drops_total netns=web listener=0.0.0.0:8080";
    let first = page(&mut totals, &interval(342), &diagnosis);
    assert_eq!(value(&first, web), Some(342.0));
    assert_eq!(value(&first, "tcproof_hurt_total limit=accept-queue"), Some(342.0));
    // Ten others drop more: what it drops now is `other`'s, and what it dropped before stays its own.
    let mut many = interval(3);
    let others = (0..10).map(|n| (9 + n, watch(&format!("10.0.0.1:{}", 100 + n), 1, [0, 5])));
    many.looks.listeners.insert(NetnsId(1), others.collect());
    let second = page(&mut totals, &many, &examples::quiet());
    assert_eq!(value(&second, web), None);
    assert_eq!(value(&second, "tcproof_listener_drops_total netns=other listener=other"), Some(3.0));
    let third = page(&mut totals, &interval(1), &diagnosis);
    assert_eq!(value(&third, web), Some(343.0));
    assert_eq!(value(&third, "tcproof_listener_drops_total netns=other listener=other"), Some(3.0));
    assert_eq!(value(&third, "tcproof_hurt_total limit=accept-queue"), Some(684.0));
    assert_eq!(value(&third, "tcproof_limiting_windows_total limit=accept-queue"), Some(2.0));
    assert_eq!(value(&third, "tcproof_windows_total"), Some(3.0));
}

#[test]
fn what_namespaces_beyond_the_last_shown_count_is_their_growth() {
    let mut interval = interval(2);
    for id in 3..=40 {
        interval.before.namespaces.insert(NetnsId(id), netns("pod", false, 1_000));
        interval.after.namespaces.insert(NetnsId(id), netns("pod", false, 1_001));
    }
    let page = page(&mut Totals::default(), &interval, &examples::quiet());
    let events =
        |ns: &str| value(&page, &format!("tcproof_kernel_events_total netns={ns} counter=TcpExt.ListenOverflows"));
    assert_eq!(events("host"), Some(102.0));
    // Of namespaces with one name each has a series.
    assert_eq!(events("pod"), Some(1_001.0));
    assert_eq!(events("net:[4]"), Some(1_001.0));
    assert_eq!(events("net:[17]"), None);
    assert_eq!(events("other"), Some(24.0));
    assert_eq!(value(&page, "tcproof_sockets netns=other state=in_use"), Some(24.0 * 12.0));
}

#[test]
fn what_could_not_be_read_is_unknown_and_a_finding_comes_first() {
    let mut diagnosis = diagnosis();
    assert_eq!(diagnosis.verdict_on("tcp-memory").as_str(), "unknown");
    assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "limiting");
    assert_eq!(diagnosis.verdict_on("loss").as_str(), "clear");
    diagnosis.unknown.push(examples::unknown("accept-queue", "x", "y", None));
    diagnosis.findings[0].state = State::Near;
    assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "near");
    // Its namespaces went away, or there was one look only.
    for blind in [|it: &mut Diagnosis| it.namespaces = 0, |it: &mut Diagnosis| it.window = Duration::ZERO] {
        let mut diagnosis = diagnosis.clone();
        blind(&mut diagnosis);
        assert_eq!(diagnosis.verdict_on("loss").as_str(), "unknown");
        assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "near");
    }
}

fn subjects() -> impl Strategy<Value = Subject> {
    let netns = any::<String>();
    prop_oneof![
        Just(Subject::Host),
        netns.prop_map(|netns| Subject::Netns { netns }),
        (netns, any::<String>()).prop_map(|(netns, local)| examples::listener(&netns, &local, vec![])),
        (netns, any::<String>()).prop_map(|(netns, device)| Subject::Device { netns, device }),
    ]
}

fn slugs() -> impl Strategy<Value = String> {
    let known = (0..LIMITS.len()).prop_map(|at| LIMITS[at].slug.to_string());
    prop_oneof![4 => known, 1 => any::<String>()]
}

prop_compose! {
    fn hosts()(
        namespaces in prop::collection::vec((any::<String>(), any::<u64>(), any::<bool>()), 0..40),
        listeners in prop::collection::vec((any::<u16>(), any::<u32>(), any::<[u32; 2]>()), 0..40),
        headroom in prop::collection::vec((slugs(), subjects(), any::<[u64; 2]>(), "[a-z]{0,3}"), 0..80),
        findings in prop::collection::vec((slugs(), any::<String>(), any::<bool>(), any::<u64>()), 0..20),
        unknown in prop::collection::vec((slugs(), any::<String>()), 0..20),
    ) -> (Interval, Diagnosis) {
        let (mut interval, mut diagnosis) = (Interval::default(), examples::quiet());
        interval.after.at = Duration::from_secs(1);
        for (id, (name, value, own)) in namespaces.iter().enumerate() {
            let id = NetnsId(id as u64 % 30);
            interval.before.namespaces.insert(id, netns(name, *own, 0));
            let mut ns = netns(name, *own, *value);
            if *value % 5 == 0 {
                ns.sockstat = Reading::Absent(Absent::NotNeeded);
            }
            interval.after.namespaces.insert(id, ns);
            let of = listeners.iter().map(|(port, queue, drops)| (u64::from(*port), watch(&format!("127.0.0.1:{port}"), *queue, *drops)));
            interval.looks.listeners.insert(id, of.collect());
        }
        diagnosis.headroom = headroom
            .into_iter()
            .map(|(limit, subject, [used, capacity], unit)| Headroom { limit, subject, used, capacity, unit })
            .collect();
        diagnosis.findings = findings
            .into_iter()
            .map(|(limit, cause, is_near, hurt)| {
                let state = if is_near { State::Near } else { State::Limiting };
                tcproof_core::Finding { limit, cause, state, hurt, ..examples::slow_listener("x") }
            })
            .collect();
        diagnosis.unknown = unknown.iter().map(|(limit, why)| examples::unknown(limit, why, why, None)).collect();
        (interval, diagnosis)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any strings give text that parses, without a series that is there twice; their number has a bound, and so has
    /// its size; and no counter falls.
    #[test]
    fn no_host_is_too_strange(hosts in prop::collection::vec(hosts(), 1..3), kernel in any::<String>()) {
        let own = Own { kernel: &kernel, ..own() };
        let mut totals = Totals::default();
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        for (interval, diagnosis) in &hosts {
            let page = page(&mut totals, interval, diagnosis);
            for format in [Format::OpenMetrics, Format::Text] {
                let text = page.text(&own, format);
                let series = parse(&text, format).map_err(TestCaseError::fail)?;
                let limits = LIMITS.len();
                let causes: usize = LIMITS.iter().map(|limit| limit.causes.len() + 1).sum();
                let most = limits * (8 + 2 * TOP) + 2 * (causes + 1) + 3 * (TOP + 1) + (NAMESPACES + 1) * (COUNTERS.len() + 2) + 20;
                prop_assert!(series.len() <= most, "{} series", series.len());
                prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
                if format == Format::Text {
                    prop_assert_eq!(&parse_otlp(&page.otlp(&own, &sent())), &series);
                    for (key, value) in &series {
                        let is_ours = key.contains("_total") && !key.contains("kernel_events");
                        prop_assert!(!is_ours || before.get(key).is_none_or(|before| before <= value), "{key} fell");
                    }
                    before = series;
                }
            }
        }
    }
}

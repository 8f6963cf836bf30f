//! `tcproof check --json`: schema `tcproof/check/1`, for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use tcproof_core::{
    Confidence, Diagnosis, Evidence, Finding, FlowNote, Headroom, Remedy, RuledOut, SinceBoot, State, Subject, Unknown,
    Verdict,
};

use crate::record::{Place, PlaceView};

/// The JSON Schema of [`check`].
pub const CHECK_SCHEMA: &str = include_str!("../schema/check-1.schema.json");

/// Headroom entries of one limit that are rendered, the fullest; `headroom_left_out` counts the others.
pub const MOST_HEADROOM: usize = 256;

/// The diagnosis as JSON text.
pub fn check(diagnosis: &Diagnosis) -> String {
    check_of(diagnosis, None)
}

/// The same, with where it was read from if nobody watched for it.
pub fn check_of(diagnosis: &Diagnosis, recording: Option<&Place>) -> String {
    to_text(&Check { recording: recording.map(PlaceView::new), ..Check::new(diagnosis) })
}

/// What `check --json` saved, as far as it is needed once more.
#[derive(Debug, Deserialize)]
pub struct Saved {
    /// The machine.
    pub host: SavedHost,
    /// The word for it.
    pub verdict: Verdict,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// What could not be observed.
    pub unknown: Vec<Unknown>,
    /// How long it was watched.
    #[serde(default)]
    pub window_seconds: f64,
    /// Fullest first.
    #[serde(default)]
    pub headroom: Vec<Headroom>,
    /// What the watched connections are held back by.
    #[serde(default)]
    pub flows: Vec<FlowNote>,
    /// What was counted since boot, where there was one reading alone.
    #[serde(default)]
    pub since_boot: Vec<SinceBoot>,
}

/// The machine of a saved check.
#[derive(Debug, Deserialize)]
pub struct SavedHost {
    /// Its name; empty where it could not be read.
    #[serde(default)]
    pub name: String,
    /// Its kernel; empty where it could not be read.
    #[serde(default)]
    pub kernel: String,
    /// Its CPUs; 0 where they could not be read.
    #[serde(default)]
    pub cpus: u32,
    /// Its memory; 0 where it could not be read.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// Reads what [`check`] wrote, or a later version that only added to it.
///
/// # Errors
/// What is wrong with it, by line and column.
pub fn read(text: &str) -> Result<Saved, String> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let head: Head = serde_json::from_str(text).map_err(|error| placed(&error))?;
    if head.schema != "tcproof/check/1" {
        return Err(format!(
            "schema: expected \"tcproof/check/1\", as check --json writes it, found {:?}",
            head.schema
        ));
    }
    serde_json::from_str(text).map_err(|error| placed(&error))
}

impl Saved {
    /// The diagnosis that was saved, but for what its JSON does not say: namespaces, sockets and open connections.
    pub fn into_diagnosis(self) -> Diagnosis {
        let Self { host, verdict, findings, unknown, window_seconds, headroom, flows, since_boot } = self;
        let SavedHost { name, kernel, cpus, memory_bytes } = host;
        Diagnosis {
            host: tcproof_core::snapshot::Host { name, kernel, cpus, memory_bytes, ..Default::default() },
            // What is no time at all is no window.
            window: Duration::try_from_secs_f64(window_seconds).unwrap_or_default(),
            findings,
            checked: headroom.len(),
            headroom,
            unknown,
            namespaces: 0,
            listeners_seen: verdict != Verdict::Unknown,
            sockets: None,
            open_flows: 0,
            flows,
            since_boot,
        }
    }
}

/// The error with its place in front, as TOML's are written, too.
pub(crate) fn placed(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    format!("line {}, column {}: {what}", error.line(), error.column())
}

pub(crate) fn to_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("strings and numbers, with strings as keys");
    let mut text = without_controls(text);
    text.push('\n');
    text
}

/// Escapes what serde_json and toml leave as it is, as a terminal in UTF-8 mode obeys U+009B.
pub(crate) fn without_controls(text: String) -> String {
    let acts = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(acts) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if acts(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

#[derive(Serialize)]
struct Check<'a> {
    schema: &'static str,
    host: Host<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<PlaceView<'a>>,
    #[serde(serialize_with = "number")]
    window_seconds: f64,
    verdict: Verdict,
    findings: Vec<FindingView<'a>>,
    headroom: Vec<&'a Headroom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom_left_out: Option<usize>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    flows: &'a [FlowNote],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    since_boot: &'a [SinceBoot],
    unknown: &'a [Unknown],
}

/// The machine; what could not be read is left out.
#[derive(Serialize)]
pub(crate) struct Host<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    limit: &'a str,
    state: State,
    cause: &'a str,
    confidence: Confidence,
    subject: &'a Subject,
    summary: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    because: &'a str,
    evidence: Vec<EvidenceView<'a>>,
    ruled_out: &'a [RuledOut],
    remedies: &'a [Remedy],
}

#[derive(Serialize)]
struct EvidenceView<'a> {
    reading: &'a str,
    #[serde(serialize_with = "number")]
    value: f64,
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_number")]
    over_seconds: Option<f64>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(host: &'a tcproof_core::snapshot::Host) -> Self {
        Self {
            name: &host.name,
            kernel: &host.kernel,
            cpus: Some(host.cpus).filter(|n| *n > 0),
            memory_bytes: Some(host.memory_bytes).filter(|n| *n > 0),
        }
    }
}

impl<'a> Check<'a> {
    fn new(diagnosis: &'a Diagnosis) -> Self {
        let Diagnosis { host, window, findings, headroom: all, unknown, .. } = diagnosis;
        let mut of_limit = BTreeMap::<&str, usize>::new();
        let headroom: Vec<_> = all
            .iter()
            .filter(|row| {
                let n = of_limit.entry(&row.limit).or_default();
                *n += 1;
                *n <= MOST_HEADROOM
            })
            .collect();
        let left_out = all.len() - headroom.len();
        Self {
            schema: "tcproof/check/1",
            host: Host::new(host),
            recording: None,
            window_seconds: window.as_secs_f64(),
            verdict: diagnosis.verdict(),
            findings: findings.iter().map(FindingView::new).collect(),
            headroom,
            headroom_left_out: Some(left_out).filter(|n| *n > 0),
            flows: &diagnosis.flows,
            since_boot: &diagnosis.since_boot,
            unknown,
        }
    }
}

impl<'a> FindingView<'a> {
    fn new(finding: &'a Finding) -> Self {
        Self {
            limit: &finding.limit,
            state: finding.state,
            cause: &finding.cause,
            confidence: finding.confidence,
            subject: &finding.subject,
            summary: &finding.summary,
            because: &finding.because,
            // JSON has no word for a number that is none.
            evidence: finding.evidence.iter().filter(|e| e.value.is_finite()).map(EvidenceView::new).collect(),
            ruled_out: &finding.ruled_out,
            remedies: &finding.remedies,
        }
    }
}

impl<'a> EvidenceView<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        Self {
            reading: &evidence.reading,
            value: evidence.value,
            unit: &evidence.unit,
            over_seconds: evidence.over_seconds.filter(|seconds| seconds.is_finite()),
        }
    }
}

/// Whole numbers without a point, so that a counter reads like one.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    // Beyond this, f64 does not hold every whole number, and nothing would be gained.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[allow(clippy::ref_option, reason = "serde passes a reference")]
pub(crate) fn some_number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tcproof_core::limits::LIMITS;

    use super::*;
    use crate::examples::{self, blind, clamped_listener, limiting, many, near, quiet};

    fn schema() -> Value {
        serde_json::from_str(CHECK_SCHEMA).unwrap()
    }

    fn complaints(value: &Value) -> Vec<String> {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn parsed(diagnosis: &Diagnosis) -> Value {
        serde_json::from_str(&check(diagnosis)).unwrap()
    }

    fn diagnoses() -> Vec<Diagnosis> {
        let near = Diagnosis { findings: vec![near()], ..quiet() };
        vec![limiting("evil\x1b[31m\n\u{202e}"), near, quiet(), blind(), many(100)]
    }

    #[test]
    fn what_is_rendered_is_what_the_schema_says() {
        assert!(jsonschema::meta::is_valid(&schema()));
        for diagnosis in diagnoses() {
            let value = parsed(&diagnosis);
            assert_eq!(complaints(&value), Vec::<String>::new());
            assert_eq!(value["verdict"], diagnosis.verdict().as_str());
            assert!(!check(&diagnosis).contains("null"), "a field that does not apply is left out");
        }
    }

    #[test]
    fn of_a_recording_it_says_which_part_was_judged() {
        let place =
            Place { host: "web\x1b".into(), redacted: true, ended_ms: 1_796_000_005_000, records: 3, is_cut: true };
        let text = check_of(&quiet(), Some(&place));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(complaints(&value), Vec::<String>::new());
        let recording =
            json!({"host": "web\x1b", "redacted": true, "ended_ms": 1_796_000_005_000_i64, "records": 3, "cut": true});
        assert_eq!(value["recording"], recording);
        assert!(!text.contains('\x1b') && read(&text).is_ok());
        let nameless = check_of(&quiet(), Some(&Place { host: String::new(), ..place }));
        assert_eq!(complaints(&serde_json::from_str(&nameless).unwrap()), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_subject_is_valid() {
        let netns = || "web".to_string();
        for subject in [
            Subject::Host,
            Subject::Netns { netns: netns() },
            examples::listener("web", "[::]:80", vec![]),
            examples::destination("web", "10.0.0.1", "10.0.0.2:443"),
            Subject::Process { netns: netns(), owners: vec![examples::owner(1, "a", None)], local: None },
            Subject::Flow {
                netns: netns(),
                local: "10.0.0.1:80".into(),
                remote: "10.0.0.2:443".into(),
                alike: 9,
                owners: vec![],
            },
            Subject::Cgroup { path: "/system.slice/api.service".into(), unit: Some("api.service".into()) },
            Subject::Cpu { cpu: 0 },
            Subject::Device { netns: netns(), device: "eth0".into() },
        ] {
            let mut diagnosis = limiting("x");
            diagnosis.findings[0].subject = subject;
            assert_eq!(complaints(&parsed(&diagnosis)), Vec::<String>::new());
        }
    }

    #[test]
    fn the_whole_text() {
        let mut diagnosis = limiting("gunicorn\n");
        diagnosis.findings.push(clamped_listener());
        diagnosis.headroom.truncate(2);
        diagnosis.unknown.truncate(1);
        insta::assert_snapshot!(check(&diagnosis));
    }

    #[test]
    fn what_the_schema_does_not_allow_is_refused() {
        let good = parsed(&limiting("x"));
        let broken: [(&str, &str, Value); 14] = [
            ("", "schema", json!("tcproof/check/2")),
            ("", "verdict", json!("fine")),
            ("", "verdict", json!("clear")),
            ("", "findings", json!([])),
            ("", "window_seconds", json!("5")),
            ("/host", "cpus", json!(0)),
            ("/host", "memory_bytes", json!(null)),
            ("/findings/0", "limit", json!("accept_queue")),
            ("/findings/0", "cause", json!("table-full")),
            ("/findings/0", "confidence", json!(0.9)),
            ("/findings/0/subject", "kind", json!("socket")),
            ("/findings/0/remedies/0", "level", json!("root")),
            ("/findings/0/remedies/0", "to", json!("1")),
            ("/headroom/0", "used", json!(-1)),
        ];
        for (place, key, value) in broken {
            let mut bad = good.clone();
            bad.pointer_mut(place).unwrap()[key] = value.clone();
            assert_ne!(complaints(&bad), Vec::<String>::new(), "{place}/{key} = {value} passed");
        }
        for (place, key) in
            [("", "unknown"), ("/findings/0", "evidence"), ("/findings/0/subject", "local"), ("/headroom/0", "unit")]
        {
            let mut bad = good.clone();
            bad.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key);
            assert_ne!(complaints(&bad), Vec::<String>::new(), "passed without {place}/{key}");
        }
        let mut more = good;
        more["since_a_later_version"] = json!(1);
        assert_eq!(complaints(&more), Vec::<String>::new());
    }

    #[test]
    fn every_limit_and_cause_is_in_the_schema() {
        for limit in LIMITS {
            for (cause, _) in limit.causes {
                let mut value = parsed(&limiting("x"));
                value["findings"][0]["limit"] = json!(limit.slug);
                value["findings"][0]["cause"] = json!(cause);
                assert_eq!(complaints(&value), Vec::<String>::new(), "{} {cause}", limit.slug);
            }
        }
        // A limit without a rule for its causes would take any.
        let schema = schema();
        let limits = schema["$defs"]["limit"]["enum"].as_array().unwrap();
        let rules = schema["$defs"]["finding"]["allOf"].as_array().unwrap();
        let ruled: Vec<_> = rules.iter().map(|rule| &rule["if"]["properties"]["limit"]["const"]).collect();
        assert_eq!(ruled, limits.iter().collect::<Vec<_>>());
    }

    #[test]
    fn whole_numbers_have_no_point_and_no_number_is_null() {
        let mut diagnosis = limiting("x");
        diagnosis.findings[0] =
            diagnosis.findings[0].clone().standing("none", f64::NAN, "x").changed("odd", 1.5, "x", f64::INFINITY);
        let text = check(&diagnosis);
        assert!(text.contains("\"value\": 342,") && text.contains("\"value\": 0.94,"), "{text}");
        let value = parsed(&diagnosis);
        assert_eq!(complaints(&value), Vec::<String>::new());
        let evidence = value["findings"][0]["evidence"].as_array().unwrap();
        assert_eq!(evidence.last().unwrap(), &json!({"reading": "odd", "value": 1.5, "unit": "x"}));
        assert!(evidence.iter().all(|e| e["reading"] != "none"));
    }

    #[test]
    fn no_control_character_reaches_a_terminal_and_all_come_back() {
        let name = "a\x1b[31m\u{9b}2J\x7f\n\u{85}";
        let text = check(&limiting(name));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["findings"][0]["subject"]["owners"][0]["comm"], name);
    }

    #[test]
    fn headroom_is_bounded_per_limit_and_says_so() {
        let mut diagnosis = quiet();
        let row = diagnosis.headroom[1].clone();
        diagnosis.headroom.splice(1..2, std::iter::repeat_n(row, 10_000));
        let value = parsed(&diagnosis);
        assert_eq!(value["headroom"].as_array().unwrap().len(), MOST_HEADROOM + 4);
        // The listener's second row in the example is of the same limit.
        assert_eq!(value["headroom_left_out"], 10_000 + 1 - MOST_HEADROOM);
        assert_eq!(complaints(&value), Vec::<String>::new());
        assert!(parsed(&quiet()).get("headroom_left_out").is_none());
    }
}

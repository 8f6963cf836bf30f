//! The same for a collector of OpenTelemetry: the body of a request to `/v1/metrics`, in the JSON of OTLP 1.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Family, Kind, Labels, Own, Page};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;
/// Whole numbers beyond this a float doesn't tell apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Of whom it is, and of when.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The host's name.
    pub host: &'a str,
    /// When tcproof was started, since 1970: from then on it counts.
    pub started: Duration,
    /// When the window ended, since 1970.
    pub ended: Duration,
}

impl Page {
    /// All of it, by the names that a scraper sees.
    pub fn otlp(&self, own: &Own<'_>, sent: &Sent<'_>) -> String {
        let families = own.families();
        let metrics: Vec<_> = self.families(&families).filter_map(|family| metric(family, sent)).collect();
        let resource = [
            ("service.name", "tcproof"),
            ("service.version", own.version),
            ("service.instance.id", sent.host),
            ("host.name", sent.host),
            ("os.type", "linux"),
            ("os.version", own.kernel),
        ];
        json!({"resourceMetrics": [{
            "resource": {"attributes": resource.map(|(key, value)| attribute(key, &super::label(value)))},
            "scopeMetrics": [{"scope": {"name": "tcproof", "version": own.version}, "metrics": metrics}],
        }]})
        .to_string()
    }
}

fn metric(family: &Family, sent: &Sent<'_>) -> Option<Value> {
    if family.series.is_empty() {
        return None;
    }
    let is_counter = family.kind == Kind::Counter;
    // Of one kind in all requests: a time may be whole by chance.
    let is_whole = |value: &f64| value.fract() == 0.0 && value.abs() <= EXACT;
    let are_whole = family.unit() != Some("seconds") && family.series.values().all(is_whole);
    let points = family.series.iter().map(|(labels, value)| {
        let mut point = json!({"attributes": attributes(labels), "timeUnixNano": nanoseconds(sent.ended)});
        // The kernel has counted since the boot, or since a namespace was made: nobody knows.
        if is_counter && family.name != super::KERNEL_EVENTS {
            point["startTimeUnixNano"] = nanoseconds(sent.started);
        }
        match are_whole {
            // 64 bits are a string in the JSON of protobuf.
            true => point["asInt"] = Value::String(format!("{value:.0}")),
            false => point["asDouble"] = json!(value),
        }
        point
    });
    let points: Vec<_> = points.collect();
    let mut metric = json!({"name": format!("{}{}", family.name, family.suffix()), "description": family.help});
    if let Some(unit) = family.unit() {
        metric["unit"] = json!(if unit == "bytes" { "By" } else { "s" });
    }
    match is_counter {
        true => {
            metric["sum"] = json!({"aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points});
        }
        false => metric["gauge"] = json!({"dataPoints": points}),
    }
    Some(metric)
}

fn nanoseconds(since_1970: Duration) -> Value {
    Value::String(since_1970.as_nanos().to_string())
}

fn attributes(labels: &Labels) -> Vec<Value> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

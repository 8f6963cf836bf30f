//! What the dashboard for Grafana asks.

use serde_json::Value;

use crate::server::Prometheus;

const DASHBOARD: &str = include_str!("../../../../contrib/grafana/tcproof.json");
/// What Grafana puts in their places: for all hosts, and for some of them.
const HOSTS: [&str; 2] = [".*", "(accept-queue-stalled|ports-held|time-wait-table)"];
const VARIABLES: [(&str, &str); 2] = [("$netns", ".*"), ("$__rate_interval", "5s")];

/// All of its queries, wherever they are, find something while it hurts.
pub(crate) fn assert_answered(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 20, "{queries:?}");
    for host in HOSTS {
        for query in &queries {
            let filled = VARIABLES
                .iter()
                .fold(query.replace("$instance", host), |query, (name, value)| query.replace(name, value));
            assert!(!filled.contains('$'), "{filled}");
            let (expr, label) = values_of(&filled).unwrap_or((&filled, None));
            let series = prometheus.query(expr);
            let has = |series: &Value| label.is_none_or(|label| series["metric"].get(label).is_some());
            assert!(!series.is_empty() && series.iter().all(has), "{query}: {series:?}");
        }
    }
    assert_states(prometheus, &queries);
}

/// The numbers of the states that it gives colours.
fn assert_states(prometheus: &Prometheus, queries: &[String]) {
    let states = queries.iter().find(|query| query.starts_with("max by (limit) (3 * ")).unwrap();
    let series = prometheus.query(&states.replace("$instance", ".*"));
    let state = |limit: &str| {
        let of =
            series.iter().find(|series| series["metric"]["limit"] == limit).unwrap_or_else(|| panic!("no {limit}"));
        of["value"][1].as_str().unwrap().to_string()
    };
    let named = ["accept-queue", "ephemeral-ports", "time-wait-table", "close-wait-leak"];
    assert_eq!(named.map(state), ["3", "3", "2", "0"]);
}

/// Of panels and of what is drawn over them, and of variables.
fn queries(within: &Value) -> Vec<String> {
    match within {
        Value::Object(fields) => {
            let own = fields.iter().filter(|(name, _)| ["expr", "query"].contains(&name.as_str()));
            let own = own.filter_map(|(_, value)| value.as_str()).filter(|query| *query != "prometheus");
            own.map(String::from).chain(fields.values().flat_map(queries)).collect()
        }
        Value::Array(values) => values.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// Of `label_values(EXPR, LABEL)`, which is Grafana's own.
fn values_of(query: &str) -> Option<(&str, Option<&str>)> {
    let (expr, label) = query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")?;
    Some((expr, Some(label)))
}

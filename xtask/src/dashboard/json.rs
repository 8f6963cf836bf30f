//! Panels and what belongs to them, as Grafana reads them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::panels::{Kind, Panel, STATES};
use super::{COLUMNS, PAGES, UID};
use crate::page::{Page, capital};

/// A page's size.
const PAGE: (u64, u64) = (12, 12);

/// Chosen at the top.
fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Firing alerts of ours, as lines over all panels.
pub(super) fn alerts() -> Value {
    json!({
        "name": "Alerts",
        "datasource": source(),
        "enable": true,
        "hide": false,
        "iconColor": color("limiting"),
        "expr": r#"ALERTS{alertname=~"Tcproof.+",alertstate="firing",instance=~"$instance"}"#,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{limit}} on {{instance}}",
        "tagKeys": "severity",
        "step": "30s",
    })
}

pub(super) fn variables() -> Value {
    let values = |name: &str, label: &str, query: &str| {
        json!({
            "type": "query",
            "name": name,
            "label": label,
            "datasource": source(),
            "query": {"query": query, "refId": name},
            "definition": query,
            "includeAll": true,
            "multi": true,
            // Also where there are too many to list.
            "allValue": ".*",
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
            // As the time range changes.
            "refresh": 2,
            "sort": 1,
        })
    };
    json!([
        {"type": "datasource", "name": "datasource", "label": "Source", "query": "prometheus", "refresh": 1},
        values("instance", "Host", "label_values(tcproof_build_info, instance)"),
        values("netns", "Network namespace", r#"label_values(tcproof_sockets{instance=~"$instance"}, netns)"#),
    ])
}

pub(super) fn panel(panel: &Panel, pages: &[Page<'_>]) -> Result<Value> {
    let Panel { title, description, kind, unit, limit, queries, .. } = panel;
    let (visual, custom, options) = look(*kind);
    let page = match limit {
        None => PAGES,
        Some(slug) => page_of(slug, pages)?,
    };
    let is_now = matches!(kind, Kind::Bars | Kind::Table);
    let targets = queries.iter().zip('A'..).map(|(query, id)| {
        json!({
            "refId": id,
            "datasource": source(),
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": is_now,
            "range": !is_now,
            "format": if *kind == Kind::Table { "table" } else { "time_series" },
        })
    });
    let mut defaults = json!({"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}});
    let mut overrides = Vec::new();
    match kind {
        Kind::Lines => defaults["min"] = json!(0),
        // A single hue: which of them is too full is not for a dashboard to say.
        Kind::Bars => {
            defaults["color"] = json!({"mode": "continuous-blues"});
            (defaults["min"], defaults["max"]) = (json!(0), json!(1));
        }
        Kind::States => {
            defaults["mappings"] = mappings();
            defaults["color"] = json!({"mode": "thresholds"});
            defaults["thresholds"] = thresholds(json!([{"color": color("unknown"), "value": null}]));
            for page in pages {
                let link = [link(&format!("What {} is, and what to do first", page.slug), page_of(page.slug, pages)?)];
                overrides.push(for_series(page.slug, json!([{"id": "links", "value": link}])));
            }
        }
        Kind::Counts => overrides.extend(STATES.map(|(state, _, color)| {
            // None in a state has no colour.
            let steps = json!([{"color": "#808080", "value": null}, {"color": color, "value": 1}]);
            let by = json!({"id": "color", "value": {"mode": "thresholds"}});
            for_series(state, json!([by, {"id": "thresholds", "value": thresholds(steps)}]))
        })),
        Kind::Table => {}
    }
    let mut json = json!({
        "type": visual,
        "title": title,
        "description": description,
        "datasource": source(),
        "links": [link("What the limits are, and what to do first", page)],
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options,
        "targets": targets.collect::<Vec<_>>(),
    });
    if *kind == Kind::Table {
        let hidden = json!({"Time": true, "Value": true, "__name__": true, "job": true});
        json["transformations"] = json!([{"id": "organize", "options": {"excludeByName": hidden}}]);
    }
    Ok(json)
}

/// Grafana's name of the kind, and its settings.
fn look(kind: Kind) -> (&'static str, Value, Value) {
    let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    let legend = json!({"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []});
    match kind {
        Kind::Lines => (
            "timeseries",
            json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false}),
            json!({"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}),
        ),
        Kind::States => (
            "state-timeline",
            json!({"fillOpacity": 85, "lineWidth": 0}),
            json!({
                "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.85,
                "legend": legend, "tooltip": {"mode": "single", "sort": "none"},
            }),
        ),
        Kind::Counts => (
            "stat",
            json!({}),
            json!({
                "reduceOptions": last, "colorMode": "value", "graphMode": "none", "textMode": "value_and_name",
                "justifyMode": "auto", "orientation": "vertical",
            }),
        ),
        Kind::Bars => (
            "bargauge",
            json!({}),
            json!({
                "reduceOptions": last, "displayMode": "basic", "orientation": "horizontal", "valueMode": "text",
                "showUnfilled": true, "minVizHeight": 10, "minVizWidth": 0,
            }),
        ),
        Kind::Table => {
            ("table", json!({"align": "auto", "filterable": true}), json!({"showHeader": true, "cellHeight": "sm"}))
        }
    }
}

/// A number's word and colour.
fn mappings() -> Value {
    let states = STATES
        .map(|(state, number, color)| (number.to_string(), json!({"text": state, "color": color, "index": number})));
    json!([{"type": "value", "options": serde_json::Map::from_iter(states)}])
}

fn thresholds(steps: Value) -> Value {
    json!({"mode": "absolute", "steps": steps})
}

fn color(wanted: &str) -> &'static str {
    STATES.iter().find(|(state, ..)| *state == wanted).map_or("", |(_, _, color)| color)
}

fn for_series(name: &str, properties: Value) -> Value {
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// To another panel, alone on the screen, at the same time and with the same variables.
fn link(title: &str, panel: usize) -> Value {
    let url = format!("/d/{UID}?viewPanel={panel}&${{__url_time_range}}&${{__all_variables}}");
    json!({"title": title, "url": url, "targetBlank": false})
}

fn page_of(slug: &str, pages: &[Page<'_>]) -> Result<usize> {
    let at = pages.iter().position(|page| page.slug == slug);
    at.map(|at| PAGES + 1 + at).ok_or_else(|| anyhow::anyhow!("there is no limit {slug:?}"))
}

/// A row, closed until somebody looks: all limits, and what each is and what to do.
pub(super) fn pages(pages: &[Page<'_>], top: u64) -> Result<Value> {
    let mut lines = vec!["| limit | what it is |".to_string(), "|---|---|".to_string()];
    for page in pages {
        let at = page_of(page.slug, pages)?;
        let first = page.first("What it is")?;
        ensure!(!first.contains('|'), "expected no | in the first sentence of the page of {}", page.slug);
        // Relative: nothing puts the path that Grafana is served under before links within a text.
        lines.push(format!("| [{}](?viewPanel={at}) | {first} |", page.slug));
    }
    let size = (COLUMNS, 20);
    let mut panels = vec![text(PAGES, "The limits", &lines.join("\n"), size, (0, top + 1))];
    for (at, page) in (0..).zip(pages) {
        let Page { slug, title, .. } = page;
        let (what, remedy) = (page.section("What it is")?, page.section("Remedy")?);
        let content = format!(
            "{what}\n\n### What to do\n\n{remedy}\n\n### More\n\n`tcproof explain {slug}`: what proves it, what looks like it, \
             and how to see it yourself."
        );
        let place = (at % 2 * PAGE.0, top + 1 + size.1 + at / 2 * PAGE.1);
        panels.push(text(page_of(slug, pages)?, &capital(title), &content, PAGE, place));
    }
    let place = json!({"x": 0, "y": top, "w": COLUMNS, "h": 1});
    Ok(json!({
        "id": PAGES - 1, "type": "row", "title": "What the limits are, and what to do first", "collapsed": true,
        "panels": panels, "gridPos": place,
    }))
}

fn text(id: usize, title: &str, content: &str, (width, height): (u64, u64), (x, y): (u64, u64)) -> Value {
    json!({
        "id": id,
        "type": "text",
        "title": title,
        "description": "From the limit's own page.",
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "options": {"mode": "markdown", "content": content},
    })
}

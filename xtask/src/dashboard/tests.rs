use std::collections::BTreeSet;

use super::*;
use crate::{limits, read, workspace};

/// Every panel, also those within rows.
fn panels(within: &Value) -> Vec<&Value> {
    let own = within["panels"].as_array().into_iter().flatten();
    own.flat_map(|panel| [vec![panel], panels(panel)].concat()).collect()
}

fn committed() -> Value {
    serde_json::from_str(&read(&workspace().join(DASHBOARD)).unwrap()).unwrap()
}

#[test]
fn the_committed_dashboard_is_that_of_the_limits() {
    assert_eq!(run(&workspace(), &limits(), true).unwrap(), ExitCode::SUCCESS);
}

#[test]
fn every_panel_says_what_it_shows_and_leads_to_a_page() {
    let dashboard = committed();
    let panels = panels(&dashboard);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let pages = limits().modules().unwrap().len();
    assert_eq!(panels.iter().filter(|panel| panel["type"] == "text").count(), pages + 1);
    for panel in panels {
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{panel}");
        if panel["type"] == "text" {
            continue;
        }
        let own = panel["links"].as_array().unwrap().iter();
        let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap().iter();
        let properties = overrides.flat_map(|of| of["properties"].as_array().unwrap());
        let series = properties.filter(|of| of["id"] == "links").flat_map(|of| of["value"].as_array().unwrap());
        let mut links = 0;
        for link in own.chain(series) {
            let url = link["url"].as_str().unwrap();
            let rest = url.strip_prefix(&format!("/d/{UID}?viewPanel=")).unwrap_or_else(|| panic!("{url}"));
            let id = rest.split('&').next().unwrap().parse().unwrap();
            assert!(id >= PAGES as u64 && ids.contains(&id), "{url}");
            links += 1;
        }
        let wanted = if panel["type"] == "state-timeline" { 1 + pages } else { 1 };
        assert_eq!(links, wanted, "{panel}");
    }
}

/// No two panels in one place, and none beyond the edge.
#[test]
fn panels_do_not_overlap() {
    let mut taken = BTreeSet::new();
    let dashboard = committed();
    for panel in panels(&dashboard) {
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        assert!(x + width <= COLUMNS, "{panel}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{cell:?} {panel}");
        }
    }
}

#[test]
fn a_limit_that_is_not_there_is_named() {
    let error = dashboard(&[]).unwrap_err();
    assert_eq!(error.to_string(), "there is no limit \"accept-queue\"");
}

//! A dashboard for Grafana, from what each limit's file says of itself.

mod json;
mod panels;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::generated::Generated;
use crate::page::Page;
use crate::registry::Table;

const DASHBOARD: &str = "contrib/grafana/tcproof.json";
/// By which its links find it again.
const UID: &str = "tcproof";
/// Panels have smaller numbers; from here on there are pages: all limits, then each.
const PAGES: usize = 100;
/// Grafana's grid.
const COLUMNS: u64 = 24;

/// Writes it, or says whether it differs.
pub(crate) fn run(workspace: &Path, table: &Table, check: bool) -> Result<ExitCode> {
    let sources = table.sources()?;
    let pages = sources.iter().map(|source| source.read(Page::of)).collect::<Result<Vec<_>>>()?;
    let text = serde_json::to_string_pretty(&dashboard(&pages)?).context("writing JSON")? + "\n";
    Generated { file: DASHBOARD, task: "dashboard", text }.keep(workspace, check)
}

/// All of it, as Grafana 10 has it (schema 39): later ones bring it up to theirs.
fn dashboard(pages: &[Page<'_>]) -> Result<Value> {
    let mut grid = Grid::default();
    for (row, panels) in panels::rows() {
        grid.row(row);
        for panel in panels {
            grid.place(panel.size, json::panel(&panel, pages)?);
        }
    }
    let mut all = grid.panels;
    all.push(json::pages(pages, grid.bottom)?);
    Ok(json!({
        "uid": UID,
        "title": "tcproof: which TCP limit hurts",
        "description": "Written by `cargo xtask dashboard` from the limits of tcproof: what `tcproof serve` measures.",
        "tags": ["tcproof", "tcp"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        // One line through all panels, at the moment that is pointed at.
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [json::alerts()]},
        "templating": {"list": json::variables()},
        "links": [],
        "panels": all,
    }))
}

/// Panels from left to right, and rows from top to bottom.
#[derive(Default)]
struct Grid {
    panels: Vec<Value>,
    right: u64,
    top: u64,
    bottom: u64,
}

impl Grid {
    fn row(&mut self, title: &str) {
        (self.right, self.top) = (0, self.bottom);
        let place = json!({"x": 0, "y": self.top, "w": COLUMNS, "h": 1});
        self.add(json!({"type": "row", "title": title, "collapsed": false, "panels": [], "gridPos": place}));
        (self.top, self.bottom) = (self.top + 1, self.top + 1);
    }

    fn place(&mut self, (width, height): (u64, u64), mut panel: Value) {
        if self.right + width > COLUMNS {
            (self.right, self.top) = (0, self.bottom);
        }
        panel["gridPos"] = json!({"x": self.right, "y": self.top, "w": width, "h": height});
        self.add(panel);
        self.right += width;
        self.bottom = self.bottom.max(self.top + height);
    }

    fn add(&mut self, mut panel: Value) {
        panel["id"] = json!(self.panels.len() + 1);
        self.panels.push(panel);
    }
}

#[cfg(test)]
mod tests;

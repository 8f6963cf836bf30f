//! What a report tells of the way of a packet, and of what probes counted.

use std::collections::BTreeSet;

use tcproof_core::Interval;
use tcproof_core::path::{Stage, devices, stages};

use super::{BUSIEST, Block, Cell, Table, Tone, column};
use crate::layout::{Role, count};
use crate::{path, trace};

/// Devices.
const DEVICES: usize = 12;

pub(super) fn packet_path(interval: &Interval) -> Vec<Block> {
    let row = |stage: &Stage| {
        let (role, word) = path::state(stage);
        let tone = match role {
            Role::Near => Tone::Near,
            Role::Clear => Tone::Clear,
            _ => Tone::Plain,
        };
        let mut lines = Vec::new();
        if !stage.passed.is_empty() {
            lines.push(format!("passed: {}", path::passed(&stage.passed, false)));
        }
        if stage.dropped.is_empty() && stage.still > 0 {
            lines.push(format!("dropped: nothing, {} stood still", count(stage.still as u64, "counter")));
        }
        for (label, counts) in [("dropped", &stage.dropped), ("delayed", &stage.delayed)] {
            lines.extend(counts.iter().take(BUSIEST).map(|count| format!("{label}: {}", path::told(count))));
        }
        let advice: BTreeSet<_> = stage.dropped.iter().take(BUSIEST).flat_map(path::advised).collect();
        lines.extend(advice.into_iter().map(|text| format!("look at: {text}")));
        lines.extend(path::reasons(&stage.unknown).into_iter().take(BUSIEST).map(|why| format!("unknown: {why}")));
        let what = Cell { lines: vec![stage.title.to_string()], badge: Some((tone, word)), ..Cell::default() };
        vec![what, Cell { lines, ..Cell::default() }]
    };
    let columns = vec![column("Stage"), column("In the window")];
    let rows = stages(interval).iter().map(row).collect();
    let mut blocks =
        vec![Block::Table(Table { caption: "The way of a packet through this host".into(), columns, rows })];
    let mut moved: Vec<_> = devices(interval).into_iter().filter(|device| device.packets() > 0).collect();
    moved.sort_by_key(|device| std::cmp::Reverse(device.packets()));
    let row = |device: &tcproof_core::path::DeviceChange<'_>| {
        let facts = path::facts(device).into_iter().filter(|(_, text)| !text.is_empty());
        let lines = facts.map(|(label, text)| format!("{label}: {text}")).collect();
        vec![Cell::new(path::summary(device)), Cell { lines, ..Cell::default() }]
    };
    if !moved.is_empty() {
        let rows = moved.iter().take(DEVICES).map(row).collect();
        let columns = vec![column("Device"), column("What it moved, and how it is set")];
        blocks.push(Block::Table(Table { caption: "Devices, the busiest first".into(), columns, rows }));
    }
    blocks
}

pub(super) fn probes(interval: &Interval) -> Vec<Block> {
    let rows = trace::rows(interval);
    let mut last = "";
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(label, text)| {
            // A label stands for the rows below it.
            last = if label.is_empty() { last } else { label };
            vec![Cell::new(last), Cell::new(text)]
        })
        .collect();
    let columns = vec![column("Probe"), column("Counted")];
    let table = || Block::Table(Table { caption: "What eBPF probes counted, those with most".into(), columns, rows });
    (!last.is_empty()).then(table).into_iter().collect()
}

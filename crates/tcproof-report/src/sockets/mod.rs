//! `tcproof sockets`: how many sockets there are, by state, namespace, listener, destination, process and control group.

mod json;
mod known;
mod text;

pub use json::{json, json_of};
pub use text::text;

use tcproof_core::Owner;
use tcproof_core::census::{Census, Lost, ProcessRow};
use tcproof_core::snapshot::{NetnsId, Pid, unit_of};

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../../schema/sockets-1.schema.json");

/// What it means that sockets were not counted exactly.
fn lost(why: Lost) -> &'static str {
    match why {
        Lost::DestinationsFull => "counted by state, but in no row of destinations: the table was full",
        Lost::SourcesFolded => "counted at their destination without their source: the table was full",
        Lost::CgroupsFull => "in no row of control groups: the table was full",
        Lost::UnknownState => "in a state that this version does not know, and not counted",
        Lost::Moved => "moved while they were counted: missed, or counted twice",
    }
}

fn name(census: &Census, netns: NetnsId) -> String {
    census.namespaces.get(&netns).map_or_else(|| netns.to_string(), |ns| ns.name.clone())
}

fn owners(census: &Census, pids: &[Pid]) -> Vec<Owner> {
    let rows = pids.iter().filter_map(|pid| census.processes.rows.iter().find(|row| row.pid == *pid));
    rows.map(owner).collect()
}

fn owner(row: &ProcessRow) -> Owner {
    let cgroup = row.cgroup.value().cloned();
    let unit = cgroup.as_deref().and_then(unit_of);
    Owner { pid: row.pid, comm: row.comm.clone(), cgroup, unit }
}

#[cfg(test)]
mod tests;

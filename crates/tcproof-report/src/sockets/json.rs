//! `tcproof/sockets/1`, for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use tcproof_core::census::{Census, Counts, Difference, End, Method, NetnsCensus, PortRange, Sockstat, Truncated};
use tcproof_core::snapshot::{Endpoint, Protocol};
use tcproof_core::states::State;
use tcproof_core::{Absent, Owner, Reading};

use super::{lost, name, owners};
use crate::json::Host;
use crate::record::{Place, PlaceView};

/// The census as JSON text.
pub fn json(census: &Census) -> String {
    json_of(census, None)
}

/// The same, with where it was read from if nobody counted for it.
pub fn json_of(census: &Census, recording: Option<&Place>) -> String {
    crate::json::to_text(&View { recording: recording.map(PlaceView::new), ..View::new(census) })
}

#[derive(Serialize)]
struct View<'a> {
    schema: &'static str,
    host: Host<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<PlaceView<'a>>,
    backend: Method,
    backend_because: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends_refused: Vec<Refused>,
    elapsed_seconds: f64,
    totals: Vec<Total<'a>>,
    listeners: Vec<ListenerView<'a>>,
    listeners_left_out: usize,
    destinations: Vec<DestinationView>,
    destinations_left_out: usize,
    processes: Vec<ProcessView<'a>>,
    processes_left_out: usize,
    /// By what all descriptors were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    processes_counted_by: Option<Method>,
    cgroups: Vec<CgroupView<'a>>,
    cgroups_left_out: usize,
    truncated: Vec<TruncatedView>,
    unknown: Vec<UnknownView>,
}

#[derive(Serialize)]
struct Refused {
    backend: Method,
    #[serde(flatten)]
    why: Why,
}

#[derive(Serialize)]
struct Why {
    because: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_need: Option<String>,
}

#[derive(Serialize)]
struct Total<'a> {
    netns: &'a str,
    inode: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<Counts>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    known: &'a BTreeMap<State, u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<u64>,
    /// Of those, no full sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    small: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockstat: Option<SockstatView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<DifferenceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mptcp: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_ports: Option<Ports>,
    #[serde(flatten)]
    why: Option<Why>,
}

#[derive(Serialize)]
struct SockstatView {
    before: Sockstat,
    after: Sockstat,
}

#[derive(Serialize)]
struct DifferenceView {
    value: String,
    counted: u64,
    before: u64,
    after: u64,
}

#[derive(Serialize)]
struct Ports {
    low: u16,
    high: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable: Option<u64>,
}

#[derive(Serialize)]
struct ListenerView<'a> {
    netns: String,
    local: Endpoint,
    protocol: Protocol,
    queue: u32,
    backlog: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    drops: Option<&'a u32>,
    uid: u32,
    inode: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<Owner>,
}

#[derive(Serialize)]
struct DestinationView {
    netns: String,
    service: End,
    /// Left out for "of any".
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<std::net::IpAddr>,
    destination: Endpoint,
    states: Counts,
    #[serde(skip_serializing_if = "is_zero")]
    others: u32,
    sockets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<PortsUsed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<Owner>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[derive(Serialize)]
struct PortsUsed {
    used: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u64>,
}

#[derive(Serialize)]
struct ProcessView<'a> {
    pid: u32,
    comm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<Counts>,
}

#[derive(Serialize)]
struct CgroupView<'a> {
    /// Left out where only the path is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a String>,
    states: Counts,
}

#[derive(Serialize)]
struct TruncatedView {
    netns: String,
    sockets: u64,
    why: tcproof_core::census::Lost,
    because: &'static str,
}

#[derive(Serialize)]
struct UnknownView {
    reading: String,
    #[serde(flatten)]
    why: Why,
}

impl From<&Absent> for Why {
    fn from(why: &Absent) -> Self {
        Self { because: why.to_string(), would_need: why.would_need().map(Into::into) }
    }
}

impl<'a> View<'a> {
    fn new(census: &'a Census) -> Self {
        let left = |shown: usize, of: usize| of.saturating_sub(shown);
        let usable: BTreeMap<_, _> = census.namespaces.iter().map(|(id, ns)| (*id, ns.usable_ports)).collect();
        let listeners = census.listeners.rows.iter().map(|row| ListenerView {
            netns: name(census, row.netns),
            local: row.listener.local,
            protocol: row.listener.protocol,
            queue: row.listener.queue,
            backlog: row.listener.backlog,
            drops: row.listener.drops.value(),
            uid: row.listener.uid,
            inode: row.listener.inode,
            owners: owners(census, &row.owners),
        });
        let destinations = census.destinations.rows.iter().map(|row| DestinationView {
            netns: name(census, row.netns),
            service: row.service,
            source: Some(row.tuple.source).filter(|source| !source.is_unspecified()),
            destination: row.tuple.destination,
            states: row.states,
            others: row.others,
            sockets: row.sockets(),
            ports: row.ports.map(|used| PortsUsed { used, capacity: usable.get(&row.netns).copied().flatten() }),
            owners: owners(census, &row.owners),
        });
        let processes = census.processes.rows.iter().map(|row| ProcessView {
            pid: row.pid,
            comm: &row.comm,
            cgroup: row.cgroup.value(),
            states: row.states,
        });
        let counted = census.processes.rows.iter().filter(|row| row.states.is_some()).count();
        let cgroups = census.cgroups.rows.iter();
        let unknown = super::text::missing(census).into_iter();
        Self {
            schema: "tcproof/sockets/1",
            host: Host::new(&census.host),
            recording: None,
            backend: census.method,
            backend_because: &census.because,
            backends_refused: census
                .refused
                .iter()
                .map(|(backend, why)| Refused { backend: *backend, why: why.into() })
                .collect(),
            elapsed_seconds: census.elapsed.as_secs_f64(),
            totals: census.namespaces.iter().map(|(id, ns)| Total::new(id.0, ns)).collect(),
            listeners: listeners.collect(),
            listeners_left_out: left(census.listeners.rows.len(), census.listeners.of),
            destinations: destinations.collect(),
            destinations_left_out: left(census.destinations.rows.len(), census.destinations.of),
            processes: processes.collect(),
            processes_left_out: census.holders.map_or(0, |_| left(counted, census.processes.of)),
            processes_counted_by: census.holders,
            cgroups: cgroups
                .map(|row| CgroupView {
                    id: Some(row.id).filter(|id| *id != 0),
                    path: row.path.as_ref(),
                    states: row.states,
                })
                .collect(),
            cgroups_left_out: left(census.cgroups.rows.len(), census.cgroups.of),
            truncated: census
                .truncated
                .iter()
                .map(|Truncated { netns, sockets, why }| TruncatedView {
                    netns: name(census, *netns),
                    sockets: *sockets,
                    why: *why,
                    because: lost(*why),
                })
                .collect(),
            unknown: unknown.map(|(reading, why)| UnknownView { reading, why: why.into() }).collect(),
        }
    }
}

impl<'a> Total<'a> {
    fn new(inode: u64, ns: &'a NetnsCensus) -> Self {
        let (counted, why) = match &ns.counted {
            Reading::Present(counted) => (Some(counted), None),
            Reading::Absent(why) => (None, Some(why.into())),
        };
        let local_ports = ns.ephemeral.value();
        Self {
            netns: &ns.name,
            inode,
            states: counted.map(|counted| counted.states),
            known: &ns.known,
            open: ns.open,
            small: counted.map(|counted| counted.small),
            sockstat: ns.sockstat.value().map(|(before, after)| SockstatView { before: *before, after: *after }),
            differences: ns
                .differences()
                .into_iter()
                .map(|Difference { value, counted, sockstat: (before, after) }| DifferenceView {
                    value,
                    counted,
                    before,
                    after,
                })
                .collect(),
            mptcp: ns.mptcp.value().copied(),
            local_ports: local_ports.map(|PortRange { low, high }| Ports {
                low: *low,
                high: *high,
                usable: ns.usable_ports,
            }),
            why,
        }
    }
}

//! One finding in one window: what of it was counted, what was asked for, and which flows are its own.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use super::Observation;
use crate::diagnose::FlowNote;
use crate::finding::{Finding, Headroom, Owner, State, Subject};
use crate::flow::FlowWatch;
use crate::interval::{ListenerWatch, NetnsChange};
use crate::limits::margins::TRIES;
use crate::plan::Reason;
use crate::reading::{Absent, Reading};
use crate::snapshot::{FlowSample, Tuple};

/// Limits that are filled by connections; of all others segments are the load.
const CONNECTION_LIMITS: [&str; 9] = [
    "accept-queue",
    "close-wait-leak",
    "conntrack-table",
    "ephemeral-ports",
    "fastopen-queue",
    "file-descriptors",
    "orphans",
    "syn-queue",
    "time-wait-table",
];

/// What a flow is bound by while nothing that the host could change holds it back.
const NO_MORE_DATA: [&str; 2] = ["application", "sender"];

/// Where a limit's symptom is counted, whether or not the limit has a finding.
enum Symptom {
    /// By the listener itself; never more than this counter of its namespace.
    Listener(&'static str),
    /// By counters of its namespace.
    Counters(&'static [&'static str]),
    /// By connection tracking, under one of these names.
    Conntrack(&'static [&'static str]),
    /// By the limit's own findings.
    Hurt,
    /// By a probe alone: the kernel does not count a connect(2) that finds no port. Without it how full it is has to tell.
    Refused,
}

impl Symptom {
    fn of(reason: &Reason) -> Self {
        match (&*reason.limit, &*reason.cause) {
            ("accept-queue", _) => Self::Listener("TcpExt.ListenOverflows"),
            ("conntrack-table", "hash-small") => Self::Conntrack(&["chaintoolong", "chainlength"]),
            ("conntrack-table", _) => Self::Conntrack(&["drop"]),
            ("ephemeral-ports", _) => Self::Refused,
            ("socket-backlog", _) => Self::Counters(&["TcpExt.TCPBacklogDrop"]),
            // With cookies on, the same SYNs are answered: only the drops were the symptom.
            ("syn-queue", "cookies-off") => Self::Hurt,
            ("syn-queue", _) => Self::Counters(&["TcpExt.TCPReqQFullDrop", "TcpExt.TCPReqQFullDoCookies"]),
            ("time-wait-table", _) => Self::Counters(&["TcpExt.TCPTimeWaitOverflow"]),
            _ => Self::Hurt,
        }
    }
}

/// One finding in one of the windows.
pub(super) struct Side<'a> {
    pub(super) reason: &'a Reason,
    pub(super) seen: &'a Observation,
    pub(super) listening: &'a BTreeSet<u16>,
    /// Whether a probe saw all connects, in both windows.
    pub(super) is_probed: bool,
}

impl<'a> Side<'a> {
    pub(super) fn seconds(&self) -> f64 {
        self.seen.interval.seconds()
    }

    /// Whether there is anything to judge by.
    pub(super) fn is_readable(&self) -> Result<(), String> {
        if self.seconds() <= 0.0 {
            return Err(Absent::OneReading.to_string());
        }
        if let Some(name) = self.reason.subject.netns().filter(|name| self.seen.interval.namespace(name).is_none()) {
            return Err(format!("namespace {name} was not there in both windows"));
        }
        match &self.reason.subject {
            Subject::Listener { local, .. } if self.listeners().next().is_none() => {
                Err(format!("nothing was seen to listen on {local} in both windows"))
            }
            _ => Ok(()),
        }
    }

    /// The subject's namespace; of what is once per kernel, all of them.
    fn namespaces(&self) -> impl Iterator<Item = NetnsChange<'a>> {
        let name = self.reason.subject.netns();
        self.seen.interval.namespaces().filter(move |ns| name.is_none_or(|name| ns.name() == name))
    }

    fn counter(&self, name: &str) -> Result<f64, String> {
        self.namespaces().map(|ns| number(ns.counter(name))).sum()
    }

    /// The listeners at the subject's address, whoever holds them now.
    fn listeners(&self) -> impl Iterator<Item = &'a ListenerWatch> {
        let local = match &self.reason.subject {
            Subject::Listener { local, .. } => Some(local),
            _ => None,
        };
        let watches = self.namespaces().flat_map(|ns| ns.listeners());
        watches.filter(move |watch| local.is_some_and(|local| watch.last.local.to_string() == *local))
    }

    /// Whether that listener is the only one of its namespace: all connections are its own then.
    fn is_alone(&self) -> bool {
        let Some(first) = self.listeners().next() else { return false };
        self.namespaces().flat_map(|ns| ns.listeners()).all(|watch| watch.last.local == first.last.local)
    }

    fn finding(&self) -> Option<&'a Finding> {
        let mut findings = self.seen.diagnosis.findings.iter();
        findings.find(|finding| finding.limit == self.reason.limit && self.is_same(&finding.subject))
    }

    pub(super) fn state(&self) -> Option<State> {
        self.finding().map(|finding| finding.state)
    }

    /// Why the limit could not be judged; not where that was another namespace's.
    pub(super) fn unjudged(&self) -> Option<String> {
        let others = || self.seen.interval.namespaces().map(|ns| ns.name());
        let own = self.reason.subject.netns();
        let elsewhere = |reading: &str| {
            own.is_some_and(|own| others().any(|other| other != own && reading.ends_with(&format!(" of {other}"))))
        };
        let mut unknown = self.seen.diagnosis.unknown.iter();
        let found = unknown.find(|unknown| unknown.limit == self.reason.limit && !elsewhere(&unknown.reading))?;
        Some(format!("{}: {}", found.reading, found.because))
    }

    pub(super) fn headroom(&self) -> Option<Headroom> {
        let rows = self.seen.diagnosis.headroom.iter();
        let rows = rows.filter(|row| row.limit == self.reason.limit && self.is_same(&row.subject));
        rows.max_by(|a, b| a.share().total_cmp(&b.share())).cloned()
    }

    pub(super) fn symptom_name(&self) -> Option<&'static str> {
        match Symptom::of(self.reason) {
            Symptom::Listener(_) => Some("handshakes dropped (SK_MEMINFO_DROPS)"),
            Symptom::Counters(names) => names.first().copied(),
            Symptom::Conntrack(["drop"]) => Some("nf_conntrack drop"),
            Symptom::Conntrack(_) => Some("nf_conntrack chaintoolong"),
            Symptom::Hurt => Some("traffic hurt"),
            Symptom::Refused => self.is_probed.then_some("connect(2) without a free port (inet_sock_set_state)"),
        }
    }

    /// Events of the symptom in the window.
    pub(super) fn events(&self) -> Result<f64, String> {
        match Symptom::of(self.reason) {
            Symptom::Listener(counter) => {
                let own: Result<f64, _> = self.listeners().map(|watch| number(watch.drops().map(u64::from))).sum();
                match (own, self.counter(counter)) {
                    // A listener counts what else it turns away, too.
                    (Ok(own), Ok(all)) => Ok(own.min(all)),
                    (Err(_), Ok(all)) if self.is_alone() => Ok(all),
                    (_, Err(why)) | (Err(why), _) => Err(why),
                }
            }
            Symptom::Counters(names) => names.iter().map(|name| self.counter(name)).sum(),
            Symptom::Conntrack(names) => {
                let of = |ns: NetnsChange<'_>| {
                    let known = names.iter().filter_map(|name| ns.conntrack(name).value().copied()).max();
                    known.map_or_else(
                        || number(ns.conntrack(names.first().copied().unwrap_or("drop"))),
                        |n| Ok(n as f64),
                    )
                };
                self.namespaces().map(of).sum()
            }
            Symptom::Hurt if self.finding().is_some() => Ok(self.finding().map_or(0.0, |finding| finding.hurt as f64)),
            Symptom::Refused if self.is_probed => {
                let rows = self.namespaces().flat_map(|ns| ns.connects());
                let own = rows.filter(|row| self.is_tuple(&Tuple { source: row.source, destination: row.destination }));
                Ok(own.map(|row| row.refused as f64).sum())
            }
            Symptom::Hurt | Symptom::Refused => self.unjudged().map_or(Ok(0.0), Err),
        }
    }

    pub(super) fn load_name(&self) -> &'static str {
        match &*self.reason.limit {
            "ephemeral-ports" => "connections tried or open",
            limit if CONNECTION_LIMITS.contains(&limit) => "connections tried",
            _ => "segments in and out",
        }
    }

    /// What was asked for in the window: attempts, so that a listener that drops most of them is not taken for an idle one.
    pub(super) fn load(&self) -> Result<f64, String> {
        if !CONNECTION_LIMITS.contains(&&*self.reason.limit) {
            return Ok(self.counter("Tcp.InSegs")? + self.counter("Tcp.OutSegs")?);
        }
        let inwards =
            || Ok::<_, String>(self.counter("Tcp.PassiveOpens")? + self.counter("TcpExt.ListenDrops")? / TRIES);
        let tried = match &self.reason.subject {
            Subject::Listener { .. } => inwards()?,
            Subject::Destination { .. } => self.counter("Tcp.ActiveOpens")?,
            _ => inwards()? + self.counter("Tcp.ActiveOpens")?,
        };
        let unseen = match &*self.reason.limit {
            // Those that are open ask for their ports as much as new ones do; what is in TIME_WAIT asks for nothing. A
            // connect(2) that finds no port is counted nowhere: where there is none left, at least one tried.
            "ephemeral-ports" => self.held() + f64::from(u8::from(self.state() == Some(State::Limiting))),

            // What connection tracking drops never reached the counters of TCP.
            "conntrack-table" => self.events()? / TRIES,
            // SYNs that were answered with a cookie and never came back: a flood that ends is no cure.
            "syn-queue" => (self.counter("TcpExt.SyncookiesSent")? - self.counter("TcpExt.SyncookiesRecv")?).max(0.0),
            _ => 0.0,
        };
        Ok(tried + unseen)
    }

    /// Ports of the subject's open connections at the end of the window.
    fn held(&self) -> f64 {
        let in_use = self.namespaces().filter_map(|ns| ns.after.sockets.ports.value());
        let tuples = in_use.flat_map(|ports| &ports.tuples).filter(|(tuple, _)| self.is_tuple(tuple));
        tuples.map(|(_, used)| f64::from(used.ports.saturating_sub(used.time_wait))).sum()
    }

    /// Whether connections of that tuple are the subject's own.
    fn is_tuple(&self, tuple: &Tuple) -> bool {
        match &self.reason.subject {
            Subject::Destination { source, destination, .. } => {
                tuple.source.to_string() == *source && tuple.destination.to_string() == *destination
            }
            _ => true,
        }
    }

    /// Whether a namespace's traffic may all have been others': no sign of the subject's own.
    pub(super) fn is_silent(&self) -> Option<String> {
        let has_flows = || self.flows().any(|flow| flow.bits_per_second > 0);
        let silent = match &self.reason.subject {
            Subject::Listener { .. } => {
                let came = |watch: &ListenerWatch| watch.longest > 0 || watch.drops().value().is_some_and(|n| *n > 0);
                !self.is_alone() && !self.listeners().any(came) && !has_flows()
            }
            Subject::Destination { .. } => {
                let uses = |ns: NetnsChange<'_>| {
                    let ports = ns.after.sockets.ports.value();
                    let mut tuples = ports.into_iter().flat_map(|ports| &ports.tuples);
                    tuples.any(|(tuple, used)| used.ports > 0 && self.is_tuple(tuple))
                };
                self.finding().is_none() && !self.namespaces().any(uses) && !has_flows()
            }
            _ => false,
        };
        silent.then(|| format!("no sign of a connection of {} in one of the windows", self.reason.subject))
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = &'a FlowNote> {
        self.seen.diagnosis.flows.iter().filter(|flow| self.is_of(&flow.netns, &flow.local, &flow.remote))
    }

    pub(super) fn bits(&self) -> f64 {
        self.flows().map(|flow| flow.bits_per_second as f64).sum()
    }

    pub(super) fn has_data(&self) -> bool {
        self.state().is_some() || self.flows().any(|flow| !NO_MORE_DATA.contains(&&*flow.bound_by))
    }

    pub(super) fn flows_unread(&self) -> Option<String> {
        self.namespaces().find_map(|ns| match ns.flows() {
            Reading::Absent(why) if !why.is_not_needed() => Some(format!("flows of {}: {why}", ns.name())),
            _ => None,
        })
    }

    /// Segments that its flows sent again, and all they sent.
    pub(super) fn sent_again(&self) -> (f64, f64) {
        let watches = self.namespaces().flat_map(|ns| ns.watched_flows().map(move |watch| (ns.name(), watch)));
        let own = watches.filter(|(netns, FlowWatch { flow, .. })| {
            self.is_of(netns, &flow.local.to_string(), &flow.remote.to_string())
        });
        own.fold((0.0, 0.0), |(again, sent), (_, watch)| {
            let grew = |field: fn(&FlowSample) -> u32| watch.grew32(field) as f64;
            (again + grew(|sample| sample.total_retrans), sent + grew(|sample| sample.data_segs_out))
        })
    }

    /// Whether a subject is the finding's, perhaps after a restart: other processes, other clients' ports.
    fn is_same(&self, other: &Subject) -> bool {
        let subject = &self.reason.subject;
        match (subject, other) {
            (Subject::Listener { netns, local, .. }, Subject::Listener { netns: there, local: at, .. }) => {
                netns == there && local == at
            }
            (
                Subject::Destination { netns, source, destination, .. },
                Subject::Destination { netns: there, source: from, destination: to, .. },
            ) => netns == there && source == from && destination == to,
            (Subject::Flow { .. }, Subject::Flow { netns, local, remote, .. }) => self.is_of(netns, local, remote),
            (Subject::Process { netns, owners, local }, Subject::Process { netns: there, owners: by, local: at }) => {
                let comm = |owners: &[Owner]| owners.first().map(|owner| owner.comm.clone());
                netns == there && local == at && (local.is_some() || comm(owners) == comm(by))
            }
            (Subject::Cgroup { path, unit }, Subject::Cgroup { path: other, unit: named }) => {
                path == other || (unit.is_some() && unit == named)
            }
            _ => subject == other,
        }
    }

    /// Whether a flow belongs to the subject. Clients' ports change; the service's side stays.
    fn is_of(&self, netns: &str, local: &str, remote: &str) -> bool {
        let subject = &self.reason.subject;
        if subject.netns().is_some_and(|own| own != netns) {
            return false;
        }
        match subject {
            Subject::Flow { local: here, remote: there, .. } => {
                if port(here).is_some_and(|port| self.listening.contains(&port)) {
                    here == local
                } else {
                    there == remote
                }
            }
            Subject::Listener { local: here, .. } | Subject::Process { local: Some(here), .. } => {
                port(here) == port(local)
            }
            Subject::Destination { source, destination, .. } => {
                destination == remote && address(local).is_some_and(|address| address == source)
            }
            Subject::Netns { .. } | Subject::Host => true,
            _ => false,
        }
    }
}

fn number(reading: Reading<u64>) -> Result<f64, String> {
    reading.ok().map(|n| n as f64).map_err(|why| why.to_string())
}

fn port(endpoint: &str) -> Option<u16> {
    endpoint.rsplit_once(':')?.1.parse().ok()
}

fn address(endpoint: &str) -> Option<&str> {
    let address = endpoint.rsplit_once(':')?.0;
    Some(address.trim_start_matches('[').trim_end_matches(']'))
}

//! From an interval to a diagnosis: asks every limit, ranks what they found, rules out their look-alikes.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Headroom, RuledOut, State, Unknown};
use crate::interval::Interval;
use crate::limits::{LIMITS, Limit, SocketSet};
use crate::snapshot::{Host, Snapshot};

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The machine.
    pub host: Host,
    /// How long it was watched.
    pub window: Duration,
    /// Worst first; the first one is the answer to "what is the limit".
    pub findings: Vec<Finding>,
    /// Fullest first.
    pub headroom: Vec<Headroom>,
    /// What could not be observed.
    pub unknown: Vec<Unknown>,
    /// Namespaces that were watched.
    pub namespaces: usize,
    /// Limits with something to judge: the subjects that headroom was read for.
    pub checked: usize,
    /// TCP sockets of the host, where the kernel says.
    pub sockets: Option<u64>,
}

/// One word for the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something limits now.
    Limiting,
    /// Something is near its limit.
    Near,
    /// Nothing found, and nothing could be judged.
    Unknown,
    /// Nothing found.
    Clear,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limiting => "limiting",
            Self::Near => "near",
            Self::Unknown => "unknown",
            Self::Clear => "clear",
        }
    }
}

impl Diagnosis {
    /// One word for the whole host: the worst finding, else `clear`, else `unknown` where nothing could be read.
    pub fn verdict(&self) -> Verdict {
        match self.findings.first().map(|finding| finding.state) {
            Some(State::Limiting) => Verdict::Limiting,
            Some(State::Near) => Verdict::Near,
            None if self.checked == 0 => Verdict::Unknown,
            None => Verdict::Clear,
        }
    }
}

/// Judges an interval. Never fails: what could not be read is in `unknown`.
pub fn diagnose(interval: &Interval) -> Diagnosis {
    let mut findings = Vec::new();
    let mut headroom = Vec::new();
    let mut unknown = BTreeSet::new();
    for limit in LIMITS {
        let detected = (limit.detect)(interval);
        unknown.extend(detected.unknown);
        headroom.extend((limit.headroom)(interval));
        findings.extend(detected.findings.into_iter().map(|finding| complete(limit, finding, interval)));
    }
    unknown.extend(interval.after.unseen.iter().map(|unseen| Unknown {
        limit: "all".to_string(),
        reading: unseen.what.clone(),
        because: unseen.why.to_string(),
        would_need: unseen.why.would_need().map(ToString::to_string),
    }));
    findings.sort_by(|a, b| {
        let rank = |f: &Finding| (f.state, f.confidence);
        rank(a)
            .cmp(&rank(b))
            .then(b.hurt.cmp(&a.hurt))
            .then_with(|| (&a.limit, &a.subject).cmp(&(&b.limit, &b.subject)))
    });
    headroom.sort_by(|a, b| {
        b.share().total_cmp(&a.share()).then_with(|| (&a.limit, &a.subject).cmp(&(&b.limit, &b.subject)))
    });
    Diagnosis {
        host: interval.after.host.clone(),
        window: interval.window(),
        findings,
        checked: headroom.len(),
        headroom,
        unknown: unknown.into_iter().collect(),
        namespaces: interval.after.namespaces.len(),
        sockets: sockets(&interval.after),
    }
}

fn complete(limit: &Limit, mut finding: Finding, interval: &Interval) -> Finding {
    // What is once per kernel is ruled out where tcproof itself stands.
    let ns = match finding.subject.netns() {
        Some(name) => interval.namespace(name),
        None => interval.namespaces().find(|ns| ns.after.own),
    };
    if let Some(ns) = ns {
        let known: BTreeSet<_> = finding.ruled_out.iter().map(|r| r.limit.clone()).collect();
        for slug in limit.look_alikes.iter().filter(|slug| !known.contains(**slug)) {
            if let Some(because) = Limit::by_slug(slug).and_then(|other| (other.ruled_out)(&ns)) {
                finding.ruled_out.push(RuledOut { limit: (*slug).to_string(), because });
            }
        }
    }
    finding.remedies = (limit.remedy)(&finding, interval);
    finding
}

/// TCP sockets of the namespaces seen: full ones, and the small ones of TIME_WAIT.
fn sockets(snapshot: &Snapshot) -> Option<u64> {
    let of =
        |name| snapshot.namespaces.values().filter_map(|ns| ns.sockstat(name).value().copied()).reduce(|a, b| a + b);
    let known = [of("TCP.inuse"), of("TCP6.inuse"), of("TCP.tw")];
    known.iter().flatten().copied().reduce(|a, b| a + b)
}

/// The sockets whose owners the verdicts will need: of the first snapshot alone, or of the whole interval.
pub fn sockets_of_interest(snapshot: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let wanted = LIMITS.iter().flat_map(|limit| (limit.owners_wanted)(snapshot, interval));
    wanted.filter(|(_, inode)| *inode != 0).collect()
}

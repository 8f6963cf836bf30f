//! Every namespace under watch: which there are, and reading all of them at once.

mod looks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use tcproof_core::limits::SocketSet;
use tcproof_core::snapshot::{Inode, NetnsId, Pid, Snapshot, Unseen};
use tcproof_core::{Absent, Interval, Looks, NetnsChange};

use crate::close_wait::Walks;
use crate::path::{self, Threads};
use crate::place::Place;
use crate::{Error, Options, Root, Scope, cgroup_memory, flows, netns, patience, process, system};

pub(crate) use looks::cpu_time;

/// Shortest time between two looks at the flows.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// The clock of the snapshots.
#[derive(Clone, Copy)]
struct Start {
    at: Duration,
    since: Instant,
}

impl Start {
    fn now(self) -> Duration {
        self.at + self.since.elapsed()
    }
}

/// What a patient watch need not read each time.
#[derive(Default)]
struct Known {
    namespaces: netns::Known,
    /// What finding them left out.
    unseen: Vec<Unseen>,
    groups: cgroup_memory::Known,
    threads: Threads,
    /// When processes are asked for their namespaces and groups again, …
    ask_at: Duration,
    /// … and new ones are looked for.
    find_at: Duration,
}

/// What is watched, and how.
pub(crate) struct Watch {
    root: Root,
    start: Start,
    places: Vec<Place>,
    pub(crate) unseen: Vec<Unseen>,
    /// [`Options::ports`].
    pub(crate) ports: bool,
    pub(crate) sample_every: Duration,
    /// Flows chosen by each measure.
    pub(crate) flows_each: usize,
    /// [`crate::Watcher::be_patient`].
    pub(crate) is_patient: bool,
    /// Nothing moved in the last window.
    is_at_rest: bool,
    /// Set when the window is to end at once.
    pub(crate) stop: Option<Arc<AtomicBool>>,
    /// When flows may be chosen again: what that costs is spread over windows, however short they are.
    next_choice: Duration,
    /// … and when while nothing moves.
    next_choice_at_rest: Duration,
    /// As long as the last one that began.
    pub(crate) window: Duration,
    walks: Walks,
    known: Known,
}

impl Watch {
    pub(crate) fn begin(root: Root, options: &Options, at: Duration) -> Result<Self, Error> {
        let found = netns::find(&root, &options.scope)?;
        let start = Start { at, since: Instant::now() };
        Ok(Self {
            root,
            start,
            places: found.targets.into_iter().map(Place::new).collect(),
            unseen: found.unseen,
            ports: options.ports,
            sample_every: SAMPLE_EVERY,
            flows_each: flows::EACH,
            is_patient: false,
            is_at_rest: false,
            stop: None,
            next_choice: start.now(),
            next_choice_at_rest: start.now(),
            window: options.window,
            walks: Walks::default(),
            known: Known::default(),
        })
    }

    /// Takes up namespaces that are new, and leaves those that are gone.
    pub(crate) fn find_places(&mut self, scope: &Scope) {
        let (now, known) = (self.start.now(), &mut self.known);
        if self.is_patient && now < known.find_at {
            self.unseen.extend(known.unseen.iter().cloned());
            return;
        }
        known.find_at = now + patience::between_finds(self.window);
        if !self.is_patient || now >= known.ask_at {
            known.ask_at = now + patience::ASK_AGAIN;
            known.namespaces.clear();
            known.groups.clear();
        }
        let found = netns::find_again(&self.root, scope, &mut known.namespaces).unwrap_or_else(|_| {
            // Only of what was named: it is gone.
            let what = format!("network namespace {scope}");
            let unseen = vec![Unseen { what: what.clone(), why: Absent::Gone { what } }];
            netns::Found { unseen, ..netns::Found::default() }
        });
        known.unseen.clone_from(&found.unseen);
        self.unseen.extend(found.unseen);
        let mut places: BTreeMap<NetnsId, Place> =
            std::mem::take(&mut self.places).into_iter().map(|place| (place.target.id, place)).collect();
        let found = found.targets.into_iter().map(|target| match places.remove(&target.id) {
            // The way in stays open, so the number can't have gone to another namespace.
            Some(mut place) => {
                place.target.pids = target.pids;
                place
            }
            None => Place::new(target),
        });
        self.places = found.collect();
    }

    /// Chooses anew, where that may be done yet.
    pub(crate) fn start_flows(&mut self) {
        let now = self.start.now();
        if now + SAMPLE_EVERY < self.next_choice {
            return;
        }
        if self.is_at_rest && now + SAMPLE_EVERY < self.next_choice_at_rest {
            // Not in this window.
            self.next_choice = now + self.window + SAMPLE_EVERY / 2;
        } else {
            self.next_choice = now;
            self.places.iter_mut().for_each(|place| place.flows = flows::Watch::default());
        }
    }

    /// Visits every place and reads everything.
    pub(crate) fn snapshot(&mut self, looks: &mut Looks, before: Option<&Snapshot>) -> Snapshot {
        let mut snapshot = Snapshot { at: self.start.now(), host: system::host(&self.root), ..Snapshot::default() };
        let refused = match self.places.iter().all(|place| place.target.own) {
            true => self.visit(&mut snapshot, looks, before),
            // A thread of its own: entering a namespace can't be taken back without the right to enter the old one.
            false => thread::scope(|scope| {
                let visit = scope.spawn(|| self.visit(&mut snapshot, looks, before));
                visit.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
        };
        let places = self.places.iter().map(|place| (place.target.id, &*place.target.pids));
        self.walks.pay(snapshot.at, self.window);
        snapshot.system.cgroups = cgroup_memory::read(&self.root, places, &mut self.known.groups);
        if !refused.is_empty() {
            // Each window says so, and tries again.
            self.known.find_at = Duration::ZERO;
        }
        self.unseen.extend(refused);
        // What can't be entered now won't be entered at the end.
        self.places.retain(|place| place.diag.is_some());
        snapshot
    }

    /// Enters every place and reads it. Returns those that could not be entered.
    fn visit(&mut self, snapshot: &mut Snapshot, looks: &mut Looks, before: Option<&Snapshot>) -> Vec<Unseen> {
        let (root, threads) = (&self.root, &mut self.known.threads);
        self.walks.is_patient = self.is_patient;
        let mut refused = Vec::new();
        snapshot.system = system::read(root, netns::is_initial(root), threads);
        let mut to_ask = path::ASKED;
        for place in &mut self.places {
            if let Err(why) = place.target.enter() {
                refused.push(Unseen { what: format!("network namespace {}", place.target.name), why });
                continue;
            }
            let id = place.target.id;
            let looks = looks.listeners.entry(id).or_default();
            let ns_before = before.and_then(|before| before.namespaces.get(&id));
            let mut ns =
                place.visit(root, self.start.now(), looks, (&snapshot.system, self.ports), &mut self.walks, ns_before);
            ns.links = path::links(root, place.target.own, ns_before, &mut to_ask).into();
            if !place.target.own && netns::is_initial(root) {
                snapshot.system = system::read(root, true, threads);
            }
            if ns.sockets.ports.value().is_some() {
                snapshot.processes.extend(processes(root, &ns.pids));
            }
            snapshot.namespaces.insert(id, ns);
        }
        refused
    }

    /// Learns from a window how closely to look at the next ones.
    pub(crate) fn learn(&mut self, interval: &Interval) {
        // Where the counters tell of what no look saw: a listener that has closed since, or dropped at the very end.
        let grew = |ns: NetnsChange<'_>| {
            let grew = |name: &&str| ns.counter(name).value().is_some_and(|growth| *growth > 0);
            ["TcpExt.ListenOverflows", "TcpExt.ListenDrops"].iter().any(grew).then_some(ns.id)
        };
        let troubled: Vec<_> = interval.namespaces().filter_map(grew).collect();
        for place in self.places.iter_mut().filter(|place| troubled.contains(&place.target.id)) {
            place.patience.lose(interval.after.at, self.window);
        }
        self.is_at_rest = self.is_patient && !self.has_lost_patience() && patience::is_at_rest(interval);
    }

    pub(crate) fn find_owners(
        &self,
        snapshot: &mut Snapshot,
        wanted: &SocketSet,
        made_in: &BTreeMap<Inode, Option<u64>>,
        first: &[Pid],
    ) {
        if !wanted.is_empty() {
            // Read anew: workers may have been forked since the start.
            let pids = netns::pids(&self.root);
            process::find_owners(&self.root, snapshot, wanted, &pids, made_in, first);
        }
    }
}

fn processes(root: &Root, pids: &[Pid]) -> Vec<(Pid, tcproof_core::snapshot::Process)> {
    pids.iter().filter_map(|pid| Some((*pid, process::read(root, *pid).ok()?))).collect()
}

//! Watches: everything at both ends of the window, the listeners many times in between, details where a cheap counter
//! called for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::nanosleep;
use rustix::time::{ClockId, Timespec, clock_gettime};
use tcproof_core::limits::SocketSet;
use tcproof_core::snapshot::{Inode, Listener, NetnsId, Pid, Snapshot, Sockets, Unseen};
use tcproof_core::trace::Trace;
use tcproof_core::{Absent, Interval, ListenerWatch, Looks, NetnsChange, Reading, sockets_of_interest};

use crate::place::{Place, look, seeing};
use crate::{
    Error, Options, Progress, Root, Scope, cgroup_memory, flows, namespace, netns, path, patience, process, system,
};

/// Shortest time between two looks at the listeners.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After a look that took long, rest this many times as long: looking costs at most 2 % of a CPU …
const REST: u32 = 50;
/// … but a window has at least this many looks.
const LOOKS_AT_LEAST: u32 = 10;
/// Shortest time between two looks at the flows …
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// … of which a window has at most this many.
const SAMPLES_AT_MOST: u32 = 100;
/// Shortest time between two choices of the flows to look at.
const CHOOSE_EVERY: Duration = Duration::from_secs(1);
/// Progress is reported this often.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Probes in the kernel, of which this crate knows no more than what they count.
pub trait Probes {
    /// Gets ready: what takes long, before anything is read.
    fn load(&mut self);
    /// Begins to count.
    fn attach(&mut self);
    /// Ends it, and says what was counted since.
    fn detach(&mut self) -> Trace;
}

/// None.
#[derive(Clone, Copy, Debug)]
pub struct NoProbes;

impl Probes for NoProbes {
    fn load(&mut self) {}

    fn attach(&mut self) {}

    fn detach(&mut self) -> Trace {
        Trace::default()
    }
}

/// Watches the host for the window.
///
/// # Errors
/// Only when what was asked for does not exist. What exists and can't be read is `Absent` in the interval.
pub fn observe(
    options: &Options,
    probes: &mut dyn Probes,
    progress: &mut dyn FnMut(Progress),
) -> Result<Interval, Error> {
    let root = Root::with_proc(&options.root)?;
    if !root.is_live() {
        return match &options.scope {
            Scope::All => Ok(still(&root)),
            scope => Err(Error::NoSuchNamespace {
                name: scope.to_string(),
                hint: "a directory holds one namespace, which has no name: leave --netns out".into(),
            }),
        };
    }
    Ok(Watcher::begin(root, options, Duration::ZERO)?.step(options.window, probes, progress))
}

/// Watches one window after the other, without a gap: what one ends with is what the next begins with.
pub struct Watcher {
    watch: Watch,
    scope: Scope,
    ports: bool,
    /// The last window's end, and its listeners.
    last: Option<(Snapshot, Looks)>,
}

impl Watcher {
    /// Gets ready to watch the live host. Its snapshots' times begin with `at`.
    ///
    /// # Errors
    /// Only when what is asked for does not exist.
    pub fn open(options: &Options, at: Duration) -> Result<Self, Error> {
        Self::begin(Root::with_proc(&options.root)?, options, at)
    }

    fn begin(root: Root, options: &Options, at: Duration) -> Result<Self, Error> {
        let found = netns::find(&root, &options.scope)?;
        let start = Start { at, since: Instant::now() };
        let places = found.targets.into_iter().map(Place::new).collect();
        let watch = Watch {
            root,
            start,
            places,
            unseen: found.unseen,
            ports: options.ports,
            sample_every: SAMPLE_EVERY,
            flows_each: flows::EACH,
            is_patient: false,
            stop: None,
            next_choice: start.now(),
        };
        Ok(Self { watch, scope: options.scope.clone(), ports: options.ports, last: None })
    }

    /// Looks at fewer flows, so many by each of the six measures, and less often than ten times a second: for whoever keeps
    /// what was seen.
    pub fn few_flows(&mut self, each: usize, every: Duration) {
        self.watch.flows_each = each;
        self.watch.sample_every = every.max(SAMPLE_EVERY);
    }

    /// Looks seldom while nothing moves, and closely in a namespace where a listener drops handshakes or its queue fills, from
    /// that moment on until two windows after. For whoever watches for days: a window in which something begins shows what was
    /// dropped, as ever, and the cause from few looks; the next one shows it from as many as an impatient one. Flows are chosen
    /// once a window, and more seldom where there are very many.
    pub fn be_patient(&mut self) {
        self.watch.is_patient = true;
    }

    /// Ends a window early once this is set.
    pub fn stop_on(&mut self, stop: Arc<AtomicBool>) {
        self.watch.stop = Some(stop);
    }

    /// Whether the use of ephemeral ports is read from the next window on: see [`Options::ports`].
    pub fn read_ports(&mut self, wanted: bool) {
        self.ports = wanted;
    }

    /// Watches for the window.
    fn step(&mut self, window: Duration, probes: &mut dyn Probes, progress: &mut dyn FnMut(Progress)) -> Interval {
        let watch = &mut self.watch;
        watch.ports = self.ports;
        probes.load();
        let mut interval = Interval::default();
        match self.last.take() {
            None => {
                interval.before = watch.snapshot(&mut interval.looks, None);
                let wanted = sockets_of_interest(&interval.before, None);
                watch.find_owners(&mut interval.before, &wanted, &BTreeMap::new(), &[]);
            }
            Some((before, looks)) => {
                (interval.before, interval.looks) = (before, looks);
                watch.find_places(&self.scope);
                watch.start_flows();
            }
        }
        // Within the two snapshots, so that no probe counts what the counters do not.
        probes.attach();
        watch.look_on(&mut interval.before, window, &mut interval.looks, progress);
        interval.trace = probes.detach();
        interval.trace.keep(|netns| interval.before.namespaces.contains_key(&netns));
        // Who was refused a port is told with what the ports are in use for, whatever the cheap counters say.
        watch.ports |=
            interval.trace.connects.value().is_some_and(|table| table.rows.iter().any(|row| row.refused > 0));
        interval.after = watch.snapshot(&mut interval.looks, Some(&interval.before));
        interval.after.unseen = std::mem::take(&mut watch.unseen);
        watch.lose_patience(&interval, window);
        interval.give_up_blind_probes();
        let wanted = sockets_of_interest(&interval.after, Some(&interval));
        let seen = interval.looks.flows.values().filter_map(Reading::value).flat_map(|flows| &flows.watched);
        let made_in = flows::made_in(seen);
        // Those that held something at the start, before all others.
        let first: Vec<Pid> = interval.before.processes.keys().copied().collect();
        watch.find_owners(&mut interval.after, &wanted, &made_in, &first);
        interval
    }

    /// Watches for the window, after which another one follows. Without probes.
    pub fn step_on(&mut self, window: Duration, progress: &mut dyn FnMut(Progress)) -> Interval {
        let interval = self.step(window, &mut NoProbes, progress);
        let mut looks = Looks::default();
        for (id, ns) in &interval.after.namespaces {
            let watches = interval.looks.listeners.get(id);
            let goes_on = |listener: &Listener| {
                let at = watches?.get(&listener.cookie)?.at;
                Some((listener.cookie, ListenerWatch::new(listener.clone(), at, false)))
            };
            let listeners = ns.listeners.value().into_iter().flatten().filter_map(goes_on).collect();
            looks.listeners.insert(*id, listeners);
        }
        self.last = Some((interval.after.clone(), looks));
        interval
    }
}

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

/// What a directory that no kernel stands behind shows: one reading, which is both ends.
fn still(root: &Root) -> Interval {
    let mut ns = namespace::read(root, "host", true);
    let why = Absent::Failed { what: "sockets".into(), error: "there is no sock_diag behind a directory".into() };
    ns.sockets = Sockets::absent(&why);
    let looks = Looks { flows: [(NetnsId::default(), Reading::Absent(why.clone()))].into(), ..Looks::default() };
    ns.listeners = Reading::Absent(why);
    let error = "there is none behind a directory".into();
    ns.links = Reading::Absent(Absent::Failed { what: "route netlink".into(), error });
    let snapshot = Snapshot {
        host: system::host(root),
        system: system::read(root, true),
        namespaces: BTreeMap::from([(NetnsId::default(), ns)]),
        unseen: netns::beside(root).into_iter().collect(),
        ..Snapshot::default()
    };
    Interval { before: snapshot.clone(), after: snapshot, looks, ..Interval::default() }
}

struct Watch {
    root: Root,
    start: Start,
    places: Vec<Place>,
    unseen: Vec<Unseen>,
    /// [`Options::ports`].
    ports: bool,
    sample_every: Duration,
    /// Flows chosen by each measure.
    flows_each: usize,
    /// [`Watcher::be_patient`].
    is_patient: bool,
    /// Set when the window is to end at once.
    stop: Option<Arc<AtomicBool>>,
    /// When flows may be chosen again: what that costs is spread over windows, however short they are.
    next_choice: Duration,
}

impl Watch {
    /// Takes up namespaces that are new, and leaves those that are gone.
    fn find_places(&mut self, scope: &Scope) {
        let found = netns::find(&self.root, scope).unwrap_or_else(|_| {
            // Only of what was named: it is gone.
            let what = format!("network namespace {scope}");
            let unseen = vec![Unseen { what: what.clone(), why: Absent::Gone { what } }];
            netns::Found { unseen, ..netns::Found::default() }
        });
        self.unseen.extend(found.unseen);
        let mut known: BTreeMap<NetnsId, Place> =
            std::mem::take(&mut self.places).into_iter().map(|place| (place.target.id, place)).collect();
        let places = found.targets.into_iter().map(|target| match known.remove(&target.id) {
            // The way in stays open, so the number can't have gone to another namespace.
            Some(mut place) => {
                place.target.pids = target.pids;
                place
            }
            None => Place::new(target),
        });
        self.places = places.collect();
    }

    /// Chooses anew, where that may be done yet.
    fn start_flows(&mut self) {
        let now = self.start.now();
        if now + SAMPLE_EVERY >= self.next_choice {
            self.next_choice = now;
            self.places.iter_mut().for_each(|place| place.flows = flows::Watch::default());
        }
    }

    /// Visits every place and reads everything.
    fn snapshot(&mut self, looks: &mut Looks, before: Option<&Snapshot>) -> Snapshot {
        let mut snapshot = Snapshot { at: self.start.now(), host: system::host(&self.root), ..Snapshot::default() };
        let mut refused = Vec::new();
        // A thread of its own: entering a namespace can't be taken back without the right to enter the old one.
        thread::scope(|scope| {
            scope.spawn(|| {
                snapshot.system = system::read(&self.root, netns::is_initial(&self.root));
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
                        place.visit(&self.root, self.start.now(), looks, (&snapshot.system, self.ports), ns_before);
                    ns.links = path::links(&self.root, place.target.own, ns_before, &mut to_ask).into();
                    if !place.target.own && netns::is_initial(&self.root) {
                        snapshot.system = system::read(&self.root, true);
                    }
                    if ns.sockets.ports.value().is_some() {
                        snapshot.processes.extend(processes(&self.root, &ns.pids));
                    }
                    snapshot.namespaces.insert(id, ns);
                }
            });
        });
        let places = self.places.iter().map(|place| (place.target.id, &*place.target.pids));
        snapshot.system.cgroups = cgroup_memory::read(&self.root, places);
        self.unseen.append(&mut refused);
        // What can't be entered now won't be entered at the end.
        self.places.retain(|place| place.diag.is_some());
        snapshot
    }

    /// Looks at the listeners and the flows until the window is over.
    fn look_on(
        &mut self,
        before: &mut Snapshot,
        window: Duration,
        looks: &mut Looks,
        progress: &mut dyn FnMut(Progress),
    ) {
        let (start, mut taken, mut reported) = (Instant::now(), 0, None);
        let sample_every = (window / SAMPLES_AT_MOST).max(self.sample_every);
        let begun = self.start.now();
        let (mut next_look, mut next_round, mut next_sample) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut next_choice = self.next_choice.saturating_sub(begun);
        let soon = if self.is_patient { patience::SOON.min(sample_every / 4) } else { Duration::ZERO };
        loop {
            let elapsed = start.elapsed();
            if reported.is_none_or(|at: Instant| at.elapsed() >= REPORT_EVERY) {
                reported = Some(Instant::now());
                let listeners = looks.listeners.values().map(BTreeMap::len).sum();
                progress(Progress {
                    elapsed: elapsed.min(window),
                    namespaces: self.places.len(),
                    listeners,
                    looks: taken,
                });
            }
            if elapsed >= window || self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                break;
            }
            if elapsed >= next_look {
                let all = !self.is_patient || elapsed >= next_round;
                let cost = self.look_at_listeners(looks, all, window);
                taken += 1;
                let rest = (cost * REST).min(window / LOOKS_AT_LEAST).max(LOOK_EVERY);
                next_look = start.elapsed() + rest;
                if all {
                    next_round = elapsed + patience::between_looks(window, cost);
                }
                if self.is_patient && !self.has_lost_patience() {
                    next_look = next_round;
                }
            }
            if elapsed >= next_choice {
                let busy = cpu_time();
                let unread = self.choose_flows(before);
                let cost = cpu_time().saturating_sub(busy);
                next_choice = match self.is_patient {
                    true => elapsed + patience::between_choices(window, cost),
                    false => start.elapsed() + (cost * flows::REST).max(CHOOSE_EVERY),
                };
                // Whether their readers are busy or asleep is told by their CPU time from here to the end.
                let made_in = flows::made_in(self.places.iter().flat_map(|place| place.flows.seen()));
                self.find_owners(before, &unread, &made_in, &[]);
            } else if elapsed + soon >= next_sample {
                self.look_at_flows();
                next_sample = elapsed + sample_every;
            }
            let next = next_look.min(next_choice).min(next_sample).min(window);
            sleep(next.saturating_sub(start.elapsed()));
        }
        self.next_choice = begun + next_choice;
        self.look_at_flows();
        for place in &mut self.places {
            let flows = match &place.diag {
                Some(Err(why)) => Some(Reading::Absent(why.clone())),
                _ => place.flows.take_looks(),
            };
            looks.flows.extend(flows.map(|flows| (place.target.id, flows)));
        }
    }

    /// At all, or at those only where something moved. Returns the CPU time it took.
    fn look_at_listeners(&mut self, looks: &mut Looks, all: bool, window: Duration) -> Duration {
        let busy = cpu_time();
        for place in &mut self.places {
            let at = self.start.now();
            let Some(Ok(diag)) = &mut place.diag else { continue };
            if !all && !place.patience.is_lost(at) {
                continue;
            }
            let known = looks.listeners.entry(place.target.id).or_default();
            let mut moved = false;
            // A look that fails is one look less; the one at the end says why.
            let _ = namespace::listeners(diag, |listener| {
                moved |= patience::moved(known.get(&listener.cookie), &listener);
                look(known, listener, at, true);
            });
            if moved {
                place.patience.lose(at, window);
            }
        }
        cpu_time().saturating_sub(busy)
    }

    fn has_lost_patience(&self) -> bool {
        let now = self.start.now();
        self.places.iter().any(|place| place.patience.is_lost(now))
    }

    /// Where the counters tell of what no look saw: a listener that has closed since, or dropped at the very end.
    fn lose_patience(&mut self, interval: &Interval, window: Duration) {
        let grew = |ns: NetnsChange<'_>| {
            let grew = |name: &&str| ns.counter(name).value().is_some_and(|growth| *growth > 0);
            ["TcpExt.ListenOverflows", "TcpExt.ListenDrops"].iter().any(grew).then_some(ns.id)
        };
        let troubled: Vec<_> = interval.namespaces().filter_map(grew).collect();
        for place in self.places.iter_mut().filter(|place| troubled.contains(&place.target.id)) {
            place.patience.lose(interval.after.at, window);
        }
    }

    /// Returns the sockets whose readers do not keep up.
    fn choose_flows(&mut self, before: &Snapshot) -> SocketSet {
        let mut choice = flows::Choice::of(self.flows_each);
        for (id, diag, flows) in seeing(&mut self.places) {
            flows.offer(diag, before.namespaces.get(&id), id, &mut choice);
        }
        let watched = self.places.iter().map(|place| place.flows.watched()).sum();
        let at = self.start.now();
        flows::choose(seeing(&mut self.places), choice, watched, at);
        // A process that was looked at before is not looked at again: its first reading is the one to compare with.
        let unread = seeing(&mut self.places).flat_map(|(id, _, flows)| flows.unread().map(move |inode| (id, inode)));
        unread.filter(|(_, inode)| !before.owners.contains_key(inode)).collect()
    }

    fn look_at_flows(&mut self) {
        let start = self.start;
        for (_, diag, flows) in seeing(&mut self.places) {
            flows.look(diag, start.now());
        }
    }

    fn find_owners(
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

/// Until then, or until a signal comes: whoever is told to end must not wait for the next look.
fn sleep(time: Duration) {
    let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    let _ = nanosleep(&time);
}

fn processes(root: &Root, pids: &[Pid]) -> Vec<(Pid, tcproof_core::snapshot::Process)> {
    pids.iter().filter_map(|pid| Some((*pid, process::read(root, *pid).ok()?))).collect()
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

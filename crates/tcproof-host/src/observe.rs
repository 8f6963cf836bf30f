//! Watches: everything at both ends of the window, the listeners many times in between, details where a cheap counter
//! called for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tcproof_core::limits::SocketSet;
use tcproof_core::snapshot::{Inode, Listener, Netns, NetnsId, Pid, Snapshot, Sockets, System, Unseen};
use tcproof_core::trace::Trace;
use tcproof_core::{Absent, Interval, ListenerWatch, Looks, Reading, sockets_of_interest};

use crate::diag::Diag;
use crate::netns::{self, Target};
use crate::{Error, Options, Progress, Root, Scope, cgroup_memory, flows, namespace, path, process, system};

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
/// Of a namespace's processes so many are remembered, and have their CPU time read where it may matter.
const PROCESSES: usize = 256;

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
        ..Snapshot::default()
    };
    Interval { before: snapshot.clone(), after: snapshot, looks, ..Interval::default() }
}

/// A namespace under watch.
struct Place {
    target: Target,
    /// Opened at the first visit; it stays in the namespace wherever the thread goes.
    diag: Option<Result<Diag, Absent>>,
    flows: flows::Watch,
}

impl Place {
    fn new(target: Target) -> Self {
        Self { target, diag: None, flows: flows::Watch::default() }
    }
}

/// The places whose sockets can be seen.
fn seeing(places: &mut [Place]) -> impl Iterator<Item = (NetnsId, &mut Diag, &mut flows::Watch)> {
    places.iter_mut().filter_map(|place| match &mut place.diag {
        Some(Ok(diag)) => Some((place.target.id, diag, &mut place.flows)),
        _ => None,
    })
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
                    let mut ns = place.visit(&self.root, self.start, looks, (&snapshot.system, self.ports), ns_before);
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
        let (mut next_look, mut next_sample) = (Duration::ZERO, Duration::ZERO);
        let mut next_choice = self.next_choice.saturating_sub(begun);
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
                let cost = self.look_at_listeners(looks);
                taken += 1;
                let rest = (cost * REST).min(window / LOOKS_AT_LEAST).max(LOOK_EVERY);
                next_look = start.elapsed() + rest;
            }
            if elapsed >= next_choice {
                let busy = cpu_time();
                let unread = self.choose_flows(before);
                let cost = cpu_time().saturating_sub(busy);
                next_choice = start.elapsed() + (cost * flows::REST).max(CHOOSE_EVERY);
                // Whether their readers are busy or asleep is told by their CPU time from here to the end.
                let made_in = flows::made_in(self.places.iter().flat_map(|place| place.flows.seen()));
                self.find_owners(before, &unread, &made_in, &[]);
            } else if elapsed >= next_sample {
                self.look_at_flows();
                next_sample = elapsed + sample_every;
            }
            let next = next_look.min(next_choice).min(next_sample).min(window);
            thread::sleep(next.saturating_sub(start.elapsed()));
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

    /// Returns the CPU time it took.
    fn look_at_listeners(&mut self, looks: &mut Looks) -> Duration {
        let busy = cpu_time();
        let start = self.start;
        for (id, diag, _) in seeing(&mut self.places) {
            let known = looks.listeners.entry(id).or_default();
            let at = start.now();
            // A look that fails is one look less; the one at the end says why.
            let _ = namespace::listeners(diag, |listener| look(known, listener, at, true));
        }
        cpu_time().saturating_sub(busy)
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

impl Place {
    /// Reads the namespace that the thread is in. The listeners directly before the counters, so that the two agree.
    fn visit(
        &mut self,
        root: &Root,
        start: Start,
        looks: &mut BTreeMap<u64, ListenerWatch>,
        (system, ports): (&System, bool),
        before: Option<&Netns>,
    ) -> Netns {
        let diag = self.diag.get_or_insert_with(Diag::open);
        let mut listeners = Vec::new();
        let at = start.now();
        let looked = match diag {
            Ok(diag) => namespace::listeners(diag, |listener| listeners.push(listener)).map(|()| diag),
            Err(why) => Err(why.clone()),
        };
        let mut ns = namespace::read(root, &self.target.name, self.target.own);
        ns.pids = self.target.pids.iter().copied().take(PROCESSES).collect();
        match looked {
            Ok(diag) => {
                if ns.knob("net.mptcp.enabled").value().is_some() || listeners.iter().any(|l| l.inode == 0) {
                    namespace::name_mptcp(diag, &mut listeners);
                }
                for listener in &listeners {
                    look(looks, listener.clone(), at, before.is_some());
                }
                ns.listeners = Reading::Present(listeners);
                ns.sockets = namespace::sockets(diag, &ns, system, before, ports);
            }
            Err(why) => {
                ns.sockets = Sockets::absent(&why);
                ns.listeners = Reading::Absent(why);
            }
        }
        ns
    }
}

/// Folds one look at one listener into what is known of it. `later` tells a look after the first one: a listener that
/// turns up then was made within the window.
fn look(known: &mut BTreeMap<u64, ListenerWatch>, listener: Listener, at: Duration, later: bool) {
    match known.get_mut(&listener.cookie) {
        Some(watch) => watch.look(listener, at),
        None => {
            known.insert(listener.cookie, ListenerWatch::new(listener, at, later));
        }
    }
}

fn processes(root: &Root, pids: &[Pid]) -> Vec<(Pid, tcproof_core::snapshot::Process)> {
    pids.iter().filter_map(|pid| Some((*pid, process::read(root, *pid).ok()?))).collect()
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

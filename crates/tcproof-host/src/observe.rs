//! Watches: everything at both ends of the window, the listeners many times in between, details where a cheap counter
//! called for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tcproof_core::snapshot::{Listener, NetnsId, Pid, Snapshot, Sockets};
use tcproof_core::trace::Trace;
use tcproof_core::{Absent, Interval, ListenerWatch, Looks, Reading, sockets_of_interest};

use crate::path::Threads;
use crate::watch::{SAMPLE_EVERY, Watch};
use crate::{Error, Options, Progress, Root, Scope, flows, namespace, netns, system};

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
        let watch = Watch::begin(root, options, at)?;
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
    /// once a window, and more seldom where there are very many; so are all connections gone through for CLOSE_WAIT. Counters
    /// and settings are read at the end of each window. What a process told of its namespace and its control group holds for a
    /// minute.
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
        watch.window = window;
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
        watch.learn(&interval);
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
        system: system::read(root, true, &mut Threads::default()),
        namespaces: BTreeMap::from([(NetnsId::default(), ns)]),
        unseen: netns::beside(root).into_iter().collect(),
        ..Snapshot::default()
    };
    Interval { before: snapshot.clone(), after: snapshot, looks, ..Interval::default() }
}

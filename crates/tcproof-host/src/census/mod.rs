//! Counts the TCP sockets of every namespace that can be entered.
//!
//! In each namespace the cheap things are read first (sockstat, the listeners, the range of ports), which is what the
//! backends need to know; then one of them walks ([`tcproof_core::census::choose`]), the next one where it can't; then
//! sockstat is read again, to cross-check. Owners are looked up last, for the rows that are shown.

mod cgroups;
mod netlink;
mod owners;
pub(crate) mod rows;
pub(crate) mod text;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Instant;

use tcproof_core::census::{
    Backend, Bounds, Census, CgroupRow, Counts, DestinationRow, End, Held, Holders, MEMBERS, Member, Method,
    NetnsCensus, Place, PortRange, ProcessRow, Sockstat, Tally, Top, choose,
};
use tcproof_core::limits::usable_ports;
use tcproof_core::snapshot::{Inode, Listener, Netns, NetnsId, Pid, Unseen};
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading};

use crate::diag::{ANY_COOKIE, Diag, Ends, Extensions, Request, States};
use crate::netns::{self, Target};
use crate::{Error, Root, Scope, namespace, system};

/// What `connect(2)` takes its ports from.
const PORTS: [&str; 2] = [PortRange::KNOB, "net.ipv4.ip_local_reserved_ports"];

/// What to count, and what to show of it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which namespaces.
    pub scope: Scope,
    /// By what; `None` for the cheapest that works.
    pub method: Option<Method>,
    /// Only listeners on this port, and destinations with it.
    pub port: Option<u16>,
    /// Rows of each table that are shown.
    pub top: usize,
    /// Destinations that are told apart.
    pub table: usize,
    /// Count what every process holds, not only who owns what is shown.
    pub processes: bool,
}

/// A way into each namespace, for a backend that has to enter them; none for the caller's own.
pub type Ways<'a> = [(NetnsId, Option<BorrowedFd<'a>>)];

/// What another crate brings: backends that load only when they are wanted, or say why they can't.
pub trait Extra {
    /// A walk that is faster for many sockets.
    ///
    /// # Errors
    /// Why it can't be loaded here.
    fn backend<'a>(&'a self, ways: &'a Ways<'a>) -> Result<Box<dyn Backend + 'a>, Absent>;

    /// A walk over descriptors that asks no process.
    ///
    /// # Errors
    /// Why it can't be loaded here.
    fn holders(&self) -> Result<Box<dyn Holders + '_>, Absent>;
}

/// Nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoExtra;

impl NoExtra {
    fn why() -> Absent {
        Absent::Failed { what: "eBPF".into(), error: "not in this build".into() }
    }
}

impl Extra for NoExtra {
    fn backend<'a>(&'a self, _: &'a Ways<'a>) -> Result<Box<dyn Backend + 'a>, Absent> {
        Err(Self::why())
    }

    fn holders(&self) -> Result<Box<dyn Holders + '_>, Absent> {
        Err(Self::why())
    }
}

pub(crate) type Members = [Option<Member>; MEMBERS];

/// A namespace that was visited.
struct Visited {
    target: Option<Target>,
    census: NetnsCensus,
    place: Place,
    /// Bound to the namespace; the walk needs not enter it again.
    diag: Result<Diag, Absent>,
    before: Reading<Sockstat>,
    listeners: Vec<Listener>,
}

impl Visited {
    fn way(&self) -> (NetnsId, Option<BorrowedFd<'_>>) {
        (self.place.netns, self.target.as_ref().and_then(Target::way))
    }
}

/// Counts.
///
/// # Errors
/// The root is none, the scope names no namespace. What can't be counted is `Absent` in the census.
pub fn census(root: &Root, ask: &Ask, extra: &dyn Extra) -> Result<Census, Error> {
    let (targets, unseen) = match root.is_live() {
        true => {
            let found = netns::find(root, &ask.scope)?;
            (found.targets.into_iter().map(Some).collect(), found.unseen)
        }
        false if ask.scope == Scope::All => (vec![None], netns::beside(root).into_iter().collect()),
        false => {
            return Err(Error::NoSuchNamespace {
                name: ask.scope.to_string(),
                hint: "a directory holds one namespace, which has no name: leave --netns out".into(),
            });
        }
    };
    let (visited, refused) = visit(root, targets);
    let wants_holders = ask.processes && root.is_live();
    let holders = wants_holders.then(|| extra.holders().ok()).flatten();
    let mut counting = Counting { root, ask, extra, holders, visited, refused: Vec::new(), unseen };
    counting.unseen.extend(refused);
    Ok(counting.run())
}

/// On a thread of its own: entering a namespace can't be taken back without the right to enter the old one.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn enter(target: Option<&Target>) -> Result<(), Absent> {
    target.map_or(Ok(()), Target::enter)
}

fn visit(root: &Root, targets: Vec<Option<Target>>) -> (Vec<Visited>, Vec<Unseen>) {
    on_a_thread(|| {
        let (mut visited, mut refused) = (Vec::new(), Vec::new());
        for target in targets {
            match enter(target.as_ref()) {
                Ok(()) => visited.push(look(root, target)),
                Err(why) => {
                    let name = target.map(|target| target.name).unwrap_or_default();
                    refused.push(Unseen { what: format!("network namespace {name}"), why });
                }
            }
        }
        (visited, refused)
    })
}

/// Reads what is cheap in the namespace that the thread is in.
fn look(root: &Root, target: Option<Target>) -> Visited {
    let mut ns = Netns::default();
    for key in PORTS {
        ns.knobs.insert(key.into(), namespace::knob(root, key));
    }
    let mut diag = match root.is_live() {
        true => Diag::open(),
        false => Err(no_kernel("sockets by sock_diag")),
    };
    let listeners = diag.as_mut().map_err(|why| why.clone()).and_then(|diag| {
        let mut listeners = Vec::new();
        namespace::listeners(diag, |listener| listeners.push(listener))?;
        namespace::name_mptcp(diag, &mut listeners);
        Ok(listeners)
    });
    let mptcp = diag.as_mut().map_err(|why| why.clone()).and_then(mptcp);
    ns.listeners = listeners.into();
    let ephemeral = PortRange::of(&ns);
    let usable = usable_ports(&ns);
    let (listeners, listeners_absent) = match ns.listeners {
        Reading::Present(listeners) => (listeners, None),
        Reading::Absent(why) => (Vec::new(), Some(why)),
    };
    let place = Place {
        netns: target.as_ref().map(|target| target.id).unwrap_or_default(),
        listening: listeners.iter().map(|listener| listener.local.port).collect(),
        ephemeral: ephemeral.value().copied().unwrap_or(PortRange::DEFAULT),
    };
    let census = NetnsCensus {
        name: target.as_ref().map_or_else(|| "host".into(), |target| target.name.clone()),
        counted: Reading::Absent(Absent::NotNeeded),
        known: BTreeMap::new(),
        open: None,
        sockstat: Reading::Absent(Absent::NotNeeded),
        mptcp: mptcp.into(),
        ephemeral,
        usable_ports: usable,
        listeners_absent,
    };
    Visited { target, census, place, diag, before: sockstat(root), listeners }
}

fn no_kernel(what: &str) -> Absent {
    Absent::Failed { what: what.into(), error: "there is no kernel behind a directory".into() }
}

fn mptcp(diag: &mut Diag) -> Result<Counts, Absent> {
    let mut counts = Counts::default();
    for family in [namespace::AF_INET, namespace::AF_INET6] {
        let request = Request::mptcp(family, States::ALL_BUT_LISTEN | States::LISTEN);
        diag.dump(&request, |socket| {
            if let Some(state) = State::of_number(socket.state()) {
                counts.add(state, 1);
            }
        })?;
    }
    Ok(counts)
}

fn sockstat(root: &Root) -> Reading<Sockstat> {
    Reading::from(namespace::sockstat(root)).and_then(|values| {
        let value = |name: &str| values.get(name).copied();
        match value("TCP.inuse").zip(value("TCP.tw")) {
            Some((four, tw)) => Reading::Present(Sockstat { inuse: four + value("TCP6.inuse").unwrap_or(0), tw }),
            None => Reading::Absent(Absent::not_in_kernel("TCP inuse and tw in sockstat")),
        }
    })
}

struct Counting<'a> {
    root: &'a Root,
    ask: &'a Ask,
    extra: &'a dyn Extra,
    /// The walk over descriptors, where it is wanted and there is one.
    holders: Option<Box<dyn Holders + 'a>>,
    visited: Vec<Visited>,
    refused: Vec<(Method, Absent)>,
    unseen: Vec<Unseen>,
}

impl Counting<'_> {
    fn run(mut self) -> Census {
        let start = Instant::now();
        let (method, because, mut tally) = self.walk();
        let elapsed = start.elapsed();
        self.cross_check(&mut tally);
        self.unseen.extend_from_slice(tally.what_is_unseen());

        let listening = self
            .visited
            .iter()
            .flat_map(|visited| visited.listeners.iter().map(|listener| (visited.place.netns, listener)));
        let listeners = rows::listeners(listening, self.ask);
        let (destinations, of) = rows::destinations(&tally, self.ask);
        let cgroups = self.cgroups(&tally);
        let mut census = Census {
            host: system::host(self.root),
            method,
            because,
            refused: std::mem::take(&mut self.refused),
            elapsed,
            namespaces: BTreeMap::new(),
            listeners,
            destinations: Top { rows: destinations.iter().map(|(row, _)| row.clone()).collect(), of },
            cgroups,
            processes: Top::default(),
            holders: None,
            truncated: rows::truncated(&tally),
            unseen: Vec::new(),
        };
        if self.root.is_live() {
            if self.ask.processes {
                let (held, by) = self.held(&mut tally);
                census.processes = self.processes(&held);
                census.holders = by;
                self.unseen.extend(held.unseen);
            }
            let ownerless = self.owners(&mut census, &destinations);
            self.unseen.extend(ownerless);
        } else if self.ask.processes {
            self.unseen.push(Unseen { what: "what processes hold".into(), why: no_kernel("descriptors") });
        }
        census.unseen = self.unseen;
        census.namespaces = self.visited.into_iter().map(|visited| (visited.place.netns, visited.census)).collect();
        census
    }

    /// The first backend that can.
    fn walk(&mut self) -> (Method, String, Tally) {
        // Without the walk over descriptors, they are searched for the sockets' inodes.
        let by_fd = self.ask.processes && self.holders.is_none();
        let bounds = Bounds { destinations: self.ask.table, inodes: by_fd, ..Bounds::default() };
        let live = self.root.is_live();
        let sockets = self.visited.iter().map(|visited| visited.before.clone()).reduce(|sum, one| {
            sum.and_then(|sum| one.map(|one| Sockstat { inuse: sum.inuse + one.inuse, tw: sum.tw + one.tw }))
        });
        let sockets = sockets.map_or(Reading::Present(0), |sum| sum.map(|sum| sum.inuse + sum.tw));
        let (methods, mut because) = match (live, self.ask.method) {
            (false, None | Some(Method::Proc)) => (vec![Method::Proc], "a directory has only text".to_string()),
            (false, Some(method)) => (vec![method], "asked for".into()),
            // Whether it is there is found out by loading it, if it is wanted.
            (true, asked) => choose(asked, &sockets, &Ok(())),
        };
        let places: Vec<Place> = self.visited.iter().map(|visited| visited.place.clone()).collect();
        let mut last = Method::Proc;
        for method in methods {
            let mut tally = Tally::new(bounds);
            match self.count(method, &places, &mut tally) {
                Ok(()) => {
                    if let Some((refused, why)) = self.refused.last() {
                        because = format!("{refused} can't be used here: {why}");
                    }
                    return (method, because, tally);
                }
                Err(why) => self.refused.push((method, why)),
            }
            last = method;
        }
        // Nothing can: every namespace says why.
        let mut tally = Tally::new(bounds);
        let why = self.refused.last().map_or(Absent::NotNeeded, |(_, why)| why.clone());
        places.iter().for_each(|place| tally.absent(place.netns, why.clone()));
        (last, because, tally)
    }

    fn count(&mut self, method: Method, places: &[Place], tally: &mut Tally) -> Result<(), Absent> {
        match method {
            Method::Netlink => {
                let diags = self.visited.iter_mut().map(|visited| (visited.place.netns, &mut visited.diag));
                netlink::Netlink::new(diags.collect()).count(places, tally)
            }
            Method::Proc => text::Text::new(self.root, self.visited.iter().map(|v| v.target.as_ref()).collect())
                .count(places, tally),
            Method::Bpf => {
                // The borrows end with the backend, before anything is looked at again.
                let ways: Vec<_> = self.visited.iter().map(Visited::way).collect();
                self.extra.backend(&ways)?.count(places, tally)
            }
            // There is nothing to walk, and nobody can ask for it.
            Method::Recording | Method::Listing => Err(Absent::NotNeeded),
        }
    }

    /// Puts the counts into the namespaces, with the listeners, and sockstat as it is now beside them.
    fn cross_check(&mut self, tally: &mut Tally) {
        let root = self.root;
        let after = on_a_thread(|| {
            let read = |visited: &Visited| match enter(visited.target.as_ref()) {
                Ok(()) => sockstat(root),
                Err(why) => Reading::Absent(why),
            };
            self.visited.iter().map(read).collect::<Vec<_>>()
        });
        for (visited, after) in self.visited.iter_mut().zip(after) {
            let census = &mut visited.census;
            if census.listeners_absent.is_none() {
                let listening = u32::try_from(visited.listeners.len()).unwrap_or(u32::MAX);
                if matches!(tally.namespaces().get(&visited.place.netns), Some(Reading::Present(_))) {
                    tally.place(&visited.place).states(State::Listen, false, listening);
                }
            }
            let counted = tally.namespaces().get(&visited.place.netns).cloned();
            census.counted = counted.unwrap_or(Reading::Absent(Absent::Gone { what: "the namespace".into() }));
            census.sockstat = visited.before.clone().and_then(|before| after.map(|after| (before, after)));
            if census.counted.value().is_some() && census.ephemeral.absent().is_some() {
                let why = census.ephemeral.absent().cloned().unwrap_or(Absent::NotNeeded);
                let what = format!("the range of local ports of {}: the default was taken", census.name);
                self.unseen.push(Unseen { what, why });
            }
        }
    }

    fn cgroups(&self, tally: &Tally) -> Top<CgroupRow> {
        let mut rows: Vec<_> = tally.cgroups().iter().map(|(id, states)| (*id, *states)).collect();
        let of = rows.len();
        rows.sort_by_key(|(id, states)| (Reverse(states.total()), *id));
        rows.truncate(self.ask.top);
        let wanted: BTreeSet<u64> = rows.iter().map(|(id, _)| *id).collect();
        let paths = if wanted.is_empty() { BTreeMap::new() } else { cgroups::paths(self.root, &wanted) };
        let rows = rows.into_iter().map(|(id, states)| CgroupRow { id, path: paths.get(&id).cloned(), states });
        Top { rows: rows.collect(), of }
    }

    /// What every process holds.
    fn held(&mut self, tally: &mut Tally) -> (Held, Option<Method>) {
        let places: Vec<Place> = self.visited.iter().map(|visited| visited.place.clone()).collect();
        let mut held = Held::default();
        let mut inodes = tally.take_inodes();
        let result = match &mut self.holders {
            Some(holders) => holders.count(&places, &mut held).map(|()| holders.method()),
            None => {
                let listening = self.visited.iter().flat_map(|visited| &visited.listeners);
                let listening = listening.filter_map(|listener| u32::try_from(listener.inode).ok().filter(|n| *n > 0));
                inodes.entry(State::Listen).or_default().extend(listening);
                owners::Descriptors::new(self.root, inodes).count(&places, &mut held).map(|()| Method::Proc)
            }
        };
        let by = result.map_err(|why| held.unseen.push(Unseen { what: "what processes hold".into(), why })).ok();
        (held, by)
    }

    fn processes(&self, held: &Held) -> Top<ProcessRow> {
        let mut rows: Vec<_> = held.processes.iter().map(|(pid, states)| (*pid, *states)).collect();
        let of = rows.len();
        rows.sort_by_key(|(pid, states)| (Reverse(states.total()), *pid));
        rows.truncate(self.ask.top);
        Top { rows: rows.into_iter().map(|(pid, states)| owners::process(self.root, pid, Some(states))).collect(), of }
    }

    /// Who holds the sockets of the rows; and how many of them were not found since sock_diag did not tell their inodes, or
    /// because the search is bounded.
    fn owners(&mut self, census: &mut Census, destinations: &[(DestinationRow, Members)]) -> Vec<Unseen> {
        let (mut inodes, mut untold) = (Vec::new(), None);
        for (row, members) in destinations {
            let visited = self.visited.iter_mut().find(|visited| visited.place.netns == row.netns);
            let told = visited.map_or(Ok(0), |visited| inode(&mut visited.diag, row, members));
            if let Err(why) = &told {
                untold.get_or_insert((why.clone(), 0)).1 += 1;
            }
            inodes.push(told.unwrap_or(0));
        }
        let destinations: Vec<_> = destinations.iter().map(|(row, _)| row).zip(inodes).collect();
        let listening = census.listeners.rows.iter().map(|row| (row.netns, row.listener.inode));
        let connected = destinations.iter().map(|(row, inode)| (row.netns, *inode));
        let wanted: BTreeSet<(NetnsId, Inode)> = listening.chain(connected).filter(|(_, inode)| *inode != 0).collect();
        let pids: BTreeMap<NetnsId, &[Pid]> = self
            .visited
            .iter()
            .map(|visited| (visited.place.netns, visited.target.as_ref().map_or(&[][..], |target| &*target.pids)))
            .collect();
        let (found, was_cut) = owners::of(self.root, &wanted, &pids);
        let without = wanted.iter().filter(|(_, inode)| !found.contains_key(inode)).count();
        for row in &mut census.listeners.rows {
            row.owners = found.get(&row.listener.inode).cloned().unwrap_or_default();
        }
        for (row, (_, inode)) in census.destinations.rows.iter_mut().zip(&destinations) {
            row.owners = found.get(inode).cloned().unwrap_or_default();
        }
        let known: BTreeSet<Pid> = census.processes.rows.iter().map(|row| row.pid).collect();
        let met: BTreeSet<Pid> = found.into_values().flatten().filter(|pid| !known.contains(pid)).collect();
        let met = met.into_iter().map(|pid| owners::process(self.root, pid, None));
        census.processes.rows.extend(met);
        if census.holders.is_none() {
            census.processes.of = census.processes.rows.len();
        }
        let cut = (was_cut && without > 0).then(|| Unseen {
            what: format!("owners of {without} rows"),
            why: Absent::Failed {
                what: "the search for them".into(),
                error: "it ended before all descriptors were looked at; --by process counts all".into(),
            },
        });
        let untold = untold.map(|(why, rows)| Unseen { what: format!("owners of {rows} destinations"), why });
        untold.into_iter().chain(cut).collect()
    }
}

/// Of the first socket of a row that has a file, or 0. A walk that reads no inode names connections instead: the kernel finds
/// each by its hash.
fn inode(diag: &mut Result<Diag, Absent>, row: &DestinationRow, members: &Members) -> Result<Inode, Absent> {
    for member in members.iter().flatten() {
        let found = match *member {
            Member::Inode(inode) => inode,
            Member::Connection { client, device } => {
                let (local, remote) = match row.service {
                    End::Local => (row.tuple.destination, client),
                    End::Remote => (client, row.tuple.destination),
                };
                let ends = Ends { local, remote, cookie: ANY_COOKIE, device };
                let diag = diag.as_mut().map_err(|why| why.clone())?;
                diag.look(&ends, Extensions::default(), |socket| socket.inode())?.unwrap_or(0)
            }
        };
        if found != 0 {
            return Ok(found);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests;

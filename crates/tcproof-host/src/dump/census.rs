//! The census of a dump: what `ss` listed, counted by the rules of a live walk; without it, `/proc/net/tcp`.
//!
//! A row stands for its socket's inode, which not every listing has: by it the owners of the rows that are shown are found, in
//! a second pass.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tcproof_core::census::{
    self, Bounds, Census, CgroupRow, Held, Member, Method, NetnsCensus, PortRange, ProcessRow, Seen, Sockstat, Tally,
    Top,
};
use tcproof_core::limits::usable_ports;
use tcproof_core::snapshot::{Endpoint, Inode, Listener, NetnsId, Pid, Protocol, Unseen};
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading};

use super::snapshot::{Place, absent};
use super::ss::{self, Row};
use super::{Dump, Error, Ordered, Taken, sockets};
use crate::Scope;
use crate::census::{Ask, rows, text};

/// Processes that are told apart: no kernel has many more (`PID_MAX_LIMIT`), a listing may.
const MOST_PROCESSES: usize = 1 << 16;

/// Counts the sockets of a dump, or of the later of two.
///
/// # Errors
/// They are no two of one host, or which is the later one can't be told.
pub fn census(dumps: Vec<Dump>, ask: &Ask) -> Result<(Census, Vec<Taken>), Error> {
    let Ordered { first, last, window } = Ordered::of(dumps)?;
    if let Err(why) = window {
        return Err(Error::new(last.name, format!("expected one dump, or two of which one is the later: {why}")));
    }
    let taken = first.iter().chain([&last]).map(Dump::taken).collect();
    Ok((Counting::new(ask).run(&last), taken))
}

/// Counts one, with short tables.
pub(super) fn of(dump: &Dump) -> Census {
    let ask = Ask { scope: Scope::All, method: None, port: None, top: 10, table: 100, processes: true };
    Counting::new(&ask).run(dump)
}

/// Why a listing does not tell something.
fn failed(error: &str) -> Absent {
    Absent::Failed { what: "the listing".into(), error: error.into() }
}

struct Counting<'a> {
    ask: &'a Ask,
    tally: Tally,
    held: Held,
    processes: BTreeMap<Pid, ProcessRow>,
    /// Paths in the order in which they were met: which one it was stands for the id.
    cgroups: BTreeMap<String, u64>,
    methods: BTreeSet<Method>,
    unseen: Vec<Unseen>,
}

/// Which details the rows of a listing have.
#[derive(Default)]
struct Details {
    rows: u64,
    /// Sockets that a listing without `-a` has not.
    beside_open: bool,
    users: bool,
    cgroups: bool,
    mptcp: bool,
}

impl<'a> Counting<'a> {
    fn new(ask: &'a Ask) -> Self {
        let bounds = Bounds { destinations: ask.table, ..Bounds::default() };
        Self {
            ask,
            tally: Tally::new(bounds),
            held: Held::default(),
            processes: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            methods: BTreeSet::new(),
            unseen: Vec::new(),
        }
    }

    fn run(mut self, dump: &Dump) -> Census {
        let start = Instant::now();
        let places: Vec<(NetnsId, &Place)> = (1..).map(NetnsId).zip(&dump.places).collect();
        let mut namespaces: BTreeMap<NetnsId, NetnsCensus> =
            places.iter().map(|(id, place)| (*id, self.namespace(*id, place))).collect();
        for (id, ns) in &mut namespaces {
            ns.counted = match self.tally.namespaces().get(id) {
                Some(counted) => counted.clone(),
                None => absent("sockets", "not in this dump"),
            };
        }
        self.unseen.extend_from_slice(self.tally.what_is_unseen());
        let elapsed = start.elapsed();
        let listening = places.iter().flat_map(|(id, place)| {
            place.ns.listeners.value().into_iter().flatten().map(|listener: &Listener| (*id, listener))
        });
        let mut listeners = rows::listeners(listening, self.ask);
        let (mut destinations, of) = rows::destinations(&self.tally, self.ask);
        for (id, place) in &places {
            if let Some(text) = &place.listings.listening {
                let shown = listeners.rows.iter_mut().filter(|row| row.netns == *id);
                self.owners_of_listeners(text, shown.map(|row| (&row.listener, &mut row.owners)).collect());
            }
            if let Some(text) = &place.listings.connected {
                let shown = destinations.iter_mut().filter(|(row, _)| row.netns == *id);
                let with_user = shown.filter_map(|(row, members)| match members[0] {
                    Some(Member::Inode(nth)) => Some((nth, &mut row.owners)),
                    _ => None,
                });
                self.owners_of_rows(text, with_user.collect());
            }
        }
        let met = listeners.rows.iter().flat_map(|row| &row.owners);
        let met: BTreeSet<Pid> = met.chain(destinations.iter().flat_map(|(row, _)| &row.owners)).copied().collect();
        let is_listed = self.methods.contains(&Method::Listing);
        Census {
            host: dump.base.host.clone(),
            method: if is_listed { Method::Listing } else { Method::Proc },
            because: match (is_listed, self.methods.contains(&Method::Proc)) {
                (true, false) => "a dump has no other sockets".into(),
                (true, true) => "and where there is none, /proc/net/tcp".into(),
                (false, _) => "no ss in this dump".into(),
            },
            refused: Vec::new(),
            elapsed,
            namespaces,
            listeners,
            destinations: Top { rows: destinations.into_iter().map(|(row, _)| row).collect(), of },
            cgroups: self.cgroups(),
            truncated: rows::truncated(&self.tally),
            holders: (!self.held.processes.is_empty()).then_some(Method::Listing),
            processes: self.processes(&met),
            unseen: self.unseen,
        }
    }

    fn namespace(&mut self, id: NetnsId, place: &Place) -> NetnsCensus {
        let ns = &place.ns;
        let ephemeral = PortRange::of(ns);
        let at = census::Place {
            netns: id,
            listening: ns.listeners.value().into_iter().flatten().map(|listener| listener.local.port).collect(),
            ephemeral: ephemeral.value().copied().unwrap_or(PortRange::DEFAULT),
        };
        let mut mptcp = None;
        let listings = &place.listings;
        let counted = match (&listings.connected, &listings.listening, &listings.proc) {
            (Some(text), ..) | (None, Some(text), _) => {
                mptcp = self.listed(&at, place, text);
                true
            }
            (None, None, Some(root)) => {
                let walked = text::walk(root, &at, &mut self.tally);
                self.methods.insert(Method::Proc);
                walked.map_err(|why| self.tally.absent(id, why)).is_ok()
            }
            (None, None, None) => {
                let why = ns.listeners.absent().cloned().unwrap_or(Absent::NotNeeded);
                self.tally.absent(id, why);
                false
            }
        };
        if let Some(why) = ephemeral.absent().filter(|_| counted) {
            self.lacks(format!("the range of local ports of {}: the default was taken", place.name), why.clone());
        }
        NetnsCensus {
            name: place.name.clone(),
            counted: Reading::Absent(Absent::NotNeeded),
            known: BTreeMap::new(),
            open: None,
            sockstat: Sockstat::of(ns).map(|stat| (stat, stat)),
            mptcp: mptcp.map_or(Reading::Absent(Absent::NotNeeded), Reading::Present),
            ephemeral,
            usable_ports: usable_ports(ns),
            listeners_absent: ns.listeners.absent().cloned(),
        }
    }

    /// Counts the rows of a listing; gives back the sockets of Multipath TCP, where there are any.
    fn listed(&mut self, at: &census::Place, place: &Place, text: &str) -> Option<census::Counts> {
        let mut details = Details::default();
        let mut mptcp = census::Counts::default();
        let mut nth = 0;
        let skipped = ss::rows(text, &mut |row| {
            nth += 1;
            if row.is_mptcp {
                details.mptcp = true;
                mptcp.add(row.state, 1);
            } else {
                self.row(at, row, nth, &mut details);
            }
        });
        self.methods.insert(Method::Listing);
        let listeners = place.ns.listeners.value().map_or(0, Vec::len);
        if details.rows == 0 && listeners == 0 && !place.listings.is_whole {
            self.tally.absent(at.netns, failed("no TCP socket is in it: ss -a shows all"));
            return None;
        }
        self.tally.place(at).states(State::Listen, false, u32::try_from(listeners).unwrap_or(u32::MAX));
        self.missing(place, &details, &skipped);
        details.mptcp.then_some(mptcp)
    }

    fn row(&mut self, at: &census::Place, row: &Row<'_>, nth: Inode, details: &mut Details) {
        details.rows += u64::from(!matches!(row.state, State::Listen | State::Close));
        details.beside_open |= matches!(row.state, State::Listen | State::TimeWait | State::SynRecv);
        for (comm, pid) in row.users() {
            details.users = true;
            if self.meet(pid, comm, row.cgroup) {
                self.held.add(pid, row.state, 1);
            }
        }
        if matches!(row.state, State::Listen | State::Close) {
            return;
        }
        let cgroup = row.cgroup.map(|path| {
            details.cgroups = true;
            self.cgroup(path)
        });
        self.tally.place(at).add(&Seen {
            state: row.state.number(),
            small: matches!(row.state, State::TimeWait | State::SynRecv) || row.timer == "timewait",
            local: row.local,
            remote: row.remote,
            inode: if row.users().next().is_some() { nth } else { 0 },
            cgroup,
        });
    }

    /// Keeps what is told of a process, if there is room.
    fn meet(&mut self, pid: Pid, comm: &str, cgroup: Option<&str>) -> bool {
        let has_room = self.processes.len() < MOST_PROCESSES;
        if !has_room && !self.processes.contains_key(&pid) {
            return false;
        }
        self.processes.entry(pid).or_insert_with(|| ProcessRow {
            pid,
            comm: comm.into(),
            cgroup: match cgroup {
                Some(path) => Reading::Present(path.into()),
                None => absent("its control group", "ss shows it with -e, since 5.9"),
            },
            states: None,
        });
        true
    }

    /// What stands for a group's id. One more than the table holds is none that it has.
    fn cgroup(&mut self, path: &str) -> u64 {
        let next = self.cgroups.len() as u64 + 1;
        match self.cgroups.get(path) {
            Some(id) => *id,
            None if self.cgroups.len() < self.tally.bounds().cgroups => {
                self.cgroups.insert(path.into(), next);
                next
            }
            None => 0,
        }
    }

    fn lacks(&mut self, what: String, why: Absent) {
        self.unseen.push(Unseen { what, why });
    }

    /// What this listing does not tell.
    fn missing(&mut self, place: &Place, details: &Details, skipped: &ss::Skipped) {
        let of = |what: &str| format!("{what} of {}", place.name);
        if let Some((line, expected)) = skipped.first {
            let why = failed(&format!("line {line}: expected {expected}"));
            self.lacks(of(&format!("{} of its rows", skipped.rows)), why);
        }
        if details.rows == 0 && !place.listings.is_whole {
            return self.lacks(of("connections"), failed("only listening sockets are in it: ss -a shows all"));
        }
        if !details.beside_open && !place.listings.is_whole {
            self.lacks(
                of("sockets in TIME-WAIT and SYN-RECV"),
                failed("none is in it, and ss shows them with -a only"),
            );
        }
        if !details.users {
            self.lacks(of("owners"), failed("none are in it: ss -p shows them, as root"));
        }
        if !details.cgroups {
            self.lacks(of("control groups"), failed("none are in it: ss -e shows them since 5.9"));
        }
        if self.processes.len() >= MOST_PROCESSES {
            self.lacks(of("some processes"), failed(&format!("expected at most {MOST_PROCESSES} of them")));
        }
    }

    /// Who holds them. The socket of Multipath TCP stands in a row of its own, and has the owner.
    fn owners_of_listeners(&mut self, text: &str, shown: Vec<(&Listener, &mut Vec<Pid>)>) {
        let mptcp: BTreeMap<(Endpoint, Inode), u64> = shown
            .iter()
            .filter(|(listener, _)| listener.protocol == Protocol::Mptcp)
            .map(|(listener, _)| ((listener.local, listener.inode), listener.cookie))
            .collect();
        let mut wanted: BTreeMap<u64, &mut Vec<Pid>> =
            shown.into_iter().map(|(listener, owners)| (listener.cookie, owners)).collect();
        let mut cookies = sockets::Cookies::default();
        ss::rows(text, &mut |row| {
            let cookie = match row.state {
                State::Listen if row.is_mptcp => mptcp.get(&(row.local, row.inode.unwrap_or(0))).copied(),
                State::Listen => Some(cookies.of(row)),
                _ => None,
            };
            if let Some(owners) = cookie.and_then(|cookie| wanted.get_mut(&cookie)) {
                self.own(row, owners);
            }
        });
    }

    fn owners_of_rows(&mut self, text: &str, mut wanted: BTreeMap<Inode, &mut Vec<Pid>>) {
        let mut nth = 0;
        ss::rows(text, &mut |row| {
            nth += 1;
            if let Some(owners) = wanted.get_mut(&nth) {
                self.own(row, owners);
            }
        });
    }

    fn own(&mut self, row: &Row<'_>, owners: &mut Vec<Pid>) {
        for (comm, pid) in row.users() {
            if !owners.contains(&pid) && self.meet(pid, comm, row.cgroup) {
                owners.push(pid);
            }
        }
    }

    fn cgroups(&self) -> Top<CgroupRow> {
        let paths: BTreeMap<u64, &String> = self.cgroups.iter().map(|(path, id)| (*id, path)).collect();
        let mut all: Vec<_> = self.tally.cgroups().iter().collect();
        all.sort_by_key(|(id, states)| (Reverse(states.total()), **id));
        let row = |(id, states): (&u64, &census::Counts)| {
            let path = paths.get(id).map(|path| path.to_string());
            // What ss writes where it found no directory with that id.
            let hex = path.as_ref().and_then(|path| u64::from_str_radix(path.strip_prefix("unreachable:")?, 16).ok());
            CgroupRow { id: hex.unwrap_or(0), path: path.filter(|_| hex.is_none()), states: *states }
        };
        let of = all.len();
        Top { rows: all.into_iter().take(self.ask.top).map(row).collect(), of }
    }

    /// Those that hold most, and besides the owners of what is shown.
    fn processes(&mut self, met: &BTreeSet<Pid>) -> Top<ProcessRow> {
        let mut holders: Vec<_> = self.held.processes.iter().map(|(pid, states)| (*pid, *states)).collect();
        let of = holders.len();
        holders.sort_by_key(|(pid, states)| (Reverse(states.total()), *pid));
        holders.truncate(self.ask.top);
        let mut rows = Vec::new();
        for (pid, states) in holders {
            rows.extend(self.processes.remove(&pid).map(|row| ProcessRow { states: Some(states), ..row }));
        }
        rows.extend(met.iter().filter_map(|pid| self.processes.remove(pid)));
        Top { rows, of }
    }
}

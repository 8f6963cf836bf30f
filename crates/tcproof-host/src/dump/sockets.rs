//! What `ss` printed, as the readings that netlink gives on a live host; without it, what `/proc/net/tcp` has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tcproof_core::snapshot::{
    CloseWait, Endpoint, FinWait2, Inode, Listener, Netns, OpenSocket, PortFold, Process, Protocol, Service, Snapshot,
    Sockets,
};
use tcproof_core::states::State;
use tcproof_core::{Absent, ListenerWatch, Reading};

use super::shown;
use super::snapshot::{Place, absent, no_listing, without};
use super::ss::{self, Row};
use super::tree::Text;
use crate::{Root, procfs};

/// Where the sockets of a namespace are told of.
#[derive(Debug, Default)]
pub(super) struct Listings {
    /// What `ss` printed of the listeners, with their owners.
    pub(super) listening: Option<Arc<str>>,
    /// What it printed of most connections: the same, or another one.
    pub(super) connected: Option<Arc<str>>,
    /// Whether all sockets were asked for, so that those that are not there are none.
    pub(super) is_whole: bool,
    /// Without any of it: `/proc/net/tcp` and `tcp6`.
    pub(super) proc: Option<Root>,
}

/// Fills in the listeners and what is known of other sockets.
pub(super) fn read(
    ns: &mut Netns,
    listings: &[(String, Text)],
    root: &Root,
    is_sos: bool,
    notes: &mut Vec<String>,
) -> Listings {
    let mut best: Option<(bool, usize, Arc<str>, Vec<Listener>)> = None;
    let mut others = 0;
    let mut all: Option<((bool, bool, usize), Arc<str>)> = None;
    for (name, text) in listings {
        let text: Arc<str> = String::from_utf8_lossy(&text.bytes).into();
        let Found { listeners, open, is_detailed, skipped } = listeners(&text);
        if let Some((line, expected)) = skipped.first {
            let rows = skipped.rows;
            notes.push(format!(
                "{}:{line}: expected {expected}; {rows} rows of it are not read",
                shown(name.as_bytes())
            ));
        }
        // Without -a there are none in TIME_WAIT.
        let rank = (!listeners.is_empty() || is_whole(name), is_detailed, open);
        if open > 0 && all.as_ref().is_none_or(|(most, _)| *most < rank) {
            all = Some((rank, Arc::clone(&text)));
        }
        others += usize::from(!listeners.is_empty());
        let with_drops = listeners.iter().any(|listener| listener.drops.value().is_some());
        let better = best.as_ref().is_none_or(|(drops, count, ..)| (*drops, *count) < (with_drops, listeners.len()));
        if better {
            best = Some((with_drops, listeners.len(), text, listeners));
        }
    }
    if others > 1 {
        notes.push(format!("{others} listings of ss have listening sockets: the one that says most is read"));
    }
    let Some((_, _, text, listeners)) = best else {
        without(ns, &no_listing(is_sos));
        return Listings { proc: proc_tcp(ns, root), ..Listings::default() };
    };
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.local.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let is_whole = listings.iter().any(|(name, _)| is_whole(name));
    ns.listeners = match listeners.is_empty() && !is_whole {
        true => absent("listening sockets", "none is in this listing: ss -l, or -a, shows them"),
        false => Reading::Present(listeners),
    };
    let connected = all.map(|(_, all)| all);
    ns.sockets = match connected.as_ref().or(is_whole.then_some(&text)) {
        Some(all) => connections(all, ns, &ports),
        None => Sockets::absent(&Absent::Failed {
            what: "connections".into(),
            error: "only listening sockets are in this listing: ss -a shows all".into(),
        }),
    };
    Listings { listening: Some(text), connected, is_whole, proc: None }
}

/// Whether a sosreport's command lists all sockets, also where there are none.
fn is_whole(name: &str) -> bool {
    name.contains("ss_-peaonmi")
}

/// What a listing has.
struct Found {
    listeners: Vec<Listener>,
    /// Other sockets.
    open: usize,
    /// Whether inodes are told of those.
    is_detailed: bool,
    skipped: ss::Skipped,
}

fn listeners(text: &str) -> Found {
    let (mut found, mut mptcp, mut open, mut is_detailed) = (Vec::new(), Vec::new(), 0_usize, false);
    let mut cookies = Cookies::default();
    let skipped = ss::rows(text, &mut |row| match row.state {
        State::Listen if row.is_mptcp => mptcp.push((row.local, row.inode.unwrap_or(0), row.uid)),
        State::Listen => found.push(listener(row, cookies.of(row))),
        _ => {
            open += 1;
            is_detailed |= row.inode.is_some();
        }
    });
    for listener in &mut found {
        let same = mptcp
            .iter()
            .find(|(local, inode, _)| *local == listener.local && (listener.inode == 0 || listener.inode == *inode));
        if let Some((_, inode, uid)) = same {
            (listener.protocol, listener.inode, listener.uid) = (Protocol::Mptcp, *inode, *uid);
        }
    }
    Found { listeners: found, open, is_detailed, skipped }
}

/// Cookies of listeners, or what stands for them in a listing that has none.
#[derive(Default)]
pub(super) struct Cookies {
    alike: BTreeMap<(Endpoint, u32), u32>,
}

impl Cookies {
    /// Of the next row.
    pub(super) fn of(&mut self, row: &Row<'_>) -> u64 {
        let device = device(row.device);
        let nth = self.alike.entry((row.local, device)).or_default();
        *nth += 1;
        row.cookie.unwrap_or_else(|| identity(&(row.local, device, *nth)))
    }
}

fn listener(row: &Row<'_>, cookie: u64) -> Listener {
    Listener {
        local: row.local,
        device: device(row.device),
        protocol: Protocol::Tcp,
        cookie,
        inode: row.inode.unwrap_or(0),
        uid: row.uid,
        queue: row.recv_q,
        backlog: row.send_q,
        drops: match row.drops {
            Some(drops) => Reading::Present(drops),
            None => absent("drops of the listeners", "ss shows them with -m"),
        },
        cgroup_id: None,
    }
}

/// Stands for a cookie where the listing has none (`-e`): the same in each dump, as long as nothing else listens there.
fn identity(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish() | 1
}

/// Stands for a device's index, which a listing does not have.
fn device(name: &str) -> u32 {
    if name.is_empty() { 0 } else { identity(&name) as u32 | 1 }
}

fn connections(text: &str, ns: &Netns, listening: &[u16]) -> Sockets {
    let mut fold = Fold::new(ns, listening);
    ss::rows(text, &mut |row| {
        if !row.is_mptcp {
            fold.add(row);
        }
    });
    fold.finish()
}

/// What the limits ask of connections.
struct Fold<'a> {
    listening: &'a [u16],
    range: Option<(u16, u16)>,
    half_open: BTreeMap<Endpoint, u32>,
    close_wait: BTreeMap<Service, CloseWait>,
    is_ageless: bool,
    fin_wait2: FinWait2,
    ports: PortFold,
}

impl<'a> Fold<'a> {
    fn new(ns: &Netns, listening: &'a [u16]) -> Self {
        let range = ns.knob_numbers::<2>("net.ipv4.ip_local_port_range").value().copied();
        let range = range.and_then(|[low, high]| Some((u16::try_from(low).ok()?, u16::try_from(high).ok()?)));
        Self {
            listening,
            range,
            half_open: BTreeMap::new(),
            close_wait: BTreeMap::new(),
            is_ageless: false,
            fin_wait2: FinWait2::default(),
            ports: PortFold::default(),
        }
    }

    fn add(&mut self, row: &Row<'_>) {
        let inode = row.inode.unwrap_or(0);
        let is_served = self.listening.binary_search(&row.local.port).is_ok();
        match row.state {
            State::Listen | State::Close => return,
            State::SynRecv => *self.half_open.entry(row.local).or_default() += 1,
            State::FinWait2 if row.timer == "timewait" => self.fin_wait2.small += 1,
            State::FinWait2 if inode == 0 => self.fin_wait2.orphans += 1,
            State::FinWait2 => self.fin_wait2.held += 1,
            State::CloseWait => {
                let service = if is_served { Service::Local(row.local) } else { Service::Remote(row.remote) };
                let group = self.close_wait.entry(service).or_default();
                if inode == 0 {
                    group.unaccepted += 1;
                } else {
                    group.held.push(row.cookie.unwrap_or_else(|| identity(&(row.local, row.remote))));
                    group.oldest = group.oldest.max(Duration::from_millis(row.last_received_ms));
                    group.inode = inode;
                }
                self.is_ageless |= !row.has_info || row.inode.is_none();
            }
            _ => {}
        }
        if !is_served && self.range.is_some_and(|(low, high)| (low..=high).contains(&row.local.port)) {
            self.ports.add(&OpenSocket {
                local: row.local,
                remote: row.remote,
                time_wait: row.state == State::TimeWait,
                connecting: row.state == State::SynSent,
                inode,
                cgroup_id: None,
            });
        }
    }

    fn finish(self) -> Sockets {
        let mut close_wait = self.close_wait;
        for group in close_wait.values_mut() {
            group.held.sort_unstable();
        }
        Sockets {
            half_open: Reading::Present(self.half_open),
            close_wait: match self.is_ageless {
                true => absent(
                    "how long CLOSE_WAIT sockets have been idle, and whose they are",
                    "ss shows it with -e and -i",
                ),
                false => Reading::Present(close_wait),
            },
            close_wait_at: None,
            close_wait_before: None,
            fin_wait2: Reading::Present(self.fin_wait2),
            ports: match self.range {
                Some(_) => Reading::Present(self.ports.finish()),
                None => absent("net.ipv4.ip_local_port_range", "not in this dump: sysctl -a shows it"),
            },
        }
    }
}

/// Without `ss`: the sockets are in `/proc/net/tcp`, but not how long a queue may be, nor for how long they have been idle.
/// Gives back where those files are.
fn proc_tcp(ns: &mut Netns, root: &Root) -> Option<Root> {
    let mut found = Vec::new();
    for file in ["proc/net/tcp", "proc/net/tcp6"] {
        let mut lines = procfs::tcp::Lines::new(file);
        let read = root.read_pieces(file, |piece| lines.feed(piece, &mut |seen| found.push(*seen)));
        match read.and_then(|()| lines.finish()) {
            Ok(()) => {}
            // Without IPv6 there is none.
            Err(_) if file.ends_with('6') => {}
            Err(_) => return None,
        }
    }
    let state = |number: u8| State::of_number(number);
    let mut listening: Vec<u16> =
        found.iter().filter(|seen| state(seen.state) == Some(State::Listen)).map(|seen| seen.local.port).collect();
    listening.sort_unstable();
    let mut fold = Fold::new(ns, &listening);
    for seen in &found {
        let Some(state) = state(seen.state) else { continue };
        let row = ss::Row {
            inode: Some(seen.inode),
            timer: if seen.small { "timewait" } else { "" },
            ..ss::Row::new(state, seen.local, seen.remote)
        };
        fold.add(&row);
    }
    ns.sockets = fold.finish();
    Some(root.clone())
}

/// Folds the listeners of a dump into what is known of them. `of_two` tells that there is an interval, and `later` the time of
/// its end.
pub(super) fn look(place: &Place, known: &mut BTreeMap<u64, ListenerWatch>, of_two: bool, later: Option<Duration>) {
    for listener in place.ns.listeners.value().into_iter().flatten() {
        let at = later.unwrap_or_default();
        match known.get_mut(&listener.cookie) {
            Some(watch) if later.is_some() => watch.look(listener.clone(), at),
            _ => {
                let mut watch = ListenerWatch::new(listener.clone(), at, later.is_some());
                // One look tells what was dropped since the socket was made, and not when.
                if !of_two && listener.drops.value().is_some() {
                    watch.drops_before = Reading::Absent(Absent::OneReading);
                }
                known.insert(listener.cookie, watch);
            }
        }
    }
}

/// Adds who holds these sockets.
pub(super) fn owners(place: &Place, wanted: &BTreeSet<Inode>, snapshot: &mut Snapshot) {
    let Some(text) = place.listings.listening.as_ref().filter(|_| !wanted.is_empty()) else { return };
    ss::rows(text, &mut |row| {
        let Some(inode) = row.inode.filter(|inode| *inode != 0 && wanted.contains(inode)) else { return };
        let mut pids: Vec<u32> = row.users().map(|(_, pid)| pid).collect();
        pids.dedup();
        for (comm, pid) in row.users() {
            snapshot.processes.entry(pid).or_insert_with(|| process(comm, row.cgroup));
        }
        let known = snapshot.owners.entry(inode).or_insert_with(|| Reading::Present(Vec::new()));
        if pids.is_empty() && known.value().is_some_and(Vec::is_empty) {
            *known = absent("who holds the sockets", "ss shows it with -p, as root");
        } else if !pids.is_empty() {
            *known = Reading::Present(pids);
        }
    });
}

fn process(comm: &str, cgroup: Option<&str>) -> Process {
    let why = || Absent::Failed { what: "/proc/PID".into(), error: "not in this dump".into() };
    Process {
        comm: comm.into(),
        cmdline: Vec::new(),
        cgroup: match cgroup {
            Some(path) => Reading::Present(path.into()),
            None => Reading::Absent(why()),
        },
        fds: Reading::Absent(why()),
        fd_limit: Reading::Absent(why()),
        fd_hard_limit: Reading::Absent(why()),
        kernel_time: Reading::Absent(why()),
        user_time: Reading::Absent(why()),
        threads: Reading::Absent(why()),
    }
}

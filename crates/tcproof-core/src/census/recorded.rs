//! What a recording tells of sockets, which is not what a walk of them tells: sockstat, the listeners, and what was looked
//! at more closely because a cheap counter called for it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::{
    Census, Counts, DestinationRow, End, ListenerRow, Method, NetnsCensus, PortRange, ProcessRow, Sockstat, Top,
    fullest,
};
use crate::interval::Interval;
use crate::limits::usable_ports;
use crate::reading::{Absent, Reading};
use crate::snapshot::{Inode, Listener, Netns, NetnsId, Pid, Snapshot, Unseen};
use crate::states::State;

/// Why something is missing that a walk would have.
fn not_held(why: &str) -> Absent {
    Absent::Failed { what: "a recording does not hold every socket".into(), error: why.into() }
}

/// What is known at the interval's end, with `top` rows of each table; with a port, only listeners on it and destinations
/// with it.
pub fn recorded(interval: &Interval, top: usize, port: Option<u16>) -> Census {
    let end = &interval.after;
    let wants = |of: u16| port.is_none_or(|port| port == of);
    let (listeners, destinations) = (listeners(end, top, wants), destinations(end, top, wants));
    let mut unseen = end.unseen.clone();
    let mut lacks = |what: &str, why: &str| unseen.push(Unseen { what: what.into(), why: not_held(why) });
    let has_ports = |ns: &Netns| ns.sockets.ports.value().is_some();
    if !end.namespaces.values().any(has_ports) {
        lacks("destinations", "they are looked at when many ports are in use, and then recorded");
    }
    lacks("sockets one by one", "the states that something else counted are above");
    lacks("what processes hold", "only owners of what mattered are recorded");
    lacks("control groups", "none are recorded with their sockets");
    let pids: BTreeSet<Pid> = listeners
        .rows
        .iter()
        .flat_map(|row| &row.owners)
        .chain(destinations.rows.iter().flat_map(|row| &row.owners))
        .copied()
        .collect();
    let process = |pid: Pid| {
        let process = end.processes.get(&pid)?;
        Some(ProcessRow { pid, comm: process.comm.clone(), cgroup: process.cgroup.clone(), states: None })
    };
    let processes: Vec<_> = pids.into_iter().filter_map(process).collect();
    Census {
        host: end.host.clone(),
        method: Method::Recording,
        because: "sockstat, listeners, and what was looked at more closely at the window's end".into(),
        refused: Vec::new(),
        elapsed: Duration::ZERO,
        namespaces: end.namespaces.iter().map(|(id, ns)| (*id, namespace(interval, *id, ns))).collect(),
        listeners,
        destinations,
        cgroups: Top::default(),
        processes: Top { of: processes.len(), rows: processes },
        holders: None,
        truncated: Vec::new(),
        unseen,
    }
}

impl PortRange {
    /// The knob that it is set by.
    pub const KNOB: &str = "net.ipv4.ip_local_port_range";

    /// As a namespace has it.
    pub fn of(ns: &Netns) -> Reading<Self> {
        ns.knob_numbers::<2>(Self::KNOB).and_then(|[low, high]| match (u16::try_from(low), u16::try_from(high)) {
            (Ok(low), Ok(high)) if 0 < low && low <= high => Reading::Present(Self { low, high }),
            _ => Reading::Absent(Absent::Unparsable {
                place: Self::KNOB.into(),
                expected: "two ports, the lower first".into(),
            }),
        })
    }
}

impl Sockstat {
    /// As a namespace has it: without IPv6 there is no TCP6.
    pub fn of(ns: &Netns) -> Reading<Self> {
        ns.sockstat("TCP.inuse").and_then(|four| {
            let six = ns.sockstat("TCP6.inuse").value().copied().unwrap_or(0);
            ns.sockstat("TCP.tw").map(|tw| Self { inuse: four.saturating_add(six), tw })
        })
    }
}

fn namespace(interval: &Interval, id: NetnsId, ns: &Netns) -> NetnsCensus {
    NetnsCensus {
        name: ns.name.clone(),
        counted: Reading::Absent(not_held("only some states have a count")),
        known: known(ns),
        open: interval.looks.flows.get(&id).and_then(|flows| Some(flows.value()?.established)),
        sockstat: Sockstat::of(ns).map(|stat| (stat, stat)),
        mptcp: Reading::Absent(Absent::NotNeeded),
        ephemeral: PortRange::of(ns),
        usable_ports: usable_ports(ns),
        listeners_absent: ns.listeners.absent().cloned(),
    }
}

/// States that something else than a walk counted. sockstat's `tw` holds orphans in FIN_WAIT2 too: it is the state's count only
/// where those are known.
fn known(ns: &Netns) -> BTreeMap<State, u32> {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut known = BTreeMap::new();
    if let Reading::Present(listeners) = &ns.listeners {
        known.insert(State::Listen, number(listeners.len() as u64));
    }
    if let Reading::Present(half_open) = &ns.sockets.half_open {
        known.insert(State::SynRecv, half_open.values().fold(0, |sum, n| sum.saturating_add(*n)));
    }
    if let Reading::Present(services) = &ns.sockets.close_wait {
        let of = |service: &crate::snapshot::CloseWait| service.held.len() as u64 + u64::from(service.unaccepted);
        known.insert(State::CloseWait, number(services.values().map(of).fold(0, u64::saturating_add)));
    }
    let mut small = None;
    if let Reading::Present(fin) = &ns.sockets.fin_wait2 {
        small = Some(fin.small);
        known.insert(State::FinWait2, fin.small.saturating_add(fin.orphans).saturating_add(fin.held));
    }
    if let (Reading::Present(tw), Some(small)) = (ns.sockstat("TCP.tw"), small) {
        known.insert(State::TimeWait, number(tw).saturating_sub(small));
    }
    known
}

fn owners(end: &Snapshot, inode: Inode) -> Vec<Pid> {
    end.owners.get(&inode).and_then(Reading::value).cloned().unwrap_or_default()
}

fn listeners(end: &Snapshot, top: usize, wants: impl Fn(u16) -> bool) -> Top<ListenerRow> {
    let all = end
        .namespaces
        .iter()
        .flat_map(|(id, ns)| ns.listeners.value().into_iter().flatten().map(|listener: &Listener| (*id, listener)));
    let mut all: Vec<_> = all.filter(|(_, listener)| wants(listener.local.port)).collect();
    fullest(&mut all);
    let of = all.len();
    let row = |(netns, listener): &(NetnsId, &Listener)| ListenerRow {
        netns: *netns,
        listener: (*listener).clone(),
        owners: owners(end, listener.inode),
    };
    Top { rows: all.iter().take(top).map(row).collect(), of }
}

fn destinations(end: &Snapshot, top: usize, wants: impl Fn(u16) -> bool) -> Top<DestinationRow> {
    let all = end.namespaces.iter().flat_map(|(id, ns)| {
        ns.sockets.ports.value().into_iter().flat_map(|ports| &ports.tuples).map(|(tuple, of)| (*id, *tuple, *of))
    });
    let mut all: Vec<_> = all.filter(|(_, tuple, _)| wants(tuple.destination.port)).collect();
    all.sort_by_key(|(netns, tuple, of)| (Reverse(of.ports), *netns, *tuple));
    let row = |(netns, tuple, of): &(NetnsId, _, crate::snapshot::TupleUse)| {
        let mut states = Counts::default();
        states.add(State::TimeWait, of.time_wait);
        states.add(State::SynSent, of.connecting);
        DestinationRow {
            netns: *netns,
            service: End::Remote,
            tuple: *tuple,
            others: of.ports.saturating_sub(of.time_wait).saturating_sub(of.connecting),
            states,
            ports: Some(of.ports.into()),
            owners: owners(end, of.inode),
        }
    };
    Top { rows: all.iter().take(top).map(row).collect(), of: all.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Flows;
    use crate::limits::testing::endpoint;
    use crate::snapshot::{CloseWait, FinWait2, PortUse, Process, Service, Tuple, TupleUse};
    use alloc::string::{String, ToString};
    use alloc::vec;

    const HERE: NetnsId = NetnsId(7);

    fn listener(local: &str, queue: u32, inode: Inode) -> Listener {
        let listener = Listener::new(endpoint(local), 128);
        Listener { cookie: inode, inode, queue, drops: Reading::Present(3), ..listener }
    }

    fn interval() -> Interval {
        let mut ns = Netns { name: "web".into(), ..Netns::default() };
        let stat = [("TCP.inuse", 20), ("TCP6.inuse", 2), ("TCP.tw", 100)];
        ns.sockstat = Reading::Present(stat.into_iter().map(|(name, n)| (name.to_string(), n)).collect());
        ns.knobs.insert("net.ipv4.ip_local_port_range".into(), Reading::Present("32768\t60999".into()));
        ns.knobs.insert("net.ipv4.ip_local_reserved_ports".into(), Reading::Present(String::new()));
        ns.listeners = Reading::Present(vec![listener("0.0.0.0:80", 0, 11), listener("0.0.0.0:443", 129, 12)]);
        let mut interval = Interval::default();
        interval.after.namespaces.insert(HERE, ns);
        interval.after.owners.insert(12, Reading::Present(vec![2113]));
        interval.after.processes.insert(2113, Process { comm: "nginx".into(), ..process() });
        let flows = Flows { established: 9, by_rate: true, watched: vec![], idle: Default::default() };
        interval.looks.flows.insert(HERE, Reading::Present(flows));
        interval
    }

    fn process() -> Process {
        let absent = || Reading::Absent(Absent::NotNeeded);
        Process {
            comm: String::new(),
            cmdline: vec![],
            cgroup: Reading::Absent(Absent::NotNeeded),
            fds: absent(),
            fd_limit: absent(),
            fd_hard_limit: absent(),
            kernel_time: Reading::Absent(Absent::NotNeeded),
            user_time: Reading::Absent(Absent::NotNeeded),
            threads: Reading::Absent(Absent::NotNeeded),
        }
    }

    fn missing(census: &Census) -> Vec<&str> {
        census.unseen.iter().map(|unseen| &*unseen.what).collect()
    }

    #[test]
    fn what_is_always_recorded() {
        let census = recorded(&interval(), 1, None);
        let ns = &census.namespaces[&HERE];
        assert!(ns.counted.absent().is_some() && ns.differences().is_empty());
        assert_eq!(ns.known, [(State::Listen, 2)].into(), "what is not known is no zero");
        assert_eq!(ns.open, Some(9));
        let stat = Sockstat { inuse: 22, tw: 100 };
        assert_eq!((&ns.sockstat, ns.usable_ports), (&Reading::Present((stat, stat)), Some(28_232)));
        assert_eq!((census.listeners.rows.len(), census.listeners.of), (1, 2));
        let first = &census.listeners.rows[0];
        assert_eq!((first.listener.local, &*first.owners), (endpoint("0.0.0.0:443"), &[2113][..]));
        assert_eq!(census.processes.rows[0].comm, "nginx");
        assert_eq!(missing(&census), ["destinations", "sockets one by one", "what processes hold", "control groups"]);
        assert_eq!(recorded(&interval(), 9, Some(80)).listeners.of, 1);
    }

    #[test]
    fn what_was_looked_at_more_closely() {
        let mut interval = interval();
        let sockets = &mut interval.after.namespaces.get_mut(&HERE).unwrap().sockets;
        sockets.half_open = Reading::Present([(endpoint("10.0.0.1:80"), 4)].into());
        let close_wait = CloseWait { held: vec![1, 2], unaccepted: 3, ..CloseWait::default() };
        sockets.close_wait = Reading::Present([(Service::Local(endpoint("10.0.0.1:80")), close_wait)].into());
        sockets.fin_wait2 = Reading::Present(FinWait2 { small: 10, orphans: 1, held: 0 });
        let tuple = Tuple { source: endpoint("10.0.0.1:0").addr, destination: endpoint("10.0.0.9:5432") };
        let ports = TupleUse { ports: 50, time_wait: 30, connecting: 5, inode: 12, cgroup_id: None };
        sockets.ports = Reading::Present(PortUse { tuples: [(tuple, ports)].into(), sources: [].into(), sockets: 50 });
        let census = recorded(&interval, 10, None);
        let known = &census.namespaces[&HERE].known;
        for (state, n) in [(State::SynRecv, 4), (State::CloseWait, 5), (State::FinWait2, 11), (State::TimeWait, 90)] {
            assert_eq!(known.get(&state), Some(&n), "{state:?}");
        }
        let row = &census.destinations.rows[0];
        assert_eq!((row.sockets(), row.others, row.ports, &*row.owners), (50, 15, Some(50), &[2113][..]));
        assert_eq!(row.states.of(State::TimeWait), 30);
        assert_eq!(missing(&census), ["sockets one by one", "what processes hold", "control groups"]);
        assert_eq!(recorded(&interval, 10, Some(80)).destinations.of, 0);
    }

    #[test]
    fn what_could_not_be_read_is_absent_and_not_zero() {
        let mut interval = interval();
        let ns = interval.after.namespaces.get_mut(&HERE).unwrap();
        *ns = Netns { name: "web".into(), ..Netns::default() };
        interval.looks.flows.clear();
        let census = recorded(&interval, 10, None);
        let ns = &census.namespaces[&HERE];
        assert!(
            ns.known.is_empty() && ns.open.is_none() && ns.sockstat.absent().is_some() && ns.usable_ports.is_none()
        );
        assert!(ns.listeners_absent.is_some() && ns.ephemeral.absent().is_some());
    }
}

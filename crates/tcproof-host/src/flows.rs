//! Watches the few connections that matter, chosen by a bounded rule.
//!
//! 1. One dump of the open connections with `tcp_info`, where there are any; above [`CENSUS`] of them only queues and
//!    timers are asked for, which the kernel tells for half the cost.
//! 2. By each of six measures the first [`EACH`] of the whole host are chosen, and never more than [`WATCHED`]: the rate
//!    at which a sender that sent within [`RECENT`] delivers, and that at which a receiver that received then reads;
//!    segments lost or sent again and not acknowledged; bytes in the write queue and in the read queue; timers that
//!    expired in a row.
//! 3. From then on only these are looked at, each by its hash (`inet_diag_find_one_icsk`), without a walk of the table.
//! 4. Connections come and go: the choice is made again, as often as [`REST`] allows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tcproof_core::limits::{LOOKS, is_unread};
use tcproof_core::snapshot::{Flow, IdleFlows, Inode, Netns, NetnsId, Protocol};
use tcproof_core::{Absent, FlowWatch, Flows, Reading};

use crate::diag::{self, Diag, Ends, Extensions, Request, Socket, States};
use crate::namespace::{AF_INET, AF_INET6};

/// Up to so many open connections, a dump with `tcp_info` (0.6 µs each) is taken.
const CENSUS: u64 = 131_072;
/// Connections chosen by each measure, over all namespaces.
pub(crate) const EACH: usize = 16;
/// What is chosen by.
const MEASURES: usize = 6;
/// Connections watched, over all namespaces and choices.
const WATCHED: usize = 256;
/// One that sent or received nothing for longer is not what a host is busy with.
const RECENT: Duration = Duration::from_secs(1);
/// The time between two choices is at least this many times what the last one cost: 1 % of a CPU.
pub(crate) const REST: u32 = 100;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// `idiag_timer` of a keepalive probe.
const KEEPALIVE: u8 = 2;
/// What each look at a chosen one asks for.
const WHOLE: Extensions = Extensions::INFO.and(Extensions::SKMEMINFO).and(Extensions::CONG);

/// The flows of one namespace under watch.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    flows: Option<Result<Flows, Absent>>,
    /// Of each watched flow, the index of the device it is bound to.
    devices: Vec<u32>,
    known: BTreeSet<u64>,
}

/// A connection that may be worth watching.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    flow: Flow,
    device: u32,
    token: Option<u32>,
}

/// The first of each measure.
#[derive(Debug)]
pub(crate) struct Choice<K> {
    first: [Vec<(u64, K, Candidate)>; MEASURES],
    each: usize,
}

impl<K> Choice<K> {
    /// For so many by each measure.
    pub(crate) fn of(each: usize) -> Self {
        Self { first: Default::default(), each }
    }
}

impl<K: Copy + Ord> Choice<K> {
    /// Offers a connection with its measures; those that are zero do not count.
    fn offer(&mut self, place: K, measures: [u64; MEASURES], candidate: impl Fn() -> Candidate) {
        for (first, measure) in self.first.iter_mut().zip(measures) {
            if measure == 0 {
                continue;
            }
            if first.len() < self.each {
                first.push((measure, place, candidate()));
            } else if let Some(least) = first.iter_mut().min_by_key(|(measure, ..)| *measure)
                && least.0 < measure
            {
                *least = (measure, place, candidate());
            }
        }
    }

    /// The chosen ones by place, each once.
    fn finish(self) -> BTreeMap<K, BTreeMap<u64, Candidate>> {
        let mut chosen: BTreeMap<K, BTreeMap<u64, Candidate>> = BTreeMap::new();
        for (_, place, candidate) in self.first.into_iter().flatten() {
            chosen.entry(place).or_default().insert(candidate.flow.cookie, candidate);
        }
        chosen
    }
}

impl Watch {
    /// Offers what this namespace has. `ns` is what was read of it at the window's start.
    pub(crate) fn offer<K: Copy + Ord>(
        &mut self,
        diag: &mut Diag,
        ns: Option<&Netns>,
        place: K,
        choice: &mut Choice<K>,
    ) {
        let open = ns.and_then(open);
        if open == Some(0) || matches!(self.flows, Some(Err(_))) {
            return;
        }
        let by_rate = open.is_none_or(|open| open <= CENSUS);
        let request = Request::tcp(States::OPEN);
        let request = if by_rate { request.with(Extensions::INFO) } else { request };
        let (mut open, mut idle) = (0, IdleFlows::default());
        let dumped = diag.dump(&request, |socket| {
            open += 1;
            let moved = socket.info().and_then(diag::moved).unwrap_or_default();
            if by_rate && socket.state() == ESTABLISHED {
                count_idle(&mut idle, socket, moved.idle);
            }
            let recent = |rate, since| if since <= RECENT { rate } else { 0 };
            let measures = [
                recent(moved.delivery_rate, moved.since_sent),
                recent(moved.read_rate, moved.since_received),
                moved.lost.into(),
                socket.wqueue().into(),
                socket.rqueue().into(),
                socket.retransmits().into(),
            ];
            choice.offer(place, measures, || candidate(socket));
        });
        match (dumped, &mut self.flows) {
            (Ok(()), Some(Ok(flows))) => flows.established = open,
            (Ok(()), flows) => *flows = Some(Ok(Flows { established: open, by_rate, idle, watched: vec![] })),
            (Err(why), flows) => *flows = Some(Err(why)),
        }
    }

    /// Begins to watch what was chosen of this namespace.
    fn take(&mut self, diag: &mut Diag, mut chosen: Vec<Candidate>, at: Duration) {
        let Some(Ok(flows)) = &mut self.flows else { return };
        name_subflows(diag, &mut chosen);
        for Candidate { mut flow, device, .. } in chosen {
            let first =
                diag.look(&Ends::of(&flow, device), WHOLE, |socket| (diag::sample(socket, at), socket.congestion()));
            match first {
                Ok(Some((Ok(sample), congestion))) => {
                    flow.congestion = congestion.unwrap_or_default();
                    self.known.insert(flow.cookie);
                    flows.watched.push(FlowWatch::new(flow, sample));
                    self.devices.push(device);
                }
                // Ended since the dump.
                Ok(None | Some((Err(Absent::Gone { .. }), _))) => {}
                Ok(Some((Err(why), _))) | Err(why) => {
                    self.flows = Some(Err(why));
                    return;
                }
            }
        }
    }

    /// A look at every watched flow.
    pub(crate) fn look(&mut self, diag: &mut Diag, at: Duration) {
        let Some(Ok(flows)) = &mut self.flows else { return };
        for (watch, device) in flows.watched.iter_mut().zip(&self.devices).filter(|(watch, _)| !watch.gone) {
            match diag.look(&Ends::of(&watch.flow, *device), WHOLE, |socket| diag::sample(socket, at)) {
                Ok(Some(Ok(sample))) => watch.samples.push(sample),
                Ok(None | Some(Err(Absent::Gone { .. }))) => watch.gone = true,
                // One look less; a kernel that answered the first one answers the next.
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
        // What ended too soon to be judged gives its place to another.
        let judged = |watch: &FlowWatch| !watch.gone || watch.samples.len() >= LOOKS;
        let mut kept = flows.watched.iter().map(judged);
        self.devices.retain(|_| kept.next().unwrap_or(false));
        flows.watched.retain(judged);
    }

    /// How many flows are watched, or were.
    pub(crate) fn watched(&self) -> usize {
        self.devices.len()
    }

    /// Every flow that is watched, or was.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &FlowWatch> {
        let flows = self.flows.as_ref().and_then(|flows| flows.as_ref().ok());
        flows.into_iter().flat_map(|flows| &flows.watched)
    }

    /// Files of the watched flows that have data waiting in place of a window.
    pub(crate) fn unread(&self) -> impl Iterator<Item = Inode> {
        self.seen().filter(|watch| watch.flow.inode != 0 && is_unread(&watch.last())).map(|watch| watch.flow.inode)
    }

    /// What was seen since this was last asked for; nothing where there was nothing to see. Those that have ended are
    /// watched no more.
    pub(crate) fn take_looks(&mut self) -> Option<Reading<Flows>> {
        let seen = match self.flows.as_mut()? {
            Ok(flows) => {
                let rest = |watch: &FlowWatch| FlowWatch { samples: Vec::new(), ..watch.clone() };
                let rest = Flows {
                    watched: flows.watched.iter().map(rest).collect(),
                    established: flows.established,
                    by_rate: flows.by_rate,
                    idle: flows.idle.clone(),
                };
                Ok(std::mem::replace(flows, rest))
            }
            Err(why) => Err(why.clone()),
        };
        if let Some(Ok(flows)) = &mut self.flows {
            let mut kept = flows.watched.iter().map(|watch| !watch.gone);
            self.devices.retain(|_| kept.next().unwrap_or(false));
            flows.watched.retain(|watch| !watch.gone);
        }
        Some(seen.into())
    }
}

/// The control groups that flows were made in, by their files.
pub(crate) fn made_in<'a>(flows: impl Iterator<Item = &'a FlowWatch>) -> BTreeMap<Inode, Option<u64>> {
    flows.map(|watch| (watch.flow.inode, watch.flow.cgroup_id)).collect()
}

/// Open connections of a namespace: `inuse` counts whatever is not in TIME_WAIT, also listeners.
fn open(ns: &Netns) -> Option<u64> {
    let inuse = |name: &str| ns.sockstat(name).value().copied();
    let listening = ns.listeners.value().map_or(0, |listeners| listeners.len() as u64);
    Some((inuse("TCP.inuse")? + inuse("TCP6.inuse").unwrap_or(0)).saturating_sub(listening))
}

/// Takes the first look at what was chosen and is not watched yet.
pub(crate) fn choose<'a>(
    places: impl Iterator<Item = (NetnsId, &'a mut Diag, &'a mut Watch)>,
    choice: Choice<NetnsId>,
    watched: usize,
    at: Duration,
) {
    let mut chosen = choice.finish();
    let mut room = WATCHED.saturating_sub(watched);
    for (id, diag, watch) in places {
        let Some(chosen) = chosen.remove(&id) else { continue };
        let new: Vec<_> = chosen.into_values().filter(|c| !watch.known.contains(&c.flow.cookie)).take(room).collect();
        room -= new.len();
        watch.take(diag, new, at);
    }
}

fn candidate(socket: &Socket<'_>) -> Candidate {
    Candidate {
        flow: Flow {
            local: socket.local(),
            remote: socket.remote(),
            cookie: socket.cookie(),
            inode: socket.inode(),
            cgroup_id: socket.cgroup_id(),
            protocol: if socket.is_subflow() { Protocol::Mptcp } else { Protocol::Tcp },
            congestion: String::new(),
        },
        device: socket.device(),
        token: socket.mptcp_token(),
    }
}

fn count_idle(idle: &mut IdleFlows, socket: &Socket<'_>, since: Duration) {
    match socket.timer() {
        (KEEPALIVE, expires_ms) => idle.add_guarded(u64::from(expires_ms / 1000)),
        (0, _) => idle.add_unguarded(since.as_secs(), || candidate(socket).flow),
        _ => {}
    }
}

/// Gives subflows the file of their MPTCP socket, by the token that both tell.
fn name_subflows(diag: &mut Diag, chosen: &mut [Candidate]) {
    /// Offset of `mptcpi_token` in `struct mptcp_info`.
    const TOKEN: usize = 12;
    if chosen.iter().all(|candidate| candidate.token.is_none()) {
        return;
    }
    for family in [AF_INET, AF_INET6] {
        // Without it the subflows stay without an owner, which is said of them.
        let _ = diag.dump(&Request::mptcp(family, States::OPEN).with(Extensions::INFO), |socket| {
            let token = socket.info().and_then(|info| info.get(TOKEN..TOKEN + 4)).and_then(|b| b.try_into().ok());
            let Some(token) = token.map(u32::from_ne_bytes) else { return };
            for candidate in chosen.iter_mut().filter(|candidate| candidate.token == Some(token)) {
                candidate.flow.inode = socket.inode();
                candidate.flow.cgroup_id = socket.cgroup_id();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tcproof_core::snapshot::Endpoint;

    fn candidate(cookie: u64) -> Candidate {
        let end = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 1);
        let flow = Flow {
            local: end,
            remote: end,
            cookie,
            inode: 1,
            cgroup_id: None,
            protocol: Protocol::Tcp,
            congestion: String::new(),
        };
        Candidate { flow, device: 0, token: None }
    }

    #[test]
    fn the_first_of_every_measure_are_chosen_and_never_more() {
        let mut choice = Choice::of(EACH);
        for n in 1..=100_000_u64 {
            choice.offer(1, [n, 100_001 - n, 0, 0, 0, 0], || candidate(n));
        }
        choice.offer(2, [0, 0, 0, 0, 0, 3], || candidate(7));
        let chosen = choice.finish();
        let first: Vec<_> = chosen[&1].keys().copied().collect();
        let expected: Vec<_> = (1..=16).chain(99_985..=100_000).collect();
        assert_eq!(first, expected);
        assert_eq!(chosen[&2].keys().collect::<Vec<_>>(), [&7]);
    }

    #[test]
    fn what_does_nothing_is_not_chosen() {
        let mut choice = Choice::of(EACH);
        choice.offer(1, [0; MEASURES], || candidate(1));
        assert!(choice.finish().is_empty());
    }
}

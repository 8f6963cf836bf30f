//! What changed between two snapshots, and what the listeners looked like in between.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::{FlowWatch, Flows};
use crate::limits::margins::MISSED;
use crate::reading::{Absent, Reading};
use crate::snapshot::{Endpoint, Listener, Netns, NetnsId, Snapshot};
use crate::trace::{Arrivals, Connects, Counted, Drops, Resent, Trace};

/// Two snapshots of one host and the looks at its listeners between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// At the start.
    pub before: Snapshot,
    /// At the end.
    pub after: Snapshot,
    /// In between.
    pub looks: Looks,
    /// What probes in the kernel counted meanwhile, where there were any.
    #[serde(default)]
    pub trace: Trace,
}

/// What many looks at the listeners add up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looks {
    /// A watch per namespace and listener's cookie.
    pub listeners: BTreeMap<NetnsId, BTreeMap<u64, ListenerWatch>>,
    /// The flows of each namespace that has any.
    #[serde(default)]
    pub flows: BTreeMap<NetnsId, Reading<Flows>>,
}

/// A listener's queue over the window, folded from the looks at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerWatch {
    /// The listener as last seen.
    pub last: Listener,
    /// `drops` at the first look, or zero when the listener was made within the window.
    pub drops_before: Reading<u32>,
    /// Looks taken.
    pub looks: u32,
    /// Looks that saw it full (queue > backlog: the kernel lets one more in than asked for).
    pub full: u32,
    /// Looks that saw it more than half full.
    pub over_half: u32,
    /// Looks that saw it empty.
    pub empty: u32,
    /// Longest queue seen.
    pub longest: u32,
    /// Sum of the queues seen, for the mean.
    pub sum: u64,
    /// Looks at which the queue was shorter than at the look before: somebody accepted.
    pub shrank: u32,
    /// Fastest growth seen between two looks, connections a second: what arrives while nobody accepts.
    pub fastest_growth: f64,
    /// Longest time over which nobody seemed to accept: the queue was not empty and did not shrink.
    pub longest_pause: Duration,
    /// When it was first seen, on the snapshots' clock.
    #[serde(default)]
    pub since: Duration,
    /// When it was last seen, on the snapshots' clock.
    pub at: Duration,
    /// Start of the pause that is under way, if one is.
    pause_since: Option<Duration>,
    /// How long the pause lasted that was under way at the first look: to join it with what came before.
    #[serde(default)]
    first_pause: Duration,
}

impl ListenerWatch {
    /// The first look. `born` says that it was not there at the window's start, so all its drops are the window's.
    pub fn new(listener: Listener, at: Duration, born: bool) -> Self {
        let drops_before = match &listener.drops {
            Reading::Present(_) if born => Reading::Present(0),
            drops => drops.clone(),
        };
        let mut watch = Self {
            drops_before,
            looks: 0,
            full: 0,
            over_half: 0,
            empty: 0,
            longest: 0,
            sum: 0,
            shrank: 0,
            fastest_growth: 0.0,
            longest_pause: Duration::ZERO,
            since: at,
            at,
            pause_since: None,
            first_pause: Duration::ZERO,
            last: listener,
        };
        watch.count();
        watch
    }

    /// A further look.
    pub fn look(&mut self, listener: Listener, at: Duration) {
        let (was, now) = (self.last.queue, listener.queue);
        let since = at.saturating_sub(self.at);
        if now > was && !since.is_zero() {
            self.fastest_growth = self.fastest_growth.max(f64::from(now - was) / since.as_secs_f64());
        }
        if now < was {
            self.shrank += 1;
        }
        self.pause_since = if now == 0 || now < was { None } else { self.pause_since.or(Some(self.at)) };
        if let Some(start) = self.pause_since {
            self.longest_pause = self.longest_pause.max(at.saturating_sub(start));
            if start == self.since {
                self.first_pause = at.saturating_sub(start);
            }
        }
        self.at = at;
        self.last = listener;
        self.count();
    }

    /// Joins what was seen of the same listener from here on. Where the last look is the next watch's first one it counts
    /// once, and the result is that of one watch.
    pub(crate) fn and_then(&mut self, next: Self) {
        let is_shared = next.since == self.at;
        if next.since < self.at {
            return;
        }
        if is_shared {
            let Listener { queue, backlog, .. } = self.last;
            // A recording may say anything.
            self.looks = self.looks.saturating_sub(1);
            self.full = self.full.saturating_sub(u32::from(queue > backlog));
            self.over_half = self.over_half.saturating_sub(u32::from(u64::from(queue) * 2 > u64::from(backlog)));
            self.empty = self.empty.saturating_sub(u32::from(queue == 0));
            self.sum = self.sum.saturating_sub(u64::from(queue));
        }
        self.longest_pause = self.longest_pause.max(next.longest_pause);
        let goes_on = is_shared && next.first_pause > Duration::ZERO;
        let start = self.pause_since.filter(|_| goes_on);
        if is_shared && self.since == self.at {
            self.first_pause = next.first_pause;
        }
        if let Some(start) = start {
            self.longest_pause =
                self.longest_pause.max(next.since.saturating_add(next.first_pause).saturating_sub(start));
            if start == self.since {
                self.first_pause = next.since.saturating_add(next.first_pause).saturating_sub(start);
            }
        }
        self.pause_since = match (next.pause_since, start) {
            (Some(since), Some(start)) if since == next.since => Some(start),
            (None, _) if is_shared && next.since == next.at => self.pause_since,
            (since, _) => since,
        };
        self.looks = self.looks.saturating_add(next.looks);
        self.full = self.full.saturating_add(next.full);
        self.over_half = self.over_half.saturating_add(next.over_half);
        self.empty = self.empty.saturating_add(next.empty);
        self.sum = self.sum.saturating_add(next.sum);
        self.shrank = self.shrank.saturating_add(next.shrank);
        self.longest = self.longest.max(next.longest);
        self.fastest_growth = self.fastest_growth.max(next.fastest_growth);
        self.at = next.at;
        self.last = next.last;
    }

    fn count(&mut self) {
        let Listener { queue, backlog, .. } = self.last;
        self.looks += 1;
        self.full += u32::from(queue > backlog);
        self.over_half += u32::from(u64::from(queue) * 2 > u64::from(backlog));
        self.empty += u32::from(queue == 0);
        self.longest = self.longest.max(queue);
        self.sum += u64::from(queue);
    }

    /// Handshakes this listener dropped within the window.
    pub fn drops(&self) -> Reading<u32> {
        match (&self.drops_before, &self.last.drops) {
            // Same cookie, same socket: a smaller number has wrapped.
            (Reading::Present(before), Reading::Present(after)) => Reading::Present(after.wrapping_sub(*before)),
            (Reading::Absent(why), _) | (_, Reading::Absent(why)) => Reading::Absent(why.clone()),
        }
    }

    /// Whether another listener was there for at least half of the time that this one was. One that was made when this
    /// one had closed is its successor, not its sibling.
    pub fn was_beside(&self, other: &Self) -> bool {
        let (from, until) = (self.since.max(other.since), self.at.min(other.at));
        from <= until && (until - from) * 2 >= self.at - self.since
    }

    /// Share of the looks that saw it full.
    pub fn full_share(&self) -> f64 {
        share(self.full, self.looks)
    }

    /// Share of the looks that saw it more than half full.
    pub fn over_half_share(&self) -> f64 {
        share(self.over_half, self.looks)
    }

    /// Share of the looks that saw it empty.
    pub fn empty_share(&self) -> f64 {
        share(self.empty, self.looks)
    }
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// One namespace at both ends.
#[derive(Clone, Copy, Debug)]
pub struct NetnsChange<'a> {
    /// Which.
    pub id: NetnsId,
    /// At the start.
    pub before: &'a Netns,
    /// At the end.
    pub after: &'a Netns,
    interval: &'a Interval,
}

impl Interval {
    /// The window's length; zero when there was only one reading.
    pub fn window(&self) -> Duration {
        self.after.at.saturating_sub(self.before.at)
    }

    /// Whether there was only one reading: a directory, or one dump. Then nothing is proven, since nothing was seen to happen.
    pub fn is_alone(&self) -> bool {
        self.window().is_zero()
    }

    /// The window's length in seconds.
    pub fn seconds(&self) -> f64 {
        self.window().as_secs_f64()
    }

    /// The namespaces that were seen at both ends. One that came or went within the window has no rates.
    pub fn namespaces(&self) -> impl Iterator<Item = NetnsChange<'_>> {
        self.after.namespaces.iter().filter_map(|(id, after)| {
            let before = self.before.namespaces.get(id)?;
            Some(NetnsChange { id: *id, before, after, interval: self })
        })
    }

    /// One namespace by its name as findings give it.
    pub fn namespace(&self, name: &str) -> Option<NetnsChange<'_>> {
        self.namespaces().find(|ns| ns.after.name == name)
    }

    /// By how much a counter grew, for any pair of readings of the same counter.
    pub fn growth(&self, name: &str, before: Reading<u64>, after: Reading<u64>) -> Reading<u64> {
        match (before, after) {
            (Reading::Present(_), Reading::Present(_)) if self.window().is_zero() => {
                Reading::Absent(Absent::OneReading)
            }
            (Reading::Present(before), Reading::Present(after)) => match after.checked_sub(before) {
                Some(growth) => Reading::Present(growth),
                None => Reading::Absent(Absent::Restarted { what: name.into() }),
            },
            (Reading::Absent(why), _) | (_, Reading::Absent(why)) => Reading::Absent(why),
        }
    }

    /// By how much a 32-bit counter grew. It may have wrapped once; a "growth" of more than half its range is a restart.
    pub fn growth32(&self, name: &str, before: u32, after: u32) -> Reading<u64> {
        if self.window().is_zero() {
            return Reading::Absent(Absent::OneReading);
        }
        match after.wrapping_sub(before) {
            growth if growth <= u32::MAX / 2 => Reading::Present(u64::from(growth)),
            _ => Reading::Absent(Absent::Restarted { what: name.into() }),
        }
    }
}

impl Interval {
    /// Whether another interval begins with the snapshot that this one ends with.
    pub fn is_followed_by(&self, next: &Self) -> bool {
        self.after.at == next.before.at && next.before.at <= next.after.at
    }

    /// Joins the interval that follows: one watch over both, with at most [`Flows::SAMPLES`] looks at each flow. One that
    /// does not follow is refused and given back.
    ///
    /// # Errors
    /// See [`Interval::is_followed_by`].
    pub fn and_then(&mut self, next: Self) -> Result<(), Box<Self>> {
        if !self.is_followed_by(&next) {
            return Err(Box::new(next));
        }
        // Whoever turned up meanwhile was first read then.
        for (pid, process) in next.before.processes {
            self.before.processes.entry(pid).or_insert(process);
        }
        for (inode, pids) in next.before.owners {
            self.before.owners.entry(inode).or_insert(pids);
        }
        for (id, watches) in next.looks.listeners {
            let known = self.looks.listeners.entry(id).or_default();
            for (cookie, watch) in watches {
                match known.entry(cookie) {
                    Entry::Occupied(mut known) => known.get_mut().and_then(watch),
                    Entry::Vacant(place) => {
                        place.insert(watch);
                    }
                }
            }
        }
        for (id, flows) in next.looks.flows {
            match (self.looks.flows.entry(id), flows) {
                (Entry::Vacant(place), flows) => {
                    place.insert(flows);
                }
                (Entry::Occupied(mut known), flows) => match (known.get_mut(), flows) {
                    (Reading::Present(known), Reading::Present(flows)) => known.and_then(flows),
                    (known @ Reading::Present(_), absent) => *known = absent,
                    (Reading::Absent(_), _) => {}
                },
            }
        }
        self.trace.and_then(next.trace);
        self.after = next.after;
        Ok(())
    }

    /// Keeps these namespaces and what exists once per kernel, as a watch of them alone would have it: it misses no other
    /// namespace either.
    pub fn keep_namespaces(&mut self, is_wanted: impl Fn(NetnsId) -> bool) {
        for end in [&mut self.before, &mut self.after] {
            end.namespaces.retain(|id, _| is_wanted(*id));
            end.unseen.clear();
        }
        self.looks.listeners.retain(|id, _| is_wanted(*id));
        self.looks.flows.retain(|id, _| is_wanted(*id));
        self.trace.keep(is_wanted);
    }

    /// Gives up probes that saw nothing of what the counters of these namespaces have plenty of: an attached probe that is
    /// never called would pass for a quiet host.
    pub fn give_up_blind_probes(&mut self) {
        let grew = |names: &[&str]| {
            let of =
                |ns: NetnsChange<'_>| names.iter().filter_map(|name| ns.counter(name).value().copied()).sum::<u64>();
            self.namespaces().map(of).fold(0, u64::saturating_add)
        };
        // tcp_retransmit_skb() counts these, and passes the tracepoint.
        let resent = grew(&["TcpExt.TCPFastRetrans", "TcpExt.TCPSlowStartRetrans"]);
        let opened = grew(&["Tcp.ActiveOpens"]);
        let blind = |name: &str, counted: u64| Absent::Failed {
            what: format!("the probe `{name}`"),
            error: format!("it saw nothing of {counted} events that the counters have"),
        };
        // What a full table left out may have been these.
        fn saw_none<T>(table: &Reading<Counted<T>>, of: impl Fn(&T) -> u64) -> bool {
            table.value().is_some_and(|table| table.lost == 0 && table.rows.iter().all(|row| of(row) == 0))
        }
        let Trace { connects, resent: again, .. } = &mut self.trace;
        if opened >= MISSED && saw_none(connects, |row| row.tried) {
            *connects = Reading::Absent(blind("connects", opened));
        }
        if resent >= MISSED && saw_none(again, |row| row.data) {
            *again = Reading::Absent(blind("resent", resent));
        }
    }
}

impl<'a> NetnsChange<'a> {
    /// The interval it is part of.
    pub fn interval(&self) -> &'a Interval {
        self.interval
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.after.name
    }

    /// By how much a counter (`TcpExt.ListenDrops`) grew.
    pub fn counter(&self, name: &str) -> Reading<u64> {
        self.interval.growth(name, self.before.counter(name), self.after.counter(name))
    }

    /// By how much a field of `/proc/net/stat/nf_conntrack` grew, summed over CPUs.
    pub fn conntrack(&self, field: &str) -> Reading<u64> {
        let get = |ns: &Netns| {
            ns.conntrack.stat.as_ref().and_then(|stat| match stat.get(field) {
                Some(value) => Reading::Present(*value),
                None => Reading::Absent(Absent::not_in_kernel(format!("{field} in nf_conntrack's statistics"))),
            })
        };
        self.interval.growth(&format!("nf_conntrack {field}"), get(self.before), get(self.after))
    }

    /// Its connects, where a probe counted them.
    pub fn connects(&self) -> impl Iterator<Item = &'a Connects> + use<'a> {
        let id = self.id;
        let rows = self.interval.trace.connects.value().map_or(&[][..], |table| &table.rows);
        rows.iter().filter(move |row| row.netns == id)
    }

    /// What arrived at one of its listeners, where a probe counted it.
    pub fn arrivals(&self, watch: &ListenerWatch) -> Option<&'a Arrivals> {
        let rows = &self.interval.trace.arrivals.value()?.rows;
        // They are in order, and there may be thousands of listeners.
        let wanted = (self.id, watch.last.local.port, watch.last.cookie);
        rows.binary_search_by_key(&wanted, |row| (row.netns, row.port, row.cookie)).ok().and_then(|at| rows.get(at))
    }

    /// The longest accept queue of a listener: at an arrival, or else at a look.
    pub fn longest(&self, watch: &ListenerWatch) -> u32 {
        self.arrivals(watch).map_or(watch.longest, |row| row.longest.max(watch.longest))
    }

    /// Its dropped packets, where a probe counted them.
    pub fn drops(&self) -> impl Iterator<Item = &'a Drops> + use<'a> {
        let id = self.id;
        let rows = self.interval.trace.drops.value().map_or(&[][..], |table| &table.rows);
        rows.iter().filter(move |row| row.netns == id)
    }

    /// What became of its connections' segments, where a probe counted it.
    pub fn resent(&self) -> impl Iterator<Item = &'a Resent> + use<'a> {
        let id = self.id;
        let rows = self.interval.trace.resent.value().map_or(&[][..], |table| &table.rows);
        rows.iter().filter(move |row| row.netns == id)
    }

    /// The watches of its listeners.
    pub fn listeners(&self) -> impl Iterator<Item = &'a ListenerWatch> + use<'a> {
        self.interval.looks.listeners.get(&self.id).into_iter().flat_map(BTreeMap::values)
    }

    /// What was seen of its flows; not needed where it has none.
    pub fn flows(&self) -> Reading<&'a Flows> {
        match self.interval.looks.flows.get(&self.id) {
            Some(flows) => flows.as_ref(),
            None => Reading::Absent(Absent::NotNeeded),
        }
    }

    /// The flows that were watched.
    pub fn watched_flows(&self) -> impl Iterator<Item = &'a FlowWatch> + use<'a> {
        let flows = self.interval.looks.flows.get(&self.id).and_then(Reading::value);
        flows.into_iter().flat_map(|flows| &flows.watched)
    }

    /// The watch of the listeners at one endpoint (several with SO_REUSEPORT).
    pub fn listeners_at(&self, local: Endpoint) -> impl Iterator<Item = &'a ListenerWatch> + use<'a> {
        self.listeners().filter(move |watch| watch.last.local == local)
    }

    /// Whether a listener was no more at the window's end.
    pub fn has_closed(&self, watch: &ListenerWatch) -> bool {
        let listeners = self.after.listeners.value();
        listeners.is_some_and(|listeners| listeners.iter().all(|listener| listener.cookie != watch.last.cookie))
    }

    /// The ports that something listens on.
    pub fn listening_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.listeners().map(|watch| watch.last.local.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Handshakes dropped within the window, by listener and in the namespace as a whole.
    pub fn listen_drops(&self) -> ListenDrops {
        let mut attributed = 0;
        let mut unreadable = None;
        for watch in self.listeners() {
            match watch.drops() {
                Reading::Present(drops) => attributed += u64::from(drops),
                Reading::Absent(why) => unreadable = Some(why),
            }
        }
        ListenDrops {
            total: self.counter("TcpExt.ListenDrops"),
            attributed: match unreadable {
                Some(why) => Reading::Absent(why),
                None => Reading::Present(attributed),
            },
        }
    }
}

/// The namespace's `ListenDrops` and how much the listeners' own counters explain. Those count a little more than
/// ListenDrops does (see `limits::at_least`), never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenDrops {
    /// By how much `TcpExt.ListenDrops` grew.
    pub total: Reading<u64>,
    /// The sum of what the listeners themselves counted.
    pub attributed: Reading<u64>,
}

impl ListenDrops {
    /// The most that can have been dropped, by listeners that were seen and by others.
    pub fn everyone(&self) -> u64 {
        let counted = |drops: &Reading<u64>| drops.value().copied().unwrap_or(0);
        counted(&self.total).max(counted(&self.attributed))
    }

    /// Drops that no listener owns up to: it closed within the window, or the two were read a moment apart.
    pub fn unexplained(&self) -> Reading<u64> {
        match (&self.total, &self.attributed) {
            (Reading::Present(total), Reading::Present(attributed)) => {
                Reading::Present(total.saturating_sub(*attributed))
            }
            (Reading::Absent(why), _) | (_, Reading::Absent(why)) => Reading::Absent(why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::{prop_assert_eq, proptest};

    fn listener(queue: u32, drops: u32) -> Listener {
        let listener = Listener::new(Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), 80), 4);
        Listener { cookie: 1, inode: 1, queue, drops: Reading::Present(drops), ..listener }
    }

    fn watch(queues: &[u32]) -> ListenerWatch {
        let ms = |n: usize| Duration::from_millis(n as u64 * 100);
        let mut watch = ListenerWatch::new(listener(queues[0], 0), ms(0), false);
        for (n, queue) in queues.iter().enumerate().skip(1) {
            watch.look(listener(*queue, 0), ms(n));
        }
        watch
    }

    #[test]
    fn a_queue_is_full_at_one_more_than_its_backlog() {
        let seen = watch(&[4, 5, 5]);
        assert_eq!((seen.looks, seen.full, seen.over_half, seen.longest), (3, 2, 3, 5));
    }

    #[test]
    fn a_pause_is_as_long_as_the_queue_stands_or_grows() {
        let seen = watch(&[0, 3, 5, 5, 1, 0, 2]);
        assert_eq!(seen.longest_pause, Duration::from_millis(300));
        assert!((seen.fastest_growth - 30.0).abs() < 1e-9);
        assert_eq!(seen.shrank, 2);
        assert_eq!(watch(&[0, 0, 0]).longest_pause, Duration::ZERO);
    }

    proptest! {
        /// Wherever a watch is cut in two, the look at the cut being the last of one and the first of the other.
        #[test]
        fn halves_of_a_watch_join_to_what_one_watch_gives(
            queues in proptest::collection::vec(0_u32..8, 2..40),
            cuts in proptest::collection::btree_set(0_usize..40, 0..5),
        ) {
            let ms = |n: usize| Duration::from_millis(n as u64 * 100);
            let part = |range: core::ops::RangeInclusive<usize>| {
                let first = *range.start();
                let mut watch = ListenerWatch::new(listener(queues[first], first as u32), ms(first), false);
                range.skip(1).for_each(|n| watch.look(listener(queues[n], n as u32), ms(n)));
                watch
            };
            let last = queues.len() - 1;
            let mut from = 0;
            let mut joined: Option<ListenerWatch> = None;
            for cut in cuts.into_iter().filter(|cut| *cut < last).chain([last]) {
                let next = part(from..=cut);
                from = cut;
                match &mut joined {
                    Some(joined) => joined.and_then(next),
                    None => joined = Some(next),
                }
            }
            prop_assert_eq!(joined, Some(part(0..=last)));
        }
    }

    #[test]
    fn intervals_join_where_one_ends_with_what_the_other_begins_with() {
        let whole = crate::limits::testing::Host::new().grew("TcpExt.ListenDrops", 10);
        let whole = whole.listener(crate::limits::testing::Listen::at("0.0.0.0:80").drops(0, 10)).interval().clone();
        let mut middle = whole.after.clone();
        middle.at = Duration::from_secs(2);
        let mut first = Interval { before: whole.before.clone(), after: middle.clone(), ..Interval::default() };
        let second = Interval { before: middle, ..whole.clone() };
        assert!(second.clone().and_then(first.clone()).is_err());
        first.and_then(second).unwrap();
        assert_eq!(first, whole);
        assert_eq!(first.window(), Duration::from_secs(5));
    }

    #[test]
    fn a_successor_is_not_beside_its_predecessor() {
        let seen = |from: u64, until: u64| {
            let mut watch = ListenerWatch::new(listener(0, 0), Duration::from_millis(from), false);
            watch.look(listener(0, 0), Duration::from_millis(until));
            watch
        };
        let old = seen(0, 2_000);
        assert!(old.was_beside(&seen(0, 5_000)) && old.was_beside(&seen(900, 5_000)));
        assert!(!old.was_beside(&seen(2_020, 5_000)) && !old.was_beside(&seen(1_500, 5_000)));
        // One look at each: the same one.
        assert!(seen(9, 9).was_beside(&seen(9, 9)));
    }

    #[test]
    fn drops_wrap_with_the_socket_and_a_new_listener_owns_all_of_its_own() {
        let mut seen = ListenerWatch::new(listener(0, u32::MAX), Duration::ZERO, false);
        seen.look(listener(0, 2), Duration::from_secs(1));
        assert_eq!(seen.drops(), Reading::Present(3));
        let born = ListenerWatch::new(listener(0, 7), Duration::from_secs(1), true);
        assert_eq!(born.drops(), Reading::Present(7));
    }

    #[test]
    fn a_counter_that_went_down_has_no_rate_and_one_reading_has_none_either() {
        let mut interval = Interval::default();
        let (five, two) = (Reading::Present(5), Reading::Present(2));
        assert_eq!(interval.growth("X", two.clone(), five.clone()), Reading::Absent(Absent::OneReading));
        interval.after.at = Duration::from_secs(1);
        assert_eq!(interval.growth("X", two.clone(), five.clone()), Reading::Present(3));
        assert_eq!(interval.growth("X", five, two), Reading::Absent(Absent::Restarted { what: "X".into() }));
        assert_eq!(interval.growth32("X", u32::MAX, 1), Reading::Present(2));
        assert!(interval.growth32("X", 9, 1).value().is_none());
    }
}

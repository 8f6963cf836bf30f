//! When a patient watch looks: seldom while nothing moves, closely from the moment on that something does.
//!
//! What was dropped is in counters, which miss nothing between two looks; the looks only tell why. So a look that finds a
//! queue in trouble is followed by close ones, through this window and [`HOLD`] more: what goes on has its cause told from
//! hundreds of looks in the next window at the latest.

use std::time::Duration;

use tcproof_core::limits::LOOKS;
use tcproof_core::snapshot::{FlowSample, Listener};
use tcproof_core::{FlowWatch, Interval, ListenerWatch, NetnsChange, Reading};

/// Looks of a window, while nothing moves, are at least so many …
const AT_LEAST: u32 = 10;
/// … and not further apart than this, …
const SELDOM: Duration = Duration::from_millis(1_500);
/// … unless they take long: rest this many times as long, so that they cost at most 0.1 % of a CPU.
const REST: u32 = 1_000;
/// Likewise after flows were chosen, which takes 10 ms where there are 10 000: 0.02 % of a CPU.
const REST_OF_CHOICE: u32 = 5_000;
/// Likewise after connections in CLOSE_WAIT were looked at: 0.01 % of a CPU, and 0.2 % where there are many of one service.
const REST_OF_WALK: (u32, u32) = (10_000, 500);
/// While there are few, and while nothing at all moves, what walks all connections is done once in so many windows, …
const WALK_WINDOWS: u32 = 4;
/// … but those in CLOSE_WAIT are looked at this often.
const WALK_EVERY: Duration = Duration::from_secs(300);
/// In long windows they are chosen this often.
const CHOOSE_EVERY: Duration = Duration::from_secs(60);
/// After the last thing that moved, looks stay close for so many windows.
const HOLD: u32 = 2;
/// While nothing at all moves, looks are this far apart, or as often as a flow needs them to be judged: waking up is most of
/// what a look costs then.
const AT_REST: Duration = Duration::from_millis(3_000);
/// New namespaces, and processes, are looked for once in so many windows, and at least this often.
const FIND: (u32, Duration) = (5, Duration::from_secs(5));
/// Known processes are asked for their namespace and control group again after this long: few ever change them.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What is due so soon is done at once, so that the thread wakes up once and not twice.
pub(crate) const SOON: Duration = Duration::from_millis(50);

/// Of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    close_until: Duration,
}

impl Patience {
    /// Something moved.
    pub(crate) fn lose(&mut self, now: Duration, window: Duration) {
        self.close_until = now.saturating_add(window.saturating_mul(HOLD));
    }

    /// Whether looks are to be close.
    pub(crate) fn is_lost(self, now: Duration) -> bool {
        now < self.close_until
    }
}

/// Time between two patient looks, the last of which took `cost`.
pub(crate) fn between_looks(window: Duration, cost: Duration) -> Duration {
    (cost * REST).max(SELDOM.min(window / AT_LEAST)).min(window / 2)
}

/// Time between two looks at connections in CLOSE_WAIT, the last of which took `cost`.
pub(crate) fn between_walks(window: Duration, cost: Duration, is_pile: bool) -> Duration {
    let (rest, rest_of_pile) = REST_OF_WALK;
    match is_pile {
        true => (cost * rest_of_pile).min(WALK_EVERY),
        false => (cost * rest).max(window.saturating_mul(WALK_WINDOWS)).min(WALK_EVERY),
    }
}

/// Time between two choices of flows while nothing moves; `between` is what it is else.
pub(crate) fn between_choices_at_rest(window: Duration, between: Duration) -> Duration {
    between.saturating_mul(2).max(window.saturating_mul(WALK_WINDOWS).min(CHOOSE_EVERY))
}

/// Time between two looks in a window after one in which nothing moved.
pub(crate) fn at_rest(window: Duration, sample_every: Duration) -> Duration {
    AT_REST.min(window / LOOKS as u32).max(sample_every)
}

/// Segments a second that keepalives and a scrape make, and no flow that is held back.
const FEW_SEGMENTS: f64 = 50.0;

/// Whether nothing moved in a window: fewer connections came than seconds passed, which can't fill a queue unseen, few
/// segments went either way, and no flow that is watched did anything.
pub(crate) fn is_at_rest(interval: &Interval) -> bool {
    let is_quiet = |ns: NetnsChange<'_>| {
        let grew = |name: &str| ns.counter(name).value().map(|grew| *grew as f64);
        let opened = grew("Tcp.PassiveOpens");
        let segments = grew("Tcp.InSegs").zip(grew("Tcp.OutSegs")).map(|(r#in, out)| r#in + out);
        let seconds = interval.seconds();
        opened.is_some_and(|opened| opened < seconds) && segments.is_some_and(|n| n < seconds * FEW_SEGMENTS)
    };
    let mut watched = interval.looks.flows.values().filter_map(Reading::value).flat_map(|flows| &flows.watched);
    interval.namespaces().all(is_quiet) && !watched.any(is_moving)
}

/// Whether a flow does something, or would: bytes wait to be sent or read.
pub(crate) fn is_moving(watch: &FlowWatch) -> bool {
    let done = |sample: &FlowSample| (sample.bytes_acked, sample.bytes_received, sample.data_segs_out);
    let last = watch.last();
    last.wqueue > 0 || last.rqueue > 0 || watch.samples.iter().any(|sample| done(sample) != done(&last))
}

/// Time between two searches for namespaces.
pub(crate) fn between_finds(window: Duration) -> Duration {
    window.saturating_mul(FIND.0).min(FIND.1)
}

/// Time between two choices of flows, the last of which took `cost`: so many whole windows, since flows that are chosen in the
/// midst of one are looked at too seldom to be judged.
pub(crate) fn between_choices(window: Duration, cost: Duration) -> Duration {
    let round = window.clamp(Duration::from_millis(1), CHOOSE_EVERY);
    let rounds = (cost * REST_OF_CHOICE).as_nanos().div_ceil(round.as_nanos());
    round.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX).max(1))
}

/// Whether a look found something that calls for closer ones: handshakes were dropped since the look before, or the queue is
/// more than half full and not as it was. One that stands still is no different at closer looks.
pub(crate) fn moved(known: Option<&ListenerWatch>, now: &Listener) -> bool {
    let is_long = u64::from(now.queue) * 2 > u64::from(now.backlog);
    let Some(known) = known else { return is_long || matches!(now.drops, Reading::Present(drops) if drops > 0) };
    known.last.drops != now.drops || (is_long && known.last.queue != now.queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use tcproof_core::snapshot::{Endpoint, Flow, Netns, NetnsId, Protocol, Snapshot};
    use tcproof_core::{Flows, Looks};

    const WINDOW: Duration = Duration::from_secs(15);

    fn listener(queue: u32, drops: u32) -> Listener {
        Listener {
            local: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80),
            device: 0,
            protocol: Protocol::Tcp,
            cookie: 1,
            inode: 1,
            uid: 0,
            queue,
            backlog: 128,
            drops: Reading::Present(drops),
            cgroup_id: None,
        }
    }

    fn after(first: Listener, second: &Listener) -> bool {
        moved(Some(&ListenerWatch::new(first, Duration::ZERO, false)), second)
    }

    #[test]
    fn a_drop_or_a_queue_that_fills_calls_for_closer_looks() {
        assert!(!after(listener(0, 7), &listener(0, 7)));
        assert!(!after(listener(0, 7), &listener(64, 7)));
        assert!(after(listener(0, 7), &listener(65, 7)));
        assert!(after(listener(0, 7), &listener(0, 8)));
        // The counter has 32 bits, and wraps.
        assert!(after(listener(0, u32::MAX), &listener(0, 0)));
        // Nobody connects any more, and nobody accepts.
        assert!(!after(listener(129, 7), &listener(129, 7)));
    }

    #[test]
    fn a_listener_made_within_the_window_has_had_no_look_before() {
        assert!(!moved(None, &listener(0, 0)));
        assert!(moved(None, &listener(0, 1)));
        assert!(moved(None, &listener(129, 0)));
    }

    #[test]
    fn looks_stay_close_for_two_windows_after_the_last_thing_that_moved() {
        let mut patience = Patience::default();
        assert!(!patience.is_lost(Duration::ZERO));
        patience.lose(Duration::from_secs(7), WINDOW);
        assert!(patience.is_lost(Duration::from_secs(7)) && patience.is_lost(Duration::from_secs(36)));
        assert!(!patience.is_lost(Duration::from_secs(37)));
        patience.lose(Duration::from_secs(20), WINDOW);
        assert!(patience.is_lost(Duration::from_secs(49)) && !patience.is_lost(Duration::from_secs(50)));
        patience.lose(Duration::MAX, Duration::MAX);
    }

    #[test]
    fn at_rest_a_window_has_as_many_looks_as_a_flow_is_judged_by() {
        let millis = Duration::from_millis;
        for (window, sample_every, between) in [
            (WINDOW, millis(1_500), millis(3_000)),
            (millis(1_000), millis(500), millis(500)),
            (millis(200), millis(100), millis(100)),
            (Duration::from_secs(3_600), millis(5_000), millis(5_000)),
        ] {
            assert_eq!(at_rest(window, sample_every), between, "{window:?}");
        }
        assert_eq!(between_finds(WINDOW), Duration::from_secs(5));
        assert_eq!(between_finds(millis(200)), millis(1_000));
    }

    /// A window of one namespace, in which so many connections came and a flow did this.
    fn interval(opened: Option<u64>, samples: [FlowSample; 2]) -> Interval {
        let end = |at, passive: Option<u64>| {
            let counters = passive.into_iter().flat_map(|passive| {
                // Three segments each way for a connection.
                [("Tcp.PassiveOpens", 1), ("Tcp.InSegs", 3), ("Tcp.OutSegs", 3)]
                    .map(|(name, n)| (name.into(), passive * n))
            });
            let counters = counters.collect();
            let namespaces = BTreeMap::from([(NetnsId(1), Netns { counters, ..Netns::default() })]);
            Snapshot { at, namespaces, ..Snapshot::default() }
        };
        let here = Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80);
        let flow = Flow {
            local: here,
            remote: here,
            cookie: 1,
            inode: 1,
            cgroup_id: None,
            protocol: Protocol::Tcp,
            congestion: String::new(),
        };
        let watched = vec![FlowWatch { flow, samples: samples.into(), gone: false }];
        let flows = Reading::Present(Flows { watched, ..Flows::default() });
        let looks = Looks { flows: BTreeMap::from([(NetnsId(1), flows)]), ..Looks::default() };
        Interval { before: end(Duration::ZERO, Some(0)), after: end(WINDOW, opened), looks, ..Interval::default() }
    }

    #[test]
    fn at_rest_is_who_takes_few_connections_and_moves_no_flow() {
        let idle = FlowSample { bytes_acked: 7, ..FlowSample::default() };
        assert!(is_at_rest(&interval(Some(14), [idle; 2])));
        assert!(!is_at_rest(&interval(Some(15), [idle; 2])));
        // Ten connections whose flows nobody chose.
        let mut busy = interval(Some(0), [idle; 2]);
        for ns in busy.after.namespaces.values_mut() {
            ns.counters.insert("Tcp.InSegs".into(), 750);
        }
        assert!(!is_at_rest(&busy));
        // What can't be read may be anything.
        assert!(!is_at_rest(&interval(None, [idle; 2])));
        for moving in [
            FlowSample { bytes_acked: 8, ..idle },
            FlowSample { bytes_received: 1, ..idle },
            FlowSample { data_segs_out: 1, ..idle },
            FlowSample { wqueue: 1, ..idle },
            FlowSample { rqueue: 1, ..idle },
        ] {
            assert!(!is_at_rest(&interval(Some(0), [idle, moving])), "{moving:?}");
        }
    }

    #[test]
    fn flows_are_chosen_at_the_start_of_a_window_or_of_a_minute() {
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        for (window, cost, between) in [
            (WINDOW, Duration::ZERO, WINDOW),
            (WINDOW, millis(3), WINDOW),
            (WINDOW, millis(10), WINDOW * 4),
            (WINDOW, millis(100), WINDOW * 34),
            (millis(200), millis(1), seconds(5)),
            (seconds(3_600), millis(1), seconds(60)),
        ] {
            assert_eq!(between_choices(window, cost), between, "{window:?} {cost:?}");
        }
    }

    #[test]
    fn walks_of_all_connections_are_paid_for_but_never_five_minutes_apart() {
        let millis = Duration::from_millis;
        for (cost, is_pile, between) in [
            (millis(2), false, WINDOW * 4),
            (millis(2), true, millis(1_000)),
            (millis(8), false, millis(80_000)),
            (millis(131), false, Duration::from_secs(300)),
            (millis(131), true, millis(65_500)),
        ] {
            assert_eq!(between_walks(WINDOW, cost, is_pile), between, "{cost:?}");
        }
        for (window, between, at_rest) in [
            (WINDOW, WINDOW, WINDOW * 4),
            (WINDOW, WINDOW * 3, WINDOW * 6),
            (millis(200), millis(200), millis(800)),
            (Duration::from_secs(3_600), millis(60_000), millis(120_000)),
        ] {
            assert_eq!(between_choices_at_rest(window, between), at_rest, "{window:?} {between:?}");
        }
    }

    #[test]
    fn a_window_has_looks_enough_and_they_cost_little() {
        let millis = Duration::from_millis;
        for (window, cost, between) in [
            (WINDOW, Duration::ZERO, millis(1_500)),
            (WINDOW, Duration::from_micros(200), millis(1_500)),
            (WINDOW, millis(5), millis(5_000)),
            (WINDOW, millis(500), millis(7_500)),
            (millis(200), Duration::from_micros(10), millis(20)),
            (millis(1_000), Duration::from_micros(200), millis(200)),
            (Duration::from_secs(3_600), Duration::ZERO, millis(1_500)),
        ] {
            assert_eq!(between_looks(window, cost), between, "{window:?} {cost:?}");
        }
    }
}

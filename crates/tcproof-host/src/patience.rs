//! When a patient watch looks: seldom while nothing moves, closely from the moment on that something does.
//!
//! What was dropped is in counters, which miss nothing between two looks; the looks only tell why. So a look that finds a
//! queue in trouble is followed by close ones, through this window and [`HOLD`] more: what goes on has its cause told from
//! hundreds of looks in the next window at the latest.

use std::time::Duration;

use tcproof_core::snapshot::Listener;
use tcproof_core::{ListenerWatch, Reading};

/// Looks of a window, while nothing moves, are at least so many …
const AT_LEAST: u32 = 10;
/// … and not further apart than this, …
const SELDOM: Duration = Duration::from_millis(1_500);
/// … unless they take long: rest this many times as long, so that they cost at most 0.1 % of a CPU.
const REST: u32 = 1_000;
/// Likewise after flows were chosen, which takes 10 ms where there are 10 000: 0.02 % of a CPU.
const REST_OF_CHOICE: u32 = 5_000;
/// In long windows they are chosen this often.
const CHOOSE_EVERY: Duration = Duration::from_secs(60);
/// After the last thing that moved, looks stay close for so many windows.
const HOLD: u32 = 2;

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
    use std::net::Ipv4Addr;
    use tcproof_core::snapshot::{Endpoint, Protocol};

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

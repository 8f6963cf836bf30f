//! One direction of an emulated link: what becomes of a packet, and when.
//!
//! It does no I/O and reads no clock: times are arguments, since any moment.

use std::time::Duration;

use crate::kit::spoof::SplitMix;
use crate::scenario::link::{MTU, Reorder};
use crate::scenario::server::Pause;
use crate::scenario::{Link, Side};

/// A queue whose scenario does not say how long it is.
const DEFAULT_QUEUE: Duration = Duration::from_millis(100);
/// What such a queue holds at least: a few packets, however slow the link is.
const LEAST_QUEUE: u64 = 10 * MTU as u64;
/// Bytes on their way at one time, at most, so that no scenario takes the machine's memory.
const MAX_WAITING: u64 = 256 << 20;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives at this time.
    Arrives(Duration),
    /// It is dropped.
    Dropped(Cause),
    /// It is dropped, and its sender is told the MTU.
    Refused(u16),
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Chance.
    Loss,
    /// The queue was full.
    Queue,
    /// It was larger than the MTU.
    Mtu,
    /// The link is cut.
    Cut,
}

impl Cause {
    /// In statistics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Queue => "queue",
            Self::Mtu => "mtu",
            Self::Cut => "cut",
        }
    }
}

/// One direction.
pub(crate) struct Path {
    side: Side,
    delay: Duration,
    bits_per_second: Option<u64>,
    queue: Option<u64>,
    loss: f64,
    mtu: u16,
    icmp: bool,
    stall: Option<Pause>,
    reorder: Option<Reorder>,
    cut: bool,
    timestamps_back: Duration,
    random: SplitMix,
    /// When the last packet will have left the queue.
    busy_until: Duration,
}

impl Path {
    /// The direction of `link` that leads to `side`.
    pub(crate) fn new(link: &Link, side: Side) -> Self {
        let mut path = Self {
            side,
            delay: Duration::ZERO,
            bits_per_second: None,
            queue: None,
            loss: 0.0,
            mtu: MTU,
            icmp: false,
            stall: None,
            reorder: None,
            cut: false,
            timestamps_back: Duration::ZERO,
            // Both directions draw from the same seed, but not the same numbers.
            random: SplitMix(link.seed.unwrap_or(1).wrapping_mul(2) + u64::from(side == Side::Client)),
            busy_until: Duration::ZERO,
        };
        path.change(link);
        path
    }

    /// Takes over what `link` says, for both directions and then for this one. Packets on their way stay as they are.
    pub(crate) fn change(&mut self, link: &Link) {
        for link in std::iter::once(link).chain(link.towards(self.side)) {
            let set = |field: &mut Duration, value: Option<crate::scenario::Time>| {
                *field = value.map_or(*field, |time| time.0);
            };
            set(&mut self.delay, link.delay);
            set(&mut self.timestamps_back, link.timestamps_back);
            self.bits_per_second = link.bits_per_second.map(|bits| bits.0).or(self.bits_per_second);
            self.queue = link.queue.map(|bytes| bytes.0.into()).or(self.queue);
            self.loss = link.loss.map_or(self.loss, |share| share.0);
            self.mtu = link.mtu.unwrap_or(self.mtu);
            self.icmp = link.icmp.unwrap_or(self.icmp);
            self.stall = link.stall.or(self.stall);
            self.reorder = link.reorder.or(self.reorder);
            self.cut = link.cut.unwrap_or(self.cut);
        }
    }

    /// By how many milliseconds the clock in TCP timestamps goes back; none for zero.
    pub(crate) fn timestamps_back(&self) -> Option<u32> {
        u32::try_from(self.timestamps_back.as_millis()).ok().filter(|ms| *ms > 0)
    }

    /// What becomes of a packet of `bytes` that comes `now`, while `waiting` bytes are on their way.
    pub(crate) fn offer(&mut self, now: Duration, bytes: usize, waiting: u64) -> Fate {
        if self.cut {
            return Fate::Dropped(Cause::Cut);
        }
        if bytes > self.mtu.into() {
            return if self.icmp { Fate::Refused(self.mtu) } else { Fate::Dropped(Cause::Mtu) };
        }
        if self.happens(self.loss) {
            return Fate::Dropped(Cause::Loss);
        }
        let bytes = bytes as u64;
        let mut leaves = now;
        if let Some(rate) = self.bits_per_second {
            let begins = self.busy_until.max(now);
            let queue = self.queue.unwrap_or_else(|| bytes_in(DEFAULT_QUEUE, rate).max(LEAST_QUEUE));
            if bytes_in(begins - now, rate) + bytes > queue {
                return Fate::Dropped(Cause::Queue);
            }
            leaves = begins + time_of(bytes, rate);
        }
        if waiting + bytes > MAX_WAITING {
            return Fate::Dropped(Cause::Queue);
        }
        self.busy_until = leaves;
        let mut arrives = leaves + self.delay;
        if let Some(reorder) = self.reorder
            && self.happens(reorder.share.0)
        {
            arrives += reorder.by.0;
        }
        Fate::Arrives(self.held_up(arrives))
    }

    /// One draw; none for what never happens, so that a change in mid-run does not shift the draws of another.
    fn happens(&mut self, share: f64) -> bool {
        // The upper 53 bits are as many as a double has.
        share > 0.0 && ((self.random.next() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// What would arrive during a stall arrives at its end.
    fn held_up(&self, arrives: Duration) -> Duration {
        let Some(stall) = self.stall else { return arrives };
        let every = stall.every.0.as_nanos().max(1);
        let within = arrives.as_nanos() % every;
        if within < every - stall.length.0.as_nanos().min(every) {
            return arrives;
        }
        arrives + Duration::from_nanos((every - within) as u64)
    }
}

fn time_of(bytes: u64, bits_per_second: u64) -> Duration {
    Duration::from_nanos(bytes * 8_000_000_000 / bits_per_second)
}

fn bytes_in(time: Duration, bits_per_second: u64) -> u64 {
    (time.as_nanos() * u128::from(bits_per_second) / 8_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn link(text: &str) -> Link {
        toml::from_str(text).expect("a link")
    }

    fn path(text: &str) -> Path {
        Path::new(&link(text), Side::Server)
    }

    #[test]
    fn delay_is_added_and_nothing_else() {
        let mut path = path("delay = \"25ms\"");
        for now in [ms(0), ms(7), ms(7)] {
            assert_eq!(path.offer(now, 1500, 0), Fate::Arrives(now + ms(25)));
        }
    }

    #[test]
    fn a_rate_spaces_packets_and_an_idle_link_forgets() {
        // 1000 bytes take 1 ms.
        let mut path = path("bits-per-second = 8000000\ndelay = \"10ms\"");
        assert_eq!(path.offer(ms(0), 1000, 0), Fate::Arrives(ms(11)));
        assert_eq!(path.offer(ms(0), 1000, 0), Fate::Arrives(ms(12)));
        assert_eq!(path.offer(ms(1), 500, 0), Fate::Arrives(Duration::from_micros(12_500)));
        assert_eq!(path.offer(ms(100), 1000, 0), Fate::Arrives(ms(111)));
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped_at_its_tail() {
        let mut path = path("bits-per-second = 8000000\nqueue = 3000");
        for n in 1..=3 {
            assert_eq!(path.offer(ms(0), 1000, 0), Fate::Arrives(ms(n)));
        }
        assert_eq!(path.offer(ms(0), 1, 0), Fate::Dropped(Cause::Queue));
        // One has left: there is room for one.
        assert_eq!(path.offer(ms(1), 1000, 0), Fate::Arrives(ms(4)));
        assert_eq!(path.offer(ms(1), 1000, 0), Fate::Dropped(Cause::Queue));
    }

    #[test]
    fn losses_are_as_many_as_said_and_the_same_every_time() {
        let losses = |text| -> Vec<u64> {
            let mut path = path(text);
            let lost = |n: &u64| path.offer(ms(*n), 1500, 0) == Fate::Dropped(Cause::Loss);
            (0..100_000).filter(lost).collect()
        };
        let lost = losses("loss = 0.01");
        assert!((900..1100).contains(&lost.len()), "{}", lost.len());
        assert_eq!(lost, losses("loss = 0.01\nseed = 1"));
        assert_ne!(lost, losses("loss = 0.01\nseed = 2"));
        assert_eq!((losses("loss = 0").len(), losses("loss = 1").len()), (0, 100_000));
    }

    #[test]
    fn a_stall_holds_everything_up_until_its_end() {
        let mut path = path("stall = { every = \"1s\", for = \"300ms\" }");
        for (now, arrives) in [(0, 0), (699, 699), (700, 1000), (999, 1000), (1000, 1000), (1700, 2000)] {
            assert_eq!(path.offer(ms(now), 100, 0), Fate::Arrives(ms(arrives)), "{now}");
        }
    }

    #[test]
    fn large_packets_vanish_or_are_refused() {
        let mut path = path("mtu = 1280");
        assert_eq!(path.offer(ms(0), 1280, 0), Fate::Arrives(ms(0)));
        assert_eq!(path.offer(ms(0), 1281, 0), Fate::Dropped(Cause::Mtu));
        path.change(&link("icmp = true"));
        assert_eq!(path.offer(ms(0), 1281, 0), Fate::Refused(1280));
    }

    #[test]
    fn some_packets_are_overtaken() {
        let mut path = path("delay = \"10ms\"\nreorder = { share = 1, by = \"3ms\" }");
        assert_eq!(path.offer(ms(0), 100, 0), Fate::Arrives(ms(13)));
        path.change(&link("reorder = { share = 0, by = \"3ms\" }"));
        assert_eq!(path.offer(ms(1), 100, 0), Fate::Arrives(ms(11)));
    }

    #[test]
    fn a_change_overrides_what_it_names_and_its_direction_most() {
        let mut path = path("delay = \"10ms\"\n[to-server]\ncut = true\n[to-client]\ndelay = \"5ms\"");
        assert_eq!(path.offer(ms(0), 100, 0), Fate::Dropped(Cause::Cut));
        path.change(&link("cut = false\n[to-client]\ncut = true"));
        assert_eq!(path.offer(ms(0), 100, 0), Fate::Arrives(ms(10)));
        path.change(&link("delay = \"1ms\"\n[to-server]\ndelay = \"2ms\""));
        assert_eq!(path.offer(ms(0), 100, 0), Fate::Arrives(ms(2)));
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(path("delay = \"60s\"").offer(ms(0), 1500, MAX_WAITING), Fate::Dropped(Cause::Queue));
    }
}

//! # tcp-memory
//!
//! ## What it is
//! The memory that all TCP sockets of all network namespaces together may hold: `net.ipv4.tcp_mem`, three numbers in
//! pages, not bytes. Above the second one the kernel is in memory pressure until it falls below the first: buffers stop
//! growing, windows shrink, queues are collapsed. Above the third one it refuses memory: arriving data is dropped and
//! sent again by the peer, and sockets that nobody holds any more are reset.
//!
//! ## Evidence
//! - `TcpExt.TCPMemoryPressures` counts how often the kernel entered pressure. The state is global; the event is
//!   counted in the namespace whose socket set it off, so all namespaces are added up.
//! - Preferred for the third number: a refusal itself, as a probe sees it (eBPF at `sock_exceed_buf_limit`, with the pages
//!   that were allocated then). The state at both ends of the window misses what was refused in between.
//! - `mem` of sockstat against `tcp_mem`. It lags: each CPU may hold back 256 pages (since 6.0). Only the initial
//!   namespace shows `tcp_mem`.
//! - Pressure alone loses nothing. It hurts when `TcpExt.RcvPruned` or `TcpExt.TCPRcvQDrop` (data dropped) or
//!   `TcpExt.PruneCalled` (queues collapsed: the work, not a loss) grow meanwhile. Without pressure those three are
//!   about single sockets' buffers, not about this limit.
//!
//! Causes: `pressure` (more than the second number), `hard-limit` (as much as the third number: memory is refused).
//!
//! ## See it yourself
//! - `cat /proc/sys/net/ipv4/tcp_mem; grep ^TCP: /proc/net/sockstat`: `mem` is in pages of the same size.
//! - `nstat -az TcpExtTCPMemoryPressures TcpExtPruneCalled TcpExtRcvPruned TcpExtTCPRcvQDrop TcpExtTCPAbortOnMemory`
//! - `ss -tmp`: `r` and `w` in skmem are what a socket holds, and who holds it.
//! - `dmesg | grep 'out of memory -- consider tuning tcp_mem'`
//!
//! ## Look-alikes
//! - `orphans`: `TcpExt.TCPAbortOnMemory` also counts resets for too many orphaned sockets; the kernel log says which.
//! - A control group's memory limit makes the same receive symptoms while TCPMemoryPressures stands still.
//! - A socket's own full receive buffer: PruneCalled grows, `mem` is far from `tcp_mem`.
//!
//! ## Remedy
//! Whoever holds the memory first: a reader that does not keep up, a sender that queues more than it can send, a leak.
//! Then smaller buffers: the third number of tcp_rmem and tcp_wmem, or TCP_NOTSENT_LOWAT. Only then tcp_mem itself:
//! half as much again, at most a quarter of the memory, with the second number at 3/4 and the first at 1/2 of it.
//!
//! ## References
//! tcp(7) `tcp_mem`; net/core/sock.c `__sk_mem_raise_allocated`, net/ipv4/tcp.c `tcp_enter_memory_pressure` and
//! `tcp_check_oom`, net/ipv4/tcp_input.c `tcp_prune_queue`.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, percent, so_far, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::Snapshot;

/// The memory of all TCP sockets.
pub(super) static LIMIT: Limit = Limit {
    slug: "tcp-memory",
    title: "TCP memory",
    causes: &[
        ("pressure", "all sockets together hold more than the second number of tcp_mem: buffers and windows shrink"),
        ("hard-limit", "all sockets together hold as much as the third number of tcp_mem: memory is refused"),
    ],
    reads: &[
        "sock_exceed_buf_limit (eBPF)",
        "kfree_skb: PROTO_MEM (eBPF)",
        "sockstat TCP.mem",
        "TcpExt.TCPMemoryPressures",
        "TcpExt.PruneCalled",
        "TcpExt.RcvPruned",
        "TcpExt.TCPRcvQDrop",
        "TcpExt.TCPAbortOnMemory",
    ],
    look_alikes: &["orphans"],
    knobs: &["net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"],
    scenarios: &[],
    source: include_str!("tcp_memory.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

/// Use beyond this share of the pressure mark is near.
const NEAR: f64 = 0.8;
/// Pages that a CPU may hold back from the common count (`net.core.mem_pcpu_rsv`, since 6.0).
const LAG_PAGES: u64 = 256;
/// The kernel may count an orphan up to four times against `tcp_max_orphans` (shift 2 in `tcp_out_of_resources`).
const ORPHAN_PENALTY: u64 = 4;
/// `tcp_mem` may take this part of the memory, not more: the kernel cannot reclaim it.
const MEMORY_PART: u64 = 4;

const SYMPTOMS: [&str; 4] = ["TcpExt.PruneCalled", "TcpExt.RcvPruned", "TcpExt.TCPRcvQDrop", "TcpExt.TCPAbortOnMemory"];

/// Pages held by TCP: the higher of the two ends.
fn peak_pages(interval: &Interval) -> Reading<u64> {
    peak(&interval.before, &interval.after, |snapshot| &snapshot.system.tcp_pages)
}

fn peak(before: &Snapshot, after: &Snapshot, of: impl Fn(&Snapshot) -> &Reading<u64>) -> Reading<u64> {
    match (of(before), of(after)) {
        (Reading::Present(before), Reading::Present(after)) => Reading::Present(*before.max(after)),
        // One reading still stands for itself; the end decides why there is none.
        (Reading::Present(one), _) | (_, Reading::Present(one)) => Reading::Present(*one),
        (_, Reading::Absent(why)) => Reading::Absent(why.clone()),
    }
}

/// By how much a counter grew in all namespaces together; absent when no namespace had it.
fn grew(interval: &Interval, name: &str) -> Reading<u64> {
    let mut missing = Absent::not_in_kernel(name);
    let mut sum = None;
    for ns in interval.namespaces() {
        match ns.counter(name) {
            Reading::Present(growth) => sum = Some(sum.unwrap_or(0_u64).saturating_add(growth)),
            Reading::Absent(why) => missing = why,
        }
    }
    sum.map_or(Reading::Absent(missing), Reading::Present)
}

/// What `detect` and `ruled_out` judge by.
struct Seen {
    pressures: Reading<u64>,
    pages: Reading<u64>,
    mem: Reading<[u64; 3]>,
    /// Segments that found no memory. The kernel counts most of them twice, as pruned and as dropped.
    dropped: u64,
    collapsed: u64,
    aborts: u64,
    /// Times that the kernel refused memory for the third number's sake, as a probe saw it.
    refused: u64,
}

impl Seen {
    fn of(interval: &Interval) -> Self {
        let some = |name| grew(interval, name).value().copied().unwrap_or(0);
        Self {
            pressures: grew(interval, "TcpExt.TCPMemoryPressures"),
            pages: peak_pages(interval),
            mem: interval.after.system.tcp_mem.clone(),
            dropped: some("TcpExt.RcvPruned").max(some("TcpExt.TCPRcvQDrop")),
            collapsed: some("TcpExt.PruneCalled"),
            aborts: some("TcpExt.TCPAbortOnMemory"),
            refused: interval.trace.memory.value().map_or(0, |table| table.rows.iter().map(|row| row.beyond).sum()),
        }
    }

    fn level(&self) -> Option<(u64, [u64; 3])> {
        Some((*self.pages.value()?, *self.mem.value()?))
    }

    /// Whether the kernel was in pressure at some moment of the window.
    fn in_pressure(&self) -> bool {
        self.pressures.value().is_some_and(|n| *n > 0) || self.level().is_some_and(|(pages, mem)| pages > mem[1])
    }

    /// Whether the third number was reached, as far as the lagging count can tell. Where the lag is wider than the
    /// distance between the second and the third number, pressure is the least that must be seen.
    fn at_hard_limit(&self, cpus: u32) -> bool {
        self.refused > 0
            || self.level().is_some_and(|(pages, mem)| {
                let lag = u64::from(cpus) * LAG_PAGES;
                pages >= mem[2].saturating_sub(lag) && pages > mem[1]
            })
    }

    fn share(&self) -> Option<f64> {
        self.level().map(|(pages, mem)| pages as f64 / mem[1].max(1) as f64)
    }
}

/// Whether orphans can explain resets: the kernel's own test with its highest penalty. `None` where it can't be read.
fn orphans_explain_aborts(interval: &Interval) -> Option<bool> {
    let orphans = *peak(&interval.before, &interval.after, |snapshot| &snapshot.system.orphans).value()?;
    let max = *interval.after.system.tcp_max_orphans.value()?;
    Some(orphans.saturating_mul(ORPHAN_PENALTY) > max)
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    // Up to the pressure mark, not the hard limit: beyond it every connection pays.
    let level = Seen::of(interval).level();
    let row = level.map(|(pages, mem)| Headroom {
        limit: LIMIT.slug.into(),
        subject: Subject::Host,
        used: pages,
        capacity: mem[1],
        unit: "pages".into(),
    });
    row.into_iter().collect()
}

fn detect(interval: &Interval) -> Detected {
    let seen = Seen::of(interval);
    let mut detected = Detected::default();
    for (reading, why) in [("sockstat TCP.mem", seen.pages.absent()), ("net.ipv4.tcp_mem", seen.mem.absent())] {
        detected.unknown.extend(why.and_then(|why| unknown(&LIMIT, None, reading, why)));
    }
    // Without the symptoms' counters, pressure that hurts looks like pressure that does not.
    let symptoms = if seen.in_pressure() { &SYMPTOMS[..] } else { &[] };
    for name in ["TcpExt.TCPMemoryPressures"].iter().chain(symptoms) {
        for ns in interval.namespaces() {
            let missing = ns.counter(name);
            detected.unknown.extend(missing.absent().and_then(|why| unknown(&LIMIT, Some(ns.name()), name, why)));
        }
    }
    let hard = seen.at_hard_limit(interval.after.host.cpus);
    let orphans = orphans_explain_aborts(interval);
    let aborts = if hard && orphans != Some(true) { seen.aborts } else { 0 };
    let hurt = seen.dropped.saturating_add(aborts);
    let (state, cause, confidence) = if hard {
        match hurt.max(seen.refused) {
            0 => (State::Near, "hard-limit", Confidence::Proven),
            // A reset alone may have been an orphan's.
            _ if seen.dropped == 0 && seen.refused == 0 && orphans.is_none() => {
                (State::Limiting, "hard-limit", Confidence::Likely)
            }
            _ => (State::Limiting, "hard-limit", Confidence::Proven),
        }
    } else if seen.in_pressure() {
        match (seen.dropped, seen.collapsed) {
            (0, 0) => (State::Near, "pressure", Confidence::Proven),
            // Collapsing queues costs CPU time; that data was delayed by it is not seen.
            (0, _) => (State::Limiting, "pressure", Confidence::Likely),
            _ => (State::Limiting, "pressure", Confidence::Proven),
        }
    } else {
        if seen.share().is_some_and(|share| share >= NEAR) {
            detected.findings.push(finding(interval, &seen, State::Near, "pressure", Confidence::Proven, 0));
        }
        detected.unknown.extend(unplaced_aborts(interval, &seen, orphans));
        return detected;
    };
    let hurt = if state == State::Limiting { hurt } else { 0 };
    detected.findings.push(finding(interval, &seen, state, cause, confidence, hurt));
    detected
}

/// Resets for want of memory while neither of the two limits they stand for was seen to be reached.
fn unplaced_aborts(interval: &Interval, seen: &Seen, orphans: Option<bool>) -> Option<Unknown> {
    (seen.aborts > 0 && orphans == Some(false)).then(|| Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("{} TcpExt.TCPAbortOnMemory in {:.1} s", seen.aborts, interval.seconds()),
        because: "neither tcp_mem nor tcp_max_orphans was seen reached at either end of the window".into(),
        would_need: Some("the kernel log, which names the limit with every reset".into()),
    })
}

fn finding(interval: &Interval, seen: &Seen, state: State, cause: &str, confidence: Confidence, hurt: u64) -> Finding {
    let seconds = interval.seconds();
    let held = match (seen.level(), cause) {
        (Some((pages, mem)), "hard-limit") => format!("TCP holds {pages} of at most {} pages", mem[2]),
        (Some((pages, mem)), _) => format!("TCP holds {pages} pages, pressure begins at {}", mem[1]),
        (None, _) => "tcp_mem can't be read here".into(),
    };
    let entered = seen.pressures.value().copied().unwrap_or(0);
    let summary = match (state, seen.in_pressure()) {
        (State::Limiting, _) => {
            let lost = match (seen.dropped, hurt - seen.dropped) {
                (0, 0) if seen.refused > 0 => format!("{} requests of sockets refused", seen.refused),
                (0, 0) => format!("receive queues collapsed {} times", seen.collapsed),
                (dropped, 0) => format!("{dropped} segments dropped"),
                (0, resets) => format!("{resets} sockets reset"),
                (dropped, resets) => format!("{dropped} segments dropped and {resets} sockets reset"),
            };
            format!("{lost} for want of memory in {seconds:.1} s; {held}")
        }
        (State::Near, true) => format!("{held}; {}", so_far(seconds, "nothing dropped")),
        (State::Near, false) => format!("{held}: {} % of the way", percent(seen.share().unwrap_or(0.0))),
    };
    let because = match cause {
        "hard-limit" if seen.refused > 0 => format!(
            "{} times memory was refused to a socket because all together had more than the third number of tcp_mem",
            seen.refused
        ),
        "hard-limit" => match seen.level() {
            Some((pages, mem)) if pages >= mem[2] => "memory is at the third number of tcp_mem, or above it".into(),
            _ => "within what the count may lag (256 pages a CPU), memory is at the third number of tcp_mem".into(),
        },
        _ if entered > 0 => {
            format!("the kernel entered memory pressure in the window: TCPMemoryPressures grew by {entered}")
        }
        _ if seen.in_pressure() => "memory is above the second number of tcp_mem".into(),
        _ => format!("memory is above {} % of the second number of tcp_mem", percent(NEAR)),
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: cause.into(),
        confidence,
        subject: Subject::Host,
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: hurt.max(seen.refused),
    };
    if let Reading::Present(pages) = &seen.pages {
        finding = finding.standing("sockstat TCP.mem, highest seen", *pages as f64, "pages");
    }
    if let Reading::Present(mem) = &seen.mem {
        for (name, pages) in ["low", "pressure", "hard limit"].iter().zip(mem) {
            finding = finding.standing(format!("net.ipv4.tcp_mem, {name}"), *pages as f64, "pages");
        }
    }
    if seen.refused > 0 {
        let reading = "sock_exceed_buf_limit beyond tcp_mem";
        finding = finding.changed(reading, seen.refused as f64, "refusals", seconds);
    }
    for name in ["TcpExt.TCPMemoryPressures"].iter().chain(&SYMPTOMS) {
        if let Reading::Present(growth) = grew(interval, name) {
            finding = finding.changed(*name, growth as f64, "events", seconds);
        }
    }
    finding
}

/// Half as much again as the limit or the peak, at most a quarter of the memory; never less than now.
fn larger(mem: [u64; 3], pages: u64, memory_pages: u64) -> Option<[u64; 3]> {
    let wanted = mem[2].max(pages).saturating_mul(3) / 2;
    let hard = wanted.min(memory_pages / MEMORY_PART);
    (hard > mem[2]).then(|| [mem[0].max(hard / 2), mem[1].max(hard / 4 * 3), hard])
}

fn remedy(_: &Finding, interval: &Interval) -> Vec<Remedy> {
    let seen = Seen::of(interval);
    let verify = "sockstat's mem stays below the first number of tcp_mem at peak, and the drops stop";
    let mut remedies = vec![
        Remedy::new(
            Level::Application,
            "find who holds it (ss -tmp, largest r and w first): a reader that does not keep up, or a leak of sockets",
        )
        .verify(verify),
        Remedy::new(
            Level::Application,
            "set TCP_NOTSENT_LOWAT (128 KiB) where programs queue far more than they can send",
        )
        .cost("more wake-ups of the sender")
        .verify(verify),
    ];
    let (page, memory) = (u64::from(interval.after.host.page_bytes), interval.after.host.memory_bytes);
    let Some((pages, mem)) = seen.level().filter(|_| page > 0) else { return remedies };
    let mut smaller = Remedy::new(
        Level::Kernel,
        "lower the third number of tcp_rmem and tcp_wmem in the namespaces that hold most; \
         open connections keep what they have",
    )
    .cost("a single long and fast connection gets slower: its window is bounded by the buffer")
    .verify(verify);
    if let Some(sockets) = sockets_in_use(interval).filter(|n| *n > 0) {
        let each = mem[1].saturating_mul(page) / 2 / sockets;
        smaller = smaller.formula(format!(
            "half of {} pages × {page} bytes / {sockets} sockets = {each} bytes each, both directions together",
            mem[1]
        ));
    }
    remedies.push(smaller);
    if let Some(to) = larger(mem, pages, memory / page) {
        let words = |[low, pressure, hard]: [u64; 3]| format!("{low} {pressure} {hard}");
        let raise = Remedy::knob(
            "raise tcp_mem, for all namespaces of the host",
            "net.ipv4.tcp_mem",
            words(mem),
            words(to),
        )
        .formula(format!(
            "1.5 × max({} now, {pages} held), at most a quarter of {} pages of memory = {}; 3/4 and 1/2 of it before",
            mem[2],
            memory / page,
            to[2]
        ))
        .cost(format!(
            "up to {} MiB more that the kernel can't take back from sockets",
            (to[2] - mem[2]).saturating_mul(page) >> 20
        ))
        .verify(verify);
        remedies.push(raise);
    }
    remedies
}

/// TCP sockets of all namespaces that hold memory.
fn sockets_in_use(interval: &Interval) -> Option<u64> {
    let namespaces = interval.after.namespaces.values();
    let counts = namespaces.flat_map(|ns| [ns.sockstat("TCP.inuse"), ns.sockstat("TCP6.inuse")]);
    counts.filter_map(|count| count.value().copied()).reduce(u64::saturating_add)
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let seen = Seen::of(ns.interval());
    let entered = *seen.pressures.value()?;
    match seen.share() {
        Some(share) if entered == 0 && share < NEAR => {
            Some(format!("no memory pressure; {} % of the way to it", percent(share)))
        }
        // The counter alone can't tell a pressure that has stood since before the window.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Host, assert_clear, no_permission, remedies, the_finding, unknowns};
    use super::*;
    use crate::trace::{Counted, MemoryRefusals};

    /// 4 GiB in pages of 4 KiB, 2 CPUs; low, pressure and hard limit.
    const MEM: [u64; 3] = [75_000, 100_000, 150_000];

    fn holding(before: u64, after: u64) -> Host {
        Host::new()
            .both(|s| {
                s.system.tcp_mem = Reading::Present(MEM);
                s.system.orphans = Reading::Present(0);
                s.system.tcp_max_orphans = Reading::Present(16_384);
            })
            .before(|s| s.system.tcp_pages = Reading::Present(before))
            .after(|s| s.system.tcp_pages = Reading::Present(after))
            .grew("TcpExt.RcvPruned", 0)
            .grew("TcpExt.TCPRcvQDrop", 0)
            .sockstat("TCP.inuse", 2_000, 2_000)
    }

    fn verdict(host: &Host) -> (State, String, Confidence) {
        let finding = the_finding(&LIMIT, host);
        (finding.state, finding.cause, finding.confidence)
    }

    #[test]
    fn pressure_with_dropped_data_is_limiting() {
        let host = holding(90_000, 110_000)
            .grew("TcpExt.TCPMemoryPressures", 1)
            .grew("TcpExt.PruneCalled", 43)
            .grew("TcpExt.RcvPruned", 41)
            .grew("TcpExt.TCPRcvQDrop", 43);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(verdict(&host), (State::Limiting, "pressure".into(), Confidence::Proven));
        assert_eq!(finding.hurt, 43);
        insta::assert_snapshot!(finding.summary, @"43 segments dropped for want of memory in 5.0 s; TCP holds 110000 pages, pressure begins at 100000");
        insta::assert_snapshot!(finding.because, @"the kernel entered memory pressure in the window: TCPMemoryPressures grew by 1");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Application: find who holds it (ss -tmp, largest r and w first): a reader that does not keep up, or a leak of sockets
        2. Application: set TCP_NOTSENT_LOWAT (128 KiB) where programs queue far more than they can send
        3. Kernel: lower the third number of tcp_rmem and tcp_wmem in the namespaces that hold most; open connections keep what they have
        4. Kernel: raise tcp_mem, for all namespaces of the host [net.ipv4.tcp_mem 75000 100000 150000 → 112500 168750 225000]
        ");
    }

    #[test]
    fn memory_at_the_third_number_is_the_hard_limit_and_the_count_may_lag() {
        let host = holding(120_000, 149_600).grew("TcpExt.TCPRcvQDrop", 7).grew("TcpExt.TCPAbortOnMemory", 2);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(verdict(&host), (State::Limiting, "hard-limit".into(), Confidence::Proven));
        insta::assert_snapshot!(finding.summary, @"7 segments dropped and 2 sockets reset for want of memory in 5.0 s; TCP holds 149600 of at most 150000 pages");
        insta::assert_snapshot!(finding.because, @"within what the count may lag (256 pages a CPU), memory is at the third number of tcp_mem");
        // 513 pages below it, two CPUs can't hold back.
        let below = holding(120_000, 149_487).grew("TcpExt.TCPRcvQDrop", 7);
        assert_eq!(verdict(&below).1, "pressure");
    }

    #[test]
    fn a_refusal_between_the_ends_is_seen_as_it_happens() {
        let row = |beyond, within| MemoryRefusals { netns: testing::OWN, beyond, within, most_pages: 150_100 };
        let host = |beyond, within| {
            holding(90_000, 90_000).grew("TcpExt.TCPMemoryPressures", 0).trace(|trace| {
                trace.memory = Reading::Present(Counted { rows: vec![row(beyond, within)], lost: 0 });
            })
        };
        let finding = the_finding(&LIMIT, &host(70, 0));
        assert_eq!(verdict(&host(70, 0)), (State::Limiting, "hard-limit".into(), Confidence::Proven));
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @"
        70 requests of sockets refused for want of memory in 5.0 s; TCP holds 90000 of at most 150000 pages
        70 times memory was refused to a socket because all together had more than the third number of tcp_mem
        ");
        assert_eq!(finding.hurt, 70);
        // A control group's, or a fair share.
        assert!(testing::detect(&LIMIT, &host(0, 70)).findings.iter().all(|finding| finding.cause != "hard-limit"));
    }

    #[test]
    fn a_lag_wider_than_the_marks_are_apart_accuses_nobody() {
        let tiny = holding(150, 180).both(|s| s.system.tcp_mem = Reading::Present([200, 300, 400]));
        assert_clear(&LIMIT, &tiny.grew("TcpExt.TCPRcvQDrop", 7));
    }

    #[test]
    fn pressure_that_loses_nothing_is_near() {
        let entered = holding(50_000, 50_000).grew("TcpExt.TCPMemoryPressures", 1);
        assert_eq!(verdict(&entered), (State::Near, "pressure".into(), Confidence::Proven));
        assert_eq!(verdict(&holding(150_000, 150_000)).0, State::Near);
        let near = the_finding(&LIMIT, &holding(79_000, 80_000));
        insta::assert_snapshot!(near.summary, @"TCP holds 80000 pages, pressure begins at 100000: 80 % of the way");
        assert_clear(&LIMIT, &holding(79_000, 79_999));
    }

    #[test]
    fn queues_collapsed_under_pressure_are_likely_no_more() {
        let host = holding(110_000, 110_000).grew("TcpExt.PruneCalled", 9);
        assert_eq!(verdict(&host), (State::Limiting, "pressure".into(), Confidence::Likely));
    }

    #[test]
    fn silent_when_sockets_overflow_their_own_buffers() {
        let host = holding(1_000, 1_000).grew("TcpExt.PruneCalled", 90).grew("TcpExt.TCPRcvQDrop", 9);
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_orphans_are_reset() {
        let orphans = |n| move |s: &mut Snapshot| s.system.orphans = Reading::Present(n);
        let host = holding(1_000, 1_000).grew("TcpExt.TCPAbortOnMemory", 300);
        assert_clear(&LIMIT, &host.clone().both(orphans(16_000)));
        // With few orphans it is neither; that is said, and nobody is accused.
        assert_eq!(unknowns(&LIMIT, &host), ["300 TcpExt.TCPAbortOnMemory in 5.0 s"]);
        // At the hard limit, resets that orphans explain are not counted.
        let both = holding(150_000, 150_000).grew("TcpExt.TCPAbortOnMemory", 300);
        assert_eq!(verdict(&both.clone().both(orphans(16_000))).0, State::Near);
        let unread = both.both(|s| s.system.tcp_max_orphans = no_permission("tcp_max_orphans"));
        assert_eq!(verdict(&unread), (State::Limiting, "hard-limit".into(), Confidence::Likely));
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let blind = holding(1_000, 1_000)
            .both(|s| {
                s.system.tcp_mem = testing::absent("net.ipv4.tcp_mem");
                s.system.tcp_pages = testing::absent("sockstat");
            })
            .without("TcpExt.TCPMemoryPressures");
        assert_eq!(
            unknowns(&LIMIT, &blind),
            ["sockstat TCP.mem", "net.ipv4.tcp_mem", "TcpExt.TCPMemoryPressures of own"]
        );
        assert!((LIMIT.headroom)(blind.interval()).is_empty());
        let ns = |host: &Host| host.interval().namespaces().next().and_then(|ns| (LIMIT.ruled_out)(&ns));
        assert_eq!(ns(&blind), None);
        assert_eq!(ns(&holding(8_000, 8_000)), Some("no memory pressure; 8 % of the way to it".into()));
        // The counter proves pressure without any knob.
        let container = holding(0, 0)
            .both(|s| s.system.tcp_mem = testing::absent("net.ipv4.tcp_mem"))
            .grew("TcpExt.TCPMemoryPressures", 2)
            .grew("TcpExt.TCPRcvQDrop", 5);
        assert_eq!(verdict(&container).0, State::Limiting);
    }

    #[test]
    fn tcp_mem_never_shrinks_nor_takes_more_than_a_quarter_of_the_memory() {
        assert_eq!(larger(MEM, 0, 1 << 20), Some([112_500, 168_750, 225_000]));
        assert_eq!(larger(MEM, 0, 700_000), Some([87_500, 131_250, 175_000]));
        assert_eq!(larger(MEM, 0, 600_000), None);
        assert_eq!(larger([100, 149_000, 150_000], 0, 700_000), Some([87_500, 149_000, 175_000]));
    }
}

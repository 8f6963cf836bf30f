//! # orphans
//!
//! ## What it is
//! Connections that no process holds any more and that are not finished: the program closed them, and the kernel still
//! sends what is left, or waits for the peer's FIN. At most `net.ipv4.tcp_max_orphans` of them may exist on the whole
//! host, in all namespaces together. Beyond that the kernel resets connections instead of finishing them. It counts a
//! connection that makes no progress twice or four times, so the limit can bite from a quarter on.
//! An orphan in FIN_WAIT2 with at most 60 s left is reduced to a small socket and counts in its namespace's TIME_WAIT
//! table instead (`net.ipv4.tcp_fin_timeout` ≤ 60); with a longer timeout it stays an orphan.
//!
//! ## Evidence
//! - Limiting: `TcpExt.TCPAbortOnMemory` grew in any namespace, orphans are at least a quarter of the limit at one end of
//!   the window, and TCP's memory is below its hard limit at both: the same counter also counts that one's resets.
//!   Proven where the orphans exceed the limit as they are, likely where only the penalty explains it.
//! - Near: at least half of the limit. Between a quarter and half without a reset nothing has happened.
//! - FIN_WAIT2 sockets are most of a TIME_WAIT table that is at least 80 % full, or most of the orphans that are at least
//!   half of their limit: their peers do not close.
//!
//! Causes: `orphan-limit` (more connections are left to the kernel than it may keep), `fin-wait2-pile` (peers that were
//! told goodbye and don't answer).
//!
//! ## See it yourself
//! - `cat /proc/net/sockstat` (`orphan`: the whole host; `tw`: this namespace), `sysctl net.ipv4.tcp_max_orphans`
//! - `nstat -az TcpExtTCPAbortOnMemory`; `dmesg | grep 'too many orphaned sockets'`
//! - `ss -tano state fin-wait-2` and `state fin-wait-1`: `timer:` tells how long each stays
//!
//! ## Look-alikes
//! - `tcp-memory`: the same counter, with memory at the hard limit of `tcp_mem`.
//! - `time-wait-table`: the table is full of TIME_WAIT, not of FIN_WAIT2.
//!
//! ## Remedy
//! The programs at both ends first: who closes should have read the peer's last word, the peer should close when told so.
//! Then less time: `tcp_fin_timeout` 60 → 30 (never less than four round trips, never negative), `tcp_orphan_retries` 3.
//! Only then `tcp_max_orphans` × 2, and only where the orphans, at up to 64 KiB each, stay below 5 % of the memory.
//!
//! ## References
//! net/ipv4/tcp.c `__tcp_close`, `tcp_check_oom`; net/ipv4/tcp_timer.c `tcp_out_of_resources`;
//! Documentation/networking/ip-sysctl.rst.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, no_owners, percent, so_far, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{FinWait2, Netns, Snapshot};

/// Connections that no process holds any more.
pub(super) static LIMIT: Limit = Limit {
    slug: "orphans",
    title: "orphaned connections",
    causes: &[
        ("orphan-limit", "more closed connections are left to the kernel than it may keep"),
        ("fin-wait2-pile", "peers do not answer the goodbye: their connections wait in FIN_WAIT2"),
    ],
    reads: &["sockstat TCP.orphan", MAX_ORPHANS, ABORTS, "sock_diag FIN_WAIT2", "sockstat TCP.tw", TCP_MEM],
    look_alikes: &["tcp-memory", "time-wait-table"],
    knobs: &[MAX_ORPHANS, FIN_TIMEOUT, ORPHAN_RETRIES],
    scenarios: &["fin-wait2-pile"],
    source: include_str!("orphans.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted: no_owners,
};

const MAX_ORPHANS: &str = "net.ipv4.tcp_max_orphans";
const FIN_TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";
const ORPHAN_RETRIES: &str = "net.ipv4.tcp_orphan_retries";
const MAX_TW_BUCKETS: &str = "net.ipv4.tcp_max_tw_buckets";
const TCP_MEM: &str = "net.ipv4.tcp_mem";
const ABORTS: &str = "TcpExt.TCPAbortOnMemory";
const FIN_WAIT2: &str = "FIN_WAIT2 sockets (sock_diag)";

/// From here on the kernel's penalty (a shift of up to 2) can make the limit bite.
const PENALTY: f64 = 0.25;
/// Near: one doubling from the limit. Lower, a host that merely serves many clients would be accused.
const NEAR: f64 = 0.5;
/// A TIME_WAIT table that is so full of FIN_WAIT2 is near.
const TABLE_NEAR: f64 = 0.8;
/// What an orphan may hold in its buffers before the kernel calls it a strain.
const ORPHAN_BYTES: u64 = 64 << 10;
/// Share of the memory that orphans may take.
const MEMORY: f64 = 0.05;
/// Seconds in FIN_WAIT2 that still leave time for slow peers.
const SHORT_TIMEOUT: i64 = 30;

/// Whether `used` of a `limit` (sockstat's `TCP.tw` of `tcp_max_tw_buckets`, or `TCP.orphan` of `tcp_max_orphans`) is
/// enough to look at the FIN_WAIT2 sockets one by one.
pub fn worth_a_dump(used: u64, limit: u64) -> bool {
    used > 0 && used.saturating_mul(2) >= limit
}

/// The host's orphans.
struct Orphans {
    /// The most seen at either end.
    used: u64,
    max: u64,
}

impl Orphans {
    fn of(interval: &Interval) -> Result<Self, (&'static str, Absent)> {
        let used =
            |snapshot: &Snapshot| snapshot.system.orphans.clone().ok().map_err(|why| ("sockstat TCP.orphan", why));
        let max = interval.after.system.tcp_max_orphans.clone().ok().map_err(|why| (MAX_ORPHANS, why))?;
        Ok(Self { used: used(&interval.before)?.max(used(&interval.after)?), max })
    }

    fn share(&self) -> f64 {
        if self.max == 0 { 0.0 } else { self.used as f64 / self.max as f64 }
    }

    /// Whether most of them wait in FIN_WAIT2.
    fn wait(&self, interval: &Interval) -> bool {
        fin_wait2_orphans(interval) * 2 > self.used
    }
}

/// Whether TCP's memory was below its hard limit at both ends.
fn memory_below_limit(interval: &Interval) -> Result<bool, Absent> {
    let below = |snapshot: &Snapshot| {
        let [_, _, hard] = snapshot.system.tcp_mem.clone().ok()?;
        Ok(snapshot.system.tcp_pages.clone().ok()? < hard)
    };
    Ok(below(&interval.before)? && below(&interval.after)?)
}

/// Connections reset in all namespaces, for want of memory or of room among the orphans.
fn aborts(interval: &Interval) -> u64 {
    interval.namespaces().filter_map(|ns| ns.counter(ABORTS).value().copied()).fold(0, u64::saturating_add)
}

/// FIN_WAIT2 sockets that count as orphans, in all namespaces, where they were looked at.
fn fin_wait2_orphans(interval: &Interval) -> u64 {
    let of = |ns: &Netns| ns.sockets.fin_wait2.value().map(|pile| u64::from(pile.orphans));
    interval.after.namespaces.values().filter_map(of).sum()
}

/// A namespace's TIME_WAIT table and what FIN_WAIT2 takes of it, at the window's end.
struct Table {
    pile: FinWait2,
    used: u64,
    max: u64,
}

impl Table {
    fn of(ns: &NetnsChange<'_>) -> Result<Self, (&'static str, Absent)> {
        let used = ns.after.sockstat("TCP.tw").ok().map_err(|why| ("sockstat TCP.tw", why))?;
        let max = ns.after.knob_number(MAX_TW_BUCKETS).ok().map_err(|why| (MAX_TW_BUCKETS, why))?;
        // Last: without the two others nobody could tell whether the sockets were worth a dump.
        let pile = *ns.after.sockets.fin_wait2.as_ref().ok().map_err(|why| (FIN_WAIT2, why))?;
        Ok(Self { pile, used, max: u64::try_from(max).unwrap_or(0) })
    }

    fn is_pile(&self) -> bool {
        u64::from(self.pile.small) * 2 > self.used && self.used as f64 >= self.max as f64 * TABLE_NEAR
    }
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let row = |orphans: Orphans| Headroom {
        limit: LIMIT.slug.into(),
        subject: Subject::Host,
        used: orphans.used,
        capacity: orphans.max,
        unit: "connections".into(),
    };
    Orphans::of(interval).ok().map(row).into_iter().collect()
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        if let Reading::Absent(why) = ns.counter(ABORTS) {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), ABORTS, &why));
        }
        match Table::of(&ns) {
            Ok(table) if table.is_pile() => detected.findings.push(pile_finding(&ns, &table)),
            Ok(_) => {}
            Err((reading, why)) => detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), reading, &why)),
        }
    }
    match Orphans::of(interval) {
        Ok(orphans) => detect_limit(interval, &orphans, &mut detected),
        Err((reading, why)) => detected.unknown.extend(unknown(&LIMIT, None, reading, &why)),
    }
    detected
}

fn detect_limit(interval: &Interval, orphans: &Orphans, detected: &mut Detected) {
    let aborts = aborts(interval);
    if aborts > 0 {
        match memory_below_limit(interval) {
            Ok(true) if orphans.share() >= PENALTY => {
                detected.findings.push(limit_finding(interval, orphans, State::Limiting, aborts));
                return;
            }
            Ok(true) => detected.unknown.push(Unknown {
                limit: LIMIT.slug.into(),
                reading: format!("{aborts} {ABORTS}"),
                because: format!(
                    "{} of {} orphans, and memory below its limit, at both ends of the window: \
                     one of the two was exceeded only in between",
                    orphans.used, orphans.max
                ),
                would_need: Some("the kernel's log: \"too many orphaned sockets\" or \"out of memory\"".into()),
            }),
            // Memory at its limit: `tcp-memory` says so.
            Ok(false) => {}
            Err(why) => detected.unknown.extend(unknown(&LIMIT, None, "TCP memory (tcp_mem, sockstat TCP.mem)", &why)),
        }
    }
    if orphans.share() >= NEAR {
        detected.findings.push(limit_finding(interval, orphans, State::Near, aborts));
    }
}

fn limit_finding(interval: &Interval, orphans: &Orphans, state: State, aborts: u64) -> Finding {
    let seconds = interval.seconds();
    let Orphans { used, max } = orphans;
    let waiting = fin_wait2_orphans(interval);
    let pile = orphans.wait(interval);
    let cause = if pile && state == State::Near { "fin-wait2-pile" } else { "orphan-limit" };
    let held = format!("{used} of {max} orphaned connections ({} %)", percent(orphans.share()));
    let summary = match state {
        State::Limiting => format!("{aborts} connections reset in {seconds:.1} s for want of room: {held}"),
        State::Near => format!("{held}; {}", so_far(seconds, "nothing is reset")),
    };
    let (confidence, mut because) = match state {
        State::Limiting if used > max => (Confidence::Proven, "there are more orphans than allowed".into()),
        State::Limiting => (
            Confidence::Likely,
            "TCP's memory is below its limit, and an orphan that makes no progress counts up to four times".to_string(),
        ),
        State::Near => (Confidence::Proven, "an orphan that makes no progress counts up to four times".into()),
    };
    if pile {
        because = format!("{because}; {waiting} of them are in FIN_WAIT2: their peers do not close");
    }
    let finding = Finding {
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
        hurt: if state == State::Limiting { aborts } else { 0 },
    };
    let (aborts, used, max, waiting) = (aborts as f64, *used as f64, *max as f64, waiting as f64);
    let finding = finding
        .changed(ABORTS, aborts, "connections", seconds)
        .standing("sockstat TCP.orphan", used, "connections")
        .standing(MAX_ORPHANS, max, "connections");
    let finding = if pile { finding.standing("FIN_WAIT2 orphans", waiting, "connections") } else { finding };
    match (&interval.after.system.tcp_pages, &interval.after.system.tcp_mem) {
        (Reading::Present(pages), Reading::Present([_, _, hard])) => {
            let (pages, hard) = (*pages as f64, *hard as f64);
            finding.standing("sockstat TCP.mem", pages, "pages").standing("tcp_mem, hard limit", hard, "pages")
        }
        _ => finding,
    }
}

fn pile_finding(ns: &NetnsChange<'_>, table: &Table) -> Finding {
    let Table { pile, used, max } = table;
    let overflow = ns.counter("TcpExt.TCPTimeWaitOverflow").value().copied();
    let lost = match overflow {
        Some(overflow @ 1..) => format!(", and {overflow} connections closed without a place in it"),
        _ => String::new(),
    };
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: "fin-wait2-pile".into(),
        confidence: Confidence::Proven,
        subject: Subject::Netns { netns: ns.name().into() },
        summary: format!(
            "{} connections wait in FIN_WAIT2 for peers that do not close: the TIME_WAIT table holds {used} of {max}{lost}",
            pile.small
        ),
        because: "this side has closed and the peers have not; the kernel waits tcp_fin_timeout seconds for each"
            .into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: overflow.unwrap_or(0),
    };
    let (used, max) = (*used as f64, *max as f64);
    let finding = finding
        .standing("FIN_WAIT2 in the TIME_WAIT table (sock_diag)", f64::from(pile.small), "sockets")
        .standing("FIN_WAIT2 orphans", f64::from(pile.orphans), "sockets")
        .standing("sockstat TCP.tw", used, "sockets")
        .standing(MAX_TW_BUCKETS, max, "sockets");
    match overflow {
        Some(overflow) => {
            let overflow = overflow as f64;
            finding.changed("TcpExt.TCPTimeWaitOverflow", overflow, "connections", ns.interval().seconds())
        }
        None => finding,
    }
}

/// The namespace whose timeouts decide: the finding's own, else the one with most FIN_WAIT2 orphans, else tcproof's.
fn namespace_of<'a>(finding: &Finding, interval: &'a Interval) -> Option<NetnsChange<'a>> {
    if let Some(name) = finding.subject.netns() {
        return interval.namespace(name);
    }
    let waiting = |ns: &NetnsChange<'_>| ns.after.sockets.fin_wait2.value().map_or(0, |pile| pile.orphans);
    interval.namespaces().max_by_key(|ns| (waiting(ns), ns.after.own))
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let verify = match &finding.subject {
        Subject::Host => "no growth of TcpExt.TCPAbortOnMemory, and fewer than half of tcp_max_orphans",
        _ => "fewer sockets in ss -tan state fin-wait-2",
    };
    let pile = finding.cause == "fin-wait2-pile" || Orphans::of(interval).is_ok_and(|orphans| orphans.wait(interval));
    let mut remedies = vec![];
    if pile {
        let text = "let the peers close when they are told goodbye: a read(2) of 0 is their turn \
                    (ss -tan state fin-wait-2 shows who they are)";
        remedies.push(Remedy::new(Level::Application, text).verify(verify));
    }
    if finding.cause == "orphan-limit" {
        let text = "close only what is finished: read the peer's last word first, set TCP_USER_TIMEOUT so that \
                    connections to dead peers end before they are closed";
        remedies.push(Remedy::new(Level::Application, text).verify(verify));
    } else {
        let text = "or bound the wait in the program: shutdown(2), wait a moment for the peer, then close with \
                    SO_LINGER 0 where a reset is acceptable";
        remedies.push(Remedy::new(Level::Application, text).verify(verify));
    }
    let Some(ns) = namespace_of(finding, interval) else { return remedies };
    let number = |key: &str| ns.after.knob_number(key).value().copied();
    if let Some(now) = number(FIN_TIMEOUT).filter(|now| pile && *now > SHORT_TIMEOUT) {
        remedies.push(
            Remedy::knob(
                format!("wait less for a peer's FIN in namespace {}", ns.name()),
                FIN_TIMEOUT,
                now.to_string(),
                SHORT_TIMEOUT.to_string(),
            )
            .formula("half of the default 60 s; at least four round trips of the slowest peer")
            .cost("a peer that closes later gets a reset; sockets that wait already keep their time")
            .verify(verify),
        );
    }
    if finding.cause != "orphan-limit" {
        return remedies;
    }
    // 0 means 8 to the kernel.
    if let Some(now) = number(ORPHAN_RETRIES).filter(|now| *now == 0 || *now > 3) {
        remedies.push(
            Remedy::knob(
                format!("give up sooner on peers that do not answer, in namespace {}", ns.name()),
                ORPHAN_RETRIES,
                now.to_string(),
                "3",
            )
            .cost("what was left to send to a peer that is away for longer is lost")
            .verify(verify),
        );
    }
    remedies.extend(more_orphans(interval).map(|remedy| remedy.verify(verify)));
    remedies
}

/// Twice as many orphans, where memory bears it.
fn more_orphans(interval: &Interval) -> Option<Remedy> {
    let Orphans { used, max } = Orphans::of(interval).ok()?;
    let memory = interval.after.host.memory_bytes;
    let held = used.saturating_mul(ORPHAN_BYTES);
    if memory == 0 || max == 0 || held as f64 >= memory as f64 * MEMORY {
        return None;
    }
    let to = max.saturating_mul(2).min(i32::MAX as u64);
    Some(
        Remedy::knob("allow more orphans on the whole host", MAX_ORPHANS, max.to_string(), to.to_string())
            .formula(format!("2 × {max}, because {used} orphans × 64 KiB stay below 5 % of the memory"))
            .cost(format!("up to {} MiB for as many orphans again", held >> 20)),
    )
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let interval = ns.interval();
    let pile = match Table::of(ns) {
        Ok(table) => table.is_pile(),
        Err((_, Absent::NotNeeded)) => false,
        Err(_) => return None,
    };
    let orphans = Orphans::of(interval).ok()?;
    (!pile && aborts(interval) == 0 && orphans.share() < NEAR)
        .then(|| format!("{} of {} orphans, none reset", orphans.used, orphans.max))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, absent, assert_clear, no_permission, sentences, the_finding, unknowns, verdict};
    use super::*;

    /// Orphans at the end of the window, of 16 384, with TCP's memory far from its limit.
    fn orphans(used: u64) -> Host {
        let host = Host::new().both(|snapshot| {
            let system = &mut snapshot.system;
            system.orphans = Reading::Present(40);
            system.tcp_max_orphans = Reading::Present(16_384);
            system.tcp_mem = Reading::Present([10_000, 20_000, 30_000]);
            system.tcp_pages = Reading::Present(500);
        });
        let host = host.knob(ORPHAN_RETRIES, "0").sockstat("TCP.tw", 0, 0);
        host.after(|snapshot| snapshot.system.orphans = Reading::Present(used))
    }

    fn pile(host: Host, small: u32, orphans: u32) -> Host {
        let pile = FinWait2 { small, orphans, held: 0 };
        host.ns(move |ns| ns.sockets.fin_wait2 = Reading::Present(pile))
    }

    #[test]
    fn resets_with_many_orphans_are_the_orphan_limit() {
        let limiting = (State::Limiting, "orphan-limit".into());
        assert_eq!(verdict(&LIMIT, &orphans(4_096).grew(ABORTS, 4)), limiting);
        assert_eq!(the_finding(&LIMIT, &orphans(16_384).grew(ABORTS, 4)).confidence, Confidence::Likely);
        assert_eq!(the_finding(&LIMIT, &orphans(16_385).grew(ABORTS, 4)).confidence, Confidence::Proven);
        let small = orphans(20).grew(ABORTS, 4).both(|s| s.system.tcp_max_orphans = Reading::Present(5));
        insta::assert_snapshot!(sentences(&LIMIT, &small), @"
        4 connections reset in 5.0 s for want of room: 40 of 5 orphaned connections (800 %)
        there are more orphans than allowed
        1. Application: close only what is finished: read the peer's last word first, set TCP_USER_TIMEOUT so that connections to dead peers end before they are closed
        2. Kernel: give up sooner on peers that do not answer, in namespace own [net.ipv4.tcp_orphan_retries 0 → 3]
        3. Kernel: allow more orphans on the whole host [net.ipv4.tcp_max_orphans 5 → 10]
        ");
        assert_eq!(verdict(&LIMIT, &pile(orphans(9_000).grew(ABORTS, 4), 0, 8_000)), limiting);
    }

    #[test]
    fn half_of_the_limit_is_near() {
        assert_clear(&LIMIT, &orphans(8_191));
        let host = orphans(8_192);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "orphan-limit".into()));
        insta::assert_snapshot!(sentences(&LIMIT, &host), @"
        8192 of 16384 orphaned connections (50 %); nothing is reset yet
        an orphan that makes no progress counts up to four times
        1. Application: close only what is finished: read the peer's last word first, set TCP_USER_TIMEOUT so that connections to dead peers end before they are closed
        2. Kernel: give up sooner on peers that do not answer, in namespace own [net.ipv4.tcp_orphan_retries 0 → 3]
        ");
    }

    #[test]
    fn orphans_that_wait_in_fin_wait2_are_a_pile() {
        let host = pile(orphans(9_000).knob(FIN_TIMEOUT, "120"), 0, 8_000);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "fin-wait2-pile".into()));
        insta::assert_snapshot!(sentences(&LIMIT, &host), @"
        9000 of 16384 orphaned connections (55 %); nothing is reset yet
        an orphan that makes no progress counts up to four times; 8000 of them are in FIN_WAIT2: their peers do not close
        1. Application: let the peers close when they are told goodbye: a read(2) of 0 is their turn (ss -tan state fin-wait-2 shows who they are)
        2. Application: or bound the wait in the program: shutdown(2), wait a moment for the peer, then close with SO_LINGER 0 where a reset is acceptable
        3. Kernel: wait less for a peer's FIN in namespace own [net.ipv4.tcp_fin_timeout 120 → 30]
        ");
        assert_eq!(verdict(&LIMIT, &pile(orphans(9_000), 0, 4_000)).1, "orphan-limit");
    }

    #[test]
    fn a_time_wait_table_full_of_fin_wait2_is_a_pile() {
        let table = |tw| orphans(3).knob(MAX_TW_BUCKETS, "1000").sockstat("TCP.tw", tw, tw);
        let host = pile(table(1_000).grew("TcpExt.TCPTimeWaitOverflow", 50), 900, 0);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "fin-wait2-pile".into()));
        insta::assert_snapshot!(sentences(&LIMIT, &host), @"
        900 connections wait in FIN_WAIT2 for peers that do not close: the TIME_WAIT table holds 1000 of 1000, and 50 connections closed without a place in it
        this side has closed and the peers have not; the kernel waits tcp_fin_timeout seconds for each
        1. Application: let the peers close when they are told goodbye: a read(2) of 0 is their turn (ss -tan state fin-wait-2 shows who they are)
        2. Application: or bound the wait in the program: shutdown(2), wait a moment for the peer, then close with SO_LINGER 0 where a reset is acceptable
        3. Kernel: wait less for a peer's FIN in namespace own [net.ipv4.tcp_fin_timeout 60 → 30]
        ");
        assert_eq!(verdict(&LIMIT, &pile(table(800), 401, 0)).0, State::Near);
        assert_clear(&LIMIT, &pile(table(799), 799, 0));
    }

    #[test]
    fn silent_when_memory_is_at_its_limit() {
        let host = orphans(5_000).grew(ABORTS, 4).both(|s| s.system.tcp_pages = Reading::Present(30_000));
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_the_table_is_full_of_time_wait() {
        let host = orphans(3).knob(MAX_TW_BUCKETS, "1000").sockstat("TCP.tw", 1_000, 1_000);
        assert_clear(&LIMIT, &pile(host, 100, 0));
    }

    #[test]
    fn resets_that_neither_explains_are_unknown() {
        assert_eq!(unknowns(&LIMIT, &orphans(100).grew(ABORTS, 4)), ["4 TcpExt.TCPAbortOnMemory"]);
        let blind = orphans(5_000).grew(ABORTS, 4).both(|s| s.system.tcp_mem = absent(TCP_MEM));
        assert_eq!(unknowns(&LIMIT, &blind), ["TCP memory (tcp_mem, sockstat TCP.mem)"]);
    }

    #[test]
    fn missing_readings_are_unknown() {
        let inner = orphans(10_000).both(|s| s.system.tcp_max_orphans = absent(MAX_ORPHANS));
        assert_eq!(unknowns(&LIMIT, &inner), ["net.ipv4.tcp_max_orphans"]);
        assert_eq!(headroom(inner.interval()), []);
        assert_eq!(unknowns(&LIMIT, &orphans(10).without(ABORTS)), ["TcpExt.TCPAbortOnMemory of own"]);
        let denied = orphans(10).ns(|ns| ns.sockets.fin_wait2 = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &denied), ["FIN_WAIT2 sockets (sock_diag) of own"]);
        let blind = orphans(10).ns(|ns| ns.sockstat = absent("sockstat"));
        assert_eq!(unknowns(&LIMIT, &blind), ["sockstat TCP.tw of own"]);
    }

    #[test]
    fn a_quiet_host_is_ruled_out_by_its_numbers() {
        let host = orphans(12);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("40 of 16384 orphans, none reset"));
        assert!(worth_a_dump(500, 1_000) && !worth_a_dump(499, 1_000) && !worth_a_dump(0, 0));
    }
}

//! # close-wait-leak
//!
//! ## What it is
//! Connections whose peer has closed while the application here never does: CLOSE_WAIT. Each keeps a descriptor and its
//! buffers for as long as the process lives; no timer ends it and no sysctl touches it. A leak grows until descriptors
//! run out, and then the process can neither accept nor connect.
//!
//! ## Evidence
//! CLOSE_WAIT is also what a half-closed connection looks like while a long answer is being sent to a client that has
//! finished asking. The two differ in one thing: answers end. So it is a leak when, for one service, all of this holds:
//! - at least 10 sockets in CLOSE_WAIT that a process holds, at least 5 more than at the window's start;
//! - at least 5 were there at the start, and at most 1 % of them have gone: in a steady state of long answers some
//!   always go;
//! - the oldest has waited for at least 35 s, and three windows: a young pile cannot be told from slow answers.
//!
//! How long it has waited is the time since data last came in, which is all the kernel keeps: a connection that idled
//! before its peer closed looks older than its CLOSE_WAIT is. That is why age alone proves nothing, and why the verdict
//! stays `likely`. Answers that take longer than 35 s and have only just begun to be asked for can look the same;
//! look again later. Sockets without an inode were never accepted, so nobody could have closed them: they don't count.
//!
//! `serve` and `top` look in every fourth window, more seldom where looking is dear (but each five minutes), and closely where
//! there are ten of one service. The two looks that are compared may be that far apart, which is the window then, and the finding
//! says when the last one was.
//!
//! Cause: `application-leak`. Always `near`; when descriptors run out because of it, `file-descriptors` says so.
//!
//! ## See it yourself
//! - `ss -tnpe state close-wait` twice, some seconds apart: the same cookies (`sk:`) again, and new ones
//! - `ls -l /proc/PID/fd | grep -c socket`, `grep 'open files' /proc/PID/limits`
//!
//! ## Look-alikes
//! - `accept-queue`: CLOSE_WAIT without an inode waits for `accept(2)`; its client has given up.
//! - `file-descriptors`: many descriptors in use, but not by connections that their peers have closed.
//!
//! ## Remedy
//! Only the program: close the socket when `read(2)` returns 0, on every path, also on errors and timeouts. Until then
//! restart it before its descriptors run out. `ss -K` ends single sockets where the kernel has INET_DIAG_DESTROY.
//!
//! ## References
//! RFC 9293 section 3.3.2; net/ipv4/tcp_input.c `tcp_fin`; shutdown(2).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Detected, Limit, SocketSet, owners_of, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{CloseWait, Service, Snapshot};

/// Connections that the application never closes.
pub(super) static LIMIT: Limit = Limit {
    slug: "close-wait-leak",
    title: "CLOSE_WAIT leak",
    causes: &[("application-leak", "the application does not close connections that their peers have closed")],
    reads: &["sock_diag CLOSE_WAIT"],
    look_alikes: &["accept-queue", "file-descriptors"],
    knobs: &[],
    scenarios: &["close-wait-leak"],
    source: include_str!("close_wait_leak.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const READING: &str = "CLOSE_WAIT sockets (sock_diag)";

/// Fewer held sockets than this are no pile.
const PILE: usize = 10;
/// At least so many were there at the start, or there is nothing to tell stayers from leavers by.
const STAYERS: usize = 5;
/// It grows when at least so many came on top.
const GROWTH: usize = 5;
/// One in so many of those at the start may have left: a leak need not lose every connection of its service.
const LEFT: usize = 100;
/// The oldest waits longer than this, and longer than this many windows.
const OLD: Duration = Duration::from_secs(35);
const WINDOWS: u32 = 3;

/// Whether a namespace with so many sockets that neither listen nor are in TIME_WAIT can hold a leak that could be told
/// from chance. On a host of many namespaces every dump walks the one table that they share.
pub fn worth_a_dump(connections: u64) -> bool {
    connections >= STAYERS as u64
}

/// Whether one service has so many that the next look should come soon.
pub fn worth_a_look(groups: &BTreeMap<Service, CloseWait>) -> bool {
    groups.values().any(|group| group.held.len() >= PILE)
}

/// The two looks that are compared: when the first one was and what it found, and when the last one was.
struct Compared<'a> {
    since: Duration,
    found: Result<Option<&'a BTreeMap<Service, CloseWait>>, Absent>,
    until: Duration,
}

impl<'a> Compared<'a> {
    fn of(ns: &NetnsChange<'a>) -> Self {
        let Interval { before, after, .. } = ns.interval();
        let until = ns.after.sockets.close_wait_at.unwrap_or(after.at);
        let since = ns.before.sockets.close_wait_at.unwrap_or(before.at);
        // Where nobody looked within the window, the window's start shows the last look too.
        match &ns.after.sockets.close_wait_before {
            Some(first) if first.at < since => Self { since: first.at, found: Ok(Some(&first.found)), until },
            _ => {
                let found = match &ns.before.sockets.close_wait {
                    Reading::Present(before) => Ok(Some(before)),
                    Reading::Absent(Absent::NotNeeded) => Ok(None),
                    Reading::Absent(why) => Err(why.clone()),
                };
                Self { since, found, until }
            }
        }
    }

    fn span(&self) -> Duration {
        self.until.saturating_sub(self.since)
    }
}

/// What a sentence about the last look ends with, where it is some time ago.
pub(super) fn as_of(ns: &NetnsChange<'_>) -> String {
    match ns.interval().after.at.saturating_sub(Compared::of(ns).until).as_secs() {
        0 => String::new(),
        ago => format!(" (looked at {ago} s ago)"),
    }
}

/// CLOSE_WAIT sockets of one service at both ends.
struct Pile<'a> {
    service: Service,
    after: &'a CloseWait,
    held_before: usize,
    /// How many of those at the start are gone.
    left: usize,
}

impl Pile<'_> {
    fn is_leak(&self, window: Duration) -> bool {
        let held = self.after.held.len();
        held >= PILE
            && self.held_before >= STAYERS
            && held >= self.held_before + GROWTH
            && self.left <= self.held_before / LEFT
            && self.after.oldest >= OLD.max(window.saturating_mul(WINDOWS))
    }
}

fn piles<'a>(ns: &NetnsChange<'a>) -> Result<Vec<Pile<'a>>, Absent> {
    let after = ns.after.sockets.close_wait.as_ref().ok()?;
    let compared = Compared::of(ns);
    if compared.span().is_zero() {
        return if after.values().all(|pile| pile.held.len() < PILE) { Ok(vec![]) } else { Err(Absent::OneReading) };
    }
    let before = compared.found?;
    let pile = |(service, after): (&Service, &'a CloseWait)| {
        let held = before.and_then(|before| before.get(service)).map_or(&[][..], |pile| &pile.held);
        let left = held.iter().filter(|cookie| after.held.binary_search(cookie).is_err()).count();
        Pile { service: *service, after, held_before: held.len(), left }
    };
    Ok(after.iter().map(pile).collect())
}

fn leaks<'a>(ns: &NetnsChange<'a>) -> Result<Vec<Pile<'a>>, Absent> {
    let span = Compared::of(ns).span();
    piles(ns).map(|piles| piles.into_iter().filter(|pile| pile.is_leak(span)).collect())
}

/// None of its own: what a leak uses up are the process's descriptors.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        match leaks(&ns) {
            Ok(leaks) => detected.findings.extend(leaks.iter().map(|pile| finding(&ns, pile))),
            Err(why) => detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), READING, &why)),
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, pile: &Pile<'_>) -> Finding {
    let snapshot = &ns.interval().after;
    let seconds = Compared::of(ns).span().as_secs_f64();
    let owners = owners_of(snapshot, pile.after.inode);
    let process = owners.first().and_then(|owner| snapshot.processes.get(&owner.pid));
    let local = pile.service.to_string();
    let subject = Subject::Process { netns: ns.name().into(), owners, local: Some(local.clone()) };
    let which = match pile.service {
        Service::Local(endpoint) => format!("of {endpoint}"),
        Service::Remote(endpoint) => format!("to {endpoint}"),
    };
    let held = pile.after.held.len();
    let oldest = pile.after.oldest.as_secs();
    let left = match pile.left {
        0 => format!("none of the {} at the start was closed", pile.held_before),
        left => format!("only {left} of the {} at the start were closed", pile.held_before),
    };
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: "application-leak".into(),
        confidence: Confidence::Likely,
        summary: format!(
            "{held} connections {which} wait for {} to close them, {} more than {seconds:.1} s ago{}",
            whose(&subject),
            held - pile.held_before,
            as_of(ns)
        ),
        because: format!("{left}, and the oldest heard from its peer {oldest} s ago: shorter answers would have ended"),
        subject,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: 0,
    };
    let (held, held_before, left) = (held as f64, pile.held_before as f64, pile.left as f64);
    let mut finding = finding
        .standing("CLOSE_WAIT held by a process", held, "sockets")
        .changed("CLOSE_WAIT held by a process", held - held_before, "sockets", seconds)
        .changed("of those at the start, closed", left, "sockets", seconds)
        .standing("longest time since data came in", pile.after.oldest.as_secs_f64(), "seconds");
    if pile.after.unaccepted > 0 {
        finding = finding.standing("CLOSE_WAIT not accepted yet", f64::from(pile.after.unaccepted), "sockets");
    }
    let fds = process.and_then(|process| Some((process.fds.value()?, process.fd_limit.value()?)));
    match fds {
        Some((open, limit)) => {
            let (open, limit) = (*open as f64, *limit as f64);
            finding.standing("open descriptors", open, "descriptors").standing("RLIMIT_NOFILE", limit, "descriptors")
        }
        None => finding,
    }
}

fn remedy(finding: &Finding, _: &Interval) -> Vec<Remedy> {
    let who = whose(&finding.subject);
    let pid = finding.subject.owners().first().map_or("PID".into(), |owner| owner.pid.to_string());
    let verify = "the number of CLOSE_WAIT sockets no longer grows: ss -tnp state close-wait";
    vec![
        Remedy::new(
            Level::Application,
            format!(
                "let {who} close a connection when read(2) returns 0, on every path: after errors, in pools, \
                 in handlers that wait for something else"
            ),
        )
        .verify(verify),
        Remedy::new(
            Level::Application,
            format!("until then find who holds them: ss -tnp state close-wait | grep pid={pid}, and strace -p {pid}"),
        )
        .verify(verify),
        Remedy::new(
            Level::Service,
            format!(
                "restart {who} before its descriptors run out; no sysctl and no timeout of the kernel ends CLOSE_WAIT"
            ),
        )
        .cost("its open connections")
        .verify(verify),
    ]
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let piles = piles(ns).ok()?;
    let (span, window) = (Compared::of(ns).span(), ns.interval().window());
    let held: usize = piles.iter().map(|pile| pile.after.held.len()).sum();
    let left: usize = piles.iter().map(|pile| pile.left).sum();
    let any = piles.iter().any(|pile| pile.is_leak(span));
    (!any).then(|| match held {
        0 => format!("no process holds a CLOSE_WAIT socket{}", as_of(ns)),
        _ if span == window => format!("{held} CLOSE_WAIT sockets held; {left} were closed in the window"),
        _ => format!("{held} CLOSE_WAIT sockets held; {left} were closed in {} s{}", span.as_secs(), as_of(ns)),
    })
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        wanted.extend(leaks(&ns).iter().flatten().map(|pile| (ns.id, pile.after.inode)));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Host, Listen, OWN, assert_clear, endpoint, no_permission, remedies, the_finding, unknowns, verdict,
    };
    use super::*;
    use crate::snapshot::CloseWaitBefore;

    fn service() -> Service {
        Service::Local(endpoint("10.0.0.1:8080"))
    }

    /// Sockets held at the start and the end, of which the oldest has heard nothing for so many seconds.
    fn holds(before: core::ops::Range<u64>, after: core::ops::Range<u64>, oldest: u64) -> Host {
        let (before, after): (Vec<_>, Vec<_>) = (before.collect(), after.collect());
        edit(Host::new().close_wait(service(), 7, &before, &after), move |pile| {
            pile.oldest = Duration::from_secs(oldest);
        })
    }

    fn edit(host: Host, change: impl Fn(&mut CloseWait)) -> Host {
        host.ns(|ns| {
            if let Reading::Present(groups) = &mut ns.sockets.close_wait {
                groups.values_mut().for_each(&change);
            }
        })
    }

    #[test]
    fn sockets_that_only_come_are_a_leak() {
        let host = holds(0..100, 0..140, 300).owner(7, 41).process(41, "api", 150, 1024);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "application-leak".into()));
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(finding.subject.owners()[0].comm, "api");
        insta::assert_snapshot!(format!("{}\n{}\n{}", finding.summary, finding.because, remedies(&finding)), @"
        140 connections of 10.0.0.1:8080 wait for api to close them, 40 more than 5.0 s ago
        none of the 100 at the start was closed, and the oldest heard from its peer 300 s ago: shorter answers would have ended
        1. Application: let api close a connection when read(2) returns 0, on every path: after errors, in pools, in handlers that wait for something else
        2. Application: until then find who holds them: ss -tnp state close-wait | grep pid=41, and strace -p 41
        3. Service: restart api before its descriptors run out; no sysctl and no timeout of the kernel ends CLOSE_WAIT
        ");
        assert_eq!(owners_wanted(&Snapshot::default(), Some(host.interval())), SocketSet::from([(OWN, 7)]));
        // one in a hundred may leave
        assert_eq!(verdict(&LIMIT, &holds(0..100, 1..140, 300)).0, State::Near);
    }

    #[test]
    fn slow_answers_end() {
        let host = holds(0..100, 5..140, 300);
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("135 CLOSE_WAIT sockets held; 5 were closed in the window"));
    }

    #[test]
    fn a_pile_that_does_not_grow_is_young_or_is_small_is_no_leak() {
        assert_clear(&LIMIT, &holds(0..100, 0..102, 300));
        assert_clear(&LIMIT, &holds(0..100, 0..140, 34));
        assert_clear(&LIMIT, &holds(0..6, 0..10, 300));
        assert_eq!(verdict(&LIMIT, &holds(0..6, 0..11, 300)).0, State::Near);
    }

    #[test]
    fn a_long_window_asks_for_more_age() {
        let long = |oldest| holds(0..100, 0..140, oldest).after(|snapshot| snapshot.at = Duration::from_secs(60));
        assert_clear(&LIMIT, &long(170));
        assert_eq!(verdict(&LIMIT, &long(180)).0, State::Near);
    }

    /// The window is 100 s long. Within it there was no look; the last two were then.
    fn looked(first: u64, last: u64) -> Host {
        let seconds = Duration::from_secs;
        let host = holds(0..140, 0..140, 300).ns(move |ns| ns.sockets.close_wait_at = Some(seconds(last)));
        host.before(|snapshot| snapshot.at = seconds(100)).after(move |snapshot| {
            snapshot.at = seconds(200);
            let ns = snapshot.namespaces.get_mut(&OWN).expect("one namespace");
            let pile = CloseWait { held: (0..100).collect(), ..CloseWait::default() };
            let found = [(service(), pile)].into();
            ns.sockets.close_wait_before = Some(CloseWaitBefore { at: seconds(first), found });
        })
    }

    #[test]
    fn the_looks_of_a_patient_watch_are_their_own_window() {
        insta::assert_snapshot!(the_finding(&LIMIT, &looked(10, 55)).summary, @"140 connections of 10.0.0.1:8080 wait for the application to close them, 40 more than 45.0 s ago (looked at 145 s ago)");
        // Three times as long as between the looks.
        let young = looked(0, 101);
        assert_clear(&LIMIT, &young);
        let ns = young.interval().namespaces().next().expect("one namespace");
        assert_eq!(
            ruled_out(&ns).as_deref(),
            Some("140 CLOSE_WAIT sockets held; 0 were closed in 101 s (looked at 99 s ago)")
        );
        // One look that stands for both ends tells nothing.
        assert_eq!(unknowns(&LIMIT, &looked(7, 7)), ["CLOSE_WAIT sockets (sock_diag) of own"]);
    }

    #[test]
    fn joined_windows_are_compared_from_their_start() {
        let host = holds(0..100, 0..140, 300).after(|snapshot| {
            let ns = snapshot.namespaces.get_mut(&OWN).expect("one namespace");
            let found = [(service(), CloseWait { held: (0..139).collect(), ..CloseWait::default() })].into();
            ns.sockets.close_wait_before = Some(CloseWaitBefore { at: snapshot.at - Duration::from_secs(1), found });
        });
        assert!(the_finding(&LIMIT, &host).summary.ends_with("40 more than 5.0 s ago"));
    }

    #[test]
    fn peers_that_all_close_at_once_are_no_leak() {
        // idle connections of a pool: old when they enter CLOSE_WAIT
        assert_clear(&LIMIT, &holds(0..0, 0..50, 600));
        let host = holds(0..0, 0..50, 600).before(|snapshot| {
            let ns = snapshot.namespaces.get_mut(&OWN).expect("the host's namespace");
            ns.sockets.close_wait = Reading::Absent(Absent::NotNeeded);
        });
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_nobody_has_accepted_them() {
        let host = edit(holds(0..0, 0..0, 300), |pile| pile.unaccepted = 129)
            .listener(Listen::at("10.0.0.1:8080").queues(&[129]).drops(0, 300));
        assert_clear(&LIMIT, &host);
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("no process holds a CLOSE_WAIT socket"));
    }

    #[test]
    fn silent_when_descriptors_run_out_otherwise() {
        assert_clear(&LIMIT, &holds(0..3, 0..3, 300).owner(7, 41).process(41, "api", 1_024, 1_024));
    }

    #[test]
    fn missing_readings_are_unknown() {
        let denied = Host::new().ns(|ns| ns.sockets.close_wait = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &denied), ["CLOSE_WAIT sockets (sock_diag) of own"]);
        let once = holds(0..100, 0..100, 300).after(|snapshot| snapshot.at = Duration::ZERO);
        assert_eq!(unknowns(&LIMIT, &once), ["CLOSE_WAIT sockets (sock_diag) of own"]);
        let half = holds(0..100, 0..140, 300).before(|snapshot| {
            let ns = snapshot.namespaces.get_mut(&OWN).expect("the host's namespace");
            ns.sockets.close_wait = no_permission("sock_diag");
        });
        assert_eq!(unknowns(&LIMIT, &half), ["CLOSE_WAIT sockets (sock_diag) of own"]);
        assert_clear(&LIMIT, &Host::new());
    }
}

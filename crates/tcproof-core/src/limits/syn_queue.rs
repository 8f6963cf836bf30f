//! # syn-queue
//!
//! ## What it is
//! The half-open connections of a listener: SYN answered, last ACK not yet here. It takes one more than the listener's
//! backlog, the same number that bounds its accept queue. When it is full and `net.ipv4.tcp_syncookies` is 1 (the
//! default) the kernel keeps nothing and answers with a cookie: the client is served all the same. With 0 the SYN is
//! dropped, and then also as soon as 3/4 of `net.ipv4.tcp_max_syn_backlog` is used; with cookies that knob does nothing.
//!
//! ## Evidence
//! - Cookies 0: `TcpExt.TCPReqQFullDrop` grew (backlog reached), or `ListenDrops` grew by more than `ListenOverflows`
//!   and `TCPReqQFullDrop` while a listener had 3/4 of `tcp_max_syn_backlog` half open. The listener's own drop counter
//!   says which one it was.
//! - Cookies 1: `TCPReqQFullDoCookies` and `SyncookiesSent` grew. `SyncookiesRecv` counts the cookies that came back:
//!   as many as were sent, then these were clients; next to none, then it was a flood, and the cookies absorbed it.
//! - Cookies 2 (a cookie for every SYN): the counters prove nothing, and there is no queue to fill.
//!
//! Causes: `backlog-small` (cookies sent to real clients because the listener's backlog is short: no attack, but their
//! connections lose window scaling and SACK where timestamps are off), `cookies-off` (SYNs dropped that a cookie would
//! have answered), `flood` (cookies sent, hardly any came back: absorbed).
//!
//! ## See it yourself
//! - `ss -Htan state syn-recv | awk '{print $3}' | sort | uniq -c`: half open by local address.
//! - `nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies TcpExtSyncookiesSent TcpExtSyncookiesRecv`
//! - `sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog`
//!
//! ## Look-alikes
//! - `accept-queue`: a full accept queue keeps handshakes half open and so sends cookies, too. ListenOverflows tells.
//! - `conntrack-table`: SYNs vanish before they reach TCP; no counter here moves.
//! - No limit at all: ListenDrops grows with both queues short when the SYN-ACK has no route back, or when an ICMP error
//!   kills the half-open connection. That is reported as unknown, with the counters that usually explain it.
//!
//! ## Remedy
//! Cookies on (the default) before anything else. Then the application's listen backlog, then somaxconn.
//! Never `tcp_max_syn_backlog` while cookies are on: it does nothing. A flood: leave cookies on and filter upstream.
//!
//! ## References
//! RFC 4987; net/ipv4/tcp_input.c `tcp_conn_request`, `tcp_syn_flood_action`; include/net/inet_connection_sock.h
//! `inet_csk_reqsk_queue_is_full` (5.10 and older: full at the backlog, not at one more).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Detected, Limit, SocketSet, at_least, beyond_skew, longer_backlog, owners_of, percent, raise_backlog,
    raise_somaxconn, unknown, whose,
};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Endpoint, Snapshot};

/// The half-open connections of a listener.
pub(super) static LIMIT: Limit = Limit {
    slug: "syn-queue",
    title: "SYN queue",
    causes: &[
        ("backlog-small", "real clients are served by cookies because the listener's backlog is short"),
        ("cookies-off", "SYNs are dropped that a SYN cookie would have answered"),
        ("flood", "SYNs that nobody completes fill the queue; cookies absorb them"),
    ],
    reads: &[
        "TcpExt.TCPReqQFullDrop",
        "TcpExt.TCPReqQFullDoCookies",
        "TcpExt.SyncookiesSent",
        "TcpExt.SyncookiesRecv",
        "TcpExt.ListenDrops",
        "TcpExt.ListenOverflows",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_max_syn_backlog",
        "sock_diag LISTEN",
        "sock_diag SYN_RECV",
    ],
    look_alikes: &["accept-queue", "conntrack-table"],
    knobs: &["net.ipv4.tcp_syncookies", "net.ipv4.tcp_max_syn_backlog", "net.core.somaxconn"],
    scenarios: &[
        "syn-flood-cookies-off",
        "syn-flood-cookies-on",
        "syn-flood-max-syn-backlog",
        "syn-queue-small-backlog",
    ],
    source: include_str!("syn_queue.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

/// At least this share of the cookies came back: these were clients.
const CLIENTS: f64 = 0.5;
/// Less than this share came back: certainly not clients.
const STRANGERS: f64 = 0.1;
/// Fewer cookies than this that never came back are no flood.
const FLOOD: u64 = 100;
/// Round trip assumed for the backlog's size; no counter tells the clients'.
const ROUND_TRIP: f64 = 0.2;

/// The counters by which a namespace is judged.
struct Counters {
    drops: u64,
    overflows: u64,
    full_drops: u64,
    full_cookies: u64,
    sent: u64,
    received: u64,
}

impl Counters {
    /// All of them, or the first that is missing.
    fn of(ns: &NetnsChange<'_>) -> Result<Self, (&'static str, Absent)> {
        let read = |name: &'static str| ns.counter(name).ok().map_err(|why| (name, why));
        Ok(Self {
            drops: read("TcpExt.ListenDrops")?,
            overflows: read("TcpExt.ListenOverflows")?,
            full_drops: read("TcpExt.TCPReqQFullDrop")?,
            full_cookies: read("TcpExt.TCPReqQFullDoCookies")?,
            sent: read("TcpExt.SyncookiesSent")?,
            received: read("TcpExt.SyncookiesRecv")?,
        })
    }

    /// Whether there is anything to look at.
    fn moved(&self) -> bool {
        self.full_drops > 0 || self.full_cookies > 0 || self.sent > 0 || self.other_drops() > 0
    }

    /// Dropped handshakes that neither a full accept queue nor a full SYN queue counted.
    fn other_drops(&self) -> u64 {
        self.drops.saturating_sub(self.overflows).saturating_sub(self.full_drops)
    }
}

/// `tcp_syncookies` over the window.
fn cookies(ns: &NetnsChange<'_>) -> Reading<i64> {
    const KNOB: &str = "net.ipv4.tcp_syncookies";
    match (ns.before.knob_number(KNOB), ns.after.knob_number(KNOB)) {
        (Reading::Present(before), Reading::Present(after)) if before != after => Reading::Absent(Absent::Failed {
            what: KNOB.into(),
            error: format!("was changed from {before} to {after} within the window"),
        }),
        (_, after) => after,
    }
}

/// The listeners of one endpoint (several with SO_REUSEPORT) and the half-open connections to it.
struct Queue<'a> {
    local: Endpoint,
    watches: Vec<&'a ListenerWatch>,
    /// The most seen at an end of the window; `None` where it was not read.
    half_open: Option<u64>,
    /// Half-open connections that fit.
    capacity: u64,
    /// From here on SYNs are dropped without a counter of their own: cookies are off and only the last quarter of
    /// `tcp_max_syn_backlog` is left, which the kernel keeps for peers it knows.
    last_quarter: Option<u64>,
}

impl Queue<'_> {
    /// Up to 5.10 it was full at the backlog, since then at one more.
    fn was_full(&self) -> bool {
        self.half_open.is_some_and(|half_open| half_open > 0 && half_open + 1 >= self.capacity)
    }

    fn was_in_last_quarter(&self) -> bool {
        matches!((self.half_open, self.last_quarter), (Some(half_open), Some(from)) if half_open >= from)
    }

    fn accept_queue_was_full(&self) -> bool {
        self.watches.iter().any(|watch| watch.full > 0)
    }

    /// What its listeners dropped for whatever reason; `None` where one doesn't tell.
    fn drops(&self) -> Option<u64> {
        self.watches.iter().map(|watch| watch.drops().value().copied().map(u64::from)).sum()
    }

    /// The listener that hurts most.
    fn watch(&self) -> &ListenerWatch {
        let worst = self.watches.iter().max_by_key(|watch| watch.drops().value().copied());
        worst.expect("a queue is made of at least one listener")
    }
}

/// The listeners by their endpoint.
type Listening<'a> = BTreeMap<Endpoint, Vec<&'a ListenerWatch>>;

/// Where the listener of connections to a concrete local address listens: exactly there, or on the wildcard of its
/// family, or on `[::]`, which takes IPv4 too.
fn listening_for(local: Endpoint, listening: &Listening<'_>) -> Option<Endpoint> {
    let wildcards = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let reachable = wildcards.into_iter().filter(|any: &IpAddr| any.is_ipv6() || local.addr.is_ipv4());
    let mut candidates = core::iter::once(local).chain(reachable.map(|any| Endpoint::new(any, local.port)));
    candidates.find(|at| listening.contains_key(at))
}

/// Half-open connections by the endpoint that is listened on: the most at either end of the window.
fn half_open(ns: &NetnsChange<'_>, listening: &Listening<'_>) -> Option<BTreeMap<Endpoint, u64>> {
    let mut most: Option<BTreeMap<Endpoint, u64>> = None;
    for end in [ns.before, ns.after] {
        let Reading::Present(concrete) = &end.sockets.half_open else { continue };
        let mut by_listener: BTreeMap<Endpoint, u64> = BTreeMap::new();
        for (local, count) in concrete {
            // A request socket has the address that the SYN was sent to, its listener often the wildcard.
            if let Some(at) = listening_for(*local, listening) {
                *by_listener.entry(at).or_default() += u64::from(*count);
            }
        }
        let most = most.get_or_insert_default();
        for (at, count) in by_listener {
            let seen = most.entry(at).or_default();
            *seen = count.max(*seen);
        }
    }
    most
}

fn queues<'a>(ns: &NetnsChange<'a>) -> Vec<Queue<'a>> {
    let mut listening = Listening::new();
    for watch in ns.listeners() {
        listening.entry(watch.last.local).or_default().push(watch);
    }
    let half_open = half_open(ns, &listening);
    let three_quarters = match (cookies(ns), ns.after.knob_number("net.ipv4.tcp_max_syn_backlog")) {
        (Reading::Present(0), Reading::Present(max)) => u64::try_from(max).ok().map(|max| max - max / 4),
        _ => None,
    };
    let queue = |(local, watches): (Endpoint, Vec<&'a ListenerWatch>)| {
        let bound = |watch: &&ListenerWatch| {
            let backlog = watch.last.capacity();
            three_quarters.map_or(backlog, |from| backlog.min(from + 1))
        };
        Queue {
            local,
            capacity: watches.iter().map(bound).sum(),
            last_quarter: three_quarters.map(|from| from.saturating_mul(watches.len() as u64)),
            half_open: half_open.as_ref().map(|seen| seen.get(&local).copied().unwrap_or(0)),
            watches,
        }
    };
    listening.into_iter().map(queue).collect()
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ns: NetnsChange<'_>| {
        let row = |queue: Queue<'_>| {
            let used = queue.half_open.filter(|half_open| *half_open > 0)?;
            Some(Headroom {
                limit: LIMIT.slug.into(),
                subject: subject(&ns, Some(&queue)),
                used,
                capacity: queue.capacity,
                unit: "connections".into(),
            })
        };
        queues(&ns).into_iter().filter_map(row).collect::<Vec<_>>()
    };
    interval.namespaces().flat_map(of).collect()
}

fn subject(ns: &NetnsChange<'_>, queue: Option<&Queue<'_>>) -> Subject {
    let netns = ns.name().to_string();
    match queue {
        Some(queue) => Subject::Listener {
            netns,
            local: queue.local.to_string(),
            owners: owners_of(&ns.interval().after, queue.watch().last.inode),
        },
        None => Subject::Netns { netns },
    }
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let missing = |reading: &str, why: &Absent| unknown(&LIMIT, Some(ns.name()), reading, why);
        if let Reading::Absent(why) = &ns.after.listeners {
            detected.unknown.extend(missing("listening sockets", why));
        }
        let cookies = cookies(&ns);
        if let Reading::Absent(why) = &cookies {
            detected.unknown.extend(missing("net.ipv4.tcp_syncookies", why));
        }
        let counters = match Counters::of(&ns) {
            Ok(counters) => counters,
            Err((name, why)) => {
                detected.unknown.extend(missing(name, &why));
                continue;
            }
        };
        if !counters.moved() {
            continue;
        }
        let queues = queues(&ns);
        let dropped = dropped(&ns, &counters, &queues);
        let lost = dropped.iter().map(|finding| finding.hurt).fold(0, u64::saturating_add);
        detected.findings.extend(dropped);
        if cookies == Reading::Present(1) {
            detected.findings.extend(answered_with_cookies(&ns, &counters, &queues));
        }
        if let Reading::Absent(why) = &ns.after.sockets.half_open {
            detected.unknown.extend(missing("half-open connections", why));
        }
        detected.unknown.extend(elsewhere(&ns, &counters, &queues, &cookies, lost));
    }
    detected
}

/// SYNs dropped because the queue was full: only without cookies.
fn dropped(ns: &NetnsChange<'_>, counters: &Counters, queues: &[Queue<'_>]) -> Vec<Finding> {
    let everyone = ns.listen_drops().everyone();
    let judge = |queue: &Queue<'_>| {
        let drops = queue.drops();
        let certain =
            drops.is_some_and(|drops| beyond_skew(at_least(counters.full_drops, drops, everyone), counters.full_drops));
        let seen = queue.was_full() || queue.was_in_last_quarter();
        let named = if certain || seen { counters.full_drops } else { 0 };
        // The drops of the last quarter have no counter of their own.
        let unnamed = if queue.was_in_last_quarter() { counters.other_drops() } else { 0 };
        let most = named.saturating_add(unnamed);
        let lost = drops.map_or(most, |drops| drops.min(most));
        if lost == 0 {
            return None;
        }
        let proven = certain || (drops.is_some() && seen && !queue.accept_queue_was_full());
        let half_open = match queue.half_open {
            Some(half_open) => format!("{half_open} of {} half-open connections", queue.capacity),
            None => "its half-open connections were not read".into(),
        };
        let judged = Judged {
            state: State::Limiting,
            cause: "cookies-off",
            confidence: if proven { Confidence::Proven } else { Confidence::Likely },
            summary: format!(
                "{lost} SYNs to {} dropped in {:.1} s: its SYN queue was full and SYN cookies are off",
                queue.local,
                ns.interval().seconds()
            ),
            because: format!(
                "{half_open}, and the kernel may not answer with a cookie; the counters do not tell a flood from \
                 clients, but cookies serve the clients in both"
            ),
            lost,
        };
        Some(finding(ns, Some(queue), counters, judged))
    };
    queues.iter().filter_map(judge).collect()
}

/// SYNs answered with a cookie because the queue was full: nobody was harmed.
fn answered_with_cookies(ns: &NetnsChange<'_>, counters: &Counters, queues: &[Queue<'_>]) -> Option<Finding> {
    if counters.full_cookies == 0 || counters.sent == 0 {
        return None;
    }
    let full = || queues.iter().filter(|queue| queue.was_full());
    let queue = if counters.overflows > 0 {
        // A full accept queue keeps handshakes half open and so sends cookies: that is the accept queue's finding.
        // It is this queue's only for a listener that dropped nothing and never had a full accept queue.
        Some(full().find(|queue| !queue.accept_queue_was_full() && queue.drops() == Some(0))?)
    } else {
        match queues {
            [only] => Some(only),
            _ => full().max_by_key(|queue| queue.half_open),
        }
    };
    let back = (counters.received as f64 / counters.sent as f64).min(1.0);
    let lost = counters.sent.saturating_sub(counters.received);
    let at = match queue {
        Some(queue) => queue.local.to_string(),
        None => format!("a listener of {}", ns.name()),
    };
    let returned = format!("{} of {} cookies came back ({} %)", counters.received, counters.sent, percent(back));
    let flood = back < CLIENTS && lost >= FLOOD;
    // Which listener it was is certain only when there is one, or one was seen full.
    let certain = queue.is_some() && (back >= CLIENTS || (flood && back < STRANGERS));
    let judged = Judged {
        state: State::Near,
        cause: if flood { "flood" } else { "backlog-small" },
        confidence: if certain { Confidence::Proven } else { Confidence::Likely },
        summary: format!(
            "SYN queue of {at} full: {} SYNs answered with a cookie in {:.1} s, none dropped for it",
            counters.sent,
            ns.interval().seconds()
        ),
        because: if flood {
            format!("{returned}: most of these SYNs are not from clients; the cookies absorb them")
        } else {
            format!("{returned}: this is no flood; the listener's backlog is too short for its clients")
        },
        lost: 0,
    };
    Some(finding(ns, queue, counters, judged))
}

/// What a finding says, apart from its numbers.
struct Judged {
    state: State,
    cause: &'static str,
    confidence: Confidence,
    summary: String,
    because: String,
    lost: u64,
}

fn finding(ns: &NetnsChange<'_>, queue: Option<&Queue<'_>>, counters: &Counters, judged: Judged) -> Finding {
    let seconds = ns.interval().seconds();
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state: judged.state,
        cause: judged.cause.into(),
        confidence: judged.confidence,
        subject: subject(ns, queue),
        summary: judged.summary,
        because: judged.because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: judged.lost,
    };
    if let Some(queue) = queue {
        if let Some(drops) = queue.drops() {
            let drops = drops as f64;
            finding = finding.changed("SK_MEMINFO_DROPS", drops, "packets", seconds);
        }
        if let Some(half_open) = queue.half_open {
            let half_open = half_open as f64;
            finding = finding.standing("half-open connections (SYN_RECV)", half_open, "connections");
        }
        let capacity = queue.capacity as f64;
        finding = finding.standing("half-open connections that fit", capacity, "connections");
    }
    for (name, growth) in [
        ("TcpExt.TCPReqQFullDrop", counters.full_drops),
        ("TcpExt.TCPReqQFullDoCookies", counters.full_cookies),
        ("TcpExt.SyncookiesSent", counters.sent),
        ("TcpExt.SyncookiesRecv", counters.received),
        ("TcpExt.ListenDrops", counters.drops),
        ("TcpExt.ListenOverflows", counters.overflows),
    ] {
        let growth = growth as f64;
        finding = finding.changed(name, growth, "events", seconds);
    }
    for name in ["net.ipv4.tcp_syncookies", "net.ipv4.tcp_max_syn_backlog"] {
        if let Reading::Present(value) = ns.after.knob_number(name) {
            let value = value as f64;
            finding = finding.standing(name, value, "setting");
        }
    }
    finding
}

/// Drops that neither queue explains: the connection died elsewhere, often for want of a route back.
fn elsewhere(
    ns: &NetnsChange<'_>,
    counters: &Counters,
    queues: &[Queue<'_>],
    cookies: &Reading<i64>,
    lost: u64,
) -> Option<Unknown> {
    let rest = counters.drops.saturating_sub(counters.overflows).saturating_sub(lost);
    if rest == 0 {
        return None;
    }
    let hit: Vec<String> =
        queues.iter().filter(|queue| queue.drops().is_some_and(|d| d > 0)).map(|q| q.local.to_string()).collect();
    let listeners = match &*hit {
        [] => "no listener that was seen".into(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    };
    // Without cookies a queue can drop and count nothing but ListenDrops: only the half-open connections tell.
    let could_be_full = cookies.value().is_none_or(|mode| *mode == 0) && queues.iter().any(|q| q.half_open.is_none());
    let (because, would_need) = if counters.full_drops > lost {
        let because = format!("a SYN queue was full ({} TCPReqQFullDrop), but not seen which", counters.full_drops);
        (because, "another run while it lasts, or SYN cookies, which make it harmless")
    } else if could_be_full {
        let because = "the half-open connections were not read: a full SYN queue is neither shown nor ruled out";
        (because.into(), "another run, or SYN cookies, which make it harmless")
    } else {
        let because = format!("no full queue dropped them: accept and SYN queue were short; {}", what_else_moved(ns));
        (because, "a look at the way back to the clients: ip route get ADDRESS, rp_filter, the firewall's counters")
    };
    Some(Unknown {
        limit: LIMIT.slug.into(),
        reading: format!(
            "{rest} of the {} TcpExt.ListenDrops of {}, counted by {listeners}",
            counters.drops,
            ns.name()
        ),
        because,
        would_need: Some(would_need.into()),
    })
}

/// Counters that explain dropped handshakes without a full queue, as far as they grew.
fn what_else_moved(ns: &NetnsChange<'_>) -> String {
    let names = ["Ip.OutNoRoutes", "Ip6.OutNoRoutes", "TcpExt.IPReversePathFilter", "TcpExt.TCPDeferAcceptDrop"];
    let grown = names.iter().filter_map(|name| {
        let growth = *ns.counter(name).value()?;
        (growth > 0).then(|| format!("{name} +{growth}"))
    });
    match &*grown.collect::<Vec<_>>() {
        [] => format!("none of {} grew", names.join(", ")),
        grown => format!("in the same window {}", grown.join(", ")),
    }
}

/// The queue that a finding is about.
fn watch_of<'a>(finding: &Finding, ns: &NetnsChange<'a>) -> Option<&'a ListenerWatch> {
    let Subject::Listener { local, .. } = &finding.subject else { return None };
    ns.listeners()
        .filter(|watch| watch.last.local.to_string() == *local)
        .max_by_key(|watch| watch.drops().value().copied())
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some(ns) = finding.subject.netns().and_then(|name| interval.namespace(name)) else { return vec![] };
    let who = whose(&finding.subject);
    let no_cookies = "TcpExt.SyncookiesSent no longer grows under the same load";
    let longer = |verify: &str| {
        let Some(watch) = watch_of(finding, &ns) else {
            let text = "find the listener (ss -Htan state syn-recv), then give it a longer listen backlog";
            return vec![Remedy::new(Level::Service, text).verify(verify)];
        };
        let rate = ns.counter("Tcp.PassiveOpens").value().map_or(0.0, |opens| *opens as f64 / interval.seconds());
        let needed = 1.25 * rate * ROUND_TRIP;
        let to = longer_backlog(watch, needed as u32);
        let formula = format!(
            "1.25 × {rate:.0} connections/s × {ROUND_TRIP} s assumed round trip = {needed:.0}, at least twice the present {}",
            watch.last.backlog
        );
        let mut remedies = vec![raise_backlog(interval, watch, to, &formula).verify(verify)];
        remedies.extend(raise_somaxconn(&ns, &who, to, &formula).map(|remedy| remedy.verify(verify)));
        remedies
    };
    match finding.cause.as_str() {
        "cookies-off" => {
            let verify = "TcpExt.TCPReqQFullDrop and the listener's drops no longer grow";
            let now = ns.after.knob_number("net.ipv4.tcp_syncookies").value().map_or("0".into(), ToString::to_string);
            let text = "answer with a cookie instead of dropping when the queue is full: it is the kernel's default, \
                        serves clients under a flood, and makes the queue's length unimportant";
            let cookies = (now != "1").then(|| {
                Remedy::knob(text, "net.ipv4.tcp_syncookies", now, "1")
                    .formula("the kernel's default")
                    .cost("connections made by cookie lose window scaling and SACK where timestamps are off")
                    .verify(verify)
            });
            let has_cookies = cookies.is_some();
            // With cookies its length counts no more: one change does it.
            let or_longer = longer(verify).into_iter().map(|remedy| match has_cookies {
                true => Remedy { text: format!("{WITHOUT_COOKIES}: {}", remedy.text), ..remedy }.alternative(),
                false => remedy,
            });
            let mut remedies: Vec<Remedy> = cookies.into_iter().chain(or_longer).collect();
            remedies.extend(raise_max_syn_backlog(finding, &ns).map(|remedy| remedy.verify(verify)));
            remedies
        }
        "flood" => vec![
            Remedy::new(
                Level::Service,
                "leave SYN cookies on: they absorb it; filter upstream (the provider, or nftables synproxy or a limit \
                 on new connections in front of this host). A longer backlog or tcp_max_syn_backlog only feeds it",
            )
            .verify("TcpExt.SyncookiesSent no longer grows"),
        ],
        _ => longer(no_cookies),
    }
}

/// How the other ways begin where cookies are off.
const WITHOUT_COOKIES: &str = "only if cookies must stay off";

/// Only where it is what bounds the queue: cookies off, and 3/4 of it less than the backlog.
fn raise_max_syn_backlog(finding: &Finding, ns: &NetnsChange<'_>) -> Option<Remedy> {
    let now = *ns.after.knob_number("net.ipv4.tcp_max_syn_backlog").value()?;
    let backlog = i64::from(watch_of(finding, ns)?.last.backlog);
    let to = (backlog + 1) * 4 / 3 + 1;
    (now < to).then(|| {
        Remedy::knob(
            format!("{WITHOUT_COOKIES}: let the SYN queue use the whole backlog; does nothing once cookies are on"),
            "net.ipv4.tcp_max_syn_backlog",
            now.to_string(),
            to.to_string(),
        )
        .alternative()
        .formula(format!("4/3 × (backlog {backlog} + 1)"))
        .cost("about 0.3 KiB for each half-open connection")
    })
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let counters = Counters::of(ns).ok()?;
    if counters.full_drops > 0 || counters.other_drops() > 0 {
        return None;
    }
    match (counters.sent, counters.overflows) {
        (0, _) => Some("no SYN dropped by it, 0 cookies sent".into()),
        (sent, 1..) => Some(format!("no SYN dropped by it, {sent} answered with a cookie")),
        _ => None,
    }
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        let Ok(counters) = Counters::of(&ns) else { continue };
        if !counters.moved() {
            continue;
        }
        let queues = queues(&ns);
        let only = queues.len() == 1;
        for queue in queues.iter().filter(|queue| only || queue.was_full() || queue.drops().is_some_and(|d| d > 0)) {
            wanted.extend(queue.watches.iter().map(|watch| (ns.id, watch.last.inode)));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::testing::{
        Host, Listen, absent, assert_clear, detect, no_permission, remedies, the_finding, unknowns, verdict,
    };

    /// One listener on port 80 that dropped `drops` handshakes.
    fn host(drops: u32) -> Host {
        Host::new()
            .listener(Listen::at("0.0.0.0:80").drops(0, drops).pid(7))
            .process(7, "nginx", 20, 1024)
            .grew("TcpExt.ListenDrops", u64::from(drops))
    }

    fn cookies(host: Host, sent: u64, received: u64) -> Host {
        host.grew("TcpExt.TCPReqQFullDoCookies", sent)
            .grew("TcpExt.SyncookiesSent", sent)
            .grew("TcpExt.SyncookiesRecv", received)
    }

    fn no_cookies(drops: u32) -> Host {
        host(drops).knob("net.ipv4.tcp_syncookies", "0")
    }

    #[test]
    fn dropped_syns_without_cookies_are_limiting() {
        let host = no_cookies(342).grew("TcpExt.TCPReqQFullDrop", 342).half_open("10.0.0.2:80", 129);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Limiting, "cookies-off", 342));
        assert_eq!(finding.confidence, Confidence::Proven);
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        342 SYNs to 0.0.0.0:80 dropped in 5.0 s: its SYN queue was full and SYN cookies are off
        129 of 129 half-open connections, and the kernel may not answer with a cookie; the counters do not tell a flood from clients, but cookies serve the clients in both
        ");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Kernel: answer with a cookie instead of dropping when the queue is full: it is the kernel's default, serves clients under a flood, and makes the queue's length unimportant [net.ipv4.tcp_syncookies 0 → 1]
        2. Service: only if cookies must stay off: listen … backlog=N; (nginx.conf, on one listen directive of that address) — N = 256; takes effect with nginx -s reload
        ");
        assert_eq!(detect(&LIMIT, &host).unknown, []);
    }

    #[test]
    fn three_quarters_of_max_syn_backlog_is_full_without_cookies() {
        // Measured: backlog 4096, tcp_max_syn_backlog 64 holds 49 and counts nothing but ListenDrops.
        let host = no_cookies(50).knob("net.ipv4.tcp_max_syn_backlog", "64");
        let full = host.clone().half_open("10.0.0.2:80", 49);
        let finding = the_finding(&LIMIT, &full);
        assert_eq!((finding.confidence, finding.hurt), (Confidence::Proven, 50));
        let knobs: Vec<_> = finding.remedies.iter().filter_map(|remedy| remedy.knob.as_deref()).collect();
        assert_eq!(knobs, ["net.ipv4.tcp_syncookies", "net.ipv4.tcp_max_syn_backlog"]);
        assert_eq!(headroom(full.interval()).iter().map(|h| (h.used, h.capacity)).collect::<Vec<_>>(), [(49, 49)]);
        // the same drops with a short queue are not the queue's
        assert_eq!(unknowns(&LIMIT, &host.clone().half_open("10.0.0.2:80", 20)).len(), 1);
        // with cookies the knob bounds nothing
        assert_eq!(unknowns(&LIMIT, &full.knob("net.ipv4.tcp_syncookies", "1")).len(), 1);
    }

    #[test]
    fn of_two_listeners_the_one_that_dropped_is_named() {
        let host = no_cookies(342)
            .listener(Listen::at("[::]:443"))
            .grew("TcpExt.TCPReqQFullDrop", 342)
            .half_open("10.0.0.2:80", 129);
        assert!(matches!(the_finding(&LIMIT, &host).subject, Subject::Listener { local, .. } if local == "0.0.0.0:80"));
    }

    #[test]
    fn an_overflowing_neighbour_read_a_moment_later_is_not_accused() {
        let host = no_cookies(5)
            .listener(Listen::at("0.0.0.0:81").queues(&[129]).drops(0, 10_050))
            .half_open("10.0.0.2:80", 129)
            .grew("TcpExt.TCPReqQFullDrop", 5)
            .grew("TcpExt.ListenDrops", 10_000)
            .grew("TcpExt.ListenOverflows", 10_000);
        assert!(matches!(the_finding(&LIMIT, &host).subject, Subject::Listener { local, .. } if local == "0.0.0.0:80"));
    }

    #[test]
    fn cookies_that_come_back_are_clients_and_a_small_backlog() {
        let host = cookies(host(0), 83, 83);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Near, "backlog-small", 0));
        assert_eq!(finding.confidence, Confidence::Proven);
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        SYN queue of 0.0.0.0:80 full: 83 SYNs answered with a cookie in 5.0 s, none dropped for it
        83 of 83 cookies came back (100 %): this is no flood; the listener's backlog is too short for its clients
        ");
        insta::assert_snapshot!(remedies(&finding), @"1. Service: listen … backlog=N; (nginx.conf, on one listen directive of that address) — N = 256; takes effect with nginx -s reload");
    }

    #[test]
    fn cookies_that_never_come_back_are_an_absorbed_flood() {
        let host = cookies(host(0), 178_745, 300).half_open("10.0.0.2:80", 129);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause), (State::Near, "flood"));
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        SYN queue of 0.0.0.0:80 full: 178745 SYNs answered with a cookie in 5.0 s, none dropped for it
        300 of 178745 cookies came back (1 %): most of these SYNs are not from clients; the cookies absorb them
        ");
        assert!(finding.remedies.iter().all(|remedy| remedy.knob.is_none()));
    }

    #[test]
    fn a_handful_of_lost_cookies_is_not_called_a_flood() {
        assert_eq!(verdict(&LIMIT, &cookies(host(0), 12, 1)), (State::Near, "backlog-small".into()));
    }

    #[test]
    fn several_listeners_and_none_seen_full_is_the_namespaces() {
        let host = cookies(host(0), 83, 83).listener(Listen::at("0.0.0.0:81"));
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.subject, finding.confidence), (Subject::Netns { netns: "own".into() }, Confidence::Likely));
        let full = host.half_open("10.0.0.2:81", 129);
        assert!(matches!(the_finding(&LIMIT, &full).subject, Subject::Listener { local, .. } if local == "0.0.0.0:81"));
    }

    #[test]
    fn silent_when_the_accept_queue_is_full() {
        // Measured: a burst over 50 ms into a backlog of 16 overflowed 83 times and sent 83 cookies.
        let listen = Listen::at("0.0.0.0:80").backlog(16).queues(&[17]).drops(0, 83);
        let host = Host::new().listener(listen).grew("TcpExt.ListenDrops", 83).grew("TcpExt.ListenOverflows", 83);
        assert_clear(&LIMIT, &cookies(host.clone(), 83, 83));
        assert_clear(&LIMIT, &cookies(host.clone().half_open("10.0.0.2:80", 17), 83, 0));
        // A flood on another port is still seen.
        let flooded = cookies(host.listener(Listen::at("0.0.0.0:81")), 9_000, 0).half_open("10.0.0.2:81", 129);
        assert_eq!(verdict(&LIMIT, &flooded), (State::Near, "flood".into()));
    }

    #[test]
    fn silent_when_overflows_of_a_neighbour_cost_drops_without_cookies() {
        let host = no_cookies(342).grew("TcpExt.ListenOverflows", 342).half_open("10.0.0.2:80", 129);
        assert_clear(&LIMIT, &host);
    }

    #[test]
    fn silent_when_syns_vanish_before_they_reach_a_listener() {
        assert_clear(&LIMIT, &host(0).conntrack(1_000, 1_000, 1_000, 1_000).conntrack_grew("drop", 600));
    }

    #[test]
    fn drops_with_short_queues_are_unknown_and_name_what_else_moved() {
        let host = host(400).grew("Ip.OutNoRoutes", 400);
        let unknown = detect(&LIMIT, &host).unknown;
        assert_eq!(unknowns(&LIMIT, &host).len(), 1);
        insta::assert_snapshot!(format!("{}\n{}", unknown[0].reading, unknown[0].because), @r"
        400 of the 400 TcpExt.ListenDrops of own, counted by 0.0.0.0:80
        no full queue dropped them: accept and SYN queue were short; in the same window Ip.OutNoRoutes +400
        ");
        // With cookies off it takes a look at the half-open connections to say so.
        let off = host.knob("net.ipv4.tcp_syncookies", "0");
        assert!(detect(&LIMIT, &off).unknown[0].because.contains("neither shown nor ruled out"));
        assert!(detect(&LIMIT, &off.half_open("10.0.0.2:80", 3)).unknown[0].because.contains("OutNoRoutes +400"));
    }

    #[test]
    fn half_open_connections_belong_to_the_most_exact_listener() {
        let host = Host::new()
            .listener(Listen::at("10.0.0.2:80"))
            .listener(Listen::at("0.0.0.0:80").cookie(81))
            .listener(Listen::at("[::]:80").cookie(82))
            .listener(Listen::at("[::]:443"))
            .half_open("10.0.0.2:80", 1)
            .half_open("10.0.0.3:80", 2)
            .half_open("[2001:db8::1]:80", 3)
            .half_open("10.0.0.2:443", 4)
            .half_open("10.0.0.2:22", 5);
        let used: Vec<_> =
            headroom(host.interval()).into_iter().map(|row| format!("{} {}", row.subject, row.used)).collect();
        assert_eq!(used, ["0.0.0.0:80 2", "10.0.0.2:80 1", "[::]:80 3", "[::]:443 4"]);
    }

    #[test]
    fn a_cookie_for_every_syn_proves_nothing() {
        assert_clear(&LIMIT, &cookies(host(0), 9_000, 0).knob("net.ipv4.tcp_syncookies", "2"));
    }

    #[test]
    fn a_knob_that_changed_within_the_window_is_unknown() {
        let host = cookies(host(0), 9_000, 0).ns_after(|ns| {
            ns.knobs.insert("net.ipv4.tcp_syncookies".into(), Reading::Present("0".into()));
        });
        assert_eq!(unknowns(&LIMIT, &host), ["net.ipv4.tcp_syncookies of own"]);
    }

    #[test]
    fn what_is_missing_is_unknown() {
        for counter in LIMIT.reads.iter().filter(|name| name.starts_with("TcpExt.")) {
            assert_eq!(unknowns(&LIMIT, &host(0).without(counter)), [format!("{counter} of own")]);
        }
        assert_eq!(
            unknowns(&LIMIT, &host(0).without_knob("net.ipv4.tcp_syncookies")),
            ["net.ipv4.tcp_syncookies of own"]
        );
        let unlistened = host(0).ns(|ns| ns.listeners = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &unlistened), ["listening sockets of own"]);
        let unread = no_cookies(9).ns(|ns| ns.sockets.half_open = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &unread)[0], "half-open connections of own");
        // Drops that no listener tells of its own: which one was full cannot be said.
        let untold = Host::new()
            .listener(Listen::at("0.0.0.0:80").without_drops())
            .knob("net.ipv4.tcp_syncookies", "0")
            .ns(|ns| ns.sockets.half_open = absent("sock_diag"))
            .grew("TcpExt.TCPReqQFullDrop", 9)
            .grew("TcpExt.ListenDrops", 9);
        assert!(unknowns(&LIMIT, &untold).iter().any(|reading| reading.contains("9 of the 9 TcpExt.ListenDrops")));
    }

    #[test]
    fn it_is_ruled_out_by_its_own_counters() {
        let said = |host: &Host| ruled_out(&host.interval().namespaces().next().expect("one namespace"));
        assert_eq!(said(&host(0)).as_deref(), Some("no SYN dropped by it, 0 cookies sent"));
        let overflow = host(83).grew("TcpExt.ListenOverflows", 83);
        assert!(said(&cookies(overflow, 83, 83)).is_some_and(|because| because.contains("83 answered with a cookie")));
        assert_eq!(said(&cookies(host(0), 83, 83)), None);
        assert_eq!(said(&host(5)), None);
    }

    #[test]
    fn a_quiet_host_is_clear_and_asks_for_nothing() {
        assert_clear(&LIMIT, &host(0));
        assert!(headroom(host(0).interval()).is_empty());
        assert!(owners_wanted(&Snapshot::default(), Some(host(0).interval())).is_empty());
        assert_eq!(owners_wanted(&Snapshot::default(), Some(host(9).interval())).len(), 1);
    }
}

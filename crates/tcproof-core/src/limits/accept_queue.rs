//! # accept-queue
//!
//! ## What it is
//! The queue of finished handshakes that wait for the application's `accept(2)`. It takes one connection more than
//! the backlog that `listen(2)` was granted: min(argument, `net.core.somaxconn` at that moment). When it is full the
//! kernel drops the next SYN, or the last ACK of a handshake, without a word to the client: its connect takes 1 s, 3 s,
//! 7 s longer, or times out; with SYN cookies it believes to be connected and is not.
//!
//! ## Evidence
//! - The namespace's `TcpExt.ListenOverflows` grew in the window, and so did the listener's own drop counter (`sk_drops`,
//!   SK_MEMINFO_DROPS of sock_diag). The listener's may count more (last ACKs that TCP_DEFER_ACCEPT ignores, an overflow
//!   at the last ACK twice), so of several listeners one is charged with what the others cannot have dropped, or when
//!   its queue was seen full. What cannot be placed is shown as a remainder.
//! - Preferred for the queue's length and the rate of accepting: what a probe sees at each arrival (eBPF at
//!   `sk_data_ready`, 6.2 or later). Where one listener alone was filled, all overflows were its own: `proven`.
//! - Looks at the queue tell the cause, not the fact: bursts fall between looks, the drop counter misses none.
//!   Full in most looks: the application is too slow. Empty in most looks: the backlog is too small for the bursts.
//! - With `tcp_abort_on_overflow` those whose last ACK finds it full are reset: a probe (eBPF at `tcp_send_reset`) tells who they
//!   are. As many of them as `TcpExt.EmbryonicRsts` has are overflows of that listener, if its queue was seen full.
//! - One retried SYN counts again: the counter is not a number of clients.
//!
//! Causes: `application-slow` (it accepts less than arrives), `backlog-small` (keeps up, but not with bursts),
//! `somaxconn-clamps` (the queue is exactly somaxconn long), `not-relistened` (the program asks for more and would get
//! more now, but has not called `listen(2)` since), `descriptor-limit` (`accept(2)` fails with EMFILE or ENFILE),
//! `listener-imbalance` (SO_REUSEPORT: one listener drops while its siblings idle).
//!
//! ## See it yourself
//! - `ss -ltnm`: Recv-Q is the queue, Send-Q the backlog, `d` in skmem the drops. Full is Recv-Q = Send-Q + 1.
//! - `nstat -az TcpExtListenOverflows TcpExtListenDrops`
//! - `strace -f -e trace=listen,accept4 -p PID`: the argument of `listen(2)`, which no file shows.
//!
//! ## Look-alikes
//! - `syn-queue`: ListenDrops without ListenOverflows, the accept queue short. A small backlog also bounds the SYN
//!   queue, so a full accept queue sends SYN cookies without any attack.
//! - `file-descriptors`: the queue is full because `accept(2)` fails.
//! - `conntrack-table`: SYNs vanish before they reach the listener; ListenDrops does not move.
//!
//! ## Remedy
//! The application first: a bigger queue in front of a slow application makes clients wait for answers that they have
//! given up on, and halves the goodput. For bursts: backlog = 1.25 × arrival rate × longest pause of the accept loop,
//! at most what is accepted in one second. Then somaxconn, at least as big, before the program listens again.
//!
//! ## References
//! listen(2); net/ipv4/tcp_ipv4.c `tcp_v4_syn_recv_sock`, net/ipv4/tcp_input.c `tcp_conn_request`,
//! include/net/sock.h `sk_acceptq_is_full` (full when longer than, not as long as, the backlog).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt::Write as _;

use super::turned_away::{ABORT, EMBRYONIC, turned_away};
use super::{
    Detected, Limit, SocketSet, at_least, beyond_skew, cannot_accept, file_descriptors, host_out_of_files,
    longer_backlog, owners_of, percent, processes_of, raise_backlog, raise_somaxconn, unknown, whose,
};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::Reading;
use crate::servers::{listen_setting, requested_backlog};
use crate::snapshot::Snapshot;

/// The accept queue of a listener.
pub(super) static LIMIT: Limit = Limit {
    slug: "accept-queue",
    title: "accept queue",
    causes: &[
        ("application-slow", "the application accepts less than arrives"),
        ("backlog-small", "the application keeps up, but its queue is too short for the bursts"),
        ("somaxconn-clamps", "the queue is as long as net.core.somaxconn allows"),
        ("not-relistened", "the program asks for a longer queue, but has not called listen(2) since it could get one"),
        ("descriptor-limit", "accept(2) fails: the process has no descriptor left, or the host no file"),
        ("listener-imbalance", "one of several listeners on the port drops while the others idle"),
    ],
    reads: &[
        "sk_data_ready (eBPF)",
        "kfree_skb: TCP_LISTEN_OVERFLOW (eBPF)",
        "tcp_send_reset (eBPF)",
        "sock_diag LISTEN",
        "TcpExt.ListenOverflows",
        "TcpExt.ListenDrops",
        "Tcp.PassiveOpens",
        EMBRYONIC,
        ABORT,
    ],
    look_alikes: &["syn-queue", "file-descriptors", "conntrack-table"],
    knobs: &["net.core.somaxconn"],
    scenarios: &[
        "accept-queue-abort",
        "accept-queue-bursty",
        "accept-queue-descriptors",
        "accept-queue-herd",
        "accept-queue-ipv6",
        "accept-queue-mptcp",
        "accept-queue-not-relistened",
        "accept-queue-one-of-two",
        "accept-queue-paced",
        "accept-queue-reuseport",
        "accept-queue-somaxconn",
        "accept-queue-stalled",
        "syn-flood-beside-overflow",
    ],
    source: include_str!("accept_queue.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

/// A queue that passed this share of its capacity is near.
const NEAR: f64 = 0.8;
/// A queue shorter than this is near only when it was seen full repeatedly: one waiting connection is no sign.
const SMALL: u32 = 16;
/// How many looks make "repeatedly".
const REPEATEDLY: u32 = 3;
/// More than half full in at least this share of the looks: the application does not keep up.
const SLOW: f64 = 0.5;
/// A pause that was seen over so many looks has been measured; a shorter one, not.
const MEASURED: f64 = 3.0;
/// Looks that are further apart than so many seconds, as those of a patient watch are, miss most bursts.
const SPARSE: f64 = 0.25;
/// somaxconn's default until 5.3: what a program that asks for more got where nobody had raised it.
const OLD_DEFAULT: u32 = 128;

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ns: NetnsChange<'_>| {
        let netns = ns.name().to_string();
        ns.listeners()
            .map(|watch| Headroom {
                limit: LIMIT.slug.into(),
                subject: listener(&netns, watch, interval),
                used: u64::from(ns.longest(watch)),
                capacity: watch.last.capacity(),
                unit: "connections".into(),
            })
            .collect::<Vec<_>>()
    };
    interval.namespaces().flat_map(of).collect()
}

fn listener(netns: &str, watch: &ListenerWatch, interval: &Interval) -> Subject {
    Subject::Listener {
        netns: netns.into(),
        local: watch.last.local.to_string(),
        owners: owners_of(&interval.after, watch.last.inode),
    }
}

/// Listeners whose accept queue dropped handshakes: how many, and how sure that is. Together never more than the
/// namespace counted.
fn overflowed<'a>(ns: &NetnsChange<'a>) -> Vec<(&'a ListenerWatch, u64, Confidence)> {
    let everyone = ns.listen_drops().everyone();
    let overflows = ns.counter("TcpExt.ListenOverflows").value().copied();
    let sole = sole_filled(ns);
    let judge = |watch: &'a ListenerWatch| {
        let drops = watch.drops().value().copied().map(u64::from);
        let (most, certain) = match (drops, overflows) {
            (Some(drops), Some(overflows)) => (drops.min(overflows), at_least(overflows, drops, everyone)),
            // Without one of the two counters, a queue seen full is what is left.
            (Some(one), None) | (None, Some(one)) => (one, 0),
            (None, None) => return None,
        };
        let certain = if sole == Some(watch.last.cookie) { most } else { certain };
        // Each that it reset for a full queue is an overflow, whatever the others dropped.
        let reset = turned_away(ns, watch).filter(|_| was_full(ns, watch)).map_or(0, |away| away.certain);
        let certain = certain.max(reset.min(most));
        let confidence = match beyond_skew(certain, most) {
            true => Confidence::Proven,
            false if was_full(ns, watch) => Confidence::Likely,
            false => return None,
        };
        (most > 0).then_some((watch, most, confidence, certain))
    };
    let mut found: Vec<_> = ns.listeners().filter_map(judge).collect();
    found.sort_by_key(|(_, most, confidence, certain)| (*confidence, Reverse(*certain), Reverse(*most)));
    let mut left = overflows.unwrap_or(u64::MAX);
    let mut share = |(watch, most, confidence, _): (&'a ListenerWatch, u64, Confidence, u64)| {
        let lost = most.min(left);
        left -= lost;
        (lost > 0).then_some((watch, lost, confidence))
    };
    found.into_iter().filter_map(&mut share).collect()
}

/// Whether it was seen full, at an arrival or at a look.
fn was_full(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> bool {
    watch.full > 0 || ns.arrivals(watch).is_some_and(|row| row.full > 0)
}

/// The one listener of a namespace whose queue was ever full, where a probe saw each arrival at each of them: nobody else
/// can have overflowed.
fn sole_filled(ns: &NetnsChange<'_>) -> Option<u64> {
    let table = ns.interval().trace.arrivals.value().filter(|table| table.lost == 0)?;
    let rows = table.rows.iter().filter(|row| row.netns == ns.id && row.full > 0).map(|row| row.cookie);
    let looks = ns.listeners().filter(|watch| was_full(ns, watch)).map(|watch| watch.last.cookie);
    let mut filled: Vec<_> = rows.chain(looks).collect();
    filled.sort_unstable();
    filled.dedup();
    // One that had no cookie yet may be any.
    match filled[..] {
        [cookie] if cookie != 0 => Some(cookie),
        _ => None,
    }
}

/// A listener that closes and comes back, perhaps many times a second, is one: the worst speaks for those before and
/// after it. SO_REUSEPORT siblings are there at the same time and speak for themselves.
fn generations<'a>(
    ns: &NetnsChange<'a>,
    found: Vec<(&'a ListenerWatch, u64, Confidence)>,
) -> Vec<(&'a ListenerWatch, u64, Confidence)> {
    let mut kept: Vec<(&ListenerWatch, u64, Confidence)> = vec![];
    for (watch, lost, confidence) in found {
        let of_one = |other: &ListenerWatch| {
            let same = (other.last.local, other.last.device) == (watch.last.local, watch.last.device);
            same && (ns.has_closed(watch) || ns.has_closed(other)) && !watch.was_beside(other)
        };
        match kept.iter_mut().find(|(other, ..)| of_one(other)) {
            Some((_, all, _)) => *all = all.saturating_add(lost),
            None => kept.push((watch, lost, confidence)),
        }
    }
    kept
}

fn is_near(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> bool {
    let peak = f64::from(ns.longest(watch)) / watch.last.capacity() as f64;
    peak >= NEAR && (watch.last.backlog >= SMALL || watch.full >= REPEATEDLY)
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        if let Reading::Absent(why) = &ns.after.listeners {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), "listening sockets", why));
        }
        let overflows = ns.counter("TcpExt.ListenOverflows");
        if let Reading::Absent(why) = &overflows {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), "TcpExt.ListenOverflows", why));
        }
        let overflowed = overflowed(&ns);
        // One that has closed has no future to warn of.
        let near = ns.listeners().filter(|watch| is_near(&ns, watch) && !ns.has_closed(watch));
        let near = near.filter(|near| overflowed.iter().all(|(watch, ..)| watch.last.cookie != near.last.cookie));
        detected.findings.extend(near.map(|watch| finding(&ns, watch, State::Near, Confidence::Proven, 0)));
        let placed = overflowed.iter().map(|(_, lost, _)| *lost).fold(0, u64::saturating_add);
        detected.findings.extend(
            generations(&ns, overflowed)
                .into_iter()
                .map(|(watch, lost, confidence)| finding(&ns, watch, State::Limiting, confidence, lost)),
        );
        detected.unknown.extend(remainder(&ns, overflows.value().copied().unwrap_or(0), placed));
    }
    detected
}

/// Overflows that no listener owns up to.
fn remainder(ns: &NetnsChange<'_>, overflows: u64, placed: u64) -> Option<Unknown> {
    let missing = overflows.saturating_sub(placed);
    (beyond_skew(missing, overflows) && ns.after.listeners.value().is_some()).then(|| Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("{missing} of the {overflows} TcpExt.ListenOverflows of {}", ns.name()),
        because: "they could be of several listeners, none of which was seen full, or of one that closed".into(),
        would_need: Some("a run in which the listener stays".into()),
    })
}

fn finding(ns: &NetnsChange<'_>, watch: &ListenerWatch, state: State, confidence: Confidence, lost: u64) -> Finding {
    let interval = ns.interval();
    let seconds = interval.seconds();
    let (cause, mut because) = cause(ns, watch);
    if ns.has_closed(watch) {
        because.push_str("; this listener has closed since");
    }
    let away = turned_away(ns, watch);
    if let Some(away) = &away {
        let _ = write!(
            because,
            "; {ABORT} is on: clients are reset instead of left waiting, by {} resets: {}",
            away.count(),
            away.who()
        );
    }
    let apart = between_looks(watch);
    if apart > SPARSE && ns.arrivals(watch).is_none() {
        let _ = write!(
            because,
            "; told from {} looks {apart:.1} s apart, between which more may have happened",
            watch.looks
        );
    }
    let confidence = match (cause, asked(ns, watch)) {
        ("not-relistened", Some((_, _, known))) => confidence.max(known),
        _ => confidence,
    };
    let at = watch.last.local;
    let longest = ns.longest(watch);
    let full = match ns.arrivals(watch) {
        Some(row) => format!("filled by {} of {} arrivals", row.full, row.arrived),
        None => format!("full in {} % of {} looks", percent(watch.full_share()), watch.looks),
    };
    let summary = match state {
        State::Limiting => format!(
            "{lost} handshakes to {at} dropped in {seconds:.1} s{}; queue up to {} of {}, {full}",
            of_all(ns, lost),
            longest,
            watch.last.capacity(),
        ),
        State::Near if interval.is_alone() => format!(
            "the queue of {at} held {longest} of {} at the one look there is; whether it drops one look can't tell",
            watch.last.capacity()
        ),
        State::Near => {
            format!("the queue of {at} reached {} of {}, {full}; nothing dropped yet", longest, watch.last.capacity())
        }
    };
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: cause.into(),
        confidence,
        subject: listener(ns.name(), watch, interval),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: lost,
    };
    if let Reading::Present(drops) = watch.drops() {
        finding = finding.changed("SK_MEMINFO_DROPS", f64::from(drops), "packets", seconds);
    }
    if let (true, Reading::Present(drops)) = (interval.is_alone(), &watch.last.drops) {
        finding = finding.standing("SK_MEMINFO_DROPS since it began to listen", f64::from(*drops), "packets");
    }
    for name in ["TcpExt.ListenOverflows", "TcpExt.ListenDrops"] {
        if let Reading::Present(growth) = ns.counter(name) {
            let growth = growth as f64;
            finding = finding.changed(name, growth, "events", seconds);
        }
    }
    if let Reading::Present(rest) = ns.listen_drops().unexplained() {
        let rest = rest as f64;
        finding = finding.changed("drops that no listener counted", rest, "events", seconds);
    }
    if let Some(row) = ns.arrivals(watch) {
        finding = finding
            .changed("arrivals in the accept queue (sk_data_ready)", row.arrived as f64, "connections", seconds)
            .changed("arrivals that filled it", row.full as f64, "connections", seconds);
    }
    if let Some(away) = &away {
        let reading = format!("resets that it sent (tcp_send_reset): {}", away.who());
        finding = finding.changed(reading, away.count() as f64, "resets", seconds);
        if let Reading::Present(ended) = ns.counter(EMBRYONIC) {
            finding = finding.changed(EMBRYONIC, ended as f64, "events", seconds);
        }
    }
    finding = finding
        .standing("accept queue, longest seen", f64::from(longest), "connections")
        .standing("listen backlog (Send-Q)", f64::from(watch.last.backlog), "connections")
        .standing("looks that saw it full", watch.full_share(), "share");
    match ns.after.knob_number("net.core.somaxconn") {
        Reading::Present(somaxconn) => {
            let somaxconn = somaxconn as f64;
            finding.standing("net.core.somaxconn", somaxconn, "connections")
        }
        Reading::Absent(_) => finding,
    }
}

/// How a listener's overflows stand to all those of its namespace.
fn of_all(ns: &NetnsChange<'_>, lost: u64) -> String {
    match ns.counter("TcpExt.ListenOverflows") {
        Reading::Present(all) if all > lost => format!(", of {all} in its namespace"),
        Reading::Present(all) => format!(", all of its namespace's {all}"),
        Reading::Absent(_) => String::new(),
    }
}

/// Connections that the listener took a second, or, without a probe, all of the namespace's together: what entered the
/// queues less what stayed there.
fn accepted_per_second(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<f64> {
    let entered = match ns.arrivals(watch) {
        Some(row) => row.arrived,
        None => *ns.counter("Tcp.PassiveOpens").value()?,
    };
    let seconds = ns.interval().seconds();
    let stayed = ns.before.listeners.value()?.iter().find(|l| l.cookie == watch.last.cookie).map_or(0, |l| l.queue);
    let taken = entered as f64 - (f64::from(watch.last.queue) - f64::from(stayed));
    (seconds > 0.0).then(|| taken.max(0.0) / seconds)
}

/// What the owner asks for, how that is known, and how surely: a default is not what its configuration must say.
fn asked(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<(u32, String, Confidence)> {
    processes_of(&ns.interval().after, watch.last.inode).find_map(|(pid, process)| {
        if let Some(asked) = requested_backlog(&process.cmdline) {
            return Some((asked, format!("the command line of pid {pid} asks for {asked}"), Confidence::Proven));
        }
        let setting = listen_setting(&process.comm, &process.cmdline)?;
        let default = setting.default?;
        let how = format!("{} asks for {default} unless its configuration says otherwise", setting.server);
        Some((default, how, Confidence::Likely))
    })
}

fn cause(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> (&'static str, String) {
    let backlog = watch.last.backlog;
    if let Some((pid, open, limit)) = cannot_accept(ns.interval(), watch) {
        let why = format!("pid {pid} has {open} of {limit} descriptors open, so accept(2) fails with EMFILE");
        return ("descriptor-limit", why);
    }
    if let Some((open, max)) = host_out_of_files(ns.interval())
        && watch.shrank == 0
    {
        let why = format!("{open} of the host's {max} files are open, and nobody accepts: accept(2) fails with ENFILE");
        return ("descriptor-limit", why);
    }
    // SO_REUSEPORT spreads over the sockets of one device (or of none): others on the port get other traffic.
    let same = |s: &&ListenerWatch| s.last.device == watch.last.device && watch.was_beside(s);
    let siblings: Vec<_> = ns.listeners_at(watch.last.local).filter(same).collect();
    let idle =
        siblings.iter().filter(|s| ns.longest(s) <= s.last.backlog / 2 && s.drops() == Reading::Present(0)).count();
    if idle > 0 {
        let why = format!(
            "{} listeners share the port (SO_REUSEPORT) and {idle} of them never were half full",
            siblings.len()
        );
        return ("listener-imbalance", why);
    }
    if ns.interval().is_alone() && watch.over_half_share() >= SLOW {
        let why = "one look that finds a queue full finds most often an application that takes less than arrives, and \
                   seldom a burst";
        return ("application-slow", why.into());
    }
    if watch.over_half_share() >= SLOW {
        let rate = match accepted_per_second(ns, watch) {
            Some(rate) if ns.listeners().count() == 1 || ns.arrivals(watch).is_some() => {
                format!("it accepts about {rate:.0}/s")
            }
            Some(rate) => format!("all listeners of the namespace together accept about {rate:.0}/s"),
            None => "its rate of accepting could not be read".into(),
        };
        let why = format!(
            "the queue was more than half full in {} % of the looks: the application takes less than arrives ({rate})",
            percent(watch.over_half_share())
        );
        return ("application-slow", why);
    }
    let bursts = format!("the queue was empty in {} % of the looks", percent(watch.empty_share()));
    let somaxconn = ns.after.knob_number("net.core.somaxconn").value().copied();
    let asked = asked(ns, watch);
    match (somaxconn, asked) {
        (Some(somaxconn), Some((asked, how, known)))
            if asked > backlog
                && somaxconn > i64::from(backlog)
                // Any other number less than a server's default is in its configuration.
                && (known == Confidence::Proven || backlog == OLD_DEFAULT) =>
        {
            let why = format!(
                "{bursts}; {how}, somaxconn is {somaxconn} now, yet this queue got {backlog}: \
                 it has not called listen(2) since somaxconn was raised"
            );
            ("not-relistened", why)
        }
        (Some(somaxconn), asked) if somaxconn <= i64::from(backlog) => {
            let how = match asked {
                Some((asked, how, _)) if asked > backlog => format!("{how} and got {backlog}"),
                _ => "what the application asked for is not visible".into(),
            };
            ("somaxconn-clamps", format!("{bursts}; its backlog is exactly somaxconn, {somaxconn}; {how}"))
        }
        (somaxconn, _) => {
            let room = match somaxconn {
                Some(somaxconn) => format!("somaxconn would allow {somaxconn}"),
                None => "somaxconn could not be read".into(),
            };
            ("backlog-small", format!("{bursts}; the application got a backlog of {backlog}, {room}"))
        }
    }
}

/// The watch that a finding is about.
fn watch_of<'a>(finding: &Finding, interval: &'a Interval) -> Option<(NetnsChange<'a>, &'a ListenerWatch)> {
    let Subject::Listener { netns, local, .. } = &finding.subject else { return None };
    let ns = interval.namespace(netns)?;
    // Of several listeners on one port, the one that hurts most.
    let watch = ns
        .listeners()
        .filter(|watch| watch.last.local.to_string() == *local)
        .max_by_key(|watch| (watch.drops().value().copied(), watch.longest))?;
    Some((ns, watch))
}

/// In seconds, on average.
fn between_looks(watch: &ListenerWatch) -> f64 {
    watch.at.saturating_sub(watch.since).as_secs_f64() / f64::from(watch.looks.max(1))
}

/// Backlog for bursts: 1.25 × the fastest growth seen × the longest pause. It is bounded by what was lost: no burst can
/// have been longer than the queue and all the drops; of bursts too short for the looks nothing else tells. Never more than
/// is accepted in a second (what waits longer has been asked for again), never less than twice the present one.
fn backlog_for_bursts(ns: &NetnsChange<'_>, watch: &ListenerWatch, lost: u64) -> (u32, String) {
    let present = watch.last.backlog;
    let pause = watch.longest_pause.as_secs_f64();
    let (growth, fit) = (watch.fastest_growth, watch.last.capacity());
    let seen = (1.25 * growth * pause, format!("1.25 × {growth:.0} arrivals/s × {pause:.2} s longest pause seen"));
    let at_once = (
        1.25 * (fit.saturating_add(lost) as f64),
        format!("1.25 × ({fit} that fit + {lost} dropped, had they come at once)"),
    );
    let measured = pause >= between_looks(watch) * MEASURED;
    let (burst, how) = if lost == 0 || (measured && seen.0 <= at_once.0) { seen } else { at_once };
    let second = accepted_per_second(ns, watch).map(|rate| rate.max(1.0));
    let needed = second.map_or(burst, |second| burst.min(second)) as u32;
    let bound = match second {
        Some(second) if second < burst => format!(", at most the {second:.0} accepted in a second"),
        _ => String::new(),
    };
    (longer_backlog(watch, needed), format!("{how}{bound} = {needed}, at least twice the present {present}"))
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(finding, interval) else { return vec![] };
    let who = whose(&finding.subject);
    let verify = format!("no new drops of {} and a queue below half of its backlog", watch.last.local);
    let service = |to: u32, formula: &str| raise_backlog(interval, watch, to, formula).verify(verify.clone());
    match finding.cause.as_str() {
        "application-slow" => {
            let mut remedies = vec![
                Remedy::new(
                    Level::Application,
                    format!("let {who} accept faster: more workers or processes, an accept loop that does nothing else, or shed load earlier"),
                )
                .verify(verify.clone()),
            ];
            // A queue may hold what is accepted within a second (the first retry of a SYN); more only ages in it.
            let second = accepted_per_second(&ns, watch).map_or(0, |rate| rate as u32);
            let only = ns.listeners().count() == 1;
            if only && second > watch.last.backlog.saturating_mul(2) {
                let to = (second / 2).next_power_of_two().min(65_535);
                let why = "a longer queue only makes clients wait for answers they have given up on";
                let formula = format!("half a second of the {second}/s it accepts; {why}");
                remedies.push(service(to, &formula));
                let somaxconn = raise_somaxconn(&ns, &who, to, &formula);
                remedies.extend(somaxconn.map(|remedy| remedy.verify(verify.clone())));
            }
            remedies
        }
        "descriptor-limit" if cannot_accept(interval, watch).is_none() => file_descriptors::of_the_host(interval),
        "descriptor-limit" => vec![
            Remedy::new(Level::Application, format!("find what {who} keeps open (ls -l /proc/PID/fd), close what leaks"))
                .verify(verify.clone()),
            Remedy::new(
                Level::Service,
                "raise LimitNOFILE= of its unit (ulimit -n) to twice what it uses at peak, and restart it",
            )
            .cost("about 1 KiB of kernel memory a descriptor")
            .verify(verify.clone()),
        ],
        "listener-imbalance" => vec![
            Remedy::new(Level::Application, format!("find out why that worker of {who} does not accept while its siblings idle; the kernel spreads by hash, not by load"))
                .verify(verify.clone()),
            Remedy::new(Level::Service, "share one listening socket between the workers instead of SO_REUSEPORT, or fewer connections per worker")
                .verify(verify.clone()),
        ],
        "not-relistened" => {
            // A reload is not enough: nginx and HAProxy hand the socket over and listen(2) only where the setting changed.
            let text = format!("restart {who}: somaxconn was raised, but only a new listen(2) gets more, and a reload may not make one");
            let restart = Remedy::new(Level::Service, text).verify(verify.clone());
            // What a server asks for by default is not what its configuration must say.
            let known = processes_of(&interval.after, watch.last.inode).any(|(_, p)| requested_backlog(&p.cmdline).is_some());
            let (to, formula) = backlog_for_bursts(&ns, watch, finding.hurt);
            let setting = (!known).then(|| service(to, &format!("if its configuration asks for less: {formula}")));
            core::iter::once(restart).chain(setting).collect()
        }
        // backlog-small and somaxconn-clamps: the same, and somaxconn only where it is in the way
        _ => {
            let (to, formula) = backlog_for_bursts(&ns, watch, finding.hurt);
            let somaxconn = raise_somaxconn(&ns, &who, to, &formula).map(|remedy| remedy.verify(verify.clone()));
            [Some(service(to, &formula)), somaxconn].into_iter().flatten().collect()
        }
    }
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let overflows = *ns.counter("TcpExt.ListenOverflows").value()?;
    ns.after.listeners.value()?;
    let peak = ns.listeners().map(|w| f64::from(ns.longest(w)) / w.last.capacity() as f64).fold(0.0, f64::max);
    (overflows == 0 && peak < NEAR).then(|| format!("no overflow; longest queue {} % full", percent(peak)))
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        for watch in
            ns.listeners().filter(|w| is_near(&ns, w) || was_full(&ns, w) || w.drops().value().is_some_and(|d| *d > 0))
        {
            wanted.extend(ns.listeners_at(watch.last.local).map(|sibling| (ns.id, sibling.last.inode)));
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::testing::{
        Host, Listen, OWN, absent, assert_clear, detect, no_permission, remedies, the_finding, unknowns, verdict,
    };
    use crate::snapshot::Endpoint;
    use crate::trace::{Arrivals, Counted, Resent};

    /// Mostly empty, and full for two looks in ten.
    const BURSTS: &[u32] = &[0, 0, 0, 0, 40, 129, 129, 60, 0, 0];

    fn listen() -> Listen {
        Listen::at("0.0.0.0:80").pid(7)
    }

    fn host(listen: Listen) -> Host {
        Host::new().listener(listen).process(7, "api", 81, 1024)
    }

    /// Drops of full accept queues move both counters.
    fn overflowed(host: Host, drops: u64) -> Host {
        host.grew("TcpExt.ListenOverflows", drops).grew("TcpExt.ListenDrops", drops)
    }

    fn bursts() -> Host {
        overflowed(host(listen().queues(BURSTS).drops(0, 342)), 342)
    }

    fn sentences(finding: &Finding) -> String {
        format!("{}\n{}", finding.summary, finding.because)
    }

    #[test]
    fn a_queue_that_stays_full_is_a_slow_application() {
        let host = overflowed(host(listen().queues(&[129]).drops(0, 342)), 342).grew("Tcp.PassiveOpens", 1_050);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Limiting, "application-slow", 342));
        assert_eq!(finding.confidence, Confidence::Proven);
        insta::assert_snapshot!(sentences(&finding), @"
        342 handshakes to 0.0.0.0:80 dropped in 5.0 s, all of its namespace's 342; queue up to 129 of 129, full in 100 % of 50 looks
        the queue was more than half full in 100 % of the looks: the application takes less than arrives (it accepts about 210/s)
        ");
        insta::assert_snapshot!(remedies(&finding), @"1. Application: let api accept faster: more workers or processes, an accept loop that does nothing else, or shed load earlier");
    }

    /// What a probe saw at each arrival, by cookie (which is the port here): arrivals, those that filled it, the longest.
    fn probed(host: Host, rows: &[(u64, u64, u64, u32)]) -> Host {
        let row = |(cookie, arrived, full, longest): &(u64, u64, u64, u32)| Arrivals {
            netns: OWN,
            port: *cookie as u16,
            cookie: *cookie,
            arrived: *arrived,
            queued: *arrived,
            full: *full,
            longest: *longest,
        };
        host.trace(|trace| {
            trace.arrivals = Reading::Present(Counted { rows: rows.iter().map(row).collect(), lost: 0 });
        })
    }

    #[test]
    fn the_only_queue_that_was_ever_full_dropped_them_all() {
        let two = || {
            let other = Listen::at("0.0.0.0:81").queues(&[0, 1]).drops(0, 342);
            overflowed(host(listen().queues(&[0, 3]).drops(0, 342)).listener(other), 342)
        };
        // Both count as much as the namespace: neither can be told from the other.
        assert_eq!(detect(&LIMIT, &two()).findings, []);
        let finding = the_finding(&LIMIT, &probed(two(), &[(80, 9_000, 40, 129), (81, 50, 0, 9)]));
        assert_eq!((finding.confidence, finding.hurt), (Confidence::Proven, 342));
        insta::assert_snapshot!(finding.summary, @"342 handshakes to 0.0.0.0:80 dropped in 5.0 s, all of its namespace's 342; queue up to 129 of 129, filled by 40 of 9000 arrivals");
        // Two were full; or one that had no cookie yet.
        for rows in [[(80, 9_000, 40, 129), (81, 50, 1, 129)], [(0, 50, 1, 129), (80, 9_000, 40, 129)]] {
            let findings = detect(&LIMIT, &probed(two(), &rows)).findings;
            let limiting: Vec<_> = findings.iter().filter(|finding| finding.state == State::Limiting).collect();
            assert_eq!(
                limiting.iter().map(|it| (it.confidence, it.hurt)).collect::<Vec<_>>(),
                [(Confidence::Likely, 342)]
            );
        }
    }

    #[test]
    fn whom_a_full_queue_resets_is_told_and_proves_whose_overflow_it_was() {
        let reset = |port: u16, client: &str, resets: u64| Resent {
            netns: OWN,
            local: Endpoint::new([10, 0, 0, 1].into(), port),
            remote: Endpoint::new(client.parse().unwrap(), 0),
            data: 0,
            syn: 0,
            resets,
            aborted: 0,
        };
        // Both were full and count as much as the namespace: which of them dropped, the counters can't tell.
        let two = |abort: &str, embryonic: u64, rows: &[Resent]| {
            let other = Listen::at("0.0.0.0:81").queues(&[0, 129]).drops(0, 342);
            let host = overflowed(host(listen().queues(&[0, 129]).drops(0, 342)).listener(other), 342);
            let rows = Reading::Present(Counted { rows: rows.to_vec(), lost: 0 });
            host.knob(ABORT, abort).grew(EMBRYONIC, embryonic).trace(|trace| trace.resent = rows)
        };
        let found = |host: &Host| {
            let findings = detect(&LIMIT, host).findings.into_iter().filter(|it| it.state == State::Limiting);
            findings.map(|it| (it.subject.to_string(), it.confidence)).collect::<Vec<_>>()
        };
        let one = |port: u16, confidence| vec![(format!("0.0.0.0:{port}"), confidence)];
        let rows = [reset(81, "10.0.0.9", 300), reset(81, "10.0.0.7", 40)];
        assert_eq!(found(&two("1", 340, &rows)), one(81, Confidence::Proven));
        let findings = detect(&LIMIT, &two("1", 340, &rows)).findings;
        let finding = findings.iter().find(|finding| finding.state == State::Limiting).unwrap();
        insta::assert_snapshot!(finding.because, @r"
        the queue was more than half full in 50 % of the looks: the application takes less than arrives (all listeners of the namespace together accept about 0/s); net.ipv4.tcp_abort_on_overflow is on: clients are reset instead of left waiting, by 340 resets: 10.0.0.9 (300), 10.0.0.7 (40)
        ");
        let evidence: Vec<_> = finding.evidence.iter().map(|it| format!("{} {}", it.reading, it.value)).collect();
        assert!(evidence.iter().any(|it| it.ends_with(": 10.0.0.9 (300), 10.0.0.7 (40) 340")), "{evidence:?}");
        // Not for that, where the kernel does not reset for it; nor where no request ended with it; and of a stray ACK that the
        // other one answered nothing follows.
        for host in [
            two("0", 340, &rows),
            two("1", 0, &rows),
            two("1", 2, &[reset(81, "10.0.0.9", 2), reset(80, "10.0.0.9", 2)]),
        ] {
            assert_eq!(found(&host), one(80, Confidence::Likely));
        }
    }

    #[test]
    fn a_burst_between_two_looks_is_seen_as_it_arrives() {
        let quiet = || host(listen().queues(&[0, 2]));
        assert_clear(&LIMIT, &quiet());
        let finding = the_finding(&LIMIT, &probed(quiet(), &[(80, 900, 0, 104)]));
        assert_eq!(finding.state, State::Near);
        insta::assert_snapshot!(finding.summary, @"the queue of 0.0.0.0:80 reached 104 of 129, filled by 0 of 900 arrivals; nothing dropped yet");
        assert_clear(&LIMIT, &probed(quiet(), &[(80, 900, 0, 90)]));
    }

    #[test]
    fn a_cause_that_few_looks_told_says_so() {
        let mut interval = overflowed(host(listen().queues(&[0]).drops(0, 342)), 342).interval().clone();
        for watch in interval.looks.listeners.values_mut().flat_map(|watches| watches.values_mut()) {
            (watch.looks, watch.empty) = (16, 16);
        }
        let finding = the_finding(&LIMIT, &Host::of(interval));
        assert_eq!((&*finding.cause, finding.confidence), ("backlog-small", Confidence::Proven));
        insta::assert_snapshot!(finding.because, @"the queue was empty in 100 % of the looks; the application got a backlog of 128, somaxconn would allow 4096; told from 16 looks 0.3 s apart, between which more may have happened");
    }

    #[test]
    fn a_queue_too_short_for_bursts_is_a_small_backlog() {
        let finding = the_finding(&LIMIT, &bursts());
        assert_eq!((finding.state, &*finding.cause), (State::Limiting, "backlog-small"));
        insta::assert_snapshot!(sentences(&finding), @"
        342 handshakes to 0.0.0.0:80 dropped in 5.0 s, all of its namespace's 342; queue up to 129 of 129, full in 20 % of 50 looks
        the queue was empty in 60 % of the looks; the application got a backlog of 128, somaxconn would allow 4096
        ");
        insta::assert_snapshot!(remedies(&finding), @"1. Service: listen(2) with a backlog of 256 instead of 128; restart to apply");
        // One that is as long as can be is not to be made shorter.
        let longest = listen().backlog(65_535).queues(&[0, 0, 65_536]).drops(0, 9);
        let finding = the_finding(&LIMIT, &overflowed(host(longest), 9).knob("net.core.somaxconn", "131072"));
        assert!(finding.remedies[0].text.contains("backlog of 65535"), "{}", finding.remedies[0].text);
    }

    #[test]
    fn drops_are_limiting_though_every_look_saw_a_short_queue() {
        // Measured with nginx: 1518 overflows while looks saw at most 136 of 511.
        let host = overflowed(host(listen().backlog(511).queues(&[0, 3, 136, 0]).drops(0, 1518)), 1518);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "backlog-small".into()));
    }

    #[test]
    fn a_backlog_of_exactly_somaxconn_is_clamped() {
        let host = bursts().knob("net.core.somaxconn", "128");
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(finding.cause, "somaxconn-clamps");
        insta::assert_snapshot!(finding.because, @"the queue was empty in 60 % of the looks; its backlog is exactly somaxconn, 128; what the application asked for is not visible");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: listen(2) with a backlog of 256 instead of 128; restart to apply
        2. Kernel: raise somaxconn in this namespace, then let api listen again [net.core.somaxconn 128 → 256]
        ");
    }

    #[test]
    fn a_server_that_asks_for_more_and_could_get_it_has_not_listened_again() {
        let finding = the_finding(&LIMIT, &bursts().process(7, "nginx", 81, 1024));
        assert_eq!(finding.cause, "not-relistened");
        insta::assert_snapshot!(finding.because, @"the queue was empty in 60 % of the looks; nginx asks for 511 unless its configuration says otherwise, somaxconn is 4096 now, yet this queue got 128: it has not called listen(2) since somaxconn was raised");
        insta::assert_snapshot!(remedies(&finding), @"
        1. Service: restart nginx: somaxconn was raised, but only a new listen(2) gets more, and a reload may not make one
        2. Service: listen … backlog=N; (nginx.conf, on one listen directive of that address) — N = 256; takes effect with nginx -s reload
        ");
        // Measured with `tcp-backlog 100` in redis.conf: no somaxconn ever was 100.
        let configured = overflowed(host(listen().backlog(100).queues(BURSTS).drops(0, 9)), 9);
        assert_eq!(verdict(&LIMIT, &configured.process(7, "redis-server", 81, 1024)).1, "backlog-small");
        let said = the_finding(&LIMIT, &bursts().process(7, "api --backlog 4096", 81, 1024));
        assert_eq!(said.cause, "not-relistened");
        // it asks for what it got
        assert_eq!(verdict(&LIMIT, &bursts().process(7, "api --backlog=128", 81, 1024)).1, "backlog-small");
    }

    #[test]
    fn a_process_without_descriptors_cannot_accept() {
        let host = overflowed(host(listen().queues(&[129]).drops(0, 1145)), 1145).process(7, "api", 1024, 1024);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!(finding.cause, "descriptor-limit");
        insta::assert_snapshot!(finding.because, @"pid 7 has 1024 of 1024 descriptors open, so accept(2) fails with EMFILE");
    }

    #[test]
    fn nobody_accepts_on_a_host_without_files() {
        let full = |open| {
            let files = crate::snapshot::FileHandles { open, max: 600 };
            overflowed(host(listen().queues(&[65, 129]).drops(0, 1481)), 1481)
                .after(|snapshot| snapshot.system.files = Reading::Present(files))
        };
        let stuck = |open| full(open).listener(Listen::at("[::]:81").queues(&[129]).drops(0, 9));
        let findings = detect(&LIMIT, &stuck(1_536)).findings;
        let finding = findings.iter().find(|f| f.subject.to_string() == "[::]:81").unwrap();
        assert_eq!(finding.cause, "descriptor-limit");
        insta::assert_snapshot!(finding.because, @"1536 of the host's 600 files are open, and nobody accepts: accept(2) fails with ENFILE");
        insta::assert_snapshot!(remedies(&Finding { remedies: (LIMIT.remedy)(finding, stuck(1_536).interval()), ..finding.clone() }), @"
        1. Application: find who holds them: for p in /proc/[0-9]*; do echo $(ls $p/fd | wc -l) $p; done | sort -n | tail
        2. Kernel: raise file-max; it is one value for all containers [fs.file-max 600 → 3072]
        ");
        assert!(detect(&LIMIT, &stuck(599)).findings.iter().all(|f| f.cause != "descriptor-limit"));
    }

    #[test]
    fn one_busy_listener_among_idle_ones_on_its_port_is_an_imbalance() {
        let port = host(listen().queues(&[129]).drops(0, 50)).listener(listen().cookie(81).queues(&[0, 2]));
        let finding = the_finding(&LIMIT, &overflowed(port, 50));
        assert_eq!((&*finding.cause, finding.hurt), ("listener-imbalance", 50));
        insta::assert_snapshot!(finding.because, @"2 listeners share the port (SO_REUSEPORT) and 1 of them never were half full");
        // Listeners of other devices get other traffic: no siblings.
        let devices = host(listen().device(2).queues(&[129]).drops(0, 50)).listener(listen().device(3).cookie(81));
        assert_eq!(verdict(&LIMIT, &overflowed(devices, 50)).1, "application-slow");
    }

    /// Measured: a server was restarted to cure it, and its successor was taken for a sibling that idles.
    #[test]
    fn a_restarted_server_is_not_its_own_sibling() {
        let old = || listen().queues(&[129]).drops(0, 50).seen(0, 2_000);
        let host = overflowed(host(old()).listener(listen().cookie(81).seen(2_000, 5_000)), 50);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((&*finding.cause, finding.hurt), ("application-slow", 50));
        assert!(finding.because.ends_with("; this listener has closed since"), "{}", finding.because);
        // Both overflowed: one finding, with the drops of both.
        let again = || listen().cookie(81).queues(&[129]).drops(0, 30).seen(2_000, 5_000);
        assert_eq!(the_finding(&LIMIT, &overflowed(Host::new().listener(old()).listener(again()), 80)).hurt, 80);
        // Full and gone: nobody is near anything.
        let nothing_dropped = Host::new().listener(old().drops(0, 0)).listener(listen().cookie(81));
        assert_clear(&LIMIT, &nothing_dropped);
    }

    #[test]
    fn bursts_too_short_for_the_looks_are_sized_by_what_they_lost() {
        // Measured: 1 000 connects at once, a server that accepts them within milliseconds.
        let missed = |queues: &[u32]| {
            let host = overflowed(host(listen().queues(queues).drops(0, 914)), 914);
            the_finding(&LIMIT, &host.grew("Tcp.PassiveOpens", 5_000)).remedies[0].clone()
        };
        let remedy = missed(&[0; 50]);
        assert!(remedy.text.contains("backlog of 1024"), "{}", remedy.text);
        insta::assert_snapshot!(remedy.formula.unwrap_or_default(), @"1.25 × (129 that fit + 914 dropped, had they come at once), at most the 1000 accepted in a second = 1000, at least twice the present 128");
    }

    #[test]
    fn a_descriptor_left_or_another_process_can_accept() {
        let stuck = |host: Host| overflowed(host.listener(listen().queues(&[129]).drops(0, 9)).owner(80, 8), 9);
        let cause = |host: Host| verdict(&LIMIT, &stuck(host)).1;
        let own = || Host::new().process(7, "api", 100, 100);
        assert_eq!(cause(own()), "descriptor-limit");
        assert_eq!(cause(own().process(7, "api", 98, 100)), "application-slow");
        // A parent that never accepts, and a worker without descriptors.
        assert_eq!(cause(own().process(8, "api", 10, 100)), "descriptor-limit");
        // One worker of several; and a sandboxed parent that gave up its limit.
        let third = |host: Host| host.owner(80, 9).process(8, "api", 10, 100).process(9, "api", 10, 100);
        assert_eq!(cause(third(own())), "application-slow");
        assert_eq!(cause(own().process(7, "api", 12, 0).process(8, "api", 10, 100)), "application-slow");
        assert_eq!(cause(own().process(7, "api", 12, 0)), "descriptor-limit");
    }

    #[test]
    fn of_several_listeners_the_one_that_dropped_is_named() {
        let host = overflowed(host(listen().queues(BURSTS).drops(7, 349)), 342)
            .listener(Listen::at("[::]:443").queues(&[0, 5]).drops(1_000, 1_000))
            .listener(Listen::at("127.0.0.1:80").cookie(81));
        let finding = the_finding(&LIMIT, &host);
        assert!(matches!(finding.subject, Subject::Listener { ref local, .. } if local == "0.0.0.0:80"));
        assert_eq!(detect(&LIMIT, &host).unknown, []);
    }

    /// Measured with nginx `listen … deferred` beside a Redis that overflowed: its `sk_drops` counts ignored last ACKs.
    #[test]
    fn a_deferring_neighbour_whose_counter_runs_far_ahead_is_not_charged() {
        let deferring = || Listen::at("[::]:443").queues(&[0, 20, 0]).drops(0, 101_016);
        let seen_full = overflowed(host(listen().queues(&[0, 129, 0]).drops(0, 513)), 513).listener(deferring());
        let finding = the_finding(&LIMIT, &seen_full);
        assert!(matches!(finding.subject, Subject::Listener { ref local, .. } if local == "0.0.0.0:80"));
        assert_eq!((finding.hurt, finding.confidence), (513, Confidence::Likely));
        // Nobody was seen full: it could be either, so it is neither.
        let not_seen = overflowed(host(listen().queues(&[0, 2, 0]).drops(0, 513)), 513).listener(deferring());
        let detected = detect(&LIMIT, &not_seen);
        assert_eq!(detected.findings, []);
        assert!(detected.unknown.iter().any(|u| u.reading.starts_with("513 of the 513 TcpExt.ListenOverflows")));
    }

    #[test]
    fn two_listeners_together_are_charged_with_no_more_than_was_dropped() {
        let full = |at: &str| Listen::at(at).queues(&[5, 5, 5]).drops(0, 400);
        let host = overflowed(host(full("0.0.0.0:80")), 513).listener(full("0.0.0.0:81"));
        let findings = detect(&LIMIT, &host).findings;
        assert_eq!(findings.iter().map(|f| f.hurt).sum::<u64>(), 513);
    }

    #[test]
    fn drops_wrap_with_the_kernels_32_bits() {
        let host = overflowed(host(listen().queues(BURSTS).drops(u32::MAX - 41, 300)), 342);
        assert_eq!(the_finding(&LIMIT, &host).hurt, 342);
    }

    #[test]
    fn a_listener_made_within_the_window_owns_all_its_drops() {
        let host = overflowed(host(listen().queues(BURSTS).drops(342, 342).born()), 342);
        assert_eq!(the_finding(&LIMIT, &host).hurt, 342);
    }

    #[test]
    fn an_mptcp_listener_has_the_same_queue() {
        let host = overflowed(host(listen().mptcp().queues(BURSTS).drops(0, 342)), 342);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "backlog-small".into()));
    }

    #[test]
    fn what_no_listener_counted_is_a_remainder() {
        let host = overflowed(host(listen().queues(BURSTS).drops(0, 300)), 342);
        let detected = detect(&LIMIT, &host);
        assert_eq!(detected.findings.len(), 1);
        insta::assert_snapshot!(detected.unknown[0].reading, @"42 of the 342 TcpExt.ListenOverflows of own");
        // A moment between two readings is no missing listener.
        let skew = overflowed(Host::new().listener(listen().queues(BURSTS).drops(0, 340)), 342);
        assert_eq!(detect(&LIMIT, &skew).unknown, []);
        // Nobody left who could have counted.
        assert_eq!(unknowns(&LIMIT, &overflowed(Host::new(), 9)).len(), 1);
    }

    #[test]
    fn near_when_almost_full_but_not_when_one_connection_fills_it() {
        let peak = |backlog, queues: &[u32]| host(listen().backlog(backlog).queues(queues));
        let finding = the_finding(&LIMIT, &peak(128, &[0, 110, 0, 0, 0]));
        assert_eq!((finding.state, &*finding.cause, finding.hurt), (State::Near, "backlog-small", 0));
        insta::assert_snapshot!(finding.summary, @"the queue of 0.0.0.0:80 reached 110 of 129, full in 0 % of 50 looks; nothing dropped yet");
        assert_clear(&LIMIT, &peak(128, &[0, 90, 0, 0, 0]));
        // A backlog of 1 is filled by two clients at once: only repeatedly full is it near.
        let mut once = [0; 50];
        once[9] = 2;
        assert_clear(&LIMIT, &peak(1, &once));
        assert_eq!(verdict(&LIMIT, &peak(1, &[0, 2, 0, 0, 0])).0, State::Near);
    }

    #[test]
    fn silent_when_the_syn_queue_drops() {
        let host = host(listen().drops(0, 342)).grew("TcpExt.ListenDrops", 342).grew("TcpExt.TCPReqQFullDrop", 342);
        assert_clear(&LIMIT, &host.clone().knob("net.ipv4.tcp_syncookies", "0"));
        // The listener next to it overflows: only that one is accused.
        let both = host
            .listener(Listen::at("0.0.0.0:81").queues(&[129]).drops(0, 900))
            .grew("TcpExt.ListenDrops", 900)
            .grew("TcpExt.ListenOverflows", 900);
        assert!(matches!(the_finding(&LIMIT, &both).subject, Subject::Listener { local, .. } if local == "0.0.0.0:81"));
    }

    #[test]
    fn a_flooded_neighbour_read_a_moment_later_is_not_accused() {
        // 50 more SYNs were dropped between the counters' reading and the last look at the flooded listener.
        let host = host(listen().drops(0, 10_050))
            .listener(Listen::at("0.0.0.0:81").queues(BURSTS).drops(0, 5))
            .knob("net.ipv4.tcp_syncookies", "0")
            .grew("TcpExt.TCPReqQFullDrop", 10_000)
            .grew("TcpExt.ListenDrops", 10_005)
            .grew("TcpExt.ListenOverflows", 5);
        assert!(matches!(the_finding(&LIMIT, &host).subject, Subject::Listener { local, .. } if local == "0.0.0.0:81"));
    }

    #[test]
    fn silent_when_handshakes_die_for_want_of_a_route_back() {
        assert_clear(&LIMIT, &host(listen().drops(0, 400)).grew("TcpExt.ListenDrops", 400).grew("Ip.OutNoRoutes", 400));
    }

    #[test]
    fn silent_on_a_process_without_descriptors_whose_queue_is_empty() {
        assert_clear(&LIMIT, &host(listen()).process(7, "api", 1024, 1024));
    }

    #[test]
    fn silent_when_conntrack_drops() {
        let full = host(listen()).conntrack(262_144, 262_144, 262_144, 262_144).conntrack_grew("drop", 600);
        assert_clear(&LIMIT, &full);
    }

    #[test]
    fn what_is_missing_is_unknown_and_a_queue_seen_full_is_likely() {
        let unlistened = Host::new().ns(|ns| ns.listeners = no_permission("sock_diag"));
        assert_eq!(unknowns(&LIMIT, &unlistened), ["listening sockets of own"]);
        let uncounted = host(listen()).without("TcpExt.ListenOverflows");
        assert_eq!(unknowns(&LIMIT, &uncounted), ["TcpExt.ListenOverflows of own"]);
        let drops_only = bursts().without("TcpExt.ListenOverflows");
        assert_eq!(the_finding(&LIMIT, &drops_only).confidence, Confidence::Likely);
        let untold = overflowed(host(listen().queues(BURSTS).without_drops()), 342);
        assert_eq!(the_finding(&LIMIT, &untold).confidence, Confidence::Likely);
        let unseen = overflowed(host(listen().without_drops()), 342);
        assert_eq!(unknowns(&LIMIT, &unseen).len(), 1);
        // Without somaxconn or an owner there is still a cause, said with less.
        let bare = overflowed(Host::new().listener(Listen::at("0.0.0.0:80").queues(BURSTS).drops(0, 9)), 9);
        let bare = bare.ns(|ns| {
            ns.knobs.insert("net.core.somaxconn".into(), absent("net.core.somaxconn"));
        });
        assert!(the_finding(&LIMIT, &bare).because.contains("somaxconn could not be read"));
        // One reading has no rate.
        let once = bursts().before(|snapshot| snapshot.at = core::time::Duration::from_secs(5));
        assert!(detect(&LIMIT, &once).unknown[0].because.contains("only one reading"));
    }

    #[test]
    fn it_is_ruled_out_by_no_overflow_and_short_queues() {
        let said = |host: &Host| ruled_out(&host.interval().namespaces().next().expect("one namespace"));
        assert_eq!(said(&host(listen().queues(&[0, 13]))).as_deref(), Some("no overflow; longest queue 10 % full"));
        assert_eq!(said(&bursts()), None);
        assert_eq!(said(&host(listen().queues(&[128]))), None);
    }
}

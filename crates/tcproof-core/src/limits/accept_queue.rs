//! # accept-queue
//!
//! ## What it is
//! The queue of finished handshakes that wait for the application's `accept(2)`. It takes one connection more than
//! the backlog that `listen(2)` was granted: min(argument, `net.core.somaxconn` at that moment). When it is full the
//! kernel drops the next SYN, or the last ACK of a handshake, without a word to the client: its connect takes 1 s, 3 s,
//! 7 s longer, or times out; with SYN cookies it believes to be connected and is not.
//!
//! ## Evidence
//! - The listener's own drop counter (`sk_drops`, SK_MEMINFO_DROPS of sock_diag) grew in the window, and so did the
//!   namespace's `TcpExt.ListenOverflows`. The two are compared: what no listener owns up to is shown as a remainder.
//! - Looks at the queue tell the cause, not the fact: bursts fall between looks, the drop counter misses none.
//!   Full in most looks: the application is too slow. Empty in most looks: the backlog is too small for the bursts.
//! - One retried SYN counts again: the counter is not a number of clients.
//!
//! Causes: `application-slow` (it accepts less than arrives), `backlog-small` (keeps up, but not with bursts),
//! `somaxconn-clamps` (the queue is exactly somaxconn long), `not-relistened` (the program asks for more and would get
//! more now, but has not called `listen(2)` since), `descriptor-limit` (`accept(2)` fails with EMFILE),
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

use super::{Detected, Limit, SocketSet, owners_of, percent, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject, Unknown};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::Reading;
use crate::servers::{listen_setting, requested_backlog};
use crate::snapshot::{Process, Snapshot};

/// The accept queue of a listener.
pub(super) static LIMIT: Limit = Limit {
    slug: "accept-queue",
    title: "accept queue",
    causes: &[
        ("application-slow", "the application accepts less than arrives"),
        ("backlog-small", "the application keeps up, but its queue is too short for the bursts"),
        ("somaxconn-clamps", "the queue is as long as net.core.somaxconn allows"),
        ("not-relistened", "the program asks for a longer queue, but has not called listen(2) since it could get one"),
        ("descriptor-limit", "accept(2) fails: the process has no descriptor left"),
        ("listener-imbalance", "one of several listeners on the port drops while the others idle"),
    ],
    reads: &["sock_diag LISTEN", "TcpExt.ListenOverflows", "TcpExt.ListenDrops", "Tcp.PassiveOpens"],
    look_alikes: &["syn-queue", "file-descriptors", "conntrack-table"],
    knobs: &["net.core.somaxconn"],
    scenarios: &[],
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
/// A process that uses this share of its descriptors can't accept.
const OUT_OF_DESCRIPTORS: f64 = 0.98;
/// A remainder up to this share of the namespace's counter is the moment between two readings, not a missing listener.
const SKEW: f64 = 0.02;

fn capacity(watch: &ListenerWatch) -> u64 {
    u64::from(watch.last.backlog) + 1
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let of = |ns: NetnsChange<'_>| {
        let netns = ns.name().to_string();
        ns.listeners()
            .map(|watch| Headroom {
                limit: LIMIT.slug.into(),
                subject: listener(&netns, watch, interval),
                used: u64::from(watch.longest),
                capacity: capacity(watch),
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

/// How many of a listener's drops were its accept queue's, and how sure that is.
fn overflowed(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<(u64, Confidence)> {
    let dropped = watch.drops().value().copied().map(u64::from);
    let overflows = ns.counter("TcpExt.ListenOverflows");
    match (dropped, overflows) {
        (Some(0), _) | (_, Reading::Present(0)) => None,
        (Some(dropped), Reading::Present(overflows)) => {
            // What the namespace dropped for other reasons: a full SYN queue, no route back, no memory.
            let other = ns.counter("TcpExt.ListenDrops").value().map_or(0, |all| all.saturating_sub(overflows));
            let certain = dropped.saturating_sub(other).min(overflows);
            match certain {
                1.. => Some((dropped.min(overflows), Confidence::Proven)),
                0 if watch.full > 0 => Some((dropped.min(overflows), Confidence::Likely)),
                0 => None,
            }
        }
        // Without one of the two counters, a queue seen full is what is left.
        (Some(dropped), Reading::Absent(_)) if watch.full > 0 => Some((dropped, Confidence::Likely)),
        (None, Reading::Present(overflows)) if watch.full > 0 => Some((overflows, Confidence::Likely)),
        _ => None,
    }
}

fn is_near(watch: &ListenerWatch) -> bool {
    let peak = f64::from(watch.longest) / capacity(watch) as f64;
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
        let mut placed = 0;
        for watch in ns.listeners() {
            let (state, confidence, lost) = match overflowed(&ns, watch) {
                Some((lost, confidence)) => (State::Limiting, confidence, lost),
                None if is_near(watch) => (State::Near, Confidence::Proven, 0),
                None => continue,
            };
            placed += lost;
            detected.findings.push(finding(&ns, watch, state, confidence, lost));
        }
        detected.unknown.extend(remainder(&ns, overflows.value().copied().unwrap_or(0), placed));
    }
    detected
}

/// Overflows that no listener owns up to.
fn remainder(ns: &NetnsChange<'_>, overflows: u64, placed: u64) -> Option<Unknown> {
    let missing = overflows.saturating_sub(placed);
    let beyond_skew = missing as f64 > overflows as f64 * SKEW;
    (beyond_skew && ns.after.listeners.value().is_some()).then(|| Unknown {
        limit: LIMIT.slug.into(),
        reading: format!("{missing} of the {overflows} TcpExt.ListenOverflows of {}", ns.name()),
        because: "no listener that was seen counted them: it closed within the window, or never was in a look".into(),
        would_need: Some("a run in which the listener stays".into()),
    })
}

fn finding(ns: &NetnsChange<'_>, watch: &ListenerWatch, state: State, confidence: Confidence, lost: u64) -> Finding {
    let interval = ns.interval();
    let seconds = interval.seconds();
    let (cause, because) = cause(ns, watch);
    let at = watch.last.local;
    let full = format!("full in {} % of {} looks", percent(watch.full_share()), watch.looks);
    let summary = match state {
        State::Limiting => format!(
            "{lost} handshakes to {at} dropped in {seconds:.1} s; queue up to {} of {}, {full}",
            watch.longest,
            capacity(watch),
        ),
        State::Near => {
            format!("the queue of {at} reached {} of {}, {full}; nothing dropped yet", watch.longest, capacity(watch))
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
        finding = finding.changed("SK_MEMINFO_DROPS", f64::from(drops), "handshakes", seconds);
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
    finding = finding
        .standing("accept queue, longest seen", f64::from(watch.longest), "connections")
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

/// Connections the namespace's listeners took a second, all together: what entered the queues less what stayed there.
fn accepted_per_second(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<f64> {
    let entered = *ns.counter("Tcp.PassiveOpens").value()?;
    let seconds = ns.interval().seconds();
    let stayed = ns.before.listeners.value()?.iter().find(|l| l.cookie == watch.last.cookie).map_or(0, |l| l.queue);
    let taken = entered as f64 - (f64::from(watch.last.queue) - f64::from(stayed));
    (seconds > 0.0).then(|| taken.max(0.0) / seconds)
}

fn processes<'a>(ns: &NetnsChange<'a>, watch: &ListenerWatch) -> impl Iterator<Item = (u32, &'a Process)> {
    let after = &ns.interval().after;
    let pids = after.owners.get(&watch.last.inode).and_then(|pids| pids.value());
    pids.into_iter().flatten().filter_map(|pid| after.processes.get(pid).map(|process| (*pid, process)))
}

/// The owner that has no descriptor left, with its use and limit.
fn out_of_descriptors(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<(u32, u64, u64)> {
    processes(ns, watch).find_map(|(pid, process)| {
        let (open, limit) = (*process.fds.value()?, *process.fd_limit.value()?);
        let used = open as f64 / limit as f64;
        (used >= OUT_OF_DESCRIPTORS).then_some((pid, open, limit))
    })
}

/// What the owner asks for, where its command line or its known default says so.
fn asked(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> Option<(u32, String)> {
    processes(ns, watch).find_map(|(pid, process)| {
        if let Some(asked) = requested_backlog(&process.cmdline) {
            return Some((asked, format!("the command line of pid {pid} asks for {asked}")));
        }
        let setting = listen_setting(&process.comm, &process.cmdline)?;
        let default = setting.default?;
        Some((default, format!("{} asks for {default} unless it is told otherwise", setting.server)))
    })
}

fn cause(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> (&'static str, String) {
    let backlog = watch.last.backlog;
    if let Some((pid, open, limit)) = out_of_descriptors(ns, watch) {
        let why = format!("pid {pid} has {open} of {limit} descriptors open, so accept(2) fails with EMFILE");
        return ("descriptor-limit", why);
    }
    let siblings: Vec<_> = ns.listeners_at(watch.last.local).collect();
    let idle = siblings.iter().filter(|s| s.longest <= s.last.backlog / 2 && s.drops() == Reading::Present(0)).count();
    if idle > 0 {
        let why = format!(
            "{} listeners share the port (SO_REUSEPORT) and {idle} of them never were half full",
            siblings.len()
        );
        return ("listener-imbalance", why);
    }
    if watch.over_half_share() >= SLOW {
        let rate = match accepted_per_second(ns, watch) {
            Some(rate) if ns.listeners().count() == 1 => format!("it accepts about {rate:.0}/s"),
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
        (Some(somaxconn), Some((asked, how))) if asked > backlog && somaxconn > i64::from(backlog) => {
            let why = format!(
                "{bursts}; {how}, somaxconn is {somaxconn} now, yet this queue got {backlog}: \
                 it has not called listen(2) since somaxconn was raised"
            );
            ("not-relistened", why)
        }
        (Some(somaxconn), asked) if somaxconn <= i64::from(backlog) => {
            let how = match asked {
                Some((asked, how)) if asked > backlog => format!("{how} and got {backlog}"),
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

/// Backlog for bursts: 1.25 × the fastest growth seen × the longest pause, at least twice the present one,
/// rounded up to a power of two; never beyond 65 535, which is what older kernels can hold.
fn backlog_for_bursts(watch: &ListenerWatch) -> (u32, String) {
    let pause = watch.longest_pause.as_secs_f64();
    let needed = 1.25 * watch.fastest_growth * pause;
    let needed = needed as u32;
    let to = needed.max(watch.last.backlog.saturating_mul(2)).clamp(16, 32_768).next_power_of_two().min(65_535);
    let formula = format!(
        "1.25 × {:.0} arrivals/s × {:.2} s longest pause seen = {needed}, at least twice the present {}",
        watch.fastest_growth, pause, watch.last.backlog
    );
    (to, formula)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ns, watch)) = watch_of(finding, interval) else { return vec![] };
    let who = whose(&finding.subject);
    let verify = format!("no new drops of {} and a queue below half of its backlog", watch.last.local);
    let setting = processes(&ns, watch).find_map(|(_, p)| listen_setting(&p.comm, &p.cmdline));
    let service = |to: u32, formula: String| {
        let text = match setting {
            Some(s) => format!("{} — N = {to}; takes effect with {}", s.syntax, s.applies),
            None => format!("listen(2) with a backlog of {to} instead of {}; restart to apply", watch.last.backlog),
        };
        Remedy::new(Level::Service, text)
            .formula(formula)
            .cost(format!("up to {} KiB while the queue is full", u64::from(to) * 12 / 5))
            .verify(verify.clone())
    };
    let somaxconn = ns.after.knob_number("net.core.somaxconn").value().copied().unwrap_or(0);
    let raise_somaxconn = |to: u32, formula: String| {
        Remedy::knob(
            format!("raise somaxconn in this namespace, then let {who} listen again"),
            "net.core.somaxconn",
            somaxconn.to_string(),
            to.to_string(),
        )
        .formula(formula)
        .cost("none until a listener asks for it")
        .verify(verify.clone())
    };
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
                remedies.push(service(to, format!("half a second of the {second}/s it accepts; a longer queue only makes clients wait for answers they have given up on")));
            }
            remedies
        }
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
            Remedy::knob(
                "for restarts: let half-open connections move to a sibling when a listener closes",
                "net.ipv4.tcp_migrate_req", "0", "1",
            )
            .verify(verify.clone()),
        ],
        "not-relistened" => vec![
            Remedy::new(
                Level::Service,
                match setting {
                    Some(s) => format!("let {who} call listen(2) again: {}", s.applies),
                    None => format!("restart {who}: somaxconn is {somaxconn} now, but only a new listen(2) gets it"),
                },
            )
            .verify(verify.clone()),
        ],
        "somaxconn-clamps" => {
            let (to, formula) = backlog_for_bursts(watch);
            vec![service(to, formula.clone()), raise_somaxconn(to, formula)]
        }
        _ => {
            let (to, formula) = backlog_for_bursts(watch);
            let mut remedies = vec![service(to, formula.clone())];
            if i64::from(to) > somaxconn && somaxconn > 0 {
                remedies.push(raise_somaxconn(to, formula));
            }
            remedies
        }
    }
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let overflows = *ns.counter("TcpExt.ListenOverflows").value()?;
    ns.after.listeners.value()?;
    let peak =
        ns.listeners().map(|w| f64::from(w.longest) / f64::from(w.last.backlog.saturating_add(1))).fold(0.0, f64::max);
    (overflows == 0 && peak < NEAR).then(|| format!("no overflow; longest queue {} % full", percent(peak)))
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        for watch in ns.listeners().filter(|w| is_near(w) || w.full > 0 || w.drops().value().is_some_and(|d| *d > 0)) {
            wanted.extend(ns.listeners_at(watch.last.local).map(|sibling| (ns.id, sibling.last.inode)));
        }
    }
    wanted
}

//! # socket-backlog
//!
//! ## What it is
//! While a program is inside a system call on a socket, the socket is locked. Segments that arrive meanwhile wait in the
//! socket's own backlog until the call is over. It is bounded: with what waits to be read it may hold twice the receive
//! buffer, half the send buffer and 64 KiB (less before 6.1), counted in memory and not in payload, so that small
//! segments fill it fast. What comes beyond is dropped, and the peer sends it again.
//!
//! It has nothing to do with the backlog of `listen(2)`, nor with `net.core.netdev_max_backlog`.
//!
//! ## Evidence
//! - `TcpExt.TCPBacklogDrop`, of the namespace, and `d` of `ss -m` (`SK_MEMINFO_DROPS`) of the socket. The latter counts
//!   also what was dropped as a duplicate, so it names a flow only together with `bl` (`SK_MEMINFO_BACKLOG`) or where
//!   it explains most of the former.
//!
//! Cause: `owner-busy`, a call that holds the lock for longer than the buffers last: a large copy, a copy into memory that
//! must be fetched first (swap, a file, a guest's memory), a thread that lost its CPU inside the call.
//!
//! ## See it yourself
//! - `nstat -az TcpExtTCPBacklogDrop TcpExtTCPBacklogCoalesce`
//! - `ss -tmi`: `bl` and `d` in skmem, several times
//! - `strace -T -e trace=recvfrom,recvmsg,sendmsg -p PID`: calls that take long although they do not wait for data
//!
//! ## Look-alikes
//! - `accept-queue`: connections that wait for accept(2); it is that queue that `listen(2)` calls backlog.
//! - `softnet-backlog`: packets that wait for a CPU, before any socket is known.
//! - A full receive buffer that nobody reads: the window closes, and nothing is dropped.
//!
//! ## Remedy
//! Shorter calls: smaller pieces, memory that was touched before and is not swapped, reading in a thread of its own.
//! Then a larger receive buffer: without SO_RCVBUF, or with a larger one; the default is the second number of `tcp_rmem`.
//!
//! ## References
//! net/ipv4/tcp_ipv4.c `tcp_add_backlog`, include/net/sock.h `sk_rcvqueues_full`, net/core/sock.c `__release_sock`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::throttle::{self, in_bytes};
use super::{Detected, Limit, SocketSet, owners_of, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Owner, Remedy, State, Subject};
use crate::flow::FlowWatch;
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::snapshot::{Endpoint, Snapshot};

/// Segments that wait for a locked socket.
pub(super) static LIMIT: Limit = Limit {
    slug: "socket-backlog",
    title: "socket backlog",
    causes: &[("owner-busy", "a system call holds the socket for longer than its backlog lasts")],
    reads: &["kfree_skb: SOCKET_BACKLOG (eBPF)", DROPPED, "SK_MEMINFO_DROPS", "SK_MEMINFO_BACKLOG"],
    look_alikes: &["accept-queue", "softnet-backlog"],
    knobs: &[RMEM],
    scenarios: &["socket-backlog"],
    source: include_str!("socket_backlog.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const DROPPED: &str = "TcpExt.TCPBacklogDrop";
const RMEM: &str = "net.ipv4.tcp_rmem";
/// A flow that accounts for this share of the drops is named.
const MOST: f64 = 0.5;
/// What the backlog may hold beyond the buffers (`tcp_add_backlog`).
const HEADROOM: u64 = 64 << 10;

/// A backlog that is full for a moment is the kernel's everyday business: no interface shows how full it gets.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

/// What a flow's backlog may hold, with what waits to be read.
fn capacity(watch: &FlowWatch) -> u64 {
    let last = watch.last();
    u64::from(last.rcvbuf) * 2 + u64::from(last.sndbuf) / 2 + HEADROOM
}

/// The watched flow that dropped most, where it is the one: its backlog was seen in use and the others dropped less than
/// it, or it accounts for most of what the namespace counted.
fn culprit<'a>(ns: &NetnsChange<'a>, dropped: u64) -> Option<&'a FlowWatch> {
    let drops = |watch: &FlowWatch| watch.grew32(|sample| sample.drops);
    let worst = ns.watched_flows().filter(|watch| drops(watch) > 0).max_by_key(|watch| drops(watch))?;
    let alone = ns.watched_flows().filter(|watch| drops(watch) > 0).count() == 1;
    let waits = worst.most(|sample| sample.backlog.into()) > 0;
    ((alone && waits) || drops(worst) as f64 >= dropped as f64 * MOST).then_some(worst)
}

/// Who listens where a connection came in: of one that has ended, nobody else tells whose it was.
fn listener<'a>(ns: &NetnsChange<'a>, watch: &FlowWatch) -> Option<&'a ListenerWatch> {
    let local = watch.flow.local;
    let is_its = |at: Endpoint| at.port == local.port && (at.addr == local.addr || at.addr.is_unspecified());
    ns.listeners().filter(|_| watch.gone).find(|listener| is_its(listener.last.local))
}

/// The flow, with its owners or those of its listener.
fn subject(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Subject {
    let mut subject = throttle::subject(ns, watch, 0);
    if let Subject::Flow { owners, .. } = &mut subject
        && owners.is_empty()
    {
        *owners = listeners_owners(ns, watch);
    }
    subject
}

fn listeners_owners(ns: &NetnsChange<'_>, watch: &FlowWatch) -> Vec<Owner> {
    listener(ns, watch).map_or_else(Vec::new, |listener| owners_of(&ns.interval().after, listener.last.inode))
}

/// Whether only its listener tells whose it was.
fn is_by_listener(ns: &NetnsChange<'_>, watch: &FlowWatch) -> bool {
    owners_of(&ns.interval().after, watch.flow.inode).is_empty() && !listeners_owners(ns, watch).is_empty()
}

/// The port that most of them were for, and how many of all, where a probe saw it.
fn by_port(ns: &NetnsChange<'_>) -> Option<(u16, u64, u64)> {
    let rows = || ns.drops().filter(|row| LIMIT.drop_reasons().any(|reason| reason == row.reason));
    let most = rows().max_by_key(|row| row.packets)?;
    Some((most.port, most.packets, rows().map(|row| row.packets).fold(0, u64::saturating_add)))
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        let dropped = ns.counter(DROPPED).value().copied().filter(|dropped| *dropped > 0);
        let Some(watch) = dropped.and_then(|dropped| culprit(&ns, dropped)) else { continue };
        let inodes = [Some(watch.flow.inode), listener(&ns, watch).map(|listener| listener.last.inode)];
        wanted.extend(inodes.into_iter().flatten().map(|inode| (ns.id, inode)));
    }
    wanted
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let dropped = ns.counter(DROPPED);
        if let Some(why) = dropped.absent() {
            detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), DROPPED, why));
        }
        if let Some(dropped) = dropped.value().copied().filter(|dropped| *dropped > 0) {
            detected.findings.push(finding(&ns, dropped));
        }
    }
    detected
}

fn finding(ns: &NetnsChange<'_>, dropped: u64) -> Finding {
    let seconds = ns.interval().seconds();
    let culprit = culprit(ns, dropped);
    let because = match culprit {
        Some(watch) => format!(
            "segments that came while a call held the socket took more than {}: 2 × rcvbuf + sndbuf ÷ 2 + 64 KiB{}",
            in_bytes(capacity(watch)),
            if is_by_listener(ns, watch) { "; it has ended, so its owner is that of its listener" } else { "" }
        ),
        None => match by_port(ns) {
            Some((port, packets, all)) => format!(
                "segments that came while a call held a socket did not fit; {packets} of {all} dropped packets were for port {port}"
            ),
            None => "segments that came while a call held a socket did not fit; which socket was not seen".into(),
        },
    };
    let finding = Finding {
        limit: LIMIT.slug.into(),
        state: State::Limiting,
        cause: "owner-busy".into(),
        confidence: Confidence::Proven,
        subject: match culprit {
            Some(watch) => subject(ns, watch),
            None => Subject::Netns { netns: ns.name().into() },
        },
        summary: format!(
            "{dropped} segments dropped in {seconds:.1} s because their socket was locked and its backlog full"
        ),
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt: dropped,
    }
    .changed(DROPPED, dropped as f64, "segments", seconds);
    let Some(watch) = culprit else { return finding };
    let last = watch.last();
    finding
        .changed("SK_MEMINFO_DROPS", watch.grew32(|sample| sample.drops) as f64, "segments", watch.seconds())
        .standing("SK_MEMINFO_BACKLOG, highest seen", watch.most(|sample| sample.backlog.into()) as f64, "bytes")
        .standing("SK_MEMINFO_RCVBUF", last.rcvbuf.into(), "bytes")
        .standing("SK_MEMINFO_SNDBUF", last.sndbuf.into(), "bytes")
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let verify = format!("no growth of {DROPPED}");
    let text = format!(
        "shorter system calls by {} on the socket: smaller pieces, into memory that was touched before; or a thread that only reads",
        whose(&finding.subject)
    );
    let mut remedies = vec![Remedy::new(Level::Application, text).verify(verify.clone())];
    let Some((ns, watch)) = throttle::watch_of(interval, &finding.subject) else { return remedies };
    let rcvbuf = u64::from(watch.last().rcvbuf);
    let rmem = ns.after.knob_numbers::<3>(RMEM).value().map(|numbers| numbers.map(i64::unsigned_abs));
    let cost = "memory, only while segments wait";
    match rmem {
        Some([min, default, max]) if rcvbuf >= default => {
            let to = default.saturating_mul(2).min(max);
            if to > default {
                let (from, to) = (format!("{min} {default} {max}"), format!("{min} {to} {max}"));
                let knob = Remedy::knob("larger receive buffers from the start, for new connections", RMEM, from, to);
                remedies.push(
                    knob.formula("2 × the present default: the backlog grows by 2 bytes a byte")
                        .cost(cost)
                        .verify(verify),
                );
            }
        }
        _ => {
            let default =
                rmem.map_or_else(String::new, |[_, default, _]| format!(" ({} by default)", in_bytes(default)));
            let text = format!(
                "its receive buffer of {} was set by SO_RCVBUF: remove it{default}, or set a larger one",
                in_bytes(rcvbuf)
            );
            remedies.push(
                Remedy::new(Level::Application, text)
                    .formula("2 × rcvbuf must hold what arrives during the longest call, at some 1 KiB for each small segment")
                    .cost(cost)
                    .verify(verify),
            );
        }
    }
    remedies
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    (*ns.counter(DROPPED).value()? == 0).then(|| "no segment dropped for a locked socket".to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Host, Listen, OWN, Stream, assert_clear, remedies, subject_and_sentences, the_finding, unknowns, verdict,
    };
    use super::*;
    use crate::reading::Reading;
    use crate::trace::{Counted, Drops};

    /// 20 drops a second at one look in ten, when the backlog is seen full.
    fn dropping(local: &str) -> Stream {
        Stream::between(local, "10.0.0.9:5000").receives(20_000.0).each(|t, s| {
            (s.rcvbuf, s.sndbuf) = (8_192, 4_608);
            s.drops = (t * 20.0) as u32;
            s.backlog = if ((t * 10.0) as u32).is_multiple_of(10) { 80_000 } else { 0 };
        })
    }

    #[test]
    fn drops_of_a_locked_socket_name_the_flow() {
        let host = Host::new().knob(RMEM, "4096 131072 6291456").grew(DROPPED, 100).flow(dropping("10.0.0.2:80"));
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "owner-busy".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        10.0.0.2:80 ↔ 10.0.0.9:5000: 100 segments dropped in 5.0 s because their socket was locked and its backlog full
        segments that came while a call held the socket took more than 82.2 KiB: 2 × rcvbuf + sndbuf ÷ 2 + 64 KiB
        1. Application: shorter system calls by the application on the socket: smaller pieces, into memory that was touched before; or a thread that only reads
        2. Application: its receive buffer of 8.0 KiB was set by SO_RCVBUF: remove it (128.0 KiB by default), or set a larger one
        ");
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns), None);
    }

    #[test]
    fn whose_a_connection_was_that_has_ended_its_listener_tells() {
        let host = |flow: Stream| {
            let host = Host::new().grew(DROPPED, 100).flow(flow);
            host.listener(Listen::at("0.0.0.0:80").pid(7)).process(7, "sink", 9, 1024)
        };
        let of = |host: &Host| {
            let ns = host.interval().namespaces().next().unwrap();
            let watch = ns.watched_flows().next().unwrap();
            listener(&ns, watch).is_some()
        };
        let (gone, alive) = (host(dropping("10.0.0.2:80").gone()), host(dropping("10.0.0.2:80")));
        assert_eq!((of(&gone), of(&alive), of(&host(dropping("10.0.0.2:81").gone()))), (true, false, false));
        assert_eq!(whose(&the_finding(&LIMIT, &gone).subject), "sink");
    }

    #[test]
    fn a_buffer_of_the_default_size_is_the_knobs() {
        let flow = dropping("10.0.0.2:80").each(|_, s| s.rcvbuf = 131_072);
        let host = Host::new().knob(RMEM, "4096 131072 6291456").grew(DROPPED, 100).flow(flow);
        insta::assert_snapshot!(remedies(&the_finding(&LIMIT, &host)), @"
        1. Application: shorter system calls by the application on the socket: smaller pieces, into memory that was touched before; or a thread that only reads
        2. Kernel: larger receive buffers from the start, for new connections [net.ipv4.tcp_rmem 4096 131072 6291456 → 4096 262144 6291456]
        ");
    }

    #[test]
    fn a_flow_that_explains_little_is_not_accused() {
        // Others dropped as well, and it accounts for a tenth.
        let host = Host::new().grew(DROPPED, 1_000).flow(dropping("10.0.0.2:80")).flow(dropping("10.0.0.2:81"));
        assert_eq!(the_finding(&LIMIT, &host).subject, Subject::Netns { netns: "own".into() });
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        namespace own: 1000 segments dropped in 5.0 s because their socket was locked and its backlog full
        segments that came while a call held a socket did not fit; which socket was not seen
        1. Application: shorter system calls by the application on the socket: smaller pieces, into memory that was touched before; or a thread that only reads
        ");
    }

    #[test]
    fn a_probe_knows_the_port() {
        let row = |port, reason: &str, packets| Drops { netns: OWN, port, reason: reason.into(), packets };
        let rows = [row(80, "SOCKET_BACKLOG", 90), row(81, "SOCKET_BACKLOG", 9), row(82, "NO_SOCKET", 900)];
        let host = Host::new().grew(DROPPED, 100).trace(|trace| {
            trace.drops = Reading::Present(Counted { rows: rows.to_vec(), lost: 0 });
        });
        let finding = the_finding(&LIMIT, &host);
        insta::assert_snapshot!(finding.because, @"segments that came while a call held a socket did not fit; 90 of 99 dropped packets were for port 80");
        let diagnosis = crate::diagnose(host.interval());
        let shown: Vec<_> = diagnosis.findings[0].evidence.iter().map(|it| (&*it.reading, it.value)).collect();
        let expected =
            [(DROPPED, 100.0), ("kfree_skb SOCKET_BACKLOG, port 80", 90.0), ("kfree_skb SOCKET_BACKLOG, port 81", 9.0)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn silent_when_other_backlogs_overflow_or_duplicates_are_dropped() {
        // accept-queue.
        assert_clear(&LIMIT, &Host::new().grew("TcpExt.ListenOverflows", 500));
        // softnet-backlog.
        let softnet = Host::new().grew("Tcp.RetransSegs", 500);
        assert_clear(&LIMIT, &softnet);
        // sk_drops counts duplicates too.
        assert_clear(&LIMIT, &Host::new().flow(dropping("10.0.0.2:80")));
        let ns = softnet.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("no segment dropped for a locked socket"));
    }

    #[test]
    fn a_missing_counter_is_unknown() {
        let host = Host::new().without(DROPPED);
        assert_eq!(unknowns(&LIMIT, &host), [format!("{DROPPED} of own")]);
        assert_eq!(headroom(host.interval()), []);
    }
}

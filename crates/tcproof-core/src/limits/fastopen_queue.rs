//! # fastopen-queue
//!
//! ## What it is
//! With TCP Fast Open a client that has a cookie sends data with its SYN, and the answer comes a round trip earlier. A
//! listener takes such data only if its program set TCP_FASTOPEN, whose argument is a queue: connections that have begun
//! with data and whose handshake is not finished yet. It holds about the rate of such SYNs times the round trip. When it
//! is full, the SYN is answered as an ordinary one and the client sends its data again: nothing is lost but that round
//! trip. `net.core.somaxconn` bounds the queue when TCP_FASTOPEN is set.
//!
//! ## Evidence
//! - `TcpExt.TCPFastOpenListenOverflow`: SYNs with Fast Open that found the queue full.
//! - `TcpExt.TCPFastOpenPassive`: those whose data was taken.
//! - `TcpExt.TCPFastOpenCookieReqd`: clients that asked for a cookie. It is counted before the kernel looks whether
//!   anybody may have one, so it grows on servers without Fast Open too.
//! - Neither the queue nor its size is shown by any interface, and the counters are the namespace's: the listener is
//!   named only where there is no other.
//! - Of the client's side: `TcpExt.TCPFastOpenActive` (data acknowledged with the SYN), `TcpExt.TCPFastOpenActiveFail` (it
//!   was not) and `TcpExt.TCPFastOpenBlackhole` (this client stopped trying).
//!
//! Causes: `queue-full`; or `not-enabled-on-listener`, where many connections ask for a cookie and none is ever given:
//! the sysctl's server bit (2) is off, or it is on and the program did not set TCP_FASTOPEN. The sysctl alone enables
//! nothing on a listener (unless its bit 0x400 is set, which counts from the next `listen(2)`).
//!
//! ## See it yourself
//! - `nstat -az 'TcpExtTCPFastOpen*'` in the namespace, twice
//! - `sysctl net.ipv4.tcp_fastopen`: 1 = clients may, 2 = servers may
//! - `ss -ti`: `fastopen` on connections that began with data
//! - `strace -e trace=setsockopt -p PID` at the program's start: TCP_FASTOPEN and its queue
//!
//! ## Look-alikes
//! - `accept-queue`: finished handshakes wait for accept(2); its overflows are counted in ListenOverflows.
//! - `syn-queue`: SYNs without data; they are dropped or answered with cookies of another kind.
//!
//! ## Remedy
//! A longer queue in the application: twice the rate of SYNs with data times their round trip. Where it is not enabled:
//! TCP_FASTOPEN in the application, and the server bit. Data of a SYN can arrive twice, so only services whose first
//! request may be repeated (RFC 7413) should have it. Clients must ask for it too: MSG_FASTOPEN or TCP_FASTOPEN_CONNECT.
//!
//! ## References
//! RFC 7413; net/ipv4/tcp_fastopen.c `tcp_fastopen_queue_check` and `tcp_try_fastopen`;
//! Documentation/networking/ip-sysctl.rst `tcp_fastopen`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, SocketSet, only_listener, unknown, whose};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, NetnsChange};
use crate::reading::Reading;
use crate::snapshot::Snapshot;

/// The queue of connections that began with data.
pub(super) static LIMIT: Limit = Limit {
    slug: "fastopen-queue",
    title: "Fast Open queue",
    causes: &[
        ("queue-full", "more connections begin with data than the listener's Fast Open queue holds"),
        ("not-enabled-on-listener", "clients ask for Fast Open cookies and the listener gives none"),
    ],
    reads: &[OVERFLOW, TAKEN, ASKED, FAILED, KNOB],
    look_alikes: &["accept-queue", "syn-queue"],
    knobs: &[KNOB, "net.core.somaxconn"],
    scenarios: &["fastopen-queue-full", "fastopen-not-enabled"],
    source: include_str!("fastopen_queue.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const OVERFLOW: &str = "TcpExt.TCPFastOpenListenOverflow";
const TAKEN: &str = "TcpExt.TCPFastOpenPassive";
const FAILED: &str = "TcpExt.TCPFastOpenPassiveFail";
const ASKED: &str = "TcpExt.TCPFastOpenCookieReqd";
const CLIENT: [&str; 3] = ["TcpExt.TCPFastOpenActive", "TcpExt.TCPFastOpenActiveFail", "TcpExt.TCPFastOpenBlackhole"];
const KNOB: &str = "net.ipv4.tcp_fastopen";
/// `TFO_SERVER_ENABLE`.
const SERVER: i64 = 2;

/// So many clients must ask for a cookie: some programs ask everybody.
const ASKING: u64 = 5;
/// … and they must be this share of those that connect.
const ASKING_SHARE: f64 = 0.1;

/// What one namespace shows.
struct Seen {
    overflow: u64,
    taken: u64,
    failed: u64,
    asked: u64,
    accepted: u64,
}

impl Seen {
    fn of(ns: &NetnsChange<'_>) -> Reading<Self> {
        let some = |name| ns.counter(name).value().copied().unwrap_or(0);
        ns.counter(OVERFLOW).and_then(|overflow| {
            ns.counter(ASKED).map(|asked| Self {
                overflow,
                asked,
                taken: some(TAKEN),
                failed: some(FAILED),
                accepted: some("Tcp.PassiveOpens"),
            })
        })
    }

    fn ask_in_vain(&self) -> bool {
        let many = self.asked >= ASKING && self.asked as f64 >= self.accepted as f64 * ASKING_SHARE;
        // A full queue gives no cookies either.
        many && self.overflow == 0 && self.taken == 0 && self.failed == 0
    }
}

/// Neither the queue nor its size can be read.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        let hurts = Seen::of(&ns).value().is_some_and(|seen| seen.overflow > 0 || seen.ask_in_vain());
        wanted.extend(only_listener(&ns, |_| true).filter(|_| hurts).map(|watch| (ns.id, watch.last.inode)));
    }
    wanted
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        let seen = match Seen::of(&ns) {
            Reading::Present(seen) => seen,
            Reading::Absent(why) => {
                detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), OVERFLOW, &why));
                continue;
            }
        };
        if seen.overflow > 0 {
            detected.findings.push(queue_full(&ns, &seen));
        } else if seen.ask_in_vain() {
            match ns.after.knob_number(KNOB) {
                Reading::Present(bits) => detected.findings.extend(not_enabled(&ns, &seen, bits)),
                Reading::Absent(why) => detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), KNOB, &why)),
            }
        }
    }
    detected
}

fn queue_full(ns: &NetnsChange<'_>, seen: &Seen) -> Finding {
    let Seen { overflow, taken, .. } = *seen;
    let seconds = ns.interval().seconds();
    finding(
        ns,
        State::Limiting,
        "queue-full",
        Confidence::Proven,
        format!(
            "{overflow} of {} SYNs with Fast Open found the queue full in {seconds:.1} s",
            overflow.saturating_add(taken)
        ),
        "each was answered as an ordinary SYN: its data came a round trip later".into(),
        overflow,
    )
}

/// Whether clients ask in vain. With the server bit on, nothing but the absence of any success ever tells that: new
/// clients, who have no cookie yet, ask once each as well.
fn not_enabled(ns: &NetnsChange<'_>, seen: &Seen, bits: i64) -> Option<Finding> {
    let off = bits & SERVER == 0;
    let ever = |name| ns.after.counter(name).value().copied().unwrap_or(0) > 0;
    if !off && (ever(TAKEN) || ever(FAILED) || ever(OVERFLOW)) {
        return None;
    }
    let seconds = ns.interval().seconds();
    let because = match off {
        true => format!("the server bit (2) of {KNOB} = {bits} is off: no listener gives cookies"),
        false => format!(
            "{KNOB} = {bits} allows it and no connection has ever begun with data here: \
             the program did not set TCP_FASTOPEN, or every client is a new one"
        ),
    };
    let summary = format!(
        "{} of {} clients asked for a Fast Open cookie in {seconds:.1} s, and none began with data",
        seen.asked,
        seen.accepted.max(seen.asked),
    );
    let confidence = if off { Confidence::Proven } else { Confidence::Likely };
    Some(finding(ns, State::Near, "not-enabled-on-listener", confidence, summary, because, seen.asked))
}

fn finding(
    ns: &NetnsChange<'_>,
    state: State,
    cause: &str,
    confidence: Confidence,
    summary: String,
    because: String,
    hurt: u64,
) -> Finding {
    let mut finding = Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: cause.into(),
        confidence,
        subject: super::listener_or_netns(ns, only_listener(ns, |_| true)),
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt,
    };
    let seconds = ns.interval().seconds();
    let server = [OVERFLOW, TAKEN, ASKED, FAILED].into_iter();
    for (name, client) in server.map(|name| (name, false)).chain(CLIENT.map(|name| (name, true))) {
        if let Reading::Present(growth) = ns.counter(name)
            && (growth > 0 || !client)
        {
            finding = finding.changed(name, growth as f64, "SYNs", seconds);
        }
    }
    match ns.after.knob_number(KNOB) {
        Reading::Present(bits) => finding.standing(KNOB, bits as f64, "bits"),
        Reading::Absent(_) => finding,
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some(ns) = finding.subject.netns().and_then(|name| interval.namespace(name)) else { return vec![] };
    let who = match finding.subject {
        Subject::Listener { .. } => whose(&finding.subject),
        _ => "the listener's program".into(),
    };
    let seen = Seen::of(&ns);
    if finding.cause == "queue-full" {
        let (overflow, taken) = seen.value().map_or((0, 0), |seen| (seen.overflow, seen.taken));
        let times = (taken > 0).then(|| taken.saturating_add(overflow).saturating_mul(2).div_ceil(taken));
        let rate = taken.saturating_add(overflow) as f64 / interval.seconds().max(f64::MIN_POSITIVE);
        let longer = match times {
            Some(times) => format!("at least {times} times as long as now"),
            None => "much longer".into(),
        };
        let formula = match times {
            Some(times) => format!("2 × ({taken} taken + {overflow} turned back) ÷ {taken} taken = {times} times"),
            None => format!("2 × {rate:.0} SYNs/s × their round trip"),
        };
        let bound = match ns.after.knob_number("net.core.somaxconn") {
            Reading::Present(most) => format!("; net.core.somaxconn = {most} bounds it when it is set"),
            Reading::Absent(_) => String::new(),
        };
        let text =
            format!("{who}: a Fast Open queue {longer} (setsockopt TCP_FASTOPEN; nginx: listen … fastopen=N){bound}");
        return vec![
            Remedy::new(Level::Application, text)
                .formula(formula)
                .cost("a socket and its first data for each entry, from clients that proved their address earlier")
                .verify(format!("no growth of {OVERFLOW}; connections begin a round trip sooner")),
        ];
    }
    let verify = format!("{TAKEN} grows, and {ASKED} only with new clients");
    let text = format!(
        "{who}: set TCP_FASTOPEN on its listener (nginx: listen … fastopen=N), if a first request may arrive twice"
    );
    let application = Remedy::new(Level::Application, text)
        .formula("queue = 2 × new connections/s × round trip")
        .cost("data of a SYN may be delivered twice; clients that don't use it notice nothing")
        .verify(verify.clone());
    let bits = ns.after.knob_number(KNOB).value().copied().filter(|bits| bits & SERVER == 0);
    let knob = bits.map(|bits| {
        let text = "let listeners of this namespace that ask for it give cookies (it enables nothing by itself)";
        Remedy::knob(text, KNOB, bits.to_string(), (bits | SERVER).to_string())
            .formula(format!("{bits} + server bit {SERVER}"))
            .cost("none")
            .verify(verify)
    });
    core::iter::once(application).chain(knob).collect()
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let overflow = *ns.counter(OVERFLOW).value()?;
    (overflow == 0).then(|| "no SYN with data found its queue full".into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Host, Listen, absent, assert_clear, subject_and_sentences, the_finding, unknowns, verdict,
    };
    use super::*;

    fn overflowing() -> Host {
        Host::new().knob(KNOB, "3").grew(OVERFLOW, 300).grew(TAKEN, 100).grew("Tcp.PassiveOpens", 400)
    }

    #[test]
    fn a_full_queue_is_limiting_and_named_where_there_is_one_listener() {
        let host = overflowing().listener(Listen::at("0.0.0.0:80").pid(7)).process(7, "web", 10, 1024);
        assert_eq!(verdict(&LIMIT, &host), (State::Limiting, "queue-full".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        0.0.0.0:80: 300 of 400 SYNs with Fast Open found the queue full in 5.0 s
        each was answered as an ordinary SYN: its data came a round trip later
        1. Application: web: a Fast Open queue at least 8 times as long as now (setsockopt TCP_FASTOPEN; nginx: listen … fastopen=N); net.core.somaxconn = 4096 bounds it when it is set
        ");
        let two = host.listener(Listen::at("0.0.0.0:81"));
        assert_eq!(the_finding(&LIMIT, &two).subject, Subject::Netns { netns: "own".into() });
        let ns = two.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns), None);
    }

    #[test]
    fn a_queue_that_takes_nothing_has_a_formula_of_its_own() {
        let host = Host::new().grew(OVERFLOW, 300);
        let remedy = &the_finding(&LIMIT, &host).remedies[0];
        insta::assert_snapshot!(remedy.formula.clone().unwrap_or_default(), @"2 × 60 SYNs/s × their round trip");
    }

    #[test]
    fn clients_that_ask_a_server_without_fast_open() {
        let host = Host::new().knob(KNOB, "1").grew(ASKED, 9).grew("Tcp.PassiveOpens", 9);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "not-enabled-on-listener".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        namespace own: 9 of 9 clients asked for a Fast Open cookie in 5.0 s, and none began with data
        the server bit (2) of net.ipv4.tcp_fastopen = 1 is off: no listener gives cookies
        1. Application: the listener's program: set TCP_FASTOPEN on its listener (nginx: listen … fastopen=N), if a first request may arrive twice
        2. Kernel: let listeners of this namespace that ask for it give cookies (it enables nothing by itself) [net.ipv4.tcp_fastopen 1 → 3]
        ");
    }

    #[test]
    fn the_server_bit_alone_enables_nothing() {
        let fresh = |ns: &mut crate::snapshot::Netns| {
            ns.counters.extend([TAKEN, FAILED, OVERFLOW].map(|name| (name.into(), 0)));
        };
        let host = Host::new().knob(KNOB, "3").ns(fresh).grew(ASKED, 9).grew("Tcp.PassiveOpens", 9);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, finding.confidence), (State::Near, Confidence::Likely));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        namespace own: 9 of 9 clients asked for a Fast Open cookie in 5.0 s, and none began with data
        net.ipv4.tcp_fastopen = 3 allows it and no connection has ever begun with data here: the program did not set TCP_FASTOPEN, or every client is a new one
        1. Application: the listener's program: set TCP_FASTOPEN on its listener (nginx: listen … fastopen=N), if a first request may arrive twice
        ");
        // It has worked: those who ask are new, and get one.
        assert_clear(&LIMIT, &host.ns(|ns| ns.counters.extend([(TAKEN.into(), 1)])));
    }

    #[test]
    fn few_that_ask_are_no_finding() {
        let asks = |asked, opens| Host::new().knob(KNOB, "1").grew(ASKED, asked).grew("Tcp.PassiveOpens", opens);
        assert_clear(&LIMIT, &asks(4, 4));
        assert_clear(&LIMIT, &asks(50, 5_000));
        // It works.
        assert_clear(&LIMIT, &asks(50, 100).grew(TAKEN, 40));
    }

    #[test]
    fn silent_when_other_queues_overflow() {
        // accept-queue, syn-queue.
        let host = Host::new().grew("TcpExt.ListenOverflows", 500).grew("TcpExt.ListenDrops", 500);
        assert_clear(&LIMIT, &host);
        assert_clear(&LIMIT, &Host::new().grew("TcpExt.TCPReqQFullDrop", 500).grew("TcpExt.SyncookiesSent", 99));
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("no SYN with data found its queue full"));
    }

    #[test]
    fn missing_readings_are_unknown() {
        assert_eq!(unknowns(&LIMIT, &Host::new().without(OVERFLOW)), [format!("{OVERFLOW} of own")]);
        assert_eq!(unknowns(&LIMIT, &Host::new().without(ASKED)), [format!("{OVERFLOW} of own")]);
        let asks = Host::new().grew(ASKED, 9).ns(|ns| {
            ns.knobs.insert(KNOB.into(), absent(KNOB));
        });
        assert_eq!(unknowns(&LIMIT, &asks), [format!("{KNOB} of own")]);
        assert_eq!(headroom(asks.interval()), []);
    }
}

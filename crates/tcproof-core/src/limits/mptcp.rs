//! # mptcp
//!
//! ## What it is
//! A Multipath TCP connection may use several paths at once and survives the loss of one. It begins as TCP with an option,
//! MP_CAPABLE, in its SYN; where the other end, or something on the way, does not answer in kind, both go on as plain TCP.
//! Nothing fails then, but the second path, and the takeover, are not there when they are needed.
//!
//! ## Evidence
//! - Of the client: `MPTcpExt.MPCapableSYNTX` (it asked), `MPTcpExt.MPCapableFallbackSYNACK` (the SYN-ACK had no
//!   MP_CAPABLE).
//! - Of the server: `MPTcpExt.MPCapableSYNRX` (it was asked), `MPTcpExt.MPCapableFallbackACK` (the last ACK had none: the
//!   option was taken away on the way).
//! - Later: `MPTcpExt.MPCapableDataFallback`, `MPTcpExt.DssFallback`, `MPTcpExt.MD5SigFallback` (6.17 and later).
//! - `MPTcpExt.MPCapableSYNTXDisabled`: the kernel did not ask, because SYNs with the option were lost before and those
//!   without it were not (`net.mptcp.blackhole_timeout`, since 6.12).
//! - `net.mptcp.enabled` 0 with an MPTCP socket open: that one goes on, but no program can make another
//!   (ENOPROTOOPT, for which there is no counter). Programs that fall back by themselves do so without a word.
//!
//! Causes: `disabled`, by the sysctl or by the kernel's blackhole detection; `fallback`, at least half of the connections
//! that asked for it. A connection with one path alone is no finding: without endpoints (`ip mptcp endpoint`) there is no
//! second one to use. Such flows are marked as MPTCP in the list of flows.
//!
//! ## See it yourself
//! - `nstat -az 'MPTcpExt*'` in the namespace, `ss -Mai` (connections), `ss -ti` (`tcp-ulp-mptcp`: subflows)
//! - `ip mptcp endpoint; ip mptcp limits; sysctl net.mptcp`
//! - `tcpdump 'tcp[tcpflags] & tcp-syn != 0'` at both ends: `mptcp` among the options
//!
//! ## Look-alikes
//! - `syn-queue`: SYNs that a full queue at the other end drops are sent again without the option
//!   (`MPTcpExt.MPCapableSYNTXDrop`), which by itself proves nothing about the path.
//!
//! ## Remedy
//! At the other end a listener that speaks it: IPPROTO_MPTCP (Go's do by themselves since 1.24; others with `mptcpize`).
//! On the way the middlebox that removes options. On this host `net.mptcp.enabled` = 1.
//!
//! ## References
//! RFC 8684; net/mptcp/subflow.c, net/mptcp/ctrl.c `mptcp_active_detect_blackhole`;
//! Documentation/networking/mptcp.rst and mptcp-sysctl.rst.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Detected, Limit, SocketSet, listener_or_netns, only_listener, percent, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{Protocol, Snapshot};

/// Multipath TCP that is asked for and not had.
pub(super) static LIMIT: Limit = Limit {
    slug: "mptcp",
    title: "Multipath TCP",
    causes: &[
        ("disabled", "the kernel refuses new Multipath TCP connections, or no longer asks for them"),
        ("fallback", "most connections that ask for Multipath TCP go on as plain TCP"),
    ],
    reads: &[ASKED, "MPTcpExt.MPCapableFallbackSYNACK", WAS_ASKED, "MPTcpExt.MPCapableFallbackACK", NOT_ASKED, ENABLED],
    look_alikes: &["syn-queue"],
    knobs: &[ENABLED, TIMEOUT],
    scenarios: &["mptcp-disabled", "mptcp-fallback"],
    source: include_str!("mptcp.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

const ENABLED: &str = "net.mptcp.enabled";
const TIMEOUT: &str = "net.mptcp.blackhole_timeout";
const ASKED: &str = "MPTcpExt.MPCapableSYNTX";
const WAS_ASKED: &str = "MPTcpExt.MPCapableSYNRX";
const NOT_ASKED: &str = "MPTcpExt.MPCapableSYNTXDisabled";

/// A connection that asks, how often it was not answered in kind, and what that is for the end that counts it.
const ENDS: [(&str, &str, &str); 2] = [
    (
        ASKED,
        "MPTcpExt.MPCapableFallbackSYNACK",
        "the SYN-ACK came without MP_CAPABLE: the server does not speak it, or something on the way removes the option",
    ),
    (
        WAS_ASKED,
        "MPTcpExt.MPCapableFallbackACK",
        "the SYN had MP_CAPABLE and the client's last ACK had not: something on the way removes the option",
    ),
];

/// Fewer connections prove nothing: one server in many that does not speak it is no news.
const FEW: u64 = 3;
/// Share of the connections that asked.
const MOSTLY: f64 = 0.5;

/// The windows and queues of MPTCP are those of its subflows.
fn headroom(_: &Interval) -> Vec<Headroom> {
    vec![]
}

fn speaks(watch: &ListenerWatch) -> bool {
    watch.last.protocol == Protocol::Mptcp
}

/// Whether an MPTCP socket was seen.
fn in_use(ns: &NetnsChange<'_>) -> bool {
    ns.listeners().any(speaks) || ns.watched_flows().any(|watch| watch.flow.protocol == Protocol::Mptcp)
}

fn turned_off(ns: &NetnsChange<'_>) -> Reading<bool> {
    ns.after.knob_number(ENABLED).map(|enabled| enabled == 0)
}

fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        let off = turned_off(&ns).value() == Some(&true);
        wanted.extend(only_listener(&ns, speaks).filter(|_| off).map(|watch| (ns.id, watch.last.inode)));
    }
    wanted
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for ns in interval.namespaces() {
        // A kernel without MPTCP limits none; where one socket was seen, the counters and the knob must be there.
        let missed = |why: &Absent| in_use(&ns) || !matches!(why, Absent::NotInKernel { .. });
        match turned_off(&ns) {
            Reading::Present(true) if in_use(&ns) => detected.findings.push(disabled(&ns)),
            Reading::Absent(why) if missed(&why) => {
                detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), ENABLED, &why));
            }
            _ => {}
        }
        if ns.counter(NOT_ASKED).value().is_some_and(|n| *n > 0) {
            detected.findings.push(black_hole(&ns));
        }
        for (asked, fell, because) in ENDS {
            match ns.counter(asked).and_then(|asked| ns.counter(fell).map(|fell| (asked, fell))) {
                Reading::Present((n, lost)) if lost >= FEW && lost as f64 >= n as f64 * MOSTLY => {
                    detected.findings.push(fallback(&ns, (asked, n), (fell, lost), because));
                }
                Reading::Absent(why) if missed(&why) => {
                    detected.unknown.extend(unknown(&LIMIT, Some(ns.name()), asked, &why));
                }
                _ => {}
            }
        }
    }
    detected
}

/// Nothing of this fails, or is lost: it works as plain TCP.
fn finding(
    cause: &str,
    confidence: Confidence,
    subject: Subject,
    summary: String,
    because: &str,
    hurt: u64,
) -> Finding {
    Finding {
        limit: LIMIT.slug.into(),
        state: State::Near,
        cause: cause.into(),
        confidence,
        subject,
        summary,
        because: because.into(),
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        hurt,
    }
}

fn disabled(ns: &NetnsChange<'_>) -> Finding {
    let listens = ns.listeners().filter(|watch| speaks(watch)).count();
    let flows = ns.watched_flows().filter(|watch| watch.flow.protocol == Protocol::Mptcp).count();
    let what = if listens > 0 { format!("{listens} listening") } else { format!("{flows} connected") };
    finding(
        "disabled",
        Confidence::Proven,
        listener_or_netns(ns, only_listener(ns, speaks)),
        format!("sockets of Multipath TCP here: {what}; but {ENABLED} = 0: nobody can make another"),
        "open ones go on; after its next start the program fails, or speaks plain TCP",
        0,
    )
    .standing(ENABLED, 0.0, "setting")
    .standing("MPTCP listeners", listens as f64, "sockets")
}

fn black_hole(ns: &NetnsChange<'_>) -> Finding {
    let seconds = ns.interval().seconds();
    let not_asked = ns.counter(NOT_ASKED).value().copied().unwrap_or(0);
    let finding = finding(
        "disabled",
        Confidence::Proven,
        Subject::Netns { netns: ns.name().into() },
        format!(
            "{not_asked} connections went as plain TCP in {seconds:.1} s: the kernel stopped asking for Multipath TCP"
        ),
        "earlier SYNs with MP_CAPABLE were lost where those without it came through",
        not_asked,
    )
    .changed(NOT_ASKED, not_asked as f64, "connections", seconds);
    match ns.after.knob_number(TIMEOUT) {
        Reading::Present(timeout) => finding.standing(TIMEOUT, timeout as f64, "s"),
        Reading::Absent(_) => finding,
    }
}

fn fallback(ns: &NetnsChange<'_>, asked: (&str, u64), fell: (&str, u64), because: &str) -> Finding {
    let seconds = ns.interval().seconds();
    let whole = asked.1.max(fell.1);
    let subject = match asked.0 {
        WAS_ASKED => listener_or_netns(ns, only_listener(ns, speaks)),
        _ => Subject::Netns { netns: ns.name().into() },
    };
    let summary = format!(
        "{} of {whole} connections that asked for Multipath TCP ({} %) run as plain TCP",
        fell.1,
        percent(fell.1 as f64 / whole as f64)
    );
    finding("fallback", Confidence::Proven, subject, summary, because, fell.1)
        .changed(asked.0, asked.1 as f64, "connections", seconds)
        .changed(fell.0, fell.1 as f64, "connections", seconds)
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let ns = finding.subject.netns().and_then(|name| interval.namespace(name));
    if finding.cause == "fallback" {
        let asks = finding.evidence.iter().any(|evidence| evidence.reading == ASKED);
        let text = match asks {
            true => {
                "at the other end, a listener that speaks Multipath TCP (IPPROTO_MPTCP, or start it with mptcpize); \
                 else stop asking for it"
            }
            false => "find what removes TCP option 30 on the way: tcpdump of the SYN, SYN-ACK and ACK at both ends",
        };
        let verify = "MPTcpExt.MPCapableSYNACKRX (client) or MPCapableACKRX (server) grows instead; ss -Ma lists it";
        return vec![Remedy::new(Level::Application, text).verify(verify)];
    }
    let off = ns.as_ref().is_some_and(|ns| turned_off(ns).value() == Some(&true));
    if off {
        return vec![
            Remedy::knob("allow new Multipath TCP sockets in this namespace", ENABLED, "0", "1")
                .formula("1: only programs that ask for IPPROTO_MPTCP are concerned")
                .cost("none for plain TCP sockets")
                .verify("socket(2) with IPPROTO_MPTCP works; MPTcpExt.MPCapableSYNTX or MPCapableSYNRX grows"),
        ];
    }
    let text =
        "find what drops SYNs with TCP option 30 on the way: tcpdump at both ends of the first SYN of a connection";
    let from = ns.and_then(|ns| ns.after.knob_number(TIMEOUT).value().copied());
    let path =
        Remedy::new(Level::Application, text).verify(format!("no growth of {NOT_ASKED} after the path is repaired"));
    let knob = from.filter(|timeout| *timeout > 0).map(|timeout| {
        Remedy::knob("ask again at once after the path was repaired", TIMEOUT, timeout.to_string(), "0")
            .formula("0: no blackhole detection; set it back when the path has proven itself")
            .cost("while the path still drops them, each connection begins some seconds later")
            .verify(format!("no growth of {NOT_ASKED}, and MPTcpExt.MPCapableSYNACKRX grows"))
    });
    core::iter::once(path).chain(knob).collect()
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    let asked = ENDS.iter().filter_map(|(asked, ..)| ns.counter(asked).value().copied()).reduce(u64::saturating_add)?;
    (asked == 0).then(|| "nobody asked for Multipath TCP".to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Host, Listen, Stream, assert_clear, detect as detected, no_permission, subject_and_sentences, unknowns, verdict,
    };
    use super::*;

    fn host() -> Host {
        let counters = ENDS.iter().flat_map(|(asked, fell, _)| [*asked, *fell]).chain([NOT_ASKED]);
        counters.fold(Host::new().knob(ENABLED, "1").knob(TIMEOUT, "3600"), |host, name| host.grew(name, 0))
    }

    #[test]
    fn a_listener_that_could_not_be_made_again() {
        let host = host().knob(ENABLED, "0").listener(Listen::at("0.0.0.0:80").mptcp()).listener(Listen::at("[::]:22"));
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "disabled".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        0.0.0.0:80: sockets of Multipath TCP here: 1 listening; but net.mptcp.enabled = 0: nobody can make another
        open ones go on; after its next start the program fails, or speaks plain TCP
        1. Kernel: allow new Multipath TCP sockets in this namespace [net.mptcp.enabled 0 → 1]
        ");
    }

    #[test]
    fn a_kernel_that_has_stopped_asking() {
        let host = host().grew(NOT_ASKED, 40);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "disabled".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        namespace own: 40 connections went as plain TCP in 5.0 s: the kernel stopped asking for Multipath TCP
        earlier SYNs with MP_CAPABLE were lost where those without it came through
        1. Application: find what drops SYNs with TCP option 30 on the way: tcpdump at both ends of the first SYN of a connection
        2. Kernel: ask again at once after the path was repaired [net.mptcp.blackhole_timeout 3600 → 0]
        ");
    }

    #[test]
    fn a_server_that_does_not_speak_it() {
        let host = host().grew(ASKED, 40).grew("MPTcpExt.MPCapableFallbackSYNACK", 38);
        assert_eq!(verdict(&LIMIT, &host), (State::Near, "fallback".into()));
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        namespace own: 38 of 40 connections that asked for Multipath TCP (95 %) run as plain TCP
        the SYN-ACK came without MP_CAPABLE: the server does not speak it, or something on the way removes the option
        1. Application: at the other end, a listener that speaks Multipath TCP (IPPROTO_MPTCP, or start it with mptcpize); else stop asking for it
        ");
    }

    #[test]
    fn something_that_removes_the_option_on_its_way_to_the_server() {
        let host = host()
            .grew(WAS_ASKED, 40)
            .grew("MPTcpExt.MPCapableFallbackACK", 40)
            .listener(Listen::at("0.0.0.0:80").mptcp());
        insta::assert_snapshot!(subject_and_sentences(&LIMIT, &host), @"
        0.0.0.0:80: 40 of 40 connections that asked for Multipath TCP (100 %) run as plain TCP
        the SYN had MP_CAPABLE and the client's last ACK had not: something on the way removes the option
        1. Application: find what removes TCP option 30 on the way: tcpdump of the SYN, SYN-ACK and ACK at both ends
        ");
    }

    #[test]
    fn silent_where_it_works_where_few_fall_back_and_where_nobody_asks() {
        let mut one_path = Stream::between("10.0.0.2:80", "10.0.0.9:5000").sends(1e6);
        one_path = one_path.mptcp();
        // One path alone, without endpoints: nothing to find.
        assert_clear(&LIMIT, &host().grew(ASKED, 40).listener(Listen::at("0.0.0.0:80").mptcp()).flow(one_path));
        assert_clear(&LIMIT, &host().grew(ASKED, 100).grew("MPTcpExt.MPCapableFallbackSYNACK", 40));
        assert_clear(&LIMIT, &host().grew(ASKED, 2).grew("MPTcpExt.MPCapableFallbackSYNACK", 2));
        // Turned off, and nobody uses it.
        assert_clear(&LIMIT, &host().knob(ENABLED, "0").listener(Listen::at("0.0.0.0:80")));
        let host = host();
        let ns = host.interval().namespaces().next().expect("one namespace");
        assert_eq!(ruled_out(&ns).as_deref(), Some("nobody asked for Multipath TCP"));
    }

    #[test]
    fn silent_when_a_full_syn_queue_makes_clients_ask_without_the_option() {
        assert_clear(&LIMIT, &host().grew(ASKED, 40).grew("MPTcpExt.MPCapableSYNTXDrop", 40));
    }

    #[test]
    fn a_kernel_without_it_is_clear_and_what_can_not_be_read_is_unknown() {
        assert_clear(&LIMIT, &Host::new());
        let blind = Host::new().listener(Listen::at("0.0.0.0:80").mptcp());
        assert_eq!(unknowns(&LIMIT, &blind).len(), 3);
        let denied = host().ns(|ns| {
            ns.knobs.insert(ENABLED.into(), no_permission(ENABLED));
        });
        assert_eq!(unknowns(&LIMIT, &denied), [format!("{ENABLED} of own")]);
        assert_eq!(detected(&LIMIT, &host()), Detected::default());
        assert_eq!(headroom(denied.interval()), []);
    }
}

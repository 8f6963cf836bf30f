//! Timers: how long a silent peer, a lost segment or a half-closed connection is waited for.

use super::{Bounds, Default, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Scope, Undo, Use};
use crate::lint::Severity;
use crate::version::Version;

/// What `proc_dointvec_jiffies` takes.
pub(super) const SECONDS_IN_JIFFIES: Bounds = Bounds::SECONDS;

/// `tcp_init_sock` copies these; a connection that is accepted is a copy of its listener.
const NEW_SOCKETS: Effect = Effect::new(
    EffectBy::New,
    "sockets that are opened afterwards; accepted connections take over what their listener began with",
);

/// What a socket may ask for with TCP_KEEPINTVL.
const MAX_KEEPINTVL: i64 = 32_767;

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "net.ipv4.tcp_keepalive_time",
        title: "Silence before the first keepalive probe",
        kind: Kind::Number { kernel: SECONDS_IN_JIFFIES, sane: Bounds::new(1, 7 * 86_400) },
        unit: "seconds",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("7200")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::New,
            "sockets with SO_KEEPALIVE whose timer is set afterwards; one that runs already goes on to its end",
        ),
        undo: Undo::LeavesTraces("a timer that was set meanwhile runs to its end"),
        cost: "one small segment and its ACK for each idle connection and each period",
        limits: "How long a connection with SO_KEEPALIVE is silent before it is probed. TCP_KEEPIDLE of a socket goes \
                 before it.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_keepalive_timer", "include/net/tcp.h:keepalive_time_when"],
        not: "Nothing for sockets without SO_KEEPALIVE, which are most. Nothing while data waits for its ACK: then it \
              is tcp_retries2 that counts. Proves that the peer's kernel is alive, not that its application is.",
        raising: "Load balancers, NAT and firewalls forget the connection before it is probed.",
        lowering: "More probes, and connections are given up in outages that they would have slept through.",
        related: &[
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "net.ipv4.tcp_retries2",
            "net.netfilter.nf_conntrack_tcp_timeout_established",
        ],
        belongs_to: &["keepalive"],
        folklore: &[
            Folklore {
                rule: "wrong-unit",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= 60_000 && n % 1000 == 0),
                says: "is in seconds, and this looks like milliseconds: it is the better part of a day or more",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..7200).contains(&n)),
                says: "reaches only sockets that set SO_KEEPALIVE without a TCP_KEEPIDLE of their own, and no timer \
                       that runs already",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 9293 section 3.8.4", "tcp(7), TCP_KEEPIDLE"],
    },
    Knob {
        key: "net.ipv4.tcp_keepalive_intvl",
        title: "Time between keepalive probes",
        kind: Kind::Number { kernel: SECONDS_IN_JIFFIES, sane: Bounds::new(1, MAX_KEEPINTVL) },
        unit: "seconds",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("75")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "from the next probe on, of sockets with SO_KEEPALIVE"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How long after an unanswered probe the next one goes out. Times tcp_keepalive_probes it is how long a \
                 silent peer is tried. TCP_KEEPINTVL of a socket goes before it.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_keepalive_timer", "include/net/tcp.h:keepalive_intvl_when"],
        not: "Not how often a healthy connection is probed: that is tcp_keepalive_time.",
        raising: "A dead peer is noticed later.",
        lowering: "A short outage ends idle connections.",
        related: &["net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_probes"],
        belongs_to: &["keepalive"],
        folklore: &[
            Folklore {
                rule: "wrong-unit",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= 5000 && n % 1000 == 0),
                says: "is in seconds: this looks like milliseconds, and is hours between two probes",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    let probes = setting.other_number("net.ipv4.tcp_keepalive_probes");
                    let tries = setting.number().filter(|n| *n > 0).zip(probes.filter(|n| *n > 0));
                    tries.is_some_and(|(seconds, probes)| seconds.saturating_mul(probes) <= 30)
                },
                says: "times tcp_keepalive_probes is at most 30 s: an outage as short as that ends every idle \
                       connection with SO_KEEPALIVE",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcp(7), TCP_KEEPINTVL"],
    },
    Knob {
        key: "net.ipv4.tcp_keepalive_probes",
        title: "Unanswered keepalive probes that end a connection",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(1, 127) },
        unit: "probes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("9")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "from the next probe on, of sockets with SO_KEEPALIVE"),
        undo: Undo::LeavesTraces("connections that were given up stay so"),
        cost: "none",
        limits: "After so many probes without an answer the connection is reset, and its owner sees ETIMEDOUT. \
                 TCP_KEEPCNT of a socket goes before it; with TCP_USER_TIMEOUT it is that time that counts.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_keepalive_timer", "include/net/tcp.h:keepalive_probes"],
        not: "Nothing for sockets without SO_KEEPALIVE.",
        raising: "A dead peer is noticed later.",
        lowering: "A short outage ends idle connections; with 0 the first timer resets them without a single probe.",
        related: &["net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl"],
        belongs_to: &["keepalive"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcp(7), TCP_KEEPCNT"],
    },
    Knob {
        key: "net.ipv4.tcp_retries1",
        title: "Retransmissions before the route is doubted",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(1, 100) },
        unit: "retransmissions",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("3")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once: the retransmission timer looks at it"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "After as long as so many retransmissions take, the kernel asks for another route and, with \
                 tcp_mtu_probing on, tries smaller segments.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_write_timeout"],
        not: "Ends no connection: that is tcp_retries2.",
        raising: "A path that drops large segments is found later.",
        lowering: "Routes are asked for again after mere loss; RFC 1122 wants at least 3.",
        related: &["net.ipv4.tcp_retries2", "net.ipv4.tcp_mtu_probing"],
        belongs_to: &["path-mtu"],
        folklore: &[Folklore {
            rule: "out-of-step",
            when: |setting: &Use<'_>| {
                let last = setting.other_number("net.ipv4.tcp_retries2");
                setting.number().zip(last).is_some_and(|(n, last)| (1..=255).contains(&n) && n >= last)
            },
            says: "is not below tcp_retries2: connections end before another route is tried",
            instead: Instead::Default,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 1122 section 4.2.3.5 (R1)"],
    },
    Knob {
        key: "net.ipv4.tcp_retries2",
        title: "Retransmissions before a connection is given up",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(1, 100) },
        unit: "retransmissions",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("15")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once: the retransmission timer looks at it"),
        undo: Undo::LeavesTraces("connections that were given up stay so"),
        cost: "none",
        limits: "How long data waits for its ACK until ETIMEDOUT: as long as so many retransmissions take that begin \
                 after 200 ms and double up to tcp_rto_max_ms. 15 is 924.6 s, 8 is 102 s, 5 is 12.6 s. It counts \
                 probes of a closed window, too. TCP_USER_TIMEOUT of a socket goes before it.",
        enforced_by: &["net/ipv4/tcp_timer.c:retransmits_timed_out", "net/ipv4/tcp_timer.c:tcp_probe_timer"],
        not: "No count of segments that are really sent: a longer round trip has fewer of them in the same time. \
              Nothing for idle connections, and nothing once the application has closed (tcp_orphan_retries).",
        raising: "Dead peers are noticed later, and their memory is kept.",
        lowering: "A short outage, or a reader that is stuck for a while, ends connections on the whole host.",
        related: &["net.ipv4.tcp_retries1", "net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_rto_max_ms"],
        belongs_to: &[],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..8).contains(&n)),
            says: "gives every connection up in less than the 100 s that RFC 1122 asks for (3: 3 s, 5: 13 s, 8: \
                   102 s); where one application needs that, TCP_USER_TIMEOUT does it for its sockets alone",
            instead: Instead::Value("8"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 1122 section 4.2.3.5 (R2)"],
    },
    Knob {
        key: "net.ipv4.tcp_orphan_retries",
        title: "Retransmissions for connections that the application has closed",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(0, 100) },
        unit: "retransmissions",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once: the retransmission timer looks at it"),
        undo: Undo::LeavesTraces("connections that were given up stay so"),
        cost: "none",
        limits: "How long what was written before close(2) is sent again when nobody holds the socket any more. \
                 Counted like tcp_retries2. 0 means 8, that is 102 s, unless the path is known to be broken.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_orphan_retries"],
        not: "0 is not none. Nothing for sockets that a process still holds, and nothing for TIME_WAIT.",
        raising: "Orphans, and the data they still hold, stay longer.",
        lowering: "The end of an answer is lost on paths that lose packets.",
        related: &["net.ipv4.tcp_max_orphans", "net.ipv4.tcp_retries2", "net.ipv4.tcp_fin_timeout"],
        belongs_to: &["orphans"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| setting.number() == Some(0),
                says: "does not switch these retransmissions off: 0 means 8",
                instead: Instead::Nothing,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..3).contains(&n)),
                says: "gives up what was written before close(2) after about a second (1: 0.6 s, 2: 1.4 s): clients \
                       on slow or lossy paths lose the end of an answer",
                instead: Instead::Value("3"),
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_fin_timeout",
        title: "How long a closed socket waits for the peer's FIN",
        kind: Kind::Number { kernel: SECONDS_IN_JIFFIES, sane: Bounds::new(1, 3600) },
        unit: "seconds",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("60")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "connections that reach FIN_WAIT2 afterwards; timers that run go on"),
        undo: Undo::WriteBack,
        cost: "none up to 60 s; above, a whole socket of about 2.4 KiB for each that waits",
        limits: "How long a connection that nobody holds any more stays in FIN_WAIT2, that is, until the peer closes \
                 its side, too. At least 3.5 times its RTO. Above 60 it waits value − 60 s as a whole socket, then as \
                 long again as a small one: 62 is 4 s, not 62 (measured on 6.18). TCP_LINGER2 goes before it.",
        enforced_by: &["net/ipv4/tcp.c:__tcp_close", "include/net/tcp.h:tcp_fin_time"],
        not: "Nothing for TIME_WAIT, which is 60 s, fixed when the kernel was built. It seems to help only because \
              sockstat counts FIN_WAIT2 of such sockets as \"tw\". Frees no port, and nothing that a process holds.",
        raising: "From 61 to 89 sockets wait shorter than with 60, and up to 119 shorter than the value says; above 60 \
                  each begins as a whole orphan.",
        lowering: "A peer that takes longer to close its side is answered with a reset.",
        related: &["net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_orphan_retries"],
        belongs_to: &["orphans"],
        folklore: &[
            Folklore {
                rule: "wrong-unit",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= 5000 && n % 1000 == 0),
                says: "is in seconds: this looks like milliseconds, and is hours",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..60).contains(&n)),
                says: "does nothing to TIME_WAIT, which always lasts 60 s, and frees no port; it only shortens how \
                       long a closed socket waits for the peer's FIN (FIN_WAIT2), so that slower peers are reset",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (61..=3600).contains(&n)),
                says: "above 60 keeps a whole socket for each closed connection whose peer does not close, for value − \
                       60 s and then as long again without; up to 89 that is shorter than with 60",
                instead: Instead::Value("60"),
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 9293 section 3.6", "tcp(7), TCP_LINGER2"],
    },
    Knob {
        key: "net.ipv4.tcp_rto_min_us",
        title: "Least time before a segment is sent again",
        kind: Kind::Number { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(1000, 10_000_000) },
        unit: "microseconds",
        exists: Exists::since(Version(6, 11)),
        defaults: &[Default::since(Version(6, 11), "200000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: NEW_SOCKETS,
        undo: Undo::LeavesTraces("sockets that were opened meanwhile, and what such listeners accept, keep it"),
        cost: "none",
        limits: "The least retransmission timeout, however short the round trip. rto_min of the route and \
                 TCP_RTO_MIN_US of a socket go before it. Rounded up to the kernel's tick, 1 to 10 ms.",
        enforced_by: &["net/ipv4/tcp.c:tcp_init_sock", "include/net/tcp.h:tcp_rto_min"],
        not: "Does not change the first SYN's timeout, which is 1 s, nor how tcp_retries2 is counted.",
        raising: "The last segment of an answer, when it is lost, is sent again later.",
        lowering: "Below the peer's delayed ACK, 40 ms and up with Linux, segments that arrived are sent again and the \
                   window shrinks for nothing.",
        related: &["net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_retries2"],
        belongs_to: &["loss"],
        folklore: &[
            Folklore {
                rule: "wrong-unit",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..1000).contains(&n)),
                says: "is in microseconds: this looks like milliseconds",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1000..40_000).contains(&n)),
                says: "is below the 40 ms for which a Linux peer delays its ACK: segments that arrived are sent again. \
                       For peers that are known to answer faster, rto_min of their route does it alone",
                instead: Instead::Unknown,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 6298 section 2"],
    },
    Knob {
        key: "net.ipv4.tcp_rto_max_ms",
        title: "Longest pause between two retransmissions",
        kind: Kind::Number { kernel: Bounds::new(1000, 120_000), sane: Bounds::new(1000, 120_000) },
        unit: "milliseconds",
        exists: Exists::since(Version(6, 15)),
        defaults: &[Default::since(Version(6, 15), "120000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: NEW_SOCKETS,
        undo: Undo::LeavesTraces("sockets that were opened meanwhile, and what such listeners accept, keep it"),
        cost: "none",
        limits: "How far the pauses between retransmissions double. TCP_RTO_MAX_MS of a socket goes before it.",
        enforced_by: &["net/ipv4/tcp.c:tcp_init_sock", "include/net/tcp.h:tcp_rto_max"],
        not: "Does not keep a connection as long as before: tcp_retries2 counts retransmissions, which now take less \
              time.",
        raising: "Nothing: the default is the greatest.",
        lowering: "Connections recover sooner after an outage, send more during it, and are given up earlier unless \
                   tcp_retries2 is raised with it.",
        related: &["net.ipv4.tcp_retries2", "net.ipv4.tcp_rto_min_us"],
        belongs_to: &["loss"],
        folklore: &[Folklore {
            rule: "out-of-step",
            when: |setting: &Use<'_>| {
                let retries = setting.other_number("net.ipv4.tcp_retries2");
                let both = setting.number().filter(|n| (1000..=120_000).contains(n)).zip(retries);
                // With fewer than 8 retransmissions it is tcp_retries2 alone that is too low.
                both.is_some_and(|(max, n)| (8..=255).contains(&n) && gives_up_after_ms(n, max) < R2_MS)
            },
            says: "makes tcp_retries2 count shorter pauses, so that connections are given up in less than the 100 s \
                   that RFC 1122 asks for; raise tcp_retries2 with it",
            instead: Instead::Unknown,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
];

/// R2 of RFC 1122: a connection should not be given up in less.
const R2_MS: i64 = 100_000;

/// How long so many retransmissions take (`tcp_model_timeout`): the first comes after TCP_RTO_MIN, whatever the round
/// trip; the pauses double until they are as long as they may be.
fn gives_up_after_ms(retries: i64, rto_max_ms: i64) -> i64 {
    const RTO_MIN_MS: i64 = 200;
    let doublings = i64::from((rto_max_ms / RTO_MIN_MS).max(1).ilog2());
    let doubled = ((2 << retries.clamp(0, doublings)) - 1) * RTO_MIN_MS;
    doubled + (retries - doublings).max(0) * rto_max_ms
}

#[cfg(test)]
mod tests {
    use super::{KNOBS, gives_up_after_ms};
    use crate::knobs::tests::lore;
    use crate::knobs::{Wrong, by_key};
    use crate::lint::Severity;

    #[test]
    fn what_makes_no_sense() {
        for (key, fine, nonsense, refused) in [
            ("tcp_keepalive_time", &["1", "60", "600", "86400"][..], &["0", "-1", "7200000"][..], &["2147483647"][..]),
            ("tcp_keepalive_intvl", &["1", "75", "32767"], &["0", "-1", "75000"], &["21474837"]),
            ("tcp_keepalive_probes", &["1", "20"], &["0", "128"], &["256", "-1"]),
            ("tcp_retries2", &["1", "100"], &["0", "255"], &["256"]),
            ("tcp_orphan_retries", &["0", "7"], &["101"], &["-1"]),
            ("tcp_fin_timeout", &["5", "30", "60", "120"], &["0", "-1", "30000"], &["2147483647"]),
            ("tcp_rto_min_us", &["1000", "5000"], &["200", "2147483647"], &["0", "-1"]),
            ("tcp_rto_max_ms", &["1000", "120000"], &[], &["120", "120001"]),
        ] {
            let kind = by_key(&alloc::format!("net.ipv4.{key}")).expect("it is in this family").kind;
            for text in fine {
                assert_eq!(kind.judge(text), Ok(()), "{key} = {text}");
            }
            for text in nonsense {
                assert!(matches!(kind.judge(text), Err(Wrong::Nonsense(_))), "{key} = {text}");
            }
            for text in refused {
                assert!(matches!(kind.judge(text), Err(Wrong::Refused(_))), "{key} = {text}");
            }
        }
    }

    /// What is right on many hosts, and only often misunderstood, fails no run.
    #[test]
    fn what_is_only_worth_knowing() {
        let notes = KNOBS.iter().flat_map(|knob| knob.folklore.iter().map(move |lore| (knob.key, lore)));
        let notes = notes.filter(|(_, lore)| lore.severity == Some(Severity::Note)).map(|(key, lore)| (key, lore.rule));
        assert!(notes.eq([
            ("net.ipv4.tcp_keepalive_time", "placebo"),
            ("net.ipv4.tcp_keepalive_intvl", "dangerous"),
            ("net.ipv4.tcp_orphan_retries", "placebo"),
        ]));
    }

    #[test]
    fn folklore() {
        let retries = |n| [("net.ipv4.tcp_retries2", n)];
        let probes = |n| [("net.ipv4.tcp_keepalive_probes", n)];
        for (key, value, other, rules) in [
            ("net.ipv4.tcp_keepalive_time", "7200", None, &[][..]),
            ("net.ipv4.tcp_keepalive_time", "600", None, &["placebo"]),
            ("net.ipv4.tcp_keepalive_time", "0", None, &[]),
            ("net.ipv4.tcp_keepalive_time", "10800", None, &[]),
            ("net.ipv4.tcp_keepalive_time", "86400", None, &[]),
            ("net.ipv4.tcp_keepalive_time", "600000", None, &["wrong-unit"]),
            ("net.ipv4.tcp_keepalive_time", "7200000", None, &["wrong-unit"]),
            ("net.ipv4.tcp_keepalive_intvl", "75", None, &[]),
            ("net.ipv4.tcp_keepalive_intvl", "60", None, &[]),
            ("net.ipv4.tcp_keepalive_intvl", "10", Some(probes("6")), &[]),
            ("net.ipv4.tcp_keepalive_intvl", "10", Some(probes("3")), &["dangerous"]),
            ("net.ipv4.tcp_keepalive_intvl", "0", Some(probes("3")), &[]),
            ("net.ipv4.tcp_keepalive_intvl", "3600", None, &[]),
            ("net.ipv4.tcp_keepalive_intvl", "30000", None, &["wrong-unit"]),
            ("net.ipv4.tcp_keepalive_probes", "3", None, &[]),
            ("net.ipv4.tcp_retries1", "3", None, &[]),
            ("net.ipv4.tcp_retries1", "3", Some(retries("3")), &["out-of-step"]),
            ("net.ipv4.tcp_retries1", "3", Some(retries("5")), &[]),
            ("net.ipv4.tcp_retries2", "15", None, &[]),
            ("net.ipv4.tcp_retries2", "8", None, &[]),
            ("net.ipv4.tcp_retries2", "7", None, &["dangerous"]),
            ("net.ipv4.tcp_retries2", "3", None, &["dangerous"]),
            ("net.ipv4.tcp_retries2", "1", None, &["dangerous"]),
            ("net.ipv4.tcp_retries2", "0", None, &[]), // invalid says it
            ("net.ipv4.tcp_orphan_retries", "0", None, &["placebo"]),
            ("net.ipv4.tcp_orphan_retries", "1", None, &["dangerous"]),
            ("net.ipv4.tcp_orphan_retries", "3", None, &[]),
            ("net.ipv4.tcp_fin_timeout", "60", None, &[]),
            ("net.ipv4.tcp_fin_timeout", "30", None, &["placebo"]),
            ("net.ipv4.tcp_fin_timeout", "5", None, &["placebo"]),
            ("net.ipv4.tcp_fin_timeout", "61", None, &["dangerous"]),
            ("net.ipv4.tcp_fin_timeout", "-1", None, &[]),
            ("net.ipv4.tcp_fin_timeout", "30000", None, &["wrong-unit"]),
            ("net.ipv4.tcp_rto_min_us", "200000", None, &[]),
            ("net.ipv4.tcp_rto_min_us", "40000", None, &[]),
            ("net.ipv4.tcp_rto_min_us", "5000", None, &["dangerous"]),
            ("net.ipv4.tcp_rto_min_us", "200", None, &["wrong-unit"]),
            ("net.ipv4.tcp_rto_max_ms", "120000", None, &[]),
            ("net.ipv4.tcp_rto_max_ms", "10000", None, &[]),
            ("net.ipv4.tcp_rto_max_ms", "1000", None, &["out-of-step"]),
            ("net.ipv4.tcp_rto_max_ms", "1000", Some(retries("101")), &[]),
            ("net.ipv4.tcp_rto_max_ms", "1000", Some(retries("5")), &[]),
        ] {
            let others = other.as_ref().map_or(&[][..], |other| &other[..]);
            assert_eq!(lore(key, value, others), rules, "{key} = {value} with {others:?}");
        }
    }

    /// What the kernel's documentation and its own constants say.
    #[test]
    fn how_long_retransmissions_take() {
        for (retries, rto_max_ms, ms) in [
            (0, 120_000, 200),
            (1, 120_000, 600),
            (3, 120_000, 3000),
            (5, 120_000, 12_600),
            (8, 120_000, 102_200),
            (15, 120_000, 924_600),
            (15, 1000, 14_400),
        ] {
            assert_eq!(gives_up_after_ms(retries, rto_max_ms), ms, "{retries} up to {rto_max_ms} ms");
        }
    }
}

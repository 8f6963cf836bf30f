//! Options and loss recovery: timestamps, SACK, reordering, ECN, what counts as lost.

use super::{Bounds, Default, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Scope, Undo, Use};
use crate::lint::Severity;
use crate::version::Version;

const SACK: &str = "net.ipv4.tcp_sack";
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";
const RECOVERY: &str = "net.ipv4.tcp_recovery";
const REORDERING: &str = "net.ipv4.tcp_reordering";
const MAX_REORDERING: &str = "net.ipv4.tcp_max_reordering";
const ECN: &str = "net.ipv4.tcp_ecn";
const COMPRESSED: &str = "net.ipv4.tcp_comp_sack_nr";
const COMPRESSED_FOR: &str = "net.ipv4.tcp_comp_sack_delay_ns";
const COMPRESSED_SLACK: &str = "net.ipv4.tcp_comp_sack_slack_ns";

/// The kernel takes any `unsigned long`; a tenth of a second is longer than an acknowledgement may ever wait.
const NANOSECONDS: Kind = Kind::Number { kernel: Bounds::new(0, i64::MAX), sane: Bounds::new(0, 100_000_000) };

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: TIMESTAMPS,
        title: "Timestamps (RFC 7323)",
        kind: Kind::Choice {
            kernel: Bounds::U8,
            meanings: &[(0, "off"), (1, "on, each connection with a clock of its own"), (2, "on, one clock for all")],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::LeavesTraces("connections that began meanwhile keep what they agreed on"),
        cost: "12 B of each segment, no memory",
        limits: "Whether connections offer and take timestamps. From these they have the round trip of every segment, \
                 the rejection of old duplicates whose sequence number fits again (PAWS), reuse of TIME_WAIT ports \
                 (tcp_tw_reuse), the proof that a retransmission was needless, and the place where SYN cookies keep \
                 window scale and SACK.",
        enforced_by: &[
            "net/ipv4/tcp_output.c:tcp_syn_options",
            "net/ipv4/tcp_input.c:tcp_parse_options",
            "net/ipv4/syncookies.c:cookie_timestamp_decode",
        ],
        not: "Costs no measurable CPU, and tells no uptime while it is 1: since 4.10 each pair of addresses has an \
              offset of its own.",
        raising: "2: all connections show the same clock, which tells how long the host is up and which connections \
                  are its own.",
        lowering: "0: sequence numbers wrap unprotected on fast links, ports in TIME_WAIT are not reused, connections \
                   that begin by SYN cookie have neither window scaling nor SACK, round trips are measured once a \
                   window.",
        related: &["net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_window_scaling", SACK],
        belongs_to: &["timestamps", "loss"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(0),
                says: "takes the protection against old data (PAWS) that fast links need, the reuse of TIME_WAIT ports \
                       (tcp_tw_reuse), and window scaling and SACK from connections that begin by SYN cookie; all it \
                       saves is 12 bytes a segment",
                instead: Instead::Value("1"),
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(2),
                says: "shows one clock in all connections: anybody can tell how long the host is up, and which \
                       connections behind a shared address are its own",
                instead: Instead::Value("1"),
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 7323"],
    },
    Knob {
        key: SACK,
        title: "Selective acknowledgements (SACK)",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::LeavesTraces("connections that began meanwhile keep what they agreed on"),
        cost: "none",
        limits: "Whether connections offer and take SACK, by which a receiver names each part that has arrived. Loss \
                 detection by time (RACK), tail loss probes and duplicate SACKs all need it.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_syn_options", "net/ipv4/tcp_input.c:tcp_parse_options"],
        not: "Is no danger on a kernel that has its updates: SACK Panic (CVE-2019-11477) was fixed in 5.2 and in all \
              stable trees of June 2019.",
        raising: "As by default: a sender keeps a list of what is missing, and walks it at each acknowledgement.",
        lowering: "One lost segment is mended per round trip, lost ends of answers wait for a timeout.",
        related: &["net.ipv4.tcp_dsack", RECOVERY, "net.ipv4.tcp_early_retrans", COMPRESSED],
        belongs_to: &["loss"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number() == Some(0),
            says: "makes every loss slow: one segment is mended per round trip, and RACK and tail loss probes are off. \
                   It was a stopgap against SACK Panic (CVE-2019-11477), which kernels have fixed since June 2019",
            instead: Instead::Value("1"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 2018", "RFC 6675"],
    },
    Knob {
        key: "net.ipv4.tcp_dsack",
        title: "Tell the peer of what arrived twice (D-SACK)",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether a receiver reports duplicates by SACK, so that the sender learns that a retransmission was \
                 needless: it takes its window back and waits longer for what comes out of order.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_dsack_set", "net/ipv4/tcp_input.c:tcp_send_dupack"],
        not: "Changes nothing for what this host sends: it is the peers that gain by it. Does nothing with tcp_sack \
              off.",
        raising: "Nothing: on is the default.",
        lowering: "Peers never learn of needless retransmissions, and stay slow on paths that reorder.",
        related: &[SACK, REORDERING],
        belongs_to: &["loss"],
        folklore: &[Folklore {
            rule: "lowers-default",
            when: |setting: &Use<'_>| setting.number() == Some(0),
            says: "keeps peers from learning that a retransmission was needless: they stay slow where only the order \
                   was lost",
            instead: Instead::Value("1"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 2883"],
    },
    Knob {
        key: RECOVERY,
        title: "How losses are detected (RACK)",
        kind: Kind::Flags {
            kernel: Bounds::U8,
            meanings: &[
                (1, "by time (RACK)"),
                (2, "with a fixed wait for what is out of order"),
                (4, "without counting duplicate acknowledgements"),
            ],
        },
        unit: "",
        exists: Exists::since(Version(4, 4)),
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "1 takes a segment for lost when one that was sent sufficiently later has arrived, instead of counting \
                 duplicate acknowledgements. 2 and 4 make RACK wait a fixed quarter of the round trip, and not \
                 shorten it by three duplicates.",
        enforced_by: &[
            "net/ipv4/tcp_input.c:tcp_is_rack",
            "net/ipv4/tcp_recovery.c:tcp_rack_reo_wnd",
            "net/ipv4/tcp_recovery.c:tcp_rack_update_reo_wnd",
        ],
        not: "Without SACK it does nothing. Since 6.17 nothing else than RACK is there: the first bit then changes \
              nothing.",
        raising: "2: paths that reorder a lot look lossy. 4: losses are noticed a quarter of a round trip later.",
        lowering: "0, until 6.16: lost retransmissions and lost ends of answers wait for a timeout.",
        related: &["net.ipv4.tcp_early_retrans", SACK, REORDERING, "net.ipv4.tcp_min_rtt_wlen"],
        belongs_to: &["loss"],
        folklore: &[
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| is_without_rack(setting) && setting.machine.kernel < Version(6, 17),
                says: "goes back to counting duplicate acknowledgements (the first bit is RACK): lost retransmissions \
                       and lost ends of answers then wait for a timeout",
                instead: Instead::Value("1"),
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| is_without_rack(setting) && setting.machine.kernel >= Version(6, 17),
                says: "switches nothing off: the first bit is RACK, and since 6.17 there is no other way to detect \
                       losses",
                instead: Instead::Value("1"),
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 8985"],
    },
    Knob {
        key: "net.ipv4.tcp_early_retrans",
        title: "Probes for a lost end of what was sent (tail loss probes)",
        kind: Kind::Choice {
            kernel: Bounds::new(0, 4),
            meanings: &[
                (0, "off"),
                (1, "off; early retransmit until 4.10"),
                (2, "off; delayed early retransmit until 4.10"),
                (3, "tail loss probe"),
                (4, "tail loss probe"),
            ],
        },
        unit: "",
        exists: Exists::since(Version(3, 5)),
        defaults: &[Default::since(Version(3, 10), "3")],
        worse_below: Some(
            "tail loss probes are then off, and a lost end of an answer waits for a whole retransmission timeout",
        ),
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "When the last segments of a connection are not acknowledged within about two round trips, one is sent \
                 again, so that the answer shows what was lost.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_schedule_loss_probe"],
        not: "Is no early retransmit any more (RFC 5827): that is gone since 4.11, and 1 and 2 are the same as 0. \
              Without SACK it does nothing.",
        raising: "3, as by default: now and then a segment that was only late is sent twice.",
        lowering: "0 to 2: a lost end costs 200 ms or more.",
        related: &[RECOVERY, SACK, "net.ipv4.tcp_rto_min_us"],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 8985 section 7"],
    },
    Knob {
        key: "net.ipv4.tcp_frto",
        title: "Find out whether a timeout was needless (F-RTO)",
        kind: Kind::Choice { kernel: Bounds::U8, meanings: &[(0, "off"), (1, "on"), (2, "on")] },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("2")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at the next retransmission timeout"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "After a retransmission timeout a sender tries new data before it sends all again: when what comes \
                 back acknowledges the first copies, nothing was lost, and the window is restored.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_enter_loss", "net/ipv4/tcp_input.c:tcp_process_loss"],
        not: "1 and 2 have been the same since 3.10. It shortens no timeout.",
        raising: "Nothing: on is the default.",
        lowering: "0: a pause of the path, as on mobile links, makes a sender repeat its whole window and begin \
                   slowly.",
        related: &["net.ipv4.tcp_early_retrans", TIMESTAMPS],
        belongs_to: &["loss"],
        folklore: &[Folklore {
            rule: "lowers-default",
            when: |setting: &Use<'_>| setting.number() == Some(0),
            says: "makes a sender repeat its whole window after a pause of the path, although nothing was lost",
            instead: Instead::Default,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 5682"],
    },
    Knob {
        key: REORDERING,
        title: "Duplicate acknowledgements that mean a loss, to begin with",
        // 6.18.44 takes 1 to tcp_max_reordering; 6.1 takes any int, and none of the others makes sense there.
        kind: Kind::Number { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(1, 1000) },
        unit: "segments",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("3")],
        worse_below: Some(
            "fewer than three duplicates then count as a loss, and what was only overtaken is sent again",
        ),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "sockets that are opened, and connections that begin, afterwards"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How far out of order a connection takes its path to be before it has seen more; it raises the number \
                 by itself, up to tcp_max_reordering. With RACK that many duplicates begin recovery at once, and fewer \
                 after a wait.",
        enforced_by: &["net/ipv4/tcp.c:tcp_init_sock", "net/ipv4/tcp_recovery.c:tcp_rack_reo_wnd"],
        not: "Mends no order: that is done by what sends packets over one path each, such as layer3+4 hashing in a \
              bond.",
        raising: "Losses are noticed later on paths that keep the order, in short answers only by a timer.",
        lowering: "Needless retransmissions, and smaller windows.",
        related: &[MAX_REORDERING, RECOVERY, "net.ipv4.tcp_dsack"],
        belongs_to: &["loss"],
        folklore: &[
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (11..=1000).contains(&n)),
                says: "makes every connection wait for that many duplicates before it takes a segment for lost; each \
                       learns by itself how far its path loses the order",
                instead: Instead::Default,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "out-of-step",
                when: |setting: &Use<'_>| {
                    let max = setting.other_number(MAX_REORDERING);
                    setting.number().zip(max).is_some_and(|(n, max)| n > max)
                },
                says: "is more than tcp_max_reordering, its ceiling; newer kernels refuse it",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 4653"],
    },
    Knob {
        key: MAX_REORDERING,
        title: "How far out of order a path may be found to be",
        // 6.18.44 takes 1 and more; 6.1 takes any int, and none of the others makes sense there.
        kind: Kind::Number { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(3, 65_535) },
        unit: "segments",
        exists: Exists::since(Version(3, 19)),
        defaults: &[Default::always("300")],
        worse_below: Some("paths that spread one connection over several links then look lossy"),
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The ceiling of the reordering that a connection measures on its path.",
        enforced_by: &[
            "net/ipv4/tcp_input.c:tcp_check_sack_reordering",
            "net/ipv4/tcp_input.c:tcp_check_reno_reordering",
        ],
        not: "Does nothing on paths that keep the order.",
        raising: "Losses on a path that once reordered are noticed later.",
        lowering: "Needless retransmissions where packets take several ways, as with round robin in a bond.",
        related: &[REORDERING, RECOVERY],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: ECN,
        title: "Explicit congestion notification (ECN)",
        kind: Kind::Choice {
            kernel: Bounds::new(0, 5),
            meanings: &[
                (0, "off"),
                (1, "ask for it, and take it"),
                (2, "take it where the peer asks"),
                (3, "ask for accurate ECN, and take it"),
                (4, "take accurate ECN, ask for the classic one"),
                (5, "take accurate ECN where the peer asks"),
            ],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("2")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::LeavesTraces("connections that began meanwhile keep what they agreed on"),
        cost: "none",
        limits: "Whether connections agree that routers may mark packets instead of dropping them. 3 to 5 are newer: \
                 6.18 names them in its documentation and refuses them.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_ecn_send_syn", "net/ipv4/tcp_input.c:tcp_ecn_create_request"],
        not: "Does nothing where no router on the path marks. A route (`features ecn`) and an algorithm such as dctcp \
              ask for it by themselves.",
        raising: "1: the few paths that drop such SYNs cost a second until the SYN goes out without \
                  (tcp_ecn_fallback).",
        lowering: "0: losses where marks would have done, also on connections that peers ask it for.",
        related: &["net.ipv4.tcp_ecn_fallback", "net.ipv4.tcp_congestion_control"],
        belongs_to: &["loss"],
        folklore: &[
            Folklore {
                rule: "refused",
                // Which kernel after 6.18 is the first to take them is not known for sure: silent for those between.
                when: |setting: &Use<'_>| {
                    matches!(setting.number(), Some(3..=5)) && setting.machine.kernel <= Version(6, 18)
                },
                says: "asks for accurate ECN: this kernel takes 0 to 2 and refuses the rest",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    setting.number() == Some(1) && setting.other_number("net.ipv4.tcp_ecn_fallback") == Some(0)
                },
                says: "asks every peer for ECN while tcp_ecn_fallback is 0: peers behind something that drops such \
                       SYNs are never reached",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    setting.number() == Some(1) && setting.other_number("net.ipv4.tcp_ecn_fallback") != Some(0)
                },
                says: "asks every peer for ECN: where something on the path drops such SYNs, connecting takes a second \
                       longer",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 3168", "RFC 9768"],
    },
    Knob {
        key: "net.ipv4.tcp_ecn_fallback",
        title: "Give up ECN where it breaks connecting",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(4, 2)),
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "A SYN that is sent again goes out without asking for ECN.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_ecn_clear_syn"],
        not: "Does nothing while this host asks nobody for ECN, as by default.",
        raising: "As by default: a lost SYN costs the connection its ECN.",
        lowering: "Off, with tcp_ecn = 1: some peers can't be reached.",
        related: &[ECN],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 3168 section 6.1.1.1"],
    },
    Knob {
        key: "net.ipv4.tcp_invalid_ratelimit",
        title: "Least gap between answers to segments that do not fit",
        // Rounded up to a tick: reading it back shows multiples of 4 ms where HZ is 250.
        // Only the lower 32 bits are looked at: 4294967296 is taken, as 0.
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 60_000) },
        unit: "milliseconds",
        exists: Exists::since(Version(4, 0)),
        defaults: &[Default::always("500")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How soon one connection answers again to segments outside its window, acknowledgements of what it \
                 never sent, old timestamps, and SYNs in its middle. What is left out counts in the TCPACKSkipped \
                 counters.",
        enforced_by: &["net/ipv4/tcp_input.c:__tcp_oow_rate_limited"],
        not: "Limits no acknowledgement of data.",
        raising: "A peer that has restarted waits longer for the answer that lets it reset the old connection.",
        lowering: "0: two ends that disagree answer each other without end.",
        related: &["net.ipv4.tcp_challenge_ack_limit"],
        belongs_to: &["timestamps"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number() == Some(0),
            says: "lets two ends that disagree about a connection answer each other without end",
            instead: Instead::Default,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_challenge_ack_limit",
        title: "Challenge acknowledgements per second",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::NOT_NEGATIVE },
        unit: "acknowledgements per second",
        exists: Exists::since(Version(3, 6)),
        defaults: &[
            Default::since(Version(3, 6), "100"),
            Default::since(Version(4, 7), "1000"),
            Default::since(Version(6, 1), "2147483647"),
        ],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once; one count per namespace since 6.1, one for the whole host before"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How many answers all connections together may give to resets and SYNs that could be forged (RFC \
                 5961). 2147483647, the default since 6.1, is no limit; each connection has its own \
                 (tcp_invalid_ratelimit).",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_send_challenge_ack"],
        not: "Is no protection of this host any more: a count that all connections share tells a stranger about \
              others' connections (CVE-2016-5696).",
        raising: "Nothing.",
        lowering: "A stranger can use up the answers, and find out by that who talks to whom.",
        related: &["net.ipv4.tcp_invalid_ratelimit"],
        belongs_to: &[],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    let is_huge = setting.number().is_some_and(|n| (100_000..i64::from(i32::MAX)).contains(&n));
                    is_huge && setting.machine.kernel >= Version(4, 7)
                },
                says: "was a stopgap against CVE-2016-5696, which kernels have fixed since 4.7",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    let default = setting.default.first();
                    setting.number().zip(default).is_some_and(|(n, default)| (0..100_000).contains(&n) && n < *default)
                },
                says: "limits all connections together to fewer answers than by default: a stranger can use them up \
                       and learn of others' connections (CVE-2016-5696)",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 5961 section 7"],
    },
    Knob {
        key: COMPRESSED,
        title: "SACKs that are gathered into one",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::U8 },
        unit: "acknowledgements",
        exists: Exists::since(Version(4, 18)),
        defaults: &[Default::always("44")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "While segments are missing, a receiver sends the first three SACKs at once, and then one for up to \
                 this many segments. 0 sends each.",
        enforced_by: &["net/ipv4/tcp_input.c:__tcp_ack_snd_check"],
        not: "Does nothing while all arrives in order.",
        raising: "Peers learn later of what has arrived, and send in larger bursts.",
        lowering: "More acknowledgements, more CPU on both sides.",
        related: &[COMPRESSED_FOR, COMPRESSED_SLACK, SACK],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: COMPRESSED_FOR,
        title: "How long a gathered SACK may wait",
        kind: NANOSECONDS,
        unit: "nanoseconds",
        exists: Exists::since(Version(4, 18)),
        defaults: &[Default::always("1000000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The ceiling of that wait, which is a twentieth of the round trip, and a third on kernels with \
                 tcp_comp_sack_rtt_percent.",
        enforced_by: &["net/ipv4/tcp_input.c:__tcp_ack_snd_check"],
        not: "Delays no acknowledgement while all arrives in order.",
        raising: "Peers begin to mend losses later.",
        lowering: "More acknowledgements, more CPU on both sides.",
        related: &[COMPRESSED, COMPRESSED_SLACK],
        belongs_to: &["loss"],
        folklore: &[NOT_NANOSECONDS],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: COMPRESSED_SLACK,
        title: "How late the timer of gathered SACKs may be",
        kind: NANOSECONDS,
        unit: "nanoseconds",
        exists: Exists::since(Version(5, 8)),
        defaults: &[Default::always("100000"), Default::since(Version(6, 19), "10000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How much later than asked for the timer may end, so that several end with one interrupt.",
        enforced_by: &["net/ipv4/tcp_input.c:__tcp_ack_snd_check"],
        not: "Delays no acknowledgement while all arrives in order.",
        raising: "Peers that are near begin to mend losses later.",
        lowering: "More interrupts.",
        related: &[COMPRESSED, COMPRESSED_FOR],
        belongs_to: &["loss"],
        folklore: &[NOT_NANOSECONDS],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_thin_linear_timeouts",
        title: "Retransmission timeouts that do not double while little is in flight",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at the next retransmission timeout"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "A connection with fewer than four segments in flight does not double its retransmission timeout for \
                 the first six times. TCP_THIN_LINEAR_TIMEOUTS asks for the same on one socket.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_retransmit_timer", "include/net/tcp.h:tcp_stream_is_thin"],
        not: "Shortens no first timeout.",
        raising: "In an outage all small connections keep sending at the same pace.",
        lowering: "As by default: the second loss of a segment waits twice as long, the third four times.",
        related: &["net.ipv4.tcp_early_retrans"],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/tcp-thin.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_retrans_collapse",
        title: "Join small segments when they are sent again",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether small segments that follow each other are sent again as one.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_retrans_try_collapse"],
        not: "Changes nothing for segments that are full.",
        raising: "Nothing: on is the default.",
        lowering: "Small segments are sent again one by one. A few broken printers wanted it so.",
        related: &[],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_stdurg",
        title: "Which byte the urgent pointer points at",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "On, the pointer of a segment that comes in is read as RFC 1122 has it, not as all hosts of today.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_check_urg"],
        not: "Does nothing for data that is not urgent, which is nearly all of it.",
        raising: "The urgent byte is taken for its neighbour, as with telnet, ftp and rlogin.",
        lowering: "Nothing: off is the default.",
        related: &[],
        belongs_to: &[],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| n != 0),
            says: "reads the urgent pointer in a way that hardly any peer writes it",
            instead: Instead::Value("0"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 6093"],
    },
];

/// So few nanoseconds that another unit was meant.
const NOT_NANOSECONDS: Folklore = Folklore {
    rule: "wrong-unit",
    when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..1000).contains(&n)),
    says: "is counted in nanoseconds: so little is less than a microsecond",
    instead: Instead::Unknown,
    severity: Some(Severity::Warning),
};

fn is_without_rack(setting: &Use<'_>) -> bool {
    setting.number().is_some_and(|n| n & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::tests::{CaseOfTcp as Case, Rules, Settings, check};
    use crate::knobs::{Machine, by_key};

    const NEW: Version = Version(6, 18);
    const STABLE: Version = Version(6, 1);

    #[test]
    fn folklore_and_its_near_misses() {
        let one = |key, value, rules: Rules| -> Case { (key, value, &[], NEW, rules) };
        check(&[
            one("tcp_timestamps", "0", &["dangerous"]),
            one("tcp_timestamps", "1", &[]),
            one("tcp_timestamps", "2", &["dangerous"]),
            one("tcp_sack", "0", &["dangerous"]),
            one("tcp_sack", "1", &[]),
            one("tcp_dsack", "0", &["lowers-default"]),
            one("tcp_dsack", "1", &[]),
            one("tcp_frto", "0", &["lowers-default"]),
            one("tcp_frto", "1", &[]),
            one("tcp_frto", "2", &[]),
            one("tcp_reordering", "3", &[]),
            one("tcp_reordering", "5", &[]),
            one("tcp_reordering", "127", &["lowers-default"]),
            one("tcp_reordering", "500", &["lowers-default", "out-of-step"]),
            one("tcp_max_reordering", "1000", &[]),
            one("tcp_ecn", "0", &[]),
            one("tcp_ecn", "1", &["dangerous"]),
            one("tcp_ecn", "2", &[]),
            one("tcp_ecn", "3", &["refused"]),
            one("tcp_ecn_fallback", "1", &[]),
            one("tcp_invalid_ratelimit", "0", &["dangerous"]),
            one("tcp_invalid_ratelimit", "100", &[]),
            one("tcp_challenge_ack_limit", "2147483647", &[]),
            one("tcp_challenge_ack_limit", "999999999", &["placebo"]),
            one("tcp_challenge_ack_limit", "1000", &["dangerous"]),
            one("tcp_comp_sack_nr", "0", &[]),
            one("tcp_comp_sack_delay_ns", "1", &["wrong-unit"]),
            one("tcp_comp_sack_delay_ns", "0", &[]),
            one("tcp_comp_sack_delay_ns", "500000", &[]),
            one("tcp_stdurg", "1", &["dangerous"]),
            one("tcp_stdurg", "0", &[]),
            one("tcp_retrans_collapse", "0", &[]),
            one("tcp_thin_linear_timeouts", "1", &[]),
        ]);
    }

    #[test]
    fn what_else_is_set_decides() {
        let raised: &[_] = &[("net.ipv4.tcp_max_reordering", "1000")];
        let no_fallback: &[_] = &[("net.ipv4.tcp_ecn_fallback", "0")];
        let one = |key, value, around: Settings, rules: Rules| (key, value, around, NEW, rules);
        check(&[
            one("tcp_reordering", "500", raised, &["lowers-default"]),
            one("tcp_ecn", "1", no_fallback, &["dangerous"]),
            one("tcp_ecn", "2", no_fallback, &[]),
        ]);
    }

    #[test]
    fn the_kernel_decides() {
        let one = |key, value, kernel, rules: Rules| -> Case { (key, value, &[], kernel, rules) };
        check(&[
            one("tcp_recovery", "0", STABLE, &["lowers-default"]),
            one("tcp_recovery", "0", NEW, &["placebo"]),
            one("tcp_recovery", "1", STABLE, &[]),
            one("tcp_recovery", "5", STABLE, &[]),
            one("tcp_challenge_ack_limit", "999999999", Version(4, 4), &[]),
            one("tcp_challenge_ack_limit", "1000", Version(5, 10), &[]),
            one("tcp_challenge_ack_limit", "100", Version(5, 10), &["dangerous"]),
            one("tcp_ecn", "5", Version(7, 2), &[]),
        ]);
    }

    #[test]
    fn what_is_only_worth_knowing() {
        for (key, value) in [("tcp_ecn", "1"), ("tcp_reordering", "127"), ("tcp_timestamps", "2")] {
            let knob = by_key(&alloc::format!("net.ipv4.{key}")).expect("a knob");
            let (numbers, machine) = (knob.kind.numbers(value), Machine::of_kernel(NEW));
            let default = knob.default_on(&machine).map(|text| knob.kind.numbers(&text)).unwrap_or_default();
            let setting =
                Use { text: value, numbers: &numbers, default: &default, machine: &machine, other: &|_| None };
            let mut fired = knob.folklore.iter().filter(|lore| (lore.when)(&setting)).peekable();
            assert!(
                fired.peek().is_some() && fired.all(|lore| lore.severity == Some(Severity::Note)),
                "{key} = {value}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_said_by_the_kind() {
        let judge = |key: &str, value| {
            let knob = KNOBS.iter().find(|knob| knob.key.strip_prefix("net.ipv4.") == Some(key)).expect("a knob");
            knob.kind.judge(value).is_ok()
        };
        for (key, value) in [
            ("tcp_timestamps", "3"),
            ("tcp_sack", "2"),
            ("tcp_recovery", "8"),
            ("tcp_early_retrans", "5"),
            ("tcp_reordering", "0"),
            ("tcp_ecn", "6"),
            ("tcp_invalid_ratelimit", "-1"),
            ("tcp_comp_sack_nr", "256"),
        ] {
            assert!(!judge(key, value), "{key} = {value}");
        }
        for (key, value) in [("tcp_early_retrans", "1"), ("tcp_ecn", "1"), ("tcp_recovery", "7")] {
            assert!(judge(key, value), "{key} = {value}");
        }
    }
}

//! Sending: congestion control, pacing, segment sizes, fairness to the queue below.

use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Fresh, Inside, Instead, Kind, Knob, Scope, Undo, Use,
};
use crate::lint::Severity;
use crate::version::Version;

const ALGORITHM: &str = "net.ipv4.tcp_congestion_control";
const AVAILABLE: &str = "net.ipv4.tcp_available_congestion_control";
const PROBING: &str = "net.ipv4.tcp_mtu_probing";

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: ALGORITHM,
        title: "Congestion control of new connections",
        kind: Kind::Name,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::decided_by("whoever built the kernel (CONFIG_DEFAULT_TCP_CONG): nearly always cubic")],
        worse_below: None,
        scope: Scope::Namespace { fresh: Fresh::Initial },
        effect: Effect::new(
            EffectBy::New,
            "sockets that are opened afterwards, and connections accepted afterwards unless their listener chose for \
             itself; per namespace since 4.15",
        ),
        undo: Undo::LeavesTraces(
            "connections that began meanwhile keep their algorithm, its module stays loaded, and everyone may choose \
             it",
        ),
        cost: "none: its state has room in every socket",
        limits: "How a sender grows its congestion window and what it takes a loss for. A program may choose for each \
                 socket with TCP_CONGESTION, a route with `congctl`; those win. Writing a name loads its module \
                 (tcp_NAME) where it is installed, and in the initial namespace lets everyone choose it.",
        enforced_by: &[
            "net/ipv4/tcp_cong.c:tcp_set_default_congestion_control",
            "net/ipv4/tcp_cong.c:tcp_assign_congestion_control",
            "net/ipv4/tcp_minisocks.c:tcp_ca_openreq_child",
        ],
        not: "Changes no connection that is open, and nothing of what this host receives. bbr does not need the \
              qdisc fq: it paces by itself since 4.13.",
        raising: "Another algorithm takes another share of a full path: bbr loses more where buffers are short, and \
                  takes more than cubic where they are; some yield to everybody.",
        lowering: "reno recovers slowly on long fast paths.",
        related: &[AVAILABLE, "net.ipv4.tcp_allowed_congestion_control", "net.core.default_qdisc"],
        belongs_to: &["congestion-window", "loss"],
        folklore: &[
            Folklore {
                rule: "refused",
                when: is_not_there,
                says: "is not loaded, or not known here: writing it loads its module where that is installed; \
                       otherwise the kernel answers ENOENT, and the algorithm stays as it was",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.text.trim() == "hybla",
                says: "is made for satellite links: a connection with a long round trip grows its window as if it had \
                       one of 25 ms, at the cost of all others on the path; it cures no unfairness",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.text.trim() == "dctcp",
                says: "is made for networks whose every switch marks with ECN; RFC 8257 keeps it off the Internet, \
                       where it and others do not share fairly",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 9438", "RFC 8257"],
    },
    Knob {
        key: "net.ipv4.tcp_allowed_congestion_control",
        title: "Congestion controls that everybody may choose",
        kind: Kind::Names,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::decided_by("the kernel: reno and the default algorithm")],
        worse_below: None,
        scope: Scope::Global { inside: Inside::ReadOnly },
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "What a program without CAP_NET_ADMIN may choose with TCP_CONGESTION, and what a namespace other than \
                 the initial one may make its default. The list replaces the old one. One name that is not loaded \
                 makes the whole write fail.",
        enforced_by: &[
            "net/ipv4/tcp_cong.c:tcp_set_allowed_congestion_control",
            "net/ipv4/tcp_cong.c:tcp_set_congestion_control",
        ],
        not: "Loads no module and changes no connection: it only permits.",
        raising: "Any user may take an algorithm that shares badly.",
        lowering: "Programs that choose for themselves get EPERM and stay with the default.",
        related: &[ALGORITHM, AVAILABLE],
        belongs_to: &["congestion-window", "loss"],
        folklore: &[Folklore {
            rule: "refused",
            when: names_one_that_is_not_loaded,
            says: "names an algorithm that is not loaded: unlike tcp_congestion_control it loads no module, and the \
                   kernel refuses the whole list with ENOENT",
            instead: Instead::Unknown,
            severity: Some(Severity::Warning),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: AVAILABLE,
        title: "Congestion controls that are loaded",
        kind: Kind::ReadOnly,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::decided_by("the kernel: what is built in or loaded")],
        worse_below: None,
        scope: Scope::Global { inside: Inside::ReadOnly },
        effect: Effect::new(EffectBy::Nothing, "it only tells"),
        undo: Undo::ReadOnly,
        cost: "none",
        limits: "Nothing: it lists the algorithms that are registered at this moment.",
        enforced_by: &["net/ipv4/tcp_cong.c:tcp_get_available_congestion_control"],
        not: "Does not list what could be loaded: modules that nobody has asked for are missing in it.",
        raising: "It can't be written.",
        lowering: "It can't be written.",
        related: &[ALGORITHM, "net.ipv4.tcp_allowed_congestion_control"],
        belongs_to: &["congestion-window", "loss"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_slow_start_after_idle",
        title: "Shrink the congestion window after a pause",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "When a connection has sent nothing for longer than its retransmission timeout, its congestion window \
                 is halved for each such timeout, down to the initial window. It also falls while less than the window \
                 is used.",
        enforced_by: &[
            "include/net/tcp.h:tcp_slow_start_after_idle_check",
            "net/ipv4/tcp_output.c:tcp_cwnd_restart",
            "net/ipv4/tcp_output.c:tcp_cwnd_validate",
        ],
        not: "Does nothing to algorithms that set the window by themselves, such as bbr, and nothing to the first \
              window of a new connection.",
        raising: "As by default: each answer after a pause takes some round trips more to come to speed.",
        lowering: "After a pause a whole old window leaves in one burst, though the path may have changed.",
        related: &[ALGORITHM, "net.ipv4.tcp_no_metrics_save"],
        belongs_to: &["congestion-window"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 2861", "RFC 5681 section 4.1"],
    },
    Knob {
        key: "net.ipv4.tcp_no_metrics_save",
        title: "Remember nothing of closed connections",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "each time a connection closes; what is remembered already stays in use"),
        undo: Undo::WriteBack,
        cost: "none; switched on it saves about 128 B for each destination that is remembered",
        limits: "Whether a connection that closes leaves its round trip, its variance, its window and its reordering \
                 for the next one to the same address (`ip tcp_metrics`). Only the round trip (for the first \
                 retransmission timeout) and the reordering are taken up; the slow-start threshold no longer since \
                 5.6.",
        enforced_by: &["net/ipv4/tcp_metrics.c:tcp_update_metrics", "net/ipv4/tcp_metrics.c:tcp_init_metrics"],
        not: "Speeds up no connection since 5.6: the remembered threshold that held new ones back is no longer used \
              (tcp_no_ssthresh_metrics_save). Cookies of TCP Fast Open are remembered all the same.",
        raising: "New connections begin without what is known of the path, and with SYN cookies off no peer counts as \
                  known: during a flood, regular clients are dropped like strangers.",
        lowering: "Nothing bad on current kernels.",
        related: &["net.ipv4.tcp_no_ssthresh_metrics_save", "net.ipv4.tcp_slow_start_after_idle"],
        belongs_to: &["congestion-window"],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| is_on(setting) && setting.machine.kernel >= Version(5, 6),
            says: "was pasted against small thresholds that old connections leave to new ones; since 5.6 these are not \
                   remembered anyway",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_no_ssthresh_metrics_save",
        title: "Remember no slow-start threshold of closed connections",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(5, 6)),
        defaults: &[Default::always("1")],
        worse_below: Some("a loss in one connection then ends slow start early in the next ones to the same address"),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "connections that begin, and those that close, afterwards"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether the slow-start threshold is left out of what connections to one address inherit.",
        enforced_by: &["net/ipv4/tcp_metrics.c:tcp_init_metrics", "net/ipv4/tcp_metrics.c:tcp_update_metrics"],
        not: "Leaves alone what else is remembered: round trip and reordering.",
        raising: "Nothing: on is the default.",
        lowering: "Connections begin with the threshold of an earlier, perhaps unlucky one.",
        related: &["net.ipv4.tcp_no_metrics_save"],
        belongs_to: &["congestion-window"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_limit_output_bytes",
        title: "Bytes of one connection in the queue below TCP (TCP Small Queues)",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(4096, 1 << 30) },
        unit: "bytes",
        exists: Exists::since(Version(3, 6)),
        defaults: &[
            Default::since(Version(3, 6), "131072"),
            Default::since(Version(4, 2), "262144"),
            Default::since(Version(5, 0), "1048576"),
            Default::since(Version(6, 16), "4194304"),
        ],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "up to this much of the send buffer of each connection lies in the queueing discipline and the device",
        limits: "TCP Small Queues: a connection hands down about a millisecond's worth at its pacing rate, at least \
                 two packets and at most this much, and waits until the device has sent some of it. From 5.0 until \
                 6.15 it bounds only connections that are not paced.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_small_queue_check"],
        not: "Is no buffer: it raises neither tcp_wmem nor the window. A packet may always go when nothing is in \
              flight.",
        raising: "Longer queues in this host, and longer waits for all that share them.",
        lowering: "Links that gather packets before they send (Wi-Fi, cable, virtual machines) no longer fill.",
        related: &["net.ipv4.tcp_wmem", "net.ipv4.tcp_notsent_lowat", "net.core.default_qdisc"],
        belongs_to: &["send-buffer"],
        folklore: &[Folklore {
            rule: "lowers-default",
            when: |setting: &Use<'_>| {
                // Only what old kernels took by themselves: smaller queues are also set on purpose.
                setting.number().is_some_and(|n| {
                    matches!(n, 131_072 | 262_144) && setting.default.first().is_some_and(|default| n < *default)
                })
            },
            says: "was the default of kernels before 5.0; this one allows more by itself",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_autocorking",
        title: "Gather small writes while a packet still waits below",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(3, 14)),
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "A write of less than a full packet is held back while an earlier packet of the same connection is \
                 still in the queueing discipline or the device, until that one is sent.",
        enforced_by: &["net/ipv4/tcp.c:tcp_should_autocork"],
        not: "Waits for no timer and no answer: it is neither Nagle's algorithm nor TCP_CORK. TCP_NODELAY does not \
              switch it off.",
        raising: "As by default: a small write waits for the device, some microseconds.",
        lowering: "More and smaller packets, more CPU on both sides.",
        related: &["net.ipv4.tcp_limit_output_bytes"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_min_tso_segs",
        title: "Least segments in a packet that the device splits (TSO)",
        kind: Kind::Number { kernel: Bounds::new(1, 255), sane: Bounds::new(1, 64) },
        unit: "segments",
        exists: Exists::since(Version(3, 12)),
        defaults: &[Default::always("2")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Packets are sized to about a millisecond at the pacing rate, so that a slow connection sends no \
                 bursts; never to less than this many segments.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_tso_segs"],
        not: "Does nothing for bbr, which has a floor of its own.",
        raising: "Slow connections send bursts that short buffers drop.",
        lowering: "1: more packets to handle on slow connections.",
        related: &["net.ipv4.tcp_tso_rtt_log", "net.ipv4.tcp_tso_win_divisor", "net.ipv4.tcp_pacing_ca_ratio"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_tso_win_divisor",
        title: "Share of the window that a packet waits to fill (one n-th)",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(0, 32) },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("3")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "A packet that could still grow is sent as soon as it fills one n-th of the usable window. 0 waits for \
                 a few segments instead.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_tso_should_defer"],
        not: "Does not bound the window, only how it is cut into packets.",
        raising: "Smaller packets, more of them, smoother sending.",
        lowering: "Larger packets and more bursts; 1 lets one packet take the whole window.",
        related: &["net.ipv4.tcp_min_tso_segs"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_tso_rtt_log",
        title: "Round-trip time up to which packets are made larger",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(0, 31) },
        unit: "powers of two of a microsecond",
        exists: Exists::since(Version(5, 18)),
        defaults: &[Default::always("9")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Peers that are near get larger packets than their pacing rate alone would give: 64 KiB more, halved \
                 for each 2^n µs of their shortest round trip. The kernel shifts by the number and checks it no \
                 further: above 31 the result is undefined.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_tso_autosize"],
        not: "Does nothing for peers that are milliseconds away.",
        raising: "Farther peers get large packets, in bursts.",
        lowering: "0: as before 5.18, more CPU for near peers.",
        related: &["net.ipv4.tcp_min_tso_segs"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_min_rtt_wlen",
        title: "How long the shortest round trip is remembered",
        kind: Kind::Number { kernel: Bounds::new(0, 86_400), sane: Bounds::new(0, 86_400) },
        unit: "seconds",
        exists: Exists::since(Version(4, 4)),
        defaults: &[Default::always("300")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The window in which each connection looks for its shortest round trip, which loss detection (RACK) \
                 and packet sizes go by.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_update_rtt_min"],
        not: "bbr has a window of its own, 10 seconds, and does not look at it.",
        raising: "A connection that has moved to a longer path takes longer to notice.",
        lowering: "A queue on the path is taken for its length.",
        related: &["net.ipv4.tcp_recovery", "net.ipv4.tcp_tso_rtt_log"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_pacing_ss_ratio",
        title: "Pacing rate in slow start",
        kind: Kind::Number { kernel: Bounds::new(0, 1000), sane: Bounds::new(100, 1000) },
        unit: "percent",
        exists: Exists::since(Version(4, 3)),
        defaults: &[Default::always("200")],
        worse_below: Some("slow start can no longer double its window each round trip where it is paced"),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at the next acknowledgement"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The pacing rate while the congestion window is below half of the slow-start threshold, in percent of \
                 window per round trip. Packets are paced by it only under the qdisc fq or with \
                 SO_MAX_PACING_RATE; it also sizes packets and what may wait below TCP.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_update_pacing_rate"],
        not: "Does nothing for bbr, which computes its own rate.",
        raising: "Larger bursts while a connection comes to speed.",
        lowering: "Below 200 slow start grows by less than it could.",
        related: &["net.ipv4.tcp_pacing_ca_ratio", ALGORITHM, "net.core.default_qdisc"],
        belongs_to: &["congestion-window"],
        folklore: &[PACED_BY_BBR],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_pacing_ca_ratio",
        title: "Pacing rate after slow start",
        kind: Kind::Number { kernel: Bounds::new(0, 1000), sane: Bounds::new(100, 1000) },
        unit: "percent",
        exists: Exists::since(Version(4, 3)),
        defaults: &[Default::always("120")],
        worse_below: Some("a paced connection has less room to find out that the path carries more"),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at the next acknowledgement"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The pacing rate from half of the slow-start threshold on, in percent of window per round trip. \
                 Packets are paced by it only under the qdisc fq or with SO_MAX_PACING_RATE.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_update_pacing_rate"],
        not: "Does nothing for bbr, which computes its own rate.",
        raising: "Larger bursts.",
        lowering: "Below 100 the pace holds a connection under what its window allows.",
        related: &["net.ipv4.tcp_pacing_ss_ratio", ALGORITHM, "net.core.default_qdisc"],
        belongs_to: &["congestion-window"],
        folklore: &[PACED_BY_BBR],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: PROBING,
        title: "Find the path's packet size (MTU) without ICMP",
        kind: Kind::Choice {
            kernel: Bounds::U8,
            meanings: &[
                (0, "off"),
                (1, "once a path swallows large packets"),
                (2, "always, beginning with tcp_base_mss"),
            ],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::All,
            "1: at the next retransmission timeouts of any connection; 2: connections that begin afterwards",
        ),
        undo: Undo::LeavesTraces("connections that probe already go on with it"),
        cost: "none",
        limits: "Whether a connection looks for the largest packet by itself. 1: when it has been retransmitting past \
                 tcp_retries1, it goes down to tcp_base_mss and looks upwards from there. 2: every connection does so \
                 from its first segment.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_mtu_probing", "net/ipv4/tcp_output.c:tcp_mtup_init"],
        not: "Does not replace ICMP: where that arrives, it is faster. Helps only what this host sends.",
        raising: "1: on a path that loses everything for a while, some connections go on with small segments. 2: \
                  every connection begins with small segments.",
        lowering: "0: where ICMP is filtered, large transfers stand still while small ones work.",
        related: &[
            "net.ipv4.tcp_base_mss",
            "net.ipv4.tcp_mtu_probe_floor",
            "net.ipv4.tcp_min_snd_mss",
            "net.ipv4.ip_no_pmtu_disc",
            "net.ipv4.tcp_retries1",
        ],
        belongs_to: &["path-mtu"],
        folklore: &[Folklore {
            rule: "lowers-default",
            when: |setting: &Use<'_>| setting.number() == Some(2),
            says: "makes every connection begin with segments of tcp_base_mss, 1024 bytes by default, and probe \
                   upwards; 1 does so only where the path swallows large packets",
            instead: Instead::Value("1"),
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 4821"],
    },
    Knob {
        key: "net.ipv4.tcp_base_mss",
        title: "Segment size that probing begins with",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(48, 65_495) },
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("512"), Default::since(Version(4, 1), "1024")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The size that a connection goes down to when it begins to probe for the path's packet size. Timeouts \
                 that go on halve it, down to tcp_mtu_probe_floor.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_mtup_init", "net/ipv4/tcp_timer.c:tcp_mtu_probing"],
        not: "Sets no segment size while tcp_mtu_probing is 0, as by default.",
        raising: "Above what the path carries, the first retreat does not help and the connection stands still longer.",
        lowering: "More and smaller segments until probing has found the size.",
        related: &[PROBING, "net.ipv4.tcp_mtu_probe_floor"],
        belongs_to: &["path-mtu"],
        folklore: &[NOT_PROBING],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 4821 section 7.2"],
    },
    Knob {
        key: "net.ipv4.tcp_mtu_probe_floor",
        title: "Least segment size that probing goes down to",
        kind: Kind::Number { kernel: Bounds::new(48, 65_535), sane: Bounds::new(48, 1460) },
        unit: "bytes",
        exists: Exists::since(Version(5, 4)),
        defaults: &[Default::always("48")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at the next retransmission timeout of a connection that probes"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How small segments become when a connection that probes goes on losing everything.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_mtu_probing"],
        not: "Does nothing while tcp_mtu_probing is 0, as by default.",
        raising: "Above what the path carries, the connection never gets through.",
        lowering: "An outage leaves connections with tiny segments for a while.",
        related: &[PROBING, "net.ipv4.tcp_base_mss", "net.ipv4.tcp_min_snd_mss"],
        belongs_to: &["path-mtu"],
        folklore: &[NOT_PROBING],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_probe_interval",
        title: "How often probing looks whether the path carries more",
        // The kernel's bound is 2^32 / HZ: this is the one for HZ = 100.
        kind: Kind::Number { kernel: Bounds::new(0, 42_949_672), sane: Bounds::new(1, 604_800) },
        unit: "seconds",
        exists: Exists::since(Version(4, 1)),
        defaults: &[Default::always("600")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "After this long a connection that probes opens its search for a larger packet again.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_mtu_check_reprobe"],
        not: "Does nothing while tcp_mtu_probing is 0, as by default.",
        raising: "A path that carries more again is found out later.",
        lowering: "More probes that are lost, and sent again.",
        related: &[PROBING, "net.ipv4.tcp_probe_threshold"],
        belongs_to: &["path-mtu"],
        folklore: &[NOT_PROBING],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 4821 section 7.7"],
    },
    Knob {
        key: "net.ipv4.tcp_probe_threshold",
        title: "How exactly probing finds the packet size",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(1, 1460) },
        unit: "bytes",
        exists: Exists::since(Version(4, 1)),
        defaults: &[Default::always("8")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The search ends when what is left between too small and too large is less than this.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_mtu_probe"],
        not: "Does nothing while tcp_mtu_probing is 0, as by default.",
        raising: "The search ends with segments smaller than the path carries.",
        lowering: "More probes for a few bytes.",
        related: &[PROBING, "net.ipv4.tcp_probe_interval"],
        belongs_to: &["path-mtu"],
        folklore: &[NOT_PROBING],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_min_snd_mss",
        title: "Least segment size that a peer or a path can bring about",
        kind: Kind::Number { kernel: Bounds::new(48, 65_535), sane: Bounds::new(48, 1460) },
        unit: "bytes",
        // 5.2, and every stable tree of June 2019 from 4.4 on.
        exists: Exists::since(Version(4, 4)),
        defaults: &[Default::always("48")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "when a connection begins or its path's packet size changes"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Segments, options included, do not become smaller than this, whatever size the peer announced or the \
                 path was found to carry.",
        enforced_by: &["net/ipv4/tcp_output.c:__tcp_mtu_to_mss"],
        not: "Refuses no peer: one with a smaller segment size is sent larger segments than it asked for.",
        raising: "Above 536 there are paths and small devices that the segments no longer fit.",
        lowering: "48 is the least. Peers that announce tiny segments make a sender work a lot for few bytes \
                   (CVE-2019-11479).",
        related: &[PROBING, "net.ipv4.tcp_mtu_probe_floor"],
        belongs_to: &["path-mtu"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| n > 536),
            says: "sends segments larger than a peer or a path may take: 536 is what every IPv4 host has to take",
            instead: Instead::Unknown,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 9293 section 3.7.1"],
    },
    Knob {
        key: "net.ipv4.ip_no_pmtu_disc",
        title: "Do not find out the path's packet size (MTU, IPv4)",
        kind: Kind::Choice {
            kernel: Bounds::U8,
            meanings: &[
                (0, "find out by ICMP"),
                (1, "do not: routers cut packets"),
                (2, "do not, and discard what ICMP says"),
                (3, "do not, and believe ICMP only of protocols that can check it"),
            ],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::New,
            "sockets that are opened afterwards; accepted connections have it from their listener. What is made of \
             ICMP: at once",
        ),
        undo: Undo::LeavesTraces("sockets opened meanwhile, and what their listeners accept, keep it"),
        cost: "none",
        limits: "With anything but 0 new sockets send without the bit that forbids routers to cut packets (DF). 1 to 3 \
                 differ in what ICMP \"fragmentation needed\" may still tell.",
        enforced_by: &["net/ipv4/af_inet.c:inet_create", "net/ipv4/icmp.c:icmp_unreach"],
        not: "Does nothing for IPv6, whose routers never cut packets. Cures no path that swallows large packets: \
              tcp_mtu_probing does.",
        raising: "Routers cut packets or drop them; one lost piece loses the whole packet, many firewalls drop pieces, \
                  and pieces of different packets can be mixed up at high rates.",
        lowering: "0, as by default: where ICMP is filtered, large packets vanish; tcp_mtu_probing finds a way.",
        related: &[PROBING],
        belongs_to: &["path-mtu"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| matches!(setting.number(), Some(1 | 2)),
                says: "lets routers cut packets: pieces get lost, are dropped by firewalls, and cost the receiver \
                       work; against filtered ICMP take tcp_mtu_probing = 1",
                instead: Instead::Value("0"),
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(3),
                says: "is meant for name servers in a namespace of their own; set for a whole host it takes path MTU \
                       discovery from all other protocols",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 8900"],
    },
    Knob {
        key: "net.ipv4.tcp_early_demux",
        title: "Look for the socket before the route",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::since(Version(4, 12)),
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next packet on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether a packet that comes in is matched with an open connection first, whose route is then taken; \
                 else the route is looked up for each packet. For IPv4 and IPv6, while ip_early_demux is on.",
        enforced_by: &["net/ipv4/ip_input.c:ip_rcv_finish_core", "net/ipv6/ip6_input.c:ip6_rcv_finish_core"],
        not: "Changes nothing of what is delivered to whom.",
        raising: "As by default: a host that only forwards looks for sockets that are not there.",
        lowering: "Each packet for this host costs a look-up of its route.",
        related: &[],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_backlog_ack_defer",
        title: "One acknowledgement for all that came while a socket was busy",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(6, 7)),
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "While a program holds a socket, segments wait in its backlog. Working them off sends one \
                 acknowledgement at the end, instead of one for every few.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_release_cb", "net/ipv4/tcp_input.c:__tcp_ack_snd_check"],
        not: "Delays no acknowledgement of a socket that is not busy.",
        raising: "As by default: peers that pace by acknowledgements get fewer of them.",
        lowering: "More acknowledgements, more CPU on both sides.",
        related: &["net.ipv4.tcp_comp_sack_nr"],
        belongs_to: &["socket-backlog"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
];

/// Segment sizes of a probing that nobody does.
const NOT_PROBING: Folklore = Folklore {
    rule: "placebo",
    when: |setting: &Use<'_>| is_no_default(setting) && setting.other_number(PROBING) == Some(0),
    says: "does nothing while tcp_mtu_probing is 0, as it is here",
    instead: Instead::Nothing,
    severity: None,
};

/// Ratios of a pacing rate that is not computed by them.
const PACED_BY_BBR: Folklore = Folklore {
    rule: "placebo",
    when: |setting: &Use<'_>| {
        is_no_default(setting) && (setting.other)(ALGORITHM).is_some_and(|name| name.trim() == "bbr")
    },
    says: "does nothing for connections of bbr, the default here: it computes its pacing rate by itself",
    instead: Instead::Nothing,
    severity: Some(Severity::Note),
};

fn is_on(setting: &Use<'_>) -> bool {
    setting.number().is_some_and(|n| n != 0)
}

fn is_no_default(setting: &Use<'_>) -> bool {
    !setting.numbers.is_empty() && setting.numbers != setting.default
}

/// An algorithm that must be loaded first, as far as can be seen.
fn is_not_there(setting: &Use<'_>) -> bool {
    let name = setting.text.trim();
    match (setting.other)(AVAILABLE) {
        Some(there) => !there.split_ascii_whitespace().any(|known| known == name),
        // What every distribution has.
        None => !matches!(name, "reno" | "cubic" | "bbr"),
    }
}

fn names_one_that_is_not_loaded(setting: &Use<'_>) -> bool {
    let Some(there) = (setting.other)(AVAILABLE) else { return false };
    // Making it the default loads it.
    let default = (setting.other)(ALGORITHM);
    let is_there = |name| there.split_ascii_whitespace().any(|known| known == name);
    let is_default = |name| default.as_deref().is_some_and(|default| default.trim() == name);
    setting.text.split_ascii_whitespace().any(|name| !is_there(name) && !is_default(name))
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
            one("tcp_congestion_control", "bbr", &[]),
            one("tcp_congestion_control", "cubic", &[]),
            one("tcp_congestion_control", "reno", &[]),
            one("tcp_congestion_control", "htcp", &["refused"]),
            one("tcp_congestion_control", "hybla", &["refused", "dangerous"]),
            one("tcp_congestion_control", "dctcp", &["refused", "dangerous"]),
            one("tcp_slow_start_after_idle", "0", &[]),
            one("tcp_slow_start_after_idle", "1", &[]),
            one("tcp_no_metrics_save", "1", &["placebo"]),
            one("tcp_no_metrics_save", "0", &[]),
            one("tcp_no_ssthresh_metrics_save", "0", &[]),
            one("tcp_limit_output_bytes", "131072", &["lowers-default"]),
            one("tcp_limit_output_bytes", "1048576", &[]),
            one("tcp_limit_output_bytes", "65536", &[]),
            one("tcp_mtu_probing", "0", &[]),
            one("tcp_mtu_probing", "1", &[]),
            one("tcp_mtu_probing", "2", &["lowers-default"]),
            one("ip_no_pmtu_disc", "0", &[]),
            one("ip_no_pmtu_disc", "1", &["dangerous"]),
            one("ip_no_pmtu_disc", "2", &["dangerous"]),
            one("ip_no_pmtu_disc", "3", &["dangerous"]),
            one("tcp_min_snd_mss", "536", &[]),
            one("tcp_min_snd_mss", "1000", &["dangerous"]),
            one("tcp_autocorking", "0", &[]),
            one("tcp_early_demux", "0", &[]),
            one("tcp_base_mss", "512", &["placebo"]),
            one("tcp_base_mss", "1024", &[]),
            one("tcp_probe_interval", "60", &["placebo"]),
            one("tcp_pacing_ca_ratio", "150", &[]),
        ]);
    }

    #[test]
    fn what_else_is_set_decides() {
        let probing: &[_] = &[("net.ipv4.tcp_mtu_probing", "1")];
        let loaded: &[_] = &[("net.ipv4.tcp_available_congestion_control", "reno cubic htcp")];
        let loads: &[_] =
            &[("net.ipv4.tcp_available_congestion_control", "reno cubic"), ("net.ipv4.tcp_congestion_control", "bbr")];
        let bbr: &[_] = &[("net.ipv4.tcp_congestion_control", "bbr")];
        let one = |key, value, around: Settings, rules: Rules| (key, value, around, NEW, rules);
        check(&[
            one("tcp_base_mss", "512", probing, &[]),
            one("tcp_mtu_probe_floor", "256", probing, &[]),
            one("tcp_congestion_control", "htcp", loaded, &[]),
            one("tcp_congestion_control", "bbr", loaded, &["refused"]),
            one("tcp_allowed_congestion_control", "reno cubic", loaded, &[]),
            one("tcp_allowed_congestion_control", "reno cubic bbr", loaded, &["refused"]),
            one("tcp_allowed_congestion_control", "reno cubic bbr", loads, &[]),
            one("tcp_allowed_congestion_control", "reno cubic bbr", &[], &[]),
            one("tcp_pacing_ca_ratio", "150", bbr, &["placebo"]),
            one("tcp_pacing_ca_ratio", "120", bbr, &[]),
        ]);
    }

    #[test]
    fn the_kernel_decides() {
        let one = |key, value, kernel, rules: Rules| -> Case { (key, value, &[], kernel, rules) };
        check(&[
            one("tcp_no_metrics_save", "1", Version(5, 4), &[]),
            one("tcp_no_metrics_save", "1", STABLE, &["placebo"]),
            one("tcp_limit_output_bytes", "262144", STABLE, &["lowers-default"]),
            one("tcp_limit_output_bytes", "262144", Version(4, 19), &[]),
        ]);
    }

    #[test]
    fn what_is_only_worth_knowing() {
        for (key, value) in [
            ("ip_no_pmtu_disc", "3"),
            ("tcp_congestion_control", "htcp"),
            ("tcp_congestion_control", "dctcp"),
            ("tcp_limit_output_bytes", "131072"),
            ("tcp_mtu_probing", "2"),
            ("tcp_no_metrics_save", "1"),
        ] {
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
            ("tcp_limit_output_bytes", "-1"),
            ("tcp_pacing_ca_ratio", "0"),
            ("tcp_base_mss", "0"),
            ("tcp_mtu_probing", "3"),
            ("tcp_available_congestion_control", "bbr"),
            ("tcp_congestion_control", "bbr cubic"),
        ] {
            assert!(!judge(key, value), "{key} = {value}");
        }
        assert!(judge("tcp_congestion_control", "bbr") && judge("tcp_mtu_probing", "1"));
    }
}

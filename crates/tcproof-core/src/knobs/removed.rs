//! Knobs that are gone, or never did what they are pasted for, and that still stand in files.

use super::{Bounds, Default, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Scope, Undo, Use};
use crate::version::Version;

/// What all knobs of this file have in common.
const GONE: Knob = Knob {
    key: "",
    title: "",
    kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::INT },
    unit: "",
    exists: Exists::ALWAYS,
    defaults: &[],
    worse_below: None,
    scope: Scope::GLOBAL,
    effect: Effect::new(EffectBy::Nothing, "it does nothing"),
    undo: Undo::WriteBack,
    cost: "none",
    limits: "",
    enforced_by: &[],
    not: "",
    raising: "Nothing.",
    lowering: "Nothing.",
    related: &[],
    belongs_to: &[],
    folklore: &[],
    sources: &["Documentation/networking/ip-sysctl.rst"],
};

const NUMBER: Kind = GONE.kind;
/// Off and on, which the kernel did not check.
const SWITCH: Kind = Kind::Choice { kernel: Bounds::INT, meanings: &[(0, "off"), (1, "on")] };
/// What connection tracking begins with, by whichever name.
const TRACKED: &[Default] = &[Default::decided_by("the kernel, as for the knob that took its place")];

/// The routing cache for IPv4, which its knobs outlived.
const ROUTE_CACHE: Version = Version(3, 6);

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "net.ipv4.tcp_fack",
        title: "Forward acknowledgements, FACK",
        kind: Kind::LOOSE_SWITCH,
        exists: Exists::ALWAYS.inert(Version(4, 15)),
        defaults: &[Default::since(Version(4, 15), "0")],
        scope: Scope::NAMESPACE,
        limits: "Nothing since 4.15. Before, all below the highest SACK was taken for lost.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_is_fack (until 4.14)"],
        not: "Detects no loss: RACK does that, by time (tcp_recovery).",
        related: &["net.ipv4.tcp_recovery", "net.ipv4.tcp_sack"],
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_low_latency",
        title: "Low latency by a bypass of the prequeue",
        kind: SWITCH,
        exists: Exists::ALWAYS.inert(Version(4, 14)),
        defaults: &[Default::always("0")],
        limits: "Nothing since 4.14, which has no prequeue any more. Before, 1 kept segments from waiting for the \
                 program that reads.",
        enforced_by: &["net/ipv4/tcp_ipv4.c:tcp_prequeue (until 4.13)"],
        not: "Makes no answer faster. Against latency below TCP: net.core.busy_poll; against a full send buffer: \
              tcp_notsent_lowat.",
        related: &["net.core.busy_poll", "net.core.busy_read", "net.ipv4.tcp_notsent_lowat"],
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_abc",
        title: "Appropriate byte counting",
        kind: Kind::Choice {
            kernel: Bounds::INT,
            meanings: &[(0, "off"), (1, "on"), (2, "on, for delayed acknowledgements")],
        },
        exists: Exists::ALWAYS.removed(Version(3, 9)),
        defaults: &[Default::always("0")],
        limits: "Grew the congestion window by bytes instead of acknowledgements (RFC 3465).",
        enforced_by: &["net/ipv4/tcp_cong.c:tcp_slow_start (until 3.8)"],
        not: "Needs no successor: the window grows by acknowledged segments in all kernels since.",
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_max_ssthresh",
        title: "Limited slow start",
        unit: "segments",
        // Gone in 3.13 at the latest.
        exists: Exists::ALWAYS.removed(Version(3, 13)),
        defaults: &[Default::always("0")],
        limits: "Slowed the growth of large congestion windows (RFC 3742).",
        enforced_by: &["net/ipv4/tcp_cong.c:tcp_slow_start (until 3.12)"],
        not: "Has no successor; cubic leaves slow start early where the round trip grows (HyStart).",
        related: &["net.ipv4.tcp_congestion_control"],
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_frto_response",
        title: "What follows a needless timeout",
        kind: Kind::Choice { kernel: Bounds::INT, meanings: &[(0, "half"), (1, "half, slowly"), (2, "all")] },
        exists: Exists::ALWAYS.removed(Version(3, 10)),
        defaults: &[Default::always("0")],
        limits: "Chose how much of the window is taken back after a timeout that was needless.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_process_frto (until 3.9)"],
        not: "Has no successor: since 3.10 all of it is taken back (tcp_frto).",
        related: &["net.ipv4.tcp_frto"],
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_cookie_size",
        title: "TCP cookie transactions",
        unit: "bytes",
        exists: Exists::ALWAYS.removed(Version(3, 10)),
        defaults: &[Default::always("0")],
        limits: "Size of the cookie of TCPCT (RFC 6013), which nobody used.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_cookie_size_check (until 3.9)"],
        not: "Has nothing to do with SYN cookies (tcp_syncookies) or the cookies of TCP Fast Open.",
        related: &["net.ipv4.tcp_syncookies", "net.ipv4.tcp_fastopen"],
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_dma_copybreak",
        title: "Copies by a DMA engine",
        unit: "bytes",
        exists: Exists::ALWAYS.removed(Version(3, 18)),
        defaults: &[Default::always("4096")],
        limits: "From how many bytes on a DMA engine copied what was received (NET_DMA).",
        enforced_by: &["net/ipv4/tcp.c:tcp_recvmsg (until 3.17)"],
        not: "Has no successor: programs that would avoid copies use MSG_ZEROCOPY or TCP_ZEROCOPY_RECEIVE.",
        ..GONE
    },
    Knob {
        key: "net.ipv4.tcp_thin_dupack",
        title: "Retransmission after one duplicate acknowledgement",
        kind: SWITCH,
        exists: Exists::ALWAYS.removed(Version(4, 11)),
        defaults: &[Default::always("0")],
        limits: "Made connections with little in flight send again after one duplicate acknowledgement.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_time_to_recover (until 4.10)"],
        not: "Needs no successor: RACK and tail loss probes do better without asking (tcp_recovery, \
              tcp_early_retrans).",
        related: &["net.ipv4.tcp_recovery", "net.ipv4.tcp_early_retrans", "net.ipv4.tcp_thin_linear_timeouts"],
        ..GONE
    },
    algorithm_of_old("net.ipv4.tcp_bic", "BIC congestion control", (SWITCH, ""), &[Default::always("1")]),
    algorithm_of_old(
        "net.ipv4.tcp_bic_beta",
        "BIC: what is left of the window after a loss",
        (NUMBER, "1024ths"),
        &[Default::always("819")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_bic_fast_convergence",
        "BIC: way for new connections",
        (SWITCH, ""),
        &[Default::always("1")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_bic_low_window",
        "BIC: windows that grow as with reno",
        (NUMBER, "segments"),
        &[Default::always("14")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_vegas_cong_avoid",
        "Vegas congestion control",
        (SWITCH, ""),
        &[Default::always("0")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_vegas_alpha",
        "Vegas: least packets in the queue",
        (NUMBER, "half segments"),
        &[Default::always("2")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_vegas_beta",
        "Vegas: most packets in the queue",
        (NUMBER, "half segments"),
        &[Default::always("6")],
    ),
    algorithm_of_old(
        "net.ipv4.tcp_vegas_gamma",
        "Vegas: end of slow start",
        (NUMBER, "half segments"),
        &[Default::always("2")],
    ),
    algorithm_of_old("net.ipv4.tcp_westwood", "Westwood congestion control", (SWITCH, ""), &[Default::always("0")]),
    Knob {
        key: "net.ipv4.ip_conntrack_max",
        title: "Entries of connection tracking, by its oldest name",
        unit: "entries",
        exists: Exists::ALWAYS.removed(Version(3, 0)),
        defaults: TRACKED,
        limits: "Was the size of ip_conntrack, the tracking of connections that was for IPv4 alone.",
        enforced_by: &["net/ipv4/netfilter/ip_conntrack_core.c (until 2.6.21)"],
        not: "Sets nothing: net.netfilter.nf_conntrack_max is the knob.",
        related: &["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"],
        belongs_to: &["conntrack-table"],
        sources: &["Documentation/networking/nf_conntrack-sysctl.rst"],
        ..GONE
    },
    tracking(
        "net.ipv4.netfilter.ip_conntrack_max",
        "Entries of connection tracking",
        "entries",
        &["net.netfilter.nf_conntrack_max"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_count",
        "Entries in use by connection tracking",
        "entries",
        &["net.netfilter.nf_conntrack_count"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_buckets",
        "Buckets of connection tracking",
        "buckets",
        &["net.netfilter.nf_conntrack_buckets"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_syn_sent",
        "Tracking: after a SYN",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_syn_sent"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_syn_recv",
        "Tracking: after the answer to a SYN",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_syn_recv"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_established",
        "Tracking: open connections",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_established"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_fin_wait",
        "Tracking: after the first FIN",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_fin_wait"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_close_wait",
        "Tracking: half-closed connections",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_close_wait"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_last_ack",
        "Tracking: before the last acknowledgement",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_last_ack"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait",
        "Tracking: closed connections",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_time_wait"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_close",
        "Tracking: after a reset",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_close"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_timeout_max_retrans",
        "Tracking: after many retransmissions",
        "seconds",
        &["net.netfilter.nf_conntrack_tcp_timeout_max_retrans"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_loose",
        "Tracking: connections found in their middle",
        "",
        &["net.netfilter.nf_conntrack_tcp_loose"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_be_liberal",
        "Tracking: segments outside the window",
        "",
        &["net.netfilter.nf_conntrack_tcp_be_liberal"],
    ),
    tracking(
        "net.ipv4.netfilter.ip_conntrack_tcp_max_retrans",
        "Tracking: retransmissions after which the timeout is shorter",
        "retransmissions",
        &[],
    ),
    tracking("net.ipv4.netfilter.ip_conntrack_udp_timeout", "Tracking: UDP", "seconds", &[]),
    tracking("net.ipv4.netfilter.ip_conntrack_udp_timeout_stream", "Tracking: UDP in both directions", "seconds", &[]),
    tracking("net.ipv4.netfilter.ip_conntrack_icmp_timeout", "Tracking: ICMP", "seconds", &[]),
    tracking("net.ipv4.netfilter.ip_conntrack_generic_timeout", "Tracking: other protocols", "seconds", &[]),
    peers("net.ipv4.inet_peer_gc_mintime", "Least gap between clean-ups of known peers", &[Default::always("10")]),
    peers("net.ipv4.inet_peer_gc_maxtime", "Longest gap between clean-ups of known peers", &[Default::always("120")]),
    Knob {
        key: "net.ipv4.rt_cache_rebuild_count",
        title: "Rebuilds of the routing cache",
        unit: "rebuilds",
        // Gone in 4.0 at the latest; there has been no cache to rebuild since 3.6.
        exists: Exists::ALWAYS.inert(ROUTE_CACHE).removed(Version(4, 0)),
        defaults: &[Default::always("4")],
        limits: "After so many emergency rebuilds the routing cache was switched off.",
        enforced_by: &["net/ipv4/route.c:rt_caching (until 3.5)"],
        not: "There has been no routing cache for IPv4 since 3.6.",
        ..GONE
    },
    Knob {
        key: "net.ipv4.route.secret_interval",
        title: "Gap between rebuilds of the routing cache",
        unit: "seconds",
        exists: Exists::ALWAYS.removed(ROUTE_CACHE),
        defaults: &[Default::always("600")],
        limits: "How often the hash of the routing cache was made anew.",
        enforced_by: &["net/ipv4/route.c (until 3.5)"],
        not: "There has been no routing cache for IPv4 since 3.6.",
        ..GONE
    },
    route_cache(
        "net.ipv4.route.max_size",
        "Entries of the routing cache",
        "entries",
        &[Default::since(ROUTE_CACHE, "2147483647")],
    ),
    route_cache(
        "net.ipv4.route.gc_thresh",
        "Clean-up of the routing cache: from when on",
        "entries",
        &[Default::since(ROUTE_CACHE, "-1")],
    ),
    route_cache(
        "net.ipv4.route.gc_elasticity",
        "Clean-up of the routing cache: how hard",
        "entries in a bucket",
        &[Default::always("8")],
    ),
    route_cache(
        "net.ipv4.route.gc_interval",
        "Clean-up of the routing cache: how often",
        "seconds",
        &[Default::always("60")],
    ),
    route_cache(
        "net.ipv4.route.gc_min_interval",
        "Clean-up of the routing cache: least gap",
        "seconds",
        &[Default::always("0")],
    ),
    route_cache(
        "net.ipv4.route.gc_min_interval_ms",
        "Clean-up of the routing cache: least gap",
        "milliseconds",
        &[Default::always("500")],
    ),
    Knob {
        key: "net.ipv4.route.gc_timeout",
        title: "How long an ICMP redirect is believed",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(1, 86_400) },
        unit: "seconds",
        defaults: &[Default::always("300")],
        effect: Effect::new(EffectBy::All, "the next redirect that comes in"),
        limits: "How long a gateway that an ICMP redirect named is used. Until 3.5 it was the age at which entries of \
                 the routing cache went.",
        enforced_by: &["net/ipv4/route.c:__ip_do_redirect"],
        not: "Cleans up nothing: there has been no routing cache for IPv4 since 3.6.",
        raising: "Packets go through a gateway that may no longer be the right one.",
        lowering: "More redirects.",
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| setting.machine.kernel >= ROUTE_CACHE && setting.numbers != setting.default,
            says: "was pasted to empty the routing cache, which is gone since 3.6; it only tells how long ICMP \
                   redirects are believed",
            instead: Instead::Nothing,
            severity: None,
        }],
        ..GONE
    },
];

/// The algorithms of 2.6.12 and before had switches of their own.
const fn algorithm_of_old(
    key: &'static str,
    title: &'static str,
    (kind, unit): (Kind, &'static str),
    defaults: &'static [Default],
) -> Knob {
    Knob {
        key,
        title,
        kind,
        unit,
        // 2.6.13: before every kernel that is told apart here.
        exists: Exists::ALWAYS.removed(Version(2, 7)),
        defaults,
        limits: "Until 2.6.12 each congestion control had switches of its own.",
        enforced_by: &["net/ipv4/tcp_input.c (until 2.6.12)"],
        not: "Chooses nothing: tcp_congestion_control does, and what an algorithm can be tuned by are parameters of \
              its module.",
        related: &["net.ipv4.tcp_congestion_control"],
        ..GONE
    }
}

/// Names of connection tracking from when it was for IPv4 alone; the kernel kept them until 4.8.
const fn tracking(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    related: &'static [&'static str],
) -> Knob {
    Knob {
        key,
        title,
        unit,
        exists: Exists::ALWAYS.removed(Version(4, 9)),
        defaults: TRACKED,
        limits: "Was an old name of a knob of connection tracking, kept until 4.8.",
        enforced_by: &["net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_tcp.c (by this name until 4.8)"],
        not: "Sets nothing: the knob is now called net.netfilter.nf_conntrack_ and the rest of this name.",
        related,
        belongs_to: &["conntrack-table"],
        sources: &["Documentation/networking/nf_conntrack-sysctl.rst"],
        ..GONE
    }
}

const fn peers(key: &'static str, title: &'static str, defaults: &'static [Default]) -> Knob {
    Knob {
        key,
        title,
        unit: "seconds",
        // Gone in 3.1 at the latest.
        exists: Exists::ALWAYS.removed(Version(3, 1)),
        defaults,
        limits: "How often what the kernel knows of other hosts was cleaned up.",
        enforced_by: &["net/ipv4/inetpeer.c:peer_check_expire (until 3.0)"],
        not: "Needs no successor: it is cleaned up while it is looked at (inet_peer_threshold, inet_peer_minttl).",
        ..GONE
    }
}

const fn route_cache(key: &'static str, title: &'static str, unit: &'static str, defaults: &'static [Default]) -> Knob {
    Knob {
        key,
        title,
        unit,
        exists: Exists::ALWAYS.inert(ROUTE_CACHE),
        defaults,
        limits: "Nothing since 3.6, which has no routing cache for IPv4 any more.",
        enforced_by: &["net/ipv4/route.c:rt_garbage_collect (until 3.5)"],
        not: "Makes room for no destination and frees none. The table of neighbours is \
              net.ipv4.neigh.default.gc_thresh3.",
        related: &["net.ipv4.neigh.default.gc_thresh3"],
        ..GONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::Machine;
    use crate::knobs::tests::lore_on;

    #[test]
    fn folklore_and_its_near_misses() {
        for (key, value, kernel, rules) in [
            ("net.ipv4.route.gc_timeout", "100", Version(6, 18), &["placebo"][..]),
            ("net.ipv4.route.gc_timeout", "300", Version(6, 18), &[]),
            ("net.ipv4.route.gc_timeout", "100", Version(3, 2), &[]),
            // That they do nothing, or are not there, follows from since when.
            ("net.ipv4.tcp_fack", "1", Version(6, 18), &[]),
            ("net.ipv4.route.max_size", "8048576", Version(6, 18), &[]),
        ] {
            assert_eq!(lore_on(&Machine::of_kernel(kernel), key, value, &[]), rules, "{key} = {value} on {kernel}");
        }
    }

    #[test]
    fn since_when() {
        let knob = |key: &str| KNOBS.iter().find(|knob| knob.key == key).expect("a knob");
        for key in ["net.ipv4.tcp_fack", "net.ipv4.tcp_low_latency", "net.ipv4.route.max_size"] {
            let exists = knob(key).exists;
            assert!(exists.in_kernel(Version(6, 18)) && exists.inert_since <= Some(Version(4, 15)), "{key}");
        }
        for (key, last) in [
            ("net.ipv4.tcp_thin_dupack", Version(4, 10)),
            ("net.ipv4.tcp_abc", Version(3, 8)),
            ("net.ipv4.netfilter.ip_conntrack_max", Version(4, 8)),
        ] {
            assert!(knob(key).exists.in_kernel(last), "{key}");
        }
        let live = |knob: &&Knob| knob.exists.in_kernel(Version(4, 15)) && knob.exists.inert_since.is_none();
        let live: alloc::vec::Vec<_> = KNOBS.iter().filter(live).map(|knob| knob.key).collect();
        assert_eq!(live, ["net.ipv4.route.gc_timeout"]);
    }
}

//! Ports and TIME_WAIT: what a connection that has ended, or one that is to begin, takes from the port range.

use alloc::format;
use alloc::string::String;

use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Inside, Instead, Kind, Knob, Machine, Scope, Undo, Use,
};
use crate::limits::port_ranges;
use crate::lint::Severity;
use crate::version::Version;

const RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
const UNPRIVILEGED: &str = "net.ipv4.ip_unprivileged_port_start";
const TW_REUSE: &str = "net.ipv4.tcp_tw_reuse";
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";

/// Below it are the ports that most services listen on. Higher ones listen too (27017, 11211), but who starts a range
/// at 10 000 or 10 240 has thought of them as a rule.
const SERVICES_END: i64 = 10_000;
/// Ports of the default range.
const DEFAULT_WIDTH: i64 = 60_999 - 32_768 + 1;
/// What boot computes for the time-wait table and for orphans on 4 GiB of memory.
const OF_4_GIB: i64 = 16_384;
/// The most that boot computes for them, whatever the memory.
const OF_THE_LARGEST: i64 = 262_144;

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: RANGE,
        title: "Ports for outgoing connections",
        kind: Kind::PortRange,
        unit: "ports",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("32768 61000"), Default::since(Version(4, 2), "32768 60999")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next connect(2), or bind(2) to port 0, that has to choose a port"),
        undo: Undo::LeavesTraces("a socket keeps the port that it was given"),
        cost: "up to 128 B for each port in use",
        limits: "The ports that the kernel chooses from when a program does not name one. For connect(2) the whole \
                 range is there for each pair of source address and destination (address and port); for bind(2) to \
                 port 0, once for each address. 32768 to 60999 are 28232 ports.",
        enforced_by: &[
            "net/ipv4/inet_hashtables.c:__inet_hash_connect",
            "net/ipv4/inet_connection_sock.c:inet_csk_find_open_port",
        ],
        not: "Bounds neither the connections of a server, which all share its one port, nor all connections of a \
              client: the next destination has the whole range again. Keeps no program from naming a port outside of \
              it.",
        raising: "A range that begins low takes ports that services want: while an outgoing connection has the port, \
                  listening on it fails with EADDRINUSE, with SO_REUSEADDR too. Reserve those ports first.",
        lowering: "connect(2) fails with EADDRNOTAVAIL sooner, and burns CPU searching once half of the range is \
                   taken.",
        related: &[RESERVED, UNPRIVILEGED, TW_REUSE],
        belongs_to: &["ephemeral-ports"],
        folklore: &[
            Folklore {
                rule: "refused",
                when: |setting: &Use<'_>| match (setting.number(), setting.other_number(UNPRIVILEGED)) {
                    (Some(low), Some(start)) => low >= 1 && low < start,
                    _ => false,
                },
                says: "the range begins below ip_unprivileged_port_start: whichever of the two is written last is \
                       answered with EINVAL (since 4.11)",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    let takes_services =
                        |low: &i64| (1..SERVICES_END).contains(low) && !reserves_services(setting, *low);
                    setting.number().is_some_and(|low| takes_services(&low))
                },
                says: "outgoing connections take ports that services listen on: a service that starts then fails with \
                       EADDRINUSE. Begin higher, or list its port in ip_local_reserved_ports",
                instead: Instead::Value("10240 65535"),
                severity: None,
            },
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| width(setting).is_some_and(|width| (1..DEFAULT_WIDTH / 2).contains(&width)),
                says: "less than half of the 28232 ports that there are by default: fewer connections at a time from \
                       one address to one destination",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| {
                    width(setting).is_some_and(|width| (DEFAULT_WIDTH / 2..DEFAULT_WIDTH).contains(&width))
                },
                says: "fewer than the 28232 ports that there are by default, for connections at a time from one \
                       address to one destination",
                instead: Instead::Default,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "out-of-step",
                when: |setting: &Use<'_>| {
                    let is_odd = width(setting).is_some_and(|width| width > 1 && width % 2 == 1);
                    is_odd && setting.machine.kernel >= Version(4, 2)
                },
                says: "both ends are even, or both odd: each search leaves one port out, and the kernel says so in its \
                       log. One should be even and the other odd",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcproof lab: ports-range-small, ports-held"],
    },
    Knob {
        key: RESERVED,
        title: "Ports that are never chosen",
        kind: Kind::PortList,
        unit: "ports",
        exists: Exists::since(Version(2, 6)),
        defaults: &[Default::always("")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next connect(2), or bind(2) to port 0, that has to choose a port"),
        undo: Undo::LeavesTraces("a socket keeps the port that it was given"),
        cost: "8 KiB for each namespace, however many are listed",
        limits: "Ports that the kernel passes over when it chooses one. A program that names such a port still gets \
                 it: that is what they are reserved for. A list may name ports outside of ip_local_port_range.",
        enforced_by: &[
            "net/ipv4/inet_hashtables.c:__inet_hash_connect",
            "net/ipv4/inet_connection_sock.c:inet_csk_find_open_port",
        ],
        not: "Protects from no program that binds to the port by its number. Does not add to what was listed before: a \
              write replaces the whole list.",
        raising: "Each port that is within the range is one less for outgoing connections.",
        lowering: "An outgoing connection can sit on the port of a service that is being restarted.",
        related: &[RANGE, "net.ipv4.ip_local_port_step_width"],
        belongs_to: &["ephemeral-ports"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| reserves_all(setting),
            says: "no port of ip_local_port_range is left: every connect(2) fails with EADDRNOTAVAIL",
            instead: Instead::Unknown,
            severity: Some(Severity::Error),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.ip_local_port_step_width",
        title: "Random steps in the search for a port",
        kind: Kind::Number { kernel: Bounds::new(0, u32::MAX as i64), sane: Bounds::new(0, 65_535) },
        unit: "ports",
        exists: Exists::since(Version(7, 1)),
        defaults: &[Default::since(Version(7, 1), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next connect(2) that has to choose a port"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How far connect(2) may step from a port that is taken to the next that it tries; the step is drawn \
                 for each search. 0 tries one after the other, so that the first ports behind a reserved block are \
                 taken more often than others.",
        enforced_by: &["net/ipv4/inet_hashtables.c:__inet_hash_connect"],
        not: "Brings no more ports, and no search to an end sooner. Does nothing for bind(2) to port 0.",
        raising: "While most ports are taken, a search costs more CPU, as its steps are no neighbours in the cache.",
        lowering: "The ports behind reserved blocks are used again sooner, which firewalls take amiss that remember \
                   them.",
        related: &[RANGE, RESERVED],
        belongs_to: &["ephemeral-ports"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst (7.1)"],
    },
    Knob {
        key: UNPRIVILEGED,
        title: "The first port that needs no privilege",
        kind: Kind::Number { kernel: Bounds::new(0, 65_535), sane: Bounds::new(0, 65_535) },
        unit: "",
        exists: Exists::since(Version(4, 11)),
        defaults: &[Default::since(Version(4, 11), "1024")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next bind(2)"),
        undo: Undo::LeavesTraces("a socket keeps the port that it is bound to"),
        cost: "none",
        limits: "bind(2) to a lower port takes CAP_NET_BIND_SERVICE. It may not be above the beginning of \
                 ip_local_port_range.",
        enforced_by: &["include/net/ip.h:inet_port_requires_bind_service", "net/ipv4/af_inet.c:__inet_bind"],
        not: "Neither gives nor takes ports for outgoing connections.",
        raising: "Services without privilege fail to bind to ports between the old value and the new one.",
        lowering: "Any user can take the port of a service that is not running. Within a container, 0 is common and \
                   harms nobody outside.",
        related: &[RANGE],
        belongs_to: &["ephemeral-ports"],
        folklore: &[Folklore {
            rule: "refused",
            when: |setting: &Use<'_>| match (setting.number(), setting.other_number(RANGE)) {
                (Some(start), Some(low)) => start > low && start <= 65_535,
                _ => false,
            },
            says: "it is above the beginning of ip_local_port_range: whichever of the two is written last is answered \
                   with EINVAL",
            instead: Instead::Unknown,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.ip_autobind_reuse",
        title: "bind(2) to port 0 may share a port",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(5, 7)),
        defaults: &[Default::since(Version(5, 7), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next bind(2) to port 0"),
        undo: Undo::LeavesTraces("sockets that share a port go on doing so"),
        cost: "none",
        limits: "Whether bind(2) to port 0, when no port is free, hands out one that other sockets have, where all of \
                 them have SO_REUSEADDR. They may then connect to different destinations.",
        enforced_by: &["net/ipv4/inet_connection_sock.c:inet_csk_find_open_port"],
        not: "Does nothing for programs that connect(2) without bind(2), which share ports anyway, nor for sockets \
              without SO_REUSEADDR.",
        raising: "Two sockets with one port cannot connect to the same destination: EADDRNOTAVAIL moves from bind(2) \
                  to connect(2), where programs do not expect it.",
        lowering: "Programs that bind(2) before they connect(2) run out of ports sooner.",
        related: &[RANGE],
        belongs_to: &["ephemeral-ports"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number() == Some(1),
            says: "moves EADDRNOTAVAIL from bind(2) to connect(2); the option IP_BIND_ADDRESS_NO_PORT in the program \
                   (since 4.2) lets it use the whole range for each destination without that",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcproof lab: ports-bind-before-connect"],
    },
    Knob {
        key: TW_REUSE,
        title: "Outgoing connections may take over TIME_WAIT",
        kind: Kind::Choice {
            kernel: Bounds::new(0, 2),
            meanings: &[(0, "never"), (1, "for every destination"), (2, "on loopback only")],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0"), Default::since(Version(4, 19), "2")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next connect(2)"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether connect(2) may take a port whose last connection to the same destination is in TIME_WAIT: \
                 where that one had timestamps and is older than a second (tcp_tw_reuse_delay). A connection in \
                 FIN_WAIT2 is never taken over.",
        enforced_by: &["net/ipv4/tcp_ipv4.c:tcp_twsk_unique"],
        not: "Nothing for a server: a client's SYN reopens a TIME_WAIT there without it. Nothing without \
              tcp_timestamps on both sides. Shortens no TIME_WAIT, and does not make them fewer.",
        raising: "A firewall or NAT on the way that still holds the old connection may drop the new SYN; only the \
                  peer's timestamps tell old segments from new ones.",
        lowering: "Churn to one destination uses up the ports; with 0 a proxy's connections to services on loopback \
                   too.",
        related: &["net.ipv4.tcp_tw_reuse_delay", TIMESTAMPS, RANGE],
        belongs_to: &["ephemeral-ports"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| is_on(setting) && setting.other_number(TIMESTAMPS) == Some(0),
                says: "does nothing while tcp_timestamps is 0, as it is here: only connections with timestamps are \
                       taken over",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(1) && setting.other_number(TIMESTAMPS) != Some(0),
                says: "helps only where this machine opens many connections to one destination and closes them first; \
                       it does nothing for a server. Firewalls and NAT on the way may drop the early SYN. Reuse \
                       connections (a pool) first",
                instead: Instead::Default,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| setting.number() == Some(0) && setting.default == [2],
                says: "switches off what the kernel does on loopback by itself: a proxy's connections to services on \
                       the same machine use up its ports sooner",
                instead: Instead::Default,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 6191", "tcproof lab: ports-time-wait-churn"],
    },
    Knob {
        key: "net.ipv4.tcp_tw_reuse_delay",
        title: "How old a TIME_WAIT must be to be taken over",
        kind: Kind::Number { kernel: Bounds::new(1, 60_000), sane: Bounds::new(10, 60_000) },
        unit: "milliseconds",
        exists: Exists::since(Version(6, 14)),
        defaults: &[Default::since(Version(6, 14), "1000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "the next connect(2)"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The age from which tcp_tw_reuse lets connect(2) take over a TIME_WAIT. Older kernels have one second, \
                 fixed.",
        enforced_by: &["net/ipv4/tcp_ipv4.c:tcp_twsk_unique"],
        not: "Nothing for connections that tcp_tw_reuse does not allow, so by default for none but those on loopback. \
              TIME_WAIT itself stays 60 seconds.",
        raising: "Ports come back later.",
        lowering: "Must be longer than a tick of the peer's timestamp clock, or old segments pass for new ones.",
        related: &[TW_REUSE, TIMESTAMPS],
        belongs_to: &["ephemeral-ports"],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| {
                setting.other_number(TW_REUSE) == Some(0) || setting.other_number(TIMESTAMPS) == Some(0)
            },
            says: "does nothing here: with tcp_tw_reuse or tcp_timestamps at 0 no TIME_WAIT is taken over",
            instead: Instead::Nothing,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_max_tw_buckets",
        title: "How many connections may be in TIME_WAIT",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(256, 1 << 24) },
        unit: "connections",
        exists: Exists::ALWAYS,
        defaults: &[Default::computed(Version::ALWAYS, "buckets of the established hash / 2", half_of_ehash)],
        worse_below: Some(
            "connections beyond it end without TIME_WAIT, and their late segments can get into the next connection",
        ),
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::New,
            "the next connection that closes; those in TIME_WAIT stay for their 60 seconds",
        ),
        undo: Undo::LeavesTraces("connections that closed beyond it had no TIME_WAIT"),
        cost: "entries × 256 B",
        limits: "TIME_WAIT and orphaned FIN_WAIT2 of a namespace together. A connection that closes beyond it is gone \
                 at once, without TIME_WAIT; TCPTimeWaitOverflow counts it.",
        enforced_by: &["net/ipv4/inet_timewait_sock.c:inet_twsk_alloc", "net/ipv4/tcp_minisocks.c:tcp_time_wait"],
        not: "Lowering it frees ports of a client too early: late segments of the old connection can hit the next one. \
              On a server TIME_WAIT takes no port at all. Shortens no TIME_WAIT.",
        raising: "256 B for each; needed only where TCPTimeWaitOverflow grows.",
        lowering: "The protection of TIME_WAIT is lost: data of an old connection in a new one, last ACKs that are \
                   answered by a reset. The kernel's documentation says that it must not be lowered.",
        related: &["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_child_ehash_entries"],
        belongs_to: &["time-wait-table"],
        folklore: &[
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| is_small(setting),
                says: "less than boot computes on a machine with 4 GiB or more: connections beyond it end without \
                       TIME_WAIT, and their late segments can get into the next connection",
                instead: Instead::Nothing,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "placebo",
                when: is_more_than_boot_gives,
                says: "is of use only where TCPTimeWaitOverflow grows: it makes TIME_WAIT neither shorter nor fewer, and \
                       on a server TIME_WAIT takes no port",
                instead: Instead::Nothing,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcproof lab: time-wait-table"],
    },
    Knob {
        key: "net.ipv4.tcp_tw_recycle",
        title: "Fast recycling of TIME_WAIT",
        kind: Kind::Choice { kernel: Bounds::INT, meanings: &[(0, "off"), (1, "on")] },
        unit: "",
        exists: Exists::ALWAYS.removed(Version(4, 12)),
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Until 4.11: TIME_WAIT lasted as long as a retransmission timeout, and SYNs whose timestamp went back \
                 compared with the last one from the same address were dropped.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_conn_request (until 4.11)"],
        not: "There is no successor. tcp_tw_reuse, for outgoing connections, is something else.",
        raising: "Clients behind one NAT have one address and many clocks: all but one of them could not connect. \
                  Since 4.10 timestamps differ for each connection, and it broke nearly everybody; 4.12 removed it.",
        lowering: "Nothing: off is how it should be.",
        related: &[TW_REUSE, TIMESTAMPS],
        belongs_to: &["ephemeral-ports", "time-wait-table", "timestamps"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| is_on(setting) && setting.machine.kernel < Version(4, 12),
            says: "clients behind one NAT cannot connect: their SYNs are dropped for timestamps that seem to go back",
            instead: Instead::Value("0"),
            severity: Some(Severity::Error),
        }],
        sources: &["commit 4396e46187ca (4.12)"],
    },
    Knob {
        key: "net.ipv4.tcp_max_orphans",
        title: "Most connections that no program holds any more (orphans)",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(256, 1 << 24) },
        unit: "connections",
        exists: Exists::ALWAYS,
        defaults: &[Default::computed(Version::ALWAYS, "buckets of the established hash / 2", half_of_ehash)],
        worse_below: Some("connections that are still sending their last data are reset, and the data is lost"),
        scope: Scope::Global { inside: Inside::Absent },
        effect: Effect::new(EffectBy::All, "at once: the next close(2), or timer of an orphan, that looks at it"),
        undo: Undo::LeavesTraces("connections that were reset meanwhile are gone"),
        cost: "up to 64 KiB for each, within tcp_mem",
        limits: "Connections of the whole machine that were closed by their program and are not yet done: FIN_WAIT1, \
                 CLOSING, LAST_ACK. Beyond it they are reset (TCPAbortOnMemory). One that has been silent for long \
                 counts double or fourfold.",
        enforced_by: &["net/ipv4/tcp.c:tcp_check_oom", "net/ipv4/tcp_timer.c:tcp_out_of_resources"],
        not: "Has nothing to do with TIME_WAIT, CLOSE_WAIT, or FIN_WAIT2 that is counted with TIME_WAIT. Stops no \
              flood: it resets whoever comes next.",
        raising: "More memory can be held by peers that do not read, up to the limit that tcp_mem sets.",
        lowering: "Answers are cut off at their end: the program has written them and closed, the kernel resets \
                   instead.",
        related: &["net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_mem"],
        belongs_to: &["orphans"],
        folklore: &[Folklore {
            rule: "lowers-default",
            when: |setting: &Use<'_>| is_small(setting),
            says: "less than boot computes on a machine with 4 GiB or more: connections that are still sending their \
                   last data are reset",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_rfc1337",
        title: "Resets do not end TIME_WAIT",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "With 1 a reset that arrives for a connection in TIME_WAIT, with exactly the sequence number that is \
                 expected, no longer ends it.",
        enforced_by: &["net/ipv4/tcp_minisocks.c:tcp_timewait_state_process"],
        not: "Raises no limit, drops no attack, and concerns no connection that is alive. ip-sysctl.rst has it the \
              wrong way round.",
        raising: "TIME_WAIT lasts its 60 seconds even where the peer has lost the connection.",
        lowering: "A reset ends TIME_WAIT early, as RFC 1337 warns. Timestamps already keep old segments out.",
        related: &[TIMESTAMPS],
        belongs_to: &["time-wait-table"],
        folklore: &[Folklore {
            rule: "placebo",
            when: is_on,
            says: "only lets TIME_WAIT survive a reset that fits exactly; it is no protection of connections that are \
                   alive, and changes no limit",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["RFC 1337", "net/ipv4/tcp_minisocks.c"],
    },
];

/// `tcp_init` for orphans, `tcp_set_hashinfo` for the time-wait table.
fn half_of_ehash(machine: &Machine) -> Option<String> {
    Some(format!("{}", machine.ehash_entries? / 2))
}

fn is_on(setting: &Use<'_>) -> bool {
    setting.number().is_some_and(|number| number != 0)
}

/// Little, where the true default is not known; where it is, [`Knob::worse_below`] speaks.
fn is_small(setting: &Use<'_>) -> bool {
    setting.default.is_empty() && setting.number().is_some_and(|number| (256..OF_4_GIB).contains(&number))
}

/// More than boot computes; where that is not known, more than it ever does.
fn is_more_than_boot_gives(setting: &Use<'_>) -> bool {
    let most = setting.default.first().copied().unwrap_or(OF_THE_LARGEST);
    setting.number().is_some_and(|number| number > most)
}

/// How many ports a range has.
fn width(setting: &Use<'_>) -> Option<i64> {
    match setting.numbers {
        [low, high] => high.checked_sub(*low)?.checked_add(1),
        _ => None,
    }
}

/// Whether somebody has thought of the services whose ports a range that begins at `low` takes.
fn reserves_services(setting: &Use<'_>, low: i64) -> bool {
    let reserved = (setting.other)(RESERVED).and_then(|list| port_ranges(&list)).unwrap_or_default();
    reserved.iter().any(|(from, to)| i64::from(*from) < SERVICES_END && i64::from(*to) >= low)
}

/// Whether a list of reserved ports leaves none of the range.
fn reserves_all(setting: &Use<'_>) -> bool {
    let range = (setting.other)(RANGE).map(|range| Kind::PortRange.numbers(&range));
    let (Some([low, high]), Some(mut reserved)) = (range.as_deref(), port_ranges(setting.text)) else { return false };
    reserved.sort_unstable();
    let mut free = *low;
    for (from, to) in reserved {
        if i64::from(from) > free {
            break;
        }
        free = free.max(i64::from(to) + 1);
    }
    low <= high && free > *high
}

#[cfg(test)]
mod tests {
    use super::super::by_key;
    use super::super::tests::{Case, lore, lore_on, machine};
    use super::*;

    const RESERVED_ONES: (&str, &str) = (RESERVED, "3306,5432,8000-8999");

    #[test]
    fn what_is_said_of_which_setting() {
        let off = (TIMESTAMPS, "0");
        let cases: &[Case<'_>] = &[
            (RANGE, "1024 65535", &[], &["dangerous"]),
            (RANGE, "1024\t65535", &[(RESERVED, "30000-32767")], &["dangerous"]),
            (RANGE, "1024 65535", &[RESERVED_ONES], &[]),
            (RANGE, "9000 65535", &[(RESERVED, "8080")], &["dangerous"]),
            (RANGE, "10240 65535", &[], &[]),
            (RANGE, "10000 65535", &[], &[]),
            (RANGE, "32768 60999", &[], &[]),
            (RANGE, "1024 65000", &[RESERVED_ONES], &["out-of-step"]),
            (RANGE, "49152 65535", &[], &["lowers-default"]),
            (RANGE, "50000 50999", &[], &["lowers-default"]),
            (RANGE, "60999 32768", &[], &[]),
            (RANGE, "1000 65535", &[RESERVED_ONES], &["refused"]),
            (RANGE, "1000 65535", &[RESERVED_ONES, (UNPRIVILEGED, "80")], &[]),
            (RANGE, "20001 60000", &[(UNPRIVILEGED, "30000")], &["refused"]),
            (RESERVED, "3306,5432", &[], &[]),
            (RESERVED, "32768-60999", &[], &["dangerous"]),
            (RESERVED, "1024-40000,40001-65535", &[], &["dangerous"]),
            (RESERVED, "32768-60998", &[], &[]),
            (RESERVED, "32768-60999", &[(RANGE, "10240 65535")], &[]),
            (RESERVED, "", &[], &[]),
            (RESERVED, "80;90", &[], &[]),
            (UNPRIVILEGED, "0", &[], &[]),
            (UNPRIVILEGED, "32768", &[], &[]),
            (UNPRIVILEGED, "32769", &[], &["refused"]),
            (UNPRIVILEGED, "80", &[(RANGE, "1024 65535")], &[]),
            (UNPRIVILEGED, "2000", &[(RANGE, "1024 65535")], &["refused"]),
            ("net.ipv4.ip_autobind_reuse", "1", &[], &["dangerous"]),
            ("net.ipv4.ip_autobind_reuse", "0", &[], &[]),
            (TW_REUSE, "1", &[], &["dangerous"]),
            (TW_REUSE, "1", &[off], &["placebo"]),
            (TW_REUSE, "2", &[], &[]),
            (TW_REUSE, "2", &[off], &["placebo"]),
            (TW_REUSE, "0", &[], &["lowers-default"]),
            (TW_REUSE, "0", &[off], &["lowers-default"]),
            ("net.ipv4.tcp_tw_reuse_delay", "500", &[], &[]),
            ("net.ipv4.tcp_tw_reuse_delay", "500", &[(TW_REUSE, "0")], &["placebo"]),
            ("net.ipv4.tcp_tw_reuse_delay", "500", &[off], &["placebo"]),
            ("net.ipv4.tcp_max_tw_buckets", "5000", &[], &[]),
            ("net.ipv4.tcp_max_tw_buckets", "2000000", &[], &["placebo"]),
            ("net.ipv4.tcp_max_tw_buckets", "131072", &[], &[]),
            ("net.ipv4.tcp_max_orphans", "3276800", &[], &[]),
            ("net.ipv4.tcp_rfc1337", "1", &[], &["placebo"]),
            ("net.ipv4.tcp_rfc1337", "0", &[], &[]),
            ("net.ipv4.tcp_tw_recycle", "1", &[], &[]),
        ];
        for (key, value, others, rules) in cases {
            assert_eq!(lore(key, value, others), *rules, "{key} = {value} with {others:?}");
        }
    }

    #[test]
    fn other_kernels_and_unknown_machines() {
        let old = Machine::of_kernel(Version(4, 9));
        assert_eq!(lore_on(&old, "net.ipv4.tcp_tw_recycle", "1", &[]), ["dangerous"]);
        assert!(lore_on(&old, "net.ipv4.tcp_tw_recycle", "0", &[]).is_empty());
        assert!(lore_on(&old, TW_REUSE, "0", &[]).is_empty(), "it is the default there");
        assert!(lore_on(&old, RANGE, "1000 65535", &[RESERVED_ONES]).is_empty(), "no such limit before 4.11");
        let unknown = Machine::of_kernel(Version(6, 18));
        for key in ["net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_orphans"] {
            assert_eq!(lore_on(&unknown, key, "5000", &[]), ["lowers-default"], "{key}");
            assert!(lore_on(&unknown, key, "16384", &[]).is_empty() && lore_on(&unknown, key, "-5", &[]).is_empty());
        }
    }

    #[test]
    fn defaults() {
        let default = |machine: &Machine, key| by_key(key).and_then(|knob| knob.default_on(machine));
        for key in ["net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_orphans"] {
            assert_eq!(default(&machine(), key).as_deref(), Some("131072"), "{key}");
            assert_eq!(default(&Machine::of_kernel(Version(6, 18)), key), None, "{key}: the hash is not known");
        }
        let [old, new] = [Version(4, 1), Version(4, 19)].map(Machine::of_kernel);
        assert_eq!(default(&old, RANGE).as_deref(), Some("32768 61000"));
        assert_eq!(default(&new, RANGE).as_deref(), Some("32768 60999"));
        assert_eq!(default(&old, TW_REUSE).as_deref(), Some("0"));
        assert_eq!(default(&new, TW_REUSE).as_deref(), Some("2"));
        assert_eq!((default(&old, UNPRIVILEGED), default(&new, UNPRIVILEGED).as_deref()), (None, Some("1024")));
    }

    #[test]
    fn what_makes_no_sense() {
        let judge = |key, value| by_key(key).is_some_and(|knob| knob.kind.judge(value).is_ok());
        for value in ["-5", "0", "2147483648"] {
            assert!(
                !judge("net.ipv4.tcp_max_tw_buckets", value) && !judge("net.ipv4.tcp_max_orphans", value),
                "{value}"
            );
        }
        assert!(judge("net.ipv4.tcp_max_tw_buckets", "5000") && judge("net.ipv4.tcp_max_orphans", "3276800"));
        assert!(!judge(TW_REUSE, "3") && !judge("net.ipv4.tcp_tw_reuse_delay", "0") && !judge(UNPRIVILEGED, "65536"));
        assert!(!judge("net.ipv4.tcp_rfc1337", "2") && judge("net.ipv4.tcp_tw_reuse_delay", "60000"));
    }
}

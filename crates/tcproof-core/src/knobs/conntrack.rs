//! Connection tracking: how many connections netfilter remembers, how it finds them, and when it forgets them.

use alloc::format;
use alloc::string::String;

use super::timers::SECONDS_IN_JIFFIES;
use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Inside, Instead, Kind, Knob, Machine, Scope, Undo, Use, by_key,
};
use crate::lint::Severity;
use crate::version::Version;

const MAX: &str = "net.netfilter.nf_conntrack_max";
const ALIAS: &str = "net.nf_conntrack_max";
const BUCKETS: &str = "net.netfilter.nf_conntrack_buckets";
const COUNT: &str = "net.netfilter.nf_conntrack_count";
const ESTABLISHED: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";
const SYN_SENT: &str = "net.netfilter.nf_conntrack_tcp_timeout_syn_sent";
const SYN_RECV: &str = "net.netfilter.nf_conntrack_tcp_timeout_syn_recv";
const FIN_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_fin_wait";
const CLOSE_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_close_wait";
const LAST_ACK: &str = "net.netfilter.nf_conntrack_tcp_timeout_last_ack";
const TIME_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";
const CLOSE: &str = "net.netfilter.nf_conntrack_tcp_timeout_close";
const MAX_RETRANS: &str = "net.netfilter.nf_conntrack_tcp_timeout_max_retrans";
const UNACKNOWLEDGED: &str = "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged";
const LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";
const KEEPALIVE_TIME: &str = "net.ipv4.tcp_keepalive_time";

/// An entry with its usual extensions.
const ENTRY_BYTES: u64 = 320;
/// More entries than that make no sense: 80 GiB of them.
const MOST: i64 = 1 << 28;
/// Entries that nobody needs to track, where memory is not known: 5 GiB of them.
const GIANT: i64 = 1 << 24;
/// Entries for each bucket that boot itself gave until 5.14. Each stands in the table twice.
const PER_BUCKET: i64 = 4;
/// TIME_WAIT of TCP itself (`TCP_TIMEWAIT_LEN`), in seconds.
const TIMEWAIT_LEN: i64 = 60;
/// The longest pause between two retransmissions (`TCP_RTO_MAX`), in seconds.
const RTO_MAX: i64 = 120;
/// The most seconds, 24 days, that every kernel takes: they are kept as jiffies, of which 1000 can make a second.
const MOST_AT_1000_HZ: i64 = 2_147_483;

pub(super) static KNOBS: &[Knob] = &[
    NF_CONNTRACK_MAX,
    Knob {
        key: ALIAS,
        title: "Most tracked connections of each namespace (older name)",
        scope: Scope::Global { inside: Inside::Absent },
        related: &[MAX, BUCKETS],
        ..NF_CONNTRACK_MAX
    },
    Knob {
        key: BUCKETS,
        title: "Buckets of the hash of tracked connections",
        // The table is an allocation of less than 2 GiB.
        kind: Kind::Number { kernel: Bounds::new(1, 268_435_455), sane: Bounds::new(256, 1 << 26) },
        unit: "buckets",
        exists: Exists::ALWAYS.module("nf_conntrack"),
        defaults: &[
            Default::computed(Version::ALWAYS, "memory / 16 KiB / 8, but 16384 above 1 GiB", old_buckets),
            Default::computed(
                Version(4, 0),
                "memory / 16 KiB / 8, but 16384 above 1 GiB and 65536 above 4 GiB",
                old_buckets,
            ),
            Default::computed(
                Version(5, 15),
                "memory / 16 KiB / 8, at least 1024, but 65536 above 1 GiB and 262144 above 4 GiB",
                buckets,
            ),
        ],
        worse_below: None,
        scope: Scope::Global { inside: Inside::ReadOnly },
        effect: Effect::new(EffectBy::All, "at once: all entries are hashed anew, and no packet is tracked meanwhile"),
        undo: Undo::WriteBack,
        cost: "buckets × 8 B",
        limits: "The length of the chains in which entries are looked for: on average twice the entries of all \
                 namespaces divided by it. Since 5.15 a new entry is refused where a chain has 50 to 80 already \
                 (chaintoolong). It is rounded up to whole pages: a multiple of 512 where they are 4 KiB.",
        enforced_by: &[
            "net/netfilter/nf_conntrack_core.c:nf_conntrack_hash_resize",
            "net/netfilter/nf_conntrack_core.c:__nf_conntrack_confirm",
        ],
        not: "Bounds no number of connections: that is nf_conntrack_max, which a write here leaves as it is.",
        raising: "Memory. The write stalls the traffic of the machine while entries are moved.",
        lowering: "Each packet costs more CPU, in the softirq of the CPU that receives it.",
        related: &[MAX, COUNT],
        belongs_to: &["conntrack-table"],
        folklore: &[
            Folklore {
                rule: "refused",
                when: |setting: &Use<'_>| setting.machine.kernel < Version(4, 8) && setting.numbers != setting.default,
                says: "can only be read before 4.8: the module's option hashsize sets it (options nf_conntrack \
                       hashsize=N in modprobe.d)",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "out-of-step",
                when: are_few,
                says: "more than four entries of nf_conntrack_max for each bucket: when the table fills, each packet \
                       searches chains of eight and more",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| {
                    let lower = setting.number().zip(setting.default.first()).is_some_and(|(n, default)| n < *default);
                    lower && !are_few(setting)
                },
                says: "fewer buckets than boot gives: longer chains, so a little more CPU for each packet, to save 8 \
                       B each",
                instead: Instead::Default,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/nf_conntrack-sysctl.rst"],
    },
    Knob {
        key: COUNT,
        title: "Tracked connections now",
        kind: Kind::ReadOnly,
        unit: "entries",
        exists: Exists::ALWAYS.module("nf_conntrack"),
        defaults: &[],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::Nothing, "it can only be read"),
        undo: Undo::ReadOnly,
        cost: "entries × about 320 B",
        limits: "Nothing: it counts the entries of this namespace, which nf_conntrack_max bounds.",
        enforced_by: &["net/netfilter/nf_conntrack_core.c:__nf_conntrack_alloc"],
        not: "Does not count other namespaces, whose entries are in the same hash. Connections of other protocols are \
              in it too.",
        raising: "Cannot be written.",
        lowering: "Cannot be written; conntrack -F forgets all entries, and breaks what NAT translates.",
        related: &[MAX, BUCKETS],
        belongs_to: &["conntrack-table"],
        folklore: &[],
        sources: &["Documentation/networking/nf_conntrack-sysctl.rst"],
    },
    Knob {
        key: ESTABLISHED,
        title: "How long a silent connection is tracked",
        defaults: &[Default::always("432000")],
        limits: "An established connection without a packet for so long is forgotten. Connections with data that \
                 nobody acknowledges, or with a closed window, have the shorter timeouts of their own.",
        not: "Ends no connection: both ends keep it and know nothing. Its next packet begins a new entry \
              (nf_conntrack_tcp_loose) or is INVALID; where it was translated, it goes astray.",
        raising: "Connections whose ends have vanished stay in the table, for five days by default.",
        lowering: "Idle connections of pools, SSH and databases hang. It must be longer than the keepalive time of \
                   those who speak through this machine, with room for the probes.",
        related: &[MAX, KEEPALIVE_TIME, LOOSE],
        belongs_to: &["conntrack-table", "keepalive"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| match (setting.number(), setting.other_number(KEEPALIVE_TIME)) {
                    (Some(timeout), Some(keepalive)) => timeout > 0 && timeout <= keepalive,
                    _ => false,
                },
                says: "no longer than tcp_keepalive_time: an idle connection is forgotten before its first probe, and \
                       hangs where it is translated or INVALID packets are dropped",
                instead: Instead::Unknown,
                severity: None,
            },
            WRONG_UNIT,
        ],
        ..TIMEOUT
    },
    Knob {
        key: SYN_SENT,
        title: "How long an unanswered SYN is tracked",
        defaults: &[Default::always("120")],
        limits: "The entry of a SYN that nobody has answered. Retransmissions of the SYN do not prolong it.",
        not: "Does not bound connect(2), whose retries go by tcp_syn_retries.",
        raising: "A scan, or a service that is down, fills the table for longer.",
        lowering: "A slow answer finds no entry, and the handshake begins again.",
        related: &[MAX, SYN_RECV, "net.ipv4.tcp_syn_retries"],
        ..TIMEOUT
    },
    Knob {
        key: SYN_RECV,
        title: "How long a half-open handshake is tracked",
        defaults: &[Default::always("60")],
        limits: "The entry of a handshake whose SYN-ACK was seen and whose last ACK was not.",
        not: "Does not bound the server's own half-open handshakes, whose retries go by tcp_synack_retries.",
        raising: "A SYN flood fills the table for longer.",
        lowering: "Clients behind a slow or lossy path have to begin again.",
        related: &[MAX, SYN_SENT, "net.ipv4.tcp_synack_retries"],
        ..TIMEOUT
    },
    Knob {
        key: FIN_WAIT,
        title: "How long a connection with one FIN is tracked",
        defaults: &[Default::always("120")],
        limits: "The entry of a connection of which one side has sent its FIN, not yet acknowledged.",
        not: "Has nothing to do with tcp_fin_timeout, nor with FIN_WAIT2 of sockets here.",
        raising: "Connections that end without a word stay in the table for longer.",
        lowering: "A FIN that is retransmitted later finds no entry.",
        related: &[MAX, CLOSE_WAIT, LAST_ACK],
        ..TIMEOUT
    },
    Knob {
        key: CLOSE_WAIT,
        title: "How long a half-closed connection is tracked",
        defaults: &[Default::always("60")],
        limits: "The entry of a connection of which one side has closed and the other may still send.",
        not: "Closes nothing: CLOSE_WAIT of a socket is a program that does not close it.",
        raising: "Half-closed connections that are dead stay in the table for longer.",
        lowering: "A server that works for long on the answer to a client that has shut down its side cannot send it.",
        related: &[MAX, FIN_WAIT, LAST_ACK],
        ..TIMEOUT
    },
    Knob {
        key: LAST_ACK,
        title: "How long a connection with both FINs is tracked",
        defaults: &[Default::always("30")],
        limits: "The entry of a connection whose second FIN is not yet acknowledged.",
        not: "Has nothing to do with LAST_ACK of sockets, which retransmit as tcp_orphan_retries says.",
        raising: "Entries that are over stay in the table for longer.",
        lowering: "A retransmitted FIN finds no entry.",
        related: &[MAX, FIN_WAIT, TIME_WAIT],
        ..TIMEOUT
    },
    Knob {
        key: TIME_WAIT,
        title: "How long a closed connection is tracked",
        defaults: &[Default::always("120")],
        limits: "The entry of a connection that both sides have closed.",
        not: "Shortens no TIME_WAIT of a socket, which is 60 seconds and cannot be set; frees no port of this machine.",
        raising: "On a machine with many short connections, most of the table is such entries.",
        lowering: "Below 60 seconds NAT may give the port to the next connection while an endpoint still has the last \
                   one in TIME_WAIT: its SYN is answered with an ACK, or dropped.",
        related: &[MAX, CLOSE, "net.ipv4.tcp_max_tw_buckets"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..TIMEWAIT_LEN).contains(&n)),
                says: "shorter than the 60 seconds of TIME_WAIT: NAT may reuse the port while an endpoint still has \
                       the old connection in TIME_WAIT; it does no harm where nothing is translated",
                instead: Instead::Value("60"),
                severity: Some(Severity::Note),
            },
            WRONG_UNIT,
        ],
        ..TIMEOUT
    },
    Knob {
        key: CLOSE,
        title: "How long a reset connection is tracked",
        defaults: &[Default::always("10")],
        limits: "The entry of a connection after a RST.",
        not: "Resets nothing.",
        raising: "Entries that are over stay in the table for longer.",
        lowering: "Segments that were under way behind the RST find no entry.",
        related: &[MAX, TIME_WAIT],
        ..TIMEOUT
    },
    Knob {
        key: MAX_RETRANS,
        title: "How long a connection that only retransmits is tracked",
        defaults: &[Default::always("300")],
        limits: "The entry of a connection after three retransmissions without an answer \
                 (nf_conntrack_tcp_max_retrans), or whose peer has closed its window, where this is shorter than the \
                 timeout of its state.",
        not: "Bounds no retransmissions: that is tcp_retries2, by default a quarter of an hour.",
        raising: "Connections whose peer has vanished stay in the table for longer.",
        lowering: "Below 120 seconds, the longest pause between two retransmissions, an outage that the connection \
                   would have survived takes its entry.",
        related: &[MAX, UNACKNOWLEDGED, "net.ipv4.tcp_retries2"],
        folklore: &[SHORTER_THAN_RTO_MAX, WRONG_UNIT],
        ..TIMEOUT
    },
    Knob {
        key: UNACKNOWLEDGED,
        title: "How long unacknowledged data is tracked",
        defaults: &[Default::always("300")],
        limits: "The entry of a connection with data that is not acknowledged, or that was picked up in its middle \
                 and not yet answered, where this is shorter than the timeout of its state.",
        not: "Bounds no retransmissions: that is tcp_retries2, by default a quarter of an hour.",
        raising: "Connections whose peer has vanished stay in the table for longer.",
        lowering: "Below 120 seconds, the longest pause between two retransmissions, an outage that the connection \
                   would have survived takes its entry.",
        related: &[MAX, MAX_RETRANS, LOOSE, "net.ipv4.tcp_retries2"],
        folklore: &[SHORTER_THAN_RTO_MAX, WRONG_UNIT],
        ..TIMEOUT
    },
    Knob {
        key: LOOSE,
        title: "Connections that are picked up in their middle",
        defaults: &[Default::always("1")],
        limits: "Whether a packet of a connection that is not in the table, and is no SYN, begins an entry; without, \
                 it is INVALID.",
        enforced_by: &["net/netfilter/nf_conntrack_proto_tcp.c:tcp_new"],
        not: "Brings back no translation: a connection behind NAT whose entry is gone is lost either way.",
        raising: "Nothing beyond the default: packets without a connection fill the table until \
                  nf_conntrack_tcp_timeout_unacknowledged.",
        lowering: "After a flush, a failover, a restart of the firewall or an idle time that was too long, \
                   connections that are open are INVALID, and hang where INVALID is dropped. SYNPROXY needs it off.",
        related: &[ESTABLISHED, "net.netfilter.nf_conntrack_tcp_be_liberal"],
        belongs_to: &["keepalive"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number() == Some(0),
            says: "connections that are open when the table is flushed, fails over or has forgotten them become \
                   INVALID, and hang where INVALID is dropped; only SYNPROXY needs this",
            instead: Instead::Default,
            severity: Some(Severity::Note),
        }],
        ..SWITCH
    },
    Knob {
        key: "net.netfilter.nf_conntrack_tcp_be_liberal",
        title: "Packets outside of the window that are let pass",
        limits: "With 1 a packet outside of the window that connection tracking expects is not INVALID, unless it is \
                 a RST.",
        enforced_by: &["net/netfilter/nf_conntrack_proto_tcp.c:tcp_in_window"],
        not: "Changes nothing for TCP itself, which checks the window of its own connections anyway.",
        raising: "A forged packet passes more easily.",
        lowering: "Where only one direction passes here, or a peer's window is odd, good packets are INVALID: NAT \
                   does not translate them, and the peer answers with a RST.",
        related: &[LOOSE],
        ..SWITCH
    },
    Knob {
        key: "net.netfilter.nf_conntrack_acct",
        title: "Counting of packets and bytes of each tracked connection",
        effect: Effect::new(EffectBy::New, "connections that are tracked from then on"),
        cost: "entries × 32 B",
        limits: "Whether each entry counts its packets and bytes, for conntrack -L and the connbytes match.",
        enforced_by: &["include/net/netfilter/nf_conntrack_acct.h:nf_ct_acct_ext_add"],
        not: "Limits nothing.",
        raising: "Memory for each entry, and a little CPU for each packet.",
        lowering: "connbytes and accounting see zero.",
        related: &[MAX],
        ..SWITCH
    },
    Knob {
        key: "net.netfilter.nf_hooks_lwtunnel",
        title: "Netfilter sees packets of lightweight tunnels",
        exists: Exists::since(Version(5, 15)),
        defaults: &[Default::since(Version(5, 15), "0")],
        scope: Scope::Global { inside: Inside::Writable },
        undo: Undo::OneWay("the kernel answers EBUSY to 0 until the next boot"),
        limits: "Whether packets that SRv6 and other lightweight tunnels wrap and unwrap pass the hooks of netfilter.",
        enforced_by: &["net/netfilter/nf_hooks_lwtunnel.c:nf_hooks_lwtunnel_sysctl_handler"],
        not: "Does nothing without such tunnels. The file is in every namespace, and writable, but there is only one \
              switch.",
        raising: "Rules and connection tracking apply to packets that passed them by, in all namespaces; and there is \
                  no way back without a reboot.",
        lowering: "Impossible: EBUSY.",
        related: &[],
        belongs_to: &[],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number() == Some(1),
            says: "holds for all namespaces, and cannot be taken back before the next boot",
            instead: Instead::Nothing,
            severity: Some(Severity::Note),
        }],
        sources: &["net/netfilter/nf_hooks_lwtunnel.c"],
        ..SWITCH
    },
];

const NF_CONNTRACK_MAX: Knob = Knob {
    key: MAX,
    title: "Most tracked connections of each namespace",
    kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(256, MOST) },
    unit: "entries",
    exists: Exists::ALWAYS.module("nf_conntrack"),
    defaults: &[
        Default::computed(Version::ALWAYS, "4 × nf_conntrack_buckets as boot sets them (8 × with hashsize=)", max),
        Default::computed(Version(5, 15), "nf_conntrack_buckets as boot sets them (8 × with hashsize=)", max),
    ],
    worse_below: Some("new connections are dropped sooner, while those that are open go on"),
    scope: Scope::Global { inside: Inside::ReadOnly },
    effect: Effect::new(EffectBy::All, "at once, from the next new connection on"),
    undo: Undo::LeavesTraces("entries stay until they time out, also those above a lower maximum"),
    cost: "entries × about 320 B, as far as they are used; and 8 B for each bucket that should go with them",
    limits: "The entries of each namespace by itself, though it is one value for all: the table may hold so many for \
             every namespace. Beyond it an entry that was never answered is thrown out, or the packet is dropped \
             (\"nf_conntrack: table full, dropping packet\"). 0 is no limit; 7.2 refuses it.",
    enforced_by: &["net/netfilter/nf_conntrack_core.c:__nf_conntrack_alloc"],
    not: "Has nothing to do with TIME_WAIT or any other limit of sockets: packets are dropped before TCP sees them. \
          Where nothing is tracked, it does nothing. Does not raise the buckets.",
    raising: "Memory that cannot be swapped; without more buckets each packet searches longer chains.",
    lowering: "New connections time out, in both directions, while those that are open go on.",
    related: &[BUCKETS, COUNT, ALIAS],
    belongs_to: &["conntrack-table"],
    folklore: &[
        Folklore {
            rule: "out-of-step",
            when: |setting: &Use<'_>| has_long_chains(setting) && !has_buckets_of_boot(setting),
            says: "more than four entries for each of the nf_conntrack_buckets: when the table fills, each packet \
                   searches chains of eight and more. Raise the buckets with it",
            instead: Instead::Unknown,
            severity: None,
        },
        Folklore {
            rule: "out-of-step",
            when: |setting: &Use<'_>| has_long_chains(setting) && has_buckets_of_boot(setting),
            says: "more than four entries for each of the nf_conntrack_buckets that boot gives: when the table fills, \
                   each packet searches chains of eight and more. Raise the buckets with it, unless the module's \
                   option hashsize does so already",
            instead: Instead::Unknown,
            severity: Some(Severity::Note),
        },
        Folklore {
            rule: "dangerous",
            when: is_giant,
            says: "a full table of that size takes more memory than there is to spare, about 320 B for each entry; \
                   shorter timeouts, or not tracking what needs none (notrack), help more",
            instead: Instead::Unknown,
            severity: None,
        },
    ],
    sources: &["Documentation/networking/nf_conntrack-sysctl.rst", "tcproof lab: conntrack-full"],
};

/// What all timeouts have in common; each says the rest itself.
const TIMEOUT: Knob = Knob {
    key: "",
    title: "",
    kind: Kind::Number { kernel: SECONDS_IN_JIFFIES, sane: Bounds::new(1, SECONDS_IN_JIFFIES.max) },
    unit: "seconds",
    exists: Exists::ALWAYS.module("nf_conntrack"),
    defaults: &[],
    worse_below: None,
    scope: Scope::NAMESPACE,
    effect: Effect::new(
        EffectBy::All,
        "the next packet of each connection; an entry that sees none keeps the time that it was given",
    ),
    undo: Undo::LeavesTraces("entries that were forgotten meanwhile are gone"),
    cost: "none by itself: about 320 B for each entry that stays",
    limits: "",
    enforced_by: &["net/netfilter/nf_conntrack_proto_tcp.c:nf_conntrack_tcp_packet"],
    not: "",
    raising: "",
    lowering: "",
    related: &[],
    belongs_to: &["conntrack-table"],
    folklore: &[WRONG_UNIT],
    sources: &["Documentation/networking/nf_conntrack-sysctl.rst", "net/netfilter/nf_conntrack_proto_tcp.c"],
};

/// What the switches have in common.
const SWITCH: Knob = Knob {
    kind: Kind::SWITCH,
    unit: "",
    defaults: &[Default::always("0")],
    effect: Effect::NOW,
    undo: Undo::WriteBack,
    cost: "none",
    folklore: &[],
    sources: &["Documentation/networking/nf_conntrack-sysctl.rst"],
    ..TIMEOUT
};

const WRONG_UNIT: Folklore = Folklore {
    rule: "wrong-unit",
    when: |setting: &Use<'_>| {
        let Some(number) = setting.number() else { return false };
        // 250 times the default or more: its jiffies, or its milliseconds.
        number > MOST_AT_1000_HZ || setting.default.first().is_some_and(|default| number >= default * 250)
    },
    says: "in seconds, not in milliseconds or jiffies",
    instead: Instead::Default,
    severity: None,
};

const SHORTER_THAN_RTO_MAX: Folklore = Folklore {
    rule: "dangerous",
    when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..RTO_MAX).contains(&n)),
    says: "shorter than the 120 seconds that TCP may wait between two retransmissions: after a long outage a \
           connection comes back and is not known any more",
    instead: Instead::Default,
    severity: Some(Severity::Note),
};

const GIB: u64 = 1 << 30;

/// `nf_conntrack_init_start` until 5.14, on 64 bits.
fn old_buckets(machine: &Machine) -> Option<String> {
    Some(format!("{}", old_bucket_count(machine)?))
}

/// The same since 5.15.
fn buckets(machine: &Machine) -> Option<String> {
    Some(format!("{}", bucket_count(machine)?))
}

fn max(machine: &Machine) -> Option<String> {
    Some(format!("{}", max_count(machine)?))
}

fn max_count(machine: &Machine) -> Option<u64> {
    match machine.kernel >= Version(5, 15) {
        true => bucket_count(machine),
        false => Some(old_bucket_count(machine)? * 4),
    }
}

fn bucket_count(machine: &Machine) -> Option<u64> {
    let bytes = machine.memory?.bytes;
    let buckets = match bytes {
        _ if bytes > 4 * GIB => 262_144,
        _ if bytes > GIB => 65_536,
        _ => (bytes / 16_384 / 8).max(1024),
    };
    whole_pages(machine, buckets)
}

fn old_bucket_count(machine: &Machine) -> Option<u64> {
    let bytes = machine.memory?.bytes;
    let buckets = match bytes {
        _ if bytes > 4 * GIB && machine.kernel >= Version(4, 0) => 65_536,
        _ if bytes > GIB => 16_384,
        _ => (bytes / 16_384 / 8).max(32),
    };
    whole_pages(machine, buckets)
}

/// `nf_ct_alloc_hashtable` leaves no part of a page unused; a bucket is a pointer.
fn whole_pages(machine: &Machine, buckets: u64) -> Option<u64> {
    buckets.checked_next_multiple_of(machine.memory?.page_bytes / 8)
}

/// Whether so many entries make long chains of so many buckets.
fn is_long(max: i64, buckets: i64) -> bool {
    buckets > 0 && max / PER_BUCKET > buckets
}

fn has_long_chains(setting: &Use<'_>) -> bool {
    let both = setting.number().zip(setting.other_number(BUCKETS));
    both.is_some_and(|(max, buckets)| max <= MOST && is_long(max, buckets))
}

/// Whether the buckets are as many as boot computes, so that perhaps nothing is known of them but that.
fn has_buckets_of_boot(setting: &Use<'_>) -> bool {
    let default = by_key(BUCKETS).and_then(|knob| knob.default_on(setting.machine));
    default.and_then(|text| text.parse().ok()) == setting.other_number(BUCKETS)
}

/// Whether there are too few buckets for a maximum that nobody has raised; else the maximum is the line to speak of.
fn are_few(setting: &Use<'_>) -> bool {
    let (Some(buckets), Some(max)) = (setting.number(), setting.other_number(MAX)) else { return false };
    let is_raised = max_count(setting.machine).zip(u64::try_from(max).ok()).is_none_or(|(default, max)| max > default);
    is_long(max, buckets) && !is_raised
}

/// Whether a full table takes more than half of the memory; where that is not known, more than anybody needs.
fn is_giant(setting: &Use<'_>) -> bool {
    let Some(max) = setting.number().filter(|max| *max <= MOST) else { return false };
    match (u64::try_from(max), setting.machine.memory) {
        (Ok(max), Some(memory)) => max.saturating_mul(ENTRY_BYTES) > memory.bytes / 2,
        _ => max > GIANT,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, lore, lore_on, machine};
    use super::super::{Memory, by_key};
    use super::*;

    /// That kernel with so many MiB, in pages of that many bytes.
    fn with(kernel: Version, mib: u64, page_bytes: u64) -> Machine {
        Machine { memory: Some(Memory { bytes: mib << 20, page_bytes }), ..Machine::of_kernel(kernel) }
    }

    fn default(machine: &Machine, key: &str) -> Option<String> {
        by_key(key).and_then(|knob| knob.default_on(machine))
    }

    #[test]
    fn what_is_said_of_which_setting() {
        let cases: &[Case<'_>] = &[
            (MAX, "262144", &[(BUCKETS, "65536")], &[]),
            (MAX, "1048576", &[], &[]),
            (MAX, "1048576", &[(BUCKETS, "65536")], &["out-of-step"]),
            (MAX, "2097152", &[], &["out-of-step"]),
            (MAX, "2097152", &[(BUCKETS, "524288")], &[]),
            (MAX, "65536", &[], &[]),
            (MAX, "0", &[], &[]),
            (MAX, "100000000", &[(BUCKETS, "33554432")], &["dangerous"]),
            (ALIAS, "2097152", &[], &["out-of-step"]),
            (ALIAS, "262144", &[], &[]),
            (MAX, "2147483648", &[], &[]),
            (BUCKETS, "262144", &[], &[]),
            (BUCKETS, "524288", &[], &[]),
            (BUCKETS, "65536", &[], &["lowers-default"]),
            (BUCKETS, "65536", &[(MAX, "1048576")], &["lowers-default"]),
            (BUCKETS, "16384", &[], &["out-of-step"]),
            (BUCKETS, "16384", &[(MAX, "65536")], &["lowers-default"]),
            (ESTABLISHED, "86400", &[], &[]),
            (ESTABLISHED, "432000", &[], &[]),
            (ESTABLISHED, "7201", &[], &[]),
            (ESTABLISHED, "7200", &[], &["dangerous"]),
            (ESTABLISHED, "3600", &[], &["dangerous"]),
            (ESTABLISHED, "3600", &[(KEEPALIVE_TIME, "600")], &[]),
            (ESTABLISHED, "86400", &[(KEEPALIVE_TIME, "90000")], &["dangerous"]),
            (ESTABLISHED, "432000000", &[], &["wrong-unit"]),
            (ESTABLISHED, "2147483", &[], &[]),
            (ESTABLISHED, "-1", &[], &[]),
            (TIME_WAIT, "30", &[], &["dangerous"]),
            (TIME_WAIT, "60", &[], &[]),
            (TIME_WAIT, "120000", &[], &["wrong-unit"]),
            (TIME_WAIT, "30000", &[], &["wrong-unit"]),
            (CLOSE_WAIT, "3600", &[], &[]),
            (CLOSE_WAIT, "60000", &[], &["wrong-unit"]),
            (CLOSE, "10", &[], &[]),
            (FIN_WAIT, "30", &[], &[]),
            (SYN_SENT, "20", &[], &[]),
            (SYN_RECV, "30", &[], &[]),
            (LAST_ACK, "30", &[], &[]),
            (MAX_RETRANS, "60", &[], &["dangerous"]),
            (MAX_RETRANS, "120", &[], &[]),
            (UNACKNOWLEDGED, "119", &[], &["dangerous"]),
            (UNACKNOWLEDGED, "300", &[], &[]),
            (LOOSE, "0", &[], &["dangerous"]),
            (LOOSE, "1", &[], &[]),
            ("net.netfilter.nf_conntrack_tcp_be_liberal", "1", &[], &[]),
            ("net.netfilter.nf_conntrack_acct", "1", &[], &[]),
            ("net.netfilter.nf_hooks_lwtunnel", "1", &[], &["dangerous"]),
            ("net.netfilter.nf_hooks_lwtunnel", "0", &[], &[]),
        ];
        for (key, value, others, rules) in cases {
            assert_eq!(lore(key, value, others), *rules, "{key} = {value} with {others:?}");
        }
    }

    #[test]
    fn other_machines() {
        let unknown = Machine::of_kernel(Version(6, 18));
        assert!(lore_on(&unknown, MAX, "2097152", &[]).is_empty(), "its buckets are not known");
        assert_eq!(lore_on(&unknown, MAX, "16777217", &[]), ["dangerous"]);
        assert_eq!(lore_on(&with(Version(6, 18), 512, 4096), MAX, "1048576", &[]), ["out-of-step", "dangerous"]);
        assert_eq!(lore_on(&with(Version(5, 10), 8192, 4096), MAX, "1048576", &[]), ["out-of-step"]);
        assert_eq!(lore_on(&Machine::of_kernel(Version(4, 7)), BUCKETS, "65536", &[]), ["refused"]);
        assert!(lore_on(&Machine::of_kernel(Version(4, 8)), BUCKETS, "65536", &[]).is_empty());
    }

    #[test]
    fn defaults() {
        for (machine, buckets, max) in [
            (machine(), "262144", "262144"),
            (with(Version(6, 1), 3916, 4096), "65536", "65536"),
            (with(Version(6, 1), 4096, 4096), "65536", "65536"),
            (with(Version(6, 12), 981, 4096), "8192", "8192"),
            (with(Version(6, 12), 100, 4096), "1024", "1024"),
            (with(Version(6, 12), 100, 65_536), "8192", "8192"),
            (with(Version(5, 10), 24_105, 4096), "65536", "262144"),
            (with(Version(5, 10), 3916, 4096), "16384", "65536"),
            (with(Version(5, 10), 490, 4096), "4096", "16384"),
            (with(Version(3, 10), 24_105, 4096), "16384", "65536"),
        ] {
            assert_eq!(default(&machine, BUCKETS).as_deref(), Some(buckets), "{machine:?}");
            assert_eq!(default(&machine, MAX).as_deref(), Some(max), "{machine:?}");
            assert_eq!(default(&machine, ALIAS).as_deref(), Some(max), "{machine:?}");
        }
        assert_eq!(default(&Machine::of_kernel(Version(6, 18)), MAX), None);
    }

    #[test]
    fn what_makes_no_sense() {
        let judge = |key, value| by_key(key).is_some_and(|knob| knob.kind.judge(value).is_ok());
        assert!(!judge(MAX, "0") && !judge(MAX, "-1") && !judge(MAX, "2147483647") && judge(MAX, "1048576"));
        assert!(!judge(BUCKETS, "0") && judge(BUCKETS, "16384"));
        assert!(!judge(ESTABLISHED, "0") && !judge(ESTABLISHED, "-1") && !judge(ESTABLISHED, "432000000"));
        assert!(!judge(COUNT, "5") && !judge(LOOSE, "2"));
        for value in ["1", "86400", "2147483"] {
            assert!(judge(ESTABLISHED, value), "{value}");
        }
    }
}

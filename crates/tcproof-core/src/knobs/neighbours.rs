//! Neighbours: how many machines on the local networks the kernel keeps the hardware address of, and how it forgets
//! them. All of them are for the whole machine, one set for IPv4 and one for IPv6; containers add to the same two
//! tables.

use super::timers::SECONDS_IN_JIFFIES;
use super::{Bounds, Default, Effect, EffectBy, Exists, Folklore, Inside, Instead, Kind, Knob, Scope, Undo, Use};
use crate::version::Version;

const V4_THRESH1: &str = "net.ipv4.neigh.default.gc_thresh1";
const V4_THRESH2: &str = "net.ipv4.neigh.default.gc_thresh2";
const V4_THRESH3: &str = "net.ipv4.neigh.default.gc_thresh3";
const V4_STALE_TIME: &str = "net.ipv4.neigh.default.gc_stale_time";
const V6_THRESH1: &str = "net.ipv6.neigh.default.gc_thresh1";
const V6_THRESH2: &str = "net.ipv6.neigh.default.gc_thresh2";
const V6_THRESH3: &str = "net.ipv6.neigh.default.gc_thresh3";
const V6_STALE_TIME: &str = "net.ipv6.neigh.default.gc_stale_time";

pub(super) static KNOBS: &[Knob] = &[
    GC_THRESH1,
    GC_THRESH2,
    GC_THRESH3,
    GC_STALE_TIME,
    GC_INTERVAL,
    UNRES_QLEN_BYTES,
    Knob {
        key: V6_THRESH1,
        title: "IPv6 neighbours up to which none is cleaned up",
        related: &[V6_THRESH2, V6_THRESH3, V4_THRESH1],
        folklore: &[Folklore { when: |setting: &Use<'_>| is_above(setting, V6_THRESH2), ..ABOVE_THRESH2 }],
        ..GC_THRESH1
    },
    Knob {
        key: V6_THRESH2,
        title: "IPv6 neighbours above which cleaning is forced",
        related: &[V6_THRESH1, V6_THRESH3, V4_THRESH2],
        folklore: &[Folklore { when: |setting: &Use<'_>| is_above(setting, V6_THRESH3), ..ABOVE_THRESH3 }],
        ..GC_THRESH2
    },
    Knob {
        key: V6_THRESH3,
        title: "The most IPv6 neighbours",
        related: &[V6_THRESH1, V6_THRESH2, V4_THRESH3],
        ..GC_THRESH3
    },
    Knob {
        key: V6_STALE_TIME,
        title: "How long an unused IPv6 neighbour is kept",
        related: &[V6_THRESH1, V4_STALE_TIME],
        ..GC_STALE_TIME
    },
    Knob {
        key: "net.ipv6.neigh.default.gc_interval",
        title: "How often IPv6 neighbours are cleaned up (without effect)",
        related: &[V6_STALE_TIME, V6_THRESH1],
        ..GC_INTERVAL
    },
    Knob {
        key: "net.ipv6.neigh.default.unres_qlen_bytes",
        title: "Bytes that wait for an IPv6 neighbour's address",
        related: &[V6_THRESH3],
        ..UNRES_QLEN_BYTES
    },
];

/// `arp_init` and `ndisc_init` register it for the initial namespace alone, though the table is everybody's.
const SCOPE: Scope = Scope::Global { inside: Inside::Absent };

const GC_THRESH1: Knob = Knob {
    key: V4_THRESH1,
    title: "IPv4 neighbours up to which none is cleaned up",
    kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 1 << 24) },
    unit: "neighbours",
    exists: Exists::ALWAYS,
    defaults: &[Default::always("128")],
    worse_below: None,
    scope: SCOPE,
    effect: Effect::new(EffectBy::All, "the next round of cleaning, within 15 seconds"),
    undo: Undo::WriteBack,
    cost: "entries × about 0.5 KiB",
    limits: "While the table has fewer entries than this, those that nobody uses any more stay in it.",
    enforced_by: &["net/core/neighbour.c:neigh_periodic_work"],
    not: "Reserves nothing, and lets no more neighbours in: that is gc_thresh3.",
    raising: "Old entries stay, and count against gc_thresh3. Above gc_thresh2, cleaning begins only when room is \
              needed.",
    lowering: "Unused entries go after gc_stale_time, and are asked for again when they are needed.",
    related: &[V4_THRESH2, V4_THRESH3, V6_THRESH1],
    belongs_to: &["neighbour-table"],
    folklore: &[Folklore { when: |setting: &Use<'_>| is_above(setting, V4_THRESH2), ..ABOVE_THRESH2 }],
    sources: &["Documentation/networking/ip-sysctl.rst"],
};

const GC_THRESH2: Knob = Knob {
    key: V4_THRESH2,
    title: "IPv4 neighbours above which cleaning is forced",
    defaults: &[Default::always("512")],
    effect: Effect::new(EffectBy::All, "at once, from the next new neighbour on"),
    limits: "From so many entries on, a new neighbour makes the kernel throw out those that it has not heard of for 5 \
             seconds, until there are no more than this; at most once in 5 seconds.",
    enforced_by: &["net/core/neighbour.c:neigh_alloc", "net/core/neighbour.c:neigh_forced_gc"],
    not: "Turns no neighbour away. Entries that are in use stay.",
    raising: "The table grows further before it is cleaned. At or above gc_thresh3 there is nothing left to clean \
              down to.",
    lowering: "Neighbours that are spoken to now and then are thrown out, and asked for again: CPU, and broadcasts.",
    related: &[V4_THRESH1, V4_THRESH3, V6_THRESH2],
    folklore: &[Folklore { when: |setting: &Use<'_>| is_above(setting, V4_THRESH3), ..ABOVE_THRESH3 }],
    ..GC_THRESH1
};

const GC_THRESH3: Knob = Knob {
    key: V4_THRESH3,
    title: "The most IPv4 neighbours",
    kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(16, 1 << 24) },
    defaults: &[Default::always("1024")],
    worse_below: Some("packets to neighbours beyond it are dropped, and connects to them time out"),
    effect: Effect::new(EffectBy::All, "at once, from the next new neighbour on"),
    limits: "The most entries of all namespaces together, but for permanent ones and those that a switch's driver \
             learned. Beyond it, when cleaning finds nothing, a new neighbour is refused: table_fulls counts it, and \
             the kernel logs \"neighbor table overflow!\".",
    enforced_by: &["net/core/neighbour.c:neigh_alloc", "net/core/neighbour.c:neigh_forced_gc"],
    not: "Has nothing to do with peers behind a router, who are one neighbour together: the router.",
    raising: "Memory, and a scan of the local network can fill more of it.",
    lowering: "SYNs to new neighbours are lost without a word; programs see a timeout.",
    related: &[V4_THRESH1, V4_THRESH2, V6_THRESH3],
    folklore: &[],
    ..GC_THRESH1
};

const GC_STALE_TIME: Knob = Knob {
    key: V4_STALE_TIME,
    title: "How long an unused IPv4 neighbour is kept",
    kind: Kind::Number { kernel: SECONDS_IN_JIFFIES, sane: Bounds::new(1, SECONDS_IN_JIFFIES.max) },
    unit: "seconds",
    defaults: &[Default::always("60")],
    effect: Effect::new(
        EffectBy::All,
        "at once, on devices of the initial namespace that have no value of their own; elsewhere, devices made \
         afterwards",
    ),
    limits: "From gc_thresh1 on, an entry that has not been used for so long is thrown out.",
    enforced_by: &["net/core/neighbour.c:neigh_periodic_work"],
    not: "Does not say when a neighbour is asked again whether it is still there: that is base_reachable_time_ms. \
          Nothing while the table is below gc_thresh1.",
    raising: "Neighbours that are gone take up room for longer.",
    lowering: "Neighbours are asked for again more often.",
    related: &[V4_THRESH1, V6_STALE_TIME],
    folklore: &[],
    ..GC_THRESH1
};

const GC_INTERVAL: Knob = Knob {
    key: "net.ipv4.neigh.default.gc_interval",
    title: "How often IPv4 neighbours are cleaned up (without effect)",
    defaults: &[Default::always("30")],
    effect: Effect::new(EffectBy::Nothing, "never: nothing looks at it"),
    cost: "none",
    limits: "Nothing: the kernel keeps the number and shows it. Cleaning goes by half of base_reachable_time, so by 15 \
             seconds.",
    enforced_by: &["net/core/neighbour.c:neigh_periodic_work (which does not read it)"],
    not: "Does not make cleaning more frequent, or rarer.",
    raising: "Nothing.",
    lowering: "Nothing.",
    related: &[V4_STALE_TIME, V4_THRESH1],
    folklore: &[Folklore {
        rule: "placebo",
        when: |_: &Use<'_>| true,
        says: "nothing in the kernel reads it: neighbours are cleaned up every half base_reachable_time",
        instead: Instead::Nothing,
        severity: None,
    }],
    sources: &["net/core/neighbour.c (6.1): only the file itself and rtnetlink touch it"],
    ..GC_STALE_TIME
};

const UNRES_QLEN_BYTES: Knob = Knob {
    key: "net.ipv4.neigh.default.unres_qlen_bytes",
    title: "Bytes that wait for an IPv4 neighbour's address",
    kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(1, 1 << 28) },
    unit: "bytes",
    exists: Exists::since(Version(3, 3)),
    defaults: &[Default::since(Version(3, 3), "65536"), Default::since(Version(4, 14), "212992")],
    cost: "up to so many bytes for each neighbour that does not answer",
    limits: "Packets, with their overhead, that wait while one neighbour is being asked for its address. When there \
             are more the oldest goes; unres_discards counts it. 212992 hold about 256 small ones.",
    enforced_by: &["net/core/neighbour.c:__neigh_event_send"],
    not: "Makes no neighbour answer. One packet always waits, however low it is.",
    raising: "Memory for every address on the local network that is spoken to and does not answer.",
    lowering: "The first packets to a new neighbour are lost, beginning with the oldest.",
    related: &[V4_THRESH3],
    folklore: &[Folklore {
        rule: "wrong-unit",
        when: |setting: &Use<'_>| setting.number().is_some_and(|number| (1..=1024).contains(&number)),
        says: "bytes, with each packet's overhead, not packets as in the old unres_qlen: not even one more packet fits",
        instead: Instead::Default,
        severity: None,
    }],
    ..GC_STALE_TIME
};

const ABOVE_THRESH2: Folklore = Folklore {
    rule: "out-of-step",
    when: |_| false,
    says: "more than gc_thresh2: unused neighbours are only cleaned up when a new one needs room, 5 seconds after the \
           last time. gc_thresh1, 2 and 3 should ascend",
    instead: Instead::Unknown,
    severity: None,
};

const ABOVE_THRESH3: Folklore = Folklore {
    rule: "out-of-step",
    when: |_| false,
    // neigh_forced_gc cleans down to gc_thresh2, and so stops after the first entry that it looks at.
    says: "more than gc_thresh3: when the table is full, cleaning stops after one entry at the most, and new \
           neighbours are refused. gc_thresh1, 2 and 3 should ascend",
    instead: Instead::Unknown,
    severity: None,
};

fn is_above(setting: &Use<'_>, other: &str) -> bool {
    setting.number().zip(setting.other_number(other)).is_some_and(|(number, other)| number > other)
}

#[cfg(test)]
mod tests {
    use super::super::by_key;
    use super::super::tests::{Case, lore};
    use super::*;

    #[test]
    fn what_is_said_of_which_setting() {
        let kubernetes = &[(V4_THRESH1, "80000"), (V4_THRESH2, "90000"), (V4_THRESH3, "100000")][..];
        let equal = &[(V6_THRESH1, "8192"), (V6_THRESH2, "8192"), (V6_THRESH3, "8192")][..];
        let cases: &[Case<'_>] = &[
            (V4_THRESH1, "80000", kubernetes, &[]),
            (V4_THRESH2, "90000", kubernetes, &[]),
            (V4_THRESH3, "100000", kubernetes, &[]),
            (V6_THRESH1, "8192", equal, &[]),
            (V6_THRESH2, "8192", equal, &[]),
            (V4_THRESH1, "0", &[], &[]),
            (V4_THRESH1, "513", &[], &["out-of-step"]),
            (V4_THRESH1, "4096", &[(V4_THRESH2, "4096"), (V4_THRESH3, "8192")], &[]),
            (V4_THRESH1, "4096", &[(V6_THRESH2, "8192")], &["out-of-step"]),
            (V4_THRESH2, "4096", &[], &["out-of-step"]),
            (V4_THRESH2, "4096", &[(V4_THRESH3, "8192")], &[]),
            (V4_THRESH3, "8192", &[], &[]),
            (V6_THRESH1, "513", &[], &["out-of-step"]),
            (V6_THRESH2, "1025", &[], &["out-of-step"]),
            (V6_THRESH2, "1025", &[(V6_THRESH3, "2048")], &[]),
            (V4_STALE_TIME, "120", &[], &[]),
            ("net.ipv4.neigh.default.gc_interval", "3600", &[], &["placebo"]),
            ("net.ipv6.neigh.default.gc_interval", "30", &[], &["placebo"]),
            ("net.ipv4.neigh.default.unres_qlen_bytes", "101", &[], &["wrong-unit"]),
            ("net.ipv6.neigh.default.unres_qlen_bytes", "65536", &[], &[]),
        ];
        for (key, value, others, rules) in cases {
            assert_eq!(lore(key, value, others), *rules, "{key} = {value} with {others:?}");
        }
    }

    #[test]
    fn both_families_have_the_same() {
        for knob in KNOBS {
            let twin = match knob.key.strip_prefix("net.ipv4.") {
                Some(rest) => alloc::format!("net.ipv6.{rest}"),
                None => knob.key.replace("net.ipv6.", "net.ipv4."),
            };
            let twin = by_key(&twin).unwrap_or_else(|| panic!("{} has no {twin}", knob.key));
            assert_ne!(knob.title, twin.title, "{}", knob.key);
            assert_eq!(knob.folklore.len(), twin.folklore.len(), "{}", knob.key);
        }
    }

    #[test]
    fn what_makes_no_sense() {
        let judge = |key, value| by_key(key).is_some_and(|knob| knob.kind.judge(value).is_ok());
        assert!(!judge(V4_THRESH3, "0") && !judge(V4_THRESH1, "-1") && judge(V4_THRESH1, "0"));
        assert!(!judge(V6_STALE_TIME, "-1") && judge(V6_STALE_TIME, "3600"));
    }
}

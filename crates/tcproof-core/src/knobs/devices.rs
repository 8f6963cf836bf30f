//! Below TCP: the queues and budgets between the network card and a socket, the same for every protocol.

use super::{Bounds, Default, DefaultValue, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Scope, Undo, Use};
use crate::lint::Severity;
use crate::version::Version;

/// Queueing disciplines that classify: without classes, which nobody makes for a default, they fail or drop.
const CLASSFUL: &[&str] = &["cbq", "drr", "hfsc", "htb", "qfq"];

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "net.core.netdev_max_backlog",
        title: "Packets that wait for one CPU before the stack takes them",
        // The kernel takes any int; below 0 it compares as unsigned, and there is no limit.
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(64, 1 << 20) },
        unit: "packets per CPU",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1000")],
        worse_below: Some("bursts on veth, loopback, tunnels and RPS are dropped, and TCP sends them again"),
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::All, "at once, from the next packet on"),
        undo: Undo::WriteBack,
        cost: "CPUs × packets × 1 KiB, up to 64 KiB for packets that GRO or TSO made large",
        limits: "How many packets may wait on a CPU's own queue, which loopback, veth, tunnels and RPS use. More are \
                 dropped, and counted in the second column of /proc/net/softnet_stat.",
        enforced_by: &["net/core/dev.c:enqueue_to_backlog"],
        not: "Bounds nothing for a network card whose driver polls (NAPI) and for which RPS is off: there the card's \
              ring is the queue.",
        raising: "Packets wait longer instead of being dropped: the queue divided by the rate of that CPU is added to \
                  every round trip.",
        lowering: "Drops in bursts; measured on 6.18: 477 of them led to 38226 retransmissions.",
        related: &["net.core.netdev_budget", "net.core.rps_sock_flow_entries", "net.core.flow_limit_cpu_bitmap"],
        belongs_to: &["softnet-backlog"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting) >= 100_000,
            says: "does nothing for most network cards, whose packets never wait there; where they do (RPS, veth, \
                   loopback), a queue that long hides a CPU that can't keep up: once it fills, packets wait a tenth \
                   of a second and more instead of telling their senders",
            instead: Instead::Unknown,
            severity: None,
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst", "Documentation/networking/scaling.rst"],
    },
    Knob {
        key: "net.core.netdev_budget",
        title: "Packets per round of the receive softirq (NAPI)",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(64, 1 << 20) },
        unit: "packets",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("300")],
        worse_below: Some("rounds end earlier, and the rings of network cards overflow sooner"),
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::All, "at once, from the next round on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How many packets of all devices one round takes before it lets others have the CPU; what is left \
                 waits for the next round, counted in the third column of /proc/net/softnet_stat.",
        enforced_by: &["net/core/dev.c:net_rx_action"],
        not: "Drops nothing by itself. Does nothing where netdev_budget_usecs ends the round first.",
        raising: "Programs on that CPU wait longer for their turn.",
        lowering: "More rounds for the same packets; rings overflow.",
        related: &["net.core.netdev_budget_usecs", "net.core.dev_weight"],
        belongs_to: &["softirq-budget", "nic-ring"],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| setting.machine.kernel >= Version(4, 12) && at(setting) >= 10_000,
            says: "a round also ends after netdev_budget_usecs, a few thousand packets at best: beyond that, this \
                   changes nothing",
            instead: Instead::Unknown,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.netdev_budget_usecs",
        title: "Time per round of the receive softirq",
        // No less than two jiffies since 6.14, and in stable kernels since then; 2000 is that of HZ=1000.
        kind: Kind::Number { kernel: Bounds::new(2000, i32::MAX as i64), sane: Bounds::new(2000, 1_000_000) },
        unit: "microseconds",
        exists: Exists::since(Version(4, 12)),
        defaults: &[
            Default::since(Version(4, 12), "2000"),
            Default {
                since: Version(5, 8),
                value: DefaultValue::DecidedBy(
                    "the kernel's clock, as two jiffies: 2000 where HZ is 1000, 8000 where it is 250, 20000 where it \
                     is 100",
                ),
            },
        ],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::All, "at once, from the next round on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How long one round takes packets before it lets others have the CPU, in steps of a jiffy.",
        enforced_by: &["net/core/dev.c:net_rx_action"],
        not: "Drops nothing by itself. Does nothing where netdev_budget ends the round first.",
        raising: "Programs on that CPU wait longer for their turn.",
        lowering: "More rounds for the same packets; rings overflow. The kernel takes no less than two jiffies.",
        related: &["net.core.netdev_budget"],
        belongs_to: &["softirq-budget", "nic-ring"],
        folklore: &[
            Folklore {
                rule: "refused",
                when: |setting: &Use<'_>| {
                    setting.machine.kernel >= Version(6, 1) && (2000..8000).contains(&at(setting))
                },
                says: "kernels with HZ=250, Debian's among them, take no less than 8000, two jiffies, and answer \
                       EINVAL; only those with a faster clock take this",
                instead: Instead::Value("8000"),
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting) >= 100_000,
                says: "lets the network keep a CPU from every program for a tenth of a second at a time",
                instead: Instead::Unknown,
                severity: None,
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.dev_weight",
        title: "Packets that a CPU's backlog, or a queueing discipline, handles at a time",
        kind: Kind::Number { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(8, 4096) },
        unit: "packets",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("64")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::All, "at once, from the next round on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How much of a round's budget the backlog of loopback, veth and RPS gets at a time, and how many \
                 packets a queueing discipline sends before it lets others have the CPU.",
        enforced_by: &["net/core/dev.c:process_backlog", "net/sched/sch_generic.c:__qdisc_run"],
        not: "Does nothing for network cards that poll (NAPI): their drivers have a weight of their own, 64.",
        raising: "Other devices of the same CPU wait longer.",
        lowering: "More rounds for the same packets.",
        related: &["net.core.netdev_budget", "net.core.netdev_max_backlog"],
        belongs_to: &["softirq-budget"],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| at(setting) > 64,
            says: "does not touch network cards, whose drivers have a weight of 64 of their own: only loopback, veth, \
                   RPS and the sending side look at it",
            instead: Instead::Default,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.gro_normal_batch",
        title: "Packets that GRO hands to the stack at a time",
        kind: Kind::Number { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(1, 1024) },
        unit: "packets",
        exists: Exists::since(Version(5, 4)),
        defaults: &[Default::since(Version(5, 4), "8")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How many segments a device's poll collects, merged or not, before the stack sees them.",
        enforced_by: &["include/net/gro.h:gro_normal_one"],
        not: "Merges no more packets than before: only hands them over together.",
        raising: "A packet may wait for those after it, until the poll ends at the latest.",
        lowering: "More CPU time per packet.",
        related: &["net.core.netdev_budget"],
        belongs_to: &["softirq-cpu"],
        folklore: &[],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.rps_sock_flow_entries",
        title: "Flows that receive flow steering (RFS) knows",
        kind: Kind::Number { kernel: Bounds::new(0, 1 << 29), sane: Bounds::new(0, 1 << 24) },
        unit: "flows",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "entries × 4 B",
        limits: "How many flows the table holds that says on which CPU a flow is read; the kernel rounds up to a \
                 power of two.",
        enforced_by: &["net/core/sysctl_net_core.c:rps_sock_flow_sysctl", "net/core/dev.c:get_rps_cpu"],
        not: "Does nothing by itself: each receive queue needs its rps_flow_cnt, and its rps_cpus, under \
              /sys/class/net.",
        raising: "Memory.",
        lowering: "With fewer entries than active flows, they push one another out; 0 switches it off.",
        related: &["net.core.rps_default_mask", "net.core.netdev_max_backlog"],
        belongs_to: &["softirq-cpu"],
        folklore: &[],
        sources: &["Documentation/networking/scaling.rst"],
    },
    Knob {
        key: "net.core.rps_default_mask",
        title: "CPUs that receive packet steering (RPS) gives the packets of new devices to",
        kind: Kind::Cpus,
        unit: "",
        exists: Exists::since(Version(6, 3)),
        defaults: &[Default::since(Version(6, 3), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::NewObjects, "receive queues of devices that are made afterwards"),
        undo: Undo::LeavesTraces("devices made meanwhile keep their mask"),
        cost: "none",
        limits: "What rps_cpus of a new device's receive queues begins with. A hexadecimal mask; a list such as 0-3 \
                 is refused.",
        enforced_by: &[
            "net/core/sysctl_net_core.c:rps_default_mask_sysctl",
            "net/core/net-sysfs.c:rx_queue_default_mask",
        ],
        not: "Changes nothing for devices that exist.",
        raising: "Packets go through the backlog of another CPU, with an interrupt between CPUs for each batch.",
        lowering: "0 leaves packets on the CPU that the card chose.",
        related: &["net.core.rps_sock_flow_entries", "net.core.netdev_max_backlog"],
        belongs_to: &["softirq-cpu", "softnet-backlog"],
        folklore: &[],
        sources: &["Documentation/admin-guide/sysctl/net.rst", "Documentation/networking/scaling.rst"],
    },
    Knob {
        key: "net.core.flow_limit_cpu_bitmap",
        title: "CPUs whose backlog drops packets of large flows first",
        kind: Kind::Cpus,
        unit: "",
        exists: Exists::since(Version(3, 11)),
        defaults: &[Default::since(Version(3, 11), "0")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "CPUs × flow_limit_table_len bytes, 4 KiB by default",
        limits: "On these CPUs, once the backlog is half full, a flow that made up more than half of the last 128 \
                 packets is dropped there, so that small flows get through.",
        enforced_by: &["net/core/dev.c:skb_flow_limit"],
        not: "Does nothing until the backlog is half full, and nothing for cards without RPS.",
        raising: "A single large flow is dropped earlier than the queue's length says.",
        lowering: "0 switches it off: a flood on one flow crowds out the others.",
        related: &["net.core.netdev_max_backlog"],
        belongs_to: &["softnet-backlog"],
        folklore: &[],
        sources: &["Documentation/networking/scaling.rst"],
    },
    Knob {
        key: "net.core.busy_poll",
        title: "Time that poll(2) and select(2) spin for packets",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 1_000_000) },
        unit: "microseconds",
        exists: Exists::since(Version(3, 11)),
        defaults: &[Default::since(Version(3, 11), "0")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::All, "at once, from the next poll(2), select(2) or epoll_wait(2) on"),
        undo: Undo::WriteBack,
        cost: "CPU time: up to that long for each call that finds nothing",
        limits: "How long poll(2), select(2) and epoll_wait(2) ask the card themselves before they sleep.",
        enforced_by: &[
            "include/net/busy_poll.h:net_busy_loop_on",
            "fs/select.c:do_poll",
            "fs/eventpoll.c:ep_busy_loop",
        ],
        not: "Does nothing for sockets without SO_BUSY_POLL while busy_read is 0, and nothing on devices that don't \
              poll, such as loopback and veth.",
        raising: "Every waiting thread burns a CPU for that long.",
        lowering: "0 switches it off: interrupts wake the readers.",
        related: &["net.core.busy_read"],
        belongs_to: &["softirq-cpu"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting) >= 1000,
                says: "every thread that waits burns a CPU for a millisecond and more each time; the kernel's \
                       documentation has 50 to 100",
                instead: Instead::Value("50"),
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    (1..1000).contains(&at(setting)) && setting.other_number("net.core.busy_read") == Some(0)
                },
                says: "does nothing while busy_read is 0, as it is here, unless programs set SO_BUSY_POLL on their \
                       sockets",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.busy_read",
        title: "Time that a read from a socket spins for packets",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 1_000_000) },
        unit: "microseconds",
        exists: Exists::since(Version(3, 11)),
        defaults: &[Default::since(Version(3, 11), "0")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::new(EffectBy::New, "sockets opened afterwards that don't set SO_BUSY_POLL"),
        undo: Undo::LeavesTraces("sockets opened meanwhile keep spinning"),
        cost: "CPU time: up to that long for each read that finds nothing",
        limits: "What SO_BUSY_POLL of a new socket begins with: how long a read asks the card itself before it \
                 sleeps.",
        enforced_by: &["net/core/sock.c:sock_init_data_uid", "include/net/busy_poll.h:sk_busy_loop"],
        not: "Does nothing on devices that don't poll, such as loopback and veth.",
        raising: "Every waiting reader burns a CPU for that long.",
        lowering: "0 switches it off: interrupts wake the readers.",
        related: &["net.core.busy_poll"],
        belongs_to: &["softirq-cpu"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting) >= 1000,
            says: "every reader that waits burns a CPU for a millisecond and more each time; the kernel's \
                   documentation has 50",
            instead: Instead::Value("50"),
            severity: None,
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.skb_defer_max",
        title: "Packets that wait to be freed by the CPU that made them",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 1 << 16) },
        unit: "packets per CPU",
        exists: Exists::since(Version(5, 19)),
        defaults: &[Default::since(Version(5, 19), "64"), Default::since(Version(6, 19), "128")],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "CPUs × packets × 1 KiB, up to 64 KiB for packets that GRO made large",
        limits: "How many packets that a program has read on one CPU wait to be freed on the CPU that received \
                 them.",
        enforced_by: &["net/core/skbuff.c:skb_attempt_defer_free"],
        not: "Bounds no queue of unread packets.",
        raising: "More memory waits to be freed.",
        lowering: "CPUs contend for the page allocator; 0 switches it off.",
        related: &[],
        belongs_to: &["softirq-cpu"],
        folklore: &[],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.qdisc_max_burst",
        title: "Packets that wait in front of a queueing discipline that is busy",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(64, 1 << 20) },
        unit: "packets",
        exists: Exists::since(Version(6, 19)),
        defaults: &[Default::since(Version(6, 19), "1000")],
        worse_below: Some("bursts that several CPUs send at once are dropped in front of the queueing discipline"),
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "queueing disciplines × packets × 1 KiB, up to 64 KiB for packets that TSO splits",
        limits: "How many packets of all CPUs may wait for the one that holds a queueing discipline's lock; more are \
                 dropped with the reason QDISC_BURST_DROP.",
        enforced_by: &["net/core/dev.c:__dev_xmit_skb"],
        not: "Is not the length of the queueing discipline itself, which tc(8) sets.",
        raising: "Packets wait longer in front of the queue that should order them.",
        lowering: "Local drops in bursts.",
        related: &["net.core.default_qdisc"],
        belongs_to: &["loss"],
        folklore: &[],
        sources: &["Documentation/admin-guide/sysctl/net.rst of 6.19"],
    },
    Knob {
        key: "net.core.default_qdisc",
        title: "Queueing discipline of new devices",
        kind: Kind::Name,
        unit: "",
        exists: Exists::since(Version(3, 12)),
        defaults: &[Default::decided_by(
            "the kernel's configuration, pfifo_fast unless it names another; many distributions set fq_codel by \
             systemd's own sysctl.d file",
        )],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::new(
            EffectBy::NewObjects,
            "devices that come up afterwards; those that are up keep theirs until tc(8) replaces it",
        ),
        undo: Undo::LeavesTraces("devices that came up meanwhile keep theirs"),
        cost: "none",
        limits: "Which queue a device, or each queue of a device that has several (below mq), sends through.",
        enforced_by: &["net/sched/sch_api.c:qdisc_set_default", "net/sched/sch_generic.c:attach_default_qdiscs"],
        not: "Does not touch devices that are up, nor virtual ones such as loopback and veth, which have no queue. \
              BBR does not need fq: TCP paces by itself since 4.13.",
        raising: "The kernel answers ENOENT to a name it neither has nor finds as a module.",
        lowering: "pfifo_fast lets one bulk transfer delay everything else that leaves by the device.",
        related: &["net.ipv4.tcp_congestion_control"],
        belongs_to: &["loss"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    let control = (setting.other)("net.ipv4.tcp_congestion_control");
                    name(setting) == "fq" && control.is_some_and(|control| control.trim() == "bbr")
                },
                says: "fq is a good choice, but BBR does not need it: TCP paces by itself since 4.13; and devices \
                       that are up keep the queueing discipline they have",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| name(setting) == "pfifo_fast",
                says: "one queue for all, which a single bulk transfer fills while everything else waits behind it; \
                       fq_codel or fq keep flows apart",
                instead: Instead::Value("fq_codel"),
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| CLASSFUL.contains(&name(setting)),
                says: "needs classes that nobody makes for a default: devices that come up then drop packets, or \
                       have no queue at all",
                instead: Instead::Value("fq_codel"),
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| name(setting) == "noqueue",
                says: "a network card without a queue drops whatever its ring can't take at that instant",
                instead: Instead::Value("fq_codel"),
                severity: None,
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst", "net/ipv4/tcp_bbr.c"],
    },
];

/// The number; -1, at which nothing here is accused, where there is none.
fn at(setting: &Use<'_>) -> i64 {
    setting.number().unwrap_or(-1)
}

fn name<'a>(setting: &Use<'a>) -> &'a str {
    setting.text.trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::tests::{lore, lore_on};
    use crate::knobs::{Machine, Wrong, by_key};

    #[test]
    fn folklore_of_devices() {
        let bbr = [("net.ipv4.tcp_congestion_control", "bbr")];
        let cubic = [("net.ipv4.tcp_congestion_control", "cubic")];
        let spins = [("net.core.busy_read", "50")];
        for (key, text, others, rules) in [
            ("net.core.netdev_max_backlog", "5000", &[][..], &[][..]),
            ("net.core.netdev_max_backlog", "30000", &[], &[]),
            ("net.core.netdev_max_backlog", "65536", &[], &[]),
            ("net.core.netdev_max_backlog", "250000", &[], &["dangerous"]),
            ("net.core.netdev_max_backlog", "1000000", &[], &["dangerous"]),
            ("net.core.netdev_budget", "600", &[], &[]),
            ("net.core.netdev_budget", "50000", &[], &["placebo"]),
            ("net.core.netdev_budget_usecs", "8000", &[], &[]),
            ("net.core.netdev_budget_usecs", "5000", &[], &["refused"]),
            ("net.core.netdev_budget_usecs", "200000", &[], &["dangerous"]),
            ("net.core.dev_weight", "64", &[], &[]),
            ("net.core.dev_weight", "600", &[], &["placebo"]),
            ("net.core.busy_poll", "0", &[], &[]),
            ("net.core.busy_poll", "50", &[], &["placebo"]),
            ("net.core.busy_poll", "50", &spins, &[]),
            ("net.core.busy_poll", "10000", &spins, &["dangerous"]),
            ("net.core.busy_read", "50", &[], &[]),
            ("net.core.busy_read", "5000", &[], &["dangerous"]),
            ("net.core.default_qdisc", "fq", &cubic, &[]),
            ("net.core.default_qdisc", "fq", &bbr, &["placebo"]),
            ("net.core.default_qdisc", "fq_codel", &bbr, &[]),
            ("net.core.default_qdisc", "cake", &[], &[]),
            ("net.core.default_qdisc", "pfifo_fast", &[], &["dangerous"]),
            ("net.core.default_qdisc", "htb", &[], &["dangerous"]),
            ("net.core.default_qdisc", "noqueue", &[], &["dangerous"]),
            ("net.core.rps_sock_flow_entries", "32768", &[], &[]),
            ("net.core.rps_default_mask", "3", &[], &[]),
        ] {
            assert_eq!(lore(key, text, others), rules, "{key} = {text}");
        }
        // Before there was a bound of time, the budget was the only one.
        assert!(lore_on(&Machine::of_kernel(Version(4, 9)), "net.core.netdev_budget", "50000", &[]).is_empty());
        let old = Machine::of_kernel(Version(5, 4));
        assert!(lore_on(&old, "net.core.netdev_budget_usecs", "5000", &[]).is_empty(), "taken there");
    }

    #[test]
    fn what_kernels_take() {
        let judge = |key: &str, text: &str| by_key(key).map(|knob| knob.kind.judge(text));
        for (key, text) in [
            ("net.core.dev_weight", "0"),
            ("net.core.gro_normal_batch", "0"),
            ("net.core.rps_sock_flow_entries", "536870913"),
            ("net.core.busy_poll", "-1"),
            ("net.core.netdev_budget_usecs", "1999"),
            ("net.core.default_qdisc", "fq codel"),
        ] {
            assert!(matches!(judge(key, text), Some(Err(Wrong::Refused(_)))), "{key} = {text}");
        }
        for (key, text) in [("net.core.netdev_max_backlog", "-1"), ("net.core.netdev_budget", "0")] {
            assert!(matches!(judge(key, text), Some(Err(Wrong::Nonsense(_)))), "{key} = {text}");
        }
    }
}

//! What exists once per kernel, device or control group.

use super::{Counter, Kind, Scope};
use crate::version::Version;

/// What the others have in common.
const HOST: Counter = Counter::of("", Kind::Counter, Scope::Global);

/// What those of a CPU have in common; the same in every namespace.
const SOFTNET: Counter = Counter::of("/proc/net/softnet_stat, a row for each online CPU", Kind::Counter, Scope::Global);

/// What those of the neighbour tables have in common; the same in every namespace.
const NEIGHBOURS: Counter = Counter::of("", Kind::Counter, Scope::Global);

/// What those of a device have in common.
const DEVICE: Counter = Counter::of("/sys/class/net/DEVICE/statistics, ip -s link", Kind::Counter, Scope::Device);

/// What those of a queueing discipline have in common.
const QDISC: Counter = Counter::of("route netlink, tc -s qdisc", Kind::Counter, Scope::Device);

pub(super) static COUNTERS: &[Counter] = &[
    Counter {
        name: "softnet_stat.processed",
        counts: "Packets that this CPU received; 32 bits, which wrap.",
        counted_by: &["net/core/dev.c:__netif_receive_skb_core"],
        proves: "A CPU's share of the load.",
        does_not_prove: "Packets on the wire: merged ones (GRO, LRO) count once.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.dropped",
        counts: "Packets dropped because the queue of this CPU was full, or by the flow limit.",
        counted_by: &["net/core/dev.c:enqueue_to_backlog"],
        proves: "net.core.netdev_max_backlog was reached, or the flow limit held one flow back.",
        does_not_prove: "Drops in the ring of a card. Cards with NAPI do not use this queue unless RPS is on; veth, \
                         loopback and tunnels do.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.time_squeeze",
        counts: "Times that the receive softirq stopped with work left: its budget or its time was used up.",
        counted_by: &["net/core/dev.c:net_rx_action"],
        proves: "net.core.netdev_budget or netdev_budget_usecs was reached.",
        does_not_prove: "Loss: the work goes on a moment later. Look for drops in the ring besides.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.received_rps",
        counts: "Times that another CPU handed work to this one (RPS).",
        counted_by: &["net/core/dev.c:rps_trigger_softirq"],
        proves: "RPS is in use.",
        does_not_prove: "That the load is spread well.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.flow_limit",
        counts: "Packets that the flow limit dropped: one flow had more than half of a queue that was half full.",
        counted_by: &["net/core/dev.c:skb_flow_limit"],
        proves: "One flow dominates the queue of this CPU.",
        does_not_prove: "That net.core.netdev_max_backlog was reached.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.backlog",
        kind: Kind::Gauge,
        since: Version(5, 10),
        counts: "Packets that wait in the queues of this CPU now.",
        counted_by: &["net/core/net-procfs.c:softnet_seq_show"],
        proves: "Packets wait for this CPU.",
        does_not_prove: "Drops.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.cpu",
        kind: Kind::Gauge,
        since: Version(5, 10),
        counts: "The number of the CPU that the row is of: rows of CPUs that are offline are left out.",
        counted_by: &["net/core/net-procfs.c:softnet_seq_show"],
        proves: "Which CPU it is.",
        does_not_prove: "Anything else.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.input_qlen",
        kind: Kind::Gauge,
        since: Version(6, 4),
        counts: "Packets that wait to be taken over by this CPU.",
        counted_by: &["net/core/net-procfs.c:softnet_seq_show"],
        proves: "Packets come faster than this CPU takes them.",
        does_not_prove: "Drops.",
        ..SOFTNET
    },
    Counter {
        name: "softnet_stat.process_qlen",
        kind: Kind::Gauge,
        since: Version(6, 4),
        counts: "Packets that this CPU has taken over and not handled yet.",
        counted_by: &["net/core/net-procfs.c:softnet_seq_show"],
        proves: "The CPU is at work on its queue.",
        does_not_prove: "Drops.",
        ..SOFTNET
    },
    Counter {
        name: "arp_cache.entries",
        place: "/proc/net/stat/arp_cache",
        kind: Kind::Gauge,
        counts: "Neighbours of IPv4 that are known, of all namespaces, permanent ones too.",
        counted_by: &["net/core/neighbour.c:neigh_stat_seq_show"],
        proves: "How close net.ipv4.neigh.default.gc_thresh3 is.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "arp_cache.table_fulls",
        place: "/proc/net/stat/arp_cache",
        counts: "Neighbours of IPv4 that were refused: gc_thresh3 was reached and nothing could be thrown out.",
        counted_by: &["net/core/neighbour.c:neigh_alloc"],
        proves: "The neighbour table overflows: first packets to further neighbours fail.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "arp_cache.forced_gc_runs",
        place: "/proc/net/stat/arp_cache",
        counts: "Times that neighbours of IPv4 were thrown out at once, because of gc_thresh2 or gc_thresh3.",
        counted_by: &["net/core/neighbour.c:neigh_forced_gc"],
        proves: "The table is near its limit.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "arp_cache.unresolved_discards",
        place: "/proc/net/stat/arp_cache",
        counts: "Packets dropped because too many waited for the address of a neighbour of IPv4.",
        counted_by: &["net/core/neighbour.c:__neigh_event_send"],
        proves: "A neighbour does not answer, and much is sent to it.",
        does_not_prove: "A full table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "arp_cache.res_failed",
        place: "/proc/net/stat/arp_cache",
        counts: "Neighbours of IPv4 whose address was asked for in vain.",
        counted_by: &["net/core/neighbour.c:neigh_invalidate"],
        proves: "A host is down or not there.",
        does_not_prove: "A limit.",
        ..NEIGHBOURS
    },
    Counter {
        name: "ndisc_cache.entries",
        place: "/proc/net/stat/ndisc_cache",
        kind: Kind::Gauge,
        counts: "Neighbours of IPv6 that are known, of all namespaces, permanent ones too.",
        counted_by: &["net/core/neighbour.c:neigh_stat_seq_show"],
        proves: "How close net.ipv6.neigh.default.gc_thresh3 is.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "ndisc_cache.table_fulls",
        place: "/proc/net/stat/ndisc_cache",
        counts: "Neighbours of IPv6 that were refused: gc_thresh3 was reached and nothing could be thrown out.",
        counted_by: &["net/core/neighbour.c:neigh_alloc"],
        proves: "The neighbour table overflows: first packets to further neighbours fail.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "ndisc_cache.forced_gc_runs",
        place: "/proc/net/stat/ndisc_cache",
        counts: "Times that neighbours of IPv6 were thrown out at once, because of gc_thresh2 or gc_thresh3.",
        counted_by: &["net/core/neighbour.c:neigh_forced_gc"],
        proves: "The table is near its limit.",
        does_not_prove: "That this namespace is at fault: all namespaces share the table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "ndisc_cache.unresolved_discards",
        place: "/proc/net/stat/ndisc_cache",
        counts: "Packets dropped because too many waited for the address of a neighbour of IPv6.",
        counted_by: &["net/core/neighbour.c:__neigh_event_send"],
        proves: "A neighbour does not answer, and much is sent to it.",
        does_not_prove: "A full table.",
        ..NEIGHBOURS
    },
    Counter {
        name: "ndisc_cache.res_failed",
        place: "/proc/net/stat/ndisc_cache",
        counts: "Neighbours of IPv6 whose address was asked for in vain.",
        counted_by: &["net/core/neighbour.c:neigh_invalidate"],
        proves: "A host is down or not there.",
        does_not_prove: "A limit.",
        ..NEIGHBOURS
    },
    Counter {
        name: "device.rx_missed_errors",
        counts: "Packets that the card dropped because its ring had no room; what exactly counts here, each driver \
                 decides (ethtool -S tells more).",
        counted_by: &["drivers: ndo_get_stats64"],
        proves: "The ring of the card is too short, or the CPU that empties it too slow.",
        does_not_prove: "Drops above the ring: those are in rx_dropped and softnet_stat.",
        ..DEVICE
    },
    Counter {
        name: "device.rx_fifo_errors",
        counts: "Packets that the card dropped because its own memory overflowed; what exactly counts here, each \
                 driver decides (ethtool -S tells more).",
        counted_by: &["drivers: ndo_get_stats64"],
        proves: "The ring of the card is too short, or the CPU that empties it too slow.",
        does_not_prove: "Drops above the ring: those are in rx_dropped and softnet_stat.",
        ..DEVICE
    },
    Counter {
        name: "device.rx_over_errors",
        counts: "Packets that the card dropped because they overran its buffers; what exactly counts here, each driver \
                 decides (ethtool -S tells more).",
        counted_by: &["drivers: ndo_get_stats64"],
        proves: "The ring of the card is too short, or the CPU that empties it too slow.",
        does_not_prove: "Drops above the ring: those are in rx_dropped and softnet_stat.",
        ..DEVICE
    },
    Counter {
        name: "device.rx_dropped",
        counts: "Received packets that were dropped above the ring: the queue of a CPU was full, nobody speaks their \
                 protocol; drivers add their own.",
        counted_by: &["net/core/dev.c:dev_core_stats_rx_dropped_inc", "drivers: ndo_get_stats64"],
        proves: "Something above the ring drops.",
        does_not_prove: "A full ring; nor harm: packets of unknown protocols count as well.",
        ..DEVICE
    },
    Counter {
        name: "device.tx_dropped",
        counts: "Packets to be sent that were dropped by the driver or the layer above it.",
        counted_by: &["net/core/dev.c:dev_core_stats_tx_dropped_inc", "drivers: ndo_get_stats64"],
        proves: "This host drops what it should send.",
        does_not_prove: "Loss in the network.",
        ..DEVICE
    },
    Counter {
        name: "qdisc.drops",
        counts: "Packets that a queueing discipline dropped.",
        counted_by: &["net/sched/sch_generic.c", "include/net/sch_generic.h"],
        proves: "Packets are lost in this host before they reach the network.",
        does_not_prove: "Loss in the network; nor a fault: an AQM such as fq_codel drops on purpose.",
        ..QDISC
    },
    Counter {
        name: "qdisc.overlimits",
        counts: "Times that a queueing discipline held a packet back to keep its rate.",
        counted_by: &["net/sched/sch_generic.c", "include/net/sch_generic.h"],
        proves: "A rate was reached.",
        does_not_prove: "Drops.",
        ..QDISC
    },
    Counter {
        name: "qdisc.backlog",
        kind: Kind::Gauge,
        counts: "Bytes that wait in a queueing discipline now.",
        counted_by: &["net/sched/sch_generic.c", "include/net/sch_generic.h"],
        proves: "Packets wait to be sent.",
        does_not_prove: "Drops.",
        ..QDISC
    },
    Counter {
        name: "qdisc.requeues",
        counts: "Packets that the driver did not take and that went back to the queue.",
        counted_by: &["net/sched/sch_generic.c", "include/net/sch_generic.h"],
        proves: "The ring of the card was full for a moment.",
        does_not_prove: "Drops.",
        ..QDISC
    },
    Counter {
        name: "softirqs.NET_RX",
        place: "/proc/softirqs",
        counts: "Runs of the receive softirq on each CPU; the time they take is softirq in /proc/stat.",
        counted_by: &["kernel/softirq.c:handle_softirqs"],
        proves: "How the receive work is spread over the CPUs.",
        does_not_prove: "That a CPU is overloaded: for that its time in softirq must be near all of it.",
        ..HOST
    },
    Counter {
        name: "softirqs.NET_TX",
        place: "/proc/softirqs",
        counts: "Runs of the send softirq on each CPU; the time they take is softirq in /proc/stat.",
        counted_by: &["kernel/softirq.c:handle_softirqs"],
        proves: "How the send work is spread over the CPUs.",
        does_not_prove: "That a CPU is overloaded: for that its time in softirq must be near all of it.",
        ..HOST
    },
    Counter {
        name: "fs.file-nr",
        place: "/proc/sys/fs/file-nr",
        kind: Kind::Gauge,
        counts: "Open files of the whole machine, and fs.file-max; the number between them is always 0.",
        counted_by: &["fs/file_table.c:proc_nr_files"],
        proves: "Open files at fs.file-max: open and accept fail with ENFILE.",
        does_not_prove: "That a process has reached its own limit (EMFILE): compare /proc/PID/limits with the number \
                         in /proc/PID/fd.",
        ..HOST
    },
    Counter {
        name: "memory.stat.sock",
        place: "memory.stat of the control group",
        kind: Kind::Gauge,
        scope: Scope::Cgroup,
        counts: "Bytes of socket memory charged to a control group (version 2).",
        counted_by: &["mm/memcontrol.c:mem_cgroup_charge_skmem", "mm/memcontrol.c:mem_cgroup_sk_charge"],
        proves: "Which part of its memory limit goes to sockets.",
        does_not_prove: "Pressure, by itself.",
        ..HOST
    },
    Counter {
        name: "memory.events.sock_throttled",
        place: "memory.events of the control group",
        scope: Scope::Cgroup,
        since: Version(7, 2),
        counts: "Times that sockets were held back because their control group was under memory pressure.",
        counted_by: &["include/net/sock.h"],
        proves: "The control group holds its sockets back.",
        does_not_prove: "That TCP as a whole is under pressure (tcp_mem).",
        ..HOST
    },
];

//! The host's own packet path: CPUs and their soft interrupts, network devices, their queues and settings.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reading::{Absent, Reading};

/// What a recording of an earlier version says of a reading that it did not know.
pub(super) fn not_recorded<T>() -> Reading<T> {
    Reading::Absent(Absent::Failed { what: "this recording".into(), error: "made before this was read".into() })
}

fn not_asked<T>() -> Reading<T> {
    Reading::Absent(Absent::NotNeeded)
}

/// What exists once per kernel on the way of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathSystem {
    /// CPU time of each online CPU (`/proc/stat`).
    pub cpus: Reading<Vec<CpuTime>>,
    /// Network soft interrupts of each CPU (`/proc/softirqs`).
    pub softirqs: Reading<Vec<SoftirqCpu>>,
    /// CPU time of each CPU's `ksoftirqd`, which takes over the soft interrupts that were not finished in time.
    pub ksoftirqd: Reading<BTreeMap<u32, Duration>>,
    /// The numbered interrupts of `/proc/interrupts`.
    pub interrupts: Reading<Vec<Interrupt>>,
    /// `net.core.netdev_budget`: packets that one round of the receive softirq takes. Absent outside the initial namespace.
    pub netdev_budget: Reading<u64>,
    /// `net.core.netdev_budget_usecs`: the time that one round may take.
    pub netdev_budget_usecs: Reading<u64>,
    /// `net.core.rps_sock_flow_entries`: flows that receive flow steering remembers; 0 is off.
    pub rps_sock_flow_entries: Reading<u64>,
}

impl Default for PathSystem {
    fn default() -> Self {
        Self {
            cpus: not_asked(),
            softirqs: not_asked(),
            ksoftirqd: not_asked(),
            interrupts: not_asked(),
            netdev_budget: not_asked(),
            netdev_budget_usecs: not_asked(),
            rps_sock_flow_entries: not_asked(),
        }
    }
}

impl PathSystem {
    /// [`PathSystem`] of a recording that has none.
    pub(super) fn not_recorded() -> Self {
        Self {
            cpus: not_recorded(),
            softirqs: not_recorded(),
            ksoftirqd: not_recorded(),
            interrupts: not_recorded(),
            netdev_budget: not_recorded(),
            netdev_budget_usecs: not_recorded(),
            rps_sock_flow_entries: not_recorded(),
        }
    }
}

/// CPU time of one CPU since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Its number.
    pub cpu: u32,
    /// In programs, niced ones and guests too.
    pub user: Duration,
    /// In the kernel, without interrupts.
    pub system: Duration,
    /// In hard interrupts.
    pub irq: Duration,
    /// In soft interrupts, those of `ksoftirqd` too.
    pub softirq: Duration,
    /// Idle, or waiting for a disk.
    pub idle: Duration,
    /// Taken by the hypervisor for others.
    pub steal: Duration,
}

/// How often one CPU ran the network's soft interrupts. The kernel counts in 32 bits: they wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftirqCpu {
    /// The CPU.
    pub cpu: u32,
    /// Receiving.
    pub net_rx: u32,
    /// Sending what could not be sent at once.
    pub net_tx: u32,
}

/// One line of `/proc/interrupts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// Its number.
    pub irq: u32,
    /// Chip, hardware number and the names of those who asked for it, as the kernel prints them.
    pub name: String,
    /// By CPU, where it ever came; 32 bits, so they wrap.
    pub counts: BTreeMap<u32, u32>,
}

/// One network device, as route netlink tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Up and running.
    pub running: bool,
    /// Largest packet.
    pub mtu: u32,
    /// What the kernel calls a virtual device (`veth`, `bridge`, `bond`); none for a card and for `lo`.
    pub kind: Option<String>,
    /// Index of the bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// The bus and the name of the hardware below it (since 5.14): `pci`, `0000:00:03.0`; `virtio`, `virtio2`.
    pub parent: Option<(String, String)>,
    /// Receive and transmit queues that it was made with.
    pub queues: (u32, u32),
    /// Its counters; absent when the kernel gave none.
    pub stats: Reading<LinkStats>,
    /// Where packets wait to be sent; absent where none does (`noqueue`), or the kernel does not tell.
    pub qdisc: Reading<Qdisc>,
    /// What is set, where something called for it. See [`LinkSettings`].
    pub settings: LinkSettings,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            index: 0,
            running: false,
            mtu: 0,
            kind: None,
            master: None,
            parent: None,
            queues: (1, 1),
            stats: not_asked(),
            qdisc: not_asked(),
            settings: LinkSettings::default(),
        }
    }
}

impl Link {
    /// Whether it stands for hardware, or for what a hypervisor shows as such: then it has a ring. Before 5.14 the kernel
    /// does not say, and whatever is no known kind of virtual device passes for a card; `lo` has index 1 everywhere.
    pub fn is_card(&self) -> bool {
        self.kind.is_none() && self.index != 1
    }

    /// The hypervisor whose own drops nobody sees from inside, by the bus that shows the device.
    pub fn hypervisor(&self) -> Option<&str> {
        let bus = self.parent.as_ref().map(|(bus, _)| bus.as_str());
        bus.filter(|bus| ["virtio", "xen", "vmbus"].contains(bus))
    }
}

/// `struct rtnl_link_stats64`. Drivers fill in what they count; a counter that a driver does not have reads 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Broken packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Received and dropped above the ring: no buffer, a full backlog, nobody who wants it. Unlike in `/proc/net/dev`,
    /// without `rx_missed_errors`.
    pub rx_dropped: u64,
    /// Dropped instead of sent.
    pub tx_dropped: u64,
    /// Events of an overflowing receiver.
    pub rx_over_errors: u64,
    /// Overflows of the receiver's FIFO.
    pub rx_fifo_errors: u64,
    /// Missed for want of room in the ring.
    pub rx_missed_errors: u64,
    /// Overruns while sending.
    pub tx_fifo_errors: u64,
    /// For an inactive slave of a bond, or a protocol that nobody speaks (since 4.6).
    pub rx_nohandler: u64,
}

/// Where a device's packets wait to be sent: the root, which also counts for what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qdisc {
    /// `fq_codel`, `mq`, `tbf`, …
    pub kind: String,
    /// The kinds below it (the queues of `mq`).
    pub below: BTreeSet<String>,
    /// Packets sent; 32 bits in older kernels.
    pub packets: u64,
    /// Packets waiting now.
    pub qlen: u32,
    /// Bytes waiting now.
    pub backlog: u32,
    /// Packets dropped; 32 bits, so it wraps.
    pub drops: u32,
    /// Packets put back because the device was busy.
    pub requeues: u32,
    /// Times that a rate was exceeded.
    pub overlimits: u32,
}

/// What a device is set to: read once, at the window's end, of those devices that moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkSettings {
    /// Megabits a second.
    pub speed: Reading<u32>,
    /// Ring sizes.
    pub rings: Reading<Rings>,
    /// Queues in use.
    pub channels: Reading<Channels>,
    /// When it interrupts.
    pub coalesce: Reading<Coalesce>,
    /// Which work it takes over.
    pub offloads: Reading<Offloads>,
    /// How receive-side scaling spreads flows over queues (readable since 6.3).
    pub rss: Reading<Rss>,
    /// What software steers where (sysfs; of the observer's own namespace).
    pub steering: Reading<Steering>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self::absent(&Absent::NotNeeded)
    }
}

impl LinkSettings {
    /// Nothing, for one reason.
    pub fn absent(why: &Absent) -> Self {
        let why = || why.clone();
        Self {
            speed: Reading::Absent(why()),
            rings: Reading::Absent(why()),
            channels: Reading::Absent(why()),
            coalesce: Reading::Absent(why()),
            offloads: Reading::Absent(why()),
            rss: Reading::Absent(why()),
            steering: Reading::Absent(why()),
        }
    }
}

/// Sizes of the rings, in descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rings {
    /// For receiving.
    pub rx: u32,
    /// At most.
    pub rx_max: u32,
    /// For sending.
    pub tx: u32,
    /// At most.
    pub tx_max: u32,
}

/// Queues with an interrupt of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// For receiving only.
    pub rx: u32,
    /// At most.
    pub rx_max: u32,
    /// For both.
    pub combined: u32,
    /// At most.
    pub combined_max: u32,
}

impl Channels {
    /// Queues that receive.
    pub fn receiving(&self) -> u32 {
        self.rx.saturating_add(self.combined)
    }
}

/// How long a card waits before it interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coalesce {
    /// Whether the driver adapts it to the traffic.
    pub adaptive_rx: Option<bool>,
    /// Microseconds after a packet.
    pub rx_usecs: Option<u32>,
    /// Packets.
    pub rx_frames: Option<u32>,
}

/// Work on packets that is done in few large pieces, or by the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offloads {
    /// Received segments put together by the kernel.
    pub gro: bool,
    /// Sent segments cut apart late by the kernel.
    pub gso: bool,
    /// Sent segments cut apart by the card.
    pub tso: bool,
    /// Received segments put together by the card.
    pub lro: bool,
}

/// The indirection table of receive-side scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rss {
    /// Its entries.
    pub entries: u32,
    /// Different queues in it.
    pub queues: u32,
}

/// Receive packet and flow steering, and its counterpart for sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// CPUs that any receive queue hands packets to (`rps_cpus`); empty: no steering.
    pub rps_cpus: BTreeSet<u32>,
    /// Flows that its queues remember together (`rps_flow_cnt`).
    pub rps_flows: u64,
    /// Whether each send queue has CPUs of its own (`xps_cpus`).
    pub xps: bool,
}

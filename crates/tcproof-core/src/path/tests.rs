use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::testing::{Host, Listen, no_permission};
use crate::snapshot::{Interrupt, Link, LinkStats, Qdisc, SoftirqCpu};

fn stage(host: &Host, name: &str) -> Stage {
    stages(host.interval()).into_iter().find(|stage| stage.stage == name).expect("a stage")
}

/// `dropped 7 X (place)` and the like, a line each.
fn told(stage: &Stage) -> String {
    let kinds = [("passed", &stage.passed), ("dropped", &stage.dropped), ("delayed", &stage.delayed)];
    let counts = kinds.iter().flat_map(|(kind, counts)| {
        counts.iter().map(move |c| format!("{kind} {} {} ({})", c.value, c.counter, c.place))
    });
    let unknown = stage.unknown.iter().map(|one| format!("unknown {}: {}", one.reading, one.because));
    counts.chain(unknown).collect::<Vec<_>>().join("\n")
}

fn link(index: u32) -> Link {
    let qdisc = Qdisc { kind: "fq_codel".into(), drops: u32::MAX, ..Qdisc::default() };
    Link { index, stats: Reading::Present(LinkStats::default()), qdisc: Reading::Present(qdisc), ..Link::default() }
}

fn stats(host: Host, name: &str, stats: LinkStats) -> Host {
    host.link_after(name, |link| link.stats = Reading::Present(stats))
}

#[test]
fn the_stages_stand_in_the_order_of_the_path() {
    let names: Vec<_> = stages(Host::new().interval()).iter().map(|stage| stage.stage).collect();
    let expected = "nic-ring softirq softnet-backlog qdisc ip netfilter tcp socket-buffers application";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn a_ring_tells_its_own_losses_from_broken_packets_and_a_hypervisor_hides_its() {
    let grew = LinkStats { rx_packets: 90, rx_missed_errors: 7, rx_errors: 9, rx_dropped: 3, ..LinkStats::default() };
    let host = stats(Host::new().link("eth0", link(2)).link("lo", link(1)), "eth0", grew);
    insta::assert_snapshot!(told(&stage(&host, "nic-ring")), @"
    passed 90 rx_packets (eth0 of own)
    dropped 7 rx_missed_errors (eth0 of own)
    dropped 2 rx_errors (eth0 of own)
    ");
    let guest = host.link_both("eth0", |link| link.parent = Some(("virtio".into(), "virtio2".into())));
    assert_eq!(stage(&guest, "nic-ring").unknown.len(), 1);
    let container = Host::new().link("eth0", Link { kind: Some("veth".into()), ..link(2) });
    insta::assert_snapshot!(told(&stage(&container, "nic-ring")), @"unknown rings: no network card is in these namespaces");
}

#[test]
fn a_cpus_drops_are_not_told_again_as_the_devices() {
    let backlog = Host::new().cpus(&[(0.1, 1_000), (0.1, 500)]).softnet_after(0, |row| {
        (row.dropped, row.flow_limit, row.time_squeeze) = (477, 77, 5);
    });
    let dropped =
        |n| stats(backlog.clone().link("veth0", link(2)), "veth0", LinkStats { rx_dropped: n, ..LinkStats::default() });
    insta::assert_snapshot!(told(&stage(&dropped(477), "softnet-backlog")), @"
    passed 1000 softnet_stat processed (CPU 0)
    passed 500 softnet_stat processed (CPU 1)
    dropped 400 softnet_stat dropped (CPU 0)
    dropped 77 softnet_stat flow_limit (CPU 0)
    ");
    assert_eq!(stage(&dropped(477), "softnet-backlog").lost(), 477);
    let more = stage(&dropped(977), "softnet-backlog");
    assert_eq!((&*more.dropped[0].counter, more.dropped[0].value), ("rx_dropped beyond softnet_stat", 500));
    let row = |net_rx| SoftirqCpu { cpu: 0, net_rx, net_tx: 0 };
    let runs = backlog
        .before(|s| s.system.path.softirqs = Reading::Present([row(u32::MAX)].into()))
        .after(|s| s.system.path.softirqs = Reading::Present([row(9)].into()));
    insta::assert_snapshot!(told(&stage(&runs, "softirq")), @"
    passed 10 NET_RX (CPU 0)
    delayed 5 time_squeeze (CPU 0)
    ");
}

#[test]
fn a_queue_that_wraps_is_counted_and_one_that_was_replaced_is_not() {
    let grown =
        |kind: &str| Qdisc { kind: kind.into(), drops: 9, requeues: 2, overlimits: 3, packets: 70, ..Qdisc::default() };
    let host = |kind: &str| {
        let host = Host::new().link("eth0", link(2));
        host.link_after("eth0", |link| {
            link.qdisc = Reading::Present(grown(kind));
            link.stats = Reading::Present(LinkStats { tx_dropped: 4, ..LinkStats::default() });
        })
    };
    insta::assert_snapshot!(told(&stage(&host("fq_codel"), "qdisc")), @"
    passed 70 qdisc packets (eth0 of own)
    dropped 10 fq_codel drops (eth0 of own)
    dropped 4 tx_dropped (eth0 of own)
    delayed 3 fq_codel overlimits (eth0 of own)
    delayed 2 fq_codel requeues (eth0 of own)
    ");
    insta::assert_snapshot!(told(&stage(&host("tbf"), "qdisc")), @"
    dropped 4 tx_dropped (eth0 of own)
    unknown queue of eth0 of own: the queue of eth0 restarted within the window
    ");
    // A device of the same name with another index is another device: no rate is known.
    let other = host("fq_codel").link_after("eth0", |link| link.index = 9);
    assert_eq!(told(&stage(&other, "qdisc")), "");
}

#[test]
fn overlapping_counters_are_told_once() {
    let host = Host::new()
        .grew("TcpExt.ListenDrops", 90)
        .grew("TcpExt.ListenOverflows", 60)
        .grew("TcpExt.TCPRcvQDrop", 5)
        .grew("TcpExt.RcvPruned", 5)
        .grew("TcpExt.IPReversePathFilter", 8)
        .grew("Tcp.InSegs", 1_000)
        .listener(Listen::at("0.0.0.0:80").queues(&[129, 0]));
    for (name, told_as) in [("tcp", 30), ("application", 60), ("socket-buffers", 5), ("ip", 8)] {
        assert_eq!(stage(&host, name).lost(), told_as, "{name}");
    }
    insta::assert_snapshot!(told(&stage(&host, "application")), @"
    dropped 60 TcpExt.ListenOverflows (own)
    delayed 25 looks that saw 0.0.0.0:80 full, of 50 (own)
    ");
    assert!(stage(&host, "ip").dropped[0].advice.is_some_and(|advice| advice.contains("ip route get")));
}

#[test]
fn conntrack_that_is_not_in_use_is_no_news() {
    let quiet = stage(&Host::new(), "netfilter");
    assert_eq!((quiet.unknown.len(), quiet.still), (1, 0));
    let full = Host::new().conntrack(9, 9, 9, 9).conntrack_grew("drop", 60).conntrack_grew("early_drop", 4);
    insta::assert_snapshot!(told(&stage(&full, "netfilter")), @"
    dropped 60 nf_conntrack drop (own)
    delayed 4 nf_conntrack early_drop (own)
    unknown drops by rules: each rule has a counter of its own, if any: nft list ruleset, iptables -vnL
    ");
}

#[test]
fn interrupts_are_found_by_the_device_or_the_hardware_below_it() {
    let irq = |irq, name: &str, n| Interrupt { irq, name: name.into(), counts: [(1, n)].into() };
    let lines = |n: u32| {
        let lines =
            ["PCI-MSI 1-edge eth1-TxRx-0", "PCI-MSI 2-edge eth10-TxRx-0", "PCI-MSIX 3-edge virtio2-input.0", "x ttyS0"];
        Reading::Present((7..).zip(lines).map(|(number, name)| irq(number, name, n)).collect())
    };
    let host = Host::new()
        .before(|s| s.system.path.interrupts = lines(u32::MAX))
        .after(|s| s.system.path.interrupts = lines(4));
    let of = |name: &str, parent: Option<&str>| {
        let parent = parent.map(|name| ("virtio".into(), name.into()));
        let host = host.clone().link(name, Link { parent, ..link(2) });
        let irqs = devices(host.interval())[0].interrupts().ok().expect("interrupts were read");
        irqs.iter().map(|irq| format!("{} {} {:?}", irq.irq, irq.name, irq.by_cpu)).collect::<Vec<_>>()
    };
    assert_eq!(of("eth1", None), ["7 eth1-TxRx-0 {1: 5}"]);
    assert_eq!(of("eth0", Some("virtio2")), ["9 virtio2-input.0 {1: 5}"]);
    assert_eq!(of("eth2", None), Vec::<String>::new());
}

#[test]
fn one_reading_and_what_could_not_be_read_say_so_in_every_stage() {
    let once = Host::new().link("eth0", link(2)).cpus(&[(0.0, 0)]).after(|s| s.at = Duration::ZERO);
    for stage in stages(once.interval()).iter().filter(|stage| !["nic-ring", "netfilter"].contains(&stage.stage)) {
        assert!(stage.dropped.is_empty() && stage.still == 0, "{stage:?}");
    }
    insta::assert_snapshot!(told(&stage(&once, "ip")), @"unknown counters of own: only one reading, so nothing can be said about change");
    insta::assert_snapshot!(told(&stage(&once, "nic-ring")), @"unknown statistics of eth0 of own: only one reading, so nothing can be said about change");
    let refused = Host::new().ns(|ns| {
        ns.links = no_permission("devices");
        ns.counters.clear();
        let why = Absent::Permission { what: "/proc/net/netstat".into(), needs: "root".into() };
        ns.counters_absent = ["netstat", "snmp"].map(|file| (file.into(), why.clone())).into();
    });
    insta::assert_snapshot!(told(&stage(&refused, "qdisc")), @"unknown devices of own: no permission to read devices");
    insta::assert_snapshot!(told(&stage(&refused, "tcp")), @"unknown counters of own: no permission to read /proc/net/netstat");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_counters_are_too_strange(numbers in proptest::collection::vec(any::<u64>(), 26), words in any::<[u32; 8]>()) {
        let n = |at: usize| numbers[at];
        let of = |at: usize| LinkStats {
            rx_packets: n(at), rx_dropped: n(at + 1), rx_errors: n(at + 2), rx_missed_errors: n(at + 3),
            rx_fifo_errors: n(at + 4), tx_packets: n(at + 5), tx_dropped: n(at + 6), ..LinkStats::default()
        };
        let host = Host::new()
            .link("e", link(2))
            .link_both("e", |link| link.stats = Reading::Present(of(0)))
            .cpus(&[(0.9, 3), (0.1, 9)])
            .softnet_after(0, |row| (row.dropped, row.flow_limit, row.time_squeeze) = (words[0], words[1], words[2]))
            .grew("TcpExt.ListenDrops", n(20) >> 1)
            .grew("TcpExt.ListenOverflows", n(21) >> 1);
        let host = stats(host, "e", of(7));
        for stage in stages(host.interval()) {
            prop_assert!(stage.dropped.is_sorted_by(|a, b| a.value >= b.value));
            prop_assert!(stage.dropped.iter().chain(&stage.delayed).all(|count| count.value > 0));
            let _ = stage.lost();
        }
    }
}

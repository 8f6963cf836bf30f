//! The host's packet path: what the kernel keeps per CPU, and the devices of a namespace with their settings.

use std::collections::BTreeMap;
use std::time::Duration;

use tcproof_core::snapshot::{Link, LinkSettings, LinkStats, Netns, PathSystem, Pid};
use tcproof_core::{Absent, Reading};

use crate::ethtool::Ethtool;
use crate::namespace::knob_number;
use crate::procfs::stat::USER_HZ;
use crate::{Root, procfs, rtnl, sysfs};

/// So many devices of the whole host are asked for their settings: those that lost packets in the window first, then
/// cards, then the busiest. A host of a thousand containers has thousands of veth ends, all set alike.
pub(crate) const ASKED: usize = 16;

/// Reads what exists once per kernel. `stat` is `/proc/stat`.
pub(crate) fn system(root: &Root, stat: Result<&str, Absent>, threads: &mut Threads) -> PathSystem {
    let cpus = stat.and_then(|stat| procfs::stat::cpus(stat, "/proc/stat", USER_HZ));
    let online = cpus.as_ref().map_or(0, Vec::len);
    let softirqs = || procfs::softirqs::parse(&root.read("proc/softirqs")?, "/proc/softirqs");
    // A device names its interrupts, and a device's name may hold any byte.
    let interrupts = || procfs::interrupts::parse(&root.read_lossy("proc/interrupts")?, "/proc/interrupts");
    PathSystem {
        cpus: cpus.into(),
        softirqs: softirqs().into(),
        ksoftirqd: ksoftirqd(root, online, threads).into(),
        interrupts: interrupts().into(),
        netdev_budget: knob_number(root, "net.core.netdev_budget"),
        netdev_budget_usecs: knob_number(root, "net.core.netdev_budget_usecs"),
        rps_sock_flow_entries: knob_number(root, "net.core.rps_sock_flow_entries"),
    }
}

/// The processes of `ksoftirqd/N`, once they were found.
pub(crate) type Threads = Vec<Pid>;

/// CPU time of every `ksoftirqd/N`. They are among the first children of kthreadd, which is always process 2.
fn ksoftirqd(root: &Root, online: usize, threads: &mut Threads) -> Result<BTreeMap<u32, Duration>, Absent> {
    let online = online.max(1);
    let known = cpu_times(root, threads.iter().copied(), online);
    if known.len() >= online {
        return Ok(of_cpus(&known));
    }
    let children = root.read("proc/2/task/2/children").map_err(|why| match why {
        // A directory holds no processes, and a pid namespace has another process 2, or none.
        Absent::Gone { .. } | Absent::NotInKernel { .. } => Absent::not_in_kernel("/proc/2/task/2/children"),
        why => why,
    })?;
    let found = cpu_times(root, children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()), online);
    if found.is_empty() {
        let what = "the CPU time of ksoftirqd".to_string();
        return Err(Absent::Permission {
            what,
            needs: "a run on the host: kernel threads are not seen from here".into(),
        });
    }
    *threads = found.values().map(|(pid, _)| *pid).collect();
    Ok(of_cpus(&found))
}

fn of_cpus(found: &BTreeMap<u32, (Pid, Duration)>) -> BTreeMap<u32, Duration> {
    found.iter().map(|(cpu, (_, time))| (*cpu, *time)).collect()
}

/// Those of the processes that are `ksoftirqd/N`, until there are as many as CPUs.
fn cpu_times(root: &Root, pids: impl Iterator<Item = Pid>, most: usize) -> BTreeMap<u32, (Pid, Duration)> {
    let mut found = BTreeMap::new();
    for pid in pids {
        let path = format!("proc/{pid}/stat");
        // A kernel thread that ends meanwhile is not one of these.
        let Ok(stat) = root.read_lossy(&path).and_then(|text| procfs::stat::process(&text, &path, USER_HZ)) else {
            continue;
        };
        if let Some(cpu) = stat.comm.strip_prefix("ksoftirqd/").and_then(|cpu| cpu.parse().ok()) {
            found.insert(cpu, (pid, stat.kernel_time + stat.user_time));
        }
        if found.len() >= most {
            break;
        }
    }
    found
}

/// The devices of the namespace that the thread is in. `before` is the namespace at the window's start, and `budget` how
/// many more devices may be asked for their settings.
pub(crate) fn links(
    root: &Root,
    own: bool,
    before: Option<&Netns>,
    budget: &mut usize,
) -> Result<BTreeMap<String, Link>, Absent> {
    let mut links = rtnl::links()?;
    let before = before.and_then(|before| before.links.value());
    let chosen = before.map(|before| worth_asking(before, &links, *budget)).unwrap_or_default();
    if chosen.is_empty() {
        return Ok(links);
    }
    *budget -= chosen.len();
    let mut ethtool = Ethtool::open();
    for name in chosen {
        let Some(link) = links.get_mut(&name) else { continue };
        link.settings = match &mut ethtool {
            Ok(ethtool) => ethtool.settings(link.index),
            Err(why) => LinkSettings::absent(why),
        };
        link.settings.steering = match own {
            true => sysfs::steering(root, &name, link.index).into(),
            false => Reading::Absent(Absent::Failed {
                what: "packet steering".into(),
                error: "sysfs shows it for the observer's own namespace only".into(),
            }),
        };
    }
    Ok(links)
}

/// The devices that moved in the window, the most interesting first, at most so many.
fn worth_asking(before: &BTreeMap<String, Link>, after: &BTreeMap<String, Link>, most: usize) -> Vec<String> {
    let lost = |stats: &LinkStats| {
        let LinkStats { rx_dropped, rx_missed_errors, rx_fifo_errors, rx_over_errors, tx_dropped, tx_errors, .. } =
            stats;
        [rx_dropped, rx_missed_errors, rx_fifo_errors, rx_over_errors, tx_dropped, tx_errors].map(|n| *n)
    };
    let moved = after.iter().filter_map(|(name, link)| {
        let (was, is) = (before.get(name)?.stats.value()?, link.stats.value()?);
        let packets = |stats: &LinkStats| stats.rx_packets.wrapping_add(stats.tx_packets);
        let packets = packets(is).wrapping_sub(packets(was));
        let drops = lost(was) != lost(is);
        let qdisc = |link: &Link| link.qdisc.value().map(|qdisc| qdisc.drops);
        let drops = drops || qdisc(link) != before.get(name).and_then(qdisc);
        (packets > 0 || drops).then_some((!drops, !link.is_card(), std::cmp::Reverse(packets), name))
    });
    let mut moved: Vec<_> = moved.collect();
    moved.sort();
    moved.into_iter().take(most).map(|(.., name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(card: bool, rx_packets: u64, rx_dropped: u64) -> Link {
        let kind = (!card).then(|| "veth".to_string());
        let stats = Reading::Present(LinkStats { rx_packets, rx_dropped, ..LinkStats::default() });
        Link { index: 9, kind, stats, ..Link::default() }
    }

    #[test]
    fn those_that_lost_packets_are_asked_first_then_cards_then_the_busiest() {
        let of = |packets, dropped| {
            BTreeMap::from([
                ("busy".to_string(), link(false, packets * 9, 0)),
                ("card".to_string(), link(true, packets, 0)),
                ("idle".to_string(), link(true, 5, 0)),
                ("lossy".to_string(), link(false, packets, dropped)),
                ("veth".to_string(), link(false, packets, 0)),
            ])
        };
        let (before, mut after) = (of(10, 0), of(90, 1));
        after.insert("new".into(), link(true, 1, 1));
        assert_eq!(worth_asking(&before, &after, 9), ["lossy", "card", "busy", "veth"]);
        assert_eq!(worth_asking(&before, &after, 2), ["lossy", "card"]);
    }

    #[test]
    fn the_kernel_of_this_host() {
        let root = Root::new("/");
        let mut threads = Threads::default();
        let mut read = || {
            let stat = root.read("proc/stat");
            system(&root, stat.as_deref().map_err(Clone::clone), &mut threads)
        };
        let first = read();
        let cpus = first.cpus.value().unwrap();
        assert!(!cpus.is_empty() && first.softirqs.value().is_some_and(|softirqs| softirqs.len() >= cpus.len()));
        if let Reading::Present(found) = &first.ksoftirqd {
            assert_eq!(found.len(), cpus.len());
            // Where they were found once, they are found again, and what is no such thread any more is looked for anew.
            let again = read().ksoftirqd;
            assert!(again.value().unwrap().keys().eq(found.keys()));
            threads = vec![std::process::id(); cpus.len()];
            assert!(ksoftirqd(&root, cpus.len(), &mut threads).unwrap().keys().eq(found.keys()));
        }
    }
}

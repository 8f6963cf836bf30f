//! Reads what exists once per kernel.

use tcproof_core::snapshot::{Host, NeighbourTable, PathSystem, System};
use tcproof_core::{Absent, Reading};

use crate::namespace::{knob, knob_number};
use crate::path::{self, Threads};
use crate::procfs::stat::USER_HZ;
use crate::{Root, procfs};

/// The machine's facts.
pub(crate) fn host(root: &Root) -> Host {
    let line = |path: &str| root.read_lossy(path).map(|text| text.trim_end().to_string());
    let memory = root.read("proc/meminfo").and_then(|text| procfs::numbers::memory_bytes(&text, "/proc/meminfo"));
    let cpus = root.read_lossy("proc/stat").unwrap_or_default();
    Host {
        name: line("proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: line("proc/sys/kernel/osrelease").unwrap_or_default(),
        // `cpu0 …` to `cpuN …`: one line per online CPU, and one `cpu ` for all of them.
        cpus: cpus.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count() as u32,
        memory_bytes: memory.unwrap_or(0),
        page_bytes: rustix::param::page_size() as u32,
    }
}

/// Reads the counters and knobs that are the same in every namespace. Some files exist in the initial one only, and
/// `initial` says whether this is it. `threads` keeps what is the same at each reading.
pub(crate) fn read(root: &Root, initial: bool, threads: &mut Threads) -> System {
    let system = read_here(root, threads);
    if initial {
        return system;
    }
    System {
        netdev_max_backlog: elsewhere(system.netdev_max_backlog),
        tcp_mem: elsewhere(system.tcp_mem),
        tcp_max_orphans: elsewhere(system.tcp_max_orphans),
        arp: table_elsewhere(system.arp),
        ndisc: table_elsewhere(system.ndisc),
        path: PathSystem {
            netdev_budget: elsewhere(system.path.netdev_budget),
            netdev_budget_usecs: elsewhere(system.path.netdev_budget_usecs),
            rps_sock_flow_entries: elsewhere(system.path.rps_sock_flow_entries),
            ..system.path
        },
        ..system
    }
}

/// What this namespace does not have, the initial one does.
fn elsewhere<T>(reading: Reading<T>) -> Reading<T> {
    match reading {
        Reading::Absent(Absent::NotInKernel { what }) => Reading::Absent(Absent::OtherNetns { what }),
        other => other,
    }
}

fn table_elsewhere(table: NeighbourTable) -> NeighbourTable {
    NeighbourTable {
        entries: elsewhere(table.entries),
        table_fulls: elsewhere(table.table_fulls),
        gc_thresh3: elsewhere(table.gc_thresh3),
    }
}

fn read_here(root: &Root, threads: &mut Threads) -> System {
    let net = |file: &str| (root.read(&root.net_path(file)), format!("/{}", root.net_path(file)));
    let sockstat = || {
        let (text, place) = net("sockstat");
        procfs::sockstat::parse(&text?, &place)
    };
    let sockstat = sockstat();
    let of_sockstat = |name: &str| -> Reading<u64> {
        let value = |values: &std::collections::BTreeMap<String, u64>| {
            values.get(name).copied().ok_or_else(|| Absent::not_in_kernel(format!("{name} in sockstat")))
        };
        sockstat.as_ref().map_err(Clone::clone).and_then(value).into()
    };
    let softnet = || {
        let (text, place) = net("softnet_stat");
        procfs::softnet::parse(&text?, &place)
    };
    let files = || procfs::numbers::file_nr(&root.read("proc/sys/fs/file-nr")?, "/proc/sys/fs/file-nr");
    // A line for each CPU and each interrupt: read once for all that is in it.
    let stat = root.read("proc/stat");
    let stat = || stat.as_deref().map_err(Clone::clone);
    System {
        // Which groups matter is known only to an observation, which has more than one reading.
        cgroups: Reading::Absent(Absent::OneReading),
        softnet: softnet().into(),
        netdev_max_backlog: knob_number(root, "net.core.netdev_max_backlog"),
        tcp_mem: knob(root, "net.ipv4.tcp_mem").and_then(|text| triple("net.ipv4.tcp_mem", &text)),
        tcp_pages: of_sockstat("TCP.mem"),
        tcp_max_orphans: knob_number(root, "net.ipv4.tcp_max_orphans"),
        orphans: of_sockstat("TCP.orphan"),
        files: files().into(),
        arp: neighbours(root, "arp_cache", "net.ipv4.neigh.default.gc_thresh3"),
        ndisc: neighbours(root, "ndisc_cache", "net.ipv6.neigh.default.gc_thresh3"),
        cpu: stat().and_then(|stat| procfs::stat::host(stat, "/proc/stat", USER_HZ)).into(),
        path: path::system(root, stat(), threads),
    }
}

fn triple(key: &str, text: &str) -> Reading<[u64; 3]> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(Ok(low)), Some(Ok(pressure)), Some(Ok(high)), None) => Reading::Present([low, pressure, high]),
        _ => Reading::Absent(Absent::Unparsable {
            place: key.into(),
            expected: format!("three whole numbers, found {}", procfs::shown(text)),
        }),
    }
}

fn neighbours(root: &Root, table: &str, gc_thresh3: &str) -> NeighbourTable {
    let path = root.net_path(&format!("stat/{table}"));
    let stat = root.read(&path).and_then(|text| procfs::cpu_table::parse(&text, &format!("/{path}")));
    let field = |name: &str| -> Reading<u64> {
        let value = |stat: &std::collections::BTreeMap<String, u64>| {
            stat.get(name).copied().ok_or_else(|| Absent::not_in_kernel(format!("{name} in {table}")))
        };
        stat.as_ref().map_err(Clone::clone).and_then(value).into()
    };
    NeighbourTable {
        entries: field("entries"),
        table_fulls: field("table_fulls"),
        gc_thresh3: knob_number(root, gc_thresh3),
    }
}

//! Reads one network namespace, from inside it.

use std::collections::BTreeMap;

use tcproof_core::limits::{close_wait_worth_a_dump, fin_wait2_worth_a_dump, ports_worth_a_dump, usable_ports};
use tcproof_core::snapshot::{
    CloseWait, Conntrack, Endpoint, FinWait2, Listener, Netns, OpenSocket, PortFold, PortUse, Protocol, Service,
    Sockets, System,
};
use tcproof_core::{Absent, Reading};

use crate::diag::{Diag, Extensions, Ports, Request, States};
use crate::{Root, procfs};

/// The knobs that limits ask for, by namespace.
const KNOBS: &[&str] = &[
    "fs.nr_open",
    "net.core.default_qdisc",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_adv_win_scale",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_ecn",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_frto",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_moderate_rcvbuf",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_wmem",
    "net.ipv6.neigh.default.gc_thresh1",
    "net.ipv6.neigh.default.gc_thresh2",
    "net.mptcp.blackhole_timeout",
    "net.mptcp.enabled",
    "net.netfilter.nf_conntrack_tcp_loose",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
];

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// Reads counters, knobs and devices: everything but sockets.
pub(crate) fn read(root: &Root, name: &str, own: bool) -> Netns {
    let mut ns = Netns { name: name.into(), own, ..Netns::default() };
    let mut text = String::new();
    for (file, parse) in [
        ("netstat", procfs::netstat::parse as fn(&str, &str) -> _),
        ("snmp", procfs::netstat::parse),
        ("snmp6", procfs::snmp6::parse),
    ] {
        let path = root.net_path(file);
        match root.read_into(&path, &mut text).and_then(|()| parse(&text, &format!("/{path}"))) {
            Ok(counters) => ns.counters.extend(counters),
            Err(why) => {
                ns.counters_absent.insert(file.into(), why);
            }
        }
    }
    ns.sockstat = sockstat(root).into();
    ns.knobs = KNOBS.iter().map(|key| ((*key).to_string(), knob(root, key))).collect();
    ns.conntrack = conntrack(root);
    // A device's name may hold any byte.
    let dev = root.net_path("dev");
    ns.devices = root.read_lossy(&dev).and_then(|text| procfs::dev::parse(&text, &format!("/{dev}"))).into();
    ns
}

fn read_net<T>(root: &Root, file: &str, parse: fn(&str, &str) -> Result<T, Absent>) -> Result<T, Absent> {
    let path = root.net_path(file);
    parse(&root.read(&path)?, &format!("/{path}"))
}

/// Both files of sockstat.
pub(crate) fn sockstat(root: &Root) -> Result<BTreeMap<String, u64>, Absent> {
    let mut values = read_net(root, "sockstat", procfs::sockstat::parse)?;
    match read_net(root, "sockstat6", procfs::sockstat::parse) {
        Ok(six) => values.extend(six),
        // Without IPv6 there is no such file, and no such sockets.
        Err(Absent::NotInKernel { .. }) => {}
        Err(why) => return Err(why),
    }
    Ok(values)
}

/// A knob's text, without the newline.
pub(crate) fn knob(root: &Root, key: &str) -> Reading<String> {
    // A dot in a device's name is a slash in the key.
    let path = crate::settings::swapped(key);
    root.read(&format!("proc/sys/{path}")).map(|text| text.trim_end().to_string()).into()
}

/// A knob that is one whole number.
pub(crate) fn knob_number(root: &Root, key: &str) -> Reading<u64> {
    knob(root, key).and_then(|text| match text.parse() {
        Ok(number) => Reading::Present(number),
        Err(_) => Reading::Absent(Absent::Unparsable {
            place: key.into(),
            expected: format!("a whole number, found {}", procfs::shown(&text)),
        }),
    })
}

fn conntrack(root: &Root) -> Conntrack {
    Conntrack {
        count: knob_number(root, "net.netfilter.nf_conntrack_count"),
        max: knob_number(root, "net.netfilter.nf_conntrack_max"),
        buckets: knob_number(root, "net.netfilter.nf_conntrack_buckets"),
        stat: read_net(root, "stat/nf_conntrack", procfs::cpu_table::parse).into(),
    }
}

/// Takes one look at the listeners.
pub(crate) fn listeners(diag: &mut Diag, mut each: impl FnMut(Listener)) -> Result<(), Absent> {
    diag.dump(&Request::tcp(States::LISTEN).with(Extensions::SKMEMINFO), |socket| {
        each(Listener {
            local: socket.local(),
            device: socket.device(),
            protocol: Protocol::Tcp,
            cookie: socket.cookie(),
            inode: socket.inode(),
            uid: socket.uid(),
            queue: socket.rqueue(),
            backlog: socket.wqueue(),
            drops: match socket.drops() {
                Some(drops) => Reading::Present(drops),
                None => Reading::Absent(Absent::not_in_kernel("SK_MEMINFO_DROPS (since 4.7)")),
            },
            cgroup_id: socket.cgroup_id(),
        });
    })
}

/// Gives listeners what [`name_mptcp`] found of them at the window's start: one walk of the table of MPTCP less. Whether all of
/// them were there then.
pub(crate) fn name_as_before(before: &[Listener], listeners: &mut [Listener]) -> bool {
    let known: BTreeMap<u64, &Listener> = before.iter().map(|listener| (listener.cookie, listener)).collect();
    listeners.iter_mut().all(|listener| {
        let Some(known) = known.get(&listener.cookie) else { return false };
        if known.protocol == Protocol::Mptcp {
            listener.protocol = known.protocol;
            listener.inode = known.inode;
            listener.uid = known.uid;
            listener.cgroup_id = known.cgroup_id;
        }
        true
    })
}

/// An MPTCP listener shows twice: its first subflow as a TCP listener, which has the inode of the other or none, and
/// itself, with the file but without drops. Gives the subflow what the other knows.
pub(crate) fn name_mptcp(diag: &mut Diag, listeners: &mut [Listener]) {
    let mut mptcp = Vec::new();
    for family in [AF_INET, AF_INET6] {
        // A kernel without MPTCP has no such listeners: there is nothing to say about a refusal.
        let _ = diag.dump(&Request::mptcp(family, States::LISTEN), |socket| {
            mptcp.push((socket.local(), socket.inode(), socket.uid(), socket.cgroup_id()));
        });
    }
    for listener in listeners {
        let is_same = |inode| listener.inode == 0 || listener.inode == inode;
        let same = mptcp.iter().find(|(local, inode, ..)| *local == listener.local && is_same(*inode));
        if let Some((_, inode, uid, cgroup_id)) = same {
            listener.protocol = Protocol::Mptcp;
            listener.inode = *inode;
            listener.uid = *uid;
            listener.cgroup_id = *cgroup_id;
        }
    }
}

/// Looks closer at those sockets that a cheap reading calls for, and with `always_ports` at the ephemeral ports in any case.
/// `before` is the namespace at the window's start, and `close_wait` looks at connections in CLOSE_WAIT.
pub(crate) fn sockets(
    diag: &mut Diag,
    ns: &Netns,
    system: &System,
    before: Option<&Netns>,
    always_ports: bool,
    close_wait: impl FnOnce(&mut Diag, &[u16], &mut Sockets),
) -> Sockets {
    let mut sockets = Sockets::default();
    let mut listening: Vec<u16> = ns.listeners.value().into_iter().flatten().map(|l| l.local.port).collect();
    listening.sort_unstable();
    let listening = &*listening;
    let stat = |name: &str| ns.sockstat(name).value().copied();
    let full = stat("TCP.inuse").map(|four| four + stat("TCP6.inuse").unwrap_or(0));
    let small = stat("TCP.tw");

    let unlistening = full.map(|n| n.saturating_sub(ns.listeners.value().map_or(0, Vec::len) as u64));
    if unlistening.is_none_or(close_wait_worth_a_dump) {
        close_wait(diag, listening, &mut sockets);
    }
    if let Reading::Present([low, high]) = ns.knob_numbers::<2>("net.ipv4.ip_local_port_range")
        && let (Ok(low), Ok(high)) = (u16::try_from(low), u16::try_from(high))
        && low <= high
        && (always_ports
            || full
                .zip(small)
                .zip(usable_ports(ns))
                .is_none_or(|((full, small), usable)| ports_worth_a_dump(full + small, usable)))
    {
        sockets.ports = ports(diag, Ports { low, high }, listening).into();
    }
    let buckets = ns.knob_number("net.ipv4.tcp_max_tw_buckets").value().and_then(|n| u64::try_from(*n).ok());
    // With tcp_fin_timeout beyond 60 s they are orphans, which are counted once per kernel.
    let orphans = system.orphans.value().copied().zip(system.tcp_max_orphans.value().copied());
    if [small.zip(buckets), orphans].into_iter().flatten().any(|(used, limit)| fin_wait2_worth_a_dump(used, limit)) {
        sockets.fin_wait2 = fin_wait2(diag).into();
    }
    let moved = |name: &&str| {
        let grew = |before: &Netns| Some(ns.counter(name).value()? > before.counter(name).value()?);
        before.and_then(grew) == Some(true)
    };
    let handshakes =
        ["TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop", "TcpExt.TCPReqQFullDoCookies", "TcpExt.SyncookiesSent"];
    if handshakes.iter().any(moved) {
        sockets.half_open = half_open(diag).into();
    }
    sockets
}

fn fin_wait2(diag: &mut Diag) -> Result<FinWait2, Absent> {
    let mut found = FinWait2::default();
    diag.dump(&Request::tcp(States::FIN_WAIT2), |socket| {
        if socket.is_small_fin_wait2() {
            found.small += 1;
        } else if socket.inode() == 0 {
            found.orphans += 1;
        } else {
            found.held += 1;
        }
    })?;
    Ok(found)
}

fn half_open(diag: &mut Diag) -> Result<BTreeMap<Endpoint, u32>, Absent> {
    let mut found = BTreeMap::new();
    diag.dump(&Request::tcp(States::SYN_RECV), |socket| *found.entry(socket.local()).or_default() += 1)?;
    Ok(found)
}

/// Connections in CLOSE_WAIT by service.
pub(crate) type CloseWaits = BTreeMap<Service, CloseWait>;

/// Looks at them, which walks the table of connections that all namespaces share.
pub(crate) fn close_wait(diag: &mut Diag, listening: &[u16]) -> Result<CloseWaits, Absent> {
    let mut found = CloseWaits::new();
    let mut ageless = false;
    diag.dump(&Request::tcp(States::CLOSE_WAIT).with(Extensions::INFO), |socket| {
        let service = match listening.binary_search(&socket.local().port) {
            Ok(_) => Service::Local(socket.local()),
            Err(_) => Service::Remote(socket.remote()),
        };
        let group = found.entry(service).or_default();
        if socket.inode() == 0 {
            group.unaccepted += 1;
            return;
        }
        group.held.push(socket.cookie());
        match socket.last_data_received() {
            Some(age) => group.oldest = group.oldest.max(age),
            None => ageless = true,
        }
        group.inode = socket.inode();
        group.cgroup_id = socket.cgroup_id();
    })?;
    if ageless {
        // Without ages a leak can't be told from long answers.
        return Err(Absent::not_in_kernel("tcp_info of CLOSE_WAIT sockets"));
    }
    for group in found.values_mut() {
        group.held.sort_unstable();
    }
    Ok(found)
}

fn ports(diag: &mut Diag, range: Ports, listening: &[u16]) -> Result<PortUse, Absent> {
    let mut fold = PortFold::default();
    diag.dump(&Request::tcp(States::ALL_BUT_LISTEN).local_ports(range, listening), |socket| {
        // A listener in the range: its connections are the clients' ports, not ours.
        if listening.binary_search(&socket.local().port).is_err() {
            fold.add(&OpenSocket {
                local: socket.local(),
                remote: socket.remote(),
                time_wait: socket.is_time_wait(),
                connecting: socket.is_syn_sent(),
                inode: socket.inode(),
                cgroup_id: socket.cgroup_id(),
            });
        }
    })?;
    Ok(fold.finish())
}

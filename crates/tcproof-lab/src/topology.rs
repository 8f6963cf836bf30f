//! Two namespaces and the cable between them, in a known state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kit::netns::Netns;
use crate::kit::{self, conntrack, machine, nft, rtnl, sockdiag, sysctl};
use crate::run::Error;
use crate::scenario::{CLIENT, Key, Link, Load, SERVER, Scenario, Side, Value};
use crate::worker::Role;
use crate::workers::Workers;

/// Spoofed SYNs come from here: a network that is reserved for benchmarks (RFC 2544).
pub(crate) const SPOOFED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Its length.
pub(crate) const SPOOFED_PREFIX: u8 = 15;

/// Clients that the server has no route to.
const STRANGERS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 0);
/// Its length.
const STRANGERS_PREFIX: u8 = 16;

const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The client's end of the link.
pub(crate) const CLIENT_LINK: &str = "client0";
/// The server's end of the link.
pub(crate) const SERVER_LINK: &str = "server0";

/// What every scenario starts from, whatever the host's values are: Linux's defaults for the knobs that decide the
/// outcome; and two that only a lab wants. Orphans give up soon, so that a lab that was killed is gone at once.
/// `tcp_no_metrics_save` keeps every client a stranger: a client that the server remembers gets past a full SYN
/// queue.
const BASELINE: &[(&str, &str)] = &[
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.tcp_max_syn_backlog", "2048"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_abort_on_overflow", "0"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_syn_retries", "6"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("net.ipv4.tcp_max_tw_buckets", "262144"),
    ("net.ipv4.tcp_fin_timeout", "60"),
    ("net.ipv4.tcp_migrate_req", "0"),
    ("net.ipv4.tcp_orphan_retries", "2"),
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv4.ip_local_reserved_ports", ""),
    ("net.ipv4.ip_no_pmtu_disc", "0"),
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    ("net.ipv4.tcp_adv_win_scale", "1"),
    ("net.ipv4.tcp_moderate_rcvbuf", "1"),
    ("net.ipv4.tcp_window_scaling", "1"),
    ("net.ipv4.tcp_sack", "1"),
    ("net.ipv4.tcp_dsack", "1"),
    ("net.ipv4.tcp_ecn", "2"),
    ("net.ipv4.tcp_frto", "2"),
    ("net.ipv4.tcp_mtu_probing", "0"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
    ("net.ipv4.tcp_notsent_lowat", "4294967295"),
    ("net.ipv4.tcp_retries1", "3"),
    ("net.ipv4.tcp_retries2", "15"),
    ("net.ipv4.tcp_keepalive_time", "7200"),
    ("net.ipv4.tcp_keepalive_intvl", "75"),
    ("net.ipv4.tcp_keepalive_probes", "9"),
    ("net.ipv4.tcp_fastopen", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
];

/// What a narrow link may send at once: one full packet, or some twenty SYN-ACKs.
const BUCKET: u32 = 1_600;
/// What waits in front of it, in bytes, if the scenario does not say: thousands of SYN-ACKs, so that none is lost.
const QUEUE: u32 = 500_000;
/// Packets that wait for the process that is an emulated link. It has to be late by tens of milliseconds before one is
/// lost that the scenario did not want to lose; the kernel's own 500 are gone in six at 1 Gbit/s.
const TUN_QUEUE: u32 = 10_000;

/// Linux's default since 2.6.19, whatever the host's is.
pub(crate) const CONGESTION: &str = "cubic";
/// The sysctl that says so.
pub(crate) const CONGESTION_KEY: &str = "net.ipv4.tcp_congestion_control";

/// The clients' ports: as many as there can be, so that only the scenarios that are about ports run out of them.
const BASELINE_PORTS: &str = "1024 65535";

/// The two namespaces.
pub(crate) struct Topology {
    client: Netns,
    server: Netns,
}

impl Topology {
    /// Makes the namespaces, and the baseline.
    pub(crate) fn build() -> Result<Self, Error> {
        let made = |ns: std::io::Result<Netns>| ns.map_err(|e| Error::Lab(format!("making a namespace: {e}")));
        let lab = Self { client: made(Netns::new())?, server: made(Netns::new())? };
        for side in [Side::Client, Side::Server] {
            lab.within(side, || baseline(side))?;
        }
        Ok(lab)
    }

    /// Makes the link, in either case with the same names at its ends. The worker that is an emulated one dies when the
    /// other workers do.
    pub(crate) fn join(&self, scenario: &Scenario, workers: &mut Workers) -> Result<(), Error> {
        let emulated = scenario.link.is_emulated();
        if emulated {
            let (link, server) = (Box::new(scenario.link.clone()), self.server.file());
            workers.start(self.client.file(), Role::Link { link, server })?;
        } else {
            self.within(Side::Client, || rtnl::veth_pair(CLIENT_LINK, SERVER_LINK, self.server.fd()))?;
        }
        let set_up = |link| {
            if emulated {
                rtnl::set_queue_length(link, TUN_QUEUE)?;
            }
            rtnl::up("lo")?;
            rtnl::up(link)
        };
        self.within(Side::Client, || {
            set_up(CLIENT_LINK)?;
            addresses(CLIENT_LINK, client_addresses(scenario))?;
            // SYN-ACKs to spoofed sources end here, without the RST that would empty the SYN queue.
            rtnl::add_blackhole(SPOOFED.into(), SPOOFED_PREFIX)
        })?;
        self.within(Side::Server, || {
            set_up(SERVER_LINK)?;
            addresses(SERVER_LINK, server_addresses(scenario))?;
            if let Some(cpus) = scenario.global.rps {
                machine::steer(SERVER_LINK, cpus)?;
            }
            rtnl::add_route(SPOOFED.into(), SPOOFED_PREFIX, CLIENT.into())
        })?;
        self.limit_server(&scenario.link)
    }

    /// Limits what the server's device sends, or limits it anew.
    pub(crate) fn limit_server(&self, link: &Link) -> Result<(), Error> {
        let Some(bits) = link.server_bits_per_second else { return Ok(()) };
        let queue = link.server_queue.map_or(QUEUE, |bytes| bytes.0);
        self.within(Side::Server, || rtnl::limit_rate(SERVER_LINK, bits.0, BUCKET, queue))
    }

    /// One of the namespaces.
    pub(crate) fn netns(&self, side: Side) -> &Netns {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }

    /// Does something inside a namespace.
    pub(crate) fn within<T: Send>(&self, side: Side, work: impl FnOnce() -> kit::Result<T> + Send) -> Result<T, Error> {
        let result = self.netns(side).run_in(work);
        result.map_err(|e| Error::Lab(format!("entering the {}'s namespace: {e}", side.name())))?.map_err(Error::from)
    }

    /// Writes sysctls.
    pub(crate) fn write(&self, side: Side, values: &BTreeMap<Key, Value>) -> Result<(), Error> {
        self.within(side, || values.iter().try_for_each(|(key, value)| sysctl::write(&key.0, &value.0)))
    }

    /// Gives the server a route to the clients that it has none to.
    pub(crate) fn route_strangers(&self) -> Result<(), Error> {
        self.within(Side::Server, || rtnl::add_route(STRANGERS.into(), STRANGERS_PREFIX, CLIENT.into()))
    }

    /// Fills the connection tracking table but for `leave` entries.
    pub(crate) fn fill_conntrack(&self, side: Side, leave: u32) -> Result<(), Error> {
        self.within(side, || {
            nft::track()?;
            let free = conntrack::max()?.saturating_sub(conntrack::count()?);
            conntrack::fill(free.saturating_sub(leave), CONNTRACK_SEED).map(|_| ())
        })
    }

    /// Deletes entries that were filled in.
    pub(crate) fn forget_conntrack(&self, side: Side, n: u32) -> Result<(), Error> {
        self.within(side, || conntrack::delete(n, CONNTRACK_SEED).map(|_| ()))
    }

    /// Everything that can be counted in a namespace: the kernel's counters, `conntrack.*`, and sockets by state.
    pub(crate) fn counters(&self, side: Side) -> Result<Counters, Error> {
        self.within(side, || {
            let mut counters = Counters::new();
            for file in ["netstat", "snmp"] {
                let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
                parse_pairs(&text, &mut counters);
            }
            if let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack") {
                parse_conntrack(&text, &mut counters);
            }
            let states = sockdiag::counts()?;
            counters.extend(states.into_iter().map(|(state, n)| (format!("sockets.{state}"), n as u64)));
            Ok(counters)
        })
    }
}

/// Counters by name.
pub(crate) type Counters = BTreeMap<String, u64>;

const CONNTRACK_SEED: u64 = 77;

fn baseline(side: Side) -> kit::Result<()> {
    for (key, value) in BASELINE {
        // A knob that this kernel lacks can't decide anything here.
        if sysctl::read(key).is_ok() {
            sysctl::write(key, value)?;
        }
    }
    // Only what the host allows its users can be a namespace's default, and the lab may not change that: where it is not,
    // the workers ask for it, which they are allowed to.
    match sysctl::write(CONGESTION_KEY, CONGESTION) {
        Ok(()) | Err(kit::Error::Unsupported(_)) => {}
        Err(error) => return Err(error),
    }
    match side {
        Side::Client => sysctl::write("net.ipv4.ip_local_port_range", BASELINE_PORTS),
        Side::Server => Ok(()),
    }
}

/// The loads as they are before the remedy and after it.
fn loads(scenario: &Scenario) -> Vec<Load> {
    let cured = scenario.load.iter().filter_map(|load| scenario.cured_load(&load.name).ok());
    scenario.load.iter().cloned().chain(cured).collect()
}

fn client_addresses(scenario: &Scenario) -> BTreeSet<IpAddr> {
    loads(scenario).into_iter().flat_map(|load| load.from).chain([CLIENT.into(), CLIENT6.into()]).collect()
}

fn server_addresses(scenario: &Scenario) -> BTreeSet<IpAddr> {
    let to = loads(scenario).into_iter().flat_map(|load| load.to).map(|to| to.ip());
    to.chain([SERVER.into(), SERVER6.into()]).collect()
}

fn addresses(link: &str, addresses: BTreeSet<IpAddr>) -> kit::Result<()> {
    // The first address of a network is the one that an unbound socket gets: `10.77.0.1` comes before the others.
    for address in addresses {
        let prefix = match address {
            // Foreign clients: the server gets no route to them.
            IpAddr::V4(v4) if v4.octets()[1] == 78 => 32,
            IpAddr::V4(_) => 16,
            IpAddr::V6(_) => 64,
        };
        match rtnl::add_address(link, address, prefix) {
            // A kernel without IPv6 still runs what needs none.
            Err(kit::Error::Unsupported(_)) if address.is_ipv6() => {}
            other => other?,
        }
    }
    Ok(())
}

/// `Group: name name …` and `Group: value value …`.
fn parse_pairs(text: &str, counters: &mut Counters) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((group, names)) = names.split_once(':') else { continue };
        let values = values.split_ascii_whitespace().skip(1);
        for (name, value) in names.split_ascii_whitespace().zip(values) {
            if let Ok(value) = value.parse() {
                counters.insert(format!("{group}.{name}"), value);
            }
        }
    }
}

/// A line of names, then a line of hexadecimal values per CPU.
fn parse_conntrack(text: &str, counters: &mut Counters) {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    for line in lines {
        for (name, value) in names.iter().zip(line.split_ascii_whitespace()) {
            // `entries` is the whole table's, repeated for each CPU.
            if let (Ok(value), true) = (u64::from_str_radix(value, 16), *name != "entries") {
                *counters.entry(format!("conntrack.{name}")).or_default() += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let mut counters = Counters::new();
        parse_pairs("TcpExt: A B\nTcpExt: 1 2\nIpExt: C\nIpExt: 3\n", &mut counters);
        parse_conntrack("entries drop\n00000010 0000000a\n00000010 00000001\n", &mut counters);
        let expected = [("IpExt.C", 3), ("TcpExt.A", 1), ("TcpExt.B", 2), ("conntrack.drop", 11)];
        assert_eq!(counters.iter().map(|(k, v)| (&**k, *v)).collect::<Vec<_>>(), expected);
    }
}

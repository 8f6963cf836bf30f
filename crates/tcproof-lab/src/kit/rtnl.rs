//! rtnetlink: links, addresses, routes and a rate limit, all in the calling thread's namespace.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType};

use super::netlink::{Family, Message, Netlink};
use super::{Error, Result, netns};

const RTM_NEWQDISC: u16 = 36;
const TC_H_ROOT: u32 = 0xffff_ffff;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// The index of a link.
///
/// # Errors
/// ENODEV if there is none of this name.
pub fn index(link: &str) -> Result<u32> {
    let operation = || format!("index of link {link}");
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(rustix::net::AddressFamily::INET, SocketType::DGRAM, flags, None)
        .and_then(|socket| rustix::net::netdevice::name_to_index(socket, link))
        .map_err(|errno| Error::kernel(operation(), errno))
}

/// Sets a link up. It may take a while until it sends: [`wait_until_running`].
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn up(link: &str) -> Result<()> {
    set_up(link, true)
}

/// Waits until a link that is up really sends. A veth end that came up before its peer drops all packets, silently, until
/// the kernel's linkwatch worker gets to it; that worker runs at once for a few links and once a second for many.
///
/// # Errors
/// ETIMEDOUT if it does not come to that: mostly because the other end is down.
pub fn wait_until_running(link: &str, patience: Duration) -> Result<()> {
    let operation = format!("wait for link {link} to run");
    let socket = Netlink::open(Family::Route)?;
    let message = Message::route(&RouteNetlinkMessage::GetLink(named(link)), 0);
    let start = Instant::now();
    loop {
        let mut running = false;
        socket.ask(&operation, &message, |payload| {
            running |= LinkMessage::parse(payload).is_ok_and(|link| {
                // The queue that every link has before it is activated.
                let noop = LinkAttribute::Qdisc("noop".to_owned());
                link.header.flags.contains(LinkFlags::Running) && !link.attributes.contains(&noop)
            });
        })?;
        if running {
            return Ok(());
        }
        if start.elapsed() > patience {
            return Err(Error::kernel(operation, Errno::TIMEDOUT));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sets a link down.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn down(link: &str) -> Result<()> {
    set_up(link, false)
}

/// Makes a veth pair: `here` in this namespace, `there` directly in the namespace of `peer`. Both are down.
///
/// # Errors
/// The kernel's ([`Error::Unsupported`] without veth), or outside the lab.
pub fn veth_pair(here: &str, there: &str, peer: BorrowedFd<'_>) -> Result<()> {
    let mut other = named(there);
    other.attributes.push(LinkAttribute::NetNsFd(peer.as_raw_fd()));
    let mut link = named(here);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    let operation = format!("make veth pair {here} and {there}");
    request(operation, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|e| e.lacking("veth", &[Errno::OPNOTSUPP]))
}

/// How many packets may wait in a device for whoever takes them out: of a TUN device, the process that reads it.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn set_queue_length(link: &str, packets: u32) -> Result<()> {
    let mut message = named(link);
    message.attributes.push(LinkAttribute::TxQueueLen(packets));
    request(format!("set queue of link {link} to {packets} packets"), RouteNetlinkMessage::SetLink(message), 0)
}

/// Deletes a link (of a veth pair: both ends).
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn delete_link(link: &str) -> Result<()> {
    request(format!("delete link {link}"), RouteNetlinkMessage::DelLink(named(link)), 0)
}

/// Sets the MTU of a link.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn set_mtu(link: &str, mtu: u32) -> Result<()> {
    let mut message = named(link);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    request(format!("set MTU {mtu} of link {link}"), RouteNetlinkMessage::SetLink(message), 0)
}

/// Gives a link an address (IPv6 without duplicate address detection: usable at once).
///
/// # Errors
/// The kernel's ([`Error::Unsupported`] without IPv6), or outside the lab.
pub fn add_address(link: &str, address: IpAddr, prefix: u8) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index(link)?;
    // IPv4 reads IFA_LOCAL as the address and IFA_ADDRESS as the peer's: equal on a link that is not point-to-point.
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    let operation = format!("add address {address}/{prefix} to link {link}");
    let added = request(operation, RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL);
    added.map_err(|e| if address.is_ipv6() { e.lacking("IPv6", &[Errno::OPNOTSUPP, Errno::AFNOSUPPORT]) } else { e })
}

/// Routes a prefix via a gateway. Prefix 0 of the unspecified address is the default route.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn add_route(destination: IpAddr, prefix: u8, gateway: IpAddr) -> Result<()> {
    let mut message = route(destination, prefix, RouteType::Unicast);
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    let operation = format!("route {destination}/{prefix} via {gateway}");
    request(operation, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Routes a prefix to nowhere, silently: what is sent there is dropped, and what came from there gets no answer.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn add_blackhole(destination: IpAddr, prefix: u8) -> Result<()> {
    let message = route(destination, prefix, RouteType::BlackHole);
    let operation = format!("route {destination}/{prefix} to a blackhole");
    request(operation, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes every address of a prefix the namespace's own, so that sockets may bind to any of them.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn add_local(destination: IpAddr, prefix: u8) -> Result<()> {
    /// `RT_TABLE_LOCAL`: looked up first.
    const LOCAL_TABLE: u8 = 255;
    let mut message = route(destination, prefix, RouteType::Local);
    message.header.table = LOCAL_TABLE;
    message.header.scope = RouteScope::Host;
    message.attributes.push(RouteAttribute::Oif(index("lo")?));
    let operation = format!("make {destination}/{prefix} local");
    request(operation, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes the route to this prefix from the main table, of whatever kind it is.
///
/// # Errors
/// The kernel's, or outside the lab.
pub fn delete_route(destination: IpAddr, prefix: u8) -> Result<()> {
    let mut message = route(destination, prefix, RouteType::Unspec);
    // A deletion matches every kind and scope that is left open.
    message.header.scope = RouteScope::NoWhere;
    message.header.protocol = RouteProtocol::Unspec;
    request(format!("delete route {destination}/{prefix}"), RouteNetlinkMessage::DelRoute(message), 0)
}

/// Limits what a link sends with a token bucket (tbf): bits per second, burst and queue in bytes.
///
/// # Errors
/// The kernel's ([`Error::Unsupported`] without tbf), or outside the lab.
pub fn limit_rate(link: &str, bits_per_second: u64, burst: u32, queue: u32) -> Result<()> {
    let operation = format!("limit link {link} to {bits_per_second} bit/s");
    netns::require_lab(&operation)?;
    let bytes_per_second = bits_per_second / 8;
    // struct tc_tbf_qopt: two struct tc_ratespec (rate and peak rate, 12 bytes each), limit, buffer, mtu. With the link
    // layer named the kernel computes its rate table itself.
    let mut options = [0_u8; 36];
    options[1] = TC_LINKLAYER_ETHERNET;
    options[8..12].copy_from_slice(&u32::try_from(bytes_per_second).unwrap_or(u32::MAX).to_ne_bytes());
    options[24..28].copy_from_slice(&queue.to_ne_bytes());
    // struct tcmsg: family, index, handle, parent, info.
    let header = [0, index(link)?, 0, TC_H_ROOT, 0].map(u32::to_ne_bytes).concat();
    let message = Message::new(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header).text(TCA_KIND, "tbf").nest(
        TCA_OPTIONS,
        |m| {
            m.attribute(TCA_TBF_PARMS, &options)
                .attribute(TCA_TBF_RATE64, &bytes_per_second.to_ne_bytes())
                .attribute(TCA_TBF_BURST, &burst.to_ne_bytes())
        },
    );
    Netlink::open(Family::Route)?.request(operation, &message).map_err(|e| e.lacking("tbf", &[Errno::NOENT]))
}

fn request(operation: String, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    netns::require_lab(&operation)?;
    Netlink::open(Family::Route)?.request(operation, &Message::route(&message, flags))
}

fn named(link: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(link.to_owned()));
    message
}

fn set_up(link: &str, up: bool) -> Result<()> {
    let mut message = named(link);
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    let operation = format!("set link {link} {}", if up { "up" } else { "down" });
    request(operation, RouteNetlinkMessage::SetLink(message), 0)
}

fn route(destination: IpAddr, prefix: u8, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = kind;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

//! The counters of a network namespace that tell of packets, and what each means.

use alloc::format;

use super::{Count, Stage};
use crate::interval::{Interval, NetnsChange};
use crate::reading::{Absent, Reading};

/// A counter of a namespace and what its growth means.
pub(super) struct Known {
    counter: &'static str,
    means: &'static str,
    limit: Option<&'static str>,
    advice: Option<&'static str>,
    /// Whether the packet was lost.
    lost: bool,
}

const fn lost(counter: &'static str, means: &'static str) -> Known {
    Known { counter, means, limit: None, advice: None, lost: true }
}

const fn late(counter: &'static str, means: &'static str) -> Known {
    Known { lost: false, ..lost(counter, means) }
}

impl Known {
    const fn limit(self, slug: &'static str) -> Self {
        Self { limit: Some(slug), ..self }
    }

    const fn advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    fn count(&self, place: &str, value: u64) -> Count {
        let Self { counter, means, limit, advice, .. } = *self;
        Count { counter: counter.into(), place: place.into(), value, means, advice, limit }
    }
}

const NO_ROUTE: &str = "ip route get ADDRESS shows what the routing table makes of it";

pub(super) const IP_PASSED: &[&str] =
    &["Ip.InReceives", "Ip.InDelivers", "Ip.OutRequests", "Ip6.InReceives", "Ip6.InDelivers", "Ip6.OutRequests"];

pub(super) const IP: &[Known] = &[
    lost("Ip.InHdrErrors", "a bad header, or its time to live ran out"),
    lost("Ip.InAddrErrors", "not for this host, and not to be forwarded"),
    lost("Ip.InUnknownProtos", "a protocol that nobody here speaks"),
    lost("Ip.InDiscards", "received well and dropped all the same, mostly for want of memory"),
    lost("Ip.OutDiscards", "to be sent and dropped: no memory, or no neighbour's address"),
    lost("Ip.OutNoRoutes", "no route to where it should go").advice(NO_ROUTE),
    lost("Ip.ReasmFails", "fragments that did not become a packet: one was lost, or there was no room")
        .advice("a smaller MTU or MSS at the sender needs no fragments"),
    lost("Ip.FragFails", "too big for the next link, and not to be fragmented").limit("path-mtu"),
    lost("IpExt.InNoRoutes", "received, and no route for it").advice(NO_ROUTE),
    lost("IpExt.InTruncatedPkts", "shorter than its header says"),
    lost("IpExt.InCsumErrors", "a wrong checksum"),
    lost("TcpExt.IPReversePathFilter", "came in where the answer would not leave (rp_filter)").advice(
        "ip route get SOURCE names the device of the way back; where routes are asymmetric, rp_filter 2 (loose)",
    ),
    lost("Ip6.InHdrErrors", "a bad header, or its hop limit ran out"),
    lost("Ip6.InTooBigErrors", "too big for the next link").limit("path-mtu"),
    lost("Ip6.InNoRoutes", "received, and no route for it").advice(NO_ROUTE),
    lost("Ip6.InAddrErrors", "not for this host, and not to be forwarded"),
    lost("Ip6.InUnknownProtos", "a protocol that nobody here speaks"),
    lost("Ip6.InTruncatedPkts", "shorter than its header says"),
    lost("Ip6.InDiscards", "received well and dropped all the same, mostly for want of memory"),
    lost("Ip6.OutDiscards", "to be sent and dropped: no memory, or no neighbour's address"),
    lost("Ip6.OutNoRoutes", "no route to where it should go").advice(NO_ROUTE),
    lost("Ip6.ReasmFails", "fragments that did not become a packet: one was lost, or there was no room"),
    lost("Ip6.FragFails", "too big for the next link").limit("path-mtu"),
];

pub(super) const TCP: &[Known] = &[
    lost("Tcp.InErrs", "a wrong checksum, or too short"),
    lost("TcpExt.TCPBacklogDrop", "the socket was busy and its backlog full").limit("socket-backlog"),
    lost("TcpExt.PAWSEstab", "an old timestamp on an open connection").limit("timestamps"),
    lost("TcpExt.PAWSActive", "an old timestamp in the answer to a SYN").limit("timestamps"),
    lost("TcpExt.PAWSTimewait", "an old timestamp to a connection in TIME_WAIT").limit("timestamps"),
    lost("TcpExt.PAWSOldAck", "an acknowledgement with an old timestamp").limit("timestamps"),
    lost("TcpExt.TCPMinTTLDrop", "a time to live below the socket's IP_MINTTL"),
    lost("TcpExt.PFMemallocDrop", "memory was short, and the socket does not help to free any"),
    lost("TcpExt.TCPMD5NotFound", "no MD5 signature where one is expected"),
    lost("TcpExt.TCPMD5Unexpected", "an MD5 signature where none is expected"),
    lost("TcpExt.TCPMD5Failure", "a wrong MD5 signature"),
    lost("TcpExt.TCPAOBad", "a wrong authentication option"),
    lost("TcpExt.TCPAORequired", "no authentication option where one is expected"),
    late("TcpExt.TCPDeferAcceptDrop", "a last ACK without data, for which TCP_DEFER_ACCEPT waits; no harm"),
    late("Tcp.RetransSegs", "segments sent again: lost on the way, or before it, or only late").limit("loss"),
    late("TcpExt.SyncookiesSent", "SYNs answered with a cookie").limit("syn-queue"),
];

pub(super) const BUFFERS: &[Known] = &[
    lost("TcpExt.TCPRcvQDrop", "no room in the receive queue"),
    lost("TcpExt.TCPZeroWindowDrop", "sent into a window of zero"),
    lost("TcpExt.TCPOFODrop", "out of order, and no room to keep it"),
    late("TcpExt.RcvPruned", "the buffer was full even after tidying up"),
    late("TcpExt.OfoPruned", "out-of-order segments given up to make room").limit("tcp-memory"),
    late("TcpExt.PruneCalled", "the buffer was tidied up for want of room"),
    late("TcpExt.TCPRcvCollapsed", "segments packed closer for want of room"),
    late("TcpExt.TCPMemoryPressures", "TCP's memory became scarce").limit("tcp-memory"),
    late("TcpExt.TCPWqueueTooBig", "a send queue grew beyond its limit"),
];

pub(super) const APPLICATION: &[Known] = &[
    lost("TcpExt.ListenOverflows", "a finished handshake found the accept queue full").limit("accept-queue"),
    late("TcpExt.TCPToZeroWindowAdv", "a window closed because nobody read").limit("receive-window"),
];

/// The counters of every namespace. A counter that a kernel does not have is no news; a file that can't be read is.
pub(super) fn counted(
    interval: &Interval,
    name: &'static str,
    title: &'static str,
    passed: &[&str],
    known: &[Known],
) -> Stage {
    let mut stage = Stage::new(name, title);
    for ns in interval.namespaces() {
        for counter in passed {
            if let Reading::Present(grew @ 1..) = ns.counter(counter) {
                stage.passes(counter, ns.name(), grew);
            }
        }
        for known in known {
            add(&mut stage, &ns, known);
        }
    }
    stage
}

fn add(stage: &mut Stage, ns: &NetnsChange<'_>, known: &Known) {
    match ns.counter(known.counter) {
        Reading::Present(grew) if known.lost => stage.drops(known.count(ns.name(), grew)),
        Reading::Present(grew) => stage.delays(known.count(ns.name(), grew)),
        Reading::Absent(Absent::NotInKernel { .. }) => {}
        Reading::Absent(why @ Absent::Restarted { .. }) => stage.missing(known.counter, &why),
        Reading::Absent(why) => stage.missing(format!("counters of {}", ns.name()), &why),
    }
}

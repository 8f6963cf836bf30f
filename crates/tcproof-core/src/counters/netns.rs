//! Of a network namespace: /proc/net/snmp, sockstat, MPTcpExt, connection tracking.

use super::{Counter, Kind, Scope};
use crate::version::Version;

/// What those of IP, ICMP, UDP and TCP have in common.
const SNMP: Counter = Counter::of("/proc/net/snmp", Kind::Counter, Scope::Namespace);

/// What those of MPTCP have in common; a kernel built without it has none of them.
const MPTCP: Counter = Counter::of("/proc/net/netstat", Kind::Counter, Scope::Namespace);

/// What those of sockstat have in common.
const SOCKSTAT: Counter = Counter::of("/proc/net/sockstat", Kind::Gauge, Scope::Namespace);

/// What those of connection tracking have in common; `conntrack -S` shows most of them too.
const CONNTRACK: Counter = Counter::of("/proc/net/stat/nf_conntrack", Kind::Counter, Scope::Namespace);

pub(super) static COUNTERS: &[Counter] = &[
    Counter {
        name: "Tcp.ActiveOpens",
        is_ordinary: true,
        counts: "Calls of connect(2) that sent a SYN.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_connect"],
        proves: "How fast connections are opened from here.",
        does_not_prove: "That they succeeded.",
        ..SNMP
    },
    Counter {
        name: "Tcp.PassiveOpens",
        is_ordinary: true,
        counts: "Sockets made for connections from outside, when the last ACK of the handshake comes.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_create_openreq_child"],
        proves: "How fast handshakes from outside are finished; those dropped right after are in it.",
        does_not_prove: "How fast the application accepts.",
        ..SNMP
    },
    Counter {
        name: "Tcp.AttemptFails",
        counts: "Connections that ended before they were open: in SYN_SENT or SYN_RECV, and half-open requests ended \
                 by a RST or a SYN that does not fit.",
        counted_by: &["net/ipv4/tcp.c:tcp_done", "net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "Connections from here were refused or timed out, or handshakes from outside were aborted.",
        does_not_prove: "A full queue.",
        ..SNMP
    },
    Counter {
        name: "Tcp.EstabResets",
        counts: "Connections that went from ESTABLISHED or CLOSE_WAIT to CLOSE at once, without the usual closing.",
        counted_by: &["net/ipv4/tcp.c:tcp_set_state"],
        proves: "Connections are reset, by either side.",
        does_not_prove: "Who sent the RST: compare with OutRsts.",
        ..SNMP
    },
    Counter {
        name: "Tcp.CurrEstab",
        kind: Kind::Gauge,
        counts: "Connections in ESTABLISHED or CLOSE_WAIT now.",
        counted_by: &["net/ipv4/tcp.c:tcp_set_state", "net/mptcp/protocol.c:mptcp_set_state"],
        proves: "How many connections are open.",
        does_not_prove: "How many do anything: those that the peer has closed are in it.",
        ..SNMP
    },
    Counter {
        name: "Tcp.InSegs",
        is_ordinary: true,
        counts: "Segments received, also those with errors.",
        counted_by: &["net/ipv4/tcp_ipv4.c:tcp_v4_rcv", "net/ipv6/tcp_ipv6.c:tcp_v6_rcv"],
        proves: "The traffic, as what to compare others with.",
        does_not_prove: "Packets on the wire: segments that were merged on reception (GRO) count once.",
        ..SNMP
    },
    Counter {
        name: "Tcp.InErrs",
        counts: "Segments received with an error: a wrong checksum, too short, or a SYN that does not fit.",
        counted_by: &[
            "net/ipv4/tcp_input.c:tcp_rcv_established",
            "net/ipv4/tcp_input.c:tcp_validate_incoming",
            "net/ipv4/tcp_ipv4.c:tcp_add_backlog",
            "net/ipv4/tcp_ipv4.c:tcp_v4_do_rcv",
            "net/ipv4/tcp_ipv4.c:tcp_v4_rcv",
            "net/ipv6/tcp_ipv6.c:tcp_v6_do_rcv",
            "net/ipv6/tcp_ipv6.c:tcp_v6_rcv",
        ],
        proves: "Segments arrive damaged.",
        does_not_prove: "Where they are damaged: card, offload or path.",
        ..SNMP
    },
    Counter {
        name: "Tcp.InCsumErrors",
        counts: "Segments received with a wrong checksum; InErrs counts them too.",
        counted_by: &[
            "net/ipv4/tcp_input.c:tcp_rcv_established",
            "net/ipv4/tcp_ipv4.c:tcp_add_backlog",
            "net/ipv4/tcp_ipv4.c:tcp_v4_do_rcv",
            "net/ipv4/tcp_ipv4.c:tcp_v4_rcv",
            "net/ipv6/tcp_ipv6.c:tcp_v6_do_rcv",
            "net/ipv6/tcp_ipv6.c:tcp_v6_rcv",
        ],
        proves: "Card, offload or path damage segments.",
        does_not_prove: "Which of the three.",
        ..SNMP
    },
    Counter {
        name: "Tcp.OutSegs",
        is_ordinary: true,
        counts: "Segments sent: data for the first time, pure ACKs, RSTs and SYN-ACKs; not data sent again.",
        counted_by: &[
            "net/ipv4/tcp_ipv4.c:tcp_v4_send_ack",
            "net/ipv4/tcp_ipv4.c:tcp_v4_send_reset",
            "net/ipv4/tcp_output.c:__tcp_transmit_skb",
            "net/ipv4/tcp_output.c:tcp_make_synack",
            "net/ipv6/tcp_ipv6.c:tcp_v6_send_response",
        ],
        proves: "The traffic, as what to compare RetransSegs with.",
        does_not_prove: "Packets on the wire: those sent again come on top.",
        ..SNMP
    },
    Counter {
        name: "Tcp.RetransSegs",
        counts: "Segments sent again, SYNs and SYN-ACKs among them.",
        counted_by: &[
            "net/ipv4/tcp_output.c:__tcp_retransmit_skb",
            "net/ipv4/tcp_output.c:tcp_rtx_synack",
            "net/mptcp/protocol.c:__mptcp_retrans",
        ],
        proves: "Segments are sent again.",
        does_not_prove: "Loss in the network: drops in a queue of this host, or a peer that ignores SYNs, do the same.",
        per_socket: "TCP_INFO tcpi_total_retrans, tcpi_bytes_retrans",
        ..SNMP
    },
    Counter {
        name: "Tcp.OutRsts",
        counts: "RSTs sent.",
        counted_by: &[
            "net/ipv4/tcp_ipv4.c:tcp_v4_send_reset",
            "net/ipv4/tcp_output.c:tcp_send_active_reset",
            "net/ipv6/tcp_ipv6.c:tcp_v6_send_response",
        ],
        proves: "Connections to a closed port are refused, or connections are aborted from here.",
        does_not_prove: "A fault: programs that close with data unread do this as well.",
        ..SNMP
    },
    Counter {
        name: "Ip.FragFails",
        counts: "IPv4 packets that did not fit the next link and may not be fragmented, or could not be.",
        counted_by: &[
            "net/ipv4/ip_forward.c:ip_forward",
            "net/ipv4/ip_output.c:ip_fragment",
            "net/ipv4/ip_output.c:ip_do_fragment",
        ],
        proves: "Packets, sent or forwarded, are larger than a link takes.",
        does_not_prove: "A black hole: the sender is told by ICMP.",
        ..SNMP
    },
    Counter {
        name: "Ip.OutNoRoutes",
        counts: "IPv4 packets of this host for which there was no route, SYN-ACKs among them.",
        counted_by: &[
            "net/ipv4/ip_output.c:__ip_queue_xmit",
            "net/ipv4/inet_connection_sock.c:inet_csk_route_req",
            "net/ipv4/tcp_ipv4.c:tcp_v4_connect",
        ],
        proves: "There is no route to some address; SYNs from there stay unanswered.",
        does_not_prove: "Loss on the way: these packets never left.",
        ..SNMP
    },
    Counter {
        name: "Icmp.InDestUnreachs",
        is_ordinary: true,
        counts: "ICMP messages \"destination unreachable\" received, \"fragmentation needed\" among them.",
        counted_by: &["net/ipv4/icmp.c:icmp_unreach"],
        proves: "Path MTU discovery gets its messages, or hosts or ports are unreachable.",
        does_not_prove: "Which of the two.",
        ..SNMP
    },
    Counter {
        name: "Icmp6.InPktTooBigs",
        place: "/proc/net/snmp6",
        counts: "ICMPv6 messages \"packet too big\" received.",
        counted_by: &["net/ipv6/icmp.c:icmpv6_rcv"],
        proves: "A link on the way takes smaller packets, and says so.",
        does_not_prove: "A black hole: there, no such message comes.",
        ..SNMP
    },
    Counter {
        name: "Udp.SndbufErrors",
        counts: "UDP datagrams not sent for want of buffer or because a queue below dropped them.",
        counted_by: &["net/ipv4/udp.c:udp_send_skb"],
        proves: "Local drops of UDP that the program may not be told of; a full neighbour table ends here too.",
        does_not_prove: "A limit of TCP.",
        ..SNMP
    },
    Counter {
        name: "MPTcpExt.MPCapableSYNRX",
        since: Version(5, 7),
        is_ordinary: true,
        counts: "SYNs with MP_CAPABLE that came to an MPTCP listener.",
        counted_by: &["net/mptcp/subflow.c:subflow_check_req"],
        proves: "Clients ask this server for MPTCP.",
        does_not_prove: "That they got it; nor SYNs to a listener that is plain TCP.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCapableSYNTX",
        since: Version(5, 13),
        is_ordinary: true,
        counts: "Connections from here that ask for MPTCP.",
        counted_by: &["net/mptcp/protocol.c:mptcp_connect"],
        proves: "Programs here use MPTCP sockets.",
        does_not_prove: "That the other side agreed.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCapableFallbackSYNACK",
        since: Version(5, 7),
        counts: "Connections from here that went on as plain TCP because the SYN-ACK had no MP_CAPABLE.",
        counted_by: &["net/mptcp/subflow.c:subflow_finish_connect"],
        proves: "The server, or something on the way, does not take part in MPTCP.",
        does_not_prove: "Which of the two.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCapableFallbackACK",
        since: Version(5, 7),
        counts: "Connections to here that went on as plain TCP because the last ACK had no MP_CAPABLE.",
        counted_by: &["net/mptcp/subflow.c:subflow_syn_recv_sock"],
        proves: "Something between client and server removes the option after the first SYN, or the client gave up on \
                 it.",
        does_not_prove: "That the server is set up wrongly.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCapableSYNTXDrop",
        since: Version(6, 12),
        counts: "Connections from here that sent a plain SYN after those with MP_CAPABLE went unanswered.",
        counted_by: &["net/mptcp/ctrl.c:mptcp_active_detect_blackhole"],
        proves: "Something on the way swallows SYNs with MPTCP.",
        does_not_prove: "That the server is down: the plain SYN may have been answered.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCapableSYNTXDisabled",
        since: Version(6, 12),
        counts: "Connections from here that did not ask for MPTCP because it was switched off for a while after such \
                 drops (net.mptcp.blackhole_timeout).",
        counted_by: &["net/mptcp/protocol.c:mptcp_connect"],
        proves: "A black hole for MPTCP was found a while ago.",
        does_not_prove: "That net.mptcp.enabled is 0: then no MPTCP socket can be made.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPJoinSynRx",
        since: Version(5, 7),
        is_ordinary: true,
        counts: "SYNs with MP_JOIN received: further subflows of a connection.",
        counted_by: &["net/mptcp/subflow.c:subflow_check_req"],
        proves: "Clients open further subflows to this host.",
        does_not_prove: "That they were let in.",
        ..MPTCP
    },
    Counter {
        name: "MPTcpExt.MPCurrEstab",
        kind: Kind::Gauge,
        since: Version(6, 8),
        counts: "MPTCP connections that are open now.",
        counted_by: &["net/mptcp/protocol.c:mptcp_set_state"],
        proves: "How many connections use MPTCP.",
        does_not_prove: "That they have several subflows. Where both ends are in one namespace, each counts.",
        ..MPTCP
    },
    Counter {
        name: "sockstat.sockets.used",
        counts: "Sockets of this namespace, of all families.",
        counted_by: &["net/socket.c:socket_seq_show"],
        proves: "A trend: sockets that are never closed.",
        does_not_prove: "How many of them are TCP.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.TCP.inuse",
        counts: "IPv4 TCP sockets of this namespace that are in its tables: connections and listeners, without \
                 TIME_WAIT. Those of IPv6 are in sockstat6.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "How many there are to look at.",
        does_not_prove: "How many a program holds: those not accepted yet and orphans are in it.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.TCP.orphan",
        scope: Scope::Global,
        counts: "TCP sockets that no process holds any more and that still have something to send, on the whole \
                 machine.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "How close tcp_max_orphans is.",
        does_not_prove: "Whose they are: every namespace shows the same number.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.TCP.tw",
        counts: "Small sockets of this namespace in TIME_WAIT, and those in FIN_WAIT2 that no process holds.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "How close tcp_max_tw_buckets is.",
        does_not_prove: "The number in TIME_WAIT: FIN_WAIT2 is in it, which is why tcp_fin_timeout seems to change it.",
        per_socket: "ss -tn state time-wait, ss -tn state fin-wait-2",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.TCP.alloc",
        scope: Scope::Global,
        counts: "TCP sockets of the whole machine that take memory, in whatever state.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "Sockets that leak: what it has more than inuse of all namespaces is closed and not freed, or bound \
                 and idle.",
        does_not_prove: "The use of one namespace: every one shows the same number.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.TCP.mem",
        scope: Scope::Global,
        counts: "Memory charged to TCP on the whole machine, in pages. It lags: each CPU keeps up to 256 pages \
                 (net.core.mem_pcpu_rsv) to itself.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "How close the three numbers of tcp_mem are.",
        does_not_prove: "Bytes; the use of one namespace; or that of a control group.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.FRAG.inuse",
        counts: "IPv4 packets of this namespace that wait for the rest of their fragments.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "Fragments arrive, and their rest does not come at once.",
        does_not_prove: "Anything about TCP, which avoids fragments.",
        ..SOCKSTAT
    },
    Counter {
        name: "sockstat.FRAG.memory",
        counts: "Bytes that those fragments take.",
        counted_by: &["net/ipv4/proc.c:sockstat_seq_show"],
        proves: "How close net.ipv4.ipfrag_high_thresh is.",
        does_not_prove: "Anything about TCP, which avoids fragments.",
        ..SOCKSTAT
    },
    Counter {
        name: "nf_conntrack.entries",
        kind: Kind::Gauge,
        counts: "Connections tracked in this namespace now. Every row repeats the same number: it is not to be summed.",
        counted_by: &["net/netfilter/nf_conntrack_standalone.c:nf_conntrack_count"],
        proves: "How close nf_conntrack_max is, which each namespace has to itself.",
        does_not_prove: "The number of the whole host.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.clashres",
        since: Version(5, 10),
        counts: "Packets of a flow that another packet had entered at the same moment, told apart without loss; mostly \
                 DNS over UDP.",
        counted_by: &[
            "net/netfilter/nf_conntrack_core.c:__nf_ct_resolve_clash",
            "net/netfilter/nf_conntrack_core.c:nf_ct_resolve_clash_harder",
        ],
        proves: "Several packets of new flows are handled at once.",
        does_not_prove: "Loss.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.found",
        counts: "Times that NAT tried an address and port that another connection had already.",
        counted_by: &["net/netfilter/nf_conntrack_core.c:nf_conntrack_tuple_taken"],
        proves: "NAT has to search for a free port.",
        does_not_prove: "That it found none.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.new",
        counts: "Nothing: the kernel writes 0 here and keeps the column for programs that read the file.",
        counted_by: &["net/netfilter/nf_conntrack_standalone.c:ct_cpu_seq_show"],
        proves: "Nothing.",
        does_not_prove: "That connections are not made.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.ignore",
        counts: "Nothing: the kernel writes 0 here and keeps the column for programs that read the file.",
        counted_by: &["net/netfilter/nf_conntrack_standalone.c:ct_cpu_seq_show"],
        proves: "Nothing.",
        does_not_prove: "That connections are not left untracked.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.delete",
        counts: "Nothing: the kernel writes 0 here and keeps the column for programs that read the file.",
        counted_by: &["net/netfilter/nf_conntrack_standalone.c:ct_cpu_seq_show"],
        proves: "Nothing.",
        does_not_prove: "That connections are not ended.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.invalid",
        counts: "Packets that belong to no connection and cannot begin one.",
        counted_by: &["net/netfilter/nf_conntrack_core.c:nf_conntrack_in"],
        proves: "Sequence numbers, flags or checksums do not fit what was tracked. Rules often drop such packets.",
        does_not_prove: "A full table.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.chaintoolong",
        since: Version(5, 15),
        counts: "New connections that were refused because their chain in the hash table had more than 50 to 80 \
                 entries. /proc calls the column chainlength.",
        counted_by: &[
            "net/netfilter/nf_conntrack_core.c:__nf_conntrack_confirm",
            "net/netfilter/nf_conntrack_core.c:nf_conntrack_hash_check_insert",
        ],
        proves: "The hash is too small for its entries, or somebody aims at one chain.",
        does_not_prove: "A full table.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.insert",
        counts: "Entries that a program put in by netlink.",
        counted_by: &["net/netfilter/nf_conntrack_core.c:nf_conntrack_hash_check_insert"],
        proves: "A program such as conntrackd inserts entries.",
        does_not_prove: "How fast connections are opened.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.insert_failed",
        counts: "New connections whose entry could not be put in: another packet of the same flow was first, the entry \
                 was dying, or its chain was too long.",
        counted_by: &[
            "net/netfilter/nf_conntrack_core.c:__nf_conntrack_confirm",
            "net/netfilter/nf_conntrack_core.c:__nf_ct_resolve_clash",
        ],
        proves: "A first packet was dropped.",
        does_not_prove: "A full table.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.drop",
        counts: "Packets that connection tracking dropped: no entry could be made (table full, or no memory), a clash \
                 that could not be settled, an entry that was dying, or a verdict of the protocol.",
        counted_by: &[
            "net/netfilter/nf_conntrack_core.c:nf_conntrack_in",
            "net/netfilter/nf_conntrack_core.c:nf_ct_resolve_clash",
            "net/netfilter/nf_conntrack_core.c:__nf_conntrack_confirm",
        ],
        proves: "The table was full, only where entries stand at nf_conntrack_max.",
        does_not_prove: "A full table, where entries stand far below it.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.early_drop",
        counts: "Entries that had not seen an answer and were thrown out for a new one.",
        counted_by: &["net/netfilter/nf_conntrack_core.c:early_drop"],
        proves: "The table is at its limit already.",
        does_not_prove: "That the new connection was dropped: it took the place.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.icmp_error",
        counts: "ICMP messages that could not be tracked: damaged, or about a connection that is not known.",
        counted_by: &["net/netfilter/nf_conntrack_core.c:nf_conntrack_handle_icmp"],
        proves: "Such messages come.",
        does_not_prove: "A full table.",
        ..CONNTRACK
    },
    Counter {
        name: "nf_conntrack.search_restart",
        counts: "Searches in the hash table that had to begin again because an entry moved.",
        counted_by: &[
            "net/netfilter/nf_conntrack_core.c:____nf_conntrack_find",
            "net/netfilter/nf_conntrack_core.c:nf_conntrack_tuple_taken",
        ],
        proves: "The hash is being resized, or entries come and go fast.",
        does_not_prove: "Loss.",
        ..CONNTRACK
    },
    Counter {
        name: "net.netfilter.nf_conntrack_count",
        place: "/proc/sys/net/netfilter/nf_conntrack_count",
        kind: Kind::Gauge,
        counts: "Connections tracked in this namespace now.",
        counted_by: &["net/netfilter/nf_conntrack_standalone.c:nf_conntrack_count"],
        proves: "How close nf_conntrack_max is.",
        does_not_prove: "The number of the whole host; nor that the entries are of use: most may be closed \
                         connections.",
        ..CONNTRACK
    },
];

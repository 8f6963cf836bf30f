//! Of one socket, as sock_diag and TCP_INFO tell it.

use super::{Counter, Kind, Scope};
use crate::version::Version;

/// What those of the message itself have in common.
const DIAG: Counter = Counter::of("sock_diag INET_DIAG", Kind::Gauge, Scope::Socket);

/// What those of its memory have in common.
const MEMORY: Counter = Counter::of("sock_diag INET_DIAG_SKMEMINFO", Kind::Gauge, Scope::Socket);

/// What those of `struct tcp_info` have in common; `ss -ti` shows most of them.
const INFO: Counter = Counter::of("getsockopt(2) TCP_INFO, sock_diag INET_DIAG_INFO", Kind::Gauge, Scope::Socket);

pub(super) static COUNTERS: &[Counter] = &[
    Counter {
        name: "sock_diag.idiag_rqueue",
        counts: "Of a listener: connections that wait for accept(2), at most its backlog + 1. Of a connection: bytes \
                 received and not read; the end (FIN) counts one.",
        counted_by: &["net/ipv4/tcp_diag.c:tcp_diag_get_info"],
        proves: "Of a listener, above idiag_wqueue: its accept queue is full now. Of a connection: the application \
                 does not read.",
        does_not_prove: "Half-open requests of a listener: they are listed by themselves.",
        per_socket: "ss: Recv-Q",
        ..DIAG
    },
    Counter {
        name: "sock_diag.idiag_wqueue",
        counts: "Of a listener: its backlog, which is what listen(2) asked for, cut to somaxconn at that time. Of a \
                 connection: bytes written and not acknowledged, sent or not.",
        counted_by: &["net/ipv4/tcp_diag.c:tcp_diag_get_info"],
        proves: "Of a listener: what the server really got. Of a connection: how much waits.",
        does_not_prove: "Of a connection: that the network is slow; unsent bytes are in it (tcpi_notsent_bytes).",
        per_socket: "ss: Send-Q",
        ..DIAG
    },
    Counter {
        name: "sock_diag.idiag_inode",
        counts: "The inode of the file that holds the socket; 0 when none does: not accepted yet, or given up by its \
                 process.",
        counted_by: &["net/ipv4/inet_diag.c:inet_diag_msg_attrs_fill"],
        proves: "In CLOSE_WAIT: with 0 the accept queue stands still, else the application forgets to close.",
        does_not_prove: "Which process: several may hold the same file.",
        per_socket: "ss -e: ino",
        ..DIAG
    },
    Counter {
        name: "sock_diag.idiag_timer",
        counts: "The timer that runs: 1 retransmission (also of a half-open request), 2 keepalive or the end of an \
                 orphan in FIN_WAIT2, 3 TIME_WAIT, 4 window probes. idiag_expires is what is left of it, idiag_retrans \
                 how often it expired in a row.",
        counted_by: &["net/ipv4/inet_diag.c:inet_sk_diag_fill"],
        proves: "What the socket waits for.",
        does_not_prove: "That something is wrong: a timer runs for every segment in flight.",
        per_socket: "ss -o: timer",
        ..DIAG
    },
    Counter {
        name: "sock_diag.SYN_RECV",
        counts: "Half-open requests, listed by themselves with the address of their listener.",
        counted_by: &["net/ipv4/inet_diag.c:inet_diag_dump_icsk"],
        proves: "The length of a listener's SYN queue: their number for its port.",
        does_not_prove: "How many of them are new and how many had their SYN-ACK repeated: idiag_retrans of each says \
                         so.",
        per_socket: "ss -tn state syn-recv",
        ..DIAG
    },
    Counter {
        name: "proc_net_tcp.st",
        place: "/proc/net/tcp and /proc/net/tcp6",
        counts: "The state of each socket, as a hexadecimal number from 01 to 0B; a half-open request is shown as 03. \
                 The queue of a listener is in rx_queue, its backlog nowhere.",
        counted_by: &["net/ipv4/tcp_ipv4.c:tcp4_seq_show", "net/ipv6/tcp_ipv6.c:tcp6_seq_show"],
        proves: "How many sockets are in which state, when tcp and tcp6 are both read: a server for IPv4 and IPv6 is \
                 only in tcp6.",
        does_not_prove: "A limit. It is also slow where there are many: sock_diag is not.",
        ..DIAG
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_RMEM_ALLOC",
        counts: "Memory of what was received and not read, with its overhead.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "At SK_MEMINFO_RCVBUF or above: the receive buffer is full.",
        does_not_prove: "Bytes of data: a small packet may take 2 KiB and more.",
        per_socket: "ss -m: r",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_RCVBUF",
        counts: "The size of the receive buffer.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "How far the kernel has let it grow, or what SO_RCVBUF fixed it at.",
        does_not_prove: "Which of the two: a fixed one is not marked.",
        per_socket: "ss -m: rb",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_WMEM_ALLOC",
        counts: "Memory of packets handed to the queueing discipline or the card.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "Packets wait in this host.",
        does_not_prove: "That they wait for the network: TCP itself keeps this short.",
        per_socket: "ss -m: t",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_SNDBUF",
        counts: "The size of the send buffer.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "How far the kernel has let it grow, or what SO_SNDBUF fixed it at.",
        does_not_prove: "Which of the two: a fixed one is not marked.",
        per_socket: "ss -m: tb",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_FWD_ALLOC",
        counts: "Memory that was charged in advance.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "Nothing by itself: it is a reserve of the accounting.",
        does_not_prove: "A leak.",
        per_socket: "ss -m: f",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_WMEM_QUEUED",
        counts: "Memory of what was written and not acknowledged, with its overhead.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "At SK_MEMINFO_SNDBUF or above: the send buffer holds the writer back.",
        does_not_prove: "That a larger buffer would help: the peer or the path may be what is slow.",
        per_socket: "ss -m: w",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_OPTMEM",
        counts: "Memory of options and filters of the socket.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "How close net.core.optmem_max is.",
        does_not_prove: "Anything about its data.",
        per_socket: "ss -m: o",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_BACKLOG",
        counts: "Bytes of packets that came while a system call held the socket.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "System calls hold the socket while packets come.",
        does_not_prove: "A listen backlog: the two only share a word.",
        per_socket: "ss -m: bl",
        ..MEMORY
    },
    Counter {
        name: "sock_diag.SK_MEMINFO_DROPS",
        kind: Kind::Counter,
        since: Version(4, 7),
        counts: "Of a listener: handshakes that it dropped, and some more that came too late or were put off. Of \
                 another socket: segments it dropped, duplicates and probes of a closed window among them. It has 32 \
                 bits.",
        counted_by: &["net/core/sock.c:sk_get_meminfo"],
        proves: "Of a listener: it is this one that drops.",
        does_not_prove: "Of another socket: lost data. Most of what it counts had been received before.",
        per_socket: "ss -m: d",
        ..MEMORY
    },
    Counter {
        name: "tcp_info.tcpi_unacked",
        counts: "Segments in flight. Of a listener: connections that wait for accept(2).",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "At tcpi_snd_cwnd: the congestion window is used up.",
        does_not_prove: "Bytes: with tcpi_snd_mss it is an upper bound.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_sacked",
        counts: "Segments in flight that the peer has reported as received. Of a listener: its backlog.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "There is a hole before them.",
        does_not_prove: "Loss: reordering looks the same.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_busy_time",
        since: Version(4, 10),
        counts: "Microseconds with something to send or unacknowledged.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "What to compare the two below with.",
        does_not_prove: "That the network was busy.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rwnd_limited",
        since: Version(4, 10),
        counts: "Microseconds in which the peer's window held the sender back.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The peer's buffer or its application is what limits.",
        does_not_prove: "A limit of this host.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_sndbuf_limited",
        since: Version(4, 10),
        counts: "Microseconds in which the send buffer held the sender back; it runs only where a writer was found \
                 waiting when the queue ran empty and the congestion window was not full.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Where it is a large part of tcpi_busy_time: the send buffer limits.",
        does_not_prove: "That the send buffer does not limit: it often stays 0 with a small fixed SO_SNDBUF. Look at \
                         SK_MEMINFO_WMEM_QUEUED.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_snd_wnd",
        since: Version(5, 4),
        counts: "The window that the peer offers, in bytes.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "At or below what is in flight: the peer limits.",
        does_not_prove: "Why it is small: its buffer, its application, or an old peer without window scaling.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rcv_wnd",
        since: Version(6, 2),
        counts: "The window that this host offers, in bytes.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "0: a local reader has stopped.",
        does_not_prove: "That a larger buffer would help.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rcv_space",
        counts: "What the application reads in a round trip, in bytes: by it the kernel lets the buffer grow.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "How far the tuning of the receive buffer has come.",
        does_not_prove: "The size of the buffer or the window.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rcv_ssthresh",
        counts: "The largest window that the kernel would offer now, in bytes.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Low, with a large buffer: packets are small for the memory they take, or memory is short.",
        does_not_prove: "The window that is offered: tcpi_rcv_wnd.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rcv_rtt",
        counts: "The round trip as the receiver sees it, in microseconds.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "How fast the receive buffer is tuned.",
        does_not_prove: "The round trip of the sender: with a slow sender it is far too long.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_snd_cwnd",
        counts: "The congestion window, in segments.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "As much as may be in flight; with tcpi_unacked at it and more to send, it limits.",
        does_not_prove: "Why it is small: loss, a short life, or a restart after idling.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_snd_ssthresh",
        counts: "Where slow start ends, in segments; very large when nothing has been lost yet.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Loss or a mark made the window smaller at some time, where it is small.",
        does_not_prove: "Loss in this window: it may be minutes old.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_ca_state",
        counts: "0 open, 1 disorder, 2 a reduction by ECN or the like, 3 recovery, 4 after a timeout.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "What the sender is doing about loss now.",
        does_not_prove: "Loss: 1 and 3 may come of reordering.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_retransmits",
        counts: "Timeouts in a row without an answer.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Nothing comes back on this connection.",
        does_not_prove: "Loss: the peer may be gone.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_total_retrans",
        kind: Kind::Counter,
        counts: "Segments sent again in the life of the connection.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "How much is sent again, compared with tcpi_data_segs_out.",
        does_not_prove: "Loss in the network: a queue of this host may have dropped them, or they were not lost at \
                         all.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_bytes_retrans",
        kind: Kind::Counter,
        since: Version(4, 19),
        counts: "Bytes sent again in the life of the connection.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "How much is sent again, compared with the bytes sent.",
        does_not_prove: "Loss in the network: a queue of this host may have dropped them, or they were not lost at \
                         all.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_lost",
        counts: "Segments that are taken for lost now.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "A loss is being repaired.",
        does_not_prove: "That they are lost: later acknowledgements may show that they were not.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_dsack_dups",
        kind: Kind::Counter,
        since: Version(4, 19),
        counts: "Reports of the peer that a segment came twice.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Retransmissions were needless.",
        does_not_prove: "Loss.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_data_segs_out",
        kind: Kind::Counter,
        since: Version(4, 6),
        counts: "Segments with data sent, those sent again among them.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "What to compare tcpi_total_retrans with.",
        does_not_prove: "Packets on the wire: a large one is cut by the card, but counted in segments here.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_total_rto",
        kind: Kind::Counter,
        since: Version(6, 7),
        counts: "Timeouts in the life of the connection. tcpi_total_rto_recoveries counts the times that it recovered, \
                 tcpi_total_rto_time the milliseconds spent.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The connection stood still for whole timeouts.",
        does_not_prove: "Where the loss was.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_delivery_rate",
        since: Version(4, 9),
        counts: "The rate at which data was delivered of late, in bytes a second. With tcpi_delivery_rate_app_limited \
                 the sender had no more to send.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "What the path carried.",
        does_not_prove: "With app_limited: what it could carry, or that the application is slow; a small send buffer \
                         sets it too.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_pacing_rate",
        counts: "The rate at which segments are let go, in bytes a second.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "How fast the sender would go at most.",
        does_not_prove: "What is delivered.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_notsent_bytes",
        since: Version(4, 6),
        counts: "Bytes written and not sent yet.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "More than 0 for long: window or congestion window hold the sender back, not the application.",
        does_not_prove: "Which of the two.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rtt",
        counts: "The round trip, smoothed, in microseconds.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "With tcpi_min_rtt: how long packets wait in queues on the way.",
        does_not_prove: "The distance: delayed ACKs are in it.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_min_rtt",
        since: Version(4, 6),
        counts: "The shortest round trip of late, in microseconds.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The round trip without queues, once there was a moment without.",
        does_not_prove: "That there is no queue in it: where one never empties, its wait is part of every round trip.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_pmtu",
        counts: "The size of packets that the path takes, as far as is known.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "It fell below what the device has: some link told so.",
        does_not_prove: "That such packets arrive: a black hole does not tell.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_snd_mss",
        counts: "Bytes of data in a full segment.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "With repeated timeouts of full segments: a path that takes less than it says.",
        does_not_prove: "The size that the peer uses.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_reord_seen",
        kind: Kind::Counter,
        since: Version(4, 19),
        counts: "Times that reordering was noticed.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The way to the peer reorders.",
        does_not_prove: "Loss.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_rcv_ooopack",
        kind: Kind::Counter,
        since: Version(5, 4),
        counts: "Segments received out of order.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The way from the peer reorders or loses.",
        does_not_prove: "Loss, by itself.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_options",
        counts: "What was agreed at the start, as bits: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN, 16 ECN seen, 32 \
                 data in the SYN acknowledged.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Window scaling or SACK is missing: a cookie was answered without timestamps, something on the way \
                 removes them, or one side does not want them.",
        does_not_prove: "Which of these.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_probes",
        counts: "Probes of a closed window or of an idle peer without an answer yet.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "The peer has closed its window or is gone.",
        does_not_prove: "Which of the two: idiag_timer says what is probed.",
        ..INFO
    },
    Counter {
        name: "tcp_info.tcpi_backoff",
        counts: "How often the timeout was doubled.",
        counted_by: &["net/ipv4/tcp.c:tcp_get_info"],
        proves: "Nothing came back for several timeouts.",
        does_not_prove: "Loss: the peer may be gone.",
        ..INFO
    },
];

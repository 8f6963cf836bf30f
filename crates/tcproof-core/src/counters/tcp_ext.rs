//! The TcpExt group of /proc/net/netstat.

use super::{Counter, Kind, Scope};
use crate::version::Version;

/// What they have in common.
const TCP_EXT: Counter = Counter::of("/proc/net/netstat", Kind::Counter, Scope::Namespace);

pub(super) static COUNTERS: &[Counter] = &[
    Counter {
        name: "TcpExt.ListenOverflows",
        counts: "Times that an accept queue was found full: when a SYN came, when the last ACK of a handshake came \
                 (also one that answers a SYN cookie or a repeated SYN-ACK), or in a BPF program that makes cookies.",
        counted_by: &[
            "net/ipv4/tcp_input.c:tcp_conn_request",
            "net/ipv4/tcp_input.c:tcp_get_syncookie_mss",
            "net/ipv4/tcp_ipv4.c:tcp_v4_syn_recv_sock",
            "net/ipv6/tcp_ipv6.c:tcp_v6_syn_recv_sock",
        ],
        proves: "Some listener of this namespace has a full accept queue: one connection more than its backlog.",
        does_not_prove: "Which listener it is; whether the application is slow, its backlog short, or somaxconn cuts \
                         it; how many clients failed: each repeated SYN or ACK of the same client counts again.",
        per_socket: "ss -ltm: Recv-Q above Send-Q, and the growth of d<N> in skmem of that listener",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.ListenDrops",
        counts: "Every handshake that a listener dropped: accept queue full (each ListenOverflows counts here too), \
                 SYN queue full with cookies off, no memory, no way back to the client, no socket for the connection, \
                 and half-open requests that an ICMP error ended.",
        counted_by: &["include/net/tcp.h:tcp_listendrop"],
        proves: "Some listener dropped a SYN or a last ACK.",
        does_not_prove: "That a queue overflowed: a missing return route alone makes it grow with both queues empty. \
                         Only what is left after ListenOverflows and TCPReqQFullDrop has other causes.",
        per_socket: "SK_MEMINFO_DROPS of the listener, which counts each of them and some more",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPReqQFullDrop",
        counts: "SYNs dropped because the listener had as many half-open requests as its backlog, with tcp_syncookies \
                 = 0.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_syn_flood_action"],
        proves: "The SYN queue of some listener was full while cookies were off.",
        does_not_prove: "That tcp_max_syn_backlog was reached: a drop by that rule counts in ListenDrops only. Nor an \
                         attack.",
        per_socket: "ss -tn state syn-recv: the number for that port stands at backlog + 1",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPReqQFullDoCookies",
        counts: "Decisions to answer a SYN with a cookie: the SYN queue was full with tcp_syncookies = 1, or any SYN \
                 with tcp_syncookies = 2.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_syn_flood_action"],
        proves: "The SYN queue of some listener was full, where tcp_syncookies is 1.",
        does_not_prove: "That a cookie was sent: a full accept queue may still drop that SYN. Nor an attack: a short \
                         backlog is enough.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.SyncookiesSent",
        counts: "SYN-ACKs with a cookie that were made.",
        counted_by: &["include/net/tcp.h:cookie_init_sequence"],
        proves: "Cookies are in use now: half-open requests no longer fit a SYN queue.",
        does_not_prove: "An attack: many honest clients at once look the same. Compare with SyncookiesRecv.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.SyncookiesRecv",
        counts: "ACKs that carry a valid cookie.",
        counted_by: &["net/ipv4/syncookies.c:cookie_tcp_check", "net/ipv6/syncookies.c:cookie_tcp_check"],
        proves: "Real clients finished their handshakes by cookies. Where it grows almost as fast as SyncookiesSent, \
                 the load is honest.",
        does_not_prove: "That the connections were accepted: the accept queue may have been full, which \
                         ListenOverflows counts.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.SyncookiesFailed",
        counts: "ACKs without a valid cookie to a listener that lately overflowed.",
        counted_by: &["net/ipv4/syncookies.c:cookie_tcp_check", "net/ipv6/syncookies.c:cookie_tcp_check"],
        proves: "ACKs came that belong to no handshake: late, stray or forged.",
        does_not_prove: "A full SYN queue, by itself.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPDeferAcceptDrop",
        counts: "Last ACKs without data that were ignored because the listener has TCP_DEFER_ACCEPT set.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "Requests stay half-open because the server waits for data, as it asked for.",
        does_not_prove: "A flood of SYNs, or a full queue: nothing is lost.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.EmbryonicRsts",
        is_ordinary: true,
        counts: "Half-open requests ended by a RST or by a SYN that does not fit; also a full accept queue with \
                 tcp_abort_on_overflow = 1.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "Handshakes were given up before their last ACK.",
        does_not_prove: "A full accept queue, unless tcp_abort_on_overflow is 1.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMigrateReqFailure",
        since: Version(5, 14),
        counts: "Requests and connections that could not be moved from a closing listener to another of its \
                 SO_REUSEPORT group.",
        counted_by: &[
            "net/core/sock_reuseport.c:reuseport_migrate_sock",
            "net/ipv4/inet_connection_sock.c:inet_csk_complete_hashdance",
            "net/ipv4/inet_connection_sock.c:inet_csk_listen_stop",
            "net/ipv4/inet_connection_sock.c:inet_reqsk_clone",
            "net/ipv4/inet_connection_sock.c:reqsk_timer_handler",
            "net/ipv4/tcp_minisocks.c:tcp_check_req",
        ],
        proves: "A restart of one server of the group loses half-open or waiting connections.",
        does_not_prove: "A full queue at any other time.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenListenOverflow",
        counts: "Fast Open SYNs whose data was not taken because as many Fast Open connections were pending as \
                 TCP_FASTOPEN allows.",
        counted_by: &["net/ipv4/tcp_fastopen.c:tcp_fastopen_queue_check"],
        proves: "A listener's Fast Open queue is full: those clients go through an ordinary handshake.",
        does_not_prove: "A full accept queue.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenCookieReqd",
        counts: "SYNs that ask for a Fast Open cookie; counted also where the server side of tcp_fastopen is off.",
        counted_by: &["net/ipv4/tcp_fastopen.c:tcp_try_fastopen"],
        proves: "Clients try Fast Open.",
        does_not_prove: "That a cookie was given.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenPassive",
        is_ordinary: true,
        counts: "Connections opened here by a Fast Open SYN with a valid cookie, or without one where none is asked \
                 for.",
        counted_by: &["net/ipv4/tcp_fastopen.c:tcp_try_fastopen"],
        proves: "Fast Open works on this server.",
        does_not_prove: "That every client uses it.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenPassiveFail",
        counts: "Fast Open SYNs whose cookie was wrong, or whose socket could not be made.",
        counted_by: &["net/ipv4/tcp_fastopen.c:tcp_try_fastopen"],
        proves: "Servers behind one address have different keys, or there was no room for the socket.",
        does_not_prove: "A full Fast Open queue, which TCPFastOpenListenOverflow counts.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenActive",
        is_ordinary: true,
        counts: "Connections from here whose data in the SYN was acknowledged.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_rcv_fastopen_synack"],
        proves: "Fast Open works towards some server.",
        does_not_prove: "That all servers take it.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenActiveFail",
        counts: "Connections from here whose data in the SYN was not acknowledged, or that timed out again and again \
                 after Fast Open.",
        counted_by: &[
            "net/ipv4/tcp_fastopen.c:tcp_fastopen_active_detect_blackhole",
            "net/ipv4/tcp_input.c:tcp_rcv_fastopen_synack",
        ],
        proves: "A server or something on the way does not take data in a SYN.",
        does_not_prove: "Loss in general: the data is sent again.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastOpenBlackhole",
        counts: "Times that Fast Open from here was switched off for a while because connections with it hung.",
        counted_by: &["net/ipv4/tcp_fastopen.c:tcp_fastopen_active_disable"],
        proves: "Something on the way swallows Fast Open packets.",
        does_not_prove: "Which destination: it is switched off for the whole namespace.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TW",
        is_ordinary: true,
        counts: "TIME_WAIT and orphaned FIN_WAIT2 sockets that began with more than four seconds to live.",
        counted_by: &["net/ipv4/inet_timewait_sock.c:__inet_twsk_schedule"],
        proves: "How fast connections are closed from this side first.",
        does_not_prove: "That ports run out: on a server TIME_WAIT takes none of its own.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TWKilled",
        counts: "TIME_WAIT and orphaned FIN_WAIT2 sockets that began with four seconds to live or less.",
        counted_by: &["net/ipv4/inet_timewait_sock.c:__inet_twsk_schedule"],
        proves: "Short timeouts are in use, such as a tiny tcp_fin_timeout.",
        does_not_prove: "That sockets were killed for want of room, as the name suggests: TCPTimeWaitOverflow counts \
                         that.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TWRecycled",
        is_ordinary: true,
        counts: "Outgoing connections that took over the addresses and ports of a connection in TIME_WAIT.",
        counted_by: &[
            "net/ipv4/inet_hashtables.c:__inet_check_established",
            "net/ipv6/inet6_hashtables.c:__inet6_check_established",
        ],
        proves: "tcp_tw_reuse works on this host.",
        does_not_prove: "tcp_tw_recycle, which is gone since 4.12.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPTimeWaitOverflow",
        counts: "Connections that were closed without TIME_WAIT: tcp_max_tw_buckets was reached, or there was no \
                 memory.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_time_wait"],
        proves: "tcp_max_tw_buckets was reached, where sockstat TCP.tw stands at it.",
        does_not_prove: "That anything failed: only protection against late segments is lost. With few TIME_WAIT \
                         sockets it was memory.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PAWSEstab",
        counts: "Segments of an open connection or to a half-open request that were dropped for an older timestamp \
                 than seen before. Before 6.16 also those to TIME_WAIT.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_validate_incoming", "net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "A peer's timestamps went back: several machines behind one address, or strong reordering.",
        does_not_prove: "Loss: a few are normal where packets overtake each other.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PAWSActive",
        counts: "SYN-ACKs turned away because they echo a timestamp that was not sent.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_rcv_synsent_state_process"],
        proves: "An old SYN-ACK came, or something on the way rewrites timestamps.",
        does_not_prove: "Trouble with clients behind NAT: it counts only for connections from here.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PAWSTimewait",
        since: Version(6, 16),
        counts: "Segments to a TIME_WAIT socket that were dropped for an older timestamp than seen before.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_timewait_state_process"],
        proves: "A peer, or several behind one address, reuses addresses and ports with an older timestamp.",
        does_not_prove: "A limit of this host.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PAWSOldAck",
        since: Version(6, 14),
        counts: "Pure ACKs with an older timestamp that came out of order; they are dropped without an answer.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_validate_incoming"],
        proves: "ACKs overtake each other on the way here.",
        does_not_prove: "A fault: the newer ACK already said all.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TSEcrRejected",
        since: Version(6, 15),
        counts: "Last ACKs of a handshake that echo a timestamp outside of what was sent.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "Something on the way mangles timestamps during the handshake.",
        does_not_prove: "A full queue.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.BeyondWindow",
        since: Version(6, 17),
        counts: "Segments that reach beyond the receive window.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_validate_incoming"],
        proves: "A peer sends more than it was offered, or the window shrank (tcp_shrink_window).",
        does_not_prove: "A full receive buffer, by itself.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PruneCalled",
        counts: "Times that a receive buffer was over its limit, or memory for it was refused, and the kernel began to \
                 make room.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_prune_queue"],
        proves: "The receive memory of some socket is short.",
        does_not_prove: "That data was dropped: making room may have been enough.",
        per_socket: "ss -tm: r at or above rb",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.RcvPruned",
        counts: "Times that making room in a receive buffer was not enough: the incoming segment is dropped.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_prune_queue"],
        proves: "Data within the offered window was dropped on arrival.",
        does_not_prove: "Whose memory was short: the socket's buffer, its control group's, or TCP's as a whole.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.OfoPruned",
        counts: "Times that segments which had come out of order were thrown away to make room.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_prune_ofo_queue"],
        proves: "Memory is short while there are holes in the data. The peer must send again what it already was told \
                 had arrived.",
        does_not_prove: "Loss in the network, though it causes retransmissions.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPRcvCollapsed",
        counts: "Buffers merged into fewer to save memory.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_collapse_one"],
        proves: "Received packets are small for the memory they take, and the application reads slowly.",
        does_not_prove: "Drops.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPRcvQDrop",
        counts: "Segments in order that were dropped because no memory was granted while others still waited to be \
                 read.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_data_queue", "net/ipv4/tcp_input.c:tcp_send_rcvq"],
        proves: "The receiver dropped data for want of memory.",
        does_not_prove: "Whose memory was short: the socket's buffer, its control group's, or TCP's as a whole.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPZeroWindowDrop",
        counts: "Segments with data that came while the window was closed, probes of the closed window among them.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_data_queue"],
        proves: "A peer sends although the local reader has stopped.",
        does_not_prove: "Loss of data that had been acknowledged, or a fault of the kernel.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPOFODrop",
        counts: "Segments out of order that were dropped because no memory was granted.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_data_queue_ofo"],
        proves: "Receive memory is short during loss or reordering.",
        does_not_prove: "Loss in the network: the segment had arrived.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPOFOQueue",
        is_ordinary: true,
        counts: "Segments that came out of order and were kept.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_data_queue_ofo"],
        proves: "Segments before them were lost or overtaken.",
        does_not_prove: "Loss: reordering alone makes it grow.",
        per_socket: "TCP_INFO tcpi_rcv_ooopack (5.4)",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFromZeroWindowAdv",
        counts: "Times that a closed window was offered again.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_select_window"],
        proves: "A local reader had stopped and went on.",
        does_not_prove: "How long it had stopped.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPToZeroWindowAdv",
        counts: "Times that the offered window went to zero.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_select_window"],
        proves: "A local application does not read fast enough, or memory is short. A full receive buffer shows here, \
                 not as drops.",
        does_not_prove: "That a larger tcp_rmem would help: it only makes the queue longer.",
        per_socket: "ss: a large Recv-Q; TCP_INFO tcpi_rcv_wnd = 0 (6.2)",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPWantZeroWindowAdv",
        counts: "Times that the window should have been zero, but what had been offered may not be taken back.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_select_window"],
        proves: "The same as TCPToZeroWindowAdv, a step earlier.",
        does_not_prove: "That the sender had to stop.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPWinProbe",
        counts: "Probes of a window that the peer has closed.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_send_probe0", "net/ipv4/tcp_output.c:tcp_send_window_probe"],
        proves: "A peer does not read, or its memory is short.",
        does_not_prove: "A limit of this host.",
        per_socket: "ss: timer:(persist,…); TCP_INFO tcpi_probes",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPBacklogDrop",
        counts: "Segments dropped because too many waited for the socket while a system call held it: more than twice \
                 the receive buffer, half the send buffer and 64 KiB (less in kernels before 6.1).",
        counted_by: &["net/ipv4/tcp_ipv4.c:tcp_add_backlog"],
        proves: "System calls hold the socket too long, its SO_RCVBUF is tiny, or one fast flow meets a busy CPU.",
        does_not_prove: "A full listen backlog: the two only share a word.",
        per_socket: "SK_MEMINFO_BACKLOG and SK_MEMINFO_DROPS",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.PFMemallocDrop",
        counts: "Packets in memory from the emergency reserve that were dropped, since their socket does not help to \
                 free memory.",
        counted_by: &["net/core/filter.c:sk_filter_trim_cap", "net/ipv4/tcp_ipv4.c:tcp_add_backlog"],
        proves: "The whole machine is out of memory.",
        does_not_prove: "A limit of TCP.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMemoryPressures",
        counts: "Times that TCP as a whole came under memory pressure, counted in the namespace of the socket that \
                 crossed the line.",
        counted_by: &["net/ipv4/tcp.c:tcp_enter_memory_pressure"],
        proves: "sockstat TCP.mem exceeded the second number of tcp_mem at least once, in whichever namespace.",
        does_not_prove: "Drops; or pressure within a control group, which is not counted here.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMemoryPressuresChrono",
        counts: "Milliseconds that TCP as a whole spent under memory pressure, counted when it ends, in the namespace \
                 of the socket that noticed.",
        counted_by: &["net/ipv4/tcp.c:tcp_leave_memory_pressure"],
        proves: "How long the pressure lasted.",
        does_not_prove: "That there is none now: time still running is not in it.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortOnMemory",
        counts: "Connections without a process that were reset because there were too many orphans, or because TCP had \
                 used more than the third number of tcp_mem.",
        counted_by: &["net/ipv4/tcp.c:__tcp_close", "net/ipv4/tcp_timer.c:tcp_out_of_resources"],
        proves: "One of the two limits was reached. The kernel log says which: \"too many orphaned sockets\" or \"out \
                 of memory -- consider tuning tcp_mem\".",
        does_not_prove: "Which of the two, without the log or sockstat.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPWqueueTooBig",
        counts: "Segments that were not split because the send queue was far beyond the send buffer, a guard against \
                 crafted SACKs.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_fragment"],
        proves: "A tiny SO_SNDBUF with a large queue, or an attack.",
        does_not_prove: "That the send buffer limits the throughput.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSpuriousRtxHostQueues",
        counts: "Retransmissions and tail probes that were put off because the original still stood in a queue of this \
                 host.",
        counted_by: &["net/ipv4/tcp_output.c:skb_still_in_host_queue"],
        proves: "Packets wait longer in the local queueing discipline or card than the retransmission timer does.",
        does_not_prove: "Loss in the network.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortOnData",
        counts: "Connections that were reset by close(2) with SO_LINGER at zero, or because data came after they were \
                 closed.",
        counted_by: &["net/ipv4/tcp.c:__tcp_close", "net/ipv4/tcp_input.c:tcp_rcv_state_process"],
        proves: "The application asks for a reset on close, or closes before the peer has sent all.",
        does_not_prove: "A limit.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortOnClose",
        counts: "Connections that were closed with data left unread, which sends a RST.",
        counted_by: &["net/ipv4/tcp.c:__tcp_close"],
        proves: "The application closes before it has read all that came.",
        does_not_prove: "A limit.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortOnTimeout",
        counts: "Connections given up because nothing answered: data, SYN, keepalive, window probes or \
                 TCP_USER_TIMEOUT.",
        counted_by: &["net/ipv4/tcp_timer.c:tcp_write_err"],
        proves: "A peer or the way to it is dead.",
        does_not_prove: "Congestion, which would still let something through.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortOnLinger",
        counts: "Connections that were reset on close in FIN_WAIT2 because TCP_LINGER2 is negative.",
        counted_by: &["net/ipv4/tcp.c:__tcp_close"],
        proves: "The application asked for it.",
        does_not_prove: "That tcp_fin_timeout is too short.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPAbortFailed",
        counts: "RSTs that could not be sent for want of memory.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_send_active_reset"],
        proves: "Memory is short.",
        does_not_prove: "That the connection stayed: it is closed here, only the peer does not know.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSynRetrans",
        counts: "SYNs and SYN-ACKs that were sent again.",
        counted_by: &["net/ipv4/tcp_output.c:__tcp_retransmit_skb", "net/ipv4/tcp_output.c:tcp_rtx_synack"],
        proves: "Handshakes stay unanswered: towards a server its queues or the way there; on a server the last ACK \
                 was lost, or its own accept queue is full.",
        does_not_prove: "Whether the network lost them or the other side dropped them.",
        per_socket: "ss -to state syn-sent: the retransmissions behind the timer",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPTimeouts",
        counts: "Retransmission timers that expired, and those of SYN-ACKs too.",
        counted_by: &["net/ipv4/tcp_timer.c:tcp_retransmit_timer", "net/ipv4/tcp_timer.c:tcp_syn_ack_timeout"],
        proves: "Nothing came back in time.",
        does_not_prove: "That open connections timed out: unanswered SYN-ACKs alone make it grow.",
        per_socket: "TCP_INFO tcpi_total_rto (6.7), tcpi_backoff",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPLostRetransmit",
        counts: "Retransmissions that were lost again.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_mark_skb_lost"],
        proves: "Loss is heavy, or a policer drops all above its rate.",
        does_not_prove: "Where it is lost.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPFastRetrans",
        counts: "Segments sent again before a timer expired.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_xmit_retransmit_queue"],
        proves: "Acknowledgements told of a loss (SACK, RACK).",
        does_not_prove: "A timeout; nor that the segment was really lost: reordering may look so.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSlowStartRetrans",
        counts: "Segments sent again after the retransmission timer had expired.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_xmit_retransmit_queue"],
        proves: "Timeouts happen on open connections.",
        does_not_prove: "That each of these segments had been lost: after a timeout all are taken for lost.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPLossProbes",
        counts: "Tail loss probes: the last segment sent once more, or a new one, because no acknowledgement came.",
        counted_by: &["net/ipv4/tcp_output.c:tcp_send_loss_probe"],
        proves: "The end of a burst stayed unacknowledged for about two round trips.",
        does_not_prove: "Loss: a delayed ACK is enough.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPLossProbeRecovery",
        counts: "Tail loss probes that repaired a loss.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_process_tlp_ack"],
        proves: "The last segments of bursts get lost.",
        does_not_prove: "How many were lost: only those that a probe repaired are counted.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSpuriousRTOs",
        counts: "Timeouts that proved needless: the original had arrived (F-RTO).",
        counted_by: &["net/ipv4/tcp_input.c:tcp_try_undo_loss"],
        proves: "The delay jumps; nothing was lost.",
        does_not_prove: "All needless timeouts: only those that F-RTO recognised.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPDSACKRecv",
        counts: "Reports by peers that a segment came twice.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_check_dsack"],
        proves: "Retransmissions from here were needless, because of delay, reordering or lost ACKs; tail probes cause \
                 some too.",
        does_not_prove: "Loss.",
        per_socket: "TCP_INFO tcpi_dsack_dups (4.19)",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSACKReorder",
        counts: "Times that reordering was noticed through SACK.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_check_sack_reordering"],
        proves: "The way to the peer reorders packets.",
        does_not_prove: "Loss.",
        per_socket: "TCP_INFO tcpi_reord_seen (4.19)",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSACKReneging",
        counts: "Times that a peer was found to have dropped what it had reported as received.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_timeout_mark_lost"],
        proves: "The peer's memory is short (its OfoPruned).",
        does_not_prove: "Loss on the way.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPRetransFail",
        counts: "Retransmissions that this host could not send.",
        counted_by: &["net/ipv4/tcp_output.c:__tcp_retransmit_skb"],
        proves: "Memory, the route or the local queueing discipline refused them.",
        does_not_prove: "Loss in the network.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMTUPFail",
        counts: "Probes of a larger packet size that were lost.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_mtup_probe_failed"],
        proves: "The path takes smaller packets than the probe, or the probe was lost for another reason.",
        does_not_prove: "A black hole: connections go on with the smaller size.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMTUPSuccess",
        is_ordinary: true,
        counts: "Probes of a larger packet size that were acknowledged.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_mtup_probe_success"],
        proves: "Path MTU probing (tcp_mtu_probing) works.",
        does_not_prove: "That it was needed.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TcpTimeoutRehash",
        since: Version(5, 6),
        counts: "Times that a connection was given another flow hash after a timeout, so that it may take another \
                 path.",
        counted_by: &["net/ipv4/tcp_timer.c:tcp_write_timeout"],
        proves: "Connections look for another path after timeouts.",
        does_not_prove: "That another path exists, or was taken.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPKeepAlive",
        counts: "Keepalive probes sent.",
        counted_by: &["net/ipv4/tcp_timer.c:tcp_keepalive_timer"],
        proves: "Sockets with SO_KEEPALIVE are idle.",
        does_not_prove: "That a peer is dead: an answered probe counts as well.",
        per_socket: "ss -o: timer:(keepalive,…)",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.DelayedACKLost",
        is_ordinary: true,
        counts: "Segments that repeat what had been received already.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_data_queue", "net/ipv4/tcp_input.c:tcp_send_dupack"],
        proves: "The peer retransmits needlessly: an ACK from here was late or got lost.",
        does_not_prove: "That a delayed ACK was lost, as the name says: a duplicate by the network counts as well.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPACKSkippedSynRecv",
        counts: "Answers to a repeated or ill-fitting segment in SYN_RECV that were left out, to not answer too often.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_check_req"],
        proves: "A client repeats its SYN or sends outside of the window within half a second (tcp_invalid_ratelimit).",
        does_not_prove: "An attack, or a full queue.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPACKSkippedPAWS",
        counts: "Answers to segments with an old timestamp that were left out, to not answer too often.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_validate_incoming"],
        proves: "Segments with old timestamps come in quick succession.",
        does_not_prove: "How many came: PAWSEstab counts those.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPACKSkippedTimeWait",
        counts: "Answers to segments in TIME_WAIT that were left out, to not answer too often.",
        counted_by: &["net/ipv4/tcp_minisocks.c:tcp_timewait_state_process"],
        proves: "Peers use addresses and ports again while they are still in TIME_WAIT here.",
        does_not_prove: "That a connection failed for it: a newer SYN is let through.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPChallengeACK",
        counts: "ACKs sent to ask whether a RST, a SYN or an ACK that does not quite fit was meant (RFC 5961).",
        counted_by: &["net/ipv4/tcp_input.c:tcp_send_challenge_ack"],
        proves: "Segments came that would have ended a connection if they were genuine: a client that forgot its \
                 connection, or a forger.",
        does_not_prove: "An attack.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPSYNChallenge",
        counts: "SYNs on an open connection, answered with an ACK instead of a reset.",
        counted_by: &["net/ipv4/tcp_input.c:tcp_validate_incoming"],
        proves: "A client was restarted, or a NAT reuses its ports, while the old connection is still open here.",
        does_not_prove: "An attack.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPMinTTLDrop",
        counts: "Segments whose time to live, or hop limit, is below what the socket asks for (IP_MINTTL, \
                 IPV6_MINHOPCOUNT).",
        counted_by: &[
            "net/ipv4/tcp_ipv4.c:tcp_v4_err",
            "net/ipv4/tcp_ipv4.c:tcp_v4_rcv",
            "net/ipv6/tcp_ipv6.c:tcp_v6_err",
            "net/ipv6/tcp_ipv6.c:tcp_v6_rcv",
        ],
        proves: "The application protects itself so, and packets came from farther away.",
        does_not_prove: "Loss in the network.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.IPReversePathFilter",
        counts: "IPv4 packets dropped because their answer would leave by another device (rp_filter).",
        counted_by: &["net/ipv4/ip_input.c:ip_rcv_finish_core"],
        proves: "Routing is asymmetric. It looks like lost SYNs.",
        does_not_prove: "A full queue.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.TCPPLBRehash",
        since: Version(6, 2),
        counts: "Times that protective load balancing gave a connection another flow hash, so that it may take another \
                 path.",
        counted_by: &["net/ipv4/tcp_plb.c:tcp_plb_check_rehash"],
        proves: "Connections with tcp_plb_enabled and DCTCP met lasting congestion.",
        does_not_prove: "That another path exists.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.OutOfWindowIcmps",
        counts: "ICMP errors ignored because they quote a segment that is not in flight.",
        counted_by: &[
            "net/ipv4/tcp_ipv4.c:tcp_req_err",
            "net/ipv4/tcp_ipv4.c:tcp_v4_err",
            "net/ipv6/tcp_ipv6.c:tcp_v6_err",
        ],
        proves: "ICMP errors come late, or are forged.",
        does_not_prove: "That path MTU discovery fails: an honest error about a segment in flight is heeded.",
        ..TCP_EXT
    },
    Counter {
        name: "TcpExt.LockDroppedIcmps",
        counts: "ICMP errors not acted on because a system call held the socket. Those about the packet size are kept \
                 for later and not counted.",
        counted_by: &["net/ipv4/tcp_ipv4.c:tcp_v4_err", "net/ipv6/tcp_ipv6.c:tcp_v6_err"],
        proves: "An error such as \"host unreachable\" was missed; the timers notice later.",
        does_not_prove: "A missed change of the path MTU.",
        ..TCP_EXT
    },
];

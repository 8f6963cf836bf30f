//! The states of a TCP socket as Linux has them: how each is entered and left, how long it may last, what it costs.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::version::Version;

/// A state, by the kernel's number (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Open.
    Established = 1,
    /// Asked for from here, not answered yet.
    SynSent = 2,
    /// A full socket whose handshake is not finished: Fast Open, or SYNs that crossed.
    SynRecv = 3,
    /// Closed here, not acknowledged.
    FinWait1 = 4,
    /// Closed here and acknowledged, not closed by the peer.
    FinWait2 = 5,
    /// Closed by both, this side first.
    TimeWait = 6,
    /// No connection.
    Close = 7,
    /// Closed by the peer, not here.
    CloseWait = 8,
    /// Closed by the peer, then here, not acknowledged.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Closed by both at once, not acknowledged.
    Closing = 11,
    /// A half-open request of a listener.
    NewSynRecv = 12,
    /// Bound to a port, and nothing else.
    BoundInactive = 13,
}

/// What is to be said of a state.
#[derive(Debug)]
pub struct About {
    /// The state.
    pub state: State,
    /// Its name in the RFC, and of `ss`, where it has one there: `FIN-WAIT-1`.
    pub name: &'static str,
    /// The kernel's name.
    pub kernel_name: &'static str,
    /// The first kernel that has it.
    pub since: Version,
    /// How it is entered.
    pub entered: &'static str,
    /// How it is left.
    pub left: &'static str,
    /// Which side is in it.
    pub side: &'static str,
    /// How long it may last, and what decides that.
    pub lasts: &'static str,
    /// What takes memory while it lasts. Sizes are those of 6.18 on x86-64.
    pub memory: &'static str,
    /// Knobs that matter to it.
    pub knobs: &'static [&'static str],
    /// Slugs of the limits that matter to it.
    pub limits: &'static [&'static str],
    /// What a large number of them means.
    pub many: &'static str,
    /// What it does not mean.
    pub not: &'static str,
}

impl State {
    /// All of them, in the order in which a connection may pass them.
    pub const ALL: [Self; 13] = [
        Self::Close,
        Self::BoundInactive,
        Self::Listen,
        Self::NewSynRecv,
        Self::SynRecv,
        Self::SynSent,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::Closing,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
    ];

    /// The kernel's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The state of that number.
    pub const fn of_number(number: u8) -> Option<Self> {
        // Not a search: a census asks for every socket.
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            12 => Self::NewSynRecv,
            13 => Self::BoundInactive,
            _ => return None,
        })
    }

    /// The state of that name, as RFC, kernel, `ss` or netstat write it: `TIME-WAIT`, `TCP_TIME_WAIT`, `time_wait`,
    /// `FIN_WAIT1`.
    pub fn by_name(name: &str) -> Option<Self> {
        let letters = |text: &'static str| text.bytes().filter(u8::is_ascii_alphanumeric);
        let wanted = || name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase());
        let found = ABOUT.iter().find(|about| {
            wanted().eq(letters(about.name)) || wanted().eq(letters(about.kernel_name))
                // Without the "TCP_" of the kernel's name.
                || wanted().eq(letters(about.kernel_name).skip(3))
        });
        found.map(|about| about.state)
    }

    /// What is to be said of it.
    pub fn about(self) -> &'static About {
        match self {
            Self::Close => &ABOUT[0],
            Self::BoundInactive => &ABOUT[1],
            Self::Listen => &ABOUT[2],
            Self::NewSynRecv => &ABOUT[3],
            Self::SynRecv => &ABOUT[4],
            Self::SynSent => &ABOUT[5],
            Self::Established => &ABOUT[6],
            Self::FinWait1 => &ABOUT[7],
            Self::FinWait2 => &ABOUT[8],
            Self::Closing => &ABOUT[9],
            Self::TimeWait => &ABOUT[10],
            Self::CloseWait => &ABOUT[11],
            Self::LastAck => &ABOUT[12],
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().name)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.about().name)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::by_name(&String::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("expected a state of TCP"))
    }
}

/// What a full socket takes.
const FULL: &str = "a full socket (2.3 KiB, 2.4 KiB for IPv6) with its buffers";

/// In the order of [`State::ALL`].
static ABOUT: [About; 13] = [
    About {
        state: State::Close,
        name: "CLOSE",
        kernel_name: "TCP_CLOSE",
        since: Version::ALWAYS,
        entered: "socket(2) makes one; every connection ends in it.",
        left: "bind(2), listen(2) or connect(2); or the kernel frees it.",
        side: "both",
        lasts: "As long as a program holds the socket; else no time at all.",
        memory: "a full socket (2.3 KiB, 2.4 KiB for IPv6), without buffers",
        knobs: &[],
        limits: &["file-descriptors"],
        many: "They can't be counted: they are in no table, and sock_diag does not show them. What sockstat TCP.alloc has \
               more than all namespaces have in their tables is an upper bound.",
        not: "A connection: there is none, or none any more.",
    },
    About {
        state: State::BoundInactive,
        name: "BOUND-INACTIVE",
        kernel_name: "TCP_BOUND_INACTIVE",
        since: Version(6, 8),
        entered: "bind(2). The kernel's own state is CLOSE; sock_diag shows these sockets when asked for this one.",
        left: "listen(2), connect(2) or close(2).",
        side: "both",
        lasts: "As long as a program holds the socket.",
        memory: "a full socket (2.3 KiB, 2.4 KiB for IPv6), without buffers",
        knobs: &["net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"],
        limits: &["ephemeral-ports", "file-descriptors"],
        many: "Programs bind before they connect, or keep ports for later. Each takes its port from all destinations, \
               unless IP_BIND_ADDRESS_NO_PORT is set.",
        not: "A leak, while they become connections soon.",
    },
    About {
        state: State::Listen,
        name: "LISTEN",
        kernel_name: "TCP_LISTEN",
        since: Version::ALWAYS,
        entered: "listen(2).",
        left: "close(2) or shutdown(2).",
        side: "the server",
        lasts: "As long as a program holds the socket.",
        memory: "a full socket (2.3 KiB, 2.4 KiB for IPv6); the connections that wait to be accepted have their own",
        knobs: &[
            "net.core.somaxconn",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.tcp_max_syn_backlog",
            "net.ipv4.tcp_abort_on_overflow",
            "net.ipv4.tcp_fastopen",
        ],
        limits: &["accept-queue", "syn-queue", "fastopen-queue"],
        many: "There are many services, or one for each worker or CPU (SO_REUSEPORT).",
        not: "Load: the queues of each say more than their number.",
    },
    About {
        state: State::NewSynRecv,
        name: "NEW-SYN-RECV",
        kernel_name: "TCP_NEW_SYN_RECV",
        since: Version(4, 1),
        entered: "A SYN came to a listener that has room for it, and a SYN-ACK went out. A SYN that is answered with a \
                  cookie leaves nothing here.",
        left: "The last ACK makes it a full socket, which is ESTABLISHED and waits to be accepted. A RST or the last \
               timeout ends it.",
        side: "the server",
        lasts: "About a minute without an answer: tcp_synack_retries (5: 63 s). TCP_DEFER_ACCEPT keeps it until data \
                comes, a full accept queue until there is room.",
        memory: "a request_sock (320 B, 392 B with MPTCP), no buffers",
        knobs: &[
            "net.ipv4.tcp_synack_retries",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.tcp_max_syn_backlog",
            "net.core.somaxconn",
        ],
        limits: &["syn-queue", "accept-queue"],
        many: "Last ACKs do not come: clients are far, SYN-ACKs or ACKs get lost, or somebody sends SYNs from addresses \
               that do not answer. Or they come, and the accept queue is full. ss and netstat call it SYN-RECV.",
        not: "An attack, by itself: SYNs a second times the round trip are always half-open.",
    },
    About {
        state: State::SynRecv,
        name: "SYN-RECV",
        kernel_name: "TCP_SYN_RECV",
        since: Version::ALWAYS,
        entered: "A Fast Open SYN whose data was taken; or a SYN in SYN-SENT, when both sides connect at once.",
        left: "The ACK of the SYN-ACK makes it ESTABLISHED, close(2) FIN-WAIT-1. A RST or the last timeout ends it.",
        side: "the server; both, where SYNs crossed",
        lasts: "About two minutes without an answer: tcp_synack_retries and one more with Fast Open, else \
                tcp_syn_retries.",
        memory: FULL,
        knobs: &["net.ipv4.tcp_fastopen", "net.ipv4.tcp_synack_retries", "net.ipv4.tcp_syn_retries"],
        limits: &["fastopen-queue"],
        many: "Fast Open clients send data and then do not answer. Since 4.1 the ordinary half-open requests are in \
               NEW-SYN-RECV.",
        not: "A full SYN queue: its requests are in NEW-SYN-RECV.",
    },
    About {
        state: State::SynSent,
        name: "SYN-SENT",
        kernel_name: "TCP_SYN_SENT",
        since: Version::ALWAYS,
        entered: "connect(2): a SYN went out.",
        left: "A SYN-ACK makes it ESTABLISHED. A RST (connection refused), an ICMP error or the last timeout ends it.",
        side: "the client",
        lasts: "About two minutes without an answer: tcp_syn_retries (6: 127 s; 131 s since 6.5, with \
                tcp_syn_linear_timeouts). TCP_USER_TIMEOUT or the program may give up before.",
        memory: FULL,
        knobs: &["net.ipv4.tcp_syn_retries", "net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.ip_local_port_range"],
        limits: &["ephemeral-ports", "conntrack-table", "neighbour-table"],
        many: "SYNs stay unanswered: the server's queue is full, or a firewall, connection tracking or a missing route \
               eats the SYN or its answer. Each holds a local port.",
        not: "That this host is at a limit: most often it is the other side or the way there.",
    },
    About {
        state: State::Established,
        name: "ESTABLISHED",
        kernel_name: "TCP_ESTABLISHED",
        since: Version::ALWAYS,
        entered: "The handshake is finished.",
        left: "close(2) or shutdown(2) makes it FIN-WAIT-1, a FIN of the peer CLOSE-WAIT. A RST or the last timeout ends \
               it.",
        side: "both",
        lasts: "As long as both want. Data that nobody acknowledges: tcp_retries2 (15: a quarter of an hour and more). \
                Idle: without end, unless the program sets SO_KEEPALIVE (then two hours and a bit, \
                tcp_keepalive_time).",
        memory: FULL,
        knobs: &[
            "net.ipv4.tcp_retries2",
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_wmem",
            "net.ipv4.tcp_mem",
        ],
        limits: &[
            "accept-queue",
            "receive-window",
            "send-buffer",
            "congestion-window",
            "loss",
            "socket-backlog",
            "tcp-memory",
            "cgroup-memory",
            "file-descriptors",
            "keepalive",
            "path-mtu",
            "timestamps",
        ],
        many: "So many connections are open. Those without an inode wait to be accepted.",
        not: "Load: idle ones count as well, and those whose peer is gone.",
    },
    About {
        state: State::FinWait1,
        name: "FIN-WAIT-1",
        kernel_name: "TCP_FIN_WAIT1",
        since: Version::ALWAYS,
        entered: "close(2) or shutdown(2) on an open connection. The FIN stands behind what is still to be sent: it may \
                  not have left yet.",
        left: "The ACK of the FIN makes it FIN-WAIT-2, a FIN of the peer CLOSING, both at once TIME-WAIT.",
        side: "the one that closes first",
        lasts: "Without an answer: tcp_orphan_retries (0 stands for 8: more than 100 s) once no program holds it, else \
                tcp_retries2. With too many orphans or too little memory it is reset earlier.",
        memory: FULL,
        knobs: &[
            "net.ipv4.tcp_orphan_retries",
            "net.ipv4.tcp_max_orphans",
            "net.ipv4.tcp_retries2",
            "net.ipv4.tcp_mem",
        ],
        limits: &["orphans", "tcp-memory"],
        many: "Peers went away without a word, or do not read what is still to be sent to them.",
        not: "That tcp_fin_timeout is too long: it begins in FIN-WAIT-2.",
    },
    About {
        state: State::FinWait2,
        name: "FIN-WAIT-2",
        kernel_name: "TCP_FIN_WAIT2",
        since: Version::ALWAYS,
        entered: "The peer acknowledged the FIN, and has not closed.",
        left: "Its FIN makes it TIME-WAIT. Data that comes after close(2) is answered with a RST.",
        side: "the one that closes first",
        lasts: "tcp_fin_timeout (60 s), or TCP_LINGER2, once no program holds it. After shutdown(2) alone, without end.",
        memory: "a timewait_sock (256 B) once no program holds it; else, and while tcp_fin_timeout has more than 60 s \
                 left, a full socket",
        knobs: &["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_orphans"],
        limits: &["orphans", "time-wait-table"],
        many: "Peers do not close their side: they are in CLOSE-WAIT there. The small ones are in sockstat's tw.",
        not: "A leak here: it is the peers that do not close. Held ones may be programs that wait for an answer.",
    },
    About {
        state: State::Closing,
        name: "CLOSING",
        kernel_name: "TCP_CLOSING",
        since: Version::ALWAYS,
        entered: "A FIN of the peer in FIN-WAIT-1: both closed before either knew.",
        left: "The ACK of the FIN makes it TIME-WAIT.",
        side: "both",
        lasts: "Without an answer: tcp_orphan_retries (0 stands for 8: more than 100 s) once no program holds it, else \
                tcp_retries2.",
        memory: FULL,
        knobs: &["net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_max_orphans"],
        limits: &["orphans"],
        many: "Both sides close at the same moment, and ACKs get lost; or there is still data to send.",
        not: "A fault of the application: closing at once is allowed.",
    },
    About {
        state: State::TimeWait,
        name: "TIME-WAIT",
        kernel_name: "TCP_TIME_WAIT",
        since: Version::ALWAYS,
        entered: "The peer's FIN came, and this side had closed before.",
        left: "After 60 s. A newer SYN from the same address and port opens a new connection at once; so does connect(2) \
               after a second where tcp_tw_reuse allows it. A RST ends it, unless tcp_rfc1337 is set.",
        side: "the one that closes first; both, where they closed at once",
        lasts: "60 s, which no knob changes (TCP_TIMEWAIT_LEN). A late segment of the peer begins them anew.",
        memory: "a timewait_sock (256 B)",
        knobs: &[
            "net.ipv4.tcp_max_tw_buckets",
            "net.ipv4.tcp_tw_reuse",
            "net.ipv4.tcp_tw_reuse_delay",
            "net.ipv4.tcp_rfc1337",
            "net.ipv4.ip_local_port_range",
        ],
        limits: &["time-wait-table", "ephemeral-ports"],
        many: "This side closes many connections first: sixty times as many as it closes in a second. On a client each \
               holds a local port towards that one destination.",
        not: "Trouble: they cost little, and on a server no port. tcp_fin_timeout does not shorten them.",
    },
    About {
        state: State::CloseWait,
        name: "CLOSE-WAIT",
        kernel_name: "TCP_CLOSE_WAIT",
        since: Version::ALWAYS,
        entered: "A FIN of the peer on an open connection. It may still be sent to.",
        left: "close(2) or shutdown(2) makes it LAST-ACK. A RST or the last timeout ends it.",
        side: "the one that closes second",
        lasts: "As long as the program likes: the kernel has no timeout for it. SO_KEEPALIVE ends it where the peer is \
                gone.",
        memory: FULL,
        knobs: &[],
        limits: &["close-wait-leak", "accept-queue", "file-descriptors"],
        many: "A program forgets to close: they have an inode, and get older and more. Or it does not accept: then they \
               have none, and their clients gave up waiting.",
        not: "A leak, while their number stands still: a long answer to a client that has said all looks the same.",
    },
    About {
        state: State::LastAck,
        name: "LAST-ACK",
        kernel_name: "TCP_LAST_ACK",
        since: Version::ALWAYS,
        entered: "close(2) or shutdown(2) in CLOSE-WAIT: the FIN stands behind what is still to be sent.",
        left: "The ACK of the FIN, or a RST, ends it.",
        side: "the one that closes second",
        lasts: "Without an answer: tcp_orphan_retries (0 stands for 8: more than 100 s) once no program holds it, else \
                tcp_retries2.",
        memory: FULL,
        knobs: &["net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_max_orphans"],
        limits: &["orphans"],
        many: "Peers that closed went away before the last bytes from here reached them, or their ACKs get lost.",
        not: "A program that does not close: that is CLOSE-WAIT.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;
    use alloc::string::ToString;

    #[test]
    fn every_state_is_told_and_found_by_its_names() {
        for (state, about) in State::ALL.into_iter().zip(&ABOUT) {
            assert_eq!(about.state, state);
            assert!(core::ptr::eq(state.about(), about));
            assert_eq!(State::of_number(state.number()), Some(state));
            assert_eq!(State::by_name(about.name), Some(state));
            assert_eq!(State::by_name(about.kernel_name), Some(state));
            assert_eq!(state.to_string(), about.name);
            for text in [about.entered, about.left, about.lasts, about.many, about.not] {
                assert!(text.ends_with('.') && !text.contains("  "), "{state}: {text:?}");
            }
            assert!(!about.side.is_empty() && !about.memory.is_empty());
        }
        for (name, state) in [
            ("time_wait", State::TimeWait),
            ("FIN_WAIT2", State::FinWait2),
            ("fin-wait-2", State::FinWait2),
            ("syn-recv", State::SynRecv),
            ("NEW_SYN_RECV", State::NewSynRecv),
            ("bound-inactive", State::BoundInactive),
        ] {
            assert_eq!(State::by_name(name), Some(state), "{name}");
        }
        for name in ["", "-", "WAIT", "TCP_", "ESTAB"] {
            assert_eq!(State::by_name(name), None, "{name}");
        }
        assert_eq!((State::of_number(0), State::of_number(14)), (None, None));
    }

    #[test]
    fn limits_and_knobs_exist() {
        for about in &ABOUT {
            for slug in about.limits {
                assert!(Limit::by_slug(slug).is_some(), "{}: {slug}", about.name);
            }
            assert!(about.knobs.iter().all(|key| key.starts_with("net.")), "{}", about.name);
        }
    }
}

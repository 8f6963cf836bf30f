//! Memory: a socket's buffers, their bounds, and what all of TCP may take.

use alloc::format;
use alloc::string::String;

use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Fresh, Inside, Instead, Kind, Knob, Machine, Scope, Undo, Use,
};
use crate::lint::Severity;
use crate::version::Version;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Where a buffer of one socket is no longer a matter of bandwidth times delay.
const HUGE_SOCKET: i64 = 256 * MIB;

/// `SOCK_MIN_RCVBUF` and `SOCK_MIN_SNDBUF` with cache lines of 64 bytes: a smaller request is raised to them, and the
/// four files refuse less.
const RECEIVE: Kind =
    Kind::Number { kernel: Bounds::new(2304, i32::MAX as i64), sane: Bounds::new(2304, i32::MAX as i64) };
const SEND: Kind =
    Kind::Number { kernel: Bounds::new(4608, i32::MAX as i64), sane: Bounds::new(4608, i32::MAX as i64) };

/// 6.18 takes 1, 7.2 no less than 4096: with less than a page a socket under pressure has nothing to work with.
const BUFFERS: Kind =
    Kind::Triple { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(4096, i32::MAX as i64) };

const CORE_SCOPE: Scope = Scope::Global { inside: Inside::ReadOnly };

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "net.ipv4.tcp_rmem",
        title: "Receive buffer of a TCP socket: least, at the start, most",
        kind: BUFFERS,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[
            Default::computed(Version::ALWAYS, "a page, 87380, and memory / 128 but at most 6 MiB", |machine| {
                buffers(machine, 87_380, 87_380, 6 * MIB)
            }),
            Default::computed(Version(4, 20), "a page, 128 KiB, and memory / 128 but at most 6 MiB", |machine| {
                buffers(machine, 131_072, 131_072, 6 * MIB)
            }),
            Default::computed(Version(6, 17), "a page, 128 KiB, and memory / 128 but at most 32 MiB", |machine| {
                buffers(machine, 131_072, 131_072, 32 * MIB)
            }),
        ],
        worse_below: Some(
            "connections begin with a smaller window (87380 was the default until 4.20), or stop growing earlier",
        ),
        scope: Scope::Namespace { fresh: Fresh::Initial },
        effect: Effect::new(
            EffectBy::New,
            "the middle number on sockets opened afterwards; the third at once, on all that grow by themselves, but \
             the window scale they agreed on when they connected stays",
        ),
        undo: Undo::LeavesTraces("buffers that have grown meanwhile stay as large"),
        cost: "connections × bytes that wait unread, at most connections × the third number; counts against tcp_mem \
               and the memory cgroup",
        limits: "The first number is what a socket keeps under memory pressure, the second what its buffer begins \
                 with, the third how far it grows by itself. The window is the part of the buffer that is not \
                 overhead, about half to nine tenths, so the buffer has to be up to twice bandwidth × delay.",
        enforced_by: &[
            "net/ipv4/tcp_input.c:tcp_rcv_space_adjust",
            "net/ipv4/tcp_input.c:tcp_clamp_window",
            "net/ipv4/tcp_output.c:tcp_select_initial_window",
        ],
        not: "Is not bounded by rmem_max, and does nothing for a socket that has set SO_RCVBUF. A larger maximum \
              takes no memory until a reader is slower than its sender.",
        raising: "A slow reader piles up more before its sender hears of it. With the middle number raised, every \
                  connection may do so from its first round trip on.",
        lowering: "A transfer is held to window / round-trip time.",
        related: &[
            "net.core.rmem_max",
            "net.ipv4.tcp_mem",
            "net.ipv4.tcp_moderate_rcvbuf",
            "net.ipv4.tcp_window_scaling",
            "net.ipv4.tcp_wmem",
        ],
        belongs_to: &["receive-window", "tcp-memory"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 1) >= MIB,
                says: "the middle number is what every connection begins with, so thousands of them may take that \
                       much each; buffers grow to the third number by themselves",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: is_more_than_all_of_tcp,
                says: "one slow reader may pin more than all of TCP may have by default on a machine of this size",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: is_more_than_a_window,
                says: "no window is larger than 1 GiB, and one slow reader may pin this much",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "lowers-default",
                // Where the default is known, the rule compares by itself.
                when: |setting: &Use<'_>| {
                    setting.default.is_empty() && setting.machine.kernel >= Version(4, 20) && at(setting, 1) == 87_380
                },
                says: "87380 was the default until 4.20; it is 131072 since, so this makes connections begin with a \
                       smaller window",
                instead: Instead::Unknown,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "net/ipv4/tcp.c:tcp_init", "RFC 7323 section 2.2"],
    },
    Knob {
        key: "net.ipv4.tcp_wmem",
        title: "Send buffer of a TCP socket: least, at the start, most",
        kind: BUFFERS,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::computed(
            Version::ALWAYS,
            "a page, 16 KiB, and memory / 128 but at most 4 MiB",
            |machine| buffers(machine, 16_384, 65_536, 4 * MIB),
        )],
        worse_below: Some("connections to distant peers stop at a smaller send buffer"),
        scope: Scope::Namespace { fresh: Fresh::Initial },
        effect: Effect::new(
            EffectBy::New,
            "the middle number on sockets opened afterwards; the third at once, on all that grow by themselves",
        ),
        undo: Undo::LeavesTraces("buffers that have grown meanwhile stay as large"),
        cost: "connections × bytes not yet acknowledged, at most connections × the third number; counts against \
               tcp_mem and the memory cgroup",
        limits: "How much a socket holds that is unsent or unacknowledged, overhead included. The first number is what \
                 it keeps under memory pressure; it begins with the second, and grows to twice what the congestion \
                 window needs, at most to the third.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_sndbuf_expand", "include/net/sock.h:sk_stream_memory_free"],
        not: "Is not bounded by wmem_max, and does nothing for a socket that has set SO_SNDBUF. Sends nothing faster \
              that the congestion window or the peer's window holds back.",
        raising: "More unsent data waits in the kernel, where it is late and cannot be taken back; tcp_notsent_lowat \
                  bounds that.",
        lowering: "The congestion window can't be filled over long paths.",
        related: &["net.core.wmem_max", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem"],
        belongs_to: &["send-buffer", "tcp-memory"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 1) >= MIB,
                says: "the middle number is what every connection begins with, so each may fill that much with data \
                       that only waits; buffers grow to the third number by themselves",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    (16_385..=65_536).contains(&at(setting, 1)) && at(setting, 1) <= at(setting, 2)
                },
                says: "the middle number changes next to nothing: once a connection stands, its send buffer grows \
                       to about 64 KiB or more by itself",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: is_more_than_all_of_tcp,
                says: "one slow peer may pin more than all of TCP may have by default on a machine of this size",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: is_more_than_a_window,
                says: "no window is larger than 1 GiB, and one slow peer may pin this much",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &[
            "Documentation/networking/ip-sysctl.rst",
            "net/ipv4/tcp.c:tcp_init",
            "measured on 6.18: 69120 bytes after the handshake at an MSS of 1448, begun with 16384 or with 65536",
        ],
    },
    Knob {
        key: "net.core.rmem_max",
        title: "Upper bound of what SO_RCVBUF may ask for",
        kind: RECEIVE,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("212992"), Default::since(Version(6, 18), "4194304")],
        worse_below: Some("a program that asks for a receive buffer gets less, and has given up growing for it"),
        scope: CORE_SCOPE,
        effect: Effect::new(
            EffectBy::New,
            "the next setsockopt(SO_RCVBUF), and the window scale of connections that begin afterwards",
        ),
        undo: Undo::LeavesTraces("sockets that asked meanwhile keep what they got"),
        cost: "2 × bytes for each socket that asks for as much and is not read",
        limits: "What a program without CAP_NET_ADMIN gets when it sets SO_RCVBUF; the kernel stores twice that. \
                 Together with tcp_rmem it decides the window scale that a SYN offers. Kernels up to 6.1 show it to \
                 the host alone.",
        enforced_by: &["net/core/sock.c:sk_setsockopt", "net/ipv4/tcp_output.c:tcp_select_initial_window"],
        not: "Bounds no buffer that TCP grows by itself: tcp_rmem does. Raising it makes no TCP connection faster \
              unless its program sets SO_RCVBUF, which is rarely a good idea.",
        raising: "Any program may pin twice as much memory for each of its sockets; the windows of all connections are \
                  offered in coarser steps.",
        lowering: "Programs that set SO_RCVBUF, UDP receivers among them, get less than they need.",
        related: &["net.ipv4.tcp_rmem", "net.core.rmem_default", "net.core.wmem_max"],
        belongs_to: &["receive-window"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 0) >= HUGE_SOCKET,
                says: "lets any program pin twice as much for each of its sockets, and does not make TCP's own \
                       buffers larger: tcp_rmem does",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    let n = at(setting, 0);
                    n < HUGE_SOCKET
                        && is_raised(setting)
                        && third(setting, "net.ipv4.tcp_rmem").is_some_and(|most| n > most)
                },
                says: "changes nothing for TCP sockets that leave SO_RCVBUF alone: their buffers grow to the third \
                       number of tcp_rmem, which is less",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &[
            "Documentation/admin-guide/sysctl/net.rst",
            "socket(7)",
            "measured on 6.18: windows of 4.7 to 19 MB with rmem_max at 4 MiB",
        ],
    },
    Knob {
        key: "net.core.wmem_max",
        title: "Upper bound of what SO_SNDBUF may ask for",
        kind: SEND,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("212992"), Default::since(Version(6, 18), "4194304")],
        worse_below: Some("a program that asks for a send buffer gets less, and has given up growing for it"),
        scope: CORE_SCOPE,
        effect: Effect::new(EffectBy::New, "the next setsockopt(SO_SNDBUF)"),
        undo: Undo::LeavesTraces("sockets that asked meanwhile keep what they got"),
        cost: "2 × bytes for each socket that asks for as much and whose peer does not take it",
        limits: "What a program without CAP_NET_ADMIN gets when it sets SO_SNDBUF; the kernel stores twice that. \
                 Kernels up to 6.1 show it to the host alone.",
        enforced_by: &["net/core/sock.c:sk_setsockopt"],
        not: "Bounds no buffer that TCP grows by itself: tcp_wmem does.",
        raising: "Any program may pin twice as much memory for each of its sockets.",
        lowering: "Programs that set SO_SNDBUF get less than they need.",
        related: &["net.ipv4.tcp_wmem", "net.core.wmem_default", "net.core.rmem_max"],
        belongs_to: &["send-buffer"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 0) >= HUGE_SOCKET,
                says: "lets any program pin twice as much for each of its sockets, and does not make TCP's own \
                       buffers larger: tcp_wmem does",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    let n = at(setting, 0);
                    n < HUGE_SOCKET
                        && is_raised(setting)
                        && third(setting, "net.ipv4.tcp_wmem").is_some_and(|most| n > most)
                },
                says: "changes nothing for TCP sockets that leave SO_SNDBUF alone: their buffers grow to the third \
                       number of tcp_wmem, which is less",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst", "socket(7)"],
    },
    Knob {
        key: "net.core.rmem_default",
        title: "Receive buffer that a socket other than TCP's begins with",
        kind: RECEIVE,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("212992")],
        worse_below: Some("UDP sockets drop datagrams in shorter bursts"),
        scope: CORE_SCOPE,
        effect: Effect::new(EffectBy::New, "sockets opened afterwards"),
        undo: Undo::LeavesTraces("sockets opened meanwhile keep their size"),
        cost: "bytes for each socket of UDP, netlink or another protocol that is not read",
        limits: "The receive buffer of UDP, raw, netlink and UNIX sockets that don't set SO_RCVBUF. Kernels up to 6.1 \
                 show it to the host alone.",
        enforced_by: &["net/core/sock.c:sock_init_data_uid"],
        not: "Nothing for TCP, which begins with the middle number of tcp_rmem.",
        raising: "Every such socket on the machine may hold as much.",
        lowering: "UDP datagrams are dropped (Udp RcvbufErrors).",
        related: &["net.core.rmem_max", "net.ipv4.tcp_rmem"],
        belongs_to: &[],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| is_raised(setting) && at(setting, 0) < 64 * MIB,
                says: "does nothing for TCP, whose buffers begin with the middle number of tcp_rmem; it is for UDP \
                       and the rest",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 0) >= 64 * MIB,
                says: "every socket of UDP, netlink and the like may hold as much; nothing changes for TCP",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.wmem_default",
        title: "Send buffer that a socket other than TCP's begins with",
        kind: SEND,
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("212992")],
        worse_below: None,
        scope: CORE_SCOPE,
        effect: Effect::new(EffectBy::New, "sockets opened afterwards"),
        undo: Undo::LeavesTraces("sockets opened meanwhile keep their size"),
        cost: "bytes for each socket of UDP, UNIX or another protocol whose data is not taken",
        limits: "The send buffer of UDP, raw, netlink and UNIX sockets that don't set SO_SNDBUF. Kernels up to 6.1 \
                 show it to the host alone.",
        enforced_by: &["net/core/sock.c:sock_init_data_uid"],
        not: "Nothing for TCP, which begins with the middle number of tcp_wmem.",
        raising: "Every such socket on the machine may hold as much.",
        lowering: "Senders on UNIX and UDP sockets wait earlier, or get EAGAIN.",
        related: &["net.core.wmem_max", "net.ipv4.tcp_wmem"],
        belongs_to: &[],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| is_raised(setting) && at(setting, 0) < 64 * MIB,
                says: "does nothing for TCP, whose buffers begin with the middle number of tcp_wmem; it is for UDP, \
                       UNIX sockets and the rest",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| at(setting, 0) >= 64 * MIB,
                says: "every socket of UDP, UNIX and the like may hold as much; nothing changes for TCP",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.optmem_max",
        title: "Memory of a socket's options and ancillary data",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(4096, 1 << 30) },
        unit: "bytes",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("20480"), Default::since(Version(6, 8), "131072")],
        worse_below: Some(
            "zero-copy sends, socket filters, MD5 keys and group lists fail earlier with ENOBUFS or ENOMEM",
        ),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next allocation on"),
        undo: Undo::WriteBack,
        cost: "bytes for each socket that needs as much",
        limits: "What one socket may take for filters, MD5 and AO keys, group memberships, control messages and the \
                 notifications of MSG_ZEROCOPY. Each namespace has its own since 6.8; before, there was one for all, \
                 seen only in the initial one.",
        enforced_by: &["net/core/sock.c:sock_kmalloc", "net/core/sock.c:sock_omalloc"],
        not: "No buffer for data: has nothing to do with throughput.",
        raising: "A program may take that much kernel memory for each of its sockets.",
        lowering: "setsockopt fails with ENOMEM or ENOBUFS, MSG_ZEROCOPY with ENOBUFS.",
        related: &["net.core.rmem_max", "net.core.wmem_max"],
        belongs_to: &[],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| at(setting, 0) > MIB,
            says: "is no buffer for data: it bounds a socket's options, filters and zero-copy notices, and makes no \
                   connection faster",
            instead: Instead::Default,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_mem",
        title: "Memory of all TCP sockets: pressure ends, pressure begins, most",
        kind: Kind::Triple { kernel: Bounds::new(0, i64::MAX), sane: Bounds::new(96, 1 << 40) },
        unit: "pages",
        exists: Exists::ALWAYS,
        defaults: &[Default::computed(
            Version::ALWAYS,
            "4.7, 6.3 and 9.4 % of the memory that was free for buffers at boot, in pages",
            // What was free at boot is a bit less than MemTotal; nothing tells how much.
            |_| None,
        )],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::LeavesTraces("connections that were cut, or orphans that were reset, under pressure stay so"),
        cost: "pages × the size of a page",
        limits: "The pages of all TCP sockets of all namespaces together. Above the second number buffers stop \
                 growing and windows shrink, until usage is below the first; above the third, what arrives is \
                 dropped, senders wait and orphans are reset.",
        enforced_by: &["net/core/sock.c:__sk_mem_raise_allocated", "net/ipv4/tcp.c:tcp_check_oom"],
        not: "Is no amount of bytes, and is not per socket or per namespace. Raises no buffer: tcp_rmem and tcp_wmem \
              do.",
        raising: "TCP may take the memory that everything else needs; the machine then kills processes.",
        lowering: "Windows shrink and data is dropped on a machine that has memory to spare.",
        related: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.core.mem_pcpu_rsv", "net.ipv4.tcp_max_orphans"],
        belongs_to: &["tcp-memory", "orphans"],
        folklore: &[
            Folklore {
                rule: "wrong-unit",
                when: is_more_than_memory,
                says: "counts pages, not bytes: this is more memory than the machine has, so that TCP has no limit",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| {
                    !is_more_than_memory(setting) && tcp_memory(setting, 2).is_some_and(|(tcp, all)| tcp > all / 2)
                },
                says: "lets TCP take more than half of the memory, which the kernel can't take back from it; boot \
                       computes about a tenth",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| tcp_memory(setting, 1).is_some_and(|(tcp, all)| tcp < all / 64 && tcp < GIB),
                says: "shrinks the windows of all connections while most of the memory is free: it counts pages, and \
                       boot computes about a sixteenth of the memory for the middle number",
                instead: Instead::Nothing,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "net/ipv4/tcp.c:tcp_init_mem"],
    },
    Knob {
        key: "net.core.mem_pcpu_rsv",
        title: "Pages that a CPU takes or gives before they count against tcp_mem",
        // A MiB whatever the page, of at most 64 KiB.
        kind: Kind::Number { kernel: Bounds::new(16, i32::MAX as i64), sane: Bounds::new(16, 1 << 20) },
        unit: "pages",
        exists: Exists::since(Version(6, 9)),
        defaults: &[Default::computed(Version(6, 9), "1 MiB in pages", |machine| {
            Some(format!("{}", (1_u64 << 20).checked_div(machine.memory?.page_bytes)?))
        })],
        worse_below: None,
        scope: Scope::GLOBAL,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "CPUs × pages by which tcp_mem may be missed",
        limits: "How many pages a CPU hands out or takes back on its own, before it touches the count that all CPUs \
                 share.",
        enforced_by: &["include/net/sock.h:sk_memory_allocated_add"],
        not: "Is no memory that is set aside, and no limit of a socket.",
        raising: "tcp_mem is missed by more; with many CPUs the count contends less.",
        lowering: "The kernel takes no less than 1 MiB's worth.",
        related: &["net.ipv4.tcp_mem"],
        belongs_to: &["tcp-memory"],
        folklore: &[Folklore {
            rule: "refused",
            when: |setting: &Use<'_>| {
                setting.machine.memory.is_some_and(|memory| {
                    let pages = u64::try_from(at(setting, 0)).unwrap_or(0);
                    pages >= 16 && pages.saturating_mul(memory.page_bytes) < 1 << 20
                })
            },
            says: "is less than 1 MiB in pages: the kernel answers EINVAL",
            instead: Instead::Default,
            severity: None,
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst"],
    },
    Knob {
        key: "net.core.bypass_prot_mem",
        title: "Sockets that don't count against tcp_mem",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(6, 19)),
        defaults: &[Default::since(Version(6, 19), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::New, "sockets opened afterwards"),
        undo: Undo::LeavesTraces("sockets opened meanwhile stay uncounted"),
        cost: "what the sockets of the namespace hold, bounded by their memory cgroup alone",
        limits: "Whether sockets of the namespace count against tcp_mem, udp_mem and the like.",
        enforced_by: &["net/core/sock.c:sk_alloc", "net/core/sock.c:__sk_mem_raise_allocated"],
        not: "Does not take them out of their memory cgroup's count.",
        raising: "Without a limit of their cgroup nothing bounds what these sockets hold.",
        lowering: "Back to tcp_mem, for sockets opened afterwards.",
        related: &["net.ipv4.tcp_mem"],
        belongs_to: &["tcp-memory", "cgroup-memory"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting, 0) == 1,
            says: "tcp_mem no longer bounds these sockets: each of their cgroups needs a memory limit",
            instead: Instead::Unknown,
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst of 6.19"],
    },
    Knob {
        key: "net.ipv4.tcp_moderate_rcvbuf",
        title: "Receive buffers grow by themselves (autotuning)",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::LeavesTraces("transfers that ran meanwhile were slower"),
        cost: "connections × bytes that wait unread, at most the third number of tcp_rmem each",
        limits: "Whether a receive buffer grows beyond the middle number of tcp_rmem as its reader keeps up.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_rcv_space_adjust"],
        not: "Does nothing for a socket that has set SO_RCVBUF: that never grows.",
        raising: "Nothing: on is the default.",
        lowering: "Every connection stays at the middle number of tcp_rmem, 64 to 128 KiB of window: \
                   5 to 10 Mbit/s at 100 ms.",
        related: &["net.ipv4.tcp_rmem", "net.core.rmem_max"],
        belongs_to: &["receive-window"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting, 0) == 0,
            says: "windows no longer grow: every transfer is held to 64 to 128 KiB per round-trip time",
            instead: Instead::Value("1"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_rcvbuf_low_rtt",
        title: "Round-trip time below which receive buffers grow more slowly",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 1_000_000) },
        unit: "microseconds",
        exists: Exists::since(Version(6, 19)),
        defaults: &[Default::since(Version(6, 19), "1000")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::LeavesTraces("buffers that have grown meanwhile stay as large"),
        cost: "none",
        limits: "A flow with a shorter round trip grows its receive buffer in proportion to it, so that fast local \
                 flows stay within the CPU's caches.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_rcvbuf_grow"],
        not: "Bounds no buffer: tcp_rmem does. Touches no flow with a longer round trip.",
        raising: "Buffers of flows to near peers take longer to grow.",
        lowering: "Fast local flows overshoot, and miss the caches.",
        related: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_moderate_rcvbuf"],
        belongs_to: &["receive-window"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst of 6.19"],
    },
    Knob {
        key: "net.ipv4.tcp_adv_win_scale",
        title: "Share of the receive buffer that is offered as window",
        kind: Kind::Number { kernel: Bounds::new(-31, 31), sane: Bounds::new(-31, 31) },
        unit: "",
        exists: Exists::ALWAYS.inert(Version(6, 6)),
        defaults: &[Default::always("2"), Default::since(Version(3, 4), "1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once until 6.5; not at all since 6.6"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Until 6.5: above 0, the buffer less its 2^n-th part is offered as window; at or below 0, its \
                 2^-n-th part. Since 6.6 each socket measures its own overhead.",
        enforced_by: &["include/net/tcp.h:tcp_win_from_space (until 6.5)"],
        not: "Since 6.6, nothing.",
        raising: "Until 6.5: a larger window than the buffer can hold, so that queues are collapsed and pruned.",
        lowering: "Until 6.5: below 0, a smaller window for the same memory.",
        related: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_app_win"],
        belongs_to: &["receive-window"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| {
                let n = setting.number();
                setting.machine.kernel < Version(6, 6) && n.is_some_and(|n| n == 0 || n >= 2)
            },
            says: "offers more window than the buffer can hold with its overhead; what then arrives is \
                       collapsed, or dropped",
            instead: Instead::Value("1"),
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_app_win",
        title: "Share of the first window that is held back for the application",
        kind: Kind::Number { kernel: Bounds::new(0, 31), sane: Bounds::new(0, 31) },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("31")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "The 2^n-th part of the window that a connection begins with is not offered; with 31 that is \
                 nothing, and 0 switches it off together with the segment that is kept back.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_init_buffer_space"],
        not: "Gives no application more memory.",
        raising: "Nothing: 31 is the default, and holds back no more than one segment.",
        lowering: "1 to 4 withhold half to a sixteenth of the window.",
        related: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_adv_win_scale"],
        belongs_to: &["receive-window"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| (1..=4).contains(&at(setting, 0)),
            says: "withholds between half and a sixteenth of the window that connections begin with, to no benefit",
            instead: Instead::Value("31"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_shrink_window",
        title: "Take back window that has been offered, when the buffer is full",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(6, 5)),
        defaults: &[Default::since(Version(6, 5), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "With 0, what has been offered stays offered, though a flood of small segments may then overrun the \
                 buffer. With 1, the offer shrinks with the buffer.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_select_window", "net/ipv4/tcp_output.c:__tcp_select_window"],
        not: "Makes no window larger.",
        raising: "RFC 9293 discourages shrinking; a peer may send what it was first offered, and it is dropped.",
        lowering: "Nothing: off is the default.",
        related: &["net.ipv4.tcp_rmem"],
        belongs_to: &["receive-window"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 9293 section 3.8.6", "RFC 7323 section 2.4"],
    },
    Knob {
        key: "net.ipv4.tcp_window_scaling",
        title: "Windows above 64 KiB",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::LeavesTraces("connections that began without stay without"),
        cost: "none",
        limits: "Whether a SYN offers, and a SYN-ACK takes, the window scale option, without which no window is \
                 larger than 65535 bytes in either direction.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_syn_options", "net/ipv4/tcp_input.c:tcp_parse_options"],
        not: "Makes no window larger by itself: tcp_rmem does.",
        raising: "Nothing: on is the default.",
        lowering: "No transfer is faster than 64 KiB per round-trip time: 5 Mbit/s at 100 ms.",
        related: &["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"],
        belongs_to: &["receive-window", "send-buffer"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting, 0) == 0,
            says: "no window is then larger than 64 KiB, which is 5 Mbit/s at 100 ms, whatever the buffers",
            instead: Instead::Value("1"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 7323 section 2"],
    },
    Knob {
        key: "net.ipv4.tcp_workaround_signed_windows",
        title: "Begin with at most 32 KiB of window, for peers that take it for a signed number",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::NEW_CONNECTIONS,
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether the window of a SYN ends at 32767 bytes instead of 65535, and stays there with peers that \
                 don't scale windows.",
        enforced_by: &["net/ipv4/tcp_output.c:tcp_select_initial_window", "net/ipv4/tcp_output.c:tcp_select_window"],
        not: "Nothing that a peer of this century needs.",
        raising: "The first round trip carries less.",
        lowering: "Nothing: off is the default.",
        related: &["net.ipv4.tcp_window_scaling"],
        belongs_to: &["receive-window"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| at(setting, 0) != 0 && setting.number().is_some(),
            says: "halves the window that connections begin with, for the sake of peers that no longer exist",
            instead: Instead::Value("0"),
            severity: Some(Severity::Note),
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_notsent_lowat",
        title: "Unsent bytes above which a socket takes no more",
        // 0 makes every send wait for ever; less than a page costs a wakeup per segment.
        kind: Kind::Number { kernel: Bounds::new(0, u32::MAX as i64), sane: Bounds::new(4096, u32::MAX as i64) },
        unit: "bytes",
        exists: Exists::since(Version(3, 12)),
        defaults: &[Default::since(Version(3, 12), "4294967295")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, on sockets that have not set TCP_NOTSENT_LOWAT"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How much unsent data may wait in a socket before send(2) waits and poll(2) no longer calls it \
                 writable. What is in flight does not count.",
        enforced_by: &["include/net/tcp.h:tcp_notsent_lowat", "net/ipv4/tcp_ipv4.c:tcp_stream_memory_free"],
        not: "Makes no send buffer smaller for what is in flight: tcp_wmem bounds that.",
        raising: "More data waits in the kernel, where it is late.",
        lowering: "A wakeup for every few segments, and gaps when the program is slow to answer; 0 makes every \
                   send(2) wait for ever.",
        related: &["net.ipv4.tcp_wmem"],
        belongs_to: &["send-buffer"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst", "measured on 6.18: no send(2) returns with 0"],
    },
];

/// As `tcp_init` computes them: the maximum is the 128th part of the memory, between a floor and a cap.
///
/// It takes what is free for buffers at boot, which is `MemTotal` less the high watermarks of its zones. Those stay
/// below a tenth, as `min_free_kbytes` ends at a twentieth, so that the cap is certain from a bit more than 128 times
/// itself on.
fn buffers(machine: &Machine, start: i64, floor: i64, cap: i64) -> Option<String> {
    let memory = machine.memory?;
    // Between 4.11 and 5.19 the least was 4096 whatever the page.
    if memory.page_bytes != 4096 && machine.kernel < Version(6, 0) {
        return None;
    }
    let (bytes, least) = (i64::try_from(memory.bytes).ok()?, i64::try_from(memory.page_bytes).ok()?);
    // With pages of 64 KiB tcp_wmem descends by itself: nothing to hold a setting against.
    if least > start {
        return None;
    }
    let most = if bytes / 10 * 9 / 128 >= cap {
        cap
    } else if bytes / 128 <= floor {
        floor
    } else {
        return None;
    };
    Some(format!("{least} {start} {most}"))
}

/// One of the numbers; -1, which none of these knobs takes, where there is no such number.
fn at(setting: &Use<'_>, index: usize) -> i64 {
    setting.numbers.get(index).copied().unwrap_or(-1)
}

/// Whether it is more than the default, as far as that is known.
fn is_raised(setting: &Use<'_>) -> bool {
    setting.default.first().is_some_and(|default| at(setting, 0) > *default)
}

/// The third number of another knob.
fn third(setting: &Use<'_>, key: &str) -> Option<i64> {
    (setting.other)(key)?.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Bytes behind one of the numbers of `tcp_mem`, and the bytes of the machine.
fn tcp_memory(setting: &Use<'_>, index: usize) -> Option<(i64, i64)> {
    let pages = setting.numbers.get(index)?;
    let memory = setting.machine.memory?;
    Some((pages.saturating_mul(memory.page_bytes.try_into().ok()?), memory.bytes.try_into().ok()?))
}

fn is_more_than_memory(setting: &Use<'_>) -> bool {
    (0..3).any(|index| tcp_memory(setting, index).is_some_and(|(tcp, all)| tcp > all))
}

/// `tcp_mem` ends at 9.4 %, three thirty-seconds, of the memory.
fn is_more_than_all_of_tcp(setting: &Use<'_>) -> bool {
    let all = setting.machine.memory.and_then(|memory| i64::try_from(memory.bytes).ok());
    all.is_some_and(|all| at(setting, 2) > all / 32 * 3)
}

/// A window has 16 bits and a scale of at most 14.
fn is_more_than_a_window(setting: &Use<'_>) -> bool {
    at(setting, 2) > GIB && !is_more_than_all_of_tcp(setting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knobs::tests::{lore, lore_on, machine};
    use crate::knobs::{Memory, Wrong, by_key};

    fn of(kernel: Version, bytes: u64) -> Machine {
        Machine { kernel, memory: Some(Memory { bytes, page_bytes: 4096 }), ..machine() }
    }

    #[test]
    fn what_boot_computes() {
        let default = |key: &str, machine: &Machine| by_key(key).and_then(|knob| knob.default_on(machine));
        let (rmem, wmem) = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem");
        // As read from a machine with 6.18 and 23.5 GiB.
        assert_eq!(default(rmem, &machine()).as_deref(), Some("4096 131072 33554432"));
        assert_eq!(default(wmem, &machine()).as_deref(), Some("4096 16384 4194304"));
        assert_eq!(default("net.core.mem_pcpu_rsv", &machine()).as_deref(), Some("256"));
        assert_eq!(default("net.ipv4.tcp_mem", &machine()), None, "nobody knows what was free at boot");
        assert_eq!(default("net.core.netdev_budget_usecs", &machine()), None, "nobody knows HZ");

        let gib = 1 << 30;
        for (kernel, bytes, most) in [
            (Version(6, 17), 5 * gib, Some("4096 131072 33554432")),
            // 4 GiB less what boot holds back: somewhat below 32 MiB.
            (Version(6, 17), 4 * gib, None),
            (Version(6, 17), gib / 128, Some("4096 131072 131072")),
            (Version(6, 12), gib, Some("4096 131072 6291456")),
            (Version(6, 12), gib / 2, None),
            (Version(4, 19), gib, Some("4096 87380 6291456")),
        ] {
            assert_eq!(default(rmem, &of(kernel, bytes)).as_deref(), most, "{kernel} with {bytes} bytes");
        }
        let large_pages = |kernel| {
            let memory = Some(Memory { bytes: 64 * gib, page_bytes: 65_536 });
            default(rmem, &Machine { kernel, memory, ..machine() })
        };
        assert_eq!(large_pages(Version(6, 1)).as_deref(), Some("65536 131072 6291456"));
        assert_eq!(large_pages(Version(5, 15)), None);
        let memory = Some(Memory { bytes: 64 * gib, page_bytes: 65_536 });
        assert_eq!(default(wmem, &Machine { memory, ..machine() }), None, "it would be 65536 16384 4194304");
        assert_eq!(default(rmem, &Machine { memory: None, ..machine() }), None);
    }

    #[test]
    fn folklore_of_buffers() {
        for (key, text, rules) in [
            ("net.ipv4.tcp_rmem", "4096 131072 67108864", &[][..]),
            ("net.ipv4.tcp_rmem", "4096 131072 33554432", &[]),
            ("net.ipv4.tcp_rmem", "8192 262144 536870912", &[]),
            ("net.ipv4.tcp_rmem", "4096 1048575 16777216", &[]),
            ("net.ipv4.tcp_rmem", "4096 1048576 16777216", &["dangerous"]),
            ("net.ipv4.tcp_rmem", "16777216 16777216 16777216", &["dangerous"]),
            ("net.ipv4.tcp_rmem", "4096 131072 1073741824", &[]),
            ("net.ipv4.tcp_rmem", "4096 131072 2147483647", &["dangerous"]),
            // The rule compares with the default, which is known here.
            ("net.ipv4.tcp_rmem", "4096 87380 67108864", &[]),
            ("net.ipv4.tcp_wmem", "4096 16384 67108864", &[]),
            ("net.ipv4.tcp_wmem", "4096 65536 16777216", &["placebo"]),
            ("net.ipv4.tcp_wmem", "4096 262144 16777216", &[]),
            ("net.ipv4.tcp_wmem", "4096 8388608 16777216", &["dangerous"]),
            ("net.core.rmem_max", "16777216", &[]),
            ("net.core.rmem_max", "67108864", &["placebo"]),
            ("net.core.rmem_max", "134217728", &["placebo"]),
            ("net.core.rmem_max", "268435456", &["dangerous"]),
            ("net.core.rmem_max", "2147483647", &["dangerous"]),
            ("net.core.rmem_max", "212992", &[]),
            ("net.core.wmem_max", "4194304", &[]),
            ("net.core.wmem_max", "16777216", &["placebo"]),
            ("net.core.wmem_max", "1073741824", &["dangerous"]),
            ("net.core.rmem_default", "212992", &[]),
            ("net.core.rmem_default", "16777216", &["placebo"]),
            ("net.core.rmem_default", "134217728", &["dangerous"]),
            ("net.core.wmem_default", "65536", &[]),
            ("net.core.wmem_default", "262144", &["placebo"]),
            ("net.core.optmem_max", "65536", &[]),
            ("net.core.optmem_max", "1048576", &[]),
            ("net.core.optmem_max", "25165824", &["placebo"]),
            ("net.ipv4.tcp_moderate_rcvbuf", "0", &["dangerous"]),
            ("net.ipv4.tcp_moderate_rcvbuf", "1", &[]),
            ("net.ipv4.tcp_window_scaling", "0", &["dangerous"]),
            ("net.ipv4.tcp_window_scaling", "1", &[]),
            ("net.ipv4.tcp_workaround_signed_windows", "0", &[]),
            ("net.ipv4.tcp_workaround_signed_windows", "1", &["dangerous"]),
            ("net.ipv4.tcp_app_win", "31", &[]),
            ("net.ipv4.tcp_app_win", "0", &[]),
            ("net.ipv4.tcp_app_win", "2", &["dangerous"]),
            ("net.ipv4.tcp_shrink_window", "1", &[]),
            ("net.ipv4.tcp_notsent_lowat", "16384", &[]),
            ("net.core.mem_pcpu_rsv", "256", &[]),
            ("net.core.mem_pcpu_rsv", "255", &["refused"]),
            ("net.core.bypass_prot_mem", "0", &[]),
            ("net.core.bypass_prot_mem", "1", &["dangerous"]),
            // Since 6.6 the rule itself says that it does nothing.
            ("net.ipv4.tcp_adv_win_scale", "2", &[]),
        ] {
            assert_eq!(lore(key, text, &[]), rules, "{key} = {text}");
        }
    }

    #[test]
    fn folklore_that_hangs_on_what_is_around_it() {
        let rmem = [("net.ipv4.tcp_rmem", "4096 131072 67108864")];
        assert!(lore("net.core.rmem_max", "67108864", &rmem).is_empty(), "both raised, as they often are");
        assert_eq!(lore("net.core.rmem_max", "67108865", &rmem), ["placebo"]);
        let wmem = [("net.ipv4.tcp_wmem", "4096 16384 16777216")];
        assert!(lore("net.core.wmem_max", "16777216", &wmem).is_empty());
        let unknown = Machine::of_kernel(Version(6, 18));
        assert!(lore_on(&unknown, "net.core.rmem_max", "67108864", &[]).is_empty(), "tcp_rmem is not known");
    }

    #[test]
    fn folklore_of_older_kernels_and_other_machines() {
        let small = of(Version(6, 1), 1 << 30);
        let unknown = |kernel| Machine::of_kernel(kernel);
        for (machine, key, text, rules) in [
            (&unknown(Version(6, 1)), "net.ipv4.tcp_rmem", "4096 87380 16777216", &["lowers-default"][..]),
            (&unknown(Version(4, 19)), "net.ipv4.tcp_rmem", "4096 87380 16777216", &[]),
            (&unknown(Version(6, 1)), "net.ipv4.tcp_rmem", "4096 131072 16777216", &[]),
            (&unknown(Version(6, 1)), "net.ipv4.tcp_mem", "8388608 8388608 8388608", &[]),
            (&small, "net.ipv4.tcp_rmem", "4096 131072 67108864", &[]),
            (&small, "net.ipv4.tcp_rmem", "4096 131072 134217728", &["dangerous"]),
            (&small, "net.ipv4.tcp_rmem", "4096 131072 2147483647", &["dangerous"]),
            (&small, "net.core.rmem_max", "16777216", &["placebo"]),
            (&small, "net.ipv4.tcp_adv_win_scale", "1", &[]),
            (&small, "net.ipv4.tcp_adv_win_scale", "-2", &[]),
            (&small, "net.ipv4.tcp_adv_win_scale", "2", &["dangerous"]),
            (&small, "net.ipv4.tcp_adv_win_scale", "0", &["dangerous"]),
        ] {
            assert_eq!(lore_on(machine, key, text, &[]), rules, "{key} = {text} on {}", machine.kernel);
        }
    }

    #[test]
    fn pages_that_were_meant_as_bytes() {
        let gib = 1 << 30;
        for (text, bytes, rules) in [
            // What boot computed, and others that fit.
            ("287901 383868 575802", 24_684_092 * 1024, &[][..]),
            ("786432 1048576 1572864", 24 * gib, &[]),
            ("65536 131072 262144", 24 * gib, &[]),
            ("8388608 8388608 8388608", 24 * gib, &["wrong-unit"]),
            ("4096 87380 16777216", 24 * gib, &["wrong-unit", "dangerous"]),
            ("8388608 8388608 8388608", 48 * gib, &["dangerous"]),
            ("786432 1048576 1572864", 8 * gib, &["dangerous"]),
            ("786432 1048576 1572864", 4 * gib, &["wrong-unit"]),
            ("50576 64768 98152", 24 * gib, &["dangerous"]),
            ("50576 64768 98152", 4 * gib, &[]),
            // 4 GiB are little of 512 GiB, and still plenty.
            ("786432 1048576 1572864", 512 * gib, &[]),
            ("65536 131072 262144", 64 * gib, &["dangerous"]),
        ] {
            assert_eq!(lore_on(&of(Version(6, 18), bytes), "net.ipv4.tcp_mem", text, &[]), rules, "{text} of {bytes}");
        }
    }

    #[test]
    fn what_kernels_take() {
        let judge = |key: &str, text: &str| by_key(key).map(|knob| knob.kind.judge(text));
        for (key, text) in [
            ("net.ipv4.tcp_rmem", "0 4096 4096"),
            ("net.ipv4.tcp_rmem", "4096 131072 2147483648"),
            ("net.ipv4.tcp_adv_win_scale", "-32"),
            ("net.ipv4.tcp_app_win", "32"),
            ("net.ipv4.tcp_shrink_window", "2"),
            ("net.ipv4.tcp_window_scaling", "256"),
            ("net.ipv4.tcp_notsent_lowat", "-1"),
            ("net.ipv4.tcp_notsent_lowat", "4294967296"),
            ("net.core.optmem_max", "-1"),
            ("net.core.rmem_max", "2303"),
            ("net.core.wmem_max", "4607"),
        ] {
            assert!(matches!(judge(key, text), Some(Err(Wrong::Refused(_)))), "{key} = {text}");
        }
        for (key, text) in [
            ("net.ipv4.tcp_rmem", "8192 4096 2048"),
            ("net.ipv4.tcp_rmem", "1 1 1"),
            ("net.ipv4.tcp_moderate_rcvbuf", "255"),
            ("net.ipv4.tcp_notsent_lowat", "0"),
            ("net.ipv4.tcp_mem", "0 0 0"),
        ] {
            assert!(matches!(judge(key, text), Some(Err(Wrong::Nonsense(_)))), "{key} = {text}");
        }
    }
}

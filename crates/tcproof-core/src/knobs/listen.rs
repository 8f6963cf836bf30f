//! Handshakes and listeners: how many may wait, how long, and what happens to the rest.

use alloc::string::{String, ToString};

use super::{Bounds, Default, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Machine, Scope, Undo, Use};
use crate::lint::Severity;
use crate::version::Version;

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "net.core.somaxconn",
        title: "Upper bound of every listener's backlog",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(16, 1 << 20) },
        unit: "connections",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("128"), Default::since(Version(5, 4), "4096")],
        worse_below: Some("bursts of handshakes are dropped that a longer queue would have carried"),
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::NextListen,
            "the next listen(2) on a socket; one that already listens keeps its backlog until its server restarts",
        ),
        undo: Undo::LeavesTraces("a server that listened meanwhile keeps the new backlog until it listens again"),
        cost: "entries × about 2.4 KiB for each connection that waits to be accepted, 320 B for each half-open one",
        limits: "The backlog that listen(2) asks for is cut to it. What is left bounds both the accept queue and, \
                 since 4.4, the queue of half-open handshakes of that listener. Both hold one more than it says.",
        enforced_by: &[
            "net/socket.c:__sys_listen_socket",
            "include/net/sock.h:sk_acceptq_is_full",
            "include/net/inet_connection_sock.h:inet_csk_reqsk_queue_is_full",
        ],
        not: "Raises no queue by itself: a server that asks for 128 still gets 128, and one that already listens keeps \
              what it has. Makes no server accept faster. In a namespace that an ordinary user made (a rootless \
              container), kernels up to 6.1 do not show it.",
        raising: "A longer queue adds its length divided by the accept rate to every answer; clients give up, and \
                  the server works for connections that are gone.",
        lowering: "SYNs and last ACKs are dropped in bursts.",
        related: &["net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_abort_on_overflow"],
        belongs_to: &["accept-queue", "syn-queue"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= 65_535),
            says: "is a ceiling, but servers that ask for all of it (those in Go do) get a queue so long that clients \
                   wait for answers they have given up on; take the largest burst that a server can work off in time",
            instead: Instead::Unknown,
            severity: None,
        }],
        sources: &["Documentation/admin-guide/sysctl/net.rst", "Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_max_syn_backlog",
        title: "Half-open handshakes per listener, while SYN cookies are off",
        kind: Kind::Number { kernel: Bounds::INT, sane: Bounds::new(16, 1 << 24) },
        unit: "half-open handshakes",
        exists: Exists::ALWAYS,
        defaults: &[
            Default::computed(Version::ALWAYS, "max(128, buckets of the established hash / 256)", |machine| {
                max_syn_backlog(machine, 256)
            }),
            Default::computed(Version(5, 5), "max(128, buckets of the established hash / 128)", |machine| {
                max_syn_backlog(machine, 128)
            }),
        ],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next SYN on"),
        undo: Undo::WriteBack,
        cost: "entries × 320 B for each half-open handshake",
        limits: "Looked at only while tcp_syncookies is 0: SYNs of peers that have not been heard of are dropped once \
                 three quarters of it are taken.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_conn_request"],
        not: "With SYN cookies on, as by default, nothing at all since 4.4: the listener's own backlog bounds its \
              half-open handshakes, and beyond it cookies are sent.",
        raising: "Nothing with cookies on; with cookies off, more memory during a flood.",
        lowering: "With cookies off, SYNs are dropped earlier, and only ListenDrops counts them.",
        related: &["net.core.somaxconn", "net.ipv4.tcp_syncookies"],
        belongs_to: &["syn-queue"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    // Until 4.3 it cut the queue of half-open handshakes whether cookies were on or off.
                    setting.machine.kernel >= Version(4, 4)
                        && setting.other_number("net.ipv4.tcp_syncookies").is_some_and(|on| on != 0)
                },
                says: "does nothing while tcp_syncookies is on, as it is here: the backlog of listen(2), cut to \
                       somaxconn, bounds the half-open handshakes",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "lowers-default",
                when: |setting: &Use<'_>| {
                    let default = setting.default.first();
                    setting.other_number("net.ipv4.tcp_syncookies") == Some(0)
                        && setting.number().zip(default).is_some_and(|(n, default)| n < *default)
                },
                says: "is less than boot computes from the machine's memory; with SYN cookies off, as they are here, \
                       SYNs are dropped earlier",
                instead: Instead::Default,
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_syncookies",
        title: "SYN cookies: an answer without memory when a listener's half-open queue is full",
        kind: Kind::Choice {
            kernel: Bounds::U8,
            meanings: &[(0, "never"), (1, "when the queue is full"), (2, "always, for tests")],
        },
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next SYN on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "What happens to a SYN when a listener has as many half-open handshakes as its backlog: 1 answers it \
                 with a cookie and keeps nothing, 0 drops it, 2 sends cookies to everyone from the first SYN on.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_conn_request", "net/ipv4/syncookies.c:cookie_v4_check"],
        not: "No help against a full accept queue: then the SYN is dropped, cookies or not. No substitute for a \
              backlog that fits the traffic.",
        raising: "2 makes every connection pay: window scaling, SACK and ECN survive a cookie only where the client \
                  sends timestamps, and a lost last ACK is never asked for again.",
        lowering: "0 drops the SYNs of real clients as soon as the queue is full, so that any flood closes the port.",
        related: &["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_timestamps"],
        belongs_to: &["syn-queue"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(0),
                says: "drops the SYNs of real clients once a listener's half-open queue is full, so that a small \
                       flood closes the port; with 1 cookies are sent only then, and cost nothing before",
                instead: Instead::Value("1"),
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number() == Some(2),
                says: "is for tests: every connection begins with a cookie, and without window scaling and SACK \
                       where the client sends no timestamps; 1 sends them when they are needed",
                instead: Instead::Value("1"),
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 4987 section 3.6"],
    },
    Knob {
        key: "net.ipv4.tcp_synack_retries",
        title: "How often a SYN-ACK is sent again",
        kind: Kind::Number { kernel: Bounds::U8, sane: Bounds::new(0, 32) },
        unit: "retransmissions",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("5")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, also for handshakes that are half open: their timer looks at it"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How long a half-open handshake is kept: 5 sends the last SYN-ACK after 31 s and gives up after 63 s, \
                 3 after 15 s. TCP_SYNCNT of the listener goes before it.",
        enforced_by: &["net/ipv4/inet_connection_sock.c:reqsk_timer_handler"],
        not: "Is no promise under load: while a listener's queue is more than half full, the kernel gives old \
              handshakes up after as few as 2. Has nothing to do with connections that this host opens.",
        raising: "Half-open handshakes of a flood stay longer.",
        lowering: "Clients on lossy paths fail where a further SYN-ACK would have got through; below 2 it takes one or \
                   two lost packets.",
        related: &["net.ipv4.tcp_syn_retries", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies"],
        belongs_to: &["syn-queue"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| (0..2).contains(&n)),
            says: "turns clients away that lose one or two packets of the handshake; against floods there are SYN \
                   cookies, and the kernel itself goes down to 2 while a queue is crowded",
            instead: Instead::Value("3"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_syn_retries",
        title: "How often connect(2) sends its SYN again",
        kind: Kind::Number { kernel: Bounds::new(1, 127), sane: Bounds::new(1, 32) },
        unit: "retransmissions",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("5"), Default::since(Version(3, 7), "6")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, also for connects under way: their timer looks at it"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "How long connect(2) waits for an answer before ETIMEDOUT: 6 gives up after 127 s. Since 6.5 those of \
                 tcp_syn_linear_timeouts come first, a second apart, so that it is 131 s. TCP_SYNCNT and \
                 TCP_USER_TIMEOUT of a socket go before it.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_write_timeout"],
        not: "No connect timeout for an application: one of its own is shorter, and says what it is for.",
        raising: "A dead peer is noticed later.",
        lowering: "Connects fail in outages that they would have outlasted.",
        related: &["net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_synack_retries"],
        belongs_to: &[],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| {
                let linear = match setting.machine.kernel >= Version(6, 5) {
                    true => setting.other_number("net.ipv4.tcp_syn_linear_timeouts").unwrap_or(0),
                    false => 0,
                };
                setting.number().is_some_and(|n| n >= 1 && n.saturating_add(linear) < 2)
            },
            says: "gives up after 3 s, so that two lost packets fail a connect; 2 waits 7 s",
            instead: Instead::Value("2"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst", "tcp(7), TCP_SYNCNT"],
    },
    Knob {
        key: "net.ipv4.tcp_syn_linear_timeouts",
        title: "SYNs that are sent again a second apart, before the waiting doubles",
        kind: Kind::Number { kernel: Bounds::new(0, 127), sane: Bounds::new(0, 32) },
        unit: "retransmissions",
        exists: Exists::since(Version(6, 5)),
        defaults: &[Default::since(Version(6, 5), "4")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, also for connects under way: their timer looks at it"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "So many SYNs of a connect are sent again one second apart; only then do the pauses double. They are \
                 on top of tcp_syn_retries.",
        enforced_by: &["net/ipv4/tcp_timer.c:tcp_retransmit_timer", "net/ipv4/tcp_timer.c:tcp_write_timeout"],
        not: "Says nothing about SYN-ACKs: a server's pauses double from the first on.",
        raising: "More SYNs for a server that is overloaded already, and later failure of a connect to a dead one.",
        lowering: "0 is the backoff of older kernels: 1, 2, 4 … seconds.",
        related: &["net.ipv4.tcp_syn_retries"],
        belongs_to: &[],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_abort_on_overflow",
        title: "Reset the client when the accept queue is full",
        kind: Kind::LOOSE_SWITCH,
        unit: "",
        exists: Exists::ALWAYS,
        defaults: &[Default::always("0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next last ACK on"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "What happens when the last ACK of a handshake finds the accept queue full: 0 ignores it, and the \
                 client, which believes to be connected, is heard again when it sends; 1 resets the connection.",
        enforced_by: &["net/ipv4/tcp_minisocks.c:tcp_check_req"],
        not: "Nothing for SYNs that come while the queue is full: those are dropped either way, so clients still wait.",
        raising: "A burst that the server would have worked off within a second turns into ECONNRESET at the clients.",
        lowering: "Nothing: 0 is the default.",
        related: &["net.core.somaxconn"],
        belongs_to: &["accept-queue"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| n > 0),
            says: "resets clients in every burst that the server would have worked off a moment later",
            instead: Instead::Value("0"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_migrate_req",
        title: "Hand waiting connections to another listener when one closes",
        kind: Kind::SWITCH,
        unit: "",
        exists: Exists::since(Version(5, 14)),
        defaults: &[Default::since(Version(5, 14), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, when the next listener closes"),
        undo: Undo::WriteBack,
        cost: "none",
        limits: "Whether handshakes and connections that wait for accept(2) go to another listener of the same \
                 SO_REUSEPORT group when theirs closes. With 0 they are reset, unless a BPF program moves them.",
        enforced_by: &["net/core/sock_reuseport.c:reuseport_migrate_sock"],
        not: "Moves nothing that was accepted, and nothing where no other listener has SO_REUSEPORT on that port.",
        raising: "A connection may land at a listener with other options than the one that answered it.",
        lowering: "A rolling restart resets what waits in the queue of each listener that closes.",
        related: &["net.core.somaxconn"],
        belongs_to: &["accept-queue"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_fastopen",
        title: "TCP Fast Open: data in the SYN",
        kind: Kind::Flags {
            kernel: Bounds::INT,
            meanings: &[
                (FASTOPEN_CLIENT, "client"),
                (FASTOPEN_SERVER, "server"),
                (0x4, "client without a cookie"),
                (FASTOPEN_NO_COOKIE, "server without a cookie"),
                (FASTOPEN_EVERY_LISTENER, "server, for every listener"),
            ],
        },
        unit: "",
        exists: Exists::since(Version(3, 6)),
        defaults: &[Default::since(Version(3, 6), "0"), Default::since(Version(3, 13), "1")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(
            EffectBy::New,
            "connections that begin afterwards; 1024 only listeners that call listen(2) afterwards",
        ),
        undo: Undo::LeavesTraces(
            "a listener that 1024 opened goes on taking data with the SYN while 2 is set, until it is closed",
        ),
        cost: "none but the queue that a listener asks for",
        limits: "Who may send data with the SYN and who may take it: 1 clients that ask for it, 2 listeners that ask \
                 for it, 1024 with 2 every listener, 4 and 512 without a cookie.",
        enforced_by: &["net/ipv4/tcp_fastopen.c:tcp_try_fastopen", "net/ipv4/af_inet.c:inet_listen"],
        not: "3 makes no server accept it: the listener has to set TCP_FASTOPEN. 1 makes no client send it: that \
              takes MSG_FASTOPEN or TCP_FASTOPEN_CONNECT. Cookies prove the client's address, they do not stop a SYN \
              that arrives twice from being served twice.",
        raising: "Requests that come twice are served twice; some middleboxes drop a SYN with data; 512 lets forged \
                  addresses in.",
        lowering: "One round trip more for clients that used it.",
        related: &["net.ipv4.tcp_fastopen_key", "net.ipv4.tcp_fastopen_blackhole_timeout_sec"],
        belongs_to: &["fastopen-queue"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| has(setting, FASTOPEN_SERVER) && !has(setting, FASTOPEN_EVERY_LISTENER),
                says: "only allows servers to take data with the SYN: each listener still has to set TCP_FASTOPEN, \
                       and clients have to ask for it",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    let server_only = has(setting, FASTOPEN_NO_COOKIE) || has(setting, FASTOPEN_EVERY_LISTENER);
                    server_only && !has(setting, FASTOPEN_SERVER)
                },
                says: "has server bits (512, 1024) that do nothing without 2, which allows servers at all",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| has(setting, FASTOPEN_SERVER) && has(setting, FASTOPEN_NO_COOKIE),
                says: "takes data from any address without a cookie (512), so that forged SYNs reach the application",
                instead: Instead::Unknown,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| has(setting, FASTOPEN_SERVER) && has(setting, FASTOPEN_EVERY_LISTENER),
                says: "makes every listener take data with the SYN (1024), also those that must not see a request \
                       twice; let those that can set TCP_FASTOPEN themselves",
                instead: Instead::Value("3"),
                severity: None,
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 7413 sections 2.1 and 6"],
    },
    Knob {
        key: "net.ipv4.tcp_fastopen_key",
        title: "The secret that Fast Open cookies are made with",
        kind: Kind::Key,
        unit: "",
        exists: Exists::since(Version(3, 7)),
        defaults: &[Default::computed(
            Version(3, 7),
            "random, once a listener wants one; it reads as zeros until then",
            |_| None,
        )],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once: cookies made with another key are not taken any more"),
        undo: Undo::LeavesTraces("clients whose cookie fits neither key send no data with their next SYN"),
        cost: "none",
        limits: "Makes and checks cookies; a second key, after a comma, only checks them. TCP_FASTOPEN_KEY of a \
                 listener goes before it.",
        enforced_by: &["net/ipv4/tcp_fastopen.c:tcp_fastopen_cookie_gen_check"],
        not: "Switches nothing on. Need not be set on a single server, which makes its own.",
        raising: "A key that others know lets them forge addresses.",
        lowering: "Servers behind one address with different keys refuse each other's cookies.",
        related: &["net.ipv4.tcp_fastopen"],
        belongs_to: &["fastopen-queue"],
        folklore: &[
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| is_zero_key(setting.text),
                says: "is no secret: whoever knows that the key is zero can forge cookies; without the line the \
                       kernel makes a random one",
                instead: Instead::Nothing,
                severity: None,
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.text.contains('-') && !is_zero_key(setting.text),
                says: "is a secret: the kernel shows it to root alone, so keep this file from other readers, too",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/networking/ip-sysctl.rst", "RFC 7413 section 4.1.2"],
    },
    Knob {
        key: "net.ipv4.tcp_fastopen_blackhole_timeout_sec",
        title: "How long clients do without Fast Open after a middlebox ate a SYN",
        kind: Kind::Number { kernel: Bounds::NOT_NEGATIVE, sane: Bounds::new(0, 7 * 86_400) },
        unit: "seconds",
        exists: Exists::since(Version(4, 12)),
        defaults: &[Default::since(Version(4, 12), "3600"), Default::since(Version(5, 14), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once; writing it also forgets how often it has happened"),
        undo: Undo::LeavesTraces("the count of black holes that were met is forgotten"),
        cost: "none",
        limits: "After a black hole was met, no connection of this namespace begins with Fast Open for so long, and \
                 each further one doubles it, up to 64 times. 0 does not look for them.",
        enforced_by: &["net/ipv4/tcp_fastopen.c:tcp_fastopen_active_disable"],
        not: "Nothing for servers.",
        raising: "A single broken path switches Fast Open off towards everyone, for long.",
        lowering: "0 goes on sending data with SYNs where they are eaten; each such connect loses a second or more.",
        related: &["net.ipv4.tcp_fastopen"],
        belongs_to: &["fastopen-queue"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_ehash_entries",
        title: "Buckets of the hash of connections",
        kind: Kind::ReadOnly,
        unit: "buckets",
        exists: Exists::since(Version(6, 1)),
        defaults: &[Default::computed(
            Version(6, 1),
            "memory / 128 KiB, rounded up to a power of two, at most 524288; thash_entries= of the kernel's command \
             line goes before it",
            ehash_entries,
        )],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::Boot, "the next boot, by thash_entries= of the kernel's command line"),
        undo: Undo::ReadOnly,
        cost: "8 B for each bucket",
        limits: "How long the chains are that a segment's connection is looked up in. Boot computes the defaults of \
                 tcp_max_tw_buckets, tcp_max_orphans and tcp_max_syn_backlog from it.",
        enforced_by: &["net/ipv4/tcp.c:tcp_init", "net/ipv4/tcp_ipv4.c:tcp_set_hashinfo"],
        not: "Bounds no count of connections. A negative number means that this namespace has no hash of its own: it \
              shares the initial namespace's, which has so many buckets.",
        raising: "Memory.",
        lowering: "Longer chains, so more time for each segment when there are many connections.",
        related: &["net.ipv4.tcp_child_ehash_entries", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_syn_backlog"],
        belongs_to: &["time-wait-table"],
        folklore: &[],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
    Knob {
        key: "net.ipv4.tcp_child_ehash_entries",
        title: "Buckets of their own for namespaces that are made from this one",
        kind: Kind::Number { kernel: Bounds::new(0, 1 << 24), sane: Bounds::new(0, 1 << 24) },
        unit: "buckets",
        exists: Exists::since(Version(6, 1)),
        defaults: &[Default::since(Version(6, 1), "0")],
        worse_below: None,
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::NewObjects, "namespaces that are made afterwards by processes of this one"),
        undo: Undo::LeavesTraces("namespaces that were made meanwhile keep their own hash"),
        cost: "8 B for each bucket, in each namespace that is made",
        limits: "0: new namespaces share the initial one's hash of connections. Else each gets one of its own, \
                 rounded up to a power of two, and tcp_max_tw_buckets and tcp_max_syn_backlog are computed from that.",
        enforced_by: &["net/ipv4/tcp_ipv4.c:tcp_set_hashinfo"],
        not: "Nothing for this namespace itself, and nothing for those that exist.",
        raising: "Memory for each container; where there is no memory for it, the new namespace uses the shared one.",
        lowering: "Few buckets make long chains, and few TIME_WAIT sockets: half as many as buckets.",
        related: &["net.ipv4.tcp_ehash_entries", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_syn_backlog"],
        belongs_to: &["time-wait-table"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| (1..1024).contains(&n)),
            says: "leaves each new namespace room for half as many TIME_WAIT sockets as it has buckets; 0 shares the \
                   initial namespace's hash",
            instead: Instead::Value("0"),
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
];

const FASTOPEN_CLIENT: i64 = 0x1;
const FASTOPEN_SERVER: i64 = 0x2;
const FASTOPEN_NO_COOKIE: i64 = 0x200;
const FASTOPEN_EVERY_LISTENER: i64 = 0x400;

fn max_syn_backlog(machine: &Machine, share: u64) -> Option<String> {
    Some((machine.ehash_entries? / share).max(128).to_string())
}

/// `tcp_init`: one bucket for each 128 KiB of memory, as `alloc_large_system_hash` rounds it.
fn ehash_entries(machine: &Machine) -> Option<String> {
    let computed = || Some(machine.memory?.bytes.div_ceil(128 << 10).next_power_of_two().min(512 << 10));
    Some(machine.ehash_entries.or_else(computed)?.to_string())
}

fn has(setting: &Use<'_>, bit: i64) -> bool {
    setting.number().is_some_and(|bits| bits & bit != 0)
}

fn is_zero_key(text: &str) -> bool {
    text.contains('-') && text.bytes().all(|b| matches!(b, b'0' | b'-' | b',') || b.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use crate::knobs::tests::{lore, lore_on, machine};
    use crate::knobs::{Machine, by_key};
    use crate::version::Version;

    #[test]
    fn folklore() {
        let off = &[("net.ipv4.tcp_syncookies", "0")][..];
        for (key, value, others, rules) in [
            ("net.core.somaxconn", "65535", &[][..], &["dangerous"][..]),
            ("net.core.somaxconn", "819200", &[], &["dangerous"]),
            ("net.core.somaxconn", "32768", &[], &[]),
            ("net.core.somaxconn", "1024", &[], &[]),
            ("net.ipv4.tcp_max_syn_backlog", "8192", &[], &["placebo"]),
            ("net.ipv4.tcp_max_syn_backlog", "1024", off, &["lowers-default"]),
            ("net.ipv4.tcp_max_syn_backlog", "2048", off, &[]),
            ("net.ipv4.tcp_max_syn_backlog", "8192", off, &[]),
            ("net.ipv4.tcp_syncookies", "0", &[], &["dangerous"]),
            ("net.ipv4.tcp_syncookies", "1", &[], &[]),
            ("net.ipv4.tcp_syncookies", "2", &[], &["dangerous"]),
            ("net.ipv4.tcp_synack_retries", "0", &[], &["dangerous"]),
            ("net.ipv4.tcp_synack_retries", "1", &[], &["dangerous"]),
            ("net.ipv4.tcp_synack_retries", "2", &[], &[]),
            ("net.ipv4.tcp_synack_retries", "-1", &[], &[]),
            // Four more, a second apart, come before the one.
            ("net.ipv4.tcp_syn_retries", "1", &[], &[]),
            ("net.ipv4.tcp_syn_retries", "1", &[("net.ipv4.tcp_syn_linear_timeouts", "0")], &["dangerous"]),
            ("net.ipv4.tcp_syn_retries", "2", &[("net.ipv4.tcp_syn_linear_timeouts", "0")], &[]),
            ("net.ipv4.tcp_syn_retries", "0", &[("net.ipv4.tcp_syn_linear_timeouts", "0")], &[]),
            ("net.ipv4.tcp_abort_on_overflow", "1", &[], &["dangerous"]),
            ("net.ipv4.tcp_abort_on_overflow", "0", &[], &[]),
            ("net.ipv4.tcp_fastopen", "0", &[], &[]),
            ("net.ipv4.tcp_fastopen", "1", &[], &[]),
            ("net.ipv4.tcp_fastopen", "3", &[], &["placebo"]),
            ("net.ipv4.tcp_fastopen", "1027", &[], &["dangerous"]),
            ("net.ipv4.tcp_fastopen", "0x203", &[], &["placebo", "dangerous"]),
            ("net.ipv4.tcp_fastopen", "0x401", &[], &["placebo"]),
            ("net.ipv4.tcp_fastopen_key", "00000000-00000000-00000000-00000000", &[], &["dangerous"]),
            ("net.ipv4.tcp_fastopen_key", "00000000-00000000-00000000-00000001", &[], &["dangerous"]),
            ("net.ipv4.tcp_fastopen_key", "", &[], &[]),
            ("net.ipv4.tcp_child_ehash_entries", "0", &[], &[]),
            ("net.ipv4.tcp_child_ehash_entries", "128", &[], &["dangerous"]),
            ("net.ipv4.tcp_child_ehash_entries", "1024", &[], &[]),
        ] {
            assert_eq!(lore(key, value, others), rules, "{key} = {value} with {others:?}");
        }
    }

    #[test]
    fn older_kernels() {
        let on = |kernel| Machine { kernel, ..machine() };
        let backlog = "net.ipv4.tcp_max_syn_backlog";
        assert_eq!(lore_on(&on(Version(4, 3)), backlog, "8192", &[]), [""; 0], "it still cut the queue");
        assert_eq!(lore_on(&on(Version(4, 4)), backlog, "8192", &[]), ["placebo"]);
        assert_eq!(lore_on(&on(Version(6, 1)), "net.ipv4.tcp_syn_retries", "1", &[]), ["dangerous"]);
    }

    #[test]
    fn computed_defaults() {
        let default = |key, machine: &Machine| by_key(key).and_then(|knob| knob.default_on(machine));
        let six = Machine::of_kernel(Version(6, 18));
        let five = Machine { kernel: Version(5, 4), ..machine() };
        let small = Machine { ehash_entries: Some(8192), ..six.clone() };
        let unmeasured = Machine { ehash_entries: None, ..machine() };
        for (key, machine, expected) in [
            ("net.ipv4.tcp_max_syn_backlog", &machine(), Some("2048")),
            ("net.ipv4.tcp_max_syn_backlog", &five, Some("1024")),
            ("net.ipv4.tcp_max_syn_backlog", &small, Some("128")),
            ("net.ipv4.tcp_max_syn_backlog", &six, None),
            ("net.ipv4.tcp_ehash_entries", &machine(), Some("262144")),
            ("net.ipv4.tcp_ehash_entries", &unmeasured, Some("262144")),
            ("net.ipv4.tcp_ehash_entries", &six, None),
            ("net.ipv4.tcp_ehash_entries", &five, None),
            ("net.ipv4.tcp_fastopen_key", &machine(), None),
            ("net.core.somaxconn", &five, Some("4096")),
            ("net.core.somaxconn", &Machine::of_kernel(Version(4, 19)), Some("128")),
        ] {
            assert_eq!(default(key, machine).as_deref(), expected, "{key} on {machine:?}");
        }
    }
}

//! Handshakes and listeners: how many may wait, how long, and what happens to the rest.

use alloc::format;
use alloc::string::String;

use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Instead, Kind, Knob, Machine, Scope, Undo, Use,
};
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
        not: "Raises no queue by itself: a server that asks for 128 still gets 128, and one that already listens \
              keeps what it has. Makes no server accept faster.",
        raising: "A longer queue adds its length divided by the accept rate to every answer; clients give up, and \
                  the server works for connections that are gone.",
        lowering: "SYNs and last ACKs are dropped in bursts.",
        related: &["net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_abort_on_overflow"],
        belongs_to: &["accept-queue", "syn-queue"],
        folklore: &[Folklore {
            rule: "dangerous",
            when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= 65_535),
            says: "a queue that long makes clients wait for answers they have given up on; take the largest burst \
                   that the server can work off in time",
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
        defaults: &[Default::computed(
            Version::ALWAYS,
            "max(128, buckets of the established hash / 128)",
            max_syn_backlog,
        )],
        worse_below: Some("with SYN cookies off, SYNs are dropped earlier"),
        scope: Scope::NAMESPACE,
        effect: Effect::new(EffectBy::All, "at once, from the next SYN on"),
        undo: Undo::WriteBack,
        cost: "entries × 320 B for each half-open handshake",
        limits: "Looked at only while tcp_syncookies is 0: SYNs of peers that have not been heard of are dropped once \
                 three quarters of it are taken.",
        enforced_by: &["net/ipv4/tcp_input.c:tcp_conn_request"],
        not: "With SYN cookies on, as by default, nothing at all: the listener's own backlog bounds its half-open \
              handshakes, and beyond it cookies are sent.",
        raising: "Nothing with cookies on; with cookies off, more memory during a flood.",
        lowering: "With cookies off, SYNs are dropped earlier, and only ListenDrops counts them.",
        related: &["net.core.somaxconn", "net.ipv4.tcp_syncookies"],
        belongs_to: &["syn-queue"],
        folklore: &[Folklore {
            rule: "placebo",
            when: |setting: &Use<'_>| setting.other_number("net.ipv4.tcp_syncookies").is_some_and(|on| on != 0),
            says: "does nothing while tcp_syncookies is on, as it is here: the backlog of listen(2), cut to \
                   somaxconn, bounds the half-open handshakes",
            instead: Instead::Nothing,
            severity: None,
        }],
        sources: &["Documentation/networking/ip-sysctl.rst"],
    },
];

fn max_syn_backlog(machine: &Machine) -> Option<String> {
    Some(format!("{}", (machine.ehash_entries? / 128).max(128)))
}

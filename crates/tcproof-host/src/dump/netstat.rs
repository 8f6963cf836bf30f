//! `netstat -s` of net-tools: counters in English sentences, for those that it knows a sentence for; of most, only where they
//! are not zero.

use std::collections::BTreeMap;

/// Group, what stands before the number, what after it, and the kernel's name: those that limits are judged by.
const SENTENCES: &[(&str, &str, &str, &str)] = &[
    ("Tcp", "", "active connection openings", "ActiveOpens"),
    ("Tcp", "", "active connections openings", "ActiveOpens"),
    ("Tcp", "", "passive connection openings", "PassiveOpens"),
    ("Tcp", "", "failed connection attempts", "AttemptFails"),
    ("Tcp", "", "connection resets received", "EstabResets"),
    ("Tcp", "", "segments received", "InSegs"),
    ("Tcp", "", "segments sent out", "OutSegs"),
    ("Tcp", "", "segments send out", "OutSegs"),
    ("Tcp", "", "segments retransmitted", "RetransSegs"),
    ("Tcp", "", "segments retransmited", "RetransSegs"),
    ("Tcp", "", "bad segments received", "InErrs"),
    ("Tcp", "", "bad segments received.", "InErrs"),
    ("Tcp", "", "resets sent", "OutRsts"),
    ("TcpExt", "", "SYN cookies sent", "SyncookiesSent"),
    ("TcpExt", "", "SYN cookies received", "SyncookiesRecv"),
    ("TcpExt", "", "invalid SYN cookies received", "SyncookiesFailed"),
    ("TcpExt", "", "resets received for embryonic SYN_RECV sockets", "EmbryonicRsts"),
    ("TcpExt", "", "packets pruned from receive queue because of socket buffer overrun", "PruneCalled"),
    ("TcpExt", "", "packets pruned from receive queue", "RcvPruned"),
    ("TcpExt", "", "packets dropped from out-of-order queue because of socket buffer overrun", "OfoPruned"),
    ("TcpExt", "", "TCP sockets finished time wait in fast timer", "TW"),
    ("TcpExt", "", "time wait sockets recycled by time stamp", "TWRecycled"),
    ("TcpExt", "", "TCP sockets finished time wait in slow timer", "TWKilled"),
    ("TcpExt", "", "active connections rejected because of time stamp", "PAWSActive"),
    ("TcpExt", "", "packets rejected in established connections because of timestamp", "PAWSEstab"),
    ("TcpExt", "", "times the listen queue of a socket overflowed", "ListenOverflows"),
    ("TcpExt", "", "SYNs to LISTEN sockets dropped", "ListenDrops"),
    ("TcpExt", "", "SYNs to LISTEN sockets ignored", "ListenDrops"),
    ("TcpExt", "", "connections aborted due to memory pressure", "TCPAbortOnMemory"),
    ("TcpExt", "", "connections aborted due to timeout", "TCPAbortOnTimeout"),
    ("TcpExt", "TCP ran low on memory", "times", "TCPMemoryPressures"),
];

/// The counters as `Group.Name`.
pub fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut group = "";
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            group = line.trim_end().trim_end_matches(':');
            continue;
        }
        let Some((name, value)) = sentence(group, line.trim()) else { continue };
        counters.insert(format!("{group}.{name}"), value);
    }
    counters
}

fn sentence<'a>(group: &str, line: &'a str) -> Option<(&'a str, u64)> {
    // What it has no sentence for: `TCPTimeWaitOverflow: 12`.
    if let Some((name, value)) = line.split_once(": ")
        && !name.contains(' ')
    {
        return Some((name, value.trim().parse().ok()?));
    }
    let at = line.split(' ').position(|word| word.parse::<u64>().is_ok())?;
    let words: Vec<_> = line.split(' ').collect();
    let value = words[at].parse().ok()?;
    let (before, after) = (words[..at].join(" "), words[at + 1..].join(" "));
    let known =
        |(in_group, start, end, _): &&(&str, &str, &str, &str)| *in_group == group && *start == before && *end == after;
    let (.., name) = SENTENCES.iter().find(known)?;
    Some((name, value))
}

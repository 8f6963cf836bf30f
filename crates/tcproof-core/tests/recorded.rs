//! Intervals recorded on real kernels, whose global knobs were turned in virtual machines: `fixtures/README.md`.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use tcproof_core::{Interval, diagnose};

/// What the limits make of a recording: each finding in two lines, and what is unknown.
fn verdict(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let interval: Interval = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let diagnosis = diagnose(&interval);
    let mut text = String::new();
    for finding in &diagnosis.findings {
        writeln!(text, "{:?} {:?} {}/{}", finding.state, finding.confidence, finding.limit, finding.cause).unwrap();
        writeln!(text, "  {}\n  {}", finding.summary, finding.because).unwrap();
        let raises = finding.remedies.iter().filter_map(|r| Some((r.knob.as_ref()?, r.from.as_ref()?, r.to.as_ref()?)));
        for (knob, from, to) in raises {
            writeln!(text, "  {knob} {from} → {to}").unwrap();
        }
    }
    for unknown in &diagnosis.unknown {
        writeln!(text, "unknown {}: {}", unknown.limit, unknown.reading).unwrap();
    }
    text
}
#[test]
fn memory_at_the_hard_limit() {
    insta::assert_snapshot!(verdict("tcp-memory-hard-limit-5.10.json"), @"
    Limiting Proven tcp-memory/hard-limit
      360 segments dropped for want of memory in 5.1 s; TCP holds 600 of at most 400 pages
      memory is at the third number of tcp_mem, or above it
      net.ipv4.tcp_mem 200 300 400 → 450 675 900
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown nic-ring: devices' statistics of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    ");
}

#[test]
fn memory_pressure_that_loses_nothing() {
    insta::assert_snapshot!(verdict("tcp-memory-pressure-5.10.json"), @"
    Near Proven tcp-memory/pressure
      TCP holds 26460 pages, pressure begins at 300; nothing dropped yet
      the kernel entered memory pressure in the window: TCPMemoryPressures grew by 1
      net.ipv4.tcp_mem 200 300 40000 → 30000 45000 60000
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown nic-ring: devices' statistics of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    ");
}

#[test]
fn orphans_beyond_their_limit() {
    insta::assert_snapshot!(verdict("orphans-7.2.json"), @"
    Limiting Likely orphans/orphan-limit
      49 connections reset in 4.1 s for want of room: 2 of 5 orphaned connections (40 %)
      TCP's memory is below its limit, and an orphan that makes no progress counts up to four times
      net.ipv4.tcp_orphan_retries 0 → 3
      net.ipv4.tcp_max_orphans 5 → 256
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown nic-ring: devices' statistics of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    ");
}

#[test]
fn resets_without_an_orphan_in_sight_accuse_nobody() {
    insta::assert_snapshot!(verdict("orphans-between-looks-5.10.json"), @"
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown nic-ring: devices' statistics of host
    unknown orphans: 48 TcpExt.TCPAbortOnMemory
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown softirq-cpu: CPU time of each CPU
    unknown tcp-memory: 48 TcpExt.TCPAbortOnMemory in 4.0 s
    unknown timestamps: TcpExt.PAWSEstab of host
    ");
}

#[test]
fn neighbours_refused() {
    insta::assert_snapshot!(verdict("neighbour-table-7.2.json"), @"
    Limiting Proven neighbour-table/table-full
      1391 new IPv4 neighbours refused in 3.1 s; 65 entries of 64
      the IPv4 table was full and nothing in it could be collected: table_fulls grew
      net.ipv4.neigh.default.gc_thresh3 64 → 130
      net.ipv4.neigh.default.gc_thresh2 32 → 65
      net.ipv4.neigh.default.gc_thresh1 16 → 32
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of nb
    unknown nic-ring: devices' statistics of host
    unknown nic-ring: devices' statistics of nb
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of nb
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    unknown timestamps: TcpExt.PAWSEstab of nb
    ");
}

#[test]
fn packets_dropped_at_a_full_backlog() {
    insta::assert_snapshot!(verdict("softnet-backlog-5.10.json"), @"
    Limiting Proven softnet-backlog/queue-full
      23889 packets dropped at the backlog of CPU 1 in 3.1 s
      the backlog takes 5 packets, and nothing else counts as dropped there
      net.core.netdev_max_backlog 5 → 1000
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of nb
    unknown nic-ring: devices' statistics of host
    unknown nic-ring: devices' statistics of nb
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of nb
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    unknown timestamps: TcpExt.PAWSEstab of nb
    ");
}

#[test]
fn a_host_out_of_files() {
    insta::assert_snapshot!(verdict("file-descriptors-7.2.json"), @"
    Limiting Likely file-descriptors/system-limit
      607 of 600 files of the whole host are open (101 %)
      beyond it unprivileged programs get ENFILE from accept(2), socket(2) and open(2); no counter shows it
      fs.file-max 600 → 8192
    unknown cgroup-memory: control groups' memory
    unknown fastopen-queue: TcpExt.TCPFastOpenListenOverflow of host
    unknown nic-ring: devices' statistics of host
    unknown socket-backlog: TcpExt.TCPBacklogDrop of host
    unknown softirq-cpu: CPU time of each CPU
    unknown timestamps: TcpExt.PAWSEstab of host
    ");
}

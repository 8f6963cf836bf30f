//! A table of a probe that is full. By itself: those of other tests would be full, too.
//!
//! Needs root and eBPF; says `SKIP` without.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use tcproof_bpf::trace::Probes;
use tcproof_core::snapshot::NetnsId;
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};

use common::skip;

/// More destinations than the table has rows: what has one is counted to the last event, and the rest is said to be lost.
#[test]
fn a_full_table_loses_rows_and_says_how_many_events() {
    /// As in `probe.h`: of connects, and of resets, each of which has a connection of its own.
    const FEWER_ROWS: u64 = 2_048;
    const ROWS: u64 = 8_192;
    const DESTINATIONS: u64 = FEWER_ROWS + 200;
    /// Connects to each.
    const TIMES: u64 = 4;
    if let Err(why) = require_root() {
        return skip(&why);
    }
    let mut probes = Probes::load();
    for (name, refused) in probes.states() {
        match refused {
            Some(why) if ["connects", "resent"].contains(&name) => return skip(&why.to_string()),
            _ => {}
        }
    }
    let ns = Netns::new().unwrap();
    probes.attach();
    let connect = || {
        rtnl::up("lo").unwrap();
        for n in 0..DESTINATIONS {
            let to = SocketAddr::from(([127, 1, (n / 250) as u8, (n % 250) as u8 + 1], 9));
            for _ in 0..TIMES {
                assert_eq!(TcpStream::connect(to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            }
        }
    };
    ns.run_in(connect).unwrap();
    let trace = probes.detach();
    // Others of the host may connect meanwhile: they take rows, and their events may be lost.
    let connects = trace.connects.value().unwrap();
    let ours: Vec<_> = connects.rows.iter().filter(|row| row.netns == NetnsId(ns.inode())).collect();
    let rows = ours.len() as u64;
    assert!(connects.rows.len() as u64 <= FEWER_ROWS && rows > FEWER_ROWS / 2, "{rows}");
    assert!(ours.iter().all(|row| row.tried == TIMES && row.refused == 0), "a row has all of them or is not there");
    assert!(rows * TIMES + connects.lost >= DESTINATIONS * TIMES, "{rows} {}", connects.lost);
    assert!(connects.lost >= (DESTINATIONS - FEWER_ROWS) * TIMES && !trace.saw_all_connects());
    // The resets that they got were more than that table holds, too.
    let resent = trace.resent.value().unwrap();
    assert!(resent.rows.len() as u64 <= ROWS && resent.lost >= DESTINATIONS * TIMES - ROWS, "{}", resent.lost);
    assert!(resent.rows.iter().filter(|row| row.netns == NetnsId(ns.inode())).all(|row| row.aborted == 1));
}

//! Feeds bytes to the reader of sock_diag's answers.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tcproof_host::diag::{dump_messages, moved, sample};

fuzz_target!(|bytes: &[u8]| {
    let _ = dump_messages(bytes, 0, |socket| {
        let _ = (socket.local(), socket.remote(), socket.cookie(), socket.inode(), socket.uid(), socket.device());
        let _ = (socket.rqueue(), socket.wqueue(), socket.drops(), socket.last_data_received(), socket.cgroup_id());
        let _ = (socket.is_subflow(), socket.mptcp_token(), socket.congestion(), socket.info().and_then(moved));
        let _ = sample(socket, Duration::ZERO);
    });
});

//! Feeds bytes to the readers of route netlink's and ethtool netlink's answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_host::{ethtool, rtnl};

fuzz_target!(|bytes: &[u8]| {
    let _ = rtnl::decode_link(bytes);
    let _ = rtnl::decode_qdisc(bytes);
    let _ = ethtool::decode_anything(bytes);
});

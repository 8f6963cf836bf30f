//! Feeds the bytes to every parser of procfs text: none may panic, hang or take memory beyond the input's size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_host::procfs::{
    cgroup, cpu_table, dev, interrupts, limits, netstat, numbers, snmp6, sockstat, softirqs, softnet, stat, stat::USER_HZ, tcp,
};

fuzz_target!(|bytes: &[u8]| {
    // The reader refuses what is not UTF-8, or replaces it.
    let text = String::from_utf8_lossy(bytes);
    let place = "fuzz";
    let _ = cgroup::parse(&text, place);
    let _ = cpu_table::parse(&text, place);
    let _ = dev::parse(&text, place);
    let _ = interrupts::parse(&text, place);
    let _ = limits::parse(&text, place);
    let _ = netstat::parse(&text, place);
    let _ = numbers::file_nr(&text, place);
    let _ = numbers::memory_bytes(&text, place);
    let _ = snmp6::parse(&text, place);
    let _ = sockstat::parse(&text, place);
    let _ = softirqs::parse(&text, place);
    let _ = softnet::parse(&text, place);
    let _ = stat::host(&text, place, USER_HZ);
    let _ = stat::cpus(&text, place, USER_HZ);
    let _ = stat::process(&text, place, USER_HZ);
    let mut lines = tcp::Lines::new(place);
    // Pieces end anywhere.
    let (front, back) = bytes.split_at(bytes.len() / 2);
    let _ = lines.feed(front, &mut |_| {}).and_then(|()| lines.feed(back, &mut |_| {}));
    let _ = lines.finish();
});

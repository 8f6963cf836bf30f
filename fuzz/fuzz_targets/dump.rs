//! Feeds bytes to the readers of what commands print: none may panic, hang or take memory beyond the input's size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_host::dump::{netstat, nstat, read_loose, ss};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _ = ss::rows(&text, &mut |row| {
        let _ = row.users().count();
    });
    let _ = nstat::parse(&text);
    let _ = netstat::parse(&text);
    // All of it together, up to what limits make of it; between the texts stands what no text has.
    let texts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    if let Ok(interval) = read_loose(&texts) {
        let _ = tcproof_core::diagnose(&interval);
    }
});

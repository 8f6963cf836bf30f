//! Feeds bytes to the readers of archives, up to what limits make of them: none may panic, hang or take memory without bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_host::dump::read_archive;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_archive(bytes);
});

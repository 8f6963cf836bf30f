//! Feeds text to the reader of scenario files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_lab::Scenario;

fuzz_target!(|text: &str| {
    let _ = Scenario::parse("fuzz.toml", text);
});

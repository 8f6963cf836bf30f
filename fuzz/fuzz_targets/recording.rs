//! Feeds bytes to the reader of recordings, as a file and as a delta: none may panic, hang or take memory without bounds.
#![no_main]

use std::io::Cursor;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tcproof_record::{Header, Node, Reader, apply, summary, window};

fuzz_target!(|bytes: &[u8]| {
    let _ = apply(&mut Node::Null, bytes);
    let mut file = Header::default().to_bytes().unwrap_or_default();
    file.extend(bytes);
    for bytes in [bytes, &file] {
        let _ = summary(bytes, |_, _| ());
        let _ = window(Cursor::new(bytes), Duration::from_secs(1), Duration::from_secs(5));
        let Ok(mut reader) = Reader::new(bytes) else { continue };
        while let Ok(Some(_)) = reader.next() {}
    }
});

//! Feeds text to the readers of files with settings: each span must lie within its line, and each value of sysctl.d stand
//! where it is said to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcproof_core::lint::{Format, Span};
use tcproof_host::settings;

/// A name for each format.
const PATHS: [&str; 7] = ["sysctl.conf", "tuned.conf", "x.service", "pod.yaml", "Dockerfile", "x.sh", "x.md"];

fuzz_target!(|input: (u8, &str)| {
    let (path, text) = input;
    let file = settings::parse(PATHS[usize::from(path) % PATHS.len()], text);
    let check = |at: Span| {
        let length = file.line(at.line).chars().count() as u32;
        assert!(at.line >= 1 && at.column >= 1 && at.column <= at.end && at.end <= length + 1, "{at:?} of {length}");
    };
    for setting in &file.settings {
        check(setting.at);
        check(setting.value_at);
        if file.format == Format::Sysctl {
            let line = file.line_with(setting.value_at, setting.value.as_deref().unwrap_or_default());
            assert_eq!(line, file.line(setting.value_at.line));
        }
    }
    for command in &file.commands {
        check(command.at);
        command.words.iter().for_each(|word| check(word.at));
    }
    file.strays.iter().for_each(|stray| check(stray.at));
    file.allows.iter().for_each(|allow| check(allow.at));
});

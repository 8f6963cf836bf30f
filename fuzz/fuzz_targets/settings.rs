//! Feeds text to the readers of files with settings, and lints what they read: each span must lie within its line, each
//! value of sysctl.d stand where it is said to, and what `--fix` would write change nothing of what boot sets.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tcproof_core::Version;
use tcproof_core::knobs::Machine;
use tcproof_core::lint::{Context, File, Format, Load, Loader, Span, Tree, lint};
use tcproof_host::settings;

// The first line is the file's path, which says what it is.
fuzz_target!(|input: &str| {
    let (path, text) = input.split_once('\n').unwrap_or(("sysctl.conf", input));
    let file = settings::parse(path, text);
    in_place(&file);
    let tree = tree(file);
    let found = lint(&tree);
    let file = &tree.files[0];
    for finding in &found.findings {
        within(file, finding.at);
        let Some(correction) = &finding.correction else { continue };
        assert!((1..=file.text.lines().count() as u32).contains(&correction.number), "{finding:?}");
        assert!(!correction.line.contains('\n'), "{finding:?}");
    }
    let _ = tree.corrected(0, &found.findings, false);
    let Some(fixed) = tree.corrected(0, &found.findings, true) else { return };
    let again = self::tree(settings::parse(path, &fixed));
    assert_eq!(set_by(&again), set_by(&tree), "{text:?} and {fixed:?}");
    let found = lint(&again);
    assert_eq!(again.corrected(0, &found.findings, true), None, "{text:?} and {fixed:?}");
});

/// What the reader says stands where it says.
fn in_place(file: &File) {
    for setting in &file.settings {
        within(file, setting.at);
        within(file, setting.value_at);
        if file.format == Format::Sysctl {
            let line = file.line_with(setting.value_at, setting.value.as_deref().unwrap_or_default());
            assert_eq!(line, file.line(setting.value_at.line));
        }
    }
    for command in &file.commands {
        within(file, command.at);
        command.words.iter().for_each(|word| within(file, word.at));
    }
    file.strays.iter().for_each(|stray| within(file, stray.at));
    file.allows.iter().for_each(|allow| within(file, allow.at));
}

fn within(file: &File, at: Span) {
    let length = file.line(at.line).chars().count() as u32;
    assert!(at.line >= 1 && at.column >= 1 && at.column <= at.end && at.end <= length + 1, "{at:?} of {length}");
}

fn tree(file: File) -> Tree {
    let loader = if file.format == Format::Sysctl { Loader::Named } else { Loader::Alone };
    let loads = vec![Load { loader, files: vec![0] }];
    Tree { files: vec![file], loads, masked: Vec::new(), machine: Machine::of_kernel(Version(6, 12)), now: None }
}

/// What each key ends with.
fn set_by(tree: &Tree) -> BTreeMap<&str, &str> {
    let context = Context::new(tree);
    let last = |key| Some((key, context.setters(0, key).last()?.setting.value.as_deref()?));
    let there = |key: &&str| context.knob(key).is_none_or(|knob| knob.exists.in_kernel(tree.machine.kernel));
    context.keys(0).filter(there).filter_map(last).collect()
}

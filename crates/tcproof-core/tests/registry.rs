//! What every limit must have, and what the core must not: held here, so that a review need not.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tcproof_core::limits::{LIMITS, Limit};

/// The contract's limits and causes. Released slugs are never renamed or reused; adding to them is done here first.
const CONTRACT: &[(&str, &[&str])] = &[
    (
        "accept-queue",
        &[
            "application-slow",
            "backlog-small",
            "somaxconn-clamps",
            "not-relistened",
            "descriptor-limit",
            "listener-imbalance",
        ],
    ),
    ("cgroup-memory", &["socket-pressure"]),
    ("close-wait-leak", &["application-leak"]),
    ("congestion-window", &["path", "slow-start-after-idle"]),
    ("conntrack-table", &["table-full", "hash-small"]),
    (
        "ephemeral-ports",
        &["time-wait-churn", "concurrent-connections", "bind-before-connect", "range-small", "search-slow"],
    ),
    ("fastopen-queue", &["queue-full", "not-enabled-on-listener"]),
    ("file-descriptors", &["process-limit", "system-limit"]),
    ("keepalive", &["no-keepalive", "slower-than-middlebox"]),
    ("loss", &["path-loss", "local-drops", "spurious"]),
    ("mptcp", &["disabled", "fallback"]),
    ("neighbour-table", &["table-full"]),
    ("nic-ring", &["ring-full"]),
    ("orphans", &["orphan-limit", "fin-wait2-pile"]),
    ("path-mtu", &["black-hole"]),
    ("receive-window", &["reader-slow", "buffer-fixed", "buffer-max", "peer-window"]),
    ("send-buffer", &["buffer-fixed", "buffer-max"]),
    ("socket-backlog", &["owner-busy"]),
    ("softirq-budget", &["squeezed"]),
    ("softirq-cpu", &["single-cpu"]),
    ("softnet-backlog", &["queue-full"]),
    ("syn-queue", &["backlog-small", "cookies-off", "flood"]),
    ("tcp-memory", &["pressure", "hard-limit"]),
    ("time-wait-table", &["table-full"]),
    ("timestamps", &["paws-drops"]),
];

const SECTIONS: [&str; 6] = ["What it is", "Evidence", "See it yourself", "Look-alikes", "Remedy", "References"];

fn core() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_string()
}

fn slugs() -> Vec<&'static str> {
    LIMITS.iter().map(|limit| limit.slug).collect()
}

/// Fails with all that is wrong at once.
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_lists_exactly_the_files() {
    let files = files(&core().join("src/limits"), "rs");
    let limits = files.iter().filter(|path| read(path).contains("\npub(super) static LIMIT: Limit = "));
    let files: Vec<_> = limits.map(|path| stem(path).replace('_', "-")).collect();
    let mut listed = slugs();
    assert!(listed.is_sorted(), "the table is not in the order of the slugs");
    listed.dedup();
    assert_eq!(listed, files, "run `cargo xtask registry`");
}

#[test]
fn a_limit_is_named_like_its_file() {
    let wrong = LIMITS.iter().filter(|limit| {
        let kebab = limit
            .slug
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        let file = core().join("src/limits").join(format!("{}.rs", limit.slug.replace('-', "_")));
        !kebab || !file.exists() || read(&file) != limit.source
    });
    none(wrong.map(|limit| format!("{}: not kebab-case, or `source` is not its own file", limit.slug)).collect());
}

#[test]
fn every_page_has_its_sections_in_order_and_something_in_each() {
    let mut wrong = Vec::new();
    for limit in LIMITS {
        let page = limit.page();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if headings != SECTIONS || page.lines().next() != Some(&*format!("# {}", limit.slug)) {
            wrong.push(format!("{}: sections {headings:?}, expected {SECTIONS:?} under its name", limit.slug));
        }
        let bodies = page.split("\n## ").skip(1).map(|section| section.split_once('\n').map_or("", |(_, body)| body));
        if bodies.into_iter().any(|body| body.trim().is_empty()) {
            wrong.push(format!("{}: a section is empty", limit.slug));
        }
        for (cause, meaning) in limit.causes {
            if !page.contains(&format!("`{cause}`")) || meaning.is_empty() {
                wrong.push(format!("{}: its page does not explain the cause {cause}", limit.slug));
            }
        }
        for slug in limit.look_alikes.iter().filter(|slug| !page.contains(&format!("`{slug}`"))) {
            wrong.push(format!("{}: its page does not say how {slug} differs", limit.slug));
        }
    }
    none(wrong);
}

#[test]
fn look_alikes_are_other_limits() {
    let bad = |limit: &&Limit, slug: &str| slug == limit.slug || Limit::by_slug(slug).is_none();
    let wrong = LIMITS.iter().flat_map(|limit| {
        let bad = limit.look_alikes.iter().filter(move |slug| bad(limit, slug));
        bad.map(|slug| format!("{}: {slug} is no other limit", limit.slug))
    });
    none(wrong.collect());
}

#[test]
fn causes_are_those_of_the_contract() {
    let contract: BTreeMap<_, _> = CONTRACT.iter().copied().collect();
    assert_eq!(contract.len(), CONTRACT.len(), "a limit is listed twice");
    for limit in LIMITS {
        let causes: BTreeSet<_> = limit.causes.iter().map(|(slug, _)| *slug).collect();
        let agreed: BTreeSet<_> = contract.get(limit.slug).into_iter().copied().flatten().copied().collect();
        assert_eq!(causes, agreed, "causes of {}", limit.slug);
        assert_eq!(causes.len(), limit.causes.len(), "{} has a cause twice", limit.slug);
    }
}

#[test]
fn knobs_look_like_sysctl_keys() {
    let roots = ["net", "fs", "kernel", "vm"];
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    };
    let is_key = |key: &str| {
        let parts: Vec<_> = key.split('.').collect();
        parts.len() >= 2 && roots.contains(&parts[0]) && parts.into_iter().all(part)
    };
    let wrong = LIMITS.iter().flat_map(|limit| {
        let bad = limit.knobs.iter().filter(|key| !is_key(key));
        bad.map(|key| format!("{}: {key} is no sysctl key", limit.slug))
    });
    none(wrong.collect());
}

#[test]
fn limits_and_scenarios_name_each_other() {
    let scenarios = files(&core().join("../tcproof-lab/scenarios"), "toml");
    let mut wrong = Vec::new();
    let names: BTreeSet<_> = scenarios.iter().map(|path| stem(path)).collect();
    for limit in LIMITS {
        let missing = limit.scenarios.iter().filter(|name| !names.contains(**name));
        wrong.extend(missing.map(|name| format!("{}: there is no scenario {name}", limit.slug)));
    }
    for path in &scenarios {
        let name = stem(path);
        let scenario: toml::Table = read(path).parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let word = |key: &str| scenario.get(key).and_then(toml::Value::as_str);
        let absent = scenario.get("absent").and_then(toml::Value::as_array).into_iter().flatten();
        let strangers = absent.filter_map(toml::Value::as_str).filter(|slug| Limit::by_slug(slug).is_none());
        wrong.extend(strangers.map(|slug| format!("scenario {name}: there is no limit {slug}")));
        // A scenario without a limit must find nothing: a quiet host.
        let Some(slug) = word("limit") else { continue };
        let Some(limit) = Limit::by_slug(slug) else {
            wrong.push(format!("scenario {name}: there is no limit {slug}"));
            continue;
        };
        if !limit.scenarios.contains(&&*name) {
            wrong.push(format!("{slug}: does not list its scenario {name}"));
        }
        if word("cause").is_some_and(|cause| limit.causes.iter().all(|(known, _)| *known != cause)) {
            wrong.push(format!("scenario {name}: {slug} has no such cause"));
        }
    }
    none(wrong);
}

/// The lines of a source file that are not comments, with their numbers, up to its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]" && *line != "mod tests {")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn lines_that(wrong: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let sources = files(&core().join("src"), "rs");
    assert!(!sources.is_empty());
    let mut found = Vec::new();
    for path in sources {
        let text = read(&path);
        let name = path.strip_prefix(core()).unwrap();
        let lines = code(&text).filter(|(_, line)| wrong(name, line));
        found.extend(lines.map(|(n, line)| format!("{}:{n}: {}", name.display(), line.trim())));
    }
    found
}

#[test]
fn the_core_does_no_io_and_nothing_unsafe() {
    assert!(read(&core().join("src/lib.rs")).contains("\n#![no_std]\n"));
    none(lines_that(|_, line| {
        ["std::", "extern crate std", "unsafe ", "unsafe{"].iter().any(|word| line.contains(word))
    }));
}

#[test]
fn thresholds_are_in_the_limits() {
    none(lines_that(|path, line| {
        let line = line.trim_start();
        let constant = line.contains("const ") || line.starts_with("static ");
        !path.starts_with("src/limits") && constant && [": f64", ": f32"].iter().any(|kind| line.contains(kind))
    }));
}

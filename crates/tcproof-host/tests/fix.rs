//! What `tcproof lint --fix` writes changes nothing of what boot sets: random trees of sysctl.d, before and after, are
//! loaded by models of both loaders (systemd 252, procps 4.0) into a model of the kernel.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tcproof_core::knobs::{self, Wrong};
use tcproof_core::lint::{Context, Tree, lint};
use tcproof_host::{Root, settings};

/// What the trees are made of: duplicates, patterns and exclusions that meet them, lenient ones, what the kernel refuses
/// or takes a part of, names, what sets other knobs, what is gone, inert, unknown, or no setting at all.
const LINES: &[&str] = &[
    "net.core.somaxconn = 8192",
    "net.core.somaxconn = 8192",
    "net/core/somaxconn=4096",
    "-net.core.somaxconn = 8192",
    "-net.core.somaxconn",
    "net.core.somaxconn = -1",
    "net.core.somaxconn = many",
    "net.core.somaxconn =",
    "  net.core.somaxconn = 8192  ",
    "net.core.somaxco?n = 100",
    "net.core.* = 200",
    "-net.core.*",
    "net.ipv4.tcp_rmem = 4096 131072 6291456",
    "net.ipv4.tcp_rmem = 8192 131072 33554432",
    "net.ipv4.tcp_rmem = 16384",
    "net.ipv4.tcp_rmem = 16384 # as they say",
    "net.ipv4.tcp_syncookies = 1",
    "net.ipv4.tcp_syncookies = 0",
    "net.ipv4.tcp_sy* = 2",
    "net.ipv4.tcp_congestion_control = cubic",
    "net.ipv4.tcp_congestion_control = bbr",
    "net.ipv4.ip_local_port_range = 32768 60999",
    "net.ipv4.ip_local_port_range = 1000 65000",
    "net.ipv4.ip_unprivileged_port_start = 80",
    "net.ipv4.ip_unprivileged_port_start = 1024",
    "net.ipv4.ip_forward = 1",
    "net.ipv4.ip_forward = 0",
    "net.ipv4.conf.all.accept_redirects = 1",
    "net.ipv4.conf.all.accept_redirects = 0",
    "net.ipv4.tcp_tw_recycle = 1",
    "-net.ipv4.tcp_tw_recycle = 1",
    "net.ipv4.tcp_tw_re* = 1",
    "net.ipv4.tcp_low_latency = 1",
    "net.ipv4.tcp_low_latency = 0",
    "net.ipv4.tcp_rto_max_ms = 60000",
    "kernel.unheard_of = 1",
    "kernel.unheard_of = 2",
    "sysctl -w net.core.somaxconn=1",
    "net.core.somaxconn 1",
    "# tcproof: allow shadowed — so that we see it",
    "# a comment = 1",
    "",
];
/// Where they stand: the second is masked when the first is there; `vendor` ones are never written.
const FILES: [&str; 5] = [
    "etc/sysctl.d/20-a.conf",
    "usr/lib/sysctl.d/20-a.conf",
    "usr/lib/sysctl.d/10-vendor.conf",
    "run/sysctl.d/30-b.conf",
    "etc/sysctl.conf",
];
const RELEASE: &str = "6.12.0\n";

#[derive(Clone, Copy, PartialEq)]
enum Loader {
    Systemd,
    Procps,
}

/// A line as both loaders understand it.
struct Entry {
    key: String,
    value: Option<String>,
}

fn entries(text: &str) -> impl Iterator<Item = Entry> + '_ {
    text.lines().filter_map(|line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        let (lenient, rest) = line.strip_prefix('-').map_or((false, line), |rest| (true, rest));
        let key = |key: &str| key.trim().replace('/', ".");
        match rest.split_once('=') {
            Some((name, value)) => Some(Entry { key: key(name), value: Some(value.trim().into()) }),
            None => lenient.then(|| Entry { key: key(rest), value: None }),
        }
    })
}

/// What a loader writes, in order.
fn writes(loader: Loader, texts: &[String]) -> Vec<(String, String)> {
    let mut list: Vec<Entry> = Vec::new();
    for entry in texts.iter().flat_map(|text| entries(text)) {
        if loader == Loader::Systemd {
            // An ordered map: what comes again with another value goes to its end, else it stays where it is.
            if let Some(at) = list.iter().position(|other| other.key == entry.key) {
                if list[at].value == entry.value {
                    continue;
                }
                list.remove(at);
            }
        }
        list.push(entry);
    }
    let mut written = Vec::new();
    for entry in &list {
        let Some(value) = &entry.value else { continue };
        match entry.key.contains(['*', '?']) {
            false => written.push((entry.key.clone(), value.clone())),
            true => {
                let met = Kernel::new().values.into_keys().filter(|key| meets(entry.key.as_bytes(), key.as_bytes()));
                let free = met.filter(|key| list.iter().all(|other| other.key != *key));
                written.extend(free.map(|key| (key, value.clone())));
            }
        }
    }
    written
}

/// glob(3), as far as the lines need it.
fn meets(pattern: &[u8], key: &[u8]) -> bool {
    match (pattern.first(), key.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            meets(&pattern[1..], key) || (key.first().is_some_and(|c| *c != b'.') && meets(pattern, &key[1..]))
        }
        (Some(b'?'), Some(c)) => *c != b'.' && meets(&pattern[1..], &key[1..]),
        (Some(p), Some(c)) => p == c && meets(&pattern[1..], &key[1..]),
        _ => false,
    }
}

/// The knobs of the lines, and what writing them does.
#[derive(Debug, PartialEq)]
struct Kernel {
    values: BTreeMap<String, String>,
}

impl Kernel {
    fn new() -> Self {
        let values = [
            ("net.core.rmem_max", "212992"),
            ("net.core.somaxconn", "4096"),
            ("net.ipv4.conf.all.accept_redirects", "1"),
            ("net.ipv4.ip_forward", "0"),
            ("net.ipv4.ip_local_port_range", "32768 60999"),
            ("net.ipv4.ip_unprivileged_port_start", "1024"),
            ("net.ipv4.tcp_congestion_control", "cubic"),
            ("net.ipv4.tcp_low_latency", "0"),
            ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
            ("net.ipv4.tcp_syn_retries", "6"),
            ("net.ipv4.tcp_syncookies", "1"),
        ];
        Self { values: values.map(|(key, value)| (key.into(), value.into())).into() }
    }

    fn write(&mut self, key: &str, value: &str) {
        let number = |key: &str| self.values[key].parse::<i64>().unwrap_or_default();
        let Some(old) = self.values.get(key) else { return };
        let knob = knobs::by_key(key);
        if knob.is_some_and(|knob| matches!(knob.kind.judge(value), Err(Wrong::Refused(_)))) {
            return;
        }
        let first = value.split_whitespace().next().and_then(|first| first.parse::<i64>().ok());
        let new = match key {
            "net.ipv4.tcp_congestion_control" if value != "cubic" => return,
            "net.ipv4.ip_local_port_range" if first < Some(number("net.ipv4.ip_unprivileged_port_start")) => return,
            // As many numbers as there are, and the others stay.
            _ if knob.is_some_and(|knob| knob.kind.takes_several()) => {
                let given = value.split_whitespace().take_while(|word| word.parse::<i64>().is_ok());
                let kept = old.split_whitespace().skip(given.clone().count());
                given.chain(kept).collect::<Vec<_>>().join(" ")
            }
            _ => value.to_string(),
        };
        if key == "net.ipv4.ip_forward" && new != *old {
            let on = i64::from(first != Some(0));
            self.values.insert("net.ipv4.conf.all.accept_redirects".into(), (1 - on).to_string());
        }
        self.values.insert(key.into(), new);
    }
}

/// The texts that a loader reads, in order.
fn read(root: &Path, loader: Loader) -> Vec<String> {
    let mut names = BTreeMap::new();
    for folder in ["usr/lib/sysctl.d", "run/sysctl.d", "etc/sysctl.d"] {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            names.insert(path.file_name().unwrap().to_owned(), path);
        }
    }
    let mut paths: Vec<_> = names.into_values().collect();
    let conf = root.join("etc/sysctl.conf");
    paths.extend((loader == Loader::Procps && conf.exists()).then_some(conf));
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn booted(root: &Path, loader: Loader) -> Kernel {
    let mut kernel = Kernel::new();
    for (key, value) in writes(loader, &read(root, loader)) {
        kernel.write(&key, &value);
    }
    kernel
}

/// What tcproof says that each loader ends with; a key that the kernel does not have ends with nothing.
fn said(tree: &Tree) -> Vec<BTreeMap<String, String>> {
    let context = Context::new(tree);
    let is_there = |key: &&str| context.knob(key).is_none_or(|knob| knob.exists.in_kernel(tree.machine.kernel));
    let of_load = |load: usize| {
        let last = |key: &str| Some((key.to_string(), context.setters(load, key).last()?.setting.value.clone()?));
        context.keys(load).filter(is_there).filter_map(last).collect()
    };
    (0..tree.loads.len()).map(of_load).collect()
}

/// As the command does it.
fn fix(root: &Path, tree: &Tree) -> usize {
    let found = lint(tree);
    let mut written = 0;
    for (index, file) in tree.files.iter().enumerate().filter(|(_, file)| !file.is_vendors()) {
        if let Some(new) = tree.corrected(index, &found.findings, true) {
            fs::write(root.join(&file.path[1..]), new).unwrap();
            written += 1;
        }
    }
    written
}

fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(LINES)
}

fn file() -> impl Strategy<Value = Option<String>> {
    let lines = (prop::collection::vec(line(), 0..8), prop::sample::select(&["\n", "\r\n"][..]), any::<bool>());
    let text = lines.prop_map(|(lines, end, is_ended)| lines.join(end) + if is_ended { end } else { "" });
    prop::option::weighted(0.7, text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boot_sets_the_same_after_a_fix(
        texts in prop::collection::vec(file(), FILES.len()),
        has_systemd in any::<bool>(),
        has_procps in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/kernel/osrelease", RELEASE);
        for (is_there, path) in [(has_systemd, "usr/lib/systemd/systemd-sysctl"), (has_procps, "usr/sbin/sysctl")] {
            if is_there {
                put(path, "");
            }
        }
        for (path, text) in FILES.iter().zip(&texts) {
            if let Some(text) = text {
                put(path, text);
            }
        }
        let boot = || settings::boot(&Root::new(root));
        let loaders = [Loader::Systemd, Loader::Procps];
        let before = boot();
        let truth = loaders.map(|loader| booted(root, loader));
        fix(root, &before);
        let after = boot();
        prop_assert_eq!(said(&before), said(&after));
        prop_assert_eq!(truth, loaders.map(|loader| booted(root, loader)));
        prop_assert_eq!(fix(root, &after), 0, "a second run finds something to correct");
    }
}

/// The property above would hold if nothing were ever corrected.
#[test]
fn something_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
    fs::write(root.join("proc/sys/kernel/osrelease"), RELEASE).unwrap();
    fs::create_dir_all(root.join("etc/sysctl.d")).unwrap();
    let file = root.join("etc/sysctl.d/20-a.conf");
    fs::write(&file, "net.core.somaxconn = 1\nnet.ipv4.tcp_tw_recycle = 1\nnet.core.somaxconn = 8192\r\n").unwrap();
    assert_eq!(fix(root, &settings::boot(&Root::new(root))), 1);
    let fixed = fs::read_to_string(&file).unwrap();
    assert_eq!(fixed, "# net.core.somaxconn = 1\n# net.ipv4.tcp_tw_recycle = 1\nnet.core.somaxconn = 8192\r\n");
}

//! The readers of sysctl files beside the real loaders, where those are there. Nothing of the host is written: procps is
//! asked with `--dry-run`, systemd-sysctl writes knobs of a network namespace that ends with it.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;
use tcproof_core::lint::{Context, Loader, Tree};
use tcproof_host::{Root, settings};

const SYSTEMD_SYSCTL: &str = "/usr/lib/systemd/systemd-sysctl";
/// Each network namespace has its own, and takes 1 and 2.
const KEYS: [&str; 6] = [
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.lo.rp_filter",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
];
/// They overlap in nothing: of patterns that do, the order is not the same in all versions of systemd.
const PATTERNS: [&str; 2] = ["net.ipv4.conf.[al]*.rp_filter", "net.ipv4.tcp_keepalive_*"];

/// Values by key, after all lines.
type Values = BTreeMap<String, String>;

/// A failing case is printed, and nothing is left in the source tree.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says SKIP, unless procps is there and can be asked without writing. Before 4.0 it knows no such option, and does
/// nothing when it meets one.
fn has_dry_run(test: &str) -> bool {
    let has = run("sysctl", &["--help"]).is_some_and(|help| help.contains("--dry-run"));
    if !has {
        skip(&format!("SKIP {test}: no sysctl with --dry-run (procps 4.0)"));
    }
    has
}

/// What the loader ends with for that key, by what was read of its files.
fn winner(tree: &Tree, load: usize, key: &str, is_procps: bool) -> Option<String> {
    let context = Context::new(tree);
    let sites = context.setters(load, key);
    let mut by_name = sites.iter().rev().filter(|site| !site.setting.is_pattern).map(|site| &site.setting.value);
    let last = by_name.clone().next();
    match (is_procps, last) {
        (_, None) => sites.last().and_then(|site| site.setting.value.clone()),
        // A `-key` behind an assignment takes it back in systemd; in procps it only takes the key out of patterns.
        (true, Some(_)) => by_name.find_map(Clone::clone),
        (false, Some(value)) => value.clone(),
    }
}

fn lines(exclusions_of_patterns: bool) -> impl Strategy<Value = String> {
    let key = select(&KEYS[..]).prop_flat_map(|key| select(vec![key.to_string(), key.replace('.', "/")]));
    let line = (0..9u8, key, select(&PATTERNS[..]), 1..3u8).prop_map(move |(form, key, pattern, value)| match form {
        0 => format!("{key} = {value}"),
        1 => format!("-{key}={value}\r"),
        2 => format!("-{key}"),
        3 => format!(" \t{key}\t=  {value} \t"),
        4 => format!("# {key} = {value}"),
        5 => format!(";{key} = {value}"),
        6 => format!("{key} {value}"),
        7 => format!("{pattern} = {value}"),
        _ if exclusions_of_patterns => format!("-{pattern}"),
        _ => String::new(),
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

/// Two files in a directory, as read by tcproof, and their paths.
fn write(directory: &Path, texts: [&str; 2]) -> (Tree, [String; 2]) {
    let paths = ["1.conf", "2.conf"].map(|name| directory.join(name));
    for (path, text) in paths.iter().zip(texts) {
        fs::write(path, text).unwrap();
    }
    let tree = settings::named(&paths, &Root::new("/"));
    (tree, paths.map(|path| path.to_str().unwrap().to_string()))
}

/// `key = value` lines; of one key the last.
fn values(text: &str) -> Values {
    let pairs = text.lines().filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn procps_reads_lines_so() {
    if !has_dry_run("procps_reads_lines_so") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    proptest!(cases(100), |(one in lines(true), two in lines(true))| {
        let (tree, [first, second]) = write(directory.path(), [&one, &two]);
        let wanted = values(&run("sysctl", &["--dry-run", "-p", &first, &second]).unwrap());
        for key in KEYS {
            prop_assert_eq!(winner(&tree, 0, key, true), wanted.get(key).cloned(), "{} in {:?} {:?}", key, one, two);
        }
    });
}

#[test]
fn systemd_reads_lines_so() {
    let inside = |script: &str, arguments: &[&str]| {
        run("unshare", &[&["--net", "--", "sh", "-c", script, "sh"], arguments].concat())
    };
    // Each line on its own, and no value has blanks: `sysctl` prints them in the order of the arguments.
    let show = format!("sysctl {}", KEYS.join(" "));
    let (Some(before), true) = (inside(&show, &[]), Path::new(SYSTEMD_SYSCTL).exists()) else {
        skip(&format!("SKIP systemd_reads_lines_so: no {SYSTEMD_SYSCTL}, or no unshare"));
        return;
    };
    let before = values(&before);
    let can_write = inside("echo 2 >/proc/sys/net/ipv4/tcp_fin_timeout && echo yes", &[]);
    if before.len() < KEYS.len() || can_write.is_none_or(|answer| !answer.contains("yes")) {
        skip("SKIP systemd_reads_lines_so: no network namespace whose knobs can be written (root)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!("{SYSTEMD_SYSCTL} \"$@\" 2>/dev/null; {show}");
    proptest!(cases(50), |(one in lines(false), two in lines(false))| {
        let (tree, [first, second]) = write(directory.path(), [&one, &two]);
        let after = values(&inside(&script, &[&first, &second]).unwrap());
        for key in KEYS {
            let wanted = winner(&tree, 0, key, false).unwrap_or_else(|| before[key].clone());
            prop_assert_eq!(&wanted, &after[key], "{} in {:?} {:?}", key, one, two);
        }
    });
}

/// The paths of a load without links, in order.
fn order(tree: &Tree, loader: Loader) -> Vec<String> {
    let load = tree.loads.iter().find(|load| load.loader == loader).unwrap();
    let paths = load.files.iter().map(|index| tree.files[*index].path.clone());
    paths.filter(|path| path.starts_with('/')).collect()
}

/// Each path only where it stands last, without links.
fn last_only(root: &Path, paths: impl Iterator<Item = String>) -> Vec<String> {
    let base = fs::canonicalize(root).unwrap();
    let inside = |path: PathBuf| format!("/{}", path.strip_prefix(&base).unwrap().display());
    let real = |path: String| inside(fs::canonicalize(root.join(path.trim_start_matches('/'))).unwrap());
    let mut real: Vec<String> = paths.map(real).collect();
    real.reverse();
    let mut seen = Vec::new();
    real.retain(|path| {
        !seen.contains(path) && {
            seen.push(path.clone());
            true
        }
    });
    real.reverse();
    real
}

#[test]
fn procps_reads_this_machine_so() {
    if !has_dry_run("procps_reads_this_machine_so") {
        return;
    }
    // In this order: what stands behind --system is not looked at any more.
    let output = run("sysctl", &["--dry-run", "--system"]).unwrap();
    let applied = output.lines().filter_map(|line| line.strip_prefix("* Applying ")?.strip_suffix(" ..."));
    let tree = settings::boot(&Root::new("/"));
    assert_eq!(order(&tree, Loader::Procps), last_only(Path::new("/"), applied.map(str::to_string)));
    let load = tree.loads.iter().position(|load| load.loader == Loader::Procps).unwrap();
    for (key, value) in values(&output) {
        assert_eq!(winner(&tree, load, &key, true), Some(value), "{key}");
    }
}

#[test]
fn systemd_orders_files_so() {
    let host = tempfile::tempdir().unwrap();
    let path = |path: &str| {
        let path = host.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for file in [
        "proc/sys/kernel/osrelease",
        "etc/sysctl.conf",
        "etc/sysctl.d/50-b.conf",
        "etc/sysctl.d/.hidden.conf",
        "etc/sysctl.d/README",
        "run/sysctl.d/10-a.conf",
        "run/sysctl.d/50-b.conf",
        "usr/local/lib/sysctl.d/B.conf",
        "usr/local/lib/sysctl.d/a.conf",
        "usr/lib/sysctl.d/9.conf",
        "usr/lib/sysctl.d/10-é.conf",
    ] {
        fs::write(path(file), "6.1.0\n").unwrap();
    }
    symlink("../sysctl.conf", path("etc/sysctl.d/99-sysctl.conf")).unwrap();
    symlink("usr/lib", path("lib")).unwrap();
    let root = format!("--root={}", host.path().display());
    let Some(output) = run("systemd-analyze", &["cat-config", "--no-pager", &root, "sysctl.d"])
        .filter(|output| output.contains("50-b.conf"))
    else {
        skip("SKIP systemd_orders_files_so: no systemd-analyze with cat-config --root");
        return;
    };
    let base = fs::canonicalize(host.path()).unwrap();
    let paths = output.lines().filter_map(|line| line.strip_prefix("# "));
    let paths = paths.map(|path| path.strip_prefix(base.to_str().unwrap()).unwrap_or(path).to_string());
    let wanted = last_only(host.path(), paths);
    assert!(wanted.len() > 5, "{output}");
    assert_eq!(order(&settings::boot(&Root::new(host.path())), Loader::Systemd), wanted);
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

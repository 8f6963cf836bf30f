//! The table of counters against kernels: this one, and those that were recorded.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeSet;
use std::path::Path;

use tcproof_core::Version;
use tcproof_core::counters::{self, Counter};
use tcproof_host::{Root, procfs};

/// The groups that stand in files with names, so that a kernel can be asked for each.
const GROUPS: [&str; 8] = ["TcpExt.", "Tcp.", "Ip.", "Icmp.", "Icmp6.", "Udp.", "MPTcpExt.", "sockstat."];

/// The names that a kernel has, as the table writes them.
fn names(root: &Root) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, parse) in [
        ("netstat", procfs::netstat::parse as fn(&str, &str) -> _),
        ("snmp", procfs::netstat::parse),
        ("snmp6", procfs::snmp6::parse),
        ("sockstat", procfs::sockstat::parse),
    ] {
        let path = root.net_path(file);
        match root.read(&path) {
            Ok(text) => {
                let group = if file == "sockstat" { "sockstat." } else { "" };
                names.extend(parse(&text, &path).unwrap().into_keys().map(|name| format!("{group}{name}")));
            }
            // Without IPv6 there is no snmp6.
            Err(why) => skip(&format!("SKIP {file}: {why}")),
        }
    }
    names
}

/// Those of the table that a kernel can be asked for; of MPTCP and IPv6 only where it was built with them.
fn asked(names: &BTreeSet<String>) -> impl Iterator<Item = &'static Counter> {
    let has = |group: &str| names.iter().any(|name| name.starts_with(group));
    let groups: Vec<_> = GROUPS.into_iter().filter(|group| has(group)).collect();
    for group in GROUPS.iter().filter(|group| !groups.contains(group)) {
        skip(&format!("SKIP {group}*: this kernel has none of them"));
    }
    counters::all().filter(move |counter| groups.iter().any(|group| counter.name.starts_with(group)))
}

#[test]
fn this_kernel_has_what_the_table_says() {
    let root = Root::new("/");
    let release = root.read("proc/sys/kernel/osrelease").unwrap();
    let kernel = Version::of_release(&release).unwrap();
    let names = names(&root);
    let missing: Vec<_> =
        asked(&names).filter(|counter| counter.since <= kernel && !names.contains(counter.name)).collect();
    assert!(
        missing.is_empty(),
        "not in {kernel}: {:?}",
        missing.iter().map(|counter| counter.name).collect::<Vec<_>>()
    );

    let table: BTreeSet<&str> = counters::all().map(|counter| counter.name).collect();
    let unknown = names.iter().filter(|name| !table.contains(name.as_str())).count();
    println!("{kernel}: {} counters, of which the table does not know {unknown}", names.len());
}

#[test]
fn recorded_kernels_have_exactly_what_the_table_says_of_their_version() {
    for release in ["4.19", "5.10", "6.1", "6.12", "6.18", "7.2"] {
        let kernel = Version::of_release(release).unwrap();
        let names = names(&Root::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(release)));
        for counter in asked(&names) {
            assert_eq!(counter.since <= kernel, names.contains(counter.name), "{} in {release}", counter.name);
        }
    }
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

//! The table of knobs against the running kernel: what is there, whose it is, how it begins, what it takes.
//!
//! Everything is written in namespaces made for it, and only what the table calls a namespace's own; whether that is
//! true is seen first, with a value next to the one that stands. Each test names every wrong entry at once.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tcproof_core::Version;
use tcproof_core::knobs::{self, Bounds, Fresh, Inside, Kind, Knob, Machine, Memory, Scope, Undo, Wrong};
use tcproof_lab::kit::netns::{self, Netns};
use tcproof_lab::kit::require_root;

/// Stable series and distributions have these before the mainline version that brought them, or after the one that
/// took them away.
const BACKPORTED: &[&str] = &["net.ipv4.tcp_shrink_window"];

/// Never written, whatever the table says: on some kernel they are the whole machine's though a namespace shows them
/// as writable, or can't be taken back.
const NEVER: &[&str] = &[
    "net.ipv4.tcp_allowed_congestion_control",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_expect_max",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_hooks_lwtunnel",
    "net.netfilter.nf_log_all_netns",
    "net.nf_conntrack_max",
];

/// What must hold around a knob before its own bounds decide what it takes.
const AROUND: &[(&str, &str, &str)] = &[
    // The range must lie above the ports that only root may bind, from both sides.
    ("net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_port_range", "65535 65535"),
];

/// Values that every kind of number should refuse, or read in a way that surprises.
const ODD: &[&str] =
    &["x", "16M", "1.5", "+1", "--1", "09", "0x", "1,2", "4294967296", "9999999999999999999999", "0x10", "010", " 1 "];

#[test]
fn knobs_are_there_or_not() {
    let kernel = machine().kernel;
    let (mut wrong, mut skipped) = (Vec::new(), Vec::new());
    for knob in knobs::all() {
        match (knob.exists.in_kernel(kernel), file(knob.key).exists()) {
            (true, false) if lacks_module(knob) => skipped.push(knob.key),
            (true, false) => wrong.push(format!("{} should be in {kernel}, and is not", knob.key)),
            (false, true) if !BACKPORTED.contains(&knob.key) => {
                wrong.push(format!("{} should not be in {kernel}, and is", knob.key));
            }
            _ => {}
        }
    }
    skip("knobs_are_there_or_not", "their module is not loaded", &skipped);
    none(&wrong);
}

#[test]
fn a_fresh_namespace_shows_what_is_its_own() {
    let Some(fresh) = namespace("a_fresh_namespace_shows_what_is_its_own") else { return };
    let present = present();
    let wrong: Vec<_> = inside(&fresh, || present.into_iter().filter_map(wrong_inside).collect());
    none(&wrong);
}

fn wrong_inside(knob: &Knob) -> Option<String> {
    let mode = fs::metadata(file(knob.key)).ok().map(|file| file.permissions().mode());
    let found = match mode {
        None => "is not there",
        Some(mode) if mode & 0o200 == 0 => "can't be written",
        Some(_) => "can be written",
    };
    let expected = match knob.scope {
        Scope::Namespace { .. } if is_read_only(knob) => "can't be written",
        Scope::Namespace { .. } => "can be written",
        Scope::Global { inside: Inside::Absent } => "is not there",
        Scope::Global { inside: Inside::ReadOnly } => "can't be written",
        Scope::Global { inside: Inside::Writable } => "can be written",
        Scope::Global { inside: Inside::Everywhere } if mode.is_some() => return None,
        Scope::Global { inside: Inside::Everywhere } => "is there",
    };
    (found != expected).then(|| format!("{} {found} in a namespace of its own; the table: {expected}", knob.key))
}

#[test]
fn a_fresh_namespace_begins_with_what_the_table_says() {
    const NAME: &str = "a_fresh_namespace_begins_with_what_the_table_says";
    let Some(creator) = namespace(NAME) else { return };
    let machine = machine();
    let owned: Vec<_> = present().into_iter().filter(|knob| knob.is_namespaced()).collect();
    let initial: Vec<_> = owned.iter().map(|knob| read(knob.key)).collect();
    // Its creator differs from it in everything, so that nothing is inherited unseen.
    let (fresh, creators) = inside(&creator, || {
        for knob in owned.iter().filter(|knob| may_be_written(knob)) {
            // A namespace that is made while this one is set gets a table of its own, and other defaults by its size.
            if knob.key != "net.ipv4.tcp_child_ehash_entries" {
                other_value(knob, &read(knob.key).unwrap_or_default()).map(|value| write(&creator, knob.key, &value));
            }
        }
        (Netns::new().unwrap(), owned.iter().map(|knob| read(knob.key)).collect::<Vec<_>>())
    });
    let found: Vec<_> = inside(&fresh, || owned.iter().map(|knob| read(knob.key)).collect());
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for (((knob, found), initial), creators) in owned.iter().zip(found).zip(initial).zip(creators) {
        let Scope::Namespace { fresh } = knob.scope else { continue };
        let expected = match fresh {
            Fresh::Default => knob.default_on(&machine),
            Fresh::Initial => initial,
            Fresh::Creator => creators,
        };
        match (expected, found) {
            (Some(expected), Some(found)) if same(knob, &expected, &found) => {}
            (None, _) => unknown.push(knob.key),
            (Some(expected), found) => {
                let found = found.unwrap_or_else(|| "nothing".into());
                wrong.push(format!("{} begins with {found}; the table ({fresh:?}): {expected}", knob.key));
            }
        }
    }
    skip(NAME, "their default is not known", &unknown);
    none(&wrong);
}

#[test]
fn what_one_namespace_sets_no_other_sees() {
    let Some(netns) = namespace("what_one_namespace_sets_no_other_sees") else { return };
    let (_, wrong) = own(&netns);
    none(&wrong);
}

#[test]
fn the_kernel_takes_what_the_table_says_and_refuses_the_rest() {
    const NAME: &str = "the_kernel_takes_what_the_table_says_and_refuses_the_rest";
    let Some(netns) = namespace(NAME) else { return };
    let (own, _) = own(&netns);
    let (tested, others): (Vec<_>, Vec<_>) = present().into_iter().partition(|knob| own.contains(knob.key));
    let untested: Vec<_> = others.iter().filter(|knob| knob.is_namespaced()).map(|knob| knob.key).collect();
    let wrong: Vec<_> = inside(&netns, || tested.iter().flat_map(|knob| contradictions(&netns, knob)).collect());
    skip(NAME, "they can't be taken back, or nothing else is known to write", &untested);
    none(&wrong);
}

/// What the kernel says about a knob's values that the table does not.
fn contradictions(netns: &Netns, knob: &Knob) -> Vec<String> {
    let mut wrong = Vec::new();
    let around: Vec<_> = AROUND.iter().filter(|(key, ..)| *key == knob.key).collect();
    let others: Vec<_> = around.iter().map(|(_, other, _)| (*other, read(other).unwrap())).collect();
    around.iter().for_each(|(_, other, value)| write(netns, other, value).unwrap());
    let old = read(knob.key).unwrap();
    for text in values(&knob.kind) {
        let before = knob.kind.numbers(&read(knob.key).unwrap());
        let written = write(netns, knob.key, &text);
        let now = read(knob.key).unwrap();
        let refused = match written {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => true,
            Err(error) => {
                wrong.push(format!("{} = {text:?}: {error}", knob.key));
                continue;
            }
            Ok(()) => false,
        };
        let judged = knob.kind.judge(&text);
        if refused != matches!(judged, Err(Wrong::Refused(_))) {
            let what = if refused { "refused" } else { "taken" };
            wrong.push(format!("{} = {text:?} is {what} (now {now:?}); the table: {judged:?}", knob.key));
        } else if !refused && !before.is_empty() {
            // Numbers that are left out stay as they were.
            let mut expected = knob.kind.numbers(&text);
            expected.extend(before.iter().skip(expected.len()));
            if knob.kind.numbers(&now) != expected {
                wrong.push(format!("{} = {text:?} is read back as {now:?}", knob.key));
            }
        }
    }
    let undone = write(netns, knob.key, &old);
    if undone.is_err() || read(knob.key).as_deref() != Some(&old) {
        wrong.push(format!("{} can't be put back to {old:?} ({undone:?}): now {:?}", knob.key, read(knob.key)));
    }
    others.iter().rev().for_each(|(other, value)| write(netns, other, value).unwrap());
    wrong
}

/// Values at the edges of what a kind takes and of what makes sense, all of them where they are few, and odd ones.
fn values(kind: &Kind) -> Vec<String> {
    let edges = |bounds: &[Bounds]| {
        let ends = bounds.iter().flat_map(|b| [b.min, b.max]);
        let ends = ends.chain([0, i64::from(i32::MIN), i64::from(i32::MAX), i64::from(u32::MAX)]);
        let near = ends.flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)]);
        near.chain(0..=300).collect::<BTreeSet<i64>>()
    };
    let odd = || ODD.iter().map(ToString::to_string);
    let one =
        |numbers: BTreeSet<i64>| numbers.iter().map(ToString::to_string).chain(odd()).chain(["1 2".into()]).collect();
    match kind {
        Kind::Number { kernel, sane } => one(edges(&[*kernel, *sane])),
        Kind::Choice { kernel, meanings } | Kind::Flags { kernel, meanings } => {
            let mut numbers = edges(&[*kernel]);
            numbers.extend(meanings.iter().map(|(number, _)| *number));
            one(numbers)
        }
        Kind::Triple { kernel, sane } => {
            let (low, high) = (sane.min, sane.max);
            let place = |n: i64| [format!("{n} {low} {low}"), format!("{low} {n} {high}"), format!("{low} {high} {n}")];
            let few = ["4096 87380", "4096", "8192 4096 2048", "1 2 3 4", "1,2,3", "a b c"].map(str::to_string);
            edges(&[*kernel, *sane]).into_iter().flat_map(place).chain(few).chain(odd()).collect()
        }
        Kind::PortRange => {
            let ends = [-1_i64, 0, 1, 2, 1023, 1024, 32768, 65534, 65535, 65536, 1 << 32];
            let pairs = ends.iter().flat_map(|low| ends.map(|high| format!("{low} {high}")));
            pairs.chain(["1024", "1024-65535", "1024,65535", "1 2 3", "a b"].map(str::to_string)).collect()
        }
        Kind::PortList => [
            "8080",
            "8080,9000-9100",
            "80-70",
            "80;90",
            "65535",
            "65536",
            "1-65535",
            "0",
            "a",
            "80,,90",
            "80, 90",
            "-1",
            "80-",
        ]
        .map(str::to_string)
        .into(),
        Kind::Key => {
            let key = "00112233-44556677-8899aabb-ccddeeff";
            let mut keys =
                vec![key.to_string(), format!("{key},{key}"), format!("{key},{key},{key}"), format!("{key}-1")];
            keys.extend(
                ["x", "1", "00112233-44556677-8899aabb", "00112233-44556677-8899aabb-ccddeefg"].map(str::to_string),
            );
            keys
        }
        Kind::Cpus | Kind::Name | Kind::Names | Kind::ReadOnly => Vec::new(),
    }
}

/// The keys of knobs that are a namespace's own and may be written there, and what is wrong with the others: a value
/// next to the one that stands is set, and the host's does not follow.
fn own(netns: &Netns) -> (BTreeSet<&'static str>, Vec<String>) {
    let (mut own, mut wrong) = (BTreeSet::new(), Vec::new());
    for knob in present().into_iter().filter(|knob| may_be_written(knob)) {
        let key = knob.key;
        let outside = read(key);
        let (old, set) = inside(netns, || {
            let old = read(key).unwrap_or_default();
            let set = other_value(knob, &old).map(|value| (write(netns, key, &value), read(key), value));
            (old, set)
        });
        let after = read(key);
        let undone = inside(netns, || write(netns, key, &old));
        let Some((written, now, value)) = set else { continue };
        if after != outside {
            wrong.push(format!("{key} is not a namespace's own: set to {value} in one, it was {after:?} outside"));
        } else if let Err(error) = written {
            wrong.push(format!("{key} = {value:?} in a namespace: {error}"));
        } else if !now.is_some_and(|now| same(knob, &now, &value)) {
            wrong.push(format!("{key} = {value:?} in a namespace has no effect there"));
        } else if let Err(error) = undone {
            wrong.push(format!("{key} can't be put back to {old:?}: {error}"));
        } else {
            own.insert(key);
        }
    }
    (own, wrong)
}

/// Another value that makes sense, as near as can be.
fn other_value(knob: &Knob, old: &str) -> Option<String> {
    let sensible = |value: &String| knob.kind.judge(value).is_ok() && !same(knob, value, old);
    match &knob.kind {
        Kind::Key => Some("00112233-44556677-8899aabb-ccddeeff".into()),
        Kind::PortList => Some("8080,9000-9100".into()),
        Kind::Name if knob.key == "net.ipv4.tcp_congestion_control" => {
            let available = read("net.ipv4.tcp_available_congestion_control")?;
            available.split_ascii_whitespace().map(str::to_string).find(|name| name != old)
        }
        Kind::Cpus => ["1", "0"].map(str::to_string).into_iter().find(|cpus| !same(knob, cpus, old)),
        kind => {
            let numbers = kind.numbers(old);
            let (first, rest) = numbers.split_first()?;
            let rest: String = rest.iter().map(|number| format!(" {number}")).collect();
            let near = [1, -1].map(|step| first + step).into_iter().chain(0..=300).chain([1 << 10, 1 << 15]);
            near.map(|number| format!("{number}{rest}")).find(sensible)
        }
    }
}

fn same(knob: &Knob, one: &str, other: &str) -> bool {
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_string).collect::<Vec<_>>();
    match (&*knob.kind.numbers(one), &*knob.kind.numbers(other)) {
        ([], _) | (_, []) => words(one) == words(other),
        (one, other) => one == other,
    }
}

fn is_read_only(knob: &Knob) -> bool {
    matches!(knob.kind, Kind::ReadOnly) || knob.undo == Undo::ReadOnly
}

fn may_be_written(knob: &Knob) -> bool {
    let back = !is_read_only(knob) && !matches!(knob.undo, Undo::OneWay(_));
    knob.is_namespaced() && back && !NEVER.contains(&knob.key)
}

/// The knobs that the calling thread's namespace shows: of the initial one, those that this kernel has.
fn present() -> Vec<&'static Knob> {
    knobs::all().filter(|knob| file(knob.key).exists()).collect()
}

fn lacks_module(knob: &Knob) -> bool {
    knob.exists.module.is_some_and(|module| !Path::new("/sys/module").join(module).exists())
}

fn file(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

/// As the calling thread's namespace sees it.
fn read(key: &str) -> Option<String> {
    fs::read_to_string(file(key)).ok().map(|text| text.trim_end().to_owned())
}

/// In that namespace, where the calling thread is, and nowhere else.
fn write(netns: &Netns, key: &str, value: &str) -> io::Result<()> {
    assert_eq!(netns::current_inode().unwrap(), netns.inode(), "nothing is written elsewhere");
    let knob = knobs::by_key(key).unwrap();
    assert!(may_be_written(knob), "{key} is never written");
    // One call, as sysctl does it: the kernel ignores what comes behind a first part.
    OpenOptions::new().write(true).open(file(key))?.write(value.as_bytes()).map(|_| ())
}

fn machine() -> Machine {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    Machine {
        kernel: Version::of_release(&release).unwrap(),
        memory: kilobytes
            .and_then(|kb| kb.trim().parse::<u64>().ok())
            .map(|kb| Memory { bytes: kb * 1024, page_bytes: rustix::param::page_size() as u64 }),
        cpus: u32::try_from(cpus.lines().filter(|line| line.starts_with("processor")).count()).ok(),
        ehash_entries: read("net.ipv4.tcp_ehash_entries").and_then(|entries| entries.parse().ok()),
    }
}

fn namespace(test: &str) -> Option<Netns> {
    if let Err(why) = require_root() {
        println!("SKIP {test}: {why}");
        return None;
    }
    Some(Netns::new().unwrap())
}

fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    netns.run_in(work).unwrap()
}

fn skip(test: &str, why: &str, keys: &[&str]) {
    println!("SKIP {test}: {} of {} knobs, {why}: {}", keys.len(), knobs::all().count(), keys.join(" "));
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} contradictions:\n{}", wrong.len(), wrong.join("\n"));
}

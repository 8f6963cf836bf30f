//! The table of knobs against the running kernel: what is there, whose it is, how it begins, what it takes.
//!
//! Everything is written in namespaces made for it, and only what the table calls a namespace's own; whether that is
//! true is seen first, with a value next to the one that stands. Each test names every wrong entry at once.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tcproof_core::Version;
use tcproof_core::knobs::{self, Bounds, Fresh, Inside, Kind, Knob, Scope, Undo, Wrong};
use tcproof_host::{Root, settings};
use tcproof_lab::kit::netns::{self, Netns};
use tcproof_lab::kit::{machine, require_root};

/// Stable series have these, or their newer default, before the mainline version that brought them.
const BACKPORTED: &[&str] = &[
    "net.core.mem_pcpu_rsv",
    "net.ipv4.tcp_fastopen_blackhole_timeout_sec",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_shrink_window",
];

/// The table has whose a knob is in today's kernels. Before that one these were the initial namespace's alone.
const VISIBLE_SINCE: Version = Version(6, 12);
const NEWLY_VISIBLE: &[&str] = &[
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.wmem_default",
    "net.core.wmem_max",
];

/// The table has the bounds of today's kernels. Many older than this one took any number.
const BOUNDS_SINCE: Version = Version(6, 1);
/// Where the kernels from one version on, and before another, take something else.
const BOUNDS_ELSEWHERE: &[(&str, Version, Version, Bounds)] = &[
    ("net.ipv4.tcp_ecn", BOUNDS_SINCE, Version(7, 0), Bounds::new(0, 2)),
    ("net.ipv4.tcp_max_reordering", BOUNDS_SINCE, Version(6, 12), Bounds::INT),
    ("net.ipv4.tcp_reordering", BOUNDS_SINCE, Version(6, 12), Bounds::INT),
    ("net.ipv4.tcp_rmem", Version(7, 0), Version(u16::MAX, 0), Bounds::new(4096, i32::MAX as i64)),
];

/// The kernel looks at the lower half of a number only, so that some that are too large are taken as others.
const CUT: &[&str] = &["net.ipv4.tcp_invalid_ratelimit"];

/// Computed from the memory that is free at boot, some per cent less than what `MemTotal` says later.
const ROUGH: &str = "fs.file-max";

/// A minus before it says that the namespace has no table of its own.
const SHARED: &str = "net.ipv4.tcp_ehash_entries";

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
    ("net.ipv4.tcp_reordering", "net.ipv4.tcp_max_reordering", "2147483647"),
];

/// Values that every kind of number should refuse, or read in a way that surprises.
const ODD: &[&str] = &[
    "x",
    "16M",
    "1.5",
    "+1",
    "--1",
    "09",
    "0x",
    "1,2",
    "4294967296",
    "9999999999999999999999",
    "0x10",
    "010",
    " 1 ",
    "1 2",
];

const PORT_LISTS: &[&str] = &[
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
];

const KEYS: &[&str] = &[
    "00112233-44556677-8899aabb-ccddeeff",
    "00112233-44556677-8899aabb-ccddeeff,00112233-44556677-8899aabb-ccddeeff",
    "x",
    "1",
    "00112233-44556677-8899aabb",
    "00112233-44556677-8899aabb-xcddeeff",
];

#[test]
fn knobs_are_there_or_not() {
    let kernel = kernel();
    let (mut wrong, mut skipped) = (Vec::new(), Vec::new());
    for knob in knobs::all() {
        match (knob.exists.in_kernel(kernel), file(knob.key).exists()) {
            (true, false) if is_left_out(knob) => skipped.push(knob.key),
            (true, false) => wrong.push(format!("{} should be in {kernel}, and is not", knob.key)),
            (false, true) if !BACKPORTED.contains(&knob.key) => {
                wrong.push(format!("{} should not be in {kernel}, and is", knob.key));
            }
            _ => {}
        }
    }
    skip("knobs_are_there_or_not", "their module is not loaded, or their protocol not built", &skipped);
    none(&wrong);
}

#[test]
fn a_fresh_namespace_shows_what_is_its_own() {
    let Some(fresh) = namespace("a_fresh_namespace_shows_what_is_its_own") else { return };
    let (known, others) = scope_known();
    let wrong: Vec<_> = inside(&fresh, || known.into_iter().filter_map(wrong_inside).collect());
    skip("a_fresh_namespace_shows_what_is_its_own", "older kernels show them to no other namespace", &others);
    none(&wrong);
}

/// The knobs of this kernel whose scope is the table's, and the others' keys.
fn scope_known() -> (Vec<&'static Knob>, Vec<&'static str>) {
    let is_old = kernel() < VISIBLE_SINCE;
    let (others, known): (Vec<_>, _) =
        present().into_iter().partition(|knob| is_old && NEWLY_VISIBLE.contains(&knob.key));
    (known, others.iter().map(|knob| knob.key).collect())
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
    let machine = settings::machine(&Root::new("/"));
    let owned: Vec<_> = scope_known().0.into_iter().filter(|knob| knob.is_namespaced()).collect();
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
            (Some(expected), Some(found)) if knob.key == SHARED && found == format!("-{expected}") => {}
            (None, _) => unknown.push(knob.key),
            (Some(_), Some(_)) if BACKPORTED.contains(&knob.key) => {}
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
fn a_machine_that_has_just_booted_has_the_defaults() {
    const NAME: &str = "a_machine_that_has_just_booted_has_the_defaults";
    if machine::require().is_err() {
        println!("SKIP {NAME}: on a host anybody may have set anything (cargo xtask vm)");
        return;
    }
    let machine = settings::machine(&Root::new("/"));
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for knob in present() {
        match (knob.default_on(&machine), read(knob.key)) {
            (Some(expected), Some(found)) if same(knob, &expected, &found) || BACKPORTED.contains(&knob.key) => {}
            (Some(expected), Some(found)) if knob.key == ROUGH && is_about(&expected, &found) => {}
            (None, _) | (_, None) => unknown.push(knob.key),
            (Some(expected), Some(found)) => wrong.push(format!("{} is {found}; the table: {expected}", knob.key)),
        }
    }
    skip(NAME, "their default is not known, or they can't be read", &unknown);
    none(&wrong);
}

#[test]
fn what_one_namespace_sets_no_other_sees() {
    let Some(netns) = namespace("what_one_namespace_sets_no_other_sees") else { return };
    let (_, wrong) = own(&netns);
    none(&wrong);
}

#[test]
fn a_long_knob_is_read_to_its_end() {
    let Some(netns) = namespace("a_long_knob_is_read_to_its_end") else { return };
    // Every other port, or else the kernel tells ranges. Around what a small read takes, and what one write does.
    for count in [1, 169, 170, 171, 680] {
        let ports: Vec<_> = (0..count).map(|n| (10_001 + 2 * n).to_string()).collect();
        let key = "net.ipv4.ip_local_reserved_ports";
        inside(&netns, || write(&netns, key, &ports.join(",")).unwrap());
        let read = inside(&netns, || tcproof_host::knob(&Root::new("/"), key));
        assert!(read.value().unwrap().split(',').eq(&ports), "{count} ports");
    }
}

#[test]
fn the_kernel_takes_what_the_table_says_and_refuses_the_rest() {
    const NAME: &str = "the_kernel_takes_what_the_table_says_and_refuses_the_rest";
    let Some(netns) = namespace(NAME) else { return };
    let (own, _) = own(&netns);
    if kernel() < BOUNDS_SINCE {
        println!("SKIP {NAME}: the table has the bounds of kernels since {BOUNDS_SINCE}");
        return;
    }
    let (tested, others): (Vec<_>, Vec<_>) = present().into_iter().partition(|knob| own.contains(knob.key));
    let untested: Vec<_> = others.iter().filter(|knob| knob.is_namespaced()).map(|knob| knob.key).collect();
    let wrong: Vec<_> = inside(&netns, || tested.iter().flat_map(|knob| contradictions(&netns, knob)).collect());
    skip(NAME, "they can't be taken back, or nothing else is known to write", &untested);
    none(&wrong);
}

/// What the kernel says about a knob's values that the table does not.
fn contradictions(netns: &Netns, knob: &Knob) -> Vec<String> {
    let around: Vec<_> = AROUND.iter().filter(|(key, ..)| *key == knob.key).collect();
    let others: Vec<_> = around.iter().map(|(_, other, _)| (*other, read(other).unwrap())).collect();
    around.iter().for_each(|(_, other, value)| write(netns, other, value).unwrap());
    let old = read(knob.key).unwrap();
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in values(knob) {
        if let Some(what) = contradiction(netns, knob, &text) {
            wrong.entry(what).or_default().push(text);
        }
    }
    let undone = write(netns, knob.key, &old);
    if undone.is_err() || read(knob.key).as_deref() != Some(&old) {
        wrong.entry(format!("can't be taken back ({undone:?})")).or_default().push(old);
    }
    others.iter().rev().for_each(|(other, value)| write(netns, other, value).unwrap());
    let some = |texts: &[String]| match texts {
        [.., last] if texts.len() > 9 => format!("{:?} … {last:?} ({} values)", &texts[..8], texts.len()),
        few => format!("{few:?}"),
    };
    wrong.into_iter().map(|(what, texts)| format!("{}: {what}: {}", knob.key, some(&texts))).collect()
}

fn contradiction(netns: &Netns, knob: &Knob, text: &str) -> Option<String> {
    let before = knob.kind.numbers(&read(knob.key)?);
    let refused = match write(netns, knob.key, text) {
        Ok(()) => false,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => true,
        Err(error) => return Some(error.to_string()),
    };
    let judged = match elsewhere(knob) {
        Some(bounds) if knob.kind.numbers(text).iter().any(|n| !(bounds.min..=bounds.max).contains(n)) => {
            Err(Wrong::Refused("here".into()))
        }
        Some(_) if !knob.kind.numbers(text).is_empty() => Err(Wrong::Nonsense("here".into())),
        _ => knob.kind.judge(text),
    };
    match (refused, judged) {
        (false, Err(Wrong::Refused(_))) if CUT.contains(&knob.key) => None,
        (true, Ok(())) => Some("refused, though the table calls it good".into()),
        (true, Err(Wrong::Nonsense(_))) => Some("refused, though the table says taken".into()),
        (false, Err(Wrong::Refused(_))) => Some("taken, though the table says refused".into()),
        (true, Err(Wrong::Refused(_))) => None,
        (false, _) => {
            // Numbers that are left out stay as they were.
            let mut expected = knob.kind.numbers(text);
            expected.extend(before.iter().skip(expected.len()));
            let now = knob.kind.numbers(&read(knob.key)?);
            let is_near = |(one, other): (&i64, &i64)| one.abs_diff(*other) < tick(knob);
            let is_same = now.len() == expected.len() && now.iter().zip(&expected).all(is_near);
            (!is_same).then(|| "read back as something else".into())
        }
    }
}

/// Values at the edges of what a knob takes and of what makes sense, all of them where they are few, and odd ones.
fn values(knob: &Knob) -> Vec<String> {
    let odd = || ODD.iter().map(ToString::to_string);
    let one = |numbers: BTreeSet<i64>| numbers.iter().map(ToString::to_string).chain(odd()).collect();
    match &knob.kind {
        Kind::Number { kernel, sane } => one(edges(*kernel, *sane)),
        Kind::Choice { kernel, meanings } | Kind::Flags { kernel, meanings } => {
            one(edges(*kernel, *kernel).into_iter().chain(meanings.iter().map(|(number, _)| *number)).collect())
        }
        Kind::Triple { kernel, sane } => {
            let (low, high) = (sane.min, sane.max);
            let place = |n: i64| [format!("{n} {low} {low}"), format!("{low} {n} {high}"), format!("{low} {high} {n}")];
            let few =
                ["4096 87380", "4096", "8192 4096 2048", "4096 4096 4096 4", "1,2,3", "a b c"].map(str::to_string);
            edges(*kernel, *sane).into_iter().flat_map(place).chain(few).chain(odd()).collect()
        }
        Kind::PortRange => {
            let ends = [-1_i64, 0, 1, 2, 1023, 1024, 32768, 65534, 65535, 65536, 1 << 32];
            let pairs = ends.iter().flat_map(|low| ends.map(|high| format!("{low} {high}")));
            pairs.chain(["1024-65535", "1024,65535", "1 2 3", "a b"].map(str::to_string)).collect()
        }
        Kind::PortList => PORT_LISTS.iter().map(ToString::to_string).collect(),
        Kind::Key => KEYS.iter().map(ToString::to_string).collect(),
        Kind::Cpus | Kind::Name | Kind::Names | Kind::ReadOnly => Vec::new(),
    }
}

fn edges(kernel: Bounds, sane: Bounds) -> BTreeSet<i64> {
    let ends = [kernel.min, kernel.max, sane.min, sane.max, 0, i32::MIN.into(), i32::MAX.into(), u32::MAX.into()];
    let near = ends.into_iter().flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)]);
    let all = if kernel.max <= 300 { 0..=300 } else { 0..=2 };
    // What is kept in ticks may be 2^31 or 2^32 of them. The table has the bound of the slowest clock, 100 Hz; this
    // kernel's may be ten times as fast.
    let in_ticks = [i32::MAX / 100, i32::MAX / 1000].map(i64::from).contains(&kernel.max) || kernel.max == 42_949_672;
    let in_doubt = |number: &i64| in_ticks && number.abs() > kernel.max / 10 && number.abs() <= kernel.max;
    near.chain(all).filter(|number| !in_doubt(number)).collect()
}

/// How exactly a number is kept: milliseconds in ticks of up to ten.
fn tick(knob: &Knob) -> u64 {
    if knob.unit == "milliseconds" { 10 } else { 1 }
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
    let taken = |n: &i64| elsewhere(knob).is_none_or(|bounds| (bounds.min..=bounds.max).contains(n));
    let sensible = |value: &String| {
        knob.kind.judge(value).is_ok() && knob.kind.numbers(value).iter().all(taken) && !same(knob, value, old)
    };
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
            let step = i64::try_from(tick(knob)).ok()?;
            let near = [step, -step].map(|step| first + step).into_iter().chain(0..=300).chain([1 << 10, 1 << 15]);
            near.map(|number| format!("{number}{rest}")).find(sensible)
        }
    }
}

fn same(knob: &Knob, one: &str, other: &str) -> bool {
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_string).collect::<Vec<_>>();
    match (&*knob.kind.numbers(one), &*knob.kind.numbers(other)) {
        ([], _) | (_, []) => words(one) == words(other),
        (one, other) => one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.abs_diff(*b) < tick(knob)),
    }
}

fn is_about(one: &str, other: &str) -> bool {
    let (one, other): (f64, f64) = (one.parse().unwrap(), other.parse().unwrap());
    (one / other - 1.0).abs() < 0.05
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

/// Whether its module is not loaded, or the kernel was built without what the whole group belongs to.
fn is_left_out(knob: &Knob) -> bool {
    let lacks_module = knob.exists.module.is_some_and(|module| !Path::new("/sys/module").join(module).exists());
    lacks_module || !file(knob.key).parent().unwrap().exists()
}

/// What this kernel takes for each number, where that is not what the table says.
fn elsewhere(knob: &Knob) -> Option<Bounds> {
    let kernel = kernel();
    let entries = BOUNDS_ELSEWHERE
        .iter()
        .filter(|(key, since, before, _)| *key == knob.key && (*since..*before).contains(&kernel));
    entries.map(|(.., bounds)| *bounds).next()
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

fn kernel() -> Version {
    Version::of_release(&rustix::system::uname().release().to_string_lossy()).unwrap()
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

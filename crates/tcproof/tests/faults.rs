//! The matrix of faults: what accidents do in the middle of a change. After each, the knobs are byte for byte what they were,
//! or the exit code is 5 and what is said to be left to do does it. `cargo xtask faults` makes a table of them.
//!
//! Needs root, and for some strace or unshare(1); says `SKIP` without.

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use place::{KNOBS, PATIENCE, Place, TCPROOF, ended, skip, survived};

const AS_BEFORE: &str = "as before";

/// Whether a program is there and may do its work here.
fn works(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = status.is_ok_and(|status| status.success());
    if !works {
        skip(&format!("SKIP: there is no {program}, or it may do nothing here"));
    }
    works
}

fn strace_works() -> bool {
    works("strace", &["-o", "/dev/null", "true"])
}

fn unshare_works() -> bool {
    works("unshare", &["--mount", "true"])
}

fn exit(code: Option<i32>) -> String {
    code.map_or_else(|| "killed".into(), |code| code.to_string())
}

/// Follows apply with strace, and lets it be hit there.
fn traced(place: &Place, id: &str, inject: &str, path: Option<&str>, confirm: &str) -> Child {
    let (plan, journal) = (place.plan(id).display().to_string(), place.journal().display().to_string());
    traced_with(place, &plan, &journal, inject, path, confirm)
}

fn traced_with(place: &Place, plan: &str, journal: &str, inject: &str, path: Option<&str>, confirm: &str) -> Child {
    let trace = format!("trace={}", inject.split(':').next().unwrap_or_default());
    let inject = format!("inject={inject}");
    let log = place.folder.path().join("trace").display().to_string();
    // Not of the watchdog: `-f` would follow it too, and threads are made by clone alone. The namespace is the program's own,
    // so that all that is of the knobs happens in the thread that strace follows.
    let arguments = ["-o", &log, "-e", &trace, "-e", &inject, TCPROOF, "apply", plan, "--yes", "--confirm", confirm];
    let only = path.map_or(Vec::new(), |path| vec!["-P", path]);
    place.start("strace", &[&only[..], &arguments, &["--journal", journal]].concat())
}

/// Killed, or its call failing, at each durable step of the journal and at each call on a knob.
#[test]
fn the_matrix_of_faults() {
    let Some(place) = Place::new() else { return };
    if !strace_works() {
        return;
    }
    let before = place.knobs();
    let mut faults = 0;
    // Without a path: the journal's and stderr's calls too.
    let [one, other] = KNOBS.map(|(key, _)| format!("/proc/sys/{}", key.replace('.', "/")));
    for (call, what, path) in [
        ("fdatasync", "signal=SIGKILL", None),
        ("fsync", "signal=SIGKILL", None),
        ("write", "signal=SIGKILL", None),
        ("write", "signal=SIGKILL", Some(&one)),
        ("write", "signal=SIGKILL", Some(&other)),
        ("openat", "signal=SIGKILL", Some(&one)),
        ("openat", "signal=SIGKILL", Some(&other)),
        ("fdatasync", "error=EIO", None),
        ("write", "error=ENOSPC", None),
        ("write", "error=EINVAL", Some(&other)),
        ("openat", "error=EROFS", Some(&one)),
        ("openat", "error=ENOENT", Some(&other)),
    ] {
        let mut rows: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
        for number in 1..=40 {
            // What was killed waits for its watchdog; until then nothing else is applied.
            place.wait_for(|place| !place.waits(), "the watchdog has done its work");
            let of = path.map_or(0, |path| path.len());
            let id = format!("h-{call}-{}-{of}-{number}", what.len());
            let inject = format!("{call}:{what}:when={number}");
            let mut child = traced(&place, &id, &inject, path.map(String::as_str), "1s");
            let start = Instant::now();
            while child.try_wait().expect("it is ours").is_none() {
                assert!(start.elapsed() < PATIENCE, "{inject} hangs");
                sleep(Duration::from_millis(5));
            }
            let trace = fs::read_to_string(place.folder.path().join("trace")).unwrap_or_default();
            let (code, text) = ended(child);
            let mut after = AS_BEFORE;
            if code == Some(5) {
                // The very call failed that was to take back.
                assert!(text.contains("still to be done: sysctl -w \"net."), "{inject}: {text}");
                let (code, text) = place.run(&["rollback", &id]);
                assert_eq!(code, Some(0), "{inject}: {text}");
                after = "as before, by the rollback that it names";
            }
            place.wait_for(|place| place.knobs() == before, &format!("{inject}: {code:?} {text}"));
            if !trace.contains("INJECTED") && !trace.contains("killed by SIGKILL") {
                break;
            }
            faults += 1;
            rows.entry((exit(code), after)).or_default().push(number.to_string());
        }
        let of = path.map_or("any file", |path| path.rsplit('/').next().unwrap_or_default());
        for ((exit, after), numbers) in rows {
            survived(
                &format!("`{call}` {what}"),
                &format!("{of}: call {}", numbers.join(", ")),
                numbers.len(),
                &exit,
                after,
            );
        }
    }
    assert!(faults > 20, "{faults}");
}

#[test]
fn two_applies_at_once() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let rounds = 10;
    for round in 0..rounds {
        let mut both = ["a", "b"].map(|name| Some(place.apply(&format!("i-{round}{name}"), "60s")));
        let (start, mut refused) = (Instant::now(), None);
        while refused.is_none() {
            assert!(start.elapsed() < PATIENCE, "neither is refused");
            for apply in &mut both {
                if apply.as_mut().is_some_and(|it| it.try_wait().expect("it is ours").is_some()) {
                    refused = apply.take().map(ended);
                }
            }
            sleep(Duration::from_millis(5));
        }
        let (code, text) = refused.expect("one is");
        let is_said = text.contains("waits for its confirmation") || text.contains("another tcproof is changing");
        assert!(code == Some(1) && is_said, "{code:?} {text}");
        place.wait_for(|place| place.is_changed() && place.waits(), "the other one changes");
        assert_eq!(place.run(&["rollback"]).0, Some(0));
        let [winner] = &mut both.iter_mut().filter_map(Option::take).collect::<Vec<_>>()[..] else {
            panic!("one is left")
        };
        let status = winner.wait().expect("it ends");
        assert_eq!((status.code(), place.knobs()), (Some(4), before.clone()));
    }
    survived("two applies at once", "started together", rounds, "1 and 4", "one is refused, the other one's as before");
}

/// A namespace with that inode, which was another's. Each of its files in /proc/net takes a number of the same kind, so that
/// one of those may have it instead: then it is tried anew.
fn heir_of(inode: u64) -> Option<Place> {
    /// So many are kept at once, or they would be given the same numbers again and again.
    const KEPT: usize = 24;
    const ROUNDS: usize = 4;
    for _ in 0..ROUNDS {
        let mut others = Vec::new();
        while others.len() < KEPT {
            let next = Place::new().expect("as the first one");
            if next.namespace.inode() == inode {
                return Some(next);
            }
            others.push(next);
        }
    }
    None
}

#[test]
fn a_namespace_that_vanishes() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let gone = "gone, and the change with it";
    let plan = |id: &str, other: &Place| {
        let changes = [(&place, "try", KNOBS[0].0, "12345"), (other, "other", KNOBS[1].0, KNOBS[1].1)];
        place.plan_of(id, &changes).display().to_string()
    };
    // Before.
    let other = Place::new().expect("as the first one");
    let id = plan("j-1", &other);
    drop(other);
    let (code, text) = place.run(&["apply", &id, "--yes", "--confirm", "1s"]);
    assert!(code == Some(1) && text.contains("is gone"), "{code:?} {text}");
    assert_eq!((place.knobs(), place.state()), (before.clone(), "none".into()));
    survived("the namespace vanishes", "before anything is changed", 1, "1", "untouched");
    // While it waits.
    let other = Place::new().expect("as the first one");
    let apply = place.tcproof(&["apply", &plan("j-2", &other), "--yes", "--confirm", "5s"]);
    place.wait_for(|place| place.read(KNOBS[0].0) == "12345\n" && other.is_changed(), "both are changed");
    drop(other);
    let (code, text) = ended(apply);
    assert!(code == Some(4), "{code:?} {text}");
    let (_, text) = place.run(&["journal", "j-2"]);
    assert!(text.contains("gone with its namespace"), "{text}");
    assert_eq!((place.knobs(), place.state()), (before.clone(), "rolled-back".into()));
    survived("the namespace vanishes", "while it waits to be confirmed", 1, "4", "the other one's knob as before");
    // The kernel gives its inode to the next one, which somebody else sets to the very same value.
    let other = Place::new().expect("as the first one");
    let inode = other.namespace.inode();
    let apply = place.tcproof(&["apply", &plan("j-4", &other), "--yes", "--confirm", "1h"]);
    place.wait_for(
        |place| place.read(KNOBS[0].0) == "12345\n" && other.is_changed() && place.waits(),
        "both are changed",
    );
    drop(other);
    match heir_of(inode) {
        Some(heir) => {
            KNOBS.iter().for_each(|(key, to)| heir.write(key, to));
            let (code, text) = place.run(&["rollback", "j-4"]);
            if text.contains(gone) {
                assert!(code == Some(0) && heir.is_changed(), "{code:?} {text}");
                survived(
                    "the namespace vanishes",
                    "and another one gets its inode",
                    1,
                    "4",
                    "the other one is left alone",
                );
            } else {
                skip(
                    "SKIP: this kernel's namespaces have no cookie (5.14): one that gets the inode of another is taken for it",
                );
            }
        }
        None => {
            skip("SKIP: no other namespace got the inode of the one that vanished");
            let (code, text) = place.run(&["rollback", "j-4"]);
            assert!(code == Some(0) && text.contains(gone), "{code:?} {text}");
        }
    }
    assert_eq!((ended(apply).0, place.knobs()), (Some(4), before.clone()));
    // Between the first write and the second, which strace delays.
    if !strace_works() {
        return;
    }
    let other = Place::new().expect("as the first one");
    let (plan, journal) = (plan("j-3", &other), place.journal().display().to_string());
    let apply = traced_with(
        &place,
        &plan,
        &journal,
        "openat:delay_enter=6000000:when=2",
        Some("/proc/sys/net/core/somaxconn"),
        "30s",
    );
    place.wait_for(|place| place.journal().join("j-3.journal").exists(), "it has begun");
    drop(other);
    let (code, text) = ended(apply);
    assert!(code == Some(4) && text.contains(gone) && text.contains("somaxconn in try: 4096 again"), "{code:?} {text}");
    assert_eq!((place.knobs(), place.state()), (before, "rolled-back".into()));
    survived(
        "the namespace vanishes",
        "between the first knob and the second",
        1,
        "4",
        "the other one's knob as before",
    );
}

#[test]
fn the_journals_tail_is_cut_or_spoilt_at_every_byte() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    for (id, is_confirmed) in [("k-1", false), ("k-2", true)] {
        let mut apply = place.apply(id, "1h");
        place.wait_for(|place| place.is_changed() && place.waits(), "it is changed");
        if is_confirmed {
            assert_eq!(place.run(&["confirm"]).0, Some(0));
        }
        let _ = apply.kill();
        ended(apply);
        let path = place.journal().join(format!("{id}.journal"));
        let whole = fs::read(&path).expect("the journal");
        let tail = 1 + whole.iter().position(|byte| *byte == b'\n').expect("the first record");
        let cut = (tail..whole.len()).map(|at| whole[..at].to_vec());
        let spoilt = (tail..whole.len()).map(|at| {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1;
            spoilt
        });
        for (number, bytes) in cut.chain(spoilt).enumerate() {
            fs::write(&path, bytes).expect("the journal");
            KNOBS.iter().for_each(|(key, to)| place.write(key, to));
            let (code, text) =
                place.run(&if is_confirmed { vec!["rollback", id] } else { vec!["rollback", "--pending"] });
            assert!(code == Some(0) && place.knobs() == before, "{number}: {code:?} {text}");
        }
        let at = if is_confirmed { "confirmed, at every byte" } else { "not confirmed, at every byte" };
        survived("the journal's tail is cut", at, whole.len() - tail, "0", AS_BEFORE);
        survived("a bit of the journal's tail is turned", at, whole.len() - tail, "0", AS_BEFORE);
    }
}

/// Runs a script in a mount namespace of its own, with `$J` for a folder and `$T` for the program.
fn script(place: &Place, text: &str) -> (Option<i32>, String) {
    let folder = place.folder.path().join("mounted").display().to_string();
    fs::create_dir_all(&folder).expect("a folder");
    let text = format!("set -e\nT='{TCPROOF}' J='{folder}'\n{text}");
    ended(place.start("unshare", &["--mount", "--propagation=private", "sh", "-c", &text]))
}

#[test]
fn a_disk_that_is_full_or_read_only() {
    let Some(place) = Place::new() else { return };
    if !unshare_works() {
        return;
    }
    let before = place.knobs();
    // How long the first record is.
    let (code, text) = ended(place.apply("l-0", "1s"));
    assert_eq!(code, Some(4), "{text}");
    let journal = fs::read_to_string(place.journal().join("l-0.journal")).expect("the journal");
    let first = journal.find('\n').expect("a record") + 1;
    let plan = |id: &str, name: &str| {
        place
            .plan_of(id, &[(&place, name, KNOBS[0].0, KNOBS[0].1), (&place, "try", KNOBS[1].0, KNOBS[1].1)])
            .display()
            .to_string()
    };

    let full = plan("l-1", "try");
    let mount = "mount -t tmpfs -o size=4096 tmpfs $J\n";
    let (code, text) = script(
        &place,
        &format!("{mount}head -c 4096 /dev/zero >$J/fill\n$T apply {full} --yes --confirm 1s --journal $J"),
    );
    assert!(code == Some(1) && text.contains("No space left"), "{code:?} {text}");
    assert_eq!(place.knobs(), before);
    survived("the disk is full", "at the journal's first record", 1, "1", "untouched");

    // The first record ends just before the page that the disk has.
    let name = format!("try{}", "y".repeat(4090 - first));
    let full = plan("l-2", &name);
    let (code, text) = script(
        &place,
        &format!(
            "{mount}$T apply {full} --yes --confirm 1s --journal $J && exit 9 || code=$?\n\
             $T journal --json --journal $J\nmount -o remount,size=65536 $J\n$T rollback --pending --journal $J\nexit $code"
        ),
    );
    assert!(code == Some(4) && text.contains("No space left"), "{code:?} {text}");
    assert_eq!(place.knobs(), before);
    survived("the disk is full", "at the journal's second record", 1, "4", AS_BEFORE);

    let plan = plan("l-3", "try");
    let (code, text) =
        script(&place, &format!("mount -t tmpfs -o ro tmpfs $J\n$T apply {plan} --yes --confirm 1s --journal $J"));
    assert!(code == Some(1) && text.contains("Read-only file system"), "{code:?} {text}");
    assert_eq!(place.knobs(), before);
    survived("the journal's disk is read-only", "before anything is changed", 1, "1", "untouched");
}

#[test]
fn knobs_that_turn_read_only() {
    let Some(place) = Place::new() else { return };
    if !unshare_works() {
        return;
    }
    let (before, journal) = (place.knobs(), place.journal().display().to_string());
    let bind = "mount --bind /proc/sys /proc/sys\nturn() { mount -o remount,bind,$1 /proc/sys; }\n";
    let plan = place.plan("m-1").display().to_string();
    let (code, text) =
        script(&place, &format!("{bind}turn ro\n$T apply {plan} --yes --confirm 1s --journal {journal}"));
    assert!(code == Some(4) && text.contains("Read-only file system"), "{code:?} {text}");
    assert_eq!((place.knobs(), place.state()), (before.clone(), "rolled-back".into()));
    survived("/proc/sys is read-only", "before anything is changed", 1, "4", "untouched");

    let plan = place.plan("m-2").display().to_string();
    let (code, text) = script(
        &place,
        &format!(
            "{bind}$T apply {plan} --yes --confirm 4s --journal {journal} &\n\
             until grep -q 71234567 /proc/sys/net/ipv4/tcp_rmem; do kill -0 $! || exit 6; sleep 0.05; done\n\
             turn ro\nwait $! && exit 9 || code=$?\n$T rollback m-2 --journal {journal} && exit 8 || echo again $?\n\
             turn rw\n$T rollback m-2 --journal {journal} || exit 7\nexit $code"
        ),
    );
    let left = "still to be done: sysctl -w \"net.ipv4.tcp_rmem=4096 131072 ";
    // Also where it was the watchdog that could not take it back.
    assert!(code == Some(5) && text.contains("again 5"), "{code:?} {text}");
    assert_eq!(text.matches(left).count(), 2, "both say what is left: {text}");
    assert_eq!(place.knobs(), before);
    survived("/proc/sys is read-only", "once all is changed", 1, "5", "as before, by the rollback that it names");
}

#[test]
fn nobody_is_left_to_take_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let mut apply = place.apply("n-1", "1h");
    place.wait_for(Place::is_changed, "it is changed");
    // A session's end: the program and its watchdog. Where systemd has a timer instead, only it is left, for an hour.
    for process in fs::read_dir("/proc").expect("proc").flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if line.contains("undo-watch")
            && line.contains("--id=n-1")
            && line.contains(&place.journal().display().to_string())
        {
            let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).expect("a process");
            let pid = rustix::process::Pid::from_raw(pid).expect("a process");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is there");
        }
    }
    let _ = apply.kill();
    ended(apply);
    assert!(place.is_changed());
    let (code, text) = place.run(&["rollback", "--pending"]);
    assert!(code == Some(0) && place.knobs() == before, "{text}");
    survived(
        "SIGKILL of apply and of its watchdog",
        "while it waits to be confirmed",
        1,
        "killed",
        "as before, by rollback --pending",
    );
}

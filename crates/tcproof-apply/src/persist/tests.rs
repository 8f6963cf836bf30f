//! The file, and a change that goes through it, on a root that is a folder: there are ordinary files for knobs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use proptest::prelude::*;
use tcproof_core::plan::{self, Namespace};
use tcproof_core::{Confidence, State, Subject};
use tcproof_host::Root;
use tempfile::TempDir;

use super::*;
use crate::journal::Store;
use crate::{Error as EngineError, Rollback};

/// Knobs that exist once per kernel, with values of one length: a file is not cut as a knob is.
const BACKLOG: &str = "net.core.netdev_max_backlog";
const MEMORY: &str = "net.ipv4.tcp_mem";

struct Place {
    folder: TempDir,
    here: Surroundings,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (path, text) in [
            ("proc/sys/net/core/netdev_max_backlog", "1000\n"),
            ("proc/sys/net/ipv4/tcp_mem", "10000\t20000\t30000\n"),
            ("proc/sys/kernel/osrelease", "6.18.0\n"),
            ("proc/thread-self/ns/net", ""),
            ("usr/lib/systemd/systemd-sysctl", ""),
            ("usr/sbin/sysctl", ""),
            ("etc/sysctl.d/README", ""),
        ] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        let here = Surroundings {
            root: Root::new(root),
            store: Store::at(root.join("journal")),
            user: "root".into(),
            host: "h".into(),
            boot_id: "one".into(),
            now: || "2026-11-20T19:00:00Z".into(),
        };
        Self { folder, here }
    }

    fn etc(&self) -> std::path::PathBuf {
        self.folder.path().join("etc/sysctl.d")
    }

    fn file(&self) -> std::path::PathBuf {
        self.etc().join(NAME)
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn knob(&self) -> String {
        fs::read_to_string(self.folder.path().join("proc/sys/net/core/netdev_max_backlog")).unwrap()
    }

    fn apply(&self, plan: &Plan) {
        let persist = self.here.persisting(plan, &self.etc()).unwrap().persist;
        self.here.apply(plan, 0, Some(persist)).unwrap();
    }

    fn confirm(&self, plan: &Plan) {
        self.apply(plan);
        self.here.confirm(None, "root").unwrap();
    }

    fn rollback(&self, id: &str) -> Rollback {
        self.here.rollback(Some(id), "asked for", false).unwrap()
    }

    fn refused(&self, plan: &Plan) -> String {
        let before = self.text();
        let why = self.here.persisting(plan, &self.etc()).unwrap_err().to_string();
        assert_eq!(self.text(), before);
        why
    }
}

fn change(knob: &str, from: &str, to: &str, inode: Option<u64>) -> Change {
    Change {
        findings: vec![1],
        namespace: Namespace { name: "web".into(), inode },
        knob: knob.into(),
        from: from.into(),
        to: to.into(),
        formula: None,
        cost: "c".into(),
        risk: "r".into(),
        takes_effect: "t".into(),
        then: None,
        inverse: "i".into(),
        success: "s".into(),
    }
}

fn plan(id: &str, changes: Vec<Change>) -> Plan {
    Plan {
        schema: plan::SCHEMA.into(),
        id: id.into(),
        host: "h".into(),
        kernel: "6.18.0".into(),
        made_at: "2026-11-20T19:00:00Z".into(),
        findings: vec![plan::Reason {
            limit: "softnet-backlog".into(),
            cause: "queue-full".into(),
            state: State::Limiting,
            confidence: Confidence::Proven,
            summary: "9 packets\ndropped\u{1b}[1m".into(),
            subject: Subject::Host,
        }],
        instructions: Vec::new(),
        changes,
        left_out: Vec::new(),
    }
}

fn backlog(id: &str, from: &str, to: &str) -> Plan {
    plan(id, vec![change(BACKLOG, from, to, None)])
}

#[test]
fn only_what_is_confirmed_is_written_and_a_rollback_takes_exactly_that_out() {
    let place = Place::new();
    place.apply(&backlog("p-1", "1000", "2000"));
    assert_eq!(place.text(), None, "not before it is confirmed");
    place.here.confirm(None, "root").unwrap();
    let lines = "# tcproof p-1: net.core.netdev_max_backlog, 2026-11-20T19:00:00Z\n\
                 # why: 9 packets dropped [1m\n\
                 # before: 1000; back by tcproof rollback p-1, or without these lines and with sysctl -w \
                 \"net.core.netdev_max_backlog=1000\"\n\
                 net.core.netdev_max_backlog = 2000\n";
    assert_eq!(place.text().unwrap(), format!("{HEAD}{lines}"));
    assert_eq!(fs::metadata(place.file()).unwrap().mode() & 0o777, 0o644);
    assert!(place.here.entry("p-1").unwrap().has_lines());
    let rollback = place.rollback("p-1");
    assert!(rollback.is_complete() && rollback.lines.is_some_and(|(_, lines)| lines[0].1 == Undone::Restored));
    assert_eq!((place.text(), &*place.knob()), (None, "1000\n"));
    assert!(!place.here.entry("p-1").unwrap().has_lines());
    assert_eq!(fs::read_dir(place.etc()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_never_confirmed_leaves_nothing() {
    let place = Place::new();
    place.apply(&backlog("p-1", "1000", "2000"));
    let next = Surroundings { boot_id: "two".into(), ..place.here.clone() };
    assert!(next.confirm(None, "root").is_err_and(|why| why.to_string().contains("gone with the boot")));
    let rollback = next.rollback_pending("boot").unwrap().unwrap();
    assert!(rollback.is_complete() && rollback.lines.is_none() && place.text().is_none());
}

#[test]
fn the_next_boot_finds_lines_whose_confirmation_was_lost_and_takes_back_what_they_set() {
    let place = Place::new();
    place.confirm(&backlog("p-1", "1000", "2000"));
    let journal = place.folder.path().join("journal/p-1.journal");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.split_inclusive('\n').next().unwrap()).unwrap();
    let next = Surroundings { boot_id: "two".into(), ..place.here.clone() };
    let rollback = next.rollback_pending("boot").unwrap().unwrap();
    assert!(rollback.is_complete());
    assert_eq!((place.text(), &*place.knob()), (None, "1000\n"));
}

#[test]
fn a_rollback_in_a_later_boot_takes_back_what_boot_has_set_and_nothing_else() {
    for (is, wanted) in [("2000\n", "1000\n"), ("3000\n", "3000\n")] {
        let place = Place::new();
        place.confirm(&backlog("p-1", "1000", "2000"));
        place.put("proc/sys/net/core/netdev_max_backlog", is);
        let next = Surroundings { boot_id: "two".into(), ..place.here.clone() };
        assert!(next.rollback(None, "asked for", false).unwrap().is_complete());
        assert_eq!((place.text(), &*place.knob()), (None, wanted));
    }
}

#[test]
fn lines_that_could_not_be_written_are_said_and_written_by_another_confirmation() {
    let place = Place::new();
    place.apply(&backlog("p-1", "1000", "2000"));
    fs::create_dir(place.file()).unwrap();
    let why = place.here.confirm(None, "root").unwrap_err();
    assert!(matches!(&why, EngineError::NotPersisted { .. }), "{why}");
    let entry = place.here.entry("p-1").unwrap();
    assert!(entry.lacks_lines() && !entry.is_pending() && entry.is_in_effect());
    fs::remove_dir(place.file()).unwrap();
    place.here.confirm(Some("p-1"), "root").unwrap();
    assert!(place.text().is_some() && place.here.confirm(Some("p-1"), "root").is_err());
}

#[test]
fn a_crash_behind_the_lines_writes_them_once() {
    let place = Place::new();
    place.confirm(&backlog("p-1", "1000", "2000"));
    let (text, journal) = (place.text(), place.folder.path().join("journal/p-1.journal"));
    let records = fs::read_to_string(&journal).unwrap();
    let upto: String = records.split_inclusive('\n').take(3).collect();
    assert!(upto.contains("confirmed") && !upto.contains("persisted"), "{upto}");
    fs::write(&journal, upto).unwrap();
    place.here.confirm(Some("p-1"), "root").unwrap();
    assert_eq!(place.text(), text);
}

#[test]
fn what_a_person_edited_stays_and_is_said() {
    for (from, to, is) in [
        ("= 2000", "= 2500", Some("net.core.netdev_max_backlog = 2500")),
        ("# why", "# Why", Some("net.core.netdev_max_backlog = 2000")),
        ("# tcproof p-1", "# mine now", Some("net.core.netdev_max_backlog = 2000")),
    ] {
        let place = Place::new();
        place.confirm(&backlog("p-1", "1000", "2000"));
        let edited = place.text().unwrap().replacen(from, to, 1);
        fs::write(place.file(), &edited).unwrap();
        let rollback = place.rollback("p-1");
        assert!(!rollback.is_complete());
        assert_eq!(place.text().unwrap(), edited);
        let lines = rollback.lines.unwrap().1;
        assert_eq!(lines[0].1, Undone::ChangedByOthers(is.unwrap().into()), "{from}");
        assert_eq!(place.knob(), "1000\n");
    }
    // Taken out by hand: nothing is left to be done.
    let place = Place::new();
    place.confirm(&backlog("p-1", "1000", "2000"));
    fs::remove_file(place.file()).unwrap();
    assert!(place.rollback("p-1").is_complete());
}

#[test]
fn a_file_that_is_no_plain_file_is_refused_before_anything_is_changed() {
    let place = Place::new();
    std::os::unix::fs::symlink("/dev/null", place.file()).unwrap();
    assert!(place.refused(&backlog("p-1", "1000", "2000")).contains("not a regular file"));
    fs::remove_file(place.file()).unwrap();
    place.put("usr/lib/sysctl.d/60-tcproof.conf", "");
    assert!(place.refused(&backlog("p-1", "1000", "2000")).contains("no longer be read"));
    let nowhere = place.folder.path().join("nowhere");
    let why = place.here.persisting(&backlog("p-1", "1000", "2000"), &nowhere).unwrap_err();
    assert!(why.to_string().contains("mkdir"));
}

#[test]
fn only_the_hosts_own_namespace_is_set_by_boot() {
    let place = Place::new();
    let somaxconn = |inode| plan("p-1", vec![change("net.core.somaxconn", "128", "256", Some(inode))]);
    let why = place.refused(&somaxconn(7));
    assert!(why.contains("net.core.somaxconn: boot sets the host's own") && why.contains("web"), "{why}");
    let initial = fs::metadata(place.folder.path().join("proc/thread-self/ns/net")).unwrap().ino();
    assert!(place.here.persisting(&somaxconn(initial), &place.etc()).is_ok());
    fs::remove_file(place.folder.path().join("proc/thread-self/ns/net")).unwrap();
    assert!(place.refused(&somaxconn(initial)).contains("can't be seen"));
    let reserved = change("net.ipv4.ip_local_reserved_ports", "1", "", Some(7));
    assert!(place.refused(&plan("p-1", vec![reserved])).contains("empty"));
}

#[test]
fn what_a_later_file_sets_is_named_with_its_line() {
    for (path, text, says) in [
        (
            "etc/sysctl.d/99-x.conf",
            "#\nnet.core.netdev_max_backlog = 300\n",
            Some("/etc/sysctl.d/99-x.conf:2 sets it to 300"),
        ),
        ("etc/sysctl.d/99-x.conf", "net.core.netdev_max_backlog = 2000\n", None),
        ("etc/sysctl.d/50-x.conf", "net.core.netdev_max_backlog = 300\n", None),
        ("etc/sysctl.d/99-x.conf", "net.core.netdev_max_* = 300\n", None),
        (
            "usr/lib/sysctl.d/99-x.conf",
            "net/core/netdev_max_backlog = 300\n",
            Some("/usr/lib/sysctl.d/99-x.conf:1 sets"),
        ),
        (
            "etc/sysctl.conf",
            "net.core.netdev_max_backlog = 300\n",
            Some("/etc/sysctl.conf:1 sets it to 300, and sysctl --system"),
        ),
        ("etc/sysctl.d/60-tcproof.conf", "net.core.netdev_max_backlog = 300\n", None),
    ] {
        let place = Place::new();
        place.put(path, text);
        let plan = backlog("p-1", "1000", "2000");
        match says {
            Some(says) => {
                let why = place.refused(&plan);
                assert!(why.contains(says), "{why}");
            }
            None => assert!(place.here.persisting(&plan, &place.etc()).is_ok(), "{path} {text}"),
        }
    }
}

#[test]
fn other_writers_and_modules_that_come_late_are_said() {
    let place = Place::new();
    place.put("etc/tuned/active_profile", "network-latency\n");
    place.put("var/lib/kubelet/x", "");
    place.put("proc/modules", "nf_conntrack 1 0 - Live 0x0\n");
    let initial = fs::metadata(place.folder.path().join("proc/thread-self/ns/net")).unwrap().ino();
    let conntrack = change("net.netfilter.nf_conntrack_max", "65536", "131072", Some(initial));
    let found = place.here.persisting(&plan("p-1", vec![conntrack]), &place.etc()).unwrap();
    let text = found.warnings.join("\n");
    for says in ["module nf_conntrack", "tuned sets", "kube-proxy sets"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let found = place.here.persisting(&backlog("p-2", "1000", "2000"), &place.etc()).unwrap();
    assert!(!found.warnings.join("\n").contains("kube-proxy"), "{:?}", found.warnings);
}

#[test]
fn the_mode_of_somebodys_file_stays() {
    let place = Place::new();
    fs::write(place.file(), "net.core.somaxconn = 5000").unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o640)).unwrap();
    place.confirm(&backlog("p-1", "1000", "2000"));
    assert!(place.text().unwrap().starts_with("net.core.somaxconn = 5000\n# tcproof: the line"));
    place.rollback("p-1");
    assert_eq!(place.text().unwrap(), "net.core.somaxconn = 5000");
    assert_eq!(fs::metadata(place.file()).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn whatever_is_left_of_the_journal_a_rollback_leaves_no_line_and_no_value() {
    for (records, is_written, boot) in
        (1..=5).flat_map(|n| [(n, true, "one"), (n, false, "one"), (n, true, "two"), (n, false, "two")])
    {
        let place = Place::new();
        place.confirm(&backlog("p-1", "1000", "2000"));
        let journal = place.folder.path().join("journal/p-1.journal");
        let text = fs::read_to_string(&journal).unwrap();
        assert_eq!(text.lines().count(), 5);
        fs::write(&journal, text.split_inclusive('\n').take(records).collect::<String>()).unwrap();
        if !is_written {
            fs::remove_file(place.file()).unwrap();
        }
        if boot == "two" {
            place.put("proc/sys/net/core/netdev_max_backlog", if is_written { "2000\n" } else { "1000\n" });
        }
        let now = Surroundings { boot_id: boot.into(), ..place.here.clone() };
        let rollback = now.rollback(Some("p-1"), "asked for", false).unwrap();
        let after = (rollback.is_complete(), place.text(), place.knob());
        assert_eq!(after, (true, None, "1000\n".into()), "{records} {is_written} {boot}");
    }
}

#[test]
fn lint_has_nothing_to_say_of_the_lines() {
    let place = Place::new();
    fs::write(place.file(), "net.core.somaxconn = 5000").unwrap();
    place.confirm(&backlog("p-1", "1000", "2000"));
    let tree = settings::boot(&place.here.root);
    let found = lint(&tree).findings;
    assert!(tree.files.iter().any(|file| file.path.ends_with(NAME)));
    assert!(found.iter().all(|finding| finding.at.line == 1), "{found:?}");
}

/// Lines of somebody else's: of any bytes, and such as look like ours.
fn lines() -> impl Strategy<Value = Option<Vec<u8>>> {
    let line = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        Just(b"net.core.netdev_max_backlog = 2000\n".to_vec()),
        Just(b"net.ipv4.tcp_mem = 10000 20000 40000\n".to_vec()),
        Just(b"# tcproof p-0: net.core.netdev_max_backlog, then\n".to_vec()),
        Just(b"\r\n\n# x\n".to_vec()),
    ];
    proptest::option::of(proptest::collection::vec(line, 0..6).prop_map(|lines| lines.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_else_is_in_the_file_comes_back_byte_for_byte(old in lines(), behind in lines(), first in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        if let Some(old) = &old {
            fs::write(&path, old).unwrap();
        }
        let entry = |plan: &Plan| {
            let blocks = plan.changes.iter().map(|change| block(plan, change, "now")).collect();
            let step = |change: &Change| tcproof_core::journal::Step {
                namespace: change.namespace.clone(),
                cookie: None,
                knob: change.knob.clone(),
                old: change.from.clone(),
                new: change.to.clone(),
            };
            Entry::begun(tcproof_core::journal::Open {
                version: tcproof_core::journal::VERSION,
                id: plan.id.clone(),
                number: 0,
                at: "now".into(),
                user: "root".into(),
                boot_id: "one".into(),
                reasons: Vec::new(),
                steps: plan.changes.iter().map(step).collect(),
                persist: Some(Persist { path: path.to_str().unwrap().into(), blocks }),
            })
        };
        let memory = change(MEMORY, "10000 20000 30000", "10000 20000 40000", None);
        let one = entry(&plan("p-1", vec![change(BACKLOG, "1000", "2000", None), memory.clone()]));
        let two = entry(&plan("p-2", vec![memory, change(BACKLOG, "1000", "2000", None)]));
        let (one_lines, two_lines) = (one.open.persist.clone().unwrap(), two.open.persist.clone().unwrap());
        write(&one_lines).unwrap();
        // Somebody else goes on in it.
        let behind = behind.unwrap_or_default();
        let mut text = fs::read(&path).unwrap();
        text.extend(&behind);
        fs::write(&path, &text).unwrap();
        write(&two_lines).unwrap();
        write(&two_lines).unwrap();
        for (entry, persist) in if first { [(&one, &one_lines), (&two, &two_lines)] } else { [(&two, &two_lines), (&one, &one_lines)] } {
            prop_assert_eq!(take_out(entry, persist), vec![Undone::Restored; 2]);
            // A second time there is nothing to do.
            prop_assert_eq!(take_out(entry, persist), vec![Undone::Untouched; 2]);
        }
        let left = fs::read(&path).ok();
        if behind.is_empty() {
            prop_assert_eq!(left, old);
        } else {
            // What stands in for the missing end can't go: there is something behind it.
            let mut wanted = old.map_or_else(|| HEAD.as_bytes().to_vec(), |old| match old.is_empty() || old.ends_with(b"\n") {
                true => old,
                false => [&old, NO_END.as_bytes()].concat(),
            });
            wanted.extend(&behind);
            prop_assert_eq!(left, Some(wanted));
        }
    }
}

//! `apply`, `confirm`, `rollback`, `journal` as people run them, in network namespaces that the tests make. Afterwards every
//! knob is byte for byte what it was, or the program says what is left. What accidents do is in `faults.rs`.
//!
//! Needs root; says `SKIP` without.

mod place;

use std::fs;
use std::path::Path;

use place::{Place, TCPROOF, ended};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn what_nobody_confirms_is_taken_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let (code, text) = ended(place.apply("a-1", "1s"));
    assert_eq!(code, Some(4), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.state(), "rolled-back");
}

#[test]
fn what_is_confirmed_stays_until_it_is_taken_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let second = place.plan("b-2").display().to_string();
    let apply = place.apply("b-1", "60s");
    place.wait_for(Place::is_changed, "it is changed");
    place.wait_for(|place| place.state() == "pending", "it waits");
    // A second one has to wait.
    let (code, text) = place.run(&["apply", &second, "--yes", "--confirm", "60s"]);
    assert!(code == Some(1) && text.contains("waits for its confirmation"), "{text}");
    let (code, text) = place.run(&["confirm"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(ended(apply).0, Some(0));
    assert!(place.is_changed() && place.state() == "in-effect");
    assert_eq!(place.run(&["confirm"]).0, Some(1), "nothing waits any more");
    let (code, text) = place.run(&["rollback"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.run(&["rollback"]).0, Some(1), "nothing is in effect any more");
}

/// Plans are named by the time at which they were made: here by clocks that were set back, before each the more.
#[test]
fn a_clock_that_is_set_back_does_not_turn_the_order_round() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let ids = ["20261130T100000-b", "20251130T100000-c", "20161130T100000-d"];
    for (id, to) in ids.iter().zip(["11111", "22222", "33333"]) {
        let plan = place.plan_to(id, &[("net.core.somaxconn", to)]).display().to_string();
        let apply = place.tcproof(&["apply", &plan, "--yes", "--confirm", "60s"]);
        place.wait_for(|place| place.read("net.core.somaxconn").trim() == to && place.waits(), "it is changed");
        assert_eq!(place.run(&["confirm"]).0, Some(0));
        assert_eq!(ended(apply).0, Some(0));
    }
    let (code, text) = place.run(&["rollback"]);
    assert!(code == Some(0) && text.contains(ids[2]), "the last one first: {text}");
    assert_eq!(place.read("net.core.somaxconn"), "22222\n");
    let (code, text) = place.run(&["rollback", "--all"]);
    assert!(code == Some(0) && text.find(ids[1]) < text.find(ids[0]), "{text}");
    assert_eq!(place.knobs(), before);
}

#[test]
fn the_undo_outlives_a_killed_apply_and_an_interrupt_takes_back_at_once() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    for (id, confirm, signal) in [("c-1", "2s", Signal::KILL), ("c-2", "60s", Signal::INT), ("c-3", "60s", Signal::HUP)]
    {
        let apply = place.apply(id, confirm);
        place.wait_for(Place::is_changed, "it is changed");
        kill_process(Pid::from_child(&apply), signal).expect("it is there");
        place.wait_for(|place| place.knobs() == before, "it is taken back");
        let (code, text) = ended(apply);
        assert!(code.is_none() || code == Some(4), "{text}");
        place.wait_for(|place| place.state() == "rolled-back", "the journal says so");
    }
}

#[test]
fn an_apply_whose_journal_has_gone_ends_and_says_what_is_left() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let apply = place.apply("g-1", "20s");
    place.wait_for(|place| place.is_changed() && place.waits(), "it waits");
    std::fs::remove_dir_all(place.journal()).expect("the journal goes");
    kill_process(Pid::from_child(&apply), Signal::TERM).expect("it is there");
    let (code, text) = ended(apply);
    assert_eq!(code, Some(5), "{text}");
    let somaxconn = format!("net.core.somaxconn={}", before[0].trim());
    assert!(text.contains("nothing was taken back") && text.contains(&somaxconn), "{text}");
}

#[test]
fn a_host_that_has_drifted_is_left_alone() {
    let Some(place) = Place::new() else { return };
    let plan = place.plan("d-1").display().to_string();
    place.write("net.core.somaxconn", "777");
    let before = place.knobs();
    let (code, text) = place.run(&["apply", &plan, "--yes", "--confirm", "1s"]);
    assert!(code == Some(1) && text.contains("is \"777\", not"), "{text}");
    assert_eq!(place.knobs(), before);
    assert_eq!(place.state(), "none");
}

#[test]
fn what_somebody_else_changed_since_is_left_alone_unless_forced() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let apply = place.apply("e-1", "60s");
    place.wait_for(Place::is_changed, "it is changed");
    assert_eq!(place.run(&["confirm"]).0, Some(0));
    ended(apply);
    place.write("net.core.somaxconn", "999");
    let (code, text) = place.run(&["rollback"]);
    assert!(code == Some(5) && text.contains("999"), "{text}");
    assert_eq!(place.knobs(), ["999\n".to_string(), before[1].clone()]);
    let (code, text) = place.run(&["rollback", "e-1", "--force"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(place.knobs(), before);
}

#[test]
fn a_plan_that_makes_no_sense_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let good = fs::read_to_string(place.plan("f-1")).expect("the plan");
    for (from, to, says) in [
        ("net.core.somaxconn", "net.core.nothing", "not in the table"),
        ("12345", "-1", "refused"),
        ("plan/1", "plan/2", "schema"),
        ("\"f-1\"", "\"../x\"", "no change"),
        ("inode = ", "inode = 9", "gone"),
        ("host = \"", "host = \"not-", "made for the host"),
        ("cost = ", "price = ", "price"),
    ] {
        let path = place.folder.path().join("bad.toml");
        fs::write(&path, good.replacen(from, to, 1)).expect("the plan");
        let (code, text) = place.run(&["apply", &path.display().to_string(), "--yes", "--confirm", "1s"]);
        assert!(code == Some(1) && text.contains(says), "{to}: {code:?} {text}");
        assert_eq!(place.knobs(), before, "{to}");
    }
    assert!(place.state() == "none", "{}", place.state());
    let plan = place.plan("f-2").display().to_string();
    let (code, text) = place.run(&["apply", &plan]);
    assert!(code == Some(1) && text.contains("--yes"), "nobody can be asked: {text}");
    assert_eq!(place.run(&["apply", &plan, "--dry-run"]).0, Some(0));
    assert_eq!(place.knobs(), before);
}

#[test]
fn a_torn_or_spoilt_journal_still_takes_everything_back() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    for (id, spoil) in [
        ("g-1", (|text: &str| text[..text.len() - 7].to_string()) as fn(&str) -> String),
        ("g-2", |text| text.replacen("waiting", "wa\u{0}ting", 1)),
        ("g-3", |text| format!("{text}garbage")),
        ("g-4", |text| text.lines().next().map(|line| format!("{line}\n")).unwrap_or_default()),
    ] {
        let mut apply = place.apply(id, "60s");
        place.wait_for(Place::is_changed, "it is changed");
        apply.kill().expect("it is there");
        ended(apply);
        let path = place.journal().join(format!("{id}.journal"));
        let text = fs::read_to_string(&path).expect("the journal");
        fs::write(&path, spoil(&text)).expect("the journal");
        let (code, text) = place.run(&["rollback", "--pending"]);
        assert_eq!(code, Some(0), "{id}: {text}");
        assert_eq!(place.knobs(), before, "{id}: {text}");
    }
}

/// A folder that is no folder, and what a newer program wrote: nothing is changed, and it is said why.
#[test]
fn a_journal_that_is_none_or_of_a_newer_program_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let before = place.knobs();
    let plan = place.plan("o-1").display().to_string();
    let file = place.folder.path().join("file");
    fs::write(&file, "").expect("a file");
    for journal in [&file, &file.join("below")] {
        let journal = journal.display().to_string();
        for verb in [
            &["apply", &plan, "--yes", "--confirm", "1s"][..],
            &["confirm"],
            &["rollback"],
            &["rollback", "--all"],
            &["journal"],
        ] {
            let (code, text) = ended(place.start(TCPROOF, &[verb, &["--journal", &journal]].concat()));
            assert!(code == Some(1) && text.contains("expected a folder"), "{verb:?}: {code:?} {text}");
        }
    }
    // An old one that is in effect, and behind it one that a newer program wrote.
    let apply = place.apply("o-1", "60s");
    place.wait_for(|place| place.is_changed() && place.waits(), "it is changed");
    assert_eq!(place.run(&["confirm"]).0, Some(0));
    ended(apply);
    let changed = place.knobs();
    write_as_newer(&place.journal().join("o-1.journal"), &place.journal().join("o-2.journal"));
    let next = place.plan_to("o-3", &[("net.core.somaxconn", "999")]).display().to_string();
    for verb in [
        &["apply", &next, "--yes", "--confirm", "1s"][..],
        &["confirm"],
        &["rollback"],
        &["rollback", "--pending"],
        &["rollback", "o-2"],
    ] {
        let (code, text) = place.run(verb);
        assert!(code == Some(1) && text.contains("version 9") && text.contains("o-2"), "{verb:?}: {code:?} {text}");
        assert_eq!(place.knobs(), changed, "{verb:?}");
    }
    let (code, text) = place.run(&["journal"]);
    assert!(code == Some(0) && text.contains("version 9") && text.contains("in effect"), "{text}");
    // By name, and with all: what can be read is taken back, and what can't be is said.
    let (code, text) = place.run(&["rollback", "--all"]);
    assert!(
        code == Some(5) && text.contains("o-2 not taken back: ") && text.contains("o-1 taken back:"),
        "{code:?} {text}"
    );
    assert_eq!(place.knobs(), before);
    fs::remove_file(place.journal().join("o-2.journal")).expect("it is there");
    let (code, text) = place.run(&["apply", &plan, "--yes", "--confirm", "1s"]);
    assert!(code == Some(1) && text.contains("o-1 was applied before"), "{text}");
    assert_eq!(place.knobs(), before);
}

/// The first record of a journal as a program of version 9 would have it.
fn write_as_newer(from: &Path, to: &Path) {
    let text = fs::read_to_string(from).expect("the journal");
    let (_, json) = text.lines().next().and_then(|line| line.split_once(' ')).expect("a record");
    let json = json.replacen("\"version\":1", "\"version\":9", 1).replacen("\"number\":1", "\"number\":2", 1);
    fs::write(to, format!("{:08x} {json}\n", crc32(json.as_bytes()))).expect("the journal");
}

/// As zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

//! Recordings that are whole, and what is left of those that are not.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use tcproof_core::snapshot::{
    Endpoint, Flow, FlowSample, Listener, Netns, NetnsId, Process, Protocol, Snapshot, Unseen,
};
use tcproof_core::{Absent, FlowWatch, Flows, Interval, ListenerWatch, Reading};
use tcproof_record::{
    Entry, Error, Header, KEY_EVERY, Loss, Reader, Recorder, Redactor, Step, VERSION, summary, window,
};

const OWN: NetnsId = NetnsId(4_026_531_840);
const START_MS: i64 = 1_796_000_000_000;

fn snapshot(second: u64) -> Snapshot {
    let listener = Listener {
        cookie: 9,
        inode: 77,
        queue: (second % 3) as u32,
        drops: Reading::Present(second as u32 * 2),
        ..Listener::new(Endpoint::new(Ipv4Addr::new(192, 0, 2, 7).into(), 443), 128)
    };
    let ns = Netns {
        name: "customer-blue".into(),
        counters: BTreeMap::from([("TcpExt.ListenDrops".into(), second * 2), ("Tcp.InSegs".into(), second * 1000)]),
        listeners: Reading::Present(vec![listener]),
        ..Netns::default()
    };
    let process = Process {
        comm: "secretd".into(),
        cmdline: vec!["/opt/customer/secretd".into(), "--token=hunter2".into()],
        cgroup: Reading::Present("/system.slice/secretd.service".into()),
        fds: Reading::Present(7),
        fd_limit: Reading::Present(1024),
        fd_hard_limit: Reading::Present(1024),
        kernel_time: Reading::Present(Duration::from_millis(second)),
        user_time: Reading::Present(Duration::ZERO),
        threads: Reading::Present(1),
    };
    let mut snapshot = Snapshot {
        at: Duration::from_secs(1_000 + second),
        namespaces: [(OWN, ns)].into(),
        processes: [(41, process)].into(),
        owners: [(77, Reading::Present(vec![41]))].into(),
        unseen: vec![Unseen {
            what: "network namespace customer-red".into(),
            why: Absent::Permission { what: "/run/netns/customer-red".into(), needs: "root".into() },
        }],
        ..Snapshot::default()
    };
    snapshot.host.name = "db7.customer.example".into();
    snapshot.host.kernel = "6.18".into();
    snapshot
}

/// The window that begins with that second.
fn step(second: u64) -> Step {
    let mut interval = Interval { before: snapshot(second), after: snapshot(second + 1), ..Interval::default() };
    let listener = interval.after.namespaces[&OWN].listeners.value().unwrap()[0].clone();
    let watch = ListenerWatch::new(listener, interval.after.at, false);
    interval.looks.listeners.entry(OWN).or_default().insert(9, watch);
    let flow = |cookie: u64| {
        let flow = Flow {
            local: Endpoint::new(Ipv4Addr::new(192, 0, 2, 7).into(), 443),
            remote: Endpoint::new(Ipv4Addr::new(198, 51, 100, cookie as u8).into(), 40_000),
            cookie,
            inode: 77,
            cgroup_id: None,
            protocol: Protocol::Tcp,
            congestion: "cubic".into(),
        };
        let sample = FlowSample { at: interval.after.at, bytes_acked: second * 1_000_000, ..FlowSample::default() };
        FlowWatch::new(flow, sample)
    };
    // They come and go.
    let watched = (second / 2..second / 2 + 3).map(flow).collect();
    let flows = Flows { established: 3, watched, ..Flows::default() };
    interval.looks.flows.insert(OWN, Reading::Present(flows));
    Step { wall_ms: START_MS + (second as i64 + 1) * 1000, mono: interval.after.at, interval }
}

fn header() -> Header {
    Header {
        host: "db7.customer.example".into(),
        kernel: "6.18".into(),
        boot: "b".into(),
        redacted: false,
        started_ms: START_MS,
    }
}

/// A recording, and where each record begins.
fn recorded(steps: &[Step], redactor: Option<Redactor>) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header().to_bytes().unwrap();
    let mut recorder = Recorder::new(0, redactor);
    let mut places = Vec::new();
    for step in steps {
        places.push(bytes.len());
        bytes.extend(recorder.record(step).unwrap());
    }
    (bytes, places)
}

fn read(bytes: &[u8]) -> Result<(Vec<Step>, Vec<Loss>), Error> {
    let mut reader = Reader::new(bytes)?;
    let (mut steps, mut losses) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Step(step) => steps.push(*step),
            Entry::Lost(loss) => losses.push(loss),
        }
    }
    Ok((steps, losses))
}

#[test]
fn what_was_recorded_is_read() {
    let steps: Vec<Step> = (0..u64::from(KEY_EVERY) * 2 + 5).map(step).collect();
    let (bytes, places) = recorded(&steps, None);
    assert_eq!(read(&bytes).unwrap(), (steps.clone(), vec![]));
    let found = summary(&*bytes, |_, _| ()).unwrap();
    assert_eq!((found.records, found.lost, found.gaps.0, found.clock_steps), (125, 0, 0, 0));
    assert_eq!((found.first_ms, found.last_ms), (START_MS, START_MS + 125_000));
    assert_eq!((found.whole, found.bytes, found.next), (bytes.len() as u64, bytes.len() as u64, 125));
    // One that holds everything costs many that do not.
    let size = |n: usize| places[n + 1] - places[n];
    assert!(size(0) > 4 * size(10) && size(KEY_EVERY as usize) > 4 * size(10), "{} {}", size(0), size(10));
}

#[test]
fn a_window_is_one_interval_wherever_it_ends() {
    let steps: Vec<Step> = (0..200).map(step).collect();
    let (bytes, _) = recorded(&steps, None);
    for end in [5, 59, 60, 61, 64, 130, 200] {
        let found = window(Cursor::new(&bytes), Duration::from_secs(1_000 + end), Duration::from_secs(5)).unwrap();
        let found = found.unwrap();
        assert_eq!((found.interval.window().as_secs(), found.records, found.is_cut), (5, 5, false), "{end}");
        assert_eq!(found.interval.after, snapshot(end));
        assert_eq!(found.interval.before, snapshot(end - 5));
    }
    let found = window(Cursor::new(&bytes), Duration::from_secs(1_002), Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!((found.records, found.is_cut), (2, true));
    let found = window(Cursor::new(&bytes), Duration::from_secs(1_100), Duration::from_millis(300)).unwrap().unwrap();
    assert_eq!((found.records, found.interval.after.at.as_secs()), (1, 1_100));
    assert_eq!(window(Cursor::new(&bytes), Duration::from_secs(10), Duration::from_secs(5)).unwrap(), None);
}

#[test]
fn cut_off_anywhere_all_whole_records_are_read() {
    let steps: Vec<Step> = (0..6).map(step).collect();
    let (bytes, places) = recorded(&steps, None);
    for end in 0..=bytes.len() {
        let whole = places.iter().skip(1).chain([&bytes.len()]).filter(|place| **place <= end).count();
        match read(&bytes[..end]) {
            Err(error) => {
                assert!(end < places[0], "{end}: {error}");
                assert!(matches!(error, Error::NotARecording | Error::Damaged { .. }), "{end}: {error}");
            }
            Ok((read, losses)) => {
                assert_eq!(read, steps[..whole], "{end}");
                let is_torn = end != bytes.len() && !places.contains(&end);
                assert_eq!(losses.len(), usize::from(is_torn), "{end}");
                assert!(losses.iter().all(Loss::is_torn_tail), "{end}");
                let found = summary(&bytes[..end], |_, _| ()).unwrap();
                let place = places.get(whole).copied().unwrap_or(bytes.len());
                assert_eq!((found.records, found.whole), (whole as u64, place as u64), "{end}");
            }
        }
    }
}

#[test]
fn a_flipped_byte_costs_its_record_and_those_up_to_the_next_that_holds_everything() {
    let steps: Vec<Step> = (0..7).map(step).collect();
    let (mut bytes, mut places) = recorded(&steps[..4], None);
    // As whoever appends goes on: with one that holds everything.
    let mut recorder = Recorder::new(4, None);
    for step in &steps[4..] {
        places.push(bytes.len());
        bytes.extend(recorder.record(step).unwrap());
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let Some(hit) = places.iter().rposition(|place| *place <= at) else {
            assert!(read(&damaged).is_err(), "{at}");
            continue;
        };
        let (read, losses) = read(&damaged).unwrap();
        let back = if hit < 4 { 4 } else { steps.len() };
        let expected: Vec<&Step> = steps[..hit].iter().chain(&steps[back..]).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{at}");
        assert_eq!(losses.len(), 1, "{at}: {losses:?}");
        assert_eq!(losses[0].from_ms, hit.checked_sub(1).map(|before| steps[before].wall_ms), "{at}");
        if let Some(back) = steps.get(back) {
            assert_eq!(losses[0].to_ms, Some(back.wall_ms), "{at}");
        }
        // How many are missing is told by their numbers, but for the first and the last.
        if hit > 0 && hit < 4 {
            assert_eq!(losses[0].records, (4 - hit) as u64, "{at}");
        }
        let found = summary(&*damaged, |_, _| ()).unwrap();
        assert_eq!((found.records, found.lost), (read.len() as u64, 1), "{at}");
    }
}

#[test]
fn a_later_format_is_refused_by_its_number_and_other_files_by_their_first_bytes() {
    let (mut bytes, _) = recorded(&[step(0)], None);
    bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, Error::FromTheFuture { found: 2 }));
    insta(&error, "a recording of format 2; this tcproof reads up to 1: use a newer one");
    for bytes in [&b""[..], b"{\"schema\": 1}", b"tcproog\x1a", &[0; 100]] {
        insta(&read(bytes).unwrap_err(), "not a recording: expected \"tcproof\" in its first bytes");
    }
}

fn insta(error: &Error, expected: &str) {
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_gap_and_a_clock_that_was_set_are_seen() {
    let mut steps: Vec<Step> = [0, 1, 7, 8, 9].map(step).into();
    steps[4].wall_ms -= 3_600_000;
    let (bytes, _) = recorded(&steps, None);
    let found = summary(&*bytes, |_, _| ()).unwrap();
    assert_eq!((found.records, found.gaps, found.clock_steps), (5, (1, Duration::from_secs(5)), 1));
    // What lies before the gap is not joined with what comes after it.
    let found = window(Cursor::new(&bytes), Duration::from_secs(1_009), Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!((found.records, found.is_cut), (2, true));
}

#[test]
fn who_could_not_write_one_goes_on_with_one_that_holds_everything() {
    let steps: Vec<Step> = (0..4).map(step).collect();
    let mut bytes = header().to_bytes().unwrap();
    let mut recorder = Recorder::new(0, None);
    for (n, step) in steps.iter().enumerate() {
        let record = recorder.record(step).unwrap();
        match n {
            1 => recorder.forget(),
            _ => bytes.extend(record),
        }
    }
    let (read, losses) = read(&bytes).unwrap();
    assert_eq!((read.len(), losses), (3, vec![]));
    assert_eq!(read[1], steps[2]);
}

#[test]
fn a_redacted_recording_holds_no_name_and_no_address() {
    let steps: Vec<Step> = (0..3).map(step).collect();
    let (bytes, _) = recorded(&steps, Some(Redactor::new()));
    let (read, _) = read(&bytes).unwrap();
    let text = serde_json::to_string(&read.iter().map(|step| &step.interval).collect::<Vec<_>>()).unwrap();
    for name in ["db7", "customer", "secret", "hunter2", "192.0.2", "198.51.100", "/opt", "blue", "red\""] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    // What was the same is the same, and ports stay.
    let places = read.iter().map(|step| step.interval.after.namespaces[&OWN].listeners.value().unwrap()[0].local);
    let places: std::collections::BTreeSet<_> = places.collect();
    assert_eq!(places.len(), 1);
    let flow = &read[0].interval.looks.flows[&OWN].value().unwrap().watched[0].flow;
    assert_eq!((Some(&flow.local), flow.local.port), (places.first(), 443));
    assert!(text.contains(".service"));
    // Another recording has another mapping.
    let (other, _) = recorded(&steps, Some(Redactor::new()));
    let other = read_first(&other);
    assert_ne!(other.interval.after.host.name, read[0].interval.after.host.name);
}

fn read_first(bytes: &[u8]) -> Step {
    read(bytes).unwrap().0.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a name or an address may stand, also in sentences.
    #[test]
    fn no_original_survives(
        name in "[a-z]{6,12}",
        address in (1_u8..120, any::<u8>(), any::<u8>(), 1_u8..255),
        six in any::<[u16; 7]>(),
    ) {
        let name = format!("q{name}q");
        let four = Ipv4Addr::new(address.0, address.1, address.2, address.3);
        prop_assume!(!four.is_loopback());
        let six = std::net::Ipv6Addr::new(0x2001, six[0], six[1], six[2], six[3], six[4], six[5], six[6]);
        let mut step = step(0);
        let mut ns = step.interval.after.namespaces[&OWN].clone();
        ns.name = name.clone();
        let failed = Absent::Failed { what: format!("entering network namespace {name}"), error: format!("to {four}: no") };
        ns.counters_absent.insert("netstat".into(), failed);
        ns.sockets.half_open = Reading::Present([(Endpoint::new(six.into(), 80), 1), (Endpoint::new(four.into(), 80), 1)].into());
        step.interval.after.namespaces.insert(NetnsId(5), ns);
        step.interval.after.host.name = format!("{name}.example");
        step.interval.after.unseen.push(Unseen {
            what: format!("network namespace {name}"),
            why: Absent::Failed { what: format!("/var/lib/{name}/ns"), error: format!("{name}: refused") },
        });
        let process = step.interval.after.processes.get_mut(&41).unwrap();
        process.comm = name.clone();
        process.cmdline = vec![format!("/usr/bin/{name}"), four.to_string()];
        process.cgroup = Reading::Present(format!("/x.slice/{name}.service/{name}"));
        let (bytes, _) = recorded(&[step], Some(Redactor::new()));
        let text = serde_json::to_string(&read_first(&bytes).interval).unwrap();
        for secret in [name, four.to_string(), six.to_string()] {
            prop_assert!(!text.contains(&secret), "{} in {}", secret, text);
        }
    }

    #[test]
    fn hostile_bytes_are_no_recording_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut whole, places) = recorded(&[step(0), step(1)], None);
        let _ = read(&bytes);
        whole.splice(places[1]..places[1], bytes);
        let (read, _) = read(&whole).unwrap();
        prop_assert!(read.len() == 2, "junk between records hides none");
    }
}

/// Made by the first version that recorded: whatever comes later must read it.
#[test]
fn the_first_format_is_still_read() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/v1.tcproof")).unwrap();
    let (steps, losses) = read(&bytes).unwrap();
    assert_eq!((steps.len(), losses.len()), (65, 0));
    let last = &steps[64].interval;
    assert_eq!(last.after.host.kernel, "6.18");
    assert_eq!(
        last.growth(
            "x",
            last.before.namespaces[&OWN].counter("Tcp.InSegs"),
            last.after.namespaces[&OWN].counter("Tcp.InSegs")
        ),
        Reading::Present(1000)
    );
    assert_eq!(steps.last().unwrap().wall_ms, START_MS + 65_000);
    let found = window(Cursor::new(&bytes), Duration::from_secs(1_063), Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!((found.records, found.interval.window().as_secs()), (5, 5));
}

/// Makes that file. It is made once for each format, and never again.
#[test]
#[ignore = "makes the fixture of the present format"]
fn make_the_fixture() {
    let (bytes, _) = recorded(&(0..65).map(step).collect::<Vec<_>>(), None);
    let path = format!("{}/fixtures/v{VERSION}.tcproof", env!("CARGO_MANIFEST_DIR"));
    let mut file = std::fs::File::create_new(path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
}

//! What real tools print beside a listener whose queue is full: `tools/dumps.sh` made it.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tcproof_core::snapshot::Netns;
use tcproof_core::states::State;
use tcproof_core::{Confidence, Diagnosis, Verdict, diagnose};

use super::super::{Judged, judge, netstat, nstat, open, read_loose, ss};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dumps").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

fn read(names: &[&str]) -> Judged {
    let paths: Vec<PathBuf> = names.iter().map(|name| fixture(name)).collect();
    judge(open(&paths).unwrap()).unwrap()
}

fn of(names: &[&str]) -> Diagnosis {
    diagnose(&read(names).interval)
}

fn host(judged: &Judged) -> &Netns {
    judged.interval.after.namespaces.values().next().unwrap()
}

const SS: [&str; 7] = ["4.4", "4.9", "4.20", "5.10", "6.1", "6.15", "7.3"];

#[test]
fn every_version_of_ss_shows_the_full_queue() {
    for version in SS {
        for options in ["-peaonmi", "-ltnm"] {
            let judged = read(&[&format!("ss-{version}/ss_{options}")]);
            let [listener] = &host(&judged).listeners.value().unwrap()[..] else { panic!("{version} {options}") };
            assert_eq!(listener.local.to_string(), "0.0.0.0:8080", "{version}");
            assert_eq!((listener.queue, listener.backlog), (65, 64), "{version} {options}");
            // `d` of skmem came with 4.7.
            assert_eq!(listener.drops.value().is_some(), version != "4.4", "{version}");
            let found = diagnose(&judged.interval);
            assert_eq!(found.verdict(), Verdict::Near);
            let finding = &found.findings[0];
            assert_eq!((&*finding.limit, finding.confidence), ("accept-queue", Confidence::Likely), "{version}");
            let owner = finding.subject.owners().first().map(|owner| &*owner.comm);
            assert_eq!(owner, (options == "-peaonmi").then_some("lab-server"), "{version} {options}");
        }
        // Without `-m` and `-e`, but with the others.
        let mut states = std::collections::BTreeMap::<State, u32>::new();
        let skipped =
            ss::rows(&text(&format!("ss-{version}/ss_-tan")), &mut |row| *states.entry(row.state).or_default() += 1);
        assert_eq!((skipped, states.get(&State::Listen)), (ss::Skipped::default(), Some(&1)), "{version}");
        assert!(states.len() > 1, "{version}: {states:?}");
    }
}

#[test]
fn sosreports_of_two_versions_and_the_interval_between_two() {
    for version in ["4.0", "4.10"] {
        let [first, second] = [1, 2].map(|n| format!("sos-{version}-{n}.tar.xz"));
        let alone = of(&[&first]);
        let finding = &alone.findings[0];
        assert_eq!(
            (&*finding.limit, alone.verdict(), finding.confidence),
            ("accept-queue", Verdict::Near, Confidence::Likely)
        );
        assert!(alone.since_boot.iter().any(|row| row.reading == "TcpExt.ListenOverflows" && row.value > 100));
        assert!(alone.findings.iter().all(|finding| finding.evidence.iter().all(|it| it.over_seconds.is_none())));
        // In whatever order they are named.
        for names in [[&*first, &*second], [&*second, &*first]] {
            let judged = read(&names);
            assert_eq!((judged.taken.len(), &judged.why_alone), (2, &None), "{version}");
            assert!((5.0..60.0).contains(&judged.interval.seconds()), "{}", judged.interval.seconds());
            let found = diagnose(&judged.interval);
            let finding = &found.findings[0];
            assert_eq!(
                (found.verdict(), &*finding.limit, finding.confidence),
                (Verdict::Limiting, "accept-queue", Confidence::Proven)
            );
            assert!(finding.subject.to_string() == "0.0.0.0:8080" && finding.hurt > 100 && found.since_boot.is_empty());
        }
        let same = read(&[&first, &first]);
        assert_eq!(same.why_alone.as_deref(), Some("they were taken at the same time, as far as they say"));
    }
}

#[test]
fn nstat_and_netstat_count_the_same() {
    for version in ["5.10", "7.3"] {
        let (counters, zeros) = nstat::parse(&text(&format!("nstat-{version}")));
        assert!(zeros && counters["TcpExt.ListenOverflows"] > 100 && counters["TcpExt.TCPAbortOnMemory"] == 0);
        assert!(counters.contains_key("Tcp.PassiveOpens") && counters.contains_key("Ip6.InReceives"));
    }
    for version in ["1.60", "2.10"] {
        let counters = netstat::parse(&text(&format!("netstat-{version}")));
        assert!(counters["TcpExt.ListenOverflows"] > 100, "{version}");
        assert_eq!(counters["TcpExt.ListenOverflows"], counters["TcpExt.ListenDrops"], "{version}");
        assert!(counters["Tcp.PassiveOpens"] > 0 && counters["Tcp.InSegs"] > 0, "{counters:?}");
        // What it does not show is not zero.
        let judged = read(&[&format!("netstat-{version}")]);
        let why = host(&judged).counter("TcpExt.TCPAbortOnMemory").absent().unwrap().to_string();
        assert!(why.contains("netstat -s shows few of those that are zero"), "{why}");
    }
}

#[test]
fn loose_files_are_one_dump_and_two_of_a_kind_are_not() {
    let judged = read(&["ss-6.15/ss_-peaonmi", "nstat-7.3"]);
    assert_eq!(judged.taken.len(), 1);
    assert!(host(&judged).listeners.value().is_some() && host(&judged).counter("TcpExt.ListenDrops").value().is_some());
    let why = |names: &[&str]| {
        let paths: Vec<PathBuf> = names.iter().map(|name| fixture(name)).collect();
        let why = open(&paths).and_then(judge).unwrap_err().to_string();
        why.replace(&fixture("").display().to_string(), "")
    };
    insta::assert_snapshot!([
        why(&["nstat-7.3", "nstat-5.10"]),
        why(&["sos-4.0-1.tar.xz", "sos-4.0-2.tar.xz", "nstat-5.10"]),
        why(&["sos-4.0-1.tar.xz", "sos-4.0-2.tar.xz", "sos-4.0-1.tar.xz"]),
    ].join("\n"), @r"
    nstat-5.10: expected the files of one dump, found nstat twice: put those of each into a folder of its own, and name both
    nstat-5.10: expected a folder for the files of each dump: which of the others it belongs to can't be told
    sos-4.0-1.tar.xz: expected at most two dumps: the two ends of an interval
    ");
}

#[test]
fn other_hosts_and_other_boots_are_refused() {
    let dump = |name: &str, boot: &str| {
        let sysctl = format!("kernel.hostname = {name}\nkernel.random.boot_id = {boot}\nnet.core.somaxconn = 128\n");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sysctl"), sysctl).unwrap();
        std::fs::write(folder.path().join("nstat"), "#kernel\nTcpExtListenDrops 1 0.0\n").unwrap();
        open(&[folder.path().into()]).unwrap().remove(0)
    };
    let why = |a, b| {
        let why = judge(vec![a, b]).unwrap_err().to_string();
        why[why.find(": ").unwrap()..].to_string()
    };
    insta::assert_snapshot!([
        why(dump("a", "1"), dump("b", "1")),
        why(dump("a", "1"), dump("a", "2")),
    ].join("\n"), @r"
    : expected two dumps of one host, found a and b
    : expected two dumps of one boot: the host was booted between them, and its counters began anew
    ");
    assert_eq!(judge(vec![dump("a", "1"), dump("", "")]).unwrap().taken.len(), 2);
}

#[test]
fn addresses_devices_and_names_of_all_sorts() {
    let listing = "\
Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process
tcp   LISTEN 0      128    *:80               *:*    users:((\"a \",pid=)\",pid=7,fd=3),(\"b\",pid=8,fd=4)) ino:5 sk:2a <->
tcp   LISTEN 0      128    127.0.0.53%lo:53   0.0.0.0:*  users:((\"old\",9,6)) uid:101
tcp   LISTEN 0      128    [fe80::1]%eth0:546 [::]:*
tcp   ESTAB  0      0      [::ffff:10.0.0.1]:80 [::ffff:10.0.0.2]:4000
udp   UNCONN 0      0      0.0.0.0:68         0.0.0.0:*
u_str ESTAB  0      0      * 1                * 2
tcp   LISTEN 0      x      0.0.0.0:81         0.0.0.0:*
tcp   LISTEN 0      1      0.0.0.0:http       0.0.0.0:*
tcp   WHAT   0      1      0.0.0.0:1          0.0.0.0:*
";
    let mut found = Vec::new();
    let skipped = ss::rows(listing, &mut |row| {
        let users: Vec<_> = row.users().map(|(name, pid)| format!("{name}={pid}")).collect();
        found.push(format!("{} {} {:?} {} {} {users:?}", row.state, row.local, row.device, row.remote, row.uid));
    });
    assert_eq!(skipped.rows, 3);
    insta::assert_snapshot!(found.join("\n"), @r#"
    LISTEN [::]:80 "" [::]:0 0 ["a \",pid=)=7", "b=8"]
    LISTEN 127.0.0.53:53 "lo" 0.0.0.0:0 101 ["old=9"]
    LISTEN [fe80::1]:546 "eth0" [::]:0 0 []
    ESTABLISHED 10.0.0.1:80 "" 10.0.0.2:4000 0 []
    "#);
}

proptest! {
    #[test]
    fn no_listing_is_too_strange(text in "(tcp|LISTEN|ESTAB|[0-9]{1,3}| |\n|\t|\\*:80|\\[::\\]:1|users:\\(\\(\"|\",pid=1,fd=2\\)|skmem:\\(d9|ino:1|sk:1|é){0,60}") {
        ss::rows(&text, &mut |row| {
            let _ = row.users().count();
        });
        let _ = (nstat::parse(&text), netstat::parse(&text));
    }

    #[test]
    fn no_loose_text_is_too_strange(version in 0_usize..7, at in 0_usize..20_000, with in "\\PC{0,8}", cut in 0_usize..20_000) {
        let mut listing = text(&format!("ss-{}/ss_-peaonmi", SS[version]));
        let at = (0..=at.min(listing.len())).rev().find(|at| listing.is_char_boundary(*at)).unwrap();
        listing.insert_str(at, &with);
        let cut = (0..=cut.min(listing.len())).rev().find(|at| listing.is_char_boundary(*at)).unwrap();
        if let Ok(interval) = read_loose(&[&listing.as_bytes()[..cut], b"#kernel\nTcpExtListenDrops 1 0.0\n"]) {
            prop_assert!(diagnose(&interval).findings.iter().all(|finding| finding.confidence == Confidence::Likely));
        }
    }
}

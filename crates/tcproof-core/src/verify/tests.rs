use alloc::string::ToString;
use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::testing::{Host, Listen, MSS, OWN, Stream, endpoint, no_permission};
use crate::plan::{Making, plan};
use crate::reading::Reading;
use crate::snapshot::{Netns, PortUse, Service, Tuple, TupleUse};

/// A limit's findings of the first host, judged on both.
fn verified(limit: &str, before: &Host, after: &Host) -> Verification {
    let [before, after] = [before, after].map(|host| Observation::new(host.interval().clone()));
    let mut findings = before.diagnosis.findings.clone();
    findings.retain(|finding| finding.limit == limit);
    assert_eq!(findings.len(), 1, "one finding of {limit}: {:#?}", before.diagnosis.findings);
    verify(&plan(&findings, &Making::default()).findings, &before, &after)
}

fn table(limit: &str, before: &Host, cases: &[(&str, Host, Outcome)]) {
    for (what, after, outcome) in cases {
        let verification = verified(limit, before, after);
        assert_eq!(verification.outcome, *outcome, "{limit}, {what}: {:#?}", verification.findings);
    }
}

use Outcome::{Better, Cured, NoEffect, TooDifferent, Unknown, Worse};

fn web() -> Listen {
    Listen::at("0.0.0.0:80").queues(&[129])
}

fn herd(listen: Listen, opened: u64, dropped: u64) -> Host {
    Host::new()
        .listener(listen.drops(7, 7 + dropped as u32))
        .grew("Tcp.PassiveOpens", opened)
        .grew("TcpExt.ListenDrops", dropped)
        .grew("TcpExt.ListenOverflows", dropped)
}

/// A listener that turned away so many last ACKs without an overflow, as with TCP_DEFER_ACCEPT.
fn rude(opened: u64, turned_away: u32) -> Host {
    let listen = web().backlog(1_024).queues(&[200]).drops(0, turned_away);
    Host::new().listener(listen).grew("Tcp.PassiveOpens", opened).grew("TcpExt.ListenDrops", turned_away.into())
}

/// A listener that does not tell what it drops.
fn blind(opened: u64) -> Host {
    let listen = web().backlog(1_024).queues(&[200]).without_drops();
    Host::new().listener(listen).grew("Tcp.PassiveOpens", opened)
}

#[test]
fn accept_queue() {
    let long = || web().backlog(1_024).queues(&[200]);
    let cases = [
        ("cured", herd(long(), 1_200, 0), Cured),
        ("another process", herd(long().cookie(4_711).pid(9), 1_200, 0).process(9, "api", 9, 1_024), Cured),
        ("no drops any more, but still full", herd(web(), 1_200, 0), Better),
        ("better", herd(web(), 1_150, 100), Better),
        ("the same", herd(web(), 1_000, 342), NoEffect),
        ("nearly the same", herd(web(), 1_000, 330), NoEffect),
        ("half the drops of half the load", herd(web(), 500, 171), NoEffect),
        ("worse", herd(web(), 1_000, 900), Worse),
        ("worse of less", herd(web(), 100, 900), Worse),
        ("a third of the load", herd(long(), 370, 0), TooDifferent),
        ("tenfold load, and it holds", herd(long(), 11_000, 0), Cured),
        ("tenfold load", herd(web(), 10_000, 3_000), TooDifferent),
        ("no traffic", herd(long(), 0, 0), TooDifferent),
        ("closed", Host::new().grew("Tcp.PassiveOpens", 1_200), Unknown),
        ("unread", blind(1_200).without("TcpExt.ListenOverflows"), Unknown),
        ("the namespace's unread", herd(long(), 1_200, 0).without("TcpExt.ListenOverflows"), Unknown),
        ("one of two, unread", blind(1_200).listener(Listen::at("0.0.0.0:81")), Unknown),
        ("its own unread, but it is alone", blind(1_200), Cured),
        ("turns away what is no overflow", rude(1_200, 90), Cured),
        ("load unread", herd(long(), 1_200, 0).without("Tcp.PassiveOpens"), Unknown),
        ("one reading", herd(long(), 1_200, 0).before(|s| s.at = Duration::from_secs(5)), Unknown),
    ];
    table("accept-queue", &herd(web(), 1_000, 342), &cases);
}

#[test]
fn a_few_events_are_chance() {
    table("accept-queue", &herd(web(), 1_000, 4), &[("none", herd(web(), 1_000, 0), Unknown)]);
    table("accept-queue", &herd(web(), 1_000, 5), &[("none", herd(web(), 1_000, 0), Better)]);
}

#[test]
fn of_what_is_rare_another_finding_of_the_limit_tells() {
    let host = |dropped: [u32; 2]| {
        let host = Host::new().cpus(&[(0.1, 20_000), (0.1, 20_000)]).grew("Tcp.InSegs", 40_000);
        let host =
            host.softnet_after(0, |cpu| cpu.dropped += dropped[0]).softnet_after(1, |cpu| cpu.dropped += dropped[1]);
        Observation::new(host.interval().clone())
    };
    let reason = |cpu| Reason { subject: Subject::Cpu { cpu }, ..reasons().swap_remove(8) };
    let elsewhere = Reason { subject: Subject::Netns { netns: "own".into() }, ..reason(0) };
    let outcome = |reasons: &[Reason], before, after| verify(reasons, &host(before), &host(after)).outcome;
    let both = [reason(0), reason(1)];
    assert_eq!(outcome(&both[..1], [2, 900], [0, 0]), Unknown);
    assert_eq!(outcome(&both, [2, 900], [0, 0]), Cured);
    assert_eq!(outcome(&both, [0, 900], [0, 0]), Cured, "the first was seen only when the plan was made");
    assert_eq!(outcome(&both, [2, 900], [0, 400]), Better);
    assert_eq!(outcome(&both, [2, 900], [1, 0]), Unknown, "not gone");
    assert_eq!(outcome(&[elsewhere, reason(1)], [2, 900], [0, 0]), Unknown, "of another place it tells nothing");
    assert_eq!(outcome(&both, [2, 900], [0, 900]), NoEffect);
}

#[test]
fn connections_of_others_are_no_sign_of_life() {
    let beside = |listen| herd(listen, 1_100, 0).listener(Listen::at("0.0.0.0:81").queues(&[3]));
    let before = herd(web(), 1_000, 342).listener(Listen::at("0.0.0.0:81").queues(&[3]));
    let cases = [
        ("silent", beside(web().backlog(1_024).queues(&[0])), TooDifferent),
        ("alive", beside(web().backlog(1_024).queues(&[0, 1])), Cured),
    ];
    table("accept-queue", &before, &cases);
}

#[test]
fn a_flood_that_ends_is_no_cure() {
    let cookies = |opened: u64, sent: u64, back: u64| {
        let host = Host::new().listener(web().queues(&[3])).grew("Tcp.PassiveOpens", opened);
        let host = host.grew("TcpExt.TCPReqQFullDoCookies", sent).grew("TcpExt.SyncookiesSent", sent);
        Observation::new(host.grew("TcpExt.SyncookiesRecv", back).interval().clone())
    };
    let answer = |before, after| verify(&reasons()[1..2], &before, &after).outcome;
    assert_eq!(answer(cookies(1_000, 90_000, 0), cookies(1_000, 0, 0)), TooDifferent);
    assert_eq!(answer(cookies(1_000, 900, 900), cookies(1_000, 0, 0)), Cured);
    assert_eq!(answer(cookies(9_000, 900, 900), cookies(9_000, 100, 100)), Better);
}

#[test]
fn what_still_drops_is_not_cured_though_no_finding_is_left() {
    let host = |dropped| {
        let host = Host::new().grew("TcpExt.TCPTimeWaitOverflow", dropped).sockstat("TCP.tw", 9, 9);
        Observation::new(host.grew("Tcp.ActiveOpens", 90_000).interval().clone())
    };
    let reason = Reason { subject: Subject::Host, ..reasons().swap_remove(3) };
    let answer = |after| verify(core::slice::from_ref(&reason), &host(900), &host(after)).outcome;
    assert_eq!([answer(0), answer(9), answer(880)], [Cured, Better, NoEffect]);
}

fn ports(used: u32, range: &str, opened: u64) -> Host {
    let set = move |ns: &mut Netns| {
        let tuple = Tuple { source: "10.0.0.1".parse().expect("an address"), destination: endpoint("10.0.0.9:5432") };
        let ports = TupleUse { ports: used, time_wait: used, inode: 7, ..TupleUse::default() };
        ns.sockets.ports =
            Reading::Present(PortUse { tuples: [(tuple, ports)].into(), sockets: used, ..PortUse::default() });
    };
    Host::new().ns(set).knob("net.ipv4.ip_local_port_range", range).grew("Tcp.ActiveOpens", opened)
}

/// With all of its ports' connections open.
fn open(host: Host) -> Host {
    host.ns(|ns| {
        if let Reading::Present(ports) = &mut ns.sockets.ports {
            ports.tuples.values_mut().for_each(|used| used.time_wait = 0);
        }
    })
}

#[test]
fn ephemeral_ports() {
    let (narrow, wide) = ("32768 60999", "10240 65535");
    let cases = [
        ("cured", ports(24_000, wide, 2_400), Cured),
        ("another process", ports(24_000, wide, 2_400).owner(7, 99).process(99, "crawler", 1, 9), Cured),
        ("better", ports(31_000, wide, 2_400), Better),
        ("the same", ports(28_000, narrow, 2_300), NoEffect),
        ("a fifth of the load", ports(9_000, wide, 400), TooDifferent),
        ("tenfold load", ports(24_000, wide, 24_000), Cured),
        ("no traffic", ports(0, wide, 0), TooDifferent),
        ("others' traffic", ports(0, wide, 2_400), TooDifferent),
        ("not dumped", Host::new().grew("Tcp.ActiveOpens", 2_400), TooDifferent),
        ("unread", ports(24_000, wide, 2_400).ns(|ns| ns.sockets.ports = no_permission("sock_diag")), Unknown),
    ];
    table("ephemeral-ports", &ports(28_000, narrow, 2_300), &cases);
    let cases = [
        ("worse", ports(28_000, narrow, 2_300), Worse),
        ("fewer for fewer connections", ports(13_000, narrow, 1_450), NoEffect),
        ("fewer for as many", ports(13_000, narrow, 2_300), Cured),
    ];
    table("ephemeral-ports", &ports(20_000, narrow, 2_300), &cases);
    let whole = "1024 65535";
    // A full range lets no connection begin, and the kernel does not count those that tried.
    let full = ports(28_232, narrow, 0);
    let cases = [
        ("room for them", ports(24_000, wide, 3_000), Cured),
        ("no traffic", ports(0, wide, 0), TooDifferent),
        ("only what is left of it", ports(28_000, wide, 0), TooDifferent),
    ];
    table("ephemeral-ports", &full, &cases);
    let cases = [
        ("all of them open", open(ports(30_000, whole, 3_000)), Cured),
        ("as many open, and room for more", open(ports(28_232, whole, 0)), Cured),
        ("as many open, and no room", open(ports(28_232, narrow, 0)), NoEffect),
        ("all closed", ports(0, wide, 0), TooDifferent),
    ];
    table("ephemeral-ports", &open(full), &cases);
    let idle = ports(20_000, narrow, 0);
    table("ephemeral-ports", &idle, &[("no traffic before", ports(13_000, narrow, 2_300), TooDifferent)]);
}

fn tracked(entries: u64, max: u64, opened: u64, dropped: u64) -> Host {
    Host::new().conntrack(entries, entries, max, max).conntrack_grew("drop", dropped).grew("Tcp.PassiveOpens", opened)
}

#[test]
fn conntrack_table() {
    let cases = [
        ("cured", tracked(280_000, 393_216, 2_200, 0), Cured),
        ("nearly full", tracked(380_000, 393_216, 2_200, 0), Better),
        ("better", tracked(262_144, 262_144, 2_100, 150), Better),
        ("drops with room left", tracked(30_000, 393_216, 2_100, 150), Better),
        ("the same", tracked(262_144, 262_144, 2_000, 600), NoEffect),
        ("worse", tracked(262_144, 262_144, 2_000, 1_500), Worse),
        ("a fifth of the load", tracked(50_000, 393_216, 440, 0), TooDifferent),
        ("tenfold load", tracked(280_000, 393_216, 22_000, 0), Cured),
        ("tenfold load and drops", tracked(262_144, 262_144, 20_000, 6_000), TooDifferent),
        ("no traffic", tracked(280_000, 393_216, 0, 0), TooDifferent),
        ("unread", tracked(9, 393_216, 2_200, 0).ns(|ns| ns.conntrack.stat = no_permission("statistics")), Unknown),
    ];
    table("conntrack-table", &tracked(262_144, 262_144, 2_000, 600), &cases);
    // Near, and then its count can't be read: nothing is known, though no finding is left.
    let unread = tracked(9, 262_144, 2_000, 0).ns(|ns| ns.conntrack.count = no_permission("count"));
    let cases = [("unread", unread, Unknown), ("room", tracked(100_000, 262_144, 2_000, 0), Cured)];
    table("conntrack-table", &tracked(250_000, 262_144, 2_000, 0), &cases);
}

/// A receiver of so many bytes a window, whose buffer was set to twice that, on a port that nothing listens on here.
fn received(window: u32) -> Stream {
    Stream::between("10.0.0.2:4430", "10.0.0.9:5000").receives(f64::from(window) / 0.020_5).each(|_, s| {
        (s.min_rtt, s.rtt) = (20_000, 20_500);
        (s.rcvbuf, s.rcv_wnd, s.rcv_ssthresh) = (131_072, Some(window), window);
    })
}

fn receiver(stream: Option<Stream>) -> Host {
    let host = Host::new()
        .knob("net.ipv4.tcp_rmem", "4096\t131072\t6291456")
        .knob("net.ipv4.tcp_wmem", "4096\t16384\t4194304")
        .knob("net.ipv4.tcp_moderate_rcvbuf", "0")
        .knob("net.ipv4.tcp_window_scaling", "1")
        .knob("net.core.rmem_max", "212992");
    stream.into_iter().fold(host, Host::flow)
}

/// The same with room in the buffer: whatever comes, its sender decides.
fn roomy(rate: f64) -> Stream {
    Stream::between("10.0.0.2:4431", "10.0.0.9:5000").receives(rate).each(|_, s| {
        (s.min_rtt, s.rtt) = (20_000, 20_500);
        (s.rcvbuf, s.rcv_wnd, s.rcv_ssthresh) = (6_291_456, Some(3_000_000), 3_000_000);
    })
}

fn unread_flows() -> Host {
    let mut interval = receiver(Some(received(80_512))).interval().clone();
    interval.looks.flows.insert(OWN, no_permission("tcp_info"));
    Host::of(interval)
}

#[test]
fn receive_window() {
    let two = receiver(Some(received(80_512))).flow(roomy(3.9e6)).flow(roomy(3.9e6).cookie(2));
    let cases = [
        ("cured, from another port", receiver(Some(roomy(20e6))), Cured),
        ("better", receiver(Some(received(120_000))), Better),
        ("the same", receiver(Some(received(80_512))), NoEffect),
        ("worse", receiver(Some(received(40_000))), Worse),
        ("the sender sends less", receiver(Some(roomy(0.4e6))), TooDifferent),
        ("the sender sends no more", receiver(Some(roomy(3.9e6))), TooDifferent),
        ("three times the flows", two, TooDifferent),
        ("twice the flows", receiver(Some(received(80_512))).flow(received(80_512).cookie(2)), NoEffect),
        ("no flow", receiver(None), TooDifferent),
        ("another namespace's", receiver(None).flow_elsewhere("peer", roomy(20e6)), TooDifferent),
        ("flows unread", unread_flows(), Unknown),
    ];
    table("receive-window", &receiver(Some(received(80_512))), &cases);
}

/// Over 50 ms, so many segments lost every second, the window cut to ever other heights.
fn losing(rate: f64, each_second: f64) -> Host {
    let stream = Stream::between("10.0.0.2:443", "10.0.0.9:5000").sends(rate).each(|t, s| {
        let n = (t * each_second) as u32;
        (s.total_retrans, s.snd_ssthresh) = (n, [6, 11, 8, 5][n as usize % 4]);
        (s.snd_cwnd, s.unacked, s.notsent_bytes) = (s.snd_ssthresh + 2, s.snd_ssthresh + 2, 100 * MSS);
        s.snd_wnd = Some(1_000_000);
    });
    Host::new().flow(stream)
}

#[test]
fn loss() {
    let idle = Stream::between("10.0.0.2:444", "10.0.0.9:5000").sends(10_000.0).each(|t, s| {
        (s.busy_time, s.app_limited, s.unacked, s.wqueue) = ((t * 1e5) as u64, true, 0, 0);
    });
    let cases = [
        ("no losses, ten times the goodput", losing(2_500_000.0, 0.0), Cured),
        ("more goodput", losing(400_000.0, 2.0), Better),
        ("the same", losing(250_000.0, 2.0), NoEffect),
        ("worse", losing(100_000.0, 2.0), Worse),
        ("as slow, with more losses", losing(250_000.0, 9.0), Worse),
        ("nothing to send", Host::new().flow(idle), TooDifferent),
        ("no flow", Host::new(), TooDifferent),
    ];
    table("loss", &losing(250_000.0, 2.0), &cases);
}

/// Connections that a program never closes: so many at both ends of the window.
fn leaking(held: [u64; 2], opened: u64) -> Host {
    let cookies = held.map(|held| (0..held).collect::<Vec<_>>());
    let service = Service::Local(endpoint("10.0.0.1:8080"));
    let host = Host::new().close_wait(service, 7, &cookies[0], &cookies[1]).grew("Tcp.PassiveOpens", opened);
    let old = host.ns(|ns| {
        if let Reading::Present(groups) = &mut ns.sockets.close_wait {
            groups.values_mut().for_each(|pile| pile.oldest = Duration::from_secs(300));
        }
    });
    old.owner(7, 41).process(41, "api", 150, 20_000)
}

#[test]
fn what_only_the_finding_itself_tells() {
    let cases = [
        ("cured", leaking([0, 0], 900), Cured),
        ("no effect", leaking([200, 300], 900), NoEffect),
        ("no traffic", leaking([0, 0], 0), TooDifferent),
        ("a tenth of the traffic", leaking([0, 0], 90), TooDifferent),
        ("unreadable", leaking([0, 0], 900).ns(|ns| ns.sockets.close_wait = no_permission("sockets")), Unknown),
    ];
    table("close-wait-leak", &leaking([100, 200], 900), &cases);
}

#[test]
fn room_for_time_wait_takes_as_long_as_time_wait() {
    let to = |knob: &str| {
        let remedy = crate::finding::Remedy::knob("x", knob, "1000", "262144");
        let mut finding = Observation::new(herd(web(), 9, 9).interval().clone()).diagnosis.findings.remove(0);
        finding.remedies = vec![remedy];
        plan(&[finding], &Making::default()).changes
    };
    assert_eq!(settle(&to("net.core.somaxconn")), (1, None));
    assert_eq!(settle(&to("net.ipv4.tcp_max_tw_buckets")), (61, Some("net.ipv4.tcp_max_tw_buckets")));
}

#[test]
fn the_worst_of_several_is_the_answer() {
    let observe = |host: Host| Observation::new(host.interval().clone());
    let queues = |web: Listen, drops: [u32; 2], opened| {
        let total = u64::from(drops[0] + drops[1]);
        let api = Listen::at("0.0.0.0:81").queues(&[129]).drops(0, drops[1]);
        let host = Host::new().listener(web.drops(0, drops[0])).listener(api).grew("Tcp.PassiveOpens", opened);
        observe(host.grew("TcpExt.ListenDrops", total).grew("TcpExt.ListenOverflows", total))
    };
    let before = queues(web(), [300, 300], 2_000);
    let after = queues(web().backlog(1_024).queues(&[9]), [0, 290], 2_100);
    let findings: Vec<_> = before.diagnosis.findings.clone();
    let reasons = plan(&findings, &Making::default()).findings;
    let verification = verify(&reasons, &before, &after);
    let mut outcomes: Vec<_> = verification.findings.iter().map(|finding| finding.outcome).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [NoEffect, Cured]);
    assert!(verification.outcome == NoEffect && verification.should_undo());
    assert_eq!(verify(&[], &before, &after).outcome, Unknown);
    let undone: Vec<_> = [Worse, NoEffect, Unknown, TooDifferent, Better, Cured].map(Outcome::should_undo).into();
    assert_eq!(undone, [true, true, false, false, false, false]);
}

#[test]
fn the_rows_are_the_proof() {
    let verification = verified("accept-queue", &herd(web(), 1_000, 300), &herd(web().backlog(1_024), 1_200, 0));
    let rows: Vec<_> = verification.findings[0].rows.iter().map(|r| (r.measure, r.before, r.after, r.change)).collect();
    let amount = |value, of| Some(Amount { value, of });
    let expected = vec![
        (Measure::Symptom, amount(60.0, None), amount(0.0, None), Some(Change::Better)),
        (Measure::Headroom, amount(129.0, Some(129.0)), amount(129.0, Some(1_025.0)), None),
        (Measure::Load, amount(220.0, None), amount(240.0, None), None),
    ];
    assert_eq!(rows, expected);
    let text = serde_json::to_string(&verification).expect("a verification is JSON");
    assert_eq!(serde_json::from_str::<Verification>(&text).expect("and back"), verification);
}

/// Any window of one listener beside another, with conntrack, ports and flows.
fn any_host() -> impl Strategy<Value = Host> {
    let count = || prop_oneof![Just(0), 1..20_u64, 20..5_000_u64, Just(u64::from(u32::MAX))];
    let listener = (any::<bool>(), 0..300_u32, prop_oneof![Just(0), 1..9_u32, 9..3_000_u32], 0..3_u64);
    (listener, [count(), count(), count(), count(), count()], 0..40_000_u32, 0..3_u8, 0..4_u8).prop_map(
        |((present, queue, drops, cookie), [opens, out, entries, tracked, segments], used, losses, missing)| {
            let mut host = ports(used, "32768 60999", out)
                .conntrack(entries, entries, 4_000, 4_000)
                .conntrack_grew("drop", tracked)
                .grew("Tcp.PassiveOpens", opens)
                .grew("Tcp.InSegs", segments)
                .grew("TcpExt.TCPTimeWaitOverflow", tracked / 3)
                .grew("TcpExt.ListenDrops", drops.into())
                .grew("TcpExt.ListenOverflows", drops.into())
                .listener(Listen::at("0.0.0.0:81"));
            if present {
                host = host.listener(web().queues(&[queue]).cookie(1 + cookie).drops(0, drops));
            }
            let mut interval = host.interval().clone();
            if losses > 0 {
                let flows = losing(f64::from(used) * 10.0, f64::from(losses)).interval().looks.flows.clone();
                interval.looks.flows = flows;
            }
            match missing {
                0 => Host::of(interval).without("Tcp.PassiveOpens"),
                1 => Host::of(interval).ns(|ns| ns.conntrack.count = no_permission("count")),
                _ => Host::of(interval),
            }
        },
    )
}

fn reasons() -> Vec<Reason> {
    let netns = || "own".to_string();
    let at = |limit: &str, subject| Reason {
        limit: limit.into(),
        cause: "x".into(),
        state: State::Limiting,
        confidence: crate::finding::Confidence::Proven,
        summary: "x".into(),
        subject,
    };
    let to = || ("10.0.0.1".to_string(), "10.0.0.9:5432".to_string());
    let flow = Subject::Flow {
        netns: netns(),
        local: "10.0.0.2:443".into(),
        remote: "10.0.0.9:5000".into(),
        alike: 0,
        owners: vec![],
    };
    vec![
        at("accept-queue", Subject::Listener { netns: netns(), local: "0.0.0.0:80".into(), owners: vec![] }),
        at("syn-queue", Subject::Listener { netns: netns(), local: "0.0.0.0:80".into(), owners: vec![] }),
        at("conntrack-table", Subject::Netns { netns: netns() }),
        at("time-wait-table", Subject::Netns { netns: netns() }),
        at(
            "ephemeral-ports",
            Subject::Destination { netns: netns(), source: to().0, destination: to().1, owners: vec![] },
        ),
        at("loss", flow.clone()),
        at("receive-window", flow),
        at("tcp-memory", Subject::Host),
        at("softnet-backlog", Subject::Cpu { cpu: 0 }),
        at("nic-ring", Subject::Device { netns: netns(), device: "eth0".into() }),
        at("cgroup-memory", Subject::Cgroup { path: "/".into(), unit: None }),
        at("file-descriptors", Subject::Process { netns: "gone".into(), owners: vec![], local: None }),
        at("not-a-limit", Subject::Process { netns: netns(), owners: vec![], local: Some("no address".into()) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_other_way_round_is_the_opposite((before, after) in (any_host(), any_host())) {
        let [before, after] = [before, after].map(|host| Observation::new(host.interval().clone()));
        let (there, back) = (verify(&reasons(), &before, &after), verify(&reasons(), &after, &before));
        for (there, back) in there.findings.iter().zip(&back.findings) {
            let improved = |outcome| matches!(outcome, Better | Cured);
            prop_assert!(!(improved(there.outcome) && improved(back.outcome)), "{there:#?} {back:#?}");
            prop_assert_eq!(improved(there.outcome), back.outcome == Worse, "{:#?} {:#?}", there, back);
        }
        prop_assert_eq!(there.outcome, there.findings.iter().map(|f| f.outcome).min().unwrap_or(Unknown));
    }

    #[test]
    fn what_stays_as_it_was_had_no_effect(drops in 1..5_000_u64, opened in 1..5_000_u64) {
        let host = herd(web(), opened, drops);
        prop_assert_eq!(verified("accept-queue", &host, &host).outcome, NoEffect);
        let host = tracked(262_144, 262_144, opened, drops);
        prop_assert_eq!(verified("conntrack-table", &host, &host).outcome, NoEffect);
        let host = losing(250_000.0, 2.0);
        prop_assert_eq!(verified("loss", &host, &host).outcome, NoEffect);
    }

    #[test]
    fn what_never_hurt_in_either_window_was_not_cured(host in any_host()) {
        let seen = Observation::new(host.interval().clone());
        for finding in verify(&reasons(), &seen, &seen).findings {
            prop_assert!(!matches!(finding.outcome, Better | Cured | Worse), "{finding:#?}");
        }
    }

    #[test]
    fn twice_the_load_in_both_is_the_same_answer(
        events in [0..500_u64, 0..500_u64],
        opened in [1..5_000_u64, 1..5_000_u64],
        doublings in 1..8_u32,
    ) {
        let reasons = &reasons()[3..4];
        let answer = |factor: u64| {
            let host = |at: usize| {
                let host = Host::new().grew("TcpExt.TCPTimeWaitOverflow", events[at]);
                Observation::new(host.grew("Tcp.ActiveOpens", opened[at] * factor).interval().clone())
            };
            verify(reasons, &host(0), &host(1)).outcome
        };
        prop_assert_eq!(answer(1), answer(1 << doublings));
    }

    #[test]
    fn nothing_is_cured_by_silence(before in any_host()) {
        let silent = Host::new().listener(Listen::at("0.0.0.0:80")).conntrack(9, 9, 4_000, 4_000);
        let [before, after] = [before, silent].map(|host| Observation::new(host.interval().clone()));
        for finding in verify(&reasons(), &before, &after).findings {
            prop_assert!(matches!(finding.outcome, Unknown | TooDifferent), "{finding:#?}");
        }
    }
}

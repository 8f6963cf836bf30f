//! Scenario files, good and bad.

use super::*;

const HEAD: &str = "about = \"x\"\n[[server]]\nname = \"web\"\nkind = \"accepts\"\n";

fn error(tail: &str) -> String {
    Scenario::parse("dir/x.toml", &format!("{HEAD}{tail}")).unwrap_err().to_string()
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    for (tail, line, column, expected) in [
        ("colour = 3\n", 5, 1, "unknown field `colour`"),
        ("backlog = \"many\"\n", 5, 11, "expected u32"),
        ("[watch]\nwindow = \"5m\"\n", 6, 10, "a duration such as"),
        ("[watch]\nwindow = \"61s\"\n", 6, 10, "longer than the 60 s"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 0\n", 8, 8, "expected 1 to 20000"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 20001\n", 8, 8, "expected 1 to 20000"),
        ("[[load]]\nname = \"a\"\nkind = \"hold\"\nrate = 1\ncount = 200001\n", 9, 9, "1 to 200000 connections"),
        ("[sysctl.server]\n\"vm.swappiness\" = 1\n", 6, 1, "not a sysctl that each network namespace"),
        ("[sysctl.server]\n\"net.core.somaxconn\" = 1.5\n", 6, 24, "a whole number or text"),
        ("[symptom]\ncolour = 3\n", 6, 1, "unknown field `colour`"),
        ("[link]\ncolour = 3\n", 6, 1, "unknown field `colour`"),
        ("[link.to-client]\ncolour = 3\n", 6, 1, "unknown field `colour`"),
        ("[link]\ndelay = 25\n", 6, 9, "expected a string"),
        ("[link]\nloss = 1.5\n", 6, 8, "a share from 0 to 1"),
        ("[link]\nloss = -1\n", 6, 8, "a share from 0 to 1"),
        ("[link]\nloss = nan\n", 6, 8, "a share from 0 to 1"),
        ("[link]\nbits-per-second = 999\n", 6, 19, "expected 1000 to 10000000000 bits"),
        ("[link]\nbits-per-second = 10000000001\n", 6, 19, "expected 1000 to 10000000000 bits"),
        ("[link]\nqueue = 0\n", 6, 9, "expected 1 to 1073741824 bytes"),
        ("[link]\nreorder = { share = 2, by = \"1ms\" }\n", 6, 21, "a share from 0 to 1"),
        ("[[link.later]]\nlink = { cut = true }\n", 5, 1, "missing field `after`"),
        ("[symptom]\ngoodput = \"web\"\nat-most-mbit = 0\n", 7, 16, "more than 0 and at most 1000000"),
        ("[goodput-at-least-mbit]\nweb = 5\n", 6, 7, "\"web\" is no server or load that moves data in bulk"),
        ("[goodput-at-least-mbit]\nweb = -5\n", 6, 7, "more than 0"),
        ("socket = { rcvbuf = 0 }\n", 5, 21, "expected 1 to 1073741824 bytes"),
        ("socket = { colour = 0 }\n", 5, 12, "unknown field `colour`"),
        ("writes = { burst = { bytes = 1 } }\n", 5, 20, "missing field `every`"),
        ("[remedy.server.web]\nsocket = { sndbuf = 0 }\n", 5, 1, "expected 1 to 1073741824 bytes"),
        ("[remedy.server.web]\ncolour = false\n", 5, 1, "unknown field `colour`"),
        ("[remedy.server.web]\nrate = 0\n", 5, 1, "expected 1 to 20000"),
        ("[remedy.server.other]\nrate = 1\n", 5, 1, "there is no server \"other\""),
    ] {
        let message = error(tail);
        assert!(message.starts_with(&format!("dir/x.toml:{line}:{column}: ")), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let text = "about = \"x\"\nlimit = \"accept-queue\"\ncause = \"bad-luck\"\n";
    let message = Scenario::parse("x.toml", text).unwrap_err().to_string();
    assert!(message.starts_with("x.toml:3:9: accept-queue has no cause \"bad-luck\""), "{message}");
    let message = Scenario::parse("x.toml", "about = \"x\"\nabsent = [\"nothing\"]\n").unwrap_err().to_string();
    assert!(message.starts_with("x.toml:2:"), "{message}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (tail, expected) in [
        ("[[server]]\nname = \"web\"\nkind = \"stalls\"\n", "\"web\" is the name of two"),
        ("[[server]]\nname = \"b\"\nkind = \"paced\"\n", "needs `rate`"),
        ("[[load]]\nname = \"a\"\nkind = \"hold\"\nrate = 1\n", "needs `count`"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = []\n", "no destination"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = [\"192.0.2.1:80\"]\n", "not of the lab"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = [\"10.77.0.1:80\"]\n", "the client's and the"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nfrom = [\"10.77.0.2\"]\n", "the client's and the"),
        ("[symptom]\nat-least = 3\n", "exactly one of"),
        ("[symptom]\ncounter = \"a\"\ngoodput = \"web\"\n", "exactly one of"),
        ("[symptom]\ncounter = \"a\"\ngain = 2\n", "are of `goodput`"),
        ("[symptom]\ngoodput = \"web\"\n", "\"web\" is no server or load that moves data in bulk"),
        ("[symptom]\ngoodput = \"web\"\ngain = 0.5\n", "expected 1 to 1000000 times, found 0.5"),
        ("[link]\nmtu = 500\n", "[link] mtu: expected 576 to 1500, found 500"),
        ("[link.to-client]\nmtu = 1501\n", "[link.to-client] mtu: expected 576 to 1500"),
        ("[link]\nstall = { every = \"1s\", for = \"1s\" }\n", "[link] stall: it is 1s long, in every 1s"),
        ("[link.to-client.to-server]\ncut = true\n", "[link.to-client] is one direction already"),
        ("[link.to-client]\nseed = 1\n", "[link.to-client]: `seed` is only for [link]"),
        ("[[link.later]]\nafter = \"1s\"\nlink = { seed = 1 }\n", "[link.later]: `seed` is only for [link]"),
        ("[link.to-client]\nserver-bits-per-second = 1000\n", "`server-bits-per-second` is only for [link]"),
        ("[link]\nserver-queue = 1000\n", "`server-queue` needs `server-bits-per-second`"),
        ("[remedy.link]\nloss = 0\n", "changes a link that [link] does not describe"),
        ("[[load]]\nname = \"link\"\nkind = \"uploads\"\n", "\"link\" is the name of the link"),
        ("[[load]]\nname = \"a\"\nkind = \"connect\"\n", "its kind needs `rate`"),
        ("reads = { bytes-per-second = 1 }\n", "only `sinks` reads"),
        ("writes = { size = 1 }\n", "only `sources` writes"),
        ("[[load]]\nname = \"a\"\nkind = \"uploads\"\nreads = { after = \"1s\" }\n", "only `downloads` reads"),
        ("[[load]]\nname = \"a\"\nkind = \"downloads\"\nwrites = { size = 1 }\n", "only `uploads` writes"),
        (
            "[[load]]\nname = \"a\"\nkind = \"uploads\"\nwrites = { bytes-per-second = 1, burst = { bytes = 1, every = \"1s\" } }\n",
            "one of `bytes-per-second`, `burst`",
        ),
        (
            "[[load]]\nname = \"a\"\nkind = \"uploads\"\nwrites = { burst = { bytes = 1, every = \"0s\" } }\n",
            "a burst needs some time",
        ),
        ("socket = { keepalive = { idle = \"1500ms\" } }\n", "keepalive: expected whole seconds, found 1.5s"),
        ("socket = { congestion = \"bbr; rm\" }\n", "is no name of an algorithm"),
        ("[symptom]\nerrors = \"a\"\n", "a load \"a\" that is not there"),
        ("[remedy]\nrelisten = [\"b\"]\n", "no server \"b\""),
    ] {
        let message = error(tail);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_remedy_changes_only_the_fields_it_names() {
    let tail = "backlog = 7\n[remedy.server.web]\nkind = \"paced\"\nrate = 9\n";
    let scenario = Scenario::parse("x.toml", &format!("{HEAD}{tail}")).unwrap();
    let cured = scenario.cured_server("web").unwrap();
    assert_eq!((cured.kind, cured.rate, cured.backlog), (ServerKind::Paced, Some(Rate(9)), 7));
    assert_eq!((scenario.name.as_str(), scenario.truth().as_str()), ("x", "healthy"));
}

#[test]
fn a_remedy_reaches_into_tables_and_takes_fields_away() {
    let tail = "socket = { sndbuf = 5, rcvbuf = 6 }\n[remedy.server.web.socket]\nsndbuf = false\nrcvbuf = 7\n";
    let cured = Scenario::parse("x.toml", &format!("{HEAD}{tail}")).unwrap().cured_server("web").unwrap();
    assert_eq!((cured.socket.sndbuf, cured.socket.rcvbuf.map(|bytes| bytes.0)), (None, Some(7)));
}

#[test]
fn bulk_loads_have_one_connection_unless_it_is_said() {
    let tail = "[[load]]\nname = \"up\"\nkind = \"uploads\"\n[remedy.load.up]\ncount = 4\n";
    let scenario = Scenario::parse("x.toml", &format!("{HEAD}{tail}")).unwrap();
    assert_eq!((scenario.load[0].count(), scenario.cured_load("up").unwrap().count()), (Some(1), Some(4)));
    assert!(!scenario.link.is_emulated());
}

#[test]
fn only_what_a_veth_pair_cannot_do_is_emulated() {
    for (link, emulated) in [("server-bits-per-second = 1000", false), ("delay = \"1ms\"", true), ("mtu = 1500", true)]
    {
        let scenario = Scenario::parse("x.toml", &format!("about = \"x\"\n[link]\n{link}\n")).unwrap();
        assert_eq!(scenario.link.is_emulated(), emulated, "{link}");
    }
}

#[test]
fn durations_have_units() {
    for (text, ms) in [("5s", Some(5000)), ("200ms", Some(200)), ("0s", Some(0)), ("60s", Some(60_000))] {
        assert_eq!(Time::try_from(text.to_string()).ok().map(|t| t.0.as_millis()), ms, "{text}");
    }
    for text in ["", "5", "s", "-1s", "1.5s", "99999999999999999999s", "5 s", "60001ms"] {
        assert!(Time::try_from(text.to_string()).is_err(), "{text}");
    }
}

//! `tcproof path`: the program itself on this host, in namespaces of its own, and on directories that mean no good.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{self, require_root, rtnl, sysctl};

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tcproof-host/fixtures");
const NOBODY: u32 = 65534;

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("LC_ALL", "C.UTF-8");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "TERM"] {
        command.env_remove(name);
    }
    command
}

fn tcproof(arguments: &[&str]) -> Command {
    command(Path::new(TCPROOF), arguments)
}

/// Its output as text; it must have ended with that code and without a panic.
fn done(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints UTF-8");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

fn run(arguments: &[&str]) -> String {
    done(&tcproof(arguments).output().unwrap(), 0).0
}

/// The JSON, which keeps to the schema.
fn json(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let schema: Value = serde_json::from_str(&run(&["schema", "path"])).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?} in {text}");
    value
}

fn stage<'a>(path: &'a Value, name: &str) -> &'a Value {
    let stages = path["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["stage"] == name).unwrap()
}

/// What a stage says of a counter, in one of its lists.
fn count(path: &Value, name: &str, list: &str, counter: &str) -> u64 {
    let counts = stage(path, name)[list].as_array().unwrap();
    counts.iter().filter(|count| count["counter"] == counter).filter_map(|count| count["value"].as_u64()).sum()
}

/// Not by `eprintln!`, which the harness keeps to itself.
fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {why}");
}

// ---- this host -------------------------------------------------------------------------------------------------------

#[test]
fn this_host_as_text_and_as_json() {
    let text = run(&["path", "--for", "200ms"]);
    for title in ["NIC ring", "softirq and NAPI", "egress queue", "IP: routing", "application"] {
        assert!(text.contains(title), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let path = json(&run(&["path", "--for", "200ms", "--json"]));
    assert!(path["window_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2), "{path}");
    assert!(path["devices"].as_array().unwrap().iter().any(|device| device["device"] == "lo"), "{path}");
}

#[test]
fn check_shows_it_when_everything_is_asked_for() {
    let verbose = tcproof(&["check", "--for", "100ms", "-v", "--fail-on", "never"]).output().unwrap();
    assert!(done(&verbose, 0).0.contains("\nPACKET PATH\n"));
    let plain = tcproof(&["check", "--for", "100ms", "--fail-on", "never"]).output().unwrap();
    assert!(!done(&plain, 0).0.contains("PACKET PATH"));
}

#[test]
fn wrong_use_is_refused() {
    for arguments in [&["path", "--for", "0s"][..], &["path", "--port", "80"], &["path", "--netns", ""]] {
        done(&tcproof(arguments).output().unwrap(), 2);
    }
    done(&tcproof(&["path", "--netns", "no-such-namespace"]).output().unwrap(), 1);
}

#[test]
fn nobody_sees_what_anybody_may_and_why_the_rest_is_missing() {
    let test = "nobody_sees_what_anybody_may_and_why_the_rest_is_missing";
    if let Err(why) = require_root() {
        return skip(test, &why);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("tcproof");
    fs::copy(TCPROOF, &program).unwrap();
    let mut command = command(&program, &["path", "--for", "100ms", "--json"]);
    let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    let path = json(&done(&output, 0).0);
    // Route netlink, /proc/stat and the counters of the own namespace are open to all.
    assert!(path["devices"].as_array().unwrap().iter().any(|device| device["device"] == "lo"), "{path}");
    assert!(stage(&path, "ip")["still"].as_u64().is_some_and(|still| still > 0), "{path}");
}

// ---- directories -----------------------------------------------------------------------------------------------------

#[test]
fn a_directory_has_one_reading_and_every_stage_says_so() {
    for kernel in ["4.19", "5.10", "6.1", "6.12", "6.18", "7.2"] {
        let root = format!("{FIXTURES}/{kernel}");
        let path = json(&run(&["path", "--root", &root, "--json"]));
        assert_eq!(path["window_seconds"], 0);
        for stage in path["stages"].as_array().unwrap() {
            assert!(stage["dropped"].as_array().unwrap().is_empty() && stage["still"] == 0, "{kernel}: {stage}");
            assert!(!stage["unknown"].as_array().unwrap().is_empty(), "{kernel}: {stage}");
        }
        let text = run(&["path", "--root", &root]);
        let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("one look") && words.contains("route netlink: there is none behind a directory"),
            "{text}"
        );
    }
}

#[test]
fn a_hostile_directory_is_named_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    file("proc/stat", b"cpu0 1 2 3\x1b[31m\n");
    file("proc/softirqs", b"CPU0 CPU1\nNET_RX: \xff\n");
    file("proc/interrupts", &[&b"CPU0\n 1: "[..], &vec![b'9'; 1 << 20], b"\n"].concat());
    file("proc/net/softnet_stat", b"\x1b]0;x\x07\n");
    file("proc/net/netstat", b"TcpExt: A\nTcpExt:\n");
    file("proc/sys/kernel/hostname", b"evil\x1b[2J\n");
    let root = dir.path().to_str().unwrap();
    for arguments in
        [&["path", "--root", root][..], &["path", "--root", root, "-v"], &["path", "--root", root, "--json"]]
    {
        let text = run(arguments);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("/proc/softirqs"), "{text}");
    }
    done(&tcproof(&["path", "--root", "/nonexistent"]).output().unwrap(), 1);
}

// ---- namespaces of our own -------------------------------------------------------------------------------------------

/// Two namespaces with a veth pair between them; `a` sends through a queue of a few packets.
struct Pair {
    a: Netns,
    b: Netns,
}

const A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

impl Pair {
    fn new() -> Result<Self, String> {
        require_root()?;
        let make = || Netns::new().map_err(|error| format!("no network namespace: {error}"));
        let pair = Self { a: make()?, b: make()? };
        let told = |error: kit::Error| error.to_string();
        let inside = |ns: &Netns, work: &(dyn Fn() -> kit::Result<()> + Sync)| ns.run_in(work).unwrap();
        inside(&pair.a, &|| rtnl::veth_pair("va", "vb", pair.b.fd())).map_err(told)?;
        for (ns, name, address) in [(&pair.a, "va", A), (&pair.b, "vb", B)] {
            inside(ns, &|| {
                rtnl::up("lo")?;
                rtnl::add_address(name, IpAddr::V4(address), 24)?;
                rtnl::up(name)
            })
            .map_err(told)?;
        }
        inside(&pair.a, &|| rtnl::wait_until_running("va", Duration::from_secs(5))).map_err(told)?;
        Ok(pair)
    }

    /// Watches both for a second while `work` runs in `a`.
    fn path_while(&self, namespace: &Netns, work: impl Fn() + Send) -> Value {
        let netns = namespace.inode().to_string();
        std::thread::scope(|scope| {
            // The program finds a namespace by a process in it: a sleeper.
            let mut sleeper = namespace.run_in(|| Command::new("sleep").arg("30").spawn().unwrap()).unwrap();
            let watch =
                scope.spawn(move || tcproof(&["path", "--for", "1s", "--json", "--netns", &netns]).output().unwrap());
            std::thread::sleep(Duration::from_millis(300));
            self.a.run_in(work).unwrap();
            let output = watch.join().unwrap();
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
            json(&done(&output, 0).0)
        })
    }
}

/// Datagrams to the other end, as many as go out within that time.
fn send(from: Ipv4Addr, datagrams: u32, within: Duration) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    let start = Instant::now();
    for _ in 0..datagrams {
        if start.elapsed() > within {
            break;
        }
        // The queue's own drops come back as ENOBUFS.
        let _ = socket.send_to(&[0; 1400], (B, 9));
    }
}

#[test]
fn a_queue_that_drops_is_told_with_its_device_and_number() {
    let test = "a_queue_that_drops_is_told_with_its_device_and_number";
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return skip(test, &why),
    };
    match pair.a.run_in(|| rtnl::limit_rate("va", 1_000_000, 3_000, 15_000)).unwrap() {
        Err(kit::Error::Unsupported(what)) => return skip(test, &what),
        limited => limited.unwrap(),
    }
    let path = pair.path_while(&pair.a, || send(A, 200, Duration::from_millis(300)));
    let drops = count(&path, "qdisc", "dropped", "tbf drops");
    assert!((100..=200).contains(&drops), "{drops}: {}", stage(&path, "qdisc"));
    assert!(count(&path, "qdisc", "delayed", "tbf overlimits") > 0, "{path}");
    let device = path["devices"].as_array().unwrap().iter().find(|device| device["device"] == "va").unwrap();
    assert_eq!((&device["kind"], &device["qdisc"]["kind"]), (&"veth".into(), &"tbf".into()));
    // It moved, so it was asked what it is set to; sysfs is not that of this namespace.
    assert_eq!(device["offloads"]["gso"], true, "{device}");
    let unknown = device["unknown"].as_array().unwrap();
    assert!(unknown.iter().any(|one| one["reading"] == "steering"), "{device}");
}

#[test]
fn what_comes_in_is_counted_where_it_ends() {
    let test = "what_comes_in_is_counted_where_it_ends";
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return skip(test, &why),
    };
    let path = pair.path_while(&pair.b, || send(A, 50, Duration::from_millis(300)));
    assert!(count(&path, "ip", "passed", "Ip.InReceives") >= 50, "{}", stage(&path, "ip"));
    let device = path["devices"].as_array().unwrap().iter().find(|device| device["device"] == "vb").unwrap();
    assert!(device["grew"]["rx_packets"].as_u64().is_some_and(|n| n >= 50), "{device}");
    // A veth is no card: its ring is that of nobody.
    assert!(stage(&path, "nic-ring")["passed"].as_array().unwrap().is_empty(), "{path}");
}

/// As in the lab's `asymmetric-rp-filter`: clients whose way back leads elsewhere.
#[test]
fn what_the_reverse_path_filter_drops_is_told_with_its_counter() {
    let test = "what_the_reverse_path_filter_drops_is_told_with_its_counter";
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return skip(test, &why),
    };
    let stranger = Ipv4Addr::new(10, 78, 0, 1);
    pair.a.run_in(|| rtnl::add_address("va", IpAddr::V4(stranger), 32)).unwrap().unwrap();
    pair.b.run_in(|| sysctl::write("net.ipv4.conf.all.rp_filter", "1")).unwrap().unwrap();
    let path = pair.path_while(&pair.b, || {
        // The filter rejects a stranger's ARP too: the neighbour must be known before.
        send(A, 1, Duration::from_millis(300));
        std::thread::sleep(Duration::from_millis(100));
        send(stranger, 50, Duration::from_millis(300));
    });
    let dropped = count(&path, "ip", "dropped", "TcpExt.IPReversePathFilter");
    assert!((1..=50).contains(&dropped), "{dropped}: {}", stage(&path, "ip"));
    let counts = stage(&path, "ip")["dropped"].as_array().unwrap();
    assert!(counts.iter().any(|count| count["advice"].as_str().is_some_and(|s| s.contains("rp_filter"))), "{counts:?}");
}

// ---- folklore --------------------------------------------------------------------------------------------------------

/// What ethtool(8) has, of which any text may make use: the flag and what may follow the device. An empty list: nothing
/// must follow.
const ETHTOOL: &[(&str, &[&[&str]])] = &[
    ("-C", &[&["adaptive-rx", "on"]]),
    ("-G", &[&["rx", "#"]]),
    ("-K", &[&["gro", "on"], &["gro", "on", "tso", "on"]]),
    ("-L", &[&["combined", "#"]]),
    ("-N", &[&["rx-flow-hash", "tcp4", "sdfn"], &["rx-flow-hash", "udp4", "sdfn"]]),
    ("-S", &[]),
    ("-X", &[&["equal", "#"]]),
    ("-c", &[]),
    ("-g", &[]),
    ("-k", &[]),
    ("-l", &[]),
    ("-x", &[]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            found.push(path);
        }
    }
}

/// The words of every ethtool command in a text, without what quotes and prose put around them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ").replace("//!", " ");
    let bare = |word: &str| word.trim_matches(|c: char| "`\"'()[],;.:".contains(c)).to_string();
    let mut commands = Vec::new();
    for (at, _) in joined.match_indices("ethtool -") {
        commands.push(joined[at..].split_ascii_whitespace().skip(1).take(6).map(bare).collect());
    }
    commands
}

fn exists(command: &[String]) -> bool {
    let Some((flag, rest)) = command.split_first() else { return false };
    let Some((_, forms)) = ETHTOOL.iter().find(|(known, _)| known == flag) else { return false };
    // The device, then the parameters.
    let parameters = rest.get(1..).unwrap_or_default();
    let number = |word: &str| word == "N" || word.starts_with('{') || word.parse::<u32>().is_ok();
    let fits = |form: &&&[&str]| {
        form.len() <= parameters.len()
            && form
                .iter()
                .zip(parameters)
                .all(|(wanted, word)| if *wanted == "#" { number(word) } else { wanted == word })
    };
    forms.is_empty() || forms.iter().any(|form| fits(&form))
}

#[test]
fn no_text_tells_of_an_ethtool_flag_that_does_not_exist() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in fs::read_dir(&workspace).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            sources(&source, &mut files);
        }
    }
    // What reads and judges other people's commands has invented ones to tell them from real ones.
    files.retain(|file| !["settings", "lint"].iter().any(|folder| file.iter().any(|part| part == *folder)));
    let mut seen = BTreeSet::new();
    for file in files {
        for command in commands(&fs::read_to_string(&file).unwrap()) {
            assert!(exists(&command), "{}: ethtool {}", file.display(), command.join(" "));
            seen.insert(command[0].clone());
        }
    }
    assert!(seen.len() >= 5, "the commands were not found: {seen:?}");
    let words = |text: &str| commands(text).remove(0);
    for folklore in [
        "ethtool -C eth0 rx-adaptive on",
        "ethtool -K eth0 rss on",
        "ethtool -N eth0 rx-flow-hash tcp4 xyz",
        "ethtool -R eth0",
    ] {
        assert!(!exists(&words(folklore)), "{folklore}");
    }
}

//! Every scenario of the lab, by the real program on the real kernel: the truth first, no look-alike, a remedy that cures;
//! many of them as a user would do it: plan, apply until verified (or verify, around what only people can do), rollback.
//!
//! One at a time, since two at once would falsify each other. Without root they are ignored, and the run says so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::Signal;
use serde_json::Value;
use tcproof_core::Version;

/// The program under test.
const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// No scenario takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// These are run without probes too: what can't be proven without them must be found all the same, and with them, where
/// the kernel lets them in, it must be proven.
const WITHOUT_EBPF: [&str; 4] = ["accept-queue-one-of-two", "ports-held", "ports-ipv6", "ports-time-wait-churn"];
/// What a probe must have seen in a scenario (how its reading begins), and since which kernel it can.
const SEEN: [(&str, &str, Version); 2] = [
    ("socket-backlog", "kfree_skb SOCKET_BACKLOG, port 8080", Version(6, 11)),
    ("loss-path-cubic", "tcp_retransmit_skb, of 1 connection with", Version(5, 17)),
];
/// So many scenarios may pass at the second try only. Losses fall by chance, and other programs on the machine fall behind:
/// a rule that is wrong fails again, or in more places.
const SECOND_TRIES: usize = 4;
/// Orphaned connections of the whole host that may come and go meanwhile without being the lab's.
const OTHER_ORPHANS: u64 = 64;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let scenarios = scenarios();
    let not_root = (!rustix::process::geteuid().is_root()).then_some("not root");
    let aside = Aside::default();
    let mut trials: Vec<Trial> = scenarios.iter().map(|listed| trial(listed, not_root, &aside)).collect();
    for (name, signal, scenario, workers) in [
        ("ended-by-ctrl-c", Signal::INT, "accept-queue-stalled", 2),
        ("ended-by-sigkill", Signal::KILL, "accept-queue-stalled", 2),
        ("emulator-ended-by-ctrl-c", Signal::INT, "bulk-50ms", 3),
        ("emulator-ended-by-sigkill", Signal::KILL, "bulk-50ms", 3),
    ] {
        let trial = Trial::test(shown(name, not_root), move || ended_by(signal, scenario, workers));
        trials.push(trial.with_ignored_flag(not_root.is_some()));
    }
    let before = Traces::now();

    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return;
    }
    let skipped = listed(&aside.skipped);
    let reasons: BTreeSet<_> = skipped.iter().map(|(_, why)| why.as_str()).chain(not_root).collect();
    let count = if not_root.is_some() { scenarios.len() } else { skipped.len() };
    let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
    match count {
        0 => println!("SKIP 0 of {} scenarios", scenarios.len()),
        _ => println!("SKIP {count} of {} scenarios: {reasons}", scenarios.len()),
    }
    let again = listed(&aside.again);
    println!("at the second try {} of {} scenarios", again.len(), scenarios.len());
    for (name, why) in &again {
        println!("  {name}, which failed at first: {why}");
    }
    let left = Traces::now().beyond(&before);
    if !left.is_empty() {
        println!("LEFT BEHIND: {}", left.join(", "));
        std::process::exit(101);
    }
    if again.len() > SECOND_TRIES {
        println!("TOO MANY second tries: at most {SECOND_TRIES}");
        std::process::exit(101);
    }
    conclusion.exit();
}

/// Names of scenarios, and why they are listed.
type Listing = Arc<Mutex<Vec<(String, String)>>>;

/// What the end of a run has to say beside passed and failed.
#[derive(Clone, Default)]
struct Aside {
    /// Skipped by the program itself.
    skipped: Listing,
    /// Passed only when run again.
    again: Listing,
}

fn listed(listing: &Listing) -> Vec<(String, String)> {
    listing.lock().map(|listing| listing.clone()).unwrap_or_default()
}

/// A scenario, and whether it is cured as a user would do it: with a plan that changes a knob, with an empty plan for a
/// healthy host, and once for each limit of which no plan changes anything. All of them so: `tcproof lab run all --apply`.
#[derive(Clone)]
struct Listed {
    name: String,
    by_plan: bool,
    /// Nothing limits.
    is_healthy: bool,
    /// Without probes.
    without_ebpf: bool,
    /// Its finding must be proven.
    must_prove: bool,
    /// Its finding must have a reading that begins so.
    must_have: Option<&'static str>,
}

fn scenarios() -> Vec<Listed> {
    let listed = tcproof(&["lab", "list", "--json"]).expect("`tcproof lab list` runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("`tcproof lab list --json` is JSON");
    let has_probes = has_probes();
    let kernel = Version::of_release(&rustix::system::uname().release().to_string_lossy());
    let scenarios = listed["scenarios"].as_array().expect("it has scenarios");
    let limit = |scenario: &Value| scenario["limit"].as_str().map(ToString::to_string);
    let is_planned = |scenario: &Value| scenario["plan"]["changes"].as_array().is_some_and(|all| !all.is_empty());
    // Of these only the remedy itself shows that the symptom stops.
    let is_untold = |scenario: &Value| !scenario["plan"]["outcome"].is_null();
    let mut limits: BTreeSet<_> = scenarios.iter().filter(|it| is_planned(it)).filter_map(limit).collect();
    let mut listed = |scenario: &Value| {
        let mut is_first = || limit(scenario).is_none_or(|limit| limits.insert(limit));
        let name = scenario["name"].as_str()?.to_string();
        let by_plan = !is_untold(scenario) && (is_planned(scenario) || is_first());
        let must_prove = has_probes && WITHOUT_EBPF.contains(&&*name);
        let seen = SEEN.iter().find(|(scenario, _, since)| has_probes && name == *scenario && kernel >= Some(*since));
        let must_have = seen.map(|(_, reading, _)| *reading);
        Some(Listed {
            name,
            by_plan,
            is_healthy: limit(scenario).is_none(),
            without_ebpf: false,
            must_prove,
            must_have,
        })
    };
    let mut listed: Vec<Listed> = scenarios.iter().filter_map(&mut listed).collect();
    let again = listed.iter().filter(|it| it.must_prove).cloned();
    let again: Vec<_> =
        again.map(|it| Listed { by_plan: false, without_ebpf: true, must_prove: false, ..it }).collect();
    listed.extend(again);
    listed
}

/// Whether the kernel lets probes in.
fn has_probes() -> bool {
    let doctor = tcproof(&["doctor", "--json"]).expect("`tcproof doctor` runs");
    let doctor: Value = serde_json::from_slice(&doctor.stdout).expect("`tcproof doctor --json` is JSON");
    let sights = doctor["sights"].as_array().expect("it has sights");
    let probe = |sight: &&Value| sight["what"].as_str().is_some_and(|what| what.starts_with("connects, "));
    sights.iter().find(probe).is_some_and(|sight| sight["seen"] == "yes")
}

fn shown(name: &str, ignored: Option<&str>) -> String {
    match ignored {
        Some(why) => format!("{name} (SKIP: {why})"),
        None => name.to_string(),
    }
}

fn trial(listed: &Listed, ignored: Option<&str>, aside: &Aside) -> Trial {
    let name = if listed.without_ebpf { format!("{}-without-ebpf", listed.name) } else { listed.name.clone() };
    let shown = shown(&name, ignored);
    let (listed, aside) = (listed.clone(), aside.clone());
    Trial::test(shown, move || scenario(&listed, &aside)).with_ignored_flag(ignored.is_some())
}

/// What became of a scenario.
enum Ran {
    Passed,
    Skipped(String),
}

/// What was wrong with it.
struct Wrong {
    what: String,
    /// Somebody is accused: where nothing limits, falsely, and chance is no excuse.
    accuses: bool,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self { what, accuses: false }
    }
}

fn scenario(listed: &Listed, aside: &Aside) -> Result<(), Failed> {
    let note = |listing: &Listing, why: String| {
        if let Ok(mut listing) = listing.lock() {
            listing.push((listed.name.clone(), why));
        }
    };
    let ran = match run(listed) {
        Err(Wrong { what, accuses }) if !(listed.is_healthy && accuses) => {
            let ran = run(listed).map_err(|again| Failed::from(format!("{what}\nagain: {}", again.what)))?;
            note(&aside.again, what.lines().next().unwrap_or_default().to_string());
            ran
        }
        Err(wrong) => return Err(wrong.what.into()),
        Ok(ran) => ran,
    };
    if let Ran::Skipped(why) = ran {
        note(&aside.skipped, why);
    }
    Ok(())
}

fn run(listed: &Listed) -> Result<Ran, Wrong> {
    let how = if listed.by_plan { &["--apply"][..] } else { &[] };
    let probes = if listed.without_ebpf { &["--no-ebpf"][..] } else { &[] };
    let arguments = [&["lab", "run", &listed.name, "--json"], how, probes].concat();
    let output = tcproof(&arguments).map_err(|error| error.to_string())?;
    let printed: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("no JSON ({error}), {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end())
    })?;
    let outcome = &printed["outcomes"][0];
    let reasons: Vec<&str> = outcome["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match outcome["verdict"].as_str() {
        Some("pass") if output.status.success() => {
            let finding = &outcome["diagnosis"]["findings"][0];
            let begins = |text: &Value, with: &str| text.as_str().is_some_and(|text| text.starts_with(with));
            let has = |reading: &str| {
                finding["evidence"].as_array().into_iter().flatten().any(|one| begins(&one["reading"], reading))
            };
            match (&finding["confidence"], listed.must_have) {
                (confidence, _) if listed.must_prove && confidence != "proven" => {
                    Err(format!("found, but {confidence}").into())
                }
                (_, Some(reading)) if !has(reading) => Err(format!("found, but without {reading}").into()),
                _ => Ok(Ran::Passed),
            }
        }
        Some("skip") => Ok(Ran::Skipped(reasons.join(", "))),
        _ => {
            let accuses = outcome["diagnosis"]["findings"].as_array().is_some_and(|findings| !findings.is_empty());
            Err(Wrong { what: format!("{}\n{}", reasons.join("\n"), details(outcome)), accuses })
        }
    }
}

/// A lab that is ended in the middle leaves nothing behind.
fn ended_by(signal: Signal, scenario: &str, workers: usize) -> Result<(), Failed> {
    let before = Traces::now();
    let null = Stdio::null;
    let mut lab =
        Command::new(TCPROOF).args(["lab", "run", scenario]).stdin(null()).stdout(null()).stderr(null()).spawn()?;
    // The server and its clients, the link where it is a process, and some connections between them.
    until(Duration::from_secs(10), || Traces::now().workers.difference(&before.workers).count() == workers)
        .then_some(())
        .ok_or("its workers did not start")?;
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&lab);
    rustix::process::kill_process(pid, signal)?;
    let status = wait(&mut lab)?;
    if signal == Signal::INT && status.code() != Some(1) {
        return Err(format!("interrupted, and {status}").into());
    }
    if until(Duration::from_secs(3), || Traces::now().beyond(&before).is_empty()) {
        return Ok(());
    }
    Err(format!("left behind: {}", Traces::now().beyond(&before).join(", ")).into())
}

/// Waits for something to be so.
fn until(time: Duration, is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    is_so()
}

/// What a person needs to see why it failed.
fn details(outcome: &Value) -> String {
    let findings = outcome["diagnosis"]["findings"].as_array().into_iter().flatten();
    let mut text: String =
        findings.map(|f| format!("found {}/{} ({}): {}\n", f["limit"], f["cause"], f["state"], f["summary"])).collect();
    for when in ["before", "after", "cured"] {
        text += &format!("{when}: {}\n", outcome[when]);
    }
    text
}

/// Runs the program, but not for ever.
fn tcproof(arguments: &[&str]) -> std::io::Result<Output> {
    let mut child = Command::new(TCPROOF)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = wait(&mut child)?;
    let read = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Output { status, stdout: read(stdout), stderr: read(stderr) })
}

fn reader(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came until an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn wait(child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            return child.wait();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a lab could leave on a host.
struct Traces {
    workers: BTreeSet<String>,
    named_namespaces: BTreeSet<String>,
    orphans: u64,
}

impl Traces {
    fn now() -> Self {
        let entries = |directory: &str| {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        };
        let is_worker = |pid: &String| {
            let read = |file| std::fs::read_to_string(Path::new("/proc").join(pid).join(file)).unwrap_or_default();
            // A zombie has no command line: it is gone, and its new parent has yet to look.
            let comm = read("comm");
            ["lab-server", "lab-load", "lab-link"].contains(&comm.trim_end()) && !read("cmdline").is_empty()
        };
        // Orphans are counted for the whole kernel, and keep the namespace that they were in alive.
        let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let orphans = sockstat.split_ascii_whitespace().skip_while(|word| *word != "orphan").nth(1);
        Self {
            workers: entries("/proc").into_iter().filter(is_worker).collect(),
            named_namespaces: entries("/run/netns"),
            orphans: orphans.and_then(|n| n.parse().ok()).unwrap_or(0),
        }
    }

    fn beyond(&self, before: &Self) -> Vec<String> {
        let workers = self.workers.difference(&before.workers).map(|pid| format!("lab process {pid}"));
        let names = self.named_namespaces.difference(&before.named_namespaces).map(|name| format!("namespace {name}"));
        let orphans = self.orphans.saturating_sub(before.orphans);
        let orphans = (orphans > OTHER_ORPHANS).then(|| format!("{orphans} orphaned connections"));
        workers.chain(names).chain(orphans).collect()
    }
}

//! `--from` a dump of others, as a person runs it: fixtures that real tools made, and dumps taken beside a failure of the lab.
//!
//! The latter needs root, and says `SKIP` without, or without the tools.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tcproof-host/fixtures/dumps")
}

/// Runs it in the folder of the dumps, so that paths are the same everywhere.
fn tcproof(arguments: &[&str]) -> Output {
    let mut command = Command::new(TCPROOF);
    command.args(arguments).current_dir(fixtures()).env("LC_ALL", "C.UTF-8");
    command.output().expect("tcproof runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// It, with its schema held.
fn checked(arguments: &[&str]) -> Value {
    let value = json(&tcproof(&[&["check", "--json"], arguments].concat()));
    let schema = serde_json::from_str(tcproof_report::json::CHECK_SCHEMA).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}");
    value
}

const ONE: [&str; 2] = ["--from", "sos-4.10-1.tar.xz"];
const TWO: [&str; 4] = ["--from", "sos-4.10-2.tar.xz", "--from", "sos-4.10-1.tar.xz"];

#[test]
fn one_sosreport_says_what_stands_and_no_more() {
    let output = tcproof(&[&["check"], &ONE[..]].concat());
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    let value = checked(&ONE);
    assert_eq!((&value["verdict"], &value["window_seconds"]), (&"near".into(), &0.into()));
    assert!(value["findings"].as_array().is_some_and(|all| all.iter().all(|it| it["confidence"] == "likely")));
    assert!(value["since_boot"].as_array().is_some_and(|all| !all.is_empty()));
    let quiet = tcproof(&[&["check", "-q"], &ONE[..]].concat());
    assert_eq!(stdout(&quiet), "near: accept-queue of 0.0.0.0:8080 (application-slow)\n");
    assert!(
        stderr(&quiet).starts_with("tcproof: sosreport of web-1, Linux 6.18.44, 2026-12-01 "),
        "{}",
        stderr(&quiet)
    );
}

#[test]
fn two_sosreports_prove_it() {
    let output = tcproof(&[&["check"], &TWO[..]].concat());
    assert_eq!(output.status.code(), Some(13), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    let value = checked(&TWO);
    assert_eq!(
        (&value["findings"][0]["confidence"], &value["findings"][0]["limit"]),
        (&"proven".into(), &"accept-queue".into())
    );
    assert!(value.get("since_boot").is_none());
}

#[test]
fn plan_and_report_take_them_too() {
    for from in [&ONE[..], &TWO] {
        let plan = tcproof(&[&["plan"], from].concat());
        assert!(plan.status.success() && stdout(&plan).contains("lab-server"), "{}{}", stdout(&plan), stderr(&plan));
        assert!(stderr(&plan).contains("sosreport of web-1"), "{}", stderr(&plan));
        let report = tcproof(&[&["report", "--format", "md"], from].concat());
        assert!(report.status.success(), "{}", stderr(&report));
        let text = stdout(&report);
        assert!(text.contains("sosreport of web-1") && text.contains("accept queue"), "{text}");
    }
}

/// The same of a census.
fn counted(arguments: &[&str]) -> Value {
    let value = json(&tcproof(&[&["sockets", "--json"], arguments].concat()));
    let schema = serde_json::from_str(tcproof_report::sockets::SCHEMA).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<_> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}");
    value
}

#[test]
fn sockets_counts_what_ss_of_every_version_listed() {
    for version in ["4.4", "4.9", "4.20", "5.10", "6.1", "6.15", "7.3"] {
        for options in ["-peaonmi", "-tan"] {
            let listing = format!("ss-{version}/ss_{options}");
            let text = fs::read_to_string(fixtures().join(&listing)).expect("a listing");
            let is_tcp = if options == "-tan" { "" } else { "tcp" };
            let of = |state: &str| {
                let lines = text.lines().filter(|line| line.starts_with(is_tcp));
                lines.filter(|line| line.split_whitespace().any(|word| word == state)).count()
            };
            let census = counted(&["--from", &listing]);
            let total = &census["totals"][0]["states"];
            assert_eq!((&census["backend"], &total["LISTEN"]), (&"listing".into(), &of("LISTEN").into()), "{listing}");
            assert_eq!(total["CLOSE-WAIT"], of("CLOSE-WAIT"), "{listing}");
            let to = &census["destinations"][0];
            assert_eq!((&to["destination"], &to["service"]), (&"10.77.0.2:8080".into(), &"local".into()), "{listing}");
            assert_eq!(census["listeners"][0]["queue"], 65);
            let unknown = census["unknown"].to_string();
            let (has_owners, has_groups) = (options == "-peaonmi", version.starts_with(['5', '6', '7']));
            assert_eq!(census["listeners"][0]["owners"][0]["comm"] == "lab-server", has_owners, "{listing}");
            assert_eq!(unknown.contains("ss -p shows them"), !has_owners, "{listing}: {unknown}");
            let groups = census["cgroups"].as_array().map_or(0, Vec::len);
            assert_eq!(groups > 0, has_owners && has_groups, "{listing}");
            assert_eq!(unknown.contains("ss -e shows them"), groups == 0, "{listing}: {unknown}");
        }
    }
}

#[test]
fn sockets_of_a_sosreport_and_what_one_lacks() {
    let output = tcproof(&[&["sockets"], &ONE[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    // The later of two, in whatever order.
    let drops = |arguments: &[&str]| counted(arguments)["listeners"][0]["drops"].as_u64();
    let (first, second) = (drops(&ONE), drops(&["--from", "sos-4.10-2.tar.xz"]));
    assert!(first < second && drops(&TWO) == second, "{first:?} {second:?}");
    // A port narrows the tables, and not the counts.
    let (all, narrowed) = (counted(&ONE), counted(&[&ONE[..], &["--port", "1"]].concat()));
    assert_eq!(all["totals"], narrowed["totals"]);
    assert!(narrowed["listeners"].as_array().is_some_and(Vec::is_empty), "{narrowed}");
    // Only listening sockets: an answer, and not all of it. No sockets at all: none.
    for (arguments, code, expected) in [
        (&["--from", "ss-6.15/ss_-ltnm", "--strict"][..], 3, "only listening sockets are in it: ss -a shows all"),
        (&["--from", "nstat-7.3"], 1, "no ss in this dump: ss -peaonmi shows them"),
        (&["--from", "nstat-7.3", "--at", "-3m"], 1, "--at is for recordings"),
        (&["--from", "nstat-7.3", "--watch"], 2, "cannot be used with"),
        (&["--from", "ss-6.15", "--from", "ss-6.1", "--from", "ss-7.3"], 1, "expected at most two dumps"),
    ] {
        let output = tcproof(&[&["sockets"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", stderr(&output));
        let said = format!("{}{}", stdout(&output), stderr(&output)).replace("\n          ", " ");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    // The text of the kernel, where there is no ss.
    let folder = tempfile::tempdir().expect("a folder");
    let proc = folder.path().join("proc/net");
    fs::create_dir_all(&proc).expect("a folder");
    let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let row = |n: u8, local: &str, remote: &str, state: &str| {
        format!(
            "   {n}: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 9 1 0000000000000000 100 0 0 10 0\n"
        )
    };
    let rows = row(0, "0100007F:1F90", "00000000:0000", "0A") + &row(1, "0100007F:1F90", "0100007F:C350", "01");
    fs::write(proc.join("tcp"), format!("{header}{rows}")).expect("written");
    let census = counted(&["--from", &folder.path().display().to_string()]);
    assert_eq!(census["backend"], "proc");
    assert_eq!(census["totals"][0]["states"], serde_json::json!({"LISTEN": 1, "ESTABLISHED": 1}));
    assert_eq!(census["destinations"][0]["service"], "local");
}

#[test]
fn a_recording_stays_one_and_time_is_for_it_alone() {
    for (arguments, expected) in [
        (&["check", "--at", "-3m", "--from", "nstat-7.3"][..], "--at is for recordings"),
        (&["plan", "--at", "-3m", "--from", "sos-4.0-1.tar.xz"], "--at is for recordings"),
        (&["check", "--from", "make.sh"], "No such file"),
    ] {
        let output = tcproof(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn what_is_told_by_files_alone_or_assumed_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, overflows, written) in [("first", 3, 1_796_096_115), ("second", 9, 1_796_096_125)] {
        fs::create_dir(path(name)).expect("a folder");
        let counters = format!("#kernel\nTcpExtListenOverflows {overflows} 0.0\nTcpExtListenDrops {overflows} 0.0\n");
        let file = fs::File::create(path(name) + "/nstat").expect("a file");
        std::io::Write::write_all(&mut &file, counters.as_bytes()).expect("written");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(written);
        file.set_modified(time).expect("its time");
        fs::write(path(name) + "/sysctl", "net.ipv4.tcp_mem = 1000\t2000\t3000\n").expect("written");
    }
    let output = tcproof(&["check", "--from", &path("first"), "--from", &path("second")]);
    let said = stdout(&output).replace('\n', " ");
    assert!(said.contains("10.0 s apart by when their files were written"), "{said}");
    assert!(stderr(&output).contains("4096 bytes are assumed"), "{}", stderr(&output));
    // Where the dump tells, neither is said.
    for (name, up) in [("first", "100.00 1.00\n"), ("second", "110.00 1.00\n")] {
        fs::create_dir(path(name) + "/proc").expect("a folder");
        fs::write(path(name) + "/proc/uptime", up).expect("written");
        fs::write(path(name) + "/uname", "Linux web-1 6.8.0 #1 SMP x86_64 GNU/Linux\n").expect("written");
    }
    let output = tcproof(&["check", "--from", &path("first"), "--from", &path("second")]);
    assert!(stdout(&output).contains("10.0 s apart") && !stdout(&output).contains("written"), "{}", stdout(&output));
    assert!(!stderr(&output).contains("assumed"), "{}", stderr(&output));
}

/// What is run in the server's namespace of a scenario, once its queue is full.
const COLLECT: &str = r#"#!/bin/bash
cd "$OUT" || exit 1
collect() {
  mkdir -p "$1/proc/net" "$1/proc/sys/kernel/random"
  for file in net/netstat net/snmp net/sockstat net/softnet_stat uptime sys/kernel/random/boot_id; do
    cat /proc/$file >"$1/proc/$file"
  done
  sysctl -a 2>/dev/null >"$1/sysctl"
  ss -peaonmi >"$1/ss" 2>/dev/null
  nstat -az >"$1/nstat"
}
for _ in $(seq 100); do
  ss -ltn | grep -q 'LISTEN *65 ' && break
  sleep 0.1
done
collect first
"$TCPROOF" check --json --for 2s --no-ebpf --netns $$ >live.json
collect second
if command -v sos >/dev/null; then
  mkdir sos
  LC_ALL=C timeout 60 sos report --batch --quiet --tmp-dir "$OUT/sos" -o networking,kernel,date,host >/dev/null 2>&1
fi
exit 0
"#;

#[test]
fn a_failure_of_the_lab_has_the_same_verdict_in_dumps_taken_during_it() {
    if let Err(why) = tcproof_lab::kit::require_root() {
        return skip(&why);
    }
    if let Some(missing) = ["ss", "nstat", "sysctl"].into_iter().find(|tool| !has(tool)) {
        return skip(&format!("there is no {missing}"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("collect.sh");
    fs::write(&script, COLLECT).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("may be run");
    let mut lab = Command::new(TCPROOF);
    lab.args(["lab", "shell", "accept-queue-stalled"]);
    lab.env("SHELL", &script).env("OUT", folder.path()).env("TCPROOF", TCPROOF);
    let output = lab.output().expect("the lab runs");
    assert!(output.status.success(), "{}", stderr(&output));

    let live: Value =
        serde_json::from_slice(&fs::read(folder.path().join("live.json")).expect("a check")).expect("JSON");
    let limit_and_subject = |value: &Value| {
        let finding = &value["findings"][0];
        (finding["limit"].clone(), finding["subject"]["local"].clone(), finding["subject"]["owners"][0]["comm"].clone())
    };
    assert_eq!(live["verdict"], "limiting");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, second) = (path("first"), path("second"));
    let one = checked(&["--from", &second]);
    assert_eq!((limit_and_subject(&one), &one["verdict"]), (limit_and_subject(&live), &"near".into()));
    let two = checked(&["--from", &second, "--from", &first]);
    assert_eq!((limit_and_subject(&two), &two["verdict"]), (limit_and_subject(&live), &"limiting".into()));
    assert_eq!(two["findings"][0]["cause"], live["findings"][0]["cause"]);
    let seconds = two["window_seconds"].as_f64().unwrap_or_default();
    assert!((2.0..20.0).contains(&seconds), "{seconds}");
    let (listing, nstat) = (path("first/ss"), path("first/nstat"));
    let loose = checked(&["--from", &listing, "--from", &nstat]);
    assert_eq!(limit_and_subject(&loose), limit_and_subject(&live));

    let made = fs::read_dir(folder.path().join("sos")).into_iter().flatten().filter_map(Result::ok);
    let archive =
        made.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|it| it == "xz" || it == "gz"));
    let Some(archive) = archive else { return skip("there is no sos, or it made no archive: loose texts were judged") };
    let archive = archive.display().to_string();
    // Where the modules of sock_diag are built in, it has no listing.
    let sos = checked(&["--from", &archive, "--from", &listing]);
    assert_eq!((limit_and_subject(&sos), &sos["verdict"]), (limit_and_subject(&live), &"near".into()));
    assert_eq!(sos["host"]["name"], live["host"]["name"]);
}

fn has(tool: &str) -> bool {
    let found = |folder: &Path| folder.join(tool).exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| found(&folder)) || found(Path::new("/usr/sbin"))
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIP: {line}\n"));
}

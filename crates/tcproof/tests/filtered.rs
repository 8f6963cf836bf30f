//! Where a filter of system calls keeps bpf(2) away, as container runtimes do: everything goes on without eBPF, and says so.

use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use serde_json::Value;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What filters answer: the default of container runtimes, and that of those that play an older kernel.
const ANSWERS: [Errno; 2] = [Errno::PERM, Errno::NOSYS];
const WHO: &str = "seccomp filter";

/// Whether bpf(2) would be let in without a filter; else says why the test is of no use.
fn is_capable() -> bool {
    let wanted = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let has = capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted));
    if !has {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIP: bpf(2) is refused here without a filter\n");
    }
    has
}

/// Runs the program under a filter that answers bpf(2) with an error. A filter is its thread's, and that of what the thread
/// starts.
fn filtered(answer: Errno, arguments: &[&str]) -> Output {
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with filters");
    let rules = [(libc::SYS_bpf, vec![])].into_iter().collect();
    let deny = SeccompAction::Errno(answer.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, arch).expect("a filter");
    let program = BpfProgram::try_from(filter).expect("a program");
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            apply_filter(&program).expect("the filter is taken");
            Command::new(TCPROOF).args(arguments).stdin(Stdio::null()).output().expect("it starts")
        });
        run.join().expect("no panic")
    })
}

fn json(output: &Output) -> Value {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn doctor_says_who_forbids_it() {
    if !is_capable() {
        return;
    }
    for answer in ANSWERS {
        let doctor = json(&filtered(answer, &["doctor", "--json"]));
        let sights = doctor["sights"].as_array().expect("sights");
        let ebpf: Vec<_> =
            sights.iter().filter(|sight| sight["what"].as_str().unwrap_or("").contains("eBPF")).collect();
        assert!(ebpf.len() >= 6, "{ebpf:?}");
        for sight in ebpf {
            assert!(sight["seen"].is_null(), "{sight}");
            assert!(sight["because"].as_str().is_some_and(|why| why.contains(WHO)), "{sight}");
        }
    }
}

#[test]
fn the_census_goes_on_by_netlink() {
    if !is_capable() {
        return;
    }
    for answer in ANSWERS {
        for more in [&[][..], &["--by", "process"]] {
            let output = filtered(answer, &[&["sockets", "--json"], more].concat());
            assert!(output.status.success(), "{output:?}");
            assert_eq!(json(&output)["backend"], "netlink");
        }
        // Who asks for it gets no other one.
        let output = filtered(answer, &["sockets", "--json", "--backend", "bpf"]);
        assert!(!output.status.success());
        let refused = json(&output)["backends_refused"].to_string();
        assert!(refused.contains(WHO), "{refused}");
    }
}

#[test]
fn check_goes_on_without_probes() {
    if !is_capable() {
        return;
    }
    for answer in ANSWERS {
        let output = filtered(answer, &["check", "--for", "300ms", "-v", "--color", "never"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let (_, probes) = text.split_once("PROBES").expect("a block of the probes");
        assert!(probes.contains(WHO), "{probes}");
    }
}

//! The scenarios for machines made for the lab: they parse, and on this host they are skipped.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::path::Path;

use tcproof_lab::kit::machine;
use tcproof_lab::{Program, Scenario, Verdict, run};

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios-vm");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |file: std::path::PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        Scenario::parse(&file.to_string_lossy(), &text).unwrap()
    };
    files.map(read).collect()
}

#[test]
fn each_changes_the_kernel_and_is_skipped_elsewhere() {
    assert!(machine::require().is_err(), "tests are not run in such a machine");
    let program = Program { path: "/nonexistent".into(), args: vec![] };
    let scenarios = scenarios();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        assert!(!scenario.global.is_empty(), "{} belongs to the other scenarios", scenario.name);
        let outcome = run(&scenario, &program, None, &mut tcproof_host::NoProbes, &mut |_| {}).unwrap();
        assert_eq!(outcome.verdict, Verdict::Skip, "{}", scenario.name);
    }
}

#[test]
fn other_keys_are_refused() {
    for key in ["vm.swappiness", "net.ipv4.tcp_syncookies", "kernel.panic", "net.ipv4.tcp_mem/../x"] {
        let text = format!("about = \"x\"\n[global.sysctl]\n\"{key}\" = 1\n");
        let error = Scenario::parse("x.toml", &text).unwrap_err().to_string();
        assert!(error.contains("no sysctl of the whole kernel"), "{error}");
    }
}

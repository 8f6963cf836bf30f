//! `apply --persist` as people run it: what boot can't set is refused before anything is changed, and the unit that takes
//! back at boot passes our own lint. That the lines are written, and go again, is tested in `tcproof-apply`: a test must
//! not write a knob that is the host's own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::require_root;
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const KNOB: &str = "net.core.somaxconn";

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(TCPROOF).args(arguments).output().expect("it runs");
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn plan(folder: &Path, inode: u64, from: &str) -> PathBuf {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let text = format!(
        "schema = \"tcproof/plan/1\"\nid = \"a-1\"\nhost = \"{}\"\nkernel = \"6.18\"\nmade_at = \"2026-11-20T00:00:00Z\"\n\
         [[changes]]\nfindings = []\nnamespace = {{ name = \"try\", inode = {inode} }}\nknob = \"{KNOB}\"\n\
         from = \"{from}\"\nto = \"12345\"\ncost = \"c\"\nrisk = \"r\"\ntakes_effect = \"t\"\ninverse = \"i\"\n\
         success = \"s\"\n",
        host.trim()
    );
    let path = folder.join("plan.toml");
    fs::write(&path, text).expect("the plan");
    path
}

fn apply(folder: &TempDir, plan: &Path, more: &str) -> (Option<i32>, String) {
    let [plan, journal, etc] =
        [plan, &folder.path().join("journal"), &folder.path().join("etc")].map(|path| path.display().to_string());
    fs::create_dir_all(&etc).expect("a folder");
    run(&["apply", &plan, "--persist", "--sysctl-dir", &etc, "--journal", &journal, "--confirm", "1s", more])
}

#[test]
fn a_namespace_that_boot_does_not_set_is_refused_by_name_and_nothing_is_changed() {
    if let Err(why) = require_root() {
        skip(&format!("SKIP: {why}"));
        return;
    }
    let namespace = match Netns::new() {
        Ok(namespace) => namespace,
        Err(error) => {
            skip(&format!("SKIP: no network namespace: {error}"));
            return;
        }
    };
    let read = || {
        let read = || fs::read_to_string("/proc/sys/net/core/somaxconn").expect("the knob");
        namespace.run_in(read).expect("the namespace")
    };
    let (folder, before) = (TempDir::new().expect("a folder"), read());
    let plan = plan(folder.path(), namespace.inode(), before.trim());
    for more in ["--yes", "--dry-run"] {
        let (code, text) = apply(&folder, &plan, more);
        assert!(code == Some(1) && text.contains("net.core.somaxconn: "), "{more}: {code:?} {text}");
        let is_told = text.contains("container or pod") || text.contains("can't be seen from here");
        assert!(is_told && text.contains("nothing was changed"), "{text}");
    }
    assert_eq!(read(), before);
    assert!(!folder.path().join("journal").exists(), "not even begun");
    assert_eq!(fs::read_dir(folder.path().join("etc")).expect("the folder").count(), 0);
}

#[test]
fn what_would_be_written_is_shown_and_what_goes_over_it_is_named() {
    if !Path::new("/proc/sys/net/core/netdev_max_backlog").exists() {
        skip("SKIP: this is not the initial network namespace");
        return;
    }
    let inode = fs::metadata("/proc/self/ns/net").expect("the namespace").ino();
    let folder = TempDir::new().expect("a folder");
    let plan = plan(folder.path(), inode, "4096");
    let (code, text) = apply(&folder, &plan, "--dry-run");
    // Unless this very host sets it later in boot.
    let is_set = code == Some(1) && text.contains("reads that later");
    assert!(is_set || (code == Some(0) && text.contains("once confirmed, in ")), "{code:?} {text}");
    assert_eq!(fs::read_dir(folder.path().join("etc")).expect("the folder").count(), 0);
    // A link would mask it, or lead elsewhere.
    std::os::unix::fs::symlink("/dev/null", folder.path().join("etc/60-tcproof.conf")).expect("a link");
    let (code, text) = apply(&folder, &plan, "--dry-run");
    assert!(code == Some(1) && text.contains("not a regular file"), "{text}");
    assert!(!folder.path().join("journal").exists());
}

#[test]
fn the_unit_that_takes_back_at_boot_is_good() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/tcproof-rollback.service");
    let (code, text) = run(&["lint", "--kernel", "6.12", unit]);
    assert_eq!(code, Some(0), "{text}");
    let text = fs::read_to_string(unit).expect("the unit");
    let tcproof = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/tcproof ")).expect("a command");
    let folder = TempDir::new().expect("a folder");
    let journal = folder.path().display().to_string();
    let arguments: Vec<_> = tcproof.split(' ').chain(["--journal", &journal]).collect();
    if require_root().is_ok() {
        let (code, text) = run(&arguments);
        assert!(code == Some(0) && text.contains("nothing to take back"), "{text}");
    }
    let analyze = Command::new("systemd-analyze").args(["verify", "--man=no", unit]).output();
    match analyze {
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr);
            // The program is not installed where it is tested.
            let wrong: Vec<_> = said.lines().filter(|line| line.contains("tcproof-rollback")).collect();
            let wrong: Vec<_> = wrong.iter().filter(|line| !line.contains("is not executable")).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        Err(error) => skip(&format!("SKIP: systemd-analyze: {error}")),
    }
}

/// Past the harness, which keeps to itself what a test that passes prints: a skip is to be seen.
fn skip(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
}

//! Every skeleton against the running kernel, with and without permission, and the committed files against their sums.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sha2::{Digest, Sha256};
use tcproof_bpf::walk::Walk;
use tcproof_bpf::{Refused, Skeleton, programs};
use tcproof_core::Absent;
use tcproof_lab::kit::{machine, require_root};

use common::{CHILD, alone, note, skip};

/// Whether eBPF may be loaded here at all; else says why.
fn allowed() -> bool {
    match Walk::load() {
        Err(why @ (Refused::Permission | Refused::Forbidden { .. } | Refused::NoSyscall | Refused::TooOld { .. })) => {
            skip(&why.to_string());
            false
        }
        _ => true,
    }
}

#[test]
fn what_is_committed_is_what_was_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut named = Vec::new();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let mut is = String::new();
        for byte in Sha256::digest(fs::read(folder.join(name)).unwrap()) {
            write!(is, "{byte:02x}").unwrap();
        }
        assert_eq!(is, sum, "{name} changed: `cargo xtask bpf` makes the skeletons again");
        named.push(name.to_owned());
    }
    let mut there: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.retain(|name| name != "SHA256SUMS");
    named.sort();
    there.sort();
    assert_eq!(named, there);
}

#[test]
fn every_skeleton_loads() {
    if !allowed() {
        return;
    }
    for skeleton in programs::ALL {
        match skeleton.load() {
            Ok(_) => {}
            // Its tracepoint is younger than the rest, 6.2 or 6.3.
            Err(why @ Refused::Missing { .. }) if skeleton.name == "arrivals" => note(&why.to_string()),
            Err(why) => panic!("{}: {why}\n{}", skeleton.name, why.log()),
        }
    }
}

/// The loader asks the kernel for its types, not a file: one that is empty, or another kernel's, makes no difference.
#[test]
fn types_in_a_file_that_is_empty_or_foreign_are_not_read() {
    const FILE: &str = "/sys/kernel/btf/vmlinux";
    if let Err(why) = require_root() {
        return skip(&why);
    }
    if !allowed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("empty", &b""[..]), ("foreign", b"\x9f\xeb\x01\x00\x18\x00\x00\x00 of another kernel")] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        // In a namespace of mounts that ends with it.
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$1\" \"$2\" || exit 77; cmp \"$1\" \"$2\" && exec \"$3\" --exact every_skeleton_loads",
            "-",
        ]);
        command.arg(&file).arg(FILE).arg(std::env::current_exe().unwrap());
        match command.output() {
            Ok(output) if output.status.code() == Some(77) => return skip("nothing may be mounted here"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && said.contains("1 passed"), "{name}: {output:?}");
            }
            Err(error) => return skip(&format!("unshare: {error}")),
        }
    }
}

/// A kernel with other types: what is asked for by its name is not there.
#[test]
fn a_kernel_whose_types_are_others_is_said_to_lack_them() {
    if !allowed() {
        return;
    }
    // The tracepoint itself; and a field of a type that else is as it was.
    for (skeleton, name) in [(&programs::RESENT, "btf_trace_tcp_send_reset"), (&programs::CONNECTS, "skc_rcv_saddr")] {
        let foreign = skeleton.foreign(name).unwrap();
        match foreign.load() {
            Err(why @ Refused::Missing { .. }) => {
                let said = why.to_string();
                assert!(said.contains(&format!(
                    "lacks a type, function or tracepoint that the eBPF program `{}`",
                    skeleton.name
                )));
                assert!(matches!(Absent::from(why), Absent::NotInKernel { .. }));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(programs::RESENT.foreign("no such name").is_none());
}

fn descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").unwrap().count()
}

#[test]
fn nothing_is_left_open_by_loads_that_end_well_or_badly() {
    if allowed() {
        assert!(alone("leaks", "").success());
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn leaks() {
    let broken: Vec<&'static Skeleton> = programs::ALL.iter().flat_map(|good| good.broken()).collect();
    let mut reasons = Vec::new();
    let before = descriptors();
    for round in 0..50 {
        for skeleton in &broken {
            let why = skeleton.load().expect_err("a broken one loads");
            if round == 0 {
                reasons.push(why.to_string());
            }
        }
        for skeleton in programs::ALL {
            let loaded = skeleton.load();
            assert!(loaded.is_ok() || skeleton.name == "arrivals", "{:?}", loaded.err());
        }
    }
    assert_eq!(descriptors(), before);
    // The loader itself, and what it loads.
    assert!(reasons.len() >= 4, "{reasons:?}");
}

#[test]
fn without_permission_it_says_so_quietly() {
    if rustix::process::geteuid().is_root() {
        for without in ["all", "perfmon"] {
            assert!(alone("unprivileged", without).success(), "without {without}");
        }
    } else {
        unprivileged();
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn unprivileged() {
    let kept = match std::env::var(CHILD).as_deref() {
        Ok("perfmon") => CapabilitySet::BPF,
        _ => CapabilitySet::empty(),
    };
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: none }).unwrap();
    for skeleton in programs::ALL {
        let why = skeleton.load().expect_err("loaded without permission");
        match Absent::from(why) {
            Absent::Permission { needs, .. } => assert!(needs.contains("CAP_PERFMON"), "{needs}"),
            // A kernel that could not load it with permission either.
            Absent::NotInKernel { .. } => {}
            other => panic!("{}: {other}", skeleton.name),
        }
    }
}

/// There is no way back but a reboot: only in a machine made for it, the last of its tests.
#[test]
fn a_locked_kernel_says_so() {
    if let Err(why) = machine::require() {
        return skip(&why);
    }
    const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
    if !Path::new(LOCKDOWN).exists() {
        let at = "/sys/kernel/security";
        rustix::mount::mount("securityfs", at, "securityfs", rustix::mount::MountFlags::empty(), None).unwrap();
    }
    if !Path::new(LOCKDOWN).exists() {
        return skip("this kernel has no lockdown");
    }
    if !allowed() {
        return;
    }
    fs::write(LOCKDOWN, "confidentiality").unwrap();
    for skeleton in programs::ALL {
        match skeleton.load().map(|_| ()) {
            Err(Refused::Forbidden { by }) => assert!(by.contains("lockdown"), "{by}"),
            other => panic!("{other:?}"),
        }
    }
}

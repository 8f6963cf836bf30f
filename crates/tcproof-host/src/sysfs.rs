//! What steers packets in software: sysfs, which shows the devices of the namespace that it was mounted in. So it is read
//! for the observer's own namespace only.

use std::collections::BTreeSet;

use tcproof_core::Absent;
use tcproof_core::snapshot::Steering;

use crate::{Root, procfs};

/// Queues of one device that are looked at.
const QUEUES: usize = 256;

/// Receive and transmit steering of a device, which must have that index: a process may have entered another namespace
/// than the one its sysfs shows (`nsenter --net`).
pub(crate) fn steering(root: &Root, device: &str, index: u32) -> Result<Steering, Absent> {
    let folder = format!("sys/class/net/{device}/queues");
    if root.read(&format!("sys/class/net/{device}/ifindex"))?.trim() != index.to_string() {
        let error = "the sysfs that is mounted here shows another network namespace".into();
        return Err(Absent::Failed { what: "packet steering".into(), error });
    }
    let mut steering = Steering::default();
    for queue in root.list_dir(&folder)?.iter().take(QUEUES) {
        let file = |name: &str| {
            let path = format!("{folder}/{queue}/{name}");
            root.read(&path).map(|text| (text, path))
        };
        if queue.starts_with("rx-") {
            let (mask, path) = file("rps_cpus")?;
            steering.rps_cpus.extend(cpus(&mask, &path)?);
            let (flows, path) = file("rps_flow_cnt")?;
            let flows: u64 = flows.trim().parse().map_err(|_| unparsable(&path, "a whole number", &flows))?;
            steering.rps_flows = steering.rps_flows.saturating_add(flows);
        } else if let Ok((mask, path)) = file("xps_cpus") {
            // A device with one send queue has the file and refuses to show it (ENOENT).
            steering.xps |= !cpus(&mask, &path)?.is_empty();
        }
    }
    Ok(steering)
}

/// The CPUs of a mask as the kernel prints it: hexadecimal words of 32 bits, the highest first, commas between.
fn cpus(mask: &str, path: &str) -> Result<BTreeSet<u32>, Absent> {
    let mut cpus = BTreeSet::new();
    for (at, word) in mask.trim().rsplit(',').enumerate() {
        let bits = u32::from_str_radix(word, 16).map_err(|_| unparsable(path, "a mask of CPUs", mask))?;
        let first = u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(32);
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| first.saturating_add(bit)));
    }
    Ok(cpus)
}

fn unparsable(path: &str, expected: &str, found: &str) -> Absent {
    Absent::Unparsable { place: format!("/{path}"), expected: format!("{expected}, found {}", procfs::shown(found)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn device(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sys/class/net/eth0")).unwrap();
        fs::write(dir.path().join("sys/class/net/eth0/ifindex"), "7\n").unwrap();
        for (file, text) in files {
            let path = dir.path().join("sys/class/net/eth0/queues").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn queues_add_up() {
        let (_dir, root) = device(&[
            ("rx-0/rps_cpus", "00000001,80000003\n"),
            ("rx-0/rps_flow_cnt", "4096\n"),
            ("rx-1/rps_cpus", "0\n"),
            ("rx-1/rps_flow_cnt", "4096\n"),
            ("tx-0/xps_cpus", "3\n"),
        ]);
        let seen = steering(&root, "eth0", 7).unwrap();
        assert_eq!(seen, Steering { rps_cpus: [0, 1, 31, 32].into(), rps_flows: 8192, xps: true });
    }

    #[test]
    fn what_is_wrong_or_missing_is_named() {
        let (_dir, root) = device(&[("rx-0/rps_cpus", "x\n"), ("rx-0/rps_flow_cnt", "1\n")]);
        insta::assert_snapshot!(steering(&root, "eth0", 7).unwrap_err(), @r#"/sys/class/net/eth0/queues/rx-0/rps_cpus: expected a mask of CPUs, found "x\n""#);
        insta::assert_snapshot!(steering(&root, "eth0", 8).unwrap_err(), @"packet steering: the sysfs that is mounted here shows another network namespace");
        assert!(steering(&root, "eth1", 7).is_err());
    }

    #[test]
    fn lo_is_not_steered_anywhere_strange() {
        if let Ok(lo) = steering(&Root::new("/"), "lo", 1) {
            assert!(lo.rps_cpus.iter().all(|cpu| *cpu < 8192));
        }
    }
}

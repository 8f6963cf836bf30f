//! Control groups (v2): from a socket's group to the processes in it.

use std::collections::VecDeque;

use tcproof_core::snapshot::Pid;

use crate::Root;
use crate::mounts;

/// The root group: everything is below it, so it narrows nothing.
const ROOT_ID: u64 = 1;
/// A hierarchy with more groups than this is not walked to save a walk over processes.
const GROUPS: usize = 8192;

/// The processes in the group with that id; none when it can't be found.
///
/// On 64-bit kernels a group's id is its directory's inode number (`cgroup_id`, include/linux/cgroup.h).
pub(crate) fn pids(root: &Root, id: u64) -> Vec<Pid> {
    if id == ROOT_ID {
        return Vec::new();
    }
    let Some(mount) = mounts::read(root).into_iter().find(|mount| mount.kind == "cgroup2") else { return Vec::new() };
    let mut waiting = VecDeque::from([mount.point.trim_start_matches('/').to_string()]);
    let mut seen = 0;
    while let Some(directory) = waiting.pop_front() {
        let Ok(stat) = rustix::fs::stat(root.path().join(&directory)) else { continue };
        if stat.st_ino == id {
            let text = root.read(&format!("{directory}/cgroup.procs")).unwrap_or_default();
            return text.lines().filter_map(|line| line.parse().ok()).collect();
        }
        seen += 1;
        if seen > GROUPS {
            break;
        }
        // Two links are `.` and `..`: a group without groups below it is not listed.
        if stat.st_nlink > 2 {
            let entries = std::fs::read_dir(root.path().join(&directory)).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(below.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())));
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_group_narrows_nothing_and_an_unknown_one_has_nobody() {
        assert!(pids(&Root::new("/"), ROOT_ID).is_empty());
        assert!(pids(&Root::new("/"), u64::MAX).is_empty());
    }
}

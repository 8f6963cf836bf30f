//! Names of control groups (v2) by their ids: on 64-bit kernels the inodes of their directories.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Root, mounts};

/// A hierarchy with more groups than this is not walked to its end for names.
const GROUPS: usize = 8_192;

/// The path of each that is found.
pub(super) fn paths(root: &Root, wanted: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let Some(mount) = mounts::read(root).into_iter().find(|mount| mount.kind == "cgroup2") else { return found };
    let top = mount.point.trim_start_matches('/').to_string();
    let mut waiting = VecDeque::from([top.clone()]);
    let mut seen = 0;
    while let Some(directory) = waiting.pop_front() {
        let Ok(stat) = rustix::fs::stat(root.path().join(&directory)) else { continue };
        if wanted.contains(&stat.st_ino) {
            let path = directory.strip_prefix(&top).unwrap_or(&directory);
            found.insert(stat.st_ino, if path.is_empty() { "/".into() } else { path.to_string() });
        }
        seen += 1;
        if seen > GROUPS || found.len() == wanted.len() {
            break;
        }
        // Two links are `.` and `..`: a group without groups below it is not listed.
        if stat.st_nlink > 2 {
            let entries = std::fs::read_dir(root.path().join(&directory)).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(below.map(|entry| format!("{directory}/{}", entry.file_name().to_string_lossy())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_group_is_found_where_there_is_one_and_an_unknown_one_is_not() {
        let root = Root::new("/");
        let Some(mount) = mounts::read(&root).into_iter().find(|mount| mount.kind == "cgroup2") else {
            eprintln!("SKIP: no control groups of version 2 are mounted");
            return;
        };
        let id = rustix::fs::stat(&*mount.point).unwrap().st_ino;
        assert_eq!(paths(&root, &BTreeSet::from([id, u64::MAX])), BTreeMap::from([(id, "/".to_string())]));
    }
}

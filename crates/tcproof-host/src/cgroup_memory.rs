//! The memory that control groups allow their sockets, version 1 and 2: of the groups whose processes live in the observed
//! namespaces, and of the groups above them.

use std::collections::{BTreeMap, BTreeSet};

use tcproof_core::snapshot::{CgroupMemory, NetnsId, Pid, SocketMemory};
use tcproof_core::{Absent, Reading};

use crate::mounts::{self, Mount};
use crate::{Root, procfs};

/// Of a host with more processes, the others' groups are not looked for: some 10 µs each, at both ends.
const PROCESSES: usize = 1024;
/// Groups read at most: some 30 µs each.
const GROUPS: usize = 256;
/// Version 1's "no limit" is the largest number of whole pages, whatever their size.
const UNLIMITED: u64 = 1 << 62;

/// Which files tell of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    One,
    Two,
}

/// The groups of processes that were asked for theirs before.
pub(crate) type Known = BTreeMap<Pid, Option<Group>>;

/// A group, by its path.
type Group = (Version, String);

/// Reads the groups of these processes, and asks only those that are not known for theirs.
pub(crate) fn read<'a>(
    root: &Root,
    places: impl Iterator<Item = (NetnsId, &'a [Pid])>,
    known: &mut Known,
) -> Reading<BTreeMap<String, CgroupMemory>> {
    let mut groups: BTreeMap<Group, BTreeSet<NetnsId>> = BTreeMap::new();
    let (mut text, mut refused, mut before) = (String::new(), None, std::mem::take(known));
    let processes = places.flat_map(|(id, pids)| pids.iter().map(move |pid| (id, *pid)));
    for (id, pid) in processes.take(PROCESSES) {
        let group = match before.remove(&pid) {
            Some(group) => group,
            None => match root.read_into(&format!("proc/{pid}/cgroup"), &mut text) {
                Ok(()) => group_of(&text).map(|(version, path)| (version, path.to_string())),
                Err(why @ Absent::Permission { .. }) => {
                    refused = Some(why);
                    continue;
                }
                // It ended, or this kernel has no control groups.
                Err(_) => continue,
            },
        };
        if let Some((version, path)) = &group {
            for path in with_parents(path) {
                let of = (*version, path.to_string());
                let count = groups.len();
                match groups.get_mut(&of) {
                    Some(namespaces) => drop(namespaces.insert(id)),
                    None if count < GROUPS => drop(groups.insert(of, [id].into())),
                    None => {}
                }
            }
        }
        known.insert(pid, group);
    }
    if let (Some(why), true) = (refused, groups.is_empty()) {
        return Reading::Absent(why);
    }
    let mounts = mounts::read(root);
    let mut found = BTreeMap::new();
    for ((version, path), namespaces) in groups {
        let memory = match directory(&mounts, version, &path) {
            Some(directory) => match version {
                Version::One => version_1(root, &directory),
                Version::Two => version_2(root, &directory),
            },
            None => Err(Absent::Failed {
                what: "control groups' memory".into(),
                error: "the controller is mounted nowhere that can be seen".into(),
            }),
        };
        match memory {
            // Only some groups have the controller, and a kernel without CONFIG_MEMCG has no such files at all.
            Err(Absent::NotInKernel { .. } | Absent::Gone { .. }) => {}
            memory => drop(found.insert(path, CgroupMemory { namespaces, memory: memory.into() })),
        }
    }
    Reading::Present(found)
}

/// The group whose memory a process is charged to, from its `/proc/PID/cgroup`: of version 1's memory controller, where
/// that is in use, else of version 2.
fn group_of(text: &str) -> Option<(Version, &str)> {
    let line = |line| -> Option<(Version, &str)> {
        let mut fields = str::splitn(line, 3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        match (hierarchy, controllers) {
            ("0", "") => Some((Version::Two, path)),
            _ if controllers.split(',').any(|name| name == "memory") => Some((Version::One, path)),
            _ => None,
        }
    };
    // A removed group has ` (deleted)` behind its path, and one above the observer's own begins with `/..`.
    let visible = |(_, path): &(Version, &str)| path.starts_with('/') && !path.split('/').any(|part| part == "..");
    text.lines().filter_map(line).min_by_key(|(version, _)| *version).filter(visible)
}

/// The group and those above it, without the root, which has no limit.
fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above))
        .filter(|path| path.len() > 1)
}

/// Where a group's files are.
fn directory(mounts: &[Mount], version: Version, path: &str) -> Option<String> {
    let is = |mount: &&Mount| match version {
        Version::One => mount.kind == "cgroup" && mount.options.split(',').any(|option| option == "memory"),
        Version::Two => mount.kind == "cgroup2",
    };
    mounts.iter().filter(is).find_map(|mount| {
        // In a container the mount may begin at its own group.
        let below = match &*mount.root {
            "/" => path,
            top => path.strip_prefix(top).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
        };
        Some(format!("{}{below}", mount.point.trim_start_matches('/').trim_end_matches('/')))
    })
}

fn version_1(root: &Root, directory: &str) -> Result<SocketMemory, Absent> {
    let read = |name: &str| number(root, &format!("{directory}/memory.kmem.tcp.{name}"));
    Ok(SocketMemory::V1 {
        usage: read("usage_in_bytes")?,
        most: read("max_usage_in_bytes")?,
        limit: Some(read("limit_in_bytes")?).filter(|limit| *limit < UNLIMITED),
        refused: read("failcnt")?,
    })
}

fn version_2(root: &Root, directory: &str) -> Result<SocketMemory, Absent> {
    let path = |name: &str| format!("{directory}/{name}");
    let limit = |name: &str| match root.read(&path(name))?.trim_end() {
        "max" => Ok(None),
        text => parsed(text, &path(name)).map(Some),
    };
    let events = root.read(&path("memory.events"))?;
    let event = |key: &str| field(&events, key, &path("memory.events"));
    let stat = path("memory.stat");
    Ok(SocketMemory::V2 {
        current: number(root, &path("memory.current"))?,
        sock: field(&root.read(&stat)?, "sock", &stat)?,
        high: limit("memory.high")?,
        max: limit("memory.max")?,
        high_events: event("high")?,
        max_events: event("max")?,
        throttled: event("sock_throttled").ok(),
    })
}

fn number(root: &Root, path: &str) -> Result<u64, Absent> {
    parsed(root.read(path)?.trim_end(), path)
}

fn parsed(text: &str, path: &str) -> Result<u64, Absent> {
    text.parse().map_err(|_| Absent::Unparsable {
        place: format!("/{path}"),
        expected: format!("a whole number, found {}", procfs::shown(text)),
    })
}

/// A line `key number` of a flat file.
fn field(text: &str, key: &str, path: &str) -> Result<u64, Absent> {
    let value = text.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key));
    match value {
        Some((_, value)) => parsed(value, path),
        None => Err(Absent::Unparsable { place: format!("/{path}"), expected: format!("a line \"{key} …\"") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mounted(at: &str, top: &str, kind: &str, options: &str) -> Mount {
        Mount { root: top.into(), point: at.into(), kind: kind.into(), options: options.into() }
    }

    #[test]
    fn the_group_that_is_charged() {
        assert_eq!(group_of("9:name=systemd:/s\n4:cpu,memory:/a:b\n0::/\n"), Some((Version::One, "/a:b")));
        assert_eq!(group_of("1:name=systemd:/s\n0::/x.slice/y\n"), Some((Version::Two, "/x.slice/y")));
        for text in ["", "nonsense\n", "4:cpu:/a\n", "0::/../other\n", "0::relative\n"] {
            assert_eq!(group_of(text), None, "{text:?}");
        }
        assert_eq!(with_parents("/a/b/c").collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!(with_parents("/").count(), 0);
    }

    #[test]
    fn where_its_files_are() {
        let mounts = [
            mounted("/sys/fs/cgroup/cpu", "/", "cgroup", "rw,cpu"),
            mounted("/sys/fs/cgroup/memory", "/docker/7", "cgroup", "rw,memory"),
            mounted("/sys/fs/cgroup", "/", "cgroup2", "rw"),
        ];
        let of = |version, path| directory(&mounts, version, path);
        assert_eq!(of(Version::One, "/docker/7/w").as_deref(), Some("sys/fs/cgroup/memory/w"));
        assert_eq!(of(Version::One, "/docker/7").as_deref(), Some("sys/fs/cgroup/memory"));
        assert_eq!(of(Version::One, "/docker/77"), None);
        assert_eq!(of(Version::Two, "/a").as_deref(), Some("sys/fs/cgroup/a"));
        assert_eq!(directory(&mounts[..1], Version::One, "/a"), None);
    }

    #[test]
    fn both_versions_are_read_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for (name, text) in [
            ("memory.current", "1000\n"),
            ("memory.high", "max\n"),
            ("memory.max", "4096\n"),
            ("memory.stat", "anon 5\nsock 77\n"),
            ("memory.events", "low 0\nhigh 1\nmax 2\noom 0\n"),
            ("memory.kmem.tcp.usage_in_bytes", "5\n"),
            ("memory.kmem.tcp.max_usage_in_bytes", "9\n"),
            ("memory.kmem.tcp.limit_in_bytes", "9223372036854771712\n"),
            ("memory.kmem.tcp.failcnt", "0\n"),
        ] {
            write(name, text);
        }
        let two = SocketMemory::V2 {
            current: 1000,
            sock: 77,
            high: None,
            max: Some(4096),
            high_events: 1,
            max_events: 2,
            throttled: None,
        };
        assert_eq!(version_2(&root, ""), Ok(two));
        assert_eq!(version_1(&root, ""), Ok(SocketMemory::V1 { usage: 5, most: 9, limit: None, refused: 0 }));
        write("memory.events", "low 0\nhigh x\u{1b}\n");
        write("memory.kmem.tcp.failcnt", "-1\n");
        let shown = [version_2(&root, "").unwrap_err().to_string(), version_1(&root, "").unwrap_err().to_string()];
        insta::assert_snapshot!(shown.join("\n"), @r#"
        //memory.events: expected a whole number, found "x\u{1b}"
        //memory.kmem.tcp.failcnt: expected a whole number, found "-1"
        "#);
    }

    #[test]
    fn our_own_group_is_found_or_there_is_none() {
        let pids = [std::process::id(), u32::MAX];
        let mut known = Known::default();
        let mut read = || read(&Root::new("/"), [(NetnsId(1), &pids[..])].into_iter(), &mut known);
        let again = read();
        let read = read();
        assert_eq!(again.value().unwrap().keys().collect::<Vec<_>>(), read.value().unwrap().keys().collect::<Vec<_>>());
        let groups = read.value().expect("our own /proc is readable");
        assert!(groups.values().all(|group| group.namespaces.contains(&NetnsId(1))));
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        match group_of(&text).filter(|(_, path)| path.len() > 1) {
            Some((version, path)) if directory(&mounts::read(&Root::new("/")), version, path).is_some() => {
                assert!(groups.contains_key(path), "{path} of {:?}", groups.keys());
            }
            _ => println!("SKIP: no control group of ours with a memory controller"),
        }
    }
}

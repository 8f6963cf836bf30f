//! Network namespaces: finding them, naming them, entering them. Each is found once, by its inode.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tcproof_core::Absent;
use tcproof_core::snapshot::{NetnsId, Pid, Unseen, unit_of};

use crate::{Error, Root, Scope, mounts, procfs, within};

/// A knob that only the initial namespace shows.
const GLOBAL_KNOB: &str = "proc/sys/net/core/netdev_max_backlog";

/// A namespace to watch.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: NetnsId,
    pub(crate) name: String,
    /// The observer's own: it needs not be entered.
    pub(crate) own: bool,
    /// Keeps the way in open, also when the last process leaves while we watch.
    file: Option<File>,
    /// Processes that live in it.
    pub(crate) pids: Vec<Pid>,
}

impl Target {
    /// The way in; none into the observer's own.
    pub(crate) fn way(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().filter(|_| !self.own).map(File::as_fd)
    }

    /// Makes the calling thread enter it for good.
    pub(crate) fn enter(&self) -> Result<(), Absent> {
        let Some(file) = self.file.as_ref().filter(|_| !self.own) else { return Ok(()) };
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|errno| match errno {
            rustix::io::Errno::PERM => Absent::Permission {
                what: format!("network namespace {}", self.name),
                needs: "root (CAP_SYS_ADMIN)".into(),
            },
            errno => {
                Absent::Failed { what: format!("entering network namespace {}", self.name), error: errno.to_string() }
            }
        })
    }
}

/// Whether the calling thread is in the initial namespace: global knobs exist in no other.
pub(crate) fn is_initial(root: &Root) -> bool {
    root.exists(GLOBAL_KNOB)
}

/// The initial network namespace, whose knobs boot sets; `None` where it can't be seen, as in a container.
pub fn initial_netns(root: &Root) -> Option<NetnsId> {
    if is_initial(root) {
        return inode(root, "proc/thread-self/ns/net");
    }
    let first = inode(root, "proc/1/ns/net")?;
    within(root, first, is_initial).ok()?.then_some(first)
}

fn inode(root: &Root, path: &str) -> Option<NetnsId> {
    rustix::fs::stat(root.path().join(path)).ok().map(|stat| NetnsId(stat.st_ino))
}

/// Whether the scope is a process in the observer's own namespace: then no other is entered.
pub fn is_own_netns(scope: &Scope) -> bool {
    let (root, Scope::Pid(pid)) = (Root::new("/"), scope) else { return false };
    let of = |process: &str| inode(&root, &format!("proc/{process}/ns/net"));
    of("thread-self").is_some_and(|own| of(&pid.to_string()) == Some(own))
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) targets: Vec<Target>,
    pub(crate) unseen: Vec<Unseen>,
}

/// One namespace as it is found: the ways to it.
#[derive(Debug, Default)]
struct Candidate {
    mounted: Option<PathBuf>,
    pids: Vec<Pid>,
}

/// The namespaces of processes that were asked for it before.
pub(crate) type Known = BTreeMap<Pid, NetnsId>;

/// Finds the namespaces of the scope.
pub(crate) fn find(root: &Root, scope: &Scope) -> Result<Found, Error> {
    find_again(root, scope, &mut Known::default())
}

/// Finds the namespaces of the scope, and asks only processes that are not known for theirs.
pub(crate) fn find_again(root: &Root, scope: &Scope, known: &mut Known) -> Result<Found, Error> {
    let own = inode(root, "proc/thread-self/ns/net").unwrap_or_default();
    let initial = match is_initial(root) {
        true => Some(own),
        false => inode(root, "proc/1/ns/net").filter(|id| *id != own),
    };
    let (candidates, hidden) = candidates(root, own, known);
    let mut found = Found::default();
    let mut wanted = wanted(root, scope, &candidates)?;
    // Two ways to say the same namespace.
    let mut seen = BTreeSet::new();
    wanted.retain(|(id, ..)| seen.insert(*id));
    if hidden > 0 && *scope == Scope::All {
        found.unseen.push(Unseen {
            what: format!("network namespaces of {hidden} process{}", if hidden == 1 { "" } else { "es" }),
            why: Absent::Permission {
                what: "/proc/PID/ns/net".into(),
                needs: "root, CAP_SYS_PTRACE and the capabilities of those processes".into(),
            },
        });
    }
    let mut names = BTreeMap::new();
    for (id, name, path) in wanted {
        let none = Candidate::default();
        let candidate = candidates.get(&id).unwrap_or(&none);
        let name = name.unwrap_or_else(|| name_of(root, id, candidate, initial == Some(id)));
        // `host` is the initial one's alone, whatever `ip netns` calls another: plans and exports rely on it.
        let is_impostor = name == "host" && initial != Some(id) && path.is_none();
        let name = if is_impostor { format!("host {id}") } else { name };
        // Findings name a namespace by its name: two containers of one unit must not share it.
        let name = match names.insert(name.clone(), id) {
            Some(_) => format!("{name} {id}"),
            None => name,
        };
        let file = match id == own {
            true => None,
            false => match open(root, path, candidate) {
                Ok(file) => Some(file),
                Err(why) => {
                    found.unseen.push(Unseen { what: format!("network namespace {name}"), why });
                    continue;
                }
            },
        };
        found.targets.push(Target { id, name, own: id == own, file, pids: candidate.pids.clone() });
    }
    // The observer's own first: what exists once per kernel is read there.
    found.targets.sort_by_key(|target| (!target.own, target.id));
    Ok(found)
}

/// Processes of a directory that are asked for their namespace.
const ASKED: usize = 1_024;

/// What a directory does not have: it holds the files of one namespace, however many its processes were in.
pub(crate) fn beside(root: &Root) -> Option<Unseen> {
    let names = root.list_dir("proc").unwrap_or_default();
    let mut pids: Vec<Pid> = names.iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    let links = pids.iter().take(ASKED).filter_map(|pid| root.read_link(&format!("proc/{pid}/ns/net")).ok());
    let others = links.collect::<BTreeSet<_>>().len().saturating_sub(1);
    (others > 0).then(|| Unseen {
        what: "other network namespaces".into(),
        why: Absent::Failed {
            what: "a directory".into(),
            error: format!(
                "it holds the files of one; the first {} of its {} processes were in {others} others",
                pids.len().min(ASKED),
                pids.len()
            ),
        },
    })
}

/// A namespace of a scope: its inode, what it is called if that was said, and a file to enter it by if that was.
type Wanted = (NetnsId, Option<String>, Option<PathBuf>);

fn wanted(root: &Root, scope: &Scope, candidates: &BTreeMap<NetnsId, Candidate>) -> Result<Vec<Wanted>, Error> {
    Ok(match scope {
        Scope::All => candidates.keys().map(|id| (*id, None, None)).collect(),
        Scope::Pid(pid) => match inode(root, &format!("proc/{pid}/ns/net")) {
            Some(id) => vec![(id, None, None)],
            None => return Err(no_such(pid.to_string(), "no such process, or its namespace is not ours to see")),
        },
        Scope::Name(name) => match candidates.iter().find(|(id, candidate)| is_called(name, **id, candidate)) {
            Some((id, _)) => vec![(*id, Some(name.clone()), None)],
            None => {
                let names = candidates.values().filter_map(|c| file_name(c.mounted.as_deref()?));
                let names: Vec<String> = names.collect();
                let hint = match names.is_empty() {
                    true => "no namespace has a name here (ip netns list)".to_string(),
                    false => format!("there are {}", names.join(", ")),
                };
                return Err(no_such(name.clone(), &hint));
            }
        },
        Scope::Files(files) => {
            let mut wanted = Vec::new();
            for (name, path) in files {
                let stat =
                    rustix::fs::stat(path).map_err(|e| no_such(name.clone(), &format!("{}: {e}", path.display())))?;
                wanted.push((NetnsId(stat.st_ino), Some(name.clone()), Some(path.clone())));
            }
            wanted
        }
        Scope::Known(known) => {
            let gone = known.iter().find(|(_, id)| !candidates.contains_key(id));
            if let Some((name, id)) = gone {
                return Err(no_such(name.clone(), &format!("{id} is gone")));
            }
            known.iter().map(|(name, id)| (*id, Some(name.clone()), None)).collect()
        }
        Scope::Several(scopes) => {
            let each: Result<Vec<_>, _> = scopes.iter().map(|scope| wanted(root, scope, candidates)).collect();
            each?.concat()
        }
    })
}

fn no_such(name: String, hint: &str) -> Error {
    Error::NoSuchNamespace { name, hint: hint.to_string() }
}

/// Every namespace by its inode, and how many processes would not show theirs. Those who did are known from then on.
fn candidates(root: &Root, own: NetnsId, known: &mut Known) -> (BTreeMap<NetnsId, Candidate>, usize) {
    let mut candidates = BTreeMap::from([(own, Candidate::default())]);
    let (mut hidden, before) = (0, std::mem::take(known));
    for mount in mounts::read(root).into_iter().filter(|mount| mount.kind == "nsfs") {
        let inode = mount.root.strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        if let Some(inode) = inode {
            // Later mounts hide earlier ones of the same name, and name the same namespace.
            candidates.entry(NetnsId(inode)).or_default().mounted.get_or_insert(mount.point.into());
        }
    }
    for pid in root.list_dir("proc").unwrap_or_default().iter().filter_map(|name| name.parse::<Pid>().ok()) {
        let asked =
            || rustix::fs::stat(root.path().join(format!("proc/{pid}/ns/net"))).map(|stat| NetnsId(stat.st_ino));
        match before.get(&pid).map_or_else(asked, |id| Ok(*id)) {
            Ok(id) => {
                known.insert(pid, id);
                candidates.entry(id).or_default().pids.push(pid);
            }
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => hidden += 1,
            // It ended since the directory was listed.
            Err(_) => {}
        }
    }
    for candidate in candidates.values_mut() {
        candidate.pids.sort_unstable();
    }
    (candidates, hidden)
}

/// The processes of every namespace, now.
pub(crate) fn pids(root: &Root) -> BTreeMap<NetnsId, Vec<Pid>> {
    let (candidates, _) = candidates(root, NetnsId::default(), &mut Known::default());
    candidates.into_iter().map(|(id, candidate)| (id, candidate.pids)).collect()
}

fn is_called(name: &str, id: NetnsId, candidate: &Candidate) -> bool {
    candidate.mounted.as_deref().and_then(file_name).is_some_and(|mounted| mounted == name)
        || id.to_string() == name
        || id.0.to_string() == name
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// The mounted name, `host` for the initial namespace, the unit or container of its first process, or the inode.
fn name_of(root: &Root, id: NetnsId, candidate: &Candidate, initial: bool) -> String {
    if initial {
        return "host".into();
    }
    if let Some(name) = candidate.mounted.as_deref().and_then(file_name) {
        return name;
    }
    let unit = candidate.pids.first().and_then(|pid| {
        let path = format!("proc/{pid}/cgroup");
        let cgroup = procfs::cgroup::parse(&root.read(&path).ok()?, &path).ok()?;
        unit_of(&cgroup)
    });
    unit.unwrap_or_else(|| id.to_string())
}

fn open(root: &Root, path: Option<PathBuf>, candidate: &Candidate) -> Result<File, Absent> {
    let mounted =
        candidate.mounted.iter().map(|mounted| root.path().join(mounted.strip_prefix("/").unwrap_or(mounted)));
    let of_processes = candidate.pids.iter().take(3).map(|pid| root.path().join(format!("proc/{pid}/ns/net")));
    let mut last = Absent::Gone { what: "the namespace".into() };
    for path in path.into_iter().chain(mounted).chain(of_processes) {
        match File::open(&path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                last = Absent::Permission { what: path.display().to_string(), needs: "root".into() };
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => last = Absent::Failed { what: path.display().to_string(), error: error.to_string() },
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_found_once_and_needs_no_way_in() {
        let found = find(&Root::new("/"), &Scope::All).unwrap();
        assert_eq!(found.targets.iter().filter(|target| target.own).count(), 1);
        assert!(found.targets[0].own && found.targets[0].pids.contains(&std::process::id()));
        let mut ids: Vec<_> = found.targets.iter().map(|target| target.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), found.targets.len());
        found.targets[0].enter().unwrap();
    }

    #[test]
    fn whoever_is_known_is_not_asked_again_and_who_has_ended_is_forgotten() {
        let (root, own) = (Root::new("/"), std::process::id());
        let mut known = Known::from([(own, NetnsId(7)), (u32::MAX, NetnsId(7))]);
        let (candidates, _) = candidates(&root, NetnsId(1), &mut known);
        assert_eq!(candidates[&NetnsId(7)].pids, [own]);
        assert!(known[&own] == NetnsId(7) && !known.contains_key(&u32::MAX));
    }

    #[test]
    fn a_namespace_that_is_said_twice_is_found_once_and_has_its_first_name() {
        let root = Root::new("/");
        let own = inode(&root, "proc/thread-self/ns/net").unwrap();
        let twice = vec![Scope::Known(vec![("mine".into(), own)]), Scope::Pid(std::process::id()), Scope::All];
        let found = find(&root, &Scope::Several(twice)).unwrap();
        let names: Vec<_> = found.targets.iter().filter(|target| target.own).map(|target| &*target.name).collect();
        assert_eq!(names, ["mine"]);
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_an_error_that_says_where_it_was_looked_for() {
        let root = Root::new("/");
        for scope in [
            Scope::Name("no-such".into()),
            Scope::Pid(u32::MAX),
            Scope::Files(vec![("x".into(), "/nonexistent".into())]),
            Scope::Known(vec![("x".into(), NetnsId(1))]),
            Scope::Several(vec![Scope::All, Scope::Name("no-such".into())]),
        ] {
            assert!(matches!(find(&root, &scope), Err(Error::NoSuchNamespace { .. })), "{scope:?}");
        }
    }
}

//! Who holds sockets, by `/proc/PID/fd`.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use tcproof_core::Absent;
use tcproof_core::census::{Counts, Held, Holders, Method, Place, ProcessRow};
use tcproof_core::snapshot::{Inode, NetnsId, Pid, Unseen};
use tcproof_core::states::State;

use crate::{Root, procfs};

/// Descriptors of one process that are looked at for the owner of a row: a listener has a low number, and each look is
/// a system call.
const EACH: usize = 128;
/// Descriptors that are looked at for all rows together.
const ALL: usize = 16_384;

/// The processes that hold these sockets, as far as a bounded search finds them; and whether it ended at its bounds.
pub(super) fn of(
    root: &Root,
    wanted: &BTreeSet<(NetnsId, Inode)>,
    pids: &BTreeMap<NetnsId, &[Pid]>,
) -> (BTreeMap<Inode, Vec<Pid>>, bool) {
    let namespaces: BTreeSet<NetnsId> = wanted.iter().map(|(netns, _)| *netns).collect();
    let mut found: BTreeMap<Inode, Vec<Pid>> = BTreeMap::new();
    let (mut left, mut was_cut) = (ALL, false);
    for pid in namespaces.iter().filter_map(|netns| pids.get(netns)).flat_map(|pids| pids.iter()) {
        let mut looked = 0;
        // One that hides its descriptors, or has ended, owns nothing as far as can be seen.
        let _ = sockets(root, *pid, |inode| {
            looked += 1;
            if let Some(inode) = inode
                && namespaces.iter().any(|netns| wanted.contains(&(*netns, inode)))
            {
                let holders = found.entry(inode).or_default();
                if holders.last() != Some(pid) {
                    holders.push(*pid);
                }
            }
            looked < EACH.min(left)
        });
        was_cut |= looked >= EACH.min(left);
        left = left.saturating_sub(looked);
        if left == 0 {
            break;
        }
    }
    (found, was_cut)
}

/// What is to be said of a process.
pub(super) fn process(root: &Root, pid: Pid, states: Option<Counts>) -> ProcessRow {
    let comm = root.read_lossy(&format!("proc/{pid}/comm")).unwrap_or_default();
    let path = format!("proc/{pid}/cgroup");
    let cgroup = root.read(&path).and_then(|text| procfs::cgroup::parse(&text, &format!("/{path}")));
    ProcessRow { pid, comm: comm.trim_end_matches('\n').into(), cgroup: cgroup.into(), states }
}

/// Counts what all processes hold, by the inodes that a walk has met.
pub(super) struct Descriptors<'a> {
    root: &'a Root,
    /// Sorted.
    inodes: BTreeMap<State, Vec<u32>>,
}

impl<'a> Descriptors<'a> {
    pub(super) fn new(root: &'a Root, mut inodes: BTreeMap<State, Vec<u32>>) -> Self {
        inodes.values_mut().for_each(|inodes| inodes.sort_unstable());
        Self { root, inodes }
    }
}

impl Holders for Descriptors<'_> {
    fn method(&self) -> Method {
        Method::Proc
    }

    fn count(&mut self, _: &[Place], held: &mut Held) -> Result<(), Absent> {
        let mut refused = 0;
        for pid in self.root.list_dir("proc")?.iter().filter_map(|name| name.parse::<Pid>().ok()) {
            let counted = sockets(self.root, pid, |inode| {
                let inode = inode.and_then(|inode| u32::try_from(inode).ok());
                let state = inode.and_then(|inode| {
                    self.inodes.iter().find(|(_, inodes)| inodes.binary_search(&inode).is_ok()).map(|(state, _)| *state)
                });
                if let Some(state) = state {
                    held.add(pid, state, 1);
                }
                true
            });
            refused += usize::from(matches!(counted, Err(Errno::ACCESS | Errno::PERM)));
        }
        if refused > 0 {
            let processes = if refused == 1 { "process" } else { "processes" };
            held.unseen.push(Unseen {
                what: format!("what {refused} {processes} hold"),
                why: Absent::Permission { what: "/proc/PID/fd".into(), needs: "root (CAP_SYS_PTRACE)".into() },
            });
        }
        Ok(())
    }
}

/// Goes through a process's descriptors: the inode of each that is a socket, until `each` has enough.
fn sockets(root: &Root, pid: Pid, mut each: impl FnMut(Option<Inode>) -> bool) -> Result<(), Errno> {
    let path = root.path().join(format!("proc/{pid}/fd"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let mut target = [std::mem::MaybeUninit::uninit(); 64];
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // A name that does not fit is no socket's. A descriptor that was closed meanwhile is none.
        let link = rustix::fs::readlinkat_raw(&directory, name, &mut target);
        let inode = link.ok().and_then(|(link, _)| {
            let text = std::str::from_utf8(link).ok()?;
            text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        });
        if !each(inode) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn inode(socket: impl AsFd) -> u32 {
        u32::try_from(rustix::fs::fstat(socket).unwrap().st_ino).unwrap()
    }

    #[test]
    fn descriptors_are_counted_by_the_state_of_their_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let twice = client.try_clone().unwrap();
        let inodes = BTreeMap::from([
            (State::Listen, vec![inode(&listener)]),
            (State::Established, vec![u32::MAX, inode(&client)]),
        ]);
        let mut held = Held::default();
        Descriptors::new(&Root::new("/"), inodes).count(&[], &mut held).unwrap();
        let own = held.processes[&std::process::id()];
        assert_eq!((own.of(State::Listen), own.of(State::Established)), (1, 2));
        assert_eq!(held.processes.len(), 1);
        drop(twice);
    }

    #[test]
    fn the_owner_of_a_row_is_found_among_few_descriptors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (inode, me) = (u64::from(inode(&listener)), [std::process::id()]);
        let (found, _) =
            of(&Root::new("/"), &BTreeSet::from([(NetnsId(1), inode)]), &BTreeMap::from([(NetnsId(1), &me[..])]));
        assert_eq!(found, BTreeMap::from([(inode, me.to_vec())]));
        let row = process(&Root::new("/"), me[0], None);
        assert!(!row.comm.is_empty() && row.states.is_none());
        assert!(process(&Root::new("/"), u32::MAX, None).comm.is_empty());
    }
}

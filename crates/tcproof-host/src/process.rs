//! Processes: who holds a socket, and what a finding needs to know of them.

use std::collections::{BTreeMap, BTreeSet};

use tcproof_core::snapshot::{Inode, Netns, NetnsId, Pid, Process, Snapshot};
use tcproof_core::{Absent, Reading};

use crate::procfs::stat::USER_HZ;
use crate::{Root, cgroup, procfs};

/// Command lines are kept up to this many bytes: a setting that names a backlog stands near the front.
const CMDLINE_BYTES: usize = 4096;
/// Descriptors of a process that serves many connections of its own.
const MANY: u64 = 256;
/// With more candidates than this it is cheaper to find the control group first.
const FEW: usize = 64;

/// Everything a finding needs to know of one process.
pub(crate) fn read(root: &Root, pid: Pid) -> Result<Process, Absent> {
    let stat_path = format!("proc/{pid}/stat");
    let stat = root.read_lossy(&stat_path)?;
    let stat = procfs::stat::process(&stat, &format!("/{stat_path}"), USER_HZ);
    let limits_path = format!("proc/{pid}/limits");
    let limits = root.read(&limits_path).and_then(|text| procfs::limits::parse(&text, &format!("/{limits_path}")));
    let cgroup_path = format!("proc/{pid}/cgroup");
    let cgroup = root.read(&cgroup_path).and_then(|text| procfs::cgroup::parse(&text, &format!("/{cgroup_path}")));
    let of_stat = |get: fn(&procfs::stat::ProcessStat) -> std::time::Duration| {
        Reading::from(stat.as_ref().map(get).map_err(Clone::clone))
    };
    Ok(Process {
        comm: root.read_lossy(&format!("proc/{pid}/comm"))?.trim_end_matches('\n').to_string(),
        cmdline: cmdline(root, pid),
        cgroup: cgroup.into(),
        fds: open_descriptors(root, pid).into(),
        fd_limit: limits.as_ref().map(|l| l.soft).map_err(Clone::clone).into(),
        fd_hard_limit: limits.map(|l| l.hard).into(),
        kernel_time: of_stat(|t| t.kernel_time),
        user_time: of_stat(|t| t.user_time),
        threads: stat.map(|t| t.threads).into(),
    })
}

fn cmdline(root: &Root, pid: Pid) -> Vec<String> {
    let mut text = root.read_lossy(&format!("proc/{pid}/cmdline")).unwrap_or_default();
    let mut end = text.len().min(CMDLINE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.split('\0').filter(|arg| !arg.is_empty()).map(str::to_string).collect()
}

/// How many descriptors a process has open. Since 6.2 the directory's size says it; before, its entries are counted.
fn open_descriptors(root: &Root, pid: Pid) -> Result<u64, Absent> {
    let path = format!("proc/{pid}/fd");
    match rustix::fs::stat(root.path().join(&path)) {
        Ok(stat) if root.is_live() && stat.st_size > 0 => Ok(stat.st_size.unsigned_abs()),
        _ => root.list_dir(&path).map(|entries| entries.len() as u64),
    }
}

/// Finds who holds the sockets and reads those processes into the snapshot. `pids` are the processes of each namespace,
/// `made_in` the control groups that flows were made in, by their files. Where only flows are asked for and all
/// have a holder, processes with very many descriptors are not read any more: they are other servers.
pub(crate) fn find_owners(
    root: &Root,
    snapshot: &mut Snapshot,
    wanted: &BTreeSet<(NetnsId, Inode)>,
    pids: &BTreeMap<NetnsId, Vec<Pid>>,
    made_in: &BTreeMap<Inode, Option<u64>>,
    first: &[Pid],
) {
    let namespaces: BTreeSet<NetnsId> = wanted.iter().map(|(ns, _)| *ns).collect();
    for ns in namespaces {
        let inodes: BTreeSet<Inode> = wanted.iter().filter(|(of, _)| *of == ns).map(|(_, inode)| *inode).collect();
        let everyone = pids.get(&ns).map_or(&[][..], Vec::as_slice);
        let flows_only = inodes.iter().all(|inode| made_in.contains_key(inode));
        let mut search = Search { root, inodes: &inodes, flows_only, holders: BTreeMap::new(), refused: false };
        if flows_only {
            search.run(first.iter().copied().filter(|pid| everyone.contains(pid)));
        }
        if everyone.len() > FEW
            && let Some(netns) = snapshot.namespaces.get(&ns)
        {
            let flows = made_in.iter().filter(|(inode, _)| inodes.contains(inode)).filter_map(|(_, cgroup)| *cgroup);
            let groups: BTreeSet<u64> = cgroups_of(netns, &inodes).into_iter().chain(flows).collect();
            let near: BTreeSet<Pid> = groups.iter().flat_map(|id| cgroup::pids(root, *id)).collect();
            search.run(near.iter().copied());
        }
        if search.holders.len() < inodes.len() {
            search.run(everyone.iter().copied());
        }
        let Search { holders, refused, .. } = search;
        for inode in &inodes {
            let found = match holders.get(inode) {
                Some(pids) => Reading::Present(pids.iter().copied().collect()),
                None if refused || everyone.is_empty() => Reading::Absent(Absent::Permission {
                    what: "the descriptors of other users' processes".into(),
                    needs: "root".into(),
                }),
                // The kernel itself, or a process of another pid namespace.
                None => Reading::Present(Vec::new()),
            };
            snapshot.owners.insert(*inode, found);
        }
        for pid in holders.values().flatten() {
            // One that was read before is not read again: CPU time is counted from the first reading.
            if !snapshot.processes.contains_key(pid)
                && let Ok(process) = read(root, *pid)
            {
                snapshot.processes.insert(*pid, process);
            }
        }
    }
}

/// The control groups that the namespace's sockets with these inodes were made in.
fn cgroups_of(netns: &Netns, inodes: &BTreeSet<Inode>) -> BTreeSet<u64> {
    let listeners = netns.listeners.value().into_iter().flatten().map(|l| (l.inode, l.cgroup_id));
    let leaks = netns.sockets.close_wait.value().into_iter().flat_map(BTreeMap::values).map(|c| (c.inode, c.cgroup_id));
    let tuples =
        netns.sockets.ports.value().into_iter().flat_map(|p| p.tuples.values()).map(|t| (t.inode, t.cgroup_id));
    listeners.chain(leaks).chain(tuples).filter(|(inode, _)| inodes.contains(inode)).filter_map(|(_, id)| id).collect()
}

struct Search<'a> {
    root: &'a Root,
    inodes: &'a BTreeSet<Inode>,
    /// Whether they are connections, which few processes share.
    flows_only: bool,
    holders: BTreeMap<Inode, BTreeSet<Pid>>,
    /// Whether a process would not show its descriptors.
    refused: bool,
}

impl Search<'_> {
    fn run(&mut self, pids: impl Iterator<Item = Pid>) {
        for pid in pids {
            // A process that shares a connection (a monitor and its child, as of sshd) has few others.
            let found = self.flows_only && self.holders.len() == self.inodes.len();
            if found && open_descriptors(self.root, pid).is_ok_and(|open| open > MANY) {
                continue;
            }
            let directory = format!("proc/{pid}/fd");
            let entries = match self.root.list_dir(&directory) {
                Ok(entries) => entries,
                Err(why) => {
                    self.refused |= matches!(why, Absent::Permission { .. });
                    continue;
                }
            };
            let mut here = BTreeSet::new();
            for entry in entries {
                if here.len() == self.inodes.len() {
                    break;
                }
                let link = self.root.read_link(&format!("{directory}/{entry}")).unwrap_or_default();
                if let Some(inode) = socket_inode(&link).filter(|inode| self.inodes.contains(inode)) {
                    self.holders.entry(inode).or_default().insert(pid);
                    here.insert(inode);
                }
            }
        }
    }
}

fn socket_inode(link: &str) -> Option<Inode> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_owner_of_a_socket_of_ours_is_us() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let (ns, me) = (NetnsId(1), std::process::id());
        let mut snapshot = Snapshot::default();
        let pids = BTreeMap::from([(ns, vec![me])]);
        find_owners(
            &Root::new("/"),
            &mut snapshot,
            &BTreeSet::from([(ns, inode), (ns, 1)]),
            &pids,
            &BTreeMap::new(),
            &[],
        );
        assert_eq!(snapshot.owners[&inode], Reading::Present(vec![me]));
        assert_eq!(snapshot.owners[&1], Reading::Present(vec![]));
        let process = &snapshot.processes[&me];
        assert!(process.fds.value().is_some_and(|fds| *fds > 2));
        assert!(process.fd_limit.value().is_some());
        assert!(process.threads.value().is_some());
    }

    #[test]
    fn a_process_that_went_away_is_gone() {
        assert!(matches!(read(&Root::new("/"), u32::MAX), Err(Absent::Gone { .. } | Absent::NotInKernel { .. })));
    }
}

//! Anonymous network namespaces.
//!
//! `ip netns add` pins a namespace with a bind mount, which a killed lab would leave behind. Here a descriptor holds it:
//! the kernel takes the namespace away with the last descriptor, task or socket.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Error, Result, sockdiag, unshare};

/// Of the calling **thread**: `/proc/self/ns/net` would be the one of the process's first thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// The namespaces that this process made, or was sent into by the lab: the only ones where the kit changes anything.
static OF_THE_LAB: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// A network namespace that lives as long as this value and the tasks inside it. Dropping it destroys its TCP sockets,
/// also those of such tasks.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Makes an empty namespace: only `lo`, which is down.
    ///
    /// # Errors
    /// EPERM without `CAP_SYS_ADMIN`; ENOSPC at `user.max_net_namespaces`.
    pub fn new() -> io::Result<Self> {
        // A thread of its own, so that the caller stays where it is. The descriptor outlives the thread.
        let fd = on_fresh_thread(|| {
            unshare::network()?;
            open(Path::new(OWN))
        })??;
        let inode = inode_of(&fd)?;
        remember().insert(inode);
        Ok(Self { fd, inode })
    }

    /// Runs `work` on a fresh thread that has entered this namespace, and waits for it. A panic in `work` goes on here.
    ///
    /// # Errors
    /// If no thread can be made or the namespace cannot be entered.
    pub fn run_in<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_fresh_thread(|| {
            self.enter_current_thread()?;
            Ok(work())
        })?
    }

    /// A path by which any process of this pid namespace may open it while this value lives: `/proc/PID/fd/N`.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The inode by which the kernel names it (`net:[4026532…]`).
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Moves the calling thread into it for good. Threads that it starts later are born inside.
    ///
    /// # Errors
    /// The errno of setns(2).
    pub fn enter_current_thread(&self) -> io::Result<()> {
        set(self.fd())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Each socket holds the namespace. An orphan, closed by its process but not by its dead peer, would for minutes.
        // Nothing is lost where it cannot be destroyed: it still ends by itself.
        let _ = self.run_in(sockdiag::destroy_all);
        // The kernel reuses inode numbers.
        remember().remove(&self.inode);
    }
}

/// Moves the calling thread into the namespace at `path`: for a child process of the lab at its start, while it has one
/// thread.
///
/// # Errors
/// If it cannot be opened or entered, or is the namespace of this process or of pid 1: the lab works in neither.
pub fn enter(path: &Path) -> io::Result<()> {
    let fd = open(path)?;
    let inode = inode_of(&fd)?;
    // pid 1's may be unreadable in a container, where its namespace is the own one anyway.
    let foreign = [inode_at(Path::new("/proc/1/ns/net")).ok(), Some(current_inode()?)];
    if foreign.contains(&Some(inode)) {
        return Err(io::Error::other(format!("{} is not a namespace of the lab", path.display())));
    }
    set(fd.as_fd())?;
    remember().insert(inode);
    Ok(())
}

/// The inode of the calling thread's namespace.
///
/// # Errors
/// Without procfs.
pub fn current_inode() -> io::Result<u64> {
    inode_at(Path::new(OWN))
}

/// Refuses unless the calling thread is in a namespace of the lab. Whatever changes something asks this first.
pub(super) fn require_lab(operation: &str) -> Result<()> {
    let inode = current_inode().map_err(|e| Error::kernel(format!("read {OWN}"), e))?;
    if remember().contains(&inode) {
        return Ok(());
    }
    Err(Error::Refused(format!("{operation} in net:[{inode}], which the lab did not make")))
}

fn remember() -> std::sync::MutexGuard<'static, BTreeSet<u64>> {
    OF_THE_LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_fresh_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("lab-netns".to_owned()).spawn_scoped(scope, work)?;
        thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
    })
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn set(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))?)
}

fn inode_of(fd: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_ino)
}

fn inode_at(path: &Path) -> io::Result<u64> {
    inode_of(&File::open(path)?.into())
}

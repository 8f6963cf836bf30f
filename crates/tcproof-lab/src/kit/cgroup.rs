//! A control group of version 1 that bounds the TCP memory of its processes (`memory.kmem.tcp.limit_in_bytes`).
//!
//! It is made below the group that the lab runs in, so that it can only take away, and is removed when its process has
//! ended. A directory can't die with a process: what a lab that was killed leaves behind, empty, the next one removes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Error, Result};

/// What the names of the lab's groups begin with; the lab's process id and a number follow.
const PREFIX: &str = "tcproof-lab-";
/// A group is busy until the last of its processes is gone for good.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group of the lab; removed when dropped.
#[derive(Debug)]
pub struct TcpMemory {
    directory: PathBuf,
}

impl TcpMemory {
    /// A group whose processes may have so many bytes of TCP memory. To be made before they make sockets: the kernel
    /// charges only those that it finds in a group with a limit.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where version 1's memory controller is not mounted, or not ours to use.
    pub fn limited(bytes: u64) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let unsupported = || Error::Unsupported("a memory controller of version 1 (memory.kmem.tcp)".into());
        let above = own_directory().ok_or_else(unsupported)?;
        remove_abandoned(&above);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let directory = above.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&directory).map_err(|_| unsupported())?;
        let group = Self { directory };
        let file = group.directory.join("memory.kmem.tcp.limit_in_bytes");
        match fs::write(&file, bytes.to_string()) {
            Ok(()) => Ok(group),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unsupported()),
            Err(error) => Err(Error::kernel(format!("writing {bytes} to {}", file.display()), error)),
        }
    }

    /// Where it is; for [`join`].
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for TcpMemory {
    fn drop(&mut self) {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = fs::remove_dir(&self.directory) {
            if Instant::now() > end {
                eprintln!("cleanup: {}: {error}", self.directory.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Moves the calling process into a group of the lab.
///
/// # Errors
/// What is no group of the lab, and the kernel's.
pub fn join(directory: &Path) -> io::Result<()> {
    let is_ours = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    if !is_ours {
        return Err(io::Error::other(format!("{} is no control group of the lab", directory.display())));
    }
    fs::write(directory.join("cgroup.procs"), "0")
}

/// The directory of the group that this process is in, of version 1's memory controller.
fn own_directory() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let is_memory = fields.next()?.split(',').any(|controller| controller == "memory");
        fields.next().filter(|_| is_memory)
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - cgroup ")?;
        let is_memory = back.rsplit(' ').next()?.split(',').any(|option| option == "memory");
        let mut front = front.split(' ').skip(3);
        let (top, point) = (front.next()?, front.next()?);
        let below = group.strip_prefix(top.trim_end_matches('/'))?;
        let directory = Path::new(point).join(below.trim_start_matches('/'));
        (is_memory && directory.is_dir()).then_some(directory)
    })
}

/// Removes the empty groups of labs that are no more.
fn remove_abandoned(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            // One with processes in it is somebody's, and stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_gone_when_it_is_dropped_and_others_are_refused() {
        let refused = join(Path::new("/sys/fs/cgroup/memory")).expect_err("not a group of the lab");
        assert!(refused.to_string().contains("no control group of the lab"));
        let group = match TcpMemory::limited(1 << 20) {
            Err(Error::Unsupported(what)) => return println!("SKIP: no {what} here"),
            group => group.expect("a group"),
        };
        let directory = group.directory().to_owned();
        let limit = fs::read_to_string(directory.join("memory.kmem.tcp.limit_in_bytes")).expect("its limit");
        assert_eq!(limit.trim(), (1 << 20).to_string());
        let abandoned = directory.with_file_name(format!("{PREFIX}{}-0", u32::MAX));
        fs::create_dir(&abandoned).expect("a group that a killed lab left");
        drop(TcpMemory::limited(1 << 20).expect("another group"));
        drop(group);
        assert!(!directory.exists() && !abandoned.exists());
    }
}

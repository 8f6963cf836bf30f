//! Knobs of the whole kernel. The lab changes them only in a machine that was made for it (`cargo xtask vm`): everywhere
//! else a scenario that names one is skipped, and what is here refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Error, Result, netns};

/// On the kernel's command line of such a machine.
const MARK: &str = "tcproof.vm=1";
/// The command line of its first process.
const INIT: &[u8] = b"/init\0vm-guest\0";

/// What a scenario may change there.
const KEYS: &[&str] = &[
    "fs.file-max",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.netdev_max_backlog",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
];

/// Whether this is a machine made for the lab.
///
/// # Errors
/// If not, why not.
pub fn require() -> std::result::Result<(), String> {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let first = fs::read("/proc/1/cmdline").unwrap_or_default();
    if is_made_for_the_lab(&command_line, &first) {
        Ok(())
    } else {
        Err("it changes the whole kernel, so it needs a machine made for it (cargo xtask vm)".to_owned())
    }
}

/// Both must be so: a command line alone can be a host's, by mistake.
fn is_made_for_the_lab(command_line: &str, first: &[u8]) -> bool {
    command_line.split_whitespace().any(|word| word == MARK) && first == INIT
}

/// Whether the lab changes this key of the whole kernel in such a machine.
#[must_use]
pub fn is_global(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Knobs of the whole kernel that were changed. Dropping it gives them back what they had.
#[derive(Debug, Default)]
pub struct Knobs {
    before: BTreeMap<String, String>,
}

impl Knobs {
    /// Changes one.
    ///
    /// # Errors
    /// Refuses another key, and any outside a machine made for the lab. [`Error::Unsupported`] if the kernel lacks it.
    pub fn write(&mut self, key: &str, value: &str) -> Result<()> {
        let operation = format!("write {key} = {value:?}");
        if !is_global(key) {
            return Err(Error::Refused(format!("{operation}: no knob for a scenario")));
        }
        require().map_err(|why| Error::Refused(format!("{operation}: {why}")))?;
        let path = path(key);
        let now = fs::read_to_string(&path).map_err(|e| Error::kernel(format!("read {key}"), e));
        let now = now.map_err(|e| e.lacking(key, &[rustix::io::Errno::NOENT]))?;
        self.before.entry(key.to_owned()).or_insert(now);
        fs::write(path, value).map_err(|e| Error::kernel(operation, e))
    }
}

impl Drop for Knobs {
    fn drop(&mut self) {
        for (key, value) in &self.before {
            // The machine is made for this and ends soon: a knob that stays is the next scenario's to find.
            fs::write(path(key), value.trim_end()).ok();
        }
    }
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

/// Where the files of the calling thread's namespace are seen while it steers.
const SYSFS: &str = "/run/lab-sysfs";

/// Has the packets that a link of this namespace receives handed to other CPUs (RPS): those whose bits are set.
///
/// # Errors
/// The kernel's, and outside the lab or a machine made for it.
pub fn steer(link: &str, cpus: u32) -> Result<()> {
    let operation = format!("steer packets of {link} to CPUs {cpus:x}");
    require().map_err(|why| Error::Refused(format!("{operation}: {why}")))?;
    netns::require_lab(&operation)?;
    let kernel = |e: std::io::Error| Error::kernel(operation.clone(), e);
    // sysfs shows the devices of the namespace in which it was mounted.
    fs::create_dir_all(SYSFS).map_err(kernel)?;
    mount("sysfs", SYSFS, "sysfs", MountFlags::empty(), None).map_err(|e| kernel(e.into()))?;
    let written = fs::write(format!("{SYSFS}/class/net/{link}/queues/rx-0/rps_cpus"), format!("{cpus:x}"));
    unmount(SYSFS, UnmountFlags::DETACH).map_err(|e| kernel(e.into()))?;
    written.map_err(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::sysctl;

    #[test]
    fn both_marks_make_a_machine() {
        let (line, init) = ("console=ttyS0 tcproof.vm=1 -- vm-guest\n", INIT);
        assert!(is_made_for_the_lab(line, init));
        assert!(!is_made_for_the_lab(line, b"/sbin/init\0"));
        assert!(!is_made_for_the_lab(line, b""));
        assert!(!is_made_for_the_lab("quiet tcproof.vm=10", init));
        assert!(!is_made_for_the_lab("", init));
    }

    #[test]
    fn nothing_global_is_written_on_a_host() {
        let before = fs::read_to_string(path("fs.file-max")).unwrap();
        let error = Knobs::default().write("fs.file-max", "7").unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!(fs::read_to_string(path("fs.file-max")).unwrap(), before);
        assert!(matches!(steer("lo", 1), Err(Error::Refused(_))));
        assert!(matches!(Knobs::default().write("kernel.panic", "1"), Err(Error::Refused(_))));
    }

    #[test]
    fn no_key_is_both() {
        assert!(KEYS.iter().all(|key| !sysctl::is_per_namespace(key)));
    }
}

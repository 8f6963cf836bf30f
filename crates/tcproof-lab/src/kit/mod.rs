//! The network kit: everything of the lab that touches the kernel to build, starve and tear down a topology.
//!
//! Every function acts in the network namespace of the **calling thread**; enter one with [`netns::Netns::run_in`].
//! Nothing here has a name in the file system: a namespace lives as long as a descriptor or a task holds it, so that
//! even SIGKILL leaves nothing behind. Whatever changes something refuses to do so outside a namespace of the lab.
//!
//! `/proc/sys/net` shows the reading thread's namespace, but `/proc/net` is `/proc/self/net`, that of the process's first
//! thread: inside a namespace read `/proc/thread-self/net`.

pub mod cgroup;
pub mod cleanup;
pub mod conntrack;
pub mod fastopen;
pub mod machine;
mod netlink;
pub mod netns;
pub mod nft;
pub mod rtnl;
pub mod slow_memory;
pub mod sockdiag;
pub mod spoof;
pub mod sysctl;
pub mod tun;
mod unshare;

use std::io;

use rustix::io::Errno;

/// Why the kit could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused; the operation says what was asked of it.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was asked, with its names and numbers.
        operation: String,
        /// The errno.
        source: io::Error,
    },
    /// This kernel has no such facility: a reason to skip a scenario, not to fail it.
    #[error("not in this kernel: {0}")]
    Unsupported(String),
    /// The kit itself refuses, because it would reach beyond the lab.
    #[error("refused: {0}")]
    Refused(String),
}

/// What the kit's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A kernel error with the operation it answers.
    pub(crate) fn kernel(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Kernel { operation: operation.into(), source: source.into() }
    }

    /// Makes it [`Error::Unsupported`] if its errno is one by which the kernel says that it has no `what`.
    pub(crate) fn lacking(self, what: &str, errnos: &[Errno]) -> Self {
        let lacking = errnos.iter().any(|errno| self.errno() == Some(errno.raw_os_error()));
        if lacking { Self::Unsupported(what.to_owned()) } else { self }
    }

    /// The errno, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } => source.raw_os_error(),
            Self::Unsupported(_) | Self::Refused(_) => None,
        }
    }
}

/// Whether this process may make network namespaces; else the reason, fit for a `SKIP` line.
///
/// # Errors
/// The reason, in words.
pub fn require_root() -> std::result::Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) to make network namespaces".to_owned())
    }
}

#[cfg(test)]
mod tests;

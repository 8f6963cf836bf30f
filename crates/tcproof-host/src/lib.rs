//! Reads a Linux host: procfs, netlink, control groups, processes, every network namespace; or a directory that looks
//! like one. Reads only.

pub mod census;
mod cgroup;
mod cgroup_memory;
mod close_wait;
mod cookie;
pub mod diag;
pub mod doctor;
pub mod dump;
pub mod ethtool;
mod everywhere;
mod flows;
mod mounts;
mod namespace;
mod netlink;
mod netns;
mod observe;
mod path;
mod patience;
mod place;
mod process;
pub mod procfs;
mod root;
pub mod rtnl;
pub mod settings;
pub mod states;
mod sysfs;
mod system;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use cookie::netns_cookie;
pub use everywhere::{Everywhere, counter, everywhere, knob, namespaces, within};
pub use netns::{initial_netns, is_own_netns};
pub use observe::{NoProbes, Probes, Watcher, observe};
pub use root::Root;

/// What to observe.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/` for the live host, or a directory with a `proc` inside it.
    pub root: PathBuf,
    /// How long to watch.
    pub window: Duration,
    /// Which namespaces.
    pub scope: Scope,
    /// Whether the use of ephemeral ports is read even where no cheap counter calls for it: whoever verifies a change wants
    /// to see the room that it made.
    pub ports: bool,
}

/// Which network namespaces to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one that can be found and entered.
    All,
    /// The one with that name (`ip netns`), or that inode.
    Name(String),
    /// The one that a process lives in.
    Pid(u32),
    /// These: a name for each, and the file to enter it by (`/proc/PID/ns/net`, `/proc/self/fd/N`).
    Files(Vec<(String, PathBuf)>),
    /// These: a name for each, and its inode.
    Known(Vec<(String, tcproof_core::snapshot::NetnsId)>),
    /// All of these together.
    Several(Vec<Scope>),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Name(name) => f.write_str(name),
            Self::Pid(pid) => pid.fmt(f),
            Self::Files(files) => {
                f.write_str(&files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))
            }
            Self::Known(known) => {
                f.write_str(&known.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))
            }
            Self::Several(scopes) => {
                f.write_str(&scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// How far the observation is; reported several times a second.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time watched so far.
    pub elapsed: Duration,
    /// Namespaces watched.
    pub namespaces: usize,
    /// Listening sockets watched.
    pub listeners: usize,
    /// Looks taken at them.
    pub looks: u32,
}

/// Why nothing could be observed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--netns` names nothing.
    #[error("no network namespace {name:?}: {hint}")]
    NoSuchNamespace {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        hint: String,
    },
    /// `--root` is not a root.
    #[error("{}: {why}", path.display())]
    BadRoot {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Lets this process open as many files as it may: every namespace under watch takes two descriptors, and a host of many
/// containers has more than the usual soft limit of 1024 allows.
pub fn allow_many_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // Where it is refused, the namespaces that don't fit are reported as unseen.
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum },
    );
}

//! What several verbs take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tcproof_core::Diagnosis;
use tcproof_host::{NoProbes, Options, Probes, Scope};

use super::values::{scope, window};
use crate::ebpf::Tracing;

/// What is judged: a window, where, and for whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
    /// Only what concerns this port (and what concerns the whole host)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
}

impl WatchArgs {
    /// The window to observe, of that directory.
    pub(crate) fn options(&self, root: &RootArgs) -> Options {
        Options { root: root.dir.clone(), ..self.netns.live(self.window) }
    }

    /// Leaves out what is of no concern to the port that was asked for.
    pub(crate) fn keep_port(&self, diagnosis: &mut Diagnosis) {
        if let Some(port) = self.port {
            diagnosis.keep_port(port);
        }
    }
}

/// Which network namespaces.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetnsArgs {
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(id = "netns", long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) scope: Scope,
}

impl NetnsArgs {
    /// A window of the live host.
    pub(crate) fn live(&self, window: Duration) -> Options {
        Options { root: PathBuf::from("/"), window, scope: self.scope.clone(), ports: false }
    }
}

/// Another host than this one.
#[derive(Clone, Debug, Args)]
pub(crate) struct RootArgs {
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(id = "root", long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) dir: PathBuf,
}

/// Whether to attach probes while watching.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ProbeArgs {
    /// Attach no eBPF probes while watching, also where that is allowed
    #[arg(long)]
    no_ebpf: bool,
}

impl ProbeArgs {
    /// Those that were not forbidden; whether the kernel lets them in is another matter.
    pub(crate) fn probes(self) -> Box<dyn Probes> {
        self.unless_forbidden(Tracing::default())
    }

    /// The same, for the last window of the process.
    pub(crate) fn last_probes(self) -> Box<dyn Probes> {
        self.unless_forbidden(Tracing::last())
    }

    fn unless_forbidden(self, tracing: Tracing) -> Box<dyn Probes> {
        if self.no_ebpf { Box::new(NoProbes) } else { Box::new(tracing) }
    }

    /// Whether any may come to be loaded.
    pub(crate) fn may_load(self) -> bool {
        !self.no_ebpf
    }
}

/// Where a window of a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// So long before the end of the recording.
    Before(Duration),
    /// At that time, in milliseconds since 1970.
    Wall(i64),
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// 12 when something is near, 13 when something is limiting
    #[default]
    Near,
    /// 13 when something is limiting
    Limiting,
    /// Neither
    Never,
}

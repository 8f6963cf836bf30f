//! What several verbs take.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tcproof_host::{NoProbes, Probes};

use crate::ebpf::Tracing;

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

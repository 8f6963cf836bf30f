//! The verbs that change something, or are about a change.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::shared::{NetnsArgs, ProbeArgs};
use super::values::{confirmation, window};
use crate::cmd::change::JOURNAL;

/// `apply`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The plan's file (tcproof plan -o FILE)
    pub(crate) plan: PathBuf,
    /// How long to wait for tcproof confirm before everything is taken back, such as 120s (1s to 1h); or verified: watch
    /// before and after, keep what cured or helped, take back the rest
    #[arg(long, value_name = "TIME|verified", default_value = "120s", value_parser = confirmation)]
    pub(crate) confirm: Confirmation,
    /// With --confirm verified: how long to watch, before and after
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// With --confirm verified: how long to wait between the change and the second window (none: as long as it needs)
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub(crate) settle: Option<Duration>,
    #[command(flatten)]
    pub(crate) ebpf: ProbeArgs,
    /// With --confirm verified: keep the changes whatever it says
    #[arg(long)]
    pub(crate) keep: bool,
    /// With --confirm verified: write a page with both windows and what was changed (HTML; Markdown where it ends with .md)
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Once confirmed, have boot set the values too: lines in /etc/sysctl.d/60-tcproof.conf
    #[arg(long)]
    pub(crate) persist: bool,
    /// The folder of that file
    #[arg(long, value_name = "DIR", default_value = tcproof_apply::persist::FOLDER, hide = true)]
    pub(crate) sysctl_dir: PathBuf,
    /// Make the changes without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) journal: JournalDir,
    /// Run this once the knobs are written, such as the reload by which a service listens again; if it fails, all is taken
    /// back
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// What confirms an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// A person, within that time.
    Within(Duration),
    /// That the symptom is gone, or less.
    Verified,
}

/// `verify`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Judge what this plan is for (none: what is found in the first window)
    pub(crate) plan: Option<PathBuf>,
    /// How long to watch, before and after, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// How long to wait between the change and the second window (none: as long as the plan's changes need)
    #[arg(long, value_name = "TIME", value_parser = window)]
    pub(crate) settle: Option<Duration>,
    #[command(flatten)]
    pub(crate) ebpf: ProbeArgs,
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
    /// Only what concerns this port (and what concerns the whole host)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "plan")]
    pub(crate) port: Option<u16>,
    /// Write a page with both windows and what was changed (HTML; Markdown where it ends with .md)
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// What makes the change (none: you do, and press Enter)
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// What was changed, so that it can be taken back.
#[derive(Clone, Debug, Args)]
pub(crate) struct JournalDir {
    /// Where the journal is kept
    #[arg(id = "journal", long, value_name = "DIR", default_value = JOURNAL)]
    pub(crate) dir: PathBuf,
}

/// `confirm`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Which change (none: the one that waits)
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) journal: JournalDir,
}

/// `rollback`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Which change (none: the newest that is in effect)
    #[arg(conflicts_with_all = ["all", "pending"])]
    pub(crate) id: Option<String>,
    /// All that are in effect, the newest first
    #[arg(long, conflicts_with = "pending")]
    pub(crate) all: bool,
    /// Only what was never confirmed: for the start of a machine
    #[arg(long)]
    pub(crate) pending: bool,
    /// Also what somebody else has changed since
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) journal: JournalDir,
}

/// `journal`.
#[derive(Clone, Debug, Args)]
pub(crate) struct JournalArgs {
    /// Which change (none: all)
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) journal: JournalDir,
}

/// `undo-watch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UndoWatchArgs {
    /// Which change
    #[arg(long)]
    pub(crate) id: String,
    /// Until when, in milliseconds of CLOCK_BOOTTIME
    #[arg(long)]
    pub(crate) until: u64,
    /// Where the journal is kept
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: PathBuf,
    /// Only find out whether the journal is that folder from here, and whether each namespace can be entered
    #[arg(long, value_name = "DEVICE:INODE")]
    pub(crate) sees: Option<String>,
    /// With --sees: a network namespace's inode (repeatable)
    #[arg(long, value_name = "INODE", requires = "sees")]
    pub(crate) netns: Vec<u64>,
}

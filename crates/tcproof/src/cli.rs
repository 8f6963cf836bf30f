//! The one definition of the command line: help, man page and completions are generated from it.

mod change;
mod shared;
mod values;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tcproof_core::Version;

pub(crate) use change::{ApplyArgs, ConfirmArgs, Confirmation, JournalArgs, RollbackArgs, UndoWatchArgs, VerifyArgs};
pub(crate) use shared::{At, FailOn, NetnsArgs, ProbeArgs};
use values::{kernel, size};
pub(crate) use watch::{
    BackendChoice, By, CheckArgs, PathArgs, PlanArgs, RecordArgs, RecordOn, ReportArgs, ServeArgs, SocketsArgs, TopArgs,
};

/// Name the TCP limit that refuses, drops, leaks or slows connections on this host: whose it is, with which evidence, and
/// what to do about it.
///
/// Without a command it is `tcproof check`, which reads only and changes nothing.
#[derive(Debug, Parser)]
#[command(name = "tcproof", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) check: CheckArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done; nothing limiting
  1   error: the answer could not be produced
  2   wrong usage
  3   --strict, and something could not be seen (and nothing worse was found)
  4   apply: the change was taken back; the host is as before
  5   apply, rollback: not everything could be taken back; what is left is printed
  10  lint: something is wrong; plan --check: changes are pending
  12  check: something is near its limit
  13  check: something is limiting now; verify: as before, or more than before";

const LINT_FORMATS: &str = "\
Two more formats: --format sarif (2.1.0, for code hosts) and --format diff (every
suggestion as a unified diff, for you to read; --fix writes the safe ones only).
A line is allowed by a comment above it: # tcproof: allow SLUG — reason";

const PLAN_FORMATS: &str = "\
More formats, for who applies by other means, each line with its reason:
--format sysctl (a file for sysctl.d), ansible (tasks), kubernetes (a pod's
securityContext), systemd (a unit's drop-in), tuned (a profile), and toml.
A plan never lowers a value, nor takes the second of two ways, unless --with
names the knob.";

const REPORT_FORMATS: &str = "\
Formats: --format html (the default: one file, nothing fetched, no script) and
--format md (Markdown, also where FILE ends in .md).";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch this host and say which TCP limit hurts it (the default)
    Check(CheckArgs),
    /// Show the verdict and what is behind it, kept current, on the whole terminal; changes nothing
    Top(TopArgs),
    /// Show where packets pass, wait and are dropped in this host, stage by stage
    Path(PathArgs),
    /// Record what check looks at, again and again, into one file: for check --from FILE
    Record(RecordArgs),
    /// Watch again and again, and serve what was seen as metrics for Prometheus
    Serve(ServeArgs),
    /// Count sockets: by state, namespace, listener, destination, process and control group
    Sockets(SocketsArgs),
    /// Explain a limit, a knob, a counter or a rule: what it is, what it proves, what to do
    Explain(ExplainArgs),
    /// Say what is wrong with the settings in files: sysctl.d as boot reads it, pods, containers, units, scripts
    #[command(after_help = LINT_FORMATS)]
    Lint(LintArgs),
    /// Turn what check finds into the smallest safe changes: reviewed first, done by nobody but you
    #[command(after_help = PLAN_FORMATS)]
    Plan(PlanArgs),
    /// Write it all down for people who were not there: one HTML file, or Markdown for a ticket
    #[command(after_help = REPORT_FORMATS)]
    Report(ReportArgs),
    /// Make the changes of a plan, and take them back unless they are confirmed
    Apply(ApplyArgs),
    /// Watch before and after a change of yours, such as a reload, and say whether it helped
    Verify(VerifyArgs),
    /// Keep a change that waits for its confirmation
    Confirm(ConfirmArgs),
    /// Take a change back
    Rollback(RollbackArgs),
    /// Show what was changed here, when, by whom, why, and how it ended
    Journal(JournalArgs),
    /// Say what can and cannot be seen here, why, and what would change it
    Doctor(DoctorArgs),
    /// Reproduce a failure on the real kernel, in network namespaces of its own
    Lab(crate::cmd::lab::LabArgs),
    /// Print the JSON Schema of an output
    Schema(SchemaArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
    /// What takes changes back when nobody confirms them; apply starts it
    #[command(hide = true, name = "undo-watch")]
    UndoWatch(UndoWatchArgs),
    /// What makes a change in the lab; the lab has it started
    #[command(hide = true, name = "lab-handover")]
    LabHandover(crate::cmd::lab::HandoverArgs),
    /// A server or client of the lab; the lab starts it
    #[command(hide = true, name = "lab-worker")]
    LabWorker(crate::cmd::lab::WorkerArgs),
}

/// How to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) format: Format,
    /// Short for --format json
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour (NO_COLOR and CLICOLOR_FORCE are honoured)
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", global = true)]
    pub(crate) color: Color,
}

impl OutputArgs {
    /// Whether JSON was asked for, either way.
    pub(crate) fn json(&self) -> bool {
        self.format() == Format::Json
    }

    /// The format that was asked for, either way.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code hosts: of `lint` only, whose help names it
    #[value(hide = true)]
    Sarif,
    /// Every suggestion as a unified diff: of `lint` only, whose help names it
    #[value(hide = true)]
    Diff,
    /// One HTML file: of `report` only, whose help names it and the next
    #[value(hide = true)]
    Html,
    /// Markdown
    #[value(hide = true)]
    Md,
    /// The plan's own: of `plan` only, whose help names it and those that follow
    #[value(hide = true)]
    Toml,
    /// A file for sysctl.d
    #[value(hide = true)]
    Sysctl,
    /// Tasks for Ansible
    #[value(hide = true)]
    Ansible,
    /// A pod's securityContext
    #[value(hide = true)]
    Kubernetes,
    /// A unit's drop-in
    #[value(hide = true)]
    Systemd,
    /// A tuned profile
    #[value(hide = true)]
    Tuned,
}

impl Format {
    /// The only verb that has it, and the formats that no other verb has.
    pub(crate) fn only_of(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Text | Self::Json => None,
            Self::Html | Self::Md => Some(("report", "--format html and --format md")),
            Self::Sarif | Self::Diff => Some(("lint", "--format sarif and --format diff")),
            Self::Toml | Self::Sysctl | Self::Ansible | Self::Kubernetes | Self::Systemd | Self::Tuned => {
                Some(("plan", "--format toml, sysctl, ansible, kubernetes, systemd and tuned"))
            }
        }
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A limit, a knob, a counter, a rule; or limits, knobs, counters, rules, states (none: the limits)
    pub(crate) topic: Option<String>,
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
    /// Look at this directory instead of the live host
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
}

/// `lint`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LintArgs {
    /// Files, and directories of them (none: all that boot loads, in its order)
    pub(crate) paths: Vec<PathBuf>,
    /// Correct what changes nothing of what boot sets; the old file stays beside the new one
    #[arg(long)]
    pub(crate) fix: bool,
    /// Judge for another kernel than the running one, such as 6.12
    #[arg(long, value_name = "VERSION", value_parser = kernel)]
    pub(crate) kernel: Option<Version>,
    /// Judge for a machine with that much memory, such as 16G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Look at this directory instead of the live host
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
    /// Exit with 3 when a file could not be read
    #[arg(long)]
    pub(crate) strict: bool,
    /// One line: how much is wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Notes too
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at this directory instead of the live host
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
    /// Exit with 3 when something can't be seen
    #[arg(long)]
    pub(crate) strict: bool,
}

/// `schema`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Whose output
    #[arg(value_enum, default_value_t)]
    pub(crate) of: Schema,
}

/// Outputs that have a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// tcproof check --json
    #[default]
    Check,
    /// tcproof path --json
    Path,
    /// tcproof sockets --json
    Sockets,
    /// tcproof lint --json
    Lint,
    /// tcproof plan --json
    Plan,
    /// tcproof explain --json
    Explain,
    /// tcproof apply --confirm verified --json
    Verify,
    /// tcproof doctor --json
    Doctor,
    /// tcproof record --list --json
    Record,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}

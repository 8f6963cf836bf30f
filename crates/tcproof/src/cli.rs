//! The one definition of the command line: help, man page and completions are generated from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tcproof_core::{Version, knobs};
use tcproof_host::{NoProbes, Probes, Scope};

use crate::cmd::change::JOURNAL;
use crate::ebpf::Tracing;

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

/// `check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Only what concerns this port (and what concerns the whole host)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
    /// Judge a recording (tcproof record) instead: its last 5s, or those --at and --for say; or a dump of others: a sosreport,
    /// or what ss -peaonmi, nstat -az, netstat -s, sysctl -a printed and files of /proc/net (twice: the two ends of an interval)
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub(crate) from: Vec<PathBuf>,
    /// With --from: the end of the window, such as -3m (before the recording's end) or 2026-12-01T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true, value_parser = at)]
    pub(crate) at: Option<At>,
    /// From which state on to exit with 12 or 13
    #[arg(long, value_enum, default_value_t, value_name = "STATE")]
    pub(crate) fail_on: FailOn,
    /// Exit with 3 when something could not be seen
    #[arg(long)]
    pub(crate) strict: bool,
    /// One line: the verdict
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Everything: all findings, all headroom, every reading that is missing
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) ebpf: ProbeArgs,
}

/// `top`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TopArgs {
    /// How much time is judged, second after second (1s to 60s)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = sliding_window)]
    pub(crate) window: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Show a recording (tcproof record), in which one can move
    #[arg(long, value_name = "FILE", conflicts_with = "netns")]
    pub(crate) from: Option<PathBuf>,
    /// With --from: where to begin, such as -3m (before the recording's end) or 2026-12-01T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true, value_parser = at)]
    pub(crate) at: Option<At>,
    /// Draw with ASCII only, whatever the locale says
    #[arg(long)]
    pub(crate) ascii: bool,
}

/// `record`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecordArgs {
    /// The recording: appended to if it is one of this host since it booted, else begun anew beside the old one
    #[arg(short, long, value_name = "FILE", required_unless_present = "list")]
    pub(crate) output: Option<PathBuf>,
    /// Say what is in a recording, and record nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "every", "length", "on", "redact", "netns"])]
    pub(crate) list: Option<PathBuf>,
    /// How long each record watches, such as 1s, 500ms or 10s (100ms to 1h)
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = window)]
    pub(crate) every: Duration,
    /// How long to record (none: until SIGINT or SIGTERM)
    #[arg(long = "for", value_name = "TIME", value_parser = long_time)]
    pub(crate) length: Option<Duration>,
    /// A new file is begun before this one is larger
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    pub(crate) max_size: u64,
    /// A new file is begun before this one holds more time than this, such as 12h or 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = long_time)]
    pub(crate) max_age: Duration,
    /// Old files to keep: FILE.1 is the newest of them
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=999))]
    pub(crate) keep: u32,
    /// Keep only the minute before and after something is in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) on: Option<RecordOn>,
    /// Replace addresses and the names of host, processes, control groups and namespaces, so that it can be shown to others
    #[arg(long)]
    pub(crate) redact: bool,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
}

/// `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to serve /metrics, /healthz and / for people; port 0: any, which is said on stderr
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9877")]
    pub(crate) listen: SocketAddr,
    /// Answer requests for this name, too, which a proxy or your hosts file has for it; may be given again. Always answered are
    /// those for localhost and for addresses, and where --listen is not loopback and nothing is given, for any name
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(crate) allow_host: Vec<String>,
    /// How long each window is, one after the other, such as 15s or 1m (100ms to 1h)
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = window)]
    pub(crate) every: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Push each window to an OpenTelemetry collector too, to URL/v1/metrics; else to OTEL_EXPORTER_OTLP_ENDPOINT, if set
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", value_parser = crate::cmd::otlp::endpoint)]
    pub(crate) otlp: Option<crate::cmd::otlp::Endpoint>,
}

/// `--on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordOn {
    /// Something is limiting
    Limiting,
    /// Something is near its limit, or limiting
    Near,
}

/// Where a window of a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// So long before the end of the recording.
    Before(Duration),
    /// At that time, in milliseconds since 1970.
    Wall(i64),
}

/// `path`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PathArgs {
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
    /// Every counter, every device, every reading that is missing
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `sockets`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SocketsArgs {
    /// Rows of each table
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
    /// Count again and again: in place on a terminal, one below the other elsewhere
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = window)]
    pub(crate) watch: Option<Duration>,
    /// Also count the descriptors of all processes, which takes longer than all else
    #[arg(long, value_name = "WHAT")]
    pub(crate) by: Option<By>,
    /// Network namespace: a name (ip netns), a pid, an inode, or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Only listeners on this port and destinations with it
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// What walks the sockets
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: BackendChoice,
    /// Destinations that are told apart; what a full table can't take is counted and said
    #[arg(long, value_name = "N", default_value = "16384", value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(crate) table: u32,
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
    /// Count what ss -peaonmi printed, or a sosreport or folder that has it; or show what a recording (tcproof record) knows at
    /// its end, or then (--at): not every socket
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "backend", "root"])]
    pub(crate) from: Vec<PathBuf>,
    /// With --from a recording: when, such as -3m (before the recording's end) or 2026-12-01T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true, value_parser = at)]
    pub(crate) at: Option<At>,
    /// Exit with 3 when something could not be seen or was not counted exactly
    #[arg(long)]
    pub(crate) strict: bool,
    /// Every reason why something could not be seen
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `--by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// What every process holds
    Process,
}

/// `--backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendChoice {
    /// The cheapest that works here
    #[default]
    Auto,
    /// sock_diag
    Netlink,
    /// A program in the kernel
    Bpf,
    /// The text of /proc/net/tcp and tcp6
    Proc,
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

/// `explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A limit, a knob, a counter, a rule; or limits, knobs, counters, rules, states (none: the limits)
    pub(crate) topic: Option<String>,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Look at this directory instead of the live host
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
}

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
    /// Where the journal is kept
    #[arg(long, value_name = "DIR", default_value = JOURNAL)]
    pub(crate) journal: PathBuf,
    /// Run this once the knobs are written, such as the reload by which a service listens again; if it fails, all is taken
    /// back
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
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
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
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

/// What confirms an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// A person, within that time.
    Within(Duration),
    /// That the symptom is gone, or less.
    Verified,
}

/// `confirm`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Which change (none: the one that waits)
    pub(crate) id: Option<String>,
    /// Where the journal is kept
    #[arg(long, value_name = "DIR", default_value = JOURNAL)]
    pub(crate) journal: PathBuf,
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
    /// Where the journal is kept
    #[arg(long, value_name = "DIR", default_value = JOURNAL)]
    pub(crate) journal: PathBuf,
}

/// `journal`.
#[derive(Clone, Debug, Args)]
pub(crate) struct JournalArgs {
    /// Which change (none: all)
    pub(crate) id: Option<String>,
    /// Where the journal is kept
    #[arg(long, value_name = "DIR", default_value = JOURNAL)]
    pub(crate) journal: PathBuf,
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

/// `plan`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Only what concerns this port (and what concerns the whole host)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) ebpf: ProbeArgs,
    /// Plan from what `check --json` saved, from a recording (tcproof record), or from a dump of others, without watching
    #[arg(long, value_name = "FILE", conflicts_with_all = ["window", "port", "root"])]
    pub(crate) from: Vec<PathBuf>,
    /// With --from a recording: the end of the window, such as -3m (before its end) or 2026-12-01T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true, value_parser = at)]
    pub(crate) at: Option<At>,
    /// Take this knob's change too, though it lowers the value or is another way to the same end (repeatable)
    #[arg(long, value_name = "KNOB", value_parser = knob)]
    pub(crate) with: Vec<String>,
    /// Write the plan to this file: TOML, or JSON where it ends in .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Exit with 10 when there is something to change
    #[arg(long)]
    pub(crate) check: bool,
    /// Exit with 3 when something could not be seen
    #[arg(long)]
    pub(crate) strict: bool,
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
}

/// `report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// The file to write; one that is there is replaced (none: to standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    /// Network namespaces, with commas between them: names (ip netns), pids, inodes; or all
    #[arg(long, value_name = "NAME|PID|all", default_value = "all", value_parser = scope)]
    pub(crate) netns: Scope,
    /// Only what concerns this port (and what concerns the whole host)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) ebpf: ProbeArgs,
    /// Report what `check --json` saved, a recording (tcproof record): its last 5s, or those --at and --for say; or a dump of
    /// others
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub(crate) from: Vec<PathBuf>,
    /// With --from a recording: the end of the window, such as -3m (before its end) or 2026-12-01T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true, value_parser = at)]
    pub(crate) at: Option<At>,
    /// Exit with 12 or 13 from which state on; the report is written all the same
    #[arg(long, value_enum, default_value = "never", value_name = "STATE")]
    pub(crate) fail_on: FailOn,
    /// Read this directory instead of the live host: a mounted root, or one with a copy of /proc in it
    #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,
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

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// A window: whole or decimal number with ms, s, m or h; without a unit, seconds.
fn window(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}: expected a time such as 500ms, 5s or 2m")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a time such as 500ms, 5s or 2m".to_string())?;
    let window = Duration::try_from_secs_f64(number * seconds_per).unwrap_or(Duration::MAX);
    match window {
        window if window < SHORTEST => Err("too short: nothing can be counted in less than 100ms".into()),
        window if window > LONGEST => Err("too long: at most 1h".into()),
        window => Ok(window),
    }
}

/// A window that moves on second by second.
fn sliding_window(text: &str) -> Result<Duration, String> {
    match window(text)? {
        window if window < Duration::from_secs(1) => Err("too short: it moves on by a second".into()),
        window if window > Duration::from_secs(60) => Err("too long: at most 60s".into()),
        window => Ok(window),
    }
}

/// A time that may be days: a whole or decimal number with ms, s, m, h or d; without a unit, seconds.
fn long_time(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a time such as 30s, 10m, 12h or 7d";
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(format!("unknown unit {unit:?}: {EXPECTED}")),
    };
    let number: f64 = number.parse().map_err(|_| EXPECTED.to_string())?;
    match Duration::try_from_secs_f64(number * seconds_per) {
        Ok(time) if time < SHORTEST => Err("too short: nothing can be counted in less than 100ms".into()),
        Ok(time) if time <= LONGEST * 24 * 3_660 => Ok(time),
        _ => Err("too long: at most ten years".into()),
    }
}

/// The end of a window in a recording.
fn at(text: &str) -> Result<At, String> {
    if let Some(before) = text.strip_prefix('-') {
        return match before.trim_matches(['0', 's', 'm', 'h', 'd']) {
            "" if !before.contains(|c: char| ('1'..='9').contains(&c)) && before.contains('0') => {
                Ok(At::Before(Duration::ZERO))
            }
            _ => long_time(before).map(At::Before),
        };
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| At::Wall(time.as_millisecond())).map_err(|_| {
        "expected a time before the recording's end such as -3m, or one such as 2026-12-01T14:05:00Z".into()
    })
}

/// A knob of the table, by its key or its path.
fn knob(text: &str) -> Result<String, String> {
    let key = text.trim_start_matches("/proc/sys/").replace('/', ".");
    match (knobs::by_key(&key), knobs::nearest(&key)) {
        (Some(knob), _) => Ok(knob.key.into()),
        (None, Some(near)) => Err(format!("no such knob in the table; did you mean {near}?")),
        (None, None) => Err("no such knob in the table (tcproof explain knobs)".into()),
    }
}

fn kernel(text: &str) -> Result<Version, String> {
    Version::of_release(text).ok_or_else(|| "expected a version such as 6.12".into())
}

fn confirmation(text: &str) -> Result<Confirmation, String> {
    match text {
        "verified" => Ok(Confirmation::Verified),
        text => window(text).map(Confirmation::Within),
    }
}

/// Bytes: a whole number with K, M, G or T, each 1024 of the one before.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("unknown unit {unit:?}: expected a size such as 512M or 16G")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a size such as 512M or 16G".to_string())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "no machine has as much".into())
}

/// A name as a Host header has it, without a port.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = text.strip_suffix('.').unwrap_or(text);
    match !name.is_empty() && name.bytes().all(is_name) {
        true => Ok(name.into()),
        false => Err("expected a name without a port, such as web-07.example".into()),
    }
}

/// One namespace, several with commas between them, or all.
fn scope(text: &str) -> Result<Scope, String> {
    Ok(match text {
        text if text.contains(',') => Scope::Several(text.split(',').map(scope).collect::<Result<_, _>>()?),
        "" => return Err("expected a name, a pid or all".into()),
        "all" => Scope::All,
        text => match text.parse() {
            // An inode number is ten digits, beyond any pid.
            Ok(pid) if pid <= 4 << 20 => Scope::Pid(pid),
            _ => Scope::Name(text.into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn windows_have_units_and_bounds() {
        for (text, ms) in [("5s", 5000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("2.5", 2500)] {
            assert_eq!(window(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["0", "0s", "1y", "-1s", "", "s", "1.2.3s", "2h", "99ms", "nan", "inf", "1e400s"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_in_a_recording_is_a_time_or_one_before_its_end() {
        assert_eq!(at("-3m"), Ok(At::Before(Duration::from_secs(180))));
        assert_eq!(at("-0s"), Ok(At::Before(Duration::ZERO)));
        assert_eq!(at("1970-01-01T00:00:02Z"), Ok(At::Wall(2_000)));
        assert_eq!(at("1970-01-01T01:00:02+01:00"), Ok(At::Wall(2_000)));
        for text in ["", "-", "3m", "-3y", "now", "2026-12-01", "14:05"] {
            assert!(at(text).is_err(), "{text}");
        }
        assert_eq!(long_time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert!(long_time("11000d").is_err() && long_time("1ms").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("1024", 1024), ("512M", 512 << 20), ("16G", 16 << 30), ("16GiB", 16 << 30), ("2T", 2 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "G", "-1G", "1.5G", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_knob_is_one_of_the_table() {
        assert_eq!(knob("net.core.somaxconn").as_deref(), Ok("net.core.somaxconn"));
        assert_eq!(knob("/proc/sys/net/core/somaxconn").as_deref(), Ok("net.core.somaxconn"));
        assert!(knob("net.ipv4.somaxconn").is_err_and(|why| why.contains("net.core.somaxconn")));
        assert!(knob("").is_err());
    }

    #[test]
    fn a_namespace_is_a_pid_a_name_or_all() {
        assert_eq!(scope("all"), Ok(Scope::All));
        assert_eq!(scope("2113"), Ok(Scope::Pid(2113)));
        assert_eq!(scope("4026532200"), Ok(Scope::Name("4026532200".into())));
        assert_eq!(scope("blue"), Ok(Scope::Name("blue".into())));
        let both = vec![Scope::Name("blue".into()), Scope::Pid(7)];
        assert_eq!(scope("blue,7"), Ok(Scope::Several(both)));
        assert!(scope("blue,,7").is_err());
        assert!(scope("").is_err());
    }
}

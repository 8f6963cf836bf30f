//! The verbs that watch and change nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tcproof_host::Scope;

use super::shared::{At, FailOn, NetnsArgs, ProbeArgs, RootArgs, WatchArgs};
use super::values::{at, host_name, knob, long_time, scope, size, sliding_window, window};

/// `check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    #[command(flatten)]
    pub(crate) root: RootArgs,
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

/// `plan`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
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
    #[command(flatten)]
    pub(crate) root: RootArgs,
}

/// `report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// The file to write; one that is there is replaced (none: to standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
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
    #[command(flatten)]
    pub(crate) root: RootArgs,
}

/// `path`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PathArgs {
    /// How long to watch, such as 5s, 500ms or 2m (100ms to 1h)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = window)]
    pub(crate) window: Duration,
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
    #[command(flatten)]
    pub(crate) root: RootArgs,
    /// Every counter, every device, every reading that is missing
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `top`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TopArgs {
    /// How much time is judged, second after second (1s to 60s)
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = sliding_window)]
    pub(crate) window: Duration,
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
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
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
}

/// `--on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordOn {
    /// Something is limiting
    Limiting,
    /// Something is near its limit, or limiting
    Near,
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
    #[command(flatten)]
    pub(crate) netns: NetnsArgs,
    /// Push each window to an OpenTelemetry collector too, to URL/v1/metrics; else to OTEL_EXPORTER_OTLP_ENDPOINT, if set
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", value_parser = crate::cmd::otlp::endpoint)]
    pub(crate) otlp: Option<crate::cmd::otlp::Endpoint>,
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
    #[command(flatten)]
    pub(crate) root: RootArgs,
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

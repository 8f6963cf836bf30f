//! The verbs, one file each, and what they share.

/// A line to stderr. Nobody may be listening there, or the disk behind it be full: `eprintln!` would end the program, in
/// the midst of what it does.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}

pub(crate) mod apply;
pub(crate) mod change;
mod change_report;
pub(crate) mod check;
pub(crate) mod confirm;
pub(crate) mod doctor;
mod dump;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod journal;
pub(crate) mod lab;
mod lab_cure;
pub(crate) mod lint;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
pub(crate) mod path;
pub(crate) mod plan;
pub(crate) mod record;
mod recording;
pub(crate) mod report;
pub(crate) mod serve;
pub(crate) mod sockets;
mod source;
pub(crate) mod top;
pub(crate) mod undo;
pub(crate) mod verify;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tcproof_report::{Style, sanitize};

use crate::cli::{Color, OutputArgs};

/// Exit codes, as the contract has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Unseen = 3,
    RolledBack = 4,
    Incomplete = 5,
    Pending = 10,
    Near = 12,
    Limiting = 13,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Writes to stdout. A reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_to_reader(text).map(|_| ())
}

/// Writes to stdout; says whether anybody still reads.
pub(crate) fn print_to_reader(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("writing to standard output"),
    }
}

/// Set when somebody wants it to stop.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Under nohup(1) it is to outlive the terminal. A shell that starts it with `&` has SIGINT ignored too, and that means
        // the terminal's only: who sends one wants it to stop.
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&flag)).context("waiting for signals")?;
    }
    Ok(flag)
}

/// Whether this process was started so.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// How to lay text out here: the terminal's width, its colours, its letters.
pub(crate) fn style(output: &OutputArgs, verbose: bool, quiet: bool) -> Style {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let color = match output.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            // Whatever its value, and before all else: https://no-color.org.
            set("NO_COLOR").is_none()
                && (set("CLICOLOR_FORCE").is_some_and(|value| value != "0")
                    || (std::io::stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb")))
        }
    };
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    // `C` and `POSIX` say nothing about the terminal; only a named other encoding rules UTF-8 out.
    let unicode = locale.is_none_or(|name| match name.split_once('.') {
        Some((_, encoding)) => encoding.to_ascii_lowercase().starts_with("utf"),
        None => true,
    });
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    Style { width, color, unicode, verbose, quiet }
}

/// A saved check, or a plan: far more than either ever is.
const MOST_BYTES: u64 = 64 << 20;

/// The text of a file that somebody named, which may be hostile in size too.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let shown = shown(path);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| shown.clone())?;
    anyhow::ensure!(bytes.len() as u64 <= MOST_BYTES, "{shown}: expected at most 64 MiB");
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown}: expected UTF-8"))
}

/// A path in a message.
pub(crate) fn shown(path: &Path) -> String {
    sanitize(&path.to_string_lossy()).into_owned()
}

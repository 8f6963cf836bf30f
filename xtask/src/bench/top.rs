//! What `tcproof top` costs a second while nobody touches it, beside sockets that rest, in a terminal of tmux.

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{fs, process};

use anyhow::{Context, Result, ensure};

use super::census::number;
use super::measure::cpu_ms;
use super::{Holder, Sockets, named_or_built, namespace};

/// Until the window is full and flows were chosen.
const SETTLES: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct TopArgs {
    /// Numbers of established sockets to measure beside
    #[arg(long, value_delimiter = ',', default_value = "10,10k", value_parser = number)]
    sockets: Vec<u32>,
    /// Keys that are pressed first, for another pane than the verdict
    #[arg(long, default_value = "1")]
    keys: String,
    /// How many seconds are measured
    #[arg(long = "for", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..), value_name = "SECONDS")]
    seconds: u32,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<String>,
}

pub(crate) fn run(workspace: &Path, args: &TopArgs) -> Result<ExitCode> {
    if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
        println!("SKIP: there is no tmux");
        return Ok(ExitCode::SUCCESS);
    }
    let binary = named_or_built(workspace, args.binary.as_deref())?;
    namespace::enter_a_fresh_one().context("a network namespace")?;
    namespace::raise_loopback().context("its loopback")?;
    println!("{:>12} {:>14} {:>14} {:>12}", "established", "CPU ms/s", "of one CPU", "MiB");
    for established in &args.sockets {
        let _holder = Holder::start(Sockets { established: *established, listening: 0, hurt: 0 })?;
        let terminal = Terminal(format!("tcproof-bench-{}", process::id()));
        let command = format!("exec {binary} top --netns {}", process::id());
        let started = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &command])?;
        ensure!(started.status.success(), "tmux: {}", String::from_utf8_lossy(&started.stderr));
        terminal.tmux(&["send-keys", &args.keys])?;
        sleep(SETTLES);
        let pid = String::from_utf8(terminal.tmux(&["list-panes", "-F", "#{pane_pid}"])?.stdout)?;
        let pid: u32 = pid.trim().parse().context("top ended at once")?;
        let before = cpu_ms(pid)?;
        sleep(Duration::from_secs(args.seconds.into()));
        let each = (cpu_ms(pid)? - before) / f64::from(args.seconds);
        println!("{established:>12} {each:>14.1} {:>12.2} % {:>12.1}", each / 10.0, resident_mib(pid)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends with this.
struct Terminal(String);

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> Result<Output> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.0]).args(arguments).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        Ok(tmux.stdin(Stdio::null()).output()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

fn resident_mib(pid: u32) -> Result<f64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split_whitespace().nth(1).context("statm")?.parse()?;
    Ok((pages * rustix::param::page_size() as u64) as f64 / f64::from(1 << 20))
}

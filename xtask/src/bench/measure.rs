//! One command's CPU time and peak memory.

use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How often a running command's memory is looked at: often enough to see its last state, rarely enough not to disturb.
const LOOK: Duration = Duration::from_millis(5);
/// What `tcproof` ends with when it could give its answer, and timeout(1) when it stopped one that took too long.
const ANSWERS: [i32; 6] = [0, 3, 10, 12, 13, 124];

#[derive(clap::Args)]
pub(crate) struct OneArgs {
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// What one run cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    /// User and system time, of all its threads and children.
    pub(super) cpu_ms: f64,
    /// From its start to its end.
    pub(super) wall_ms: f64,
    /// Peak resident memory.
    pub(super) peak_kib: u64,
    /// The peak is only known to be at most that.
    pub(super) peak_is_bound: bool,
    /// How it ended.
    pub(super) exit_code: i32,
}

/// Runs the command and prints its cost as a line of JSON. Nothing else may have been this process's child.
pub(crate) fn one(args: &OneArgs) -> Result<ExitCode> {
    println!("{}", serde_json::to_string(&measure(&args.command)?)?);
    Ok(ExitCode::SUCCESS)
}

fn measure(command: &[String]) -> Result<Cost> {
    let [program, arguments @ ..] = command else { bail!("no command to measure") };
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    // Its memory is looked at beside, so that its end is noticed when it comes.
    let (pid, has_ended) = (child.id().to_string(), AtomicBool::new(false));
    let (status, wall, seen) = thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut seen = None;
            while !has_ended.load(Ordering::Relaxed) {
                seen = high_water(&pid).or(seen);
                sleep(LOOK);
            }
            seen
        });
        let status = child.wait();
        let wall = begun.elapsed();
        has_ended.store(true, Ordering::Relaxed);
        (status, wall, looks.join().unwrap_or_default())
    });
    let status = status?;
    let Some(exit_code) = status.code().filter(|code| ANSWERS.contains(code)) else { bail!("{program}: {status}") };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let (peak_kib, peak_is_bound) = peak(u64::try_from(usage.max_rss())?, high_water("self"), seen);
    let wall_ms = wall.as_secs_f64() * 1000.0;
    Ok(Cost { cpu_ms: cpu as f64 / 1000.0, wall_ms, peak_kib, peak_is_bound, exit_code })
}

/// The kernel's `ru_maxrss` is exact, except that a child takes over the peak of the process that forked it (execve(2)
/// keeps it). Below that, what was last seen while it ran has to do, or the bound itself.
fn peak(maxrss: u64, parent: Option<u64>, seen: Option<u64>) -> (u64, bool) {
    match (parent, seen) {
        (Some(parent), _) if maxrss > parent => (maxrss, false),
        (_, Some(seen)) => (seen, false),
        (_, None) => (maxrss, true),
    }
}

/// CPU time of a living process: of all its threads, also those that have ended, to the nanosecond. The ticks of
/// `/proc/PID/stat` are 10 ms each.
pub(super) fn cpu_ms(process: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed()))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64() * 1e3)
}

/// Peak resident memory of a living process, in KiB.
pub(super) fn high_water(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_inherited_from_the_parent_is_not_the_commands_own() {
        assert_eq!(peak(9_000, Some(5_000), Some(8_000)), (9_000, false));
        assert_eq!(peak(5_000, Some(5_000), Some(1_200)), (1_200, false));
        assert_eq!(peak(5_000, Some(5_000), None), (5_000, true));
        assert_eq!(peak(5_000, None, Some(1_200)), (1_200, false));
    }

    #[test]
    fn own_memory_is_readable_and_a_dead_process_has_none() {
        assert!(high_water("self").is_some_and(|kib| kib > 100));
        assert_eq!(high_water("0"), None);
    }
}

//! Stops a program at one step of its work, for ever: by ptrace(2), so that it is that step and no other, however slow the
//! machine is.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::protocol::{At, Call};

/// Starts a program, follows it to that step, and leaves it there. How it ended, where it ended before.
pub(crate) fn run(program: &str, arguments: &[String], at: &At) -> Result<Option<String>> {
    // It waits until it is followed: else some of its steps could be over by then.
    let mut child = Command::new("/init")
        .args(["vm-held", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting what is to be held")?;
    let mut start = child.stdin.take().context("no pipe to it")?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).context("following it")?;
    ptrace::interrupt(pid)?;
    let mut seen = 0;
    start.write_all(b"\n")?;
    drop(start);
    loop {
        let signal = match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::PtraceSyscall(_) => {
                seen += u32::from(is_at(pid, at)?);
                if seen == at.number {
                    return Ok(None);
                }
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            WaitStatus::Exited(_, code) => return Ok(Some(format!("exit status: {code}"))),
            WaitStatus::Signaled(_, signal, _) => return Ok(Some(format!("signal: {signal:?}"))),
            _ => None,
        };
        ptrace::syscall(pid, signal).context("letting it go on")?;
    }
}

/// Whether it is in front of, or behind, such a call on such a file.
fn is_at(pid: Pid, at: &At) -> Result<bool> {
    let wanted = if at.is_behind { libc::PTRACE_SYSCALL_INFO_EXIT } else { libc::PTRACE_SYSCALL_INFO_ENTRY };
    if ptrace::syscall_info(pid)?.op != wanted {
        return Ok(false);
    }
    let registers = ptrace::getregs(pid)?;
    let number = i64::try_from(registers.orig_rax)?;
    let is_call = match at.call {
        Call::Write => number == libc::SYS_write,
        Call::Sync => [libc::SYS_fdatasync, libc::SYS_fsync].contains(&number),
        Call::Rename => [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2].contains(&number),
        Call::Sleep => [libc::SYS_nanosleep, libc::SYS_clock_nanosleep].contains(&number),
    };
    if !is_call || at.below.is_empty() {
        return Ok(is_call);
    }
    let file = fs::read_link(format!("/proc/{pid}/fd/{}", registers.rdi));
    Ok(file.is_ok_and(|file| file.starts_with(&at.below)))
}

/// Becomes a program as soon as it is let go.
pub(crate) fn held(program: &str, arguments: &[String]) -> Result<()> {
    ensure!(std::process::id() != 1, "this is for a process of an emulated machine");
    std::io::stdin().read_exact(&mut [0]).context("waiting to be let go")?;
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    bail!("{program}: {error}")
}

//! What takes a change back when apply can't any more: a timer of systemd's, or a process of its own where there is none.
//!
//! When a session ends, systemd may kill all that is in its control group, and a process can't leave that by itself.
//! A timer is nobody's child.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tcproof_apply::{Error, Surroundings, journal};
use tcproof_core::plan::Plan;
use tcproof_core::snapshot::NetnsId;
use tcproof_report::sanitize;

use super::Exit;
use super::change::{boottime_ms, surroundings, tell};
use crate::cli::UndoWatchArgs;

/// How often it is looked whether somebody confirmed.
const LOOK: Duration = Duration::from_millis(100);
/// How long it tries to get at the journal when somebody holds it.
const PATIENCE_MS: u64 = 60_000;

/// What will take a change back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// A timer of systemd's, which is stopped by the change's id.
    Timer(String),
    /// A process of ours.
    Watchdog(Child),
}

impl Undo {
    /// Sees to it that a plan's changes are taken back at that time, whatever becomes of this process. To be called before
    /// anything is changed.
    pub(crate) fn arm(here: &Surroundings, journal: &Path, plan: &Plan, until_ms: u64) -> Result<Self> {
        // Makes the folder, too; where there can be none, nothing needs an undo.
        drop(here.store.lock()?);
        // Who takes back runs elsewhere.
        let journal = &std::path::absolute(journal).context("where the journal is")?;
        if is_booted() {
            match timer(journal, plan, until_ms) {
                Ok(()) => return Ok(Self::Timer(plan.id.clone())),
                Err(why) => {
                    let why = format!("{why:#}");
                    say!(
                        "tcproof: systemd does not take back: {}; a process does, until the session ends",
                        sanitize(&why)
                    );
                }
            }
        }
        watchdog(journal, &plan.id, until_ms).map(Self::Watchdog)
    }

    /// Nothing has been changed.
    pub(crate) fn call_off(self) {
        match self {
            Self::Timer(id) => stop_timer(&id),
            Self::Watchdog(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Stops the timer of a change that is closed. That there is none is no error: it was a process, or has run.
pub(crate) fn stop_timer(id: &str) {
    if is_booted() {
        let mut stop = Command::new("systemctl");
        stop.args(["--quiet", "--no-block", "--no-ask-password", "stop", "--"]).arg(format!("{}.timer", unit(id)));
        let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Whether systemd runs this system: sd_booted(3).
fn is_booted() -> bool {
    fs::symlink_metadata("/run/systemd/system").is_ok_and(|meta| meta.is_dir())
}

fn unit(id: &str) -> String {
    format!("tcproof-undo-{id}")
}

/// Starts the timer, once a service of systemd's has shown that it gets at all it will need: systemd may be that of another
/// mount namespace, and may be forbidden to run what lies in a home folder.
fn timer(journal: &Path, plan: &Plan, until_ms: u64) -> Result<()> {
    let folder = fs::metadata(journal).with_context(|| journal.display().to_string())?;
    let mut sees = vec![format!("--sees={}:{}", folder.dev(), folder.ino())];
    let namespaces: BTreeSet<_> = plan.changes.iter().filter_map(|change| change.namespace.inode).collect();
    sees.extend(namespaces.iter().map(|inode| format!("--netns={inode}")));
    let unit = unit(&plan.id);
    let probe =
        [format!("--unit={unit}-probe"), "--service-type=oneshot".into(), "--property=TimeoutStartSec=10s".into()];
    systemd_run(&probe, journal, &plan.id, until_ms, &sees).context("a service of its own")?;
    let left = until_ms.saturating_sub(boottime_ms()).max(1);
    // systemd's clock stands still while the machine is suspended, ours goes on: then the timer is late by that.
    let timer = [
        format!("--unit={unit}"),
        format!("--on-active={left}ms"),
        "--timer-property=AccuracySec=100ms".into(),
        // Taken back is no failure.
        "--property=SuccessExitStatus=4".into(),
    ];
    systemd_run(&timer, journal, &plan.id, until_ms, &[])
}

/// Has systemd run `undo-watch`.
fn systemd_run(how: &[String], journal: &Path, id: &str, until_ms: u64, more: &[String]) -> Result<()> {
    let program = std::env::current_exe().context("looking for this program")?;
    // A service's arguments are searched for variables.
    let journal = journal.to_str().context("its path is not UTF-8")?.replace('$', "$$");
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--no-ask-password", "--property=StandardOutput=null"]).args(how).arg("--");
    run.arg(program).args(arguments(journal.as_ref(), id, until_ms)).args(more);
    let out = run.stdin(Stdio::null()).output().context("systemd-run")?;
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.lines().next().unwrap_or("it does not say why");
    ensure!(out.status.success(), "systemd-run: {}: {said}", out.status);
    Ok(())
}

/// Of `undo-watch`.
fn arguments(journal: &OsStr, id: &str, until_ms: u64) -> [OsString; 4] {
    let mut folder = OsString::from("--journal=");
    folder.push(journal);
    ["undo-watch".into(), format!("--id={id}").into(), format!("--until={until_ms}").into(), folder]
}

/// Starts the process that takes everything back when this one can't.
fn watchdog(journal: &Path, id: &str, until_ms: u64) -> Result<Child> {
    let program = std::env::current_exe().context("looking for this program")?;
    let mut command = Command::new(program);
    command.args(arguments(journal.as_os_str(), id, until_ms));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .context("starting the process that takes changes back")?;
    let mut line = String::new();
    let out = child.stdout.take().context("no pipe to the watchdog")?;
    BufReader::new(out).read_line(&mut line).context("waiting for the watchdog")?;
    ensure!(line.trim() == "ready", "the process that takes changes back did not start: nothing was changed");
    Ok(child)
}

/// What the timer starts, or the process itself, which outlives the process, the terminal and, as far as nobody kills it,
/// the session that started it.
pub(crate) fn watch(args: &UndoWatchArgs) -> Result<ExitCode> {
    // A session of its own: what happens to the terminal does not reach it.
    let _ = rustix::process::setsid();
    let here = surroundings(&args.journal)?;
    if let Some(folder) = &args.sees {
        return sees(&here, args, folder);
    }
    println!("ready");
    std::io::stdout().flush()?;
    while boottime_ms() < args.until {
        if here.entry(&args.id).is_ok_and(|entry| entry.closed.is_some()) {
            return Ok(Exit::Done.into());
        }
        sleep(LOOK);
    }
    loop {
        let taken_back = match here.entry(&args.id) {
            Ok(entry) if entry.is_pending() => here.rollback_pending("not confirmed in time"),
            // Closed, confirmed, or never begun.
            Ok(_) | Err(Error::Nothing(_) | Error::Journal(journal::Error::NoSuch { .. })) => {
                return Ok(Exit::Done.into());
            }
            Err(error) => Err(error),
        };
        match taken_back {
            Ok(Some(rollback)) => {
                // Into systemd's log.
                say!("tcproof: {} was not confirmed in time; taken back:", sanitize(&rollback.id));
                return Ok(tell(&rollback).into());
            }
            Ok(None) => return Ok(Exit::RolledBack.into()),
            Err(error) if boottime_ms() > args.until + PATIENCE_MS => return Err(error.into()),
            Err(_) => sleep(LOOK),
        }
    }
}

/// Whether it gets from here at what it will need: that folder, and those namespaces.
fn sees(here: &Surroundings, args: &UndoWatchArgs, folder: &str) -> Result<ExitCode> {
    let is = fs::metadata(&args.journal).with_context(|| args.journal.display().to_string())?;
    if format!("{}:{}", is.dev(), is.ino()) != folder {
        bail!("the journal is another one here");
    }
    for inode in &args.netns {
        tcproof_host::within(&here.root, NetnsId(*inode), |_| ()).map_err(|why| anyhow::anyhow!("{why}"))?;
    }
    Ok(Exit::Done.into())
}

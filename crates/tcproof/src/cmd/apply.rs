//! `tcproof apply`: exactly a plan, taken back unless it is confirmed.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::bail;
use clap::CommandFactory;
use clap::error::ErrorKind;
use tcproof_apply::persist::Persisting;
use tcproof_apply::{Error, Rollback, Surroundings};
use tcproof_core::journal;
use tcproof_core::plan::Plan;
use tcproof_core::verify::{Observation, Outcome, settle, verify};
use tcproof_report::sanitize;

use super::change::{boottime_ms, now, read_plan, require_root, surroundings, tell};
use super::change_report::{self, Changed};
use super::undo::{Undo, stop_timer};
use super::verify::{self, observation, pause, run_command, scope_of, show};
use super::{Exit, stop_flag};
use crate::cli::{ApplyArgs, Cli, Confirmation, OutputArgs};

/// How often it is looked whether somebody confirmed.
const LOOK: Duration = Duration::from_millis(100);
/// What watching and judging may take beyond the window, before the watchdog takes everything back.
const LEEWAY: Duration = Duration::from_secs(60);

/// Runs it.
pub(crate) fn run(args: &ApplyArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let plan = read_plan(&args.plan)?;
    plan.validate().map_err(Error::BadPlan)?;
    if plan.is_empty() {
        say!("tcproof: the plan changes nothing");
        return Ok(Exit::Done.into());
    }
    for change in &plan.changes {
        let line = format!("{} in {}: {} → {}", change.knob, change.namespace.name, change.from, change.to);
        say!("  {}", sanitize(&line));
    }
    let persist = if args.persist { Some(persisting(args, &plan)?) } else { None };
    if args.dry_run {
        return Ok(Exit::Done.into());
    }
    let then = plan.changes.iter().find_map(|change| change.then.as_ref());
    if let (Confirmation::Verified, Some(then), []) = (args.confirm, then, &args.command[..]) {
        bail!(
            "nothing is felt before somebody does this: {}; name the command that does (tcproof apply … -- systemctl \
             reload NAME), or give people time with --confirm 600s",
            sanitize(then)
        );
    }
    if args.report.is_some() && args.confirm != Confirmation::Verified {
        let what = "--report is for --confirm verified: nothing else watches before and after";
        Cli::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    args.report.as_deref().map(change_report::ensure_writable).transpose()?;
    require_root()?;
    if !args.yes && !agreed()? {
        return Ok(Exit::Done.into());
    }
    let here = surroundings(&args.journal.dir)?;
    let asked_to_stop = stop_flag()?;
    let before = match args.confirm {
        Confirmation::Verified => Some(observation(args.window, &scope_of(&plan), args.ebpf)?),
        Confirmation::Within(_) => None,
    };
    let commands = if args.command.is_empty() { Duration::ZERO } else { verify::PATIENCE };
    let waits = commands
        + match args.confirm {
            Confirmation::Verified => settling(args, &plan) + args.window + LEEWAY,
            Confirmation::Within(time) => time,
        };
    let until_ms = boottime_ms() + u64::try_from(waits.as_millis()).unwrap_or(u64::MAX);
    // Before anything is changed: from then on the undo does not hang on this process.
    let undo = Undo::arm(&here, &args.journal.dir, &plan, until_ms)?;
    let exit = match here.apply(&plan, until_ms, persist) {
        Ok(_) => {
            let at = now();
            let done = match &args.command[..] {
                [] => Ok(()),
                command => run_command(command, &asked_to_stop),
            };
            let done = done.and_then(|()| match before {
                Some(before) => verified(&here, &plan, &before, args, output, &at, &asked_to_stop),
                None => wait(&here, &plan, until_ms, &asked_to_stop),
            });
            match done {
                Ok(exit) => exit,
                Err(error) => {
                    say!("tcproof: {error:#}");
                    match here.rollback_pending("it could not be verified")? {
                        Some(undone) => {
                            say!("tcproof: taken back:");
                            tell(&undone)
                        }
                        // Confirmed, or taken back, by then.
                        None => ended(&here, &plan.id)?.unwrap_or(Exit::Incomplete),
                    }
                }
            }
        }
        Err(Error::Failed { why, undone }) => {
            say!("tcproof: {}; what had been changed is taken back:", sanitize(&why));
            tell(&undone)
        }
        Err(error) => {
            // It has nothing to watch: there is no journal of that name, or it is not ours.
            undo.call_off();
            return Err(error.into());
        }
    };
    if here.entry(&plan.id).is_ok_and(|entry| entry.closed.is_some()) {
        stop_timer(&plan.id);
    }
    Ok(exit.into())
}

/// Waits until somebody confirms, or until the time is over.
fn wait(here: &Surroundings, plan: &Plan, until_ms: u64, asked_to_stop: &AtomicBool) -> anyhow::Result<Exit> {
    say!("tcproof: changed. Keep it with: tcproof confirm (in another shell); Ctrl-C takes it back");
    let is_terminal = std::io::stderr().is_terminal();
    loop {
        let left = until_ms.saturating_sub(boottime_ms());
        match ended(here, &plan.id) {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            // It may be readable again in a moment; in the end the watchdog is there.
            Err(_) if left > 0 => {}
            Err(error) => return Err(error),
        }
        let why = if asked_to_stop.load(Ordering::Relaxed) { "interrupted" } else { "not confirmed in time" };
        if left == 0 || why == "interrupted" {
            // Whether it still waits is looked at again behind the lock: a confirmation at the last instant counts.
            match here.rollback_pending(why) {
                Ok(Some(rollback)) => {
                    say!("\rtcproof: {why}; taken back:");
                    return Ok(tell(&rollback));
                }
                // Somebody holds the journal right now.
                Err(Error::Journal(tcproof_apply::journal::Error::Busy)) => {}
                // Confirmed meanwhile, or taken back by the watchdog; else what would take it back has gone.
                Ok(None) => match ended(here, &plan.id) {
                    Ok(Some(exit)) => return Ok(exit),
                    Ok(None) => {}
                    Err(error) => return Ok(left_changed(plan, &error)),
                },
                Err(error) => return Err(error.into()),
            }
        } else if is_terminal {
            let _ = write!(std::io::stderr(), "\r  taken back in {} s ", left.div_ceil(1000));
            let _ = std::io::stderr().flush();
        }
        sleep(LOOK);
    }
}

/// Without its journal nothing is taken back: what a person has to do.
fn left_changed(plan: &Plan, error: &anyhow::Error) -> Exit {
    say!("\rtcproof: {}; nothing was taken back, still to be done:", sanitize(&format!("{error:#}")));
    for change in &plan.changes {
        let place = format!("in {}", change.namespace.name);
        say!("  {}", sanitize(&format!("sysctl -w \"{}={}\" {place}", change.knob, change.from)));
    }
    Exit::Incomplete
}

/// How it ended, if it has.
fn ended(here: &Surroundings, id: &str) -> anyhow::Result<Option<Exit>> {
    let entry = here.entry(id)?;
    let lacks_lines = entry.lacks_lines();
    let Some((outcome, why)) = &entry.closed else { return Ok(None) };
    let why = sanitize(why);
    Ok(Some(match outcome {
        journal::Outcome::Confirmed => {
            say!("\rtcproof: confirmed {why}");
            // Whoever confirmed it was told why.
            if lacks_lines { Exit::Failed } else { Exit::Done }
        }
        journal::Outcome::Incomplete => {
            say!("\rtcproof: taken back in part: {why}:");
            tell(&Rollback::of(&entry))
        }
        journal::Outcome::RolledBack => {
            say!("\rtcproof: taken back: {why}");
            Exit::RolledBack
        }
    }))
}

/// Keeps the changes if the symptom that they are for is gone or less, and takes them back otherwise.
fn verified(
    here: &Surroundings,
    plan: &Plan,
    before: &Observation,
    args: &ApplyArgs,
    output: &OutputArgs,
    at: &str,
    asked_to_stop: &AtomicBool,
) -> anyhow::Result<Exit> {
    pause(settling(args, plan), settle(&plan.changes).1, asked_to_stop);
    if asked_to_stop.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let after = observation(args.window, &scope_of(plan), args.ebpf)?;
    // What the plan leaves to people is not judged.
    let is_for = |number: usize| plan.changes.iter().any(|change| change.findings.contains(&number));
    let reasons: Vec<_> = (1..).zip(&plan.findings).filter(|(n, _)| is_for(*n)).map(|(_, it)| it.clone()).collect();
    let verification = verify(&reasons, before, &after);
    show(&verification, output)?;
    let why = format!("verification: {}", verification.outcome.as_str());
    let helped = matches!(verification.outcome, Outcome::Cured | Outcome::Better);
    let exit = if (helped || args.keep) && !asked_to_stop.load(Ordering::Relaxed) {
        here.confirm(Some(&plan.id), &why)?;
        Exit::Done
    } else {
        say!("tcproof: {why}; taken back:");
        let exit = tell(&here.rollback(Some(&plan.id), &why, false)?);
        if !args.command.is_empty() {
            say!("tcproof: what that command reloaded keeps the value until it is reloaded again");
        }
        exit
    };
    let Some(file) = &args.report else { return Ok(exit) };
    let ended = Some(match exit {
        Exit::Done => "in effect",
        Exit::RolledBack => "taken back",
        _ => "taken back in part",
    });
    let (verification, after, plan) = (&verification, &after, Some(plan));
    let changed = Changed { verification, before, after, plan, command: &args.command, at, ended };
    Ok(match changed.write(file) {
        Ok(()) => exit,
        // It is decided; that it is not told to others is no reason to decide otherwise.
        Err(error) => {
            say!("tcproof: the report is not written: {error:#}");
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
    })
}

/// How long the changes need before they are judged.
fn settling(args: &ApplyArgs, plan: &Plan) -> Duration {
    args.settle.unwrap_or(Duration::from_secs(settle(&plan.changes).0.into()))
}

/// What boot will need to set the values too, with what may keep it from that.
fn persisting(args: &ApplyArgs, plan: &Plan) -> anyhow::Result<journal::Persist> {
    let Persisting { persist, warnings } = surroundings(&args.journal.dir)?.persisting(plan, &args.sysctl_dir)?;
    say!("  once confirmed, in {} too", sanitize(&persist.path));
    for warning in warnings {
        say!("tcproof: warning: {}", sanitize(&warning));
    }
    Ok(persist)
}

/// Asks on a terminal; where there is none, nothing is changed without `--yes`.
fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: --yes makes these changes without asking");
    }
    write!(std::io::stderr(), "Make these changes? [y/N] ")?;
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

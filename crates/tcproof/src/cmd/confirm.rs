//! `tcproof confirm` and `tcproof rollback`: keep a change, or take it back.

use std::process::ExitCode;

use tcproof_apply::{Error, Rollback, Surroundings};
use tcproof_core::journal::Entry;
use tcproof_report::sanitize;

use super::Exit;
use super::change::{require_root, surroundings, tell};
use super::undo::stop_timer;
use crate::cli::{ConfirmArgs, RollbackArgs};

/// Keeps what waits.
pub(crate) fn confirm(args: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    require_root()?;
    let here = surroundings(&args.journal.dir)?;
    let id = match here.confirm(args.id.as_deref(), &here.user) {
        Ok(id) => id,
        Err(error) => {
            // It stays all the same.
            if let Error::NotPersisted { id, .. } = &error {
                stop_timer(id);
            }
            return Err(error.into());
        }
    };
    stop_timer(&id);
    let id = sanitize(&id);
    match here.entry(&id)?.open.persist {
        Some(persist) => say!("tcproof: {id} stays, and boot sets it too, by {}", sanitize(&persist.path)),
        None => say!("tcproof: {id} stays until the next boot"),
    }
    say!("tcproof: tcproof rollback {id} takes it back");
    Ok(Exit::Done.into())
}

/// Takes back.
pub(crate) fn rollback(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    require_root()?;
    let here = surroundings(&args.journal.dir)?;
    let why = format!("asked for by {}", here.user);
    if args.all {
        return rollback_all(&here, &why, args.force);
    }
    let rollback = match args.pending {
        true => here.rollback_pending(&why)?,
        false => Some(here.rollback(args.id.as_deref(), &why, args.force)?),
    };
    Ok(match rollback {
        Some(rollback) => told(&rollback),
        None => nothing(),
    }
    .into())
}

/// The newest first: an older one's values come back last. One that can't be taken back keeps none of the others from it.
fn rollback_all(here: &Surroundings, why: &str, force: bool) -> anyhow::Result<ExitCode> {
    let mut exit = None;
    for id in here.store.ids()?.into_iter().rev() {
        let done = match here.store.read(&id) {
            Ok(entry) if !entry.as_ref().is_some_and(Entry::is_in_effect) => continue,
            Ok(_) => here.rollback(Some(&id), why, force),
            Err(error) => Err(error.into()),
        };
        let is = match done {
            Ok(rollback) => told(&rollback),
            Err(error) => {
                say!("tcproof: {} not taken back: {}", sanitize(&id), sanitize(&error.to_string()));
                Exit::Incomplete
            }
        };
        exit = exit.filter(|exit| *exit == Exit::Incomplete).or(Some(is));
    }
    Ok(exit.unwrap_or_else(nothing).into())
}

fn nothing() -> Exit {
    say!("tcproof: nothing to take back");
    Exit::Done
}

/// Tells how one went.
fn told(rollback: &Rollback) -> Exit {
    stop_timer(&rollback.id);
    say!("tcproof: {} taken back:", sanitize(&rollback.id));
    match tell(rollback) {
        Exit::Incomplete => Exit::Incomplete,
        // It was asked for.
        _ => Exit::Done,
    }
}

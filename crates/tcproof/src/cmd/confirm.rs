//! `tcproof confirm` and `tcproof rollback`: keep a change, or take it back.

use std::process::ExitCode;

use tcproof_apply::Error;
use tcproof_report::sanitize;

use super::Exit;
use super::change::{require_root, surroundings, tell};
use super::undo::stop_timer;
use crate::cli::{ConfirmArgs, RollbackArgs};

/// Keeps what waits.
pub(crate) fn confirm(args: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    require_root()?;
    let here = surroundings(&args.journal)?;
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
    let here = surroundings(&args.journal)?;
    let why = format!("asked for by {}", here.user);
    let mut all = Vec::new();
    if args.pending {
        all.extend(here.rollback_pending(&why)?);
    } else if args.all {
        // The newest first: an older one's values come back last.
        for id in here.store.ids()?.into_iter().rev() {
            if here.entry(&id).is_ok_and(|entry| entry.is_in_effect()) {
                all.push(here.rollback(Some(&id), &why, args.force)?);
            }
        }
    } else {
        all.push(here.rollback(args.id.as_deref(), &why, args.force)?);
    }
    if all.is_empty() {
        say!("tcproof: nothing to take back");
        return Ok(Exit::Done.into());
    }
    let mut exit = Exit::Done;
    for rollback in &all {
        stop_timer(&rollback.id);
        say!("tcproof: {} taken back:", sanitize(&rollback.id));
        if tell(rollback) == Exit::Incomplete {
            exit = Exit::Incomplete;
        }
    }
    Ok(exit.into())
}

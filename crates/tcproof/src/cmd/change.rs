//! What the verbs that change something share: who asks, when, where the journal is, how an undo is told.

use std::path::Path;

use anyhow::Context;
use jiff::{Timestamp, Unit};
use rustix::time::{ClockId, clock_gettime};
use tcproof_apply::journal::Store;
use tcproof_apply::{Rollback, Surroundings};
use tcproof_core::journal::{Step, Undone};
use tcproof_host::Root;
use tcproof_report::sanitize;

use super::{Exit, read, shown};

/// This host, as the journal will know it.
pub(crate) fn surroundings(journal: &Path) -> anyhow::Result<Surroundings> {
    let root = Root::new("/");
    let boot_id = root.read("proc/sys/kernel/random/boot_id").map_err(|why| anyhow::anyhow!("{why}"))?;
    Ok(Surroundings {
        host: host_name(&root),
        store: Store::at(journal),
        user: user(),
        boot_id: boot_id.trim().into(),
        now,
        root,
    })
}

/// The host's name, as plans have it.
pub(crate) fn host_name(root: &Root) -> String {
    root.read("proc/sys/kernel/hostname").map_or_else(|_| "unknown".into(), |name| name.trim().to_string())
}

/// Who asked: behind sudo, the person and not root.
pub(crate) fn user() -> String {
    let name = ["SUDO_USER", "USER"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// RFC 3339, to the second.
pub(crate) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// Milliseconds on the clock that goes on through suspend, and that nobody sets back.
pub(crate) fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Only root may change what these verbs change.
pub(crate) fn require_root() -> anyhow::Result<()> {
    anyhow::ensure!(rustix::process::geteuid().is_root(), "this changes the host: it needs root (sudo tcproof …)");
    Ok(())
}

/// Tells how taking back went, on stderr, with what is left to be done by hand; and how to exit.
pub(crate) fn tell(rollback: &Rollback) -> Exit {
    if let Some((path, lines)) = &rollback.lines {
        for (step, result) in lines {
            say!("  {}", sanitize(&of_file(&rollback.id, path, step, result)));
        }
    }
    for (step, result) in &rollback.steps {
        say!("  {}", sanitize(&line(step, result)));
    }
    match rollback.is_complete() {
        true => Exit::RolledBack,
        false => {
            say!(
                "tcproof: not everything could be taken back: what is left is said above (tcproof rollback {})",
                rollback.id
            );
            Exit::Incomplete
        }
    }
}

fn line(step: &Step, result: &Undone) -> String {
    let Step { knob, new, namespace, .. } = step;
    // The kernel parts numbers by tabs.
    let old = step.old.replace('\t', " ");
    let place = format!("{knob} in {}", namespace.name);
    match result {
        Undone::Restored => format!("{place}: {old} again"),
        Undone::Untouched => format!("{place}: it is {old}"),
        Undone::Gone => format!("{place}: gone, and the change with it"),
        Undone::ChangedByOthers(is) => {
            format!(
                "{place}: left alone: it is {is}, which somebody else wrote after {new}; before, it was {old} (--force)"
            )
        }
        Undone::Failed(why) => format!("{place}: {why}; still to be done: sysctl -w \"{knob}={old}\" there"),
    }
}

fn of_file(id: &str, path: &str, step: &Step, result: &Undone) -> String {
    let place = format!("{} in {path}", step.knob);
    match result {
        Undone::ChangedByOthers(is) => {
            format!("{place}: left alone, somebody edited it: {is:?}; still to be done: take out what is left of {id}")
        }
        Undone::Failed(why) => format!("{place}: {why}; still to be done: take out the lines of {id}"),
        Undone::Restored | Undone::Untouched | Undone::Gone => format!("{place}: taken out"),
    }
}

/// Where the journal is kept.
pub(crate) const JOURNAL: &str = "/var/lib/tcproof/journal";

/// Reads a plan's file.
pub(crate) fn read_plan(path: &Path) -> anyhow::Result<tcproof_core::plan::Plan> {
    tcproof_report::plan::read(&read(path)?).with_context(|| shown(path))
}

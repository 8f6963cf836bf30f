//! `tcproof journal`: what tcproof has changed here.

use std::process::ExitCode;

use tcproof_apply::journal::Store;
use tcproof_report::journal;

use super::{Exit, print, style};
use crate::cli::{JournalArgs, OutputArgs};

/// Runs it.
pub(crate) fn run(args: &JournalArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let store = Store::at(&args.journal.dir);
    let ids = match &args.id {
        Some(id) => vec![id.clone()],
        None => store.ids()?,
    };
    let mut lines: Vec<journal::Line> = Vec::new();
    for id in ids {
        let entry = store.read(&id);
        // One that was asked for by name must be there.
        if args.id.is_some() {
            lines.push((id, Ok(entry?)));
        } else {
            lines.push((id, entry.map_err(|error| error.to_string())));
        }
    }
    let text = if output.json() { journal::json(&lines) } else { journal::text(&lines, &style(output, false, false)) };
    print(&text)?;
    Ok(Exit::Done.into())
}

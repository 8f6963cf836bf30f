//! `tcproof path`: the packet path stage by stage, with what each dropped in the window.

use std::process::ExitCode;

use tcproof_host::{NoProbes, Options};
use tcproof_report::path;

use super::check::watch;
use super::{Exit, print, style};
use crate::cli::{OutputArgs, PathArgs};
use crate::privileges;

/// Runs it.
pub(crate) fn run(args: &PathArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let options = Options { root: args.root.dir.clone(), ..args.netns.live(args.window) };
    let interval = watch(&options, &mut NoProbes, !output.json())?;
    privileges::drop_all()?;
    let text = match output.json() {
        true => path::json(&interval),
        false => path::text(&interval, &style(output, args.verbose, false)),
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

//! `tcproof path`: the packet path stage by stage, with what each dropped in the window.

use std::process::ExitCode;

use tcproof_host::{Options, allow_many_files, observe};
use tcproof_report::path;

use super::check::ProgressLine;
use super::{Exit, print, style};
use crate::cli::{OutputArgs, PathArgs};

/// Runs it.
pub(crate) fn run(args: &PathArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let options = Options { root: args.root.clone(), window: args.window, scope: args.netns.clone() };
    allow_many_files();
    let mut line = ProgressLine::new(args.window, !output.json());
    let interval = observe(&options, &mut |progress| line.show(progress))?;
    line.clear();
    let text = match output.json() {
        true => path::json(&interval),
        false => path::text(&interval, &style(output, args.verbose, false)),
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

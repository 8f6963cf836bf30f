//! The binary: one file per verb, exit codes, nothing else.

mod cli;
mod cmd;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = &cli.output;
    let result = match cli.command {
        None => cmd::check::run(&cli.check, output),
        Some(Command::Check(args)) => cmd::check::run(&args, output),
        Some(Command::Path(args)) => cmd::path::run(&args, output),
        Some(Command::Explain(args)) => cmd::explain::run(&args, output),
        Some(Command::Doctor(args)) => cmd::doctor::run(&args, output),
        Some(Command::Lab(args)) => cmd::lab::run(args, output),
        Some(Command::LabWorker(args)) => return cmd::lab::worker(&args),
        Some(Command::Schema(args)) => cmd::generate::schema(args),
        Some(Command::Completions { shell }) => cmd::generate::completions(shell),
        Some(Command::Man) => cmd::generate::man(),
    };
    result.unwrap_or_else(|error| {
        // Where nobody listens on stderr either, the exit code still says it.
        let _ = writeln!(std::io::stderr(), "tcproof: {error:#}");
        cmd::Exit::Failed.into()
    })
}

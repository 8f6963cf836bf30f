//! The binary: one file per verb, exit codes, nothing else.

mod cli;
mod cmd;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use cli::{Cli, Command, Format};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = &cli.output;
    if matches!(output.format(), Format::Sarif | Format::Diff) && !matches!(cli.command, Some(Command::Lint(_))) {
        let mut command = Cli::command();
        command.error(ErrorKind::ArgumentConflict, "only lint has --format sarif and --format diff").exit();
    }
    let result = match cli.command {
        None => cmd::check::run(&cli.check, output),
        Some(Command::Check(args)) => cmd::check::run(&args, output),
        Some(Command::Path(args)) => cmd::path::run(&args, output),
        Some(Command::Explain(args)) => cmd::explain::run(&args, output),
        Some(Command::Lint(args)) => cmd::lint::run(&args, output),
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

//! The binary: one file per verb, exit codes, nothing else.

mod cli;
mod cmd;
mod ebpf;
mod http;
mod privileges;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = &cli.output;
    let verb = match cli.command {
        Some(Command::Lint(_)) => "lint",
        Some(Command::Plan(_)) => "plan",
        Some(Command::Report(_)) => "report",
        _ => "",
    };
    if let Some((only, formats)) = output.format().only_of().filter(|(only, _)| *only != verb) {
        let mut command = Cli::command();
        command.error(ErrorKind::ArgumentConflict, format!("only {only} has {formats}")).exit();
    }
    if let Err(error) = privileges::at_start(&cli) {
        return failed(&error);
    }
    let result = match cli.command {
        None => cmd::check::run(&cli.check, output),
        Some(Command::Check(args)) => cmd::check::run(&args, output),
        Some(Command::Record(args)) => cmd::record::run(&args, output),
        Some(Command::Serve(args)) => cmd::serve::run(&args),
        Some(Command::Top(args)) => cmd::top::run(&args, output),
        Some(Command::Path(args)) => cmd::path::run(&args, output),
        Some(Command::Sockets(args)) => cmd::sockets::run(&args, output),
        Some(Command::Explain(args)) => cmd::explain::run(&args, output),
        Some(Command::Lint(args)) => cmd::lint::run(&args, output),
        Some(Command::Apply(args)) => cmd::apply::run(&args, output),
        Some(Command::Confirm(args)) => cmd::confirm::confirm(&args),
        Some(Command::Rollback(args)) => cmd::confirm::rollback(&args),
        Some(Command::Journal(args)) => cmd::journal::run(&args, output),
        Some(Command::UndoWatch(args)) => cmd::undo::watch(&args),
        Some(Command::Verify(args)) => cmd::verify::run(&args, output),
        Some(Command::Plan(args)) => cmd::plan::run(&args, output),
        Some(Command::Report(args)) => cmd::report::run(&args, output),
        Some(Command::Doctor(args)) => cmd::doctor::run(&args, output),
        Some(Command::Lab(args)) => cmd::lab::run(args, output),
        Some(Command::LabHandover(args)) => cmd::lab::handover(&args),
        Some(Command::LabWorker(args)) => return cmd::lab::worker(&args),
        Some(Command::Schema(args)) => cmd::generate::schema(args),
        Some(Command::Completions { shell }) => cmd::generate::completions(shell),
        Some(Command::Man) => cmd::generate::man(),
    };
    result.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Where nobody listens on stderr either, the exit code still says it.
    let said = format!("tcproof: {error:#}");
    let _ = writeln!(std::io::stderr(), "{}", sanitize_lines(&said));
    cmd::Exit::Failed.into()
}

/// An error may name a file, and a file may be named anything.
fn sanitize_lines(text: &str) -> String {
    text.split('\n').map(tcproof_report::sanitize).collect::<Vec<_>>().join("\n")
}

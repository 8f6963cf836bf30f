//! `tcproof completions`, `man` and `schema`: generated from the one definition of each.

use std::process::ExitCode;

use clap::CommandFactory;

use super::{Exit, print};
use crate::cli::{Cli, Schema, SchemaArgs};

/// Completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tcproof", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done.into())
}

/// The manual page: the command and, behind it, every verb.
pub(crate) fn man() -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("tcproof {}", verb.get_name());
        let man = clap_mangen::Man::new(verb.clone().bin_name(name.clone()));
        text.extend(format!(".SH {}\n", name.to_uppercase()).bytes());
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
    }
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done.into())
}

/// A JSON Schema.
pub(crate) fn schema(args: SchemaArgs) -> anyhow::Result<ExitCode> {
    match args.of {
        Schema::Check => print(tcproof_report::json::CHECK_SCHEMA)?,
    }
    Ok(Exit::Done.into())
}

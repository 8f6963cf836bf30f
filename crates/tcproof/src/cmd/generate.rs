//! `tcproof completions`, `man` and `schema`: generated from the one definition of each.

use std::process::ExitCode;

use clap::CommandFactory;

use super::{Exit, print};
use crate::cli::{Cli, Schema, SchemaArgs};

/// Completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut visible(), "tcproof", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done.into())
}

/// The definition without what is hidden: completions would offer it.
fn visible() -> clap::Command {
    let all = Cli::command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    clap::Command::new("tcproof")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(verbs)
}

/// The manual page: the command and, behind it, every verb.
pub(crate) fn man() -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    verbs(&command, "tcproof", &mut text)?;
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done.into())
}

/// A section for every verb below `command`, and for the verbs below those.
fn verbs(command: &clap::Command, above: &str, text: &mut Vec<u8>) -> std::io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{above} {}", verb.get_name());
        let man = clap_mangen::Man::new(verb.clone().bin_name(name.clone()));
        text.extend(format!(".SH {}\n", name.to_uppercase()).bytes());
        man.render_description_section(text)?;
        man.render_options_section(text)?;
        verbs(verb, &name, text)?;
    }
    Ok(())
}

/// A JSON Schema.
pub(crate) fn schema(args: SchemaArgs) -> anyhow::Result<ExitCode> {
    match args.of {
        Schema::Check => print(tcproof_report::json::CHECK_SCHEMA)?,
        Schema::Path => print(tcproof_report::path::SCHEMA)?,
        Schema::Sockets => print(tcproof_report::sockets::SCHEMA)?,
        Schema::Lint => print(tcproof_report::lint::SCHEMA)?,
        Schema::Plan => print(tcproof_report::plan::SCHEMA)?,
        Schema::Doctor => print(tcproof_report::doctor::SCHEMA)?,
        Schema::Verify => print(tcproof_report::verify::SCHEMA)?,
        Schema::Record => print(tcproof_report::record::SCHEMA)?,
        Schema::Explain => print(tcproof_report::explain::JSON_SCHEMA)?,
    }
    Ok(Exit::Done.into())
}

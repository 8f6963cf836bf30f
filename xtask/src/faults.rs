//! The matrix of faults as a table: the tests of `tcproof` that put them into the middle of a change, and the machines whose
//! power fails. Kept as a dated run.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::vm;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Without the emulated machines, whose programs take minutes to build
    #[arg(long)]
    no_vm: bool,
    /// Only print it
    #[arg(long)]
    no_keep: bool,
}

/// A kind of fault that was survived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) fault: String,
    /// Where in the change.
    pub(crate) at: String,
    /// How many of them.
    pub(crate) faults: usize,
    /// How the program ended.
    pub(crate) exit: String,
    /// How the knobs were afterwards.
    pub(crate) after: String,
}

pub(crate) fn run(workspace: &Path, target: &Path, args: &Args) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rows");
    let tests =
        ["test", "--no-fail-fast", "-p", "tcproof", "--test", "faults", "--test", "systemd", "--", "--nocapture"];
    let ran = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(tests)
        .env("TCPROOF_FAULTS", &file)
        .current_dir(workspace)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let mut rows: Vec<Row> = match fs::read_to_string(&file) {
        Ok(text) => text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("what the tests tell")?,
        // All were skipped.
        Err(_) => Vec::new(),
    };
    // Tests run at the same time, in any order.
    rows.sort_by(|one, other| (&one.fault, &one.at).cmp(&(&other.fault, &other.at)));
    let mut skipped: Vec<String> = said.lines().filter(|line| line.starts_with("SKIP")).map(String::from).collect();
    let mut lost = !ran.status.success();
    if lost {
        // A test that fails says there which fault was not survived.
        eprintln!("{said}");
    }
    match args.no_vm {
        true => skipped.push("SKIP: emulated machines, as asked for".into()),
        false => match vm::reboots(workspace, target)? {
            vm::Reboots::Survived(survived) => rows.extend(survived),
            vm::Reboots::Skipped(why) => skipped.push(format!("SKIP: emulated machines: {why}")),
            vm::Reboots::Failed(survived, why) => {
                rows.extend(survived);
                eprintln!("{why}");
                lost = true;
            }
        },
    }
    let table = render(&rows, &skipped, lost);
    print!("{table}");
    if !args.no_keep && !lost {
        keep(workspace, &table)?;
    }
    Ok(ExitCode::from(u8::from(lost)))
}

fn render(rows: &[Row], skipped: &[String], lost: bool) -> String {
    let mut text = String::from("| fault | where | faults | exit code | afterwards |\n|---|---|---|---|---|\n");
    for Row { fault, at, faults, exit, after } in rows {
        text += &format!("| {fault} | {at} | {faults} | {exit} | {after} |\n");
    }
    let survived: usize = rows.iter().map(|row| row.faults).sum();
    let end = if lost { "and at least one NOT survived (above)".to_string() } else { format!("{survived} survived") };
    text += &format!("\n{survived} faults, {end}.\n");
    let mut skipped = skipped.to_vec();
    skipped.sort();
    skipped.dedup();
    for line in skipped {
        text += &format!("\n{line}\n");
    }
    text
}

fn keep(workspace: &Path, table: &str) -> Result<()> {
    let date = crate::today()?;
    let kernel = crate::read(Path::new("/proc/sys/kernel/osrelease"))?;
    let file = workspace.join(format!("bench/runs/{date}-faults.md"));
    let text = format!(
        "# Faults in the middle of `tcproof apply`, {date}\n\n\
         Linux {}. `cargo xtask faults` as root: a plan of two knobs in a network namespace of its own (`tests/faults.rs`); strace\n\
         kills the program, or lets the call fail, at the Nth such call, of those with a knob at the Nth on that knob's file;\n\
         systemd as the first process of a container (`tests/systemd.rs`); and emulated machines whose power fails at a certain\n\
         step, of the kernels that the rows name (`xtask/src/vm/reboot.rs`). Afterwards all knobs are read and compared byte for\n\
         byte. `killed` is a program without an exit code: somebody else took its changes back.\n\n{table}",
        kernel.trim()
    );
    crate::write(&file, &text)?;
    println!("kept as {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_survived_and_what_was_skipped_is_said() {
        let row = |fault: &str, faults| Row {
            fault: fault.into(),
            at: "there".into(),
            faults,
            exit: "4".into(),
            after: "as before".into(),
        };
        let rows = [row("a", 2), row("b", 3)];
        let skipped = ["SKIP: no strace".to_string(), "SKIP: no strace".to_string()];
        insta::assert_snapshot!(render(&rows, &skipped, false), @r"
        | fault | where | faults | exit code | afterwards |
        |---|---|---|---|---|
        | a | there | 2 | 4 | as before |
        | b | there | 3 | 4 | as before |

        5 faults, 5 survived.

        SKIP: no strace
        ");
        assert!(render(&rows, &[], true).contains("5 faults, and at least one NOT survived"));
    }
}

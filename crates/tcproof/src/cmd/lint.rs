//! `tcproof lint`: what is wrong with the settings that stand in files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tcproof_core::Absent;
use tcproof_core::knobs::Machine;
use tcproof_core::lint::{Report, Severity, Tree, lint};
use tcproof_host::{Root, settings};
use tcproof_report::lint as report;

use super::{Exit, print, style};
use crate::cli::{Format, LintArgs, OutputArgs};

/// Runs it.
pub(crate) fn run(args: &LintArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let mut tree = read(args)?;
    let mut found = lint(&tree);
    let mut failed = false;
    if args.fix {
        failed = !fix(args, &tree, &found);
        tree = read(args)?;
        found = lint(&tree);
    }
    let text = match output.format() {
        Format::Json => report::json(&tree, &found),
        Format::Sarif => report::sarif(&tree, &found),
        Format::Diff => report::diff(&tree, &found),
        _ => report::text(&tree, &found, &style(output, args.verbose, args.quiet)),
    };
    print(&text)?;
    Ok(if failed { Exit::Failed } else { exit(&found, args.strict) }.into())
}

fn read(args: &LintArgs) -> anyhow::Result<Tree> {
    let shown = args.root.display().to_string();
    let shown = tcproof_report::sanitize(&shown);
    anyhow::ensure!(args.root.is_dir(), "{shown}: there is no such directory");
    let root = Root::new(&args.root);
    let mut tree = match args.paths.is_empty() {
        true => settings::boot(&root),
        false => settings::named(&args.paths, &root),
    };
    if let Some(kernel) = args.kernel {
        // Another machine: what this one is like says nothing of it.
        tree.machine = Machine::of_kernel(kernel);
        tree.now = None;
    }
    if let Some(bytes) = args.memory {
        tree.machine = tree.machine.with_memory(bytes);
    }
    anyhow::ensure!(
        tree.machine.kernel != tcproof_core::Version::ALWAYS,
        "{shown}: there is no /proc to say which kernel the files are for: name it, such as --kernel 6.12"
    );
    Ok(tree)
}

/// Writes what is safe; `false` when a file could not be written.
fn fix(args: &LintArgs, tree: &Tree, found: &Report) -> bool {
    let mut done = true;
    for (index, file) in tree.files.iter().enumerate() {
        let Some(new) = tree.corrected(index, &found.findings, true) else { continue };
        // What boot loads is named as it is within the root; what the command line names, as it is for this process.
        let path = match args.paths.is_empty() {
            true => args.root.join(file.path.trim_start_matches('/')),
            false => PathBuf::from(&file.path),
        };
        // Its package would bring the old text back with the next update.
        let is_vendors = |path: &Path| ["/usr/lib", "/lib"].iter().any(|folder| path.starts_with(folder));
        if file.is_vendors() || path.canonicalize().is_ok_and(|real| is_vendors(&real)) {
            say!("tcproof: {}: belongs to a package, left as it is", tcproof_report::sanitize(&file.path));
            continue;
        }
        match tcproof_apply::replace(&path, &file.text, &new) {
            Ok(backup) => {
                let (path, backup) = (file.path.as_str(), backup.display().to_string());
                let [path, backup] = [path, &backup].map(tcproof_report::sanitize);
                say!("tcproof: {path}: corrected; as it was: {backup}");
            }
            Err(error) => {
                say!("tcproof: {}", tcproof_report::sanitize(&error.to_string()));
                done = false;
            }
        }
    }
    done
}

fn exit(found: &Report, strict: bool) -> Exit {
    if found.findings.iter().any(|finding| finding.severity > Severity::Note) {
        return Exit::Pending;
    }
    let is_refused = |why: &Absent| matches!(why, Absent::Permission { .. });
    match &*found.unread {
        [] => Exit::Done,
        unread if unread.iter().any(|(_, why)| !is_refused(why)) => Exit::Failed,
        _ if strict => Exit::Unseen,
        _ => Exit::Done,
    }
}

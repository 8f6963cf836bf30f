//! The page of a change, for the verbs that watch before and after one.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rustix::fs::{Access, access};
use tcproof_core::plan::Plan;
use tcproof_core::verify::{Observation, Verification};
use tcproof_report::json;
use tcproof_report::report::{self, Change, Report};

use super::change::user;
use super::{plan, read, shown};

const IS_NOT: &str = "no report of tcproof";

/// A change, and the windows around it.
pub(crate) struct Changed<'a> {
    pub(crate) verification: &'a Verification,
    pub(crate) before: &'a Observation,
    pub(crate) after: &'a Observation,
    /// Whose knobs were written.
    pub(crate) plan: Option<&'a Plan>,
    /// What was run.
    pub(crate) command: &'a [String],
    /// When it was made.
    pub(crate) at: &'a str,
    /// What became of it.
    pub(crate) ended: Option<&'a str>,
}

impl Changed<'_> {
    /// Writes its page; a file's name says whether as HTML or as Markdown.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let command = self.command.join(" ");
        let change = Change {
            verification: self.verification,
            after: self.after,
            command: (!command.is_empty()).then_some(&*command),
            user: &user(),
            at: self.at,
            ended: self.ended,
        };
        let made_at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let report = Report {
            diagnosis: &self.before.diagnosis,
            interval: Some(&self.before.interval),
            plan: self.plan,
            source: None,
            made_at: &made_at,
            version: env!("CARGO_PKG_VERSION"),
            json: &json::check(&self.before.diagnosis),
            change: Some(&change),
        };
        let is_markdown = file.extension().is_some_and(|extension| extension == "md");
        let text = if is_markdown { report::markdown(&report) } else { report::html(&report) };
        plan::replace(file, &text, report::is_ours, IS_NOT)
    }
}

/// Whether the page can be written there, as far as that is known before anything is changed. access(2) asks for the caller's
/// own rights, whatever the program's file gives.
pub(crate) fn ensure_writable(file: &Path) -> anyhow::Result<()> {
    let name = || shown(file);
    let folder = |of: &Path| match of.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => Path::new(".").into(),
    };
    let folder = match access(file, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) if file.is_dir() => bail!("{}: expected a file, found a directory", name()),
        // A pipe, or /dev/stdout.
        Ok(()) if !file.is_file() => return Ok(()),
        Ok(()) => {
            let old = read(file)?;
            let is_ours = old.is_empty() || report::is_ours(&old);
            ensure!(is_ours, "{}: not overwritten, as it is {IS_NOT}: name another file", name());
            folder(&file.canonicalize().with_context(name)?)
        }
        Err(rustix::io::Errno::NOENT) => folder(file),
        Err(error) => return Err(error).with_context(name),
    };
    // The new file takes the old one's place at once.
    access(&folder, Access::WRITE_OK | Access::EXEC_OK).with_context(name)
}

//! Files that are written from the limits and committed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::{read, write};

/// One of them.
pub(crate) struct Generated {
    /// Within the workspace.
    pub(crate) file: &'static str,
    /// Of `cargo xtask`.
    pub(crate) task: &'static str,
    pub(crate) text: String,
}

impl Generated {
    /// Writes it, or says whether it differs.
    pub(crate) fn keep(&self, workspace: &Path, check: bool) -> Result<ExitCode> {
        let Self { file, task, text } = self;
        let path = workspace.join(file);
        if path.exists() && read(&path)? == *text {
            println!("{file} is that of the limits");
        } else if check {
            eprintln!("{file} differs from the limits: run `cargo xtask {task}`");
            return Ok(ExitCode::FAILURE);
        } else {
            write(&path, text)?;
            println!("wrote {file}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

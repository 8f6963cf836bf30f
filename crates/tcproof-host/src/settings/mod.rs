//! Files with settings: sysctl.d as boot reads it, and the places where people keep the same knobs now.

mod boot;
mod machine;
mod script;
mod sysctl;
mod unit;
mod yaml;

pub use boot::boot;
pub use machine::machine;

use std::path::{Path, PathBuf};

use tcproof_core::lint::{File, Format, Tree};

use crate::Root;

/// What the command line named: files, and directories with everything in them that is known.
///
/// Sysctl files hold together as if one directory held them, and are read by name, as boot does.
pub fn named(_paths: &[PathBuf], _root: &Root) -> Tree {
    Tree { files: Vec::new(), loads: Vec::new(), masked: Vec::new(), machine: machine(_root), now: None }
}

/// A file of the format that its path and text show.
pub fn parse(path: &str, text: &str) -> File {
    match format(Path::new(path), text) {
        Some(Format::Sysctl) | None => sysctl::parse(path, text),
        Some(Format::Kubernetes | Format::Compose | Format::Ansible) => yaml::parse(path, text),
        Some(Format::Tuned | Format::Unit) => unit::parse(path, text),
        Some(Format::Script) => script::parse(path, text),
    }
}

/// What a file is, by its name, and where that is not enough, by what stands in it.
fn format(_path: &Path, _text: &str) -> Option<Format> {
    Some(Format::Sysctl)
}

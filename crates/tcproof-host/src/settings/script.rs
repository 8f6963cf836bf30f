//! Commands in shell scripts, Dockerfiles, notes: `sysctl`, `ethtool`, `docker run --sysctl`.

use tcproof_core::lint::File;

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into(), ..File::default() }
}

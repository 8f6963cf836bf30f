//! `sysctl.conf` and `sysctl.d/*.conf`, line by line as `systemd-sysctl` and procps read them.

use tcproof_core::lint::{File, Format};

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    File { path: path.into(), format: Format::Sysctl, text: text.into(), ..File::default() }
}

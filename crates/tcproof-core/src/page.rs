//! Pages: the `//!` header of a limit's or rule's own file.

use alloc::string::String;

/// The header of a source file, without its markers.
pub(crate) fn of_source(source: &str) -> String {
    source.lines().map_while(|line| line.strip_prefix("//!")).fold(String::new(), |mut page, line| {
        page.push_str(line.strip_prefix(' ').unwrap_or(line));
        page.push('\n');
        page
    })
}

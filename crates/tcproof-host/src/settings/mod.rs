//! Files with settings: sysctl.d as boot reads it, and the places where people keep the same knobs now.

mod allow;
mod boot;
mod command;
mod machine;
mod named;
mod now;
mod pattern;
mod script;
mod shell;
mod sysctl;
mod template;
mod unit;
mod yaml;

pub use boot::{boot, boot_with};
pub use machine::machine;
pub use named::named;
pub(crate) use sysctl::swapped;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use tcproof_core::Absent;
use tcproof_core::lint::{File, Format};

use crate::Root;
use pattern::Pattern;

/// Patterns that are looked up on the machine; the table serves for more.
const MAX_WALKS: usize = 256;
/// The units that systemd reads from files of their own.
const UNITS: [&str; 12] = [
    "container",
    "service",
    "socket",
    "timer",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "slice",
    "scope",
    "device",
];
/// The first parts of sysctls' names: the directories of `/proc/sys`.
const TOPS: [&str; 11] = ["abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm", "xen"];

/// A file of the format that its path and text show; where they show none, what its name allows: YAML, prose with
/// commands, or the lines of `sysctl.conf`.
pub fn parse(path: &str, text: &str) -> File {
    match format(Path::new(path), text).unwrap_or_else(|| named_format(Path::new(path))) {
        Format::Sysctl => sysctl::parse(path, text),
        Format::Kubernetes | Format::Compose | Format::Ansible => yaml::parse(path, text),
        Format::Tuned | Format::Unit => unit::parse(path, text),
        Format::Script => script::parse(path, text),
    }
}

/// What a file that somebody named is taken for, though nothing shows that it is one of ours.
fn named_format(path: &Path) -> Format {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yml" | "yaml") => Format::Kubernetes,
        Some(extension) if script::PROSE.contains(&extension) => Format::Script,
        _ => Format::Sysctl,
    }
}

/// What a file is, by its name, and where that is not enough, by what stands in it. `None` when it is none of ours.
fn format(path: &Path, text: &str) -> Option<Format> {
    let path = &*template::filled_in(path);
    // Names need not be UTF-8.
    let lossy = |name: Option<&OsStr>| name.map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
    let (name, folder) = (&*lossy(path.file_name()), &*lossy(path.parent().and_then(Path::file_name)));
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_unit = |name: &str| name.rsplit('.').next().is_some_and(|kind| UNITS.contains(&kind));
    match extension {
        _ if name == "tuned.conf" => Some(Format::Tuned),
        _ if UNITS.contains(&extension) => Some(Format::Unit),
        // `nginx.service.d`, or `service.d` for all services.
        "conf" if folder.strip_suffix(".d").is_some_and(is_unit) => Some(Format::Unit),
        "yml" | "yaml" => of_yaml(text),
        "sh" | "bash" => Some(Format::Script),
        _ if [name, stem].iter().any(|part| matches!(*part, "Dockerfile" | "Containerfile")) => Some(Format::Script),
        "dockerfile" => Some(Format::Script),
        _ if is_shell(text) => Some(Format::Script),
        // Profiles that a package keeps elsewhere have other names than `tuned.conf`.
        "conf" | "" if has_section(text, "main") && has_section(text, "sysctl") => Some(Format::Tuned),
        "conf" if folder == "sysctl.d" || stem.contains("sysctl") || sets_anything(text) => Some(Format::Sysctl),
        _ => None,
    }
}

fn of_yaml(text: &str) -> Option<Format> {
    let has = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    // `sysctl:`, `ansible.posix.sysctl:`, `ansible.builtin.shell:` … behind the dash of a list or blanks.
    let is_task = |line: &str| {
        let key = line.trim_start_matches([' ', '\t', '-']).split(':').next().unwrap_or_default();
        matches!(key.rsplit('.').next(), Some("sysctl" | "shell" | "command" | "raw"))
    };
    match () {
        () if has("apiVersion") && has("kind") => Some(Format::Kubernetes),
        () if has("services") => Some(Format::Compose),
        () if text.lines().any(is_task) || text.lines().any(is_variable) => Some(Format::Ansible),
        () => None,
    }
}

/// Whether a line of YAML may give a sysctl a value: `net.core.somaxconn: 4096`, `- {name: net.core.somaxconn, …`.
fn is_variable(line: &str) -> bool {
    let key = |text: &str| text.trim_start_matches([' ', '\t', '-', '{', '"', '\'']).starts_with("net.");
    line.contains(':') && (key(line) || ["key:", "name:"].iter().any(|it| line.split(it).skip(1).any(key)))
}

fn is_shell(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let program =
        first.strip_prefix("#!").and_then(|rest| rest.split_whitespace().rfind(|word| !word.starts_with('-')));
    program.and_then(|program| program.rsplit('/').next()).is_some_and(|program| program.ends_with("sh"))
}

fn has_section(text: &str, name: &str) -> bool {
    let section = |line: &str| Some(line.trim().strip_prefix('[')?.split_once(']')?.0.trim().to_string());
    text.lines().filter_map(section).any(|section| section == name)
}

/// Whether any line sets a sysctl: not every `.conf` below a directory is a file of sysctls.
fn sets_anything(text: &str) -> bool {
    let sets = |line: &str| {
        let key = line.split_once('=')?.0.trim().trim_start_matches('-');
        let (top, _) = key.split_once(['.', '/'])?;
        Some(TOPS.contains(&top))
    };
    text.lines().any(|line| sets(line) == Some(true))
}

/// Whether a file that somebody named is about sysctls, well or badly: all of it is judged then, and of a file about
/// something else, which may name one or two of them, not a line.
fn is_about_sysctls(text: &str) -> bool {
    let names = |line: &str| {
        let first = line.trim_start_matches('-');
        let word = first.split(|c: char| c.is_whitespace() || "=:".contains(c)).next().unwrap_or_default();
        // Not `sysctl::parameters {`, which is Puppet's.
        let is_command = first.strip_prefix("sysctl ").is_some_and(|rest| rest.contains(['-', '=']));
        is_command || word.split_once(['.', '/']).is_some_and(|(top, _)| TOPS.contains(&top))
    };
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    lines().filter(|line| names(line)).count() >= lines().count().div_ceil(4)
}

/// Reads files until there is too much of them.
struct Budget {
    bytes: usize,
    settings: usize,
}

impl Budget {
    /// For a whole tree: more than anybody writes, less than any machine has memory.
    const TREE: Self = Self { bytes: 64 * 1024 * 1024, settings: 500_000 };

    /// What a file's bytes are as settings. The loaders read bytes, not characters, and so nothing is refused for a
    /// letter of another encoding in a comment; elsewhere no such line can be meant, and the file counts as not wholly
    /// read. With a NUL byte, where one loader ends the line and the other skips its rest, it is no text at all.
    fn file(&mut self, path: &str, bytes: Result<Vec<u8>, Absent>) -> File {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => return unread(path, why),
        };
        let Some(left) = self.bytes.checked_sub(bytes.len()) else {
            return unread(path, unparsable(path, None, "at most 64 MiB in all files together"));
        };
        self.bytes = left;
        let file = of_bytes(path, &bytes);
        let Some(left) = self.settings.checked_sub(file.settings.len()) else {
            return unread(path, unparsable(path, None, "at most 500 000 settings in all files together"));
        };
        self.settings = left;
        file
    }
}

fn of_bytes(path: &str, bytes: &[u8]) -> File {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
        return unread(path, unparsable(path, Some(line), "text, found a NUL byte"));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut file = parse(path, &text);
    let is_comment = |line: &[u8]| matches!(line.trim_ascii_start().first(), Some(b'#' | b';'));
    let mut lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    if let Some((_, line)) = lines.find(|(line, _)| std::str::from_utf8(line).is_err() && !is_comment(line)) {
        // Said once, not for each line of what may be no text at all.
        file.strays.clear();
        file.unread.get_or_insert(unparsable(path, Some(line), "UTF-8"));
    }
    file
}

fn unread(path: &str, why: Absent) -> File {
    let format = format(Path::new(path), "").unwrap_or_default();
    File { path: path.into(), format, unread: Some(why), ..File::default() }
}

fn unparsable(path: &str, line: Option<u32>, expected: &str) -> Absent {
    let place = line.map_or_else(|| path.into(), |line| format!("{path}:{line}"));
    Absent::Unparsable { place, expected: expected.into() }
}

/// On a live machine patterns meet what it has: its devices, not only what the table knows.
fn expand(files: &mut [File], root: &Root) {
    if !root.is_live() {
        return;
    }
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for setting in files.iter_mut().flat_map(|file| &mut file.settings) {
        if !setting.is_pattern || setting.value.is_none() {
            continue;
        }
        if !known.contains_key(&setting.key) {
            // Each may walk through all of `/proc/sys`.
            if known.len() == MAX_WALKS {
                continue;
            }
            known.insert(setting.key.clone(), Pattern::new(&setting.key).on_machine(root));
        }
        setting.keys.clone_from(&known[&setting.key]);
    }
}

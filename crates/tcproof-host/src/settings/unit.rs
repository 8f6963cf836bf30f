//! INI-like files: tuned profiles, and systemd units with their limits and commands.

use std::collections::BTreeMap;
use std::path::Path;

use tcproof_core::lint::{File, Format, Place, Stray};

use super::allow::{self, Comments};
use super::command::{Reader, Scope, limit_setting, setting};
use super::shell::{self, Dialect, Letter, Word};

/// What the name of a unit, or the folder of its drop-ins before `.d`, ends in; Podman's kinds are generators' units.
const UNITS: &[&str] = &["container", "mount", "pod", "scope", "service", "slice", "socket", "swap"];

/// What stands in a section of a tuned profile and is no setting of its plugin.
const TUNED_OPTIONS: &[&str] = &["devices", "drop", "enabled", "priority", "replace", "type"];

/// One line, or several that a `\` makes one.
struct Entry {
    section: String,
    key: Vec<Letter>,
    /// `None` where there is no `=`.
    value: Option<Vec<Letter>>,
}

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    let allows = allow::over_continued_lines(allow::allows(text, Comments::OwnLine), text);
    let mut file = File { path: path.into(), text: text.into(), allows, ..File::default() };
    let letters = shell::letters(text);
    if is_tuned(path, text) {
        file.format = Format::Tuned;
        tuned(&mut file, &entries(&letters, false));
    } else {
        file.format = Format::Unit;
        unit(&mut file, &entries(&letters, true));
    }
    file
}

fn is_tuned(path: &str, text: &str) -> bool {
    let path = Path::new(path);
    let is_unit = |it: &std::ffi::OsStr| it.to_str().is_some_and(|it| UNITS.contains(&it));
    let folder = path.parent().and_then(Path::file_stem);
    if path.extension().is_some_and(is_unit) || folder.and_then(|it| Path::new(it).extension()).is_some_and(is_unit) {
        return false;
    }
    path.file_name().is_some_and(|name| name == "tuned.conf") || text.lines().any(|line| line.trim() == "[sysctl]")
}

/// The entries of a text. In units a `\` at its end makes a line go on, and comments between such lines are left out.
fn entries(letters: &[Letter], joins: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut lines = letters.split(|letter| letter.c == '\n').map(shell::trim);
    while let Some(line) = lines.next() {
        if line.is_empty() || is_comment(line) {
            continue;
        }
        if let [Letter { c: '[', .. }, inner @ .., Letter { c: ']', .. }] = line {
            section = shell::text(inner);
            continue;
        }
        let mut whole = line.to_vec();
        while let Some(last) = whole.last_mut().filter(|last| joins && last.c == '\\') {
            last.c = ' ';
            match lines.by_ref().find(|next| !is_comment(next)) {
                Some(next) if !next.is_empty() => whole.extend(next),
                _ => break,
            }
        }
        let equals = whole.iter().position(|letter| letter.c == '=');
        let (key, value) = match equals {
            Some(equals) => (&whole[..equals], Some(shell::trim(&whole[equals + 1..]).to_vec())),
            None => (&whole[..], None),
        };
        entries.push(Entry { section: section.clone(), key: shell::trim(key).to_vec(), value });
    }
    entries
}

fn is_comment(line: &[Letter]) -> bool {
    matches!(line.first(), Some(Letter { c: '#' | ';', .. }))
}

fn tuned(file: &mut File, entries: &[Entry]) {
    // A section is called as its plugin is, or says which one it is for.
    let mut types = BTreeMap::new();
    for entry in entries.iter().filter(|entry| shell::text(&entry.key) == "type") {
        types.insert(&entry.section, shell::text(entry.value.as_deref().unwrap_or_default()));
    }
    for entry in entries {
        let plugin = types.get(&entry.section).unwrap_or(&entry.section);
        if plugin != "sysctl" || TUNED_OPTIONS.contains(&&*shell::text(&entry.key)) {
            continue;
        }
        let Some(value) = &entry.value else {
            let at = shell::span(&entry.key).unwrap_or_default();
            file.strays.push(Stray { at, expected: "key=value".into() });
            continue;
        };
        let value = without_quotes(without_comment(value));
        // `>4096` sets it only where it is less, `<4096` only where it is more: what will be set is not known here.
        let is_conditional = value.first().is_some_and(|letter| matches!(letter.c, '<' | '>'));
        let is_variable = value.iter().chain(&entry.key).any(|letter| letter.c == '$');
        if !is_conditional && !is_variable {
            file.settings.extend(setting(&entry.key, value, Scope { place: Place::Host, group: 0 }));
        }
    }
}

/// tuned takes ` #` for the start of a comment.
fn without_comment(value: &[Letter]) -> &[Letter] {
    let is_start = |pair: &[Letter]| pair[0].c.is_whitespace() && pair[1].c == '#';
    let end = value.windows(2).position(is_start).unwrap_or(value.len());
    shell::trim(&value[..end])
}

fn without_quotes(value: &[Letter]) -> &[Letter] {
    match value {
        [Letter { c: '"', .. }, inner @ .., Letter { c: '"', .. }] => shell::trim(inner),
        _ => value,
    }
}

fn unit(file: &mut File, entries: &[Entry]) {
    let is_set = |name: &str, values: &[&str]| {
        entries.iter().any(|entry| {
            let value = entry.value.as_deref().map(shell::text);
            shell::text(&entry.key) == name && value.is_some_and(|value| values.contains(&&*value))
        })
    };
    let has_own_network = is_set("PrivateNetwork", &["1", "yes", "y", "true", "t", "on"]);
    let place = match has_own_network {
        true => Place::Process { host_network: false, is_privileged: true },
        false => Place::Host,
    };
    let container = Scope { place: Place::Container { host_network: is_set("Network", &["host"]) }, group: 0 };
    let mut reader = Reader { file, groups: 0, is_prose: false };
    for entry in entries {
        let Some(value) = entry.value.as_deref().filter(|value| !value.is_empty()) else { continue };
        match (&*entry.section, &*shell::text(&entry.key)) {
            (_, "LimitNOFILE") => reader.file.settings.extend(limit_setting(&entry.key, value, 0)),
            ("Container" | "Pod", "Sysctl") => {
                for word in words(value).iter().filter(|word| word.is_literal) {
                    reader.assignment(&word.letters, container);
                }
            }
            ("Container" | "Pod", "Ulimit") => {
                let equals = value.iter().position(|letter| letter.c == '=').unwrap_or(value.len() - 1);
                if shell::text(&value[..equals]) == "nofile" {
                    reader.file.settings.extend(limit_setting(&value[..equals], &value[equals + 1..], 0));
                }
            }
            (_, key) if key.starts_with("Exec") => {
                reader.text(value, Dialect::Systemd, Scope { place, group: 0 });
            }
            _ => {}
        }
    }
}

/// The words of a value.
fn words(value: &[Letter]) -> Vec<Word> {
    shell::commands(value, Dialect::Systemd).commands.into_iter().flat_map(|simple| simple.words).collect()
}

#[cfg(test)]
mod tests;

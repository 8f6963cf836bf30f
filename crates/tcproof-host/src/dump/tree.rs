//! The files of a dump that somebody reads: those of a sosreport or of a copied `/proc` by their names, loose ones by what
//! is in them.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::kind::{Kind, known, loose};
use super::shown;

/// Bytes of one file.
pub(super) const MOST_OF_ONE: u64 = 64 << 20;
/// Bytes of all files together.
const MOST_OF_ALL: u64 = 256 << 20;
/// Bytes of a file below `/proc/sys`, of which there are many.
const MOST_OF_A_KNOB: u64 = 64 << 10;
/// Files that are kept.
const MOST_FILES: usize = 20_000;
/// Links that are kept.
pub(super) const MOST_LINKS: usize = 4_096;
/// Links that are followed on the way to one file: as many as the kernel follows.
const HOPS: usize = 40;
/// What is said of one dump.
const NOTES: usize = 20;

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// When it was written, since 1970.
    pub(super) modified: Duration,
}

/// A link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) to: String,
    /// A hard link, whose target is named from the top.
    pub(super) from_top: bool,
}

/// What a file is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Not at all.
    Nothing,
    /// By its name: this is the name without what is above it.
    Named(String),
    /// By what is in it.
    Loose(Kind),
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    named: BTreeMap<String, Text>,
    loose: Vec<(String, Kind, Text)>,
    /// What was named beside it.
    beside: Vec<(String, Kind, Text)>,
    links: BTreeMap<String, Link>,
    bytes: u64,
    is_sos: bool,
    /// What is to be said of it.
    pub(super) notes: Vec<String>,
}

impl Tree {
    pub(super) fn links(&self) -> usize {
        self.links.len()
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES {
            self.notes.push(note);
        }
    }

    /// What a file of that name is wanted for; `start` gives its first bytes.
    pub(super) fn wants(&mut self, name: &str, start: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Want> {
        let below = below(name);
        self.is_sos |= below.starts_with("sos_commands/") || below.starts_with("sos_logs/");
        if known(below) {
            return Ok(Want::Named(below.into()));
        }
        // A loose file may have any name, such as `netstat`.
        if self.is_sos || (below.contains('/') && is_of_a_host(below)) {
            return Ok(Want::Nothing);
        }
        Ok(loose(&start()?).map_or(Want::Nothing, Want::Loose))
    }

    /// Whether a file of that length may be kept.
    pub(super) fn room(&self, want: &Want, size: u64) -> Result<(), String> {
        let most = match want {
            Want::Named(name) if name.starts_with("proc/sys/") => MOST_OF_A_KNOB,
            _ => MOST_OF_ONE,
        };
        match () {
            () if size > most => Err(format!("expected at most {} KiB, found {} KiB", most >> 10, size >> 10)),
            () if self.bytes.saturating_add(size) > MOST_OF_ALL => {
                Err(format!("expected at most {} MiB in all", MOST_OF_ALL >> 20))
            }
            () if self.named.len() + self.loose.len() >= MOST_FILES => {
                Err(format!("expected at most {MOST_FILES} files"))
            }
            () => Ok(()),
        }
    }

    /// Keeps a file.
    pub(super) fn add(&mut self, name: &str, want: Want, text: Text) {
        self.bytes += text.bytes.len() as u64;
        match want {
            Want::Nothing => {}
            Want::Named(below) => {
                if let Some(old) = self.named.insert(below, text) {
                    self.bytes -= old.bytes.len() as u64;
                    self.note(format!("{}: there more than once: the last one is read", shown(name.as_bytes())));
                }
            }
            Want::Loose(kind) => self.loose.push((name.into(), kind, text)),
        }
    }

    /// Keeps a link, if it may lead to what is read: a sosreport has thousands of others.
    pub(super) fn link(&mut self, name: &str, link: Link) {
        let top = name.len() - below(name).len();
        if !below(name).starts_with("proc/") && !known(below(name)) {
            return;
        }
        let to = match link.to.get(..top) {
            // A hard link's target begins with the same folder.
            Some(same) if link.from_top && *same == name[..top] => link.to[top..].to_string(),
            _ => link.to,
        };
        self.links.insert(below(name).into(), Link { to, ..link });
    }

    /// Takes up what was named beside it.
    pub(super) fn complete(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.beside.append(&mut other.loose);
        self.notes.append(&mut other.notes);
    }

    /// Whether it is a sosreport.
    pub(super) fn is_sos(&self) -> bool {
        self.is_sos
    }

    /// The files that are there by name, with links followed, and what is wrong with links that were not.
    pub(super) fn files(&mut self) -> BTreeMap<String, Text> {
        let mut files = std::mem::take(&mut self.named);
        let wanted: Vec<String> = self.links.keys().cloned().collect();
        // `proc/net` is a link to `self/net`, and `proc/self` one to the process that collected it.
        for net in ["proc/net", "proc/self/net", "proc/thread-self/net"].iter().rev() {
            if let Ok(Some(real)) = self.resolve(net) {
                let moved: Vec<_> =
                    files.keys().filter(|name| name.starts_with(&format!("{real}/"))).cloned().collect();
                for name in moved {
                    let target = format!("proc/net{}", &name[real.len()..]);
                    if target != name
                        && let Some(text) = files.remove(&name)
                    {
                        files.entry(target).or_insert(text);
                    }
                }
            }
        }
        for name in wanted.iter().filter(|name| known(name)) {
            match self.resolve(name) {
                Ok(Some(real)) => {
                    if let Some(text) = files.get(&real).cloned() {
                        files.entry(name.clone()).or_insert(text);
                    }
                }
                Ok(None) => {}
                Err(why) => self.note(format!("{}: not read: {why}", shown(name.as_bytes()))),
            }
        }
        files
    }

    /// The files that are known by what is in them; none in a sosreport, whose logs may look like anything.
    pub(super) fn loose(&mut self) -> Vec<(String, Kind, Text)> {
        let inside = std::mem::take(&mut self.loose).into_iter().filter(|_| !self.is_sos);
        inside.chain(std::mem::take(&mut self.beside)).collect()
    }

    /// Where a name leads; nothing where it is no link and is below none.
    fn resolve(&self, name: &str) -> Result<Option<String>, String> {
        let mut left: Vec<String> = name.split('/').rev().map(String::from).collect();
        let mut real: Vec<String> = Vec::new();
        let mut hops = 0;
        while let Some(part) = left.pop() {
            match &*part {
                "" | "." => continue,
                ".." => {
                    if real.pop().is_none() {
                        return Err("expected a link inside the dump, found one that leads out of it".into());
                    }
                    continue;
                }
                _ => real.push(part),
            }
            let Some(link) = self.links.get(&real.join("/")) else { continue };
            hops += 1;
            if hops > HOPS {
                return Err(format!("expected a link to a file, found more than {HOPS} links in a row"));
            }
            if link.to.starts_with('/') {
                return Err("expected a link inside the dump, found one that leads out of it".into());
            }
            real.pop();
            if link.from_top {
                real.clear();
            }
            left.extend(link.to.split('/').rev().map(String::from));
        }
        Ok((hops > 0).then(|| real.join("/")))
    }
}

/// The name without the one folder at the top: `sosreport-host-2026-12-01-abcdefg/proc/stat`. A folder that is there on every
/// host is none.
pub(super) fn below(name: &str) -> &str {
    match name.split_once('/') {
        Some((_, rest)) if !known(name) && (known(rest) || is_of_a_host(rest)) && !is_of_a_host(name) => rest,
        _ => name,
    }
}

/// Whether the name is one of a sosreport, or of a host's root.
fn is_of_a_host(name: &str) -> bool {
    let top = name.split('/').next().unwrap_or_default();
    matches!(
        top,
        "proc"
            | "sys"
            | "sos_commands"
            | "sos_logs"
            | "sos_reports"
            | "sos_strings"
            | "etc"
            | "usr"
            | "var"
            | "lib"
            | "boot"
            | "run"
            | "root"
    ) || matches!(
        name,
        "date"
            | "hostname"
            | "uname"
            | "uptime"
            | "free"
            | "lsmod"
            | "lsof"
            | "ps"
            | "pstree"
            | "netstat"
            | "route"
            | "ip_addr"
    )
}

//! What boot loads: which files, by whom, in which order.

use std::collections::{BTreeMap, BTreeSet};

use tcproof_core::lint::{File, Load, Loader, Masked, Tree};
use tcproof_core::{Absent, Version};

use super::now::now;
use super::{Budget, expand, machine, parse, sysctl, unread};
use crate::Root;

/// Where drop-ins are looked for; a name in an earlier directory masks the same name in later ones. Where `/lib` is a
/// link to `/usr/lib`, both loaders see the same directory twice. procps before 3.3.17 took `/run` before `/etc`.
const DIRECTORIES: [&str; 5] = ["etc", "run", "usr/local/lib", "usr/lib", "lib"];
/// Either of these shows that there is `systemd-sysctl`.
const SYSTEMD: [&str; 4] = [
    "usr/lib/systemd/systemd-sysctl",
    "lib/systemd/systemd-sysctl",
    "usr/lib/systemd/system/systemd-sysctl.service",
    "lib/systemd/system/systemd-sysctl.service",
];
/// Either of these shows that somebody may run `sysctl --system`.
const PROCPS: [&str; 5] = ["usr/sbin/sysctl", "sbin/sysctl", "usr/bin/sysctl", "bin/sysctl", "etc/init.d/procps"];
/// What `sysctl --system` reads after all others; `systemd-sysctl` only where a drop-in links to it.
const SYSCTL_CONF: &str = "etc/sysctl.conf";
/// How the kernel's command line is called where files have paths.
const COMMAND_LINE: &str = "kernel command line";
/// More files than anybody writes.
const MAX_FILES: usize = 10_000;

/// Everything that boot loads from under a root, by `systemd-sysctl` and by `sysctl --system` of procps: those of the
/// two that are there.
///
/// A file that is read under several names is one file, under the path that it really has. In the order of a load it
/// stands where it is read for the last time, since that decides what its lines do.
pub fn boot(root: &Root) -> Tree {
    boot_with(root, None)
}

/// [`boot`], as if a file of `/etc/sysctl.d` had that name and text: what it would set, and what would go over it.
pub fn boot_with(root: &Root, file: Option<(&str, &str)>) -> Tree {
    let machine = machine(root);
    let mut reader = Reader { root, budget: Budget::TREE, files: Vec::new(), known: BTreeMap::new() };
    // Only the first line can be wanted; the kernel's own limit is 2048 to 4096 bytes.
    let command_line = root.read_lossy("proc/cmdline").ok().filter(|_| machine.kernel >= Version(5, 8));
    let command_line = command_line.map(|text| sysctl::command_line(COMMAND_LINE, text.trim_end()));
    reader.files.extend(command_line.filter(|file| !file.settings.is_empty() || !file.strays.is_empty()));
    let first: Vec<usize> = (0..reader.files.len()).collect();

    let mut drop_ins = DropIns::find(root, "sysctl.d");
    if let Some((name, text)) = file {
        let path = format!("{}/sysctl.d/{name}", DIRECTORIES[0]);
        let real = root.canonical(&path).unwrap_or_else(|| format!("/{path}"));
        reader.files.push(parse(&real, text));
        reader.known.insert(real, reader.files.len() - 1);
        drop_ins.chosen.insert(name.into(), path);
    }
    let names: Vec<(&str, Option<usize>)> =
        drop_ins.chosen.iter().map(|(name, path)| (name.as_str(), reader.index(path))).collect();
    let unlisted = drop_ins.unlisted.into_iter().map(|(path, why)| unread(&path, why));

    let is_there = |paths: &[&str]| paths.iter().any(|path| root.exists(path) && !is_busybox(root, path));
    let (has_systemd, has_procps) = (is_there(&SYSTEMD), is_there(&PROCPS));
    let mut loads = Vec::new();
    if has_systemd || !has_procps {
        // It skips names that begin with a dot.
        let drop_ins = names.iter().filter(|(name, _)| !name.starts_with('.')).filter_map(|(_, index)| *index);
        loads.push(Load { loader: Loader::Systemd, files: last_only(first.iter().copied().chain(drop_ins)) });
    }
    if has_procps {
        let drop_ins = names.iter().filter_map(|(_, index)| *index);
        let last = root.exists(SYSCTL_CONF).then(|| reader.index(SYSCTL_CONF)).flatten();
        let order = first.iter().copied().chain(drop_ins).chain(last);
        loads.push(Load { loader: Loader::Procps, files: last_only(order) });
    }
    let mut files = reader.files;
    files.extend(unlisted);
    expand(&mut files, root);
    let now = now(root, &files);
    Tree { files, loads, masked: drop_ins.masked, machine, now }
}

/// Reads each file once, whatever names it has.
struct Reader<'a> {
    root: &'a Root,
    budget: Budget,
    files: Vec<File>,
    /// Indices by path without links.
    known: BTreeMap<String, usize>,
}

impl Reader<'_> {
    /// The index of a file; `None` for `/dev/null` and for one too many.
    fn index(&mut self, path: &str) -> Option<usize> {
        if is_null(self.root, path) {
            return None;
        }
        let real = self.root.canonical(path).unwrap_or_else(|| format!("/{path}"));
        if let Some(index) = self.known.get(&real) {
            return Some(*index);
        }
        let file = match self.files.len() < MAX_FILES {
            true => self.budget.file(&real, read(self.root, path)),
            false if self.files.len() > MAX_FILES => return None,
            false => unread(&real, failed(&real, "it and what follows is beyond the first 10 000 files")),
        };
        self.files.push(file);
        self.known.insert(real, self.files.len() - 1);
        Some(self.files.len() - 1)
    }
}

/// Files of settings by name, in the order in which they are read.
pub(super) struct DropIns {
    /// The path of each name.
    pub(super) chosen: BTreeMap<String, String>,
    masked: Vec<Masked>,
    /// Directories that can't be listed.
    unlisted: Vec<(String, Absent)>,
}

impl DropIns {
    /// All `*.conf` in `/etc/sysctl.d` and the like. Nothing is asked of an entry but its name: also a directory or a
    /// link that leads nowhere masks what has the same name.
    pub(super) fn find(root: &Root, folder: &str) -> Self {
        let mut found = Self { chosen: BTreeMap::new(), masked: Vec::new(), unlisted: Vec::new() };
        let mut seen = BTreeSet::new();
        for parent in DIRECTORIES {
            let directory = format!("{parent}/{folder}");
            if !root.exists(&directory) || !seen.insert(root.canonical(&directory).unwrap_or(directory.clone())) {
                continue;
            }
            let mut names = match root.list_dir(&directory) {
                Ok(names) => names,
                Err(why) => {
                    found.unlisted.push((format!("/{directory}"), why));
                    continue;
                }
            };
            names.retain(|name| name.ends_with(".conf"));
            names.sort();
            for name in names {
                let path = format!("{directory}/{name}");
                match found.chosen.get(&name) {
                    None => {
                        found.chosen.insert(name, path);
                    }
                    // A link to the very file that it goes before masks nothing.
                    Some(by) if is_same(root, by, &path) => {}
                    Some(by) => found.masked.push(Masked { path: format!("/{path}"), by: format!("/{by}") }),
                }
            }
        }
        found
    }
}

/// A file's bytes, or a reason that fits files which no kernel writes.
fn read(root: &Root, path: &str) -> Result<Vec<u8>, Absent> {
    root.read_bytes(path).map_err(|why| match why {
        Absent::NotInKernel { what } | Absent::Failed { what, .. } if root.read_link(path).is_ok() => {
            failed(&what, "a link that leads nowhere")
        }
        Absent::NotInKernel { what } => failed(&what, "no such file"),
        other => other,
    })
}

fn failed(what: &str, error: &str) -> Absent {
    Absent::Failed { what: what.into(), error: error.into() }
}

/// Whether it is a link to `/dev/null`, which a directory that looks like a host need not have.
fn is_null(root: &Root, path: &str) -> bool {
    root.read_link(path).is_ok_and(|target| target == "/dev/null")
        || root.canonical(path).is_some_and(|real| real == "/dev/null")
}

fn is_same(root: &Root, one: &str, other: &str) -> bool {
    root.canonical(one).is_some_and(|one| Some(one) == root.canonical(other))
}

/// Whether it is busybox's, which knows no `--system`.
fn is_busybox(root: &Root, path: &str) -> bool {
    root.canonical(path).is_some_and(|real| real.rsplit('/').next().is_some_and(|name| name.starts_with("busybox")))
}

/// Each file only where it is read for the last time.
fn last_only(order: impl DoubleEndedIterator<Item = usize>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let mut last: Vec<usize> = order.rev().filter(|index| seen.insert(*index)).collect();
    last.reverse();
    last
}

//! Opens what was named: an archive, a folder, or files with the output of single commands.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::archive::{self, Bounds, Format};
use super::kind::{Kind, loose};
use super::snapshot;
use super::tree::{Link, MOST_LINKS, Text, Tree, Want};
use super::{Dump, Error, shown};

/// What a loose text is told by.
const START: u64 = 4096;
/// Entries of a folder that are looked at.
const MOST_ENTRIES: usize = 1 << 20;
/// Folders in each other: a sosreport has some ten.
const DEEPEST: usize = 24;

/// Whether it is a folder, an archive, or the output of a command that is read here.
pub fn is_dump(path: &Path) -> bool {
    if path.is_dir() {
        return true;
    }
    // A pipe is read once.
    let is_file = fs::metadata(path).is_ok_and(|meta| meta.is_file());
    is_file && start(path).is_ok_and(|start| Format::of(&start).is_some() || loose(&start).is_some())
}

/// Reads what was named. A folder or an archive is a dump. Files with the output of single commands complete the one that is
/// named with them, or are one dump together.
///
/// # Errors
/// The place, and what was expected there.
pub fn open(paths: &[PathBuf]) -> Result<Vec<Dump>, Error> {
    let mut trees: Vec<(String, Tree)> = Vec::new();
    let mut single: Option<(String, Tree)> = None;
    for path in paths {
        let name = shown(path.to_string_lossy().as_bytes());
        let failed = |error: std::io::Error| Error::new(name.clone(), error.to_string());
        if fs::metadata(path).map_err(failed)?.is_dir() {
            let mut tree = Tree::default();
            walk(&name, path, &mut tree)?;
            trees.push((name, tree));
            continue;
        }
        let start = start(path).map_err(failed)?;
        if let Some(format) = Format::of(&start) {
            let file = File::open(path).map_err(failed)?;
            trees.push((name.clone(), archive::read(&name, format, file, Bounds::default())?));
            continue;
        }
        let expected = "expected a recording, a sosreport (tar.xz, tar.gz, a folder), or the output of ss -peaonmi, nstat -az, \
                        netstat -s, sysctl -a or a file of /proc/net";
        let kind = loose(&start).ok_or_else(|| Error::new(name.clone(), expected))?;
        let (_, tree) = single.get_or_insert_with(|| (name.clone(), Tree::default()));
        add(tree, &name, path, Want::Loose(kind)).map_err(|why| Error::new(name, why))?;
    }
    match (&mut trees[..], single) {
        // What a sosreport lacks may have been asked for afterwards.
        ([(_, tree)], Some((_, single))) => tree.complete(single),
        ([], Some(single)) => trees.push(single),
        (_, None) => {}
        (_, Some((name, _))) => {
            let expected =
                "expected a folder for the files of each dump: which of the others it belongs to can't be told";
            return Err(Error::new(name, expected));
        }
    }
    trees.into_iter().map(|(name, mut tree)| snapshot::dump(name, &mut tree)).collect()
}

fn start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(START).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads the files of a folder that are wanted. Links are kept, not followed: where they lead is decided as in an archive.
fn walk(place: &str, top: &Path, tree: &mut Tree) -> Result<(), Error> {
    let mut left = vec![(top.to_path_buf(), String::new(), 0)];
    // Without order, what two files of one kind give would be chance.
    let mut found: Vec<(String, PathBuf, fs::FileType)> = Vec::new();
    while let Some((folder, prefix, depth)) = left.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(Error::new(place, error.to_string())),
            Err(error) => {
                tree.note(format!("{}: not read: {error}", shown(prefix.as_bytes())));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let (Ok(kind), name) = (entry.file_type(), entry.file_name()) else { continue };
            let name = format!("{prefix}{}", name.to_string_lossy());
            if found.len() >= MOST_ENTRIES {
                return Err(Error::new(place, format!("expected at most {MOST_ENTRIES} files")));
            }
            if kind.is_dir() && depth < DEEPEST {
                left.push((entry.path(), format!("{name}/"), depth + 1));
            } else {
                found.push((name, entry.path(), kind));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    // Whether it is a sosreport decides what loose texts are, wherever its folders come in the order.
    for (name, ..) in &found {
        let _ = tree.wants(name, || Ok(Vec::new()));
    }
    for (name, path, kind) in found {
        if kind.is_symlink() && tree.links() < MOST_LINKS {
            let to = fs::read_link(&path).map(|to| to.to_string_lossy().into_owned()).unwrap_or_default();
            tree.link(&name, Link { to, from_top: false });
        }
        if !kind.is_file() {
            continue;
        }
        let want = match tree.wants(&name, || start(&path)) {
            Ok(Want::Nothing) => continue,
            Ok(want) => want,
            Err(error) => {
                tree.note(format!("{}: not read: {error}", shown(name.as_bytes())));
                continue;
            }
        };
        if let Err(why) = add(tree, &name, &path, want) {
            tree.note(format!("{}: not read: {why}", shown(name.as_bytes())));
        }
    }
    Ok(())
}

fn add(tree: &mut Tree, name: &str, path: &Path, want: Want) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    // Files of procfs itself have no length, so what was read counts too.
    tree.room(&want, meta.len())?;
    let mut bytes = Vec::new();
    file.rewind().map_err(|error| error.to_string())?;
    file.take(super::tree::MOST_OF_ONE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    tree.room(&want, bytes.len() as u64)?;
    let modified = meta.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    tree.add(name, want, Text { bytes, modified: modified.unwrap_or(Duration::ZERO) });
    Ok(())
}

/// What two texts of one kind are called.
pub(super) fn called(kind: Kind) -> &'static str {
    match kind {
        Kind::Ss => "ss",
        Kind::Nstat => "nstat",
        Kind::Netstat => "netstat -s",
        Kind::NetstatSockets => "netstat -an",
        Kind::Sysctl => "sysctl -a",
        Kind::Proc(name) => name,
        Kind::Uptime => "uptime",
        Kind::Date => "date",
        Kind::Uname => "uname -a",
    }
}

//! What the command line named.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tcproof_core::Absent;
use tcproof_core::lint::{File, Format, Load, Loader, Tree};

use super::{Budget, expand, format, is_about_sysctls, machine, named_format, template, unparsable, unread};
use crate::Root;

/// As for any file of a root.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Files of settings are not nested deeper.
const DEPTH: usize = 32;
/// Entries of directories that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// What the command line named: files, and directories with everything in them that is known.
///
/// Sysctl files hold together as if one directory held them, and are read by name, as boot does. The paths are this
/// process's own; only the machine is that of the root.
pub fn named(paths: &[PathBuf], root: &Root) -> Tree {
    let mut walk = Walk { entries: MAX_ENTRIES, budget: Budget::TREE, seen: BTreeSet::new(), files: Vec::new() };
    for path in paths {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => walk.directory(path, 0),
            _ => walk.file(path, true),
        }
    }
    let (names, mut files): (Vec<OsString>, Vec<File>) = walk.files.into_iter().unzip();
    expand(&mut files, root);
    let (mut order, others): (Vec<usize>, Vec<usize>) =
        (0..files.len()).partition(|index| files[*index].format == Format::Sysctl);
    // The sort is stable: of one name, the file that was named first goes first.
    order.sort_by_key(|index| &names[*index]);
    let together = (!order.is_empty()).then_some(Load { loader: Loader::Named, files: order });
    let alone = others.into_iter().map(|index| Load { loader: Loader::Alone, files: vec![index] });
    let loads = together.into_iter().chain(alone).collect();
    Tree { files, loads, masked: Vec::new(), machine: machine(root), now: None }
}

/// The way through directories.
struct Walk {
    entries: usize,
    budget: Budget,
    /// Devices and inodes of files: a link or a second name shows the same file only once.
    seen: BTreeSet<(u64, u64)>,
    /// With the names that they are loaded by.
    files: Vec<(OsString, File)>,
}

impl Walk {
    /// Below a directory links to other directories are not followed, so that there is an end, and what is hidden stays
    /// so (`.git`).
    fn directory(&mut self, path: &Path, depth: usize) {
        let listed = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return self.add(path, unread(&path.to_string_lossy(), why(path, &error))),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Some(left) = self.entries.checked_sub(1) else {
                let why = unparsable(&path.to_string_lossy(), None, "at most 100 000 entries");
                return self.add(path, unread(&path.to_string_lossy(), why));
            };
            self.entries = left;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH => self.directory(&entry.path(), depth + 1),
                Ok(kind) if kind.is_dir() => {
                    let shown = entry.path().to_string_lossy().into_owned();
                    self.add(&entry.path(), unread(&shown, unparsable(&shown, None, "at most 32 directories deep")));
                }
                _ => self.file(&entry.path(), false),
            }
        }
    }

    /// A file; one that nobody named only if it is known.
    fn file(&mut self, path: &Path, is_named: bool) {
        // How a unit is masked, and a file of a package.
        if !is_named && fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null")) {
            return;
        }
        let shown = path.to_string_lossy();
        let bytes = match open(path) {
            Ok((file, meta)) => {
                if !self.seen.insert((meta.dev(), meta.ino()))
                    || !(is_named || has_known_name(path) || is_script(path, &file))
                {
                    return;
                }
                read(path, file)
            }
            Err(why) => Err(why),
        };
        // What can't be read is worth a word where its name says that it may be one of ours.
        let is_known = match &bytes {
            Ok(bytes) if !bytes.contains(&0) => format(path, &String::from_utf8_lossy(bytes)).is_some(),
            _ => has_known_name(path),
        };
        if !is_named && !is_known {
            return;
        }
        let is_else = |text: &str| !is_known && named_format(path) == Format::Sysctl && !is_about_sysctls(text);
        let mut file = match bytes {
            Ok(bytes) if !bytes.contains(&0) && is_else(&String::from_utf8_lossy(&bytes)) => {
                unread(&shown, unparsable(&shown, None, "settings such as net.core.somaxconn = 4096"))
            }
            bytes => self.budget.file(&shown, bytes),
        };
        template::leave_out(&mut file);
        self.add(path, file);
    }

    fn add(&mut self, path: &Path, file: File) {
        self.files.push((path.file_name().unwrap_or_default().into(), file));
    }
}

/// Whether a name says what a file is, or at least that it may be one of ours.
fn has_known_name(path: &Path) -> bool {
    let path = template::filled_in(path);
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("conf" | "yml" | "yaml")) || format(&path, "").is_some()
}

/// Whether it begins as a script does; only asked where a name tells nothing.
fn is_script(path: &Path, file: &fs::File) -> bool {
    let mut start = [0; 2];
    path.extension().is_none() && file.read_exact_at(&mut start, 0).is_ok() && start == *b"#!"
}

/// Opens a regular file. Anything else is not even opened: a FIFO would wait, a device might do something.
fn open(path: &Path) -> Result<(fs::File, fs::Metadata), Absent> {
    let open = || {
        let kind = fs::metadata(path)?.file_type();
        if !kind.is_file() {
            return Ok(Err("a regular file"));
        }
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        Ok(Ok((file, meta)))
    };
    match open() {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(expected)) => Err(unparsable(&path.to_string_lossy(), None, expected)),
        Err(error) => Err(why(path, &error)),
    }
}

fn read(path: &Path, file: fs::File) -> Result<Vec<u8>, Absent> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| why(path, &error))?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(unparsable(&path.to_string_lossy(), None, "at most 16 MiB")),
        false => Ok(bytes),
    }
}

fn why(path: &Path, error: &std::io::Error) -> Absent {
    let what = path.to_string_lossy().into_owned();
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Absent::Permission { what, needs: "root".into() },
        std::io::ErrorKind::NotFound => Absent::Failed { what, error: "no such file".into() },
        _ => Absent::Failed { what, error: error.to_string() },
    }
}

//! Replaces a file so that at every instant either the old or the new text stands there, and keeps the old one beside it.

use std::fs::{self, File, Metadata, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Backups beside one file; a person is asked to tidy up before there are more.
const MAX_BACKUPS: u32 = 99;
/// A file of settings has a few lines.
const MOST_BYTES: u64 = 4 << 20;

/// Why a file was not replaced; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a file that can be replaced without losing something.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The system refused a step.
    #[error("{}: {step}: {error}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// The system's answer.
        error: std::io::Error,
    },
}

/// Replaces a file's text, and returns the path of the backup. A link is followed: its target is replaced.
///
/// # Errors
/// Refused where the file is not regular, has other names (hard links), is not UTF-8, no longer holds `old`, or has too
/// many backups; failed where the system says so. In both cases the file is as it was.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<PathBuf, Error> {
    let path = &fs::canonicalize(path).map_err(|error| failed(path, "looking for it", error))?;
    let refused = |why| Err(Error::Refused { path: path.clone(), why });
    let metadata = fs::metadata(path).map_err(|error| failed(path, "looking at it", error))?;
    let bytes = bytes(path)?.unwrap_or_default();
    if std::str::from_utf8(&bytes).is_err() {
        return refused("not all of it is UTF-8: some of its bytes would be lost");
    }
    if bytes != old.as_bytes() {
        return refused("it was changed meanwhile");
    }
    let temporary = beside(path, new.as_bytes(), Some(&metadata))?;
    let backup = back_up(path)?;
    let put = temporary.persist(path);
    put.map_err(|error| failed(path, "putting the new one in its place", error.error))?;
    sync_folder(path)?;
    Ok(backup)
}

/// Makes a file, or replaces its bytes, without a backup: for a file of which every byte that is not ours is kept.
///
/// # Errors
/// Refused where it is not a regular file or no longer holds `old`, failed where the system says so.
pub fn put(path: &Path, old: Option<&[u8]>, new: &[u8]) -> Result<(), Error> {
    let metadata = match old {
        None => None,
        Some(_) => Some(fs::symlink_metadata(path).map_err(|error| failed(path, "looking at it", error))?),
    };
    let temporary = beside(path, new, metadata.as_ref())?;
    still_holds(path, old)?;
    let put = match old {
        // A file that came meanwhile is somebody's.
        None => temporary.persist_noclobber(path),
        Some(_) => temporary.persist(path),
    };
    put.map_err(|error| failed(path, "putting the new one in its place", error.error))?;
    sync_folder(path)
}

/// Removes a file for good.
///
/// # Errors
/// As of [`put`].
pub(crate) fn remove(path: &Path, old: &[u8]) -> Result<(), Error> {
    still_holds(path, Some(old))?;
    fs::remove_file(path).map_err(|error| failed(path, "removing it", error))?;
    sync_folder(path)
}

/// The bytes of a file that is to be replaced; `None` where there is none.
///
/// # Errors
/// Refused where it is something else than a regular file, or far too long.
pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let refused = |why| Err(Error::Refused { path: path.into(), why });
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "looking at it", error)),
    };
    match () {
        () if !metadata.is_file() => refused("not a regular file"),
        () if metadata.nlink() > 1 => refused("it has other names (hard links), which would keep the old text"),
        () if metadata.len() > MOST_BYTES => refused("it has more than 4 MiB"),
        () => fs::read(path).map(Some).map_err(|error| failed(path, "reading it", error)),
    }
}

fn still_holds(path: &Path, old: Option<&[u8]>) -> Result<(), Error> {
    match bytes(path)?.as_deref() == old {
        true => Ok(()),
        false => Err(Error::Refused { path: path.into(), why: "it was changed meanwhile" }),
    }
}

/// The new bytes in a file beside it, on the disk; with the old one's owner and mode, or for all to read.
fn beside(path: &Path, new: &[u8], old: Option<&Metadata>) -> Result<NamedTempFile, Error> {
    let folder = folder_of(path);
    let write = || {
        let mut temporary = tempfile::Builder::new().prefix(".tcproof-").tempfile_in(folder)?;
        let file = temporary.as_file_mut();
        file.write_all(new)?;
        file.set_permissions(old.map_or_else(|| Permissions::from_mode(0o644), Metadata::permissions))?;
        if let Some(old) = old {
            // Only root may give a file away; whoever else can replace it has it as their own afterwards.
            let (uid, gid) = (rustix::fs::Uid::from_raw(old.uid()), rustix::fs::Gid::from_raw(old.gid()));
            if old.uid() != rustix::process::geteuid().as_raw() || old.gid() != rustix::process::getegid().as_raw() {
                rustix::fs::fchown(&*file, Some(uid), Some(gid))?;
            }
        }
        file.sync_all()?;
        Ok(temporary)
    };
    write().map_err(|error| failed(path, "writing beside it", error))
}

/// `x.toml` stands in `.`.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Without this the old name may come back after a loss of power.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = folder_of(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(path, "syncing its folder", error))
}

/// Gives the old file a second name: nothing is copied, so nothing can be lost.
fn back_up(path: &Path) -> Result<PathBuf, Error> {
    for number in 0..MAX_BACKUPS {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".bak".to_string() } else { format!(".bak{number}") });
        let backup = PathBuf::from(name);
        match fs::hard_link(path, &backup) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(path, "keeping a backup", error)),
        }
    }
    Err(Error::Refused { path: path.into(), why: "it has 99 backups beside it" })
}

fn failed(path: &Path, step: &'static str, error: std::io::Error) -> Error {
    Error::Failed { path: path.into(), step, error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_text_stays_beside_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("90-x.conf");
        fs::write(&file, "old\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.conf");
        symlink("90-x.conf", &link).unwrap();
        let backup = replace(&link, "old\n", "new\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(fs::read_to_string(&backup).unwrap(), "old\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        replace(&file, "new\n", "newer\n").unwrap();
        assert_eq!(names(folder.path()), ["90-x.conf", "90-x.conf.bak", "90-x.conf.bak1", "link.conf"]);
    }

    #[test]
    fn what_would_lose_something_is_refused_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.conf");
        fs::write(&file, "changed\n").unwrap();
        assert!(matches!(replace(&file, "old\n", "new\n"), Err(Error::Refused { .. })));
        fs::hard_link(&file, folder.path().join("y.conf")).unwrap();
        assert!(matches!(replace(&file, "changed\n", "new\n"), Err(Error::Refused { .. })));
        assert!(matches!(replace(folder.path(), "", "new\n"), Err(Error::Refused { .. })));
        assert!(matches!(replace(&folder.path().join("none"), "", "new\n"), Err(Error::Failed { .. })));
        assert_eq!(names(folder.path()), ["x.conf", "y.conf"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "changed\n");
    }
}

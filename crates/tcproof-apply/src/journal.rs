//! The journal on disk: a file per apply, a line per record, each with its checksum, each durable before what it announces.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tcproof_core::journal::{Entry, Open, Record};

/// A journal has a handful of records; what is longer was not written by tcproof.
const MAX_BYTES: u64 = 4 << 20;
const ENDING: &str = ".journal";

/// Why the journal could not be used. Nothing has been changed by the call that says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a step.
    #[error("{}: {step}: {error}", path.display())]
    Failed {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// The system's answer.
        error: std::io::Error,
    },
    /// Another apply, confirm or rollback is at work.
    #[error("another tcproof is changing this host right now")]
    Busy,
    /// What is in the file makes no sense.
    #[error("{}: {why}", path.display())]
    Spoilt {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// Its name is taken.
    #[error("the plan {id} was applied before (tcproof journal {id}): make a new plan")]
    Known {
        /// The plan's id.
        id: String,
    },
    /// There is no such journal.
    #[error("there is no change {id:?} in the journal")]
    NoSuch {
        /// What was asked for.
        id: String,
    },
}

/// The folder of the journals.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Held while something is changed; two can't be.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it is what unlocks")] File);

impl Store {
    /// In that folder, which is made when something is written.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Keeps everybody else from changing anything.
    ///
    /// # Errors
    /// Somebody else does, or the folder can't be made.
    pub fn lock(&self) -> Result<Lock, Error> {
        // Journals name users and programs: nobody else's business.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => self.no_folder(),
            _ => failed(&self.folder, "making it", error),
        })?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(&path, "opening it", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy),
            Err(errno) => Err(failed(&path, "locking it", errno.into())),
        }
    }

    /// Begins a journal. When it returns, its first record is on the disk, and so is its name.
    ///
    /// # Errors
    /// There is one of that id, or the disk refuses.
    pub fn create(&self, _lock: &Lock, open: &Open) -> Result<Writer, Error> {
        let path = self.path(&open.id)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::Known { id: open.id.clone() },
            _ => failed(&path, "making it", error),
        });
        let mut writer = Writer { file: file?, path };
        let begun = writer.append(&Record::Open(open.clone())).and_then(|()| {
            let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(|error| failed(&self.folder, "syncing it", error))
        });
        if let Err(error) = begun {
            // Nothing is changed after this; left behind, it would wait for a confirmation for ever.
            let _ = fs::remove_file(&writer.path);
            return Err(error);
        }
        Ok(writer)
    }

    /// Goes on with a journal, behind its last good line.
    ///
    /// # Errors
    /// There is none, or the disk refuses.
    pub fn append(&self, _lock: &Lock, id: &str) -> Result<Writer, Error> {
        let path = self.path(id)?;
        let text = self.text(id)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| failed(&path, "opening it", error))?;
        let mut writer = Writer { file, path };
        // A line that was cut off gets its end, so that the next record begins a line of its own.
        if !text.is_empty() && !text.ends_with('\n') {
            writer.write(b"\n")?;
        }
        Ok(writer)
    }

    /// Reads a journal; `None` where its first record never became durable: then nothing was changed. Lines that were cut
    /// off or spoilt are passed over: the first one alone says how to take everything back.
    ///
    /// # Errors
    /// There is none, it can't be read, or it makes no sense.
    pub fn read(&self, id: &str) -> Result<Option<Entry>, Error> {
        let text = self.text(id)?;
        let spoilt = |why: String| self.path(id).map_or_else(|error| error, |path| Error::Spoilt { path, why });
        let mut lines = text.split_inclusive('\n');
        let first = match lines.next() {
            None => return Ok(None),
            Some(line) => parse(line),
        };
        match first {
            Some(open @ Record::Open(_)) => {
                let records: Vec<_> = std::iter::once(open).chain(lines.filter_map(parse)).collect();
                Entry::of(&records).map_err(spoilt)
            }
            // Cut off in the midst of its first record, which is written before anything is changed.
            None if !text.contains('\n') => Ok(None),
            _ => Err(spoilt("line 1: expected the record that opens it, which says how to take all back".into())),
        }
    }

    /// The ids of all journals, the oldest first, whatever the clock said. One that can't be read may be the newest.
    ///
    /// # Errors
    /// The folder can't be listed. That there is none is no error.
    pub fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(self.no_folder()),
            Err(error) => return Err(failed(&self.folder, "listing it", error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter_map(|name| Some(name.strip_suffix(ENDING)?.to_string()));
        let mut ids: Vec<_> = ids.map(|id| (self.number(&id).unwrap_or(u64::MAX), id)).collect();
        // Those without a number have ids that begin with the time.
        ids.sort();
        Ok(ids.into_iter().map(|(_, id)| id).collect())
    }

    /// The number of a journal that comes behind all others.
    ///
    /// # Errors
    /// The folder can't be listed.
    pub fn next_number(&self, _lock: &Lock) -> Result<u64, Error> {
        let newest = self.ids()?.iter().filter_map(|id| self.number(id)).max();
        Ok(newest.unwrap_or(0).saturating_add(1))
    }

    /// Its place among all: none where it can't be read, which keeps none of the others from being put in order.
    fn number(&self, id: &str) -> Option<u64> {
        let text = self.text(id).ok()?;
        match text.split_inclusive('\n').next().map(parse) {
            Some(Some(Record::Open(open))) => Some(open.number),
            // Never begun.
            None => Some(0),
            Some(None) if !text.contains('\n') => Some(0),
            Some(_) => None,
        }
    }

    /// The newest one that still waits to be confirmed or taken back.
    ///
    /// # Errors
    /// None is found, and a journal can't be read: it may be that one.
    pub fn pending(&self) -> Result<Option<String>, Error> {
        let mut unread = None;
        for id in self.ids()?.into_iter().rev() {
            match self.read(&id) {
                Ok(Some(entry)) if entry.is_pending() => return Ok(Some(id)),
                Ok(_) => {}
                // No reason to leave one that does wait as it is.
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        unread.map_or(Ok(None), Err)
    }

    fn no_folder(&self) -> Error {
        Error::Spoilt { path: self.folder.clone(), why: "expected a folder, for the journal".into() }
    }

    fn path(&self, id: &str) -> Result<PathBuf, Error> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match !id.is_empty() && id.len() <= 64 && id.chars().all(is_name) {
            true => Ok(self.folder.join(format!("{id}{ENDING}"))),
            false => Err(Error::NoSuch { id: id.into() }),
        }
    }

    fn text(&self, id: &str) -> Result<String, Error> {
        let path = self.path(id)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NoSuch { id: id.into() }),
            Err(error) => return Err(failed(&path, "opening it", error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(|error| failed(&path, "reading it", error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    /// Adds a record. When it returns, it is on the disk.
    ///
    /// # Errors
    /// The disk refuses: then what it announces must not be done.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let json = serde_json::to_string(record).map_err(|error| failed(&self.path, "writing to it", error.into()))?;
        self.write(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| failed(&self.path, "writing to it", error))
    }
}

/// A record, where the line is whole.
fn parse(line: &str) -> Option<Record> {
    let (sum, json) = line.strip_suffix('\n')?.split_once(' ')?;
    let is_whole = u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(json.as_bytes());
    serde_json::from_str(json).ok().filter(|_| is_whole)
}

fn failed(path: &Path, step: &'static str, error: std::io::Error) -> Error {
    Error::Failed { path: path.into(), step, error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]
mod tests {
    use super::*;
    use tcproof_core::journal::{Outcome, VERSION};

    fn open(id: &str) -> Open {
        Open {
            version: VERSION,
            id: id.into(),
            number: 0,
            at: "2026-11-20T19:00:00Z".into(),
            user: "root".into(),
            boot_id: "b".into(),
            reasons: Vec::new(),
            steps: Vec::new(),
            persist: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_newest_pending_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("a/b"));
        assert!(store.ids().unwrap().is_empty() && store.pending().unwrap().is_none());
        let lock = store.lock().unwrap();
        for id in ["2", "1", "3"] {
            store.create(&lock, &open(id)).unwrap();
        }
        assert!(store.create(&lock, &open("2")).is_err(), "never twice");
        assert_eq!(store.ids().unwrap(), ["1", "2", "3"]);
        let closed = Record::Closed { at: "now".into(), outcome: Outcome::Confirmed, why: "by root".into() };
        store.append(&lock, "3").unwrap().append(&closed).unwrap();
        assert_eq!(store.pending().unwrap().as_deref(), Some("2"));
    }

    #[test]
    fn the_order_is_that_of_the_numbers_and_those_without_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let lock = store.lock().unwrap();
        assert_eq!(store.next_number(&lock).unwrap(), 1);
        for id in ["20261130T090000-a", "20261130T100000-b"] {
            store.create(&lock, &open(id)).unwrap();
        }
        // The clock has lost a year, and then ten.
        for id in ["20251130T090000-c", "20161130T090000-d"] {
            store.create(&lock, &Open { number: store.next_number(&lock).unwrap(), ..open(id) }).unwrap();
        }
        let order = ["20261130T090000-a", "20261130T100000-b", "20251130T090000-c", "20161130T090000-d"];
        assert_eq!(store.ids().unwrap(), order);
        assert_eq!(store.pending().unwrap().as_deref(), Some(order[3]));
        // What never was begun was nothing; what can't be read may be the newest, and is nobody's number.
        fs::write(folder.path().join("9-torn.journal"), "0000").unwrap();
        fs::write(folder.path().join("0-spoilt.journal"), "00000000 {}\n").unwrap();
        let ids = store.ids().unwrap();
        assert_eq!((&*ids[2], &*ids[5]), ("9-torn", "0-spoilt"));
        assert_eq!(store.next_number(&lock).unwrap(), 3);
        assert_eq!(store.pending().unwrap().as_deref(), Some(order[3]), "whatever else can't be read");
        store.create(&lock, &Open { number: u64::MAX, ..open("m") }).unwrap();
        assert_eq!(store.next_number(&lock).unwrap(), u64::MAX);
    }

    #[test]
    fn journals_of_an_older_and_for_an_older_program() {
        let json = serde_json::to_string(&Record::Open(open("x"))).unwrap();
        assert!(!json.contains("number"), "as before it had one: {json}");
        assert!(matches!(serde_json::from_str(&json).unwrap(), Record::Open(read) if read == open("x")));
        // An older program passes over what it does not know, as this one does.
        let newer = json.replacen("{", "{\"colour\":\"red\",", 1);
        assert!(matches!(serde_json::from_str(&newer).unwrap(), Record::Open(read) if read == open("x")));
    }

    #[test]
    fn two_cannot_change_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let lock = store.lock().unwrap();
        assert!(matches!(store.lock(), Err(Error::Busy)));
        drop(lock);
        assert!(store.lock().is_ok());
    }

    #[test]
    fn a_name_never_leads_elsewhere() {
        let store = Store::at("/nonexistent");
        for id in ["", "../x", "a/b", "a.b", "\u{1b}", &"x".repeat(65)] {
            assert!(matches!(store.read(id), Err(Error::NoSuch { .. })), "{id:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let lock = store.lock().unwrap();
        let mut writer = store.create(&lock, &open("x")).unwrap();
        writer.append(&Record::Waiting { until_ms: 7 }).unwrap();
        let path = folder.path().join("x.journal");
        let whole = fs::read_to_string(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let first = whole.find('\n').unwrap();
            match store.read("x").unwrap() {
                None => assert!(cut <= first, "{cut}"),
                Some(entry) => assert!(cut > first && entry.until_ms.is_none() && entry.is_pending(), "{cut}"),
            }
        }
        fs::write(&path, whole.replacen('b', "c", 1)).unwrap();
        assert!(matches!(store.read("x"), Err(Error::Spoilt { .. })), "the record that says how to take back");
        // A cut line gets its end before the next record.
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        store.append(&lock, "x").unwrap().append(&Record::Waiting { until_ms: 9 }).unwrap();
        assert_eq!(store.read("x").unwrap().unwrap().until_ms, Some(9));
        let newer = Open { version: VERSION + 1, ..open("y") };
        store.create(&lock, &newer).unwrap();
        assert!(store.read("y").unwrap_err().to_string().contains("version"));
    }
}

//! The directory under which `proc` lies: the live host's, or one that looks like a host (fixture, support bundle).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use tcproof_core::Absent;

use crate::Error;

/// No file the kernel writes comes near this; a hostile directory may hold anything.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// What the first read asks for. Most files of `/proc/sys` answer one read only: a second one, at an offset, is empty.
const FIRST_READ: usize = 64 * 1024;
/// So a knob is asked with more and more room until it does not fill it. Little at first: the kernel zeroes as much memory as
/// it is asked for (`proc_sys_call_handler`), and knobs are most of what is read.
const KNOB_READS: [usize; 3] = [1024, FIRST_READ, 1024 * 1024];
/// `PID_MAX_LIMIT`: the kernel gives out no more process ids, and no directory that is listed has more entries.
const MAX_ENTRIES: usize = 4 * 1024 * 1024;

/// A host's root directory. Paths are relative to it: `proc/net/netstat`.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
    live: bool,
    /// The files themselves, where they come from an archive: then nothing is opened.
    texts: Option<Arc<Texts>>,
}

/// Files by their path below the root.
pub(crate) type Texts = BTreeMap<String, Vec<u8>>;

impl Root {
    /// `/` for the live host, or a directory with a `proc` in it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let live = path == Path::new("/") || has_procfs(&path);
        Self { path, live, texts: None }
    }

    /// Files that were read already.
    pub(crate) fn of_texts(texts: Texts) -> Self {
        Self { path: PathBuf::new(), live: false, texts: Some(Arc::new(texts)) }
    }

    /// [`Root::new`] of a directory that has a `proc`.
    ///
    /// # Errors
    /// What is there instead.
    pub fn with_proc(path: &Path) -> Result<Self, Error> {
        let root = Self::new(path);
        let why = match root.open("proc", OFlags::PATH) {
            Ok(_) => return Ok(root),
            Err(_) if !path.exists() => "there is no such directory".into(),
            Err(Errno::NOENT | Errno::NOTDIR) => "there is no directory proc in it".into(),
            Err(errno) => errno.to_string(),
        };
        Err(Error::BadRoot { path: path.into(), why })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a kernel answers: the root is `/`, or its `proc` is a mounted procfs (a container that sees its host).
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where a file of `/proc/net` is read. On a live host that is in the network namespace of the thread that reads,
    /// while `/proc/net`, a link to `self/net`, is the one of the process's first thread.
    pub fn net_path(&self, name: &str) -> String {
        if self.live { format!("proc/thread-self/net/{name}") } else { format!("proc/net/{name}") }
    }

    /// A file's text.
    ///
    /// # Errors
    /// Why there is none: see [`Root::read_into`].
    pub fn read(&self, path: &str) -> Result<String, Absent> {
        let mut text = String::new();
        self.read_into(path, &mut text)?;
        Ok(text)
    }

    /// A file's text, into a buffer that is used again and again. After an error the buffer is empty.
    ///
    /// # Errors
    /// Not there, not allowed, gone meanwhile, longer than 16 MiB, not a regular file, not UTF-8, or in a directory that
    /// no kernel stands behind, cut off.
    pub fn read_into(&self, path: &str, text: &mut String) -> Result<(), Absent> {
        let mut bytes = std::mem::take(text).into_bytes();
        self.fill(path, &mut bytes)?;
        *text = String::from_utf8(bytes).map_err(|error| {
            let byte = error.utf8_error().valid_up_to();
            Absent::Unparsable { place: format!("{}:byte {byte}", shown(path)), expected: "UTF-8".into() }
        })?;
        // All such files end in a newline. In a copy that was cut off, the last number may be a small part of the true
        // one: a limit of 9 where there were 92 233.
        if !self.live && !text.ends_with('\n') {
            text.clear();
            return Err(Absent::Unparsable {
                place: shown(path),
                expected: "a newline at its end: it is cut off".into(),
            });
        }
        Ok(())
    }

    /// A file's bytes, for files that carry names which need not be UTF-8. A process's name is cut after 15 bytes, in
    /// the midst of a character if need be, and stands in its `stat`, `status` and `comm`.
    ///
    /// # Errors
    /// As [`Root::read_into`], but any bytes are welcome.
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>, Absent> {
        let mut bytes = Vec::new();
        self.fill(path, &mut bytes)?;
        Ok(bytes)
    }

    /// [`Root::read_bytes`] as text, with `U+FFFD` for what is not UTF-8: for a process's `stat`, `comm` and `cmdline`,
    /// and for `net/dev`, since a device's name may be any bytes too.
    ///
    /// # Errors
    /// As [`Root::read_bytes`].
    pub fn read_lossy(&self, path: &str) -> Result<String, Absent> {
        let bytes = self.read_bytes(path)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// What a symbolic link says, such as `net:[4026531840]`.
    ///
    /// # Errors
    /// Not there, not a link, not allowed (another user's `/proc/PID/ns`), gone meanwhile, or not UTF-8.
    pub fn read_link(&self, path: &str) -> Result<String, Absent> {
        let link = self.open(path, OFlags::PATH | OFlags::NOFOLLOW);
        // The empty path stands for the link that was opened.
        let target = link.and_then(|link| rustix::fs::readlinkat(link, c"", Vec::new()));
        let target = target.map_err(|errno| self.why(path, errno))?;
        target
            .into_string()
            .map_err(|_| Absent::Unparsable { place: shown(path), expected: "a link to a name in UTF-8".into() })
    }

    /// Whether there is anything at that path, readable or not.
    pub fn exists(&self, path: &str) -> bool {
        self.text(path).is_some() || self.open(path, OFlags::PATH).is_ok()
    }

    /// The names in a directory, without `.` and `..`, in the kernel's order. Names are lossy where they are not UTF-8.
    ///
    /// # Errors
    /// Not there, not a directory, not allowed, gone meanwhile, or more than 4 Mi entries.
    pub fn list_dir(&self, path: &str) -> Result<Vec<String>, Absent> {
        let dir = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY).and_then(Dir::new);
        let dir = dir.map_err(|errno| self.why(path, errno))?;
        let mut names = Vec::new();
        for entry in dir {
            let entry = entry.map_err(|errno| self.why(path, errno))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if names.len() == MAX_ENTRIES {
                return Err(Absent::Unparsable { place: shown(path), expected: "at most 4 Mi entries".into() });
            }
            names.push(name.to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// The path without links, as it is on the host itself; `None` where nothing is there, or `/proc` does not tell.
    pub fn canonical(&self, path: &str) -> Option<String> {
        let real = |file: &OwnedFd| {
            let link = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()).ok()?;
            link.into_string().ok()
        };
        let file = real(&self.open(path, OFlags::PATH).ok()?)?;
        let root = real(&self.open_root().ok()?)?;
        let inside = file.strip_prefix(root.trim_end_matches('/'))?;
        inside.starts_with('/').then(|| inside.to_string())
    }

    fn fill(&self, path: &str, bytes: &mut Vec<u8>) -> Result<(), Absent> {
        bytes.clear();
        if let Some(text) = self.text(path) {
            if text.len() > MAX_BYTES {
                return Err(Absent::Unparsable { place: shown(path), expected: "at most 16 MiB".into() });
            }
            bytes.extend_from_slice(text);
            return Ok(());
        }
        let file = self.open_file(path)?;
        for room in KNOB_READS.iter().filter(|_| self.is_knob(path)) {
            bytes.resize(*room, 0);
            let read = rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut *bytes, 0));
            bytes.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(read) if read < *room => return Ok(()),
                Ok(_) => {}
                Err(errno) => return Err(self.why(path, errno)),
            }
        }
        bytes.clear();
        bytes.reserve(FIRST_READ);
        loop {
            match rustix::io::read(&file, spare_capacity(bytes)) {
                Ok(0) => return Ok(()),
                Ok(_) if bytes.len() > MAX_BYTES => {
                    return Err(Absent::Unparsable { place: shown(path), expected: "at most 16 MiB".into() });
                }
                // So that a long file takes few reads.
                Ok(_) if bytes.capacity() - bytes.len() < FIRST_READ / 2 => bytes.reserve(FIRST_READ),
                Ok(_) => {}
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.why(path, errno)),
            }
        }
    }

    /// A file of any length, in pieces that are cut anywhere: for tables that grow with the traffic.
    ///
    /// # Errors
    /// As [`Root::read_bytes`] but for the length, or what `each` answers.
    pub fn read_pieces(&self, path: &str, mut each: impl FnMut(&[u8]) -> Result<(), Absent>) -> Result<(), Absent> {
        if let Some(text) = self.text(path) {
            return each(text);
        }
        let file = self.open_file(path)?;
        let mut piece = vec![0; FIRST_READ];
        loop {
            match rustix::io::read(&file, &mut *piece) {
                Ok(0) => return Ok(()),
                Ok(read) => each(&piece[..read])?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.why(path, errno)),
            }
        }
    }

    fn text(&self, path: &str) -> Option<&[u8]> {
        self.texts.as_ref()?.get(path.trim_start_matches('/')).map(Vec::as_slice)
    }

    fn open_file(&self, path: &str) -> Result<OwnedFd, Absent> {
        // Opening a device may do something (rewind, arm a watchdog), so look at it before. procfs holds none.
        if !self.is_kernels(path) {
            let file = self.open(path, OFlags::PATH).map_err(|errno| self.why(path, errno))?;
            self.regular(path, &file)?;
        }
        // NONBLOCK: opening a FIFO must not wait for its writer.
        let file = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
        let file = file.map_err(|errno| self.why(path, errno))?;
        self.regular(path, &file)?;
        Ok(file)
    }

    fn regular(&self, path: &str, file: impl AsFd) -> Result<(), Absent> {
        let stat = rustix::fs::fstat(file).map_err(|errno| self.why(path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(());
        }
        Err(Absent::Unparsable { place: shown(path), expected: "a regular file".into() })
    }

    /// Whether a live kernel made the file, which is then trusted.
    fn is_kernels(&self, path: &str) -> bool {
        self.live && matches!(path.trim_start_matches('/').split('/').next(), Some("proc" | "sys"))
    }

    /// Whether the kernel tells all of it in one answer.
    fn is_knob(&self, path: &str) -> bool {
        self.is_kernels(path) && path.trim_start_matches('/').starts_with("proc/sys/")
    }

    fn open_root(&self) -> Result<OwnedFd, Errno> {
        rustix::fs::open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// In any directory but `/` links are followed as if it were `/`, so that none leads out of it (openat2, since 5.6).
    /// Only a live kernel's own files are trusted.
    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.texts.is_some() {
            return Err(Errno::NOENT);
        }
        let flags = flags | OFlags::CLOEXEC;
        let path = path.trim_start_matches('/');
        if self.is_kernels(path) || self.path == Path::new("/") {
            return rustix::fs::open(self.path.join(path), flags, Mode::empty());
        }
        rustix::fs::openat2(self.open_root()?, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    fn why(&self, path: &str, errno: Errno) -> Absent {
        let what = shown(path);
        match errno {
            Errno::NOENT | Errno::NOTDIR if self.process_ended(path) => Absent::Gone { what },
            Errno::NOENT if self.texts.is_some() => Absent::Failed { what, error: "not in this dump".into() },
            // Whoever filled the directory left it out; the kernel it was taken from may well have it.
            Errno::NOENT | Errno::NOTDIR if !self.live => {
                Absent::Failed { what, error: "not in this directory".into() }
            }
            Errno::NOENT | Errno::NOTDIR => Absent::NotInKernel { what },
            Errno::ACCESS | Errno::PERM => Absent::Permission { what, needs: "root".into() },
            Errno::SRCH => Absent::Gone { what },
            other => Absent::Failed { what, error: other.to_string() },
        }
    }

    /// Whether the path is a process's and the process is no more: then it is not the kernel that lacks the file.
    fn process_ended(&self, path: &str) -> bool {
        let mut parts = path.trim_start_matches('/').split('/');
        match (parts.next(), parts.next()) {
            (Some("proc"), Some(pid)) if self.live && pid.parse::<u32>().is_ok() => {
                !self.exists(&format!("proc/{pid}"))
            }
            _ => false,
        }
    }
}

/// A link to the real `/proc` doesn't count: a support bundle must not speak for the host it is read on.
fn has_procfs(root: &Path) -> bool {
    let proc = root.join("proc");
    proc.symlink_metadata().is_ok_and(|meta| meta.is_dir())
        && rustix::fs::statfs(&proc).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// How a path is named in an error: as it is on the host itself.
fn shown(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use tempfile::TempDir;

    fn directory() -> (TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn reads_a_file_again_and_again() {
        let (dir, root) = directory();
        let long = "x".repeat(3 * FIRST_READ) + "\n";
        fs::write(dir.path().join("proc/long"), &long).unwrap();
        fs::write(dir.path().join("proc/short"), "1\n").unwrap();
        let mut text = "left over".to_string();
        for _ in 0..2 {
            root.read_into("proc/long", &mut text).unwrap();
            assert!(text == long);
            root.read_into("/proc/short", &mut text).unwrap();
            assert_eq!(text, "1\n");
        }
        assert!(root.exists("proc/short") && !root.exists("proc/none"));
        let mut names = root.list_dir("proc").unwrap();
        names.sort();
        assert_eq!(names, ["long", "net", "short"]);
    }

    #[test]
    fn says_why_there_is_no_text() {
        let (dir, root) = directory();
        fs::write(dir.path().join("proc/binary"), b"ok\xff\xfe").unwrap();
        // Sparse: a terabyte that takes no room.
        fs::File::create(dir.path().join("proc/enormous")).unwrap().set_len(1 << 40).unwrap();
        fs::write(dir.path().join("proc/most"), vec![b'\n'; MAX_BYTES]).unwrap();
        fs::write(dir.path().join("proc/cut"), "2466\t0\t9").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("proc/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(dir.path().join("proc/socket")).unwrap();

        let mut text = "left over".to_string();
        let mut why = |path| {
            let why = root.read_into(path, &mut text).unwrap_err();
            assert_eq!(text, "");
            why.to_string()
        };
        insta::assert_snapshot!([
            why("proc/net/netstat"),
            why("proc/binary/below"),
            why("proc/binary"),
            why("proc/enormous"),
            why("proc/cut"),
            why("proc/fifo"),
            why("proc/socket"),
            why("proc/net"),
        ].join("\n"), @r"
        /proc/net/netstat: not in this directory
        /proc/binary/below: not in this directory
        /proc/binary:byte 2: expected UTF-8
        /proc/enormous: expected at most 16 MiB
        /proc/cut: expected a newline at its end: it is cut off
        /proc/fifo: expected a regular file
        /proc/socket: expected a regular file
        /proc/net: expected a regular file
        ");
        assert_eq!(root.read("proc/most").unwrap().len(), MAX_BYTES);
        assert_eq!(root.read_lossy("proc/binary").unwrap(), "ok\u{fffd}\u{fffd}");
        assert!(matches!(root.list_dir("proc/binary"), Err(Absent::Failed { .. })));
    }

    #[test]
    fn no_link_leads_out_of_a_directory() {
        let (dir, root) = directory();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let depth = "../".repeat(32);
        symlink(outside.path(), dir.path().join("proc/absolute")).unwrap();
        symlink(format!("{depth}{}", outside.path().display()), dir.path().join("proc/relative")).unwrap();
        symlink("loop", dir.path().join("proc/loop")).unwrap();
        symlink("net:[4026531840]", dir.path().join("proc/ns")).unwrap();
        for path in ["proc/absolute", "proc/relative", &format!("{depth}{}", outside.path().display())] {
            assert!(root.read(path).unwrap_err().to_string().ends_with("not in this directory"), "{path}");
        }
        assert!(matches!(root.read("proc/loop"), Err(Absent::Failed { .. })));
        assert_eq!(root.read_link("proc/ns").unwrap(), "net:[4026531840]");
        assert!(root.read_link("proc/net").is_err());
        assert_eq!(root.canonical("proc/absolute"), None);
    }

    #[test]
    fn a_path_without_links_is_the_hosts_own() {
        let (dir, root) = directory();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/file"), "").unwrap();
        symlink("/etc/file", dir.path().join("proc/link")).unwrap();
        symlink("loop", dir.path().join("proc/loop")).unwrap();
        assert_eq!(root.canonical("proc/link").unwrap(), "/etc/file");
        assert_eq!(root.canonical("/proc/net/../link").unwrap(), "/etc/file");
        assert_eq!(root.canonical("proc/loop"), None);
        assert_eq!(root.canonical("proc/none"), None);
        assert_eq!(Root::new("/").canonical("proc/self/../sys").unwrap(), "/proc/sys");
    }

    #[test]
    fn a_directory_does_not_speak_for_the_live_host() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/proc", dir.path().join("proc")).unwrap();
        let root = Root::new(dir.path());
        assert!(!root.is_live());
        assert_eq!(root.net_path("netstat"), "proc/net/netstat");
        assert!(root.read("proc/stat").is_err());
    }

    #[test]
    fn the_live_host() {
        let root = Root::new("/");
        assert!(root.is_live());
        assert!(root.read(&root.net_path("netstat")).unwrap().starts_with("TcpExt: "));
        // Answers one read only: a short first one would cut it.
        assert!(root.read("proc/sys/net/ipv4/tcp_rmem").unwrap().ends_with('\n'));
        let id = std::process::id();
        assert!(root.read_link(&format!("proc/{id}/ns/net")).unwrap().starts_with("net:["));
        assert!(root.list_dir("proc").unwrap().contains(&id.to_string()));
        assert!(matches!(root.read(&format!("proc/{id}/none")), Err(Absent::NotInKernel { .. })));
        // Beyond PID_MAX_LIMIT: never a process.
        assert!(matches!(root.read("proc/4194305/stat"), Err(Absent::Gone { .. })));
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let root = Root::new("/");
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let file = fs::File::open(format!("/proc/{}/stat", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Open before it ended, read after: ESRCH.
        let errno = rustix::io::read(&file, &mut [0u8; 16][..]).unwrap_err();
        assert!(matches!(root.why("proc/1/stat", errno), Absent::Gone { .. }));
        assert!(matches!(root.read(&format!("proc/{}/stat", child.id())), Err(Absent::Gone { .. })));
    }

    #[test]
    fn what_is_not_allowed_names_root() {
        let root = Root::new("/");
        let wanted = Absent::Permission { what: "/proc/1/ns/net".into(), needs: "root".into() };
        assert_eq!(root.why("proc/1/ns/net", Errno::ACCESS), wanted);
        assert_eq!(root.why("proc/1/ns/net", Errno::PERM), wanted);
    }
}

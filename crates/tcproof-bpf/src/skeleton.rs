//! Light skeletons: programs that come with a program of their own, which creates their maps, fits them to the running
//! kernel's types and loads them, all inside the kernel. So nothing here parses an object file or the kernel's types.
//!
//! A skeleton is loaded whole or not at all: what may fail alone is a skeleton of its own. `cargo xtask bpf` makes them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::refused::{Place, Refused, Step, refusal};
use crate::sys;

/// Too small a buffer makes an error of its own (ENOSPC), at an earlier step than the one that failed.
const LOG_BYTES: usize = 1 << 20;

/// What `cargo xtask bpf` made of one program file.
#[derive(Debug)]
pub struct Skeleton {
    /// The file's name.
    pub name: &'static str,
    pub(crate) data: &'static [u8],
    pub(crate) insns: &'static [u8],
    pub(crate) maps: &'static [&'static str],
    pub(crate) programs: &'static [&'static str],
}

/// A skeleton in the kernel, until it is dropped; also when the process is killed, for its descriptors are all that
/// holds it.
#[derive(Debug)]
pub struct Loaded {
    skeleton: &'static Skeleton,
    maps: Vec<OwnedFd>,
    programs: Vec<OwnedFd>,
}

struct Failure {
    step: Step,
    error: std::io::Error,
}

impl Skeleton {
    /// Loads it, quietly; on failure once more with a log, so that the reason has the verifier's words.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn load(&'static self) -> Result<Loaded, Refused> {
        let mut failure = match self.attempt(&mut []) {
            Ok(loaded) => return Ok(loaded),
            Err(failure) => failure,
        };
        let mut log = Vec::new();
        if matches!(failure.step, Step::Loader | Step::Programs) {
            log = vec![0; LOG_BYTES];
            match self.attempt(&mut log) {
                Ok(loaded) => return Ok(loaded),
                // The log did not hold it all: the first error is the real one, and what there is of the log is kept.
                Err(again) if again.error.raw_os_error() == Some(libc::ENOSPC) => {}
                Err(again) => failure = again,
            }
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..end]).into_owned();
        Err(refusal(self.name, failure.step, failure.error.raw_os_error().unwrap_or(0), log, &Place::here()))
    }

    /// Copies that must fail to load: one whose loader is cut short, and one whose data is. For tests of what failures leave
    /// behind; the copies live as long as the process.
    #[doc(hidden)]
    #[must_use]
    pub fn broken(&self) -> [&'static Self; 2] {
        let copy = |data, insns| -> &'static Self { Box::leak(Box::new(Self { data, insns, ..*self })) };
        // The last instruction is the loader's return.
        let cut = &self.insns[..self.insns.len() - 8];
        // The programs, their types and their relocations: all but the loader's own places for results.
        let mut scrambled = self.data.to_vec();
        let from = scrambled.len() / 2;
        scrambled[from..].fill(0xff);
        [copy(self.data, cut), copy(Vec::leak(scrambled), self.insns)]
    }

    /// A copy that asks for a name that no kernel has, wherever it asks for this one: so the kernel of another program's types looks
    /// to it. For tests, as [`Skeleton::broken`]; nothing where it does not ask for that.
    #[doc(hidden)]
    #[must_use]
    pub fn foreign(&self, name: &str) -> Option<&'static Self> {
        let mut data = self.data.to_vec();
        let all = data.windows(name.len()).enumerate().filter(|(_, window)| *window == name.as_bytes());
        let places: Vec<usize> = all.map(|(at, _)| at).collect();
        for at in &places {
            // Its last letter.
            data[at + name.len() - 1] = b'Q';
        }
        (!places.is_empty()).then(|| -> &'static Self { Box::leak(Box::new(Self { data: Vec::leak(data), ..*self })) })
    }

    fn attempt(&'static self, log: &mut [u8]) -> Result<Loaded, Failure> {
        let at = |step| move |error| Failure { step, error };
        let map = sys::loader_map(self.data).map_err(at(Step::Map))?;
        let program = sys::loader_program(self.insns, map.as_fd(), log).map_err(at(Step::Loader))?;
        // What the verifier said of the loader itself is not what fails later.
        log.fill(0);
        let made = sys::run_loader(program.as_fd(), self.maps.len(), self.programs.len(), log);
        let made = made.map_err(at(Step::Run))?.map_err(at(Step::Programs))?;
        Ok(Loaded { skeleton: self, maps: made.maps, programs: made.programs })
    }
}

impl Loaded {
    /// A program's descriptor.
    pub(crate) fn program(&self, name: &'static str) -> Result<BorrowedFd<'_>, Refused> {
        self.find(self.skeleton.programs, &self.programs, name)
    }

    /// A map's descriptor.
    pub(crate) fn map(&self, name: &'static str) -> Result<BorrowedFd<'_>, Refused> {
        self.find(self.skeleton.maps, &self.maps, name)
    }

    fn find<'a>(&self, names: &[&str], fds: &'a [OwnedFd], name: &'static str) -> Result<BorrowedFd<'a>, Refused> {
        let index = names.iter().position(|other| *other == name);
        let fd = index.and_then(|index| fds.get(index)).map(AsFd::as_fd);
        fd.ok_or_else(|| Refused::failed(format!("the eBPF program `{}`", self.skeleton.name), format!("no {name}")))
    }
}

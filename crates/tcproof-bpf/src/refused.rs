//! Why there is no eBPF here: an ordinary state, in words, never a panic.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};
use tcproof_core::Absent;

/// What loading needs; `CAP_SYS_ADMIN` includes both.
pub const NEEDS: &str = "CAP_BPF and CAP_PERFMON, or root";
/// Where the kernel's types are; without them no program can be fitted to it.
const BTF: &str = "/sys/kernel/btf/vmlinux";
const FILTER: &str = "a seccomp filter, most likely: this process runs under one";

/// Why a program does not run. `Display` says it in words; [`Refused::log`] has the verifier's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The process lacks a capability.
    Permission,
    /// It has the capabilities, and something else forbids bpf(2).
    Forbidden {
        /// What, as far as it can be told.
        by: String,
    },
    /// The kernel has no bpf(2).
    NoSyscall,
    /// The kernel is too old.
    TooOld {
        /// What it lacks.
        what: &'static str,
        /// Since when kernels have it.
        since: &'static str,
    },
    /// The kernel was built without its types.
    NoTypes,
    /// A type, tracepoint or function that the program needs is not in this kernel.
    Missing {
        /// The skeleton.
        skeleton: &'static str,
        /// The verifier's words.
        log: String,
    },
    /// The verifier or the kernel refused a program.
    Rejected {
        /// The skeleton.
        skeleton: &'static str,
        /// The error's text.
        error: String,
        /// The verifier's words.
        log: String,
    },
    /// Something else failed, such as memory or descriptors.
    Failed {
        /// What was done.
        what: String,
        /// The error's text.
        error: String,
    },
}

impl Refused {
    pub(crate) fn failed(what: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::Failed { what: what.into(), error: error.to_string() }
    }

    /// Whether it would refuse any program.
    pub(crate) fn is_general(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Rejected { .. } | Self::Failed { .. })
    }

    /// What the verifier said, for people who want to know it all; empty where it said nothing.
    #[must_use]
    pub fn log(&self) -> &str {
        match self {
            Self::Missing { log, .. } | Self::Rejected { log, .. } => log,
            _ => "",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission => write!(f, "no permission to load eBPF programs: needs {NEEDS}"),
            Self::Forbidden { by } => write!(f, "eBPF is forbidden here by {by}"),
            Self::NoSyscall => {
                f.write_str("bpf(2) does not exist here: not in this kernel, or hidden by a seccomp filter")
            }
            Self::TooOld { what, since } => write!(f, "this kernel has no {what}: needs Linux {since}"),
            Self::NoTypes => write!(f, "this kernel has no description of its types ({BTF})"),
            Self::Missing { skeleton, .. } => {
                write!(f, "this kernel lacks a type, function or tracepoint that the eBPF program `{skeleton}` needs")
            }
            Self::Rejected { skeleton, error, .. } => {
                write!(f, "the kernel refused the eBPF program `{skeleton}`: {error}")
            }
            Self::Failed { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Absent {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Permission => Self::Permission { what: "eBPF programs".into(), needs: NEEDS.into() },
            Refused::NoSyscall => Self::not_in_kernel("bpf(2)"),
            Refused::TooOld { what, .. } => Self::not_in_kernel(what),
            Refused::NoTypes => Self::not_in_kernel(BTF),
            Refused::Missing { skeleton, .. } => {
                Self::not_in_kernel(format!("type, function or tracepoint of the eBPF program `{skeleton}`"))
            }
            Refused::Failed { what, error } => Self::Failed { what, error },
            Refused::Forbidden { .. } | Refused::Rejected { .. } => {
                Self::Failed { what: "loading eBPF programs".into(), error: refused.to_string() }
            }
        }
    }
}

/// A call of a function 0xbad2310 stands where a field is used that this kernel's type does not have (`bpf_core_patch_insn`).
const NO_FIELD: &str = "unknown#195896080";

/// Which step of loading failed. Each has errors that mean something else at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Creating and filling the loader's map: the first call of bpf(2).
    Map,
    /// The verifier's look at the loader itself.
    Loader,
    /// Running it.
    Run,
    /// Its own result: it loads the programs.
    Programs,
}

/// What this process and this kernel are, looked at only after a failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// It has the capabilities that it needs.
    pub(crate) is_capable: bool,
    pub(crate) has_types: bool,
    /// It runs under a filter of system calls.
    pub(crate) is_filtered: bool,
    /// Its capabilities are those of a user namespace, which count for nothing in bpf(2).
    pub(crate) is_in_user_namespace: bool,
    /// Lockdown's mode, where it is on.
    pub(crate) lockdown: Option<String>,
}

impl Place {
    pub(crate) fn here() -> Self {
        let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let wanted = CapabilitySet::BPF | CapabilitySet::PERFMON;
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        let users = fs::read_to_string("/proc/thread-self/uid_map").unwrap_or_default();
        Self {
            is_capable: effective.contains(wanted) || effective.contains(CapabilitySet::SYS_ADMIN),
            has_types: Path::new(BTF).exists(),
            is_filtered: is_filtered(&status),
            // The initial one maps all there are.
            is_in_user_namespace: !users.is_empty() && !users.split_whitespace().eq(["0", "0", "4294967295"]),
            lockdown: lockdown_mode(&lockdown),
        }
    }

    /// Whether nothing may read the kernel's memory, root included.
    fn is_locked(&self) -> bool {
        self.lockdown.as_deref() == Some("confidentiality")
    }

    /// Who forbids what the capabilities allow.
    fn forbids(&self) -> String {
        if self.is_in_user_namespace {
            return "the user namespace: only capabilities of the initial one count".into();
        }
        match &self.lockdown {
            Some(mode) if self.is_locked() => format!("kernel lockdown ({mode})"),
            _ if self.is_filtered => FILTER.into(),
            Some(mode) => format!("a security module, or kernel lockdown ({mode})"),
            None => "a security module".into(),
        }
    }
}

fn is_filtered(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// `none [integrity] confidentiality`
fn lockdown_mode(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    (mode != "none").then(|| mode.to_owned())
}

/// Words for an error of a step.
pub(crate) fn refusal(skeleton: &'static str, step: Step, errno: i32, log: String, place: &Place) -> Refused {
    let error = std::io::Error::from_raw_os_error(errno).to_string();
    match (step, errno) {
        // Some filters play an older kernel.
        (_, libc::ENOSYS) if place.is_filtered => Refused::Forbidden { by: FILTER.into() },
        (_, libc::ENOSYS) => Refused::NoSyscall,
        // One that lacks CAP_PERFMON alone gets EINVAL for a helper or EACCES for a pointer, not EPERM.
        (_, libc::EPERM | libc::EACCES) if !place.is_capable => Refused::Permission,
        (Step::Loader | Step::Programs, libc::EINVAL) if !place.is_capable => Refused::Permission,
        (Step::Map | Step::Loader | Step::Run, libc::EPERM | libc::EACCES) => {
            Refused::Forbidden { by: place.forbids() }
        }
        // To the verifier the helpers that read the kernel's memory are not there then, which the loader needs as well.
        (Step::Loader | Step::Programs, libc::EPERM | libc::EINVAL) if place.is_locked() => {
            Refused::Forbidden { by: place.forbids() }
        }
        // The loader is always the same to the verifier: what refuses it does not know its type.
        (Step::Loader, libc::EINVAL | libc::E2BIG) => {
            Refused::TooOld { what: "loading of eBPF programs by a program", since: "5.17" }
        }
        (Step::Programs, libc::E2BIG) if log.is_empty() => {
            Refused::TooOld { what: "relocation of eBPF programs in the kernel", since: "5.17" }
        }
        (Step::Programs, _) if !place.has_types => Refused::NoTypes,
        (Step::Programs, libc::ENOENT | libc::ESRCH) => Refused::Missing { skeleton, log },
        (Step::Programs, libc::EINVAL) if log.contains(NO_FIELD) => Refused::Missing { skeleton, log },
        // With words of the verifier it is its doing, whatever the number: one that gives up says ENOMEM or E2BIG.
        (Step::Programs, libc::EPERM | libc::EACCES | libc::EINVAL) => Refused::Rejected { skeleton, error, log },
        (Step::Programs, _) if !log.is_empty() => Refused::Rejected { skeleton, error, log },
        _ => Refused::failed(format!("loading the eBPF program `{skeleton}`"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capable() -> Place {
        Place { is_capable: true, has_types: true, ..Place::default() }
    }

    fn words(step: Step, errno: i32, place: &Place) -> String {
        refusal("walk", step, errno, String::new(), place).to_string()
    }

    #[test]
    fn each_refusal_has_words() {
        let nobody = Place { has_types: true, ..Place::default() };
        let needs = "no permission to load eBPF programs: needs CAP_BPF and CAP_PERFMON, or root";
        assert_eq!(words(Step::Map, libc::EPERM, &nobody), needs);
        // CAP_BPF without CAP_PERFMON: measured on 6.18.
        assert_eq!(words(Step::Programs, libc::EINVAL, &nobody), needs);
        assert_eq!(words(Step::Programs, libc::EACCES, &nobody), needs);

        let here = capable();
        assert_eq!(words(Step::Map, libc::EPERM, &here), "eBPF is forbidden here by a security module");
        let filtered = Place { is_filtered: true, ..capable() };
        assert_eq!(
            words(Step::Map, libc::EPERM, &filtered),
            "eBPF is forbidden here by a seccomp filter, most likely: this process runs under one"
        );
        assert_eq!(words(Step::Map, libc::ENOSYS, &filtered), words(Step::Map, libc::EPERM, &filtered));
        let locked = Place { lockdown: Some("confidentiality".into()), ..capable() };
        let lockdown = "eBPF is forbidden here by kernel lockdown (confidentiality)";
        assert_eq!(words(Step::Programs, libc::EPERM, &locked), lockdown);
        // Measured on 6.1 and 6.12.
        assert_eq!(words(Step::Loader, libc::EINVAL, &locked), lockdown);
        let inner = Place { is_in_user_namespace: true, ..capable() };
        assert_eq!(
            words(Step::Map, libc::EPERM, &inner),
            "eBPF is forbidden here by the user namespace: only capabilities of the initial one count"
        );
        assert_eq!(
            words(Step::Map, libc::ENOSYS, &here),
            "bpf(2) does not exist here: not in this kernel, or hidden by a seccomp filter"
        );
        // 5.10, where the loader is E2BIG; 5.14 to 5.16, where what it loads is.
        assert_eq!(
            words(Step::Loader, libc::E2BIG, &here),
            "this kernel has no loading of eBPF programs by a program: needs Linux 5.17"
        );
        assert_eq!(
            words(Step::Programs, libc::E2BIG, &here),
            "this kernel has no relocation of eBPF programs in the kernel: needs Linux 5.17"
        );
        let bare = Place { has_types: false, ..capable() };
        assert_eq!(
            words(Step::Programs, libc::ENOENT, &bare),
            "this kernel has no description of its types (/sys/kernel/btf/vmlinux)"
        );
        assert_eq!(
            words(Step::Programs, libc::ENOENT, &here),
            "this kernel lacks a type, function or tracepoint that the eBPF program `walk` needs"
        );
        assert_eq!(
            words(Step::Programs, libc::EACCES, &here),
            "the kernel refused the eBPF program `walk`: Permission denied (os error 13)"
        );
        assert_eq!(
            words(Step::Map, libc::ENOMEM, &here),
            "loading the eBPF program `walk`: Cannot allocate memory (os error 12)"
        );
    }

    #[test]
    fn the_verifiers_words_are_kept() {
        let refused = refusal("walk", Step::Programs, libc::EACCES, "R0 !read_ok".into(), &capable());
        assert_eq!(refused.log(), "R0 !read_ok");
    }

    #[test]
    fn a_refusal_is_an_absence_with_what_it_would_need() {
        let absent = Absent::from(Refused::Permission);
        assert_eq!(absent.would_need(), Some(NEEDS));
        assert_eq!(absent.to_string(), "no permission to read eBPF programs");
        let absent = Absent::from(Refused::Forbidden { by: "a filter".into() });
        assert_eq!(absent.to_string(), "loading eBPF programs: eBPF is forbidden here by a filter");
    }

    #[test]
    fn places() {
        assert_eq!(lockdown_mode("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(lockdown_mode("[none] integrity confidentiality\n"), None);
        assert_eq!(lockdown_mode(""), None);
        assert!(is_filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t2\n"));
    }
}

//! A file with settings, as its reader understood it: what is set where, what is commanded, what makes no sense.

use alloc::string::String;
use alloc::vec::Vec;

use super::Text;
use crate::reading::Absent;

/// A file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Its path, as it is shown.
    pub path: String,
    /// What it is.
    pub format: Format,
    /// Its text; empty when it was not read.
    pub text: Text,
    /// What it sets, in order.
    pub settings: Vec<Setting>,
    /// Commands in it: `sysctl`, `ethtool`.
    pub commands: Vec<Command>,
    /// Lines that nobody understands.
    pub strays: Vec<Stray>,
    /// What its author allows.
    pub allows: Vec<Allow>,
    /// Why it could not be read, or not as the file that it claims to be.
    pub unread: Option<Absent>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `sysctl.conf` and `sysctl.d/*.conf`.
    #[default]
    Sysctl,
    /// Kubernetes manifests.
    Kubernetes,
    /// Docker Compose.
    Compose,
    /// Ansible tasks and playbooks.
    Ansible,
    /// A tuned profile.
    Tuned,
    /// A systemd unit or drop-in.
    Unit,
    /// A shell script, Dockerfile or other text with commands.
    Script,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line.
    pub line: u32,
    /// The first column.
    pub column: u32,
    /// The first column behind it.
    pub end: u32,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands, from the key to the end of the value.
    pub at: Span,
    /// Where its value stands; where there is none, the end of the key.
    pub value_at: Span,
    /// The key as sysctl writes it, with dots: `net.ipv4.conf.eth0/1.rp_filter` for `net/ipv4/conf/eth0.1/rp_filter`.
    /// For what is no sysctl (a unit's `LimitNOFILE`), its own name.
    pub key: String,
    /// What it sets: the key, or all keys that its pattern meets on the machine.
    pub keys: Vec<String>,
    /// Whether the key is a pattern: a key that is set by its name goes before it.
    pub is_pattern: bool,
    /// The value, without quotes; `None` for `-key` alone, which takes the key out of patterns.
    pub value: Option<String>,
    /// Written with `-` before it: that the kernel has no such key is no error.
    pub is_lenient: bool,
    /// What it applies to.
    pub place: Place,
    /// Settings of one group hold together and apart from other groups: one pod or service of a file with several.
    pub group: u32,
}

/// What a setting applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The host, at boot or when something runs.
    Host,
    /// A pod's network namespace.
    Pod {
        /// It shares the host's.
        host_network: bool,
    },
    /// A container's network namespace.
    Container {
        /// It shares the host's.
        host_network: bool,
    },
    /// A network namespace in which a command runs: in a container, behind `ip netns exec`.
    Process {
        /// It shares the host's.
        host_network: bool,
        /// It may write `/proc/sys`, which a container sees read-only otherwise.
        is_privileged: bool,
    },
    /// A service: limits of its processes.
    Service,
}

/// A command with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it stands.
    pub at: Span,
    /// Its words, the program first, without quotes.
    pub words: Vec<Word>,
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it stands.
    pub at: Span,
    /// The word.
    pub text: String,
}

/// A line that is neither setting nor comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where it stands.
    pub at: Span,
    /// What was expected there.
    pub expected: String,
}

/// `# tcproof: allow <slug> — reason`, on the line itself or above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Where the comment stands.
    pub at: Span,
    /// The line it is about.
    pub line: u32,
    /// The rule.
    pub slug: String,
    /// Why; may be empty, which is itself a finding.
    pub reason: String,
}

impl Allow {
    /// Whether it allows what that rule says of that line.
    pub fn covers(&self, rule: &str, line: u32) -> bool {
        self.slug == rule && self.line == line && !self.reason.is_empty()
    }
}

impl File {
    /// One of its lines, without its end; empty beyond the last.
    pub fn line(&self, number: u32) -> &str {
        self.text.line(number)
    }

    /// The line with something else between two columns.
    pub fn line_with(&self, at: Span, text: &str) -> String {
        let line = self.line(at.line);
        let byte = |column: u32| line.char_indices().nth(column as usize - 1).map_or(line.len(), |(byte, _)| byte);
        [&line[..byte(at.column)], text, &line[byte(at.end)..]].concat()
    }

    /// The line as a comment, which loses nothing of it.
    pub fn line_off(&self, at: Span) -> String {
        let line = self.line(at.line);
        let indent = line.len() - line.trim_start().len();
        let (indent, rest) = line.split_at(indent);
        alloc::format!("{indent}# {rest}")
    }

    /// Whether a package brings it, and an administrator is meant to go over it with a file of his own.
    pub fn is_vendors(&self) -> bool {
        ["/usr/", "/lib/"].iter().any(|folder| self.path.contains(folder))
    }

    /// Whether boot reads it by itself, before most modules are loaded.
    pub fn is_read_by_boot(&self) -> bool {
        self.format == Format::Sysctl
    }
}

impl Setting {
    /// Whether it sets a sysctl, not a limit of a service's processes.
    pub fn is_sysctl(&self) -> bool {
        self.place != Place::Service
    }
}

impl Place {
    /// Whether it applies to a network namespace other than the host's.
    pub fn is_inside(self) -> bool {
        matches!(
            self,
            Self::Pod { host_network: false }
                | Self::Container { host_network: false }
                | Self::Process { host_network: false, .. }
        )
    }

    /// Whether what is set there does not reach the kernel.
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Process { is_privileged: false, .. })
    }
}

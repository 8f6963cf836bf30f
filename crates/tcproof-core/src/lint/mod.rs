//! What is wrong with the settings that stand in files: sysctl.d, and the places where people keep the same knobs now.
//! Pure: the host's side reads the files and the machine into a [`Tree`], [`lint()`] judges it.

mod context;
mod ethtool;
mod file;
mod fix;
mod rules;
mod text;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use context::{Context, Site};
pub use file::{Allow, Command, File, Format, Place, Setting, Span, Stray, Word};
pub use rules::RULES;
pub use text::Text;

use crate::knobs::Machine;
use crate::reading::{Absent, Reading};

/// Everything that lint judges.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The files, in the order in which they are shown.
    pub files: Vec<File>,
    /// Who reads which of them, in which order: what one loader reads holds together.
    pub loads: Vec<Load>,
    /// Files that nobody reads, because of another one.
    pub masked: Vec<Masked>,
    /// The machine that the files are for.
    pub machine: Machine,
    /// How the machine is now; only when the files are what its boot loads.
    pub now: Option<Now>,
}

/// Who reads some of the files, in which order. A later assignment of a key wins.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who.
    pub loader: Loader,
    /// Indices of the files, in order.
    pub files: Vec<usize>,
}

/// Who reads files with sysctls at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// `systemd-sysctl.service`.
    Systemd,
    /// `sysctl --system`, of procps.
    Procps,
    /// The sysctl files that were named, as if one directory held them.
    Named,
    /// One file of another kind alone: a pod, a unit, a script.
    Alone,
}

/// A file that nobody reads, because one of the same name stands in a directory that goes before its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The file.
    pub path: String,
    /// The one that is read instead of it.
    pub by: String,
}

/// How the machine is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// What the knobs are that the files set, and those that belong to them.
    pub values: BTreeMap<String, Reading<String>>,
    /// The same in other network namespaces, by their name.
    pub elsewhere: BTreeMap<String, BTreeMap<String, Reading<String>>>,
    /// Modules that are loaded at boot because a file in `modules-load.d` says so, or that are built in.
    pub boot_modules: Vec<String>,
    /// Who else writes knobs on this machine, as far as it can be seen.
    pub writers: Vec<Writer>,
}

/// A program that writes knobs after boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// What it does, and by what it was seen, in a few words.
    pub what: String,
    /// How the keys begin that it writes; none when it may write any.
    pub keys: &'static [&'static str],
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It does nothing, or makes things worse.
    Warning,
    /// It does not do what it says, or breaks something.
    Error,
}

impl Severity {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A rule: what it looks for, and its page.
#[derive(Debug)]
pub struct Rule {
    /// Stable name; never renamed or reused once released.
    pub slug: &'static str,
    /// What it says, in one line.
    pub title: &'static str,
    /// How bad its findings are, as a rule.
    pub severity: Severity,
    /// Finds all in a tree.
    pub check: fn(&Context<'_>, &mut Vec<Finding>),
    /// Its own file: the header is the page that `tcproof explain` prints.
    pub source: &'static str,
}

impl Rule {
    /// The page: the `//!` header of its file.
    pub fn page(&self) -> String {
        crate::page::of_source(self.source)
    }

    /// The rule with that slug.
    pub fn by_slug(slug: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.slug == slug).copied()
    }
}

/// One thing that is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's slug.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Index of the file.
    pub file: usize,
    /// Where in it.
    pub at: Span,
    /// The knob, as sysctl writes it, where it is about one.
    pub key: Option<String>,
    /// What is wrong, in one or two sentences.
    pub message: String,
    /// The line as it should be.
    pub correction: Option<Correction>,
}

/// A line as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The line's number: a value may stand on another line than its key.
    pub number: u32,
    /// The whole line, without its end.
    pub line: String,
    /// Whether boot sets the same values after it as before, so that nobody need look at it.
    pub is_safe: bool,
}

/// What was found, and what was allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, by file, line and column.
    pub findings: Vec<Finding>,
    /// How many findings a comment allows.
    pub allowed: usize,
    /// Files that were not read, and why.
    pub unread: Vec<(String, Absent)>,
}

impl Report {
    /// How many findings are that bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl Tree {
    /// Whether the files are what a machine's boot loads.
    pub fn is_boot(&self) -> bool {
        self.loads.iter().any(|load| matches!(load.loader, Loader::Systemd | Loader::Procps))
    }
}

/// Judges a tree by every rule.
pub fn lint(tree: &Tree) -> Report {
    let context = Context::new(tree);
    let mut findings = Vec::new();
    for rule in RULES {
        (rule.check)(&context, &mut findings);
    }
    findings.extend(rules::idle_allows(&context, &findings));
    findings.sort_by(|a, b| (a.file, a.at, a.rule, &a.message).cmp(&(b.file, b.at, b.rule, &b.message)));
    findings.dedup();
    let before = findings.len();
    findings.retain(|finding| {
        !tree.files[finding.file].allows.iter().any(|allow| allow.covers(finding.rule, finding.at.line))
    });
    let unread = tree.files.iter().filter_map(|file| Some((file.path.clone(), file.unread.clone()?))).collect();
    Report { allowed: before - findings.len(), findings, unread }
}

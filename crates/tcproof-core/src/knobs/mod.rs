//! The knobs: every sysctl that a limit of TCP hangs on, and those that people believe it hangs on. A file per family;
//! removed and placebo knobs stay, so that `explain` and `lint` know them.

mod kind;
mod machine;

mod buffers;
mod congestion;
mod conntrack;
mod devices;
mod files;
mod listen;
mod mptcp;
mod names;
mod neighbours;
mod ports;
mod recovery;
mod removed;
mod timers;

use alloc::string::String;
use alloc::vec::Vec;

pub use kind::{Bounds, Kind, Wrong};
pub use machine::{Machine, Memory};
pub use names::{OTHER_NAMES, is_known, nearest, nearest_of};

use crate::version::Version;

/// The families, each with its knobs.
pub static FAMILIES: &[&[Knob]] = &[
    listen::KNOBS,
    ports::KNOBS,
    timers::KNOBS,
    buffers::KNOBS,
    congestion::KNOBS,
    recovery::KNOBS,
    devices::KNOBS,
    neighbours::KNOBS,
    conntrack::KNOBS,
    mptcp::KNOBS,
    files::KNOBS,
    removed::KNOBS,
];

/// Every knob, family by family.
pub fn all() -> impl Iterator<Item = &'static Knob> {
    FAMILIES.iter().copied().flatten()
}

/// The knob with that key, written with dots.
pub fn by_key(key: &str) -> Option<&'static Knob> {
    all().find(|knob| knob.key == key)
}

/// The knob of that name: its key, its path, or the end of its key where only one ends so (`somaxconn`, `max_syn_backlog`).
pub fn by_name(name: &str) -> Option<&'static Knob> {
    let key = name.trim_start_matches("/proc/sys/").replace('/', ".");
    by_key(&key).or_else(|| match ending_in(&key)[..] {
        [knob] => Some(knob),
        _ => None,
    })
}

/// Those whose key ends so, after a dot; where there are none, after an underscore.
pub fn ending_in(end: &str) -> Vec<&'static Knob> {
    let ending = |separator| {
        let ends_so = move |knob: &&Knob| knob.key.strip_suffix(end).is_some_and(|before| before.ends_with(separator));
        all().filter(ends_so).collect::<Vec<_>>()
    };
    let found = ending('.');
    if found.is_empty() && !end.is_empty() { ending('_') } else { found }
}

/// A file under `/proc/sys`: what it takes, whose it is, what it really does.
#[derive(Debug)]
pub struct Knob {
    /// Its name as sysctl writes it: `net.core.somaxconn`.
    pub key: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// What a value looks like, and which ones make sense.
    pub kind: Kind,
    /// What it counts: "connections", "pages", "seconds"; empty for a switch or a name.
    pub unit: &'static str,
    /// In which kernels there is such a file.
    pub exists: Exists,
    /// What it is when nobody has set it, oldest kernel first.
    pub defaults: &'static [Default],
    /// Why less than the default makes things worse, where it does; `lint` then says so of a line that lowers it.
    pub worse_below: Option<&'static str>,
    /// Whether each network namespace has its own.
    pub scope: Scope,
    /// When a change is felt.
    pub effect: Effect,
    /// How a change is taken back.
    pub undo: Undo,
    /// Memory that it costs, as a formula with its unit; "none" where there is none.
    pub cost: &'static str,
    /// What it really limits, in the words of the code.
    pub limits: &'static str,
    /// The kernel's file and function that looks at it: `net/socket.c:__sys_listen_socket`.
    pub enforced_by: &'static [&'static str],
    /// What it does not do, though it is often believed to.
    pub not: &'static str,
    /// What can go wrong when it is raised, or switched on.
    pub raising: &'static str,
    /// What can go wrong when it is lowered, or switched off.
    pub lowering: &'static str,
    /// Knobs to look at together with it.
    pub related: &'static [&'static str],
    /// Slugs of the limits that it belongs to.
    pub belongs_to: &'static [&'static str],
    /// What people write into files about it, and what is wrong with that.
    pub folklore: &'static [Folklore],
    /// Where this is from: kernel documentation, RFC clause, an experiment of ours.
    pub sources: &'static [&'static str],
}

/// In which kernels a knob is there, and does something.
#[derive(Clone, Copy, Debug)]
pub struct Exists {
    /// The first that has it; [`Version::ALWAYS`] when that is older than any kernel here (2.6 and before).
    pub since: Version,
    /// The first that no longer has it.
    pub removed: Option<Version>,
    /// The first that still has the file, but does nothing with it.
    pub inert_since: Option<Version>,
    /// The module that brings it, where it is not built in everywhere: `nf_conntrack`.
    pub module: Option<&'static str>,
}

impl Exists {
    /// In every kernel.
    pub const ALWAYS: Self = Self::since(Version::ALWAYS);

    /// From that version on.
    pub const fn since(since: Version) -> Self {
        Self { since, removed: None, inert_since: None, module: None }
    }

    /// Until that version, which no longer has it.
    pub const fn removed(self, removed: Version) -> Self {
        Self { removed: Some(removed), ..self }
    }

    /// Without effect from that version on.
    pub const fn inert(self, since: Version) -> Self {
        Self { inert_since: Some(since), ..self }
    }

    /// Only with that module.
    pub const fn module(self, module: &'static str) -> Self {
        Self { module: Some(module), ..self }
    }

    /// Whether that kernel has the file, going by mainline.
    pub fn in_kernel(&self, kernel: Version) -> bool {
        self.since <= kernel && self.removed.is_none_or(|removed| kernel < removed)
    }
}

/// A default, from a kernel on.
#[derive(Clone, Copy, Debug)]
pub struct Default {
    /// The first kernel with it.
    pub since: Version,
    /// What it is.
    pub value: DefaultValue,
}

impl Default {
    /// The same in every kernel.
    pub const fn always(value: &'static str) -> Self {
        Self::since(Version::ALWAYS, value)
    }

    /// A fixed value from that kernel on.
    pub const fn since(since: Version, value: &'static str) -> Self {
        Self { since, value: DefaultValue::Is(value) }
    }

    /// Computed by boot.
    pub const fn computed(since: Version, formula: &'static str, value: fn(&Machine) -> Option<String>) -> Self {
        Self { since, value: DefaultValue::Computed { formula, value } }
    }

    /// Decided by whoever built the kernel, or by the distribution.
    pub const fn decided_by(who: &'static str) -> Self {
        Self { since: Version::ALWAYS, value: DefaultValue::DecidedBy(who) }
    }
}

/// How a default comes about.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// Written in the source.
    Is(&'static str),
    /// Computed when the kernel boots, or a namespace is made.
    Computed {
        /// How, for a person.
        formula: &'static str,
        /// The same for a machine; `None` where it depends on what cannot be known of it.
        value: fn(&Machine) -> Option<String>,
    },
    /// By the kernel's configuration or the distribution: who, and what it usually is.
    DecidedBy(&'static str),
}

/// Whose a knob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each network namespace has its own.
    Namespace {
        /// What a new namespace begins with.
        fresh: Fresh,
    },
    /// One for the whole kernel.
    Global {
        /// What a namespace other than the initial one sees of it.
        inside: Inside,
    },
}

impl Scope {
    /// Each namespace has its own, which begins with the kernel's default.
    pub const NAMESPACE: Self = Self::Namespace { fresh: Fresh::Default };
    /// One for the whole kernel, which containers don't see.
    pub const GLOBAL: Self = Self::Global { inside: Inside::Absent };
}

/// What a new network namespace begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The kernel's default, whatever the host is set to.
    Default,
    /// The host's value at that instant.
    Initial,
    /// The value of the namespace that it was made from.
    Creator,
}

/// What a namespace other than the initial one sees of a global knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// No such file.
    Absent,
    /// A file that it can't write.
    ReadOnly,
    /// A file that it can write, with effect on the whole machine.
    Writable,
    /// Not a network knob: no namespace of this kind changes what is seen of it.
    Everywhere,
}

/// When a change is felt.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// By what.
    pub by: EffectBy,
    /// The same, exactly.
    pub exactly: &'static str,
}

/// By what a change is felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectBy {
    /// Everything, at once.
    All,
    /// Sockets that are opened, or connections that begin, afterwards.
    New,
    /// A listener, at its next `listen(2)`: its server must be restarted, or told to listen again.
    NextListen,
    /// What is made afterwards: namespaces, devices, queueing disciplines, hash tables.
    NewObjects,
    /// The next boot.
    Boot,
    /// Nothing.
    Nothing,
}

impl Effect {
    /// At once, on everything.
    pub const NOW: Self = Self { by: EffectBy::All, exactly: "at once" };
    /// On connections that begin afterwards.
    pub const NEW_CONNECTIONS: Self = Self { by: EffectBy::New, exactly: "connections that begin afterwards" };

    /// By that, exactly so.
    pub const fn new(by: EffectBy, exactly: &'static str) -> Self {
        Self { by, exactly }
    }
}

/// How a change is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// By writing the old value, which restores everything.
    WriteBack,
    /// By writing the old value, but what happened meanwhile stays: what.
    LeavesTraces(&'static str),
    /// Not at all: why.
    OneWay(&'static str),
    /// Nothing to take back: it can only be read.
    ReadOnly,
}

/// What people write into files about a knob, and what is wrong with that.
#[derive(Clone, Copy, Debug)]
pub struct Folklore {
    /// Slug of the rule that says so.
    pub rule: &'static str,
    /// Which uses it is about.
    pub when: fn(&Use<'_>) -> bool,
    /// What is wrong, in one or two sentences; begins in lower case and without the key, which stands before it.
    pub says: &'static str,
    /// What should stand there.
    pub instead: Instead,
    /// How bad it is, where it differs from the rule's own.
    pub severity: Option<crate::lint::Severity>,
}

/// What should stand in the place of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing: the line can go.
    Nothing,
    /// The default, where it is known; else nothing.
    Default,
    /// That value.
    Value(&'static str),
    /// Something that only a person can know.
    Unknown,
}

/// A knob's value where somebody has set it, with what holds around it.
pub struct Use<'a> {
    /// The value as text.
    pub text: &'a str,
    /// Its numbers, in order; empty when it is not made of numbers.
    pub numbers: &'a [i64],
    /// The default there, as numbers; empty when it is not known.
    pub default: &'a [i64],
    /// The machine it is for.
    pub machine: &'a Machine,
    /// What another knob will be there: set by the same files, or what it is now, or its default.
    pub other: &'a dyn Fn(&str) -> Option<String>,
}

impl Use<'_> {
    /// The only number, or the first.
    pub fn number(&self) -> Option<i64> {
        self.numbers.first().copied()
    }

    /// What another knob will be there, as one number.
    pub fn other_number(&self, key: &str) -> Option<i64> {
        (self.other)(key)?.split_ascii_whitespace().next()?.parse().ok()
    }
}

impl Knob {
    /// The newest default that this kernel has.
    pub fn default_in(&self, kernel: Version) -> Option<&'static DefaultValue> {
        self.defaults.iter().rev().find(|default| default.since <= kernel).map(|default| &default.value)
    }

    /// The default on a machine, as the kernel writes it (numbers parted by one space); `None` where it is not known.
    pub fn default_on(&self, machine: &Machine) -> Option<String> {
        match self.default_in(machine.kernel)? {
            DefaultValue::Is(value) => Some((*value).into()),
            DefaultValue::Computed { value, .. } => value(machine),
            DefaultValue::DecidedBy(_) => None,
        }
    }

    /// Whether each network namespace has its own.
    pub fn is_namespaced(&self) -> bool {
        matches!(self.scope, Scope::Namespace { .. })
    }
}

#[cfg(test)]
mod tests;

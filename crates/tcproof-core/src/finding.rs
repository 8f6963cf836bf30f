//! What a diagnosis says: the values that every face renders and none may change.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::knobs::{self, Kind};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Proven now: work was dropped, refused or delayed by this limit during the window.
    Limiting,
    /// Use is high enough that the next burst will hit it; nothing lost yet.
    Near,
}

/// How much the evidence proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The evidence admits no other explanation.
    Proven,
    /// The evidence fits, and what would settle it cannot be read.
    Likely,
}

/// Who can make the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The program's own code or its deployment.
    Application,
    /// The service's configuration: a listen directive, a unit file.
    Service,
    /// A sysctl.
    Kernel,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The whole host.
    Host,
    /// One network namespace.
    Netns {
        /// Its name or inode.
        netns: String,
    },
    /// One listening socket.
    Listener {
        /// Its namespace's name or inode.
        netns: String,
        /// Address and port.
        local: String,
        /// Processes that hold it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owners: Vec<Owner>,
    },
    /// Connections from one source address to one destination address and port.
    Destination {
        /// The namespace's name or inode.
        netns: String,
        /// Source address.
        source: String,
        /// Destination address and port.
        destination: String,
        /// Processes seen on it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owners: Vec<Owner>,
    },
    /// One connection, or several of one service that are alike.
    Flow {
        /// The namespace's name or inode.
        netns: String,
        /// This end's address and port.
        #[serde(rename = "source")]
        local: String,
        /// The other end's.
        #[serde(rename = "destination")]
        remote: String,
        /// How many others are alike.
        #[serde(default, skip_serializing_if = "is_zero")]
        alike: u64,
        /// Processes that hold it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owners: Vec<Owner>,
    },
    /// One control group.
    Cgroup {
        /// Its path.
        #[serde(rename = "cgroup")]
        path: String,
        /// The systemd unit or container that the path names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
    },
    /// One process.
    Process {
        /// The namespace's name or inode.
        netns: String,
        /// The process (one entry), or several that share the sockets.
        owners: Vec<Owner>,
        /// The service side of its sockets, where the finding is about sockets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        local: Option<String>,
    },
    /// One CPU.
    Cpu {
        /// Its number.
        cpu: u32,
    },
    /// One network device.
    Device {
        /// The namespace's name or inode.
        netns: String,
        /// The device's name.
        device: String,
    },
}

impl Subject {
    /// The namespace the subject lives in, if it lives in one.
    pub fn netns(&self) -> Option<&str> {
        match self {
            Self::Host | Self::Cpu { .. } | Self::Cgroup { .. } => None,
            Self::Netns { netns }
            | Self::Listener { netns, .. }
            | Self::Destination { netns, .. }
            | Self::Flow { netns, .. }
            | Self::Process { netns, .. }
            | Self::Device { netns, .. } => Some(netns),
        }
    }

    /// The processes that own the subject, as far as they are known.
    pub fn owners(&self) -> &[Owner] {
        match self {
            Self::Listener { owners, .. }
            | Self::Destination { owners, .. }
            | Self::Flow { owners, .. }
            | Self::Process { owners, .. } => owners,
            Self::Host | Self::Netns { .. } | Self::Cgroup { .. } | Self::Cpu { .. } | Self::Device { .. } => &[],
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("this host"),
            Self::Netns { netns } => write!(f, "namespace {netns}"),
            Self::Listener { local, .. } => f.write_str(local),
            Self::Destination { source, destination, .. } => write!(f, "{source} → {destination}"),
            Self::Flow { local, remote, alike: 0, .. } => write!(f, "{local} ↔ {remote}"),
            Self::Flow { local, remote, alike, .. } => write!(f, "{local} ↔ {remote} and {alike} more"),
            Self::Cgroup { path, unit } => f.write_str(unit.as_ref().unwrap_or(path)),
            Self::Process { owners, local, .. } => match (owners.first(), local) {
                (Some(owner), _) => write!(f, "{} (pid {})", owner.comm, owner.pid),
                (None, Some(local)) => f.write_str(local),
                (None, None) => f.write_str("a process"),
            },
            Self::Cpu { cpu } => write!(f, "CPU {cpu}"),
            Self::Device { device, .. } => f.write_str(device),
        }
    }
}

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// Process id, in the observer's pid namespace.
    pub pid: u32,
    /// Name as the kernel has it (15 bytes; any program can set its own).
    pub comm: String,
    /// Its control group's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The systemd unit or container that the control group's path names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// One number and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The reading's name, as the kernel or `ss` calls it.
    pub reading: String,
    /// Its value, or by how much it changed.
    pub value: f64,
    /// What it counts.
    pub unit: String,
    /// The window it changed in; missing for a value that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_seconds: Option<f64>,
}

/// A look-alike that it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// The look-alike's slug.
    pub limit: String,
    /// The reading that rules it out.
    pub because: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Who can do it.
    pub level: Level,
    /// What to do, in one sentence.
    pub text: String,
    /// The kernel knob to change, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knob: Option<String>,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How `to` was computed, with its inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// What it costs: memory, latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// How to tell that it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Whether it is another way to the same end as the remedies before it: a plan takes it only when asked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_alternative: bool,
}

impl Remedy {
    /// A remedy that is words only.
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self {
            level,
            text: text.into(),
            knob: None,
            from: None,
            to: None,
            formula: None,
            cost: None,
            verify: None,
            is_alternative: false,
        }
    }

    /// A change of a kernel knob.
    pub fn knob(
        text: impl Into<String>,
        knob: impl Into<String>,
        from: impl Into<String>,
        to: impl Into<String>,
    ) -> Self {
        Self { knob: Some(knob.into()), from: Some(from.into()), to: Some(to.into()), ..Self::new(Level::Kernel, text) }
    }

    /// Adds how the value was computed.
    pub fn formula(mut self, formula: impl Into<String>) -> Self {
        self.formula = Some(formula.into());
        self
    }

    /// Adds what it costs.
    pub fn cost(mut self, cost: impl Into<String>) -> Self {
        self.cost = Some(cost.into());
        self
    }

    /// Says that it is another way to the same end.
    pub fn alternative(mut self) -> Self {
        self.is_alternative = true;
        self
    }

    /// Where a knob is to be raised from what makes no sense, and a formula leads to no more than that: the least that does.
    pub(crate) fn sensible(mut self) -> Self {
        let number = |value: &Option<String>| value.as_ref()?.parse::<i64>().ok();
        let kind = self.knob.as_deref().and_then(knobs::by_key).map(|knob| &knob.kind);
        if let Some(Kind::Number { sane, .. }) = kind
            && let (Some(from), Some(to)) = (number(&self.from), number(&self.to))
            && from < to
            && to < sane.min
        {
            self.to = Some(sane.min.to_string());
            let least = format!("at least {}: less makes no sense", sane.min);
            self.formula = Some(self.formula.map_or(least.clone(), |formula| format!("{formula}; {least}")));
        }
        self
    }

    /// Adds how to tell that it worked.
    pub fn verify(mut self, verify: impl Into<String>) -> Self {
        self.verify = Some(verify.into());
        self
    }
}

/// A limit that hurts, or is about to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The limit's slug.
    pub limit: String,
    /// How bad.
    pub state: State,
    /// The cause's slug, one of the limit's.
    pub cause: String,
    /// How sure.
    pub confidence: Confidence,
    /// What it is about.
    pub subject: Subject,
    /// One sentence with its numbers.
    pub summary: String,
    /// Why this cause and not another, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// The numbers.
    pub evidence: Vec<Evidence>,
    /// Look-alikes that it is not.
    #[serde(default)]
    pub ruled_out: Vec<RuledOut>,
    /// What to do, the application first.
    #[serde(default)]
    pub remedies: Vec<Remedy>,
    /// Events of traffic hurt in the window: orders findings of one state and confidence.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hurt: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Finding {
    /// Adds a number that stands.
    pub fn standing(mut self, reading: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        self.evidence.push(Evidence { reading: reading.into(), value, unit: unit.into(), over_seconds: None });
        self
    }

    /// Adds a number that changed within the window of `seconds`.
    pub fn changed(mut self, reading: impl Into<String>, value: f64, unit: impl Into<String>, seconds: f64) -> Self {
        self.evidence.push(Evidence { reading: reading.into(), value, unit: unit.into(), over_seconds: Some(seconds) });
        self
    }
}

/// How much of a limit is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// The limit's slug.
    pub limit: String,
    /// Whose.
    pub subject: Subject,
    /// How much is used (the highest value seen in the window).
    pub used: u64,
    /// How much there is.
    pub capacity: u64,
    /// Of what.
    pub unit: String,
}

impl Headroom {
    /// Used share of the capacity; a capacity of zero is full.
    pub fn share(&self) -> f64 {
        if self.capacity == 0 { 1.0 } else { self.used as f64 / self.capacity as f64 }
    }
}

/// What was counted since boot, where there is one reading alone: it says that something happened, and neither when nor that it
/// still does. No limit is judged by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SinceBoot {
    /// The namespace's name or inode.
    pub netns: String,
    /// The counter, or a listener's.
    pub reading: String,
    /// How many.
    pub value: u64,
}

/// What could not be observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unknown {
    /// The limit that could not be judged.
    pub limit: String,
    /// The reading that is missing, or that could not be placed.
    pub reading: String,
    /// Why.
    pub because: String,
    /// What would make it observable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_need: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_leads_to_what_makes_sense() {
        let to = |knob: &str, from: &str, to: &str| {
            let remedy = Remedy::knob("x", knob, from, to).formula("2 × it").sensible();
            (remedy.to.unwrap_or_default(), remedy.formula.unwrap_or_default())
        };
        let least = |value: &str| (value.to_string(), format!("2 × it; at least {value}: less makes no sense"));
        let same = |value: &str| (value.to_string(), "2 × it".to_string());
        assert_eq!(to("net.core.netdev_max_backlog", "5", "10"), least("64"));
        assert_eq!(to("net.core.netdev_max_backlog", "5", "64"), same("64"));
        assert_eq!(to("net.core.netdev_max_backlog", "10", "5"), same("5"), "nobody asked to lower it");
        assert_eq!(to("net.ipv4.tcp_rmem", "1 2 3", "1 2 4"), same("1 2 4"));
        assert_eq!(to("no.such.knob", "5", "10"), same("10"));
    }
}

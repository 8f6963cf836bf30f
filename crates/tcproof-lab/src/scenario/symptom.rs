//! What hurts, and what must cure it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tcproof_core::knobs;
use tcproof_core::verify::Outcome;
use toml::Spanned;

use super::global::Global;
use super::link::Link;
use super::values::{Mbit, Time};
use super::{Side, Sysctls};

/// What hurts. Exactly one of the first five says what is measured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Symptom {
    /// A counter of the kernel, such as `TcpExt.ListenOverflows`, or `conntrack.drop`.
    pub counter: Option<String>,
    /// Failed connections of a load.
    pub errors: Option<String>,
    /// Calls of `connect(2)` of a load that took longer than [`SLOW_CALL`].
    pub slow_connects: Option<String>,
    /// Sockets in this state, named as `ss` does: by how much their number grows.
    pub sockets: Option<String>,
    /// The goodput of a bulk server or load: what its application read, or else wrote. It is better to name the reader.
    pub goodput: Option<String>,
    /// Of `goodput`: at most so many Mbit/s before the remedy make a symptom.
    pub at_most_mbit: Option<Mbit>,
    /// Of `goodput`: how many times as much the remedy must bring; 1.5 if not said.
    pub gain: Option<f64>,
    /// Of `goodput`: how many Mbit/s the remedy must bring.
    pub cured_at_least_mbit: Option<Mbit>,
    /// Of `errors`, only these.
    #[serde(default)]
    pub only: Vec<String>,
    /// In which namespace.
    #[serde(rename = "in", default)]
    pub side: Side,
    /// How many within the window make a symptom.
    #[serde(default = "one")]
    pub at_least: u64,
    /// How many within the verification are still none: noise of what began before the remedy.
    #[serde(default)]
    pub tolerate: u64,
}

fn one() -> u64 {
    1
}

/// How many times the goodput a remedy must bring, if the scenario does not say.
const GAIN: f64 = 1.5;

impl Symptom {
    /// How many times the goodput the remedy must bring.
    pub fn gain(&self) -> f64 {
        self.gain.unwrap_or(GAIN)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let kinds = [&self.counter, &self.errors, &self.slow_connects, &self.sockets, &self.goodput];
        if kinds.into_iter().flatten().count() != 1 {
            return Err("[symptom] needs exactly one of counter, errors, slow-connects, sockets, goodput".into());
        }
        let speed = [self.at_most_mbit, self.cured_at_least_mbit];
        if self.goodput.is_none() && (speed.iter().any(Option::is_some) || self.gain.is_some()) {
            return Err("[symptom]: gain, at-most-mbit and cured-at-least-mbit are of `goodput`".into());
        }
        match self.gain {
            Some(gain) if !(1.0..=1e6).contains(&gain) => {
                Err(format!("[symptom] gain: expected 1 to 1000000 times, found {gain}"))
            }
            _ => Ok(()),
        }
    }
}

/// A call of `connect(2)` (which does not wait for the handshake) that takes longer than this is slow.
pub const SLOW_CALL: Duration = Duration::from_micros(300);

/// What the lab changes to cure it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Remedy {
    /// What is changed, for a person.
    pub about: String,
    /// Sysctls.
    pub sysctl: Sysctls,
    /// Knobs of the whole kernel.
    pub global: Global,
    /// Fields of a server that change; it is restarted.
    pub server: BTreeMap<String, Spanned<toml::Table>>,
    /// Fields of a load that change; it is restarted.
    pub load: BTreeMap<String, Spanned<toml::Table>>,
    /// Servers that call `listen(2)` again on their socket.
    pub relisten: Vec<String>,
    /// A TCP port that the server's namespace stops tracking.
    pub notrack: Option<u16>,
    /// Whether the server gets a route to the clients that it had none to.
    pub route: bool,
    /// What changes of the link.
    pub link: Option<Link>,
    /// Connection tracking entries to delete.
    pub forget: Option<u32>,
}

/// What `tcproof plan` must come to, and what its verification must say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Planned {
    /// The knobs that it changes, as it orders them; none where a larger number would not help.
    pub changes: Vec<PlannedKnob>,
    /// Knobs that have to be asked for (`--with`): they are the second of two ways, or lower a value.
    pub with: Vec<PlannedKnob>,
    /// What the verification may say besides cured and better: where it can't tell, nothing is cured.
    pub outcome: Option<Outcome>,
    /// How long the plan and the verification watch; as long as the check if that is not said. What comes in turns is seen
    /// in any window only if that is longer than a turn.
    pub window: Option<Time>,
}

/// A knob of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PlannedKnob(pub String);

impl TryFrom<String> for PlannedKnob {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        match knobs::by_key(&key) {
            Some(_) => Ok(Self(key)),
            None => Err(format!("{key:?} is not in the table of knobs: `tcproof explain knobs` lists it")),
        }
    }
}

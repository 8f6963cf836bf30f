//! Scenario files: a failure, the truth about it, and the remedy that must cure it.

pub mod flow;
mod global;
pub mod link;
pub mod load;
pub mod server;
mod symptom;
#[cfg(test)]
mod tests;
pub mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use tcproof_core::State;
use tcproof_core::limits::Limit;
use toml::Spanned;

pub use flow::{Reads, Socket, Writes};
pub use global::{Global, GlobalKey};
pub use link::Link;
pub use load::{Bind, Closes, Load, LoadKind};
pub use server::{Server, ServerKind};
pub use symptom::{Planned, PlannedKnob, Remedy, SLOW_CALL, Symptom};
pub use values::{MAX_COUNT, MAX_DURATION, MAX_RATE, Mbit, Rate, Time};

use crate::kit;

/// A scenario file that can't be used, with the place.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Error {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What was found and what was expected.
    pub message: String,
}

/// The name of the process that is the link, where one is.
pub(crate) const LINK: &str = "link";

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The file's name without its extension.
    #[serde(skip)]
    pub name: String,
    /// What happens, in one sentence.
    pub about: String,
    /// The limit that it really is; none for a healthy scenario, which must yield no finding at all.
    pub limit: Option<Slug>,
    /// The cause that it really is.
    pub cause: Option<Spanned<String>>,
    /// How bad it really is.
    #[serde(default = "limiting")]
    pub state: State,
    /// Text that the first finding's subject must contain, such as `:8081`.
    pub subject: Option<String>,
    /// Look-alikes that must not be reported as limiting.
    #[serde(default)]
    pub absent: Vec<Slug>,
    /// Limits that must be among the unknown ones, because something happened that can't be placed.
    #[serde(default)]
    pub unknown: Vec<Slug>,
    /// What the check must say that every flow of a side is held back by, such as `application`.
    #[serde(default)]
    pub bound_by: BTreeMap<Side, String>,
    /// What the kernel must have, else the scenario is skipped.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Sysctls of each namespace, on top of the lab's baseline.
    #[serde(default)]
    pub sysctl: Sysctls,
    /// Sysctls that change only after the servers listen.
    #[serde(default)]
    pub later: Sysctls,
    /// The way between the namespaces.
    #[serde(default)]
    pub link: Link,
    /// Knobs of the whole kernel: only a machine that was made for the lab runs such a scenario.
    #[serde(default)]
    pub global: Global,
    /// Fills the connection tracking table of a namespace.
    pub conntrack: Option<Conntrack>,
    /// The servers.
    #[serde(default)]
    pub server: Vec<Server>,
    /// The loads.
    #[serde(default)]
    pub load: Vec<Load>,
    /// When to look, and at what.
    #[serde(default)]
    pub watch: Watch,
    /// Goodput that bulk servers and loads must have while the check watches, by their names.
    #[serde(default)]
    pub goodput_at_least_mbit: BTreeMap<String, Spanned<Mbit>>,
    /// What hurts, measured by the lab itself.
    pub symptom: Option<Symptom>,
    /// What must cure it.
    pub remedy: Option<Remedy>,
    /// What the plan for it must be.
    #[serde(default)]
    pub plan: Planned,
}

fn limiting() -> State {
    State::Limiting
}

/// What a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// nf_tables in a network namespace.
    Nftables,
    /// Connection tracking, and ctnetlink.
    Conntrack,
    /// IPv6.
    Ipv6,
    /// Multipath TCP.
    Mptcp,
    /// CPUs at their own speed: no emulated ones.
    NativeSpeed,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Conntrack => "conntrack",
            Self::Ipv6 => "ipv6",
            Self::Mptcp => "mptcp",
            Self::NativeSpeed => "native-speed",
        })
    }
}

/// The name of a limit that tcproof knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Slug(pub String);

impl TryFrom<String> for Slug {
    type Error = String;

    fn try_from(slug: String) -> Result<Self, String> {
        match Limit::by_slug(&slug) {
            Some(_) => Ok(Self(slug)),
            None => Err(format!("there is no limit {slug:?}: `tcproof explain` lists them")),
        }
    }
}

/// One of the lab's two namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Where the servers run.
    #[default]
    Server,
    /// Where the loads run.
    Client,
}

impl Side {
    /// Its name, which is also the namespace's in findings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Sysctls by namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctls {
    /// Of the servers' namespace.
    #[serde(default)]
    pub server: BTreeMap<Key, Value>,
    /// Of the clients' namespace.
    #[serde(default)]
    pub client: BTreeMap<Key, Value>,
}

impl Sysctls {
    /// Those of one side.
    pub fn of(&self, side: Side) -> &BTreeMap<Key, Value> {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }
}

/// A sysctl that the kernel keeps per network namespace. Global ones are refused: they would change the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(pub String);

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        if kit::sysctl::is_per_namespace(&key) {
            Ok(Self(key))
        } else {
            Err(format!("{key:?} is not a sysctl that each network namespace has for itself; the lab writes no other"))
        }
    }
}

/// A sysctl's value: a whole number or text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(pub String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or text such as \"40000 40999\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(text.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Connection tracking, with a full table unless told otherwise.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Conntrack {
    /// Whose.
    #[serde(rename = "in")]
    pub side: Side,
    /// Entries to leave free.
    #[serde(default)]
    pub leave: u32,
    /// Connections are only tracked, and what is of none that is known is dropped, as a stateful firewall does.
    #[serde(default)]
    pub firewall: bool,
}

/// The first address of the server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The first address of the client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// When to look, and at what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// How long the load runs before anything is looked at.
    pub warmup: Time,
    /// How long the check watches.
    pub window: Time,
    /// How long the remedy has to take effect.
    pub settle: Time,
    /// How long the symptom is measured after the remedy.
    pub verify: Time,
    /// The namespaces that the check sees.
    #[serde(rename = "in")]
    pub sides: Vec<Side>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            warmup: Time(Duration::from_secs(1)),
            window: Time(Duration::from_secs(3)),
            settle: Time(Duration::from_millis(1500)),
            verify: Time(Duration::from_secs(2)),
            sides: vec![Side::Server, Side::Client],
        }
    }
}

impl Scenario {
    /// Reads a scenario; `file` is for error messages, and its stem is the scenario's name.
    ///
    /// # Errors
    /// With the place, and what was expected there.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            place(file, text, at, error.message())
        })?;
        let stem = file.rsplit('/').next().unwrap_or(file);
        scenario.name = stem.strip_suffix(".toml").unwrap_or(stem).to_string();
        scenario.check().map_err(|(at, message)| place(file, text, at, &message))?;
        Ok(scenario)
    }

    /// What types alone don't say. An error has the byte that it is about (0 where it is the whole file).
    fn check(&self) -> Result<(), (usize, String)> {
        let whole = |message: String| Err((0, message));
        if let (Some(Slug(limit)), Some(cause)) = (&self.limit, &self.cause) {
            let causes = Limit::by_slug(limit).map_or(&[][..], |limit| limit.causes);
            if !causes.iter().any(|(known, _)| known == cause.get_ref()) {
                let known = causes.iter().map(|(cause, _)| *cause).collect::<Vec<_>>().join(", ");
                let message = format!("{limit} has no cause {:?}: expected one of {known}", cause.get_ref());
                return Err((cause.span().start, message));
            }
        }
        match (&self.limit, &self.cause, &self.symptom) {
            (Some(_), None, _) => return whole("`limit` is there, `cause` is not".into()),
            (None, Some(_), _) => return whole("`cause` is there, `limit` is not".into()),
            (Some(_), Some(_), None) => return whole("a scenario with a `limit` needs a [symptom]".into()),
            _ => {}
        }
        let mut names: Vec<_> = self.server.iter().map(|s| &s.name).chain(self.load.iter().map(|l| &l.name)).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return whole(format!("{:?} is the name of two servers or loads", twice[0]));
        }
        if names.iter().any(|name| *name == LINK) {
            return whole(format!("{LINK:?} is the name of the link; no server or load can have it"));
        }
        self.server.iter().try_for_each(server::check).or_else(whole)?;
        self.load.iter().try_for_each(load::check).or_else(whole)?;
        self.link.check("link").or_else(whole)?;
        if let Some(symptom) = &self.symptom {
            symptom.check().or_else(whole)?;
            for load in [&symptom.errors, &symptom.slow_connects].into_iter().flatten() {
                if !self.load.iter().any(|l| l.name == *load) {
                    return whole(format!("[symptom] is about a load {load:?} that is not there"));
                }
            }
            if let Some(name) = symptom.goodput.as_ref().filter(|name| !self.is_bulk(name)) {
                return whole(format!("[symptom] goodput: {name:?} is no server or load that moves data in bulk"));
            }
        }
        if let Some((name, mbit)) = self.goodput_at_least_mbit.iter().find(|(name, _)| !self.is_bulk(name)) {
            let message = format!("goodput-at-least-mbit: {name:?} is no server or load that moves data in bulk");
            return Err((mbit.span().start, message));
        }
        if let Some(remedy) = &self.remedy {
            for (name, change) in &remedy.server {
                self.cured_server(name).map_err(|message| (change.span().start, message))?;
            }
            for (name, change) in &remedy.load {
                self.cured_load(name).map_err(|message| (change.span().start, message))?;
            }
            if let Some(link) = &remedy.link {
                link.check("remedy.link").or_else(whole)?;
                if link.is_emulated() && !self.link.is_emulated() {
                    return whole("[remedy.link] changes a link that [link] does not describe".into());
                }
            }
            if let Some(name) = remedy.relisten.iter().find(|name| !self.server.iter().any(|s| s.name == **name)) {
                return whole(format!("[remedy] relisten: there is no server {name:?}"));
            }
        }
        Ok(())
    }

    fn is_bulk(&self, name: &str) -> bool {
        self.server.iter().any(|server| server.name == name && server.kind.is_bulk())
            || self.load.iter().any(|load| load.name == name && load.kind.is_bulk())
    }

    /// A server as the remedy changes it.
    ///
    /// # Errors
    /// When the changed server makes no sense.
    pub fn cured_server(&self, name: &str) -> Result<Server, String> {
        let changes = self.remedy.as_ref().and_then(|remedy| remedy.server.get(name));
        let server = self.server.iter().find(|server| server.name == name);
        let server = changed(server.ok_or_else(|| format!("there is no server {name:?}"))?, changes)?;
        server::check(&server).map(|()| server)
    }

    /// A load as the remedy changes it.
    ///
    /// # Errors
    /// When the changed load makes no sense.
    pub fn cured_load(&self, name: &str) -> Result<Load, String> {
        let changes = self.remedy.as_ref().and_then(|remedy| remedy.load.get(name));
        let load = self.load.iter().find(|load| load.name == name);
        let load = changed(load.ok_or_else(|| format!("there is no load {name:?}"))?, changes)?;
        load::check(&load).map(|()| load)
    }

    /// `limit/cause`, or `healthy`.
    pub fn truth(&self) -> String {
        match (&self.limit, &self.cause) {
            (Some(Slug(limit)), Some(cause)) => format!("{limit}/{}", cause.get_ref()),
            _ => "healthy".into(),
        }
    }
}

/// `original` with some of its fields replaced, also those within its tables; `false` takes a field away.
fn changed<T>(original: &T, changes: Option<&Spanned<toml::Table>>) -> Result<T, String>
where
    T: Serialize + de::DeserializeOwned,
{
    let mut table = toml::Table::try_from(original).map_err(|error| error.to_string())?;
    if let Some(changes) = changes {
        merge(&mut table, changes.get_ref());
    }
    table.try_into().map_err(|error: toml::de::Error| error.message().to_string())
}

fn merge(table: &mut toml::Table, changes: &toml::Table) {
    for (name, change) in changes {
        match (table.get_mut(name), change) {
            (Some(_), toml::Value::Boolean(false)) => drop(table.remove(name)),
            (Some(toml::Value::Table(inner)), toml::Value::Table(changes)) => merge(inner, changes),
            _ => drop(table.insert(name.clone(), change.clone())),
        }
    }
}

fn place(file: &str, text: &str, at: usize, message: &str) -> Error {
    let before = text.get(..at).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Error {
        file: file.to_string(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: message.trim_end().to_string(),
    }
}

//! Scenario files: a failure, the truth about it, and the remedy that must cure it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use tcproof_core::State;
use tcproof_core::limits::Limit;
use toml::Spanned;

use crate::kit;

/// Connections a second that one load may start, at most.
pub const MAX_RATE: u32 = 20_000;
/// Connections that one load may start or hold, at most.
pub const MAX_COUNT: u32 = 200_000;
/// The longest duration a scenario may name.
pub const MAX_DURATION: Duration = Duration::from_secs(60);

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
    /// What the kernel must have, else the scenario is skipped.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Sysctls of each namespace, on top of the lab's baseline.
    #[serde(default)]
    pub sysctl: Sysctls,
    /// Sysctls that change only after the servers listen.
    #[serde(default)]
    pub later: Sysctls,
    /// The cable.
    #[serde(default)]
    pub link: Link,
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
    /// What hurts, measured by the lab itself.
    pub symptom: Option<Symptom>,
    /// What must cure it.
    pub remedy: Option<Remedy>,
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
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Conntrack => "conntrack",
            Self::Ipv6 => "ipv6",
            Self::Mptcp => "mptcp",
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

/// A duration such as `5s` or `200ms`, at most [`MAX_DURATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let time = match (number.parse::<u64>(), unit) {
            (Ok(n), "s") => Duration::from_secs(n),
            (Ok(n), "ms") => Duration::from_millis(n),
            _ => return Err(format!("expected a duration such as \"5s\" or \"200ms\", found {text:?}")),
        };
        if time > MAX_DURATION {
            return Err(format!("{text} is longer than the {} s that a scenario may take", MAX_DURATION.as_secs()));
        }
        Ok(Self(time))
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{}ms", time.0.as_millis())
    }
}

/// Connections a second: 1 to [`MAX_RATE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rate(pub u32);

/// A number of connections: 1 to [`MAX_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Count(pub u32);

fn bounded(number: u64, max: u32, what: &str) -> Result<u32, String> {
    match u32::try_from(number) {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => Err(format!("expected 1 to {max} {what}, found {number}")),
    }
}

impl TryFrom<u64> for Rate {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        bounded(number, MAX_RATE, "a second").map(Self)
    }
}

impl From<Rate> for u64 {
    fn from(rate: Rate) -> Self {
        Self::from(rate.0)
    }
}

impl TryFrom<u64> for Count {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        bounded(number, MAX_COUNT, "connections").map(Self)
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        Self::from(count.0)
    }
}

/// The cable between the namespaces: as fast as the kernel, unless it is said otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// What the server may send; a narrow way back delays its SYN-ACKs, as a distant client's does.
    pub server_bits_per_second: Option<u32>,
}

/// A full connection tracking table.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Conntrack {
    /// Whose.
    #[serde(rename = "in")]
    pub side: Side,
    /// Entries to leave free.
    #[serde(default)]
    pub leave: u32,
}

/// What a server does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Accepts at once, answers requests, closes when its peer has.
    Accepts,
    /// Listens and never accepts.
    Stalls,
    /// Accepts at most `rate` a second.
    Paced,
    /// Accepts at once, but not at all for `pause.for` in every `pause.every`.
    Bursty,
    /// Never closes, also not after its peer has.
    Leaks,
    /// Closes first, as soon as it has accepted.
    ClosesFirst,
    /// Answers and closes only `delay` after its peer has sent everything.
    SlowResponse,
}

/// A server process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Server {
    /// What the scenario calls it.
    pub name: String,
    /// What it does.
    pub kind: ServerKind,
    /// Where it listens.
    #[serde(default = "any_address")]
    pub listen: IpAddr,
    /// The port.
    #[serde(default = "port")]
    pub port: u16,
    /// What it passes to `listen(2)`.
    #[serde(default = "backlog")]
    pub backlog: u32,
    /// Whether its command line shows the backlog, as many servers' do.
    #[serde(default)]
    pub announce: bool,
    /// Connections a second that a paced server accepts.
    pub rate: Option<Rate>,
    /// When a bursty server does not accept.
    pub pause: Option<Pause>,
    /// How long a slow response takes.
    pub delay: Option<Time>,
    /// Its limit of open descriptors.
    pub nofile: Option<Count>,
    /// Shares its port with others (SO_REUSEPORT).
    #[serde(default)]
    pub reuseport: bool,
    /// Speaks Multipath TCP.
    #[serde(default)]
    pub mptcp: bool,
}

fn any_address() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

fn port() -> u16 {
    8080
}

fn backlog() -> u32 {
    4096
}

/// A recurring pause.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// One in every …
    pub every: Time,
    /// … for so long.
    #[serde(rename = "for")]
    pub length: Time,
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// Connects at a rate that does not depend on the answers (open loop), and is done with each connection soon.
    Connect,
    /// Opens `count` connections and keeps them.
    Hold,
    /// Connects, sends a request, closes its sending side and waits for the answer.
    HalfClose,
    /// Sends bare SYNs with spoofed sources.
    SpoofedSyn,
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closes {
    /// The client, with a FIN: TIME_WAIT is its.
    #[default]
    Client,
    /// The server; the client waits for it.
    Server,
    /// The client, with a RST: no TIME_WAIT anywhere.
    Reset,
}

/// Whether a load binds its sockets to the source address itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bind {
    /// Only where `from` names an address that is not the first of the interface.
    #[default]
    None,
    /// `bind(2)` with port 0 before `connect(2)`: the port is taken for all destinations.
    BeforeConnect,
    /// `bind(2)` with IP_BIND_ADDRESS_NO_PORT: the port is chosen by `connect(2)`, for one destination.
    NoPort,
}

/// A load process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    /// What the scenario calls it.
    pub name: String,
    /// What it does.
    pub kind: LoadKind,
    /// Connections (or SYNs) a second.
    pub rate: Rate,
    /// How many connections it keeps (`hold`) or starts at most.
    pub count: Option<Count>,
    /// How long it runs; the whole scenario if not said.
    #[serde(rename = "for")]
    pub length: Option<Time>,
    /// Bursts instead of an even rate: everything due is started together, once in this time.
    pub every: Option<Time>,
    /// When it starts, after the others.
    pub after: Option<Time>,
    /// Addresses it connects from, in turn.
    #[serde(default)]
    pub from: Vec<IpAddr>,
    /// Destinations, in turn.
    #[serde(default = "to")]
    pub to: Vec<SocketAddr>,
    /// How it binds.
    #[serde(default)]
    pub bind: Bind,
    /// Who ends a connection.
    #[serde(default)]
    pub closes: Closes,
    /// Whether it sends a request and waits for the answer before it is done.
    #[serde(default)]
    pub request: bool,
    /// How long it waits for the handshake, and then for the answer.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// Asks for Multipath TCP.
    #[serde(default)]
    pub mptcp: bool,
}

fn to() -> Vec<SocketAddr> {
    vec![SocketAddr::from((SERVER, port()))]
}

fn timeout() -> Time {
    Time(Duration::from_secs(3))
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

/// What hurts. Exactly one of the first four says what is counted.
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
    /// Fields of a server that change; it is restarted.
    pub server: BTreeMap<String, Spanned<toml::Table>>,
    /// Fields of a load that change; it is restarted.
    pub load: BTreeMap<String, Spanned<toml::Table>>,
    /// Servers that call `listen(2)` again on their socket.
    pub relisten: Vec<String>,
    /// A TCP port that the server's namespace stops tracking.
    pub notrack: Option<u16>,
    /// Connection tracking entries to delete.
    pub forget: Option<u32>,
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
        self.server.iter().try_for_each(check_server).or_else(whole)?;
        self.load.iter().try_for_each(check_load).or_else(whole)?;
        if let Some(symptom) = &self.symptom {
            let counted =
                [&symptom.counter, &symptom.errors, &symptom.slow_connects, &symptom.sockets].into_iter().flatten();
            if counted.count() != 1 {
                return whole("[symptom] needs exactly one of counter, errors, slow-connects, sockets".into());
            }
            for load in [&symptom.errors, &symptom.slow_connects].into_iter().flatten() {
                if !self.load.iter().any(|l| l.name == *load) {
                    return whole(format!("[symptom] is about a load {load:?} that is not there"));
                }
            }
        }
        if let Some(remedy) = &self.remedy {
            for (name, change) in &remedy.server {
                self.cured_server(name).map_err(|message| (change.span().start, message))?;
            }
            for (name, change) in &remedy.load {
                self.cured_load(name).map_err(|message| (change.span().start, message))?;
            }
            if let Some(name) = remedy.relisten.iter().find(|name| !self.server.iter().any(|s| s.name == **name)) {
                return whole(format!("[remedy] relisten: there is no server {name:?}"));
            }
        }
        Ok(())
    }

    /// A server as the remedy changes it.
    ///
    /// # Errors
    /// When the changed server makes no sense.
    pub fn cured_server(&self, name: &str) -> Result<Server, String> {
        let changes = self.remedy.as_ref().and_then(|remedy| remedy.server.get(name));
        let server = self.server.iter().find(|server| server.name == name);
        let server = changed(server.ok_or_else(|| format!("there is no server {name:?}"))?, changes)?;
        check_server(&server).map(|()| server)
    }

    /// A load as the remedy changes it.
    ///
    /// # Errors
    /// When the changed load makes no sense.
    pub fn cured_load(&self, name: &str) -> Result<Load, String> {
        let changes = self.remedy.as_ref().and_then(|remedy| remedy.load.get(name));
        let load = self.load.iter().find(|load| load.name == name);
        let load = changed(load.ok_or_else(|| format!("there is no load {name:?}"))?, changes)?;
        check_load(&load).map(|()| load)
    }

    /// `limit/cause`, or `healthy`.
    pub fn truth(&self) -> String {
        match (&self.limit, &self.cause) {
            (Some(Slug(limit)), Some(cause)) => format!("{limit}/{}", cause.get_ref()),
            _ => "healthy".into(),
        }
    }
}

/// `original` with some of its fields replaced.
fn changed<T>(original: &T, changes: Option<&Spanned<toml::Table>>) -> Result<T, String>
where
    T: Serialize + de::DeserializeOwned,
{
    let mut table = toml::Table::try_from(original).map_err(|error| error.to_string())?;
    if let Some(changes) = changes {
        table.extend(changes.get_ref().clone());
    }
    table.try_into().map_err(|error: toml::de::Error| error.message().to_string())
}

fn check_server(server: &Server) -> Result<(), String> {
    let missing = |field| Err(format!("server {:?}: its kind needs `{field}`", server.name));
    match server.kind {
        ServerKind::Paced if server.rate.is_none() => missing("rate"),
        ServerKind::Bursty if server.pause.is_none() => missing("pause"),
        ServerKind::SlowResponse if server.delay.is_none() => missing("delay"),
        _ => Ok(()),
    }
}

fn check_load(load: &Load) -> Result<(), String> {
    let name = &load.name;
    if load.kind == LoadKind::Hold && load.count.is_none() {
        return Err(format!("load {name:?}: `hold` needs `count`"));
    }
    if load.to.is_empty() {
        return Err(format!("load {name:?}: `to` names no destination"));
    }
    let on_both_sides = |ip: IpAddr| ip == SERVER || load.to.iter().any(|to| to.ip() == ip);
    if load.to.iter().any(|to| to.ip() == CLIENT) || load.from.iter().any(|from| on_both_sides(*from)) {
        return Err(format!("load {name:?}: an address can't be the client's and the server's"));
    }
    // Nothing may leave the lab.
    let mut addresses = load.from.iter().copied().chain(load.to.iter().map(SocketAddr::ip));
    match addresses.find(|address| !is_of_the_lab(*address)) {
        Some(address) => Err(format!(
            "load {name:?}: {address} is not of the lab, which has 10.77.0.0/16, fd77::/64, \
             and 10.78.0.0/16 for clients that the server has no route to"
        )),
        None => Ok(()),
    }
}

fn is_of_the_lab(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 77 | 78, ..]),
        IpAddr::V6(v6) => v6.segments()[..4] == [0xfd77, 0, 0, 0],
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "about = \"x\"\n[[server]]\nname = \"web\"\nkind = \"accepts\"\n";

    fn error(tail: &str) -> String {
        Scenario::parse("dir/x.toml", &format!("{HEAD}{tail}")).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_place_and_what_was_expected() {
        for (tail, line, column, expected) in [
            ("colour = 3\n", 5, 1, "unknown field `colour`"),
            ("backlog = \"many\"\n", 5, 11, "expected u32"),
            ("[watch]\nwindow = \"5m\"\n", 6, 10, "a duration such as"),
            ("[watch]\nwindow = \"61s\"\n", 6, 10, "longer than the 60 s"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 0\n", 8, 8, "expected 1 to 20000"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 20001\n", 8, 8, "expected 1 to 20000"),
            ("[[load]]\nname = \"a\"\nkind = \"hold\"\nrate = 1\ncount = 200001\n", 9, 9, "1 to 200000 connections"),
            ("[sysctl.server]\n\"vm.swappiness\" = 1\n", 6, 1, "not a sysctl that each network namespace"),
            ("[sysctl.server]\n\"net.core.somaxconn\" = 1.5\n", 6, 24, "a whole number or text"),
            ("[symptom]\ncolour = 3\n", 6, 1, "unknown field `colour`"),
            ("[remedy.server.web]\nrate = 0\n", 5, 1, "expected 1 to 20000"),
            ("[remedy.server.other]\nrate = 1\n", 5, 1, "there is no server \"other\""),
        ] {
            let message = error(tail);
            assert!(message.starts_with(&format!("dir/x.toml:{line}:{column}: ")), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        let text = "about = \"x\"\nlimit = \"accept-queue\"\ncause = \"bad-luck\"\n";
        let message = Scenario::parse("x.toml", text).unwrap_err().to_string();
        assert!(message.starts_with("x.toml:3:9: accept-queue has no cause \"bad-luck\""), "{message}");
        let message = Scenario::parse("x.toml", "about = \"x\"\nabsent = [\"nothing\"]\n").unwrap_err().to_string();
        assert!(message.starts_with("x.toml:2:"), "{message}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (tail, expected) in [
            ("[[server]]\nname = \"web\"\nkind = \"stalls\"\n", "\"web\" is the name of two"),
            ("[[server]]\nname = \"b\"\nkind = \"paced\"\n", "needs `rate`"),
            ("[[load]]\nname = \"a\"\nkind = \"hold\"\nrate = 1\n", "needs `count`"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = []\n", "no destination"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = [\"192.0.2.1:80\"]\n", "not of the lab"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nto = [\"10.77.0.1:80\"]\n", "the client's and the"),
            ("[[load]]\nname = \"a\"\nkind = \"connect\"\nrate = 1\nfrom = [\"10.77.0.2\"]\n", "the client's and the"),
            ("[symptom]\nat-least = 3\n", "exactly one of"),
            ("[symptom]\nerrors = \"a\"\n", "a load \"a\" that is not there"),
            ("[remedy]\nrelisten = [\"b\"]\n", "no server \"b\""),
        ] {
            let message = error(tail);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_remedy_changes_only_the_fields_it_names() {
        let tail = "backlog = 7\n[remedy.server.web]\nkind = \"paced\"\nrate = 9\n";
        let scenario = Scenario::parse("x.toml", &format!("{HEAD}{tail}")).unwrap();
        let cured = scenario.cured_server("web").unwrap();
        assert_eq!((cured.kind, cured.rate, cured.backlog), (ServerKind::Paced, Some(Rate(9)), 7));
        assert_eq!((scenario.name.as_str(), scenario.truth().as_str()), ("x", "healthy"));
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("5s", Some(5000)), ("200ms", Some(200)), ("0s", Some(0)), ("60s", Some(60_000))] {
            assert_eq!(Time::try_from(text.to_string()).ok().map(|t| t.0.as_millis()), ms, "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "99999999999999999999s", "5 s", "60001ms"] {
            assert!(Time::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}

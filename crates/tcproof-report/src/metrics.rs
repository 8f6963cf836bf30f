//! `tcproof serve`: what a window showed, as metrics for Prometheus and whoever reads the same text.
//!
//! The number of series has a bound, whatever the host: limits, causes and counters are those of the tables, namespaces,
//! listeners and subjects the foremost ones, and the rest is folded into `other`, or counted.

mod otlp;

pub use otlp::Sent;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use tcproof_core::limits::{LIMITS, Limit};
use tcproof_core::snapshot::NetnsId;
use tcproof_core::{Diagnosis, Headroom, Interval, Reading, State};

use crate::sanitize;

/// Subjects of each limit, and listeners, that have series of their own.
pub const TOP: usize = 10;
/// Namespaces that have series of their own.
pub const NAMESPACES: usize = 16;
/// Longest value of a label, in characters: a control group's path may have 4096.
const LONGEST: usize = 120;
/// The family of the kernel's own counters.
const KERNEL_EVENTS: &str = "tcproof_kernel_events";
/// The label of what is folded.
const OTHER: &str = "other";

/// What a listener is told by: its namespace and its address. Several sockets may share them.
type Place = (NetnsId, String);
/// Names and values, in the order in which they are written.
type Labels = Vec<(&'static str, String)>;

/// How to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The older text format of Prometheus, for whoever doesn't ask for the other.
    Text,
}

impl Format {
    /// What stands behind `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Whether it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    /// Its series end in `_total`.
    Counter,
    /// Its series end in `_info`, and are 1.
    Info,
}

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// A map: no series is there twice.
    series: BTreeMap<Labels, f64>,
}

impl Family {
    fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help, series: BTreeMap::new() }
    }

    fn one(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Self {
        let mut family = Self::new(name, kind, help);
        family.add([], value);
        family
    }

    /// What has the same labels adds up.
    fn add<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: f64) {
        *self.series.entry(labels.map(|(name, value)| (name, label(value))).into()).or_default() += value;
    }

    /// Behind the name of each of its series.
    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        }
    }

    /// Named by the end of its name.
    fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit))
    }

    fn write(&self, out: &mut String, format: Format) {
        let Self { name, kind, help, series } = self;
        if series.is_empty() {
            return;
        }
        let suffix = self.suffix();
        let word = match (kind, format) {
            (Kind::Counter, _) => "counter",
            (Kind::Info, Format::OpenMetrics) => "info",
            (Kind::Gauge, _) | (Kind::Info, Format::Text) => "gauge",
        };
        // Writing to a String cannot fail.
        let _ = match format {
            Format::OpenMetrics => {
                let unit = self.unit().map_or(String::new(), |unit| format!("# UNIT {name} {unit}\n"));
                write!(out, "# TYPE {name} {word}\n{unit}# HELP {name} {help}\n")
            }
            // There the suffix is part of the family's name.
            Format::Text => write!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {word}\n"),
        };
        for (labels, value) in series {
            let _ = write!(out, "{name}{suffix}");
            for (at, (name, value)) in labels.iter().enumerate() {
                let _ = write!(out, "{}{name}=\"{}\"", if at == 0 { '{' } else { ',' }, escape(value));
            }
            let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
}

/// Of the host's strings: no longer than it may be, and harmless to whoever looks at it on a terminal.
fn label(text: &str) -> String {
    let shown = sanitize(text);
    match shown.char_indices().nth(LONGEST) {
        None => shown.into_owned(),
        Some(_) => shown.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// As both formats have it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What only adds up over the windows. The kernel's own counters stay the kernel's, but a sum over listeners or namespaces
/// that come and go would fall now and then, and a counter that falls passes for one that began anew.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    windows: u64,
    /// For each limit: what was hurt, and windows in which it was limiting.
    hurt: BTreeMap<&'static str, (u64, u64)>,
    /// Drops of those that were shown, in the windows in which they were …
    drops: BTreeMap<Place, u64>,
    /// … and of all others.
    other_drops: u64,
    /// Growth in the namespaces that were not shown.
    other_events: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Adds a window, and says what is known after it.
    pub fn add(&mut self, window: &Window<'_>) -> Page {
        let Window { interval, diagnosis, .. } = window;
        self.windows += 1;
        for limit in LIMITS {
            let (hurt, limiting) = self.hurt.entry(limit.slug).or_default();
            let findings = diagnosis.findings.iter().filter(|finding| finding.limit == limit.slug);
            *hurt = findings.clone().fold(*hurt, |sum, finding| sum.saturating_add(finding.hurt));
            *limiting += u64::from(findings.clone().any(|finding| finding.state == State::Limiting));
        }
        let names = Names::of(interval);
        let listeners = listeners(interval);
        for (at, (place, listener)) in listeners.iter().enumerate() {
            let sum = match at < TOP {
                true => self.drops.entry(place.clone()).or_default(),
                false => &mut self.other_drops,
            };
            *sum = sum.saturating_add(listener.drops.unwrap_or(0));
        }
        let alive: BTreeSet<_> = listeners.iter().map(|(place, _)| place).collect();
        self.drops.retain(|place, _| alive.contains(place));
        for ns in interval.namespaces().filter(|ns| !names.shown.contains_key(&ns.id)) {
            for &name in &*COUNTERS {
                if let Reading::Present(growth) = ns.counter(name) {
                    let sum = self.other_events.entry(name).or_default();
                    *sum = sum.saturating_add(growth);
                }
            }
        }
        let mut families = Vec::from(self.of_limits(diagnosis));
        families.extend(headroom(diagnosis));
        families.extend(self.of_listeners(&listeners, &names));
        families.extend(self.of_namespaces(interval, &names));
        families.extend(window.own(self.windows));
        Page(families)
    }

    fn of_limits(&self, diagnosis: &Diagnosis) -> [Family; 5] {
        let mut states =
            Family::new("tcproof_limit_state", Kind::Gauge, "1 for the state that the limit is in, 0 for the others.");
        let mut hurt = Family::new(
            "tcproof_hurt",
            Kind::Counter,
            "Events of traffic that a limit hurt, since tcproof was started: handshakes, segments, connects.",
        );
        let mut limiting = Family::new(
            "tcproof_limiting_windows",
            Kind::Counter,
            "Windows in which the limit was limiting, since tcproof was started.",
        );
        let mut findings =
            Family::new("tcproof_findings", Kind::Gauge, "What was found in the last window, by limit and cause.");
        let mut absent = Family::new(
            "tcproof_readings_absent",
            Kind::Gauge,
            "Readings that a limit lacked in the last window; of all: places that nobody could look into.",
        );
        for limit in LIMITS {
            let slug = limit.slug;
            let state = diagnosis.verdict_on(slug).as_str();
            for word in ["clear", "near", "limiting", "unknown"] {
                states.add([("limit", slug), ("state", word)], f64::from(u8::from(word == state)));
            }
            let (events, windows) = self.hurt.get(slug).copied().unwrap_or_default();
            hurt.add([("limit", slug)], events as f64);
            limiting.add([("limit", slug)], windows as f64);
            absent.add([("limit", slug)], 0.0);
        }
        absent.add([("limit", "all")], 0.0);
        for finding in &diagnosis.findings {
            let known = Limit::by_slug(&finding.limit);
            let cause = known.and_then(|limit| limit.causes.iter().find(|(cause, _)| *cause == finding.cause));
            let labels = [
                ("limit", known.map_or(OTHER, |limit| limit.slug)),
                ("cause", cause.map_or(OTHER, |(cause, _)| cause)),
                ("state", word(finding.state)),
            ];
            findings.add(labels, 1.0);
        }
        for unknown in &diagnosis.unknown {
            absent.add([("limit", Limit::by_slug(&unknown.limit).map_or("all", |limit| limit.slug))], 1.0);
        }
        [states, findings, hurt, limiting, absent]
    }

    fn of_listeners(&self, listeners: &[(Place, Listening)], names: &Names) -> [Family; 3] {
        let mut queue = Family::new(
            "tcproof_listener_queue",
            Kind::Gauge,
            "Connections that waited for accept(2): the most that was seen in the last window.",
        );
        let mut limit =
            Family::new("tcproof_listener_queue_limit", Kind::Gauge, "Connections that the listener's queue takes.");
        let mut drops = Family::new(
            "tcproof_listener_drops",
            Kind::Counter,
            "Handshakes that the listener dropped, in the windows in which it had a series of its own.",
        );
        for (at, (place, listener)) in listeners.iter().enumerate() {
            let (netns, local) = match at < TOP {
                true => (names.name(place.0), &*place.1),
                false => (OTHER, OTHER),
            };
            let labels = [("netns", netns), ("listener", local)];
            queue.add(labels, listener.queue as f64);
            limit.add(labels, listener.limit as f64);
            if at < TOP && listener.drops.is_some() {
                drops.add(labels, self.drops.get(place).copied().unwrap_or(0) as f64);
            }
        }
        // It stays when there is nothing to fold any more.
        if self.other_drops > 0 || listeners.len() > TOP {
            drops.add([("netns", OTHER), ("listener", OTHER)], self.other_drops as f64);
        }
        [queue, limit, drops]
    }

    fn of_namespaces(&self, interval: &Interval, names: &Names) -> [Family; 3] {
        let mut events = Family::new(
            KERNEL_EVENTS,
            Kind::Counter,
            "The kernel's counters that limits are judged by, as it has them; of other namespaces: since tcproof was started.",
        );
        let mut sockets =
            Family::new("tcproof_sockets", Kind::Gauge, "TCP sockets by sockstat, at the end of the last window.");
        for (id, ns) in &interval.after.namespaces {
            let name = names.name(*id);
            if names.shown.contains_key(id) {
                for &counter in &*COUNTERS {
                    if let Some(value) = ns.counter(counter).value() {
                        events.add([("netns", name), ("counter", counter)], *value as f64);
                    }
                }
            }
            for (state, keys) in [("in_use", &["TCP.inuse", "TCP6.inuse"][..]), ("time_wait", &["TCP.tw"])] {
                let values = keys.iter().filter_map(|key| ns.sockstat(key).value().copied());
                if let Some(sum) = values.reduce(u64::saturating_add) {
                    sockets.add([("netns", name), ("state", state)], sum as f64);
                }
            }
        }
        for (counter, value) in &self.other_events {
            events.add([("netns", OTHER), ("counter", counter)], *value as f64);
        }
        let namespaces = Family::one(
            "tcproof_namespaces",
            Kind::Gauge,
            "Network namespaces that were watched.",
            interval.after.namespaces.len() as f64,
        );
        [events, sockets, namespaces]
    }
}

/// A window, and how it was watched.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// What was seen.
    pub interval: &'a Interval,
    /// What it shows.
    pub diagnosis: &'a Diagnosis,
    /// When it ended, since 1970.
    pub ended: Duration,
    /// How long reading took, besides the window itself.
    pub collection: Duration,
}

impl Window<'_> {
    fn own(&self, windows: u64) -> [Family; 4] {
        let gauge = |name, help, value| Family::one(name, Kind::Gauge, help, value);
        [
            gauge("tcproof_window_seconds", "How long the last window was.", self.interval.seconds()),
            gauge("tcproof_window_end_timestamp_seconds", "When the last window ended.", self.ended.as_secs_f64()),
            gauge(
                "tcproof_collection_seconds",
                "How long reading and judging took, besides the last window.",
                self.collection.as_secs_f64(),
            ),
            Family::one("tcproof_windows", Kind::Counter, "Windows watched since tcproof was started.", windows as f64),
        ]
    }
}

/// What is known of the program itself when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Own<'a> {
    /// Its version.
    pub version: &'a str,
    /// Kernel release.
    pub kernel: &'a str,
    /// Connections that were closed because there were too many.
    pub refused: u64,
    /// Windows that no collector took, where they are pushed to one.
    pub pushes_failed: Option<u64>,
    /// CPU time so far.
    pub cpu: Duration,
    /// Memory in use, where it can be read.
    pub memory: Option<u64>,
}

/// What the last window showed; nothing before the first is over.
#[derive(Clone, Debug, Default)]
pub struct Page(Vec<Family>);

impl Page {
    /// All of it.
    pub fn text(&self, own: &Own<'_>, format: Format) -> String {
        let mut out = String::new();
        for family in self.families(&own.families()) {
            family.write(&mut out, format);
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    fn families<'a>(&'a self, own: &'a [Family; 5]) -> impl Iterator<Item = &'a Family> {
        own[..1].iter().chain(&self.0).chain(&own[1..])
    }
}

impl Own<'_> {
    /// Which program it is, and what else it knows of itself.
    fn families(&self) -> [Family; 5] {
        let mut build = Family::new("tcproof_build", Kind::Info, "Which tcproof this is, and on which kernel.");
        build.add([("version", self.version), ("kernel", self.kernel)], 1.0);
        let refused = Family::one(
            "tcproof_connections_refused",
            Kind::Counter,
            "Connections that made room for newer ones, unanswered.",
            self.refused as f64,
        );
        let mut pushes = Family::new("tcproof_otlp_failed", Kind::Counter, "Windows that no OTLP collector took.");
        if let Some(failed) = self.pushes_failed {
            pushes.add([], failed as f64);
        }
        let cpu =
            Family::one("process_cpu_seconds", Kind::Counter, "CPU time of tcproof itself.", self.cpu.as_secs_f64());
        let mut memory = Family::new("process_resident_memory_bytes", Kind::Gauge, "Memory of tcproof itself.");
        if let Some(bytes) = self.memory {
            memory.add([], bytes as f64);
        }
        [build, refused, pushes, cpu, memory]
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Limiting => "limiting",
        State::Near => "near",
    }
}

/// Used and capacity of the fullest of each limit.
fn headroom(diagnosis: &Diagnosis) -> [Family; 3] {
    let mut used = Family::new(
        "tcproof_limit_used",
        Kind::Gauge,
        "How much of a limit is used, by those that use most of it: the highest value of the last window.",
    );
    let mut capacity = Family::new("tcproof_limit_capacity", Kind::Gauge, "How much there is.");
    let mut omitted = Family::new(
        "tcproof_limit_subjects_omitted",
        Kind::Gauge,
        "Subjects of a limit that have no series of their own.",
    );
    for limit in LIMITS {
        let mut of: Vec<_> = diagnosis.headroom.iter().filter(|headroom| headroom.limit == limit.slug).collect();
        of.sort_by(|a, b| b.share().total_cmp(&a.share()));
        let (mut seen, mut left) = (BTreeSet::new(), 0_u32);
        for Headroom { subject, used: now, capacity: most, unit, .. } in of {
            let (netns, name) = (subject.netns().unwrap_or_default(), subject.to_string());
            // Two that nobody could tell apart are one: the fuller.
            if seen.len() == TOP || !seen.insert([label(netns), label(&name), label(unit)]) {
                left += 1;
                continue;
            }
            let labels = [("limit", limit.slug), ("netns", netns), ("subject", &*name), ("unit", &**unit)];
            used.add(labels, *now as f64);
            capacity.add(labels, *most as f64);
        }
        omitted.add([("limit", limit.slug)], f64::from(left));
    }
    [used, capacity, omitted]
}

/// Listeners that share an address.
#[derive(Clone, Copy, Debug, Default)]
struct Listening {
    queue: u64,
    limit: u64,
    /// In the window, where this kernel counts them.
    drops: Option<u64>,
}

/// Those that drop most first, then the fullest.
fn listeners(interval: &Interval) -> Vec<(Place, Listening)> {
    let mut places: BTreeMap<Place, Listening> = BTreeMap::new();
    for (id, watches) in &interval.looks.listeners {
        for watch in watches.values() {
            let of = places.entry((*id, watch.last.local.to_string())).or_default();
            of.queue += u64::from(watch.longest);
            // The queue is full at one more.
            of.limit += u64::from(watch.last.backlog) + 1;
            if let Some(drops) = watch.drops().value() {
                of.drops = Some(of.drops.unwrap_or(0) + u64::from(*drops));
            }
        }
    }
    let mut all: Vec<_> = places.into_iter().collect();
    let share = |of: &Listening| of.queue as f64 / of.limit as f64;
    all.sort_by(|(_, a), (_, b)| b.drops.cmp(&a.drops).then(share(b).total_cmp(&share(a))));
    all
}

/// What the namespaces with series of their own are called, each by another name.
struct Names {
    shown: BTreeMap<NetnsId, String>,
}

impl Names {
    /// tcproof's own first, then by inode: which they are changes seldom.
    fn of(interval: &Interval) -> Self {
        let mut all: Vec<_> = interval.after.namespaces.iter().collect();
        all.sort_by_key(|(id, ns)| (!ns.own, **id));
        let mut taken = BTreeSet::from([OTHER.to_string()]);
        let shown = all.into_iter().take(NAMESPACES).map(|(id, ns)| {
            // Names of the host may be equal, or become so when they are cut.
            let name = Some(label(&ns.name)).filter(|name| taken.insert(name.clone()));
            (*id, name.unwrap_or_else(|| id.to_string()))
        });
        Self { shown: shown.collect() }
    }

    fn name(&self, id: NetnsId) -> &str {
        self.shown.get(&id).map_or(OTHER, String::as_str)
    }
}

/// Counters of a namespace that any limit reads.
static COUNTERS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let groups = ["Tcp", "TcpExt", "Ip", "IpExt", "Icmp", "Ip6", "Icmp6", "MPTcpExt"];
    let reads = LIMITS.iter().flat_map(|limit| limit.reads).copied();
    reads.filter(|name| name.split_once('.').is_some_and(|(group, _)| groups.contains(&group))).collect()
});

#[cfg(test)]
mod tests;

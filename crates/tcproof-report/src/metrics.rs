//! `tcproof serve`: what a window showed, as metrics for Prometheus and whoever reads the same text.
//!
//! The number of series has a bound, whatever the host: limits, causes and counters are those of the tables, namespaces,
//! listeners and subjects the foremost ones, and the rest is folded into `other`, or counted.

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

    fn write(&self, out: &mut String, format: Format) {
        let Self { name, kind, help, series } = self;
        if series.is_empty() {
            return;
        }
        let (suffix, word) = match (kind, format) {
            (Kind::Gauge, _) => ("", "gauge"),
            (Kind::Counter, _) => ("_total", "counter"),
            (Kind::Info, Format::OpenMetrics) => ("_info", "info"),
            (Kind::Info, Format::Text) => ("_info", "gauge"),
        };
        // Writing to a String cannot fail.
        let _ = match format {
            Format::OpenMetrics => {
                let unit = ["seconds", "bytes"].iter().find(|unit| name.ends_with(*unit));
                let unit = unit.map_or(String::new(), |unit| format!("# UNIT {name} {unit}\n"));
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
            "tcproof_kernel_events",
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
        let mut build = Family::new("tcproof_build", Kind::Info, "Which tcproof this is, and on which kernel.");
        build.add([("version", own.version), ("kernel", own.kernel)], 1.0);
        let refused = Family::one(
            "tcproof_connections_refused",
            Kind::Counter,
            "Connections that were closed at once, because there were too many.",
            own.refused as f64,
        );
        let cpu =
            Family::one("process_cpu_seconds", Kind::Counter, "CPU time of tcproof itself.", own.cpu.as_secs_f64());
        let mut memory = Family::new("process_resident_memory_bytes", Kind::Gauge, "Memory of tcproof itself.");
        if let Some(bytes) = own.memory {
            memory.add([], bytes as f64);
        }
        let mut out = String::new();
        for family in [build].iter().chain(&self.0).chain(&[refused, cpu, memory]) {
            family.write(&mut out, format);
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
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
mod tests {
    use proptest::prelude::*;
    use tcproof_core::snapshot::{Endpoint, Listener, Netns, Protocol};
    use tcproof_core::{Absent, ListenerWatch, Subject};

    use super::*;
    use crate::examples;

    /// A family's kind by its name, and a value for each series: read by the letter of OpenMetrics, or of the older format.
    fn parse(text: &str, format: Format) -> Result<BTreeMap<String, f64>, String> {
        let mut series = BTreeMap::new();
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let (mut family, mut ended) = ("", false);
        for line in text.lines() {
            let wrong = |what: &str| format!("{what}: {line:?}");
            if ended {
                return Err(wrong("behind the end"));
            }
            if line == "# EOF" && format == Format::OpenMetrics {
                ended = true;
                continue;
            }
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (what, name, rest) =
                    (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
                match what {
                    "TYPE" if ["gauge", "counter", "info"].contains(&rest) => {
                        if types.insert(name, rest).is_some() {
                            return Err(wrong("a family twice"));
                        }
                        family = name;
                    }
                    "UNIT" if name == family && name.ends_with(rest) => {}
                    "HELP" if format == Format::Text || name == family => {}
                    _ => return Err(wrong("a comment")),
                }
                continue;
            }
            let end = line.find(['{', ' ']).ok_or_else(|| wrong("a name"))?;
            let (name, mut rest) = line.split_at(end);
            let suffix = match (types.get(family), format) {
                (Some(&"counter"), Format::OpenMetrics) => "_total",
                (Some(&"info"), Format::OpenMetrics) => "_info",
                (Some(_), _) => "",
                (None, _) => return Err(wrong("no type")),
            };
            if name != format!("{family}{suffix}") {
                return Err(wrong("not of its family"));
            }
            let mut key = name.to_string();
            if let Some(labels) = rest.strip_prefix('{') {
                rest = labels;
                loop {
                    let (label, value) = rest.split_once("=\"").ok_or_else(|| wrong("a label"))?;
                    if !label.bytes().all(|b| b.is_ascii_lowercase()) || label.is_empty() {
                        return Err(wrong("a label's name"));
                    }
                    let mut chars = value.char_indices();
                    let close = loop {
                        match chars.next().ok_or_else(|| wrong("a value without an end"))? {
                            (at, '"') => break at,
                            (_, '\\') => match chars.next() {
                                Some((_, '\\' | '"' | 'n')) => {}
                                _ => return Err(wrong("an escape")),
                            },
                            _ => {}
                        }
                    };
                    key.push_str(&format!(" {label}={}", &value[..close]));
                    rest = &value[close + 1..];
                    match rest.split_at_checked(1) {
                        Some((",", more)) => rest = more,
                        Some(("}", more)) => {
                            rest = more;
                            break;
                        }
                        _ => return Err(wrong("behind a label")),
                    }
                }
            }
            let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok()).ok_or_else(|| wrong("a value"))?;
            if series.insert(key, value).is_some() {
                return Err(wrong("a series twice"));
            }
        }
        match ended || format == Format::Text {
            true => Ok(series),
            false => Err("no end".into()),
        }
    }

    fn own() -> Own<'static> {
        let cpu = Duration::from_millis(1250);
        Own { version: "0.1.0", kernel: "6.8.0", refused: 3, cpu, memory: Some(9 << 20) }
    }

    fn watch(local: &str, queue: u32, drops: [u32; 2]) -> ListenerWatch {
        let local: std::net::SocketAddr = local.parse().unwrap();
        let listener = |drops| Listener {
            local: Endpoint::new(local.ip(), local.port()),
            device: 0,
            protocol: Protocol::Tcp,
            cookie: 1,
            inode: 1,
            uid: 0,
            queue,
            backlog: 128,
            drops: Reading::Present(drops),
            cgroup_id: None,
        };
        let mut watch = ListenerWatch::new(listener(drops[0]), Duration::ZERO, false);
        watch.look(listener(drops[1]), Duration::from_secs(5));
        watch
    }

    fn netns(name: &str, own: bool, overflows: u64) -> Netns {
        let mut ns = Netns { name: name.into(), own, ..Netns::default() };
        ns.counters.insert("TcpExt.ListenOverflows".into(), overflows);
        ns.counters.insert("TcpExt.NobodyReadsThis".into(), 7);
        ns.sockstat = Reading::Present([("TCP.inuse".into(), 12), ("TCP.tw".into(), 7)].into());
        ns
    }

    /// Two namespaces, and in the second a listener that drops.
    fn interval(grown: u64) -> Interval {
        let mut interval = Interval::default();
        interval.after.at = Duration::from_secs(15);
        for (id, name) in [(1, "host"), (2, "web")] {
            interval.before.namespaces.insert(NetnsId(id), netns(name, id == 1, 100));
            interval.after.namespaces.insert(NetnsId(id), netns(name, id == 1, 100 + grown));
        }
        let drops = u32::try_from(grown).unwrap();
        interval.looks.listeners.insert(NetnsId(1), [(1, watch("[::1]:22", 0, [0, 0]))].into());
        interval.looks.listeners.insert(NetnsId(2), [(2, watch("0.0.0.0:8080", 129, [10, 10 + drops]))].into());
        interval
    }

    fn page(totals: &mut Totals, interval: &Interval, diagnosis: &Diagnosis) -> Page {
        let ended = Duration::from_secs(1_796_083_200);
        totals.add(&Window { interval, diagnosis, ended, collection: Duration::from_millis(21) })
    }

    /// A listener that drops, and what could not be read.
    fn diagnosis() -> Diagnosis {
        let mut diagnosis = examples::quiet();
        diagnosis.findings.push(examples::slow_listener("gunicorn"));
        diagnosis.unknown.push(examples::unknown("tcp-memory", "net.ipv4.tcp_mem", "no permission", Some("root")));
        diagnosis.unknown.push(examples::unknown("all", "network namespaces of 41 processes", "no permission", None));
        diagnosis
    }

    /// Without what is the same for every limit that nothing is known of.
    fn telling(text: &str) -> String {
        let quiet = LIMITS.iter().map(|limit| limit.slug);
        let quiet: Vec<_> = quiet.filter(|slug| !["accept-queue", "tcp-memory"].contains(slug)).collect();
        let is_quiet = |line: &&str| {
            quiet.iter().any(|slug| line.contains(&format!("limit=\"{slug}\"")) && !line.contains("subject="))
        };
        text.lines().filter(|line| !is_quiet(line)).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_window_as_open_metrics() {
        let page = page(&mut Totals::default(), &interval(342), &diagnosis());
        insta::assert_snapshot!("serve-openmetrics", telling(&page.text(&own(), Format::OpenMetrics)));
    }

    #[test]
    fn the_older_format_names_whole_families() {
        let text = page(&mut Totals::default(), &interval(342), &diagnosis()).text(&own(), Format::Text);
        assert!(text.contains("# TYPE tcproof_hurt_total counter\n"), "{text}");
        assert!(text.contains("# TYPE tcproof_build_info gauge\n"), "{text}");
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    }

    #[test]
    fn before_the_first_window_it_says_what_it_is() {
        let own = Own { memory: None, ..own() };
        insta::assert_snapshot!(Page::default().text(&own, Format::OpenMetrics), @r#"
        # TYPE tcproof_build info
        # HELP tcproof_build Which tcproof this is, and on which kernel.
        tcproof_build_info{version="0.1.0",kernel="6.8.0"} 1
        # TYPE tcproof_connections_refused counter
        # HELP tcproof_connections_refused Connections that were closed at once, because there were too many.
        tcproof_connections_refused_total 3
        # TYPE process_cpu_seconds counter
        # UNIT process_cpu_seconds seconds
        # HELP process_cpu_seconds CPU time of tcproof itself.
        process_cpu_seconds_total 1.25
        # EOF
        "#);
    }

    /// What a counter says.
    fn value(page: &Page, key: &str) -> Option<f64> {
        parse(&page.text(&own(), Format::Text), Format::Text).unwrap().get(key).copied()
    }

    #[test]
    fn totals_add_up_over_windows_and_never_fall() {
        let (mut totals, diagnosis) = (Totals::default(), diagnosis());
        let web = "tcproof_listener_drops_total netns=web listener=0.0.0.0:8080";
        let first = page(&mut totals, &interval(342), &diagnosis);
        assert_eq!(value(&first, web), Some(342.0));
        assert_eq!(value(&first, "tcproof_hurt_total limit=accept-queue"), Some(342.0));
        // Ten others drop more: what it drops now is `other`'s, and what it dropped before stays its own.
        let mut many = interval(3);
        let others = (0..10).map(|n| (9 + n, watch(&format!("10.0.0.1:{}", 100 + n), 1, [0, 5])));
        many.looks.listeners.insert(NetnsId(1), others.collect());
        let second = page(&mut totals, &many, &examples::quiet());
        assert_eq!(value(&second, web), None);
        assert_eq!(value(&second, "tcproof_listener_drops_total netns=other listener=other"), Some(3.0));
        let third = page(&mut totals, &interval(1), &diagnosis);
        assert_eq!(value(&third, web), Some(343.0));
        assert_eq!(value(&third, "tcproof_listener_drops_total netns=other listener=other"), Some(3.0));
        assert_eq!(value(&third, "tcproof_hurt_total limit=accept-queue"), Some(684.0));
        assert_eq!(value(&third, "tcproof_limiting_windows_total limit=accept-queue"), Some(2.0));
        assert_eq!(value(&third, "tcproof_windows_total"), Some(3.0));
    }

    #[test]
    fn what_namespaces_beyond_the_last_shown_count_is_their_growth() {
        let mut interval = interval(2);
        for id in 3..=40 {
            interval.before.namespaces.insert(NetnsId(id), netns("pod", false, 1_000));
            interval.after.namespaces.insert(NetnsId(id), netns("pod", false, 1_001));
        }
        let page = page(&mut Totals::default(), &interval, &examples::quiet());
        let events =
            |ns: &str| value(&page, &format!("tcproof_kernel_events_total netns={ns} counter=TcpExt.ListenOverflows"));
        assert_eq!(events("host"), Some(102.0));
        // Of namespaces with one name each has a series.
        assert_eq!(events("pod"), Some(1_001.0));
        assert_eq!(events("net:[4]"), Some(1_001.0));
        assert_eq!(events("net:[17]"), None);
        assert_eq!(events("other"), Some(24.0));
        assert_eq!(value(&page, "tcproof_sockets netns=other state=in_use"), Some(24.0 * 12.0));
    }

    #[test]
    fn what_could_not_be_read_is_unknown_and_a_finding_comes_first() {
        let mut diagnosis = diagnosis();
        assert_eq!(diagnosis.verdict_on("tcp-memory").as_str(), "unknown");
        assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "limiting");
        assert_eq!(diagnosis.verdict_on("loss").as_str(), "clear");
        diagnosis.unknown.push(examples::unknown("accept-queue", "x", "y", None));
        diagnosis.findings[0].state = State::Near;
        assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "near");
        // Its namespaces went away, or there was one look only.
        for blind in [|it: &mut Diagnosis| it.namespaces = 0, |it: &mut Diagnosis| it.window = Duration::ZERO] {
            let mut diagnosis = diagnosis.clone();
            blind(&mut diagnosis);
            assert_eq!(diagnosis.verdict_on("loss").as_str(), "unknown");
            assert_eq!(diagnosis.verdict_on("accept-queue").as_str(), "near");
        }
    }

    fn subjects() -> impl Strategy<Value = Subject> {
        let netns = any::<String>();
        prop_oneof![
            Just(Subject::Host),
            netns.prop_map(|netns| Subject::Netns { netns }),
            (netns, any::<String>()).prop_map(|(netns, local)| examples::listener(&netns, &local, vec![])),
            (netns, any::<String>()).prop_map(|(netns, device)| Subject::Device { netns, device }),
        ]
    }

    fn slugs() -> impl Strategy<Value = String> {
        let known = (0..LIMITS.len()).prop_map(|at| LIMITS[at].slug.to_string());
        prop_oneof![4 => known, 1 => any::<String>()]
    }

    prop_compose! {
        fn hosts()(
            namespaces in prop::collection::vec((any::<String>(), any::<u64>(), any::<bool>()), 0..40),
            listeners in prop::collection::vec((any::<u16>(), any::<u32>(), any::<[u32; 2]>()), 0..40),
            headroom in prop::collection::vec((slugs(), subjects(), any::<[u64; 2]>(), "[a-z]{0,3}"), 0..80),
            findings in prop::collection::vec((slugs(), any::<String>(), any::<bool>(), any::<u64>()), 0..20),
            unknown in prop::collection::vec((slugs(), any::<String>()), 0..20),
        ) -> (Interval, Diagnosis) {
            let (mut interval, mut diagnosis) = (Interval::default(), examples::quiet());
            interval.after.at = Duration::from_secs(1);
            for (id, (name, value, own)) in namespaces.iter().enumerate() {
                let id = NetnsId(id as u64 % 30);
                interval.before.namespaces.insert(id, netns(name, *own, 0));
                let mut ns = netns(name, *own, *value);
                if *value % 5 == 0 {
                    ns.sockstat = Reading::Absent(Absent::NotNeeded);
                }
                interval.after.namespaces.insert(id, ns);
                let of = listeners.iter().map(|(port, queue, drops)| (u64::from(*port), watch(&format!("127.0.0.1:{port}"), *queue, *drops)));
                interval.looks.listeners.insert(id, of.collect());
            }
            diagnosis.headroom = headroom
                .into_iter()
                .map(|(limit, subject, [used, capacity], unit)| Headroom { limit, subject, used, capacity, unit })
                .collect();
            diagnosis.findings = findings
                .into_iter()
                .map(|(limit, cause, is_near, hurt)| {
                    let state = if is_near { State::Near } else { State::Limiting };
                    tcproof_core::Finding { limit, cause, state, hurt, ..examples::slow_listener("x") }
                })
                .collect();
            diagnosis.unknown = unknown.iter().map(|(limit, why)| examples::unknown(limit, why, why, None)).collect();
            (interval, diagnosis)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any strings give text that parses, without a series that is there twice; their number has a bound, and so has
        /// its size; and no counter falls.
        #[test]
        fn no_host_is_too_strange(hosts in prop::collection::vec(hosts(), 1..3), kernel in any::<String>()) {
            let own = Own { kernel: &kernel, ..own() };
            let mut totals = Totals::default();
            let mut before: BTreeMap<String, f64> = BTreeMap::new();
            for (interval, diagnosis) in &hosts {
                let page = page(&mut totals, interval, diagnosis);
                for format in [Format::OpenMetrics, Format::Text] {
                    let text = page.text(&own, format);
                    let series = parse(&text, format).map_err(TestCaseError::fail)?;
                    let limits = LIMITS.len();
                    let causes: usize = LIMITS.iter().map(|limit| limit.causes.len() + 1).sum();
                    let most = limits * (8 + 2 * TOP) + 2 * (causes + 1) + 3 * (TOP + 1) + (NAMESPACES + 1) * (COUNTERS.len() + 2) + 20;
                    prop_assert!(series.len() <= most, "{} series", series.len());
                    prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
                    if format == Format::Text {
                        for (key, value) in &series {
                            let is_ours = key.contains("_total") && !key.contains("kernel_events");
                            prop_assert!(!is_ours || before.get(key).is_none_or(|before| before <= value), "{key} fell");
                        }
                        before = series;
                    }
                }
            }
        }
    }
}

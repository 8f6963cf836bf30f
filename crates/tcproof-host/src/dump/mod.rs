//! What others collected on a host: a sosreport, or what `ss`, `nstat`, `netstat -s`, `sysctl -a` printed and files of `/proc`.
//!
//! One dump is one reading: it has no interval, and judging knows by that ([`Interval::is_alone`]). Two of one boot are the
//! two ends of one, if the time between them can be told.

mod archive;
mod census;
mod clock;
mod kind;
pub mod netstat;
pub mod nstat;
mod open;
mod snapshot;
mod sockets;
pub mod ss;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use tcproof_core::limits::SocketSet;
use tcproof_core::snapshot::{NetnsId, Snapshot};
use tcproof_core::{Absent, Interval, Looks, Reading, diagnose, sockets_of_interest};

use archive::{Bounds, Format};
pub use census::census;
use clock::Date;
pub use open::{is_dump, open};
use snapshot::Place;

/// Why a dump can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Error {
    place: String,
    what: String,
}

impl Error {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

/// What was collected at one time.
#[derive(Debug)]
pub struct Dump {
    name: String,
    is_sos: bool,
    host: Identity,
    when: When,
    /// Everything but the namespaces.
    base: Snapshot,
    places: Vec<Place>,
    notes: Vec<String>,
}

/// Whose it is, and since which boot, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Identity {
    boot: Option<String>,
    /// `btime` of `/proc/stat`: when it booted, which moves with the clock by a little.
    booted: Option<u64>,
}

/// When it was taken, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct When {
    /// `/proc/uptime`.
    up: Option<Duration>,
    /// `uptime`, which knows minutes.
    about_up: Option<Duration>,
    date: Option<Date>,
    /// When the file with counters was written, or else the one with sockets.
    modified: Option<Duration>,
}

/// One dump, for whoever reads the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its file or folder.
    pub name: String,
    /// Whether it is a sosreport.
    pub is_sos: bool,
    /// When, in seconds since 1970, and the zone where that is not UTC.
    pub at: Option<(i64, String)>,
    /// How long the host was up.
    pub up: Option<Duration>,
    /// What was not read, and why.
    pub notes: Vec<String>,
}

/// What was read of one dump or two.
#[derive(Debug)]
pub struct Judged {
    /// For judging.
    pub interval: Interval,
    /// The dumps, the earlier first.
    pub taken: Vec<Taken>,
    /// Why there is no interval, though there are two.
    pub why_alone: Option<String>,
    /// Whether nothing but the times of their files tells how long it was: whoever copies them may change those.
    pub is_by_files: bool,
}

/// Reads an archive, counts and judges it, for the fuzzer: how much is unknown.
///
/// # Errors
/// What is wrong with it.
pub fn read_archive(mut bytes: &[u8]) -> Result<usize, Error> {
    let Some(format) = Format::of(bytes) else { return Err(Error::new("archive", "expected tar, tar.gz or tar.xz")) };
    let mut tree = archive::read("archive", format, bytes.by_ref(), Bounds { bytes: 16 << 20, members: 4096 })?;
    let dump = snapshot::dump("archive".into(), &mut tree)?;
    let _ = census::of(&dump);
    let judged = judge(vec![dump])?;
    Ok(diagnose(&judged.interval).unknown.len())
}

/// Reads loose texts, as if they were files of one folder, counts and judges them: for the fuzzer too.
///
/// # Errors
/// What is wrong with them.
pub fn read_loose(texts: &[&[u8]]) -> Result<Interval, Error> {
    let mut tree = tree::Tree::default();
    for (n, text) in texts.iter().enumerate() {
        if let Some(kind) = kind::loose(text.get(..4096).unwrap_or(text)) {
            let text = tree::Text { bytes: text.to_vec(), modified: Duration::ZERO };
            tree.add(&format!("{n}"), tree::Want::Loose(kind), text);
        }
    }
    let dump = snapshot::dump("texts".into(), &mut tree)?;
    let _ = census::of(&dump);
    let judged = judge(vec![dump])?;
    Ok(judged.interval)
}

/// One dump, or the interval between two.
///
/// # Errors
/// They are of two hosts or of two boots, or more than two.
pub fn judge(dumps: Vec<Dump>) -> Result<Judged, Error> {
    let Ordered { first, last, window } = Ordered::of(dumps)?;
    let taken = first.iter().chain([&last]).map(Dump::taken).collect();
    let (window, why_alone) = match window {
        Ok(window) => (window, None),
        Err(why) => (None, Some(why)),
    };
    let is_by_files = window.is_some_and(|window| window.is_by_files);
    let window = window.map(|window| window.time);
    let interval = interval(first.filter(|_| window.is_some()), last, window.unwrap_or_default());
    Ok(Judged { interval, taken, why_alone, is_by_files })
}

/// One dump or two, as they were taken.
struct Ordered {
    first: Option<Dump>,
    last: Dump,
    /// The time between two, or why it can't be told; then they are as they were named.
    window: Result<Option<Between>, String>,
}

/// Between two dumps.
#[derive(Clone, Copy, Debug)]
struct Between {
    /// Whether the second is the later one.
    is_later: bool,
    time: Duration,
    /// Told by when their files were written, for want of anything else.
    is_by_files: bool,
}

impl Ordered {
    fn of(mut dumps: Vec<Dump>) -> Result<Self, Error> {
        let mut window = Ok(None);
        if let [a, b] = &dumps[..] {
            same_host(a, b)?;
            window = between(&a.when, &b.when).map(Some);
            if let Ok(Some(Between { is_later: false, .. })) = window {
                dumps.swap(0, 1);
            }
        }
        let Some(last) = dumps.pop() else { return Err(Error::new("dump", "expected one")) };
        let first = dumps.pop();
        if let Some(third) = dumps.pop() {
            return Err(Error::new(third.name, "expected at most two dumps: the two ends of an interval"));
        }
        Ok(Self { first, last, window })
    }
}

fn same_host(a: &Dump, b: &Dump) -> Result<(), Error> {
    let of_both = || format!("{} and {}", a.name, b.name);
    let (one, other) = (&a.base.host.name, &b.base.host.name);
    if !one.is_empty() && !other.is_empty() && one != other {
        let what =
            format!("expected two dumps of one host, found {} and {}", shown(one.as_bytes()), shown(other.as_bytes()));
        return Err(Error::new(of_both(), what));
    }
    let other_boot = match (&a.host.boot, &b.host.boot) {
        (Some(one), Some(other)) => one != other,
        // An hour is more than clocks are set by, and less than anybody waits between dumps of two boots.
        _ => a.host.booted.zip(b.host.booted).is_some_and(|(one, other)| one.abs_diff(other) > 3600),
    };
    match other_boot {
        true => Err(Error::new(
            of_both(),
            "expected two dumps of one boot: the host was booted between them, and its counters began anew",
        )),
        false => Ok(()),
    }
}

/// Whether the second is the later one, and how long after the first.
fn between(a: &When, b: &When) -> Result<Between, String> {
    let dates = a.date.clone().zip(b.date.clone()).filter(|(a, b)| a.zone == b.zone);
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).ok();
    let both = |a: Option<Duration>, b: Option<Duration>| Some((milliseconds(a?)?, milliseconds(b?)?));
    let told = both(a.up, b.up)
        .or_else(|| dates.map(|(a, b)| (a.seconds.saturating_mul(1000), b.seconds.saturating_mul(1000))));
    match told.or_else(|| both(a.modified, b.modified)) {
        None => Err("the time between them can't be told: neither has the output of date nor /proc/uptime".into()),
        Some((a, b)) if a == b => Err("they were taken at the same time, as far as they say".into()),
        Some((a, b)) => {
            Ok(Between { is_later: a < b, time: Duration::from_millis(a.abs_diff(b)), is_by_files: told.is_none() })
        }
    }
}

fn interval(first: Option<Dump>, last: Dump, window: Duration) -> Interval {
    let names: BTreeSet<String> =
        first.iter().chain([&last]).flat_map(|dump| dump.places.iter().map(|place| place.name.clone())).collect();
    // Inodes are in no dump: names tell namespaces of two apart.
    let ids: BTreeMap<String, NetnsId> = names.into_iter().zip(1..).map(|(name, id)| (name, NetnsId(id))).collect();
    let mut looks = Looks::default();
    let mut before = first.as_ref().map(|first| first.snapshot(&ids));
    let mut after = last.snapshot(&ids);
    after.at = window;
    for dump in first.iter().chain([&last]) {
        for place in &dump.places {
            let Some(id) = ids.get(&place.name).copied() else { continue };
            let is_later = first.is_some() && std::ptr::eq(dump, &last);
            sockets::look(place, looks.listeners.entry(id).or_default(), first.is_some(), is_later.then_some(window));
            let why = "a dump is one look at them, and they are judged by five".into();
            let why = Absent::Failed { what: "connections, one by one".into(), error: why };
            looks.flows.insert(id, Reading::Absent(why));
        }
    }
    let wanted = sockets_of_interest(&after, None);
    let mut alone =
        Interval { before: before.clone().unwrap_or_else(|| after.clone()), after, looks, ..Interval::default() };
    let wanted: SocketSet = wanted.into_iter().chain(sockets_of_interest(&alone.after, Some(&alone))).collect();
    last.find_owners(&mut alone.after, &ids, &wanted);
    match (&mut before, first) {
        (Some(before), Some(first)) => {
            first.find_owners(before, &ids, &wanted);
            alone.before = before.clone();
        }
        _ => alone.before = alone.after.clone(),
    }
    alone
}

impl Dump {
    fn taken(&self) -> Taken {
        let modified = || Some((i64::try_from(self.when.modified?.as_secs()).ok()?, String::new()));
        let date = self.when.date.as_ref().map(|date| {
            let zone = if date.is_utc() { String::new() } else { date.zone.clone() };
            (date.seconds, zone)
        });
        Taken {
            name: self.name.clone(),
            is_sos: self.is_sos,
            at: date.or_else(modified),
            up: self.when.up.or(self.when.about_up),
            notes: self.notes.clone(),
        }
    }

    fn snapshot(&self, ids: &BTreeMap<String, NetnsId>) -> Snapshot {
        let mut snapshot = self.base.clone();
        for place in &self.places {
            if let Some(id) = ids.get(&place.name) {
                snapshot.namespaces.insert(*id, place.ns.clone());
            }
        }
        snapshot
    }

    fn find_owners(&self, snapshot: &mut Snapshot, ids: &BTreeMap<String, NetnsId>, wanted: &SocketSet) {
        for place in &self.places {
            let Some(id) = ids.get(&place.name) else { continue };
            let inodes = wanted.iter().filter(|(netns, _)| netns == id).map(|(_, inode)| *inode).collect();
            sockets::owners(place, &inodes, snapshot);
        }
    }
}

/// What came from a dump, in a message: the beginning of it.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut start: String = text.chars().take(120).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

//! From the files of a dump to a snapshot: the readers of a live host, on files of a dump; what `sysctl -a` and `nstat` print
//! stands for the files that they read.

use std::collections::BTreeMap;
use std::time::Duration;

use tcproof_core::snapshot::{Netns, Snapshot, Sockets};
use tcproof_core::{Absent, Reading};

use super::kind::{Kind, in_sos};
use super::open::called;
use super::sockets::Listings;
use super::tree::{Text, Tree};
use super::{Dump, Error, Identity, When, clock, netstat, nstat, shown, sockets};
use crate::path::Threads;
use crate::root::Texts;
use crate::settings::swapped;
use crate::{Root, namespace, system};

/// The name of the namespace that a dump was taken in.
pub(super) const HOST: &str = "host";

/// A namespace of a dump.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) ns: Netns,
    pub(super) listings: Listings,
}

/// What a dump has of one namespace.
#[derive(Default)]
struct Parts {
    ss: Vec<(String, Text)>,
    nstat: Option<Text>,
    netstat: Option<Text>,
}

/// What it has of the host.
#[derive(Default)]
struct Facts {
    date: Option<Text>,
    uptime: Option<Text>,
    uname: Option<Text>,
    sysctl: Option<Text>,
}

/// Makes one dump of the files.
pub(super) fn dump(name: String, tree: &mut Tree) -> Result<Dump, Error> {
    let files = tree.files();
    let mut texts = Texts::new();
    let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
    let mut facts = Facts::default();
    let mut counted = None;
    let mut any = false;
    for (file, text) in files {
        match in_sos(&file) {
            None => {
                texts.insert(file, text.bytes);
            }
            // The same in UTC is better.
            Some((Kind::Date, _)) if facts.date.is_some() && !file.ends_with("--utc") => {}
            Some((kind, netns)) => {
                let name = match netns {
                    None => HOST.to_string(),
                    // `ip netns add host` is allowed.
                    Some(HOST) => format!("netns {HOST}"),
                    Some(netns) => netns.to_string(),
                };
                any |= place(kind, &file, text, &mut facts, parts.entry(name).or_default());
            }
        }
    }
    for (file, kind, text) in tree.loose() {
        let modified = text.modified;
        let parts = parts.entry(HOST.into()).or_default();
        let taken = match kind {
            Kind::Nstat => parts.nstat.is_some(),
            Kind::Netstat => parts.netstat.is_some(),
            Kind::Sysctl => facts.sysctl.is_some(),
            Kind::Proc(name) => texts.contains_key(name),
            _ => false,
        };
        if taken {
            let what = format!(
                "expected the files of one dump, found {} twice: put those of each into a folder of its own, and name both",
                called(kind)
            );
            return Err(Error::new(shown(file.as_bytes()), what));
        }
        let rank = match kind {
            Kind::Nstat | Kind::Proc("proc/net/netstat") => 2,
            Kind::Ss | Kind::Netstat => 1,
            _ => 0,
        };
        counted = counted.max(Some((rank, modified)));
        match kind {
            Kind::Proc(name) => {
                texts.insert(name.into(), text.bytes);
                any = true;
            }
            kind => any |= place(kind, &file, text, &mut facts, parts),
        }
    }
    any |= texts.keys().any(|name| name.starts_with("proc/net/") || name.starts_with("proc/sys/net/"));
    if !any {
        let what = "expected a sosreport, or the output of ss -peaonmi, nstat -az, netstat -s or sysctl -a, or files of /proc/net, found none of them";
        return Err(Error::new(name, what));
    }
    let counts = |parts: &Parts| !parts.ss.is_empty() || parts.nstat.is_some() || parts.netstat.is_some();
    if !parts.values().any(counts) && !texts.keys().any(|name| name.starts_with("proc/net/")) {
        let what = "expected counters or sockets, such as ss -peaonmi and nstat -az print, found settings only: tcproof lint \
                    FILE says what is wrong with those";
        return Err(Error::new(name, what));
    }
    if let Some(sysctl) = &facts.sysctl {
        settings(&lossy(&sysctl.bytes), &mut texts);
    }
    if let Some(uname) = &facts.uname {
        let text = lossy(&uname.bytes);
        let mut words = text.split_ascii_whitespace().skip(1);
        for file in ["proc/sys/kernel/hostname", "proc/sys/kernel/osrelease"] {
            if let Some(word) = words.next() {
                texts.entry(file.into()).or_insert_with(|| format!("{word}\n").into_bytes());
            }
        }
    }
    let of = |name: &str| texts.get(name).map(|bytes| lossy(bytes).trim().to_string());
    let booted =
        of("proc/stat").and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()));
    let host = Identity { boot: of("proc/sys/kernel/random/boot_id").filter(|boot| !boot.is_empty()), booted };
    let when = When {
        up: of("proc/uptime").and_then(|text| clock::seconds_up(&text)),
        about_up: facts.uptime.as_ref().and_then(|text| clock::up(&lossy(&text.bytes))),
        date: facts.date.as_ref().and_then(|text| clock::date(&lossy(&text.bytes))),
        modified: counted.map(|(_, modified)| modified).filter(|time| *time > Duration::ZERO),
    };
    let mut notes = std::mem::take(&mut tree.notes);
    let root = Root::of_texts(texts);
    let mut host_of = system::host(&root);
    let uname = facts.uname.as_ref().map(|text| lossy(&text.bytes)).unwrap_or_default();
    let page = page_bytes(&uname, &root.read_lossy("proc/meminfo").unwrap_or_default());
    host_of.page_bytes = page.unwrap_or(PAGE);
    if page.is_none() && root.exists("proc/sys/net/ipv4/tcp_mem") {
        notes.push(format!(
            "tcp_mem is in pages, of which neither uname -a nor /proc/meminfo tells the size here: {PAGE} bytes are assumed"
        ));
    }
    let base =
        Snapshot { host: host_of, system: system::read(&root, true, &mut Threads::default()), ..Snapshot::default() };
    parts.entry(HOST.into()).or_default();
    let is_sos = tree.is_sos();
    let places = parts.into_iter().map(|(name, parts)| namespace(&root, name, parts, is_sos, &mut notes)).collect();
    Ok(Dump { name, is_sos, host, when, base, places, notes })
}

/// What most machines have.
const PAGE: u32 = 4096;

/// The size of a page, by the machine's name and how large its huge pages are.
fn page_bytes(uname: &str, meminfo: &str) -> Option<u32> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let is = |machine: &str| uname.split_ascii_whitespace().any(|word| word == machine);
    // Of s390 and x86, which have no other; POWER writes a line for each size that it may have.
    let has_one = kib("DirectMap4k").is_some() && kib("DirectMap64k").is_none();
    if has_one || ["x86_64", "i386", "i486", "i586", "i686", "s390x"].into_iter().any(is) {
        return Some(4096);
    }
    // A huge page is what one table of the lowest level leads to: an eighth of a page's bytes, in pages (`PMD_SIZE`).
    match kib("Hugepagesize") {
        Some(2_048) if is("aarch64") => Some(4096),
        Some(32_768) if is("aarch64") => Some(16_384),
        Some(524_288) if is("aarch64") => Some(65_536),
        _ => None,
    }
}

fn place(kind: Kind, file: &str, text: Text, facts: &mut Facts, parts: &mut Parts) -> bool {
    // What a command could not do is written in place of its output.
    if text.bytes.is_empty() {
        return false;
    }
    match kind {
        Kind::Ss => parts.ss.push((file.into(), text)),
        Kind::Nstat => parts.nstat = Some(text),
        Kind::Netstat => parts.netstat = Some(text),
        Kind::Sysctl => facts.sysctl = Some(text),
        Kind::Date => facts.date = Some(text),
        Kind::Uptime => facts.uptime = Some(text),
        Kind::Uname => facts.uname = Some(text),
        Kind::NetstatSockets | Kind::Proc(_) => {}
    }
    matches!(kind, Kind::Ss | Kind::Nstat | Kind::Netstat | Kind::Sysctl)
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Puts the lines of `sysctl -a` where the kernel has them, if the file is not there.
fn settings(text: &str, texts: &mut Texts) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" =") else { continue };
        let wanted = key.starts_with("net.") || key.starts_with("fs.") || key.starts_with("kernel.");
        if wanted && !key.contains("..") && !key.contains([' ', '\t']) {
            let file = format!("proc/sys/{}", swapped(key));
            texts.entry(file).or_insert_with(|| format!("{}\n", value.trim()).into_bytes());
        }
    }
}

fn namespace(root: &Root, name: String, parts: Parts, is_sos: bool, notes: &mut Vec<String>) -> Place {
    let mut ns = match name == HOST {
        true => namespace::read(root, HOST, true),
        // Of another namespace a sosreport has what commands print in it, and no file.
        false => namespace::read(&Root::of_texts(Texts::new()), &name, false),
    };
    ns.links = absent("route netlink", "a dump has no answers of it");
    if let Some(text) = &parts.nstat {
        let (counters, zeros) = nstat::parse(&lossy(&text.bytes));
        let why = "nstat shows those that are zero only with -z, and with -a all that was counted since boot";
        overlay(&mut ns, counters, zeros, why);
    }
    if let Some(text) = &parts.netstat {
        let why = "netstat -s shows few of those that are zero: nstat -az or /proc/net/netstat has all";
        overlay(&mut ns, netstat::parse(&lossy(&text.bytes)), false, why);
    }
    let listings = sockets::read(&mut ns, &parts.ss, root, is_sos, notes);
    Place { name, ns, listings }
}

/// Adds counters of files that are not there.
fn overlay(ns: &mut Netns, counters: BTreeMap<String, u64>, is_whole: bool, why: &str) {
    let file_of = |name: &str| match name.split_once('.').map(|(group, _)| group) {
        Some("TcpExt" | "IpExt" | "MPTcpExt") => "netstat",
        Some("Ip6" | "Icmp6" | "Udp6" | "UdpLite6") => "snmp6",
        _ => "snmp",
    };
    let missing: Vec<String> = ns.counters_absent.keys().cloned().collect();
    for file in missing {
        let of_file: Vec<_> = counters.iter().filter(|(name, _)| file_of(name) == file).collect();
        if of_file.is_empty() {
            continue;
        }
        for (name, value) in of_file {
            ns.counters.entry(name.clone()).or_insert(*value);
        }
        if is_whole {
            ns.counters_absent.remove(&file);
        } else {
            let why = Absent::Failed { what: format!("counters of /proc/net/{file}"), error: why.into() };
            ns.counters_absent.insert(file, why);
        }
    }
}

pub(super) fn absent<T>(what: &str, error: &str) -> Reading<T> {
    Reading::Absent(Absent::Failed { what: what.into(), error: error.into() })
}

/// Why nothing is known of the sockets of a dump without a listing.
pub(super) fn no_listing(is_sos: bool) -> Absent {
    let error = match is_sos {
        // They may be built in, which it does not see.
        true => {
            "no ss in this sosreport, which leaves it out unless all modules of sock_diag are loaded: name the output of \
             ss -peaonmi with a second --from, or ask for sos report --allow-system-changes"
        }
        false => "no ss in this dump: ss -peaonmi shows them",
    };
    Absent::Failed { what: "sockets".into(), error: error.into() }
}

pub(super) fn without(ns: &mut Netns, why: &Absent) {
    ns.listeners = Reading::Absent(why.clone());
    ns.sockets = Sockets::absent(why);
}

#[cfg(test)]
mod tests {
    use super::page_bytes;

    #[test]
    fn the_size_of_a_page_is_the_machines_that_was_dumped() {
        let (x86, arm) = ("Linux web-1 6.8.0 #1 SMP x86_64 GNU/Linux", "Linux web-1 6.8.0 #1 SMP aarch64 GNU/Linux");
        for (uname, meminfo, expected) in [
            (x86, "", Some(4096)),
            ("", "MemTotal: 9 kB\nDirectMap4k:    26624 kB\nDirectMap2M: 1 kB\n", Some(4096)),
            (
                "Linux p 6.8 #1 SMP ppc64le GNU/Linux",
                "DirectMap4k: 0 kB\nDirectMap64k: 0 kB\nHugepagesize: 2048 kB\n",
                None,
            ),
            (arm, "Hugepagesize:       2048 kB\n", Some(4096)),
            (arm, "Hugepagesize:      32768 kB\n", Some(16_384)),
            (arm, "Hugepagesize:     524288 kB\n", Some(65_536)),
            (arm, "Hugepagesize:    1048576 kB\n", None),
            ("", "Hugepagesize: x kB\n", None),
        ] {
            assert_eq!(page_bytes(uname, meminfo), expected, "{uname} {meminfo}");
        }
    }
}

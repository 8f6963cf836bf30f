//! How the machine is now.

use std::collections::{BTreeMap, BTreeSet};

use tcproof_core::Reading;
use tcproof_core::knobs;
use tcproof_core::lint::{File, Now, Writer};

use super::boot::DropIns;
use super::sysctl::path_of;
use crate::namespace::knob;
use crate::procfs::shown;
use crate::{Root, Scope, everywhere};

/// Namespaces whose knobs are compared with the files.
const MAX_NAMESPACES: usize = 64;
/// How the keys of forwarding begin.
const FORWARDING: [&str; 3] = ["net.ipv4.ip_forward", "net.ipv4.conf.", "net.ipv6.conf."];
/// Programs that write knobs after boot, by a file that is there once they have run: what they write, and its keys.
const WRITERS: [(&str, &str, &[&str]); 8] = [
    ("var/lib/kubelet", "kube-proxy sets connection tracking", &["net.netfilter.nf_conntrack", "net.nf_conntrack"]),
    ("var/lib/kubelet", "kubelet and its network plugin switch forwarding on", &FORWARDING),
    ("var/lib/docker", "dockerd switches forwarding on", &FORWARDING),
    ("run/systemd/netif/links", "systemd-networkd sets forwarding and the knobs of its devices", &FORWARDING),
    ("run/NetworkManager", "NetworkManager sets IPv6 knobs of its devices", &["net.ipv6.conf."]),
    ("run/libvirt/network", "libvirtd switches forwarding on, and IPv6 off on its bridges", &FORWARDING),
    ("var/lib/cloud/instance", "cloud-init may write files and run commands of its own", &[]),
    ("etc/rc.local", "rc.local runs at the end of boot", &[]),
];

/// How the machine is now, where its knobs can be read; `files` are those that its boot loads.
pub(super) fn now(root: &Root, files: &[File]) -> Option<Now> {
    if !root.exists("proc/sys") {
        return None;
    }
    let set: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.settings).flat_map(|setting| &setting.keys).map(String::as_str).collect();
    let table = knobs::all().map(|knob| knob.key);
    let values = read(root, set.iter().copied().chain(table));
    let elsewhere = if root.is_live() { elsewhere(root, &set) } else { BTreeMap::new() };
    Some(Now { values, elsewhere, boot_modules: boot_modules(root), writers: writers(root) })
}

/// A key that leads out of `/proc/sys` is not read: it stands in a file that anybody may have written.
fn read<'a>(root: &Root, keys: impl Iterator<Item = &'a str>) -> BTreeMap<String, Reading<String>> {
    let values = keys.filter(|key| path_of(key).is_some()).map(|key| (key.to_string(), knob(root, key)));
    // What a directory leaves out says nothing of the machine that it was taken from.
    values.filter(|(_, reading)| root.is_live() || reading.value().is_some()).collect()
}

/// What of it each network namespace has as its own.
fn elsewhere(root: &Root, set: &BTreeSet<&str>) -> BTreeMap<String, BTreeMap<String, Reading<String>>> {
    let is_own =
        |key: &&str| key.starts_with("net.") && knobs::by_key(key).is_none_or(tcproof_core::knobs::Knob::is_namespaced);
    let keys: Vec<&str> = set.iter().copied().filter(is_own).collect();
    // What refuses to be entered is not compared, and so many are enough to see that they differ.
    let Ok(found) = everywhere(root, &Scope::All, MAX_NAMESPACES, |root| read(root, keys.iter().copied())) else {
        return BTreeMap::new();
    };
    // The observer's own comes first.
    let mut others: BTreeMap<_, _> = found.places.into_iter().skip(1).collect();
    // Another namespace has other devices.
    others.values_mut().for_each(|values| values.retain(|_, reading| reading.value().is_some()));
    others
}

/// Modules that are there before, or as soon as, files of sysctls are read.
fn boot_modules(root: &Root) -> Vec<String> {
    let mut modules = BTreeSet::new();
    for path in DropIns::find(root, "modules-load.d").chosen.values() {
        let text = root.read_lossy(path).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        modules.extend(lines.filter(|line| !line.is_empty()).map(name_of));
    }
    // What follows `--` is for init.
    let command_line = root.read_lossy("proc/cmdline").unwrap_or_default();
    for argument in command_line.split_whitespace().take_while(|argument| *argument != "--") {
        if let Some(list) = argument.strip_prefix("modules_load=").or_else(|| argument.strip_prefix("modules-load=")) {
            modules.extend(list.split(',').filter(|name| !name.is_empty()).map(name_of));
        }
    }
    modules.extend(built_in(root));
    modules.into_iter().collect()
}

/// Modules that are part of the kernel: by the list that is installed with it; where there is none, those that the
/// kernel knows though nobody loaded them.
fn built_in(root: &Root) -> BTreeSet<String> {
    let release = root.read_lossy("proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let is_name = !release.is_empty() && !release.contains('/');
    let list = ["lib", "usr/lib"].map(|lib| format!("{lib}/modules/{release}/modules.builtin"));
    if let Some(text) = list.iter().filter(|_| is_name).find_map(|path| root.read_lossy(path).ok()) {
        let module = |line: &str| Some(name_of(line.rsplit('/').next()?.split_once(".ko")?.0));
        return text.lines().filter_map(module).collect();
    }
    let loaded = root.read_lossy("proc/modules");
    // A kernel that can load none has all that it knows built in.
    if root.is_live() && loaded.is_err() {
        let brought = knobs::all().filter_map(|knob| Some((knob.exists.module?, knob.key)));
        let there = brought.filter(|(_, key)| path_of(key).is_some_and(|path| root.exists(&path)));
        return there
            .map(|(module, _)| name_of(module))
            .chain(root.list_dir("sys/module").unwrap_or_default())
            .collect();
    }
    let loaded = loaded.unwrap_or_default();
    let loaded: BTreeSet<&str> = loaded.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // Of those that are built in, only the ones with parameters have a directory.
    let known = root.list_dir("sys/module").unwrap_or_default();
    known.into_iter().filter(|module| !loaded.contains(&**module)).collect()
}

/// The kernel makes no difference between the two, and writes one of them.
fn name_of(module: &str) -> String {
    module.replace('-', "_")
}

/// Who else writes knobs.
fn writers(root: &Root) -> Vec<Writer> {
    let mut writers = Vec::new();
    let profile = root.read_lossy("etc/tuned/active_profile").unwrap_or_default();
    if let Some(profile) = profile.lines().next().map(str::trim).filter(|profile| !profile.is_empty()) {
        let what = format!("tuned sets the knobs of its profile {} (/etc/tuned/active_profile)", shown(profile));
        writers.push(Writer { what, keys: &[] });
    }
    let seen = WRITERS.iter().filter(|(path, ..)| root.exists(path));
    writers.extend(seen.map(|(path, what, keys)| Writer { what: format!("{what} (/{path})"), keys }));
    writers
}

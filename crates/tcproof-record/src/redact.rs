//! Replaces names and addresses, so that a recording can be shown to others.
//!
//! The same name becomes the same pseudonym throughout one recording. Pseudonyms are made with a random key that is stored
//! nowhere, so nobody can try names until one fits. What has no owner stays: ports, loopback and unspecified addresses,
//! the names of devices, counters, knobs and congestion controls, `host` for the initial namespace.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Node;

/// The mapping of one recording.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    key: RandomState,
}

impl Redactor {
    /// A new mapping.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host's pseudonym.
    pub fn host(&self, name: &str) -> String {
        self.name("host", name)
    }

    fn name(&self, kind: &str, name: &str) -> String {
        match name {
            "" => String::new(),
            name => format!("{kind}-{:010x}", self.key.hash_one((kind, name)) & 0xff_ffff_ffff),
        }
    }

    /// `host` and inodes say nothing of anybody.
    fn netns(&self, name: &str) -> String {
        let (name, inode) = match name.rsplit_once(" net:[") {
            Some((name, inode)) => (name, Some(inode)),
            None => (name, None),
        };
        let name = if name == "host" || name.starts_with("net:[") { name.into() } else { self.name("netns", name) };
        inode.map_or_else(|| name.clone(), |inode| format!("{name} net:[{inode}"))
    }

    /// Part by part; what systemd makes of a name (`.service`, `.slice`) stays.
    fn cgroup(&self, path: &str) -> String {
        let part = |part: &str| match part.rsplit_once('.') {
            Some((name, kind @ ("service" | "scope" | "slice" | "socket"))) => {
                format!("{}.{kind}", self.name("group", name))
            }
            _ => self.name("group", part),
        };
        path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    fn address(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            known if known.is_loopback() || known.is_unspecified() => address,
            // Reserved for ever: no real address is among them.
            known @ IpAddr::V4(_) => {
                let number = self.key.hash_one(known) as u32 & 0x0fff_ffff;
                IpAddr::V4(Ipv4Addr::from_bits(0xf000_0000 | number))
            }
            known @ IpAddr::V6(_) => {
                let number = u128::from(self.key.hash_one(known));
                IpAddr::V6(Ipv6Addr::from_bits(0xfd00_u128 << 112 | number))
            }
        }
    }

    /// An address, one with a port, or two with an arrow; none where it is something else.
    fn addresses(&self, text: &str) -> Option<String> {
        let one = |part: &str| {
            if let Ok(address) = part.parse::<IpAddr>() {
                return Some(self.address(address).to_string());
            }
            let known: SocketAddr = part.parse().ok()?;
            Some(SocketAddr::new(self.address(known.ip()), known.port()).to_string())
        };
        let parts: Option<Vec<_>> =
            text.split('→').map(|part| if part.is_empty() { Some(String::new()) } else { one(part) }).collect();
        parts.filter(|_| !text.is_empty()).map(|parts| parts.join("→"))
    }

    /// A sentence of tcproof's, which may quote a name, a path or an address.
    fn sentence(&self, text: &str, names: &BTreeMap<String, String>) -> String {
        for start in ["network namespace ", "entering network namespace "] {
            if let Some(name) = text.strip_prefix(start) {
                return format!("{start}{}", self.netns(name));
            }
        }
        let word = |word: &str| {
            let bare = word.trim_matches(|c: char| ",;:()\"'".contains(c));
            let is_ours = ["/proc/", "/sys/"].iter().any(|start| bare.starts_with(start));
            let other = match names.get(bare) {
                Some(name) => Some(name.clone()),
                None if bare.contains('/') && bare.len() > 1 && !is_ours => Some(self.name("path", bare)),
                None => self.addresses(bare),
            };
            other.map_or_else(|| word.to_string(), |other| word.replace(bare, &other))
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    /// Replaces what is in a step.
    pub(crate) fn redact(&self, tree: &mut Node) {
        let mut names = BTreeMap::new();
        self.collect(tree, &mut names);
        self.walk(tree, false, &names);
    }

    /// The names that stand where names stand, to find them in sentences too.
    fn collect(&self, node: &Node, names: &mut BTreeMap<String, String>) {
        match node {
            Node::List(list) => list.iter().for_each(|node| self.collect(node, names)),
            Node::Map(map) => {
                for (key, node) in map {
                    if let Some((name, other)) = self.named(map, key, node) {
                        names.insert(name.to_string(), other);
                    }
                    self.collect(node, names);
                }
            }
            _ => {}
        }
    }

    /// What `key` of `map` is to be replaced by, where that is a name.
    fn named<'a>(&self, map: &BTreeMap<String, Node>, key: &str, node: &'a Node) -> Option<(&'a str, String)> {
        let Node::Text(name) = node else { return None };
        let other = match key {
            "comm" => self.name("process", name),
            "name" if map.contains_key("kernel") => self.host(name),
            "name" if map.contains_key("knobs") => self.netns(name),
            _ => return None,
        };
        Some((name, other))
    }

    fn walk(&self, node: &mut Node, is_sentence: bool, names: &BTreeMap<String, String>) {
        match node {
            Node::Text(text) => {
                if let Some(other) = self.addresses(text) {
                    *text = other;
                } else if is_sentence {
                    *text = self.sentence(text, names);
                }
            }
            Node::List(list) => list.iter_mut().for_each(|node| self.walk(node, is_sentence, names)),
            Node::Map(map) => {
                let old = std::mem::take(map);
                let new = old.iter().map(|(key, node)| {
                    let mut node = node.clone();
                    if let Some((_, other)) = self.named(&old, key, &node) {
                        return (key.clone(), Node::Text(other));
                    }
                    match (&**key, &mut node) {
                        // Whether there is one tells a program from a kernel thread.
                        ("cmdline", Node::List(words)) => {
                            words.truncate(1);
                            for word in words {
                                if let Node::Text(text) = word {
                                    *text = self.name("program", text);
                                }
                            }
                        }
                        ("cgroup", Node::Map(reading)) if matches!(reading.get("present"), Some(Node::Text(_))) => {
                            if let Some(Node::Text(path)) = reading.get_mut("present") {
                                *path = self.cgroup(path);
                            }
                        }
                        ("cgroups", Node::Map(reading)) => {
                            if let Some(Node::Map(groups)) = reading.get_mut("present") {
                                let paths = std::mem::take(groups);
                                groups.extend(paths.into_iter().map(|(path, node)| (self.cgroup(&path), node)));
                            }
                            self.walk(&mut node, is_sentence, names);
                        }
                        _ => {
                            let is_sentence = is_sentence || ["absent", "unseen", "counters_absent"].contains(&&**key);
                            self.walk(&mut node, is_sentence, names);
                        }
                    }
                    (self.addresses(key).unwrap_or_else(|| key.clone()), node)
                });
                *map = new.collect();
            }
            _ => {}
        }
    }
}

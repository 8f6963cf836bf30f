//! Keys with patterns, as glob(3) understands them: `net.ipv4.conf.*.rp_filter`. A sign stands for nothing beyond its
//! component, and for no dot at its beginning.

use glob::MatchOptions;
use tcproof_core::knobs;

use super::sysctl::swapped;
use crate::Root;

/// More matches than any machine has devices; a hostile pattern may want all of `/proc/sys` again and again.
const MOST: usize = 4096;
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Whether the loaders take a key for a pattern.
pub(super) fn is_pattern(key: &str) -> bool {
    key.contains(['*', '?', '['])
}

/// A key with patterns, component by component.
pub(super) struct Pattern(Vec<Component>);

enum Component {
    Literal(String),
    Glob(glob::Pattern),
}

impl Pattern {
    /// Of a key with dots.
    pub(super) fn new(key: &str) -> Self {
        Self(swapped(key).split('/').map(Component::new).collect())
    }

    /// The keys of the table that it meets.
    pub(super) fn in_table(&self) -> Vec<String> {
        knobs::all().filter(|knob| self.meets(knob.key)).map(|knob| knob.key.into()).collect()
    }

    /// The keys of the machine that it meets.
    pub(super) fn on_machine(&self, root: &Root) -> Vec<String> {
        let mut paths = vec![String::new()];
        for component in &self.0 {
            let mut next = Vec::new();
            for path in &paths {
                match component {
                    Component::Literal(name) => next.push(format!("{path}/{name}")),
                    Component::Glob(glob) => {
                        let mut names = root.list_dir(&format!("proc/sys{path}")).unwrap_or_default();
                        names.retain(|name| glob.matches_with(name, OPTIONS));
                        names.sort();
                        next.extend(names.into_iter().map(|name| format!("{path}/{name}")));
                    }
                }
                if next.len() > MOST {
                    break;
                }
            }
            next.truncate(MOST);
            paths = next;
        }
        let is_file = |path: &String| {
            let path = format!("proc/sys{path}");
            root.exists(&path) && root.list_dir(&path).is_err()
        };
        paths.into_iter().filter(is_file).map(|path| swapped(&path[1..])).collect()
    }

    /// Whether it meets a key of the table, none of which has a dot within a component.
    fn meets(&self, key: &str) -> bool {
        let mut names = key.split('.');
        self.0.iter().all(|component| names.next().is_some_and(|name| component.meets(name))) && names.next().is_none()
    }
}

impl Component {
    fn new(text: &str) -> Self {
        if !is_pattern(text) {
            return Self::Literal(text.into());
        }
        // For glob(3) `**` is `*`, and `[^` is `[!`.
        let mut plain = text.replace("[^", "[!");
        while plain.contains("**") {
            plain = plain.replace("**", "*");
        }
        // A bracket that nothing closes stands for itself.
        glob::Pattern::new(&plain).map_or_else(|_| Self::Literal(text.into()), Self::Glob)
    }

    fn meets(&self, name: &str) -> bool {
        match self {
            Self::Literal(text) => text == name,
            Self::Glob(glob) => glob.matches_with(name, OPTIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_glob_matches() {
        for (pattern, key, meets) in [
            ("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.all.rp_filter", true),
            ("net.ipv4.conf.eth?.rp_filter", "net.ipv4.conf.eth0.rp_filter", true),
            ("net.ipv4.conf.eth?.rp_filter", "net.ipv4.conf.eth10.rp_filter", false),
            ("net.ipv4.conf.[!a]*.rp_filter", "net.ipv4.conf.all.rp_filter", false),
            ("net.ipv4.conf.[^a]*.rp_filter", "net.ipv4.conf.eth0.rp_filter", true),
            ("net.**.rp_filter", "net.ipv4.conf.all.rp_filter", false),
            ("net.***", "net.x", true),
            ("net.*", "net.ipv4.conf", false),
            ("net.[x", "net.[x", true),
        ] {
            assert_eq!(Pattern::new(pattern).meets(key), meets, "{pattern} {key}");
        }
    }

    #[test]
    fn on_this_machine() {
        let root = Root::new("/");
        let keys = Pattern::new("net.ipv4.conf.*.rp_filter").on_machine(&root);
        assert!(keys.contains(&"net.ipv4.conf.all.rp_filter".to_string()));
        assert_eq!(Pattern::new("net.ipv4.con[f].all").on_machine(&root), [""; 0], "a directory is no knob");
        assert_eq!(Pattern::new("none.*").on_machine(&root), [""; 0]);
        assert!(Pattern::new("*.*.*.*.*").on_machine(&root).len() <= MOST);
    }
}

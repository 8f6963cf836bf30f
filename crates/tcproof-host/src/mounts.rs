//! `/proc/self/mountinfo`: where named namespaces and the control groups are.

use crate::Root;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// What of the file system is mounted: for a namespace `net:[INODE]`.
    pub(crate) root: String,
    /// Where.
    pub(crate) point: String,
    /// File system type.
    pub(crate) kind: String,
    /// Options of the file system itself: for control groups of version 1 their controllers.
    pub(crate) options: String,
}

/// The mounts this process sees; none where they can't be read.
pub(crate) fn read(root: &Root) -> Vec<Mount> {
    parse(&root.read_lossy("proc/self/mountinfo").unwrap_or_default())
}

/// `36 35 98:0 /root /point options [optional…] - type source super`; a line that is not like that is passed over,
/// since a mount that can't be understood names no namespace.
fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        Some(Mount {
            root: unescape(root),
            point: unescape(point),
            kind: back.next()?.to_string(),
            options: back.nth(1).unwrap_or_default().to_string(),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_namespaces_and_odd_mount_points_are_read() {
        let text = "29 1 0:4 net:[4026532200] /run/netns/a\\040b rw shared:14 - nsfs nsfs rw\nnonsense\n30 1 0:5 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            (&*mounts[0].root, &*mounts[0].point, &*mounts[0].kind),
            ("net:[4026532200]", "/run/netns/a b", "nsfs")
        );
        assert_eq!(unescape("a\\9\\04"), "a\\9\\04");
    }
}

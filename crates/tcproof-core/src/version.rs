//! A kernel's version, as far as knobs and counters differ by it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Major and minor: `6.18`. Distributions backport, so a file that exists says more than a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u16, pub u16);

impl Version {
    /// Before every kernel that tcproof knows of.
    pub const ALWAYS: Self = Self(0, 0);

    /// Of a release such as `6.1.0-44-amd64`; `None` when it begins with no two numbers.
    pub fn of_release(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self(major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_releases() {
        for (release, version) in [
            ("6.1.0-44-amd64", Some(Version(6, 1))),
            ("4.19", Some(Version(4, 19))),
            ("7.2-rc1", Some(Version(7, 2))),
            ("6", None),
            ("", None),
            ("x.y", None),
            ("6.", None),
            ("99999999.1", None),
        ] {
            assert_eq!(Version::of_release(release), version, "{release}");
        }
        assert!(Version(4, 9) < Version(4, 10), "numbers, not text");
    }
}

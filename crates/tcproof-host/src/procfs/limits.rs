//! `/proc/PID/limits`: what a process may use.

use tcproof_core::Absent;

use super::At;

/// How the line begins. Names hold spaces, so columns are not found by counting words.
const OPEN_FILES: &str = "Max open files";

/// Open descriptors that a process may have (`RLIMIT_NOFILE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What holds now; the process itself may raise it to `hard`.
    pub soft: u64,
    /// What only a privileged process may raise.
    pub hard: u64,
}

/// The limit of open files; `unlimited` is `u64::MAX`.
///
/// # Errors
/// No such line, or one without two limits.
pub fn parse(text: &str, place: &str) -> Result<OpenFiles, Absent> {
    let line = At::lines(text, place).find_map(|(at, line)| Some((at, line.strip_prefix(OPEN_FILES)?)));
    let (at, line) = line.ok_or_else(|| At::end(text, place).missing("a line \"Max open files …\""))?;
    let mut words = line.split_ascii_whitespace();
    let mut limit = || match words.next() {
        Some("unlimited") => Ok(u64::MAX),
        Some(word) => at.number(word),
        None => Err(at.missing("a soft and a hard limit")),
    };
    Ok(OpenFiles { soft: limit()?, hard: limit()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    #[test]
    fn every_kernel() {
        let shown = each_kernel("proc/4242/limits", |text, place| Ok(format!(" {:?}", parse(text, place)?)));
        insta::assert_snapshot!(shown, @"
        4.19: OpenFiles { soft: 1024, hard: 524288 }
        5.10: OpenFiles { soft: 1024, hard: 524288 }
        6.1: OpenFiles { soft: 1024, hard: 524288 }
        6.12: OpenFiles { soft: 1048576, hard: 1048576 }
        6.18: OpenFiles { soft: 20000, hard: 20000 }
        7.2: OpenFiles { soft: 1048576, hard: 1048576 }
        ");
    }

    #[test]
    fn no_limit_is_the_largest() {
        let text = "Max open files            1024                 unlimited            files     \n";
        assert_eq!(parse(text, "f"), Ok(OpenFiles { soft: 1024, hard: u64::MAX }));
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/7/limits")),
            error(parse("Limit\nMax open files            1024", "/proc/7/limits")),
            error(parse("Limit\nMax open files            few many files\n", "/proc/7/limits")),
        ].join("\n"), @r#"
        /proc/7/limits:1: expected a line "Max open files …"
        /proc/7/limits:2: expected a soft and a hard limit
        /proc/7/limits:2: expected a whole number, found "few"
        "#);
    }
}

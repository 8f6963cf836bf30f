//! The text files of procfs, one module for each format. Every parser is a pure function of the text; `place` is the
//! file's path, and an error names `path:line`.
//!
//! Columns are found by their names wherever the kernel writes names: counters are added in the middle of a line with
//! almost every release, and a distribution's kernel has them in another order. Known to hold from 4.19 on.

pub mod cgroup;
pub mod cpu_table;
pub mod dev;
pub mod interrupts;
pub mod limits;
pub mod netstat;
pub mod numbers;
pub mod snmp6;
pub mod sockstat;
pub mod softirqs;
pub mod softnet;
pub mod stat;
pub mod tcp;

use tcproof_core::Absent;

/// How much of a wrong word an error repeats.
const SHOWN: usize = 40;

/// One line of a file, for errors.
#[derive(Clone, Copy)]
struct At<'a> {
    place: &'a str,
    line: usize,
}

impl<'a> At<'a> {
    /// Every line with its place.
    fn lines(text: &'a str, place: &'a str) -> impl Iterator<Item = (Self, &'a str)> {
        text.lines().enumerate().map(move |(index, line)| (Self { place, line: index + 1 }, line))
    }

    /// The line after the last one: where something that is missing should have stood.
    fn end(text: &str, place: &'a str) -> Self {
        Self { place, line: text.lines().count() + 1 }
    }

    fn wrong(self, expected: &str, found: &str) -> Absent {
        self.missing(&format!("{expected}, found {}", shown(found)))
    }

    fn missing(self, expected: &str) -> Absent {
        Absent::Unparsable { place: format!("{}:{}", self.place, self.line), expected: expected.into() }
    }

    fn number(self, word: &str) -> Result<u64, Absent> {
        word.parse().map_err(|_| self.wrong("a whole number", word))
    }

    fn number32(self, word: &str) -> Result<u32, Absent> {
        word.parse().map_err(|_| self.wrong("a whole number of 32 bits", word))
    }

    /// A counter; none where the kernel prints a negative number, which is no count (`Tcp.MaxConn` is -1: no limit).
    fn counter(self, word: &str) -> Result<Option<u64>, Absent> {
        match word.parse::<i64>() {
            Ok(..0) => Ok(None),
            _ => self.number(word).map(Some),
        }
    }

    fn hex(self, word: &str) -> Result<u64, Absent> {
        u64::from_str_radix(word, 16).map_err(|_| self.wrong("a hexadecimal number", word))
    }
}

/// `CPU0 CPU1 CPU3 …`: the numbers of the CPUs that a table's columns are for.
fn cpu_columns(header: Option<(At<'_>, &str)>, place: &str) -> Result<Vec<u32>, Absent> {
    let (at, line) = header.unwrap_or((At { place, line: 1 }, ""));
    let number = |word: &str| word.strip_prefix("CPU").and_then(|number| number.parse().ok());
    let cpus: Option<Vec<u32>> = line.split_ascii_whitespace().map(number).collect();
    cpus.filter(|cpus| !cpus.is_empty()).ok_or_else(|| at.wrong("a line \"CPU0 CPU1 …\"", line))
}

/// The beginning of what stood in the file, harmless to a terminal: Debug formatting escapes control characters.
pub(crate) fn shown(found: &str) -> String {
    let start: String = found.chars().take(SHOWN).collect();
    format!("{start:?}")
}

#[cfg(test)]
mod tests;

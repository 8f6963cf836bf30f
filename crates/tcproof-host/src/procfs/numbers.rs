//! Files of a few numbers: `/proc/sys/fs/file-nr`, `/proc/meminfo`.

use tcproof_core::Absent;
use tcproof_core::snapshot::FileHandles;

use super::At;

/// Open file handles from `/proc/sys/fs/file-nr`: allocated, free (always 0 since 2.6), maximum.
///
/// # Errors
/// Not three numbers.
pub fn file_nr(text: &str, place: &str) -> Result<FileHandles, Absent> {
    let at = At { place, line: 1 };
    let numbers = text.split_ascii_whitespace().map(|word| at.number(word)).collect::<Result<Vec<_>, _>>()?;
    let [allocated, free, max] = numbers[..] else {
        return Err(at.wrong("three numbers", text));
    };
    Ok(FileHandles { open: allocated.saturating_sub(free), max })
}

/// The machine's memory in bytes from `/proc/meminfo`.
///
/// # Errors
/// No line `MemTotal`, or one that is not a number of kB.
pub fn memory_bytes(text: &str, place: &str) -> Result<u64, Absent> {
    let line = At::lines(text, place).find_map(|(at, line)| Some((at, line.strip_prefix("MemTotal:")?)));
    let (at, line) = line.ok_or_else(|| At::end(text, place).missing("a line \"MemTotal: … kB\""))?;
    let kilobytes = line.trim().strip_suffix(" kB").ok_or_else(|| at.wrong("a number of kB", line))?;
    Ok(at.number(kilobytes)?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    #[test]
    fn every_kernel() {
        let shown = each_kernel("proc/sys/fs/file-nr", |text, place| Ok(format!(" {:?}", file_nr(text, place)?)));
        insta::assert_snapshot!(shown, @"
        4.19: FileHandles { open: 1952, max: 794110 }
        5.10: FileHandles { open: 21, max: 97886 }
        6.1: FileHandles { open: 22, max: 96963 }
        6.12: FileHandles { open: 0, max: 96441 }
        6.18: FileHandles { open: 609, max: 2466177 }
        7.2: FileHandles { open: 9, max: 95482 }
        ");
        let shown = each_kernel("proc/meminfo", |text, place| Ok(format!(" {}", memory_bytes(text, place)?)));
        insta::assert_snapshot!(shown, @"
        4.19: 8245669888
        5.10: 1026019328
        6.1: 1019006976
        6.12: 1013563392
        6.18: 25276510208
        7.2: 1009631232
        ");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(file_nr("", "/proc/sys/fs/file-nr")),
            error(file_nr("1 2", "/proc/sys/fs/file-nr")),
            error(file_nr("1 2 3 4", "/proc/sys/fs/file-nr")),
            error(file_nr("1 2 x", "/proc/sys/fs/file-nr")),
            error(memory_bytes("", "/proc/meminfo")),
            error(memory_bytes("MemTotal: 5 MB\n", "/proc/meminfo")),
            error(memory_bytes("MemTotal:  kB\n", "/proc/meminfo")),
        ].join("\n"), @r#"
        /proc/sys/fs/file-nr:1: expected three numbers, found ""
        /proc/sys/fs/file-nr:1: expected three numbers, found "1 2"
        /proc/sys/fs/file-nr:1: expected three numbers, found "1 2 3 4"
        /proc/sys/fs/file-nr:1: expected a whole number, found "x"
        /proc/meminfo:1: expected a line "MemTotal: … kB"
        /proc/meminfo:1: expected a number of kB, found " 5 MB"
        /proc/meminfo:1: expected a number of kB, found "  kB"
        "#);
    }
}

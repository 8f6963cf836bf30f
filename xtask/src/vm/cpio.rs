//! A writer of the `newc` cpio format, in which the kernel takes its initial file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{Result, Write};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive that is being written. A folder must come before what is in it: the kernel makes none by itself.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    pub(crate) fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, DIRECTORY, &[])
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, FILE, content)
    }

    pub(crate) fn program(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, PROGRAM, content)
    }

    /// Writes the end mark, without which the kernel takes what follows for another entry.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let too_large = |_| std::io::Error::other(format!("{name} is too large for a cpio archive"));
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        // Inode, mode, owner, group, links, time, size, four device numbers, the name's size with its NUL, no checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Header and content each end at a multiple of four.
    fn pad(&mut self, written: usize) -> Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of an archive: name, mode, content.
    fn read(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        while !archive.is_empty() {
            assert_eq!(&archive[..6], b"070701");
            let field = |n: usize| {
                let digits = std::str::from_utf8(&archive[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(archive[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(archive[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            entries.push((name, mode, archive[start..start + size].to_vec()));
            archive = &archive[(start + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev").unwrap();
        for length in 0..9 {
            archive.file(&"n".repeat(length + 1), &vec![b'x'; length]).unwrap();
        }
        archive.program("init", b"#!").unwrap();
        let bytes = archive.finish().unwrap();
        assert!(bytes.len().is_multiple_of(4));
        let entries = read(&bytes);
        assert_eq!(entries.len(), 12);
        assert_eq!(entries[0], ("dev".into(), DIRECTORY, vec![]));
        for length in 0..9 {
            assert_eq!(entries[length + 1], ("n".repeat(length + 1), FILE, vec![b'x'; length]));
        }
        assert_eq!(entries[10], ("init".into(), PROGRAM, b"#!".to_vec()));
        assert_eq!(entries[11].0, "TRAILER!!!");
    }
}

//! Reads a tar, compressed or not, member by member, and keeps those that somebody wants: nothing is unpacked to a disk.
//!
//! An archive of somebody else's may be hostile. What it holds beyond its bounds, names that lead out of it and headers that
//! are none are errors; the compressors' checksums are held.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use tar::{Archive, EntryType, Header, PaxExtensions};

use super::tree::{Link, MOST_LINKS, Text, Tree, Want};
use super::{Error, shown};

/// Bytes of an archive after decompression: a sosreport with all its logs has a tenth of it.
const MOST_BYTES: u64 = 8 << 30;
/// Members of an archive.
const MOST_MEMBERS: usize = 1 << 20;
/// A name that is longer has no meaning here: PATH_MAX of the kernel.
const LONGEST_NAME: u64 = 4096;
/// The headers in front of one member that extend its own.
const MOST_HEADERS: usize = 16;
/// Memory for unpacking xz: what `xz -9` asks for, and a little.
const XZ_KIB: u32 = 72 * 1024;
const BLOCK: usize = 512;

/// How a file is compressed, or what else it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A tar as it is.
    Tar,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Something that is recognised and not read.
    Other(&'static str),
}

impl Format {
    /// By the first 512 bytes.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Other("zstd: unpack it with zstd -d first")),
            [b'B', b'Z', b'h', ..] => Some(Self::Other("bzip2: unpack it with bunzip2 first")),
            [b'P', b'K', 3, 4, ..] => Some(Self::Other("zip: unpack it first, and name the folder")),
            start if is_header(start) => Some(Self::Tar),
            _ => None,
        }
    }
}

/// Whether the sum of its bytes is the one that it names.
fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let sum: u32 =
        block.iter().enumerate().map(|(at, b)| u32::from(if (148..156).contains(&at) { b' ' } else { *b })).sum();
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    sum != 8 * u32::from(b' ') && header.cksum().is_ok_and(|named| named == sum)
}

/// What an archive may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) members: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, members: MOST_MEMBERS }
    }
}

/// Reads an archive. `place` is its name.
pub(super) fn read(place: &str, format: Format, file: impl Read, bounds: Bounds) -> Result<Tree, Error> {
    let file = BufReader::new(file);
    match format {
        Format::Tar => members(place, file, bounds),
        Format::Gzip => members(place, flate2::bufread::MultiGzDecoder::new(file), bounds),
        Format::Xz => members(place, lzma_rust2::XzReader::new_mem_limit(file, true, XZ_KIB), bounds),
        Format::Other(what) => Err(Error::new(place, format!("expected tar, tar.gz or tar.xz, found {what}"))),
    }
}

/// Counts what was read, and ends it at the bound.
struct Bounded<R> {
    inner: R,
    left: u64,
}

/// Told apart from what the reader itself says.
const TOO_LONG: &str = "unpacks to more than may be read";

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(TOO_LONG)),
        }
        Ok(read)
    }
}

/// What the headers in front of a member say of it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    modified: Option<Duration>,
    is_sparse: bool,
    headers: usize,
}

fn members(place: &str, reader: impl Read, bounds: Bounds) -> Result<Tree, Error> {
    let mut reader = BufReader::with_capacity(64 * 1024, Bounded { inner: reader, left: bounds.bytes });
    let empty = reader.fill_buf().map(<[u8]>::is_empty).map_err(|error| broken(place, None, &error, bounds))?;
    if empty {
        return Err(Error::new(place, "expected an archive, found nothing"));
    }
    let mut tree = Tree::default();
    let mut archive = Archive::new(reader);
    // Raw: the library would keep names and extensions of any length.
    let entries = archive.entries().map_err(|error| broken(place, None, &error, bounds))?.raw(true);
    let mut extended = Extended::default();
    let mut last: Option<String> = None;
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| broken(place, last.as_deref(), &error, bounds))?;
        if count >= bounds.members {
            return Err(Error::new(place, format!("expected at most {} members", bounds.members)));
        }
        let kind = entry.header().entry_type();
        if is_extension(kind) {
            let size = entry.header().entry_size().unwrap_or(u64::MAX);
            extended.headers += 1;
            if size > LONGEST_NAME * 4 || extended.headers > MOST_HEADERS {
                let after = last.map(|last| format!(" after {last}")).unwrap_or_default();
                return Err(Error::new(place, format!("expected a name of at most {LONGEST_NAME} bytes{after}")));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| broken(place, last.as_deref(), &error, bounds))?;
            extend(&mut extended, kind, &bytes);
            continue;
        }
        let Extended { name, link, modified, is_sparse, .. } = std::mem::take(&mut extended);
        let name = name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let name = inside(&name).map_err(|why| Error::new(place, format!("member {}: {why}", shown(&name))))?;
        let modified = modified.or_else(|| entry.header().mtime().ok().map(Duration::from_secs)).unwrap_or_default();
        match kind {
            EntryType::Symlink | EntryType::Link => {
                let to = link.or_else(|| entry.header().link_name_bytes().map(|name| name.into_owned()));
                let to = to.map(|to| String::from_utf8_lossy(&to).into_owned()).unwrap_or_default();
                if tree.links() < MOST_LINKS && to.len() as u64 <= LONGEST_NAME {
                    tree.link(&name, Link { to, from_top: kind == EntryType::Link });
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.header().entry_size().unwrap_or(u64::MAX);
                let sparse = is_sparse || kind == EntryType::GNUSparse;
                let mut start = Vec::new();
                let want = tree.wants(&name, || {
                    let mut piece = Vec::new();
                    let read = entry.by_ref().take(BLOCK as u64).read_to_end(&mut piece);
                    start = piece;
                    read.map(|_| start.clone())
                });
                let want = want.map_err(|error| broken(place, Some(&name), &error, bounds))?;
                match want {
                    Want::Nothing => {}
                    _ if sparse => tree.note(format!(
                        "{}: not read: a file with holes, which no command writes",
                        shown(name.as_bytes())
                    )),
                    want => match tree.room(&want, size) {
                        Err(why) => tree.note(format!("{}: not read: {why}", shown(name.as_bytes()))),
                        Ok(()) => {
                            entry
                                .read_to_end(&mut start)
                                .map_err(|error| broken(place, Some(&name), &error, bounds))?;
                            // The library takes the archive's end for the member's.
                            if (start.len() as u64) < size {
                                return Err(Error::new(
                                    place,
                                    format!(
                                        "member {}: expected {size} bytes, the archive ends after {}",
                                        shown(name.as_bytes()),
                                        start.len()
                                    ),
                                ));
                            }
                            tree.add(&name, want, Text { bytes: start, modified });
                        }
                    },
                }
            }
            _ => {}
        }
        last = Some(shown(name.as_bytes()));
    }
    // A compressor's checksum stands behind the archive's own end.
    io::copy(&mut archive.into_inner(), &mut io::sink())
        .map_err(|error| broken(place, last.as_deref(), &error, bounds))?;
    if last.is_none() {
        return Err(Error::new(place, "expected an archive with members in it"));
    }
    Ok(tree)
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
}

fn extend(extended: &mut Extended, kind: EntryType, bytes: &[u8]) {
    let ended = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    if kind.is_gnu_longname() {
        extended.name = Some(ended(bytes));
    } else if kind.is_gnu_longlink() {
        extended.link = Some(ended(bytes));
    } else if kind.is_pax_local_extensions() {
        for record in PaxExtensions::new(bytes).filter_map(Result::ok) {
            match record.key_bytes() {
                b"path" => extended.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => extended.link = Some(record.value_bytes().to_vec()),
                // Written with a fraction.
                b"mtime" => {
                    let seconds = record.value().ok().and_then(|text| text.parse().ok());
                    extended.modified = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                }
                key if key.starts_with(b"GNU.sparse.") => extended.is_sparse = true,
                _ => {}
            }
        }
    }
}

/// The name without `./` and doubled slashes, if it stays inside.
fn inside(name: &[u8]) -> Result<String, &'static str> {
    let name = String::from_utf8_lossy(name);
    if name.starts_with('/') {
        return Err("expected a name inside the archive, found an absolute one");
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("expected a name inside the archive, found one that leads out of it"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn broken(place: &str, after: Option<&str>, error: &io::Error, bounds: Bounds) -> Error {
    if error.to_string().contains(TOO_LONG) {
        return Error::new(
            place,
            format!("expected an archive of at most {} MiB once unpacked, found more", bounds.bytes >> 20),
        );
    }
    let after = after.map(|name| format!(" at or after member {name}")).unwrap_or_default();
    Error::new(
        place,
        format!("expected a whole archive: damaged or cut off{after}: {}", shown(error.to_string().as_bytes())),
    )
}

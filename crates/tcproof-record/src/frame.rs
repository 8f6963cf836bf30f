//! The bytes of a file: its header, and the header of each record. All numbers are little-endian.

use std::io::Read;
use std::time::Duration;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What a recording begins with. The last byte stops `cat` on some systems, and makes the file none of text.
pub const MAGIC: [u8; 8] = *b"tcproof\x1a";
/// The format that is written, and the latest that is read.
pub const VERSION: u16 = 1;
/// Bytes of one record's payload, compressed or not.
pub const MOST_PAYLOAD: usize = 16 << 20;
/// Values in one record.
pub const MOST_TREE: u64 = 2 << 20;

/// What a record begins with: a reader that lost its way looks for it.
pub(crate) const SYNC: [u8; 4] = *b"\xf5TC\x0a";
/// As `gzip -6`: beyond it these payloads become no smaller.
const LEVEL: u8 = 6;
/// Bytes of a record's header.
pub(crate) const FRAME: usize = 46;
/// Bytes of the file's header: a few names.
const MOST_HEADER: usize = 64 << 10;

/// Who recorded what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The host's name.
    pub host: String,
    /// Its kernel.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`; empty in a redacted recording.
    pub boot: String,
    /// Whether names and addresses were replaced.
    #[serde(default)]
    pub redacted: bool,
    /// Milliseconds since 1970 when the file was begun.
    pub started_ms: i64,
}

impl Header {
    /// The bytes that a file begins with.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let json = serde_json::to_vec(self).map_err(|error| Error::TooLarge { what: error.to_string() })?;
        let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MOST_HEADER);
        let length = length.ok_or_else(|| Error::TooLarge { what: "the host's name".into() })?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(json);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads it, and how many bytes it took.
    pub(crate) fn read(source: &mut impl Read) -> Result<(Self, u64), Error> {
        let mut bytes = take(source, 14)?;
        let magic = bytes.get(..8).unwrap_or(&bytes);
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(Error::NotARecording);
        }
        let damaged = |at: usize, what: &str| Error::Damaged { at: at as u64, what: what.into() };
        let torn = "the header ends here; nothing was recorded after it";
        let version = bytes.get(8..10).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
        let version = version.ok_or_else(|| damaged(bytes.len(), torn))?;
        if version > VERSION {
            return Err(Error::FromTheFuture { found: version });
        }
        let length = u32_at(&bytes, 10).ok_or_else(|| damaged(bytes.len(), torn))? as usize;
        if length > MOST_HEADER {
            return Err(damaged(10, &format!("expected a header of at most {MOST_HEADER} bytes, found {length}")));
        }
        bytes.extend(take(source, length + 4)?);
        let crc = u32_at(&bytes, 14 + length).ok_or_else(|| damaged(bytes.len(), torn))?;
        if crc != crc32fast::hash(&bytes[..14 + length]) {
            return Err(damaged(0, "the header does not match its checksum"));
        }
        let header = serde_json::from_slice(&bytes[14..14 + length])
            .map_err(|error| damaged(14, &format!("expected the host, its kernel and boot in JSON: {error}")))?;
        Ok((header, bytes.len() as u64))
    }
}

fn take(source: &mut impl Read, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// A record's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether it holds everything.
    pub(crate) is_key: bool,
    /// Its number in the file.
    pub(crate) number: u32,
    /// See [`crate::Step::wall_ms`].
    pub(crate) wall_ms: i64,
    /// See [`crate::Step::mono`].
    pub(crate) mono: Duration,
    /// How long was watched.
    pub(crate) span: Duration,
    /// Bytes of the payload as it stands in the file.
    pub(crate) packed: usize,
}

impl Frame {
    /// A whole record.
    pub(crate) fn to_bytes(self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let too_large = || Error::TooLarge { what: format!("{} bytes in one record", payload.len()) };
        if payload.len() > MOST_PAYLOAD {
            return Err(too_large());
        }
        let squeezed = compress_to_vec(payload, LEVEL);
        let (is_packed, packed) = if squeezed.len() < payload.len() { (true, &*squeezed) } else { (false, payload) };
        let length = u32::try_from(packed.len()).map_err(|_| too_large())?;
        let mut bytes = SYNC.to_vec();
        bytes.push(u8::from(self.is_key) | u8::from(is_packed) << 1);
        bytes.push(0);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.wall_ms.to_le_bytes());
        bytes.extend(u64::try_from(self.mono.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend(u64::try_from(self.span.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc32fast::hash(packed).to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(packed);
        Ok(bytes)
    }

    /// Reads one of [`FRAME`] bytes; none where they are no header.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let is_whole = bytes.starts_with(&SYNC) && u32_at(bytes, 42)? == crc32fast::hash(bytes.get(..42)?);
        let packed = u32_at(bytes, 34)? as usize;
        (is_whole && packed <= MOST_PAYLOAD).then_some(())?;
        Some(Self {
            is_key: bytes.get(4)? & 1 != 0,
            number: u32_at(bytes, 6)?,
            wall_ms: u64_at(bytes, 10)?.cast_signed(),
            mono: Duration::from_nanos(u64_at(bytes, 18)?),
            span: Duration::from_nanos(u64_at(bytes, 26)?),
            packed,
        })
    }

    /// Whether these bytes, header and all, are as they were written.
    pub(crate) fn holds(bytes: &[u8]) -> bool {
        u32_at(bytes, 38) == bytes.get(FRAME..).map(crc32fast::hash)
    }
}

/// The payload of a whole record.
pub(crate) fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let packed = bytes.get(FRAME..).unwrap_or_default();
    if bytes.get(4).is_none_or(|flags| flags & 2 == 0) {
        return Ok(packed.to_vec());
    }
    decompress_to_vec_with_limit(packed, MOST_PAYLOAD)
        .map_err(|error| format!("expected deflate of at most {MOST_PAYLOAD} bytes: {error}"))
}

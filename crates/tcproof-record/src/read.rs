//! Reads recordings, whatever has become of them: what is whole is read, and what is lost is said.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::time::Duration;

use tcproof_core::Interval;

use crate::delta::apply_from;
use crate::frame::{FRAME, Frame, SYNC, unpacked};
use crate::node::{Bytes, Node};
use crate::write::{Base, interval};
use crate::{Error, Header, Step};

/// Read from the file at a time.
const PIECE: usize = 64 << 10;
/// Bytes of damaged records that are searched for other records.
const MOST_IN_VAIN: usize = 256 << 20;
/// Losses that are told one by one.
const LOSSES: usize = 32;
/// The wall clock was set if it and the other one disagree by more, between two records.
const STEP_MS: i128 = 2_000;
/// Two records adjoin if no more than this lies between them.
const SEAM: Duration = Duration::from_millis(1);

/// Something that can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Where it begins in the file.
    pub at: u64,
    /// Damaged bytes.
    pub bytes: u64,
    /// Records: damaged ones, and those that only tell what changed since a damaged one.
    pub records: u64,
    /// When the last record before it ended, and when it ended itself, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// None at the end of the file.
    pub to_ms: Option<i64>,
}

impl Loss {
    /// The end of the file is torn: a record was being written.
    pub fn is_torn_tail(&self) -> bool {
        self.to_ms.is_none()
    }
}

/// What comes next in a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A record.
    Step(Box<Step>),
    /// A hole.
    Lost(Loss),
}

/// A whole record: its header, and all of its bytes.
type Whole = (Frame, Vec<u8>);

/// Finds whole records in bytes.
struct Scan<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    /// Where that is in the file.
    at: u64,
    ended: bool,
    /// Bytes that were read in vain.
    in_vain: usize,
}

impl<R: Read> Scan<R> {
    fn new(source: R, at: u64) -> Self {
        Self { source, buffer: Vec::new(), start: 0, at, ended: false, in_vain: 0 }
    }

    /// So many bytes from here on, or fewer at the end.
    fn peek(&mut self, length: usize) -> Result<&[u8], Error> {
        if self.buffer.len() - self.start < length && !self.ended {
            self.buffer.drain(..self.start);
            self.start = 0;
            while self.buffer.len() < length && !self.ended {
                let had = self.buffer.len();
                self.buffer.resize(had + PIECE, 0);
                match self.source.read(&mut self.buffer[had..]) {
                    Ok(read) => {
                        self.buffer.truncate(had + read);
                        self.ended = read == 0;
                    }
                    Err(error) => {
                        self.buffer.truncate(had);
                        if error.kind() != ErrorKind::Interrupted {
                            return Err(error.into());
                        }
                    }
                }
            }
        }
        let rest = &self.buffer[self.start..];
        Ok(&rest[..length.min(rest.len())])
    }

    fn skip(&mut self, length: usize) {
        self.start += length;
        self.at += length as u64;
    }

    /// The next whole record and its bytes, and how many damaged bytes lie before it; none at the end.
    fn next(&mut self) -> Result<(u64, Option<Whole>), Error> {
        let mut damaged = 0;
        loop {
            if let Some(frame) = Frame::read(self.peek(FRAME)?) {
                let length = FRAME + frame.packed;
                let bytes = self.peek(length)?;
                if bytes.len() == length && Frame::holds(bytes) {
                    let bytes = bytes.to_vec();
                    self.skip(length);
                    return Ok((damaged, Some((frame, bytes))));
                }
                // A record that was torn may be followed by whole ones, so it is searched for them. Not for ever: a file
                // made to be slow is one of headers that each promise much.
                if bytes.len() == length {
                    self.in_vain += length;
                    if self.in_vain > MOST_IN_VAIN {
                        damaged += length as u64;
                        self.skip(length);
                        continue;
                    }
                }
            }
            // To where the next could begin.
            let rest = self.peek(PIECE)?;
            if rest.is_empty() {
                return Ok((damaged, None));
            }
            let next = rest.iter().skip(1).position(|byte| *byte == SYNC[0]).map_or(rest.len(), |found| found + 1);
            damaged += next as u64;
            self.skip(next);
        }
    }
}

/// Reads a recording from its beginning, or from a record that holds everything.
pub struct Reader<R> {
    header: Header,
    scan: Scan<R>,
    /// The number of the last record that was read, and what the next delta is made against.
    last: Option<(u32, Base)>,
    /// The number of the last whole record, also of one that could not be made sense of.
    number: Option<u32>,
    wall_ms: Option<i64>,
    pending: Option<Step>,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no recording, or a later tcproof's, or its header is damaged.
    pub fn new(mut source: R) -> Result<Self, Error> {
        let (header, at) = Header::read(&mut source)?;
        Ok(Self::resumed(header, source, at))
    }

    fn resumed(header: Header, source: R, at: u64) -> Self {
        let scan = Scan::new(source, at);
        Self { header, scan, last: None, number: None, wall_ms: None, pending: None, is_over: false }
    }

    /// Whose it is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What comes next; none at the end.
    ///
    /// # Errors
    /// Only the system's: what is damaged is a [`Loss`].
    #[expect(clippy::should_implement_trait, reason = "a Result of an Option reads better than an Option of a Result")]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        if let Some(step) = self.pending.take() {
            return Ok(Some(Entry::Step(Box::new(step))));
        }
        if self.is_over {
            return Ok(None);
        }
        let mut loss = Loss { at: self.scan.at, from_ms: self.wall_ms, ..Loss::default() };
        loop {
            let (damaged, found) = self.scan.next()?;
            loss.bytes += damaged;
            let Some((frame, bytes)) = found else {
                self.is_over = true;
                // Of what is torn at the end nobody knows how many it were; most often it is one.
                loss.records += u64::from(damaged > 0);
                return Ok((loss != Loss { at: loss.at, from_ms: loss.from_ms, ..Loss::default() })
                    .then_some(Entry::Lost(loss)));
            };
            let missed = self.number.map(|number| frame.number.wrapping_sub(number.wrapping_add(1)));
            loss.records += u64::from(missed.unwrap_or(u32::from(damaged > 0)).min(u32::MAX / 2));
            self.number = Some(frame.number);
            self.wall_ms = Some(frame.wall_ms);
            let Ok(step) = self.step(frame, &bytes) else {
                self.last = None;
                loss.records += 1;
                continue;
            };
            if loss.bytes == 0 && loss.records == 0 {
                return Ok(Some(Entry::Step(Box::new(step))));
            }
            loss.to_ms = Some(frame.wall_ms);
            self.pending = Some(step);
            return Ok(Some(Entry::Lost(loss)));
        }
    }

    fn step(&mut self, frame: Frame, bytes: &[u8]) -> Result<Step, String> {
        let payload = unpacked(bytes)?;
        let mut payload = Bytes::new(&payload);
        let base = match (frame.is_key, self.last.take()) {
            (true, _) => Base::of_key(Node::read(&mut payload)?),
            (false, Some((number, base))) if number.wrapping_add(1) == frame.number => base,
            (false, _) => return Err("the record before it".into()),
        };
        let mut tree = base.tree();
        payload.spend(tree.count())?;
        apply_from(&mut tree, &mut payload)?;
        self.last = Base::of(&tree).map(|base| (frame.number, base));
        Ok(Step { wall_ms: frame.wall_ms, mono: frame.mono, interval: interval(tree)? })
    }
}

/// What is in a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Whose it is.
    pub header: Header,
    /// Whole records.
    pub records: u64,
    /// When the first record began and the last one ended, in milliseconds since 1970.
    pub first_ms: i64,
    /// See `first_ms`.
    pub last_ms: i64,
    /// When the last one ended, since boot.
    pub last: Duration,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes up to the end of the last whole record: whoever appends begins there.
    pub whole: u64,
    /// The number that the next record has.
    pub next: u32,
    /// Times in which nothing was recorded though no record is lost: how many, and how long together.
    pub gaps: (u64, Duration),
    /// Times that the wall clock was set.
    pub clock_steps: u64,
    /// What can't be read, the first few.
    pub losses: Vec<Loss>,
    /// How many of those there are.
    pub lost: u64,
}

/// Looks through a recording without making sense of its records; `find` sees when each ended, by both clocks.
pub fn summary(source: impl Read, mut find: impl FnMut(i64, Duration)) -> Result<Summary, Error> {
    let mut source = source;
    let (header, at) = Header::read(&mut source)?;
    let mut scan = Scan::new(source, at);
    let mut found = Summary { header, whole: at, ..Summary::default() };
    let mut last: Option<Frame> = None;
    // Without the last key, a delta is lost too.
    let mut is_known = false;
    let mut loss: Option<Loss> = None;
    loop {
        let from = scan.at;
        let (damaged, next) = scan.next()?;
        let frame = next.as_ref().map(|(frame, _)| *frame);
        let missed = frame.and_then(|frame| Some(frame.number.wrapping_sub(last?.number.wrapping_add(1)))).unwrap_or(0);
        if damaged > 0 || missed > 0 {
            is_known = false;
            let from_ms = last.map(|frame| frame.wall_ms);
            let loss = loss.get_or_insert_with(|| Loss { at: from, from_ms, ..Loss::default() });
            loss.bytes += damaged;
            loss.records += u64::from(missed.min(u32::MAX / 2)).max(u64::from(damaged > 0));
        }
        is_known |= frame.is_some_and(|frame| frame.is_key);
        match frame {
            Some(frame) if !is_known => {
                loss.get_or_insert_with(|| Loss { at: from, ..Loss::default() }).records += 1;
                last = Some(frame);
                found.whole = scan.at;
                found.next = frame.number.wrapping_add(1);
                continue;
            }
            Some(frame) => {
                if let Some(last) = last.filter(|_| loss.is_none()) {
                    let (apart, wall) = (frame.mono.saturating_sub(last.mono), frame.wall_ms - last.wall_ms);
                    if apart > frame.span.saturating_add(SEAM) {
                        found.gaps = (found.gaps.0 + 1, found.gaps.1.saturating_add(apart - frame.span));
                    }
                    let set = i128::from(wall) - i128::try_from(apart.as_millis()).unwrap_or(i128::MAX);
                    found.clock_steps += u64::from(set.abs() > STEP_MS);
                }
                if found.records == 0 {
                    let span = i64::try_from(frame.span.as_millis()).unwrap_or(0);
                    found.first_ms = frame.wall_ms.saturating_sub(span);
                }
                found.records += 1;
                (found.last_ms, found.last) = (frame.wall_ms, frame.mono);
                (found.whole, found.next) = (scan.at, frame.number.wrapping_add(1));
                find(frame.wall_ms, frame.mono);
            }
            None => {}
        }
        if let Some(mut loss) = loss.take() {
            loss.to_ms = frame.map(|frame| frame.wall_ms);
            found.lost += 1;
            if found.losses.len() < LOSSES {
                found.losses.push(loss);
            }
        }
        if frame.is_none() {
            found.bytes = scan.at;
            return Ok(found);
        }
        last = frame;
    }
}

/// Up to where a file is whole, and the number of its next record: for whoever appends to it.
pub fn whole_records(source: impl Read) -> Result<Summary, Error> {
    summary(source, |_, _| ())
}

/// A reader that begins with the last record that holds everything and begins by then, or else with the first.
///
/// # Errors
/// The header can't be read, or the system refuses.
pub fn reader_before<R: Read + Seek>(mut source: R, begin: Duration) -> Result<Reader<R>, Error> {
    source.seek(SeekFrom::Start(0))?;
    let (header, at) = Header::read(&mut source)?;
    Reader::before(source, header, at, begin)
}

impl<R: Read + Seek> Reader<R> {
    fn before(mut source: R, header: Header, at: u64, begin: Duration) -> Result<Self, Error> {
        source.seek(SeekFrom::Start(at))?;
        let mut from = at;
        {
            let mut scan = Scan::new(&mut source, at);
            loop {
                let (_, next) = scan.next()?;
                let Some((frame, bytes)) = next else { break };
                if frame.mono.saturating_sub(frame.span) > begin {
                    break;
                }
                if frame.is_key {
                    from = scan.at - bytes.len() as u64;
                }
            }
        }
        source.seek(SeekFrom::Start(from))?;
        Ok(Self::resumed(header, source, from))
    }
}

/// A window of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The records joined.
    pub interval: Interval,
    /// When it ends, in milliseconds since 1970.
    pub ended_ms: i64,
    /// Records that were joined.
    pub records: u64,
    /// Whether it is shorter than was asked for: there is a hole in it, or the recording begins within.
    pub is_cut: bool,
}

/// The window of that length that ends when the clock since boot said `end`; none where nothing was recorded there.
///
/// # Errors
/// The header can't be read, or the system refuses.
pub fn window(mut source: impl Read + Seek, end: Duration, length: Duration) -> Result<Option<Window>, Error> {
    source.seek(SeekFrom::Start(0))?;
    let (header, at) = Header::read(&mut source)?;
    // The last record that ended by then, and whether the time asked for is near it or within the next one.
    let mut last = None;
    let mut is_within = false;
    {
        let mut scan = Scan::new(&mut source, at);
        while let (_, Some((frame, _))) = scan.next()? {
            if frame.mono > end {
                is_within = frame.mono.saturating_sub(frame.span) <= end;
                break;
            }
            last = Some(frame.mono);
        }
    }
    let Some(last) = last.filter(|last| is_within || end - *last < length) else { return Ok(None) };
    let end = last;
    let begin = end.saturating_sub(length);
    let mut reader = Reader::before(source, header, at, begin)?;
    let mut found: Option<Window> = None;
    let mut longer = None;
    while let Some(entry) = reader.next()? {
        let Entry::Step(step) = entry else { continue };
        if step.mono > end {
            break;
        }
        // Half of it at least.
        let middle = step.mono.saturating_sub(step.interval.window() / 2);
        if middle < begin {
            // Where each record is longer than the window, the one that it ends in is the best there is.
            longer = (step.mono > begin).then_some(step);
            continue;
        }
        let Step { wall_ms, interval, .. } = *step;
        let alone = |interval| alone(wall_ms, interval);
        found = Some(match found.take() {
            None => alone(interval),
            Some(mut known) => match known.interval.and_then(interval) {
                Ok(()) => Window { ended_ms: wall_ms, records: known.records + 1, ..known },
                // Something is missing in between: what comes after it is nearer to what was asked for.
                Err(interval) => alone(*interval),
            },
        });
    }
    let found = found.or_else(|| longer.map(|step| alone(step.wall_ms, step.interval)));
    Ok(found.map(|window| Window { is_cut: window.interval.window() < length.mul_f64(0.8), ..window }))
}

/// A window of one record.
fn alone(ended_ms: i64, interval: Interval) -> Window {
    Window { interval, ended_ms, records: 1, is_cut: false }
}

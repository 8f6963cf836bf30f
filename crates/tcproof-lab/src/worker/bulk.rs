//! Connections that move data in bulk: read or written as fast as they let, or paced as a slow application would.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::time::{Duration, Instant};

use mio::Token;
use mio::event::Event as Readiness;
use mio::net::TcpStream;

use super::{Control, errno_name};
use crate::kit::slow_memory::SlowPage;
use crate::scenario::{Reads, Writes};

/// What one `read(2)` asks for, and one `write(2)` offers if the scenario does not say.
const PIECE: usize = 128 * 1024;
/// Pieces that one connection moves before it is another's turn.
const TURN: usize = 16;
/// A paced reader or writer moves a hundredth of a second's bytes at once, as an application with work between would.
const PACE: u32 = 100;

/// What is done with the data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// It is read.
    Reads(Reads),
    /// It is written.
    Writes(Writes),
}

/// All bulk connections of a worker.
pub(super) struct Bulk {
    work: Work,
    flows: BTreeMap<Token, Flow>,
    /// Those that can go on, as far as is known: readiness is told once.
    ready: BTreeSet<Token>,
    buffer: Vec<u8>,
    /// Where connections take turns: whose it is, and how many bytes it has left.
    holder: Option<(Token, u64)>,
    slow: Option<Slow>,
}

/// Memory that has to be fetched now and then.
struct Slow {
    page: SlowPage,
    every: Duration,
    next: Instant,
}

impl Slow {
    fn read(&mut self, stream: &TcpStream, now: Instant) -> io::Result<usize> {
        self.next = now + self.every;
        self.page.read(stream)
    }
}

struct Flow {
    stream: TcpStream,
    start: Instant,
    moved: u64,
    /// The mark in which it last moved something.
    progress: Option<u64>,
    /// Whether the kernel has told of an error, which one that waits for its pace would not meet.
    failed: bool,
}

/// What a turn of one flow came to.
enum Turn {
    /// It could go on.
    More,
    /// The kernel takes or has no more.
    Blocked,
    /// Its pace allows no more yet.
    Paced,
    /// The peer has closed, or its work is done.
    Closed,
    /// It broke.
    Broken(io::Error),
}

impl Bulk {
    pub(super) fn new(work: Work) -> io::Result<Self> {
        let slow = match work {
            Work::Reads(Reads { slow_memory: Some(pause), .. }) => Some(Slow {
                page: SlowPage::new(pause.length.0)?,
                every: pause.every.0,
                next: Instant::now() + pause.every.0,
            }),
            _ => None,
        };
        let piece = match work {
            Work::Reads(reads) => piece(reads.bytes_per_second.map(|bytes| bytes.0)),
            Work::Writes(writes) => {
                let size = writes.size.map(|size| size.0 as usize);
                size.unwrap_or_else(|| piece(writes.bytes_per_second.map(|bytes| bytes.0)))
            }
        };
        let (flows, ready) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { work, flows, ready, buffer: vec![0x5a; piece], holder: None, slow })
    }

    /// Takes a connection over.
    pub(super) fn add(&mut self, token: Token, stream: TcpStream, now: Instant) {
        self.flows.insert(token, Flow { stream, start: now, moved: 0, progress: None, failed: false });
        self.ready.insert(token);
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Notes that a connection may go on; whether it is one of these.
    pub(super) fn event(&mut self, event: &Readiness) -> bool {
        let flow = self.flows.get_mut(&event.token());
        flow.is_some_and(|flow| {
            flow.failed |= event.is_error();
            self.ready.insert(event.token());
            true
        })
    }

    /// Moves what can be moved now. Returns the connections that are over, and whether others wait for nothing but
    /// their next turn.
    pub(super) fn turn(&mut self, now: Instant, control: &mut Control) -> (Vec<TcpStream>, bool) {
        let mut over = Vec::new();
        let mut more = false;
        for token in std::mem::take(&mut self.ready) {
            let most = self.left(token);
            let Some(flow) = self.flows.get_mut(&token) else { continue };
            let before = flow.moved;
            if let Some(slow) = self.slow.as_mut().filter(|slow| now >= slow.next) {
                // What went wrong, the turn that follows meets too.
                flow.moved += slow.read(&flow.stream, now).unwrap_or(0) as u64;
            }
            let turn = flow.turn(self.work, most, &mut self.buffer, now);
            let moved = flow.moved - before;
            if moved > 0 {
                let first = flow.progress != Some(control.marks());
                flow.progress = Some(control.marks());
                control.moved(moved, matches!(self.work, Work::Reads(_)), first);
            }
            more |= self.passes_on(token, moved);
            match turn {
                Turn::More => {
                    more = true;
                    self.ready.insert(token);
                }
                Turn::Paced => drop(self.ready.insert(token)),
                Turn::Blocked => {}
                Turn::Closed | Turn::Broken(_) => {
                    if let Turn::Broken(error) = turn {
                        control.count(|tally| tally.numbers.fail(&errno_name(&error)));
                    }
                    over.extend(self.flows.remove(&token).map(|flow| flow.stream));
                    self.holder = self.holder.filter(|(holder, _)| *holder != token);
                }
            }
        }
        (over, more)
    }

    /// Bytes that a connection may move before it is another's turn.
    fn left(&mut self, token: Token) -> u64 {
        let Work::Writes(Writes { turns: Some(bytes), .. }) = self.work else { return u64::MAX };
        let (holder, left) = self.holder.get_or_insert((token, bytes.0.into()));
        if *holder == token { *left } else { 0 }
    }

    /// Takes off what the holder of the turn moved; whether it is another's now.
    fn passes_on(&mut self, token: Token, moved: u64) -> bool {
        let Work::Writes(Writes { turns: Some(bytes), .. }) = self.work else { return false };
        let Some((holder, left)) = self.holder.as_mut().filter(|(holder, _)| *holder == token) else { return false };
        *left = left.saturating_sub(moved);
        if *left > 0 {
            return false;
        }
        let after = self.flows.range((Bound::Excluded(*holder), Bound::Unbounded)).next();
        self.holder = after.or_else(|| self.flows.first_key_value()).map(|(token, _)| (*token, bytes.0.into()));
        true
    }
}

fn piece(bytes_per_second: Option<u32>) -> usize {
    bytes_per_second.map_or(PIECE, |bytes| (bytes / PACE).max(1) as usize).min(PIECE)
}

impl Flow {
    fn turn(&mut self, work: Work, most: u64, buffer: &mut [u8], now: Instant) -> Turn {
        if self.failed
            && let Ok(Some(error)) = self.stream.take_error()
        {
            return Turn::Broken(error);
        }
        let end = self.moved.saturating_add(most);
        let whole = whole(work);
        for _ in 0..TURN {
            if self.moved >= whole {
                return Turn::Closed;
            }
            let allowed = allowed(work, now - self.start).min(end).saturating_sub(self.moved);
            let length = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
            // A paced one waits until it has a whole piece.
            if length == 0 || (is_paced(work) && length < buffer.len()) {
                return Turn::Paced;
            }
            let result = match work {
                Work::Reads(_) => self.stream.read(&mut buffer[..length]),
                Work::Writes(_) => self.stream.write(&buffer[..length]),
            };
            match result {
                Ok(0) => return Turn::Closed,
                Ok(n) => self.moved += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Turn::Broken(error),
            }
        }
        Turn::More
    }
}

fn is_paced(work: Work) -> bool {
    match work {
        Work::Reads(reads) => reads.bytes_per_second.is_some(),
        Work::Writes(writes) => writes.bytes_per_second.is_some(),
    }
}

/// Bytes after which a connection has done its work.
fn whole(work: Work) -> u64 {
    match work {
        Work::Writes(Writes { each: Some(bytes), .. }) => bytes.0.into(),
        _ => u64::MAX,
    }
}

/// Bytes that may have been moved `elapsed` after the connection began.
fn allowed(work: Work, elapsed: Duration) -> u64 {
    let paced = |bytes: u32, elapsed: Duration| (f64::from(bytes) * elapsed.as_secs_f64()) as u64;
    match work {
        Work::Reads(reads) => match elapsed.checked_sub(reads.after.map_or(Duration::ZERO, |after| after.0)) {
            None => 0,
            Some(elapsed) => reads.bytes_per_second.map_or(u64::MAX, |bytes| paced(bytes.0, elapsed)),
        },
        Work::Writes(Writes { burst: Some(burst), .. }) => {
            let bursts = (elapsed.as_nanos() / burst.every.0.as_nanos().max(1)) as u64 + 1;
            u64::from(burst.bytes.0).saturating_mul(bursts)
        }
        Work::Writes(writes) => writes.bytes_per_second.map_or(u64::MAX, |bytes| paced(bytes.0, elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(text: &str) -> Work {
        Work::Writes(toml::from_str(text).expect("it is TOML"))
    }

    #[test]
    fn what_may_be_moved_grows_with_time() {
        let second = Duration::from_secs(1);
        let reads = Work::Reads(toml::from_str("bytes-per-second = 1000\nafter = \"1s\"").expect("it is TOML"));
        assert_eq!([0, 1, 2, 3].map(|n| allowed(reads, n * second)), [0, 0, 1000, 2000]);
        assert_eq!(allowed(Work::Reads(Reads::default()), Duration::ZERO), u64::MAX);
        let bursts = writes("burst = { bytes = 500, every = \"2s\" }");
        assert_eq!([0, 1, 2, 5].map(|n| allowed(bursts, n * second)), [500, 500, 1000, 1500]);
        assert_eq!(allowed(writes("bytes-per-second = 10"), 3 * second), 30);
        assert_eq!(allowed(writes(""), Duration::ZERO), u64::MAX);
    }

    #[test]
    fn slow_applications_move_small_pieces() {
        assert_eq!([None, Some(1), Some(100_000), Some(1 << 30)].map(piece), [PIECE, 1, 1000, PIECE]);
    }

    #[test]
    fn a_connection_that_has_carried_its_share_is_over() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let now = Instant::now();
        let work = writes("size = 5\neach = 12");
        let stream = TcpStream::connect(address).expect("somebody listens");
        let (peer, _) = listener.accept().expect("it is connected");
        let mut flow = Flow { stream, start: now, moved: 0, progress: None, failed: false };
        assert!(matches!(flow.turn(work, u64::MAX, &mut [0; 5], now), Turn::Closed));
        assert_eq!(flow.moved, 15);
        drop(peer);
    }

    #[test]
    fn connections_take_turns() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let now = Instant::now();
        let mut bulk = Bulk::new(writes("turns = 1000")).expect("a worker can begin");
        for token in [Token(1), Token(2)] {
            bulk.add(token, TcpStream::connect(address).expect("somebody listens"), now);
        }
        assert_eq!([1, 2].map(|n| bulk.left(Token(n))), [1000, 0]);
        assert!(!bulk.passes_on(Token(1), 400) && !bulk.passes_on(Token(2), 0));
        assert_eq!([1, 2].map(|n| bulk.left(Token(n))), [600, 0]);
        assert!(bulk.passes_on(Token(1), 600));
        assert_eq!([1, 2].map(|n| bulk.left(Token(n))), [0, 1000]);
        assert!(bulk.passes_on(Token(2), 1000));
        assert_eq!(bulk.left(Token(1)), 1000);
        let mut free = Bulk::new(writes("")).expect("a worker can begin");
        assert_eq!(free.left(Token(7)), u64::MAX);
        assert!(!free.passes_on(Token(7), 1));
    }
}

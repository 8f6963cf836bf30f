//! One connection: the request comes, the answer goes, and what else is sent is thrown away. Nothing here waits.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::request::{Parsed, is_worth_parsing, parse};
use super::{Answer, Request, Status};

/// For sending the request, again for taking the answer, and again for closing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of what somebody sends besides so much is taken, that they see the answer: a close with bytes unread is a reset.
const LEFTOVER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    phase: Phase,
    until: Instant,
}

#[derive(Debug)]
enum Phase {
    Reading(Vec<u8>),
    Sending { bytes: Vec<u8>, sent: usize },
    Draining { taken: usize },
}

impl Connection {
    pub(super) fn new(stream: TcpStream, now: Instant) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, phase: Phase::Reading(Vec::new()), until: now + PATIENCE })
    }

    /// What it waits for.
    pub(super) fn awaited(&self) -> PollFd<'_> {
        let flags = if self.is_sending() { PollFlags::OUT } else { PollFlags::IN };
        PollFd::new(&self.stream, flags)
    }

    /// How long it is waited for.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        now >= self.until
    }

    pub(super) fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
    }

    /// Goes on as far as the peer allows. Returns whether it goes on later.
    pub(super) fn advance(&mut self, now: Instant, answer: &dyn Fn(&Request) -> Option<Answer>) -> bool {
        loop {
            match self.step(now, answer) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.is_late(now) {
                        return true;
                    }
                    if !matches!(self.phase, Phase::Reading(_)) {
                        return false;
                    }
                    self.say(Answer::says(Status::RequestTimeout, "expected a request within 5 s"), false, now);
                }
                // Whoever has gone gets no answer, which is nobody's error.
                Err(_) => return false,
            }
        }
    }

    /// One read or write. Returns whether there is more to do.
    fn step(&mut self, now: Instant, answer: &dyn Fn(&Request) -> Option<Answer>) -> std::io::Result<bool> {
        let mut chunk = [0; 1024];
        match &mut self.phase {
            Phase::Reading(bytes) => {
                let read = self.stream.read(&mut chunk)?;
                let further = chunk.get(..read).unwrap_or_default();
                bytes.extend(further);
                let parsed = match further.is_empty() {
                    true if bytes.is_empty() => return Ok(false),
                    true => Some(Parsed::Wrong(Status::BadRequest, "expected the end of the headers")),
                    false if is_worth_parsing(bytes, further) => parse(bytes),
                    false => None,
                };
                match parsed {
                    None => {}
                    Some(Parsed::Wrong(status, sentence)) => self.say(Answer::says(status, sentence), false, now),
                    Some(Parsed::Request { is_head, request }) => match answer(&request) {
                        Some(answer) => self.say(answer, is_head, now),
                        None => return Ok(false),
                    },
                }
            }
            Phase::Sending { bytes, sent } => {
                match self.stream.write(bytes.get(*sent..).unwrap_or_default())? {
                    0 => return Ok(false),
                    more => *sent += more,
                }
                if *sent >= bytes.len() {
                    self.stream.shutdown(Shutdown::Write)?;
                    (self.phase, self.until) = (Phase::Draining { taken: 0 }, now + PATIENCE);
                }
            }
            Phase::Draining { taken } => {
                let read = self.stream.read(&mut chunk)?;
                *taken += read;
                return Ok(read > 0 && *taken < LEFTOVER);
            }
        }
        Ok(true)
    }

    fn say(&mut self, answer: Answer, is_head: bool, now: Instant) {
        let Answer { status, content_type, body, again } = answer;
        let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        let again = again.map_or_else(String::new, |again| format!("Refresh: {}\r\n", again.as_secs().max(1)));
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}{again}Connection: close\r\n\r\n",
            status as u16,
            status.reason(),
            body.len(),
        )
        .into_bytes();
        if !is_head {
            bytes.extend(body.into_bytes());
        }
        (self.phase, self.until) = (Phase::Sending { bytes, sent: 0 }, now + PATIENCE);
    }
}

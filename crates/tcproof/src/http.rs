//! Answers HTTP, as little of it as a scraper needs: GET and HEAD, one request a connection, everything bounded.
//!
//! One thread goes from connection to connection and waits for none of them. Where there are too many, the oldest one makes
//! room for the newest, so that however many are slow, one that sends its request at once has its answer at once.

mod connection;
mod host;
mod request;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use connection::Connection;
pub(crate) use host::Hosts;
pub(crate) use request::Request;

/// Connections at the same time.
const CONNECTIONS: usize = 512;
/// Those of them whose answer waits to be taken: an answer is a hundred times a request.
const SENDING: usize = 16;
/// Waiting to be taken up: a burst must not have its SYNs dropped, which costs each a second.
const BACKLOG: i32 = 4096;
/// Taken up before the others have their turn.
const AT_ONCE: usize = 64;
/// After accept(2) has failed, which it goes on to do where the host is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    /// When a browser is to ask again.
    pub(crate) again: Option<Duration>,
}

impl Answer {
    /// One sentence.
    pub(crate) fn says(status: Status, sentence: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: sentence.into() + "\n", again: None }
    }
}

/// The statuses that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 200,
    BadRequest = 400,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    TooLarge = 431,
    Unavailable = 503,
}

impl Status {
    fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::TooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

/// Answers whoever connects, for as long as the process lives. `refused` counts those that made room for others.
pub(crate) fn serve(
    listener: &TcpListener,
    hosts: &Hosts,
    refused: &AtomicU64,
    answer: impl Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    rustix::net::listen(listener, BACKLOG)?;
    // What one request makes of us must not be the last thing that anybody gets.
    let answer = |request: &Request| match request.hosts.iter().find(|host| !hosts.allow(host)) {
        Some(_) => Some(Answer::says(
            Status::Forbidden,
            "expected localhost, an address, or a name of --allow-host as the Host of the request",
        )),
        None => catch_unwind(AssertUnwindSafe(|| answer(request))).ok(),
    };
    let refuse = |connection: Option<Connection>| {
        let was_there = connection.is_some();
        refused.fetch_add(u64::from(was_there), Ordering::Relaxed);
        was_there
    };
    let mut open: VecDeque<Connection> = VecDeque::new();
    loop {
        let ready = wait(listener, &open);
        let now = Instant::now();
        let mut ready = ready.into_iter();
        open.retain_mut(|connection| {
            let is_ready = ready.next().unwrap_or(false);
            !(is_ready || connection.is_late(now)) || connection.advance(now, &answer)
        });
        for _ in 0..AT_ONCE {
            match listener.accept() {
                Ok((stream, _)) => {
                    // Its request is mostly there already.
                    if let Ok(mut connection) = Connection::new(stream, now)
                        && connection.advance(now, &answer)
                    {
                        open.push_back(connection);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // Out of descriptors, one of which the oldest has.
                Err(_) if refuse(open.pop_front()) => {}
                Err(_) => {
                    thread::sleep(PAUSE);
                    break;
                }
            }
            if open.len() > CONNECTIONS {
                refuse(open.pop_front());
            }
            if open.iter().filter(|connection| connection.is_sending()).count() > SENDING {
                let oldest = open.iter().position(Connection::is_sending);
                refuse(oldest.and_then(|oldest| open.remove(oldest)));
            }
        }
    }
}

/// Waits for something to happen, and says which connections it happened to.
fn wait(listener: &TcpListener, open: &VecDeque<Connection>) -> Vec<bool> {
    let mut polled: Vec<_> = open.iter().map(Connection::awaited).collect();
    polled.push(PollFd::new(listener, PollFlags::IN));
    let left = open.iter().map(Connection::until).min().map(|end| end.saturating_duration_since(Instant::now()));
    // Not a moment too early.
    let left = left.map(|left| left + Duration::from_nanos(1));
    let left = left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
    match poll(&mut polled, left.as_ref()) {
        Ok(_) => polled.iter().map(|polled| !polled.revents().is_empty()).collect(),
        // A signal.
        Err(_) => Vec::new(),
    }
}

//! Answers HTTP, as little of it as a scraper needs: GET and HEAD, one request a connection, everything bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest request line with its headers.
const LONGEST_HEAD: usize = 8 << 10;
/// Most headers.
const HEADERS: usize = 64;
/// For sending the request, and again for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that are answered at the same time.
const CONNECTIONS: usize = 16;
/// Of a thread that answers one.
const STACK: usize = 1 << 20;
/// Of what somebody sends besides so much is taken, that they see the answer: a close with bytes unread is a reset.
const LEFTOVER: usize = 64 << 10;
/// After accept(2) has failed, which it goes on to do where the host is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Without what is behind `?`.
    pub(crate) path: String,
    /// All `Accept` headers.
    pub(crate) accept: String,
}

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
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::TooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

/// Answers whoever connects, for as long as the process lives. `refused` counts those that were one too many.
pub(crate) fn serve(
    listener: &TcpListener,
    refused: &AtomicU64,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        // Only here it grows.
        if open.load(Ordering::Acquire) >= CONNECTIONS {
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let (slot, answer) = (Slot(Arc::clone(&open)), Arc::clone(&answer));
        let thread = thread::Builder::new().name("http".into()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            let _slot = slot;
            // Whoever has gone gets no answer, which is nobody's error.
            let _ = talk(&stream, &*answer);
        });
        if spawned.is_err() {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Given back whatever becomes of the thread.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn talk(stream: &TcpStream, answer: &dyn Fn(&Request) -> Answer) -> std::io::Result<()> {
    let (is_head, answer) = match head(stream)? {
        Parsed::Request { is_head, request } => (is_head, answer(&request)),
        Parsed::Wrong(status, sentence) => (false, Answer::says(status, sentence)),
    };
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
    write(stream, &bytes)?;
    stream.shutdown(Shutdown::Write)?;
    drain(stream)
}

/// What a request's bytes are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Request { is_head: bool, request: Request },
    Wrong(Status, &'static str),
}

/// Reads until the head is whole, or one can tell that it never will be.
fn head(mut stream: &TcpStream) -> std::io::Result<Parsed> {
    let end = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Some(parsed) = parse(&bytes) {
            return Ok(parsed);
        }
        let Some(left) = left(end) else {
            return Ok(Parsed::Wrong(Status::RequestTimeout, "expected a request within 5 s"));
        };
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Ok(Parsed::Wrong(Status::BadRequest, "expected the end of the headers")),
            Ok(read) => bytes.extend(chunk.iter().take(read)),
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Nothing for what is not yet whole.
fn parse(bytes: &[u8]) -> Option<Parsed> {
    let too_large = Parsed::Wrong(Status::TooLarge, "expected at most 8 KiB and 64 headers");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > LONGEST_HEAD => return Some(too_large),
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return (bytes.len() > LONGEST_HEAD).then_some(too_large),
        Err(httparse::Error::TooManyHeaders) => return Some(too_large),
        Err(_) => return Some(Parsed::Wrong(Status::BadRequest, "expected a request of HTTP/1.1")),
    }
    let is_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Some(Parsed::Wrong(Status::MethodNotAllowed, "expected GET or HEAD")),
    };
    let path = request.path.unwrap_or_default().split(['?', '#']).next().unwrap_or_default().to_string();
    let accept = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let accept: Vec<_> = accept.map(|header| String::from_utf8_lossy(header.value)).collect();
    Some(Parsed::Request { is_head, request: Request { path, accept: accept.join(",") } })
}

/// write(2) may take a byte at a time: its own timeout is for each of them.
fn write(mut stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(end).ok_or(ErrorKind::TimedOut)?))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn drain(mut stream: &TcpStream) -> std::io::Result<()> {
    let (end, mut taken, mut chunk) = (Instant::now() + PATIENCE, 0, [0; 1024]);
    while let Some(left) = left(end).filter(|_| taken < LEFTOVER) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => taken += read,
        }
    }
    Ok(())
}

/// Until then; a timeout of zero would be none at all.
fn left(end: Instant) -> Option<Duration> {
    Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(bytes: &[u8]) -> Option<Status> {
        match parse(bytes) {
            Some(Parsed::Wrong(status, _)) => Some(status),
            _ => None,
        }
    }

    #[test]
    fn a_request_is_its_path_and_what_it_accepts() {
        let text = b"HEAD /metrics?x=1 HTTP/1.1\r\nHost: a\r\naccept: text/plain\r\nAccept: b/c;q=0.5\r\n\r\n";
        let request = Request { path: "/metrics".into(), accept: "text/plain,b/c;q=0.5".into() };
        assert_eq!(parse(text), Some(Parsed::Request { is_head: true, request }));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_name() {
        for (bytes, status) in [
            (&b"POST / HTTP/1.1\r\n\r\n"[..], Status::MethodNotAllowed),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Status::BadRequest),
            (b"GET / HTTP/2.0\r\n\r\n", Status::BadRequest),
            (b"GET /\r\n\r\n", Status::BadRequest),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", Status::BadRequest),
        ] {
            assert_eq!(wrong(bytes), Some(status), "{}", String::from_utf8_lossy(bytes));
        }
        let headers = "a: b\r\n".repeat(HEADERS + 1);
        assert_eq!(wrong(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()), Some(Status::TooLarge));
        let long = "a".repeat(LONGEST_HEAD);
        assert_eq!(wrong(format!("GET /{long}").as_bytes()), Some(Status::TooLarge));
        assert_eq!(wrong(format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n").as_bytes()), Some(Status::TooLarge));
    }
}

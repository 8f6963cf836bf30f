//! A request's bytes.

use super::Status;

/// Longest request line with its headers.
const LONGEST_HEAD: usize = 8 << 10;
/// Most headers.
const HEADERS: usize = 64;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Without what is behind `?`.
    pub(crate) path: String,
    /// All `Accept` headers.
    pub(crate) accept: String,
    /// Each `Host` header. HTTP/1.0 needs none, and a browser sends one whatever happens.
    pub(crate) hosts: Vec<String>,
}

/// What a request's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Request { is_head: bool, request: Request },
    Wrong(Status, &'static str),
}

/// Nothing for what is not yet whole.
pub(super) fn parse(bytes: &[u8]) -> Option<Parsed> {
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
    let all = |name: &str| {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect::<Vec<_>>()
    };
    Some(Parsed::Request { is_head, request: Request { path, accept: all("accept").join(","), hosts: all("host") } })
}

/// Whether further bytes can make a request whole, or too long: it is not parsed anew for each of them.
pub(super) fn is_worth_parsing(all: &[u8], further: &[u8]) -> bool {
    all.len() == further.len() || all.len() > LONGEST_HEAD || further.contains(&b'\n')
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
    fn a_request_is_its_path_what_it_accepts_and_whom_it_is_meant_for() {
        let text =
            b"HEAD /metrics?x=1 HTTP/1.1\r\nHost: a:1\r\naccept: text/plain\r\nAccept: b/c;q=0.5\r\nhost: b\r\n\r\n";
        let hosts = vec!["a:1".into(), "b".into()];
        let request = Request { path: "/metrics".into(), accept: "text/plain,b/c;q=0.5".into(), hosts };
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

    #[test]
    fn a_request_that_comes_byte_by_byte_is_parsed_line_by_line() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let parsed = (1..=text.len()).filter(|end| is_worth_parsing(&text[..*end], &text[end - 1..*end])).count();
        assert_eq!(parsed, 4);
        assert!(is_worth_parsing(&[b'a'; LONGEST_HEAD + 1], b"a"));
    }
}

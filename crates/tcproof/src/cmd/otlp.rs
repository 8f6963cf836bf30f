//! Pushes what windows showed to a collector of OpenTelemetry: OTLP by plain HTTP.
//!
//! A thread of its own does so, and no collector keeps the one that watches from watching. Counters are sums since the start:
//! a window that was not taken is a point less on a curve, and nothing else is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tcproof_report::sanitize;
use ureq::Agent;
use ureq::http::Uri;

use crate::privileges;

/// Where it goes if the command line doesn't say, as every exporter of OpenTelemetry has it.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// For one attempt, from the name's look-up to the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one window, as long as there is no newer one.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; twice as long before the next.
const PAUSE: Duration = Duration::from_secs(1);
/// A collector that asks for more is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of an answer so much is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A collector's address, with the path of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

/// Reads the address of a collector.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let expected = "expected http://HOST:PORT, such as http://127.0.0.1:4318";
    let uri: Uri = text.parse().map_err(|error| format!("{expected}: {error}"))?;
    let is_plain = uri.scheme_str() == Some("http") && uri.query().is_none();
    let is_named = uri.authority().is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'));
    match is_plain && is_named {
        true => Ok(Endpoint(format!("{}/v1/metrics", text.trim_end_matches('/')))),
        false => Err(expected.into()),
    }
}

/// To a collector.
#[derive(Debug)]
pub(crate) struct Push(Arc<Shared>);

/// What the two threads share.
#[derive(Debug, Default)]
struct Shared {
    /// The newest window that was not begun to be sent.
    next: Mutex<Option<String>>,
    there_is: Condvar,
    failed: AtomicU64,
}

impl Push {
    /// Where the command line says so, or the environment.
    ///
    /// # Errors
    /// The environment names no collector but something else; there can't be a thread.
    pub(crate) fn start(endpoint: Option<Endpoint>) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = endpoint.map_or_else(of_environment, |endpoint| Ok(Some(endpoint)))? else {
            return Ok(None);
        };
        let push = Self(Arc::default());
        let shared = Arc::clone(&push.0);
        let send = move || match privileges::drop_all() {
            Ok(()) => shared.send_all(&endpoint),
            // Then nothing is sent, which is counted.
            Err(error) => say!("tcproof: {error:#}"),
        };
        thread::Builder::new().name("otlp".into()).spawn(send).context("starting a thread")?;
        Ok(Some(push))
    }

    /// Goes at once: what has not been sent by now never will be.
    pub(crate) fn offer(&self, body: String) {
        if self.0.next().replace(body).is_some() {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.0.there_is.notify_one();
    }

    /// Windows that no collector took.
    pub(crate) fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }
}

fn of_environment() -> anyhow::Result<Option<Endpoint>> {
    match std::env::var(VARIABLE) {
        // Empty is unset, as OpenTelemetry has it.
        Ok(text) if !text.is_empty() => {
            endpoint(&text).map(Some).map_err(anyhow::Error::msg).with_context(|| format!("{VARIABLE}={text}"))
        }
        _ => Ok(None),
    }
}

/// Why a window was not taken.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    because: String,
    /// It may be tried again; after so long, if the collector says how long.
    again: Option<Option<Duration>>,
}

impl Shared {
    fn next(&self) -> MutexGuard<'_, Option<String>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_all(&self, Endpoint(url): &Endpoint) {
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // It is asked itself.
            .proxy(None)
            .user_agent(concat!("tcproof/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut is_said = false;
        loop {
            let body = self.take();
            let Err(Refused { because, .. }) = self.send(|| post(&agent, url, &body)) else { continue };
            self.failed.fetch_add(1, Ordering::Relaxed);
            if !is_said {
                let because = sanitize(&because);
                say!("tcproof: {url}: {because}; from now on that is counted only, in tcproof_otlp_failed_total");
                is_said = true;
            }
        }
    }

    /// Waits for one.
    fn take(&self) -> String {
        let mut next = self.next();
        loop {
            match next.take() {
                Some(body) => return body,
                None => next = self.there_is.wait(next).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Tries, and again where that makes sense.
    fn send(&self, post: impl Fn() -> Result<(), Refused>) -> Result<(), Refused> {
        let mut attempt = 1;
        loop {
            let refused = match post() {
                Err(refused) if attempt < ATTEMPTS => refused,
                result => return result,
            };
            let Some(pause) = refused.again else { return Err(refused) };
            let pause = pause.unwrap_or(PAUSE * attempt).min(LONGEST_PAUSE);
            let waited = self.there_is.wait_timeout_while(self.next(), pause, |next| next.is_none());
            if waited.unwrap_or_else(PoisonError::into_inner).0.is_some() {
                return Err(refused);
            }
            attempt += 1;
        }
    }
}

fn post(agent: &Agent, url: &str, body: &str) -> Result<(), Refused> {
    let sent = agent.post(url).header("Content-Type", "application/json").send(body);
    let mut answer = sent.map_err(|error| Refused { because: error.to_string(), again: Some(None) })?;
    let status = answer.status();
    if status.is_success() {
        let text = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        return taken(&text.unwrap_or_default());
    }
    let pause = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    // As OTLP has it: every other status will be the same the next time.
    let again = [429, 502, 503, 504].contains(&status.as_u16()).then_some(pause.map(Duration::from_secs));
    Err(Refused { because: format!("it answers {status}"), again })
}

/// A collector may take a request and not all that is in it.
fn taken(answer: &str) -> Result<(), Refused> {
    let json: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let part = &json["partialSuccess"];
    let rejected = &part["rejectedDataPoints"];
    // 64 bits are a string in the JSON of protobuf, and may be a number.
    let number = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0);
    if number == 0 {
        return Ok(());
    }
    let why: String = part["errorMessage"].as_str().unwrap_or("without a word").chars().take(200).collect();
    Err(Refused { because: format!("it rejects {number} points: {why}"), again: None })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_collector_is_named_by_a_plain_address() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/metrics"),
            ("http://collector/prefix", "http://collector/prefix/v1/metrics"),
        ] {
            assert_eq!(endpoint(text), Ok(Endpoint(url.into())));
        }
        for text in
            ["", "collector:4318", "https://collector:4318", "http://", "http://a@b", "http://a?b", "http://a b", "/x"]
        {
            let error = endpoint(text).unwrap_err();
            assert!(error.starts_with("expected http://HOST:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn a_part_that_was_rejected_is_a_failure() {
        for answer in
            ["", "{}", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess":{"rejectedDataPoints":"0"}}"#, "<html>"]
        {
            assert_eq!(taken(answer), Ok(()));
        }
        for answer in [
            r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}"#,
            r#"{"partialSuccess":{"rejectedDataPoints":3,"errorMessage":"too old"}}"#,
        ] {
            let refused = taken(answer).unwrap_err();
            assert_eq!(refused, Refused { because: "it rejects 3 points: too old".into(), again: None });
        }
    }

    #[test]
    fn what_makes_sense_is_tried_again_until_there_is_a_newer_window() {
        let refused = |again| Err(Refused { because: String::new(), again });
        let tries = |shared: &Shared, again: Option<Option<Duration>>| {
            let tries = Cell::new(0);
            let result = shared.send(|| {
                tries.set(tries.get() + 1);
                refused(again)
            });
            assert!(result.is_err());
            tries.get()
        };
        let shared = Shared::default();
        assert_eq!(tries(&shared, Some(Some(Duration::ZERO))), ATTEMPTS);
        assert_eq!(tries(&shared, None), 1);
        let push = Push(Arc::new(shared));
        push.offer("newer".into());
        let since = Instant::now();
        assert_eq!(tries(&push.0, Some(Some(Duration::MAX))), 1);
        assert!(since.elapsed() < Duration::from_secs(5));
        assert_eq!(push.failed(), 0);
        push.offer("newest".into());
        assert_eq!((push.failed(), push.0.take()), (1, "newest".into()));
    }
}

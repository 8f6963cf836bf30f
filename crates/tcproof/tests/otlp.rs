//! `tcproof serve --otlp`: what a collector of OpenTelemetry gets, and that one which is slow, down or angry keeps nobody from
//! watching.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod inside;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tcproof_lab::kit::netns::current_inode;

use inside::inside;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const TAKEN: &str = "200 OK\r\nContent-Type: application/json";

/// A request as a collector gets it.
struct Request {
    head: String,
    body: Value,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { head, body: serde_json::from_slice(&body).unwrap() })
    }

    fn metrics(&self) -> &[Value] {
        self.body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap()
    }

    /// The time of all its points.
    fn time(&self) -> u64 {
        let times: BTreeSet<_> =
            self.metrics().iter().flat_map(points).map(|point| number(&point["timeUnixNano"])).collect();
        assert_eq!(times.len(), 1, "{times:?}");
        times.into_iter().next().unwrap()
    }
}

/// 64 bits are a string.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

fn points(metric: &Value) -> &[Value] {
    let of = metric.get("sum").or(metric.get("gauge")).unwrap_or_else(|| panic!("{metric}"));
    of["dataPoints"].as_array().unwrap()
}

/// One that answers as it is told to: the last answer again and again, and an empty one never.
struct Collector {
    at: SocketAddr,
    got: Receiver<Request>,
}

impl Collector {
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (send, got) = channel();
        thread::spawn(move || {
            let (mut answered, mut open) = (0, Vec::new());
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = Request::read(&stream) else { continue };
                let answer = answers[answered.min(answers.len() - 1)];
                answered += 1;
                if send.send(request).is_err() {
                    return;
                }
                if answer.is_empty() {
                    open.push(stream);
                } else {
                    let _ = write!(&stream, "HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
                }
            }
        });
        Self { at, got }
    }

    fn next(&self) -> Request {
        self.got.recv_timeout(PATIENCE).unwrap()
    }
}

/// One that serves, and pushes.
struct Server {
    child: Child,
    at: SocketAddr,
    said: Receiver<String>,
}

impl Server {
    fn start(arguments: &[&str], environment: Option<&str>) -> Self {
        let netns = current_inode().unwrap().to_string();
        let mut command = Command::new(TCPROOF);
        command.args(["serve", "--listen", "127.0.0.1:0", "--every", "200ms", "--netns", &netns]).args(arguments);
        command.env_remove(VARIABLE).envs(environment.map(|url| (VARIABLE, url)));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, said) = channel();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
        // What it says of a collector may come first.
        let mut before = Vec::new();
        let at = loop {
            let line = said.recv_timeout(PATIENCE).unwrap();
            match line.strip_prefix("tcproof: serving http://").and_then(|rest| rest.strip_suffix("/metrics")) {
                Some(at) => break at.parse().unwrap(),
                None => before.push(line),
            }
        };
        assert_eq!(before, Vec::<String>::new());
        Self { child, at, said }
    }

    fn pushing_to(at: SocketAddr) -> Self {
        Self::start(&["--otlp", &format!("http://{at}")], None)
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.at).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_string()
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.metrics().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn wait_for(&self, name: &str, least: f64) {
        let since = Instant::now();
        while self.value(name).is_none_or(|value| value < least) {
            assert!(since.elapsed() < PATIENCE, "{name} is {:?}", self.value(name));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it said since it began to serve.
    fn end(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of series in the text that a scraper gets.
fn names(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[test]
fn a_collector_gets_what_a_scraper_sees() {
    inside(|| {
        let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let collector = Collector::start(&[TAKEN]);
        let server = Server::pushing_to(collector.at);
        let (first, second) = (collector.next(), collector.next());
        assert!(first.head.starts_with("post /v1/metrics http/1.1\r\n"), "{}", first.head);
        assert!(first.head.contains("\r\ncontent-type: application/json\r\n"), "{}", first.head);
        let resource = first.body["resourceMetrics"][0]["resource"]["attributes"].as_array().unwrap();
        let of = |key: &str| resource.iter().find(|of| of["key"] == key).unwrap()["value"]["stringValue"].clone();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!((of("service.name"), of("host.name")), ("tcproof".into(), host.trim().into()));
        let text = server.metrics();
        let pushed: BTreeSet<_> = first.metrics().iter().map(|metric| metric["name"].as_str().unwrap()).collect();
        assert_eq!(pushed, names(&text));
        let find = |request: &Request, name: &str| -> Value {
            request
                .metrics()
                .iter()
                .find(|metric| metric["name"] == name)
                .unwrap_or_else(|| panic!("no {name}"))
                .clone()
        };
        let windows = find(&first, "tcproof_windows_total");
        assert_eq!(windows["sum"]["aggregationTemporality"], 2);
        assert_eq!(windows["sum"]["isMonotonic"], true);
        assert_eq!(points(&windows)[0]["asInt"], "1");
        let state = find(&first, "tcproof_limit_state");
        assert!(state.get("gauge").is_some() && points(&state)[0].get("startTimeUnixNano").is_none(), "{state}");
        let queue = find(&first, "tcproof_listener_queue");
        let attributes = points(&queue).iter().flat_map(|point| point["attributes"].as_array().unwrap());
        let mut listeners = attributes.filter(|of| of["key"] == "listener").map(|of| &of["value"]["stringValue"]);
        assert!(listeners.any(|listener| listener == "127.0.0.1:8080"), "{queue}");
        let started =
            |request: &Request| number(&points(&find(request, "tcproof_windows_total"))[0]["startTimeUnixNano"]);
        assert_eq!(started(&first), started(&second));
        assert!(started(&first) < first.time() && first.time() < second.time());
        assert_eq!(server.value("tcproof_otlp_failed_total"), Some(0.0));
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
        let mut statuses = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok());
        let pushes = statuses.find(|status| status.starts_with("Name:\totlp\n")).unwrap();
        assert!(pushes.contains("\nCapEff:\t0000000000000000\n"), "{pushes}");
        assert_eq!(server.end(), Vec::<String>::new());
    });
}

#[test]
fn what_may_be_tried_again_is_and_what_may_not_is_not() {
    inside(|| {
        let collector = Collector::start(&["503 Service Unavailable\r\nRetry-After: 0", TAKEN]);
        let server = Server::pushing_to(collector.at);
        let (first, second) = (collector.next(), collector.next());
        assert_eq!(first.body, second.body);
        assert!(collector.next().time() > second.time());
        assert_eq!(server.value("tcproof_otlp_failed_total"), Some(0.0));
        assert_eq!(server.end(), Vec::<String>::new());

        for (answer, said) in [
            ("500 Internal Server Error", "500 Internal Server Error"),
            ("400 Bad Request", "400 Bad Request"),
            ("307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/", "307 Temporary Redirect"),
        ] {
            let collector = Collector::start(Vec::leak(vec![answer, TAKEN]));
            let server = Server::pushing_to(collector.at);
            let (first, second) = (collector.next(), collector.next());
            assert!(second.time() > first.time(), "{answer}");
            assert_eq!(server.value("tcproof_otlp_failed_total"), Some(1.0), "{answer}");
            let heard = server.end();
            assert!(heard.len() == 1 && heard[0].contains(&format!("it answers {said}; ")), "{heard:?}");
        }
    });
}

#[test]
fn one_that_is_down_or_silent_keeps_nobody_from_watching() {
    inside(|| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let silent = Collector::start(&[""]);
        for at in [nobody, silent.at] {
            let server = Server::pushing_to(at);
            let since = Instant::now();
            server.wait_for("tcproof_windows_total", 10.0);
            assert!(since.elapsed() < PATIENCE / 2, "{:?}", since.elapsed());
            server.wait_for("tcproof_otlp_failed_total", 5.0);
            // Once, however many there are.
            let heard = server.end();
            let most = usize::from(at == nobody);
            assert!(heard.len() == most && heard.iter().all(|line| line.contains(&at.to_string())), "{heard:?}");
        }
    });
}

#[test]
fn the_environment_names_a_collector_too() {
    inside(|| {
        let collector = Collector::start(&[TAKEN]);
        let server = Server::start(&[], Some(&format!("http://{}/", collector.at)));
        assert!(collector.next().head.starts_with("post /v1/metrics "));
        drop(server);
        // Empty is unset; then there is nothing to count.
        let server = Server::start(&[], Some(""));
        server.wait_for("tcproof_windows_total", 1.0);
        assert_eq!(server.value("tcproof_otlp_failed_total"), None);
    });
}

#[test]
fn what_is_no_collector_is_said() {
    for wrong in ["collector:4318", "https://collector:4318", "http://"] {
        let run = |arguments: &[&str], environment: Option<&str>| {
            let mut command = Command::new(TCPROOF);
            command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
            command.env_remove(VARIABLE).envs(environment.map(|url| (VARIABLE, url)));
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        for ((code, said), wanted) in [(run(&["--otlp", wrong], None), 2), (run(&[], Some(wrong)), 1)] {
            assert!(code == Some(wanted) && said.contains("expected http://HOST:PORT"), "{wrong}: {code:?} {said}");
        }
    }
}

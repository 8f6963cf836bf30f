//! Prometheus itself, and those that it scrapes, on the loopback of the namespace that we are in.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{CASES, Case, EVERY, PATIENCE, TCPROOF};

const AT: &str = "127.0.0.1:9090";
/// Where the first one serves.
const FIRST_PORT: usize = 9877;

/// Where the one that watches a scenario serves.
fn address(scenario: &str) -> String {
    let at = CASES.iter().position(|case| case.scenario == scenario).unwrap();
    format!("127.0.0.1:{}", FIRST_PORT + at)
}

/// A process that ends with this value.
pub(crate) struct Running(Child);

impl Running {
    /// tcproof, watching one namespace.
    pub(crate) fn serve(scenario: &str, netns: u64) -> Self {
        let mut command = Command::new(TCPROOF);
        command.args(["serve", "--listen", &address(scenario), "--every", EVERY, "--netns", &netns.to_string()]);
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's, with a folder of its own.
pub(crate) struct Prometheus {
    _process: Running,
    folder: TempDir,
}

impl Prometheus {
    pub(crate) fn require() -> Result<(), String> {
        let found = Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match found {
            Ok(status) if status.success() => Ok(()),
            _ => Err("there is no prometheus (Debian: apt-get install prometheus)".into()),
        }
    }

    /// Which scrapes one for each scenario, and calls it by that name.
    pub(crate) fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("rules.yml"), rules).unwrap();
        let mut config = "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n\
                          rule_files: [rules.yml]\nscrape_configs:\n- job_name: tcproof\n  static_configs:\n"
            .to_string();
        for Case { scenario, .. } in CASES {
            config += &format!("  - {{targets: [\"{}\"], labels: {{instance: {scenario}}}}}\n", address(scenario));
        }
        fs::write(file("prometheus.yml"), config).unwrap();
        let mut command = Command::new("prometheus");
        command.current_dir(folder.path()).env("GOMAXPROCS", "1");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address={AT}"));
        let log = fs::File::create(file("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let prometheus = Self { _process: Running(child), folder };
        let since = Instant::now();
        while prometheus.ask("/-/ready").is_none() {
            assert!(since.elapsed() < PATIENCE, "it never is ready: {}", prometheus.log());
            sleep(Duration::from_millis(100));
        }
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The body, where it is 200. By HTTP/1.0, so that it comes in one piece.
    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(AT.parse::<SocketAddr>().unwrap()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {AT}\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).filter(|code| *code == "200").map(|_| body.to_string())
    }

    /// What its API answers.
    pub(crate) fn get(&self, path: &str) -> Value {
        let body = self.ask(path).unwrap_or_else(|| panic!("{path}: {}", self.log()));
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The series that an expression has now.
    pub(crate) fn query(&self, expr: &str) -> Vec<Value> {
        let escaped: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}"));
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expr}: {answer}")).clone()
    }

    /// Until it has any.
    pub(crate) fn wait_for(&self, expr: &str) {
        let since = Instant::now();
        while self.query(expr).is_empty() {
            assert!(since.elapsed() < PATIENCE, "{expr}: {}", self.log());
            sleep(Duration::from_millis(100));
        }
    }
}

//! `tcproof serve` as a container of `contrib/container`: with the capabilities that are documented and no others, on a root that
//! is read-only and has nothing but the program.
//!
//! There is no container runtime here: what one does is done by the test program, started once more. The image has a static
//! program; here the libraries of the one at hand are beside it. Needs root; says `SKIP` without.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use place::skip;
use rustix::process::chroot;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_no_new_privs};
use tcproof_lab::kit::netns::Netns;
use tcproof_lab::kit::{require_root, rtnl};
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const DOCS: &str = include_str!("../../../docs/serve.md");
const CONTAINERFILE: &str = include_str!("../../../contrib/container/Containerfile");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");
const DAEMONSET: &str = include_str!("../../../contrib/container/daemonset.yaml");
const UNIT: &str = include_str!("../../../contrib/tcproof-serve.service");
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const EVERY: &str = "500ms";
const NOBODY: u32 = 65534;
/// For the test program as a runtime: the container's root, its capabilities, and whose namespace it watches.
const ROOT: &str = "TCPROOF_TEST_ROOT";
const CAPABILITIES: &str = "TCPROOF_TEST_CAPABILITIES";
const WATCHED: &str = "TCPROOF_TEST_WATCHED";
/// A container's file system, which goes with its last process. `$1` is the folder, `$2` the program, what follows its
/// libraries. Processes and network are the host's, knobs can't be written, and nothing else either.
const MOUNT: &str = r#"
set -e
root=$1 program=$2
shift 2
mount -t tmpfs tmpfs "$root"
mkdir "$root/proc" "$root/sys"
cp "$program" "$root/tcproof"
for file; do mkdir -p "$root${file%/*}"; cp "$file" "$root$file"; done
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -d /sys/fs/cgroup ]; then mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"; fi
mount -o remount,ro "$root"
exec "$RUNTIME" --exact runtime --ignored --nocapture
"#;

type Names = BTreeSet<String>;

/// Those in the command line of the documentation.
fn documented() -> Names {
    DOCS.split_whitespace().filter_map(|word| word.strip_prefix("--cap-add=")).map(String::from).collect()
}

#[test]
fn the_documentation_the_daemon_set_and_the_unit_name_the_same_capabilities() {
    let documented = documented();
    assert_eq!(documented.len(), 3, "{documented:?}");
    let added = DAEMONSET.lines().find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']')).unwrap();
    assert_eq!(added.split(", ").map(String::from).collect::<Names>(), documented);
    for key in ["CapabilityBoundingSet=", "AmbientCapabilities="] {
        let given = UNIT.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let given = given.split(' ').map(|name| name.strip_prefix("CAP_").unwrap().to_string());
        assert_eq!(given.collect::<Names>(), documented);
    }
}

/// And what it starts is what is started here.
#[test]
fn the_image_is_built_by_the_workspaces_rust_and_has_only_the_program() {
    let rust = WORKSPACE.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let stages: Vec<_> = CONTAINERFILE.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages, [&*format!("FROM rust:{rust}-bookworm AS build"), "FROM scratch"]);
    let (_, last) = CONTAINERFILE.split_once("FROM scratch\n").unwrap();
    let lines: Vec<_> = last.lines().filter(|line| !line.starts_with('#')).collect();
    let wanted = ["COPY --from=build /tcproof /tcproof", "USER 0:0", "ENTRYPOINT [\"/tcproof\"]", "CMD [\"serve\"]"];
    assert_eq!(lines, wanted);
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> CapabilitySet {
    names.map(|name| CapabilitySet::from_name(name).unwrap()).collect()
}

/// What a runtime does last, started by the script above.
#[test]
#[ignore = "the other test starts it"]
fn runtime() {
    let (Some(root), Ok(names), Ok(watched)) =
        (std::env::var_os(ROOT), std::env::var(CAPABILITIES), std::env::var(WATCHED))
    else {
        return;
    };
    let given = set(names.split(','));
    chroot(Path::new(&root)).unwrap();
    std::env::set_current_dir("/").unwrap();
    for one in capabilities(None).unwrap().permitted - given {
        remove_capability_from_bounding_set(one).unwrap();
    }
    set_no_new_privs(true).unwrap();
    let mut serve = Command::new("/tcproof");
    serve.env_clear().args(["serve", "--every", EVERY, "--netns", &watched]);
    panic!("{}", serve.exec());
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody else's, in a namespace of its own: a process that holds a listener whose queue is full.
struct Service {
    process: Running,
    _clients: Vec<TcpStream>,
    _namespace: Netns,
}

impl Service {
    fn start() -> Self {
        let namespace = Netns::new().unwrap();
        let start = || {
            rtnl::up("lo").unwrap();
            let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
            // The kernel lets one more in than asked for.
            rustix::net::listen(&listener, 1).unwrap();
            let at = listener.local_addr().unwrap();
            let clients = [(); 2].map(|()| TcpStream::connect(at).unwrap());
            let mut holds = Command::new("sleep");
            holds.arg("600").uid(NOBODY).gid(NOBODY).stdin(OwnedFd::from(listener));
            (Running(holds.spawn().unwrap()), clients.into())
        };
        let (process, clients) = namespace.run_in(start).unwrap();
        Self { process, _clients: clients, _namespace: namespace }
    }
}

/// One that serves; its loopback is ours.
struct Container {
    running: Running,
    folder: TempDir,
}

impl Container {
    fn start(capabilities: &Names, watched: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let names: Vec<_> = capabilities.iter().map(String::as_str).collect();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "sh", "-c", MOUNT, "sh"]).arg(folder.path()).arg(TCPROOF);
        command.args(libraries()).env("RUNTIME", std::env::current_exe().unwrap()).env(ROOT, folder.path());
        command.env(CAPABILITIES, names.join(",")).env(WATCHED, watched.to_string());
        Self::spawn(command, folder)
    }

    /// None: root's own, with all of its rights.
    fn outside(watched: u32) -> Self {
        let mut command = Command::new(TCPROOF);
        command.args(["serve", "--every", EVERY, "--netns", &watched.to_string()]);
        Self::spawn(command, TempDir::new().unwrap())
    }

    /// Its output goes to the folder, which is not the container's: that one is in a mount namespace of its own.
    fn spawn(mut command: Command, folder: TempDir) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { running: Running(command.spawn().unwrap()), folder }
    }

    /// What it showed; or what it said, where it ended.
    fn seen(&mut self) -> Result<[String; 2], String> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.running.0.try_wait().unwrap() {
                return Err(format!("{status}: {}", self.log()));
            }
            let pages = ["/healthz", "/metrics", "/"].map(get);
            if let [Some(_), Some(metrics), Some(report)] = pages {
                return Ok([metrics, report]);
            }
            assert!(since.elapsed() < PATIENCE, "it is never healthy: {}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// The body, where it is 200.
fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect("127.0.0.1:9877".parse::<SocketAddr>().unwrap()).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9877\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.strip_prefix("HTTP/1.1 200 ")?.split_once("\r\n\r\n").map(|(_, body)| body.to_string())
}

/// That this build of it wants: the paths that ldd(1) prints.
fn libraries() -> Vec<String> {
    let output = Command::new("ldd").arg(TCPROOF).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(String::from).collect()
}

#[test]
fn with_the_documented_capabilities_it_sees_all_and_with_fewer_less() {
    if let Err(why) = require_root() {
        return skip(&format!("SKIP: {why}"));
    }
    let test = || {
        rtnl::up("lo").unwrap();
        look();
    };
    Netns::new().unwrap().run_in(test).unwrap();
}

fn look() {
    let service = Service::start();
    let pid = service.process.0.id();
    let documented = documented();
    // What it names, counts and lacks.
    let is_seen = |[metrics, report]: &[String; 2]| {
        let queue = metrics.lines().any(|line| {
            line.starts_with("tcproof_listener_queue{") && line.ends_with("listener=\"127.0.0.1:8080\"} 2")
        });
        queue && report.contains(&format!("sleep, pid {pid}"))
    };
    let mut outside = Container::outside(pid);
    let by_root = outside.seen().unwrap();
    drop(outside);
    let mut container = Container::start(&documented, pid);
    let seen = container.seen().unwrap();
    assert!(is_seen(&by_root) && is_seen(&seen), "{}", seen.join("\n"));
    assert_eq!(lacks(&seen), lacks(&by_root));
    let status = fs::read_to_string(format!("/proc/{}/status", container.running.0.id())).unwrap();
    let given = set(documented.iter().map(String::as_str)).bits();
    for field in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(status.contains(&format!("\n{field}:\t{given:016x}\n")), "{status}");
    }
    drop(container);
    for one in &documented {
        let fewer: Names = documented.iter().filter(|name| *name != one).cloned().collect();
        let seen = Container::start(&fewer, pid).seen();
        assert!(!seen.is_ok_and(|seen| is_seen(&seen)), "{one} is not needed");
    }
}

/// Readings that are absent, by limit.
fn lacks([metrics, _]: &[String; 2]) -> Vec<&str> {
    metrics.lines().filter(|line| line.starts_with("tcproof_readings_absent{")).collect()
}

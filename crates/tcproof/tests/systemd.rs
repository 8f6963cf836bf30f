//! `apply` where systemd runs: a timer of its own takes back what nobody confirmed, also when all that belonged to the
//! session is killed. systemd is the first process of a container that the test makes on a throw-away copy of `/`, with a
//! network of its own; the machine's own systemd, if it has one, never hears of it.
//!
//! Needs root and Debian's systemd-container; says `SKIP` without.

mod place;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use place::{skip, survived};
use tcproof_lab::kit::require_root;
use tempfile::TempDir;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
const KNOB: &str = "net.core.somaxconn";
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Everything is made in a mount namespace of its own, and goes with the last process in it: a layer over `/`, and a `/run`,
/// where nspawn puts its locks. `$1` is a folder, `$2` the program, what follows are control groups.
const LAUNCH: &str = r#"
set -e
folder=$1 program=$2
shift 2
for group; do echo $$ >"$group/cgroup.procs"; done
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mount -t tmpfs tmpfs /run
exec systemd-nspawn --quiet --settings=no --register=no --keep-unit --link-journal=no --private-network --console=pipe \
  --directory="$folder/root" --bind-ro="$program:/usr/local/bin/tcproof" --boot systemd.unit=basic.target
"#;

/// A system of its own.
struct Container {
    nspawn: Child,
    /// Its first process, as we see it.
    first: u32,
    /// Sessions so far.
    sessions: Cell<u32>,
    groups: Vec<PathBuf>,
    folder: TempDir,
}

impl Container {
    /// None, and says so, where there can't be one.
    fn start() -> Option<Self> {
        Self::try_start().map_err(|why| skip(&format!("SKIP: {why}"))).ok()
    }

    fn try_start() -> Result<Self, String> {
        require_root().map_err(|why| why.to_string())?;
        for program in ["systemd-nspawn", "nsenter", "unshare"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                return Err(format!("there is no {program} (Debian: apt-get install systemd-container)"));
            }
        }
        let folder = TempDir::new().expect("a folder");
        let groups = groups();
        for group in &groups {
            fs::create_dir(group).map_err(|error| format!("no control group {}: {error}", group.display()))?;
        }
        let nspawn = Command::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c", LAUNCH, "sh"])
            .args([folder.path(), Path::new(TCPROOF)])
            .args(&groups)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("unshare is there");
        let mut container = Self { nspawn, first: 0, sessions: Cell::new(0), groups, folder };
        let start = Instant::now();
        while !container.is_up() {
            let ended = container.nspawn.try_wait().expect("it is ours");
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(container.folder.path().join("log")).unwrap_or_default();
                return Err(format!("no container here: {ended:?}: {}", log.lines().last().unwrap_or("it is silent")));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(container)
    }

    fn is_up(&mut self) -> bool {
        let pid = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.first = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or_default();
        let is_systemd = fs::read_to_string(format!("/proc/{}/comm", self.first)).is_ok_and(|name| name == "systemd\n");
        is_systemd && matches!(self.run(&["systemctl", "is-system-running"]).1.trim(), "running" | "degraded")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.first.to_string(), "--"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        ended(self.command(arguments).spawn().expect("nsenter is there"))
    }

    /// Within a session as systemd-logind makes one: a scope, which is killed as a whole.
    fn in_session(&self, arguments: &[&str]) -> Child {
        // A name of its own each time: systemd may still know the one before.
        self.sessions.set(self.sessions.get() + 1);
        let unit = format!("--unit={}", self.session());
        let scope = ["systemd-run", "--quiet", "--scope", "--collect", &unit];
        self.command(&[&scope, arguments].concat()).spawn().expect("nsenter is there")
    }

    /// The last one's name.
    fn session(&self) -> String {
        format!("session-{}.scope", self.sessions.get())
    }

    fn kill_session(&self) {
        let session = self.session();
        let (code, text) = self.run(&["systemctl", "kill", "--signal=KILL", "--kill-who=all", &session]);
        assert_eq!(code, Some(0), "{text}");
        self.wait_for(|it| it.unit(&session) != "active", "the session is over");
    }

    fn knob(&self) -> String {
        self.run(&["cat", "/proc/sys/net/core/somaxconn"]).1
    }

    /// A plan from what is there now.
    fn plan(&self, id: &str) -> String {
        let root = PathBuf::from(format!("/proc/{}/root", self.first));
        let (_, host) = self.run(&["cat", "/proc/sys/kernel/hostname"]);
        let inode = fs::metadata(format!("/proc/{}/ns/net", self.first)).expect("its network").ino();
        let text = format!(
            "schema = \"tcproof/plan/1\"\nid = \"{id}\"\nhost = \"{}\"\nkernel = \"6.18\"\nmade_at = \"2026-11-30T00:00:00Z\"\n\
             [[changes]]\nfindings = []\nnamespace = {{ name = \"host\", inode = {inode} }}\nknob = \"{KNOB}\"\n\
             from = \"{}\"\nto = \"12345\"\ncost = \"c\"\nrisk = \"r\"\ntakes_effect = \"t\"\ninverse = \"i\"\nsuccess = \"s\"\n",
            host.trim(),
            self.knob().trim()
        );
        fs::write(root.join(format!("root/{id}.toml")), text).expect("the plan");
        format!("/root/{id}.toml")
    }

    fn is_changed(&self) -> bool {
        self.knob() == "12345\n"
    }

    /// A unit's state, as systemd has it: `inactive` where there is none.
    fn unit(&self, name: &str) -> String {
        self.run(&["systemctl", "is-active", name]).1.trim().into()
    }

    /// How the newest change stands, and why.
    fn state(&self) -> (String, String) {
        let (_, text) = self.run(&["tcproof", "journal", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let newest = json["changes"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        let word = |key: &str| newest[key].as_str().unwrap_or("none").to_string();
        (word("state"), word("why"))
    }

    fn wait_for(&self, wanted: impl Fn(&Self) -> bool, what: &str) {
        let start = Instant::now();
        while !wanted(self) {
            let units = self.run(&["systemctl", "list-units", "--all", "tcproof*"]).1;
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}\n{units}", self.knob());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With the first process all others go.
        for pid in [self.first, self.nspawn.id()] {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.nspawn.wait();
        let start = Instant::now();
        while !self.groups.iter().all(|group| remove(group)) && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
    }
}

/// Control groups to be made for a container: of version 2, and of systemd's own in a hybrid setup.
fn groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let unique = format!("tcproof-systemd-{}-{:?}", std::process::id(), std::thread::current().id());
    let unique: String = unique.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let find = |of: &str, is_its: fn(&str) -> bool| {
        let path = own.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(of))?;
        let mount = mounts.lines().find(|line| line.split_once(" - ").is_some_and(|(_, kind)| is_its(kind)))?;
        let point = Path::new(mount.split(' ').nth(4)?);
        Some(point.join(path.trim_start_matches('/')).join(&unique))
    };
    let unified = find(":", |kind| kind.starts_with("cgroup2 "));
    let systemd = find("name=systemd:", |kind| kind.starts_with("cgroup ") && kind.contains("name=systemd"));
    unified.into_iter().chain(systemd).collect()
}

/// Removes a group with all below it; false while anything is still in it.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn ended(child: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn when_the_session_is_killed_the_timer_takes_everything_back() {
    let Some(container) = Container::start() else { return };
    let before = container.knob();
    let plan = container.plan("a-1");
    let apply = container.in_session(&["tcproof", "apply", &plan, "--yes", "--confirm", "6s"]);
    container.wait_for(Container::is_changed, "it is changed");
    assert_eq!(container.unit("tcproof-undo-a-1.timer"), "active");
    assert_eq!(container.unit("tcproof-undo-a-1-probe.service"), "inactive", "nothing is left of the trial");
    container.kill_session();
    let (code, text) = ended(apply);
    assert!(code != Some(0) && code != Some(4) && !text.contains("systemd does not"), "{code:?} {text}");
    assert!(container.run(&["pgrep", "-x", "tcproof"]).1.is_empty(), "nobody is left who could take back");
    assert!(container.is_changed());
    container.wait_for(|it| it.knob() == before, "the timer takes back");
    container
        .wait_for(|it| it.state() == ("rolled-back".into(), "not confirmed in time".into()), "the journal says so");
    for kind in ["timer", "service"] {
        let unit = format!("tcproof-undo-a-1.{kind}");
        container.wait_for(
            |it| it.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", &unit]).1.is_empty(),
            "it is gone",
        );
    }

    survived(
        "SIGKILL of all of the session",
        "while it waits to be confirmed",
        1,
        "killed",
        "as before, by systemd's timer",
    );

    // The same without the timer, to see that the session's end is what it is for: the process dies with the session.
    let plan = container.plan("a-2");
    let hidden = ["env", "PATH=/nowhere", "/usr/local/bin/tcproof", "apply", &plan, "--yes", "--confirm", "2s"];
    let apply = container.in_session(&hidden);
    container.wait_for(Container::is_changed, "it is changed");
    container.kill_session();
    let (_, text) = ended(apply);
    assert!(text.contains("systemd does not take back: ") && text.contains("systemd-run"), "{text}");
    sleep(Duration::from_secs(4));
    assert!(container.is_changed() && container.state().0 == "pending", "nobody was there to take it back");
    let (code, text) = container.run(&["tcproof", "rollback", "--pending"]);
    assert!(code == Some(0) && container.knob() == before, "{text}");
}

#[test]
fn a_confirmation_and_a_rollback_stop_the_timer() {
    let Some(container) = Container::start() else { return };
    let before = container.knob();
    let timer = |id: &str| format!("tcproof-undo-{id}.timer");
    let apply = |id: &str, confirm: &str| {
        let plan = container.plan(id);
        let apply = container.in_session(&["tcproof", "apply", &plan, "--yes", "--confirm", confirm]);
        container.wait_for(Container::is_changed, "it is changed");
        assert_eq!(container.unit(&timer(id)), "active");
        apply
    };
    let is_stopped = |id: &str| container.wait_for(|it| it.unit(&timer(id)) == "inactive", "the timer is stopped");

    let waits = apply("b-1", "6s");
    let (code, text) = container.run(&["tcproof", "confirm"]);
    assert_eq!(code, Some(0), "{text}");
    is_stopped("b-1");
    assert_eq!(ended(waits).0, Some(0));
    sleep(Duration::from_secs(7));
    assert!(container.is_changed() && container.state().0 == "in-effect", "it stays");
    assert_eq!(container.run(&["tcproof", "rollback"]).0, Some(0));
    assert_eq!(container.knob(), before);

    let waits = apply("b-2", "600s");
    assert_eq!(container.run(&["tcproof", "rollback"]).0, Some(0));
    is_stopped("b-2");
    assert_eq!((ended(waits).0, container.knob()), (Some(4), before.clone()));

    let waits = apply("b-3", "600s");
    let (code, text) = container.run(&["systemctl", "kill", "--signal=INT", "--kill-who=all", &container.session()]);
    assert_eq!(code, Some(0), "{text}");
    is_stopped("b-3");
    assert_eq!((ended(waits).0, container.knob()), (Some(4), before));

    // What was never begun needs no undo.
    let plan = container.plan("b-1");
    let (code, text) = ended(container.in_session(&["tcproof", "apply", &plan, "--yes", "--confirm", "600s"]));
    assert_eq!(code, Some(1), "its id was used: {text}");
    is_stopped("b-1");
}

#[test]
fn where_systemd_would_not_get_at_the_journal_a_process_takes_back() {
    let Some(container) = Container::start() else { return };
    let before = container.knob();
    // Another mount namespace: what systemd would find at that path is another folder, or none.
    let apply = |id: &str, place: &str| {
        let plan = container.plan(id);
        let script = format!(
            "mkdir -p /srv/a /srv/b && mount -t tmpfs tmpfs /srv/a && mkdir -p '{place}' && \
             exec tcproof apply {plan} --yes --confirm 1s --journal '{place}'"
        );
        ended(container.in_session(&["unshare", "--mount", "sh", "-c", &script]))
    };
    for (id, place) in [("c-1", "/srv/a"), ("c-2", "/srv/a/b")] {
        let (code, text) = apply(id, place);
        assert!(
            code == Some(4) && text.contains("systemd does not take back: a service of its own: "),
            "{code:?} {text}"
        );
        assert_eq!(
            (container.knob(), container.unit(&format!("tcproof-undo-{id}.timer"))),
            (before.clone(), "inactive".into())
        );
    }
    // The same folder under a name that needs care.
    let (code, text) = apply("c-3", "/srv/b/$HOME %n \u{e9}");
    assert!(code == Some(4) && !text.contains("systemd does not"), "{code:?} {text}");
    assert_eq!(container.knob(), before);
}

/// Asks a server of the container, without any program that may be missing.
const ASK: &str = r#"exec 3<>/dev/tcp/127.0.0.1/9877 && printf "GET $0 HTTP/1.1\r\n\r\n" >&3 && cat <&3"#;

#[test]
fn the_unit_of_serve_lets_it_look_into_other_namespaces_and_nothing_else() {
    let Some(container) = Container::start() else { return };
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/tcproof-serve.service"));
    let unit = unit.expect("the unit").replace("/usr/bin/tcproof", "/usr/local/bin/tcproof");
    let place = format!("/proc/{}/root/etc/systemd/system/tcproof-serve.service", container.first);
    fs::write(place, unit).expect("the container's own folder");
    // A namespace of another user's process.
    let other = container.in_session(&["unshare", "--net", "sleep", "600"]);
    let (code, text) = container.run(&["sh", "-c", "systemctl daemon-reload && systemctl start tcproof-serve"]);
    assert_eq!(code, Some(0), "{text}");
    let ask = |path: &str| container.run(&["bash", "-c", ASK, path]).1;
    container.wait_for(|_| ask("/healthz").starts_with("HTTP/1.1 200 OK"), "a window is over");
    let metrics = ask("/metrics");
    assert!(metrics.contains("\ntcproof_namespaces 2\n"), "{metrics}");
    assert!(metrics.contains("\ntcproof_readings_absent{limit=\"all\"} 0\n"), "{metrics}");
    let (_, pid) = container.run(&["systemctl", "show", "--value", "--property=MainPID", "tcproof-serve"]);
    let (_, status) = container.run(&["cat", &format!("/proc/{}/status", pid.trim())]);
    assert!(!status.contains("\nUid:\t0\t") && status.contains("\nCapEff:\t0000000000280004\n"), "{status}");
    assert_eq!(container.run(&["systemctl", "stop", "tcproof-serve"]).0, Some(0));
    let (_, result) = container.run(&["systemctl", "show", "--value", "--property=Result", "tcproof-serve"]);
    assert_eq!(result.trim(), "success");
    container.kill_session();
    ended(other);
}

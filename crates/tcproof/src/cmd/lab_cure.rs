//! Ways to cure a scenario of the lab other than its own remedy: as a user of tcproof would, or by any command.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tcproof_core::knobs::{self, Kind, Knob, Undo};
use tcproof_core::verify::Outcome;
use tcproof_lab::kit::machine;
use tcproof_lab::run::Error;
use tcproof_lab::scenario::Side;
use tcproof_lab::{Cure, Scenario, Stage};
use tcproof_report::sanitize;
use tempfile::TempDir;

use super::Exit;

/// How often a child is asked whether it has ended, and the workers what they see.
const LOOK: Duration = Duration::from_millis(50);
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a plan is made until it is about something.
const TRIES: u32 = 3;
/// In the folder of a handover: the child wants the lab to act; the lab has.
const ASKED: &str = "asked";
const DONE: &str = "done";

/// Every knob of either namespace that can be changed, byte for byte.
type Knobs = BTreeMap<(Side, &'static str), String>;

fn knobs(stage: &Stage<'_>) -> Result<Knobs, Error> {
    let mut all = Knobs::new();
    for side in [Side::Client, Side::Server] {
        let read = |knob: &'static knobs::Knob| {
            let text = fs::read_to_string(Path::new("/proc/sys").join(knob.key.replace('.', "/"))).ok()?;
            Some(((side, knob.key), text))
        };
        // What can only be read is a state of the kernel, and changes by itself; a key is made when the first is needed.
        let is_set = |knob: &&Knob| !matches!(knob.undo, Undo::ReadOnly) && !matches!(knob.kind, Kind::Key);
        let knobs = || knobs::all().filter(is_set);
        all.extend(stage.within(side, || knobs().filter_map(read).collect::<Vec<_>>())?);
    }
    Ok(all)
}

/// `net.core.somaxconn of the server: 128 → 4096`.
fn differences(before: &Knobs, after: &Knobs) -> Vec<String> {
    let shown = |value: Option<&String>| value.map_or("missing".into(), |value| value.trim().replace('\t', " "));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(key)));
    let differ = keys.filter(|key| before.get(key) != after.get(key));
    let line = |key: &(Side, &str)| {
        let (side, knob) = (key.0.name(), key.1);
        format!("{knob} of the {side}: {} → {}", shown(before.get(key)), shown(after.get(key)))
    };
    differ.map(line).collect()
}

/// Any command, by a shell.
pub(crate) struct ByCommand {
    /// What cures.
    pub(crate) cure: String,
    /// What takes it back.
    pub(crate) undo: Option<String>,
    /// Whether the services are restarted after it.
    pub(crate) restart: bool,
    /// The knobs before it.
    before: Knobs,
}

impl ByCommand {
    pub(crate) fn new(cure: String, undo: Option<String>, restart: bool) -> Self {
        Self { cure, undo, restart, before: Knobs::new() }
    }

    fn shell(&mut self, stage: &mut Stage<'_>, command: &str) -> Result<(), Error> {
        stage.did(format!("by a shell: {command}"));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]);
        shell
            .envs([("TCPROOF_LAB_CLIENT", stage.file(Side::Client)), ("TCPROOF_LAB_SERVER", stage.file(Side::Server))]);
        let output = ended(stage, shell, &mut |_| Ok(()))?;
        if !output.status.success() {
            stage.wrong(format!("{command}: {}: {}", output.status, last_line(&output)));
        }
        Ok(())
    }
}

impl Cure for ByCommand {
    fn cure(&mut self, stage: &mut Stage<'_>) -> Result<Option<Duration>, Error> {
        self.before = knobs(stage)?;
        let cure = self.cure.clone();
        self.shell(stage, &cure)?;
        differences(&self.before, &knobs(stage)?).into_iter().for_each(|line| stage.did(line));
        if self.restart {
            stage.did("the servers listen again, transfers begin anew".into());
            stage.restart()?;
        }
        Ok(Some(stage.scenario.watch.settle.0))
    }

    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<(), Error> {
        let Some(undo) = self.undo.clone() else { return Ok(()) };
        self.shell(stage, &undo)?;
        let left = differences(&self.before, &knobs(stage)?);
        left.into_iter().for_each(|line| stage.wrong(format!("after the undo, {line}")));
        Ok(())
    }
}

/// `tcproof plan`, then `tcproof apply --confirm verified` where the plan changes something, or `tcproof verify` around
/// what only people can do; then `tcproof rollback`, and every knob is byte for byte what it was.
pub(crate) struct ByPlan {
    program: PathBuf,
    folder: TempDir,
    before: Knobs,
    is_applied: bool,
}

impl ByPlan {
    pub(crate) fn new() -> std::io::Result<Self> {
        let folder = TempDir::with_prefix("tcproof-lab-")?;
        Ok(Self { program: std::env::current_exe()?, folder, before: Knobs::new(), is_applied: false })
    }

    fn tcproof(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The namespaces that the check sees, as `--netns` takes them. One in which no process lives has no way in.
    fn netns(stage: &Stage<'_>) -> String {
        let is_inhabited = |side: &&Side| match side {
            Side::Server => !stage.scenario.server.is_empty(),
            Side::Client => !stage.scenario.load.is_empty(),
        };
        let sides = stage.scenario.watch.sides.iter().filter(is_inhabited);
        sides.map(|side| stage.inode(*side).to_string()).collect::<Vec<_>>().join(",")
    }

    /// How long `plan` and the verification watch, as `--for` takes it.
    fn window(stage: &Stage<'_>) -> String {
        let Scenario { plan, watch, .. } = stage.scenario;
        seconds(plan.window.unwrap_or(watch.window).0)
    }

    /// Makes the plan, and holds it against what the scenario says.
    fn plan(&self, stage: &mut Stage<'_>) -> Result<Option<Value>, Error> {
        let scenario = stage.scenario;
        let (window, file, netns) = (Self::window(stage), self.path("plan.json"), Self::netns(stage));
        let mut tries = 0;
        // A window may have nothing of what comes by chance, such as a lost segment; a person would look again.
        let (output, plan) = loop {
            tries += 1;
            let mut command =
                self.tcproof(&["plan", "--for", &window, "--netns", &netns, "--check", "--json", "-o", &file]);
            for knob in &scenario.plan.with {
                command.args(["--with", &knob.0]);
            }
            let output = ended(stage, command, &mut |_| Ok(()))?;
            let text = fs::read_to_string(&file).unwrap_or_default();
            let Ok(plan) = serde_json::from_str::<Value>(&text) else {
                stage.wrong(format!("tcproof plan: {}: {}", output.status, last_line(&output)));
                return Ok(None);
            };
            let is_blank = scenario.limit.is_some() && list(&plan, "findings").is_empty();
            if !is_blank || tries == TRIES {
                break (output, plan);
            }
        };
        let changed: Vec<&str> = list(&plan, "changes").iter().filter_map(|change| change["knob"].as_str()).collect();
        let expected: Vec<&str> = scenario.plan.changes.iter().map(|knob| &*knob.0).collect();
        if changed != expected {
            stage.wrong(format!("the plan changes {changed:?}, not {expected:?}"));
            return Ok(None);
        }
        let wanted = if changed.is_empty() { Exit::Done } else { Exit::Pending };
        if output.status.code() != Some(wanted as i32) {
            stage.wrong(format!("tcproof plan --check: {}, not {}", output.status, wanted as i32));
        }
        if scenario.limit.is_some() && list(&plan, "instructions").is_empty() && changed.is_empty() {
            stage.wrong("the plan says nothing of what to do".into());
        }
        for change in list(&plan, "changes") {
            let word = |field: &str| change[field].as_str().unwrap_or("?").to_string();
            stage.did(format!("plan: {} {} → {}", word("knob"), word("from"), word("to")));
        }
        for left in list(&plan, "left_out") {
            let word = |field: &str| left[field].as_str().unwrap_or("?").to_string();
            stage.did(format!("plan leaves out {}: {}", word("knob"), word("because")));
        }
        Ok(Some(plan))
    }

    /// Whether every knob is what it was before everything.
    fn compare(&self, stage: &mut Stage<'_>, after: &str) -> Result<bool, Error> {
        let left = differences(&self.before, &knobs(stage)?);
        let is_same = left.is_empty();
        left.into_iter().for_each(|line| stage.wrong(format!("after {after}, {line}")));
        Ok(is_same)
    }

    /// Runs a verb that judges before and after, and acts in between when it asks. Whether it says that it helped.
    fn judged(&mut self, stage: &mut Stage<'_>, mut command: Command, does_all: bool) -> Result<bool, Error> {
        let handover = self.folder.path().join("handover");
        fs::create_dir(&handover).map_err(|error| lab("a folder", &error))?;
        command.arg("--json").arg("--").arg(&self.program).arg("lab-handover").arg(&handover);
        let output = ended(stage, command, &mut |stage| {
            if handover.join(ASKED).exists() && !handover.join(DONE).exists() {
                match does_all {
                    true => stage.remedy()?,
                    false => stage.without_knobs()?,
                }
                fs::write(handover.join(DONE), "").map_err(|error| lab("a file", &error))?;
            }
            Ok(())
        })?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let read = |value: &Value| serde_json::from_value::<Outcome>(value["outcome"].clone()).ok();
        let findings = list(&said, "findings");
        // A scenario's remedy is for its first finding; what `apply` does hangs on all that its plan changes something for.
        let decides = if does_all { findings.first() } else { Some(&said) };
        let Some(outcome) = decides.and_then(read) else {
            stage.wrong(format!("no verification: {}: {}", output.status, last_line(&output)));
            return Ok(false);
        };
        stage.did(format!("verification: {}", outcome.as_str()));
        let is_cured = matches!(outcome, Outcome::Cured | Outcome::Better);
        if !is_cured && stage.scenario.plan.outcome != Some(outcome) {
            let word = |finding: &Value, field: &str| finding[field].as_str().unwrap_or("?").to_string();
            let line = |it: &Value| format!("{}: {}, {}", word(it, "limit"), word(it, "outcome"), word(it, "because"));
            let all: Vec<_> = findings.iter().map(line).collect();
            stage.wrong(format!("the verification says {}: {}", outcome.as_str(), all.join("; ")));
        }
        self.is_applied &= output.status.code() == Some(Exit::Done as i32);
        Ok(is_cured)
    }
}

impl Cure for ByPlan {
    fn cure(&mut self, stage: &mut Stage<'_>) -> Result<Option<Duration>, Error> {
        self.before = knobs(stage)?;
        let Some(plan) = self.plan(stage)? else { return Ok(None) };
        let watch = &stage.scenario.watch;
        let (window, settle) = (Self::window(stage), seconds(watch.settle.0));
        let (file, journal, netns) = (self.path("plan.json"), self.path("journal"), Self::netns(stage));
        let common = [&*file, "--for", &window, "--settle", &settle];
        // What all namespaces share is the host's, not the lab's: only a machine made for it has it changed.
        let is_global = |change: &Value| change["namespace"]["inode"].is_null();
        let spares = list(&plan, "changes").iter().any(is_global) && machine::require().is_err();
        let is_cured = if !list(&plan, "changes").is_empty() && !spares {
            self.is_applied = true;
            let apply = [&["apply"], &common[..], &["--yes", "--confirm", "verified", "--journal", &journal]].concat();
            let is_cured = self.judged(stage, self.tcproof(&apply), false)?;
            if !self.is_applied {
                stage.did("taken back".into());
                self.compare(stage, "what was taken back")?;
            }
            is_cured
        } else if stage.scenario.limit.is_some() {
            stage.did(match spares {
                true => "the plan changes what all namespaces share, so somebody does what else it says".into(),
                false => "the plan changes no knob; somebody does what it says".into(),
            });
            self.compare(stage, "the plan")?;
            self.judged(stage, self.tcproof(&[&["verify"], &common[..], &["--netns", &netns]].concat()), true)?
        } else {
            stage.did("the plan is empty".into());
            stage.remedy()?;
            return Ok(Some(watch.settle.0));
        };
        // The verification has watched it settle.
        Ok(is_cured.then_some(Duration::ZERO))
    }

    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<(), Error> {
        if !self.is_applied {
            return Ok(());
        }
        let command = self.tcproof(&["rollback", "--journal", &self.path("journal")]);
        let output = ended(stage, command, &mut |_| Ok(()))?;
        if output.status.code() != Some(Exit::Done as i32) {
            stage.wrong(format!("tcproof rollback: {}: {}", output.status, last_line(&output)));
        }
        if self.compare(stage, "the rollback")? {
            stage.did("rolled back: every knob is byte for byte what it was".into());
        }
        Ok(())
    }
}

/// The other end of [`ByPlan::judged`]: asks the lab to act, and waits until it has.
pub(crate) fn handover(folder: &Path) -> anyhow::Result<ExitCode> {
    fs::write(folder.join(ASKED), "")?;
    let end = Instant::now() + PATIENCE;
    while !folder.join(DONE).exists() {
        anyhow::ensure!(Instant::now() < end && folder.exists(), "nobody acts");
        std::thread::sleep(LOOK);
    }
    Ok(Exit::Done.into())
}

/// Runs a child while the lab goes on.
fn ended(
    stage: &mut Stage<'_>,
    mut command: Command,
    meanwhile: &mut dyn FnMut(&mut Stage<'_>) -> Result<(), Error>,
) -> Result<Output, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    // To files: a pipe that is full would stop it.
    let [out, err] =
        [tempfile::tempfile(), tempfile::tempfile()].map(|file| file.map_err(|error| lab("a file", &error)));
    let (out, err) = (out?, err?);
    let copy = |file: &fs::File| file.try_clone().map_err(|error| lab("a file", &error));
    command.stdin(Stdio::null()).stdout(copy(&out)?).stderr(copy(&err)?);
    let child = command.spawn();
    let mut child = Ending(child.map_err(|error| lab(&name, &error))?);
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(|error| lab(&name, &error))? {
            break status;
        }
        if Instant::now() > end {
            return Err(Error::Lab(format!("{name} took longer than {} s", PATIENCE.as_secs())));
        }
        meanwhile(stage)?;
        stage.wait(LOOK)?;
    };
    Ok(Output { status, stdout: whole(out)?, stderr: whole(err)? })
}

fn whole(mut file: fs::File) -> Result<Vec<u8>, Error> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| lab("a child's output", &error))
}

/// Ended when it is dropped: an `apply` that is interrupted takes back what it did.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // It may have ended just now.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    sanitize(text.lines().last().unwrap_or("it said nothing")).into_owned()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn seconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn lab(what: &str, error: &std::io::Error) -> Error {
    Error::Lab(format!("{what}: {error}"))
}

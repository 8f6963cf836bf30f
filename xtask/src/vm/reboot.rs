//! The power fails in the midst of a change: machines with one disk between them, which holds the journal and
//! `/etc/sysctl.d`. Each boots as a system does (`sysctl --system`, then what contrib's unit runs), is compared with the
//! first boot, knob by knob, and then changes something and is killed at a certain step of it. Each believes that it is a
//! year earlier than the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::faults::Row;

use super::machine::{self, Ending, Parts};
use super::protocol::{At, Call, Event, Job, Step};
use super::table::{Cell, Column};
use super::{Lab, cpio, protocol};

/// One knob of the whole kernel's, two of the namespace's.
const PLAN: [(&str, &str); 3] = [
    ("net.core.netdev_max_backlog", "4321"),
    ("net.core.somaxconn", "12345"),
    ("net.ipv4.tcp_rmem", "4096 131072 71234567"),
];
/// What somebody has in the file before tcproof comes, without an end of line.
const MINE: &str = "# mine\nnet.ipv4.tcp_retries2 = 9";
const FILE: &str = "/etc/sysctl.d/60-tcproof.conf";
const JOURNAL: &str = "/var/lib/tcproof/journal";
const TCPROOF: &str = "/usr/bin/tcproof";
const NOTHING: &str = "nothing to take back";
const DISK_BYTES: u64 = 32 << 20;
/// Of the kernel's own making in each boot: not what anybody has set.
const VOLATILE: [&str; 1] = ["/proc/sys/net/core/netdev_rss_key"];

/// A loss of power.
struct Loss {
    /// When.
    at: &'static str,
    /// How many of the plan's knobs are changed by then.
    changed: usize,
    /// What leads to it.
    steps: Vec<Step>,
    /// What the next boot's unit says; empty where the disk may have the last record or not.
    unit: &'static str,
    /// Whether boot sets the plan's values, which are in the file; none where the disk may have it either way.
    is_set: Option<bool>,
    /// What is done then to come back to the beginning, with what each says.
    then: Vec<(Step, String)>,
}

impl Loss {
    /// Once it was survived.
    fn row(&self, kernel: &str) -> Row {
        let after = match self.is_set {
            Some(false) => "as before",
            Some(true) => "as confirmed, set by boot; as before by rollback",
            None => "as before, or as confirmed and then as before by rollback",
        };
        Row {
            fault: format!("the power fails (Linux {kernel})"),
            at: self.at.into(),
            faults: 1,
            exit: "killed".into(),
            after: after.into(),
        }
    }
}

/// Runs all of it on one kernel.
pub(super) fn run(lab: &Lab<'_>, column: &mut Column) -> Result<Cell> {
    let start = Instant::now();
    let disk = lab.results.join("disk");
    if let Err(why) = make_disk(&disk) {
        return Ok(Cell::Skip(format!("no disk: {why:#}")));
    }
    let sysctl = match with_libraries(&["/usr/sbin/sysctl", "/sbin/sysctl"]) {
        Ok(files) => files,
        Err(why) => return Ok(Cell::Skip(format!("no sysctl(8), which Debian's procps has: {why:#}"))),
    };
    let unit = fs::read_to_string(lab.workspace.join("contrib/tcproof-rollback.service"))?;
    let unit = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("the unit starts nothing")?;
    let unit: Vec<String> = unit.split(' ').map(str::to_string).collect();
    let losses = losses();
    let mut fresh = BTreeMap::new();
    for boot in 0..=losses.len() {
        let before = boot.checked_sub(1).map(|before| &losses[before]);
        let mut steps = Vec::new();
        if before.is_none() {
            steps.push(Step::File { path: FILE.into(), text: MINE.into() });
        }
        let look = || Step::Look { file: FILE.into() };
        steps.extend([command(&["/usr/sbin/sysctl", "--system"]), Step::Run(unit.clone()), look()]);
        if let Some(before) = before {
            steps.extend(before.then.iter().map(|(step, _)| step.clone()));
            steps.push(look());
        }
        if let Some(loss) = losses.get(boot) {
            steps.extend(loss.steps.iter().cloned());
            steps.extend([look(), Step::Cut]);
        }
        let told = match machine(lab, boot, &disk, &sysctl, steps, &mut column.about)? {
            Ok(told) => told,
            Err(why) => return Ok(Cell::Fail(vec![format!("boot {boot}: {why}")])),
        };
        let all: Vec<String> = told.iter().map(|event| format!("{event:?}\n")).collect();
        fs::write(lab.results.join(format!("reboot-{boot}.txt")), all.concat())?;
        let judge = Judge { told: told.iter(), fresh: &mut fresh, wrong: Vec::new() };
        let wrong = judge.boot(before, losses.get(boot));
        let about = before.map_or("a fresh start", |before| before.at);
        if !wrong.is_empty() {
            return Ok(Cell::Fail([vec![format!("the power failed when {about}")], wrong].concat()));
        }
        if let Some(before) = before {
            lab.rows.borrow_mut().push(before.row(lab.kernel.version));
        }
    }
    Ok(Cell::Pass(start.elapsed().as_secs_f64()))
}

fn command(words: &[&str]) -> Step {
    Step::Run(words.iter().map(ToString::to_string).collect())
}

fn losses() -> Vec<Loss> {
    let apply = |id: &str| -> Vec<String> {
        [TCPROOF, "apply", &format!("/{id}.toml"), "--yes", "--persist", "--confirm", "1h"].map(String::from).into()
    };
    let plan = |id: &str| Step::Plan {
        path: format!("/{id}.toml"),
        id: id.into(),
        to: PLAN.map(|(key, to)| (key.to_string(), to.to_string())).into(),
    };
    let at = |call, below: &str, number, is_behind| At { call, below: below.into(), number, is_behind };
    // As the clock has it, which goes backwards.
    let id = |boot: usize| format!("{}1130T120000-p{boot}", year(boot));
    let in_apply = |boot: usize, at: At| vec![plan(&id(boot)), Step::Hold(apply(&id(boot)), at)];
    // It waits: it is stopped there, and somebody confirms.
    let waiting = |boot| in_apply(boot, at(Call::Sleep, "", 1, false));
    let in_confirm = |boot, at: At| {
        let confirm = [TCPROOF, "confirm"].map(String::from).into();
        [waiting(boot), vec![Step::Hold(confirm, at)]].concat()
    };
    let confirmed = |boot| [waiting(boot), vec![command(&[TCPROOF, "confirm"])]].concat();
    let rollback = |boot| vec![(command(&[TCPROOF, "rollback"]), format!("{} taken back:", id(boot)))];
    let taken_back = |at, boot, changed, steps| Loss {
        at,
        changed,
        steps,
        unit: "taken back:",
        is_set: Some(false),
        then: vec![(command(&[TCPROOF, "journal", &id(boot)]), "taken back: asked for".into())],
    };
    // Another change, by a clock a year earlier, and then both are taken back: the last one first.
    let other = format!("{}1130T120000-q", year(9));
    let mut other_then = vec![(
        Step::Plan {
            path: format!("/{other}.toml"),
            id: other.clone(),
            to: vec![("net.core.somaxconn".into(), "23456".into())],
        },
        String::new(),
    )];
    let apply_other = [TCPROOF, "apply", &format!("/{other}.toml"), "--yes", "--confirm", "1h"].map(String::from);
    other_then.push((Step::Hold(apply_other.into(), at(Call::Sleep, "", 1, false)), String::new()));
    other_then.push((command(&[TCPROOF, "confirm"]), format!("{other} stays")));
    other_then.push((command(&[TCPROOF, "rollback"]), format!("{other} taken back:")));
    other_then.extend(rollback(8));
    vec![
        Loss {
            unit: "",
            then: Vec::new(),
            ..taken_back(
                "the journal is begun, and not yet on the disk",
                0,
                0,
                in_apply(0, at(Call::Sync, JOURNAL, 1, false)),
            )
        },
        taken_back(
            "the old values are on the disk, and nothing is changed",
            1,
            0,
            in_apply(1, at(Call::Write, "/proc/sys", 1, false)),
        ),
        taken_back("the first knob is written", 2, 1, in_apply(2, at(Call::Write, "/proc/sys", 1, true))),
        taken_back(
            "all are written, and the journal does not say so",
            3,
            3,
            in_apply(3, at(Call::Sync, JOURNAL, 3, false)),
        ),
        taken_back("it waits to be confirmed", 4, 3, waiting(4)),
        Loss {
            unit: "",
            then: vec![(command(&[TCPROOF, "rollback", &id(5)]), format!("{} taken back:", id(5)))],
            ..taken_back(
                "it is being confirmed, and that is not on the disk",
                5,
                3,
                in_confirm(5, at(Call::Sync, JOURNAL, 1, false)),
            )
        },
        Loss {
            at: "it is confirmed, and its lines are not written",
            changed: 3,
            steps: in_confirm(6, at(Call::Sync, JOURNAL, 1, true)),
            unit: NOTHING,
            is_set: Some(false),
            then: rollback(6),
        },
        Loss {
            at: "its lines have just got their name",
            changed: 3,
            steps: in_confirm(7, at(Call::Rename, "", 1, true)),
            unit: NOTHING,
            is_set: None,
            then: rollback(7),
        },
        Loss {
            at: "its lines are on the disk, and the journal does not say so",
            changed: 3,
            steps: in_confirm(8, at(Call::Sync, "/etc/sysctl.d", 2, true)),
            unit: NOTHING,
            is_set: Some(true),
            then: other_then,
        },
        Loss {
            at: "it is confirmed",
            changed: 3,
            steps: confirmed(9),
            unit: NOTHING,
            is_set: Some(true),
            then: rollback(9),
        },
        Loss {
            at: "its lines are taken out, and its values are not",
            changed: 3,
            steps: [
                confirmed(10),
                vec![Step::Hold(
                    [TCPROOF, "rollback"].map(String::from).into(),
                    at(Call::Write, "/proc/sys", 1, false),
                )],
            ]
            .concat(),
            unit: NOTHING,
            is_set: Some(false),
            then: rollback(10),
        },
    ]
}

/// What a machine's clock has.
fn year(boot: usize) -> usize {
    2026 - boot
}

/// What machines tell, one thing after the other, and what of it is not as it should be.
struct Judge<'a> {
    told: std::slice::Iter<'a, Event>,
    /// What the knobs are after a fresh start.
    fresh: &'a mut BTreeMap<String, String>,
    wrong: Vec<String>,
}

impl Judge<'_> {
    fn boot(mut self, before: Option<&Loss>, loss: Option<&Loss>) -> Vec<String> {
        self.ran("");
        self.ran(before.map_or(NOTHING, |before| before.unit));
        self.looked(0, before);
        if let Some(before) = before {
            for (step, says) in &before.then {
                self.did(step, says);
            }
            self.looked(0, None);
        }
        if let Some(loss) = loss {
            for step in &loss.steps {
                self.did(step, "stays");
            }
            self.looked_at_values(loss.changed);
        }
        self.wrong
    }

    /// What was done, and what it says; what is held has no end, and says nothing.
    fn did(&mut self, step: &Step, says: &str) {
        match step {
            Step::Hold(..) => match self.told.next() {
                Some(Event::Ran { status: None, .. }) => {}
                other => self.wrong.push(format!("it was not held: {other:?}")),
            },
            Step::Run(_) => self.ran(says),
            Step::File { .. } | Step::Plan { .. } | Step::Look { .. } | Step::Cut => {}
        }
    }

    fn ran(&mut self, says: &str) {
        match self.told.next() {
            Some(Event::Ran { status: Some(status), text }) if status == "exit status: 0" && text.contains(says) => {}
            other => self.wrong.push(format!("expected {says:?}, got {other:?}")),
        }
    }

    /// After a boot, or at its end: the first one is what the others are compared with.
    fn looked(&mut self, changed: usize, before: Option<&Loss>) {
        let Some(Event::Looked { knobs, file }) = self.told.next() else {
            return self.wrong.push("it was not looked".into());
        };
        let file = file.as_deref().unwrap_or("none");
        if self.fresh.is_empty() {
            *self.fresh = knobs.clone();
            for (key, to) in PLAN {
                let is = knobs.get(&path(key)).map(|is| is.trim().replace('\t', " "));
                if is.as_deref().is_none_or(|is| is == to) {
                    self.wrong.push(format!("{key} is {is:?} after a fresh start"));
                }
            }
            if knobs.get(&path("net.ipv4.tcp_retries2")).map(String::as_str) != Some("9\n") {
                self.wrong.push("boot does not set what the file says".into());
            }
        }
        let has_lines =
            file.len() > MINE.len() && PLAN.iter().all(|(key, to)| file.contains(&format!("\n{key} = {to}\n")));
        let is_set = match before {
            Some(Loss { is_set: Some(is_set), .. }) => *is_set,
            Some(_) => has_lines,
            None => false,
        };
        if !file.starts_with(MINE) || if is_set { !has_lines } else { file != MINE } {
            self.wrong.push(format!("the file is {file:?}"));
        }
        self.values(knobs, if is_set { PLAN.len() } else { changed });
    }

    /// Just before the power fails.
    fn looked_at_values(&mut self, changed: usize) {
        match self.told.next() {
            Some(Event::Looked { knobs, .. }) => self.values(knobs, changed),
            other => self.wrong.push(format!("it was not looked: {other:?}")),
        }
    }

    /// Every knob, byte for byte: as after a fresh start, but for so many of the plan's.
    fn values(&mut self, knobs: &BTreeMap<String, String>, changed: usize) {
        let mut wanted = self.fresh.clone();
        wanted.extend(PLAN[..changed].iter().map(|(key, to)| (path(key), format!("{}\n", to.replace(' ', "\t")))));
        let paths: BTreeSet<_> =
            wanted.keys().chain(knobs.keys()).filter(|path| !VOLATILE.contains(&&***path)).collect();
        let is_other = paths.into_iter().filter(|path| wanted.get(*path) != knobs.get(*path));
        let other = is_other.map(|path| format!("{path} is {:?}, not {:?}", knobs.get(path), wanted.get(path)));
        self.wrong.extend(other);
    }
}

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// An empty file system with a journal.
fn make_disk(disk: &Path) -> Result<()> {
    fs::File::create(disk)?.set_len(DISK_BYTES)?;
    let made = Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(disk).output();
    let made = made.context("mke2fs can't be started (Debian: e2fsprogs)")?;
    ensure!(made.status.success(), "mke2fs failed: {}", String::from_utf8_lossy(&made.stderr).trim());
    Ok(())
}

/// A program of this host and the libraries that it needs, by their paths.
fn with_libraries(places: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let program = places.iter().find(|place| Path::new(place).exists()).context("it is not there")?;
    let listed = Command::new("ldd").arg(program).output().context("ldd")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    let mut files = vec![("usr/sbin/sysctl".to_string(), fs::read(program)?)];
    for library in libraries {
        files.push((
            library.trim_start_matches('/').to_string(),
            fs::read(library).with_context(|| library.to_string())?,
        ));
    }
    Ok(files)
}

/// Boots one machine, and gives what it told, or why it could not do its part.
fn machine(
    lab: &Lab<'_>,
    boot: usize,
    disk: &Path,
    files: &[(String, Vec<u8>)],
    steps: Vec<Step>,
    about: &mut String,
) -> Result<Result<Vec<Event>, String>> {
    let is_cut = steps.last() == Some(&Step::Cut);
    let mut archive = cpio::Archive::new(Vec::new());
    let mut folders: BTreeSet<PathBuf> =
        ["proc", "sys", "dev", "run", "tmp", "modules", "usr/bin"].map(PathBuf::from).into();
    folders.extend(files.iter().filter_map(|(path, _)| Some(Path::new(path).parent()?.to_path_buf())));
    let parents: BTreeSet<_> = folders.iter().flat_map(|folder| folder.ancestors()).collect();
    for folder in parents.iter().filter_map(|folder| folder.to_str()).filter(|folder| !folder.is_empty()) {
        archive.directory(folder)?;
    }
    archive.program("init", &fs::read(&lab.programs.xtask)?)?;
    archive.program(TCPROOF.trim_start_matches('/'), &fs::read(&lab.programs.tcproof)?)?;
    for (path, content) in files {
        archive.program(path, content)?;
    }
    let mut job = Job { modules: Vec::new(), runs: Vec::new(), seconds: lab.args.patience, steps };
    for (name, content) in &lab.files.modules {
        job.modules.push(format!("modules/{name}"));
        archive.file(&format!("modules/{name}"), content)?;
    }
    archive.file(protocol::JOB, &serde_json::to_vec(&job)?)?;
    let initramfs = lab.results.join("reboot-initramfs");
    fs::write(&initramfs, archive.finish()?)?;
    let clock = format!("{}-11-30T12:00:00", year(boot));
    let parts = Parts {
        kernel: lab.files.image.clone(),
        initramfs,
        console: lab.results.join(format!("reboot-console-{boot}.log")),
        disk: Some((disk.to_path_buf(), clock)),
    };
    let mut told = Vec::new();
    let ending = machine::run(&parts, Duration::from_secs(lab.args.patience), &mut |event| match event {
        Event::Started { release, version, .. } => *about = format!("{release} {version}"),
        Event::Ran { .. } | Event::Looked { .. } => told.push(event),
        _ => {}
    })?;
    Ok(match ending {
        Ending::Cut if is_cut => Ok(told),
        Ending::Finished if !is_cut => Ok(told),
        Ending::Short(why) => Err(why),
        other => Err(format!("it ended otherwise: {other:?}")),
    })
}

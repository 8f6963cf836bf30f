//! The first process of the machine: mounts what a system has, loads the modules, runs the scenarios, powers off.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::WaitOptions;
use rustix::system::RebootCommand;
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

use super::protocol::{Event, JOB, Job, MARK, PROGRAM, Run, Step, Test};
use super::{hold, modules};

/// The disk of a machine that has one.
const DISK: &str = "/dev/vda";
/// The second serial line; the first is the kernel's console.
const SERIAL: &str = "/dev/ttyS1";

const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Runs as the first process of a machine made for the lab, and of no other.
pub(crate) fn run() -> Result<ExitCode> {
    ensure!(std::process::id() == 1, "this is the first process of an emulated machine; `cargo xtask vm` starts one");
    let done = boot();
    if let Err(error) = &done {
        // To the console: there may be no serial line.
        eprintln!("vm-guest: {error:#}");
    }
    // Without this the kernel would panic about its first process's end, whatever it did.
    rustix::system::reboot(RebootCommand::PowerOff).context("powering off")?;
    Ok(ExitCode::FAILURE)
}

fn boot() -> Result<()> {
    for (kind, at) in MOUNTS {
        fs::create_dir_all(at)?;
        rustix::mount::mount(*kind, *at, *kind, MountFlags::empty(), None).with_context(|| format!("mounting {at}"))?;
    }
    let command_line = fs::read_to_string("/proc/cmdline")?;
    ensure!(command_line.split_whitespace().any(|word| word == MARK), "this machine was not made for the lab");
    let mut host = Host::open()?;
    let done = work(&mut host);
    match &done {
        Ok(()) => host.say(&Event::Finished)?,
        Err(error) => host.say(&Event::Broken { why: format!("{error:#}") })?,
    }
    done
}

fn work(host: &mut Host) -> Result<()> {
    let job = fs::read(format!("/{JOB}")).context("reading the job")?;
    let job: Job = serde_json::from_slice(&job).context("the job")?;
    let failed_modules = job.modules.iter().filter_map(|file| load(file).err()).map(|e| format!("{e:#}")).collect();
    let kernel = rustix::system::uname();
    let [release, version] = [kernel.release(), kernel.version()].map(|text| text.to_string_lossy().into_owned());
    host.say(&Event::Started { release, version, failed_modules })?;
    if !job.steps.is_empty() {
        return steps(host, &job.steps);
    }
    for run in &job.runs {
        host.say(&Event::Running { scenario: run.scenario.clone() })?;
        host.say(&scenario(run, Duration::from_secs(job.seconds))?)?;
        bury();
    }
    Ok(())
}

fn load(file: &str) -> Result<()> {
    let image = fs::read(format!("/{file}")).with_context(|| file.to_string())?;
    match rustix::system::init_module(&image, c"") {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.with_context(|| modules::name(file)),
    }
}

/// Runs one scenario. What it prints goes to files: nobody reads a pipe meanwhile.
fn scenario(run: &Run, patience: Duration) -> Result<Event> {
    let (out, err) = ("/run/out", "/run/err");
    let start = Instant::now();
    let (program, arguments) = match &*run.scenario {
        name if let Some(test) = Test::named(name) => {
            (test.name, ["--nocapture", "--test-threads=1"].into_iter().chain(test.only).collect())
        }
        // Those of this folder change what no namespace has of its own: only here can a plan for them be applied.
        _ if run.argument.starts_with("/scenarios/") => {
            (PROGRAM, vec!["lab", "run", &run.argument, "--apply", "--json"])
        }
        _ => (PROGRAM, vec!["lab", "run", &run.argument, "--json"]),
    };
    let mut child = Command::new(format!("/{program}"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(out)?)
        .stderr(File::create(err)?)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.to_string();
        }
        if start.elapsed() > patience {
            // Its workers die with it.
            child.kill()?;
            child.wait()?;
            break format!("killed: not done after {} s", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = |file| fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Event::Ended {
        scenario: run.scenario.clone(),
        seconds: start.elapsed().as_secs_f64(),
        status,
        out: text(out)?,
        err: text(err)?,
    })
}

/// The disk's folders, and where a system has them.
const ON_DISK: [(&str, &str); 2] = [("journal", "/var/lib/tcproof/journal"), ("sysctl.d", "/etc/sysctl.d")];

fn steps(host: &mut Host, steps: &[Step]) -> Result<()> {
    fs::create_dir_all("/disk")?;
    rustix::mount::mount(DISK, "/disk", "ext4", MountFlags::empty(), None).context("mounting the disk")?;
    for (folder, at) in ON_DISK {
        let folder = format!("/disk/{folder}");
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(at)?;
        rustix::mount::mount_bind(&folder, at).with_context(|| format!("binding {at}"))?;
    }
    for step in steps {
        match step {
            Step::File { path, text } => {
                let mut file = File::create(path).with_context(|| path.clone())?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
            }
            Step::Plan { path, id, to } => fs::write(path, plan(id, to)?).with_context(|| path.clone())?,
            Step::Run(command) => {
                let (program, arguments) = command.split_first().context("no program")?;
                let out = Command::new(program).args(arguments).stdin(Stdio::null()).output();
                let out = out.with_context(|| format!("starting {program}"))?;
                let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
                host.say(&Event::Ran { status: Some(out.status.to_string()), text })?;
            }
            Step::Hold(command, at) => {
                let (program, arguments) = command.split_first().context("no program")?;
                host.say(&Event::Ran { status: hold::run(program, arguments, at)?, text: String::new() })?;
            }
            Step::Look { file } => {
                let mut knobs = BTreeMap::new();
                look(Path::new("/proc/sys/net"), &mut knobs);
                host.say(&Event::Looked { knobs, file: fs::read_to_string(file).ok() })?;
            }
            Step::Cut => {
                host.say(&Event::Cut)?;
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }
    // Nothing of it is to be missed when the machine is off.
    for (_, at) in ON_DISK {
        rustix::mount::unmount(at, UnmountFlags::empty()).with_context(|| format!("unmounting {at}"))?;
    }
    rustix::mount::unmount("/disk", UnmountFlags::empty()).context("unmounting the disk")
}

/// A plan's file, from what there is now.
fn plan(id: &str, to: &[(String, String)]) -> Result<String> {
    let inode = fs::metadata("/proc/self/ns/net")?.ino();
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let mut text = format!(
        "schema = \"tcproof/plan/1\"\nid = \"{id}\"\nhost = \"{}\"\nkernel = \"6.1\"\nmade_at = \"2026-11-30T00:00:00Z\"\n",
        host.trim()
    );
    for (key, to) in to {
        let from = fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/")))?;
        let from = from.trim().replace('\t', " ");
        // Those of core that are not a listener's are the kernel's own.
        let place = match &**key {
            "net.core.netdev_max_backlog" => "name = \"host\"".to_string(),
            _ => format!("name = \"first\", inode = {inode}"),
        };
        text += &format!(
            "[[changes]]\nfindings = []\nnamespace = {{ {place} }}\nknob = \"{key}\"\nfrom = \"{from}\"\nto = \"{to}\"\n\
             cost = \"c\"\nrisk = \"r\"\ntakes_effect = \"t\"\ninverse = \"i\"\nsuccess = \"s\"\n"
        );
    }
    Ok(text)
}

/// Every file below a folder that can be read.
fn look(folder: &Path, knobs: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look(&path, knobs);
        } else if let Ok(text) = fs::read_to_string(&path) {
            knobs.insert(path.display().to_string(), text);
        }
    }
}

/// Processes whose parent has died are the first process's to wait for.
fn bury() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

struct Host(File);

impl Host {
    fn open() -> Result<Self> {
        let serial =
            OpenOptions::new().read(true).write(true).open(SERIAL).with_context(|| format!("opening {SERIAL}"))?;
        let mut settings = tcgetattr(&serial)?;
        settings.make_raw();
        tcsetattr(&serial, OptionalActions::Now, &settings)?;
        Ok(Self(serial))
    }

    fn say(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        // Powering off does not wait for what is still in the kernel's buffer.
        tcdrain(&self.0)?;
        Ok(())
    }
}

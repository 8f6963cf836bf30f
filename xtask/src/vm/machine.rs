//! One emulated machine: QEMU, from its start to its certain end.

use std::ffi::OsString;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::protocol::{self, Event, MARK};

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// A kernel that says nothing for so long does not boot. Emulated it takes 3 s, beside other work some more.
const BOOT: Duration = Duration::from_secs(90);
/// How long a machine may take to power off.
const POWER_OFF: Duration = Duration::from_secs(15);
/// Beyond a scenario's own time, after which the machine itself kills it: then the machine hangs.
const GRACE: Duration = Duration::from_secs(30);

/// What a machine is made of.
pub(crate) struct Parts {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// Where the kernel's console goes.
    pub(crate) console: PathBuf,
    /// A disk, and the time that the machine's clock has (`2026-11-30T12:00:00`).
    pub(crate) disk: Option<(PathBuf, String)>,
}

/// How a machine ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It did all of its job.
    Finished,
    /// It asked for the end of its power, and got it.
    Cut,
    /// It did not, and why.
    Short(String),
}

/// Boots a machine, tells `each` of its events as they come, and sees it end; one that hangs is killed.
pub(crate) fn run(parts: &Parts, scenario: Duration, each: &mut dyn FnMut(Event)) -> Result<Ending> {
    let mut machine = Machine::start(parts)?;
    let mut patience = BOOT;
    let mut waiting_for = "booting".to_string();
    let mut noise = None;
    loop {
        let event = match machine.wait(patience) {
            Heard::Event(event) => event,
            Heard::Noise(what) => {
                noise.get_or_insert(what);
                continue;
            }
            Heard::Silence => {
                return Ok(Ending::Short(format!("the machine hung while {waiting_for}: killed after {patience:?}")));
            }
            Heard::End => {
                let noise = noise.map(|what| format!(" ({what})")).unwrap_or_default();
                return Ok(Ending::Short(format!("the machine stopped while {waiting_for}{noise}")));
            }
        };
        match &event {
            Event::Finished => {
                machine.power_off();
                return Ok(Ending::Finished);
            }
            Event::Broken { why } => return Ok(Ending::Short(format!("the machine broke while {waiting_for}: {why}"))),
            Event::Running { scenario: name } => {
                (patience, waiting_for) = (scenario + GRACE, format!("running {name}"))
            }
            // It is killed, as by a plug that is pulled.
            Event::Cut => return Ok(Ending::Cut),
            Event::Started { .. } | Event::Ended { .. } | Event::Ran { .. } | Event::Looked { .. } => {
                (patience, waiting_for) = (GRACE, "between scenarios".into())
            }
        }
        each(event);
    }
}

enum Heard {
    Event(Event),
    Noise(String),
    Silence,
    End,
}

/// A running emulator. Dropping it kills it.
struct Machine {
    child: Child,
    events: Receiver<Result<Event, String>>,
}

impl Machine {
    fn start(parts: &Parts) -> Result<Self> {
        let mut child = Command::new(QEMU)
            .args(arguments(parts))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {QEMU}"))?;
        let serial = child.stdout.take();
        let (sender, events) = channel();
        let machine = Self { child, events };
        let mut serial = BufReader::new(serial.context("no pipe to the machine")?);
        std::thread::spawn(move || {
            while let Some(event) = protocol::next(&mut serial) {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(machine)
    }

    fn wait(&self, patience: Duration) -> Heard {
        match self.events.recv_timeout(patience) {
            Ok(Ok(event)) => Heard::Event(event),
            Ok(Err(noise)) => Heard::Noise(noise),
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    fn power_off(&mut self) {
        let end = Instant::now() + POWER_OFF;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing is to be done about a failure: then it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn arguments(parts: &Parts) -> Vec<OsString> {
    let file = |path: &Path| path.as_os_str().to_owned();
    let mut console = OsString::from("file:");
    console.push(&parts.console);
    // Software emulation: it works in a container and in a virtual machine, where /dev/kvm often does not.
    // Without cmpxchg16b: QEMU 7.2 leaves wrong flags behind when it emulates that, and a kernel that uses it for its
    // memory (6.12) dies of double faults within seconds.
    // No network card: everything happens in namespaces inside. A panic ends the machine.
    let fixed = "-accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 2048 -nodefaults -no-user-config -no-reboot \
                 -display none -nic none";
    let command_line = format!("console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init {MARK} -- vm-guest");
    let mut arguments: Vec<OsString> = fixed.split(' ').map(OsString::from).collect();
    arguments.extend(["-serial".into(), console, "-serial".into(), "stdio".into()]);
    arguments.extend(["-kernel".into(), file(&parts.kernel), "-initrd".into(), file(&parts.initramfs)]);
    arguments.extend(["-append".into(), command_line.into()]);
    if let Some((disk, clock)) = &parts.disk {
        let mut drive = OsString::from("if=virtio,format=raw,file=");
        drive.push(disk);
        arguments.extend(["-drive".into(), drive, "-rtc".into(), format!("base={clock}").into()]);
    }
    arguments
}

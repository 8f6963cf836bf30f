//! What the program outside and the one inside the machine tell each other: the job as a file of the machine's, and
//! events over a serial line, one JSON value a line.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};

/// Where the machine finds its job.
pub(crate) const JOB: &str = "job.json";
/// The lab's program inside the machine.
pub(crate) const PROGRAM: &str = "tcproof";
/// A test program that is run inside like a scenario of its name.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    /// Where it comes from: a crate's integration test.
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    /// Of its tests only this one; the others need the source.
    pub(crate) only: Option<&'static str>,
}

/// The table of knobs, and the eBPF programs. The last one locks the kernel down, which only its end undoes.
pub(crate) const TESTS: [Test; 5] = [
    Test { name: "knobs", package: "tcproof-lab", target: "knobs", only: None },
    Test { name: "ebpf-load", package: "tcproof-bpf", target: "load", only: Some("every_skeleton_loads") },
    Test { name: "ebpf-census", package: "tcproof-bpf", target: "census", only: None },
    Test { name: "ebpf-trace", package: "tcproof-bpf", target: "trace", only: None },
    Test { name: "ebpf-lockdown", package: "tcproof-bpf", target: "load", only: Some("a_locked_kernel_says_so") },
];

impl Test {
    /// The one with that name, which is its program's name inside too.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TESTS.iter().find(|test| test.name == name)
    }
}

/// The run in which the machine loses its power in the midst of a change.
pub(crate) const REBOOT: &str = "reboot";
/// On the kernel's command line: by this the lab knows a machine that was made for it.
pub(crate) const MARK: &str = "tcproof.vm=1";
/// A longer line is none of ours.
const LONGEST_LINE: u64 = 8 << 20;

/// What a machine shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Module files, in the order to load them.
    pub(crate) modules: Vec<String>,
    /// Scenarios, in order.
    pub(crate) runs: Vec<Run>,
    /// How long each may take.
    pub(crate) seconds: u64,
    /// Instead of scenarios: what is done with the disk.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

/// What a machine with a disk does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Writes a file.
    File {
        /// Where.
        path: String,
        /// What.
        text: String,
    },
    /// Writes a plan from what the knobs are to what they shall be.
    Plan {
        /// Its file.
        path: String,
        /// Its id.
        id: String,
        /// Keys and values.
        to: Vec<(String, String)>,
    },
    /// Runs a program, and tells how that went.
    Run(Vec<String>),
    /// Runs a program up to a step of its work, and leaves it there.
    Hold(Vec<String>, At),
    /// Tells what the knobs are, and a file.
    Look {
        /// The file.
        file: String,
    },
    /// Asks for the end of its power.
    Cut,
}

/// A step of a program's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At {
    /// Which call.
    pub(crate) call: Call,
    /// On a file below this folder; anything, where it is empty.
    pub(crate) below: String,
    /// The how manieth such call, from 1.
    pub(crate) number: u32,
    /// When it is done, and not before.
    pub(crate) is_behind: bool,
}

/// What a program asks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    Write,
    Sync,
    Rename,
    Sleep,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) scenario: String,
    /// What `tcproof lab run` is given: the name or the scenario's file.
    pub(crate) argument: String,
}

/// What a machine says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(crate) enum Event {
    /// It is up.
    Started {
        /// The kernel's release, as `uname -r`.
        release: String,
        /// Its version, as `uname -v`.
        version: String,
        /// Modules that could not be loaded, and why.
        failed_modules: Vec<String>,
    },
    /// A scenario begins.
    Running {
        /// Which.
        scenario: String,
    },
    /// A scenario ended.
    Ended {
        /// Which.
        scenario: String,
        /// How long it took.
        seconds: f64,
        /// How: `exit status: 0`.
        status: String,
        /// Standard output.
        out: String,
        /// Standard error.
        err: String,
    },
    /// A program was run.
    Ran {
        /// How it ended; none for one that is held.
        status: Option<String>,
        /// Both outputs.
        text: String,
    },
    /// It was looked.
    Looked {
        /// Every readable file below `/proc/sys/net`, and a few others, by its path.
        knobs: BTreeMap<String, String>,
        /// The file, if it is there.
        file: Option<String>,
    },
    /// It waits for the end of its power.
    Cut,
    /// The machine could not do its part.
    Broken {
        /// Why.
        why: String,
    },
    /// All is done; it powers off.
    Finished,
}

/// Reads the next event. A line that is no event is an error with what it began with, and reading may go on;
/// nothing at the end.
pub(crate) fn next(serial: &mut impl BufRead) -> Option<Result<Event, String>> {
    let mut line = Vec::new();
    match serial.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(error.to_string())),
    }
    let event = serde_json::from_slice(&line).map_err(|error| {
        let text = String::from_utf8_lossy(&line);
        let start: String = text.chars().take(60).flat_map(char::escape_default).collect();
        format!("the machine said {start:?}: {error}")
    });
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Vec<Result<Event, String>> {
        std::iter::from_fn(|| next(&mut bytes)).collect()
    }

    #[test]
    fn events_survive_the_line() {
        let out = "{\n \"a\": \"\u{1b}[31m\"\r\n}".to_string();
        let ended = Event::Ended { scenario: "x".into(), seconds: 1.5, status: "ok".into(), out, err: String::new() };
        let mut line = serde_json::to_vec(&ended).unwrap();
        // A terminal's line discipline may turn a newline into two characters.
        line.extend_from_slice(b"\r\n{\"event\":\"finished\"}\n");
        assert_eq!(all(&line), [Ok(ended), Ok(Event::Finished)]);
    }

    #[test]
    fn what_is_no_event_is_said_and_passed_over() {
        let bytes = b"\x1b[2Jboom \xff\xfe\n\n{\"event\":\"nonsense\"}\n{\"event\":\"finished\"}\n{\"event\":\"fini";
        let read = all(bytes);
        assert_eq!(read.len(), 5);
        assert_eq!(read[3], Ok(Event::Finished));
        for wrong in [0, 1, 2, 4] {
            let message = read[wrong].as_ref().unwrap_err();
            assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut serial = std::io::BufReader::new(std::io::repeat(b'x').take(LONGEST_LINE * 2 + 1));
        for _ in 0..3 {
            assert!(next(&mut serial).unwrap().is_err());
        }
        assert!(next(&mut serial).is_none());
    }
}

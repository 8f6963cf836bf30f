//! The lab's child processes: started, listened to, and ended with certainty.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::kit;
use crate::kit::cgroup::TcpMemory;
use crate::run::Error;
use crate::scenario::LINK;
use crate::statistics::Statistics;
use crate::worker::{Command, Event, Job, Role};

/// How to start a worker: the program and the arguments of its hidden subcommand.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program, normally `/proc/self/exe`.
    pub path: OsString,
    /// Arguments that make it a worker.
    pub args: Vec<OsString>,
}

struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Removed after the child has ended.
    _cgroup: Option<TcpMemory>,
}

/// All workers of one run. Dropping it kills them.
pub(crate) struct Workers {
    program: Program,
    workers: BTreeMap<String, Worker>,
    sender: Sender<(String, Event)>,
    events: Receiver<(String, Event)>,
}

/// How long a worker may take to be ready, to answer a mark, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

impl Workers {
    pub(crate) fn new(program: Program) -> Self {
        let (sender, events) = channel();
        Self { program, workers: BTreeMap::new(), sender, events }
    }

    /// Starts a worker and waits until it is ready. It dies with the calling thread.
    pub(crate) fn start(&mut self, netns: std::path::PathBuf, role: Role) -> Result<(), Error> {
        let (name, announced) = match &role {
            Role::Server(server) => (server.name.clone(), server.announce.then_some(server.backlog)),
            Role::Load(load) => (load.name.clone(), None),
            Role::Link { .. } => (LINK.to_string(), None),
        };
        let failed = |what: &str, error: std::io::Error| Error::Lab(format!("{what} worker {name:?}: {error}"));
        let cgroup = match &role {
            Role::Server(server) => server.tcp_memory.map(|bytes| TcpMemory::limited(bytes.0.into())).transpose()?,
            _ => None,
        };
        let directory = cgroup.as_ref().map(|group| group.directory().to_owned());
        let mut command = std::process::Command::new(&self.program.path);
        command.args(&self.program.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A group of their own: Ctrl-C is for the lab, which then ends them in order.
        command.arg0("tcproof").process_group(0);
        if let Some(backlog) = announced {
            command.args(["--backlog".to_string(), backlog.to_string()]);
        }
        let mut child = command.spawn().map_err(|e| failed("starting", e))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // From here on it is killed when this value is dropped, whatever goes wrong.
        self.workers.insert(name.clone(), Worker { child, stdin, _cgroup: cgroup });
        if let Some(stdout) = stdout {
            let (sender, name) = (self.sender.clone(), name.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let event = serde_json::from_str(&line).unwrap_or_else(|e| Event::Failed(format!("{e}: {line}")));
                    if sender.send((name.clone(), event)).is_err() {
                        return;
                    }
                }
            });
        }
        let job = Job { netns, parent: std::process::id(), cgroup: directory, role };
        let mut line = serde_json::to_vec(&job).map_err(|e| failed("telling", e.into()))?;
        line.push(b'\n');
        self.write(&name, &line).map_err(|e| failed("telling", e))?;
        self.wait(&name, |event| matches!(event, Event::Ready).then_some(()))
    }

    fn write(&mut self, name: &str, line: &[u8]) -> std::io::Result<()> {
        match self.workers.get_mut(name).and_then(|worker| worker.stdin.as_mut()) {
            Some(stdin) => stdin.write_all(line),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn wait<T>(&mut self, name: &str, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((who, Event::Failed(message))) => return Err(Error::Lab(format!("{who}: {message}"))),
                Ok((_, Event::Unsupported(what))) => return Err(kit::Error::Unsupported(what).into()),
                Ok((who, event)) if who == name => {
                    if let Some(value) = wanted(event) {
                        return Ok(value);
                    }
                }
                Ok(_) => {}
                Err(_) => return Err(Error::Lab(format!("worker {name:?} did not answer within {PATIENCE:?}"))),
            }
        }
    }

    /// Tells a worker something.
    pub(crate) fn tell(&mut self, name: &str, command: &Command) -> Result<(), Error> {
        let mut line = serde_json::to_vec(command).map_err(|e| Error::Lab(e.to_string()))?;
        line.push(b'\n');
        self.write(name, &line).map_err(|e| Error::Lab(format!("telling worker {name:?}: {e}")))
    }

    /// What every worker saw since the last mark.
    pub(crate) fn mark(&mut self) -> Result<BTreeMap<String, Statistics>, Error> {
        let names: Vec<String> = self.workers.keys().cloned().collect();
        let mut marked = BTreeMap::new();
        for name in names {
            self.tell(&name, &Command::Mark)?;
            let statistics = self.wait(&name, |event| match event {
                Event::Marked(statistics) => Some(statistics),
                _ => None,
            })?;
            marked.insert(name, statistics);
        }
        Ok(marked)
    }

    /// What has been said and not been asked for: each second's numbers.
    pub(crate) fn heard(&mut self) -> Result<Vec<(String, Statistics)>, Error> {
        let mut seconds = Vec::new();
        while let Ok((name, event)) = self.events.try_recv() {
            match event {
                Event::Second(statistics) => seconds.push((name, statistics)),
                Event::Failed(message) => return Err(Error::Lab(format!("{name}: {message}"))),
                Event::Unsupported(what) => return Err(kit::Error::Unsupported(what).into()),
                Event::Ready | Event::Marked(_) => {}
            }
        }
        Ok(seconds)
    }

    /// Stops one worker: it resets its connections; when it does not hear, it is killed.
    pub(crate) fn stop(&mut self, name: &str) {
        if let Some(mut worker) = self.workers.remove(name) {
            end(&mut worker);
        }
    }

    /// Stops all workers, the loads (which were started last) as well as the servers.
    pub(crate) fn stop_all(&mut self) {
        // All at once: each notices the end of its input by itself.
        self.workers.values_mut().for_each(|worker| drop(worker.stdin.take()));
        self.workers.values_mut().for_each(end);
        self.workers.clear();
    }
}

fn end(worker: &mut Worker) {
    drop(worker.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        match worker.child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            // It is over, or it can't be waited for.
            Ok(Some(_)) | Err(_) => return,
        }
    }
    // It may have ended just now.
    let _ = worker.child.kill();
    let _ = worker.child.wait();
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop_all();
    }
}

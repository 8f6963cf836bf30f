//! Servers and loads: child processes of the same program, each inside its namespace.
//!
//! The first line of standard input is the `Job`; later lines are commands; its end means stop. Events go to standard
//! output, one JSON value a line.

mod bulk;
mod icmp;
mod link;
mod load;
mod rewrite;
mod server;
mod socket;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::kit;
use crate::scenario::{Link, Load, Server};
use crate::statistics::{Statistics, Tally};

/// What a worker is told first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The file of its namespace.
    pub(crate) netns: PathBuf,
    /// The process that started it, with which it dies.
    pub(crate) parent: u32,
    /// The control group that it joins.
    pub(crate) cgroup: Option<PathBuf>,
    /// What it is.
    pub(crate) role: Role,
}

/// What a worker is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// A server.
    Server(Server),
    /// A load.
    Load(Load),
    /// The link between its namespace, the client's, and the server's.
    Link {
        /// What it is like.
        link: Box<Link>,
        /// The file of the server's namespace.
        server: PathBuf,
    },
}

/// What a worker is told later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Report the statistics since the last mark.
    Mark,
    /// Call `listen(2)` again.
    Relisten,
    /// The loads begin: what happens later to a link counts from now.
    Begin,
    /// The link changes.
    Change(Box<Link>),
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// It listens, or begins to connect.
    Ready,
    /// What it saw in the last second.
    Second(Statistics),
    /// What it saw since the last mark.
    Marked(Statistics),
    /// It can't go on.
    Failed(String),
    /// It can't begin: this kernel lacks something.
    Unsupported(String),
}

/// Runs a worker to its end; the hidden subcommand of the program does nothing else.
pub fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let event = match error.kind() {
                io::ErrorKind::Unsupported => Event::Unsupported(error.to_string()),
                _ => Event::Failed(error.to_string()),
            };
            // Without a reader there is nobody left to tell.
            let _ = say(&event);
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let line = first_line().map_err(|e| of("reading the job", e))?;
    let job: Job = serde_json::from_slice(&line).map_err(|e| of("the job", e.into()))?;
    kit::cleanup::die_with_parent(job.parent).map_err(|e| of("binding to the parent's life", e))?;
    kit::netns::enter(&job.netns).map_err(|e| of(&format!("entering {}", job.netns.display()), e))?;
    if let Some(directory) = &job.cgroup {
        kit::cgroup::join(directory).map_err(|e| of(&format!("joining {}", directory.display()), e))?;
    }
    match job.role {
        Role::Server(server) => {
            let _ = rustix::thread::set_name(c"lab-server");
            limit_descriptors(server.nofile.map(|n| u64::from(n.0)))?;
            if server.unprivileged {
                give_up_rights(job.parent)?;
            }
            server::serve(&server).map_err(|e| of(&format!("server {:?}", server.name), e))
        }
        Role::Load(load) => {
            let _ = rustix::thread::set_name(c"lab-load");
            limit_descriptors(None)?;
            load::load(&load).map_err(|e| of(&format!("load {:?}", load.name), e))
        }
        Role::Link { link, server } => {
            let _ = rustix::thread::set_name(c"lab-link");
            link::link(&link, &server)
        }
    }
}

/// An error with what it is about; what this kernel lacks needs no more words.
fn of(what: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Unsupported => error,
        kind => io::Error::new(kind, format!("{what}: {error}")),
    }
}

/// Byte by byte: what follows the line belongs to the loop that comes later.
fn first_line() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    let mut byte = [0];
    while stdin.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(line)
}

/// `nobody`, by custom.
const NOBODY: u32 = 65_534;

fn give_up_rights(parent: u32) -> io::Result<()> {
    // The only thread there is. Its capabilities go with the user.
    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(NOBODY))?;
    // The kernel forgets what is to happen at the parent's death when the user changes.
    kit::cleanup::die_with_parent(parent)
}

/// Descriptors that a worker may need when the scenario does not starve it.
const DESCRIPTORS: u64 = 65_536;

fn limit_descriptors(limit: Option<u64>) -> io::Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let set =
        |n: u64| setrlimit(Resource::Nofile, Rlimit { current: Some(n), maximum: Some(n.max(hard.unwrap_or(n))) });
    match limit {
        Some(n) => set(n).map_err(|e| of(&format!("RLIMIT_NOFILE {n}"), e.into())),
        // Without the right to raise it, what is allowed has to do.
        None => set(DESCRIPTORS)
            .or_else(|_| set(hard.unwrap_or(DESCRIPTORS).min(DESCRIPTORS)))
            .map_err(|e| of("RLIMIT_NOFILE", e.into())),
    }
}

fn say(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Token of standard input in a worker's poll.
const STDIN: Token = Token(usize::MAX);
/// Token of a server's listener.
const LISTENER: Token = Token(usize::MAX - 1);

/// Standard input as a source of commands, and the statistics that answer them.
struct Control {
    tally: Tally,
    second: Tally,
    since_mark: Instant,
    since_second: Instant,
    marks: u64,
    partial: Vec<u8>,
}

impl Control {
    fn new(registry: &Registry) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(io::stdin(), true)?;
        registry.register(&mut SourceFd(&0), STDIN, Interest::READABLE)?;
        let now = Instant::now();
        let (tally, second) = (Tally::new(), Tally::new());
        Ok(Self { tally, second, since_mark: now, since_second: now, marks: 0, partial: Vec::new() })
    }

    /// From now on goodput is told.
    fn bulk(mut self) -> Self {
        (self.tally.bulk, self.second.bulk) = (true, true);
        self
    }

    /// How many marks there were.
    fn marks(&self) -> u64 {
        self.marks
    }

    /// Counts bytes of one connection, and the connection if these are its first since the mark.
    fn moved(&mut self, bytes: u64, read: bool, first: bool) {
        self.tally.numbers.progressed += u64::from(first);
        self.count(|tally| {
            let numbers = &mut tally.numbers;
            *if read { &mut numbers.read_bytes } else { &mut numbers.written_bytes } += bytes;
        });
    }

    /// Counts into both the second's and the mark's numbers.
    fn count(&mut self, count: impl Fn(&mut Tally)) {
        count(&mut self.tally);
        count(&mut self.second);
    }

    /// Says what the last second saw, once a second.
    fn tick(&mut self, now: Instant, open: usize) -> io::Result<()> {
        let seconds = (now - self.since_second).as_secs_f64();
        if seconds >= 1.0 {
            self.since_second = now;
            say(&Event::Second(self.second.take(seconds, open as u64)))?;
        }
        Ok(())
    }

    /// Reads commands; answers marks; returns the others, or `None` when it is time to stop.
    fn commands(&mut self, now: Instant, open: usize) -> io::Result<Option<Vec<Command>>> {
        let mut buffer = [0; 512];
        loop {
            match rustix::io::read(io::stdin(), &mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.partial.extend_from_slice(&buffer[..n]),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut others = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Command::Mark => {
                    let seconds = (now - self.since_mark).as_secs_f64();
                    self.since_mark = now;
                    self.marks += 1;
                    say(&Event::Marked(self.tally.take(seconds, open as u64)))?;
                }
                other => others.push(other),
            }
        }
        Ok(Some(others))
    }
}

/// From now on, a close (also the one that SIGKILL does) sends a RST: it leaves no TIME_WAIT and no orphan behind, which
/// would keep the namespace alive. Every connection of a worker is in this state until it ends in [`orderly`].
fn abrupt(stream: &mio::net::TcpStream) {
    // If it fails the connection is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Closes a connection with a FIN.
fn orderly(stream: mio::net::TcpStream) {
    // As above.
    let _ = socket2::SockRef::from(&stream).set_linger(None);
    drop(stream);
}

/// The errno's name, as manuals have it.
fn errno_name(error: &io::Error) -> String {
    use rustix::io::Errno;
    let names = [
        (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (Errno::ADDRINUSE, "EADDRINUSE"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::PIPE, "EPIPE"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::NOBUFS, "ENOBUFS"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::PERM, "EPERM"),
    ];
    let code = error.raw_os_error();
    match names.iter().find(|(errno, _)| Some(errno.raw_os_error()) == code) {
        Some((_, name)) => (*name).to_string(),
        None => code.map_or_else(|| error.kind().to_string(), |code| format!("errno {code}")),
    }
}

//! `tcproof top` as a person runs it: in a terminal, which tmux is.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod inside;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use tcproof_lab::kit::netns::current_inode;

const TCPROOF: &str = env!("CARGO_BIN_EXE_tcproof");
/// What takes longer hangs: in a debug build on a busy machine the first window does take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not without tmux, and says so past the harness, which keeps to itself what a test that passes prints.
fn inside(name: &str, test: impl FnOnce() + Send + 'static) {
    if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIP {name}: there is no tmux");
        return;
    }
    inside::inside(test);
}

/// A terminal with something that runs in it.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a shell's command in it.
    fn start(width: u16, height: u16, command: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = format!("tcproof-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let terminal = Self { socket };
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket]).args(arguments).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            tmux.env_remove(name);
        }
        tmux.stdin(Stdio::null()).output().unwrap()
    }

    fn press(&self, keys: &[&str]) {
        for key in keys {
            self.tmux(&["send-keys", key]);
        }
    }

    fn shows(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// What it shows once all of this is on it.
    fn wait_for(&self, texts: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let shown = self.shows();
            if texts.iter().all(|text| shown.contains(text)) {
                return shown;
            }
            assert!(since.elapsed() < PATIENCE, "no {texts:?} on\n{shown}");
            sleep(Duration::from_millis(50));
        }
    }

    /// The same between two frames.
    fn settled(&self, text: &str) -> String {
        loop {
            let shown = self.wait_for(&[text]);
            sleep(Duration::from_millis(150));
            if shown == self.shows() {
                return shown;
            }
        }
    }

    fn pid(&self) -> Pid {
        let pid = String::from_utf8(self.tmux(&["list-panes", "-F", "#{pane_pid}"]).stdout).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// A listener that nobody accepts from, and whose queue is full.
struct Full {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let at = listener.local_addr().unwrap();
        Self { listener, _waiting: (0..2).map(|_| TcpStream::connect(at).unwrap()).collect() }
    }

    fn at(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Is dropped, and tried again by the kernel as long as this lives.
    fn knock(&self) -> OwnedFd {
        knock_at(&self.at())
    }
}

fn knock_at(address: &SocketAddr) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let _ = connect(&socket, address);
    socket
}

fn here() -> String {
    current_inode().unwrap().to_string()
}

#[test]
fn the_verdict_and_what_is_behind_it_are_a_key_away_and_the_screen_is_given_back() {
    inside("the_verdict_and_what_is_behind_it", || {
        let full = Full::new();
        let knocking: Vec<_> = (0..200).map(|_| full.knock()).collect();
        let at = full.at().to_string();
        let command = format!("echo as it was; {TCPROOF} top --netns {}; echo ended with $?; cat", here());
        let terminal = Terminal::start(80, 24, &command);
        let shown = terminal.wait_for(&["LIMITING  accept queue of ", &at, "HEADROOM"]);
        assert!(shown.starts_with("▸1 Verdict 2 Headroom 3 Listeners 4 Dest 5 Flows 6 Path 7 Counters\n"), "{shown}");
        assert!(!shown.contains("as it was"), "{shown}");

        terminal.press(&["Enter"]);
        terminal.wait_for(&["numbers SK_MEMINFO_DROPS +", "Esc back"]);
        terminal.press(&["e"]);
        terminal.wait_for(&["The queue of finished handshakes"]);
        // Time to tell it from the start of another key's sequence.
        terminal.press(&["Escape"]);
        terminal.wait_for(&["numbers SK_MEMINFO_DROPS +"]);
        terminal.press(&["2"]);
        terminal.wait_for(&["whose", "accept-queue", "100 %"]);
        terminal.press(&["3"]);
        terminal.wait_for(&["listener", "queue", "drops", &format!("!{at}")]);
        // A dump that only this pane asks for.
        terminal.press(&["4"]);
        terminal.wait_for(&["time-wait", &at, "20"]);
        terminal.press(&["5"]);
        terminal.wait_for(&["▸5 Flows"]);
        terminal.press(&["6"]);
        terminal.wait_for(&["application: accept and read", "DROPPED"]);
        // One counter is called so, and what another counts is told by it.
        terminal.press(&["7", "/", "listenoverfl", "Enter"]);
        terminal.wait_for(&["TcpExt.ListenOverf", "1 of 2"]);
        terminal.press(&["e"]);
        terminal.wait_for(&["What it proves"]);
        terminal.press(&["Escape"]);
        terminal.wait_for(&["1 of 2"]);
        terminal.press(&["p"]);
        terminal.wait_for(&["plan of this window"]);
        terminal.press(&[":", "keys", "Enter"]);
        terminal.wait_for(&["quit; so does Ctrl-C"]);

        terminal.press(&["1"]);
        terminal.tmux(&["resize-window", "-x", "160", "-y", "50"]);
        let shown = terminal.wait_for(&["4 Destinations", "last minutes", "LIMITING  accept queue of "]);
        assert_eq!(shown.lines().count(), 50, "{shown}");
        terminal.tmux(&["resize-window", "-x", "50", "-y", "10"]);
        terminal.wait_for(&["50x10 is too small"]);
        terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
        terminal.wait_for(&["4 Dest ", "LIMITING  accept queue of "]);
        terminal.press(&["q"]);
        let shown = terminal.wait_for(&["as it was", "ended with 0"]);
        assert!(!shown.contains("Verdict"), "{shown}");
        drop(knocking);
    });
}

#[test]
fn without_colours_and_letters_beyond_ascii_it_says_the_same() {
    inside("without_colours_and_letters_beyond_ascii", || {
        let full = Full::new();
        let _knocking: Vec<_> = (0..50).map(|_| full.knock()).collect();
        let command = format!("{TCPROOF} top --ascii --color never --netns {}", here());
        let terminal = Terminal::start(80, 24, &command);
        let shown = terminal.wait_for(&["LIMITING  accept queue of ", "HEADROOM"]);
        assert!(shown.is_ascii(), "{shown}");
        assert!(shown.starts_with(">1 Verdict"), "{shown}");
        let painted = terminal.tmux(&["capture-pane", "-p", "-e"]).stdout;
        let painted = String::from_utf8(painted).unwrap();
        let codes = painted.split("\x1b[").skip(1).filter_map(|part| part.split_once('m'));
        for code in codes.flat_map(|(codes, _)| codes.split(';')) {
            // Bold, dim and reverse are no colours, and these two are what takes one away.
            assert!(["", "0", "1", "2", "7", "22", "27", "39", "49"].contains(&code), "{code} in {painted:?}");
        }
    });
}

#[test]
fn a_terminal_that_goes_away_takes_it_along_and_signals_end_it() {
    inside("a_terminal_that_goes_away", || {
        let command = format!("exec {TCPROOF} top --netns {}", here());
        let terminal = Terminal::start(80, 24, &command);
        terminal.wait_for(&["live"]);
        let pid = terminal.pid();
        drop(terminal);
        let is_there = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            // One that nobody has reaped yet has ended too.
            stat.contains("(tcproof)") && !stat.contains(") Z ")
        };
        let since = Instant::now();
        while is_there() {
            assert!(since.elapsed() < PATIENCE, "it is still there");
            sleep(Duration::from_millis(20));
        }
        for signal in [Signal::HUP, Signal::TERM] {
            let terminal =
                Terminal::start(80, 24, &format!("{TCPROOF} top --netns {}; echo ended with $?; cat", here()));
            terminal.wait_for(&["live"]);
            let shell = terminal.pid().as_raw_nonzero();
            let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
            let child = Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap();
            kill_process(child, signal).unwrap();
            terminal.wait_for(&["ended with 0"]);
        }
    });
}

#[test]
fn a_recording_is_moved_in_and_played() {
    inside("a_recording_is_moved_in_and_played", || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r");
        let file = file.to_str().unwrap();
        let full = Full::new();
        let mut record = Command::new(TCPROOF);
        record.args(["record", "-o", file, "--every", "300ms", "--for", "4s", "--netns", &here()]);
        let mut recording = record.stderr(Stdio::null()).spawn().unwrap();
        // Not before the first records: what is to be seen is that nothing was dropped from the beginning.
        let since = Instant::now();
        while fs::metadata(file).map_or(0, |meta| meta.len()) == 0 {
            assert!(since.elapsed() < PATIENCE, "nothing is recorded");
            sleep(Duration::from_millis(50));
        }
        sleep(Duration::from_millis(600));
        let mut knocking = Vec::new();
        let ended = loop {
            knocking.extend((0..5).map(|_| full.knock()));
            sleep(Duration::from_millis(50));
            if let Some(ended) = recording.try_wait().unwrap() {
                break ended;
            }
        };
        assert!(ended.success());

        let terminal =
            Terminal::start(80, 24, &format!("{TCPROOF} top --from {file} --for 1s; echo ended with $?; cat"));
        terminal.wait_for(&["recording · ", "LIMITING  accept queue of "]);
        terminal.press(&["("]);
        terminal.wait_for(&["NEAR      accept queue of "]);
        terminal.press(&["Space"]);
        terminal.wait_for(&["the recording ends", "LIMITING  accept queue of "]);
        terminal.press(&["["]);
        terminal.wait_for(&["recording · "]);
        terminal.press(&["q"]);
        terminal.wait_for(&["ended with 0"]);
    });
}

/// Size and key of each capture in the documentation.
const CAPTURES: [(u16, u16, &str); 4] = [(80, 24, "1"), (80, 24, "3"), (80, 24, "7"), (160, 50, "1")];

/// Tells the test below to write them, as root; and a process of its own to be the server on them.
const WRITES: &str = "TCPROOF_CAPTURES";

#[test]
fn the_captures_in_the_documentation_are_of_this_build() {
    let wanted = std::env::var(WRITES).unwrap_or_default();
    if wanted == "serve" {
        serve_slowly();
    }
    inside("the_captures_in_the_documentation", move || {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/top.md");
        let mut page = fs::read_to_string(path).unwrap();
        let is_written = !wanted.is_empty();
        let mut server = is_written.then(server);
        let netns = server.as_ref().map_or_else(here, |server| server.id().to_string());
        let terminals = CAPTURES
            .map(|(width, height, _)| Terminal::start(width, height, &format!("{TCPROOF} top --netns {netns}")));
        if is_written {
            // For something to be seen of the last minutes.
            sleep(Duration::from_secs(40));
        }
        for ((width, height, key), terminal) in CAPTURES.into_iter().zip(terminals) {
            // Not before anything was seen.
            terminal.wait_for(&["live · ", " UTC"]);
            terminal.press(&[key]);
            let shown = terminal.settled(&format!("▸{key} "));
            let start = format!("<!-- {width}x{height} {key} -->\n```text\n");
            let from = page.find(&start).unwrap_or_else(|| panic!("no {start}")) + start.len();
            let to = from + page[from..].find("\n```").unwrap();
            let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
            if is_written {
                page.replace_range(from..to, &lines.join("\n"));
                continue;
            }
            // What is in between is another host's.
            let ends = |lines: &[&str]| {
                let hints = lines.last().and_then(|line| line.split("   ").next()).map(ToString::to_string);
                (lines.first().map(ToString::to_string), hints, lines.len())
            };
            let known: Vec<_> = page[from..to].lines().collect();
            assert_eq!(ends(&known), ends(&lines), "{WRITES}=1 as root writes them anew");
        }
        if let Some(server) = &mut server {
            let _ = server.kill();
            let _ = server.wait();
            fs::write(path, page).unwrap();
        }
    });
}

/// A process, so that it can be found and has a name.
fn server() -> Child {
    let mut server = Command::new(std::env::current_exe().unwrap());
    server.args(["--exact", "the_captures_in_the_documentation_are_of_this_build"]).env(WRITES, "serve");
    server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Takes twenty connections a second, while in turns far more come.
fn serve_slowly() -> ! {
    fs::write("/proc/self/comm", "api-server").unwrap();
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    rustix::net::listen(&listener, 128).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let begun = Instant::now();
    let mut clients = std::collections::VecDeque::new();
    loop {
        let many = if begun.elapsed().as_secs() % 15 < 8 { 12 } else { 0 };
        clients.extend((0..many).map(|_| knock_at(&address)));
        clients.drain(..clients.len().saturating_sub(300));
        for _ in 0..=usize::from(many == 0) * 10 {
            let _ = listener.accept();
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    for (arguments, said) in [
        (&["top"][..], "top needs a terminal for its input and output: tcproof check prints the same verdict once"),
        (&["top", "--json"], "--json is for check"),
        (&["top", "--for", "2m"], "at most 60s"),
        (&["top", "--at", "-1m"], "--from"),
    ] {
        let output = Command::new(TCPROOF).args(arguments).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

//! `tcproof top`: the verdict and what is behind it, kept current.

mod replay;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tcproof_host::{Watcher, allow_many_files};
use tcproof_top::{App, Event, Look, Screen, Source, Step, events, run as show};

use super::{Exit, style};
use crate::cli::{Cli, OutputArgs, TopArgs};
use crate::privileges;

/// What is watched in one go.
const STEP: Duration = Duration::from_secs(1);
/// Flows chosen by each measure, and how often they are looked at: a window of five seconds has enough to judge one by.
const FLOWS: usize = 4;
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Events that wait: whoever sends more waits with them.
const WAITING: usize = 64;

/// Runs it.
pub(crate) fn run(args: &TopArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    if output.json() {
        wrong("top draws on a terminal: --json is for check, which judges the same");
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        wrong("top needs a terminal for its input and output: tcproof check prints the same verdict once");
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        wrong("top moves the cursor, which a terminal of TERM=dumb can't: tcproof check prints the same verdict once");
    }
    let style = style(output, false, false);
    let look = Look { unicode: style.unicode && !args.ascii, color: style.color };
    let (to, from) = sync_channel(WAITING);
    let mut source: Box<dyn Source> = match &args.from {
        Some(path) => Box::new(replay::begin(path, args.at, args.window, to.clone())?),
        None => Box::new(watch(args, to.clone())?),
    };
    // What is left to do here needs none.
    privileges::drop_all()?;
    stop_on_signals(to.clone())?;
    let options = tcproof_top::Options { look, window: args.window, is_replay: args.from.is_some() };
    show_all(options, &from, to, &mut *source)?;
    // Also where the terminal is gone: what was asked for was done for as long as somebody could see it.
    Ok(Exit::Done.into())
}

/// Wrong usage.
fn wrong(why: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, why).exit()
}

fn show_all(
    options: tcproof_top::Options,
    from: &Receiver<Event>,
    to: SyncSender<Event>,
    source: &mut dyn Source,
) -> anyhow::Result<()> {
    let size = tcgetwinsize(std::io::stdout()).context("asking for the terminal's size")?;
    // A terminal that does not know its size says zero.
    let (width, height) = match (size.ws_col, size.ws_row) {
        (0, _) | (_, 0) => (80, 24),
        size => size,
    };
    let mut app = App::new(options, width, height);
    let mut screen = Screen::enter(width, height).context("taking the terminal")?;
    thread::Builder::new().name("keys".into()).spawn(move || events(&to)).context("starting a thread")?;
    show(&mut app, &mut screen, from, source);
    Ok(())
}

/// SIGHUP is what a terminal that goes away sends.
fn stop_on_signals(to: SyncSender<Event>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("waiting for signals")?;
    let wait = move || {
        if signals.forever().next().is_some() {
            let _ = to.send(Event::Stop);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).context("starting a thread")?;
    Ok(())
}

/// The live host.
struct Live {
    ports: Arc<AtomicBool>,
}

impl Source for Live {
    fn count_ports(&mut self, wanted: bool) {
        self.ports.store(wanted, Ordering::Relaxed);
    }
}

/// Watches on a thread of its own, which keeps what reading needs.
fn watch(args: &TopArgs, to: SyncSender<Event>) -> anyhow::Result<Live> {
    allow_many_files();
    let options = args.netns.live(STEP);
    let mut watcher = Watcher::open(&options, Duration::ZERO)?;
    watcher.few_flows(FLOWS, SAMPLE_EVERY);
    watcher.be_patient();
    let ports = Arc::new(AtomicBool::new(false));
    let wanted = Arc::clone(&ports);
    let watch = move || {
        loop {
            watcher.read_ports(wanted.load(Ordering::Relaxed));
            let interval = watcher.step_on(STEP, &mut |_| ());
            let step = Step { wall_ms: jiff::Timestamp::now().as_millisecond(), interval };
            if to.send(Event::Step(Box::new(step))).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("watch".into()).spawn(watch).context("starting a thread")?;
    Ok(Live { ports })
}

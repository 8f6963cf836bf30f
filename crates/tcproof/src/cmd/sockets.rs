//! `tcproof sockets`: count, print; with `--watch`, again and again.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use tcproof_core::census::{self, Census, Method};
use tcproof_host::census::{Ask, census};
use tcproof_host::{Root, allow_many_files};
use tcproof_report::{record, sockets};

use super::source::{self, Source};
use super::{Exit, dump, print_to_reader, recording, shown, stop_flag, style};
use crate::cli::{BackendChoice, By, Cli, OutputArgs, SocketsArgs};
use crate::ebpf::Ebpf;
use crate::privileges;

/// How often a wait looks whether it was told to end.
const LOOK: Duration = Duration::from_millis(50);

/// Runs it.
pub(crate) fn run(args: &SocketsArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    match Source::of(&args.from, args.at, &args.netns)? {
        Some(Source::Recording(file)) => return recorded(file, args, output),
        Some(Source::Dumps(files)) => return listed(files, args, output),
        Some(Source::Saved(file)) => return Err(source::nothing(file)),
        None => {}
    }
    allow_many_files();
    let root = Root::with_proc(&args.root.dir)?;
    let ask = ask(args);
    let Some(every) = args.watch else {
        let census = census(&root, &ask, &Ebpf::default())?;
        privileges::drop_all()?;
        print_to_reader(&rendered(&census, args, output))?;
        return Ok(exit(&census, args.strict).into());
    };
    let told_to_end = stop_flag()?;
    let counter = Counter::start(root, ask)?;
    // What is left to do here needs none.
    privileges::drop_all()?;
    let in_place = !output.json() && std::io::stdout().is_terminal();
    let mut first = true;
    loop {
        let begun = Instant::now();
        let census = counter.count()?;
        let mut text = rendered(&census, args, output);
        if in_place {
            text = repainted(&text, terminal_rows());
        } else if !first && !output.json() {
            text.insert(0, '\n');
        }
        first = false;
        if !print_to_reader(&text)? {
            return Ok(Exit::Done.into());
        }
        // Where there are millions one count may take longer than that: half of the time is left to others.
        let next = every.max(begun.elapsed() * 2);
        loop {
            if told_to_end.load(Ordering::Relaxed) {
                return Ok(exit(&census, args.strict).into());
            }
            let left = next.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            sleep(LOOK.min(left));
        }
    }
}

/// Counts again and again on a thread of its own, which keeps what finding namespaces and owners needs: there may be new ones
/// in each round.
struct Counter {
    ask: SyncSender<()>,
    counted: Receiver<anyhow::Result<Census>>,
}

impl Counter {
    fn start(root: Root, ask: Ask) -> anyhow::Result<Self> {
        let (asking, asked) = sync_channel(0);
        let (counting, counted) = sync_channel(0);
        let count = move || {
            let ebpf = Ebpf::default();
            // One that counts more sockets may want another backend, and by then it can't be loaded any more.
            let walk = root.is_live() && matches!(ask.method, None | Some(Method::Bpf));
            let loaded = ebpf.load(walk, root.is_live() && ask.processes);
            if let Err(why) = loaded {
                let _ = counting.send(Err(why));
                return;
            }
            while asked.recv().is_ok() && counting.send(census(&root, &ask, &ebpf).map_err(Into::into)).is_ok() {}
        };
        thread::Builder::new().name("count".into()).spawn(count).context("starting a thread")?;
        Ok(Self { ask: asking, counted })
    }

    fn count(&self) -> anyhow::Result<Census> {
        // Where that can't be sent it has ended, and has said why.
        let _ = self.ask.send(());
        self.counted.recv().context("counting ended")?
    }
}

fn ask(args: &SocketsArgs) -> Ask {
    Ask {
        scope: args.netns.clone(),
        method: match args.backend {
            BackendChoice::Auto => None,
            BackendChoice::Netlink => Some(Method::Netlink),
            BackendChoice::Bpf => Some(Method::Bpf),
            BackendChoice::Proc => Some(Method::Proc),
        },
        port: args.port,
        top: args.top as usize,
        table: args.table as usize,
        processes: args.by == Some(By::Process),
    }
}

/// What others listed.
fn listed(files: &[PathBuf], args: &SocketsArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let (census, said) = dump::count(files, &ask(args))?;
    privileges::drop_all()?;
    let text = match output.json() {
        true => {
            say!("tcproof: {said}");
            sockets::json(&census)
        }
        false => {
            let style = style(output, args.verbose, false);
            record::line(&said, &style) + &sockets::text(&census, &style)
        }
    };
    print_to_reader(&text)?;
    Ok(exit(&census, args.strict).into())
}

/// What a recording knows, which is never all.
fn recorded(file: &Path, args: &SocketsArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    if args.by.is_some() {
        let what = format!("{}: --by is for what lists every socket, and a recording does not", shown(file));
        Cli::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    // The record that ends then.
    let recording::Recorded { interval, place } = recording::read(file, args.at, LOOK, &args.netns)?;
    privileges::drop_all()?;
    let census = census::recorded(&interval, args.top as usize, args.port);
    let said = record::header(&place, interval.window());
    let text = match output.json() {
        true => {
            say!("tcproof: {said}");
            sockets::json_of(&census, Some(&place))
        }
        false => {
            let style = style(output, args.verbose, false);
            record::line(&said, &style) + &sockets::text(&census, &style)
        }
    };
    print_to_reader(&text)?;
    let exit = match census.namespaces.len() {
        0 => Exit::Failed,
        _ if args.strict => Exit::Unseen,
        _ => Exit::Done,
    };
    Ok(exit.into())
}

fn rendered(census: &Census, args: &SocketsArgs, output: &OutputArgs) -> String {
    match output.json() {
        true => sockets::json(census),
        false => sockets::text(census, &style(output, args.verbose, false)),
    }
}

/// Nothing counted is no answer. What is missing beside an answer matters to `--strict` only.
fn exit(census: &Census, strict: bool) -> Exit {
    let counted = census.namespaces.values().any(|ns| ns.counted.value().is_some());
    let whole = census.namespaces.values().all(|ns| ns.counted.value().is_some());
    match counted {
        false => Exit::Failed,
        true if strict && !(whole && census.truncated.is_empty() && census.unseen.is_empty()) => Exit::Unseen,
        true => Exit::Done,
    }
}

fn terminal_rows() -> usize {
    terminal_size::terminal_size().map_or(24, |(_, rows)| usize::from(rows.0))
}

/// Over what stood there, line by line: clearing the screen first would flicker. What is longer than the screen would
/// scroll, and is cut.
fn repainted(text: &str, rows: usize) -> String {
    let mut painted = String::from("\x1b[H");
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    let cut = lines.len() > room;
    for line in lines.iter().take(if cut { room - 1 } else { room }) {
        painted.push_str(line);
        painted.push_str("\x1b[K\n");
    }
    if cut {
        painted.push_str(&format!("... {} more lines (--top N for fewer)\x1b[K\n", lines.len() + 1 - room));
    }
    painted.push_str("\x1b[J");
    painted
}

#[cfg(test)]
mod tests {
    use super::repainted;

    #[test]
    fn a_screen_is_painted_over_and_never_scrolls() {
        assert_eq!(repainted("a\nb\n", 24), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let cut = repainted("1\n2\n3\n4\n5\n", 4);
        assert_eq!(cut, "\x1b[H1\x1b[K\n2\x1b[K\n... 3 more lines (--top N for fewer)\x1b[K\n\x1b[J");
        assert_eq!(repainted("1\n2\n", 0).matches('\n').count(), 1);
    }
}

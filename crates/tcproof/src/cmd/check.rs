//! `tcproof check`: watch, diagnose, print.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tcproof_core::{Interval, Verdict, diagnose};
use tcproof_host::{Options, Probes, Progress, allow_many_files, observe};

use super::source::{self, Source};
use super::{Exit, dump, print, recording, style};
use crate::cli::{CheckArgs, FailOn, OutputArgs};
use crate::privileges;

/// Runs it.
pub(crate) fn run(args: &CheckArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let (interval, place, said) = match Source::of(&args.from, args.at, &args.watch.netns.scope)? {
        Some(Source::Recording(file)) => {
            let recording::Recorded { interval, place } =
                recording::read(file, args.at, args.watch.window, &args.watch.netns.scope)?;
            let said = tcproof_report::record::header(&place, interval.window());
            (interval, Some(place), Some(said))
        }
        Some(Source::Dumps(files)) => {
            let dump::Dumped { interval, said } = dump::read(files)?;
            (interval, None, Some(said))
        }
        Some(Source::Saved(file)) => return Err(source::nothing(file)),
        None => {
            let options = args.watch.options(&args.root);
            (watch(&options, &mut *args.ebpf.last_probes(), !args.quiet && !output.json())?, None, None)
        }
    };
    privileges::drop_all()?;
    let mut diagnosis = diagnose(&interval);
    args.watch.keep_port(&mut diagnosis);
    // On the screen it is the first line; whoever takes JSON, or one line, has it beside that.
    if let Some(said) = said.as_ref().filter(|_| output.json() || args.quiet) {
        say!("tcproof: {said}");
    }
    let text = match output.json() {
        true => tcproof_report::json::check_of(&diagnosis, place.as_ref()),
        false => {
            let style = style(output, args.verbose, args.quiet);
            let said = said.filter(|_| !args.quiet).map(|said| tcproof_report::record::line(&said, &style));
            let mut text = said.unwrap_or_default();
            text.push_str(&tcproof_report::text::check(&diagnosis, &style));
            if args.verbose {
                text.push_str(&tcproof_report::path::block(&interval, &style));
                text.push_str(&tcproof_report::trace::block(&interval, &style));
            }
            text
        }
    };
    print(&text)?;
    let exit = match (diagnosis.verdict(), args.fail_on) {
        (Verdict::Limiting, FailOn::Near | FailOn::Limiting) => Exit::Limiting,
        (Verdict::Near, FailOn::Near) => Exit::Near,
        _ if args.strict && !diagnosis.unknown.is_empty() => Exit::Unseen,
        _ => Exit::Done,
    };
    Ok(exit.into())
}

/// Watches, with a line that says so where a person looks.
pub(super) fn watch(options: &Options, probes: &mut dyn Probes, is_shown: bool) -> anyhow::Result<Interval> {
    allow_many_files();
    let mut line = ProgressLine::new(options.window, is_shown);
    let interval = observe(options, probes, &mut |progress| line.show(progress))?;
    line.clear();
    Ok(interval)
}

/// One line on stderr that says that something happens; only where a person looks.
struct ProgressLine {
    window: Duration,
    shown: bool,
    wanted: bool,
}

impl ProgressLine {
    fn new(window: Duration, wanted: bool) -> Self {
        Self { window, shown: false, wanted: wanted && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, progress: Progress) {
        if self.wanted {
            self.shown = true;
            let Progress { elapsed, namespaces, listeners, looks } = progress;
            let (elapsed, window) = (elapsed.as_secs_f64(), self.window.as_secs_f64());
            // A terminal that can't be written to gets no progress, and the answer goes to stdout anyway.
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[Kwatching {namespaces} namespace(s), {listeners} listener(s), {looks} looks: {elapsed:.1} of {window:.1} s"
            );
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

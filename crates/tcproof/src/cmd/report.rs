//! `tcproof report`: watch, or read what was kept, and write it down for people who were not there.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure};
use tcproof_core::{Diagnosis, Interval, Verdict, diagnose};
use tcproof_host::Root;
use tcproof_report::record::Place;
use tcproof_report::report::{self, Report};
use tcproof_report::{json, sanitize};

use super::check::watch;
use super::source::Source;
use super::{Exit, dump, plan, print, read, recording, shown};
use crate::cli::{FailOn, Format, OutputArgs, ReportArgs};
use crate::privileges;

/// Runs it.
pub(crate) fn run(args: &ReportArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let is_markdown = match output.format() {
        Format::Json => bail!("a report is HTML or Markdown (--format md); the JSON alone is tcproof check --json"),
        Format::Md => true,
        Format::Html => false,
        _ => args.output.as_deref().and_then(Path::extension).is_some_and(|extension| extension == "md"),
    };
    // Before anybody waits for it.
    let is_seen = args.output.is_none() && !is_markdown && std::io::stdout().is_terminal();
    ensure!(!is_seen, "HTML is for a browser: name a file with -o report.html, or ask for --format md");
    let mut found = match Source::of(&args.from, args.at, &args.watch.netns.scope)? {
        Some(Source::Recording(file)) => recorded(file, args)?,
        Some(Source::Dumps(files)) => dumped(files)?,
        Some(Source::Saved(file)) => saved(file)?,
        None => watched(args)?,
    };
    match args.output {
        Some(_) => privileges::keep_for_files()?,
        None => privileges::drop_all()?,
    }
    args.watch.keep_port(&mut found.diagnosis);
    let Found { diagnosis, interval, source, place, is_live } = found;
    // Elsewhere an inode means nothing.
    let namespaces = interval.as_ref().filter(|_| is_live).map(plan::namespaces_in);
    let plan = plan::make(&diagnosis.findings, &diagnosis.host.name, &diagnosis.host.kernel, namespaces, &[]);
    let made_at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let report = Report {
        diagnosis: &diagnosis,
        interval: interval.as_ref(),
        plan: Some(&plan),
        source: source.as_deref(),
        made_at: &made_at,
        version: env!("CARGO_PKG_VERSION"),
        json: &json::check_of(&diagnosis, place.as_ref()),
        change: None,
    };
    let text = if is_markdown { report::markdown(&report) } else { report::html(&report) };
    match &args.output {
        Some(file) => plan::replace(file, &text, report::is_ours, "no report of tcproof")?,
        None => print(&text)?,
    }
    let exit = match (diagnosis.verdict(), args.fail_on) {
        (Verdict::Limiting, FailOn::Near | FailOn::Limiting) => Exit::Limiting,
        (Verdict::Near, FailOn::Near) => Exit::Near,
        _ => Exit::Done,
    };
    Ok(exit.into())
}

/// What is reported.
struct Found {
    diagnosis: Diagnosis,
    interval: Option<Interval>,
    source: Option<String>,
    place: Option<Place>,
    is_live: bool,
}

fn watched(args: &ReportArgs) -> anyhow::Result<Found> {
    let options = args.watch.options(&args.root);
    let interval = watch(&options, &mut *args.ebpf.last_probes(), true)?;
    let is_live = Root::new(&args.root.dir).is_live();
    let source = (!is_live).then(|| format!("the directory {}", shown(&args.root.dir)));
    Ok(Found { diagnosis: diagnose(&interval), interval: Some(interval), source, place: None, is_live })
}

fn recorded(file: &Path, args: &ReportArgs) -> anyhow::Result<Found> {
    let recording::Recorded { interval, place } =
        recording::read(file, args.at, args.watch.window, &args.watch.netns.scope)?;
    let source = Some(tcproof_report::record::header(&place, interval.window()));
    Ok(Found { diagnosis: diagnose(&interval), interval: Some(interval), source, place: Some(place), is_live: false })
}

fn dumped(files: &[PathBuf]) -> anyhow::Result<Found> {
    let dump::Dumped { interval, said } = dump::read(files)?;
    Ok(Found {
        diagnosis: diagnose(&interval),
        interval: Some(interval),
        source: Some(said),
        place: None,
        is_live: false,
    })
}

fn saved(file: &Path) -> anyhow::Result<Found> {
    let name = shown(file);
    let saved = json::read(&read(file)?).map_err(|why| anyhow::anyhow!("{name}: {}", sanitize(&why)))?;
    let source = Some(format!("the saved check {name}"));
    Ok(Found { diagnosis: saved.into_diagnosis(), interval: None, source, place: None, is_live: false })
}

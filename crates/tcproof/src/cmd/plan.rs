//! `tcproof plan`: watch or read a saved check, and say what would be changed; changes nothing but its own file.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use tcproof_core::plan::{Making, Plan, plan};
use tcproof_core::{Diagnosis, Finding, Interval, Verdict, diagnose};
use tcproof_host::{Root, Scope};
use tcproof_report::{json, plan as report, sanitize};

use super::check::watch;
use super::source::Source;
use super::{Exit, dump, print, read, recording, shown, style};
use crate::cli::{Format, OutputArgs, PlanArgs};
use crate::privileges;

/// Runs it.
pub(crate) fn run(args: &PlanArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let found = match Source::of(&args.from, args.at, &args.watch.netns.scope)? {
        Some(Source::Recording(file)) => recorded(file, args)?,
        Some(Source::Dumps(files)) => dumped(files)?,
        Some(Source::Saved(file)) => saved(file)?,
        None => watched(args, output)?,
    };
    match args.output {
        Some(_) => privileges::keep_for_files()?,
        None => privileges::drop_all()?,
    }
    let plan = make(&found.findings, &found.host, &found.kernel, found.namespaces.clone(), &args.with);
    for knob in args.with.iter().filter(|knob| !found.asks_for(knob)) {
        say!("tcproof: --with {knob}: no finding asks for it");
    }
    match (&args.output, output.format()) {
        (None, format) => print(&face(&plan, &found, format, None, output)?)?,
        (Some(file), Format::Text) => {
            let is_json = file.extension().is_some_and(|extension| extension == "json");
            write(file, &face(&plan, &found, if is_json { Format::Json } else { Format::Toml }, None, output)?)?;
            print(&face(&plan, &found, Format::Text, Some(file), output)?)?;
        }
        (Some(file), format) => write(file, &face(&plan, &found, format, None, output)?)?,
    }
    let exit = match () {
        () if args.check && !plan.is_empty() => Exit::Pending,
        () if args.strict && found.is_blind => Exit::Unseen,
        () => Exit::Done,
    };
    Ok(exit.into())
}

/// A plan of now.
pub(super) fn make(
    findings: &[Finding],
    host: &str,
    kernel: &str,
    namespaces: Option<BTreeMap<String, u64>>,
    wanted: &[String],
) -> Plan {
    let now = jiff::Timestamp::now();
    let made_at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let id = format!("{}-{:04x}", now.strftime("%Y%m%dT%H%M%SZ"), RandomState::new().build_hasher().finish() as u16);
    plan(findings, &Making { id: &id, host, kernel, made_at: &made_at, namespaces, wanted })
}

/// What a plan is made from.
struct Found {
    host: String,
    kernel: String,
    verdict: Verdict,
    findings: Vec<Finding>,
    /// Whether something could not be seen.
    is_blind: bool,
    /// `None` where they can't be looked up: behind a directory, or on another machine.
    namespaces: Option<BTreeMap<String, u64>>,
}

impl Found {
    fn of(diagnosis: Diagnosis, namespaces: Option<BTreeMap<String, u64>>) -> Self {
        Self {
            verdict: diagnosis.verdict(),
            is_blind: !diagnosis.unknown.is_empty(),
            host: diagnosis.host.name,
            kernel: diagnosis.host.kernel,
            findings: diagnosis.findings,
            namespaces,
        }
    }

    fn asks_for(&self, knob: &str) -> bool {
        self.findings.iter().flat_map(|finding| &finding.remedies).any(|remedy| remedy.knob.as_deref() == Some(knob))
    }
}

fn watched(args: &PlanArgs, output: &OutputArgs) -> anyhow::Result<Found> {
    let options = args.watch.options(&args.root);
    let interval = watch(&options, &mut *args.ebpf.last_probes(), output.format() == Format::Text)?;
    let mut diagnosis = diagnose(&interval);
    args.watch.keep_port(&mut diagnosis);
    let namespaces = Root::new(&args.root.dir).is_live().then(|| namespaces_in(&interval));
    Ok(Found::of(diagnosis, namespaces))
}

fn recorded(file: &Path, args: &PlanArgs) -> anyhow::Result<Found> {
    let recording::Recorded { interval, place } =
        recording::read(file, args.at, args.watch.window, &args.watch.netns.scope)?;
    say!("tcproof: {}", tcproof_report::record::header(&place, interval.window()));
    let diagnosis = diagnose(&interval);
    let namespaces = namespaces_of(&diagnosis.host.name)?;
    Ok(Found::of(diagnosis, namespaces))
}

fn dumped(files: &[PathBuf]) -> anyhow::Result<Found> {
    let dump::Dumped { interval, said } = dump::read(files)?;
    say!("tcproof: {said}");
    // On this host or another one: a dump's namespaces have no numbers of their own.
    Ok(Found::of(diagnose(&interval), None))
}

/// The namespaces that were watched, by name.
pub(super) fn namespaces_in(interval: &Interval) -> BTreeMap<String, u64> {
    interval.after.namespaces.iter().map(|(id, ns)| (ns.name.clone(), id.0)).collect()
}

/// The namespaces as they are now, if that is this host.
fn namespaces_of(host: &str) -> anyhow::Result<Option<BTreeMap<String, u64>>> {
    let root = Root::new("/");
    if tcproof_host::knob(&root, "kernel.hostname").value().is_none_or(|name| name != host) {
        return Ok(None);
    }
    let found = tcproof_host::namespaces(&root, &Scope::All)?;
    Ok(Some(found.into_iter().map(|(name, id)| (name, id.0)).collect()))
}

fn saved(file: &Path) -> anyhow::Result<Found> {
    let shown = shown(file);
    let text = read(file)?;
    let saved = json::read(&text).map_err(|why| anyhow::anyhow!("{shown}: {}", sanitize(&why)))?;
    let namespaces = namespaces_of(&saved.host.name)?;
    Ok(Found {
        host: saved.host.name,
        kernel: saved.host.kernel,
        verdict: saved.verdict,
        is_blind: !saved.unknown.is_empty(),
        findings: saved.findings,
        namespaces,
    })
}

fn face(
    plan: &Plan,
    found: &Found,
    format: Format,
    file: Option<&Path>,
    output: &OutputArgs,
) -> anyhow::Result<String> {
    Ok(match format {
        Format::Json => report::json(plan),
        Format::Toml => report::toml(plan)?,
        Format::Sysctl => report::sysctl(plan),
        Format::Ansible => report::ansible(plan),
        Format::Kubernetes => report::kubernetes(plan),
        Format::Systemd => report::systemd(plan),
        Format::Tuned => report::tuned(plan),
        // The others are of other verbs, and were refused.
        Format::Text | Format::Sarif | Format::Diff | Format::Html | Format::Md => {
            let file = file.map(|file| file.display().to_string());
            let next = report::Next { verdict: found.verdict, file: file.as_deref() };
            report::text(plan, next, &style(output, false, false))
        }
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    replace(path, text, report::is_ours, "neither a plan nor made from one")
}

/// Writes a file at once: whoever looks sees the old one or the new one. What is not ours stays as it is.
pub(super) fn replace(path: &Path, text: &str, is_ours: fn(&str) -> bool, is_not: &str) -> anyhow::Result<()> {
    let shown = shown(path);
    let old = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => bail!("{shown}: expected a file, found a directory"),
        // A pipe, or /dev/stdout.
        Ok(meta) if !meta.is_file() => return fs::write(path, text).with_context(|| shown),
        Ok(_) => {
            let old = read(path).unwrap_or_default();
            let is_ours = fs::metadata(path).is_ok_and(|meta| meta.len() == 0) || is_ours(&old);
            ensure!(is_ours, "{shown}: not overwritten, as it is {is_not}: name another file");
            Some(old)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| shown),
    };
    // A link stays one.
    let path = &*if old.is_some() { fs::canonicalize(path).with_context(|| shown)? } else { path.to_path_buf() };
    tcproof_apply::put(path, old.as_deref().map(str::as_bytes), text.as_bytes())
        .map_err(|error| anyhow::anyhow!("{}", sanitize(&error.to_string())))
}

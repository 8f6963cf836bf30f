//! `tcproof plan`: watch or read a saved check, and say what would be changed; changes nothing but its own file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use tcproof_core::plan::{Making, Plan, plan};
use tcproof_core::{Finding, Verdict, diagnose};
use tcproof_host::{Options, Root, Scope, allow_many_files, observe};
use tcproof_report::{json, plan as report, sanitize};

use super::check::ProgressLine;
use super::{Exit, print, style};
use crate::cli::{Format, OutputArgs, PlanArgs};

/// A saved check, or a plan: far more than either ever is.
const MOST_BYTES: u64 = 64 << 20;

/// Runs it.
pub(crate) fn run(args: &PlanArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let found = match &args.from {
        Some(file) => saved(file)?,
        None => watched(args, output)?,
    };
    let now = jiff::Timestamp::now();
    let made_at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let id = format!("{}-{:04x}", now.strftime("%Y%m%dT%H%M%SZ"), RandomState::new().build_hasher().finish() as u16);
    let plan = plan(
        &found.findings,
        &Making {
            id: &id,
            host: &found.host,
            kernel: &found.kernel,
            made_at: &made_at,
            namespaces: found.namespaces.clone(),
            wanted: &args.with,
        },
    );
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
    fn asks_for(&self, knob: &str) -> bool {
        self.findings.iter().flat_map(|finding| &finding.remedies).any(|remedy| remedy.knob.as_deref() == Some(knob))
    }
}

fn watched(args: &PlanArgs, output: &OutputArgs) -> anyhow::Result<Found> {
    let options = Options { root: args.root.clone(), window: args.window, scope: args.netns.clone() };
    allow_many_files();
    let mut line = ProgressLine::new(args.window, output.format() == Format::Text);
    let interval = observe(&options, &mut |progress| line.show(progress))?;
    line.clear();
    let mut diagnosis = diagnose(&interval);
    if let Some(port) = args.port {
        diagnosis.keep_port(port);
    }
    let namespaces = interval.after.namespaces.iter().map(|(id, ns)| (ns.name.clone(), id.0)).collect();
    Ok(Found {
        host: diagnosis.host.name.clone(),
        kernel: diagnosis.host.kernel.clone(),
        verdict: diagnosis.verdict(),
        is_blind: !diagnosis.unknown.is_empty(),
        findings: diagnosis.findings,
        namespaces: Root::new(&args.root).is_live().then_some(namespaces),
    })
}

fn saved(file: &Path) -> anyhow::Result<Found> {
    let shown = shown(file);
    let text = read(file)?;
    let saved = json::read(&text).map_err(|why| anyhow::anyhow!("{shown}: {}", sanitize(&why)))?;
    let root = Root::new("/");
    let is_of_here = tcproof_host::knob(&root, "kernel.hostname").value().is_some_and(|name| *name == saved.host.name);
    let namespaces = match is_of_here {
        true => {
            Some(tcproof_host::namespaces(&root, &Scope::All)?.into_iter().map(|(name, id)| (name, id.0)).collect())
        }
        false => None,
    };
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
        // The others are lint's, and were refused.
        Format::Text | Format::Sarif | Format::Diff => {
            let file = file.map(|file| file.display().to_string());
            let next = report::Next { verdict: found.verdict, file: file.as_deref() };
            report::text(plan, next, &style(output, false, false))
        }
    })
}

/// A file's text, which may be hostile in size too.
fn read(path: &Path) -> anyhow::Result<String> {
    let shown = shown(path);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| shown.clone())?;
    ensure!(bytes.len() as u64 <= MOST_BYTES, "{shown}: expected at most 64 MiB");
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown}: expected UTF-8"))
}

/// Writes a file at once: whoever looks sees the old one or the new one. What is no plan stays as it is.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = shown(path);
    let (path, is_new) = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => bail!("{shown}: expected a file, found a directory"),
        // A pipe, or /dev/stdout.
        Ok(meta) if !meta.is_file() => return fs::write(path, text).with_context(|| shown),
        Ok(meta) => {
            let is_ours = meta.len() == 0 || read(path).is_ok_and(|old| report::is_ours(&old));
            ensure!(is_ours, "{shown}: not overwritten, as it is neither a plan nor made from one: name another file");
            (fs::canonicalize(path).with_context(|| shown.clone())?, false)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (path.to_path_buf(), true),
        Err(error) => return Err(error).with_context(|| shown),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let put = || {
        let mode = fs::Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new().prefix(".tcproof-").permissions(mode).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        // A file that came meanwhile is somebody's.
        let put = if is_new { file.persist_noclobber(&path) } else { file.persist(&path) };
        put.map(drop).map_err(|error| error.error)
    };
    put().with_context(|| shown)
}

/// A path in a message.
fn shown(path: &Path) -> String {
    sanitize(&path.to_string_lossy()).into_owned()
}

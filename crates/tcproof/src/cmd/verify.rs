//! `tcproof verify`: watch, let somebody make a change, watch again, and say whether it helped. Changes nothing itself.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::CommandFactory;
use clap::error::ErrorKind;
use tcproof_core::plan::{Change, Making, Plan, Reason, plan};
use tcproof_core::snapshot::NetnsId;
use tcproof_core::verify::{Observation, Outcome, Verification, settle, verify};
use tcproof_host::{Options, Scope};
use tcproof_report::{sanitize, verify as report};

use super::change::{now, read_plan};
use super::change_report::{self, Changed};
use super::check::watch;
use super::{Exit, print, stop_flag, style};
use crate::cli::{Cli, OutputArgs, ProbeArgs, VerifyArgs};
use crate::privileges;

/// How often it is looked whether a command has ended, or somebody wants it all to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How long a command may take: a service that needs longer to restart is not up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it.
pub(crate) fn run(args: &VerifyArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let plan = args.plan.as_deref().map(read_plan).transpose()?;
    if args.command.is_empty() && !std::io::stdin().is_terminal() {
        let what = "nobody can be asked here when the change is made: -- COMMAND makes it";
        Cli::command().error(ErrorKind::MissingRequiredArgument, what).exit();
    }
    args.report.as_deref().map(change_report::ensure_writable).transpose()?;
    let stop = stop_flag()?;
    let scope = &args.netns.scope;
    let before = observation(args.window, scope, args.ebpf)?;
    let reasons = reasons(plan.as_ref(), &before, args.port);
    ensure!(!reasons.is_empty(), "there is nothing to verify: nothing limits TCP here now, and no plan says what did");
    for reason in &reasons {
        say!("  {}", sanitize(&reason.summary));
    }
    match &args.command[..] {
        [] => {
            say!("tcproof: make the change now, then press Enter");
            std::io::stdin().lock().read_line(&mut String::new())?;
        }
        command => run_command(command, &stop)?,
    }
    let at = now();
    let changes = plan.map(|plan| plan.changes).unwrap_or_default();
    let (seconds, slow) = settle(&changes);
    pause(args.settle.unwrap_or(Duration::from_secs(seconds.into())), slow, &stop);
    ensure!(!stop.load(Ordering::Relaxed), "interrupted");
    let after = observation(args.window, scope, args.ebpf)?;
    let verification = verify(&reasons, &before, &after);
    show(&verification, output)?;
    if let Some(file) = &args.report {
        privileges::keep_for_files()?;
        let (verification, before, after) = (&verification, &before, &after);
        let changed = Changed { verification, before, after, plan: None, command: &args.command, at: &at, ended: None };
        changed.write(file)?;
    }
    Ok(match verification.outcome {
        Outcome::Cured | Outcome::Better => Exit::Done,
        Outcome::NoEffect | Outcome::Worse => Exit::Limiting,
        Outcome::Unknown | Outcome::TooDifferent => Exit::Failed,
    }
    .into())
}

/// What is judged: what a plan is for, else what was found.
fn reasons(plan: Option<&Plan>, before: &Observation, port: Option<u16>) -> Vec<Reason> {
    if let Some(plan) = plan {
        return plan.findings.clone();
    }
    let mut diagnosis = before.diagnosis.clone();
    if let Some(port) = port {
        diagnosis.keep_port(port);
    }
    plan_of(&diagnosis.findings).findings
}

fn plan_of(findings: &[tcproof_core::Finding]) -> Plan {
    plan(findings, &Making::default())
}

/// The namespaces in which a plan changes something, called as it calls them; all where that exists once per kernel.
pub(crate) fn scope_of(plan: &Plan) -> Scope {
    let known = |change: &Change| Some((change.namespace.name.clone(), NetnsId(change.namespace.inode?)));
    let mut known: Vec<_> = plan.changes.iter().filter_map(known).collect();
    let is_global = plan.changes.iter().any(|change| change.namespace.inode.is_none());
    if known.is_empty() || is_global {
        // One that was asked for by its inode (--netns) has that for a name, and would have another one among all.
        let names = plan.findings.iter().filter_map(|reason| reason.subject.netns());
        known.extend(names.filter_map(|name| Some((name.to_string(), NetnsId(name.parse().ok()?)))));
        return Scope::Several(vec![Scope::Known(known), Scope::All]);
    }
    Scope::Known(known)
}

/// One window.
pub(crate) fn observation(window: Duration, scope: &Scope, ebpf: ProbeArgs) -> anyhow::Result<Observation> {
    let options = Options { root: Path::new("/").into(), window, scope: scope.clone(), ports: true };
    Ok(Observation::new(watch(&options, &mut *ebpf.probes(), true)?))
}

/// Waits until a change shows, or somebody wants it to stop.
pub(crate) fn pause(time: Duration, slow: Option<&str>, stop: &AtomicBool) {
    if let Some(knob) = slow.filter(|_| time > Duration::from_secs(5)) {
        let seconds = time.as_secs();
        say!("tcproof: waiting for {seconds} s: the room that {knob} makes fills up as long as TIME_WAIT lasts");
    }
    let end = Instant::now() + time;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Runs what somebody wants to be done, and says what it says on stderr: stdout is ours.
pub(crate) fn run_command(command: &[String], stop: &AtomicBool) -> anyhow::Result<()> {
    let shown = sanitize(&command.join(" ")).into_owned();
    let (program, arguments) = command.split_first().context("an empty command")?;
    say!("tcproof: running {shown}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .spawn()
        .with_context(|| shown.clone())?;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().with_context(|| shown.clone())? {
            ensure!(status.success(), "{shown}: {status}");
            return Ok(());
        }
        let is_late = Instant::now() > end;
        if is_late || stop.load(Ordering::Relaxed) {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
            match is_late {
                true => bail!("{shown}: still running after {} s, and ended", PATIENCE.as_secs()),
                false => bail!("interrupted"),
            }
        }
        sleep(LOOK);
    }
}

/// The table of before and after.
pub(crate) fn show(verification: &Verification, output: &OutputArgs) -> anyhow::Result<()> {
    // What was said on stderr comes first where both are one screen.
    let _ = std::io::stderr().flush();
    print(&match output.json() {
        true => report::json(verification),
        false => report::text(verification, &style(output, false, false)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcproof_core::plan::Making;
    use tcproof_core::{Finding, Remedy};

    fn scope(netns: &str, knob: &str, from: &str, to: &str, inode: u64) -> Scope {
        let json = r#"{"limit": "accept-queue", "state": "limiting", "cause": "x", "confidence": "proven", "summary": "x",
            "subject": {"kind": "netns", "netns": "NETNS"}, "evidence": [], "ruled_out": [], "remedies": []}"#;
        let mut finding: Finding = serde_json::from_str(&json.replace("NETNS", netns)).expect("a finding");
        finding.remedies = vec![Remedy::knob("x", knob, from, to)];
        let namespaces = Some([(netns.to_string(), inode)].into());
        scope_of(&plan(&[finding], &Making { namespaces, ..Making::default() }))
    }

    #[test]
    fn a_plan_is_judged_where_it_changes_something() {
        let known = |name: &str| Scope::Known(vec![(name.into(), NetnsId(7))]);
        assert_eq!(scope("web", "net.core.somaxconn", "128", "4096", 7), known("web"));
        let global = scope("web", "net.netfilter.nf_conntrack_max", "262144", "393216", 7);
        assert_eq!(global, Scope::Several(vec![Scope::Known(vec![]), Scope::All]));
        let by_inode = scope("7", "net.netfilter.nf_conntrack_max", "262144", "393216", 7);
        assert_eq!(by_inode, Scope::Several(vec![known("7"), Scope::All]));
    }
}

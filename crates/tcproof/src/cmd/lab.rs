//! `tcproof lab`: reproduces failures on the running kernel, in namespaces of its own.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tcproof_lab::run::Error;
use tcproof_lab::scenario::Planned;
use tcproof_lab::statistics::Statistics;
use tcproof_lab::{
    Cure, Measured, Outcome, Program, Progress, Scenario, Verdict, catalog, kit, run as run_scenario, visit,
};
use tcproof_report::{Style, page, sanitize, text};

use super::lab_cure::{self, ByCommand, ByPlan};
use super::{print, style};
use crate::cli::{OutputArgs, ProbeArgs};

/// Arguments of `tcproof lab`.
#[derive(clap::Args, Debug)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    verb: LabVerb,
}

#[derive(clap::Subcommand, Debug)]
enum LabVerb {
    /// The scenarios that come with tcproof
    List,
    /// Run a scenario: the failure, what check says about it, the remedy, and the numbers after it (needs root)
    Run {
        /// A scenario's name, `all`, or a scenario file
        #[arg(required = true, value_name = "NAME|all|FILE")]
        scenarios: Vec<String>,
        /// Go on after a scenario that failed
        #[arg(long)]
        keep_going: bool,
        /// A skipped scenario is exit code 3
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        how: How,
    },
    /// Start a scenario and open a shell inside its server's namespace (needs root)
    Shell {
        /// A scenario's name or file
        #[arg(value_name = "NAME|FILE")]
        scenario: String,
    },
}

/// How a scenario is cured; by its own remedy unless one of these says otherwise.
#[derive(clap::Args, Debug)]
struct How {
    /// Cure it as a user would: plan, apply --confirm verified (or verify, around what only people can do), rollback
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    ebpf: ProbeArgs,
    /// Cure it by this command (sh -c), which finds the namespaces' files in TCPROOF_LAB_CLIENT and TCPROOF_LAB_SERVER
    #[arg(long, value_name = "COMMAND", conflicts_with = "apply")]
    cure: Option<String>,
    /// Take that cure back by this command; then every knob must be what it was
    #[arg(long, value_name = "COMMAND", requires = "cure")]
    undo: Option<String>,
    /// Then the servers listen again and transfers begin anew, as after the restart that some changed knobs want
    #[arg(long, requires = "cure")]
    restart: bool,
}

impl How {
    fn cure(&self) -> Result<Option<Box<dyn Cure>>> {
        Ok(match &self.cure {
            _ if self.apply => Some(Box::new(ByPlan::new().context("making a folder for the plan")?)),
            Some(command) => Some(Box::new(ByCommand::new(command.clone(), self.undo.clone(), self.restart))),
            None => None,
        })
    }
}

/// Arguments of a lab worker: what its command line shows to whoever looks, which is all they are for.
#[derive(clap::Args, Debug)]
pub(crate) struct WorkerArgs {
    /// The backlog that it asks for
    #[arg(long)]
    backlog: Option<u32>,
}

/// A server or load of the lab; `tcproof lab` starts it.
pub(crate) fn worker(_: &WorkerArgs) -> ExitCode {
    tcproof_lab::worker::main()
}

/// What `tcproof lab run --apply` gives to `apply` and `verify` as the command that makes a change: the lab makes it.
#[derive(clap::Args, Debug)]
pub(crate) struct HandoverArgs {
    /// Where the two meet
    folder: PathBuf,
}

/// Asks the lab to act.
pub(crate) fn handover(args: &HandoverArgs) -> Result<ExitCode> {
    lab_cure::handover(&args.folder)
}

/// Runs `tcproof lab`.
pub(crate) fn run(args: LabArgs, output: &OutputArgs) -> Result<ExitCode> {
    match args.verb {
        LabVerb::List => list(output),
        LabVerb::Run { scenarios, keep_going, strict, how } => {
            let mut chosen = Vec::new();
            for name in &scenarios {
                chosen.extend(find(name)?);
            }
            run_all(&chosen, &how, output, keep_going, strict)
        }
        LabVerb::Shell { scenario } => match &find(&scenario)?[..] {
            [scenario] => shell(scenario, output),
            _ => bail!("one scenario at a time has a shell"),
        },
    }
}

fn find(name: &str) -> Result<Vec<Scenario>> {
    if name == "all" {
        return Ok(catalog::all()?);
    }
    if let Some(scenario) = catalog::by_name(name) {
        return Ok(vec![scenario?]);
    }
    if !name.contains('/') && !Path::new(name).exists() {
        bail!("there is no scenario {name:?}, and no such file: `tcproof lab list` names the scenarios");
    }
    let text = std::fs::read_to_string(name).with_context(|| format!("reading {name}"))?;
    Ok(vec![Scenario::parse(name, &text)?])
}

fn list(output: &OutputArgs) -> Result<ExitCode> {
    let scenarios = catalog::all()?;
    let needs = |s: &Scenario| s.needs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = if output.json() {
        let entries: Vec<_> = scenarios
            .iter()
            .map(|s| {
                let mut entry = json!({"name": s.name, "about": s.about, "needs": needs(s)});
                // Absent for a healthy scenario, not null.
                if let (Some(limit), Some(cause)) = (&s.limit, &s.cause) {
                    entry["limit"] = json!(limit.0);
                    entry["cause"] = json!(cause.get_ref());
                }
                if s.plan != Planned::default() {
                    entry["plan"] = json!({"changes": s.plan.changes.iter().map(|knob| &*knob.0).collect::<Vec<_>>()});
                    if let Some(outcome) = s.plan.outcome {
                        entry["plan"]["outcome"] = json!(outcome);
                    }
                }
                entry
            })
            .collect();
        pretty(&json!({"schema": "tcproof/lab-list/1", "scenarios": entries}))?
    } else {
        let what = |s: &Scenario| match needs(s) {
            none if none.is_empty() => s.truth(),
            needs => format!("{}  (needs {})", s.truth(), needs.join(", ")),
        };
        page::entries(scenarios.iter().map(|s| (&*s.name, what(s), &*s.about)), &style(output, false, false))
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn program() -> Result<Program> {
    let path = std::env::current_exe().context("finding this program's own file")?;
    Ok(Program { path: path.into(), args: vec![OsString::from("lab-worker")] })
}

fn run_all(scenarios: &[Scenario], how: &How, output: &OutputArgs, keep_going: bool, strict: bool) -> Result<ExitCode> {
    kit::cleanup::catch_signals().context("catching Ctrl-C")?;
    let program = program()?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in scenarios {
        let mut screen = Screen::new(output);
        if !outcomes.is_empty() {
            screen.write("\n");
        }
        screen.line(0, &format!("{} · {}", scenario.name, scenario.truth()));
        screen.line(2, &scenario.about);
        let mut cure = how.cure()?;
        let cure = cure.as_mut().map(|cure| &mut **cure as &mut dyn Cure);
        let outcome = match run_scenario(scenario, &program, cure, &mut *how.ebpf.probes(), &mut |progress| {
            screen.show(&progress)
        }) {
            Ok(outcome) => outcome,
            Err(Error::Interrupted) => bail!(Error::Interrupted),
            Err(error) if keep_going => Outcome::broken(scenario, &error),
            Err(error) => return Err(error).with_context(|| format!("scenario {}", scenario.name)),
        };
        screen.verdict(&outcome);
        let failed = outcome.verdict == Verdict::Fail;
        outcomes.push(outcome);
        if failed && !keep_going {
            break;
        }
    }
    if output.json() {
        print(&pretty(&json!({"schema": "tcproof/lab/1", "outcomes": outcomes}))?)?;
    }
    let any = |verdict| outcomes.iter().any(|outcome| outcome.verdict == verdict);
    Ok(if any(Verdict::Fail) {
        ExitCode::from(1)
    } else if strict && any(Verdict::Skip) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

/// Shows a run as it happens: the story on standard output, each second's numbers on a terminal's standard error.
struct Screen {
    quiet: bool,
    live: bool,
    style: Style,
}

impl Screen {
    fn new(output: &OutputArgs) -> Self {
        Self { quiet: output.json(), live: io::stderr().is_terminal(), style: style(output, false, false) }
    }

    /// A line of the story. Names and sentences come from a scenario file, which may be anybody's.
    fn line(&self, indent: usize, text: &str) {
        self.write(&page::line(indent, text, &self.style));
    }

    fn write(&self, text: &str) {
        if !self.quiet {
            // A closed pipe must not keep the lab from cleaning up.
            let _ = write!(io::stdout(), "{text}");
        }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Phase(what) => self.line(2, &format!("· {what}")),
            Progress::Second { worker, statistics } if self.live => {
                let _ = writeln!(io::stderr(), "      {}: {}", sanitize(worker), in_words(statistics));
            }
            Progress::Second { .. } => {}
            Progress::Diagnosed(diagnosis) => {
                self.line(2, "check says");
                let style = Style { width: self.style.width.saturating_sub(4), ..self.style };
                text::check(diagnosis, &style).lines().for_each(|line| self.write(&format!("    {line}\n")));
            }
            Progress::Measured { when, measured } => {
                self.line(2, &format!("{when}:"));
                numbers(measured).iter().for_each(|line| self.line(4, line));
            }
        }
    }

    fn verdict(&self, outcome: &Outcome) {
        let word = match outcome.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "SKIP",
        };
        self.line(2, &format!("{word} {} ({:.1} s)", outcome.scenario, outcome.seconds));
        let goodput = |measured: &Option<Measured>| measured.as_ref().and_then(|measured| measured.goodput_mbit);
        if let (Some(before), Some(after)) = (goodput(&outcome.before), goodput(&outcome.after)) {
            self.line(4, &format!("goodput {before:.1} → {after:.1} Mbit/s"));
        }
        outcome.reasons.iter().for_each(|reason| self.line(4, reason));
    }
}

fn numbers(measured: &Measured) -> Vec<String> {
    let symptom = measured.symptom.map(|n| format!("symptom {n} in {:.1} s", measured.seconds));
    let goodput = measured.goodput_mbit.map(|mbit| format!("goodput {mbit:.1} Mbit/s"));
    let workers = measured.workers.iter().map(|(name, statistics)| format!("{name} {}", in_words(statistics)));
    symptom.into_iter().chain(goodput).chain(workers).collect()
}

fn in_words(statistics: &Statistics) -> String {
    let mut words = Vec::new();
    let rate = |n: u64| (n as f64 / statistics.seconds.max(0.001)).round();
    for (what, n) in [
        ("started", statistics.started),
        ("connected", statistics.connected),
        ("accepted", statistics.accepted),
        ("answered", statistics.answered),
    ] {
        if n > 0 {
            words.push(format!("{what} {}/s", rate(n)));
        }
    }
    if let Some(mbit) = statistics.goodput_mbit {
        words.push(format!("{mbit:.1} Mbit/s"));
    }
    if statistics.progressed > 0 {
        words.push(format!("{} of them moved", statistics.progressed));
    }
    if statistics.passed > 0 {
        words.push(format!("passed {} packets/s", rate(statistics.passed)));
    }
    words.extend(statistics.dropped.iter().map(|(why, n)| format!("dropped {n} ({why})")));
    words.extend(statistics.failed.iter().map(|(why, n)| format!("{why} {n}")));
    // A link has no connections.
    if statistics.passed == 0 && statistics.dropped.is_empty() {
        words.push(format!("open {}", statistics.open));
    }
    if let Some(handshake) = &statistics.handshake_ms {
        words.push(format!("handshake p50 {:.2} p99 {:.2} max {:.0} ms", handshake.p50, handshake.p99, handshake.max));
    }
    if let Some(call) = statistics.call_us.filter(|_| statistics.slow_calls > 0) {
        words.push(format!("connect(2) p50 {:.0} p99 {:.0} µs, {} slow", call.p50, call.p99, statistics.slow_calls));
    }
    words.join(", ")
}

fn shell(scenario: &Scenario, output: &OutputArgs) -> Result<ExitCode> {
    kit::cleanup::catch_signals().context("catching Ctrl-C")?;
    let mut screen = Screen::new(output);
    let status = visit(scenario, &program()?, &mut |progress| screen.show(&progress), |client, server| {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        // To standard error: the shell's own output stays its own.
        say!("tcproof: a shell in the server's namespace; `nsenter --net=$TCPROOF_LAB_CLIENT` is the client's");
        // A thread of its own, because entering a namespace is for good.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                kit::netns::enter(server)?;
                Command::new(shell).env("TCPROOF_LAB_CLIENT", client).env("TCPROOF_LAB_SERVER", server).status()
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the shell's thread panicked")))
        })
    })?;
    status.context("running the shell")?;
    Ok(ExitCode::SUCCESS)
}

//! One scenario from an empty namespace to the proof that its remedy worked.

mod judge;
mod measure;
mod stage;
mod start;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tcproof_core::{Diagnosis, State, diagnose};
use tcproof_host::{Options, Probes, Scope, observe};

use crate::kit::cleanup::{self, Cleanup};
use crate::kit::machine::{self, Knobs};
use crate::kit::{self, sockdiag};
use crate::scenario::{Global, Need, Scenario, Side};
use crate::statistics::Statistics;
use crate::topology::Topology;
use crate::workers::{Program, Workers};
use judge::judge;
pub use measure::Measured;
use measure::Meter;
pub use stage::{Cure, Cured, Stage};
use start::start;

/// Why a run ended without an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network kit failed.
    #[error(transparent)]
    Kit(#[from] kit::Error),
    /// The check could not look.
    #[error(transparent)]
    Observe(#[from] tcproof_host::Error),
    /// The lab itself failed.
    #[error("{0}")]
    Lab(String),
    /// Ctrl-C; everything was cleaned up.
    #[error("interrupted; nothing is left behind")]
    Interrupted,
}

/// What happens, as it happens.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A new phase begins.
    Phase(String),
    /// What a worker saw in the last second.
    Second {
        /// Which one.
        worker: &'a str,
        /// Its numbers.
        statistics: &'a Statistics,
    },
    /// What the check says.
    Diagnosed(&'a Diagnosis),
    /// What was measured in a phase.
    Measured {
        /// `before` or `after` the remedy.
        when: &'static str,
        /// The numbers.
        measured: &'a Measured,
    },
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The check named the truth, and the remedy cured it.
    Pass,
    /// Something was not as the scenario says.
    Fail,
    /// This kernel or this user can't run it.
    Skip,
}

/// The truth that a scenario creates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The limit.
    pub limit: String,
    /// The cause.
    pub cause: String,
    /// How bad.
    pub state: State,
}

/// The outcome of one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// What it is about.
    pub about: String,
    /// How it went.
    pub verdict: Verdict,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The truth; none for a healthy scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// What the check said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// While it hurt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Measured>,
    /// After the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Measured>,
    /// What was done instead of the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cured: Option<Cured>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Outcome {
    fn new(scenario: &Scenario) -> Self {
        let truth = match (&scenario.limit, &scenario.cause) {
            (Some(limit), Some(cause)) => {
                Some(Truth { limit: limit.0.clone(), cause: cause.get_ref().clone(), state: scenario.state })
            }
            _ => None,
        };
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            verdict: Verdict::Pass,
            reasons: vec![],
            truth,
            diagnosis: None,
            before: None,
            after: None,
            cured: None,
            seconds: 0.0,
        }
    }

    /// A scenario that the lab itself could not run.
    pub fn broken(scenario: &Scenario, error: &Error) -> Self {
        Self { verdict: Verdict::Fail, reasons: vec![format!("the lab failed: {error}")], ..Self::new(scenario) }
    }

    fn skipped(mut self, why: String) -> Self {
        self.verdict = Verdict::Skip;
        self.reasons = vec![why];
        self
    }
}

/// Runs a scenario, with probes attached while it is watched. Nothing is left behind, whatever happens. Without a `cure` it
/// is cured as its file says.
///
/// # Errors
/// When the lab itself could not do its work. What the kernel lacks is an outcome: skipped.
pub fn run(
    scenario: &Scenario,
    program: &Program,
    cure: Option<&mut dyn Cure>,
    probes: &mut dyn Probes,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, Error> {
    let start = Instant::now();
    let mut outcome = Outcome::new(scenario);
    if let Some(why) = missing(scenario) {
        return Ok(outcome.skipped(why));
    }
    match steps(scenario, program, cure, probes, progress, &mut outcome) {
        Ok(()) => {}
        Err(Error::Kit(kit::Error::Unsupported(what))) => {
            return Ok(outcome.skipped(format!("this kernel has no {what}")));
        }
        Err(error) => return Err(error),
    }
    outcome.reasons.extend(judge(scenario, &outcome));
    if !outcome.reasons.is_empty() {
        outcome.verdict = Verdict::Fail;
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Builds a scenario and starts its load, lets `visit` look around with the files of the client's and the server's
/// namespace, and takes it down again.
///
/// # Errors
/// When the lab itself could not do its work.
pub fn visit<T>(
    scenario: &Scenario,
    program: &Program,
    progress: &mut dyn FnMut(Progress<'_>),
    visit: impl FnOnce(&Path, &Path) -> T,
) -> Result<T, Error> {
    if let Some(why) = missing(scenario) {
        return Err(Error::Lab(why));
    }
    let _kernel = changed(&scenario.global)?;
    let lab = Topology::build()?;
    let _cleanup = cleaning(&lab);
    let mut workers = Workers::new(program.clone());
    start(scenario, &lab, &mut workers, progress)?;
    Ok(visit(&lab.netns(Side::Client).file(), &lab.netns(Side::Server).file()))
}

/// What keeps a scenario from being run here.
fn missing(scenario: &Scenario) -> Option<String> {
    if let Err(why) = kit::require_root() {
        return Some(why);
    }
    let machine = machine::require();
    if let (false, Err(why)) = (scenario.global.is_empty(), &machine) {
        return Some(why.clone());
    }
    scenario.needs.iter().find_map(|need| {
        let file = match need {
            // Whether these are there is found out by using them: the kernel may load them then.
            Need::Nftables | Need::Conntrack => return None,
            Need::Ipv6 => "/proc/net/if_inet6",
            Need::Mptcp => "/proc/sys/net/mptcp/enabled",
            Need::NativeSpeed => return machine.is_ok().then(|| "an emulated CPU is too slow for it".to_string()),
        };
        (!Path::new(file).exists()).then(|| format!("this kernel has no {need} ({file} is missing)"))
    })
}

/// The whole kernel as the scenario wants it, until the value is dropped.
fn changed(global: &Global) -> Result<Knobs, Error> {
    let mut kernel = Knobs::default();
    global.sysctl.iter().try_for_each(|(key, value)| kernel.write(&key.0, &value.0))?;
    Ok(kernel)
}

/// Sockets outlive their namespace while they are orphans: they are killed before it goes.
fn cleaning(lab: &Topology) -> Cleanup<'_> {
    let mut cleanup = Cleanup::new();
    for side in [Side::Server, Side::Client] {
        cleanup.push(format!("sockets of the {}", side.name()), move || {
            lab.within(side, sockdiag::destroy_all).map(|_| ()).map_err(|e| e.to_string())
        });
    }
    cleanup
}

fn steps(
    scenario: &Scenario,
    program: &Program,
    mut by: Option<&mut dyn Cure>,
    probes: &mut dyn Probes,
    progress: &mut dyn FnMut(Progress<'_>),
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let mut kernel = changed(&scenario.global)?;
    let lab = Topology::build()?;
    // Dropped in reverse: first the workers end, then what is left of their sockets, then the namespaces.
    let mut cleanup = cleaning(&lab);
    let mut workers = Workers::new(program.clone());
    start(scenario, &lab, &mut workers, progress)?;

    progress(Progress::Phase(format!("warming up for {} s", scenario.watch.warmup.0.as_secs_f64())));
    wait(scenario.watch.warmup.0, &mut workers, progress)?;
    progress(Progress::Phase(format!("watching for {} s", scenario.watch.window.0.as_secs_f64())));
    let before = Meter::start(&lab, &mut workers)?;
    let diagnosis = watch(scenario, &lab, &mut workers, probes, progress)?;
    let before = before.finish(scenario, &lab, &mut workers)?;
    progress(Progress::Measured { when: "before", measured: &before });
    progress(Progress::Diagnosed(&diagnosis));
    outcome.before = Some(before);

    let mut stage = Stage {
        scenario,
        diagnosis: &diagnosis,
        lab: &lab,
        workers: &mut workers,
        kernel: &mut kernel,
        progress,
        cured: Cured::default(),
    };
    let settle = match (&mut by, &scenario.remedy) {
        (Some(by), _) => by.cure(&mut stage)?,
        (None, Some(remedy)) => {
            (stage.progress)(Progress::Phase(format!("remedy: {}", remedy.about)));
            stage.remedy()?;
            Some(scenario.watch.settle.0)
        }
        (None, None) => None,
    };
    if let Some(settle) = settle {
        stage.wait(settle)?;
        (stage.progress)(Progress::Phase(format!("verifying for {} s", scenario.watch.verify.0.as_secs_f64())));
        let after = Meter::start(&lab, stage.workers)?;
        stage.wait(scenario.watch.verify.0)?;
        let after = after.finish(scenario, &lab, stage.workers)?;
        (stage.progress)(Progress::Measured { when: "after", measured: &after });
        outcome.after = Some(after);
    }
    if let Some(by) = &mut by {
        by.undo(&mut stage)?;
        outcome.reasons.extend(stage.cured.wrong.iter().cloned());
        outcome.cured = Some(stage.cured);
    }
    outcome.diagnosis = Some(diagnosis);
    workers.stop_all();
    outcome.reasons.extend(cleanup.run());
    Ok(())
}

fn file(lab: &Topology, side: Side) -> PathBuf {
    lab.netns(side).file()
}

/// Sleeps while it tells what the workers say.
fn wait(time: Duration, workers: &mut Workers, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Error> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if cleanup::interrupted() {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
        tell(workers, progress)?;
    }
    Ok(())
}

fn tell(workers: &mut Workers, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Error> {
    for (worker, statistics) in workers.heard()? {
        progress(Progress::Second { worker: &worker, statistics: &statistics });
    }
    Ok(())
}

/// What `tcproof check` does, on the lab's namespaces.
fn watch(
    scenario: &Scenario,
    lab: &Topology,
    workers: &mut Workers,
    probes: &mut dyn Probes,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Diagnosis, Error> {
    let files = scenario.watch.sides.iter().map(|side| (side.name().to_string(), file(lab, *side))).collect();
    let options =
        Options { root: PathBuf::from("/"), window: scenario.watch.window.0, scope: Scope::Files(files), ports: false };
    let mut trouble = Ok(());
    let interval = observe(&options, probes, &mut |_| {
        if trouble.is_ok() {
            trouble = tell(workers, progress);
        }
    })?;
    trouble?;
    if cleanup::interrupted() {
        return Err(Error::Interrupted);
    }
    Ok(diagnose(&interval))
}

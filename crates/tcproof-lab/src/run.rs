//! One scenario from an empty namespace to the proof that its remedy worked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tcproof_core::{Diagnosis, State, diagnose};
use tcproof_host::{Options, Probes, Scope, observe};

use crate::kit::cleanup::{self, Cleanup};
use crate::kit::machine::{self, Knobs};
use crate::kit::{self, nft, sockdiag};
use crate::scenario::{Global, LINK, Load, LoadKind, Need, Scenario, Server, Side, Slug, Symptom};
use crate::statistics::Statistics;
use crate::topology::{CONGESTION, CONGESTION_KEY, Counters, SERVER_LINK, Topology};
use crate::worker::{Command, Role};
use crate::workers::{Program, Workers};

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

/// What somebody did to cure a scenario, where that was not its own remedy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cured {
    /// Steps, in a few words each.
    pub did: Vec<String>,
    /// What was not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// Who cures a scenario, instead of its own remedy.
pub trait Cure {
    /// Does it, and says how long it needs until it is felt; none where it did not come to a cure, as the scenario says.
    ///
    /// # Errors
    /// When the lab itself could not do its work; what the cure does wrong goes to [`Stage::wrong`].
    fn cure(&mut self, stage: &mut Stage<'_>) -> Result<Option<Duration>, Error>;

    /// Takes it back, after the symptom was measured again.
    ///
    /// # Errors
    /// As [`Cure::cure`].
    fn undo(&mut self, stage: &mut Stage<'_>) -> Result<(), Error>;
}

/// A scenario while it runs, for a [`Cure`].
pub struct Stage<'a> {
    /// What it is.
    pub scenario: &'a Scenario,
    /// What the check found.
    pub diagnosis: &'a Diagnosis,
    lab: &'a Topology,
    workers: &'a mut Workers,
    kernel: &'a mut Knobs,
    progress: &'a mut dyn FnMut(Progress<'_>),
    cured: Cured,
}

impl Stage<'_> {
    /// The file of a side's network namespace.
    pub fn file(&self, side: Side) -> PathBuf {
        file(self.lab, side)
    }

    /// Its inode.
    pub fn inode(&self, side: Side) -> u64 {
        self.lab.netns(side).inode()
    }

    /// The sysctls that are read in a side's namespace.
    ///
    /// # Errors
    /// The namespace can't be entered.
    pub fn within<T: Send>(&self, side: Side, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.lab.within(side, || Ok(act()))
    }

    /// What of the remedy is no sysctl: what an application, a service or a network's owner does.
    ///
    /// # Errors
    /// The lab's own.
    pub fn without_knobs(&mut self) -> Result<(), Error> {
        act(self.scenario, self.lab, self.workers)
    }

    /// What a restart of the services does: every server listens again, and transfers begin anew.
    ///
    /// # Errors
    /// The lab's own.
    pub fn restart(&mut self) -> Result<(), Error> {
        let Self { scenario, lab, workers, .. } = self;
        scenario.server.iter().try_for_each(|server| workers.tell(&server.name, &Command::Relisten))?;
        for load in scenario.load.iter().filter(|load| load.kind.is_bulk()) {
            workers.stop(&load.name);
            start_load(scenario, lab, workers, load.clone(), false)?;
        }
        Ok(())
    }

    /// All of the remedy.
    ///
    /// # Errors
    /// The lab's own.
    pub fn remedy(&mut self) -> Result<(), Error> {
        cure(self.scenario, self.lab, self.workers, self.kernel)
    }

    /// Lets the load go on.
    ///
    /// # Errors
    /// Ctrl-C, or a worker that broke.
    pub fn wait(&mut self, time: Duration) -> Result<(), Error> {
        wait(time, self.workers, self.progress)
    }

    /// Says what is done.
    pub fn did(&mut self, what: String) {
        (self.progress)(Progress::Phase(what.clone()));
        self.cured.did.push(what);
    }

    /// Says what is not as it should be: the scenario fails.
    pub fn wrong(&mut self, what: String) {
        self.cured.wrong.push(what);
    }
}

/// What was measured by the lab itself over a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How long.
    pub seconds: f64,
    /// The scenario's symptom, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symptom: Option<u64>,
    /// The goodput that the symptom is about, in Mbit/s, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_mbit: Option<f64>,
    /// What the workers saw, by their names.
    pub workers: BTreeMap<String, Statistics>,
    /// Counters that changed, by namespace.
    pub counters: BTreeMap<String, BTreeMap<String, i64>>,
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

fn start(
    scenario: &Scenario,
    lab: &Topology,
    workers: &mut Workers,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Error> {
    for side in [Side::Server, Side::Client] {
        lab.write(side, scenario.sysctl.of(side))?;
    }
    lab.join(scenario, workers)?;
    for server in &scenario.server {
        progress(Progress::Phase(format!("server {}: {}", server.name, in_words(server))));
        start_server(scenario, lab, workers, server.clone(), false)?;
    }
    for side in [Side::Server, Side::Client] {
        lab.write(side, scenario.later.of(side))?;
    }
    match scenario.conntrack {
        Some(conntrack) if conntrack.firewall => lab.within(conntrack.side, nft::firewall)?,
        Some(conntrack) => {
            progress(Progress::Phase(format!(
                "filling the connection tracking table of the {}",
                conntrack.side.name()
            )));
            lab.fill_conntrack(conntrack.side, conntrack.leave)?;
        }
        None => {}
    }
    if scenario.link.is_emulated() {
        workers.tell(LINK, &Command::Begin)?;
    }
    for load in &scenario.load {
        progress(Progress::Phase(format!("load {}: {}", load.name, load_in_words(load))));
        start_load(scenario, lab, workers, load.clone(), false)?;
    }
    Ok(())
}

fn start_server(
    scenario: &Scenario,
    lab: &Topology,
    workers: &mut Workers,
    mut server: Server,
    cured: bool,
) -> Result<(), Error> {
    if server.kind.is_bulk() && server.socket.congestion.is_none() {
        server.socket.congestion = congestion(scenario, Side::Server, cured);
    }
    workers.start(file(lab, Side::Server), Role::Server(server))
}

fn start_load(
    scenario: &Scenario,
    lab: &Topology,
    workers: &mut Workers,
    mut load: Load,
    cured: bool,
) -> Result<(), Error> {
    if load.kind.is_bulk() && load.socket.congestion.is_none() {
        load.socket.congestion = congestion(scenario, Side::Client, cured);
    }
    workers.start(file(lab, Side::Client), Role::Load(load))
}

/// The congestion control that a bulk worker asks for by itself; none where the namespace's default is the scenario's
/// choice.
fn congestion(scenario: &Scenario, side: Side, cured: bool) -> Option<String> {
    let remedy = scenario.remedy.as_ref().filter(|_| cured).map(|remedy| &remedy.sysctl);
    let chosen = [Some(&scenario.sysctl), Some(&scenario.later), remedy].into_iter().flatten();
    let chosen = chosen.flat_map(|sysctls| sysctls.of(side).keys()).any(|key| key.0 == CONGESTION_KEY);
    (!chosen).then(|| CONGESTION.to_string())
}

fn in_words(server: &Server) -> String {
    let kind = toml::Value::try_from(server.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("?");
    format!("{kind}, port {}, backlog {}", server.port, server.backlog)
}

fn load_in_words(load: &Load) -> String {
    let flows = load.count().unwrap_or(0);
    match load.kind {
        LoadKind::Uploads => format!("writes into {flows} connection(s)"),
        LoadKind::Downloads => format!("reads from {flows} connection(s)"),
        _ => format!("{} a second to {} destination(s)", load.per_second(), load.to.len()),
    }
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

fn cure(scenario: &Scenario, lab: &Topology, workers: &mut Workers, kernel: &mut Knobs) -> Result<(), Error> {
    let Some(remedy) = &scenario.remedy else { return Ok(()) };
    remedy.global.sysctl.iter().try_for_each(|(key, value)| kernel.write(&key.0, &value.0))?;
    for side in [Side::Server, Side::Client] {
        lab.write(side, remedy.sysctl.of(side))?;
    }
    act(scenario, lab, workers)
}

/// What of a remedy is no sysctl.
fn act(scenario: &Scenario, lab: &Topology, workers: &mut Workers) -> Result<(), Error> {
    let Some(remedy) = &scenario.remedy else { return Ok(()) };
    if let Some(cpus) = remedy.global.rps {
        lab.within(Side::Server, || machine::steer(SERVER_LINK, cpus))?;
    }
    for name in &remedy.relisten {
        workers.tell(name, &Command::Relisten)?;
    }
    if let Some(link) = &remedy.link {
        lab.limit_server(link)?;
        if link.is_emulated() {
            workers.tell(LINK, &Command::Change(Box::new(link.clone())))?;
        }
    }
    if remedy.route {
        lab.route_strangers()?;
    }
    if let Some(port) = remedy.notrack {
        lab.within(Side::Server, || nft::notrack(Some(port)))?;
    }
    if let Some(n) = remedy.forget {
        let side = scenario.conntrack.map_or(Side::Server, |conntrack| conntrack.side);
        lab.forget_conntrack(side, n)?;
    }
    for name in remedy.server.keys() {
        let server = scenario.cured_server(name).map_err(Error::Lab)?;
        workers.stop(name);
        start_server(scenario, lab, workers, server, true)?;
    }
    for name in remedy.load.keys() {
        let load = scenario.cured_load(name).map_err(Error::Lab)?;
        workers.stop(name);
        start_load(scenario, lab, workers, load, true)?;
    }
    Ok(())
}

/// Measures one phase.
struct Meter {
    start: Instant,
    counters: BTreeMap<Side, Counters>,
}

impl Meter {
    fn start(lab: &Topology, workers: &mut Workers) -> Result<Self, Error> {
        workers.mark()?;
        Ok(Self { start: Instant::now(), counters: counters(lab)? })
    }

    fn finish(self, scenario: &Scenario, lab: &Topology, workers: &mut Workers) -> Result<Measured, Error> {
        let seconds = self.start.elapsed().as_secs_f64();
        let now = counters(lab)?;
        let workers = workers.mark()?;
        let mut grown = BTreeMap::new();
        for (side, counters) in now {
            let before = &self.counters[&side];
            let changed = counters.into_iter().map(|(name, after)| {
                let before = before.get(&name).copied().unwrap_or(0);
                (name, after.wrapping_sub(before).cast_signed())
            });
            grown.insert(side.name().to_string(), changed.filter(|(_, growth)| *growth != 0).collect());
        }
        let goodput = scenario.symptom.as_ref().and_then(|symptom| symptom.goodput.as_ref());
        let goodput_mbit = goodput.map(|name| goodput_of(&workers, name));
        let counted = scenario.symptom.as_ref().filter(|symptom| symptom.goodput.is_none());
        let symptom = counted.map(|symptom| count(symptom, &grown, &workers));
        Ok(Measured { seconds, symptom, goodput_mbit, workers, counters: grown })
    }
}

fn counters(lab: &Topology) -> Result<BTreeMap<Side, Counters>, Error> {
    [Side::Client, Side::Server].into_iter().map(|side| Ok((side, lab.counters(side)?))).collect()
}

fn goodput_of(workers: &BTreeMap<String, Statistics>, name: &str) -> f64 {
    workers.get(name).and_then(|statistics| statistics.goodput_mbit).unwrap_or(0.0)
}

fn count(
    symptom: &Symptom,
    grown: &BTreeMap<String, BTreeMap<String, i64>>,
    workers: &BTreeMap<String, Statistics>,
) -> u64 {
    let grew = |name: &str| {
        let growth = grown.get(symptom.side.name()).and_then(|counters| counters.get(name)).copied();
        growth.map_or(0, |growth| growth.max(0).unsigned_abs())
    };
    let of = |name: &String| workers.get(name);
    if let Some(name) = &symptom.counter {
        grew(name)
    } else if let Some(state) = &symptom.sockets {
        grew(&format!("sockets.{state}"))
    } else if let Some(load) = symptom.slow_connects.as_ref().and_then(of) {
        load.slow_calls
    } else if let Some(load) = symptom.errors.as_ref().and_then(of) {
        let counted = |errno: &str| symptom.only.is_empty() || symptom.only.iter().any(|only| only == errno);
        load.failed.iter().filter(|(errno, _)| counted(errno)).map(|(_, n)| n).sum()
    } else {
        0
    }
}

/// Everything that was not as the scenario says.
fn judge(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let (Some(diagnosis), Some(before)) = (&outcome.diagnosis, &outcome.before) else { return wrong };
    let named = |f: &tcproof_core::Finding| {
        let state = if f.state == State::Limiting { "limiting" } else { "near" };
        format!("{}/{} ({state}, {})", f.limit, f.cause, f.subject)
    };
    match (&outcome.truth, diagnosis.findings.first()) {
        (Some(truth), Some(first)) => {
            let (limit, cause) = (&truth.limit, &truth.cause);
            if (&first.limit, &first.cause) != (limit, cause) {
                wrong.push(format!("the first finding is {}, not {limit}/{cause}", named(first)));
            } else if first.state != truth.state {
                wrong.push(format!("the first finding is {}, which is not the true state", named(first)));
            }
            if let Some(subject) = &scenario.subject
                && !first.subject.to_string().contains(subject.as_str())
            {
                wrong.push(format!("the first finding is about {}, not {subject}", first.subject));
            }
        }
        (Some(truth), None) => wrong.push(format!("no finding; it is {}/{}", truth.limit, truth.cause)),
        (None, _) => wrong.extend(diagnosis.findings.iter().map(|f| format!("healthy, but found {}", named(f)))),
    }
    for finding in diagnosis.findings.iter().filter(|f| f.state == State::Limiting) {
        if scenario.absent.iter().any(|slug| slug.0 == finding.limit) {
            wrong.push(format!("{} is a look-alike, and is reported", named(finding)));
        }
    }
    for Slug(slug) in &scenario.unknown {
        if !diagnosis.unknown.iter().any(|unknown| unknown.limit == *slug) {
            wrong.push(format!("{slug} is not among the unknown, though something happened that can't be placed"));
        }
    }
    for (side, word) in &scenario.bound_by {
        let mut flows = diagnosis.flows.iter().filter(|flow| flow.netns == side.name()).peekable();
        if flows.peek().is_none() {
            wrong.push(format!("the check noted no flow of the {}", side.name()));
        }
        let others = flows.filter(|flow| flow.bound_by != *word);
        wrong.extend(others.map(|flow| {
            format!("{} → {} is said to be bound by {}, not {word}", flow.local, flow.remote, flow.bound_by)
        }));
    }
    for (name, least) in &scenario.goodput_at_least_mbit {
        let (mbit, least) = (goodput_of(&before.workers, name), least.get_ref().0);
        if mbit < least {
            wrong.push(format!("{name} moved {mbit:.1} Mbit/s, not at least {least}"));
        }
    }
    match &scenario.symptom {
        Some(symptom) if symptom.goodput.is_some() => wrong.extend(judge_goodput(symptom, outcome)),
        Some(symptom) => {
            let seen = before.symptom.unwrap_or(0);
            if seen < symptom.at_least {
                wrong.push(format!("the symptom did not occur: {seen} of at least {}", symptom.at_least));
            }
            // Where the scenario knows no remedy, none is expected to cure it.
            let after = outcome.after.as_ref().filter(|_| scenario.remedy.is_some());
            if let Some(left) = after.and_then(|after| after.symptom)
                && left > symptom.tolerate
            {
                wrong.push(format!("the symptom did not stop: {seen} before the remedy, {left} after it"));
            }
        }
        None => {
            for (worker, statistics) in before.workers.iter().filter(|(_, s)| s.failures() > 0) {
                wrong.push(format!("{worker} saw failures in a healthy scenario: {:?}", statistics.failed));
            }
            wrong.extend(scenario.load.iter().filter_map(|load| fell_short(load, before.workers.get(&load.name)?)));
        }
    }
    wrong
}

/// Slow before the remedy, and faster after it.
fn judge_goodput(symptom: &Symptom, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mbit = |measured: &Option<Measured>| measured.as_ref().and_then(|measured| measured.goodput_mbit);
    let Some(before) = mbit(&outcome.before) else { return wrong };
    if let Some(most) = symptom.at_most_mbit.filter(|most| before > most.0) {
        wrong.push(format!("the symptom did not occur: {before:.1} Mbit/s, not at most {}", most.0));
    }
    if let Some(after) = mbit(&outcome.after) {
        let gain = symptom.gain();
        // Nothing is no cure, however slow it was.
        if after < before * gain || after <= 0.0 {
            wrong.push(format!("goodput {before:.2} → {after:.2} Mbit/s: the remedy did not make it {gain} times"));
        }
        if let Some(least) = symptom.cured_at_least_mbit.filter(|least| after < least.0) {
            wrong.push(format!("goodput {after:.1} Mbit/s after the remedy, not at least {}", least.0));
        }
    }
    wrong
}

/// A healthy load that did not happen proves nothing.
fn fell_short(load: &Load, statistics: &Statistics) -> Option<String> {
    if load.kind == LoadKind::SpoofedSyn || load.kind.keeps() || load.count.is_some() || load.length.is_some() {
        return None;
    }
    let wanted = f64::from(load.per_second()) * statistics.seconds;
    let connected = statistics.connected;
    ((connected as f64) < wanted * ENOUGH)
        .then(|| format!("{} connected only {connected} of {wanted:.0} times: this machine is too busy", load.name))
}

/// The share of its rate that a healthy load must reach.
const ENOUGH: f64 = 0.9;

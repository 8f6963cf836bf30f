//! Starts what a scenario consists of: settings, servers, what fills a table, loads.

use super::{Error, Progress, file};
use crate::kit::nft;
use crate::scenario::{LINK, Load, LoadKind, Scenario, Server, Side};
use crate::topology::{CONGESTION, CONGESTION_KEY, Topology};
use crate::worker::{Command, Role};
use crate::workers::Workers;

pub(super) fn start(
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

pub(super) fn start_server(
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

pub(super) fn start_load(
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

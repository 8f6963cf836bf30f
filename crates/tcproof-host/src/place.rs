//! One namespace under watch: its way in, its looks, and what is read of it at both ends.

use std::collections::BTreeMap;
use std::time::Duration;

use tcproof_core::snapshot::{Listener, Netns, NetnsId, Sockets, System};
use tcproof_core::{Absent, ListenerWatch, Reading};

use crate::close_wait::{CloseWaitLooks, Walks};
use crate::diag::Diag;
use crate::netns::Target;
use crate::patience::Patience;
use crate::{Root, flows, namespace};

/// Of a namespace's processes so many are remembered, and have their CPU time read where it may matter.
const PROCESSES: usize = 256;

/// A namespace under watch.
pub(crate) struct Place {
    pub(crate) target: Target,
    /// Opened at the first visit; it stays in the namespace wherever the thread goes.
    pub(crate) diag: Option<Result<Diag, Absent>>,
    pub(crate) flows: flows::Watch,
    pub(crate) patience: Patience,
    pub(crate) close_wait: CloseWaitLooks,
}

impl Place {
    pub(crate) fn new(target: Target) -> Self {
        let (flows, patience) = (flows::Watch::default(), Patience::default());
        Self { target, diag: None, flows, patience, close_wait: CloseWaitLooks::default() }
    }
}

/// The places whose sockets can be seen.
pub(crate) fn seeing(places: &mut [Place]) -> impl Iterator<Item = (NetnsId, &mut Diag, &mut flows::Watch)> {
    places.iter_mut().filter_map(|place| match &mut place.diag {
        Some(Ok(diag)) => Some((place.target.id, diag, &mut place.flows)),
        _ => None,
    })
}

impl Place {
    /// Reads the namespace that the thread is in. The listeners directly before the counters, so that the two agree.
    pub(crate) fn visit(
        &mut self,
        root: &Root,
        at: Duration,
        looks: &mut BTreeMap<u64, ListenerWatch>,
        (system, ports): (&System, bool),
        walks: &mut Walks,
        before: Option<&Netns>,
    ) -> Netns {
        let diag = self.diag.get_or_insert_with(Diag::open);
        let mut listeners = Vec::new();
        let looked = match diag {
            Ok(diag) => namespace::listeners(diag, |listener| listeners.push(listener)).map(|()| diag),
            Err(why) => Err(why.clone()),
        };
        let mut ns = namespace::read(root, &self.target.name, self.target.own);
        ns.pids = self.target.pids.iter().copied().take(PROCESSES).collect();
        match looked {
            Ok(diag) => {
                let known = before.and_then(|before| before.listeners.value());
                if !namespace::name_as_before(known.map_or(&[], Vec::as_slice), &mut listeners)
                    && (ns.knob("net.mptcp.enabled").value().is_some() || listeners.iter().any(|l| l.inode == 0))
                {
                    namespace::name_mptcp(diag, &mut listeners);
                }
                for listener in &listeners {
                    look(looks, listener.clone(), at, before.is_some());
                }
                ns.listeners = Reading::Present(listeners);
                let close_wait = |diag: &mut Diag, listening: &[u16], sockets: &mut Sockets| {
                    self.close_wait.look(at, walks, sockets, || namespace::close_wait(diag, listening));
                };
                ns.sockets = namespace::sockets(diag, &ns, system, before, ports, close_wait);
                if ns.sockets.close_wait.absent().is_some_and(Absent::is_not_needed) {
                    // What is there later is of its own.
                    self.close_wait = CloseWaitLooks::default();
                }
            }
            Err(why) => {
                ns.sockets = Sockets::absent(&why);
                ns.listeners = Reading::Absent(why);
            }
        }
        ns
    }
}

/// Folds one look at one listener into what is known of it. `later` tells a look after the first one: a listener that
/// turns up then was made within the window.
pub(crate) fn look(known: &mut BTreeMap<u64, ListenerWatch>, listener: Listener, at: Duration, later: bool) {
    match known.get_mut(&listener.cookie) {
        Some(watch) => watch.look(listener, at),
        None => {
            known.insert(listener.cookie, ListenerWatch::new(listener, at, later));
        }
    }
}

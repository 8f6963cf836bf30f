//! Joins the two crates that know nothing of each other: what `tcproof-host` watches and counts, and the walks and probes of
//! `tcproof-bpf`. They load when they are asked, once, and need to enter no namespace.

use std::cell::{RefCell, RefMut};
use std::num::NonZero;
use std::thread::available_parallelism;

use tcproof_bpf::trace::Probes;
use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::census::{Backend, Held, Holders, Method, Place, Tally};
use tcproof_core::trace::Trace;
use tcproof_core::{Absent, Reading};
use tcproof_host::census::{Extra, Ways};

use crate::privileges;

/// More threads than this gain little, and a host in trouble has other work for its CPUs.
const THREADS: usize = 4;

/// eBPF, where the kernel allows it.
#[derive(Default)]
pub(crate) struct Ebpf {
    walk: Once<BpfBackend>,
    files: Once<BpfHolders>,
}

/// What was loaded, or why it can't be: after capabilities were dropped it can't be tried again.
type Once<T> = RefCell<Option<Result<T, Absent>>>;

fn once<T>(place: &Once<T>, load: impl FnOnce() -> Result<T, Absent>) -> Result<Loaded<'_, T>, Absent> {
    let held = RefMut::map(place.borrow_mut(), |place| place.get_or_insert_with(load));
    RefMut::filter_map(held, |held| held.as_mut().ok())
        .map(Loaded)
        .map_err(|held| held.as_ref().err().cloned().unwrap_or(Absent::NotNeeded))
}

impl Ebpf {
    /// Loads whatever a census may ask for, and then drops what loading needs: for counts that go on.
    ///
    /// # Errors
    /// The capabilities can't be dropped. What can't be loaded says so when it is asked for.
    pub(crate) fn load(&self, walk: bool, files: bool) -> anyhow::Result<()> {
        if walk {
            drop(self.walk());
        }
        if files {
            drop(self.files());
        }
        privileges::drop_loading()
    }

    fn walk(&self) -> Result<Loaded<'_, BpfBackend>, Absent> {
        let threads = available_parallelism().map_or(1, NonZero::get).min(THREADS);
        once(&self.walk, || Ok(BpfBackend::load(threads)?))
    }

    fn files(&self) -> Result<Loaded<'_, BpfHolders>, Absent> {
        once(&self.files, || Ok(BpfHolders::load()?))
    }
}

impl Extra for Ebpf {
    fn backend<'a>(&'a self, _: &'a Ways<'a>) -> Result<Box<dyn Backend + 'a>, Absent> {
        Ok(Box::new(self.walk()?))
    }

    fn holders(&self) -> Result<Box<dyn Holders + '_>, Absent> {
        Ok(Box::new(self.files()?))
    }
}

/// Lent for one count.
struct Loaded<'a, T>(RefMut<'a, T>);

impl Backend for Loaded<'_, BpfBackend> {
    fn method(&self) -> Method {
        self.0.method()
    }

    fn count(&mut self, places: &[Place], tally: &mut Tally) -> Result<(), Absent> {
        // In a census it is the last that is loaded.
        privileges::drop_loading()
            .map_err(|error| Absent::Failed { what: "eBPF".into(), error: format!("{error:#}") })?;
        self.0.count(places, tally)
    }
}

impl Holders for Loaded<'_, BpfHolders> {
    fn method(&self) -> Method {
        self.0.method()
    }

    fn count(&mut self, places: &[Place], held: &mut Held) -> Result<(), Absent> {
        self.0.count(places, held)
    }
}

/// What each probe is for, and whether it can be loaded here. Nothing is attached.
pub(crate) fn probes() -> Vec<(&'static str, Reading<String>)> {
    let probes = Probes::load();
    let rows = probes.states().map(|(name, refused)| {
        let what = match name {
            "connects" => "connects, and those without a free port (eBPF)",
            "arrivals" => "accept queues at each arrival (eBPF)",
            "drops" => "dropped packets by reason and port (eBPF)",
            "resent" => "segments sent again and resets by flow (eBPF)",
            _ => "memory refused to sockets (eBPF)",
        };
        let seen = refused.map_or_else(|| Reading::Present("yes".into()), |why| Reading::Absent(why.clone().into()));
        (what, seen)
    });
    rows.collect()
}

/// Probes for one window after the other.
#[derive(Default)]
pub(crate) struct Tracing {
    probes: Option<Probes>,
    is_last: bool,
}

impl Tracing {
    /// For the last window: what only loading needs is dropped when they are attached.
    pub(crate) fn last() -> Self {
        Self { is_last: true, ..Self::default() }
    }
}

impl tcproof_host::Probes for Tracing {
    fn load(&mut self) {
        self.probes = Some(Probes::load());
    }

    fn attach(&mut self) {
        if let Some(probes) = &mut self.probes {
            probes.attach();
        }
        if self.is_last {
            // What can't be dropped now can't be at the end of the window either, and is said there.
            let _ = privileges::drop_loading();
        }
    }

    fn detach(&mut self) -> Trace {
        self.probes.take().map_or_else(Trace::default, |mut probes| probes.detach())
    }
}

//! Joins the two crates that know nothing of each other: what `tcproof-host` watches and counts, and the walks and probes of
//! `tcproof-bpf`. They load when they are asked, and need to enter no namespace.

use std::num::NonZero;
use std::thread::available_parallelism;

use tcproof_bpf::trace::Probes;
use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::Absent;
use tcproof_core::census::{Backend, Holders};
use tcproof_core::trace::Trace;
use tcproof_host::census::{Extra, Ways};

/// More threads than this gain little, and a host in trouble has other work for its CPUs.
const THREADS: usize = 4;

/// eBPF, where the kernel allows it.
pub(crate) struct Ebpf;

impl Extra for Ebpf {
    fn backend<'a>(&'a self, _: &'a Ways<'a>) -> Result<Box<dyn Backend + 'a>, Absent> {
        let threads = available_parallelism().map_or(1, NonZero::get).min(THREADS);
        Ok(Box::new(BpfBackend::load(threads)?))
    }

    fn holders(&self) -> Result<Box<dyn Holders + '_>, Absent> {
        Ok(Box::new(BpfHolders::load()?))
    }
}

/// Probes for one window after the other.
#[derive(Default)]
pub(crate) struct Tracing {
    probes: Option<Probes>,
}

impl tcproof_host::Probes for Tracing {
    fn attach(&mut self) {
        let mut probes = Probes::load();
        probes.attach();
        self.probes = Some(probes);
    }

    fn detach(&mut self) -> Trace {
        self.probes.take().map_or_else(Trace::default, |mut probes| probes.detach())
    }
}

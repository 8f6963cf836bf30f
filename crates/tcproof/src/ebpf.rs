//! Joins the two crates that know nothing of each other: the census of `tcproof-host`, and the walks of `tcproof-bpf`. They
//! load when they are asked, and need to enter no namespace.

use std::num::NonZero;
use std::thread::available_parallelism;

use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::Absent;
use tcproof_core::census::{Backend, Holders};
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

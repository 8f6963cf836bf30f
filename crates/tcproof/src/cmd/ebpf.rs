//! What `tcproof-bpf` brings to the census: loaded only where it is wanted, and gone with the value.

use tcproof_bpf::{BpfBackend, BpfHolders};
use tcproof_core::Absent;
use tcproof_core::census::{Backend, Holders};
use tcproof_host::census::{Extra, Ways};

/// More threads than this gain little, and a host in trouble has other work for its CPUs.
const THREADS: usize = 4;

/// eBPF, where the kernel lets us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ebpf;

impl Extra for Ebpf {
    fn backend<'a>(&'a self, _: &'a Ways<'a>) -> Result<Box<dyn Backend + 'a>, Absent> {
        let threads = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(THREADS));
        Ok(Box::new(BpfBackend::load(threads)?))
    }

    fn holders(&self) -> Result<Box<dyn Holders + '_>, Absent> {
        Ok(Box::new(BpfHolders::load()?))
    }
}

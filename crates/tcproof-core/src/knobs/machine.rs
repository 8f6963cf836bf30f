//! What boot computes defaults from.

use crate::snapshot::Host;
use crate::version::Version;

/// The machine that a value is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its kernel.
    pub kernel: Version,
    /// Its memory, where it is known.
    pub memory: Option<Memory>,
    /// Its online CPUs, where they are known.
    pub cpus: Option<u32>,
    /// Buckets of the hash of established connections (`tcp_ehash_entries`, since 6.1), where they are known.
    pub ehash_entries: Option<u64>,
}

/// Memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`, in bytes.
    pub bytes: u64,
    /// A page, in bytes.
    pub page_bytes: u64,
}

impl Machine {
    /// A kernel about whose machine nothing is known.
    pub fn of_kernel(kernel: Version) -> Self {
        Self { kernel, memory: None, cpus: None, ehash_entries: None }
    }

    /// A machine as it was seen. What could not be read there is not known.
    pub fn of_host(host: &Host) -> Self {
        let (bytes, page_bytes) = (host.memory_bytes, u64::from(host.page_bytes));
        Self {
            memory: (bytes > 0 && page_bytes > 0).then_some(Memory { bytes, page_bytes }),
            cpus: (host.cpus > 0).then_some(host.cpus),
            ..Self::of_kernel(Version::of_release(&host.kernel).unwrap_or(Version::ALWAYS))
        }
    }

    /// The same with that much memory, and what boot makes of it: one bucket of the established hash for each 128 KiB,
    /// a power of two, at most 524 288 (`net/ipv4/tcp.c:tcp_init`).
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        let entries = bytes.div_ceil(128 << 10).checked_next_power_of_two().unwrap_or(u64::MAX).min(512 << 10);
        Self { memory: Some(Memory { bytes, page_bytes: 4096 }), ehash_entries: Some(entries), ..self }
    }
}

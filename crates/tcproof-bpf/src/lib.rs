//! Optional eBPF: the fast census of TCP sockets, and facts that no counter has. It loads, or says why not; nothing of
//! tcproof needs it.
//!
//! The programs are C (`programs/*.bpf.c`) and come as light skeletons made beforehand, with their hashes: building and
//! running this needs no clang, libbpf, libelf or kernel headers. They need Linux 5.17 with its types (BTF), `CAP_BPF` and
//! `CAP_PERFMON`. None of them writes to anything but its own maps, and none is left behind: what is loaded is held by
//! descriptors of this process alone.

mod census;
pub mod files;
pub mod programs;
mod refused;
mod skeleton;
mod sys;
pub mod trace;
pub mod walk;

pub use census::{BpfBackend, BpfHolders};
pub use refused::{NEEDS, Refused};
pub use skeleton::{Loaded, Skeleton};
#[doc(hidden)]
pub use sys::loaded_programs;

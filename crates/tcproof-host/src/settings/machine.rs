//! The machine that settings are for.

use tcproof_core::Version;
use tcproof_core::knobs::Machine;

use crate::{Root, system};

/// The machine under a root: what of it can be read. A directory that names no kernel is taken to be for the newest one
/// that is installed in it, or else for the running one.
///
/// For another kernel put [`Machine::of_kernel`] into [`tcproof_core::lint::Tree::machine`], or set only its version.
pub fn machine(root: &Root) -> Machine {
    let host = system::host(root);
    Machine {
        kernel: Version::of_release(&host.kernel).or_else(|| installed(root)).unwrap_or_else(running),
        ehash_entries: ehash_entries(root),
        ..Machine::of_host(&host)
    }
}

/// Negative in a namespace that shares the hash of the initial one (since 6.1), whose size it is none the less.
fn ehash_entries(root: &Root) -> Option<u64> {
    let text = root.read("proc/sys/net/ipv4/tcp_ehash_entries").ok()?;
    let entries: i64 = text.trim().parse().ok()?;
    Some(entries.unsigned_abs()).filter(|entries| *entries > 0)
}

fn installed(root: &Root) -> Option<Version> {
    let names = root.list_dir("lib/modules").or_else(|_| root.list_dir("usr/lib/modules")).ok()?;
    names.iter().filter_map(|name| Version::of_release(name)).max()
}

fn running() -> Version {
    Version::of_release(&rustix::system::uname().release().to_string_lossy()).unwrap_or(Version::ALWAYS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tcproof_core::knobs::Memory;

    #[test]
    fn a_recorded_machine() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/kernel/osrelease", "5.4.0-99-generic\n");
        put("proc/meminfo", "MemTotal:        1024 kB\n");
        put("proc/stat", "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\n");
        put("proc/sys/net/ipv4/tcp_ehash_entries", "-65536\n");
        let page_bytes = rustix::param::page_size() as u64;
        assert_eq!(
            machine(&Root::new(dir.path())),
            Machine {
                kernel: Version(5, 4),
                memory: Some(Memory { bytes: 1 << 20, page_bytes }),
                cpus: Some(2),
                ehash_entries: Some(65_536),
            }
        );
    }

    #[test]
    fn an_image_has_the_kernel_that_is_installed_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!(machine(&root), Machine::of_kernel(running()));
        for release in ["4.19.0-1", "6.1.0-44-amd64"] {
            fs::create_dir_all(dir.path().join("usr/lib/modules").join(release)).unwrap();
        }
        assert_eq!(machine(&root), Machine::of_kernel(Version(6, 1)));
    }

    #[test]
    fn the_live_machine() {
        let machine = machine(&Root::new("/"));
        assert_eq!(machine.kernel, running());
        assert!(machine.memory.is_some() && machine.cpus.is_some());
    }
}

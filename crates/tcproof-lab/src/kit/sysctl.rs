//! Sysctls of the calling thread's namespace, and no others.
//!
//! `/proc/sys/net` shows the namespace of the task that reads or writes. A namespace of its own hides most global keys,
//! but not on every kernel: `tcp_allowed_congestion_control` (before 5.12) and `nf_conntrack_max` could be written from
//! inside and changed the whole host. So only keys that are known to be kept per namespace pass.

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;

use super::{Error, Result, netns};

/// Families whose keys the kernel keeps per namespace (a trailing dot or underscore), and single keys.
const PER_NAMESPACE: &[&str] = &[
    "net.core.somaxconn",
    "net.ipv4.conf.",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.ip_default_ttl",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_",
    "net.ipv6.conf.",
    "net.mptcp.",
    "net.netfilter.nf_conntrack_acct",
    "net.netfilter.nf_conntrack_checksum",
    "net.netfilter.nf_conntrack_generic_timeout",
    "net.netfilter.nf_conntrack_icmp_timeout",
    "net.netfilter.nf_conntrack_tcp_",
    "net.netfilter.nf_conntrack_udp_",
];

/// Keys of those families that are global all the same.
const GLOBAL: &[&str] = &[
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_available_ulp",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem",
];

/// Whether the kernel keeps this key per network namespace, so that the lab may write it.
#[must_use]
pub fn is_per_namespace(key: &str) -> bool {
    let covers = |known: &&str| {
        if known.ends_with(['.', '_']) { key.len() > known.len() && key.starts_with(*known) } else { key == *known }
    };
    path(key).is_some() && PER_NAMESPACE.iter().any(covers) && !GLOBAL.contains(&key)
}

/// Reads a key (`net.ipv4.tcp_syncookies`) as the calling thread's namespace sees it, without the newline.
///
/// # Errors
/// If there is no such key here (a global one, or another kernel).
pub fn read(key: &str) -> Result<String> {
    let path = path(key).ok_or_else(|| Error::Refused(format!("{key:?} is no sysctl key")))?;
    let text = fs::read_to_string(path).map_err(|e| Error::kernel(format!("read {key}"), e))?;
    Ok(text.trim_end().to_owned())
}

/// Writes a key in the calling thread's namespace.
///
/// # Errors
/// Refuses a key that is not kept per namespace, and any key in a namespace that the lab did not make.
pub fn write(key: &str, value: &str) -> Result<()> {
    let operation = format!("write {key} = {value:?}");
    if !is_per_namespace(key) {
        return Err(Error::Refused(format!("{operation}: not known to be kept per network namespace")));
    }
    netns::require_lab(&operation)?;
    let path = path(key).ok_or_else(|| Error::Refused(operation.clone()))?;
    fs::write(path, value).map_err(|e| {
        let error = Error::kernel(operation, e);
        // A congestion control that is not there; or one that tcp_allowed_congestion_control of the host does not name,
        // which can be no namespace's default (tcp_set_default_congestion_control).
        match key == "net.ipv4.tcp_congestion_control" {
            true => error.lacking(&format!("default congestion control {value}"), &[Errno::NOENT, Errno::PERM]),
            false => error,
        }
    })
}

/// `net.ipv4.tcp_mem` is `/proc/sys/net/ipv4/tcp_mem`. `None` for anything that could lead elsewhere.
fn path(key: &str) -> Option<PathBuf> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    key.split('.').all(plain).then(|| PathBuf::from("/proc/sys").join(key.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_and_foreign_keys_are_refused() {
        for key in [
            "net.ipv4.tcp_mem",
            "net.ipv4.tcp_max_orphans",
            "net.ipv4.tcp_allowed_congestion_control",
            "net.ipv4.tcp_",
            "net.core.netdev_max_backlog",
            "net.core.rmem_max",
            "net.core.somaxconn_more",
            "net.netfilter.nf_conntrack_max",
            "net.netfilter.nf_conntrack_buckets",
            "net.ipv4.neigh.default.gc_thresh3",
            "net.ipv4.conf...tcp_syncookies",
            "net.ipv4.tcp_/../../kernel",
            "fs.file-max",
            "kernel.panic",
            "",
        ] {
            assert!(!is_per_namespace(key), "{key} must not be writable");
            assert!(matches!(write(key, "1"), Err(Error::Refused(_))), "{key}");
        }
    }

    #[test]
    fn keys_that_the_kernel_keeps_per_namespace_pass() {
        for key in [
            "net.core.somaxconn",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.tcp_rmem",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.conf.all.rp_filter",
            "net.netfilter.nf_conntrack_tcp_timeout_established",
        ] {
            assert!(is_per_namespace(key), "{key}");
        }
    }

    #[test]
    fn nothing_is_written_outside_the_lab() {
        let before = read("net.ipv4.tcp_fin_timeout").expect("on every kernel");
        let error = write("net.ipv4.tcp_fin_timeout", "7").expect_err("this is not a namespace of the lab");
        assert!(error.to_string().contains("tcp_fin_timeout = \"7\""), "{error}");
        assert_eq!(read("net.ipv4.tcp_fin_timeout").expect("still there"), before);
    }
}

//! Which kernel modules a machine gets, and the order in which they can be loaded.

use std::collections::{BTreeMap, BTreeSet};

/// What the lab and the check use, as far as a distribution's kernel has it as modules.
///
/// Nothing in the machine answers the kernel's own requests for modules, so all of them are loaded at the start.
pub(crate) const WANTED: &[&str] = &[
    // Links and what queues in front of them.
    "veth",
    "tun",
    "dummy",
    "sch_tbf",
    "sch_netem",
    "sch_fq",
    "sch_fq_codel",
    // Connection tracking and packet filtering.
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_ct",
    "nft_counter",
    "nft_limit",
    "nft_numgen",
    // What sock_diag needs for each protocol.
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "mptcp_diag",
    "tcp_bbr",
    // A disk, where the machine has one.
    "virtio_pci",
    "virtio_blk",
    "ext4",
];

/// The `modules.dep` of a kernel: each module's file, and the files it needs.
pub(crate) struct Dependencies<'a>(BTreeMap<String, (&'a str, Vec<&'a str>)>);

impl<'a> Dependencies<'a> {
    /// Reads `path/a.ko.xz: path/b.ko.xz path/c.ko.xz`, as depmod(8) writes it.
    pub(crate) fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self(lines.map(|(file, needs)| (name(file), (file.trim(), needs.split_whitespace().collect()))).collect())
    }

    /// The files of the wanted modules and all that they need, each after what it needs itself; and the names that
    /// have no file: built in, or not of this kernel.
    pub(crate) fn load_order<'w>(&self, wanted: &[&'w str]) -> (Vec<&'a str>, Vec<&'w str>) {
        let (mut order, mut missing, mut visited) = (Vec::new(), Vec::new(), BTreeSet::new());
        for module in wanted {
            if self.0.contains_key(*module) {
                self.visit(module, &mut visited, &mut order);
            } else {
                missing.push(*module);
            }
        }
        (order, missing)
    }

    fn visit(&self, module: &str, visited: &mut BTreeSet<String>, order: &mut Vec<&'a str>) {
        let Some((file, needs)) = self.0.get(module) else { return };
        if visited.insert(module.to_string()) {
            needs.iter().for_each(|file| self.visit(&name(file), visited, order));
            order.push(file);
        }
    }
}

/// The module's name: the kernel takes `-` in a file's name for `_`.
pub(crate) fn name(file: &str) -> String {
    let base = file.trim().rsplit('/').next().unwrap_or_default();
    base.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/netfilter/nft_ct.ko.xz: kernel/net/netfilter/nf_tables.ko.xz kernel/net/netfilter/nf_conntrack.ko.xz
kernel/net/netfilter/nf_conntrack.ko.xz: kernel/lib/libcrc32c.ko.xz kernel/net/ipv4/nf-defrag-ipv4.ko
kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/net/ipv4/nf-defrag-ipv4.ko:
kernel/lib/libcrc32c.ko.xz:
kernel/drivers/net/veth.ko:
";

    #[test]
    fn each_module_comes_after_what_it_needs_and_once() {
        let (order, missing) = Dependencies::parse(DEP).load_order(&["nft_ct", "veth", "nf_conntrack", "tcp_diag"]);
        let order: Vec<_> = order.into_iter().map(name).collect();
        assert_eq!(order, ["libcrc32c", "nf_tables", "nf_defrag_ipv4", "nf_conntrack", "nft_ct", "veth"]);
        assert_eq!(missing, ["tcp_diag"]);
    }

    #[test]
    fn a_circle_and_nonsense_end() {
        let text = "a.ko: b.ko\nb.ko: a.ko gone.ko\nno colon\n\u{fffd}: \n:\n";
        let (order, missing) = Dependencies::parse(text).load_order(&["a", "gone"]);
        assert_eq!((order, missing), (vec!["b.ko", "a.ko"], vec!["gone"]));
    }
}

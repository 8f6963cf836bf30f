//! What `ethtool` understands behind the options that tune a device: enough to tell real words from invented ones.

use alloc::format;
use alloc::string::String;

use crate::lint::Word;

/// Behind `-K`: ethtool's own short and long names, and the kernel's (`net/ethtool/common.c`, `netdev_features_strings`).
const FEATURES: &[&str] = &[
    "esp-hw-offload",
    "esp-tx-csum-hw-offload",
    "fcoe-mtu",
    "generic-receive-offload",
    "generic-segmentation-offload",
    "gro",
    "gso",
    "highdma",
    "hsr-dup-offload",
    "hsr-fwd-offload",
    "hsr-tag-ins-offload",
    "hsr-tag-rm-offload",
    "hw-tc-offload",
    "l2-fwd-offload",
    "large-receive-offload",
    "loopback",
    "lro",
    "macsec-hw-offload",
    "ntuple",
    "ntuple-filters",
    "receive-hashing",
    "rx",
    "rx-all",
    "rx-checksum",
    "rx-checksumming",
    "rx-fcs",
    "rx-gro",
    "rx-gro-hw",
    "rx-gro-list",
    "rx-hashing",
    "rx-lro",
    "rx-ntuple-filter",
    "rx-udp-gro-forwarding",
    "rx-udp_tunnel-port-offload",
    "rx-vlan-filter",
    "rx-vlan-hw-parse",
    "rx-vlan-offload",
    "rx-vlan-stag-filter",
    "rx-vlan-stag-hw-parse",
    "rxhash",
    "rxvlan",
    "scatter-gather",
    "sg",
    "tcp-segmentation-offload",
    "tls-hw-record",
    "tls-hw-rx-offload",
    "tls-hw-tx-offload",
    "tso",
    "tx",
    "tx-checksum-fcoe-crc",
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "tx-checksum-ipv6",
    "tx-checksum-sctp",
    "tx-checksumming",
    "tx-esp-segmentation",
    "tx-fcoe-segmentation",
    "tx-generic-segmentation",
    "tx-gre-csum-segmentation",
    "tx-gre-segmentation",
    "tx-gso-list",
    "tx-gso-partial",
    "tx-gso-robust",
    "tx-ipxip4-segmentation",
    "tx-ipxip6-segmentation",
    "tx-nocache-copy",
    "tx-scatter-gather",
    "tx-scatter-gather-fraglist",
    "tx-sctp-segmentation",
    "tx-tcp-accecn-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tunnel-remcsum-segmentation",
    "tx-udp-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "tx-udp_tnl-segmentation",
    "tx-vlan-hw-insert",
    "tx-vlan-offload",
    "tx-vlan-stag-hw-insert",
    "txvlan",
    "udp-fragmentation-offload",
    "ufo",
];
/// Behind `-C`.
const COALESCE: &[&str] = &[
    "adaptive-rx",
    "adaptive-tx",
    "cqe-mode-rx",
    "cqe-mode-tx",
    "pkt-rate-high",
    "pkt-rate-low",
    "rx-frames",
    "rx-frames-high",
    "rx-frames-irq",
    "rx-frames-low",
    "rx-usecs",
    "rx-usecs-high",
    "rx-usecs-irq",
    "rx-usecs-low",
    "sample-interval",
    "stats-block-usecs",
    "tx-aggr-max-bytes",
    "tx-aggr-max-frames",
    "tx-aggr-time-usecs",
    "tx-frames",
    "tx-frames-high",
    "tx-frames-irq",
    "tx-frames-low",
    "tx-usecs",
    "tx-usecs-high",
    "tx-usecs-irq",
    "tx-usecs-low",
];
/// Behind `-G`.
const RINGS: &[&str] = &[
    "cqe-size",
    "hds-thresh",
    "rx",
    "rx-buf-len",
    "rx-jumbo",
    "rx-mini",
    "rx-push",
    "tcp-data-split",
    "tx",
    "tx-push",
    "tx-push-buf-len",
];
/// Behind `-L`.
const CHANNELS: &[&str] = &["combined", "other", "rx", "tx"];
/// Behind `-A`.
const PAUSE: &[&str] = &["autoneg", "rx", "tx"];
/// Behind `-N DEVICE`.
const FLOWS: &[&str] = &["delete", "flow-type", "rule", "rx-flow-hash"];
/// Behind `rx-flow-hash TYPE`: which fields are hashed.
const FIELDS: &str = "mvtsdfnrp";

/// The word that `ethtool` does not understand, and what is wrong with it.
pub(super) fn misunderstood(words: &[Word]) -> Option<(&Word, String)> {
    let [program, option, device, rest @ ..] = words else { return None };
    // What a device is called is not ours to judge, nor what follows a global flag.
    if !program.text.ends_with("ethtool") || device.text.starts_with('-') {
        return None;
    }
    let (known, what) = match &*option.text {
        "-K" | "--features" | "--offload" => (FEATURES, "feature"),
        "-C" | "--coalesce" => (COALESCE, "coalescing parameter"),
        "-G" | "--set-ring" => (RINGS, "ring"),
        "-L" | "--set-channels" => (CHANNELS, "kind of channel"),
        "-A" | "--pause" => (PAUSE, "pause parameter"),
        "-N" | "-U" | "--config-nfc" | "--config-ntuple" => return flow_hash(rest),
        _ => return None,
    };
    // Names and values take turns.
    let wrong = rest.iter().step_by(2).find(|name| !known.contains(&&*name.text) && !name.text.starts_with('-'))?;
    Some((wrong, format!("ethtool knows no {what} {:?}, and refuses the whole command", wrong.text)))
}

/// The word that switches large receive offload on.
pub(super) fn switches_lro_on(words: &[Word]) -> Option<&Word> {
    let [program, option, _, rest @ ..] = words else { return None };
    if !program.text.ends_with("ethtool") || !matches!(&*option.text, "-K" | "--features" | "--offload") {
        return None;
    }
    let (name, _) = rest.iter().step_by(2).zip(rest.iter().skip(1).step_by(2)).find(|(name, value)| {
        matches!(&*name.text, "lro" | "large-receive-offload" | "rx-lro") && value.text == "on"
    })?;
    Some(name)
}

fn flow_hash(rest: &[Word]) -> Option<(&Word, String)> {
    let first = rest.first()?;
    if !FLOWS.contains(&&*first.text) {
        return Some((first, format!("ethtool expects {} here, and refuses the command", FLOWS.join(", "))));
    }
    let [hash, _, fields, ..] = rest else { return None };
    let is_wrong = hash.text == "rx-flow-hash" && !fields.text.chars().all(|field| FIELDS.contains(field));
    is_wrong.then(|| {
        (
            fields,
            "ethtool expects letters here, such as sdfn for both addresses and both ports, and refuses this".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn words(line: &str) -> Vec<Word> {
        line.split(' ').map(|text| Word { at: crate::lint::Span::default(), text: text.into() }).collect()
    }

    #[test]
    fn invented_words_are_found() {
        for (line, wrong) in [
            ("ethtool -K eth0 rxchecksum on txchecksum on", "rxchecksum"),
            ("ethtool -K eth0 gro on tso on foo off", "foo"),
            ("ethtool -N eth0 rx-vlan hash 0x3FFFFFFF", "rx-vlan"),
            ("ethtool -N eth0 rx-flow-hash tcp4 saddr fn", "saddr"),
            ("/sbin/ethtool -G eth0 ring 4096", "ring"),
            ("ethtool -L eth0 queues 4", "queues"),
        ] {
            assert_eq!(
                misunderstood(&words(line)).map(|(word, _)| word.text.clone()).as_deref(),
                Some(wrong),
                "{line}"
            );
        }
    }

    #[test]
    fn large_receive_offload() {
        let on = |line| switches_lro_on(&words(line)).map(|word| word.text.clone());
        assert_eq!(on("ethtool -K eth0 gro on lro on").as_deref(), Some("lro"));
        assert_eq!(
            on("/sbin/ethtool --features eth0 large-receive-offload on").as_deref(),
            Some("large-receive-offload")
        );
        for line in [
            "ethtool -K eth0 lro off",
            "ethtool -K lro on",
            "ethtool -k eth0 lro on",
            "ethtool -K eth0 gro lro on",
            "ethtool",
        ] {
            assert_eq!(on(line), None, "{line}");
        }
    }

    #[test]
    fn real_ones_are_not() {
        for line in [
            "ethtool -K eth0 rx on tx on gro off lro off",
            "ethtool -K $DEV tx-udp-segmentation on",
            "ethtool -N eth0 rx-flow-hash tcp4 sdfn",
            "ethtool -N eth0 flow-type tcp4 dst-port 80 action 2",
            "ethtool -C eth0 adaptive-rx on rx-usecs 50",
            "ethtool -G eth0 rx 4096 tx 4096",
            "ethtool -L eth0 combined 8",
            "ethtool -S eth0",
            "ethtool eth0",
            "ethtool",
        ] {
            assert_eq!(misunderstood(&words(line)), None, "{line}");
        }
    }
}

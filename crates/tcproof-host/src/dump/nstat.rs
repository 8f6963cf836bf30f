//! `nstat -az`: counters with their group's name in front, such as `TcpExtListenOverflows 12 0.0`.

use std::collections::BTreeMap;

/// Longest first: `Tcp` begins `TcpExt`, too.
const GROUPS: &[&str] = &[
    "MPTcpExt", "UdpLite6", "IcmpMsg", "UdpLite", "TcpExt", "IpExt", "Icmp6", "Udp6", "Icmp", "Ip6", "Tcp", "Udp", "Ip",
];

/// The counters as `Group.Name`, and whether those that are zero are among them (`-z`).
pub fn parse(text: &str) -> (BTreeMap<String, u64>, bool) {
    let mut counters = BTreeMap::new();
    let mut zeros = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        // A gauge may be negative, which is no count.
        let Ok(value) = value.parse::<u64>() else { continue };
        let group = GROUPS.iter().find(|group| name.len() > group.len() && name.starts_with(**group));
        let Some(group) = group else { continue };
        zeros |= value == 0;
        counters.insert(format!("{group}.{}", &name[group.len()..]), value);
    }
    (counters, zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart() {
        let text = "#kernel\nIpInReceives 5 0.0\nTcpExtListenOverflows 12 0.0\nTcpMaxConn -1 0\nTcpRetransSegs 3 0\nIp6InReceives 0 0.0\nIcmp6InMsgs 1 0\nMPTcpExtMPCapableSYNRX 7 0\nbroken\nX 1\n";
        let (counters, zeros) = parse(text);
        let expected = [
            ("Icmp6.InMsgs", 1),
            ("Ip.InReceives", 5),
            ("Ip6.InReceives", 0),
            ("MPTcpExt.MPCapableSYNRX", 7),
            ("Tcp.RetransSegs", 3),
            ("TcpExt.ListenOverflows", 12),
        ];
        assert_eq!(counters, expected.map(|(name, value)| (name.to_string(), value)).into());
        assert!(zeros && !parse("#kernel\nIpInReceives 5 0.0\n").1);
    }
}

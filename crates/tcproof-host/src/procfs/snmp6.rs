//! `/proc/net/snmp6`: a name and a value on each line.

use std::collections::BTreeMap;

use tcproof_core::Absent;

use super::At;

/// Counters by `Group.Name`: `Ip6.InNoRoutes`, `Icmp6.InType135`, `UdpLite6.InErrors`.
///
/// # Errors
/// A line that is not a name and a number; an empty file.
pub fn parse(text: &str, place: &str) -> Result<BTreeMap<String, u64>, Absent> {
    let mut counters = BTreeMap::new();
    for (at, line) in At::lines(text, place) {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value), None) = (words.next(), words.next(), words.next()) else {
            return Err(at.wrong("a name and a value", line));
        };
        // The group is what ends in the protocol's 6.
        let key = match name.split_once('6') {
            Some((group, name)) => format!("{group}6.{name}"),
            None => name.to_string(),
        };
        counters.entry(key).or_insert(at.number(value)?);
    }
    if counters.is_empty() {
        return Err(At::end(text, place).missing("a name and a value"));
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error, some};

    #[test]
    fn every_kernel() {
        let wanted = ["Ip6.InReceives", "Ip6.OutNoRoutes", "Udp6.MemErrors", "UdpLite6.NoPorts", "Icmp6.InType135"];
        let shown = each_kernel("proc/net/snmp6", |text, place| {
            let counters = parse(text, place)?;
            Ok(format!(" {}{}", counters.len(), some(&counters, &wanted)))
        });
        insta::assert_snapshot!(shown, @"
        4.19: 82 Ip6.InReceives=11 Ip6.OutNoRoutes=455 Udp6.MemErrors=- UdpLite6.NoPorts=0 Icmp6.InType135=-
        5.10: 85 Ip6.InReceives=10 Ip6.OutNoRoutes=0 Udp6.MemErrors=- UdpLite6.NoPorts=0 Icmp6.InType135=-
        6.1: 88 Ip6.InReceives=10 Ip6.OutNoRoutes=0 Udp6.MemErrors=0 UdpLite6.NoPorts=0 Icmp6.InType135=-
        6.12: 89 Ip6.InReceives=9 Ip6.OutNoRoutes=0 Udp6.MemErrors=0 UdpLite6.NoPorts=0 Icmp6.InType135=-
        6.18: 86 Ip6.InReceives=8 Ip6.OutNoRoutes=0 Udp6.MemErrors=0 UdpLite6.NoPorts=0 Icmp6.InType135=-
        7.2: 81 Ip6.InReceives=9 Ip6.OutNoRoutes=0 Udp6.MemErrors=0 UdpLite6.NoPorts=- Icmp6.InType135=-
        ");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/net/snmp6")),
            error(parse("Ip6InReceives 1\nIp6InDisc", "/proc/net/snmp6")),
            error(parse("Ip6InReceives 1 2\n", "/proc/net/snmp6")),
            error(parse("Ip6InReceives x\n", "/proc/net/snmp6")),
        ].join("\n"), @r#"
        /proc/net/snmp6:1: expected a name and a value
        /proc/net/snmp6:2: expected a name and a value, found "Ip6InDisc"
        /proc/net/snmp6:1: expected a name and a value, found "Ip6InReceives 1 2"
        /proc/net/snmp6:1: expected a whole number, found "x"
        "#);
    }
}

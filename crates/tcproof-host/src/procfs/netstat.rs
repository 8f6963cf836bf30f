//! `/proc/net/netstat` and `/proc/net/snmp`: a line of names, then a line of values, for each group.

use std::collections::BTreeMap;

use tcproof_core::Absent;

use super::{At, shown};

/// Counters by `Group.Name`: `TcpExt.ListenDrops`, `Tcp.PassiveOpens`. Negative values are left out.
///
/// A group may come several times: `IcmpMsg` starts a new pair of lines after every 16 message types.
///
/// # Errors
/// A line that is not the pair's other half, or is shorter or longer; a value that is no number; an empty file.
pub fn parse(text: &str, place: &str) -> Result<BTreeMap<String, u64>, Absent> {
    let mut counters = BTreeMap::new();
    let mut lines = At::lines(text, place);
    while let Some((at, header)) = lines.next() {
        let (group, names) = header.split_once(':').ok_or_else(|| at.wrong("a line \"Group: Name Name …\"", header))?;
        let (at, values) =
            lines.next().ok_or_else(|| At::end(text, place).missing(&format!("values of {}", shown(group))))?;
        let values = values.strip_prefix(group).and_then(|rest| rest.strip_prefix(':'));
        let values = values.ok_or_else(|| at.missing(&format!("values of {}", shown(group))))?;

        let mut values = values.split_ascii_whitespace();
        for name in names.split_ascii_whitespace() {
            let value = values.next().ok_or_else(|| at.missing("a value for each name of the line above"))?;
            if let Some(value) = at.counter(value)? {
                counters.entry(format!("{group}.{name}")).or_insert(value);
            }
        }
        if let Some(value) = values.next() {
            return Err(at.wrong("no more values than names in the line above", value));
        }
    }
    if counters.is_empty() {
        return Err(At::end(text, place).missing("a line \"Group: Name Name …\""));
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error, some};
    use proptest::prelude::*;

    #[test]
    fn netstat_of_every_kernel() {
        let wanted = ["TcpExt.ListenDrops", "TcpExt.TCPBacklogCoalesce", "TcpExt.TSEcrRejected", "IpExt.InOctets"];
        let shown = each_kernel("proc/net/netstat", |text, place| {
            let counters = parse(text, place)?;
            Ok(format!(" {}{}", counters.len(), some(&counters, &wanted)))
        });
        insta::assert_snapshot!(shown, @"
        4.19: 135 TcpExt.ListenDrops=52 TcpExt.TCPBacklogCoalesce=- TcpExt.TSEcrRejected=- IpExt.InOctets=233
        5.10: 141 TcpExt.ListenDrops=6 TcpExt.TCPBacklogCoalesce=0 TcpExt.TSEcrRejected=- IpExt.InOctets=34197332
        6.1: 199 TcpExt.ListenDrops=4 TcpExt.TCPBacklogCoalesce=0 TcpExt.TSEcrRejected=- IpExt.InOctets=37091471
        6.12: 224 TcpExt.ListenDrops=18 TcpExt.TCPBacklogCoalesce=60 TcpExt.TSEcrRejected=- IpExt.InOctets=59200124
        6.18: 229 TcpExt.ListenDrops=6 TcpExt.TCPBacklogCoalesce=0 TcpExt.TSEcrRejected=0 IpExt.InOctets=704
        7.2: 229 TcpExt.ListenDrops=23 TcpExt.TCPBacklogCoalesce=60 TcpExt.TSEcrRejected=0 IpExt.InOctets=60639574
        ");
    }

    #[test]
    fn snmp_of_every_kernel() {
        let wanted = ["Tcp.PassiveOpens", "Tcp.MaxConn", "Udp.MemErrors", "IcmpMsg.InType0", "IcmpMsg.OutType12"];
        let shown = each_kernel("proc/net/snmp", |text, place| {
            let counters = parse(text, place)?;
            Ok(format!(" {}{}", counters.len(), some(&counters, &wanted)))
        });
        insta::assert_snapshot!(shown, @"
        4.19: 94 Tcp.PassiveOpens=7000 Tcp.MaxConn=- Udp.MemErrors=- IcmpMsg.InType0=3 IcmpMsg.OutType12=4
        5.10: 77 Tcp.PassiveOpens=254 Tcp.MaxConn=- Udp.MemErrors=- IcmpMsg.InType0=- IcmpMsg.OutType12=-
        6.1: 81 Tcp.PassiveOpens=255 Tcp.MaxConn=- Udp.MemErrors=0 IcmpMsg.InType0=- IcmpMsg.OutType12=-
        6.12: 82 Tcp.PassiveOpens=256 Tcp.MaxConn=- Udp.MemErrors=0 IcmpMsg.InType0=- IcmpMsg.OutType12=-
        6.18: 81 Tcp.PassiveOpens=3 Tcp.MaxConn=- Udp.MemErrors=0 IcmpMsg.InType0=- IcmpMsg.OutType12=-
        7.2: 72 Tcp.PassiveOpens=256 Tcp.MaxConn=- Udp.MemErrors=0 IcmpMsg.InType0=- IcmpMsg.OutType12=-
        ");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/net/netstat")),
            error(parse("TcpExt: A B\n", "/proc/net/netstat")),
            error(parse("TcpExt: A B\nTcpExt: 1\n", "/proc/net/netstat")),
            error(parse("TcpExt: A B\nTcpExt: 1 2 3\n", "/proc/net/netstat")),
            error(parse("TcpExt: A B\nIpExt: 1 2\n", "/proc/net/netstat")),
            error(parse("TcpExt: A B\nTcpExt: 1 \u{1b}[31m\n", "/proc/net/netstat")),
            error(parse("TcpExt: A\nTcpExt: 99999999999999999999\n", "/proc/net/netstat")),
            error(parse("TcpExt: A\nTcpExt: 1\n\0\0\0", "/proc/net/netstat")),
        ].join("\n"), @r#"
        /proc/net/netstat:1: expected a line "Group: Name Name …"
        /proc/net/netstat:2: expected values of "TcpExt"
        /proc/net/netstat:2: expected a value for each name of the line above
        /proc/net/netstat:2: expected no more values than names in the line above, found "3"
        /proc/net/netstat:2: expected values of "TcpExt"
        /proc/net/netstat:2: expected a whole number, found "\u{1b}[31m"
        /proc/net/netstat:2: expected a whole number, found "99999999999999999999"
        /proc/net/netstat:3: expected a line "Group: Name Name …", found "\0\0\0"
        "#);
    }

    #[test]
    fn every_truncation_is_an_error_or_has_fewer_groups() {
        let text = "TcpExt: A B\nTcpExt: 1 2\nIpExt: C D\nIpExt: 3 4\n";
        for end in 0..text.len() {
            if let Ok(counters) = parse(&text[..end], "f") {
                assert!(counters.len() == 2 || end + 1 == text.len(), "{end}: {counters:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn pairs_survive_the_round_trip(
            groups in prop::collection::btree_map(
                "[A-Z][A-Za-z0-9]{0,8}",
                prop::collection::btree_map("[A-Z][A-Za-z0-9]{0,8}", any::<u64>(), 1..20),
                1..5,
            )
        ) {
            let mut text = String::new();
            let mut wanted = BTreeMap::new();
            for (group, counters) in &groups {
                let names: Vec<&str> = counters.keys().map(String::as_str).collect();
                let values: Vec<String> = counters.values().map(u64::to_string).collect();
                text += &format!("{group}: {}\n{group}: {}\n", names.join(" "), values.join(" "));
                wanted.extend(counters.iter().map(|(name, value)| (format!("{group}.{name}"), *value)));
            }
            prop_assert_eq!(parse(&text, "netstat"), Ok(wanted));
        }
    }
}

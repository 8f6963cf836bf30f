//! `/proc/net/sockstat` and `/proc/net/sockstat6`: a protocol on each line, with pairs of name and value.

use std::collections::BTreeMap;

use tcproof_core::Absent;

use super::{At, shown};

/// Values by `PROTOCOL.name`: `TCP.tw`, `TCP.mem` (pages), `sockets.used`, `TCP6.inuse`.
///
/// # Errors
/// A line without a protocol, a name without a value, a value that is no number; an empty file.
pub fn parse(text: &str, place: &str) -> Result<BTreeMap<String, u64>, Absent> {
    let mut values = BTreeMap::new();
    for (at, line) in At::lines(text, place) {
        let (protocol, pairs) = line.split_once(':').ok_or_else(|| at.wrong("a protocol and its values", line))?;
        let mut words = pairs.split_ascii_whitespace();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| at.missing(&format!("a value for {}", shown(name))))?;
            // Sums over CPUs that are not read at one instant may be negative for a moment.
            if let Some(value) = at.counter(value)? {
                values.entry(format!("{protocol}.{name}")).or_insert(value);
            }
        }
    }
    if values.is_empty() {
        return Err(At::end(text, place).missing("a protocol and its values"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error, some};

    #[test]
    fn every_kernel() {
        let wanted = ["sockets.used", "TCP.inuse", "TCP.orphan", "TCP.tw", "TCP.mem", "FRAG.memory"];
        let shown = each_kernel("proc/net/sockstat", |text, place| Ok(some(&parse(text, place)?, &wanted)));
        insta::assert_snapshot!(shown, @"
        4.19: sockets.used=214 TCP.inuse=31 TCP.orphan=2 TCP.tw=900 TCP.mem=7 FRAG.memory=0
        5.10: sockets.used=3 TCP.inuse=3 TCP.orphan=0 TCP.tw=2 TCP.mem=2 FRAG.memory=0
        6.1: sockets.used=4 TCP.inuse=4 TCP.orphan=0 TCP.tw=3 TCP.mem=353 FRAG.memory=0
        6.12: sockets.used=3 TCP.inuse=3 TCP.orphan=0 TCP.tw=2 TCP.mem=440 FRAG.memory=0
        6.18: sockets.used=9 TCP.inuse=8 TCP.orphan=0 TCP.tw=1 TCP.mem=260 FRAG.memory=0
        7.2: sockets.used=3 TCP.inuse=3 TCP.orphan=0 TCP.tw=2 TCP.mem=235 FRAG.memory=0
        ");
        let wanted = ["TCP6.inuse", "UDP6.inuse", "RAW6.inuse", "FRAG6.memory"];
        let shown = each_kernel("proc/net/sockstat6", |text, place| Ok(some(&parse(text, place)?, &wanted)));
        insta::assert_snapshot!(shown, @"
        4.19: TCP6.inuse=5 UDP6.inuse=3 RAW6.inuse=1 FRAG6.memory=0
        5.10: TCP6.inuse=0 UDP6.inuse=0 RAW6.inuse=0 FRAG6.memory=0
        6.1: TCP6.inuse=0 UDP6.inuse=0 RAW6.inuse=0 FRAG6.memory=0
        6.12: TCP6.inuse=0 UDP6.inuse=0 RAW6.inuse=0 FRAG6.memory=0
        6.18: TCP6.inuse=1 UDP6.inuse=0 RAW6.inuse=0 FRAG6.memory=0
        7.2: TCP6.inuse=0 UDP6.inuse=0 RAW6.inuse=0 FRAG6.memory=0
        ");
    }

    #[test]
    fn what_is_negative_is_no_count() {
        assert_eq!(parse("TCP: inuse -1 tw 3\n", "f"), Ok(BTreeMap::from([("TCP.tw".to_string(), 3)])));
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/net/sockstat")),
            error(parse("sockets: used 3\nTCP: inuse 8 orph", "/proc/net/sockstat")),
            error(parse("sockets: used 3\nTCP: inuse many\n", "/proc/net/sockstat")),
            error(parse("used 3\n", "/proc/net/sockstat")),
        ].join("\n"), @r#"
        /proc/net/sockstat:1: expected a protocol and its values
        /proc/net/sockstat:2: expected a value for "orph"
        /proc/net/sockstat:2: expected a whole number, found "many"
        /proc/net/sockstat:1: expected a protocol and its values, found "used 3"
        "#);
    }
}

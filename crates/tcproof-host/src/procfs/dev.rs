//! `/proc/net/dev`: two lines of names, then a line for each network device.

use std::collections::BTreeMap;

use tcproof_core::Absent;
use tcproof_core::snapshot::Device;

use super::At;

/// Which column holds what, counted from the device's name.
struct Columns {
    rx_packets: usize,
    rx_dropped: usize,
    tx_packets: usize,
    tx_dropped: usize,
}

impl Columns {
    /// From ` face |bytes    packets errs drop …|bytes    packets errs drop …`.
    fn of(header: &str) -> Option<Self> {
        let mut halves = header.split('|').skip(1);
        let receive: Vec<&str> = halves.next()?.split_ascii_whitespace().collect();
        let transmit: Vec<&str> = halves.next()?.split_ascii_whitespace().collect();
        let column = |names: &[&str], wanted| names.iter().position(|name| *name == wanted);
        Some(Self {
            rx_packets: column(&receive, "packets")?,
            rx_dropped: column(&receive, "drop")?,
            tx_packets: receive.len() + column(&transmit, "packets")?,
            tx_dropped: receive.len() + column(&transmit, "drop")?,
        })
    }
}

/// The devices by name.
///
/// # Errors
/// A header without packets and drops, a line without a name or too short, a value that is no number; an empty file.
/// A namespace without any device is not an error.
pub fn parse(text: &str, place: &str) -> Result<BTreeMap<String, Device>, Absent> {
    let mut lines = At::lines(text, place).skip(1);
    let header = lines.next().map_or("", |(_, line)| line);
    let columns = Columns::of(header)
        .ok_or_else(|| At { place, line: 2 }.wrong("a line \"face |… packets … drop …|… packets … drop …\"", header))?;
    let mut devices = BTreeMap::new();
    for (at, line) in lines {
        // The last colon: an alias (`eth0:1`) has one of its own, and a wide number leaves no space behind it.
        let (name, values) = line.rsplit_once(':').ok_or_else(|| at.wrong("a device's name and a colon", line))?;
        let values: Vec<&str> = values.split_ascii_whitespace().collect();
        let value = |column: usize| match values.get(column) {
            Some(word) => at.number(word),
            None => Err(at.missing("a value for each name of the header")),
        };
        let device = Device {
            rx_packets: value(columns.rx_packets)?,
            rx_dropped: value(columns.rx_dropped)?,
            tx_packets: value(columns.tx_packets)?,
            tx_dropped: value(columns.tx_dropped)?,
        };
        devices.insert(name.trim_start().to_string(), device);
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    const HEADER: &str =
        "Inter-|   Receive           |  Transmit\n face |bytes packets errs drop|bytes packets errs drop\n";

    #[test]
    fn every_kernel() {
        let shown = each_kernel("proc/net/dev", |text, place| {
            Ok(parse(text, place)?.iter().map(|(name, device)| format!("\n  {name:?} {device:?}")).collect())
        });
        insta::assert_snapshot!(shown, @r#"
        4.19:
          "eth0" Device { rx_packets: 98765432, rx_dropped: 17, tx_packets: 87654321, tx_dropped: 5 }
          "lo" Device { rx_packets: 20, rx_dropped: 0, tx_packets: 20, tx_dropped: 0 }
        5.10:
          "lo" Device { rx_packets: 5227, rx_dropped: 0, tx_packets: 5227, tx_dropped: 0 }
        6.1:
          "lo" Device { rx_packets: 5198, rx_dropped: 0, tx_packets: 5198, tx_dropped: 0 }
        6.12:
          "lo" Device { rx_packets: 5013, rx_dropped: 0, tx_packets: 5013, tx_dropped: 0 }
        6.18:
          "lo" Device { rx_packets: 20, rx_dropped: 0, tx_packets: 20, tx_dropped: 0 }
        7.2:
          "lo" Device { rx_packets: 5272, rx_dropped: 0, tx_packets: 5272, tx_dropped: 0 }
        "#);
    }

    #[test]
    fn names_may_hold_colons_and_touch_the_numbers() {
        let text = format!("{HEADER}eth0:1: 1 2 3 4 5 6 7 8\n  eth1:1 2 3 4 5 6 7 8\n");
        let device = Device { rx_packets: 2, rx_dropped: 4, tx_packets: 6, tx_dropped: 8 };
        assert_eq!(parse(&text, "f"), Ok(BTreeMap::from([("eth0:1".into(), device), ("eth1".into(), device)])));
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "Inter-|\n face |drop packets|new drop packets\nlo: 1 2 3 4 5\n";
        let device = Device { rx_packets: 2, rx_dropped: 1, tx_packets: 5, tx_dropped: 4 };
        assert_eq!(parse(text, "f"), Ok(BTreeMap::from([("lo".into(), device)])));
    }

    #[test]
    fn no_device_is_no_error() {
        assert_eq!(parse(HEADER, "f"), Ok(BTreeMap::new()));
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/net/dev")),
            error(parse("Inter-|\n face |bytes\n", "/proc/net/dev")),
            error(parse(&format!("{HEADER}lo: 1 2 3"), "/proc/net/dev")),
            error(parse(&format!("{HEADER}lo: 1 2 3 4 5 6 7 -8\n"), "/proc/net/dev")),
            error(parse(&format!("{HEADER}lo 1 2 3 4 5 6 7 8\n"), "/proc/net/dev")),
        ].join("\n"), @r#"
        /proc/net/dev:2: expected a line "face |… packets … drop …|… packets … drop …", found ""
        /proc/net/dev:2: expected a line "face |… packets … drop …|… packets … drop …", found " face |bytes"
        /proc/net/dev:3: expected a value for each name of the header
        /proc/net/dev:3: expected a whole number, found "-8"
        /proc/net/dev:3: expected a device's name and a colon, found "lo 1 2 3 4 5 6 7 8"
        "#);
    }
}

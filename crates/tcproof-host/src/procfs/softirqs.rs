//! `/proc/softirqs`: a line of CPUs, then a line for each kind of soft interrupt.

use tcproof_core::Absent;
use tcproof_core::snapshot::SoftirqCpu;

use super::{At, cpu_columns};

/// The network's soft interrupts of every CPU that the machine could have, offline ones too.
///
/// # Errors
/// No line of CPUs, no line `NET_RX` or `NET_TX`, one that is too short, a value that is no number of 32 bits.
pub fn parse(text: &str, place: &str) -> Result<Vec<SoftirqCpu>, Absent> {
    let mut lines = At::lines(text, place);
    let mut cpus: Vec<SoftirqCpu> =
        cpu_columns(lines.next(), place)?.into_iter().map(|cpu| SoftirqCpu { cpu, ..SoftirqCpu::default() }).collect();
    let mut found = [false; 2];
    for (at, line) in lines {
        let Some((name, values)) = line.split_once(':') else { continue };
        let kind = match name.trim_start() {
            "NET_RX" => 0,
            "NET_TX" => 1,
            _ => continue,
        };
        found[kind] = true;
        let mut values = values.split_ascii_whitespace();
        for cpu in &mut cpus {
            let word = values.next().ok_or_else(|| at.missing("a value for each CPU of the first line"))?;
            let value = at.number32(word)?;
            *(if kind == 0 { &mut cpu.net_rx } else { &mut cpu.net_tx }) = value;
        }
    }
    match found {
        [true, true] => Ok(cpus),
        _ => Err(At::end(text, place).missing("lines \"NET_RX: …\" and \"NET_TX: …\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::error;

    #[test]
    fn columns_are_named_and_offline_cpus_have_one_too() {
        let text = "                    CPU0       CPU2       \n          HI:          0          0\n      \
                    NET_TX:         47        365\n      NET_RX: 4294967295   25536105\n         RCU:    2742483    2854848\n";
        let seen = parse(text, "f").unwrap();
        assert_eq!(seen[0], SoftirqCpu { cpu: 0, net_rx: u32::MAX, net_tx: 47 });
        assert_eq!(seen[1], SoftirqCpu { cpu: 2, net_rx: 25_536_105, net_tx: 365 });
    }

    #[test]
    fn a_recorded_one() {
        let root = crate::Root::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/6.18"));
        insta::assert_snapshot!(format!("{:?}", parse(&root.read("proc/softirqs").unwrap(), "f").unwrap()), @"[SoftirqCpu { cpu: 0, net_rx: 27149555, net_tx: 79387 }, SoftirqCpu { cpu: 1, net_rx: 27819931, net_tx: 60720 }]");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        let place = "/proc/softirqs";
        insta::assert_snapshot!([
            error(parse("", place)),
            error(parse("x\n", place)),
            error(parse("CPU0 CPUx\n", place)),
            error(parse("CPU0\nNET_RX: 1\n", place)),
            error(parse("CPU0 CPU1\nNET_RX: 1\n", place)),
            error(parse("CPU0\nNET_RX: 4294967296\n", place)),
        ].join("\n"), @r#"
        /proc/softirqs:1: expected a line "CPU0 CPU1 …", found ""
        /proc/softirqs:1: expected a line "CPU0 CPU1 …", found "x"
        /proc/softirqs:1: expected a line "CPU0 CPU1 …", found "CPU0 CPUx"
        /proc/softirqs:3: expected lines "NET_RX: …" and "NET_TX: …"
        /proc/softirqs:2: expected a value for each CPU of the first line
        /proc/softirqs:2: expected a whole number of 32 bits, found "4294967296"
        "#);
    }
}

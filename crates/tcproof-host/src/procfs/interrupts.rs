//! `/proc/interrupts`: a line of CPUs, then a line for each interrupt.

use std::collections::BTreeMap;

use tcproof_core::Absent;
use tcproof_core::snapshot::Interrupt;

use super::{At, cpu_columns};

/// The numbered interrupts, those of devices; not the named ones of the architecture (`NMI`, `LOC`).
///
/// # Errors
/// No line of CPUs, a line that is too short or a count that is no number of 32 bits.
pub fn parse(text: &str, place: &str) -> Result<Vec<Interrupt>, Absent> {
    let mut lines = At::lines(text, place);
    let cpus = cpu_columns(lines.next(), place)?;
    let mut interrupts = Vec::new();
    for (at, line) in lines {
        let Some((number, rest)) = line.split_once(':') else { continue };
        let Ok(irq) = number.trim_start().parse() else { continue };
        let mut counts = BTreeMap::new();
        let mut rest = rest.trim_start();
        for cpu in &cpus {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            let count = at.number32(word)?;
            if count > 0 {
                counts.insert(*cpu, count);
            }
            rest = behind.trim_start();
        }
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        interrupts.push(Interrupt { irq, name: words.join(" "), counts });
    }
    Ok(interrupts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::error;

    const TEXT: &str = "           CPU0       CPU2       \n 26:          0         13  IO-APIC   4-edge      ttyS0\n \
                        38:          0       6360 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\n\
                        125: 4294967295          0   PCI-MSI 524289-edge      eth0-TxRx-0\nNMI:          0          0   \
                        Non-maskable interrupts\nERR:          0\n";

    #[test]
    fn numbered_ones_with_their_names() {
        let seen = parse(TEXT, "f").unwrap();
        let shown: Vec<_> = seen.iter().map(|i| format!("{} {:?} {}", i.irq, i.counts, i.name)).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        26 {2: 13} IO-APIC 4-edge ttyS0
        38 {2: 6360} PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0
        125 {0: 4294967295} PCI-MSI 524289-edge eth0-TxRx-0
        ");
    }

    #[test]
    fn a_virtual_machine() {
        let root = crate::Root::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/6.18"));
        let seen = parse(&root.read("proc/interrupts").unwrap(), "f").unwrap();
        let network: Vec<_> = seen.iter().filter(|irq| irq.name.contains("virtio2-")).collect();
        let shown: Vec<_> = network.iter().map(|irq| format!("{} {:?} {}", irq.irq, irq.counts, irq.name)).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        37 {} PCI-MSIX-0000:00:03.0 0-edge virtio2-config
        38 {1: 9248} PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0
        39 {0: 6885} PCI-MSIX-0000:00:03.0 2-edge virtio2-output.0
        ");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        let place = "/proc/interrupts";
        insta::assert_snapshot!([
            error(parse("", place)),
            error(parse("CPU0 CPU1\n 1: 5", place)),
            error(parse("CPU0\n 1: x", place)),
            error(parse("CPU0\n 1: 4294967296 x\n", place)),
        ].join("\n"), @r#"
        /proc/interrupts:1: expected a line "CPU0 CPU1 …", found ""
        /proc/interrupts:2: expected a whole number of 32 bits, found ""
        /proc/interrupts:2: expected a whole number of 32 bits, found "x"
        /proc/interrupts:2: expected a whole number of 32 bits, found "4294967296"
        "#);
    }
}

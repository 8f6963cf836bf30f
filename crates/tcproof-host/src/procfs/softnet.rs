//! `/proc/net/softnet_stat`: a row of hexadecimal numbers for each online CPU, without names.

use tcproof_core::Absent;
use tcproof_core::snapshot::SoftnetCpu;

use super::At;

/// Columns that every kernel since 3.11 has. Since 5.10 there are 13, later 15; the new ones are added at the end.
const OLDEST: usize = 11;

/// The rows. Before 5.10 a row does not say which CPU it is, and the row's number is not the CPU's when one before it
/// is offline.
///
/// # Errors
/// A row with fewer than 11 columns, a value that is no hexadecimal number of 32 bits; an empty file.
pub fn parse(text: &str, place: &str) -> Result<Vec<SoftnetCpu>, Absent> {
    let mut cpus = Vec::new();
    for (at, line) in At::lines(text, place) {
        let columns = line.split_ascii_whitespace().map(|word| {
            let value = at.hex(word)?;
            u32::try_from(value).map_err(|_| at.wrong("a hexadecimal number of 32 bits", word))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if columns.len() < OLDEST {
            return Err(at.missing(&format!("at least {OLDEST} columns, found {}", columns.len())));
        }
        // 3 to 7 were fastroute's, 8 was cpu_collision, 9 is received_rps.
        let (backlog, cpu) = match columns.get(11..13) {
            Some(&[backlog, cpu]) => (Some(backlog), cpu),
            _ => (None, u32::try_from(cpus.len()).unwrap_or(u32::MAX)),
        };
        cpus.push(SoftnetCpu {
            cpu,
            processed: columns[0],
            dropped: columns[1],
            time_squeeze: columns[2],
            flow_limit: columns[10],
            backlog,
        });
    }
    if cpus.is_empty() {
        return Err(At::end(text, place).missing("a row for each CPU"));
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    #[test]
    fn every_kernel() {
        let shown = each_kernel("proc/net/softnet_stat", |text, place| {
            let rows = parse(text, place)?;
            Ok(rows.iter().map(|row| format!("\n  {row:?}")).collect())
        });
        insta::assert_snapshot!(shown, @"
        4.19:
          SoftnetCpu { cpu: 0, processed: 1715004, dropped: 0, time_squeeze: 17, flow_limit: 2, backlog: None }
          SoftnetCpu { cpu: 1, processed: 4294967295, dropped: 31, time_squeeze: 3, flow_limit: 0, backlog: None }
        5.10:
          SoftnetCpu { cpu: 0, processed: 56214, dropped: 0, time_squeeze: 65, flow_limit: 0, backlog: Some(0) }
          SoftnetCpu { cpu: 2, processed: 1619545, dropped: 83170, time_squeeze: 51, flow_limit: 0, backlog: Some(0) }
        6.1:
          SoftnetCpu { cpu: 0, processed: 3384, dropped: 0, time_squeeze: 0, flow_limit: 0, backlog: Some(0) }
          SoftnetCpu { cpu: 2, processed: 941, dropped: 0, time_squeeze: 0, flow_limit: 0, backlog: Some(0) }
        6.12:
          SoftnetCpu { cpu: 0, processed: 105868, dropped: 0, time_squeeze: 140, flow_limit: 0, backlog: Some(0) }
          SoftnetCpu { cpu: 2, processed: 81758, dropped: 0, time_squeeze: 79, flow_limit: 0, backlog: Some(0) }
        6.18:
          SoftnetCpu { cpu: 0, processed: 24, dropped: 0, time_squeeze: 0, flow_limit: 0, backlog: Some(0) }
          SoftnetCpu { cpu: 1, processed: 3555, dropped: 0, time_squeeze: 0, flow_limit: 0, backlog: Some(0) }
        7.2:
          SoftnetCpu { cpu: 0, processed: 3737, dropped: 0, time_squeeze: 1, flow_limit: 0, backlog: Some(0) }
          SoftnetCpu { cpu: 2, processed: 1973675, dropped: 531439, time_squeeze: 33, flow_limit: 0, backlog: Some(0) }
        ");
    }

    #[test]
    fn every_column_is_read() {
        // 6.1's columns, made-up values.
        let row = "ffffffff 0000001f 00000003 0 0 0 0 0 0 00000005 00000002 00000004 00000006\n";
        insta::assert_snapshot!(
            format!("{:?}", parse(row, "f").unwrap()[0]),
            @"SoftnetCpu { cpu: 6, processed: 4294967295, dropped: 31, time_squeeze: 3, flow_limit: 2, backlog: Some(4) }"
        );
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        let row = "0 ".repeat(11);
        insta::assert_snapshot!([
            error(parse("", "/proc/net/softnet_stat")),
            error(parse(&format!("{row}\n0 0 0"), "/proc/net/softnet_stat")),
            error(parse(&format!("{row}100000000\n"), "/proc/net/softnet_stat")),
            error(parse(&format!("{row}drop\n"), "/proc/net/softnet_stat")),
        ].join("\n"), @r#"
        /proc/net/softnet_stat:1: expected a row for each CPU
        /proc/net/softnet_stat:2: expected at least 11 columns, found 3
        /proc/net/softnet_stat:1: expected a hexadecimal number of 32 bits, found "100000000"
        /proc/net/softnet_stat:1: expected a hexadecimal number, found "drop"
        "#);
    }
}

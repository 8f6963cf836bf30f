//! `/proc/net/stat/nf_conntrack`, `arp_cache` and `ndisc_cache`: a line of names, then a row of hexadecimal numbers for
//! each CPU.

use std::collections::BTreeMap;

use tcproof_core::Absent;

use super::At;

/// The one column that is no counter of its CPU: the table's entries, which every row repeats.
const GAUGE: &str = "entries";

/// Values by the header's names, counters summed over the CPUs.
///
/// conntrack's names differ: `searched` made room for `clashres`, and `delete_list` for the chains that grew too long
/// (later than 5.10). The header calls those `chainlength`; here they have the name that netlink (`conntrack -S`) and
/// the kernel's source give them, `chaintoolong`. conntrack's are 32 bits for each CPU and wrap.
///
/// # Errors
/// A row shorter than the header, a value that is no hexadecimal number; no row at all. A longer row is a kernel that
/// forgot a name at the end.
pub fn parse(text: &str, place: &str) -> Result<BTreeMap<String, u64>, Absent> {
    let mut lines = At::lines(text, place);
    let header = lines.next().map_or("", |(_, line)| line);
    let names: Vec<&str> =
        header.split_ascii_whitespace().map(|name| if name == "chainlength" { "chaintoolong" } else { name }).collect();
    if names.is_empty() {
        return Err(At { place, line: 1 }.missing("a line of names"));
    }
    let mut values = BTreeMap::new();
    for (at, line) in lines {
        let mut row = line.split_ascii_whitespace();
        for &name in &names {
            let word = row.next().ok_or_else(|| at.missing(&format!("{} columns", names.len())))?;
            let value = at.hex(word)?;
            let sum = values.entry(name.to_string()).or_insert(if name == GAUGE { value } else { 0 });
            if name != GAUGE {
                *sum = sum.saturating_add(value);
            }
        }
    }
    if values.is_empty() {
        return Err(At::end(text, place).missing("a row for each CPU"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error, some};

    #[test]
    fn conntrack_of_every_kernel() {
        let names = ["entries", "drop", "early_drop", "insert_failed", "clashres", "chaintoolong", "search_restart"];
        let shown = each_kernel("proc/net/stat/nf_conntrack", |text, place| Ok(some(&parse(text, place)?, &names)));
        insta::assert_snapshot!(shown, @"
        4.19: entries=258 drop=4294967311 early_drop=1 insert_failed=4 clashres=- chaintoolong=- search_restart=6
        5.10: entries=5 drop=0 early_drop=0 insert_failed=0 clashres=0 chaintoolong=- search_restart=0
        6.1: entries=5 drop=0 early_drop=0 insert_failed=0 clashres=0 chaintoolong=0 search_restart=0
        6.12: entries=5 drop=0 early_drop=0 insert_failed=0 clashres=0 chaintoolong=0 search_restart=0
        6.18: entries=0 drop=0 early_drop=0 insert_failed=0 clashres=0 chaintoolong=0 search_restart=0
        7.2: entries=5 drop=0 early_drop=0 insert_failed=0 clashres=0 chaintoolong=0 search_restart=0
        ");
    }

    #[test]
    fn neighbours_of_every_kernel() {
        let names = ["entries", "allocs", "forced_gc_runs", "table_fulls"];
        let shown = each_kernel("proc/net/stat/arp_cache", |text, place| Ok(some(&parse(text, place)?, &names)));
        insta::assert_snapshot!(shown, @"
        4.19: entries=9 allocs=11 forced_gc_runs=0 table_fulls=7
        5.10: entries=1 allocs=82 forced_gc_runs=4592 table_fulls=4591
        6.1: entries=1 allocs=69 forced_gc_runs=4441 table_fulls=4440
        6.12: entries=1 allocs=83 forced_gc_runs=4628 table_fulls=4627
        6.18: entries=2 allocs=3 forced_gc_runs=0 table_fulls=0
        7.2: entries=1 allocs=68 forced_gc_runs=4371 table_fulls=4370
        ");
        let shown = each_kernel("proc/net/stat/ndisc_cache", |text, place| Ok(some(&parse(text, place)?, &names)));
        insta::assert_snapshot!(shown, @"
        4.19: entries=5 allocs=7 forced_gc_runs=0 table_fulls=0
        5.10: entries=1 allocs=43 forced_gc_runs=0 table_fulls=0
        6.1: entries=1 allocs=7 forced_gc_runs=0 table_fulls=0
        6.12: entries=1 allocs=49 forced_gc_runs=0 table_fulls=0
        6.18: entries=4 allocs=5 forced_gc_runs=0 table_fulls=0
        7.2: entries=1 allocs=7 forced_gc_runs=0 table_fulls=0
        ");
    }

    #[test]
    fn counters_are_summed_and_entries_are_not() {
        // 6.1's columns, made-up values.
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n\
                    00000102  00000001 0000000a 0 00000004 0 0 00000002 0 00000003 00000010 00000001\n\
                    00000102  00000000 00000001 0 00000002 0 0 00000000 0 00000001 ffffffff 00000000\n";
        let names = ["entries", "drop", "early_drop", "insert_failed", "clashres", "chaintoolong"];
        insta::assert_snapshot!(
            some(&parse(text, "f").unwrap(), &names),
            @" entries=258 drop=4294967311 early_drop=1 insert_failed=4 clashres=1 chaintoolong=2"
        );
    }

    #[test]
    fn a_longer_row_is_a_name_that_was_forgotten() {
        let wanted = BTreeMap::from([("entries".to_string(), 16), ("drop".to_string(), 3)]);
        assert_eq!(parse("entries drop\n10 1 ff\n10 2 ff\n", "f"), Ok(wanted));
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        let place = "/proc/net/stat/nf_conntrack";
        insta::assert_snapshot!([
            error(parse("", place)),
            error(parse("entries drop\n", place)),
            error(parse("entries drop\n1 2\n1", place)),
            error(parse("entries drop\n1 x\n", place)),
            error(parse("entries drop\n\n", place)),
        ].join("\n"), @r#"
        /proc/net/stat/nf_conntrack:1: expected a line of names
        /proc/net/stat/nf_conntrack:2: expected a row for each CPU
        /proc/net/stat/nf_conntrack:3: expected 2 columns
        /proc/net/stat/nf_conntrack:2: expected a hexadecimal number, found "x"
        /proc/net/stat/nf_conntrack:2: expected 2 columns
        "#);
        let most = u64::MAX;
        assert_eq!(parse(&format!("drop\n{most:x}\n{most:x}\n"), place), Ok(BTreeMap::from([("drop".into(), most)])));
    }
}

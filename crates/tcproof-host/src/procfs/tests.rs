//! What the parsers' tests share, and what holds for all of them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use tcproof_core::Absent;

use super::*;
use crate::Root;

const KERNELS: [&str; 6] = ["4.19", "5.10", "6.1", "6.12", "6.18", "7.2"];

/// What `show` makes of a file of every kernel in `fixtures/`, a line for each.
pub(super) fn each_kernel(path: &str, show: impl Fn(&str, &str) -> Result<String, Absent>) -> String {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let shown = KERNELS.map(|kernel| {
        let text = Root::new(format!("{fixtures}/{kernel}")).read(path).unwrap();
        format!("{kernel}:{}", show(&text, &format!("/{path}")).unwrap())
    });
    shown.join("\n")
}

/// The wanted ones of many values; `-` for those that this kernel does not have.
pub(super) fn some(values: &BTreeMap<String, u64>, wanted: &[&str]) -> String {
    let shown = |name: &&str| format!(" {name}={}", values.get(*name).map_or("-".into(), u64::to_string));
    wanted.iter().map(shown).collect()
}

/// The error's text.
pub(super) fn error<T: Debug>(result: Result<T, Absent>) -> String {
    result.unwrap_err().to_string()
}

/// Feeds a text to every parser, and gives back what they refused.
fn refused(text: &str) -> Vec<Absent> {
    [
        cgroup::parse(text, "f").err(),
        cpu_table::parse(text, "f").err(),
        dev::parse(text, "f").err(),
        interrupts::parse(text, "f").err(),
        limits::parse(text, "f").err(),
        netstat::parse(text, "f").err(),
        numbers::file_nr(text, "f").err(),
        numbers::memory_bytes(text, "f").err(),
        snmp6::parse(text, "f").err(),
        sockstat::parse(text, "f").err(),
        softirqs::parse(text, "f").err(),
        softnet::parse(text, "f").err(),
        stat::cpus(text, "f", stat::USER_HZ).err(),
        stat::host(text, "f", stat::USER_HZ).err(),
        stat::process(text, "f", stat::USER_HZ).err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every error names file and line, and is short and harmless whatever stood in the file.
fn assert_places(text: &str) {
    for why in refused(text) {
        let Absent::Unparsable { place, expected } = why else { panic!("{why:?}") };
        assert!(place.strip_prefix("f:").is_some_and(|line| line.parse::<usize>().is_ok_and(|n| n > 0)), "{place}");
        assert!(!expected.chars().any(char::is_control), "{expected:?}");
        assert!(expected.len() < 1000, "{expected}");
    }
}

#[test]
fn binary_and_enormous_lines_are_refused_by_all() {
    for text in
        ["", "\0", "\u{feff}\u{1b}[2J", "\n\n\n", "::::", "))))((((", &"9".repeat(1 << 20), &":".repeat(1 << 20)]
    {
        assert_places(text);
    }
    assert_eq!(refused("").len(), 15);
    assert_eq!(refused("\0\u{1}\u{7f}").len(), 15);
}

/// Words that procfs is made of, so that random text gets deep into the parsers.
fn like_procfs() -> impl Strategy<Value = String> {
    let words = [
        " ",
        " ",
        " ",
        "\n",
        "\n",
        ":",
        "::",
        "/",
        "|",
        "(",
        ")",
        "-",
        "0",
        "1",
        "4242",
        "ffffffff",
        "cpu ",
        "CPU0",
        "NET_RX:",
        "TcpExt:",
        "Ip6",
        "Max open files",
        "unlimited",
        "MemTotal:",
        " kB",
        "0::",
        "memory",
        "packets",
        "drop",
        "entries",
        "é",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_parser_panics_on_any_text(text in any::<String>()) {
        assert_places(&text);
    }

    #[test]
    fn no_parser_panics_on_text_like_procfs(text in like_procfs()) {
        assert_places(&text);
    }

    #[test]
    fn no_parser_panics_on_a_damaged_file(
        kernel in prop::sample::select(&KERNELS[..]),
        cut in any::<prop::sample::Index>(),
        bit in 0..7u8,
    ) {
        let of_this = ["net/netstat", "net/dev", "net/softnet_stat", "net/stat/nf_conntrack", "stat", "4242/stat"];
        let files = of_this.map(|path| (kernel, path)).into_iter().chain([("6.18", "softirqs"), ("6.18", "interrupts")]);
        for (kernel, path) in files {
            let root = Root::new(format!("{}/fixtures/{}", env!("CARGO_MANIFEST_DIR"), kernel));
            let mut bytes = root.read_bytes(&format!("proc/{path}")).unwrap();
            let at = cut.index(bytes.len());
            bytes[at] ^= 1 << bit;
            assert_places(&String::from_utf8_lossy(&bytes));
            assert_places(&String::from_utf8_lossy(&bytes[..at]));
        }
    }
}

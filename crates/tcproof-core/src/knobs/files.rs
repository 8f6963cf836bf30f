//! Open files, of which every socket is one.

use alloc::string::{String, ToString};

use super::{
    Bounds, Default, Effect, EffectBy, Exists, Folklore, Inside, Instead, Kind, Knob, Machine, Scope, Undo, Use,
};
use crate::lint::Severity;
use crate::version::Version;

/// Not a network knob: every namespace sees the same.
const EVERYWHERE: Scope = Scope::Global { inside: Inside::Everywhere };

/// The kernel's own `fs.nr_open`.
const NR_OPEN: i64 = 1 << 20;

/// `sysctl_nr_open_max`: the greatest `int` that fills whole words of a bitmap, on 64 bits.
const NR_OPEN_MAX: i64 = i32::MAX as i64 & -64;

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "fs.file-max",
        title: "Open files of the whole host",
        kind: Kind::Number { kernel: Bounds::new(0, i64::MAX), sane: Bounds::new(NR_FILE as i64, i64::MAX) },
        unit: "open files",
        exists: Exists::ALWAYS,
        defaults: &[Default::computed(
            Version::ALWAYS,
            "about a tenth of the memory, counted in KiB, and at least 8192 (exactly: of what is free early in boot); \
             systemd, since 240, then sets 9223372036854775807",
            file_max,
        )],
        worse_below: None,
        scope: EVERYWHERE,
        effect: Effect::NOW,
        undo: Undo::WriteBack,
        cost: "none until files are opened; for each TCP socket about 3.6 KiB in all (file 192 B, dentry 192 B, inode \
               832 B, socket 2.4 KiB)",
        limits: "How many files may be open on the host, sockets among them. Beyond it everything that opens one \
                 fails with ENFILE, and the kernel logs \"file-max limit reached\". Programs with CAP_SYS_ADMIN go on.",
        enforced_by: &["fs/file_table.c:alloc_empty_file", "fs/file_table.c:files_maxfiles_init"],
        not: "No help against \"Too many open files\" (EMFILE): that is a process at its own RLIMIT_NOFILE, which \
              LimitNOFILE= of its unit raises. No container has a limit of its own here.",
        raising: "A leak eats more memory before it is stopped.",
        lowering: "The usual mistake: 1048576, pasted, is less than boot computes with more than about 10 GiB, and \
                   far less than systemd sets.",
        related: &["fs.nr_open", "fs.file-nr"],
        belongs_to: &["file-descriptors"],
        folklore: &[
            Folklore {
                rule: "lowers-default",
                when: lets_one_process_take_all,
                says: "less than boot computes from the memory, and no more than one process can be allowed: once so \
                       many files are open, every open, socket and accept of the host fails with ENFILE",
                instead: Instead::Default,
                severity: None,
            },
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| {
                    setting.number().is_some_and(|n| n < i64::MAX) && !lets_one_process_take_all(setting)
                },
                says: "gives no process one descriptor more: \"Too many open files\" comes from RLIMIT_NOFILE \
                       (LimitNOFILE=). Where systemd 240 or later boots, the line lowers what systemd has set",
                instead: Instead::Nothing,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/fs.rst", "proc_sys_fs(5)"],
    },
    Knob {
        key: "fs.nr_open",
        title: "Most descriptors that a process can be allowed",
        kind: Kind::Number { kernel: Bounds::new(64, NR_OPEN_MAX), sane: Bounds::new(1024, NR_OPEN_MAX) },
        unit: "descriptors",
        exists: Exists::since(Version(2, 6)),
        defaults: &[Default::always("1048576")],
        worse_below: Some("services whose LimitNOFILE= is greater get less, and setrlimit(2) beyond it fails"),
        scope: EVERYWHERE,
        effect: Effect::new(EffectBy::New, "the next setrlimit(2), and each time a process's table has to grow"),
        undo: Undo::LeavesTraces("processes that raised their RLIMIT_NOFILE meanwhile keep it"),
        cost: "none until descriptors are used: then 8 B and two bits for each place in the process's table, which \
               grows by doubling",
        limits: "How far RLIMIT_NOFILE can be raised, also by root. systemd raises it to 1073741816 at boot unless the \
                 distribution has switched that off, as Debian has.",
        enforced_by: &["kernel/sys.c:do_prlimit", "fs/file.c:expand_files"],
        not: "Gives no process more descriptors by itself: RLIMIT_NOFILE (LimitNOFILE=, ulimit -n) has to be raised, \
              too.",
        raising: "Services with LimitNOFILE=infinity get as many; programs that close every possible descriptor, or \
                  keep a table of them, then take minutes or gigabytes to start.",
        lowering: "Units that ask for more get less, and processes cannot raise their limit.",
        related: &["fs.file-max"],
        belongs_to: &["file-descriptors"],
        folklore: &[
            Folklore {
                rule: "placebo",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| (NR_OPEN + 1..HUGE).contains(&n)),
                says: "gives no process more descriptors by itself: RLIMIT_NOFILE (LimitNOFILE= of the unit) has to \
                       be raised, too",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
            Folklore {
                rule: "dangerous",
                when: |setting: &Use<'_>| setting.number().is_some_and(|n| n >= HUGE),
                says: "is what services with LimitNOFILE=infinity get; programs that walk through all possible \
                       descriptors then seem to hang when they start",
                instead: Instead::Unknown,
                severity: Some(Severity::Note),
            },
        ],
        sources: &["Documentation/admin-guide/sysctl/fs.rst", "proc_sys_fs(5)"],
    },
    Knob {
        key: "fs.file-nr",
        title: "Open files of the host now, and their limit",
        kind: Kind::ReadOnly,
        unit: "open files",
        exists: Exists::ALWAYS,
        defaults: &[],
        worse_below: None,
        scope: EVERYWHERE,
        effect: Effect::new(EffectBy::Nothing, "it can only be read"),
        undo: Undo::ReadOnly,
        cost: "none",
        limits: "Three numbers: how many files are open, 0, and fs.file-max. The first at the third is the proof of \
                 ENFILE.",
        enforced_by: &["fs/file_table.c:proc_nr_files"],
        not: "Says nothing about a process at its own limit: compare /proc/PID/fd with /proc/PID/limits.",
        raising: "It can only be read.",
        lowering: "It can only be read.",
        related: &["fs.file-max"],
        belongs_to: &["file-descriptors"],
        folklore: &[],
        sources: &["Documentation/admin-guide/sysctl/fs.rst", "proc_sys_fs(5)"],
    },
];

/// From here on a walk through all descriptors of a process takes minutes.
const HUGE: i64 = 1_000_000_000;

/// The least that boot takes for `fs.file-max`.
const NR_FILE: u64 = 8192;

/// Millions of files are enough for anybody, however many boot would allow; but with no more than the usual
/// `fs.nr_open` a single process that leaks keeps all others from opening any.
fn lets_one_process_take_all(setting: &Use<'_>) -> bool {
    let default = setting.default.first();
    setting.number().zip(default).is_some_and(|(n, default)| n < *default && n <= NR_OPEN)
}

/// `files_maxfiles_init`: a tenth of the memory, in KiB, taking a file with its inode and dentry for 1 KiB. Boot leaves
/// out one and a half times what it has used by then, which nobody can see afterwards: the truth is a little less.
fn file_max(machine: &Machine) -> Option<String> {
    Some((machine.memory?.bytes / 1024 / 10).max(NR_FILE).to_string())
}

#[cfg(test)]
mod tests {
    use crate::knobs::tests::{lore, lore_on, machine};
    use crate::knobs::{Machine, Memory, by_key};
    use crate::version::Version;

    #[test]
    fn folklore() {
        for (key, value, rules) in [
            ("fs.file-max", "65535", &["lowers-default"][..]),
            ("fs.file-max", "1048576", &["lowers-default"]),
            // Less than boot gives, which nobody will ever notice.
            ("fs.file-max", "2097152", &["placebo"]),
            ("fs.file-max", "10000000", &["placebo"]),
            ("fs.file-max", "9223372036854775807", &[]),
            ("fs.nr_open", "1048576", &[]),
            ("fs.nr_open", "65536", &[]), // lowers-default says it
            ("fs.nr_open", "2097152", &["placebo"]),
            ("fs.nr_open", "1073741816", &["dangerous"]),
        ] {
            assert_eq!(lore(key, value, &[]), rules, "{key} = {value}");
        }
        let unknown = Machine::of_kernel(Version(6, 1));
        assert_eq!(lore_on(&unknown, "fs.file-max", "1048576", &[]), ["placebo"], "no memory to compare with");
    }

    #[test]
    fn computed_defaults() {
        let knob = by_key("fs.file-max").expect("it is in this family");
        let with = |mib: u64| Machine { memory: Some(Memory { bytes: mib << 20, page_bytes: 4096 }), ..machine() };
        assert_eq!(knob.default_on(&with(64)).as_deref(), Some("8192"));
        assert_eq!(knob.default_on(&with(10 << 10)).as_deref(), Some("1048576"));
        assert_eq!(knob.default_on(&Machine::of_kernel(Version(6, 1))), None);
        // The kernel on such a machine said 2466177.
        assert_eq!(knob.default_on(&machine()).as_deref(), Some("2468409"));
    }
}

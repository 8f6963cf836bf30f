//! Capabilities: every verb begins with those that it needs and with no others, and drops them once they were used.
//!
//! They are each thread's own and go to the threads that it makes: they are dropped before there are any, and later by the
//! thread that makes the others.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;
use rustix::process::getuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, set_capabilities, set_no_new_privs,
};
use tcproof_core::Version;
use tcproof_host::{Root, is_own_netns};
use tcproof_report::doctor::Need;

use crate::cli::{BackendChoice, CheckArgs, Cli, Command, ProbeArgs, SocketsArgs};

/// setns(2) into another network namespace (`netns_install` in net/core/net_namespace.c).
const ENTER: CapabilitySet = CapabilitySet::SYS_ADMIN;
/// `/proc/PID/ns` and the links in `/proc/PID/fd` of processes that are another user's, or have more capabilities
/// (`__ptrace_may_access` in kernel/ptrace.c, `cap_ptrace_access_check` in security/commoncap.c).
const TRACE: CapabilitySet = CapabilitySet::SYS_PTRACE;
/// Listing `/proc/PID/fd`, which only its owner may (`proc_fd_permission` in fs/proc/fd.c), and directories of named
/// namespaces that only root may enter.
const SEARCH: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;
/// Loading programs that read the kernel's memory (`bpf_prog_load` in kernel/bpf/syscall.c).
const EBPF: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
/// All that is observed. Counters, settings, devices and the sockets of one's own namespace need none: sock_diag wants
/// `CAP_NET_ADMIN` only for marks and keys (`inet_sk_diag_fill`, `tcp_diag_get_aux`), which nobody here asks for, ethtool and
/// route netlink only for changes, and statistics of connection tracking have mode 0444.
const READING: CapabilitySet = ENTER.union(TRACE).union(SEARCH);
/// Opening a file also where the host has as many open as `fs.file-max` allows (`alloc_empty_file` in fs/file_table.c).
const OPEN: CapabilitySet = CapabilitySet::SYS_ADMIN;
/// Listening on a port below `ip_unprivileged_port_start` (`__inet_bind` in net/ipv4/af_inet.c).
const BIND: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;
/// Reading and replacing files that root does not own.
const FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(OPEN)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);
const NONE: CapabilitySet = CapabilitySet::empty();

/// What a verb keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// These, of those that there are. It runs no other program.
    Only(CapabilitySet),
    /// These. It may run a command, which gets none of them: they are neither inheritable nor ambient.
    OnlyHere(CapabilitySet),
    /// Everything: what it starts (a reload, systemd-run, the watchdog, a worker of the lab) has the caller's capabilities,
    /// and so has what it writes.
    All,
}

/// Drops what the verb does not need.
///
/// # Errors
/// It can't be dropped, and is not the caller's own.
pub(crate) fn at_start(cli: &Cli) -> anyhow::Result<()> {
    let is_given = is_given();
    let (keep, is_last) = match keep(cli, is_given) {
        Keep::All => return Ok(()),
        Keep::Only(keep) => (keep, true),
        Keep::OnlyHere(keep) => (keep, false),
    };
    let dropped = keep_only(keep).and_then(|()| match is_last {
        // Where root executes a program it has all of the bounding set again, unless this is set, which needs no capability:
        // `cap_bprm_creds_from_file` then adds nothing to what was permitted before.
        true => set_no_new_privs(true).context("forbidding new privileges"),
        false => Ok(()),
    });
    match dropped {
        Err(error) if is_given => Err(error),
        // A filter of system calls: the caller has these capabilities anyway, and a host in trouble wants its answer.
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tcproof: {error:#}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Keeps these at most, in this thread and in those that it makes from now on.
///
/// # Errors
/// capset(2) is forbidden here.
pub(crate) fn keep_only(keep: CapabilitySet) -> anyhow::Result<()> {
    let now = capabilities(None).context("reading capabilities")?;
    let kept = kept(now.permitted, keep, is_given());
    // Effective too: the program's file may only permit them (`setcap …=p`). Ambient ones go with the inheritable.
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: NONE };
    if now != sets {
        set_capabilities(None, sets).context("dropping capabilities")?;
    }
    Ok(())
}

/// What is left of those that are permitted, where these are wanted.
fn kept(permitted: CapabilitySet, wanted: CapabilitySet, is_given: bool) -> CapabilitySet {
    let lacks = |one: CapabilitySet| wanted.contains(one) && !permitted.contains(one);
    // Root in a container: without CAP_SYS_PTRACE a process of the same user shows itself to those who have all of its
    // capabilities (`cap_ptrace_access_check`), so that each that is dropped would hide processes.
    if lacks(TRACE) && !is_given {
        return permitted;
    }
    // There too: what is left to read by is the right to write.
    permitted & if lacks(SEARCH) { wanted | CapabilitySet::DAC_OVERRIDE } else { wanted }
}

/// Drops them all: all has been read.
///
/// # Errors
/// As [`keep_only`].
pub(crate) fn drop_all() -> anyhow::Result<()> {
    keep_only(NONE)
}

/// Drops what only loading programs needs. To run what is loaded, its descriptor is enough: no check is on the ways of
/// `bpf_prog_test_run_raw_tp`, `bpf_iter_link_attach` and `bpf_iter_new_fd`. Before 5.19 `__sys_bpf` wants `CAP_BPF` for each of
/// its commands, where the sysctl unprivileged_bpf_disabled is on.
///
/// # Errors
/// As [`keep_only`].
pub(crate) fn drop_loading() -> anyhow::Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let runs_by_descriptor = Version::of_release(&release).is_some_and(|kernel| kernel >= Version(5, 19));
    keep_only(!if runs_by_descriptor { EBPF } else { CapabilitySet::PERFMON })
}

/// Drops what only binding a port needs.
///
/// # Errors
/// As [`keep_only`].
pub(crate) fn drop_binding() -> anyhow::Result<()> {
    keep_only(READING)
}

/// Keeps what writing a file needs that the caller named, where it is the caller's own right.
///
/// # Errors
/// As [`keep_only`].
pub(crate) fn keep_for_files() -> anyhow::Result<()> {
    keep_only(if is_given() { NONE } else { FILES })
}

/// Whether the program's file gives the capabilities (setcap(8), or setuid) and not the caller: they are for observing, not
/// for reading or writing what the caller could not.
fn is_given() -> bool {
    // As it was at the start: what is dropped is no longer ambient either.
    static IS_GIVEN: OnceLock<bool> = OnceLock::new();
    *IS_GIVEN.get_or_init(|| {
        let permitted = capabilities(None).map_or(NONE, |sets| sets.permitted);
        // What a caller who is not root hands on is ambient, and none is where the file has any (`cap_bprm_creds_from_file`).
        !getuid().is_root() && permitted.iter().any(|one| !capability_is_in_ambient_set(one).unwrap_or(false))
    })
}

fn keep(cli: &Cli, is_given: bool) -> Keep {
    let own = |set| if is_given { NONE } else { set };
    // What is behind a directory needs no capability. Whoever names one as if it were the host's may have put links there.
    let reading = |root: &Path| match root == Path::new("/") || (!is_given && Root::new(root).is_live()) {
        true => READING,
        false => own(SEARCH | OPEN),
    };
    // No kernel stands behind a directory.
    let with_ebpf = |set| if set == READING { set | EBPF } else { set };
    let watching =
        |root: &Path, ebpf: ProbeArgs| if ebpf.may_load() { with_ebpf(reading(root)) } else { reading(root) };
    let checking = |args: &CheckArgs| match args.from[..] {
        [_, ..] => own(SEARCH | OPEN),
        [] => watching(&args.root.dir, args.ebpf),
    };
    let Some(command) = &cli.command else { return Keep::Only(checking(&cli.check)) };
    Keep::Only(match command {
        Command::Record(args) if args.list.is_some() => own(SEARCH | OPEN),
        // The file, and those that it is followed by, for as long as it lasts.
        Command::Record(_) => READING | own(FILES),
        // Where it listens the caller says.
        Command::Serve(_) => READING | own(BIND),
        Command::Check(args) => checking(args),
        Command::Top(args) => {
            if args.from.is_some() {
                own(SEARCH | OPEN)
            } else {
                READING
            }
        }
        Command::Path(args) => reading(&args.root.dir),
        Command::Explain(args) => reading(&args.root),
        Command::Doctor(args) => with_ebpf(reading(&args.root)),
        Command::Sockets(args) if !args.from.is_empty() => own(SEARCH | OPEN),
        Command::Sockets(args) => {
            let reading = reading(&args.root.dir);
            let all = if may_load(args) { with_ebpf(reading) } else { reading };
            if is_own_netns(&args.netns) { all - ENTER } else { all }
        }
        Command::Plan(args) => {
            let observing = match args.from[..] {
                // The file, and the namespaces that it names.
                [_, ..] => own(TRACE | SEARCH | OPEN),
                [] => watching(&args.root.dir, args.ebpf),
            };
            observing | if args.output.is_some() { own(FILES) } else { NONE }
        }
        Command::Report(args) => {
            let observing = match args.from[..] {
                [_, ..] => own(SEARCH | OPEN),
                [] => watching(&args.root.dir, args.ebpf),
            };
            observing | if args.output.is_some() { own(FILES) } else { NONE }
        }
        Command::Lint(args) => own(if args.fix { FILES } else { SEARCH | OPEN }),
        Command::Journal(_) => own(SEARCH | OPEN),
        Command::Schema(_) | Command::Completions { .. } | Command::Man => NONE,
        // The plan is read by the caller's own rights, and it comes first.
        Command::Verify(args) if is_given => {
            return Keep::OnlyHere(if args.plan.is_none() { watching(Path::new("/"), args.ebpf) } else { NONE });
        }
        // Who may not write is not given it by the program's file.
        _ if is_given => return Keep::OnlyHere(NONE),
        Command::Apply(_)
        | Command::Verify(_)
        | Command::Confirm(_)
        | Command::Rollback(_)
        | Command::UndoWatch(_)
        | Command::Lab(_)
        | Command::LabHandover(_)
        | Command::LabWorker(_) => return Keep::All,
    })
}

/// Whether a census may come to load programs.
fn may_load(args: &SocketsArgs) -> bool {
    matches!(args.backend, BackendChoice::Auto | BackendChoice::Bpf) || args.by.is_some()
}

/// What is observed, by what it needs, and whether it is here.
pub(crate) fn needs() -> Vec<Need> {
    let mut here = capabilities(None).map_or(NONE, |sets| sets.effective);
    // `bpf_token_capable`: who administers the system may load programs too. The capabilities of a user namespace, which maps
    // fewer than all users, count for nothing there.
    here.set(EBPF, here.contains(EBPF) || here.contains(CapabilitySet::SYS_ADMIN));
    let users = std::fs::read_to_string("/proc/thread-self/uid_map").unwrap_or_default();
    here.set(EBPF, here.contains(EBPF) && users.split_whitespace().eq(["0", "0", "4294967295"]));
    [
        ("counters, settings, devices", NONE),
        ("sockets of one's own namespace, by netlink or text", NONE),
        ("network namespaces of other users' processes", TRACE),
        ("entering other network namespaces", ENTER),
        ("owners of other users' sockets", TRACE | SEARCH),
        ("sockets of all namespaces, in the kernel (eBPF)", EBPF),
        ("descriptors of all processes, in the kernel (eBPF)", EBPF),
        ("probes while check watches (eBPF)", EBPF),
    ]
    .into_iter()
    .map(|(what, needs)| {
        let mut capabilities: Vec<_> = needs.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        capabilities.sort_unstable();
        Need { what, capabilities, is_here: here.contains(needs) }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn of(arguments: &str, is_given: bool) -> Keep {
        keep(&Cli::try_parse_from(["tcproof"].into_iter().chain(arguments.split(' '))).unwrap(), is_given)
    }

    #[test]
    fn verbs_that_read_keep_what_reading_needs_and_those_that_generate_keep_nothing() {
        for arguments in ["check --no-ebpf", "path", "explain somaxconn", "plan --no-ebpf", "sockets --backend netlink"]
        {
            assert_eq!(of(arguments, false), Keep::Only(READING), "{arguments}");
            assert_eq!(of(arguments, true), Keep::Only(READING), "{arguments}");
        }
        for arguments in [
            "--for 1s",
            "check",
            "plan",
            "sockets",
            "sockets --backend bpf",
            "sockets --backend proc --by process",
            "doctor",
        ] {
            assert_eq!(of(arguments, true), Keep::Only(READING | EBPF), "{arguments}");
        }
        for arguments in ["schema", "man", "completions bash"] {
            assert_eq!(of(arguments, false), Keep::Only(NONE), "{arguments}");
        }
        // Where only the caller's own namespace is asked for, no other is entered.
        let own = format!("sockets --backend netlink --netns {}", std::process::id());
        assert_eq!(of(&own, true), Keep::Only(TRACE | SEARCH));
    }

    #[test]
    fn verbs_that_write_or_start_something_keep_the_callers_own_and_get_nothing_from_a_file() {
        let writing = ["apply p", "confirm", "rollback", "lab list", "undo-watch --id i --until 1 --journal j"];
        for arguments in writing {
            assert_eq!(of(arguments, false), Keep::All, "{arguments}");
            assert_eq!(of(arguments, true), Keep::OnlyHere(NONE), "{arguments}");
        }
        assert_eq!(of("verify -- true", false), Keep::All);
        assert_eq!(of("verify -- true", true), Keep::OnlyHere(READING | EBPF));
    }

    #[test]
    fn what_the_command_line_names_is_not_read_with_rights_from_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display();
        for arguments in [format!("check --root {root}"), format!("sockets --root {root}"), "lint".into()] {
            assert_eq!(of(&arguments, false), Keep::Only(SEARCH | OPEN), "{arguments}");
            assert_eq!(of(&arguments, true), Keep::Only(NONE), "{arguments}");
        }
        // Its /proc is the live one, and beside it may be links to anywhere.
        assert_eq!(of("check --root /proc/self/root", true), Keep::Only(NONE));
        assert_eq!(of("check --root /proc/self/root", false), Keep::Only(READING | EBPF));
        for (arguments, kept) in [
            ("plan --from f", NONE),
            ("plan -o f", READING | EBPF),
            ("report --from f", NONE),
            ("report -o f", READING | EBPF),
            ("lint --fix", NONE),
        ] {
            assert_eq!(of(arguments, true), Keep::Only(kept), "{arguments}");
        }
        for arguments in ["check --from f", "--from f", "record --list f"] {
            assert_eq!(of(arguments, true), Keep::Only(NONE), "{arguments}");
            assert_eq!(of(arguments, false), Keep::Only(SEARCH | OPEN), "{arguments}");
        }
        assert_eq!(of("record -o f", true), Keep::Only(READING));
        assert_eq!(of("record -o f", false), Keep::Only(READING | FILES));
        assert_eq!(of("serve", true), Keep::Only(READING));
        assert_eq!(of("top", true), Keep::Only(READING));
        assert_eq!(of("top --from f", true), Keep::Only(NONE));
        assert_eq!(of("top --from f", false), Keep::Only(SEARCH | OPEN));
        assert_eq!(of("serve", false), Keep::Only(READING | BIND));
        assert_eq!(of("verify p -- true", true), Keep::OnlyHere(NONE));
        assert_eq!(of("lint --fix", false), Keep::Only(FILES));
    }

    #[test]
    fn what_stands_in_for_a_capability_that_a_container_lacks_is_not_dropped() {
        let container = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::NET_RAW;
        assert_eq!(kept(container, READING, false), container);
        assert_eq!(kept(container, SEARCH, false), CapabilitySet::DAC_OVERRIDE);
        assert_eq!(kept(container | TRACE, READING, false), TRACE | CapabilitySet::DAC_OVERRIDE);
        assert_eq!(kept(EBPF, READING, true), NONE);
        assert_eq!(kept(CapabilitySet::all(), READING, false), READING);
        assert_eq!(kept(container, NONE, false), NONE);
    }
}

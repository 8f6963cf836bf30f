//! # file-descriptors
//!
//! ## What it is
//! Every socket that a program holds is a file descriptor. A process has a limit of its own (`RLIMIT_NOFILE`; systemd's
//! `LimitNOFILE=`), the host has one for all (`fs.file-max`). At the process's limit `accept(2)` and `socket(2)` fail
//! with EMFILE: the listener's queue fills though the program has time, and often it burns a CPU retrying. At the
//! host's limit everything that opens a file fails with ENFILE, unless it is privileged.
//!
//! ## Evidence
//! - The entries of `/proc/PID/fd` against "Max open files" in `/proc/PID/limits`, for the processes that own a
//!   listener or a connection that some limit is asked about. No counter tells failed calls: that the process is hurt is
//!   seen by the accept queue that it no longer empties, or by the leaked CLOSE_WAIT connections that fill its table.
//! - `/proc/sys/fs/file-nr`: open and allowed on the host.
//!
//! Causes: `process-limit` (one process has as many as it may), `system-limit` (the host has).
//!
//! ## See it yourself
//! - `ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits; cat /proc/sys/fs/file-nr`
//! - `ls -l /proc/PID/fd | awk '{print $NF}' | sed 's/:.*//' | sort | uniq -c`: what they are.
//! - `strace -f -e trace=accept4,socket -p PID`: EMFILE or ENFILE.
//!
//! ## Look-alikes
//! - `accept-queue`: a full queue with descriptors to spare is the application's speed or its backlog.
//! - `close-wait-leak`: what eats the descriptors; with some left, it is the leak that is near, not this.
//!
//! ## Remedy
//! Close what leaks. Then `LimitNOFILE=` of the unit, at most `fs.nr_open`. `fs.file-max` last, and never below its
//! present value.
//!
//! ## References
//! getrlimit(2), proc_sys_fs(5), systemd.exec(5); fs/file.c `alloc_fd`, fs/file_table.c `alloc_empty_file`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::close_wait_leak::as_of;
use super::{Detected, Limit, SocketSet, cannot_accept, host_out_of_files, owner, percent, processes_of, unknown};
use crate::finding::{Confidence, Finding, Headroom, Level, Remedy, State, Subject};
use crate::interval::{Interval, ListenerWatch, NetnsChange};
use crate::reading::{Absent, Reading};
use crate::snapshot::{CloseWait, Pid, Process, Service, Snapshot};

/// Descriptors of a process and of the host.
pub(super) static LIMIT: Limit = Limit {
    slug: "file-descriptors",
    title: "file descriptors",
    causes: &[
        ("process-limit", "a process has as many descriptors open as RLIMIT_NOFILE allows"),
        ("system-limit", "the host has as many files open as fs.file-max allows"),
    ],
    reads: &["/proc/PID/fd", "/proc/PID/limits", "/proc/sys/fs/file-nr", "sock_diag LISTEN", "sock_diag CLOSE_WAIT"],
    look_alikes: &["accept-queue", "close-wait-leak"],
    knobs: &["fs.nr_open", "fs.file-max"],
    scenarios: &["descriptors-leak"],
    source: include_str!("file_descriptors.rs"),
    headroom,
    detect,
    remedy,
    ruled_out,
    owners_wanted,
};

/// A process that uses this share of its descriptors has none to spare.
const OUT: f64 = 0.98;
/// From this share on the host is near its limit.
const NEAR: f64 = 0.9;
/// A queue that was full in this share of the looks is not being emptied.
const STUCK: f64 = 0.5;
/// CLOSE_WAIT connections that make up this share of a process's descriptors are what fills them.
const LEAK: f64 = 0.5;
/// Groups of fewer CLOSE_WAIT connections fill nobody's descriptors.
const LEAK_AT_LEAST: usize = 32;

fn share(used: u64, limit: u64) -> f64 {
    if limit == 0 { 1.0 } else { used as f64 / limit as f64 }
}

/// Open and allowed descriptors, or the reading that is missing.
fn descriptors(process: &Process) -> Result<(u64, u64), &Absent> {
    match (&process.fds, &process.fd_limit) {
        (Reading::Present(open), Reading::Present(limit)) => Ok((*open, *limit)),
        (Reading::Absent(why), _) | (_, Reading::Absent(why)) => Err(why),
    }
}

fn headroom(interval: &Interval) -> Vec<Headroom> {
    let row = |subject, used, capacity, unit: &str| Headroom {
        limit: LIMIT.slug.into(),
        subject,
        used,
        capacity,
        unit: unit.into(),
    };
    let of_process = |(pid, process): (&Pid, &Process)| {
        let (open, limit) = descriptors(process).ok()?;
        Some(row(subject(interval, *pid, None), open, limit, "descriptors"))
    };
    let host = interval.after.system.files.value().map(|files| row(Subject::Host, files.open, files.max, "files"));
    interval.after.processes.iter().filter_map(of_process).chain(host).collect()
}

fn detect(interval: &Interval) -> Detected {
    let mut detected = Detected::default();
    for (pid, process) in &interval.after.processes {
        match descriptors(process) {
            Ok((open, limit)) => detected.findings.extend(of_process(interval, *pid, process, open, limit)),
            Err(why) => {
                let reading = format!("descriptors of {} (pid {pid})", process.comm);
                detected.unknown.extend(unknown(&LIMIT, None, &reading, why));
            }
        }
    }
    match &interval.after.system.files {
        Reading::Present(files) => detected.findings.extend(of_host(files.open, files.max)),
        Reading::Absent(why) => detected.unknown.extend(unknown(&LIMIT, None, "/proc/sys/fs/file-nr", why)),
    }
    detected
}

/// The listeners that a process holds.
fn listeners(interval: &Interval, pid: Pid) -> impl Iterator<Item = (NetnsChange<'_>, &ListenerWatch)> {
    interval
        .namespaces()
        .flat_map(|ns| ns.listeners().map(move |watch| (ns, watch)))
        .filter(move |(_, watch)| processes_of(&interval.after, watch.last.inode).any(|(holder, _)| holder == pid))
}

/// The CLOSE_WAIT connections that a process holds.
fn close_wait(interval: &Interval, pid: Pid) -> impl Iterator<Item = (NetnsChange<'_>, &Service, &CloseWait)> {
    interval
        .namespaces()
        .flat_map(|ns| {
            let groups = ns.after.sockets.close_wait.value();
            groups.into_iter().flatten().map(move |(service, group)| (ns, service, group))
        })
        .filter(move |(.., group)| processes_of(&interval.after, group.inode).any(|(holder, _)| holder == pid))
}

/// Whether a listener's queue is not being emptied.
fn is_stuck(ns: &NetnsChange<'_>, watch: &ListenerWatch) -> bool {
    let overflowed = ns.counter("TcpExt.ListenOverflows").value().is_some_and(|overflows| *overflows > 0);
    let dropped = watch.drops().value().is_some_and(|drops| *drops > 0);
    watch.full_share() >= STUCK || (watch.full > 0 && overflowed && dropped)
}

fn subject(interval: &Interval, pid: Pid, local: Option<String>) -> Subject {
    // A process has one namespace of its own, but findings are about its sockets': they may live elsewhere.
    let ns = listeners(interval, pid)
        .map(|(ns, _)| ns)
        .chain(close_wait(interval, pid).map(|(ns, ..)| ns))
        .chain(interval.namespaces().filter(|ns| ns.after.pids.contains(&pid)))
        .chain(interval.namespaces().filter(|ns| ns.after.own))
        .next();
    Subject::Process {
        netns: ns.map_or_else(String::new, |ns| ns.name().to_string()),
        owners: owner(&interval.after, pid).into_iter().collect(),
        local,
    }
}

fn leaked((ns, service, group): &(NetnsChange<'_>, &Service, &CloseWait)) -> String {
    let held = group.held.len();
    format!("; {held} of them are CLOSE_WAIT connections of {service} that it never closed{}", as_of(ns))
}

fn of_process(interval: &Interval, pid: Pid, process: &Process, open: u64, limit: u64) -> Option<Finding> {
    if share(open, limit) < OUT {
        return None;
    }
    // With a descriptor left, or another process that can accept, the queue is full for another reason.
    let fails = |watch: &ListenerWatch| open >= limit && cannot_accept(interval, watch).is_some();
    let stuck: Vec<_> = listeners(interval, pid).filter(|(ns, watch)| is_stuck(ns, watch) && fails(watch)).collect();
    let leak = close_wait(interval, pid)
        .max_by_key(|(_, _, group)| group.held.len())
        .filter(|(_, _, group)| group.held.len() as f64 >= open as f64 * LEAK);
    // A sandboxed process gives up its limit on purpose, with what it needs open already.
    let lowered = open > limit.saturating_add(1);
    if stuck.is_empty() && leak.is_none() && lowered {
        return None;
    }
    let name = &process.comm;
    let has = format!("{name} (pid {pid}) has {open} of {limit} descriptors open");
    let (state, confidence, summary, because) = match (stuck.first(), &leak) {
        (Some((_, watch)), leak) => {
            let leaked = leak.as_ref().map_or_else(String::new, leaked);
            let because = format!(
                "the queue of {} was full in {} % of {} looks: accept(2) fails with EMFILE",
                watch.last.local,
                percent(watch.full_share()),
                watch.looks
            );
            (State::Limiting, Confidence::Proven, format!("{has}{leaked}"), because)
        }
        (None, Some(leak)) => (
            State::Limiting,
            Confidence::Likely,
            format!("{has}{}", leaked(leak)),
            "a leak has used them up: what it opens next fails with EMFILE, which no counter shows".into(),
        ),
        (None, None) => (
            State::Near,
            Confidence::Likely,
            format!("{has}; nothing failed yet that can be seen"),
            match limit.saturating_sub(open) {
                0 => "the next socket or file that it opens fails with EMFILE".into(),
                left => format!("after {left} more sockets or files, opening another fails with EMFILE"),
            },
        ),
    };
    let local = stuck.first().map(|(_, watch)| watch.last.local.to_string());
    let mut finding = new_finding(state, "process-limit", confidence, subject(interval, pid, local), summary, because)
        .standing("/proc/PID/fd", open as f64, "descriptors")
        .standing("RLIMIT_NOFILE", limit as f64, "descriptors");
    if let Some((_, _, group)) = leak {
        let held = group.held.len() as f64;
        finding = finding.standing("CLOSE_WAIT connections held", held, "connections");
    }
    if let Some((_, watch)) = stuck.first() {
        finding = finding.standing("looks that saw the accept queue full", watch.full_share(), "share");
    }
    Some(finding)
}

fn of_host(open: u64, max: u64) -> Option<Finding> {
    let used = share(open, max);
    let state = match used {
        OUT.. => State::Limiting,
        NEAR.. => State::Near,
        _ => return None,
    };
    let summary = format!("{open} of {max} files of the whole host are open ({} %)", percent(used));
    let because =
        "beyond it unprivileged programs get ENFILE from accept(2), socket(2) and open(2); no counter shows it";
    Some(
        new_finding(state, "system-limit", Confidence::Likely, Subject::Host, summary, because.into())
            .standing("fs.file-nr", open as f64, "files")
            .standing("fs.file-max", max as f64, "files"),
    )
}

fn new_finding(
    state: State,
    cause: &str,
    confidence: Confidence,
    subject: Subject,
    summary: String,
    because: String,
) -> Finding {
    Finding {
        limit: LIMIT.slug.into(),
        state,
        cause: cause.into(),
        confidence,
        subject,
        summary,
        because,
        evidence: vec![],
        ruled_out: vec![],
        remedies: vec![],
        // The dropped handshakes are counted by the accept queue's finding, which is to come first.
        hurt: 0,
    }
}

fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    match finding.cause.as_str() {
        "system-limit" => of_the_host(interval),
        _ => of_the_process(finding, interval),
    }
}

fn of_the_process(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some(who) = finding.subject.owners().first() else { return vec![] };
    let Some(process) = interval.after.processes.get(&who.pid) else { return vec![] };
    let Ok((open, limit)) = descriptors(process) else { return vec![] };
    let verify = format!("ls /proc/{}/fd | wc -l stays below 80 % of the limit", who.pid);
    let leaked = finding.evidence.iter().any(|evidence| evidence.reading.starts_with("CLOSE_WAIT"));
    let close = if leaked {
        format!("let {} close(2) a connection when its peer has closed (read returned 0), and set timeouts", who.comm)
    } else {
        format!("find what {} keeps open (ls -l /proc/{}/fd), close what leaks or idles", who.comm, who.pid)
    };
    let mut remedies = vec![Remedy::new(Level::Application, close).verify(verify.clone())];
    // The kernel's default fs.nr_open, which is the most that any unit may ask for.
    let nr_open = interval
        .namespace(finding.subject.netns().unwrap_or_default())
        .and_then(|ns| ns.after.knob_number("fs.nr_open").value().copied())
        .and_then(|nr_open| u64::try_from(nr_open).ok())
        .unwrap_or(1_048_576);
    let to = open.max(limit).saturating_mul(2).checked_next_power_of_two().unwrap_or(nr_open).min(nr_open);
    if to > limit {
        let unit = who.unit.as_ref().map_or("its unit".into(), |unit| format!("unit {unit}"));
        let meanwhile = if leaked { "only to gain time until the leak is closed: " } else { "" };
        remedies.push(
            Remedy::new(
                Level::Service,
                format!(
                    "{meanwhile}LimitNOFILE={to} in {unit} (ulimit -n elsewhere) instead of {limit}, and a restart"
                ),
            )
            .formula(format!("twice the {} in use, a power of two, at most fs.nr_open {nr_open}", open.max(limit)))
            .cost("about 1 KiB of kernel memory for each one open, more for each socket")
            .verify(verify),
        );
    }
    remedies
}

pub(super) fn of_the_host(interval: &Interval) -> Vec<Remedy> {
    let Some(files) = interval.after.system.files.value() else { return vec![] };
    let verify = "the first number of /proc/sys/fs/file-nr stays below 80 % of the third";
    let find = "find who holds them: for p in /proc/[0-9]*; do echo $(ls $p/fd | wc -l) $p; done | sort -n | tail";
    let to = files.max.max(files.open).saturating_mul(2);
    vec![
        Remedy::new(Level::Application, find).verify(verify),
        Remedy::knob(
            "raise file-max; it is one value for all containers",
            "fs.file-max",
            files.max.to_string(),
            to.to_string(),
        )
        .formula("twice what is open, or the present limit; never lower")
        .cost("about 1 KiB of kernel memory for each file that is opened")
        .verify(verify),
    ]
}

fn ruled_out(ns: &NetnsChange<'_>) -> Option<String> {
    if host_out_of_files(ns.interval()).is_some() {
        return None;
    }
    let after = &ns.interval().after;
    let holders = ns.listeners().flat_map(|watch| processes_of(after, watch.last.inode));
    let used = holders.filter_map(|(pid, process)| Some((pid, descriptors(process).ok()?)));
    let (pid, (open, limit)) = used.max_by(|(_, a), (_, b)| share(a.0, a.1).total_cmp(&share(b.0, b.1)))?;
    (share(open, limit) < OUT).then(|| format!("{open} of {limit} open in pid {pid}"))
}

/// The holders of full listeners and of large groups of CLOSE_WAIT connections: a leak that has used up every
/// descriptor no longer grows, so it is asked about whether it grows or not.
fn owners_wanted(_: &Snapshot, interval: Option<&Interval>) -> SocketSet {
    let mut wanted = SocketSet::new();
    for ns in interval.into_iter().flat_map(Interval::namespaces) {
        wanted.extend(ns.listeners().filter(|watch| watch.full > 0).map(|watch| (ns.id, watch.last.inode)));
        let groups = ns.after.sockets.close_wait.value().into_iter().flat_map(|groups| groups.values());
        wanted.extend(groups.filter(|group| group.held.len() >= LEAK_AT_LEAST).map(|group| (ns.id, group.inode)));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::testing::{
        Host, Listen, assert_clear, detect, endpoint, no_permission, remedies, the_finding, unknowns, verdict,
    };
    use crate::snapshot::FileHandles;

    fn host(open: u64, limit: u64) -> Host {
        Host::new().process(7, "api", open, limit)
    }

    fn stuck() -> Listen {
        Listen::at("0.0.0.0:80").queues(&[129]).drops(0, 1145).pid(7)
    }

    fn leak(host: Host, sockets: u64) -> Host {
        let cookies: Vec<u64> = (0..sockets).collect();
        host.close_wait(Service::Local(endpoint("10.0.0.2:80")), 99, &cookies, &cookies).owner(99, 7)
    }

    #[test]
    fn a_process_without_descriptors_and_a_stuck_queue_is_limiting() {
        let host = host(1024, 1024).listener(stuck()).grew("TcpExt.ListenOverflows", 1145);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, &*finding.cause), (State::Limiting, "process-limit"));
        assert_eq!((finding.confidence, finding.hurt), (Confidence::Proven, 0));
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        api (pid 7) has 1024 of 1024 descriptors open
        the queue of 0.0.0.0:80 was full in 100 % of 50 looks: accept(2) fails with EMFILE
        ");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Application: find what api keeps open (ls -l /proc/7/fd), close what leaks or idles
        2. Service: LimitNOFILE=2048 in unit api.service (ulimit -n elsewhere) instead of 1024, and a restart
        ");
    }

    #[test]
    fn a_leak_that_used_up_the_descriptors_is_named() {
        let host = leak(host(1020, 1024), 1000);
        let finding = the_finding(&LIMIT, &host);
        assert_eq!((finding.state, finding.confidence), (State::Limiting, Confidence::Likely));
        insta::assert_snapshot!(format!("{}\n{}", finding.summary, finding.because), @r"
        api (pid 7) has 1020 of 1024 descriptors open; 1000 of them are CLOSE_WAIT connections of 10.0.0.2:80 that it never closed
        a leak has used them up: what it opens next fails with EMFILE, which no counter shows
        ");
        insta::assert_snapshot!(remedies(&finding), @r"
        1. Application: let api close(2) a connection when its peer has closed (read returned 0), and set timeouts
        2. Service: only to gain time until the leak is closed: LimitNOFILE=2048 in unit api.service (ulimit -n elsewhere) instead of 1024, and a restart
        ");
        let stuck = leak(self::host(1024, 1024), 1000).listener(stuck()).grew("TcpExt.ListenOverflows", 9);
        let finding = the_finding(&LIMIT, &stuck);
        assert_eq!(finding.confidence, Confidence::Proven);
        assert!(finding.summary.contains("1000 of them are CLOSE_WAIT"));
    }

    #[test]
    fn a_process_at_its_limit_with_an_idle_queue_is_near() {
        assert_eq!(verdict(&LIMIT, &host(1010, 1024)), (State::Near, "process-limit".into()));
        // drops for another reason do not show that accept fails
        let dropped = host(1010, 1024).listener(Listen::at("0.0.0.0:80").drops(0, 9).pid(7));
        assert_eq!(verdict(&LIMIT, &dropped.grew("TcpExt.ListenDrops", 9)).0, State::Near);
        // a few connections in CLOSE_WAIT are not what fills it
        assert_eq!(verdict(&LIMIT, &leak(host(1010, 1024), 100)).0, State::Near);
    }

    #[test]
    fn the_host_is_near_at_ninety_percent_and_limiting_at_its_limit() {
        let files = |open, max| {
            Host::new().after(|snapshot| snapshot.system.files = Reading::Present(FileHandles { open, max }))
        };
        assert_clear(&LIMIT, &files(89_000, 100_000));
        assert_eq!(verdict(&LIMIT, &files(91_000, 100_000)), (State::Near, "system-limit".into()));
        let finding = the_finding(&LIMIT, &files(99_000, 100_000));
        assert_eq!((finding.state, finding.confidence), (State::Limiting, Confidence::Likely));
        insta::assert_snapshot!(finding.summary, @"99000 of 100000 files of the whole host are open (99 %)");
        let raise = finding.remedies.iter().find_map(|r| r.to.as_deref());
        assert_eq!(raise, Some("200000"));
        // systemd sets file-max to the largest signed number
        let huge = files(91_000, i64::MAX as u64);
        assert_clear(&LIMIT, &huge);
        assert!(headroom(huge.interval())[0].share() < 1e-9);
    }

    #[test]
    fn silent_on_a_full_accept_queue_with_descriptors_to_spare() {
        assert_clear(&LIMIT, &host(81, 1024).listener(stuck()).grew("TcpExt.ListenOverflows", 1145));
    }

    #[test]
    fn silent_on_a_close_wait_leak_with_descriptors_to_spare() {
        assert_clear(&LIMIT, &leak(host(900, 1024), 880));
    }

    #[test]
    fn silent_on_a_sandbox_that_gave_up_its_limit() {
        assert_clear(&LIMIT, &host(12, 0));
        assert_clear(&LIMIT, &host(12, 4));
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let fds = host(1, 2).after(|snapshot| {
            snapshot.processes.get_mut(&7).expect("process 7").fds = no_permission("/proc/7/fd");
        });
        assert_eq!(unknowns(&LIMIT, &fds), ["descriptors of api (pid 7)"]);
        let limits = host(1, 2).after(|snapshot| {
            snapshot.processes.get_mut(&7).expect("process 7").fd_limit = no_permission("/proc/7/limits");
        });
        assert_eq!(unknowns(&LIMIT, &limits), ["descriptors of api (pid 7)"]);
        let files = Host::new().after(|snapshot| snapshot.system.files = no_permission("/proc/sys/fs/file-nr"));
        assert_eq!(unknowns(&LIMIT, &files), ["/proc/sys/fs/file-nr"]);
        assert_eq!(detect(&LIMIT, &Host::new()), Detected::default());
    }

    #[test]
    fn it_is_ruled_out_by_the_fullest_owner_of_a_listener() {
        let said = |host: &Host| ruled_out(&host.interval().namespaces().next().expect("one namespace"));
        assert_eq!(said(&host(81, 1024).listener(stuck())).as_deref(), Some("81 of 1024 open in pid 7"));
        assert_eq!(said(&host(1024, 1024).listener(stuck())), None);
        assert_eq!(said(&Host::new().listener(Listen::at("0.0.0.0:80"))), None);
    }

    #[test]
    fn owners_are_asked_for_where_it_can_matter() {
        let wanted = |host: &Host| owners_wanted(&Snapshot::default(), Some(host.interval())).len();
        assert_eq!(wanted(&host(81, 1024).listener(Listen::at("0.0.0.0:80"))), 0);
        assert_eq!(wanted(&host(81, 1024).listener(stuck())), 1);
        assert_eq!(wanted(&leak(host(81, 1024), 64)), 1);
        assert_eq!(wanted(&leak(host(81, 1024), 5)), 0);
    }
}

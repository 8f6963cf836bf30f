//! What can be seen from here, one line for each thing that matters.

use std::path::Path;
use std::thread;

use tcproof_core::census::{Method, choose};
use tcproof_core::limits::LIMITS;
use tcproof_core::snapshot::{Host, Pid};
use tcproof_core::{Absent, Reading};

use crate::census::Extra;
use crate::diag::{Diag, Request, States};
use crate::ethtool::Ethtool;
use crate::netns::{self, Found};
use crate::path::Threads;
use crate::{Error, Root, Scope, namespace, rtnl, system};

/// One thing to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What, for a person.
    pub what: String,
    /// What was seen, in a few words, or why not.
    pub seen: Reading<String>,
}

/// Tries everything once; `extra` is what another crate counts sockets by, if there is one.
///
/// # Errors
/// When the root is not a root.
pub fn look(path: &Path, extra: Option<&dyn Extra>) -> Result<Vec<Sight>, Error> {
    let root = Root::with_proc(path)?;
    let host = system::host(&root);
    let mut sights = Vec::new();
    let mut add = |what: &str, seen: Reading<String>| sights.push(Sight { what: what.into(), seen });
    add("this host", Reading::Present(facts(&host)));
    add("limits that this version knows", Reading::Present(LIMITS.len().to_string()));

    let own = namespace::read(&root, "own", true);
    let count = own.counters.len();
    let counters = match own.counters_absent.values().next() {
        Some(why) if count == 0 => Reading::Absent(why.clone()),
        _ => Reading::Present(format!("{count} counters")),
    };
    add("counters (netstat, snmp, snmp6)", counters);
    for (file, why) in &own.counters_absent {
        add(&format!("/proc/net/{file}"), Reading::Absent(why.clone()));
    }
    add("socket totals (sockstat)", own.sockstat.map(|values| format!("{} values", values.len())));
    add(
        "connection tracking",
        own.conntrack.count.and_then(|count| own.conntrack.stat.map(|_| format!("{count} entries, with statistics"))),
    );
    let system = system::read(&root, netns::is_initial(&root) || !root.is_live(), &mut Threads::default());
    add("softnet statistics", system.softnet.map(|rows| format!("{} CPUs", rows.len())));
    add("TCP memory limits (tcp_mem)", system.tcp_mem.map(|[low, pressure, high]| format!("{low} {pressure} {high}")));
    add("orphan limit (tcp_max_orphans)", system.tcp_max_orphans.map(|n| n.to_string()));
    add("neighbour table limits (gc_thresh3)", system.arp.gc_thresh3.map(|n| n.to_string()));
    add("neighbour statistics", system.arp.table_fulls.map(|_| "arp_cache, ndisc_cache".into()));

    if root.is_live() {
        sockets(&mut add);
        backends(&root, extra, &mut add);
        let links = rtnl::links().map(|links| format!("{} in this namespace, with statistics", links.len()));
        add("network devices (route netlink)", links.into());
        add("what devices are set to (ethtool netlink)", Ethtool::open().map(|_| "yes".into()).into());
        let threads = system.path.ksoftirqd;
        add("CPU time of ksoftirqd", threads.map(|threads| format!("of {} CPUs", threads.len())));
        let found = netns::find(&root, &Scope::All)?;
        namespaces(&found, &mut add);
        add("owners of sockets (descriptors of processes)", owners(&root));
    } else {
        add(
            "listening sockets",
            Reading::Absent(Absent::Failed {
                what: "sock_diag".into(),
                error: "there is no kernel behind a directory".into(),
            }),
        );
        if let Some(unseen) = netns::beside(&root) {
            add(&unseen.what, Reading::Absent(unseen.why));
        }
    }
    Ok(sights)
}

/// Without what could not be read.
fn facts(host: &Host) -> String {
    let named = |prefix: &str, text: &str| (!text.is_empty()).then(|| format!("{prefix}{text}"));
    let cpus = (host.cpus > 0).then(|| format!("{} CPUs", host.cpus));
    let facts: Vec<_> = [named("", &host.name), named("Linux ", &host.kernel), cpus].into_iter().flatten().collect();
    if facts.is_empty() { "nothing known of it".into() } else { facts.join(", ") }
}

fn sockets(add: &mut impl FnMut(&str, Reading<String>)) {
    let mut diag = match Diag::open() {
        Ok(diag) => diag,
        Err(why) => return add("listening sockets (sock_diag)", Reading::Absent(why)),
    };
    let mut listeners = Vec::new();
    let seen = namespace::listeners(&mut diag, |listener| listeners.push(listener));
    add(
        "listening sockets (sock_diag)",
        seen.map(|()| format!("{} in this namespace, IPv4 and IPv6", listeners.len())).into(),
    );
    if let Some(listener) = listeners.first() {
        add("drops of each listener (SK_MEMINFO_DROPS)", listener.drops.clone().map(|_| "yes".into()));
        let cgroup = listener.cgroup_id.ok_or_else(|| Absent::not_in_kernel("control groups in sock_diag (since 5.9)"));
        add("control group of each socket", cgroup.map(|_| "yes".into()).into());
    }
    let mptcp = diag.dump(&Request::mptcp(namespace::AF_INET, States::LISTEN), |_| {});
    add("MPTCP listeners", mptcp.map(|()| "yes".into()).into());
}

/// What `tcproof sockets` can count by here, and what it would take.
fn backends(root: &Root, extra: Option<&dyn Extra>, add: &mut impl FnMut(&str, Reading<String>)) {
    let extra_is_there = extra.map(|extra| extra.backend(&[]).map(|_| ()));
    let own = namespace::sockstat(root)
        .map(|values| ["TCP.inuse", "TCP6.inuse", "TCP.tw"].iter().filter_map(|name| values.get(*name)).sum());
    let there = extra_is_there.clone().unwrap_or(Err(Absent::NotNeeded));
    let (methods, because) = choose(None, &own.into(), &there);
    let first = methods.first().map_or_else(String::new, Method::to_string);
    add("counting sockets (tcproof sockets)", Reading::Present(format!("by {first}: {because}")));
    let netlink = Diag::open().and_then(|mut diag| diag.dump(&Request::tcp(States::SYN_RECV), |_| {}));
    add("counting sockets by netlink (sock_diag)", netlink.map(|()| "yes".into()).into());
    if let Some(there) = extra_is_there {
        add("counting sockets in the kernel (eBPF)", there.map(|()| "yes".into()).into());
    }
    // Its beginning is enough.
    let text = match root.read_pieces(&root.net_path("tcp"), |_| Err(Absent::NotNeeded)) {
        Ok(()) | Err(Absent::NotNeeded) => Reading::Present("yes, where the others are refused".into()),
        Err(why) => Reading::Absent(why),
    };
    add("counting sockets by text (/proc/net/tcp)", text);
}

fn namespaces(found: &Found, add: &mut impl FnMut(&str, Reading<String>)) {
    let entered = thread::scope(|scope| {
        let enter = || found.targets.iter().map(|target| target.enter()).collect::<Vec<_>>();
        scope.spawn(enter).join().unwrap_or_default()
    });
    let open = entered.iter().filter(|entered| entered.is_ok()).count();
    add("network namespaces", Reading::Present(format!("{open} of {} found can be entered", found.targets.len())));
    let refused = found.targets.iter().zip(entered).filter_map(|(target, entered)| Some((target, entered.err()?)));
    for (target, why) in refused {
        add(&format!("network namespace {}", target.name), Reading::Absent(why));
    }
    for unseen in &found.unseen {
        add(&unseen.what, Reading::Absent(unseen.why.clone()));
    }
}

fn owners(root: &Root) -> Reading<String> {
    // Not those of the namespaces that can be seen: a process that hides its descriptors hides its namespace too.
    let names = root.list_dir("proc").ok();
    let all: Vec<Pid> = names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect();
    let refused = |pid: &&Pid| matches!(root.list_dir(&format!("proc/{pid}/fd")), Err(Absent::Permission { .. }));
    let refused = all.iter().filter(refused).count();
    match refused {
        0 => Reading::Present(format!("of all {} processes", all.len())),
        _ => Reading::Absent(Absent::Permission {
            what: format!("the descriptors of {refused} of {} processes", all.len()),
            needs: "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or root".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_host_shows_its_listeners_and_a_place_without_proc_is_refused() {
        let sights = look(Path::new("/"), None).unwrap();
        assert!(sights.iter().any(|sight| sight.what.starts_with("listening sockets") && sight.seen.value().is_some()));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(look(empty.path(), None), Err(Error::BadRoot { .. })));
    }
}

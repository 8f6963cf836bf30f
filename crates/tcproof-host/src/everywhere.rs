//! Reads something small in every network namespace of a scope, once.

use std::thread;

use tcproof_core::snapshot::{NetnsId, Unseen};
use tcproof_core::{Absent, Reading, counters};

use crate::{Error, Root, Scope, namespace, netns, procfs};

/// What was read, by the name of each namespace, the observer's own first.
#[derive(Debug)]
pub struct Everywhere<T> {
    /// Name and value.
    pub places: Vec<(String, T)>,
    /// Namespaces that could not be found or entered.
    pub unseen: Vec<Unseen>,
}

/// Reads in every namespace of the scope, or in the first `most` of them; a directory that no kernel stands behind has one, called `host`.
///
/// # Errors
/// The root is none, or the scope names no namespace.
pub fn everywhere<T: Send>(
    root: &Root,
    scope: &Scope,
    most: usize,
    read: impl Fn(&Root) -> T + Sync,
) -> Result<Everywhere<T>, Error> {
    if !root.is_live() {
        return Ok(Everywhere { places: vec![("host".into(), read(root))], unseen: Vec::new() });
    }
    let found = netns::find(root, scope)?;
    let mut everywhere = Everywhere { places: Vec::new(), unseen: found.unseen };
    // A thread of its own: entering a namespace can't be taken back without the right to enter the old one.
    thread::scope(|threads| {
        threads.spawn(|| {
            for target in found.targets.iter().take(most) {
                match target.enter() {
                    Ok(()) => everywhere.places.push((target.name.clone(), read(root))),
                    Err(why) => {
                        everywhere.unseen.push(Unseen { what: format!("network namespace {}", target.name), why });
                    }
                }
            }
        });
    });
    Ok(everywhere)
}

/// Does something within one network namespace, found by its inode.
///
/// # Errors
/// It is gone, or may not be entered.
pub fn within<T: Send>(root: &Root, id: NetnsId, act: impl FnOnce(&Root) -> T + Send) -> Result<T, Absent> {
    // Most often it is the caller's own: no process has to be asked for the way in.
    let own = rustix::fs::stat(root.path().join("proc/thread-self/ns/net"));
    if own.is_ok_and(|own| own.st_ino == id.0) {
        return Ok(act(root));
    }
    let gone = || Absent::Gone { what: format!("network namespace {id}") };
    let found = netns::find(root, &Scope::All).map_err(|_| gone())?;
    let target = found.targets.iter().find(|target| target.id == id).ok_or_else(gone)?;
    thread::scope(|threads| {
        let act = threads.spawn(|| target.enter().map(|()| act(root)));
        act.join().map_err(|_| Absent::Failed { what: format!("{id}"), error: "a panic within it".into() })?
    })
}

/// Names and inodes of the network namespaces of a scope, the observer's own first.
///
/// # Errors
/// The scope names none.
pub fn namespaces(root: &Root, scope: &Scope) -> Result<Vec<(String, NetnsId)>, Error> {
    Ok(netns::find(root, scope)?.targets.into_iter().map(|target| (target.name, target.id)).collect())
}

/// A knob as the calling thread's namespace has it.
pub fn knob(root: &Root, key: &str) -> Reading<String> {
    namespace::knob(root, key)
}

/// A counter of `/proc/net` as the calling thread's namespace has it; one that stands elsewhere is `Absent`.
pub fn counter(root: &Root, counter: &counters::Counter) -> Reading<u64> {
    let unread = || {
        Reading::Absent(Absent::Failed {
            what: counter.name.into(),
            error: "it is read per socket, device or CPU".into(),
        })
    };
    let (file, parse): (_, fn(&str, &str) -> _) = match counter.place {
        place if place.starts_with("/proc/net/netstat") => ("netstat", procfs::netstat::parse),
        place if place.starts_with("/proc/net/snmp6") => ("snmp6", procfs::snmp6::parse),
        place if place.starts_with("/proc/net/snmp") => ("snmp", procfs::netstat::parse),
        place if place.starts_with("/proc/net/sockstat") => ("sockstat", procfs::sockstat::parse),
        _ => return unread(),
    };
    let path = root.net_path(file);
    let values = root.read(&path).and_then(|text| parse(&text, &format!("/{path}")));
    let name = counter.name.strip_prefix("sockstat.").unwrap_or(counter.name);
    let value = values.and_then(|values| values.get(name).copied().ok_or_else(|| Absent::not_in_kernel(counter.name)));
    value.into()
}

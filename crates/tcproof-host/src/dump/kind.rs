//! Which file of a dump is what.

use std::str;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `ss`, with any options.
    Ss,
    /// `nstat -az`.
    Nstat,
    /// `netstat -s`.
    Netstat,
    /// `netstat -an`: sockets, but not how long a listener's queue may be.
    NetstatSockets,
    /// `sysctl -a`.
    Sysctl,
    /// A file of the kernel's, by its name below the root.
    Proc(&'static str),
    /// `uptime`.
    Uptime,
    /// `date`.
    Date,
    /// `uname -a`.
    Uname,
}

/// Files of the kernel that are read, other than settings.
const PROC: &[&str] = &[
    "proc/net/dev",
    "proc/net/netstat",
    "proc/net/snmp",
    "proc/net/snmp6",
    "proc/net/sockstat",
    "proc/net/sockstat6",
    "proc/net/softnet_stat",
    "proc/net/stat/arp_cache",
    "proc/net/stat/ndisc_cache",
    "proc/net/stat/nf_conntrack",
    "proc/net/tcp",
    "proc/net/tcp6",
    "proc/interrupts",
    "proc/meminfo",
    "proc/softirqs",
    "proc/stat",
    "proc/uptime",
];

/// Settings besides those of the network.
const SETTINGS: &[&str] = &[
    "proc/sys/fs/file-max",
    "proc/sys/fs/file-nr",
    "proc/sys/fs/nr_open",
    "proc/sys/kernel/hostname",
    "proc/sys/kernel/osrelease",
    "proc/sys/kernel/random/boot_id",
];

/// Whether a file of that name, below a host's root or a sosreport's, is read.
pub(super) fn known(name: &str) -> bool {
    if name.starts_with("proc/") {
        // Of the process that collected: `/proc/net` leads there.
        let of_a_process = || {
            let (pid, net) = name.strip_prefix("proc/")?.split_once('/')?;
            let is_pid = pid == "self" || pid.bytes().all(|byte| byte.is_ascii_digit());
            (is_pid && net.starts_with("net/")).then(|| format!("proc/{net}"))
        };
        return PROC.contains(&name)
            || SETTINGS.contains(&name)
            || name.starts_with("proc/sys/net/")
            || of_a_process().is_some_and(|name| PROC.contains(&&*name));
    }
    in_sos(name).is_some()
}

/// A file of a sosreport: what it is, and the namespace it was taken in.
pub(super) fn in_sos(name: &str) -> Option<(Kind, Option<&str>)> {
    let kind = match name {
        "date" | "sos_commands/date/date" | "sos_commands/date/date_--utc" | "sos_commands/general/date" => Kind::Date,
        "uptime" | "sos_commands/host/uptime" | "sos_commands/general/uptime" => Kind::Uptime,
        "uname" | "sos_commands/kernel/uname_-a" => Kind::Uname,
        "sos_commands/kernel/sysctl_-a" => Kind::Sysctl,
        _ => return in_networking(name.strip_prefix("sos_commands/networking/")?),
    };
    Some((kind, None))
}

fn in_networking(name: &str) -> Option<(Kind, Option<&str>)> {
    // 4.10 has a folder for each namespace, 4.0 has none.
    let name = match name.strip_prefix("namespaces/") {
        Some(rest) => rest.split_once('/')?.1,
        None => name,
    };
    if name.contains('/') {
        return None;
    }
    let of = |command: &str| match command {
        "netstat_-s" => Some(Kind::Netstat),
        "netstat_-W_-neopa" | "netstat_-neopa" => Some(Kind::NetstatSockets),
        command if command.starts_with("nstat_-") => Some(Kind::Nstat),
        command if command.starts_with("ss_-") => Some(Kind::Ss),
        _ => None,
    };
    match name.strip_prefix("ip_netns_exec_") {
        None => Some((of(name)?, None)),
        // A namespace's name may hold anything, so look for the command from its end.
        Some(rest) => rest
            .match_indices('_')
            .find_map(|(at, _)| Some((of(&rest[at + 1..])?, Some(&rest[..at]))))
            .filter(|(_, netns)| netns.is_some_and(|netns| !netns.is_empty())),
    }
}

/// What a loose text is, by its first bytes.
pub(super) fn loose(start: &[u8]) -> Option<Kind> {
    // It may have been cut within a character.
    let text = match str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() + 4 > start.len() => str::from_utf8(&start[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let mut words = first.split_ascii_whitespace();
    let (one, two) = (words.next()?, words.next().unwrap_or_default());
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kind = match (one, two) {
        ("Netid" | "State", _) if first.contains("Recv-Q") && first.contains("Send-Q") => Kind::Ss,
        ("Active", "Internet") => Kind::NetstatSockets,
        (word, _) if word.starts_with('#') && text.lines().skip(1).take(3).any(is_nstat) => Kind::Nstat,
        ("Ip:", "") | ("Tcp:", "") | ("TcpExt:", "") => Kind::Netstat,
        ("TcpExt:", "SyncookiesSent") => Kind::Proc("proc/net/netstat"),
        ("Ip:", "Forwarding") => Kind::Proc("proc/net/snmp"),
        ("Ip6InReceives", _) => Kind::Proc("proc/net/snmp6"),
        ("sockets:", "used") => Kind::Proc("proc/net/sockstat"),
        ("TCP6:", "inuse") => Kind::Proc("proc/net/sockstat6"),
        ("Inter-|", _) => Kind::Proc("proc/net/dev"),
        ("sl", "local_address") => match text.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(1)) {
            Some(local) if local.len() > 13 => Kind::Proc("proc/net/tcp6"),
            _ if first.contains("rem_address") => Kind::Proc("proc/net/tcp"),
            _ => Kind::Proc("proc/net/tcp6"),
        },
        ("entries", _) if first.contains("early_drop") => Kind::Proc("proc/net/stat/nf_conntrack"),
        ("cpu", _) => Kind::Proc("proc/stat"),
        ("MemTotal:", _) => Kind::Proc("proc/meminfo"),
        ("Linux", _) if first.split_ascii_whitespace().count() >= 4 => Kind::Uname,
        (_, "up") if first.contains("load average") => Kind::Uptime,
        (a, b) if a.contains('.') && is_seconds(a) && is_seconds(b) && first.split_ascii_whitespace().count() == 2 => {
            Kind::Proc("proc/uptime")
        }
        (a, b) if is_hex(a) && is_hex(b) && first.split_ascii_whitespace().count() >= 9 => {
            Kind::Proc("proc/net/softnet_stat")
        }
        (a, b) if is_number(a) && is_number(b) && first.split_ascii_whitespace().count() == 3 => {
            Kind::Proc("proc/sys/fs/file-nr")
        }
        _ if super::clock::date(first).is_some() => Kind::Date,
        (key, "=") if key.contains('.') => Kind::Sysctl,
        _ => return None,
    };
    Some(kind)
}

fn is_nstat(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let (name, value, rate) = (words.next().unwrap_or_default(), words.next(), words.next());
    name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && value.is_some_and(|value| value.parse::<u64>().is_ok())
        && rate.is_some_and(is_seconds)
}

fn is_seconds(word: &str) -> bool {
    word.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_sosreport_and_of_its_namespaces() {
        let of = |name: &'static str| in_sos(name);
        assert_eq!(of("sos_commands/networking/ss_-peaonmi"), Some((Kind::Ss, None)));
        assert_eq!(of("sos_commands/networking/ip_netns_exec_a_b_ss_-peaonmi"), Some((Kind::Ss, Some("a_b"))));
        let folder = "sos_commands/networking/namespaces/web/ip_netns_exec_web_netstat_-s";
        assert_eq!(of(folder), Some((Kind::Netstat, Some("web"))));
        for none in ["sos_commands/networking/ip_netns_exec_ss_-peaonmi", "sos_commands/networking/x/ss_-t", "ss_-t"] {
            assert_eq!(of(none), None, "{none}");
        }
        for (name, wanted) in [
            ("proc/net/netstat", true),
            ("proc/12/net/netstat", true),
            ("proc/self/net/snmp", true),
            ("proc/12/stat", false),
            ("proc/kallsyms", false),
            ("proc/sys/net/core/somaxconn", true),
            ("proc/sys/kernel/version", false),
        ] {
            assert_eq!(known(name), wanted, "{name}");
        }
    }
}

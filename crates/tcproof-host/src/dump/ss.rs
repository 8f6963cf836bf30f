//! `ss` of iproute2, with any of its options: a row for each socket, its details behind it or on lines that begin with a
//! blank.
//!
//! Nothing stands at a fixed column, and which details there are depends on the options and the version. Versions before
//! 4.18 or so write `*:22` and `:::22` for what later ones write `0.0.0.0:22` and `[::]:22`; later ones keep `*:22` for a
//! socket of IPv6 that takes both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tcproof_core::snapshot::Endpoint;
use tcproof_core::states::State;

/// One TCP socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// Whether it is the socket of Multipath TCP, not one of its subflows.
    pub is_mptcp: bool,
    /// Its state.
    pub state: State,
    /// Of a listener: connections that wait; else bytes to read.
    pub recv_q: u32,
    /// Of a listener: how many may; else bytes not acknowledged.
    pub send_q: u32,
    /// This end.
    pub local: Endpoint,
    /// The device it is bound to; empty for any.
    pub device: &'a str,
    /// The other end; port 0 of a listener.
    pub remote: Endpoint,
    /// `ino:`, 0 where no file holds it; nothing without `-e`.
    pub inode: Option<u64>,
    /// `uid:`; left out for root.
    pub uid: u32,
    /// `sk:`, its cookie.
    pub cookie: Option<u64>,
    /// `cgroup:`, since 5.9.
    pub cgroup: Option<&'a str>,
    /// `d` of `skmem:`; nothing without `-m`.
    pub drops: Option<u32>,
    /// What its timer is for: `keepalive`, `timewait`, …
    pub timer: &'a str,
    /// `lastrcv:`, in milliseconds; it is left out where it is 0.
    pub last_received_ms: u64,
    /// Whether there is anything of `struct tcp_info` (`-i`).
    pub has_info: bool,
    pub(super) users: &'a str,
}

/// What was not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Rows.
    pub rows: u64,
    /// The first of them: its line, and what was expected there.
    pub first: Option<(usize, &'static str)>,
}

impl Skipped {
    fn add(&mut self, line: usize, expected: &'static str) {
        self.rows += 1;
        self.first.get_or_insert((line, expected));
    }
}

/// Takes a listing apart.
pub fn rows(text: &str, each: &mut impl FnMut(&Row<'_>)) -> Skipped {
    let star = if writes_zeros(text) { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mut skipped = Skipped::default();
    let mut row: Option<Row<'_>> = None;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with([' ', '\t']) {
            if let Some(row) = &mut row {
                row.details(line);
            }
            continue;
        }
        if let Some(row) = row.take() {
            each(&row);
        }
        match parse(line, star) {
            Ok(found) => row = found,
            Err(expected) => skipped.add(at + 1, expected),
        }
    }
    if let Some(row) = row {
        each(&row);
    }
    skipped
}

/// Whether this version writes `0.0.0.0` for any address of IPv4, and brackets.
fn writes_zeros(text: &str) -> bool {
    let header = text.lines().next().unwrap_or_default();
    header.contains("Process") || text.contains(" 0.0.0.0:") || text.contains(" [")
}

fn state(word: &str) -> Option<State> {
    Some(match word {
        "LISTEN" => State::Listen,
        "ESTAB" => State::Established,
        "SYN-SENT" => State::SynSent,
        "SYN-RECV" => State::SynRecv,
        "FIN-WAIT-1" => State::FinWait1,
        "FIN-WAIT-2" => State::FinWait2,
        "TIME-WAIT" => State::TimeWait,
        "CLOSE-WAIT" => State::CloseWait,
        "LAST-ACK" => State::LastAck,
        "CLOSING" => State::Closing,
        "UNCONN" => State::Close,
        _ => return None,
    })
}

/// A row of TCP; nothing for a header, another protocol or no socket.
fn parse(line: &str, star: IpAddr) -> Result<Option<Row<'_>>, &'static str> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, left) = rest.split_at(end);
        rest = left;
        word
    };
    let mut first = word();
    if first.is_empty() || line.contains("Recv-Q") {
        return Ok(None);
    }
    let mut is_mptcp = false;
    if state(first).is_none() {
        match first {
            "tcp" => {}
            "mptcp" => is_mptcp = true,
            // Another protocol: its first word is no state of TCP's, and its second may be.
            _ => return Ok(None),
        }
        first = word();
    }
    let state = state(first).ok_or("a state of TCP, such as LISTEN")?;
    let queue = |word: &str| word.parse::<u32>().map_err(|_| "a whole number of 32 bits in Recv-Q and Send-Q");
    let (recv_q, send_q) = (queue(word())?, queue(word())?);
    let (local, device) = endpoint(word(), star)?;
    let (remote, _) = endpoint(word(), star)?;
    let mut row = Row { is_mptcp, recv_q, send_q, device, ..Row::new(state, local, remote) };
    row.details(rest);
    Ok(Some(row))
}

/// An address and port, with the device that may stand between them.
fn endpoint(word: &str, star: IpAddr) -> Result<(Endpoint, &str), &'static str> {
    const EXPECTED: &str = "an address and a port as numbers (ss -n)";
    let (host, port) = word.rsplit_once(':').ok_or(EXPECTED)?;
    let port = match port {
        "*" => 0,
        port => port.parse().map_err(|_| EXPECTED)?,
    };
    let (host, device) = host.split_once('%').unwrap_or((host, ""));
    let host = host.trim_start_matches('[');
    let host = host.strip_suffix(']').unwrap_or(host);
    let addr = match host {
        "*" => star,
        host => host.parse().map_err(|_| EXPECTED)?,
    };
    Ok((Endpoint::new(addr, port), device.trim_end_matches(']')))
}

impl<'a> Row<'a> {
    /// One without any details.
    pub(super) fn new(state: State, local: Endpoint, remote: Endpoint) -> Self {
        Self {
            is_mptcp: false,
            state,
            recv_q: 0,
            send_q: 0,
            local,
            device: "",
            remote,
            inode: None,
            uid: 0,
            cookie: None,
            cgroup: None,
            drops: None,
            timer: "",
            last_received_ms: 0,
            has_info: false,
            users: "",
        }
    }

    fn details(&mut self, mut text: &'a str) {
        // A process's name may hold anything, so those come first.
        if let Some(start) = text.find("users:((") {
            self.users = &text[start + "users:(".len()..];
            text = after_users(self.users);
        }
        for word in text.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once(':') else { continue };
            match key {
                "ino" => self.inode = value.parse().ok(),
                "uid" => self.uid = value.parse().unwrap_or(0),
                "sk" => self.cookie = u64::from_str_radix(value.trim_start_matches("0x"), 16).ok(),
                "cgroup" => self.cgroup = Some(value),
                "timer" => self.timer = value.trim_start_matches('(').split(',').next().unwrap_or_default(),
                "skmem" => self.drops = drops(value),
                "lastrcv" => self.last_received_ms = value.parse().unwrap_or(0),
                "rto" | "cwnd" => self.has_info = true,
                _ => {}
            }
        }
        // Without a file nothing is written: a socket in TIME_WAIT has `ino:0` in some versions only.
        if self.inode.is_none() && self.cookie.is_some() {
            self.inode = Some(0);
        }
    }

    /// The processes that hold it: name and pid.
    pub fn users(&self) -> impl Iterator<Item = (&'a str, u32)> + use<'a> {
        let mut rest = self.users;
        std::iter::from_fn(move || {
            let (name, pid, left) = user(rest)?;
            rest = left;
            Some((name, pid))
        })
    }
}

/// `("nginx",pid=1,fd=6)` and what follows it. Before 4.0: `("nginx",1,6)`.
fn user(text: &str) -> Option<(&str, u32, &str)> {
    let text = text.strip_prefix(',').unwrap_or(text).strip_prefix("(\"")?;
    // The kernel cuts names after 15 bytes; a quote may be one of them.
    let mut ends = text.match_indices("\",").take(9);
    ends.find_map(|(at, _)| {
        let rest = &text[at + 2..];
        let rest = rest.strip_prefix("pid=").unwrap_or(rest);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let pid = rest[..digits].parse().ok()?;
        let rest = rest[digits..].strip_prefix(',')?;
        let end = rest.find(')')?;
        Some((&text[..at], pid, &rest[end + 1..]))
    })
}

fn after_users(text: &str) -> &str {
    let mut rest = text;
    while let Some((.., left)) = user(rest) {
        rest = left;
    }
    rest
}

/// `(r0,rb131072,t0,tb87040,f0,w0,o0,bl0,d12)`.
fn drops(value: &str) -> Option<u32> {
    let value = value.trim_start_matches('(').trim_end_matches(')');
    value.split(',').find_map(|part| part.strip_prefix('d')?.parse().ok())
}

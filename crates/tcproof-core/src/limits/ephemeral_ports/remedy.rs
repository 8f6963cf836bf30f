//! What to do: fewer connections, more addresses, then the range.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::range::{Range, port_ranges};
use super::taken::Ports;
use super::{RANGE, RESERVED, TIME_WAIT_SECONDS, TW_REUSE, is_churn};
use crate::finding::{Finding, Level, Remedy, Subject};
use crate::interval::Interval;
use crate::limits::whose;
use crate::snapshot::Tuple;

/// Ports below are for servers; a range never starts lower.
const LOWEST: u16 = 10_240;
/// The kernel's own range.
const DEFAULT: (u16, u16) = (32_768, 60_999);

/// The ports that a finding is about, and how many were in use.
fn ports_of<'a>(finding: &Finding, interval: &'a Interval) -> Option<(Ports<'a>, u32, Option<Tuple>)> {
    let ports = Ports::of(interval.namespace(finding.subject.netns()?)?).ok()?;
    match &finding.subject {
        Subject::Destination { source, destination, .. } => {
            let found = ports.after.tuples.iter().find(|(tuple, _)| {
                tuple.source.to_string() == *source && tuple.destination.to_string() == *destination
            });
            // Without a row, all of them were in use at some moment: a connect(2) found none.
            let (used, tuple) = found.map_or((ports.range.usable(), None), |(tuple, used)| (used.ports, Some(*tuple)));
            Some((ports, used, tuple))
        }
        _ => {
            let used = ports.bound_sources().map(|(_, used, _)| used.distinct).max()?;
            Some((ports, used, None))
        }
    }
}

pub(super) fn remedy(finding: &Finding, interval: &Interval) -> Vec<Remedy> {
    let Some((ports, used, tuple)) = ports_of(finding, interval) else { return vec![] };
    let who = whose(&finding.subject);
    let verify = format!("fewer than 80 % of the ports of {} in use at peak, and no EADDRNOTAVAIL", finding.subject);
    let application = |text: String| Remedy::new(Level::Application, text).verify(verify.clone());
    let churn = tuple.and_then(|tuple| ports.after.tuples.get(&tuple)).is_some_and(is_churn);
    let mut remedies = vec![];
    match finding.cause.as_str() {
        "bind-before-connect" => {
            remedies.push(application(
                "set IP_BIND_ADDRESS_NO_PORT before bind(2) to a source address: then connect(2) picks the port, \
                 and shares it between destinations"
                    .into(),
            ));
            remedies.push(application("or leave out the bind(2), where the source address does not matter".into()));
        }
        _ if !churn => {
            remedies.push(application(format!(
                "let {who} send more over fewer connections (a pool with an upper bound, pipelining, HTTP/2), \
                 and close those that idle"
            )));
            remedies.push(more_addresses(&verify));
        }
        _ => {
            remedies.push(application(format!(
                "let {who} keep connections and reuse them (a pool, HTTP keep-alive) instead of one per request"
            )));
            remedies.push(application(
                "let the server close first: TIME_WAIT, and with it the port, stays with the side that does".into(),
            ));
            remedies.push(more_addresses(&verify));
        }
    }
    if finding.cause == "range-small" && ports.range.reserved > 0 {
        let text = format!("reserve only the ports that servers need: {RESERVED} takes {}", ports.range.reserved);
        remedies.push(Remedy::new(Level::Kernel, text).verify(verify.clone()));
    }
    remedies.extend(wider_range(&ports, used, churn).into_iter().map(|remedy| remedy.verify(verify.clone())));
    if churn {
        remedies.extend(reuse(&ports, tuple.as_ref()));
    }
    remedies
}

fn more_addresses(verify: &str) -> Remedy {
    let text = "connect to more destination addresses or ports, or from more source addresses (bound to with \
                IP_BIND_ADDRESS_NO_PORT): each pair has all the ports again";
    Remedy::new(Level::Service, text).verify(verify)
}

/// A range wide enough, and before it the reservation of the servers' ports that it would swallow.
fn wider_range(ports: &Ports<'_>, used: u32, churn: bool) -> Vec<Remedy> {
    let range = &ports.range;
    let seconds = ports.ns.interval().seconds();
    let opens = ports.ns.counter("Tcp.ActiveOpens").value().copied().filter(|_| churn && seconds > 0.0);
    let rate = opens.map(|opens| opens as f64 / seconds);
    let (needed, formula) = match rate {
        Some(rate) => {
            let formula = format!(
                "2.5 × the larger of {rate:.0} connections/s × 60 s of TIME_WAIT (refused ones are not counted) and the \
                 {used} in use, so that more than half stays free; at least the kernel's default range"
            );
            (used.max((rate * TIME_WAIT_SECONDS) as u32), formula)
        }
        None => (
            used,
            format!("2.5 × the {used} in use, so that more than half stays free; at least the kernel's default range"),
        ),
    };
    // Twice is not enough: with half of the range taken, all ports of the preferred parity may be.
    let needed = (needed.saturating_mul(5) / 2).saturating_add(range.reserved + range.listening);
    let lowest = LOWEST.min(range.low);
    let mut high = range.high.max(DEFAULT.1);
    if u32::from(high - lowest) < needed {
        high = u16::MAX;
    }
    let low = u32::from(high).saturating_add(1).saturating_sub(needed);
    let low = u16::try_from(low).unwrap_or(lowest).clamp(lowest, range.low.min(DEFAULT.0).max(lowest));
    // The kernel complains unless one is even and the other odd: it halves the range by parity.
    let low = if low > lowest && (low ^ high).is_multiple_of(2) { low - 1 } else { low };
    if (low, high) == (range.low, range.high) {
        return vec![];
    }
    let usable = Range::within(ports.ns.after, low, high).map_or(0, |wide| wide.usable());
    let capacity = f64::from(usable) / TIME_WAIT_SECONDS;
    // Then it only fills up later.
    let is_too_small = rate.is_some_and(|rate| rate >= capacity);
    let mut remedies = vec![];
    let reserved = ports.ns.after.knob(RESERVED).value().copied().unwrap_or("");
    if let Some(to) = reserve_listeners(ports, reserved, (low, high)) {
        let text = "first reserve the ports that servers listen on, or a client may hold one when a server restarts";
        remedies.push(
            Remedy::knob(text, RESERVED, reserved, to)
                .formula("what is reserved now, and every listening port within the new range"),
        );
    }
    let widen = match is_too_small {
        true => "does not suffice alone: widen the range",
        false => "widen the range",
    };
    remedies.push(
        Remedy::knob(
            format!("{widen}: to one destination it then lasts for about {capacity:.0} short connections/s"),
            RANGE,
            format!("{} {}", range.low, range.high),
            format!("{low} {high}"),
        )
        .formula(formula)
        .cost("none, as long as the ports of servers that start later are reserved too"),
    );
    match is_too_small {
        true => remedies.into_iter().map(Remedy::alternative).collect(),
        false => remedies,
    }
}

fn reserve_listeners(ports: &Ports<'_>, reserved: &str, (low, high): (u16, u16)) -> Option<String> {
    let ranges = port_ranges(reserved)?;
    let is_free = |port: &u16| !ranges.iter().any(|(from, to)| (*from..=*to).contains(port));
    let listeners = ports.ns.after.listeners.value()?.iter().map(|listener| listener.local.port);
    let add: BTreeSet<u16> = listeners.filter(|port| (low..=high).contains(port)).filter(is_free).collect();
    let all = Some(reserved.trim().to_string()).filter(|text| !text.is_empty());
    let all = all.into_iter().chain(add.iter().map(ToString::to_string)).collect::<Vec<_>>().join(",");
    (!add.is_empty()).then_some(all)
}

/// Reuse of TIME_WAIT ports, where timestamps make it safe and it is not on already.
fn reuse(ports: &Ports<'_>, tuple: Option<&Tuple>) -> Option<Remedy> {
    let ns = ports.ns.after;
    let now = *ns.knob_number(TW_REUSE).value()?;
    let timestamps = *ns.knob_number("net.ipv4.tcp_timestamps").value()?;
    // 2, the default since 4.19, reuses for loopback only.
    let loopback = tuple.is_some_and(|tuple| tuple.destination.addr.is_loopback());
    if now == 1 || timestamps == 0 || (now == 2 && loopback) {
        return None;
    }
    let text = "reuse ports in TIME_WAIT after a second; only if the other end sends TCP timestamps too, \
                and no NAT or firewall between remembers connections longer";
    Some(
        Remedy::knob(text, TW_REUSE, now.to_string(), "1")
            .alternative()
            .cost("protection against old duplicates rests on timestamps alone")
            .verify("TcpExt.TWRecycled grows, and connects succeed"),
    )
}

//! What the watched connections wait for: one line, or one for each.

use std::collections::BTreeMap;

use tcproof_core::limits::in_bits;
use tcproof_core::{Diagnosis, FlowNote};

use crate::layout::{Cell, Role, Screen, bind, thousands};

/// Writes the block, where there are any.
pub(crate) fn block(screen: &mut Screen<'_>, diagnosis: &Diagnosis, margin: usize) {
    let Some(text) = summary(diagnosis) else { return };
    screen.row(&[Cell::new(Role::Heading, "FLOWS", margin)], Role::Plain, &text);
    if screen.style.verbose {
        for flow in &diagnosis.flows {
            screen.row(&[Cell::blank(margin)], Role::Plain, &one(flow, diagnosis.namespaces > 1));
        }
    }
    screen.gap();
}

/// `4 of 9120 looked at: 2 wait for their application, 1 fills its path`
pub(crate) fn summary(diagnosis: &Diagnosis) -> Option<String> {
    let flows = &diagnosis.flows;
    if flows.is_empty() {
        return None;
    }
    let mut bound = BTreeMap::<&str, u64>::new();
    for flow in flows {
        *bound.entry(&flow.bound_by).or_default() += 1;
    }
    let mut bound: Vec<_> = bound.into_iter().collect();
    bound.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let kinds: Vec<_> = bound.iter().map(|(by, n)| format!("{} {}", thousands(*n), waits(by, *n))).collect();
    let all = match (diagnosis.open_flows, flows.len() as u64) {
        (open, watched) if open > watched => format!("{} of {} looked at", thousands(watched), thousands(open)),
        (_, watched) => format!("{} looked at", thousands(watched)),
    };
    Some(format!("{all}: {}", kinds.join(", ")))
}

/// `10.0.0.2:443 → 10.0.0.9:5123 in web  184 Mbit/s, path (nginx, cubic, 51 ms)`
fn one(flow: &FlowNote, several: bool) -> String {
    let arrow = if flow.sends { "→" } else { "←" };
    let place = if several { format!(" in {}", flow.netns) } else { String::new() };
    let rate = bind(&in_bits(flow.bits_per_second as f64 / 8.0));
    let facts = facts(flow).join(", ");
    format!("{} {arrow} {}{place}  {rate}, {} ({facts})", flow.local, flow.remote, flow.bound_by)
}

/// Its owner, its congestion control, its round trip.
pub(crate) fn facts(flow: &FlowNote) -> Vec<String> {
    let mut facts: Vec<String> = flow.owners.iter().take(1).map(|owner| owner.comm.clone()).collect();
    facts.push(if flow.mptcp { format!("MPTCP, {}", flow.congestion) } else { flow.congestion.clone() });
    facts.push(bind(&format!("{:.1} ms", flow.rtt_ms)));
    facts.retain(|fact| !fact.is_empty());
    facts
}

/// What a flow waits for, in words.
fn waits(bound_by: &str, n: u64) -> String {
    let s = if n == 1 { "s" } else { "" };
    let its = if n == 1 { "its" } else { "their" };
    match bound_by {
        "application" => format!("wait{s} for {its} application"),
        "path" => format!("fill{s} {its} path"),
        "sender" => format!("wait{s} for {its} sender"),
        "reader" => format!("wait{s} for {its} reader"),
        "reader-cpu" => format!("keep{s} {its} reader's CPU busy"),
        "growing" => format!("still speed{s} up"),
        "stalled" => format!("get{s} no answer"),
        limit if n == 1 => format!("is held back by {}", crate::title(limit)),
        limit => format!("are held back by {}", crate::title(limit)),
    }
}

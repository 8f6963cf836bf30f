//! What is behind a row, and the pages: texts that the report writes.

use tcproof_core::counters::{self, Counter};
use tcproof_core::knobs::{self, Machine};
use tcproof_core::limits::{Limit, in_bits};
use tcproof_core::lint::Rule;
use tcproof_core::path::stages;
use tcproof_core::plan::{Making, plan};
use tcproof_core::{Finding, Reading, Subject, Version};
use tcproof_report::explain::{self, Here};
use tcproof_report::{Style, page, plan as report, thousands, top};

use crate::panes::{Pane, flows, listeners};
use crate::seen::{Seen, share_of};

/// What is opened by Enter, with its heading; none where the row is gone.
pub(crate) fn of(pane: Pane, id: &str, seen: &Seen, style: &Style) -> Option<String> {
    match pane {
        Pane::Verdict => {
            let finding = seen.diagnosis.findings.get(id.parse::<usize>().ok()?)?;
            Some(top::finding(&seen.diagnosis, finding, style))
        }
        Pane::Headroom => headroom(id, seen, style),
        Pane::Listeners => listener(id, seen, style),
        Pane::Destinations => destination(id, seen, style),
        Pane::Flows => flow(id, seen, style),
        Pane::Path => {
            let stage = stages(&seen.interval).into_iter().find(|stage| stage.stage == id)?;
            Some(top::stage(&stage, style))
        }
        // A counter's page is all there is to tell of it.
        Pane::Counters => explain(id.split(' ').next()?, Some(seen), style).ok(),
    }
}

/// What is found about it, in full, behind its facts.
fn with_findings(text: String, about: impl Fn(&Finding) -> bool, seen: &Seen, style: &Style) -> String {
    let found = seen.diagnosis.findings.iter().filter(|finding| about(finding));
    found.fold(text, |text, finding| format!("{text}\n{}", top::finding(&seen.diagnosis, finding, style)))
}

fn headroom(id: &str, seen: &Seen, style: &Style) -> Option<String> {
    let row = seen.diagnosis.headroom.iter().find(|row| share_of(&row.limit, &row.subject) == id)?;
    let title = Limit::by_slug(&row.limit).map_or(&*row.limit, |limit| limit.title);
    let facts = [
        ("used", format!("{} of {} {}", thousands(row.used), thousands(row.capacity), row.unit)),
        ("namespace", row.subject.netns().unwrap_or_default().to_string()),
        ("owner", owners(row.subject.owners())),
    ];
    let text = top::facts(&format!("{title} of {}", row.subject), &facts, style);
    Some(with_findings(text, |finding| finding.limit == row.limit && finding.subject == row.subject, seen, style))
}

fn listener(id: &str, seen: &Seen, style: &Style) -> Option<String> {
    let all = seen.interval.namespaces().flat_map(|ns| ns.listeners().map(move |watch| (ns, watch)));
    let (ns, watch) = all.into_iter().find(|(_, watch)| watch.last.cookie.to_string() == id)?;
    let local = watch.last.local.to_string();
    let percent = |share: f64| format!("{} %", tcproof_core::limits::percent(share));
    let facts = [
        ("namespace", ns.name().to_string()),
        ("owner", owners(&listeners::owners(&seen.interval, watch.last.inode))),
        ("queue", format!("{} now, {} at most in {} looks", watch.last.queue, ns.longest(watch), watch.looks)),
        ("limit", format!("{}: full at one more than the backlog of {}", watch.last.capacity(), watch.last.backlog)),
        ("full", format!("in {} of the looks; empty in {}", percent(watch.full_share()), percent(watch.empty_share()))),
        (
            "dropped",
            match watch.drops() {
                Reading::Present(drops) => {
                    format!("{} handshakes in {:.1} s", thousands(drops.into()), seen.interval.seconds())
                }
                Reading::Absent(why) => why.to_string(),
            },
        ),
        (
            "longest pause",
            format!("{:.2} s without an accept(2) while somebody waited", watch.longest_pause.as_secs_f64()),
        ),
        ("fastest growth", format!("{:.0} connections a second", watch.fastest_growth)),
    ];
    let is_it = |subject: &Subject| match subject {
        Subject::Listener { netns, local: of, .. } => netns == ns.name() && *of == local,
        _ => false,
    };
    Some(with_findings(top::facts(&local, &facts, style), |finding| is_it(&finding.subject), seen, style))
}

fn destination(id: &str, seen: &Seen, style: &Style) -> Option<String> {
    let (tuple, used, ns) = seen.interval.namespaces().find_map(|ns| {
        let ports = ns.after.sockets.ports.value()?;
        let (tuple, used) = ports.tuples.iter().find(|(tuple, _)| format!("{tuple} {}", ns.name()) == id)?;
        Some((tuple, used, ns))
    })?;
    let of =
        tcproof_core::limits::usable_ports(ns.after).map(|of| format!(" of {}", thousands(of))).unwrap_or_default();
    let facts = [
        ("namespace", ns.name().to_string()),
        ("ports", format!("{}{of}", thousands(used.ports.into()))),
        ("in TIME_WAIT", thousands(used.time_wait.into())),
        ("connecting", thousands(used.connecting.into())),
        ("owner", owners(&listeners::owners(&seen.interval, used.inode))),
    ];
    let (source, destination) = (tuple.source.to_string(), tuple.destination.to_string());
    let is_it = |subject: &Subject| match subject {
        Subject::Destination { netns, source: s, destination: d, .. } => {
            netns == ns.name() && *s == source && *d == destination
        }
        _ => false,
    };
    let text = top::facts(&format!("{source} → {destination}"), &facts, style);
    Some(with_findings(text, |finding| is_it(&finding.subject), seen, style))
}

fn flow(id: &str, seen: &Seen, style: &Style) -> Option<String> {
    let flow = seen.diagnosis.flows.iter().find(|flow| flows::id(flow) == id)?;
    let held = Limit::by_slug(&flow.bound_by).map(|limit| format!(": {}", limit.title)).unwrap_or_default();
    let facts = [
        ("namespace", flow.netns.clone()),
        ("owner", owners(&flow.owners)),
        (
            "direction",
            if flow.sends { "it sends more than it receives" } else { "it receives more than it sends" }.into(),
        ),
        ("rate", in_bits(flow.bits_per_second as f64 / 8.0)),
        ("held back by", format!("{}{held}", flow.bound_by)),
        ("round trip", format!("{:.1} ms", flow.rtt_ms)),
        ("congestion", flow.congestion.clone()),
        ("protocol", if flow.mptcp { "a subflow of Multipath TCP" } else { "TCP" }.into()),
    ];
    let text = top::facts(&format!("{} ↔ {}", flow.local, flow.remote), &facts, style);
    Some(with_findings(text, |finding| flows::is_about(&finding.subject, flow), seen, style))
}

fn owners(owners: &[tcproof_core::Owner]) -> String {
    let one = |owner: &tcproof_core::Owner| {
        let within = owner.unit.as_ref().or(owner.cgroup.as_ref()).map(|unit| format!(", {unit}")).unwrap_or_default();
        format!("{} (pid {}{within})", owner.comm, owner.pid)
    };
    owners.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The page of a limit, a rule, a knob or a counter, with what the window says of it; else a hint.
pub(crate) fn explain(topic: &str, seen: Option<&Seen>, style: &Style) -> Result<String, String> {
    if let Some(limit) = Limit::by_slug(topic) {
        return Ok(page::explain(limit, style));
    }
    if let Some(rule) = Rule::by_slug(topic) {
        return Ok(explain::rule(rule, style));
    }
    // As far as the window says.
    let machine =
        seen.map_or_else(|| Machine::of_kernel(Version::ALWAYS), |seen| Machine::of_host(&seen.interval.after.host));
    if let Some(knob) = knobs::by_name(topic) {
        let places = places(seen, |ns| match ns.knobs.get(knob.key) {
            Some(value) => value.clone(),
            None => Reading::Absent(tcproof_core::Absent::Failed {
                what: knob.key.into(),
                error: "not read while watching: tcproof explain reads it".into(),
            }),
        });
        return Ok(explain::knob(knob, &Here { machine: &machine, places: &places, unseen: &[] }, style));
    }
    if let Some(counter) = counters::by_name(topic) {
        let places = places(seen, |ns| value(ns, counter));
        return Ok(explain::counter(counter, &Here { machine: &machine, places: &places, unseen: &[] }, style));
    }
    Err(format!("{topic:?} is no limit, counter, knob or rule: expected one such as accept-queue"))
}

fn value(ns: &tcproof_core::snapshot::Netns, counter: &Counter) -> Reading<u64> {
    match counter.scope {
        counters::Scope::Namespace => ns.counter(counter.name),
        // Its page then has no place for values.
        _ => Reading::Absent(tcproof_core::Absent::Failed { what: counter.name.into(), error: String::new() }),
    }
}

fn places<T>(
    seen: Option<&Seen>,
    value: impl Fn(&tcproof_core::snapshot::Netns) -> Reading<T>,
) -> Vec<(String, Reading<T>)> {
    let namespaces = seen.into_iter().flat_map(|seen| seen.interval.after.namespaces.values());
    namespaces.map(|ns| (ns.name.clone(), value(ns))).collect()
}

/// The changes that the findings call for.
pub(crate) fn plan_of(seen: &Seen, style: &Style) -> String {
    let diagnosis = &seen.diagnosis;
    let namespaces = seen.interval.after.namespaces.iter().map(|(id, ns)| (ns.name.clone(), id.0)).collect();
    let made_at = tcproof_report::record::utc(seen.wall_ms);
    let making = Making {
        id: "of this window",
        host: &diagnosis.host.name,
        kernel: &diagnosis.host.kernel,
        made_at: &made_at,
        namespaces: Some(namespaces),
        wanted: &[],
    };
    let plan = plan(&diagnosis.findings, &making);
    report::text(&plan, report::Next { verdict: diagnosis.verdict(), file: None }, style)
}

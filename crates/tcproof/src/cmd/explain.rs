//! `tcproof explain`: the page of a limit, a knob, a counter or a rule, with what this host says of it; and the lists.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tcproof_core::counters::{self, Counter};
use tcproof_core::knobs::{self, Knob};
use tcproof_core::limits::{LIMITS, Limit};
use tcproof_core::lint::{RULES, Rule};
use tcproof_core::states::State;
use tcproof_core::{Absent, Reading};
use tcproof_host::states::{states, total};
use tcproof_host::{Root, counter, everywhere, knob, settings};
use tcproof_report::Style;
use tcproof_report::explain::{self, Here};
use tcproof_report::page;

use super::{Exit, print, style};
use crate::cli::{ExplainArgs, OutputArgs};

/// What can be explained.
#[derive(Clone, Copy, Debug)]
enum Topic {
    Limit(&'static Limit),
    Knob(&'static Knob),
    Counter(&'static Counter),
    Rule(&'static Rule),
    Limits,
    Knobs,
    Counters,
    Rules,
    States,
    State(State),
}

/// Runs it.
pub(crate) fn run(args: &ExplainArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let topic = match &args.topic {
        None => Topic::Limits,
        Some(name) => {
            topic(name).ok_or_else(|| anyhow::anyhow!("{name:?} is nothing that tcproof knows; {}", hint(name)))?
        }
    };
    let style = style(output, false, false);
    let text = if output.json() { json(topic, args)? } else { text(topic, args, &style)? };
    print(&text)?;
    Ok(Exit::Done.into())
}

fn text(topic: Topic, args: &ExplainArgs, style: &Style) -> anyhow::Result<String> {
    Ok(match topic {
        Topic::Limit(limit) => page::explain(limit, style),
        Topic::Knob(knob) => with_knob(knob, args, |here| explain::knob(knob, here, style))?,
        Topic::Counter(counter) => with_counter(counter, args, |here| explain::counter(counter, here, style))?,
        Topic::Rule(rule) => explain::rule(rule, style),
        Topic::Limits => page::list(style),
        Topic::Knobs => explain::knobs(style),
        Topic::Counters => explain::counters(style),
        Topic::Rules => explain::rules(style),
        Topic::State(state) => with_state(state, args, |here| explain::state(state, here, style))?,
        Topic::States => {
            let seen = states(&Root::with_proc(&args.root)?, &args.netns.scope)?;
            explain::states(&total(&seen), &seen.places, &seen.unseen, style)
        }
    })
}

fn json(topic: Topic, args: &ExplainArgs) -> anyhow::Result<String> {
    Ok(match topic {
        Topic::Limit(limit) => page::explain_json(limit),
        Topic::Knob(knob) => with_knob(knob, args, |here| explain::knob_json(knob, here))?,
        Topic::Counter(counter) => with_counter(counter, args, |here| explain::counter_json(counter, here))?,
        Topic::Rule(rule) => explain::rule_json(rule),
        Topic::Limits => page::list_json(),
        Topic::Knobs => explain::names_json("knobs", knobs::all().map(|knob| knob.key)),
        Topic::Counters => explain::names_json("counters", counters::all().map(|counter| counter.name)),
        Topic::Rules => explain::names_json("rules", RULES.iter().map(|rule| rule.slug)),
        Topic::States => explain::states_json(None, &states(&Root::with_proc(&args.root)?, &args.netns.scope)?.places),
        Topic::State(it) => {
            explain::states_json(Some(it), &states(&Root::with_proc(&args.root)?, &args.netns.scope)?.places)
        }
    })
}

fn with_knob(it: &Knob, args: &ExplainArgs, show: impl FnOnce(&Here<'_, String>) -> String) -> anyhow::Result<String> {
    let root = Root::with_proc(&args.root)?;
    let seen = everywhere(&root, &args.netns.scope, usize::MAX, |root| knob(root, it.key))?;
    Ok(show(&Here { machine: &settings::machine(&root), places: &seen.places, unseen: &seen.unseen }))
}

fn with_counter(
    it: &Counter,
    args: &ExplainArgs,
    show: impl FnOnce(&Here<'_, u64>) -> String,
) -> anyhow::Result<String> {
    let root = Root::with_proc(&args.root)?;
    let seen = everywhere(&root, &args.netns.scope, usize::MAX, |root| counter(root, it))?;
    Ok(show(&Here { machine: &settings::machine(&root), places: &seen.places, unseen: &seen.unseen }))
}

fn with_state(it: State, args: &ExplainArgs, show: impl FnOnce(&Here<'_, u64>) -> String) -> anyhow::Result<String> {
    let root = Root::with_proc(&args.root)?;
    let seen = states(&root, &args.netns.scope)?;
    let of_state = |counts: Reading<BTreeMap<State, u64>>| {
        counts.and_then(|counts| match counts.get(&it) {
            Some(n) => Reading::Present(*n),
            None => Reading::Absent(Absent::not_in_kernel(format!("way to ask for sockets in state {it}"))),
        })
    };
    let places: Vec<_> = seen.places.into_iter().map(|(name, counts)| (name, of_state(counts))).collect();
    Ok(show(&Here { machine: &settings::machine(&root), places: &places, unseen: &seen.unseen }))
}

fn topic(name: &str) -> Option<Topic> {
    let list = match name {
        "limits" => Some(Topic::Limits),
        "knobs" => Some(Topic::Knobs),
        "counters" => Some(Topic::Counters),
        "rules" | "lint" => Some(Topic::Rules),
        "states" => Some(Topic::States),
        _ => None,
    };
    list.or_else(|| Limit::by_slug(name).map(Topic::Limit))
        .or_else(|| Rule::by_slug(name).map(Topic::Rule))
        .or_else(|| knobs::by_name(name).map(Topic::Knob))
        .or_else(|| counters::by_name(name).map(Topic::Counter))
        .or_else(|| State::by_name(name).map(Topic::State))
        // As ss(8) writes them.
        .or_else(|| match &*name.to_ascii_uppercase() {
            "ESTAB" => Some(Topic::State(State::Established)),
            "UNCONN" => Some(Topic::State(State::Close)),
            _ => None,
        })
}

/// The nearest name, or where the lists are.
fn hint(typed: &str) -> String {
    let names = || {
        let names = LIMITS.iter().map(|limit| limit.slug).chain(RULES.iter().map(|rule| rule.slug));
        let names = names.chain(knobs::all().map(|knob| knob.key)).chain(counters::all().map(|counter| counter.name));
        names.chain(["limits", "knobs", "counters", "rules", "states"])
    };
    let several: Vec<_> = counters::called(typed).map(|counter| counter.name).collect();
    let several =
        if several.is_empty() { knobs::ending_in(typed).iter().map(|knob| knob.key).collect() } else { several };
    if several.len() > 1 {
        return format!("it may be {}", several.join(" or "));
    }
    let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let by_end = || {
        let end = knobs::nearest_of(typed, names().map(last))?;
        names().find(|name| last(name) == end)
    };
    let near = knobs::nearest_of(typed, names()).or_else(by_end).or_else(|| by_word(typed));
    match near {
        Some(name) => format!("did you mean {name}? (tcproof explain lists the limits)"),
        None => "tcproof explain lists the limits, tcproof explain knobs the knobs".into(),
    }
}

/// The limit that shares the most words with what was typed.
fn by_word(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let words: Vec<&str> = typed.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 2).collect();
    let shared = |slug: &&str| words.iter().filter(|word| slug.contains(**word)).count();
    LIMITS.iter().map(|limit| limit.slug).max_by_key(shared).filter(|slug| shared(slug) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_answered_with_the_name() {
        assert!(hint("accept_queue").contains("accept-queue"));
        assert!(hint("listen queue").contains("queue"));
        assert!(hint("tcp_max_syn_backlogs").contains("net.ipv4.tcp_max_syn_backlog"));
        assert!(!hint("zzz").contains("did you mean"));
        assert_eq!(hint("nf_conntrack_max"), "it may be net.netfilter.nf_conntrack_max or net.nf_conntrack_max");
        assert!(hint("gc_thresh3").contains("net.ipv4.neigh.default.gc_thresh3 or net.ipv6.neigh"));
    }

    #[test]
    fn a_thing_has_several_names() {
        for name in ["somaxconn", "net.core.somaxconn", "net/core/somaxconn", "/proc/sys/net/core/somaxconn"] {
            assert!(matches!(topic(name), Some(Topic::Knob(knob)) if knob.key == "net.core.somaxconn"), "{name}");
        }
        assert!(matches!(topic("accept-queue"), Some(Topic::Limit(_))));
        assert!(matches!(topic("placebo"), Some(Topic::Rule(_))));
        assert!(
            matches!(topic("max_syn_backlog"), Some(Topic::Knob(knob)) if knob.key.ends_with("tcp_max_syn_backlog"))
        );
        for name in ["TIME_WAIT", "time-wait", "TIME-WAIT", "TCP_TIME_WAIT"] {
            assert!(matches!(topic(name), Some(Topic::State(State::TimeWait))), "{name}");
        }
        assert!(matches!(topic("ESTAB"), Some(Topic::State(State::Established))));
        for name in ["no-such-thing", "", "gc_thresh3", "_"] {
            assert!(topic(name).is_none(), "{name}");
        }
    }
}

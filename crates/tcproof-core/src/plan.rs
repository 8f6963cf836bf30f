//! From findings to a plan: the smallest safe changes, in order, each with its reason, its cost and its way back.
//!
//! What a person has to do stays an instruction. A knob is changed only to a value that makes sense, never lowered unasked,
//! and never where the change could not be taken back.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::finding::{Confidence, Finding, Level, Remedy, State, Subject};
use crate::knobs::{self, EffectBy, Kind, Knob, Undo, Wrong};

/// The schema that this version writes, and the only one that it reads.
pub const SCHEMA: &str = "tcproof/plan/1";

/// A reviewable list of changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is called in the journal.
    pub id: String,
    /// The host that it is for.
    pub host: String,
    /// Its kernel.
    pub kernel: String,
    /// When it was made (RFC 3339).
    pub made_at: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Reason>,
    /// What a person must do, before the changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<Instruction>,
    /// What `apply` does, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What would be another way, or is refused, and why it is not among the changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// Why something is in the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The limit's slug.
    pub limit: String,
    /// The cause's slug.
    pub cause: String,
    /// How bad.
    pub state: State,
    /// How sure.
    pub confidence: Confidence,
    /// One sentence with its numbers.
    pub summary: String,
    /// What it is about.
    pub subject: Subject,
}

/// Something that only a person can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// Which of the findings it is for, from 1.
    pub finding: usize,
    /// Who can do it.
    pub level: Level,
    /// What to do.
    pub text: String,
    /// How a number in it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// How to tell that it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<String>,
}

/// One knob, from one value to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which of the findings it is for, from 1; several where they ask for the same.
    pub findings: Vec<usize>,
    /// Where.
    pub namespace: Namespace,
    /// The knob's key.
    pub knob: String,
    /// What it must be before.
    pub from: String,
    /// What it is to be.
    pub to: String,
    /// How the value was computed, with its inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// What it costs.
    pub cost: String,
    /// What can go wrong.
    pub risk: String,
    /// When it is felt.
    pub takes_effect: String,
    /// What has to be done for it to be felt, such as a reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// How it is taken back.
    pub inverse: String,
    /// The reading and the condition by which it is judged.
    pub success: String,
}

/// Whose knob: the kernel's, or a network namespace's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// `host` for a knob that exists once per kernel; else the namespace's name.
    pub name: String,
    /// Its inode, by which it is found again; none for a knob that exists once per kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
}

/// A change that is not made, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Which of the findings it would be for, from 1.
    pub finding: usize,
    /// The knob's key.
    pub knob: String,
    /// What it is.
    pub from: String,
    /// What it would be.
    pub to: String,
    /// What it would do.
    pub text: String,
    /// Why it is left out.
    pub because: String,
}

/// What is known of where and when a plan is made.
#[derive(Clone, Debug, Default)]
pub struct Making<'a> {
    /// What the plan will be called.
    pub id: &'a str,
    /// The host's name.
    pub host: &'a str,
    /// Its kernel release.
    pub kernel: &'a str,
    /// Now (RFC 3339).
    pub made_at: &'a str,
    /// Namespaces by name, with their inodes. `None` where they can't be looked up, as for a directory or another machine:
    /// the changes then name none, and cannot be applied.
    pub namespaces: Option<BTreeMap<String, u64>>,
    /// Knobs that were asked for: for them another way, or a lower value, is taken too.
    pub wanted: &'a [String],
}

/// The plan that findings call for. A host without findings has an empty one.
pub fn plan(findings: &[Finding], making: &Making<'_>) -> Plan {
    let mut plan = Plan {
        schema: SCHEMA.into(),
        id: making.id.into(),
        host: making.host.into(),
        kernel: making.kernel.into(),
        made_at: making.made_at.into(),
        findings: findings.iter().map(Reason::new).collect(),
        instructions: Vec::new(),
        changes: Vec::new(),
        left_out: Vec::new(),
    };
    for (number, finding) in (1..).zip(findings) {
        for remedy in &finding.remedies {
            match (&remedy.knob, &remedy.from, &remedy.to) {
                (Some(key), Some(from), Some(to)) => match change(number, finding, remedy, (key, from, to), making) {
                    Ok(change) => merge(&mut plan.changes, change),
                    Err(because) => plan.left_out.push(LeftOut {
                        finding: number,
                        knob: key.clone(),
                        from: from.clone(),
                        to: to.clone(),
                        text: remedy.text.clone(),
                        because,
                    }),
                },
                _ => plan.instructions.push(Instruction::new(number, remedy)),
            }
        }
    }
    // The application first, then its configuration.
    plan.instructions.sort_by_key(|instruction| (instruction.level, instruction.finding));
    plan
}

fn change(
    number: usize,
    finding: &Finding,
    remedy: &Remedy,
    (key, from, to): (&str, &str, &str),
    making: &Making<'_>,
) -> Result<Change, String> {
    let knob = knobs::by_key(key).ok_or_else(|| format!("{key} is not in the table of knobs"))?;
    check(knob, from, to)?;
    let is_asked = making.wanted.iter().any(|wanted| wanted == key);
    if remedy.is_alternative && !is_asked {
        return Err(format!("another way to the same end: taken with --with {key}"));
    }
    let lowers = lowers(&knob.kind, from, to);
    if lowers && !is_asked {
        return Err(format!("it lowers the value: taken with --with {key}"));
    }
    let namespace = match (knob.is_namespaced(), finding.subject.netns()) {
        (false, _) => Namespace { name: HOST.into(), inode: None },
        (true, Some(name)) => {
            let inode = making.namespaces.as_ref().and_then(|known| known.get(name).copied());
            if making.namespaces.is_some() && inode.is_none() {
                return Err(format!("there is no network namespace {name} any more"));
            }
            Namespace { name: name.into(), inode }
        }
        (true, None) => return Err("it is not known in which network namespace".into()),
    };
    let risk = if lowers { knob.lowering } else { knob.raising };
    Ok(Change {
        findings: [number].into(),
        namespace,
        knob: key.into(),
        from: words(from),
        to: words(to),
        formula: remedy.formula.clone(),
        cost: remedy.cost.clone().unwrap_or_else(|| knob.cost.into()),
        risk: risk.into(),
        takes_effect: knob.effect.exactly.into(),
        then: (knob.effect.by == EffectBy::NextListen).then(|| remedy.text.clone()),
        inverse: match knob.undo {
            Undo::LeavesTraces(what) => format!("{key} = {}, but {what}", shown(from)),
            _ => format!("{key} = {}", shown(from)),
        },
        success: remedy.verify.clone().unwrap_or_else(|| format!("no finding {} there", finding.limit)),
    })
}

/// Whether a knob may be changed from one value to another at all.
///
/// # Errors
/// Why not.
pub fn check(knob: &Knob, from: &str, to: &str) -> Result<(), String> {
    match knob.undo {
        Undo::OneWay(why) => return Err(format!("refused: it can't be undone, {why}")),
        Undo::ReadOnly => return Err("refused: it can only be read".into()),
        Undo::WriteBack | Undo::LeavesTraces(_) => {}
    }
    if matches!(knob.kind, Kind::Key) {
        return Err("refused: a key is not written to plans and journals".into());
    }
    if let Some(odd) = [from, to].into_iter().find(|value| !is_plain(value)) {
        return Err(format!("refused: {odd:?}: expected letters, digits and any of _ - . , : + in words"));
    }
    match knob.kind.judge(to) {
        Err(Wrong::Refused(why) | Wrong::Nonsense(why)) => Err(format!("refused: {to}: {why}")),
        Ok(()) if knob.kind.is_same(from, to) => Err("it has that value already".into()),
        Ok(()) => Ok(()),
    }
}

/// Whether it takes something away. A switch or a name is neither lower nor higher.
fn lowers(kind: &Kind, from: &str, to: &str) -> bool {
    let (from, to) = (kind.numbers(from), kind.numbers(to));
    match kind {
        Kind::Number { .. } | Kind::Triple { .. } => from.iter().zip(&to).any(|(from, to)| to < from),
        Kind::PortRange => matches!((&*from, &*to), ([a, b], [c, d]) if c > a || d < b),
        _ => false,
    }
}

/// Two findings that ask for the same knob get what holds both values, where there is such a value; else what the first,
/// and worse, of them asks for.
fn merge(changes: &mut Vec<Change>, new: Change) {
    let same = changes.iter_mut().find(|change| change.knob == new.knob && change.namespace == new.namespace);
    let Some(old) = same else { return changes.push(new) };
    old.findings.extend(&new.findings);
    let kind = knobs::by_key(&new.knob).map(|knob| &knob.kind);
    let Some(both) = kind.and_then(|kind| both(kind, &old.to, &new.to)) else { return };
    if both != old.to {
        let findings = core::mem::take(&mut old.findings);
        let formula = match (&old.formula, new.formula) {
            // It is the new one's alone.
            (_, formula) if both == new.to => formula,
            (Some(one), Some(other)) if *one != other => Some(format!("{one}; and {other}")),
            (one, other) => one.clone().or(other),
        };
        *old = Change { findings, to: both, formula, ..new };
    }
}

/// The least value that holds both.
fn both(kind: &Kind, one: &str, other: &str) -> Option<String> {
    let (a, b) = (kind.numbers(one), kind.numbers(other));
    let joined = |numbers: Vec<i64>| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match kind {
        Kind::Number { .. } | Kind::Triple { .. } => Some(joined(a.iter().zip(&b).map(|(a, b)| *a.max(b)).collect())),
        Kind::PortRange => match (&*a, &*b) {
            ([low, high], [lower, higher]) => Some(joined([*low.min(lower), *high.max(higher)].into())),
            _ => None,
        },
        Kind::PortList => {
            let items = || one.split(',').chain(other.split(',')).map(str::trim).filter(|item| !item.is_empty());
            let mut all: Vec<&str> = Vec::new();
            for item in items() {
                if !all.contains(&item) {
                    all.push(item);
                }
            }
            Some(all.join(","))
        }
        _ => None,
    }
}

/// Whether it is made of what the values of the kernel's knobs are made of. Values go into files of many kinds.
fn is_plain(value: &str) -> bool {
    let mut words = value.split_ascii_whitespace();
    words.all(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.,:+".contains(&byte)))
}

/// As a person reads it: a list of ports may be empty.
fn shown(value: &str) -> String {
    if value.trim().is_empty() { "(nothing)".into() } else { words(value) }
}

/// As the kernel writes it, but with single blanks.
fn words(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

impl Reason {
    fn new(finding: &Finding) -> Self {
        Self {
            limit: finding.limit.clone(),
            cause: finding.cause.clone(),
            state: finding.state,
            confidence: finding.confidence,
            summary: finding.summary.clone(),
            subject: finding.subject.clone(),
        }
    }
}

impl Instruction {
    fn new(finding: usize, remedy: &Remedy) -> Self {
        Self {
            finding,
            level: remedy.level,
            text: remedy.text.clone(),
            formula: remedy.formula.clone(),
            cost: remedy.cost.clone(),
            success: remedy.verify.clone(),
        }
    }
}

/// The name of the initial network namespace, and of what exists once per kernel.
pub const HOST: &str = "host";

impl Namespace {
    /// Whether it is the host's own: once per kernel, or the initial network namespace.
    pub fn is_host(&self) -> bool {
        self.name == HOST
    }
}

impl Plan {
    /// Whether there is nothing for `apply` to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What is wrong with a plan that came from a file, with the place: anybody may have edited it.
    ///
    /// # Errors
    /// One sentence for each thing.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if self.schema != SCHEMA {
            wrong.push(format!("schema: {:?} is not {SCHEMA:?}, which is all that this version reads", self.schema));
        }
        for (number, change) in (1..).zip(&self.changes) {
            let place = format!("changes[{number}]: {}", change.knob);
            match knobs::by_key(&change.knob) {
                None => wrong.push(format!("{place}: not in the table of knobs")),
                Some(knob) => {
                    if let Err(why) = check(knob, &change.from, &change.to) {
                        wrong.push(format!("{place}: {why}"));
                    }
                    for (field, value) in [("from", &change.from), ("to", &change.to)] {
                        if *value != words(value) {
                            wrong.push(format!("{place}: {field}: expected words parted by one blank each"));
                        }
                    }
                    if knob.is_namespaced() != change.namespace.inode.is_some() {
                        let expected = if knob.is_namespaced() { "the inode of its network namespace" } else { "host" };
                        wrong.push(format!("{place}: namespace: expected {expected}"));
                    }
                }
            }
            let strangers = change.findings.iter().filter(|n| **n == 0 || **n > self.findings.len());
            wrong.extend(strangers.map(|n| format!("{place}: there is no finding {n}")));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn finding(remedies: Vec<Remedy>) -> Finding {
        Finding {
            limit: "accept-queue".into(),
            state: State::Limiting,
            cause: "somaxconn-clamps".into(),
            confidence: Confidence::Proven,
            subject: Subject::Listener { netns: "web".into(), local: "0.0.0.0:80".into(), owners: Vec::new() },
            summary: "9 handshakes dropped".into(),
            because: String::new(),
            evidence: Vec::new(),
            ruled_out: Vec::new(),
            remedies,
            hurt: 9,
        }
    }

    fn made(findings: &[Finding], wanted: &[String]) -> Plan {
        let namespaces = Some([("web".to_string(), 4_026_532_200)].into());
        let making =
            Making { id: "p", host: "h", kernel: "6.18.3", made_at: "2026-11-20T19:00:00Z", namespaces, wanted };
        plan(findings, &making)
    }

    #[test]
    fn a_healthy_host_has_an_empty_plan() {
        let plan = made(&[], &[]);
        assert!(plan.is_empty() && plan.validate().is_ok() && plan.instructions.is_empty());
    }

    #[test]
    fn what_a_person_does_comes_first_and_a_knob_has_all_that_is_needed() {
        let knob = Remedy::knob("raise it, then reload", "net.core.somaxconn", "128", "1024").formula("8 × 128");
        let plan = made(&[finding(vec![knob, Remedy::new(Level::Application, "accept faster")])], &[]);
        assert_eq!(plan.instructions[0].text, "accept faster");
        let change = &plan.changes[0];
        assert_eq!((&*change.from, &*change.to), ("128", "1024"));
        assert_eq!(change.namespace, Namespace { name: "web".into(), inode: Some(4_026_532_200) });
        assert!(change.takes_effect.contains("listen(2)") && change.then.is_some());
        assert!(change.inverse.starts_with("net.core.somaxconn = 128"));
        assert_eq!(plan.validate(), Ok(()));
    }

    #[test]
    fn nothing_is_lowered_or_chosen_unasked_and_what_cannot_be_undone_is_refused_by_name() {
        let remedies = || {
            vec![
                Remedy::knob("give up sooner", "net.ipv4.tcp_retries2", "15", "8"),
                Remedy::knob("or probe", "net.ipv4.tcp_mtu_probing", "0", "1").alternative(),
                Remedy::knob("x", "net.netfilter.nf_hooks_lwtunnel", "0", "1"),
                Remedy::knob("x", "net.core.somaxconn", "128", "-1"),
                Remedy::knob("x", "net.core.nothing", "1", "2"),
                Remedy::knob("wide", "net.ipv4.ip_local_port_range", "32768\t60999", "10240 65535"),
                Remedy::knob("x", "net.ipv4.tcp_rmem", "4096 131072 6291456", "4096 131072 6291456"),
            ]
        };
        let plan = made(&[finding(remedies())], &[]);
        let changed: Vec<_> = plan.changes.iter().map(|change| &*change.knob).collect();
        assert_eq!(changed, ["net.ipv4.ip_local_port_range"]);
        let because: Vec<_> = plan.left_out.iter().map(|left| &*left.because).collect();
        assert!(because[0].contains("lowers") && because[1].contains("another way"), "{because:?}");
        assert!(because[2].contains("can't be undone") && because[3].contains("refused: -1"), "{because:?}");
        assert!(because[4].contains("not in the table") && because[5].contains("already"), "{because:?}");
        let wanted = ["net.ipv4.tcp_retries2".to_string(), "net.ipv4.tcp_mtu_probing".to_string()];
        assert_eq!(made(&[finding(remedies())], &wanted).changes.len(), 3);
    }

    #[test]
    fn what_is_no_value_of_a_knob_is_refused_and_an_empty_list_has_a_name() {
        let remedies = vec![
            Remedy::knob("x", "net.ipv4.tcp_congestion_control", "cubic", "bbr\"#"),
            Remedy::knob("x", "net.core.default_qdisc", "fq\u{1b}", "fq_codel"),
            Remedy::knob("keep", "net.ipv4.ip_local_reserved_ports", "\n", "8080,9000-9010"),
        ];
        let plan = made(&[finding(remedies)], &[]);
        assert!(plan.left_out.iter().all(|left| left.because.contains("letters, digits")), "{:?}", plan.left_out);
        assert_eq!((plan.left_out.len(), &*plan.changes[0].from), (2, ""));
        assert!(plan.changes[0].inverse.starts_with("net.ipv4.ip_local_reserved_ports = (nothing), but"));
        assert_eq!(plan.validate(), Ok(()));
    }

    #[test]
    fn namespaces_that_cannot_be_looked_up_are_not_gone_but_nothing_is_applied_to_them() {
        let findings = [finding(vec![Remedy::knob("raise", "net.core.somaxconn", "128", "1024")])];
        let elsewhere = plan(&findings, &Making::default());
        assert_eq!(elsewhere.changes[0].namespace, Namespace { name: "web".into(), inode: None });
        assert!(elsewhere.validate().is_err_and(|wrong| wrong[0].contains("inode")));
        let gone = plan(&findings, &Making { namespaces: Some(BTreeMap::new()), ..Making::default() });
        assert!(gone.is_empty() && gone.left_out[0].because.contains("any more"));
    }

    #[test]
    fn two_findings_that_want_the_same_knob_get_what_holds_both() {
        for (knob, from, one, other, both) in [
            (
                "net.ipv4.tcp_rmem",
                "4096 131072 131072",
                "4096 131072 4194304",
                "4096 262144 2097152",
                "4096 262144 4194304",
            ),
            ("net.ipv4.ip_local_port_range", "40000 41000", "32768 60999", "40000 65535", "32768 65535"),
            ("net.ipv4.ip_local_reserved_ports", "", "8080,9000-9010", "8443,8080", "8080,9000-9010,8443"),
        ] {
            let want = |to: &str| finding(vec![Remedy::knob("x", knob, from, to).formula(to)]);
            let plan = made(&[want(one), want(other)], &[]);
            assert_eq!((plan.changes.len(), &*plan.changes[0].to), (1, both), "{:?}", plan.left_out);
            assert_eq!((&*plan.changes[0].findings, plan.validate()), (&[1, 2][..], Ok(())));
            let formula = plan.changes[0].formula.as_deref().expect("how it was computed");
            assert!(formula.contains(one) && formula.contains(other), "{formula}");
        }
    }

    #[test]
    fn of_two_numbers_the_larger_one_is_taken() {
        let want = |to: &str| finding(vec![Remedy::knob("raise", "net.core.somaxconn", "128", to)]);
        for order in [["1024", "4096"], ["4096", "1024"]] {
            let plan = made(&order.map(want), &[]);
            assert_eq!((plan.changes.len(), &*plan.changes[0].to), (1, "4096"));
            assert_eq!(plan.changes[0].findings, [1, 2]);
        }
    }

    #[test]
    fn a_plan_that_somebody_edited_is_refused_with_the_place() {
        let good = made(&[finding(vec![Remedy::knob("raise", "net.core.somaxconn", "128", "1024")])], &[]);
        let edited = |edit: fn(&mut Plan)| {
            let mut plan = good.clone();
            edit(&mut plan);
            plan.validate().expect_err("it is wrong").join("\n")
        };
        assert!(edited(|plan| plan.schema = "tcproof/plan/2".into()).contains("schema"));
        assert!(edited(|plan| plan.changes[0].knob = "net.core.x".into()).contains("changes[1]"));
        assert!(edited(|plan| plan.changes[0].to = "99999999999".into()).contains("outside"));
        assert!(edited(|plan| plan.changes[0].namespace.inode = None).contains("inode"));
        assert!(edited(|plan| plan.changes[0].to = "1024\n".into()).contains("one blank"));
        assert!(edited(|plan| plan.changes[0].to = "1024 # x".into()).contains("letters, digits"));
        assert!(edited(|plan| plan.changes[0].findings = [7].into()).contains("no finding 7"));
    }
}

//! A plan on a terminal: what was found, what a person does first, what would be changed with its way back, what is not,
//! and what to do next.

use tcproof_core::plan::{Change, Instruction, LeftOut, Plan, Reason};
use tcproof_core::{Confidence, Verdict};

use crate::layout::{Cell, Role, Screen};
use crate::text::{first_line, level, state};
use crate::{Style, host_name, title};

/// Columns in front of every text.
const MARGIN: usize = 10;
/// Columns of a number and what stands behind it.
const NUMBER: usize = 4;
/// Columns of a change's labels.
const LABEL: usize = 10;

/// What is known besides the plan.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// The verdict that the plan was made from: a host that could not be judged is not healthy.
    pub verdict: Verdict,
    /// The file that the plan was written to.
    pub file: Option<&'a str>,
}

/// The screen.
pub fn text(plan: &Plan, next: Next<'_>, style: &Style) -> String {
    let mut face = Face { plan, screen: Screen::new(style) };
    face.header();
    for (number, finding) in (1..).zip(&plan.findings) {
        face.finding(number, finding);
    }
    face.screen.gap();
    for (at, instruction) in plan.instructions.iter().enumerate() {
        face.instruction(at, instruction);
    }
    face.screen.gap();
    for (at, change) in plan.changes.iter().enumerate() {
        face.change(at, change);
        face.screen.gap();
    }
    for (at, left) in plan.left_out.iter().enumerate() {
        face.left_out(at, left);
    }
    face.screen.gap();
    face.next(next);
    face.screen.finish()
}

struct Face<'a> {
    plan: &'a Plan,
    screen: Screen<'a>,
}

impl Face<'_> {
    fn header(&mut self) {
        let Plan { id, host, kernel, .. } = self.plan;
        let mut parts = vec![format!("plan {id}"), host_name(host).to_string()];
        if !kernel.is_empty() {
            parts.push(format!("Linux {kernel}"));
        }
        first_line(&mut self.screen, &parts);
        self.screen.gap();
    }

    fn finding(&mut self, number: usize, finding: &Reason) {
        let (role, word) = state(finding.state);
        let sure = match finding.confidence {
            Confidence::Proven => "",
            Confidence::Likely => " (likely, not proven)",
        };
        let place = match finding.subject.netns() {
            Some(netns) if !matches!(finding.subject, tcproof_core::Subject::Netns { .. }) => format!(" in {netns}"),
            _ => String::new(),
        };
        let heading = format!("{} of {}{place}{sure}", title(&finding.limit), finding.subject);
        self.row(role, word, &number, Role::Heading, &heading);
        self.screen.row(&[Cell::blank(MARGIN + NUMBER)], Role::Plain, &finding.summary);
    }

    /// A numbered row with a word in front of the first.
    fn row(&mut self, role: Role, word: &str, number: &dyn std::fmt::Display, of: Role, text: &str) {
        let number = format!("{number}. ");
        let cells = [Cell::new(role, word, MARGIN), Cell::new(Role::Plain, &number, NUMBER.max(number.len()))];
        self.screen.row(&cells, of, text);
    }

    fn instruction(&mut self, at: usize, instruction: &Instruction) {
        let word = if at == 0 { "BY HAND" } else { "" };
        let text = format!("{} ({}; for {})", instruction.text, level(instruction.level), instruction.finding);
        self.row(Role::Heading, word, &(at + 1), Role::Plain, &text);
        for (label, text) in [("computed", &instruction.formula), ("cost", &instruction.cost)] {
            self.field(label, text.as_deref().unwrap_or_default());
        }
        self.field("ok when", instruction.success.as_deref().unwrap_or_default());
    }

    fn change(&mut self, at: usize, change: &Change) {
        let word = if at == 0 { "CHANGES" } else { "" };
        let Change { knob, from, to, namespace, .. } = change;
        let what = format!("{}  {knob}  {} → {to}", namespace.name, nothing(from));
        self.row(Role::Heading, word, &(at + 1), Role::Command, &what);
        let numbers: Vec<_> = change.findings.iter().map(ToString::to_string).collect();
        self.field("for", &numbers.join(", "));
        self.field("computed", change.formula.as_deref().unwrap_or_default());
        self.field("cost", &change.cost);
        self.field("risk", &change.risk);
        self.field("felt", &change.takes_effect);
        self.field("then", change.then.as_deref().unwrap_or_default());
        self.field("undo", &change.inverse);
        self.field("ok when", &change.success);
    }

    fn field(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            let cells = [Cell::blank(MARGIN + NUMBER), Cell::new(Role::Label, label, LABEL)];
            self.screen.row(&cells, Role::Plain, text);
        }
    }

    fn left_out(&mut self, at: usize, left: &LeftOut) {
        let word = if at == 0 { "LEFT OUT" } else { "" };
        let text = format!("{}  {} → {}", left.knob, nothing(&left.from), nothing(&left.to));
        self.screen.row(&[Cell::new(Role::Heading, word, MARGIN)], Role::Plain, &text);
        let text = format!("{} (for {})", left.text, left.finding);
        for (label, text) in [("does", &*text), ("because", &left.because)] {
            let cells = [Cell::blank(MARGIN + NUMBER), Cell::new(Role::Label, label, LABEL)];
            self.screen.row(&cells, Role::Plain, text);
        }
    }

    fn next(&mut self, next: Next<'_>) {
        let is_unplaced = |change: &Change| change.namespace.inode.is_none() && !change.namespace.is_host();
        let heading = Cell::new(Role::Heading, "NEXT", MARGIN);
        if self.plan.findings.is_empty() {
            let (role, sentence) = match next.verdict {
                Verdict::Unknown => {
                    (Role::Near, "nothing to change is known, as nothing could be judged: tcproof doctor says why")
                }
                _ => (Role::Clear, "nothing to change: nothing limits TCP here"),
            };
            self.screen.text(role, sentence);
        } else if self.plan.is_empty() {
            let by_hand = match self.plan.instructions.is_empty() {
                true => "",
                false => "; what helps is done by hand, above, and `tcproof verify` watches before and after it",
            };
            let text = format!("nothing for `tcproof apply`: no kernel knob is to be changed{by_hand}");
            self.screen.row(&[heading], Role::Prose, &text);
        } else if self.plan.changes.iter().any(is_unplaced) || self.plan.validate().is_err() {
            let text = "only to be read or exported: `tcproof apply` takes a plan that was made on the host itself";
            self.screen.row(&[heading], Role::Prose, text);
        } else {
            let text = match next.file {
                Some(file) => format!("read {file}, then `tcproof apply {file}`"),
                None => "`tcproof plan -o FILE`, read it, then `tcproof apply FILE`".into(),
            };
            self.screen.row(&[heading], Role::Prose, &text);
        }
    }
}

pub(crate) fn nothing(value: &str) -> &str {
    if value.is_empty() { "(nothing)" } else { value }
}

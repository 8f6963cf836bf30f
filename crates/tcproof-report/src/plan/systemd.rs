//! A unit's drop-in with its limit of open files.

use tcproof_core::Level;
use tcproof_core::plan::{Instruction, Plan, Reason};

use super::export::{comment, elsewhere, head};

/// How the instruction writes the number.
const SETTING: &str = "LimitNOFILE=";

/// The limits of open files that the plan asks units for. One file is one unit's: those of other units stand in it as
/// comments. Knobs of the kernel are none of a unit's business.
pub fn systemd(plan: &Plan) -> String {
    let usage = "Goes into `systemctl edit UNIT`; the unit has to be restarted.";
    let mut out = head(plan, usage);
    let limits = plan.instructions.iter().filter_map(|instruction| Limit::new(plan, instruction));
    for (number, limit) in limits.enumerate() {
        // A second section would set the first unit's limit once more.
        let off = if number > 0 { "# " } else { "" };
        out.push('\n');
        if number > 0 {
            out.push_str("# For a file of its own, without the signs in front:\n");
        }
        comment(&mut out, "", "unit", limit.unit);
        comment(&mut out, "", "why", &format!("{}: {}", limit.finding.limit, limit.finding.summary));
        comment(&mut out, "", "do", &limit.instruction.text);
        comment(&mut out, "", "computed", limit.instruction.formula.as_deref().unwrap_or_default());
        comment(&mut out, "", "costs", limit.instruction.cost.as_deref().unwrap_or_default());
        out.push_str(&format!("{off}[Service]\n{off}{SETTING}{}\n", limit.files));
    }
    for change in &plan.changes {
        elsewhere(&mut out, change, "it is the kernel's: see --format sysctl or kubernetes");
    }
    out
}

struct Limit<'a> {
    instruction: &'a Instruction,
    finding: &'a Reason,
    unit: &'a str,
    files: u64,
}

impl<'a> Limit<'a> {
    /// A limit that an instruction has a number for.
    fn new(plan: &'a Plan, instruction: &'a Instruction) -> Option<Self> {
        let finding = plan.findings.get(instruction.finding.checked_sub(1)?)?;
        if finding.limit != "file-descriptors" || instruction.level != Level::Service {
            return None;
        }
        let (_, behind) = instruction.text.split_once(SETTING)?;
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let unit = finding.subject.owners().iter().find_map(|owner| owner.unit.as_deref());
        Some(Self {
            instruction,
            finding,
            unit: unit.unwrap_or("the one that runs it"),
            files: behind[..digits].parse().ok()?,
        })
    }
}

//! A file for sysctl.d.

use tcproof_core::plan::Plan;

use super::export::{elsewhere, head, of_namespace, reasons};

/// The host's own settings as boot loads them; those of other namespaces as comments.
pub fn sysctl(plan: &Plan) -> String {
    let usage = "Goes to /etc/sysctl.d/60-tcproof-plan.conf; `sysctl --system` loads it now, boot later.";
    let mut out = head(plan, usage);
    for change in &plan.changes {
        if change.namespace.is_host() {
            out.push('\n');
            reasons(&mut out, "", plan, change);
            out.push_str(&format!("{} = {}\n", change.knob, change.to));
        } else {
            elsewhere(&mut out, change, &of_namespace(change));
        }
    }
    out
}

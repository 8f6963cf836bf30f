//! A tuned profile.

use tcproof_core::plan::Plan;

use super::export::{elsewhere, head, of_namespace, reasons};

/// A profile with the host's own settings; those of other namespaces as comments.
pub fn tuned(plan: &Plan) -> String {
    let usage = "Goes to /etc/tuned/profiles/tcproof/tuned.conf (before tuned 2.23: /etc/tuned/tcproof/tuned.conf).";
    let mut out = head(plan, usage);
    out.push_str("# To keep what the active profile does (tuned-adm active), name it: include=PROFILE below [main].\n");
    out.push_str("\n[main]\nsummary=What tcproof found to limit TCP on this host\n\n[sysctl]\n");
    for (number, change) in plan.changes.iter().filter(|change| change.namespace.is_host()).enumerate() {
        if number > 0 {
            out.push('\n');
        }
        reasons(&mut out, "", plan, change);
        // tuned takes quotes off.
        let quote = if change.to.contains(' ') { "\"" } else { "" };
        out.push_str(&format!("{}={quote}{}{quote}\n", change.knob, change.to));
    }
    for change in plan.changes.iter().filter(|change| !change.namespace.is_host()) {
        elsewhere(&mut out, change, &of_namespace(change));
    }
    out
}

//! Tasks for Ansible.

use tcproof_core::plan::Plan;

use super::export::{elsewhere, head, of_namespace, reasons};

/// A list of tasks for the host's own settings; those of other namespaces as comments.
pub fn ansible(plan: &Plan) -> String {
    let mut out = head(plan, "Tasks that need root (become: true) and the collection ansible.posix.");
    out.push_str("---\n");
    let mut is_empty = true;
    for change in &plan.changes {
        if !change.namespace.is_host() {
            elsewhere(&mut out, change, &of_namespace(change));
            continue;
        }
        is_empty = false;
        out.push('\n');
        reasons(&mut out, "", plan, change);
        out.push_str(&format!(
            "- name: Set {key}\n  ansible.posix.sysctl:\n    name: {key}\n    value: \"{value}\"\n    sysctl_set: true\n    \
             sysctl_file: /etc/sysctl.d/60-tcproof-plan.conf\n",
            key = change.knob,
            value = change.to,
        ));
    }
    if is_empty {
        out.push_str("[]\n");
    }
    out
}

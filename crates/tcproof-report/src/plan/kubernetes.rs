//! A pod's `securityContext`.

use tcproof_core::plan::{Change, Plan};

use super::export::{comment, elsewhere, head, reasons};

/// For each namespace the part of a pod's manifest that sets its knobs, as a document of its own; what belongs to the node as
/// comments.
pub fn kubernetes(plan: &Plan) -> String {
    let usage = "Goes into the pod's spec, or into its template's; a pod that runs is made anew.";
    let mut out = head(plan, usage);
    out.push_str("# The kubelet takes some knobs only with --allowed-unsafe-sysctls: tcproof lint says which.\n");
    let (nodes, pods): (Vec<&Change>, Vec<&Change>) =
        plan.changes.iter().partition(|change| change.namespace.is_host());
    let mut namespaces: Vec<_> = pods.iter().map(|change| &change.namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    for namespace in namespaces {
        out.push_str("---\n");
        comment(&mut out, "", "network namespace", &namespace.name);
        out.push_str("securityContext:\n  sysctls:\n");
        for change in pods.iter().filter(|change| change.namespace == *namespace) {
            reasons(&mut out, "    ", plan, change);
            out.push_str(&format!("    - name: {}\n      value: \"{}\"\n", change.knob, change.to));
        }
    }
    for change in nodes {
        elsewhere(&mut out, change, "it belongs to the node: see --format sysctl");
    }
    out
}

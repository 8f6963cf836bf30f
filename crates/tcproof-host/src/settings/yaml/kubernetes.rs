//! Pods, wherever a manifest has them: alone, in templates, in lists.

use tcproof_core::lint::{Place, Stray};

use super::tree::Node;
use super::{YamlReader, shell};
use crate::settings::command::Scope;

/// Reads a document.
pub(super) fn read(reader: &mut YamlReader<'_>, node: &Node) {
    let is_pod = node.get("containers").is_some_and(Node::is_list)
        || node.get("securityContext").is_some_and(|context| context.get("sysctls").is_some());
    if is_pod {
        pod(reader, node);
    }
    for child in node.children() {
        read(reader, child);
    }
}

fn pod(reader: &mut YamlReader<'_>, pod: &Node) {
    let host_network = pod.get("hostNetwork").is_some_and(Node::is_true);
    let scope = Scope { place: Place::Pod { host_network }, group: reader.new_group() };
    let sysctls = pod.get("securityContext").and_then(|context| context.get("sysctls"));
    for sysctl in sysctls.map(Node::items).unwrap_or_default() {
        match (sysctl.get("name"), sysctl.get("value")) {
            (Some(name), Some(value)) => reader.sysctl(name, value, scope),
            _ => {
                // The API server refuses the manifest.
                if let Some(at) = shell::span(&sysctl.letters(reader.letters)) {
                    reader.commands.file.strays.push(Stray { at, expected: "name: and value:".into() });
                }
            }
        }
    }
    for kind in ["initContainers", "containers"] {
        for container in pod.get(kind).map(Node::items).unwrap_or_default() {
            let part = |name: &str| container.get(name).map(Node::items).unwrap_or_default();
            let is_privileged = container
                .get("securityContext")
                .and_then(|context| context.get("privileged"))
                .is_some_and(Node::is_true);
            let scope = Scope { place: Place::Process { host_network, is_privileged }, ..scope };
            let words = part("command").iter().chain(part("args"));
            reader.words(words.map(|word| &**word), scope);
        }
    }
}

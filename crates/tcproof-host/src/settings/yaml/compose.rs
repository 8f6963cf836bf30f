//! Services of Docker Compose.

use tcproof_core::lint::Place;

use super::YamlReader;
use super::tree::Node;
use crate::settings::command::{Scope, limit_setting};

/// Reads a document.
pub(super) fn read(reader: &mut YamlReader<'_>, document: &Node) {
    let services = document.get("services").map(Node::entries).unwrap_or_default();
    for (_, service) in services {
        let host_network = service.get("network_mode").is_some_and(|mode| mode.is("host"));
        let scope = Scope { place: Place::Container { host_network }, group: reader.new_group() };
        if let Some(sysctls) = service.get("sysctls") {
            for (key, value) in sysctls.entries() {
                reader.sysctl(key, value, scope);
            }
            for item in sysctls.items() {
                reader.assignment(item, scope);
            }
        }
        for (name, limit) in service.get("ulimits").map(Node::entries).unwrap_or_default() {
            // The soft limit is the one that a process meets.
            let (key, limit) = match limit.entries().into_iter().find(|(key, _)| key.is("soft")) {
                Some(soft) => soft,
                None => (name, limit),
            };
            let limit = limit.letters(reader.letters);
            if name.is("nofile") && !super::is_template(&limit) {
                reader.commands.file.settings.extend(limit_setting(&key.letters(reader.letters), &limit, scope.group));
            }
        }
        let is_privileged = service.get("privileged").is_some_and(Node::is_true);
        let scope = Scope { place: Place::Process { host_network, is_privileged }, ..scope };
        for name in ["entrypoint", "command"] {
            if let Some(command) = service.get(name) {
                reader.command(command, scope);
            }
        }
    }
}

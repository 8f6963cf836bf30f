//! Ansible: plays and tasks that set sysctls or run commands.

use tcproof_core::lint::Place;

use super::tree::Node;
use super::{YamlReader, is_template};
use crate::settings::TOPS;
use crate::settings::command::{Scope, setting};
use crate::settings::shell::{self, Dialect, Letter};

const SYSCTL: &[&str] = &["sysctl", "ansible.posix.sysctl", "ansible.builtin.sysctl"];
const COMMANDS: &[&str] = &["command", "shell", "raw"];
const LOOPS: &[&str] = &["loop", "with_items", "with_list", "with_flattened"];
/// Lists of tasks in a play or a block.
const TASKS: &[&str] = &["pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always"];

/// Reads a document: plays, tasks, or the variables of a role.
pub(super) fn read(reader: &mut YamlReader<'_>, document: &Node) {
    for (group, entries) in (1..).zip(variables(document)) {
        let scope = Scope { place: Place::Host, group };
        for (key, value) in entries {
            set(reader, &key.letters(reader.letters), &value.letters(reader.letters), scope, false);
        }
    }
    for item in document.items() {
        let group = if item.get("hosts").is_some() { reader.new_group() } else { 0 };
        task(reader, item, group);
    }
}

/// Whether a document that is neither a manifest nor a list of tasks gives sysctls values.
pub(super) fn has_variables(document: &Node) -> bool {
    !variables(document).is_empty()
}

/// Sysctls and their values.
type Entries<'n> = Vec<(&'n Node, &'n Node)>;

/// What the variables of a role give sysctls, as far as they look like it: maps of keys, and lists of `name` and
/// `value`. Each map and list goes alone, as no one knows which are used together.
fn variables(document: &Node) -> Vec<Entries<'_>> {
    let mut found = Vec::new();
    let mut left = vec![document];
    // A list is none of variables but of tasks.
    while let Some(node) = left.pop().filter(|_| document.is_map()) {
        let entries: Entries<'_> = match node.is_map() {
            true => {
                node.entries().into_iter().filter(|(key, value)| is_sysctl(key) && value.text().is_some()).collect()
            }
            false => node.items().iter().filter_map(|item| named(item)).collect(),
        };
        if !entries.is_empty() {
            found.push(entries);
        }
        // `sysctls` are a pod's, wherever its chart puts them.
        let inner = node.entries().into_iter().filter(|(key, _)| !key.is("sysctls")).map(|(_, value)| value);
        let inner: Vec<&Node> = inner.chain(node.items().iter().map(|item| &**item)).collect();
        // The first is taken next: groups and settings come in the order of the text.
        left.extend(inner.into_iter().rev());
    }
    found
}

/// An item such as `{name: net.core.somaxconn, value: 4096}`.
fn named(item: &Node) -> Option<(&Node, &Node)> {
    let one_of = |names: [&str; 2]| names.iter().find_map(|name| item.get(name));
    let key = one_of(["name", "key"]).filter(|key| is_sysctl(key))?;
    let is_present = item.get("state").is_none_or(|state| state.is("present"));
    one_of(["value", "val"]).filter(|value| is_present && value.text().is_some()).map(|value| (key, value))
}

fn is_sysctl(key: &Node) -> bool {
    key.text().and_then(|key| key.split_once('.')).is_some_and(|(top, _)| TOPS.contains(&top))
}

fn task(reader: &mut YamlReader<'_>, node: &Node, group: u32) {
    // What is done on some hosts only neither shadows nor goes with the rest.
    let group = if node.get("when").is_some() { reader.new_group() } else { group };
    let scope = Scope { place: Place::Host, group };
    for name in TASKS {
        for inner in node.get(name).map(Node::items).unwrap_or_default() {
            task(reader, inner, group);
        }
    }
    for name in SYSCTL {
        if let Some(module) = node.get(name) {
            sysctl(reader, node, module, scope);
        }
    }
    for name in COMMANDS {
        let module = node.get(name).or_else(|| node.get(&format!("ansible.builtin.{name}")));
        if let Some(module) = module {
            let command = ["argv", "cmd", "_raw_params"].iter().find_map(|key| module.get(key)).unwrap_or(module);
            reader.command(command, scope);
        }
    }
}

/// A value, and the scalar that it comes from: the module's own, or one of what the task loops over.
type Given<'n> = Option<&'n Node>;

fn sysctl(reader: &mut YamlReader<'_>, task: &Node, module: &Node, scope: Scope) {
    // A condition may ask whether the kernel has the key at all.
    let is_lenient = task.get("when").is_some()
        || ["ignoreerrors", "ignore_errors"]
            .iter()
            .any(|name| module.get(name).or(task.get(name)).is_some_and(Node::is_true));
    if module.is_map() {
        let one_of = |names: [&str; 2]| names.iter().find_map(|name| module.get(name));
        let (Some(key), Some(value)) = (one_of(["name", "key"]), one_of(["value", "val"])) else { return };
        // A state that is not known may be absent.
        let state = module.get("state");
        for item in items(task) {
            let is_present = state.is_none_or(|state| resolved(state, &item).is_some_and(|state| state.is("present")));
            if let (Some(key), Some(value), true) = (resolved(key, &item), resolved(value, &item), is_present) {
                set(reader, &key.letters(reader.letters), &value.letters(reader.letters), scope, is_lenient);
            }
        }
    } else {
        // `sysctl: name=… value=…`.
        let letters = module.letters(reader.letters);
        let words = shell::commands(&letters, Dialect::Shell).commands.into_iter().flat_map(|simple| simple.words);
        let words: Vec<Vec<Letter>> = words.map(|word| word.letters).collect();
        let given = |names: [&str; 2]| {
            words.iter().find_map(|word| {
                let equals = word.iter().position(|letter| letter.c == '=')?;
                names.contains(&&*shell::text(&word[..equals])).then(|| &word[equals + 1..])
            })
        };
        let is_present = given(["state", "state"]).is_none_or(|state| shell::text(state) == "present");
        if let (Some(key), Some(value), true) = (given(["name", "key"]), given(["value", "val"]), is_present) {
            set(reader, key, value, scope, is_lenient);
        }
    }
}

fn set(reader: &mut YamlReader<'_>, key: &[Letter], value: &[Letter], scope: Scope, is_lenient: bool) {
    if is_template(key) || is_template(value) {
        return;
    }
    if let Some(mut setting) = setting(shell::trim(key), shell::trim(value), scope) {
        // The module turns these into numbers itself.
        let value = setting.value.as_deref().unwrap_or_default().to_ascii_lowercase();
        if ["y", "yes", "on", "t", "true"].contains(&&*value) {
            setting.value = Some("1".into());
        } else if ["n", "no", "off", "f", "false"].contains(&&*value) {
            setting.value = Some("0".into());
        }
        setting.is_lenient |= is_lenient;
        reader.commands.file.settings.push(setting);
    }
}

/// What a task loops over.
enum Item<'n> {
    /// Nothing: it runs once.
    Once,
    /// An item of a list.
    Of(&'n Node),
    /// An entry of a dictionary.
    Entry(&'n Node, &'n Node),
}

fn items(task: &Node) -> Vec<Item<'_>> {
    if let Some(over) = task.get("with_dict") {
        return over.entries().into_iter().map(|(key, value)| Item::Entry(key, value)).collect();
    }
    match LOOPS.iter().find_map(|name| task.get(name)) {
        // One that is made up from variables has no items here.
        Some(over) => over.items().iter().map(|item| Item::Of(item)).collect(),
        None => vec![Item::Once],
    }
}

/// The scalar that a parameter stands for: itself, or what `{{ item.name }}` means for that item.
fn resolved<'n>(parameter: &'n Node, item: &Item<'n>) -> Given<'n> {
    let text = parameter.text()?.trim();
    let Some(expression) = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) else {
        return Some(parameter);
    };
    let path = expression.trim().strip_prefix("item")?;
    let name = path.strip_prefix('.').or_else(|| {
        let quoted = path.strip_prefix('[')?.strip_suffix(']')?;
        ['"', '\''].iter().find_map(|quote| quoted.strip_prefix(*quote)?.strip_suffix(*quote))
    });
    let found = match (item, name) {
        (Item::Of(item), None) if path.is_empty() => Some(*item),
        (Item::Of(item), Some(name)) => item.get(name),
        (Item::Entry(key, _), Some("key")) => Some(*key),
        (Item::Entry(_, value), Some("value")) => Some(*value),
        (Item::Entry(_, value), Some(name)) => value.get(name.strip_prefix("value.")?),
        _ => None,
    };
    found.filter(|found| found.text().is_some())
}

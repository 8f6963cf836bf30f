//! YAML: Kubernetes manifests, Docker Compose, Ansible.

mod ansible;
mod compose;
mod kubernetes;
#[cfg(test)]
mod tests;
mod tree;

use tcproof_core::Absent;
use tcproof_core::lint::{File, Format};

use super::allow::{self, Comments};
use super::command::{Reader, Scope, setting};
use super::script::exec_form;
use super::shell::{self, Dialect, Letter, Word};
use tree::Node;

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    let mut file = File {
        path: path.into(),
        text: text.into(),
        allows: allow::allows(text, Comments::Anywhere),
        ..File::default()
    };
    let (documents, broken) = tree::documents(text);
    file.format = documents.iter().find_map(|document| format(document)).unwrap_or(Format::Kubernetes);
    file.unread = broken.map(|broken| Absent::Unparsable {
        place: format!("{path}:{}:{}", broken.line, broken.column),
        expected: broken.expected,
    });
    let letters = shell::letters(text);
    let format = file.format;
    let mut reader = YamlReader { commands: Reader { file: &mut file, groups: 0, is_prose: false }, letters: &letters };
    for document in &documents {
        match format {
            Format::Compose => compose::read(&mut reader, document),
            Format::Ansible => ansible::read(&mut reader, document),
            _ => kubernetes::read(&mut reader, document),
        }
    }
    file
}

/// What a document is, by what stands at its top.
fn format(document: &Node) -> Option<Format> {
    if document.get("apiVersion").is_some() || document.get("kind").is_some() {
        Some(Format::Kubernetes)
    } else if document.get("services").is_some_and(Node::is_map) {
        Some(Format::Compose)
    } else if document.is_list() || ansible::has_variables(document) {
        Some(Format::Ansible)
    } else {
        None
    }
}

/// Reads trees into a file.
struct YamlReader<'a> {
    commands: Reader<'a>,
    letters: &'a [Letter],
}

impl YamlReader<'_> {
    fn new_group(&mut self) -> u32 {
        self.commands.new_group()
    }

    /// A sysctl whose key and value are scalars. Empty ones and what a template fills in set nothing that is known.
    fn sysctl(&mut self, key: &Node, value: &Node, scope: Scope) {
        let (key, value) = (key.letters(self.letters), value.letters(self.letters));
        if !is_template(&key) && !is_template(&value) {
            self.commands.file.settings.extend(setting(shell::trim(&key), shell::trim(&value), scope));
        }
    }

    /// A sysctl written as `key=value` in one scalar.
    fn assignment(&mut self, node: &Node, scope: Scope) {
        let letters = node.letters(self.letters);
        if !is_template(&letters) {
            self.commands.assignment(&letters, scope);
        }
    }

    /// A command: a list of words, or one line with blanks between them.
    fn command(&mut self, node: &Node, scope: Scope) {
        if node.is_list() {
            self.words(node.items().iter().map(|item| &**item), scope);
        } else if let Some(words) = exec_form(&node.letters(self.letters)) {
            self.commands.words(words, scope);
        } else {
            self.commands.text(&node.letters(self.letters), Dialect::Shell, scope);
        }
    }

    fn words<'n>(&mut self, words: impl Iterator<Item = &'n Node>, scope: Scope) {
        let known = |word: Word| Word { is_literal: !is_template(&word.letters), ..word };
        let words = words.map(|word| known(word.word(self.letters))).collect();
        self.commands.words(words, scope);
    }
}

/// Whether something is put in there before it is used: `{{ … }}`, `${…}`, `$(…)`.
fn is_template(letters: &[Letter]) -> bool {
    letters.windows(2).any(|pair| matches!((pair[0].c, pair[1].c), ('{', '{' | '%')))
        || letters.iter().any(|it| it.c == '$')
}

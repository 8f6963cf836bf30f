//! `tcproof journal`: what was changed, when, by whom, why, and how it ended.

use serde::Serialize;
use tcproof_core::journal::{Entry, Outcome, Step, Undone};

use crate::Style;
use crate::json::to_text;
use crate::layout::{Cell, Role, Screen, count};

/// One change, or why its journal can't be read.
pub type Line = (String, Result<Option<Entry>, String>);

/// The journal, the newest change first.
pub fn text(lines: &[Line], style: &Style) -> String {
    let mut screen = Screen::new(style);
    for (id, entry) in lines.iter().rev() {
        let entry = match entry {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                screen.row(
                    &[Cell::new(Role::Command, id, id.len() + 2)],
                    Role::Plain,
                    "never begun: nothing was changed",
                );
                continue;
            }
            Err(why) => {
                screen.row(&[Cell::new(Role::Command, id, id.len() + 2)], Role::Near, why);
                continue;
            }
        };
        let (role, state) = state(entry);
        screen.row(&[Cell::new(Role::Command, id, id.len() + 2)], role, &state);
        let open = &entry.open;
        let when = format!("{} by {}, {}", open.at, open.user, count(open.steps.len() as u64, "change"));
        screen.row(&[Cell::blank(4)], Role::Label, &when);
        for (number, step) in open.steps.iter().enumerate() {
            let undone = match entry.undone.get(&number) {
                Some(how) => format!("  ({})", in_words(how)),
                None => String::new(),
            };
            let Step { knob, old, new, namespace, .. } = step;
            let text = format!("{knob} in {}: {} → {new}{undone}", namespace.name, old.replace('\t', " "));
            screen.row(&[Cell::blank(4)], Role::Plain, &text);
        }
        if let Some((role, text)) = of_file(entry) {
            screen.row(&[Cell::blank(4)], role, &text);
        }
        for reason in &open.reasons {
            screen.row(&[Cell::blank(4), Cell::new(Role::Label, "why", 5)], Role::Plain, reason);
        }
        screen.gap();
    }
    if lines.is_empty() {
        screen.text(Role::Plain, "tcproof has changed nothing here");
    }
    screen.finish()
}

fn state(entry: &Entry) -> (Role, String) {
    match &entry.closed {
        None if entry.is_pending() => (Role::Near, "waits to be confirmed (tcproof confirm)".into()),
        None => (Role::Clear, "in effect".into()),
        Some((Outcome::Confirmed, why)) => (Role::Clear, format!("in effect, confirmed {why}")),
        Some((Outcome::RolledBack, why)) => (Role::Label, format!("taken back: {why}")),
        Some((Outcome::Incomplete, why)) => (Role::Limiting, format!("taken back in part: {why}")),
    }
}

/// What became of the lines for the next boot.
fn of_file(entry: &Entry) -> Option<(Role, String)> {
    let path = &entry.open.persist.as_ref()?.path;
    let left = entry.unpersisted.values().find(|how| matches!(how, Undone::ChangedByOthers(_) | Undone::Failed(_)));
    Some(match left {
        Some(Undone::Failed(why)) => (Role::Limiting, format!("lines still in {path}: {why}")),
        Some(_) => (Role::Limiting, format!("lines left in {path}, which somebody edited")),
        None if entry.lacks_lines() => {
            (Role::Near, format!("not yet in {path}: tcproof confirm {} writes it", entry.open.id))
        }
        None if entry.is_pending() => (Role::Label, format!("once confirmed, boot sets it too: {path}")),
        None if entry.has_lines() => (Role::Plain, format!("boot sets it too: {path}")),
        None if entry.is_persisted => (Role::Label, format!("taken out of {path}")),
        None => (Role::Label, format!("never in {path}")),
    })
}

fn in_words(how: &Undone) -> String {
    match how {
        Undone::Restored => "as before".into(),
        Undone::Untouched => "never changed".into(),
        Undone::ChangedByOthers(is) => format!("left alone, somebody else made it {is}"),
        Undone::Gone => "gone with its namespace or boot".into(),
        Undone::Failed(why) => format!("not restored: {why}"),
    }
}

/// The same as JSON: schema `tcproof/journal/1`.
pub fn json(lines: &[Line]) -> String {
    let changes = lines.iter().map(|(id, entry)| match entry {
        Ok(Some(entry)) => Change {
            id,
            at: Some(&entry.open.at),
            user: Some(&entry.open.user),
            state: state_word(entry),
            why: entry.closed.as_ref().map(|(_, why)| why.as_str()),
            reasons: &entry.open.reasons,
            steps: &entry.open.steps,
            persisted: entry.open.persist.as_ref().filter(|_| entry.has_lines()).map(|it| &*it.path),
            unreadable: None,
        },
        Ok(None) => Change { state: "never-begun", ..Change::of(id) },
        Err(why) => Change { state: "unreadable", unreadable: Some(why), ..Change::of(id) },
    });
    to_text(&Journal { schema: "tcproof/journal/1", changes: changes.collect() })
}

fn state_word(entry: &Entry) -> &'static str {
    match &entry.closed {
        None if entry.is_pending() => "pending",
        None | Some((Outcome::Confirmed, _)) => "in-effect",
        Some((Outcome::RolledBack, _)) => "rolled-back",
        Some((Outcome::Incomplete, _)) => "incomplete",
    }
}

#[derive(Serialize)]
struct Journal<'a> {
    schema: &'static str,
    changes: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Change<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    reasons: &'a [String],
    steps: &'a [Step],
    /// The file by which boot sets it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    persisted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
}

impl<'a> Change<'a> {
    fn of(id: &'a str) -> Self {
        Self {
            id,
            at: None,
            user: None,
            state: "",
            why: None,
            reasons: &[],
            steps: &[],
            persisted: None,
            unreadable: None,
        }
    }
}

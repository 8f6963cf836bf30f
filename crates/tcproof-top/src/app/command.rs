//! What is typed behind a colon. All of it only looks.

use std::time::Duration;

use super::{App, What};
use crate::event::Effect;
use crate::panes::Pane;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl App {
    pub(super) fn command(&mut self, text: &str) -> Option<Effect> {
        let text = text.trim();
        let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
        let lower = word.to_lowercase();
        match (lower.as_str(), rest) {
            ("", _) => {}
            ("q" | "quit" | "exit", "") => return Some(Effect::Quit),
            ("explain" | "e", topic) if !topic.is_empty() => self.explain(topic.to_string()),
            ("filter", filter) if self.has_table() => {
                self.pages.clear();
                self.place_mut().filter = filter.chars().take(super::TYPED).collect();
            }
            ("filter", _) => self.message = Some("the verdict is text: filter works in the other panes".into()),
            ("sort", column) => self.sort_by(column),
            ("window", length) => match window(length) {
                Ok(length) => self.set_window(length),
                Err(why) => self.message = Some(why),
            },
            ("pause" | "play" | "resume" | "live", "") => return self.go_on(lower != "pause"),
            ("plan", "") => self.open(What::Plan),
            ("keys" | "help" | "?", "") => self.open(What::Keys),
            ("verbose", "") => self.verbose = !self.verbose,
            ("mouse", "on") => return Some(Effect::Mouse(true)),
            ("mouse", "off") => return Some(Effect::Mouse(false)),
            (name, "") if !self.show_called(name) => self.message = Some(unknown(word)),
            (_, "") => {}
            (..) => self.message = Some(unknown(word)),
        }
        None
    }

    /// The pane whose name begins so, where only one does.
    fn show_called(&mut self, name: &str) -> bool {
        let mut found = Pane::ALL.into_iter().filter(|pane| pane.name().to_lowercase().starts_with(name));
        match (found.next(), found.next()) {
            (Some(pane), None) => self.show(pane),
            _ => return false,
        }
        true
    }

    /// Live it holds still or goes on; a recording plays or stays.
    fn go_on(&mut self, on: bool) -> Option<Effect> {
        match &mut self.replay {
            Some(replay) => {
                replay.is_playing = on && !replay.has_ended;
                Some(Effect::Play(replay.is_playing))
            }
            None => {
                self.set_paused(!on);
                None
            }
        }
    }

    fn sort_by(&mut self, column: &str) {
        let columns = self.shown.table.as_ref().map_or(&[][..], |table| table.columns);
        let found = columns.iter().position(|c| c.sorts && !column.is_empty() && c.name == column);
        match found {
            Some(_) => self.place_mut().sort = found,
            None => {
                let names: Vec<_> = columns.iter().filter(|c| c.sorts && !c.name.is_empty()).map(|c| c.name).collect();
                self.message = Some(match names.len() {
                    0 => "nothing to sort here".into(),
                    _ => format!("sort expects one of: {}", names.join(", ")),
                });
            }
        }
    }
}

fn unknown(word: &str) -> String {
    let word: String = word.chars().take(20).collect();
    format!(
        "{word:?} is no command: expected quit, a pane's name, explain X, filter X, sort X, window 10s … (? lists all)"
    )
}

/// As `--for` takes it.
fn window(text: &str) -> Result<Duration, String> {
    let expected = || "window expects a time from 1s to 60s".to_string();
    let number: f64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| expected())?;
    let length = Duration::try_from_secs_f64(number).map_err(|_| expected())?;
    if (SHORTEST..=LONGEST).contains(&length) { Ok(length) } else { Err(expected()) }
}

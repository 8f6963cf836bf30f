//! What keys and the mouse do.

use super::{App, Look, TYPED, Typing, What};
use crate::draw::layout;
use crate::event::{Effect, Go, Key};
use crate::panes::Pane;

/// For the page of keys: key and what it does. Also those that only a recording has.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("1 … 7", "a pane; Tab and ← → the next"),
    ("↑ ↓  j k", "a row, or a line; PgUp PgDn a screen; Home End g G the first and the last"),
    ("Enter", "open it: a finding with all its evidence, a row with all its facts"),
    ("Esc", "back; without anything to go back from: show all rows again"),
    ("/", "show only rows with that in them"),
    ("s  S", "sort by the next column; the other way round"),
    ("e", "explain the limit or the counter of the row"),
    ("p", "the plan for what was found; nothing is changed here"),
    ("v", "everything in the verdict, as tcproof check -v"),
    ("Space", "hold what is shown, and go on; in a recording: play, and stay"),
    ("[ ]  { }", "in a recording: a second and a minute back and on"),
    ("( )", "in a recording: its beginning and its end"),
    (":", "a command: quit, a pane's name, explain X, filter X, window 10s, pause, play, plan, keys, mouse off"),
    ("mouse", "click a tab or a row, again to open it; the wheel moves; Shift selects text in most terminals"),
    ("q", "quit; so does Ctrl-C"),
];

const MINUTE_MS: i64 = 60_000;
const SECOND_MS: i64 = 1_000;

impl App {
    pub(super) fn key(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Ctrl('c') {
            return Some(Effect::Quit);
        }
        match self.typing.take() {
            Some(typing) => self.typed(typing, key),
            None => self.command_key(key),
        }
    }

    fn typed(&mut self, typing: Typing, key: Key) -> Option<Effect> {
        match (typing, key) {
            (Typing::Filter, Key::Esc) => self.place_mut().filter.clear(),
            (Typing::Command(_), Key::Esc) | (Typing::Filter, Key::Enter) => {}
            (Typing::Command(command), Key::Enter) => return self.command(&command),
            (Typing::Filter, Key::Up | Key::Down) => {
                self.typing = Some(Typing::Filter);
                self.scroll(if key == Key::Up { -1 } else { 1 });
            }
            (Typing::Filter, key) => {
                type_into(&mut self.place_mut().filter, key);
                self.typing = Some(Typing::Filter);
            }
            // As in vi: who deletes the colon has left.
            (Typing::Command(command), Key::Backspace) if command.is_empty() => {}
            (Typing::Command(mut command), key) => {
                type_into(&mut command, key);
                self.typing = Some(Typing::Command(command));
            }
        }
        None
    }

    fn command_key(&mut self, key: Key) -> Option<Effect> {
        let page = i64::from(layout(self.size.0, self.size.1).body.height).saturating_sub(2).max(1);
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Char(digit @ '1'..='7') => self.show(Pane::ALL[digit as usize - '1' as usize]),
            Key::Tab | Key::Right => self.show(self.pane.further(1)),
            Key::BackTab | Key::Left => self.show(self.pane.further(Pane::ALL.len() - 1)),
            Key::Up | Key::Char('k') => self.scroll(-1),
            Key::Down | Key::Char('j') => self.scroll(1),
            Key::PageUp => self.scroll(-page),
            Key::PageDown => self.scroll(page),
            Key::Home | Key::Char('g') => self.scroll(i64::MIN),
            Key::End | Key::Char('G') => self.scroll(i64::MAX),
            Key::Enter => self.enter(),
            Key::Esc => self.back(),
            Key::Char('/') if self.has_table() => {
                self.pages.clear();
                self.typing = Some(Typing::Filter);
            }
            Key::Char('s') => self.sort_by_next(),
            Key::Char('S') if self.has_table() => {
                let place = self.place_mut();
                place.backwards = !place.backwards;
            }
            Key::Char('e') => self.explain_chosen(),
            Key::Char('p') => self.open(What::Plan),
            Key::Char('?') => self.open(What::Keys),
            Key::Char('v') => self.verbose = !self.verbose,
            Key::Char(':') => self.typing = Some(Typing::Command(String::new())),
            Key::Char(' ') => return self.hold(),
            Key::Char(key @ ('[' | ']' | '{' | '}' | '(' | ')')) => return self.go(key),
            _ => {}
        }
        None
    }

    fn back(&mut self) {
        if self.pages.pop().is_none() {
            self.place_mut().filter.clear();
        }
    }

    /// Whether the pane is one, and not text.
    pub(super) fn has_table(&self) -> bool {
        self.pane != Pane::Verdict
    }

    /// Live it holds still; a recording plays or stays.
    fn hold(&mut self) -> Option<Effect> {
        match &mut self.replay {
            Some(replay) => {
                replay.is_playing = !replay.is_playing && !replay.has_ended;
                Some(Effect::Play(replay.is_playing))
            }
            None => {
                self.set_paused(!self.is_held());
                None
            }
        }
    }

    fn go(&mut self, key: char) -> Option<Effect> {
        if self.replay.is_none() {
            self.message = Some(format!("{key} moves in a recording: tcproof top --from FILE"));
            return None;
        }
        Some(Effect::Go(match key {
            '[' => Go::By(-SECOND_MS),
            ']' => Go::By(SECOND_MS),
            '{' => Go::By(-MINUTE_MS),
            '}' => Go::By(MINUTE_MS),
            '(' => Go::Start,
            _ => Go::End,
        }))
    }

    fn enter(&mut self) {
        if !self.pages.is_empty() {
            return;
        }
        let id = match self.pane {
            Pane::Verdict => (!self.shown.findings.is_empty()).then(|| self.place().row.to_string()),
            _ => self.chosen().map(|row| row.id.clone()),
        };
        match id {
            Some(id) => self.open(What::Row(self.pane, id)),
            None => self.message = Some("there is nothing to open".into()),
        }
    }

    /// Of the finding, of the row, or of what is open.
    fn explain_chosen(&mut self) {
        let seen = self.seen.as_ref();
        let topic = match (self.pages.last().map(|page| &page.what), self.pane) {
            (Some(What::Topic(_) | What::Plan | What::Keys), _) => return,
            (_, Pane::Verdict) => {
                let finding = seen.and_then(|seen| seen.diagnosis.findings.get(self.place().row));
                finding.map(|finding| finding.limit.clone())
            }
            _ => self.chosen().and_then(|row| row.topic.clone()),
        };
        match topic {
            Some(topic) => self.explain(topic),
            None => self.message = Some("this has no page; :explain takes a limit, a counter or a knob".into()),
        }
    }

    pub(super) fn explain(&mut self, topic: String) {
        match crate::detail::explain(&topic, self.seen.as_ref(), &self.style()) {
            Ok(_) => self.open(What::Topic(topic)),
            Err(why) => self.message = Some(why),
        }
    }

    fn sort_by_next(&mut self) {
        let Some(table) = self.shown.table.as_ref().filter(|_| self.pages.is_empty()) else { return };
        let columns = table.columns;
        let place = &mut self.places[self.pane.at()];
        let from = place.sort.map_or(0, |column| column + 1);
        place.sort = (from..columns.len()).find(|column| columns[*column].sorts && !columns[*column].name.is_empty());
        place.backwards = false;
    }

    /// So many rows or lines on; what is too far is cut when it is shown.
    pub(super) fn scroll(&mut self, by: i64) {
        let moved = |from: usize| {
            let to = i64::try_from(from).unwrap_or(i64::MAX).saturating_add(by).max(0);
            usize::try_from(to).unwrap_or(usize::MAX)
        };
        let steps_through_findings = self.pane == Pane::Verdict && self.shown.findings.len() > 1 && by.abs() == 1;
        if let Some(page) = self.pages.last_mut() {
            page.top = moved(page.top);
        } else if self.pane != Pane::Verdict || steps_through_findings {
            let place = self.place_mut();
            place.row = moved(place.row);
            place.follow();
        } else {
            let place = self.place_mut();
            place.top = moved(place.top);
        }
    }

    pub(super) fn click(&mut self, x: u16, y: u16) {
        let areas = layout(self.size.0, self.size.1);
        if y == areas.tabs.y {
            if let Some((pane, _)) = crate::draw::tabs(areas.tabs.width).into_iter().find(|(_, at)| at.contains(&x)) {
                self.show(pane);
            }
            return;
        }
        let first = areas.body.y + 1;
        if !self.pages.is_empty() || !self.has_table() || y < first || y >= areas.body.bottom() {
            return;
        }
        let place = self.place();
        let row = place.top + usize::from(y - first);
        if self.shown.table.as_ref().is_none_or(|table| row >= table.rows.len()) {
            return;
        }
        if row == place.row {
            return self.enter();
        }
        let place = self.place_mut();
        place.row = row;
        place.follow();
    }
}

fn type_into(text: &mut String, key: Key) {
    match key {
        Key::Backspace => drop(text.pop()),
        Key::Ctrl('u') => text.clear(),
        Key::Char(c) if !c.is_control() && text.chars().count() < TYPED => text.push(c),
        _ => {}
    }
}

/// Keys as they are written on this terminal.
pub(crate) fn keys(look: Look) -> Vec<(String, String)> {
    let clean = |text: &str| match look.unicode {
        true => text.to_string(),
        false => text.replace('…', "..").replace("← →", "Left Right").replace("↑ ↓", "Up Down"),
    };
    KEYS.iter().map(|(key, does)| (clean(key), clean(does))).collect()
}

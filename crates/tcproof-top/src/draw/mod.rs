//! Frames: what the state looks like, in so many columns and rows.

mod graph;
mod table;

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use tcproof_core::{State, Verdict};
use tcproof_report::record::utc;

use crate::app::{App, Graph, Line, Look, Tone, Typing};
use crate::panes::{Pane, clean};

/// Below this nothing makes sense.
const LEAST: (u16, u16) = (60, 12);
/// Columns that texts take at most; wider lines are hard to read.
const WIDEST: u16 = 120;
/// From this width on the headroom stands beside the verdict.
const TWO_PANES: u16 = 140;
/// Columns of the headroom beside the verdict, at least.
const BESIDE: u16 = 58;
/// Rows of a large graph.
const GRAPH: u16 = 6;

/// The parts of the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Areas {
    pub(crate) tabs: Rect,
    status: Rect,
    pub(crate) body: Rect,
    foot: Rect,
}

/// Tabs, a line that says where one is, what is shown, a line that says what can be done.
pub(crate) fn layout(width: u16, height: u16) -> Areas {
    let row = |y: u16| Rect { x: 0, y: y.min(height), width, height: u16::from(y < height) };
    let body = Rect { x: 0, y: 2.min(height), width, height: height.saturating_sub(3) };
    Areas { tabs: row(0), status: row(1), body, foot: row(height.saturating_sub(1).max(2)) }
}

/// Columns of the report's texts.
pub(crate) fn text_width(width: u16, is_pane: bool) -> u16 {
    if is_pane && beside(width) { (width - BESIDE).min(WIDEST) } else { width.min(WIDEST) }
}

/// Whether there is room beside the verdict.
pub(crate) fn beside(width: u16) -> bool {
    width >= TWO_PANES
}

/// The tabs, and the columns that each takes.
pub(crate) fn tabs(width: u16) -> Vec<(Pane, Range<u16>)> {
    // In front of each there is room for a mark.
    let mut at = 1;
    let of = |pane: Pane| {
        // The short one is enough to know it by.
        let name = tab_name(pane, width);
        let from: u16 = at;
        let to = from.saturating_add(u16::try_from(name.len()).unwrap_or(0)).saturating_add(2);
        at = to.saturating_add(1);
        (pane, from..to)
    };
    Pane::ALL.into_iter().map(of).collect()
}

fn tab_name(pane: Pane, width: u16) -> &'static str {
    match pane {
        Pane::Destinations if width < 100 => "Dest",
        Pane::Headroom if width < 70 => "Room",
        Pane::Listeners if width < 70 => "Listen",
        pane => pane.name(),
    }
}

/// Rows that a graph takes above a text, with the gap below it; none where the body is too low for both.
pub(crate) fn graph_rows(body: u16) -> u16 {
    if body >= GRAPH * 3 { GRAPH + 2 } else { 0 }
}

/// Draws the state there, and nowhere else.
pub fn frame(app: &App, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    let mut draw = Draw { app, look: app.look, area, buffer };
    draw.clear();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return draw.too_small();
    }
    let areas = layout(area.width, area.height);
    draw.tabs(areas.tabs);
    draw.status(areas.status);
    draw.body(areas.body);
    draw.foot(areas.foot);
}

/// Where to draw; places are counted from its corner.
struct Draw<'a> {
    app: &'a App,
    look: Look,
    area: Rect,
    buffer: &'a mut Buffer,
}

impl Draw<'_> {
    fn clear(&mut self) {
        for y in self.area.top()..self.area.bottom() {
            for x in self.area.left()..self.area.right() {
                self.buffer[(x, y)].reset();
            }
        }
    }

    fn too_small(&mut self) {
        let Rect { width, height, .. } = self.area;
        let text = [
            format!("{width}x{height} is too small"),
            format!("expected {}x{} or more", LEAST.0, LEAST.1),
            "q quits".to_string(),
        ];
        for (y, line) in (0..height).zip(&text) {
            self.put(0, y, width, line, Style::new());
        }
    }

    /// Writes a text that was made harmless, as far as it fits; says where it ends.
    fn put(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let width = width.min(self.area.width.saturating_sub(x));
        if width == 0 || y >= self.area.height {
            return x;
        }
        let (end, _) = self.buffer.set_stringn(self.area.x + x, self.area.y + y, text, usize::from(width), style);
        end - self.area.x
    }

    /// The same, with a mark where it had to be cut.
    fn put_cut(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let mark = if self.look.unicode { "…" } else { "~" };
        if text_columns(text) <= usize::from(width) {
            return self.put(x, y, width, text, style);
        }
        let end = self.put(x, y, width.saturating_sub(1), text, style);
        self.put(end, y, width.min(1), mark, style)
    }

    /// So that it ends there.
    fn put_right(&mut self, end: u16, y: u16, text: &str, style: Style) {
        let width = u16::try_from(text_columns(text)).unwrap_or(u16::MAX);
        self.put(end.saturating_sub(width), y, width, text, style);
    }

    fn set_style(&mut self, area: Rect, style: Style) {
        let area = Rect { x: self.area.x + area.x, y: self.area.y + area.y, ..area };
        self.buffer.set_style(area.intersection(self.area), style);
    }

    fn style(&self, tone: Tone) -> Style {
        let color = |color: Color| if self.look.color { Style::new().fg(color) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
            Tone::Label => Style::new().add_modifier(Modifier::DIM),
            Tone::Command => color(Color::Cyan),
            Tone::Limiting => color(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Near => color(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Clear => color(Color::Green).add_modifier(Modifier::BOLD),
        }
    }

    fn tabs(&mut self, area: Rect) {
        for (number, (pane, at)) in (1..).zip(tabs(area.width)) {
            let style = match pane == self.app.pane {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => self.style(Tone::Label),
            };
            let text = format!("{number} {}", tab_name(pane, area.width));
            self.put(at.start, area.y, at.end - at.start, &text, style);
            // Without attributes too.
            if pane == self.app.pane {
                let mark = if self.look.unicode { "▸" } else { ">" };
                self.put(at.start - 1, area.y, 1, mark, self.style(Tone::Plain));
            }
        }
    }

    fn status(&mut self, area: Rect) {
        let when = self.when();
        let room = area.width.saturating_sub(u16::try_from(text_columns(&when)).unwrap_or(0) + 1);
        self.put_right(area.right(), area.y, &when, self.style(Tone::Label));
        let Some(seen) = &self.app.seen else { return };
        let (word, tone) = match seen.diagnosis.verdict() {
            Verdict::Limiting => ("LIMITING", Tone::Limiting),
            Verdict::Near => ("NEAR", Tone::Near),
            Verdict::Unknown => ("UNKNOWN", Tone::Near),
            Verdict::Clear => ("CLEAR", Tone::Clear),
        };
        let what = match seen.diagnosis.findings.first() {
            Some(finding) => format!("{} of {}", finding.limit, finding.subject),
            None => format!("{} checked", seen.diagnosis.checked),
        };
        let more = match seen.diagnosis.findings.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let end = self.put(0, area.y, room, word, self.style(tone));
        let text = clean(&format!("{what}{more}"), self.look);
        self.put_cut(end + 2, area.y, room.saturating_sub(end + 2), &text, self.style(Tone::Plain));
    }

    /// `live · 5 s · 14:05:09 UTC`
    fn when(&self) -> String {
        let app = self.app;
        let how = match app.replay {
            Some(replay) if replay.has_ended => "the recording ends",
            Some(replay) if replay.is_playing => "playing",
            Some(_) => "recording",
            None if app.is_held() => "PAUSED",
            None => "live",
        };
        let length = app.seen.as_ref().map_or(0.0, |seen| seen.interval.seconds());
        let at = app.seen.as_ref().map(|seen| utc(seen.wall_ms));
        // A recording may be of any day.
        let at = at.map(|at| match (app.replay, at.split_once(' ')) {
            (None, Some((_, time))) => format!(" · {time} UTC"),
            _ => format!(" · {at} UTC"),
        });
        clean(&format!("{how} · {length:.0} s{}", at.unwrap_or_default()), self.look)
    }

    fn body(&mut self, area: Rect) {
        let shown = &self.app.shown;
        if let Some(table) = &shown.table {
            let place = self.app.place();
            return self.table(area, table, place.top, Some(place.row), place.sort.map(|at| (at, place.backwards)));
        }
        let mut text = area;
        if let Some(beside) = &shown.beside {
            text.width = text_width(area.width, true);
            let x = text.width + 1;
            let right = Rect { x, width: area.width.saturating_sub(x), ..area };
            self.table(right, beside, 0, None, None);
        }
        let top = match self.app.pages.last() {
            Some(page) => page.top,
            None => self.app.place().top,
        };
        let rows = graph_rows(area.height);
        // It goes as soon as the text is scrolled.
        if let Some(graph) = shown.graph.as_ref().filter(|_| rows > 0 && top == 0) {
            self.large_graph(Rect { height: GRAPH, ..area }, graph);
            text = Rect { y: area.y + rows, height: area.height - rows, ..text };
        }
        self.lines(text, &shown.lines, top);
    }

    fn lines(&mut self, area: Rect, lines: &[Line], top: usize) {
        for (y, line) in (area.y..area.bottom()).zip(lines.iter().skip(top)) {
            let mut x = area.x;
            for span in line {
                let style = self.style(span.tone);
                x = self.put(x, y, area.right().saturating_sub(x), &span.text, style);
            }
        }
        // Of several findings one is chosen.
        if self.app.pages.is_empty()
            && self.app.shown.findings.len() > 1
            && let Some(line) = self.app.shown.findings.get(self.app.place().row)
            && let Some(y) = line.checked_sub(top).and_then(|y| u16::try_from(y).ok()).filter(|y| *y < area.height)
        {
            let mark = if self.look.unicode { "▸" } else { ">" };
            self.put(area.x + 8, area.y + y, 1, mark, self.style(Tone::Heading));
        }
    }

    fn large_graph(&mut self, area: Rect, graph: &Graph) {
        let (values, most, unit) = match graph {
            Graph::Shares(name) => (self.app.past().shares.of(name), 1.0, "100 %".to_string()),
            Graph::Rates(name) => {
                let values = self.app.past().counters.of(name);
                let most = graph::largest(values);
                (values, most, format!("{most:.0}/s"))
            }
        };
        let label = u16::try_from(unit.len()).unwrap_or(0) + 1;
        let width = area.width.saturating_sub(label + 1).min(WIDEST);
        let rows = graph::graph(values, most, (usize::from(width), usize::from(area.height)), self.look.unicode);
        self.put(area.x, area.y, label, &unit, self.style(Tone::Label));
        let style = self.style(Tone::Command);
        for (y, row) in (area.y..).zip(rows) {
            self.put(area.x + label, y, width, &row, style);
        }
    }

    /// What is typed, what is to be known, or what can be done.
    fn foot(&mut self, area: Rect) {
        let app = self.app;
        let cursor = if self.look.unicode { "▏" } else { "_" };
        let typed = match &app.typing {
            Some(Typing::Filter) => Some(format!("/{}{cursor}", clean(&app.place().filter, self.look))),
            Some(Typing::Command(command)) => Some(format!(":{}{cursor}", clean(command, self.look))),
            None => None,
        };
        if let Some(text) = typed {
            // The end of what is typed is what is looked at.
            let skipped = text_columns(&text).saturating_sub(usize::from(area.width));
            let text: String = text.chars().skip(skipped).collect();
            self.put(0, area.y, area.width, &text, Style::new());
            return;
        }
        let at = self.position();
        let room = area.width.saturating_sub(u16::try_from(text_columns(&at)).unwrap_or(0) + 1);
        self.put_right(area.right(), area.y, &at, self.style(Tone::Label));
        match &app.message {
            Some(message) => self.put_cut(0, area.y, room, &clean(message, self.look), self.style(Tone::Near)),
            None => self.put_cut(0, area.y, room, &self.hints(), self.style(Tone::Label)),
        };
    }

    fn hints(&self) -> String {
        let app = self.app;
        let mut hints = Vec::new();
        if app.pages.is_empty() {
            hints.push("Enter open".to_string());
            if app.shown.table.is_some() {
                let filter = &app.place().filter;
                hints.push(if filter.is_empty() { "/ filter".into() } else { format!("/{filter}: Esc shows all") });
                hints.push("s sort".into());
            }
        } else {
            hints.push("Esc back".into());
        }
        if app.replay.is_some() {
            hints.push("Space play".into());
            hints.push("[ ] { } move".into());
        }
        hints.extend(["e explain", "p plan", "? keys", "q quit"].map(Into::into));
        clean(&hints.join(" · "), self.look)
    }

    /// `3 of 12`; of lines, where there are more than fit.
    fn position(&self) -> String {
        let app = self.app;
        let (at, of) = match &app.shown.table {
            Some(table) if app.pages.is_empty() => (app.place().row + 1, table.rows.len()),
            _ => {
                let top = app.pages.last().map_or(app.place().top, |page| page.top);
                let height = usize::from(layout(self.area.width, self.area.height).body.height);
                let of = app.shown.lines.len();
                if of <= height {
                    return String::new();
                }
                ((top + height).min(of), of)
            }
        };
        if of == 0 { String::new() } else { format!("{} of {of}", at.min(of)) }
    }
}

/// The mark and the colours of a state.
fn state_of(state: Option<State>) -> (&'static str, Tone) {
    match state {
        Some(State::Limiting) => ("!", Tone::Limiting),
        Some(State::Near) => ("~", Tone::Near),
        None => (" ", Tone::Plain),
    }
}

fn text_columns(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

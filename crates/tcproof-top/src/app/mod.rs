//! The state of the live view.

mod command;
mod keys;
mod view;

use std::time::Duration;

use crate::draw;
use crate::event::{Effect, Event, Step};
use crate::panes::{Pane, Row};
use crate::seen::{Past, Seen};
use crate::sliding::Sliding;

pub(crate) use view::{Graph, Line, Shown, Tone};

/// How the terminal may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it shows more than ASCII.
    pub unicode: bool,
    /// Whether to colour. Nothing is said by colour alone.
    pub color: bool,
}

/// How to begin.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How the terminal may be used.
    pub look: Look,
    /// How much time is judged.
    pub window: Duration,
    /// Whether a recording is shown, in which one can move.
    pub is_replay: bool,
}

/// The state.
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) look: Look,
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    pub(crate) pane: Pane,
    /// Where one is in each of the panes.
    pub(crate) places: [Place; Pane::ALL.len()],
    /// What lies over the pane; the last one is on top.
    pub(crate) pages: Vec<Page>,
    /// What is being typed.
    pub(crate) typing: Option<Typing>,
    /// What the person should know, until the next key.
    pub(crate) message: Option<String>,
    /// Whether the verdict has everything, as `check -v`.
    pub(crate) verbose: bool,
    pub(crate) replay: Option<Replay>,
    /// While there is one, what is shown stays, and this is the past of it.
    held: Option<Box<Past>>,
    pub(crate) sliding: Sliding,
    past: Past,
    pub(crate) seen: Option<Seen>,
    /// The end of the newest step, which may not be shown yet.
    newest_ms: i64,
    /// What is on the screen, but for its place in it.
    pub(crate) shown: Shown,
}

/// Where one is in a pane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The row that is chosen, and what it was when it was.
    pub(crate) row: usize,
    id: String,
    /// Whether it was moved to another row since.
    moved: bool,
    /// The first row or line on the screen.
    pub(crate) top: usize,
    pub(crate) sort: Option<usize>,
    pub(crate) backwards: bool,
    pub(crate) filter: String,
}

impl Place {
    /// Another row was chosen: it is to be seen.
    fn follow(&mut self) {
        self.moved = true;
    }
}

/// What lies over a pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) what: What,
    /// The first line on the screen.
    pub(crate) top: usize,
}

/// Of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A row of a pane, with how it is called.
    Row(Pane, String),
    /// The page of something.
    Topic(String),
    /// The changes that the findings call for.
    Plan,
    /// The keys.
    Keys,
}

/// What is being typed, and into what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    Filter,
    Command(String),
}

/// A recording is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) is_playing: bool,
    pub(crate) has_ended: bool,
}

/// Characters of a filter or a command.
const TYPED: usize = 200;
/// Pages over each other.
const PAGES: usize = 16;
/// Columns and rows that are drawn: a terminal may say anything of itself.
const LARGEST: (u16, u16) = (1_000, 500);

fn within(width: u16, height: u16) -> (u16, u16) {
    (width.min(LARGEST.0), height.min(LARGEST.1))
}

impl App {
    /// Before anything was seen.
    pub fn new(options: Options, width: u16, height: u16) -> Self {
        let mut app = Self {
            look: options.look,
            size: within(width, height),
            pane: Pane::Verdict,
            places: Default::default(),
            pages: Vec::new(),
            typing: None,
            message: None,
            verbose: false,
            replay: options.is_replay.then(Replay::default),
            held: None,
            sliding: Sliding::new(options.window),
            past: Past::default(),
            seen: None,
            newest_ms: 0,
            shown: Shown::default(),
        };
        app.refresh();
        app
    }

    /// Something happened; says what is to be done about it.
    pub fn update(&mut self, event: Event) -> Option<Effect> {
        let effect = match event {
            Event::Key(key) => {
                self.message = None;
                self.key(key)
            }
            Event::Click { x, y } => {
                self.click(x, y);
                None
            }
            Event::Wheel { down } => {
                self.scroll(if down { 3 } else { -3 });
                None
            }
            Event::Resize { width, height } => {
                self.size = within(width, height);
                None
            }
            Event::Step(step) => {
                self.step(*step);
                self.judge();
                None
            }
            Event::Jump => {
                self.sliding.clear();
                self.past.clear();
                if let Some(replay) = &mut self.replay {
                    replay.has_ended = false;
                }
                return None;
            }
            Event::Past(step) => {
                self.step(*step);
                return None;
            }
            Event::Ended => {
                if let Some(replay) = &mut self.replay {
                    *replay = Replay { is_playing: false, has_ended: true };
                }
                None
            }
            Event::Said(text) => {
                self.message = Some(text);
                None
            }
            Event::Stop | Event::Gone => Some(Effect::Quit),
        };
        self.refresh();
        effect
    }

    /// Whether the ports towards each destination are to be counted: who does not look at them does not pay for it.
    pub fn wants_ports(&self) -> bool {
        self.pane == Pane::Destinations
    }

    fn step(&mut self, step: Step) {
        self.past.push(&step);
        self.newest_ms = step.wall_ms;
        self.sliding.push(step.interval);
    }

    /// What the last seconds prove.
    fn judge(&mut self) {
        if !self.is_held()
            && let Some(interval) = self.sliding.joined()
        {
            self.seen = Some(Seen::new(interval, self.newest_ms));
        }
    }

    fn set_window(&mut self, length: Duration) {
        self.sliding.set_length(length);
        self.judge();
    }

    fn set_paused(&mut self, paused: bool) {
        self.held = paused.then(|| Box::new(self.past.clone()));
        self.judge();
    }

    /// Whether what is shown stays.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// What was before what is shown.
    pub(crate) fn past(&self) -> &Past {
        self.held.as_deref().unwrap_or(&self.past)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.places[self.pane.at()]
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.places[self.pane.at()]
    }

    /// The row that is chosen, where there is one and nothing lies over it.
    pub(crate) fn chosen(&self) -> Option<&Row> {
        self.shown.table.as_ref()?.rows.get(self.place().row)
    }

    /// Columns and letters that the report's texts have here.
    pub(crate) fn style(&self) -> tcproof_report::Style {
        let width = draw::text_width(self.size.0, self.pages.is_empty());
        tcproof_report::Style {
            width: usize::from(width),
            color: true,
            unicode: self.look.unicode,
            verbose: self.verbose,
            quiet: false,
        }
    }

    fn show(&mut self, pane: Pane) {
        self.pages.clear();
        self.pane = pane;
    }

    fn open(&mut self, what: What) {
        if self.pages.last().is_none_or(|page| page.what != what) && self.pages.len() < PAGES {
            self.pages.push(Page { what, top: 0 });
        }
    }
}

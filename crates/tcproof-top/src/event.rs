//! What the state is told, and what it wants done.

use tcproof_core::Interval;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// The left button was pressed there.
    Click {
        /// Column.
        x: u16,
        /// Row.
        y: u16,
    },
    /// The wheel was turned.
    Wheel {
        /// Towards the end.
        down: bool,
    },
    /// The terminal has another size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Another second was watched, or is next in the recording.
    Step(Box<Step>),
    /// The recording is shown somewhere else: what was known is of another time.
    Jump,
    /// What was before the next step, and is not shown by itself.
    Past(Box<Step>),
    /// The recording has no more.
    Ended,
    /// Something that the person should know.
    Said(String),
    /// A signal said to end.
    Stop,
    /// The terminal can't be read any more.
    Gone,
}

/// A key, as far as any means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// The same with Ctrl held.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tabulator.
    Tab,
    /// Shift and tabulator.
    BackTab,
    /// Backspace.
    Backspace,
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
}

/// What was watched in one go, and when that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Milliseconds since 1970.
    pub wall_ms: i64,
    /// What was seen.
    pub interval: Interval,
}

/// What only others can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Show another part of the recording.
    Go(Go),
    /// Go on in the recording, one step a second; or stay.
    Play(bool),
    /// Take the mouse, or leave it to the terminal.
    Mouse(bool),
}

/// Where to in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// So many milliseconds on; back where negative.
    By(i64),
    /// The first record.
    Start,
    /// The last record.
    End,
}

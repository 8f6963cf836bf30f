//! The terminal: what is drawn on it, and what comes from it.

use std::io::{self, BufWriter, Stdout, Write};
use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::mpsc::SyncSender;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::app::App;
use crate::draw::frame;
use crate::event::{Event, Key};

/// Buttons and the wheel, in coordinates without a bound: not every motion, each of which would wake us.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// As a program of Rust's ends that panics.
const PANICKED: i32 = 101;

/// A terminal that is ours until it is dropped.
pub struct Screen {
    /// Its own drop would complain on stderr, which is the terminal that is gone: `eprintln!` then panics.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
    size: (u16, u16),
}

impl Screen {
    /// Takes the terminal. However this process ends, but for SIGKILL, it is given back as it was.
    ///
    /// # Errors
    /// It refuses.
    pub fn enter(width: u16, height: u16) -> io::Result<Self> {
        give_back_on_panic();
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen, cursor::Hide, Print(MOUSE_ON));
        // One write a frame.
        let backend = CrosstermBackend::new(BufWriter::with_capacity(64 << 10, io::stdout()));
        // Its size is told: asking at every frame would, once the terminal is gone, start tput(1).
        let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
        let terminal = entered.and_then(|()| Terminal::with_options(backend, TerminalOptions { viewport }));
        match terminal {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal), size: (width, height) }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    pub(crate) fn draw(&mut self, app: &App) -> io::Result<()> {
        if self.size != app.size {
            self.size = app.size;
            self.terminal.resize(Rect::new(0, 0, app.size.0, app.size.1))?;
        }
        self.terminal.draw(|to| frame(app, to.area(), to.buffer_mut())).map(drop)
    }

    /// Takes the mouse, or leaves it to the terminal, which then selects text.
    pub(crate) fn mouse(&mut self, on: bool) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), Print(if on { MOUSE_ON } else { MOUSE_OFF }))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.backend_mut().flush();
        give_back();
    }
}

/// Where the terminal is gone there is nothing to give back.
fn give_back() {
    let _ = execute!(io::stdout(), Print(MOUSE_OFF), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

/// A panic's message would be lost with the screen that it is written on.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
            // Whichever thread it was: the others would go on drawing over the message, of what is no longer watched.
            std::process::exit(PANICKED);
        }));
    });
}

/// Tells what comes from the terminal, until nobody listens or nothing more can come.
pub fn events(to: &SyncSender<Event>) {
    loop {
        let event = match event::read() {
            Ok(event) => translated(event),
            Err(_) => Some(Event::Gone),
        };
        let Some(event) = event else { continue };
        let is_last = matches!(event, Event::Gone);
        if to.send(event).is_err() || is_last {
            return;
        }
    }
}

fn translated(event: event::Event) -> Option<Event> {
    Some(match event {
        event::Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => return None,
        event::Event::Key(KeyEvent { code, modifiers, .. }) => Event::Key(key(code, modifiers)?),
        event::Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Event::Click { x: mouse.column, y: mouse.row },
            MouseEventKind::ScrollDown => Event::Wheel { down: true },
            MouseEventKind::ScrollUp => Event::Wheel { down: false },
            _ => return None,
        },
        event::Event::Resize(width, height) => Event::Resize { width, height },
        _ => return None,
    })
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Tab => Key::Tab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

//! The loop: wait for something, change the state, draw it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::app::App;
use crate::event::{Effect, Event, Go};
use crate::terminal::Screen;

/// Where what is shown comes from.
pub trait Source {
    /// Whether the ports towards each destination are to be counted from the next step on.
    fn count_ports(&mut self, _: bool) {}
    /// Another part of a recording is to be shown.
    fn go(&mut self, _: Go) {}
    /// A recording goes on, or stays.
    fn play(&mut self, _: bool) {}
}

/// How it came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody said so.
    Asked,
    /// The terminal is gone.
    Gone,
}

/// How often it is drawn at least: where no signal says that the terminal is gone, the next write does.
const AT_LEAST: Duration = Duration::from_secs(2);

/// Shows what comes, until somebody ends it or the terminal is gone. It sleeps until something happens.
pub fn run(app: &mut App, screen: &mut Screen, events: &Receiver<Event>, source: &mut dyn Source) -> End {
    loop {
        if screen.draw(app).is_err() {
            return End::Gone;
        }
        let first = match events.recv_timeout(AT_LEAST) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return End::Gone,
        };
        // All that waits goes into one frame.
        for event in first.into_iter().chain(events.try_iter()) {
            let is_gone = matches!(event, Event::Gone);
            let done = match app.update(event) {
                Some(Effect::Quit) => return if is_gone { End::Gone } else { End::Asked },
                Some(Effect::Go(go)) => {
                    source.go(go);
                    Ok(())
                }
                Some(Effect::Play(on)) => {
                    source.play(on);
                    Ok(())
                }
                Some(Effect::Mouse(on)) => screen.mouse(on),
                None => Ok(()),
            };
            if done.is_err() {
                return End::Gone;
            }
        }
        source.count_ports(app.wants_ports());
    }
}

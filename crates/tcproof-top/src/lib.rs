//! `tcproof top`: the verdict, kept current, and what is behind it.
//!
//! [`App`] is the state: what it is told ([`Event`]) changes it, and it says what is to be done ([`Effect`]). [`frame()`]
//! draws it. Both are pure: no I/O, no clock, no thread. [`run()`] joins them with a terminal ([`Screen`]), and is all
//! that touches one.

mod app;
mod detail;
mod draw;
mod event;
mod history;
mod panes;
mod run;
mod seen;
mod sliding;
mod terminal;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod frames;

pub use app::{App, Look, Options};
pub use draw::frame;
pub use event::{Effect, Event, Go, Key, Step};
pub use panes::Pane;
pub use run::{End, Source, run};
pub use terminal::{Screen, events};

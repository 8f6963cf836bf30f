//! The only part of tcproof that writes to a host: knobs, with a journal that can take every change back, their lines in
//! one file of `sysctl.d`, and files that it is told to replace.

mod engine;
mod file;
pub mod journal;
mod knob;
pub mod persist;

pub use engine::{Error, Rollback, Surroundings};
pub use file::{Error as FileError, put, replace};
pub use knob::Trouble;

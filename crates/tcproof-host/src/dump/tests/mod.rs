//! Whole dumps: those that real tools made, and hostile ones.

mod archives;
mod census;
mod real;

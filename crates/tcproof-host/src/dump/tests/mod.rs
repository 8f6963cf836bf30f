//! Whole dumps: those that real tools made, and hostile ones.

mod archives;
mod real;

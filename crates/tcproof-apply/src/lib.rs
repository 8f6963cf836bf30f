//! The only part of tcproof that writes to a host.

mod file;

pub use file::{Error, replace};

//! Real-kernel fault scenarios in network namespaces that the lab makes itself.
//!
//! A scenario is a file: a topology, servers and loads, the truth that they create, the look-alikes that must stay silent,
//! and the remedy that must cure it. [`run`](run::run) proves all of it on the running kernel and leaves nothing behind.

pub mod catalog;
pub mod kit;
mod path;
pub mod run;
pub mod scenario;
pub mod statistics;
mod topology;
pub mod worker;
mod workers;

pub use run::{Cure, Cured, Measured, Outcome, Progress, Stage, Truth, Verdict, run, visit};
pub use scenario::Scenario;
pub use workers::Program;

//! What a Linux host's TCP limits look like, what changed between two looks, and what that proves.
//!
//! Everything here is a plain value or a pure function of plain values: no I/O, no clock, no threads (`no_std`).
//! Data flows one way: [`Snapshot`] → two of them and the listener [`Looks`] → [`Interval`] → [`diagnose()`] → [`Diagnosis`].
#![no_std]

extern crate alloc;

pub mod census;
pub mod counters;
mod diagnose;
mod finding;
mod flow;
mod interval;
pub mod journal;
pub mod knobs;
pub mod limits;
pub mod lint;
mod page;
pub mod path;
pub mod plan;
mod reading;
mod servers;
pub mod snapshot;
pub mod states;
pub mod trace;
pub mod verify;
mod version;

pub use diagnose::{Diagnosis, FlowNote, Verdict, diagnose, sockets_of_interest};
pub use finding::{
    Confidence, Evidence, Finding, Headroom, Level, Owner, Remedy, RuledOut, SinceBoot, State, Subject, Unknown,
};
pub use flow::{FlowWatch, Flows};
pub use interval::{Interval, ListenDrops, ListenerWatch, Looks, NetnsChange};
pub use reading::{Absent, Reading};
pub use servers::{ListenSetting, listen_setting, requested_backlog};
pub use snapshot::Snapshot;
pub use version::Version;

//! Every sentence of the operator for people: in conditions, statuses, events, and answers about connections.
//!
//! The planner and the other modules of the operator know reasons. This module knows their words.

mod config;
mod connections;
mod events;
mod gates;
mod measurements;
mod names;
mod progress;
mod reasons;
mod service;
mod writes;

use rainbow_plan::Time;

use crate::clock;

pub(crate) use config::*;
pub(crate) use connections::*;
pub use connections::{ASSOCIATIONS, NO_COUNTER};
pub(crate) use events::*;
pub(crate) use gates::*;
pub(crate) use measurements::*;
pub(crate) use names::*;
pub(crate) use progress::*;
pub(crate) use reasons::*;
pub(crate) use service::*;
pub(crate) use writes::*;

/// Longest note of an event, in bytes, as the API server checks it.
pub(crate) const NOTE_BYTES: usize = 1024;

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn to_the_second(time: Time) -> String {
    clock::write(Time(time.0.div_euclid(1_000).saturating_mul(1_000)))
}

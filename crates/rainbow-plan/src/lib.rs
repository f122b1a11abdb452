//! Rainbow's planner: a world and a time in; actions, status and a wake-up time out.
//!
//! It is pure and synchronous: no Kubernetes type, no clock, no randomness, no input or output. So it can be tested by
//! properties over random worlds and by simulation.

mod plan;
mod world;

pub use plan::*;
pub use world::*;

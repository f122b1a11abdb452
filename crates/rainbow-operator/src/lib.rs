//! The operator: observes a cluster, asks the planner, applies its answer, reports.
//!
//! ```text
//! watches -> cache -> observe -> rainbow_plan::plan -> operations -> apply -> status, events
//!              ^                                                      |
//!              +--------------- own writes must be seen first --------+
//! ```
//!
//! One task owns all state. Everything that waits for the API server is a future that owns its input, so that dropping
//! [`run`] at any moment is the same as a crash: the next start resumes from what is in the cluster.
//! Beside it, a task of its own asks pods for their connections (`count`), so that silent ones keep nobody waiting.

mod apply;
mod build;
mod cache;
mod clock;
mod controller;
pub mod count;
mod cuts;
pub mod discover;
mod domain;
mod drift;
mod endpoints;
mod events;
mod health;
pub mod install;
pub mod leader;
mod live;
mod marks;
mod observe;
mod operations;
mod pull;
mod status;
mod watch;

pub use clock::Clock;
pub use controller::{Error, Options, TALLY_IMAGE, run};
pub use count::CountVia;
pub use health::Health;
pub use rainbow_plan::Swap;
pub use watch::WATCH;

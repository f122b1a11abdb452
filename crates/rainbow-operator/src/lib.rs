//! The operator: observes a cluster, asks the planner, applies its answer, reports.
//!
//! ```text
//! watch -> change -> cache -> observe -> rainbow_plan::plan -> compile -> apply -> report
//!                      ^                                         |
//!                      +------ own writes must be seen first ----+
//! ```
//!
//! `reconcile` is one turn of that for one application, `controller` the loop over all. ARCHITECTURE.md has a picture of the
//! modules and of what each may use; a test compares it with the code.
//!
//! One task owns all state. Everything that waits for the API server is a future that owns its input, so that dropping
//! [`run`] at any moment is the same as a crash: the next start resumes from what is in the cluster.
//! Beside it, a task of its own asks pods for their connections (`count`), so that silent ones keep nobody waiting.

pub mod agent;
mod apply;
mod cache;
mod change;
mod claims;
mod clock;
mod compile;
mod config;
mod content;
mod controller;
pub mod count;
mod counting;
pub mod discover;
mod domain;
mod drift;
mod effective;
mod endpoints;
mod fixed;
mod health;
pub mod install;
mod key;
mod kind;
pub mod leader;
mod live;
mod manifests;
mod marks;
mod messages;
mod named;
mod node_ports;
mod observe;
mod options;
mod queue;
mod reconcile;
mod report;
mod throttle;
mod uid;
mod watch;

pub use clock::Clock;
pub use controller::run;
pub use count::CountVia;
pub use health::Health;
pub use kind::ConfigAccess;
pub use options::{Error, Options, TALLY_IMAGE};
pub use rainbow_plan::Swap;
pub use watch::WATCH;

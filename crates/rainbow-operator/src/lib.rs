//! Operator: observes a cluster, asks the planner, applies its answer, reports.
//!
//! ```text
//! watch -> change -> cache -> observe -> rainbow_plan::plan -> compile -> apply -> report
//!                      ^                                         |
//!                      +------ own writes must be seen first ----+
//! ```
//!
//! `reconcile` is one turn of that for one application, `controller` the loop over all. ARCHITECTURE.md has a picture and a table of the
//! modules and of what each may use; a test compares the table with the code. The entry point is [`run`].
//!
//! One task owns all state. Everything that waits for the API server is a future that owns its input, so that dropping [`run`] at any
//! moment is the same as a crash: the next start resumes from the state of the cluster. Beside it, a separate task asks pods for their
//! connections (`count`), so that pods that do not answer delay nothing else.
//!
//! | module | subject |
//! |---|---|
//! | [`agent`] | `User-Agent` of requests |
//! | [`count`] | number of connections of pods |
//! | [`discover`] | support of the cluster's version |
//! | [`install`] | objects that `rainbow install` applies |
//! | [`leader`] | leader election |
//!
//! The modules that are not public are in ARCHITECTURE.md.

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
mod gates;
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
pub use report::events;
pub use watch::WATCH;

//! Tests of the controllers against the API server in this process, with a node that only pretends, and a clock that does not wait.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests, too")]

mod budgets;
mod cluster;
mod deployment;
mod disruption;
mod endpoints;
mod evictions;
mod garbage;
mod job;
mod quota;
mod replicaset;

//! `tally` counts the connections that a pod's clients hold, so that a pod is ended only when nobody uses it.
//!
//! It runs beside the application, in the same network namespace, and reads that namespace's own socket table: no
//! privilege is needed for it, and the application need not know. What it says is evidence, so it says no more than it
//! knows: a table that could not be read whole is an error or `complete: false`, never a small number.
//!
//! | module | subject |
//! |---|---|
//! | [`socket`] | one socket of the table, and whether it holds the pod |
//! | [`diag`] | the table by netlink |
//! | [`proc`] | the same from `/proc/net`, where netlink is not allowed |
//! | [`rules`] | which sockets are connections of clients |
//! | [`ages`] | since when each has been there, from sample to sample |
//! | [`quiet`] | since when they have found nobody |
//! | [`report`] | what is counted, as JSON and as Prometheus text |
//! | [`sampler`] | when the table is read |
//! | [`server`] | who may ask, and how |
//! | [`settings`] | the environment |

pub mod ages;
pub mod diag;
pub mod proc;
pub mod quiet;
pub mod report;
pub mod rules;
pub mod sampler;
pub mod server;
pub mod settings;
pub mod socket;

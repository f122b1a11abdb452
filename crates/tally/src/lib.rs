//! `tally` counts the connections that a pod's clients hold, so that a pod is ended only when no client uses it.
//!
//! It runs beside the application, in the same network namespace, and reads that namespace's own socket table: this needs
//! no privilege and no support by the application. Its report is evidence, so it states no more than it knows: a table that
//! could not be read whole is an error or `complete: false`, never a small number.
//!
//! Entry point: [`server::serve`] answers requests with the reports of a [`sampler::Sampler`].
//!
//! | module | subject |
//! |---|---|
//! | [`socket`] | one socket of the table, and whether it holds the pod |
//! | [`diag`] | the table by netlink |
//! | [`proc`] | the same from `/proc/net`, where netlink is not allowed |
//! | [`rules`] | which sockets are connections of clients |
//! | [`ages`] | age of each connection, from sample to sample |
//! | [`quiet`] | time since which samples have found no client |
//! | [`report`] | the counts, as JSON and as Prometheus text |
//! | [`sampler`] | when the table is read |
//! | [`server`] | the HTTP side |
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

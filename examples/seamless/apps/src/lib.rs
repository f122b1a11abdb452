//! Parts that both tiers of the example share: a small HTTP/1.1 server and client, and the reactions to SIGTERM.
//!
//! One thread a connection, no runtime: an example should be readable in one sitting, and small (about 1 MB of memory).
//!
//! | module | subject |
//! |---|---|
//! | [`client`] | calls of the frontend to its backends |
//! | [`faults`] | misbehaviour that tests ask for |
//! | [`metrics`] | metrics for Prometheus |
//! | [`server`] | the server of every tier |
//! | [`settings`] | the environment |

pub mod client;
pub mod faults;
pub mod metrics;
pub mod server;
pub mod settings;

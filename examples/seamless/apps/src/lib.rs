//! What both tiers of the example share: a small HTTP/1.1 server and client, and the ways to end on SIGTERM.
//!
//! One thread a connection, no runtime: an example should be readable in one sitting, and small (about 1 MB of memory).

pub mod client;
pub mod server;
pub mod settings;

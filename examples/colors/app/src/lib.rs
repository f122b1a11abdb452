//! The program of the colors example: whatever it is asked, and however, it answers with its color.
//!
//! - HTTP: a page with the color as its background and its name as the heading; `/color` is the name alone.
//! - Websocket at `/ws`, and TCP on a port of its own: a line at once and then every few seconds, for as long as the
//!   client stays. What the client sends is ignored.
//!
//! The long answers are the point: a release must not cut them.

pub mod color;
pub mod end;
pub mod http;
pub mod lines;
pub mod settings;

//! Program of the colors example: answers every request with its color.
//!
//! - HTTP: a page with the color as its background and its name as the heading; `/color` is the name alone.
//! - Websocket at `/ws`, and TCP on a port of its own: a line at once and then every few seconds, for as long as the
//!   client stays. Anything that the client sends is ignored.
//!
//! The long answers are the point: a release must not cut them.
//!
//! | module | subject |
//! |---|---|
//! | [`color`] | the color's name, line and page |
//! | [`end`] | the end on SIGTERM |
//! | [`http`] | pages, probes and websockets |
//! | [`lines`] | lines over TCP |
//! | [`settings`] | the environment |

pub mod color;
pub mod end;
pub mod http;
pub mod lines;
pub mod settings;

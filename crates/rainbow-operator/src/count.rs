//! Number of connections that the pods of draining colors have.
//!
//! ```text
//! plan.count -> counting -> task: asks, at a pace of its own -> answers -> known -> world -> plan
//! ```
//!
//! Only pods of draining colors are asked. The answers are kept in memory only. After a restart everything is unknown until the pods have
//! been asked again, and an unknown pod is kept.

mod ask;
mod ignored;
mod known;
mod pace;
mod reading;
mod task;

pub use crate::messages::{ASSOCIATIONS, NO_COUNTER};
pub use ask::{CountVia, PodAddress, ask};
pub use ignored::Ignored;
#[cfg(test)]
pub(crate) use known::Validity;
pub(crate) use known::{CountMethod, Known};
pub use reading::{Port, Reading, Source, read};
pub(crate) use task::{Answer, Counter, Target};

//! Gates: the checks that a plan asks for are measured, judged, and their outcomes are given to the next plan.
//!
//! ```text
//! plan.checks -> run -> task: measures at the right time -> judge -> answered -> verdict -> world.checks -> plan
//! ```
//!
//! `run` has the checks of an application, and belongs to the loop that decides. `task` has the measurements under way, of all applications.
//! The status keeps the results, so that an operator that starts again continues where the last one was.

mod answer;
mod conditions;
mod credentials;
mod expression;
mod freeze;
mod http;
mod job;
mod job_manifest;
mod judge;
mod manual;
mod measure;
mod place;
mod pods;
mod prometheus;
mod record;
mod run;
mod settings;
mod task;
mod template;
mod templates;
mod tls;
mod traffic;
mod traffic_reply;
mod values;
mod verdict;
mod web;

pub use expression::condition_mistake;
pub(crate) use place::Site;
pub(crate) use run::{GateStatuses, Gates};
pub(crate) use task::{Answered, Measurer, News};

#[cfg(test)]
mod tests;

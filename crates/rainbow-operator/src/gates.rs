//! Gates: the checks that a plan asks for are measured, judged, and their outcomes are given to the next plan.

mod answer;
mod expression;

pub use expression::condition_mistake;

//! Figures. Each module takes one group of them, on a cluster of its own.

mod drain;
mod memory;
mod planner;
mod pods;
mod release;
pub(crate) mod scale;
mod service;
mod start;
mod tally;
mod tiers;

use std::{future::Future, pin::Pin};

use anyhow::Result;

use crate::table::Figure;

/// Function that takes figures, in the given number of runs.
type Measure = fn(u32) -> Pin<Box<dyn Future<Output = Result<Vec<Figure>>>>>;

/// All groups, cheapest first.
pub(crate) const ALL: &[(&str, Measure)] = &[
    ("planner", |runs| Box::pin(async move { planner::measure(runs) })),
    ("tally", |runs| Box::pin(tally::measure(runs))),
    ("scale", |runs| Box::pin(scale::measure(runs))),
    ("start", |runs| Box::pin(start::measure(runs))),
    ("pods", |runs| Box::pin(pods::measure(runs))),
    ("memory", |runs| Box::pin(memory::measure(runs))),
    ("service", |runs| Box::pin(service::measure(runs))),
    ("drain", |runs| Box::pin(drain::measure(runs))),
    ("release", |runs| Box::pin(release::measure(runs))),
    ("tiers", |runs| Box::pin(tiers::measure(runs))),
];

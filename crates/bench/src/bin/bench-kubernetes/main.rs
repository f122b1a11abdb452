//! `make bench-kubernetes`: measures a release by kubectl alone, in the two ways of the proofs of concept, beside the same release by
//! Rainbow, one after the other on the same cluster, under the same load. No time makes it fail.
//!
//! | module | subject |
//! |---|---|
//! | `machine` | description of the machine |
//! | `measure` | one release in one way |
//! | `pods` | pods over time |
//! | `table` | results as text and JSON |
//! | `traffics` | load of a measurement |
//! | `way` | the ways to release |

#[path = "../../machine.rs"]
mod machine;
mod measure;
mod pods;
mod table;
mod traffics;
mod way;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use e2e::{Cluster, ClusterKind, OnSigterm, Settings};

use table::Table;
use way::Way;

/// Measures releases on the cluster of the current kubeconfig, and prints a table; with --json, writes the same as JSON.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Pods of each of the two tiers
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pods: u32,
    /// Seconds from pod to pod: `minReadySeconds` of the rolling update, `every` of Rainbow's shift
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    every: u32,
    /// Reaction of the programs to SIGTERM
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_sigterm: Sigterm,
    /// Only these ways
    #[arg(long, value_enum, value_name = "WAY")]
    only: Vec<Way>,
    /// Measure the embedded cluster instead
    #[arg(long)]
    embedded: bool,
    /// Path of the JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Reaction of the programs to SIGTERM.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Sigterm {
    /// End at once, as a program without a handler for the signal does
    #[default]
    Die,
    /// Continue to accept for a moment
    Drain,
}

impl From<Sigterm> for OnSigterm {
    fn from(what: Sigterm) -> Self {
        match what {
            Sigterm::Die => Self::Die,
            Sigterm::Drain => Self::Drain,
        }
    }
}

/// Settings that are the same for every way.
#[derive(Clone, Copy)]
struct Plan {
    pods: u32,
    every: Duration,
    on_sigterm: OnSigterm,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures all ways; returns whether everything could be measured.
fn run(args: Args) -> Result<bool> {
    let mut settings = args.settings;
    settings.cluster = if args.embedded { ClusterKind::Embedded } else { ClusterKind::Current };
    let plan =
        Plan { pods: args.pods, every: Duration::from_secs(args.every.into()), on_sigterm: args.on_sigterm.into() };
    let cluster = Cluster::of(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (version, rate) = runtime.block_on(measure::conditions(&cluster))?;
    let mut table = Table::new(machine::describe(), version, rate, &plan);
    for way in Way::value_variants() {
        if !args.only.is_empty() && !args.only.contains(way) {
            continue;
        }
        eprintln!("measuring: {}", way.name());
        // A way that cannot be measured must not lose the others; the table reports it.
        table.add(*way, runtime.block_on(measure::measure(&cluster, *way, &plan)));
    }
    print!("{}", table.text());
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&table.json())? + "\n")?;
    }
    cluster.stop()?;
    Ok(table.is_complete())
}

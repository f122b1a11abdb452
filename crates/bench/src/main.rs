//! `make bench`: the figures of the main job, each beside its target. No time makes it fail.
//!
//! | module | subject |
//! |---|---|
//! | `figures` | the measurements, one module for each group |
//! | `machine` | description of the machine |
//! | `table` | results as text and JSON |

mod figures;
mod machine;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use table::{Figure, Results};

/// Measures, and prints a table; with --json, writes the same as JSON.
#[derive(Parser)]
struct Args {
    /// Runs of each figure; the median is shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only figures whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Path of the JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs the operator on the cluster of this kubeconfig instead: for figures that measure it as a process
    #[arg(long, hide = true, requires = "operator_port")]
    operator: Option<PathBuf>,
    /// Port of the operator's metrics
    #[arg(long, hide = true)]
    operator_port: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some((kubeconfig, port)) = args.operator.as_ref().zip(args.operator_port) {
        return runtime.block_on(figures::scale::serve(kubeconfig, port));
    }
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut results = Results::new(machine::describe(), args.runs);
    for (name, measure) in figures::ALL {
        if !wanted(name) {
            continue;
        }
        eprintln!("measuring: {name}");
        match runtime.block_on(measure(args.runs)) {
            Ok(figures) => results.figures.extend(figures),
            // A figure that cannot be taken must not lose the others; the table reports it.
            Err(error) => results.figures.push(Figure::failed(name, &format!("{error:#}"))),
        }
    }
    print!("{}", results.table());
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")?;
    }
    Ok(())
}

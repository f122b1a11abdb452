//! `make bench-argo`: measures the same releases by Argo Rollouts and by Rainbow, one after the other on the same cluster, with the same
//! images and the same load. No time makes it fail.
//!
//! | module | subject |
//! |---|---|
//! | `argo`, `rainbow` | the actions of the tools' users |
//! | `clients` | load of a measurement |
//! | `contestant` | one tool with an application of its own |
//! | `machine` | description of the machine |
//! | `manifests` | the application as a Rollout and as a Rainbow |
//! | `pods` | pods over time |
//! | `proxy`, `writes` | the controller's writes |
//! | `scenario`, `scenarios` | what is measured, and how |
//! | `table` | results as text and JSON |

mod argo;
mod clients;
mod contestant;
#[path = "../../machine.rs"]
mod machine;
mod manifests;
mod pods;
mod proxy;
mod rainbow;
mod scenario;
mod scenarios;
mod table;
mod writes;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use e2e::{Cluster, ClusterKind, Scope, Settings};

use contestant::Tool;
use scenario::Scenario;
use table::Table;

/// Default of `--rate`, in new connections a second.
const RATE: f64 = 150.0;

/// Measures releases on the cluster of the current kubeconfig, and prints a table; with --json, writes the same as JSON.
///
/// Argo Rollouts is measured where its controller is given and its CustomResourceDefinitions are in the cluster.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Argo Rollouts' controller, which is started on this machine; without it, Rainbow is measured alone
    #[arg(long, env = "ARGO_ROLLOUTS_CONTROLLER", value_name = "PROGRAM")]
    argo: Option<PathBuf>,
    /// Runs of each scenario; those that take long have at most 3
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Only these scenarios
    #[arg(long, value_enum, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// Only this tool
    #[arg(long, value_enum, value_name = "TOOL")]
    tool: Option<Tool>,
    /// Measure the embedded cluster instead
    #[arg(long)]
    embedded: bool,
    /// Path of the JSON, with each run and each write of a controller
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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

/// Measures everything; returns `false` where a scenario could not be measured.
fn run(args: Args) -> Result<bool> {
    let mut settings = args.settings;
    settings.cluster = if args.embedded { ClusterKind::Embedded } else { ClusterKind::Current };
    settings.rate = settings.rate.or(Some(RATE));
    let rate = settings.rate.unwrap_or(RATE);
    let cluster = Cluster::of(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (conditions, absent) = runtime.block_on(conditions(&cluster, args.argo.is_none()))?;
    let mut table = Table::new(machine::describe(), conditions, rate);
    for scenario in Scenario::value_variants() {
        if !args.only.is_empty() && !args.only.contains(scenario) {
            continue;
        }
        for tool in Tool::value_variants() {
            let skipped = args.tool.is_some_and(|only| only != *tool);
            match (tool, &absent) {
                _ if skipped => table.skip(*scenario, *tool, "not asked for"),
                (Tool::Argo, Some(reason)) => table.skip(*scenario, *tool, reason),
                _ => {
                    eprintln!("measuring: {}, {}", scenario.name(), tool.name());
                    let runs = scenario.runs(args.runs);
                    let measured =
                        runtime.block_on(scenarios::measure(&cluster, args.argo.as_deref(), *tool, *scenario, runs));
                    table.add(*scenario, *tool, measured);
                }
            }
        }
        // A long measurement that is interrupted leaves its results so far.
        if let Some(path) = &args.json {
            std::fs::write(path, serde_json::to_string_pretty(&table.json())? + "\n")?;
        }
    }
    print!("{}", table.text());
    cluster.stop()?;
    Ok(table.is_complete())
}

/// Returns version and size of the cluster, and the reason why Argo Rollouts cannot be measured, if there is one.
async fn conditions(cluster: &Cluster, no_program: bool) -> Result<(String, Option<String>)> {
    let scope = Scope::new(cluster, "bench-version").await?;
    let version = scope.client.apiserver_version().await?.git_version;
    let nodes = kube::Api::<k8s_openapi::api::core::v1::Node>::all(scope.client.clone());
    let nodes = nodes.list(&Default::default()).await?.items.len();
    let absent = if no_program {
        Some("no controller is given: --argo".to_owned())
    } else if !argo::is_defined(&scope.client).await? {
        Some("the cluster has no CustomResourceDefinition `rollouts.argoproj.io`".to_owned())
    } else {
        None
    };
    scope.remove().await?;
    Ok((format!("Kubernetes {version}, {nodes} node{}", if nodes == 1 { "" } else { "s" }), absent))
}

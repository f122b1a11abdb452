//! Foundation of the end-to-end tests: a cluster, a namespace with an operator of its own, and the `rainbow` command.
//!
//! The tests use only what users have: the command, the Kubernetes API, and an HTTP client that knows nothing of Rainbow.
//!
//! Entry points: [`Cluster::of`] prepares the cluster, and [`Scope::new`] gives a test its namespace.
//!
//! | module | subject |
//! |---|---|
//! | `app` | the chain of tiers as an application under test |
//! | `cli` | commands, run as a user would |
//! | `cluster` | the cluster that the suite runs on |
//! | [`colors`] | the colors example as an application under test |
//! | `external_cluster` | a cluster that is not the suite's own |
//! | [`gate`] | a proxy to the API server that can be closed |
//! | [`held`] | connections that stay |
//! | `images` | images of the tests |
//! | `kubeconfig` | configuration of a client |
//! | `kubectl` | kubectl in a test's namespace |
//! | [`ledger`] | record of a watch |
//! | [`load`] | traffic with every reply checked |
//! | `loader` | the command that loads images into a cluster |
//! | [`metrics`] | external metrics for autoscalers |
//! | `operator` | the operator of a test |
//! | [`processes`] | facts about processes from `/proc` |
//! | `programs` | programs under test, and those of this machine |
//! | [`prometheus`] | a Prometheus server that scrapes a test's pods |
//! | `reach` | ways to reach a Service |
//! | `replica` | one of several operators of a namespace |
//! | `scope` | namespace, operator and client of one test |
//! | `settings` | options of the suite |
//! | `shell` | shell commands given by the user of the suite |
//! | `wait` | waiting for a condition |
//! | [`web`] | an HTTP server whose answers a test sets |

mod app;
mod cli;
mod cluster;
pub mod colors;
pub mod document;
mod external_cluster;
pub mod gate;
pub mod held;
mod images;
mod kubeconfig;
mod kubectl;
pub mod ledger;
pub mod load;
mod loader;
pub mod metrics;
mod operator;
pub mod processes;
mod programs;
pub mod prometheus;
mod reach;
mod replica;
mod scope;
mod settings;
mod shell;
mod wait;
pub mod web;

pub use app::{App, OnSigterm, POD_PATIENCE, Pace, Port, PortTarget};
pub use cli::{Cli, Output};
pub use cluster::Cluster;
pub use kubectl::{Kubectl, KubectlScope};
pub use operator::Operator;
pub use programs::programs;
pub use prometheus::Prometheus;
pub use reach::{NodeAddress, Place, Reach, Way};
pub use replica::Replica;
pub use scope::Scope;
pub use settings::{ClusterKind, Cut, OperatorPlace, Settings};
pub use wait::eventually;

/// Documents whose shell blocks `documents::…` of the suite runs, but those that say why not.
pub const RUN_DOCUMENTS: [&str; 6] =
    ["README.md", "docs/kind.md", "docs/pocket.md", "docs/tiers.md", "docs/troubleshooting.md", "docs/unready.md"];

//! What the end-to-end tests stand on: a cluster, a namespace with an operator of its own, and the `rainbow` command.
//!
//! The tests use only what users have: the command, the Kubernetes API, and an HTTP client that knows nothing of Rainbow.

mod app;
mod cli;
mod cluster;
pub mod colors;
pub mod document;
pub mod gate;
mod given;
pub mod held;
mod images;
mod kubectl;
pub mod ledger;
pub mod load;
mod loader;
pub mod metrics;
mod operator;
pub mod processes;
mod reach;
mod replica;
mod scope;
mod settings;
mod shell;
mod wait;

pub use app::{App, OnSigterm, POD_PATIENCE, Pace, Port, PortTarget};
pub use cli::{Cli, Output};
pub use cluster::{Cluster, programs};
pub use kubectl::{Kubectl, KubectlScope};
pub use operator::Operator;
pub use reach::{NodeAddress, Place, Reach, Way};
pub use replica::Replica;
pub use scope::Scope;
pub use settings::{Cut, OperatorPlace, Settings, Which};
pub use wait::eventually;

/// Documents whose shell blocks `documents::…` of the suite runs, but those that say why not.
pub const RUN_DOCUMENTS: [&str; 6] =
    ["README.md", "docs/kind.md", "docs/pocket.md", "docs/tiers.md", "docs/troubleshooting.md", "docs/unready.md"];

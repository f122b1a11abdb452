//! `rainbow operator`: the operator in this process, against any cluster.

use futures::FutureExt;
use rainbow_api::HumanDuration;
use rainbow_operator::Options;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    context::Context,
    error::{Error, Result},
};

/// Arguments of `rainbow operator`. With `--namespace` it looks at that one only.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the cluster's data plane may lag behind the endpoints that the API shows
    #[arg(long, default_value = "3s", value_name = "TIME")]
    propagation: HumanDuration,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    log();
    let cluster = context.cluster().await?;
    // An unreachable cluster is waited for by the watches; wrong credentials are told at once.
    if let Err(error) = cluster.client.apiserver_version().await {
        match cluster.error(&error) {
            Error::NoCluster(message) => return Err(Error::NoCluster(message)),
            other => context.printer.warning(other),
        }
    }
    let scope = context.namespace.as_deref().map_or("all namespaces".into(), |name| format!("namespace {name}"));
    tracing::info!("looking at {scope} of {}", cluster.server);
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| Error::failed("cannot listen to signals", error))?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let options = Options {
        namespace: context.namespace.clone(),
        propagation: args.propagation.0,
        shutdown: shutdown.boxed(),
        ..Options::default()
    };
    rainbow_operator::run(cluster.client, options).await.map_err(|error| Error::Failed(error.to_string()))
}

/// Logs to standard error, as much as `RUST_LOG` says.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube=warn"));
    // A second logger is a programming error only; there is none.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

//! `rainbow version`: prints the versions of this program, the API server and the operators.

use serde::Serialize;

use crate::{
    context::Context,
    error::Result,
    operators::{self, Operator},
    output::{self, Format},
};

/// Arguments of `rainbow version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this program's version; ask no cluster
    #[arg(long)]
    client: bool,
    /// Form of the answer
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    /// Version that the API server reports; absent where none was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Operators that act in the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operators: Vec<Operator>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let (server, operators) = if args.client { (None, Vec::new()) } else { cluster(context).await };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), server, operators };
    if !output::print(context.printer, args.output, &versions, [versions.client.to_owned()])? {
        context.printer.line(format_args!("rainbow {}", versions.client));
        let Some(server) = versions.server else { return Ok(()) };
        context.printer.line(format_args!("cluster {server}"));
        if versions.operators.is_empty() {
            context.printer.line("operator none");
        }
        for Operator { version, holder, namespace } in versions.operators {
            let version = version.unwrap_or_else(|| "of an unknown version".to_owned());
            context.printer.line(format_args!("operator {version} ({holder}, lease in namespace {namespace})"));
        }
    }
    Ok(())
}

/// Asks the cluster for its versions. A cluster that cannot be reached is no error, because the question was for versions.
async fn cluster(context: &Context) -> (Option<String>, Vec<Operator>) {
    let Ok(cluster) = context.cluster().await else { return (None, Vec::new()) };
    match cluster.client.apiserver_version().await {
        Ok(info) => (Some(info.git_version), operators::acting(&cluster).await),
        Err(_) => (None, Vec::new()),
    }
}

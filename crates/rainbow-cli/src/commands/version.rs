//! `rainbow version`.

use serde::Serialize;

use crate::{
    context::Context,
    error::Result,
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
    /// What the API server says of itself; absent where none was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let server = if args.client { None } else { server(context).await };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), server };
    if !output::print(context.printer, args.output, &versions, [versions.client.to_owned()])? {
        context.printer.line(format_args!("rainbow {}", versions.client));
        if let Some(server) = versions.server {
            context.printer.line(format_args!("cluster {server}"));
        }
    }
    Ok(())
}

/// A cluster that cannot be reached is no error here: the question was for versions.
async fn server(context: &Context) -> Option<String> {
    let cluster = context.cluster().await.ok()?;
    cluster.client.apiserver_version().await.ok().map(|info| info.git_version)
}

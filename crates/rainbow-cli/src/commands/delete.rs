//! `rainbow delete`: an application with everything that was made for it.

use std::pin::pin;

use futures::TryStreamExt;
use kube::{
    api::DeleteParams,
    runtime::{WatchStreamExt, watcher},
};
use rainbow_api::Rainbow;

use crate::{
    args::WaitArgs,
    context::{Cluster, Context},
    error::{Error, Result},
    wait,
};

/// Arguments of `rainbow delete`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until it is gone, with all its pods")))]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(add = crate::complete::rainbows())]
    name: String,
    /// It is fine if there is no such Rainbow
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    match cluster.rainbow(&args.name).await {
        Ok(_) => {}
        Err(Error::NotFound(_)) if args.ignore_not_found => return Ok(()),
        Err(error) => return Err(error),
    }
    match cluster.api::<Rainbow>().delete(&args.name, &DeleteParams::default()).await {
        Ok(_) => {}
        // Somebody else was faster.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(cluster.error(&error)),
    }
    if args.wait.wait {
        context.printer.progress(format_args!("{}: entry tiers end first, then what they needed", args.name));
        let gone = wait::limit(args.wait.timeout, gone(&cluster, &args.name)).await;
        gone.ok_or_else(|| {
            Error::TimedOut(format!(
                "rainbow `{}` is still there after {}; is an operator running?",
                args.name, args.wait.timeout
            ))
        })??;
        context.printer.line(format_args!("rainbow.rainbow.dev/{} deleted", args.name));
    } else {
        context.printer.line(format_args!("rainbow.rainbow.dev/{} is being deleted", args.name));
    }
    Ok(())
}

/// Follows the object until it is gone.
async fn gone(cluster: &Cluster, name: &str) -> Result {
    let api = cluster.api::<Rainbow>();
    let mut object = pin!(watcher::watch_object(api, name).default_backoff());
    while let Some(state) = object.try_next().await.map_err(|error| Error::failed("the watch failed", error))? {
        if state.is_none() {
            return Ok(());
        }
    }
    Err(Error::Failed("the watch has ended".into()))
}

//! `rainbow query`: what a client of the stage would see.

use std::time::Duration;

use rainbow_api::HumanDuration;

use crate::{
    args::StageArgs,
    context::Context,
    error::{Error, Result},
    reach, stage,
};

/// Arguments of `rainbow query`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stage: StageArgs,
    /// Requests to send, each on a connection of its own
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Path to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// Longest time for a reply
    #[arg(long, default_value = "10s", value_name = "TIME")]
    timeout: HumanDuration,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let rainbow = cluster.rainbow(&args.stage.name).await?;
    let stage = stage::choose(&rainbow, args.stage.stage.as_deref())?;
    let timeout = if args.timeout.0.is_zero() { Duration::from_secs(10) } else { args.timeout.0 };
    let reached =
        reach::when_ready(context, &cluster, &rainbow, &stage.name, &args.path, HumanDuration(timeout)).await?;
    for _ in 0..args.count {
        match traffic::get(&reached.target, timeout).await {
            Ok(body) => context.printer.line(body),
            Err(failure) => {
                return Err(Error::Failed(format!("stage {} at {}: {failure}", stage.name, reached.target)));
            }
        }
    }
    Ok(())
}
